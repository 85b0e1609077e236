"""`signoff worker`: real processes that are told to stop, that die, and that are started wrongly."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import anyio
import pytest

from signoff import Client, Flow, start
from signoff.model.changes import Acquire, Changes
from signoff.stores import SQLiteStore

pytestmark = pytest.mark.timeout(120)

Command = Callable[..., "subprocess.Popen[str]"]

PATIENCE = timedelta(seconds=60)
BRIEFLY = timedelta(milliseconds=50)


class Job(Flow, name="cli.job"):
    """Two steps, whose code is in another process."""

    @start()
    async def first(self) -> str:
        """Be somewhere else."""
        raise AssertionError


class Stuck(Job, name="cli.stuck"):
    """A step that does not end."""


class Deadly(Flow, name="cli.deadly"):
    """A step that takes its process along, but for this one, where whoever retries may advance it."""

    @start()
    async def first(self) -> str:
        """Do as the worker that was mended does."""
        return "cured"


def heard(process: subprocess.Popen[str]) -> str:
    """Return the next line that a process prints."""
    assert process.stdout is not None
    return process.stdout.readline()


def test_a_worker_that_is_told_to_stop_lets_the_step_that_runs_come_to_its_end(
    folder: Path, command: Command
) -> None:
    """SIGTERM in the middle of a step: the step ends, its run goes on to its end, the exit is 0."""

    async def ask() -> str:
        async with client_in(folder) as client:
            return (await client.flows.start(Job)).run_id

    async def look(run_id: str) -> object:
        async with client_in(folder) as client:
            return (await client.flows.get(run_id)).output

    run_id = anyio.run(ask)
    worker = command("worker", "work:client", "--grace", "50")
    assert heard(worker) == "begun\n"
    worker.send_signal(signal.SIGTERM)
    _, said = worker.communicate("go on\n", timeout=60)

    assert worker.returncode == 0, said
    assert "SIGTERM: stopping, within 50 s" in said
    assert "stopped" in said
    assert anyio.run(look, run_id) == "first and second"


@pytest.mark.parametrize("grace", ["0", "1000"])
def test_what_does_not_end_in_time_is_given_back_and_gone_on_with_at_once(
    folder: Path, command: Command, grace: str
) -> None:
    """After the grace, or a second signal: nothing is lost, and no lease has to lapse first."""

    async def ask() -> str:
        async with client_in(folder) as client:
            return (await client.flows.start(Stuck)).run_id

    async def wait(run_id: str) -> object:
        async with client_in(folder) as client:
            return (await client.flows.wait(run_id, timeout=PATIENCE)).output

    async def held(run_id: str) -> object:
        async with SQLiteStore(folder / "work.db") as store:
            return await store.live_claims(run_id)

    run_id = anyio.run(ask)
    worker = command("worker", "work:make_client", "--grace", grace)
    assert heard(worker) == "begun\n"
    worker.send_signal(signal.SIGINT)
    if grace == "1000":
        assert worker.stderr is not None
        while "stopping" not in worker.stderr.readline():
            pass
        worker.send_signal(signal.SIGINT)
    worker.communicate(timeout=60)
    assert worker.returncode == 0
    assert anyio.run(held, run_id) == []

    other = command("worker", "work:make_client", CURED="yes")
    assert anyio.run(wait, run_id) == "cured"
    other.send_signal(signal.SIGTERM)
    other.communicate(timeout=60)
    assert other.returncode == 0


def test_a_run_that_kills_its_workers_is_set_aside_and_can_be_brought_back(
    folder: Path, command: Command
) -> None:
    """Ten deaths in a row: blocked as poison, with how many; `flows.retry` lets it go on."""

    async def ask() -> str:
        async with SQLiteStore(folder / "work.db") as store, client_in(folder) as client:
            run_id = (await client.flows.start(Deadly)).run_id
            # Nine workers that died before; the tenth is a real one.
            for number in range(1, 10):
                death = Acquire(
                    subject=run_id, holder=f"worker {number}", fencing=number, lease=timedelta(0)
                )
                await store.commit(Changes(claims=(death,)))
        return run_id

    async def bring_back(run_id: str) -> object:
        async with client_in(folder) as client:
            with anyio.fail_after(PATIENCE.total_seconds()):
                while (run := await client.flows.wait(run_id, timeout=BRIEFLY)).status != "blocked":
                    pass
            assert run.blocked_reason == "poison"
            assert run.blocked_detail == "10 workers in a row ended while they had this run"
            assert [one.run_id for one in (await client.health()).blocked] == [run_id]
            await client.flows.retry(run_id, by="ops@acme.example")
            return (await client.flows.wait(run_id, timeout=PATIENCE)).output

    run_id = anyio.run(ask)
    tenth = command("worker", "work:client")
    tenth.communicate(timeout=60)
    assert tenth.returncode == 77
    survivor = command("worker", "work:client", CURED="yes")
    assert anyio.run(bring_back, run_id) == "cured"
    survivor.send_signal(signal.SIGTERM)
    survivor.communicate(timeout=60)
    assert survivor.returncode == 0


def client_in(folder: Path) -> Client:
    """Return a client of this process over the program's file."""
    return Client(SQLiteStore(folder / "work.db"))
