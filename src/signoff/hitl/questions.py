"""A question without a decorator, drafted for the desk to seal (floor 6)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime

from signoff.ids import new_id
from signoff.model.policy import Policy
from signoff.model.request import Evidence, Request
from signoff.rules.deadlines import deadlines
from signoff.rules.digest import digest
from signoff.rules.outcomes import Meaning, choices
from signoff.rules.routing import assignees_for


def question(
    message: str,
    *,
    payload_json: str,
    emit: Sequence[str],
    meanings: Mapping[str, Meaning] | None,
    assignees: Sequence[str],
    requester: str | None,
    evidence: Sequence[Evidence],
    policy: Policy,
    now: datetime,
) -> Request:
    """
    Return the request that asks a question.

    Raises:
        ConfigurationError: Nobody but the requester could decide.
    """
    risk = policy.risk or "medium"
    times = deadlines(policy, risk=risk, opened_at=now)
    return Request(
        request_id=new_id("req", now),
        kind="question",
        method_name="question",
        message=message,
        choices=choices(tuple(emit), meanings=meanings),
        assignees=assignees_for(
            fixed=assignees, computed=(), policy=policy, risk=risk, requester=requester
        ),
        requester=requester,
        payload_json=payload_json,
        payload_digest=digest(payload_json),
        proposed_digest=digest(payload_json),
        evidence=tuple(evidence),
        risk=risk,
        created_at=now,
        due_at=times.due_at,
        expires_at=times.expires_at,
        valid_for_seconds=times.valid_for.total_seconds(),
        policy=policy,
        policy_digest=digest(json.dumps(policy.model_dump(mode="json"), sort_keys=True)),
    )
