"""`MemoryMail` is an inbox like any other."""

from __future__ import annotations

import pytest
from typing_extensions import override

from signoff import Client, Policy
from signoff.ports import Corresponds, Inbox
from signoff.testing import InboxContract, MemoryMail
from signoff.testing.inbox_contract import Deliver, Reopen
from signoff.testing.mail import BATCH


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
class TestMemoryMail(InboxContract):
    """Its mailbox lasts as long as the object, so that is what opening it anew gives."""

    batch = BATCH

    @override
    @pytest.fixture
    async def inbox(self) -> Inbox:
        """Return an empty mailbox."""
        return MemoryMail()

    @override
    @pytest.fixture
    def deliver(self, inbox: MemoryMail) -> Deliver:
        """Return what puts a message into it."""

        async def deliver(raw: bytes) -> None:
            inbox.receive(raw)

        return deliver

    @override
    @pytest.fixture
    def reopen(self, inbox: MemoryMail) -> Reopen:
        """Return what opens it anew."""

        async def reopen() -> Inbox:
            await inbox.aclose()
            return inbox

        return reopen


async def test_its_trusted_server_vouches_for_whoever_replies() -> None:
    """Unless it is told not to; so replies decide at high risk, as with a real server."""
    mail = MemoryMail(trusted_server="mx.acme.example")
    async with Client(notifiers=[mail], inbox=mail, policy=Policy(risk="high")) as client:
        for vouches, expected in ((False, "pending"), (True, "approved")):
            request = await client.hitl.request("Well?", payload=1, assignees=["ann@acme.example"])
            await client.drain()
            mail.vouches = vouches
            asked = next(one for one in mail.sent if request.request_id in one.as_string())
            mail.reply(asked, "approved")
            await client.drain()
            assert (await client.hitl.get_request(request.request_id)).status == expected


def test_it_reaches_plain_addresses_only() -> None:
    """As a mail server does."""
    mail = MemoryMail()

    assert mail.reaches("ann@acme.example")
    assert not mail.reaches("ann")
    assert not mail.reaches("")
    assert isinstance(mail, Corresponds)
