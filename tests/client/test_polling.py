"""How long the inbox rests between two polls, by a clock that jumps to whatever is next."""

from __future__ import annotations

import anyio
import pytest
from trio.testing import MockClock
from typing_extensions import override

from signoff import Client
from signoff.errors import InboxError
from signoff.polling import LOGIN_PAUSE, RECONNECT_SECONDS
from signoff.ports import Batch
from signoff.testing import MemoryMail

INTERVAL = 60.0


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    """Run on trio, whose time can be made to fly."""
    return "trio", {"clock": MockClock(autojump_threshold=0)}


class Watched(MemoryMail):
    """A mailbox that notes when it was looked at, and answers as it was told."""

    def __init__(self, *answers: InboxError | None) -> None:
        super().__init__()
        self.poll_interval_seconds = INTERVAL
        self.answers = list(answers)
        self.looked_at: list[float] = []
        self.enough = anyio.Event()
        self.broken_waits = 0

    @override
    async def fetch(self, mark: str | None) -> Batch:
        self.looked_at.append(anyio.current_time())
        if not self.answers:
            self.enough.set()
            return await super().fetch(mark)
        answer = self.answers.pop(0)
        if answer is not None:
            raise answer
        return await super().fetch(mark)

    @override
    async def wait_for_news(self, seconds: float) -> None:
        if self.broken_waits:
            self.broken_waits -= 1
            raise InboxError("the server hung up")
        await super().wait_for_news(seconds)

    @property
    def rests(self) -> list[float]:
        """How long it was left alone, each time."""
        pairs = zip(self.looked_at, self.looked_at[1:], strict=False)
        return [round(after - before, 6) for before, after in pairs]


async def served(mail: Watched) -> list[float]:
    """Serve until the mailbox has given all its answers, and return its rests."""
    async with Client(notifiers=[mail], inbox=mail) as client, client.serving():
        await mail.enough.wait()
    return mail.rests


async def test_the_inbox_is_polled_at_its_interval() -> None:
    """Requirement 3: the first time at once, and then with a rest each time, news or not."""
    assert await served(Watched(None, None, None)) == [INTERVAL] * 3


async def test_after_an_error_the_inbox_is_soon_tried_again() -> None:
    """Requirement 3: after a second at the most, then after twice as long, at last an interval."""
    hung_up = InboxError("the server hung up")

    *rests, last = await served(Watched(*[hung_up] * 9, None))

    longest = [min(RECONNECT_SECONDS * 2**failures, INTERVAL) for failures in range(9)]
    assert longest[-3:] == [INTERVAL] * 3
    assert all(most / 2 <= rest <= most for rest, most in zip(rests, longest, strict=True))
    assert last == INTERVAL
    # A server that comes back is not met by all at the same moment.
    assert len({rest / most for rest, most in zip(rests, longest, strict=True)}) > 1


async def test_an_error_while_waiting_for_news_is_one_as_well() -> None:
    """A server that ends each wait is not polled without a rest."""
    mail = Watched(None, None, None)
    mail.broken_waits = 2

    first, second, third = await served(mail)

    assert RECONNECT_SECONDS / 2 <= first <= RECONNECT_SECONDS
    assert RECONNECT_SECONDS <= second <= 2 * RECONNECT_SECONDS
    assert third == INTERVAL


async def test_news_end_the_rest() -> None:
    """An inbox that is told of mail is polled at once."""
    mail = Watched(None)
    async with Client(notifiers=[mail], inbox=mail) as client, client.serving():
        await anyio.sleep(INTERVAL / 4)
        mail.receive(b"From: ann@acme.example\r\n\r\nhello\r\n")
        await mail.enough.wait()

    assert mail.rests == [INTERVAL / 4]


async def test_after_a_refused_login_the_inbox_rests_longer() -> None:
    """Else the account would soon be locked; once the login works, it is as before."""
    refused = InboxError("wrong password", login_failed=True)

    rests = await served(Watched(refused, refused, None))

    assert rests == [LOGIN_PAUSE * INTERVAL, LOGIN_PAUSE * INTERVAL, INTERVAL]
