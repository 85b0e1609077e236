"""What must not type-check: each line has its error, and one that has none any more fails."""

# pyright: reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from decimal import Decimal
from functools import partial

from pydantic import BaseModel

from signoff import (
    Client,
    Flow,
    Policy,
    human_feedback,
    keyed,
    once,
    require_approval,
    start,
    together,
)
from signoff.sync import Client as BlockingClient
from signoff.testing import TestingClient


@require_approval(risk="low")
def pay(vendor: str, amount: Decimal) -> int:
    """Pay."""
    return len(vendor) + int(amount)


@require_approval
async def apay(vendor: str, amount: Decimal) -> int:
    """Pay, later."""
    return pay(vendor, amount)


@require_approval(on_reject="return")
def charge(card: str) -> int:
    """Charge, and return a refusal."""
    return len(card)


class Till:
    """A gated method."""

    @require_approval
    def take(self, amount: int) -> int:
        """Take."""
        return amount


class State(BaseModel):
    """The state of a flow."""

    topic: str = ""


class WithModel(Flow[State]):
    """A flow with a model for its state."""

    @start()
    def draft(self) -> str:
        """Write."""
        return self.state.author  # type: ignore[attr-defined, no-any-return]  # the model has none


async def wrong_arguments(testing: TestingClient) -> None:
    """The parameters of a gated function are still checked."""
    pay("acme", "nine")  # type: ignore[arg-type]  # no Decimal
    pay("acme")  # type: ignore[call-arg]  # too few
    await apay(1, Decimal(1))  # type: ignore[arg-type]  # no str
    Till().take("one")  # type: ignore[arg-type]  # no int
    Till().take(1, 2)  # type: ignore[call-arg]  # too many
    keyed(pay, "k")("acme", 9)  # type: ignore[arg-type]  # no Decimal
    keyed(pay, 17)  # type: ignore[arg-type]  # a key is a text
    await once("a", pay, "acme")  # type: ignore[call-overload]  # too few
    await testing.run(apay, "acme", "nine")  # type: ignore[call-overload]  # no Decimal


async def wrong_results() -> None:
    """What a gated function returns is still known."""
    first: str = pay("acme", Decimal(1))  # type: ignore[assignment]  # an int
    second: int = apay("acme", Decimal(1))  # type: ignore[assignment]  # not awaited
    third: int = charge("4929")  # type: ignore[assignment]  # or a refusal
    fourth: tuple[int] = await together(partial(pay, "a", Decimal(1)))  # type: ignore[assignment]  # of objects
    assert [first, second, third, fourth]


def wrong_options(client: Client) -> None:
    """Options are checked where they are written."""
    require_approval(risk="huge")  # type: ignore[call-overload]  # no risk
    require_approval(on_reject="ignore")  # type: ignore[call-overload]  # no such way
    require_approval(on_drift="run")  # type: ignore[call-overload]  # no such way
    require_approval(evidence=["fact"])  # type: ignore[list-item]  # no Evidence
    require_approval(quorum=2)  # type: ignore[call-overload]  # no such option
    require_approval("Pay?")  # type: ignore[call-overload]  # no function
    human_feedback(emit=["approved"])  # type: ignore[call-arg]  # no message
    Policy(risk="huge")  # type: ignore[arg-type]  # no risk
    client.hitl.approve("req_1")  # type: ignore[call-arg, unused-coroutine]  # by name only


def wrong_uses_of_the_blocking_client(client: BlockingClient) -> None:
    """Its arguments and results are known too."""
    client.hitl.approve("req_1")  # type: ignore[call-arg]  # by name only
    client.hitl.list_requests(status="open")  # type: ignore[arg-type]  # no status
    client.flows.wait("run_1", timeout=5)  # type: ignore[arg-type]  # a timedelta
    ended: str = client.flows.get("run_1")  # type: ignore[assignment]  # a run
    assert ended
