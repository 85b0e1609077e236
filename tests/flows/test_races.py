"""What happens at the same time: answers while a step runs, clashes, lost claims, and crashes."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING, cast

import anyio
import pytest

from signoff import Client, Flow, NotDone, and_, human_feedback, listen, require_approval, start
from signoff.errors import StaleWriteError, StoreUnavailableError
from signoff.model.changes import Changes
from signoff.stores import MemoryStore

if TYPE_CHECKING:
    from tests.flows.conftest import Bench

ANN = "ann@acme.example"
LEASE = timedelta(seconds=0.3)


@require_approval(name="races.pay")
async def pay(number: int) -> int:
    """Pay."""
    return number


@require_approval(name="races.harmless", idempotent=True, verify=lambda **_: NotDone())
async def harmless(number: int) -> int:
    """Do what may be done again."""
    return number


async def test_an_answer_that_comes_while_its_step_still_runs_is_heard(bench: Bench) -> None:
    """One task of the step waits for it, and another one works on; the run is not left waiting."""
    asked, go = anyio.Event(), anyio.Event()

    class Both(Flow):
        @start()
        async def begin(self) -> int:
            paid: list[int] = []
            async with anyio.create_task_group() as group:
                group.start_soon(self.work)
                paid.append(await pay(7))
            return paid[0]

        async def work(self) -> None:
            with anyio.CancelScope(shield=True):
                asked.set()
                await go.wait()

    run = await bench.client.flows.start(Both)
    async with anyio.create_task_group() as group:
        group.start_soon(bench.client.drain)
        await asked.wait()
        while not (page := await bench.client.hitl.list_requests(status="pending")):
            await anyio.lowlevel.checkpoint()
        await bench.client.hitl.approve(request_id=page[0].request_id, reviewer=ANN)
        assert await bench.client._machinery.executor.advance(run.run_id) is False
        go.set()
    assert (await bench.now(run)).output == 7


async def test_an_answer_to_one_gate_while_another_step_runs_is_gone_on_with_at_once(
    bench: Bench,
) -> None:
    """The drive that holds the run hears of it, and does not wait for the step."""
    began, published = anyio.Event(), anyio.Event()

    class Both(Flow):
        @start()
        @human_feedback("ok?", emit=["yes", "no"])
        async def ask(self) -> str:
            return "copy"

        @start()
        async def slow(self) -> str:
            began.set()
            await published.wait()
            return "slow"

        @listen("yes")
        async def publish(self) -> None:
            published.set()

    run = await bench.client.flows.start(Both)
    async with anyio.create_task_group() as group:
        group.start_soon(bench.client.drain)
        await began.wait()
        while await bench.pending() == []:
            await anyio.lowlevel.checkpoint()
        request = await bench.asked("ask")
        await bench.client.hitl.respond(request_id=request.request_id, outcome="yes")
        await bench.client._machinery.executor.advance(run.run_id)
    assert (await bench.now(run)).output == "slow"


async def test_an_answer_that_its_sibling_has_made_void_is_not_gone_on_with(bench: Bench) -> None:
    """Finance wants a revision and legal agrees to the old draft, and both come at once."""

    class Two(Flow):
        @start("revise")
        def draft(self) -> str:
            return f"draft {len(self.human_feedback_history) + 1}"

        @listen(draft)
        @human_feedback("Finance?", emit=["cheap", "revise"])
        def finance(self, copy: str) -> str:
            return copy

        @listen(draft)
        @human_feedback("Legal?", emit=["lawful", "unlawful"])
        def legal(self, copy: str) -> str:
            return copy

    run = await bench.start(Two)
    for step, label in (("finance", "revise"), ("legal", "lawful")):
        request = await bench.asked(step)
        await bench.client.hitl.respond(request_id=request.request_id, outcome=label)
    await bench.go()
    pending = await bench.client.hitl.list_requests(status="pending")
    assert [request.payload for request in pending] == ["draft 2", "draft 2"]
    journal = [one.record for one in await bench.store.journal(run.run_id)]
    finished = [one.step for one in journal if one.status == "finished"]
    assert finished == ["draft", "finance", "draft"]
    assert [one.step for one in journal if one.status == "superseded"] == ["legal"]


async def test_a_step_that_ends_after_its_cause_ran_again_counts_for_nothing(bench: Bench) -> None:
    """Neither what it returned nor what it changed; its next run does."""
    revised, go = anyio.Event(), anyio.Event()

    class Slow(Flow):
        @start("revise")
        async def draft(self) -> int:
            return len(self.human_feedback_history) + 1

        @listen(draft)
        @human_feedback("ok?", emit=["revise", "keep"])
        async def ask(self, draft: int) -> int:
            return draft

        @listen(draft)
        async def slow(self, draft: int) -> int:
            if draft == 1:
                self.state["first"] = True
                revised.set()
                await go.wait()
            return draft

        @listen(and_(slow, "keep"))
        def end(self) -> tuple[list[object], bool]:
            return self.method_outputs, "first" in self.state

    run = await bench.client.flows.start(Slow)
    async with anyio.create_task_group() as group:
        group.start_soon(bench.client.drain)
        await revised.wait()
        while await bench.pending() == []:
            await anyio.lowlevel.checkpoint()
        request = await bench.asked("ask")
        await bench.client.hitl.respond(request_id=request.request_id, outcome="revise")
        await bench.client._machinery.executor.advance(run.run_id)
        while [one.payload for one in await bench.client.hitl.list_requests(status="pending")] != [
            2
        ]:
            await anyio.lowlevel.checkpoint()
        go.set()
    await bench.answer("ask", "keep")
    outputs, first = cast("tuple[list[int], bool]", (await bench.now(run)).output)
    assert sorted(outputs) == [1, 1, 2, 2, 2]
    assert first is False


async def test_a_run_that_another_worker_took_over_is_let_go(bench: Bench) -> None:
    """The first worker's lease ran out while it stood still; it writes nothing any more."""
    now = [0.0]
    store = MemoryStore(lease_clock=lambda: now[0])
    began, go = anyio.Event(), anyio.Event()
    tries: list[str] = []

    class Slow(Flow):
        @start()
        async def begin(self) -> str:
            tries.append("begun")
            if len(tries) == 1:
                began.set()
                await go.wait()
                return "the first"
            return "the second"

    first = Client(store, keyring=bench.keyring, clock=bench.clock, lease=LEASE)
    second = Client(store, keyring=bench.keyring, clock=bench.clock, lease=LEASE)
    async with first, second, anyio.create_task_group() as group:
        run = await first.flows.start(Slow)
        group.start_soon(first.drain)
        await began.wait()
        now[0] += 100
        await second.drain()
        assert (await second.flows.get(run.run_id)).output == "the second"
        # The thread that renews notices, and tells the drive, which ends its step.
        while (await first.flows.get(run.run_id)).status != "completed":
            await anyio.lowlevel.checkpoint()
    assert tries == ["begun", "begun"]
    assert not go.is_set()


class Clashing(MemoryStore):
    """A store on which somebody else is always a little quicker, a given number of times."""

    clashes = 0

    async def commit(self, changes: Changes) -> None:
        if self.clashes and any(one.record.step for one in changes.occurrences):
            self.clashes -= 1
            raise StaleWriteError("somebody", "was quicker")
        await super().commit(changes)


class Plain(Flow):
    """A flow of one step."""

    @start()
    async def begin(self) -> str:
        """Return."""
        return "done"


async def test_a_clash_is_tried_again(bench: Bench) -> None:
    """With what the run was told meanwhile."""
    store = Clashing()
    async with Client(store) as client:
        run = await client.flows.start(Plain)
        store.clashes = 3
        assert (await client.drain()).errors == {}
        assert (await client.flows.get(run.run_id)).output == "done"


async def test_clashes_without_end_are_an_error_of_that_run(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """It is given up, and taken up again by the next drain."""
    caplog.set_level(logging.CRITICAL)
    store = Clashing()
    async with Client(store) as client:
        run = await client.flows.start(Plain)
        store.clashes = 50
        report = await client.drain()
        assert report.errors[run.run_id].startswith("StaleWriteError")
        assert (await client.drain()).errors == {}
        assert (await client.flows.get(run.run_id)).output == "done"


class Dying(MemoryStore):
    """A store whose process dies at a given commit, counted from when it is told."""

    dies_at = 0

    async def commit(self, changes: Changes) -> None:
        if self.dies_at and changes.fences:
            self.dies_at -= 1
            if not self.dies_at:
                raise StoreUnavailableError("the process died")
        await super().commit(changes)


async def test_a_crash_between_two_answers_loses_neither(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """Wherever it dies, whoever comes next finds the answers and the ends of children."""
    caplog.set_level(logging.CRITICAL)

    class Child(Flow):
        @start()
        @human_feedback("Child?", emit=["grown", "small"])
        def ask_child(self) -> str:
            return "child"

    class Several(Flow):
        @start()
        @human_feedback("one?", emit=["yes", "no"])
        def one(self) -> None: ...

        @start()
        async def two(self) -> int:
            return await harmless(2)

        @start()
        async def three(self) -> object:
            return await Child().kickoff_async()

        @listen(and_("yes", two, three))
        def end(self) -> str:
            return "all"

    for dies_at in range(1, 12):
        store = Dying()
        async with Client(store) as client:
            run = await client.flows.start(Several)
            await client.drain()
            for request in await client.hitl.list_requests(status="pending"):
                label = request.options[0]
                await client.hitl.respond(request_id=request.request_id, outcome=label)
            store.dies_at = dies_at
            await client.drain()
            store.dies_at = 0
            await client.drain()
            assert (await client.flows.get(run.run_id)).output == "all", dies_at


async def test_a_retry_looks_at_every_gate_and_asks_none_anew_that_still_waits(
    bench: Bench,
) -> None:
    """A gate that waits beside a step that failed keeps its request."""
    broken = [True]

    class Failing(Flow):
        @start()
        def fails(self) -> None:
            if broken:
                raise OSError("down")

        @start()
        @human_feedback("ok?", emit=["yes", "no"])
        def ask(self) -> str:
            return "copy"

    run = await bench.start(Failing)
    before = await bench.asked("ask")
    broken.clear()
    await bench.client.flows.retry(run.run_id)
    await bench.go()
    assert (await bench.asked("ask")).request_id == before.request_id
    await bench.answer("ask", "yes")
    assert (await bench.now(run)).status == "completed"


async def test_a_refusal_is_kept_by_a_retry(bench: Bench) -> None:
    """Who said no is not asked again; the step meets the refusal as before."""

    class Refused(Flow):
        @start()
        async def begin(self) -> int:
            return await pay(7)

    run = await bench.start(Refused)
    request = await bench.asked("pay")
    await bench.client.hitl.reject(request_id=request.request_id, reason="no", reviewer=ANN)
    await bench.go()
    assert (await bench.now(run)).status == "failed"
    await bench.client.flows.retry(run.run_id)
    await bench.go()
    assert (await bench.now(run)).status == "failed"
    assert len(await bench.client.hitl.list_requests()) == 1


async def test_only_so_many_failures_are_kept_as_what_they_were(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Older ones are made again from what was recorded."""
    monkeypatch.setattr("signoff.flows.executor.REMEMBERED", 1)

    class Failing(Flow):
        @start()
        def begin(self) -> None:
            raise LookupError(self.state["number"])

    runs = [await bench.start(Failing, number=number) for number in (1, 2)]
    executor = bench.client._machinery.executor
    old, new = [executor.failure_of(await bench.now(run)) for run in runs]
    assert isinstance(old, LookupError)
    assert isinstance(new, LookupError)
    assert (old.args, new.args) == ((1,), (2,))
    assert (old.__traceback__ is None, new.__traceback__ is None) == (True, False)
    assert executor.failure_of(await bench.start(Plain)) is None
