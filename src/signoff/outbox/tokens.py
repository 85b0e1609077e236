"""The tokens that messages carry, made from the rows that say what they stand for (floor 5)."""

from __future__ import annotations

from signoff.ids import bytes_of
from signoff.model.delivery import Delivery
from signoff.model.token import TokenRow
from signoff.security.keyring import Keyring
from signoff.security.tokens import DeliveryBinding, TokenBinding, mint


def binding_of(row: TokenRow) -> TokenBinding:
    """Return what a token row says, for the token's MAC."""
    return TokenBinding(
        request_id=row.request_id,
        version=row.request_version,
        payload_digest=row.payload_digest,
        policy_digest=row.policy_digest,
        recipient=row.recipient,
        labels=row.labels,
        not_after=row.not_after,
    )


def token_text(keyring: Keyring, row: TokenRow) -> str:
    """Return the token of a row: the same each time. Raises `KeyringError` when its key is gone."""
    return mint(
        keyring,
        token_id=bytes.fromhex(row.token_id),
        purpose=row.purpose,
        binding=binding_of(row),
        kid=row.kid,
    )


def bounce_binding_of(delivery: Delivery) -> DeliveryBinding:
    """Return what of a delivery never changes, for the MAC of its token for bounces."""
    return DeliveryBinding(
        delivery_id=delivery.delivery_id,
        request_id=delivery.request_id,
        recipient=delivery.recipient,
        notifier=delivery.notifier,
    )


def bounce_token(keyring: Keyring, delivery: Delivery) -> str:
    """Return the token by which what comes back names this delivery."""
    return mint(
        keyring,
        token_id=bytes_of(delivery.delivery_id),
        purpose="bounce",
        binding=bounce_binding_of(delivery),
    )
