"""What becomes of a run's occurrences, in one commit for each end (floor 6)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, cast

from signoff.audit.ledger import Event
from signoff.desk import TRIES
from signoff.errors import SealInvalidError, StaleWriteError
from signoff.flows.drafts import reopened
from signoff.flows.failures import recorded
from signoff.flows.session import Part, Session
from signoff.flows.told import Told, distrusted
from signoff.model.changes import Signal, Task
from signoff.model.request import CallIdentity, Request
from signoff.model.run import TERMINAL, Call, Cause, Occurrence, Run, RunStatus
from signoff.model.values import Tree
from signoff.rules import dispatch
from signoff.rules.graph import Graph
from signoff.rules.lifecycle import Cancel, CancelReason

_UNFINISHED: Final = frozenset({"ready", "running", "suspended"})

Journal = Mapping[str, Occurrence]


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


Build = Callable[[], Awaitable[Update]]
"""Makes an update of the records as they are; called again when they have moved on."""


@dataclass(slots=True, eq=False)
class Recorder:
    """
    Writes a run for the drive that holds it, and gives it back once it rests.

    Attributes:
        session: The run.
        told: What it was told.
        graph: The steps of its code.
        limit: How often each of them may run.
        running: The occurrences that an attempt is made at just now.
    """

    session: Session
    told: Told
    graph: Graph
    limit: int = 0
    running: set[str] = field(default_factory=set[str])

    def marks(self, journal: Journal) -> list[dispatch.Occ]:
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
                status="running" if one.occurrence_id in self.running else one.status,
                live=one.live,
                label=one.label,
            )
            for one in journal.values()
        ]

    async def rest(self) -> None:
        """Give the run back when nothing in it can go on."""
        await self._commit(self._nothing)

    async def suspended(self, occurrence_id: str) -> None:
        """Record that a step waits."""

        async def build() -> Update:
            one = self.session.journal[occurrence_id]
            return Update(occurrences=[one.model_copy(update={"status": "suspended"})])

        await self._commit(build)

    async def asked(self, one: Occurrence, draft: Request, *, state: Mapping[str, Tree]) -> None:
        """Record that a step has returned and that a human is asked about what it returned."""

        async def build() -> Update:
            update = self._asking(self.session.journal[one.occurrence_id], draft)
            update.run["state"] = state
            return update

        await self._commit(build)

    async def failed(self, occurrence_id: str, error: Exception) -> None:
        """Record that a step has raised."""
        self.session.failures[occurrence_id] = error
        failure = recorded(error, self.session.shop.codec)

        async def build() -> Update:
            one = self.session.journal[occurrence_id]
            ended = one.model_copy(update={"status": "failed", "failure": failure})
            return Update(occurrences=[ended])

        await self._commit(build)

    async def finished(
        self,
        occurrence_id: str,
        *,
        output: Tree,
        label: str | None,
        state: Mapping[str, Tree] | None,
    ) -> None:
        """
        Record that an occurrence has finished, and all that follows from that.

        Args:
            occurrence_id: Which.
            output: What it returned; nothing for a gate, whose payload is in its request.
            label: What it routes to.
            state: The run's state, if it changed.
        """

        async def build() -> Update:
            return await self._finishing(occurrence_id, output=output, label=label, state=state)

        try:
            await self._commit(build)
        except RecursionError as error:
            await self.failed(occurrence_id, error)

    async def renewed(self) -> None:
        """Record a retry: what failed is ready again, and what lapsed is asked anew."""
        again = [
            one for one in self.session.journal.values() if one.live and one.status == "failed"
        ]

        async def build() -> Update:
            update = Update(run={"status": "ready", "failure": None})
            for one in again:
                await self._renew(self.session.journal[one.occurrence_id], update)
            return update

        self.told.begin_again()
        try:
            await self._commit(build)
        except SealInvalidError as error:
            self.told.blocked = distrusted(error)
        else:
            self.told.look_at_all()

    async def cancelled(self) -> None:
        """Record that the run ends here, with everything that it waits for."""

        async def build() -> Update:
            update = Update(run={"status": "cancelled", "key": None})
            for one in self.session.journal.values():
                if one.live and one.status in _UNFINISHED | {"failed"}:
                    ended = one.model_copy(update={"live": False, "status": "superseded"})
                    update.occurrences.append(ended)
                    await self._withdraw(one, update, reason="run cancelled")
            return update

        await self._commit(build)

    # Parts of an update.

    async def _nothing(self) -> Update:
        return Update()

    def _asking(self, one: Occurrence, draft: Request) -> Update:
        identity = CallIdentity(
            occurrence_id=one.occurrence_id, gate=one.step, digest=draft.proposed_digest
        )
        draft = draft.model_copy(update={"identity": identity})
        opened = self.session.shop.desk.open(draft, actor=self.session.run.requester or "flow")
        changed = {"status": "suspended", "request_id": draft.request_id, "failure": None}
        return Update(occurrences=[one.model_copy(update=changed)], parts=[opened])

    async def _finishing(
        self,
        occurrence_id: str,
        *,
        output: Tree,
        label: str | None,
        state: Mapping[str, Tree] | None,
    ) -> Update:
        run, journal = self.session.run, self.session.journal
        one = journal[occurrence_id]
        follows = dispatch.finish(
            self.graph,
            self.marks(journal),
            marking=dispatch.Marking(run.parts),
            occurrence_id=occurrence_id,
            label=label,
        )
        self._check_count(follows.starts)
        made = [
            _occurrence(run, start, seq=run.next_seq + index)
            for index, start in enumerate(follows.starts)
        ]
        ended = one.model_copy(
            update={
                "status": "finished",
                "output": output,
                "label": label,
                "live": one.live and occurrence_id not in follows.superseded,
                "finished_seq": run.finished + 1,
            }
        )
        update = await self._superseding(follows.superseded - {occurrence_id})
        update.occurrences += [ended, *made]
        update.run |= {
            "parts": {step: dict(parts) for step, parts in follows.marking.parts.items()},
            "next_seq": run.next_seq + len(made),
            "finished": run.finished + 1,
            "last_output_id": occurrence_id,
        }
        if state is not None:
            update.run["state"] = state
        return update

    def _check_count(self, starts: Sequence[dispatch.Start]) -> None:
        steps = [one.step for one in self.session.journal.values()]
        for start in starts:
            if steps.count(start.step) >= self.limit:
                raise RecursionError(
                    f"step {start.step!r} was to run more than {self.limit} times in run"
                    f" {self.session.run.run_id}; if that is meant, raise max_method_calls on the"
                    " class"
                )

    async def _superseding(self, names: Collection[str]) -> Update:
        update = Update()
        for name in sorted(names):
            one = self.session.journal[name]
            waits = one.status in _UNFINISHED
            status = "superseded" if waits else one.status
            update.occurrences.append(one.model_copy(update={"live": False, "status": status}))
            if waits:
                await self._withdraw(one, update, reason="superseded")
        return update

    async def _withdraw(self, one: Occurrence, update: Update, *, reason: CancelReason) -> None:
        """Add to `update` the end of everything that an occurrence waits for."""
        desk = self.session.shop.desk
        now = await self.session.now()
        requests = [one.request_id]
        for call in one.calls:
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

    async def _renew(self, one: Occurrence, update: Update) -> None:
        if one.request_id:
            old = await self.session.shop.desk.load(one.request_id)
            if old.resolution is not None and _is_answer(old):
                # What failed came after the answer, which is kept: nobody is asked again.
                update.occurrences.append(
                    one.model_copy(update={"status": "suspended", "failure": None})
                )
                return
            asked = self._asking(one, reopened(old, now=await self.session.now()))
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

    # Committing.

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
            await self.told.listen()

    async def _write(self, update: Update) -> None:
        session, told = self.session, self.told
        old = session.run
        after = session.journal | {one.occurrence_id: one for one in update.occurrences}
        status = self._status(update, after)
        now = await session.now()
        blocked = told.blocked if status == "blocked" else None
        changed: dict[str, object] = {
            **update.run,
            "status": status,
            "blocked_reason": blocked.reason if blocked else None,
            "blocked_detail": blocked.detail if blocked else "",
        }
        if status == "failed":
            failures = (one.failure for one in after.values() if one.live and one.failure)
            changed["failure"] = next(failures, None)
        if status in TERMINAL and old.kind == "flow":
            changed["key"] = None
        if status in TERMINAL and status != old.status and old.parent_run_id:
            _tell_parent(old, status, update, now)
        events: list[Event] = []
        if status != old.status:
            changed["updated_at"] = now
            if status != "ready":
                events.append(_event(old.model_copy(update=changed), now))
        # Once for each claim, even if nothing else changes: the claims that ended without a
        # commit are counted against the run.
        stands = all(getattr(old, name) == value for name, value in changed.items())
        same = stands and old.fencing == session.held.fencing
        await session.commit(
            run=None if same else old.model_copy(update=changed),
            occurrences=update.occurrences,
            parts=update.parts,
            consumed=told.noted,
            events=events,
            signals=update.signals,
            tasks=update.tasks,
            release=status != "ready",
        )
        told.noted.clear()

    def _status(self, update: Update, after: Journal) -> RunStatus:
        """Return the status that the run has once `update` is written; `ready` while work is left."""
        told, status = self.told, self.session.run.status
        fixed = cast("RunStatus | None", update.run.get("status"))
        if fixed is not None:
            return fixed
        if self.running or told.something_new or told.cancelled or told.retry:
            return "ready"
        if status in TERMINAL:
            return status
        if told.blocked is not None:
            return "blocked"
        return self._resting(after)

    def _resting(self, journal: Journal) -> RunStatus:
        """Return the status of a run that nothing keeps from going on but its own steps."""
        statuses = {one.status for one in journal.values() if one.live}
        if "failed" in statuses:
            return "failed"
        if self.told.go_on(journal) or dispatch.runnable(self.graph, self.marks(journal)):
            return "ready"
        return "suspended" if "suspended" in statuses else "completed"


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


def _is_answer(request: Request) -> bool:
    end = request.resolution
    return end is not None and (end.status not in {"expired", "cancelled"} or bool(end.outcome))


def _event(run: Run, now: datetime) -> Event:
    facts: dict[str, Tree] = {"run_id": run.run_id, "flow": run.flow_name}
    if run.blocked_reason is not None:
        facts |= {"reason": run.blocked_reason, "detail": run.blocked_detail}
    if run.status == "failed" and run.failure is not None:
        facts["error"] = run.failure.type_name
    return Event(name=f"run.{run.status}", at=now, actor="signoff", facts=facts)


def _tell_parent(run: Run, status: RunStatus, update: Update, now: datetime) -> None:
    signal = Signal(
        run_id=run.parent_run_id,
        cause=f"child:{run.run_id}:{run.version + 1}",
        kind="child_ended",
        facts={"run_id": run.run_id, "status": status},
        created_at=now,
    )
    update.signals.append(signal)
    update.tasks.append(Task(kind="advance", subject=run.parent_run_id))
