"""Steps of one run share its state, and what they put into it can be stored."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, cast

import anyio
from pydantic import BaseModel, Field, field_validator

from signoff import Flow, and_, listen, or_, router, start

if TYPE_CHECKING:
    from tests.flows.conftest import Bench


class Order(BaseModel):
    """A model without an id."""

    amount: int = 0
    tags: list[str] = Field(default_factory=list)

    @field_validator("amount")
    @classmethod
    def _positive(cls, value: int) -> int:
        if value < 0:
            raise ValueError("is negative")
        return value


async def test_a_value_that_cannot_be_stored_fails_the_step_that_made_it(bench: Bench) -> None:
    """With the path of the value; the state is as it was before the step."""

    class Broken(Flow):
        @start()
        def begin(self) -> None:
            self.state["kept"] = 1

        @listen(begin)
        def spoil(self) -> None:
            self.state["deep"] = {"lock": [threading.Lock()]}

    run = await bench.start(Broken)
    assert run.status == "failed"
    assert run.failure is not None
    assert "state.deep" in run.failure.message
    assert run.state == {"id": run.run_id, "kept": 1}


async def test_a_value_of_another_type_than_its_field_fails_the_step_that_made_it(
    bench: Bench,
) -> None:
    """Not the resume weeks later, when nobody could mend it any more."""

    class Sloppy(Flow[Order]):
        @start()
        def begin(self) -> None:
            self.state.amount = cast("int", "many")

    run = await bench.start(Sloppy)
    assert run.failure is not None
    assert "state.amount: expected int, found str" in run.failure.message


async def test_steps_that_run_in_parallel_share_the_state(bench: Bench) -> None:
    """What one of them writes, the other one sees at once."""
    written = anyio.Event()

    class Shared(Flow):
        @start()
        async def write(self) -> None:
            self.state["said"] = "hello"
            written.set()

        @start()
        async def read(self) -> object:
            await written.wait()
            return self.state["said"]

    run = await bench.start(Shared)
    assert run.status == "completed"
    assert "hello" in [run.output, *await outputs(bench, run.run_id)]


async def outputs(bench: Bench, run_id: str) -> list[object]:
    """Return what the steps of a run returned."""
    return [one.record.output for one in await bench.store.journal(run_id)]


async def test_the_lock_keeps_steps_apart(bench: Bench) -> None:
    """Each adds in two moves, and none is lost; the lock is a new one in each run."""

    class Counting(Flow):
        @start()
        async def one(self) -> None:
            await self.add()

        @start()
        async def two(self) -> None:
            await self.add()

        @start()
        async def three(self) -> None:
            await self.add()

        async def add(self) -> None:
            async with self.lock:
                before = cast("int", self.state.get("count", 0))
                await anyio.lowlevel.checkpoint()
                self.state["count"] = before + 1

        @listen(and_(one, two, three))
        def end(self) -> object:
            return self.state["count"]

    flow = Counting(client=bench.client)
    assert await flow.kickoff_async() == 3
    assert await flow.kickoff_async() == 3


@dataclass
class Pair:
    """Two numbers that belong together."""

    left: int
    right: int


async def test_sync_steps_do_not_tear_what_another_step_commits(bench: Bench) -> None:
    """A step that ends stores the others' fields as they were before those began to write."""
    writing, committed = threading.Event(), threading.Event()

    class Torn(Flow):
        initial_state = {"pair": Pair(1, 1), "keys": {}}

        @start()
        def write(self) -> Pair:
            pair = cast("Pair", self.state["pair"])
            pair.left = 2
            writing.set()
            assert committed.wait(20)
            pair.right = 2
            return pair

        @start()
        def beside(self) -> None:
            assert writing.wait(20)

        @listen(beside)
        async def after(self) -> object:
            (stored,) = await bench.client.flows.list()
            committed.set()
            return stored.state["pair"]

    run = await bench.start(Torn)
    seen = next(one for one in await bench.store.journal(run.run_id) if one.record.step == "after")
    assert cast("dict[str, object]", seen.record.output)["v"] == {"left": 1, "right": 1}
    assert cast("dict[str, object]", run.state["pair"])["v"] == {"left": 2, "right": 2}


async def test_a_thread_that_changes_a_dict_does_not_disturb_a_commit(bench: Bench) -> None:
    """Many keys come and go while many steps end."""
    done = threading.Event()

    class Busy(Flow):
        @start()
        def churn(self) -> None:
            while not done.is_set():
                for number in range(50):
                    self.state[f"key {number}"] = {"number": number}
                for number in range(50):
                    self.state.pop(f"key {number}")

        @start()
        async def turn(self) -> str | None:
            return "again"

        @router(or_(turn, "again"))
        async def more(self, _: object) -> str | None:
            self.state["turns"] = len(self.method_outputs)
            if len(self.method_outputs) < 50:
                return "again"
            done.set()
            return None

    run = await bench.start(Busy)
    assert run.status == "completed"
    assert sorted(run.state) == ["id", "turns"]


async def test_a_date_in_the_inputs_stays_one(bench: Bench) -> None:
    """Inputs are stored as what they are, without a detour over text."""

    class Dated(Flow):
        @start()
        def begin(self) -> bool:
            return self.state["due"] == datetime(2026, 1, 1)  # noqa: DTZ001 - a naive one on purpose

    assert (await bench.start(Dated, due=datetime(2026, 1, 1))).output is True  # noqa: DTZ001 - as above
