"""An engine in this process: tasks in memory, and a sweep of the store for what was lost (floor 4)."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Final, TypeAlias

import anyio
from typing_extensions import override

from signoff.bell import Bell
from signoff.model.changes import Task
from signoff.ports import PAGE, Engine, TakesNews

AT_ONCE: Final = 64
"""How many tasks run at the same time at the most."""

_Key: TypeAlias = tuple[str, str]


class LocalEngine(Engine, TakesNews):
    """
    Runs tasks in the event loop that serves.

    Tasks for later, and those that come while nothing serves, are left to the sweep, which
    finds them in the store. One that finds so many that there may be more is followed by the next
    as soon as all of them have begun, unless that one finds nothing new.
    """

    takes_news = True

    def __init__(self) -> None:
        self._bell = Bell()
        self._lock = threading.Lock()
        self._servers = 0
        self._waiting: dict[_Key, Task] = {}

    @override
    def submit(self, tasks: Sequence[Task]) -> None:
        self._add([task for task in tasks if task.not_before is None])
        self._bell.ring()

    @override
    async def serve(
        self,
        handle: Callable[[Task], Awaitable[None]],
        *,
        sweep: Callable[[], Awaitable[Sequence[Task]]],
        every_seconds: float,
    ) -> None:
        limiter = anyio.CapacityLimiter(AT_ONCE)
        queued: set[_Key] = set()
        found: frozenset[_Key] = frozenset()
        is_more = False

        async def run(task: Task) -> None:
            async with limiter:
                queued.discard(_key(task))
                if is_more and not queued:
                    self._bell.ring()
                await handle(task)

        async with anyio.create_task_group() as tasks:
            with self._serving():
                next_sweep = anyio.current_time()
                while True:
                    heard = self._bell.rings
                    if anyio.current_time() >= next_sweep or (is_more and not queued):
                        swept = await sweep()
                        before, found = found, frozenset(map(_key, swept))
                        is_more = len(swept) >= PAGE and not found <= before
                        self._add(swept)
                        next_sweep = anyio.current_time() + every_seconds
                    for key, task in self._taken().items():
                        # One that has not begun yet will see whatever this one is about.
                        if key not in queued:
                            queued.add(key)
                            tasks.start_soon(run, task)
                    pause = max(0.0, next_sweep - anyio.current_time())
                    await self._bell.wait(pause, after=heard)

    @contextmanager
    def _serving(self) -> Generator[None]:
        self._count(1)
        try:
            yield
        finally:
            self._count(-1)

    def _count(self, change: int) -> None:
        with self._lock:
            self._servers += change
            if not self._servers:
                self._waiting = {}

    def _add(self, tasks: Sequence[Task]) -> None:
        with self._lock:
            if self._servers:
                self._waiting |= {_key(task): task for task in tasks}

    def _taken(self) -> dict[_Key, Task]:
        with self._lock:
            taken, self._waiting = self._waiting, {}
        return taken


def _key(task: Task) -> _Key:
    return task.kind, task.subject
