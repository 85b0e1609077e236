"""
Small valid records for tests; every field can be given (floor 9).

They fit together: the run, request, token and delivery that come without arguments belong to
one another.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final, TypeAlias

from signoff.model.audit import AuditEntry
from signoff.model.changes import Acquire, Changes, CheckpointT, Sealed, Signal, SignalKind
from signoff.model.delivery import Delivery
from signoff.model.request import Request
from signoff.model.run import Occurrence, Run
from signoff.model.token import TokenRow
from signoff.model.values import Tree
from signoff.records import encode

NOON: Final = datetime(2026, 3, 2, 12, tzinfo=UTC)
"""When everything happens unless a test says otherwise."""

HOUR: Final = timedelta(hours=1)
MICROSECOND: Final = timedelta(microseconds=1)
ZEROS: Final = bytes(32)
"""The `prev_hash` of a stream's first entry."""


AnyRecord: TypeAlias = Run | Occurrence | Request | TokenRow | Delivery
"""What is stored under an id, with a version."""


def a_run(run_id: str = "run_1", /, **given: object) -> Run:
    """Return version 1 of a ready run, with the fields that are given."""
    fields = {"flow_name": "shop:Order", "created_at": NOON, "updated_at": NOON}
    return Run.model_validate({"run_id": run_id, **fields, **given})


def an_occurrence(seq: int = 1, *, run_id: str = "run_1", **given: object) -> Occurrence:
    """Return version 1 of an occurrence of the step `draft`, with the fields that are given."""
    fields = {"occurrence_id": f"{run_id}.{seq}", "run_id": run_id, "seq": seq, "step": "draft"}
    return Occurrence.model_validate({**fields, **given})


def sealed(record: CheckpointT, *, kid: int = 1, mac: bytes = b"\x01" * 32) -> Sealed[CheckpointT]:
    """Return the record of a checkpoint with its bytes and a MAC that no key has made."""
    return Sealed(record=record, body=encode(record), kid=kid, mac=mac)


def a_request(request_id: str = "req_1", /, **given: object) -> Request:
    """Return version 1 of a pending request of `run_1`, with the fields that are given."""
    payload = '{"amount":9}'
    fields = {
        "kind": "call",
        "run_id": "run_1",
        "flow_name": "shop:pay",
        "method_name": "pay",
        "message": "Pay?",
        "choices": (
            {"label": "approve", "meaning": "approve"},
            {"label": "reject", "meaning": "reject"},
        ),
        "assignees": ("cfo@acme.example",),
        "payload_json": payload,
        "payload_digest": "sha256:" + hashlib.sha256(payload.encode()).hexdigest(),
        "proposed_digest": "sha256:" + hashlib.sha256(payload.encode()).hexdigest(),
        "created_at": NOON,
    }
    return Request.model_validate({"request_id": request_id, **fields, **given})


def a_token(token_id: str = "0123456789abcdef0123456789abcdef", /, **given: object) -> TokenRow:
    """Return version 1 of an unused token of `req_1`, with the fields that are given."""
    fields = {
        "kid": 1,
        "purpose": "email",
        "request_id": "req_1",
        "request_version": 1,
        "payload_digest": "sha256:00",
        "policy_digest": "sha256:01",
        "recipient": "cfo@acme.example",
        "not_after": NOON + 24 * HOUR,
        "created_at": NOON,
    }
    return TokenRow.model_validate({"token_id": token_id, **fields, **given})


def a_delivery(delivery_id: str = "dlv_1", /, **given: object) -> Delivery:
    """Return version 1 of a waiting delivery of `req_1`, with the fields that are given."""
    fields = {
        "kind": "request",
        "request_id": "req_1",
        "recipient": "cfo@acme.example",
        "notifier": "smtp",
        "not_before": NOON,
        "created_at": NOON,
    }
    return Delivery.model_validate({"delivery_id": delivery_id, **fields, **given})


def writing(*records: AnyRecord) -> Changes:
    """Return the commit that writes these records, in their order; checkpoints are `sealed`."""
    return Changes(
        runs=tuple(sealed(one) for one in records if isinstance(one, Run)),
        occurrences=tuple(sealed(one) for one in records if isinstance(one, Occurrence)),
        requests=tuple(one for one in records if isinstance(one, Request)),
        tokens=tuple(one for one in records if isinstance(one, TokenRow)),
        deliveries=tuple(one for one in records if isinstance(one, Delivery)),
    )


def a_signal(
    cause: str = "req_1",
    *,
    run_id: str = "run_1",
    kind: SignalKind = "resolved",
    facts: Mapping[str, Tree] | None = None,
    created_at: datetime = NOON,
) -> Signal:
    """Return a signal to `run_1` that `req_1` was resolved, with the fields that are given."""
    return Signal(run_id=run_id, cause=cause, kind=kind, facts=facts or {}, created_at=created_at)


def an_entry(
    stream: str = "request:req_1",
    *,
    after: AuditEntry | None = None,
    event: str = "request.opened",
    personal: Mapping[str, str] | None = None,
) -> AuditEntry:
    """Return the entry of `stream` that comes after another one, or its first."""
    body = json.dumps({"event": event, "actor": "a test", "at": NOON.isoformat()}).encode()
    prev_hash = after.hash if after else ZEROS
    return AuditEntry(
        stream=stream,
        seq=after.seq + 1 if after else 1,
        prev_hash=prev_hash,
        body=body,
        hash=hashlib.sha256(prev_hash + body).digest(),
        kid=1,
        mac=b"\x02" * 32,
        salt=b"\x03" * 16,
        personal=personal or {},
    )


def an_acquire(
    subject: str = "run_1",
    *,
    holder: str = "ann",
    fencing: int = 1,
    lease: timedelta = HOUR,
) -> Acquire:
    """Return the taking of the first claim on `run_1` for an hour, with the fields that are given."""
    return Acquire(subject=subject, holder=holder, fencing=fencing, lease=lease)
