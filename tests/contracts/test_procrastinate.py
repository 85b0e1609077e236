"""`ProcrastinateEngine` keeps the engine contract, on a real PostgreSQL server."""

from __future__ import annotations

import pytest
from typing_extensions import override

from signoff.engines.procrastinate import ProcrastinateEngine
from signoff.ports import Engine
from signoff.testing import EngineContract


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """Procrastinate is asyncio-only."""
    return "asyncio"


class TestProcrastinateEngine(EngineContract):
    """What `EngineContract` says, of the engine on many machines."""

    @override
    @pytest.fixture
    async def engine(self, postgres: str, postgres_schema: str) -> Engine:
        """Make one over a schema of its own."""
        return ProcrastinateEngine(postgres, schema=postgres_schema)
