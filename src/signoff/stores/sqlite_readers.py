"""The threads that read a `SQLiteStore`'s file, beside the one that writes (floor 4)."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from typing import Any, Final

from anyio import CancelScope, CapacityLimiter, to_thread

from signoff.errors import StoreUnavailableError
from signoff.stores.sqlite_errors import translated
from signoff.stores.sqlite_file import DatabaseFile
from signoff.stores.sqlite_jobs import Job, JobQueue, ResultT, tell

READERS: Final = 2
"""How many threads read, each on a connection of its own."""

BATCH: Final = 16
"""How many jobs a thread takes at a time; their tasks are told together."""


class Readers:
    """
    Owns the connections that read; none of them can write.

    Each job sees one state of the database, the newest when it begins.

    Args:
        file: What to read from; opened by each thread with its first job.
    """

    def __init__(self, file: DatabaseFile) -> None:
        self._jobs = JobQueue()
        self._readers = [_Reader(file, self._jobs, number) for number in range(READERS)]

    def start(self) -> None:
        """Start the threads; nothing is opened yet."""
        for reader in self._readers:
            reader.thread.start()

    async def call(self, work: Callable[[sqlite3.Connection], ResultT]) -> ResultT:
        """
        Do `work` in a thread, on one state of the database, and return what it returns.

        Raises:
            StoreUnavailableError: The storage failed.
            Exception: What `work` raised.
        """
        return await self._jobs.call(Job(work))

    async def aclose(self) -> None:
        """Finish what waits, and end the threads."""
        self._jobs.close()
        limiter = CapacityLimiter(1)
        with CancelScope(shield=True):
            for reader in self._readers:
                await to_thread.run_sync(reader.thread.join, limiter=limiter)


class _Reader:
    """One of the threads."""

    def __init__(self, file: DatabaseFile, jobs: JobQueue, number: int) -> None:
        self._file = file
        self._jobs = jobs
        self._connection: sqlite3.Connection | None = None
        self.thread = threading.Thread(
            target=self._serve, name=f"signoff-reader-{number} {file.path.name}", daemon=True
        )

    def _serve(self) -> None:
        while not self._jobs.is_finished:
            self._jobs.wait()
            jobs = self._jobs.take(BATCH)
            for job in jobs:
                self._attempt(job)
            tell(jobs)
        self._disconnect()

    def _attempt(self, job: Job[Any]) -> None:
        try:
            with translated(self._file.path):
                job.succeed(self._on_one_state(job.work))
        except StoreUnavailableError as error:
            self._disconnect()
            job.fail(error)
        except Exception as error:  # noqa: BLE001 - the task that asked gets it
            job.fail(error)

    def _on_one_state(self, work: Callable[[sqlite3.Connection], ResultT]) -> ResultT:
        if self._connection is None:
            self._connection = self._file.open_for_reading()
        self._connection.execute("BEGIN")
        try:
            return work(self._connection)
        finally:
            self._connection.rollback()

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None
