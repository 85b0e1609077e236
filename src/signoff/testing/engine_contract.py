"""The suite that proves an engine (floor 9)."""

from __future__ import annotations

import threading
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import ClassVar, Final, get_args

import anyio
import pytest

from signoff.model.changes import Task, TaskKind
from signoff.ports import Engine
from signoff.testing.builders import NOON

KINDS: Final[tuple[TaskKind, ...]] = get_args(TaskKind)
"""What a task can be for."""


def a_task(subject: str = "run_1", *, kind: TaskKind = "advance", later: bool = False) -> Task:
    """Return a task for now, or for a year from now."""
    year = NOON + timedelta(days=365_000)
    return Task(kind=kind, subject=subject, not_before=year if later else None)


class Work:
    """
    What an engine is given to do, which notes what was done.

    Attributes:
        handled: The tasks that were begun, in that order.
        ended: Those that were ended.
        lost: What the next sweep finds, once.
        sweeps: How often the engine has swept.
    """

    def __init__(self) -> None:
        self.handled: list[Task] = []
        self.ended: list[Task] = []
        self.lost: list[Task] = []
        self.sweeps = 0
        self._held: dict[str, anyio.Event] = {}
        self._moved = anyio.Event()

    async def handle(self, task: Task) -> None:
        """Begin a task, wait if it is held, and end it."""
        self.handled.append(task)
        self._wake()
        if task.subject in self._held:
            await self._held[task.subject].wait()
        self.ended.append(task)
        self._wake()

    async def sweep(self) -> Sequence[Task]:
        """Find what was lost."""
        self.sweeps += 1
        found, self.lost = self.lost, []
        self._wake()
        return found

    def hold(self, *subjects: str) -> None:
        """Let these tasks take until they are let go."""
        self._held |= {subject: anyio.Event() for subject in subjects}

    def let_go(self) -> None:
        """Let all that are held end."""
        for event in self._held.values():
            event.set()

    def subjects(self) -> list[str]:
        """Return what the tasks that were begun are about."""
        return [task.subject for task in self.handled]

    async def until(self, so: Callable[[], bool], patience: timedelta) -> None:
        """Wait until that is so. Fails when it does not come about."""
        with anyio.move_on_after(patience.total_seconds()):
            while not so():
                await self._moved.wait()
        assert so(), f"it did not come about; begun: {self.subjects()}, {self.sweeps} sweeps"

    def _wake(self) -> None:
        self._moved.set()
        self._moved = anyio.Event()


@pytest.mark.anyio
class EngineContract:
    """
    Every promise of `signoff.ports.Engine`, as tests.

    Inherit it and override its fixture::

        class TestMyEngine(EngineContract):
            @pytest.fixture
            async def engine(self) -> Engine:
                return MyEngine()

    The names and docstrings of the tests are the specification.
    """

    patience: ClassVar[timedelta] = timedelta(seconds=30)
    """How long a test waits for what must come about."""

    @pytest.fixture
    async def engine(self) -> Engine:
        """Return or yield an engine with nothing to do. Override this one."""
        pytest.fail("override the fixture `engine`: return one with nothing to do")

    @asynccontextmanager
    async def serving(
        self, engine: Engine, work: Work, *, every_seconds: float = 3600
    ) -> AsyncGenerator[None]:
        """Let an engine serve in the block, from its first sweep on."""

        async def serve() -> None:
            await engine.serve(work.handle, sweep=work.sweep, every_seconds=every_seconds)

        began = work.sweeps
        async with anyio.create_task_group() as group:
            group.start_soon(serve)
            await work.until(lambda: work.sweeps > began, self.patience)
            yield
            group.cancel_scope.cancel()

    async def test_a_submitted_task_is_run(self, engine: Engine) -> None:
        """As it was submitted, once it is submitted, whatever it is for."""
        work = Work()
        tasks = [a_task(f"subject of {kind}", kind=kind) for kind in KINDS]
        async with self.serving(engine, work):
            engine.submit(tasks)
            await work.until(lambda: len(work.ended) >= len(tasks), self.patience)

        done = {(one.kind, one.subject) for one in work.ended}
        assert done == {(one.kind, one.subject) for one in tasks}

    async def test_what_was_lost_before_is_found_at_once(self, engine: Engine) -> None:
        """It sweeps as soon as it serves, and runs what the sweep finds."""
        work = Work()
        work.lost = [a_task("run_lost")]
        async with self.serving(engine, work):
            await work.until(lambda: "run_lost" in work.subjects(), self.patience)

    async def test_what_is_lost_later_is_found_in_time(self, engine: Engine) -> None:
        """It sweeps again and again, as often as it is told to."""
        work = Work()
        async with self.serving(engine, work, every_seconds=0.01):
            swept = work.sweeps
            await work.until(lambda: work.sweeps > swept + 2, self.patience)
            work.lost = [a_task("run_lost")]
            await work.until(lambda: "run_lost" in work.subjects(), self.patience)

    async def test_a_slow_task_holds_nobody_up(self, engine: Engine) -> None:
        """Others begin and end while it is at it, submitted together or later."""
        work = Work()
        work.hold("run_slow")
        async with self.serving(engine, work):
            engine.submit([a_task("run_slow"), a_task("run_quick")])
            await work.until(lambda: "run_slow" in work.subjects(), self.patience)
            engine.submit([a_task("run_late")])
            await work.until(lambda: len(work.ended) >= 2, self.patience)
            assert {task.subject for task in work.ended} == {"run_quick", "run_late"}
            work.let_go()
            await work.until(lambda: len(work.ended) >= 3, self.patience)

    async def test_a_task_that_comes_while_its_like_is_at_it_is_not_lost(
        self, engine: Engine
    ) -> None:
        """The one that is at it may have looked already, so there has to be another look."""
        work = Work()
        work.hold("run_1")
        async with self.serving(engine, work):
            engine.submit([a_task("run_1")])
            await work.until(lambda: len(work.handled) == 1, self.patience)
            engine.submit([a_task("run_1")])
            work.let_go()
            await work.until(lambda: len(work.ended) >= 2, self.patience)

    async def test_a_repeated_task_does_no_harm(self, engine: Engine) -> None:
        """It is run once at least, and everything else goes on."""
        work = Work()
        async with self.serving(engine, work):
            engine.submit([a_task("run_1")] * 3)
            engine.submit([a_task("run_1"), a_task("run_2")])
            await work.until(
                lambda: {task.subject for task in work.ended} == {"run_1", "run_2"}, self.patience
            )

    async def test_a_task_for_later_waits(self, engine: Engine) -> None:
        """It is not begun now; when its time has come the sweep finds it, if nothing else does."""
        work = Work()
        async with self.serving(engine, work):
            engine.submit([a_task("run_later", later=True), a_task("run_now")])
            await work.until(lambda: "run_now" in work.subjects(), self.patience)
            engine.submit([a_task("run_after")])
            await work.until(lambda: "run_after" in work.subjects(), self.patience)
            assert "run_later" not in work.subjects()

    async def test_tasks_are_taken_from_any_thread(self, engine: Engine) -> None:
        """A store hands them over from the thread that committed."""
        work = Work()
        async with self.serving(engine, work):
            thread = threading.Thread(target=engine.submit, args=([a_task("run_1")],))
            thread.start()
            await anyio.to_thread.run_sync(thread.join)
            await work.until(lambda: "run_1" in work.subjects(), self.patience)

    async def test_tasks_that_nobody_serves_are_no_error(self, engine: Engine) -> None:
        """Before it serves and after: they are run, or left to the sweep."""
        work = Work()
        engine.submit([a_task("run_1")])
        async with self.serving(engine, work):
            pass
        engine.submit([a_task("run_2")])
        engine.submit([])

    async def test_it_serves_until_it_is_cancelled(self, engine: Engine) -> None:
        """What is running is cancelled with it; then it can serve again."""
        work = Work()
        work.hold("run_slow")
        async with self.serving(engine, work):
            engine.submit([a_task("run_slow")])
            await work.until(lambda: "run_slow" in work.subjects(), self.patience)
        assert work.ended == []

        again = Work()
        async with self.serving(engine, again):
            engine.submit([a_task("run_1")])
            await again.until(lambda: "run_1" in again.subjects(), self.patience)

    async def test_many_tasks_are_all_run(self, engine: Engine) -> None:
        """More than run at once."""
        work = Work()
        subjects = {f"run_{number}" for number in range(300)}
        async with self.serving(engine, work):
            engine.submit([a_task(subject) for subject in sorted(subjects)])
            await work.until(
                lambda: {task.subject for task in work.ended} == subjects, self.patience
            )
