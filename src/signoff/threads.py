"""Threads with and without an event loop: blocking code called from a step (floor 3)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import ParamSpec, TypeVar

import anyio

P = ParamSpec("P")
R = TypeVar("R")


async def to_thread(fn: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """
    Run `fn` in a worker thread that knows the step it was called from, and return its result.

    Not cancellable: the thread runs to its end.

    Args:
        fn: What to run; gated calls in it belong to the step.
        *args: For `fn`.
        **kwargs: For `fn`.
    """
    return await anyio.to_thread.run_sync(partial(fn, *args, **kwargs))


def in_event_loop() -> bool:
    """Return whether this thread runs an event loop; a note of another thread's loop is not enough."""
    try:
        anyio.lowlevel.current_token()
    except RuntimeError:
        # Also what the loops raise themselves, in a thread that was handed a copy of a context.
        return False
    return True
