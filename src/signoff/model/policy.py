"""What needs a human, who, and by when (floor 0)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

from pydantic import Field
from typing_extensions import override

from signoff.model.base import Record

Risk = Literal["low", "medium", "high", "critical"]
"""How much harm a wrong yes does; set by code or policy, never by agent text."""

if TYPE_CHECKING:
    # What code may write; what is kept is a tuple, whatever was given.
    Addresses: TypeAlias = Sequence[str]
else:
    Addresses = tuple[str, ...]

Duration = Annotated[timedelta, Field(gt=timedelta(0), strict=True)]
"""A length of time that is longer than nothing."""

RISKS: tuple[Risk, ...] = ("low", "medium", "high", "critical")


class Policy(Record):
    """
    Who is asked and by when, merged gate over flow over client and kept on each request.

    Every field left at `None` is taken from the policy below it.

    Attributes:
        name: Shown to reviewers as `Request.policy_name`.
        assign_to_email: Who is asked when the gate names nobody.
        assignable: The addresses that a computed assignee must be one of; required at
            high and critical risk. Empty: no limit below that.
        approvers: Addresses that may decide besides the assignees.
        risk: The risk of gates that set none.
        sla: How long a reviewer should take; stored and shown as `due_at`.
        expires_after: When an unanswered request ends; 7 days unless set.
        valid_for: How long after the resolution an approved call may start; 24 h unless set.
    """

    name: str | None = None
    assign_to_email: str | None = None
    assignable: Addresses | None = None
    approvers: Addresses | None = None
    risk: Risk | None = None
    sla: Duration | None = None
    expires_after: Duration | None = None
    valid_for: Duration | None = None

    @override
    def __hash__(self) -> int:
        # Pydantic would make the same, but type checkers don't see it: merged policies are kept.
        return hash(tuple(self.__dict__.values()))

    def over(self, lower: Policy) -> Policy:
        """Return this policy with every field it leaves open taken from `lower`."""
        mine = {name: value for name, value in self if value is not None}
        return Policy.model_validate({**dict(lower), **mine})
