"""The outbox: durable, one delivery for each recipient, tried again, never before the commit."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta

import pytest

from signoff import Client, Flow, human_feedback, start
from signoff.errors import NotifyError
from signoff.model.changes import Changes
from signoff.model.delivery import Delivery
from signoff.outbox.sending import FIRST_PAUSE, LONGEST_PAUSE, pause_before
from signoff.stores import MemoryStore
from signoff.testing import ManualClock, MemoryMail


class Ask(Flow, name="outbox.ask"):
    """A question to two people."""

    @start()
    @human_feedback(message="Well?", emit=["approved"], assignees=["a@x.example", "b@x.example"])
    def draft(self) -> str:
        """Return what is asked about."""
        return "text"


@dataclass(slots=True)
class Office:
    """A client with all its parts at hand."""

    client: Client
    store: MemoryStore
    mail: MemoryMail
    clock: ManualClock

    async def ask(self) -> str:
        """Start a flow, let the client work, and return the request's id."""
        await self.client.flows.start(Ask)
        await self.client.drain()
        (request,) = await self.client.hitl.list_requests()
        return request.request_id

    async def deliveries(self, request_id: str) -> list[Delivery]:
        """Return a request's deliveries."""
        return list(await self.store.deliveries(request_id))


@pytest.fixture(name="office")
async def _office() -> AsyncIterator[Office]:
    store, mail, clock = MemoryStore(), MemoryMail(trusted_server="mx"), ManualClock()
    async with Client(store, notifiers=[mail], inbox=mail, clock=clock) as client:
        yield Office(client, store, mail, clock)


def test_pauses_double_with_jitter_up_to_an_hour() -> None:
    """Never nothing, and never more than the hour."""
    assert pause_before(1, 0.0) == FIRST_PAUSE / 2
    assert pause_before(1, 1.0) == FIRST_PAUSE * 2
    assert pause_before(3, 1.0) == FIRST_PAUSE * 8
    assert pause_before(1000, 1.0) == LONGEST_PAUSE
    assert pause_before(1000, 0.5) == (LONGEST_PAUSE + FIRST_PAUSE / 2) / 2


async def test_each_assignee_gets_one_message(office: Office) -> None:
    """With a reply address of its own."""
    request_id = await office.ask()

    assert sorted(str(mail["To"]) for mail in office.mail.sent) == ["a@x.example", "b@x.example"]
    assert len({str(mail["Reply-To"]) for mail in office.mail.sent}) == 2
    assert [one.status for one in await office.deliveries(request_id)] == ["sent", "sent"]
    assert all(one.message_id for one in await office.deliveries(request_id))


async def test_a_failing_notifier_leaves_the_request_standing(office: Office) -> None:
    """The delivery is tried again when its pause is over, and reported meanwhile."""
    office.mail.error = NotifyError("the server is away", permanent=False)
    request_id = await office.ask()

    assert (await office.client.hitl.get_request(request_id)).status == "pending"
    waiting = await office.deliveries(request_id)
    assert [(one.status, one.attempts) for one in waiting] == [("waiting", 1), ("waiting", 1)]
    assert waiting[0].last_error == "the server is away"
    health = await office.client.health()
    assert health.notifiers["mail"].last_error == "the server is away"
    assert health.notifiers["mail"].last_error_at == office.clock.now()
    assert health.notifiers["mail"].oldest_unsent == office.clock.now()

    office.mail.error = None
    await office.client.drain()
    assert office.mail.sent == []
    office.clock.advance(LONGEST_PAUSE)
    await office.client.drain()
    assert [one.status for one in await office.deliveries(request_id)] == ["sent", "sent"]
    health = await office.client.health()
    assert health.notifiers["mail"].last_success == office.clock.now()
    assert health.notifiers["mail"].oldest_unsent is None


async def test_a_permanent_failure_is_reported_and_not_tried_again(office: Office) -> None:
    """A pending request that reaches nobody is in `health`, with the reason."""
    office.mail.error = NotifyError("no such mailbox", permanent=True)
    request_id = await office.ask()
    office.mail.error = None
    office.clock.advance(timedelta(days=1))
    await office.client.drain()

    assert [one.status for one in await office.deliveries(request_id)] == ["failed", "failed"]
    health = await office.client.health()
    assert health.failed_deliveries == 2
    assert health.unreached == {request_id: "no such mailbox; no such mailbox"}


async def test_a_message_about_a_decided_request_is_dropped(office: Office) -> None:
    """The status is read just before sending."""
    office.mail.error = NotifyError("the server is away", permanent=False)
    request_id = await office.ask()
    await office.client.hitl.approve(request_id=request_id, reviewer="a@x.example")
    office.mail.error = None
    office.clock.advance(LONGEST_PAUSE)
    await office.client.drain()

    assert office.mail.sent == []
    assert [one.status for one in await office.deliveries(request_id)] == ["dropped", "dropped"]


async def test_nobody_assigned_is_a_reason(office: Office) -> None:
    """Every pending request has a delivery or a reason."""
    request = await office.client.hitl.request("?", payload=1)
    other = await office.client.hitl.request("?", payload=1, assignees=["not an address"])

    health = await office.client.health()

    assert "nobody is assigned" in health.unreached[request.request_id]
    assert "no notifier reaches not an address" in health.unreached[other.request_id]


@pytest.mark.parametrize("change", ["recipient", "token"])
async def test_a_token_goes_only_to_whom_the_seal_names(office: Office, change: str) -> None:
    """Whoever can write to the store cannot have a genuine token sent to themselves."""
    office.mail.error = NotifyError("the server is away", permanent=False)
    request_id = await office.ask()
    first, second = await office.deliveries(request_id)
    forged = {"recipient": "evil@x.example"}
    if change == "token":
        forged = {"token_id": second.token_id}
    changed = first.model_copy(update={"version": first.version + 1, **forged})
    await office.store.commit(Changes(deliveries=(changed,)))
    office.mail.error = None
    office.clock.advance(LONGEST_PAUSE)

    await office.client.drain()

    assert [str(mail["To"]) for mail in office.mail.sent] == [second.recipient]
    deliveries = {one.delivery_id: one for one in await office.deliveries(request_id)}
    assert deliveries[first.delivery_id].status == "failed"
    assert change in deliveries[first.delivery_id].last_error
