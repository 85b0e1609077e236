"""What a step hands to its gate, and what the gate hands to the listeners (floor 0)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from signoff.model.request import Evidence


@dataclass(frozen=True, slots=True)
class Proposal:
    """
    A payload with the agent's own words about it.

    Return it from a step under `human_feedback` in place of the bare payload. It governs
    nothing: risk, assignees and deadlines come from code.

    Attributes:
        payload: What is under review.
        summary: What it is, in the agent's words.
        rationale: Why, in the agent's words.
        confidence: The agent's estimate, 0 to 1.
        evidence: Facts that support it.

    Raises:
        ValueError: The confidence is not between 0 and 1.
    """

    payload: object
    summary: str = ""
    rationale: str = ""
    confidence: float | None = None
    evidence: Sequence[Evidence] = ()

    def __post_init__(self) -> None:
        if self.confidence is not None and not 0 <= self.confidence <= 1:
            raise ValueError(f"confidence={self.confidence!r} is not between 0 and 1")


@dataclass(frozen=True, slots=True)
class HumanFeedbackResult:
    """
    What came of a `human_feedback` gate.

    Attributes:
        output: The payload, edited or not.
        feedback: The reviewer's words.
        outcome: The label, or `None` without `emit`.
        timestamp: When it was answered, aware and in UTC.
        method_name: The step.
        metadata: A copy of the gate's own.
        request_id: The request.
        reviewer: Who answered.
        channel: How.
        edited: Whether the reviewer changed the payload.
    """

    output: object
    feedback: str
    outcome: str | None
    timestamp: datetime
    method_name: str
    metadata: Mapping[str, object] = field(default_factory=dict[str, object])
    request_id: str = ""
    reviewer: str = ""
    channel: str = ""
    edited: bool = False
