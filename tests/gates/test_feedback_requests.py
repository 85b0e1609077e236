"""The request that `human_feedback` makes of what a step returned."""

from __future__ import annotations

from datetime import timedelta

import pytest

from signoff import Evidence, Flow, Policy, Proposal, human_feedback, start, testing
from signoff.errors import CodecError, ConfigurationError
from signoff.model.request import Request
from signoff.model.run import Run
from signoff.testing import TestingClient

ANN, BOB = "ann@acme.example", "bob@acme.example"


async def asked(client: TestingClient, flow: type[Flow[object]], **inputs: object) -> Request:
    """Start a run, and return what it asks."""
    await client.flows.start(flow, inputs=inputs, requester="agent-7")
    await client.drain()
    (request,) = await client.hitl.list_requests(status="pending")
    return request


async def failed(client: TestingClient, flow: type[Flow[object]], **inputs: object) -> Run:
    """Start a run that fails before it asks."""
    run = await client.flows.start(flow, inputs=inputs, requester="agent-7")
    await client.drain()
    assert not await client.hitl.list_requests()
    return await client.flows.get(run.run_id)


async def test_all_that_was_said_is_on_the_request(client: TestingClient) -> None:
    """The gate's options, the proposal's words, and the policies in their order."""

    class Reviews(Flow):
        @start()
        @human_feedback(
            "Good?",
            emit=["publish", "rejected", "shorter"],
            meanings={"publish": "approve", "shorter": "neutral"},
            default_outcome="shorter",
            on_expiry="rejected",
            metadata={"since": timedelta(days=1)},
            assignees=[ANN],
            assign_to_email=BOB,
            evidence=[Evidence(label="a", value="1")],
            risk="high",
            sla=timedelta(hours=1),
            expires_after=timedelta(days=2),
            policy=Policy(name="copy", risk="low", approvers=("carol@acme.example",)),
        )
        def review(self) -> Proposal:
            return Proposal(
                {"text": "Copy"},
                summary="short",
                rationale="because",
                confidence=0.25,
                evidence=[Evidence(label="b", value="2", tone="red")],
            )

    request = await asked(client, Reviews)

    assert (request.kind, request.message, request.method_name) == ("feedback", "Good?", "review")
    assert (request.payload, request.requester) == ({"text": "Copy"}, "agent-7")
    assert [(one.label, one.meaning) for one in request.choices] == [
        ("publish", "approve"),
        ("rejected", "reject"),
        ("shorter", "neutral"),
    ]
    assert (request.default_outcome, request.on_expiry) == ("shorter", "rejected")
    assert (request.risk, request.assignees) == ("high", (ANN, BOB))
    assert (request.summary, request.rationale, request.confidence) == ("short", "because", 0.25)
    assert [one.label for one in request.evidence] == ["a", "b"]
    assert request.metadata == {"since": {"$": "timedelta", "v": "1 day, 0:00:00"}}
    assert request.due_at == request.created_at + timedelta(hours=1)
    assert request.expires_at == request.created_at + timedelta(days=2)
    assert request.policy_name == "copy"
    assert request.policy.approvers == ("carol@acme.example",)
    assert request.identity is not None
    assert (request.identity.gate, request.identity.digest) == ("review", request.payload_digest)


async def test_the_clients_policy_fills_in_what_the_gate_leaves_open() -> None:
    """Without a policy of its own the request is of medium risk, for a week."""

    class Reviews(Flow):
        @start()
        @human_feedback("Good?")
        def review(self) -> str:
            return "Copy"

    async with testing.client(policy=Policy(assign_to_email=ANN, risk="low")) as client:
        request = await asked(client, Reviews)
        assert (request.assignees, request.risk) == ((ANN,), "low")
    async with testing.client() as client:
        request = await asked(client, Reviews)
        assert (request.assignees, request.risk, request.policy_name) == ((), "medium", "review")
        assert request.expires_at == request.created_at + timedelta(days=7)


class Chooses(Flow):
    """A flow whose state says who is asked."""

    @start()
    @human_feedback(
        "Good?",
        assignees=[BOB],
        assign_from_input="manager",
        policy=Policy(assignable=(ANN, "agent-7")),
    )
    def review(self) -> str:
        """Write."""
        return "Copy"


async def test_the_state_may_say_who_is_asked(client: TestingClient) -> None:
    """Within the list, else the fixed ones are."""
    assert (await asked(client, Chooses, manager=ANN)).assignees == (ANN,)


async def test_the_fixed_ones_are_asked_where_the_state_names_nobody(client: TestingClient) -> None:
    """Who is not there cannot be asked."""
    assert (await asked(client, Chooses)).assignees == (BOB,)


@pytest.mark.parametrize("manager", ["agent-7", "eve@acme.example"])
async def test_neither_the_requester_nor_a_stranger_is_asked(
    client: TestingClient, manager: str
) -> None:
    """The step fails with the reason."""
    run = await failed(client, Chooses, manager=manager)

    assert run.failure is not None
    assert run.failure.type_name == f"{ConfigurationError.__module__}:ConfigurationError"


async def test_a_payload_that_cannot_be_stored_fails_the_step(client: TestingClient) -> None:
    """The path says that it is the step's output."""

    class Reviews(Flow):
        @start()
        @human_feedback("Good?")
        def review(self) -> object:
            return Proposal({"a": object()})

    run = await failed(client, Reviews)

    assert run.failure is not None
    assert run.failure.type_name == f"{CodecError.__module__}:CodecError"
    assert run.failure.message.startswith("review output.a: ")
