"""Workers killed, stopped and held in every phase: each effect once, each doubt asked, each run ended."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest

CheckBooks: TypeAlias = Callable[[Path], None]

HARNESS = Path(__file__).with_name("kill_harness.py")
PHASES = {
    "step body",
    "effect body",
    "after the effect before its record",
    "outbox send",
    "resume",
}


def harness(folder: Path, *options: str, seconds: float) -> dict[str, Any]:
    """Run the harness in a process without threads, and return what it saw."""
    done = subprocess.run(
        [sys.executable, HARNESS, "--folder", folder, *options],
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds,
    )
    sys.stdout.write(done.stdout + done.stderr)
    report: dict[str, Any] = json.loads((folder / "report.json").read_text())
    assert done.returncode == bool(report["violations"])
    return report


def test_thirty_kills_lose_nothing_and_repeat_no_effect(
    tmp_path: Path, check_books: CheckBooks
) -> None:
    """Reliability 6: some in each phase, some anywhere, and one worker that is stopped past its lease and woken."""
    report = harness(tmp_path, "--kills=30", "--freezes=1", "--seed=7", seconds=55)

    assert report["violations"] == []
    assert sum(report["kills"].values()) == 30
    assert min(report["kills"][phase] for phase in PHASES) >= 3
    assert report["freezes"] == 1
    check_books(tmp_path / "signoff.db")


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_two_hundred_kills_lose_nothing_and_repeat_no_effect(
    tmp_path: Path, check_books: CheckBooks
) -> None:
    """Reliability 6: at least twenty in each phase."""
    report = harness(tmp_path, "--kills=200", "--freezes=5", "--seed=1", seconds=390)

    assert report["violations"] == []
    assert sum(report["kills"].values()) == 200
    assert min(report["kills"][phase] for phase in PHASES) >= 20
    assert report["freezes"] == 5
    assert report["in_doubt"] >= sum(
        report["kills"][phase] for phase in ("effect body", "after the effect before its record")
    )
    check_books(tmp_path / "signoff.db")


@pytest.mark.reliability
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("seed", range(10, 15))
def test_a_thousand_kills_lose_nothing_and_repeat_no_effect(
    tmp_path: Path, check_books: CheckBooks, seed: int
) -> None:
    """Reliability 6: two hundred for each of five seeds."""
    report = harness(tmp_path, "--kills=200", "--freezes=5", f"--seed={seed}", seconds=1190)

    assert report["violations"] == []
    assert sum(report["kills"].values()) == 200
    check_books(tmp_path / "signoff.db")


CONTROL = ("--kills=0", "--workers=2", "--in-flight=4", "--runs=4", "--seed=3", "--hasty")
"""Few runs, and a reviewer who does not ask whether somebody is still at it."""


@pytest.mark.slow
def test_with_the_lease_it_is_green(tmp_path: Path) -> None:
    """A worker that is held in an effect for three leases keeps its claim, so nothing is in doubt."""
    report = harness(tmp_path, *CONTROL, "--holds=1", "--freezes=0", seconds=50)

    assert report["violations"] == []
    assert (report["holds"], report["in_doubt"]) == (1, 0)


@pytest.mark.slow
def test_removing_the_lease_turns_it_red(tmp_path: Path) -> None:
    """Another worker takes a run whose executor is still at it, and does the effect a second time."""
    options = ("--store=leaseless", "--holds=1", "--freezes=0")
    report = harness(tmp_path, *CONTROL, *options, seconds=50)

    assert any("2 effects" in violation for violation in report["violations"])


@pytest.mark.slow
def test_removing_the_fencing_turns_it_red(tmp_path: Path) -> None:
    """A worker that was stopped past its lease writes over what another one has taken."""
    options = ("--store=unfenced", "--holds=0", "--freezes=1")
    report = harness(tmp_path, *CONTROL, *options, seconds=50)

    assert any("fenced out has written" in violation for violation in report["violations"])
