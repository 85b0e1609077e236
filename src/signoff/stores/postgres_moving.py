"""What a `PostgresStore` keeps, as plain rows and back (floor 4)."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import psycopg
from psycopg import sql
from psycopg.rows import DictRow, dict_row, tuple_row
from typing_extensions import override

from signoff.errors import StoreUnavailableError
from signoff.model.changes import Claim
from signoff.records import instant_of
from signoff.stores.moving import TABLES, Books, Row, Table, Value
from signoff.stores.postgres_errors import explained
from signoff.stores.postgres_pool import Server, Session, configure
from signoff.stores.postgres_schema import bring_up_to_date, is_made
from signoff.stores.postgres_work import live_claims

_PAGE = 500
"""How many rows are fetched at once."""


_PATIENCE: Final = "SELECT set_config('lock_timeout', %s, true)"


@contextmanager
def postgres_books(server: Server, *, make: bool) -> Generator[Books]:
    """
    Give access to everything in a schema, while nobody else writes to it.

    Raises:
        StoreUnavailableError: There is none, and it is not to be made; or the server cannot be
            reached, or refuses.
        SchemaError: It is another program's, or a newer Signoff's.
    """
    with server.session() as session:
        if not make and not is_made(session):
            raise StoreUnavailableError(f"there are no tables of a store at {server.place}")
        bring_up_to_date(session, server.place)
    try:
        with psycopg.Connection[DictRow].connect(
            server.address, row_factory=dict_row, prepare_threshold=None
        ) as connection:
            configure(connection)
            connection.execute(_PATIENCE, (f"{server.patience * 1000:.0f}",))
            names = sql.SQL(", ").join(_place(server.schema, table) for table in TABLES)
            connection.execute(sql.SQL("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE").format(names))
            yield _PostgresBooks(Session(connection, server.schema, server.clock))
    except (psycopg.Error, UnicodeEncodeError) as error:
        raise explained(error, server.place) from error


class _PostgresBooks(Books):
    def __init__(self, session: Session) -> None:
        self._session = session
        self._connection = session.connection
        self._schema = session.schema

    @override
    def live_claims(self) -> Sequence[Claim]:
        return live_claims(self._session, "")

    @override
    def rows(self, table: Table) -> Iterator[Row]:
        query = sql.SQL("SELECT {} FROM {} ORDER BY {}").format(
            _names(table.columns), _place(self._schema, table), _names(table.order)
        )
        with self._connection.cursor("moving", binary=True, row_factory=tuple_row) as cursor:
            cursor.itersize = _PAGE
            for row in cursor.execute(query):
                yield tuple(int(one) if isinstance(one, bool) else one for one in row)

    @override
    def add(self, table: Table, rows: Iterable[Row]) -> None:
        names = table.columns
        if table.name == "claims":
            names = (*names, "ends")
        query = sql.SQL("COPY {} ({}) FROM STDIN").format(
            _place(self._schema, table), _names(names)
        )
        with self._connection.cursor() as cursor, cursor.copy(query) as copy:
            for row in rows:
                copy.write_row(_written(table, row))


def _written(table: Table, row: Row) -> list[object]:
    values: list[object] = [
        _typed(table, name, value) for name, value in zip(table.columns, row, strict=True)
    ]
    return [*values, "-infinity"] if table.name == "claims" else values


def _typed(table: Table, name: str, value: Value) -> object:
    if isinstance(value, int) and name in table.instants:
        return instant_of(value)
    return bool(value) if name in table.flags else value


def _place(schema: str, table: Table) -> sql.Identifier:
    return sql.Identifier(schema, table.name)


def _names(columns: Iterable[str]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, columns))
