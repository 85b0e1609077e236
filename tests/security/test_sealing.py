from __future__ import annotations

import hmac
import struct
from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from signoff.errors import SealInvalidError
from signoff.model.seal import Seal
from signoff.security import Key, Keyring
from signoff.security.sealing import (
    BodyMac,
    check,
    check_body,
    commitment,
    mac_body,
    salt_bytes,
    seal,
)

keyring = Keyring([Key(1, bytes([1]) * 32, "active")])
rotated = Keyring([Key(1, bytes([1]) * 32, "verify_only"), Key(2, bytes([2]) * 32, "active")])
fields: Mapping[str, bytes | str] = {"risk": "high", "payload_digest": b"\xaa\xff", "empty": ""}
sealed = seal(keyring, record_id="req_01", fields=fields)
body_mac = mac_body(keyring, kind="checkpoint", record_id="run_01", version=7, body=b"{}")


def fault(
    found: Seal,
    fields: Mapping[str, bytes | str] = fields,
    *,
    keys: Keyring = keyring,
    record_id: str = "req_01",
) -> str | None:
    """Return the field that a check finds wrong, or None."""
    try:
        check(keys, found, record_id=record_id, fields=fields)
    except SealInvalidError as error:
        return error.field if error.record_id == record_id else f"of {error.record_id}"
    return None


def changed(name: str, value: bytes | str) -> dict[str, bytes | str]:
    """Return the usual fields with another value for one of them."""
    return {**fields, name: value}


def backwards(fields: Mapping[str, bytes | str]) -> dict[str, bytes | str]:
    """Return fields in the opposite order."""
    return dict(reversed(list(fields.items())))


def subkey(secret: bytes, purpose: str) -> bytes:
    """Return a subkey by the two formulas of RFC 5869."""
    pseudorandom = hmac.digest(bytes(32), secret, "sha256")
    return hmac.digest(pseudorandom, f"signoff/{purpose}/v1".encode() + b"\x01", "sha256")


def sized(*parts: bytes) -> bytes:
    """Return parts behind their lengths."""
    return b"".join(struct.pack(">Q", len(part)) + part for part in parts)


def test_a_seal_follows_its_formula() -> None:
    """One tag for each field, and one over all of them in the order of their names."""
    key = subkey(bytes([2]) * 32, "seal")

    def tag(*parts: bytes) -> str:
        return hmac.digest(key, sized(*parts), "sha256").hex()[:32]

    assert seal(rotated, record_id="req_01", fields=fields) == Seal(
        kid=2,
        tags={
            "risk": tag(b"signoff.seal.v1", b"req_01", b"risk", b"high"),
            "payload_digest": tag(b"signoff.seal.v1", b"req_01", b"payload_digest", b"\xaa\xff"),
            "empty": tag(b"signoff.seal.v1", b"req_01", b"empty", b""),
        },
        whole=tag(
            b"signoff.seal.whole.v1",
            b"req_01",
            *(b"empty", b"", b"payload_digest", b"\xaa\xff", b"risk", b"high"),
        ),
    )


def test_seals_never_change() -> None:
    """What an earlier Signoff sealed is still sealed."""
    assert sealed.model_dump() == {
        "kid": 1,
        "tags": {
            "risk": "e8260d6beb62ab630c27bb511e2238ec",
            "payload_digest": "7b4bbcb65e6134c2e3057d177f17ae81",
            "empty": "ff74f3b97f4644fceb363eb3ad9592af",
        },
        "whole": "fdc054dc52cb21336e8042fdec37506b",
    }


@given(
    record_id=st.text(max_size=10),
    fields=st.dictionaries(st.text(max_size=5), st.text(max_size=9) | st.binary(max_size=9)),
)
@settings(max_examples=60)
def test_what_was_sealed_checks(record_id: str, fields: Mapping[str, bytes | str]) -> None:
    """Any fields, in any order, after a round trip through JSON."""
    made = seal(keyring, record_id=record_id, fields=fields)
    read = Seal.model_validate_json(made.model_dump_json())

    assert read == made
    assert fault(read, fields, record_id=record_id) is None
    assert fault(read, backwards(fields), record_id=record_id) is None


@pytest.mark.parametrize("value", [b"high", "high"], ids=["bytes", "text"])
def test_text_is_sealed_as_its_bytes(value: bytes | str) -> None:
    """A store may give it back either way."""
    assert fault(sealed, changed("risk", value)) is None


def test_another_value_is_found() -> None:
    """In each field; the first in the given order is named."""
    assert fault(sealed, changed("risk", "low")) == "risk"
    assert fault(sealed, changed("payload_digest", b"\xaa\xfe")) == "payload_digest"
    assert fault(sealed, changed("empty", " ")) == "empty"
    both = {**changed("risk", "low"), "empty": "x"}
    assert fault(sealed, both) == "risk"
    assert fault(sealed, backwards(both)) == "empty"


@given(data=st.data())
@settings(max_examples=60)
def test_any_flipped_bit_is_found(data: st.DataObject) -> None:
    """In the field where it is."""
    values = {"a": b"first value", "b": b"second", "c": b"3"}
    made = seal(keyring, record_id="req_01", fields=values)
    name = data.draw(st.sampled_from(sorted(values)))
    flipped = bytearray(values[name])
    bit = data.draw(st.integers(0, len(flipped) * 8 - 1))
    flipped[bit // 8] ^= 1 << bit % 8

    assert fault(made, {**values, name: bytes(flipped)}) == name


def test_bytes_cannot_move_between_name_and_value() -> None:
    """Parts are joined with their lengths."""
    made = seal(keyring, record_id="req_01", fields={"ab": "c"})

    assert fault(made.model_copy(update={"tags": {"a": made.tags["ab"]}}), {"a": "bc"}) == "a"
    assert fault(made, {"ab": "c"}, record_id="req_01a") == "ab"


def test_values_cannot_be_exchanged() -> None:
    """Each tag is bound to the name of its field."""
    made = seal(keyring, record_id="req_01", fields={"a": "1", "b": "2"})
    exchanged = made.model_copy(update={"tags": {"a": made.tags["b"], "b": made.tags["a"]}})

    assert fault(exchanged, {"a": "2", "b": "1"}) == "a"


def test_a_seal_of_another_record_is_found() -> None:
    """At the first field."""
    assert fault(sealed, record_id="req_02") == "risk"


def test_a_field_that_was_not_sealed_is_found() -> None:
    """At its place in the order; an empty tag is no tag."""
    more: dict[str, bytes | str] = {"added": "x", **fields}

    assert fault(sealed, more) == "added"
    assert fault(sealed, {**fields, "added": ""}) == "added"
    blank = sealed.model_copy(update={"tags": {**sealed.tags, "added": ""}})
    assert fault(blank, more) == "added"


def test_a_sealed_field_that_is_not_given_is_found() -> None:
    """After the given ones, in the order of the seal."""
    fewer = {"payload_digest": fields["payload_digest"]}

    assert fault(sealed, fewer) == "risk"
    assert fault(sealed, {}) == "risk"
    assert fault(sealed, {"empty": "wrong"}) == "empty"


def test_a_field_left_out_of_record_and_seal_is_found() -> None:
    """Taking a field and its tag away together does not make the rest whole."""
    tags = {name: tag for name, tag in sealed.tags.items() if name != "risk"}
    fewer = {name: value for name, value in fields.items() if name != "risk"}

    assert fault(sealed.model_copy(update={"tags": tags}), fewer) == "seal"


def test_fields_of_two_genuine_seals_cannot_be_mixed() -> None:
    """One reviewer's name with another reviewer's answer is nobody's vote."""
    no = seal(keyring, record_id="req_01", fields={"reviewer": "cfo", "label": "reject"})
    yes = seal(keyring, record_id="req_01", fields={"reviewer": "clerk", "label": "approve"})
    mixed = {"reviewer": no.tags["reviewer"], "label": yes.tags["label"]}
    forged: Mapping[str, bytes | str] = {"reviewer": "cfo", "label": "approve"}

    assert fault(no.model_copy(update={"tags": mixed}), forged) == "seal"
    assert fault(yes.model_copy(update={"tags": mixed}), forged) == "seal"


@pytest.mark.parametrize(
    "tag",
    ["", "0" * 32, sealed.tags["risk"].upper(), sealed.tags["risk"] + "0", "\udc80", "é" * 32],
)
def test_a_changed_tag_is_found_and_no_error(tag: str) -> None:
    """Whatever text stands there."""
    tampered = sealed.model_copy(update={"tags": {**sealed.tags, "risk": tag}})

    assert fault(tampered) == "risk"
    assert fault(sealed.model_copy(update={"whole": tag})) == "seal"


def test_a_tag_cut_short_is_found() -> None:
    """Tags are compared whole."""
    tags = {**sealed.tags, "empty": sealed.tags["empty"][:-1]}

    assert fault(sealed.model_copy(update={"tags": tags})) == "empty"
    assert fault(sealed.model_copy(update={"whole": sealed.whole[:-1]})) == "seal"


@pytest.mark.parametrize("between", ["", "\n"])
def test_tags_put_together_differently_are_found(between: str) -> None:
    """Each stands for its own field, also where all of them in a row are what they were."""
    risk, digest, empty = sealed.tags.values()
    moved = {"risk": f"{risk}{between}{digest}", "payload_digest": empty, "empty": sealed.whole}
    tampered = sealed.model_copy(update={"tags": moved, "whole": ""})

    assert fault(tampered) == "risk"
    assert fault(tampered, backwards(fields)) == "empty"


def test_a_value_that_is_no_text_is_found_and_no_error() -> None:
    """A lone surrogate in a tampered row does not stop the check."""
    assert fault(sealed, changed("risk", "\udc80")) == "risk"


def test_rotation_leaves_seals_whole() -> None:
    """New ones are made with the new key."""
    assert fault(sealed, keys=rotated) is None
    anew = seal(rotated, record_id="req_01", fields=fields)
    assert anew.kid == 2
    assert fault(anew, keys=rotated) is None
    assert fault(anew.model_copy(update={"kid": 1}), keys=rotated) == "risk"


@pytest.mark.parametrize("kid", [0, 2, -1, 1000])
def test_a_seal_of_an_unknown_key_is_refused(kid: int) -> None:
    """The key is what is wrong with it, before any field."""
    unknown = sealed.model_copy(update={"kid": kid})

    assert fault(unknown, changed("risk", "low")) == "key"


def test_a_seal_of_a_retired_key_is_refused() -> None:
    """A key is retired only when no seal needs it."""
    assert fault(sealed, keys=rotated.retire(1)) == "key"


@pytest.mark.parametrize("name", ["kid", "tags", "whole"])
def test_a_seal_is_frozen(name: str) -> None:
    """It is what was stored."""
    with pytest.raises(ValidationError, match=r"Instance is frozen"):
        setattr(sealed, name, getattr(sealed, name))


def test_a_seal_is_strict() -> None:
    """A number in quotes is none, and nothing may be left out."""
    with pytest.raises(ValidationError, match=r"valid integer"):
        Seal.model_validate({"kid": "1", "tags": {}, "whole": ""})
    with pytest.raises(ValidationError, match=r"whole\n  Field required"):
        Seal.model_validate({"kid": 1, "tags": {}})


def test_a_seal_keeps_what_it_does_not_know() -> None:
    """A newer Signoff may have written more."""
    text = '{"kid":1,"tags":{},"whole":"","later":5}'

    assert Seal.model_validate_json(text).model_dump_json() == text


def body_fault(
    mac: BodyMac,
    *,
    keys: Keyring = keyring,
    kind: str = "checkpoint",
    record_id: str = "run_01",
    version: int = 7,
    body: bytes = b"{}",
) -> tuple[str, str] | None:
    """Return the record and field that the check of a body names, or None."""
    try:
        check_body(keys, mac, kind=kind, record_id=record_id, version=version, body=body)
    except SealInvalidError as error:
        return error.record_id, error.field
    return None


def test_a_bodys_mac_follows_its_formula() -> None:
    """The whole HMAC over kind, record, version in digits, and body."""
    message = sized(b"signoff.body.v1", b"occurrence", b"run_01", b"12", b"\0body")
    made = mac_body(rotated, kind="occurrence", record_id="run_01", version=12, body=b"\0body")

    assert made == BodyMac(
        kid=2, mac=hmac.digest(subkey(bytes([2]) * 32, "checkpoint"), message, "sha256")
    )


def test_the_macs_of_bodies_never_change() -> None:
    """A checkpoint of an earlier Signoff can be resumed."""
    assert body_mac.kid == 1
    assert body_mac.mac.hex() == "866b156d11ca7883e6e517cdf3efddfa5e2cf8d439da6d784154fea2097ca114"


def test_a_body_as_it_was_written_checks() -> None:
    """After a rotation too."""
    assert body_fault(body_mac) is None
    assert body_fault(body_mac, keys=rotated) is None


def test_a_body_that_is_not_as_it_was_written_is_found() -> None:
    """Its bytes, its record, its version and its kind; the kind is named."""
    assert body_fault(body_mac, body=b"[]") == ("run_01", "checkpoint")
    assert body_fault(body_mac, body=b"{} ") == ("run_01", "checkpoint")
    assert body_fault(body_mac, record_id="run_02") == ("run_02", "checkpoint")
    assert body_fault(body_mac, version=6) == ("run_01", "checkpoint")
    assert body_fault(body_mac, version=-7) == ("run_01", "checkpoint")
    assert body_fault(body_mac, version=2**70) == ("run_01", "checkpoint")
    assert body_fault(body_mac, kind="occurrence") == ("run_01", "occurrence")
    assert body_fault(body_mac, kind="checkpointr", record_id="un_01") == ("un_01", "checkpointr")


@pytest.mark.parametrize("mac", [b"", bytes(32), body_mac.mac[:-1], body_mac.mac + b"\0"])
def test_a_changed_mac_of_a_body_is_found(mac: bytes) -> None:
    """It is compared whole."""
    assert body_fault(replace(body_mac, mac=mac)) == ("run_01", "checkpoint")


def test_a_body_of_a_key_that_is_not_there_is_refused() -> None:
    """Unknown or retired."""
    assert body_fault(replace(body_mac, kid=2)) == ("run_01", "checkpoint")
    assert body_fault(body_mac, keys=rotated.retire(1)) == ("run_01", "checkpoint")


def test_a_commitment_follows_its_formula() -> None:
    """HMAC under the salt; these bytes never change."""
    salt = bytes(range(16))
    message = sized(b"signoff.commitment.v1", "Jürgen".encode())

    assert commitment(salt, "Jürgen") == hmac.digest(salt, message, "sha256").hex()
    assert (
        commitment(salt, "Jürgen")
        == "99329cc88ae7cc09f3d4a39ce684dac3e9750466f465bd4296362c293b2acaa2"
    )


def test_a_commitment_hides_and_binds() -> None:
    """Another salt or value gives another one, and the value cannot be read in it."""
    one = commitment(bytes(16), "cfo@acme.example")

    assert one != commitment(bytes(15) + b"\1", "cfo@acme.example")
    assert one != commitment(bytes(16), "cfo@acme.exampl")
    assert len(one) == 64
    assert commitment(bytes(16), "\udc80") != commitment(bytes(16), "\udc81")


def test_a_salt_has_at_least_sixteen_bytes() -> None:
    """A longer one is as good, a shorter one an error."""
    assert salt_bytes == 16
    assert len(commitment(bytes(32), "x")) == 64
    with pytest.raises(ValueError, match=r"^a salt has at least 16 bytes, not 15$"):
        commitment(bytes(15), "x")
