"""One turn of work: ready runs, due deadlines, the outbox and the inbox (floor 7)."""

from __future__ import annotations

import logging
import secrets
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from typing import Final

import anyio

from signoff.claims import Held, Keeper
from signoff.desk import Desk
from signoff.errors import (
    DecisionError,
    DrainLimit,
    InboxError,
    SealInvalidError,
    StoreError,
)
from signoff.flows.executor import Executor
from signoff.model.changes import Changes, Task
from signoff.outbox import Outbox
from signoff.polling import Poller
from signoff.ports import (
    PAGE,
    BringsNews,
    Engine,
    LeavesToOthers,
    Store,
    TakesNews,
    TaskSink,
)
from signoff.rules.lifecycle import Expire

_log = logging.getLogger("signoff.worker")

MAX_PASSES: Final = 1000
SWEEP_SECONDS: Final = 5.0
_AT_ONCE: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class DrainReport:
    """
    What a drain did.

    Attributes:
        passes: How many passes it made, the last of which did nothing.
        advanced: The runs that were driven, with repetitions.
        sent: The deliveries that an attempt was made at; `errors` says where one failed.
        expired: The requests whose time was up.
        received: How many incoming messages were looked at.
        errors: What went wrong, by what it went wrong with: a run's or request's id, or the name
            of a notifier or the inbox. A run whose step raised is `failed`, and is not among them.
    """

    passes: int = 0
    advanced: tuple[str, ...] = ()
    sent: tuple[str, ...] = ()
    expired: tuple[str, ...] = ()
    received: int = 0
    errors: dict[str, str] = field(default_factory=dict[str, str])


class Shift:
    """One stretch of serving: what is at work in it, and whether it still takes more."""

    def __init__(self) -> None:
        self._at_work = 0
        self._takes_more = True
        self._idle = anyio.Event()
        self._ending: list[Callable[[], None]] = []

    def when_it_ends(self, tell: Callable[[], None]) -> None:
        """Have somebody told when the shift takes no more."""
        self._ending.append(tell)

    @asynccontextmanager
    async def work(self) -> AsyncGenerator[None]:
        """Count the block as at work. Once the shift ends nothing more begins: it waits to be cancelled."""
        if not self._takes_more:
            # To return would say that it was done.
            await anyio.sleep_forever()
        self._at_work += 1
        try:
            yield
        finally:
            self._at_work -= 1
            self._tell_if_idle()

    async def end(self, *, grace: timedelta) -> None:
        """Take nothing more, and return once what is at work has ended, at the latest after `grace`."""
        self._takes_more = False
        for tell in self._ending:
            tell()
        self._tell_if_idle()
        with anyio.move_on_after(grace.total_seconds()):
            await self._idle.wait()
        if self._at_work:
            _log.info("%d tasks did not end in time, and are given back", self._at_work)

    def _tell_if_idle(self) -> None:
        if not (self._takes_more or self._at_work):
            self._idle.set()


class Worker:
    """Does what the store says is to be done."""

    def __init__(
        self,
        *,
        store: Store,
        executor: Executor,
        desk: Desk,
        outbox: Outbox,
        keeper: Keeper,
        poller: Poller | None,
    ) -> None:
        self._store = store
        self._executor = executor
        self._desk = desk
        self._outbox = outbox
        self._keeper = keeper
        self._poller = poller

    # In turns.

    async def drain(self) -> DrainReport:
        """
        Do all that is ready or due now, until a pass does nothing.

        Raises:
            DrainLimit: There was still work after `MAX_PASSES` passes.
            StoreError: The store cannot say what is to be done.
        """
        report, failures = DrainReport(), self._outbox.failures.copy()
        while report.passes < MAX_PASSES:
            before = report
            report = await self._pass(report)
            if _work(report) == _work(before):
                return replace(report, errors=self._unsent(failures) | report.errors)
        raise DrainLimit(report.passes)

    def _unsent(self, before: Counter[str]) -> dict[str, str]:
        """Return by notifier why messages have failed since there were as many failures as `before`."""
        return {
            name: self._outbox.health[name].last_error for name in self._outbox.failures - before
        }

    async def _pass(self, report: DrainReport) -> DrainReport:
        done: list[Task] = []
        errors = dict(report.errors)
        tasks = [task for task in await self.sweep() if task.subject not in errors]
        limiter = anyio.CapacityLimiter(_AT_ONCE)
        alone = anyio.Lock()

        async def run(task: Task) -> None:
            async with limiter:
                try:
                    if await self._do(task, alone):
                        done.append(task)
                except Exception as error:  # noqa: BLE001 - one run's failure never stops the others
                    _log.exception("%s of %s failed", task.kind, task.subject)
                    errors[task.subject] = f"{type(error).__name__}: {error}"

        async with anyio.create_task_group() as group:
            for task in tasks:
                group.start_soon(run, task)
        received = 0
        if self._poller is not None and self._poller.name not in errors:
            try:
                received = await self._poller.poll()
            except (InboxError, StoreError) as error:
                errors[self._poller.name] = f"{type(error).__name__}: {error}"
        return replace(
            report,
            passes=report.passes + 1,
            advanced=(*report.advanced, *_subjects(done, "advance")),
            sent=(*report.sent, *_subjects(done, "deliver")),
            expired=(*report.expired, *_subjects(done, "deadline")),
            received=report.received + received,
            errors=errors,
        )

    async def sweep(self) -> Sequence[Task]:
        """Return everything that is to be done now."""
        ready = await self._store.ready(self._executor.names(), limit=PAGE)
        # Behind a look at the store, so that whatever was committed for now is due.
        now = await self._store.now()
        unsent = await self._store.due_deliveries(now, limit=PAGE)
        expired = await self._store.expired(now, limit=PAGE)
        return (
            *(Task(kind="deadline", subject=subject) for subject in expired),
            *(Task(kind="advance", subject=subject) for subject in ready),
            *(Task(kind="deliver", subject=subject) for subject in unsent),
        )

    async def _do(self, task: Task, alone: anyio.Lock) -> bool:
        if task.kind == "advance":
            return await self._advance(task.subject, alone)
        if task.kind == "deliver":
            return await self._outbox.send(task.subject)
        return await self._expire(task.subject)

    async def _advance(self, run_id: str, alone: anyio.Lock) -> bool:
        if not await self._executor.is_suspect(run_id):
            return await self._executor.advance(run_id)
        # One suspect at a time: whoever kills this process takes no other one along, and so in
        # the end is alone in having killed too many.
        async with alone:
            return await self._executor.advance(run_id)

    async def _expire(self, request_id: str) -> bool:
        try:
            await self._desk.do(request_id, Expire())
        except (DecisionError, SealInvalidError) as error:
            _log.info("%s did not expire: %s", request_id, error)
            return False
        return True

    # For as long as it serves.

    async def serve(self, engine: Engine, shift: Shift) -> None:
        """Do what comes up until cancelled: tasks by the engine, and the inbox beside it."""
        alone = anyio.Lock()

        async def handle(task: Task) -> None:
            async with shift.work():
                try:
                    await self._do(task, alone)
                except Exception:  # noqa: BLE001 - one run's failure never stops the others
                    _log.exception("%s of %s failed", task.kind, task.subject)

        if isinstance(engine, LeavesToOthers):
            shift.when_it_ends(partial(engine.take_no_more, handle))
        async with anyio.create_task_group() as group:
            group.start_soon(self._stay_visible)
            if self._poller is not None:
                group.start_soon(self._poller.poll_for_ever)
            if isinstance(self._store, BringsNews) and isinstance(engine, TakesNews):
                group.start_soon(self._take_news, self._store, engine)
            await engine.serve(handle, sweep=self._safe_sweep, every_seconds=SWEEP_SECONDS)

    async def _take_news(self, store: BringsNews, engine: TaskSink) -> None:
        async def look() -> None:
            engine.submit(await self._safe_sweep())

        await store.bring_news(engine.submit, look=look)

    async def _safe_sweep(self) -> Sequence[Task]:
        try:
            return await self.sweep()
        except StoreError:
            _log.exception("the store could not be swept; trying again")
            return ()

    async def _stay_visible(self) -> None:
        held = await self._shown()
        try:
            await anyio.sleep_forever()
        finally:
            self._keeper.let_go(held)
            with anyio.CancelScope(shield=True), suppress(StoreError):
                await self._store.commit(Changes(claims=(held.release(),)))

    async def _shown(self) -> Held:
        # A claim for each block that serves: one that ends does not end the others'.
        acquire = self._keeper.acquisition(f"serving:{secrets.token_hex(8)}")
        began = time.monotonic()
        with anyio.CancelScope(shield=True):
            await self._store.commit(Changes(claims=(acquire,)))
        return self._keeper.keep(acquire, began=began)


def _work(report: DrainReport) -> tuple[int, int, int, int]:
    return (len(report.advanced), len(report.sent), len(report.expired), report.received)


def _subjects(tasks: Sequence[Task], kind: str) -> tuple[str, ...]:
    return tuple(task.subject for task in tasks if task.kind == kind)
