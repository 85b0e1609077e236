"""`start`, `listen`, `router`, `or_` and `and_`: stamps on methods, read when the class is used (floor 6)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final, TypeAlias, TypeVar

from signoff.gates import refuse_no_method
from signoff.rules.graph import And, Condition, Or

F = TypeVar("F", bound=Callable[..., object])

Trigger: TypeAlias = "str | Or | And | Callable[..., object]"
"""A step, a name or label, or `or_(...)`/`and_(...)` of these."""

_STEP: Final = "__signoff_step__"


@dataclass(frozen=True, kw_only=True)
class StepMark:
    """
    What the decorators said about a method.

    Attributes:
        start: Whether it can begin a run.
        condition: What fires it.
        router: Whether what it returns is a label.
        labels: The labels it may return, where it says so.
        aliases: Its former names.
    """

    start: bool = False
    condition: Condition | None = None
    router: bool = False
    labels: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True)
class Stamp:
    """What the decorators return: adds its mark to those a method has, and gives the method back."""

    mark: StepMark

    def __call__(self, fn: F, /) -> F:
        """
        Stamp a method.

        Raises:
            ValueError: Two decorators name different conditions.
            ConfigurationError: It is no method: a decorator below stands without parentheses.
        """
        refuse_no_method(fn)
        setattr(fn, _STEP, _merged(mark_of(fn) or StepMark(), self.mark, name=fn.__name__))
        return fn


def mark_of(fn: object) -> StepMark | None:
    """Return what the decorators said about a method, or `None` for one that is no step."""
    found = getattr(fn, _STEP, None)
    return found if isinstance(found, StepMark) else None


def start(condition: Trigger | None = None, *, aliases: Sequence[str] = ()) -> Stamp:
    """
    Begin a run with this step; with a condition, only when that is emitted.

    A conditional start begins a run only when the class has no unconditional one.

    Args:
        condition: What fires it besides the start of a run.
        aliases: Former names of the step, under which runs have stored it.

    Raises:
        ValueError: The condition is none, or an alias is no name.
    """
    return Stamp(
        StepMark(
            start=True,
            condition=None if condition is None else condition_of(condition),
            aliases=_names(aliases),
        )
    )


def listen(condition: Trigger, *, aliases: Sequence[str] = ()) -> Stamp:
    """
    Run this step when `condition` is met.

    With a parameter it gets the output of what fired it; for a gate's label, the
    `HumanFeedbackResult`; for another label, the label.

    Args:
        condition: A step, a name or label, or `or_(...)`/`and_(...)`.
        aliases: Former names of the step, under which runs have stored it.

    Raises:
        ValueError: The condition is none, or an alias is no name.
    """
    return Stamp(StepMark(condition=condition_of(condition), aliases=_names(aliases)))


def router(
    condition: Trigger | None = None,
    *,
    emit: Sequence[str] | type[Enum] | None = None,
    aliases: Sequence[str] = (),
) -> Stamp:
    """
    Let what this step returns be a label that listeners wait for; `None` emits nothing.

    Args:
        condition: As for `listen`; may be left out beside `@start()` or `@listen(...)`.
        emit: The labels it may return, for readers and checks.
        aliases: Former names of the step, under which runs have stored it.

    Raises:
        ValueError: The condition is none, or an alias is no name.
    """
    labels = [member.value for member in emit] if isinstance(emit, type) else list(emit or ())
    return Stamp(
        StepMark(
            condition=None if condition is None else condition_of(condition),
            router=True,
            labels=tuple(str(label) for label in labels),
            aliases=_names(aliases),
        )
    )


def or_(*items: Trigger) -> Or:
    """Be met by any of the items; fires once for the parallel branches of one cause."""
    return Or(tuple(condition_of(item) for item in items))


def and_(*items: Trigger) -> And:
    """Be met by all of the items, each counted until it fires or the step it came from runs again."""
    return And(tuple(condition_of(item) for item in items))


def condition_of(item: Trigger) -> Condition:
    """Return what an item of a condition stands for. Raises `ValueError` for anything else."""
    if isinstance(item, (str, Or, And)) and item != "":
        return item
    name = getattr(item, "__name__", "")
    if callable(item) and name:
        return str(name)
    raise ValueError(f"{item!r} is no condition: give a step, a name or label, or_() or and_()")


def _merged(old: StepMark, new: StepMark, *, name: str) -> StepMark:
    if old.condition and new.condition and old.condition != new.condition:
        raise ValueError(
            f"step {name!r} has two conditions, {old.condition!r} and {new.condition!r};"
            " join them with or_() or and_()"
        )
    return replace(
        old,
        start=old.start or new.start,
        condition=old.condition or new.condition,
        router=old.router or new.router,
        labels=old.labels or new.labels,
        aliases=(*old.aliases, *new.aliases),
    )


def _names(aliases: Sequence[str]) -> tuple[str, ...]:
    if isinstance(aliases, str) or not all(aliases):
        raise ValueError(f"aliases={aliases!r} is no list of former names")
    return tuple(aliases)
