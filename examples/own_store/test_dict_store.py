"""
The proof of a store of one's own.

Run it with `pytest examples/own_store/test_dict_store.py`, with `signoff[testing]` installed.
"""

import pytest
from typing_extensions import override

from dict_store import DictStore
from signoff.ports import Store
from signoff.testing import StoreContract


class TestDictStore(StoreContract):
    """Every promise of the port, each as a test with a docstring that says what it demands."""

    capabilities = StoreContract.BASE  # it neither outlives its process nor is shared

    @override
    @pytest.fixture
    async def store(self) -> Store:
        """Return a new store; one that needs it is opened, and closed after a `yield`."""
        return DictStore()

    @pytest.fixture(params=["asyncio", "trio"])
    def anyio_backend(self, request: pytest.FixtureRequest) -> str:
        """Prove it on every event loop that it is for."""
        return str(request.param)
