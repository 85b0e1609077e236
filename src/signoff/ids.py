"""Ids that sort by time (floor 2)."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Callable
from datetime import datetime
from typing import Final, Literal

Prefix = Literal["run", "req", "dlv", "evt"]

RandomBytes = Callable[[int], bytes]

_VERSION: Final = 0x70
_VARIANT: Final = 0x80
_ID_BYTES: Final = 16
_PADDING: Final = "======"


def new_id(prefix: Prefix, now: datetime, random: RandomBytes = secrets.token_bytes) -> str:
    """
    Return a new id: `prefix`, an underscore and a UUIDv7 as 26 lower-case base32 characters.

    The alphabet is the one whose text sorts as its bytes do.

    Source: RFC 9562 section 5.7, RFC 4648 section 7.
    """
    noise = bytearray(random(10))
    noise[0] = _VERSION | noise[0] & 0x0F
    noise[2] = _VARIANT | noise[2] & 0x3F
    raw = int(now.timestamp() * 1000).to_bytes(6, "big") + bytes(noise)
    return id_of(prefix, raw)


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
