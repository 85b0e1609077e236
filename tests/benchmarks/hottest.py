"""Where the time of pauses, decisions and resumes goes, by function."""

from __future__ import annotations

import cProfile
import pstats
import sys
import time
from collections import defaultdict
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, TypeAlias

import anyio
from tests.benchmarks.alone import measured
from tests.benchmarks.article import Article
from tests.benchmarks.places import store_at

from signoff import Client
from signoff.security.keyring import Keyring

Function: TypeAlias = tuple[str, int, str]
"""Its file, line and name; a built-in one has no line."""

Stats: TypeAlias = dict[
    Function, tuple[int, int, float, float, dict[Function, tuple[int, int, float, float]]]
]
"""By function: calls that are no recursion, calls, own seconds, with what it calls, by caller."""

RUNS: Final = 256
AT_ONCE: Final = 64
SHOWN: Final = 10


def table(folder: Path) -> None:
    """Print the functions that take most processor time themselves, in the event loop's thread."""
    profile = cProfile.Profile(time.thread_time)
    with TemporaryDirectory(dir=folder) as place:
        anyio.run(partial(_profiled, place, profile))
    stats: Stats = pstats.Stats(profile).stats  # type: ignore[attr-defined]  # typeshed leaves it out
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

    print("\n| where | own, with built-in functions that it calls |\n|---|---|")
    by_place = sorted(_by_place(stats).items(), key=lambda item: -item[1])
    for place, own in by_place[:SHOWN]:
        print(f"| {place} | {own / whole:.1%} |")


def _by_place(stats: Stats) -> dict[str, float]:
    """Return own seconds by package; those of a built-in function are its callers'."""
    found: defaultdict[str, float] = defaultdict(float)
    for function, (_, _, own, _, callers) in stats.items():
        if function[1] or not callers:
            found[_package(function)] += own
            continue
        for caller, (_, _, own_for_it, _) in callers.items():
            found[_package(caller)] += own_for_it
    return found


def _package(function: Function) -> str:
    """Return the package of a function, and of ours the module."""
    file, line, _ = function
    if not line:
        return "built-in functions of none"
    parts = Path(file).with_suffix("").parts
    if "signoff" in parts:
        return f"`{'.'.join(parts[parts.index('signoff') :])}`"
    if "site-packages" in parts:
        return parts[parts.index("site-packages") + 1]
    known = (part for part in parts if part in sys.stdlib_module_names)
    return f"{next(known, 'elsewhere')}, standard library"


async def _profiled(place: str, profile: cProfile.Profile) -> None:
    async with Client(store_at(place), keyring=Keyring.generate()) as client:
        await measured(client, Article, times=AT_ONCE, at_once=AT_ONCE)
        profile.enable()
        await measured(client, Article, times=RUNS, at_once=AT_ONCE)
        profile.disable()


def _name(function: Function) -> str:
    """Return a function's module and name, without the folders before the package."""
    file, line, name = function
    if not line:
        return f"`{name}`"
    parts = Path(file).with_suffix("").parts
    return f"`{'.'.join(parts[-2:])}:{line} {name}`"
