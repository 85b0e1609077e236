"""
What follows when an occurrence has finished, computed from the journal (floor 1).

`finish` says which steps fire, which earlier occurrences are superseded by that and what is left
of half-seen `and_` conditions; the executor stores all of it in one commit. `runnable` says which
stored occurrences may begin now.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from signoff.model.run import OccurrenceStatus
from signoff.rules.graph import Condition, Graph, fires_once_per_cause, leaves, met_by


@dataclass(frozen=True, slots=True)
class Cause:
    """
    Why an occurrence was made.

    Attributes:
        trigger: The step name or label that its step listens to.
        occurrence: The id of the occurrence that emitted it.
    """

    trigger: str
    occurrence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Occ:
    """
    One occurrence as the journal has it.

    Attributes:
        id: Unique in the run.
        seq: Its place in the journal; what was made later has a higher one.
        step: The step.
        causes: What fired it, the last trigger last; empty when it began the run.
        wave: The wave that its `Start` named; not looked at when it began the run.
        status: Where it stands.
        live: False once superseded, also when it had finished before.
        label: What a finished router emitted besides its name, alone and as `step:label`.
    """

    id: str
    seq: int
    step: str
    causes: tuple[Cause, ...] = ()
    wave: str = ""
    status: OccurrenceStatus = "ready"
    live: bool = True
    label: str | None = None


@dataclass(frozen=True, slots=True)
class Marking:
    """
    What is stored of conditions that are half met.

    Attributes:
        parts: For each listener that waits for more: the occurrence id behind each leaf it has
            seen. Plain dicts of text, so that it is JSON as it stands.
    """

    parts: Mapping[str, Mapping[str, str]] = field(default_factory=dict[str, Mapping[str, str]])


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """
    An occurrence to make.

    Attributes:
        step: The step to run.
        causes: All parts that satisfied its condition, in the order the condition has them, but
            those of the occurrence that has just finished last.
        wave: Whom it runs together with: see `runnable`.
    """

    step: str
    causes: tuple[Cause, ...]
    wave: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Dispatch:
    """
    All that follows from one finished occurrence, for one commit.

    Attributes:
        starts: The occurrences to make, `ready` and with rising `seq` in this order: routers
            first, then the others, each in the order of declaration.
        marking: What replaces the stored marking.
        superseded: The occurrences that are no longer live from now on. Of these the finished
            ones stay finished; the others end as `superseded`. The occurrence that has just
            finished may be among them; the new ones never are.
    """

    starts: tuple[Start, ...]
    marking: Marking
    superseded: frozenset[str]


def finish(
    graph: Graph,
    journal: Sequence[Occ],
    *,
    marking: Marking,
    occurrence_id: str,
    label: str | None = None,
) -> Dispatch:
    """
    Compute what follows when an occurrence finishes.

    It emits its step name and, when its step is a router, its label, alone and behind the step's
    name (`review:approved`). Every listener of one of them is looked at:

    - A listener of one trigger fires each time. An `and_` collects the parts it has seen, a newer
      one in the place of an older one, and fires when they satisfy it; then it has seen nothing.
    - An `or_` of several sources fires if it is *armed*: it has no live firing, or firing now
      would be a re-run of its last one. Else it ignores the trigger and collects no part, so it
      fires once for parallel branches, whichever comes first.
    - A firing is a *re-run* of an earlier occurrence of its step when one of its causes strictly
      descends from a cause of that one. (What began the run has the run itself as its cause.) It
      supersedes the earlier one, if that is live, and all that descends from it, but nothing
      that is fired in this same dispatch. Two branches beside each other leave each other alone.
    - What is superseded is no part of an `and_`, not even in this dispatch: those listeners fire
      first that no other would deprive of a part (when each would, the first one declared), and
      the rest is looked at again. Only the triggers emitted just now always count.

    Nothing follows from an occurrence that is not live. The arguments are not changed, and equal
    arguments give equal answers.

    Args:
        graph: The flow's graph.
        journal: All occurrences of the run, in any order; the one that finishes may still have
            another status.
        marking: As stored after the last dispatch.
        occurrence_id: The occurrence that finishes.
        label: What it routes to; ignored unless its step is a router.

    Returns:
        What to store.

    Raises:
        KeyError: An occurrence or its step is not in the journal or the graph.
    """
    past = _Past(journal)
    finished = past.by_id[occurrence_id]
    if not finished.live:
        return Dispatch(starts=(), marking=marking, superseded=frozenset())
    heard = _hearing(graph, past, finished=finished, label=label, marking=marking)
    fired, superseded = _settle(past, heard)
    wave = finished.wave if _is_in_a_chain(graph, finished) else finished.id
    starts = [
        Start(step=one.step, causes=fired[one.step], wave=wave)
        for one in heard
        if one.step in fired
    ]
    seen = {step: past.live_parts(parts) for step, parts in marking.parts.items()}
    seen.update((one.step, one.parts()) for one in heard)
    return Dispatch(
        starts=tuple(starts),
        marking=_left_over(seen, fired=fired, superseded=superseded),
        superseded=superseded,
    )


def runnable(graph: Graph, journal: Iterable[Occ]) -> tuple[str, ...]:
    """
    Return the ready occurrences that may begin now, oldest first.

    Routers of one wave run one after another; the other steps of the wave begin when no router of
    it is left. A suspended or failed router holds nobody back, and waves do not wait for each
    other. What began the run belongs to no wave. If a live occurrence is ready, then one is
    runnable or a router is running.

    Args:
        graph: The flow's graph.
        journal: All occurrences of the run, in any order.

    Returns:
        Their ids.
    """
    live = sorted((one for one in journal if one.live), key=lambda one: one.seq)
    chain = [
        one for one in live if one.status in {"ready", "running"} and _is_in_a_chain(graph, one)
    ]

    def may_begin(one: Occ) -> bool:
        ahead = [router for router in chain if router.wave == one.wave and one.causes]
        return not ahead or one == ahead[0]

    return tuple(one.id for one in live if one.status == "ready" and may_begin(one))


def argument_of(causes: Sequence[Cause]) -> Cause | None:
    """Return the cause whose output or label is the step's argument: the last; `None` if there is none."""
    return causes[-1] if causes else None


def _is_in_a_chain(graph: Graph, one: Occ) -> bool:
    return graph.steps[one.step].router and bool(one.causes)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Listener:
    """A listener that counts the event: what it saw before, and what it hears now, labels first."""

    step: str
    condition: Condition
    seen: Mapping[str, str]
    heard: tuple[str, ...]
    occurrence: str

    def parts(self) -> dict[str, str]:
        """Return all that it has seen; what it hears now is in the place of what it saw before."""
        return {**self.seen, **dict.fromkeys(self.heard, self.occurrence)}

    def causes(self, gone: Collection[str]) -> tuple[Cause, ...]:
        """Return the parts that satisfy it, if those in `gone` do not count; empty when none do."""
        before = {
            leaf: part
            for leaf, part in self.seen.items()
            if leaf not in self.heard and part not in gone
        }
        for now in (self.heard[:count] for count in range(1, len(self.heard) + 1)):
            met = met_by(self.condition, {*before, *now})
            if met:
                return (
                    *(Cause(leaf, before[leaf]) for leaf in met if leaf in before),
                    *(Cause(leaf, self.occurrence) for leaf in reversed(now) if leaf in met),
                )
        return ()


def _hearing(
    graph: Graph, past: _Past, *, finished: Occ, label: str | None, marking: Marking
) -> list[_Listener]:
    emitted = _emitted(graph, finished, label)
    return [
        _Listener(
            step=spec.name,
            condition=condition,
            seen=past.live_parts(marking.parts.get(spec.name, {})),
            heard=tuple(trigger for trigger in emitted if trigger in leaves(condition)),
            occurrence=finished.id,
        )
        for spec, condition in graph.listeners(emitted)
        if not fires_once_per_cause(condition) or past.arms(spec.name, finished.id)
    ]


def _emitted(graph: Graph, finished: Occ, label: str | None) -> dict[str, None]:
    """Return the triggers in order: where an earlier one would do, it is the cause."""
    if label is None or not graph.steps[finished.step].router:
        return {finished.step: None}
    return dict.fromkeys([label, f"{finished.step}:{label}", finished.step])


def _settle(
    past: _Past, heard: Sequence[_Listener]
) -> tuple[dict[str, tuple[Cause, ...]], frozenset[str]]:
    """Return the causes of each step that fires, and what all of them supersede."""
    fired: dict[str, tuple[Cause, ...]] = {}
    superseded: frozenset[str] = frozenset()
    while ready := {
        one.step: causes
        for one in heard
        if one.step not in fired and (causes := one.causes(superseded))
    }:
        losses = {step: past.superseded_by(step, causes) for step, causes in ready.items()}
        for step in _unhindered(ready, losses, event=heard[0].occurrence):
            fired[step] = ready[step]
            superseded |= losses[step]
    return fired, superseded


def _unhindered(
    ready: Mapping[str, tuple[Cause, ...]], losses: Mapping[str, frozenset[str]], *, event: str
) -> list[str]:
    """Return the steps that no other deprives of a part; if each is deprived, the first one."""
    safe = [
        step
        for step, causes in ready.items()
        if not any(
            cause.occurrence in losses[other]
            for other in ready
            if other != step
            for cause in causes
            if cause.occurrence != event
        )
    ]
    return safe or [next(iter(ready))]


def _left_over(
    seen: Mapping[str, Mapping[str, str]], *, fired: Collection[str], superseded: Collection[str]
) -> Marking:
    left = {
        step: {leaf: part for leaf, part in parts.items() if part not in superseded}
        for step, parts in seen.items()
        if step not in fired
    }
    return Marking({step: parts for step, parts in left.items() if parts})


class _Past:
    """The journal as a web of causes, dead or alive."""

    def __init__(self, journal: Iterable[Occ]) -> None:
        self.by_id = {one.id: one for one in sorted(journal, key=lambda one: one.seq)}
        self._before: dict[str, frozenset[str]] = {}

    def arms(self, step: str, event: str) -> bool:
        """Say whether a trigger of `event` can set off a step that fires once per cause."""
        firings = self._live_runs(step)
        return not firings or self._is_rerun([event], firings[-1])

    def live_parts(self, parts: Mapping[str, str]) -> dict[str, str]:
        return {leaf: part for leaf, part in parts.items() if self.by_id[part].live}

    def superseded_by(self, step: str, causes: Iterable[Cause]) -> frozenset[str]:
        """Return the live occurrences that a new one of this step, with these causes, replaces."""
        events = [cause.occurrence for cause in causes]
        again = [one.id for one in self._live_runs(step) if self._is_rerun(events, one)]
        after = _reachable(again, self._followers)
        return frozenset(one for one in (*again, *after) if self.by_id[one].live)

    def _live_runs(self, step: str) -> list[Occ]:
        return [one for one in self.by_id.values() if one.step == step and one.live]

    def _is_rerun(self, events: Iterable[str], earlier: Occ) -> bool:
        causes = {cause.occurrence for cause in earlier.causes}
        return not causes or any(not causes.isdisjoint(self._ancestors(one)) for one in events)

    def _ancestors(self, occurrence: str) -> frozenset[str]:
        if occurrence not in self._before:
            self._before[occurrence] = _reachable([occurrence], self._causes)
        return self._before[occurrence]

    @cached_property
    def _causes(self) -> dict[str, list[str]]:
        return {one.id: [cause.occurrence for cause in one.causes] for one in self.by_id.values()}

    @cached_property
    def _followers(self) -> dict[str, list[str]]:
        followers: dict[str, list[str]] = {one: [] for one in self.by_id}
        for one, causes in self._causes.items():
            for cause in causes:
                followers[cause].append(one)
        return followers


def _reachable(origins: Iterable[str], edges: Mapping[str, Sequence[str]]) -> frozenset[str]:
    """Return what is one or more edges away from the origins."""
    found: set[str] = set()
    open_ends = [step for origin in origins for step in edges[origin]]
    while open_ends:
        one = open_ends.pop()
        if one not in found:
            found.add(one)
            open_ends.extend(edges[one])
    return frozenset(found)
