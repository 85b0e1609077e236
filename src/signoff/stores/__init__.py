"""
The stores that come with Signoff (floor 4).

Each is loaded when its name is first used, so that a `MemoryStore` costs no sqlite3.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from signoff.stores.memory import MemoryStore
    from signoff.stores.sqlite import SQLiteStore

__all__ = ["MemoryStore", "SQLiteStore"]

_HOMES = {"MemoryStore": "signoff.stores.memory", "SQLiteStore": "signoff.stores.sqlite"}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
