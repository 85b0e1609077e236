"""Replies whose address has lost its token: the thread says what they answer, if it can be believed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from email.message import EmailMessage
from pathlib import Path

import pytest

from signoff import Client, Flow, human_feedback, start
from signoff.mail.address import message_id
from signoff.model.changes import Changes
from signoff.model.request import Request
from signoff.security.keyring import Key, Keyring
from signoff.stores import SQLiteStore
from signoff.testing import ManualClock, MemoryMail

ANN = "ann@acme.example"
SERVER = "mx.acme.example"
PASSED = f"{SERVER}; dmarc=pass header.from=acme.example"


class Ask(Flow, name="lost_tokens.ask"):
    """A question to one person."""

    @start()
    @human_feedback(message="Publish?", emit=["approved", "rejected"], assign_to_email=ANN)
    def draft(self) -> str:
        """Return what is asked about."""
        return "Spring sale"


class Desk:
    """A client, its mailbox, and a reviewer whose mail program forgets the reply address."""

    def __init__(self, client: Client, mail: MemoryMail, clock: ManualClock) -> None:
        self.client, self.mail, self.clock = client, mail, clock

    async def ask(self) -> EmailMessage:
        """Start a flow, a minute after the last one, and return the mail that asks."""
        self.clock.advance(timedelta(minutes=1))
        await self.client.flows.start(Ask, requester="agent-7")
        await self.client.drain()
        return self.mail.sent[-1]

    async def hear(self, asked: EmailMessage, **headers: str) -> Request:
        """Approve to the plain address, and return the request as it then stands."""
        plain = {
            "Authentication-Results": PASSED,
            "From": ANN,
            "To": "approvals@signoff.example",
            "Message-ID": f"<{len(self.mail._incoming)}@acme.example>",
            "In-Reply-To": str(asked["Message-ID"]),
        }
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        fields = {**plain, **given}
        lines = [f"{name}: {value}" for name, value in fields.items() if value]
        self.mail.receive("\n".join([*lines, "", "approved", ""]).encode())
        await self.client.drain()
        return (await self.client.hitl.list_requests(newest_first=True))[0]

    async def ignored(self) -> Mapping[str, int]:
        """Return how many mails were only counted, by reason."""
        inbox = (await self.client.health()).inbox
        assert inbox is not None
        return inbox.ignored


@asynccontextmanager
async def a_desk(server: str | None = SERVER) -> AsyncIterator[Desk]:
    """Open a client over a mailbox in memory, with a server that vouches."""
    mail, clock = MemoryMail(trusted_server=server), ManualClock()
    async with Client(notifiers=[mail], inbox=mail, clock=clock) as client:
        yield Desk(client, mail, clock)


@pytest.fixture(name="desk")
async def _desk() -> AsyncIterator[Desk]:
    async with a_desk() as desk:
        yield desk


@pytest.mark.parametrize(
    "header", ["In-Reply-To", "References", "upper case", "deep in the thread"]
)
async def test_our_message_id_says_what_is_answered(desk: Desk, header: str) -> None:
    """Requirement 8: the token is lost, In-Reply-To or References still have our id."""
    asked = await desk.ask()
    ours = str(asked["Message-ID"])
    headers = {
        "In-Reply-To": {},
        "References": {"In_Reply_To": "", "References": ours},
        "upper case": {"In_Reply_To": ours.upper()},
        "deep in the thread": {"In_Reply_To": "<x@y>", "References": f"<a@b> {ours} <x@y>"},
    }[header]
    request = await desk.hear(asked, **headers)

    assert (request.status, request.decisions[0].reviewer) == ("approved", ANN)
    assert request.decisions[0].proof == "authenticated"
    assert desk.mail.put_away == ["1"]
    assert "approved" in str(desk.mail.sent[-1])


async def test_the_newest_question_in_a_thread_is_the_one_that_is_answered(desk: Desk) -> None:
    """Requirement 8: the header that names one mail comes before those that name the thread."""
    first, second = await desk.ask(), await desk.ask()
    request = await desk.hear(second, References=str(first["Message-ID"]))

    assert request.status == "approved"
    statuses = [one.status for one in await desk.client.hitl.list_requests()]
    assert statuses == ["pending", "approved"]


@pytest.mark.parametrize(
    "headers",
    [
        {"In_Reply_To": ""},
        {"In_Reply_To": "<somebody@else.example>"},
        {"Authentication_Results": ""},
        {"Authentication_Results": f"{SERVER}; dmarc=fail header.from=acme.example"},
        {"Authentication_Results": "mx.evil.example; dmarc=pass header.from=acme.example"},
        {"From": "mallory@acme.example"},
        {"From": f"{ANN} <mallory@acme.example>"},
        {"From": ""},
        {"Auto-Submitted": "auto-replied"},
        {"Return-Path": "<>"},
    ],
    ids=lambda headers: " ".join(*headers.items()),
)
async def test_what_the_thread_does_not_prove_is_nothing(
    desk: Desk, headers: dict[str, str]
) -> None:
    """Requirement 8: no decision, no answer to anybody; the mail stays where it lies."""
    asked = await desk.ask()
    request = await desk.hear(asked, **headers)

    assert (request.status, request.version, request.comments) == ("pending", 1, ())
    assert len(desk.mail.sent) == 1
    assert desk.mail.put_away == []
    assert await desk.ignored() == {"no token": 1}


async def test_without_a_trusted_server_a_thread_proves_nothing() -> None:
    """Requirement 8: From can be written by anybody, and the id is known to who was ever copied."""
    async with a_desk(None) as desk:
        asked = await desk.ask()
        assert (await desk.hear(asked)).status == "pending"
        assert await desk.ignored() == {"no token": 1}


async def test_an_id_without_its_tag_or_with_a_guessed_one_is_nobodys(desk: Desk) -> None:
    """Requirement 8: ids of deliveries stand in logs; the tag is made with the token only."""
    asked = await desk.ask()
    ours = str(asked["Message-ID"])
    (delivery,) = await desk.client.hitl.deliveries(
        request_id=(await desk.client.hitl.list_requests())[0].request_id
    )
    bare = message_id(delivery.delivery_id, "signoff.example")
    place = ours.index("@") - 1
    guessed = ours[:place] + ("a" if ours[place] != "a" else "b") + ours[place + 1 :]
    unknown = ours.replace(delivery.delivery_id, "dlv_" + "0" * 26)
    assert bare != ours
    for forged in (bare, guessed, unknown):
        assert (await desk.hear(asked, In_Reply_To=forged)).status == "pending"
    assert await desk.ignored() == {"no token": 3}
    assert (await desk.hear(asked)).status == "approved"


async def test_a_row_that_was_changed_does_not_turn_an_answer_to_another_question(
    desk: Desk,
) -> None:
    """Requirement 8: whoever can write to the store cannot make a yes to one a yes to another."""
    harmless, grave = await desk.ask(), await desk.ask()
    first, second = await desk.client.hitl.list_requests()
    (here,) = await desk.client.hitl.deliveries(request_id=first.request_id)
    (there,) = await desk.client.hitl.deliveries(request_id=second.request_id)
    moved = here.model_copy(
        update={
            "version": here.version + 1,
            "request_id": second.request_id,
            "token_id": there.token_id,
        }
    )
    await desk.client._store.commit(Changes(deliveries=(moved,)))
    request = await desk.hear(harmless)

    assert (request.request_id, request.status) == (second.request_id, "pending")
    assert (await desk.hear(grave)).status == "approved"


async def test_a_reply_to_a_confirmation_reaches_nothing_new(desk: Desk) -> None:
    """Requirement 8: such mails carry no token, so their ids lead nowhere; the thread may still."""
    asked = await desk.ask()
    await desk.hear(asked)
    confirmation = desk.mail.sent[-1]
    await desk.hear(confirmation)
    assert await desk.ignored() == {"no token": 1}
    assert len(desk.mail.sent) == 2

    await desk.hear(confirmation, References=str(asked["Message-ID"]))
    assert "decided before" in str(desk.mail.sent[-1])


async def test_an_id_whose_key_is_gone_is_like_none(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Requirement 8: as with the token itself; the key may be retired once nothing waits for it."""
    old = Keyring.generate()
    anew = Keyring([Key(1, old.keys[0].secret, "retired"), Key(2, bytes(range(32)), "active")])
    mail, clock = MemoryMail(trusted_server=SERVER), ManualClock()
    path = tmp_path / "signoff.db"
    async with Client(
        SQLiteStore(path), notifiers=[mail], inbox=mail, clock=clock, keyring=old
    ) as client:
        desk = Desk(client, mail, clock)
        asked = await desk.ask()
        (run,) = await client.flows.list()
        await client.flows.cancel(run.run_id)
        await client.drain()
    async with Client(
        SQLiteStore(path), notifiers=[mail], inbox=mail, clock=clock, keyring=anew
    ) as client:
        desk = Desk(client, mail, clock)
        assert (await desk.hear(asked)).status == "cancelled"
        assert await desk.ignored() == {"no token": 1}
