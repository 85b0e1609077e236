"""Many parked runs: they cost rows, and nothing that grows while they wait or are decided."""

from __future__ import annotations

import gc
import importlib.util
import os
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import anyio
import psycopg
import pytest
from typing_extensions import override

from signoff import Client, Flow, HumanFeedbackResult, human_feedback, listen, start
from signoff.ports import Store
from signoff.security.keyring import Keyring
from signoff.testing import FaultyStore

OpenStore: TypeAlias = Callable[[Path], Store]

THREADS_OF_ALL = 50
"""What the pools of worker threads may grow to, however many runs there are."""
CONNECTIONS_OF_A_STORE = 10
PARKED = 100_000
ROUNDS = 10
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Parked(Flow, name="soak.parked"):
    """A question, and what is done with its answer."""

    @start()
    @human_feedback("Publish?", emit=["approved", "rejected"])
    async def draft(self) -> str:
        """Ask."""
        return "copy"

    @listen("approved")
    async def publish(self, result: HumanFeedbackResult) -> str:
        """End."""
        return str(result.output)


@dataclass(frozen=True, slots=True)
class Use:
    """
    What a process uses.

    Attributes:
        resident: Its memory in bytes.
        descriptors: Its open files.
        threads: Its threads.
    """

    resident: int
    descriptors: int
    threads: int

    @classmethod
    def now(cls) -> Use:
        """Look."""
        gc.collect()
        resident = int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_BYTES
        descriptors = len(list(Path("/proc/self/fd").iterdir()))
        return cls(resident, descriptors, threading.active_count())


async def park(client: Client, number: int) -> None:
    """Start runs, and let them ask."""
    for _ in range(0, number, 100):
        for _ in range(min(100, number)):
            await client.flows.start(Parked)
        await client.drain()


async def decide(client: Client, number: int) -> None:
    """Answer so many requests, and let the runs end."""
    for request in await client.hitl.list_requests(status="pending", limit=number):
        await client.hitl.approve(request_id=request.request_id)
    await client.drain()


async def soak(open_store: OpenStore, folder: Path, *, runs: int, rounds: int) -> list[Use]:
    """Park runs; then, again and again, decide some of them and look for work that is not there."""
    used: list[Use] = []
    async with Client(open_store(folder)) as client:
        await park(client, runs)
        some = max(1, runs // 100 // rounds)
        for _ in range(rounds):
            await decide(client, some)
            for _ in range(5):
                report = await client.drain()
                assert report.passes == 1
            used.append(await anyio.to_thread.run_sync(Use.now))
        stats = await client.hitl.get_stats()
    assert (stats.pending, stats.approved) == (runs - rounds * some, rounds * some)
    return used


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="Linux tells what is used")
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_hundreds_of_parked_runs_hold_nothing_open(
    open_store: OpenStore, tmp_path: Path
) -> None:
    """Reliability 14: neither a file nor a thread for any of them."""
    used = await soak(open_store, tmp_path, runs=300, rounds=3)
    assert len({one.descriptors for one in used}) == 1
    assert max(one.threads for one in used) < THREADS_OF_ALL


class Counting(FaultyStore):
    """A store that counts how often it is asked."""

    asked = 0

    @override
    def _working(self) -> Store:
        self.asked += 1
        return super()._working()


async def idle(client: Client, store: Counting) -> int:
    """Look for work that is not there; return how often the store was asked."""
    await client.drain()
    began = store.asked
    for _ in range(20):
        report = await client.drain()
        assert report.passes == 1
    return store.asked - began


@pytest.fixture(name="fill")
def _fill(request: pytest.FixtureRequest, store_name: str) -> Callable[[Path, int], None]:
    """Return what adds parked runs in bulk over the data in a folder, where one run is parked."""
    path = Path(__file__).parents[1] / "benchmarks" / "parked_rows.py"
    spec = importlib.util.spec_from_file_location("parked_rows", path)
    assert spec is not None
    assert spec.loader is not None
    rows = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = rows  # where dataclasses look for their module
    spec.loader.exec_module(rows)
    if store_name == "sqlite":
        return lambda folder, number: rows.fill_sqlite(folder / "signoff.db", number)
    schemas = request.getfixturevalue("schemas")
    return lambda folder, number: rows.fill_postgres(schemas.address, schemas.of(folder), number)


def connections(address: str) -> int:
    """Return how many sessions of stores there are."""
    with psycopg.connect(address) as session:
        found = session.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'signoff'"
        ).fetchone()
    return found[0] if found else 0


@pytest.mark.reliability
@pytest.mark.timeout(900)
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("open_store", ["sqlite", "postgres"], indirect=True)
async def test_a_hundred_thousand_parked_runs_cost_nothing_while_they_wait(
    open_store: OpenStore,
    store_name: str,
    fill: Callable[[Path, int], None],
    request: pytest.FixtureRequest,
    tmp_path: Path,
) -> None:
    """Reliability 14: a thousand are decided among them; memory, files, threads and statements stay as they are."""
    store, keys = Counting(open_store(tmp_path)), Keyring.generate()
    async with Client(store, keyring=keys) as client:
        await park(client, 1)
        few = await idle(client, store)
    fill(tmp_path, PARKED)

    used: list[Use] = []
    sessions: list[int] = []
    store = Counting(open_store(tmp_path))
    async with Client(store, keyring=keys) as client:
        many = await idle(client, store)
        for _ in range(ROUNDS):
            await park(client, PARKED // 100 // ROUNDS)
            page = await client.hitl.list_requests(
                status="pending", limit=PARKED // 100 // ROUNDS, newest_first=True
            )
            for asked in page:
                await client.hitl.approve(request_id=asked.request_id)
            await client.drain()
            assert await idle(client, store) == few
            used.append(await anyio.to_thread.run_sync(Use.now))
            if store_name == "postgres":
                sessions.append(connections(request.getfixturevalue("postgres")))
        stats = await client.hitl.get_stats()
    print(f"{store_name}: {few} and {many} calls in 20 idle sweeps, {sessions} sessions")  # noqa: T201 - the figures are what the test is for
    print(*used, sep="\n")  # noqa: T201 - as above
    assert (stats.pending, stats.approved) == (PARKED + 1, PARKED // 100)
    assert many == few
    assert len({one.descriptors for one in used[1:]}) == 1
    assert max(one.threads for one in used) < THREADS_OF_ALL
    assert max(sessions, default=0) <= CONNECTIONS_OF_A_STORE
    # The first rounds fill caches; what a decided run leaves behind is its rows.
    assert used[-1].resident - used[2].resident < 16_000_000
