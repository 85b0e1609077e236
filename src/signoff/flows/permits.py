"""What the request of a gated call permits, once it is decided (floor 6)."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import cast

from signoff.errors import (
    ApprovalCancelled,
    ApprovalError,
    ApprovalExpired,
    ApprovalRejected,
    ConfigurationError,
    SealInvalidError,
)
from signoff.flows.calls import WAITS, Answer, Calls, Permit, Settled, call_key
from signoff.flows.drafts import governed, hidden_place
from signoff.flows.failures import recorded
from signoff.model.decision import Resolution
from signoff.model.gate import GateCall
from signoff.model.request import Request
from signoff.model.run import Call
from signoff.model.values import Tree
from signoff.rules.authority import objection
from signoff.rules.deadlines import may_start
from signoff.security.hidden import decrypt


async def request_of(calls: Calls, request_id: str, found: Call) -> Request:
    """
    Return a request that stands for a journaled call, its seals verified.

    Raises:
        SealInvalidError: It is not what was sealed, or stands for another call.
    """
    request = await calls.session.shop.desk.load(request_id)
    identity = request.identity
    mine = (calls.occurrence_id, found.name, found.digest, found.nth)
    if (
        identity is None
        or request.run_id != calls.run_id
        or (identity.occurrence_id, identity.gate, identity.digest, identity.nth) != mine
    ):
        raise SealInvalidError(request.request_id, "identity", run_id=calls.run_id)
    return request


async def decided(calls: Calls, call: GateCall, found: Call, request: Request) -> Answer:
    """Return what a request has come to; a refusal is journaled, so that no clock undoes it."""
    end = request.resolution
    if end is None:
        return WAITS
    now = await calls.session.now()
    if end.status == "approved" and may_start(request, now):
        granted = permit(calls, call, found, request)
        why = _objection_to_changes(call, granted, request) if end.edited else ""
        if not why:
            return granted
        error = ApprovalCancelled(request.request_id, reason=f"changed beyond authority: {why}")
        return await refused(calls, found, error)
    return await refused(calls, found, _refusal(request, end))


async def refused(calls: Calls, found: Call, error: ApprovalError) -> Settled:
    """Journal that a call ends with this error, and return that."""
    await calls.mark(call_key(found), status="failed", failure=recorded(error, calls.codec))
    return Settled(error=error)


def permit(calls: Calls, call: GateCall, found: Call, request: Request) -> Permit:
    """
    Return leave to run the body with what was approved.

    Raises:
        CodecError: An argument cannot be read any more, or is not what its annotation promises.
        ConfigurationError: The function has other parameters by now.
        SealInvalidError: A hidden argument is not what was stored.
    """
    spec, codec = call.spec, calls.codec
    tree = cast("dict[str, Tree]", request.payload_tree)
    arguments = dict(call.live)
    for name, each in tree.items():
        if name in found.hidden:
            place = hidden_place(calls.run_id, name)
            text = decrypt(calls.session.shop.keyring, found.hidden[name], place=place)
            arguments[name] = codec.load(text.decode(), spec.annotation(name), path=name)
        else:
            arguments[name] = codec.from_tree(each, spec.annotation(name), path=name)
    if arguments.keys() != spec.signature.parameters.keys():
        raise ConfigurationError(
            f"{spec.name} was approved with the arguments ({', '.join(arguments)}), and takes"
            f" ({', '.join(spec.signature.parameters)}) by now; ask anew"
        )
    return Permit(key=call_key(found), arguments=arguments)


def _objection_to_changes(call: GateCall, granted: Permit, request: Request) -> str:
    """
    Return why who changed the arguments may not approve them as they are now; empty if they may.

    Risk and assignees may be computed from the arguments, and were from those that were proposed.
    """
    arguments = {name: granted.arguments[name] for name in call.arguments}
    changed = replace(call, arguments=arguments)
    policy, requester, vote = request.policy, request.requester, request.decisions[-1]
    try:
        risk, assignees = governed(changed, policy=policy, requester=requester)
        if assignees == governed(call, policy=policy, requester=requester)[1]:
            # Others may have been asked since.
            assignees = request.assignees
    except ConfigurationError as error:
        return str(error)
    anew = request.model_copy(update={"risk": risk, "assignees": assignees})
    reviewer = None if vote.proof == "none" else vote.reviewer
    return objection(anew, reviewer=reviewer, channel=vote.channel, proof=vote.proof) or ""


def lapsed(request: Request, end: Resolution) -> ApprovalExpired:
    """Return what a gated call raises whose permission to start ended before it started."""
    until = cast("datetime", end.valid_until)
    return ApprovalExpired(
        request.request_id,
        f"approved, and the permission to start lapsed at {until.isoformat()}",
    )


def _refusal(request: Request, end: Resolution) -> ApprovalError:
    name = request.request_id
    if end.status == "rejected":
        return ApprovalRejected(
            name, reason=end.feedback, reviewer=end.reviewer, outcome=end.outcome
        )
    if end.status == "cancelled":
        return ApprovalCancelled(name, reason=end.reason)
    if end.status == "expired":
        return ApprovalExpired(name, f"nobody answered until {end.resolved_at.isoformat()}")
    return lapsed(request, end)
