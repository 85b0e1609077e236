"""Warnings that mail servers put above what came from elsewhere (floor 3)."""

from __future__ import annotations

import re
from typing import Final

_MAIL: Final = r"""(?:e-?mail|mail|message|sender|courriel|expéditeur|nachricht|absender|correo(?:\ electrónico)?|mensaje
  |remitente|messaggio|mittente|mensagem|remetente|bericht|afzender|wiadomo\w+|nadawc\w+|avsändare|meddelande|e-?post
  |письм\w+|сообщени\w+|отправител\w+|メール|送信者|差出人|邮件|郵件|发件人|寄件[人者])"""
"""A mail, or who sent it."""

_THIS_MAIL: Final = rf"""(?:\b(?:this|diese[rs]?|ce|cet|este|esta|questo|questa|deze|dit|ta|detta|den\ här|это)\ |この|本|此|该){_MAIL}"""
"""A mail that speaks of itself."""

_OUTSIDE: Final = r"""(?:outside|extern\w{0,4}|exterior|außerhalb|von\ außen|extérieure?|hors\ de|fuera\ de|estern[oa]|fuori\ d\w+
  |de\ fora|fora\ d[aeo]|buiten\w*|zewn\w+|spoza|utanför|utenfor|udefra|внешн\w+|извне|ззовні|külső|mimo
  |社外|組織外|组织外|公司外|外部)"""
"""Elsewhere."""

_EXTERNAL_MAIL: Final = rf"""(?:(?:extern\w{{0,4}}|estern[oa]|zewnętrzn\w+|внешн\w+|外部の?|社外の?)[\ \-]?{_MAIL}
  |{_MAIL}[\ \-]?(?:extern\w{{0,4}}|estern[oa]|zewnętrzn\w+|внешн\w+))"""
"""A mail from elsewhere."""

_FROM: Final = r"""(?:\b(?:from|by|outside|von|vom|kommt|stammt|provient|vient|procede|proviene|llega|viene|origen|origem|origine|veio|provém
  |vem|tem|desde|enviad\w|inviat\w|sent|gesendet|envoyée?|verzonden|afkomstig|komt|van|wysłan\w+|pochodzi|nadeszł\w+|kommer|od|из|от)\b|来自|來自|から|より|は)"""
"""How a mail is said to have come."""

_WARNING: Final = r"""\W*(?:caution|warning|alert|attention|notice|be\ careful(?:\ with\ this\ message)?|external(?:\ e-?mail)?|achtung|vorsicht|warnung
  |hinweis|extern\w?|avertissement|aviso|atención|advertencia|alerta|precaución|attenzione|avviso|avvertenza|esterno|atenção|cuidado
  |let\ op|pas\ op|opgelet|waarschuwing|uwaga|ostrzeżenie|ostrożnie|varning|obs|advarsel|huomio|pozor|figyelem|atenție
  |dikkat|προσοχή|внимание|увага|注意|警告|ご注意)"""
"""How a warning begins."""

_NOT: Final = r"\b(?:not|never|nicht|nie|ne|pas|no|nunca|non|não|niet|nooit)\b"

_CARE: Final = r"""(?:\b(?:caution|careful|click|open|links?|vorsicht\w*|öffnen|klicken|prudence|prudents?|cliquez|ouvrez|cuidado|haga\ clic|abra|cautela
  |cliccare|aprire|clique|klik\w*|otwier\w+|ostrożn\w+)\b|请勿|謹慎|谨慎|注意|クリック)"""
"""What readers of such a mail are told."""

_COMES_FROM_OUTSIDE: Final = re.compile(
    rf"""(?:{_WARNING}\b.{{0,40}})?\W*(?:{_THIS_MAIL}(?:(?!{_NOT}).){{0,60}}?{_FROM}.{{0,40}}?{_OUTSIDE}\b | {_THIS_MAIL}(?:は|来自|來自)?{_OUTSIDE}).*
      | {_WARNING}\W+(?:{_MAIL}\W.{{0,30}})?{_FROM}\W(?:\w+\ ){{0,2}}?(?:{_OUTSIDE}\W{{1,3}}(?:\w+\W){{0,2}}?organi|{_EXTERNAL_MAIL}).*
      | {_WARNING}\W+{_EXTERNAL_MAIL}(?:\W*|\W{{0,2}}[.!:,;\-\u2013\u2014].*)
      | \W*{_EXTERNAL_MAIL}(?:\W*|\W{{1,3}}.{{0,40}}{_CARE}.*)
      | {_WARNING}.{{0,20}}(?:{_OUTSIDE}|は).{{0,10}}(?:メール|邮件|郵件).*""",
    re.VERBOSE | re.IGNORECASE,
)
_SHOUTED: Final = re.compile(r"\W*(?:[^\W\d_]{4,}|LET OP|PAS OP)\s?[:,!.]")
_LINKS: Final = re.compile(
    r"""\b(?:links?|attachments?|anhäng\w+|anlagen?|liens?|pièces?|enlaces?|adjuntos?|allegat[io]|collegament[io]
          |anexos?|ligações|hiperligações|bijlagen?|koppelingen|załącznik\w*|link\w*|odnośnik\w*)\b""",
    re.VERBOSE | re.IGNORECASE,
)
_SENDER: Final = re.compile(
    r"\b(?:sender|absender|expéditeur|remitente|mittente|remetente|afzender|nadawc\w+)\b",
    re.IGNORECASE,
)
_TAG: Final = re.compile(
    rf"""\W*(?:ext|extern|external|externe|externo|externa|esterno|esterna|zewnętrzn[ya]|社外|外部)(?:[\ \-]{_MAIL})?\W*
      | \[(?:ext|extern\w*|estern[oa]|zewnętrzn\w+|{_MAIL}\ (?:extern\w*|estern[oa])|extern\w*\ {_MAIL})\](?:\W*|.{{0,60}}(?:{_CARE}|{_THIS_MAIL}).*)
      | \[[^\]]{{0,30}}\b(?:internal|public|private|confidential|restricted|official|sensitive|intern[aeo]?|interní|vertraulich|öffentlich|confidentiel
          |confidencial|público|riservato|pubblico|vertrouwelijk|openbaar|poufn[aey]|wewnętrzn\w+|社内|社外秘|機密|内部|机密|公开)\b[^\]]{{0,20}}\]
      | \W*(?:classification|sensitivity|confidentiality|klassifizierung|classificação|clasificación|vertraulichkeit)\s?:.{{0,40}}
      | \W*tlp:\w{{3,6}}(?:\+\w+)?\W* | [cs][0-4]\ ?[-\u2013]\ ?\w+ | zjqcmqryfpfptbanner\w+""",
    re.VERBOSE | re.IGNORECASE,
)
_FIRST_CONTACT: Final = re.compile(
    r"""\W*(?:you\ don.t\ often\ get\ e-?mail\ from | some\ people\ who\ received\ this\ message\ don.t\ often
      | (?:sie\ erhalten\ nicht\ (?:häufig|oft)|vous\ n['\u2019]obtenez\ pas\ souvent|no\ suele\ recibir|non\ si\ ricevono\ spesso
          |você\ não\ costuma\ receber|[uj]e?\ ontvangt\ niet\ vaak|nie\ otrzymujesz\ często)\b.*@).*
      | .{0,80}(?:受け取ることはあまりありません|不会收到来自|不常收到来自).*""",
    re.VERBOSE | re.IGNORECASE,
)


def is_banner(line: str) -> bool:
    """
    Return whether a line warns of a mail from elsewhere, as servers do, or only labels it.

    It is shouted, or speaks of the mail itself; whoever only writes of something external, or
    warns of something else, is a person.
    """
    if _TAG.fullmatch(line) or _FIRST_CONTACT.fullmatch(line):
        return True
    return _COMES_FROM_OUTSIDE.fullmatch(line) is not None or _warns_of_links(line)


def _warns_of_links(line: str) -> bool:
    """Return whether a line shouts about links and a sender."""
    shouted = _SHOUTED.match(line)
    if shouted is None or not shouted.group().isupper():
        return False
    return bool(_LINKS.search(line) and _SENDER.search(line))
