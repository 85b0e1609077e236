"""`drain`: does all that can be done now, says what it did, and raises nothing for failed runs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import anyio
import pytest
from typing_extensions import override

from signoff import Client, Flow, human_feedback, listen, require_approval, start
from signoff.errors import DrainLimit, InboxError, NotifyError, StoreUnavailableError
from signoff.flows.loading import SUSPECT_DEATHS
from signoff.model.changes import Changes, Renew
from signoff.ports import Batch
from signoff.stores import MemoryStore, SQLiteStore
from signoff.testing import FaultyStore, ManualClock, MemoryMail
from signoff.worker import MAX_PASSES

BRAND = "brand@acme.example"


class Ask(Flow, name="draining.ask"):
    """One gate, which an answer leads past."""

    @start()
    @human_feedback(message="Well?", emit=["approved", "rejected"], assign_to_email=BRAND)
    def draft(self) -> str:
        """Return what is asked about."""
        return "text"

    @listen("approved")
    def publish(self) -> str:
        """End."""
        return "published"


class Number(Flow, name="draining.number"):
    """A run that ends well unless it is told not to."""

    @start()
    async def begin(self) -> int:
        """Return the number, or fail."""
        if self.state["number"] == self.state["wrong"]:
            raise ValueError("the wrong number")
        return int(str(self.state["number"]))

    @listen(begin)
    def double(self, number: int) -> int:
        """Return twice the number."""
        return 2 * number


class Again(Flow, name="draining.again"):
    """A run that starts another one, for ever."""

    client: Client

    @start()
    async def begin(self) -> None:
        """Start it."""
        await self.client.flows.start(Again)


@require_approval(name="draining.pay", assignees=[BRAND])
async def pay(amount: int) -> str:
    """Stand in for a payment."""
    return f"paid {amount}"


async def started(client: Client, count: int, *, wrong: int = -1) -> list[str]:
    """Start runs that end at once."""
    runs = [
        await client.flows.start(Number, inputs={"number": number, "wrong": wrong})
        for number in range(count)
    ]
    return [run.run_id for run in runs]


async def statuses(client: Client, run_ids: Sequence[str]) -> list[str]:
    """Return how the runs stand."""
    return [(await client.flows.get(run_id)).status for run_id in run_ids]


async def test_nothing_to_do_is_one_pass() -> None:
    """Which did nothing."""
    async with Client() as client:
        report = await client.drain()

    assert report.passes == 1
    assert (report.advanced, report.sent, report.expired, report.received) == ((), (), (), 0)
    assert report.errors == {}


async def test_a_report_names_the_notifier_that_could_not_send() -> None:
    """Once: the next drain, which sends nothing because it is too soon, has no error."""
    mail = MemoryMail()
    mail.error = NotifyError("the server is away", permanent=False)
    async with Client(notifiers=[mail]) as client:
        await client.hitl.request("Shall we?", payload=1, assignees=[BRAND])
        failed, quiet = await client.drain(), await client.drain()

    assert len(failed.sent) == 1
    assert failed.errors == {mail.name: "the server is away"}
    assert (quiet.sent, quiet.errors) == ((), {})


async def test_a_report_says_what_was_done() -> None:
    """Runs driven, deliveries attempted, requests expired and messages read, by their ids."""
    mail, clock = MemoryMail(), ManualClock()
    async with Client(notifiers=[mail], inbox=mail, clock=clock) as client:
        run = await client.flows.start(Ask)
        asked = await client.drain()
        (request,) = await client.hitl.list_requests()
        assert (asked.passes, asked.advanced) == (3, (run.run_id,))
        assert len(asked.sent) == 1
        assert asked.sent[0].startswith("dlv_")

        mail.reply(mail.sent[0], "what is this?")
        heard = await client.drain()
        assert (heard.received, heard.advanced, len(heard.sent)) == (1, (), 1)

        clock.advance(timedelta(days=7))
        over = await client.drain()
        assert over.expired == (request.request_id,)
        assert over.advanced == (run.run_id,)


async def test_failed_runs_raise_nothing_and_ninety_nine_others_finish() -> None:
    """One run's exception is that run's."""
    async with Client() as client:
        run_ids = await started(client, 100, wrong=41)
        report = await client.drain()

        expected = ["completed"] * 100
        expected[41] = "failed"
        assert await statuses(client, run_ids) == expected
        assert set(report.advanced) == set(run_ids)
        assert report.errors == {}
        failed = await client.flows.get(run_ids[41])
        assert failed.failure is not None
        assert failed.failure.message == "the wrong number"


async def test_a_run_cancelled_in_its_midst_leaves_ninety_nine_others_finishing() -> None:
    """By a run that goes on beside it."""
    victims: list[str] = []

    async with Client() as client:

        class Cancels(Flow, name="draining.cancels"):
            @start()
            async def begin(self) -> str:
                return (await client.flows.cancel(victims[0])).status

        run_ids = await started(client, 99)
        (request,) = [await client.submit(pay, 9)]
        victims.append(request.run_id)
        killer = await client.flows.start(Cancels)
        await client.drain()

        assert await statuses(client, run_ids) == ["completed"] * 99
        assert await statuses(client, [killer.run_id, request.run_id]) == ["completed", "cancelled"]


@pytest.mark.parametrize("at", [3, 150])
async def test_a_commit_that_fails_is_reported_and_costs_no_other_run_anything(at: int) -> None:
    """The next drain finishes what it hit."""
    store = FaultyStore(MemoryStore(), lasting=False)
    async with Client(store) as client:
        run_ids = await started(client, 100)
        store._at = store.commits + at
        report = await client.drain()

        assert store.failed
        assert len(report.errors) <= 1
        if report.errors:
            ((subject, error),) = report.errors.items()
            assert subject in run_ids
            assert "StoreUnavailableError" in error
            others = [run_id for run_id in run_ids if run_id != subject]
            assert await statuses(client, others) == ["completed"] * 99
        assert (await client.drain()).errors == {}
        assert await statuses(client, run_ids) == ["completed"] * 100


async def test_a_store_that_is_gone_is_an_error() -> None:
    """Nobody can say what is to be done."""
    store = FaultyStore(MemoryStore())
    async with Client(store) as client:
        (run_id,) = await started(client, 1)
        store._at = store.commits + 1
        assert "StoreUnavailableError" in (await client.drain()).errors[run_id]
        with pytest.raises(StoreUnavailableError):
            await client.drain()


@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # a thousand passes take their time
async def test_a_flow_that_starts_itself_for_ever_meets_the_limit() -> None:
    """After a thousand passes; the error asks the right question."""
    async with Client() as client:
        Again.client = client
        await client.flows.start(Again)
        with pytest.raises(DrainLimit, match="starts itself for ever") as caught:
            await client.drain()
        runs = (await client.hitl.get_stats()).runs

    assert caught.value.passes == MAX_PASSES == 1000
    assert runs == {"completed": 1000, "ready": 1}


class Unreadable(MemoryMail):
    """A mailbox that cannot be read while it has an error."""

    trouble: Exception | None = InboxError("the server hung up")

    @override
    async def fetch(self, mark: str | None) -> Batch:
        if self.trouble is not None:
            raise self.trouble
        return await super().fetch(mark)


async def test_a_mailbox_that_cannot_be_read_is_reported_and_stops_nothing_else() -> None:
    """It is tried once in a drain, and again in the next."""
    mail = Unreadable()
    async with Client(notifiers=[mail], inbox=mail) as client:
        run = await client.flows.start(Ask)
        report = await client.drain()
        assert report.errors == {"mail": "InboxError: the server hung up"}
        assert len(mail.sent) == 1

        mail.trouble = None
        mail.reply(mail.sent[0], "approved")
        assert (await client.drain()).errors == {}
        assert (await client.flows.get(run.run_id)).output == "published"


async def test_a_message_that_could_not_be_stored_is_handled_by_the_next_drain() -> None:
    """Nothing of it was recorded, and nothing is lost."""
    mail, store = MemoryMail(), FaultyStore(MemoryStore(), lasting=False)
    async with Client(store, notifiers=[mail], inbox=mail) as client:
        run = await client.flows.start(Ask)
        await client.drain()
        mail.reply(mail.sent[0], "approved")
        store._at = store.commits + 1
        report = await client.drain()
        assert "StoreUnavailableError" in report.errors["mail"]
        assert (mail.put_away, mail.failed) == ([], [])
        assert (await client.flows.get(run.run_id)).status == "suspended"

        await client.drain()
        assert mail.put_away == ["1"]
        assert (await client.flows.get(run.run_id)).status == "completed"


async def test_clients_that_drain_at_the_same_time_drive_each_run_once() -> None:
    """Whoever takes a run first; the other one leaves it alone."""
    store, steps = MemoryStore(), list[object]()

    class Counted(Flow, name="draining.counted"):
        @start()
        async def begin(self) -> None:
            steps.append(self.state["number"])

    async with Client(store) as one, Client(store) as other:
        for number in range(20):
            await one.flows.start(Counted, inputs={"number": number})
        async with anyio.create_task_group() as group:
            group.start_soon(one.drain)
            group.start_soon(other.drain)

    assert sorted(steps) == list(range(20))  # type: ignore[type-var]  # all of them are numbers


async def test_runs_that_may_have_killed_their_workers_are_driven_one_at_a_time() -> None:
    """So in the end it is known which of them it is; the others go on side by side."""
    store, inside, most = MemoryStore(), list[str](), dict[str, int]()

    class Counted(Flow, name="draining.suspects"):
        @start()
        async def begin(self) -> None:
            sort = str(self.state["sort"])
            inside.append(sort)
            for _ in range(20):
                await anyio.lowlevel.checkpoint()
                most[sort] = max(most.get(sort, 0), inside.count(sort))
            inside.remove(sort)

    async with Client(store) as client:
        keeper = client._machinery.keeper
        for number in range(6):
            sort = "suspect" if number % 2 else "fresh"
            run = await client.flows.start(Counted, inputs={"sort": sort})
            for _ in range(SUSPECT_DEATHS if sort == "suspect" else 0):
                held = await keeper.take(run.run_id)
                assert held is not None
                lapsed = Renew(
                    subject=held.subject,
                    holder=held.holder,
                    fencing=held.fencing,
                    lease=timedelta(0),
                )
                await store.commit(Changes(claims=(lapsed,)))
                keeper.let_go(held)
        await client.drain()
        assert (await client.hitl.get_stats()).runs == {"completed": 6}

    assert (most["suspect"], most["fresh"]) == (1, 3)


async def test_two_clients_on_one_file_ask_answer_and_go_on(
    state_home: Path, database: Path
) -> None:
    """One asks, another answers, and a third goes on: each with a store of its own."""
    async with Client(SQLiteStore(database)) as asking:
        run = await asking.flows.start(Ask, requester="agent-7")
        await asking.drain()
        async with Client(SQLiteStore(database)) as answering:
            (request,) = await answering.hitl.list_requests(status="pending")
            await answering.hitl.approve(request_id=request.request_id, reviewer=BRAND)
            assert (await asking.flows.get(run.run_id)).status == "suspended"
    async with Client(SQLiteStore(database)) as resuming:
        await resuming.drain()
        ended = await resuming.flows.get(run.run_id)

    assert (ended.status, ended.output) == ("completed", "published")
