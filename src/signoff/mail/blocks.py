"""Parts of a page that have a limit: what a mail shows of them, and what it leaves out (floor 3)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from signoff.mail.page import MORE, REMARK, Line, Look, Part, Section, counted, shown
from signoff.mail.render_html import html_bytes

ATTACHMENT: Final = "request.txt"
"""The name of the attachment that holds what is too long for a mail."""

_NAME_LENGTH: Final = 200
_PIECE: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """
    Lines of others under a title.

    Attributes:
        title: In our own words.
        lines: All of them.
        limit: How many bytes of them in HTML the mail itself shows; `None` for all.
        before: What stands between the title and them.
        look: How HTML shows them.
    """

    title: str
    lines: tuple[Line, ...]
    limit: int | None
    before: tuple[Part, ...] = ()
    look: Look = "box"

    def whole(self) -> Section:
        """Return all of it."""
        return Section(self.title, (*self.before, *self.lines), self.look)

    def fitted(self) -> Section:
        """Return what fits into the limit, and a remark on what does not."""
        return Section(self.title, (*self.before, *_fitted(self.lines, self.limit)), self.look)


def fit(blocks: Sequence[Block]) -> tuple[list[Section], bool]:
    """Return the blocks as far as a mail shows them, and whether that leaves anything out."""
    fitted = [block.fitted() for block in blocks]
    return fitted, fitted != [block.whole() for block in blocks]


def moment(when: datetime) -> str:
    """Return an instant as reviewers read it, always in UTC and always saying so."""
    return f"{when.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def name(text: str) -> str:
    """Return a name, an id or a short sentence on one line, visibly cut if it is over-long."""
    return short(text, _NAME_LENGTH)


def short(text: str, length: int) -> str:
    """Return a text on one line, visibly cut to `length` characters if it is longer."""
    one_line = shown(" ".join(text.split()))
    return one_line if len(one_line) <= length else one_line[: length - 1] + "\u2026"


def _fitted(lines: Sequence[Line], limit: int | None) -> tuple[Line, ...]:
    """Return the lines that take `limit` bytes together, and a remark that counts the rest."""
    if limit is None or sum(map(html_bytes, lines)) <= limit:
        return tuple(lines)
    kept: list[Line] = []
    room = limit
    left = 0
    for piece in _pieces(lines):
        room -= html_bytes(piece)
        if room >= 0:
            kept.append(piece)
        else:
            left += len(piece.lead) + len(piece.text)
    rest = Line(text=f"{counted(left, 'character')} more: see {ATTACHMENT}", gutter=REMARK)
    return (*kept, rest)


def _pieces(lines: Sequence[Line]) -> Iterator[Line]:
    """Cut long lines, so that a limit never leaves out the whole of one."""
    for line in lines:
        yield replace(line, text=line.text[:_PIECE])
        for start in range(_PIECE, len(line.text), _PIECE):
            yield Line(text=line.text[start : start + _PIECE], gutter=MORE, tone=line.tone)
