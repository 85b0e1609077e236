"""One reviewer's recorded answer, and the end of a request (floor 0)."""

from __future__ import annotations

from typing import Literal

from pydantic import AwareDatetime

from signoff.model.base import Record
from signoff.model.seal import Seal

Channel = Literal["email", "web", "api", "callback", "chat", "console", "timer"]
"""How a decision came in."""

Proof = Literal["none", "sender", "authenticated"]
"""
How well the channel knows who answers: not at all, by an address that a mail claims, or by
a login, a named in-process caller, or a mail that a trusted server vouches for.
"""


class Decision(Record):
    """
    One reviewer's answer to one version of a request.

    Attributes:
        label: The answer, one of the request's labels; empty for free text.
        feedback: The reviewer's words, as given.
        reviewer: Who answered: an address or a name of the host application.
        channel: How it came in.
        proof: How well that channel knows the reviewer.
        decided_at: When, UTC.
        payload_digest: What the reviewer saw, or made of it by an edit.
        edited: Whether the answer changed the payload.
        seal: MAC over all of it and the request id.
    """

    label: str
    feedback: str = ""
    reviewer: str
    channel: Channel
    proof: Proof
    decided_at: AwareDatetime
    payload_digest: str
    edited: bool = False
    seal: Seal | None = None


class Resolution(Record):
    """
    The end of a request: what came out, and what may run on it.

    Attributes:
        status: The final status of the request.
        outcome: The label that stands; empty for free text and for endings without one.
        feedback: The reviewer's words.
        reviewer: Who ended it; `timer` for deadlines.
        channel: How.
        resolved_at: When, UTC.
        payload_digest: The digest of exactly what may run.
        edited: Whether a reviewer changed the payload.
        reason: Why it was cancelled.
        valid_until: Until when an approved call may start.
        seal: MAC over this, the request's core and every vote.
    """

    status: Literal["approved", "rejected", "answered", "expired", "cancelled"]
    outcome: str = ""
    feedback: str = ""
    reviewer: str
    channel: Channel
    resolved_at: AwareDatetime
    payload_digest: str
    edited: bool = False
    reason: str = ""
    valid_until: AwareDatetime | None = None
    seal: Seal | None = None
