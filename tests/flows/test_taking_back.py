"""How changes of the state are told apart and taken back: trees, dicts that note touches, and the box."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signoff.codec import codec
from signoff.flows.state import StateBox
from signoff.flows.tracking import StateDict, Touches
from signoff.flows.undo import MISSING, Missing, Value, taken_back

if TYPE_CHECKING:
    from signoff.model.values import Tree


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
