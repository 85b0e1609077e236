"""What a PostgresStore does when connections, the server or its rights fail it."""

from __future__ import annotations

import importlib
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import partial
from typing import Literal
from urllib.parse import urlsplit

import anyio
import psycopg
import pytest
from typing_extensions import override

from signoff.errors import (
    CodecError,
    ConfigurationError,
    StaleWriteError,
    StoreUnavailableError,
)
from signoff.model.changes import Changes, Task
from signoff.ports import Counts
from signoff.stores.postgres import PostgresStore
from signoff.stores.postgres_pool import Query
from signoff.testing.builders import (
    MICROSECOND,
    NOON,
    a_request,
    a_run,
    a_signal,
    an_acquire,
    an_entry,
    writing,
)
from signoff.testing.store_contract.base import Collector

PATIENCE_SECONDS = 20.0
BRIEF = timedelta(milliseconds=300)


@pytest.fixture
def anyio_backend() -> str:
    """The threads of a store do not depend on the loop: one will do."""
    return "trio"


class Wire:
    """
    A proxy before a server, which can be cut at a commit.

    Attributes:
        cut: Lose the next commit on its way, or its acknowledgement, or do not even wait for it.
        open: Whether connections are accepted at all.
        commits: How many came by.
    """

    def __init__(self, address: str) -> None:
        parts = urlsplit(address)
        self._server = (parts.hostname or "localhost", parts.port or 5432)
        self._listener = socket.create_server(("127.0.0.1", 0))
        port = self._listener.getsockname()[1]
        user = parts.netloc.rpartition("@")[0]
        self.address = parts._replace(netloc=f"{user}@127.0.0.1:{port}").geturl()
        self.cut: Literal["before", "after", "during"] | None = None
        self.is_open = True
        self.commits = 0
        self._live: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Accept nothing more, and cut what there is."""
        self._listener.close()
        self.cut_all()

    def cut_all(self) -> None:
        """Cut every connection."""
        hang_up(*self._live)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                if not self.is_open:
                    client.close()
                    continue
                server = socket.create_connection(self._server)
                self._live += [client, server]
                asked = threading.Event()
                for serve in (self._requests, self._replies):
                    arguments = (client, server, asked)
                    threading.Thread(target=serve, args=arguments, daemon=True).start()

    def _requests(
        self, client: socket.socket, server: socket.socket, asked: threading.Event
    ) -> None:
        with suppress(OSError), hanging_up(client, server):
            while data := client.recv(2**20):
                if b".make_commit($1" in data:
                    self.commits += 1
                    asked.set()
                    if self.cut == "before":
                        self.cut = None
                        return
                    if self.cut == "during":
                        self.cut = None
                        server.sendall(data)
                        # The server goes on; only the client is told nothing any more.
                        hang_up(client)
                        server.recv(2**20)
                        return
                server.sendall(data)

    def _replies(
        self, client: socket.socket, server: socket.socket, asked: threading.Event
    ) -> None:
        with suppress(OSError), hanging_up(client, server):
            while data := server.recv(2**20):
                if self.cut == "after" and asked.is_set():
                    self.cut = None
                    return
                client.sendall(data)


def hang_up(*ends: socket.socket) -> None:
    """End connections at once, whoever is just reading from them."""
    for end in ends:
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


@contextmanager
def hanging_up(*ends: socket.socket) -> Iterator[None]:
    """End connections behind the block."""
    try:
        yield
    finally:
        hang_up(*ends)


@pytest.fixture(name="wire")
def _wire(postgres: str) -> Iterator[Wire]:
    """Yield a proxy before the server."""
    wire = Wire(postgres)
    yield wire
    wire.close()


@pytest.fixture(name="sql")
def _sql(postgres: str, postgres_tables: str) -> Iterator[psycopg.Connection]:
    """Yield a session of another program, whose names are those of the store's schema."""
    with psycopg.connect(postgres, autocommit=True) as session:
        session.execute(f"SET search_path = {postgres_tables}, pg_catalog")
        yield session


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for what must come about."""
    until = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < until


def is_waiting(sql: psycopg.Connection, *, for_whom: int = 1) -> bool:
    """Say whether so many other sessions wait for a lock."""
    found = sql.execute(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE wait_event_type = 'Lock' AND datname = current_database()"
    ).fetchone()
    assert found is not None
    return bool(found[0] >= for_whom)


def once_awaited(sql: psycopg.Connection, release: Callable[[], None]) -> None:
    """Release something when somebody waits for it."""
    wait_until(lambda: is_waiting(sql))
    release()


@contextmanager
def beside(sql: psycopg.Connection) -> Iterator[psycopg.Connection]:
    """Yield another session like that one, in a transaction."""
    with psycopg.connect(sql.info.dsn, password=sql.info.password) as other:
        (path,) = sql.execute("SHOW search_path").fetchone() or ("",)
        other.execute(f"SET search_path = {path}".encode())
        yield other


@contextmanager
def locked(sql: psycopg.Connection, table: str) -> Iterator[psycopg.Connection]:
    """Yield a session that has a table locked until it rolls back."""
    with beside(sql) as other:
        other.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE".encode())
        yield other


@contextmanager
def in_a_thread(work: Callable[[], object]) -> Iterator[None]:
    """Do something beside the block, and wait for it."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - raised again below
            raised.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    yield
    thread.join(PATIENCE_SECONDS)
    assert not thread.is_alive()
    if raised:
        raise raised[0]


@pytest.mark.parametrize("cut", ["before", "after"])
async def test_a_commit_whose_connection_is_lost_is_made_once(
    wire: Wire, postgres_tables: str, cut: Literal["before", "after"]
) -> None:
    """Reliability fault: reset in mid-commit. Whether it was lost on its way or made and not acknowledged; its tasks are handed over once."""
    sink = Collector()
    task = Task(kind="advance", subject="run_1")
    async with PostgresStore(wire.address, schema=postgres_tables) as store:
        store.hand_tasks_to(sink)
        await store.now()
        wire.cut = cut

        await store.commit(
            Changes(handled=("imap:1",), audit=(an_entry(),), claims=(an_acquire(),), tasks=(task,))
        )

        assert wire.commits == 2
        assert len(await store.audit("request:req_1")) == 1
        with pytest.raises(StaleWriteError):
            await store.commit(Changes(handled=("imap:1",)))
    assert sink.tasks == [task]


async def test_a_commit_that_the_server_still_makes_is_waited_for(
    wire: Wire, sql: psycopg.Connection, postgres_tables: str
) -> None:
    """The connection is lost while the commit waits for a lock: sent again, it waits for itself."""
    async with PostgresStore(wire.address, schema=postgres_tables) as store:
        await store.commit(writing(a_request()))
        second = writing(a_request(version=2))
        wire.cut = "during"
        with (
            locked(sql, "requests") as other,
            in_a_thread(partial(anyio.run, store.commit, second)),
        ):
            await anyio.to_thread.run_sync(wait_until, lambda: is_waiting(sql, for_whom=2))
            other.rollback()

        assert wire.commits == 3
        assert (await store.request("req_1")).version == 2


async def test_an_outcome_that_cannot_be_found_out_is_said_to_be_unknown(
    wire: Wire, postgres_tables: str
) -> None:
    """Reliability fault: reset in mid-commit. The server does not come back: the error says to look before the commit is repeated."""
    store = PostgresStore(wire.address, schema=postgres_tables, patience=BRIEF, connections=1)
    async with store:
        await store.now()
        wire.is_open = False
        wire.cut = "after"

        with pytest.raises(StoreUnavailableError, match="may have been made or not: look before"):
            await store.commit(Changes(handled=("imap:1",)))

        wire.is_open = True
        assert await store.was_handled("imap:1")


async def test_a_store_goes_on_after_all_its_connections_were_cut(
    wire: Wire, postgres_tables: str
) -> None:
    """Reads and commits find new ones, without an error to their callers."""
    async with PostgresStore(wire.address, schema=postgres_tables) as store:
        async with anyio.create_task_group() as group:
            for _ in range(10):
                group.start_soon(store.counts)
        for number in range(3):
            wire.cut_all()
            await store.commit(Changes(handled=(f"imap:{number}",)))
            wire.cut_all()
            assert await store.was_handled(f"imap:{number}")


async def test_a_store_whose_connections_are_all_in_use_says_so(
    sql: psycopg.Connection, postgres: str, postgres_tables: str
) -> None:
    """Reliability fault: pool exhausted. After its patience; the one that has the connection is not disturbed."""
    store = PostgresStore(postgres, schema=postgres_tables, patience=BRIEF, connections=1)
    async with store:
        with (
            locked(sql, "handled") as other,
            in_a_thread(partial(anyio.run, store.was_handled, "imap:1")),
        ):
            await anyio.to_thread.run_sync(wait_until, lambda: is_waiting(sql))
            with pytest.raises(StoreUnavailableError, match="all 1 connections were in use"):
                await store.now()
            other.rollback()
        assert await store.counts() == Counts(requests={}, runs={}, deliveries={})


async def test_a_commit_does_not_wait_for_ever_for_somebody_elses_lock(
    sql: psycopg.Connection, postgres: str, postgres_tables: str
) -> None:
    """After its patience it is given up, nothing is written, and the message says why."""
    async with PostgresStore(postgres, schema=postgres_tables, patience=BRIEF) as store:
        await store.commit(writing(a_request()))
        changes = Changes(handled=("imap:1",), audit=(an_entry(),))
        with (
            locked(sql, "audit"),
            pytest.raises(StoreUnavailableError, match="locked for too long"),
        ):
            await store.commit(changes)

        assert not await store.was_handled("imap:1")


def failing(sql: psycopg.Connection, code: str, *, times: int) -> None:
    """Have the next commits that handle a message fail with a code of the server's."""
    (schema,) = sql.execute("SELECT current_schema").fetchone() or ("",)
    sql.execute("CREATE SEQUENCE failures")
    sql.execute(
        f"""
        CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF nextval('{schema}.failures') <= {times} THEN
                RAISE EXCEPTION USING ERRCODE = '{code}';
            END IF;
            RETURN NEW;
        END $$
        """.encode()
    )
    sql.execute(
        "CREATE TRIGGER failing BEFORE INSERT ON handled FOR EACH STATEMENT EXECUTE FUNCTION fail()"
    )


@pytest.fixture(name="own_sql")
def _own_sql(postgres: str, postgres_schema: str) -> Iterator[psycopg.Connection]:
    """Yield a session whose names are those of a schema that only this test has."""
    with psycopg.connect(postgres, autocommit=True) as session:
        session.execute(f"SET search_path = {postgres_schema}, pg_catalog".encode())
        yield session


@pytest.mark.parametrize("code", ["40001", "40P01", "57P01"])
async def test_what_the_server_asks_to_be_sent_again_is_sent_again(
    postgres: str, postgres_schema: str, own_sql: psycopg.Connection, code: str
) -> None:
    """A deadlock, a failure to serialise and a shutdown are nothing that a caller hears of."""
    async with PostgresStore(postgres, schema=postgres_schema) as store:
        failing(own_sql, code, times=2)

        await store.commit(Changes(handled=("imap:1",)))

        assert await store.was_handled("imap:1")


async def test_what_never_succeeds_is_given_up(
    postgres: str, postgres_schema: str, own_sql: psycopg.Connection
) -> None:
    """After the store's patience."""
    async with PostgresStore(postgres, schema=postgres_schema, patience=BRIEF) as store:
        failing(own_sql, "40001", times=10**6)

        with pytest.raises(StoreUnavailableError, match="Nothing of this was acknowledged"):
            await store.commit(Changes(handled=("imap:1",)))


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("53100", "disk is full"),
        ("25006", "read-only"),
        ("42501", "may not do that"),
        ("57014", "statement_timeout"),
        ("XX000", "cannot be reached, refuses or has failed"),
    ],
)
async def test_a_failure_of_the_server_is_told_with_what_to_do(
    postgres: str, postgres_schema: str, own_sql: psycopg.Connection, code: str, said: str
) -> None:
    """Nothing was written, and the store goes on afterwards."""
    async with PostgresStore(postgres, schema=postgres_schema) as store:
        failing(own_sql, code, times=1)

        with pytest.raises(StoreUnavailableError, match=said):
            await store.commit(Changes(handled=("imap:0", "imap:1")))

        assert not await store.was_handled("imap:0")
        await store.commit(Changes(handled=("imap:0", "imap:1")))


async def test_tables_that_are_gone_are_named(
    postgres: str, postgres_schema: str, own_sql: psycopg.Connection
) -> None:
    """Of a store that is open, whether a table is gone or all of them."""
    async with PostgresStore(postgres, schema=postgres_schema) as store:
        for drop in ("DROP TABLE marks", f"DROP SCHEMA {postgres_schema} CASCADE"):
            own_sql.execute(drop.encode())
            with pytest.raises(StoreUnavailableError, match="are gone"):
                await store.mark("imap")


async def test_a_text_that_the_server_cannot_keep_is_refused(
    postgres: str, postgres_tables: str
) -> None:
    """A zero character or a lone surrogate where it is a column: `CodecError`, and nothing is written."""
    async with PostgresStore(postgres, schema=postgres_tables) as store:
        for text in ("\x00", "\ud800"):
            for changes in (
                Changes(handled=("imap:1", text)),
                writing(a_request(assignees=(text,)))
                if text == "\x00"
                else Changes(marks={text: ""}),
                Changes(handled=("imap:1",), signals=(a_signal(text),)),
            ):
                with pytest.raises(CodecError):
                    await store.commit(changes)
            with pytest.raises(CodecError):
                await store.was_handled(text)
        assert not await store.was_handled("imap:1")


async def test_two_that_give_a_key_to_their_runs_at_once_do_not_both_get_it(
    postgres: str, postgres_tables: str, sql: psycopg.Connection
) -> None:
    """Whoever comes second waits for the first one to be made, and is stale."""
    async with PostgresStore(postgres, schema=postgres_tables) as store:
        await store.commit(writing(a_run("run_1"), a_run("run_2")))
        second = writing(a_run("run_2", version=2, key="k"))
        with beside(sql) as other:
            other.execute("UPDATE runs SET key = 'k' WHERE run_id = 'run_1'")
            with (
                pytest.raises(StaleWriteError, match="runs_by_key"),
                in_a_thread(partial(anyio.run, store.commit, second)),
            ):
                await anyio.to_thread.run_sync(once_awaited, sql, other.commit)


async def test_a_store_that_is_not_open_says_so(postgres: str, postgres_tables: str) -> None:
    """Before it is entered and after it was left; one that is open is not entered again."""
    store = PostgresStore(postgres, schema=postgres_tables)
    with pytest.raises(ConfigurationError, match="async with store"):
        await store.now()
    async with store:
        with pytest.raises(ConfigurationError, match="make another PostgresStore"):
            await store.__aenter__()
    with pytest.raises(ConfigurationError, match="async with store"):
        await store.commit(Changes())


async def test_a_server_that_is_not_there_is_told_at_once(postgres: str) -> None:
    """When the store is opened; and a user, password or database that is not there as well."""
    parts = urlsplit(postgres)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        free = probe.getsockname()[1]
    with pytest.raises(StoreUnavailableError, match="cannot be reached"):
        await PostgresStore(f"postgresql://127.0.0.1:{free}/x").__aenter__()
    with pytest.raises(StoreUnavailableError, match="not_there"):
        await PostgresStore(parts._replace(path="/not_there").geturl()).__aenter__()


@pytest.mark.parametrize("address", ["postgresql://ann:hunter2@[db/x", "what is this"])
def test_an_address_that_cannot_be_understood_is_not_shown(address: str) -> None:
    """Because a password may be in it; the error shows what one looks like."""
    with pytest.raises(ConfigurationError, match="postgresql://user:password@host") as caught:
        PostgresStore(address)
    assert address not in str(caught.value)


def test_the_location_shows_no_secret() -> None:
    """It names host, port, database and schema."""
    store = PostgresStore("postgresql://ann:hunter2@db.example:5433/work", schema="trust")
    assert store.location == "postgresql://db.example:5433/work, schema trust"


@pytest.mark.parametrize("schema", ["", "Trust", "a b", 'a"b', "pg_trust", "1st", "a" * 64])
def test_a_schema_has_a_plain_name(schema: str) -> None:
    """So that it needs no quotes anywhere."""
    with pytest.raises(ConfigurationError, match="cannot be called"):
        PostgresStore("postgresql://db.example/work", schema=schema)


def test_a_store_has_at_least_one_connection() -> None:
    """Or it could do nothing."""
    with pytest.raises(ConfigurationError, match="at least one"):
        PostgresStore("postgresql://db.example/work", connections=0)


async def test_a_store_refuses_to_work_in_a_forked_process(
    postgres: str, postgres_tables: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its connections are those of the process that opened it."""
    async with PostgresStore(postgres, schema=postgres_tables) as store:
        monkeypatch.setattr(os, "getpid", lambda: -1)
        with pytest.raises(ConfigurationError, match="forked"):
            await store.now()
        await store.__aexit__(None, None, None)
        monkeypatch.undo()

        assert not await store.was_handled("imap:1")


async def test_a_sink_that_fails_does_not_fail_the_commit(
    postgres: str, postgres_tables: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The commit stands; the log says how many tasks a sweep has to find."""

    class Failing(Collector):
        @override
        def submit(self, tasks: Sequence[Task]) -> None:
            raise RuntimeError("no room")

    async with PostgresStore(postgres, schema=postgres_tables) as store:
        store.hand_tasks_to(Failing())
        tasks = (Task(kind="advance", subject="run_1"),)

        await store.commit(Changes(handled=("imap:1",), tasks=tasks))

        assert await store.was_handled("imap:1")
    assert "1 tasks were not taken over" in caplog.text


async def test_commits_are_forgotten_after_an_hour(
    postgres: str, postgres_tables: str, sql: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that were made lately are known, so that they are not made again."""
    monkeypatch.setattr("signoff.stores.postgres_store.FORGET_EVERY", 3)
    async with PostgresStore(postgres, schema=postgres_tables) as store:
        await store.commit(Changes())
        await store.commit(Changes())
        sql.execute("UPDATE commits SET made_at = made_at - interval '61 minutes'")

        await store.commit(Changes())

    assert sql.execute("SELECT count(*) FROM commits").fetchone() == (1,)


async def test_a_commit_is_made_whatever_becomes_of_the_trace_of_others(
    postgres: str,
    postgres_schema: str,
    own_sql: psycopg.Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What cannot be forgotten now is forgotten later."""
    monkeypatch.setattr("signoff.stores.postgres_store.FORGET_EVERY", 1)
    async with PostgresStore(postgres, schema=postgres_schema) as store:
        own_sql.execute("DROP FUNCTION forget_commits")

        await store.commit(Changes(handled=("imap:1",)))

        assert await store.was_handled("imap:1")


async def leave_once_awaited(store: PostgresStore) -> None:
    """Leave a store when somebody waits for one of its connections."""
    pool = store._server._pool
    assert pool is not None
    await anyio.to_thread.run_sync(wait_until, lambda: bool(pool.get_stats()["requests_waiting"]))
    await store.__aexit__(None, None, None)


async def test_what_was_begun_is_finished_when_the_store_is_left(
    sql: psycopg.Connection, postgres: str, postgres_tables: str
) -> None:
    """A commit that waits for a lock is made; one that waits for a connection is not."""
    first, second = Changes(handled=("imap:1",)), Changes(handled=("imap:2",))
    store = PostgresStore(postgres, schema=postgres_tables, connections=1)
    async with store:
        await store.commit(Changes())
        with beside(sql) as other:
            other.execute("LOCK TABLE handled IN ACCESS EXCLUSIVE MODE")
            with in_a_thread(partial(anyio.run, store.commit, first)):
                await anyio.to_thread.run_sync(wait_until, lambda: is_waiting(sql))
                with (
                    pytest.raises(ConfigurationError, match="not open"),
                    in_a_thread(partial(anyio.run, store.commit, second)),
                ):
                    await leave_once_awaited(store)
                other.rollback()

    assert sql.execute("SELECT key FROM handled").fetchall() == [("imap:1",)]


async def test_nothing_depends_on_the_time_zone_or_search_path_of_a_session(
    postgres: str, postgres_tables: str
) -> None:
    """Instants are read as they were written, and names are found."""
    options = "?options=-ctimezone%3DAsia/Kathmandu%20-csearch_path%3Dnowhere"
    request = a_request(expires_at=NOON)
    async with PostgresStore(postgres + options, schema=postgres_tables) as store:
        await store.commit(writing(request))

        assert await store.request("req_1") == request
        assert list(await store.expired(NOON, limit=1)) == ["req_1"]
        assert list(await store.expired(NOON - MICROSECOND, limit=1)) == []


async def test_without_prepared_statements_all_is_the_same(
    postgres: str, postgres_tables: str, sql: psycopg.Connection
) -> None:
    """As behind a pooler that hands each transaction another session."""
    store = PostgresStore(postgres, schema=postgres_tables, prepare=False, connections=1)
    async with store:
        for number in range(8):
            await store.commit(Changes(handled=(f"imap:{number}",)))
            assert await store.was_handled(f"imap:{number}")
            await store._call(lambda session: session.run(Query("DISCARD ALL")))


def test_without_the_extra_the_error_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """`pip install 'signoff[postgres]'` is all that is missing."""
    for name in [name for name in sys.modules if name.startswith("signoff.stores.postgres")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "psycopg", None)

    with pytest.raises(ImportError, match=r"signoff\[postgres\]"):
        importlib.import_module("signoff.stores.postgres")
