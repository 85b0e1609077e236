"""Who may decide, and through which channel: one table for all of them."""

from __future__ import annotations

import itertools
from typing import get_args

import pytest

from signoff.model.decision import Channel, Proof
from signoff.model.policy import RISKS, Policy, Risk
from signoff.model.request import Request
from signoff.rules.authority import eligible, highest_risk, needs_a_name, objection, reaches
from signoff.testing.builders import a_request

CHANNELS: tuple[Channel, ...] = get_args(Channel)
PROOFS: tuple[Proof, ...] = get_args(Proof)
CFO, BOSS, AGENT = "cfo@acme.example", "boss@acme.example", "agent@acme.example"


def request(
    risk: Risk = "medium",
    *,
    assignees: tuple[str, ...] = (CFO,),
    approvers: tuple[str, ...] | None = None,
    requester: str | None = AGENT,
) -> Request:
    """Return a request that may be asked of somebody."""
    return a_request(
        risk=risk, assignees=assignees, requester=requester, policy=Policy(approvers=approvers)
    )


@pytest.mark.parametrize(("channel", "proof"), list(itertools.product(CHANNELS, PROOFS)))
def test_a_channel_reaches_as_far_as_its_proof(channel: Channel, proof: Proof) -> None:
    """A login decides any risk, a vouched mail up to high, a claimed sender up to medium."""
    login = channel in {"api", "web", "console"}
    expected = {
        "none": None,
        "sender": "medium",
        "authenticated": "critical" if login else "high",
    }

    assert highest_risk(channel, proof) == expected[proof]


@pytest.mark.parametrize(("risk", "ceiling"), list(itertools.product(RISKS, (None, *RISKS))))
def test_a_ceiling_holds_what_is_not_above_it(risk: Risk, ceiling: Risk | None) -> None:
    """At it or below."""
    order = ("low", "medium", "high", "critical")
    expected = ceiling is not None and order.index(risk) <= order.index(ceiling)

    assert reaches(risk, ceiling) is expected


@pytest.mark.parametrize(
    ("risk", "assignees", "named"),
    [
        ("low", (), False),
        ("medium", (), False),
        ("high", (), True),
        ("critical", (), True),
        ("low", (CFO,), True),
    ],
)
def test_nobody_decides_only_what_nobody_is_asked_and_costs_little(
    risk: Risk, assignees: tuple[str, ...], *, named: bool
) -> None:
    """With an assignee, or at high risk, the answer needs a name."""
    asked = request(risk, assignees=assignees)

    assert needs_a_name(asked) is named
    reason = objection(asked, reviewer=None, channel="api", proof="none")
    assert (reason is not None) is named
    assert reason is None or "named reviewer" in reason


def test_assignees_and_approvers_are_eligible_and_nobody_else() -> None:
    """Both lists count."""
    asked = request(approvers=(BOSS,))

    assert eligible(asked) == {CFO, BOSS}
    for reviewer in (CFO, BOSS):
        assert objection(asked, reviewer=reviewer, channel="api", proof="authenticated") is None
    reason = objection(asked, reviewer="x@acme.example", channel="api", proof="authenticated")
    assert reason == "is neither an assignee nor an approver"


def test_without_assignees_anybody_but_the_requester_is_eligible() -> None:
    """There is no seat to hold."""
    asked = request(assignees=())

    assert eligible(asked) == frozenset()
    assert objection(asked, reviewer=CFO, channel="api", proof="authenticated") is None
    reason = objection(asked, reviewer=AGENT, channel="api", proof="authenticated")
    assert reason == "the requester never decides"


@pytest.mark.parametrize("requester", [CFO, CFO.upper(), f" {CFO} "])
def test_the_requester_never_decides_even_as_the_assignee(requester: str) -> None:
    """However their name is written."""
    asked = request(requester=requester)

    reason = objection(asked, reviewer=CFO, channel="web", proof="authenticated")

    assert reason == "the requester never decides"


def test_a_request_without_a_requester_excludes_nobody() -> None:
    """Nobody started it."""
    asked = request(requester=None)

    assert objection(asked, reviewer=CFO, channel="api", proof="authenticated") is None


@pytest.mark.parametrize(
    ("risk", "channel", "proof"), list(itertools.product(RISKS, CHANNELS, PROOFS))
)
def test_an_eligible_reviewer_decides_up_to_what_the_channel_reaches(
    risk: Risk, channel: Channel, proof: Proof
) -> None:
    """The reason names channel, proof and risk."""
    reason = objection(request(risk), reviewer=CFO, channel=channel, proof=proof)

    if reaches(risk, highest_risk(channel, proof)):
        assert reason is None
    else:
        assert reason == f"an answer by {channel} ({proof}) may not decide a request of {risk} risk"
