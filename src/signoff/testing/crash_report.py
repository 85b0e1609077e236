"""What `crash_everywhere` found, and the names of the crashes that it made (floor 9)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal, Self, TypeAlias

from typing_extensions import override

from signoff.errors import ConfigurationError

Side: TypeAlias = Literal["before", "after"]

SIDES: Final[tuple[Side, ...]] = ("before", "after")

_SHOWN: Final = 20
"""How many findings are shown."""

_SEED: Final = re.compile(r"(before|after)-([1-9][0-9]*)")


@dataclass(frozen=True, slots=True)
class Crash:
    """
    The end of one process.

    Attributes:
        side: Whether the commit that it dies at is lost, or made and not acknowledged.
        at: Which of its commits, from 1.
    """

    side: Side
    at: int

    @override
    def __str__(self) -> str:
        return f"{self.side}-{self.at}"


@dataclass(frozen=True, slots=True)
class Case:
    """
    One way for a scenario to be interrupted.

    Attributes:
        crashes: How its processes end, one after the other; the last one lives.
    """

    crashes: tuple[Crash, ...]

    @property
    def seed(self) -> str:
        """Its name, from which it is made again: `before-12`, or `before-12+after-3`."""
        return "+".join(map(str, self.crashes))

    @classmethod
    def of(cls, seed: str) -> Self:
        """Return the case of that name. Raises `ConfigurationError` where there is none."""
        found = [_SEED.fullmatch(crash) for crash in seed.split("+")]
        if None in found:
            raise ConfigurationError(
                f"{seed!r} names no crash; it is one of a report's seeds, such as 'before-12'"
            )
        sides: dict[str, Side] = {"before": "before", "after": "after"}
        return cls(tuple(Crash(sides[one[1]], int(one[2])) for one in found if one is not None))


@dataclass(frozen=True, slots=True)
class CrashFinding:
    """
    Something that a crash has changed.

    Attributes:
        seed: The case; `crash_everywhere(..., only=[seed])` plays it again.
        what: What was lost, doubled or broken.
    """

    seed: str
    what: str

    @override
    def __str__(self) -> str:
        return f"{self.seed}: {self.what}"


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class CrashReport:
    """
    What `crash_everywhere` found.

    Attributes:
        cases: How many times the scenario was interrupted and finished.
        commits: How many commits it takes when nothing interrupts it.
        lost: Effects, runs and acknowledged decisions that were gone afterwards.
        doubled: Effects, runs, questions and decisions that there were more of than without a crash.
        broken: Cases that came to another end, or to none, and records at odds with their audit.
    """

    cases: int
    commits: int
    lost: tuple[CrashFinding, ...] = ()
    doubled: tuple[CrashFinding, ...] = ()
    broken: tuple[CrashFinding, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether nothing was found."""
        return not (self.lost or self.doubled or self.broken)

    @property
    def seeds(self) -> tuple[str, ...]:
        """The cases that something was found in, for `crash_everywhere(..., only=report.seeds)`."""
        found = (*self.lost, *self.doubled, *self.broken)
        return tuple(dict.fromkeys(one.seed for one in found))

    @override
    def __str__(self) -> str:
        kinds = {"lost": self.lost, "doubled": self.doubled, "broken": self.broken}
        counts = ", ".join(f"{len(found)} {kind}" for kind, found in kinds.items())
        lines = [f"{kind} at {one}" for kind, found in kinds.items() for one in found]
        more = [f"and {len(lines) - _SHOWN} more"] if len(lines) > _SHOWN else []
        head = f"{self.cases} cases over {self.commits} commits: {counts}"
        return "\n".join([head, *lines[:_SHOWN], *more])

    @override
    def __repr__(self) -> str:
        return f"<CrashReport {self}>"
