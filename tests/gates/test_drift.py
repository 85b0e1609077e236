"""Replays that call something else than what was asked about."""

from __future__ import annotations

from collections.abc import Sequence

import anyio

from signoff import Flow, require_approval, start
from signoff.model.request import Request
from signoff.model.run import Run
from signoff.testing import TestingClient

CFO = "cfo@acme.example"


async def started(client: TestingClient, flow: type[Flow[object]]) -> Run:
    """Start a run and drive it as far as it goes."""
    run = await client.flows.start(flow)
    await client.drain()
    return await client.flows.get(run.run_id)


async def pending(client: TestingClient) -> list[Request]:
    """Return what waits."""
    return list(await client.hitl.list_requests(status="pending"))


async def approve(client: TestingClient, run: Run) -> Run:
    """Approve the one request that waits, and drive the run on."""
    (request,) = await pending(client)
    await client.hitl.approve(request_id=request.request_id, reviewer=CFO)
    await client.drain()
    return await client.flows.get(run.run_id)


async def test_equal_gates_may_come_in_another_order(client: TestingClient) -> None:
    """A new call of the same gate waits for the known one, where a sibling task comes to it."""
    replays, found = 0, list[int]()

    @require_approval
    async def pay(amount: int) -> None:
        found.append(amount)

    class Both(Flow):
        @start()
        async def step(self) -> None:
            nonlocal replays
            replays += 1
            turn = anyio.Event()

            async def known() -> None:
                await turn.wait()
                await pay(1)

            async def new() -> None:
                turn.set()
                await pay(2)

            async with anyio.create_task_group() as group:
                group.start_soon(known)
                if replays > 1:
                    group.start_soon(new)
                else:
                    turn.set()

    run = await approve(client, await started(client, Both))
    assert (run.status, found) == ("suspended", [1])
    run = await approve(client, run)

    assert (run.status, found) == ("completed", [1, 2])


class Drifts:
    """A flow whose step calls a gate with these amounts, one at each attempt."""

    def __init__(self, amounts: Sequence[object], **options: object) -> None:
        """Make the flow."""
        self.paid: list[object] = []
        paid, left = self.paid, iter(amounts)

        @require_approval(**options)  # type: ignore[call-overload, untyped-decorator]  # any options
        async def pay(amount: object) -> object:
            paid.append(amount)
            return amount

        class Pays(Flow):
            @start()
            async def step(self) -> object:
                result: object = await pay(next(left))
                return result

        self.flow = Pays


async def test_the_audit_chain_holds_no_argument_of_a_replay_that_drifted(
    client: TestingClient,
) -> None:
    """What was called stands beside the entry, where it can be erased, and in the run."""
    drifts = Drifts(["4929-card", "4929-other-card"])
    run = await approve(client, await started(client, drifts.flow))
    entries = await client._store.audit(f"run:{run.run_id}")

    blocked = entries[-1]
    assert (blocked.event, blocked.facts["reason"]) == ("run.blocked", "drift")
    assert not any(b"4929" in entry.body for entry in entries)
    assert blocked.facts["detail"] == run.blocked_detail
    assert run.blocked_detail.count("4929") == 2


async def test_a_replay_with_other_arguments_blocks_the_run(client: TestingClient) -> None:
    """Nothing runs, and both values are shown."""
    drifts = Drifts([5, 6, 5])
    run = await approve(client, await started(client, drifts.flow))

    assert (run.status, run.blocked_reason) == ("blocked", "drift")
    assert 'pay with {"amount":5}, and its replay called' in run.blocked_detail
    assert run.blocked_detail.endswith('pay with {"amount":6}')
    assert (drifts.paid, await pending(client)) == ([], [])
    await client.flows.retry(run.run_id)
    await client.drain()
    assert (await client.flows.get(run.run_id)).output == 5


async def test_a_step_that_never_calls_alike_asks_at_most_three_times_more(
    client: TestingClient,
) -> None:
    """With `on_drift="ask"` each replay asks anew, then the run blocks; nothing was executed."""
    drifts = Drifts([1, 2, 3, 4, 5], on_drift="ask")
    run = await started(client, drifts.flow)
    for amount in (1, 2, 3, 4):
        (request,) = await pending(client)
        assert request.payload == {"amount": amount}
        assert ("came with other arguments" in request.message) == (amount > 1)
        run = await approve(client, run)

    assert (run.status, run.blocked_reason, drifts.paid) == ("blocked", "drift", [])
    assert not await pending(client)


async def test_asking_anew_runs_what_was_approved_last(client: TestingClient) -> None:
    """Once a replay calls with the approved arguments, these run."""
    drifts = Drifts([1, 2, 2], on_drift="ask")
    run = await approve(client, await started(client, drifts.flow))
    run = await approve(client, run)

    assert (drifts.paid, run.output) == ([2], 2)


async def test_asking_anew_takes_back_what_still_waits(client: TestingClient) -> None:
    """A question that nobody answered yet ends as superseded when the step comes with another."""
    first = True
    paid: list[int] = []

    @require_approval(on_drift="ask")
    async def pay(amount: int) -> int:
        paid.append(amount)
        return amount

    @require_approval
    async def other() -> None: ...

    class Pays(Flow):
        @start()
        async def step(self) -> int:
            nonlocal first
            amount, first = 5 if first else 6, False
            async with anyio.create_task_group() as group:
                group.start_soon(other)
                group.start_soon(pay, amount)
            return amount

    run = await started(client, Pays)
    (one,) = [request for request in await pending(client) if request.method_name == "other"]
    await client.hitl.approve(request_id=one.request_id, reviewer=CFO)
    await client.drain()
    old, new = sorted(
        (one for one in await client.hitl.list_requests() if one.method_name == "pay"),
        key=lambda request: request.status,
    )

    assert (old.status, old.payload) == ("cancelled", {"amount": 5})
    assert old.resolution is not None
    assert old.resolution.reason == "superseded"
    assert (new.status, new.payload) == ("pending", {"amount": 6})
    run = await approve(client, run)
    assert (paid, run.output) == ([6], 6)


async def test_asking_anew_about_a_done_call_says_that_it_has_run(client: TestingClient) -> None:
    """The human hears that the effect was there before, with other arguments."""
    drifts = Drifts([1, 1, 2], on_drift="ask")

    @require_approval
    async def last() -> None: ...

    class Pays(drifts.flow):  # type: ignore[misc, name-defined]  # a class made just now
        @start()
        async def step(self) -> None:
            await super().step()
            await last()

    run = await approve(client, await started(client, Pays))
    assert drifts.paid == [1]
    run = await approve(client, run)

    (request,) = await pending(client)
    assert request.message.endswith("(asked again: it has run with other arguments before)")
    assert drifts.paid == [1]


async def test_approved_arguments_may_be_used_whatever_the_replay_calls_with(
    client: TestingClient,
) -> None:
    """`on_drift="use_approved"` runs what the human has seen."""
    drifts = Drifts([5, 6], on_drift="use_approved")
    run = await approve(client, await started(client, drifts.flow))

    assert (drifts.paid, run.output) == ([5], 5)


async def test_a_step_that_ends_without_its_recorded_call_blocks(client: TestingClient) -> None:
    """The step's result is not taken, and what it had called is shown."""
    calls = iter((True, False, True))

    @require_approval
    async def pay(amount: int) -> int:
        return amount

    class Pays(Flow):
        @start()
        async def step(self) -> int:
            return await pay(5) if next(calls) else 0

    run = await approve(client, await started(client, Pays))

    assert (run.status, run.blocked_reason) == ("blocked", "drift")
    assert "had called test_drift:" in run.blocked_detail or "pay with" in run.blocked_detail
    assert '{"amount":5}' in run.blocked_detail
    assert "its replay ended without it" in run.blocked_detail


async def test_another_gate_in_its_place_blocks_and_shows_both(client: TestingClient) -> None:
    """A sequence that turns to another gate first asks nothing about that one."""
    calls = iter((True, False))

    @require_approval
    async def pay(amount: int) -> int:
        return amount

    @require_approval
    async def refund(amount: int) -> int:
        return amount

    class Pays(Flow):
        @start()
        async def step(self) -> int:
            return await (pay if next(calls) else refund)(5)

    run = await approve(client, await started(client, Pays))

    assert (run.status, run.blocked_reason) == ("blocked", "drift")
    assert 'pay with {"amount":5}' in run.blocked_detail
    assert 'refund with {"amount":5}' in run.blocked_detail
    assert not await pending(client)


async def test_another_gate_first_in_a_parallel_replay_is_put_off(client: TestingClient) -> None:
    """Siblings may come in any order: the new question is asked once the known call was met."""
    replays = 0
    found: list[str] = []

    @require_approval
    async def known() -> None:
        found.append("known")

    @require_approval
    async def new() -> None:
        found.append("new")

    class Both(Flow):
        @start()
        async def step(self) -> None:
            nonlocal replays
            replays += 1
            turn = anyio.Event()

            async def second() -> None:
                await turn.wait()
                await known()

            async def first() -> None:
                turn.set()
                await new()

            async with anyio.create_task_group() as group:
                group.start_soon(second)
                if replays > 1:
                    group.start_soon(first)
                else:
                    turn.set()

    run = await approve(client, await started(client, Both))
    assert (run.status, found, replays) == ("suspended", ["known"], 3)
    (request,) = await pending(client)
    assert request.method_name == "new"
    run = await approve(client, run)

    assert (run.status, sorted(found)) == ("completed", ["known", "new"])
