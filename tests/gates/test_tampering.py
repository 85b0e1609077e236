"""What somebody changed in the store is met before a body runs, and nothing runs on it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import pytest

from signoff import Client, Flow, require_approval, start
from signoff.errors import SealInvalidError
from signoff.model.request import Request
from signoff.model.run import Run
from signoff.records import encode
from signoff.stores import MemoryStore
from signoff.testing import ManualClock

CFO = "cfo@acme.example"


class Payment:
    """A flow of two equal gates in sequence."""

    def __init__(self) -> None:
        """Make the gate."""
        self.paid: list[int] = []
        paid = self.paid

        @require_approval(hidden=["card"])
        async def pay(amount: int, card: str = "4929") -> int:
            paid.append(amount)
            return amount

        class Pays(Flow):
            @start()
            async def step(self) -> int:
                return await pay(1) + await pay(1000)

        self.flow = Pays


@pytest.fixture(name="store")
def _store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture(name="client")
async def _client(store: MemoryStore) -> AsyncIterator[Client]:
    async with Client(store, clock=ManualClock()) as client:
        yield client


async def pending(client: Client) -> Request:
    """Return the one request that waits."""
    (request,) = await client.hitl.list_requests(status="pending")
    return request


def rewritten(store: MemoryStore, request: Request) -> None:
    """Put a request in the place of the row of its id, as one who can write to the store."""
    row = store._requests.rows[request.request_id]
    store._requests.rows[request.request_id] = replace(row, body=encode(request))


async def second(client: Client, payment: Payment) -> tuple[Run, Request, Request]:
    """Drive the run to its second question, and return it with the first and the second."""
    run = await client.flows.start(payment.flow)
    await client.drain()
    first = await pending(client)
    await client.hitl.approve(request_id=first.request_id, reviewer=CFO)
    await client.drain()
    return run, await client.hitl.get_request(first.request_id), await pending(client)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda asked, _: {"payload_json": asked.payload_json.replace("1000", "9999")}, "payload"),
        (lambda _, first: {"status": "approved", "resolution": first.resolution}, "status"),
        (lambda _, first: {"decisions": first.decisions}, "decisions[0]"),
        (lambda *_: {"message": "Pay nothing"}, "message"),
        (lambda *_: {"assignees": ("eve@acme.example",)}, "assignees"),
    ],
)
async def test_a_changed_request_is_decided_by_nobody_and_runs_nothing(
    client: Client,
    store: MemoryStore,
    change: Callable[[Request, Request], dict[str, object]],
    field: str,
) -> None:
    """The answer is refused, and the run blocks with what is wrong."""
    payment = Payment()
    run, first, asked = await second(client, payment)
    rewritten(store, asked.model_copy(update=change(asked, first)))

    with pytest.raises(SealInvalidError) as invalid:
        await client.hitl.approve(request_id=asked.request_id, reviewer=CFO)
    await client.drain()
    run = await client.flows.get(run.run_id)

    assert (invalid.value.record_id, invalid.value.field) == (asked.request_id, field)
    assert payment.paid == [1]
    assert (run.status, run.blocked_reason) == ("blocked", "seal_invalid")
    assert run.blocked_detail.startswith(f"{asked.request_id}: ")


async def test_an_approved_request_in_the_place_of_another_runs_nothing(
    client: Client, store: MemoryStore
) -> None:
    """Genuine as it is, it stands for another call."""
    payment = Payment()
    run, first, asked = await second(client, payment)
    await client.hitl.approve(request_id=asked.request_id, reviewer=CFO)
    store._requests.rows[asked.request_id] = store._requests.rows[first.request_id]
    await client.drain()
    run = await client.flows.get(run.run_id)

    assert payment.paid == [1]
    assert (run.status, run.blocked_reason) == ("blocked", "seal_invalid")
    assert run.blocked_detail == f"{first.request_id}: identity"
