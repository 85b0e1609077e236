"""What was changed behind Signoff's back: nothing runs on it, and no retry ever makes it good."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

import anyio
import pytest

from signoff import (
    Flow,
    HumanFeedbackResult,
    human_feedback,
    listen,
    require_approval,
    set_default_client,
    start,
)
from signoff.codec import codec
from signoff.errors import SealInvalidError, StoreUnavailableError
from signoff.flows.session import sealed_occurrence
from signoff.records import encode
from signoff.stores import MemoryStore

if TYPE_CHECKING:
    from tests.flows.conftest import Bench

    from signoff.model.request import Request
    from signoff.model.run import Occurrence, Run

ANN = "ann@acme.example"
RAN: list[str] = []


@pytest.fixture(autouse=True)
def _nothing_ran() -> None:
    """Forget what ran in other tests."""
    RAN.clear()


@require_approval(name="distrust.pay")
async def pay(amount: int) -> int:
    """Pay."""
    RAN.append(f"paid {amount}")
    return amount


class Child(Flow):
    """A child with a gate."""

    @start()
    @human_feedback("Child?", emit=["grown", "small"])
    def ask_child(self) -> str:
        """Ask."""
        return "child"


class Reviewed(Flow):
    """Two gates, one after another, beside a gated call and a child."""

    @start()
    @human_feedback("first?", emit=["yes", "no"], assignees=[ANN])
    def first(self) -> str:
        """Ask."""
        return "copy"

    @listen("yes")
    @human_feedback("second?", emit=["good", "bad"])
    def second(self, result: HumanFeedbackResult) -> object:
        """Ask again."""
        return result.output

    @listen("good")
    def publish(self, result: HumanFeedbackResult) -> str:
        """Publish."""
        RAN.append("published")
        return f"published {result.output}"

    @start()
    async def call(self) -> int:
        """Pay."""
        return await pay(7)

    @start()
    async def child(self) -> object:
        """Run the child."""
        return await Child().kickoff_async()


def rows(bench: Bench) -> MemoryStore:
    """Return the store as one who can write to it behind our back."""
    return cast("MemoryStore", bench.store)


def change_run(bench: Bench, run: Run, **changes: object) -> None:
    """Change a run's row."""
    table = rows(bench)._runs.rows
    row = table[run.run_id]
    table[run.run_id] = replace(row, body=encode(run.model_copy(update=changes)))


def change_request(bench: Bench, request: Request, **changes: object) -> None:
    """Change a request's row."""
    table = rows(bench)._requests.rows
    row = table[request.request_id]
    table[request.request_id] = replace(row, body=encode(request.model_copy(update=changes)))


async def occurrence(bench: Bench, run: Run, step: str) -> Occurrence:
    """Return the occurrence of a step."""
    journal = [one.record for one in await bench.store.journal(run.run_id)]
    (found,) = [one for one in journal if one.step == step]
    return found


def forge(bench: Bench, one: Occurrence, **changes: object) -> None:
    """Change an occurrence's row with the right key, as only somebody who has that could."""
    changed = one.model_copy(update=changes)
    sealed = sealed_occurrence(bench.keyring, changed)
    table = rows(bench)._occurrences.rows
    row = table[one.occurrence_id]
    table[one.occurrence_id] = replace(row, body=sealed.body, kid=sealed.kid, mac=sealed.mac)


async def blocked_for(bench: Bench, run: Run) -> str:
    """Return what a run is blocked for, which has to be a seal; nothing has run."""
    found = await bench.now(run)
    assert (found.status, found.blocked_reason) == ("blocked", "seal_invalid")
    assert "published" not in RAN
    return found.blocked_detail


async def test_a_changed_run_is_set_aside_and_stays_so_however_often_it_is_retried(
    bench: Bench,
) -> None:
    """Its row is written again to say so, and is not made good by that."""
    run = await bench.start(Reviewed)
    change_run(bench, run, state={**run.state, "limit": 10**9})
    await bench.answer("first", "yes")
    for _ in range(3):
        assert await blocked_for(bench, run) == f"{run.run_id}: run"
        await bench.client.flows.retry(run.run_id)
        await bench.go()
    assert await blocked_for(bench, run) == f"{run.run_id}: run"
    events = await bench.store.audit(f"commands:{run.run_id}")
    assert [entry.facts["event"] for entry in events].count("run.blocked") >= 1


async def test_a_changed_run_can_be_cancelled_with_all_that_it_waits_for(bench: Bench) -> None:
    """Requests that are what was sealed end; one that was changed is left to nobody."""
    run = await bench.start(Reviewed)
    change_run(bench, run, state={**run.state, "limit": 10**9})
    changed = await bench.asked("first")
    change_request(bench, changed, message="Pay nothing?")
    await bench.client.flows.cancel(run.run_id)
    await bench.go()
    assert (await bench.now(run)).status == "cancelled"
    (child,) = await bench.client.flows.list(flow=Child)
    assert child.status == "cancelled"
    assert await bench.pending() == ["first"]
    with pytest.raises(SealInvalidError):
        await bench.client.hitl.respond(request_id=changed.request_id, outcome="yes", reviewer=ANN)


async def test_a_run_whose_request_was_changed_can_be_cancelled(bench: Bench) -> None:
    """The others of its requests end."""
    run = await bench.start(Reviewed)
    change_request(bench, await bench.asked("first"), message="Pay nothing?")
    await bench.client.flows.cancel(run.run_id)
    await bench.go()
    assert (await bench.now(run)).status == "cancelled"
    assert await bench.pending() == ["first"]


async def test_a_gates_changed_answer_is_not_gone_on_with(bench: Bench) -> None:
    """Somebody has changed it after it was given, and before the run went on."""
    run = await bench.start(Reviewed)
    request = await bench.asked("first")
    answered = await bench.client.hitl.respond(
        request_id=request.request_id, outcome="no", reviewer=ANN
    )
    assert answered.resolution is not None
    forged = answered.resolution.model_copy(update={"outcome": "yes"})
    change_request(bench, answered, resolution=forged)
    await bench.go()
    assert (await blocked_for(bench, run)).startswith(request.request_id)


async def test_another_gates_answer_is_not_this_ones(bench: Bench) -> None:
    """Genuine as it is, it was given to another question."""
    run = await bench.start(Reviewed)
    own = await bench.asked("first")
    other = await bench.client.hitl.request("Another question?", payload=1)
    await bench.client.hitl.approve(request_id=other.request_id, reviewer=ANN)
    await bench.client.hitl.respond(request_id=own.request_id, outcome="no", reviewer=ANN)
    one = await occurrence(bench, run, "first")
    forge(bench, one, request_id=other.request_id)
    await bench.client.hitl.cancel(request_id=(await bench.asked("ask_child")).request_id)
    await bench.go()
    assert (await bench.now(run)).status == "failed"
    await bench.client.flows.retry(run.run_id)
    await bench.go()
    assert await blocked_for(bench, run) == f"{other.request_id}: identity"


async def test_a_label_that_nobody_gave_blocks_the_run(bench: Bench) -> None:
    """What a gate routed is read from its answer, and the checkpoint says something else."""
    run = await bench.start(Reviewed)
    await bench.answer("first", "yes")
    forge(bench, await occurrence(bench, run, "first"), label="no")
    await bench.answer("second", "good")
    assert (await blocked_for(bench, run)).endswith(": label")


async def test_an_answer_that_is_gone_blocks_the_run(bench: Bench) -> None:
    """The request's row is an older one, genuine, and pending again."""
    run = await bench.start(Reviewed)
    table = rows(bench)._requests.rows
    request = await bench.asked("first")
    older = table[request.request_id]
    await bench.answer("first", "yes")
    table[request.request_id] = older
    await bench.answer("second", "good")
    assert await blocked_for(bench, run) == f"{request.request_id}: resolution"


async def test_an_output_is_not_shown_when_its_answer_was_changed(bench: Bench) -> None:
    """The run has completed; its output hangs on the answer."""

    class Last(Flow):
        @start()
        @human_feedback("ok?", emit=["yes", "no"])
        def ask(self) -> str:
            return "copy"

    run = await bench.start(Last)
    request = await bench.answer("ask", "yes")
    assert (await bench.now(run)).output == "copy"
    change_request(bench, request, payload_json='"another copy"')
    assert (await bench.now(run)).output is None


async def test_a_retry_does_not_ask_anew_what_was_changed(bench: Bench) -> None:
    """It blocks the run instead."""
    run = await bench.start(Reviewed)
    request = await bench.asked("first")
    await bench.client.hitl.cancel(request_id=request.request_id)
    await bench.go()
    assert (await bench.now(run)).status == "failed"
    ended = await bench.client.hitl.get_request(request.request_id)
    change_request(bench, ended, message="Pay nothing?")
    await bench.client.flows.retry(run.run_id)
    await bench.go()
    assert (await blocked_for(bench, run)).startswith(request.request_id)


async def test_a_changed_request_is_found_when_a_run_is_looked_at_again(bench: Bench) -> None:
    """A blocked run's other requests are looked at, too."""
    numbers = iter([1, 2, 3])

    class Drifting(Flow):
        @start()
        async def drift(self) -> int:
            return await pay(next(numbers))

        @start()
        @human_feedback("ok?", emit=["yes", "no"])
        def ask(self) -> str:
            return "copy"

    run = await bench.start(Drifting)
    await bench.approve("pay")
    assert (await bench.now(run)).blocked_reason == "drift"
    request = await bench.asked("ask")
    change_request(bench, request, message="Pay nothing?")
    await bench.client.flows.retry(run.run_id)
    await bench.go()
    assert (await bench.now(run)).status == "blocked"


async def forgetful(bench: Bench, between: Callable[[], Awaitable[None]]) -> Run:
    """Run a step that makes its call once, and then never again."""
    calls: list[str] = []

    class Forgetful(Flow):
        @start()
        async def begin(self) -> int:
            if calls:
                await between()
                return 0
            calls.append("called")
            return await pay(7)

    run = await bench.start(Forgetful)
    request = await bench.asked("pay")
    await bench.client.hitl.approve(request_id=request.request_id, reviewer=ANN)
    return run


async def test_a_drift_whose_request_was_changed_is_a_broken_seal(bench: Bench) -> None:
    """What the step had asked about cannot be shown any more."""

    async def between() -> None:
        (request,) = await bench.client.hitl.list_requests()
        change_request(bench, request, message="Pay nothing?")

    run = await forgetful(bench, between)
    await bench.go()
    assert (await blocked_for(bench, run)).endswith(": message")


async def test_a_drift_that_cannot_be_told_is_tried_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store has failed just then; the run is as it was."""
    broken = [True]
    read = bench.store.request

    async def unreadable(request_id: str) -> Request:
        if broken and RAN:
            raise StoreUnavailableError("the disk is gone")
        return await read(request_id)

    async def between() -> None:
        RAN.append("from here on")

    monkeypatch.setattr(bench.store, "request", unreadable)
    run = await forgetful(bench, between)
    report = await bench.client.drain()
    assert report.errors[run.run_id].startswith("StoreUnavailableError")
    broken.clear()
    await bench.go()
    assert (await bench.now(run)).blocked_reason == "drift"


@dataclass
class Vendor:
    """An argument of a gated call."""

    name: str


@require_approval(name="distrust.hire")
def hire(vendor: Vendor) -> str:
    """Hire."""
    RAN.append(f"hired {vendor.name}")
    return vendor.name


async def test_a_submitted_call_whose_arguments_cannot_be_read_is_blocked(bench: Bench) -> None:
    """Their type is gone; with the type back, a retry goes on."""
    request = await bench.client.submit(hire, Vendor("acme"))
    registry = codec._registry
    form = registry._by_name.pop(f"{__name__}:Vendor")
    try:
        await bench.approve("hire")
        run = await bench.client.flows.get(request.run_id)
    finally:
        registry._by_name[form.name] = form
    assert (run.status, run.blocked_reason) == ("blocked", "state_invalid")
    assert "Vendor" in run.blocked_detail
    await bench.client.flows.retry(run.run_id)
    await bench.go()
    assert (await bench.now(run)).output == "acme"


async def test_a_clients_own_call_is_left_to_it(bench: Bench) -> None:
    """Its arguments are in the memory of that client; nobody else blocks its run."""
    answered: list[object] = []

    async with bench.another() as other, bench.client.serving():

        async def call() -> None:
            set_default_client(bench.client)
            try:
                answered.append(await pay(9))
            finally:
                set_default_client(None)

        async with anyio.create_task_group() as group:
            group.start_soon(call)
            while await bench.pending() == []:
                await anyio.lowlevel.checkpoint()
            request = await bench.asked("pay")
            await other.hitl.approve(request_id=request.request_id, reviewer=ANN)
            await other.drain()
            assert await other._machinery.executor.advance(request.run_id) is False
    assert answered == [9]
