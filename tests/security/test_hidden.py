from __future__ import annotations

import base64
import hmac
import itertools
import struct
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st

from signoff.errors import SealInvalidError
from signoff.security import Key, Keyring
from signoff.security.encoding import from_base64, to_base64
from signoff.security.hidden import Place, decrypt, encrypt, kid_of, nonce_bytes

keyring = Keyring([Key(1, bytes([1]) * 32, "active")])
rotated = Keyring([Key(1, bytes([1]) * 32, "verify_only"), Key(2, bytes([2]) * 32, "active")])
place = Place(table="request", row="req_01", column="payload.iban")
text = encrypt(keyring, b"DE02 1203", place=place)


def fault(text: str, *, keys: Keyring = keyring, place: Place = place) -> tuple[str, str] | None:
    """Return the record and field that decrypting names, or None when it works."""
    try:
        decrypt(keys, text, place=place)
    except SealInvalidError as error:
        return error.record_id, error.field
    return None


def counting(count: int) -> bytes:
    """Return bytes that are always the same, in place of random ones."""
    return bytes(range(count))


@given(plaintext=st.binary(max_size=100), row=st.text(max_size=9), column=st.text(max_size=9))
@settings(max_examples=60)
def test_a_hidden_value_can_be_read_where_it_is(plaintext: bytes, row: str, column: str) -> None:
    """Any bytes, none at all included."""
    where = Place(table="request", row=row, column=column)

    assert decrypt(keyring, encrypt(keyring, plaintext, place=where), place=where) == plaintext


def test_a_hidden_value_follows_its_formula() -> None:
    """AES-256-GCM under the subkey; key id and place are authenticated; nonce and text follow."""
    pseudorandom = hmac.digest(bytes(32), bytes([2]) * 32, "sha256")
    key = hmac.digest(pseudorandom, b"signoff/hidden/v1\x01", "sha256")
    parts = [b"signoff.hidden.v1", b"request", b"req_01", b"payload.iban", b"2"]
    associated = b"".join(struct.pack(">Q", len(part)) + part for part in parts)
    nonce = bytes(range(12))
    ciphertext = AESGCM(key).encrypt(nonce, b"DE02", associated)

    made = encrypt(rotated, b"DE02", place=place, random=counting)

    encoded = base64.urlsafe_b64encode(nonce + ciphertext).decode().rstrip("=")
    assert made == f"h1.2.{encoded}"
    assert (kid_of(made), kid_of(text)) == (2, 1)


def test_hidden_values_never_change() -> None:
    """What an earlier Signoff hid can be read."""
    assert nonce_bytes == 12
    assert (
        decrypt(keyring, "h1.1.AAECAwQFBgcICQoLyBaTKhpZCUxYN363VsWZwsoLQ49TFkkQpg", place=place)
        == b"DE02 1203"
    )


def test_a_value_is_hidden_differently_each_time() -> None:
    """So equal values cannot be seen to be equal."""
    assert encrypt(keyring, b"DE02 1203", place=place) != text


def test_a_hidden_value_cannot_be_seen() -> None:
    """Neither as it is nor encoded."""
    assert "DE02" not in text
    assert b"DE02" not in from_base64(text.split(".")[2])


@pytest.mark.parametrize(
    "elsewhere",
    [
        replace(place, table="run"),
        replace(place, row="req_02"),
        replace(place, column="payload.bic"),
        replace(place, table="requestr", row="eq_01"),
        replace(place, row="req_01payload", column=".iban"),
        replace(place, row=place.column, column=place.row),
    ],
)
def test_a_hidden_value_cannot_be_moved(elsewhere: Place) -> None:
    """The error names the place where it was looked for."""
    assert fault(text, place=elsewhere) == (elsewhere.row, elsewhere.column)


def test_any_flipped_bit_is_found() -> None:
    """In nonce, ciphertext and tag."""
    data = from_base64(text.split(".")[2])
    assert len(data) == 12 + 9 + 16
    for bit in range(len(data) * 8):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        assert fault(f"h1.1.{to_base64(bytes(flipped))}") == ("req_01", "payload.iban")


@pytest.mark.parametrize("length", range(37))
def test_a_hidden_value_cut_short_is_found(length: int) -> None:
    """At any byte: the nonce, the text or the tag."""
    cut = to_base64(from_base64(text.split(".")[2])[:length])

    assert fault(f"h1.1.{cut}") == ("req_01", "payload.iban")


@pytest.mark.parametrize(
    "malformed",
    [
        "",
        "DE02 1203",
        text[1:],
        text.replace("h1.", "h2."),
        text.replace("h1.1.", "h1.01."),
        text.replace("h1.1.", "h1.."),
        text.replace("h1.1.", "h1.-1."),
        text.replace("h1.1.", "h1.1000."),
        text.replace("h1.1.", "h1.1\u0661."),
        text.replace("h1.1.", "h1.1.="),
        text.replace("h1.1.", "h1x1."),
        text + "=",
        text + "\n",
        " " + text,
        text + "AAAAA",
        "h1.1.AAA",
        "h1.1.AB",
        text.replace(".", "\udc80"),
    ],
    ids=map(str, itertools.count()),
)
def test_a_malformed_text_is_found(malformed: str) -> None:
    """It is a changed value like any other."""
    assert fault(malformed) == ("req_01", "payload.iban")


def test_a_hidden_value_has_one_spelling() -> None:
    """Spare bits of the last character do not vary."""
    last = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    spellings = [text[:-1] + character for character in last]

    assert [spelling for spelling in spellings if fault(spelling) is None] == [text]


@pytest.mark.parametrize("kid", [0, 2, 255, 256, 999])
def test_a_hidden_value_of_an_unknown_key_is_refused(kid: int) -> None:
    """The key is what is missing."""
    assert fault(text.replace("h1.1.", f"h1.{kid}.")) == ("req_01", "key")


def test_a_hidden_value_of_a_retired_key_is_refused() -> None:
    """A key is retired only when no hidden value needs it."""
    assert fault(text, keys=rotated.retire(1)) == ("req_01", "key")


def test_rotation_leaves_hidden_values_readable() -> None:
    """New ones are hidden with the new key, and neither passes for the other."""
    anew = encrypt(rotated, b"DE02", place=place)

    assert decrypt(rotated, text, place=place) == b"DE02 1203"
    assert anew.startswith("h1.2.")
    assert decrypt(rotated, anew, place=place) == b"DE02"
    assert fault(anew.replace("h1.2.", "h1.1."), keys=rotated) == ("req_01", "payload.iban")


def test_an_error_shows_nothing_of_a_hidden_value() -> None:
    """Nor does it carry one in its cause."""
    with pytest.raises(SealInvalidError) as caught:
        decrypt(keyring, text + "AAAA", place=place)

    assert text not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
