"""What the memory store has beyond the contract: its lease clock, and how it is imported."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from datetime import timedelta

import pytest

import signoff.stores
from signoff.errors import SealInvalidError, StaleWriteError
from signoff.model.changes import Changes, Claim, Fence
from signoff.stores import MemoryStore
from signoff.testing.builders import (
    a_request,
    a_run,
    an_acquire,
    an_occurrence,
    writing,
)

LEASE = timedelta(seconds=10)


class LeaseClock:
    """Seconds that stand where a test puts them."""

    def __init__(self) -> None:
        self.at = 100.0

    def __call__(self) -> float:
        """Return where it stands."""
        return self.at


async def test_a_lease_ends_at_its_very_instant() -> None:
    """At the end it is not live any more, just before it is; then another may take it."""
    clock = LeaseClock()
    store = MemoryStore(lease_clock=clock)
    await store.commit(Changes(claims=(an_acquire(lease=LEASE),)))
    taking = Changes(claims=(an_acquire(holder="bob", fencing=2, lease=LEASE),))

    clock.at = 109.999
    assert await store.claim("run_1") == Claim(subject="run_1", holder="ann", fencing=1, live=True)
    with pytest.raises(StaleWriteError, match="ann holds a live claim"):
        await store.commit(taking)

    clock.at = 110.0
    assert await store.live_claims("") == []
    await store.commit(taking)
    assert await store.claim("run_1") == Claim(subject="run_1", holder="bob", fencing=2, live=True)


async def test_a_fence_needs_its_rest_of_the_lease_to_the_instant() -> None:
    """Exactly `remaining` is enough, less is not."""
    clock = LeaseClock()
    store = MemoryStore(lease_clock=clock)
    await store.commit(Changes(claims=(an_acquire(lease=LEASE),)))
    fence = Fence(subject="run_1", holder="ann", fencing=1, remaining=timedelta(seconds=4))

    clock.at = 106.0
    await store.commit(Changes(fences=(fence,)))

    clock.at = 106.001
    with pytest.raises(StaleWriteError, match="less than 0:00:04 of its lease is left"):
        await store.commit(Changes(fences=(fence,)))


async def test_the_lease_clock_is_monotonic_by_default() -> None:
    """A lease of an hour is live, one of nothing is not."""
    store = MemoryStore()

    await store.commit(Changes(claims=(an_acquire(), an_acquire("run_2", lease=timedelta(0)))))

    assert [claim.subject for claim in await store.live_claims("")] == ["run_1"]


async def test_a_column_that_was_changed_is_noticed_when_its_record_is_read() -> None:
    """For a request it is an error, for a checkpoint `contradicts` names it."""
    store = MemoryStore()
    await store.commit(writing(a_run(), an_occurrence(), a_request()))
    for table, record_id in (
        (store._runs, "run_1"),
        (store._occurrences, "run_1.1"),
        (store._requests, "req_1"),
    ):
        row = table.rows[record_id]
        table.rows[record_id] = replace(row, columns={**row.columns, "run_id": "run_7"})

    assert (await store.run("run_1")).contradicts == "run_id"
    assert [row.contradicts for row in await store.journal("run_1")] == ["run_id"]
    with pytest.raises(SealInvalidError) as caught:
        await store.request("req_1")
    assert (caught.value.record_id, caught.value.field) == ("req_1", "run_id")


def test_a_memory_store_loads_no_sqlite() -> None:
    """The stores are loaded by name, when they are first asked for."""
    code = (
        "import sys, signoff.stores\n"
        "from signoff.stores import MemoryStore\n"
        "MemoryStore()\n"
        "print('sqlite3' in sys.modules, 'signoff.stores.sqlite' in sys.modules)"
    )

    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)

    assert done.stdout.split() == ["False", "False"]


def test_there_are_no_other_stores() -> None:
    """A name that is not there is an `AttributeError` like any other module's."""
    assert signoff.stores.__all__ == ["MemoryStore", "SQLiteStore"]
    name = "OracleStore"
    with pytest.raises(AttributeError, match=r"'signoff\.stores' has no attribute 'OracleStore'"):
        getattr(signoff.stores, name)
