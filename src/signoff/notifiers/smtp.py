"""Requests by mail, over SMTP and asyncio (floor 4)."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final, Literal

import aiosmtplib
import anyio
from anyio import to_thread
from typing_extensions import override

from signoff.errors import ConfigurationError, NotifyError
from signoff.mail.address import message_id, reply_address
from signoff.mail.compose import ASKS, compose
from signoff.mail.loopback import is_loopback
from signoff.mail.page import shown
from signoff.ports import Correspondence, Notifier, Outgoing
from signoff.rules.addresses import normalise_address

TLS = Literal["implicit", "starttls", "none"]
"""TLS from the first byte, TLS before the login, or none (loopback only). Never 'if offered'."""

Token = Callable[[], Awaitable[str]]
"""Returns an OAuth2 access token that is good now."""

_PORTS: Final[dict[TLS, int]] = {"implicit": 465, "starttls": 587, "none": 25}
_MAILS_PER_CONNECTION: Final = 100
_IDLE: Final = timedelta(seconds=60)
_GOODBYE: Final = timedelta(seconds=2)
_PERMANENT: Final = 500
_ABOUT_THE_LOGIN: Final = frozenset({530, 534, 535, 538})
"""Replies that no other mail would get around. Source: RFC 4954 section 6."""

_SOME_TOKEN: Final = "a" * 48
_NAMED: Final = re.compile(r'\s*"?([^"<>]*?)"?\s*<([^<>]+)>\s*')


@dataclass(slots=True, eq=False)
class _Line:
    """One connection, used by one send at a time."""

    smtp: aiosmtplib.SMTP
    lock: anyio.Lock = field(default_factory=anyio.Lock)
    sent: int = 0
    used_at: float = 0.0

    def is_worn(self, now: float) -> bool:
        """Return whether the server may soon close it: after 100 mails, or 60 s without one."""
        idle = now - self.used_at
        return self.sent >= _MAILS_PER_CONNECTION or idle > _IDLE.total_seconds()


class SMTPNotifier(Notifier):
    """
    Sends each delivery as one mail to one recipient.

    Works on asyncio only, as aiosmtplib does. One connection is kept and used again, one mail
    at a time; after any error, time-out or cancel it is closed and never used again. A mail
    may arrive twice, with the same message id, when the server took it and its answer was lost.

    Attributes:
        name: Unique within a client; stored with each delivery.
        expects_reply: Always true: a mail that asks has a reply address with a token.
        correspondence: The addresses that its mails carry.
    """

    def __init__(
        self,
        hostname: str,
        port: int | None = None,
        *,
        sender: str,
        reply_to: str,
        username: str | None = None,
        password: str | None = None,
        token: Token | None = None,
        tls: TLS = "implicit",
        tls_context: ssl.SSLContext | None = None,
        name: str = "email",
        separator: str = "+",
        verp: bool = True,
        timeout: timedelta = timedelta(seconds=30),
        local_hostname: str | None = None,
    ) -> None:
        """
        Take the settings; nothing is connected before the first `send`.

        Args:
            hostname: The server; its certificate has to be for this name.
            port: Its port; 465, 587 or 25 as `tls` asks, unless set.
            sender: The address in `From` and in the envelope, perhaps with a name before it:
                `Acme approvals <signoff@acme.example>`.
            reply_to: The address that replies go to, without a token. Mail to it with the
                separator and a token in its local part has to arrive in the inbox.
            username: For the login; without it there is none.
            password: For the login.
            token: For a login by XOAUTH2 in place of a password; asked at each login.
            tls: How the connection is encrypted.
            tls_context: In place of `ssl.create_default_context()`.
            name: What stored deliveries call this notifier.
            separator: What parts the reply address's local part from the token.
            verp: Whether each mail that asks has an envelope sender of its own, the reply
                address with another token, so that what comes back is known for which mail it
                was. `False` where the server takes no sender but `sender`; then bounces lie
                unread in its mailbox.
            timeout: For one whole `send`.
            local_hostname: How we introduce ourselves; the sender's domain unless set.

        Raises:
            ConfigurationError: An address is none, the reply address gets too long with a
                token (64 octets before the `@`), `tls="none"` off loopback, or a login that is
                incomplete or double.

        Source: RFC 8314 section 3.3 (implicit TLS), RFC 3207 (STARTTLS), RFC 5321 section
        4.5.3.1.1 (64 octets).
        """
        _check_login(username, password, token)
        if tls not in _PORTS:
            raise ConfigurationError(f"tls={tls!r}; use one of {', '.join(map(repr, _PORTS))}")
        if tls == "none" and not is_loopback(hostname):
            raise ConfigurationError(
                f'tls="none" would send mails and passwords in clear to {hostname!r};'
                ' use "implicit" or "starttls"'
            )
        self.name = name
        self.expects_reply = True
        self._sender_name, self._sender = _parsed_sender(sender)
        self._reply_to = reply_to
        self._separator = separator
        self._verp = verp
        self.correspondence = Correspondence(
            sender=self._sender,
            sender_name=self._sender_name,
            reply_to=reply_to,
            separator=separator,
        )
        self._domain = self._sender.rpartition("@")[2]
        reply_address(reply_to, _SOME_TOKEN, separator=separator)
        self._hostname = hostname
        self._port = _PORTS[tls] if port is None else port
        self._username = username
        self._password = password
        self._token = token
        self._tls: TLS = tls
        self._tls_context = tls_context
        self._timeout = timeout
        self._local_hostname = local_hostname or self._domain
        self._lines: dict[asyncio.AbstractEventLoop, _Line] = {}

    @override
    def reaches(self, recipient: str) -> bool:
        """Return whether `recipient` is a plain mail address."""
        return _address(recipient) is not None

    @override
    async def send(self, outgoing: Outgoing) -> str:
        """
        Send one mail and return its message id.

        Raises:
            NotifyError: It was not sent. Permanent when the server refused this mail for good
                (5xx) or the recipient is no address; what concerns the connection or the login
                may pass.
            ConfigurationError: There is no asyncio event loop.
        """
        loop = _running_loop()
        recipient = _address(outgoing.delivery.recipient)
        if recipient is None:
            raise NotifyError("the recipient has no plain mail address", permanent=True)
        mail_id = message_id(outgoing.delivery.delivery_id, self._domain, token=outgoing.token)
        # In a thread: a payload of many megabytes takes seconds to render.
        raw = await to_thread.run_sync(self._composed, outgoing, mail_id)
        envelope = self._envelope(outgoing)
        line = self._line_of(loop)
        async with line.lock:
            try:
                await self._transmit(line, envelope, recipient, raw)
            except _Failed as failed:
                message = _without(outgoing.bounce_token, _without(outgoing.token, str(failed)))
                raise NotifyError(message, permanent=failed.permanent) from None
        return mail_id

    @override
    async def aclose(self) -> None:
        line = self._lines.get(_running_loop())
        if line is not None:
            async with line.lock:
                await _hang_up(line.smtp)

    def _envelope(self, outgoing: Outgoing) -> str:
        """Return the address that bounces go to; empty for mails that want none."""
        if outgoing.delivery.kind not in ASKS:
            # An answer to an answer would go round in circles: nobody bounces to the empty path.
            return ""
        if not (self._verp and outgoing.bounce_token):
            return self._sender
        return reply_address(self._reply_to, outgoing.bounce_token, separator=self._separator)

    def _composed(self, outgoing: Outgoing, mail_id: str) -> bytes:
        token = outgoing.token
        return compose(
            outgoing,
            sender=self._sender,
            sender_name=self._sender_name,
            reply_to=reply_address(self._reply_to, token, separator=self._separator)
            if token
            else "",
            message_id=mail_id,
            now=max(outgoing.delivery.created_at, outgoing.delivery.not_before),
        )

    def _line_of(self, loop: asyncio.AbstractEventLoop) -> _Line:
        """Return this loop's connection; a connection cannot be used from another loop."""
        for old in [old for old in self._lines if old.is_closed()]:
            del self._lines[old]
        if loop not in self._lines:
            self._lines[loop] = _Line(self._client())
        return self._lines[loop]

    def _client(self) -> aiosmtplib.SMTP:
        # One context for all connections: to build one costs more than a whole mail.
        if self._tls_context is None:
            self._tls_context = ssl.create_default_context()
        return aiosmtplib.SMTP(
            hostname=self._hostname,
            port=self._port,
            username=self._username,
            password=self._password,
            oauth_token_generator=None if self._token is None else _guarded(self._token),
            local_hostname=self._local_hostname,
            timeout=None,
            use_tls=self._tls == "implicit",
            start_tls=self._tls == "starttls",
            tls_context=self._tls_context,
        )

    async def _transmit(self, line: _Line, envelope: str, recipient: str, raw: bytes) -> None:
        """Send the mail; unless all goes well, close the connection and never use it again."""
        sent = False
        try:
            with anyio.fail_after(self._timeout.total_seconds()):
                await self._connect(line)
                await _hand_over(line.smtp, envelope, recipient, raw)
            sent = True
        except TimeoutError:
            raise _Failed(f"{self._server()} did not answer in time") from None
        finally:
            if not sent:
                _drop(line.smtp)
        line.sent += 1
        line.used_at = anyio.current_time()

    async def _connect(self, line: _Line) -> None:
        if line.smtp.is_connected and line.is_worn(anyio.current_time()):
            await _hang_up(line.smtp)
        if line.smtp.is_connected:
            return
        line.sent = 0
        try:
            await line.smtp.connect()
        except aiosmtplib.SMTPAuthenticationError as error:
            # Not the server's own words: they may repeat what we sent it.
            raise _Failed(
                f"{self._server()} refused the login of {self._username!r} ({error.code})"
            ) from None
        except (aiosmtplib.SMTPException, OSError) as error:
            raise _Failed(f"no connection to {self._server()}: {_words(error)}") from None

    def _server(self) -> str:
        return f"{self._hostname}:{self._port} ({self._tls})"


class _Failed(Exception):  # noqa: N818 - private: becomes a NotifyError without secrets
    def __init__(self, message: str, *, permanent: bool = False) -> None:
        super().__init__(message)
        self.permanent = permanent


def _guarded(token: Token) -> Token:
    async def access_token() -> str:
        try:
            return await token()
        except Exception as error:  # noqa: BLE001 - the user's own code may raise anything
            # Only its type: its words may hold a refresh token.
            raise _Failed(f"token= raised {type(error).__name__}") from None

    return access_token


async def _hand_over(smtp: aiosmtplib.SMTP, envelope: str, recipient: str, raw: bytes) -> None:
    """Send one mail to one recipient, command by command: each refusal is an error of its own."""
    try:
        await smtp.mail(envelope)
        await smtp.rcpt(recipient)
        await smtp.data(raw)
    except aiosmtplib.SMTPResponseException as error:
        raise _Failed(
            f"the server refused the mail: {error.code} {_words(error)}",
            permanent=error.code >= _PERMANENT and error.code not in _ABOUT_THE_LOGIN,
        ) from None
    except (aiosmtplib.SMTPException, OSError) as error:
        raise _Failed(f"the connection broke: {_words(error)}") from None


async def _hang_up(smtp: aiosmtplib.SMTP) -> None:
    """Say goodbye, but wait only briefly for the answer."""
    try:
        with (
            anyio.move_on_after(_GOODBYE.total_seconds()),
            suppress(aiosmtplib.SMTPException, OSError),
        ):
            await smtp.quit()
    finally:
        _drop(smtp)


def _drop(smtp: aiosmtplib.SMTP) -> None:
    """Close a connection at once, without sending what is still buffered."""
    transport = smtp.transport
    if isinstance(transport, asyncio.WriteTransport):
        transport.abort()
    smtp.close()


def _words(error: Exception) -> str:
    return shown(getattr(error, "message", "") or str(error))


def _without(secret: str, text: str) -> str:
    return re.sub(re.escape(secret), "<token>", text, flags=re.IGNORECASE) if secret else text


def _running_loop() -> asyncio.AbstractEventLoop:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        raise ConfigurationError(
            "SMTPNotifier needs asyncio, because aiosmtplib does: run the client with"
            ' anyio.run(..., backend="asyncio")'
        ) from None


def _check_login(username: str | None, password: str | None, token: Token | None) -> None:
    if password is not None and token is not None:
        raise ConfigurationError("password= and token= were both given; a login takes one of them")
    if (username is None) != (password is None and token is None):
        raise ConfigurationError("a login takes username= and one of password= and token=")


def _address(text: str) -> str | None:
    try:
        return normalise_address(text)
    except ValueError:
        return None


def _parsed_sender(sender: str) -> tuple[str, str]:
    named = _NAMED.fullmatch(sender)
    name, text = named.groups() if named else ("", sender)
    address = _address(text)
    if address is None:
        raise ConfigurationError(
            f"sender={sender!r} is no mail address; give `name@domain` or `Name <name@domain>`"
        )
    return name, address
