"""
Encryption of hidden values, each bound to the place where it is stored (floor 2).

AES-256-GCM under a subkey of the keyring. Who can write to the store can neither read a value
nor move it to another row or column. The length of a value is not hidden.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, final

from signoff.errors import SealInvalidError
from signoff.security.encoding import framed, from_base64, to_base64

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    from signoff.security.keyring import Keyring

nonce_bytes: Final = 12
"""The length of a nonce. At random, a key is good for 2**32 values (NIST SP 800-38D, 8.3)."""

_shape: Final = re.compile(r"h1\.(0|[1-9][0-9]{0,2})\.([A-Za-z0-9_-]+)")


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """
    Where a hidden value is stored; it can be read there and nowhere else.

    Attributes:
        table: The table or kind of record.
        row: The record's id.
        column: The member of the record.
    """

    table: str
    row: str
    column: str


def encrypt(
    keyring: Keyring,
    plaintext: bytes,
    *,
    place: Place,
    random: Callable[[int], bytes] = secrets.token_bytes,
) -> str:
    """
    Encrypt a value with the active key.

    Args:
        keyring: The keys.
        plaintext: The value.
        place: Where the text will be stored.
        random: Gives that many random bytes; a nonce that comes twice breaks the encryption.

    Returns:
        Text of ASCII characters: version, key id, and nonce and ciphertext in base64.
    """
    kid = keyring.active_kid
    nonce = random(nonce_bytes)
    sealed = nonce + _cipher(keyring, kid).encrypt(nonce, plaintext, _associated(place, kid))
    return f"h1.{kid}.{to_base64(sealed)}"


def decrypt(keyring: Keyring, text: str, *, place: Place) -> bytes:
    """
    Decrypt a value that was stored at this place.

    Raises:
        SealInvalidError: Its `record_id` is the row. Its `field` is ``key`` when the key is
            unknown or retired, else the column: the text was changed, cut or moved.
    """
    from cryptography.exceptions import InvalidTag  # noqa: PLC0415 - keeps the import cheap

    shape = _shape.fullmatch(text)
    if shape is None:
        raise SealInvalidError(place.row, place.column)
    kid = int(shape[1])
    if not keyring.usable(kid, "hidden"):
        raise SealInvalidError(place.row, "key")
    try:
        sealed = from_base64(shape[2])
        nonce, ciphertext = sealed[:nonce_bytes], sealed[nonce_bytes:]
        return _cipher(keyring, kid).decrypt(nonce, ciphertext, _associated(place, kid))
    except (InvalidTag, ValueError):
        # A nonce that was cut short is a ValueError, a tag that was cut short an InvalidTag.
        raise SealInvalidError(place.row, place.column) from None


def kid_of(text: str) -> int:
    """Return the id of the key that made what `encrypt` returned."""
    return int(text.split(".")[1])


def _cipher(keyring: Keyring, kid: int) -> AESGCM:
    from cryptography.hazmat.primitives.ciphers.aead import (  # noqa: PLC0415 - keeps the import cheap
        AESGCM,
    )

    return AESGCM(keyring.subkey(kid, "hidden"))


def _associated(place: Place, kid: int) -> bytes:
    return framed("signoff.hidden.v1", place.table, place.row, place.column, str(kid))
