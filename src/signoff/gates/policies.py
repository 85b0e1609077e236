"""What a gate's options say about who, when and how many, as a policy (floor 6)."""

from __future__ import annotations

from datetime import timedelta

from signoff.errors import ConfigurationError
from signoff.model.policy import RISKS, Policy, Risk
from signoff.rules.slips import meant, refuse_bare_numbers, refuse_other_word


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
        ConfigurationError: The risk is critical or none, a duration has no unit, or `policy` is
            not what `refuse_bad_policy` lets pass.
    """
    refuse_bare_numbers(sla=sla, expires_after=expires_after, valid_for=valid_for)
    if risk is not None:
        refuse_other_word("risk", risk, RISKS)
    if policy is not None:
        refuse_bad_policy(policy)
    own = Policy(risk=risk, sla=sla, expires_after=expires_after, valid_for=valid_for)
    merged = own.over(policy or Policy())
    refuse_critical(merged.risk)
    return merged


def refuse_bad_policy(policy: object) -> None:
    """
    Refuse what is no policy, a policy with a misspelt field, and critical risk.

    A stored policy may hold fields of a newer Signoff; one that code has made may not, because
    with a misspelt `approvers=` anybody could decide.

    Raises:
        ConfigurationError: It is one of these.
    """
    if not isinstance(policy, Policy):
        raise ConfigurationError(f"policy={policy!r} is no policy; write policy=Policy(...)")
    known = [name for name in Policy.model_fields if name != "format"]
    for name in policy.model_extra or ():
        raise ConfigurationError(
            f"Policy({name}=...) says nothing: it takes {', '.join(known)}{meant(name, known)}"
        )
    refuse_critical(policy.risk)


def refuse_critical(risk: Risk | None) -> None:
    """Raise `ConfigurationError` for critical risk, which takes a quorum of two."""
    if risk == "critical":
        raise ConfigurationError(
            'risk="critical" takes a quorum of two people, which this version does not have;'
            ' use risk="high"'
        )
