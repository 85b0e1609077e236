"""What an application answers, read against the request that it answers (floor 6)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import cast

from signoff.codec import Codec
from signoff.errors import CodecError, InvalidEditError, UnknownOutcomeError
from signoff.model.decision import Channel, Proof
from signoff.model.request import Request
from signoff.model.values import Tree
from signoff.rules.digest import digest
from signoff.rules.edits import check_edit
from signoff.rules.lifecycle import Respond
from signoff.rules.outcomes import Matched, Meaning, label_of_meaning, match, read_answer


def reading(request: Request, outcome: str | None, feedback: str) -> tuple[str, str]:
    """
    Return the label that an outcome stands for, and the reviewer's words.

    Raises:
        UnknownOutcomeError: The outcome is none of the labels, or blank.
    """
    if not request.choices:
        words = "\n".join(part for part in (outcome or "", feedback) if part.strip())
        if not words:
            raise UnknownOutcomeError(
                request.request_id, outcome="", options=(), why="is blank, and text is the answer"
            )
        return "", words
    given = outcome or ""
    answer = read_answer(
        given, "", request.choices, risk=request.risk, default_outcome=request.default_outcome
    )
    if answer.outcome is None:
        raise UnknownOutcomeError(
            request.request_id,
            outcome=given,
            options=request.options,
            why="is blank" if answer.kind == "blank" else "is none of the labels, or several",
        )
    found = match(given, request.choices, risk=request.risk)
    exact = isinstance(found, Matched) and not found.remainder
    return answer.outcome, feedback or ("" if exact else answer.feedback)


def one_label(request: Request, meaning: Meaning) -> str:
    """Return the one label of a request that has this meaning. Raises `UnknownOutcomeError`."""
    try:
        return label_of_meaning(request.choices, meaning)
    except ValueError as error:
        raise UnknownOutcomeError(
            request.request_id, outcome=meaning, options=request.options, why=f"({error})"
        ) from error


def response(
    codec: Codec,
    request: Request,
    *,
    label: str,
    feedback: str,
    payload: object,
    who: str | None,
    channel: Channel,
) -> Respond:
    """
    Return the command that gives a request this label.

    Raises:
        InvalidEditError: The payload does not fit what was asked.
    """
    proof: Proof = "authenticated" if who else "none"
    edit = None if payload is None else _edit(codec, request, payload)
    return Respond(
        label=label,
        feedback=feedback,
        reviewer=who,
        channel=channel,
        proof=proof,
        payload_json=edit,
        payload_digest=digest(edit) if edit else None,
    )


def _edit(codec: Codec, request: Request, payload: object) -> str | None:
    """Return the edited payload or what a call returned, or `None` when nothing is changed."""
    try:
        edited = _edited(codec, request, payload)
    except CodecError as error:
        raise InvalidEditError(request.request_id, field="payload", why=str(error)) from error
    if request.kind == "in_doubt":
        # What the call returned, which may well look like what it was called with.
        return json.dumps(edited, ensure_ascii=False, separators=(",", ":"))
    edit = check_edit(request.payload_tree, edited, fixed=request.hidden)
    for problem in edit.problems:
        raise InvalidEditError(request.request_id, field=problem.field, why=problem.why)
    if not edit.changes:
        return None
    return json.dumps(edit.tree, ensure_ascii=False, separators=(",", ":"))


def _edited(codec: Codec, request: Request, payload: object) -> Tree:
    """Return an edited payload as a tree; the arguments that were not given stay as they were."""
    if request.kind != "call" or not isinstance(payload, Mapping):
        return codec.to_tree(payload, path="payload")
    arguments = cast("dict[str, Tree]", request.payload_tree)
    given = cast("Mapping[object, object]", payload).items()
    return arguments | {
        str(name): codec.to_tree(value, path=f"payload.{name}") for name, value in given
    }
