"""What is said about an SQLite that can damage a file which several processes write."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from signoff.stores.sqlite_advice import advise

OLD = (3, 51, 2)
REPAIRED = (3, 51, 3)


@pytest.fixture(name="path")
def _path(tmp_path: Path) -> Path:
    """Return a database with the shared memory file that an open one has."""
    (tmp_path / "signoff.db-shm").touch()
    return tmp_path / "signoff.db"


def locks_of(path: Path, pid: int, inode: int) -> Path:
    """Write what the system tells when a process has a file locked; others lock others."""
    locks = path.with_name("locks")
    locks.write_text(
        f"1: POSIX  ADVISORY  READ  {pid} 08:02:{inode} 128 128\n"
        f"1: -> POSIX  ADVISORY  WRITE {os.getpid()} 08:02:{inode} 128 128\n"
        f"2: FLOCK  ADVISORY  WRITE 1 08:02:7{inode} 0 EOF\n"
    )
    return locks


def inode_of(path: Path) -> int:
    """Return the number of the shared memory file."""
    return path.with_name("signoff.db-shm").stat().st_ino


def levels(caplog: pytest.LogCaptureFixture) -> list[int]:
    """Return the levels of what was logged."""
    return [record.levelno for record in caplog.records]


def test_another_process_with_the_file_open_is_a_warning(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It names the file, the version and what to do."""
    advise(path, version=OLD, locks=locks_of(path, os.getpid() + 1, inode_of(path)))

    assert levels(caplog) == [logging.WARNING]
    (record,) = caplog.records
    assert record.name == "signoff.stores.sqlite"
    assert str(path) in record.getMessage()
    assert "SQLite 3.51.2" in record.getMessage()
    assert "upgrade SQLite" in record.getMessage()


@pytest.mark.parametrize("case", ["our own lock", "another file", "no locks told", "no such file"])
def test_else_it_is_for_information(
    path: Path, caplog: pytest.LogCaptureFixture, case: str
) -> None:
    """As far as can be seen nobody else has the file open."""
    caplog.set_level(logging.INFO)
    locks = {
        "our own lock": locks_of(path, os.getpid(), inode_of(path)),
        "another file": path.with_name("locks"),
        "no locks told": path.with_name("missing"),
        "no such file": path.with_name("locks"),
    }[case]
    if case == "another file":
        locks_of(path, os.getpid() + 1, inode_of(path) + 1)
    if case == "no such file":
        path.with_name("signoff.db-shm").unlink()

    advise(path, version=OLD, locks=locks)

    assert levels(caplog) == [logging.INFO]


def test_a_repaired_sqlite_is_not_mentioned(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """From 3.51.3 on there is nothing to say."""
    caplog.set_level(logging.INFO)

    advise(path, version=REPAIRED, locks=locks_of(path, os.getpid() + 1, inode_of(path)))

    assert levels(caplog) == []
