"""The notifiers of Signoff keep the notifier contract: mail, the terminal, and the double for tests."""

from __future__ import annotations

import asyncio  # noqa: TID251 - aiosmtpd serves on asyncio only
import email
import io
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from email.message import EmailMessage
from email.policy import default
from typing import cast

import pytest
from aiosmtpd.smtp import SMTP, Envelope, Session
from typing_extensions import override

from signoff.errors import NotifyError
from signoff.notifiers import ConsoleNotifier, SMTPNotifier
from signoff.ports import Notifier
from signoff.testing import MemoryMail, NotifierContract
from signoff.testing.notifier_contract import Arrived, LookUp, Refusing


def as_arrived(mail: EmailMessage, recipients: Sequence[str]) -> Arrived:
    """Return a mail as a person has it before them."""
    body = cast("EmailMessage", mail.get_body(("plain",)))
    return Arrived(
        recipients=recipients,
        text=f"{mail['Subject']}\n{body.get_content()}",
        message_id=str(mail["Message-ID"]),
        reply_to=str(mail["Reply-To"] or ""),
    )


class TestMemoryMail(NotifierContract):
    """What `NotifierContract` says, of the double."""

    stranger = "nobody"

    @override
    @pytest.fixture
    async def notifier(self) -> Notifier:
        """Make an empty mailbox."""
        return MemoryMail()

    @override
    @pytest.fixture
    def arrived(self, notifier: MemoryMail) -> LookUp:
        """Look at what was sent."""

        async def look() -> list[Arrived]:
            return [as_arrived(mail, [str(mail["To"])]) for mail in notifier.sent]

        return look

    @override
    @pytest.fixture
    def refusing(self, notifier: MemoryMail) -> Refusing:
        """Let it raise."""

        @asynccontextmanager
        async def refusing() -> AsyncGenerator[None]:
            notifier.error = NotifyError("not now", permanent=False)
            yield
            notifier.error = None

        return refusing


class Terminal(io.StringIO):
    """
    A terminal.

    Attributes:
        gone: Whether nothing can be written.
    """

    gone = False

    def __init__(self) -> None:
        super().__init__()
        self.printed: list[str] = []

    @override
    def write(self, text: str, /) -> int:
        if self.gone:
            raise BrokenPipeError
        self.printed.append(text)
        return len(text)


class TestConsoleNotifier(NotifierContract):
    """What `NotifierContract` says, of a terminal, which knows no ids."""

    @pytest.fixture
    def terminal(self) -> Terminal:
        """Make one on which nothing is printed."""
        return Terminal()

    @override
    @pytest.fixture
    async def notifier(self, terminal: Terminal) -> Notifier:
        """Print there."""
        return ConsoleNotifier(terminal)

    @override
    @pytest.fixture
    def arrived(self, terminal: Terminal) -> LookUp:
        """Read what is printed."""

        async def look() -> list[Arrived]:
            whole = "".join(terminal.printed)
            messages = whole.split("To ")[1:]
            return [
                Arrived(recipients=[one.partition("\n")[0]], text=one)
                for one in messages
                if one.startswith("cfo@")
            ]

        return look

    @override
    @pytest.fixture
    def refusing(self, terminal: Terminal) -> Refusing:
        """Hang up."""

        @asynccontextmanager
        async def refusing() -> AsyncGenerator[None]:
            terminal.gone = True
            yield
            terminal.gone = False

        return refusing


class Postbox:
    """
    Takes mail in a thread of its own.

    Attributes:
        mails: What came in, and for whom.
        closed: Whether it takes none for now.
    """

    def __init__(self) -> None:
        self.mails: list[tuple[list[str], EmailMessage]] = []
        self.closed = False

    async def handle_DATA(  # noqa: N802 - aiosmtpd looks for this name
        self, _server: SMTP, _session: Session, envelope: Envelope
    ) -> str:
        """Take a mail."""
        if self.closed:
            return "451 Not now"
        mail = email.message_from_bytes(cast("bytes", envelope.content), policy=default)
        self.mails.append(([str(one) for one in envelope.rcpt_tos], mail))
        return "250 OK"


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
class TestSMTPNotifier(NotifierContract):
    """What `NotifierContract` says, over a real server on loopback."""

    stranger = "nobody"

    @pytest.fixture
    def postbox(self) -> Postbox:
        """Make an empty one."""
        return Postbox()

    @pytest.fixture
    async def port(self, postbox: Postbox) -> AsyncIterator[int]:
        """Serve it."""
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: SMTP(postbox, loop=loop), "127.0.0.1", 0)
        async with server:
            yield server.sockets[0].getsockname()[1]

    @override
    @pytest.fixture
    async def notifier(self, port: int) -> AsyncIterator[Notifier]:
        """Send there."""
        notifier = SMTPNotifier(
            "127.0.0.1",
            port,
            sender="Acme approvals <signoff@acme.example>",
            reply_to="approvals@acme.example",
            tls="none",
        )
        yield notifier
        await notifier.aclose()

    @override
    @pytest.fixture
    def arrived(self, postbox: Postbox) -> LookUp:
        """Look into it."""

        async def look() -> list[Arrived]:
            return [as_arrived(mail, recipients) for recipients, mail in postbox.mails]

        return look

    @override
    @pytest.fixture
    def refusing(self, postbox: Postbox) -> Refusing:
        """Close it."""

        @asynccontextmanager
        async def refusing() -> AsyncGenerator[None]:
            postbox.closed = True
            yield
            postbox.closed = False

        return refusing
