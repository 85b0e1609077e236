"""
Random flows and schedules, compared with a slow interpreter of the definitions of causes.

The interpreter keeps only the log of what finished. For every answer it plays the whole log again,
with explicit sets of ancestors, a log of heard triggers per listener, and conditions written out
as all their alternatives.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from signoff.model.run import OccurrenceStatus
from signoff.rules.dispatch import Cause, Dispatch, Marking, Occ, finish, runnable
from signoff.rules.graph import And, Condition, Graph, Or, StepSpec

RUN = "the run itself"
STEPS = "abcdef"
LABELS = "xy"


# The interpreter


@dataclasses.dataclass
class Node:
    """An occurrence with all that it descends from, the run itself included."""

    name: str
    step: str
    causes: list[tuple[str, str]]
    sources: set[str]
    ancestors: set[str]


def alternatives(condition: Condition) -> list[frozenset[str]]:
    """Return all sets of leaves that each satisfy a condition."""
    if isinstance(condition, str):
        return [frozenset({condition})]
    inner = [alternatives(item) for item in condition.items]
    if isinstance(condition, Or):
        return list(itertools.chain.from_iterable(inner))
    return [frozenset().union(*choice) for choice in itertools.product(*inner)]


def written(condition: Condition) -> list[str]:
    """Return the leaves as written, repetitions included."""
    if isinstance(condition, str):
        return [condition]
    return [leaf for item in condition.items for leaf in written(item)]


def has_several_sources(condition: Condition) -> bool:
    """Say whether a condition is an `or_` of different leaves, whatever wraps it."""
    if isinstance(condition, str):
        return False
    if len(condition.items) == 1:
        return has_several_sources(condition.items[0])
    return isinstance(condition, Or) and len(set(written(condition))) > 1


class History:
    """All that follows from a log of finished occurrences, by the definitions."""

    def __init__(self, specs: list[StepSpec], log: list[tuple[str, str | None]]) -> None:
        self.specs = {spec.name: spec for spec in specs}
        self.nodes: dict[str, Node] = {}
        self.dead: set[str] = set()
        self.heard: dict[str, list[tuple[str, str] | None]] = {spec.name: [] for spec in specs}
        self.fired: list[str] = []
        starts = [spec for spec in specs if spec.start]
        for spec in [one for one in starts if one.condition is None] or starts:
            self.make(spec.name, [])
        for occurrence, label in log:
            self.fired = self.play(occurrence, label)

    def make(self, step: str, causes: list[tuple[str, str]]) -> str:
        """Add an occurrence."""
        name = f"{step}{sum(one.step == step for one in self.nodes.values()) + 1}"
        sources = {occurrence for _, occurrence in causes} or {RUN}
        ancestors = sources.union(
            *(self.nodes[one].ancestors for one in sources if one != RUN), {RUN}
        )
        self.nodes[name] = Node(name, step, causes, sources, ancestors)
        return name

    def lives_of(self, step: str) -> list[Node]:
        """Return the live occurrences of a step."""
        return [
            one for one in self.nodes.values() if one.step == step and one.name not in self.dead
        ]

    def comes_after(self, occurrence: str, earlier: Node) -> bool:
        """Say whether an occurrence strictly descends from a cause of an earlier one."""
        return bool(self.nodes[occurrence].ancestors & earlier.sources)

    def victims(self, step: str, causes: list[tuple[str, str]]) -> set[str]:
        """Return the live occurrences that a firing supersedes."""
        again = {
            earlier.name
            for earlier in self.lives_of(step)
            if any(self.comes_after(occurrence, earlier) for _, occurrence in causes)
        }
        return {
            one.name
            for one in self.nodes.values()
            if one.name not in self.dead and (one.name in again or one.ancestors & again)
        }

    def latest(self, step: str) -> dict[str, str]:
        """Return the newest part for each leaf that a listener heard since it last fired."""
        log = self.heard[step]
        since = len(log) - log[::-1].index(None) if None in log else 0
        return dict(one for one in log[since:] if one is not None)

    def parts(self) -> dict[str, dict[str, str]]:
        """Return what is stored of half-met conditions."""
        seen = {
            step: {leaf: one for leaf, one in self.latest(step).items() if one not in self.dead}
            for step in self.specs
        }
        return {step: parts for step, parts in seen.items() if parts}

    def met(
        self, step: str, finished: str, label: str | None, doomed: set[str]
    ) -> list[tuple[str, str]]:
        """Return the causes of a firing, or nothing."""
        condition = self.specs[step].condition
        assert condition is not None
        latest = self.latest(step)
        name = self.nodes[finished].step
        of_step = f"{name}:{label}" if label is not None else None
        for counted in ([label], [of_step, label], [name, of_step, label]):
            seen = {
                leaf
                for leaf, one in latest.items()
                if (leaf in counted if one == finished else one not in doomed | self.dead)
            }
            used = frozenset[str]().union(*(one for one in alternatives(condition) if one <= seen))
            if used:
                old = [leaf for leaf in dict.fromkeys(written(condition)) if leaf in used]
                old = [leaf for leaf in old if latest[leaf] != finished]
                new = [leaf for leaf in (name, of_step, label) if leaf in used and leaf not in old]
                return [(leaf, latest[leaf]) for leaf in [*old, *dict.fromkeys(new)] if leaf]
        return []

    def play(self, finished: str, label: str | None) -> list[str]:
        """Let an occurrence finish; return the names of what it fires."""
        if finished in self.dead:
            return []
        spec = self.specs[self.nodes[finished].step]
        label = label if spec.router else None
        emitted = {spec.name} if label is None else {spec.name, label, f"{spec.name}:{label}"}
        hearing = [
            one.name
            for router in (True, False)
            for one in self.specs.values()
            if one.router is router and one.condition is not None
            if emitted & set(written(one.condition))
            if not has_several_sources(one.condition)
            or not self.lives_of(one.name)
            or self.comes_after(finished, self.lives_of(one.name)[-1])
        ]
        for one in hearing:
            leaves = written(self.specs[one].condition or "")
            self.heard[one] += [(leaf, finished) for leaf in leaves if leaf in emitted]
        chosen: dict[str, list[tuple[str, str]]] = {}
        doomed: set[str] = set()
        while True:
            able = {one: self.met(one, finished, label, doomed) for one in hearing}
            able = {one: causes for one, causes in able.items() if causes and one not in chosen}
            if not able:
                break
            harm = {one: self.victims(one, causes) for one, causes in able.items()}
            needs = {one: {part for _, part in causes} - {finished} for one, causes in able.items()}
            safe = [one for one in able if not any(harm[o] & needs[one] for o in able if o != one)]
            first = safe[0] if safe else next(iter(able))
            chosen[first] = able[first]
            doomed |= harm[first]
        self.dead |= doomed
        for one in chosen:
            self.heard[one].append(None)
        return [self.make(one, chosen[one]) for one in hearing if one in chosen]

    def wave(self, name: str) -> str:
        """Return the occurrence that the chain of routers above an occurrence began with."""
        above = self.nodes[name].causes[-1][1]
        while self.nodes[above].causes and self.specs[self.nodes[above].step].router:
            above = self.nodes[above].causes[-1][1]
        return above


# Runs


class Schedule:
    """A run that follows random choices, and asks the interpreter about each answer."""

    def __init__(self, specs: list[StepSpec]) -> None:
        self.specs = specs
        self.graph = Graph({spec.name: spec for spec in specs})
        self.log: list[tuple[str, str | None]] = []
        self.marking = Marking()
        self.journal: dict[str, Occ] = {}
        for step in self.graph.initial():
            self.add(step, (), "")

    def add(self, step: str, causes: tuple[Cause, ...], wave: str) -> Occ:
        """Store a new occurrence."""
        one = Occ(
            id=f"{step}{sum(one.step == step for one in self.journal.values()) + 1}",
            seq=len(self.journal) + 1,
            step=step,
            causes=causes,
            wave=wave,
        )
        self.journal[one.id] = one
        return one

    def put(self, name: str, status: OccurrenceStatus) -> None:
        """Move an occurrence to another status."""
        self.journal[name] = dataclasses.replace(self.journal[name], status=status)

    def finish(self, name: str, label: str | None) -> Dispatch:
        """Let an occurrence finish, compare with the interpreter, and store what follows."""
        dispatch = finish(
            self.graph,
            list(self.journal.values()),
            marking=self.marking,
            occurrence_id=name,
            label=label,
        )
        self.log.append((name, label))
        history = History(self.specs, self.log)
        live = {one.id for one in self.journal.values() if one.live}
        self.check_invariants(name, dispatch, live)

        if name in live:
            self.put(name, "finished")
        for gone in dispatch.superseded:
            self.journal[gone] = dataclasses.replace(self.journal[gone], live=False)
            if self.journal[gone].status not in {"finished", "failed"}:
                self.put(gone, "superseded")
        new = [self.add(one.step, one.causes, one.wave) for one in dispatch.starts]
        self.marking = dispatch.marking

        assert [one.id for one in new] == history.fired
        for one in new:
            expected = history.nodes[one.id]
            assert [(cause.trigger, cause.occurrence) for cause in one.causes] == expected.causes
            assert one.wave == history.wave(one.id)
        assert {one.id for one in self.journal.values() if not one.live} == history.dead
        assert dispatch.marking.parts == history.parts()
        return dispatch

    def check_invariants(self, name: str, dispatch: Dispatch, live: set[str]) -> None:
        """Check what holds for every dispatch, whatever the flow."""
        assert dispatch.superseded <= live
        assert bool(dispatch.starts) <= (name in live)
        steps = [one.step for one in dispatch.starts]
        assert len(steps) == len(set(steps))
        for one in dispatch.starts:
            causes = {cause.occurrence for cause in one.causes}
            assert causes <= live, "a superseded occurrence never fires anything"
            assert one.causes[-1].occurrence == name
        for parts in dispatch.marking.parts.values():
            assert parts
            assert set(parts.values()) <= live - dispatch.superseded
        for spec in self.specs:
            if spec.condition is not None and has_several_sources(spec.condition):
                stays = [
                    one
                    for one in self.journal.values()
                    if one.step == spec.name and one.id in live - dispatch.superseded
                ]
                assert len(stays) + steps.count(spec.name) <= 1, "or_ fires once per cause"

    def expected_runnable(self) -> list[str]:
        """Return what may begin, by the definition of waves."""
        at_work = [
            one
            for one in self.journal.values()
            if one.live
            and one.status in {"ready", "running"}
            and one.causes
            and self.graph.steps[one.step].router
        ]
        return [
            one.id
            for one in self.journal.values()
            if one.live and one.status == "ready"
            if not any(
                other.wave == one.wave
                and one.causes
                and (other.seq < one.seq or not self.graph.steps[one.step].router)
                for other in at_work
            )
        ]

    def check_progress(self) -> None:
        """Check who may begin, and that a run never waits for nothing."""
        begin = runnable(self.graph, list(self.journal.values()))
        assert list(begin) == self.expected_runnable()
        live = [one for one in self.journal.values() if one.live]
        routing = [
            one for one in live if one.status == "running" and self.graph.steps[one.step].router
        ]
        assert begin or routing or not any(one.status == "ready" for one in live)


def a_condition(random: Random, triggers: list[str], depth: int = 2) -> Condition:
    """Return a condition over some of the triggers: a leaf as often as not."""
    if depth == 0 or random.random() < 0.45:
        return random.choice(triggers)
    items = tuple(
        a_condition(random, triggers, depth - 1) for _ in range(random.choice([1, 2, 2, 2, 3]))
    )
    return Or(items) if random.random() < 0.5 else And(items)


def a_flow(random: Random) -> list[StepSpec]:
    """Return the steps of a flow, most of them in cycles."""
    names = list(STEPS[: random.randint(3, 6)])
    specs: list[StepSpec] = []
    for name in names:
        others = [one for one in names if one != name]
        triggers = [*others, *LABELS, *(f"{one}:{random.choice(LABELS)}" for one in others[:2])]
        begins = name == "a" or random.random() < 0.2
        free = begins and random.random() < 0.7
        specs.append(
            StepSpec(
                name,
                condition=None if free else a_condition(random, triggers),
                start=begins,
                router=random.random() < 0.45,
            )
        )
    return specs


def an_acyclic_flow(random: Random) -> list[StepSpec]:
    """Return steps that each listen to earlier ones only, to their names and to their labels by name."""
    specs = [StepSpec("a", start=True, router=True)]
    for name in STEPS[1 : random.randint(2, 6)]:
        triggers = [trigger for spec in specs for trigger in (spec.name, f"{spec.name}:x")]
        free = random.random() < 0.2
        specs.append(
            StepSpec(
                name,
                condition=None if free else a_condition(random, triggers),
                start=True,
                router=random.random() < 0.5,
            )
        )
    return specs


def moves(run: Schedule) -> Iterator[tuple[str, str]]:
    """Return what can happen next: to begin, to end, to suspend, to resume, to fail."""
    begin = runnable(run.graph, list(run.journal.values()))
    for one in run.journal.values():
        if one.id in begin:
            yield from [(one.id, "begin"), *[(one.id, "finish")] * 4]
        elif one.live and one.status == "running":
            yield from [(one.id, "suspend"), (one.id, "fail"), *[(one.id, "finish")] * 4]
        elif one.live and one.status == "suspended":
            yield from [(one.id, "resume"), (one.id, "finish")]
        elif one.status == "superseded" and one.id not in {late for late, _ in run.log}:
            yield one.id, "finish"


STATUS_AFTER: dict[str, OccurrenceStatus] = {
    "begin": "running",
    "suspend": "suspended",
    "resume": "ready",
    "fail": "failed",
}


@settings(max_examples=1000)
@given(st.randoms(use_true_random=True))
def test_every_answer_is_what_the_definitions_say(random: Random) -> None:
    """Starts with their causes and waves, parts, what is superseded, and who may begin."""
    run = Schedule(a_flow(random))
    for _ in range(30):
        run.check_progress()
        choices = list(moves(run))
        if not choices:
            break
        name, move = random.choice(choices)
        if move == "finish":
            run.finish(name, random.choice([*LABELS, *LABELS, None]))
        else:
            run.put(name, STATUS_AFTER[move])


@settings(max_examples=200)
@given(st.randoms(use_true_random=True))
def test_a_flow_without_cycles_comes_to_rest(random: Random) -> None:
    """Whatever the schedule: each step runs at most once for each run of an earlier one."""
    run = Schedule(an_acyclic_flow(random))
    while begin := runnable(run.graph, list(run.journal.values())):
        name = random.choice(begin)
        run.finish(name, random.choice(["x", None]))
        run.check_progress()

    assert len(run.journal) < 2 ** len(run.specs)
    assert all(one.status in {"finished", "superseded"} for one in run.journal.values())
