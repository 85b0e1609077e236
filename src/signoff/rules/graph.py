"""
The shape of a flow, on names only: which step listens to what (floor 1).

Step names and labels are one namespace of *triggers*. What a finished occurrence sets off is
worked out in `signoff.rules.dispatch`.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import KW_ONLY, dataclass
from itertools import chain
from types import MappingProxyType
from typing import TypeAlias

Condition: TypeAlias = "str | Or | And"
"""What a step listens to: a step name or label (a *leaf*), or `Or` and `And` of conditions."""


@dataclass(frozen=True, slots=True)
class Or:
    """
    Any of several conditions.

    Attributes:
        items: The alternatives, at least one, in the order they were written.

    Raises:
        ValueError: There are none, or one of them is not a condition.
    """

    items: tuple[Condition, ...]

    def __post_init__(self) -> None:
        _refuse_bad_items("or_", self.items)


@dataclass(frozen=True, slots=True)
class And:
    """
    All of several conditions.

    Attributes:
        items: The parts, at least one, in the order they were written.

    Raises:
        ValueError: There are none, or one of them is not a condition.
    """

    items: tuple[Condition, ...]

    def __post_init__(self) -> None:
        _refuse_bad_items("and_", self.items)


def _refuse_bad_items(word: str, items: Collection[object]) -> None:
    if not items:
        raise ValueError(f"{word}() needs at least one step, name or label")
    for item in items:
        _refuse_bad_item(f"{word}()", item)


def _refuse_bad_item(place: str, item: object) -> None:
    if isinstance(item, (Or, And)) or (isinstance(item, str) and item):
        return
    raise ValueError(f"{place} takes steps, names, labels, or_(...) and and_(...), not {item!r}")


def leaves(condition: Condition) -> tuple[str, ...]:
    """Return the step names and labels of a condition, each once, in the order written."""
    if isinstance(condition, str):
        return (condition,)
    return tuple(dict.fromkeys(chain.from_iterable(leaves(item) for item in condition.items)))


def met_by(condition: Condition, seen: Collection[str]) -> tuple[str, ...]:
    """
    Return the seen leaves that satisfy a condition.

    Args:
        condition: The condition.
        seen: The triggers that were emitted.

    Returns:
        The seen leaves of every satisfied alternative, each once, in the order written; empty
        when the condition is not satisfied.
    """
    helpful = _helpful(condition, seen)
    return tuple(leaf for leaf in leaves(condition) if leaf in helpful)


def _helpful(condition: Condition, seen: Collection[str]) -> frozenset[str]:
    if isinstance(condition, str):
        return frozenset({condition}.intersection(seen))
    helpful = [_helpful(item, seen) for item in condition.items]
    if isinstance(condition, And) and not all(helpful):
        return frozenset()
    return frozenset[str]().union(*helpful)


def fires_once_per_cause(condition: Condition) -> bool:
    """
    Say whether several sources can each set a condition off: an `or_` of more than one leaf.

    Such a listener fires once for the parallel branches of one cause. An `or_` or `and_` of one
    item is that item.
    """
    while not isinstance(condition, str) and len(condition.items) == 1:
        condition = condition.items[0]
    return isinstance(condition, Or) and len(leaves(condition)) > 1


@dataclass(frozen=True, slots=True)
class StepSpec:
    """
    What the graph knows of a step.

    Attributes:
        name: The step's name, which is also a trigger.
        condition: What fires it; `None` for a step that only starts.
        start: Whether it can begin a run.
        router: Whether its label is a trigger too.

    Raises:
        ValueError: The condition is not one, or nothing would ever run the step.
    """

    name: str
    _: KW_ONLY
    condition: Condition | None = None
    start: bool = False
    router: bool = False

    def __post_init__(self) -> None:
        if self.condition is not None:
            _refuse_bad_item(f"step {self.name!r}", self.condition)
        elif not self.start:
            raise ValueError(
                f"step {self.name!r} is no start and listens to nothing, so it would never run"
            )


@dataclass(frozen=True)
class Graph:
    """
    All steps of a flow.

    Attributes:
        steps: The steps by name, in the order they were declared.

    Raises:
        ValueError: A step listens to itself, or stands under a name that is not its own.
    """

    steps: Mapping[str, StepSpec]

    def __post_init__(self) -> None:
        object.__setattr__(self, "steps", MappingProxyType(dict(self.steps)))
        for name, spec in self.steps.items():
            if spec.name != name:
                raise ValueError(f"step {spec.name!r} stands under the name {name!r}")
            if spec.condition is not None and name in leaves(spec.condition):
                raise ValueError(f"step {name!r} listens to itself, so it would never come to rest")

    def initial(self) -> tuple[str, ...]:
        """Return the steps that begin a run: unconditional starts, or else the conditional ones."""
        starts = [spec for spec in self.steps.values() if spec.start]
        unconditional = [spec for spec in starts if spec.condition is None]
        return tuple(spec.name for spec in unconditional or starts)

    def listeners(self, triggers: Collection[str]) -> tuple[tuple[StepSpec, Condition], ...]:
        """Return the steps that name one of the triggers: routers first, then as declared."""
        hearing = [
            (spec, spec.condition)
            for spec in self.steps.values()
            if spec.condition is not None and not set(triggers).isdisjoint(leaves(spec.condition))
        ]
        return tuple(sorted(hearing, key=lambda pair: not pair[0].router))

    def fingerprint(self) -> str:
        """
        Return what two graphs that behave alike have in common, as one line of text to digest.

        It holds the names, conditions and kinds of the steps, in the order they were declared,
        because routers run in that order. The same graph gives the same text in every process.
        """
        return json.dumps(
            [
                [spec.name, _as_lists(spec.condition), spec.start, spec.router]
                for spec in self.steps.values()
            ]
        )


def _as_lists(condition: Condition | None) -> object:
    if condition is None or isinstance(condition, str):
        return condition
    word = "or" if isinstance(condition, Or) else "and"
    return [word, *(_as_lists(item) for item in condition.items)]
