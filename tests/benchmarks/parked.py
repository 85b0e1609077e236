"""What a request costs among many parked ones: it should be the same among a million."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from typing import Final

import anyio
from tests.benchmarks.article import REQUESTER, Article
from tests.benchmarks.parked_rows import fill_postgres, fill_sqlite
from tests.benchmarks.parked_worker import Found
from tests.benchmarks.places import SCHEMA, file_in, postgres, store_at

from signoff import Client
from signoff.keys import KEY_VARIABLE
from signoff.security.keyring import Keyring

MANY: Final = (10_000, 100_000)
MILLION: Final = (1_000_000,)


def table(folder: Path, counts: Sequence[int]) -> None:
    """Print the least, the median and the 95th percentile, and what the worker's process takes."""
    print(
        "| store, ms: least, p50, p95 | parked | first page | of one reviewer | decide | due sweep"
        " | counts | worker's memory |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for count in counts:
        with TemporaryDirectory(dir=folder) as place:
            print(_line("SQLite, FULL", count, _among(place, count)), flush=True)
    for count in counts:
        with postgres() as address:
            if address is None:
                print("\nNot measured: PostgreSQL (no server on this machine).")
                return
            print(_line("PostgreSQL", count, _among(address, count)), flush=True)


def _among(place: str, count: int) -> Found:
    keyring = Keyring.generate()
    anyio.run(_park_one, place, keyring)
    if place.startswith("postgresql:"):
        fill_postgres(place, SCHEMA, count)
    else:
        fill_sqlite(file_in(place), count)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.benchmarks.parked_worker", place],
        check=True,
        stdout=subprocess.PIPE,
        env=os.environ | {KEY_VARIABLE: keyring.to_text()},
    )
    return Found(**json.loads(done.stdout))


async def _park_one(place: str, keyring: Keyring) -> None:
    async with Client(store_at(place), keyring=keyring, requester=REQUESTER) as client:
        run = await client.flows.start(Article)
        await client._machinery.executor.advance(run.run_id)


def _line(store: str, count: int, found: Found) -> str:
    calls = (found.page, found.own, found.decide, found.sweep, found.count)
    cells = " | ".join(
        f"{min(times):.1f}, {median(times):.1f}, {quantiles(times, n=20)[-1]:.1f}"
        for times in calls
    )
    return f"| {store} | {count:,} | {cells} | {found.resident / 2**20:,.0f} MB |"
