"""Signoff beside others that pause for a person: each in an environment and a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Final

from tests.benchmarks.peers.timing import Phases, Told
from tests.benchmarks.places import postgres

PATIENCE_SECONDS: Final = 120.0
TIMES: Final = {1: 32, 64: 128}
"""How many runs, by how many at once."""


@dataclass(frozen=True)
class Contender:
    """
    Who is measured.

    Attributes:
        module: The script, in this folder.
        peer: Whose environment it runs in; empty for ours.
    """

    module: str
    peer: str = ""


@dataclass(frozen=True)
class Match:
    """
    What is compared.

    Attributes:
        what: The operation and the mode, for the head of the table.
        ours: The script of Signoff.
        others: Those of the others.
        on_server: Whether on PostgreSQL, and not in a folder.
    """

    what: str
    ours: Contender
    others: tuple[Contender, ...]
    on_server: bool = False


ON_SQLITE: Final = (
    Match(
        "flow on SQLite, FULL",
        Contender("signoff_flow"),
        (
            Contender("langgraph_tasks", "langgraph"),
            Contender("langgraph_threads", "langgraph"),
            Contender("crewai_sqlite", "crewai"),
        ),
    ),
    Match(
        "call on SQLite, NORMAL",
        Contender("signoff_gate"),
        (Contender("holdpoint_sqlite", "holdpoint"),),
    ),
)
ON_POSTGRES: Final = (
    Match(
        "flow on PostgreSQL",
        Contender("signoff_flow"),
        (Contender("dbos_postgres", "dbos"),),
        on_server=True,
    ),
)


class FailedError(Exception):
    """A script gave no figures; the message is the last that it said."""


@dataclass(frozen=True)
class Environments:
    """
    Where the contenders are installed.

    Attributes:
        folder: Holds one virtual environment for each peer, by name; `None` if there is none.
    """

    folder: Path | None

    def command(self, contender: Contender, *options: str) -> list[str]:
        """Return what starts a contender's script. Raises `FailedError` where it is not installed."""
        python = sys.executable
        if contender.peer:
            found = (self.folder or Path()) / contender.peer / "bin" / "python"
            if self.folder is None or not found.exists():
                raise FailedError("not installed")
            python = str(found)
        return [
            python,
            "-W",
            "ignore",
            "-m",
            f"tests.benchmarks.peers.{contender.module}",
            *options,
        ]

    def ask(self, contender: Contender, place: str, *, times: int, at_once: int) -> Told:
        """Run a script once. Raises `FailedError`."""
        options = ("--place", place, "--times", str(times), "--at-once", str(at_once))
        command = self.command(contender, *options)
        try:
            done = subprocess.run(
                command, check=False, capture_output=True, text=True, timeout=PATIENCE_SECONDS
            )
        except subprocess.TimeoutExpired as error:
            raise FailedError(f"no end after {PATIENCE_SECONDS:.0f} s") from error
        if done.returncode:
            raise FailedError(last_line(done.stderr))
        told = json.loads(last_line(done.stdout))
        return Told(**told | {"phases": Phases(**told["phases"])})


def last_line(text: str) -> str:
    """Return the last line that says something."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "nothing was said"


def on_sqlite(folder: Path, environments: Environments, *, rounds: int) -> None:
    """Print the tables of those that keep a file."""
    for match in ON_SQLITE:
        print(f"{_head(match)}", flush=True)
        missing: list[str] = []
        for line in _lines(match, environments, str(folder), missing, rounds=rounds):
            print(line, flush=True)
        _say_missing(missing)
        print()


def on_postgres(environments: Environments, *, rounds: int) -> None:
    """Print the table of those that use a server: one that waits for its disk."""
    with postgres() as address:
        if address is None:
            print("Not measured: peers on PostgreSQL (no server on this machine).")
            return
        for match in ON_POSTGRES:
            print(_head(match), flush=True)
            missing: list[str] = []
            for line in _lines(match, environments, address, missing, rounds=rounds):
                print(line, flush=True)
            _say_missing(missing)


def _head(match: Match) -> str:
    return (
        f"| {match.what} | at once | pause/s | approve and run/s | both/s, least to most"
        " | CPU ms of both | Signoff's both to it | Signoff's approve and run to it |\n"
        "|---|---|---|---|---|---|---|---|"
    )


def _say_missing(missing: Sequence[str]) -> None:
    if missing:
        print(f"\nNot measured: {'; '.join(missing)}.")


def _lines(
    match: Match, environments: Environments, place: str, missing: list[str], *, rounds: int
) -> Iterator[str]:
    """Measure one after the other, and again, so that what else the machine does meets all."""
    for at_once, times in TIMES.items():
        contenders = [match.ours, *match.others]
        told: dict[Contender, list[Told]] = {contender: [] for contender in contenders}
        for _ in range(rounds):
            for contender in tuple(contenders):
                try:
                    one = _in_a_place(
                        environments, contender, place, match, times=times, at_once=at_once
                    )
                except FailedError as error:
                    contenders.remove(contender)
                    told.pop(contender)
                    missing.append(f"{contender.module}, {at_once} at once ({error})")
                else:
                    told[contender].append(one)
        ours = [one.phases for one in told.get(match.ours, [])]
        for contender, of_it in told.items():
            name = f"{of_it[0].contender}, {of_it[0].how} | {at_once}"
            phases = [one.phases for one in of_it]
            yield _line(name, phases, ours if contender.peer else [], times=times)


def _in_a_place(
    environments: Environments,
    contender: Contender,
    place: str,
    match: Match,
    *,
    times: int,
    at_once: int,
) -> Told:
    if match.on_server:
        return environments.ask(contender, place, times=times, at_once=at_once)
    with TemporaryDirectory(dir=place) as folder:
        return environments.ask(contender, folder, times=times, at_once=at_once)


def _line(name: str, of_it: Sequence[Phases], ours: Sequence[Phases], *, times: int) -> str:
    both = [times / (one.pause + one.resume) for one in of_it]
    pairs = list(zip(ours, of_it, strict=False))
    return (
        f"| {name}"
        f" | {median(times / one.pause for one in of_it):,.0f}"
        f" | {median(times / one.resume for one in of_it):,.0f}"
        f" | {median(both):,.0f}, {min(both):,.0f} to {max(both):,.0f}"
        f" | {min(one.cpu for one in of_it) / times * 1000:.1f}"
        f" | {_middle((it.pause + it.resume) / (we.pause + we.resume) for we, it in pairs)}"
        f" | {_middle(it.resume / we.resume for we, it in pairs)} |"
    )


def _middle(ratios: Iterable[float]) -> str:
    """Return the ratio of the round in the middle; a round's contenders met the same machine."""
    found = list(ratios)
    return f"{median(found):.2f}" if found else ""
