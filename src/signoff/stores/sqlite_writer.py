"""The one thread that writes to a `SQLiteStore`'s file, many commits per sync (floor 4)."""

from __future__ import annotations

import copy
import sqlite3
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final

from anyio import CancelScope, CapacityLimiter, to_thread

from signoff.stores.sqlite_errors import explained, translated
from signoff.stores.sqlite_file import DatabaseFile
from signoff.stores.sqlite_jobs import Job, JobQueue, ResultT, tell

BATCH: Final = 512
"""How many jobs share a transaction at the most."""

IDLE_SECONDS: Final = 0.5
"""After how long without work the log is copied into the file."""

LOG_BYTES: Final = 4 * 2**20
"""By how much the log grows before it is copied in the midst of work."""

CHECKPOINT_MILLISECONDS: Final = 1000
"""How long copying the log waits for readers and writers elsewhere."""


class Writer:
    """
    Owns the only connection that writes.

    It takes all jobs that wait, does each in a savepoint of one transaction, commits, and only
    then tells their tasks: a job that fails is undone alone, and a commit that fails fails them
    all. While the lock is not to be had no job is taken, so that each can still be withdrawn.

    The log is copied into the file only here, and in the mode that holds the write lock
    (`TRUNCATE`). That keeps clear of a race in SQLite before 3.51.3, in which copying while
    another process writes can damage the database.

    A thread and no task, so that it outlives the loops of its callers.

    Args:
        file: What to write to; opened with the first job, and again after an error.
    """

    def __init__(self, file: DatabaseFile) -> None:
        self._file = file
        self._jobs = JobQueue()
        self._connection: sqlite3.Connection | None = None
        self._log_is_new = False
        self._copy_log_at = LOG_BYTES
        self._thread = threading.Thread(
            target=self._serve, name=f"signoff-writer {file.path.name}", daemon=True
        )

    def start(self) -> None:
        """Start the thread; nothing is opened yet."""
        self._thread.start()

    async def call(
        self,
        work: Callable[[sqlite3.Connection], ResultT],
        *,
        then: Callable[[], None] | None = None,
    ) -> ResultT:
        """
        Do `work` in a transaction; return once it is on disk.

        Args:
            work: Runs in the thread, in a savepoint of its own.
            then: Runs in the thread after the commit; must not raise.

        Raises:
            StoreUnavailableError: The storage failed; nothing was acknowledged.
            Exception: What `work` raised; all that it did was undone.
        """
        return await self._jobs.call(Job(work, then=then))

    def stop(self) -> None:
        """Accept no more jobs; the thread ends when it has finished what waits."""
        self._jobs.close()

    async def aclose(self) -> None:
        """Finish what waits, copy the log, close the file and end the thread."""
        self.stop()
        with CancelScope(shield=True):
            await to_thread.run_sync(self._thread.join, limiter=CapacityLimiter(1))

    def _serve(self) -> None:
        while not self._jobs.is_finished:
            waiting = self._jobs.wait(IDLE_SECONDS if self._log_is_new else None)
            if waiting:
                self._commit(waiting)
            if not waiting or self._file.log_bytes() >= self._copy_log_at:
                self._copy_log()
        self._copy_log()
        self._disconnect()

    def _commit(self, waiting: int) -> None:
        jobs: list[Job[Any]] = []
        try:
            connection = self._connected()
            connection.execute("BEGIN IMMEDIATE")
            jobs = self._jobs.take(BATCH)
            for job in jobs:
                self._attempt(job, connection)
            connection.execute("COMMIT")
            self._file.check_in_place()
        except Exception as error:  # noqa: BLE001 - whatever broke, nobody may wait for ever
            jobs = jobs or self._jobs.take(waiting)
            self._fail(jobs, error)
            self._disconnect()
        else:
            self._log_is_new = True
            for job in jobs:
                job.finish()
        tell(jobs)

    def _attempt(self, job: Job[Any], connection: sqlite3.Connection) -> None:
        connection.execute("SAVEPOINT job")
        try:
            with translated(self._file.path):
                job.succeed(job.work(connection))
        except Exception as error:
            if not connection.in_transaction:
                # SQLite itself has given up the whole transaction.
                raise
            connection.execute("ROLLBACK TO job")
            job.fail(error)
        connection.execute("RELEASE job")

    def _fail(self, jobs: Sequence[Job[Any]], error: Exception) -> None:
        """Fail jobs whose transaction came to nothing, whatever came of each of them in it."""
        explanation = explained(error, self._file.path)
        for job in jobs:
            own = copy.copy(explanation)
            own.__cause__ = error
            job.fail(own)

    def _connected(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = self._file.open_for_writing()
        return self._connection

    def _disconnect(self) -> None:
        """Close the connection: one that met an error is not trusted with another transaction."""
        if self._connection is not None:
            with suppress(sqlite3.Error):
                self._connection.close()
        self._connection = None
        self._log_is_new = False

    def _copy_log(self) -> None:
        """Copy the log into the file; what cannot be copied now is as safe in the log."""
        if not self._log_is_new:
            return
        self._log_is_new = False
        connection = self._connected()
        with suppress(sqlite3.Error):
            (patience,) = connection.execute("PRAGMA busy_timeout").fetchone()
            connection.execute(f"PRAGMA busy_timeout = {CHECKPOINT_MILLISECONDS}")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            connection.execute(f"PRAGMA busy_timeout = {patience}")
        self._copy_log_at = self._file.log_bytes() + LOG_BYTES
