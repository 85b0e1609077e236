"""Messages of one batch are handled side by side, and in order where they are about the same."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from email.message import EmailMessage

import pytest
from anyio.lowlevel import checkpoint
from typing_extensions import override

from signoff import Client, Flow, human_feedback, start
from signoff.batches import AT_ONCE
from signoff.errors import StoreUnavailableError
from signoff.model.token import TokenRow
from signoff.stores import MemoryStore
from signoff.testing import ManualClock, MemoryMail

ANN = "ann@acme.example"


class Ask(Flow, name="batches.ask"):
    """A question to one person."""

    @start()
    @human_feedback("Publish?", emit=["approved", "rejected"], assignees=[ANN])
    def draft(self) -> str:
        """Return what is asked about."""
        return "Spring sale"


class Broken(MemoryStore):
    """A store that does not answer for a while, or never on one token."""

    down = 0
    poisoned = ""

    @override
    async def was_handled(self, key: str) -> bool:
        if self.down:
            await checkpoint()
            self.down -= 1
            raise StoreUnavailableError("the disk is away")
        return await super().was_handled(key)

    @override
    async def token(self, token_id: str) -> TokenRow | None:
        if token_id == self.poisoned:
            raise ValueError("a slip that only this message meets")
        return await super().token(token_id)


@dataclass(slots=True)
class Desk:
    """A client, its mailbox and its store."""

    client: Client
    mail: MemoryMail
    store: Broken

    async def ask(self, times: int) -> list[EmailMessage]:
        """Ask so often, and return the mails that ask."""
        for _ in range(times):
            await self.client.flows.start(Ask, requester="agent-7")
        await self.client.drain()
        return self.mail.sent[-times:]

    async def outcomes(self) -> list[str | None]:
        """Return what each request came to, the oldest first."""
        return [one.outcome for one in await self.client.hitl.list_requests()]


@pytest.fixture(name="desk")
async def _desk() -> AsyncIterator[Desk]:
    mail, store = MemoryMail(), Broken()
    async with Client(store, notifiers=[mail], inbox=mail, clock=ManualClock()) as client:
        yield Desk(client, mail, store)


async def test_all_messages_of_a_batch_are_handled(desk: Desk) -> None:
    """More than are in work at once, each about a request of its own."""
    number = AT_ONCE + 3
    for one in await desk.ask(number):
        desk.mail.reply(one, "approved")
    report = await desk.client.drain()

    assert (report.received, report.errors) == (number, {})
    assert await desk.outcomes() == ["approved"] * number
    assert desk.mail.put_away == [str(uid) for uid in range(1, number + 1)]


async def test_of_two_replies_about_one_request_the_first_decides(desk: Desk) -> None:
    """The second is read as if it had come in a batch of its own: the token is used up."""
    first, second = await desk.ask(2)
    for mail, text in ((first, "rejected"), (second, "approved"), (first, "approved")):
        desk.mail.reply(mail, text)
    await desk.client.drain()

    assert sorted(str(outcome) for outcome in await desk.outcomes()) == ["approved", "rejected"]
    told = [mail for mail in desk.mail.sent[2:] if "Your reply decided nothing" in mail.as_string()]
    assert len(told) == 1
    assert 'It ended rejected as "rejected"' in told[0].as_string()


async def test_a_message_that_lies_twice_in_a_batch_is_handled_once(desk: Desk) -> None:
    """Both copies are put away, and nobody is told that the second decided nothing."""
    (asked,) = await desk.ask(1)
    desk.mail.receive(desk.mail.reply(asked, "approved"))
    await desk.client.drain()

    assert await desk.outcomes() == ["approved"]
    assert desk.mail.put_away == ["1", "2"]
    assert len(desk.mail.sent) == 2, "the question and one confirmation"


async def test_of_two_messages_with_one_key_the_first_counts(desk: Desk) -> None:
    """Also where they are about different requests: each message is handled once."""
    first, second = await desk.ask(2)
    raw = desk.mail.reply(first, "rejected")
    other = MemoryMail().reply(second, "approved")
    assert b"Message-ID: <answer-0@signoff.example>" in raw
    assert b"Message-ID: <answer-0@signoff.example>" in other
    desk.mail.receive(other)
    await desk.client.drain()

    assert set(await desk.outcomes()) == {"rejected", None}
    assert desk.mail.put_away == ["1", "2"]


async def test_after_a_failure_nothing_more_about_that_request_is_begun(desk: Desk) -> None:
    """So the second reply never overtakes the first; both come again."""
    (asked,) = await desk.ask(1)
    desk.mail.reply(asked, "rejected")
    desk.mail.reply(asked, "approved")
    desk.store.down = 1
    report = await desk.client.drain()
    assert report.errors == {"mail": "StoreUnavailableError: the disk is away"}
    assert (await desk.outcomes(), desk.mail.put_away) == ([None], [])

    await desk.client.drain()
    assert await desk.outcomes() == ["rejected"]


async def test_of_several_failures_the_first_is_told(desk: Desk) -> None:
    """Two messages in work at the same time meet a store that is away."""
    for asked in await desk.ask(2):
        desk.mail.reply(asked, "approved")
    desk.store.down = 2
    report = await desk.client.drain()
    assert report.errors == {"mail": "StoreUnavailableError: the disk is away"}

    await desk.client.drain()
    assert await desk.outcomes() == ["approved", "approved"]


async def test_what_lies_before_a_message_that_nobody_can_trace_is_handled(desk: Desk) -> None:
    """What lies behind it waits until it is clear what becomes of that."""
    mails = await desk.ask(3)
    for asked in mails:
        desk.mail.reply(asked, "approved")
    pending = {one.request_id: one for one in await desk.client.hitl.list_requests()}
    (middle,) = [one for one in pending if one in mails[1].as_string()]
    (row,) = await desk.store.tokens(middle)
    desk.store.poisoned = row.token_id

    report = await desk.client.drain()
    assert "could not be handled; trying again" in report.errors["mail"]
    assert sorted(str(one) for one in await desk.outcomes()) == ["None", "None", "approved"]
    (first,) = [one for one in pending if one in mails[0].as_string()]
    assert (await desk.client.hitl.get_request(first)).status == "approved"

    for _ in range(2):
        await desk.client.drain()
    assert desk.mail.failed == ["2"]
    assert sorted(str(one) for one in await desk.outcomes()) == ["None", "approved", "approved"]
