"""Whose database it is, and which migrations bring it up to date (floor 4)."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Final

from signoff.errors import SchemaError

APPLICATION_ID: Final = 0x5369676E
"""`Sign` in ASCII: `PRAGMA application_id` of a database that is ours."""


@cache
def migrations() -> tuple[str, ...]:
    """Return the scripts that make the schema, first one first; `user_version` counts them."""
    folder = files("signoff.stores") / "schema"
    scripts = sorted(folder.iterdir(), key=lambda script: script.name)
    return tuple(script.read_text(encoding="utf-8") for script in scripts)


def check_ours(connection: sqlite3.Connection, path: Path) -> None:
    """
    Check that a database is empty, or one of Signoff that this code can read.

    Call it in a transaction.

    Raises:
        SchemaError: It is neither.
    """
    version = _pragma(connection, "user_version")
    if _pragma(connection, "application_id") == APPLICATION_ID:
        if version > len(migrations()):
            raise SchemaError(
                f"{path} has schema version {version}, and this Signoff knows up to"
                f" {len(migrations())}; a newer one made it, and it was left as it is:"
                " upgrade this process"
            )
    elif not _is_empty(connection):
        raise SchemaError(
            f"{path} is a database of another program, and was left as it is; give another path"
        )


def look_whose(connection: sqlite3.Connection, path: Path) -> None:
    """
    Check as `check_ours` does, on one state of the file: another process may just be making it.

    Raises:
        SchemaError: The database is neither empty nor one of Signoff that this code can read.
    """
    connection.execute("BEGIN")
    check_ours(connection, path)
    connection.execute("COMMIT")


def migrate(connection: sqlite3.Connection, path: Path) -> None:
    """
    Bring the schema up to date: all that is missing in one transaction, or nothing.

    Whoever comes second waits, and finds nothing left to do.

    Raises:
        SchemaError: Another process made it newer meanwhile.
    """
    if _pragma(connection, "user_version") == len(migrations()):
        return
    connection.execute("BEGIN IMMEDIATE")
    check_ours(connection, path)
    for script in migrations()[_pragma(connection, "user_version") :]:
        for statement in _statements(script):
            connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {len(migrations())}")
    connection.execute("COMMIT")


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    (value,) = connection.execute(f"PRAGMA {name}").fetchone()
    return int(value)


def _is_empty(connection: sqlite3.Connection) -> bool:
    traces = (
        _pragma(connection, "application_id"),
        _pragma(connection, "user_version"),
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0],
    )
    return not any(traces)


def _statements(script: str) -> Iterator[str]:
    """Split a script; `executescript` would commit what is open before it begins."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
