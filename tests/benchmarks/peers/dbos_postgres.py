"""DBOS on PostgreSQL: a workflow of two steps that receives a message between them."""

from __future__ import annotations

import asyncio
from typing import Final
from uuid import uuid4

from dbos import DBOS, DBOSConfig, SetWorkflowID
from tests.benchmarks.peers.timing import STATE, Asked, asked, in_tasks, tell

NAMES: Final = uuid4().hex

reached: dict[str, asyncio.Event] = {}
"""By workflow: whether it is about to receive."""


@DBOS.step()
async def draft(text: str) -> str:
    """Write."""
    assert text == STATE
    return "copy"


@DBOS.step()
async def publish(copy: str) -> str:
    """Publish."""
    return f"published {copy}"


@DBOS.workflow()
async def article(text: str) -> str:
    """Write, wait for the answer, publish."""
    copy = await draft(text)
    event = reached.get(DBOS.workflow_id or "")
    if event is not None:
        event.set()
    answer = await DBOS.recv_async("answer", timeout_seconds=600)
    assert answer == "approved"
    published: str = await publish(copy)
    return published


def launch(address: str, *, executor: str) -> None:
    """Start DBOS, with a database of its own on the server."""
    config: DBOSConfig = {
        "name": "article",
        "system_database_url": address.rsplit("/", 1)[0] + "/dbos",
        "executor_id": executor,
        "application_version": "1",
        "log_level": "ERROR",
    }
    DBOS(config=config)
    DBOS.launch()


async def measure(asked: Asked) -> None:
    """Pause all, resume all."""
    launch(asked.place, executor="one")
    handles = {}
    ended: list[object] = []

    async def pause(number: int) -> None:
        name = f"{NAMES}-{number}"
        reached[name] = asyncio.Event()
        with SetWorkflowID(name):
            handles[name] = await DBOS.start_workflow_async(article, STATE)
        await reached[name].wait()

    async def resume(number: int) -> None:
        name = f"{NAMES}-{number}"
        await DBOS.send_async(name, "approved", "answer")
        ended.append(await handles[name].get_result())

    phases = await in_tasks(pause, resume, asked)
    tell("dbos", "workflows on PostgreSQL", phases, ended=ended)
    DBOS.destroy()


if __name__ == "__main__":
    asyncio.run(measure(asked()))
