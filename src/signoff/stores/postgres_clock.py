"""
The server's clock, as a process knows it without asking each time (floor 4).

Each answer of the server says when it was given, and lay between two moments of the process. So
the process knows between what bounds that clock stands, and its own says how far both have gone on.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final, Self

SECOND: Final = 1_000_000_000
"""In nanoseconds, as everything here."""

FRESH: Final = SECOND
"""For how long after an answer the clock is known without another one."""

WIDEST: Final = SECOND // 10
"""How far the time that is told may lie behind the server's clock."""

DRIFT: Final = 1000
"""Two clocks drift apart by one part in so many at the most; twice what NTP steers a clock by."""

_MICROSECOND: Final = 1000


@dataclass(frozen=True, slots=True)
class Reading:
    """
    Between what bounds the server's clock stood.

    Attributes:
        at: When, by the clock of this process.
        earliest: The server's clock stood there, or later.
        latest: It stood there, or earlier.
    """

    at: int
    earliest: int
    latest: int

    @classmethod
    def of(cls, micros: int, *, sent: int, received: int) -> Self:
        """
        Return what an answer says.

        Args:
            micros: What the server's clock said while it answered, in whole microseconds.
            sent: When the question was sent, by the clock of this process.
            received: When the answer was there.
        """
        told = micros * _MICROSECOND
        passed = received - sent
        return cls(received, told, told + _MICROSECOND + passed + passed // DRIFT)

    def later(self, at: int) -> Reading:
        """Return the bounds at a later moment: as far on, and as much further apart as clocks may drift."""
        passed = at - self.at
        drift = -(-passed // DRIFT)
        return Reading(at, self.earliest + passed - drift, self.latest + passed + drift)

    def and_then(self, other: Reading) -> Reading:
        """
        Return what this one and another one say together.

        Where they contradict each other, because a clock was set or a machine slept, the one that
        came in later counts.
        """
        at = max(self.at, other.at)
        mine, theirs = self.later(at), other.later(at)
        earliest = max(mine.earliest, theirs.earliest)
        latest = min(mine.latest, theirs.latest)
        if earliest > latest:
            return theirs if other.at == at else mine
        return Reading(at, earliest, latest)

    def micros(self, at: int) -> int | None:
        """Return what time it is, in microseconds; `None` if that is not known well enough any more."""
        now = self.later(at)
        if at - self.at > FRESH or now.latest - now.earliest > WIDEST:
            return None
        return now.earliest // _MICROSECOND


class ServerClock:
    """
    What the answers of a server say of its clock; may be used from several threads at once.

    Args:
        reads: The clock of this process: nanoseconds that no change of date moves. By itself one
            that also counts while the machine sleeps, where there is one.
    """

    def __init__(self, reads: Callable[[], int] | None = None) -> None:
        self.reads = reads or _own
        self._lock = threading.Lock()
        self._known: Reading | None = None

    def told(self, micros: int, *, sent: int) -> None:
        """
        Note an answer that has just come in.

        Args:
            micros: What the server's clock said, in microseconds since 1970.
            sent: When the question was sent, by `reads`.
        """
        with self._lock:
            new = Reading.of(micros, sent=sent, received=self.reads())
            self._known = new if self._known is None else self._known.and_then(new)

    def micros(self) -> int | None:
        """Return what time it is at the server, in microseconds since 1970; `None` if it has to be asked."""
        # Not the other way round: what comes in meanwhile would lie ahead of the moment.
        known = self._known
        return None if known is None else known.micros(self.reads())


_own: Final[Callable[[], int]] = (
    partial(time.clock_gettime_ns, time.CLOCK_BOOTTIME)
    if hasattr(time, "CLOCK_BOOTTIME")
    else time.monotonic_ns
)
