"""Where a store under measurement is: in a folder, or in a schema on a server."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal

from tests.postgres_cluster import Cluster, binaries

from signoff.ports import Engine, Store
from signoff.stores import SQLiteStore

SCHEMA: Final = "bench"


def file_in(place: str) -> Path:
    """Return the database in a folder."""
    return Path(place, "runs.db")


def store_at(
    place: str, *, schema: str = SCHEMA, synchronous: Literal["FULL", "NORMAL"] = "FULL"
) -> Store:
    """Return a store over a folder's file, or over a schema at the address of a server."""
    if not place.startswith("postgresql:"):
        return SQLiteStore(file_in(place), synchronous=synchronous)
    from signoff.stores.postgres import PostgresStore  # noqa: PLC0415 - an extra

    return PostgresStore(place, schema=schema)


def engine_named(name: str) -> Engine | None:
    """Return the engine `procrastinate`, or none, for the one that a client has by itself."""
    if name != "procrastinate":
        return None
    from signoff.engines.procrastinate import ProcrastinateEngine  # noqa: PLC0415 - an extra

    return ProcrastinateEngine()


@contextmanager
def postgres() -> Generator[str | None]:
    """Yield the address of a new server that waits for its disk; `None` where there is none."""
    found = binaries()
    if found is None:
        yield None
        return
    with Cluster(found, durable=True) as cluster:
        yield cluster.address
