"""Bytes for a MAC, and bytes as text, each with exactly one spelling (floor 2)."""

from __future__ import annotations

import base64
import struct
from typing import Final

_eight_bytes: Final = struct.Struct(">Q").pack


def framed(*parts: bytes | str) -> bytes:
    """
    Join parts so that no two different lists of parts give the same bytes.

    Args:
        parts: Bytes, or text, which stands for its UTF-8 bytes (a lone surrogate for its three).

    Returns:
        Each part behind its length in bytes, as eight bytes, big-endian.
    """
    joined: list[bytes] = []
    for part in parts:
        encoded = to_bytes(part)
        joined += (_eight_bytes(len(encoded)), encoded)
    return b"".join(joined)


def to_bytes(value: bytes | str) -> bytes:
    """Return text as UTF-8, without ever failing, and bytes as they are."""
    # A check must be able to look at whatever a tampered row holds, and only then refuse it.
    return value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value


def to_base64(data: bytes) -> str:
    """Return the bytes in the URL-safe alphabet of RFC 4648 section 5, without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def from_base64(text: str) -> bytes:
    """
    Read what `to_base64` wrote, and no other spelling of it.

    Raises:
        ValueError: The text is not what `to_base64` gives for any bytes.

    Source: RFC 4648 section 3.5 (spare bits), section 3.3 (characters outside the alphabet).
    """
    data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if to_base64(data) != text:
        raise ValueError("not unpadded URL-safe base64")
    return data
