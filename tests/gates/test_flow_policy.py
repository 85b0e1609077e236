"""The policy of a flow: under that of its gates, over that of the client."""

from __future__ import annotations

from datetime import timedelta

import pytest

from signoff import Flow, Policy, human_feedback, require_approval, start, testing
from signoff.errors import ConfigurationError
from signoff.model.request import Request
from signoff.testing import TestingClient

ANN, BOB, CAROL = "ann@acme.example", "bob@acme.example", "carol@acme.example"


async def asked(client: TestingClient, flow: type[Flow[object]]) -> Request:
    """Start a run, and return what it asks."""
    await client.flows.start(flow, requester="agent-7")
    await client.drain()
    (request,) = await client.hitl.list_requests(status="pending")
    return request


@require_approval(name="flow_policy.pay", sla=timedelta(hours=1))
async def pay() -> None:
    """Pay."""


class Called(
    Flow, policy=Policy(name="money", assign_to_email=ANN, risk="high", sla=timedelta(days=9))
):
    """A gated call."""

    @start()
    async def step(self) -> None:
        """Make it."""
        await pay()


class Reviewed(
    Flow, policy=Policy(name="money", assign_to_email=ANN, risk="high", sla=timedelta(days=9))
):
    """A gate on a step."""

    @start()
    @human_feedback("Well?", emit=["approved"], sla=timedelta(hours=1))
    def step(self) -> str:
        """Return what is asked about."""
        return "copy"


@pytest.mark.parametrize("flow", [Called, Reviewed])
async def test_a_gate_goes_over_its_flow_and_that_over_the_client(
    flow: type[Flow[object]],
) -> None:
    """Field by field, and all of it is kept on the request."""
    below = Policy(name="house", assign_to_email=BOB, approvers=(CAROL,))
    async with testing.client(policy=below) as client:
        request = await asked(client, flow)

    assert (request.policy_name, request.assignees, request.risk) == ("money", (ANN,), "high")
    assert request.policy.approvers == (CAROL,)
    assert request.due_at == request.created_at + timedelta(hours=1)


async def test_a_class_goes_over_the_one_that_it_inherits_from(client: TestingClient) -> None:
    """What it leaves open is its parent's, and its parent's own stays as it was."""

    class Tender(Reviewed, policy=Policy(assign_to_email=BOB)):
        pass

    class Plain(Tender):
        pass

    request = await asked(client, Plain)
    assert (request.assignees, request.risk) == ((BOB,), "high")
    assert Reviewed.__signoff_policy__.assign_to_email == ANN


def test_a_flow_of_critical_risk_is_refused() -> None:
    """As a gate and a client are: it takes two people."""
    with pytest.raises(ConfigurationError, match="quorum"):
        type("Critical", (Flow,), {}, policy=Policy(risk="critical"))
