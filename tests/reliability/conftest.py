"""What the reliability tests share: the stores they run on, and folders that wait for no disk."""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, TypeAlias

import psycopg
import pytest
from typing_extensions import override

from signoff.model.changes import Changes
from signoff.ports import Clock, Store
from signoff.security.keyring import Keyring
from signoff.stores import MemoryStore, SQLiteStore
from signoff.stores import postgres_reads as reads
from signoff.stores.postgres import PostgresStore
from signoff.stores.postgres_pool import Query, Server
from signoff.stores.postgres_schema import bring_up_to_date

MEMORY = Path("/dev/shm")  # noqa: S108 - a folder of its own is made there

OpenStore: TypeAlias = Callable[[Path], Store]
"""Returns a store over the data in a folder, as each process makes its own."""

PATIENCE = timedelta(seconds=20)
MICROSECOND = timedelta(microseconds=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Books: TypeAlias = Callable[[Path], None]
"""Sees that the records over a folder agree with their audit entries, as another program reads them."""

CopyBooks: TypeAlias = Callable[[str, str, Path], Path]

_IN_MEMORY: dict[Path, MemoryStore] = {}


def _memory(folder: Path) -> Store:
    return _IN_MEMORY.setdefault(folder, MemoryStore())


def _sqlite(folder: Path) -> Store:
    return SQLiteStore(folder / "signoff.db")


class Clocked(PostgresStore):
    """A store whose server goes by a clock of the test, if there is one, and not by its own."""

    _given: Clock | None = None

    @override
    def use_clock(self, clock: Clock) -> None:
        self._given = clock

    @override
    async def commit(self, changes: Changes) -> None:
        await self._set_the_clock()
        await super().commit(changes)

    @override
    async def now(self) -> datetime:
        await self._set_the_clock()
        return await self._call(reads.now)

    async def _set_the_clock(self) -> None:
        if self._given is not None:
            at = {"at": (self._given.now() - EPOCH) // MICROSECOND}
            await self._call(lambda session: session.run(_SET, at))


_TAKE_THE_CLOCK = Query(
    "CREATE SEQUENCE {schema}.clock;"
    "CREATE OR REPLACE FUNCTION {schema}.business_now() RETURNS timestamptz LANGUAGE sql VOLATILE"
    " AS 'SELECT CASE WHEN is_called THEN to_timestamp(0) + last_value * interval ''1 microsecond''"
    " ELSE clock_timestamp() END FROM {schema}.clock'"
)
_SET = Query("SELECT setval('{schema}.clock', %(at)s)")
_RELEASE = Query("SELECT setval('{schema}.clock', 1, false)")


class Schemas:
    """
    A schema of one server for each folder, emptied and used again when its folder is gone.

    Args:
        address: Of the server.
        empty: Empties the tables of a schema.
    """

    def __init__(self, address: str, empty: Callable[[str], None]) -> None:
        self.address = address
        self._empty = empty
        self._of: dict[Path, str] = {}

    def of(self, folder: Path) -> str:
        """Return the schema of a folder."""
        if folder not in self._of:
            gone = next((other for other in self._of if not other.exists()), None)
            self._of[folder] = self._made() if gone is None else self._emptied(self._of.pop(gone))
        return self._of[folder]

    def open(self, folder: Path) -> Store:
        """Return a store over the schema of a folder."""
        return Clocked(self.address, schema=self.of(folder), patience=PATIENCE)

    def drop(self) -> None:
        """Leave nothing on the server."""
        with psycopg.connect(self.address, autocommit=True) as connection:
            for schema in self._of.values():
                connection.execute(f"DROP SCHEMA {schema} CASCADE".encode())

    def _made(self) -> str:
        schema = f"test_{secrets.token_hex(6)}"
        with self._server(schema).session() as session:
            bring_up_to_date(session, schema)
            session.run(_TAKE_THE_CLOCK)
        return schema

    def _emptied(self, schema: str) -> str:
        self._empty(schema)
        with self._server(schema).session() as session:
            session.run(_RELEASE)
        return schema

    def _server(self, schema: str) -> Server:
        return Server(self.address, schema=schema, connections=1, patience=PATIENCE, prepare=False)


LOCAL: Final[Mapping[str, OpenStore]] = {"memory": _memory, "sqlite": _sqlite}
"""The stores that need no server."""

STORES: Final = (*LOCAL, "postgres")
"""Every store of ours."""


@pytest.fixture(name="schemas", scope="session")
def _schemas(postgres: str, empty_postgres_tables: Callable[[str], None]) -> Iterator[Schemas]:
    """Yield the schemas of the server of the tests."""
    schemas = Schemas(postgres, empty_postgres_tables)
    yield schemas
    schemas.drop()


@pytest.fixture(params=STORES)
def open_store(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[OpenStore]:
    """Yield what opens a store of each kind."""
    if request.param in LOCAL:
        yield LOCAL[request.param]
    else:
        monkeypatch.setenv("SIGNOFF_KEY", Keyring.generate().to_text())
        yield request.getfixturevalue("schemas").open
    _IN_MEMORY.clear()


@pytest.fixture(name="store_name")
def _store_name(request: pytest.FixtureRequest, open_store: OpenStore) -> str:
    """Return the name of the store that `open_store` opens."""
    name: str = request.node.callspec.params["open_store"]
    return name


@pytest.fixture(name="books")
def _books(
    request: pytest.FixtureRequest, store_name: str, check_books: Books, copy_books: CopyBooks
) -> Books:
    """Return what checks the books of `open_store`; there is no other program in a memory."""
    if store_name == "memory":
        return lambda _: None
    if store_name == "sqlite":
        return lambda folder: check_books(folder / "signoff.db")
    schemas: Schemas = request.getfixturevalue("schemas")

    def copied(folder: Path) -> Path:
        return copy_books(schemas.address, schemas.of(folder), folder / "books.db")

    return lambda folder: check_books(copied(folder))


@pytest.fixture(params=["without a server", "with a server"])
def every_store(request: pytest.FixtureRequest) -> Iterator[Mapping[str, OpenStore]]:
    """Yield what opens a store of each kind, by its name, for tests that compare them."""
    if request.param == "without a server":
        yield LOCAL
    else:
        yield {**LOCAL, "postgres": request.getfixturevalue("schemas").open}
    _IN_MEMORY.clear()


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """Yield an empty folder, in memory where the system has that: nobody here pulls the plug."""
    with TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        yield Path(folder)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    if MEMORY.is_dir():
        monkeypatch.setattr(tempfile, "tempdir", str(MEMORY))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave one event loop of two to `nox -s reliability`: what dies and races does so on both."""
    for item in items:
        if "trio" in item.name and item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.reliability)
