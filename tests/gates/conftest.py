"""What the gate tests share: an open client whose time stands still, and nobody who answers."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from signoff import testing
from signoff.testing import TestingClient


@pytest.fixture(name="client")
async def _client() -> AsyncIterator[TestingClient]:
    """Return an open client over memory; the test answers through `client.hitl`."""
    async with testing.client() as client:
        yield client
