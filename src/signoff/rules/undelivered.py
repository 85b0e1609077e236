"""What follows when a message does not reach whom it was sent to (floor 1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from signoff.model.delivery import Delivery
from signoff.model.request import Request
from signoff.rules.lifecycle import Notice, Transition

Mishap = Literal["failed", "delayed"]
"""What became of a message: given up for good, or on its way for longer than it should be."""


def why_unreached(request: Request, deliveries: Sequence[Delivery]) -> str:
    """Return why nobody was told of a request; empty when somebody was, or is about to be."""
    asked = [
        one
        for one in deliveries
        if one.kind == "request" and one.recipient in (request.assignees or ("",))
    ]
    if all(one.status == "failed" for one in asked):
        return request.undelivered or "; ".join(one.last_error for one in asked)
    return ""


def after_mishap(
    request: Request,
    delivery: Delivery,
    deliveries: Sequence[Delivery],
    *,
    mishap: Mishap,
    status: str,
) -> Transition:
    """
    Return what follows from a message that did not arrive, or not yet.

    Nothing is decided by it. When it was the last one by which anybody could have been told of
    a pending request, the request says so, and the policy's own assignee hears of it, unless
    that is who could not be reached.

    Args:
        request: What the message was about.
        delivery: The message, as it stands now.
        deliveries: All messages about the request, as they stood before.
        mishap: What became of it.
        status: The other side's status code, such as 5.1.1; may be empty.
    """
    now_known = [delivery if one.delivery_id == delivery.delivery_id else one for one in deliveries]
    unreached = request.status == "pending" and not request.undelivered
    why = why_unreached(request, now_known) if unreached else ""
    changed = request.model_copy(
        update={"version": request.version + 1, "undelivered": why or request.undelivered}
    )
    return Transition(
        request=changed,
        event="request.undelivered" if why else f"request.delivery_{mishap}",
        actor="signoff",
        facts={
            "delivery": delivery.delivery_id,
            "notifier": delivery.notifier,
            "mishap": mishap,
            "status": status,
            "came_back": bool(delivery.came_back),
        },
        personal={"recipient": delivery.recipient, "detail": delivery.last_error},
        notices=_notices(request, why) if why else (),
    )


def _notices(request: Request, why: str) -> tuple[Notice, ...]:
    other = (request.policy.assign_to_email or "").strip().lower()
    if not other or other in request.assignees:
        return ()
    return (Notice(kind="undelivered", recipient=other, note={"reason": why}),)
