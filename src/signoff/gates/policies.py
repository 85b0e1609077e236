"""What a gate's options say about who, when and how many, as a policy (floor 6)."""

from __future__ import annotations

from datetime import timedelta

from signoff.errors import ConfigurationError
from signoff.model.policy import Policy, Risk


def gate_policy(
    policy: Policy | None,
    *,
    risk: Risk | None,
    sla: timedelta | None,
    expires_after: timedelta | None,
    valid_for: timedelta | None,
) -> Policy:
    """
    Return the policy of a gate: what its options say, over what its `policy=` says.

    Raises:
        ConfigurationError: The risk is critical.
    """
    own = Policy(risk=risk, sla=sla, expires_after=expires_after, valid_for=valid_for)
    merged = own.over(policy or Policy())
    refuse_critical(merged.risk)
    return merged


def refuse_critical(risk: Risk | None) -> None:
    """Raise `ConfigurationError` for critical risk, which takes a quorum of two."""
    if risk == "critical":
        raise ConfigurationError(
            'risk="critical" takes a quorum of two people, which this version does not have;'
            ' use risk="high"'
        )
