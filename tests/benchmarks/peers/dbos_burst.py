"""One of two processes of DBOS on PostgreSQL: many workflows that receive their messages at once."""

from __future__ import annotations

import asyncio
from uuid import uuid4

from dbos import DBOS, SetWorkflowID
from tests.benchmarks.peers.dbos_postgres import article, launch, reached
from tests.benchmarks.peers.timing import (
    PUBLISHED,
    STATE,
    Asked,
    all_in_tasks,
    asked,
    done,
    on_your_marks,
)


async def take_part(asked: Asked) -> None:
    """Park all; at the word, answer all, and wait until they have ended."""
    names = uuid4().hex
    launch(asked.place, executor=names)
    handles = {}

    async def pause(number: int) -> None:
        name = f"{names}-{number}"
        reached[name] = asyncio.Event()
        with SetWorkflowID(name):
            handles[name] = await DBOS.start_workflow_async(article, STATE)
        await reached[name].wait()

    async def answer(number: int) -> None:
        await DBOS.send_async(f"{names}-{number}", "approved", "answer")

    await all_in_tasks(pause, range(asked.times), at_once=asked.at_once)
    began = await on_your_marks()
    await all_in_tasks(answer, range(asked.times), at_once=asked.at_once)
    ended = [await handle.get_result() for handle in handles.values()]
    assert ended == [PUBLISHED] * asked.times
    await done(began)
    DBOS.destroy()


if __name__ == "__main__":
    asyncio.run(take_part(asked()))
