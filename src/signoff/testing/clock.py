"""Time that stands still until it is told to move (floor 9)."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

from typing_extensions import override

from signoff.ports import Clock
from signoff.rules.slips import refuse_bare_numbers


class ManualClock(Clock):
    """A clock for tests. Safe to share between threads."""

    def __init__(self, start: datetime = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)) -> None:
        """
        Stand at `start`.

        Args:
            start: An aware instant; the morning of Monday, 5 January 2026 unless given.

        Raises:
            ValueError: It has no time zone.
        """
        self._lock = threading.Lock()
        self._now = _in_utc(start)

    @override
    def now(self) -> datetime:
        """Return where the clock stands, in UTC."""
        with self._lock:
            return self._now

    def advance(self, by: timedelta) -> datetime:
        """
        Move the clock, backwards with a negative `by`, and return where it stands.

        Raises:
            ConfigurationError: It is no `timedelta`.
        """
        refuse_bare_numbers(by=by)
        with self._lock:
            self._now += by
            return self._now

    def set(self, instant: datetime) -> datetime:
        """Put the clock at an aware instant. Raises `ValueError` when it has no time zone."""
        moved = _in_utc(instant)
        with self._lock:
            self._now = moved
            return self._now


def _in_utc(instant: datetime) -> datetime:
    if instant.tzinfo is None:
        raise ValueError(f"{instant!r} has no time zone; write datetime(..., tzinfo=UTC)")
    return instant.astimezone(UTC)
