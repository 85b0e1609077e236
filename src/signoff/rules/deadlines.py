"""When a request is due, and from when no answer counts (floor 1)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from signoff.model.policy import Policy, Risk
from signoff.model.request import Request

DEFAULT_EXPIRY: Final = timedelta(days=7)
DEFAULT_VALIDITY: Final = timedelta(hours=24)


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadlines:
    """
    The instants that one request goes by.

    Attributes:
        due_at: Until when an answer is hoped for; shown, and nothing more.
        expires_at: From this instant no answer counts.
        valid_for: How long after the resolution an approved call may start.
    """

    due_at: datetime | None
    expires_at: datetime | None
    valid_for: timedelta


def deadlines(policy: Policy, *, risk: Risk, opened_at: datetime) -> Deadlines:
    """Return the deadlines of a request: expiry after 7 days unless set, and none by default at critical risk."""
    expiry = policy.expires_after
    if expiry is None and risk != "critical":
        expiry = DEFAULT_EXPIRY
    return Deadlines(
        due_at=opened_at + policy.sla if policy.sla else None,
        expires_at=opened_at + expiry if expiry else None,
        valid_for=policy.valid_for or DEFAULT_VALIDITY,
    )


def has_expired(request: Request, now: datetime) -> bool:
    """Return whether the request's expiry is reached: at the very instant it already is."""
    return request.expires_at is not None and now >= request.expires_at


def may_start(request: Request, now: datetime) -> bool:
    """Return whether an approved call may still start: up to, and not at, the end of its permission."""
    resolution = request.resolution
    return (
        resolution is not None
        and resolution.valid_until is not None
        and now < resolution.valid_until
    )
