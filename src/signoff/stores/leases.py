"""What taking, prolonging and giving back a claim does, whatever keeps the claims (floor 4)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from signoff.errors import StaleWriteError
from signoff.model.changes import Acquire, Claim, Fence, Release, Renew

NOBODY = ""
"""The holder of a claim that was given back."""


@dataclass(frozen=True, slots=True)
class Lease:
    """
    A claim as it stands.

    Attributes:
        holder: Who has it; `NOBODY` once it was given back.
        fencing: How often it has changed hands.
        ends: Until when it is live, in seconds of the store's lease clock; at that instant it
            is not any more.
    """

    holder: str = NOBODY
    fencing: int = 0
    ends: float = 0.0

    def is_live(self, now: float) -> bool:
        """Return whether somebody holds it and it has not run out."""
        return self.holder != NOBODY and now < self.ends

    def as_claim(self, subject: str, *, now: float) -> Claim:
        """Return it as callers see it."""
        return Claim(
            subject=subject, holder=self.holder, fencing=self.fencing, live=self.is_live(now)
        )


NEVER_HELD = Lease()
"""What stands where no claim was ever taken."""


def lease_after(standing: Lease, change: Acquire | Renew | Release, *, now: float) -> Lease:
    """
    Return what stands after a change of a claim; that no signal waits is not checked here.

    Raises:
        StaleWriteError: The claim is not what the change assumes.
    """
    match change:
        case Acquire():
            if standing.is_live(now) and standing.holder != change.holder:
                raise StaleWriteError(change.subject, f"{standing.holder} holds a live claim")
            if standing.fencing != change.fencing - 1:
                raise StaleWriteError(change.subject, f"its fencing is {standing.fencing} by now")
            return Lease(change.holder, change.fencing, now + change.lease.total_seconds())
        case Renew():
            _check_held(standing, change)
            return replace(standing, ends=now + change.lease.total_seconds())
        case _:
            _check_held(standing, change)
            return Lease(NOBODY, standing.fencing, standing.ends)


def check_fence(standing: Lease, fence: Fence, *, now: float) -> None:
    """Check the condition of a commit. Raises `StaleWriteError` when it does not hold."""
    _check_held(standing, fence)
    if fence.remaining is None:
        return
    if not standing.is_live(now) or standing.ends - now < fence.remaining.total_seconds():
        raise StaleWriteError(fence.subject, f"less than {fence.remaining} of its lease is left")


def _check_held(standing: Lease, change: Renew | Release | Fence) -> None:
    held = (standing.holder, standing.fencing) == (change.holder, change.fencing)
    if standing.holder == NOBODY or not held:
        raise StaleWriteError(
            change.subject,
            f"{change.holder} does not hold it under {change.fencing};"
            f" it is at {standing.fencing}, {standing.holder or 'given back'}",
        )
