from __future__ import annotations

import base64
import hashlib
import hmac
import json
import string
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from signoff.errors import KeyringError, TokenError
from signoff.model.token import TokenPurpose
from signoff.security import Key, Keyring
from signoff.security.tokens import (
    DeliveryBinding,
    ParsedToken,
    TokenBinding,
    dummy_check,
    mint,
    parse,
    token_chars,
    token_id_bytes,
    verify,
)

alphabet = string.ascii_lowercase + "234567"
token_id = bytes(range(100, 116))
keyring = Keyring([Key(1, bytes([1]) * 32, "active")])
rotated = Keyring([Key(1, bytes([1]) * 32, "verify_only"), Key(2, bytes([2]) * 32, "active")])
purposes: tuple[TokenPurpose, ...] = ("email", "callback", "link", "bounce")


binding = TokenBinding(
    request_id="req_01",
    version=3,
    payload_digest="aa" * 32,
    policy_digest="bb" * 32,
    recipient="cfo@acme.example",
    labels=("approved", "rejected"),
    not_after=datetime(2030, 1, 2, 3, 4, 5, 6, tzinfo=UTC),
)
token = mint(keyring, token_id=token_id, purpose="email", binding=binding)


def accepted(
    text: str,
    *,
    keys: Keyring = keyring,
    row: TokenBinding = binding,
    purpose: TokenPurpose = "email",
) -> bool:
    """Return whether a text proves to be the token of this row."""
    try:
        verify(keys, parse(text), row, purpose=purpose)
    except TokenError:
        return False
    return True


def hkdf(secret: bytes, info: bytes) -> bytes:
    """Return 32 bytes of HKDF-SHA256 without salt, by the two formulas of RFC 5869."""
    pseudorandom = hmac.digest(bytes(32), secret, "sha256")
    return hmac.digest(pseudorandom, info + b"\x01", "sha256")


def by_formula(purpose: TokenPurpose, first_byte: int, kid: int, secret: bytes) -> str:
    """Return a token of the usual row, written once more from the design."""
    row = {
        "request_id": "req_01",
        "version": 3,
        "payload_digest": "aa" * 32,
        "policy_digest": "bb" * 32,
        "recipient": "cfo@acme.example",
        "labels": ["approved", "rejected"],
        "not_after": "2030-01-02T03:04:05.000006+00:00",
    }
    canonical = json.dumps(row, sort_keys=True, separators=(",", ":")).encode()
    head = bytes([first_byte, kid]) + token_id
    message = b"signoff.token.v1\0" + head + hashlib.sha256(canonical).digest()
    mac = hmac.digest(hkdf(secret, f"signoff/token/{purpose}/v1".encode()), message, "sha256")
    return base64.b32encode(head + mac[:12]).decode().lower()


def test_the_fixed_facts_of_a_token() -> None:
    """48 characters for 30 bytes, of which 16 are the id."""
    assert token_chars == 48
    assert token_id_bytes == 16
    assert len(base64.b32decode(token.upper())) == 30


def test_tokens_never_change() -> None:
    """A mail that was sent by an earlier Signoff can be answered."""
    assert token == "ceawizlgm5ugs2tlnrww433qofzhhf6j7ww6iwiti5eoglh6"


@pytest.mark.parametrize(
    ("purpose", "first_byte"),
    [("email", 0x11), ("callback", 0x12), ("link", 0x13), ("bounce", 0x14)],
)
def test_a_token_follows_its_formula(purpose: TokenPurpose, first_byte: int) -> None:
    """Version and purpose, key id, id, and twelve bytes of HMAC over them and the row."""
    minted = mint(rotated, token_id=token_id, purpose=purpose, binding=binding)

    assert minted == by_formula(purpose, first_byte, 2, bytes([2]) * 32)


@given(
    token_id=st.binary(min_size=16, max_size=16),
    purpose=st.sampled_from(purposes),
    row=st.builds(
        replace,
        st.just(binding),
        recipient=st.text(max_size=20),
        labels=st.lists(st.text(max_size=5), max_size=3).map(tuple),
        version=st.integers(1, 2**40),
    ),
    kid=st.integers(0, 255),
)
@settings(max_examples=60)
def test_every_token_fits_an_address_and_proves_its_row(
    token_id: bytes,
    purpose: TokenPurpose,
    row: TokenBinding,
    kid: int,
) -> None:
    """For any row, key and purpose; in both cases of its letters."""
    keys = Keyring([Key(kid, bytes([7]) * 32, "active")])

    text = mint(keys, token_id=token_id, purpose=purpose, binding=row)

    assert len(text) == 48
    assert set(text) <= set(alphabet)
    parsed = parse(text)
    assert (parsed.purpose, parsed.kid, parsed.token_id) == (purpose, kid, token_id)
    assert len(parsed.mac) == 12
    assert parse(text.upper()) == parsed
    assert accepted(text, keys=keys, row=row, purpose=purpose)


def test_a_token_survives_upper_casing() -> None:
    """Mail systems change the case of addresses, wholly or in part."""
    assert accepted(token.upper())
    assert accepted(token.title())
    assert accepted(token[:24].upper() + token[24:])


def test_no_other_character_is_accepted_anywhere() -> None:
    """At every position, every other letter of the alphabet, digit, sign and look-alike."""
    others = [*alphabet, *"0189=+/-_. \n\0", "\u017f", "\u212a", "\uff41", "\uff12"]
    changed = [
        token[:position] + other + token[position + 1 :]
        for position in range(48)
        for other in others
        if other != token[position]
    ]

    assert len(changed) == 48 * (len(others) - 1)
    assert [text for text in changed if accepted(text)] == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        token[:-1],
        token + "a",
        token + "\n",
        "\n" + token,
        " " + token,
        token[:40] + "========",
        token[:42] + "======",
        token + token,
        token[:24] + "\u212a" * 24,
        "k" * 47 + "\u212a",
    ],
)
def test_a_text_of_another_shape_is_no_token(text: str) -> None:
    """Length and alphabet are exact."""
    with pytest.raises(TokenError, match=r"^no valid token$"):
        parse(text)


def test_an_unknown_version_or_purpose_is_no_token() -> None:
    """Of all first bytes only four are tokens."""
    texts = {first: base64.b32encode(bytes([first]) + bytes(29)).decode() for first in range(256)}

    def is_token(text: str) -> bool:
        try:
            parse(text)
        except TokenError:
            return False
        return True

    assert [first for first, text in texts.items() if is_token(text)] == [0x11, 0x12, 0x13, 0x14]


@pytest.mark.parametrize("purpose", purposes)
@pytest.mark.parametrize("place", purposes)
def test_a_token_is_good_for_its_own_purpose_only(
    purpose: TokenPurpose, place: TokenPurpose
) -> None:
    """An address is no link, and a link no callback."""
    text = mint(keyring, token_id=token_id, purpose=purpose, binding=binding)

    assert accepted(text, purpose=place) == (purpose == place)


@pytest.mark.parametrize("purpose", ["callback", "link", "bounce"])
def test_a_token_whose_purpose_was_rewritten_is_refused(purpose: TokenPurpose) -> None:
    """The purpose is under the MAC, and has a key of its own."""
    rewritten = replace(parse(token), purpose=purpose)

    with pytest.raises(TokenError):
        verify(keyring, rewritten, binding, purpose=purpose)
    with pytest.raises(TokenError):
        verify(keyring, rewritten, binding, purpose="email")


other_rows: Mapping[str, TokenBinding] = {
    "request": replace(binding, request_id="req_02"),
    "version": replace(binding, version=4),
    "payload": replace(binding, payload_digest="ab" + "aa" * 31),
    "policy": replace(binding, policy_digest="ba" + "bb" * 31),
    "digests swapped": replace(binding, payload_digest="bb" * 32, policy_digest="aa" * 32),
    "recipient": replace(binding, recipient="ceo@acme.example"),
    "case of the recipient": replace(binding, recipient="CFO@acme.example"),
    "one label less": replace(binding, labels=("approved",)),
    "one label more": replace(binding, labels=("approved", "rejected", "")),
    "labels joined": replace(binding, labels=("approved,rejected",)),
    "labels reordered": replace(binding, labels=("rejected", "approved")),
    "no labels": replace(binding, labels=()),
    "later": replace(binding, not_after=binding.not_after + timedelta(microseconds=1)),
    "earlier": replace(binding, not_after=binding.not_after - timedelta(microseconds=1)),
}


@pytest.mark.parametrize("changed", other_rows)
def test_a_token_of_another_row_is_refused(changed: str) -> None:
    """Whatever column differs."""
    assert not accepted(token, row=other_rows[changed])
    assert accepted(
        mint(keyring, token_id=token_id, purpose="email", binding=other_rows[changed]),
        row=other_rows[changed],
    )


sent = DeliveryBinding(
    delivery_id="dlv_01", request_id="req_01", recipient="cfo@acme.example", notifier="email"
)


def test_what_is_bound_of_a_delivery_is_canonical_json() -> None:
    """Sorted, without spaces, in ASCII; all that never changes of it and nothing else."""
    assert replace(sent, recipient="ü").canonical() == (
        b'{"delivery_id":"dlv_01","notifier":"email","recipient":"\\u00fc","request_id":"req_01"}'
    )


@pytest.mark.parametrize("column", ["delivery_id", "request_id", "recipient", "notifier"])
def test_a_token_for_bounces_proves_its_own_delivery_only(column: str) -> None:
    """Whatever column differs; and as an answer to a request it is nothing."""
    text = mint(keyring, token_id=token_id, purpose="bounce", binding=sent)
    other = replace(sent, **{column: "another"})

    verify(keyring, parse(text), sent, purpose="bounce")
    with pytest.raises(TokenError):
        verify(keyring, parse(text), other, purpose="bounce")
    with pytest.raises(TokenError):
        verify(keyring, parse(text), sent, purpose="email")
    with pytest.raises(TokenError):
        verify(keyring, parse(text), binding, purpose="bounce")


def test_a_token_under_another_id_is_refused() -> None:
    """The MAC covers the id, so rows cannot be exchanged."""
    moved = replace(parse(token), token_id=bytes(16))

    with pytest.raises(TokenError):
        verify(keyring, moved, binding, purpose="email")


genuine_mac = parse(token).mac


@pytest.mark.parametrize(
    "mac", [b"", bytes(12), genuine_mac[:-1], genuine_mac[1:], genuine_mac + b"\0", genuine_mac * 2]
)
def test_a_mac_is_compared_whole(mac: bytes) -> None:
    """A part of it proves nothing, and nothing may follow it."""
    with pytest.raises(TokenError):
        verify(keyring, replace(parse(token), mac=mac), binding, purpose="email")


def test_the_zone_of_an_instant_does_not_matter() -> None:
    """A database may give it back in another one."""
    moved = binding.not_after.astimezone(timezone(timedelta(hours=5, minutes=30)))

    assert moved.hour != binding.not_after.hour
    assert accepted(token, row=replace(binding, not_after=moved))


def test_the_zone_of_the_machine_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    """A token that was minted in one place is proved in another."""
    try:
        monkeypatch.setenv("TZ", "Etc/GMT-5")
        time.tzset()
        assert accepted(token)
    finally:
        monkeypatch.undo()
        time.tzset()


def test_an_instant_without_a_zone_is_refused() -> None:
    """It would mean something else on each machine."""
    with pytest.raises(ValueError, match=r"^not_after has no time zone$"):
        replace(binding, not_after=datetime(2030, 1, 1))  # noqa: DTZ001 - the case under test


def test_what_is_bound_is_canonical_json() -> None:
    """Sorted, without spaces, in ASCII, with all six digits of the second."""
    row = replace(binding, recipient="ü", not_after=datetime(2030, 1, 1, tzinfo=UTC))

    assert row.canonical() == (
        b'{"labels":["approved","rejected"],"not_after":"2030-01-01T00:00:00.000000+00:00",'
        b'"payload_digest":"' + b"aa" * 32 + b'","policy_digest":"' + b"bb" * 32 + b'",'
        b'"recipient":"\\u00fc","request_id":"req_01","version":3}'
    )


@pytest.mark.parametrize("length", [0, 15, 17, 32])
def test_a_token_id_of_another_length_is_refused(length: int) -> None:
    """Sixteen random bytes, or it could be guessed."""
    with pytest.raises(ValueError, match=rf"^a token id has 16 bytes, not {length}$"):
        mint(keyring, token_id=bytes(length), purpose="email", binding=binding)


def test_a_reminder_has_the_same_token() -> None:
    """After a rotation too, with the key id of the row; without it the new key is used."""
    again = mint(rotated, token_id=token_id, purpose="email", binding=binding, kid=1)
    anew = mint(rotated, token_id=token_id, purpose="email", binding=binding)

    assert again == token
    assert parse(anew).kid == 2
    assert anew != token


def test_rotation_leaves_tokens_valid() -> None:
    """Both the old ones and the new ones."""
    anew = mint(rotated, token_id=token_id, purpose="email", binding=binding)

    assert accepted(token, keys=rotated)
    assert accepted(anew, keys=rotated)
    assert not accepted(anew, keys=keyring)


def test_the_lowest_key_id_can_be_asked_for() -> None:
    """Zero is an id, and not the absence of one."""
    keys = Keyring([Key(0, bytes([3]) * 32, "verify_only"), Key(1, bytes([1]) * 32, "active")])

    assert parse(mint(keys, token_id=token_id, purpose="link", binding=binding, kid=0)).kid == 0


def test_a_retired_key_neither_mints_nor_proves() -> None:
    """Its tokens look like any forged one."""
    retired = rotated.retire(1)

    assert not accepted(token, keys=retired)
    with pytest.raises(KeyringError, match=r"^key 1 is retired, so it serves no token/email$"):
        mint(retired, token_id=token_id, purpose="email", binding=binding, kid=1)


def test_an_unknown_key_neither_mints_nor_proves() -> None:
    """The same."""
    strangers = Keyring([Key(9, bytes([9]) * 32, "active")])

    assert not accepted(token, keys=strangers)
    with pytest.raises(KeyringError, match=r"^key 1 is not in the keyring, so it serves no token/"):
        mint(strangers, token_id=token_id, purpose="email", binding=binding, kid=1)


def test_another_secret_under_the_same_id_proves_nothing() -> None:
    """A forger knows everything but the key."""
    forger = Keyring([Key(1, bytes([8]) * 32, "active")])

    assert not accepted(mint(forger, token_id=token_id, purpose="email", binding=binding))


def macs_made(monkeypatch: pytest.MonkeyPatch, text: str | None, keys: Keyring) -> list[int]:
    """Return the length of each message that a check makes a MAC of."""
    lengths: list[int] = []
    digest = hmac.digest

    def counting(key: bytes, message: bytes, digest_name: str) -> bytes:
        lengths.append(len(message))
        return digest(key, message, digest_name)

    with monkeypatch.context() as patched:
        patched.setattr(hmac, "digest", counting)
        if text is None:
            dummy_check(keys)
        else:
            accepted(text, keys=keys)
    return lengths


def test_every_refusal_costs_the_same_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """One MAC of one length: good, forged, of another purpose, of a retired key, without a row."""
    forged = token[:-1] + ("a" if token[-1] != "a" else "b")
    link = mint(keyring, token_id=token_id, purpose="link", binding=binding)
    expected = [len(b"signoff.token.v1\0") + 2 + 16 + 32]

    assert macs_made(monkeypatch, token, keyring) == expected
    assert macs_made(monkeypatch, forged, keyring) == expected
    assert macs_made(monkeypatch, link, keyring) == expected
    assert macs_made(monkeypatch, token, rotated.retire(1)) == expected
    assert macs_made(monkeypatch, None, keyring) == expected


def test_a_dummy_check_says_nothing() -> None:
    """It returns nothing and raises nothing, with any keyring."""
    dummy_check(Keyring.generate())
    dummy_check(rotated.retire(1))


def test_a_parsed_token_shows_neither_id_nor_mac() -> None:
    """What is logged cannot be used."""
    parsed = parse(token)

    assert repr(parsed) == str(parsed) == "ParsedToken(purpose='email', kid=1)"


def test_a_refusal_shows_nothing() -> None:
    """Neither the token nor why it was refused."""
    with pytest.raises(TokenError) as malformed:
        parse(token + "a")
    with pytest.raises(TokenError) as forged:
        verify(keyring, parse(token), other_rows["version"], purpose="email")

    assert str(malformed.value) == str(forged.value) == "no valid token"
    assert malformed.value.__cause__ is forged.value.__cause__ is None
    assert malformed.value.__context__ is forged.value.__context__ is None


def test_a_parsed_token_is_a_value() -> None:
    """Equal parts are equal tokens."""
    assert parse(token) == ParsedToken(
        purpose="email",
        kid=1,
        token_id=token_id,
        mac=base64.b32decode(token.upper())[18:],
    )
