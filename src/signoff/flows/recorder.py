"""Committing what becomes of a run's occurrences, one commit for each end (floor 6)."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, cast

from signoff.audit.ledger import Event
from signoff.desk import TRIES
from signoff.errors import SealInvalidError, StaleWriteError
from signoff.flows.endings import (
    Ending,
    Journal,
    Plan,
    Update,
    asking,
    cancelling,
    finishing,
    marks,
    renewing,
    withdraw_left,
)
from signoff.flows.failures import recorded
from signoff.flows.places import way_of
from signoff.flows.session import Session
from signoff.flows.signals import Told, distrusted
from signoff.model.changes import Signal, Task
from signoff.model.request import Request
from signoff.model.run import TERMINAL, Failure, Run, RunStatus
from signoff.model.values import Tree
from signoff.rules import dispatch

_log = logging.getLogger("signoff.flows")

_IMPERSONAL: Final = frozenset({"in_doubt", "seal_invalid", "poison"})
"""Reasons whose detail names records only; that of the others may show values of the run."""

Build = Callable[[], Awaitable[Update]]
"""Makes an update of the records as they are; called again when they have moved on."""


@dataclass(slots=True, eq=False)
class Recorder:
    """
    Writes a run for the drive that holds it, and gives it back once it rests.

    Attributes:
        session: The run.
        told: What it was told.
        plan: What its code says.
        running: The occurrences that an attempt is made at just now.
    """

    session: Session
    told: Told
    plan: Plan
    running: set[str] = field(default_factory=set[str])

    async def rest(self) -> None:
        """Give the run back when nothing in it can go on."""

        async def build() -> Update:
            return Update()

        await self._commit(build)

    async def blocked(self) -> None:
        """Record that a retry came to nothing, whatever the run had come to before."""

        async def build() -> Update:
            return Update(run={"status": "blocked"})

        await self._commit(build)

    async def suspended(self, occurrence_id: str) -> None:
        """Record that a step waits."""

        async def build() -> Update:
            one = self.session.journal[occurrence_id]
            return Update(occurrences=[one.model_copy(update={"status": "suspended"})])

        await self._commit(build)

    async def asked(self, occurrence_id: str, draft: Request, *, state: Mapping[str, Tree]) -> None:
        """Record that a step has returned and that a human is asked about what it returned."""

        async def build() -> Update:
            one = self.session.journal[occurrence_id]
            update = asking(self.session, one, draft)
            await withdraw_left(self.session, one, update)
            update.run["state"] = state
            return update

        await self._commit(build)

    async def failed(self, occurrence_id: str, error: Exception) -> None:
        """Record that a step has raised."""
        self.session.failures[occurrence_id] = error
        _log.info("%s raised %s:\n%s", occurrence_id, type(error).__name__, way_of(error))
        failure = recorded(error, self.session.shop.codec)

        async def build() -> Update:
            one = self.session.journal[occurrence_id]
            ended = one.model_copy(update={"status": "failed", "failure": failure})
            return Update(occurrences=[ended])

        await self._commit(build)

    async def finished(self, ending: Ending) -> None:
        """Record that an occurrence has finished, and all that follows from that."""
        try:
            await self._commit(
                lambda: finishing(self.session, self.plan, ending, running=self.running)
            )
        except RecursionError as error:
            await self.failed(ending.occurrence_id, error)

    async def finished_if_that_lets_others_run(self, ending: Ending) -> None:
        """Record that an occurrence has finished, if steps follow and nothing is in the way."""
        with suppress(RecursionError, StaleWriteError):
            update = await finishing(self.session, self.plan, ending, running=self.running)
            after = self.session.journal | {one.occurrence_id: one for one in update.occurrences}
            if self._status(update, after) == "ready":
                await self._write(update)

    async def renewed(self) -> None:
        """Record a retry."""
        self.told.begin_again()
        try:
            await self._commit(lambda: renewing(self.session))
        except SealInvalidError as error:
            self.told.blocked = distrusted(error)
            await self.blocked()
        else:
            self.told.look_at_all()

    async def cancelled(self) -> None:
        """Record that the run ends here."""
        await self._commit(lambda: cancelling(self.session))

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
        events: list[Event] = []
        if status != old.status:
            changed["updated_at"] = now = await session.now()
            if status in TERMINAL and old.parent_run_id:
                _tell_parent(old, status, update, now)
            if status != "ready":
                events.append(_event(old, changed, now))
        # Once for each claim, even if nothing else changes: the claims that ended without a
        # commit are counted against the run.
        stands = all(getattr(old, name) == value for name, value in changed.items())
        same = stands and old.fencing == session.held.fencing
        await session.commit(
            change=None if same else changed,
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
        if self.told.go_on(journal) or dispatch.runnable(
            self.plan.graph, marks(journal, self.running)
        ):
            return "ready"
        return "suspended" if "suspended" in statuses else "completed"


def _event(run: Run, changed: Mapping[str, object], now: datetime) -> Event:
    facts: dict[str, Tree] = {"run_id": run.run_id, "flow": run.flow_name}
    personal: dict[str, str] = {}
    reason = cast("str | None", changed["blocked_reason"])
    if reason is not None:
        facts["reason"] = reason
        told = facts if reason in _IMPERSONAL else personal
        told["detail"] = str(changed["blocked_detail"])
    failure = cast("Failure | None", changed.get("failure"))
    if failure is not None:
        facts["error"] = failure.type_name
    name = f"run.{changed['status']}"
    return Event(name=name, at=now, actor="signoff", facts=facts, personal=personal)


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
