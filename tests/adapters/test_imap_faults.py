"""`IMAPInbox` against a server that does what servers should not."""

from __future__ import annotations

import base64
import imaplib
import logging
import socket
import ssl
import traceback
from contextlib import aclosing, asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import anyio
import pytest
from anyio import to_thread

from signoff.errors import InboxError
from signoff.inboxes import IMAPInbox
from signoff.inboxes.imap import _first_day
from signoff.inboxes.imaplib_transport import connect
from signoff.inboxes.syntax import day
from signoff.inboxes.transport import Account

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.adapters.conftest import Certificate, Peer

SOON: Final = timedelta(seconds=1)
"""For tests of a server that says nothing: so long they take."""

PASSWORD: Final = 'pa"ss\\word'
OK: Final = b"TAG OK done\r\n"


@pytest.fixture
def anyio_backend(transport: str) -> str:
    """Run each async test over both transports."""
    return transport


@asynccontextmanager
async def open_inbox(peer: Peer, **options: Any) -> AsyncIterator[IMAPInbox]:
    """Open an inbox in clear, unless the options say otherwise."""
    settings: dict[str, Any] = {"username": "ann", "password": PASSWORD, "tls": "none"} | options
    async with aclosing(IMAPInbox("127.0.0.1", peer.port, **settings)) as inbox:
        yield inbox


async def fetched(peer: Peer, **options: Any) -> list[bytes]:
    """Return what one fetch brings."""
    async with open_inbox(peer, **options) as inbox:
        return [one.raw for one in (await inbox.fetch("7:4")).messages]


async def error_of(peer: Peer, **options: Any) -> InboxError:
    """Return the error of one fetch, which has to leave no connection behind."""
    async with open_inbox(peer, **options) as inbox:
        with pytest.raises(InboxError) as caught:
            await inbox.fetch("7:4")
        # Before the inbox is closed: the error alone ends the connection.
        await to_thread.run_sync(peer.wait_for, lambda peer: peer.ended == peer.connections)
    return caught.value


def rows(*rows: bytes) -> bytes:
    """Return the answer to a fetch."""
    return b"".join(b"* 1 FETCH %s\r\n" % row for row in rows) + OK


# What servers say to a fetch.


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (rows(b"(UID 5 BODY[]<0> {3}\r\nabc)"), [b"abc"]),
        (rows(b"(BODY[]<0> {3}\r\nabc UID 5)"), [b"abc"]),
        (rows(b"(FLAGS (\\Recent $a[b) BODY[]<0> {3}\r\nabc UID 5)"), [b"abc"]),
        (rows(b"(uid 5 body[]<0> {3}\r\nabc)"), [b"abc"]),
        (rows(b"(UID 5 BODY[] {3}\r\nabc)"), [b"abc"]),
        (rows(b"(UID 5 BODY[]<0> ~{3}\r\nabc)"), [b"abc"]),
        (rows(b"(UID 5 BODY[]<0> {0}\r\n)"), [b""]),
        (rows(b'(UID 5 BODY[]<0> "")'), [b""]),
        (rows(b'(UID 5 BODY[]<0> "a \\"(\\" \\\\b")'), [b'a "(" \\b']),
        (rows(b'(UID 5 X "* 2 FETCH (" Y "({9}" BODY[]<0> {3}\r\nabc)'), [b"abc"]),
        (rows(b"(UID 5 X {4}\r\n)({9 BODY[]<0> {3}\r\nabc)"), [b"abc"]),
        (rows(b"(UID 5 X ((1 2) (NIL)) BODY[]<0> {3}\r\nabc)"), [b"abc"]),
        (rows(b"(UID 5 BODY[]<0> {13}\r\n* BYE\r\n* OK\r\n)"), [b"* BYE\r\n* OK\r\n"]),
        (rows(b"(UID 5 BODY[]<0> NIL)"), []),
        (rows(b"(UID 5 BODY[]<0> nil)"), []),
        (rows(b'(UID 5 BODY[]<0> "NIL")'), [b"NIL"]),
        (rows(b"(UID 5 BODY[]<0> {3}\r\nabc)", b"(UID 5 FLAGS ())"), [b"abc"]),
        (rows(b"(FLAGS (\\Seen))", b"(UID 5 BODY[]<0> {3}\r\nabc)"), [b"abc"]),
        (rows(b"(UID 9 BODY[]<0> {3}\r\nxyz)", b"(UID 5 BODY[]<0> {3}\r\nabc)"), [b"abc"]),
        (b"* 4 EXISTS\r\n* 2 EXPUNGE\r\n" + rows(b"(UID 5 BODY[]<0> {3}\r\nabc)"), [b"abc"]),
        (b"* OK [EXPUNGEISSUED] gone\r\n" + rows(b"(UID 5 BODY[]<0> NIL)"), []),
        (OK, []),
    ],
)
async def test_a_message_is_read_however_the_server_says_it(
    peer: Peer, answer: bytes, expected: list[bytes]
) -> None:
    """Items in any order and beside others, literals and quoted strings, news in between."""
    peer.script["BODIES"] = answer

    assert await fetched(peer) == expected


async def test_every_byte_may_come_alone(peer: Peer) -> None:
    """A network splits what it carries wherever it likes."""
    peer.in_single_bytes = True

    assert await fetched(peer) == [b"abc"]


async def test_a_message_that_somebody_removed_is_left_out(peer: Peer) -> None:
    """A UID without a row is no error; the mark goes past it."""
    peer.script["SIZES"] = OK

    async with open_inbox(peer) as inbox:
        batch = await inbox.fetch("7:4")

    assert (list(batch.messages), batch.mark, batch.more) == ([], "7:5", False)
    assert not peer.has_heard("BODY.PEEK")


async def test_a_server_that_sends_more_than_it_was_asked_is_cut(peer: Peer) -> None:
    """Nobody gets more than 256 KiB, even where the server ignores the range."""
    peer.script["BODIES"] = rows(b"(UID 5 BODY[] {300000}\r\n%s)" % (b"x" * 300_000))

    assert await fetched(peer) == [b"x" * 262_144]


async def test_messages_are_asked_for_with_peek_and_a_limit(peer: Peer) -> None:
    """`BODY[]` would mark them as seen."""
    await fetched(peer)

    assert "UID FETCH 5 (UID RFC822.SIZE)" in peer.heard
    assert "UID FETCH 5 (UID BODY.PEEK[]<0.262144>)" in peer.heard


async def test_big_messages_are_asked_for_a_few_at_a_time(peer: Peer) -> None:
    """About a mebibyte in each exchange, so that a slow line manages it within the deadline."""
    quarter = 262_144
    sizes = {5: quarter, 6: 10**9, 7: 500_000, 8: quarter, 9: 3, 10: quarter, 11: 1}
    peer.script["UID SEARCH"] = b"* SEARCH 5 6 7 8 9 10 11 12\r\n" + OK
    peer.script["SIZES"] = rows(*(b"(UID %d RFC822.SIZE %d)" % one for one in sizes.items()))
    peer.script["BODIES"] = OK

    await fetched(peer)

    asked = [line for line in peer.heard if "BODY.PEEK" in line]
    assert [line.split()[2] for line in asked] == ["5,6,7,8", "9,10,11"]


async def test_many_messages_are_put_away_a_hundred_at_a_time(peer: Peer) -> None:
    """A server need not take command lines of any length."""
    async with open_inbox(peer) as inbox:
        await inbox.done([f"7:{uid}" for uid in range(250, 0, -1)])

    moved = [line for line in peer.heard if line.startswith("UID MOVE")]
    assert [line.split()[2].count(",") + 1 for line in moved] == [100, 100, 50]
    assert moved[0].startswith("UID MOVE 1,2,3,")
    assert moved[0].endswith(' "Processed"')


# What servers say to a search.


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"* SEARCH 6 5 6\r\n", "5,6"),
        (b"* SEARCH 5\r\n* SEARCH 6\r\n", "5,6"),
        (b"* SEARCH 5 6 (MODSEQ 917162500)\r\n", "5,6"),
        (b"* SEARCH 5 six 6 0 -7 007 %s\r\n" % (b"9" * 5000), "5,6"),
        (b"* SEARCH 4 3 5\r\n", "5"),
        (b"* SEARCH 4\r\n", None),
        (b"* SEARCH\r\n", None),
        (b"* SEARCH \r\n", None),
        (b"", None),
    ],
)
async def test_only_new_uids_are_taken_from_a_search(
    peer: Peer, answer: bytes, expected: str | None
) -> None:
    """`5:*` always holds the newest message, and servers add what they like."""
    peer.script["UID SEARCH"] = answer + b"TAG OK SEARCH completed (took 1 ms)\r\n"
    peer.script["SIZES"] = OK

    await fetched(peer)

    assert "UID SEARCH UID 5:*" in peer.heard
    asked = [line.split()[2] for line in peer.heard if "RFC822.SIZE" in line]
    assert asked == ([expected] if expected else [])


async def test_ten_thousand_rows_are_read(peer: Peer) -> None:
    """A long search and a flood of news are no trouble."""
    found = range(5, 5_005)
    peer.script["UID SEARCH"] = (
        b"* SEARCH " + b" ".join(b"%d" % uid for uid in found) + b"\r\nTAG OK done\r\n"
    )
    news = [b"(FLAGS (\\Seen) UID %d)" % uid for uid in found]
    peer.script["BODIES"] = rows(*news, b"(UID 5 BODY[]<0> {3}\r\nabc)", *news)

    async with open_inbox(peer) as inbox:
        batch = await inbox.fetch("7:4")

    assert [one.raw for one in batch.messages] == [b"abc"]
    assert (batch.mark, batch.more) == ("7:54", True)


async def test_at_first_use_the_search_is_for_the_last_two_days(peer: Peer) -> None:
    """By day, as servers compare; and the mark then stands below the next UID."""
    before = day(_first_day())
    async with open_inbox(peer) as inbox:
        batch = await inbox.fetch(None)

    searches = [line for line in peer.heard if "SEARCH" in line]
    assert searches in (
        [f"UID SEARCH UID 1:* SINCE {before}"],
        [f"UID SEARCH UID 1:* SINCE {day(_first_day())}"],
    )
    assert batch.mark == "7:9"


@pytest.mark.parametrize(("everything", "mark"), [(b"1 2 5", "7:5"), (b"", "7:0")])
async def test_without_uidnext_the_newest_uid_is_looked_up(
    peer: Peer, everything: bytes, mark: str
) -> None:
    """Before the search for new mail: what comes in between has to be found."""
    peer.script["SELECT"] = b"* OK [UIDVALIDITY 7] valid\r\n" + OK
    peer.script["UID SEARCH"] = [b"* SEARCH %s\r\n" % everything + OK, b"* SEARCH\r\n" + OK]

    async with open_inbox(peer) as inbox:
        batch = await inbox.fetch(None)

    assert (list(batch.messages), batch.mark) == ([], mark)
    first, second = (line for line in peer.heard if "SEARCH" in line)
    assert first == "UID SEARCH UID 1:*"
    assert "SINCE" in second


# Refusals and nonsense: an error, and no connection is left.


@pytest.mark.parametrize(
    ("command", "answer", "words"),
    [
        ("SELECT", b"TAG NO [NONEXISTENT] no such box\r\n", "open mailbox 'INBOX': .* no such box"),
        (
            "SELECT",
            b"TAG BAD what\r\n",
            "SELECT command error: BAD|refused to open mailbox 'INBOX': what",
        ),
        ("SELECT", OK, "keeps no UIDs in mailbox 'INBOX'"),
        ("SELECT", b"* OK [UIDVALIDITY] x\r\n" + OK, "keeps no UIDs"),
        ("SELECT", b"* OK [UIDVALIDITY 7] x\r\nTAG OK [READ-ONLY] y\r\n", "is not writable"),
        ("UID SEARCH", b"TAG NO [SERVERBUG] try later\r\n", "refused to search: .* try later"),
        ("UID SEARCH", b"TAG BAD what\r\n", "UID command error: BAD|refused to search: what"),
        ("SIZES", b"TAG NO not now\r\n", "refused to hand out messages: not now"),
        ("BODIES", b"* 1 FETCH (UID 5)\r\nTAG NO not now\r\n", "refused to hand out messages"),
        ("BODIES", rows(b'(UID 5 X "unfinished)'), "a FETCH row that is none"),
        ("BODIES", b"nonsense\r\n", "unexpected response"),
        ("BODIES", b"* 1 FETCH (UID 5)\n", "unterminated line"),
        ("BODIES", b"OTHER1 OK done\r\n", "unexpected response"),
        ("BODIES", b"* 1 FETCH (UID 5 BODY[]<0> {99999999999}\r\n", "announced 99999999999 bytes"),
        ("BODIES", b"* BYE shutting down\r\n", "shutting down"),
        ("CAPABILITY", OK, "no CAPABILITY response|not IMAP4 compliant"),
        ("CAPABILITY", b"* CAPABILITY POP3\r\n" + OK, "not IMAP4 compliant"),
        ("CAPABILITY", b"* CAPABILITY \xff\r\n" + OK, "can't decode"),
    ],
)
async def test_what_cannot_be_used_is_an_error(
    peer: Peer, command: str, answer: bytes, words: str
) -> None:
    """It says where and what the server said; the connection is not used again."""
    peer.script[command] = answer

    error = await error_of(peer)

    assert str(error).startswith(f"127.0.0.1:{peer.port} (none)")
    with pytest.raises(InboxError, match=words):
        raise error
    assert not error.login_failed


async def test_a_line_without_an_end_is_not_collected(peer: Peer) -> None:
    """After eight megabytes it is no answer any more."""
    peer.script["BODIES"] = b"* SEARCH " + b"1" * (8 * 1024 * 1024)

    assert "a line without an end" in str(await error_of(peer))


@pytest.mark.parametrize("greeting", [b"* BYE too busy\r\n", b"", b"220 mail ESMTP\r\n"])
async def test_a_server_that_does_not_greet_is_an_error(peer: Peer, greeting: bytes) -> None:
    """Busy, or no IMAP server at all."""
    peer.greeting = peer.hang_up_after(greeting)

    await error_of(peer)

    assert not peer.has_heard("LOGIN")


async def test_a_server_that_knows_us_already_is_an_error(peer: Peer) -> None:
    """Whose mailbox it would be, nobody can say."""
    peer.greeting = b"* PREAUTH welcome\r\n"

    assert "before we said who we are" in str(await error_of(peer))


@pytest.mark.parametrize("position", range(len(b"* 1 FETCH (UID 5 BODY[]<0> {3}\r\nabc)\r\n")))
async def test_a_connection_may_end_within_any_answer(peer: Peer, position: int) -> None:
    """Half a message is none, wherever it ends."""
    answer = b"* 1 FETCH (UID 5 BODY[]<0> {3}\r\nabc)\r\n"
    peer.script["BODIES"] = peer.hang_up_after(answer[:position])

    assert str(await error_of(peer)).endswith("the server hung up")


async def test_nobody_listening_is_an_error() -> None:
    """The message says where, and why not."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    inbox = IMAPInbox("127.0.0.1", port, username="ann", password="secret", tls="none")

    with pytest.raises(InboxError, match=rf"127.0.0.1:{port} \(none\): .*Errno 111") as caught:
        await inbox.fetch(None)

    assert not caught.value.login_failed


async def test_a_mailbox_that_takes_nothing_is_an_error(peer: Peer) -> None:
    """It was tried again after the attempt to make the mailbox; the message names it."""
    peer.script["UID MOVE"] = b"TAG NO [OVERQUOTA] full\r\n"

    async with open_inbox(peer) as inbox:
        with pytest.raises(InboxError, match=r"put messages into mailbox 'Processed': .*full"):
            await inbox.done(["7:5"])

    assert peer.heard[-4:] == [
        'UID MOVE 5 "Processed"',
        'CREATE "Processed"',
        'SUBSCRIBE "Processed"',
        'UID MOVE 5 "Processed"',
    ]


@pytest.mark.parametrize(
    ("command", "words"),
    [("UID STORE", "refused to mark messages"), ("UID EXPUNGE", "refused to expunge messages")],
)
async def test_a_message_that_cannot_be_taken_away_is_an_error(
    peer: Peer, command: str, words: str
) -> None:
    """Without MOVE it takes three commands, and each has to be obeyed."""
    peer.script |= {"CAPABILITY": b"* CAPABILITY IMAP4rev1 UIDPLUS\r\n" + OK}
    peer.script |= {"UID COPY": OK, "UID STORE": OK, "UID EXPUNGE": OK}
    peer.script[command] = b"TAG NO never\r\n"

    async with open_inbox(peer) as inbox:
        with pytest.raises(InboxError, match=words):
            await inbox.done(["7:5"])

    assert r"UID STORE 5 +FLAGS.SILENT (\Deleted)" in peer.heard


async def test_capabilities_count_as_they_are_after_the_login(peer: Peer) -> None:
    """Many servers tell of MOVE only then."""
    peer.script["CAPABILITY"] = [
        b"* CAPABILITY IMAP4rev1\r\n" + OK,
        b"* CAPABILITY imap4rev1 move\r\n" + OK,
    ]

    async with open_inbox(peer) as inbox:
        await inbox.done(["7:5"])

    assert peer.has_heard("UID MOVE 5")


# Silence.


async def test_a_server_may_greet_late(peer: Peer) -> None:
    """Within the deadline nobody minds."""
    peer.greet.clear()

    async with anyio.create_task_group() as group:
        group.start_soon(fetched, peer)
        await to_thread.run_sync(peer.wait_for, lambda peer: peer.connections == 1)
        peer.greet.set()

    assert peer.has_heard("LOGOUT")


@pytest.mark.parametrize("command", ["CAPABILITY", "LOGIN", "SELECT", "UID SEARCH", "BODIES"])
async def test_a_call_without_an_answer_ends_and_the_next_one_connects_anew(
    peer: Peer, command: str
) -> None:
    """An answer that comes late could be taken for that of the next call."""
    answer = peer.script[command]
    assert isinstance(answer, bytes)
    peer.script[command] = [b"* OK patience\r\n", answer]

    async with open_inbox(peer, timeout=SOON) as inbox:
        with pytest.raises(InboxError, match="did not answer in time") as caught:
            await inbox.fetch("7:4")
        await to_thread.run_sync(peer.wait_for, lambda peer: peer.ended == 1)
        batch = await inbox.fetch("7:4")

    assert [one.raw for one in batch.messages] == [b"abc"]
    assert peer.connections == 2
    assert not caught.value.login_failed


async def test_a_connection_that_fell_silent_is_replaced_within_the_poll(peer: Peer) -> None:
    """A router that forgot the connection is no error, as long as a new one works."""
    selected = peer.script["SELECT"]
    assert isinstance(selected, bytes)
    peer.script["SELECT"] = [selected, b"", selected]

    async with open_inbox(peer, timeout=SOON) as inbox:
        await inbox.fetch("7:4")
        again = await inbox.fetch("7:4")

    assert [one.raw for one in again.messages] == [b"abc"]
    assert peer.connections == 2


@pytest.mark.parametrize("command", ["CAPABILITY", "LOGIN", "UID SEARCH"])
async def test_a_cancelled_fetch_leaves_no_connection(peer: Peer, command: str) -> None:
    """The caller leaves at once; the thread that still waits is woken and ends."""
    peer.script[command] = b""

    async with open_inbox(peer) as inbox:
        async with anyio.create_task_group() as group:
            group.start_soon(inbox.fetch, "7:4")
            await to_thread.run_sync(peer.wait_for, lambda peer: peer.has_heard(command))
            group.cancel_scope.cancel()
        await to_thread.run_sync(peer.wait_for, lambda peer: peer.ended == 1)

    assert peer.connections == 1


async def test_a_server_that_does_not_say_goodbye_is_left_standing(
    peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Closing takes a moment at the most, and then the connection is gone."""
    monkeypatch.setattr("signoff.inboxes.imap._GOODBYE", SOON)
    peer.script["LOGOUT"] = b""

    async with open_inbox(peer) as inbox:
        await inbox.fetch("7:4")

    await to_thread.run_sync(peer.wait_for, lambda peer: peer.ended == 1)
    assert peer.has_heard("LOGOUT")


async def test_closing_works_in_a_cancelled_task(peer: Peer) -> None:
    """Most programs close when they are being ended."""
    async with open_inbox(peer) as inbox:
        await inbox.fetch("7:4")
        with anyio.CancelScope() as scope:
            scope.cancel()
            await inbox.aclose()
        await to_thread.run_sync(peer.wait_for, lambda peer: peer.ended == 1)

    assert peer.has_heard("LOGOUT")


def an_account(peer: Peer, **fields: Any) -> Account:
    """Return the account of a peer, whose connections are soon given up."""
    usual: dict[str, Any] = {
        "hostname": "127.0.0.1",
        "port": peer.port,
        "tls": "none",
        "tls_context": None,
        "username": "ann",
        "password": PASSWORD,
        "token": None,
        "timeout_seconds": SOON.total_seconds(),
    }
    return Account(**(usual | fields))


@pytest.mark.parametrize("command", ["CAPABILITY", "LOGIN"])
async def test_a_silent_server_is_given_up_by_the_socket_too(peer: Peer, command: str) -> None:
    """So a thread ends by itself, even if nobody watches it."""
    peer.script[command] = b""

    with pytest.raises(InboxError, match="did not answer in time") as caught:
        await connect(an_account(peer))

    assert not caught.value.login_failed


# Logins.


async def test_names_and_passwords_are_quoted(peer: Peer) -> None:
    """Blanks, quotes and backslashes arrive as they are."""
    await fetched(peer, username='ann "a\\b" x', password=PASSWORD)

    assert r'LOGIN "ann \"a\\b\" x" "pa\"ss\\word"' in peer.heard


@pytest.mark.parametrize(("username", "password"), [("ann", "pässwörd"), ("änn", "password")])
async def test_letters_beyond_ascii_go_by_plain(peer: Peer, username: str, password: str) -> None:
    """LOGIN cannot carry them."""
    peer.script |= {"AUTHENTICATE": b"+ \r\n", "RESPONSE": OK}

    assert await fetched(peer, username=username, password=password) == [b"abc"]

    assert "AUTHENTICATE PLAIN" in peer.heard
    assert peer.responses == [f"\0{username}\0{password}".encode()]


async def test_where_login_is_disabled_it_goes_by_plain(peer: Peer) -> None:
    """Some servers know only AUTHENTICATE."""
    peer.script["CAPABILITY"] = b"* CAPABILITY IMAP4rev1 LOGINDISABLED\r\n" + OK
    peer.script |= {"AUTHENTICATE": b"+ \r\n", "RESPONSE": OK}

    assert await fetched(peer) == [b"abc"]

    assert peer.responses == [f"\0ann\0{PASSWORD}".encode()]
    assert not peer.has_heard("LOGIN")


async def test_a_token_logs_in_by_xoauth2(peer: Peer) -> None:
    """It is asked for at each login."""
    asked: list[int] = []

    async def token() -> str:
        asked.append(1)
        return f"ya29.{len(asked)}"

    peer.script |= {"AUTHENTICATE": b"+ \r\n", "RESPONSE": OK}
    async with open_inbox(peer, password=None, token=token) as inbox:
        await inbox.fetch("7:4")
        await inbox.fetch("7:4")
        await inbox.aclose()
        await inbox.fetch("7:4")

    assert peer.heard.count("AUTHENTICATE XOAUTH2") == 2
    assert peer.responses == [
        b"user=ann\x01auth=Bearer ya29.1\x01\x01",
        b"user=ann\x01auth=Bearer ya29.2\x01\x01",
    ]


async def a_token() -> str:
    """Return an access token."""
    return "ya29.secret"


async def test_a_refused_token_says_so(peer: Peer) -> None:
    """The server's challenge is answered with an empty line, else it would wait for ever."""
    challenge = base64.b64encode(b'{"status":"401"}')
    peer.script["AUTHENTICATE"] = b"+ \r\n"
    peer.script["RESPONSE"] = [b"+ " + challenge + b"\r\n", b"TAG NO [AUTHENTICATIONFAILED] x\r\n"]

    error = await error_of(peer, password=None, token=a_token)

    assert error.login_failed
    assert str(error) == f"127.0.0.1:{peer.port} (none) refused the login of 'ann'"


async def test_a_token_that_cannot_be_had_is_an_error(peer: Peer) -> None:
    """Only the kind of error is told: its words may hold a refresh token."""

    async def token() -> str:
        raise ValueError("1//refresh-token")

    error = await error_of(peer, password=None, token=token)

    assert str(error) == "token= raised ValueError"
    assert not error.login_failed
    assert peer.connections == 0


@pytest.mark.parametrize(
    ("answer", "login_failed"),
    [
        (b"TAG NO [AUTHENTICATIONFAILED] no\r\n", True),
        (b"TAG NO no\r\n", True),
        (b"TAG BAD no\r\n", True),
        (b"TAG NO [UNAVAILABLE] backend is down\r\n", False),
        (b"TAG NO [INUSE] busy\r\n", False),
        (b"TAG NO [LIMIT] too many\r\n", False),
        (b"TAG NO [SERVERBUG] oops\r\n", False),
        (b"TAG NO [UNAVAILABLES] what\r\n", True),
    ],
)
async def test_a_refusal_is_told_from_a_server_in_trouble(
    peer: Peer, answer: bytes, login_failed: bool
) -> None:
    """After a refusal one waits long, for servers lock accounts; trouble passes."""
    peer.script["LOGIN"] = answer

    error = await error_of(peer)

    assert error.login_failed is login_failed
    assert str(error).endswith("refused the login of 'ann'")


@pytest.mark.parametrize("answer", [b"* BYE go away\r\n", b"nonsense\r\n", b"+ what\r\n* BYE\r\n"])
async def test_a_login_that_breaks_off_is_no_refusal(peer: Peer, answer: bytes) -> None:
    """Nothing is known of the account."""
    peer.script["LOGIN"] = answer

    error = await error_of(peer)

    assert "broke off" in str(error)
    assert not error.login_failed


# Secrets and TLS.

ECHOES: Final = [
    b"TAG NO LOGIN ann SECRET\r\n",
    b"TAG BAD LOGIN ann SECRET\r\n",
    b"* BYE LOGIN ann SECRET\r\n",
    b"LOGIN ann SECRET\r\n",
    b"* NO LOGIN SECRET\r\nTAG NO [SECRET] no\r\n",
    b"+ SECRET\r\n",
    b"TAG7 OK done\r\n",
]


@pytest.mark.parametrize("echo", ECHOES)
@pytest.mark.parametrize("way", ["password", "token"])
async def test_no_secret_gets_into_errors_logs_or_output(
    peer: Peer,
    way: str,
    echo: bytes,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Not even when the server repeats what it heard, logs are at DEBUG and imaplib prints all."""
    monkeypatch.setattr(imaplib, "Debug", 5)
    caplog.set_level(logging.DEBUG)
    spoken = PASSWORD if way == "password" else "ya29.secret"
    answer = echo.replace(b"SECRET", spoken.encode())
    peer.script |= {"LOGIN": answer, "AUTHENTICATE": b"+ \r\n", "RESPONSE": answer}
    options = {"password": PASSWORD} if way == "password" else {"password": None, "token": a_token}

    error = await error_of(peer, timeout=SOON, **options)

    printed = capfd.readouterr()
    shown = f"{error!r} {''.join(traceback.format_exception(error))} {caplog.text} {printed}"
    said = [PASSWORD, r"pa\"ss\\word", "ya29.secret", base64.b64encode(spoken.encode()).decode()]
    assert not [secret for secret in said if secret in shown]


async def test_without_starttls_nobody_hears_the_password(peer: Peer) -> None:
    """Who takes the word out of the server's offer gets nothing."""
    error = await error_of(peer, tls="starttls")

    assert "offers no STARTTLS" in str(error)
    assert peer.heard == ["CAPABILITY"]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"TAG NO not today\r\n", "refused to begin TLS: not today"),
        (b"TAG OK go\r\n* SEARCH 1 2 3\r\n", "went on in clear after it had agreed to TLS"),
        (b"TAG OK go\r\nTAG OK in\r\n", "went on in clear after it had agreed to TLS"),
    ],
)
async def test_starttls_is_all_or_nothing(peer: Peer, answer: bytes, words: str) -> None:
    """Refused, or with something slipped in before TLS: there is no login."""
    peer.script["CAPABILITY"] = b"* CAPABILITY IMAP4rev1 STARTTLS\r\n" + OK
    peer.script["STARTTLS"] = answer

    assert words in str(await error_of(peer, tls="starttls"))
    assert not peer.has_heard("LOGIN")


async def test_what_was_said_before_tls_does_not_count(
    peer: Peer, loopback_certificate: Certificate
) -> None:
    """Neither capabilities nor what else somebody on the way slipped in."""
    peer.tls = loopback_certificate.server
    peer.script["CAPABILITY"] = [
        b"* SEARCH 66\r\n* CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED\r\n" + OK,
        b"* CAPABILITY IMAP4rev1\r\n" + OK,
    ]
    peer.script["STARTTLS"] = b"* OK [READ-ONLY] for you\r\nTAG OK go\r\n"
    peer.script["SIZES"] = OK

    assert await fetched(peer, tls="starttls", tls_context=loopback_certificate.client) == []

    assert peer.has_heard("LOGIN")
    assert "UID FETCH 5 (UID RFC822.SIZE)" in peer.heard


async def test_tls_that_is_none_is_an_error(peer: Peer) -> None:
    """A server that speaks in clear where TLS was asked for is not talked to."""
    error = await error_of(peer, tls="implicit")

    assert isinstance(error.__context__, ssl.SSLError)
    assert not peer.has_heard("LOGIN")
