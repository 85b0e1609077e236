"""`SMTPNotifier` against real servers on loopback, and against one that does what servers should not."""

from __future__ import annotations

import asyncio  # noqa: TID251 - aiosmtpd serves on asyncio only
import base64
import email
import logging
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from email.policy import default
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

import aiosmtplib
import anyio
import anyio.abc
import anyio.lowlevel
import pytest
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from signoff.errors import ConfigurationError, NotifyError
from signoff.model.delivery import Delivery, DeliveryKind
from signoff.model.request import Request
from signoff.notifiers import SMTPNotifier, smtp
from signoff.ports import Outgoing
from signoff.rules.outcomes import choices

NOW: Final = datetime(2026, 3, 1, 12, tzinfo=UTC)
TOKEN: Final = "ab2cd3ef" * 6
PASSWORD: Final = 'pa"ss\\w\u00f6rd'
DELIVERY_ID: Final = "dlv_abc"
MESSAGE_ID: Final = "<dlv_abc.3ecxot3nhkgrn5ga@acme.example>"
BOUNCE_TOKEN: Final = "gh4ij5kl" * 6


@pytest.fixture
def anyio_backend() -> str:
    """Aiosmtplib knows asyncio only."""
    return "asyncio"


def an_outgoing(
    *,
    kind: DeliveryKind = "request",
    token: str = TOKEN,
    bounce_token: str = "",
    recipient: str = "cfo@acme.example",
) -> Outgoing:
    request = Request(
        request_id="req_1",
        kind="call",
        message="Pay 1200.00 to acme",
        choices=choices(["approved", "rejected"]),
        payload_json='".leading dot"',
        payload_digest="",
        proposed_digest="",
        created_at=NOW,
    )
    delivery = Delivery(
        delivery_id=DELIVERY_ID,
        kind=kind,
        request_id="req_1",
        recipient=recipient,
        notifier="email",
        not_before=NOW + timedelta(minutes=5),
        created_at=NOW,
    )
    return Outgoing(delivery=delivery, request=request, token=token, bounce_token=bounce_token)


def a_notifier(port: int, **changes: Any) -> SMTPNotifier:
    settings: dict[str, Any] = {
        "sender": "Acme approvals <signoff@acme.example>",
        "reply_to": "approvals@acme.example",
        "tls": "none",
        "timeout": timedelta(seconds=10),
        **changes,
    }
    return SMTPNotifier("127.0.0.1", port, **settings)


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file with key and certificate of a server on 127.0.0.1 that nobody vouches for."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2120, 1, 1, tzinfo=UTC))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return path


@pytest.fixture
def server_tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


@pytest.fixture
def client_tls(certificate: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=certificate)


@dataclass
class Mailbox:
    """What an aiosmtpd server took, and who said hello and logged in."""

    port: int = 0
    envelopes: list[Envelope] = field(default_factory=list)
    hellos: list[str | None] = field(default_factory=list)
    logins: list[tuple[str, str]] = field(default_factory=list)
    encrypted: list[bool] = field(default_factory=list)

    async def handle_DATA(  # noqa: N802 - aiosmtpd calls it so
        self, server: SMTP, session: Session, envelope: Envelope
    ) -> str:
        """Take a mail."""
        self.envelopes.append(envelope)
        self.hellos.append(session.host_name)
        self.encrypted.append(session.ssl is not None)
        return "250 taken"

    def authenticate(
        self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: object
    ) -> AuthResult:
        """Let in whoever knows the password."""
        assert isinstance(data, LoginPassword)
        self.logins.append((data.login.decode(), data.password.decode()))
        # handled=True would leave the client without any answer.
        return AuthResult(success=self.logins[-1][1] == PASSWORD, handled=False)

    def mail(self) -> EmailMessage:
        """Return the last mail."""
        content = self.envelopes[-1].original_content
        assert content is not None
        message = email.message_from_bytes(content, policy=default)
        assert isinstance(message, EmailMessage)
        return message


@asynccontextmanager
async def real_server(
    *, tls: ssl.SSLContext | None = None, **settings: Any
) -> AsyncIterator[Mailbox]:
    """Serve SMTP by aiosmtpd; `tls` means TLS from the first byte."""
    mailbox = Mailbox()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: SMTP(mailbox, loop=loop, authenticator=mailbox.authenticate, **settings),
        "127.0.0.1",
        ssl=tls,
    )
    mailbox.port = server.sockets[0].getsockname()[1]
    async with server:
        yield mailbox


Reply = str | Callable[["Peer"], str | None] | None
"""An answer; or what makes one; `None` breaks the connection."""


@dataclass
class Peer:
    """A server that answers by a script and keeps what it was told."""

    script: dict[str, Reply]
    port: int = 0
    connections: int = 0
    heard: list[str] = field(default_factory=list)
    bodies: list[str] = field(default_factory=list)
    silent: anyio.Event = field(default_factory=anyio.Event)
    closed: anyio.Event = field(default_factory=anyio.Event)

    def verbs(self) -> list[str]:
        """Return the commands without their arguments."""
        return [line.partition(" ")[0] for line in self.heard]


SILENCE: Final = "silence"
PATIENT: Final[dict[str, Reply]] = {
    "CONNECT": "220 ready",
    "EHLO": "250 hello",
    "MAIL": "250 ok",
    "RCPT": "250 ok",
    "DATA": "354 go on",
    ".": "250 taken",
    "QUIT": "221 bye",
    "RSET": "250 ok",
}


def silent_at_first(verb: str) -> Callable[[Peer], str | None]:
    """Return a reply that the first connection never gets and the others do."""
    later = PATIENT["." if verb == "BODY" else verb]
    assert isinstance(later, str)
    return lambda peer: SILENCE if peer.connections == 1 else later


@asynccontextmanager
async def scripted_server(port: int = 0, /, **script: Reply) -> AsyncIterator[Peer]:
    """Serve by a script: a reply by verb, `BODY` for the end of the data."""
    if "BODY" in script:
        script["."] = script.pop("BODY")
    peer = Peer({**PATIENT, **script})
    async with (
        await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=port) as listener,
        anyio.create_task_group() as group,
    ):
        peer.port = listener.extra_attributes[anyio.abc.SocketAttribute.local_port]()
        group.start_soon(listener.serve, lambda stream: talk(peer, stream))
        yield peer
        group.cancel_scope.cancel()


async def talk(peer: Peer, stream: anyio.abc.SocketStream) -> None:
    peer.connections += 1
    buffer = b""
    verb = "CONNECT"
    async with stream:
        with suppress(anyio.EndOfStream, anyio.BrokenResourceError):
            while True:
                reply = peer.script.get(verb, "502 unknown")
                answer = reply(peer) if callable(reply) else reply
                if answer is None:
                    return
                if answer == SILENCE:
                    peer.silent.set()
                else:
                    await stream.send(f"{answer}\r\n".encode())
                end = b"\r\n.\r\n" if verb == "DATA" and answer[:1] == "3" else b"\r\n"
                while end not in buffer:
                    buffer += await stream.receive()
                line, _, buffer = buffer.partition(end)
                if end == b"\r\n":
                    peer.heard.append(line.decode())
                    verb = line.decode().partition(" ")[0].upper()
                else:
                    peer.bodies.append(line.decode())
                    verb = "."
    peer.closed.set()


async def failure(notifier: SMTPNotifier) -> NotifyError:
    """Return the error of a send that fails."""
    with pytest.raises(NotifyError) as caught:
        await notifier.send(an_outgoing())
    return caught.value


async def test_a_mail_arrives_whole_over_starttls_with_a_login(
    server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    """Encrypted before the login, from the sender to the one recipient, with our message id."""
    async with real_server(tls_context=server_tls, require_starttls=True) as mailbox:
        notifier = a_notifier(
            mailbox.port,
            tls="starttls",
            tls_context=client_tls,
            username="signoff",
            password=PASSWORD,
        )
        message_id = await notifier.send(an_outgoing())
        await notifier.aclose()

    envelope = mailbox.envelopes[0]
    assert message_id == MESSAGE_ID
    assert envelope.mail_from == "signoff@acme.example"
    assert envelope.rcpt_tos == ["cfo@acme.example"]
    assert mailbox.logins == [("signoff", PASSWORD)]
    assert mailbox.encrypted == [True]
    assert mailbox.hellos == ["acme.example"]
    mail = mailbox.mail()
    assert mail["From"] == "Acme approvals <signoff@acme.example>"
    assert mail["Reply-To"] == f"approvals+{TOKEN}@acme.example"
    assert mail["Message-ID"] == MESSAGE_ID
    assert mail["Date"] == "Sun, 01 Mar 2026 12:05:00 +0000"
    body = mail.get_body(("plain",))
    assert body is not None
    assert "| value (str): .leading dot\r\n" in body.get_content()


async def test_a_mail_arrives_over_implicit_tls(
    server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    """TLS from the first byte; several mails share one connection and one login."""
    async with real_server(tls=server_tls, auth_require_tls=False) as mailbox:
        notifier = a_notifier(
            mailbox.port,
            tls="implicit",
            tls_context=client_tls,
            username="signoff",
            password=PASSWORD,
        )
        await notifier.send(an_outgoing())
        await notifier.send(an_outgoing())
        await notifier.aclose()

    assert len(mailbox.envelopes) == 2
    assert len(mailbox.logins) == 1


async def test_a_refused_login_is_told_without_the_servers_words(
    server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    """It may pass, once somebody has mended the password; the password itself is not shown."""
    async with real_server(tls_context=server_tls, require_starttls=True) as mailbox:
        notifier = a_notifier(
            mailbox.port,
            tls="starttls",
            tls_context=client_tls,
            username="signoff",
            password="wrong",
        )
        error = await failure(notifier)
        await notifier.aclose()

    assert not error.permanent
    assert str(error) == (
        f"127.0.0.1:{mailbox.port} (starttls) refused the login of 'signoff' (535)"
    )


@pytest.mark.parametrize("kind", ["confirmation", "refusal", "cancelled", "expired", "undelivered"])
async def test_a_mail_that_answers_has_the_empty_path(kind: DeliveryKind) -> None:
    """No bounce and no automatic answer comes back to it. Source: RFC 3834 section 5."""
    async with scripted_server() as peer:
        notifier = a_notifier(peer.port)
        await notifier.send(an_outgoing(kind=kind, bounce_token=BOUNCE_TOKEN))
        await notifier.aclose()

    assert "MAIL FROM:<>" in peer.heard


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, f"approvals+{BOUNCE_TOKEN}@acme.example"),
        ({"separator": "-"}, f"approvals-{BOUNCE_TOKEN}@acme.example"),
        ({"reply_to": "@reply.acme.example"}, f"{BOUNCE_TOKEN}@reply.acme.example"),
        ({"verp": False}, "signoff@acme.example"),
    ],
)
async def test_each_request_has_a_path_of_its_own_by_which_it_comes_back(
    changes: dict[str, object], expected: str
) -> None:
    """Made as the reply address is, with another token, which stands in no header of the mail."""
    async with scripted_server() as peer:
        notifier = a_notifier(peer.port, **changes)
        await notifier.send(an_outgoing(bounce_token=BOUNCE_TOKEN))
        await notifier.aclose()

    assert f"MAIL FROM:<{expected}>" in peer.heard
    assert len(expected.partition("@")[0]) <= 64
    assert BOUNCE_TOKEN not in peer.bodies[0]


async def test_a_refused_path_is_not_repeated_in_the_error() -> None:
    """A server that quotes the envelope's sender puts no token into the store or the log."""
    refusal = f"550 5.7.60 approvals+{BOUNCE_TOKEN.upper()}@acme.example may not send"
    async with scripted_server(MAIL=refusal) as peer:
        notifier = a_notifier(peer.port)
        with pytest.raises(NotifyError) as caught:
            await notifier.send(an_outgoing(bounce_token=BOUNCE_TOKEN))

    assert "approvals+<token>@acme.example may not send" in str(caught.value)


async def test_a_request_has_the_senders_path_and_without_token_no_reply_address() -> None:
    """Its bounces come to the sender's own mailbox."""
    async with scripted_server() as peer:
        notifier = a_notifier(peer.port, sender="signoff@acme.example", local_hostname="mx.acme")
        await notifier.send(an_outgoing(token="", recipient="Cfo@Acme.Example"))
        await notifier.aclose()

    assert peer.heard == [
        "EHLO mx.acme",
        "MAIL FROM:<signoff@acme.example>",
        "RCPT TO:<cfo@acme.example>",
        "DATA",
        "QUIT",
    ]
    assert "Reply-To" not in peer.bodies[0]
    assert "\r\nTo: cfo@acme.example\r\n" in peer.bodies[0]


async def test_one_connection_is_used_again_until_it_is_closed() -> None:
    """`aclose` says goodbye, may be called again, and the next send connects anew."""
    async with scripted_server() as peer:
        notifier = a_notifier(peer.port)
        await notifier.aclose()
        await notifier.send(an_outgoing())
        await notifier.send(an_outgoing())
        assert peer.connections == 1
        await notifier.aclose()
        await notifier.aclose()
        assert peer.verbs()[-1] == "QUIT"
        await notifier.send(an_outgoing())
        assert peer.connections == 2
        await notifier.aclose()


async def test_a_connection_carries_a_hundred_mails() -> None:
    """Servers cut longer ones off in the middle."""
    async with scripted_server() as peer:
        notifier = a_notifier(peer.port)
        for _ in range(100):
            await notifier.send(an_outgoing())
        assert peer.connections == 1
        await notifier.send(an_outgoing())
        assert peer.connections == 2
        assert peer.verbs().count("QUIT") == 1
        await notifier.aclose()


@pytest.mark.parametrize(("idle", "connections"), [(59.0, 1), (61.0, 2)])
async def test_a_connection_is_not_used_after_a_minute_without_a_mail(
    idle: float, connections: int
) -> None:
    """Servers close idle ones, and a firewall does so without a word."""
    async with scripted_server() as peer:
        notifier = a_notifier(peer.port)
        await notifier.send(an_outgoing())
        (line,) = notifier._lines.values()
        line.used_at -= idle
        await notifier.send(an_outgoing())
        assert peer.connections == connections
        await notifier.aclose()


async def test_a_connection_that_the_server_closed_is_replaced() -> None:
    """The next send finds it closed and connects again, on the same object."""
    async with scripted_server(
        BODY=lambda peer: "250 taken" if peer.connections > 1 else None
    ) as peer:
        notifier = a_notifier(peer.port)
        assert not (await failure(notifier)).permanent
        assert await notifier.send(an_outgoing()) == MESSAGE_ID
        assert peer.connections == 2
        await notifier.aclose()


async def test_sends_at_the_same_time_take_turns_on_one_connection() -> None:
    """Their commands do not mix."""
    async with scripted_server() as peer:
        notifier = a_notifier(peer.port)
        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(notifier.send, an_outgoing())
        await notifier.aclose()

    assert peer.connections == 1
    assert peer.verbs() == ["EHLO", *["MAIL", "RCPT", "DATA"] * 5, "QUIT"]


@pytest.mark.parametrize("verb", ["MAIL", "RCPT", "DATA", "BODY"])
@pytest.mark.parametrize(
    ("reply", "permanent"),
    [("550 5.1.1 no", True), ("500 no", True), ("499 no", False), ("421 later", False)],
)
async def test_a_refusal_is_permanent_from_500_on(verb: str, reply: str, permanent: bool) -> None:
    """Whichever command is refused; the connection is not used again."""
    async with scripted_server(**{verb: reply}) as peer:
        notifier = a_notifier(peer.port)
        error = await failure(notifier)
        assert error.permanent is permanent
        assert str(error) == f"the server refused the mail: {reply}"
        await failure(notifier)
        assert peer.connections == 2
        await notifier.aclose()


@pytest.mark.parametrize("code", [530, 534, 535, 538])
async def test_a_refusal_that_concerns_the_login_may_pass(code: int) -> None:
    """Every other mail would be refused as well, until somebody mends the settings."""
    async with scripted_server(MAIL=f"{code} authenticate first") as peer:
        error = await failure(a_notifier(peer.port))

    assert not error.permanent
    assert str(error) == f"the server refused the mail: {code} authenticate first"


async def test_a_servers_words_are_shown_without_control_characters_and_token() -> None:
    """What a server repeats of our mail does not get into logs and stored errors."""
    said = f"554 spam: Reply-To approvals+{TOKEN.upper()}@acme.example \x1b[2J"
    async with scripted_server(BODY=said) as peer:
        notifier = a_notifier(peer.port)
        error = await failure(notifier)

    assert str(error) == (
        "the server refused the mail: 554 spam: Reply-To approvals+<token>@acme.example"
        " \u27e8U+001B\u27e9[2J"
    )
    assert error.__suppress_context__
    assert error.__cause__ is None


@pytest.mark.parametrize("verb", ["CONNECT", "EHLO", "MAIL", "RCPT", "DATA", "BODY"])
async def test_a_connection_that_breaks_may_be_tried_again(verb: str) -> None:
    """At every point, also in the middle of the mail."""
    async with scripted_server(**{verb: None}) as peer:
        notifier = a_notifier(peer.port)
        error = await failure(notifier)
        await notifier.aclose()

    assert not error.permanent
    assert str(error).startswith(("the connection broke: ", "no connection to 127.0.0.1:"))


@pytest.mark.parametrize("greeting", ["554 no service here", "421 busy", "hello?"])
async def test_a_server_that_does_not_want_us_may_be_tried_again(greeting: str) -> None:
    """That concerns the connection, not this mail, whatever the code."""
    async with scripted_server(CONNECT=greeting) as peer:
        error = await failure(a_notifier(peer.port))

    assert not error.permanent
    assert str(error).startswith(f"no connection to 127.0.0.1:{peer.port} (none): ")


async def test_no_server_at_all_may_be_tried_again() -> None:
    """Nothing listens on the port any more."""
    async with scripted_server() as peer:
        pass
    error = await failure(a_notifier(peer.port))

    assert not error.permanent
    assert str(error).startswith(f"no connection to 127.0.0.1:{peer.port} (none): ")


@pytest.mark.parametrize("verb", ["CONNECT", "EHLO", "RCPT", "BODY"])
async def test_a_slow_answer_ends_the_send_and_the_connection(verb: str) -> None:
    """A late reply can so never be taken for the next mail's; the next one has a fresh connection."""
    async with scripted_server(**{verb: silent_at_first(verb)}) as peer:
        notifier = a_notifier(peer.port, timeout=timedelta(milliseconds=200))
        error = await failure(notifier)
        with anyio.fail_after(5):
            await peer.closed.wait()
        assert not error.permanent
        assert str(error) == f"127.0.0.1:{peer.port} (none) did not answer in time"

        notifier._timeout = timedelta(seconds=10)
        assert await notifier.send(an_outgoing()) == MESSAGE_ID
        assert peer.connections == 2
        await notifier.aclose()


@pytest.mark.parametrize("verb", ["CONNECT", "MAIL", "BODY"])
async def test_a_cancelled_send_closes_its_connection(verb: str) -> None:
    """It stays cancelled, and the next send has a fresh connection."""
    async with scripted_server(**{verb: silent_at_first(verb)}) as peer:
        notifier = a_notifier(peer.port)
        with anyio.fail_after(5):
            async with anyio.create_task_group() as group:
                group.start_soon(notifier.send, an_outgoing())
                await peer.silent.wait()
                group.cancel_scope.cancel()
            await peer.closed.wait()

        assert await notifier.send(an_outgoing()) == MESSAGE_ID
        assert peer.connections == 2
        await notifier.aclose()


async def test_a_dropped_connection_sends_nothing_more() -> None:
    """What is still buffered of a mail that was given up does not go out after all."""
    async with scripted_server() as peer:
        client = aiosmtplib.SMTP(hostname="127.0.0.1", port=peer.port, timeout=10, start_tls=False)
        await client.connect()
        transport = client.transport
        assert isinstance(transport, asyncio.WriteTransport)
        transport.write(b"x" * 20_000_000)
        assert transport.get_write_buffer_size() > 0

        smtp._drop(client)

        assert transport.get_write_buffer_size() == 0
        assert not client.is_connected


async def test_a_goodbye_that_is_not_answered_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A client that shuts down does not hang on a mail server."""
    monkeypatch.setattr(smtp, "_GOODBYE", timedelta(milliseconds=50))
    async with scripted_server(QUIT=SILENCE) as peer:
        notifier = a_notifier(peer.port)
        await notifier.send(an_outgoing())
        with anyio.fail_after(5):
            await notifier.aclose()
            await peer.closed.wait()


async def test_a_server_without_starttls_never_sees_a_login() -> None:
    """Somebody in the middle may have taken the offer out."""
    async with scripted_server(EHLO="250-hello\r\n250 AUTH PLAIN LOGIN", AUTH="235 ok") as peer:
        notifier = a_notifier(peer.port, tls="starttls", username="u", password=PASSWORD)
        error = await failure(notifier)

    assert not error.permanent
    assert "STARTTLS" in str(error)
    assert peer.verbs() == ["EHLO"]


async def test_a_server_that_takes_starttls_back_never_sees_a_login() -> None:
    """Offered, then refused: nothing is sent in clear."""
    async with scripted_server(
        EHLO="250-hello\r\n250-AUTH PLAIN\r\n250 STARTTLS", STARTTLS="454 not now"
    ) as peer:
        notifier = a_notifier(peer.port, tls="starttls", username="u", password=PASSWORD)
        error = await failure(notifier)

    assert not error.permanent
    assert peer.verbs() == ["EHLO", "STARTTLS"]


@pytest.mark.parametrize("tls", ["implicit", "starttls"])
async def test_a_certificate_that_nobody_vouches_for_is_refused(
    tls: str, server_tls: ssl.SSLContext
) -> None:
    """With the default context; nobody logs in."""
    implicit = tls == "implicit"
    async with real_server(
        tls=server_tls if implicit else None,
        tls_context=None if implicit else server_tls,
        auth_require_tls=False,
    ) as mailbox:
        notifier = a_notifier(mailbox.port, tls=tls, username="signoff", password=PASSWORD)
        error = await failure(notifier)

    assert not error.permanent
    assert "certificate" in str(error).lower()
    assert mailbox.logins == []


async def test_an_access_token_is_asked_for_at_each_login() -> None:
    """XOAUTH2: an old token would be refused."""
    given = iter(["token-1", "token-2"])

    async def token() -> str:
        return next(given)

    async with scripted_server(EHLO="250-hello\r\n250 AUTH XOAUTH2", AUTH="235 ok") as peer:
        notifier = a_notifier(peer.port, username="signoff", token=token)
        await notifier.send(an_outgoing())
        await notifier.send(an_outgoing())
        await notifier.aclose()
        await notifier.send(an_outgoing())
        await notifier.aclose()

    logins = [line.split()[2] for line in peer.heard if line.startswith("AUTH XOAUTH2")]
    assert [base64.b64decode(login) for login in logins] == [
        b"user=signoff\x01auth=Bearer token-1\x01\x01",
        b"user=signoff\x01auth=Bearer token-2\x01\x01",
    ]


async def test_a_refused_access_token_is_a_refused_login() -> None:
    """The server's challenge is answered with an empty line, as XOAUTH2 wants it."""

    async def token() -> str:
        return "expired"

    async with scripted_server(
        EHLO="250-hello\r\n250 AUTH XOAUTH2", AUTH="334 eyJzdGF0dXMiOiI0MDAifQ==", **{"": "535 no"}
    ) as peer:
        error = await failure(a_notifier(peer.port, username="signoff", token=token))

    assert not error.permanent
    assert str(error).endswith("refused the login of 'signoff' (535)")


async def test_a_token_source_that_fails_is_told_without_its_words() -> None:
    """They may hold a refresh token; the send may be tried again."""

    async def token() -> str:
        raise LookupError("refresh token s3cret is expired")

    async with scripted_server(EHLO="250-hello\r\n250 AUTH XOAUTH2") as peer:
        error = await failure(a_notifier(peer.port, username="signoff", token=token))

    assert not error.permanent
    assert str(error) == "token= raised LookupError"


async def test_nothing_secret_is_logged_at_debug(caplog: pytest.LogCaptureFixture) -> None:
    """Password, access token and reply token, when all goes well and when the server repeats them."""

    async def token() -> str:
        return "access-s3cret"

    caplog.set_level(logging.DEBUG)
    hello = "250-hello\r\n250-AUTH PLAIN LOGIN XOAUTH2\r\n250 SIZE 1000"
    async with scripted_server(EHLO=hello, AUTH="235 ok", BODY=f"554 {TOKEN}") as peer:
        errors = [
            await failure(a_notifier(peer.port, username="u", password=PASSWORD)),
            await failure(a_notifier(peer.port, username="u", token=token)),
        ]
    async with scripted_server(EHLO=hello, AUTH=f"535 bad {PASSWORD} access-s3cret") as peer:
        errors += [
            await failure(a_notifier(peer.port, username="u", password=PASSWORD)),
            await failure(a_notifier(peer.port, username="u", token=token)),
        ]
    for error in errors:
        logging.getLogger("test").error("sending failed", exc_info=error)

    for secret in (PASSWORD, 'pa"ss', "pa\\", "access-s3cret", TOKEN, TOKEN.upper()):
        assert secret not in caplog.text
        assert base64.b64encode(secret.encode()).decode() not in caplog.text
    assert repr(a_notifier(25, username="u", password=PASSWORD)).startswith("<signoff.")


async def test_a_recipient_without_a_mail_address_is_a_permanent_failure() -> None:
    """No connection is made for it."""
    notifier = a_notifier(1)
    with pytest.raises(NotifyError, match="no plain mail address") as caught:
        await notifier.send(an_outgoing(recipient="a b@acme.example"))

    assert caught.value.permanent
    assert not notifier.reaches("a b@acme.example")
    assert not notifier.reaches("alice")
    assert notifier.reaches("cfo@acme.example")


@pytest.mark.parametrize("anyio_backend", ["trio"])
async def test_on_trio_sending_says_that_it_needs_asyncio() -> None:
    """Making a notifier works anywhere; connecting does not."""
    notifier = a_notifier(25)

    with pytest.raises(ConfigurationError, match="needs asyncio"):
        await notifier.send(an_outgoing())
    with pytest.raises(ConfigurationError, match="needs asyncio"):
        await notifier.aclose()


def test_a_notifier_may_be_used_by_one_event_loop_after_the_other() -> None:
    """A connection of a loop that is gone is forgotten, not used."""

    async def send_once(notifier: SMTPNotifier) -> int:
        async with scripted_server(port, BODY=lambda peer: None) as peer:
            await failure(notifier)
            return peer.connections

    async def free_port() -> int:
        async with scripted_server() as peer:
            return peer.port

    port = anyio.run(free_port)
    notifier = a_notifier(port)

    assert anyio.run(send_once, notifier) == 1
    assert anyio.run(send_once, notifier) == 1
    assert len(notifier._lines) == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"tls": "opportunistic"},
            "tls='opportunistic'; use one of 'implicit', 'starttls', 'none'",
        ),
        ({"password": "x", "token": anyio.sleep_forever, "username": "u"}, "takes one of them"),
        ({"username": "u"}, "a login takes username= and one of"),
        ({"password": "x"}, "a login takes username= and one of"),
        ({"token": anyio.sleep_forever}, "a login takes username= and one of"),
        ({"sender": "Acme approvals"}, "is no mail address; give"),
        ({"sender": "Acme <a@b> <c@acme.example>"}, "is no mail address; give"),
        ({"reply_to": f"{'a' * 16}@acme.example"}, "cannot carry a token"),
        ({"reply_to": "approvals"}, "no mail address"),
        ({"separator": "#"}, "cannot part"),
    ],
)
def test_settings_that_cannot_work_are_refused_at_once(
    changes: dict[str, object], message: str
) -> None:
    """Before anything is connected."""
    with pytest.raises(ConfigurationError, match=message):
        a_notifier(25, **changes)


def test_the_longest_reply_address_is_taken() -> None:
    """15 characters, the separator and 48 of token make 64."""
    a_notifier(25, reply_to=f"{'a' * 15}@acme.example", sender=f"s@{'a' * 63}")


@pytest.mark.parametrize("hostname", ["mail.acme.example", "192.0.2.1", "localhost.acme.example"])
def test_mail_in_clear_is_refused_off_loopback(hostname: str) -> None:
    """Passwords and requests would pass through other hands."""
    with pytest.raises(ConfigurationError, match="in clear"):
        SMTPNotifier(hostname, sender="s@acme.example", reply_to="a@acme.example", tls="none")


@pytest.mark.parametrize("hostname", ["localhost", "127.0.0.1", "127.9.9.9", "::1"])
def test_mail_in_clear_is_allowed_on_loopback(hostname: str) -> None:
    """For tests, demos and a relay on the same machine."""
    notifier = SMTPNotifier(
        hostname, sender="s@acme.example", reply_to="a@acme.example", tls="none"
    )

    assert notifier._port == 25


def test_settings_left_out_are_the_safe_ones() -> None:
    """TLS from the first byte on its own port; a name; replies expected."""
    notifier = SMTPNotifier("mail.acme.example", sender="s@acme.example", reply_to="a@acme.example")
    other = SMTPNotifier(
        "mail.acme.example", sender="s@acme.example", reply_to="a@acme.example", tls="starttls"
    )

    assert (notifier._tls, notifier._port) == ("implicit", 465)
    assert (notifier._timeout, notifier.name) == (timedelta(seconds=30), "email")
    assert notifier.expects_reply
    assert other._port == 587
