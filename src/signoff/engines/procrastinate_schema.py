"""Procrastinate's tables, made and brought up to date by Procrastinate's own scripts (floor 4)."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, Final, TypeAlias

import psycopg
from procrastinate.schema import SchemaManager
from psycopg import sql

from signoff.errors import ConfigurationError, StoreUnavailableError

_AnyConnection: TypeAlias = "psycopg.Connection[Any]"

_LOCK: Final = "SELECT pg_advisory_xact_lock(hashtextextended('signoff jobs ' || %s::text, 0))"

_FOUND: Final = (
    "SELECT obj_description(pg_namespace.oid, 'pg_namespace') FROM pg_catalog.pg_class"
    " JOIN pg_catalog.pg_namespace ON pg_namespace.oid = relnamespace"
    " WHERE nspname = %s AND relname = 'procrastinate_jobs'"
)
"""Asks the tables themselves: what a session remembers of names may be older than a lock that it waited for."""

_CREATE: Final = "CREATE SCHEMA IF NOT EXISTS {}"
_NOTE: Final = "COMMENT ON SCHEMA {} IS {}"


def bring_up_to_date(address: str, schema: str) -> None:
    """
    Make the tables, or bring them up to date: all that is missing in one transaction, or nothing.

    Whoever comes second waits, and finds nothing left to do. How far they are is noted in the
    comment on the schema; one without such a note was made by somebody else, who sees to it.

    Args:
        address: Where the database is, with names looked up in the schema.
        schema: The plain name of it.

    Raises:
        ConfigurationError: This role may not make them.
        StoreUnavailableError: The server cannot be reached, or failed.
    """
    try:
        with psycopg.connect(address, autocommit=True) as session:
            if _missing(session, schema) != []:
                with session.transaction():
                    session.execute(_LOCK, (schema,))
                    _make(session, schema)
    except psycopg.errors.InsufficientPrivilege as error:
        raise ConfigurationError(
            f"this role may not make the schema {schema}, or bring it up to date: open the client"
            " once as a role that may, and see the reference of signoff.engines for what to grant"
        ) from error
    except psycopg.Error as error:
        said = " ".join(str(error).split())
        raise StoreUnavailableError(
            f"the database of the jobs cannot be used ({type(error).__name__}: {said})"
        ) from error


def _make(session: _AnyConnection, schema: str) -> None:
    missing = _missing(session, schema)
    name = sql.Identifier(schema)
    if missing is None:
        session.execute(sql.SQL(_CREATE).format(name))
        session.execute(SchemaManager.get_schema())
    for migration in missing or ():
        session.execute(migration.read_bytes())
    if missing != []:
        session.execute(sql.SQL(_NOTE).format(name, sql.Literal(_migrations()[-1].name)))


def _missing(session: _AnyConnection, schema: str) -> list[Path] | None:
    """Return which migrations are still to be made; `None` where there are no tables."""
    row = session.execute(_FOUND, (schema,)).fetchone()
    if row is None:
        return None
    noted: str | None = row[0]
    return [] if noted is None else [one for one in _migrations() if one.name > noted]


@cache
def _migrations() -> tuple[Path, ...]:
    """Return Procrastinate's migrations, oldest first."""
    return tuple(sorted(Path(SchemaManager.get_migrations_path()).glob("*.sql")))
