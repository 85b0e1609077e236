"""The thread with the event loop behind a blocking client, and whom it acts for (floor 9)."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Generator
from concurrent.futures import CancelledError, Future
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from typing import TypeVar, cast

from anyio.from_thread import BlockingPortal, start_blocking_portal

from signoff.client import Client as AsyncClient
from signoff.errors import ConfigurationError
from signoff.hitl import Who
from signoff.threads import in_event_loop

T = TypeVar("T")

asked_requester: ContextVar[str | None] = ContextVar("signoff_sync_requester", default=None)
asked_reviewer: ContextVar[str | None] = ContextVar("signoff_sync_reviewer", default=None)


class Asked:
    """
    Who a client acts for.

    A callable is asked in the thread that makes the call, where a web framework knows who is
    logged in, and never in the thread of the loop.
    """

    def __init__(self, who: Who, said: ContextVar[str | None]) -> None:
        self._who = who
        self._said = said

    @contextmanager
    def here(self, given: str | None = None) -> Generator[None]:
        """Ask now, unless the caller has given a name, and remember the answer for this call."""
        who = self._who
        token = self._said.set(who() if callable(who) and not given else None)
        try:
            yield
        finally:
            self._said.reset(token)

    def name_in_loop(self) -> str | None:
        """Return the answer, in the context of the call; the name that needs no asking, always."""
        return self._said.get() if callable(self._who) else self._who


class ClientLoop:
    """The thread with the event loop that a client works on, and what others wait for in it."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self._lock = threading.Lock()
        self._entered = 0
        self._closing = ExitStack()
        self._portal: BlockingPortal | None = None
        self._waited_for: set[Future[object]] = set()

    def enter(self) -> None:
        """Start the thread and open the client, unless that was done before."""
        _refuse_event_loop()
        with self._lock:
            if self._entered == 0:
                self._open()
            self._entered += 1

    def leave(self) -> None:
        """Close the client and end the thread, unless somebody else has entered too."""
        with self._lock:
            self._entered -= 1
            if self._entered:
                return
            self._portal = None
            closing, self._closing = self._closing, ExitStack()
            given_up = tuple(self._waited_for)
        # Without the lock: what is given up may be a step that makes a call of its own just now.
        for future in given_up:
            future.cancel()
        closing.close()

    @contextmanager
    def kept_open(self) -> Generator[BlockingPortal]:
        """Keep an open client open for a while."""
        _refuse_event_loop()
        with self._lock:
            portal = self._opened()
            self._entered += 1
        try:
            yield portal
        finally:
            self.leave()

    def call(self, work: Callable[[AsyncClient], Awaitable[T]], /) -> T:
        """Have work done in the loop, and return what it comes to."""
        _refuse_event_loop()
        with self._lock:
            future = self._opened().start_task_soon(work, self._client)
            self._waited_for.add(cast("Future[object]", future))
        try:
            return future.result()
        except CancelledError as error:
            raise ConfigurationError("the client was closed while this call waited") from error
        except BaseException:
            # A Ctrl-C comes to this thread, and what it waited for is wanted no more.
            future.cancel()
            raise
        finally:
            self._waited_for.discard(cast("Future[object]", future))

    def _open(self) -> None:
        with ExitStack() as opening:
            portal = opening.enter_context(start_blocking_portal(name="signoff"))
            portal.call(self._client.__aenter__)
            opening.callback(portal.call, self._client.__aexit__, None, None, None)
            self._closing = opening.pop_all()
            self._portal = portal

    def _opened(self) -> BlockingPortal:
        if self._portal is None:
            raise ConfigurationError("the client is not open; use `with client:`")
        return self._portal


def _refuse_event_loop() -> None:
    if in_event_loop():
        raise ConfigurationError(
            "signoff.sync.Client blocks its caller, and this thread runs an event loop: use"
            " signoff.Client here, or make the call in another thread (signoff.to_thread)"
        )
