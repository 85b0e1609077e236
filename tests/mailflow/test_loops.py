"""Automatic mail decides nothing, strangers hear nothing, and loops end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from email.message import EmailMessage

import pytest

from signoff import Client, Flow, human_feedback, start
from signoff.model.delivery import Delivery
from signoff.model.request import Request
from signoff.replies import ANSWERS_PER_REQUEST, COMMENTS_PER_REQUEST
from signoff.testing import ManualClock, MemoryMail

ANN = "ann@acme.example"
PING_PONG = 1_000


class Ask(Flow, name="loops.ask"):
    """A question to one person."""

    @start()
    @human_feedback(
        message="Publish?",
        emit=["approved", "rejected"],
        assign_to_email=ANN,
    )
    def draft(self) -> str:
        """Return what is asked about."""
        return "Spring sale"


class Desk:
    """A client and its mailbox."""

    def __init__(self, client: Client, mail: MemoryMail) -> None:
        self.client, self.mail = client, mail

    async def ask(self) -> EmailMessage:
        """Start a flow, and return the mail that asks."""
        await self.client.flows.start(Ask, requester="agent-7")
        await self.client.drain()
        return self.mail.sent[-1]

    async def request(self) -> Request:
        """Let the client work, and return the request."""
        await self.client.drain()
        (request,) = await self.client.hitl.list_requests()
        return request

    def receive(self, asked: EmailMessage, text: str, *headers: str, to: str = "") -> None:
        """Put a mail of the reviewer's into the inbox, with exactly these headers besides."""
        number = len(self.mail._incoming)
        usual = (
            f"To: {to or asked['Reply-To']}",
            f"Message-ID: <{number}@acme.example>",
            f"In-Reply-To: {asked['Message-ID']}",
        )
        named = any(header.startswith("From:") for header in headers)
        sender = () if named else (f"From: {ANN}",)
        self.mail.receive("\n".join((*headers, *sender, *usual, "", text, "")).encode())


@pytest.fixture(name="desk")
async def _desk() -> AsyncIterator[Desk]:
    mail = MemoryMail()
    async with Client(notifiers=[mail], inbox=mail, clock=ManualClock()) as client:
        yield Desk(client, mail)


AUTOMATIC = {
    "out of office, Exchange": ("Auto-Submitted: auto-generated", "X-Auto-Response-Suppress: All"),
    "vacation, Sieve": ("Auto-Submitted: auto-replied (vacation)",),
    "vacation, Gmail": ("Auto-Submitted: auto-replied", "Precedence: bulk", "X-Autoreply: yes"),
    "vacation, old": ("Precedence: auto_reply",),
    "autoresponder, cPanel": ("X-Autorespond: Publish?",),
    "the empty path": ("Return-Path: <>",),
    "a list": ("List-Id: <all.acme.example>",),
    "a list, old": ("Precedence: list",),
    "bulk": ("Precedence: bulk",),
    "junk": ("Precedence: junk",),
    "a delivery report": ("Content-Type: multipart/report; boundary=b",),
    "failed recipients": ("X-Failed-Recipients: ann@acme.example",),
    "a mail server": ("From: MAILER-DAEMON@acme.example",),
    "a postmaster": ("From: Postmaster <postmaster@acme.example>",),
    "a reaction": ("Content-Type: text/vnd.google.email-reaction+json",),
    "our own address": ("From: approvals@signoff.example",),
    "our own address with a token": ("From: approvals+abc@signoff.example",),
}


@pytest.mark.parametrize("name", AUTOMATIC)
async def test_automatic_mail_neither_decides_nor_is_answered(desk: Desk, name: str) -> None:
    """Requirement 11: though it comes to the right address and says `approved`."""
    asked = await desk.ask()
    desk.receive(asked, "approved", *AUTOMATIC[name])
    request = await desk.request()

    assert (request.status, request.version, request.comments) == ("pending", 1, ())
    assert len(desk.mail.sent) == 1
    assert desk.mail.put_away == ["1"]


@pytest.mark.parametrize("to", ["reply", "bounce", "plain"])
async def test_a_thousand_automatic_replies_send_nothing(desk: Desk, to: str) -> None:
    """Requirement 11: ping-pong with a machine that says so, wherever it writes to."""
    asked = await desk.ask()
    address = {
        "reply": str(asked["Reply-To"]),
        "bounce": str(asked["Return-Path"]).strip("<>"),
        "plain": "approvals@signoff.example",
    }[to]
    for _ in range(PING_PONG):
        desk.receive(asked, "approved", "Auto-Submitted: auto-replied", to=address)
    request = await desk.request()

    assert (request.status, request.version) == ("pending", 1)
    assert len(desk.mail.sent) == 1


async def test_a_thousand_replies_of_a_machine_that_hides_send_one_mail(desk: Desk) -> None:
    """Requirement 11: one explanation, which machines do not answer; and no store is filled."""
    asked = await desk.ask()
    for _ in range(PING_PONG):
        desk.receive(asked, "I am out of the office until Monday.")
    request = await desk.request()

    assert request.status == "pending"
    assert len(desk.mail.sent) == 2
    answer = desk.mail.sent[1]
    assert answer["To"] == ANN
    assert answer["Auto-Submitted"] == "auto-replied"
    assert answer["X-Auto-Response-Suppress"] == "All"
    assert answer["Return-Path"] == "<>"
    assert len(request.comments) == COMMENTS_PER_REQUEST
    assert len(desk.mail.put_away) == PING_PONG


@pytest.mark.parametrize(
    "sender", ["mallory@evil.example", "ann@home.example", "ann+phone@acme.example"]
)
async def test_a_forwardee_hears_nothing_and_the_reviewer_once(desk: Desk, sender: str) -> None:
    """Requirement 15: whoever answers from another account, the one who was asked is told why."""
    asked = await desk.ask()
    for _ in range(5):
        desk.receive(asked, "approved", f"From: {sender}")
    request = await desk.request()

    assert (request.status, request.comments) == ("pending", ())
    assert [mail["To"] for mail in desk.mail.sent] == [ANN, ANN]
    assert sender not in desk.mail.sent[1].as_string()


async def test_two_machines_in_one_loop_end_after_five_explanations(desk: Desk) -> None:
    """Requirement 11: one for each reason, five for each request, however the reasons change."""
    asked = await desk.ask()
    texts = ["", "what?", "approved\nrejected", "approved"]
    for number in range(200):
        sender = ANN if number % 3 else "mallory@evil.example"
        desk.receive(asked, texts[number % 3], f"From: {sender}")
    desk.receive(asked, "rejected")
    for _ in range(50):
        desk.receive(asked, "approved")
    request = await desk.request()

    assert request.status == "rejected"
    explained = [mail for mail in desk.mail.sent if "Your reply decided nothing" in str(mail)]
    reasons = {one.note["reason"] for one in await explanations(desk, request)}
    assert len(explained) == len(reasons) <= ANSWERS_PER_REQUEST
    assert {mail["To"] for mail in desk.mail.sent} == {ANN}


async def explanations(desk: Desk, request: Request) -> list[Delivery]:
    """Return the deliveries that explain."""
    sent = await desk.client.hitl.deliveries(request_id=request.request_id)
    return [one for one in sent if one.kind == "refusal"]
