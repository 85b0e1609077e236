"""Mail servers on loopback: a real one in memory, and one that does what servers should not."""

from __future__ import annotations

import asyncio  # noqa: TID251 - pymap serves on asyncio only
import base64
import os
import socket
import ssl
import sys
from argparse import Namespace
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from threading import Condition, Event, Thread
from typing import Final, TypeAlias

import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from proxyprotocol.sock import SocketInfo
from pymap.backend.dict import Config, DictBackend, Login
from pymap.backend.dict.mailbox import MailboxData
from pymap.concurrent import Subsystem
from pymap.imap import IMAPServer
from pymap.parsing.message import AppendMessage
from pymap.parsing.specials.flag import Deleted
from pysasl.hashing import BuiltinHash

WAIT: Final = 10
"""Seconds after which a test stops to wait for what should come at once."""


@pytest.fixture(params=["asyncio-aioimaplib", "asyncio-imaplib", "trio-imaplib"])
def transport(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the event loop for one way in which an inbox reads its mail, as it chooses by itself."""
    loop, _, library = str(request.param).partition("-")
    if library != "aioimaplib":
        monkeypatch.setitem(sys.modules, "aioimaplib", None)  # as where it is not installed
    return loop


@dataclass(frozen=True)
class Certificate:
    """A certificate for loopback: what a server shows, and what trusts it."""

    server: ssl.SSLContext
    client: ssl.SSLContext


@pytest.fixture(scope="session")
def loopback_certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """Return a certificate for 127.0.0.1 that nobody but its own client trusts."""
    path = tmp_path_factory.mktemp("certificate") / "both.pem"
    write_certificate(path)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(path)
    return Certificate(server=server, client=ssl.create_default_context(cafile=path))


def write_certificate(path: Path) -> None:
    """Write a new key and its certificate, signed by itself, as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "loopback")])
    now = datetime.now(tz=UTC)  # noqa: TID251 - OpenSSL goes by the real clock
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))


class MailConfig(Config):
    """pymap's settings, with capabilities that can be hidden."""

    hidden: frozenset[bytes] = frozenset()

    @property
    def login_capability(self) -> Sequence[bytes]:
        """What a session is told after the login."""
        return [one for one in super().login_capability if one not in self.hidden]


class MailServer:
    """
    pymap, in memory, on an event loop and in a thread of its own.

    Attributes:
        port: Where it speaks in clear, and offers STARTTLS.
        tls_port: Where it speaks TLS from the first byte.
        username: Whose mailbox it has.
        password: Of that user; hard to quote.
    """

    username: Final = "approvals@acme.example"
    password: Final = 'pa"ss\\word {3}'
    port: int
    tls_port: int

    def __init__(self, portal: BlockingPortal, config: MailConfig, login: Login) -> None:
        self._portal = portal
        self._config = config
        self._server = IMAPServer(login, config)
        self._sessions: set[asyncio.Task[None]] = set()

    def hide(self, *capabilities: bytes) -> None:
        """Do not tell later sessions of these capabilities."""
        self._config.hidden = frozenset(capabilities)

    def deliver(self, raw: bytes, *, mailbox: str = "INBOX", days_ago: int = 0) -> None:
        """Put a message into a mailbox."""
        self._portal.call(self._deliver, raw, mailbox, days_ago)

    def contents(self, mailbox: str = "INBOX") -> list[bytes]:
        """Return the messages in a mailbox, oldest first; none where there is no mailbox."""
        return self._portal.call(self._contents, mailbox)

    def flags(self, mailbox: str = "INBOX") -> list[set[str]]:
        """Return the flags of the messages in a mailbox."""
        return self._portal.call(self._flags, mailbox)

    def mark_deleted(self) -> None:
        """Mark all messages in the inbox as deleted, as another program would."""
        self._portal.call(self._mark_deleted)

    def renumber(self, *, first_uid: int = 1) -> None:
        """Give all messages in the inbox new UIDs under a new UIDVALIDITY, as after a restore."""
        self._portal.call(self._renumber, first_uid)

    def hang_up(self) -> None:
        """End all sessions."""
        self._portal.call(self._hang_up)

    @asynccontextmanager
    async def listening(self, certificate: Certificate) -> AsyncIterator[None]:
        """Serve on both ports."""
        async with AsyncExitStack() as stack:
            plain = await asyncio.start_server(self._serve, "127.0.0.1", 0)
            secure = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=certificate.server)
            stack.callback(plain.close)
            stack.callback(secure.close)
            self.port = plain.sockets[0].getsockname()[1]
            self.tls_port = secure.sockets[0].getsockname()[1]
            stack.push_async_callback(self._hang_up)
            yield

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # pymap's own service starts sessions that nobody holds: they may be collected half-way.
        self._config.apply_context()
        info = SocketInfo.get(writer, None, unique_id=os.urandom(4))
        session = asyncio.ensure_future(self._server(reader, writer, info))
        self._sessions.add(session)
        with suppress(asyncio.CancelledError, ConnectionError):
            await session
        self._sessions.discard(session)
        with suppress(ConnectionError, ssl.SSLError):
            await writer.wait_closed()

    async def _hang_up(self) -> None:
        for session in self._sessions:
            session.cancel()
        await asyncio.gather(*self._sessions, return_exceptions=True)

    async def _mailbox(self, name: str) -> MailboxData | None:
        mailboxes, _ = self._config.set_cache[self.username]
        with suppress(KeyError):
            return await mailboxes.get_mailbox(name)
        return None

    async def _deliver(self, raw: bytes, name: str, days_ago: int) -> None:
        mailbox = await self._mailbox(name)
        assert mailbox is not None
        now = datetime.now(tz=UTC)  # noqa: TID251 - mail servers go by the real clock
        await mailbox.append(AppendMessage(raw, now - timedelta(days=days_ago)))

    async def _contents(self, name: str) -> list[bytes]:
        mailbox = await self._mailbox(name)
        if mailbox is None:
            return []
        return [bytes(one._content) async for one in mailbox.messages() if one._content]

    async def _flags(self, name: str) -> list[set[str]]:
        mailbox = await self._mailbox(name)
        assert mailbox is not None
        return [{str(flag) for flag in one.permanent_flags} async for one in mailbox.messages()]

    async def _mark_deleted(self) -> None:
        mailbox = await self._mailbox("INBOX")
        assert mailbox is not None
        async for one in mailbox.messages():
            one.permanent_flags = frozenset({Deleted})

    async def _renumber(self, first_uid: int) -> None:
        contents = await self._contents("INBOX")
        mailbox = await self._mailbox("INBOX")
        assert mailbox is not None
        await mailbox.delete(list(mailbox._messages))
        mailbox._uid_validity += 1
        mailbox._max_uid = first_uid - 1
        for raw in contents:
            await self._deliver(raw, "INBOX", 0)


@pytest.fixture
def mail_server(loopback_certificate: Certificate) -> Iterator[MailServer]:
    """Return a mail server with one empty mailbox, which ends with the test."""
    with (
        start_blocking_portal("asyncio") as portal,
        portal.wrap_async_context_manager(a_mail_server(portal, loopback_certificate)) as server,
    ):
        yield server


@asynccontextmanager
async def a_mail_server(
    portal: BlockingPortal, certificate: Certificate
) -> AsyncIterator[MailServer]:
    """Set up pymap, on the loop of `portal`."""
    arguments = Namespace(
        host=None, port=0, debug=False, cert=None, key=None, tls=True,
        passlib_cfg=None, proxy_protocol="detect",
        demo_data=False, demo_user=MailServer.username, demo_password=MailServer.password,
    )  # fmt: skip
    config = MailConfig.from_args(
        arguments,
        ssl_context=certificate.server,
        cpu_subsystem=Subsystem.for_asyncio(),
        hash_context=BuiltinHash(rounds=1),
        invalid_user_sleep=0.0,
    )
    config.apply_context()
    login = Login(config)
    await DictBackend._add_demo_user(config, login)
    server = MailServer(portal, config, login)
    # The first session makes the mailbox.
    async with login.demo_user_identity.new_session(), server.listening(certificate):
        yield server


@dataclass(frozen=True)
class HangUp:
    """What a peer says before it ends the connection."""

    text: bytes = b""


Answer: TypeAlias = bytes | HangUp
"""What a peer says to a command; `TAG` stands for the command's tag. Without it the command stays unanswered."""

OK: Final = b"TAG OK done\r\n"

USUAL: Final[dict[str, Answer]] = {
    "CAPABILITY": b"* CAPABILITY IMAP4rev1 UIDPLUS MOVE\r\n" + OK,
    "LOGIN": OK,
    "SELECT": b"* 3 EXISTS\r\n* OK [UIDVALIDITY 7] valid\r\n* OK [UIDNEXT 10] next\r\n" + OK,
    "UID SEARCH": b"* SEARCH 5\r\n" + OK,
    "SIZES": b"* 1 FETCH (UID 5 RFC822.SIZE 3)\r\n" + OK,
    "BODIES": b"* 1 FETCH (UID 5 BODY[]<0> {3}\r\nabc)\r\n" + OK,
    "UID MOVE": OK,
    "LOGOUT": b"* BYE\r\n" + OK,
    "NOOP": OK,
    "IDLE": b"+ idling\r\n",
    "DONE": OK,
}


class Peer:
    """
    A scripted IMAP server, in a thread of its own: one connection after the other.

    Attributes:
        script: The answers by command; of several answers each is given once, the last again
            and again. `SIZES` and `BODIES` are what is fetched; `RESPONSE` is a line of a login.
        greeting: What it says first.
        greet: It says it only after this is set.
        in_single_bytes: Whether each byte goes out in a packet of its own.
        heard: Every command that came in, without its tag; `DONE` ends an IDLE.
        said: How many bytes went out.
        responses: What else was said in logins, decoded.
        tls: With what it encrypts from the first byte, or after STARTTLS.
    """

    def __init__(self) -> None:
        self.script: dict[str, Answer | list[Answer]] = dict(USUAL)
        self.greeting: Answer = b"* OK ready\r\n"
        self.greet = Event()
        self.greet.set()
        self.in_single_bytes = False
        self.heard: list[str] = []
        self.responses: list[bytes] = []
        self.tls: ssl.SSLContext | None = None
        self.connections = 0
        self.said = 0
        self._ended = 0
        self._changed = Condition()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._current: socket.socket | None = None
        self._stopped = False
        self._thread = Thread(target=self._serve)
        self.port: int = self._listener.getsockname()[1]

    def wait_for(self, condition: Callable[[Peer], bool]) -> None:
        """Wait until something has come about."""
        with self._changed:
            assert self._changed.wait_for(lambda: condition(self), WAIT)

    def push(self, text: bytes) -> None:
        """Say something that nobody asked for."""
        assert self._current is not None
        self._current.sendall(text)

    def vanish(self) -> None:
        """End the connection without a word."""
        assert self._current is not None
        socket.socket.shutdown(self._current, socket.SHUT_RDWR)

    def hang_up_after(self, text: bytes) -> HangUp:
        """Return the answer that is the last one of its connection."""
        return HangUp(text)

    def has_heard(self, text: str) -> bool:
        """Return whether a line with this text came in."""
        return any(text in line for line in self.heard)

    @property
    def ended(self) -> int:
        """How many connections are over."""
        return self._ended

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Serve until the block ends."""
        self._thread.start()
        try:
            yield
        finally:
            self._stopped = True
            self.greet.set()
            with suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port)).close()
            if (current := self._current) is not None:
                with suppress(OSError):
                    socket.socket.shutdown(current, socket.SHUT_RDWR)
            self._thread.join(WAIT)
            self._listener.close()
            assert not self._thread.is_alive()

    def _serve(self) -> None:
        while not self._stopped:
            connection, _ = self._listener.accept()
            self._current = connection
            self._notice("connections")
            with suppress(OSError, ValueError):  # a client may send bytes that are no text
                self._converse(connection)
            self._current.close()
            self._notice("_ended")

    def _notice(self, counter: str) -> None:
        with self._changed:
            setattr(self, counter, getattr(self, counter) + 1)
            self._changed.notify_all()

    def _converse(self, connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.tls is not None and "STARTTLS" not in self.script:
            self._current = connection = self.tls.wrap_socket(connection, server_side=True)
        self.greet.wait(WAIT)
        tag = b""
        goes_on = self._say(connection, self.greeting, tag)
        while goes_on and (line := self._line(connection)):
            first, _, rest = line.rstrip(b"\r\n").partition(b" ")
            tag = first if rest else tag
            command = "DONE" if first == b"DONE" else _command(rest.decode())
            with self._changed:
                if rest or command == "DONE":
                    self.heard.append(rest.decode() or command)
                else:
                    self.responses.append(base64.b64decode(first))
                self._changed.notify_all()
            goes_on = self._say(connection, self._answer(command), tag)
            if command == "STARTTLS" and goes_on and self.tls is not None:
                self._current = connection = self.tls.wrap_socket(connection, server_side=True)

    def _line(self, connection: socket.socket) -> bytes:
        line = b""
        while not line.endswith(b"\n"):
            byte = connection.recv(1)
            if not byte:
                return b""
            line += byte
        return line

    def _answer(self, command: str) -> Answer:
        answer = self.script.get(command, b"TAG NO not in the script\r\n")
        if isinstance(answer, list):
            return answer.pop(0) if len(answer) > 1 else answer[0]
        return answer

    def _say(self, connection: socket.socket, answer: Answer, tag: bytes) -> bool:
        text = answer.text if isinstance(answer, HangUp) else answer
        text = text.replace(b"TAG", tag)
        self.said += len(text)
        if self.in_single_bytes:
            for position in range(len(text)):
                connection.sendall(text[position : position + 1])
        else:
            connection.sendall(text)
        return not isinstance(answer, HangUp)


def _command(line: str) -> str:
    """Return what the script calls a command."""
    if not line:
        return "RESPONSE"
    if "RFC822.SIZE" in line:
        return "SIZES"
    if "BODY.PEEK" in line:
        return "BODIES"
    words = line.split(" ")
    return " ".join(words[:2]) if words[0] == "UID" else words[0]


@pytest.fixture
def peer() -> Iterator[Peer]:
    """Return a scripted server, which ends with the test."""
    peer = Peer()
    with peer.serving():
        yield peer
