"""
What a pause and a resume cost, beside the floor of plain sqlite3 measured in the same run.

Run it with `nox -s bench`, or `python -m tests.benchmarks.bench --help` in the project's folder;
on a calm machine, on the disk that counts. docs/performance.md says what the columns mean.
"""

from __future__ import annotations

import argparse
import os
import platform
import sqlite3
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, Literal

import anyio
from tests.benchmarks import burst, hottest, latency, mail, parked
from tests.benchmarks.alone import AT_ONCE, Measured, alone, elsewhere, statements
from tests.benchmarks.article import REQUESTER, REVIEWER, Article, ArticleInThreads
from tests.benchmarks.costs import Cost, middle
from tests.benchmarks.peers import table as peers
from tests.benchmarks.peers.timing import STATE

from signoff import Client, Flow
from signoff.security.keyring import Keyring
from signoff.stores import SQLiteStore

Synchronous = Literal["FULL", "NORMAL"]

PARTS: Final = (
    "rates",
    "stores",
    "statements",
    "bytes",
    "profile",
    "mail",
    "import",
    "latency",
    "peers",
    "peers-postgres",
    "burst",
    "parked",
    "million",
)


# The floor.


def floor(folder: Path, synchronous: Synchronous, *, times: int) -> Cost:
    """Insert, decide by a conditional update, update: one commit each, on one connection."""
    path = folder / f"floor-{synchronous}-{time.monotonic_ns()}.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {synchronous}")
        connection.execute("CREATE TABLE runs (id TEXT PRIMARY KEY, status TEXT, body BLOB)")
        body = STATE.encode()
        began, cpu = time.perf_counter(), time.process_time()
        for number in range(times):
            run_id = f"run_{number}"
            connection.execute("INSERT INTO runs VALUES (?, 'suspended', ?)", [run_id, body])
            connection.execute(
                "UPDATE runs SET status = 'approved' WHERE id = ? AND status = 'suspended'",
                [run_id],
            )
            connection.execute(
                "UPDATE runs SET status = 'completed', body = ? WHERE id = ?", [body, run_id]
            )
        return Cost(times, time.perf_counter() - began, time.process_time() - cpu)


# Pausing and resuming.


async def in_a_store(
    folder: Path, synchronous: Synchronous, flow: type[Flow], *, times: int, at_once: int
) -> Measured:
    """Measure with a database of its own."""
    path = folder / f"runs-{synchronous}-{at_once}-{time.monotonic_ns()}.db"
    return await alone(
        SQLiteStore(path, synchronous=synchronous), flow, times=times, at_once=at_once
    )


# Bytes.


async def sizes(folder: Path, *, times: int) -> tuple[float, float]:
    """Return the bytes of the file for each parked run, and for each completed one."""
    path = folder / "sizes.db"
    requests: list[tuple[str, str]] = []
    keyring = Keyring.generate()
    empty = await _size_after(path, keyring, _nothing)

    async def park(client: Client) -> None:
        for _ in range(times):
            run = await client.flows.start(Article, inputs={"text": STATE}, requester=REQUESTER)
            await client._machinery.executor.advance(run.run_id)
            (request,) = await client.hitl.list_requests(run_id=run.run_id)
            requests.append((run.run_id, request.request_id))

    async def finish(client: Client) -> None:
        for run_id, request_id in requests:
            await client.hitl.approve(request_id=request_id, reviewer=REVIEWER)
            await client._machinery.executor.advance(run_id)

    parked = await _size_after(path, keyring, park)
    finished = await _size_after(path, keyring, finish)
    return (parked - empty) / times, (finished - empty) / times


async def _nothing(_client: Client) -> None:
    """Leave the database as it is."""


async def _size_after(
    path: Path, keyring: Keyring, work: Callable[[Client], Awaitable[None]]
) -> int:
    async with Client(SQLiteStore(path), keyring=keyring) as client:
        await work(client)
    with closing(sqlite3.connect(path)) as connection:
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        (free,) = connection.execute("PRAGMA freelist_count").fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    return int((pages - free) * size)


# Imports.


def import_ms(code: str) -> float:
    """Return the processor time of some imports in a fresh interpreter, the least of nine."""
    timed_code = f"import time\nt = time.process_time()\n{code}\nprint(time.process_time() - t)"
    command = [sys.executable, "-I", "-c", timed_code]
    return min(
        float(subprocess.run(command, check=True, capture_output=True, text=True).stdout) * 1000
        for _ in range(9)
    )


# The tables.


def rates(folder: Path, modes: list[Synchronous], *, times: int, rounds: int) -> None:
    """Print how often a second, and what it costs."""
    print("| store | at once | pause/s | decide/s | resume/s | whole/s | floor/s | ratio |")
    print("|---|---|---|---|---|---|---|---|")
    costs: list[str] = []
    for mode in modes:
        for at_once in AT_ONCE:
            floors: list[Cost] = []
            found: list[Measured] = []
            for _ in range(rounds):
                floors.append(floor(folder, mode, times=times))
                one_round = partial(in_a_store, folder, mode, Article, times=times, at_once=at_once)
                found.append(anyio.run(one_round))
            lowest = middle(floors)
            one = sorted(found, key=lambda each: each.whole.rate)[len(found) // 2]
            print(
                f"| {mode} | {at_once} | {one.pause.rate:,.0f} | {one.decide.rate:,.0f}"
                f" | {one.resume.rate:,.0f} | {one.whole.rate:,.0f} | {lowest.rate:,.0f}"
                f" | {one.whole.rate / lowest.rate:.2f} |",
                flush=True,
            )
            least = [
                min(each.cpu_ms for each in costs_of)
                for costs_of in zip(
                    *((each.pause, each.decide, each.resume) for each in found), strict=True
                )
            ]
            costs.append(
                f"| {mode} | {at_once} | {least[0]:.2f} | {least[1]:.2f} | {least[2]:.2f}"
                f" | {min(each.cpu_ms for each in floors):.2f} |"
            )
    threads = anyio.run(
        partial(in_a_store, folder, modes[0], ArticleInThreads, times=times, at_once=8)
    )
    print("\n| CPU ms, the least seen | at once | pause | decide | resume | floor, all three |")
    print("|---|---|---|---|---|---|")
    print("\n".join(costs))
    print(
        f"| {modes[0]}, steps in threads | 8 | {threads.pause.cpu_ms:.2f}"
        f" | {threads.decide.cpu_ms:.2f} | {threads.resume.cpu_ms:.2f} | |"
    )


def bytes_of_runs(folder: Path) -> None:
    """Print how much the database grows."""
    parked, completed = anyio.run(partial(sizes, folder, times=200))
    print("| bytes for each run | in the file | to the state |")
    print("|---|---|---|")
    print(f"| parked | {parked:,.0f} | {parked / len(STATE):.2f} |")
    print(f"| completed | {completed:,.0f} | {completed / len(STATE):.2f} |")


def imports() -> None:
    """Print what it costs to import the library."""
    pydantic = import_ms("from pydantic import BaseModel\nclass M(BaseModel): x: int")
    both = import_ms("from pydantic import BaseModel\nclass M(BaseModel): x: int\nimport signoff")
    print("| import | CPU ms |")
    print("|---|---|")
    print(f"| pydantic with one model | {pydantic:.0f} |")
    print(f"| signoff, on top of it | {both - pydantic:.0f} |")


def main() -> None:
    """Print the tables that are wanted."""
    parser = argparse.ArgumentParser(description="What a pause and a resume cost.")
    parser.add_argument("--folder", type=Path, default=Path(), help="on the disk to measure")
    parser.add_argument("--times", type=int, default=512, help="runs for each line")
    parser.add_argument("--replies", type=int, default=1000, help="replies, and mails, each line")
    parser.add_argument("--rounds", type=int, default=3, help="the middle one is shown")
    parser.add_argument("--repeats", type=int, default=7, help="of each contender, in turns")
    parser.add_argument("--peers", type=Path, help="where the session has installed them")
    parser.add_argument("--modes", nargs="+", default=["FULL", "NORMAL"])
    parser.add_argument(
        "--parts",
        nargs="+",
        choices=PARTS,
        default=[part for part in PARTS if part != "million"],
        help="which tables; by itself all but the million, which takes a quarter of an hour",
    )
    given = parser.parse_args()
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    print(
        f"{time.strftime('%Y-%m-%d')}: {platform.machine()}, {os.cpu_count()} cores,"
        f" {platform.system()}, CPython {platform.python_version()}, SQLite"
        f" {sqlite3.sqlite_version}; load before: {load}"
    )
    with TemporaryDirectory(dir=given.folder, prefix="bench-") as name:
        folder = Path(name)
        others = peers.Environments(given.peers)
        tables: dict[str, Callable[[], None]] = {
            "rates": partial(rates, folder, given.modes, times=given.times, rounds=given.rounds),
            "bytes": partial(bytes_of_runs, folder),
            "mail": partial(mail.table, folder, times=given.replies, rounds=given.rounds),
            "import": imports,
            "peers": partial(peers.on_sqlite, folder, others, rounds=given.repeats),
            "peers-postgres": partial(peers.on_postgres, others, rounds=given.repeats),
            "burst": partial(burst.table, others, rounds=given.repeats),
            "stores": partial(elsewhere, times=given.times, rounds=given.rounds),
            "statements": statements,
            "profile": partial(hottest.table, folder),
            "latency": partial(latency.table, folder),
            "parked": partial(parked.table, folder, parked.MANY),
            "million": partial(parked.table, folder, parked.MILLION),
        }
        for part in PARTS:
            if part in given.parts:
                print()
                tables[part]()


if __name__ == "__main__":
    main()
