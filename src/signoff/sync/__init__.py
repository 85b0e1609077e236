"""
The client for programs without an event loop: the same methods, blocking (floor 9).

One thread of its own runs the event loop that the asynchronous client works on; every call hands
its work to that loop and waits for the result, from whatever thread it is made.
"""

from __future__ import annotations

from signoff.sync.client import Client

__all__ = ["Client"]
