"""The engine in this process: tasks at once, sweeps from time to time, an end at any moment."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import anyio
import pytest
from anyio import to_thread
from anyio.lowlevel import checkpoint
from trio.testing import MockClock
from typing_extensions import override

from signoff.engines.local import AT_ONCE, LocalEngine
from signoff.model.changes import Task
from signoff.ports import PAGE

NEVER = 3600.0
"""Seconds between two sweeps where a test is about none."""


def a_task(subject: str, *, not_before: datetime | None = None) -> Task:
    """Return a task to advance a run."""
    return Task(kind="advance", subject=subject, not_before=not_before)


class Work:
    """What an engine is given to do: it notes what it was asked, and takes as long as it is told."""

    def __init__(self) -> None:
        self.found: list[Task] = []
        self.sweeps: list[float] = []
        self.handled: list[str] = []
        self.running = 0
        self.most = 0
        self.gate = anyio.Event()
        self.gate.set()

    async def handle(self, task: Task) -> None:
        """Take note of a task, wait for the gate, and be done."""
        self.handled.append(task.subject)
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await self.gate.wait()
        finally:
            self.running -= 1

    async def sweep(self) -> Sequence[Task]:
        """Find what there is to be found, once."""
        self.sweeps.append(anyio.current_time())
        found, self.found = self.found, []
        return found


@asynccontextmanager
async def served(engine: LocalEngine, work: Work) -> AsyncGenerator[Callable[[], Awaitable[None]]]:
    """Serve while the block lasts; yields what waits until everything has come to rest."""

    async def serve() -> None:
        await engine.serve(work.handle, sweep=work.sweep, every_seconds=NEVER)

    async with anyio.create_task_group() as group:
        group.start_soon(serve)
        await anyio.wait_all_tasks_blocked()
        yield anyio.wait_all_tasks_blocked
        group.cancel_scope.cancel()


async def test_tasks_run_as_soon_as_they_are_submitted() -> None:
    """Each once; the first sweep comes at once as well."""
    engine, work = LocalEngine(), Work()
    work.found = [a_task("left over")]
    async with served(engine, work) as rest:
        assert work.handled == ["left over"]
        engine.submit([a_task("a"), a_task("b")])
        await rest()

    assert sorted(work.handled) == ["a", "b", "left over"]
    assert len(work.sweeps) == 1


async def test_tasks_of_another_thread_run_as_well() -> None:
    """A store hands them over from its writer."""
    engine, work = LocalEngine(), Work()
    async with served(engine, work):
        await to_thread.run_sync(engine.submit, [a_task("a")])
        while not work.handled:
            await checkpoint()

    assert work.handled == ["a"]


async def test_tasks_for_later_are_left_to_the_sweep() -> None:
    """Which finds them in the store when they are due."""
    engine, work = LocalEngine(), Work()
    async with served(engine, work) as rest:
        engine.submit([a_task("later", not_before=datetime(2030, 1, 1, tzinfo=UTC))])
        await rest()

    assert work.handled == []


async def test_what_is_submitted_while_nothing_serves_is_not_kept() -> None:
    """A process that only asks would keep it for ever; the store has it."""
    engine, work = LocalEngine(), Work()
    for number in range(1000):
        engine.submit([a_task(str(number))])
    assert not engine._waiting
    async with served(engine, work):
        assert work.handled == []
        engine.submit([a_task("at the very end")])

    assert not engine._waiting


async def test_a_task_that_has_not_begun_is_not_queued_again() -> None:
    """However often it is submitted or found; one that has begun is, for it may have missed it."""
    engine, work = LocalEngine(), Work()
    work.gate = anyio.Event()
    subjects = [str(number) for number in range(AT_ONCE)]
    async with served(engine, work) as rest:
        engine.submit([a_task(subject) for subject in subjects])
        await rest()
        for _ in range(3):
            engine.submit([a_task("0"), a_task("waits")])
            await rest()
        assert sorted(work.handled) == sorted(subjects)
        work.gate.set()
        await rest()

    assert sorted(work.handled[AT_ONCE:]) == ["0", "waits"]


async def test_no_more_than_so_many_run_at_once() -> None:
    """The others wait for their turn."""
    engine, work = LocalEngine(), Work()
    work.gate = anyio.Event()
    async with served(engine, work) as rest:
        engine.submit([a_task(str(number)) for number in range(3 * AT_ONCE)])
        await rest()
        assert work.running == AT_ONCE
        work.gate.set()
        await rest()

    assert work.most == AT_ONCE
    assert len(work.handled) == 3 * AT_ONCE


async def test_an_end_in_the_midst_of_a_task_cancels_it() -> None:
    """And the engine can serve again."""
    engine, work = LocalEngine(), Work()
    work.gate = anyio.Event()
    async with served(engine, work) as rest:
        engine.submit([a_task("a")])
        await rest()
        assert work.running == 1
    assert work.running == 0

    work.gate.set()
    async with served(engine, work) as rest:
        engine.submit([a_task("b")])
        await rest()
    assert work.handled == ["a", "b"]


async def test_two_that_serve_at_once_share_the_tasks() -> None:
    """When one of them ends, the other one goes on."""
    engine, first, second = LocalEngine(), Work(), Work()
    async with served(engine, first) as rest:
        async with served(engine, second):
            engine.submit([a_task("a"), a_task("b")])
            await rest()
            assert sorted(first.handled + second.handled) == ["a", "b"]
        engine.submit([a_task("c")])
        await rest()

    assert "c" in first.handled


class Backlog(Work):
    """Far more than a sweep finds at once."""

    def __init__(self, left: int, *, stuck: bool = False) -> None:
        super().__init__()
        self._left = [a_task(str(number)) for number in range(left)]
        self._is_stuck = stuck

    @override
    async def sweep(self) -> Sequence[Task]:
        self.sweeps.append(anyio.current_time())
        return self._left[:PAGE]

    @override
    async def handle(self, task: Task) -> None:
        await super().handle(task)
        if not self._is_stuck:
            self._left.remove(task)


async def test_what_a_full_sweep_has_left_is_swept_at_once() -> None:
    """As soon as all that it found has begun; a sweep that is not full is the last for now."""
    engine, work = LocalEngine(), Backlog(2 * PAGE + 50)
    async with served(engine, work):
        assert sorted(set(work.handled), key=int) == [str(one) for one in range(2 * PAGE + 50)]
        assert 3 <= len(work.sweeps) <= 5


async def test_a_full_sweep_of_what_is_not_to_be_done_is_not_repeated_at_once() -> None:
    """The second one finds nothing new; so the next waits for its time."""
    engine, work = LocalEngine(), Backlog(PAGE, stuck=True)
    async with served(engine, work):
        assert len(work.sweeps) == 2
        assert len(work.handled) == 2 * PAGE


class TestByTheClock:
    """On trio, whose time can be made to fly."""

    @pytest.fixture
    def anyio_backend(self) -> tuple[str, dict[str, object]]:
        """Run by a clock that jumps to whatever is next."""
        return "trio", {"clock": MockClock(autojump_threshold=0)}

    async def test_the_store_is_swept_at_its_interval_whatever_is_submitted(self) -> None:
        """Tasks in between neither delay nor hasten it."""
        engine, work = LocalEngine(), Work()

        async def serve() -> None:
            await engine.serve(work.handle, sweep=work.sweep, every_seconds=5.0)

        async with anyio.create_task_group() as group:
            group.start_soon(serve)
            for number in range(20):
                await anyio.sleep(1)
                engine.submit([a_task(str(number))])
            await anyio.sleep(0.5)
            group.cancel_scope.cancel()

        begun = work.sweeps[0]
        assert [round(at - begun) for at in work.sweeps] == [0, 5, 10, 15, 20]
        assert len(work.handled) == 20
