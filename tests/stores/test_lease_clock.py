"""The clock that the leases of one machine's processes go by."""

from __future__ import annotations

import time
from pathlib import Path

from signoff.stores.lease_clock import BOOT_ID, machine_lease_clock


def test_it_counts_from_the_boot_and_says_which() -> None:
    """Every process of the machine reads the same, and the date has no part in it."""
    clock = machine_lease_clock()

    before = time.clock_gettime(time.CLOCK_BOOTTIME)
    read = clock.seconds()
    after = time.clock_gettime(time.CLOCK_BOOTTIME)

    assert before <= read <= after
    assert clock.epoch == BOOT_ID.read_text().strip()
    assert len(clock.epoch) == 36


def test_another_boot_is_another_epoch(tmp_path: Path) -> None:
    """So that a lease from before a reboot is not mistaken for one from after it."""
    boot_id = tmp_path / "boot_id"
    boot_id.write_text("0f1e\n")

    assert machine_lease_clock(boot_id).epoch == "0f1e"


def test_where_no_boot_is_told_it_is_the_wall_clock(tmp_path: Path) -> None:
    """That is shared by all processes too."""
    clock = machine_lease_clock(tmp_path / "missing")

    assert clock.epoch == "wall"
    assert abs(clock.seconds() - time.time()) < 60  # noqa: TID251 - this very clock is tested
