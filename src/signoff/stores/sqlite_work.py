"""
What a `SQLiteStore` knows to be done, held and counted (floor 4).

These queries read partial indexes, or run along an index no further than their limit, so that
what is parked costs them nothing.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from heapq import merge
from itertools import islice, takewhile
from typing import Final, TypeAlias

from signoff.model.changes import Checkpoint, Claim
from signoff.ports import Counts
from signoff.records import instant_of, micros_of
from signoff.stores import sqlite_reads as reads
from signoff.stores.lease_clock import LeaseClock
from signoff.stores.sqlite_writes import lease_of

Places: TypeAlias = Iterator[tuple[int, str]]
"""Ids behind the number that they are ordered by."""

_TO_ADVANCE: Final = (
    "SELECT updated_at, run_id FROM runs INDEXED BY runs_to_advance"
    " WHERE flow_name = :name AND status IN ('ready', 'running')"
    " AND NOT EXISTS (SELECT 1 FROM claims WHERE subject = run_id"
    " AND holder <> '' AND epoch = :epoch AND :seconds < ends)"
    " ORDER BY updated_at, run_id"
)

_CALLED: Final = (
    "SELECT signals.created_at, run_id FROM signals INDEXED BY signals_calling"
    " CROSS JOIN runs USING (run_id)"
    " WHERE consumed = 0 AND kind <> 'late_result'"
    " AND flow_name IN (SELECT value FROM json_each(:names))"
    " AND NOT EXISTS (SELECT 1 FROM claims WHERE subject = run_id"
    " AND holder <> '' AND epoch = :epoch AND :seconds < ends)"
    " ORDER BY signals.created_at, run_id"
)

_UNCLAIMED: Final = (
    "SELECT flow_name, count(*) AS n FROM ("
    "SELECT run_id, flow_name FROM runs INDEXED BY runs_to_advance"
    " WHERE status IN ('ready', 'running')"
    " UNION "
    "SELECT run_id, flow_name FROM signals INDEXED BY signals_calling"
    " CROSS JOIN runs USING (run_id)"
    " WHERE consumed = 0 AND kind <> 'late_result'"
    ") WHERE flow_name NOT IN (SELECT value FROM json_each(:names))"
    " AND NOT EXISTS (SELECT 1 FROM claims WHERE subject = run_id"
    " AND holder <> '' AND epoch = :epoch AND :seconds < ends)"
    " GROUP BY flow_name"
)

_EXPIRED: Final = (
    "SELECT request_id FROM requests INDEXED BY requests_to_expire"
    " WHERE status = 'pending' AND expires_at IS NOT NULL AND expires_at <= :now"
    " ORDER BY expires_at, request_id LIMIT :limit"
)

_DUE: Final = (
    "SELECT not_before, delivery_id FROM deliveries INDEXED BY deliveries_waiting"
    " WHERE status = 'waiting' AND not_before <= :now"
    " ORDER BY not_before, delivery_id"
)

_LOST: Final = (
    "SELECT not_before, delivery_id FROM deliveries INDEXED BY deliveries_sending"
    " WHERE status = 'sending'"
    " AND NOT EXISTS (SELECT 1 FROM claims WHERE subject = delivery_id"
    " AND holder <> '' AND epoch = :epoch AND :seconds < ends)"
    " ORDER BY not_before, delivery_id"
)

_UNSENT: Final = (
    "SELECT notifier, min(created_at) AS oldest FROM deliveries INDEXED BY deliveries_unsent"
    " WHERE status IN ('waiting', 'sending') GROUP BY notifier"
)

_CLAIM: Final = "SELECT * FROM claims WHERE subject = ?"

_HELD_FROM: Final = (
    "SELECT * FROM claims INDEXED BY claims_held WHERE subject >= ? AND holder <> ''"
    " ORDER BY subject"
)

_KIDS: Final = (
    "WITH RECURSIVE found (kid) AS ("
    "SELECT min(kid) FROM {0}"
    " UNION ALL "
    "SELECT (SELECT min(kid) FROM {0} AND kid > found.kid) FROM found WHERE found.kid IS NOT NULL"
    ") SELECT kid FROM found WHERE kid IS NOT NULL"
)
"""The distinct keys in an index, by one look-up for each, however many rows have the same."""

_KIDS_OF_RUNS: Final = _KIDS.format(
    "runs INDEXED BY runs_going WHERE status NOT IN ('completed', 'failed', 'cancelled')"
)

_STILL_NEEDED: Final = {
    _KIDS.format("occurrences INDEXED BY occurrences_by_kid WHERE true"): (
        "SELECT 1 FROM occurrences INDEXED BY occurrences_by_kid CROSS JOIN runs USING (run_id)"
        " WHERE occurrences.kid = :kid AND status NOT IN ('completed', 'failed', 'cancelled')"
    ),
    _KIDS.format("request_kids WHERE true"): (
        "SELECT 1 FROM request_kids CROSS JOIN requests USING (request_id)"
        " LEFT JOIN runs USING (run_id)"
        " WHERE request_kids.kid = :kid AND (requests.status = 'pending'"
        " OR runs.status NOT IN ('completed', 'failed', 'cancelled'))"
    ),
    _KIDS.format("tokens INDEXED BY tokens_by_kid WHERE true"): (
        "SELECT 1 FROM tokens INDEXED BY tokens_by_kid CROSS JOIN requests USING (request_id)"
        " WHERE kid = :kid AND not_after > :now AND status = 'pending'"
    ),
}
"""By the query for all keys of some place: whether anything living there needs one of them."""


def ready(
    connection: sqlite3.Connection, names: Sequence[str], *, limit: int, lease_clock: LeaseClock
) -> list[str]:
    """Return ids of runs that somebody should advance, longest waiting first."""
    held = _at(lease_clock)
    called = _places(connection, _CALLED, {"names": json.dumps([*names]), **held})
    waiting = [
        _places(connection, _TO_ADVANCE, {"name": name, **held}) for name in dict.fromkeys(names)
    ]
    found: dict[str, None] = {}
    for _, run_id in merge(called, *waiting):
        if len(found) == limit:
            break
        found.setdefault(run_id)
    return list(found)


def unclaimed(
    connection: sqlite3.Connection, names: Sequence[str], *, lease_clock: LeaseClock
) -> dict[str, int]:
    """Return how many such runs wait under other names, by name."""
    rows = connection.execute(_UNCLAIMED, {"names": json.dumps([*names]), **_at(lease_clock)})
    return {row["flow_name"]: row["n"] for row in rows}


def expired(connection: sqlite3.Connection, now: datetime, *, limit: int) -> list[str]:
    """Return ids of pending requests with `expires_at <= now`, soonest first."""
    rows = connection.execute(_EXPIRED, {"now": micros_of(now), "limit": limit})
    return [row["request_id"] for row in rows]


def due_deliveries(
    connection: sqlite3.Connection, now: datetime, *, limit: int, lease_clock: LeaseClock
) -> list[str]:
    """Return ids of deliveries to send, soonest first."""
    waiting = _places(connection, _DUE, {"now": micros_of(now)})
    lost = _places(connection, _LOST, _at(lease_clock))
    return [delivery_id for _, delivery_id in islice(merge(waiting, lost), limit)]


def oldest_unsent(connection: sqlite3.Connection) -> dict[str, datetime]:
    """Return, by notifier name, when its oldest delivery that is not done was created."""
    return {row["notifier"]: instant_of(row["oldest"]) for row in connection.execute(_UNSENT)}


def claim(connection: sqlite3.Connection, subject: str, *, lease_clock: LeaseClock) -> Claim | None:
    """Return the claim on a subject, live or not, if there ever was one."""
    row = connection.execute(_CLAIM, (subject,)).fetchone()
    return None if row is None else _claim(row, lease_clock.epoch, now=lease_clock.seconds())


def checkpoint(
    connection: sqlite3.Connection, run_id: str, *, lease_clock: LeaseClock
) -> Checkpoint:
    """Return all that is stored of a run. Raises `NotFoundError`."""
    return Checkpoint(
        claim=claim(connection, run_id, lease_clock=lease_clock),
        run=reads.run(connection, run_id),
        journal=reads.journal(connection, run_id),
        signals=reads.signals(connection, run_id),
    )


def live_claims(
    connection: sqlite3.Connection, prefix: str, *, lease_clock: LeaseClock
) -> list[Claim]:
    """Return the live claims on subjects that begin with `prefix`, by subject."""
    epoch, now = lease_clock.epoch, lease_clock.seconds()
    claims = (_claim(row, epoch, now=now) for row in connection.execute(_HELD_FROM, (prefix,)))
    named = takewhile(lambda claim: claim.subject.startswith(prefix), claims)
    return [claim for claim in named if claim.live]


def kids_in_use(connection: sqlite3.Connection, now: datetime) -> frozenset[int]:
    """Return the ids of keys that something living still needs."""
    found = {row["kid"] for row in connection.execute(_KIDS_OF_RUNS)}
    for occurring, is_needed in _STILL_NEEDED.items():
        kids = {row["kid"] for row in connection.execute(occurring)}
        found |= {
            kid
            for kid in kids - found
            if connection.execute(is_needed, {"kid": kid, "now": micros_of(now)}).fetchone()
        }
    return frozenset(found)


def counts(connection: sqlite3.Connection) -> Counts:
    """Return how many there are."""
    tallies: dict[str, dict[str, int]] = {"request": {}, "run": {}, "delivery": {}}
    for row in connection.execute("SELECT kind, status, n FROM tallies WHERE n > 0"):
        tallies[row["kind"]][row["status"]] = row["n"]
    return Counts(requests=tallies["request"], runs=tallies["run"], deliveries=tallies["delivery"])


def _places(
    connection: sqlite3.Connection, statement: str, values: Mapping[str, str | int | float]
) -> Places:
    return ((row[0], row[1]) for row in connection.execute(statement, values))


def _at(lease_clock: LeaseClock) -> dict[str, str | float]:
    return {"epoch": lease_clock.epoch, "seconds": lease_clock.seconds()}


def _claim(row: sqlite3.Row, epoch: str, *, now: float) -> Claim:
    return lease_of(row, epoch).as_claim(row["subject"], now=now)
