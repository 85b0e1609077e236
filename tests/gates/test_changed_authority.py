"""Who changes the arguments of a call approves no more than they might have been asked about."""

from __future__ import annotations

from collections.abc import AsyncIterator
from decimal import Decimal

import pytest

from signoff import Client, Policy, require_approval
from signoff.model.gate import Arguments
from signoff.model.policy import Risk
from signoff.model.request import Request
from signoff.testing import ManualClock, MemoryMail

LEAD, CFO = "lead@acme.example", "cfo@acme.example"
BOTH = Policy(assignable=(LEAD, CFO))
PAID: list[tuple[str, int]] = []


def risk_of(call: Arguments) -> Risk:
    """Return the risk of a payment by its amount."""
    amount = Decimal(str(call["amount"]))
    return "critical" if amount > 10_000 else "high" if amount > 1_000 else "low"


@require_approval(name="changed.risky", risk=risk_of, assignees=[LEAD])
async def risky(vendor: str, amount: int) -> str:
    """Note what was paid."""
    PAID.append((vendor, amount))
    return "paid"


@require_approval(
    name="changed.routed",
    assignees=lambda call: [CFO if Decimal(str(call["amount"])) > 1_000 else LEAD],
    policy=BOTH,
)
async def routed(vendor: str, amount: int) -> str:
    """Note what was paid."""
    PAID.append((vendor, amount))
    return "paid"


class Office:
    """A client without a trusted mail server, and its mailbox."""

    def __init__(self, client: Client, mail: MemoryMail) -> None:
        self.client, self.mail = client, mail

    async def ask(self, fn: object, amount: int = 100) -> Request:
        """Ask for a payment."""
        assert callable(fn)
        request = await self.client.submit(fn, "Acme", amount)
        await self.client.drain()
        return request

    async def end(self, request: Request) -> str:
        """Let the client work, and return what became of the run."""
        await self.client.drain()
        run = await self.client.flows.get(request.run_id)
        return run.failure.message if run.failure else str(run.output)


@pytest.fixture(name="office")
async def _office() -> AsyncIterator[Office]:
    PAID.clear()
    mail = MemoryMail()
    async with Client(notifiers=[mail], inbox=mail, clock=ManualClock()) as client:
        yield Office(client, mail)


@pytest.mark.parametrize(
    ("amount", "end"),
    [
        (1_000, "paid"),
        (1_001, "an answer by email (sender) may not decide a request of high risk"),
        (10_001, 'risk="critical" takes a quorum'),
    ],
)
async def test_a_mail_changes_nothing_into_what_it_could_not_have_decided(
    office: Office, amount: int, end: str
) -> None:
    """The risk is computed from the arguments, so the changed ones may be of a higher one."""
    request = await office.ask(risky)
    office.mail.reply(office.mail.sent[-1], f"approved with changes\namount = {amount}")

    assert end in await office.end(request)
    assert [("Acme", amount)][: end == "paid"] == PAID


async def test_a_login_decides_what_it_changes_at_any_risk_that_can_be_asked(
    office: Office,
) -> None:
    """As it might have decided the request, had it been asked so."""
    request = await office.ask(risky)
    await office.client.hitl.approve(
        request_id=request.request_id, payload={"amount": 1_001}, reviewer=LEAD
    )

    assert await office.end(request) == "paid"


@pytest.mark.parametrize(("amount", "paid"), [(1_000, True), (1_001, False)])
async def test_an_assignee_changes_nothing_into_what_another_is_asked_about(
    office: Office, amount: int, paid: bool
) -> None:
    """Who is asked is computed from the arguments too."""
    request = await office.ask(routed)
    assert request.assignees == (LEAD,)
    await office.client.hitl.approve(
        request_id=request.request_id, payload={"amount": amount}, reviewer=LEAD
    )

    ended = await office.end(request)
    assert [("Acme", amount)][:paid] == PAID
    assert ("changed beyond authority: is neither an assignee nor an approver" in ended) is not paid


async def test_who_was_asked_instead_may_change_what_does_not_change_who_is_asked(
    office: Office,
) -> None:
    """A reassigned request is theirs."""
    request = await office.ask(routed)
    await office.client.hitl.reassign(request_id=request.request_id, assignees=[CFO])
    await office.client.hitl.approve(
        request_id=request.request_id, payload={"amount": 99}, reviewer=CFO
    )

    assert await office.end(request) == "paid"


async def test_where_anybody_may_decide_nobody_in_particular_may_change(office: Office) -> None:
    """At low and medium risk, and without assignees, as before."""

    @require_approval(name="changed.anybody", risk=risk_of)
    async def anybody(vendor: str, amount: int) -> str:
        PAID.append((vendor, amount))
        return "paid"

    for amount, end in [(7, "paid"), (1_001, "it takes a named reviewer")]:
        request = await office.ask(anybody)
        await office.client.hitl.approve(request_id=request.request_id, payload={"amount": amount})
        assert end in await office.end(request)
    assert PAID == [("Acme", 7)]


async def test_whoever_waits_for_the_call_learns_that_nothing_ran(office: Office) -> None:
    """As of any other end without an approval."""
    request = await office.ask(routed)
    await office.client.hitl.approve(
        request_id=request.request_id, payload={"amount": 2_000}, reviewer=LEAD
    )
    await office.client.drain()
    failure = (await office.client.flows.get(request.run_id)).failure
    assert failure is not None
    assert failure.type_name.endswith(":ApprovalCancelled")
