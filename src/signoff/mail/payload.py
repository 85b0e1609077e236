"""The payload as a mail shows it: rendered by us from the stored bytes, typed, whole (floor 3)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Final

from signoff.mail.page import REMARK, Line, counted, led, lines_of, uncramped
from signoff.mail.render_html import html_bytes
from signoff.model.request import Request
from signoff.model.values import Row, rows
from signoff.rules.digest import short_code

MAX_BYTES: Final = 60_000
"""A payload that takes more than this in HTML is attached; mail clients cut mails at 100 kB."""

_FRAME_BYTES: Final = 600
_CHAR_BYTES: Final = 14
"""The mark of an invisible character, such as `\u27e8U+10FFFF\u27e9`, takes so many; all else takes less."""


def payload_lines(request: Request) -> Iterator[Line]:
    """Yield the whole payload: where, of what type, and the value."""
    for row in rows(request.payload_tree):
        yield from _row_lines(row)


def is_attached(request: Request) -> bool:
    """Return whether the payload is too long for a mail, and so is attached to it."""
    return are_too_long(tuple(payload_lines(request)))


def are_too_long(lines: Sequence[Line]) -> bool:
    """Return whether the lines of a payload are too long for a mail."""
    if sum(map(most_html_bytes, lines)) <= MAX_BYTES:
        return False
    sizes = accumulate(map(html_bytes, lines))
    return any(size > MAX_BYTES for size in sizes)


def most_html_bytes(line: Line) -> int:
    """Return what a line takes in HTML at the very most, without writing it."""
    return _FRAME_BYTES + _CHAR_BYTES * (len(line.lead) + len(line.text))


def reply_code(request: Request) -> str:
    """
    Return the code that an answer by mail has to hold besides its label; empty when it needs none.

    It stands at the end of an attached payload of high or critical risk, so that nobody
    approves such a payload without having opened it.
    """
    grave = request.risk in {"high", "critical"}
    return short_code(request.payload_digest) if grave and is_attached(request) else ""


def size_of(request: Request) -> str:
    """Return the counts of a payload: values, lines, characters, bytes."""
    table = rows(request.payload_tree)
    texts = [row.text for row in table]
    return ", ".join(
        [
            counted(len(table), "value"),
            counted(sum(text.count("\n") + 1 for text in texts), "line"),
            counted(sum(map(len, texts)), "character"),
            counted(len(request.payload_json.encode()), "byte") + " stored",
        ]
    )


def outline(request: Request) -> tuple[Line, ...]:
    """Return one line for each value of a payload: where, of what type, and how long."""
    return tuple(
        Line(lead=f"{_name(row)}:", text=counted(len(row.text), "character"), gutter=REMARK)
        for row in rows(request.payload_tree)
    )


def _row_lines(row: Row) -> Iterator[Line]:
    if "\n" in row.text:
        number = counted(row.text.count("\n") + 1, "line")
        yield Line(text="", lead=f"{_name(row)}, {number}:")
        yield from lines_of(row.text, indent="  ")
    else:
        yield from led(f"{_name(row)}:", row.text)


def _name(row: Row) -> str:
    return uncramped(f"{row.path or 'value'} ({row.type_name})")
