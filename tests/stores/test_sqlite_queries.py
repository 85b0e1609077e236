"""How a SQLiteStore finds what it is asked for, and what it makes of rows that were tampered with."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import closing
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any, ClassVar

import pytest
from typing_extensions import override

from signoff.errors import SealInvalidError
from signoff.model.changes import Changes, Claim, Release
from signoff.model.policy import Risk
from signoff.model.run import RunStatus
from signoff.ports import RequestQuery, RunQuery
from signoff.stores import sqlite_writes as writes
from signoff.stores.records import Stored, columns_of
from signoff.stores.sqlite import SQLiteStore
from signoff.testing.builders import (
    HOUR,
    NOON,
    a_delivery,
    a_request,
    a_run,
    a_signal,
    a_token,
    an_acquire,
    an_entry,
    an_occurrence,
    sealed,
    writing,
)
from signoff.testing.contract_base import SetClock
from signoff.testing.contract_commits import FIRST, SECOND

pytestmark = pytest.mark.parametrize("anyio_backend", ["asyncio"])


class Noting(sqlite3.Connection):
    """A connection that notes each statement with its values, and counts the steps it takes."""

    statements: ClassVar[dict[str, Any]] = {}
    steps: ClassVar[int] = 0

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.set_progress_handler(self._count, 1)

    @staticmethod
    def _count() -> None:
        Noting.steps += 1

    @override
    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        """Note it."""
        Noting.statements[sql] = parameters
        return super().execute(sql, parameters)

    @override
    def executemany(self, sql: str, parameters: Any, /) -> sqlite3.Cursor:
        """Note it with the values of its last row."""
        rows = list(parameters)
        if rows:
            Noting.statements[sql] = rows[-1]
        return super().executemany(sql, rows)


@pytest.fixture(name="store")
async def _store(tmp_path: Path) -> AsyncIterator[SQLiteStore]:
    """Yield an open store whose statements are noted."""
    store = SQLiteStore(tmp_path / "signoff.db")
    store._connection_class = Noting
    async with store:
        Noting.statements.clear()
        yield store


def raw(store: SQLiteStore) -> closing[sqlite3.Connection]:
    """Open the store's file as another program does; each statement commits by itself."""
    return closing(sqlite3.connect(store.location, isolation_level=None))


async def ask_everything(store: SQLiteStore) -> None:
    """Ask whatever the port lets one ask, in every form that a page can have."""
    await store.run("run_1")
    await store.run_by_key("shop:Order", "inv-17")
    await store.journal("run_1")
    await store.signals("run_1")
    await store.late_results("run_1")
    await store.ready(["shop:Order", "shop:Other"], limit=9)
    await store.unclaimed([])
    await store.request("req_1")
    await store.expired(NOON, limit=9)
    await store.token("tok_1")
    await store.tokens("req_1")
    await store.delivery("dlv_1")
    await store.deliveries("req_1")
    await store.due_deliveries(NOON, limit=9)
    await store.oldest_unsent()
    await store.claim("run_1")
    await store.live_claims("run_")
    await store.audit("request:req_1")
    await store.was_handled("imap:1")
    await store.mark("imap")
    await store.key_checks()
    await store.kids_in_use(NOON)
    await store.counts()
    after = (NOON, "a")
    for status, flow, parent in product((None, "ready"), (None, "f"), (None, "run_0")):
        wanted: Any = {"status": status, "flow_name": flow, "parent_run_id": parent}
        await store.runs(RunQuery(**wanted, after=after))
    for status, run_id, assignee, risk, newest in product(
        (None, "pending"), (None, "run_1"), (None, "a@b"), (None, "low"), (False, True)
    ):
        wanted = {"status": status, "run_id": run_id, "assignee": assignee, "risk": risk}
        await store.requests(RequestQuery(**wanted, newest_first=newest, after=after))


ALLOWED_SCANS = {
    "SCAN signals USING INDEX signals_calling": "only the signals that call somebody",
    "SCAN runs USING INDEX runs_to_advance": "only the runs that are to be advanced",
    "SCAN deliveries USING COVERING INDEX deliveries_unsent": "only those that are not done",
    "SCAN tallies": "a row for each status that there is",
    "SCAN key_checks": "a row for each key",
    "SCAN found": "a row for each key",
    "SCAN (subquery-2)": "the runs that are to be advanced, or called",
    "SCAN json_each VIRTUAL TABLE INDEX 1:": "the names that were given",
}


async def test_nothing_that_a_store_does_reads_a_whole_table(store: SQLiteStore) -> None:
    """Every statement of every read and of a commit searches, or scans what is small by its nature."""
    store.use_clock(SetClock())
    await store.commit(FIRST)
    await store.commit(
        replace(SECOND, claims=(*SECOND.claims, Release(subject="run_1", holder="ann", fencing=1)), consumed=(*SECOND.consumed, ("run_1", "cancel")))
    )
    await ask_everything(store)

    with raw(store) as file:
        plans = {
            (sql, step[3])
            for sql, values in Noting.statements.items()
            if re.match("SELECT|INSERT|UPDATE|DELETE|WITH", sql)
            for step in file.execute(f"EXPLAIN QUERY PLAN {sql}", values)
        }
    scans = {step for _, step in plans if step.startswith("SCAN")}
    sorted_by_hand = {sql for sql, step in plans if step.startswith("USE TEMP B-TREE FOR ORDER")}

    assert len(Noting.statements) > 70
    assert scans <= ALLOWED_SCANS.keys()
    assert not sorted_by_hand
