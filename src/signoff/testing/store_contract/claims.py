"""What the store contract says about claims: leases, fencing, release (floor 9)."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from typing import Final

import anyio
import pytest

from signoff.errors import StaleWriteError
from signoff.model.changes import Acquire, Changes, Claim, Fence, Release, Renew
from signoff.ports import Store
from signoff.testing.builders import HOUR, a_run, a_signal, an_acquire, writing
from signoff.testing.store_contract.base import ContractBase, Rendezvous, SetClock, refused

NOTHING: Final = timedelta(0)
"""A lease of this length has run out when it is taken, so that no test has to wait."""

RELEASE: Final = Release(subject="run_1", holder="ann", fencing=1)
FENCE: Final = Fence(subject="run_1", holder="ann", fencing=1)


def renew(*, holder: str = "ann", fencing: int = 1, lease: timedelta = HOUR) -> Renew:
    """Return the prolonging of the claim on `run_1`."""
    return Renew(subject="run_1", holder=holder, fencing=fencing, lease=lease)


def claiming(*changes: Acquire | Renew | Release) -> Changes:
    """Return the commit that changes claims."""
    return Changes(claims=changes)


class ClaimsContract(ContractBase):
    """One holder at a time; who was overtaken writes nothing; business time moves no lease."""

    async def test_a_subject_that_was_never_claimed_has_no_claim(self, store: Store) -> None:
        """`claim` returns `None`, and every change or fence but the first taking is refused."""
        assert await store.claim("run_1") is None
        assert await refused(store, claiming(renew(fencing=0))) == "run_1"
        assert await refused(store, claiming(RELEASE)) == "run_1"
        assert await refused(store, Changes(fences=(FENCE,))) == "run_1"
        nobodys = Fence(subject="run_1", holder="", fencing=0)
        assert await refused(store, Changes(fences=(nobodys,))) == "run_1"
        assert await store.claim("run_1") is None

    async def test_the_first_claim_has_the_fencing_number_one(self, store: Store) -> None:
        """Another number is refused; what was taken is live and says whose it is."""
        for wrong in (0, 2):
            assert await refused(store, claiming(an_acquire(fencing=wrong))) == "run_1"

        await store.commit(claiming(an_acquire()))

        held = Claim(subject="run_1", holder="ann", fencing=1, live=True)
        assert await store.claim("run_1") == held

    async def test_a_live_claim_cannot_be_taken_by_another(self, store: Store) -> None:
        """Not even with the right fencing number."""
        await store.commit(claiming(an_acquire()))

        assert await refused(store, claiming(an_acquire(holder="bob", fencing=2))) == "run_1"

    async def test_a_holder_may_take_its_own_live_claim_anew(self, store: Store) -> None:
        """With the next fencing number, from which on the former one is worth nothing."""
        await store.commit(claiming(an_acquire()))
        await refused(store, claiming(an_acquire()))

        await store.commit(claiming(an_acquire(fencing=2)))

        await refused(store, Changes(fences=(FENCE,)))
        assert await store.claim("run_1") == Claim(
            subject="run_1", holder="ann", fencing=2, live=True
        )

    async def test_a_lapsed_claim_is_still_the_last_one(self, store: Store) -> None:
        """It is not live, but its holder may write under it, prolong it and give it back."""
        await store.commit(claiming(an_acquire(lease=NOTHING)))
        lapsed = Claim(subject="run_1", holder="ann", fencing=1, live=False)
        assert await store.claim("run_1") == lapsed

        await store.commit(Changes(handled=("imap:1",), fences=(FENCE,)))
        await store.commit(claiming(renew(lease=NOTHING)))
        await store.commit(claiming(RELEASE))

    async def test_a_lapsed_claim_is_prolonged_to_a_live_one(self, store: Store) -> None:
        """As long as nobody else has taken it."""
        await store.commit(claiming(an_acquire(lease=NOTHING)))

        await store.commit(claiming(renew()))

        held = Claim(subject="run_1", holder="ann", fencing=1, live=True)
        assert await store.claim("run_1") == held

    async def test_who_was_overtaken_writes_nothing_more(self, store: Store) -> None:
        """A lapsed claim is taken with fencing + 1; the former holder's every write then fails."""
        await store.commit(claiming(an_acquire(lease=NOTHING)))
        for wrong in (1, 3):
            await refused(store, claiming(an_acquire(holder="bob", fencing=wrong)))

        await store.commit(claiming(an_acquire(holder="bob", fencing=2)))

        taken = Claim(subject="run_1", holder="bob", fencing=2, live=True)
        assert await store.claim("run_1") == taken
        for late in (
            Changes(handled=("imap:1",), fences=(FENCE,)),
            claiming(renew()),
            claiming(RELEASE),
            claiming(an_acquire(fencing=2)),
            claiming(an_acquire(fencing=3)),
        ):
            assert await refused(store, late) == "run_1"
        assert await store.claim("run_1") == taken
        assert not await store.was_handled("imap:1")

    @pytest.mark.parametrize(
        ("holder", "fencing"), [("bob", 1), ("ann", 2), ("ann", 0), ("bob", 2), ("", 1)]
    )
    async def test_holder_and_fencing_must_both_be_right(
        self, store: Store, holder: str, fencing: int
    ) -> None:
        """A fence, a prolonging and a giving back need exactly the holder and its number."""
        await store.commit(claiming(an_acquire()))

        fence = Fence(subject="run_1", holder=holder, fencing=fencing)
        release = Release(subject="run_1", holder=holder, fencing=fencing)
        await refused(store, Changes(fences=(fence,)))
        await refused(store, claiming(renew(holder=holder, fencing=fencing)))
        await refused(store, claiming(release))
        await store.commit(Changes(fences=(FENCE,), claims=(renew(), RELEASE)))

    async def test_a_fence_may_ask_for_a_rest_of_the_lease(self, store: Store) -> None:
        """`remaining` needs a live lease with that much left; a prolonged one counts anew."""
        enough = Fence(subject="run_1", holder="ann", fencing=1, remaining=HOUR / 2)
        too_much = Fence(subject="run_1", holder="ann", fencing=1, remaining=2 * HOUR)
        await store.commit(claiming(an_acquire()))

        await store.commit(Changes(fences=(enough,)))
        assert await refused(store, Changes(fences=(too_much,))) == "run_1"

        await store.commit(claiming(renew(lease=3 * HOUR)))
        await store.commit(Changes(fences=(enough, too_much)))

    async def test_a_lapsed_lease_has_no_rest(self, store: Store) -> None:
        """`remaining` of nothing still asks for a live lease."""
        barely = Fence(subject="run_1", holder="ann", fencing=1, remaining=NOTHING)
        await store.commit(claiming(an_acquire(lease=NOTHING)))

        assert await refused(store, Changes(fences=(barely,))) == "run_1"

        await store.commit(claiming(renew()))
        await store.commit(Changes(fences=(barely,)))

    async def test_fences_are_checked_before_claims_change(self, store: Store) -> None:
        """A holder may write and give back in one commit; a claim does not serve its own fence."""
        await refused(store, Changes(fences=(FENCE,), claims=(an_acquire(),)))
        await store.commit(claiming(an_acquire()))

        await store.commit(Changes(fences=(FENCE,), claims=(RELEASE,)))

    async def test_what_was_given_back_belongs_to_nobody(self, store: Store) -> None:
        """The row stays with its fencing number; the former holder has it no more."""
        await store.commit(claiming(an_acquire()))
        await store.commit(claiming(RELEASE))

        free = Claim(subject="run_1", holder="", fencing=1, live=False)
        assert await store.claim("run_1") == free
        nobodys = Fence(subject="run_1", holder="", fencing=1)
        for late in (
            Changes(fences=(FENCE,)),
            Changes(fences=(nobodys,)),
            claiming(renew()),
            claiming(renew(holder="")),
            claiming(RELEASE),
        ):
            await refused(store, late)
        await refused(store, claiming(an_acquire(holder="bob", fencing=1)))
        await store.commit(claiming(an_acquire(holder="bob", fencing=2)))

    async def test_a_run_with_an_unconsumed_signal_is_not_given_back(self, store: Store) -> None:
        """Of whatever kind it is, so that its holder looks at it first."""
        await store.commit(writing(a_run()))
        await store.commit(claiming(an_acquire()))
        await store.commit(Changes(signals=(a_signal(), a_signal("late", kind="late_result"))))
        await store.commit(Changes(signals=(a_signal(run_id="run_2"),)))

        assert await refused(store, claiming(RELEASE)) == "run_1"
        await store.commit(Changes(consumed=(("run_1", "req_1"),)))
        assert await refused(store, claiming(RELEASE)) == "run_1"

        await store.commit(Changes(consumed=(("run_1", "late"),)))
        await store.commit(claiming(RELEASE))

    async def test_giving_back_counts_what_the_commit_consumes(self, store: Store) -> None:
        """And what it appends."""
        await store.commit(Changes(claims=(an_acquire(),), signals=(a_signal(),)))
        consumed = (("run_1", "req_1"),)

        await refused(
            store,
            Changes(consumed=consumed, signals=(a_signal("cancel"),), claims=(RELEASE,)),
        )
        await store.commit(
            Changes(consumed=consumed, signals=(a_signal(run_id="run_2"),), claims=(RELEASE,))
        )

    async def test_claims_of_a_commit_are_changed_in_their_order(self, store: Store) -> None:
        """What one of them leaves is what the next one finds."""
        await store.commit(claiming(an_acquire(), RELEASE, an_acquire(holder="bob", fencing=2)))

        held = Claim(subject="run_1", holder="bob", fencing=2, live=True)
        assert await store.claim("run_1") == held

    async def test_exactly_one_of_many_takes_a_claim(self, store: Store) -> None:
        """Of twenty that see the same free subject, one gets it."""
        takers: list[str] = []
        everybody = Rendezvous(20)

        async def take(name: str) -> None:
            await everybody.meet()
            with suppress(StaleWriteError):
                await store.commit(claiming(an_acquire(holder=name)))
                takers.append(name)

        async with anyio.create_task_group() as group:
            for number in range(20):
                group.start_soon(take, f"worker {number}")

        held = await store.claim("run_1")
        assert held is not None
        assert [held.holder] == takers

    @pytest.mark.parametrize("jump", [timedelta(days=-4000), timedelta(days=4000)])
    async def test_business_time_does_not_move_a_lease(self, store: Store, jump: timedelta) -> None:
        """Leases go by the store's own clock: a jump of `use_clock`'s clock neither ends nor wakes one."""
        if self.has_server_clock:
            return
        clock = SetClock()
        store.use_clock(clock)
        await store.commit(claiming(an_acquire(), an_acquire("run_2", lease=NOTHING)))

        clock.at += jump

        fence = Fence(subject="run_1", holder="ann", fencing=1, remaining=HOUR / 2)
        await store.commit(Changes(fences=(fence,)))
        await refused(store, claiming(an_acquire(holder="bob", fencing=2)))
        lapsed = await store.claim("run_2")
        assert lapsed is not None
        assert not lapsed.live

        await store.commit(claiming(renew()))
        clock.at -= jump
        await store.commit(Changes(fences=(fence,)))

    async def test_live_claims_are_listed_by_prefix(self, store: Store) -> None:
        """The prefix is plain text; lapsed and given back claims are left out."""
        await store.commit(
            claiming(
                *(an_acquire(subject) for subject in ("run_1", "run_2", "runs", "RUN_3", "run%4")),
                an_acquire("serving:b:1", holder="b"),
                an_acquire("run_5", lease=NOTHING),
                an_acquire("run_6"),
                Release(subject="run_6", holder="ann", fencing=1),
            )
        )

        async def subjects(prefix: str) -> list[str]:
            return sorted(claim.subject for claim in await store.live_claims(prefix))

        assert await subjects("run_") == ["run_1", "run_2"]
        assert await subjects("run%") == ["run%4"]
        assert await subjects("serving:b:1") == ["serving:b:1"]
        assert await subjects("serving:c") == []
        assert len(await subjects("")) == 6
        assert list(await store.live_claims("serving:")) == [
            Claim(subject="serving:b:1", holder="b", fencing=1, live=True)
        ]
