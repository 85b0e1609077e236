"""
Incoming messages handled side by side, in order where they are about the same (floor 7).

Side by side their reads and commits share the threads and the writes to the disk. What is about
one request is handled in the order in which it came in, and so is the same message come twice.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Final, TypeVar

import anyio

from signoff.errors import InboxError, NotFoundError, SealInvalidError, StoreError
from signoff.ports import Inbox, Incoming
from signoff.replies import Replies, Traced

T = TypeVar("T")

_log = logging.getLogger("signoff.batches")

AT_ONCE: Final = 16
"""How many messages are in work; more would save little, and each holds its text."""

_TRIES: Final = 3


@dataclass(slots=True)
class Handled:
    """
    What became of messages.

    Attributes:
        ours: The uids of those that were Signoff's and are dealt with.
        hopeless: The uids of those that a person has to look at.
        failure: What the others wait for, if anything went wrong.
    """

    ours: set[str] = field(default_factory=set[str])
    hopeless: list[str] = field(default_factory=list[str])
    failure: Exception | None = None


@dataclass(frozen=True, slots=True)
class _Turn:
    """A message, what has to be done with before it, and what tells that it is."""

    traced: Traced
    before: tuple[anyio.Event, ...]
    over: anyio.Event


class Batches:
    """Handles messages, and remembers which of them failed before."""

    def __init__(self, replies: Replies) -> None:
        self._replies = replies
        self._tries: dict[str, int] = {}

    async def handle(self, messages: Sequence[Incoming], inbox: Inbox) -> Handled:
        """
        Deal with messages; after a failure none is begun, and what is not dealt with comes again.

        Args:
            messages: In the order in which they came in.
            inbox: Where they came in.
        """
        before = Handled()
        handled = Handled(hopeless=before.hopeless)
        traced: dict[str, Traced] = {}

        async def trace(message: Incoming) -> None:
            found = await self._attempt(self._replies.trace(message, inbox), message, inbox, before)
            if found is not None:
                traced[message.uid] = found

        async def take(turn: _Turn) -> None:
            for event in turn.before:
                await event.wait()
            message = turn.traced.message
            if handled.failure is None:
                ours = await self._attempt(self._dealt_with(turn, inbox), message, inbox, handled)
                if ours is not None:
                    self._tries.pop(message.uid, None)
                if ours:
                    handled.ours.add(message.uid)
            turn.over.set()

        await _side_by_side(trace, messages)
        # What is behind one that nobody could trace may be about the same.
        settled = takewhile(lambda one: one.uid in traced or one.uid in handled.hopeless, messages)
        await _side_by_side(
            take, list(_turns(traced[one.uid] for one in settled if one.uid in traced))
        )
        if handled.failure is None:
            handled.failure = before.failure
        return handled

    async def _dealt_with(self, turn: _Turn, inbox: Inbox) -> bool:
        traced = turn.traced
        if turn.before:
            # What came before may have used the token up.
            traced = await self._replies.trace(traced.message, inbox)
        return await self._replies.handle(traced, inbox)

    async def _attempt(
        self, work: Awaitable[T], message: Incoming, inbox: Inbox, handled: Handled
    ) -> T | None:
        """Return what comes of work on a message; `None` if it failed, which is noted."""
        tries = self._tries.get(message.uid, 0) + 1
        try:
            return await work
        except SealInvalidError as error:
            # Kept for after the repair: a further try before it would fail like this one.
            _log.warning("a reply came to a request whose seal is invalid: %s", error)
        except Exception as error:  # noqa: BLE001 - one message's failure never stops the others
            # A record that is gone is no failure of the store: it would hold up all the others.
            if isinstance(error, StoreError) and not isinstance(error, NotFoundError):
                handled.failure = handled.failure or error
                return None
            _log.exception("a message in %s could not be handled (try %s)", inbox.name, tries)
            if tries < _TRIES:
                self._tries[message.uid] = tries
                failure = InboxError("a message could not be handled; trying again")
                handled.failure = handled.failure or failure
                return None
        self._tries.pop(message.uid, None)
        handled.hopeless.append(message.uid)
        return None


def _turns(found: Iterable[Traced]) -> Iterator[_Turn]:
    """Yield the messages in order, each with what it has to wait for: earlier ones only."""
    latest: dict[str, anyio.Event] = {}
    for traced in found:
        about = [name for name in (traced.key, traced.request_id) if name]
        before = tuple(latest[name] for name in about if name in latest)
        over = anyio.Event()
        latest.update(dict.fromkeys(about, over))
        yield _Turn(traced, before, over)


async def _side_by_side(work: Callable[[T], Awaitable[None]], items: Sequence[T]) -> None:
    """Do work on each item, begun in order, a few of them at a time."""
    waiting = iter(items)

    async def do() -> None:
        for item in waiting:
            await work(item)

    async with anyio.create_task_group() as group:
        for _ in items[:AT_ONCE]:
            group.start_soon(do)
