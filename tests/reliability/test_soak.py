"""Many parked runs: they cost rows, and nothing that grows while they wait or are decided."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import anyio
import pytest

from signoff import Client, Flow, HumanFeedbackResult, human_feedback, listen, start
from signoff.ports import Store

OpenStore: TypeAlias = Callable[[Path], Store]

THREADS_OF_ALL = 50
"""What the pools of worker threads may grow to, however many runs there are."""
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


@pytest.mark.reliability
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_hundred_thousand_parked_runs_cost_nothing_while_they_wait(
    open_store: OpenStore, tmp_path: Path
) -> None:
    """Reliability 14: one in a hundred is decided, and memory, files and threads stay as they are."""
    used = await soak(open_store, tmp_path, runs=100_000, rounds=10)
    print(*used, sep="\n")  # noqa: T201 - the figures are what the test is for
    assert len({one.descriptors for one in used}) == 1
    assert max(one.threads for one in used) < THREADS_OF_ALL
    # The first rounds fill caches; what a decided run leaves behind is its rows.
    growth = used[-1].resident - used[2].resident
    assert growth < 16_000_000
