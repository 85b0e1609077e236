"""The clock that a store goes by until it is given another one (floor 4)."""

from __future__ import annotations

from datetime import UTC, datetime

from typing_extensions import override

from signoff.ports import Clock


class SystemClock(Clock):
    """Business time from this machine's clock."""

    @override
    def now(self) -> datetime:
        """Return the current instant, aware and in UTC."""
        return datetime.now(tz=UTC)  # noqa: TID251 - this is the one clock of the stores
