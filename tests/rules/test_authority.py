"""Who may decide what, by which channel: the whole table."""

from __future__ import annotations

from itertools import product
from typing import get_args

import pytest

from signoff.model.decision import Channel, Proof
from signoff.model.policy import RISKS, Policy, Risk
from signoff.model.request import Request
from signoff.rules.authority import eligible, highest_risk, needs_a_name, objection, reaches
from signoff.testing.builders import a_request

CHANNELS: tuple[Channel, ...] = get_args(Channel)
PROOFS: tuple[Proof, ...] = get_args(Proof)

# The highest risk by channel and proof, written out: - is none at all.
TABLE = """
            none  sender  authenticated
email       -     medium  high
web         -     medium  critical
api         -     medium  critical
callback    -     medium  high
chat        -     medium  high
console     -     medium  critical
timer       -     medium  high
"""


def table() -> dict[tuple[str, str], str]:
    """Return the table by channel and proof."""
    head, *rows = [line.split() for line in TABLE.strip().splitlines()]
    return {
        (row[0], proof): risk for row in rows for proof, risk in zip(head, row[1:], strict=True)
    }


def test_the_table_is_complete() -> None:
    """Every channel and every proof is in it."""
    assert set(table()) == set(product(CHANNELS, PROOFS))


@pytest.mark.parametrize(("channel", "proof"), list(product(CHANNELS, PROOFS)))
def test_the_highest_risk_is_as_the_table_says(channel: Channel, proof: Proof) -> None:
    """A login or a named caller decides any risk, a mail up to high, an address up to medium."""
    assert (highest_risk(channel, proof) or "-") == table()[channel, proof]


@pytest.mark.parametrize(("risk", "ceiling"), list(product(RISKS, (None, *RISKS))))
def test_a_ceiling_reaches_up_to_itself(risk: Risk, ceiling: Risk | None) -> None:
    """Risks below and at it are reached; none reaches nothing."""
    expected = ceiling is not None and RISKS.index(risk) <= RISKS.index(ceiling)

    assert reaches(risk, ceiling) is expected


def asked_of(who: str, risk: Risk) -> Request:
    """Return a request of this risk that is put to nobody, an assignee, or approvers."""
    return a_request(
        risk=risk,
        requester=" Agent-7",
        assignees=("ann@acme.example",) if who in {"assignee", "both"} else (),
        policy=Policy(approvers=("bob@acme.example",) if who in {"approver", "both"} else None),
    )


REVIEWERS = {
    "nobody": None,
    "the requester": "agent-7",
    "the assignee": "ann@acme.example",
    "the approver": "bob@acme.example",
    "a stranger": "eve@acme.example",
}


def expected_objection(
    who: str, risk: Risk, reviewer: str, channel: Channel, proof: Proof
) -> str | None:
    """Return the first reason against an answer, in the words of the rules."""
    seats = {"assignee": {"the assignee"}, "approver": {"the approver"}}.get(who, set())
    seats = {"the assignee", "the approver"} if who == "both" else seats
    if reviewer == "nobody":
        if who in {"assignee", "both"} or risk in {"high", "critical"}:
            return "it takes a named reviewer; pass reviewer= or set the client's reviewer"
        return None
    if reviewer == "the requester":
        return "the requester never decides"
    if seats and reviewer not in seats:
        return "is neither an assignee nor an approver"
    ceiling = table()[channel, proof]
    if ceiling == "-" or RISKS.index(risk) > [*RISKS].index(ceiling):  # type: ignore[arg-type]  # one of them
        return f"an answer by {channel} ({proof}) may not decide a request of {risk} risk"
    return None


@pytest.mark.parametrize("who", ["nobody", "assignee", "approver", "both"])
@pytest.mark.parametrize("risk", RISKS)
@pytest.mark.parametrize("reviewer", REVIEWERS)
def test_every_answer_is_allowed_or_not_as_written(who: str, risk: Risk, reviewer: str) -> None:
    """Risk, channel, proof, whom it was put to and who answers: all of them."""
    request = asked_of(who, risk)
    for channel, proof in product(CHANNELS, PROOFS):
        found = objection(request, reviewer=REVIEWERS[reviewer], channel=channel, proof=proof)

        assert found == expected_objection(who, risk, reviewer, channel, proof), (channel, proof)


def test_an_answer_without_a_name_is_for_requests_to_nobody_of_low_risk() -> None:
    """Assignees, or high and critical risk, take a name; approvers alone do not."""
    named = {
        (who, risk): needs_a_name(asked_of(who, risk))
        for who in ("nobody", "assignee", "approver")
        for risk in RISKS
    }

    assert {pair for pair, needs in named.items() if not needs} == {
        ("nobody", "low"),
        ("nobody", "medium"),
        ("approver", "low"),
        ("approver", "medium"),
    }


def test_assignees_and_approvers_are_eligible() -> None:
    """Nobody else is, and an empty set means everybody but the requester."""
    assert eligible(asked_of("both", "low")) == {"ann@acme.example", "bob@acme.example"}
    assert eligible(asked_of("nobody", "low")) == frozenset()


@pytest.mark.parametrize(
    "reviewer", ["ann@xn--bcher-kva.example", "Ann@B\u00fccher.example", "ann@bu\u0308cher.example"]
)
def test_a_person_is_the_same_in_every_spelling(reviewer: str) -> None:
    """The requester decides in none, and an assignee and an approver in each."""
    spelled = "ann@b\u00fccher.example"
    asked = a_request(requester=spelled, assignees=(spelled,))
    assigned = a_request(requester="agent-7", assignees=(spelled,))
    approving = a_request(requester="agent-7", policy=Policy(approvers=(spelled,)))

    found = [
        objection(one, reviewer=reviewer, channel="api", proof="authenticated")
        for one in (asked, assigned, approving)
    ]

    assert found == ["the requester never decides", None, None]
