"""
Driving one run under its claim: which steps run, and the commit that records each end (floor 6).
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import Enum
from typing import Final, cast

import anyio
from anyio.abc import TaskGroup
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from signoff.audit.ledger import Event
from signoff.context import Suspend, within
from signoff.desk import TRIES
from signoff.errors import (
    ApprovalCancelled,
    CodecError,
    ConfigurationError,
    RequestExpired,
    SealInvalidError,
    StaleWriteError,
)
from signoff.flows.attempt import Attempt, Children
from signoff.flows.code import Code, assignee_in_state, feedback_result, output_value
from signoff.flows.drafts import feedback_request, reopened
from signoff.flows.failures import recorded
from signoff.flows.session import Blocked, Lost, Part, Session
from signoff.flows.state import Touches
from signoff.model.changes import Signal, Task
from signoff.model.feedback import HumanFeedbackResult
from signoff.model.request import CallIdentity, Request
from signoff.model.run import TERMINAL, Call, Cause, Failure, Occurrence, Run, RunStatus
from signoff.model.values import Tree
from signoff.rules import dispatch
from signoff.rules.lifecycle import Cancel, CancelReason

_UNFINISHED: Final = frozenset({"ready", "running", "suspended"})


Marks = Mapping[str, Occurrence]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepEnd:
    """
    How an attempt ended: it returned, raised, found the run blocked, or is suspended.

    Attributes:
        touches: What it touched of the state.
        value: What the step returned.
        returned: Whether it did.
        error: What it raised.
        blocked: Why the run needs a person.
        again: Whether to run it once more at once, because it put off a question.
        fatal: What ends the whole drive.
    """

    touches: Touches
    value: object = None
    returned: bool = False
    error: Exception | None = None
    blocked: Blocked | None = None
    again: bool = False
    fatal: Exception | None = None


@dataclass(slots=True, kw_only=True)
class Update:
    """
    What one commit is to write.

    Attributes:
        occurrences: New versions of occurrences.
        run: What changes in the run's record, by name.
        parts: Requests that open or end, and runs that begin.
        events: Audit entries of the run.
        signals: What other runs are told.
        tasks: What the engine gets to do.
    """

    occurrences: list[Occurrence] = field(default_factory=list[Occurrence])
    run: dict[str, object] = field(default_factory=dict[str, object])
    parts: list[Part] = field(default_factory=list[Part])
    events: list[Event] = field(default_factory=list[Event])
    signals: list[Signal] = field(default_factory=list[Signal])
    tasks: list[Task] = field(default_factory=list[Task])


Build = Callable[[], Awaitable[Update]]


@dataclass(slots=True, eq=False)
class Drive:
    """
    The loop over one run.

    Attributes:
        session: The run.
        code: Its code.
        children: Runs child flows.
        results: What its gates came to, by occurrence.
    """

    session: Session
    code: Code
    children: Children
    results: dict[str, HumanFeedbackResult] = field(default_factory=dict[str, HumanFeedbackResult])
    _running: set[str] = field(default_factory=set[str])
    _news: set[str] = field(default_factory=set[str])
    _lenient: set[str] = field(default_factory=set[str])
    _noted: list[Signal] = field(default_factory=list[Signal])
    _blocked: Blocked | None = None
    _problem: Blocked | None = None
    _cancelled: bool = False
    _retry: bool = False
    _fatal: Exception | None = None
    _send: MemoryObjectSendStream[tuple[str, StepEnd] | None] = field(init=False)
    _receive: MemoryObjectReceiveStream[tuple[str, StepEnd] | None] = field(init=False)

    def __post_init__(self) -> None:
        self._send, self._receive = anyio.create_memory_object_stream[
            tuple[str, StepEnd] | None
        ](math.inf)
        run = self.session.run
        if run.status == "blocked" and run.blocked_reason is not None:
            self._blocked = Blocked(reason=run.blocked_reason, detail=run.blocked_detail)
        if run.status == "ready":
            self._news = {one.occurrence_id for one in self._suspended()}

    def block(self, problem: Blocked | None) -> None:
        """Say what keeps the run from going on before anything was run; a retry does not change it."""
        self._problem = problem
        self._blocked = problem or self._blocked

    def poke(self) -> None:
        """Say that the run may have been told something. Call it on the loop that drives."""
        self._send.send_nowait(None)

    async def run(self) -> None:
        """
        Run steps until none can run, then give the run back.

        Raises:
            Lost: Another holder has the run; nothing was written since.
            StoreError: The store failed; the run is as it was last committed.
        """
        with self._send, self._receive:
            async with anyio.create_task_group() as tasks:
                try:
                    await self._loop(tasks)
                except Exception as error:  # noqa: BLE001 - raised below, outside the group
                    self._fatal = error
                tasks.cancel_scope.cancel()
            if self._fatal is not None:
                raise self._fatal
            if self._cancelled:
                await self._commit(self._cancellation)

    async def _loop(self, tasks: TaskGroup) -> None:
        while not self.session.released:
            self._look_at_signals()
            if self._cancelled:
                return
            if self._retry:
                await self._commit(self._renewal)
            elif not await self._begin_what_can(tasks):
                if self._running:
                    await self._hear()
                else:
                    await self._commit(self._nothing)

    async def _hear(self) -> None:
        told = await self._receive.receive()
        if told is None:
            await self.session.refresh_signals()
        else:
            await self._end(*told)

    # What the run was told.

    def _look_at_signals(self) -> None:
        for signal in self.session.signals:
            if signal not in self._noted:
                self._noted.append(signal)
                self._take_note(signal)

    def _take_note(self, signal: Signal) -> None:
        match signal.kind:
            case "cancel":
                self._cancelled = self.session.run.status not in {"completed", "cancelled"}
            case "retry":
                self._retry = self.session.run.status in {"blocked", "failed"}
            case "tampered":
                facts = signal.facts
                self._blocked = Blocked(
                    reason="seal_invalid", detail=f"{facts['request_id']}: {facts['field']}"
                )
            case "resolved":
                self._take_answer(str(signal.facts["request_id"]))
            case "late_result":
                pass
            case "child_ended":
                child = str(signal.facts["run_id"])
                self._news |= {
                    one.occurrence_id
                    for one in self._suspended()
                    if child in {call.child_run_id for call in one.calls}
                }

    def _take_answer(self, request_id: str) -> None:
        for one in self._suspended():
            doubts = {call.doubt_request_id for call in one.calls}
            if request_id in {one.request_id, *doubts, *(call.request_id for call in one.calls)}:
                self._news.add(one.occurrence_id)
            if request_id in doubts and self._blocked and self._blocked.reason == "in_doubt":
                self._blocked = self._problem

    def _suspended(self) -> list[Occurrence]:
        return [
            one for one in self.session.journal.values() if one.live and one.status == "suspended"
        ]

    # Beginning.

    @property
    def _frozen(self) -> bool:
        return self._blocked is not None or self.session.run.status in {
            "completed",
            "failed",
            "cancelled",
        }

    async def _begin_what_can(self, tasks: TaskGroup) -> bool:
        """Begin every step that can run, and say whether there was one."""
        if self._frozen:
            return False
        journal = self.session.journal
        ready = dispatch.runnable(self.code.graph, self._marks(journal))
        asked = [name for name in sorted(self._news - self._running) if journal[name].live]
        self._news -= set(asked)
        gates = [name for name in asked if journal[name].request_id]
        for name in (*ready, *(name for name in asked if name not in gates)):
            self._running.add(name)
            tasks.start_soon(self._attempt, name)
        for name in gates:
            await self._take_resolution(name)
        return bool(ready or asked)

    async def _attempt(self, occurrence_id: str) -> None:
        self._send.send_nowait((occurrence_id, await self._attempted(occurrence_id)))

    async def _attempted(self, occurrence_id: str) -> StepEnd:
        one = self.session.journal[occurrence_id]
        value: object = None
        error: BaseException | None = None
        async with anyio.create_task_group() as own:
            attempt = Attempt(
                session=self.session,
                occurrence_id=occurrence_id,
                tasks=own,
                children=self.children,
                lenient=occurrence_id in self._lenient,
            )
            with self.code.box.attempt() as touches, within(attempt):
                try:
                    value = await self.code.run_step(attempt, one.step, self._argument(one))
                except (KeyboardInterrupt, SystemExit, anyio.get_cancelled_exc_class()):
                    raise
                except BaseException as raised:  # noqa: BLE001 - it is what the step came to
                    error = raised
        return self._judged(attempt, touches, value=value, error=error)

    def _judged(
        self, attempt: Attempt, touches: Touches, *, value: object, error: BaseException | None
    ) -> StepEnd:
        if attempt.lost or attempt.broken is not None:
            return StepEnd(touches=touches, fatal=attempt.broken or Lost())
        if attempt.suspended and not _is_suspension(error):
            attempt.note_swallowed()
        if attempt.blocked is not None:
            return StepEnd(touches=touches, blocked=attempt.blocked)
        unmet = [call for call in attempt.unmet() if call.kind != "once"]
        if attempt.suspended:
            if attempt.deferred and unmet:
                return StepEnd(touches=touches, blocked=_drift(unmet))
            return StepEnd(touches=touches, again=attempt.deferred)
        if isinstance(error, Exception):
            return StepEnd(touches=touches, error=error)
        if error is not None:
            raise error
        if unmet:
            return StepEnd(touches=touches, blocked=_drift(unmet))
        return StepEnd(touches=touches, value=value, returned=True)

    def _argument(self, one: Occurrence) -> object:
        cause = dispatch.argument_of(
            [dispatch.Cause(each.trigger, each.occurrence_id) for each in one.causes]
        )
        if cause is None:
            return None
        source = self.session.journal[cause.occurrence]
        result = self.results.get(cause.occurrence)
        if cause.trigger == source.step:
            return self.output_of(source)
        return result if result is not None else cause.trigger

    def output_of(self, one: Occurrence) -> object:
        """Return what a finished occurrence gives to listeners and callers."""
        return output_value(
            one,
            self.results.get(one.occurrence_id),
            self.code.annotation(one.step),
            self.session.shop.codec,
        )

    # Ending.

    async def _end(self, occurrence_id: str, end: StepEnd) -> None:
        self._running.discard(occurrence_id)
        one = self.session.journal[occurrence_id]
        box = self.code.box
        if end.fatal is not None:
            raise end.fatal
        if not one.live:
            box.settle(end.touches, keep=False)
        elif end.again:
            box.settle(end.touches, keep=False)
            self._lenient.add(occurrence_id)
            self._news.add(occurrence_id)
        elif end.returned:
            await self._returned(one, end)
        elif end.error is not None:
            box.settle(end.touches, keep=False)
            await self._fail(one, end.error)
        else:
            box.settle(end.touches, keep=False)
            self._blocked = self._blocked or end.blocked
            await self._commit(_just(self._now_suspended(occurrence_id)))

    async def _returned(self, one: Occurrence, end: StepEnd) -> None:
        box, codec = self.code.box, self.session.shop.codec
        spec = self.code.feedback(one.step)
        try:
            state = box.dump(finishing=end.touches)
            if spec is not None:
                update = await self._question(one, end.value)
            else:
                tree = codec.to_tree(end.value, path=f"{one.step} output")
                label = self._label(one, end.value)
                update = None
        except (CodecError, ConfigurationError) as error:
            box.settle(end.touches, keep=False)
            await self._fail(one, error)
            return
        box.settle(end.touches, keep=True)
        if update is not None:
            update.run["state"] = state
            await self._commit(_just(update))
            return
        ended = one.model_copy(update={"output": tree, "label": label})
        self.code.note_output(self.output_of(ended), None)
        await self._finish(ended, state=state)

    def _label(self, one: Occurrence, value: object) -> str | None:
        if not self.code.graph.steps[one.step].router or value is None:
            return None
        return str(value.value if isinstance(value, Enum) else value)

    async def _question(self, one: Occurrence, value: object) -> Update:
        """Return the update that asks a human about what a step returned."""
        session = self.session
        spec = self.code.feedback(one.step)
        assert spec is not None  # noqa: S101 - the caller looked
        draft = feedback_request(
            spec,
            value,
            run=session.run,
            method_name=one.step,
            chosen=assignee_in_state(spec, self.code.box.plain()),
            policy=session.shop.policy,
            now=await session.now(),
            codec=session.shop.codec,
        )
        return self._asked(one, draft)

    def _asked(self, one: Occurrence, draft: Request) -> Update:
        draft = draft.model_copy(
            update={
                "identity": CallIdentity(
                    occurrence_id=one.occurrence_id, gate=one.step, digest=draft.proposed_digest
                )
            }
        )
        opened = self.session.shop.desk.open(draft, actor=self.session.run.requester or "flow")
        asked = one.model_copy(
            update={"status": "suspended", "request_id": draft.request_id, "failure": None}
        )
        return Update(occurrences=[asked], parts=[opened])

    def _now_suspended(self, occurrence_id: str) -> Update:
        one = self.session.journal[occurrence_id]
        return Update(occurrences=[one.model_copy(update={"status": "suspended"})])

    async def _take_resolution(self, occurrence_id: str) -> None:
        session = self.session
        one = session.journal[occurrence_id]
        try:
            request = await session.shop.desk.load(one.request_id)
            self._check_identity(one, request)
            end = request.resolution
            if end is None:
                return
            if end.status in {"expired", "cancelled"} and not end.outcome:
                await self._fail(one, _unanswered(session.run.run_id, request))
                return
            result = feedback_result(request, session.shop.codec)
        except SealInvalidError as error:
            self._blocked = Blocked(
                reason="seal_invalid", detail=f"{error.record_id}: {error.field}"
            )
            return
        except CodecError as error:
            self._blocked = Blocked(reason="state_invalid", detail=str(error))
            return
        self.results[occurrence_id] = result
        ended = one.model_copy(update={"label": result.outcome})
        self.code.note_output(self.output_of(ended), result)
        await self._finish(ended, state=self.code.box.dump())

    def _check_identity(self, one: Occurrence, request: Request) -> None:
        identity = request.identity
        if (
            request.run_id != one.run_id
            or identity is None
            or (identity.occurrence_id, identity.gate) != (one.occurrence_id, one.step)
        ):
            raise SealInvalidError(request.request_id, "identity", run_id=one.run_id)

    async def _fail(self, one: Occurrence, error: Exception) -> None:
        self.session.failures[one.occurrence_id] = error
        failure = recorded(error, self.session.shop.codec)
        newest = self.session.journal[one.occurrence_id]
        failed = newest.model_copy(update={"status": "failed", "failure": failure})
        await self._commit(_just(Update(occurrences=[failed])))

    async def _finish(self, one: Occurrence, *, state: Mapping[str, Tree]) -> None:
        limit = self.code.max_method_calls

        async def build() -> Update:
            session = self.session
            run = session.run
            newest = session.journal[one.occurrence_id]
            follows = dispatch.finish(
                self.code.graph,
                self._marks(session.journal),
                marking=dispatch.Marking(run.parts),
                occurrence_id=one.occurrence_id,
                label=one.label,
            )
            runs = [each.step for each in session.journal.values()]
            over = [each.step for each in follows.starts if runs.count(each.step) >= limit]
            if over:
                raise RecursionError(
                    f"step {over[0]!r} was to run more than {limit} times in run {run.run_id};"
                    " if that is meant, raise max_method_calls on the class"
                )
            ended = newest.model_copy(
                update={
                    "status": "finished",
                    "output": one.output,
                    "label": one.label,
                    "live": newest.live and one.occurrence_id not in follows.superseded,
                    "finished_seq": run.finished + 1,
                }
            )
            made = [
                Occurrence(
                    occurrence_id=f"{run.run_id}.{run.next_seq + index}",
                    run_id=run.run_id,
                    seq=run.next_seq + index,
                    step=start.step,
                    causes=tuple(
                        Cause(trigger=cause.trigger, occurrence_id=cause.occurrence)
                        for cause in start.causes
                    ),
                    wave=start.wave,
                )
                for index, start in enumerate(follows.starts)
            ]
            update = await self._superseding(follows.superseded - {one.occurrence_id})
            update.occurrences += [ended, *made]
            update.run |= {
                "state": state,
                "parts": {step: dict(parts) for step, parts in follows.marking.parts.items()},
                "next_seq": run.next_seq + len(made),
                "finished": run.finished + 1,
                "last_output_id": one.occurrence_id,
            }
            return update

        try:
            await self._commit(build)
        except RecursionError as error:
            await self._fail(one, error)

    async def _superseding(self, names: Collection[str]) -> Update:
        update = Update()
        for name in sorted(names):
            one = self.session.journal[name]
            status = "superseded" if one.status in _UNFINISHED else one.status
            update.occurrences.append(one.model_copy(update={"live": False, "status": status}))
            if one.status in _UNFINISHED:
                await self._withdraw(one, update, reason="superseded")
        return update

    async def _withdraw(self, one: Occurrence, update: Update, *, reason: CancelReason) -> None:
        """Add to `update` the end of everything that an occurrence waits for."""
        session = self.session
        now = await session.now()
        waiting = [one.request_id]
        for call in one.calls:
            waiting += [call.request_id, call.doubt_request_id]
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
        for request_id in filter(None, waiting):
            request = await session.shop.desk.load(request_id)
            if request.status == "pending":
                command = Cancel(by="flow", reason=reason, channel="timer")
                update.parts.append(await session.shop.desk.end(request, command, now=now))

    # Committing.

    async def _nothing(self) -> Update:
        return Update()

    async def _renewal(self) -> Update:
        """Return what a retry changes: what failed is ready again, and what lapsed is asked anew."""
        self._retry = False
        self._blocked = self._problem
        update = Update(run={"status": "ready", "failure": None})
        for one in self.session.journal.values():
            if one.live and one.status == "failed":
                await self._renew(one, update)
        self._news = {one.occurrence_id for one in self._suspended()}
        return update

    async def _renew(self, one: Occurrence, update: Update) -> None:
        if one.request_id:
            old = await self.session.shop.desk.load(one.request_id)
            fresh = reopened(old, now=await self.session.now())
            asked = self._asked(one, fresh)
            update.occurrences += asked.occurrences
            update.parts += asked.parts
            return
        calls = tuple([await self._renewed_call(call) for call in one.calls])
        update.occurrences.append(
            one.model_copy(update={"status": "ready", "failure": None, "calls": calls})
        )

    async def _renewed_call(self, call: Call) -> Call:
        if call.kind != "gate" or call.status != "failed":
            return call
        request = await self.session.shop.desk.load(call.request_id)
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

    async def _cancellation(self) -> Update:
        update = Update(run={"status": "cancelled", "key": None})
        for one in self.session.journal.values():
            if one.live and one.status in _UNFINISHED | {"failed"}:
                ended = one.model_copy(update={"live": False, "status": "superseded"})
                update.occurrences.append(ended)
                await self._withdraw(one, update, reason="run cancelled")
        return update

    async def _commit(self, build: Build) -> None:
        """Commit what `build` makes, with the run's status as it then is; release when all rests."""
        tries = 0
        while True:
            tries += 1
            async with self.session.lock:
                update = await build()
                try:
                    await self._write(update)
                except StaleWriteError:
                    if tries == TRIES:
                        raise
                else:
                    return
            await self.session.refresh_signals()
            self._look_at_signals()

    async def _write(self, update: Update) -> None:
        session = self.session
        old = session.run
        after = session.journal | {one.occurrence_id: one for one in update.occurrences}
        status = self._status(update, after)
        now = await session.now()
        changed: dict[str, object] = {**update.run, "status": status}
        if status == "blocked" and self._blocked is not None:
            changed |= {
                "blocked_reason": self._blocked.reason,
                "blocked_detail": self._blocked.detail,
            }
        else:
            changed |= {"blocked_reason": None, "blocked_detail": ""}
        if status == "failed":
            changed["failure"] = next(
                (one.failure for one in after.values() if one.live and one.failure), None
            )
        if status != old.status:
            changed["updated_at"] = now
            if status != "ready":
                update.events.append(self._event(old, changed, now))
        if status in TERMINAL:
            self._add_end(old, status, update, now)
        differs = any(getattr(old, name) != value for name, value in changed.items())
        await session.commit(
            run=old.model_copy(update=changed) if differs else None,
            occurrences=update.occurrences,
            parts=update.parts,
            consumed=self._noted,
            events=update.events,
            signals=update.signals,
            tasks=update.tasks,
            release=status != "ready",
        )
        self._noted.clear()

    def _status(self, update: Update, after: Marks) -> RunStatus:
        """Return the status that the run has once `update` is written; `ready` while work is left."""
        fixed = update.run.get("status")
        if fixed is not None:
            return cast("RunStatus", fixed)
        unheard = any(signal not in self._noted for signal in self.session.signals)
        if self._running or unheard or self._cancelled or self._retry:
            return "ready"
        if self.session.run.status in TERMINAL:
            return self.session.run.status
        if self._blocked is not None:
            return "blocked"
        live = [one for one in after.values() if one.live]
        if self._news or dispatch.runnable(self.code.graph, self._marks(after)):
            return "ready"
        statuses = {one.status for one in live}
        if "failed" in statuses:
            return "failed"
        return "suspended" if "suspended" in statuses else "completed"

    def _event(self, run: Run, changed: Mapping[str, object], now: datetime) -> Event:
        facts: dict[str, Tree] = {"run_id": run.run_id, "flow": run.flow_name}
        status = str(changed["status"])
        if status == "blocked":
            facts["reason"] = cast("str", changed["blocked_reason"])
            facts["detail"] = cast("str", changed["blocked_detail"])
        failure = changed.get("failure")
        if isinstance(failure, Failure):
            facts["error"] = failure.type_name
        return Event(name=f"run.{status}", at=now, actor="signoff", facts=facts)

    def _add_end(self, run: Run, status: RunStatus, update: Update, now: datetime) -> None:
        if run.kind == "flow":
            update.run["key"] = None
        if run.parent_run_id and run.status != status:
            update.signals.append(
                Signal(
                    run_id=run.parent_run_id,
                    cause=f"child:{run.run_id}:{run.version + 1}",
                    kind="child_ended",
                    facts={"run_id": run.run_id, "status": status},
                    created_at=now,
                )
            )
            update.tasks.append(Task(kind="advance", subject=run.parent_run_id))

    def _marks(self, journal: Marks) -> list[dispatch.Occ]:
        return [
            dispatch.Occ(
                id=one.occurrence_id,
                seq=one.seq,
                step=one.step,
                causes=tuple(
                    dispatch.Cause(cause.trigger, cause.occurrence_id) for cause in one.causes
                ),
                wave=one.wave,
                status="running" if one.occurrence_id in self._running else one.status,
                live=one.live,
                label=one.label,
            )
            for one in journal.values()
        ]


def _just(update: Update) -> Build:
    async def build() -> Update:
        return replace(update, events=[], signals=[], tasks=[])

    return build


def _is_suspension(error: BaseException | None) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return error.subgroup(Suspend) is not None
    return isinstance(error, Suspend)


def _drift(unmet: Sequence[Call]) -> Blocked:
    names = ", ".join(f"{call.name} ({call.digest[:19]})" for call in unmet)
    return Blocked(
        reason="drift",
        detail=f"the replay of the step did not come to what it had called before: {names}",
    )


def _unanswered(run_id: str, request: Request) -> Exception:
    if request.status == "expired":
        return RequestExpired(run_id, request_id=request.request_id)
    reason = request.resolution.reason if request.resolution else ""
    return ApprovalCancelled(request.request_id, reason=reason)
