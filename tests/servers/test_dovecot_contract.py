"""`IMAPInbox` keeps the inbox contract over Dovecot, by both libraries, with TLS of both kinds."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from itertools import count
from typing import TYPE_CHECKING, Final

import pytest
from anyio import to_thread

from signoff.inboxes import IMAPInbox
from signoff.ports import Inbox
from signoff.testing import InboxContract
from signoff.testing.inbox_contract import Deliver, Reopen

if TYPE_CHECKING:
    from tests.mail_servers import RealServers

USERS: Final[Iterator[int]] = count(1)
"""Dovecot has a mailbox for whoever comes: each test is somebody new."""


@pytest.fixture
def anyio_backend() -> str:
    """Run on asyncio, which both libraries know."""
    return "asyncio"


class TestIMAPInboxOverDovecot(InboxContract):
    """What `InboxContract` says, of an inbox over a server of the real world."""

    @pytest.fixture(params=["aioimaplib-implicit", "imaplib-starttls"])
    def inbox_over(self, request: pytest.FixtureRequest, servers: RealServers) -> IMAPInbox:
        """Return an inbox over a new mailbox."""
        library, _, tls = request.param.partition("-")
        return IMAPInbox(
            servers.host,
            servers.imaps_port if tls == "implicit" else servers.imap_port,
            username=f"user-{next(USERS)}@acme.example",
            password=servers.password,
            tls=tls,
            tls_context=servers.client,
            idle=library == "aioimaplib",
            batch=self.batch,
        )

    @pytest.fixture
    async def inbox(self, inbox_over: IMAPInbox) -> AsyncIterator[Inbox]:
        """Open the mailbox."""
        yield inbox_over
        await inbox_over.aclose()

    @pytest.fixture
    def deliver(self, servers: RealServers, inbox_over: IMAPInbox) -> Deliver:
        """Deliver into the Maildir."""

        async def deliver(raw: bytes) -> None:
            await to_thread.run_sync(servers.deliver, raw, inbox_over._account.username)

        return deliver

    @pytest.fixture
    async def reopen(self, servers: RealServers, inbox_over: IMAPInbox) -> AsyncIterator[Reopen]:
        """Log in anew."""
        opened: list[IMAPInbox] = []

        async def reopen() -> Inbox:
            await inbox_over.aclose()
            opened.append(
                IMAPInbox(
                    servers.host,
                    servers.imaps_port,
                    username=inbox_over._account.username,
                    password=servers.password,
                    tls_context=servers.client,
                    idle=inbox_over._idle,
                    batch=self.batch,
                )
            )
            return opened[-1]

        yield reopen
        for one in opened:
            await one.aclose()
