"""LangGraph with its blocking SQLite saver, in threads: three nodes, of which the second interrupts."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.types import Command, interrupt
from tests.benchmarks.peers.langgraph_article import Article, builder_of, thread
from tests.benchmarks.peers.timing import STATE, Asked, asked, in_threads, tell


def draft(_state: Article) -> Article:
    """Write."""
    return {"copy": "copy"}


def review(state: Article) -> Article:
    """Ask."""
    return {"answer": interrupt({"question": "Publish this?", "copy": state["copy"]})}


def publish(state: Article) -> Article:
    """Publish."""
    return {"published": f"published {state['copy']}"}


def measure(asked: Asked) -> None:
    """Pause all, resume all."""
    path = Path(asked.place, "checkpoints.db")
    with closing(sqlite3.connect(path, check_same_thread=False)) as connection:
        connection.execute("PRAGMA synchronous = FULL")
        saver = SqliteSaver(connection)
        saver.setup()
        graph = builder_of(draft, review, publish).compile(checkpointer=saver)
        ended: list[object] = []

        def pause(number: int) -> None:
            found = graph.invoke({"text": STATE}, thread(number))
            assert found["__interrupt__"]

        def resume(number: int) -> None:
            found = graph.invoke(Command(resume="approved"), thread(number))
            ended.append(found["published"])

        phases = in_threads(pause, resume, asked)
    tell("langgraph", "SqliteSaver", phases, ended=ended)


if __name__ == "__main__":
    measure(asked())
