"""What a `SQLiteStore` keeps, as plain rows and back (floor 4)."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager

from typing_extensions import override

from signoff.errors import StoreUnavailableError
from signoff.model.changes import Claim
from signoff.stores.lease_clock import LeaseClock
from signoff.stores.moving import Books, Row, Table
from signoff.stores.sqlite_errors import translated
from signoff.stores.sqlite_file import DatabaseFile
from signoff.stores.sqlite_work import live_claims


@contextmanager
def sqlite_books(file: DatabaseFile, lease_clock: LeaseClock, *, make: bool) -> Generator[Books]:
    """
    Give access to everything in a file, while nobody else writes to it.

    Raises:
        StoreUnavailableError: There is none, and it is not to be made; or it cannot be written.
        SchemaError: It is another program's, or a newer Signoff's.
    """
    if not make and not file.path.exists():
        raise StoreUnavailableError(f"there is no database at {file.path}")
    with translated(file.path), closing(file.open_for_writing()) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield _SQLiteBooks(connection, lease_clock)
        connection.execute("COMMIT")


class _SQLiteBooks(Books):
    def __init__(self, connection: sqlite3.Connection, lease_clock: LeaseClock) -> None:
        self._connection = connection
        self._lease_clock = lease_clock

    @override
    def live_claims(self) -> Sequence[Claim]:
        return live_claims(self._connection, "", lease_clock=self._lease_clock)

    @override
    def rows(self, table: Table) -> Iterator[Row]:
        columns, order = ", ".join(table.columns), ", ".join(table.order)
        query = f"SELECT {columns} FROM {table.name} ORDER BY {order}"  # noqa: S608 - names of ours
        for row in self._connection.execute(query):
            yield tuple(row)

    @override
    def add(self, table: Table, rows: Iterable[Row]) -> None:
        columns = ", ".join(table.columns)
        places = ", ".join("?" for _ in table.columns)
        if table.name == "claims":
            columns, places = f"{columns}, ends, epoch", f"{places}, 0, ''"
        query = f"INSERT INTO {table.name} ({columns}) VALUES ({places})"  # noqa: S608 - as above
        self._connection.executemany(query, rows)
