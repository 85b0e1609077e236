"""Claims are taken once, kept by a thread of their own, and lost when another takes them."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Literal

import anyio
import pytest
from anyio.lowlevel import checkpoint

from signoff.claims import DEFAULT_LEASE, Held, Keeper
from signoff.errors import StaleWriteError, StoreUnavailableError
from signoff.model.changes import Acquire, Changes, Claim, Fence, Release, Renew
from signoff.stores import MemoryStore
from signoff.testing import FaultyStore

SHORT = timedelta(milliseconds=30)
PATIENCE = 20.0


class Counting(MemoryStore):
    """A store that counts the renewals, and fails them if it is told to."""

    def __init__(self) -> None:
        """Begin with none."""
        self.seconds = 0.0
        super().__init__(lease_clock=lambda: self.seconds)
        self.renewals: list[Renew] = []
        self.fails: Exception | None = None

    async def commit(self, changes: Changes) -> None:
        """Write, and count."""
        renewals = [one for one in changes.claims if isinstance(one, Renew)]
        if renewals and self.fails is not None:
            raise self.fails
        await super().commit(changes)
        self.renewals += renewals


@pytest.fixture(name="store")
def _store() -> Counting:
    return Counting()


@pytest.fixture(name="keeper")
def _keeper(store: Counting) -> Iterator[Keeper]:
    keeper = Keeper(store, holder="me", lease=SHORT)
    yield keeper
    keeper.close()


async def taken(keeper: Keeper, subject: str = "run_1") -> Held:
    """Take a claim that is free."""
    held = await keeper.take(subject)
    assert held is not None
    return held


def renewed(held: Held) -> bool:
    """Wait until the thread has dealt with a claim once more."""
    again = threading.Event()
    held.on_renewal = again.set
    return again.wait(PATIENCE)


def test_a_lease_is_half_a_minute() -> None:
    """Unless the client says otherwise."""
    assert timedelta(seconds=30) == DEFAULT_LEASE


async def test_a_claim_is_taken_by_one(store: Counting, keeper: Keeper) -> None:
    """While it is live nobody else gets it, nor the same holder again; then under the next number."""
    other = Keeper(store, holder="other", lease=SHORT)
    held = await taken(keeper)

    assert (held.subject, held.holder, held.fencing) == ("run_1", "me", 1)
    assert await other.take("run_1") is None
    assert await keeper.take("run_1") is None
    keeper.close()
    store.seconds += SHORT.total_seconds()
    second = await taken(other)
    assert (second.holder, second.fencing) == ("other", 2)
    other.close()


@pytest.mark.parametrize("side", ["before", "after"])
async def test_a_claim_whose_commit_was_not_acknowledged_is_kept_if_it_was_made(
    side: Literal["before", "after"],
) -> None:
    """Else nobody would have it, and nobody else could take it before its lease ends."""
    store = FaultyStore(MemoryStore(), at=1, side=side, lasting=False)
    keeper = Keeper(store, holder="me")
    if side == "before":
        with pytest.raises(StoreUnavailableError):
            await keeper.take("run_1")
        assert await store.claim("run_1") is None
    held = await taken(keeper)
    assert (held.holder, held.fencing) == ("me", 1)
    assert keeper.let_go(held)
    keeper.close()


async def test_a_claim_that_another_took_meanwhile_is_not_taken_for_ones_own(
    store: Counting, keeper: Keeper
) -> None:
    """The commit failed, and what stands there is somebody else's."""
    stolen = Acquire(subject="run_1", holder="other", fencing=1, lease=SHORT)

    class Unlucky(Counting):
        async def commit(self, changes: Changes) -> None:
            await store.commit(Changes(claims=(stolen,)))
            raise StoreUnavailableError("the disk is full")

        async def claim(self, subject: str) -> Claim | None:
            return await store.claim(subject)

    with pytest.raises(StoreUnavailableError):
        await Keeper(Unlucky(), holder="me", lease=SHORT).take("run_1")


async def test_of_two_that_take_a_claim_at_once_in_one_process_one_gets_it() -> None:
    """The second one does not even try, so that it cannot take the other's commit for its own."""

    class Pausing(MemoryStore):
        async def claim(self, subject: str) -> Claim | None:
            found = await super().claim(subject)
            await checkpoint()
            return found

    store = FaultyStore(Pausing(), at=2, lasting=False)
    keeper = Keeper(store, holder="me")
    found: list[Held | None] = []

    async def take() -> None:
        found.append(await keeper.take("run_1"))

    async with anyio.create_task_group() as group:
        group.start_soon(take)
        group.start_soon(take)
    keeper.close()
    assert [one.fencing for one in found if one is not None] == [1]
    assert store.commits == 1


async def test_who_comes_second_to_the_commit_gets_none(store: Counting, keeper: Keeper) -> None:
    """Between looking and taking another may have taken it."""

    class Slow(Counting):
        async def commit(self, changes: Changes) -> None:
            raise StaleWriteError("run_1", "somebody holds a live claim")

    assert await Keeper(Slow(), holder="slow").take("run_1") is None


def test_a_claim_says_what_it_is_worth() -> None:
    """Until its certain end, and nothing once it was lost."""
    held = Held(subject="run_1", holder="me", fencing=7, until=100.0)

    assert [held.remaining(at) for at in (99.0, 100.0, 101.0)] == [1.0, 0.0, -1.0]
    assert held.fence() == Fence(subject="run_1", holder="me", fencing=7)
    assert held.fence(remaining=SHORT).remaining == SHORT
    assert held.release() == Release(subject="run_1", holder="me", fencing=7)
    held.lost = True
    assert held.remaining(0.0) == 0.0


async def test_a_claim_is_certain_from_before_its_commit(store: Counting) -> None:
    """The lease counts from when the commit was begun, so it never seems longer than it is."""
    keeper = Keeper(store, holder="me")
    before = time.monotonic()
    held = await taken(keeper)
    after = time.monotonic()
    keeper.close()

    assert before <= held.until - DEFAULT_LEASE.total_seconds() <= after


async def test_it_is_renewed_while_it_is_held(store: Counting, keeper: Keeper) -> None:
    """By a thread of its own, so that it lives on while this loop is blocked."""
    held, first = await taken(keeper), time.monotonic()
    assert renewed(held)
    assert renewed(held)

    assert store.renewals[0] == Renew(subject="run_1", holder="me", fencing=1, lease=SHORT)
    assert held.until > first
    assert not held.lost


async def test_it_is_not_renewed_once_it_was_let_go(store: Counting, keeper: Keeper) -> None:
    """Giving it back is the caller's commit."""
    held, other = await taken(keeper), await taken(keeper, "run_2")

    assert keeper.let_go(held) is True
    assert keeper.let_go(held) is False
    for _ in range(2):
        assert renewed(other)
    store.renewals.clear()
    assert renewed(other)
    assert {one.subject for one in store.renewals} == {"run_2"}


async def test_it_is_not_renewed_once_it_was_let_go_in_the_middle(
    store: Counting, keeper: Keeper
) -> None:
    """The thread looks again before each of those that it had found."""
    ended = threading.Event()
    first, second = await taken(keeper), await taken(keeper, "run_2")
    third = await taken(keeper, "run_3")

    def let_go_of_the_other(held: Held) -> None:
        if keeper.let_go(held):
            ended.set()

    first.on_renewal = lambda: let_go_of_the_other(second)
    second.on_renewal = lambda: let_go_of_the_other(first)
    assert ended.wait(PATIENCE)
    store.renewals.clear()
    assert renewed(third)
    assert renewed(third)

    assert len({one.subject for one in store.renewals} - {"run_3"}) == 1


async def test_a_claim_that_another_has_is_lost(store: Counting, keeper: Keeper) -> None:
    """The holder hears of it by its next renewal."""
    held = await taken(keeper)
    keeper.let_go(held)
    store.seconds += 1.0
    await store.commit(
        Changes(claims=(Acquire(subject="run_1", holder="other", fencing=2, lease=SHORT),))
    )
    kept = keeper.keep(
        Acquire(subject="run_1", holder="me", fencing=1, lease=SHORT), began=time.monotonic()
    )
    assert renewed(kept)

    assert kept.lost
    assert kept.remaining(time.monotonic()) == 0.0


@pytest.mark.parametrize("error", [StoreUnavailableError("the disk is full"), OSError("odd")])
async def test_a_store_that_fails_loses_no_claim(
    store: Counting, keeper: Keeper, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    """It is tried again, whatever it raised; only certainty ends meanwhile."""
    store.fails = error
    with caplog.at_level(logging.WARNING, "signoff.claims"):
        held = await taken(keeper)
        until = held.until
        assert renewed(held)

    assert (held.lost, held.until) == (False, until)
    assert "could not renew the claim on run_1" in caplog.text
    assert str(error) in caplog.text
    store.fails = None
    assert renewed(held)
    assert held.until > until


async def test_closing_ends_the_thread_and_taking_begins_another(
    store: Counting, keeper: Keeper
) -> None:
    """Closing twice is closing once."""

    def threads() -> int:
        return sum(thread.name == "signoff-claims" for thread in threading.enumerate())

    before = threads()
    held = await taken(keeper)
    await taken(keeper, "run_2")
    assert threads() == before + 1
    keeper.close()
    keeper.close()
    assert threads() == before
    keeper.let_go(held)
    assert renewed(await taken(keeper, "run_3"))
    assert threads() == before + 1
