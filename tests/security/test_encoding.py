from __future__ import annotations

import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from signoff.security.encoding import framed, from_base64, to_base64, to_bytes

parts = st.lists(st.binary(max_size=12), max_size=4)


def test_framed_parts_stand_behind_their_lengths() -> None:
    """Eight bytes, big-endian; text counts in bytes of UTF-8."""
    assert framed() == b""
    assert framed(b"") == bytes(8)
    assert framed("ü", b"abc") == b"\0\0\0\0\0\0\0\x02\xc3\xbc\0\0\0\0\0\0\0\x03abc"
    assert framed(b"x" * 258)[:8] == b"\0\0\0\0\0\0\x01\x02"


@given(first=parts, second=parts)
@settings(max_examples=100)
def test_different_parts_are_framed_differently(first: list[bytes], second: list[bytes]) -> None:
    """Nothing can be moved from one part to the next."""
    assert (framed(*first) == framed(*second)) == (first == second)
    assert framed(*first, b"a", b"b") != framed(*first, b"ab")


def test_text_and_bytes_become_bytes() -> None:
    """Text that UTF-8 does not know as well, since a row may hold it."""
    assert to_bytes(b"\xff") == b"\xff"
    assert to_bytes("ü\udc80") == b"\xc3\xbc\xed\xb2\x80"


@given(data=st.binary(max_size=70))
@settings(max_examples=100)
def test_base64_gives_the_bytes_back(data: bytes) -> None:
    """Without padding, in the alphabet that needs no quoting anywhere."""
    text = to_base64(data)

    assert from_base64(text) == data
    assert set(text) <= set(string.ascii_letters + string.digits + "-_")
    assert len(text) == -(-len(data) * 8 // 6)


def test_base64_takes_off_nothing_but_padding() -> None:
    """Whatever letter stands last."""
    last = [to_base64(bytes([0, 0, value]))[-1] for value in range(64)]

    assert "".join(last) == string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_"


@pytest.mark.parametrize(
    "text", ["AB", "AAB", "AA=", "AA==", "AA==AA", "++AA", "//AA", "AAAA\n", " AAAA", "AA!AA", "="]
)
def test_base64_has_one_spelling(text: str) -> None:
    """Spare bits, padding, other alphabets and characters in between are refused."""
    with pytest.raises(ValueError, match=r"^not unpadded URL-safe base64$"):
        from_base64(text)


@pytest.mark.parametrize("text", ["A", "AAAAA", "A!", "AA\n", "A A", "AAA\0", "é"])
def test_what_is_no_base64_is_refused(text: str) -> None:
    """Lengths that no bytes have, and letters that are in no alphabet."""
    with pytest.raises(ValueError, match=r"."):
        from_base64(text)
