"""`human_feedback`: a step whose result a human judges (floor 6)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from typing import TYPE_CHECKING, Final, TypeVar

from signoff.errors import ConfigurationError
from signoff.gates.policies import gate_policy
from signoff.model.gate import FeedbackSpec
from signoff.model.policy import Policy, Risk
from signoff.model.request import Evidence
from signoff.registry import default_name
from signoff.rules.routing import addresses_in
from signoff.rules.slips import names_in, refuse_no_text

if TYPE_CHECKING:
    from signoff.rules.outcomes import Meaning

F = TypeVar("F", bound=Callable[..., object])

_FEEDBACK: Final = "__signoff_feedback__"


@dataclass(frozen=True, slots=True)
class FeedbackGate:
    """What `human_feedback(...)` returns: stamps a step with its options and changes nothing else."""

    spec: FeedbackSpec

    def __call__(self, fn: F, /) -> F:
        """
        Stamp a step.

        Raises:
            ConfigurationError: It has a gate already, or is no method.
        """
        refuse_no_method(fn)
        if hasattr(fn, _FEEDBACK):
            raise ConfigurationError(f"{default_name(fn)} has two human_feedback gates; keep one")
        setattr(fn, _FEEDBACK, self.spec)
        return fn


def refuse_no_method(fn: object) -> None:
    """Raise `ConfigurationError` for what a decorator without its parentheses hands on."""
    if not hasattr(fn, "__qualname__"):
        raise ConfigurationError(
            f"{fn!r} is no method: write the decorators below with their parentheses, as @start()"
        )


def feedback_of(fn: object) -> FeedbackSpec | None:
    """Return the options that `human_feedback` stamped on a step."""
    found = getattr(fn, _FEEDBACK, None)
    return found if isinstance(found, FeedbackSpec) else None


def human_feedback(
    message: str,
    emit: Sequence[str] | type[Enum] | None = None,
    default_outcome: str | None = None,
    metadata: Mapping[str, object] | None = None,
    *,
    meanings: Mapping[str, Meaning] | None = None,
    aliases: Mapping[str, Sequence[str]] | None = None,
    assignees: Sequence[str] = (),
    assign_to_email: str | None = None,
    assign_from_input: str | None = None,
    evidence: Sequence[Evidence] = (),
    risk: Risk | None = None,
    sla: timedelta | None = None,
    expires_after: timedelta | None = None,
    on_expiry: str | None = None,
    policy: Policy | None = None,
) -> FeedbackGate:
    """
    Ask a human about what a step returns, before anything listens to it.

    The step runs once. Its return value, or the payload of the `Proposal` it returns, is what
    the reviewer sees; the run suspends until there is an answer.

    Args:
        message: The question.
        emit: The possible answers. With it the step is a router whose label is the outcome;
            without it any text is the answer.
        default_outcome: The label that text takes which is none of the labels. It needs `emit`,
            is one of them, and takes effect only if its meaning is not approve.
        metadata: Copied into each `HumanFeedbackResult`.
        meanings: What labels stand for that the built-in table does not know.
        aliases: Other words for a label.
        assignees: Who is asked.
        assign_to_email: One more who is asked.
        assign_from_input: The state field that holds the address of who is asked; it must be
            within the policy's `assignable`, and is never the requester.
        evidence: Facts that support the question.
        risk: How much harm a wrong yes does; medium unless set here or by policy.
        sla: How long a reviewer should take; shown.
        expires_after: When an unanswered request ends; 7 days unless set.
        on_expiry: The label that an unanswered request takes; without it the run fails with
            `RequestExpired`.
        policy: Further settings, over those of the flow and the client.

    Raises:
        ValueError: The labels contradict each other, `default_outcome` or `on_expiry` is none
            of them, or a duration is not positive.
        ConfigurationError: The risk is critical, which needs a quorum; or an option is of another
            type than it says.
    """
    refuse_no_text("message", message, write="@human_feedback(message=..., emit=[...])")
    if assign_to_email is not None:
        refuse_no_text(
            "assign_to_email", assign_to_email, write="one address; assignees=[...] takes several"
        )
    labels = _labels(emit)
    if default_outcome is not None and default_outcome not in labels:
        raise ValueError(
            f"default_outcome={default_outcome!r} needs emit=[...] with that label in it"
        )
    if on_expiry is not None and on_expiry not in labels:
        raise ValueError(f"on_expiry={on_expiry!r} needs emit=[...] with that label in it")
    from signoff.rules.outcomes import choices  # noqa: PLC0415 - the root stays light

    return FeedbackGate(
        FeedbackSpec(
            message=message,
            choices=choices(labels, meanings=meanings or {}, aliases=aliases or {}),
            default_outcome=default_outcome,
            on_expiry=on_expiry,
            assignees=addresses_in(
                (*names_in("assignees", assignees), *([assign_to_email] if assign_to_email else []))
            ),
            assign_from_input=assign_from_input,
            metadata=dict(metadata or {}),
            evidence=tuple(evidence),
            policy=gate_policy(
                policy, risk=risk, sla=sla, expires_after=expires_after, valid_for=None
            ),
        )
    )


def _labels(emit: Sequence[str] | type[Enum] | None) -> tuple[str, ...]:
    if emit is None:
        return ()
    if isinstance(emit, type):
        return tuple(str(member.value) for member in emit)
    if isinstance(emit, str):
        raise ValueError(  # noqa: TRY004 - as for every other slip in the labels
            f"emit={emit!r} is one text; write emit=[{emit!r}, ...]"
        )
    if not emit:
        raise ValueError("emit=[] names no label; leave emit out where any text is the answer")
    for label in emit:
        refuse_no_text("emit", label, write="a list of texts")
    return tuple(emit)
