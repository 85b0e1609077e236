"""Records, pages and books, as they are read from a `PostgresStore`'s tables (floor 4)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import cache
from typing import Final, TypeVar

from psycopg.rows import DictRow

from signoff.errors import NotFoundError
from signoff.model.audit import AuditEntry
from signoff.model.changes import CheckpointT, Sealed, Signal
from signoff.model.delivery import Delivery
from signoff.model.request import Request
from signoff.model.run import Occurrence, Run
from signoff.model.token import TokenRow
from signoff.ports import RequestQuery, RunQuery
from signoff.records import check_columns, contradiction, decode, decode_facts, instant_of
from signoff.stores.postgres_pool import Query, Session

KeptT = TypeVar("KeptT", Request, TokenRow, Delivery)

_NOW: Final = Query("SELECT {clock}")

_RUN: Final = Query("SELECT *, {clock} FROM {schema}.runs WHERE run_id = %(id)s")

_RUN_BY_KEY: Final = Query(
    "SELECT *, {clock} FROM {schema}.runs WHERE flow_name = %(name)s AND key = %(key)s"
)

_JOURNAL: Final = Query(
    "SELECT * FROM {schema}.occurrences WHERE run_id = %(id)s ORDER BY seq, occurrence_id"
)

_SIGNALS: Final = Query(
    "SELECT *, {clock} FROM {schema}.signals WHERE run_id = %(id)s AND NOT consumed ORDER BY seq"
)

_LATE_RESULTS: Final = Query(
    "SELECT * FROM {schema}.signals WHERE run_id = %(id)s AND kind = 'late_result' ORDER BY seq"
)

_REQUEST: Final = Query("SELECT *, {clock} FROM {schema}.requests WHERE request_id = %(id)s")

_TOKEN: Final = Query("SELECT *, {clock} FROM {schema}.tokens WHERE token_id = %(id)s")

_TOKENS: Final = Query("SELECT * FROM {schema}.tokens WHERE request_id = %(id)s")

_DELIVERY: Final = Query("SELECT *, {clock} FROM {schema}.deliveries WHERE delivery_id = %(id)s")

_DELIVERIES: Final = Query(
    "SELECT * FROM {schema}.deliveries WHERE request_id = %(id)s ORDER BY created_at, delivery_id"
)

_AUDIT: Final = Query(
    "SELECT * FROM {schema}.audit LEFT JOIN {schema}.audit_personal USING (stream, seq)"
    " WHERE stream = %(id)s ORDER BY seq"
)

_HANDLED: Final = Query("SELECT 1 FROM {schema}.handled WHERE key = %(id)s")

_MARK: Final = Query("SELECT mark FROM {schema}.marks WHERE name = %(id)s")

_KEY_CHECKS: Final = Query("SELECT * FROM {schema}.key_checks")


def now(session: Session) -> datetime:
    """Return business time."""
    return instant_of(session.all(_NOW)[0]["clock"])


def run(session: Session, run_id: str) -> Sealed[Run]:
    """Return a run. Raises `NotFoundError`."""
    row = session.first(_RUN, {"id": run_id})
    if row is None:
        raise NotFoundError("run", run_id)
    return sealed(Run, row, run_id)


def run_by_key(session: Session, flow_name: str, key: str) -> Sealed[Run] | None:
    """Return the run of a keyed call, if there is one."""
    row = session.first(_RUN_BY_KEY, {"name": flow_name, "key": key})
    return None if row is None else sealed(Run, row, row["run_id"])


def runs(session: Session, query: RunQuery) -> list[Sealed[Run]]:
    """Return a page of runs."""
    wanted = (
        ("status = %(status)s", query.status),
        ("flow_name = %(flow_name)s", query.flow_name),
        ("parent_run_id = %(parent_run_id)s", query.parent_run_id),
        ("(created_at, run_id) > (%(at)s, %(id)s)", query.after),
    )
    at, run_id = query.after or (None, None)
    rows = session.all(
        _runs_query(tuple(condition for condition, value in wanted if value is not None)),
        {
            "status": query.status,
            "flow_name": query.flow_name,
            "parent_run_id": query.parent_run_id,
            "at": at,
            "id": run_id,
            "limit": query.limit,
        },
    )
    return [sealed(Run, row, row["run_id"]) for row in rows]


def journal(session: Session, run_id: str) -> list[Sealed[Occurrence]]:
    """Return a run's occurrences in the order of their `seq`."""
    rows = session.all(_JOURNAL, {"id": run_id})
    return [sealed(Occurrence, row, row["occurrence_id"]) for row in rows]


def signals(session: Session, run_id: str) -> list[Signal]:
    """Return a run's unconsumed signals in the order they were appended."""
    return [signal_of(row) for row in session.all(_SIGNALS, {"id": run_id})]


def late_results(session: Session, run_id: str) -> list[Signal]:
    """Return every `late_result` signal of a run, consumed or not."""
    return [signal_of(row) for row in session.all(_LATE_RESULTS, {"id": run_id})]


def request(session: Session, request_id: str) -> Request:
    """Return a request. Raises `NotFoundError`."""
    row = session.first(_REQUEST, {"id": request_id})
    if row is None:
        raise NotFoundError("request", request_id)
    return _read(Request, row, request_id)


def requests(session: Session, query: RequestQuery) -> list[Request]:
    """Return a page of requests."""
    at, request_id = query.after or (None, None)
    rows = session.all(
        _requests_query(
            run_id=query.run_id is not None,
            status=query.status is not None,
            risk=query.risk is not None,
            assignee=query.assignee is not None,
            after=query.after is not None,
            newest_first=query.newest_first,
        ),
        {
            "run_id": query.run_id,
            "status": query.status,
            "risk": query.risk,
            "assignee": query.assignee,
            "at": at,
            "id": request_id,
            "limit": query.limit,
        },
    )
    return [_read(Request, row, row["request_id"]) for row in rows]


def token(session: Session, token_id: str) -> TokenRow | None:
    """Return the stored half of a token, if there is one."""
    row = session.first(_TOKEN, {"id": token_id})
    return None if row is None else _read(TokenRow, row, token_id)


def tokens(session: Session, request_id: str) -> list[TokenRow]:
    """Return all tokens of a request, oldest first."""
    found = [
        _read(TokenRow, row, row["token_id"]) for row in session.all(_TOKENS, {"id": request_id})
    ]
    return sorted(found, key=lambda token: (token.created_at, token.token_id))


def delivery(session: Session, delivery_id: str) -> Delivery:
    """Return a delivery. Raises `NotFoundError`."""
    row = session.first(_DELIVERY, {"id": delivery_id})
    if row is None:
        raise NotFoundError("delivery", delivery_id)
    return _read(Delivery, row, delivery_id)


def deliveries(session: Session, request_id: str) -> list[Delivery]:
    """Return all deliveries of a request, oldest first."""
    rows = session.all(_DELIVERIES, {"id": request_id})
    return [_read(Delivery, row, row["delivery_id"]) for row in rows]


def audit(session: Session, stream: str) -> list[AuditEntry]:
    """Return a stream's entries, oldest first."""
    return [_entry(row) for row in session.all(_AUDIT, {"id": stream})]


def was_handled(session: Session, key: str) -> bool:
    """Return whether an incoming message with this key was dealt with."""
    return session.first(_HANDLED, {"id": key}) is not None


def mark(session: Session, name: str) -> str | None:
    """Return the high-water mark of an inbox."""
    row = session.first(_MARK, {"id": name})
    return None if row is None else str(row["mark"])


def key_checks(session: Session) -> dict[int, str]:
    """Return the stored check values of keys, by key id."""
    return {row["kid"]: row["value"] for row in session.all(_KEY_CHECKS)}


@cache
def _runs_query(conditions: Sequence[str]) -> Query:
    where = " AND ".join(("true", *conditions))
    text = "SELECT * FROM {schema}.runs WHERE <where> ORDER BY created_at, run_id LIMIT %(limit)s"
    return Query(text.replace("<where>", where))


@cache
def _requests_query(
    *, run_id: bool, status: bool, risk: bool, assignee: bool, after: bool, newest_first: bool
) -> Query:
    """Return the query of a page, with the conditions that are given."""
    # Whose order the page has: of those that somebody is asked, or of all.
    placed = "asked" if assignee and not run_id else "listed"
    source = "{schema}.requests AS listed"
    if placed == "asked":
        source += " JOIN {schema}.request_assignees AS asked USING (request_id)"
        is_asked = "asked.assignee = %(assignee)s"
    else:
        is_asked = (
            "EXISTS (SELECT FROM {schema}.request_assignees AS asked"
            " WHERE asked.request_id = listed.request_id AND asked.assignee = %(assignee)s)"
        )
    order = "DESC" if newest_first else "ASC"
    sign = "<" if newest_first else ">"
    place = f"({placed}.created_at, {placed}.request_id)"
    conditions: dict[str, bool] = {
        "listed.run_id = %(run_id)s": run_id,
        f"{placed}.status = %(status)s": status,
        "listed.risk = %(risk)s": risk,
        is_asked: assignee,
        f"{place} {sign} (%(at)s, %(id)s)": after,
    }
    where = " AND ".join(("true", *(text for text, given in conditions.items() if given)))
    return Query(
        f"SELECT listed.* FROM {source} WHERE {where}"  # noqa: S608 - names of ours
        f" ORDER BY {placed}.created_at {order}, {placed}.request_id {order} LIMIT %(limit)s"
    )


def _read(model: type[KeptT], row: DictRow, record_id: str) -> KeptT:
    """Decode a record and compare it with its columns."""
    record = decode(model, row["body"], record_id)
    check_columns(record, row, record_id)
    return record


def sealed(model: type[CheckpointT], row: DictRow, record_id: str) -> Sealed[CheckpointT]:
    """Return a part of a checkpoint as a row has it."""
    record = decode(model, row["body"], record_id)
    return Sealed(
        record=record,
        body=row["body"],
        kid=row["kid"],
        mac=row["mac"],
        contradicts=contradiction(record, row),
    )


def signal_of(row: DictRow) -> Signal:
    """Return a signal as a row has it."""
    return Signal(
        run_id=row["run_id"],
        cause=row["cause"],
        kind=row["kind"],
        facts=decode_facts(row["facts"], row["run_id"]),
        created_at=instant_of(row["created_at"]),
    )


def _entry(row: DictRow) -> AuditEntry:
    stored = decode_facts(row["personal"] or b"{}", row["stream"])
    return AuditEntry(
        stream=row["stream"],
        seq=row["seq"],
        prev_hash=row["prev_hash"],
        body=row["body"],
        hash=row["hash"],
        kid=row["kid"],
        mac=row["mac"],
        salt=row["salt"] or b"",
        personal={name: str(text) for name, text in stored.items()},
    )
