"""A suspended step's own changes of the state are taken back; its siblings' changes stay."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, ClassVar, cast

import anyio
import pytest
from pydantic import BaseModel, Field

from signoff import Flow, and_, human_feedback, listen, require_approval, router, start

if TYPE_CHECKING:
    from tests.flows.conftest import Bench


@require_approval(name="taken_back.pay")
async def pay() -> str:
    """Pay."""
    return "paid"


@require_approval(name="taken_back.refund")
def refund() -> str:
    """Pay back."""
    return "refunded"


def count(flow: Flow, name: str, by: int = 1) -> int:
    """Add to a number of the state."""
    flow.state[name] = cast("int", flow.state.get(name, 0)) + by
    return cast("int", flow.state[name])


def append(flow: Flow, name: str, value: str) -> None:
    """Add to a list of the state."""
    cast("list[str]", flow.state.setdefault(name, [])).append(value)


async def test_a_steps_changes_before_its_gate_are_made_once(bench: Bench) -> None:
    """However often it is run again: numbers, lists, and what it has deleted."""

    class Gated(Flow):
        initial_state = {"gone": 1, "kept": {"a": [1]}, "ran": 0}

        @start()
        async def begin(self) -> str:
            count(self, "tries")
            append(self, "log", "begun")
            del self.state["gone"]
            cast("dict[str, list[int]]", self.state["kept"])["a"].append(2)
            return await pay() + await pay()

    run = await bench.start(Gated)
    assert run.state == {"id": run.run_id, "gone": 1, "kept": {"a": [1]}, "ran": 0}
    await bench.approve("pay")
    assert (await bench.now(run)).state == run.state
    await bench.approve("pay")

    ended = await bench.now(run)
    assert ended.output == "paidpaid"
    assert ended.state == {
        "id": run.run_id,
        "kept": {"a": [1, 2]},
        "log": ["begun"],
        "ran": 0,
        "tries": 1,
    }


@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_what_a_finished_sibling_changed_stays_when_a_step_runs_again(
    bench: Bench, kind: str
) -> None:
    """Both change fields of their own at the same time, and one list together."""
    turns: dict[str, threading.Event] = {name: threading.Event() for name in ("one", "two")}

    class Two(Flow):
        initial_state: ClassVar[object] = {"together": []}

        @start()
        async def suspends(self) -> str:
            count(self, "mine")
            append(self, "together", "suspended")
            turns["one"].set()
            await anyio.to_thread.run_sync(turns["two"].wait)
            count(self, "mine")
            return await pay()

        @start("sync")
        def in_a_thread(self) -> None:
            assert turns["one"].wait(20)
            self.write()

        @start("async")
        async def in_a_coroutine(self) -> None:
            await anyio.to_thread.run_sync(turns["one"].wait)
            self.write()

        @start()
        @router()
        async def choose(self) -> str:
            return kind

        def write(self) -> None:
            count(self, "other")
            append(self, "together", "finished")
            turns["two"].set()

    run = await bench.start(Two)
    assert run.status == "suspended"
    assert run.state == {"id": run.run_id, "other": 1, "together": ["finished"]}
    await bench.approve("pay")

    ended = await bench.now(run)
    assert ended.status == "completed"
    assert ended.state == {
        "id": run.run_id,
        "mine": 2,
        "other": 1,
        "together": ["finished", "suspended"],
    }


async def test_a_sync_step_in_a_thread_takes_its_changes_back_as_well(bench: Bench) -> None:
    """Its gate is a sync one, too."""

    class Sync(Flow):
        @start()
        def begin(self) -> int:
            tries = count(self, "tries")
            refund()
            return tries

    run = await bench.start(Sync)
    await bench.approve("refund")
    assert (await bench.now(run)).output == 1


async def test_two_suspended_steps_take_back_what_each_had_changed(bench: Bench) -> None:
    """In one number that both have raised, and a third one looks at."""
    raised = [anyio.Event(), anyio.Event()]

    class Three(Flow):
        initial_state = {"number": 100}

        @start()
        async def one(self) -> str:
            count(self, "number", 1)
            raised[0].set()
            return await pay()

        @start()
        async def two(self) -> str:
            await raised[0].wait()
            count(self, "number", 10)
            raised[1].set()
            return await pay()

        @start()
        async def look(self) -> str:
            await raised[1].wait()
            return "looked"

        @listen(and_(one, two))
        def end(self) -> object:
            return self.state["number"]

    run = await bench.start(Three)
    assert run.state["number"] == 100
    requests = await bench.client.hitl.list_requests(status="pending")
    for request in requests:
        await bench.client.hitl.approve(request_id=request.request_id, reviewer="ann@acme.example")
    await bench.go()
    assert (await bench.now(run)).output == 111


async def test_a_failed_steps_changes_are_taken_back_for_its_retry(bench: Bench) -> None:
    """The retry begins with the state as it was."""

    class Failing(Flow):
        @start()
        def begin(self) -> int:
            tries = count(self, "tries")
            if not FIXED:
                raise OSError("down")
            return tries

    FIXED.clear()
    run = await bench.start(Failing)
    assert run.state == {"id": run.run_id}
    FIXED.append(True)
    await bench.client.flows.retry(run.run_id)
    await bench.go()
    assert (await bench.now(run)).output == 1


FIXED: list[bool] = []


class Inner(BaseModel):
    """A model within the model."""

    values: list[int] = Field(default_factory=list)


class Outer(BaseModel):
    """A model state."""

    number: int = 0
    inner: Inner = Field(default_factory=Inner)


async def test_a_model_states_changes_are_taken_back_in_its_depths_too(bench: Bench) -> None:
    """Fields that are written, and models and lists that are changed in place."""

    class Typed(Flow[Outer]):
        @start()
        async def begin(self) -> Outer:
            self.state.number += 1
            self.state.inner.values.append(self.state.number)
            await pay()
            return self.state

    run = await bench.start(Typed)
    assert run.state["number"] == 0
    await bench.approve("pay")
    assert (await bench.now(run)).output == Outer(number=1, inner=Inner(values=[1]))


async def test_a_step_under_a_gate_keeps_what_it_changed(bench: Bench) -> None:
    """It has returned and does not run again."""

    class Asked(Flow):
        @start()
        @human_feedback("ok?", emit=["yes", "no"])
        def ask(self) -> int:
            return count(self, "asked")

        @listen("yes")
        def end(self) -> object:
            return self.state["asked"]

    run = await bench.start(Asked)
    assert run.state["asked"] == 1
    await bench.answer("ask", "yes")
    assert (await bench.now(run)).output == 1
