"""
A function that runs only after a yes to exactly its arguments, perhaps changed by the reviewer.

Run it with `python examples/gate_a_call.py`.
"""

from decimal import Decimal

import anyio

from signoff import ApprovalRejected, Client, Flow, require_approval, start

CFO = "cfo@acme.example"


@require_approval(
    name="examples.pay", action="Pay {amount} to {vendor}", risk="high", assignees=[CFO]
)
async def pay(vendor: str, amount: Decimal) -> str:
    """Stand in for a payment."""
    return f"paid {amount} to {vendor}"


class Settle(Flow, name="examples.settle"):
    """Pay two invoices, one after the other."""

    @start()
    async def pay_both(self) -> list[str]:
        """Make two gated calls; a refusal of the second does not undo the first."""
        receipts = [await pay("acme", Decimal("900.00"))]
        try:
            receipts.append(await pay("globex", Decimal("12.50")))
        except ApprovalRejected as refusal:
            receipts.append(f"refused: {refusal.reason}")
        return receipts


async def main() -> None:
    """Approve the first with another amount, and refuse the second."""
    async with Client() as client:
        run = await client.flows.start(Settle, requester="agent-7")

        await client.drain()
        [request] = await client.hitl.list_requests(status="pending")
        print(request.message)
        await client.hitl.approve(
            request_id=request.request_id, payload={"amount": Decimal("890.00")}, reviewer=CFO
        )

        await client.drain()
        [request] = await client.hitl.list_requests(status="pending")
        print(request.message)
        await client.hitl.reject(request_id=request.request_id, reason="not ours", reviewer=CFO)

        await client.drain()
        run = await client.flows.get(run.id)
        print(run.output)


anyio.run(main)

# Output:
# Pay 900.00 to acme
# Pay 12.50 to globex
# ['paid 890.00 to acme', 'refused: not ours']
