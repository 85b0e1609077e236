"""`SQLiteStore` against the contract of stores."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from typing_extensions import override

from signoff.ports import Store
from signoff.stores.sqlite import SQLiteStore
from signoff.testing import StoreContract
from signoff.testing.store_contract.base import Capability, OtherProcess, Reopen

MEMORY = Path("/dev/shm")  # noqa: S108 - a folder of its own is made there


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """Yield an empty folder, in memory where the system has that: nobody here pulls the plug."""
    with TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        yield Path(folder)


class TestSQLiteStore(StoreContract):
    """A file that several processes of one machine may share."""

    capabilities = StoreContract.BASE | {Capability.DURABLE, Capability.SHARED}

    @override
    @pytest.fixture
    async def store(self, tmp_path: Path) -> AsyncIterator[Store]:
        """Yield a store over a new file."""
        async with SQLiteStore(tmp_path / "signoff.db") as store:
            yield store

    @override
    @pytest.fixture
    async def reopen(self, store: Store) -> AsyncIterator[Reopen]:
        """Yield what closes the store and opens another object over its file."""
        async with AsyncExitStack() as stack:

            async def reopen() -> Store:
                await store.__aexit__(None, None, None)
                return await stack.enter_async_context(SQLiteStore(store.location))

            yield reopen

    @override
    @pytest.fixture
    async def another(self, store: Store) -> AsyncIterator[Store]:
        """Yield a second object over the same file, as another process would have it."""
        async with SQLiteStore(store.location) as another:
            yield another

    @override
    @pytest.fixture
    def other_process(self, store: Store) -> OtherProcess:
        """Return how another process opens the same file."""
        return OtherProcess(
            store="signoff.stores:SQLiteStore", arguments={"path": str(store.location)}
        )
