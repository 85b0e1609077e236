"""Whom a request is put to."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from signoff.errors import ConfigurationError
from signoff.model.policy import RISKS, Policy, Risk
from signoff.rules.routing import addresses_in, assignees_for

ANN, BOB = "ann@acme.example", "bob@acme.example"


def asked(
    *,
    fixed: Sequence[str] = (),
    computed: Sequence[str] = (),
    policy: Policy | None = None,
    risk: Risk = "medium",
    requester: str | None = None,
) -> tuple[str, ...]:
    """Return who is asked."""
    return assignees_for(
        fixed=fixed,
        computed=computed,
        policy=policy or Policy(),
        risk=risk,
        requester=requester,
    )


def test_computed_addresses_come_before_fixed_ones_and_those_before_the_policys() -> None:
    """The first that names anybody counts; the others are not asked as well."""
    policy = Policy(assign_to_email=" Policy@Acme.example ")

    assert asked(computed=[ANN], fixed=[BOB], policy=policy) == (ANN,)
    assert asked(fixed=[BOB], policy=policy) == (BOB,)
    assert asked(policy=policy) == ("policy@acme.example",)
    assert asked() == ()


def test_addresses_are_lower_case_and_each_one_once() -> None:
    """In the order given, and without empty ones."""
    assert addresses_in([" Bob@acme.example", "", ANN, "  ", "bob@ACME.example"]) == (BOB, ANN)
    with pytest.raises(ConfigurationError, match=r"'a@b' is one text; write it as \['a@b'\]"):
        addresses_in("a@b")
    said = "^an address=7 is no text; write 'ann@acme.example', say$"
    with pytest.raises(ConfigurationError, match=said):
        addresses_in([ANN, 7])  # type: ignore[list-item]  # what a type checker would show


@pytest.mark.parametrize("risk", RISKS)
def test_a_computed_address_needs_a_list_at_high_risk(risk: Risk) -> None:
    """Below that anybody will do, because no wrong yes does much harm."""
    if risk in {"high", "critical"}:
        with pytest.raises(ConfigurationError, match=f"at {risk} risk needs Policy.assignable"):
            asked(computed=[ANN], risk=risk)
    else:
        assert asked(computed=[ANN], risk=risk) == (ANN,)


@pytest.mark.parametrize("risk", RISKS)
def test_a_computed_address_is_one_of_the_list(risk: Risk) -> None:
    """At any risk, once there is a list; each of several."""
    policy = Policy(assignable=(" Ann@Acme.example",))

    assert asked(computed=[ANN], policy=policy, risk=risk) == (ANN,)
    with pytest.raises(ConfigurationError, match="none of the policy's assignable addresses"):
        asked(computed=[ANN, BOB], policy=policy, risk=risk)


@pytest.mark.parametrize("risk", RISKS)
def test_a_fixed_address_needs_no_list(risk: Risk) -> None:
    """The developer wrote it, and no argument of an agent has a part in it."""
    policy = Policy(assignable=(BOB,), assign_to_email=ANN)

    assert asked(fixed=[ANN], policy=policy, risk=risk) == (ANN,)
    assert asked(policy=policy, risk=risk) == (ANN,)


def test_a_computed_address_is_never_the_requester() -> None:
    """Not even one of several, nor within the list, nor written in another way."""
    policy = Policy(assignable=(ANN, BOB))
    with pytest.raises(ConfigurationError, match="is the requester, who never decides"):
        asked(computed=[BOB, ANN], policy=policy, requester=" ANN@acme.example")


def test_a_requester_who_is_the_only_one_is_refused_at_once() -> None:
    """Else the request could never be decided."""
    with pytest.raises(ConfigurationError, match="both the requester and the only one"):
        asked(fixed=[ANN], requester="Ann@acme.example ")
    with pytest.raises(ConfigurationError, match="both the requester and the only one"):
        asked(policy=Policy(assign_to_email=ANN, approvers=(ANN,)), requester=ANN)


def test_a_requester_beside_others_may_stay_assigned() -> None:
    """The others decide; and nobody at all means everybody else."""
    assert asked(fixed=[ANN, BOB], requester=ANN) == (ANN, BOB)
    assert asked(fixed=[ANN], policy=Policy(approvers=(BOB,)), requester=ANN) == (ANN,)
    assert asked(requester=ANN) == ()
    assert asked(fixed=[ANN], requester=None) == (ANN,)


def test_a_requester_who_could_only_ask_themselves_is_told() -> None:
    """Whole, because a person has to understand it."""
    with pytest.raises(ConfigurationError) as refused:
        asked(fixed=[ANN], requester=ANN)

    assert str(refused.value) == (
        f"{ANN!r} is both the requester and the only one who could decide, and the"
        " requester never decides; assign somebody else"
    )


@pytest.mark.parametrize("address", [ANN, "xxxx"])
def test_without_a_requester_anybody_may_be_asked(address: str) -> None:
    """Whatever the address is."""
    assert asked(computed=[address]) == (address,)


def test_an_address_is_the_same_in_every_spelling() -> None:
    """For the list of those who may be asked, and for the requester, who never is."""
    spelled, ascii_spelling = "ann@b\u00fccher.example", "ann@xn--bcher-kva.example"

    assert asked(computed=[spelled], policy=Policy(assignable=(ascii_spelling,))) == (spelled,)
    with pytest.raises(ConfigurationError, match="is the requester, who never decides"):
        asked(computed=[spelled], requester=ascii_spelling)
    with pytest.raises(ConfigurationError, match="the only one who could decide"):
        asked(fixed=[spelled], policy=Policy(approvers=(ascii_spelling,)), requester=ascii_spelling)
    assert asked(fixed=[spelled, BOB], requester=ascii_spelling) == (spelled, BOB)
