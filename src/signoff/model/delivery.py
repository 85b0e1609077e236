"""One message to one recipient through one notifier: a row of the outbox (floor 0)."""

from __future__ import annotations

from typing import Literal

from pydantic import AwareDatetime, Field

from signoff.model.base import Record
from signoff.model.values import Tree

DeliveryKind = Literal["request", "confirmation", "refusal", "cancelled", "expired", "undelivered"]
DeliveryStatus = Literal["waiting", "sending", "sent", "failed", "dropped"]


class Delivery(Record):
    """
    One message to one recipient through one notifier.

    Written only by whoever holds its claim, after it was first stored: the sender, and for a
    mail that comes back whoever reads of it.

    Attributes:
        delivery_id: `dlv_` and a time-ordered id; also names the message, so that a repeated
            one can be recognised.
        kind: What the message says.
        request_id: What it is about.
        recipient: One address.
        notifier: The name of the notifier that sends it.
        token_id: The token that its reply address carries; empty when no reply is expected.
        note: What the message has to say beyond the request, by name.
        status: Where it stands; `sending` under a dead claim means that its end is unknown.
        attempts: How often sending was begun.
        unknown: How many of these attempts ended with their sender, so that nobody knows.
        not_before: When to try next, UTC.
        last_error: What the last attempt ran into, or what came back of a message that was sent.
        sent_at: When the other side took it; it stays when the message comes back later.
        message_id: The id that the other side knows it by.
    """

    delivery_id: str
    version: int = 1
    kind: DeliveryKind
    request_id: str
    recipient: str
    notifier: str
    token_id: str = ""
    note: dict[str, Tree] = Field(default_factory=dict)
    status: DeliveryStatus = "waiting"
    attempts: int = 0
    unknown: int = 0
    not_before: AwareDatetime
    last_error: str = ""
    created_at: AwareDatetime
    sent_at: AwareDatetime | None = None
    message_id: str = ""

    @property
    def came_back(self) -> str:
        """What the other side's server reported after it had taken the message; else empty."""
        return self.last_error if self.sent_at is not None else ""
