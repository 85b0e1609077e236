"""The engines of Signoff keep the engine contract."""

from __future__ import annotations

import pytest
from typing_extensions import override

from signoff.engines.local import LocalEngine
from signoff.ports import Engine
from signoff.testing import EngineContract


class TestLocalEngine(EngineContract):
    """What `EngineContract` says, of the engine in this process."""

    @override
    @pytest.fixture
    async def engine(self) -> Engine:
        """Make one."""
        return LocalEngine()
