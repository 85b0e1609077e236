"""
Tokens: the signed addresses of one request for one recipient (floor 2).

A token holds a random id, by which its stored row is found, and a MAC over what the row says. So
a stolen database mints none, a stolen key guesses none, and a reminder derives the same again.
One for bounces holds the id of a delivery, and its MAC covers what of that never changes.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, final

from signoff.errors import TokenError

if TYPE_CHECKING:
    from signoff.model.token import TokenPurpose
    from signoff.security.keyring import Keyring, Purpose

token_id_bytes: Final = 16
"""The length of a token id, which must be fully random; stores keep its `hex()`."""

token_chars: Final = 48
"""
The length of a token's text, all of it of ``[a-z2-7]``: it fits behind a ``name+`` of up to 15
characters in the 64 octets of a local part (RFC 5321 section 4.5.3.1.1), and survives upper case.
"""

_mac_bytes: Final = 12
_version: Final = 0x10
_shape: Final = re.compile(r"[A-Za-z2-7]{48}")
_first_byte: Final[dict[TokenPurpose, int]] = {
    "email": _version | 1,
    "callback": _version | 2,
    "link": _version | 3,
    "bounce": _version | 4,
}
_purpose_of: Final[dict[int, TokenPurpose]] = {
    byte: purpose for purpose, byte in _first_byte.items()
}
_key_purpose: Final[dict[TokenPurpose, Purpose]] = {
    "email": "token/email",
    "callback": "token/callback",
    "link": "token/link",
    "bounce": "token/bounce",
}


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class TokenBinding:
    """
    What a token stands for: the columns of its stored row that its MAC covers.

    Attributes:
        request_id: The request.
        version: The request's version when the token was minted.
        payload_digest: The digest of what was shown.
        policy_digest: The digest of the policy that governs it.
        recipient: Whom it was sent to, as the row has it.
        labels: The possible answers, in the order in which they were shown.
        not_after: The latest possible expiry at minting; aware. It never changes.
    """

    request_id: str
    version: int
    payload_digest: str
    policy_digest: str
    recipient: str
    labels: tuple[str, ...]
    not_after: datetime

    def __post_init__(self) -> None:
        if self.not_after.tzinfo is None:
            raise ValueError("not_after has no time zone")

    def canonical(self) -> bytes:
        """Return the bytes that the MAC covers: JSON, keys sorted, ASCII, the instant in UTC."""
        instant = self.not_after.astimezone(UTC).isoformat(timespec="microseconds")
        return json.dumps(
            asdict(self) | {"not_after": instant}, sort_keys=True, separators=(",", ":")
        ).encode("ascii")


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryBinding:
    """
    What a token for bounces stands for: what of a delivery never changes.

    Attributes:
        delivery_id: The delivery.
        request_id: What it is about.
        recipient: To whom it goes.
        notifier: By whom.
    """

    delivery_id: str
    request_id: str
    recipient: str
    notifier: str

    def canonical(self) -> bytes:
        """Return the bytes that the MAC covers: JSON, keys sorted, ASCII."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":")).encode("ascii")


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedToken:
    """
    A text of the shape of a token. Nothing of it is proved before `verify`.

    Attributes:
        purpose: What it says it is for.
        kid: The key it says it was minted with.
        token_id: The id of its row, 16 bytes.
        mac: What it offers as proof, 12 bytes.
    """

    purpose: TokenPurpose
    kid: int
    token_id: bytes = field(repr=False)
    mac: bytes = field(repr=False)


def mint(
    keyring: Keyring,
    *,
    token_id: bytes,
    purpose: TokenPurpose,
    binding: TokenBinding | DeliveryBinding,
    kid: int | None = None,
) -> str:
    """
    Return the token of a stored row; the same row gives the same token.

    Args:
        keyring: The keys.
        token_id: The row's id: 16 random bytes.
        purpose: Where the token will be good.
        binding: What the row says.
        kid: The row's key id, for a token that was minted before; without it the active key.

    Raises:
        KeyringError: The key is retired or unknown.
        ValueError: The token id is not 16 bytes long.
    """
    if len(token_id) != token_id_bytes:
        raise ValueError(f"a token id has {token_id_bytes} bytes, not {len(token_id)}")
    kid = keyring.active_kid if kid is None else kid
    mac = _mac(keyring, kid=kid, token_id=token_id, purpose=purpose, binding=binding)
    raw = _head(kid=kid, token_id=token_id, purpose=purpose) + mac
    return base64.b32encode(raw).decode("ascii").lower()


def parse(text: str) -> ParsedToken:
    """
    Read a token's parts, in either case.

    Raises:
        TokenError: The text is not 48 characters of the alphabet, or of no known version or
            purpose.
    """
    # Folding case first would let in characters such as U+212A, whose lower case is an ASCII k.
    if not _shape.fullmatch(text):
        raise TokenError
    raw = base64.b32decode(text, casefold=True)
    purpose = _purpose_of.get(raw[0])
    if purpose is None:
        raise TokenError
    id_end = 2 + token_id_bytes
    return ParsedToken(purpose=purpose, kid=raw[1], token_id=raw[2:id_end], mac=raw[id_end:])


def verify(
    keyring: Keyring,
    parsed: ParsedToken,
    binding: TokenBinding | DeliveryBinding,
    *,
    purpose: TokenPurpose,
) -> None:
    """
    Prove a token against its stored row, with the same work whatever is wrong with it.

    A proved token says who was asked what. Whether the request still waits, whether the token
    was used or revoked, and whether this person may decide is for the caller to check.

    Args:
        keyring: The keys.
        parsed: The token.
        binding: What the row with this token's id says.
        purpose: Where the token came in.

    Raises:
        TokenError: It was not minted for this row and this purpose, or its key is retired.
    """
    usable = parsed.purpose == purpose and keyring.usable(parsed.kid, _key_purpose[purpose])
    kid = parsed.kid if usable else keyring.active_kid
    expected = _mac(keyring, kid=kid, token_id=parsed.token_id, purpose=purpose, binding=binding)
    proved = hmac.compare_digest(expected, parsed.mac)
    if not (proved and usable):
        raise TokenError


def dummy_check(keyring: Keyring) -> None:
    """Do the work of `verify` for a token that has no row, so that time does not tell it apart."""
    expected = _mac(
        keyring,
        kid=keyring.active_kid,
        token_id=bytes(token_id_bytes),
        purpose="email",
        binding=_no_row,
    )
    hmac.compare_digest(expected, bytes(_mac_bytes))


def _head(*, kid: int, token_id: bytes, purpose: TokenPurpose) -> bytes:
    return bytes([_first_byte[purpose], kid]) + token_id


def _mac(
    keyring: Keyring,
    *,
    kid: int,
    token_id: bytes,
    purpose: TokenPurpose,
    binding: TokenBinding | DeliveryBinding,
) -> bytes:
    message = (
        b"signoff.token.v1\0"
        + _head(kid=kid, token_id=token_id, purpose=purpose)
        + hashlib.sha256(binding.canonical()).digest()
    )
    subkey = keyring.subkey(kid, _key_purpose[purpose])
    return hmac.digest(subkey, message, "sha256")[:_mac_bytes]


_no_row: Final = TokenBinding(
    request_id="req_00000000000000000000000000",
    version=1,
    payload_digest="0" * 64,
    policy_digest="0" * 64,
    recipient="nobody@invalid.example",
    labels=("approved", "rejected"),
    not_after=datetime(2000, 1, 1, tzinfo=UTC),
)
