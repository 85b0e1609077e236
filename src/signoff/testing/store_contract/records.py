"""The five kinds of versioned records, as the store contract writes and reads them (floor 9)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final

from signoff.model.run import Occurrence, Run
from signoff.model.token import TokenRow
from signoff.model.values import Tree
from signoff.ports import Store
from signoff.testing.builders import (
    MICROSECOND,
    NOON,
    AnyRecord,
    a_delivery,
    a_request,
    a_run,
    a_token,
    an_occurrence,
)

EARLIEST: Final = datetime.min.replace(tzinfo=UTC)
LATEST: Final = datetime.max.replace(tzinfo=UTC)
BEFORE_1970: Final = datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)

TREE: Final[Tree] = {
    "": [None, True, False, 1, 1.0, 0, -0.0, 0.1, 5e-324, 1.7976931348623157e308],
    "big": [2**63, -(2**63) - 1, 2**2047],
    "$": {"$": "decimal", "v": "1.50"},
    "deep": [[[[[[[[{"a": {"b": {"c": []}}}]]]]]]]],
}
"""JSON that a careless encoder would change."""

TEXTS: Final[Mapping[str, str]] = {
    "empty": "",
    "of other scripts": "Überweisung ✓ 漢字 \U0001d54a e\u0301 \u202e",
    "of controls": "\x00\x01\x1f\x7f\x80\r\n\t\u2028\ufeff",
    "of code": '\'); DROP TABLE runs; -- \\u0000 {"$": 1} %s %_ NaN',
    "long": "0123456789" * 100_000,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """
    One kind of record.

    Attributes:
        make: Builds one, with the fields that are given.
        read: Reads it from a store.
        corners: Values for its odd corners, with a text in each free-text field.
    """

    make: Callable[..., AnyRecord]
    read: Callable[[Store], Awaitable[AnyRecord]]
    corners: Callable[[str], dict[str, object]]


async def _run(store: Store) -> Run:
    return (await store.run("run_1")).record


async def _occurrence(store: Store) -> Occurrence:
    (found,) = await store.journal("run_1")
    return found.record


async def _token(store: Store) -> TokenRow:
    found = await store.token("tok_1")
    assert found is not None
    return found


def _run_corners(text: str) -> dict[str, object]:
    return {
        "kind": "call",
        "flow_name": "läden:Kauf.<locals>'s",
        "status": "failed",
        "blocked_reason": "in_doubt",
        "blocked_detail": text,
        "requester": text,
        "key": "inv 17' ü",
        "state": {"tree": TREE, text: text},
        "parts": {text: {"": text}},
        "next_seq": 2**40,
        "failure": {"type_name": "builtins:ValueError", "message": text, "arguments": TREE},
        "created_at": EARLIEST,
        "updated_at": LATEST,
        "audit": {"seq": 2**53 + 1, "hash": "ff"},
    }


def _occurrence_corners(text: str) -> dict[str, object]:
    return {
        "step": text,
        "causes": ({"trigger": text, "occurrence_id": ""}, {"trigger": "", "occurrence_id": text}),
        "output": TREE,
        "label": text,
        "calls": (
            {"kind": "gate", "name": text, "digest": text, "nth": 3, "result": TREE},
            {
                "kind": "once",
                "name": "",
                "digest": "",
                "failure": {"type_name": "", "message": text},
            },
        ),
    }


def _request_corners(text: str) -> dict[str, object]:
    vote = {
        "label": text,
        "feedback": text,
        "reviewer": text,
        "channel": "email",
        "proof": "sender",
        "decided_at": NOON + MICROSECOND,
        "payload_digest": text,
        "edited": True,
        "seal": {"kid": 9, "tags": {text: text}, "whole": text},
    }
    end = {
        "status": "approved",
        "reviewer": text,
        "channel": "email",
        "resolved_at": LATEST,
        "payload_digest": text,
        "valid_until": EARLIEST,
    }
    comment = {"author": text, "text": text, "channel": "web", "written_at": BEFORE_1970}
    return {
        "message": text,
        "choices": ({"label": text, "meaning": "neutral", "aliases": (text, "")},),
        "default_outcome": text,
        "assignees": ("cfo@acme.example", "müller'%_@acme.example"),
        "payload_json": text,
        "confidence": 0.1 + 0.2,
        "evidence": ({"label": text, "value": text, "tone": "red"},),
        "metadata": {"tree": TREE, text: text},
        "risk": "critical",
        "decisions": (vote, vote),
        "comments": (comment,),
        "resolution": end,
        "created_at": BEFORE_1970,
        "due_at": EARLIEST,
        "expires_at": LATEST,
        "valid_for_seconds": 1e-9,
        "policy": {"name": text, "sla": timedelta.max, "expires_after": timedelta(microseconds=1)},
        "identity": {"occurrence_id": text, "gate": text, "digest": text, "nth": 2**40},
        "seal": {"kid": 7, "tags": {"message": "00"}, "whole": ""},
    }


def _token_corners(text: str) -> dict[str, object]:
    return {
        "kid": 255,
        "purpose": "link",
        "request_version": 2**40,
        "payload_digest": text,
        "recipient": text,
        "labels": (text, ""),
        "not_after": LATEST,
        "created_at": EARLIEST,
        "used_at": BEFORE_1970,
        "revoked_at": NOON + MICROSECOND,
    }


def _delivery_corners(text: str) -> dict[str, object]:
    return {
        "kind": "refusal",
        "recipient": text,
        "notifier": "smtp ü'",
        "note": {"tree": TREE, text: text},
        "status": "failed",
        "attempts": 2**40,
        "not_before": LATEST,
        "last_error": text,
        "created_at": EARLIEST,
        "sent_at": BEFORE_1970,
        "message_id": text,
    }


RECORDS: Final[Mapping[str, Kind]] = {
    "run_1": Kind(make=a_run, read=_run, corners=_run_corners),
    "run_1.1": Kind(make=an_occurrence, read=_occurrence, corners=_occurrence_corners),
    "req_1": Kind(
        make=a_request, read=lambda store: store.request("req_1"), corners=_request_corners
    ),
    "tok_1": Kind(make=partial(a_token, "tok_1"), read=_token, corners=_token_corners),
    "dlv_1": Kind(
        make=a_delivery, read=lambda store: store.delivery("dlv_1"), corners=_delivery_corners
    ),
}
"""The kinds of records, by the id of the one that each of them makes."""
