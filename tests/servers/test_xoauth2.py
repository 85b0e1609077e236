"""Logins by XOAUTH2 over Dovecot, which asks an identity provider of the test about each token."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import pytest
from anyio import to_thread

from signoff.errors import InboxError
from signoff.inboxes import IMAPInbox

if TYPE_CHECKING:
    from tests.mail_servers import RealServers

MAILBOX = "approvals@acme.example"


@pytest.fixture
def anyio_backend() -> str:
    """Run on asyncio, which both libraries know."""
    return "asyncio"


def inbox_with(servers: RealServers, token: str, kind: str) -> IMAPInbox:
    """Return an inbox that logs in with a token."""
    library, _, tls = kind.partition("-")

    async def current() -> str:
        return token

    return IMAPInbox(
        servers.host,
        servers.imaps_port if tls == "implicit" else servers.imap_port,
        username=MAILBOX,
        token=current,
        tls="implicit" if tls == "implicit" else "starttls",
        tls_context=servers.client,
        idle=library == "aioimaplib",
    )


KINDS = ["aioimaplib-implicit", "aioimaplib-starttls", "imaplib-implicit", "imaplib-starttls"]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_token_opens_its_mailbox(servers: RealServers, kind: str) -> None:
    """Mail is read and put away, by both libraries and both kinds of TLS."""
    await to_thread.run_sync(servers.deliver, b"Subject: x\r\n\r\nApproved\r\n", MAILBOX)
    inbox = inbox_with(servers, servers.token(MAILBOX), kind)
    try:
        with anyio.fail_after(30):
            batch = await inbox.fetch(None)
            [message] = batch.messages
            await inbox.done([message.uid])
            again = await inbox.fetch(None)
    finally:
        await inbox.aclose()

    assert b"Approved" in message.raw
    assert list(again.messages) == []


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("whose", ["nobody", "another"])
async def test_a_wrong_token_is_a_failed_login_at_once(
    servers: RealServers, kind: str, whose: str
) -> None:
    """Also one that opens another mailbox; the token stands in no message."""
    token = "forged" if whose == "nobody" else servers.token("brand@acme.example")
    inbox = inbox_with(servers, token, kind)
    try:
        with anyio.fail_after(30), pytest.raises(InboxError) as caught:
            await inbox.fetch(None)
    finally:
        await inbox.aclose()

    assert caught.value.login_failed
    assert token not in str(caught.value)
