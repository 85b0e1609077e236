"""
What a `PostgresStore` knows to be done, held and counted (floor 4).

These queries read partial indexes, or run along an index no further than their limit, so that
what is parked costs them nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from psycopg.rows import DictRow

from signoff.errors import NotFoundError
from signoff.model.changes import Checkpoint, Claim
from signoff.model.run import Occurrence, Run
from signoff.ports import Counts
from signoff.records import instant_of
from signoff.stores import postgres_reads as reads
from signoff.stores.postgres_pool import Query, Session

_IS_FREE: Final = (
    "NOT EXISTS (SELECT FROM {schema}.claims"
    " WHERE subject = run_id AND holder <> '' AND statement_timestamp() < ends)"
)

_READY: Final = Query(
    "SELECT ARRAY("  # noqa: S608 - constants of ours
    "SELECT run_id FROM ("
    "SELECT waiting.at, waiting.run_id FROM unnest(%(names)s::text[]) AS name"
    " CROSS JOIN LATERAL ("
    "SELECT updated_at AS at, run_id FROM {schema}.runs"
    " WHERE flow_name = name AND status IN ('ready', 'running')"
    f" AND {_IS_FREE}"
    " ORDER BY updated_at, run_id LIMIT %(limit)s) AS waiting"
    " UNION ALL "
    "SELECT signals.created_at, run_id FROM {schema}.signals JOIN {schema}.runs USING (run_id)"
    " WHERE NOT consumed AND kind <> 'late_result' AND flow_name = ANY (%(names)s)"
    f" AND {_IS_FREE}"
    ") AS calls GROUP BY run_id ORDER BY min(at), run_id LIMIT %(limit)s"
    ") AS run_ids, {clock}"
)

_UNCLAIMED: Final = Query(
    "SELECT flow_name, count(*) AS n FROM ("  # noqa: S608 - constants of ours
    "SELECT run_id, flow_name FROM {schema}.runs WHERE status IN ('ready', 'running')"
    " UNION "
    "SELECT run_id, flow_name FROM {schema}.signals JOIN {schema}.runs USING (run_id)"
    " WHERE NOT consumed AND kind <> 'late_result'"
    ") AS calls WHERE flow_name <> ALL (%(names)s)"
    f" AND {_IS_FREE} GROUP BY flow_name"
)

_EXPIRED: Final = Query(
    "SELECT request_id FROM {schema}.requests"
    " WHERE status = 'pending' AND expires_at IS NOT NULL AND expires_at <= %(now)s"
    " ORDER BY expires_at, request_id LIMIT %(limit)s"
)

_DUE: Final = Query(
    "SELECT delivery_id FROM ("
    "(SELECT not_before, delivery_id FROM {schema}.deliveries"
    " WHERE status = 'waiting' AND not_before <= %(now)s"
    " ORDER BY not_before, delivery_id LIMIT %(limit)s)"
    " UNION ALL "
    "(SELECT not_before, delivery_id FROM {schema}.deliveries WHERE status = 'sending'"
    " AND NOT EXISTS (SELECT FROM {schema}.claims"
    " WHERE subject = delivery_id AND holder <> '' AND statement_timestamp() < ends)"
    " ORDER BY not_before, delivery_id LIMIT %(limit)s)"
    ") AS due ORDER BY not_before, delivery_id LIMIT %(limit)s"
)

_UNSENT: Final = Query(
    "SELECT notifier, min(created_at) AS oldest FROM {schema}.deliveries"
    " WHERE status IN ('waiting', 'sending') GROUP BY notifier"
)

_CLAIM: Final = Query(
    "SELECT subject, holder, fencing, holder <> '' AND statement_timestamp() < ends AS live,"
    " {clock} FROM {schema}.claims WHERE subject = %(subject)s"
)

_OF_OCCURRENCE: Final = ("occurrence_id", "version", "run_id", "seq", "kid", "mac", "body")
_OF_SIGNAL: Final = ("seq", "run_id", "cause", "kind", "created_at", "facts")


def _gathered(names: Sequence[str], *, part: str) -> str:
    """Return columns that hold those of many rows, each as an array."""
    return ", ".join(f"array_agg({name}) AS {part}{name}" for name in names)


_CHECKPOINT: Final = Query(
    "SELECT runs.*, journal.*, told.*, holder, fencing,"  # noqa: S608 - constants of ours
    " holder <> '' AND statement_timestamp() < ends AS live, {clock}"
    " FROM {schema}.runs LEFT JOIN {schema}.claims ON subject = run_id"
    f" CROSS JOIN LATERAL (SELECT {_gathered(_OF_OCCURRENCE, part='journal_')}"
    " FROM {schema}.occurrences AS one WHERE one.run_id = runs.run_id) AS journal"
    f" CROSS JOIN LATERAL (SELECT {_gathered(_OF_SIGNAL, part='told_')}"
    " FROM {schema}.signals AS one WHERE one.run_id = runs.run_id AND NOT consumed) AS told"
    " WHERE runs.run_id = %(id)s"
)
"""A run with all that belongs to it, in one row and as of one moment."""

_LIVE: Final = Query(
    "SELECT subject, holder, fencing, true AS live FROM {schema}.claims"
    " WHERE holder <> '' AND statement_timestamp() < ends"
    " AND subject >= %(prefix)s AND starts_with(subject, %(prefix)s) ORDER BY subject"
)

_DISTINCT: Final = (
    "WITH RECURSIVE found (kid) AS ("
    "(SELECT kid FROM <> ORDER BY kid LIMIT 1)"
    " UNION ALL "
    "SELECT (SELECT kid FROM <> AND kid > found.kid ORDER BY kid LIMIT 1)"
    " FROM found WHERE found.kid IS NOT NULL"
    ") SELECT kid FROM found WHERE kid IS NOT NULL"
)
"""The distinct keys in an index, by one look-up for each, however many rows have the same."""

_GOING: Final = "status NOT IN ('completed', 'failed', 'cancelled')"

_OF_RUNS: Final = _DISTINCT.replace("<>", "{schema}.runs WHERE " + _GOING)
_OF_OCCURRENCES: Final = _DISTINCT.replace("<>", "{schema}.occurrences WHERE true")
_OF_REQUESTS: Final = _DISTINCT.replace("<>", "{schema}.request_kids WHERE true")
_OF_TOKENS: Final = _DISTINCT.replace("<>", "{schema}.tokens WHERE true")

_KIDS: Final = Query(
    f"SELECT kid FROM ({_OF_RUNS}) AS used"  # noqa: S608 - constants of ours
    " UNION "
    f"SELECT kid FROM ({_OF_OCCURRENCES}) AS used WHERE EXISTS ("
    "SELECT FROM {schema}.occurrences JOIN {schema}.runs USING (run_id)"
    f" WHERE occurrences.kid = used.kid AND {_GOING})"
    " UNION "
    f"SELECT kid FROM ({_OF_REQUESTS}) AS used WHERE EXISTS ("
    "SELECT FROM {schema}.request_kids AS sealed"
    " JOIN {schema}.requests USING (request_id) LEFT JOIN {schema}.runs USING (run_id)"
    f" WHERE sealed.kid = used.kid AND (requests.status = 'pending' OR runs.{_GOING}))"
    " UNION "
    f"SELECT kid FROM ({_OF_TOKENS}) AS used WHERE EXISTS ("
    "SELECT FROM {schema}.tokens JOIN {schema}.requests USING (request_id)"
    " WHERE tokens.kid = used.kid AND not_after > %(now)s AND status = 'pending')"
)

_COUNTS: Final = Query(
    "SELECT kind, status, sum(n)::bigint AS n FROM {schema}.tallies"
    " GROUP BY kind, status HAVING sum(n) > 0"
)


def ready(session: Session, names: Sequence[str], *, limit: int) -> list[str]:
    """Return ids of runs that somebody should advance, longest waiting first."""
    values = {"names": list(dict.fromkeys(names)), "limit": limit}
    ids: list[str] = session.all(_READY, values)[0]["run_ids"]
    return ids


def unclaimed(session: Session, names: Sequence[str]) -> dict[str, int]:
    """Return how many such runs wait under other names, by name."""
    rows = session.all(_UNCLAIMED, {"names": list(names)})
    return {row["flow_name"]: row["n"] for row in rows}


def expired(session: Session, now: datetime, *, limit: int) -> list[str]:
    """Return ids of pending requests with `expires_at <= now`, soonest first."""
    rows = session.all(_EXPIRED, {"now": now, "limit": limit})
    return [row["request_id"] for row in rows]


def due_deliveries(session: Session, now: datetime, *, limit: int) -> list[str]:
    """Return ids of deliveries to send, soonest first."""
    rows = session.all(_DUE, {"now": now, "limit": limit})
    return [row["delivery_id"] for row in rows]


def oldest_unsent(session: Session) -> dict[str, datetime]:
    """Return, by notifier name, when its oldest delivery that is not done was created."""
    return {row["notifier"]: instant_of(row["oldest"]) for row in session.all(_UNSENT)}


def claim(session: Session, subject: str) -> Claim | None:
    """Return the claim on a subject, live or not, if there ever was one."""
    row = session.first(_CLAIM, {"subject": subject})
    return None if row is None else _claim(row)


def checkpoint(session: Session, run_id: str) -> Checkpoint:
    """Return all that is stored of a run. Raises `NotFoundError`."""
    row = session.first(_CHECKPOINT, {"id": run_id})
    if row is None:
        raise NotFoundError("run", run_id)
    journal = sorted(_rows_in(row, "journal_"), key=lambda one: (one["seq"], one["occurrence_id"]))
    told = sorted(_rows_in(row, "told_"), key=lambda one: int(one["seq"]))
    return Checkpoint(
        claim=None if row["holder"] is None else _claim({"subject": run_id, **row}),
        run=reads.sealed(Run, row, run_id),
        journal=[reads.sealed(Occurrence, one, one["occurrence_id"]) for one in journal],
        signals=[reads.signal_of(one) for one in told],
    )


def live_claims(session: Session, prefix: str) -> list[Claim]:
    """Return the live claims on subjects that begin with `prefix`, by subject."""
    return [_claim(row) for row in session.all(_LIVE, {"prefix": prefix})]


def kids_in_use(session: Session, now: datetime) -> frozenset[int]:
    """Return the ids of keys that something living still needs."""
    return frozenset(row["kid"] for row in session.all(_KIDS, {"now": now}))


def counts(session: Session) -> Counts:
    """Return how many there are."""
    tallies: dict[str, dict[str, int]] = {"request": {}, "run": {}, "delivery": {}}
    for row in session.all(_COUNTS):
        tallies[row["kind"]][row["status"]] = row["n"]
    return Counts(requests=tallies["request"], runs=tallies["run"], deliveries=tallies["delivery"])


def _rows_in(row: DictRow, part: str) -> list[DictRow]:
    """Return the rows whose columns a row holds as arrays."""
    names = [name for name in row if name.startswith(part)]
    columns = [row[name] or () for name in names]
    own = [name.removeprefix(part) for name in names]
    return [dict(zip(own, values, strict=True)) for values in zip(*columns, strict=True)]


def _claim(row: DictRow) -> Claim:
    return Claim(
        subject=row["subject"], holder=row["holder"], fencing=row["fencing"], live=row["live"]
    )
