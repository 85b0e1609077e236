"""Approving with changes by mail: what is offered, and what a reply makes of it (floor 3)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from signoff.codec import Codec
from signoff.errors import CodecError
from signoff.mail.blocks import Block, name, short
from signoff.mail.page import Line, led, uncramped
from signoff.mail.payload import reply_code
from signoff.mail.reply import Reply
from signoff.model.request import Request
from signoff.model.values import Tree, rows
from signoff.rules.digest import digest
from signoff.rules.edits import Change
from signoff.rules.outcomes import Answer, read_answer
from signoff.rules.written_edits import (
    APPROVED_WITH_CHANGES,
    Scalar,
    Written,
    announces_changes,
    changes_among,
    label_with_changes,
    read_changes,
    scalars,
)

_NAMES_LENGTH: Final = 1_000
_FIELD_LENGTH: Final = 60
_CHANGES_BYTES: Final = 12_000
_NOTED_PARTS: Final = 3


@dataclass(frozen=True, slots=True)
class Offer:
    """
    An approval with changes, where a request allows it.

    Attributes:
        label: The label that it gives.
        scalars: The values that a line can change.
    """

    label: str
    scalars: tuple[Scalar, ...]

    @property
    def lines(self) -> tuple[str, ...]:
        """The lines of a reply that changes nothing yet."""
        return (APPROVED_WITH_CHANGES, *(one.line for one in self.scalars))

    @property
    def names(self) -> str:
        """The names of the values, on one line, visibly cut if there are very many."""
        return short(", ".join(one.name for one in self.scalars), _NAMES_LENGTH)


def offer_of(request: Request) -> Offer | None:
    """
    Return how a reply approves a request with changes; `None` where it cannot.

    It can where the payload is editable and a value of it can be written on a line, exactly one
    label means approve, the words of the offer are no answer already, and the reply needs no code.
    """
    label = label_with_changes(request.choices, risk=request.risk)
    if label is None or not request.editable or request.kind == "in_doubt" or reply_code(request):
        return None
    found = scalars(request.payload_tree, fixed=request.hidden)
    return Offer(label, found) if found else None


@dataclass(frozen=True, slots=True, kw_only=True)
class MailedEdit:
    """
    What a reply that approves with changes comes to.

    Attributes:
        answer: The label that it gives, and the reviewer's words.
        why: Why the changes are not accepted; empty if they are.
        payload_json: The payload with the changes.
        payload_digest: The digest of that.
        changes: The changes as a confirmation notes them.
    """

    answer: Answer
    why: str
    payload_json: str
    payload_digest: str
    changes: list[Tree]


def edit_in(reply: Reply, request: Request, codec: Codec) -> MailedEdit | None:
    """
    Return what a reply that approves with changes comes to; `None` for any other reply.

    One that approves without them and gives a value all the same does not say which it means,
    and is not accepted either.

    Args:
        reply: What the reviewer wrote.
        request: The request.
        codec: Which reads the payload: what it cannot read is not accepted.
    """
    announced = announces_changes(reply.first)
    if not announced and not any("=" in line for line in reply.below):
        return None
    offer = offer_of(request)
    if offer is None:
        return None
    if not announced:
        return _unannounced(reply, request, offer)
    written = read_changes(request.payload_tree, reply.below, fixed=request.hidden)
    text = json.dumps(written.edit.tree, ensure_ascii=False, separators=(",", ":"))
    answer = read_answer(offer.label, written.feedback, request.choices, risk=request.risk)
    words = written.feedback or APPROVED_WITH_CHANGES
    return MailedEdit(
        answer=answer if answer.kind == "ambiguous" else replace(answer, feedback=words),
        why=_why_unclear(reply, request) or _why_not(written, text, codec),
        payload_json=text,
        payload_digest=digest(text),
        changes=_noted(written.edit.changes),
    )


def _unannounced(reply: Reply, request: Request, offer: Offer) -> MailedEdit | None:
    answer = read_answer(reply.first, reply.rest, request.choices, risk=request.risk)
    given = changes_among(request.payload_tree, reply.below, fixed=request.hidden)
    if answer.outcome != offer.label or not given:
        return None
    return MailedEdit(
        answer=answer,
        why=f"Its first line approves without changes, and below it stands: {_cut(given[0])}."
        f' Write "{APPROVED_WITH_CHANGES}" on the first line, or leave the other out.',
        payload_json=request.payload_json,
        payload_digest=request.payload_digest,
        changes=[],
    )


def _why_unclear(reply: Reply, request: Request) -> str:
    """Return in a sentence why nobody can tell which changes are meant; empty if it is clear."""
    tree, fixed = request.payload_tree, request.hidden
    for line in changes_among(tree, reply.left_out, fixed=fixed):
        return f"Nobody can tell whether this line is yours or a part of our mail: {_cut(line)}."
    here = changes_among(tree, reply.lines, fixed=fixed)
    if reply.elsewhere and changes_among(tree, reply.elsewhere, fixed=fixed) != here:
        return "The HTML of your mail does not hold the same changes as its plain text."
    return ""


def _cut(text: str) -> str:
    return uncramped(short(text, _FIELD_LENGTH))


def _why_not(written: Written, text: str, codec: Codec) -> str:
    """Return in a sentence why changes are not accepted; empty if they are."""
    for problem in written.problems:
        return f"{_cut(problem.field)} {problem.why}."
    try:
        codec.load(text, path="payload")
    except CodecError as error:
        return f"The payload cannot be read with these changes: {error}."
    return ""


def _noted(changes: Sequence[Change]) -> list[Tree]:
    """Return changes as the note of a confirmation keeps them: where, the old and the new value."""
    return [[one.path or "value", _text(one.old), _text(one.new)] for one in changes]


def told(note: Tree) -> Block:
    """Return changes that `edit_in` noted, the old value above the new; nothing of another note."""
    changes = note if isinstance(note, list) else []
    lines = [
        line
        for one in changes
        if isinstance(one, list) and len(one) == _NOTED_PARTS
        for line in _told(*map(str, one))
    ]
    return Block(title="What was changed", lines=tuple(lines), limit=_CHANGES_BYTES, look="rows")


def _told(where: str, old: str, new: str) -> Iterator[Line]:
    yield from led(f"{uncramped(name(where))}, proposed:", old)
    yield from led(f"{uncramped(name(where))}, changed to:", new)


def _text(tree: Tree) -> str:
    return rows(tree)[0].text
