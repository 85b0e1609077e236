"""Who may decide a request, and through which channel (floor 1). One function for all channels."""

from __future__ import annotations

from typing import Final

from signoff.model.decision import Channel, Proof
from signoff.model.policy import RISKS, Risk
from signoff.model.request import Request
from signoff.rules.addresses import may_be_one, one_spelling

_CEILING: Final[dict[Proof, Risk | None]] = {
    "none": None,
    "sender": "medium",
    "authenticated": "high",
}
_LOGINS: Final[frozenset[Channel]] = frozenset({"api", "web", "console"})


def highest_risk(channel: Channel, proof: Proof) -> Risk | None:
    """
    Return the highest risk that an answer by this channel with this proof may decide.

    `None` means none at all. A mail decides up to medium on its token and sender alone, up to
    high when a trusted server vouches for its sender; a named caller in process, a login and
    a person at the terminal decide any risk.
    """
    if channel in _LOGINS and proof == "authenticated":
        return "critical"
    return _CEILING[proof]


def reaches(risk: Risk, ceiling: Risk | None) -> bool:
    """Return whether `risk` lies at or below `ceiling`."""
    return ceiling is not None and RISKS.index(risk) <= RISKS.index(ceiling)


def needs_a_name(request: Request) -> bool:
    """Return whether nobody in particular may not decide: it has assignees, or high or critical risk."""
    return bool(request.assignees) or request.risk in {"high", "critical"}


def eligible(request: Request) -> frozenset[str]:
    """Return the addresses that may decide; empty means that everybody but the requester may."""
    return frozenset({*request.assignees, *(request.policy.approvers or ())})


def objection(
    request: Request, *, reviewer: str | None, channel: Channel, proof: Proof
) -> str | None:
    """
    Return why this reviewer may not decide this request by this channel, or `None` if they may.

    Checked at the moment of decision, from the request as it is stored then. No permission
    of any other sort gives the right to decide.

    Args:
        request: The request, with the policy that was taken with it.
        reviewer: Who answers, in any spelling; `None` when the channel does not know.
        channel: How the answer came in.
        proof: How well that channel knows who answers.
    """
    if reviewer is None:
        if needs_a_name(request):
            return "it takes a named reviewer; pass reviewer= or set the client's reviewer"
        return None
    if request.requester is not None and may_be_one(reviewer, request.requester):
        return "the requester never decides"
    seats = {one_spelling(seat) for seat in eligible(request)}
    if seats and one_spelling(reviewer) not in seats:
        return "is neither an assignee nor an approver"
    if not reaches(request.risk, highest_risk(channel, proof)):
        return f"an answer by {channel} ({proof}) may not decide a request of {request.risk} risk"
    return None
