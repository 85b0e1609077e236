from __future__ import annotations

import hashlib
import struct
from dataclasses import replace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from signoff.rules.chain import (
    BrokenLink,
    Link,
    LinkFault,
    entry_hash,
    first_seq,
    genesis,
    hash_bytes,
    verify_chain,
)

stream = "request:req_01"


def chained(*bodies: bytes, stream: str = stream) -> list[Link]:
    """Return a whole chain with these bodies."""
    links: list[Link] = []
    prev_hash = bytes(32)
    for seq, body in enumerate(bodies, start=1):
        own = entry_hash(stream=stream, seq=seq, prev_hash=prev_hash, body=body)
        links.append(Link(stream=stream, seq=seq, prev_hash=prev_hash, body=body, hash=own))
        prev_hash = own
    return links


def broken(position: int, fault: LinkFault) -> BrokenLink:
    """Return the place, in the usual stream, that a verification is expected to name."""
    return BrokenLink(position=position, stream=stream, seq=position + 1, fault=fault)


def by_formula(stream: str, seq: int, prev_hash: bytes, body: bytes) -> bytes:
    """Return an entry's hash, written once more from its definition."""
    name = stream.encode()
    return hashlib.sha256(
        b"signoff.audit.v1\x00"
        + struct.pack(f">Q{len(name)}sQ32s32s", len(name), name, seq, prev_hash, sha256(body))
    ).digest()


def sha256(data: bytes) -> bytes:
    """Return the SHA-256 of the data."""
    return hashlib.sha256(data).digest()


def test_the_fixed_facts_of_a_chain() -> None:
    """Hashes have 32 bytes, the first entry is number 1 and follows 32 zero bytes."""
    assert hash_bytes == 32
    assert first_seq == 1
    assert genesis == b"\0" * 32


@pytest.mark.parametrize(
    ("stream", "seq", "prev_hash", "body", "expected"),
    [
        (
            "request:req_01",
            1,
            bytes(32),
            b'{"event":"request.opened"}',
            "1f0b06ffbe5751a807353ec50a5aebc91c47ad3d321d646cf6e02a166c6563ae",
        ),
        ("", 0, bytes(32), b"", "dcbd3472f3429b3b225d157aedeabbe554a8e7eb1ab4e19c71cc1f2fb967cd01"),
        (
            "r\u00fcckfrage",
            2**64 - 1,
            b"\xff" * 32,
            b"\0",
            "bd06064e069b3d8d6da22627a6de428e567d73701fad0b27bcdd931dded89ce5",
        ),
    ],
)
def test_hashes_never_change(
    stream: str, seq: int, prev_hash: bytes, body: bytes, expected: str
) -> None:
    """What was written once verifies for ever; these were computed by hand."""
    own = entry_hash(stream=stream, seq=seq, prev_hash=prev_hash, body=body)

    assert own.hex() == expected
    assert own == by_formula(stream, seq, prev_hash, body)


@given(
    name=st.text(st.characters(codec="utf-8"), max_size=20),
    seq=st.integers(0, 2**64 - 1),
    prev_hash=st.binary(min_size=32, max_size=32),
    body=st.binary(max_size=100),
)
@settings(max_examples=80)
def test_a_hash_follows_its_formula(name: str, seq: int, prev_hash: bytes, body: bytes) -> None:
    """For all streams, numbers and bodies."""
    own = entry_hash(stream=name, seq=seq, prev_hash=prev_hash, body=body)

    assert own == by_formula(name, seq, prev_hash, body)


@pytest.mark.parametrize("length", [0, 31, 33])
def test_a_hash_before_of_another_length_is_refused(length: int) -> None:
    """Else two different entries could be joined to the same bytes."""
    with pytest.raises(ValueError, match=rf"^prev_hash has {length} bytes, not 32$"):
        entry_hash(stream=stream, seq=1, prev_hash=bytes(length), body=b"")


@pytest.mark.parametrize("seq", [-1, 2**64])
def test_a_number_beyond_eight_bytes_is_refused(seq: int) -> None:
    """Numbers are written in exactly eight bytes."""
    with pytest.raises(OverflowError):
        entry_hash(stream=stream, seq=seq, prev_hash=bytes(32), body=b"")


def test_the_length_of_the_stream_counts() -> None:
    """Its end cannot be moved into what follows."""
    one = entry_hash(stream="a", seq=1, prev_hash=bytes(32), body=b"")
    other = entry_hash(stream="a\0", seq=1, prev_hash=bytes(32), body=b"")

    assert one != other


@given(bodies=st.lists(st.binary(max_size=30), max_size=6))
@settings(max_examples=50)
def test_a_whole_chain_is_whole(bodies: list[bytes]) -> None:
    """Of any length, none at all included, and read from any iterable."""
    assert verify_chain(iter(chained(*bodies))) is None


def test_a_cut_off_end_is_not_seen() -> None:
    """The documentation says so; a copy of the head kept elsewhere shows it."""
    assert verify_chain(chained(b"a", b"b", b"c")[:2]) is None


@pytest.mark.parametrize("position", [0, 1, 2])
def test_a_changed_body_is_found(position: int) -> None:
    """At its own place."""
    links = chained(b"a", b"b", b"c")
    links[position] = replace(links[position], body=b"x")

    assert verify_chain(links) == broken(position, "hash")


@pytest.mark.parametrize("position", [0, 1, 2])
def test_a_changed_hash_is_found(position: int) -> None:
    """At its own place."""
    links = chained(b"a", b"b", b"c")
    links[position] = replace(links[position], hash=bytes(32))

    assert verify_chain(links) == broken(position, "hash")


@pytest.mark.parametrize("position", [0, 1, 2])
def test_a_changed_hash_before_is_found(position: int) -> None:
    """At its own place, the first entry's too."""
    links = chained(b"a", b"b", b"c")
    links[position] = replace(links[position], prev_hash=b"\1" * 32)

    assert verify_chain(links) == broken(position, "prev_hash")


def test_an_entry_rewritten_with_its_own_hash_breaks_the_next() -> None:
    """The entry fits itself; the one after it still names the old one."""
    links = chained(b"a", b"b", b"c")
    links[1] = chained(b"a", b"x")[1]

    assert verify_chain(links) == broken(2, "prev_hash")


def test_a_deleted_first_entry_is_found() -> None:
    """The second does not become the first."""
    assert verify_chain(chained(b"a", b"b")[1:]) == broken(0, "seq")


def test_a_deleted_first_entry_is_found_behind_a_changed_number() -> None:
    """The number alone is not what proves the order."""
    second = replace(chained(b"a", b"b")[1], seq=1)

    assert verify_chain([second]) == broken(0, "prev_hash")
    assert verify_chain([replace(second, prev_hash=bytes(32))]) == broken(0, "hash")


def test_a_deleted_middle_entry_is_found() -> None:
    """Where it stood."""
    links = chained(b"a", b"b", b"c")

    assert verify_chain([links[0], links[2]]) == broken(1, "seq")


def test_a_deleted_middle_entry_is_found_behind_changed_numbers() -> None:
    """Closing the gap in the numbers does not close the chain."""
    links = chained(b"a", b"b", b"c")

    assert verify_chain([links[0], replace(links[2], seq=2)]) == broken(1, "prev_hash")


def test_swapped_entries_are_found() -> None:
    """As they are, and with their numbers swapped back."""
    first, second, third = chained(b"a", b"b", b"c")

    assert verify_chain([first, third, second]) == broken(1, "seq")
    renumbered = [first, replace(third, seq=2), replace(second, seq=3)]
    assert verify_chain(renumbered) == broken(1, "prev_hash")


def test_a_repeated_entry_is_found() -> None:
    """As it is, and with the next number."""
    first, second = chained(b"a", b"b")

    assert verify_chain([first, second, second]) == broken(2, "seq")
    assert verify_chain([first, second, replace(second, seq=3)]) == broken(2, "prev_hash")


def test_an_entry_of_another_stream_is_found() -> None:
    """As it is, and under this stream's name."""
    first, second = chained(b"a", b"b")
    foreign = chained(b"a", b"b", stream="run:run_01")[1]

    assert verify_chain([first, foreign]) == broken(1, "stream")
    assert verify_chain([first, replace(foreign, stream=stream)]) == broken(1, "prev_hash")
    assert verify_chain([first, replace(second, stream="")]) == broken(1, "stream")


def test_a_whole_stream_under_another_name_is_found() -> None:
    """At its first entry; the place names the stream as it stands there."""
    links = [replace(link, stream="request:req_02") for link in chained(b"a", b"b")]

    assert verify_chain(links) == BrokenLink(
        position=0, stream="request:req_02", seq=1, fault="hash"
    )


def test_a_name_that_is_no_text_is_found_and_no_error() -> None:
    """A lone surrogate in a tampered row does not stop the verification."""
    links = [replace(link, stream="\udc80") for link in chained(b"a")]

    assert verify_chain(links) == BrokenLink(position=0, stream="\udc80", seq=1, fault="hash")


@pytest.mark.parametrize("seq", [-1, 0, 2, 2**64, 2**70])
def test_a_number_that_is_not_the_next_is_found_and_no_error(seq: int) -> None:
    """Even one that has no eight bytes."""
    links = [replace(link, seq=seq) for link in chained(b"a")]

    assert verify_chain(links) == broken(0, "seq")


bodies = st.lists(st.binary(max_size=10), min_size=1, max_size=6)


@given(bodies=bodies, data=st.data())
@settings(max_examples=100)
def test_any_flipped_bit_is_found_where_it_is(bodies: list[bytes], data: st.DataObject) -> None:
    """In a body, a hash or a hash before, of any entry."""
    links = chained(*bodies)
    position = data.draw(st.integers(0, len(links) - 1))
    parts = {
        "body": links[position].body,
        "hash": links[position].hash,
        "prev_hash": links[position].prev_hash,
    }
    part = data.draw(st.sampled_from([name for name, value in parts.items() if value]))
    flipped = bytearray(parts[part])
    bit = data.draw(st.integers(0, len(flipped) * 8 - 1))
    flipped[bit // 8] ^= 1 << bit % 8
    parts[part] = bytes(flipped)
    links[position] = Link(stream=stream, seq=position + 1, **parts)

    assert verify_chain(links) == broken(position, "prev_hash" if part == "prev_hash" else "hash")


@given(bodies=bodies, data=st.data())
@settings(max_examples=100)
def test_any_other_selection_of_entries_is_found(bodies: list[bytes], data: st.DataObject) -> None:
    """Whatever is left out, repeated or moved, unless only the end was cut off."""
    links = chained(*bodies)
    chosen = data.draw(st.lists(st.integers(0, len(links) - 1), min_size=1, max_size=8))
    assume(chosen != list(range(len(chosen))))
    place = next(at for at, index in enumerate(chosen) if at != index)

    assert verify_chain(links[index] for index in chosen) == broken(place, "seq")
    renumbered = [replace(links[index], seq=seq) for seq, index in enumerate(chosen, start=1)]
    assert verify_chain(renumbered) == broken(place, "prev_hash")
