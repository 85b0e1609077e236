"""
A flow that is interrupted at every write it makes, to see that it pays once all the same.

Run it with `python examples/crash_everywhere.py`. `docs/testing.md` explains the options.
"""

import anyio

from signoff import Done, Flow, NotDone, listen, once, require_approval, start
from signoff.testing import Reviewer, TestingClient, crash_everywhere

CFO = Reviewer("cfo@acme.example")
LEDGER: list[str] = []  # stands for the bank
MAILS: list[str] = []  # stands for the mail server


async def look_it_up(invoice: str) -> Done[str] | NotDone:
    """Ask the bank, when a crash left it unknown whether a payment was made."""
    return Done(f"paid {invoice}") if invoice in LEDGER else NotDone()


@require_approval(
    name="examples.pay_once", assignees=["cfo@acme.example"], verify=look_it_up, idempotent=True
)
async def pay(invoice: str) -> str:
    """Pay: what must not be lost, and not happen twice."""
    LEDGER.append(invoice)
    return f"paid {invoice}"


class Settle(Flow, name="examples.settle"):
    """Pay an invoice, then tell the supplier."""

    @start()
    async def settle(self) -> str:
        """Pay."""
        return await pay("inv-17")

    @listen(settle)
    async def tell(self, receipt: str) -> None:
        """Send a mail; a crash behind it sends it again."""
        await once("mail", lambda: MAILS.append(receipt))


async def scenario(client: TestingClient) -> None:
    """Do what each process does: go on with the run until it has ended."""
    await client.run(Settle)


async def main() -> None:
    """Count the payments, then the mails."""
    for world in (LEDGER, MAILS):
        print(await crash_everywhere(scenario, effects=world, reviewers=[CFO.approves()]))


anyio.run(main)

# Output:
# 24 cases over 12 commits: 0 lost, 0 doubled, 0 broken
# 24 cases over 12 commits: 0 lost, 1 doubled, 0 broken
# doubled at before-11: effect paid inv-17
