"""A whole approval by mail over Dovecot and Postfix, with TLS, IDLE and a server that is killed."""

from __future__ import annotations

import email
import email.policy
import re
import smtplib
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from datetime import timedelta
from email.message import EmailMessage
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import anyio
import pytest
from anyio import to_thread
from anyio.lowlevel import checkpoint

from signoff import Client, Flow, HumanFeedbackResult, human_feedback, listen, start
from signoff.errors import InboxError
from signoff.inboxes import IMAPInbox
from signoff.notifiers import SMTPNotifier
from signoff.security.keyring import Keyring
from signoff.stores import SQLiteStore

if TYPE_CHECKING:
    from tests.mail_servers import RealServers

BRAND: Final = "brand@acme.example"
APPROVALS: Final = "approvals@acme.example"
LONG: Final = timedelta(hours=1)
"""Between two polls, in tests where something else has to bring the reply."""
WAIT: Final = timedelta(seconds=30)


class Review(Flow, name="servers.review"):
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


@pytest.fixture
def anyio_backend() -> str:
    """Run on asyncio: aiosmtplib knows nothing else."""
    return "asyncio"


def an_inbox(servers: RealServers, username: str, **options: Any) -> IMAPInbox:
    """Return an inbox over Dovecot, with TLS from the first byte."""
    usual: dict[str, Any] = {
        "port": servers.imaps_port,
        "password": servers.password,
        "tls_context": servers.client,
    }
    return IMAPInbox(servers.host, username=username, **(usual | options))


@dataclass(slots=True)
class Office:
    """
    A client that serves, the servers between it and the reviewer, and the reviewer's mailbox.

    Attributes:
        client: The client.
        servers: The servers.
        mails: The reviewer's mailbox.
    """

    client: Client
    servers: RealServers
    mails: IMAPInbox
    mark: str | None = None

    async def read(self) -> EmailMessage:
        """Return the next mail that the reviewer gets."""
        with anyio.fail_after(WAIT.total_seconds()):
            while not (batch := await self.mails.fetch(self.mark)).messages:
                self.mark = batch.mark
                await self.mails.wait_for_news(WAIT.total_seconds())
        (message,) = batch.messages
        self.mark = batch.mark
        parsed = email.message_from_bytes(message.raw, policy=email.policy.default)
        assert isinstance(parsed, EmailMessage)
        return parsed

    async def has_polled(self) -> None:
        """Return once the client has looked into its mailbox; from then on it waits for news."""
        with anyio.fail_after(WAIT.total_seconds()):
            while (inbox := (await self.client.health()).inbox) is None or not inbox.last_success:
                await checkpoint()

    async def answer(self, mail: EmailMessage, text: str) -> None:
        """Reply as the reviewer, by SMTP."""
        reply = EmailMessage()
        reply["From"], reply["To"] = BRAND, str(mail["Reply-To"])
        reply["Subject"] = f"Re: {mail['Subject']}"
        reply["In-Reply-To"] = str(mail["Message-ID"])
        quoted = re.sub("^", "> ", text_of(mail), flags=re.MULTILINE)
        reply.set_content(f"{text}\n\nOn Monday, {mail['From']} wrote:\n{quoted}\n")
        await to_thread.run_sync(self._send, reply)

    def _send(self, mail: EmailMessage) -> None:
        with smtplib.SMTP(self.servers.host, self.servers.smtp_port) as smtp:
            smtp.starttls(context=self.servers.client)
            smtp.send_message(mail)


def text_of(mail: EmailMessage) -> str:
    """Return the plain text of a mail."""
    part = mail.get_body(("plain",))
    assert part is not None
    text: str = part.get_content()
    return text


@pytest.fixture(name="office")
async def _office(
    servers: RealServers, tmp_path: Path, request: pytest.FixtureRequest
) -> AsyncIterator[Office]:
    """Serve, with an inbox that takes the options of the test's parameter."""
    options: dict[str, Any] = getattr(request, "param", {"idle": True, "poll_interval": LONG})
    client = Client(
        SQLiteStore(tmp_path / "signoff.db", synchronous="NORMAL"),
        notifiers=[
            SMTPNotifier(
                servers.host,
                servers.smtp_port,
                sender=f"Acme approvals <{APPROVALS}>",
                reply_to=APPROVALS,
                tls="starttls",
                tls_context=servers.client,
            )
        ],
        inbox=an_inbox(servers, APPROVALS, trusted_server=servers.trusted, **options),
        keyring=Keyring.generate(),
    )
    mails = an_inbox(servers, BRAND)
    async with aclosing(mails), client, client.serving():
        yield Office(client, servers, mails)


@pytest.mark.parametrize(
    "office",
    [
        {"idle": True, "poll_interval": LONG},
        {"idle": False, "poll_interval": timedelta(seconds=1)},
    ],
    ids=["IDLE", "polling"],
    indirect=True,
)
async def test_an_approval_goes_all_the_way(office: Office) -> None:
    """Asked, answered, confirmed; with IDLE nobody waits for the next poll, an hour away."""
    run = await office.client.flows.start(Review, requester="agent-7")
    asked = await office.read()
    assert asked["To"] == BRAND

    await office.answer(asked, "approved\n\nGrüße, and go ahead")
    run = await office.client.flows.wait(run.run_id, timeout=WAIT)
    confirmation = await office.read()

    assert run.output == "published: Spring sale: 20 % off – until Sunday. (Grüße, and go ahead)"
    (request,) = await office.client.hitl.list_requests()
    vote = request.decisions[0]
    assert (vote.reviewer, vote.channel, vote.proof) == (BRAND, "email", "authenticated")
    assert confirmation["In-Reply-To"] == asked["Message-ID"]


@pytest.mark.parametrize(
    "office",
    [
        {"idle": True, "poll_interval": LONG},
        {"idle": False, "poll_interval": timedelta(seconds=1)},
    ],
    ids=["IDLE", "polling"],
    indirect=True,
)
async def test_a_reply_that_came_in_while_the_server_was_dead_is_handled(office: Office) -> None:
    """Requirement 3: killed in the middle of the wait, started again; nobody helps the inbox on."""
    servers = office.servers
    run = await office.client.flows.start(Review, requester="agent-7")
    asked = await office.read()
    await office.mails.aclose()
    await office.has_polled()
    before = servers.logins()

    await to_thread.run_sync(servers.kill_dovecot)
    await office.answer(asked, "approved")
    reply = await to_thread.run_sync(servers.wait_for_delivery, APPROVALS)
    await to_thread.run_sync(servers.start_dovecot)
    run = await office.client.flows.wait(run.run_id, timeout=WAIT)

    assert b"Delivered-To: approvals+" in reply
    assert run.output == "published: Spring sale: 20 % off – until Sunday. (approved)"
    assert servers.logins() > before
    # Nothing is left on its way into the mailboxes of the next test.
    confirmation = await office.read()
    assert confirmation["In-Reply-To"] == asked["Message-ID"]


@pytest.mark.parametrize("idle", [True, False], ids=["aioimaplib", "imaplib"])
@pytest.mark.parametrize("tls", ["implicit", "starttls"])
async def test_a_wrong_password_is_told_within_ten_seconds(
    servers: RealServers, tls: Literal["implicit", "starttls"], idle: bool
) -> None:
    """The error says that it was the login, and repeats no password."""
    port = servers.imaps_port if tls == "implicit" else servers.imap_port
    async with aclosing(
        an_inbox(servers, APPROVALS, password="not this", tls=tls, port=port, idle=idle)
    ) as inbox:
        with anyio.fail_after(10), pytest.raises(InboxError) as caught:
            await inbox.fetch(None)

    assert caught.value.login_failed
    assert "not this" not in str(caught.value)


async def test_what_postfix_says_of_an_undelivered_mail_finds_its_delivery(
    office: Office,
) -> None:
    """Requirement 11: a real report, by the envelope sender's own address, token and all."""
    hitl = office.client.hitl
    request = await hitl.request("Shall we?", payload=1, assignees=["gone@acme.example"])

    with anyio.fail_after(WAIT.total_seconds()):
        while not (unreached := (await office.client.health()).unreached):
            await checkpoint()

    assert "there is no such mailbox" in unreached[request.request_id]
    assert (await hitl.get_request(request.request_id)).status == "pending"
