"""Whom to ask, and whom not."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from signoff.errors import ConfigurationError
from signoff.model.policy import Policy, Risk
from signoff.rules.routing import assignees_for

CFO, BOSS, AGENT = "cfo@acme.example", "boss@acme.example", "agent@acme.example"


def asked(
    *,
    fixed: Sequence[str] = (),
    computed: Sequence[str] = (),
    policy: Policy | None = None,
    risk: Risk = "medium",
    requester: str | None = AGENT,
) -> tuple[str, ...]:
    """Return who is asked."""
    return assignees_for(
        fixed=fixed,
        computed=computed,
        policy=policy or Policy(),
        risk=risk,
        requester=requester,
    )


def test_the_computed_come_before_the_fixed_and_those_before_the_policys() -> None:
    """The first that names somebody."""
    policy = Policy(assign_to_email="lead@acme.example")

    assert asked(fixed=[CFO], computed=[BOSS], policy=policy) == (BOSS,)
    assert asked(fixed=[CFO], policy=policy) == (CFO,)
    assert asked(policy=policy) == ("lead@acme.example",)
    assert asked() == ()


def test_addresses_are_cleaned_and_named_once() -> None:
    """Lower case, no blanks, no repetition, in order."""
    assert asked(fixed=[f" {CFO.upper()} ", BOSS, CFO, " "]) == (CFO, BOSS)


@pytest.mark.parametrize("risk", ["high", "critical"])
def test_a_computed_assignee_at_high_risk_needs_a_list(risk: Risk) -> None:
    """An agent could name an accomplice."""
    with pytest.raises(ConfigurationError, match=r"assignable.*'boss@acme.example' could be any"):
        asked(computed=[BOSS], risk=risk)

    assert asked(computed=[BOSS], risk=risk, policy=Policy(assignable=(BOSS.upper(),))) == (BOSS,)


def test_a_computed_assignee_is_within_the_list_at_any_risk() -> None:
    """Where there is one."""
    with pytest.raises(ConfigurationError, match="none of the policy's assignable"):
        asked(computed=[BOSS], risk="low", policy=Policy(assignable=(CFO,)))

    assert asked(computed=[BOSS], risk="medium") == (BOSS,)


def test_a_fixed_assignee_needs_no_list() -> None:
    """The author of the code wrote it."""
    assert asked(fixed=[BOSS], risk="high") == (BOSS,)


def test_the_requester_is_never_a_computed_assignee() -> None:
    """However the name is written."""
    with pytest.raises(ConfigurationError, match="is the requester"):
        asked(computed=[BOSS, AGENT.upper()], policy=Policy(assignable=(AGENT, BOSS)))


def test_the_requester_alone_can_decide_nothing() -> None:
    """With an approver beside them somebody can."""
    with pytest.raises(ConfigurationError, match="only one who could decide"):
        asked(fixed=[AGENT], requester=f" {AGENT.upper()} ")

    policy = Policy(approvers=(BOSS,))
    assert asked(fixed=[AGENT], policy=policy) == (AGENT,)


def test_nobody_asked_and_nobody_asking_is_no_conflict() -> None:
    """A request may be for whoever looks."""
    assert asked(requester=None) == ()
    assert asked(requester="") == ()
