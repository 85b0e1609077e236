"""Ids sort by time, and are as random as they say."""

from __future__ import annotations

import re
import uuid
from datetime import UTC, datetime, timedelta
from typing import get_args

import pytest

from signoff.ids import Prefix, bytes_of, id_of, new_id, new_token_id

NOON = datetime(2026, 3, 2, 12, 0, 0, 123_000, tzinfo=UTC)
ALPHABET = "0123456789abcdefghijklmnopqrstuv"


def as_uuid(made: str) -> uuid.UUID:
    """Return the UUID that an id holds."""
    number = 0
    for letter in made.partition("_")[2]:
        number = number * 32 + ALPHABET.index(letter)
    return uuid.UUID(int=number >> 2)


@pytest.mark.parametrize("prefix", get_args(Prefix))
def test_an_id_is_its_prefix_and_26_characters(prefix: Prefix) -> None:
    """Lower case, without padding."""
    assert re.fullmatch(f"{prefix}_[0-9a-v]{{26}}", new_id(prefix, NOON))


@pytest.mark.parametrize("byte", [0x00, 0xFF])
def test_an_id_holds_a_uuid_of_version_7(byte: int) -> None:
    """Milliseconds first, then version, count and variant, and all else as random as it comes."""
    at = NOON + timedelta(seconds=1 + byte)
    made = as_uuid(new_id("run", at, lambda count: bytes([byte]) * count))

    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert made.int >> 80 == int(at.timestamp() * 1000)
    assert made.hex[12:] == ("7000" + ("8" + "0" * 15 if byte == 0 else "b" + "f" * 15))


def test_ids_sort_by_their_time() -> None:
    """As text, whatever the random bytes are."""
    times = [
        NOON + timedelta(milliseconds=ms) for ms in (0, 1, 31, 32, 1_000, 10**6, 10**9, 10**11)
    ]
    high = [new_id("req", at, lambda count: b"\xff" * count) for at in times]
    low = [new_id("req", at, lambda count: b"\x00" * count) for at in times]

    assert high == sorted(high)
    assert [made for pair in zip(low, high, strict=True) for made in pair] == sorted(low + high)


def test_ids_of_one_instant_sort_as_they_were_made() -> None:
    """As far as they can be counted; whatever their kind and their random bytes are."""
    other = NOON + timedelta(hours=1)
    new_id("run", other)
    high = new_id("dlv", NOON, lambda count: b"\xff" * count)
    made = [new_id("dlv", NOON) for _ in range(4096)]

    assert [high, *made[:-1]] == sorted([high, *made[:-1]])
    assert as_uuid(made[-1]).hex[12:16] == as_uuid(made[-2]).hex[12:16] == "7fff"
    assert as_uuid(new_id("run", other)).hex[12:16] == "7000"


def test_ids_of_one_instant_differ() -> None:
    """By 62 random bits, where another process counts as this one does."""
    assert len({new_id("dlv", NOON)[-12:] for _ in range(100)}) == 100


def test_a_token_id_tells_no_time() -> None:
    """It is 16 random bytes and nothing else."""
    assert new_token_id(lambda count: bytes(range(count))) == bytes(range(16)).hex()
    assert len({new_token_id() for _ in range(100)}) == 100


def test_an_id_and_its_bytes_are_one() -> None:
    """So that an id can be carried in a token of another alphabet."""
    made = new_id("dlv", NOON)

    assert len(bytes_of(made)) == 16
    assert id_of("dlv", bytes_of(made)) == made
    assert bytes_of(made) == as_uuid(made).bytes


@pytest.mark.parametrize("text", ["", "dlv_1", "dlv_" + "0" * 18, "dlv_" + "z" * 26])
def test_another_text_has_no_such_bytes(text: str) -> None:
    """Too short, or of another alphabet."""
    with pytest.raises(ValueError, match="^(Incorrect padding|not an id|Non-base32 digit found)$"):
        bytes_of(text)
