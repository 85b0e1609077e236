"""Signoff's flow of three steps, on SQLite with FULL or on PostgreSQL, by what its workers call."""

from __future__ import annotations

import asyncio
from uuid import uuid4

from tests.benchmarks.article import REQUESTER, REVIEWER, Article
from tests.benchmarks.peers.timing import STATE, Asked, asked, in_tasks, tell
from tests.benchmarks.places import store_at

from signoff import Client
from signoff.security.keyring import Keyring


async def measure(asked: Asked) -> None:
    """Pause all, resume all."""
    store = store_at(asked.place, schema=f"bench_{uuid4().hex}")
    async with Client(store, keyring=Keyring.generate(), requester=REQUESTER) as client:
        advance = client._machinery.executor.advance
        runs: dict[int, str] = {}
        waiting: dict[int, str] = {}

        async def pause(number: int) -> None:
            run = await client.flows.start(Article, inputs={"text": STATE})
            await advance(run.run_id)
            runs[number] = run.run_id

        async def look_up(number: int) -> None:
            (request,) = await client.hitl.list_requests(run_id=runs[number], status="pending")
            waiting[number] = request.request_id

        async def resume(number: int) -> None:
            await client.hitl.approve(request_id=waiting[number], reviewer=REVIEWER)
            await advance(runs[number])

        phases = await in_tasks(pause, resume, asked, between=look_up)
        ended = [(await client.flows.get(run_id)).output for run_id in runs.values()]
    tell("signoff", type(store).__name__, phases, ended=ended)


if __name__ == "__main__":
    asyncio.run(measure(asked()))
