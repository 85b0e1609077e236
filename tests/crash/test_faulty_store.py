"""The store that fails where it is told: a store like any other before, and of no use after."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Literal

import pytest
from typing_extensions import override

from signoff.errors import StaleWriteError, StoreUnavailableError
from signoff.model.changes import Changes
from signoff.ports import Store
from signoff.stores import MemoryStore, SQLiteStore
from signoff.testing import FaultyStore, StoreContract
from signoff.testing.builders import a_request, an_acquire, writing


class TestFaultyStore(StoreContract):
    """What `StoreContract` says, while nothing fails."""

    @override
    @pytest.fixture
    async def store(self) -> AsyncIterator[Store]:
        """Open a store that is not told to fail."""
        async with FaultyStore(MemoryStore()) as store:
            yield store


@pytest.mark.parametrize(("side", "made"), [("before", False), ("after", True)])
@pytest.mark.parametrize("lasting", [True, False])
async def test_it_fails_on_either_side_of_the_chosen_commit(
    side: Literal["before", "after"], made: bool, lasting: bool
) -> None:
    """The commit is lost, or made and not acknowledged; the ones before it are made."""
    inner = MemoryStore()
    async with FaultyStore(inner, at=2, side=side, lasting=lasting) as store:
        await store.commit(writing(a_request("req_1")))
        assert (store.commits, store.failed) == (1, False)
        with pytest.raises(StoreUnavailableError, match=f"commit 2 fails {side} it was made"):
            await store.commit(Changes(handled=("second",)))
        assert (store.commits, store.failed) == (2, True)

        assert await inner.was_handled("second") is made
        assert (await inner.request("req_1")).version == 1


async def test_after_a_lasting_failure_nothing_can_be_read_or_written() -> None:
    """As for a process that has crashed."""
    inner = MemoryStore()
    async with FaultyStore(inner, at=1) as store:
        for _ in range(2):
            with pytest.raises(StoreUnavailableError):
                await store.commit(Changes(handled=("key",)))
            with pytest.raises(StoreUnavailableError, match="nothing goes any more since commit 1"):
                await store.was_handled("key")
        assert store.commits == 1
        assert not await inner.was_handled("key")


async def test_after_a_passing_failure_everything_goes_on() -> None:
    """As with a disk that was full for a moment."""
    async with FaultyStore(MemoryStore(), at=1, lasting=False) as store:
        with pytest.raises(StoreUnavailableError):
            await store.commit(Changes(handled=("key",)))
        await store.commit(Changes(handled=("key",)))
        assert await store.was_handled("key")


async def test_it_can_be_told_to_fail_at_once() -> None:
    """As when the process dies outside of any commit."""
    async with FaultyStore(MemoryStore(), lasting=False) as store:
        await store.commit(Changes(handled=("key",)))
        store.fail()
        assert store.failed
        with pytest.raises(StoreUnavailableError, match="since commit 1"):
            await store.commit(Changes(handled=("other",)))
        with pytest.raises(StoreUnavailableError):
            await store.was_handled("key")


async def test_the_claims_of_the_dead_can_be_let_lapse() -> None:
    """After the failure, without counting as a commit: another process takes what they held."""
    inner = MemoryStore()
    async with FaultyStore(inner) as store:
        await store.commit(Changes(claims=(an_acquire(),)))
        store.fail()
        await store.let_claims_lapse()
        assert store.commits == 1
        assert list(await inner.live_claims("")) == []
        await inner.commit(Changes(claims=(an_acquire(holder="bob", fencing=2),)))


async def test_a_refused_commit_fails_all_the_same() -> None:
    """The process dies there, whatever the store would have said; other refusals are told."""
    async with FaultyStore(MemoryStore(), at=3, side="after", lasting=False) as store:
        await store.commit(Changes(handled=("key",)))
        with pytest.raises(StaleWriteError):
            await store.commit(Changes(handled=("key",)))
        with pytest.raises(StoreUnavailableError):
            await store.commit(Changes(handled=("key",)))


async def test_it_is_as_durable_and_as_shared_as_what_it_holds(tmp_path: Path) -> None:
    """And in the same place."""
    memory, file = MemoryStore(), SQLiteStore(tmp_path / "signoff.db")
    for inner in (memory, file):
        store = FaultyStore(inner)
        assert (store.durable, store.shared, store.location) == (
            inner.durable,
            inner.shared,
            inner.location,
        )
