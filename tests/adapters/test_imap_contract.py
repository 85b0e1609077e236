"""`IMAPInbox` keeps the inbox contract, over a real server and each way of logging in."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest
from anyio import to_thread

from signoff.inboxes import IMAPInbox
from signoff.ports import Inbox
from signoff.testing import InboxContract
from signoff.testing.inbox_contract import Deliver, Reopen

if TYPE_CHECKING:
    from tests.adapters.conftest import MailServer


@pytest.fixture
def anyio_backend(transport: str) -> str:
    """Run each async test over both transports."""
    return transport


class TestIMAPInbox(InboxContract):
    """What `InboxContract` says, of an inbox over both transports."""

    @pytest.fixture
    async def inbox(self, mail_server: MailServer) -> AsyncIterator[Inbox]:
        """Open the mailbox of a new server."""
        inbox = self.an_inbox(mail_server)
        yield inbox
        await inbox.aclose()

    @pytest.fixture
    def deliver(self, mail_server: MailServer) -> Deliver:
        """Deliver in the server's own thread."""

        async def deliver(raw: bytes) -> None:
            await to_thread.run_sync(mail_server.deliver, raw)

        return deliver

    @pytest.fixture
    async def reopen(self, inbox: Inbox, mail_server: MailServer) -> AsyncIterator[Reopen]:
        """Log in anew."""
        opened: list[Inbox] = []

        async def reopen() -> Inbox:
            await inbox.aclose()
            opened.append(self.an_inbox(mail_server))
            return opened[-1]

        yield reopen
        for one in opened:
            await one.aclose()

    def an_inbox(self, server: MailServer) -> IMAPInbox:
        """Return an inbox that is not yet connected."""
        return IMAPInbox(
            "127.0.0.1",
            server.port,
            username=server.username,
            password=server.password,
            tls="none",
            batch=self.batch,
        )
