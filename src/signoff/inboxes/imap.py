"""The inbox over an IMAP mailbox: what is new in it, and where what was handled goes (floor 4)."""

from __future__ import annotations

import re
import ssl
from collections.abc import AsyncGenerator, Awaitable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from importlib import import_module
from importlib.util import find_spec
from typing import Final, TypeVar

import anyio
from anyio.lowlevel import RunVar, current_token
from typing_extensions import override

from signoff.errors import ConfigurationError, InboxError
from signoff.inboxes import imaplib_transport
from signoff.inboxes.transport import TLS, Account, Connect, MailboxTransport, Selected, Token
from signoff.mail.loopback import is_loopback
from signoff.ports import Batch, Inbox, Incoming
from signoff.rules.slips import refuse_bare_numbers

T = TypeVar("T")

LIMIT_BYTES: Final = 256 * 1024
"""So much of a message is read: the text of a reply stands at its beginning."""

_PORTS: Final[dict[TLS, int]] = {"implicit": 993, "starttls": 143, "none": 143}
_BYTES_PER_CALL: Final = 1024 * 1024
_UIDS_PER_CALL: Final = 100
_MOST_PER_BATCH: Final = 500
_LONGEST_WAIT: Final = timedelta(minutes=5)
"""Servers and routers end connections that are silent for longer; the poll after it is a sign of life."""

_GOODBYE: Final = timedelta(seconds=2)
_ADDRESS: Final = re.compile(r"([0-9]{1,10}):([0-9]{1,10})")
_CONTROL: Final = re.compile(r"[\0\r\n]")

_FIRST_LOOK: Final = timedelta(days=2)
"""Servers compare days, in a zone of their own: two days back is one whole day everywhere."""


@dataclass(slots=True, eq=False)
class _Line:
    """The connection of one event loop, used by one call at a time."""

    lock: anyio.Lock = field(default_factory=anyio.Lock)
    woken: anyio.Event = field(default_factory=anyio.Event)
    transport: MailboxTransport | None = None

    @asynccontextmanager
    async def alone(self) -> AsyncGenerator[None, None]:
        """Be the one call that uses it; a wait for news ends for it."""
        self.woken.set()
        async with self.lock:
            yield

    @asynccontextmanager
    async def kept(self) -> AsyncGenerator[None, None]:
        """Keep the connection if all goes well, and else close it."""
        well = False
        try:
            yield
            well = True
        finally:
            if not well:
                self.drop()

    async def wait_for_news(self, seconds: float) -> None:
        """Wait on the connection, if there is one by now, and nobody else waits for it."""
        self.woken = anyio.Event()
        if self.transport is not None and not self.lock.statistics().tasks_waiting:
            await self.transport.wait_for_news(self.woken, seconds=seconds)

    def drop(self) -> None:
        """Close the connection, if there is one, and forget it."""
        transport, self.transport = self.transport, None
        if transport is not None:
            transport.drop()


class IMAPInbox(Inbox):
    """
    Reads the replies in a mailbox, and moves away those that were handled.

    Works on asyncio and on trio. On asyncio, with the extra `signoff[imap]` installed, the
    server tells of new mail as it comes in (IDLE); else the inbox polls. News only wake: what
    is new is looked up in either case, and is found at each poll.

    The mailbox may be shared with other mail: what nobody calls done stays where it is, and
    nothing is marked as seen. Whether a message is new is told by its UID alone, so that a
    person or another program that opens it takes nothing away.

    At first use, with no mark, it begins with the mail of the last two days. From then on it
    reads each message that comes in once, and whatever lies in the mailbox again when the
    server has given out new UIDs (another UIDVALIDITY, after a restore, say).

    One connection is kept and used again, one call at a time; after any error, time-out or
    cancel it is closed and never used again.

    Attributes:
        name: Unique within a client; its high-water mark is stored under it.
        trusted_server: The authserv-id whose `Authentication-Results` are believed.
        poll_interval_seconds: How long to wait between two polls at the most.
    """

    def __init__(
        self,
        hostname: str,
        port: int | None = None,
        *,
        username: str,
        password: str | None = None,
        token: Token | None = None,
        tls: TLS = "implicit",
        tls_context: ssl.SSLContext | None = None,
        mailbox: str = "INBOX",
        done_mailbox: str = "Processed",
        failed_mailbox: str = "Failed",
        name: str = "imap",
        trusted_server: str | None = None,
        poll_interval: timedelta = timedelta(seconds=60),
        timeout: timedelta = timedelta(seconds=30),
        batch: int = 50,
        idle: bool | None = None,
    ) -> None:
        """
        Take the settings; nothing is connected before the first `fetch`.

        Args:
            hostname: The server; its certificate has to be for this name.
            port: Its port; 993 or 143 as `tls` asks, unless set.
            username: For the login.
            password: For the login.
            token: For a login by XOAUTH2 in place of a password; asked at each login.
            tls: How the connection is encrypted.
            tls_context: In place of `ssl.create_default_context()`.
            mailbox: Where replies come in.
            done_mailbox: Where handled messages go; made when it is missing. Servers that
                keep all mailboxes below `INBOX` want `INBOX.Processed` or `INBOX/Processed`.
            failed_mailbox: Where messages go that could not be handled; made when missing.
            name: What the stored high-water mark is called.
            trusted_server: The authserv-id whose `Authentication-Results` are believed; the
                empty string for a server that writes none.
            poll_interval: How long to wait between two polls at the most.
            timeout: For one exchange with the server; a `fetch` takes several.
            batch: How many messages a `fetch` returns at the most, 1 to 500.
            idle: Whether the connection is made by aioimaplib, which waits for news, or by
                the standard library's imaplib, which does not. Unless set: by aioimaplib
                where it is installed and the event loop is asyncio's.

        Raises:
            ConfigurationError: `tls="none"` off loopback, neither or both of `password` and
                `token`, a login with control characters, mailboxes that are not three
                different ones, a number out of its range, or `idle=True` without the extra
                `signoff[imap]`.

        Source: RFC 8314 section 3.2 (implicit TLS), RFC 3501 section 2.3.1.1 (UIDs).
        """
        _check_tls(tls, hostname)
        _check_login(username, password, token)
        _check_mailboxes(mailbox, done_mailbox, failed_mailbox)
        _check_numbers(poll_interval, timeout, batch)
        if idle and not _has_aioimaplib():
            raise ConfigurationError("idle=True needs aioimaplib: install signoff[imap]")
        self.name = name
        self.trusted_server = trusted_server
        self.poll_interval_seconds = poll_interval.total_seconds()
        self._timeout_seconds = timeout.total_seconds()
        self._mailbox = mailbox
        self._done_mailbox = done_mailbox
        self._failed_mailbox = failed_mailbox
        self._batch = batch
        self._account = Account(
            hostname=hostname,
            port=_PORTS[tls] if port is None else port,
            tls=tls,
            tls_context=tls_context,
            username=username,
            password=password,
            token=token,
            timeout_seconds=self._timeout_seconds,
        )
        self._idle = idle
        self._lines: RunVar[_Line] = RunVar("signoff_imap")

    @override
    async def fetch(self, mark: str | None) -> Batch:
        """
        Return the next messages above `mark`, each cut at 256 KiB.

        A message that somebody else removes meanwhile is left out.

        Args:
            mark: The `mark` of an earlier batch whose messages are done; `None` at first use.

        Raises:
            InboxError: The mailbox cannot be read; `login_failed` when the server refused us.
        """
        async with self._opened() as (server, selected):
            # Before the search: what comes in after it is never old mail.
            newest = await self._newest(server, selected) if mark is None else 0
            last = _last_uid(mark, selected.validity)
            since = _first_day() if mark is None else None
            found = await self._within(server.search(above=last, since=since))
            now, more = found[: self._batch], len(found) > self._batch
            bodies = await self._bodies(server, now)
        last = now[-1] if more else max(last, newest, *now)
        return Batch(
            messages=[
                Incoming(
                    uid=f"{selected.validity}:{uid}",
                    raw=bodies[uid],
                    cut=len(bodies[uid]) >= LIMIT_BYTES,
                )
                for uid in now
                if uid in bodies
            ],
            mark=f"{selected.validity}:{last}",
            more=more,
        )

    @override
    async def done(self, uids: Sequence[str]) -> None:
        """Move messages to the mailbox for handled ones. Those that are gone are no error."""
        await self._put_away(uids, self._done_mailbox)

    @override
    async def set_aside(self, uids: Sequence[str]) -> None:
        """Move messages to the mailbox for those that failed. Those that are gone are no error."""
        await self._put_away(uids, self._failed_mailbox)

    @override
    async def wait_for_news(self, seconds: float) -> None:
        """
        Return when messages may have come in, at the latest after `seconds` or five minutes.

        It waits on the connection of the last `fetch`, and ends as soon as another call needs
        that; without a connection it just waits.

        Raises:
            InboxError: The connection broke.
        """
        line = self._line()
        if line.transport is None:
            await anyio.sleep(seconds)
            return
        async with line.alone(), line.kept():
            await line.wait_for_news(min(seconds, _LONGEST_WAIT.total_seconds()))

    @override
    async def aclose(self) -> None:
        """Log out and drop the connection of this event loop, at the latest after two seconds."""
        line = self._line()
        try:
            with anyio.move_on_after(_GOODBYE.total_seconds(), shield=True), suppress(InboxError):
                async with line.alone():
                    if line.transport is not None:
                        await line.transport.log_out()
        finally:
            line.drop()

    async def _put_away(self, uids: Sequence[str], target: str) -> None:
        if not uids:
            return
        async with self._opened() as (server, selected):
            addresses = map(_address, uids)
            # Of another validity: the number may be another message's by now.
            there = sorted({uid for validity, uid in addresses if validity == selected.validity})
            for start in range(0, len(there), _UIDS_PER_CALL):
                part = there[start : start + _UIDS_PER_CALL]
                await self._within(server.move(part, target))

    async def _newest(self, server: MailboxTransport, selected: Selected) -> int:
        if selected.next_uid is not None:
            return selected.next_uid - 1
        return max(await self._within(server.search(above=0)), default=0)

    async def _bodies(self, server: MailboxTransport, uids: Sequence[int]) -> Mapping[int, bytes]:
        """Return the messages, so few in each exchange that a slow line manages it in time."""
        bodies: dict[int, bytes] = {}
        if uids:
            sizes = await self._within(server.sizes(uids))
            for part in _portions(uids, sizes):
                bodies |= await self._within(server.bodies(part, limit_bytes=LIMIT_BYTES))
        return bodies

    @asynccontextmanager
    async def _opened(self) -> AsyncGenerator[tuple[MailboxTransport, Selected], None]:
        """Open the mailbox; unless all goes well, close the connection and never use it again."""
        line = self._line()
        async with line.alone(), line.kept():
            yield await self._selected(line)

    async def _selected(self, line: _Line) -> tuple[MailboxTransport, Selected]:
        if line.transport is not None:
            # The server may have hung up since the last poll; then a new connection will do.
            with suppress(InboxError):
                return line.transport, await self._within(line.transport.select(self._mailbox))
            line.drop()
        line.transport = await self._within(self._connector()(self._account))
        return line.transport, await self._within(line.transport.select(self._mailbox))

    def _connector(self) -> Connect:
        """Return what connects on this event loop."""
        on_asyncio = hasattr(current_token().native_token, "call_soon_threadsafe")
        if self._idle and not on_asyncio:
            raise ConfigurationError(
                "idle=True works on asyncio only; leave idle= out, and it polls"
            )
        if self._idle is False or not on_asyncio or not _has_aioimaplib():
            return imaplib_transport.connect
        # Imported only here: it is an extra.
        connect: Connect = import_module("signoff.inboxes.aioimaplib_transport").connect
        return connect

    def _line(self) -> _Line:
        """Return this event loop's connection; a lock cannot be used from another loop."""
        line = self._lines.get(None)
        if line is None:
            line = _Line()
            self._lines.set(line)
        return line

    async def _within(self, exchange: Awaitable[T]) -> T:
        try:
            with anyio.fail_after(self._timeout_seconds):
                return await exchange
        except TimeoutError:
            raise InboxError(f"{self._account} did not answer in time") from None


def _first_day() -> date:
    # No business time: mail is dated by the clocks of mail servers.
    now = datetime.now(tz=UTC)  # noqa: TID251 - see the line above
    return (now - _FIRST_LOOK).date()


def _address(text: str) -> tuple[int, int]:
    """Return UIDVALIDITY and UID of a message or mark; zeros for what is not one of ours."""
    found = _ADDRESS.fullmatch(text)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _last_uid(mark: str | None, validity: int) -> int:
    """Return the UID up to which all is done; 0 when UIDs have a new meaning by now."""
    marked, uid = _address(mark or "")
    return uid if marked == validity else 0


def _portions(uids: Sequence[int], sizes: Mapping[int, int]) -> Iterator[list[int]]:
    """Yield the UIDs of messages that are there, about a mebibyte at a time."""
    portion: list[int] = []
    filled = 0
    for uid in (uid for uid in uids if uid in sizes):
        size = min(sizes[uid], LIMIT_BYTES)
        if portion and filled + size > _BYTES_PER_CALL:
            yield portion
            portion, filled = [], 0
        portion.append(uid)
        filled += size
    if portion:
        yield portion


def _check_tls(tls: str, hostname: str) -> None:
    if tls not in _PORTS:
        raise ConfigurationError(f"tls={tls!r}; use one of {', '.join(map(repr, _PORTS))}")
    if tls == "none" and not is_loopback(hostname):
        raise ConfigurationError(
            f'tls="none" would send the password and all mail in clear to {hostname!r};'
            ' use "implicit" or "starttls"'
        )


def _check_login(username: str, password: str | None, token: Token | None) -> None:
    if (password is None) == (token is None):
        raise ConfigurationError("a login takes either password= or token=")
    if not username or _CONTROL.search(username) or _CONTROL.search(password or ""):
        raise ConfigurationError(
            "username= is empty, or it or password= has a line end or NUL in it"
        )


def _check_mailboxes(*names: str) -> None:
    # A server knows INBOX in any case of letters.
    different = {"INBOX" if name.upper() == "INBOX" else name for name in names}
    if "" in different or len(different) < len(names):
        raise ConfigurationError(
            f"mailbox=, done_mailbox= and failed_mailbox= have to be three mailboxes, not {names!r}"
        )


def _has_aioimaplib() -> bool:
    return find_spec("aioimaplib") is not None


def _check_numbers(poll_interval: timedelta, timeout: timedelta, batch: int) -> None:
    refuse_bare_numbers(poll_interval=poll_interval, timeout=timeout)
    if min(poll_interval, timeout) <= timedelta(0):
        raise ConfigurationError("poll_interval= and timeout= have to be longer than nothing")
    if not 1 <= batch <= _MOST_PER_BATCH:
        raise ConfigurationError(f"batch={batch} is not between 1 and {_MOST_PER_BATCH}")
