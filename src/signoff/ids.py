"""Ids that sort by time (floor 2)."""

from __future__ import annotations

import base64
import secrets
import threading
from collections.abc import Callable
from datetime import datetime
from typing import Final, Literal

Prefix = Literal["run", "req", "dlv", "evt"]

RandomBytes = Callable[[int], bytes]

_VERSION: Final = 0x7000
_VARIANT: Final = 0x80
_ID_BYTES: Final = 16
_PADDING: Final = "======"
_MOST_IN_ONE_MS: Final = 0x0FFF


class _Order:
    """Counts the ids of one millisecond, so that they sort in the order of their making."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ms = 0
        self._count = 0

    def next_in(self, ms: int) -> int:
        """Return how many of this millisecond there were before; at the most what 12 bits hold."""
        with self._lock:
            self._count = min(self._count + 1, _MOST_IN_ONE_MS) if ms == self._ms else 0
            self._ms = ms
            return self._count


_order: Final = _Order()


def new_id(prefix: Prefix, now: datetime, random: RandomBytes = secrets.token_bytes) -> str:
    """
    Return a new id: `prefix`, an underscore and a UUIDv7 as 26 lower-case base32 characters.

    The alphabet is the one whose text sorts as its bytes do. What this process makes in one
    millisecond sorts in the order of its making, up to 4,096 ids.

    Source: RFC 9562 sections 5.7 and 6.2 (method 1), RFC 4648 section 7.
    """
    ms = int(now.timestamp() * 1000)
    noise = bytearray(random(8))
    noise[0] = _VARIANT | noise[0] & 0x3F
    counted = _VERSION | _order.next_in(ms)
    return id_of(prefix, ms.to_bytes(6, "big") + counted.to_bytes(2, "big") + bytes(noise))


def bytes_of(record_id: str) -> bytes:
    """
    Return the 16 bytes of an id that `new_id` made.

    Raises:
        ValueError: It is none.
    """
    raw = base64.b32hexdecode(record_id.partition("_")[2].upper() + _PADDING)
    if len(raw) != _ID_BYTES:
        raise ValueError("not an id")
    return raw


def id_of(prefix: Prefix, raw: bytes) -> str:
    """Return the id with these 16 bytes; the reverse of `bytes_of`."""
    return f"{prefix}_{base64.b32hexencode(raw).decode().rstrip('=').lower()}"


def new_token_id(random: RandomBytes = secrets.token_bytes) -> str:
    """Return 16 random bytes as hex: the id of a token carries no time."""
    return random(16).hex()
