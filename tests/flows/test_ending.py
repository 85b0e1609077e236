"""Runs that end otherwise: cancelled while they run or wait, and requests whose time is up."""

from __future__ import annotations

import threading
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

import anyio
import pytest

from signoff import (
    Client,
    Flow,
    HumanFeedbackResult,
    human_feedback,
    listen,
    require_approval,
    start,
)
from signoff.codec import codec
from signoff.errors import RequestCancelledError, RequestExpired, RequestExpiredError
from signoff.flows.failures import raised_again

if TYPE_CHECKING:
    from tests.flows.conftest import Bench

ANN = "ann@acme.example"
WEEK = timedelta(days=7)


@require_approval(name="ending.pay")
async def pay() -> str:
    """Pay."""
    return "paid"


class Asked(Flow):
    """A flow with a gate, and a gated call beside it."""

    @start()
    @human_feedback("ok?", emit=["yes", "no"], assignees=[ANN])
    def ask(self) -> str:
        """Ask."""
        return "copy"

    @start()
    async def call(self) -> str:
        """Pay."""
        return await pay()

    @listen("yes")
    def publish(self, result: HumanFeedbackResult) -> object:
        """Publish."""
        return result.output


async def test_cancelling_a_suspended_run_ends_its_requests(bench: Bench) -> None:
    """Whoever answers late is told; to cancel again changes nothing."""
    run = await bench.start(Asked)
    requests = await bench.client.hitl.list_requests(status="pending")
    cancelled = await bench.client.flows.cancel(run.run_id, by="Ops@Acme.example")
    assert cancelled.status == "cancelled"
    for request in requests:
        ended = await bench.client.hitl.get_request(request.request_id)
        assert ended.resolution is not None
        assert (ended.status, ended.resolution.reason) == ("cancelled", "run cancelled")
        with pytest.raises(RequestCancelledError, match="run cancelled"):
            await bench.client.hitl.respond(
                request_id=request.request_id, outcome=request.options[0], reviewer=ANN
            )
    again = await bench.client.flows.cancel(run.run_id)
    assert (again.status, again.updated_at) == ("cancelled", cancelled.updated_at)
    await bench.go()
    assert (await bench.now(run)).status == "cancelled"


async def test_several_may_cancel_a_run_at_once(bench: Bench) -> None:
    """Each of them is told how the run stands then, and each is in its audit trail."""
    run = await bench.start(Asked)
    stood: list[str] = []

    async def cancel(by: str) -> None:
        stood.append((await bench.client.flows.cancel(run.run_id, by=by)).status)

    async with anyio.create_task_group() as group:
        for name in ("ann", "ben", "cleo"):
            group.start_soon(cancel, name)
    await bench.go()
    entries = await bench.store.audit(f"commands:{run.run_id}")
    assert len(stood) == 3
    assert (await bench.now(run)).status == "cancelled"
    assert sorted(one.personal["actor"] for one in entries) == ["ann", "ben", "cleo"]


async def test_cancelling_a_running_run_cancels_its_steps(bench: Bench) -> None:
    """What they have changed is not kept; what had finished is."""
    began = anyio.Event()
    ended: list[str] = []

    class Slow(Flow):
        @start()
        async def quick(self) -> None:
            self.state["quick"] = True

        @listen(quick)
        async def slow(self) -> None:
            self.state["slow"] = True
            began.set()
            try:
                await anyio.sleep_forever()
            finally:
                ended.append("slow")

    run = await bench.client.flows.start(Slow)
    async with anyio.create_task_group() as group:
        group.start_soon(bench.client.drain)
        await began.wait()
        await bench.client.flows.cancel(run.run_id)
    assert ended == ["slow"]
    cancelled = await bench.now(run)
    assert cancelled.status == "cancelled"
    assert cancelled.state == {"id": run.run_id, "quick": True}


async def test_cancelling_waits_for_a_step_in_a_thread(bench: Bench) -> None:
    """A thread cannot be stopped; nothing of it counts any more."""
    began, go = threading.Event(), threading.Event()

    class Threaded(Flow):
        @start()
        def begin(self) -> str:
            began.set()
            assert go.wait(20)
            return "too late"

        @listen(begin)
        def after(self) -> None:
            raise AssertionError

    run = await bench.client.flows.start(Threaded)
    async with anyio.create_task_group() as group:
        group.start_soon(bench.client.drain)
        await anyio.to_thread.run_sync(began.wait)
        await bench.client.flows.cancel(run.run_id)
        go.set()
    ended = await bench.now(run)
    assert (ended.status, ended.output) == ("cancelled", None)


async def test_an_approved_body_that_runs_ends_and_is_recorded_before_its_run_is_cancelled(
    bench: Bench,
) -> None:
    """Nobody would know otherwise whether it has happened."""
    began, go = anyio.Event(), anyio.Event()
    done: list[str] = []

    @require_approval(name="ending.slowly")
    async def slowly() -> str:
        began.set()
        await go.wait()
        done.append("done")
        return "receipt"

    class Paying(Flow):
        @start()
        async def begin(self) -> str:
            return await slowly()

    run = await bench.start(Paying)
    request = await bench.asked("slowly")
    await bench.client.hitl.approve(request_id=request.request_id)
    async with anyio.create_task_group() as group:
        group.start_soon(bench.client.drain)
        await began.wait()
        await bench.client.flows.cancel(run.run_id)
        for _ in range(10):
            await anyio.lowlevel.checkpoint()
        meanwhile = (await bench.now(run)).status
        go.set()
    assert meanwhile == "running"
    assert done == ["done"]
    assert (await bench.now(run)).status == "cancelled"
    (one,) = await bench.store.journal(run.run_id)
    (call,) = one.record.calls
    assert (call.status, call.result) == ("done", "receipt")


async def test_a_failed_and_a_blocked_run_can_be_cancelled_and_a_completed_one_not(
    bench: Bench,
) -> None:
    """A completed run stays what it is."""

    class Failing(Flow):
        @start()
        def begin(self) -> None:
            raise OSError("down")

    class Done(Flow):
        @start()
        def begin(self) -> str:
            return "done"

    failed = await bench.start(Failing)
    await bench.client.flows.cancel(failed.run_id)
    assert (await bench.now(failed)).status == "cancelled"
    done = await bench.start(Done)
    await bench.client.flows.cancel(done.run_id)
    assert (await bench.now(done)).output == "done"


async def test_another_worker_hears_of_a_cancellation_while_a_step_runs(bench: Bench) -> None:
    """It listens from time to time, for nobody pokes it."""
    began = anyio.Event()

    class Slow(Flow):
        @start()
        async def begin(self) -> None:
            began.set()
            await anyio.sleep_forever()

    run = await bench.client.flows.start(Slow)
    quick = Client(
        bench.store, keyring=bench.keyring, clock=bench.clock, lease=timedelta(seconds=0.3)
    )
    async with quick as worker, anyio.create_task_group() as group:
        group.start_soon(worker.drain)
        await began.wait()
        told = await bench.client.flows.cancel(run.run_id)
        assert told.status == "running"
    assert (await bench.now(run)).status == "cancelled"


async def test_a_run_is_cancelled_from_another_event_loop(
    bench: Bench, anyio_backend_name: str
) -> None:
    """That of a thread which uses the same client: whoever drives the run hears of it at once."""
    began = anyio.Event()

    class Slow(Flow):
        @start()
        async def begin(self) -> None:
            began.set()
            await anyio.sleep_forever()

    async def cancel() -> None:
        async with bench.client:
            await bench.client.flows.cancel(run.run_id)

    run = await bench.client.flows.start(Slow)
    async with anyio.create_task_group() as group:
        group.start_soon(bench.client.drain)
        await began.wait()
        await anyio.to_thread.run_sync(partial(anyio.run, cancel, backend=anyio_backend_name))
    assert (await bench.now(run)).status == "cancelled"


async def test_an_expired_request_fails_its_run_and_a_retry_asks_anew(bench: Bench) -> None:
    """With deadlines that count from then on."""
    run = await bench.start(Asked)
    old = await bench.asked("ask")
    assert old.expires_at == bench.clock.now() + WEEK
    bench.clock.advance(WEEK)
    await bench.go()
    failed = await bench.now(run)
    assert failed.failure is not None
    error = raised_again(failed.failure, run_id=run.run_id, codec=codec)
    assert isinstance(error, RequestExpired)
    assert error.request_id == old.request_id
    with pytest.raises(RequestExpiredError):
        await bench.client.hitl.respond(request_id=old.request_id, outcome="yes", reviewer=ANN)

    await bench.client.flows.retry(run.run_id)
    await bench.go()
    new = await bench.asked("ask")
    assert (new.payload, new.expires_at) == ("copy", bench.clock.now() + WEEK)
    await bench.answer("ask", "yes")
    await bench.approve("pay")
    ended = await bench.now(run)
    assert ended.status == "completed"


async def test_an_expired_request_takes_the_label_that_the_gate_says(bench: Bench) -> None:
    """The listener gets a result that says that it was the timer."""

    class Timed(Flow):
        @start()
        @human_feedback(
            "ok?", emit=["yes", "late"], on_expiry="late", expires_after=timedelta(hours=1)
        )
        def ask(self) -> str:
            return "copy"

        @listen("late")
        def give_up(self, result: HumanFeedbackResult) -> list[object]:
            return [result.outcome, result.channel, result.output, result.feedback]

    run = await bench.start(Timed)
    bench.clock.advance(timedelta(minutes=59))
    await bench.go()
    assert (await bench.now(run)).status == "suspended"
    bench.clock.advance(timedelta(minutes=1))
    await bench.go()
    assert (await bench.now(run)).output == ["late", "timer", "copy", ""]


async def test_a_computed_assignee_comes_from_the_state(bench: Bench) -> None:
    """The field that `assign_from_input` names; without a text in it the others are asked."""

    class Assigned(Flow):
        @start()
        @human_feedback("ok?", assign_from_input="manager", assignees=["default@acme.example"])
        def ask(self) -> None: ...

    await bench.start(Assigned, manager="Boss@acme.example")
    assert (await bench.asked("ask")).assignees == ("boss@acme.example",)
    await bench.client.flows.cancel((await bench.asked("ask")).run_id)
    await bench.start(Assigned, manager="")
    assert (await bench.asked("ask")).assignees == ("default@acme.example",)


async def test_a_requester_as_the_only_reviewer_fails_the_step(bench: Bench) -> None:
    """Nobody could ever decide."""

    class Own(Flow):
        @start()
        @human_feedback("ok?", assign_to_email="agent-7")
        def ask(self) -> None: ...

    run = await bench.start(Own)
    assert run.failure is not None
    assert "both the requester and the only one who could decide" in run.failure.message
