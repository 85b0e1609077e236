"""What one end or retry changes in a run, before it is committed (floor 6)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from signoff.errors import SealInvalidError
from signoff.flows.drafts import reopened
from signoff.flows.session import Part, Session
from signoff.model.changes import Signal, Task
from signoff.model.request import CallIdentity, Request
from signoff.model.run import Call, Cause, Occurrence, Run
from signoff.model.values import Tree
from signoff.rules import dispatch
from signoff.rules.graph import Graph
from signoff.rules.lifecycle import Cancel, CancelReason

_UNFINISHED: Final = frozenset({"ready", "running", "suspended"})

Journal = Mapping[str, Occurrence]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """
    What a run's code says of how it goes on.

    Attributes:
        graph: The steps.
        limit: How often each of them may run.
    """

    graph: Graph
    limit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """
    An occurrence that finishes.

    Attributes:
        occurrence_id: Which.
        output: What it returned; nothing for a gate, whose payload is in its request.
        label: What it routes to.
        state: The run's state, if it changed.
    """

    occurrence_id: str
    output: Tree = None
    label: str | None = None
    state: Mapping[str, Tree] | None = None


@dataclass(slots=True, kw_only=True)
class Update:
    """
    What one commit is to write.

    Attributes:
        occurrences: New versions of occurrences.
        run: What changes in the run's record, by name.
        parts: Requests that open or end.
        signals: What other runs are told.
        tasks: What the engine gets to do.
    """

    occurrences: list[Occurrence] = field(default_factory=list[Occurrence])
    run: dict[str, object] = field(default_factory=dict[str, object])
    parts: list[Part] = field(default_factory=list[Part])
    signals: list[Signal] = field(default_factory=list[Signal])
    tasks: list[Task] = field(default_factory=list[Task])


def marks(journal: Journal, running: Collection[str]) -> list[dispatch.Occ]:
    """Return a journal as the rules read it."""
    return [
        dispatch.Occ(
            id=one.occurrence_id,
            seq=one.seq,
            step=one.step,
            causes=tuple(
                dispatch.Cause(cause.trigger, cause.occurrence_id) for cause in one.causes
            ),
            wave=one.wave,
            status="running" if one.occurrence_id in running else one.status,
            live=one.live,
            label=one.label,
        )
        for one in journal.values()
    ]


def asking(session: Session, one: Occurrence, draft: Request) -> Update:
    """Return what changes when a human is asked about what a step returned."""
    identity = CallIdentity(
        occurrence_id=one.occurrence_id, gate=one.step, digest=draft.proposed_digest
    )
    draft = draft.model_copy(update={"identity": identity, "method_name": one.step})
    opened = session.shop.desk.open(draft, actor=session.run.requester or "flow")
    changed = {"status": "suspended", "request_id": draft.request_id, "failure": None}
    return Update(occurrences=[one.model_copy(update=changed)], parts=[opened])


async def finishing(
    session: Session, plan: Plan, ending: Ending, *, running: Collection[str]
) -> Update:
    """
    Return what changes when an occurrence finishes: what fires, and what is superseded.

    Args:
        session: The run.
        plan: Its code's.
        ending: The occurrence.
        running: Those that an attempt is made at just now.

    Raises:
        RecursionError: A step would run too often.
    """
    run, journal = session.run, session.journal
    one = journal[ending.occurrence_id]
    follows = dispatch.finish(
        plan.graph,
        marks(journal, running),
        marking=dispatch.Marking(run.parts),
        occurrence_id=one.occurrence_id,
        label=ending.label,
    )
    _check_count(session, follows.starts, limit=plan.limit)
    made = [
        _occurrence(run, start, seq=run.next_seq + index)
        for index, start in enumerate(follows.starts)
    ]
    ended = one.model_copy(
        update={
            "status": "finished",
            "output": ending.output,
            "label": ending.label,
            "live": one.live and one.occurrence_id not in follows.superseded,
            "finished_seq": run.finished + 1,
        }
    )
    update = await _superseding(session, follows.superseded - {one.occurrence_id})
    await withdraw_left(session, one, update)
    update.occurrences += [ended, *made]
    update.run |= {
        "parts": {step: dict(parts) for step, parts in follows.marking.parts.items()},
        "next_seq": run.next_seq + len(made),
        "finished": run.finished + 1,
        "last_output_id": one.occurrence_id,
    }
    if ending.state is not None:
        update.run["state"] = ending.state
    return update


async def withdraw_left(session: Session, one: Occurrence, update: Update) -> None:
    """
    Add to `update` the end of what a step has asked or begun, and did not wait for.

    It has cancelled its own calls and gone on, so nothing would come of an answer.
    """
    left = [call for call in one.calls if call.status == "waiting"]
    if left:
        await _withdraw_all(session, left, update, reason="withdrawn")


async def renewing(session: Session) -> Update:
    """
    Return what a retry changes: what failed is ready again, and what lapsed is asked anew.

    Raises:
        SealInvalidError: A request is not what was sealed.
    """
    update = Update(run={"status": "ready", "failure": None})
    for one in session.journal.values():
        if one.live and one.status == "failed":
            await _renew(session, one, update)
    return update


async def cancelling(session: Session) -> Update:
    """Return what changes when the run ends here, with everything that it waits for."""
    update = Update(run={"status": "cancelled", "key": None})
    for one in session.journal.values():
        if one.live and one.status in _UNFINISHED | {"failed"}:
            ended = one.model_copy(update={"live": False, "status": "superseded"})
            update.occurrences.append(ended)
            await _withdraw(session, one, update, reason="run cancelled")
    return update


def _check_count(session: Session, starts: Sequence[dispatch.Start], *, limit: int) -> None:
    steps = [one.step for one in session.journal.values()]
    for start in starts:
        if steps.count(start.step) >= limit:
            raise RecursionError(
                f"step {start.step!r} was to run more than {limit} times in run"
                f" {session.run.run_id}; if that is meant, raise max_method_calls on the class"
            )


async def _superseding(session: Session, names: Collection[str]) -> Update:
    update = Update()
    for name in sorted(names):
        one = session.journal[name]
        waits = one.status in _UNFINISHED
        status = "superseded" if waits else one.status
        update.occurrences.append(one.model_copy(update={"live": False, "status": status}))
        if waits:
            await _withdraw(session, one, update, reason="superseded")
    return update


async def _withdraw(
    session: Session, one: Occurrence, update: Update, *, reason: CancelReason
) -> None:
    """Add to `update` the end of everything that an occurrence waits for."""
    await _withdraw_all(session, one.calls, update, requests=[one.request_id], reason=reason)


async def _withdraw_all(
    session: Session,
    calls: Sequence[Call],
    update: Update,
    *,
    requests: Sequence[str] = (),
    reason: CancelReason,
) -> None:
    """Add to `update` the end of what calls wait for, and of further requests."""
    desk, now = session.shop.desk, await session.now()
    requests = list(requests)
    for call in calls:
        requests += [call.request_id, call.doubt_request_id]
        if call.child_run_id and call.status == "waiting":
            update.signals.append(
                Signal(
                    run_id=call.child_run_id,
                    cause="cancel",
                    kind="cancel",
                    facts={"by": "flow", "reason": reason},
                    created_at=now,
                )
            )
            update.tasks.append(Task(kind="advance", subject=call.child_run_id))
    for request_id in filter(None, requests):
        try:
            request = await desk.load(request_id)
        except SealInvalidError:
            # Nobody can decide it any more, and the desk has told the run.
            continue
        if request.status == "pending":
            command = Cancel(by="flow", reason=reason, channel="timer")
            update.parts.append(await desk.end(request, command, now=now))


async def _renew(session: Session, one: Occurrence, update: Update) -> None:
    if not one.request_id:
        calls = tuple([await _renewed_call(session, call) for call in one.calls])
        changed = {"status": "ready", "failure": None, "calls": calls}
        update.occurrences.append(one.model_copy(update=changed))
        return
    old = await session.shop.desk.load(one.request_id)
    if is_answered(old):
        # What failed came after the answer, which is kept: nobody is asked again.
        changed = {"status": "suspended", "failure": None}
        update.occurrences.append(one.model_copy(update=changed))
        return
    asked = asking(session, one, reopened(old, now=await session.now()))
    update.occurrences += asked.occurrences
    update.parts += asked.parts


async def _renewed_call(session: Session, call: Call) -> Call:
    if call.kind != "gate" or call.status != "failed":
        return call
    request = await session.shop.desk.load(call.request_id)
    if request.status == "rejected":
        return call
    return call.model_copy(
        update={
            "status": "waiting",
            "failure": None,
            "request_id": "",
            "doubt_request_id": "",
            "attempt": call.attempt + 1,
        }
    )


def check_identity(one: Occurrence, request: Request, *, former_names: Mapping[str, str]) -> None:
    """Raise `SealInvalidError` when a request, genuine as it may be, is not this gate's own."""
    identity = request.identity
    if (
        request.run_id != one.run_id
        or identity is None
        or identity.occurrence_id != one.occurrence_id
        or one.step not in {identity.gate, former_names.get(identity.gate)}
    ):
        raise SealInvalidError(request.request_id, "identity", run_id=one.run_id)


def is_answered(request: Request) -> bool:
    """Return whether a gate can go on from its request: a person answered, or a label stands for nobody."""
    end = request.resolution
    return end is not None and (end.status not in {"expired", "cancelled"} or bool(end.outcome))


def _occurrence(run: Run, start: dispatch.Start, *, seq: int) -> Occurrence:
    return Occurrence(
        occurrence_id=f"{run.run_id}.{seq}",
        run_id=run.run_id,
        seq=seq,
        step=start.step,
        causes=tuple(
            Cause(trigger=cause.trigger, occurrence_id=cause.occurrence) for cause in start.causes
        ),
        wave=start.wave,
    )
