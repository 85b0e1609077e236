"""What a worker takes for its requests among many parked ones; a process of its own, for its memory."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import anyio
from tests.benchmarks.article import REQUESTER, REVIEWER, Article
from tests.benchmarks.places import store_at

from signoff import Client

SAMPLES: Final = 100


@dataclass(frozen=True)
class Found:
    """
    Milliseconds of each call, and what the process takes.

    Attributes:
        page: The first page of what is pending.
        own: The first page of one reviewer.
        decide: One approval.
        sweep: A look for all that is due.
        count: The counts of everything.
        resident: Bytes of memory at the end.
    """

    page: list[float]
    own: list[float]
    decide: list[float]
    sweep: list[float]
    count: list[float]
    resident: int


async def each(work: Callable[[int], Awaitable[object]]) -> list[float]:
    """Return how many milliseconds each of many calls took, one after the other."""
    found: list[float] = []
    for number in range(SAMPLES):
        began = time.perf_counter()
        await work(number)
        found.append((time.perf_counter() - began) * 1000)
    return found


def resident() -> int:
    """Return the memory of this process in bytes, as Linux counts it."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    (line,) = [line for line in status.splitlines() if line.startswith("VmRSS:")]
    return int(line.split()[1]) * 1024


async def measure(place: str) -> Found:
    """Park some more, by the store; list, decide and sweep."""
    async with Client(store_at(place), requester=REQUESTER) as client:
        machinery = client._machinery
        waiting: list[str] = []
        for _ in range(SAMPLES):
            run = await client.flows.start(Article)
            await machinery.executor.advance(run.run_id)
            (request,) = await client.hitl.list_requests(run_id=run.run_id)
            waiting.append(request.request_id)

        async def page(_number: int) -> None:
            await client.hitl.list_requests(status="pending")

        async def own(_number: int) -> None:
            await client.hitl.list_requests(status="pending", assignee=REVIEWER)

        async def decide(number: int) -> None:
            await client.hitl.approve(request_id=waiting[number], reviewer=REVIEWER)

        async def sweep(_number: int) -> None:
            assert not await machinery.worker.sweep()

        async def count(_number: int) -> None:
            await client.hitl.get_stats()

        pages, owns, sweeps = await each(page), await each(own), await each(sweep)
        counts = await each(count)
        decisions = await each(decide)
        return Found(pages, owns, decisions, sweeps, counts, resident())


if __name__ == "__main__":
    print(json.dumps(asdict(anyio.run(measure, sys.argv[1]))))
