"""What has to type-check, and to which types; checked by mypy and pyright, never run."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from functools import partial
from typing import assert_type

from pydantic import BaseModel

from signoff import (
    ApprovalRejected,
    Client,
    Done,
    Evidence,
    Flow,
    HumanFeedbackResult,
    NotDone,
    Policy,
    Request,
    Unknown,
    human_feedback,
    keyed,
    listen,
    once,
    require_approval,
    router,
    start,
    to_thread,
    together,
)
from signoff.hitl import Page
from signoff.model.run import Run
from signoff.sync import Client as BlockingClient
from signoff.testing import TestingClient


class Receipt(BaseModel):
    """What a payment returns."""

    number: int


@require_approval
def bare(vendor: str, amount: Decimal) -> Receipt:
    """Pay, with the defaults."""
    return Receipt(number=int(amount) + len(vendor))


@require_approval
async def abare(vendor: str, amount: Decimal) -> Receipt:
    """Pay later, with the defaults."""
    return bare(vendor, amount)


def verify(vendor: str, amount: Decimal) -> Done[Receipt] | NotDone | Unknown:
    """Look it up."""
    return Unknown() if vendor else NotDone() if amount else Done(Receipt(number=1))


async def averify(vendor: str, amount: Decimal) -> Done[Receipt] | NotDone | Unknown:
    """Look it up, later."""
    return verify(vendor, amount)


@require_approval(
    action="Pay {amount} to {vendor}",
    risk=lambda call: "high" if call["amount"] else "low",
    assignees=lambda call: [str(call["vendor"])],
    evidence=lambda _: [Evidence(label="a", value="b")],
    summary=lambda call: f"to {call['vendor']}",
    confidence=0.5,
    sla=timedelta(minutes=30),
    verify=verify,
    policy=Policy(assignable=("cfo@acme.example",)),
)
def pay(vendor: str, amount: Decimal = Decimal(1)) -> Receipt:
    """Pay."""
    return bare(vendor, amount)


@require_approval(risk="high", assignees=["cfo@acme.example"], on_reject="raise", verify=averify)
async def apay(vendor: str, amount: Decimal) -> Receipt:
    """Pay, later."""
    return await abare(vendor, amount)


@require_approval(on_reject="return", live=["session"], hidden=["card"])
def charge(session: object, card: str) -> Receipt:
    """Charge, and return a refusal."""
    return bare(card, Decimal(str(session)))


@require_approval(on_reject="return")
async def acharge(card: str) -> Receipt:
    """Charge later, and return a refusal."""
    return await abare(card, Decimal(1))


class Till:
    """Gated methods of every kind."""

    @require_approval
    def method(self, amount: int) -> int:
        """Take."""
        return amount

    @require_approval(risk="low")
    async def amethod(self, amount: int) -> int:
        """Take, later."""
        return amount

    @classmethod
    @require_approval
    def of_class(cls, amount: int) -> int:
        """Take, without a till."""
        return amount

    @staticmethod
    @require_approval(risk="low")
    def static(amount: int) -> int:
        """Take, without anything."""
        return amount

    @require_approval(on_reject="return")
    async def returning(self, amount: int) -> int:
        """Take, or return why not."""
        return amount


async def calls() -> None:
    """Every form keeps its parameters and what it returns."""
    till = Till()
    assert_type(bare("acme", Decimal(1)), Receipt)
    assert_type(await abare("acme", amount=Decimal(1)), Receipt)
    assert_type(pay("acme"), Receipt)
    assert_type(await apay("acme", Decimal(1)), Receipt)
    assert_type(charge(object(), "4929"), Receipt | ApprovalRejected)
    assert_type(await acharge("4929"), Receipt | ApprovalRejected)
    assert_type(till.method(1), int)
    assert_type(await till.amethod(amount=1), int)
    assert_type(Till.of_class(1), int)
    assert_type(Till.static(1), int)
    assert_type(await till.returning(1), int | ApprovalRejected)


async def around_calls(client: Client, testing: TestingClient) -> None:
    """What wraps a gated function keeps its types as well."""
    assert_type(keyed(pay, "inv-17")("acme"), Receipt)
    assert_type(await keyed(apay, "inv-17")("acme", Decimal(1)), Receipt)
    assert_type(await keyed(acharge, "inv-17")("4929"), Receipt | ApprovalRejected)
    assert_type(
        await together(partial(pay, "acme"), partial(Till().amethod, 1)), tuple[object, ...]
    )
    paid = partial(apay, "acme", Decimal(1))
    charged = partial(acharge, "4929")
    assert_type(await together(paid, charged), tuple[Receipt, Receipt | ApprovalRejected])
    assert_type(
        await together(charged, paid, partial(Till().amethod, 1)),
        tuple[Receipt | ApprovalRejected, Receipt, int],
    )
    assert_type(await together(*[paid, paid]), tuple[Receipt, ...])
    assert_type(await once("draw", max, 1, 2), int)
    assert_type(await once("fetch", fetch, "a", times=2), list[str])
    assert_type(await once("later", partial(fetch, "a", times=2)), list[str])
    assert_type(await to_thread(pay, "acme", amount=Decimal(1)), Receipt)
    assert_type(await client.submit(pay, "acme", Decimal(1), key="inv-17"), Request)
    assert_type(await testing.run(apay, "acme", Decimal(1)), Receipt)
    assert_type(await testing.run(pay, "acme", amount=Decimal(1)), Receipt)
    assert_type(await testing.run(acharge, "4929"), Receipt | ApprovalRejected)
    assert_type(await testing.run(Plain, topic="a"), object)
    assert_type(await testing.run(WithModel), object)


async def fetch(what: str, *, times: int) -> list[str]:
    """Fetch something that often."""
    return [what] * times


class State(BaseModel):
    """The state of a flow."""

    topic: str = ""


class Plain(Flow):
    """A flow with a dict for its state."""

    @start()
    def draft(self) -> str:
        """Write."""
        assert_type(self.state, dict[str, object])
        return "Copy"

    @listen(draft)
    @human_feedback(message="Good?", emit=["approved", "rejected"])
    def review(self, copy: str) -> str:
        """Ask."""
        return copy

    @router(review)
    def judge(self, result: HumanFeedbackResult) -> str:
        """Route."""
        assert_type(result.output, object)
        assert_type(result.outcome, str | None)
        return "end"


class WithModel(Flow[State]):
    """A flow with a model for its state."""

    @start()
    async def draft(self) -> str:
        """Write."""
        assert_type(self.state, State)
        assert_type(self.state.topic, str)
        return self.state.topic


async def stamps_keep_types(flow: WithModel, plain: Plain) -> None:
    """The decorators of steps change no types at all."""
    assert_type(plain.review("a"), str)
    assert_type(await flow.draft(), str)


def blocking(client: BlockingClient) -> None:
    """What the blocking client returns is awaited by nobody."""
    with client as opened, opened.serving() as serving:
        assert_type(opened, BlockingClient)
        assert_type(serving, BlockingClient)
    assert_type(client.flows.start(Plain), Run)
    assert_type(client.hitl.list_requests(status="pending"), Page)
    assert_type(client.submit(pay, "acme", Decimal(9), key="inv-17"), Request)
