"""Calls that type-check, and to what; never run, read by mypy and pyright."""

from __future__ import annotations

from decimal import Decimal
from typing import assert_type

from pydantic import BaseModel

from signoff import (
    ApprovalRejected,
    Client,
    Flow,
    HumanFeedbackResult,
    and_,
    human_feedback,
    keyed,
    listen,
    once,
    or_,
    require_approval,
    router,
    start,
    testing,
)
from signoff.model.request import Request
from signoff.model.run import Run


@require_approval
def bare(vendor: str, amount: Decimal) -> int:
    """A sync function, without parentheses."""
    return len(vendor) + int(amount)


@require_approval(action="Pay {amount}", risk="high", live=("session",))
async def pay(vendor: str, amount: Decimal, *, session: object = None) -> str:
    """An async function."""
    return f"{vendor} {amount} {session}"


@require_approval(risk=lambda arguments: "high" if arguments["amount"] else "low")
def computed(amount: int) -> int:
    """An option that is computed."""
    return amount


@require_approval(on_reject="return")
def returning(amount: int) -> int:
    """A refusal is returned."""
    return amount


@require_approval(on_reject="return")
async def returning_later(amount: int) -> int:
    """A refusal is returned, from a coroutine."""
    return amount


class Desk:
    """Methods of all kinds."""

    @require_approval(name="typing.method")
    def method(self, amount: int) -> str:
        """A method."""
        return str(amount)

    @classmethod
    @require_approval(name="typing.class_method")
    def class_method(cls, amount: int) -> str:
        """A class method."""
        return str(amount)

    @staticmethod
    @require_approval(name="typing.static_method")
    def static_method(amount: int) -> str:
        """A static method."""
        return str(amount)


class Order(BaseModel):
    """A state."""

    total: int = 0


class Typed(Flow[Order], name="typing.typed"):
    """A flow with a typed state."""

    @start()
    def begin(self) -> int:
        """Steps keep their types."""
        assert_type(self.state, Order)
        return self.state.total

    @router(begin, emit=["small", "large"])
    def size(self, total: int) -> str:
        """A router."""
        return "large" if total else "small"

    @listen(or_(begin, "large"))
    @human_feedback("Well?", emit=["approved", "rejected"])
    async def review(self, total: int) -> int:
        """A gate."""
        return total

    @listen(and_(begin, "approved"))
    def end(self, result: HumanFeedbackResult) -> str:
        """A listener."""
        return result.feedback


class Untyped(Flow, name="typing.untyped"):
    """A flow with a dict as its state."""

    @start()
    def begin(self) -> object:
        """The state is a dict."""
        assert_type(self.state, dict[str, object])
        return self.state["id"]


async def calls(client: Client) -> None:
    """What calls return."""
    assert_type(bare("acme", Decimal(1)), int)
    assert_type(await pay("acme", Decimal(1), session=None), str)
    assert_type(computed(1), int)
    assert_type(returning(1), int | ApprovalRejected)
    assert_type(await returning_later(1), int | ApprovalRejected)
    assert_type(Desk().method(1), str)
    assert_type(Desk.class_method(1), str)
    assert_type(Desk.static_method(1), str)
    assert_type(await keyed(pay, "key")("acme", Decimal(1)), str)
    assert_type(await once("name", bare, "acme", Decimal(1)), int)
    assert_type(Typed().begin(), int)
    assert_type(await Typed().review(1), int)
    assert_type(Typed().state, Order)
    assert_type(await client.submit(pay, "acme", Decimal(1), key="key"), Request)
    assert_type(await client.flows.start(Typed, inputs={"total": 1}), Run)


async def tests() -> None:
    """What a test's client returns."""
    async with testing.client() as client:
        assert_type(await client.run(pay, "acme", Decimal(1)), str)
        assert_type(await client.run(computed, 1), int)
        assert_type(await client.run(Typed), object)
