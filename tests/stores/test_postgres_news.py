"""Processes over one PostgreSQL schema that wake each other, and what happens when they cannot."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import anyio
import psycopg
import pytest
from anyio.lowlevel import checkpoint

from signoff import Client, Flow, start
from signoff.errors import ConfigurationError
from signoff.model.changes import Changes, Task
from signoff.model.run import Run
from signoff.security.keyring import Keyring
from signoff.stores.postgres import PostgresStore
from signoff.stores.postgres_news import News

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

KEYS = Keyring.generate()
SOON = timedelta(seconds=60)
LINES = "SELECT pid FROM pg_stat_activity WHERE query LIKE 'LISTEN%%' AND query LIKE %s"


class Errand(Flow, name="postgres_news.errand"):
    """One step."""

    @start()
    async def go(self) -> str:
        """Say that it was done."""
        return "done"


@pytest.fixture(name="no_sweep", autouse=True)
def _no_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sweep when serving begins, and not again."""
    monkeypatch.setattr("signoff.worker.SWEEP_SECONDS", 3600.0)


@pytest.fixture(name="open_client")
def _open_client(postgres: str, postgres_tables: str) -> Callable[..., Client]:
    """Return what makes clients over one schema, each as if in a process of its own."""

    def make(**options: object) -> Client:
        store = PostgresStore(postgres, schema=postgres_tables, **options)  # type: ignore[arg-type]  # the tests name them
        return Client(store, keyring=KEYS)

    return make


def lines(address: str, schema: str) -> list[int]:
    """Return the server's processes of the connections that listen for a schema's news."""
    channel = News(address, place="", schema=schema).channel
    with psycopg.connect(address) as session:
        return [pid for (pid,) in session.execute(LINES, (f"%{channel}%",))]


async def until_heard(address: str, schema: str, *, besides: Sequence[int] = ()) -> int:
    """Return the process of a listening connection, once there is one and it has heard its echo."""
    with anyio.fail_after(SOON.total_seconds()):
        while True:
            found = await anyio.to_thread.run_sync(lines, address, schema)
            new = set(found).difference(besides)
            if new:
                return new.pop()


async def ends(client: Client, run: Run) -> None:
    """Wait until a run has ended well."""
    assert (await client.flows.wait(run.run_id, timeout=SOON)).output == "done"


async def test_a_commit_of_another_client_is_heard_at_once(
    open_client: Callable[..., Client],
) -> None:
    """Nobody sweeps, and three runs that one client starts are driven by the other, one after the other."""
    here, there = open_client(), open_client()
    async with here, there, here.serving():
        for _ in range(3):
            await ends(there, await there.flows.start(Errand))


async def test_another_process_is_heard_at_once(
    open_client: Callable[..., Client],
    postgres: str,
    postgres_tables: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It starts two runs, the second when the first has ended; they are driven here."""
    monkeypatch.setenv("SIGNOFF_KEY", KEYS.to_text())
    program = f"""
import anyio
from signoff import Client, Flow, start
from signoff.stores.postgres import PostgresStore

class Errand(Flow, name="postgres_news.errand"):
    @start()
    async def go(self):
        raise AssertionError

async def begin():
    async with Client(PostgresStore({postgres!r}, schema={postgres_tables!r})) as client:
        for _ in range(2):
            run = await client.flows.start(Errand)
            print((await client.flows.wait(run.run_id)).output, flush=True)

anyio.run(begin)
"""
    async with open_client() as client, client.serving():
        with anyio.fail_after(SOON.total_seconds()):
            done = await anyio.run_process([sys.executable, "-c", program], stderr=sys.stderr)

    assert done.stdout == b"done\ndone\n"


async def test_a_line_that_is_ended_is_drawn_again_and_what_was_missed_is_looked_for(
    open_client: Callable[..., Client],
    postgres: str,
    postgres_tables: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The server ends the listening connection; what is committed meanwhile and later is driven."""
    monkeypatch.setattr("signoff.stores.postgres_news.AGAIN_SECONDS", 0.01)
    here, there = open_client(), open_client()
    async with here, there, here.serving():
        await ends(there, await there.flows.start(Errand))
        line = await until_heard(postgres, postgres_tables)
        with psycopg.connect(postgres, autocommit=True) as session:
            session.execute("SELECT pg_terminate_backend(%s)", (line,))
        await ends(there, await there.flows.start(Errand))
        await until_heard(postgres, postgres_tables, besides=[line])
        await ends(there, await there.flows.start(Errand))


async def test_without_news_nothing_is_told_and_the_sweep_finds_it(
    open_client: Callable[..., Client],
    postgres: str,
    postgres_tables: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """There is no listening connection, and no notification."""
    monkeypatch.setattr("signoff.worker.SWEEP_SECONDS", 0.05)
    here, there = open_client(news=False), open_client(news=False)
    async with here, there, listening(postgres, postgres_tables) as heard, here.serving():
        await ends(there, await there.flows.start(Errand))
        assert await anyio.to_thread.run_sync(lines, postgres, postgres_tables) == [heard.pid]
        assert heard.all() == []


async def test_what_cannot_hear_says_so_once_and_is_left_to_the_sweep(
    open_client: Callable[..., Client],
    postgres: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """No echo comes in by the address that was given, as behind a pooler in transaction mode."""
    monkeypatch.setattr("signoff.worker.SWEEP_SECONDS", 0.05)
    monkeypatch.setattr("signoff.stores.postgres_news.ECHO_SECONDS", 0.01)
    monkeypatch.setattr("signoff.stores.postgres_news.DEAF_SECONDS", 0.01)
    echoes = 0
    told = News._told

    def counted(news: News, what: str) -> str:
        nonlocal echoes
        echoes += what == "echo"
        return told(news, what)

    monkeypatch.setattr(News, "_told", counted)
    deaf = urlsplit(postgres)._replace(path="/template1").geturl()
    here, there = open_client(news=deaf), open_client()
    async with here, there, here.serving():
        await ends(there, await there.flows.start(Errand))
        with anyio.fail_after(SOON.total_seconds()):
            while echoes < 3:
                await checkpoint()
    warnings = [one.message for one in caplog.records if one.levelno == logging.WARNING]
    assert [one for one in warnings if "pooler in transaction mode" in one] == warnings[:1]
    assert "give PostgresStore(news=...) the address of the server itself" in warnings[0]


async def test_a_server_that_is_gone_is_called_again(
    open_client: Callable[..., Client],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Serving goes on meanwhile, and ends at once when it is to."""
    caplog.set_level(logging.INFO, "signoff.stores.postgres")
    monkeypatch.setattr("signoff.stores.postgres_news.AGAIN_SECONDS", 0.01)
    async with open_client(news="postgresql://127.0.0.1:1/nowhere") as client, client.serving():
        with anyio.fail_after(SOON.total_seconds()):
            while caplog.text.count("are not heard for now") < 2:
                await checkpoint()
            await ends(client, await client.flows.start(Errand))


class Heard:
    """A connection that listens as a program of somebody else would."""

    def __init__(self, connection: psycopg.Connection[tuple[object, ...]]) -> None:
        self._connection = connection
        self.pid = connection.info.backend_pid

    def all(self) -> list[str]:
        """Return what was told so far."""
        self._connection.execute("SELECT")
        return [one.payload for one in self._connection.notifies(timeout=0)]


@asynccontextmanager
async def listening(address: str, schema: str) -> AsyncGenerator[Heard]:
    """Yield a connection that listens for a schema's news."""
    channel = News(address, place="", schema=schema).channel
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute(f'LISTEN "{channel}"'.encode())
        yield Heard(connection)


class Sink:
    """Takes tasks and forgets them."""

    takes_news = True

    def submit(self, tasks: Sequence[Task]) -> None:
        """Forget them."""


async def test_a_commit_tells_what_is_to_be_done_now_in_few_bytes(
    postgres: str, postgres_tables: str
) -> None:
    """Kinds and ids; what is for later is not told, and of many tasks only that there are some."""
    store = PostgresStore(postgres, schema=postgres_tables)
    store.hand_tasks_to(Sink())
    async with store, listening(postgres, postgres_tables) as heard:
        now = await store.now()
        later = Task(kind="deliver", subject="dlv_2", not_before=now + timedelta(days=1))
        first = Task(kind="advance", subject="run_1")
        await store.commit(Changes(tasks=(first, later)))
        await store.commit(Changes(tasks=(later,)))
        await store.commit(Changes())
        await store.commit(Changes(tasks=(first,) * 400))

        told = [json.loads(one) for one in heard.all()]
    assert [what for _, what in told] == [[["advance", "run_1"]], "many"]
    assert len({who for who, _ in told}) == 1


async def test_an_engine_that_needs_no_news_is_told_none(
    postgres: str, postgres_tables: str
) -> None:
    """Where the engine reaches the other processes by itself, a commit tells nothing."""

    class Other:
        def submit(self, tasks: Sequence[Task]) -> None:
            """Reach them."""

    store = PostgresStore(postgres, schema=postgres_tables)
    store.hand_tasks_to(Other())
    async with store, listening(postgres, postgres_tables) as heard:
        await store.commit(Changes(tasks=(Task(kind="advance", subject="run_1"),)))
        assert heard.all() == []


@pytest.mark.parametrize(
    ("payload", "outcome"),
    [
        ('["other",[["advance","run_1"],["deadline","req_1"]]]', ["run_1", "req_1"]),
        ('["other","many"]', "looked"),
        ('["other","what a newer one says"]', "looked"),
        ("no JSON", "looked"),
        ('["other",[["unheard-of","run_1"]]]', "looked"),
        ('["other","echo"]', []),
    ],
)
async def test_what_is_heard_becomes_tasks_or_a_look_at_the_tables(
    postgres: str, postgres_tables: str, payload: str, outcome: object
) -> None:
    """Whoever may connect may tell something: nothing of it does more than wake."""
    heard: list[str] = []
    looks = 0
    came = anyio.Event()
    store = PostgresStore(postgres, schema=postgres_tables)

    def hear(tasks: Sequence[Task]) -> None:
        heard.extend(task.subject for task in tasks)
        if "run_end" in heard:
            came.set()

    async def look() -> None:
        nonlocal looks
        looks += 1
        if looks == 1:
            await anyio.to_thread.run_sync(partial(tell, postgres, postgres_tables, payload))

    with anyio.fail_after(SOON.total_seconds()):
        async with store, anyio.create_task_group() as group:
            group.start_soon(partial(store.bring_news, hear, look=look))
            await came.wait()
            group.cancel_scope.cancel()
    assert (heard[:-1], looks) == (([], 2) if outcome == "looked" else (outcome, 1))


def tell(address: str, schema: str, payload: str) -> None:
    """Tell something on a schema's channel, and then where it ends."""
    channel = News(address, place="", schema=schema).channel
    with psycopg.connect(address, autocommit=True) as session:
        for one in (payload, '["other",[["advance","run_end"]]]'):
            session.execute("SELECT pg_notify(%s, %s)", (channel, one))


def test_an_address_to_hear_by_that_cannot_be_understood_is_refused(postgres: str) -> None:
    """As the store's own address is."""
    with pytest.raises(ConfigurationError, match="cannot be understood"):
        PostgresStore(postgres, news="postgresql://[")
