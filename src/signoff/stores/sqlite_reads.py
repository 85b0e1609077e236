"""
Records, pages and books, as they are read from a `SQLiteStore`'s tables (floor 4).

Every query names its index, so that a planner without statistics cannot choose to scan.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from datetime import datetime
from typing import Final, TypeAlias, TypeVar

from signoff.errors import NotFoundError
from signoff.model.audit import AuditEntry
from signoff.model.changes import CheckpointT, Sealed, Signal
from signoff.model.delivery import Delivery
from signoff.model.request import Request
from signoff.model.run import Occurrence, Run
from signoff.model.token import TokenRow
from signoff.ports import RequestQuery, RunQuery
from signoff.records import (
    check_columns,
    contradiction,
    decode,
    decode_facts,
    instant_of,
    micros_of,
)

KeptT = TypeVar("KeptT", Request, TokenRow, Delivery)

Parameters: TypeAlias = Mapping[str, str | int | None]

_FIRST: Final = -(2**63)
_LAST: Final = 2**63 - 1


def run(connection: sqlite3.Connection, run_id: str) -> Sealed[Run]:
    """Return a run. Raises `NotFoundError`."""
    row = _one(connection, "SELECT * FROM runs WHERE run_id = ?", run_id)
    if row is None:
        raise NotFoundError("run", run_id)
    return _sealed(Run, row)


def run_by_key(connection: sqlite3.Connection, flow_name: str, key: str) -> Sealed[Run] | None:
    """Return the run of a keyed call, if there is one."""
    row = _one(
        connection,
        "SELECT * FROM runs INDEXED BY runs_by_key WHERE flow_name = ? AND key = ?",
        flow_name,
        key,
    )
    return None if row is None else _sealed(Run, row)


def runs(connection: sqlite3.Connection, query: RunQuery) -> list[Sealed[Run]]:
    """Return a page of runs."""
    indexes = {"parent_run_id": "by_parent", "status": "by_status", "flow_name": "by_flow"}
    wanted = {
        "parent_run_id": query.parent_run_id,
        "status": query.status,
        "flow_name": query.flow_name,
    }
    given = [name for name, value in wanted.items() if value is not None]
    index = indexes[given[0]] if given else "by_age"
    conditions = "".join(f"{name} = :{name} AND " for name in given)
    rows = _all(
        connection,
        f"SELECT * FROM runs INDEXED BY runs_{index}"  # noqa: S608 - names of ours
        f" WHERE {conditions}(created_at, run_id) > (:at, :id)"
        " ORDER BY created_at, run_id LIMIT :limit",
        {**wanted, **_place(query.after, default=_FIRST), "limit": query.limit},
    )
    return [_sealed(Run, row) for row in rows]


def journal(connection: sqlite3.Connection, run_id: str) -> list[Sealed[Occurrence]]:
    """Return a run's occurrences in the order of their `seq`."""
    rows = _all(
        connection,
        "SELECT * FROM occurrences INDEXED BY occurrences_by_run WHERE run_id = :id"
        " ORDER BY seq, occurrence_id",
        {"id": run_id},
    )
    return [_sealed(Occurrence, row) for row in rows]


def signals(connection: sqlite3.Connection, run_id: str) -> list[Signal]:
    """Return a run's unconsumed signals in the order they were appended."""
    rows = _all(
        connection,
        "SELECT * FROM signals INDEXED BY signals_waiting WHERE run_id = :id AND consumed = 0"
        " ORDER BY seq",
        {"id": run_id},
    )
    return [_signal(row) for row in rows]


def late_results(connection: sqlite3.Connection, run_id: str) -> list[Signal]:
    """Return every `late_result` signal of a run, consumed or not."""
    rows = _all(
        connection,
        "SELECT * FROM signals INDEXED BY signals_late WHERE run_id = :id AND kind = 'late_result'"
        " ORDER BY seq",
        {"id": run_id},
    )
    return [_signal(row) for row in rows]


def request(connection: sqlite3.Connection, request_id: str) -> Request:
    """Return a request. Raises `NotFoundError`."""
    row = _one(connection, "SELECT * FROM requests WHERE request_id = ?", request_id)
    if row is None:
        raise NotFoundError("request", request_id)
    return _read(Request, row)


def requests(connection: sqlite3.Connection, query: RequestQuery) -> list[Request]:
    """Return a page of requests."""
    source, ordered_by = _narrowest(query)
    order, sign, edge = ("DESC", "<", _LAST) if query.newest_first else ("ASC", ">", _FIRST)
    rows = _all(
        connection,
        f"SELECT requests.* FROM {source} WHERE {_conditions(query, ordered_by)}"  # noqa: S608 - names of ours
        f"({ordered_by}.created_at, {ordered_by}.request_id) {sign} (:at, :id)"
        f" ORDER BY {ordered_by}.created_at {order}, {ordered_by}.request_id {order} LIMIT :limit",
        {
            "run_id": query.run_id,
            "status": query.status,
            "risk": query.risk,
            "assignee": query.assignee,
            **_place(query.after, default=edge),
            "limit": query.limit,
        },
    )
    return [_read(Request, row) for row in rows]


def token(connection: sqlite3.Connection, token_id: str) -> TokenRow | None:
    """Return the stored half of a token, if there is one."""
    row = _one(connection, "SELECT * FROM tokens WHERE token_id = ?", token_id)
    return None if row is None else _read(TokenRow, row)


def tokens(connection: sqlite3.Connection, request_id: str) -> list[TokenRow]:
    """Return all tokens of a request, oldest first."""
    rows = _all(
        connection,
        "SELECT * FROM tokens INDEXED BY tokens_by_request WHERE request_id = :id",
        {"id": request_id},
    )
    found = [_read(TokenRow, row) for row in rows]
    return sorted(found, key=lambda token: (token.created_at, token.token_id))


def delivery(connection: sqlite3.Connection, delivery_id: str) -> Delivery:
    """Return a delivery. Raises `NotFoundError`."""
    row = _one(connection, "SELECT * FROM deliveries WHERE delivery_id = ?", delivery_id)
    if row is None:
        raise NotFoundError("delivery", delivery_id)
    return _read(Delivery, row)


def deliveries(connection: sqlite3.Connection, request_id: str) -> list[Delivery]:
    """Return all deliveries of a request, oldest first."""
    rows = _all(
        connection,
        "SELECT * FROM deliveries INDEXED BY deliveries_by_request WHERE request_id = :id"
        " ORDER BY created_at, delivery_id",
        {"id": request_id},
    )
    return [_read(Delivery, row) for row in rows]


def audit(connection: sqlite3.Connection, stream: str) -> list[AuditEntry]:
    """Return a stream's entries, oldest first."""
    rows = _all(
        connection,
        "SELECT * FROM audit LEFT JOIN audit_personal USING (stream, seq)"
        " WHERE stream = :id ORDER BY seq",
        {"id": stream},
    )
    return [_entry(row) for row in rows]


def was_handled(connection: sqlite3.Connection, key: str) -> bool:
    """Return whether an incoming message with this key was dealt with."""
    return _one(connection, "SELECT 1 FROM handled WHERE key = ?", key) is not None


def mark(connection: sqlite3.Connection, name: str) -> str | None:
    """Return the high-water mark of an inbox."""
    row = _one(connection, "SELECT mark FROM marks WHERE name = ?", name)
    return None if row is None else str(row["mark"])


def key_checks(connection: sqlite3.Connection) -> dict[int, str]:
    """Return the stored check values of keys, by key id."""
    return {row["kid"]: row["value"] for row in connection.execute("SELECT * FROM key_checks")}


def _narrowest(query: RequestQuery) -> tuple[str, str]:
    """Return what a page of requests is taken from, and the table whose order it has."""
    if query.run_id is not None:
        return "requests INDEXED BY requests_by_run", "requests"
    if query.assignee is not None:
        index = "by_age" if query.status is None else "by_status"
        source = (
            f"request_assignees AS asked INDEXED BY request_assignees_{index}"
            " CROSS JOIN requests ON requests.request_id = asked.request_id"
        )
        return source, "asked"
    if query.status is None:
        return "requests INDEXED BY requests_by_age", "requests"
    index = "by_status" if query.risk is None else "by_status_and_risk"
    return f"requests INDEXED BY requests_{index}", "requests"


def _conditions(query: RequestQuery, ordered_by: str) -> str:
    """Return the conditions of a page of requests, each with an AND behind it."""
    wanted = {"run_id": query.run_id, "status": query.status, "risk": query.risk}
    conditions = [
        f"requests.{name} = :{name}" for name, value in wanted.items() if value is not None
    ]
    if ordered_by == "asked":
        conditions.append("asked.assignee = :assignee")
        if query.status is not None:
            conditions.append("asked.status = :status")
    elif query.assignee is not None:
        conditions.append(
            "EXISTS (SELECT 1 FROM request_assignees AS asked"
            " WHERE asked.request_id = requests.request_id AND asked.assignee = :assignee)"
        )
    return "".join(f"{condition} AND " for condition in conditions)


def _place(after: tuple[datetime, str] | None, *, default: int) -> Parameters:
    """Return the place behind which a page begins; without one, an edge that all are behind."""
    if after is None:
        return {"at": default, "id": ""}
    return {"at": micros_of(after[0]), "id": after[1]}


def _all(
    connection: sqlite3.Connection, statement: str, values: Mapping[str, object]
) -> list[sqlite3.Row]:
    """
    Return all rows of a page.

    All at once: a row that is refused would leave the rest of the query open, and with it the
    state of the database that it saw.
    """
    return connection.execute(statement, values).fetchall()


def _one(connection: sqlite3.Connection, statement: str, *values: str) -> sqlite3.Row | None:
    row: sqlite3.Row | None = connection.execute(statement, values).fetchone()
    return row


def _read(model: type[KeptT], row: sqlite3.Row) -> KeptT:
    """Decode a record and compare it with its columns; the first one is its id."""
    record = decode(model, row["body"], row[0])
    check_columns(record, dict(row), row[0])
    return record


def _sealed(model: type[CheckpointT], row: sqlite3.Row) -> Sealed[CheckpointT]:
    record = decode(model, row["body"], row[0])
    return Sealed(
        record=record,
        body=row["body"],
        kid=row["kid"],
        mac=row["mac"],
        contradicts=contradiction(record, dict(row)),
    )


def _signal(row: sqlite3.Row) -> Signal:
    return Signal(
        run_id=row["run_id"],
        cause=row["cause"],
        kind=row["kind"],
        facts=decode_facts(row["facts"], row["run_id"]),
        created_at=instant_of(row["created_at"]),
    )


def _entry(row: sqlite3.Row) -> AuditEntry:
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
