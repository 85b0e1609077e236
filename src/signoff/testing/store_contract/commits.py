"""What the store contract says about commits: whole, isolated, read as written (floor 9)."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

import anyio
import pytest
from anyio.lowlevel import checkpoint

from signoff.errors import CodecError, ConfigurationError, SchemaError, StaleWriteError
from signoff.model.base import FORMAT
from signoff.model.changes import Changes, Claim, Task
from signoff.model.values import Tree
from signoff.ports import RunQuery, Store
from signoff.testing.builders import (
    HOUR,
    MICROSECOND,
    NOON,
    a_request,
    a_run,
    a_signal,
    an_entry,
    an_occurrence,
    sealed,
    writing,
)
from signoff.testing.store_contract.base import (
    Collector,
    ContractBase,
    Rendezvous,
    SetClock,
    refused,
)
from signoff.testing.store_contract.examples import BROKEN, FIRST, FIRST_ENTRY, SECOND, picture
from signoff.testing.store_contract.records import RECORDS, TEXTS


class CommitsContract(ContractBase):
    """A commit is made whole or not at all, and is read back as it was written."""

    async def test_a_commit_without_changes_changes_nothing(self, store: Store) -> None:
        """Empty changes are fine."""
        await store.commit(FIRST)
        before = await picture(store)

        await store.commit(Changes())

        assert await picture(store) == before

    async def test_a_commit_writes_everything_in_it(self, store: Store) -> None:
        """Everything that a commit names is there when it returns."""
        await store.commit(FIRST)
        await store.commit(await self.at_noon(store, SECOND))

        found = await picture(store)

        run_0, run_1, run_2 = FIRST.runs[1], SECOND.runs[0], SECOND.runs[1]
        assert found["runs"] == [run_0, run_1, run_2]
        assert found["keyed"] == run_0
        assert found["journals"] == [[], list(SECOND.occurrences), []]
        assert found["signals"] == [[], [SECOND.signals[0]], [SECOND.signals[1]]]
        assert found["requests"] == list(SECOND.requests)
        assert found["tokens"] == [[SECOND.tokens[0]], [SECOND.tokens[1]]]
        assert found["deliveries"] == list(SECOND.deliveries)
        assert found["audit"] == [[FIRST_ENTRY, SECOND.audit[0]], [SECOND.audit[1]]]
        assert found["claims"] == [
            None,
            Claim(subject="run_1", holder="ann", fencing=1, live=True),
            Claim(subject="run_2", holder="ann", fencing=1, live=True),
        ]
        assert found["handled"] == [True, True]
        assert found["marks"] == ["2", "1"]
        assert found["key checks"] == {1: "aa", 2: "bb"}

    @pytest.mark.parametrize("wrong", BROKEN)
    async def test_a_commit_that_fails_one_check_writes_nothing(
        self, store: Store, wrong: str
    ) -> None:
        """One thing that has moved on refuses all the other, valid changes of its commit."""
        sink = Collector()
        await store.commit(FIRST)
        store.hand_tasks_to(sink)
        before = await picture(store)

        await refused(store, await self.at_noon(store, BROKEN[wrong]))

        assert await picture(store) == before
        assert sink.tasks == []
        await store.commit(await self.at_noon(store, SECOND))
        assert sink.tasks == list(SECOND.tasks)

    @pytest.mark.parametrize("record_id", RECORDS)
    async def test_a_record_is_written_only_over_the_version_before(
        self, store: Store, record_id: str
    ) -> None:
        """Version 1 needs that there is none, version n needs n - 1; the error names the record."""
        make = RECORDS[record_id].make
        for early in (0, 2, 3):
            assert await refused(store, writing(make(version=early))) == record_id

        for version in (1, 2, 3):
            await store.commit(writing(make(version=version)))
            for wrong in (0, 1, version, version + 2):
                assert await refused(store, writing(make(version=wrong))) == record_id

    @pytest.mark.parametrize("record_id", RECORDS)
    async def test_two_versions_of_a_record_may_follow_each_other_in_a_commit(
        self, store: Store, record_id: str
    ) -> None:
        """Records are written in the order they come in; the last one stands."""
        kind = RECORDS[record_id]

        await store.commit(writing(kind.make(version=1), kind.make(version=2)))

        assert (await kind.read(store)).version == 2
        await refused(store, writing(kind.make(version=3), kind.make(version=3)))
        await refused(store, writing(kind.make(version=4), kind.make(version=3)))

    @pytest.mark.parametrize("text", TEXTS)
    @pytest.mark.parametrize("record_id", RECORDS)
    async def test_a_record_is_read_exactly_as_it_was_written(
        self, store: Store, record_id: str, text: str
    ) -> None:
        """Every field comes back in value and type: any text, any JSON, any instant."""
        kind = RECORDS[record_id]
        expected = kind.make(**kind.corners(TEXTS[text]))

        await store.commit(writing(expected))

        found = await kind.read(store)
        assert found == expected
        assert found.model_dump_json() == expected.model_dump_json()

    @pytest.mark.parametrize("record_id", RECORDS)
    async def test_members_that_this_version_does_not_know_are_kept(
        self, store: Store, record_id: str
    ) -> None:
        """What a newer Signoff added to a record survives being read and written by this one."""
        kind = RECORDS[record_id]
        await store.commit(writing(kind.make(later={"x": [1, None]})))

        found = await kind.read(store)
        assert found.model_extra == {"later": {"x": [1, None]}}

        await store.commit(writing(found.model_copy(update={"version": 2})))
        assert (await kind.read(store)).model_extra == {"later": {"x": [1, None]}}

    @pytest.mark.parametrize("record_id", RECORDS)
    async def test_a_record_of_a_newer_format_is_refused(
        self, store: Store, record_id: str
    ) -> None:
        """A reader that would misunderstand a record raises `SchemaError`, and names it."""
        kind = RECORDS[record_id]
        await store.commit(writing(kind.make(format=FORMAT + 1)))

        with pytest.raises(SchemaError, match=record_id):
            await kind.read(store)

    async def test_a_checkpoint_keeps_the_bytes_it_came_with(self, store: Store) -> None:
        """The body of a run and of an occurrence is stored untouched, with its key id and MAC."""
        run = a_run()
        body = run.model_dump_json(indent=3).encode() + b"\n"
        mac = bytes(range(224, 256))
        occurrence = an_occurrence()
        spaced = occurrence.model_dump_json(indent=1).encode()

        await store.commit(
            Changes(
                runs=(replace(sealed(run), body=body, kid=77, mac=mac),),
                occurrences=(replace(sealed(occurrence), body=spaced, kid=78, mac=b""),),
            )
        )

        found = await store.run("run_1")
        assert (found.record, found.body, found.kid, found.mac) == (run, body, 77, mac)
        (row,) = await store.journal("run_1")
        assert (row.record, row.body, row.kid, row.mac) == (occurrence, spaced, 78, b"")

    async def test_what_is_read_is_nobody_elses(self, store: Store) -> None:
        """Changing a written or a read record afterwards changes nothing in the store."""
        run = a_run(state={"items": [1]})
        facts: dict[str, Tree] = {"items": [1]}
        await store.commit(Changes(runs=(sealed(run),), signals=(a_signal(facts=facts),)))

        run.state["items"] = "changed"
        facts["items"] = "changed"
        (await store.run("run_1")).record.state["items"] = "changed"

        assert (await store.run("run_1")).record.state == {"items": [1]}
        (signal,) = await store.signals("run_1")
        assert signal.facts == {"items": [1]}

    async def test_what_has_no_bytes_is_refused_whole(self, store: Store) -> None:
        """A lone surrogate cannot be stored: `CodecError`, and nothing of the commit is written."""
        unstorable = "\ud800"
        for changes in (
            Changes(handled=("imap:1",), requests=(a_request(message=unstorable),)),
            Changes(handled=("imap:1",), signals=(a_signal(facts={"x": unstorable}),)),
        ):
            with pytest.raises(CodecError):
                await store.commit(changes)

        assert not await store.was_handled("imap:1")

    async def test_exactly_one_of_many_racing_writers_wins(self, store: Store) -> None:
        """Of twenty tasks that read a version and write the next one, one wins; the rest are told."""
        await store.commit(writing(a_request()))
        winners: list[str] = []
        everybody = Rendezvous(20)

        async def write(name: str) -> None:
            request = await store.request("req_1")
            await everybody.meet()
            winners.extend(await _try_to_write(store, request.version + 1, name))

        async with anyio.create_task_group() as group:
            for number in range(20):
                group.start_soon(write, f"writer {number}")

        stored = await store.request("req_1")
        assert [stored.message] == winners
        assert stored.version == 2

    async def test_exactly_one_of_many_threads_wins(self, store: Store) -> None:
        """Eight threads with loops of their own race for the next version, ten times over."""
        await store.commit(writing(a_request()))

        winners = await race([store] * 8, rounds=10)

        assert len(winners) == 10
        assert (await store.request("req_1")).version == 11
        assert (await store.request("req_1")).message == winners[-1]

    async def test_other_loops_read_what_was_committed(self, store: Store) -> None:
        """A read from another thread and loop returns what the last finished commit wrote."""
        for version in range(1, 6):
            await store.commit(writing(a_request(version=version)))
            seen = await anyio.to_thread.run_sync(anyio.run, store.request, "req_1")
            assert seen.version == version

    async def test_a_read_never_sees_half_of_a_commit(self, store: Store) -> None:
        """Two records that are always written together are always read in the same version."""
        await store.commit(writing(a_run("run_1"), a_run("run_2")))

        async def read() -> None:
            versions = {1}
            while versions != {20}:
                versions = {run.record.version for run in await store.runs(RunQuery())}
                assert len(versions) == 1
                await checkpoint()

        async with anyio.create_task_group() as group:
            group.start_soon(read)
            for version in range(2, 21):
                pair = (a_run(run_id, version=version) for run_id in ("run_1", "run_2"))
                await store.commit(writing(*pair))
                await checkpoint()

    async def test_a_cancelled_commit_is_made_whole_or_not_at_all(self, store: Store) -> None:
        """Cancelling the caller at any of its steps never leaves half of a commit."""
        for step in range(8):
            run_id, request_id = f"run_c{step}", f"req_c{step}"
            entry = an_entry(f"request:{request_id}")
            changes = Changes(
                runs=(sealed(a_run(run_id)),), requests=(a_request(request_id),), audit=(entry,)
            )
            async with anyio.create_task_group() as group:
                group.start_soon(store.commit, changes)
                for _ in range(step):
                    await checkpoint()
                group.cancel_scope.cancel()

            # Either this one makes it, or it is refused because the cancelled one did.
            with suppress(StaleWriteError):
                await store.commit(changes)

            assert (await store.run(run_id)).record.version == 1
            assert (await store.request(request_id)).version == 1
            assert await store.audit(entry.stream) == [entry]

    async def test_tasks_go_to_the_sink_of_the_object(self, store: Store) -> None:
        """Tasks are handed over in their order, to the last sink given; without one they are lost."""
        tasks = (
            Task(kind="deliver", subject="dlv_1"),
            Task(kind="deadline", subject="req_1", not_before=NOON),
        )
        former, sink = Collector(), Collector()
        await store.commit(Changes(tasks=tasks))

        store.hand_tasks_to(former)
        await store.commit(Changes(tasks=tasks[:1]))
        store.hand_tasks_to(sink)
        await store.commit(Changes(tasks=tasks))
        await store.commit(Changes(handled=("imap:1",)))

        assert former.tasks == [tasks[0]]
        assert sink.tasks == list(tasks)

    async def test_business_time_is_the_clock_that_was_given(self, store: Store) -> None:
        """`now()` is aware, in UTC, and exactly what the clock says, forwards or backwards; a server's goes on."""
        assert (await store.now()).utcoffset() == timedelta(0)
        clock = SetClock()
        if self.has_server_clock:
            before = await store.now()
            with pytest.raises(ConfigurationError):
                store.use_clock(clock)
            assert before < await store.now() < before + HOUR
            return
        store.use_clock(clock)

        for at in (NOON, NOON + MICROSECOND, NOON - HOUR):
            clock.at = at
            assert await store.now() == at

    async def test_a_commit_fails_before_the_time_it_assumed(self, store: Store) -> None:
        """`Changes.now` may not lie in the future of the store's clock; being equal is enough."""
        early = MICROSECOND if not self.has_server_clock else HOUR

        for key, ahead in (("imap:1", timedelta(0)), ("imap:2", -HOUR)):
            changes = Changes(handled=(key,), now=NOON + early)
            await refused(store, await self.at_noon(store, changes))
            await store.commit(await self.at_noon(store, replace(changes, now=NOON + ahead)))

    async def test_a_commit_fails_from_its_until_on(self, store: Store) -> None:
        """`Changes.until` must lie in the future of the store's clock; being equal is too late."""
        later = MICROSECOND if not self.has_server_clock else HOUR
        for until in (NOON - MICROSECOND, NOON):
            changes = Changes(handled=("imap:1",), until=until)
            await refused(store, await self.at_noon(store, changes))

        in_time = Changes(handled=("imap:1",), until=NOON + later)
        await store.commit(await self.at_noon(store, in_time))

        late = Changes(handled=("imap:2",), until=NOON)
        await refused(store, await self.at_noon(store, late))


async def race(stores: Sequence[Store], *, rounds: int) -> list[str]:
    """
    Let a thread with a loop of its own for each store write the next version of `req_1`.

    Args:
        stores: Of all of them the data is the same; the first version is there.
        rounds: How many versions are raced for, all threads at once for each.

    Returns:
        Who won, one name for each round.
    """
    winners: list[str] = []
    barrier = threading.Barrier(len(stores))

    async def write(store: Store, version: int, name: str) -> None:
        winners.extend(await _try_to_write(store, version, name))

    def take_part(store: Store, name: str) -> None:
        for version in range(2, rounds + 2):
            barrier.wait(timeout=30)
            anyio.run(write, store, version, name)

    async with anyio.create_task_group() as group:
        for number, store in enumerate(stores):
            group.start_soon(anyio.to_thread.run_sync, take_part, store, f"thread {number}")
    return winners


async def _try_to_write(store: Store, version: int, name: str) -> list[str]:
    """Write a version of `req_1`; return the name if that was accepted."""
    with suppress(StaleWriteError):
        await store.commit(writing(a_request(version=version, message=name)))
        return [name]
    return []
