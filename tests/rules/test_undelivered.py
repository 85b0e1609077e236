"""What follows when a message does not arrive."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from signoff.model.delivery import Delivery
from signoff.model.policy import Policy
from signoff.model.request import Request
from signoff.rules.lifecycle import Notice
from signoff.rules.undelivered import after_mishap, why_unreached
from signoff.testing.builders import a_delivery, a_request

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
ANN, BEN, LEAD = "ann@acme.example", "ben@acme.example", "lead@acme.example"


def pending(*assignees: str, **given: object) -> Request:
    """Return a request that waits for these."""
    return a_request(assignees=assignees, **{"policy": Policy(assign_to_email=LEAD), **given})


def to(recipient: str, number: int = 1, **given: object) -> Delivery:
    """Return a message to somebody."""
    fields = {"kind": "request", "status": "failed", "last_error": f"no {recipient}"}
    return a_delivery(f"dlv_{number}", recipient=recipient, **{**fields, **given})


@pytest.mark.parametrize(
    ("deliveries", "why"),
    [
        ([to(ANN, 1), to(BEN, 2)], f"no {ANN}; no {BEN}"),
        ([to(ANN, 1), to(BEN, 2, status="sent")], ""),
        ([to(ANN, 1), to(BEN, 2, status="waiting")], ""),
        ([to(ANN, 1), to(ANN, 2, status="sending"), to(BEN, 3)], ""),
        (
            [to(ANN, 1), to(BEN, 2), to("former@acme.example", 3, status="sent")],
            f"no {ANN}; no {BEN}",
        ),
        (
            [to(ANN, 1), to(BEN, 2), to(ANN, 3, kind="refusal", status="sent")],
            f"no {ANN}; no {BEN}",
        ),
    ],
)
def test_a_request_reaches_nobody_when_all_that_asks_has_failed(
    deliveries: list[Delivery], why: str
) -> None:
    """Only messages that ask count, and only those to whom is asked now."""
    assert why_unreached(pending(ANN, BEN), deliveries) == why


def test_a_request_of_nobody_in_particular_goes_to_the_empty_address() -> None:
    """As at a terminal; and what the request says itself comes first."""
    assert why_unreached(pending(), [to("", status="sent")]) == ""
    assert why_unreached(pending(), [to("")]) == "no "
    assert why_unreached(pending(undelivered="nobody is assigned"), []) == "nobody is assigned"
    assert why_unreached(pending(ANN, undelivered="well"), [to(ANN)]) == "well"


def test_the_last_message_that_fails_leaves_the_request_undelivered() -> None:
    """The request says why, the audit entry too, and the policy's own assignee is told."""
    request = pending(ANN, BEN)
    now = to(BEN, 2, sent_at=NOON)
    transition = after_mishap(
        request, now, [to(ANN, 1), to(BEN, 2, status="sent")], mishap="failed", status="5.1.1"
    )

    why = f"no {ANN}; no {BEN}"
    assert transition.request == request.model_copy(update={"version": 2, "undelivered": why})
    assert (transition.event, transition.actor) == ("request.undelivered", "signoff")
    assert transition.facts == {
        "delivery": "dlv_2",
        "notifier": now.notifier,
        "mishap": "failed",
        "status": "5.1.1",
        "came_back": True,
    }
    assert transition.personal == {"recipient": BEN, "detail": f"no {BEN}"}
    assert transition.notices == (Notice(kind="undelivered", recipient=LEAD, note={"reason": why}),)
    assert (transition.ended, transition.revokes, transition.asks) == (False, False, ())


@pytest.mark.parametrize(
    ("request_", "others"),
    [
        (pending(ANN, BEN), [to(BEN, 2, status="sent")]),
        (pending(ANN, status="approved"), []),
        (pending(ANN, undelivered="said before"), []),
    ],
    ids=["another was reached", "decided by now", "told before"],
)
def test_any_other_message_that_fails_is_noted_only(
    request_: Request, others: list[Delivery]
) -> None:
    """Nobody is told, and the request says what it said."""
    failed = to(ANN)
    transition = after_mishap(
        request_, failed, [to(ANN, status="sent"), *others], mishap="failed", status=""
    )

    assert transition.event == "request.delivery_failed"
    assert transition.request == request_.model_copy(update={"version": 2})
    assert transition.facts["came_back"] is False
    assert transition.notices == ()


def test_a_delay_is_noted_only() -> None:
    """The message may still arrive."""
    late = to(ANN, status="sent", sent_at=NOON)
    transition = after_mishap(
        pending(ANN), late, [to(ANN, status="sent")], mishap="delayed", status="4.4.1"
    )

    assert transition.event == "request.delivery_delayed"
    assert transition.facts["mishap"] == "delayed"
    assert (transition.request.undelivered, transition.notices) == ("", ())


@pytest.mark.parametrize("other", [None, "", " ", ANN, " Ann@Acme.Example "])
def test_whom_the_policy_names_is_not_told_where_that_helps_nobody(other: str | None) -> None:
    """Nobody is named, or the very one who could not be reached."""
    request = pending(ANN, policy=Policy(assign_to_email=other))
    transition = after_mishap(request, to(ANN), [to(ANN)], mishap="failed", status="")

    assert transition.event == "request.undelivered"
    assert transition.notices == ()


def test_the_notice_goes_to_the_address_in_lower_case() -> None:
    """As all addresses are stored."""
    request = pending(ANN, policy=Policy(assign_to_email=" Lead@Acme.Example "))
    (notice,) = after_mishap(request, to(ANN), [to(ANN)], mishap="failed", status="").notices

    assert notice.recipient == LEAD
