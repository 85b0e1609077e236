"""
One connection by aioimaplib, made safe; asyncio only (floor 4).

aioimaplib is GPL-3.0-only: it comes with the extra `signoff[imap]`, and only this module
imports it. It keeps the books of commands and answers. What it does unsafely is done here:
what comes in is cut into lines before it sees it, a connection that ends wakes whoever waits,
login and STARTTLS are ours, and nothing that it logs is let through.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import re
import ssl
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from itertools import chain, repeat
from typing import Final, TypeVar

import anyio
from aioimaplib import AUTH, NONAUTH, SELECTED, Command, IMAP4ClientProtocol
from anyio import to_thread
from typing_extensions import override

from signoff.errors import InboxError
from signoff.inboxes import logins, syntax
from signoff.inboxes.framing import Framing, Piece
from signoff.inboxes.logins import words
from signoff.inboxes.transport import Account

T = TypeVar("T")

_COUNT: Final = re.compile(rb"\* ([0-9]{1,10}) (EXISTS|EXPUNGE)\b", re.IGNORECASE)
_BYE: Final = re.compile(rb"\* BYE\b", re.IGNORECASE)

# It logs logins at DEBUG, and at INFO what servers say, who may repeat them.
logging.getLogger("aioimaplib.aioimaplib").addFilter(lambda _: False)


@dataclass(frozen=True, slots=True)
class Answer:
    """
    What a server said to a command.

    Attributes:
        account: Whose server it is.
        status: OK, NO or BAD.
        lines: What it said on the way: texts, and literals as bytearrays.
        text: What stands behind the status.
    """

    account: Account
    status: str
    lines: Sequence[bytes | bytearray]
    text: str

    @classmethod
    def to(cls, command: Command, account: Account) -> Answer:
        """Return the answer to a command that is done."""
        status, (*lines, last) = command.response
        return cls(account, status, lines, last.decode("utf-8", "replace"))

    def expect_ok(self, what: str) -> None:
        """Raise `InboxError` if the server refused."""
        if self.status != "OK":
            raise InboxError(f"{self.account} refused {what}: {words(self.text)}")


class Channel(IMAP4ClientProtocol):
    """
    aioimaplib's side of one connection, made safe.

    Whoever waits here is woken with a `ConnectionError` as soon as the connection is of no use.

    Attributes:
        has_news: Whether the server told of new messages, in whatever answer; whoever
            searches sets it back.
        is_leaving: Whether a goodbye is expected.
    """

    def __init__(self, account: Account) -> None:
        super().__init__(asyncio.get_running_loop())
        self.has_news = False
        self.is_leaving = False
        self._account = account
        self._count = 0
        self._framing = Framing()
        self._greeting = b""
        self._greeted = anyio.Event()
        self._begins_tls = False
        self._go_ahead: Callable[[], None] | None = None
        self._woken: anyio.Event | None = None
        self._waiting: anyio.CancelScope | None = None
        self._end = ""

    # What asyncio calls.

    @override
    def data_received(self, data: bytes) -> None:
        try:
            self._framing.add(data)
            pieces = self._framing.pieces()
            while not self._is_deaf() and (piece := next(pieces, None)) is not None:
                self._hear(piece)
        except ConnectionError as error:
            self._finish(str(error))
        except Exception as error:  # noqa: BLE001 - asyncio would log it, with the pending LOGIN in its words
            self._finish(f"aioimaplib raised {type(error).__name__}")

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._finish("the server hung up" if exc is None else words(str(exc)))

    # Opening.

    async def open(self) -> None:
        """Connect, with TLS if it is implicit, and wait for the greeting."""
        account = self._account
        context = await self._context() if account.tls == "implicit" else None
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: self, account.hostname, account.port, ssl=context)
        await self._unless_it_ends(self._greeted.wait)
        if self._greeting.upper().startswith(b"* PREAUTH"):
            raise InboxError(f"{account} logged us in before we said who we are")
        if not self._greeting.upper().startswith(b"* OK"):
            raise ConnectionError(words(self._greeting.decode("utf-8", "replace")))

    async def start_tls(self) -> None:
        """
        Begin TLS on a connection in clear.

        Source: RFC 3501 section 6.2.1: nothing said in clear may count afterwards.
        """
        account = self._account
        if "STARTTLS" not in await self.ask_capabilities():
            raise InboxError(f"{account} offers no STARTTLS, so there was no login")
        context = await self._context()
        self._begins_tls = True
        (await self.ask("STARTTLS")).expect_ok("to begin TLS")
        if self._framing.holds or self.transport is None:
            raise ConnectionError("the server went on in clear after it had agreed to TLS")
        loop = asyncio.get_running_loop()
        self.transport = await loop.start_tls(
            self.transport, self, context, server_hostname=account.hostname
        )
        self._begins_tls = False

    async def log_in(self, access_token: str | None) -> None:
        """Log in."""
        sasl = logins.sasl(self._account, access_token, await self.ask_capabilities())
        try:
            answer = await self._say_who(sasl)
        except Exception as error:  # noqa: BLE001 - the server's words may repeat the password
            raise logins.broken_off(self._account, error) from None
        if answer.status != "OK":
            raise logins.refused(self._account, answer.text)
        self.state = AUTH

    async def ask_capabilities(self) -> frozenset[str]:
        """Ask what the server can do."""
        answer = await self.ask("CAPABILITY")
        answer.expect_ok("to say what it can do")
        found = frozenset(b" ".join(answer.lines).decode().upper().split())
        if "IMAP4REV1" not in found:
            raise ConnectionError("the server is not IMAP4 compliant")
        return found

    # Talking.

    async def ask(self, command: str, *arguments: str, prefix: str = "") -> Answer:
        """Say one command, and return all that the server answers."""
        # STORE is answered by rows of FETCH. aioimaplib's own FETCH counts brackets, also in texts.
        untagged = "FETCH" if command == "STORE" else command
        said = Command(
            command, self.new_tag(), *arguments, prefix=prefix, untagged_resp_name=untagged
        )
        await self._unless_it_ends(lambda: self.execute(said))
        return Answer.to(said, self._account)

    def has_opened(self) -> None:
        """Note that a mailbox is open: only then may messages be asked for."""
        self.state = SELECTED

    async def wait_for_news(self, woken: anyio.Event, *, seconds: float) -> None:
        """
        Wait until the server tells of messages or somebody else sets `woken`.

        Source: RFC 2177.
        """
        with anyio.fail_after(self._account.timeout_seconds):
            # Some servers tell in an IDLE only of what comes in after it has begun.
            await self.ask("NOOP")
        if self.has_news:
            return
        command = Command("IDLE", self.new_tag())
        self._woken = woken
        self.pending_sync_command = command
        self.send(str(command))
        with anyio.fail_after(self._account.timeout_seconds):
            with anyio.CancelScope() as beginning:
                self._go_ahead = beginning.cancel
                await self._unless_it_ends(command.wait)
            self._go_ahead = None
        if not beginning.cancelled_caught:
            Answer.to(command, self._account).expect_ok("to tell of news")
            raise ConnectionError("the server ended the wait for news before it began")
        with anyio.move_on_after(seconds):
            await self._unless_it_ends(woken.wait)
        self._woken = None
        self.idle_done()
        with anyio.fail_after(self._account.timeout_seconds):
            await self._unless_it_ends(command.wait)

    def drop(self) -> None:
        """Close the connection at once."""
        self._finish("the connection was given up")

    async def _say_who(self, sasl: logins.Sasl | None) -> Answer:
        if sasl is None:
            login = (self._account.username, self._account.password or "")
            return await self.ask("LOGIN", *map(syntax.quoted, login))
        answers = chain([base64.b64encode(sasl.text).decode()], repeat(""))
        self._go_ahead = lambda: self.send(next(answers))
        answer = await self.ask("AUTHENTICATE", sasl.mechanism)
        self._go_ahead = None
        return answer

    async def _context(self) -> ssl.SSLContext:
        if self._account.tls_context is not None:
            return self._account.tls_context
        # In a thread: the system's authorities are many.
        return await to_thread.run_sync(ssl.create_default_context)

    async def _unless_it_ends(self, work: Callable[[], Awaitable[T]]) -> T:
        with anyio.CancelScope() as self._waiting:
            if not self._end:
                return await work()
        raise ConnectionError(self._end)

    def _finish(self, why: str) -> None:
        """Note why the connection is of no use any more, close it, and wake whoever waits for it."""
        self._end = self._end or why
        if self.transport is not None:
            self.transport.abort()
        if self._waiting is not None:
            self._waiting.cancel()

    # Hearing.

    def _is_deaf(self) -> bool:
        """Return whether what comes in is in clear although TLS is agreed on, and so may be anybody's."""
        return self._begins_tls and self.pending_sync_command is None

    def _hear(self, piece: Piece) -> None:
        if not self._greeting:
            self._greeting = piece.data
            self.state = NONAUTH
            self._greeted.set()
            return
        if piece.begins:
            self._notice(piece.data)
        super().data_received(piece.data)

    def _notice(self, line: bytes) -> None:
        """See what aioimaplib would overlook in the first line of a response."""
        if line.startswith(b"+") and self._go_ahead is not None:
            self._go_ahead()
        elif count := _COUNT.match(line):
            self._notice_count(int(count[1]), count[2].upper())
        elif _BYE.match(line) and not self.is_leaving:
            raise ConnectionError(words(line.decode("utf-8", "replace")))
        elif not line.startswith((b"* ", self.tagpre.encode())):
            raise ConnectionError(f"unexpected response: {words(line.decode('utf-8', 'replace'))}")

    def _notice_count(self, number: int, what: bytes) -> None:
        if what == b"EXPUNGE":
            self._count -= 1
            return
        if number > self._count:
            self.has_news = True
            if self._woken is not None:
                self._woken.set()
        self._count = number
