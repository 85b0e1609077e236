"""What the store contract says about signals: appended, told once, consumed once (floor 9)."""

from __future__ import annotations

from contextlib import suppress

import anyio
import pytest

from signoff.errors import StaleWriteError
from signoff.model.changes import Changes
from signoff.model.values import Tree
from signoff.ports import Store
from signoff.testing.builders import (
    HOUR,
    MICROSECOND,
    NOON,
    a_signal,
)
from signoff.testing.store_contract.base import ContractBase, Rendezvous, refused


class SignalsContract(ContractBase):
    """What a run is told is kept until it is consumed, in order, once."""

    async def test_signals_come_in_the_order_they_were_appended(self, store: Store) -> None:
        """Not by cause or time; within a commit, in its order; each run has its own."""
        first = [a_signal("b", created_at=NOON + HOUR), a_signal("c"), a_signal("a", kind="cancel")]
        other = a_signal("b", run_id="run_2", facts={"x": 1})
        last = a_signal("", kind="child_ended", created_at=NOON - HOUR)

        await store.commit(Changes(signals=(*first[:2], other, first[2])))
        await store.commit(Changes(signals=(last,)))

        assert list(await store.signals("run_1")) == [*first, last]
        assert list(await store.signals("run_2")) == [other]
        assert list(await store.signals("run_9")) == []

    @pytest.mark.parametrize("text", ["", "ünï ✓ 漢字", "\x00\r\n", "x" * 1_000_000])
    async def test_a_signal_is_read_exactly_as_it_was_written(
        self, store: Store, text: str
    ) -> None:
        """Its facts are any JSON, its time is exact."""
        facts: dict[str, Tree] = {
            "": None,
            text: [True, 1, 1.0, -0.0, text, {text: [text]}],
            "big": 2**80,
        }
        signal = a_signal(
            "tampered ü'", kind="tampered", facts=facts, created_at=NOON + MICROSECOND
        )

        await store.commit(Changes(signals=(signal,)))

        (found,) = await store.signals("run_1")
        assert found == signal
        assert repr(found.facts) == repr(facts)

    async def test_telling_twice_is_telling_once(self, store: Store) -> None:
        """A second signal with the run and cause of another changes nothing, and is no error."""
        told = a_signal(facts={"told": 1})
        again = a_signal(kind="cancel", facts={"told": 2}, created_at=NOON + HOUR)

        await store.commit(Changes(signals=(told, again), handled=("imap:1",)))
        await store.commit(Changes(signals=(again,), handled=("imap:2",)))

        assert list(await store.signals("run_1")) == [told]
        assert await store.was_handled("imap:2")

    async def test_a_signal_is_consumed_once(self, store: Store) -> None:
        """Consuming what is consumed, or was never there, is refused; telling it again stays unheard."""
        consumed = (("run_1", "req_1"),)
        await refused(store, Changes(consumed=consumed))
        await store.commit(Changes(signals=(a_signal(), a_signal("b"), a_signal(run_id="run_2"))))

        await refused(store, Changes(consumed=consumed * 2))
        await store.commit(Changes(consumed=consumed))

        assert [signal.cause for signal in await store.signals("run_1")] == ["b"]
        assert len(await store.signals("run_2")) == 1
        assert await refused(store, Changes(consumed=consumed)) == "run_1"
        await refused(store, Changes(consumed=(("run_2", "b"),)))
        await store.commit(Changes(signals=(a_signal(),)))
        assert [signal.cause for signal in await store.signals("run_1")] == ["b"]
        await refused(store, Changes(consumed=consumed))

    async def test_a_commit_may_consume_what_it_appends(self, store: Store) -> None:
        """So that a cause is used up that nobody has told yet."""
        consumed = (("run_1", "req_1"),)
        await store.commit(Changes(signals=(a_signal(),), consumed=consumed))

        assert list(await store.signals("run_1")) == []
        await store.commit(Changes(signals=(a_signal(),)))
        assert list(await store.signals("run_1")) == []

    async def test_exactly_one_of_many_consumes_a_signal(self, store: Store) -> None:
        """Of twenty that saw it, one commit stands."""
        await store.commit(Changes(signals=(a_signal(),)))
        consumers: list[str] = []
        everybody = Rendezvous(20)

        async def consume(name: str) -> None:
            await everybody.meet()
            with suppress(StaleWriteError):
                await store.commit(Changes(consumed=(("run_1", "req_1"),), handled=(name,)))
                consumers.append(name)

        async with anyio.create_task_group() as group:
            for number in range(20):
                group.start_soon(consume, f"worker {number}")

        assert len(consumers) == 1
        assert [n for n in range(20) if await store.was_handled(f"worker {n}")] == [
            int(consumers[0].removeprefix("worker "))
        ]

    async def test_late_results_stay_after_they_were_consumed(self, store: Store) -> None:
        """They are evidence: `late_results` returns all of a run, in order, and no other signal."""
        late = [a_signal("late 2", kind="late_result"), a_signal("late 1", kind="late_result")]
        other = a_signal("late 3", run_id="run_2", kind="late_result")
        await store.commit(Changes(signals=(late[0], a_signal(), other, late[1])))
        assert list(await store.signals("run_1")) == [late[0], a_signal(), late[1]]

        await store.commit(Changes(consumed=(("run_1", "late 2"), ("run_1", "req_1"))))

        assert list(await store.late_results("run_1")) == late
        assert list(await store.signals("run_1")) == [late[1]]
        assert list(await store.late_results("run_9")) == []
