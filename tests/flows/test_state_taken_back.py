"""A suspended step's own changes of the state are taken back; its siblings' changes stay."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, ClassVar, cast

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from signoff import Flow, and_, human_feedback, listen, require_approval, router, start
from signoff.codec import codec
from signoff.flows.state import StateBox
from signoff.flows.touching import StateDict, Touches
from signoff.flows.undo import MISSING, Missing, Value, taken_back

if TYPE_CHECKING:
    from tests.flows.conftest import Bench

    from signoff.model.values import Tree


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


# Taking back.


@pytest.mark.parametrize(
    ("before", "after", "now", "expected"),
    [
        (1, 2, 2, 1),
        (1, 2, 3, 3),
        (MISSING, 1, 1, MISSING),
        (1, MISSING, MISSING, 1),
        ([1], [1, 2], [1, 2, 3], [1, 3]),
        (MISSING, [1], [1, 2], [2]),
        ([1, 2], [2], [2, 3], [2, 3]),
        ([1], [1, 2], [3], [3]),
        (1, [1], [1, 2], [1, 2]),
        ({"a": 1}, {"a": 2, "b": 1}, {"a": 2, "b": 1, "c": 1}, {"a": 1, "c": 1}),
        ({"a": 1}, {"a": 2}, {"a": 3}, {"a": 3}),
        ({"a": 1, "b": 1}, {"b": 1}, {"b": 2}, {"b": 2, "a": 1}),
        (MISSING, {"a": 1}, {"a": 1, "b": 1}, {"b": 1}),
        ({"x": {"a": []}}, {"x": {"a": [1]}}, {"x": {"a": [1, 2]}}, {"x": {"a": [2]}}),
        ({"$": "set", "v": [1]}, {"$": "set", "v": [1, 2]}, {"$": "set", "v": [3]}, None),
        (1, {"a": 1}, {"a": 1, "b": 1}, {"a": 1, "b": 1}),
        ({"a": 1}, {"a": 1, "b": 2}, 7, 7),
    ],
)
def test_taking_back_undoes_what_can_be_told_apart(
    before: Value, after: Value, now: Value, expected: Value
) -> None:
    """And leaves what cannot."""
    if expected is None:
        expected = now
    assert taken_back(before, after, now) == expected


trees: st.SearchStrategy[Tree] = st.recursive(
    st.none() | st.integers(0, 3) | st.text("ab", max_size=1),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner),
    max_leaves=6,
)
values: st.SearchStrategy[Value] = trees | st.just(MISSING)


@given(before=values, after=values)
def test_alone_an_attempt_is_undone_whatever_it_did(before: Value, after: Value) -> None:
    """Nobody else has changed anything since."""
    assert taken_back(before, after, after) == before


@given(value=values, now=values)
def test_what_changed_nothing_is_nothing_to_undo(value: Value, now: Value) -> None:
    """Whatever somebody else did since, stays."""
    undone = taken_back(value, value, now)
    assert undone == now or (isinstance(undone, Missing) and isinstance(now, Missing))


# The dict that notes touches.


def touched(work: Callable[[StateDict], object], **fields: object) -> set[str]:
    """Return the fields that some work on a dict touches."""
    state = StateDict(fields)
    seen: set[str] = set()
    touches = Touches(state, lambda _, name: seen.add(name))
    with touches.noted():
        work(state)
    return seen


def test_reading_touches_what_can_be_changed_by_reading() -> None:
    """Lists and dicts, by whatever way they are read, and no number or text."""
    fields: dict[str, object] = {"number": 1, "text": "a", "list": [], "dict": {}}
    reads: list[Callable[[StateDict], object]] = [
        lambda state: [state["list"], state["dict"], state["number"], state["text"]],
        lambda state: [state.get(name) for name in (*state, "none")],
        lambda state: list(state.values()),
        lambda state: list(state.items()),
        dict,
        lambda state: {**state},
        lambda state: state.copy(),
        lambda state: state | {"other": 1},
        lambda state: [state.setdefault(name) for name in list(state)],
    ]
    for read in reads:
        assert touched(read, **fields) == {"list", "dict"}
    harmless: list[Callable[[StateDict], object]] = [len, list, repr, lambda state: "list" in state]
    for read in harmless:
        assert touched(read, **fields) == set()


def test_writing_touches_what_is_written() -> None:
    """By whatever way; and does what it does with a dict."""

    def update(state: StateDict) -> None:
        state.update({"a": 1}, b=2)
        state |= {"c": 3}

    def delete(state: StateDict) -> None:
        del state["a"]
        assert state.pop("b") == 2
        assert state.pop("none", "nothing") == "nothing"

    def pop_last(state: StateDict) -> None:
        assert state.popitem() == ("b", 2)

    assert touched(lambda state: state.setdefault("new", 1)) == {"new"}
    assert touched(update) == {"a", "b", "c"}
    assert touched(delete, a=1, b=2, c=3) == {"a", "b", "none"}
    assert touched(pop_last, a=1, b=2) == {"b"}
    assert touched(StateDict.clear, a=1, b=2) == {"a", "b"}
    for work in (StateDict.popitem, lambda state: state.pop("none"), lambda state: state["none"]):
        with pytest.raises(KeyError):
            touched(work)


def test_touches_of_another_state_or_of_nobody_are_not_noted() -> None:
    """An attempt of one run that holds another run's state changes that one only."""
    other = StateDict(list=[])
    assert touched(lambda _: other["list"], list=[]) == set()
    assert other["list"] == []


# The box, with two attempts.


def box_of(**fields: object) -> StateBox:
    """Return a box with a dict state."""
    box = StateBox(codec, None)
    box.begin({}, fields, id_="run")
    return box


def work(box: StateBox, touches: Touches, change: Callable[[StateDict], object]) -> None:
    """Change the state as an attempt does."""
    with touches.noted():
        change(cast("StateDict", box.value))


def test_an_earlier_attempts_changes_leave_what_a_later_one_remembers() -> None:
    """The later one goes back to what was there before both."""
    box = box_of(number=0)
    first, second = box.begin_attempt(), box.begin_attempt()
    work(box, first, lambda state: state.update(number=1))
    work(box, second, lambda state: state.update(number=2))
    box.settle(first, keep=False)
    assert box.value == {"id": "run", "number": 2}
    assert box.dump() == {"id": "run", "number": 0}
    box.settle(second, keep=False)
    assert box.value == {"id": "run", "number": 0}


def test_a_later_attempt_that_is_taken_back_leaves_the_earlier_one_alone_again() -> None:
    """What it changes from then on is its own."""
    box = box_of(number=0)
    first, second = box.begin_attempt(), box.begin_attempt()
    work(box, first, lambda state: state.update(number=1))
    work(box, second, lambda state: state.update(number=2))
    box.settle(second, keep=False)
    assert box.value == {"id": "run", "number": 1}
    work(box, first, lambda state: state.update(number=3))
    box.settle(first, keep=False)
    assert box.value == {"id": "run", "number": 0}


def test_attempts_that_touch_a_field_by_turns_keep_what_cannot_be_told_apart() -> None:
    """A number that two have written more than once stays as the last one left it."""
    box = box_of(number=0)
    first, second = box.begin_attempt(), box.begin_attempt()
    for number, attempt in ((1, first), (2, second), (3, first), (4, first)):
        work(box, attempt, partial(StateDict.update, number=number))
    box.settle(second, keep=False)
    assert box.value == {"id": "run", "number": 4}
    box.settle(first, keep=False)
    assert box.value == {"id": "run", "number": 4}


def test_what_is_taken_back_stays_the_same_list_and_dict() -> None:
    """Whoever holds it still holds the state."""
    box = box_of(items=[1], members={"a": 1})
    state = cast("StateDict", box.value)
    items, members = state["items"], state["members"]
    attempt = box.begin_attempt()
    work(box, attempt, lambda state: cast("list[int]", state["items"]).append(2))
    work(box, attempt, lambda state: cast("dict[str, int]", state["members"]).update(b=2))
    box.settle(attempt, keep=False)
    assert state["items"] is items
    assert items == [1]
    assert state["members"] is members
    assert members == {"a": 1}


def test_only_what_the_ending_attempt_changed_is_stored() -> None:
    """What another one has only begun to change is stored as it was; both may have read it."""
    box = box_of(mine=0, other=0, items=[])
    ending, running = box.begin_attempt(), box.begin_attempt()
    work(box, ending, lambda state: (state["items"], state.update(mine=1)))
    work(box, running, lambda state: (state["items"], state.update(other=1, new=1)))
    work(box, running, lambda state: cast("list[int]", state["items"]).append(1))
    assert box.dump(finishing=ending) == {"id": "run", "mine": 1, "other": 0, "items": []}
    box.settle(ending, keep=True)
    assert box.dump(finishing=running) == {
        "id": "run",
        "mine": 1,
        "other": 1,
        "items": [1],
        "new": 1,
    }


def test_what_cannot_be_stored_is_taken_back_as_well() -> None:
    """The attempt that made it has failed."""
    box = box_of(items=[1])
    attempt = box.begin_attempt()
    work(box, attempt, lambda state: state.update(items=object(), new=object()))
    box.settle(attempt, keep=False)
    assert box.value == {"id": "run", "items": [1]}
