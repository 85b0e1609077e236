"""The memory store keeps the store contract."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from signoff.ports import Store
from signoff.stores import MemoryStore
from signoff.testing import StoreContract


class TestMemoryStore(StoreContract):
    """What `StoreContract` says, of a store that keeps nothing beyond its process."""

    @pytest.fixture
    async def store(self) -> AsyncIterator[Store]:
        """Open a new store."""
        async with MemoryStore() as store:
            yield store
