"""The suite that proves an inbox (floor 9)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import ClassVar, TypeAlias

import anyio
import pytest
from anyio.lowlevel import checkpoint

from signoff.ports import Batch, Inbox, Incoming

Deliver: TypeAlias = Callable[[bytes], Awaitable[None]]
"""Puts one message into the mailbox, as somebody else's program does."""

Reopen: TypeAlias = Callable[[], Awaitable[Inbox]]
"""Closes the inbox of the test and returns a new object over the same mailbox."""


def a_message(number: int = 1) -> bytes:
    """Return a message that no other number has."""
    return (
        f"From: ann@acme.example\r\nMessage-ID: <m{number}@acme.example>\r\n"
        f"Subject: =?utf-8?q?f=C3=BCr_{number}?=\r\n\r\n* approved (\r\n.\r\n{'{3}'}\r\n"
    ).encode() + bytes(range(128, 256))


def uids(messages: Batch | list[Incoming]) -> list[str]:
    """Return the ids of messages, in their order."""
    return [one.uid for one in (messages.messages if isinstance(messages, Batch) else messages)]


async def all_above(inbox: Inbox, mark: str | None) -> list[Incoming]:
    """Return all messages above a mark, batch by batch."""
    messages: list[Incoming] = []
    more = True
    while more:
        batch = await inbox.fetch(mark)
        assert batch.mark != mark or not batch.more, "it would go on for ever"
        messages += batch.messages
        mark, more = batch.mark, batch.more
    return messages


@pytest.mark.anyio
class InboxContract:
    """
    Every promise of `signoff.ports.Inbox`, as tests.

    Inherit it, override its fixtures, and say how many messages your inbox returns at once::

        class TestMyInbox(InboxContract):
            batch = 2

            @pytest.fixture
            async def inbox(self, server: MyServer) -> AsyncIterator[Inbox]:
                inbox = MyInbox(server.address, batch=self.batch)
                yield inbox
                await inbox.aclose()

            @pytest.fixture
            def deliver(self, server: MyServer) -> Deliver: ...

            @pytest.fixture
            def reopen(self, inbox: Inbox, server: MyServer) -> Reopen: ...

    The names and docstrings of the tests are the specification.
    """

    batch: ClassVar[int] = 2
    """How many messages the inbox under test returns at the most; the tests deliver more."""

    patience: ClassVar[float] = 20
    """Seconds after which a test of waiting for news gives up; one that passes needs few."""

    @pytest.fixture
    async def inbox(self) -> Inbox:
        """Return or yield an inbox over an empty mailbox. Override this one."""
        pytest.fail("override the fixture `inbox`: yield an inbox over an empty mailbox")

    @pytest.fixture
    def deliver(self) -> Deliver:
        """Return what puts a message into the mailbox of `inbox`. Override this one."""
        pytest.fail("override the fixture `deliver`: return what puts a message into the mailbox")

    @pytest.fixture
    def reopen(self) -> Reopen:
        """Return what closes `inbox` and makes a new one over its mailbox. Override this one."""
        pytest.fail("override the fixture `reopen`: return what opens the mailbox anew")

    async def test_an_inbox_says_who_it_is(self, inbox: Inbox) -> None:
        """It has a name, waits some time between two polls, and says whose verdicts it trusts."""
        assert inbox.name
        assert inbox.poll_interval_seconds > 0
        assert inbox.trusted_server is None or isinstance(inbox.trusted_server, str)

    async def test_an_empty_mailbox_has_no_messages(self, inbox: Inbox) -> None:
        """Nothing, and nothing more; with the mark of that as well."""
        batch = await inbox.fetch(None)
        again = await inbox.fetch(batch.mark)

        assert (list(batch.messages), batch.more) == ([], False)
        assert (list(again.messages), again.more) == ([], False)

    async def test_a_message_comes_with_all_its_bytes(self, inbox: Inbox, deliver: Deliver) -> None:
        """Whatever they are; only a limit on the size may cut them."""
        await deliver(a_message())

        batch = await inbox.fetch(None)

        assert [one.raw for one in batch.messages] == [a_message()]
        assert not batch.more

    async def test_messages_come_in_batches_oldest_first(
        self, inbox: Inbox, deliver: Deliver
    ) -> None:
        """At most a batch at once, `more` while there are further ones, and each of them once."""
        count = 2 * self.batch + 1
        for number in range(count):
            await deliver(a_message(number))

        first = await inbox.fetch(None)
        rest = await all_above(inbox, first.mark)

        assert len(first.messages) == self.batch
        assert first.more
        assert [one.raw for one in [*first.messages, *rest]] == [
            a_message(number) for number in range(count)
        ]
        assert len({*uids(first), *uids(rest)}) == count

    async def test_a_full_batch_that_was_the_last_has_no_more(
        self, inbox: Inbox, deliver: Deliver
    ) -> None:
        """`more` says whether there are further messages, not whether the batch was full."""
        for number in range(self.batch):
            await deliver(a_message(number))

        batch = await inbox.fetch(None)

        assert len(batch.messages) == self.batch
        assert not batch.more

    async def test_above_its_mark_is_only_what_came_in_later(
        self, inbox: Inbox, deliver: Deliver
    ) -> None:
        """What lies at or below the mark does not come again."""
        await deliver(a_message(1))
        before = await inbox.fetch(None)
        nothing = await inbox.fetch(before.mark)
        await deliver(a_message(2))

        after = await inbox.fetch(nothing.mark)

        assert list(nothing.messages) == []
        assert [one.raw for one in after.messages] == [a_message(2)]

    async def test_the_mark_of_an_empty_mailbox_misses_nothing(
        self, inbox: Inbox, deliver: Deliver
    ) -> None:
        """What comes in after the first look is found with what the first look gave as its mark."""
        empty = await inbox.fetch(None)
        await deliver(a_message())

        batch = await inbox.fetch(empty.mark)

        assert [one.raw for one in batch.messages] == [a_message()]

    async def test_the_same_mark_brings_the_same_messages_again(
        self, inbox: Inbox, deliver: Deliver
    ) -> None:
        """So a crash between handling and marking loses nothing, and the ids tell that it is a repetition."""
        start = (await inbox.fetch(None)).mark
        await deliver(a_message(1))
        await deliver(a_message(2))

        first = await inbox.fetch(start)
        second = await inbox.fetch(start)

        assert uids(first)
        assert first == second

    async def test_equal_messages_have_ids_of_their_own(
        self, inbox: Inbox, deliver: Deliver
    ) -> None:
        """An id is of a place in the mailbox, not of the bytes."""
        await deliver(a_message())
        await deliver(a_message())

        messages = await all_above(inbox, None)

        assert [one.raw for one in messages] == [a_message(), a_message()]
        assert len(set(uids(messages))) == 2

    async def test_ids_and_marks_outlive_the_object(
        self, inbox: Inbox, deliver: Deliver, reopen: Reopen
    ) -> None:
        """After a restart the same message has the same id, and a stored mark still counts."""
        await deliver(a_message(1))
        before = await inbox.fetch(None)

        restarted = await reopen()

        assert uids(await restarted.fetch(None)) == uids(before)
        assert list((await restarted.fetch(before.mark)).messages) == []
        await deliver(a_message(2))
        later = await restarted.fetch(before.mark)
        assert [one.raw for one in later.messages] == [a_message(2)]

    async def test_what_is_done_does_not_come_again(self, inbox: Inbox, deliver: Deliver) -> None:
        """Not even to one who has no mark; everything else stays."""
        await deliver(a_message(1))
        await deliver(a_message(2))
        batch = await inbox.fetch(None)

        await inbox.done(uids(batch)[:1])

        assert uids(await inbox.fetch(None)) == uids(batch)[1:]

    async def test_what_was_set_aside_does_not_come_again(
        self, inbox: Inbox, deliver: Deliver
    ) -> None:
        """Not even to one who has no mark; everything else stays."""
        await deliver(a_message(1))
        await deliver(a_message(2))
        batch = await inbox.fetch(None)

        await inbox.set_aside(uids(batch)[1:])

        assert uids(await inbox.fetch(None)) == uids(batch)[:1]

    async def test_what_nobody_called_done_stays(self, inbox: Inbox, deliver: Deliver) -> None:
        """Foreign mail is read past, and left where it is."""
        await deliver(a_message())
        batch = await inbox.fetch(None)
        await inbox.fetch(batch.mark)

        assert uids(await inbox.fetch(None)) == uids(batch)

    async def test_a_message_may_be_put_away_again(
        self, inbox: Inbox, deliver: Deliver, reopen: Reopen
    ) -> None:
        """A repetition after a crash does nothing, whether the same object repeats it or a new one."""
        await deliver(a_message(1))
        await deliver(a_message(2))
        batch = await inbox.fetch(None)
        await inbox.done(uids(batch)[:1])

        await inbox.done(uids(batch)[:1])
        await inbox.set_aside(uids(batch)[:1])
        restarted = await reopen()
        await restarted.done(uids(batch)[:1])

        assert uids(await restarted.fetch(None)) == uids(batch)[1:]

    async def test_putting_nothing_away_does_nothing(self, inbox: Inbox, deliver: Deliver) -> None:
        """An empty list is no error and names no message."""
        await deliver(a_message())

        await inbox.done([])
        await inbox.set_aside([])

        assert len((await inbox.fetch(None)).messages) == 1

    async def test_a_done_message_leaves_the_mark_of_the_others(
        self, inbox: Inbox, deliver: Deliver
    ) -> None:
        """The order of fetching, putting away and marking does not matter to what comes next."""
        await deliver(a_message(1))
        batch = await inbox.fetch(None)
        await inbox.done(uids(batch))
        await deliver(a_message(2))

        later = await inbox.fetch(batch.mark)

        assert [one.raw for one in later.messages] == [a_message(2)]

    async def test_waiting_for_news_ends(self, inbox: Inbox) -> None:
        """After the time given, news or not, before the first fetch, after it, and once it is closed."""
        with anyio.move_on_after(self.patience) as waiting:
            await inbox.wait_for_news(0.01)
            await inbox.fetch(None)
            await inbox.wait_for_news(0.01)
            await inbox.aclose()
            await inbox.wait_for_news(0.01)

        assert not waiting.cancelled_caught

    async def test_waiting_for_news_takes_nothing_away(
        self, inbox: Inbox, deliver: Deliver
    ) -> None:
        """Whatever came in before or during the wait is found by the next fetch."""
        empty = await inbox.fetch(None)
        await deliver(a_message(1))
        await inbox.wait_for_news(0.01)
        async with anyio.create_task_group() as group:
            group.start_soon(inbox.wait_for_news, 0.01)
            await deliver(a_message(2))

        batch = await inbox.fetch(empty.mark)

        assert [one.raw for one in batch.messages] == [a_message(1), a_message(2)]

    async def test_other_calls_do_not_wait_for_the_end_of_a_wait(
        self, inbox: Inbox, deliver: Deliver
    ) -> None:
        """Nor does closing; and a cancelled wait leaves all as it was."""
        await deliver(a_message())
        expected = await inbox.fetch(None)
        for checkpoints in range(6):
            batches: list[Batch] = []
            with anyio.move_on_after(self.patience):
                async with anyio.create_task_group() as group:
                    group.start_soon(inbox.wait_for_news, 10 * self.patience)
                    for _ in range(checkpoints):
                        await checkpoint()
                    batches.append(await inbox.fetch(None))
                    if checkpoints % 2:
                        await inbox.aclose()
                    group.cancel_scope.cancel()
                batches.append(await inbox.fetch(None))

            assert batches == [expected, expected]
        assert uids(expected)

    async def test_a_closed_inbox_opens_again(self, inbox: Inbox, deliver: Deliver) -> None:
        """Closing drops the connection and nothing else; closing twice, or unopened, is fine."""
        await inbox.aclose()
        await deliver(a_message())
        before = await inbox.fetch(None)

        await inbox.aclose()
        await inbox.aclose()

        assert await inbox.fetch(None) == before
        assert uids(before)

    async def test_calls_at_the_same_time_do_not_disturb_each_other(
        self, inbox: Inbox, deliver: Deliver
    ) -> None:
        """Each gets its own answer."""
        await deliver(a_message(1))
        await deliver(a_message(2))
        expected = await inbox.fetch(None)
        batches: list[Batch] = []

        async def look() -> None:
            batches.append(await inbox.fetch(None))

        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(look)

        assert batches == [expected] * 3

    async def test_a_cancelled_fetch_takes_nothing_away(
        self, inbox: Inbox, deliver: Deliver
    ) -> None:
        """Wherever the cancel meets it, the next fetch answers as if there had been none."""
        await deliver(a_message())
        expected = await inbox.fetch(None)
        for checkpoints in range(6):
            async with anyio.create_task_group() as group:
                group.start_soon(inbox.fetch, None)
                for _ in range(checkpoints):
                    await checkpoint()
                group.cancel_scope.cancel()

            assert await inbox.fetch(None) == expected
        assert uids(expected)
