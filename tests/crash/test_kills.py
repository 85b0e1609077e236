"""Workers killed, stopped and held in every phase: each effect once, each doubt asked, each run ended."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import psycopg
import pytest

CheckBooks: TypeAlias = Callable[[Path], None]
CopyBooks: TypeAlias = Callable[[str, str, Path], Path]

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


@dataclass(frozen=True, slots=True)
class Place:
    """
    Where the workers work.

    Attributes:
        options: What tells the harness so.
        check: Sees that the books that it left in a folder agree.
    """

    options: tuple[str, ...]
    check: CheckBooks


@pytest.fixture(name="place")
def _place(
    request: pytest.FixtureRequest, check_books: CheckBooks, copy_books: CopyBooks
) -> Iterator[Place]:
    """Yield a file, or a schema of a server with one of the engines."""
    if request.param == "file":
        yield Place((), lambda folder: check_books(folder / "signoff.db"))
        return
    address: str = request.getfixturevalue("postgres")
    schema: str = request.getfixturevalue("postgres_schema")
    options = (f"--server={address}", f"--schema={schema}", f"--engine={request.param}")
    yield Place(
        options, lambda folder: check_books(copy_books(address, schema, folder / "books.db"))
    )
    with psycopg.connect(address, autocommit=True) as session:
        session.execute(f"DROP SCHEMA IF EXISTS {schema}_jobs CASCADE".encode())


LONG = pytest.param("local", marks=pytest.mark.reliability)
"""A server, in the long suite only."""


def everywhere(*places: object) -> pytest.MarkDecorator:
    """Run a test at these places."""
    return pytest.mark.parametrize("place", places, indirect=True)


@pytest.mark.timeout(300)
@everywhere("file", "local")
def test_some_kills_lose_nothing_and_repeat_no_effect(tmp_path: Path, place: Place) -> None:
    """Reliability 6: some in each phase, some anywhere, and one worker that is stopped past its lease and woken."""
    kills = 10 if place.options else 30
    report = harness(
        tmp_path, *place.options, f"--kills={kills}", "--freezes=1", "--seed=7", seconds=290
    )

    assert report["violations"] == []
    assert sum(report["kills"].values()) == kills
    assert min(report["kills"][phase] for phase in PHASES) >= kills // 10
    assert report["freezes"] == 1
    place.check(tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_hundred_kills_lose_nothing_and_repeat_no_effect(
    tmp_path: Path, check_books: CheckBooks
) -> None:
    """Reliability 6: at least twenty in each phase."""
    report = harness(tmp_path, "--kills=200", "--freezes=5", "--seed=1", seconds=890)

    assert report["violations"] == []
    assert sum(report["kills"].values()) == 200
    assert min(report["kills"][phase] for phase in PHASES) >= 20
    assert report["freezes"] == 5
    assert report["in_doubt"] >= sum(
        report["kills"][phase] for phase in ("effect body", "after the effect before its record")
    )
    check_books(tmp_path / "signoff.db")


@pytest.mark.reliability
@pytest.mark.timeout(1800)
@everywhere("file", "local", "procrastinate")
@pytest.mark.parametrize("seed", range(10, 14))
def test_a_thousand_kills_lose_nothing_and_repeat_no_effect(
    tmp_path: Path, place: Place, seed: int
) -> None:
    """Reliability 6: a hundred for each of four seeds at each of three places."""
    options = (*place.options, "--kills=100", "--freezes=3", f"--seed={seed}")
    report = harness(tmp_path, *options, seconds=1790)

    assert report["violations"] == []
    assert sum(report["kills"].values()) == 100
    assert report["freezes"] == 3
    place.check(tmp_path)


CONTROL = ("--kills=0", "--workers=2", "--in-flight=4", "--runs=4", "--seed=3", "--hasty")
"""Few runs, and a reviewer who does not ask whether somebody is still at it."""


@pytest.mark.slow
@pytest.mark.timeout(200)
@everywhere("file", LONG)
def test_with_the_lease_it_is_green(tmp_path: Path, place: Place) -> None:
    """A worker that is held in an effect for three leases keeps its claim, so nothing is in doubt."""
    report = harness(tmp_path, *place.options, *CONTROL, "--holds=1", "--freezes=0", seconds=190)

    assert report["violations"] == []
    assert (report["holds"], report["in_doubt"]) == (1, 0)


@pytest.mark.slow
@pytest.mark.timeout(200)
@everywhere("file", LONG)
def test_removing_the_lease_turns_it_red(tmp_path: Path, place: Place) -> None:
    """The control of the lease: another worker takes a run whose executor is at it, and does the effect again."""
    options = (*place.options, "--store=leaseless", "--holds=1", "--freezes=0")
    report = harness(tmp_path, *CONTROL, *options, seconds=190)

    assert any("2 effects" in violation for violation in report["violations"])


@pytest.mark.slow
@pytest.mark.timeout(200)
@everywhere("file", LONG)
def test_removing_the_fencing_turns_it_red(tmp_path: Path, place: Place) -> None:
    """The control of fencing: a worker that was stopped past its lease writes over what another one has taken."""
    options = (*place.options, "--store=unfenced", "--holds=0", "--freezes=1")
    report = harness(tmp_path, *CONTROL, *options, seconds=190)

    assert any("fenced out has written" in violation for violation in report["violations"])
