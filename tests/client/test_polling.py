"""How long the inbox rests between two polls, by a clock that jumps to whatever is next."""

from __future__ import annotations

import anyio
import pytest
from trio.testing import MockClock
from typing_extensions import override

from signoff import Client
from signoff.errors import InboxError
from signoff.ports import Batch
from signoff.testing import MemoryMail
from signoff.worker import LOGIN_PAUSE

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
    """The first time at once; an error changes nothing."""
    assert await served(Watched(None, InboxError("the server hung up"), None)) == [INTERVAL] * 3


async def test_after_a_refused_login_the_inbox_rests_longer() -> None:
    """Else the account would soon be locked; once the login works, it is as before."""
    refused = InboxError("wrong password", login_failed=True)

    rests = await served(Watched(refused, refused, None))

    assert rests == [LOGIN_PAUSE * INTERVAL, LOGIN_PAUSE * INTERVAL, INTERVAL]
