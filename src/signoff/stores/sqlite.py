"""A store in one SQLite file: durable, and shared by the processes of one machine (floor 4)."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from typing_extensions import override

from signoff.errors import ConfigurationError
from signoff.model.audit import AuditEntry
from signoff.model.changes import Changes, Checkpoint, Claim, Sealed, Signal, Task
from signoff.model.delivery import Delivery
from signoff.model.request import Request
from signoff.model.run import Occurrence, Run
from signoff.model.token import TokenRow
from signoff.ports import Clock, Counts, RequestQuery, RunQuery, Store, TaskSink
from signoff.stores import sqlite_reads as reads
from signoff.stores import sqlite_work as work
from signoff.stores.clock import SystemClock
from signoff.stores.lease_clock import LeaseClock, machine_lease_clock
from signoff.stores.moving import Books
from signoff.stores.sqlite_advice import LOGGER, advise
from signoff.stores.sqlite_file import DatabaseFile, Synchronous
from signoff.stores.sqlite_jobs import ResultT
from signoff.stores.sqlite_moving import sqlite_books
from signoff.stores.sqlite_readers import Readers
from signoff.stores.sqlite_writer import Writer
from signoff.stores.sqlite_writes import Encoded


class SQLiteStore(Store):
    """
    Keeps everything in one SQLite file, with a write-ahead log beside it.

    Any number of event loops and threads of a process may use it at once, and several
    processes of one machine may open the same file. The file must be on a local disk.

    One thread writes. Commits that wait together share one sync, so a commit costs about as
    much alone as many of them cost together. Two more threads read, so no loop ever waits for
    the disk.

    **When a commit's caller is cancelled**, the commit is withdrawn if the writer has not yet
    begun it. Otherwise it is finished, and the caller is only let go once that is settled. So
    after `commit` has ended, however it ended, the commit was made or never will be.

    **Leases** go by a clock that all processes of the machine share, that no change of date
    moves and that ends with a reboot: see `signoff.stores.lease_clock`. Business time is the
    clock given to `use_clock`, at first the system's.

    **Forks.** Open the store after the fork, in each process. In a child of the process that
    opened it, it refuses to work.

    **Moving the file** away while it is open is noticed, and refused. A backup is made by
    SQLite's own means (`VACUUM INTO`, `.backup`), not by copying the file alone.

    Args:
        path: The file; made if it does not exist, in a folder that does.
        synchronous: `FULL` waits for the disk at each commit. With `NORMAL` the last commits
            before a power failure may be lost, though not by a crash of the process.
        busy_timeout: How long to wait for another process's transaction.
        lease_clock: Seconds that leases go by, the same in all processes; for tests of leases.

    Raises:
        ConfigurationError: The path is `:memory:`, or `synchronous` is something else.
    """

    durable = True
    shared = True

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        synchronous: Synchronous = "FULL",
        busy_timeout: timedelta = timedelta(seconds=10),
        lease_clock: Callable[[], float] | None = None,
    ) -> None:
        if os.fspath(path) == ":memory:":
            raise ConfigurationError("SQLiteStore keeps a file; for memory there is MemoryStore()")
        if synchronous not in {"FULL", "NORMAL"}:
            raise ConfigurationError(
                f"synchronous is {synchronous!r}; it may be 'FULL' or 'NORMAL'"
            )
        self._path = Path(path).absolute()
        self.location = str(self._path)
        self._synchronous: Synchronous = synchronous
        self._busy_timeout = busy_timeout
        self._connection_class = sqlite3.Connection
        self._lease_clock = (
            LeaseClock("given", lease_clock) if lease_clock else machine_lease_clock()
        )
        self._clock: Clock = SystemClock()
        self._sink: TaskSink | None = None
        self._threads: tuple[Writer, Readers] | None = None
        self._process = 0

    @override
    async def __aenter__(self) -> Self:
        """
        Open the file and bring its schema up to date.

        A database of another program, or of a newer Signoff, is refused and left as it is.

        Raises:
            SchemaError: It is such a database.
            StoreUnavailableError: It cannot be opened or written; the message says what to do.
            ConfigurationError: The store is open already.
        """
        if self._threads is not None:
            raise ConfigurationError(
                f"the store over {self.location} is open already; make another SQLiteStore"
            )
        file = self._file()
        writer = Writer(file)
        writer.start()
        try:
            await writer.call(_write_nothing)
        except BaseException:
            writer.stop()
            raise
        readers = Readers(file)
        readers.start()
        self._threads = writer, readers
        self._process = os.getpid()
        advise(file.path)
        return self

    @override
    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Finish the commits that wait, copy the log into the file and close it."""
        if self._threads is not None:
            writer, readers = self._threads
            self._threads = None
            await readers.aclose()
            await writer.aclose()

    @override
    async def commit(self, changes: Changes) -> None:
        """
        Write all of `changes`, or nothing; return once it is on disk.

        Raises:
            StaleWriteError: Something checked has moved on; nothing was written.
            StoreUnavailableError: The storage failed; nothing was acknowledged.
            CodecError: Something in it has no stored form.
        """
        encoded = Encoded.of(changes)

        def write(connection: sqlite3.Connection) -> None:
            encoded.write(connection, now=self._clock.now(), lease_clock=self._lease_clock)

        writer, _ = self._opened()
        await writer.call(write, then=partial(self._hand_over, changes.tasks))

    @override
    def use_clock(self, clock: Clock) -> None:
        self._clock = clock

    @override
    def hand_tasks_to(self, sink: TaskSink) -> None:
        self._sink = sink

    @override
    async def now(self) -> datetime:
        return self._clock.now()

    @override
    async def run(self, run_id: str) -> Sealed[Run]:
        return await self._read(partial(reads.run, run_id=run_id))

    @override
    async def run_by_key(self, flow_name: str, key: str) -> Sealed[Run] | None:
        return await self._read(partial(reads.run_by_key, flow_name=flow_name, key=key))

    @override
    async def runs(self, query: RunQuery) -> Sequence[Sealed[Run]]:
        return await self._read(partial(reads.runs, query=query))

    @override
    async def journal(self, run_id: str) -> Sequence[Sealed[Occurrence]]:
        return await self._read(partial(reads.journal, run_id=run_id))

    @override
    async def signals(self, run_id: str) -> Sequence[Signal]:
        return await self._read(partial(reads.signals, run_id=run_id))

    @override
    async def checkpoint(self, run_id: str) -> Checkpoint:
        clock = self._lease_clock
        return await self._read(partial(work.checkpoint, run_id=run_id, lease_clock=clock))

    @override
    async def late_results(self, run_id: str) -> Sequence[Signal]:
        return await self._read(partial(reads.late_results, run_id=run_id))

    @override
    async def ready(self, names: Sequence[str], *, limit: int) -> Sequence[str]:
        clock = self._lease_clock
        return await self._read(partial(work.ready, names=names, limit=limit, lease_clock=clock))

    @override
    async def unclaimed(self, names: Sequence[str]) -> Mapping[str, int]:
        clock = self._lease_clock
        return await self._read(partial(work.unclaimed, names=names, lease_clock=clock))

    @override
    async def request(self, request_id: str) -> Request:
        return await self._read(partial(reads.request, request_id=request_id))

    @override
    async def requests(self, query: RequestQuery) -> Sequence[Request]:
        return await self._read(partial(reads.requests, query=query))

    @override
    async def expired(self, now: datetime, *, limit: int) -> Sequence[str]:
        return await self._read(partial(work.expired, now=now, limit=limit))

    @override
    async def token(self, token_id: str) -> TokenRow | None:
        return await self._read(partial(reads.token, token_id=token_id))

    @override
    async def tokens(self, request_id: str) -> Sequence[TokenRow]:
        return await self._read(partial(reads.tokens, request_id=request_id))

    @override
    async def delivery(self, delivery_id: str) -> Delivery:
        return await self._read(partial(reads.delivery, delivery_id=delivery_id))

    @override
    async def deliveries(self, request_id: str) -> Sequence[Delivery]:
        return await self._read(partial(reads.deliveries, request_id=request_id))

    @override
    async def due_deliveries(self, now: datetime, *, limit: int) -> Sequence[str]:
        clock = self._lease_clock
        return await self._read(
            partial(work.due_deliveries, now=now, limit=limit, lease_clock=clock)
        )

    @override
    async def oldest_unsent(self) -> Mapping[str, datetime]:
        return await self._read(work.oldest_unsent)

    @override
    async def claim(self, subject: str) -> Claim | None:
        clock = self._lease_clock
        return await self._read(partial(work.claim, subject=subject, lease_clock=clock))

    @override
    async def live_claims(self, prefix: str) -> Sequence[Claim]:
        clock = self._lease_clock
        return await self._read(partial(work.live_claims, prefix=prefix, lease_clock=clock))

    @override
    async def audit(self, stream: str) -> Sequence[AuditEntry]:
        return await self._read(partial(reads.audit, stream=stream))

    @override
    async def was_handled(self, key: str) -> bool:
        return await self._read(partial(reads.was_handled, key=key))

    @override
    async def mark(self, name: str) -> str | None:
        return await self._read(partial(reads.mark, name=name))

    @override
    async def key_checks(self) -> Mapping[int, str]:
        return await self._read(reads.key_checks)

    @override
    async def kids_in_use(self, now: datetime) -> frozenset[int]:
        return await self._read(partial(work.kids_in_use, now=now))

    @override
    async def counts(self) -> Counts:
        return await self._read(work.counts)

    def books(self, *, make: bool) -> AbstractContextManager[Books]:
        """Lock everything, and give access to it; see `signoff.stores.moving`."""
        return sqlite_books(self._file(), self._lease_clock, make=make)

    def _file(self) -> DatabaseFile:
        return DatabaseFile(
            # SQLite keeps its log beside the file itself, not beside a link to it.
            self._path.resolve(),
            synchronous=self._synchronous,
            busy_timeout=self._busy_timeout,
            connection_class=self._connection_class,
        )

    async def _read(self, ask: Callable[[sqlite3.Connection], ResultT]) -> ResultT:
        _, readers = self._opened()
        return await readers.call(ask)

    def _opened(self) -> tuple[Writer, Readers]:
        if self._threads is None:
            raise ConfigurationError(
                f"the store over {self.location} is not open: `async with store:` opens it"
            )
        if self._process != os.getpid():
            raise ConfigurationError(
                f"the store over {self.location} was opened before this process was forked, and"
                " its threads stayed behind; make and open a SQLiteStore in each process"
            )
        return self._threads

    def _hand_over(self, tasks: Sequence[Task]) -> None:
        """Give the tasks of a commit to the sink; the commit stands, whatever the sink does."""
        sink = self._sink
        if sink is None or not tasks:
            return
        try:
            sink.submit(tasks)
        except Exception:  # noqa: BLE001 - an engine of anybody; the commit is made
            LOGGER.exception("%d tasks were not taken over; a sweep finds them", len(tasks))


def _write_nothing(connection: sqlite3.Connection) -> None:
    """Fail where writing would: SQLite opens a read-only file and says so only then."""
    connection.execute("DELETE FROM handled WHERE false")
