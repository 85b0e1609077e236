"""Gates on methods of every kind, on steps, and in the wrong place."""

from __future__ import annotations

import pytest

from signoff import Flow, keyed, listen, require_approval, start
from signoff.model.request import Request
from signoff.model.run import Run
from signoff.testing import TestingClient


async def started(client: TestingClient, flow: type[Flow[object]]) -> tuple[Run, Request]:
    """Start a run, drive it as far as it goes, and return it with what it asks."""
    run = await client.flows.start(flow)
    await client.drain()
    (request,) = await client.hitl.list_requests(status="pending")
    return run, request


async def approve(client: TestingClient, run: Run, request: Request) -> Run:
    """Approve a request, and drive the run on."""
    await client.hitl.approve(request_id=request.request_id, reviewer="cfo@acme.example")
    await client.drain()
    return await client.flows.get(run.run_id)


@pytest.mark.parametrize("kind", ["method", "of_class", "static"])
async def test_methods_of_every_kind_are_gated(client: TestingClient, kind: str) -> None:
    """The receiver is passed to the body and is no payload."""

    class Desk:
        rate = 2

        @require_approval
        def method(self, amount: int) -> int:
            return amount * self.rate

        @classmethod
        @require_approval
        def of_class(cls, amount: int) -> int:
            return amount * cls.rate

        @staticmethod
        @require_approval
        def static(amount: int) -> int:
            return amount * Desk.rate

    class Pays(Flow):
        @start()
        def step(self) -> int:
            result: int = getattr(Desk(), kind)(4)
            return result

    run, request = await started(client, Pays)
    assert request.payload == {"amount": 4}
    run = await approve(client, run, request)

    assert run.output == 8


async def test_a_method_of_the_flow_itself_is_gated(client: TestingClient) -> None:
    """A step that is a gate asks before it runs, and its argument is the payload."""

    class Pays(Flow):
        @start()
        def amount(self) -> int:
            return 4

        @listen(amount)
        @require_approval(action="Pay {amount}")
        async def pay(self, amount: int) -> str:
            return f"paid {amount}"

    run, request = await started(client, Pays)
    assert request.message == "Pay 4"
    run = await approve(client, run, request)

    assert run.output == "paid 4"


@pytest.mark.parametrize("is_async", [True, False])
async def test_a_keyed_call_in_a_step_is_refused(client: TestingClient, is_async: bool) -> None:
    """It would hold the run while it waits, and a step needs no key."""

    @require_approval
    async def apay(amount: int) -> int:
        return amount

    @require_approval
    def pay(amount: int) -> int:
        return amount

    class Async(Flow):
        @start()
        async def step(self) -> int:
            return await keyed(apay, "inv-17")(5)

    class Sync(Flow):
        @start()
        def step(self) -> int:
            return keyed(pay, "inv-17")(5)

    run = await client.flows.start(Async if is_async else Sync)
    await client.drain()
    run = await client.flows.get(run.run_id)

    assert run.failure is not None
    assert "waits for its answer, and a step does not" in run.failure.message
    assert not await client.hitl.list_requests()
