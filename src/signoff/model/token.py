"""The stored half of a token: what its MAC covers, and whether it was used (floor 0)."""

from __future__ import annotations

from typing import Literal

from pydantic import AwareDatetime

from signoff.model.base import Record

TokenPurpose = Literal["email", "callback", "link", "bounce"]
"""What a token is for; one for bounces stands for a delivery and has no row of its own."""


class TokenRow(Record):
    """
    The address of one request for one recipient.

    The MAC in the token covers every field up to `not_after`, so a changed row has no valid token.

    Attributes:
        token_id: 16 random bytes, hex.
        kid: The key that its MAC is made with.
        purpose: Where it may be used.
        request_id: What it addresses.
        request_version: The version of the request that it was minted for.
        payload_digest: What the recipient was shown.
        policy_digest: Under which policy.
        recipient: Who may use it, a lower-case address.
        labels: The answers that it allows.
        not_after: The latest possible expiry; never changes.
        used_at: When a decision consumed it.
        revoked_at: When it was taken back.
    """

    token_id: str
    version: int = 1
    kid: int
    purpose: TokenPurpose
    request_id: str
    request_version: int
    payload_digest: str
    policy_digest: str
    recipient: str
    labels: tuple[str, ...] = ()
    not_after: AwareDatetime
    created_at: AwareDatetime
    used_at: AwareDatetime | None = None
    revoked_at: AwareDatetime | None = None
