"""
What a command does to a request: `decide(request, command, now)` (floor 1).

A `Transition` is the new request and everything that follows from the change. The desk loads,
asks here, and commits all of it at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from signoff.errors import (
    AlreadyDecidedError,
    DecisionError,
    InvalidEditError,
    NotAllowedError,
    RequestCancelledError,
    RequestExpiredError,
    UnknownOutcomeError,
)
from signoff.model.decision import Channel, Decision, Proof, Resolution
from signoff.model.delivery import DeliveryKind
from signoff.model.request import Choice, Comment, Request
from signoff.model.values import Tree
from signoff.rules.authority import objection
from signoff.rules.deadlines import has_expired

UNIDENTIFIED = "unidentified"
CancelReason = Literal["superseded", "withdrawn", "run cancelled"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Respond:
    """
    Answer the request.

    Attributes:
        label: One of its labels; empty for free text.
        feedback: The reviewer's words.
        reviewer: Who answers, lower-case; `None` when the channel does not know.
        channel: How.
        proof: How well the channel knows who answers.
        seen_digest: The payload that the reviewer was shown; `None` when the channel shows
            the request as it stands.
        payload_json: The payload as the reviewer changed it.
        payload_digest: The digest of that.
    """

    label: str
    feedback: str
    reviewer: str | None
    channel: Channel
    proof: Proof
    seen_digest: str | None = None
    payload_json: str | None = None
    payload_digest: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Remark:
    """Write something that decides nothing."""

    author: str
    text: str
    channel: Channel


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancel:
    """Take the request back."""

    by: str
    reason: CancelReason
    channel: Channel = "api"


@dataclass(frozen=True, slots=True, kw_only=True)
class Expire:
    """End the request because its time is up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reassign:
    """Ask others instead."""

    by: str
    assignees: tuple[str, ...]
    channel: Channel = "api"


Command = Respond | Remark | Cancel | Expire | Reassign


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """
    A message that follows from a transition.

    Attributes:
        kind: What it says.
        recipient: To whom.
        note: What it says beyond the request.
    """

    kind: DeliveryKind
    recipient: str
    note: dict[str, Tree] = field(default_factory=dict[str, Tree])


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """
    A request's next version and all that follows.

    Attributes:
        request: The new record, without seals.
        event: What the audit entry calls it.
        actor: Who did it.
        facts: What the audit entry says, but for personal values.
        personal: The personal values that it says, by name.
        ended: Whether the request ended, so that its run is told and its tokens are void.
        revokes: Whether tokens are void for another reason.
        asks: To whom the request goes out anew.
        notices: Messages that follow.
    """

    request: Request
    event: str
    actor: str
    facts: dict[str, Tree]
    personal: dict[str, str] = field(default_factory=dict[str, str])
    ended: bool = False
    revokes: bool = False
    asks: tuple[str, ...] = ()
    notices: tuple[Notice, ...] = ()


def decide(request: Request, command: Command, now: datetime) -> Transition:
    """
    Return what `command` does to `request` at `now`.

    Raises:
        AlreadyDecidedError: The request was decided before.
        RequestExpiredError: Its time is up.
        RequestCancelledError: It was taken back.
        NotAllowedError: This reviewer may not decide it by this channel.
        UnknownOutcomeError: The label is none of its labels.
        InvalidEditError: The payload may not be changed, or not by this answer.
    """
    match command:
        case Respond():
            return _respond(request, command, now)
        case Remark():
            return _remark(request, command, now)
        case Cancel():
            return _cancel(request, command, now)
        case Expire():
            return _expire(request, now)
        case _:
            return _reassign(request, command, now)


def ensure_open(request: Request, now: datetime) -> None:
    """Raise the error that tells how `request` ended, or that its time is up at `now`."""
    end = request.resolution
    if end is not None and end.status == "cancelled":
        raise RequestCancelledError(request.request_id, reason=end.reason)
    if end is not None and end.status == "expired":
        raise RequestExpiredError(request.request_id, expired_at=end.resolved_at)
    if end is not None:
        raise AlreadyDecidedError(
            request.request_id,
            outcome=end.outcome or end.status,
            decided_by=end.reviewer,
            decided_at=end.resolved_at,
        )
    if request.expires_at is not None and has_expired(request, now):
        raise RequestExpiredError(request.request_id, expired_at=request.expires_at)


def choice_of(request: Request, label: str) -> Choice:
    """Return the choice with exactly this label. Raises `UnknownOutcomeError`."""
    for choice in request.choices:
        if choice.label == label:
            return choice
    raise UnknownOutcomeError(
        request.request_id, outcome=label, options=request.options, why="is not one of the labels"
    )


def _respond(request: Request, command: Respond, now: datetime) -> Transition:
    ensure_open(request, now)
    reason = objection(
        request, reviewer=command.reviewer, channel=command.channel, proof=command.proof
    )
    if reason is not None:
        raise NotAllowedError(
            request.request_id,
            reviewer=command.reviewer or f"{command.channel}:{UNIDENTIFIED}",
            reason=reason,
        )
    if command.seen_digest is not None and command.seen_digest != request.payload_digest:
        raise InvalidEditError(
            request.request_id, field="payload", why="it was changed since it was shown"
        )
    status = _status_for(request, command)
    edited = command.payload_json is not None
    _check_edit(request, status=status, edited=edited)
    return _resolved(request, command, status=status, edited=edited, now=now)


def _status_for(request: Request, command: Respond) -> Literal["approved", "rejected", "answered"]:
    if not request.choices:
        return "answered"
    meaning = choice_of(request, command.label).meaning
    if meaning == "approve":
        return "approved"
    return "rejected" if meaning == "reject" else "answered"


def _check_edit(request: Request, *, status: str, edited: bool) -> None:
    if edited and not request.editable:
        raise InvalidEditError(
            request.request_id, field="payload", why="this request's payload may not be changed"
        )
    if edited and status == "rejected":
        raise InvalidEditError(
            request.request_id, field="payload", why="a refusal cannot change the payload"
        )


def _resolved(
    request: Request,
    command: Respond,
    *,
    status: Literal["approved", "rejected", "answered"],
    edited: bool,
    now: datetime,
) -> Transition:
    reviewer = command.reviewer or f"{command.channel}:{UNIDENTIFIED}"
    digest = command.payload_digest or request.payload_digest
    decision = Decision(
        label=command.label,
        feedback=command.feedback,
        reviewer=reviewer,
        channel=command.channel,
        proof=command.proof,
        decided_at=now,
        payload_digest=digest,
        edited=edited,
    )
    resolution = Resolution(
        status=status,
        outcome=command.label,
        feedback=command.feedback,
        reviewer=reviewer,
        channel=command.channel,
        resolved_at=now,
        payload_digest=digest,
        edited=edited,
        valid_until=now + timedelta(seconds=request.valid_for_seconds),
    )
    changed = request.model_copy(
        update={
            "version": request.version + 1,
            "status": status,
            "payload_json": command.payload_json
            if command.payload_json is not None
            else request.payload_json,
            "payload_digest": digest,
            "decisions": (*request.decisions, decision),
            "resolution": resolution,
        }
    )
    return Transition(
        request=changed,
        event=f"request.{status}",
        actor=reviewer,
        facts={
            "outcome": command.label,
            "channel": command.channel,
            "proof": command.proof,
            "payload_digest": digest,
            "policy_digest": request.policy_digest,
            "edited": edited,
        },
        personal={"feedback": command.feedback},
        ended=True,
    )


def _remark(request: Request, command: Remark, now: datetime) -> Transition:
    comment = Comment(
        author=command.author, text=command.text, channel=command.channel, written_at=now
    )
    changed = request.model_copy(
        update={"version": request.version + 1, "comments": (*request.comments, comment)}
    )
    return Transition(
        request=changed,
        event="request.commented",
        actor=command.author,
        facts={"channel": command.channel},
        personal={"text": command.text},
    )


def _ended(
    request: Request,
    *,
    status: Literal["expired", "cancelled"],
    by: str,
    channel: Channel,
    reason: str,
    now: datetime,
) -> Transition:
    resolution = Resolution(
        status=status,
        outcome=(request.on_expiry or "") if status == "expired" else "",
        reviewer=by,
        channel=channel,
        resolved_at=now,
        payload_digest=request.payload_digest,
        reason=reason,
    )
    changed = request.model_copy(
        update={"version": request.version + 1, "status": status, "resolution": resolution}
    )
    return Transition(
        request=changed,
        event=f"request.{status}",
        actor=by,
        facts={"reason": reason, "channel": channel},
        ended=True,
        notices=tuple(
            Notice(kind=status, recipient=assignee, note={"reason": reason})
            for assignee in request.assignees
        ),
    )


def _cancel(request: Request, command: Cancel, now: datetime) -> Transition:
    ensure_open(request, request.created_at)
    return _ended(
        request,
        status="cancelled",
        by=command.by,
        channel=command.channel,
        reason=command.reason,
        now=now,
    )


def _expire(request: Request, now: datetime) -> Transition:
    ensure_open(request, request.created_at)
    if not has_expired(request, now):
        raise DecisionError(request.request_id, "its time is not up yet")
    return _ended(
        request, status="expired", by="timer", channel="timer", reason="nobody answered", now=now
    )


def _reassign(request: Request, command: Reassign, now: datetime) -> Transition:
    ensure_open(request, now)
    changed = request.model_copy(
        update={"version": request.version + 1, "assignees": command.assignees}
    )
    return Transition(
        request=changed,
        event="request.reassigned",
        actor=command.by,
        facts={"channel": command.channel},
        personal={"assignees": ", ".join(command.assignees)},
        revokes=True,
        asks=command.assignees,
    )
