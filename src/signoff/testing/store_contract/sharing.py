"""What the store contract says about opening, closing, lasting and sharing (floor 9)."""

from __future__ import annotations

from signoff.model.changes import Changes, Claim, Fence
from signoff.ports import Store
from signoff.testing.builders import a_request, a_signal, an_acquire, an_entry, writing
from signoff.testing.store_contract.base import (
    Capability,
    Collector,
    ContractBase,
    Reopen,
    refused,
)
from signoff.testing.store_contract.commits import race
from signoff.testing.store_contract.examples import FIRST, SECOND, picture


class SharingContract(ContractBase):
    """A store may be left and entered again; it is durable and shared exactly if it says so."""

    async def test_a_store_says_what_it_is(self, store: Store) -> None:
        """`durable` and `shared` are what the test class declares; `location` names the place."""
        declared = (
            Capability.DURABLE in self.capabilities,
            Capability.SHARED in self.capabilities,
        )

        assert (store.durable, store.shared) == declared
        assert store.location

    async def test_a_store_may_be_left_and_entered_again(self, store: Store) -> None:
        """The same object goes on with the same data; leaving twice is leaving once."""
        await store.commit(writing(a_request()))

        await store.__aexit__(None, None, None)
        await store.__aexit__(None, None, None)

        async with store as again:
            assert again is store
            assert await store.request("req_1") == a_request()
            await store.commit(writing(a_request(version=2)))
        async with store:
            assert (await store.request("req_1")).version == 2

    async def test_what_was_committed_is_there_after_reopening(
        self, store: Store, reopen: Reopen | None
    ) -> None:
        """A new object over the data of a durable store reads all of it, and goes on from there."""
        assert (reopen is not None) == (Capability.DURABLE in self.capabilities)
        if reopen is None:
            return
        await store.commit(FIRST)
        before = await picture(store)

        reopened = await reopen()

        assert reopened is not store
        assert await picture(reopened) == before
        await reopened.commit(await self.at_noon(reopened, SECOND))

    async def test_two_objects_over_the_same_data_see_each_other(
        self, store: Store, another: Store | None
    ) -> None:
        """What one of them has committed, the other one reads."""
        assert (another is not None) == (Capability.SHARED in self.capabilities)
        if another is None:
            return
        await store.commit(FIRST)
        assert await picture(another) == await picture(store)

        await another.commit(await self.at_noon(another, SECOND))
        assert await picture(store) == await picture(another)

    async def test_two_objects_check_against_each_other(
        self, store: Store, another: Store | None
    ) -> None:
        """Versions, claims, fences, signals and the chain hold between processes; sinks do not."""
        if another is None:
            return
        ours, theirs = Collector(), Collector()
        store.hand_tasks_to(ours)
        another.hand_tasks_to(theirs)
        await store.commit(FIRST)

        await refused(another, writing(a_request()))
        await refused(another, Changes(claims=(an_acquire(holder="bob", fencing=2),)))
        await refused(another, Changes(fences=(Fence(subject="run_1", holder="bob", fencing=1),)))
        await refused(another, Changes(audit=(an_entry(),)))
        await refused(another, Changes(handled=("imap:1",)))
        await another.commit(Changes(signals=(a_signal(facts={"told": "again"}),)))
        assert list(await store.signals("run_1")) == [a_signal()]
        held = Claim(subject="run_1", holder="ann", fencing=1, live=True)
        assert await another.claim("run_1") == held
        await another.commit(await self.at_noon(another, SECOND))

        assert ours.tasks == []
        assert theirs.tasks == list(SECOND.tasks)
        await refused(store, Changes(consumed=(("run_1", "req_1"),)))

    async def test_exactly_one_of_many_threads_wins_across_objects(
        self, store: Store, another: Store | None
    ) -> None:
        """Two objects race for the next version from six threads, ten times over."""
        if another is None:
            return
        await store.commit(writing(a_request()))

        winners = await race([store, another] * 3, rounds=10)

        assert len(winners) == 10
        for one in (store, another):
            assert (await one.request("req_1")).version == 11
            assert (await one.request("req_1")).message == winners[-1]
