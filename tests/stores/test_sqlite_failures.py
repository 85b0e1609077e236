"""What becomes of commits when the storage fails: nothing acknowledged is lost, nothing half made."""

from __future__ import annotations

import shutil
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any, ClassVar

import anyio
import pytest
from anyio.lowlevel import checkpoint
from typing_extensions import override

from signoff.errors import StoreUnavailableError
from signoff.model.changes import Changes
from signoff.ports import RequestQuery
from signoff.stores.sqlite import SQLiteStore
from signoff.stores.sqlite_writer import Writer
from signoff.testing.builders import a_request, writing
from signoff.testing.store_contract.base import SetClock
from signoff.testing.store_contract.examples import FIRST, SECOND, picture

SOON = timedelta(milliseconds=50)


def raw(path: str | Path) -> closing[sqlite3.Connection]:
    """Open a file as another program does; each statement commits by itself."""
    return closing(sqlite3.connect(path, isolation_level=None, timeout=0))


def writer_of(store: SQLiteStore) -> Writer:
    """Return the writer of an open store."""
    assert store._threads is not None
    return store._threads[0]


async def seen_anew(path: str) -> dict[str, object]:
    """Return what a store that is opened now tells."""
    async with SQLiteStore(path) as store:
        return await picture(store)


class Fails(sqlite3.Connection):
    """A connection that fails before or after statements that a test chooses."""

    before: ClassVar[Callable[[str], bool]]
    after: ClassVar[Callable[[str], bool]]
    error: ClassVar[Exception]

    @classmethod
    def never(cls) -> None:
        """Let it work from now on."""
        cls.before = cls.after = staticmethod(lambda _: False)
        cls.error = sqlite3.OperationalError("disk I/O error")

    @override
    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        """Fail where the test says so."""
        if Fails.before(sql):
            raise Fails.error
        cursor = super().execute(sql, parameters)
        if Fails.after(sql):
            raise Fails.error
        return cursor

    @override
    def executemany(self, sql: str, parameters: Any, /) -> sqlite3.Cursor:
        """Run one after the other."""
        cursor = self.cursor()
        for row in parameters:
            cursor = self.execute(sql, row)
        return cursor


@pytest.fixture(name="failing")
async def _failing(tmp_path: Path) -> AsyncIterator[SQLiteStore]:
    """Yield an open store whose connections fail where the test says so."""
    Fails.never()
    store = SQLiteStore(tmp_path / "signoff.db")
    store._connection_class = Fails
    async with store:
        yield store
        Fails.never()


@asynccontextmanager
async def gathering(store: SQLiteStore) -> AsyncIterator[anyio.abc.TaskGroup]:
    """Keep the writer busy in the block, so that the tasks started there commit together."""
    begun, end = threading.Event(), threading.Event()

    def hold(_: sqlite3.Connection) -> None:
        begun.set()
        end.wait(10)

    async with anyio.create_task_group() as group:
        group.start_soon(writer_of(store).call, hold)
        while not begun.is_set():
            await checkpoint()
        try:
            yield group
            for _ in range(3):
                await checkpoint()
        finally:
            end.set()


async def outcomes(store: SQLiteStore, commits: list[Changes]) -> list[str]:
    """Make commits in one transaction, and return what became of each of them."""
    found = [""] * len(commits)

    async def commit(number: int) -> None:
        try:
            await store.commit(commits[number])
            found[number] = "made"
        except Exception as error:  # noqa: BLE001 - that is what is asked
            found[number] = type(error).__name__

    async with gathering(store) as group:
        for number in range(len(commits)):
            group.start_soon(commit, number)
            await checkpoint()
    return found


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_commit_that_fails_anywhere_is_whole_or_nothing(tmp_path: Path, when: str) -> None:
    """Reliability 1: at whichever statement it fails, all that is read anew is as before, or as it should be."""
    Fails.never()
    base = tmp_path / "base.db"
    async with SQLiteStore(base) as store:
        await store.commit(FIRST)
    old = await seen_anew(str(base))
    async with SQLiteStore(shutil.copy(base, tmp_path / "new.db")) as store:
        store.use_clock(SetClock())
        await store.commit(SECOND)
    new = await seen_anew(str(tmp_path / "new.db"))
    pictures: list[dict[str, object]] = []

    for step in count():
        store = SQLiteStore(shutil.copy(base, tmp_path / f"{step}.db"))
        store._connection_class = Fails
        store.use_clock(SetClock())
        statements = count()
        async with store:
            setattr(
                Fails, when, lambda _, step=step, statements=statements: next(statements) == step
            )
            try:
                await store.commit(SECOND)
                break
            except StoreUnavailableError:
                Fails.never()
        pictures.append(await seen_anew(store.location))

    made = pictures.index(new) if new in pictures else len(pictures)
    assert len(pictures) > 30
    assert pictures[:made] == [old] * made
    # Only a COMMIT that fails after its work was done is made, and not acknowledged.
    assert len(pictures) - made == (when == "after")


async def test_one_commit_of_many_fails_alone(failing: SQLiteStore) -> None:
    """What is stale, cannot be stored or breaks in the midst is undone; the others are made."""
    Fails.before = staticmethod(lambda sql: "marks" in sql)

    found = await outcomes(
        failing,
        [
            Changes(handled=("imap:1",)),
            Changes(handled=("imap:2", "imap:1")),
            Changes(handled=("imap:3",), marks={"imap": "3"}),
            Changes(handled=("imap:4", "\ud800")),
            Changes(handled=("imap:5",)),
        ],
    )

    assert found == ["made", "StaleWriteError", "StoreUnavailableError", "CodecError", "made"]
    handled = [await failing.was_handled(f"imap:{number}") for number in range(1, 6)]
    assert handled == [True, False, False, False, True]


@pytest.mark.parametrize("error", [sqlite3.OperationalError("disk I/O error"), RuntimeError("bug")])
async def test_what_is_not_synced_is_acknowledged_to_nobody(
    failing: SQLiteStore, error: Exception
) -> None:
    """A transaction that fails fails all who share it: also whoever was stale only within it."""
    # The first COMMIT is that of the job that keeps the writer busy.
    commits = count()
    Fails.before = staticmethod(lambda sql: sql == "COMMIT" and next(commits) == 1)
    Fails.error = error

    found = await outcomes(
        failing, [Changes(handled=("imap:1",)), Changes(handled=("imap:1",)), Changes()]
    )

    assert found == ["StoreUnavailableError"] * 3
    assert not await failing.was_handled("imap:1")
    Fails.never()
    await failing.commit(Changes(handled=("imap:1",)))


async def test_a_transaction_that_sqlite_gives_up_fails_whole(failing: SQLiteStore) -> None:
    """After some errors SQLite has undone everything by itself; nobody's share is left."""

    def give_up(connection: sqlite3.Connection) -> None:
        connection.execute("ROLLBACK")
        raise sqlite3.OperationalError("disk I/O error")

    errors: list[Exception] = []

    async def call() -> None:
        try:
            await writer_of(failing).call(give_up)
        except StoreUnavailableError as error:
            errors.append(error)

    async def commit() -> None:
        try:
            await failing.commit(Changes(handled=("imap:1",)))
        except StoreUnavailableError as error:
            errors.append(error)

    async with gathering(failing) as group:
        group.start_soon(commit)
        await checkpoint()
        group.start_soon(call)

    assert len(errors) == 2
    assert errors[0] is not errors[1]
    assert [str(error.__cause__) for error in errors] == [str(errors[0].__cause__)] * 2
    assert not await failing.was_handled("imap:1")


async def test_an_error_of_the_work_itself_is_raised_as_it_is(failing: SQLiteStore) -> None:
    """And what it did before is undone."""

    def fail(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO handled VALUES ('imap:1')")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await writer_of(failing).call(fail)

    assert not await failing.was_handled("imap:1")


async def test_a_connection_that_cannot_be_closed_is_dropped(failing: SQLiteStore) -> None:
    """After an error the file is opened anew, and the commit that is tried again is made."""
    opened: list[sqlite3.Connection] = []
    await writer_of(failing).call(opened.append)
    Fails.before = staticmethod(lambda sql: sql == "BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailableError):
        await failing.commit(Changes(handled=("imap:1",)))
    Fails.never()

    await failing.commit(Changes(handled=("imap:1",)))

    await writer_of(failing).call(opened.append)
    assert opened[0] is not opened[1]


async def test_a_full_disk_is_said_to_be_full(tmp_path: Path) -> None:
    """Reliability fault: full disk. Nothing of the commit is there; with room again, it is made."""
    async with SQLiteStore(tmp_path / "signoff.db") as store:
        await store.commit(writing(a_request()))
        await writer_of(store).call(_limit_pages_to(1))

        for _ in range(2):
            with pytest.raises(StoreUnavailableError, match="the disk is full; make room"):
                await store.commit(writing(a_request("req_2", message="x" * 100_000)))
        assert await store.requests(RequestQuery()) == [a_request()]

        await writer_of(store).call(_limit_pages_to(10_000))
        await store.commit(writing(a_request("req_2")))

    async with SQLiteStore(tmp_path / "signoff.db") as store:
        assert await store.requests(RequestQuery()) == [a_request(), a_request("req_2")]


def _limit_pages_to(number: int) -> Callable[[sqlite3.Connection], None]:
    def limit(connection: sqlite3.Connection) -> None:
        connection.execute(f"PRAGMA max_page_count = {number}").fetchone()

    return limit


async def test_a_file_that_stays_locked_is_said_to_be_locked(tmp_path: Path) -> None:
    """Reliability fault: locked. Beyond `busy_timeout`; once the other program is done, the commit is made."""
    async with SQLiteStore(tmp_path / "signoff.db", busy_timeout=SOON) as store:
        with raw(store.location) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreUnavailableError, match=r"locked for too long.*busy_timeout"):
                await store.commit(Changes(handled=("imap:1",)))
            assert not await store.was_handled("imap:1")
            other.execute("COMMIT")

        await store.commit(Changes(handled=("imap:1",)))


async def test_who_waits_for_a_lock_can_still_withdraw(tmp_path: Path) -> None:
    """A cancelled commit leaves at once, however long the other program takes, and is never made."""
    async with SQLiteStore(tmp_path / "signoff.db") as store:
        with raw(store.location) as other:
            other.execute("BEGIN IMMEDIATE")
            with anyio.move_on_after(0.05) as scope:
                await store.commit(Changes(handled=("imap:1",)))
            assert scope.cancelled_caught
            other.execute("COMMIT")

        await store.commit(Changes(handled=("imap:2",)))
        assert not await store.was_handled("imap:1")


@pytest.mark.parametrize("become", ["moved", "deleted", "replaced"])
async def test_a_file_that_is_not_there_any_more_is_not_written(
    tmp_path: Path, become: str
) -> None:
    """Nobody would find what was acknowledged. Put back, or left and entered, the store goes on."""
    path, away = tmp_path / "signoff.db", tmp_path / "away.db"
    async with SQLiteStore(path) as store:
        await store.commit(writing(a_request()))
        path.rename(away)
        if become == "replaced":
            path.write_bytes(away.read_bytes())

        for key in ("imap:1", "imap:2"):
            with pytest.raises(StoreUnavailableError, match="was moved, deleted or replaced"):
                await store.commit(Changes(handled=(key,)))

        if become == "moved":
            away.rename(path)
            await store.commit(Changes(handled=("imap:3",)))
            assert await store.request("req_1") == a_request()

    for leftover in ("signoff.db", "signoff.db-wal", "signoff.db-shm"):
        (tmp_path / leftover).unlink(missing_ok=True)
    async with store:
        assert await store.requests(RequestQuery()) == []


async def test_a_damaged_page_is_said_to_be_damaged(tmp_path: Path) -> None:
    """Reliability fault: corrupted page. What lies on other pages is still read."""
    path = tmp_path / "signoff.db"
    async with SQLiteStore(path) as store:
        await store.commit(FIRST)
    with raw(path) as file:
        (page,) = file.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = 'requests'"
        ).fetchone()
        (size,) = file.execute("PRAGMA page_size").fetchone()
    content = bytearray(path.read_bytes())
    content[(page - 1) * size : page * size] = b"\xa5" * size
    path.write_bytes(content)

    async with SQLiteStore(path) as store:
        with pytest.raises(StoreUnavailableError, match=r"is damaged.*backup"):
            await store.request("req_1")
        with pytest.raises(StoreUnavailableError, match="is damaged"):
            await store.commit(writing(a_request(version=2)))
        assert (await store.run("run_1")).record == FIRST.runs[0].record


async def test_readers_that_cannot_open_the_file_say_so(failing: SQLiteStore) -> None:
    """And open it once they can."""
    Fails.before = staticmethod(lambda sql: sql == "PRAGMA query_only = ON")
    with pytest.raises(StoreUnavailableError, match="the storage failed"):
        await failing.counts()
    Fails.never()

    assert dict((await failing.counts()).runs) == {}
