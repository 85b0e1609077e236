"""LangGraph with its asynchronous SQLite saver: three nodes, of which the second interrupts."""

from __future__ import annotations

import asyncio
from pathlib import Path

from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.types import Command, interrupt
from tests.benchmarks.peers.langgraph_article import Article, builder_of, thread
from tests.benchmarks.peers.timing import STATE, Asked, asked, in_tasks, tell


async def draft(_state: Article) -> Article:
    """Write."""
    return {"copy": "copy"}


async def review(state: Article) -> Article:
    """Ask."""
    return {"answer": interrupt({"question": "Publish this?", "copy": state["copy"]})}


async def publish(state: Article) -> Article:
    """Publish."""
    return {"published": f"published {state['copy']}"}


async def measure(asked: Asked) -> None:
    """Pause all, resume all."""
    path = Path(asked.place, "checkpoints.db")
    async with AsyncSqliteSaver.from_conn_string(str(path)) as saver:
        await saver.setup()
        # What Python's sqlite3 has by itself is a matter of how SQLite was built.
        await saver.conn.execute("PRAGMA synchronous = FULL")
        graph = builder_of(draft, review, publish).compile(checkpointer=saver)
        ended: list[object] = []

        async def pause(number: int) -> None:
            found = await graph.ainvoke({"text": STATE}, thread(number))
            assert found["__interrupt__"]

        async def resume(number: int) -> None:
            found = await graph.ainvoke(Command(resume="approved"), thread(number))
            ended.append(found["published"])

        phases = await in_tasks(pause, resume, asked)
    tell("langgraph", "AsyncSqliteSaver", phases, ended=ended)


if __name__ == "__main__":
    asyncio.run(measure(asked()))
