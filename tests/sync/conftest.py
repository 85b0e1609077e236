"""What the tests of the blocking client share: an open one, and a file that costs no disk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from signoff.security.keyring import Keyring
from signoff.stores import SQLiteStore
from signoff.sync import Client

MEMORY = Path("/dev/shm")  # noqa: S108 - a folder of its own is made there


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """Yield an empty folder, in memory where the system has that: nobody here pulls the plug."""
    with TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        yield Path(folder)


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    """Yield an open client over a file."""
    store = SQLiteStore(tmp_path / "signoff.db", synchronous="NORMAL")
    with Client(store, keyring=Keyring.generate()) as client:
        yield client
