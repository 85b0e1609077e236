"""
The hash chain of an audit stream: each entry names the one before it (floor 1, pure).

A chain shows every change, loss, repetition and reordering before its end. That its end was cut
off shows only against a head kept elsewhere. The bytes that are hashed here never change.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, final

if TYPE_CHECKING:
    from collections.abc import Iterable

hash_bytes: Final = 32
"""The length of an entry's hash."""

genesis: Final = bytes(hash_bytes)
"""What the first entry of a stream has as `prev_hash`."""

first_seq: Final = 1
"""The number of the first entry of a stream; each next one is one higher."""

LinkFault: TypeAlias = Literal["stream", "seq", "prev_hash", "hash"]
"""What does not fit: it is of another stream, out of order, after another entry, or changed."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """
    One entry of a chain, as it is stored.

    Attributes:
        stream: The stream it belongs to.
        seq: Its number in the stream.
        prev_hash: The hash of the entry before it.
        body: The bytes of the entry, exactly as stored.
        hash: Its own hash.
    """

    stream: str
    seq: int
    prev_hash: bytes
    body: bytes
    hash: bytes


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class BrokenLink:
    """
    The first place where a chain is not whole.

    Attributes:
        position: How many entries before it are whole.
        stream: The stream of the first entry.
        seq: The number that the entry at this place must have.
        fault: The first thing about the entry found there that does not fit.
    """

    position: int
    stream: str
    seq: int
    fault: LinkFault


def entry_hash(*, stream: str, seq: int, prev_hash: bytes, body: bytes) -> bytes:
    """
    Return the hash of an entry, 32 bytes.

    It is SHA-256 over ``signoff.audit.v1`` and a zero byte, the length of the stream's name in
    bytes, the name in UTF-8, the number, the hash before, and the SHA-256 of the body; length
    and number are of eight bytes, big-endian.

    Args:
        stream: The stream.
        seq: The entry's number, below 2**64.
        prev_hash: The hash of the entry before it, or `genesis`.
        body: The entry's bytes.

    Raises:
        ValueError: `prev_hash` is not 32 bytes long.
        OverflowError: `seq` is negative or needs more than eight bytes.
    """
    if len(prev_hash) != hash_bytes:
        raise ValueError(f"prev_hash has {len(prev_hash)} bytes, not {hash_bytes}")
    # Whatever text a tampered row holds is hashed, and found wrong, rather than an error.
    name = stream.encode("utf-8", "surrogatepass")
    return hashlib.sha256(
        b"signoff.audit.v1\0"
        + len(name).to_bytes(8, "big")
        + name
        + seq.to_bytes(8, "big")
        + prev_hash
        + hashlib.sha256(body).digest()
    ).digest()


def verify_chain(links: Iterable[Link]) -> BrokenLink | None:
    """
    Find the first place where a stream, read from its beginning, is not whole.

    Args:
        links: Every entry of one stream in the order of `seq`, as read from the store or an
            export. None at all is a whole chain.

    Returns:
        The place, or None when every entry is whole. A cut-off end is not seen; compare the
        number and hash of the last entry with a copy kept elsewhere.
    """
    stream: str | None = None
    prev_hash = genesis
    for position, link in enumerate(links):
        stream = link.stream if stream is None else stream
        seq = first_seq + position
        fault = _fault(link, stream=stream, seq=seq, prev_hash=prev_hash)
        if fault is not None:
            return BrokenLink(position=position, stream=stream, seq=seq, fault=fault)
        prev_hash = link.hash
    return None


def _fault(link: Link, *, stream: str, seq: int, prev_hash: bytes) -> LinkFault | None:
    if link.stream != stream:
        return "stream"
    if link.seq != seq:
        return "seq"
    if link.prev_hash != prev_hash:
        return "prev_hash"
    if link.hash != entry_hash(stream=stream, seq=seq, prev_hash=prev_hash, body=link.body):
        return "hash"
    return None
