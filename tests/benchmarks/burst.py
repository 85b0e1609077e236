"""A thousand runs that are decided at once, and go on in two processes on one PostgreSQL."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median
from typing import Final
from uuid import uuid4

from tests.benchmarks.peers.table import Contender, Environments, FailedError
from tests.benchmarks.places import postgres
from tests.benchmarks.player import Player

from signoff.keys import KEY_VARIABLE
from signoff.security.keyring import Keyring

RUNS: Final = 1000
AT_ONCE: Final = 64


@dataclass(frozen=True)
class Side:
    """
    Who takes part.

    Attributes:
        name: For the table.
        contender: The script.
        engine: Which engine of Signoff.
    """

    name: str
    contender: Contender
    engine: str = ""


OURS: Final = (
    Side("Signoff, local engine", Contender("signoff_burst")),
    Side("Signoff, Procrastinate", Contender("signoff_burst"), "procrastinate"),
)
THEIRS: Final = (Side("DBOS", Contender("dbos_burst", "dbos")),)


def table(environments: Environments, *, rounds: int) -> None:
    """Print how many runs a second went on, from the first decision to the last end."""
    with postgres() as address:
        if address is None:
            print("Not measured: the burst (no server on this machine).")
            return
        sides = [*OURS, *THEIRS]
        seconds: dict[Side, list[float]] = {side: [] for side in sides}
        missing: list[str] = []
        for _ in range(rounds):
            for side in tuple(sides):
                try:
                    seconds[side].append(_once(environments, side, address))
                except FailedError as error:
                    sides.remove(side)
                    seconds.pop(side)
                    missing.append(f"{side.name} ({error})")
        print(f"| burst of {RUNS:,}, two processes | runs/s, least to most | of DBOS |")
        print("|---|---|---|")
        for line in _lines(seconds):
            print(line)
        if missing:
            print(f"\nNot measured: {'; '.join(missing)}.")


def _lines(seconds: dict[Side, list[float]]) -> Iterator[str]:
    theirs = seconds.get(THEIRS[0], [])
    for side, of_it in seconds.items():
        rates = [RUNS / each for each in of_it]
        ratios = [peer / each for peer, each in zip(theirs, of_it, strict=False)]
        ratio = f"{median(ratios):.2f}" if side in OURS and ratios else ""
        yield (
            f"| {side.name} | {median(rates):,.0f}, {min(rates):,.0f} to {max(rates):,.0f}"
            f" | {ratio} |"
        )


def _once(environments: Environments, side: Side, address: str) -> float:
    """Return the seconds of one burst. Raises `FailedError`."""
    command = environments.command(
        side.contender,
        *("--place", address, "--times", str(RUNS // 2), "--at-once", str(AT_ONCE)),
        *("--schema", f"burst_{uuid4().hex}", "--engine", side.engine),
    )
    env = os.environ | {KEY_VARIABLE: Keyring.generate().to_text()}
    with Player(command, env) as one, Player(command, env) as other:
        players = (one, other)
        for player in players:
            player.hear("ready")
        for player in players:
            player.say("go")
        told = [json.loads(player.hear("{")) for player in players]
    return float(max(each["ended"] for each in told) - min(each["began"] for each in told))
