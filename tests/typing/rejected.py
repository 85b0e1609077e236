"""Calls that must not type-check: an ignore that is not needed any more is an error."""

from __future__ import annotations

from decimal import Decimal

from signoff import Client, human_feedback, keyed, require_approval, start, testing
from signoff.errors import ApprovalRejected


@require_approval(risk="high")
async def pay(vendor: str, amount: Decimal) -> str:
    """Stand in for a payment."""
    return f"{vendor} {amount}"


@require_approval(on_reject="return")
def refund(amount: int) -> int:
    """Stand in for another."""
    return amount


class Desk:
    """A method under a gate."""

    @require_approval(name="typing.rejected")
    def method(self, amount: int) -> str:
        """Keep its parameters."""
        return str(amount)


require_approval(risk="huge")  # type: ignore[call-overload]  # no such risk
require_approval(on_reject="ignore")  # type: ignore[call-overload]  # no such way
require_approval(colour="red")  # type: ignore[call-overload]  # no such option
human_feedback()  # type: ignore[call-arg]  # a gate has a question
human_feedback("?", risk="huge")  # type: ignore[arg-type]  # no such risk
start(7)  # type: ignore[arg-type]  # no condition


async def calls(client: Client) -> None:
    """Arguments keep their types through every gate."""
    await pay("acme")  # type: ignore[call-arg]  # amount is missing
    await pay("acme", "9")  # type: ignore[arg-type]  # amount is a Decimal
    await keyed(pay, "key")("acme", 9.5)  # type: ignore[arg-type]  # amount is a Decimal
    await keyed(pay, 7)("acme", Decimal(9))  # type: ignore[arg-type]  # a key is text
    Desk().method("9")  # type: ignore[arg-type]  # amount is an int
    total: int = refund(1)  # type: ignore[assignment]  # it may be a refusal
    refusal: ApprovalRejected = refund(1)  # type: ignore[assignment]  # it may be a number
    await client.hitl.comment(request_id=str(total), text=str(refusal))
    await client.hitl.approve(reason="yes")  # type: ignore[call-arg]  # which request?
    async with testing.client(reviewers=["cfo"]) as test:  # type: ignore[list-item]  # no reviewer
        await test.run(pay, "acme")  # type: ignore[call-overload]  # amount is missing
