"""
How a `PostgresStore` reaches its server: a pool of connections, used in threads (floor 4).

psycopg's own asyncio side would tie every connection to one event loop, and the store to
asyncio. A thread per call serves any number of loops, of asyncio and of trio alike.
"""

from __future__ import annotations

import re
import struct
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from datetime import timedelta
from itertools import count
from typing import Any, Final, TypeAlias, TypeVar

import psycopg
from anyio import CapacityLimiter, to_thread
from anyio.lowlevel import RunVar
from psycopg.abc import Buffer
from psycopg.adapt import Loader
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import Format
from psycopg.rows import DictRow, dict_row
from psycopg_pool import ConnectionPool, PoolClosed, PoolTimeout
from typing_extensions import override

from signoff.errors import ConfigurationError, StoreUnavailableError
from signoff.stores.postgres_clock import ServerClock
from signoff.stores.postgres_errors import explained, is_outdated, is_worth_another
from signoff.stores.postgres_news import News

ResultT = TypeVar("ResultT")

Connection: TypeAlias = "psycopg.Connection[DictRow]"

_RESTED_SECONDS: Final = 1.0
"""After how long without use a connection is tried before it is used."""

_ASK_AGAIN_SECONDS: Final = 0.25
"""After how long the pool is asked again for a connection."""

_RETRY_SECONDS: Final = 0.05
"""How long to wait before a statement is sent again."""

_BEGIN: Final = "BEGIN; SET LOCAL idle_in_transaction_session_timeout = {:.0f}"

_NAME: Final = re.compile(r"(?!pg_)[a-z_][a-z0-9_]{0,62}")

_DEFAULTS: Final[Mapping[str, Any]] = {
    "application_name": "signoff",
    "connect_timeout": "5",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "30000",
}
"""What the address says unless it says otherwise: a server that went silent is noticed."""

_CLOCK: Final = "{schema}.business_now() AS clock"
"""The column of an answer that says when it was given."""

_EPOCH_2000: Final = 946_684_800_000_000
"""The instant that PostgreSQL counts from, in microseconds since 1970."""

_numbers: Final = count()


class _Instant(Loader):
    """Reads a timestamp as whole microseconds since 1970, whatever the session's time zone."""

    format = Format.BINARY

    @override
    def load(self, data: Buffer) -> int:
        (micros,) = struct.unpack("!q", data)
        return int(micros) + _EPOCH_2000


class _Connection(psycopg.Connection[DictRow]):
    """A connection that knows when it was last used."""

    used_at = 0.0


class Query:
    """
    A statement of ours, in the schema of a store.

    Args:
        text: The statement, with `{schema}` before each name of ours, and `{clock}` among the
            columns where each row says when it was read.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._ready: dict[str, bytes] = {}

    def within(self, schema: str) -> bytes:
        """Return the statement for a schema whose name is plain."""
        if schema not in self._ready:
            text = self._text.replace("{clock}", _CLOCK)
            self._ready[schema] = text.replace("{schema}", f'"{schema}"').encode()
        return self._ready[schema]


class Session:
    """
    One connection, for as long as a call has it.

    Args:
        connection: In autocommit mode: each statement is a transaction of its own.
        schema: Where the tables are.
        clock: Is told of what answers say of the server's clock.

    Attributes:
        connection: For those who put statements of their own beside the store's.
        schema: Where the tables are.
    """

    def __init__(self, connection: Connection, schema: str, clock: ServerClock) -> None:
        self.connection = connection
        self.schema = schema
        self._clock = clock

    def all(self, query: Query, values: Mapping[str, object] | None = None) -> list[DictRow]:
        """Run a statement, and return all its rows."""
        sent = self._clock.reads()
        cursor = self.connection.execute(query.within(self.schema), values, binary=True)
        rows = cursor.fetchall()
        if rows and "clock" in rows[0]:
            self._clock.told(rows[0]["clock"], sent=sent)
        return rows

    def first(self, query: Query, values: Mapping[str, object] | None = None) -> DictRow | None:
        """Run a statement, and return its first row if there is one."""
        rows = self.all(query, values)
        return rows[0] if rows else None

    def run(self, query: Query, values: Mapping[str, object] | None = None) -> None:
        """Run a statement that returns nothing; without values, as many as there are."""
        self.connection.execute(query.within(self.schema), values)

    @contextmanager
    def together(self, *, patience: float) -> Generator[None]:
        """
        Make what is run in the block one transaction, though this process thinks in between.

        Args:
            patience: After how many seconds without a statement the server gives it up, as when
                this process was stopped in the midst of it.
        """
        self.connection.execute(_BEGIN.format(patience * 1000).encode())
        try:
            yield
        except BaseException:
            with suppress(psycopg.Error):
                self.connection.rollback()
            raise
        self.connection.commit()

    @contextmanager
    def transaction(self) -> Generator[None]:
        """Make what is run in the block one transaction."""
        with self.connection.transaction():
            yield


class Server:
    """
    Where the database is, and how it is reached.

    Args:
        address: A connection string or URI, as libpq knows them.
        schema: Where the tables are.
        connections: How many are open at the most.
        patience: How long a call waits for a connection, for a lock, and for a server that
            went away to come back.
        prepare: Whether statements stay prepared on the server.

    Attributes:
        clock: What is known of its clock.

    Raises:
        ConfigurationError: One of them will not do.
    """

    def __init__(
        self, address: str, *, schema: str, connections: int, patience: timedelta, prepare: bool
    ) -> None:
        self.address, parts = _complete(address)
        if not _NAME.fullmatch(schema):
            raise ConfigurationError(
                f"the schema cannot be called {schema!r}: lower-case letters, digits and"
                " underscores, 63 at the most, and not pg_ in front"
            )
        if connections < 1:
            raise ConfigurationError(f"connections is {connections}; it takes at least one")
        self.schema = schema
        host, port = parts.get("host") or "localhost", parts.get("port") or 5432
        self.place = f"postgresql://{host}:{port}/{parts.get('dbname') or ''}, schema {schema}"
        self.patience = patience.total_seconds()
        self.clock = ServerClock()
        self._connections = connections
        self._prepare = prepare
        self._pool: ConnectionPool[_Connection] | None = None
        self._threads: RunVar[CapacityLimiter] = RunVar(f"signoff postgres {next(_numbers)}")

    @property
    def is_open(self) -> bool:
        """Whether connections are kept."""
        return self._pool is not None

    def news(self, address: str) -> News:
        """Return what tells and hears of commits, on a connection of its own to `address`."""
        return News(_complete(address)[0], place=self.place, schema=self.schema)

    @contextmanager
    def session(self, *, is_lost: bool = False) -> Generator[Session]:
        """
        Connect outside the pool, for as long as the block lasts.

        Args:
            is_lost: Whether a statement was lost with its connection before.

        Raises:
            StoreUnavailableError: The server cannot be reached, or failed; the message says why.
        """
        try:
            with _Connection.connect(
                self.address, autocommit=True, row_factory=dict_row, prepare_threshold=None
            ) as connection:
                yield Session(connection, self.schema, self.clock)
        except psycopg.Error as error:
            raise explained(error, self.place, is_lost=is_lost) from error

    def open(self) -> None:
        """Begin to keep connections."""
        self._pool = ConnectionPool(
            self.address,
            connection_class=_Connection,
            kwargs={
                "autocommit": True,
                "row_factory": dict_row,
                "prepare_threshold": 5 if self._prepare else None,
            },
            configure=configure,
            min_size=1,
            max_size=self._connections,
            check=_check_rested,
            timeout=self.patience,
            # Between two attempts it would wait ever longer; whoever waits asks for new ones.
            reconnect_timeout=_ASK_AGAIN_SECONDS,
            name=f"signoff {self.place}",
            open=True,
        )

    async def aclose(self) -> None:
        """Close all connections, those in use once they are given back. Idempotent."""
        pool, self._pool = self._pool, None
        if pool is not None:
            await to_thread.run_sync(pool.close, limiter=CapacityLimiter(1))

    async def call(self, work: Callable[[Session], ResultT]) -> ResultT:
        """
        Do `work` on a connection, in a thread, and return what it returns.

        A caller that is cancelled while it waits for a thread leaves at once, and nothing was
        begun; later it leaves when the work is done.

        Args:
            work: Sends one statement, and may be done again: the same statement sent twice must
                do no more than sent once.

        Raises:
            StoreUnavailableError: The server failed, or did not come back in time.
            Exception: What `work` raised.
        """
        return await to_thread.run_sync(self._attempt, work, limiter=self._limiter())

    def _limiter(self) -> CapacityLimiter:
        """Return what limits the threads of the caller's event loop."""
        try:
            return self._threads.get()
        except LookupError:
            limiter = CapacityLimiter(self._connections)
            self._threads.set(limiter)
            return limiter

    def _attempt(self, work: Callable[[Session], ResultT]) -> ResultT:
        """Do `work`; again where the connection was lost, or the server asks for it."""
        deadline = time.monotonic() + self.patience
        is_lost = False
        while True:
            pool = self._opened()
            connection = self._take(pool, deadline, is_lost=is_lost)
            try:
                return work(Session(connection, self.schema, self.clock))
            except (psycopg.Error, UnicodeEncodeError) as error:
                is_lost = is_lost or connection.broken
                again = is_worth_another(error, is_lost=connection.broken)
                if is_outdated(error):
                    connection.close()
                if not again or time.monotonic() > deadline:
                    raise explained(error, self.place, is_lost=is_lost) from error
                time.sleep(_RETRY_SECONDS)
            finally:
                connection.used_at = time.monotonic()
                pool.putconn(connection)

    def _take(
        self, pool: ConnectionPool[_Connection], deadline: float, *, is_lost: bool
    ) -> _Connection:
        """Take a connection out of the pool; asked again and again, it tries to connect anew."""
        while True:
            try:
                return pool.getconn(_ASK_AGAIN_SECONDS)
            except PoolClosed as error:
                raise self._not_open() from error
            except PoolTimeout as error:
                if time.monotonic() > deadline:
                    # Says what is wrong with the server, if something is.
                    with self.session(is_lost=is_lost):
                        pass
                    raise StoreUnavailableError(
                        f"{self.place}: all {self._connections} connections were in use for"
                        f" {self.patience:g} seconds; give more `connections=`, or see on the"
                        " server what keeps them (pg_stat_activity)"
                    ) from error

    def _opened(self) -> ConnectionPool[_Connection]:
        if self._pool is None:
            raise self._not_open()
        return self._pool

    def _not_open(self) -> ConfigurationError:
        return ConfigurationError(
            f"the store over {self.place} is not open: `async with store:` opens it"
        )


def _complete(address: str) -> tuple[str, dict[str, Any]]:
    """Return an address with what it leaves open, and its parts. Raises `ConfigurationError`."""
    try:
        parts = conninfo_to_dict(address)
    except psycopg.ProgrammingError:
        raise ConfigurationError(
            "the address of the database cannot be understood; it looks like"
            " postgresql://user:password@host:5432/database"
        ) from None
    return make_conninfo("", **{**_DEFAULTS, **parts}), parts


def configure(connection: Connection) -> None:
    """Have instants read as the store wants them."""
    connection.adapters.register_loader("timestamptz", _Instant)


def _check_rested(connection: _Connection) -> None:
    """Try a connection that was not used for a while; one that was lost in use is noticed anyway."""
    if time.monotonic() - connection.used_at > _RESTED_SECONDS:
        connection.execute("")
