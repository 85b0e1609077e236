"""`IMAPInbox` against a real server on loopback."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from contextlib import aclosing, asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from signoff import inboxes
from signoff.errors import ConfigurationError, InboxError
from signoff.inboxes import IMAPInbox
from signoff.inboxes.imap import LIMIT_BYTES
from signoff.ports import Batch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.adapters.conftest import Certificate, MailServer


@pytest.fixture
def anyio_backend(transport: str) -> str:
    """Run each async test over both transports."""
    return transport


def a_mail(number: int = 1, *, size: int = 0) -> bytes:
    """Return a mail that no other number has, of at least a size."""
    return b"From: ann@acme.example\r\nSubject: %d\r\n\r\n%s\r\n" % (number, b"x" * size)


@asynccontextmanager
async def open_inbox(server: MailServer, **options: Any) -> AsyncIterator[IMAPInbox]:
    """Open an inbox in clear, unless the options say otherwise."""
    settings: dict[str, Any] = {
        "port": server.port,
        "username": server.username,
        "password": server.password,
        "tls": "none",
    } | options
    async with aclosing(IMAPInbox("127.0.0.1", **settings)) as inbox:
        yield inbox


def raws(batch: Batch) -> list[bytes]:
    """Return the messages of a batch."""
    return [one.raw for one in batch.messages]


def uids(batch: Batch) -> list[str]:
    """Return the ids of the messages of a batch."""
    return [one.uid for one in batch.messages]


async def all_above(inbox: IMAPInbox, mark: str | None) -> list[Batch]:
    """Return all batches above a mark."""
    batches = [await inbox.fetch(mark)]
    while batches[-1].more:
        batches.append(await inbox.fetch(batches[-1].mark))
    return batches


# Connecting.


async def test_with_starttls_the_mailbox_is_read(
    mail_server: MailServer, loopback_certificate: Certificate
) -> None:
    """TLS begins before the login, on the port that speaks in clear."""
    mail_server.deliver(a_mail())

    async with open_inbox(
        mail_server, tls="starttls", tls_context=loopback_certificate.client
    ) as inbox:
        assert raws(await inbox.fetch(None)) == [a_mail()]


async def test_with_implicit_tls_the_mailbox_is_read(
    mail_server: MailServer, loopback_certificate: Certificate
) -> None:
    """TLS begins with the first byte, on a port of its own, and that is the default."""
    mail_server.deliver(a_mail())
    async with aclosing(
        IMAPInbox(
            "127.0.0.1",
            mail_server.tls_port,
            username=mail_server.username,
            password=mail_server.password,
            tls_context=loopback_certificate.client,
        )
    ) as inbox:
        assert raws(await inbox.fetch(None)) == [a_mail()]


@pytest.mark.parametrize("tls", ["implicit", "starttls"])
async def test_a_certificate_that_nobody_trusts_ends_the_connection(
    mail_server: MailServer, tls: str
) -> None:
    """By default the system's authorities decide, and the test's certificate is none of theirs."""
    port = mail_server.tls_port if tls == "implicit" else mail_server.port

    async with open_inbox(mail_server, tls=tls, port=port) as inbox:
        with pytest.raises(InboxError, match="certificate verify failed") as caught:
            await inbox.fetch(None)

    assert not caught.value.login_failed


async def test_a_certificate_for_another_name_ends_the_connection(
    mail_server: MailServer, loopback_certificate: Certificate
) -> None:
    """The certificate is for 127.0.0.1, not for `localhost`."""
    inbox = IMAPInbox(
        "localhost",
        mail_server.tls_port,
        username=mail_server.username,
        password=mail_server.password,
        tls_context=loopback_certificate.client,
    )

    with pytest.raises(InboxError, match="Hostname mismatch"):
        await inbox.fetch(None)


async def test_a_refused_login_says_so(mail_server: MailServer) -> None:
    """The error tells it from a failing network, names the user, and not the password."""
    async with open_inbox(mail_server, password="wrong-pass") as inbox:
        with pytest.raises(InboxError) as caught:
            await inbox.fetch(None)

    assert caught.value.login_failed
    assert str(caught.value) == (
        f"127.0.0.1:{mail_server.port} (none) refused the login of 'approvals@acme.example'"
    )


async def test_an_ended_session_is_replaced_at_the_next_poll(mail_server: MailServer) -> None:
    """A server that hung up between two polls is no error."""
    async with open_inbox(mail_server) as inbox:
        empty = await inbox.fetch(None)
        mail_server.hang_up()
        mail_server.deliver(a_mail())

        assert raws(await inbox.fetch(empty.mark)) == [a_mail()]


def test_one_inbox_works_in_one_event_loop_after_another(mail_server: MailServer) -> None:
    """Each loop has a connection of its own, whichever kind of loop it is."""
    mail_server.deliver(a_mail())
    inbox = IMAPInbox(
        "127.0.0.1",
        mail_server.port,
        username=mail_server.username,
        password=mail_server.password,
        tls="none",
    )

    async def look() -> Batch:
        async with aclosing(inbox):
            return await inbox.fetch(None)

    batches = [anyio.run(look, backend=backend) for backend in ("asyncio", "trio", "asyncio")]

    assert [raws(batch) for batch in batches] == [[a_mail()]] * 3


# What is new.


async def test_many_mails_come_in_batches_and_are_put_away(mail_server: MailServer) -> None:
    """120 mails are three batches; each mail ends in the mailbox for handled ones, once."""
    mails = [a_mail(number) for number in range(120)]
    for mail in mails:
        mail_server.deliver(mail)

    async with open_inbox(mail_server) as inbox:
        batches = await all_above(inbox, None)
        for batch in batches:
            await inbox.done(uids(batch))

    assert [len(batch.messages) for batch in batches] == [50, 50, 20]
    assert [raw for batch in batches for raw in raws(batch)] == mails
    assert mail_server.contents("INBOX") == []
    assert mail_server.contents("Processed") == mails


async def test_ids_and_marks_are_validity_and_uid(mail_server: MailServer) -> None:
    """So the mark is where the last message stands."""
    mail_server.deliver(a_mail(1))
    mail_server.deliver(a_mail(2))

    async with open_inbox(mail_server) as inbox:
        batch = await inbox.fetch(None)

    validity = (batch.mark or "").partition(":")[0]
    assert uids(batch) == [f"{validity}:101", f"{validity}:102"]
    assert batch.mark == f"{validity}:102"


async def test_at_first_use_old_mail_is_left_alone(mail_server: MailServer) -> None:
    """Without a mark it begins with the last two days, and later polls do not fall back."""
    mail_server.deliver(a_mail(1), days_ago=10)
    mail_server.deliver(a_mail(2), days_ago=1)
    mail_server.deliver(a_mail(3), days_ago=10)

    async with open_inbox(mail_server) as inbox:
        first = await inbox.fetch(None)
        second = await inbox.fetch(first.mark)
        mail_server.deliver(a_mail(4), days_ago=10)
        third = await inbox.fetch(second.mark)

    assert raws(first) == [a_mail(2)]
    assert raws(second) == []
    assert raws(third) == [a_mail(4)]


async def test_a_first_look_that_is_cut_short_skips_nothing(mail_server: MailServer) -> None:
    """The mark stands at the last message of the batch as long as there are more."""
    for number in range(3):
        mail_server.deliver(a_mail(number))

    async with open_inbox(mail_server, batch=1) as inbox:
        batches = await all_above(inbox, None)

    assert [raws(batch) for batch in batches] == [[a_mail(number)] for number in range(3)]


async def test_only_old_mail_gives_a_mark_above_it(mail_server: MailServer) -> None:
    """A mailbox with nothing but old mail is not read, at first use or later."""
    mail_server.deliver(a_mail(), days_ago=10)

    async with open_inbox(mail_server) as inbox:
        first = await inbox.fetch(None)
        second = await inbox.fetch(first.mark)

    assert (raws(first), raws(second)) == ([], [])
    assert (first.mark or "").endswith(":101")


@pytest.mark.parametrize("first_uid", [1, 101, 500])
async def test_new_uids_bring_all_mail_again(mail_server: MailServer, first_uid: int) -> None:
    """When UIDs have a new meaning nothing is known any more, however old the mail."""
    mail_server.deliver(a_mail(1))
    mail_server.deliver(a_mail(2))

    async with open_inbox(mail_server) as inbox:
        before = await inbox.fetch(None)
        mail_server.renumber(first_uid=first_uid)
        after = await inbox.fetch(before.mark)

    assert raws(after) == raws(before) == [a_mail(1), a_mail(2)]
    assert not set(uids(after)) & set(uids(before))


async def test_ids_of_old_uids_put_nothing_away(mail_server: MailServer) -> None:
    """The same number may be another message's by now."""
    mail_server.deliver(a_mail())

    async with open_inbox(mail_server) as inbox:
        before = await inbox.fetch(None)
        mail_server.renumber(first_uid=101)
        await inbox.done(uids(before))

    assert mail_server.contents("INBOX") == [a_mail()]


@pytest.mark.parametrize("mark", ["", "7", "abc:5", ":", "1:2:3", "12345678901:1", "5:"])
async def test_a_mark_of_another_kind_of_inbox_counts_for_nothing(
    mail_server: MailServer, mark: str
) -> None:
    """Rather everything twice than a message never."""
    mail_server.deliver(a_mail(1), days_ago=10)
    mail_server.deliver(a_mail(2))

    async with open_inbox(mail_server) as inbox:
        assert raws(await inbox.fetch(mark)) == [a_mail(1), a_mail(2)]


async def test_fetching_does_not_mark_as_seen(mail_server: MailServer) -> None:
    """A person who reads the mailbox still finds there what is new."""
    mail_server.deliver(a_mail())

    async with open_inbox(mail_server) as inbox:
        assert raws(await inbox.fetch(None)) == [a_mail()]

    assert mail_server.flags() == [set()]


async def test_a_huge_mail_is_cut(mail_server: MailServer) -> None:
    """The text of a reply stands at the beginning; 256 KiB of it are read."""
    mail = a_mail(size=3 * LIMIT_BYTES)
    mail_server.deliver(mail)

    async with open_inbox(mail_server) as inbox:
        assert raws(await inbox.fetch(None)) == [mail[:LIMIT_BYTES]]


async def test_another_mailbox_may_be_read(mail_server: MailServer) -> None:
    """`mailbox` says where the replies come in."""
    async with open_inbox(mail_server, done_mailbox="Replies") as inbox:
        mail_server.deliver(a_mail())
        await inbox.done(uids(await inbox.fetch(None)))

    async with open_inbox(mail_server, mailbox="Replies") as inbox:
        assert raws(await inbox.fetch(None)) == [a_mail()]


async def test_a_mailbox_that_is_not_there_is_an_error(mail_server: MailServer) -> None:
    """The message names it."""
    async with open_inbox(mail_server, mailbox="Replies") as inbox:
        with pytest.raises(InboxError, match="refused to open mailbox 'Replies': "):
            await inbox.fetch(None)


# Putting away.


@pytest.mark.parametrize("hidden", [[], [b"MOVE"]])
async def test_messages_are_put_where_they_belong(
    mail_server: MailServer, hidden: Sequence[bytes]
) -> None:
    """Both mailboxes are made when they are missing, with and without MOVE; the rest stays."""
    mail_server.hide(*hidden)
    for number in range(3):
        mail_server.deliver(a_mail(number))

    async with open_inbox(mail_server) as inbox:
        first, second, _ = uids(await inbox.fetch(None))
        await inbox.done([second])
        await inbox.set_aside([first])

    assert mail_server.contents("INBOX") == [a_mail(2)]
    assert mail_server.contents("Processed") == [a_mail(1)]
    assert mail_server.contents("Failed") == [a_mail(0)]


@pytest.mark.parametrize("hidden", [[], [b"MOVE"], [b"MOVE", b"UIDPLUS"]])
async def test_what_is_done_again_is_there_once(
    mail_server: MailServer, hidden: Sequence[bytes]
) -> None:
    """A crash between handling and marking repeats the call; it moves nothing a second time."""
    mail_server.hide(*hidden)
    mail_server.deliver(a_mail())

    async with open_inbox(mail_server) as inbox:
        batch = await inbox.fetch(None)
        await inbox.done(uids(batch))
    async with open_inbox(mail_server) as inbox:
        await inbox.done([*uids(batch), *uids(batch)])

    assert mail_server.contents("Processed") == [a_mail()]


async def test_what_other_people_marked_as_deleted_stays(mail_server: MailServer) -> None:
    """Only our own messages are expunged, by UID."""
    mail_server.hide(b"MOVE")
    mail_server.deliver(a_mail(1))
    mail_server.mark_deleted()
    mail_server.deliver(a_mail(2))

    async with open_inbox(mail_server) as inbox:
        batch = await inbox.fetch(None)
        await inbox.done(uids(batch)[1:])

    assert mail_server.contents("INBOX") == [a_mail(1)]


async def test_without_a_way_to_expunge_by_uid_messages_are_only_marked(
    mail_server: MailServer,
) -> None:
    """A plain EXPUNGE would end other people's messages as well."""
    mail_server.hide(b"MOVE", b"UIDPLUS")
    mail_server.deliver(a_mail())

    async with open_inbox(mail_server) as inbox:
        await inbox.done(uids(await inbox.fetch(None)))

    assert mail_server.contents("INBOX") == mail_server.contents("Processed") == [a_mail()]
    assert mail_server.flags() == [{"\\Deleted"}]


async def test_mailboxes_may_have_any_name(mail_server: MailServer) -> None:
    """Blanks, quotes, backslashes, ampersands and letters of all scripts."""
    name = 'Done & "dealt\\with" für 日本'
    mail_server.deliver(a_mail())

    async with open_inbox(mail_server, done_mailbox=name) as inbox:
        await inbox.done(uids(await inbox.fetch(None)))

    assert mail_server.contents(name) == [a_mail()]


# Settings.


def an_inbox(hostname: str = "mail.acme.example", **options: Any) -> IMAPInbox:
    """Return an inbox that connects to nothing."""
    return IMAPInbox(hostname, **({"username": "ann", "password": "secret"} | options))


async def a_token() -> str:
    """Return an access token."""
    return "ya29"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"tls": "none"}, "in clear to 'mail.acme.example'"),
        ({"tls": "none", "hostname": "192.0.2.1"}, "in clear to '192.0.2.1'"),
        ({"tls": "maybe"}, "tls='maybe'; use one of 'implicit', 'starttls', 'none'"),
        ({"password": None}, "either password= or token="),
        ({"token": a_token}, "either password= or token="),
        ({"username": ""}, "username= is empty"),
        ({"username": "ann\r\n"}, "line end or NUL"),
        ({"password": "secret\n"}, "line end or NUL"),
        ({"password": "sec\0ret"}, "line end or NUL"),
        ({"mailbox": "inbox", "done_mailbox": "INBOX"}, "three mailboxes"),
        ({"done_mailbox": "Failed"}, "three mailboxes"),
        ({"failed_mailbox": ""}, "three mailboxes"),
        ({"poll_interval": timedelta(0)}, "longer than nothing"),
        ({"timeout": timedelta(0)}, "longer than nothing"),
        ({"batch": 0}, "batch=0 is not between 1 and 500"),
        ({"batch": 501}, "batch=501 is not between 1 and 500"),
    ],
)
def test_settings_that_cannot_work_are_refused(options: dict[str, Any], words: str) -> None:
    """At once, before anything connects; the message does not hold the password."""
    with pytest.raises(ConfigurationError, match=words) as caught:
        an_inbox(**options)

    assert "sec" not in str(caught.value)


@pytest.mark.parametrize("hostname", ["localhost", "127.0.0.1", "127.9.9.9", "::1"])
def test_on_loopback_tls_may_be_off(hostname: str) -> None:
    """Nothing leaves the machine."""
    assert str(an_inbox(hostname, tls="none")._account).endswith("(none)")


def test_the_port_follows_from_tls_unless_it_is_given() -> None:
    """993 for implicit TLS, 143 for the others."""
    assert an_inbox()._account.port == 993
    assert an_inbox(tls="starttls")._account.port == 143
    assert an_inbox("::1", tls="none")._account.port == 143
    assert an_inbox(port=10143)._account.port == 10143


def test_an_inbox_tells_the_worker_what_it_goes_by() -> None:
    """Its name, how often to poll and whose verdicts to trust; by default nobody's."""
    inbox = an_inbox()
    other = an_inbox(
        name="replies",
        trusted_server="mx.acme.example",
        poll_interval=timedelta(minutes=2),
        batch=500,
    )

    assert (inbox.name, inbox.trusted_server, inbox.poll_interval_seconds) == ("imap", None, 60)
    assert (other.name, other.trusted_server) == ("replies", "mx.acme.example")
    assert other.poll_interval_seconds == 120


def test_secrets_do_not_show() -> None:
    """Neither the inbox nor its account prints them."""
    inbox = an_inbox()

    assert "secret" not in f"{inbox!r} {inbox._account!r} {inbox._account}"


def test_naming_the_package_loads_no_library() -> None:
    """The library and TLS come with the first use of the inbox."""
    code = "import sys, signoff.inboxes; print({'imaplib', 'ssl'} & {*sys.modules})"

    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)

    assert loaded.stdout.strip() == b"set()"


def test_the_package_knows_no_other_inbox() -> None:
    """A misspelt name is an error as of any module."""
    with pytest.raises(AttributeError, match="'signoff.inboxes' has no attribute 'ImapInbox'"):
        getattr(inboxes, "ImapInbox")  # noqa: B009 - a type checker would refuse the attribute
