"""`PostgresStore` against the contract of stores."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
from typing_extensions import override

from signoff.ports import Store
from signoff.stores.postgres import PostgresStore
from signoff.testing import StoreContract
from signoff.testing.store_contract.base import Capability, OtherProcess, Reopen


class TestPostgresStore(StoreContract):
    """A schema of a server that processes of many machines share."""

    capabilities = StoreContract.BASE | {
        Capability.DURABLE,
        Capability.SHARED,
        Capability.SERVER_CLOCK,
    }

    @override
    @pytest.fixture
    async def store(self, postgres: str, postgres_tables: str) -> AsyncIterator[Store]:
        """Yield a store over a new schema."""
        async with PostgresStore(postgres, schema=postgres_tables) as store:
            yield store

    @override
    @pytest.fixture
    async def reopen(
        self, store: Store, postgres: str, postgres_tables: str
    ) -> AsyncIterator[Reopen]:
        """Yield what closes the store and opens another object over its schema."""
        async with AsyncExitStack() as stack:

            async def reopen() -> Store:
                await store.__aexit__(None, None, None)
                return await stack.enter_async_context(
                    PostgresStore(postgres, schema=postgres_tables)
                )

            yield reopen

    @override
    @pytest.fixture
    async def another(
        self, store: Store, postgres: str, postgres_tables: str
    ) -> AsyncIterator[Store]:
        """Yield a second object over the same schema, as another machine would have it."""
        async with PostgresStore(postgres, schema=postgres_tables) as another:
            yield another

    @override
    @pytest.fixture
    def other_process(self, postgres: str, postgres_tables: str) -> OtherProcess:
        """Return how another process opens the same schema."""
        return OtherProcess(
            store="signoff.stores.postgres:PostgresStore",
            arguments={"address": postgres, "schema": postgres_tables},
        )
