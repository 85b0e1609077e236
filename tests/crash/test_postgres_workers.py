"""Workers of Procrastinate's on one PostgreSQL: bursts, kills, runs that kill, runs that are parked."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import anyio
import psycopg
import pytest
from anyio.lowlevel import checkpoint
from psycopg import sql

from signoff import Client, Flow, human_feedback, require_approval, start
from signoff.engines.procrastinate import ProcrastinateEngine
from signoff.security.keyring import Keyring
from signoff.stores.postgres import PostgresStore

KEYS: Final = Keyring.generate()
REVIEWER: Final = "cfo@acme.example"
PATIENCE: Final = timedelta(seconds=100)

WORKER: Final = """
import os, signal, sys
from datetime import timedelta
from pathlib import Path
import anyio
import signoff.worker
from signoff import Client, Flow, require_approval, start
from signoff.engines.procrastinate import ProcrastinateEngine
from signoff.stores.postgres import PostgresStore

address, schema, folder, lease, sweeps = sys.argv[1:]
folder = Path(folder)
signoff.worker.SWEEP_SECONDS = float(sweeps)

def note(name, text):
    with open(folder / name, "a") as file:
        file.write(f"{text}\\n")

@require_approval(name="workers.ship", assignees=["cfo@acme.example"])
async def ship(order: int) -> str:
    note("effects", order)
    return f"shipped {order}"

class Slow(Flow, name="workers.slow"):
    @start()
    async def work(self) -> str:
        print("begun", flush=True)
        while not (folder / "go").exists():
            await anyio.sleep(0.05)
        return f"by {os.getpid()}"

class Deadly(Flow, name="workers.deadly"):
    @start()
    def work(self) -> str:
        if not (folder / "mended").exists():
            note("deaths", os.getpid())
            os.kill(os.getpid(), signal.SIGKILL)
        return "alive"

async def work():
    lasting = timedelta(seconds=float(lease))
    engine = ProcrastinateEngine(dead_after=lasting)
    async with Client(PostgresStore(address, schema=schema), engine=engine, lease=lasting) as client:
        async with client.serving():
            print("ready", flush=True)
            await anyio.to_thread.run_sync(sys.stdin.read)

anyio.run(work)
"""


@pytest.fixture
def anyio_backend() -> str:
    """Procrastinate is asyncio-only."""
    return "asyncio"


@require_approval(name="workers.ship", assignees=[REVIEWER])
async def ship(order: int) -> str:
    """Stand for the function that the workers have."""
    raise AssertionError(order)


class Slow(Flow, name="workers.slow"):
    """Stands for the flow that the workers have."""

    @start()
    async def work(self) -> str:
        """Never run here."""
        raise AssertionError


class Deadly(Flow, name="workers.deadly"):
    """Stands for the flow that the workers have; who retries it may come first."""

    @start()
    def work(self) -> str:
        """Do it no harm."""
        return "alive"


class Parked(Flow, name="workers.parked"):
    """A question that nobody answers."""

    @start()
    @human_feedback(message="Well?", emit=["approved", "rejected"], assign_to_email=REVIEWER)
    def ask(self) -> str:
        """Return what is asked about."""
        return "a proposal"


class Place:
    """
    Where the workers of a test are.

    Attributes:
        address: The server.
        schema: The store's.
        folder: What they leave behind.
    """

    def __init__(self, address: str, schema: str, folder: Path) -> None:
        self.address = address
        self.schema = schema
        self.folder = folder
        self._workers: list[subprocess.Popen[bytes]] = []

    def worker(self, *, lease: float = 30, sweeps: float = 3600) -> subprocess.Popen[bytes]:
        """Start a worker, and return it once it serves."""
        command = [sys.executable, "-c", WORKER, self.address, self.schema, str(self.folder)]
        worker = subprocess.Popen(
            [*command, str(lease), str(sweeps)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self._workers.append(worker)
        said = self.hear(worker)
        assert said in {"ready", ""}, said
        return worker

    @staticmethod
    def hear(worker: subprocess.Popen[bytes]) -> str:
        """Return the next line that a worker prints; nothing of one that has died."""
        assert worker.stdout is not None
        return worker.stdout.readline().decode().strip()

    def client(self) -> Client:
        """Return a client that only asks."""
        store = PostgresStore(self.address, schema=self.schema)
        return Client(store, keyring=KEYS, engine=ProcrastinateEngine())

    def lines(self, name: str) -> list[str]:
        """Return what the workers have noted."""
        return (self.folder / name).read_text().split()

    def jobs(self) -> list[tuple[Any, ...]]:
        """Return all jobs."""
        with psycopg.connect(self.address) as session:
            table = sql.Identifier(f"{self.schema}_jobs", "procrastinate_jobs")
            return session.execute(
                sql.SQL("SELECT status::text, queueing_lock FROM {}").format(table)
            ).fetchall()

    @contextmanager
    def all_ended(self) -> Iterator[None]:
        """Leave no worker behind, nor the jobs."""
        try:
            yield
        finally:
            for worker in self._workers:
                worker.kill()
                worker.communicate()
            with psycopg.connect(self.address, autocommit=True) as session:
                jobs = sql.Identifier(f"{self.schema}_jobs")
                session.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(jobs))


@pytest.fixture(name="place")
def _place(
    postgres: str, postgres_schema: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Place]:
    """Yield a place for workers, all of which have the same keys."""
    monkeypatch.setenv("SIGNOFF_KEY", KEYS.to_text())
    place = Place(postgres, postgres_schema, tmp_path)
    with place.all_ended():
        yield place


@pytest.mark.timeout(150)
async def test_two_workers_end_a_burst_of_decided_runs_once_each(place: Place) -> None:
    """By jobs alone, because nobody sweeps; each effect is there once, and no job is left."""
    async with place.client() as client:
        workers = [place.worker() for _ in range(2)]
        requests = [await client.submit(ship, order, key=f"order-{order}") for order in range(40)]
        for request in requests:
            await client.hitl.approve(request_id=request.request_id, reviewer=REVIEWER)
        outputs = [
            (await client.flows.wait(request.run_id, timeout=PATIENCE)).output
            for request in requests
        ]
        for worker in workers:
            worker.communicate(timeout=60)

    assert outputs == [f"shipped {order}" for order in range(40)]
    assert Counter(place.lines("effects")) == Counter(str(order) for order in range(40))
    assert [worker.returncode for worker in workers] == [0, 0]
    assert place.jobs() == []


@pytest.mark.timeout(150)
async def test_what_a_killed_worker_had_is_taken_over(place: Place) -> None:
    """By another one, once the lease has run out; the job of the dead one is gone in the end."""
    async with place.client() as client:
        killed = place.worker(lease=2)
        run = await client.flows.start(Slow)
        assert place.hear(killed) == "begun"
        killed.kill()
        other = place.worker(lease=2, sweeps=1)
        assert place.hear(other) == "begun"
        (place.folder / "go").touch()
        ended = await client.flows.wait(run.id, timeout=PATIENCE)
        other.communicate(timeout=60)

    assert ended.output == f"by {other.pid}"
    assert other.returncode == 0
    assert place.jobs() == []


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_a_run_that_kills_its_workers_is_set_aside(place: Place) -> None:
    """After ten of them, with what it did; another run goes on, and mended it can be retried."""
    async with place.client() as client:
        run = await client.flows.start(Deadly)
        for _ in range(10):
            worker = place.worker(lease=1, sweeps=0.1)
            await anyio.to_thread.run_sync(worker.wait)
            assert worker.returncode == -signal.SIGKILL
        last = place.worker(lease=1, sweeps=0.1)
        with anyio.fail_after(60):
            while (found := await client.flows.get(run.id)).status != "blocked":
                await checkpoint()
        assert found.blocked_reason == "poison"
        assert found.blocked_detail == "10 workers in a row ended while they had this run"
        assert len(place.lines("deaths")) == 10
        assert (await client.health()).blocked

        request = await client.submit(ship, 1, key="order-1")
        await client.hitl.approve(request_id=request.request_id, reviewer=REVIEWER)
        other = await client.flows.wait(request.run_id, timeout=PATIENCE)
        assert other.output == "shipped 1"

        (place.folder / "mended").touch()
        await client.flows.retry(run.id)
        ended = await client.flows.wait(run.id, timeout=PATIENCE)
        assert ended.output == "alive"
        last.communicate(timeout=60)
    assert last.returncode == 0


@pytest.mark.timeout(120)
async def test_runs_that_are_parked_have_no_jobs(place: Place) -> None:
    """A hundred wait for a person, and nothing of them waits in the engine."""
    async with place.client() as client, client.serving():
        runs = [await client.flows.start(Parked) for _ in range(100)]
        with anyio.fail_after(PATIENCE.total_seconds()):
            while (await client.hitl.get_stats()).pending < len(runs) or place.jobs():
                await checkpoint()

    assert place.jobs() == []


@pytest.mark.timeout(150)
async def test_a_worker_that_stops_hands_on_what_it_is_at(place: Place) -> None:
    """To one that serves, at once: before the lease has run out, and with nobody sweeping."""
    async with place.client() as client:
        stopped = place.worker()
        run = await client.flows.start(Slow)
        assert place.hear(stopped) == "begun"
        other = place.worker()
        stopped.communicate(timeout=60)
        assert place.hear(other) == "begun"
        (place.folder / "go").touch()
        ended = await client.flows.wait(run.id, timeout=PATIENCE)
        other.communicate(timeout=60)

    assert ended.output == f"by {other.pid}"
    assert [stopped.returncode, other.returncode] == [0, 0]
    assert os.getpid() not in {stopped.pid, other.pid}
