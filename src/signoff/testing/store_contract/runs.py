"""What the store contract says about runs, their journal, and what is ready (floor 9)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

import pytest

from signoff.errors import NotFoundError, SchemaError
from signoff.model.base import FORMAT
from signoff.model.changes import Changes, Release, SignalKind
from signoff.model.run import RunStatus
from signoff.ports import RunQuery, Store
from signoff.testing.builders import (
    MICROSECOND,
    NOON,
    a_run,
    a_signal,
    an_acquire,
    an_occurrence,
    writing,
)
from signoff.testing.store_contract.base import ContractBase, refused

ORDER: Final = ["shop:Order"]
"""The name of the flow that the builders' runs are of."""

RESTING: Final[Sequence[RunStatus]] = ("suspended", "blocked", "completed", "failed", "cancelled")
"""The status of runs that go on only when a signal says so."""

WAKING: Final[Sequence[SignalKind]] = ("resolved", "child_ended", "cancel", "retry", "tampered")
"""The signals that make somebody look at a run."""


class RunsContract(ContractBase):
    """Runs are found by id, key, query, and when they are to be advanced."""

    async def test_a_run_that_is_not_there_is_an_error(self, store: Store) -> None:
        """`NotFoundError` names the kind and the id; ids are compared exactly."""
        await store.commit(writing(a_run("run_1")))

        for unknown in ("run_2", "RUN_1", "run_1 ", ""):
            with pytest.raises(NotFoundError) as caught:
                await store.run(unknown)
            assert (caught.value.kind, caught.value.record_id) == ("run", unknown)

    async def test_a_keyed_run_is_found_by_its_flow_and_key(self, store: Store) -> None:
        """The key counts within its flow name; both are compared exactly."""
        keyed = a_run("run_1", key="inv-17")
        same_key = a_run("run_2", flow_name="shop:Refund", key="inv-17")
        await store.commit(writing(keyed, same_key, a_run("run_3", key="INV-17"), a_run("run_4")))

        found = [
            await store.run_by_key("shop:Order", "inv-17"),
            await store.run_by_key("shop:Refund", "inv-17"),
        ]
        assert [one and one.record for one in found] == [keyed, same_key]
        for flow_name, key in (("shop:order", "inv-17"), ("shop:Order", "inv-1"), ("", "inv-17")):
            assert await store.run_by_key(flow_name, key) is None

    async def test_a_key_stands_for_one_run(self, store: Store) -> None:
        """A second run of the flow with the key is refused, in the same commit or a later one."""
        twice = writing(a_run("run_1", key="k"), a_run("run_2", key="k"))
        assert await refused(store, twice) == "run_2"
        await store.commit(writing(a_run("run_1", key="k")))

        assert await refused(store, writing(a_run("run_3", key="k"))) == "run_3"

        await store.commit(writing(a_run("run_1", version=2, key="k", status="completed")))
        assert await refused(store, writing(a_run("run_3", key="k"))) == "run_3"
        await store.commit(writing(a_run("run_3", key=""), a_run("run_4"), a_run("run_5")))
        assert await refused(store, writing(a_run("run_6", key=""))) == "run_6"

    async def test_a_run_may_take_a_new_name(self, store: Store) -> None:
        """Its newest version says by which name and key it is found, and who can run it."""
        await store.commit(writing(a_run(key="k")))

        await store.commit(writing(a_run(version=2, flow_name="shop:Sale", key="k")))

        found = await store.run_by_key("shop:Sale", "k")
        assert found is not None
        assert found.record.version == 2
        assert await store.run_by_key("shop:Order", "k") is None
        assert list(await store.ready(ORDER, limit=9)) == []
        assert list(await store.ready(["shop:Sale"], limit=9)) == ["run_1"]
        assert await _run_ids(store, RunQuery(flow_name="shop:Order")) == []
        await store.commit(writing(a_run("run_2", key="k")))

    async def test_runs_come_oldest_first(self, store: Store) -> None:
        """Ordered by (created_at, run_id), however they were written or changed later."""
        await store.commit(
            writing(
                a_run("run_b", created_at=NOON),
                a_run("run_c", created_at=NOON - MICROSECOND),
                a_run("run_a", created_at=NOON),
            )
        )
        await store.commit(writing(a_run("run_c", version=2, created_at=NOON - MICROSECOND)))

        assert await _run_ids(store, RunQuery()) == ["run_c", "run_a", "run_b"]

    async def test_runs_are_chosen_by_status_flow_and_parent(self, store: Store) -> None:
        """Every field of the query that is given must fit."""
        await store.commit(
            writing(
                a_run("run_1"),
                a_run("run_2", status="suspended"),
                a_run("run_3", status="suspended", parent_run_id="run_1"),
                a_run("run_4", flow_name="shop:Refund", parent_run_id="run_1"),
                a_run("run_5", flow_name="shop:Refund", status="suspended", parent_run_id="run_2"),
            )
        )
        await store.commit(writing(a_run("run_1", version=2, status="completed")))

        for query, expected in (
            (RunQuery(status="suspended"), ["run_2", "run_3", "run_5"]),
            (RunQuery(status="completed"), ["run_1"]),
            (RunQuery(status="failed"), []),
            (RunQuery(flow_name="shop:Refund"), ["run_4", "run_5"]),
            (RunQuery(parent_run_id="run_1"), ["run_3", "run_4"]),
            (RunQuery(parent_run_id="run_1", status="suspended"), ["run_3"]),
            (RunQuery(flow_name="shop:Refund", status="ready", parent_run_id="run_1"), ["run_4"]),
            (RunQuery(flow_name="shop:refund"), []),
            (RunQuery(parent_run_id="run_9"), []),
        ):
            assert await _run_ids(store, query) == expected

    async def test_runs_come_in_pages(self, store: Store) -> None:
        """Following `after` meets every run once, also where many were made at one instant."""
        runs = [a_run(f"run_{n:02}", created_at=NOON + n // 4 * MICROSECOND) for n in range(21)]
        await store.commit(writing(*reversed(runs)))

        seen: list[str] = []
        after = None
        while page := await store.runs(RunQuery(after=after, limit=5)):
            assert len(page) == min(5, 21 - len(seen))
            seen += [run.record.run_id for run in page]
            after = (page[-1].record.created_at, page[-1].record.run_id)

        assert seen == [run.run_id for run in runs]

    async def test_a_journal_is_in_the_order_of_its_numbers(self, store: Store) -> None:
        """By `seq`, not by id or by time of writing; of this run only; empty for an unknown one."""
        await store.commit(
            writing(an_occurrence(10), an_occurrence(2), an_occurrence(1, run_id="run_2"))
        )
        await store.commit(
            writing(an_occurrence(1), an_occurrence(2, version=2, status="finished"))
        )

        journal = await store.journal("run_1")

        assert [row.record.seq for row in journal] == [1, 2, 10]
        assert journal[1].record.status == "finished"
        assert list(await store.journal("run_9")) == []

    async def test_a_checkpoint_is_all_that_is_stored_of_a_run(self, store: Store) -> None:
        """The very same that is read piece by piece; of this run only."""
        for run_id in ("run_1", "run_2"):
            await store.commit(writing(a_run(run_id), an_occurrence(10, run_id=run_id)))
            await store.commit(writing(an_occurrence(2, run_id=run_id)))
            await store.commit(writing(an_occurrence(run_id=run_id)))
            told = (a_signal("a", run_id=run_id), a_signal("b", run_id=run_id))
            await store.commit(Changes(signals=told, claims=(an_acquire(run_id),)))
        await store.commit(Changes(consumed=(("run_1", "a"),)))

        for run_id in ("run_1", "run_2"):
            found = await store.checkpoint(run_id)
            assert found.claim == await store.claim(run_id)
            assert found.run == await store.run(run_id)
            assert list(found.journal) == list(await store.journal(run_id))
            assert list(found.signals) == list(await store.signals(run_id))
        await store.commit(writing(a_run("run_3")))
        fresh = await store.checkpoint("run_3")
        assert (fresh.claim, list(fresh.journal), list(fresh.signals)) == (None, [], [])
        with pytest.raises(NotFoundError) as caught:
            await store.checkpoint("run_9")
        assert (caught.value.kind, caught.value.record_id) == ("run", "run_9")

    async def test_a_page_of_runs_with_a_newer_record_is_refused(self, store: Store) -> None:
        """Every read that would return the record raises `SchemaError`."""
        newer = a_run("run_1", key="k", format=FORMAT + 1)
        await store.commit(writing(newer, a_run("run_2", flow_name="shop:Refund")))

        with pytest.raises(SchemaError, match="run_1"):
            await store.runs(RunQuery())
        with pytest.raises(SchemaError, match="run_1"):
            await store.run_by_key("shop:Order", "k")
        assert await _run_ids(store, RunQuery(flow_name="shop:Refund")) == ["run_2"]

    async def test_runs_that_are_ready_or_running_are_ready(self, store: Store) -> None:
        """A `running` one without a live claim has lost its holder; a resting one is left alone."""
        resting = [a_run(f"run_{status}", status=status) for status in RESTING]
        await store.commit(writing(a_run("run_1"), a_run("run_2", status="running"), *resting))

        assert await store.ready(ORDER, limit=99) == ["run_1", "run_2"]

    async def test_a_run_is_ready_only_while_its_status_says_so(self, store: Store) -> None:
        """Each new version counts anew."""
        statuses: list[RunStatus] = ["ready", "running", "suspended", "ready", "completed"]
        seen: list[bool] = []
        for version, status in enumerate(statuses, start=1):
            await store.commit(writing(a_run(version=version, status=status)))
            seen.append(bool(await store.ready(ORDER, limit=9)))

        assert seen == [True, True, False, True, False]

    @pytest.mark.parametrize("kind", WAKING)
    async def test_a_signal_makes_a_resting_run_ready(self, store: Store, kind: SignalKind) -> None:
        """Until it is consumed, whatever the run's status."""
        for status in RESTING:
            run_id = f"run_{status}"
            await store.commit(writing(a_run(run_id, status=status)))
            await store.commit(Changes(signals=(a_signal(run_id=run_id, kind=kind),)))
            assert await store.ready(ORDER, limit=99) == [run_id]

            await store.commit(Changes(consumed=((run_id, "req_1"),)))
            assert await store.ready(ORDER, limit=99) == []

    async def test_a_late_result_makes_no_run_ready(self, store: Store) -> None:
        """It is evidence, and nobody has to act on it; another signal beside it counts."""
        await store.commit(writing(a_run(status="suspended")))
        await store.commit(Changes(signals=(a_signal("late", kind="late_result"),)))
        assert await store.ready(ORDER, limit=9) == []

        await store.commit(Changes(signals=(a_signal(),)))
        assert await store.ready(ORDER, limit=9) == ["run_1"]

    async def test_a_signal_may_come_before_its_run(self, store: Store) -> None:
        """It wakes the run once that is there, and nothing before."""
        await store.commit(Changes(signals=(a_signal(),)))
        assert await store.ready(ORDER, limit=9) == []
        assert dict(await store.unclaimed([])) == {}

        await store.commit(writing(a_run(status="suspended")))
        assert await store.ready(ORDER, limit=9) == ["run_1"]

    async def test_a_claimed_run_is_not_ready(self, store: Store) -> None:
        """Not until its lease has run out or it was given back, signals or not."""
        await store.commit(
            writing(a_run("run_1"), a_run("run_2", status="suspended"), a_run("run_3"))
        )
        await store.commit(Changes(signals=(a_signal(run_id="run_2"),)))
        await store.commit(
            Changes(
                claims=(
                    an_acquire("run_1"),
                    an_acquire("run_2"),
                    an_acquire("run_3", lease=timedelta(0)),
                )
            )
        )
        assert await store.ready(ORDER, limit=9) == ["run_3"]

        release = Release(subject="run_1", holder="ann", fencing=1)
        await store.commit(Changes(claims=(release,)))
        assert await store.ready(ORDER, limit=9) == ["run_1", "run_3"]

    async def test_ready_runs_are_of_the_names_that_were_asked_for(self, store: Store) -> None:
        """Names are compared exactly; naming one twice returns nothing twice."""
        await store.commit(
            writing(
                a_run("run_1", flow_name="a"),
                a_run("run_2", flow_name="b"),
                a_run("run_3", flow_name="A"),
            )
        )

        assert await store.ready(["a", "b", "a"], limit=9) == ["run_1", "run_2"]
        assert await store.ready(["A"], limit=9) == ["run_3"]
        assert await store.ready(["c"], limit=9) == []
        assert await store.ready([], limit=9) == []

    async def test_who_has_waited_longest_is_ready_first(self, store: Store) -> None:
        """Since its status changed or since its first signal, whichever is earlier; then by id."""
        at = [NOON + n * MICROSECOND for n in range(6)]
        await store.commit(
            writing(
                a_run("run_e", updated_at=at[5], created_at=at[0]),
                a_run("run_b", updated_at=at[2], flow_name="other"),
                a_run("run_d", updated_at=at[3]),
                a_run("run_c", updated_at=at[3]),
                a_run("run_a", updated_at=at[0], status="suspended"),
                a_run("run_0", updated_at=at[4]),
            )
        )
        await store.commit(
            Changes(
                signals=(
                    a_signal("2nd", run_id="run_a", created_at=at[5]),
                    a_signal("1st", run_id="run_a", created_at=at[4]),
                    a_signal("late", run_id="run_a", kind="late_result", created_at=at[0]),
                    a_signal(run_id="run_0", created_at=at[1]),
                )
            )
        )
        names = [*ORDER, "other"]

        expected = ["run_0", "run_b", "run_c", "run_d", "run_a", "run_e"]
        assert await store.ready(names, limit=9) == expected
        assert await store.ready(names, limit=3) == expected[:3]

        await store.commit(Changes(consumed=(("run_a", "1st"),)))
        await store.commit(writing(a_run("run_e", version=2, status="running", updated_at=at[0])))
        expected = ["run_e", "run_0", "run_b", "run_c", "run_d", "run_a"]
        assert await store.ready(names, limit=9) == expected

    async def test_claimed_runs_do_not_count_towards_the_limit(self, store: Store) -> None:
        """However many are in work, the next ones are found behind them."""
        await store.commit(writing(*(a_run(f"run_{number}") for number in range(10))))
        await store.commit(Changes(claims=tuple(an_acquire(f"run_{n}") for n in range(7))))

        assert await store.ready(ORDER, limit=2) == ["run_7", "run_8"]

    async def test_runs_that_nobody_here_can_run_are_counted(self, store: Store) -> None:
        """`unclaimed` counts what would be ready under other names, by name, without zeros."""
        names = ["a", "a", "b", "c", "d", "d"]
        await store.commit(
            writing(*(a_run(f"run_{n}", flow_name=name) for n, name in enumerate(names)))
        )
        await store.commit(writing(a_run("run_2", version=2, flow_name="b", status="suspended")))
        await store.commit(Changes(claims=(an_acquire("run_4"),)))

        assert dict(await store.unclaimed([])) == {"a": 2, "c": 1, "d": 1}
        assert dict(await store.unclaimed(["a", "x"])) == {"c": 1, "d": 1}

        await store.commit(Changes(signals=(a_signal(run_id="run_2"),)))
        await store.commit(Changes(claims=(an_acquire("run_3"),)))
        assert dict(await store.unclaimed(["a"])) == {"b": 1, "d": 1}


async def _run_ids(store: Store, query: RunQuery) -> list[str]:
    return [run.record.run_id for run in await store.runs(query)]
