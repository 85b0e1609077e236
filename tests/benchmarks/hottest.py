"""Where the time of pauses, decisions and resumes goes, by function."""

from __future__ import annotations

import cProfile
import pstats
import time
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import anyio
from tests.benchmarks.alone import measured
from tests.benchmarks.article import Article
from tests.benchmarks.places import store_at

from signoff import Client
from signoff.security.keyring import Keyring

RUNS: Final = 256
AT_ONCE: Final = 64
SHOWN: Final = 10


def table(folder: Path) -> None:
    """Print the functions that take most processor time themselves, in the event loop's thread."""
    profile = cProfile.Profile(time.thread_time)
    with TemporaryDirectory(dir=folder) as place:
        anyio.run(partial(_profiled, place, profile))
    stats = pstats.Stats(profile).stats  # type: ignore[attr-defined]  # typeshed leaves it out
    whole = sum(own for _, _, own, _, _ in stats.values())
    print(
        f"| of {whole / RUNS * 1000:.1f} ms for each run | own | with all it calls | calls for each run |"
    )
    print("|---|---|---|---|")
    hottest = sorted(stats.items(), key=lambda item: -item[1][2])[:SHOWN]
    for function, (_, calls, own, cumulative, _) in hottest:
        print(
            f"| {_name(function)} | {own / whole:.1%} | {cumulative / whole:.1%}"
            f" | {calls / RUNS:,.1f} |"
        )


async def _profiled(place: str, profile: cProfile.Profile) -> None:
    async with Client(store_at(place), keyring=Keyring.generate()) as client:
        await measured(client, Article, times=AT_ONCE, at_once=AT_ONCE)
        profile.enable()
        await measured(client, Article, times=RUNS, at_once=AT_ONCE)
        profile.disable()


def _name(function: tuple[str, int, str]) -> str:
    """Return a function's module and name, without the folders before the package."""
    file, line, name = function
    if not line:
        return f"`{name}`"
    parts = Path(file).with_suffix("").parts
    return f"`{'.'.join(parts[-2:])}:{line} {name}`"
