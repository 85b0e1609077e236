"""
What the inbox needs of a connection to a mail server, whichever library makes it (floor 4).

The logic is in `imap`; a transport only speaks the protocol.
"""

from __future__ import annotations

import ssl
from abc import abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Literal, Protocol, TypeAlias

import anyio
from typing_extensions import override

TLS: TypeAlias = Literal["implicit", "starttls", "none"]
"""TLS from the first byte, TLS before the login, or none (loopback only). Never 'if offered'."""

Token: TypeAlias = Callable[[], Awaitable[str]]
"""Returns an OAuth2 access token that is good now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """
    Where to connect, and how to log in.

    Attributes:
        hostname: The server; its certificate has to be for this name.
        port: Its port.
        tls: How the connection is encrypted.
        tls_context: In place of `ssl.create_default_context()`.
        username: For the login; without CR, LF and NUL.
        password: For the login, or `None` for a login by `token`; without CR, LF and NUL.
        token: For a login by XOAUTH2; asked at each login.
        timeout_seconds: How long the server may be silent before the connection is given up.
    """

    hostname: str
    port: int
    tls: TLS
    tls_context: ssl.SSLContext | None
    username: str
    password: str | None = field(repr=False)
    token: Token | None = field(repr=False)
    timeout_seconds: float

    @override
    def __str__(self) -> str:
        """Return what messages call it; no secrets."""
        return f"{self.hostname}:{self.port} ({self.tls})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Selected:
    """
    What a server says of the mailbox it has opened.

    Attributes:
        validity: Its UIDVALIDITY: UIDs mean the same messages as long as this number stays.
        next_uid: Above every UID given so far; `None` where the server does not say.
    """

    validity: int
    next_uid: int | None


class MailboxTransport(Protocol):
    """
    One connection, logged in; one call at a time.

    No method but `wait_for_news` and `drop` has a deadline of its own beyond the socket's: the
    caller sets it. After an error, a time-out or a cancel nothing but `drop` may be called.

    Every method raises `InboxError` when the server refuses, hangs up or says what nobody
    understands.
    """

    @abstractmethod
    async def select(self, mailbox: str) -> Selected:
        """Open a mailbox for the calls that follow, as it is now; also the one that is open."""

    @abstractmethod
    async def search(self, *, above: int, since: date | None = None) -> Sequence[int]:
        """
        Return the UIDs above a number, ascending.

        Args:
            above: Return no UID up to this one.
            since: Only of messages that came in on this day of the server's or later.
        """

    @abstractmethod
    async def sizes(self, uids: Sequence[int]) -> Mapping[int, int]:
        """Return the sizes in bytes of these messages; those that are gone are left out."""

    @abstractmethod
    async def bodies(self, uids: Sequence[int], *, limit_bytes: int) -> Mapping[int, bytes]:
        """Return these messages, each cut at the limit and none marked as seen; those that are gone are left out."""

    @abstractmethod
    async def move(self, uids: Sequence[int], mailbox: str) -> None:
        """
        Move messages to another mailbox, which is made where it is missing.

        Those that are gone are left out. No other message is touched, even if it is marked
        as deleted.
        """

    @abstractmethod
    async def wait_for_news(self, woken: anyio.Event, *, seconds: float) -> None:
        """
        Wait until messages may have come in since the last search, or somebody sets `woken`.

        Only a hint: the inbox is right without it, and a transport that is told nothing just
        waits. Whatever it takes to begin and end the wait has deadlines of its own.

        Args:
            woken: Ends the wait; the transport may set it.
            seconds: How long at the most.
        """

    @abstractmethod
    async def log_out(self) -> None:
        """Say goodbye. Only `drop` may follow."""

    @abstractmethod
    def drop(self) -> None:
        """Close the connection at once, whatever is under way. Idempotent; never blocks or raises."""


Connect: TypeAlias = Callable[[Account], Awaitable[MailboxTransport]]
"""
Connects and logs in.

Raises `InboxError`, with `login_failed` when the server refused the login. Leaves nothing open
when it raises or is cancelled. Nothing secret is sent before TLS stands, unless TLS is off.
"""
