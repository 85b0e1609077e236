"""Whom to ask (floor 1)."""

from __future__ import annotations

from collections.abc import Sequence

from signoff.errors import ConfigurationError
from signoff.model.policy import Policy, Risk
from signoff.rules.addresses import may_be_one, one_spelling
from signoff.rules.slips import refuse_no_text


def addresses_in(names: Sequence[str]) -> tuple[str, ...]:
    """
    Return addresses in lower case, without spaces around them, each once and none empty.

    Raises:
        ConfigurationError: It is one text, whose letters would be taken for addresses, or holds
            something else than texts.
    """
    if isinstance(names, str):
        raise ConfigurationError(f"{names!r} is one text; write it as [{names!r}]")
    for each in names:
        refuse_no_text("an address", each, write="'ann@acme.example', say")
    return tuple(dict.fromkeys(name for each in names if (name := each.strip().lower())))


def assignees_for(
    *,
    fixed: Sequence[str],
    computed: Sequence[str],
    policy: Policy,
    risk: Risk,
    requester: str | None,
) -> tuple[str, ...]:
    """
    Return who is asked: the computed addresses, else the fixed ones, else the policy's own.

    Args:
        fixed: What the gate's author wrote.
        computed: What came out of the call's arguments or the state, so that an agent may
            have a hand in it.
        policy: The merged policy.
        risk: The request's risk.
        requester: Who started what is asked.

    Raises:
        ConfigurationError: A computed address is not assignable or is the requester, or the
            requester is the only one who could decide, or addresses are given as one text.
    """
    asker = (requester or "").strip().lower()
    for address in addresses_in(computed):
        _check_computed(address, policy=policy, risk=risk, asker=asker)
    chosen = (
        addresses_in(computed)
        or addresses_in(fixed)
        or addresses_in([policy.assign_to_email or ""])
    )
    deciders = (*chosen, *addresses_in(policy.approvers or ()))
    if deciders and all(may_be_one(decider, asker) for decider in deciders):
        raise ConfigurationError(
            f"{asker!r} is both the requester and the only one who could decide, and the"
            " requester never decides; assign somebody else"
        )
    return chosen


def _check_computed(address: str, *, policy: Policy, risk: Risk, asker: str) -> None:
    if may_be_one(address, asker):
        raise ConfigurationError(
            f"the computed assignee {address!r} is the requester, who never decides"
        )
    allowed = addresses_in(policy.assignable or ())
    if not allowed and risk in {"high", "critical"}:
        raise ConfigurationError(
            f"a computed assignee at {risk} risk needs Policy(assignable=[...]);"
            f" {address!r} could be anybody"
        )
    if allowed and one_spelling(address) not in map(one_spelling, allowed):
        raise ConfigurationError(
            f"the computed assignee {address!r} is none of the policy's assignable addresses"
        )
