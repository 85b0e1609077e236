"""What SQLite reports, in Signoff's errors and with what to do about it (floor 4)."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from signoff.errors import CodecError, SchemaError, SignoffError, StoreUnavailableError

_PRIMARY: Final = 0xFF
"""The bits of an extended result code that hold the primary one."""

_REMEDIES: Final = {
    sqlite3.SQLITE_BUSY: (
        "another program has kept it locked for too long;"
        " end that program's transaction, or give a longer `busy_timeout`"
    ),
    sqlite3.SQLITE_CANTOPEN: (
        "it cannot be opened; its folder must exist, and this user needs access to both"
    ),
    sqlite3.SQLITE_CORRUPT: (
        "it is damaged; stop every process that uses it, keep a copy of all its files, then put a"
        " backup in place or save what can be read with `sqlite3 <file> .recover`"
    ),
    sqlite3.SQLITE_FULL: "the disk is full; make room and try again",
    sqlite3.SQLITE_IOERR: (
        "the disk failed, or a limit on the size of files was met; see the system's log"
    ),
    sqlite3.SQLITE_READONLY: (
        "it is read-only; make writable for this user: the file, its folder, and the files beside"
        " it that end in -wal and -shm"
    ),
}


@contextmanager
def translated(path: Path) -> Generator[None]:
    """Raise as Signoff's own what SQLite and the system raise in the block."""
    try:
        yield
    except (sqlite3.Error, OSError, UnicodeEncodeError) as error:
        raise explained(error, path) from error


def explained(error: Exception, path: Path) -> SignoffError:
    """Return the error that says what happened to the database at `path`, and what to do."""
    if isinstance(error, SignoffError):
        return error
    if isinstance(error, UnicodeEncodeError):
        return CodecError(f"a text that has no UTF-8 form cannot be stored: {error}")
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_OK) & _PRIMARY
    if code == sqlite3.SQLITE_NOTADB:
        return SchemaError(
            f"{path} is not an SQLite database, and was left as it is; give another path"
        )
    remedy = _REMEDIES.get(code, "the storage failed")
    return StoreUnavailableError(
        f"{path}: {remedy} ({type(error).__name__}: {error})."
        " Nothing of this was acknowledged; what was acknowledged before is safe"
    )
