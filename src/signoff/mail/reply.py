"""
What a reviewer wrote in a reply, without the mail that it answers (floor 3).

Unlike a general parser this one knows the mail that it looks for: its sender, its addresses and
its lines. A reply in which nothing was written gives nothing, for a line of ours that was taken
for the reviewer's could decide.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise, takewhile
from typing import Final

from signoff.mail.armour import without_armour
from signoff.mail.banners import is_banner
from signoff.mail.greetings import greeted, is_like_a_greeting
from signoff.mail.leftovers import is_doubtful, names_a_place, says_nothing
from signoff.mail.marks import REPLY_LINE
from signoff.mail.mime import CUT, bounded
from signoff.mail.phrases import (
    DEVICES,
    DISCLAIMER,
    FROM_NAMES,
    HEADER_NAMES,
    ITSELF,
    MOBILE_SIGNATURE,
    OPENINGS,
    ORIGINAL_MESSAGE,
    PLACEHOLDER,
    SENT_BY,
    WROTE,
)
from signoff.mail.wording import is_wordless

_QUOTED: Final = re.compile(r"\s*>")
_INITIALS: Final = re.compile(r"^\s*[^\W\d_a-z]{1,3}>")
_RULER: Final = re.compile(r"\s*[-_=*\u2014\u2500]{5,}\s*")
_SIGNATURE: Final = re.compile(r"--\s*")
_COLON: Final = re.compile(r"[:\uff1a]\s*\**\Z")
_DAY: Final = re.compile(
    r"(?<!\d)(?:19|20)\d\d(?!\d)|(?<!\d)\d{1,2}[./-]\d{1,2}[./-]\d{2,4}(?!\d)|\u5e74"
)
_TIME: Final = re.compile(r"(?<!\d)\d{1,2}[:.h]\d{2}(?!\d)")
_WHOLE_DAY: Final = re.compile(
    r"(?<!\d)\d{1,2}(?![\d:h]).*(?:19|20)\d\d(?!\d)|(?:19|20)\d\d\D{1,9}\d{1,2}\D{1,9}\d{1,2}(?![:\d])"
    r"|\d{1,2}[./-]\d{1,2}[./-]\d{2}(?!\d)"
)
_HEADER: Final = re.compile(r"[\s*]*([^\s*:\uff1a][^*:\uff1a]{0,24}?)\s?\*?\s?[:\uff1a]")
_BLANK: Final = re.compile(
    r"[\s\u00ad\u034f\u115f\u1160\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufffc]*"
)
_IGNORED: Final = re.compile(r"[\s>*_=\u200b-\u200f\ufeff]+")
# Clients put these around names and addresses. Not the overrides: they show another text.
_DIRECTION: Final = re.compile(r"[\u061c\u200e\u200f\u202a-\u202c\u2066-\u2069]")
_FENCE: Final = frozenset("-_=*")
_BRACKET: Final = re.compile(r"\s*<")
_LINK: Final = re.compile(r"\s*<?https?://\S+>?")
_HAS_DIGIT: Final = re.compile(r"\d")
_GUTTER: Final = re.compile(r"[|+~]+")

_MIN_NAME_CHARS: Final = 3
_MAX_ADDED_CHARS: Final = 120
_ATTRIBUTION_LINES: Final = 4
_HEADER_LINES: Final = 6
_BAR_CHARS: Final = 3

_OUR_HEADERS: Final = 2
_OTHER_HEADERS: Final = 3
"""How many lines of a form such as `From: x` are the head of a mail: of ours, of another."""

_ROOM: Final = 2
_ROOM_WITHIN: Final = 3
"""
So many blank lines are room left for an answer: above all, below a banner, a greeting or a quote.

Whoever answers writes at the top of the room; what stands below it was there before.
"""

_LONG_ENOUGH: Final = 20
"""A piece of the original of so many characters is recognised wherever a client broke its lines."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SentContext:
    """
    What is known of the mail that a reply answers.

    Attributes:
        from_address: The address in its From.
        reply_to: The address in its Reply-To.
        display_name: The name in its From.
        lines: Its text, line by line.
        delimiter: The line above which the answer belongs.
    """

    from_address: str
    reply_to: str = field(repr=False)
    display_name: str
    lines: tuple[str, ...] = field(repr=False)
    delimiter: str = REPLY_LINE


@dataclass(frozen=True, slots=True)
class Reply:
    """
    What the reviewer wrote.

    Attributes:
        lines: The lines, without blank ones at the ends; none if nothing was written.
        left_out: Unquoted lines among them that were taken for somebody else's. Most are, and
            whoever looks for more than an answer must not pass over them.
        elsewhere: The lines as the mail's other form has them, of plain text and HTML; none if
            it has one form.
        doubtful: Whether they may be what stands in every mail of this author, a greeting or a
            closing that we do not know. Such lines answer if they name one of the choices.
        greeted: How many lines at the top only greet, where something stands below them.
        set_off: Whether they are doubtful for nothing but the room that is left above them, where
            an answer would stand.
    """

    lines: tuple[str, ...]
    left_out: tuple[str, ...] = field(default=(), compare=False, repr=False)
    elsewhere: tuple[str, ...] = field(default=(), compare=False, repr=False)
    doubtful: bool = field(default=False, compare=False)
    greeted: int = field(default=0, compare=False)
    set_off: bool = field(default=False, compare=False)

    @property
    def first(self) -> str:
        """The line that decides: the first that does more than greet; empty if there is none."""
        return self.lines[self.greeted] if self.lines else ""

    @property
    def below(self) -> tuple[str, ...]:
        """The lines after it."""
        return self.lines[self.greeted + 1 :]

    @property
    def rest(self) -> str:
        """The lines after it, as one text."""
        return "\n".join(self.below).strip("\n")

    @property
    def text(self) -> str:
        """All lines as one text, a greeting among them."""
        return "\n".join(self.lines)


def extract(text: str, *, sent: SentContext, rich: str = "", author: str = "") -> Reply:
    """
    Return what the reviewer wrote.

    Left out are quoted lines, lines of our own mail however they were quoted, the line above
    them that says who wrote when, everything behind the head of a mail or our delimiter,
    signatures behind `--`, and what phones and mail servers add. A text that begins with a closing formula or
    with its author's name is a signature and nothing else. Where it is unclear whose a line is,
    it is not the reviewer's.

    Plain text and HTML of one mail have to agree: nothing was written unless both hold
    something, and of two first lines the one that says more decides, for wrapping, striking out
    and hiding only take away.

    Args:
        text: The text of the reply, as `signoff.mail.incoming.parse` gives it.
        sent: What is known of our mail.
        rich: The text that its HTML has beside the plain one, if it has both.
        author: The name of whoever wrote it, if it is known.
    """
    original = _Original(sent.lines)
    reply = _read(text, sent, author, original, is_plain=bool(rich))
    if not rich or not reply.lines:
        return reply
    other = _read(rich, sent, author, original)
    if not other.lines:
        return other
    if len(_squeezed(other.first)) > len(_squeezed(reply.first)):
        reply, other = other, reply
    return replace(
        reply,
        left_out=(*reply.left_out, *other.left_out),
        elsewhere=other.lines,
        doubtful=reply.doubtful or other.doubtful,
        set_off=any(one.set_off for one in (reply, other))
        and all(one.set_off for one in (reply, other) if one.doubtful),
    )


def _read(
    text: str, sent: SentContext, author: str, original: _Original, *, is_plain: bool = False
) -> Reply:
    plain = without_armour(bounded(text)[0].split("\n"))
    lines = [_INITIALS.sub(">", _DIRECTION.sub("", line)).rstrip() for line in plain]
    reading = _Reading(lines, sent, original, is_plain=is_plain)
    found = _trimmed(reading.authored())
    if says_nothing(found, author):
        return Reply(())
    doubtful = (
        reading.only_leads_on(found)
        or is_doubtful(found, author)
        or reading.is_set_off
        or (reading.is_below and any(map(names_a_place, found)))
    )
    return Reply(
        found,
        tuple(reading.left_out),
        doubtful=doubtful or reading.has_room_above,
        greeted=greeted(found, author),
        set_off=reading.has_room_above and not doubtful,
    )


class _Original:
    """The text of our mail, and the place in it up to which a reply has repeated it."""

    def __init__(self, lines: Sequence[str]) -> None:
        squeezed = [_squeezed(line) for line in lines]
        self._lines = frozenset(line for line in squeezed if line)
        self._text = "".join(squeezed)
        self._without_gutters = _GUTTER.sub("", self._text)
        self._at: int | None = None

    def begin(self) -> None:
        """Forget the place: another form of the reply begins."""
        self._at = None

    def has(self, line: str) -> bool:
        """Return whether a line is one of ours, or a long enough piece of our text."""
        piece = _squeezed(line)
        # A short line keeps its gutter: `approved` is not what we showed as `| approved`.
        bare = _GUTTER.sub("", piece)
        return piece in self._lines or (len(bare) >= _LONG_ENOUGH and bare in self._without_gutters)

    def follow(self, line: str) -> None:
        """Note the place of a line that is quoted anyway."""
        piece = _squeezed(line)
        found = self._text.find(piece, self._at or 0)
        if piece and found >= 0:
            self._at = found + len(piece)

    def takes(self, line: str) -> bool:
        """Return whether a line repeats our text: anywhere, or right where the last one ended."""
        piece = _squeezed(line)
        if self._at is not None and self._text.startswith(piece, self._at):
            self._at += len(piece)
            return True
        if self.has(line):
            self.follow(line)
            return True
        self._at = None
        return False


class _Reading:
    """
    One way through the lines of a reply.

    Attributes:
        left_out: Unquoted lines that were taken for somebody else's.
        is_below: Whether the first line that was written stands below something quoted.
        is_set_off: Whether it stands below a ruler.
        has_room_above: Whether it stands below room that was left for an answer.
    """

    def __init__(
        self, lines: Sequence[str], sent: SentContext, original: _Original, *, is_plain: bool
    ) -> None:
        self._lines = lines
        self.left_out: list[str] = []
        self.is_below = False
        self.is_set_off = False
        self.has_room_above = False
        self._is_plain = is_plain
        self._below_room = -1
        self._note_room(0, lines=_ROOM)
        self._has_quoted = False
        self._leading_on: set[str] = set()
        self._noted = 0
        self._greeting_end = 0
        self._original = original
        original.begin()
        self._addresses = tuple(
            address.casefold() for address in (sent.from_address, sent.reply_to) if address
        )
        self._name = _squeezed(sent.display_name)
        self._delimiter = _squeezed(sent.delimiter)

    def authored(self) -> list[str]:
        """Return the lines that the reviewer wrote, blank ones among them."""
        found: list[str] = []
        at = 0
        while at < len(self._lines):
            line = self._lines[at]
            if _QUOTED.match(line):
                self._note_lead(found)
                self._original.follow(line)
                self._has_quoted = True
                at += 1
                self._note_room_within(at)
                continue
            end = self._attribution_end(at)
            if end is not None:
                self._take_back_beginning(found, at, end)
                self.left_out += self._lines[at:end]
                if self._is_quoted(self._next(end)):
                    at = end
                    continue
            if end is not None or self._ends_reply(at):
                self._note_lead(found)
                break
            at = self._take(found, at)
        return found

    def _take(self, found: list[str], at: int) -> int:
        """Add a line to what was written, if the reviewer wrote it; return where to go on."""
        line = self._lines[at]
        if _BLANK.fullmatch(line):
            found.append("")
        elif _RULER.fullmatch(line):
            self.is_set_off |= not any(found)
        elif _is_notice(line, above=not any(found), below=self._has_quoted):
            end = self._end_of_paragraph(at)
            self.left_out += self._lines[at : end + 1]
            self._note_room_within(end + 1)
            return end + 1
        elif _is_added(line) or (SENT_BY.fullmatch(line.strip()) and self._is_last(at)):
            return at + 1 + self._is_link(at + 1)
        elif self._links_to_us(line) or self._original.takes(line):
            self._note_lead(found)
            self.left_out.append(line)
        else:
            self.is_below |= self._has_quoted and not any(found)
            self.has_room_above |= at == self._below_room and not any(found[self._greeting_end :])
            found.append(line)
            self._note_greeting(found, at)
        return at + 1

    def _note_greeting(self, found: Sequence[str], at: int) -> None:
        """Remember a greeting, and the room below it."""
        if not any(found[:-1]) and is_like_a_greeting(found[-1]):
            self._greeting_end = len(found)
            self._note_room_within(at + 1)

    def _note_room_within(self, start: int) -> None:
        """Note room below something. What was HTML has blank lines between any two blocks."""
        if self._is_plain:
            self._note_room(start, lines=_ROOM_WITHIN)

    def _note_room(self, start: int, *, lines: int) -> None:
        end = self._next(start)
        if end - start >= lines:
            self._below_room = end

    def only_leads_on(self, found: Sequence[str]) -> bool:
        """Return whether each line only introduces what is quoted below it, as clients write."""
        return bool(found) and self._leading_on.issuperset(line for line in found if line)

    def _note_lead(self, found: Sequence[str]) -> None:
        """Remember the line above something quoted, if it ends in a colon."""
        if len(found) == self._noted:
            return
        self._noted = len(found)
        above = next((line for line in reversed(found) if line), "")
        if _COLON.search(above):
            self._leading_on.add(above)

    def _take_back_beginning(self, found: list[str], start: int, end: int) -> None:
        """Take back lines right above an attribution that begins within its day."""
        piece = list(takewhile(bool, reversed(found)))[: _ATTRIBUTION_LINES - 1]
        if not piece or self._lines[start].casefold().startswith(OPENINGS):
            return
        text = _TIME.sub("", _in_ascii_digits(" ".join(self._lines[start:end])))
        cut_off = _DAY.search(text) and not _WHOLE_DAY.search(text)
        if cut_off and _HAS_DIGIT.search(_in_ascii_digits(" ".join(piece))):
            del found[-len(piece) :]
            self.left_out += reversed(piece)
        else:
            self._leading_on.update(piece)

    def _attribution_end(self, start: int) -> int | None:
        """Return where the line that says who wrote when ends, if it begins at `start`."""
        if not self._may_open(self._lines[start]):
            return None
        for end in range(start, min(start + _ATTRIBUTION_LINES, len(self._lines))):
            line = self._lines[end]
            begins_here = end > start and line.casefold().startswith(OPENINGS)
            if _BLANK.fullmatch(line) or _QUOTED.match(line) or begins_here:
                return None
            text = " ".join(self._lines[start : end + 1])
            if _COLON.search(line):
                return end + 1 if self._attributes(text, end + 1) else None
            if self._dates_us(text) and self._goes_on_with_us(end + 1):
                return end + 1
        return None

    def _dates_us(self, text: str) -> bool:
        """Return whether a text names a day and us: some attributions end in no colon."""
        return self._names_us(text) and _DAY.search(text) is not None

    def _goes_on_with_us(self, at: int) -> bool:
        """Return whether our mail follows, or what is left of an attribution in pieces."""
        at = self._next(at)
        pieces = self._lines[at : at + _ATTRIBUTION_LINES]
        if pieces and _BRACKET.match(pieces[0]):
            return any(map(self._has_our_address, pieces))
        return self._is_ours(at)

    def _may_open(self, line: str) -> bool:
        return _opens(line) or self._names_us(line) or bool(_DAY.search(_in_ascii_digits(line)))

    def _attributes(self, text: str, following: int) -> bool:
        """Return whether a text with a colon at its end says whom the following lines are from."""
        folded = text.casefold()
        if self._has_our_address(text):
            return True
        wrote = any(verb in folded for verb in WROTE)
        text = _in_ascii_digits(text)
        when = _DAY.search(text) is not None and _TIME.search(text) is not None
        if wrote and (when or (_opens(text) and _DAY.search(text))):
            return True
        hinted = when or self._names_us(text) or (_opens(text) and wrote)
        return hinted and self._is_ours(self._next(following))

    def _ends_reply(self, at: int) -> bool:
        """
        Return whether all from here on is not the reviewer's.

        What a ruler sets off below the quoted mail was put there by a list or a server.
        """
        line = self._lines[at].strip()
        if self._is_delimiter(line) or _SIGNATURE.fullmatch(line):
            return True
        if _RULER.fullmatch(line):
            at = self._next(at + 1)
            if self._has_quoted and at < len(self._lines):
                return True
        return self._is_head_of_mail(at) or self._is_fenced(line, at)

    def _is_fenced(self, line: str, at: int) -> bool:
        """Return whether a line, between dashes in most clients, tells of the mail below it."""
        if ORIGINAL_MESSAGE.fullmatch(line):
            return True
        below = self._next(at + 1)
        if _is_bar(line) and (self._names_us(line) or self._is_or_names_us(below)):
            return True
        if not _FENCE.issuperset(line[:2] + line[-2:]) or _RULER.fullmatch(line):
            return False
        return self._dates_us(line) or self._is_head_of_mail(self._next(at + 1))

    def _is_head_of_mail(self, at: int) -> bool:
        """Return whether the lines name sender, date and so on, as a client puts them on top."""
        headers = list(self._headers(at))
        if not headers:
            return False
        names = [name for name, _ in headers]
        lines = [line for _, line in headers]
        if names[0] in FROM_NAMES and self._has_our_address(lines[0]):
            return True
        if names[0] in HEADER_NAMES:
            known = [name for name in names if name in HEADER_NAMES]
            enough = _OUR_HEADERS if any(map(self._names_us, lines)) else _OTHER_HEADERS
            return bool(FROM_NAMES & set(known)) and len(known) >= enough
        together = len(list(takewhile(_HEADER.match, self._lines[at : at + _OTHER_HEADERS])))
        return together == _OTHER_HEADERS and self._names_us(lines[0])

    def _headers(self, at: int) -> Iterator[tuple[str, str]]:
        """Yield the names of what reads like headers, and the lines; some clients part them."""
        block = self._lines[at : at + 2 * _HEADER_LINES]
        for line in [line for line in block if not _BLANK.fullmatch(line)][:_HEADER_LINES]:
            header = _HEADER.match(line)
            if header is None:
                return
            yield header.group(1).casefold(), line

    def _end_of_paragraph(self, at: int) -> int:
        """Return where the last line of a paragraph is."""
        while at + 1 < len(self._lines) and not _BLANK.fullmatch(self._lines[at + 1]):
            at += 1
        return at

    def _next(self, at: int) -> int:
        """Return where the next line that is not blank is, or the number of lines."""
        while at < len(self._lines) and _BLANK.fullmatch(self._lines[at]):
            at += 1
        return min(at, len(self._lines))

    def _is_quoted(self, at: int) -> bool:
        return at < len(self._lines) and _QUOTED.match(self._lines[at]) is not None

    def _links_to_us(self, line: str) -> bool:
        """Return whether a line is one of our buttons with its link written out."""
        return any(f"mailto:{address}" in line.casefold() for address in self._addresses)

    def _is_last(self, at: int) -> bool:
        """Return whether nothing but the quoted mail follows a line."""
        at = self._next(at + 1)
        return self._is_ours(at) or self._ends_reply(at) or self._attribution_end(at) is not None

    def _is_link(self, at: int) -> bool:
        return at < len(self._lines) and _LINK.fullmatch(self._lines[at]) is not None

    def _is_ours(self, at: int) -> bool:
        """Return whether the reply ends here, or goes on with our mail, quoted or not."""
        if at == len(self._lines) or self._is_quoted(at):
            return True
        line = self._lines[at]
        return self._is_delimiter(line) or self._original.has(line) or self._is_head_of_mail(at)

    def _is_or_names_us(self, at: int) -> bool:
        return self._is_ours(at) or self._names_us(self._lines[at])

    def _is_delimiter(self, line: str) -> bool:
        return bool(self._delimiter) and self._delimiter in _squeezed(line)

    def _names_us(self, text: str) -> bool:
        named = len(self._name) >= _MIN_NAME_CHARS and self._name in _squeezed(text)
        return named or self._has_our_address(text)

    def _has_our_address(self, text: str) -> bool:
        folded = text.casefold()
        return any(address in folded for address in self._addresses)


def _squeezed(line: str) -> str:
    """Return what is compared of a line: no blanks, quote marks, emphasis or case."""
    return _IGNORED.sub("", line.removesuffix(CUT)).casefold()


def _is_bar(line: str) -> bool:
    """Return whether a title stands between runs of one mark, such as `=== Original ===`."""
    run = line[:1] * _BAR_CHARS
    if not run or line[0].isalnum():
        return False
    dense = line.replace(" ", "")
    return dense.startswith(run) and dense.endswith(run) and not is_wordless(line)


def _in_ascii_digits(text: str) -> str:
    """Return a text with the digits of every script as ours."""
    if text.isascii():
        return text
    return "".join(str(unicodedata.decimal(c)) if c.isdecimal() else c for c in text)


def _opens(text: str) -> bool:
    return text[:1].isdigit() or text.casefold().startswith(OPENINGS)


def _is_added(line: str) -> bool:
    """Return whether an app added the line, or it only rules off or stands for a picture."""
    bare = line.strip(" \t*_")
    if len(bare) > _MAX_ADDED_CHARS:
        return False
    if PLACEHOLDER.fullmatch(bare):
        return True
    return bool(MOBILE_SIGNATURE.match(bare) and DEVICES.search(bare))


def _is_notice(line: str, *, above: bool, below: bool) -> bool:
    """Return whether a mail server wrote the line: a warning above a mail, a notice below it."""
    if above and is_banner(line):
        return True
    return below and bool(DISCLAIMER.search(line) and ITSELF.search(line))


def _trimmed(lines: Sequence[str]) -> tuple[str, ...]:
    """Return lines without blank ones at the ends and without runs of them."""
    kept = [line for before, line in pairwise(["", *lines]) if line or before]
    return tuple(kept[:-1] if kept and not kept[-1] else kept)
