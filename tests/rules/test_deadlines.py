"""When a request is due, expires, and until when what it approved may start."""

from __future__ import annotations

from datetime import timedelta

import pytest

from signoff.model.decision import Resolution
from signoff.model.policy import RISKS, Policy, Risk
from signoff.rules.deadlines import deadlines, has_expired, may_start
from signoff.testing.builders import HOUR, MICROSECOND, NOON, a_request

WEEK = timedelta(days=7)


@pytest.mark.parametrize("risk", RISKS)
def test_without_a_policy_a_request_expires_in_a_week_but_for_critical_risk(risk: Risk) -> None:
    """No SLA; permission to start for a day."""
    times = deadlines(Policy(), risk=risk, opened_at=NOON)

    assert times.due_at is None
    assert times.expires_at == (None if risk == "critical" else NOON + WEEK)
    assert times.valid_for == timedelta(hours=24)


@pytest.mark.parametrize("risk", RISKS)
def test_what_the_policy_sets_holds_at_any_risk(risk: Risk) -> None:
    """Each of the three, counted from the opening."""
    policy = Policy(sla=HOUR, expires_after=2 * HOUR, valid_for=3 * HOUR)
    times = deadlines(policy, risk=risk, opened_at=NOON)

    assert (times.due_at, times.expires_at) == (NOON + HOUR, NOON + 2 * HOUR)
    assert times.valid_for == 3 * HOUR


@pytest.mark.parametrize("field", ["sla", "expires_after", "valid_for"])
@pytest.mark.parametrize("length", [timedelta(0), -MICROSECOND])
def test_a_policy_has_no_time_that_is_none(field: str, length: timedelta) -> None:
    """Nothing is over before it begins."""
    with pytest.raises(ValueError, match="greater than 0 seconds"):
        Policy.model_validate({field: length})
    assert getattr(Policy.model_validate({field: MICROSECOND}), field) == MICROSECOND


@pytest.mark.parametrize(
    ("offset", "expired"), [(-MICROSECOND, False), (timedelta(0), True), (MICROSECOND, True)]
)
def test_at_the_instant_of_expiry_it_is_expired(offset: timedelta, expired: bool) -> None:
    """Up to it an answer counts, and from it on none does."""
    request = a_request(expires_at=NOON + HOUR)

    assert has_expired(request, NOON + HOUR + offset) is expired


def test_a_request_without_expiry_never_expires() -> None:
    """However late it is."""
    assert has_expired(a_request(expires_at=None), NOON + 1000 * WEEK) is False


@pytest.mark.parametrize(
    ("offset", "may"), [(-MICROSECOND, True), (timedelta(0), False), (MICROSECOND, False)]
)
def test_at_the_end_of_its_permission_a_call_may_not_start(offset: timedelta, may: bool) -> None:
    """Up to it, and not at it."""
    end = Resolution(
        status="approved",
        reviewer="ann",
        channel="api",
        resolved_at=NOON,
        payload_digest="",
        valid_until=NOON + HOUR,
    )
    request = a_request(resolution=end)

    assert may_start(request, NOON + HOUR + offset) is may


def test_without_a_resolution_or_its_permission_nothing_may_start() -> None:
    """A pending, an expired and a cancelled request give no leave."""
    end = Resolution(
        status="expired", reviewer="timer", channel="timer", resolved_at=NOON, payload_digest=""
    )

    assert may_start(a_request(), NOON) is False
    assert may_start(a_request(resolution=end), NOON) is False
