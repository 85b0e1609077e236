"""What to say about the SQLite at hand when a store is opened with it (floor 4)."""

from __future__ import annotations

import logging
import os
import sqlite3
from pathlib import Path
from typing import Final

LOGGER: Final = logging.getLogger("signoff.stores.sqlite")

LOCKS: Final = Path("/proc/locks")
"""Where Linux tells who has which file locked."""

_REPAIRED_IN: Final = (3, 51, 3)


def advise(
    path: Path, *, version: tuple[int, ...] = sqlite3.sqlite_version_info, locks: Path = LOCKS
) -> None:
    """
    Log once per opening if this SQLite can damage a database that several processes write.

    Before 3.51.3, copying the log while another process writes can, rarely, damage the file.
    Signoff copies it under the write lock only, which keeps clear of that; other programs that
    open the file do not. A warning where another process is seen to have it open, else for
    information.

    Args:
        path: The database, opened by this process.
        version: Of the SQLite library.
        locks: Where the system tells who has which file locked.

    Source: https://sqlite.org/wal.html, "The WAL-reset bug"
    """
    if version < _REPAIRED_IN:
        LOGGER.log(
            logging.WARNING if _is_open_elsewhere(path, locks) else logging.INFO,
            "%s: SQLite %s has a defect, repaired in 3.51.3, that can damage a database which"
            " several processes write. Signoff keeps clear of it, other programs may not: upgrade"
            " SQLite, and open this file with Signoff only",
            path,
            ".".join(map(str, version)),
        )


def _is_open_elsewhere(path: Path, locks: Path) -> bool:
    """
    Return whether another process is seen to have the database open; false where that is not told.

    Every open connection has a lock on the shared memory file. That file itself must not be
    opened to ask: closing it again would drop this process's own locks.
    """
    try:
        lines = locks.read_text().splitlines()
        inode = str(path.with_name(f"{path.name}-shm").stat().st_ino)
    except OSError:
        return False
    held = [line.split() for line in lines]
    return any(
        fields[-3].endswith(f":{inode}") and fields[-4] != str(os.getpid()) for fields in held
    )
