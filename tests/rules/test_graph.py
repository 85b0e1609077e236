"""What the graph makes of conditions and steps; `finish` has its own file."""

from __future__ import annotations

import dataclasses
import itertools
import json
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signoff.rules.graph import (
    And,
    Condition,
    Graph,
    Or,
    StepSpec,
    fires_once_per_cause,
    leaves,
    met_by,
)


def graph_of(*specs: StepSpec) -> Graph:
    """Return the graph of these steps, in this order."""
    return Graph({spec.name: spec for spec in specs})


def either(*items: Condition) -> Or:
    """Return `or_(*items)`."""
    return Or(items)


def both(*items: Condition) -> And:
    """Return `and_(*items)`."""
    return And(items)


CONDITIONS: st.SearchStrategy[Condition] = st.recursive(
    st.sampled_from("abcd"),
    lambda inner: st.lists(inner, min_size=1, max_size=3).flatmap(
        lambda items: st.sampled_from([Or(tuple(items)), And(tuple(items))])
    ),
    max_leaves=8,
)


def alternatives(condition: Condition) -> list[frozenset[str]]:
    """Return all sets of leaves that each satisfy a condition: its sum of products."""
    if isinstance(condition, str):
        return [frozenset({condition})]
    inner = [alternatives(item) for item in condition.items]
    if isinstance(condition, Or):
        return list(itertools.chain.from_iterable(inner))
    return [frozenset().union(*choice) for choice in itertools.product(*inner)]


@pytest.mark.parametrize("bad", [None, 7, "", ("a",), ["a"], {"a"}, object])
@pytest.mark.parametrize(("kind", "word"), [(Or, "or_"), (And, "and_")])
def test_a_bad_item_is_refused_by_name(kind: type[Or | And], word: str, bad: Any) -> None:
    """What is no step, name, label or condition is named in a ValueError."""
    with pytest.raises(ValueError, match="not ") as caught:
        kind(("a", bad))

    assert str(caught.value) == (
        f"{word}() takes steps, names, labels, or_(...) and and_(...), not {bad!r}"
    )


@pytest.mark.parametrize(("kind", "word"), [(Or, "or_"), (And, "and_")])
def test_a_condition_of_nothing_is_refused(kind: type[Or | And], word: str) -> None:
    """An `or_()` could never be met, an `and_()` always would be."""
    with pytest.raises(ValueError, match=rf"^{word}\(\) needs at least one step, name or label$"):
        kind(())


def test_a_nested_bad_item_is_refused_where_it_is() -> None:
    """The innermost condition refuses it, so the message names that one."""
    with pytest.raises(ValueError, match=r"^and_\(\) takes"):
        either("a", both("b", ""))


def test_conditions_and_steps_cannot_be_changed() -> None:
    """They are frozen, and equal when they are written the same."""
    condition = either("a", both("b", "c"))
    spec = StepSpec("s", condition=condition)

    for record, name in ((condition, "items"), (both("a"), "items"), (spec, "router")):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(record, name, ())
    assert condition == Or(("a", And(("b", "c"))))
    assert condition != Or((And(("b", "c")), "a"))
    assert spec == StepSpec("s", condition=condition, start=False, router=False)


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("a", ("a",)),
        (either("b", "a"), ("b", "a")),
        (either("b", both("a", "b"), "c"), ("b", "a", "c")),
        (both(either("c", "c"), "c"), ("c",)),
    ],
)
def test_leaves_are_listed_once_in_the_order_written(
    condition: Condition, expected: tuple[str, ...]
) -> None:
    """A leaf that is written twice is one leaf, at its first place."""
    assert leaves(condition) == expected


@pytest.mark.parametrize(
    ("condition", "seen", "expected"),
    [
        ("a", "a", ("a",)),
        ("a", "b", ()),
        (either("a", "b"), "", ()),
        (either("a", "b"), "b", ("b",)),
        (either("a", "b"), "ba", ("a", "b")),
        (both("a", "b"), "a", ()),
        (both("a", "b"), "b", ()),
        (both("a", "b"), "bac", ("a", "b")),
        (either(both("a", "x"), both("c", "y")), "ac", ()),
        (either(both("a", "x"), both("c", "y")), "acy", ("c", "y")),
        (either("a", both("b", "c")), "ab", ("a",)),
        (both(either("a", "b"), "c"), "ab", ()),
        (both(either("a", "b"), "c"), "cba", ("a", "b", "c")),
        (both(either("a", "b"), either("b", "c")), "b", ("b",)),
        (either(both("b", "x"), both("c", "a", "b")), "abc", ("b", "c", "a")),
    ],
)
def test_a_condition_is_met_by_the_seen_leaves_of_its_satisfied_alternatives(
    condition: Condition, seen: str, expected: tuple[str, ...]
) -> None:
    """The answer is empty when the condition is not satisfied, and leaves out what did not help."""
    assert met_by(condition, set(seen)) == expected


@given(CONDITIONS, st.frozensets(st.sampled_from("abcde")))
def test_met_by_agrees_with_the_sum_of_products(condition: Condition, seen: frozenset[str]) -> None:
    """Written out as all alternatives, a condition is met by the union of those that are seen."""
    satisfied = [one for one in alternatives(condition) if one <= seen]

    assert set(met_by(condition, seen)) == set().union(*satisfied)
    assert met_by(condition, seen) == tuple(
        leaf for leaf in leaves(condition) if leaf in met_by(condition, seen)
    )


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("a", False),
        (either("a"), False),
        (either("a", "a"), False),
        (either("a", "b"), True),
        (both("a", "b"), False),
        (both("a"), False),
        (either(both("a", "b")), False),
        (both(either("a", "b")), True),
        (either(both(either("a", "b"))), True),
        (both(either("a", "b"), "c"), False),
        (either(both("a", "x"), both("c", "y")), True),
        (either("a", both("a", "b")), True),
    ],
)
def test_an_or_of_several_sources_fires_once_per_cause(
    condition: Condition, expected: bool
) -> None:
    """An `or_` at the top with more than one leaf; a wrapper of one item changes nothing."""
    assert fires_once_per_cause(condition) is expected


def test_a_step_that_nothing_runs_is_refused() -> None:
    """It neither starts nor listens."""
    with pytest.raises(
        ValueError,
        match=r"^step 'lost' is no start and listens to nothing, so it would never run$",
    ):
        StepSpec("lost")


@pytest.mark.parametrize("bad", ["", 5, ("a", "b")])
def test_a_step_refuses_a_bad_condition(bad: Any) -> None:
    """What is no condition is refused with the step's name."""
    with pytest.raises(ValueError, match=r"^step 'odd' takes steps, names, .*, not ") as caught:
        StepSpec("odd", condition=bad, start=True)

    assert str(caught.value).endswith(repr(bad))


@pytest.mark.parametrize("condition", ["again", either("x", "again"), both("x", either("again"))])
def test_a_step_that_listens_to_itself_is_refused(condition: Condition) -> None:
    """At any depth of its condition."""
    step = StepSpec("again", condition=condition)

    with pytest.raises(
        ValueError, match=r"^step 'again' listens to itself, so it would never come to rest$"
    ):
        graph_of(StepSpec("first", start=True), step)


def test_a_step_under_another_name_is_refused() -> None:
    """The mapping's key is the step's name."""
    with pytest.raises(ValueError, match=r"^step 'b' stands under the name 'a'$"):
        Graph({"a": StepSpec("b", start=True)})


def test_a_graph_keeps_its_own_copy_of_the_steps() -> None:
    """Later changes to the given mapping do not reach it, and it cannot be changed itself."""
    given = {"a": StepSpec("a", start=True)}
    graph = Graph(given)

    given["b"] = StepSpec("b", condition="a")

    assert dict(graph.steps) == {"a": StepSpec("a", start=True)}
    with pytest.raises(AttributeError):
        cast("dict[str, StepSpec]", graph.steps).update(given)


UNCONDITIONAL = StepSpec("u", start=True)
ROUTING_START = StepSpec("r", start=True, router=True)
CONDITIONAL = StepSpec("c", condition="again", start=True)
LISTENER = StepSpec("l", condition="u")


@pytest.mark.parametrize(
    ("specs", "expected"),
    [
        ([LISTENER, ROUTING_START, UNCONDITIONAL], ("r", "u")),
        ([CONDITIONAL, UNCONDITIONAL], ("u",)),
        ([LISTENER, CONDITIONAL], ("c",)),
        ([LISTENER], ()),
    ],
)
def test_conditional_starts_begin_a_run_only_when_there_is_no_unconditional_one(
    specs: list[StepSpec], expected: tuple[str, ...]
) -> None:
    """In the order of declaration; listeners never begin one."""
    assert graph_of(*specs).initial() == expected


def test_listeners_are_routers_first_and_then_as_declared() -> None:
    """Conditional starts listen too; who names none of the triggers does not hear them."""
    graph = graph_of(
        StepSpec("one", condition="x"),
        StepSpec("route_b", condition=either("y", "z"), router=True),
        StepSpec("deaf", condition="z", router=True),
        StepSpec("again", condition="x", start=True),
        StepSpec("root", start=True, router=True),
        StepSpec("route_a", condition=both("q", "x"), router=True),
    )

    assert graph.listeners(["x", "y"]) == (
        (graph.steps["route_b"], either("y", "z")),
        (graph.steps["route_a"], both("q", "x")),
        (graph.steps["one"], "x"),
        (graph.steps["again"], "x"),
    )
    assert graph.listeners(["nobody"]) == ()


def test_the_fingerprint_is_the_same_text_for_the_same_graph() -> None:
    """It is pinned: a stored fingerprint is compared with it after a deploy."""
    graph = graph_of(
        StepSpec("draft", start=True),
        StepSpec("review", condition=either("draft", both("x", "y")), router=True),
        StepSpec("again", condition="no", start=True),
    )

    assert graph.fingerprint() == (
        '[["draft", null, true, false], '
        '["review", ["or", "draft", ["and", "x", "y"]], false, true], '
        '["again", "no", true, false]]'
    )
    assert json.loads(graph.fingerprint())[0] == ["draft", None, True, False]


@pytest.mark.parametrize(
    "other",
    [
        graph_of(StepSpec("a", start=True), StepSpec("b", condition=both("a", "x"))),
        graph_of(StepSpec("a", start=True), StepSpec("b", condition=either("x", "a"))),
        graph_of(StepSpec("a", start=True), StepSpec("b", condition=either("a"))),
        graph_of(StepSpec("a", start=True), StepSpec("b", condition=either("a", "x"), router=True)),
        graph_of(StepSpec("a", start=True), StepSpec("b", condition=either("a", "x"), start=True)),
        graph_of(StepSpec("a", start=True), StepSpec("c", condition=either("a", "x"))),
        graph_of(StepSpec("b", condition=either("a", "x")), StepSpec("a", start=True)),
        graph_of(StepSpec("a", start=True)),
    ],
)
def test_the_fingerprint_changes_with_whatever_changes_the_behaviour(other: Graph) -> None:
    """Names, conditions, kinds and the order of declaration all count."""
    graph = graph_of(StepSpec("a", start=True), StepSpec("b", condition=either("a", "x")))

    assert other.fingerprint() != graph.fingerprint()
