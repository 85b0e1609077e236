"""
What is said to an IMAP server and heard from it, blocking, through imaplib (floor 4).

imaplib frames commands and takes answers apart. Connection and login are ours: imaplib's own
leave a user name unquoted, and let what came before TLS count after it.
"""

from __future__ import annotations

import imaplib
import ssl
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date

from typing_extensions import Buffer, override

from signoff.errors import InboxError
from signoff.inboxes import logins, syntax
from signoff.inboxes.logins import words
from signoff.inboxes.transport import Account, Selected
from signoff.inboxes.wire import Wire


class Dialogue:
    """
    One connection, from the greeting to the goodbye.

    Every method blocks, and raises anything when the server is odd.
    """

    def __init__(self, wire: Wire, account: Account, *, access_token: str | None) -> None:
        """
        Connect, begin TLS, log in.

        Source: RFC 8314 section 3.2 (implicit TLS), RFC 3501 section 6.2.1 (STARTTLS).
        """
        self._account = account
        wire.connect(account.hostname, account.port)
        if account.tls == "implicit":
            self._secure(wire)
        self._client = _Client(wire)
        if self._client.state != "NONAUTH":
            raise InboxError(f"{account} logged us in before we said who we are")
        if account.tls == "starttls":
            self._start_tls(wire)
        self._log_in(access_token)
        # Some capabilities are there only after the login.
        self._capabilities = self._ask_capabilities()

    def select(self, mailbox: str) -> Selected:
        """Open a mailbox."""
        answer = self._client.select(syntax.mailbox_name(mailbox))
        self._expect_ok(answer, f"to open mailbox {mailbox!r}")
        validity = self._number_of("UIDVALIDITY")
        if validity is None:
            raise InboxError(f"{self._account} keeps no UIDs in mailbox {mailbox!r}")
        return Selected(validity=validity, next_uid=self._number_of("UIDNEXT"))

    def search(self, *, above: int, since: date | None) -> list[int]:
        """Return the UIDs above a number."""
        days = [] if since is None else ["SINCE", syntax.day(since)]
        found = self._search("UID", f"{above + 1}:*", *days)
        # `999:*` counts in either direction, and so holds the newest message whatever its UID.
        return [uid for uid in found if uid > above]

    def sizes(self, uids: Sequence[int]) -> Mapping[int, int]:
        """Return the sizes of messages."""
        rows = self._fetch(uids, "(UID RFC822.SIZE)")
        sizes = [(uid, syntax.number_of(row.get(b"RFC822.SIZE"))) for uid, row in rows]
        return {uid: size for uid, size in sizes if size is not None}

    def bodies(self, uids: Sequence[int], *, limit_bytes: int) -> Mapping[int, bytes]:
        """Return the first bytes of messages."""
        rows = self._fetch(uids, f"(UID BODY.PEEK[]<0.{limit_bytes}>)")
        bodies = [(uid, syntax.body_of(row)) for uid, row in rows]
        return {uid: body[:limit_bytes] for uid, body in bodies if body is not None}

    def move(self, uids: Sequence[int], mailbox: str) -> None:
        """
        Move messages.

        Source: RFC 6851 (MOVE), RFC 4315 (UID EXPUNGE).
        """
        if "MOVE" in self._capabilities:
            self._send_to("MOVE", uids, mailbox)
            return
        there = self._search("UID", syntax.uid_set(uids), "UNDELETED")
        if there:
            self._send_to("COPY", there, mailbox)
            marked = self._uid("STORE", there, "+FLAGS.SILENT", r"(\Deleted)")
            self._expect_ok(marked, "to mark messages as deleted")
            # Without UIDPLUS they stay, marked: a plain EXPUNGE takes other people's with it.
            if "UIDPLUS" in self._capabilities:
                self._expect_ok(self._uid("EXPUNGE", there), "to expunge messages")

    def log_out(self) -> None:
        """Say goodbye."""
        self._client.logout()

    def _start_tls(self, wire: Wire) -> None:
        if "STARTTLS" not in self._client.capabilities:
            raise InboxError(f"{self._account} offers no STARTTLS, so there was no login")
        self._expect_ok(self._client.xatom("STARTTLS"), "to begin TLS")
        self._secure(wire)
        # What was said in clear may be anybody's.
        self._client.untagged_responses.clear()
        self._client.capabilities = tuple(self._ask_capabilities())

    def _secure(self, wire: Wire) -> None:
        context = self._account.tls_context or ssl.create_default_context()
        wire.secure(context, self._account.hostname)

    def _log_in(self, access_token: str | None) -> None:
        try:
            refusal = self._refusal(access_token)
        except TimeoutError:
            raise
        except Exception as error:  # noqa: BLE001 - the server's words may repeat the password
            raise logins.broken_off(self._account, error) from None
        if refusal is not None:
            raise logins.refused(self._account, refusal)
        self._client.state = "AUTH"

    def _refusal(self, access_token: str | None) -> str | None:
        """Say who we are, and return what the server has against it."""
        try:
            kind, data = self._say_who(access_token)
        except imaplib.IMAP4.abort:
            raise
        except imaplib.IMAP4.error as error:
            return str(error)
        return None if kind == "OK" else _text(data)

    def _say_who(self, access_token: str | None) -> _Answer:
        sasl = logins.sasl(self._account, access_token, self._client.capabilities)
        if sasl is not None:
            return self._client.authenticate(sasl.mechanism, _saying(sasl.text))
        login = (self._account.username, self._account.password or "")
        return self._client.xatom("LOGIN", *map(syntax.quoted, login))

    def _ask_capabilities(self) -> frozenset[str]:
        _, data = self._client.capability()
        return frozenset(_text(data).upper().split())

    def _search(self, *criteria: str) -> list[int]:
        answer = self._client.uid("SEARCH", *criteria)
        self._expect_ok(answer, "to search")
        return syntax.uids_in(line for line in answer[1] if isinstance(line, bytes))

    def _fetch(self, uids: Sequence[int], items: str) -> list[tuple[int, syntax.Row]]:
        answer = self._uid("FETCH", uids, items)
        self._expect_ok(answer, "to hand out messages")
        rows = [syntax.row(pieces) for pieces in _rows(answer[1])]
        # Rows without a UID are news about flags that nobody asked for.
        return [(uid, row) for row in rows if (uid := syntax.uid_of(row)) is not None]

    def _send_to(self, command: str, uids: Sequence[int], mailbox: str) -> None:
        name = syntax.mailbox_name(mailbox)
        answer = self._uid(command, uids, name)
        if answer[0] != "OK":
            # Most likely it is missing; if not, the second answer says so again.
            self._client.create(name)
            self._client.subscribe(name)
            answer = self._uid(command, uids, name)
        self._expect_ok(answer, f"to put messages into mailbox {mailbox!r}")

    def _uid(self, command: str, uids: Sequence[int], *arguments: str) -> _Answer:
        return self._client.uid(command, syntax.uid_set(uids), *arguments)

    def _number_of(self, code: str) -> int | None:
        _, data = self._client.response(code)
        return syntax.number_of(data[-1])

    def _expect_ok(self, answer: _Answer, what: str) -> None:
        kind, data = answer
        if kind != "OK":
            raise InboxError(f"{self._account} refused {what}: {words(_text(data))}")


class _Client(imaplib.IMAP4):
    """imaplib over a wire that is connected."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        super().__init__()
        # Whatever imaplib.Debug asks for: it would print the login.
        self.debug = 0

    @override
    def open(self, host: str = "", port: int = 0, timeout: float | None = None) -> None:
        """Do nothing: the wire is connected."""

    @override
    def read(self, size: int) -> bytes:
        return self._wire.read(size)

    @override
    def readline(self) -> bytes:
        return self._wire.read_line()

    @override
    def send(self, data: Buffer) -> None:
        self._wire.send(data)

    @override
    def shutdown(self) -> None:
        self._wire.cut()


_Answer = tuple[str, Sequence[object]]
"""OK, NO or a like word, and what came with it; imaplib raises BAD and BYE."""


def _text(data: Sequence[object]) -> str:
    last = data[-1]
    return last.decode("utf-8", "replace") if isinstance(last, bytes) else ""


def _rows(data: Sequence[object]) -> Iterator[list[bytes]]:
    """Yield the pieces of each row: imaplib gives a row as (text, literal), ..., text."""
    pieces: list[bytes] = []
    for item in data:
        if isinstance(item, tuple):
            pieces += item
        elif isinstance(item, bytes):
            yield [*pieces, item]
            pieces = []


def _saying(text: bytes) -> Callable[[bytes], bytes]:
    """Answer the server's first challenge with a text, and each later one with nothing."""
    answers = iter([text])
    return lambda _: next(answers, b"")
