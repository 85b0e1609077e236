"""What becomes of a delivery when its sender dies, is overtaken, or finds things changed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta

import anyio
import pytest
from typing_extensions import override

from signoff import Client, Flow, human_feedback, start
from signoff.codec import Codec
from signoff.errors import NotifyError, StoreUnavailableError
from signoff.model.changes import Changes, Renew
from signoff.model.delivery import Delivery
from signoff.model.request import Request
from signoff.outbox.sending import FIRST_PAUSE, LONGEST_PAUSE
from signoff.ports import Outgoing
from signoff.stores import MemoryStore
from signoff.testing import ManualClock, MemoryMail

BRAND = "brand@acme.example"
LEASE = 30.0


@dataclass(frozen=True)
class Copy:
    """A type of the application's own."""

    text: str


class Ask(Flow, name="outbox_ends.ask"):
    """A question to one person."""

    @start()
    @human_feedback(message="Well?", emit=["approved"], assign_to_email=BRAND)
    def draft(self) -> Copy:
        """Return what is asked about."""
        return Copy("Spring sale")


class Moody(MemoryStore):
    """A store whose leases go by seconds of the test, and which cannot read requests at times."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.unreadable = False
        super().__init__(lease_clock=lambda: self.seconds)

    @override
    async def request(self, request_id: str) -> Request:
        if self.unreadable:
            raise StoreUnavailableError("the disk is away")
        return await super().request(request_id)


class Post(MemoryMail):
    """A mailbox that does something else once a mail is out, before it says so."""

    then: Callable[[], Awaitable[object]] | None = None

    @override
    async def send(self, outgoing: Outgoing) -> str:
        taken = await super().send(outgoing)
        then, self.then = self.then, None
        if then is not None:
            await then()
        return taken


@dataclass(slots=True)
class Office:
    """Two clients over one store, as of two processes, and their mailbox."""

    here: Client
    there: Client
    store: Moody
    mail: Post
    clock: ManualClock
    request_id: str = field(default="")

    async def ask(self) -> None:
        """Start a flow, and let it ask; nothing goes out yet."""
        run = await self.here.flows.start(Ask)
        await self.here._machinery.executor.advance(run.run_id)
        (request,) = await self.here.hitl.list_requests()
        self.request_id = request.request_id

    async def delivery(self) -> Delivery:
        """Return the delivery of the question to whom it was put first."""
        deliveries = await self.store.deliveries(self.request_id)
        return next(one for one in deliveries if one.recipient == BRAND)


@pytest.fixture(name="office")
async def _office() -> AsyncIterator[Office]:
    store, mail, clock = Moody(), Post(trusted_server="mx"), ManualClock()
    lease = timedelta(seconds=LEASE)
    here = Client(store, notifiers=[mail], inbox=mail, clock=clock, lease=lease)
    there = Client(store, notifiers=[mail], inbox=mail, clock=clock, lease=lease)
    async with here, there:
        yield Office(here, there, store, mail, clock)


async def test_a_delivery_whose_sender_died_is_sent_again_with_the_same_message_id(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody knows whether the first one arrived; that is counted, logged and shown."""
    await office.ask()
    office.mail.then = anyio.sleep_forever
    async with anyio.create_task_group() as group:
        group.start_soon(office.here.drain)
        while not office.mail.sent:
            await anyio.lowlevel.checkpoint()
        group.cancel_scope.cancel()
    assert (await office.delivery()).status == "sending"

    assert (await office.there.drain()).sent == ()
    office.store.seconds = LEASE - 0.001
    assert (await office.there.drain()).sent == ()
    office.store.seconds = LEASE
    again = await office.there.drain()

    sent = await office.delivery()
    assert again.sent == (sent.delivery_id,)
    assert (sent.status, sent.attempts, sent.unknown) == ("sent", 2, 1)
    first, second = office.mail.sent
    assert first["Message-ID"] == second["Message-ID"]
    assert first["Reply-To"] == second["Reply-To"]
    assert f"nobody knows how the last attempt at {sent.delivery_id} ended" in caplog.text
    assert (await office.there.health()).uncertain == {sent.delivery_id: 1}


async def test_a_sender_that_was_overtaken_records_nothing(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    """It was stopped past its lease; when it wakes, the delivery is in other hands."""
    await office.ask()

    async def sleep_past_the_lease() -> None:
        claim = await office.store.claim((await office.delivery()).delivery_id)
        assert claim is not None
        lapsed = Renew(
            subject=claim.subject,
            holder=claim.holder,
            fencing=claim.fencing,
            lease=timedelta(0),
        )
        await office.store.commit(Changes(claims=(lapsed,)))
        await office.there.drain()

    office.mail.then = sleep_past_the_lease
    await office.here.drain()

    sent = await office.delivery()
    assert (sent.status, sent.attempts, sent.unknown, sent.version) == ("sent", 2, 1, 4)
    assert f"{sent.delivery_id} is in other hands now" in caplog.text


async def test_two_senders_at_once_send_one_mail(office: Office) -> None:
    """Whoever claims the delivery."""
    await office.ask()
    async with anyio.create_task_group() as group:
        for client in (office.here, office.there):
            group.start_soon(client.drain)

    assert len(office.mail.sent) == 1


async def test_a_delivery_is_sent_when_it_is_due_and_once(office: Office) -> None:
    """Whatever an engine repeats, or hands over too early."""
    office.mail.error = NotifyError("the server is away", permanent=False)
    await office.ask()
    await office.here.drain()
    office.mail.error = None
    outbox, delivery = office.here._machinery.outbox, await office.delivery()

    assert not await outbox.send(delivery.delivery_id)
    office.clock.advance(LONGEST_PAUSE)
    assert await outbox.send(delivery.delivery_id)
    assert not await outbox.send(delivery.delivery_id)
    assert len(office.mail.sent) == 1


async def test_a_message_about_a_forged_request_is_not_sent(office: Office) -> None:
    """It would ask about what nobody proposed."""
    await office.ask()
    request = await office.store.request(office.request_id)
    forged = request.model_copy(update={"version": request.version + 1, "message": "Pay Mallory?"})
    await office.store.commit(Changes(requests=(forged,)))

    await office.here.drain()

    failed = await office.delivery()
    assert office.mail.sent == []
    assert failed.status == "failed"
    assert "message is not what was sealed" in failed.last_error
    assert office.request_id in (await office.here.health()).unreached


async def test_a_token_whose_key_is_not_here_waits_for_who_has_it(office: Office) -> None:
    """A process with an older list of keys cannot send it, and says so."""
    await office.ask()
    (row,) = await office.store.tokens(office.request_id)
    newer = row.model_copy(update={"version": row.version + 1, "kid": 9})
    await office.store.commit(Changes(tokens=(newer,)))

    await office.here.drain()

    waiting = await office.delivery()
    assert (waiting.status, office.mail.sent) == ("waiting", [])
    assert "key 9 is not in the keyring" in waiting.last_error


async def test_a_notifier_that_is_broken_is_tried_again_later(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    """Its slip shows in the log, in the report and in `health`, and the outbox goes on."""

    async def slip() -> None:
        raise ZeroDivisionError("a slip in the notifier")

    office.mail.then = slip
    await office.ask()
    report = await office.here.drain()

    waiting = await office.delivery()
    assert report.errors == {"mail": "it raised ZeroDivisionError"}
    assert (waiting.status, waiting.attempts) == ("waiting", 1)
    assert waiting.not_before >= office.clock.now() + FIRST_PAUSE / 2
    assert waiting.last_error == "it raised ZeroDivisionError"
    assert "a slip in the notifier" in caplog.text
    assert (await office.here.health()).notifiers["mail"].last_error == waiting.last_error


async def test_a_store_that_fails_while_sending_is_not_the_notifiers_fault(office: Office) -> None:
    """Nothing went out; once the claim has lapsed the delivery is tried again."""
    await office.ask()
    office.store.unreadable = True
    report = await office.here.drain()
    delivery = await office.delivery()
    assert "the disk is away" in report.errors[delivery.delivery_id]
    office.store.unreadable = False
    assert (await office.here.health()).notifiers["mail"].last_error == ""

    office.store.seconds = LEASE
    await office.here.drain()
    assert (await office.delivery()).status == "sent"
    assert len(office.mail.sent) == 1


async def test_nobody_is_asked_after_somebody_else_was_asked_instead(office: Office) -> None:
    """The mail that waited is dropped; the new assignee gets one of their own."""
    office.mail.error = NotifyError("the server is away", permanent=False)
    await office.ask()
    await office.here.drain()
    await office.here.hitl.reassign(request_id=office.request_id, assignees=["boss@acme.example"])
    office.mail.error = None
    office.clock.advance(LONGEST_PAUSE)
    await office.here.drain()

    assert [str(mail["To"]) for mail in office.mail.sent] == ["boss@acme.example"]
    dropped = await office.delivery()
    assert (dropped.status, dropped.last_error) == ("dropped", "somebody else was asked instead")


async def test_a_sender_without_the_types_shows_the_payload_as_json(office: Office) -> None:
    """Whoever sends the mails need not have the application's code."""
    office.here._machinery.outbox._codec = Codec()
    await office.ask()
    await office.here.drain()

    text = office.mail.sent[0].get_body(("plain",)).get_content()  # type: ignore[union-attr]  # it has one
    assert "Spring sale" in text
