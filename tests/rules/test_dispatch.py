"""What follows when an occurrence finishes: rule by rule, and point by point of the flow semantics."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable

import pytest

from signoff.model.run import OccurrenceStatus
from signoff.rules.dispatch import (
    Cause,
    Dispatch,
    Marking,
    Occ,
    Start,
    argument_of,
    finish,
    runnable,
)
from signoff.rules.graph import And, Condition, Graph, Or, StepSpec


def either(*items: Condition) -> Or:
    """Return `or_(*items)`."""
    return Or(items)


def both(*items: Condition) -> And:
    """Return `and_(*items)`."""
    return And(items)


def start(name: str, condition: Condition | None = None, *, router: bool = False) -> StepSpec:
    """Return a start."""
    return StepSpec(name, condition=condition, start=True, router=router)


def listen(name: str, condition: Condition) -> StepSpec:
    """Return a listener."""
    return StepSpec(name, condition=condition)


def route(name: str, condition: Condition) -> StepSpec:
    """Return a router."""
    return StepSpec(name, condition=condition, router=True)


def by(*causes: str) -> tuple[Cause, ...]:
    """Return causes written as `trigger@occurrence`, or as `occurrence` for its step's name."""
    split = [cause.rpartition("@") for cause in causes]
    return tuple(Cause(trigger or one.rpartition("_")[0], one) for trigger, _, one in split)


class Trial:
    """A run that is driven by hand; occurrences are called `<step>_<n>`, from 1."""

    def __init__(self, *specs: StepSpec) -> None:
        self.graph = Graph({spec.name: spec for spec in specs})
        self.journal: dict[str, Occ] = {}
        self.marking = Marking()
        for name in self.graph.initial():
            self._add(name, (), "")

    def _add(self, step: str, causes: tuple[Cause, ...], wave: str) -> None:
        number = sum(one.step == step for one in self.journal.values()) + 1
        one = Occ(
            id=f"{step}_{number}", seq=len(self.journal) + 1, step=step, causes=causes, wave=wave
        )
        self.journal[one.id] = one

    def finish(self, occurrence: str, label: str | None = None) -> Dispatch:
        """Finish one occurrence and store what follows, as the executor does."""
        before = (dict(self.journal), json.dumps(self.marking.parts))
        journal = tuple(self.journal.values())
        dispatch = finish(
            self.graph, journal, marking=self.marking, occurrence_id=occurrence, label=label
        )
        assert before == (dict(self.journal), json.dumps(self.marking.parts)), "pure"
        if self.journal[occurrence].live:
            self.put(occurrence, "finished")
        for gone in dispatch.superseded:
            one = self.journal[gone]
            ended = one.status in {"finished", "failed"}
            self.journal[gone] = dataclasses.replace(
                one, live=False, status=one.status if ended else "superseded"
            )
        for new in dispatch.starts:
            self._add(new.step, new.causes, new.wave)
        self.marking = Marking(json.loads(json.dumps(dispatch.marking.parts)))
        return dispatch

    def put(self, occurrence: str, status: OccurrenceStatus) -> None:
        """Move an occurrence to another status."""
        self.journal[occurrence] = dataclasses.replace(self.journal[occurrence], status=status)

    def live(self) -> list[str]:
        """Return the live occurrences, oldest first."""
        return [one.id for one in self.journal.values() if one.live]

    def ready(self) -> list[str]:
        """Return the ready occurrences, oldest first."""
        return [one.id for one in self.journal.values() if one.status == "ready"]

    def runnable(self) -> tuple[str, ...]:
        """Return what may begin now; the order of the journal makes no difference."""
        journal = list(self.journal.values())
        assert runnable(self.graph, journal) == runnable(self.graph, reversed(journal))
        return runnable(self.graph, journal)


def fired(dispatch: Dispatch) -> dict[str, tuple[Cause, ...]]:
    """Return the causes of each start."""
    return {one.step: one.causes for one in dispatch.starts}


def parts(trial: Trial) -> dict[str, dict[str, str]]:
    """Return the stored parts."""
    return {step: dict(seen) for step, seen in trial.marking.parts.items()}


def finish_all(trial: Trial, occurrences: Iterable[str]) -> list[Dispatch]:
    """Finish several occurrences without a label."""
    return [trial.finish(one) for one in occurrences]


# What is emitted, and who hears it


def test_a_finished_step_fires_its_listeners_in_one_wave() -> None:
    """Each gets the step as its cause; nothing is superseded, nothing is left over."""
    trial = Trial(start("s"), listen("a", "s"), listen("b", "s"), listen("c", "a"))

    assert trial.finish("s_1") == Dispatch(
        starts=(
            Start(step="a", causes=(Cause("s", "s_1"),), wave="s_1"),
            Start(step="b", causes=(Cause("s", "s_1"),), wave="s_1"),
        ),
        marking=Marking({}),
        superseded=frozenset(),
    )


def test_starts_are_routers_first_and_then_as_declared() -> None:
    """The executor numbers them in this order, and `runnable` goes by the numbers."""
    trial = Trial(start("s"), listen("a", "s"), route("q", "s"), listen("b", "s"), route("p", "s"))

    assert list(fired(trial.finish("s_1"))) == ["q", "p", "a", "b"]


def test_a_router_emits_its_name_and_its_label() -> None:
    """The cause says which of the two it was."""
    trial = Trial(start("r", router=True), listen("a", "yes"), listen("b", "r"), listen("c", "no"))

    assert fired(trial.finish("r_1", "yes")) == {"a": by("yes@r_1"), "b": by("r_1")}


def test_a_router_without_a_label_emits_its_name_only() -> None:
    """`None` is no label, and fires nobody."""
    trial = Trial(start("r", router=True), listen("a", "None"), listen("b", "r"))

    assert fired(trial.finish("r_1", None)) == {"b": by("r_1")}


def test_a_label_of_a_step_that_is_no_router_emits_nothing() -> None:
    """Only routers route."""
    trial = Trial(start("s"), listen("a", "yes"), listen("b", "s"))

    assert fired(trial.finish("s_1", "yes")) == {"b": by("s_1")}


def test_a_label_equal_to_the_own_name_counts_once() -> None:
    """Names and labels are one namespace."""
    trial = Trial(start("r", router=True), listen("a", "r"), listen("b", both("r", "x")))

    assert fired(trial.finish("r_1", "r")) == {"a": by("r_1")}
    assert parts(trial) == {"b": {"r": "r_1"}}


def test_a_label_equal_to_the_name_of_another_step_is_that_trigger() -> None:
    """`return "publish"` fires who listens to `publish`, whether or not that step ran."""
    trial = Trial(start("r", router=True), start("publish"), listen("after", "publish"))

    assert fired(trial.finish("r_1", "publish")) == {"after": by("publish@r_1")}


@pytest.mark.parametrize("condition", [either("r", "yes"), either("yes", "r")])
def test_an_or_over_name_and_label_fires_once_for_the_label(condition: Condition) -> None:
    """The label wins, because it brings the human's answer as the argument."""
    trial = Trial(start("r", router=True), listen("a", condition))

    assert fired(trial.finish("r_1", "yes")) == {"a": by("yes@r_1")}
    assert parts(trial) == {}


@pytest.mark.parametrize("condition", [both("r", "yes"), both("yes", "r")])
def test_an_and_over_name_and_label_has_both_and_the_label_last(condition: Condition) -> None:
    """One occurrence can be two parts."""
    trial = Trial(start("r", router=True), listen("a", condition))

    assert fired(trial.finish("r_1", "yes")) == {"a": by("r_1", "yes@r_1")}


def test_a_router_emits_its_label_behind_its_own_name_too() -> None:
    """Of two gates that say yes, each has listeners of its own."""
    trial = Trial(
        start("r", router=True),
        start("q", router=True),
        listen("a", "r:yes"),
        listen("b", "q:yes"),
        listen("c", "yes"),
        listen("d", both("r:yes", "q:yes")),
    )

    assert fired(trial.finish("r_1", "yes")) == {"a": by("r:yes@r_1"), "c": by("yes@r_1")}
    assert parts(trial) == {"d": {"r:yes": "r_1"}}
    assert fired(trial.finish("q_1", "yes")) == {
        "b": by("q:yes@q_1"),
        "c": by("yes@q_1"),
        "d": by("r:yes@r_1", "q:yes@q_1"),
    }


def test_a_step_that_is_no_router_and_a_router_without_a_label_emit_no_label_by_name() -> None:
    """There is nothing to put behind the name."""
    trial = Trial(start("s"), start("r", router=True), listen("a", "s:yes"), listen("b", "r:None"))

    assert fired(trial.finish("s_1", "yes")) == {}
    assert fired(trial.finish("r_1", None)) == {}


@pytest.mark.parametrize(
    ("condition", "cause"),
    [
        (either("r", "r:yes", "yes"), "yes@r_1"),
        (either("r:yes", "yes"), "yes@r_1"),
        (either("r", "r:yes"), "r:yes@r_1"),
        (either(both("r", "r:yes"), "r:yes"), "r:yes@r_1"),
    ],
)
def test_of_a_label_its_long_form_and_the_name_the_first_that_will_do_is_the_cause(
    condition: Condition, cause: str
) -> None:
    """The label goes before `step:label`, and that before the name."""
    trial = Trial(start("r", router=True), listen("a", condition))

    assert fired(trial.finish("r_1", "yes")) == {"a": by(cause)}
    assert parts(trial) == {}


def test_an_and_over_a_label_its_long_form_and_the_name_has_all_three_and_the_label_last() -> None:
    """One occurrence can be three parts."""
    trial = Trial(start("r", router=True), listen("a", both("yes", "r", "r:yes")))

    assert fired(trial.finish("r_1", "yes")) == {"a": by("r_1", "r:yes@r_1", "yes@r_1")}


def test_an_occurrence_that_is_superseded_emits_nothing_when_it_ends() -> None:
    """It was suspended or running when its cause ran again; the marking stays as it was."""
    graph = Graph({"s": start("s"), "a": listen("a", "s")})
    gone = Occ(id="1", seq=1, step="s", status="superseded", live=False)
    marking = Marking({"other": {"x": "1"}})

    assert finish(graph, [gone], marking=marking, occurrence_id="1") == Dispatch(
        starts=(), marking=marking, superseded=frozenset()
    )


def test_an_unknown_occurrence_is_an_error() -> None:
    """Nothing is made up about it."""
    with pytest.raises(KeyError):
        finish(Graph({"s": start("s")}), [], marking=Marking(), occurrence_id="1")


def test_the_order_of_the_journal_makes_no_difference() -> None:
    """A store may return it in any order: `seq` says what came first."""
    graph = Graph({"r": start("r", router=True), "a": listen("a", either("x", "y", "z"))})
    router = Occ(id="r", seq=1, step="r", causes=(), status="running")
    first = Occ(id="first", seq=2, step="a", causes=by("x@r"), wave="r")
    other = Occ(id="other", seq=3, step="r", causes=by("first"), wave="first")
    second = Occ(id="second", seq=4, step="a", causes=by("y@other"), wave="other")
    journal = [second, other, first, router]

    forwards = finish(graph, journal[::-1], marking=Marking(), occurrence_id="other", label="z")
    backwards = finish(graph, journal, marking=Marking(), occurrence_id="other", label="z")

    assert forwards == backwards
    assert forwards.starts == ()


# Waves: rule 2 of the dispatch


def test_what_a_router_of_a_wave_fires_joins_its_wave() -> None:
    """So the listeners of all triggers wait until the whole chain of routers is through."""
    trial = Trial(start("s"), route("p", "s"), route("q", "yes"), listen("a", "yes"))

    assert trial.finish("s_1").starts == (Start(step="p", causes=by("s_1"), wave="s_1"),)
    assert trial.finish("p_1", "yes").starts == (
        Start(step="q", causes=by("yes@p_1"), wave="s_1"),
        Start(step="a", causes=by("yes@p_1"), wave="s_1"),
    )


def test_what_a_router_that_began_the_run_fires_is_a_wave_of_its_own() -> None:
    """It was not fired by anything, so there is no chain that it continues."""
    trial = Trial(start("p", router=True), listen("a", "p"))

    assert trial.finish("p_1").starts == (Start(step="a", causes=by("p_1"), wave="p_1"),)


def test_what_a_listener_fires_is_a_new_wave() -> None:
    """Waves of different occurrences never wait for each other."""
    trial = Trial(start("s"), listen("a", "s"), listen("b", "a"))
    trial.finish("s_1")

    assert trial.finish("a_1").starts == (Start(step="b", causes=by("a_1"), wave="a_1"),)


def test_a_routing_start_that_a_label_fires_is_a_router_of_the_wave() -> None:
    """Fired by a trigger, it is like any other router."""
    trial = Trial(
        start("s"), route("p", "s"), start("again", "yes", router=True), listen("a", "again")
    )
    finish_all(trial, ["s_1"])
    trial.finish("p_1", "yes")

    assert trial.finish("again_1").starts == (Start(step="a", causes=by("again_1"), wave="s_1"),)


def test_routers_run_one_after_another_and_then_all_listeners() -> None:
    """Every sibling chain is followed to its end before any listener begins."""
    trial = Trial(
        start("s"),
        listen("a", "s"),
        route("p", "s"),
        route("q", "s"),
        listen("b", "left"),
        route("then", "left"),
        listen("c", "right"),
        listen("d", "right"),
    )
    trial.finish("s_1")

    assert trial.ready() == ["p_1", "q_1", "a_1"]
    assert trial.runnable() == ("p_1",)
    trial.put("p_1", "running")
    assert trial.runnable() == ()
    trial.finish("p_1", "left")
    assert trial.runnable() == ("q_1",)
    trial.finish("q_1", "right")
    assert trial.runnable() == ("then_1",)
    trial.put("then_1", "running")
    assert trial.runnable() == ()
    trial.finish("then_1")
    assert trial.runnable() == ("a_1", "b_1", "c_1", "d_1")


@pytest.mark.parametrize("status", ["suspended", "failed", "finished"])
def test_a_router_that_is_not_at_work_holds_nobody_back(status: OccurrenceStatus) -> None:
    """A suspended one may wait for days; its label fires when it resumes."""
    trial = Trial(start("s"), route("p", "s"), route("q", "s"), listen("a", "s"))
    trial.finish("s_1")

    trial.put("p_1", status)
    assert trial.runnable() == ("q_1",)
    trial.put("q_1", status)
    assert trial.runnable() == ("a_1",)


def test_a_superseded_router_holds_nobody_back() -> None:
    """It may still be running in some worker, but nothing will come of it."""
    graph = Graph(
        {"s": start("s"), "p": route("p", "s"), "q": route("q", "s"), "a": listen("a", "s")}
    )
    journal = [
        Occ(id="1", seq=1, step="p", causes=by("s_1"), wave="w", status="running", live=False),
        Occ(id="2", seq=2, step="a", causes=by("s_1"), wave="w"),
        Occ(id="3", seq=3, step="a", causes=by("s_1"), wave="w", live=False),
    ]

    assert runnable(graph, journal) == ("2",)


def test_a_router_waits_only_for_earlier_ones_and_a_listener_for_all() -> None:
    """A resumed router that is ready again does not wait for a later one that is running."""
    graph = Graph(
        {"s": start("s"), "p": route("p", "s"), "q": route("q", "s"), "a": listen("a", "s")}
    )
    journal = [
        Occ(id="1", seq=1, step="p", causes=by("s_1"), wave="w"),
        Occ(id="2", seq=2, step="a", causes=by("s_1"), wave="w"),
        Occ(id="3", seq=3, step="q", causes=by("s_1"), wave="w", status="running"),
    ]

    assert runnable(graph, journal) == ("1",)
    assert runnable(graph, journal[1:]) == ()


def test_waves_do_not_wait_for_each_other() -> None:
    """The routers of one branch have nothing to say about another branch."""
    trial = Trial(start("s"), start("t"), route("p", "s"), listen("a", "t"), route("q", "t"))
    finish_all(trial, ["s_1", "t_1"])

    assert trial.ready() == ["p_1", "q_1", "a_1"]
    assert trial.runnable() == ("p_1", "q_1")
    trial.put("q_1", "suspended")
    assert trial.runnable() == ("p_1", "a_1")


def test_what_begins_the_run_begins_at_once() -> None:
    """Also routers, and whatever the executor writes down as their wave."""
    trial = Trial(start("p", router=True), start("s"), start("q", router=True))

    assert trial.runnable() == ("p_1", "s_1", "q_1")


def test_a_router_that_begins_the_run_is_in_nobodys_way() -> None:
    """It belongs to no wave, even where the text of the wave is the same."""
    graph = Graph({"p": start("p", router=True), "q": route("q", "p"), "a": listen("a", "p")})
    root = Occ(id="1", seq=1, step="p", wave="w", status="running")
    listener = Occ(id="2", seq=2, step="a", causes=by("p@1"), wave="w")
    router = Occ(id="3", seq=3, step="q", causes=by("p@1"), wave="w")

    assert runnable(graph, [root, listener]) == ("2",)
    assert runnable(graph, [root, router]) == ("3",)
    assert runnable(graph, [dataclasses.replace(root, status="ready"), router]) == ("1", "3")


# One trigger, and or_


def test_a_listener_of_one_trigger_fires_each_time() -> None:
    """Two parallel branches emit the same label: two firings, and neither supersedes the other."""
    trial = Trial(start("p", router=True), start("q", router=True), listen("a", "x"))

    assert fired(trial.finish("p_1", "x")) == {"a": by("x@p_1")}
    second = trial.finish("q_1", "x")

    assert fired(second) == {"a": by("x@q_1")}
    assert second.superseded == frozenset()


def test_an_or_fires_once_for_the_parallel_branches_of_one_cause() -> None:
    """Point 5: the branch that comes first wins, the others are ignored."""
    trial = Trial(
        start("s"), listen("a", "s"), listen("b", "s"), listen("c", either("a", "b", "s2"))
    )
    trial.finish("s_1")

    assert fired(trial.finish("b_1")) == {"c": by("b_1")}
    assert trial.finish("a_1") == Dispatch(starts=(), marking=Marking(), superseded=frozenset())


def test_an_or_over_parallel_starts_fires_once() -> None:
    """The run itself is their common cause."""
    trial = Trial(start("a"), start("b"), listen("c", either("a", "b")))

    assert fired(trial.finish("a_1")) == {"c": by("a_1")}
    assert fired(trial.finish("b_1")) == {}


def test_an_or_router_fires_once_too() -> None:
    """That it routes makes no difference."""
    trial = Trial(start("a"), start("b"), route("c", either("a", "b")))

    assert [bool(one.starts) for one in finish_all(trial, ["b_1", "a_1"])] == [True, False]


def test_an_or_of_one_source_fires_each_time() -> None:
    """`or_(x)` and `or_(x, x)` are `x`."""
    trial = Trial(
        start("p", router=True),
        start("q", router=True),
        listen("a", either("x")),
        listen("b", either("x", "x")),
    )

    assert fired(trial.finish("p_1", "x")) == {"a": by("x@p_1"), "b": by("x@p_1")}
    assert fired(trial.finish("q_1", "x")) == {"a": by("x@q_1"), "b": by("x@q_1")}


def test_an_or_is_armed_again_by_what_descends_from_its_own_last_firing() -> None:
    """A router loop: each round is one firing, and replaces the round before."""
    trial = Trial(start("s"), listen("work", either("s", "again")), route("check", "work"))
    trial.finish("s_1")

    for turn in range(1, 5):
        trial.finish(f"work_{turn}")
        round_over = trial.finish(f"check_{turn}", "again")

        assert fired(round_over) == {"work": by(f"again@check_{turn}")}
        assert round_over.superseded == {f"work_{turn}", f"check_{turn}"}
    assert trial.live() == ["s_1", "work_5"]


def test_an_or_router_is_armed_by_its_own_label() -> None:
    """Its last firing is a cause of that label, too."""
    trial = Trial(start("s"), route("work", either("s", "again")))
    trial.finish("s_1")

    again = trial.finish("work_1", "again")

    assert again == Dispatch(
        starts=(Start(step="work", causes=by("again@work_1"), wave="s_1"),),
        marking=Marking(),
        superseded=frozenset({"work_1"}),
    )


def test_an_or_is_armed_again_when_a_common_cause_runs_again() -> None:
    """Its firing is superseded with the cause, and fires once for the next round."""
    trial = Trial(
        start("s", "again"),
        listen("a", "s"),
        listen("b", "s"),
        listen("c", either("a", "b")),
        route("r", "b"),
    )
    finish_all(trial, ["s_1", "a_1", "b_1"])
    assert trial.live() == ["s_1", "a_1", "b_1", "c_1", "r_1"]

    assert trial.finish("r_1", "again").superseded == {"s_1", "a_1", "b_1", "c_1", "r_1"}
    finish_all(trial, ["s_2"])

    assert fired(trial.finish("a_2")) == {"c": by("a_2")}
    assert "c" not in fired(trial.finish("b_2"))


def test_an_or_hears_what_comes_after_the_cause_of_its_firing() -> None:
    """`second` is no branch beside `first`: it follows from it, so it replaces that firing."""
    trial = Trial(
        start("first"), listen("second", "first"), listen("log", either("first", "second"))
    )
    assert fired(trial.finish("first_1")) == {"second": by("first_1"), "log": by("first_1")}
    trial.put("log_1", "suspended")

    later = trial.finish("second_1")

    assert fired(later) == {"log": by("second_1")}
    assert later.superseded == {"log_1"}
    assert trial.journal["log_1"].status == "superseded"


def test_an_or_over_a_chain_of_routers_runs_once() -> None:
    """Its first firing has not begun when the chain's next label replaces it."""
    trial = Trial(
        start("s"), route("p", "s"), route("q", "one"), listen("log", either("one", "two"))
    )
    trial.finish("s_1")
    assert fired(trial.finish("p_1", "one")) == {"q": by("one@p_1"), "log": by("one@p_1")}
    assert trial.runnable() == ("q_1",)

    trial.finish("q_1", "two")

    assert trial.runnable() == ("log_2",)
    assert trial.journal["log_1"].status == "superseded"


def test_only_the_last_live_firing_arms_an_or() -> None:
    """A superseded firing is forgotten, and so is one before the last."""
    graph = Graph({"s": start("s"), "t": start("t"), "a": listen("a", either("s", "t", "b"))})
    journal = [
        Occ(id="s", seq=1, step="s", status="finished"),
        Occ(id="t", seq=2, step="t", status="finished"),
        Occ(id="a1", seq=3, step="a", causes=by("s@s")),
        Occ(id="a2", seq=4, step="a", causes=by("t@t")),
        Occ(id="b1", seq=5, step="t", causes=by("a@a1")),
        Occ(id="b2", seq=6, step="t", causes=by("a@a2")),
    ]

    after_the_first = finish(graph, journal, marking=Marking(), occurrence_id="b1")
    after_the_last = finish(graph, journal, marking=Marking(), occurrence_id="b2")

    assert fired(after_the_first) == {}
    assert fired(after_the_last) == {"a": by("t@b2")}
    assert after_the_last.superseded == {"a2", "b2"}
    journal[3] = dataclasses.replace(journal[3], live=False)
    assert fired(finish(graph, journal, marking=Marking(), occurrence_id="b1")) == {"a": by("t@b1")}


def test_an_or_of_ands_fires_once_and_leaves_no_part_behind() -> None:
    """Point 5: `or_(and_(a, x), and_(c, y))`."""
    trial = Trial(
        *(start(name) for name in "axcy"),
        listen("join", either(both("a", "x"), both("c", "y"))),
    )

    assert fired(trial.finish("a_1")) == {}
    assert fired(trial.finish("c_1")) == {}
    assert parts(trial) == {"join": {"a": "a_1", "c": "c_1"}}
    assert fired(trial.finish("y_1")) == {"join": by("c_1", "y_1")}
    assert parts(trial) == {}
    assert fired(trial.finish("x_1")) == {}
    assert parts(trial) == {}


def test_an_or_of_an_and_and_a_step_fires_for_the_step_alone() -> None:
    """The half-seen `and_` is no cause of the firing, and is forgotten."""
    trial = Trial(*(start(name) for name in "abc"), listen("join", either(both("a", "b"), "c")))
    trial.finish("a_1")

    assert fired(trial.finish("c_1")) == {"join": by("c_1")}
    assert parts(trial) == {}
    assert fired(trial.finish("b_1")) == {}


# and_


def test_an_and_fires_when_all_parts_are_seen_with_the_last_one_last() -> None:
    """The causes are in the order of the condition, but for the trigger that completed it."""
    trial = Trial(*(start(name) for name in "abc"), listen("join", both("a", "b", "c")))

    assert fired(trial.finish("c_1")) == {}
    assert parts(trial) == {"join": {"c": "c_1"}}
    assert fired(trial.finish("a_1")) == {}
    assert parts(trial) == {"join": {"c": "c_1", "a": "a_1"}}
    completed = trial.finish("b_1")

    assert completed == Dispatch(
        starts=(Start(step="join", causes=by("a_1", "c_1", "b_1"), wave="b_1"),),
        marking=Marking({}),
        superseded=frozenset(),
    )


def test_two_ands_collect_apart_from_each_other() -> None:
    """One that fires clears its own parts only."""
    trial = Trial(
        *(start(name) for name in "abc"),
        listen("ab", both("a", "b")),
        listen("ac", both("a", "c")),
    )
    trial.finish("a_1")

    assert fired(trial.finish("b_1")) == {"ab": by("a_1", "b_1")}
    assert parts(trial) == {"ac": {"a": "a_1"}}
    assert fired(trial.finish("c_1")) == {"ac": by("a_1", "c_1")}
    assert parts(trial) == {}


def test_a_newer_part_takes_the_place_of_an_older_one() -> None:
    """Two parallel branches emit the same label: the join gets the later one."""
    trial = Trial(
        start("p", router=True), start("q", router=True), start("b"), listen("j", both("x", "b"))
    )
    trial.finish("p_1", "x")
    trial.finish("q_1", "x")

    assert parts(trial) == {"j": {"x": "q_1"}}
    assert fired(trial.finish("b_1")) == {"j": by("x@q_1", "b_1")}


def test_the_label_of_one_run_never_joins_the_name_of_another_run_of_the_step() -> None:
    """Both parts are replaced when the step emits both again."""
    trial = Trial(
        start("one"),
        start("two"),
        route("review", either("one")),
        route("retry", "two"),
        route("gate", "go"),
        listen("j", both("gate", "yes")),
    )
    finish_all(trial, ["one_1", "two_1"])
    trial.finish("review_1", "go")
    trial.finish("retry_1", "go")
    trial.finish("gate_1", "no")
    assert parts(trial) == {"j": {"gate": "gate_1"}}

    assert fired(trial.finish("gate_2", "yes")) == {"j": by("gate_2", "yes@gate_2")}


def test_nested_conditions_are_evaluated_on_the_seen_leaves() -> None:
    """`and_(or_(a, b), or_(c, and_(d, e)))`, with every leaf that helped among the causes."""
    trial = Trial(
        *(start(name) for name in "abcde"),
        listen("j", both(either("a", "b"), either("c", both("d", "e")))),
    )

    assert [fired(one) for one in finish_all(trial, ["b_1", "d_1", "a_1"])] == [{}, {}, {}]
    assert fired(trial.finish("e_1")) == {"j": by("a_1", "b_1", "d_1", "e_1")}
    assert parts(trial) == {}
    assert fired(trial.finish("c_1")) == {}
    assert parts(trial) == {"j": {"c": "c_1"}}


def test_an_and_collects_anew_after_it_fired() -> None:
    """It is not armed like an `or_`: it fires whenever its parts are complete."""
    trial = Trial(
        *(start(name, router=True) for name in "abcd"), listen("j", both("left", "right"))
    )
    trial.finish("a_1", "left")
    assert fired(trial.finish("b_1", "right")) == {"j": by("left@a_1", "right@b_1")}

    assert fired(trial.finish("c_1", "right")) == {}
    again = trial.finish("d_1", "left")

    assert fired(again) == {"j": by("right@c_1", "left@d_1")}
    assert again.superseded == frozenset()


def test_parts_of_occurrences_that_are_not_live_do_not_count() -> None:
    """Whatever took them out; and they are cleaned away."""
    graph = Graph({"a": start("a"), "b": start("b"), "j": listen("j", both("a", "b", "c"))})
    journal = [
        Occ(id="1", seq=1, step="a", status="finished", live=False),
        Occ(id="2", seq=2, step="b", status="running"),
    ]

    dispatch = finish(
        graph,
        journal,
        marking=Marking({"j": {"a": "1", "c": "2"}, "gone": {"a": "1"}, "kept": {"x": "2"}}),
        occurrence_id="2",
    )

    assert dispatch.starts == ()
    assert dispatch.marking == Marking({"j": {"c": "2", "b": "2"}, "kept": {"x": "2"}})


def test_a_trigger_that_satisfies_nothing_is_kept_as_a_part_with_its_label() -> None:
    """Only the leaves that the condition has, of all that was emitted."""
    trial = Trial(
        start("r", router=True),
        start("p", router=True),
        listen("j", both("r", "yes", "b")),
        listen("k", both("yes", "b")),
    )
    trial.finish("r_1", "yes")

    assert parts(trial) == {"j": {"yes": "r_1", "r": "r_1"}, "k": {"yes": "r_1"}}
    assert fired(trial.finish("p_1", "b")) == {
        "j": by("r_1", "yes@r_1", "b@p_1"),
        "k": by("yes@r_1", "b@p_1"),
    }


# Causes: what is superseded when a step runs again


DRAFT_AND_TWO_GATES = (
    start("draft", "needs_revision"),
    route("legal", "draft"),
    route("finance", "draft"),
    listen("publish", both("legal:approved", "finance:approved")),
)


def test_an_approval_of_draft_1_never_joins_one_of_draft_2() -> None:
    """Point 15: finance's yes to draft 2 does not publish before legal has seen draft 2."""
    trial = Trial(*DRAFT_AND_TWO_GATES)
    trial.finish("draft_1")
    trial.finish("legal_1", "legal:approved")
    assert parts(trial) == {"publish": {"legal:approved": "legal_1"}}

    revision = trial.finish("finance_1", "needs_revision")

    assert revision == Dispatch(
        starts=(Start(step="draft", causes=by("needs_revision@finance_1"), wave="draft_1"),),
        marking=Marking({}),
        superseded=frozenset({"draft_1", "legal_1", "finance_1"}),
    )
    trial.finish("draft_2")
    assert fired(trial.finish("finance_2", "finance:approved")) == {}
    assert fired(trial.finish("legal_2", "legal:approved")) == {
        "publish": by("finance:approved@finance_2", "legal:approved@legal_2")
    }


def test_an_open_question_about_draft_1_ends_when_draft_2_is_made() -> None:
    """Point 15: legal's request is superseded, and its answer, when it comes, counts for nothing."""
    trial = Trial(*DRAFT_AND_TWO_GATES)
    trial.finish("draft_1")
    trial.put("legal_1", "suspended")

    assert trial.finish("finance_1", "needs_revision").superseded == {
        "draft_1",
        "legal_1",
        "finance_1",
    }
    assert trial.journal["legal_1"].status == "superseded"
    assert trial.finish("legal_1", "legal:approved") == Dispatch(
        starts=(), marking=Marking({}), superseded=frozenset()
    )
    trial.finish("draft_2")
    assert fired(trial.finish("finance_2", "finance:approved")) == {}


REVISE_AND_TWO_GATES = (
    start("draft"),
    listen("revise", "needs_revision"),
    route("legal", either("draft", "revise")),
    route("finance", either("draft", "revise")),
    listen("publish", both("legal:approved", "finance:approved")),
)


@pytest.mark.parametrize("status", ["suspended", "running", "ready"])
def test_a_revision_by_another_step_asks_everyone_again(status: OccurrenceStatus) -> None:
    """Point 15, where `revise` is a step of its own: an open question about the draft ends."""
    trial = Trial(*REVISE_AND_TWO_GATES)
    trial.finish("draft_1")
    trial.put("legal_1", status)
    assert trial.finish("finance_1", "needs_revision").superseded == frozenset()

    revised = trial.finish("revise_1")

    assert revised.starts == (
        Start(step="legal", causes=by("revise_1"), wave="revise_1"),
        Start(step="finance", causes=by("revise_1"), wave="revise_1"),
    )
    assert revised.superseded == {"legal_1", "finance_1", "revise_1"}
    assert trial.live() == ["draft_1", "legal_2", "finance_2"]


def test_an_approval_of_the_draft_never_joins_one_of_the_revision() -> None:
    """Point 15, where `revise` is a step of its own: legal's old yes is dropped."""
    trial = Trial(*REVISE_AND_TWO_GATES)
    trial.finish("draft_1")
    trial.finish("legal_1", "legal:approved")
    trial.finish("finance_1", "needs_revision")
    assert parts(trial) == {"publish": {"legal:approved": "legal_1"}}

    trial.finish("revise_1")

    assert parts(trial) == {}
    assert fired(trial.finish("finance_2", "finance:approved")) == {}
    assert fired(trial.finish("legal_2", "legal:approved")) == {
        "publish": by("finance:approved@finance_2", "legal:approved@legal_2")
    }


def test_every_further_revision_asks_everyone_again() -> None:
    """Three rounds: in each, the answers of the round before count for nothing."""
    trial = Trial(*REVISE_AND_TWO_GATES)
    trial.finish("draft_1")
    for turn in range(1, 4):
        trial.finish(f"legal_{turn}", "legal:approved")
        trial.finish(f"finance_{turn}", "needs_revision")
        trial.finish(f"revise_{turn}")
        assert trial.live() == ["draft_1", f"legal_{turn + 1}", f"finance_{turn + 1}"]
        assert parts(trial) == {}

    trial.finish("legal_4", "legal:approved")
    assert fired(trial.finish("finance_4", "finance:approved")) == {
        "publish": by("legal:approved@legal_4", "finance:approved@finance_4")
    }


def test_a_revision_asks_again_where_the_gates_are_no_loop() -> None:
    """Point 15 without a cycle: the second finance step approves what legal has not seen yet."""
    trial = Trial(
        start("draft"),
        route("finance", "draft"),
        listen("revise", "needs_revision"),
        route("legal", either("draft", "revise")),
        route("final", "revise"),
        listen("publish", both("legal:approved", "final:approved")),
    )
    trial.finish("draft_1")
    trial.finish("legal_1", "legal:approved")
    trial.finish("finance_1", "needs_revision")

    assert trial.finish("revise_1").superseded == {"legal_1"}
    assert fired(trial.finish("final_1", "final:approved")) == {}
    assert fired(trial.finish("legal_2", "legal:approved")) == {
        "publish": by("final:approved@final_1", "legal:approved@legal_2")
    }


def test_two_revisions_at_once_end_in_one() -> None:
    """Both gates want one: the first revision to be done supersedes the other."""
    trial = Trial(*REVISE_AND_TWO_GATES)
    trial.finish("draft_1")
    trial.finish("legal_1", "needs_revision")
    trial.finish("finance_1", "needs_revision")
    assert trial.ready() == ["revise_1", "revise_2"]

    assert trial.finish("revise_2").superseded == {
        "legal_1",
        "finance_1",
        "revise_1",
        "revise_2",
    }
    assert trial.live() == ["draft_1", "legal_2", "finance_2"]
    assert trial.finish("revise_1").starts == ()


def test_what_is_fired_together_with_a_re_run_lives_on() -> None:
    """`note` and `legal` follow from the same answer as `draft`; it does not take them with it."""
    trial = Trial(*DRAFT_AND_TWO_GATES, listen("note", "needs_revision"), listen("log", "finance"))
    trial.finish("draft_1")

    revision = trial.finish("finance_1", "needs_revision")

    assert fired(revision) == {
        "draft": by("needs_revision@finance_1"),
        "note": by("needs_revision@finance_1"),
        "log": by("finance_1"),
    }
    assert revision.superseded == {"draft_1", "legal_1", "finance_1"}
    assert trial.live() == ["draft_2", "note_1", "log_1"]
    trial.finish("draft_2")
    assert trial.live() == ["draft_2", "note_1", "log_1", "legal_2", "finance_2"]


def test_descent_goes_through_what_is_dead() -> None:
    """`log_1` was fired by an occurrence that was superseded in that moment, and is replaced."""
    trial = Trial(*DRAFT_AND_TWO_GATES, listen("log", "finance"), listen("mail", "log"))
    trial.finish("draft_1")
    trial.finish("finance_1", "needs_revision")
    finish_all(trial, ["log_1", "draft_2"])
    assert trial.live() == ["draft_2", "log_1", "mail_1", "legal_2", "finance_2"]

    assert trial.finish("finance_2", "finance:approved").superseded == {"log_1", "mail_1"}


def test_a_re_run_supersedes_the_whole_descent_once_however_it_branches() -> None:
    """A diamond below the earlier occurrence, finished, failed, suspended, running and ready."""
    trial = Trial(
        start("s", "again"),
        listen("a", "s"),
        listen("b", "s"),
        listen("j", both("a", "b")),
        listen("k", "j"),
        listen("m", "j"),
        route("r", "s"),
        start("beside", "again"),
    )
    trial.finish("s_1")
    finish_all(trial, ["beside_1", "a_1", "b_1", "j_1"])
    trial.put("k_1", "failed")
    trial.put("m_1", "running")

    assert trial.finish("r_1", "again").superseded == {
        "s_1",
        "a_1",
        "b_1",
        "j_1",
        "k_1",
        "m_1",
        "r_1",
        "beside_1",
    }
    assert trial.journal["k_1"].status == "failed"
    assert trial.journal["m_1"].status == "superseded"
    assert trial.live() == ["s_2", "beside_2"]


def test_a_part_survives_when_what_it_came_from_does_not_run_again() -> None:
    """An `and_` over a loop and an independent branch: each round needs the independent one once."""
    trial = Trial(
        start("budget"),
        start("draft"),
        listen("write", either("draft", "again")),
        route("check", "write"),
        listen("publish", both("budget", "good")),
    )
    finish_all(trial, ["budget_1", "draft_1", "write_1"])
    trial.finish("check_1", "again")
    assert parts(trial) == {"publish": {"budget": "budget_1"}}
    trial.finish("write_2")

    assert fired(trial.finish("check_2", "good")) == {"publish": by("budget_1", "good@check_2")}


def test_a_part_of_what_finished_is_dropped_when_its_own_trigger_supersedes_it() -> None:
    """`j` has heard `check_1`, but `check_1` is of the old round as soon as `s` runs again."""
    trial = Trial(start("s", "again"), route("check", "s"), listen("j", both("check", "x")))
    trial.finish("s_1")

    assert trial.finish("check_1", "again").marking == Marking({})


def test_an_and_does_not_fire_on_a_part_that_a_sibling_supersedes() -> None:
    """Superseding comes first: `tally` would count the legal answer to draft 1."""
    trial = Trial(listen("tally", both("legal", "finance")), *DRAFT_AND_TWO_GATES)
    trial.finish("draft_1")
    trial.finish("legal_1", "legal:approved")
    assert parts(trial)["tally"] == {"legal": "legal_1"}

    revision = trial.finish("finance_1", "needs_revision")

    assert fired(revision) == {"draft": by("needs_revision@finance_1")}
    assert revision.marking == Marking({})


def test_a_trigger_counts_in_its_own_dispatch() -> None:
    """`j` needs what `check_1` has just said and an independent part: it fires beside the re-run."""
    trial = Trial(
        start("budget"),
        start("s"),
        listen("w", either("s", "check")),
        route("check", "w"),
        listen("j", both("budget", "check")),
    )
    finish_all(trial, ["budget_1", "s_1", "w_1"])

    dispatch = trial.finish("check_1")

    assert fired(dispatch) == {"w": by("check_1"), "j": by("budget_1", "check_1")}
    assert dispatch.superseded == {"w_1", "check_1"}


def test_an_and_that_loses_an_alternative_fires_with_the_other() -> None:
    """The part that is superseded in this dispatch is no cause of it."""
    trial = Trial(
        start("budget"),
        start("s"),
        listen("w", either("s", "check")),
        route("check", "w"),
        listen("j", both(either("w", "budget"), "check")),
    )
    finish_all(trial, ["budget_1", "s_1", "w_1"])
    assert parts(trial) == {"j": {"budget": "budget_1", "w": "w_1"}}

    dispatch = trial.finish("check_1")

    assert fired(dispatch) == {"w": by("check_1"), "j": by("budget_1", "check_1")}


def test_an_and_that_is_held_back_supersedes_nothing_itself() -> None:
    """`m` would replace `m_1`, but `n` takes its part, so `m_1` and what it fired stay."""
    trial = Trial(
        start("p0"),
        start("x0"),
        listen("m", both(either("p0", "p"), either("x0", "x"))),
        listen("mail", "m"),
        listen("y", "p0"),
        listen("n", either("y", "x")),
        listen("x", "y"),
        listen("p", "n"),
    )
    finish_all(trial, ["p0_1", "x0_1", "m_1", "y_1", "n_1", "p_1"])
    assert parts(trial) == {"m": {"p": "p_1"}}

    dispatch = trial.finish("x_1")

    assert fired(dispatch) == {"n": by("x_1")}
    assert dispatch.superseded == {"n_1", "p_1"}
    assert dispatch.marking == Marking({"m": {"x": "x_1"}})
    assert trial.live() == ["p0_1", "x0_1", "y_1", "m_1", "mail_1", "x_1", "n_2"]


def test_an_and_fires_before_another_one_that_it_deprives() -> None:
    """`m` is declared first, but `n` is a re-run that supersedes its part; neither is sure to fire."""
    trial = Trial(
        start("go1", router=True),
        start("go2", router=True),
        start("y"),
        listen("m", both("p", "x")),
        listen("n", both(either("y", "x"), "z")),
        listen("z", "go"),
        listen("x", "y"),
        listen("p", "n"),
    )
    trial.finish("go1_1", "go")
    finish_all(trial, ["z_1", "y_1", "n_1", "p_1"])
    trial.finish("go2_1", "go")
    trial.finish("z_2")
    assert parts(trial) == {"m": {"p": "p_1"}, "n": {"z": "z_2"}}

    dispatch = trial.finish("x_1")

    assert fired(dispatch) == {"n": by("z_2", "x_1")}
    assert dispatch.superseded == {"n_1", "p_1"}
    assert dispatch.marking == Marking({"m": {"x": "x_1"}})


def test_an_and_fires_when_the_one_that_would_deprive_it_is_deprived_itself() -> None:
    """`c` takes the part of `b`, so `b` does not run again, so `a` keeps its own."""
    trial = Trial(
        start("y0"),
        listen("y", "y0"),
        listen("a", both("pb", "x")),
        listen("b", both(either("y0", "pc"), either("y", "x"))),
        listen("c", either("y", "x")),
        listen("pb", "b"),
        listen("pc", "c"),
        listen("x", "y"),
    )
    finish_all(trial, ["y0_1", "y_1", "b_1", "c_1", "pb_1", "pc_1"])
    assert parts(trial) == {"a": {"pb": "pb_1"}, "b": {"pc": "pc_1"}}

    dispatch = trial.finish("x_1")

    assert dispatch.starts == (
        Start(step="a", causes=by("pb_1", "x_1"), wave="x_1"),
        Start(step="c", causes=by("x_1"), wave="x_1"),
    )
    assert dispatch.superseded == {"c_1", "pc_1"}
    assert dispatch.marking == Marking({"b": {"x": "x_1"}})


def test_a_re_run_that_supersedes_the_trigger_itself_deprives_nobody() -> None:
    """`j` would supersede `x_1`, but `n` fires on it all the same, so `n` comes first."""
    trial = Trial(
        start("p0"),
        start("q0"),
        listen("j", both(either("p0", "p"), either("q0", "x"))),
        listen("n", either("p0", "x")),
        listen("p", "n"),
        listen("x", "j"),
    )
    finish_all(trial, ["p0_1", "q0_1", "n_1", "p_1", "j_1"])
    assert parts(trial) == {"j": {"p": "p_1"}}

    dispatch = trial.finish("x_1")

    assert fired(dispatch) == {"n": by("x_1")}
    assert dispatch.superseded == {"n_1", "p_1"}
    assert dispatch.marking == Marking({"j": {"x": "x_1"}})


MUTUAL = (
    start("r", router=True),
    start("q", router=True),
    listen("x", "go"),
    start("p0"),
    start("q0"),
    listen("m", both(either("p0", "p"), "x")),
    listen("n", both(either("q0", "k"), "x")),
    listen("k", "m"),
    listen("p", "n"),
)


def mutual(*specs: StepSpec) -> Trial:
    """Return a run in which `m` has a part from below `n_1`, and `n` one from below `m_1`."""
    trial = Trial(*specs)
    finish_all(trial, ["p0_1", "q0_1"])
    trial.finish("r_1", "go")
    assert set(fired(trial.finish("x_1"))) == {"m", "n"}
    finish_all(trial, ["m_1", "n_1", "k_1", "p_1"])
    assert parts(trial) == {"n": {"k": "k_1"}, "m": {"p": "p_1"}}
    trial.finish("q_1", "go")
    return trial


def test_of_two_ands_that_would_deprive_each_other_the_first_fires() -> None:
    """Each is a re-run that supersedes a part of the other; the order of declaration decides."""
    trial = mutual(*MUTUAL)

    dispatch = trial.finish("x_2")

    assert fired(dispatch) == {"m": by("p_1", "x_2")}
    assert dispatch.superseded == {"m_1", "k_1"}
    assert dispatch.marking == Marking({"n": {"x": "x_2"}})


def test_of_two_ands_that_would_deprive_each_other_the_first_declared_fires() -> None:
    """The same, declared the other way round."""
    swapped = [*MUTUAL]
    swapped[5], swapped[6] = MUTUAL[6], MUTUAL[5]
    trial = mutual(*swapped)

    dispatch = trial.finish("x_2")

    assert fired(dispatch) == {"n": by("k_1", "x_2")}
    assert dispatch.superseded == {"n_1", "p_1"}
    assert dispatch.marking == Marking({"m": {"x": "x_2"}})


def test_a_firing_that_no_cause_connects_to_an_earlier_one_supersedes_nothing() -> None:
    """Parallel branches: neither cause descends from the other, whatever they have in common."""
    trial = Trial(start("s"), route("p", "s"), route("q", "s"), listen("a", "x"), listen("b", "a"))
    trial.finish("s_1")
    trial.finish("p_1", "x")
    trial.finish("a_1")

    second = trial.finish("q_1", "x")

    assert fired(second) == {"a": by("x@q_1")}
    assert second.superseded == frozenset()
    assert trial.live() == ["s_1", "p_1", "q_1", "a_1", "b_1", "a_2"]


def test_a_re_run_of_one_branch_leaves_the_other_branch_alone() -> None:
    """Two firings of `a`; the loop of one of them replaces that one only."""
    trial = Trial(
        start("p", router=True), start("q", router=True), listen("a", "x"), route("r", "a")
    )
    trial.finish("p_1", "x")
    trial.finish("q_1", "x")
    trial.finish("a_1")

    loop = trial.finish("r_1", "x")

    assert fired(loop) == {"a": by("x@r_1")}
    assert loop.superseded == {"a_1", "r_1"}
    assert trial.live() == ["p_1", "q_1", "a_2", "a_3"]


def test_a_start_that_runs_again_replaces_what_began_the_run() -> None:
    """The run itself is the cause of its first occurrence, and everything descends from the run."""
    trial = Trial(start("s", "again"), start("t", "never", router=True), listen("a", "s"))
    trial.finish("s_1")

    again = trial.finish("t_1", "again")

    assert fired(again) == {"s": by("again@t_1")}
    assert again.superseded == {"s_1", "a_1"}


def test_a_join_is_a_re_run_when_one_of_its_causes_is_later() -> None:
    """`c` comes after `b`; that the other part comes from a parallel branch changes nothing."""
    trial = Trial(
        start("p", router=True),
        start("q", router=True),
        start("b"),
        listen("c", "b"),
        listen("j", both("go", either("b", "c"))),
    )
    trial.finish("p_1", "go")
    trial.finish("b_1")
    trial.finish("c_1")

    assert trial.finish("q_1", "go") == Dispatch(
        starts=(Start(step="j", causes=by("c_1", "go@q_1"), wave="q_1"),),
        marking=Marking({}),
        superseded=frozenset({"j_1"}),
    )


# Gates: points 7 and 8


def test_an_and_over_an_earlier_step_and_a_gate_fires_after_a_resume() -> None:
    """Point 7: the earlier part is in the stored marking, the gate resumes in another process."""
    trial = Trial(start("earlier"), start("gate", router=True), listen("j", both("earlier", "ok")))
    trial.put("gate_1", "suspended")
    stored = finish(
        trial.graph, list(trial.journal.values()), marking=Marking(), occurrence_id="earlier_1"
    )
    text = json.dumps(stored.marking.parts)

    assert text == '{"j": {"earlier": "earlier_1"}}'
    elsewhere = finish(
        Graph(dict(trial.graph.steps)),
        list(trial.journal.values()),
        marking=Marking(json.loads(text)),
        occurrence_id="gate_1",
        label="ok",
    )
    assert fired(elsewhere) == {"j": by("earlier_1", "ok@gate_1")}


def test_a_gate_that_listens_to_an_or_is_asked_again_for_a_revision() -> None:
    """Point 8: `confirm` listens to `or_(scope, revise)`, and its own answer leads to `revise`."""
    trial = Trial(
        start("scope"), route("confirm", either("scope", "revise")), listen("revise", "no")
    )
    trial.finish("scope_1")
    trial.finish("confirm_1", "no")

    assert fired(trial.finish("revise_1")) == {"confirm": by("revise_1")}


def test_a_gate_beside_an_or_is_never_skipped() -> None:
    """Point 8: the `or_` fires for the first of its sources, the gate for its own trigger."""
    trial = Trial(start("a"), start("b"), listen("any", either("a", "b")), route("gate", "b"))
    trial.finish("a_1")

    assert fired(trial.finish("b_1")) == {"gate": by("b_1")}


def test_the_sources_of_an_or_run_to_their_end() -> None:
    """Point 8: a gate among the sources of an `or_` that has fired is still answered and heard."""
    trial = Trial(
        start("a"), start("gate", router=True), listen("any", either("a", "ok")), listen("b", "ok")
    )
    trial.put("gate_1", "suspended")

    assert trial.finish("a_1").superseded == frozenset()
    assert fired(trial.finish("gate_1", "ok")) == {"b": by("ok@gate_1")}


# What the executor asks besides


def test_the_argument_comes_from_the_last_cause() -> None:
    """What begins a run has none."""
    assert argument_of(by("a_1", "b_1", "ok@gate_1")) == Cause("ok", "gate_1")
    assert argument_of(()) is None


def test_records_of_the_journal_are_frozen() -> None:
    """A dispatch is computed on values, so nothing can change under it."""
    one = Occ(id="1", seq=1, step="s")

    assert one == Occ(
        id="1", seq=1, step="s", causes=(), wave="", status="ready", live=True, label=None
    )
    for record, name in (
        (one, "live"),
        (Cause("a", "1"), "trigger"),
        (Marking(), "parts"),
        (Start(step="s", causes=(), wave=""), "wave"),
        (Dispatch(starts=(), marking=Marking(), superseded=frozenset()), "starts"),
    ):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(record, name, None)
