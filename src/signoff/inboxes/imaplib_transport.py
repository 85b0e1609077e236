"""
The mailbox transport over the standard library's imaplib, in a worker thread (floor 4).

Runs on asyncio and trio alike. It is not told of news: the inbox polls.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from functools import partial
from typing import TypeVar

import anyio
from anyio import CapacityLimiter, to_thread
from typing_extensions import override

from signoff.errors import InboxError
from signoff.inboxes import logins
from signoff.inboxes.imaplib_dialogue import Dialogue
from signoff.inboxes.logins import words
from signoff.inboxes.transport import Account, MailboxTransport, Selected
from signoff.inboxes.wire import Wire

T = TypeVar("T")


async def connect(account: Account) -> ImaplibTransport:
    """
    Connect and log in.

    Nothing stays open when it raises or is cancelled.

    Raises:
        InboxError: Nobody answers, TLS does not come about, or the login is refused.
    """
    access_token = await logins.access_token(account)
    worker = _Worker(account)
    opening = partial(Dialogue, worker.wire, account, access_token=access_token)
    try:
        dialogue = await worker.run(opening)
    except BaseException:
        worker.wire.cut()
        raise
    return ImaplibTransport(worker, dialogue)


class ImaplibTransport(MailboxTransport):
    """One connection; `connect` makes it."""

    def __init__(self, worker: _Worker, dialogue: Dialogue) -> None:
        self._worker = worker
        self._dialogue = dialogue

    @override
    async def select(self, mailbox: str) -> Selected:
        return await self._worker.run(partial(self._dialogue.select, mailbox))

    @override
    async def search(self, *, above: int, since: date | None = None) -> Sequence[int]:
        return await self._worker.run(partial(self._dialogue.search, above=above, since=since))

    @override
    async def sizes(self, uids: Sequence[int]) -> Mapping[int, int]:
        return await self._worker.run(partial(self._dialogue.sizes, uids))

    @override
    async def bodies(self, uids: Sequence[int], *, limit_bytes: int) -> Mapping[int, bytes]:
        return await self._worker.run(partial(self._dialogue.bodies, uids, limit_bytes=limit_bytes))

    @override
    async def move(self, uids: Sequence[int], mailbox: str) -> None:
        await self._worker.run(partial(self._dialogue.move, uids, mailbox))

    @override
    async def wait_for_news(self, woken: anyio.Event, *, seconds: float) -> None:
        with anyio.move_on_after(seconds):
            await woken.wait()

    @override
    async def log_out(self) -> None:
        await self._worker.run(self._dialogue.log_out)

    @override
    def drop(self) -> None:
        self._worker.wire.cut()


class _Worker:
    """Runs blocking work on one wire, one piece at a time, in threads that need not be waited for."""

    def __init__(self, account: Account) -> None:
        self.wire = Wire(timeout_seconds=account.timeout_seconds)
        self._account = account
        # Of its own: a thread that was given up may take a while to end.
        self._limiter = CapacityLimiter(1)

    async def run(self, work: Callable[[], T]) -> T:
        """Run work; a cancelled caller leaves at once, and has to cut the wire so that the thread ends."""
        return await to_thread.run_sync(
            self._guarded, work, abandon_on_cancel=True, limiter=self._limiter
        )

    def _guarded(self, work: Callable[[], T]) -> T:
        try:
            with self.wire.in_use():
                return work()
        except InboxError:
            raise
        except TimeoutError:
            raise InboxError(f"{self._account} did not answer in time") from None
        except Exception as error:  # noqa: BLE001 - imaplib meets odd servers with errors of any type
            raise InboxError(f"{self._account}: {words(str(error))}") from None
