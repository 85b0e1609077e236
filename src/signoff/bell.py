"""Waking whoever waits in this process for something to be committed (floor 2)."""

from __future__ import annotations

import threading

import anyio
from anyio import from_thread
from anyio.lowlevel import EventLoopToken, current_token


class Bell:
    """
    Rings for all who wait, in whatever event loops they wait. Only a hint: the store is the truth.

    Attributes:
        rings: How often it rang.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.rings = 0
        self._waiting: list[tuple[EventLoopToken, anyio.Event]] = []

    def ring(self) -> None:
        """Wake everybody who waits. Callable from any thread; never blocks for long."""
        with self._lock:
            self.rings += 1
            waiting, self._waiting = self._waiting, []
        for token, event in waiting:
            try:
                if _is_here(token):
                    event.set()
                else:
                    from_thread.run_sync(event.set, token=token)
            except anyio.RunFinishedError:
                continue

    async def wait(self, seconds: float, *, after: int | None = None) -> None:
        """
        Return when it rings, or after that many seconds of real time.

        Args:
            seconds: How long at the most.
            after: What `rings` was when the caller last looked; returns at once if it rang since.
        """
        event = anyio.Event()
        entry = (current_token(), event)
        with self._lock:
            if after is not None and after != self.rings:
                return
            self._waiting.append(entry)
        try:
            with anyio.move_on_after(seconds):
                await event.wait()
        finally:
            with self._lock:
                if entry in self._waiting:
                    self._waiting.remove(entry)


def _is_here(token: EventLoopToken) -> bool:
    try:
        return current_token() == token
    except anyio.NoEventLoopError:
        return False
