"""A worker that serves until nobody speaks to it any more."""

from __future__ import annotations

import sys

import anyio
from tests.benchmarks import article
from tests.benchmarks.places import engine_named, store_at

from signoff import Client


async def serve(place: str, schema: str, engine: str) -> None:
    """Serve."""
    client = Client(
        store_at(place, schema=schema),
        requester=article.REQUESTER,
        engine=engine_named(engine),
    )
    async with client, client.serving():
        print("ready", flush=True)
        await anyio.to_thread.run_sync(sys.stdin.readline)


if __name__ == "__main__":
    _, _place, _schema, _engine = sys.argv
    anyio.run(serve, _place, _schema, _engine)
