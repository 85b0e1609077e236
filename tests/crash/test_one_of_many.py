"""A run that kills its worker takes none of the ninety-nine others along."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import anyio
import pytest
from anyio.lowlevel import checkpoint

from signoff import Client, Flow, listen, start
from signoff.model.changes import Acquire, Changes
from signoff.security.keyring import Keyring
from signoff.stores import MemoryStore, SQLiteStore

CheckBooks = Callable[[Path], None]

RUNS = 100
KILLER = 41
"""Whose step kills the process that runs it."""

LIVES = 40
"""How many workers there are at the most, one after the other."""


def die(mark: Path) -> None:
    """Kill this process: each time, or only the first time where the mark is called so."""
    if not mark.exists():
        if mark.name == "once":
            mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)


class Busy(Flow, name="one_of_many.busy"):
    """Two steps, the first of which kills the worker in one of the runs."""

    @start()
    async def first(self) -> int:
        """Die, if it is the run that does."""
        number = int(str(self.state["number"]))
        if number == KILLER:
            die(Path(str(self.state["mark"])))
        return number

    @listen(first)
    async def second(self, number: int) -> int:
        """End."""
        return number


@pytest.mark.parametrize("how", ["once", "always"])
def test_a_kill_in_one_run_leaves_the_others_finishing(
    tmp_path: Path, check_books: CheckBooks, how: str
) -> None:
    """All end where it kills one worker; where it kills every one, it alone is set aside."""
    path = tmp_path / "signoff.db"
    done = subprocess.run(
        [sys.executable, __file__, str(path), how],
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )
    assert done.returncode == 0, done.stderr
    lives = json.loads(done.stdout)
    with closing(sqlite3.connect(path)) as connection:
        runs = [json.loads(body) for (body,) in connection.execute("SELECT body FROM runs")]
    stuck = [run for run in runs if run["status"] != "completed"]
    assert len(runs) == RUNS
    if how == "once":
        assert stuck == []
        assert lives == 2
    else:
        assert [run["state"]["number"] for run in stuck] == [KILLER]
        assert stuck[0]["status"] == "blocked"
        assert stuck[0]["blocked_reason"] == "poison"
        assert "10 workers in a row ended" in stuck[0]["blocked_detail"]
        assert lives == 11
    check_books(path)


class Watched(Flow, name="one_of_many.watched"):
    """A step that notes how many are in it at once."""

    @start()
    async def only(self) -> None:
        """Be there for a while."""
        PRESENT.add(self.flow_id)
        MOST.append(len(PRESENT))
        for _ in range(100):
            await checkpoint()
        PRESENT.discard(self.flow_id)


PRESENT: set[str] = set()
MOST: list[int] = []


@pytest.mark.parametrize(("deaths", "alone"), [(4, False), (5, True)])
@pytest.mark.parametrize("serving", [False, True])
async def test_runs_whose_workers_died_often_are_driven_one_by_one(
    deaths: int, alone: bool, serving: bool
) -> None:
    """From the fifth death in a row on, so that the one that kills is found; else all at once."""
    MOST.clear()
    store = MemoryStore()
    async with Client(store) as client:
        runs = [await client.flows.start(Watched) for _ in range(4)]
        for run in runs:
            for number in range(1, deaths + 1):
                died = Acquire(
                    subject=run.run_id, holder="dead", fencing=number, lease=timedelta(0)
                )
                await store.commit(Changes(claims=(died,)))
        if serving:
            async with client.serving():
                for run in runs:
                    await client.flows.wait(run.run_id, timeout=timedelta(seconds=20))
        else:
            await client.drain()
        ends = {(await client.flows.get(run.run_id)).status for run in runs}
    assert ends == {"completed"}
    assert (max(MOST) == 1) is alone


async def begin(path: Path, keys: Keyring, how: str) -> None:
    """Start all runs."""
    async with Client(SQLiteStore(path), keyring=keys) as client:
        for number in range(RUNS):
            inputs = {"number": number, "mark": str(path.with_name(how))}
            await client.flows.start(Busy, inputs=inputs)


async def live(path: Path, keys: Keyring, number: int) -> None:
    """Do all that is to be done, as a worker that starts when the leases of the last have lapsed."""
    store = SQLiteStore(path, lease_clock=lambda: time.monotonic() + 1000 * number)
    async with Client(store, keyring=keys) as client:
        await client.drain()


def forked(work: Callable[[], object]) -> int:
    """Do `work` in a child, and return how that ended."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        except BaseException:  # noqa: BLE001 - a child must never return from here
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def main(path: Path, how: str) -> None:
    """Start the runs, and let workers live and die until one of them comes to its end."""
    keys = Keyring.generate()
    assert forked(lambda: anyio.run(begin, path, keys, how)) == 0
    ends: list[int] = []
    while 0 not in ends and len(ends) < LIVES:
        ends.append(forked(lambda: anyio.run(live, path, keys, len(ends) + 1)))
    assert Counter(ends[:-1]) == {-signal.SIGKILL: len(ends) - 1}
    sys.stdout.write(json.dumps(len(ends)))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
