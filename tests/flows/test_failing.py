"""Failures: what a raising step does to its run, how it is recorded, and what a retry does."""

from __future__ import annotations

import asyncio  # noqa: TID251 - only there can a task be cancelled that nobody's scope holds
import logging
import threading
from typing import TYPE_CHECKING

import anyio
import pytest

from signoff import (
    Client,
    Flow,
    HumanFeedbackResult,
    Proposal,
    human_feedback,
    listen,
    require_approval,
    start,
)
from signoff.codec import codec
from signoff.errors import ApprovalCancelled, StoreUnavailableError
from signoff.flows.failures import raised_again
from signoff.model.changes import Changes
from signoff.stores import MemoryStore

if TYPE_CHECKING:
    from tests.flows.conftest import Bench

ANN = "ann@acme.example"


async def test_rule_7_running_siblings_end_and_are_recorded_before_the_run_fails(
    bench: Bench,
) -> None:
    """Sync or async; what listens to them waits for the retry, which begins at the failed step."""
    failed = anyio.Event()
    in_thread = threading.Event()
    ran: list[str] = []

    class Failing(Flow):
        @start()
        async def fails(self) -> str:
            ran.append("fails")
            if ran.count("fails") == 1:
                failed.set()
                in_thread.set()
                raise LookupError("no copy")
            return "at last"

        @start()
        async def slow(self) -> str:
            await failed.wait()
            for _ in range(20):
                await anyio.lowlevel.checkpoint()
            ran.append("slow")
            return "slow"

        @start()
        def in_a_thread(self) -> str:
            assert in_thread.wait(20)
            ran.append("thread")
            return "thread"

        @listen(slow)
        def after(self, output: str) -> None:
            ran.append(f"after {output}")

    run = await bench.start(Failing)
    assert run.status == "failed"
    assert run.failure is not None
    assert (run.failure.type_name, run.failure.message) == ("builtins:LookupError", "no copy")
    assert sorted(ran) == ["fails", "slow", "thread"]
    journal = {one.record.step: one.record for one in await bench.store.journal(run.run_id)}
    assert [journal[step].status for step in ("fails", "slow", "in_a_thread", "after")] == [
        "failed",
        "finished",
        "finished",
        "ready",
    ]

    await bench.client.flows.retry(run.run_id)
    await bench.go()
    ended = await bench.now(run)
    assert (ended.status, ended.failure) == ("completed", None)
    assert sorted(ran) == ["after slow", "fails", "fails", "slow", "thread"]


async def test_of_two_failures_the_first_steps_is_the_runs(bench: Bench) -> None:
    """And it is what kickoff raises; a retry tries both again."""
    ran: list[str] = []

    class Failing(Flow):
        @start()
        async def one(self) -> None:
            ran.append("one")
            await anyio.lowlevel.checkpoint()
            raise ValueError("one")

        @start()
        async def two(self) -> None:
            ran.append("two")
            raise ValueError("two")

    with pytest.raises(ValueError, match="one"):
        await Failing(client=bench.client).kickoff_async()
    (run,) = await bench.client.flows.list()
    await bench.client.flows.retry(run.run_id)
    assert sorted(ran) == ["one", "one", "two", "two"]
    assert (await bench.now(run)).status == "failed"


async def test_an_answer_to_a_failed_runs_other_gate_is_kept_for_the_retry(bench: Bench) -> None:
    """Nothing runs on it before."""
    broken = [True]
    published: list[str] = []

    class Failing(Flow):
        @start()
        def fails(self) -> None:
            if broken:
                raise OSError("down")

        @start()
        @human_feedback("ok?", emit=["yes", "no"])
        def ask(self) -> str:
            return "copy"

        @listen("yes")
        def publish(self) -> None:
            published.append("copy")

    run = await bench.start(Failing)
    assert run.status == "failed"
    await bench.answer("ask", "yes")
    assert (await bench.now(run)).status == "failed"
    assert published == []
    broken.clear()
    await bench.client.flows.retry(run.run_id)
    await bench.go()
    assert (await bench.now(run)).status == "completed"
    assert published == ["copy"]


async def test_one_hundred_runs_and_one_of_them_raises(bench: Bench) -> None:
    """The other ninety-nine end in the same drain."""

    class Many(Flow):
        @start()
        async def begin(self) -> object:
            if self.state["number"] == 50:
                raise OSError("the fiftieth")
            return self.state["number"]

    for number in range(100):
        await bench.client.flows.start(Many, inputs={"number": number})
    await bench.go()
    counts = (await bench.client.hitl.get_stats()).runs
    assert counts == {"completed": 99, "failed": 1}


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_step_that_waits_for_a_cancelled_task_fails(
    anyio_backend: str, bench: Bench
) -> None:
    """It is no cancellation of the step, and nothing hangs."""

    class Waiting(Flow):
        @start()
        async def begin(self) -> None:
            task = asyncio.create_task(anyio.sleep_forever())
            await anyio.lowlevel.checkpoint()
            task.cancel()
            await task

    run = await bench.start(Waiting)
    assert run.failure is not None
    assert "waited for a task that was cancelled" in run.failure.message


class Stop(BaseException):
    """What a test runner or a shell raises to stop everything."""


@pytest.mark.parametrize("stop", [Stop, KeyboardInterrupt, SystemExit])
async def test_what_is_no_exception_stops_the_drain(
    bench: Bench, stop: type[BaseException]
) -> None:
    """It is for nobody in between to swallow; the run can go on afterwards."""
    tries: list[int] = []

    class Stopped(Flow):
        @start()
        async def begin(self) -> str:
            tries.append(1)
            if len(tries) == 1:
                raise stop
            return "gone on"

    run = await bench.client.flows.start(Stopped)
    with pytest.raises(BaseException) as raised:  # noqa: PT011 - whatever comes out
        await bench.client.drain()
    reasons: BaseException = raised.value
    while isinstance(reasons, BaseExceptionGroup):
        (reasons,) = reasons.exceptions
    assert type(reasons) is stop
    await bench.go()
    assert (await bench.now(run)).output == "gone on"


async def test_an_unfit_proposal_fails_the_step(bench: Bench) -> None:
    """What cannot be stored is named, and nobody is asked."""

    class Unfit(Flow):
        @start()
        @human_feedback("ok?")
        def ask(self) -> Proposal:
            return Proposal(payload={"lock": threading.Lock()})

    run = await bench.start(Unfit)
    assert run.failure is not None
    assert "ask output.lock" in run.failure.message
    assert await bench.pending() == []


async def test_a_gate_whose_request_is_withdrawn_fails_the_run_and_is_asked_anew(
    bench: Bench,
) -> None:
    """A retry opens a new request, with what was asked before."""

    class Asked(Flow):
        @start()
        @human_feedback("ok?", emit=["yes", "no"])
        def ask(self) -> str:
            return "copy"

        @listen("yes")
        def publish(self, result: HumanFeedbackResult) -> object:
            return result.output

    run = await bench.start(Asked)
    old = await bench.asked("ask")
    await bench.client.hitl.cancel(request_id=old.request_id, by=ANN)
    await bench.go()
    failed = await bench.now(run)
    assert failed.failure is not None
    error = raised_again(failed.failure, run_id=run.run_id, codec=codec)
    assert isinstance(error, ApprovalCancelled)
    assert (error.request_id, error.reason) == (old.request_id, "withdrawn")

    await bench.client.flows.retry(run.run_id)
    await bench.go()
    new = await bench.asked("ask")
    assert (new.payload, new.request_id == old.request_id) == ("copy", False)
    await bench.answer("ask", "yes")
    assert (await bench.now(run)).output == "copy"


@require_approval(name="failing.pay")
async def pay(number: int) -> int:
    """Pay."""
    PAID.append(number)
    return number


PAID: list[int] = []


@require_approval(name="failing.refund")
async def refund(number: int) -> int:
    """Pay back."""
    return -number


async def test_a_retry_that_comes_to_a_new_call_first_asks_in_the_very_next_attempt(
    bench: Bench,
) -> None:
    """Until it has met what was journaled before, nothing new is asked; then once."""
    PAID.clear()
    attempts: list[int] = []

    class Ordered(Flow):
        @start()
        async def begin(self) -> list[int]:
            attempts.append(len(PAID))
            results: list[int] = []
            turn = anyio.Event()

            async def first() -> None:
                turn.set()
                results.append(await refund(1))

            async def second() -> None:
                await turn.wait()
                results.append(await pay(1))

            async with anyio.create_task_group() as group:
                if len(attempts) > 2:
                    group.start_soon(first)
                else:
                    turn.set()
                group.start_soon(second)
            if len(attempts) == 2:
                raise OSError("after the first")
            return sorted(results)

    run = await bench.start(Ordered)
    await bench.approve("pay")
    assert (await bench.now(run)).status == "failed"
    await bench.client.flows.retry(run.run_id)
    await bench.go()
    assert await bench.pending() == ["refund"]
    await bench.approve("refund")
    assert (await bench.now(run)).output == [-1, 1]
    assert PAID == [1]
    assert attempts == [0, 0, 1, 1, 1]


class Unreliable(MemoryStore):
    """A store whose connection breaks when it is told to."""

    broken = False

    async def commit(self, changes: Changes) -> None:
        if self.broken and changes.occurrences:
            raise StoreUnavailableError("the disk is gone")
        await super().commit(changes)


async def test_when_the_store_fails_the_run_stays_as_it_was(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """The drain reports it, and the next one goes on."""
    caplog.set_level(logging.CRITICAL)
    store = Unreliable()
    ran: list[str] = []

    class Steps(Flow):
        @start()
        async def begin(self) -> str:
            ran.append("begin")
            return "done"

    async with Client(store) as client:
        run = await client.flows.start(Steps)
        store.broken = True
        report = await client.drain()
        assert report.errors[run.run_id].startswith("StoreUnavailableError")
        assert (await client.flows.get(run.run_id)).status == "ready"
        store.broken = False
        assert (await client.drain()).errors == {}
        assert (await client.flows.get(run.run_id)).output == "done"
    assert ran == ["begin", "begin"]
