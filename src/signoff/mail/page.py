"""
What a message shows, before it is text or HTML (floor 3).

A page keeps apart what Signoff says itself (`Said`) and what others wrote (`Line`): the
stored payload, the agent's words, a reviewer's reply. What others wrote always stands behind
a gutter, so that none of it passes for our words, for a quoted reply or for an answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final, Literal

from typing_extensions import override

from signoff.model.request import Request, Tone
from signoff.model.values import visible
from signoff.rules.outcomes import normalise
from signoff.rules.written_edits import APPROVED_WITH_CHANGES

Gutter = Literal["| ", "|+ ", "|~ "]
"""What a line of somebody else's begins with: a new line, the rest of one, or our remark on it."""

NEW: Final[Gutter] = "| "
MORE: Final[Gutter] = "|+ "
REMARK: Final[Gutter] = "|~ "

Look = Literal["box", "boxes", "rows", "quiet"]
"""How HTML shows a section."""

ButtonLook = Literal["approve", "reject", "neutral"]
"""How HTML colours a button."""

_CRAMPED: Final = 40
"""So many blanks in a row could push what follows out of sight, and are counted instead."""

_BLANKS: Final = re.compile(rf"(\s{{{_CRAMPED},}})")
_FEW_BLANK_LINES: Final = 2
_MARKS: Final = ("|", "#", "%", "=")
_TAB: Final = "    "


@dataclass(frozen=True, slots=True)
class Said:
    """
    One paragraph in our own words.

    Attributes:
        text: The paragraph.
        only: Whether only the text says it, or only the HTML, where a button or a table makes
            the difference; `None` for both.
    """

    text: str
    only: Literal["text", "html"] | None = None


@dataclass(frozen=True, slots=True)
class Fact:
    """
    One of our own facts about the request: `Asked by: agent-7`.

    Attributes:
        name: What it is.
        value: The fact, on one line.
        note: A remark on it.
    """

    name: str
    value: str
    note: str = ""

    @override
    def __str__(self) -> str:
        """The fact behind its name."""
        return " ".join(filter(None, (f"{self.name}:", self.value, self.note)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """
    One line that somebody else wrote, or our remark among such lines.

    Attributes:
        text: The line, without its gutter.
        gutter: What it begins with.
        tone: How HTML colours its edge.
        lead: What names it, such as `amount (Decimal):`; lines without a lead go on with the
            one before.
        mark: What stands before the lead, such as `[red]`.
    """

    text: str
    gutter: Gutter = NEW
    tone: Tone | None = None
    lead: str = ""
    mark: str = ""

    @override
    def __str__(self) -> str:
        """The line behind its gutter, its mark and its lead."""
        text = " ".join(filter(None, (self.mark, shown(self.lead), shown(self.text))))
        return (self.gutter + text) if text else self.gutter.rstrip()


@dataclass(frozen=True, slots=True)
class Button:
    """
    A link that answers; text shows the same choice in words.

    Attributes:
        label: What it says.
        href: Where it leads.
        note: What it is for, in a few words.
        look: Its colour: that of what the answer means, or plain.
    """

    label: str
    href: str
    note: str = ""
    look: ButtonLook = "neutral"


Part = Said | Fact | Line | Button


@dataclass(frozen=True, slots=True)
class Section:
    """
    Some parts under a title.

    Attributes:
        title: In our own words.
        parts: In the order in which they are shown.
        look: How HTML shows it: the lines of others as the rows of a table, in one box, or in
            a box for each that has a lead; or all of it quietly.
    """

    title: str
    parts: tuple[Part, ...]
    look: Look = "box"


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """
    One message.

    Attributes:
        title: One line that names the request; sanitised, but in the words of the flow.
        heading: What kind of message it is.
        summary: One sentence for the list of mails.
        head: What has to be known first, above all sections.
        sections: The rest.
        words: The normalised answers that no line of the page may be taken for.
        whole: The sections of the attachment, where the mail cannot hold everything.
        tone: How HTML colours its upper edge; a word says the same.
    """

    title: str
    heading: str
    summary: str
    sections: tuple[Section, ...]
    words: frozenset[str]
    head: tuple[Fact, ...] = ()
    whole: tuple[Section, ...] = ()
    tone: Tone = "slate"


def answers(request: Request) -> frozenset[str]:
    """Return every answer to `request` as it is compared: labels and aliases, normalised."""
    given = [word for choice in request.choices for word in (choice.label, *choice.aliases)]
    if given:
        given.append(APPROVED_WITH_CHANGES)
    return frozenset(normalise(word) for word in given)


def harmless(line: str, words: frozenset[str]) -> str:
    """
    Return `line`, changed if needed so that it cannot be read as one of the answers.

    A mail that comes back with its quoting broken, and nothing else in it, then decides
    nothing. A line that only begins with an answer is changed too.
    """
    if line.startswith("|") and not any(word.startswith("|") for word in words):
        return line
    if not _reads_as_one(line, words):
        return line
    # No answer begins with the last of these, being shorter; so one of them always helps.
    marks = (*_MARKS, "x" * (max(map(len, words)) + 1))
    moved = (f"{mark} {line}" for mark in marks)
    return next(text for text in moved if not _reads_as_one(text, words))


def shown(text: str) -> str:
    """Return `text` on one line, with all that is invisible made visible."""
    return visible(text, keep_newlines=False)


def lines_of(text: str, *, indent: str = "", tone: Tone | None = None) -> Iterator[Line]:
    """
    Yield the lines of a text that somebody else wrote.

    Nothing is left out, but nothing is pushed out of sight either: runs of blank lines and
    of blanks are counted instead of shown.
    """
    blank = 0
    for text_line in visible(text, keep_newlines=True).replace("\t", _TAB).split("\n"):
        if not text_line.strip():
            blank += 1
            continue
        yield from _blank_lines(blank)
        blank = 0
        yield from _one_line(text_line, indent=indent, tone=tone)
    yield from _blank_lines(blank)


def led(lead: str, text: str, *, tone: Tone | None = None, mark: str = "") -> Iterator[Line]:
    """Yield the lines of a text that somebody else wrote, the first of them behind its lead."""
    first, *rest = lines_of(text, tone=tone)
    if first.gutter == NEW:
        yield replace(first, lead=lead, mark=mark)
    else:
        yield from (Line(text="", lead=lead, mark=mark, tone=tone), first)
    yield from rest


def uncramped(text: str) -> str:
    """Return `text` on one line, with runs of blanks that could hide what follows counted."""
    return _BLANKS.sub(lambda run: f"\u27e8{counted(len(run[0]), 'blank')}\u27e9", shown(text))


def counted(number: int, noun: str) -> str:
    """Return `number` with its noun: `1 line`, `2,000 lines`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _reads_as_one(line: str, words: frozenset[str]) -> bool:
    first = line[:1].lower()
    if line.isascii() and first.isalnum() and first not in _initials(words):
        # The comparison keeps what such a line begins with, and costs more.
        return False
    compared = normalise(line)
    if not compared.startswith(tuple(words)):
        return False
    return any(
        compared.startswith(word) and not compared[len(word) : len(word) + 1].isalnum()
        for word in words
    )


@lru_cache(maxsize=64)
def _initials(words: frozenset[str]) -> frozenset[str]:
    return frozenset(word[:1] for word in words)


def _blank_lines(number: int) -> Iterator[Line]:
    if number <= _FEW_BLANK_LINES:
        yield from (Line(text="") for _ in range(number))
    else:
        yield Line(text=counted(number, "blank line"), gutter=REMARK)


def _one_line(text: str, *, indent: str, tone: Tone | None) -> Iterator[Line]:
    gutter, lead = NEW, indent
    for part in filter(None, _BLANKS.split(text)):
        if _BLANKS.fullmatch(part):
            yield Line(text=counted(len(part), "blank"), gutter=REMARK)
        else:
            yield Line(text=lead + part, gutter=gutter, tone=tone)
        gutter, lead = MORE, ""
