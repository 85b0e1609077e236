"""A store in a PostgreSQL database: durable, and shared by the processes of many machines (floor 4)."""

from __future__ import annotations

import logging
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from datetime import datetime, timedelta
from functools import partial
from itertools import count
from types import TracebackType
from typing import Final, Self, TypeVar

from anyio import CapacityLimiter, to_thread
from typing_extensions import override

from signoff.errors import ConfigurationError, StoreUnavailableError
from signoff.model.audit import AuditEntry
from signoff.model.changes import Changes, Checkpoint, Claim, Sealed, Signal, Task
from signoff.model.delivery import Delivery
from signoff.model.request import Request
from signoff.model.run import Occurrence, Run
from signoff.model.token import TokenRow
from signoff.ports import (
    BringsNews,
    Clock,
    Counts,
    RequestQuery,
    RunQuery,
    Store,
    TakesNews,
    TaskSink,
    TransactionalSink,
)
from signoff.records import instant_of
from signoff.stores import postgres_reads as reads
from signoff.stores import postgres_work as work
from signoff.stores.moving import Books
from signoff.stores.postgres_moving import postgres_books
from signoff.stores.postgres_pool import Server, Session
from signoff.stores.postgres_schema import bring_up_to_date
from signoff.stores.postgres_writes import Encoded, forget_commits, tell

ResultT = TypeVar("ResultT")

LOGGER: Final = logging.getLogger("signoff.stores.postgres")

FORGET_EVERY: Final = 500
"""After how many commits those that nobody asks about any more are forgotten."""


class PostgresStore(Store, BringsNews):
    """
    Keeps everything in one schema of a PostgreSQL database, version 13 or later.

    Any number of machines, processes, event loops and threads may use it at once, on asyncio
    and on trio. Each commit and each read is one statement, one round trip and one transaction,
    so that no lock is held while a process thinks, or after it was killed. Only where an engine
    keeps its jobs in the same database, a commit with tasks takes a few round trips more.

    **A lost connection** in the midst of a commit leaves open whether it was made. The store
    then sends the same commit again, and the server, which keeps the ids of commits for an hour,
    makes it only if it had not. Only where the server does not come back within `patience` is
    the outcome left to the caller to look up, and the error says so.

    **When a commit's caller is cancelled** while it waits for its turn, nothing is begun;
    otherwise it is only let go once the commit is settled.

    **Other processes** hear of a commit at once, by NOTIFY in its transaction: what is told are
    ids of what is to be done, and whoever serves with an engine of its own process listens for
    them on a connection beside the others. What is not heard is found by the sweep.

    **Time** is the server's: deadlines and timestamps, and the leases of claims too. A date of
    the server that is set forward ends leases early, one that is set back prolongs them. Each
    answer brings the time along, so that it is seldom asked for; see `now` for how exact it is.

    **Forks.** Open the store after the fork, in each process. In a child of the process that
    opened it, it refuses to work.

    Args:
        address: A connection URI or string, `postgresql://user@host:5432/database`. What it
            leaves open is taken from the `PG*` variables, as libpq does.
        schema: The tables are in a schema of this name, made on first use.
        connections: How many connections this object opens at the most.
        patience: How long a call waits for a free connection, for a lock of another session, and
            for a server that went away to come back.
        prepare: Whether statements stay prepared on the server's connections; `False` behind a
            pooler in transaction mode that does not know prepared statements.
        news: Whether commits are told to other processes, and theirs heard; where `address` is
            that of a pooler in transaction mode, the address of the server itself, to hear by.

    Raises:
        ConfigurationError: An address cannot be understood.
    """

    durable = True
    shared = True

    def __init__(
        self,
        address: str,
        *,
        schema: str = "signoff",
        connections: int = 10,
        patience: timedelta = timedelta(seconds=10),
        prepare: bool = True,
        news: bool | str = True,
    ) -> None:
        self._server = Server(
            address, schema=schema, connections=connections, patience=patience, prepare=prepare
        )
        self._news = self._server.news(news if isinstance(news, str) else address) if news else None
        self.location = self._server.place
        self._sink: TaskSink | None = None
        self._joined: TransactionalSink | None = None
        self._tells = False
        self._process = 0
        self._commits = count(1)

    @override
    async def __aenter__(self) -> Self:
        """
        Connect, and bring the schema up to date.

        A schema of another program, or of a newer Signoff, is refused and left as it is.

        Raises:
            SchemaError: It is such a schema.
            StoreUnavailableError: The server cannot be reached or used; the message says why.
            ConfigurationError: The store is open already, or the server will not do.
        """
        if self._server.is_open:
            raise ConfigurationError(
                f"the store over {self.location} is open already; make another PostgresStore"
            )
        await to_thread.run_sync(self._open, limiter=CapacityLimiter(1))
        self._process = os.getpid()
        return self

    @override
    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the connections, those in use once they are free."""
        # In a forked process they are another's, and closing them would end them there too.
        if self._process == os.getpid():
            await self._server.aclose()

    @override
    async def commit(self, changes: Changes) -> None:
        """
        Write all of `changes`, or nothing; return once the server has it on disk.

        Raises:
            StaleWriteError: Something checked has moved on; nothing was written.
            StoreUnavailableError: The server failed; nothing was acknowledged.
            CodecError: Something in it has no stored form.
        """
        encoded = Encoded.of(changes, patience=self._server.patience)

        await self._call(partial(self._make, encoded=encoded, tasks=changes.tasks))
        if next(self._commits) % FORGET_EVERY == 0:
            # This commit is made, whatever becomes of the trace of former ones.
            with suppress(StoreUnavailableError):
                await self._call(forget_commits)

    @override
    def use_clock(self, clock: Clock) -> None:
        """Refuse: business time is the server's. Raises `ConfigurationError`."""
        raise ConfigurationError(
            "a PostgresStore goes by its server's clock; use a MemoryStore or an SQLiteStore where"
            " a test needs a clock of its own"
        )

    @override
    def hand_tasks_to(self, sink: TaskSink) -> None:
        self._sink = sink
        self._tells = isinstance(sink, TakesNews)
        self._joined = sink if isinstance(sink, TransactionalSink) else None
        if self._joined is not None:
            self._joined.meet(self._server.address, self._server.schema)

    @override
    async def bring_news(
        self, hear: Callable[[Sequence[Task]], None], *, look: Callable[[], Awaitable[None]]
    ) -> None:
        news = self._news
        if news is None:
            return

        async def call(word: str) -> None:
            await self._call(partial(tell, channel=news.channel, news=word))

        await news.bring(hear, look=look, call=call)

    @override
    async def now(self) -> datetime:
        """
        Return business time: the server's clock, or a moment before it.

        The server is only asked where none of its answers of the last second says enough. Else
        this process' own clock, which no change of date moves, says how long ago the answers
        were. What is returned

        - is not after what the server's clock then says, so that no deadline passes early and no
          commit that assumes it is refused;
        - is at most a tenth of a second before it;
        - is not before the last answer that this object had to a commit, or to a read of one
          record, of signals or of what is ready: who reads what another process has committed
          goes on from a time that is not before that commit.

        This holds while the two clocks go on alike to one part in a thousand. Where the server's
        clock is set, or a machine was suspended whose clock does not count that, the time is
        wrong by as much until the server's next answer, for a second at the most. A commit that
        depends on the time is checked by the server's clock alone, and is refused then.
        """
        known = self._server.clock.micros() if self._is_usable() else None
        return await self._call(reads.now) if known is None else instant_of(known)

    @override
    async def run(self, run_id: str) -> Sealed[Run]:
        return await self._call(partial(reads.run, run_id=run_id))

    @override
    async def run_by_key(self, flow_name: str, key: str) -> Sealed[Run] | None:
        return await self._call(partial(reads.run_by_key, flow_name=flow_name, key=key))

    @override
    async def runs(self, query: RunQuery) -> Sequence[Sealed[Run]]:
        return await self._call(partial(reads.runs, query=query))

    @override
    async def journal(self, run_id: str) -> Sequence[Sealed[Occurrence]]:
        return await self._call(partial(reads.journal, run_id=run_id))

    @override
    async def signals(self, run_id: str) -> Sequence[Signal]:
        return await self._call(partial(reads.signals, run_id=run_id))

    @override
    async def checkpoint(self, run_id: str) -> Checkpoint:
        return await self._call(partial(work.checkpoint, run_id=run_id))

    @override
    async def late_results(self, run_id: str) -> Sequence[Signal]:
        return await self._call(partial(reads.late_results, run_id=run_id))

    @override
    async def ready(self, names: Sequence[str], *, limit: int) -> Sequence[str]:
        return await self._call(partial(work.ready, names=names, limit=limit))

    @override
    async def unclaimed(self, names: Sequence[str]) -> Mapping[str, int]:
        return await self._call(partial(work.unclaimed, names=names))

    @override
    async def request(self, request_id: str) -> Request:
        return await self._call(partial(reads.request, request_id=request_id))

    @override
    async def requests(self, query: RequestQuery) -> Sequence[Request]:
        return await self._call(partial(reads.requests, query=query))

    @override
    async def expired(self, now: datetime, *, limit: int) -> Sequence[str]:
        return await self._call(partial(work.expired, now=now, limit=limit))

    @override
    async def token(self, token_id: str) -> TokenRow | None:
        return await self._call(partial(reads.token, token_id=token_id))

    @override
    async def tokens(self, request_id: str) -> Sequence[TokenRow]:
        return await self._call(partial(reads.tokens, request_id=request_id))

    @override
    async def delivery(self, delivery_id: str) -> Delivery:
        return await self._call(partial(reads.delivery, delivery_id=delivery_id))

    @override
    async def deliveries(self, request_id: str) -> Sequence[Delivery]:
        return await self._call(partial(reads.deliveries, request_id=request_id))

    @override
    async def due_deliveries(self, now: datetime, *, limit: int) -> Sequence[str]:
        return await self._call(partial(work.due_deliveries, now=now, limit=limit))

    @override
    async def oldest_unsent(self) -> Mapping[str, datetime]:
        return await self._call(work.oldest_unsent)

    @override
    async def claim(self, subject: str) -> Claim | None:
        return await self._call(partial(work.claim, subject=subject))

    @override
    async def live_claims(self, prefix: str) -> Sequence[Claim]:
        return await self._call(partial(work.live_claims, prefix=prefix))

    @override
    async def audit(self, stream: str) -> Sequence[AuditEntry]:
        return await self._call(partial(reads.audit, stream=stream))

    @override
    async def was_handled(self, key: str) -> bool:
        return await self._call(partial(reads.was_handled, key=key))

    @override
    async def mark(self, name: str) -> str | None:
        return await self._call(partial(reads.mark, name=name))

    @override
    async def key_checks(self) -> Mapping[int, str]:
        return await self._call(reads.key_checks)

    @override
    async def kids_in_use(self, now: datetime) -> frozenset[int]:
        return await self._call(partial(work.kids_in_use, now=now))

    @override
    async def counts(self) -> Counts:
        return await self._call(work.counts)

    def books(self, *, make: bool) -> AbstractContextManager[Books]:
        """Lock everything, and give access to it; see `signoff.stores.moving`."""
        return postgres_books(self._server, make=make)

    def _is_usable(self) -> bool:
        return self._server.is_open and self._process == os.getpid()

    async def _call(self, ask: Callable[[Session], ResultT]) -> ResultT:
        if self._server.is_open and self._process != os.getpid():
            raise ConfigurationError(
                f"the store over {self.location} was opened before this process was forked, and"
                " its connections are the other process's; make and open a PostgresStore in each"
            )
        return await self._server.call(ask)

    def _open(self) -> None:
        with self._server.session() as session:
            bring_up_to_date(session, self.location)
        self._server.open()

    def _make(self, session: Session, *, encoded: Encoded, tasks: Sequence[Task]) -> None:
        joined = self._joined if tasks else None
        if joined is None or not joined.is_within(session.connection):
            channel, news = self._told_of(tasks)
            encoded.send(session, channel=channel, news=news)
            self._hand_over(tasks)
            return
        with session.together(patience=self._server.patience):
            encoded.send(session)
            joined.submit_within(session.connection, tasks)

    def _told_of(self, tasks: Sequence[Task]) -> tuple[str, str]:
        """Return what others are told of a commit, and on which channel; nothing where engines tell each other."""
        if self._news is None or not self._tells:
            return "", ""
        return self._news.channel, self._news.about(tasks)

    def _hand_over(self, tasks: Sequence[Task]) -> None:
        """Give the tasks of a commit to the sink; the commit stands, whatever the sink does."""
        sink = self._sink
        if sink is None or not tasks:
            return
        try:
            sink.submit(tasks)
        except Exception:
            LOGGER.exception("%d tasks were not taken over; a sweep finds them", len(tasks))
