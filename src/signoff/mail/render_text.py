"""A page as plain text: complete on its own, at most 72 columns, no tables (floor 3)."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import Final

from signoff.mail.marks import REPLY_LINE
from signoff.mail.page import MORE, Fact, Line, Page, Part, Said, Section, harmless, shown

WIDTH: Final = 72
"""The longest line of a text part, so that it can be quoted a few times within 80 columns."""

_LONGEST_WORD: Final = 24
_WRAPPER: Final = textwrap.TextWrapper(
    WIDTH, subsequent_indent="  ", break_on_hyphens=False, tabsize=1
)


def text_of(page: Page, *, reply_line: bool = True) -> str:
    """
    Return a page as plain text.

    Args:
        page: The page.
        reply_line: Whether it begins with the line that an answer goes above.
    """
    lines = [REPLY_LINE, ""] if reply_line else []
    lines += [*_wrapped(page.heading), ""]
    if page.head:
        lines += [*(line for part in page.head for line in _part(part)), ""]
    lines += _sections(page.sections)
    return _joined(lines, page.words)


def attachment_of(page: Page) -> str:
    """Return the sections that the mail could not hold, as plain text."""
    return _joined([*_sections(page.whole)], page.words)


def _joined(lines: Sequence[str], words: frozenset[str]) -> str:
    return "".join(harmless(line, words) + "\n" for line in lines)


def _sections(sections: Sequence[Section]) -> Iterator[str]:
    for section in sections:
        yield f"== {section.title} =="
        for part in section.parts:
            yield from _part(part)
        yield ""


def _part(part: Part) -> Iterator[str]:
    if isinstance(part, Said):
        yield from () if part.only == "html" else _wrapped(part.text)
    elif isinstance(part, Fact):
        yield from _wrapped(str(part))
    elif isinstance(part, Line):
        yield from _folded(part)


def _wrapped(text: str) -> list[str]:
    line = shown(text)
    if line and len(line) <= WIDTH and not line[-1].isspace():
        # The same as below, for a fraction of its cost.
        return [line]
    return _WRAPPER.wrap(line)


def _folded(line: Line) -> Iterator[str]:
    """Cut behind a blank if one is near; no character is dropped, as `textwrap` would."""
    text, gutter, start = str(line), "", 0
    while len(gutter) + len(text) - start > WIDTH:
        end = start + WIDTH - len(gutter)
        cut = text.rfind(" ", end - _LONGEST_WORD, end) + 1 or end
        yield gutter + text[start:cut]
        gutter, start = MORE, cut
    yield gutter + text[start:]
