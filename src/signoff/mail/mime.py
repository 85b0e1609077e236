"""
The text within a mail: its parts, their encodings and character sets (floor 3).

Nothing here raises, and each byte is looked at a bounded number of times. What a mail merely
attaches, other mails above all, is not its text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice, pairwise
from typing import Final, NamedTuple

from signoff.mail.charsets import characters, decoded
from signoff.mail.headers import parameters
from signoff.mail.markup import QUOTE_MARK, HtmlText, text_of_html

MAX_HEADER_LINES: Final = 5_000
"""A mail whose headers take more lines is not read at all."""

MAX_PARTS: Final = 100
MAX_DEPTH: Final = 10
"""How many parts are looked at, and how deep within one another."""

MAX_BODY_CHARS: Final = 65_536
MAX_LINES: Final = 500
MAX_LINE_CHARS: Final = 2_000
"""How much text is read: what a person writes above a quoted mail is far shorter."""

CUT: Final = " [cut]"
"""What stands at the end of a line of which a part is missing, so that it is not read as a whole one."""

_MAX_ENCODED_BYTES: Final = 524_288
_MAX_MARKUP_CHARS: Final = 262_144
_MAX_BOUNDARY: Final = 200

_HEADER: Final = re.compile(rb"([!-9;-~]+)[ \t]*:(.*)", re.DOTALL)
_LINE: Final = re.compile(rb"[^\n]*+\n|[^\n]++")
_LAST_BREAK: Final = re.compile(rb"\r?\n\Z")

_NOT_THE_REPLY: Final = frozenset({"encrypted", "report", "digest"})
_FIRST_IS_THE_REPLY: Final = frozenset({"signed", "related"})
_TEXT: Final = frozenset({"text/plain", "text/html"})

Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Entity:
    """
    A mail, or a part of one.

    Attributes:
        headers: Names and raw values, unfolded; bytes that are no UTF-8 as lone surrogates.
        body: What follows them.
        whole: Whether the body ends where its sender ended it.
    """

    headers: Headers
    body: bytes
    whole: bool

    def value(self, name: str) -> str:
        """Return the first value of a header, or nothing."""
        return next(iter(values_of(self.headers, name)), "")


class Read(NamedTuple):
    """
    What was read of a mail.

    Attributes:
        text: Its text, in lines parted by line feeds.
        rich: The same as its HTML says it, where there is HTML beside a plain text; else empty.
        truncated: Whether text was left out because there was too much of it.
        content_types: The types of the parts that were looked at, lower-case.
    """

    text: str
    rich: str
    truncated: bool
    content_types: frozenset[str]


def values_of(headers: Headers, name: str) -> list[str]:
    """Return the values of all headers of this name, topmost first."""
    wanted = name.lower()
    return [value for own, value in headers if own.lower() == wanted]


def entity_of(raw: bytes, *, whole: bool) -> Entity:
    """
    Part headers and body.

    The headers end at an empty line, or before the first line that is none. One with blanks
    before its colon counts as what it would be without them, since some server may read it so.

    Source: RFC 5322 sections 2.2 and 4.5.
    """
    headers: list[tuple[bytes, list[bytes]]] = []
    end = 0
    for number, line in enumerate(_LINE.finditer(raw)):
        if number == MAX_HEADER_LINES:
            return Entity((), b"", whole=False)
        content = line.group().rstrip(b"\r\n")
        header = _HEADER.fullmatch(content)
        if not content:
            end = line.end()
            break
        if content.startswith((b" ", b"\t")) and headers:
            headers[-1][1].append(content)
        elif header is not None:
            headers.append((header.group(1), [header.group(2)]))
        elif number > 0 or not content.startswith((b"From ", b">From ")):
            break
        end = line.end()
    named = tuple((_loose(name), _loose(b"".join(value))) for name, value in headers)
    return Entity(named, raw[end:], whole)


def read(mail: Entity) -> Read:
    """
    Return the text of a mail: of alternatives the plain one, of HTML what is not quoted in it.

    HTML beside a plain text is read too, if it is whole: it alone says what was struck out.

    Attachments, attached mails, encrypted parts and delivery reports have no text.
    """
    walk = _Walk()
    leaves = walk.leaves(mail, depth=0)
    text, whole = _text_of([leaf for leaf in leaves if leaf not in walk.rich])
    rich, rich_is_whole = _text_of([leaf for leaf in leaves if leaf not in walk.bare])
    return Read(
        text,
        _never_empty(rich) if walk.rich and rich_is_whole else "",
        truncated=not (whole and walk.whole),
        content_types=frozenset(walk.content_types),
    )


def parts_of(mail: Entity) -> list[tuple[str, str]]:
    """
    Return type and text of each part of a multipart, as it stands, not looked into further.

    For reports, whose parts have places of their own. At most 100 parts are looked at, and of
    each as much as of a text.
    """
    _, details = _content_type(mail)
    found: list[tuple[str, str]] = []
    for part in islice(_parts(mail, details.get("boundary", "")), MAX_PARTS):
        kind, own = _content_type(part)
        encoded = part.body[:_MAX_ENCODED_BYTES]
        data = decoded(encoded, part.value("Content-Transfer-Encoding"))
        text = characters(data, own.get("charset", ""), whole=part.whole)
        found.append((kind, bounded(text.replace("\r\n", "\n"))[0]))
    return found


def bounded(text: str) -> tuple[str, bool]:
    """Return as much of a text as is read, and whether that is all of it."""
    kept, whole = _beginning(text, MAX_BODY_CHARS)
    lines = kept.split("\n")
    short = [line if len(line) <= MAX_LINE_CHARS else line[:MAX_LINE_CHARS] + CUT for line in lines]
    return "\n".join(short[:MAX_LINES]), whole and short == lines[:MAX_LINES]


@dataclass(frozen=True, eq=False)
class _Leaf:
    """A part that is text, decoded when it is asked for."""

    kind: str
    entity: Entity
    details: Mapping[str, str]

    @property
    def text(self) -> str:
        return self._read.text

    @property
    def whole(self) -> bool:
        return self._read.whole

    @property
    def says_something(self) -> bool:
        return bool(self.text.strip()) or self._read.left_out

    @cached_property
    def _read(self) -> HtmlText:
        encoded = self.entity.body[:_MAX_ENCODED_BYTES]
        whole = self.entity.whole and len(encoded) == len(self.entity.body)
        data = decoded(encoded, self.entity.value("Content-Transfer-Encoding"))
        text = characters(data, self.details.get("charset", ""), whole=whole)
        reader = self._html if self.kind == "text/html" else self._plain
        return reader(text.replace("\r\n", "\n"), whole=whole)

    def _html(self, markup: str, *, whole: bool) -> HtmlText:
        beginning = markup[:_MAX_MARKUP_CHARS]
        found = text_of_html(beginning)
        whole = whole and found.whole and len(beginning) == len(markup)
        text = found.text if whole else _without_partial_line(found.text)
        return HtmlText(text, whole=whole, left_out=found.left_out)

    def _plain(self, text: str, *, whole: bool) -> HtmlText:
        text, fits = _beginning(text, MAX_BODY_CHARS)
        if fits and not whole:
            text = _without_partial_line(text)
        whole = whole and fits
        if self.details.get("format", "").lower() == "flowed":
            delete_space = self.details.get("delsp", "").lower() == "yes"
            text = _unflowed(text, delete_space=delete_space, whole=whole)
        return HtmlText(text, whole=whole)


class _Walk:
    """One way through the parts of a mail."""

    def __init__(self) -> None:
        self.whole = True
        self.content_types: set[str] = set()
        self.bare: set[_Leaf] = set()
        self.rich: set[_Leaf] = set()
        self._seen = 0

    def leaves(self, entity: Entity, *, depth: int) -> list[_Leaf]:
        """Return the parts of an entity that are its text, in their order."""
        self._seen += 1
        if self._seen > MAX_PARTS or depth > MAX_DEPTH:
            self.whole = False
            return []
        kind, details = _content_type(entity)
        self.content_types.add(kind)
        if _is_attached(entity, details):
            return []
        if kind.startswith("multipart/"):
            return self._of_parts(entity, kind.removeprefix("multipart/"), details, depth=depth)
        return [_Leaf(kind, entity, details)] if kind in _TEXT else []

    def _of_parts(
        self, entity: Entity, kind: str, details: Mapping[str, str], *, depth: int
    ) -> list[_Leaf]:
        if kind in _NOT_THE_REPLY:
            return []
        parts = _parts(entity, details.get("boundary", ""))
        counting = islice(parts, 1 if kind in _FIRST_IS_THE_REPLY else None)
        leaves = [leaf for part in counting for leaf in self.leaves(part, depth=depth + 1)]
        if kind != "alternative":
            return leaves
        plain = [leaf for leaf in leaves if leaf.kind == "text/plain"]
        markup = [leaf for leaf in leaves if leaf.kind == "text/html"]
        if not any(leaf.text.strip() for leaf in plain):
            return markup
        if any(leaf.says_something for leaf in markup):
            self.bare.update(plain)
            self.rich.update(markup)
        return leaves


def _text_of(leaves: Sequence[_Leaf]) -> tuple[str, bool]:
    """Return the text of parts, and whether that is all of it."""
    text, fits = bounded("\n".join(leaf.text for leaf in leaves))
    return text, fits and all(leaf.whole for leaf in leaves)


def _never_empty(text: str) -> str:
    """Return a text, or the mark of a quotation for one from which all was left out."""
    return text if text.strip() else QUOTE_MARK


def _loose(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def _content_type(entity: Entity) -> tuple[str, Mapping[str, str]]:
    """Return the type, which is plain text unless said otherwise, and its parameters."""
    try:
        kind, details = parameters(entity.value("Content-Type"))
    except ValueError:
        return "application/octet-stream", {}
    return kind or "text/plain", details


def _is_attached(entity: Entity, details: Mapping[str, str]) -> bool:
    """Return whether a part is a file: it says so, has a name, or is disposed of in an unknown way."""
    try:
        disposition, own = parameters(entity.value("Content-Disposition"))
    except ValueError:
        return True
    return disposition not in {"", "inline"} or "filename" in own or "name" in details


def _parts(entity: Entity, boundary: str) -> Iterator[Entity]:
    """Yield the parts of a multipart. Source: RFC 2046 section 5.1.1."""
    if not 0 < len(boundary) <= _MAX_BOUNDARY:
        return
    mark = re.escape(boundary.encode("utf-8", "surrogateescape"))
    delimiter = re.compile(rb"^--" + mark + rb"(--)?[ \t]*\r?$", re.MULTILINE)
    found = islice(delimiter.finditer(entity.body), MAX_PARTS + 1)
    for this, following in pairwise([*found, None]):
        if this is None or this.group(1):
            return
        if following is None:
            yield entity_of(entity.body[this.end() + 1 :], whole=entity.whole)
        else:
            part = _LAST_BREAK.sub(b"", entity.body[this.end() + 1 : following.start()])
            yield entity_of(part, whole=True)


def _beginning(text: str, chars: int) -> tuple[str, bool]:
    """Return a text's whole lines within its first `chars` characters, and whether that is all."""
    if len(text) <= chars:
        return text, True
    return _without_partial_line(text[:chars]), False


def _without_partial_line(text: str) -> str:
    """Leave out a last line that may go on elsewhere; mark it if it is the only one."""
    before, _, last = text.rpartition("\n")
    return before or (last + CUT if last.strip() else "")


def _unflowed(text: str, *, delete_space: bool, whole: bool) -> str:
    """
    Join the lines that a client broke, paragraph by paragraph; mark a last one that would go on.

    Source: RFC 3676 section 4 (soft breaks, space-stuffing, DelSp, quoting, signatures).
    """
    joined: list[tuple[int, list[str]]] = []
    flows = False
    for line in text.split("\n"):
        content = line.lstrip(">")
        depth = len(line) - len(content)
        content = content.removeprefix(" ")
        goes_on = flows and joined[-1][0] == depth and content != "-- "
        flows = content.endswith(" ") and content != "-- "
        if flows and delete_space:
            content = content[:-1]
        if goes_on:
            joined[-1][1].append(content)
        else:
            joined.append((depth, [content]))
    if flows and not whole:
        joined[-1][1].append(CUT)
    return "\n".join(
        (">" * depth + " " if depth else "") + "".join(contents) for depth, contents in joined
    )
