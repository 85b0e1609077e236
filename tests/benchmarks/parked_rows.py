"""
Many parked runs at once, written past the store: the rows of one, again and again.

Each clone has ids, instants and a deadline of its own, and everything that a parked run has. Its
seals are those of the one that it was made from, so it can be listed and swept, not decided.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, Final, TypeAlias

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from signoff.ids import Prefix, bytes_of, id_of
from signoff.records import instant_of, micros_of

Row: TypeAlias = Mapping[str, Any]

TABLES: Final = ("runs", "occurrences", "requests", "claims", "audit", "audit_personal")
"""What a parked run has rows in, apart from what the triggers of requests fill."""

EVERY: Final = timedelta(milliseconds=1)
"""How far apart they were started."""

AT_ONCE: Final = 10_000
"""How many are written in one transaction."""

_INSTANTS: Final = ("created_at", "updated_at", "expires_at")


@dataclass(frozen=True)
class Pattern:
    """
    The one parked run.

    Attributes:
        rows: What it has, by table.
        instant: Reads an instant out of a column.
        column: Makes a column's value of an instant.
    """

    rows: Mapping[str, Sequence[Row]]
    instant: Callable[[Any], datetime]
    column: Callable[[datetime], object]

    def clones(self, count: int) -> Iterator[dict[str, list[tuple[object, ...]]]]:
        """Yield the rows of clones by table, so many at a time, oldest first."""
        for first in range(0, count, AT_ONCE):
            made: dict[str, list[tuple[object, ...]]] = {table: [] for table in TABLES}
            for number in range(first, min(count, first + AT_ONCE)):
                self._clone(number, EVERY * (count - number), made)
            yield made

    def _clone(
        self, number: int, older_by: timedelta, made: Mapping[str, list[tuple[object, ...]]]
    ) -> None:
        texts = {old: _another(old, number, older_by) for old in self._ids()}
        texts |= {_written(instant): _written(instant - older_by) for instant in self._instants()}
        in_bytes = {old.encode(): new.encode() for old, new in texts.items()}

        def changed(kind: str, value: Any) -> object:
            if kind == "bytes":
                for old, new in in_bytes.items():
                    value = value.replace(old, new)
            elif kind == "text":
                for before, after in texts.items():
                    value = value.replace(before, after)
            elif kind == "instant":
                value = self.column(self.instant(value) - older_by)
            return value

        for table, rows in self._kinds.items():
            made[table].extend(tuple(changed(*cell) for cell in row) for row in rows)

    @cached_property
    def _kinds(self) -> Mapping[str, Sequence[Sequence[tuple[str, Any]]]]:
        """Each cell, with what is to be changed in it."""
        old = [*self._ids(), *map(_written, self._instants())]
        return {
            table: [
                [(_kind(name, value, old), value) for name, value in row.items()] for row in rows
            ]
            for table, rows in self.rows.items()
        }

    def _ids(self) -> tuple[str, str]:
        return self.rows["runs"][0]["run_id"], self.rows["requests"][0]["request_id"]

    def _instants(self) -> set[datetime]:
        rows = (self.rows["runs"][0], self.rows["requests"][0])
        return {self.instant(row[name]) for row in rows for name in _INSTANTS if name in row}


def _kind(name: str, value: object, old: Sequence[str]) -> str:
    if name in _INSTANTS:
        return "instant"
    if isinstance(value, bytes) and any(text.encode() in value for text in old):
        return "bytes"
    return "text" if isinstance(value, str) and any(text in value for text in old) else ""


def _another(record_id: str, number: int, older_by: timedelta) -> str:
    raw = bytes_of(record_id)
    millis = int.from_bytes(raw[:6], "big") - older_by // timedelta(milliseconds=1)
    last = (1 << 63 | number).to_bytes(8, "big")
    prefix: Prefix = "run" if record_id.startswith("run_") else "req"
    return id_of(prefix, millis.to_bytes(6, "big") + raw[6:8] + last)


def _written(instant: datetime) -> str:
    return instant.isoformat().replace("+00:00", "Z")


def fill_sqlite(path: Path, count: int) -> None:
    """Add clones of the only run in a database that nobody has open."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.row_factory = sqlite3.Row
        rows = {
            table: [dict(row) for row in connection.execute(f"SELECT * FROM {table}")]  # noqa: S608 - names of ours
            for table in TABLES
        }
        for made in Pattern(rows, instant_of, micros_of).clones(count):
            with connection:
                for table, lines in made.items():
                    marks = ", ".join("?" * len(lines[0]))
                    connection.executemany(f"INSERT INTO {table} VALUES ({marks})", lines)  # noqa: S608 - names of ours
        # Else the system would write it while it is measured.
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


_TRIGGERED: Final = """
    INSERT INTO {schema}.request_assignees
        SELECT request_id, jsonb_array_elements_text(assignees::jsonb), status, created_at
        FROM {schema}.requests ON CONFLICT DO NOTHING;
    INSERT INTO {schema}.request_kids
        SELECT jsonb_array_elements(kids::jsonb)::smallint, request_id
        FROM {schema}.requests ON CONFLICT DO NOTHING;
    DELETE FROM {schema}.tallies;
    INSERT INTO {schema}.tallies SELECT 'run', status, 0, count(*) FROM {schema}.runs GROUP BY status;
    INSERT INTO {schema}.tallies
        SELECT 'request', status, 0, count(*) FROM {schema}.requests GROUP BY status;
"""
"""What the triggers would have written, one row after the other."""


def fill_postgres(address: str, schema: str, count: int) -> None:
    """Add clones of the only run in a schema, as a superuser, because no trigger is to run."""
    within = sql.Identifier(schema)
    with psycopg.connect(address, autocommit=True, row_factory=dict_row) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute("SET synchronous_commit = off")
        rows = {
            table: connection.execute(
                sql.SQL("SELECT * FROM {}.{}").format(within, sql.Identifier(table))
            ).fetchall()
            for table in TABLES
        }
        types = {table: _types(connection, schema, table) for table in TABLES}
        for made in Pattern(rows, _in_utc, _in_utc).clones(count):
            for table, lines in made.items():
                into = sql.SQL("COPY {}.{} FROM STDIN (FORMAT BINARY)")
                with (
                    connection.cursor() as cursor,
                    cursor.copy(into.format(within, sql.Identifier(table))) as copy,
                ):
                    copy.set_types(types[table])
                    for line in lines:
                        copy.write_row(line)
        connection.execute(sql.SQL(_TRIGGERED).format(schema=within))
        # Else the server would do so while it is measured.
        for statement in ("VACUUM ANALYZE", "CHECKPOINT"):
            connection.execute(statement)


def _types(connection: psycopg.Connection[dict[str, Any]], schema: str, table: str) -> list[str]:
    rows = connection.execute(
        "SELECT udt_name FROM information_schema.columns"
        " WHERE table_schema = %s AND table_name = %s ORDER BY ordinal_position",
        [schema, table],
    )
    return [row["udt_name"] for row in rows]


def _in_utc(instant: datetime) -> datetime:
    return instant.astimezone(UTC)
