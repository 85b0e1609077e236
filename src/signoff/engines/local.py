"""An engine in this process: tasks in memory, and a sweep of the store for what was lost (floor 4)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import anyio
from typing_extensions import override

from signoff.bell import Bell
from signoff.model.changes import Task
from signoff.ports import Engine

AT_ONCE: Final = 64
"""How many tasks run at the same time at the most."""


class LocalEngine(Engine):
    """
    Runs tasks in the event loop that serves.

    Tasks for later are left to the sweep, which finds them in the store when they are due.
    """

    def __init__(self) -> None:
        self._bell = Bell()
        self._waiting: dict[tuple[str, str], Task] = {}

    @override
    def submit(self, tasks: Sequence[Task]) -> None:
        now = [task for task in tasks if task.not_before is None]
        # Not `|=`: `serve` may be swapping the dict in another thread.
        for task in now:
            self._waiting[task.kind, task.subject] = task
        if now:
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

        async def run(task: Task) -> None:
            async with limiter:
                await handle(task)

        async with anyio.create_task_group() as tasks:
            next_sweep = anyio.current_time()
            while True:
                if anyio.current_time() >= next_sweep:
                    found = await sweep()
                    self._waiting |= {(task.kind, task.subject): task for task in found}
                    next_sweep = anyio.current_time() + every_seconds
                heard = self._bell.rings
                waiting, self._waiting = self._waiting, {}
                for task in waiting.values():
                    tasks.start_soon(run, task)
                await self._bell.wait(max(0.0, next_sweep - anyio.current_time()), after=heard)
