"""
The mailbox transport over aioimaplib, which is told of news; asyncio only (floor 4).

Names are quoted here, and only what every server answers alike is asked for: a UID, a size, the
first bytes of a message.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date

import anyio
from typing_extensions import override

from signoff.errors import InboxError
from signoff.inboxes import logins, syntax
from signoff.inboxes.aioimaplib_channel import Answer, Channel
from signoff.inboxes.logins import words
from signoff.inboxes.transport import Account, MailboxTransport, Selected


async def connect(account: Account) -> AioimaplibTransport:
    """
    Connect and log in.

    Nothing stays open when it raises or is cancelled.

    Raises:
        InboxError: Nobody answers, TLS does not come about, or the login is refused.
    """
    access_token = await logins.access_token(account)
    channel = Channel(account)
    try:
        with _in_our_words(account):
            await channel.open()
            if account.tls == "starttls":
                await channel.start_tls()
            await channel.log_in(access_token)
            # Some capabilities are there only after the login.
            capabilities = await channel.ask_capabilities()
    except BaseException:
        channel.drop()
        raise
    return AioimaplibTransport(account, channel, capabilities)


class AioimaplibTransport(MailboxTransport):
    """One connection; `connect` makes it."""

    def __init__(self, account: Account, channel: Channel, capabilities: frozenset[str]) -> None:
        self._account = account
        self._channel = channel
        self._capabilities = capabilities
        self._next_uid: int | None = None
        self._looked_below: int | None = None

    @override
    async def select(self, mailbox: str) -> Selected:
        had_news = self._channel.has_news
        answer = await self._ask("SELECT", syntax.mailbox_name(mailbox))
        answer.expect_ok(f"to open mailbox {mailbox!r}")
        if answer.text.upper().startswith("[READ-ONLY]"):
            raise InboxError(f"{self._account}: mailbox {mailbox!r} is not writable")
        validity = _code(answer, b"UIDVALIDITY")
        if validity is None:
            raise InboxError(f"{self._account} keeps no UIDs in mailbox {mailbox!r}")
        self._channel.has_opened()
        self._next_uid = _code(answer, b"UIDNEXT")
        # How many there are is no news by itself; what has come in since the last search is.
        is_known = self._next_uid is not None and self._next_uid == self._looked_below
        self._channel.has_news = had_news or not is_known
        return Selected(validity=validity, next_uid=self._next_uid)

    @override
    async def search(self, *, above: int, since: date | None = None) -> Sequence[int]:
        days = [] if since is None else ["SINCE", syntax.day(since)]
        self._looked_below = self._next_uid
        # Before it is asked: what comes in meanwhile may be told in this very answer, or be in none.
        self._channel.has_news = False
        found = await self._search("UID", f"{above + 1}:*", *days)
        # `999:*` counts in either direction, and so holds the newest message whatever its UID.
        return [uid for uid in found if uid > above]

    @override
    async def sizes(self, uids: Sequence[int]) -> Mapping[int, int]:
        rows = await self._fetch(uids, "(UID RFC822.SIZE)")
        sizes = [(uid, syntax.number_of(row.get(b"RFC822.SIZE"))) for uid, row in rows]
        return {uid: size for uid, size in sizes if size is not None}

    @override
    async def bodies(self, uids: Sequence[int], *, limit_bytes: int) -> Mapping[int, bytes]:
        rows = await self._fetch(uids, f"(UID BODY.PEEK[]<0.{limit_bytes}>)")
        bodies = [(uid, syntax.body_of(row)) for uid, row in rows]
        return {uid: body[:limit_bytes] for uid, body in bodies if body is not None}

    @override
    async def move(self, uids: Sequence[int], mailbox: str) -> None:
        """
        Move messages.

        Source: RFC 6851 (MOVE), RFC 4315 (UID EXPUNGE).
        """
        if "MOVE" in self._capabilities:
            await self._send_to("MOVE", uids, mailbox)
            return
        there = await self._search("UID", syntax.uid_set(uids), "UNDELETED")
        if there:
            await self._send_to("COPY", there, mailbox)
            marked = await self._uid("STORE", there, "+FLAGS.SILENT", r"(\Deleted)")
            marked.expect_ok("to mark messages as deleted")
            # Without UIDPLUS they stay, marked: a plain EXPUNGE takes other people's with it.
            if "UIDPLUS" in self._capabilities:
                (await self._uid("EXPUNGE", there)).expect_ok("to expunge messages")

    @override
    async def wait_for_news(self, woken: anyio.Event, *, seconds: float) -> None:
        if "IDLE" not in self._capabilities:
            with anyio.move_on_after(seconds):
                await woken.wait()
        elif not self._channel.has_news:
            with _in_our_words(self._account):
                await self._channel.wait_for_news(woken, seconds=seconds)

    @override
    async def log_out(self) -> None:
        self._channel.is_leaving = True
        await self._ask("LOGOUT")

    @override
    def drop(self) -> None:
        self._channel.drop()

    async def _search(self, *criteria: str) -> list[int]:
        answer = await self._ask("SEARCH", *criteria, prefix="UID")
        answer.expect_ok("to search")
        return syntax.uids_in(map(bytes, answer.lines))

    async def _fetch(self, uids: Sequence[int], items: str) -> list[tuple[int, syntax.Row]]:
        answer = await self._uid("FETCH", uids, items)
        answer.expect_ok("to hand out messages")
        with _in_our_words(self._account):
            rows = [syntax.row(pieces) for pieces in _rows(answer.lines)]
        # Rows without a UID are news about flags that nobody asked for.
        return [(uid, row) for row in rows if (uid := syntax.uid_of(row)) is not None]

    async def _send_to(self, command: str, uids: Sequence[int], mailbox: str) -> None:
        name = syntax.mailbox_name(mailbox)
        answer = await self._uid(command, uids, name)
        if answer.status != "OK":
            # Most likely it is missing; if not, the second answer says so again.
            await self._ask("CREATE", name)
            await self._ask("SUBSCRIBE", name)
            answer = await self._uid(command, uids, name)
        answer.expect_ok(f"to put messages into mailbox {mailbox!r}")

    async def _uid(self, command: str, uids: Sequence[int], *arguments: str) -> Answer:
        return await self._ask(command, syntax.uid_set(uids), *arguments, prefix="UID")

    async def _ask(self, command: str, *arguments: str, prefix: str = "") -> Answer:
        with _in_our_words(self._account):
            return await self._channel.ask(command, *arguments, prefix=prefix)


@contextmanager
def _in_our_words(account: Account) -> Generator[None, None, None]:
    try:
        yield
    except InboxError:
        raise
    except TimeoutError:
        raise InboxError(f"{account} did not answer in time") from None
    except Exception as error:  # noqa: BLE001 - odd servers cause errors of any type
        raise InboxError(f"{account}: {words(str(error))}") from None


def _code(answer: Answer, name: bytes) -> int | None:
    """Return the number behind a response code; the last one counts."""
    found = [
        syntax.number_of(one[1])
        for line in answer.lines
        if (one := re.match(rb"(?i:OK \[%s) ([0-9]+)\]" % name, line))
    ]
    return found[-1] if found else None


def _rows(lines: Iterable[bytes | bytearray]) -> Iterator[list[bytes]]:
    """Yield the pieces of each row: a text behind a text begins another one."""
    pieces: list[bytes] = []
    was_text = False
    for line in lines:
        is_text = not isinstance(line, bytearray)
        if is_text and was_text:
            yield pieces
            pieces = []
        pieces.append(bytes(line))
        was_text = is_text
    if pieces:
        yield pieces
