"""Mails that come back: the delivery fails, and nobody decides anything by it."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from email.message import EmailMessage
from io import StringIO
from pathlib import Path

import pytest
from typing_extensions import override

from signoff import Client, Flow, Policy, human_feedback, start
from signoff.errors import NotifyError, StaleWriteError
from signoff.ids import bytes_of
from signoff.model.audit import AuditEntry
from signoff.model.changes import Acquire, Changes, Release
from signoff.model.delivery import Delivery
from signoff.model.request import Request
from signoff.notifiers import ConsoleNotifier
from signoff.outbox.tokens import bounce_token
from signoff.security.keyring import Keyring
from signoff.security.tokens import DeliveryBinding, mint
from signoff.stores import MemoryStore, SQLiteStore
from signoff.testing import ManualClock, MemoryMail

SAMPLES = Path(__file__).parents[1] / "data" / "bounces"
ANN, BEN, LEAD = "ann@partner.example", "ben@acme.example", "lead@acme.example"


class Pair(Flow, name="bounces.pair"):
    """A question to two people."""

    @start()
    @human_feedback(message="Publish?", emit=["approved", "rejected"], assignees=[ANN, BEN])
    def draft(self) -> str:
        """Return what is asked about."""
        return "Spring sale"


class Single(Flow, name="bounces.single"):
    """A question to one person."""

    @start()
    @human_feedback(message="Publish?", emit=["approved", "rejected"], assignees=[ANN])
    def draft(self) -> str:
        """Return what is asked about."""
        return "Spring sale"


class Watched(MemoryStore):
    """A store in which something happens just before a report is recorded."""

    meddles: Callable[[], Awaitable[object]] | None = None
    locked: str = ""

    @override
    async def commit(self, changes: Changes) -> None:
        meddles, self.meddles = self.meddles, None
        if meddles is not None and changes.handled:
            await meddles()
        elif meddles is not None:
            self.meddles = meddles
        if self.locked and any(one.request_id == self.locked for one in changes.requests):
            raise StaleWriteError(f"request:{self.locked}", "an entry is missing")
        await super().commit(changes)


class Desk:
    """A client, its mailbox, and what it told the listener."""

    def __init__(self, client: Client, mail: MemoryMail, events: list[AuditEntry]) -> None:
        self.client, self.mail, self.events = client, mail, events
        self.clock = ManualClock()

    async def ask(self, flow: type[Flow] = Single) -> dict[str, EmailMessage]:
        """Start a flow, and return the mails that ask, by recipient."""
        await self.client.flows.start(flow, requester="agent-7")
        await self.client.drain()
        return {str(mail["To"]): mail for mail in self.mail.sent}

    async def request(self) -> Request:
        """Let the client work, and return the only request."""
        await self.client.drain()
        (request,) = await self.client.hitl.list_requests()
        return request

    async def to(self, recipient: str) -> Delivery:
        """Return the message that asks somebody."""
        request = await self.request()
        sent = await self.client.hitl.deliveries(request_id=request.request_id)
        return next(one for one in sent if (one.kind, one.recipient) == ("request", recipient))

    def told(self) -> list[dict[str, object]]:
        """Return what the listener heard of requests, but for their opening."""
        bodies = [json.loads(entry.body) for entry in self.events]
        mine = [body for body in bodies if str(body["event"]).startswith("request.")]
        return [body for body in mine if body["event"] != "request.opened"]


@asynccontextmanager
async def a_desk(
    store: MemoryStore | SQLiteStore | None = None, *, policy: Policy | None = None
) -> AsyncIterator[Desk]:
    """Open a client over a mailbox in memory."""
    mail, events, clock = MemoryMail(), list[AuditEntry](), ManualClock()
    async with Client(
        store,
        notifiers=[mail],
        inbox=mail,
        policy=policy or Policy(assign_to_email=LEAD),
        clock=clock,
        on_event=events.append,
    ) as client:
        desk = Desk(client, mail, events)
        desk.clock = clock
        yield desk


@pytest.fixture(name="store")
def _store() -> Watched:
    return Watched()


@pytest.fixture(name="desk")
async def _desk(store: Watched) -> AsyncIterator[Desk]:
    async with a_desk(store) as desk:
        yield desk


def sample(name: str, mail: EmailMessage) -> bytes:
    """Return a server's report on a mail."""
    text = (SAMPLES / f"{name}.eml").read_text()
    named = text.replace("@VERP@", str(mail["Return-Path"]).strip("<>"))
    named = named.replace("@RECIPIENT@", str(mail["To"]))
    return named.replace("@MESSAGE_ID@", str(mail["Message-ID"])).encode()


def text_of(mail: EmailMessage) -> str:
    """Return the plain text of a mail, on one line."""
    body = mail.get_body(("plain",))
    assert body is not None
    return " ".join(str(body.get_content()).split())


FAILED = [
    path.stem
    for path in sorted(SAMPLES.glob("*.eml"))
    if not path.stem.startswith("not-")
    and "delayed" not in path.stem
    and "warning" not in path.stem
]
DELAYED = ["exim-warning-words", "gmail-delayed", "postfix-delayed"]
NO_REPORTS = [path.stem for path in sorted(SAMPLES.glob("not-*.eml"))]


@pytest.mark.parametrize("name", FAILED)
async def test_a_bounce_marks_its_delivery_as_failed(desk: Desk, name: str) -> None:
    """Requirement 11: VERP. Row, audit entry, listener and health say so; nothing is decided."""
    mails = await desk.ask(Pair)
    desk.mail.receive(sample(name, mails[ANN]))
    request = await desk.request()

    failed = await desk.to(ANN)
    assert (request.status, request.decisions, request.comments) == ("pending", (), ())
    assert (failed.status, failed.attempts) == ("failed", 1)
    assert failed.last_error.startswith("the mail came back: ")
    assert failed.came_back == failed.last_error
    assert (await desk.to(BEN)).status == "sent"
    (told,) = desk.told()
    assert (told["event"], told["came_back"]) == ("request.delivery_failed", True)
    assert told["delivery"] == failed.delivery_id
    health = await desk.client.health()
    assert health.came_back == {failed.delivery_id: failed.last_error}
    assert (health.failed_deliveries, health.unreached) == (1, {})
    assert len(desk.mail.sent) == 2
    assert desk.mail.put_away == ["1"]


@pytest.mark.parametrize("name", DELAYED)
async def test_a_delay_is_noted_once_and_is_no_failure(desk: Desk, name: str) -> None:
    """Requirement 11: servers warn again and again; the mail may still arrive."""
    mails = await desk.ask()
    for number in range(3):
        raw = sample(name, mails[ANN])
        desk.mail.receive(raw.replace(b"Message-", b"X-%d: 1\nMessage-" % number, 1))
        desk.mail.receive(raw.replace(b"@partner.example>\nDate", b"%d@p>\nDate" % number, 1))
    request = await desk.request()

    late = await desk.to(ANN)
    assert (late.status, request.undelivered) == ("sent", "")
    assert late.came_back.startswith("the mail is delayed: ")
    assert [told["event"] for told in desk.told()] == ["request.delivery_delayed"]
    health = await desk.client.health()
    assert health.came_back == {late.delivery_id: late.last_error}
    assert (health.failed_deliveries, health.unreached) == (0, {})

    desk.mail.bounce(mails[ANN])
    await desk.request()
    assert (await desk.to(ANN)).status == "failed"
    desk.mail.bounce(mails[ANN], action="delayed")
    await desk.request()
    assert (await desk.to(ANN)).last_error.startswith("the mail came back: ")


@pytest.mark.parametrize("name", NO_REPORTS)
async def test_what_else_comes_to_the_address_changes_nothing(desk: Desk, name: str) -> None:
    """Requirement 11: out-of-office replies, receipts and challenges go there too."""
    mails = await desk.ask()
    desk.mail.receive(sample(name, mails[ANN]))
    request = await desk.request()

    assert (request.version, request.status) == (1, "pending")
    assert (await desk.to(ANN)).status == "sent"
    assert len(desk.mail.sent) == 1
    assert desk.mail.put_away == ["1"]
    inbox = (await desk.client.health()).inbox
    assert inbox is not None
    assert inbox.ignored == {"to a bounce address": 1}


async def test_when_every_mail_came_back_the_policys_assignee_is_told(desk: Desk) -> None:
    """Once, by a notice that cannot be answered; the request says why, and still waits."""
    mails = await desk.ask(Pair)
    desk.mail.bounce(mails[ANN])
    assert (await desk.request()).undelivered == ""
    desk.mail.bounce(mails[BEN], status="5.2.2")
    request = await desk.request()

    assert request.status == "pending"
    assert "550 5.1.1" in request.undelivered
    assert "550 5.2.2" in request.undelivered
    assert [told["event"] for told in desk.told()] == [
        "request.delivery_failed",
        "request.undelivered",
    ]
    assert (await desk.client.health()).unreached == {request.request_id: request.undelivered}
    notice = desk.mail.sent[-1]
    assert (notice["To"], notice["Reply-To"], notice["Return-Path"]) == (LEAD, None, "<>")
    assert notice["Auto-Submitted"] == "auto-replied"
    text = text_of(notice)
    assert "none of the messages that ask for an answer arrived" in text
    assert f"Asked of: {ANN}, {BEN}" in text
    assert "You cannot decide it by this message" in text
    assert "550 5.2.2" in text
    assert "Spring sale" not in text

    desk.mail.bounce(mails[BEN])
    desk.mail.reply(notice, "approved")
    assert (await desk.request()).status == "pending"
    assert len(desk.mail.sent) == 3

    await desk.client.hitl.reassign(request_id=request.request_id, assignees=["new@acme.example"])
    assert (await desk.request()).undelivered == ""
    assert (await desk.client.health()).unreached == {}
    desk.mail.reply(desk.mail.sent[-1], "approved")
    assert (await desk.request()).status == "approved"


async def test_the_notice_says_when_the_request_has_ended_meanwhile(desk: Desk) -> None:
    """It may be sent later than it was queued."""
    mails = await desk.ask()
    desk.mail.error = NotifyError("the server is away", permanent=False)
    desk.mail.bounce(mails[ANN])
    request = await desk.request()
    await desk.client.hitl.approve(request_id=request.request_id, reviewer=ANN, reason="")
    desk.mail.error = None
    desk.clock.advance(timedelta(hours=1))
    await desk.client.drain()

    assert "By now the request is approved" in text_of(desk.mail.sent[-1])


@pytest.mark.parametrize("other", [None, ANN])
async def test_nobody_else_is_told_where_nobody_else_is_named(other: str | None) -> None:
    """Audit and health say it all the same."""
    async with a_desk(policy=Policy(assign_to_email=other)) as desk:
        mails = await desk.ask()
        desk.mail.bounce(mails[ANN])
        request = await desk.request()

        assert [told["event"] for told in desk.told()] == ["request.undelivered"]
        assert request.request_id in (await desk.client.health()).unreached
        assert len(desk.mail.sent) == 1


async def test_a_mail_that_the_server_refuses_at_once_is_told_of_likewise(desk: Desk) -> None:
    """Whether it comes back or never leaves is all the same to who waits."""
    desk.mail.error = NotifyError("550 no such mailbox", permanent=True)
    await desk.client.flows.start(Pair)
    await desk.client.drain()
    desk.mail.error = None
    request = await desk.request()

    assert request.undelivered == "550 no such mailbox; 550 no such mailbox"
    assert [(told["event"], told["came_back"]) for told in desk.told()] == [
        ("request.delivery_failed", False),
        ("request.undelivered", False),
    ]
    assert (await desk.client.health()).came_back == {}


async def test_a_request_that_somebody_saw_elsewhere_is_not_undelivered() -> None:
    """The terminal reached them."""
    mail = MemoryMail()
    console = ConsoleNotifier(StringIO())
    async with Client(notifiers=[mail, console], inbox=mail) as client:
        await client.flows.start(Single)
        await client.drain()
        mail.bounce(mail.sent[0])
        await client.drain()
        (request,) = await client.hitl.list_requests()

        assert request.undelivered == ""
        assert (await client.health()).unreached == {}


async def test_a_bounce_after_the_decision_is_recorded_and_nothing_more(desk: Desk) -> None:
    """An alias may deliver to one and bounce for another."""
    mails = await desk.ask()
    desk.mail.reply(mails[ANN], "approved")
    await desk.request()
    desk.mail.bounce(mails[ANN])
    request = await desk.request()

    assert (request.status, request.undelivered) == ("approved", "")
    assert (await desk.to(ANN)).status == "failed"
    assert desk.told()[-1]["event"] == "request.delivery_failed"
    assert LEAD not in [mail["To"] for mail in desk.mail.sent]


async def test_a_mail_that_came_back_may_still_be_answered(desk: Desk) -> None:
    """The token is as good as before: a false report takes nothing from the reviewer."""
    mails = await desk.ask()
    desk.mail.bounce(mails[ANN])
    await desk.request()
    desk.mail.reply(mails[ANN], "rejected")

    assert (await desk.request()).status == "rejected"


# What is forged.


async def forged_addresses(desk: Desk) -> dict[str, str]:
    """Return addresses that look like the one that bounces go to."""
    delivery = await desk.to(ANN)
    keyring = desk.client._machinery.hitl._at.keyring
    genuine = bounce_token(keyring, delivery)
    binding = DeliveryBinding(
        delivery_id=delivery.delivery_id,
        request_id=delivery.request_id,
        recipient=BEN,
        notifier=delivery.notifier,
    )
    raw = bytes_of(delivery.delivery_id)
    stranger = Keyring.generate()
    return {
        "none": "approvals@signoff.example",
        "last letter": genuine[:-1] + ("a" if genuine[-1] != "a" else "b"),
        "another id": genuine[:6] + ("a" if genuine[6] != "a" else "b") + genuine[7:],
        "another key": bounce_token(stranger, delivery),
        "another recipient": mint(keyring, token_id=raw, purpose="bounce", binding=binding),
        "another purpose": mint(keyring, token_id=raw, purpose="link", binding=binding),
        "shorter": genuine[1:],
    }


@pytest.mark.parametrize(
    "forgery",
    [
        "none",
        "last letter",
        "another id",
        "another key",
        "another recipient",
        "another purpose",
        "shorter",
    ],
)
async def test_a_forged_bounce_changes_nothing(desk: Desk, forgery: str) -> None:
    """Requirement 11: it is not ours: left where it lies, and only counted."""
    mails = await desk.ask()
    made = (await forged_addresses(desk))[forgery]
    del mails[ANN]["Return-Path"]
    mails[ANN]["Return-Path"] = made if "@" in made else f"<approvals+{made}@signoff.example>"
    desk.mail.bounce(mails[ANN])
    request = await desk.request()

    assert (request.version, request.undelivered) == (1, "")
    assert (await desk.to(ANN)).status == "sent"
    assert desk.mail.put_away == []
    inbox = (await desk.client.health()).inbox
    assert inbox is not None
    assert inbox.ignored["no token"] == 1


async def test_a_report_to_the_reply_address_is_automatic_mail_like_any_other(desk: Desk) -> None:
    """Requirement 11: some servers report to whom the mail names, and not to its envelope."""
    mails = await desk.ask()
    del mails[ANN]["Return-Path"]
    mails[ANN]["Return-Path"] = str(mails[ANN]["Reply-To"])
    desk.mail.bounce(mails[ANN])
    request = await desk.request()

    assert (request.status, request.undelivered) == ("pending", "")
    assert (await desk.to(ANN)).status == "sent"
    assert desk.mail.put_away == ["1"]


async def test_a_bounce_of_a_mail_of_another_client_is_left_to_it(store: Watched) -> None:
    """Two applications share a mailbox and a store; each knows its own notifiers only."""
    async with a_desk(store) as desk:
        mails = await desk.ask()
        theirs = MemoryMail(name="theirs")
        async with Client(store, notifiers=[theirs], inbox=desk.mail) as other:
            desk.mail.bounce(mails[ANN])
            assert (await other.drain()).received == 1
            assert desk.mail.put_away == []
        assert (await desk.to(ANN)).status == "sent"


async def test_no_token_of_a_bounce_is_in_any_log_or_row(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    """Servers repeat the addresses in their words."""
    caplog.set_level(logging.DEBUG)
    mails = await desk.ask()
    address = str(mails[ANN]["Return-Path"]).strip("<>")
    desk.mail.receive(
        sample("postfix-unknown-user", mails[ANN]).replace(b"unknown in", address.encode())
    )
    await desk.request()

    token = address.partition("+")[2].partition("@")[0]
    failed = await desk.to(ANN)
    assert "<token>" in failed.last_error
    assert token not in caplog.text + failed.last_error


# At the same time.


async def test_a_report_waits_while_a_sender_has_the_delivery(desk: Desk, store: Watched) -> None:
    """Its row is the sender's own; afterwards the same message is read again."""
    mails = await desk.ask()
    sent = await desk.to(ANN)
    claim = await store.claim(sent.delivery_id)
    assert claim is not None
    taken = claim.fencing + 1
    lease = desk.client._machinery.keeper.lease
    await store.commit(
        Changes(claims=(Acquire(subject=sent.delivery_id, holder="x", fencing=taken, lease=lease),))
    )
    desk.mail.bounce(mails[ANN])
    report = await desk.client.drain()
    assert "holds a live claim" in report.errors["mail"]
    assert (await store.delivery(sent.delivery_id)).status == "sent"

    await store.commit(
        Changes(claims=(Release(subject=sent.delivery_id, holder="x", fencing=taken),))
    )
    assert (await desk.request()).undelivered
    failed = await desk.to(ANN)
    after = await store.claim(sent.delivery_id)
    assert after is not None
    assert (failed.status, after.live, after.fencing) == ("failed", False, taken + 1)


async def test_a_decision_at_the_same_instant_loses_nothing(desk: Desk, store: Watched) -> None:
    """The report is recorded over the request as it then stands."""
    mails = await desk.ask()
    request = await desk.request()

    async def decide() -> None:
        await desk.client.hitl.reject(request_id=request.request_id, reason="No", reviewer=ANN)

    store.meddles = decide
    desk.mail.bounce(mails[ANN])
    request = await desk.request()

    assert (request.status, request.undelivered) == ("rejected", "")
    assert (await desk.to(ANN)).status == "failed"
    assert [told["event"] for told in desk.told()] == [
        "request.rejected",
        "request.delivery_failed",
    ]


async def test_a_message_that_is_handled_at_the_same_instant_is_handled_once(
    desk: Desk, store: Watched
) -> None:
    """Two processes read one mailbox."""
    mails = await desk.ask()

    async def handle() -> None:
        poller = desk.client._machinery.poller
        assert poller is not None
        await poller.poll()

    store.meddles = handle
    desk.mail.bounce(mails[ANN])
    await desk.request()

    assert [told["event"] for told in desk.told()] == ["request.undelivered"]
    desk.mail.receive(desk.mail._incoming[0].raw)
    await desk.request()
    assert len(desk.told()) == 1


async def test_a_request_that_cannot_be_written_does_not_stop_the_inbox(
    desk: Desk, store: Watched
) -> None:
    """Its chain was damaged; the delivery is recorded, and the next message is read."""
    mails = await desk.ask()
    request = await desk.request()
    store.locked = request.request_id
    desk.mail.bounce(mails[ANN])
    report = await desk.client.drain()

    assert report.errors == {}
    assert (await desk.to(ANN)).status == "failed"
    assert desk.told() == []


async def test_a_request_whose_seal_is_broken_is_not_built_on(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    """The delivery is recorded, and the run is told of the forgery."""
    mails = await desk.ask()
    request = await desk.client._store.request((await desk.request()).request_id)
    forged = request.model_copy(update={"version": request.version + 1, "message": "Sell?"})
    await desk.client._store.commit(Changes(requests=(forged,)))
    desk.mail.bounce(mails[ANN])
    await desk.client.drain()

    assert "its request's seal is invalid" in caplog.text
    (sent,) = await desk.client.hitl.deliveries(request_id=request.request_id)
    assert sent.status == "failed"
    run = await desk.client.flows.get(request.run_id)
    assert (run.status, run.blocked_reason) == ("blocked", "seal_invalid")


async def test_it_is_the_same_over_sqlite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Claim, row, request, audit entry and notice in one commit."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    async with a_desk(SQLiteStore(tmp_path / "signoff.db")) as desk:
        mails = await desk.ask()
        desk.mail.bounce(mails[ANN])
        request = await desk.request()

        assert request.undelivered
        assert (await desk.to(ANN)).status == "failed"
        assert desk.mail.sent[-1]["To"] == LEAD


async def test_a_mail_that_came_back_is_not_sent_again(desk: Desk) -> None:
    """The server had taken it, though its answer was lost, and the sender meant to try again."""
    desk.mail.error = NotifyError("no answer in time", permanent=False)
    await desk.client.flows.start(Single)
    await desk.client.drain()
    waiting = await desk.to(ANN)
    assert waiting.status == "waiting"
    token = bounce_token(desk.client._machinery.hitl._at.keyring, waiting)
    lost = EmailMessage()
    lost["To"], lost["Return-Path"] = ANN, f"<approvals+{token}@signoff.example>"
    desk.mail.bounce(lost, action="delayed")
    await desk.request()
    assert await desk.to(ANN) == waiting

    desk.mail.bounce(lost)
    await desk.request()
    failed = await desk.to(ANN)
    assert (failed.status, failed.sent_at) == ("failed", waiting.created_at)
    assert desk.mail.sent == []
