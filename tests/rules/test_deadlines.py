"""When a request is due, expires, and lapses."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from signoff.model.decision import Resolution
from signoff.model.policy import Policy, Risk
from signoff.rules.deadlines import deadlines, has_expired, may_start
from signoff.testing.builders import a_request

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
TICK = timedelta(microseconds=1)


@pytest.mark.parametrize("risk", ["low", "medium", "high"])
def test_a_request_expires_after_seven_days_and_has_no_sla(risk: Risk) -> None:
    """Unless something else is set."""
    times = deadlines(Policy(), risk=risk, opened_at=NOON)

    assert times.expires_at == NOON + timedelta(days=7)
    assert times.due_at is None
    assert times.valid_for == timedelta(hours=24)


def test_a_critical_request_has_no_expiry_unless_set() -> None:
    """Nobody may wait it out."""
    assert deadlines(Policy(), risk="critical", opened_at=NOON).expires_at is None

    times = deadlines(Policy(expires_after=timedelta(1)), risk="critical", opened_at=NOON)
    assert times.expires_at == NOON + timedelta(1)


def test_a_policy_sets_all_of_them() -> None:
    """Each from the opening on, but the validity, which runs from the resolution."""
    policy = Policy(
        sla=timedelta(minutes=30), expires_after=timedelta(hours=2), valid_for=timedelta(minutes=5)
    )

    times = deadlines(policy, risk="high", opened_at=NOON)

    assert times.due_at == NOON + timedelta(minutes=30)
    assert times.expires_at == NOON + timedelta(hours=2)
    assert times.valid_for == timedelta(minutes=5)


def test_at_the_very_instant_a_request_has_expired() -> None:
    """And a microsecond before it has not."""
    request = a_request(expires_at=NOON)

    assert not has_expired(request, NOON - TICK)
    assert has_expired(request, NOON)
    assert not has_expired(a_request(expires_at=None), NOON)


def test_permission_to_start_ends_at_its_instant() -> None:
    """Up to it, and not at it; without one there is none."""
    resolution = Resolution(
        status="approved",
        reviewer="x",
        channel="api",
        resolved_at=NOON,
        payload_digest="d",
        valid_until=NOON,
    )
    request = a_request(resolution=resolution)
    unlimited = a_request(resolution=resolution.model_copy(update={"valid_until": None}))

    assert may_start(request, NOON - TICK)
    assert not may_start(request, NOON)
    assert not may_start(unlimited, NOON - TICK)
    assert not may_start(a_request(resolution=None), NOON)
