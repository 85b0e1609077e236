"""The clock that the leases of one machine's processes go by (floor 4)."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
"""Where Linux keeps an id that changes with every boot."""


@dataclass(frozen=True, slots=True)
class LeaseClock:
    """
    Seconds that all processes of one machine count alike, and that no change of date moves.

    Attributes:
        epoch: Since when it counts. A lease of another epoch is dead: after a reboot nobody
            who held one is left.
        seconds: Reads it.
    """

    epoch: str
    seconds: Callable[[], float]


def machine_lease_clock(boot_id: Path = BOOT_ID) -> LeaseClock:
    """
    Return the lease clock of this machine.

    On Linux it counts from the boot, through suspension, whatever is done to the date. Where
    the kernel tells no boot id (macOS, or a sandbox that hides /proc) it is the wall clock: a
    date that is set forward then ends leases early, one that is set back prolongs them.
    All processes that share a database must see the same of the two, as processes of one
    machine do.
    """
    try:
        epoch = boot_id.read_text().strip()
    except OSError:
        return LeaseClock("wall", time.time)  # noqa: TID251 - no business time: leases only
    return LeaseClock(epoch, partial(time.clock_gettime, time.CLOCK_BOOTTIME))
