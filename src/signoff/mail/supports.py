"""What supports a request: evidence, the agent's words, earlier answers to the same gate (floor 3)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from signoff.mail.blocks import Block, moment, name
from signoff.mail.page import REMARK, Line, Said, led, lines_of, uncramped
from signoff.model.request import Evidence, Request

_EVIDENCE_BYTES: Final = 6_000
_AGENT_BYTES: Final = 8_000
_HISTORY_BYTES: Final = 6_000


def evidence(request: Request) -> Block:
    """Return the evidence, each item behind its tone and its label."""
    lines = [
        line
        for item in request.evidence
        for line in led(f"{_label(item)}:", item.value, tone=item.tone, mark=f"[{item.tone}]")
    ]
    return Block(title="Evidence given", lines=tuple(lines), limit=_EVIDENCE_BYTES, look="boxes")


def _label(item: Evidence) -> str:
    return uncramped(" ".join(item.label.split()))


def agent(request: Request) -> Block:
    """Return what the agent says of the payload, under a title that says who wrote it."""
    said = [("Summary", request.summary), ("Rationale", request.rationale)]
    if request.confidence is not None:
        said.append(("Confidence", f"{request.confidence:g}"))
    lines = [line for title, text in said if text for line in led(f"{title}:", text)]
    return Block(
        title="Written by the agent, not verified",
        lines=tuple(lines),
        limit=_AGENT_BYTES,
        before=(Said("The agent's own words about what it wants. Signoff checked none of them."),),
    )


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
