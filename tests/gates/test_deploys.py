"""Gates whose code has changed while a call of theirs waited, and steps that were left behind."""

from __future__ import annotations

from collections.abc import Callable

import anyio
import pytest

from signoff import Flow, listen, or_, require_approval, router, start
from signoff.model.request import Request
from signoff.model.run import Run
from signoff.testing import TestingClient

CFO = "cfo@acme.example"


async def pending(client: TestingClient) -> Request:
    """Return the one request that waits."""
    (request,) = await client.hitl.list_requests(status="pending")
    return request


async def approve(client: TestingClient, run_id: str) -> Run:
    """Approve what waits, and drive on."""
    await client.hitl.approve(request_id=(await pending(client)).request_id, reviewer=CFO)
    await client.drain()
    return await client.flows.get(run_id)


async def test_other_parameters_run_nothing(client: TestingClient) -> None:
    """What was approved does not fit the function any more, and that is an error of the call."""
    ran: list[object] = []

    def before() -> Callable[..., object]:
        def pay(amount: int) -> None:
            ran.append(amount)

        return pay

    def after() -> Callable[..., object]:
        def pay(amount: int, currency: str = "EUR") -> None:
            ran.append((amount, currency))

        return pay

    first, second = before(), after()
    second.__qualname__ = first.__qualname__
    request = await client.submit(require_approval(first), 5)
    require_approval(second)
    run = await approve(client, request.run_id)

    assert (run.status, ran) == ("failed", [])
    assert run.failure is not None
    assert "was approved with the arguments (amount), and takes (amount, currency) by now" in (
        run.failure.message
    )


async def test_a_renamed_gate_meets_its_calls_by_its_alias(client: TestingClient) -> None:
    """Waiting and done ones are met under the former name; new ones have the new one."""
    ran: list[tuple[str, int]] = []

    def before(amount: int) -> int:
        ran.append(("before", amount))
        return amount

    def after(amount: int) -> int:
        ran.append(("after", amount))
        return amount

    after.__qualname__ = before.__qualname__
    pay = require_approval(name="signoff tests: old")(before)

    class Pays(Flow):
        @start()
        def step(self) -> list[int]:
            return [pay(5), pay(5), pay(7)]

    run_id = (await client.flows.start(Pays)).run_id
    await client.drain()
    await approve(client, run_id)
    pay = require_approval(name="signoff tests: new", aliases=["signoff tests: old"])(after)
    await approve(client, run_id)
    run = await approve(client, run_id)

    assert ran == [("before", 5), ("after", 5), ("after", 7)]
    assert run.output == [5, 5, 7]
    identities = [one.identity for one in await client.hitl.list_requests()]
    assert sorted((one.gate, one.nth) for one in identities if one) == [
        ("signoff tests: new", 0),
        ("signoff tests: old", 0),
        ("signoff tests: old", 1),
    ]


async def test_a_renamed_gate_is_asked_again_under_the_name_it_had(client: TestingClient) -> None:
    """A retry of a failed call keeps its identity but for the attempt."""

    def before() -> None:
        raise ValueError("down")

    def after() -> str:
        return "paid"

    after.__qualname__ = before.__qualname__
    pay: Callable[[], object] = require_approval(name="signoff tests: failing")(before)

    class Pays(Flow):
        @start()
        def step(self) -> object:
            return pay()

    run_id = (await client.flows.start(Pays)).run_id
    await client.drain()
    assert (await approve(client, run_id)).status == "failed"
    pay = require_approval(name="signoff tests: mended", aliases=["signoff tests: failing"])(after)
    await client.flows.retry(run_id)
    await client.drain()
    identity = (await pending(client)).identity

    assert identity is not None
    assert (identity.gate, identity.attempt) == ("signoff tests: failing", 2)
    assert (await approve(client, run_id)).output == "paid"


class Child(Flow, name="signoff tests: superseded child"):
    """A flow that nobody should begin."""

    @start()
    def step(self) -> None:
        """Do nothing."""


@pytest.mark.parametrize("what", ["gate", "child"])
async def test_a_step_that_was_superseded_asks_and_begins_nothing(
    client: TestingClient, what: str
) -> None:
    """What descends from an old draft has no questions left, nor children."""
    drafts: list[int] = []
    began: list[str] = []
    first_is_there, second_is_there = anyio.Event(), anyio.Event()

    @require_approval
    async def publish(draft: int) -> None: ...

    class Writes(Flow):
        @start()
        def begin(self) -> None: ...

        @listen(or_(begin, "again"))
        def draft(self) -> int:
            drafts.append(len(drafts) + 1)
            return drafts[-1]

        @listen(draft)
        async def read(self, draft: int) -> int:
            await first_is_there.wait()
            return draft

        @router(read)
        def judge(self, draft: int) -> str | None:
            return "again" if draft == 1 else None

        @listen(draft)
        async def slow(self, draft: int) -> str:
            if draft == 2:
                second_is_there.set()
                return "second"
            first_is_there.set()
            await second_is_there.wait()
            began.append(what)
            await (publish(draft) if what == "gate" else Child().kickoff_async())
            return "first"

    run = await client.flows.start(Writes)
    await client.drain()
    run = await client.flows.get(run.run_id)

    assert (run.status, drafts, began) == ("completed", [1, 2], [what])
    assert not await client.hitl.list_requests()
    assert not await client.flows.list(flow=Child)
