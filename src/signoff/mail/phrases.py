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
    *("napisał", "pisze", "skrev", "kirjoitti", "napsal", "написал", "пишет", "писали"),
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
    )\s*[-_]{2,}
    | \[?original\ message\ processed\ by\b.*""",
    re.VERBOSE | re.IGNORECASE,
)
"""The line that some clients put above a whole quoted mail."""

MOBILE_SIGNATURE: Final = re.compile(
    r"""(?:
        (?:sent|sending)\ (?:from|via|with|using)\b | get\ outlook\ for\b
      | (?:von\ mein(?:em|er)\b.*gesendet) | gesendet\ (?:von|mit|über|aus)\b
      | (?:diese\ nachricht\ wurde\ )von\ mein | outlook\ für\b.*(?:beziehen|herunterladen)
      | envoyé\ (?:de|depuis|avec|via|à\ partir)\b | télécharger\ outlook\b | obtenez\ outlook\b
      | enviado\ (?:desde|do|da|de|a\ partir|con|com)\b | obtener\ outlook\b | obter\ o?\s*outlook\b
      | inviato\ (?:da|dal|con|tramite)\b | scarica\ outlook\b | ottieni\ outlook\b
      | verstuurd\ vanaf\b | verzonden\ (?:vanaf|vanuit|met)\b | outlook\ voor\b.*downloaden
      | wysłan[eoy]\ (?:z|za)\b | pobierz\ (?:aplikację\ )?outlook\b
      | skickat\ från\b | skickades\ från\b | hämta\ outlook\b
      | sendt\ (?:fra|med)\b | hent\ outlook\b | lähetetty\b | odesláno\ z\b
      | отправлено\b | відправлено\b | надіслано\b | εστάλη\ από\b | изпратено\b | yahoo\ mail:
      | تم\ الإرسال\b | נשלח\ מ | dikirim\ dari\b | posla(?:no|to)\ (?:z|s|sa|iz)\b | στάλθηκε\ από\b | saadetud\b
      | sūtīts\ no\b | išsiųsta\ iš\b | enviat\ des\b | provenance\s?:\ courrier\b | trimis\ de\b | (?:el)?küldve\b
      | 从.{0,12}发送 | sent\ by\ my\b
    )
    | \S.*(?:から送信|gönderildi|에서\ 보냄|küldve)
    | (?:được|đã)\ gửi\ từ
    | (?:发自|從|來自|从)\s*我的""",
    re.VERBOSE | re.IGNORECASE,
)
"""How a line begins that a phone or an app puts below every mail."""

DEVICES: Final = re.compile(
    r"""iphon|ipad|ipod|ios|android|outlook|galaxy|samsung|huawei|xiaomi|redmi|\boppo|pixel|nokia
      | blackberry|windows|phone|mobile|mobil|handy|smartphone|tablet|móvil|celular|cellulare
      | telefon|téléphone|puhelin|mail|gmail|yahoo|proton|aol|hotmail|thunderbird|app\b
      | телефон|мобил|мобіл|手机|手機|携帯|スマホ|휴대폰|스마트폰|ponsel|điện\ thoại|κινητ|גלקסי|טלפון|נייד|هاتف|جوال
      | موبايل|मोबाइल|मोबाईल|फ़ोन|มือถือ|โทรศัพท์|mobitel|kännyk|matkapuhel|mobiil|tālru|cep\ tel|móbil|gsm|moto""",
    re.VERBOSE | re.IGNORECASE,
)
"""What such a line names: without one of these it is somebody's sentence."""

SENT_BY: Final = re.compile(
    r"""(?:
        sent\ (?:from|with|via|using|by) | gesendet\ (?:von|mit|über|via|aus)
      | envoyé\ (?:de|depuis|avec|via|par|à\ l['\u2019]aide\ de) | inviato\ (?:da|dal|con|tramite)
      | enviad[oa]\ (?:desde|con|com|do|da|de|por|via|através\ d[aeo]|a\ través\ de)
      | (?:verzonden|verstuurd)\ (?:via|met|vanaf|vanuit) | wysłan[aeoy]\ (?:z|za|ze|przez|przy)
      | skickat\ (?:från|med|via) | sendt\ (?:fra|med|via) | lähetetty | odesláno\ [sz] | odoslané\ [sz]
      | (?:el)?küldve | trimis\ (?:de|din|cu|prin) | poslano\ (?:s|sa|iz|putem)
      | надіслано | отправлено | изпратено | στάλθηκε | (?:được\ )?gửi\ (?:từ|bằng)
    )(?:\ \S{1,24}){1,3}
    | (?:get|download|try|téléchargez|télécharger|obtenez|descarga|descargue|descargar|obtén|baixe
        |baixar|scarica|ottieni|pobierz)\ \S+(?:\ \S+)?\ (?:for|pour|para|per|dla)\ \S+(?:\ \S+)?
    | (?:使用|通过|透過).{1,24}(?:发送|發送|傳送) | ส่งจาก.{1,24}""",
    re.VERBOSE | re.IGNORECASE,
)
"""What an app whose name we do not know puts on a line of its own, right above the quoted mail."""

PLACEHOLDER: Final = re.compile(
    r"\[(?:cid|image|inline image|bild|imagen|immagine)\s*[:\d][^\]]*\]", re.IGNORECASE
)
"""What stands in the text for a picture, such as the logo of a signature."""

DISCLAIMER: Final = re.compile(
    r"""confidential|privileged|vertraulich|confidentiel|confidencial|riservat[aeio]|vertrouwelijk
      | poufn[aey]|konfidenti|конфиденциальн|intended\ (?:only|solely)\ for
      | (?:scanned|checked)\ (?:for\ viruses|by)|virus-free|virenfrei|(?:auf\ viren\ geprüft)
      | avast\b|ohne\ viren|sans\ virus|libre\ de\ virus|privo\ di\ virus|机密|保密""",
    re.VERBOSE | re.IGNORECASE,
)
"""What a notice that a mail server adds below a mail speaks of."""

ITSELF: Final = re.compile(
    r"""\b(?:this|the)\ (?:e-?mail|message|communication|transmission)|diese[rs]?\ (?:e-?mail|nachricht)
      | (?:ce|cet)\ (?:e-?mail|courriel|message)|este\ (?:correo|mensaje|e-?mail)|esta\ mensagem
      | quest[ao]\ (?:e-?mail|messaggio)|(?:deze|dit)\ (?:e-?mail|bericht)|ta\ wiadomość|niniejsz\w+
      | detta\ (?:mail|e-post|meddelande)|(?:tämä|tämän)\ (?:viesti|sähköposti)|denne\ (?:e-?mail|e-post|melding)
      | (?:in|en|nesta|questa|cette)\ (?:comunicazione|comunicación|mensagem|communication)|téhle|této\ zprávy
      | this\ mail|bu\ e-posta|ezen?\ (?:e-?mail|üzenet)|acest\ (?:e-?mail|mesaj)|цей\ лист|这封邮件|本電郵
      | (?:in|van)\ dit\ (?:e-?mail|bericht)\w*|(?:el|ce)\ correo|ce\ courrier\ électronique|(?:это|данное)\ (?:письмо|сообщение)|本メール|本邮件
      | avast\b|virus-free|virenfrei""",
    re.VERBOSE | re.IGNORECASE,
)
"""How it names the mail that it stands in."""
