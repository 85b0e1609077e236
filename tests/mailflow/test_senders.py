"""Who a reply is from, with a genuine token in its address: only the very one who was asked decides."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.message import EmailMessage

import pytest

from signoff import Client, Flow, human_feedback, start
from signoff.model.request import Request
from signoff.testing import ManualClock, MemoryMail

ALICE = "alice@corp.example"
SERVER = "mx.acme.example"
PASS = "dmarc=pass header.from=corp.example"

HOSTILE_FROM = [
    "",
    "Alice",
    "Alice <>",
    "alice@corp.example <mallory@evil.example>",
    "<alice@corp.example> <mallory@evil.example>",
    "<alice@corp.example> mallory@evil.example",
    "alice@corp.example)<mallory@evil.example>",
    "alice@corp.example, mallory@evil.example",
    "mallory@evil.example, alice@corp.example",
    "alice@corp.example; mallory@evil.example",
    "alice@corp.example mallory@evil.example",
    "Alice: alice@corp.example;",
    "alice@corp.example (mallory@evil.example)",
    "(comment) alice@corp.example",
    "Alice (the boss) <alice@corp.example>",
    '"alice@corp.example" <mallory@evil.example>',
    '"Alice <alice@corp.example>" <mallory@evil.example>',
    "=?utf-8?q?alice=40corp.example?= <mallory@evil.example>",
    '"alice"@corp.example',
    '"alice@evil.example"@corp.example',
    '"Alice <alice@corp.example>',
    "Alice <alice@corp.example",
    "Alice <<alice@corp.example>>",
    "Alice <@evil.example:alice@corp.example>",
    "Alice <alice@corp.example> trailing",
    "Alice \\<mallory@evil.example> <alice@corp.example>",
    "alice@corp.example@evil.example",
    "alice@evil.example@corp.example",
    "alice@corp.example.evil.example",
    "alice@sub.corp.example",
    "alice+x@corp.example",
    "al.ice@corp.example",
    "alice@\u0441orp.example",
    "alic\u0435@corp.example",
    "alice@xn--orp-3ed.example",
    "alice@[127.0.0.1]",
    "\x00alice@corp.example",
    "alice@corp.example\nFrom: alice@corp.example",
    "mallory@evil.example\nFrom: alice@corp.example",
    "mallory@evil.example\nSender: alice@corp.example",
    "mallory@evil.example\nReply-To: alice@corp.example",
    "mallory@evil.example\nReturn-Path: <alice@corp.example>",
]


class Ask(Flow, name="senders.ask"):
    """A question to one person."""

    @start()
    @human_feedback(message="Publish?", emit=["approved", "rejected"], assign_to_email=ALICE)
    def draft(self) -> str:
        """Return what is asked about."""
        return "Spring sale"


class Desk:
    """A client and its mailbox."""

    def __init__(self, client: Client, mail: MemoryMail) -> None:
        self.client, self.mail = client, mail
        self.asked = EmailMessage()

    async def hear(self, sender: str, *results: str) -> Request:
        """Approve with this text behind `From: `, and return the request as it then stands."""
        headers = [f"Authentication-Results: {one}" for one in results]
        number = len(self.mail._incoming)
        fields = (
            *headers,
            f"From: {sender}",
            f"To: {self.asked['Reply-To']}",
            f"Message-ID: <{number}@corp.example>",
            "",
            "approved",
            "",
        )
        self.mail.receive("\n".join(fields).encode("utf-8", "surrogateescape"))
        await self.client.drain()
        (request,) = await self.client.hitl.list_requests()
        return request

    async def reasons(self) -> list[object]:
        """Return why replies decided nothing, as it is stored."""
        (request,) = await self.client.hitl.list_requests()
        sent = await self.client.hitl.deliveries(request_id=request.request_id)
        return [one.note["detail"] for one in sent if one.kind == "refusal"]


@asynccontextmanager
async def a_desk(server: str | None = None) -> AsyncIterator[Desk]:
    """Open a client over a mailbox in memory, and ask."""
    mail = MemoryMail(trusted_server=server)
    async with Client(notifiers=[mail], inbox=mail, clock=ManualClock()) as client:
        desk = Desk(client, mail)
        await client.flows.start(Ask, requester="agent-7")
        await client.drain()
        (desk.asked,) = mail.sent
        yield desk


@pytest.mark.parametrize("sender", HOSTILE_FROM)
async def test_a_hostile_from_decides_nothing(sender: str) -> None:
    """Requirement 9: the token is genuine, and a server even vouches for the domain."""
    async with a_desk(SERVER) as desk:
        request = await desk.hear(sender, f"{SERVER}; {PASS}")

        assert (request.status, request.decisions, request.comments) == ("pending", (), ())
        assert {mail["To"] for mail in desk.mail.sent} == {ALICE}

    async with a_desk() as desk:
        request = await desk.hear(sender)

        assert (request.status, request.decisions, request.comments) == ("pending", (), ())
        assert {mail["To"] for mail in desk.mail.sent} == {ALICE}


def test_the_table_of_hostile_senders_is_long() -> None:
    """Requirement 9: at least thirty, and each another one."""
    assert len(set(HOSTILE_FROM)) >= 30


@pytest.mark.parametrize(
    "sender",
    [
        ALICE,
        "Alice Doe <ALICE@Corp.Example>",
        '"Doe, Alice" <alice@corp.example>',
        '"mallory@evil.example" <alice@corp.example>',
        "=?utf-8?q?Alic=C3=A9?=\n <alice@corp.example>",
        "alice@corp.example\nSender: mallory@evil.example",
        "alice@corp.example\nReply-To: mallory@evil.example",
    ],
)
async def test_the_exact_address_decides(sender: str) -> None:
    """Requirement 9: display name, Sender and Reply-To say nothing, neither for nor against."""
    async with a_desk() as desk:
        assert (await desk.hear(sender)).status == "approved"


@pytest.mark.parametrize(
    "results",
    [
        (),
        ("mx.evil.example; " + PASS,),
        ("mx.evil.example; " + PASS, f"{SERVER}; {PASS}"),
        (f"{SERVER}; dmarc=fail header.from=corp.example", f"{SERVER}; {PASS}"),
        (f"{SERVER}; dmarc=pass header.from=evil.example",),
        (f"{SERVER}; dmarc=pass header.from=sub.corp.example",),
        (f"{SERVER}; dmarc=pass",),
        (f"{SERVER}; spf=pass smtp.mailfrom=corp.example; dkim=pass header.d=corp.example",),
        (f"{SERVER}; dmarc=none header.from=corp.example",),
        (f"{SERVER}; dmarc=fail ({PASS}) header.from=corp.example",),
        (f'{SERVER}; spf=pass reason="; {PASS}"',),
        (f"{SERVER} (; {PASS}",),
        (f"{SERVER}.evil.example; {PASS}",),
        (f"({SERVER}); {PASS}",),
        (f"{SERVER}; {PASS}; dmarc=fail header.from=corp.example",),
        (PASS,),
        (f"{SERVER}; none",),
    ],
    ids=lambda results: " / ".join(results) or "no header",
)
async def test_what_the_trusted_server_does_not_say_is_refused_and_recorded(
    results: tuple[str, ...],
) -> None:
    """Requirement 10: forged below, foreign, in comments, in quotes, misaligned, missing."""
    async with a_desk(SERVER) as desk:
        request = await desk.hear(ALICE, *results)

        assert (request.status, request.decisions) == ("pending", ())
        (reason,) = await desk.reasons()
        assert isinstance(reason, str)
        assert reason
        assert reason in str(desk.mail.sent[1])


async def test_what_the_trusted_server_says_on_top_decides() -> None:
    """Requirement 10: whatever a mail brought along below."""
    async with a_desk(SERVER) as desk:
        forged = f"{SERVER}; dmarc=fail header.from=corp.example"
        request = await desk.hear(ALICE, f"{SERVER}; {PASS}", forged)

        assert request.status == "approved"
        assert request.decisions[0].proof == "authenticated"


EXCHANGE = "spf=pass (sender IP is 40.107.1.1)\n smtp.mailfrom=corp.example; dkim=pass\n header.d=corp.example;dmarc=pass action=none\n header.from=corp.example;compauth=pass reason=100"


@pytest.mark.parametrize(
    ("results", "status"),
    [
        ((EXCHANGE,), "approved"),
        ((EXCHANGE, f"{SERVER}; dmarc=fail header.from=corp.example"), "approved"),
        ((EXCHANGE.replace("dmarc=pass", "dmarc=fail"), EXCHANGE), "pending"),
        ((EXCHANGE.replace("header.from=corp", "header.from=evil"),), "pending"),
        ((f"{SERVER}; {PASS}",), "pending"),
        ((), "pending"),
    ],
    ids=["as written", "forged below", "failed", "misaligned", "with an id", "missing"],
)
async def test_a_server_without_an_id_is_believed_only_when_that_was_said(
    results: tuple[str, ...], status: str
) -> None:
    """Requirement 10: `trusted_server=""` is for Exchange Online, which writes no name."""
    async with a_desk("") as desk:
        assert (await desk.hear(ALICE, *results)).status == status
    async with a_desk(SERVER) as desk:
        assert (await desk.hear(ALICE, EXCHANGE)).status == "pending"


@pytest.mark.parametrize("lost", [False, True])
async def test_who_was_named_by_the_letters_of_their_domain_answers_from_it(lost: bool) -> None:
    """Mails name a domain in ASCII, people do not; also where only the thread says what is meant."""
    sender, server = "ann@xn--bcher-kva.example", "mx.acme.example"
    mail = MemoryMail(trusted_server=server)
    async with Client(notifiers=[mail], inbox=mail, clock=ManualClock()) as client:
        asked = await client.hitl.request(
            "Fine?", payload="x", assignees=["Ann@B\u00fccher.example"]
        )
        await client.drain()
        if lost:
            del mail.sent[-1]["Reply-To"]
        mail.reply(mail.sent[-1], "approved", sender=sender)
        await client.drain()

        assert (await client.hitl.get_request(asked.request_id)).status == "approved"
