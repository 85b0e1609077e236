"""
Seals: what is stored is what Signoff wrote, or nothing runs on it (floor 2).

A seal is made with a key that is not in the store, so who can only write to the store can
neither make nor change one. It does not tell an older genuine record from the newest one.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, final

from signoff.errors import SealInvalidError
from signoff.model.seal import Seal
from signoff.security.encoding import framed, to_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from signoff.security.keyring import Keyring

salt_bytes: Final = 16
"""The least length of a commitment's salt."""

_tag_bytes: Final = 16


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class BodyMac:
    """
    The MAC of one stored body, such as a checkpoint.

    Attributes:
        kid: The id of the key that made it.
        mac: 32 bytes.
    """

    kid: int
    mac: bytes


def seal(keyring: Keyring, *, record_id: str, fields: Mapping[str, bytes | str]) -> Seal:
    """
    Seal fields of a record with the active key.

    Args:
        keyring: The keys.
        record_id: Which record, and which part of it when it has several seals: the seals of
            one `record_id` can stand for each other.
        fields: Their values by name, as they are stored; text stands for its UTF-8 bytes.
    """
    kid = keyring.active_kid
    made = _Tags(keyring.begin_mac(kid, "seal"), record_id=record_id, fields=fields)
    return Seal(kid=kid, tags=made.by_name, whole=made.whole)


def check(
    keyring: Keyring, seal: Seal, *, record_id: str, fields: Mapping[str, bytes | str]
) -> None:
    """
    Compare fields of a record with their seal, in constant time.

    Args:
        keyring: The keys.
        seal: The stored seal.
        record_id: As it was sealed.
        fields: As they are stored now; the fields that must have been sealed, no more, no fewer.

    Raises:
        SealInvalidError: Its `field` is the first, in the order of `fields`, that is not as it
            was sealed or was not sealed; else the first that was sealed and is not given;
            ``key`` when the key is unknown or retired; ``seal`` when each field is genuine but
            they were not sealed together.
    """
    if not keyring.usable(seal.kid, "seal"):
        raise SealInvalidError(record_id, "key")
    expected = _Tags(keyring.begin_mac(seal.kid, "seal"), record_id=record_id, fields=fields)
    if not expected.are(seal):
        raise SealInvalidError(record_id, expected.first_unlike(seal))


def mac_body(keyring: Keyring, *, kind: str, record_id: str, version: int, body: bytes) -> BodyMac:
    """
    Return the active key's MAC of a stored body.

    Args:
        keyring: The keys.
        kind: What it is, such as ``checkpoint``.
        record_id: The record it belongs to.
        version: The record's version.
        body: The bytes as they are stored.
    """
    message = _body_message(kind=kind, record_id=record_id, version=version, body=body)
    kid, mac = keyring.mac("checkpoint", message)
    return BodyMac(kid=kid, mac=mac)


def check_body(
    keyring: Keyring, mac: BodyMac, *, kind: str, record_id: str, version: int, body: bytes
) -> None:
    """
    Compare a stored body with its MAC, in constant time. The arguments are those of `mac_body`.

    Raises:
        SealInvalidError: They do not fit, or the key is unknown or retired; `field` is the kind.
    """
    message = _body_message(kind=kind, record_id=record_id, version=version, body=body)
    if not keyring.verify("checkpoint", mac.kid, message, mac.mac):
        raise SealInvalidError(record_id, kind)


def commitment(salt: bytes, value: str) -> str:
    """
    Return what stands for a personal value in an audit entry, 64 hex digits.

    It fits no other value, and tells nothing of this one once the salt is erased.

    Args:
        salt: At least 16 random bytes, made for this entry alone, kept with its personal values
            and erased with them. Equal values under one salt have equal commitments.
        value: The value.

    Raises:
        ValueError: The salt is too short.
    """
    if len(salt) < salt_bytes:
        raise ValueError(f"a salt has at least {salt_bytes} bytes, not {len(salt)}")
    return hmac.digest(salt, framed("signoff.commitment.v1", value), "sha256").hex()


class _Tags:
    """
    The tags that a key makes of some fields: one of each by name, and one of all together.

    Args:
        mac: A MAC under the key, of nothing yet, for this use alone.
        record_id: The record.
        fields: Their values by name.
    """

    def __init__(
        self, mac: hmac.HMAC, *, record_id: str, fields: Mapping[str, bytes | str]
    ) -> None:
        framed_fields = {name: framed(name, value) for name, value in fields.items()}
        together = [framed_fields[name] for name in sorted(fields)]
        self.whole = _tag(mac, framed("signoff.seal.whole.v1", record_id), *together)
        mac.update(framed("signoff.seal.v1", record_id))
        self.by_name = {name: _tag(mac, field) for name, field in framed_fields.items()}

    def are(self, seal: Seal) -> bool:
        """Return whether a seal has these tags and no others, in constant time."""
        if self.by_name.keys() != seal.tags.keys():
            return False
        # None of these has a line break, so a stored one with a line break in it fits nowhere.
        found = [*(seal.tags[name] for name in self.by_name), seal.whole]
        return _same("\n".join([*self.by_name.values(), self.whole]), "\n".join(found))

    def first_unlike(self, seal: Seal) -> str:
        """Return the first field whose tag a seal lacks or should not have; `seal` if there is none."""
        tags = self.by_name
        wrong = [name for name in tags if not _same(tags[name], seal.tags.get(name, ""))]
        wrong += [name for name in seal.tags if name not in tags]
        return next(iter(wrong), "seal")


def _tag(begun: hmac.HMAC, *parts: bytes) -> str:
    """Return the tag of what a MAC has begun with and these parts."""
    mac = begun.copy()
    mac.update(b"".join(parts))
    return mac.digest()[:_tag_bytes].hex()


def _same(expected: str, found: str) -> bool:
    # As bytes, because `compare_digest` raises on text that is not ASCII, and rows can hold any.
    return hmac.compare_digest(to_bytes(expected), to_bytes(found))


def _body_message(*, kind: str, record_id: str, version: int, body: bytes) -> bytes:
    return framed("signoff.body.v1", kind, record_id, str(version), body)
