"""Signoff's gated call on SQLite with NORMAL: submitted, approved and executed."""

from __future__ import annotations

import asyncio

from tests.benchmarks.article import REQUESTER, REVIEWER, publish
from tests.benchmarks.peers.timing import STATE, Asked, asked, in_tasks, tell
from tests.benchmarks.places import store_at

from signoff import Client
from signoff.security.keyring import Keyring


async def measure(asked: Asked) -> None:
    """Submit all, approve and execute all."""
    store = store_at(asked.place, synchronous="NORMAL")
    async with Client(store, keyring=Keyring.generate(), requester=REQUESTER) as client:
        advance = client._machinery.executor.advance
        waiting: dict[int, tuple[str, str]] = {}

        async def pause(number: int) -> None:
            request = await client.submit(publish, "copy", STATE)
            waiting[number] = (request.run_id, request.request_id)

        async def resume(number: int) -> None:
            run_id, request_id = waiting[number]
            await client.hitl.approve(request_id=request_id, reviewer=REVIEWER)
            await advance(run_id)

        phases = await in_tasks(pause, resume, asked)
        ended = [(await client.flows.get(run_id)).output for run_id, _ in waiting.values()]
    tell("signoff", "SQLiteStore", phases, ended=ended)


if __name__ == "__main__":
    asyncio.run(measure(asked()))
