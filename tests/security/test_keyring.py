from __future__ import annotations

import base64
import hashlib
import hmac
import traceback
from typing import cast, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from signoff.errors import KeyringError
from signoff.security import Key, Keyring
from signoff.security.keyring import KeyState, Purpose

ones = bytes([1]) * 32
twos = bytes([2]) * 32
threes = bytes([3]) * 32
ones_text = base64.b64encode(ones).decode()
twos_text = base64.b64encode(twos).decode()
purposes: tuple[Purpose, ...] = get_args(Purpose)
all_but_audit = tuple(purpose for purpose in purposes if purpose != "audit")


def three_keys() -> Keyring:
    """Return an active key 3, a verifying key 2 and a retired key 1."""
    return Keyring([Key(1, ones, "retired"), Key(2, twos, "verify_only"), Key(3, threes, "active")])


def states(keyring: Keyring) -> list[tuple[int, KeyState]]:
    """Return what a keyring has, in its order, without secrets."""
    return [(key.kid, key.state) for key in keyring.keys]


def hkdf(secret: bytes, info: bytes) -> bytes:
    """Return 32 bytes of HKDF-SHA256 without salt, by the two formulas of RFC 5869."""
    pseudorandom = hmac.new(bytes(32), secret, hashlib.sha256).digest()
    return hmac.new(pseudorandom, info + b"\x01", hashlib.sha256).digest()


@pytest.mark.parametrize("kid", [0, 255])
def test_a_key_id_may_be_any_byte(kid: int) -> None:
    """Both ends of the range are keys."""
    assert Key(kid, ones, "active").kid == kid


@pytest.mark.parametrize("kid", [-1, 256])
def test_a_key_id_beyond_a_byte_is_refused(kid: int) -> None:
    """One step outside either end is an error that names it."""
    with pytest.raises(KeyringError, match=rf"^key id {kid} is not between 0 and 255$"):
        Key(kid, ones, "active")


@pytest.mark.parametrize("length", [0, 31, 33, 64])
def test_a_secret_of_another_length_is_refused(length: int) -> None:
    """Only 32 bytes are a secret."""
    with pytest.raises(KeyringError, match=rf"^key 7: the secret has {length} bytes, not 32;"):
        Key(7, bytes(length), "active")


def test_a_state_that_does_not_exist_is_refused() -> None:
    """The message lists the three states and does not repeat what was given."""
    with pytest.raises(KeyringError) as caught:
        Key(7, ones, cast("KeyState", "sleeping"))

    assert str(caught.value) == "key 7: the state is none of active, verify_only, retired"


def test_a_key_never_shows_its_secret() -> None:
    """Its representation has the id and the state."""
    assert repr(Key(7, ones, "active")) == "Key(kid=7, state='active')"
    assert str(Key(7, ones, "active")) == "Key(kid=7, state='active')"


def test_a_keyring_shows_ids_and_states_only() -> None:
    """Its representation names every key, the active one first."""
    keyring = three_keys()
    keyring.subkey(3, "seal")

    assert repr(keyring) == "Keyring(3: active, 2: verify_only, 1: retired)"
    assert str(keyring) == repr(keyring)


def test_keys_stand_in_one_order_however_they_were_given() -> None:
    """The active key is first, even with the lowest id, then by falling id."""
    keyring = Keyring(
        [Key(3, threes, "verify_only"), Key(1, ones, "active"), Key(5, twos, "retired")]
    )

    assert states(keyring) == [(1, "active"), (5, "retired"), (3, "verify_only")]
    assert keyring.active_kid == 1


def test_a_keyring_without_keys_is_refused() -> None:
    """There is nothing to make a MAC with."""
    with pytest.raises(KeyringError, match=r"^exactly one key must be active; active: none$"):
        Keyring([])


def test_a_keyring_without_an_active_key_is_refused() -> None:
    """Verifying alone is not enough."""
    keys = [Key(1, ones, "verify_only"), Key(2, twos, "retired")]

    with pytest.raises(KeyringError, match=r"^exactly one key must be active; active: none$"):
        Keyring(keys)


def test_a_keyring_with_two_active_keys_is_refused() -> None:
    """The message names them."""
    keys = [Key(1, ones, "active"), Key(2, twos, "active"), Key(3, threes, "retired")]

    with pytest.raises(KeyringError, match=r"^exactly one key must be active; active: 2, 1$"):
        Keyring(keys)


def test_a_key_id_that_is_given_twice_is_refused() -> None:
    """The message names the lowest such id."""
    keys = [Key(4, ones, "active"), Key(4, twos, "retired"), Key(9, threes, "retired")]

    with pytest.raises(KeyringError, match=r"^key id 4 is given twice; key ids are never reused$"):
        Keyring(keys)


def test_one_secret_under_two_ids_is_refused() -> None:
    """Retiring one of them would not retire the secret."""
    keys = [Key(1, ones, "active"), Key(2, ones, "verify_only")]

    with pytest.raises(KeyringError, match=r"^keys 1 and 2 have the same secret; make one with "):
        Keyring(keys)


def test_a_generated_keyring_has_one_active_key() -> None:
    """Its id is 1, and its secret is 32 of the given random bytes."""
    keyring = Keyring.generate(random=lambda count: bytes([count]) * count)

    assert keyring.keys == (Key(1, bytes([32]) * 32, "active"),)


def test_two_generated_keyrings_differ() -> None:
    """Without a source of its own the secret is random."""
    assert Keyring.generate().keys != Keyring.generate().keys


@pytest.mark.parametrize("purpose", purposes)
def test_a_subkey_is_hkdf_of_the_secret(purpose: Purpose) -> None:
    """The formula of RFC 5869, with the purpose in the info."""
    subkey = three_keys().subkey(3, purpose)

    assert subkey == hkdf(threes, f"signoff/{purpose}/v1".encode())


def test_subkeys_never_change() -> None:
    """What was made with an earlier Signoff verifies with this one."""
    keyring = Keyring([Key(1, bytes(range(32)), "active")])

    assert {purpose: keyring.subkey(1, purpose).hex()[:16] for purpose in purposes} == {
        "token/email": "7b7e7e937bac6b86",
        "token/callback": "875e9dca8c08b656",
        "token/link": "327bf7ee17872946",
        "token/bounce": "4d9b3a27e648722b",
        "seal": "6bfe5fcbcc05341f",
        "checkpoint": "a868ea83bea9bfda",
        "audit": "fd770a09ea011fd8",
        "hidden": "45275bba22114711",
        "cursor": "47b421a97464bc44",
        "commitment": "59acb0fa132d2402",
    }


def test_every_key_and_purpose_has_its_own_subkey() -> None:
    """No two of them are equal, and each is 32 bytes."""
    keyring = three_keys()
    subkeys = [keyring.subkey(kid, purpose) for kid in (2, 3) for purpose in purposes]

    assert len(set(subkeys)) == len(subkeys) == 20
    assert {len(subkey) for subkey in subkeys} == {32}


def test_a_subkey_is_derived_once() -> None:
    """The second call returns what the first one made."""
    keyring = three_keys()

    assert keyring.subkey(3, "seal") is keyring.subkey(3, "seal")


@pytest.mark.parametrize("purpose", purposes)
def test_a_begun_mac_is_of_nothing_yet_every_time(purpose: Purpose) -> None:
    """What one caller goes on with is not in what the next one begins with."""
    keyring = three_keys()
    for kid in (3, 2, 3):
        begun = keyring.begin_mac(kid, purpose)
        begun.update(b"message")

        assert begun.digest() == hmac.digest(keyring.subkey(kid, purpose), b"message", "sha256")


def test_a_key_is_made_ready_for_macs_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """For each purpose; who asks again gets a copy."""
    keyring = three_keys()
    keyring.begin_mac(3, "seal")
    keyring.begin_mac(3, "audit")
    monkeypatch.delattr(hmac, "new")

    keyring.begin_mac(3, "seal")
    keyring.begin_mac(3, "audit")

    with pytest.raises(AttributeError):
        keyring.begin_mac(2, "seal")


def test_a_retired_key_begins_no_mac() -> None:
    """Nor does one that is not there."""
    with pytest.raises(KeyringError, match="^key 1 is retired, so it serves no seal$"):
        three_keys().begin_mac(1, "seal")
    with pytest.raises(KeyringError, match="^key 4 is not in the keyring, so it serves no seal$"):
        three_keys().begin_mac(4, "seal")


@pytest.mark.parametrize("purpose", all_but_audit)
def test_a_retired_key_serves_nothing_but_audit(purpose: Purpose) -> None:
    """It derives no subkey and verifies nothing it once made."""
    kid, mac = Keyring([Key(1, ones, "active")]).mac(purpose, b"message")
    keyring = three_keys()

    assert not keyring.usable(1, purpose)
    assert not keyring.verify(purpose, kid, b"message", mac)
    with pytest.raises(KeyringError, match=f"^key 1 is retired, so it serves no {purpose}$"):
        keyring.subkey(1, purpose)


def test_a_retired_key_still_verifies_audit_entries() -> None:
    """Old entries stay provable for ever."""
    kid, mac = Keyring([Key(1, ones, "active")]).mac("audit", b"hash")
    keyring = three_keys()

    assert keyring.usable(1, "audit")
    assert keyring.verify("audit", kid, b"hash", mac)
    assert keyring.subkey(1, "audit") == hkdf(ones, b"signoff/audit/v1")


@pytest.mark.parametrize("purpose", purposes)
def test_a_key_that_is_not_there_serves_nothing(purpose: Purpose) -> None:
    """Asking for it is an error, verifying with it is a no."""
    keyring = three_keys()
    _, mac = keyring.mac(purpose, b"message")

    assert not keyring.usable(4, purpose)
    assert not keyring.verify(purpose, 4, b"message", mac)
    with pytest.raises(KeyringError, match=f"^key 4 is not in the keyring, so .* no {purpose}$"):
        keyring.subkey(4, purpose)


def test_a_mac_is_made_with_the_active_key() -> None:
    """It is the whole HMAC-SHA256 under the subkey of the purpose."""
    kid, mac = three_keys().mac("audit", b"message")

    assert kid == 3
    assert mac == hmac.new(hkdf(threes, b"signoff/audit/v1"), b"message", "sha256").digest()
    assert len(mac) == 32


@pytest.mark.parametrize("purpose", purposes)
def test_a_mac_verifies_for_what_it_was_made_for(purpose: Purpose) -> None:
    """Another purpose, key, message or mac is refused."""
    keyring = three_keys()
    kid, mac = keyring.mac(purpose, b"message")

    assert keyring.verify(purpose, kid, b"message", mac)
    assert not any(
        keyring.verify(other, kid, b"message", mac) for other in purposes if other != purpose
    )
    assert not keyring.verify(purpose, 2, b"message", mac)
    assert not keyring.verify(purpose, kid, b"massage", mac)
    assert not keyring.verify(purpose, kid, b"message", mac[:-1])
    assert not keyring.verify(purpose, kid, b"message", mac + b"\0")
    assert not keyring.verify(purpose, kid, b"message", b"")


@given(position=st.integers(0, 255))
@settings(max_examples=60)
def test_a_mac_with_one_flipped_bit_is_refused(position: int) -> None:
    """Every bit counts."""
    keyring = three_keys()
    kid, mac = keyring.mac("seal", b"message")
    flipped = bytearray(mac)
    flipped[position // 8] ^= 1 << position % 8

    assert not keyring.verify("seal", kid, b"message", bytes(flipped))


def test_a_mac_of_a_key_that_now_only_verifies_still_verifies() -> None:
    """Rotating the active key breaks nothing that exists."""
    before = Keyring([Key(2, twos, "active")])
    kid, mac = before.mac("token/email", b"message")

    assert kid == 2
    assert three_keys().verify("token/email", kid, b"message", mac)


def test_a_check_value_is_a_short_hmac() -> None:
    """It has 16 hex digits, is bound to the key id, and comes from a subkey of its own."""
    keyring = three_keys()
    message = b"signoff.check.v1\x00\x02"
    whole = hmac.new(hkdf(twos, b"signoff/check/v1"), message, "sha256").hexdigest()

    assert keyring.check_value(2) == whole[:16]
    assert Keyring([Key(5, twos, "active")]).check_value(5) != keyring.check_value(2)


def test_check_values_never_change() -> None:
    """A store that was made with an earlier Signoff knows its key again."""
    assert three_keys().check_value(3) == "7f31c0cbb6fb5231"


def test_a_retired_key_keeps_its_check_value() -> None:
    """Or its id could be given to another key unseen."""
    assert three_keys().check_value(1) == Keyring([Key(1, ones, "active")]).check_value(1)


def test_a_key_that_is_not_there_has_no_check_value() -> None:
    """The error names it."""
    with pytest.raises(KeyringError, match=r"^key 4 is not in the keyring$"):
        three_keys().check_value(4)


def test_a_new_store_is_given_all_check_values() -> None:
    """Those of retired keys too, so that their ids are known as used."""
    keyring = three_keys()

    assert keyring.agree({}) == {kid: keyring.check_value(kid) for kid in (1, 2, 3)}


def test_a_store_that_knows_some_keys_is_given_the_others() -> None:
    """What it has already is not given again."""
    keyring = three_keys()
    stored = {1: keyring.check_value(1), 2: keyring.check_value(2)}

    assert keyring.agree(stored) == {3: keyring.check_value(3)}
    assert keyring.agree(keyring.agree({})) == {}


@pytest.mark.parametrize("kid", [1, 2, 3])
def test_a_store_that_was_made_with_another_key_is_refused(kid: int) -> None:
    """Whatever the state of the key, the error names its id and no check value."""
    keyring = three_keys()
    others = Keyring([Key(kid, bytes(32), "active")])

    with pytest.raises(KeyringError) as caught:
        keyring.agree({**keyring.agree({}), **others.agree({})})

    assert str(caught.value) == (
        f"key {kid} is not the key {kid} that this store was made with; start with the store's own"
        " keys (if one was taken out of a list of secrets without key ids, write kid:state:secret"
        " instead)"
    )


def test_the_lowest_wrong_key_is_named() -> None:
    """One at a time, in order."""
    with pytest.raises(KeyringError, match=r"^key 1 is not the key 1 "):
        three_keys().agree({3: "", 1: "", 2: ""})


def test_keys_that_only_the_store_knows_are_missing() -> None:
    """They are named in rising order; agreeing on the rest works."""
    keyring = three_keys()
    stored = {**keyring.agree({}), 9: "other", 0: "other"}

    assert keyring.missing(stored) == (0, 9)
    assert keyring.missing([2]) == ()
    assert keyring.agree(stored) == {}


def test_rotating_makes_a_new_active_key() -> None:
    """The former active key verifies, and the others stay as they were."""
    keyring = three_keys()
    rotated = keyring.rotated([1, 2, 3], random=lambda count: bytes([count]) * count)

    assert states(rotated) == [
        (4, "active"),
        (3, "verify_only"),
        (2, "verify_only"),
        (1, "retired"),
    ]
    assert [key.secret for key in rotated.keys] == [bytes([32]) * 32, threes, twos, ones]
    assert states(keyring) == [(3, "active"), (2, "verify_only"), (1, "retired")]


def test_rotating_makes_a_random_key() -> None:
    """Without a source of its own the secret is random."""
    keyring = three_keys()

    assert keyring.rotated([]).keys[0] != keyring.rotated([]).keys[0]


def test_rotating_never_gives_an_id_again() -> None:
    """Neither one that the store once knew, nor one in the keyring."""
    assert three_keys().rotated([7]).active_kid == 8
    assert three_keys().rotated([]).active_kid == 4


def test_rotating_past_the_highest_id_takes_the_lowest_that_is_free() -> None:
    """An id that was chosen by hand does not end the rotations."""
    keyring = Keyring([Key(255, ones, "active")])

    assert Keyring([Key(254, ones, "active")]).rotated([]).active_kid == 255
    assert keyring.rotated([]).active_kid == 0
    assert keyring.rotated([0, 1, 3]).active_kid == 2


def test_rotating_without_a_free_id_is_refused() -> None:
    """Rather that than give one again."""
    keyring = Keyring([Key(9, ones, "active")])

    assert keyring.rotated(set(range(256)) - {77}).active_kid == 77
    with pytest.raises(KeyringError, match=r"^all 256 key ids have been used; none is given twice"):
        keyring.rotated(range(256))


def test_retiring_a_key_leaves_the_others() -> None:
    """It keeps its secret, for the audit."""
    keyring = three_keys()
    retired = keyring.retire(2)

    assert states(retired) == [(3, "active"), (2, "retired"), (1, "retired")]
    assert retired.keys[1].secret == twos
    assert states(keyring) == [(3, "active"), (2, "verify_only"), (1, "retired")]


def test_retiring_twice_is_harmless() -> None:
    """The keyring is the same."""
    assert three_keys().retire(1).keys == three_keys().keys


def test_the_active_key_cannot_be_retired() -> None:
    """The error says what to do first."""
    with pytest.raises(KeyringError, match=r"^key 3 is the active key; rotate first, then retire"):
        three_keys().retire(3)


def test_a_key_that_is_not_there_cannot_be_retired() -> None:
    """The error names it."""
    with pytest.raises(KeyringError, match=r"^key 4 is not in the keyring$"):
        three_keys().retire(4)


def test_text_gives_the_same_keys_back() -> None:
    """One key a line, with id, state and secret."""
    text = three_keys().to_text()

    assert Keyring.from_text(text).keys == three_keys().keys
    assert text.splitlines()[0] == f"3:active:{base64.b64encode(threes).decode().rstrip('=')}"
    assert text.count("\n") == 3


@given(secret=st.binary(min_size=32, max_size=32))
@settings(max_examples=60)
def test_every_secret_survives_as_text(secret: bytes) -> None:
    """As we write it, and in the standard alphabet with padding."""
    keyring = Keyring([Key(5, secret, "active")])

    assert Keyring.from_text(keyring.to_text()).keys == keyring.keys
    assert Keyring.from_text(f"5:active:{base64.b64encode(secret).decode()}").keys == keyring.keys


def test_a_single_secret_is_the_active_key_one() -> None:
    """That is all that a first deployment writes."""
    assert Keyring.from_text(ones_text).keys == (Key(1, ones, "active"),)


@pytest.mark.parametrize("separator", ["\n", ",", " ", "\r\n", ", ", "\n\n"])
def test_secrets_without_ids_stand_newest_first(separator: str) -> None:
    """The first is active; the oldest has id 1, so adding one in front renumbers none."""
    older = Keyring.from_text(ones_text)
    keyring = Keyring.from_text(separator.join([twos_text, ones_text]))

    assert keyring.keys == (Key(2, twos, "active"), Key(1, ones, "verify_only"))
    assert keyring.check_value(1) == older.check_value(1)


def test_secrets_with_ids_stand_in_any_order() -> None:
    """Each line says everything about its key."""
    keyring = Keyring.from_text(f"1:retired:{ones_text}, 200:active:{twos_text}")

    assert keyring.keys == (Key(200, twos, "active"), Key(1, ones, "retired"))


def test_comments_and_empty_lines_are_skipped() -> None:
    """Whole lines and ends of lines."""
    text = f"# keys: of the shop\n\n  4:active:{ones_text}   # since May: new\n"

    assert Keyring.from_text(text).keys == (Key(4, ones, "active"),)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "there is no key; make one with `openssl rand -base64 32`"),
        (" \n, # nothing", "there is no key; make one with `openssl rand -base64 32`"),
        ("not/base64!", "entry 1: the secret is not base64; make one with `openssl"),
        ("geheim\u00fc", "entry 1: the secret is not base64; make one with `openssl"),
        (ones_text[:-2] + "F=", "entry 1: the secret is not base64; make one with `openssl"),
        (f"{ones_text} ?", "entry 2: the secret is not base64; make one with `openssl"),
        (base64.b64encode(bytes(31)).decode(), "key 1: the secret has 31 bytes, not 32;"),
        (f"{ones_text} {ones_text}", "keys 2 and 1 have the same secret;"),
        (f"1:active:{ones_text} {twos_text}", "entry 2: not of the form kid:state:secret"),
        (f"1:active:{ones_text}:", "entry 1: not of the form kid:state:secret"),
        (f"{ones_text}:active:1", "entry 1: the key id is not a number from 0 to 255"),
        (f":active:{ones_text}", "entry 1: the key id is not a number from 0 to 255"),
        (f"1000:active:{ones_text}", "entry 1: the key id is not a number from 0 to 255"),
        (f"\u0661:active:{ones_text}", "entry 1: the key id is not a number from 0 to 255"),
        (f"-1:active:{ones_text}", "entry 1: the key id is not a number from 0 to 255"),
        (f"256:active:{ones_text}", "key id 256 is not between 0 and 255"),
        (f"1:{ones_text}:active", "entry 1: the secret is not base64; make one with `openssl"),
        (f"1:{ones_text}:{twos_text}", "key 1: the state is none of active, verify_only, retired"),
        (f"1:Active:{ones_text}", "key 1: the state is none of active, verify_only, retired"),
        (f"1:active:{ones_text} 2:active:{twos_text}", "exactly one key must be active; active: 2"),
        (f"1:retired:{ones_text}", "exactly one key must be active; active: none"),
        (f"7:active:{ones_text} 7:retired:{twos_text}", "key id 7 is given twice;"),
    ],
)
def test_a_malformed_text_is_refused(text: str, problem: str) -> None:
    """The error names the source and what is wrong, and repeats no secret."""
    with pytest.raises(KeyringError) as caught:
        Keyring.from_text(text, source="keys.txt")

    message = str(caught.value)
    assert message.startswith(f"keys.txt: {problem}")
    assert ones_text.rstrip("=") not in message
    assert twos_text.rstrip("=") not in message


def test_a_malformed_text_without_a_source_is_just_text() -> None:
    """The message still begins with what it is about."""
    with pytest.raises(KeyringError, match=r"^the key text: there is no key; "):
        Keyring.from_text("")


def spellings(secret: bytes) -> list[str]:
    """Return every way in which a secret might slip into a text."""
    standard = base64.b64encode(secret).decode()
    return [
        standard[:20],
        standard[-22:-2],
        base64.urlsafe_b64encode(secret).decode()[:20],
        secret.hex()[:20],
        secret.hex().upper()[:20],
        repr(secret)[2:20],
    ]


@given(seed=st.integers(), text=st.data())
@settings(max_examples=150)
def test_no_error_shows_a_secret(seed: int, text: st.DataObject) -> None:
    """Whatever was mistyped, neither message nor traceback repeats a secret."""
    secret = hashlib.sha256(str(seed).encode()).digest()
    good = base64.b64encode(secret).decode()
    part = st.sampled_from(
        [good, good[:-1], good + "A", "!" + good, good * 2, "1", "256", "active", "retired", ""]
    )
    entry = st.lists(part, min_size=1, max_size=4).map(":".join)
    written = text.draw(st.lists(entry, max_size=3).map("\n".join))

    shown: list[object] = []
    try:
        shown.append(Keyring.from_text(written))
    except KeyringError as error:
        shown += [error, repr(error), "".join(traceback.format_exception(error))]

    assert [s for s in spellings(secret) for text_shown in shown if s in str(text_shown)] == []


def test_keys_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """From SIGNOFF_KEY, or from the variable that is named."""
    monkeypatch.setenv("SIGNOFF_KEY", ones_text)
    monkeypatch.setenv("OTHER_KEY", f"9:active:{twos_text}")

    assert Keyring.from_env().keys == (Key(1, ones, "active"),)
    assert Keyring.from_env("OTHER_KEY").keys == (Key(9, twos, "active"),)


def test_a_variable_that_is_not_set_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """So is one that is empty, and the error says how to make a key."""
    monkeypatch.delenv("SIGNOFF_KEY", raising=False)
    monkeypatch.setenv("OTHER_KEY", "")

    with pytest.raises(
        KeyringError, match=r"^SIGNOFF_KEY: there is no key; make one with `openssl"
    ):
        Keyring.from_env()
    with pytest.raises(KeyringError, match=r"^OTHER_KEY: there is no key; make one with `openssl"):
        Keyring.from_env("OTHER_KEY")


def test_a_letter_that_no_secret_ends_in_is_refused() -> None:
    """It is no padding that could be taken off."""
    with pytest.raises(KeyringError, match="the secret is not base64"):
        Keyring.from_text("A" * 42 + "X")
