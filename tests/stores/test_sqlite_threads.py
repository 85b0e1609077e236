"""How a SQLiteStore's threads serve tasks of any loop: together, in order, and to the end."""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, closing
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import anyio
import anyio.from_thread
import pytest
from anyio.lowlevel import checkpoint
from typing_extensions import override

import signoff.stores.sqlite_writer
from signoff.errors import ConfigurationError
from signoff.model.changes import Changes, Task
from signoff.ports import TaskSink
from signoff.stores.sqlite import SQLiteStore
from signoff.stores.sqlite_jobs import Job
from signoff.stores.sqlite_writer import BATCH, Writer
from signoff.testing.builders import a_request, writing

PATIENCE = 10


def writer_of(store: SQLiteStore) -> Writer:
    """Return the writer of an open store."""
    assert store._threads is not None
    return store._threads[0]


class Held:
    """A job that keeps a thread busy until it is let go."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.end = threading.Event()

    def __call__(self, _: sqlite3.Connection) -> None:
        """Wait to be let go."""
        self.begun.set()
        assert self.end.wait(PATIENCE)


async def until(condition: Callable[[], bool]) -> None:
    """Let others run until something has become so."""
    with anyio.fail_after(PATIENCE):
        while not condition():
            await checkpoint()


@asynccontextmanager
async def busy(store: SQLiteStore) -> AsyncIterator[anyio.abc.TaskGroup]:
    """Keep the writer busy in the block; its tasks are waited for behind it."""
    held = Held()
    async with anyio.create_task_group() as group:
        group.start_soon(writer_of(store).call, held)
        await until(held.begun.is_set)
        try:
            yield group
        finally:
            held.end.set()


@pytest.fixture(name="store")
async def _store(tmp_path: Path) -> AsyncIterator[SQLiteStore]:
    """Yield an open store."""
    async with SQLiteStore(tmp_path / "signoff.db") as store:
        yield store


class Counting(sqlite3.Connection):
    """A connection that counts its transactions."""

    commits: ClassVar[int] = 0

    @override
    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        """Count the commits."""
        Counting.commits += sql == "COMMIT"
        return super().execute(sql, parameters)


async def test_commits_that_wait_together_share_a_transaction(tmp_path: Path) -> None:
    """Up to 512 of them; the order they came in is the order they are made in."""
    store = SQLiteStore(tmp_path / "signoff.db")
    store._connection_class = Counting
    made: list[int] = []

    async def commit(version: int) -> None:
        await store.commit(writing(a_request(version=version)))
        made.append(version)

    async with store:
        async with busy(store) as group:
            Counting.commits = 0
            for version in range(1, BATCH + 9):
                group.start_soon(commit, version)
                await checkpoint()

        assert sorted(made) == list(range(1, BATCH + 9))
        # That of the job that kept the writer busy, and two more.
        assert Counting.commits == 3
        assert (await store.request("req_1")).version == BATCH + 8


async def test_a_commit_that_was_not_begun_is_withdrawn_by_a_cancel(store: SQLiteStore) -> None:
    """Its caller leaves at once, and it is never made."""
    async with busy(store):
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as group:
                group.start_soon(store.commit, Changes(handled=("imap:1",)))
                await checkpoint()
                await checkpoint()
                scope.cancel()

    await store.commit(Changes(handled=("imap:2",)))
    assert not await store.was_handled("imap:1")


async def test_a_commit_that_was_begun_is_finished_in_spite_of_a_cancel(
    store: SQLiteStore,
) -> None:
    """Its caller is let go when it is settled, not before, and as cancelled."""
    begun, end = threading.Event(), threading.Event()
    ended: list[str] = []

    def work(connection: sqlite3.Connection) -> None:
        begun.set()
        assert end.wait(PATIENCE)
        connection.execute("INSERT INTO handled VALUES ('imap:1')")

    async def commit() -> None:
        try:
            await writer_of(store).call(work)
        except anyio.get_cancelled_exc_class():
            ended.append("cancelled")
            raise

    async with anyio.create_task_group() as group:
        group.start_soon(commit)
        await until(begun.is_set)
        group.cancel_scope.cancel()
        with anyio.CancelScope(shield=True):
            for _ in range(20):
                await checkpoint()
            assert ended == []
            end.set()

    assert ended == ["cancelled"]
    assert await store.was_handled("imap:1")


async def test_leaving_finishes_the_commits_that_wait(store: SQLiteStore) -> None:
    """Whoever has asked before the store is left is served; whoever asks then is refused."""
    async with busy(store) as group:
        for number in range(20):
            group.start_soon(store.commit, Changes(handled=(f"imap:{number}",)))
            await checkpoint()
        group.start_soon(store.__aexit__, None, None, None)
        await until(lambda: store._threads is None)
        with pytest.raises(ConfigurationError, match="is not open"):
            await store.commit(Changes())

    async with store:
        assert all([await store.was_handled(f"imap:{number}") for number in range(20)])


async def test_a_job_for_threads_that_have_ended_is_refused(store: SQLiteStore) -> None:
    """Rather than waited for without end, should a caller come in between."""
    writer = writer_of(store)
    await store.__aexit__(None, None, None)

    with pytest.raises(ConfigurationError, match="the store is closed"):
        await writer.call(lambda _: None)


async def test_no_thread_is_left_behind(tmp_path: Path) -> None:
    """Three threads while a store is open, none before and after, and after a failed opening."""
    before = set(threading.enumerate())
    store = SQLiteStore(tmp_path / "signoff.db")

    async with store:
        assert _threads_of_a_store(set(threading.enumerate()) - before) == [
            "signoff-reader-0 signoff.db",
            "signoff-reader-1 signoff.db",
            "signoff-writer signoff.db",
        ]

    assert not _threads_of_a_store(set(threading.enumerate()) - before)
    (tmp_path / "signoff.db").write_bytes(b"no database" * 99)
    with pytest.raises(Exception, match="not an SQLite database"):
        await store.__aenter__()
    await until(lambda: not _threads_of_a_store(set(threading.enumerate()) - before))


def _threads_of_a_store(threads: set[threading.Thread]) -> list[str]:
    return sorted(thread.name for thread in threads if thread.name.startswith("signoff"))


async def test_entering_may_be_cancelled(tmp_path: Path) -> None:
    """Whoever gives up on a file that another program has locked leaves at once, and may come again."""
    async with SQLiteStore(tmp_path / "signoff.db"):
        pass
    store = SQLiteStore(tmp_path / "signoff.db")
    with closing(sqlite3.connect(tmp_path / "signoff.db", isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        other.execute("CREATE TABLE t (x)")
        other.execute("DROP TABLE t")
        with anyio.fail_after(PATIENCE / 2), anyio.move_on_after(0.05):
            await store.__aenter__()
        other.execute("COMMIT")

    async with store:
        await store.commit(Changes(handled=("imap:1",)))


def in_own_thread(call: Callable[[], Awaitable[object]], backend: str) -> threading.Thread:
    """Start a thread with a loop of its own in which something is awaited."""
    thread = threading.Thread(target=anyio.run, args=(call,), kwargs={"backend": backend})
    thread.start()
    return thread


async def test_loops_of_both_kinds_share_a_store(store: SQLiteStore) -> None:
    """Four threads, two loops of each kind, and everyone reads what the others have written."""

    async def work(name: str) -> None:
        async with anyio.create_task_group() as group:
            for number in range(10):
                group.start_soon(store.commit, Changes(handled=(f"{name}:{number}",)))
        assert await store.was_handled(f"{name}:9")

    names = ["asyncio 1", "asyncio 2", "trio 1", "trio 2"]
    threads = [in_own_thread(partial(work, name), name.split()[0]) for name in names]
    for thread in threads:
        await anyio.to_thread.run_sync(thread.join)

    for name in names:
        assert all([await store.was_handled(f"{name}:{number}") for number in range(10)])


@pytest.mark.parametrize("other", ["asyncio", "trio"])
async def test_a_blocked_loop_holds_up_nobody_else(store: SQLiteStore, other: str) -> None:
    """Code that blocks one loop delays only what is told to that loop."""
    blocked, end = threading.Event(), threading.Event()

    async def block() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(store.commit, Changes(handled=("imap:0",)))
            await checkpoint()
            blocked.set()
            assert end.wait(PATIENCE)

    thread = in_own_thread(block, other)
    await until(blocked.is_set)
    with anyio.fail_after(PATIENCE / 2):
        for number in range(1, 4):
            await store.commit(Changes(handled=(f"imap:{number}",)))
            assert await store.was_handled(f"imap:{number}")
    end.set()
    await anyio.to_thread.run_sync(thread.join)

    assert await store.was_handled("imap:0")


@pytest.mark.parametrize("other", ["asyncio", "trio"])
async def test_a_loop_that_has_ended_is_not_missed(store: SQLiteStore, other: str) -> None:
    """Its commit is made, and the next one too."""
    held = Held()

    async def leave() -> None:
        def work(connection: sqlite3.Connection) -> None:
            held(connection)
            connection.execute("INSERT INTO handled VALUES ('imap:1')")

        writer_of(store)._jobs._put(Job(work))

    thread = in_own_thread(leave, other)
    await anyio.to_thread.run_sync(thread.join)
    held.end.set()

    await store.commit(Changes(handled=("imap:2",)))
    assert await store.was_handled("imap:1")


class Sink(TaskSink):
    """A sink that notes what was stored when it was given tasks, and then breaks."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.found: list[tuple[Sequence[Task], list[str]]] = []

    @override
    def submit(self, tasks: Sequence[Task]) -> None:
        """Note what another program reads now, and break."""
        with closing(sqlite3.connect(self.path)) as file:
            keys = [key for (key,) in file.execute("SELECT key FROM handled")]
        self.found.append((tasks, keys))
        raise RuntimeError("no engine")


async def test_tasks_are_handed_over_after_the_commit_whatever_the_sink_does(
    store: SQLiteStore, caplog: pytest.LogCaptureFixture
) -> None:
    """They are there for others when the sink is told; its failure is logged, no more."""
    sink = Sink(Path(store.location))
    store.hand_tasks_to(sink)
    task = Task(kind="advance", subject="run_1")

    await store.commit(Changes(handled=("imap:1",), tasks=(task,)))
    await store.commit(Changes(handled=("imap:2",)))

    assert sink.found == [((task,), ["imap:1"])]
    (record,) = [one for one in caplog.records if one.levelno >= logging.ERROR]
    assert record.getMessage() == "1 tasks were not taken over; a sweep finds them"


def log_of(store: SQLiteStore) -> int:
    """Return the size of the log."""
    return Path(f"{store.location}-wal").stat().st_size


async def test_the_log_is_copied_into_the_file_when_there_is_nothing_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A while after the last commit it is empty, and nothing is lost by that."""
    monkeypatch.setattr(signoff.stores.sqlite_writer, "IDLE_SECONDS", 0.01)
    async with SQLiteStore(tmp_path / "signoff.db") as store:
        for number in range(3):
            await store.commit(Changes(handled=(f"imap:{number}",)))
            await until(lambda: log_of(store) == 0)
            assert await store.was_handled(f"imap:{number}")


async def test_the_log_does_not_grow_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond its limit it is copied in the midst of work; a reader elsewhere only puts that off."""
    monkeypatch.setattr(signoff.stores.sqlite_writer, "IDLE_SECONDS", 3600)
    monkeypatch.setattr(signoff.stores.sqlite_writer, "LOG_BYTES", 100_000)
    monkeypatch.setattr(signoff.stores.sqlite_writer, "CHECKPOINT_MILLISECONDS", 1)
    path = tmp_path / "signoff.db"
    async with SQLiteStore(path) as store:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN")
            other.execute("SELECT * FROM requests").fetchall()
            for number in range(30):
                await store.commit(writing(a_request(f"req_{number}", message="x" * 9_000)))
            assert log_of(store) > 300_000

        for number in range(30, 60):
            await store.commit(writing(a_request(f"req_{number}", message="x" * 9_000)))
        await store.commit(Changes())
        assert log_of(store) < 300_000
        assert dict((await store.counts()).requests) == {"pending": 60}
