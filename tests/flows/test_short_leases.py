"""A lease that is too short by the store's clock when an approved call is to begin."""

from __future__ import annotations

from typing_extensions import override

from signoff import Client, require_approval
from signoff.errors import StaleWriteError
from signoff.model.changes import Changes
from signoff.stores import MemoryStore

PAID: list[str] = []


@require_approval(name="short_leases.pay")
async def pay(invoice: str) -> str:
    """Do something that must not be done twice."""
    PAID.append(invoice)
    return f"paid {invoice}"


class Slow(MemoryStore):
    """A store that took so long once that too little of the lease was left."""

    refused = False

    @override
    async def commit(self, changes: Changes) -> None:
        short = [fence for fence in changes.fences if fence.remaining is not None]
        if short and not self.refused:
            self.refused = True
            raise StaleWriteError(short[0].subject, "too little of its lease is left")
        await super().commit(changes)


async def test_a_call_whose_lease_is_too_short_waits_for_the_next_worker() -> None:
    """It is not begun, which is no failure of anything; later it is, once."""
    PAID.clear()
    store = Slow()
    async with Client(store) as client:
        request = await client.submit(pay, "inv-17")
        await client.hitl.approve(request_id=request.request_id)
        reports = [await client.drain() for _ in range(2)]
        run = await client.flows.get(request.run_id)
    assert store.refused
    assert [report.errors for report in reports] == [{}, {}]
    assert run.output == "paid inv-17"
    assert PAID == ["inv-17"]
