"""What a SQLiteStore opens, what it refuses and leaves as it is, and what it says then."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest
from typing_extensions import override

from signoff.errors import ConfigurationError, SchemaError, StoreUnavailableError
from signoff.model.changes import Changes
from signoff.stores.sqlite import SQLiteStore
from signoff.stores.sqlite_schema import APPLICATION_ID, migrate, migrations
from signoff.testing.builders import a_request, writing

SOON = timedelta(milliseconds=50)


def raw(path: Path) -> closing[sqlite3.Connection]:
    """Open a file as another program does; each statement commits by itself."""
    return closing(sqlite3.connect(path, isolation_level=None, timeout=0))


def files_in(folder: Path) -> dict[str, bytes]:
    """Return what is in a folder, byte by byte."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


async def is_refused(store: SQLiteStore, error: type[Exception], match: str) -> None:
    """Check that a store cannot be entered, and is not open afterwards."""
    with pytest.raises(error, match=match):
        await store.__aenter__()
    with pytest.raises(ConfigurationError, match="is not open"):
        await store.counts()


async def test_a_new_file_is_made_and_marked_as_ours(tmp_path: Path) -> None:
    """With write-ahead logging, our application id, and the number of migrations as its version."""
    async with SQLiteStore(tmp_path / "signoff.db"):
        pass

    assert files_in(tmp_path).keys() == {"signoff.db"}
    with raw(tmp_path / "signoff.db") as file:
        assert file.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert file.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
        assert file.execute("PRAGMA user_version").fetchone() == (len(migrations()),)


@pytest.mark.parametrize(("synchronous", "level"), [("FULL", 2), ("NORMAL", 1)])
async def test_how_a_commit_waits_for_the_disk_can_be_chosen(
    tmp_path: Path, synchronous: Any, level: int
) -> None:
    """`FULL` unless said otherwise; what was committed others read at once."""
    store = SQLiteStore(tmp_path / "signoff.db", synchronous=synchronous)

    async with store:
        assert store._threads is not None
        writer = store._threads[0]
        (found,) = await writer.call(lambda file: file.execute("PRAGMA synchronous").fetchone())
        (pages,) = await writer.call(
            lambda file: file.execute("PRAGMA wal_autocheckpoint").fetchone()
        )
        await store.commit(Changes(handled=("imap:1",)))
        with raw(tmp_path / "signoff.db") as file:
            assert file.execute("SELECT key FROM handled").fetchone() == ("imap:1",)

    assert found == level
    # Else SQLite itself would copy the log now and then, without the write lock.
    assert pages == 0


def test_what_cannot_be_a_store_is_refused_before_it_is_opened() -> None:
    """A database in memory, and a way of syncing that there is not."""
    with pytest.raises(ConfigurationError, match=r"MemoryStore\(\)"):
        SQLiteStore(":memory:")
    wrong: Any = "OFF"
    with pytest.raises(ConfigurationError, match="'FULL' or 'NORMAL'"):
        SQLiteStore("signoff.db", synchronous=wrong)


async def test_the_location_is_absolute_from_the_beginning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store made with a relative path stays where it was made when the process moves."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    store = SQLiteStore("signoff.db")
    monkeypatch.chdir(tmp_path / "elsewhere")

    async with store:
        assert store.location == str(tmp_path / "signoff.db")

    assert (tmp_path / "signoff.db").is_file()


@pytest.mark.parametrize("name", ["a b#c?d%20.db", "Überweisung ✓.db", "'; DROP TABLE runs.db"])
async def test_any_name_of_a_file_will_do(tmp_path: Path, name: str) -> None:
    """None of its characters means anything to the store."""
    async with SQLiteStore(tmp_path / name) as store:
        await store.commit(writing(a_request()))

    assert files_in(tmp_path).keys() == {name}


async def test_a_link_leads_to_the_file(tmp_path: Path) -> None:
    """Two stores, one by the file's own name and one by a link, are over the same data."""
    (tmp_path / "link.db").symlink_to(tmp_path / "signoff.db")

    async with (
        SQLiteStore(tmp_path / "link.db") as one,
        SQLiteStore(tmp_path / "signoff.db") as two,
    ):
        await one.commit(writing(a_request()))
        assert await two.request("req_1") == a_request()


async def test_a_store_is_used_only_while_it_is_open(tmp_path: Path) -> None:
    """Neither before it is entered nor after it was left, nor entered twice at a time."""
    store = SQLiteStore(tmp_path / "signoff.db")
    with pytest.raises(ConfigurationError, match="is not open"):
        await store.commit(Changes())

    async with store:
        with pytest.raises(ConfigurationError, match="is open already"):
            await store.__aenter__()
        await store.commit(Changes())

    with pytest.raises(ConfigurationError, match="is not open"):
        await store.counts()


async def test_a_store_is_refused_in_another_process(tmp_path: Path) -> None:
    """A child that was forked has the object, but not its threads."""
    async with SQLiteStore(tmp_path / "signoff.db") as store:
        store._process += 1
        for call in (store.commit(Changes()), store.counts()):
            with pytest.raises(ConfigurationError, match="before this process was forked"):
                await call


async def test_a_folder_is_no_file(tmp_path: Path) -> None:
    """The message says what to give instead."""
    await is_refused(SQLiteStore(tmp_path), StoreUnavailableError, r"is a folder.*signoff\.db")


async def test_a_missing_folder_is_not_made(tmp_path: Path) -> None:
    """A misspelt path should be noticed, not obeyed."""
    store = SQLiteStore(tmp_path / "missing" / "signoff.db")

    await is_refused(store, StoreUnavailableError, "missing does not exist; make it first")

    assert files_in(tmp_path) == {}


@pytest.mark.parametrize("content", [b"Dear Sir or Madam,\n" * 99, bytes(4096), b"SQLite format 3"])
async def test_a_file_of_another_kind_is_left_as_it_is(tmp_path: Path, content: bytes) -> None:
    """What is not an SQLite database is not ours."""
    path = tmp_path / "letter.txt"
    path.write_bytes(content)

    await is_refused(SQLiteStore(path), SchemaError, "is not an SQLite database")

    assert files_in(tmp_path) == {"letter.txt": content}


FOREIGN = {
    "tables": ("CREATE TABLE cars (plate)", "INSERT INTO cars VALUES ('B-XY 12')"),
    "an application id": ("PRAGMA application_id = 12",),
    "a version": ("PRAGMA user_version = 1",),
    "a log": ("PRAGMA journal_mode = WAL", "CREATE TABLE cars (plate)"),
}


@pytest.mark.parametrize("what", FOREIGN)
async def test_a_database_of_another_program_is_left_as_it_is(tmp_path: Path, what: str) -> None:
    """Whatever shows that somebody else uses it, not a byte of it is changed."""
    path = tmp_path / "cars.db"
    with raw(path) as file:
        for statement in FOREIGN[what]:
            file.execute(statement)
    before = files_in(tmp_path)

    await is_refused(SQLiteStore(path), SchemaError, "is a database of another program")

    assert files_in(tmp_path)["cars.db"] == before["cars.db"]


async def test_the_log_of_another_program_stays_its_own(tmp_path: Path) -> None:
    """A log that its program left behind in a crash is not copied into the file by looking."""
    original, copies = tmp_path / "cars.db", tmp_path / "copies"
    copies.mkdir()
    with raw(original) as file:
        file.execute("PRAGMA journal_mode = WAL")
        file.execute("CREATE TABLE cars (plate)")
        for name in ("cars.db", "cars.db-wal"):
            (copies / name).write_bytes((tmp_path / name).read_bytes())
    before = files_in(copies)

    await is_refused(SQLiteStore(copies / "cars.db"), SchemaError, "of another program")

    assert {name: content for name, content in files_in(copies).items() if name in before} == before


async def test_a_newer_database_is_left_as_it_is(tmp_path: Path) -> None:
    """This code does not know what a newer one promised; it says so, and changes nothing."""
    path = tmp_path / "signoff.db"
    async with SQLiteStore(path) as store:
        await store.commit(writing(a_request()))
    with raw(path) as file:
        file.execute(f"PRAGMA user_version = {len(migrations()) + 1}")
    before = files_in(tmp_path)

    await is_refused(SQLiteStore(path), SchemaError, "has schema version 2.*knows up to 1")

    assert files_in(tmp_path)["signoff.db"] == before["signoff.db"]


async def test_an_empty_file_becomes_a_database(tmp_path: Path) -> None:
    """As a temporary file that was just made."""
    path = tmp_path / "signoff.db"
    path.touch()

    async with SQLiteStore(path) as store:
        await store.commit(writing(a_request()))


class MadeNewer(sqlite3.Connection):
    """A connection before whose first transaction another process brings the file up to date."""

    path: ClassVar[Path]
    version: ClassVar[int]

    @override
    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        """Let the other process do it first."""
        if sql == "BEGIN IMMEDIATE" and not self.in_transaction:
            with raw(self.path) as file:
                if file.execute("PRAGMA user_version").fetchone() == (0,):
                    for script in migrations():
                        file.executescript(script)
                    file.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                    file.execute(f"PRAGMA user_version = {self.version}")
        return super().execute(sql, parameters)


@pytest.mark.parametrize("beyond", [0, 1])
async def test_who_comes_second_finds_what_the_first_one_made(tmp_path: Path, beyond: int) -> None:
    """The version is looked at again under the lock: nothing is made twice, nothing newer used."""
    path = tmp_path / "signoff.db"
    store = SQLiteStore(path)
    MadeNewer.path, MadeNewer.version = path, len(migrations()) + beyond
    store._connection_class = MadeNewer

    if beyond:
        await is_refused(store, SchemaError, "a newer one made it")
    else:
        async with store:
            await store.commit(writing(a_request()))


class Interrupted(sqlite3.Connection):
    """A connection in the middle of whose first look another process makes the file."""

    make: ClassVar[Callable[[], None]]

    @override
    def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
        if "sqlite_master" in sql:
            Interrupted.make()
        return super().execute(sql, *parameters)


async def test_a_file_that_is_just_being_made_is_not_taken_for_a_foreign_one(
    tmp_path: Path,
) -> None:
    """Whose it is, is read from one state of the file, whatever another process does meanwhile."""
    path = tmp_path / "signoff.db"

    def make() -> None:
        Interrupted.make = lambda: None
        with raw(path) as file, suppress(sqlite3.OperationalError):
            migrate(file, path)

    store = SQLiteStore(path)
    store._connection_class = Interrupted
    Interrupted.make = make

    async with store:
        assert not (await store.counts()).requests


class Locked(sqlite3.Connection):
    """A connection to a file that another program has in use when it is to be switched to WAL."""

    others: ClassVar[list[sqlite3.Connection]]
    tries: ClassVar[int]

    @override
    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        """Count the tries; before the second one the other program lets go."""
        if "journal_mode" in sql:
            Locked.tries += 1
            if Locked.tries == 2:
                for other in self.others:
                    other.close()
        return super().execute(sql, parameters)


def in_use(path: Path) -> sqlite3.Connection:
    """Return a connection that reads an empty database without a log, and so keeps it from one."""
    with raw(path) as file:
        file.execute("CREATE TABLE t (x)")
        file.execute("DROP TABLE t")
    reader = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM sqlite_master").fetchall()
    return reader


async def test_switching_to_a_log_is_tried_again(tmp_path: Path) -> None:
    """SQLite itself does not always wait for that lock, so the store does."""
    path = tmp_path / "signoff.db"
    Locked.others, Locked.tries = [in_use(path)], 0
    store = SQLiteStore(path, busy_timeout=SOON)
    store._connection_class = Locked

    async with store:
        await store.commit(writing(a_request()))

    assert Locked.tries == 2


async def test_switching_to_a_log_is_not_tried_for_ever(tmp_path: Path) -> None:
    """Beyond `busy_timeout` the store gives up, and says that the file is locked."""
    path = tmp_path / "signoff.db"
    with closing(in_use(path)):
        await is_refused(
            SQLiteStore(path, busy_timeout=SOON), StoreUnavailableError, "locked for too long"
        )


class WithoutLog(sqlite3.Connection):
    """A connection to a file system on which SQLite does not switch to WAL."""

    @override
    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        """Answer with the mode that stays."""
        return super().execute(sql.replace("= WAL", "= DELETE"), parameters)


async def test_a_network_file_system_is_refused(tmp_path: Path) -> None:
    """Where processes cannot share memory there is no log, and no readers beside a writer."""
    store = SQLiteStore(tmp_path / "signoff.db")
    store._connection_class = WithoutLog

    await is_refused(store, StoreUnavailableError, "put the file on a local disk")


class FailsOnce(sqlite3.Connection):
    """A connection that fails at one statement of many."""

    left: ClassVar[int]

    @override
    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        """Count down, then fail."""
        FailsOnce.left -= 1
        if not FailsOnce.left:
            raise sqlite3.OperationalError("disk I/O error")
        return super().execute(sql, parameters)


def schema_of(path: Path) -> tuple[int, int]:
    """Return how many tables, indexes and triggers a file has, and its version."""
    with raw(path) as file:
        (version,) = file.execute("PRAGMA user_version").fetchone()
        (parts,) = file.execute("SELECT count(*) FROM sqlite_master").fetchone()
    return parts, version


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_schema_is_made_whole_or_not_at_all(tmp_path: Path) -> None:
    """Wherever making it breaks off, there is none of it, and the next to open the file makes it."""
    async with SQLiteStore(tmp_path / "whole.db"):
        whole = schema_of(tmp_path / "whole.db")
    path = tmp_path / "signoff.db"
    store = SQLiteStore(path)
    store._connection_class = FailsOnce
    found: list[tuple[int, int]] = []
    opened = False

    while not opened:
        path.unlink(missing_ok=True)
        FailsOnce.left = len(found) + 1
        with suppress(StoreUnavailableError):
            async with store:
                opened = True
        found.append(schema_of(path))

    assert set(found) == {(0, 0), whole}
    assert found.count((0, 0)) > whole[0] > 50

    FailsOnce.left = found.count((0, 0))
    path.unlink()
    with pytest.raises(StoreUnavailableError, match="disk I/O error"):
        await store.__aenter__()
    async with SQLiteStore(path) as again:
        await again.commit(writing(a_request()))
