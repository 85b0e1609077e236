"""Runs whose state, outputs or workers are not what they were."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import anyio
import pytest
from pydantic import BaseModel

from signoff import Flow, HumanFeedbackResult, human_feedback, listen, require_approval, start
from signoff.codec import codec
from signoff.flows.loading import MAX_DEATHS
from signoff.gates import gate_specs
from signoff.model.changes import Acquire, Changes, Release

if TYPE_CHECKING:
    from datetime import timedelta

    from tests.flows.conftest import Bench, Forget

    from signoff.model.run import Run

pytestmark = pytest.mark.usefixtures("names_restored")


class Reviewed(Flow):
    """A flow with a gate."""

    @start()
    @human_feedback("ok?", emit=["yes", "no"])
    def ask(self) -> str:
        """Ask."""
        return "copy"

    @listen("yes")
    def publish(self, result: HumanFeedbackResult) -> object:
        """Publish."""
        return result.output


def with_state(**fields: object) -> type[Flow]:
    """Define a flow anew over a model with these fields."""
    annotations = {name: value for name, value in fields.items() if isinstance(value, type)}
    defaults = {name: value for name, value in fields.items() if not isinstance(value, type)}
    annotations |= {name: type(value) for name, value in defaults.items()}
    members = {"__annotations__": annotations, "__module__": __name__, **defaults}
    model = type("State", (BaseModel,), members)

    def ask(self: Flow) -> str:
        return "copy"

    def end(self: Flow) -> object:
        return cast("BaseModel", self.state).model_dump(exclude={"id"})

    gate = start()(human_feedback("ok?", emit=["yes", "no"])(ask))
    steps = {"ask": gate, "end": listen("yes")(end), "initial_state": model}
    return type("Stateful", (Flow,), steps)


async def test_a_state_field_that_is_added_with_a_default_gets_it(bench: Bench) -> None:
    """What was stored stays."""
    run = await bench.start(with_state(amount=1), amount=7)
    with_state(amount=1, colour="red")
    await bench.answer("ask", "yes")
    assert (await bench.now(run)).output == {"amount": 7, "colour": "red"}


@pytest.mark.parametrize(
    ("fields", "detail"),
    [
        ({"amount": 1, "colour": str}, "state.colour: the state has no value for it"),
        ({"other": 1}, "state.amount: the state model has no such field any more"),
        ({"amount": "text"}, "state.amount: expected str, found int"),
    ],
)
async def test_a_state_that_does_not_fit_any_more_blocks_the_run(
    bench: Bench, fields: dict[str, object], detail: str
) -> None:
    """With what does not fit; with a model that fits, a retry goes on."""
    run = await bench.start(with_state(amount=1), amount=7)
    with_state(**fields)
    await bench.answer("ask", "yes")
    blocked = await bench.now(run)
    assert (blocked.status, blocked.blocked_reason) == ("blocked", "state_invalid")
    assert detail in blocked.blocked_detail
    (listed,) = (await bench.client.health()).blocked
    assert listed.run_id == run.run_id

    with_state(amount=1)
    await bench.client.flows.retry(run.run_id)
    await bench.go()
    assert (await bench.now(run)).output == {"amount": 7}


@dataclass
class Payload:
    """What a gate asks about."""

    text: str


@pytest.mark.parametrize("where", ["output", "payload"])
async def test_an_output_or_payload_of_a_type_that_is_gone_blocks_the_run(
    bench: Bench, where: str
) -> None:
    """It is stored under a name that nobody has any more."""

    class Typed(Flow):
        @start()
        def make(self) -> Payload | str:
            return Payload("copy") if where == "output" else "copy"

        @listen(make)
        @human_feedback("ok?", emit=["yes", "no"])
        def ask(self) -> Payload | str:
            return Payload("copy") if where == "payload" else "copy"

        @listen("yes")
        def end(self) -> str:
            return "done"

    run = await bench.start(Typed)
    registry = codec._registry
    form = registry._by_name.pop(f"{__name__}:Payload")
    try:
        await bench.answer("ask", "yes")
        blocked = await bench.now(run)
    finally:
        registry._by_name[form.name] = form
    assert blocked.blocked_reason == "state_invalid"
    assert "Payload" in blocked.blocked_detail
    await bench.client.flows.retry(run.run_id)
    await bench.go()
    assert (await bench.now(run)).output == "done"


async def kill_a_worker(bench: Bench, run: Run, lease: timedelta) -> None:
    """Let a worker take a run and end without a word."""
    found = await bench.store.claim(run.run_id)
    fencing = (found.fencing if found else 0) + 1
    taken = Acquire(subject=run.run_id, holder="killed", fencing=fencing, lease=lease)
    await bench.store.commit(Changes(claims=(taken,)))
    lost = Release(subject=run.run_id, holder="killed", fencing=fencing)
    await bench.store.commit(Changes(claims=(lost,)))


async def test_a_run_that_ends_its_workers_is_set_aside(bench: Bench) -> None:
    """After ten of them in a row without a commit; a retry tries it again."""
    run = await bench.start(Reviewed)
    lease = bench.client._lease
    for _ in range(MAX_DEATHS):
        await kill_a_worker(bench, run, lease)
    await bench.answer("ask", "yes")
    poison = await bench.now(run)
    assert (poison.status, poison.blocked_reason) == ("blocked", "poison")
    assert poison.blocked_detail == "10 workers in a row ended while they had this run"
    await bench.client.flows.retry(run.run_id)
    await bench.go()
    assert (await bench.now(run)).output == "copy"


async def test_nine_dead_workers_are_no_poison(bench: Bench) -> None:
    """And a drive that comes to rest counts the next ones from zero."""
    run = await bench.start(Reviewed)
    lease = bench.client._lease
    for _ in range(MAX_DEATHS - 1):
        await kill_a_worker(bench, run, lease)
    await bench.client.hitl.comment(
        request_id=(await bench.asked("ask")).request_id, text="I am on it"
    )
    await bench.answer("ask", "yes")
    assert (await bench.now(run)).output == "copy"


@pytest.mark.parametrize(("deaths", "status"), [(0, "ready"), (9, "ready"), (10, "blocked")])
async def test_a_worker_that_stops_in_good_order_does_not_count_as_dead(
    bench: Bench, deaths: int, status: str
) -> None:
    """However often it does; those that have died are still counted together."""

    class Slow(Flow):
        @start()
        async def begin(self) -> None:
            begun.set()
            await anyio.sleep_forever()

    run = await bench.client.flows.start(Slow)
    lease = bench.client._lease
    advance = bench.client._machinery.executor.advance
    for died in range(max(deaths, MAX_DEATHS)):
        begun = anyio.Event()
        with anyio.fail_after(20):
            async with anyio.create_task_group() as worker:
                worker.start_soon(advance, run.run_id)
                await begun.wait()
                worker.cancel_scope.cancel()
        if died < deaths:
            await kill_a_worker(bench, run, lease)
    begun = anyio.Event()
    with anyio.fail_after(20):
        async with anyio.create_task_group() as worker:
            worker.start_soon(advance, run.run_id)
            if status == "ready":
                await begun.wait()
                worker.cancel_scope.cancel()
    assert (await bench.now(run)).status == status


@pytest.mark.parametrize("reads", ["claim", "journal", "signals"])
async def test_a_worker_that_stops_while_it_reads_a_run_leaves_it_to_others(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, reads: str
) -> None:
    """At once, whether it knows the run, because it has begun it itself, or reads it whole."""
    run = await bench.client.flows.start(Reviewed)
    begun = anyio.Event()
    executor = bench.client._machinery.executor

    async def read(_run_id: str) -> None:
        begun.set()
        await anyio.sleep_forever()

    with anyio.fail_after(20), monkeypatch.context() as patch:
        patch.setattr(bench.store, reads, read)
        async with anyio.create_task_group() as worker:
            if reads != "signals":
                executor._begun.clear()
            worker.start_soon(executor.advance, run.run_id)
            await begun.wait()
            worker.cancel_scope.cancel()

    assert (await bench.now(run)).status == "ready"
    await bench.go()
    await bench.answer("ask", "yes")
    assert (await bench.now(run)).output == "copy"


@require_approval(name="deploys.pay")
async def pay(number: int) -> int:
    """Pay."""
    return number


async def test_many_gates_in_one_step_are_no_poison(bench: Bench) -> None:
    """Each answer is a drive that ends well, though nothing but its calls has changed."""

    class Many(Flow):
        @start()
        async def begin(self) -> int:
            return sum([await pay(number) for number in range(2 * MAX_DEATHS)])

    run = await bench.start(Many)
    for _ in range(2 * MAX_DEATHS):
        await bench.approve("pay")
    assert (await bench.now(run)).output == sum(range(2 * MAX_DEATHS))


async def test_a_submitted_call_whose_gate_is_gone_waits_for_its_code(
    bench: Bench, forget: Forget
) -> None:
    """It is a run like others."""

    @require_approval(name="deploys.refund")
    def refund(number: int) -> int:
        return -number

    request = await bench.client.submit(refund, 7)
    other = await bench.client.submit(refund, 8)
    spec = gate_specs.get("deploys.refund")
    assert spec is not None
    forget("deploys.refund")
    await bench.client.hitl.approve(request_id=request.request_id)
    await bench.go()
    assert (await bench.client.flows.get(request.run_id)).status == "suspended"
    assert (await bench.client.flows.cancel(other.run_id)).status == "cancelled"
    gate_specs.add(spec, origin="again", names=["deploys.refund"])
    await bench.go()
    assert (await bench.client.flows.get(request.run_id)).output == -7
