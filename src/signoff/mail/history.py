"""What was said before to the same gate of the same run, as a reviewer reads it (floor 3)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from signoff.mail.blocks import Block, moment, name
from signoff.mail.page import REMARK, Line, lines_of
from signoff.model.request import Request

_HISTORY_BYTES: Final = 6_000


def history(earlier: Sequence[Request]) -> Block:
    """
    Return what became of earlier requests of the same gate, with the reviewers' words.

    Args:
        earlier: Requests that ended without an approval, oldest first.
    """
    lines = tuple(line for request in reversed(earlier) for line in _told(request))
    return Block(
        title="Earlier answers, newest first", lines=lines, limit=_HISTORY_BYTES, look="boxes"
    )


def _told(request: Request) -> Iterator[Line]:
    end = request.resolution
    if end is None:
        return
    said = f'"{name(end.outcome)}"' if end.outcome else end.status
    yield Line(
        lead=f"{moment(end.resolved_at)}:", text=f"{said} by {name(end.reviewer)}", gutter=REMARK
    )
    if end.feedback.strip():
        yield from lines_of(end.feedback)
