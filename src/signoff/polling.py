"""Reading the inbox: each message handled once, or put where a person finds it (floor 7)."""

from __future__ import annotations

import logging
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

import anyio

from signoff.batches import Batches
from signoff.errors import InboxError
from signoff.model.changes import Changes
from signoff.ports import Inbox, Incoming, Store
from signoff.replies import Replies

_log = logging.getLogger("signoff.polling")

LOGIN_PAUSE: Final = 10
"""How many poll intervals to wait after a refused login, so that no account gets locked."""
RECONNECT_SECONDS: Final = 1.0
"""How long to wait at the most after a first failure; doubled with each further one, up to a poll interval."""
_MOST_DOUBLINGS: Final = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class InboxHealth:
    """
    How an inbox has fared in this process.

    Attributes:
        last_success: When it was last read.
        last_error: What it last ran into.
        last_error_at: When.
        set_aside: How many messages could not be handled and were put away for a person.
        ignored: How many messages decided nothing and were answered by nothing, by reason:
            without a token, of machines.
    """

    last_success: datetime | None = None
    last_error: str = ""
    last_error_at: datetime | None = None
    set_aside: int = 0
    ignored: Mapping[str, int] = field(default_factory=dict[str, int])


class Poller:
    """
    Reads one inbox, once or for as long as a client serves.

    Attributes:
        name: The inbox's.
    """

    def __init__(self, inbox: Inbox, replies: Replies, *, store: Store) -> None:
        self.name = inbox.name
        self._inbox = inbox
        self._replies = replies
        self._store = store
        self._batches = Batches(replies)
        self._health = InboxHealth()

    def health(self) -> InboxHealth:
        """Return how the inbox has fared, with what its messages were ignored for."""
        return replace(self._health, ignored=dict(self._replies.ignored))

    async def poll(self) -> int:
        """
        Handle what came in, and return how many messages were looked at.

        A crash between handling and marking is harmless: the message is read again, and its key
        says that it was handled.

        Raises:
            InboxError: The mailbox cannot be read.
        """
        looked_at = 0
        more = True
        try:
            while more:
                mark = await self._store.mark(self.name)
                batch = await self._inbox.fetch(mark)
                await self._handle(batch.messages)
                if batch.mark is not None and batch.mark != mark:
                    await self._store.commit(Changes(marks={self.name: batch.mark}))
                looked_at += len(batch.messages)
                more = batch.more
        except InboxError as error:
            _log.warning("inbox %s: %s", self.name, error)
            self._health = replace(
                self._health, last_error=str(error), last_error_at=await self._store.now()
            )
            raise
        self._health = replace(self._health, last_success=await self._store.now())
        return looked_at

    async def poll_for_ever(self) -> None:
        """Poll until cancelled: at news, else at intervals, and after a failure later and later."""
        interval = self._inbox.poll_interval_seconds
        failures = 0
        while True:
            try:
                await self.poll()
                await self._wait_for_news()
            except InboxError as error:
                failures += 1
                await anyio.sleep(_rest(error, failures, interval))
            except Exception:  # noqa: BLE001 - whatever a poll runs into, the next one comes
                _log.exception("the inbox %s could not be polled; trying again", self.name)
                await anyio.sleep(interval)
            else:
                failures = 0

    async def _wait_for_news(self) -> None:
        try:
            await self._inbox.wait_for_news(self._inbox.poll_interval_seconds)
        except InboxError as error:
            # No failure of the inbox yet: servers and routers end silent connections.
            _log.info("inbox %s: the wait for news broke off: %s", self.name, error)
            raise

    async def _handle(self, messages: Sequence[Incoming]) -> None:
        """Handle messages, and put away those that are dealt with and those that nobody can."""
        handled = await self._batches.handle(messages, self._inbox)
        for uid in handled.hopeless:
            await self._set_aside(uid)
        if handled.failure is not None:
            raise handled.failure
        await self._inbox.done([one.uid for one in messages if one.uid in handled.ours])

    async def _set_aside(self, uid: str) -> None:
        """Put a message where a person finds it, and count it."""
        await self._inbox.set_aside([uid])
        self._health = replace(self._health, set_aside=self._health.set_aside + 1)


def _rest(error: InboxError, failures: int, interval: float) -> float:
    """Return how many seconds to leave an inbox alone after so many failures in a row."""
    if error.login_failed:
        return interval * LOGIN_PAUSE
    longest = min(interval, RECONNECT_SECONDS * 2.0 ** min(failures - 1, _MOST_DOUBLINGS))
    # Not all at once: other workers lost the same server at the same moment.
    return random.uniform(longest / 2, longest)  # noqa: S311 - no secret
