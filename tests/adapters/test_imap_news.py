"""Waiting for news over aioimaplib: what wakes, what does not, and what becomes of a lost connection."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import anyio
import pytest
from anyio import to_thread
from anyio.lowlevel import checkpoint

from signoff.errors import ConfigurationError, InboxError
from signoff.inboxes import IMAPInbox
from signoff.inboxes.aioimaplib_transport import AioimaplibTransport
from signoff.ports import Batch

if TYPE_CHECKING:
    from tests.adapters.conftest import MailServer, Peer

WAIT: Final = 20
"""Seconds after which a test gives up what should come at once."""

LONG: Final = 3600.0
"""Seconds of a wait that something has to end."""

SOON: Final = timedelta(seconds=1)
"""For tests of a server that says nothing: so long they take."""

OK: Final = b"TAG OK done\r\n"
CAPABLE: Final = b"* CAPABILITY IMAP4rev1 UIDPLUS MOVE IDLE\r\n" + OK
SELECTED: Final = b"* 3 EXISTS\r\n* OK [UIDVALIDITY 7] valid\r\n* OK [UIDNEXT %d] next\r\n" + OK


@pytest.fixture
def anyio_backend() -> str:
    """Run on asyncio: aioimaplib knows nothing else."""
    return "asyncio"


@asynccontextmanager
async def open_inbox(peer: Peer, **options: Any) -> AsyncIterator[IMAPInbox]:
    """Open an inbox over a scripted server that offers IDLE, and look into it once."""
    peer.script["CAPABILITY"] = CAPABLE
    settings: dict[str, Any] = {"username": "ann", "password": "secret", "tls": "none"} | options
    async with aclosing(IMAPInbox("127.0.0.1", peer.port, **settings)) as inbox:
        await inbox.fetch("7:4")
        with anyio.fail_after(WAIT):
            yield inbox


async def until(peer: Peer, condition: Callable[[Peer], bool]) -> None:
    """Wait until something has come about at the server."""
    await to_thread.run_sync(peer.wait_for, condition)


async def idling(peer: Peer) -> None:
    """Wait until the server has been asked for news."""
    await until(peer, lambda peer: peer.has_heard("IDLE"))


async def woken_by(peer: Peer, push: bytes, **options: Any) -> list[str]:
    """Return what the server heard of a wait that ended by what it pushed."""
    async with open_inbox(peer, **options) as inbox:
        before = len(peer.heard)
        async with anyio.create_task_group() as group:
            group.start_soon(inbox.wait_for_news, LONG)
            await idling(peer)
            peer.push(push)
        return peer.heard[before:]


# What wakes, and what does not.


async def test_a_message_that_comes_in_ends_the_wait(peer: Peer) -> None:
    """The IDLE is ended as it has to be, and the connection goes on."""
    assert await woken_by(peer, b"* 4 EXISTS\r\n* 1 RECENT\r\n") == ["NOOP", "IDLE", "DONE"]

    assert peer.connections == 1


@pytest.mark.parametrize(
    "push",
    [
        b"* OK Still here\r\n",
        b"* 1 RECENT\r\n",
        b"* 3 EXISTS\r\n",
        b"* 2 EXPUNGE\r\n* 2 EXISTS\r\n",
        b"* 2 FETCH (FLAGS (\\Seen) UID 5)\r\n",
        b"* 2 FETCH (X {13}\r\n* 99 EXISTS\r\n)\r\n",
    ],
)
async def test_other_news_do_not_wake(peer: Peer, push: bytes) -> None:
    """A sign of life, a flag, a message that somebody removed: the wait lasts as long as it was to."""
    async with open_inbox(peer) as inbox, anyio.create_task_group() as group:
        group.start_soon(inbox.wait_for_news, LONG)
        await idling(peer)
        peer.push(push + b"* OK mark\r\n")
        await read(inbox, b"OK mark")
        woken = inbox._line().woken.is_set()
        peer.push(b"* 4 EXISTS\r\n")

    assert not woken


async def read(inbox: IMAPInbox, text: bytes) -> None:
    """Wait until something that the server pushed has been read."""
    transport = inbox._line().transport
    assert isinstance(transport, AioimaplibTransport)
    command = transport._channel.pending_sync_command
    assert command is not None
    while text not in command.response.lines:
        await checkpoint()


async def test_a_message_that_takes_the_place_of_another_wakes(peer: Peer) -> None:
    """There are as many as before, and one of them is new."""
    assert await woken_by(peer, b"* 2 EXPUNGE\r\n* 3 EXISTS\r\n") == ["NOOP", "IDLE", "DONE"]


async def test_without_news_the_wait_ends_in_time(peer: Peer) -> None:
    """And the connection is good for the next fetch."""
    async with open_inbox(peer) as inbox:
        await inbox.wait_for_news(0.01)
        await inbox.wait_for_news(0.01)
        await inbox.fetch("7:4")

    assert peer.connections == 1
    assert peer.heard.count("IDLE") == peer.heard.count("DONE") == 2


async def test_an_idle_is_renewed_after_five_minutes_at_the_latest(
    peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requirement 3: however long the poll interval is."""
    waited: list[float] = []
    async with open_inbox(peer, poll_interval=timedelta(hours=1)) as inbox:
        transport = inbox._line().transport

        async def wait_for_news(woken: anyio.Event, *, seconds: float) -> None:
            waited.append(seconds)

        monkeypatch.setattr(transport, "wait_for_news", wait_for_news)
        await inbox.wait_for_news(inbox.poll_interval_seconds)
        await inbox.wait_for_news(60)

    assert waited == [300, 60]


# News that must not get lost.


@pytest.mark.parametrize("command", ["UID SEARCH", "SIZES", "BODIES"])
async def test_news_inside_another_answer_is_not_lost(peer: Peer, command: str) -> None:
    """Requirement 3: a server tells of a message once, in whatever answer; IDLE never repeats it."""
    usual = peer.script[command]
    assert isinstance(usual, bytes)
    peer.script[command] = b"* 4 EXISTS\r\n" + usual

    async with open_inbox(peer) as inbox:
        await inbox.wait_for_news(LONG)

    assert not peer.has_heard("IDLE")


async def test_news_while_messages_are_put_away_is_not_lost(peer: Peer) -> None:
    """In the answer to the MOVE."""
    peer.script["UID MOVE"] = b"* 1 EXPUNGE\r\n* 3 EXISTS\r\n" + OK

    async with open_inbox(peer) as inbox:
        await inbox.done(["7:5"])
        await inbox.wait_for_news(LONG)

    assert not peer.has_heard("IDLE")


async def test_a_message_that_came_in_before_the_mailbox_was_opened_again_is_not_lost(
    peer: Peer,
) -> None:
    """Requirement 3: opening tells how many there are; the next UID tells that one came in."""
    peer.script["SELECT"] = [SELECTED % 10, SELECTED % 11]

    async with open_inbox(peer) as inbox:
        await inbox.done(["7:5"])
        await inbox.wait_for_news(LONG)

    assert not peer.has_heard("IDLE")


async def test_putting_away_is_no_news(peer: Peer) -> None:
    """Else every reply would cost a second look into the mailbox."""
    peer.script["UID MOVE"] = b"* 1 EXPUNGE\r\n" + OK

    async with open_inbox(peer) as inbox:
        await inbox.done(["7:5"])
        await inbox.wait_for_news(0.01)

    assert peer.has_heard("IDLE")


async def test_a_fetch_takes_up_the_news(peer: Peer) -> None:
    """What it has looked for is no news afterwards."""
    usual = peer.script["UID SEARCH"]
    assert isinstance(usual, bytes)
    peer.script["UID SEARCH"] = [b"* 4 EXISTS\r\n" + usual, usual]

    async with open_inbox(peer) as inbox:
        await inbox.wait_for_news(LONG)
        await inbox.fetch("7:4")
        await inbox.wait_for_news(0.01)

    assert peer.has_heard("IDLE")


async def test_what_came_in_between_the_look_and_the_wait_is_asked_for(peer: Peer) -> None:
    """Requirement 3: a server need not tell of it in the IDLE."""
    peer.script["NOOP"] = b"* 4 EXISTS\r\n" + OK

    async with open_inbox(peer) as inbox:
        await inbox.wait_for_news(LONG)

    assert not peer.has_heard("IDLE")


async def test_news_right_behind_the_beginning_of_the_wait_is_not_lost(peer: Peer) -> None:
    """In the same packet as the server's agreement to IDLE."""
    peer.script["IDLE"] = b"+ idling\r\n* 4 EXISTS\r\n"

    async with open_inbox(peer) as inbox:
        await inbox.wait_for_news(LONG)

    assert peer.heard[-2:] == ["DONE", "LOGOUT"]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"* \xff 1\r\n" + OK, "aioimaplib raised UnicodeDecodeError"),
        (b"TAG7 OK done\r\n", "aioimaplib raised Abort"),
    ],
)
async def test_what_aioimaplib_stumbles_over_is_an_error(
    peer: Peer, answer: bytes, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    """At once, and nothing is left to asyncio, which would log it."""
    async with open_inbox(peer) as inbox:
        peer.script["UID SEARCH"] = answer
        with pytest.raises(InboxError, match=words):
            await inbox.fetch("7:4")

    assert caplog.text == ""


# Other calls.


async def test_a_fetch_ends_a_wait(peer: Peer) -> None:
    """It does not wait for its end, and uses the same connection."""
    async with open_inbox(peer) as inbox, anyio.create_task_group() as group:
        group.start_soon(inbox.wait_for_news, LONG)
        await idling(peer)
        batch = await inbox.fetch("7:4")

    assert [one.raw for one in batch.messages] == [b"abc"]
    assert peer.connections == 1
    assert peer.heard.index("DONE") == peer.heard.index("IDLE") + 1


async def test_a_wait_does_not_begin_while_somebody_waits_for_the_connection(peer: Peer) -> None:
    """Else it would keep him waiting."""
    async with open_inbox(peer) as inbox:
        line = inbox._line()
        async with anyio.create_task_group() as group, line.lock:
            group.start_soon(inbox.wait_for_news, LONG)
            await anyio.wait_all_tasks_blocked()
            group.start_soon(inbox.fetch, "7:4")
            await anyio.wait_all_tasks_blocked()

    assert not peer.has_heard("IDLE")


async def test_a_wait_without_a_connection_is_only_a_rest(peer: Peer) -> None:
    """Nothing is opened for it; and one that is closed while it queues is let go."""
    async with open_inbox(peer) as inbox:
        line = inbox._line()
        async with anyio.create_task_group() as group, line.lock:
            group.start_soon(inbox.wait_for_news, LONG)
            await anyio.wait_all_tasks_blocked()
            line.drop()
        await inbox.wait_for_news(0.01)

    assert not peer.has_heard("IDLE")
    assert peer.connections == 1


async def test_a_server_without_idle_is_polled(peer: Peer) -> None:
    """A wait is then a rest, which other calls end."""
    async with open_inbox(peer) as inbox:
        peer.script["CAPABILITY"] = b"* CAPABILITY IMAP4rev1 MOVE\r\n" + OK
        await inbox.aclose()
        await inbox.fetch("7:4")
        await inbox.wait_for_news(0.01)
        async with anyio.create_task_group() as group:
            group.start_soon(inbox.wait_for_news, LONG)
            await anyio.wait_all_tasks_blocked()
            await inbox.fetch("7:4")

    assert not peer.has_heard("IDLE")


# Connections that break.


async def broken(peer: Peer, cause: Callable[[Peer], None], **options: Any) -> InboxError:
    """Return the error of a wait, after which the next fetch has to work on a new connection."""
    async with open_inbox(peer, **options) as inbox:
        async with anyio.create_task_group() as group:
            group.start_soon(cause_when_idling, peer, cause)
            error = await error_of_wait(inbox)
        await until(peer, lambda peer: peer.ended == 1)
        peer.script |= {"IDLE": b"+ idling\r\n", "DONE": OK}
        batch = await inbox.fetch("7:4")
        await inbox.wait_for_news(0.01)
    assert [one.raw for one in batch.messages] == [b"abc"]
    assert peer.connections == 2
    return error


async def error_of_wait(inbox: IMAPInbox) -> InboxError:
    """Wait for news until that fails."""
    with pytest.raises(InboxError) as caught:
        await inbox.wait_for_news(LONG)
    return caught.value


async def cause_when_idling(peer: Peer, cause: Callable[[Peer], None]) -> None:
    """Do something to the connection as soon as it waits for news."""
    await idling(peer)
    cause(peer)


@pytest.mark.parametrize(
    ("push", "words"),
    [
        (b"* BYE Disconnected for inactivity\r\n", "Disconnected for inactivity"),
        (b"nonsense\r\n", "unexpected response: nonsense"),
        (b"OTHER1 OK done\r\n", "unexpected response: OTHER1 OK done"),
        (b"* 1 EXISTS\n", "unterminated line"),
    ],
)
async def test_an_oddity_in_a_wait_ends_the_connection(peer: Peer, push: bytes, words: str) -> None:
    """Requirement 2: the wait is over at once, with an error, and the next fetch connects anew."""
    assert words in str(await broken(peer, lambda peer: peer.push(push)))


async def test_a_connection_that_ends_in_a_wait_is_noticed_at_once(peer: Peer) -> None:
    """Requirement 2: no deadline has to pass, and no push to come."""
    assert "hung up" in str(await broken(peer, lambda peer: peer.vanish()))


async def test_a_connection_that_died_unnoticed_ends_with_the_wait(peer: Peer) -> None:
    """Requirement 2: no answer to the end of the IDLE within the deadline: the server is gone."""
    peer.script["DONE"] = b""

    error = await broken(peer, lambda peer: peer.push(b"* 4 EXISTS\r\n"), timeout=SOON)

    assert "did not answer in time" in str(error)


async def test_a_server_that_does_not_begin_the_wait_is_given_up(peer: Peer) -> None:
    """The wait has a deadline for its beginning, too."""
    peer.script["IDLE"] = b"* OK patience\r\n"

    assert "did not answer in time" in str(await broken(peer, lambda _: None, timeout=SOON))


async def test_a_connection_that_died_before_the_wait_is_given_up(peer: Peer) -> None:
    """It is tried before anything is waited for."""
    async with open_inbox(peer, timeout=SOON) as inbox:
        peer.script["NOOP"] = b""
        assert "did not answer in time" in str(await error_of_wait(inbox))
        await until(peer, lambda peer: peer.ended == 1)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"TAG NO not now\r\n", "refused to tell of news: not now"),
        (b"TAG OK done\r\n", "ended the wait for news before it began"),
    ],
)
async def test_a_refused_wait_is_an_error(peer: Peer, answer: bytes, words: str) -> None:
    """The worker rests a little after it, and polls."""
    peer.script["IDLE"] = answer

    assert words in str(await broken(peer, lambda _: None))


async def test_a_connection_that_ended_between_two_polls_is_replaced(peer: Peer) -> None:
    """It was noticed when it happened; the fetch asks nothing of it."""
    async with open_inbox(peer) as inbox:
        peer.vanish()
        await until(peer, lambda peer: peer.ended == 1)
        batch = await inbox.fetch("7:4")

    assert [one.raw for one in batch.messages] == [b"abc"]
    assert peer.connections == 2


async def test_a_cancelled_wait_leaves_no_connection(peer: Peer) -> None:
    """Its end would have to be waited for."""
    async with open_inbox(peer) as inbox:
        async with anyio.create_task_group() as group:
            group.start_soon(inbox.wait_for_news, LONG)
            await idling(peer)
            group.cancel_scope.cancel()
        await until(peer, lambda peer: peer.ended == 1)
        await inbox.fetch("7:4")

    assert peer.connections == 2


async def test_a_late_answer_meets_nobody(peer: Peer) -> None:
    """Requirement 2: it arrives for a connection that was given up, and raises nowhere."""
    usual = peer.script["UID SEARCH"]
    assert isinstance(usual, bytes)

    async with open_inbox(peer, timeout=SOON) as inbox:
        peer.script["UID SEARCH"] = [b"", usual]
        with pytest.raises(InboxError, match="did not answer in time"):
            await inbox.fetch("7:4")
        await until(peer, lambda peer: peer.ended == 1)
        batch: Batch = await inbox.fetch("7:4")

    assert [one.raw for one in batch.messages] == [b"abc"]


# With a real server, and the choice of a transport.


def settings(server: MailServer, **options: Any) -> dict[str, Any]:
    """Return what an inbox over this server takes."""
    login = {"username": server.username, "password": server.password}
    return {"hostname": "127.0.0.1", "port": server.port, "tls": "none"} | login | options


async def test_a_delivered_mail_ends_the_wait(mail_server: MailServer) -> None:
    """A reply need not wait for the next poll."""
    mail = b"From: ann@acme.example\r\n\r\nhello\r\n"
    async with aclosing(IMAPInbox(**settings(mail_server, idle=True))) as inbox:
        mark = (await inbox.fetch(None)).mark
        with anyio.fail_after(WAIT):
            async with anyio.create_task_group() as group:
                group.start_soon(inbox.wait_for_news, LONG)
                await has_begun(inbox)
                await to_thread.run_sync(mail_server.deliver, mail)
        batch = await inbox.fetch(mark)

    assert [one.raw for one in batch.messages] == [mail]


async def has_begun(inbox: IMAPInbox) -> None:
    """Wait until the server has agreed to an IDLE."""
    transport = inbox._line().transport
    assert isinstance(transport, AioimaplibTransport)
    channel = transport._channel
    while channel._woken is None or channel._go_ahead is not None:
        await checkpoint()


async def test_a_mail_delivered_just_before_the_wait_ends_it(mail_server: MailServer) -> None:
    """This server would not tell of it in the IDLE."""
    async with aclosing(IMAPInbox(**settings(mail_server, idle=True))) as inbox:
        await inbox.fetch(None)
        await to_thread.run_sync(mail_server.deliver, b"From: ann@acme.example\r\n\r\nhi\r\n")
        with anyio.fail_after(WAIT):
            await inbox.wait_for_news(LONG)


async def test_a_mail_delivered_while_the_server_was_away_is_found(
    mail_server: MailServer,
) -> None:
    """Requirement 3: the session is killed in a wait; what came in meanwhile is above the mark."""
    mail = b"From: ann@acme.example\r\n\r\nhello\r\n"
    async with aclosing(IMAPInbox(**settings(mail_server))) as inbox:
        mark = (await inbox.fetch(None)).mark
        with anyio.fail_after(WAIT):
            async with anyio.create_task_group() as group:
                group.start_soon(to_thread.run_sync, mail_server.hang_up)
                await error_of_wait(inbox)
        await to_thread.run_sync(mail_server.deliver, mail)
        batch = await inbox.fetch(mark)

    assert [one.raw for one in batch.messages] == [mail]


def library_of(inbox: IMAPInbox) -> str:
    """Return the module of the transport in use."""
    return type(inbox._line().transport).__module__.rpartition(".")[2]


@pytest.mark.parametrize(
    ("idle", "library"),
    [
        (None, "aioimaplib_transport"),
        (True, "aioimaplib_transport"),
        (False, "imaplib_transport"),
    ],
)
async def test_idle_chooses_the_library(peer: Peer, idle: bool | None, library: str) -> None:
    """On asyncio, where aioimaplib is installed."""
    async with open_inbox(peer, idle=idle) as inbox:
        assert library_of(inbox) == library


async def test_without_aioimaplib_the_inbox_polls(
    peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the standard library; only who insists on IDLE is told, before anything connects."""
    monkeypatch.setitem(sys.modules, "aioimaplib", None)

    async with open_inbox(peer) as inbox:
        assert library_of(inbox) == "imaplib_transport"
    with pytest.raises(ConfigurationError, match=r"install signoff\[imap\]"):
        IMAPInbox("mail.acme.example", username="ann", password="secret", idle=True)


@pytest.mark.parametrize("anyio_backend", ["trio"])
async def test_on_trio_the_inbox_polls(peer: Peer) -> None:
    """The other library runs on asyncio only; who insists on it there is told."""
    async with open_inbox(peer) as inbox:
        assert library_of(inbox) == "imaplib_transport"
        await inbox.wait_for_news(0.01)
    with pytest.raises(ConfigurationError, match="asyncio only"):
        async with open_inbox(peer, idle=True):
            pass
