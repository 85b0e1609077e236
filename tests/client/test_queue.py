"""What applications ask of the queue beside the usual answers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import timedelta

import anyio
import pytest

from signoff import Client, Policy, require_approval
from signoff.codec import Codec
from signoff.errors import (
    AlreadyDecidedError,
    ConfigurationError,
    InvalidEditError,
    NotFoundError,
    UnknownOutcomeError,
)
from signoff.hitl import Hitl

CFO = "cfo@acme.example"


@dataclass(frozen=True)
class Order:
    """A type of the application's own."""

    item: str
    count: int


@require_approval(name="queue.ship", assignees=[CFO])
async def ship(order: Order, to: str) -> str:
    """Return what was shipped."""
    return f"{order.count} {order.item} to {to}"


class Killed(BaseException):
    """Stands for the end of a process: nobody records anything behind it."""


@require_approval(name="queue.crash", assignees=[CFO])
async def crash(item: str) -> str:
    """End the process."""
    raise Killed(item)


@pytest.fixture(name="client")
async def _client() -> AsyncIterator[Client]:
    async with Client() as client:
        yield client


async def test_a_process_without_the_types_shows_and_edits_the_payload_as_json(
    client: Client,
) -> None:
    """Whoever approves need not have the code of what is approved."""
    request = await client.submit(ship, Order("tea", 3), to="Rome")
    assert request.payload == {"order": Order("tea", 3), "to": "Rome"}
    elsewhere = Hitl(replace(client.hitl._at, codec=Codec()))

    seen = await elsewhere.get_request(request.request_id)
    assert seen.payload == {"order": {"item": "tea", "count": 3}, "to": "Rome"}
    await elsewhere.approve(request_id=request.request_id, payload={"to": "Oslo"}, reviewer=CFO)
    await client.drain()

    assert (await client.flows.get(request.run_id)).output == "3 tea to Oslo"


async def test_an_edit_that_only_puts_members_in_another_order_is_no_edit(client: Client) -> None:
    """The digest is the one that was asked."""
    request = await client.hitl.request("Well?", payload={"a": 1, "b": 2})

    answered = await client.hitl.approve(request_id=request.request_id, payload={"b": 2, "a": 1})

    assert answered.payload_digest == request.payload_digest
    assert not answered.decisions[0].edited


@pytest.mark.parametrize("payload", ["all of it", [1, 2], {3: 4}])
async def test_what_is_no_set_of_arguments_edits_no_call(client: Client, payload: object) -> None:
    """Nothing is guessed."""
    request = await client.submit(ship, Order("tea", 3), to="Rome")

    with pytest.raises(InvalidEditError):
        await client.hitl.approve(request_id=request.request_id, payload=payload, reviewer=CFO)

    assert (await client.hitl.get_request(request.request_id)).status == "pending"


async def test_what_a_call_in_doubt_returned_is_the_payload_of_the_answer(client: Client) -> None:
    """Where somebody knows that it happened."""
    request = await client.submit(crash, "tea")
    await client.hitl.approve(request_id=request.request_id, reviewer=CFO)
    with pytest.raises(BaseExceptionGroup):
        await client.drain()
    await client.drain()
    (doubt,) = await client.hitl.list_requests(status="pending")

    await client.hitl.respond(
        request_id=doubt.request_id, outcome="happened", payload="sent by hand", reviewer=CFO
    )
    await client.drain()

    assert (await client.flows.get(request.run_id)).output == "sent by hand"


async def test_waiting_for_a_request_ends_with_its_decision(client: Client) -> None:
    """Whoever decides it, and however many decided others meanwhile."""
    request = await client.hitl.request("Well?", payload=1)
    other = await client.hitl.request("And?", payload=1)
    seen: list[str] = []

    async def wait() -> None:
        ended = await client.hitl.wait(request.request_id, timeout=timedelta(minutes=1))
        seen.append(ended.status)

    async with anyio.create_task_group() as group:
        group.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        await client.hitl.approve(request_id=other.request_id)
        await anyio.wait_all_tasks_blocked()
        assert seen == []
        await client.hitl.reject(request_id=request.request_id)

    assert seen == ["rejected"]


async def test_no_time_to_wait_is_a_look(client: Client) -> None:
    """Not a wait for ever."""
    request = await client.hitl.request("Well?", payload=1)

    with anyio.fail_after(10):
        seen = await client.hitl.wait(request.request_id, timeout=timedelta(0))

    assert seen.status == "pending"
    with pytest.raises(NotFoundError):
        await client.hitl.wait("req_nobody", timeout=timedelta(0))


async def test_an_unreadable_answer_to_a_decided_request_leaves_no_comment(client: Client) -> None:
    """It is over."""
    request = await client.hitl.request("Well?", payload=1)
    await client.hitl.approve(request_id=request.request_id)

    with pytest.raises((UnknownOutcomeError, AlreadyDecidedError)):
        await client.hitl.respond(request_id=request.request_id, outcome="perhaps")

    assert (await client.hitl.get_request(request.request_id)).comments == ()


async def test_an_unreadable_answer_keeps_the_name_and_the_channel(client: Client) -> None:
    """Of whoever wrote it, as far as that is known."""
    request = await client.hitl.request("Well?", payload=1)
    for who, channel in ((None, "web"), ("Ann@Acme.example", "chat")):
        with pytest.raises(UnknownOutcomeError):
            await client.hitl.respond(
                request_id=request.request_id,
                outcome="perhaps",
                feedback="ask Bob",
                reviewer=who,
                channel=channel,  # type: ignore[arg-type]  # both are channels
            )

    newest = await client.hitl.get_request(request.request_id)
    assert [(one.author, one.channel, one.text) for one in newest.comments] == [
        ("web:unidentified", "web", "perhaps\nask Bob"),
        ("ann@acme.example", "chat", "perhaps\nask Bob"),
    ]


async def test_a_question_of_critical_risk_is_refused(client: Client) -> None:
    """It takes a quorum."""
    with pytest.raises(ConfigurationError, match="quorum"):
        await client.hitl.request("Well?", payload=1, policy=Policy(risk="critical"))


async def test_a_question_that_only_its_asker_could_answer_is_refused(client: Client) -> None:
    """The requester never decides."""
    with pytest.raises(ConfigurationError, match="never decides"):
        await client.hitl.request("Well?", payload=1, assignees=[CFO], requester="CFO@acme.example")
