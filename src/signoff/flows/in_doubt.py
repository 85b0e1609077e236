"""Calls that were started and whose end is unknown: what `verify` says, else what a human says (floor 6)."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Mapping
from typing import cast

import anyio
from anyio import to_thread

from signoff.errors import ApprovalCancelled, CodecError
from signoff.flows.calls import Answer, Calls, Plan, Settled, Waits, call_key
from signoff.flows.drafts import MAX_ATTEMPTS, doubt_request
from signoff.flows.performing import done
from signoff.flows.permits import decided, lapsed, permit, refused, request_of
from signoff.model.changes import Signal
from signoff.model.gate import Done, GateCall, GateSpec, NotDone, Unknown, Verdict
from signoff.model.request import CallIdentity, Request
from signoff.model.run import Call
from signoff.model.values import one_line
from signoff.rules.deadlines import may_start

_log = logging.getLogger("signoff.flows")


async def in_doubt(
    calls: Calls, call: GateCall, found: Call, request: Request, plan: Plan
) -> Answer:
    """
    Return what becomes of a call whose end is unknown, or ask a human and block the run.

    Args:
        calls: Where it is journaled.
        call: The call.
        found: The call as it is journaled, `started`.
        request: What approved it.
        plan: Takes the question, where there is one.
    """
    try:
        asked = await _asked(calls, found)
        if asked is None:
            return await _verified(calls, call, found, request)
        return await _answered(calls, call, found, request, asked)
    except _Asks as asks:
        desk, now = calls.session.shop.desk, await calls.session.now()
        draft = doubt_request(request, found, now=now, note=asks.note)
        plan.parts.append(desk.open(draft, actor="signoff"))
        plan.calls.append(found.model_copy(update={"doubt_request_id": draft.request_id}))
        return _block(calls, call, draft)


class _Asks(Exception):  # noqa: N818 - no error: it leads to the question
    """Raised where only a human can tell."""

    def __init__(self, note: str) -> None:
        self.note = note


async def _asked(calls: Calls, found: Call) -> Request | None:
    """Return the question about this very attempt, if it was asked; that of a former one stays."""
    if not found.doubt_request_id:
        return None
    asked = await request_of(calls, found.doubt_request_id, found)
    return asked if cast("CallIdentity", asked.identity).attempt == found.attempt else None


async def _verified(calls: Calls, call: GateCall, found: Call, request: Request) -> Answer:
    verdict = await _verdict(call.spec, permit(calls, call, found, request).arguments)
    if isinstance(verdict, Done):
        return await _happened(calls, call, found, verdict.result)
    late = await _late_result(calls, found)
    stopped = call.spec.idempotent or late is not None
    if isinstance(verdict, NotDone) and stopped and found.attempt < MAX_ATTEMPTS:
        return await decided(calls, call, await _next_attempt(calls, found), request)
    raise _Asks(_in_words(late))


async def _answered(
    calls: Calls, call: GateCall, found: Call, request: Request, asked: Request
) -> Answer:
    end = asked.resolution
    if end is None:
        return _block(calls, call, asked)
    if end.outcome == "happened":
        result = calls.codec.load(asked.payload_json) if end.edited else None
        return await _happened(calls, call, found, result)
    if end.outcome != "run_again":
        reason = "abandoned when its end was in doubt"
        return await refused(calls, found, ApprovalCancelled(asked.request_id, reason=reason))
    if not may_start(asked, await calls.session.now()):
        return await refused(calls, found, lapsed(asked, end))
    return permit(calls, call, await _next_attempt(calls, found), request)


async def _happened(calls: Calls, call: GateCall, found: Call, result: object) -> Settled:
    try:
        return await done(calls, call.spec, call_key(found), result)
    except CodecError as error:
        raise _Asks(
            f"It is said to have happened, but not with a fitting result: {error}."
        ) from error


async def _next_attempt(calls: Calls, found: Call) -> Call:
    key = call_key(found)
    # The answered question stays, so that its answer is still known for one if this process dies
    # before it has told the run.
    await calls.mark(key, status="waiting", attempt=found.attempt + 1)
    return cast("Call", calls.find(key))


async def _verdict(spec: GateSpec, arguments: Mapping[str, object]) -> Verdict:
    verify = spec.verify
    if verify is None:
        return Unknown()
    try:
        if inspect.iscoroutinefunction(verify):
            return cast("Verdict", await verify(**arguments))
        # Its own limiter, because steps in threads may have used up the common one and wait. In
        # a list, because trio takes a coroutine that a thread returns for a mistake.
        own = anyio.CapacityLimiter(1)
        (found,) = await to_thread.run_sync(lambda: [verify(**arguments)], limiter=own)
        return await found if inspect.isawaitable(found) else found
    except Exception:  # noqa: BLE001 - whatever it raises, it does not know
        _log.exception("verify of %s failed, so a human is asked", spec.name)
        return Unknown()


async def _late_result(calls: Calls, found: Call) -> Signal | None:
    """Return what the former executor has reported since, which says that it has stopped."""
    mine = {
        "occurrence_id": calls.occurrence_id,
        "gate": found.name,
        "digest": found.digest,
        "nth": found.nth,
        "fencing": found.fencing,
    }
    for signal in await calls.session.shop.store.late_results(calls.run_id):
        if mine.items() <= signal.facts.items():
            return signal
    return None


def _in_words(late: Signal | None) -> str:
    if late is None:
        return ""
    error = late.facts["error"]
    ended = f"raised {error}" if error else f"returned {one_line(late.facts['result'])}"
    return f"Its former executor has reported since that it {ended}."


def _block(calls: Calls, call: GateCall, asked: Request) -> Waits:
    return calls.block("in_doubt", f"{call.spec.name}: request {asked.request_id} asks")
