"""
Testing code that waits for people: scripted reviewers, and a clock that moves by itself.

Run it with `python examples/unit_test.py`; in a project these would be test functions.
"""

from datetime import timedelta
from decimal import Decimal

import anyio

from signoff import ApprovalExpired, require_approval, testing
from signoff.testing import Reviewer

CFO = Reviewer("cfo@acme.example")


@require_approval(
    name="examples.transfer",
    assignees=["cfo@acme.example"],
    expires_after=timedelta(days=1),
)
async def transfer(to: str, amount: Decimal) -> str:
    """Stand in for a payment."""
    return f"{amount} to {to}"


async def test_a_yes_after_two_hours() -> None:
    """The clock stands two hours later, and no time has passed."""
    async with testing.client(reviewers=[CFO.approves(after=timedelta(hours=2))]) as client:
        print(await client.run(transfer, "acme", Decimal(9)), "at", client.clock.now())


async def test_an_edit() -> None:
    """The reviewer's arguments run, not the caller's."""
    async with testing.client(reviewers=[CFO.edits({"amount": Decimal(5)})]) as client:
        print(await client.run(transfer, "acme", Decimal(9)))


async def test_silence() -> None:
    """Nobody answers, so nothing runs."""
    async with testing.client(reviewers=[CFO.stays_silent()]) as client:
        try:
            await client.run(transfer, "acme", Decimal(9))
        except ApprovalExpired:
            print("expired at", client.clock.now())


for test in (test_a_yes_after_two_hours, test_an_edit, test_silence):
    anyio.run(test)

# Output:
# 9 to acme at 2026-01-05 11:00:00+00:00
# 5 to acme
# expired at 2026-01-06 09:00:00+00:00
