"""Calls that threads make for tasks of any event loop (floor 4)."""

from __future__ import annotations

import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Generic, TypeAlias, TypeVar

import anyio
from anyio.lowlevel import current_token

from signoff.errors import ConfigurationError

ResultT = TypeVar("ResultT")

RunSoon: TypeAlias = Callable[..., object]
"""Has a function called in an event loop, from any thread, without waiting for it."""


class Job(Generic[ResultT]):
    """
    One call on a connection that a thread makes for a task.

    Attributes:
        work: The call.
        then: What the thread does once the call's effects are durable, before the task is told.
        settled: Set in the task's own loop once there is an outcome.
        run_soon: How that loop is reached.
    """

    __slots__ = ("_error", "_result", "run_soon", "settled", "then", "work")

    def __init__(
        self,
        work: Callable[[sqlite3.Connection], ResultT],
        *,
        then: Callable[[], None] | None = None,
    ) -> None:
        self.work = work
        self.then = then
        self.settled = anyio.Event()
        self.run_soon = _run_soon()
        self._error: Exception | None = None
        self._result: ResultT

    def succeed(self, result: ResultT) -> None:
        """Keep what the call returned; the task is not told yet."""
        self._result = result

    def fail(self, error: Exception) -> None:
        """Keep what the call raised; the task is not told yet."""
        self._error = error

    def finish(self) -> None:
        """Do what follows a success."""
        if self.then is not None and self._error is None:
            self.then()

    def outcome(self) -> ResultT:
        """Return or raise what came of it."""
        if self._error is not None:
            raise self._error
        return self._result


class JobQueue:
    """
    What waits for a thread. Tasks of several event loops put jobs in, threads take them out.

    No primitive of an event loop is shared: each job has its own event, and is told in its
    own loop.
    """

    def __init__(self) -> None:
        self._jobs: deque[Job[Any]] = deque()
        self._changed = threading.Condition()
        self._closed = False

    async def call(self, job: Job[ResultT]) -> ResultT:
        """
        Have a job done, and return or raise what came of it.

        A job that no thread has taken yet is withdrawn when its task is cancelled. One that
        was taken is finished, and its task leaves only when it is settled. So whoever comes
        back from here, in whichever way, comes back to a settled matter.

        Raises:
            ConfigurationError: The queue is closed.
        """
        self._put(job)
        try:
            await job.settled.wait()
        except BaseException:
            if not self._withdraw(job):
                with anyio.CancelScope(shield=True):
                    await job.settled.wait()
            raise
        return job.outcome()

    def wait(self, seconds: float | None = None) -> int:
        """Wait for jobs; return how many wait: none once the time is over or the queue closed."""
        with self._changed:
            self._changed.wait_for(self._has_news, seconds)
            return len(self._jobs)

    def take(self, limit: int) -> list[Job[Any]]:
        """Take the oldest jobs, which cannot be withdrawn from now on."""
        with self._changed:
            return [self._jobs.popleft() for _ in range(min(limit, len(self._jobs)))]

    def close(self) -> None:
        """Accept no more jobs; those that wait are still done."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    @property
    def is_finished(self) -> bool:
        """Whether no job waits, and none will come."""
        with self._changed:
            return self._closed and not self._jobs

    def _put(self, job: Job[Any]) -> None:
        with self._changed:
            if self._closed:
                raise ConfigurationError("the store is closed; enter it again: `async with store`")
            self._jobs.append(job)
            self._changed.notify()

    def _withdraw(self, job: Job[Any]) -> bool:
        with self._changed, suppress(ValueError):
            self._jobs.remove(job)
            return True
        return False

    def _has_news(self) -> bool:
        return bool(self._jobs) or self._closed


def tell(jobs: Sequence[Job[Any]]) -> None:
    """Tell the tasks of settled jobs, those of one loop in one go. Never waits for a loop."""
    by_loop: dict[RunSoon, list[anyio.Event]] = {}
    for job in jobs:
        by_loop.setdefault(job.run_soon, []).append(job.settled)
    for run_soon, events in by_loop.items():
        # A loop that has ended has nobody who waits.
        with suppress(RuntimeError):
            run_soon(_set_all, events)


def _set_all(events: Sequence[anyio.Event]) -> None:
    for event in events:
        event.set()


def _run_soon() -> RunSoon:
    # anyio's own way into a loop from a foreign thread waits until the loop has come round, so
    # that one loop that is blocked by user code would hold up all others.
    loop = current_token().native_token
    name = "call_soon_threadsafe" if hasattr(loop, "call_soon_threadsafe") else "run_sync_soon"
    run_soon: RunSoon = getattr(loop, name)
    return run_soon
