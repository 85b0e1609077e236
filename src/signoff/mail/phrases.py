"""What mail clients write around a reply by themselves, in the languages that we know (floor 3)."""

from __future__ import annotations

import re
from typing import Final

OPENINGS: Final = (
    *("on ", "am ", "le ", "el ", "il giorno ", "il ", "em ", "a ", "no dia ", "op ", "w dniu "),
    *("dnia ", "den ", "på ", "dne ", "于", "於", "在 "),
)
"""How the line above a quoted mail begins where it does not begin with a date, folded."""

WROTE: Final = (
    *("wrote", "writes", "schrieb", "écrit", "escribió", "ha scritto", "escreveu", "schreef"),
    *("napisał", "pisze", "skrev", "kirjoitti", "napsal", "написал", "пишет"),
    "yazdı",  # noqa: RUF001 - a letter of Turkish
    *("写道", "寫道", "のメール"),
)
"""The verbs of such a line, folded."""

FROM_NAMES: Final = frozenset(
    {"from", "von", "de", "da", "van", "od", "från", "fra", "lähettäjä", "kimden"}
    | {"от", "差出人", "发件人", "寄件者"}
)
"""How clients name the sender at the head of a quoted mail, folded."""

HEADER_NAMES: Final = FROM_NAMES | frozenset(
    {"sent", "date", "to", "cc", "subject", "reply-to"}
    | {"gesendet", "datum", "an", "betreff"}
    | {"envoyé", "à", "objet"}
    | {"enviado", "enviado el", "enviado em", "enviada em", "fecha", "data", "para"}
    | {"asunto", "assunto"}
    | {"inviato", "a", "oggetto"}
    | {"verzonden", "aan", "onderwerp"}
    | {"wysłano", "do", "temat"}
    | {"skickat", "till", "ämne", "sendt", "dato", "til", "emne"}
    | {"odesláno", "komu", "předmět", "lähetetty", "vastaanottaja", "aihe"}
    | {"отправлено", "дата", "кому", "тема"}
    | {"送信日時", "宛先", "件名"}
    | {"发送时间", "收件人", "主题", "寄件日期", "收件者", "主旨"}
)
"""How they name any header there, folded."""

ORIGINAL_MESSAGE: Final = re.compile(
    r"""[-_]{2,}\s*(?:
        original\ (?:message|email|appointment) | forwarded\ message | reply\ message
      | ursprüngliche\ (?:nachricht|e-mail) | weitergeleitete\ nachricht
      | message\ d['\u2019]origine | message\ original | message\ transféré
      | mensaje\ original | messaggio\ originale | mensagem\ original
      | oorspronkelijk\ bericht | oryginalna\ wiadomość | wiadomość\ oryginalna
      | ursprungligt\ meddelande | oprindelig\ meddelelse | opprinnelig\ melding
      | původní\ zpráva | alkuperäinen\ viesti
      | исходное\ сообщение
      | 元のメッセージ | 原始邮件 | 原始郵件
    )\s*[-_]{2,}""",
    re.VERBOSE | re.IGNORECASE,
)
"""The line that some clients put above a whole quoted mail."""

MOBILE_SIGNATURE: Final = re.compile(
    r"""(?:
        (?:sent|sending)\ (?:from|via|with|using)\b | get\ outlook\ for\b
      | (?:von\ mein(?:em|er)\b.*gesendet) | gesendet\ (?:von|mit|über|aus)\b
      | (?:diese\ nachricht\ wurde\ )von\ mein | outlook\ für\b.*(?:beziehen|herunterladen)
      | envoyé\ (?:de|depuis|à\ partir)\b | télécharger\ outlook\b | obtenez\ outlook\b
      | enviado\ (?:desde|do|da|de|a\ partir|con|com)\b | obtener\ outlook\b | obter\ o?\s*outlook\b
      | inviato\ (?:da|dal|con|tramite)\b | scarica\ outlook\b | ottieni\ outlook\b
      | verstuurd\ vanaf\b | verzonden\ (?:vanaf|vanuit|met)\b | outlook\ voor\b.*downloaden
      | wysłan[eoy]\ (?:z|za)\b | pobierz\ (?:aplikację\ )?outlook\b
      | skickat\ från\b | skickades\ från\b | hämta\ outlook\b
      | sendt\ (?:fra|med)\b | hent\ outlook\b | lähetetty\b | odesláno\ z\b
      | отправлено\b
    )
    | \S.*(?:から送信|gönderildi|에서\ 보냄)
    | (?:发自|從|來自|从)\s*我的""",
    re.VERBOSE | re.IGNORECASE,
)
"""How a line begins that a phone or an app puts below every mail."""

DEVICES: Final = re.compile(
    r"""iphon|ipad|ipod|ios|android|outlook|galaxy|samsung|huawei|xiaomi|redmi|oppo|pixel|nokia
      | blackberry|windows|phone|mobile|mobil|handy|smartphone|tablet|móvil|celular|cellulare
      | telefon|téléphone|puhelin|mail|gmail|yahoo|proton|aol|hotmail|thunderbird|app\b
      | телефон|手机|手機""",
    re.VERBOSE | re.IGNORECASE,
)
"""What such a line names: without one of these it is somebody's sentence."""

PLACEHOLDER: Final = re.compile(
    r"\[(?:cid|image|inline image|bild|imagen|immagine)\s*[:\d][^\]]*\]", re.IGNORECASE
)
"""What stands in the text for a picture, such as the logo of a signature."""
