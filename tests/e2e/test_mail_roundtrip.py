"""The whole way over real SMTP and IMAP servers on loopback: out, in, and what a forger achieves."""

from __future__ import annotations

import smtplib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from anyio import to_thread

from signoff import Client, Flow, HumanFeedbackResult, human_feedback, listen, start
from signoff.inboxes import IMAPInbox
from signoff.model.request import Request
from signoff.notifiers import SMTPNotifier
from signoff.security.keyring import Keyring
from signoff.stores import SQLiteStore

BRAND = "brand@acme.example"
TRUSTED = "mx.acme.example"
PASS = b"Authentication-Results: mx.acme.example; dmarc=pass header.from=acme.example\r\n"
FAIL = b"Authentication-Results: mx.acme.example; dmarc=fail header.from=acme.example\r\n"
ELSEWHERE = b"Authentication-Results: mx.evil.example; dmarc=pass header.from=acme.example\r\n"
MISALIGNED = b"Authentication-Results: mx.acme.example; dmarc=pass header.from=evil.example\r\n"


class Review(Flow, name="e2e.review"):
    """One gate, and what comes of it."""

    @start()
    @human_feedback(
        message="Shall we publish this?",
        emit=["approved", "rejected"],
        risk="high",
        assign_to_email=BRAND,
    )
    def draft(self) -> str:
        """Return what is asked about."""
        return "Spring sale: 20 % off – until Sunday."

    @listen("approved")
    def publish(self, result: HumanFeedbackResult) -> str:
        """Return what was said."""
        return f"published: {result.output} ({result.feedback})"

    @listen("rejected")
    def drop(self, result: HumanFeedbackResult) -> str:
        """Return what was said."""
        return f"dropped: {result.feedback}"


@dataclass(slots=True)
class Office:
    """
    A client, the servers between it and the reviewer, and the reviewer.

    Attributes:
        client: The client, open.
        server: The mail servers.
        reviewer: What the demo's reviewer can do.
    """

    client: Client
    server: Any
    reviewer: ModuleType

    async def ask(self) -> EmailMessage:
        """Start a flow, and return the mail that the reviewer finds."""
        await self.client.flows.start(Review, requester="agent-7")
        report = await self.client.drain()
        assert report.errors == {}
        return await self.read()

    async def read(self) -> EmailMessage:
        """Return the newest mail in the reviewer's mailbox, by IMAP."""
        found = await to_thread.run_sync(
            self.reviewer.newest_mail,
            self.server.host,
            self.server.imap_port,
            "brand",
            self.server.password,
        )
        assert isinstance(found, EmailMessage)
        return found

    async def answer(self, mail: EmailMessage, text: str) -> Request:
        """Reply as the reviewer, by SMTP, and return the request as it then stands."""
        await to_thread.run_sync(
            self.reviewer.answer, mail, text, self.server.host, self.server.smtp_port
        )
        return await self.now()

    async def now(self) -> Request:
        """Let the client work, and return the request."""
        report = await self.client.drain()
        assert report.errors == {}
        (request,) = await self.client.hitl.list_requests()
        return request


@pytest.fixture(name="keyring")
def _keyring() -> Keyring:
    return Keyring.generate()


def a_client(server: Any, path: Path, keyring: Keyring, *, password: str | None = None) -> Client:
    """Return a client between these servers."""
    return Client(
        SQLiteStore(path, synchronous="NORMAL"),
        notifiers=[
            SMTPNotifier(
                server.host,
                server.smtp_port,
                sender="Acme approvals <approvals@acme.example>",
                reply_to="approvals@acme.example",
                tls="none",
            )
        ],
        inbox=IMAPInbox(
            server.host,
            server.imap_port,
            username="approvals",
            password=password or server.password,
            tls="none",
            trusted_server=TRUSTED,
        ),
        keyring=keyring,
    )


@pytest.fixture(name="office")
async def _office(
    server: Any, reviewer: ModuleType, tmp_path: Path, keyring: Keyring
) -> AsyncIterator[Office]:
    async with a_client(server, tmp_path / "signoff.db", keyring) as client:
        yield Office(client, server, reviewer)


async def test_an_approval_goes_all_the_way_by_mail(office: Office) -> None:
    """Asked, answered, confirmed; the run goes on with exactly what was approved."""
    asked = await office.ask()
    assert asked["To"] == BRAND
    assert str(asked["Subject"]).endswith("Shall we publish this?")
    assert "Spring sale: 20 % off – until Sunday." in office.reviewer.text_of(asked)

    office.server.stamp = PASS
    request = await office.answer(asked, "approved\n\nGrüße, and go ahead")

    assert (request.status, request.feedback) == ("approved", "Grüße, and go ahead")
    vote = request.decisions[0]
    assert (vote.reviewer, vote.channel, vote.proof) == (BRAND, "email", "authenticated")
    run = await office.client.flows.get(request.run_id)
    assert run.output == "published: Spring sale: 20 % off – until Sunday. (Grüße, and go ahead)"
    confirmation = await office.read()
    assert confirmation["In-Reply-To"] == asked["Message-ID"]
    assert confirmation["Auto-Submitted"] == "auto-replied"
    assert "approved" in office.reviewer.text_of(confirmation)


async def test_a_refusal_goes_all_the_way_by_mail(office: Office) -> None:
    """The first line decides, and what stands below the blank line is why."""
    office.server.stamp = PASS
    request = await office.answer(await office.ask(), "rejected\n\nwrong price on page 2")

    assert (request.outcome, request.feedback) == ("rejected", "wrong price on page 2")
    run = await office.client.flows.get(request.run_id)
    assert run.output == "dropped: wrong price on page 2"


@pytest.mark.parametrize(
    ("stamp", "forged"),
    [
        (b"", b""),
        (ELSEWHERE, b""),
        (FAIL, b""),
        (FAIL, PASS),
        (b"", ELSEWHERE + PASS),
        (MISALIGNED, b""),
    ],
    ids=["no header", "foreign id", "failed", "forged below", "forged under another", "misaligned"],
)
async def test_a_forged_sender_with_a_genuine_token_decides_nothing(
    office: Office, stamp: bytes, forged: bytes
) -> None:
    """Somebody has the mail, and writes as the reviewer; the trusted server does not vouch."""
    asked = await office.ask()
    office.server.stamp = stamp
    await to_thread.run_sync(forge, office.server, asked, forged)
    request = await office.now()
    assert (request.status, request.decisions) == ("pending", ())
    told = office.reviewer.text_of(await office.read())
    assert "does not prove well enough" in " ".join(told.split())

    office.server.stamp = PASS
    genuine = await office.answer(asked, "approved")
    assert genuine.status == "approved"


def forge(server: Any, asked: EmailMessage, headers: bytes) -> None:
    """Send an approval in the reviewer's name from somewhere else."""
    reply = (
        headers
        + f"From: {BRAND}\r\nTo: {asked['Reply-To']}\r\nSubject: Re: {asked['Subject']}\r\n"
        f"Message-ID: <forged@evil.example>\r\n\r\napproved\r\n".encode()
    )
    with smtplib.SMTP(server.host, server.smtp_port) as smtp:
        smtp.sendmail("mallory@evil.example", [str(asked["Reply-To"])], reply)


async def test_a_stranger_who_writes_to_the_address_hears_nothing(office: Office) -> None:
    """The reviewer does, once; the token decides nothing in other hands."""
    asked = await office.ask()
    office.server.stamp = PASS.replace(b"acme.example\r", b"evil.example\r")
    for _ in range(2):
        reply = EmailMessage()
        reply["From"] = "mallory@evil.example"
        reply["To"] = str(asked["Reply-To"])
        reply.set_content("approved")
        await to_thread.run_sync(send, office.server, reply)
        assert (await office.now()).status == "pending"

    assert "another address" in office.reviewer.text_of(await office.read())
    health = await office.client.health()
    assert health.failed_deliveries == 0


def send(server: Any, mail: EmailMessage) -> None:
    """Send a mail by SMTP."""
    with smtplib.SMTP(server.host, server.smtp_port) as smtp:
        smtp.send_message(mail)


async def test_a_mail_to_nobody_is_reported_and_not_tried_for_ever(office: Office) -> None:
    """The server says that there is no such mailbox."""
    request = await office.client.hitl.request("?", payload=1, assignees=["nobody@acme.example"])
    await office.client.drain()

    health = await office.client.health()
    assert health.failed_deliveries == 1
    assert "there is no nobody here" in health.unreached[request.request_id]


async def test_a_wrong_imap_password_shows_in_health_and_again_after_a_restart(
    server: Any, tmp_path: Path, keyring: Keyring
) -> None:
    """Within one poll each time; mails go out all the same."""
    for _ in range(2):
        client = a_client(server, tmp_path / "signoff.db", keyring, password="wrong")
        async with client:
            report = await client.drain()
            assert "InboxError" in report.errors["imap"]
            health = await client.health()
            assert health.inbox is not None
            assert health.inbox.last_error
            assert health.inbox.last_success is None

    async with a_client(server, tmp_path / "signoff.db", keyring) as client:
        assert (await client.drain()).errors == {}
        health = await client.health()
        assert health.inbox is not None
        assert (health.inbox.last_error, health.inbox.last_success is not None) == ("", True)


async def test_a_reply_to_a_mail_of_before_a_rotation_decides(
    server: Any, reviewer: ModuleType, tmp_path: Path, keyring: Keyring
) -> None:
    """The old key still verifies."""
    path = tmp_path / "signoff.db"
    async with a_client(server, path, keyring) as client:
        asked = await Office(client, server, reviewer).ask()

    server.stamp = PASS
    async with a_client(server, path, keyring.rotated({1})) as client:
        office = Office(client, server, reviewer)
        assert (await office.answer(asked, "approved")).status == "approved"
