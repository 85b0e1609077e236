"""
Every test of the engine contract can fail: an engine that is wrong in one way does not pass it.

Each `Faulty` class is a right engine with one fault; `caught_by` names the tests that see it.
"""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import ClassVar

import anyio
import pytest
from typing_extensions import override

from signoff.engines.local import LocalEngine
from signoff.model.changes import Task
from signoff.ports import Engine
from signoff.testing import EngineContract

pytestmark = pytest.mark.one_python

NAMES = sorted(name for name in dir(EngineContract) if name.startswith("test_"))
SEEN = (AssertionError, ExceptionGroup, RuntimeError, TimeoutError)
"""How a test of the contract fails: it does not hold, or the engine fails where it must not."""

Handle = Callable[[Task], Awaitable[None]]
Sweep = Callable[[], Awaitable[Sequence[Task]]]


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """Return one event loop: whether the contract bites has nothing to do with which."""
    return "asyncio"


class Suite(EngineContract):
    """The contract, with little patience for what never comes about."""

    patience = timedelta(seconds=0.3)
    __test__ = False


class Patient(EngineContract):
    """The contract as it is."""

    __test__ = False


class Faulty(LocalEngine):
    """An engine with one fault; by default in what it does with a task, or with a sweep."""

    caught_by: ClassVar[tuple[str, ...]] = ()

    async def do(self, handle: Handle, task: Task) -> None:
        """Do one task."""
        await handle(task)

    async def look(self, sweep: Sweep) -> Sequence[Task]:
        """Sweep."""
        return await sweep()

    @override
    async def serve(self, handle: Handle, *, sweep: Sweep, every_seconds: float) -> None:
        await super().serve(
            lambda task: self.do(handle, task),
            sweep=lambda: self.look(sweep),
            every_seconds=every_seconds,
        )


class AdvancesOnly(Faulty):
    """It knows one kind of task."""

    caught_by = ("test_a_submitted_task_is_run",)

    @override
    async def do(self, handle: Handle, task: Task) -> None:
        if task.kind == "advance":
            await handle(task)


class IgnoresTheSweep(Faulty):
    """It sweeps, and leaves lying what it finds."""

    caught_by = (
        "test_what_was_lost_before_is_found_at_once",
        "test_what_is_lost_later_is_found_in_time",
    )

    @override
    async def look(self, sweep: Sweep) -> Sequence[Task]:
        await sweep()
        return []


class SweepsOnce(Faulty):
    """It sweeps at the start, and never again."""

    caught_by = ("test_what_is_lost_later_is_found_in_time",)

    @override
    async def serve(self, handle: Handle, *, sweep: Sweep, every_seconds: float) -> None:
        await super().serve(handle, sweep=sweep, every_seconds=3600)


class OneByOne(Faulty):
    """It does one task after the other."""

    caught_by = ("test_a_slow_task_holds_nobody_up",)

    def __init__(self) -> None:
        super().__init__()
        self._turn = threading.Semaphore(1)

    @override
    async def do(self, handle: Handle, task: Task) -> None:
        while not self._turn.acquire(blocking=False):
            await anyio.lowlevel.checkpoint()
        try:
            await handle(task)
        finally:
            self._turn.release()


class KnowsItAlready(Faulty):
    """It drops a task while its like is at it."""

    caught_by = ("test_a_task_that_comes_while_its_like_is_at_it_is_not_lost",)

    def __init__(self) -> None:
        super().__init__()
        self._running: set[str] = set()

    @override
    def submit(self, tasks: Sequence[Task]) -> None:
        super().submit([task for task in tasks if task.subject not in self._running])

    @override
    async def do(self, handle: Handle, task: Task) -> None:
        self._running.add(task.subject)
        await handle(task)
        self._running.discard(task.subject)


class ChokesOnRepetition(Faulty):
    """It takes a repetition for a mistake."""

    caught_by = ("test_a_repeated_task_does_no_harm",)

    @override
    def submit(self, tasks: Sequence[Task]) -> None:
        if len(set(tasks)) < len(tasks):
            raise RuntimeError("a task was submitted twice")
        super().submit(tasks)


class Hasty(Faulty):
    """It does at once what is for later."""

    caught_by = ("test_a_task_for_later_waits",)

    @override
    def submit(self, tasks: Sequence[Task]) -> None:
        super().submit([Task(kind=task.kind, subject=task.subject) for task in tasks])


class OfOneThread(Faulty):
    """It takes tasks only in the thread that it was made in."""

    caught_by = ("test_tasks_are_taken_from_any_thread",)

    def __init__(self) -> None:
        super().__init__()
        self._home = threading.get_ident()

    @override
    def submit(self, tasks: Sequence[Task]) -> None:
        if threading.get_ident() == self._home:
            super().submit(tasks)


class MustServe(Faulty):
    """It takes no task while it does not serve."""

    caught_by = ("test_tasks_that_nobody_serves_are_no_error",)

    @override
    def submit(self, tasks: Sequence[Task]) -> None:
        if not self._servers:
            raise RuntimeError("nobody serves")
        super().submit(tasks)


class ServesOnce(Faulty):
    """It cannot serve again."""

    caught_by = ("test_it_serves_until_it_is_cancelled",)

    _served = False

    @override
    async def serve(self, handle: Handle, *, sweep: Sweep, every_seconds: float) -> None:
        if self._served:
            raise RuntimeError("it has served")
        self._served = True
        await super().serve(handle, sweep=sweep, every_seconds=every_seconds)


class KeepsOn(Faulty):
    """It ends what is running in place of cancelling it."""

    caught_by = ("test_it_serves_until_it_is_cancelled",)

    @override
    async def do(self, handle: Handle, task: Task) -> None:
        try:
            await handle(task)
        except anyio.get_cancelled_exc_class():
            end = getattr(handle, "__self__").ended  # noqa: B009 - the contract's own work
            end.append(task)
            raise


class Forgetful(Faulty):
    """It keeps a hundred tasks, and drops the rest."""

    caught_by = ("test_many_tasks_are_all_run",)

    @override
    def submit(self, tasks: Sequence[Task]) -> None:
        super().submit(tasks[:100])


FAULTS = Faulty.__subclasses__()


async def put_to_the_test(name: str, engine: Engine, suite: EngineContract) -> None:
    """Run one test of the contract on an engine."""
    with anyio.fail_after(40):
        await getattr(suite, name)(engine)


@pytest.mark.parametrize("name", NAMES)
async def test_a_right_engine_passes(name: str) -> None:
    """So what fails below fails because of the fault, not because of how it is called."""
    await put_to_the_test(name, Faulty(), Patient())


@pytest.mark.parametrize(
    ("fault", "name"),
    [(fault, name) for fault in FAULTS for name in fault.caught_by],
    ids=lambda value: getattr(value, "__name__", value),
)
async def test_a_fault_is_caught(fault: type[Faulty], name: str) -> None:
    """The named test of the contract fails on the faulty engine."""
    with pytest.raises(SEEN):
        await put_to_the_test(name, fault(), Suite())


def test_every_test_of_the_contract_is_seen_to_fail() -> None:
    """Each of them catches a fault above."""
    assert sorted({name for fault in FAULTS for name in fault.caught_by}) == NAMES


def test_who_forgets_the_fixture_is_told(tmp_path: Path) -> None:
    """It says what it has to return."""
    path = tmp_path / f"{tmp_path.name}.py"
    path.write_text(
        "from signoff.testing import EngineContract\n"
        "class TestForgetful(EngineContract):\n"
        "    async def test_a_submitted_task_is_run(self, engine):\n"
        "        pass\n"
    )
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    told: list[str] = []

    class Reports:
        """Keeps why tests failed."""

        def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
            if report.failed:
                told.append(report.longreprtext)

    plugins = [f"-pno:{name}" for name in ("cacheprovider", "randomly", "timeout")]
    options = ["--import-mode=importlib", f"--rootdir={tmp_path}", "-k", "submitted_task"]

    pytest.main([*plugins, *options, str(path)], plugins=[Reports()])

    assert len(told) == 2
    assert all("override the fixture `engine`: " in one for one in told)
