"""
Every test of the inbox contract can fail: an inbox that is wrong in one way does not pass it.

Each `Faulty` class is a right inbox with one fault; `caught_by` names the tests that see it.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import anyio
import pytest
from anyio.lowlevel import checkpoint
from typing_extensions import override

from signoff.errors import InboxError
from signoff.ports import Batch, Inbox, Incoming
from signoff.testing import InboxContract

pytestmark = pytest.mark.one_python

SUITE = InboxContract()
IMPATIENT = 0.2
"""Seconds that a test of the contract waits for what never comes."""
NAMES = sorted(name for name in dir(InboxContract) if name.startswith("test_"))
SEEN = (AssertionError, InboxError, ExceptionGroup)
"""How a test of the contract fails: it does not hold, or the inbox fails where it must not."""


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """Return one event loop: whether the contract bites has nothing to do with which."""
    return "asyncio"


class Mailbox:
    """What lies in a mailbox, whoever looks at it."""

    def __init__(self) -> None:
        self.messages: list[Incoming] = []
        self.delivered = 0

    async def deliver(self, raw: bytes) -> None:
        """Put a message into it."""
        self.delivered += 1
        self.messages.append(Incoming(uid=str(self.delivered), raw=raw))


class Shelf(Inbox):
    """A right inbox over a mailbox in memory."""

    def __init__(self, mailbox: Mailbox) -> None:
        self.name = "shelf"
        self.trusted_server = None
        self.poll_interval_seconds = 60.0
        self.mailbox = mailbox
        self.limit = InboxContract.batch
        self.is_open = False

    @override
    async def fetch(self, mark: str | None) -> Batch:
        self.is_open = True
        for _ in range(3):
            await checkpoint()
        last = int(mark or 0)
        found = [one for one in self.mailbox.messages if int(one.uid) > last]
        now = found[: self.limit]
        return Batch(
            messages=now, mark=now[-1].uid if now else str(last), more=len(found) > len(now)
        )

    @override
    async def done(self, uids: Sequence[str]) -> None:
        await self.put_away(uids)

    @override
    async def set_aside(self, uids: Sequence[str]) -> None:
        await self.put_away(uids)

    async def put_away(self, uids: Sequence[str]) -> None:
        """Take messages out of the mailbox."""
        self.is_open = True
        left = [one for one in self.mailbox.messages if one.uid not in set(uids)]
        self.mailbox.messages[:] = left

    @override
    async def wait_for_news(self, seconds: float) -> None:
        await anyio.sleep(seconds)

    @override
    async def aclose(self) -> None:
        self.is_open = False


class Faulty(Shelf):
    """A shelf with one fault; by default in what it makes of a right batch."""

    caught_by: ClassVar[tuple[str, ...]] = ()

    def bend(self, batch: Batch, mark: str | None) -> Batch:
        """Return what is given in place of `batch`."""
        return batch

    @override
    async def fetch(self, mark: str | None) -> Batch:
        return self.bend(await super().fetch(mark), mark)


class Nameless(Faulty):
    """It has no name to keep a mark under."""

    caught_by = ("test_an_inbox_says_who_it_is",)

    def __init__(self, mailbox: Mailbox) -> None:
        super().__init__(mailbox)
        self.name = ""


class NeverResting(Faulty):
    """It wants to be polled without a pause."""

    caught_by = ("test_an_inbox_says_who_it_is",)

    def __init__(self, mailbox: Mailbox) -> None:
        super().__init__(mailbox)
        self.poll_interval_seconds = 0.0


class AlwaysMore(Faulty):
    """It says that there is more after each batch."""

    caught_by = ("test_an_empty_mailbox_has_no_messages", "test_a_message_comes_with_all_its_bytes")

    @override
    def bend(self, batch: Batch, mark: str | None) -> Batch:
        return Batch(messages=batch.messages, mark=batch.mark, more=True)


class MoreAfterAFullBatch(Faulty):
    """It takes a full batch for a sign that there is more."""

    caught_by = ("test_a_full_batch_that_was_the_last_has_no_more",)

    @override
    def bend(self, batch: Batch, mark: str | None) -> Batch:
        full = len(batch.messages) == self.limit
        return Batch(messages=batch.messages, mark=batch.mark, more=full)


class NeverMore(Faulty):
    """It never says that there is more."""

    caught_by = ("test_messages_come_in_batches_oldest_first",)

    @override
    def bend(self, batch: Batch, mark: str | None) -> Batch:
        return Batch(messages=batch.messages, mark=batch.mark, more=False)


class NoLimit(Faulty):
    """It returns all at once."""

    caught_by = ("test_messages_come_in_batches_oldest_first",)

    def __init__(self, mailbox: Mailbox) -> None:
        super().__init__(mailbox)
        self.limit = 1000


class NewestFirst(Faulty):
    """It turns each batch round."""

    caught_by = ("test_messages_come_in_batches_oldest_first",)

    @override
    def bend(self, batch: Batch, mark: str | None) -> Batch:
        return Batch(messages=batch.messages[::-1], mark=batch.mark, more=batch.more)


class SevenBit(Faulty):
    """It takes messages for ASCII."""

    caught_by = ("test_a_message_comes_with_all_its_bytes",)

    @override
    def bend(self, batch: Batch, mark: str | None) -> Batch:
        seven = [
            Incoming(uid=one.uid, raw=one.raw.decode("ascii", "replace").encode())
            for one in batch.messages
        ]
        return Batch(messages=seven, mark=batch.mark, more=batch.more)


class StandsStill(Faulty):
    """Its mark stays where it was."""

    caught_by = (
        "test_messages_come_in_batches_oldest_first",
        "test_above_its_mark_is_only_what_came_in_later",
        "test_ids_and_marks_outlive_the_object",
    )

    @override
    def bend(self, batch: Batch, mark: str | None) -> Batch:
        return Batch(messages=batch.messages, mark=None, more=batch.more)


class RunsAhead(Faulty):
    """Its mark stands above a message that is still to come."""

    caught_by = (
        "test_above_its_mark_is_only_what_came_in_later",
        "test_the_mark_of_an_empty_mailbox_misses_nothing",
        "test_ids_and_marks_outlive_the_object",
        "test_a_done_message_leaves_the_mark_of_the_others",
    )

    @override
    def bend(self, batch: Batch, mark: str | None) -> Batch:
        ahead = str(int(batch.mark or 0) + 1)
        return Batch(messages=batch.messages, mark=ahead, more=batch.more)


class OnceOnly(Faulty):
    """It forgets a message as soon as it has returned it."""

    caught_by = (
        "test_the_same_mark_brings_the_same_messages_again",
        "test_what_nobody_called_done_stays",
        "test_ids_and_marks_outlive_the_object",
        "test_a_closed_inbox_opens_again",
        "test_a_cancelled_fetch_takes_nothing_away",
    )

    @override
    def bend(self, batch: Batch, mark: str | None) -> Batch:
        left = [one for one in self.mailbox.messages if one not in batch.messages]
        self.mailbox.messages[:] = left
        return batch


class CallsEqualsEqual(Faulty):
    """Its ids are of what the messages say."""

    caught_by = ("test_equal_messages_have_ids_of_their_own",)

    @override
    def bend(self, batch: Batch, mark: str | None) -> Batch:
        alike = [Incoming(uid=one.raw.hex(), raw=one.raw) for one in batch.messages]
        return Batch(messages=alike, mark=batch.mark, more=batch.more)


class IdsOfTheObject(Faulty):
    """Its ids mean something to this object only."""

    caught_by = ("test_ids_and_marks_outlive_the_object",)

    @override
    def bend(self, batch: Batch, mark: str | None) -> Batch:
        own = [Incoming(uid=f"{id(self)}.{one.uid}", raw=one.raw) for one in batch.messages]
        return Batch(messages=own, mark=batch.mark, more=batch.more)


class DoesNothing(Faulty):
    """It puts nothing away."""

    caught_by = (
        "test_what_is_done_does_not_come_again",
        "test_what_was_set_aside_does_not_come_again",
        "test_a_message_may_be_put_away_again",
    )

    @override
    async def put_away(self, uids: Sequence[str]) -> None:
        return


class PutsAllAway(Faulty):
    """It takes the neighbours away as well."""

    caught_by = (
        "test_what_is_done_does_not_come_again",
        "test_what_was_set_aside_does_not_come_again",
        "test_putting_nothing_away_does_nothing",
    )

    @override
    async def put_away(self, uids: Sequence[str]) -> None:
        self.mailbox.messages.clear()


class Picky(Faulty):
    """It fails when a message is gone already."""

    caught_by = ("test_a_message_may_be_put_away_again",)

    @override
    async def put_away(self, uids: Sequence[str]) -> None:
        if not set(uids) <= {one.uid for one in self.mailbox.messages}:
            raise InboxError("there is no such message")
        await super().put_away(uids)


class ByPlace(Faulty):
    """It counts places, and so takes another message away the second time."""

    caught_by = ("test_a_message_may_be_put_away_again",)

    @override
    async def put_away(self, uids: Sequence[str]) -> None:
        for uid in uids:
            del self.mailbox.messages[int(uid) - 1 : int(uid)]


class ClosedForGood(Faulty):
    """What was closed stays closed."""

    caught_by = ("test_a_closed_inbox_opens_again",)

    closed = False

    @override
    async def aclose(self) -> None:
        self.closed = True

    @override
    async def fetch(self, mark: str | None) -> Batch:
        if self.closed:
            raise InboxError("closed")
        return await super().fetch(mark)


class OneAtATime(Faulty):
    """It does not bear a second call while one is under way, and never forgets a cancelled one."""

    caught_by = (
        "test_calls_at_the_same_time_do_not_disturb_each_other",
        "test_a_cancelled_fetch_takes_nothing_away",
    )

    busy = False

    @override
    async def fetch(self, mark: str | None) -> Batch:
        if self.busy:
            raise InboxError("busy")
        self.busy = True
        batch = await super().fetch(mark)
        self.busy = False
        return batch


class Crosses(Faulty):
    """Of two calls at the same time the first one gets nothing."""

    caught_by = ("test_calls_at_the_same_time_do_not_disturb_each_other",)

    calls = 0

    @override
    async def fetch(self, mark: str | None) -> Batch:
        self.calls += 1
        mine = self.calls
        batch = await super().fetch(mark)
        if mine == self.calls:
            return batch
        return Batch(messages=[], mark=batch.mark, more=batch.more)


class WaitsForEver(Faulty):
    """It waits until there is news."""

    caught_by = ("test_waiting_for_news_ends",)

    @override
    async def wait_for_news(self, seconds: float) -> None:
        await anyio.sleep_forever()


class WaitsOnlyOnceOpen(Faulty):
    """It cannot wait before it has a connection."""

    caught_by = ("test_waiting_for_news_ends",)

    @override
    async def wait_for_news(self, seconds: float) -> None:
        if not self.is_open:
            raise InboxError("not open")


class KeepsTheNews(Faulty):
    """It takes what came in for itself."""

    caught_by = ("test_waiting_for_news_takes_nothing_away",)

    @override
    async def wait_for_news(self, seconds: float) -> None:
        await super().wait_for_news(seconds)
        self.mailbox.messages.clear()


class WaitsAlone(Faulty):
    """It lets nobody in while it waits."""

    caught_by = ("test_other_calls_do_not_wait_for_the_end_of_a_wait",)

    def __init__(self, mailbox: Mailbox) -> None:
        super().__init__(mailbox)
        self.lock = anyio.Lock()

    @override
    async def wait_for_news(self, seconds: float) -> None:
        async with self.lock:
            await super().wait_for_news(seconds)

    @override
    async def fetch(self, mark: str | None) -> Batch:
        async with self.lock:
            return await super().fetch(mark)


FAULTS = Faulty.__subclasses__()


async def put_to_the_test(name: str, kind: type[Shelf]) -> None:
    """Run one test of the contract on a new inbox."""
    mailbox = Mailbox()

    async def reopen() -> Inbox:
        return kind(mailbox)

    given = {"inbox": kind(mailbox), "deliver": mailbox.deliver, "reopen": reopen}
    test = getattr(SUITE, name)
    with anyio.fail_after(10):
        await test(**{key: given[key] for key in inspect.signature(test).parameters})


@pytest.mark.parametrize("name", NAMES)
async def test_a_right_inbox_passes(name: str) -> None:
    """So what fails below fails because of the fault, not because of how it is called."""
    await put_to_the_test(name, Shelf)


@pytest.mark.parametrize(
    ("fault", "name"),
    [(fault, name) for fault in FAULTS for name in fault.caught_by],
    ids=lambda value: getattr(value, "__name__", value),
)
async def test_a_fault_is_caught(
    fault: type[Faulty], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The named test of the contract fails on the faulty inbox."""
    monkeypatch.setattr(InboxContract, "patience", IMPATIENT)
    with pytest.raises(SEEN):
        await put_to_the_test(name, fault)


def test_every_test_of_the_contract_is_seen_to_fail() -> None:
    """Each of them catches a fault above."""
    assert sorted({name for fault in FAULTS for name in fault.caught_by}) == NAMES


FORGETFUL = """
import pytest
from signoff.testing import InboxContract

class TestForgetful(InboxContract):
    async def test_an_inbox_says_who_it_is(self, {fixture}):
        pass
"""


class Reports:
    """A pytest plugin that keeps why tests failed."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep it."""
        if report.failed:
            self.told.append(report.longreprtext)


@pytest.mark.parametrize("fixture", ["inbox", "deliver", "reopen"])
def test_who_forgets_a_fixture_is_told(tmp_path: Path, fixture: str) -> None:
    """Each missing fixture says what it has to return, on both loops."""
    # Every run needs a module name of its own: pytest keeps what it has imported.
    path = tmp_path / f"{tmp_path.name}.py"
    path.write_text(FORGETFUL.format(fixture=fixture))
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    reports = Reports()
    plugins = [f"-pno:{name}" for name in ("cacheprovider", "randomly", "timeout")]
    options = ["--import-mode=importlib", f"--rootdir={tmp_path}", "-k", "says_who_it_is"]

    pytest.main([*plugins, *options, str(path)], plugins=[reports])

    assert len(reports.told) == 2
    for told in reports.told:
        assert f"override the fixture `{fixture}`: " in told
