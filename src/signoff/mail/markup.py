"""
The text of an HTML reply, without what mail clients quote (floor 3).

The scanner is our own and looks at each character a bounded number of times: that of the
standard library takes minutes for some hostile 200 kB (`<a ` over and over).
"""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import Final, Literal, NamedTuple

QUOTE_MARK: Final = ">"
"""The line that stands for something quoted, so that an attribution line above it is known as one."""

MAX_TOKENS: Final = 10_000
"""How many tags and pieces of text are read; no person writes so many above what they quote."""

_MAX_ATTRIBUTE_CHARS: Final = 4_096

_TAG: Final = re.compile(r"""<(/?)([A-Za-z][^\s/>]*+)((?:=\s*+"[^"]*+"|=\s*+'[^']*+'|[^>])*+)>""")
_ATTRIBUTE: Final = re.compile(
    r"""([^\s"'>/=]++)(?:\s*+=\s*+(?:"([^"]*+)"|'([^']*+)'|([^\s"'>]++)))?+"""
)
_HUGE_REFERENCE: Final = re.compile(r"&#(?:[0-9]{8,}+|[xX][0-9A-Fa-f]{8,}+);?")
_BLANKS: Final = re.compile(r"[ \t\r\n\f]+")

_VOID: Final = frozenset(
    {
        "area",
        "base",
        "br",
        "col",
        "embed",
        "hr",
        "img",
        "input",
        "link",
        "meta",
        "param",
        "source",
        "track",
        "wbr",
    }
)
_BLOCKS: Final = frozenset(
    {
        "address",
        "article",
        "aside",
        "blockquote",
        "body",
        "center",
        "dd",
        "details",
        "div",
        "dl",
        "dt",
        "fieldset",
        "figure",
        "footer",
        "form",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "header",
        "hr",
        "html",
        "li",
        "main",
        "nav",
        "ol",
        "p",
        "pre",
        "section",
        "summary",
        "table",
        "tbody",
        "tfoot",
        "thead",
        "tr",
        "ul",
    }
)
_CELLS: Final = frozenset({"td", "th"})
_STRUCK: Final = frozenset({"s", "strike", "del"})
_RAW: Final = frozenset({"script", "style", "title", "textarea", "xmp", "iframe", "noscript"})
_UNSEEN: Final = frozenset({"head", "template", "svg", "math", "object", "select"})

# What Gmail, Thunderbird, Yahoo, Proton, Tuta, Zoho and Mail.ru put around what they quote.
_QUOTE_CLASSES: Final = frozenset(
    {
        "gmail_attr",
        "moz-cite-prefix",
        "yahoo_quoted",
        "protonmail_quote",
        "tutanota_quote",
        "zmail_extra",
    }
)
_QUOTE_ID: Final = "mailru-cite"
_SIGNATURE_CLASSES: Final = frozenset(
    {
        "gmail_signature",
        "gmail_signature_prefix",
        "moz-signature",
        "protonmail_signature_block",
    }
)
_SIGNATURE_IDS: Final = frozenset(
    {
        "Signature",
        "ms-outlook-mobile-signature",
        "AppleMailSignature",
        "composer_signature",
        "ymail_android_signature",
    }
)

# Outlook writes the quoted mail beside these, not into them: nothing behind them is the reply.
_LAST_IDS: Final = frozenset({"divRplyFwdMsg", "appendonsend"})

_HIDING_STYLES: Final = frozenset(
    {("display", "none"), ("visibility", "hidden"), ("mso-hide", "all"), ("opacity", "0")}
)
_HIDING_SIZES: Final = frozenset({"font-size", "max-height"})
_NO_SIZE: Final = re.compile(r"0+(?:\.0+)?(?:px|pt|em|rem|%)?")

_Fate = Literal["kept", "struck", "unseen", "signature", "quoted", "last"]
_OUT_OF_SIGHT: Final[frozenset[_Fate]] = frozenset({"unseen", "signature", "quoted"})
_LEFT_OUT: Final[frozenset[_Fate]] = frozenset({"signature", "quoted", "last"})
_OPENING: Final[dict[_Fate, str]] = {"struck": "~~", "quoted": f"\n{QUOTE_MARK}\n"}
_CLOSING: Final[dict[_Fate, str]] = {"struck": "~~"}


class _Text(NamedTuple):
    text: str


class _Open(NamedTuple):
    name: str
    attributes: str


class _Close(NamedTuple):
    name: str


class _Torn(NamedTuple):
    """A tag, a comment or an element that never ends, and so swallows the rest, as in a browser."""


_Token = _Text | _Open | _Close | _Torn


class HtmlText(NamedTuple):
    """
    The text of an HTML reply.

    Attributes:
        text: The text, in lines.
        whole: Whether it goes on to the end; if not, its last line may be a part of one.
        left_out: Whether a signature or a quoted mail was left out of it.
    """

    text: str
    whole: bool
    left_out: bool = False


def text_of_html(markup: str) -> HtmlText:
    """
    Return the text of an HTML reply.

    Left out are hidden elements, signatures that the client marks as such, and what it quotes;
    for the latter a line with `>` stays. Struck-out text stands between `~~`. Takes time in
    proportion to the length of `markup`, and reads no more than 10,000 tags.

    Source: HTML Standard section 13.2 (how a tag, a comment and raw text end).
    """
    reader = _Reader()
    for token in islice(_tokens(markup), MAX_TOKENS):
        reader.take(token)
        if reader.is_done:
            break
    text = "\n".join(line.strip(" ") for line in "".join(reader.pieces).split("\n"))
    whole = reader.taken < MAX_TOKENS and not reader.is_torn
    return HtmlText(text, whole=whole, left_out=reader.left_out)


def _tokens(markup: str) -> Iterator[_Token]:
    at = 0
    while (start := markup.find("<", at)) >= 0:
        if start > at:
            yield _Text(markup[at:start])
        tag = _TAG.match(markup, start)
        if tag is None:
            at = _after_other(markup, start)
            if at == start + 1:
                yield _Text("<")
        elif tag.group(2).lower() in _RAW:
            at = _after_raw(markup, tag)
        else:
            at = tag.end()
            name = tag.group(2).lower()
            yield _Close(name) if tag.group(1) else _Open(name, tag.group(3))
        if at < 0:
            yield _Torn()
            return
    if at < len(markup):
        yield _Text(markup[at:])


def _after_other(markup: str, start: int) -> int:
    """Return where goes on what begins with `<` and is no tag; -1 if nowhere."""
    if markup.startswith("<!--", start):
        return _after(markup, "-->", start + 2)
    if markup.startswith(("<!", "<?"), start):
        return _after(markup, ">", start)
    follower = markup[start + 1 : start + 3].lstrip("/")[:1]
    return -1 if follower.isascii() and follower.isalpha() else start + 1


def _after(markup: str, end: str, start: int) -> int:
    found = markup.find(end, start)
    return found if found < 0 else found + len(end)


def _after_raw(markup: str, tag: re.Match[str]) -> int:
    """Return where goes on what is no text, behind a tag such as `<style>`; -1 if nowhere."""
    if tag.group(1):
        return tag.end()
    closing = re.compile(rf"</{tag.group(2)}[\s/>]", re.IGNORECASE).search(markup, tag.end())
    return -1 if closing is None else closing.start()


class _Reader:
    """Turns tokens into pieces of text, and remembers which elements are open."""

    def __init__(self) -> None:
        self.pieces: list[str] = []
        self.taken = 0
        self.is_done = False
        self.is_torn = False
        self.left_out = False
        self._is_at_top = True
        self._open: list[tuple[str, _Fate]] = []
        self._open_by_name: Counter[str] = Counter()
        self._out_of_sight = 0

    def take(self, token: _Token) -> None:
        self.taken += 1
        if isinstance(token, _Text):
            self._text(token.text)
        elif isinstance(token, _Open):
            self._element(token.name, token.attributes)
        elif isinstance(token, _Close):
            self._end(token.name)
        else:
            self.is_torn = True

    def _text(self, text: str) -> None:
        if self._out_of_sight:
            return
        readable = html.unescape(_HUGE_REFERENCE.sub("\ufffd", text))
        if self._is_at_top and not readable.strip():
            # Of blanks above all text only those that make a line are room left for an answer.
            self.pieces.append("\n" * ("\u00a0" in readable))
            return
        self._is_at_top = False
        verbatim = self._open_by_name["pre"]
        self.pieces.append(readable if verbatim else _BLANKS.sub(" ", readable))

    def _element(self, name: str, attributes: str) -> None:
        self._break(name)
        if name in _VOID:
            return
        fate: _Fate = "kept" if self._out_of_sight else _fate(name, attributes)
        self.is_done = fate == "last"
        self.left_out |= fate in _LEFT_OUT
        self._is_at_top &= fate not in _OPENING
        self.pieces.append(_OPENING.get(fate, ""))
        self._out_of_sight += fate in _OUT_OF_SIGHT
        self._open.append((name, fate))
        self._open_by_name[name] += 1

    def _end(self, name: str) -> None:
        if not self._open_by_name[name]:
            return
        while True:
            inner, fate = self._open.pop()
            self._open_by_name[inner] -= 1
            self._out_of_sight -= fate in _OUT_OF_SIGHT
            self.pieces.append(_CLOSING.get(fate, ""))
            self._break(inner)
            if inner == name:
                return

    def _break(self, name: str) -> None:
        if self._out_of_sight:
            return
        if name == "br" or (name in _BLOCKS and not self._is_at_top):
            self.pieces.append("\n")
        elif name in _CELLS:
            self.pieces.append(" ")


def _fate(name: str, attributes: str) -> _Fate:
    given = _attributes(attributes[:_MAX_ATTRIBUTE_CHARS])
    style = _style(given.get("style", ""))
    classes = frozenset(given.get("class", "").split())
    own_id = given.get("id", "")
    if own_id in _LAST_IDS or _is_separator(style):
        return "last"
    if name in _UNSEEN or "hidden" in given or _hides(style):
        return "unseen"
    if classes & _SIGNATURE_CLASSES or own_id in _SIGNATURE_IDS:
        return "signature"
    if name == "blockquote" or classes & _QUOTE_CLASSES or own_id == _QUOTE_ID:
        return "quoted"
    if name in _STRUCK or any("line-through" in value for value in style.values()):
        return "struck"
    return "kept"


def _attributes(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for attribute in _ATTRIBUTE.finditer(text):
        name, *values = attribute.groups(default="")
        found.setdefault(name.lower(), "".join(values))
    return found


def _style(text: str) -> dict[str, str]:
    """Return the declarations of a style attribute, lower-case."""
    pairs = (declaration.partition(":") for declaration in text.lower().split(";"))
    return {name.strip(): value.replace("!important", "").strip() for name, _, value in pairs}


def _hides(style: dict[str, str]) -> bool:
    return any(
        item in _HIDING_STYLES or (item[0] in _HIDING_SIZES and _NO_SIZE.fullmatch(item[1]))
        for item in style.items()
    )


def _is_separator(style: dict[str, str]) -> bool:
    """Return whether this is the rule that Outlook draws above the mail that it quotes."""
    bare = style.get("border") == "none" or style.get("border-left") == "none"
    return bare and "solid" in style.get("border-top", "")
