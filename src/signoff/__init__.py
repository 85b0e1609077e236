"""
Signoff lets Python code stop and wait for a human's yes.

The call costs nothing while it waits, survives restarts, deploys and crashes, and afterwards
runs exactly what was approved, at most once, with proof of who said so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from signoff.client import Client
from signoff.context import Suspended, outside_flow
from signoff.context import set_default_host as _set_default_host
from signoff.errors import (
    ApprovalBlocked,
    ApprovalCancelled,
    ApprovalError,
    ApprovalExpired,
    ApprovalRejected,
    SignoffError,
)
from signoff.flows.dsl import and_, listen, or_, router, start
from signoff.flows.flow import Flow
from signoff.gates import human_feedback, keyed, once, require_approval, together
from signoff.model.feedback import HumanFeedbackResult, Proposal
from signoff.model.gate import Done, NotDone, Unknown
from signoff.model.policy import Policy
from signoff.model.request import Evidence, Request
from signoff.threads import to_thread

if TYPE_CHECKING:
    from signoff.context import Host

__all__ = [
    "ApprovalBlocked",
    "ApprovalCancelled",
    "ApprovalError",
    "ApprovalExpired",
    "ApprovalRejected",
    "Client",
    "Done",
    "Evidence",
    "Flow",
    "HumanFeedbackResult",
    "NotDone",
    "Policy",
    "Proposal",
    "Request",
    "SignoffError",
    "Suspended",
    "Unknown",
    "and_",
    "human_feedback",
    "keyed",
    "listen",
    "once",
    "or_",
    "outside_flow",
    "require_approval",
    "router",
    "set_default_client",
    "start",
    "to_thread",
    "together",
]


def set_default_client(client: Host | None) -> None:
    """Make `client` what flows and gates without a client of their own use; `None` takes it away."""
    _set_default_host(client)
