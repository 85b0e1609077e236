"""What becomes of commits when the storage fails: nothing acknowledged is lost, nothing half made."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

import anyio
import pytest
from typing_extensions import override

from signoff.errors import CodecError, StaleWriteError, StoreUnavailableError
from signoff.model.changes import Changes
from signoff.stores.sqlite import SQLiteStore
from signoff.stores.sqlite_writer import Writer
from signoff.testing.builders import a_request, a_run, sealed, writing
from signoff.testing.contract_base import SetClock
from signoff.testing.contract_commits import FIRST, SECOND, picture

SOON = timedelta(milliseconds=50)


def raw(path: Path) -> closing[sqlite3.Connection]:
    """Open a file as another program does; each statement commits by itself."""
    return closing(sqlite3.connect(path, isolation_level=None, timeout=0))


def writer_of(store: SQLiteStore) -> Writer:
    """Return the writer of an open store."""
    assert store._threads is not None
    return store._threads[0]


async def seen_anew(path: str) -> dict[str, object]:
    """Return what a store that is opened now tells."""
    async with SQLiteStore(path) as store:
        return await picture(store)


class FailsOnce(sqlite3.Connection):
    """A connection that fails at, or right after, one statement of many."""

    left: ClassVar[int] = 0
    after: ClassVar[bool] = False

    @override
    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        """Count down, and fail at zero."""
        FailsOnce.left -= 1
        if FailsOnce.left == 0 and not self.after:
            raise sqlite3.OperationalError("disk I/O error")
        cursor = super().execute(sql, parameters)
        if FailsOnce.left == 0:
            raise sqlite3.OperationalError("disk I/O error")
        return cursor


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("after", [False, True])
async def test_a_commit_that_fails_anywhere_is_whole_or_nothing(
    tmp_path: Path, after: bool
) -> None:
    """At whichever statement it fails, all that is read anew is as before, or as it should be."""
    base = tmp_path / "base.db"
    async with SQLiteStore(base) as store:
        await store.commit(FIRST)
        old = await picture(store)
    shutil.copy(base, tmp_path / "new.db")
    async with SQLiteStore(tmp_path / "new.db") as store:
        store.use_clock(SetClock())
        await store.commit(SECOND)
        new = await picture(store)
    failed = 0
    made = False
    while not made:
        path = tmp_path / f"{failed}.db"
        shutil.copy(base, path)
        store = SQLiteStore(path)
        store.use_clock(SetClock())
        store._connection_class = FailsOnce
        async with store:
            FailsOnce.left, FailsOnce.after = failed + 1, after
            try:
                await store.commit(SECOND)
            except StoreUnavailableError:
                failed += 1
            else:
                made = True
            FailsOnce.left = 0
            found = await picture(store)
            if found == old:
                await store.commit(SECOND)
                found = await picture(store)
            assert found == new
        assert await seen_anew(store.location) == new

    assert failed > 40
