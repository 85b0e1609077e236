"""One turn of work: ready runs, due deadlines, the outbox and the inbox (floor 7)."""

from __future__ import annotations

import logging
import random
import secrets
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Final

import anyio

from signoff.claims import Held, Keeper
from signoff.desk import Desk
from signoff.errors import (
    DecisionError,
    DrainLimit,
    InboxError,
    NotFoundError,
    SealInvalidError,
    StoreError,
)
from signoff.flows.executor import Executor
from signoff.model.changes import Changes, Task
from signoff.outbox import Outbox
from signoff.ports import (
    BringsNews,
    Engine,
    Inbox,
    Incoming,
    LeavesToOthers,
    Store,
    TakesNews,
    TaskSink,
)
from signoff.replies import Replies
from signoff.rules.lifecycle import Expire

_log = logging.getLogger("signoff.worker")

MAX_PASSES: Final = 1000
SWEEP_SECONDS: Final = 5.0
LOGIN_PAUSE: Final = 10
"""How many poll intervals to wait after a refused login, so that no account gets locked."""
RECONNECT_SECONDS: Final = 1.0
"""How long to wait at the most after a first failure; doubled with each further one, up to a poll interval."""
_MOST_DOUBLINGS: Final = 30
_AT_ONCE: Final = 64
_PAGE: Final = 200
_TRIES: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class InboxHealth:
    """
    How an inbox has fared in this process.

    Attributes:
        last_success: When it was last read.
        last_error: What it last ran into.
        last_error_at: When.
        set_aside: How many messages could not be handled and were put away for a person.
        ignored: How many messages decided nothing and were answered by nothing, by reason:
            without a token, of machines.
    """

    last_success: datetime | None = None
    last_error: str = ""
    last_error_at: datetime | None = None
    set_aside: int = 0
    ignored: Mapping[str, int] = field(default_factory=dict[str, int])


@dataclass(frozen=True, slots=True, kw_only=True)
class DrainReport:
    """
    What a drain did.

    Attributes:
        passes: How many passes it made, the last of which did nothing.
        advanced: The runs that were driven, with repetitions.
        sent: The deliveries that an attempt was made at.
        expired: The requests whose time was up.
        received: How many incoming messages were looked at.
        errors: What went wrong, by what it went wrong with.
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
        inbox: Inbox | None,
        replies: Replies,
    ) -> None:
        self._store = store
        self._executor = executor
        self._desk = desk
        self._outbox = outbox
        self._keeper = keeper
        self._inbox = inbox
        self._replies = replies
        self._tries: dict[str, int] = {}
        self.inbox_health = InboxHealth()

    def how_the_inbox_fares(self) -> InboxHealth:
        """Return how the inbox has fared, with what its messages were ignored for."""
        return replace(self.inbox_health, ignored=dict(self._replies.ignored))

    # In turns.

    async def drain(self) -> DrainReport:
        """
        Do all that is ready or due now, until a pass does nothing.

        Raises:
            DrainLimit: There was still work after `MAX_PASSES` passes.
            StoreError: The store cannot say what is to be done.
        """
        report = DrainReport()
        while report.passes < MAX_PASSES:
            before = report
            report = await self._pass(report)
            if _work(report) == _work(before):
                return report
        raise DrainLimit(report.passes)

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
        if self._inbox is not None and self._inbox.name not in errors:
            try:
                received = await self.poll_inbox(self._inbox)
            except (InboxError, StoreError) as error:
                errors[self._inbox.name] = f"{type(error).__name__}: {error}"
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
        ready = await self._store.ready(self._executor.names(), limit=_PAGE)
        # Behind a look at the store, so that whatever was committed for now is due.
        now = await self._store.now()
        unsent = await self._store.due_deliveries(now, limit=_PAGE)
        expired = await self._store.expired(now, limit=_PAGE)
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
            if self._inbox is not None:
                group.start_soon(self._poll_for_ever, self._inbox)
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

    async def _poll_for_ever(self, inbox: Inbox) -> None:
        interval = inbox.poll_interval_seconds
        failures = 0
        while True:
            try:
                await self.poll_inbox(inbox)
                await self._wait_for_news(inbox)
            except InboxError as error:
                failures += 1
                await anyio.sleep(_rest(error, failures, interval))
            except Exception:  # noqa: BLE001 - whatever a poll runs into, the next one comes
                _log.exception("the inbox %s could not be polled; trying again", inbox.name)
                await anyio.sleep(interval)
            else:
                failures = 0

    # The inbox.

    async def _wait_for_news(self, inbox: Inbox) -> None:
        try:
            await inbox.wait_for_news(inbox.poll_interval_seconds)
        except InboxError as error:
            # No failure of the inbox yet: servers and routers end silent connections.
            _log.info("inbox %s: the wait for news broke off: %s", inbox.name, error)
            raise

    async def poll_inbox(self, inbox: Inbox) -> int:
        """
        Handle what came in, and return how many messages were looked at.

        A crash between handling and marking is harmless: the message is read again, and its key
        says that it was handled.

        Raises:
            InboxError: The mailbox cannot be read.
        """
        looked_at = 0
        more = True
        try:
            while more:
                mark = await self._store.mark(inbox.name)
                batch = await inbox.fetch(mark)
                ours = [one.uid for one in batch.messages if await self._handle_message(inbox, one)]
                await inbox.done(ours)
                if batch.mark is not None and batch.mark != mark:
                    await self._store.commit(Changes(marks={inbox.name: batch.mark}))
                looked_at += len(batch.messages)
                more = batch.more
        except InboxError as error:
            _log.warning("inbox %s: %s", inbox.name, error)
            self.inbox_health = replace(
                self.inbox_health, last_error=str(error), last_error_at=await self._store.now()
            )
            raise
        self.inbox_health = replace(self.inbox_health, last_success=await self._store.now())
        return looked_at

    async def _handle_message(self, inbox: Inbox, message: Incoming) -> bool:
        """Handle one message, and say whether it was Signoff's and is dealt with."""
        tries = self._tries.get(message.uid, 0) + 1
        try:
            ours = await self._replies.handle(message, inbox)
        except SealInvalidError as error:
            # Kept for after the repair: a further try before it would fail like this one.
            _log.warning("a reply came to a request whose seal is invalid: %s", error)
            await self._set_aside(inbox, message)
            return False
        except Exception as error:
            # A record that is gone is no failure of the store: it would hold up all the others.
            if isinstance(error, StoreError) and not isinstance(error, NotFoundError):
                raise
            _log.exception("a message in %s could not be handled (try %s)", inbox.name, tries)
            if tries < _TRIES:
                self._tries[message.uid] = tries
                raise InboxError("a message could not be handled; trying again") from None
            await self._set_aside(inbox, message)
            return False
        self._tries.pop(message.uid, None)
        return ours

    async def _set_aside(self, inbox: Inbox, message: Incoming) -> None:
        """Put a message where a person finds it, and count it."""
        self._tries.pop(message.uid, None)
        await inbox.set_aside([message.uid])
        health = self.inbox_health
        self.inbox_health = replace(health, set_aside=health.set_aside + 1)


def _rest(error: InboxError, failures: int, interval: float) -> float:
    """Return how many seconds to leave an inbox alone after so many failures in a row."""
    if error.login_failed:
        return interval * LOGIN_PAUSE
    longest = min(interval, RECONNECT_SECONDS * 2.0 ** min(failures - 1, _MOST_DOUBLINGS))
    # Not all at once: other workers lost the same server at the same moment.
    return random.uniform(longest / 2, longest)  # noqa: S311 - no secret


def _work(report: DrainReport) -> tuple[int, int, int, int]:
    return (len(report.advanced), len(report.sent), len(report.expired), report.received)


def _subjects(tasks: Sequence[Task], kind: str) -> tuple[str, ...]:
    return tuple(task.subject for task in tasks if task.kind == kind)
