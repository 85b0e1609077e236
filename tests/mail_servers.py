"""Dovecot and Postfix as Debian has them: private instances on loopback, in a folder of their own."""

from __future__ import annotations

import grp
import json
import os
import pwd
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from threading import Event, Thread
from typing import Final
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from typing_extensions import override

WAIT: Final = 30
"""Seconds after which a test stops to wait for a server."""

SBIN: Final = Path("/usr/sbin")
TOKEN: Final = "ya29.token-of-"
OWNER: Final = "nobody"
GROUP: Final = "nogroup"

DOVECOT: Final = """
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/dovecot.log
protocols = imap
listen = 127.0.0.1
mail_location = maildir:{mail}/%u
mail_uid = nobody
mail_gid = nogroup
first_valid_uid = 1
disable_plaintext_auth = yes
auth_failure_delay = 1 secs
ssl = yes
ssl_cert = <{certificate}
ssl_key = <{certificate}
auth_mechanisms = plain login xoauth2
passdb {{
  driver = static
  mechanisms = plain login
  args = password={password}
}}
passdb {{
  driver = oauth2
  mechanisms = xoauth2
  args = {folder}/oauth2.conf
}}
userdb {{
  driver = static
  args = home={mail}/%u
}}
service anvil {{
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service imap-login {{
  inet_listener imap {{
    port = {port}
  }}
  inet_listener imaps {{
    port = {tls_port}
    ssl = yes
  }}
}}
"""

OAUTH2: Final = """
tokeninfo_url = http://127.0.0.1:{token_port}/?access_token=
username_attribute = email
"""

POSTFIX: Final = """
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
maillog_file = {folder}/postfix.log
maillog_file_prefixes = {folder}
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = mx.acme.example
mydestination =
mynetworks = 127.0.0.0/8
alias_maps =
local_recipient_maps =
recipient_delimiter = +
virtual_mailbox_domains = acme.example
virtual_mailbox_base = {mail}
virtual_mailbox_maps = inline:{{ {mailboxes} }}
virtual_alias_maps = inline:{{ gone@acme.example=gone@elsewhere.example }}
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
virtual_minimum_uid = 1
transport_maps = inline:{{ {{elsewhere.example = error:5.1.1 there is no such mailbox}} }}
smtpd_tls_chain_files = {certificate}
smtpd_tls_security_level = encrypt
smtpd_sender_restrictions = check_sender_access inline:{{ {vouched} }}
"""

MASTER: Final = """
127.0.0.1:{port} inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
error unix - - n - - error
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
"""


class Tokens(BaseHTTPRequestHandler):
    """An identity provider that knows one token for each mailbox, as `RealServers.token` has it."""

    @override
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: what a request holds is a token."""

    def do_GET(self) -> None:
        """Tell Dovecot whose a token is, if it is anybody's."""
        [token] = parse_qs(urlsplit(self.path).query).get("access_token", [""])
        user = token.removeprefix(TOKEN)
        self.send_response(HTTPStatus.UNAUTHORIZED if user == token else HTTPStatus.OK)
        said = b"{}" if user == token else json.dumps({"email": user, "active": True}).encode()
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)


class RealServers:
    """
    Dovecot and Postfix, which deliver into the same mailboxes, and the CA that both are trusted by.

    Postfix delivers into Maildirs itself, whether Dovecot runs or not. It writes an
    `Authentication-Results` for the senders of its own domain, as if it had checked them.

    Attributes:
        host: Where both listen.
        imap_port: Dovecot, in clear, with STARTTLS; it takes no login without.
        imaps_port: Dovecot, with TLS from the first byte.
        smtp_port: Postfix, with STARTTLS; it takes no mail without.
        password: Of every mailbox.
        client: What trusts the servers' certificate, and nothing else.
        trusted: The authserv-id that Postfix writes.
    """

    host: Final = "127.0.0.1"
    password: Final = 'pa"ss\\word'
    trusted: Final = "mx.acme.example"
    mailboxes: Final = ("approvals@acme.example", "brand@acme.example")

    def __init__(self, folder: Path) -> None:
        self.imap_port, self.imaps_port, self.smtp_port = free_ports(3)
        self._folder = folder
        self._mail = folder / "mail"
        self._dovecot: subprocess.Popen[bytes] | None = None
        self._postfix: subprocess.Popen[bytes] | None = None
        self._tokens = ThreadingHTTPServer(("127.0.0.1", 0), Tokens)
        certificate, authority = folder / "server.pem", folder / "ca.pem"
        write_certificates(certificate, authority)
        self.client = ssl.create_default_context(cafile=authority)
        self._configure(certificate)

    def start(self) -> None:
        """Start both, and whom Dovecot asks about tokens."""
        Thread(target=self._tokens.serve_forever, daemon=True).start()
        self.start_dovecot()
        self._postfix = self._run("postfix", "-c", str(self._folder / "etc"), "start-fg")
        self._until(lambda: answers(self.smtp_port))

    def stop(self) -> None:
        """End both, and all that they started."""
        if self._dovecot is not None:
            self.kill_dovecot()
        if self._postfix is not None:
            stop = [str(SBIN / "postfix"), "-c", str(self._folder / "etc"), "stop"]
            subprocess.run(stop, check=False, capture_output=True, timeout=WAIT)
            self._postfix.wait(WAIT)
        self._tokens.shutdown()
        self._tokens.server_close()

    @staticmethod
    def token(mailbox: str) -> str:
        """Return an access token that opens a mailbox."""
        return TOKEN + mailbox

    def start_dovecot(self) -> None:
        """Start Dovecot, on the same ports and over the same mailboxes as before."""
        self._dovecot = self._run("dovecot", "-F", "-c", str(self._folder / "dovecot.conf"))
        self._until(lambda: answers(self.imap_port))

    def kill_dovecot(self) -> None:
        """Kill Dovecot and all its sessions, without a goodbye."""
        assert self._dovecot is not None
        os.killpg(self._dovecot.pid, signal.SIGKILL)
        self._dovecot.wait(WAIT)
        self._dovecot = None
        self._until(lambda: not answers(self.imap_port))

    def deliver(self, raw: bytes, mailbox: str) -> None:
        """Put a message into a mailbox, as a delivery agent does."""
        maildir = self._mail / mailbox
        for part in (maildir, maildir / "tmp", maildir / "new", maildir / "cur"):
            part.mkdir(exist_ok=True)
            shutil.chown(part, OWNER, GROUP)
        name = f"{time.time_ns()}.M1.test"
        (maildir / "tmp" / name).write_bytes(raw)
        shutil.chown(maildir / "tmp" / name, OWNER, GROUP)
        (maildir / "tmp" / name).rename(maildir / "new" / name)

    def wait_for_delivery(self, mailbox: str) -> bytes:
        """Wait until a message that nobody has looked at lies in a mailbox, and return it."""
        new = self._mail / mailbox / "new"
        self._until(lambda: new.is_dir() and any(new.iterdir()))
        return next(new.iterdir()).read_bytes()

    def logins(self) -> int:
        """Return how many times the mailbox of the approvals has been logged into."""
        log = (self._folder / "dovecot.log").read_text()
        return log.count("Login: user=<approvals@acme.example>")

    def empty(self) -> None:
        """Remove all messages."""
        for mailbox in self._mail.iterdir():
            shutil.rmtree(mailbox)

    def _configure(self, certificate: Path) -> None:
        for name in ("etc", "queue", "data", "mail"):
            (self._folder / name).mkdir()
        shutil.chown(self._folder / "data", "postfix", "postfix")
        shutil.chown(self._mail, OWNER, GROUP)
        settings = {
            "folder": self._folder,
            "mail": self._mail,
            "certificate": certificate,
            "password": self.password,
            "port": self.imap_port,
            "token_port": self._tokens.server_port,
            "tls_port": self.imaps_port,
            "uid": pwd.getpwnam(OWNER).pw_uid,
            "gid": grp.getgrnam(GROUP).gr_gid,
            "mailboxes": " ".join(f"{name}={name}/" for name in self.mailboxes),
            "vouched": " ".join(
                f"{{{name} = PREPEND Authentication-Results: {self.trusted};"
                " dmarc=pass header.from=acme.example}"
                for name in self.mailboxes
            ),
        }
        (self._folder / "dovecot.conf").write_text(DOVECOT.format(**settings))
        (self._folder / "oauth2.conf").write_text(OAUTH2.format(**settings))
        (self._folder / "etc" / "main.cf").write_text(POSTFIX.format(**settings))
        (self._folder / "etc" / "master.cf").write_text(MASTER.format(port=self.smtp_port))

    def _run(self, name: str, *arguments: str) -> subprocess.Popen[bytes]:
        with (self._folder / f"{name}.out").open("ab") as out:
            command = [str(SBIN / name), *arguments]
            return subprocess.Popen(command, stdout=out, stderr=out, start_new_session=True)

    def _until(self, condition: Callable[[], bool]) -> None:
        """Wait until something has come about outside of this process."""
        deadline = time.monotonic() + WAIT
        while not condition():
            said = "\n".join(
                f"{path}: {path.read_text()}"
                for path in sorted(self._folder.glob("*.*"))
                if path.suffix in {".log", ".out"}
            )
            assert time.monotonic() < deadline, said
            Event().wait(0.02)


def free_ports(count: int) -> list[int]:
    """Return ports of loopback that nobody uses now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports: list[int] = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def answers(port: int) -> bool:
    """Tell whether somebody greets at a port."""
    try:
        with socket.create_connection(("127.0.0.1", port), WAIT) as connected:
            return bool(connected.recv(1))
    except OSError:
        return False


def _usage(*, is_authority: bool) -> x509.KeyUsage:
    """Return what a key is for, which Python 3.13 wants to be told."""
    return x509.KeyUsage(
        digital_signature=not is_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        encipher_only=False,
        decipher_only=False,
    )


def write_certificates(server: Path, authority: Path) -> None:
    """Write a certificate for loopback, with its key, and that of the authority which signed it."""
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    names = [
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        for name in ("The test's authority", "mx.acme.example")
    ]
    now = datetime.now(tz=UTC)  # noqa: TID251 - OpenSSL goes by the real clock
    certificates = [
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(names[0])
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=name == names[0], path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(_usage(is_authority=name == names[0]), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(keys[0].public_key()), critical=False
        )
        .sign(keys[0], hashes.SHA256())
        for name, key in zip(names, keys, strict=True)
    ]
    private = keys[1].private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    authority.write_bytes(certificates[0].public_bytes(serialization.Encoding.PEM))
    server.write_bytes(private + certificates[1].public_bytes(serialization.Encoding.PEM))


def what_is_missing() -> str:
    """Return why the servers cannot be started here; empty if they can."""
    missing = [name for name in ("dovecot", "postfix") if not (SBIN / name).exists()]
    if missing:
        return f"not installed: {', '.join(missing)}"
    return "" if os.geteuid() == 0 else "Dovecot and Postfix start only as root"


@contextmanager
def running() -> Generator[RealServers]:
    """Yield the servers, started, and end them."""
    # Not pytest's own folder: the servers' users have to get at it.
    with tempfile.TemporaryDirectory(prefix="signoff-") as name:
        Path(name).chmod(0o755)
        servers = RealServers(Path(name))
        try:
            servers.start()
            yield servers
        finally:
            servers.stop()
