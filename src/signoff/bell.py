"""Waking whoever waits in this process for something to be committed (floor 2)."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol, cast, runtime_checkable

import anyio


class Bell:
    """
    Rings for all who wait, in whatever event loops they wait. Only a hint: the store is the truth.

    Attributes:
        rings: How often it rang.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.rings = 0
        self._waiting: dict[anyio.Event, object] = {}

    def ring(self) -> None:
        """Wake everybody who waits. Callable from any thread; waits for no event loop."""
        with self._lock:
            self.rings += 1
            waiting, self._waiting = self._waiting, {}
        for event, loop in waiting.items():
            try:
                soon(loop, event.set)
            except RuntimeError:
                # That loop has ended, and with it whoever waited.
                continue

    async def wait(self, seconds: float, *, after: int | None = None) -> None:
        """
        Return when it rings, or after that many seconds of real time.

        Args:
            seconds: How long at the most.
            after: What `rings` was when the caller last looked; returns at once if it rang since.
        """
        event = anyio.Event()
        with self._lock:
            if after is not None and after != self.rings:
                return
            self._waiting[event] = anyio.lowlevel.current_token().native_token
        try:
            with anyio.move_on_after(seconds):
                await event.wait()
        finally:
            with self._lock:
                self._waiting.pop(event, None)


@runtime_checkable
class _AsyncioLoop(Protocol):
    def call_soon_threadsafe(self, callback: Callable[[], object]) -> object: ...


class _TrioToken(Protocol):
    def run_sync_soon(self, sync_fn: Callable[[], object]) -> None: ...


def soon(loop: object, call: Callable[[], object]) -> None:
    """
    Have an event loop make a call, from any thread, and wait for nothing.

    Args:
        loop: The native token of the loop.
        call: What to call; must not raise.

    Raises:
        RuntimeError: That loop has ended.
    """
    # Not by `anyio.from_thread`, which waits until the loop has run the call: a loop that is
    # blocked until this very thread is done would never run it.
    if isinstance(loop, _AsyncioLoop):
        loop.call_soon_threadsafe(call)
    else:
        cast("_TrioToken", loop).run_sync_soon(call)
