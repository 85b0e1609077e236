"""
What helps to test code that uses Signoff, and what proves an adapter (floor 9).

The contract suites need pytest: `pip install signoff[testing]`. The rest needs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from signoff.testing.client import TestingClient, client
from signoff.testing.clock import ManualClock
from signoff.testing.crash_report import CrashFinding, CrashReport
from signoff.testing.crashing import crash_everywhere
from signoff.testing.faulty import FaultyStore
from signoff.testing.mail import MemoryMail
from signoff.testing.reviewers import Reviewer
from signoff.testing.simulating import simulate

if TYPE_CHECKING:
    from signoff.testing.engine_contract import EngineContract
    from signoff.testing.inbox_contract import InboxContract
    from signoff.testing.notifier_contract import NotifierContract
    from signoff.testing.store_contract import StoreContract

__all__ = [
    "CrashFinding",
    "CrashReport",
    "EngineContract",
    "FaultyStore",
    "InboxContract",
    "ManualClock",
    "MemoryMail",
    "NotifierContract",
    "Reviewer",
    "StoreContract",
    "TestingClient",
    "client",
    "crash_everywhere",
    "simulate",
]

_CONTRACTS = {
    "EngineContract": "signoff.testing.engine_contract",
    "InboxContract": "signoff.testing.inbox_contract",
    "NotifierContract": "signoff.testing.notifier_contract",
    "StoreContract": "signoff.testing.store_contract",
}


def __getattr__(name: str) -> object:
    """Load a contract suite when it is first named, its asserts rewritten by pytest."""
    module = _CONTRACTS.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import pytest  # noqa: PLC0415 - only the suites need it

    pytest.register_assert_rewrite(*_CONTRACTS.values())
    return getattr(importlib.import_module(module), name)
