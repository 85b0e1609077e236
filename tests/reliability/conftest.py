"""What the reliability tests share: the stores they run on, and folders that wait for no disk."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, TypeAlias

import pytest

from signoff.ports import Store
from signoff.stores import MemoryStore, SQLiteStore

MEMORY = Path("/dev/shm")  # noqa: S108 - a folder of its own is made there

OpenStore: TypeAlias = Callable[[Path], Store]
"""Returns a store over the data in a folder, as each process makes its own."""

_IN_MEMORY: dict[Path, MemoryStore] = {}


def _memory(folder: Path) -> Store:
    return _IN_MEMORY.setdefault(folder, MemoryStore())


def _sqlite(folder: Path) -> Store:
    return SQLiteStore(folder / "signoff.db")


STORES: Final[dict[str, OpenStore]] = {"memory": _memory, "sqlite": _sqlite}
"""Every store of ours. One more line here takes one more store through all of these tests."""


@pytest.fixture(params=STORES)
def open_store(request: pytest.FixtureRequest) -> Iterator[OpenStore]:
    """Yield what opens a store of each kind."""
    yield STORES[request.param]
    _IN_MEMORY.clear()


@pytest.fixture
def every_store() -> Iterator[dict[str, OpenStore]]:
    """Yield what opens a store of each kind, by its name, for tests that compare them."""
    yield STORES
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
