"""
IMAP through the standard library's imaplib, in a worker thread (floor 4).

Runs on asyncio and trio alike, and cannot wait for news: the inbox polls.
"""

from __future__ import annotations

import imaplib
import re
import ssl
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date
from functools import partial
from typing import Final, TypeVar

from anyio import CapacityLimiter, to_thread
from typing_extensions import override

from signoff.errors import InboxError
from signoff.inboxes import syntax
from signoff.inboxes.transport import Account, MailboxTransport, Selected
from signoff.inboxes.wire import Wire
from signoff.mail.page import shown

T = TypeVar("T")

_WORDS: Final = 200
_MAY_PASS: Final = re.compile(r"\[(?:UNAVAILABLE|INUSE|LIMIT|SERVERBUG)\b")
"""RFC 5530: what refuses a login today and says nothing about the account."""


async def connect(account: Account) -> ImaplibTransport:
    """
    Connect and log in.

    Nothing stays open when it raises or is cancelled.

    Raises:
        InboxError: Nobody answers, TLS does not come about, or the login is refused.

    Source: RFC 3501 section 6.2, RFC 8314 section 3.2 (implicit TLS), RFC 4616 (PLAIN).
    """
    wire = Wire(timeout_seconds=account.timeout_seconds)
    limiter = CapacityLimiter(1)
    access_token = await _access_token(account)
    try:
        client = await _in_thread(wire, limiter, account, partial(_open, wire, account, access_token))
    except BaseException:
        wire.cut()
        raise
    return ImaplibTransport(account, wire, limiter, client)


class ImaplibTransport(MailboxTransport):
    """One connection; `connect` makes it."""

    def __init__(
        self, account: Account, wire: Wire, limiter: CapacityLimiter, client: _Client
    ) -> None:
        self._account = account
        self._wire = wire
        self._limiter = limiter
        self._client = client

    @override
    async def select(self, mailbox: str) -> Selected:
        return await self._run(self._select, mailbox)

    @override
    async def search(self, *, above: int, since: date | None = None) -> Sequence[int]:
        first = f"UID {above + 1}:*"
        days = () if since is None else ("SINCE", syntax.day(since))
        found = await self._run(self._search, first, *days)
        # `999:*` is a range in either direction: it always holds the newest message.
        return [uid for uid in found if uid > above]

    @override
    async def sizes(self, uids: Sequence[int]) -> Mapping[int, int]:
        rows = await self._run(self._fetch, uids, "(UID RFC822.SIZE)")
        sizes = {uid: syntax.number_of(row.get(b"RFC822.SIZE")) for uid, row in rows}
        return {uid: size for uid, size in sizes.items() if size is not None}

    @override
    async def bodies(self, uids: Sequence[int], *, limit_bytes: int) -> Mapping[int, bytes]:
        rows = await self._run(self._fetch, uids, f"(UID BODY.PEEK[]<0.{limit_bytes}>)")
        bodies = {uid: syntax.body_of(row) for uid, row in rows}
        return {uid: body[:limit_bytes] for uid, body in bodies.items() if body is not None}

    @override
    async def move(self, uids: Sequence[int], mailbox: str) -> None:
        await self._run(self._move, uids, mailbox)

    @override
    async def log_out(self) -> None:
        await self._run(self._client.logout)

    @override
    def drop(self) -> None:
        self._wire.cut()
