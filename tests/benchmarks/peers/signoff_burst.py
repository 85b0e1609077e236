"""One of two workers of Signoff: many runs that are decided at once, and go on in either of them."""

from __future__ import annotations

import asyncio

from tests.benchmarks.article import REQUESTER, REVIEWER, Article
from tests.benchmarks.peers.timing import STATE, Asked, all_in_tasks, asked, done, on_your_marks
from tests.benchmarks.places import engine_named, store_at

from signoff import Client

LOOK_SECONDS = 0.02
"""How often to look whether all have got there."""


async def take_part(asked: Asked) -> None:
    """Park all; at the word, approve all, and wait until those of both workers have completed."""
    store = store_at(asked.place, schema=asked.schema)
    client = Client(store, requester=REQUESTER, engine=engine_named(asked.engine))
    async with client, client.serving():
        runs: list[str] = []
        waiting: list[str] = []

        async def start(_number: int) -> None:
            runs.append((await client.flows.start(Article, inputs={"text": STATE})).run_id)

        async def find(number: int) -> None:
            (request,) = await client.hitl.list_requests(run_id=runs[number])
            waiting.append(request.request_id)

        async def decide(number: int) -> None:
            await client.hitl.approve(request_id=waiting[number], reviewer=REVIEWER)

        async def all_are(status: str) -> None:
            while (await store.counts()).runs.get(status, 0) < 2 * asked.times:  # noqa: ASYNC110 - the other process rings no bell here
                await asyncio.sleep(LOOK_SECONDS)

        await all_in_tasks(start, range(asked.times), at_once=asked.at_once)
        await all_are("suspended")
        await all_in_tasks(find, range(asked.times), at_once=asked.at_once)
        began = await on_your_marks()
        await all_in_tasks(decide, range(asked.times), at_once=asked.at_once)
        await all_are("completed")
        await done(began)


if __name__ == "__main__":
    asyncio.run(take_part(asked()))
