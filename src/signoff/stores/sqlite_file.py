"""The file of a `SQLiteStore`: opening it without harm, and seeing that it stays (floor 4)."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Generator
from contextlib import closing, contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Final, Literal, TypeAlias

from signoff.errors import StoreUnavailableError
from signoff.stores.sqlite_errors import translated
from signoff.stores.sqlite_schema import look_whose, migrate

Synchronous: TypeAlias = Literal["FULL", "NORMAL"]

_RETRY_SECONDS: Final = 0.01
"""How long to wait before asking again for what SQLite refuses without waiting."""


class DatabaseFile:
    """
    Where the database is, and how it is opened.

    A file that was opened once must stay in its place: writing on to one that was moved away
    would acknowledge what nobody finds again, and so would a new, empty one at its path.

    Args:
        path: The absolute path.
        synchronous: `FULL` syncs at each commit.
        busy_timeout: How long to wait for other programs' locks.
        connection_class: What connections are made of.
    """

    def __init__(
        self,
        path: Path,
        *,
        synchronous: Synchronous,
        busy_timeout: timedelta,
        connection_class: type[sqlite3.Connection] = sqlite3.Connection,
    ) -> None:
        self.path = path
        self._log = path.with_name(f"{path.name}-wal")
        self._synchronous = synchronous
        self._patience = busy_timeout.total_seconds()
        self._connection_class = connection_class
        self._identity: tuple[int, int] | None = None

    def open_for_writing(self) -> sqlite3.Connection:
        """
        Open the file, made and brought up to date where needed.

        A file that is not ours, or that is newer than this code, is left untouched.

        Raises:
            SchemaError: It belongs to something else, or to a newer Signoff.
            StoreUnavailableError: It cannot be opened or written, and why.
        """
        with translated(self.path):
            self._check_place()
            self._look_first()
            with self._connect("rwc" if self._identity is None else "rw") as connection:
                look_whose(connection, self.path)
                self._use_log(connection)
                connection.execute(f"PRAGMA synchronous = {self._synchronous}")
                connection.execute("PRAGMA fullfsync = ON")
                connection.execute("PRAGMA foreign_keys = ON")
                connection.execute("PRAGMA wal_autocheckpoint = 0")
                migrate(connection, self.path)
            self._identity = _identity(self.path)
            return connection

    def open_for_reading(self) -> sqlite3.Connection:
        """Open the file read-only, beside a connection that writes. Raises `StoreUnavailableError`."""
        with translated(self.path):
            self.check_in_place()
            with self._connect("ro") as connection:
                connection.execute("PRAGMA query_only = ON")
            return connection

    def check_in_place(self) -> None:
        """Check that the path still leads to what was opened. Raises `StoreUnavailableError`."""
        if _identity(self.path) != self._identity:
            raise StoreUnavailableError(
                f"{self.path}: the file was moved, deleted or replaced while the store was open;"
                " put it back. To begin with another file, leave the store first, and remove what"
                " ends in -wal and -shm with the old one"
            )

    def log_bytes(self) -> int:
        """Return how large the write-ahead log is; 0 where that cannot be told."""
        with suppress(OSError):
            return self._log.stat().st_size
        return 0

    def _check_place(self) -> None:
        if self.path.is_dir():
            raise StoreUnavailableError(
                f"{self.path} is a folder; give the path of a file, such as"
                f" {self.path / 'signoff.db'}"
            )
        if not self.path.parent.is_dir():
            raise StoreUnavailableError(
                f"{self.path}: the folder {self.path.parent} does not exist; make it first"
            )
        if self._identity is not None:
            self.check_in_place()

    def _look_first(self) -> None:
        """
        Refuse what is not ours over a connection that cannot write.

        A writing one that is the last to close copies the log into the file, whoever wrote it.
        Where reading alone does not do, as after a crash while the file was being made, the
        second look over the writing connection decides.
        """
        if self.path.exists():
            with (
                suppress(sqlite3.OperationalError),
                self._connect("ro") as connection,
                closing(connection),
            ):
                look_whose(connection, self.path)

    @contextmanager
    def _connect(self, mode: Literal["ro", "rw", "rwc"]) -> Generator[sqlite3.Connection]:
        """Connect; close again should the block fail."""
        connection = sqlite3.connect(
            f"{self.path.as_uri()}?mode={mode}",
            uri=True,
            timeout=self._patience,
            isolation_level=None,
            factory=self._connection_class,
        )
        try:
            connection.row_factory = sqlite3.Row
            yield connection
        except BaseException:
            connection.close()
            raise

    def _use_log(self, connection: sqlite3.Connection) -> None:
        """Switch to write-ahead logging, where that is not done yet."""
        deadline = time.monotonic() + self._patience
        while (mode := self._switch(connection, is_last=time.monotonic() > deadline)) is None:
            time.sleep(_RETRY_SECONDS)
        if mode != "wal":
            raise StoreUnavailableError(
                f"{self.path}: its file system does not let processes share memory, as network"
                " file systems do not; put the file on a local disk"
            )

    def _switch(self, connection: sqlite3.Connection, *, is_last: bool) -> str | None:
        """Try to switch; return the mode, or nothing when another process is just doing the same."""
        try:
            (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
        except sqlite3.OperationalError as error:
            # SQLite does not wait here, whatever the time-out.
            if is_last or error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
                raise
            return None
        return str(mode)


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return (found.st_dev, found.st_ino)
