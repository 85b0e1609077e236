"""
A commit as a `PostgresStore` sends it: one statement, one round trip, one transaction (floor 4).

The checks and the writes are a function in the schema. So no lock is ever held while a client
thinks, and a client that dies leaves nothing half done.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Self, TypeAlias
from uuid import UUID, uuid4

from signoff.errors import StaleWriteError
from signoff.model.audit import AuditEntry
from signoff.model.changes import (
    Acquire,
    Changes,
    CheckpointT,
    Fence,
    Release,
    Renew,
    Sealed,
    Signal,
)
from signoff.model.delivery import Delivery
from signoff.model.request import Request
from signoff.model.token import TokenRow
from signoff.records import Column, Stored, columns_of, encode, encode_facts, instant_of
from signoff.stores.postgres_pool import Query, Session

Row: TypeAlias = Mapping[str, Column]
"""The values of a row by the names of its columns; bytes by their place."""

_MICROSECOND: Final = timedelta(microseconds=1)

_INSTANTS: Final = frozenset({"created_at", "updated_at", "expires_at", "not_after", "not_before"})
"""The columns that hold one."""

_COMMIT: Final = Query(
    "SELECT record_id, reason, {clock} FROM {schema}.make_commit("
    "%(id)s::uuid, %(changes)s::jsonb, %(blobs)b::bytea[])"
)

_COMMIT_AND_TELL: Final = Query(
    "SELECT record_id, reason, {clock},"
    " CASE WHEN reason IS NULL THEN pg_notify(%(channel)s, %(news)s)::text END AS told"
    " FROM {schema}.make_commit(%(id)s::uuid, %(changes)s::jsonb, %(blobs)b::bytea[])"
)
"""The server tells what was made to those who listen when it is made, and not before."""

_TELL: Final = Query("SELECT pg_notify(%(channel)s, %(news)s)::text AS told")

_FORGET: Final = Query("SELECT {schema}.forget_commits()")


@dataclass(frozen=True, slots=True)
class Encoded:
    """
    A commit, ready to be sent; sent again, it is made once all the same.

    Attributes:
        id: What tells it from all others.
        changes: Its rows by the names of their tables, and its conditions, as JSON.
        blobs: The bytes in them, which JSON refers to by their place, from 1.
    """

    id: UUID
    changes: str
    blobs: Sequence[bytes]

    @classmethod
    def of(cls, changes: Changes, *, patience: float) -> Self:
        """
        Encode everything.

        Args:
            changes: What to write.
            patience: For how many seconds to wait for a lock that another session has.

        Raises:
            CodecError: Something has no stored form.
        """
        writing = _Writing()
        parts: dict[str, object] = {
            "runs": _ordered("run_id", map(writing.sealed, changes.runs)),
            "occurrences": _ordered("occurrence_id", map(writing.sealed, changes.occurrences)),
            "requests": _ordered("request_id", map(writing.record, changes.requests)),
            "tokens": _ordered("token_id", map(writing.record, changes.tokens)),
            "deliveries": _ordered("delivery_id", map(writing.record, changes.deliveries)),
            "signals": _ordered("run_id", map(writing.signal, changes.signals)),
            "consumed": [
                {"run_id": run_id, "cause": cause} for run_id, cause in sorted(changes.consumed)
            ],
            "audit": _ordered("stream", map(writing.entry, changes.audit)),
            "claims": [_claim(change) for change in changes.claims],
            "fences": [_fence(fence) for fence in changes.fences],
            "handled": sorted(changes.handled),
            "marks": dict(changes.marks),
            "key_checks": dict(changes.key_checks),
            "now": changes.now.isoformat() if changes.now else None,
            "until": changes.until.isoformat() if changes.until else None,
        }
        present = {name: part for name, part in parts.items() if part}
        text = json.dumps({"patience": f"{patience:.3f}s", **present}, ensure_ascii=False)
        return cls(uuid4(), text, writing.blobs)

    def send(self, session: Session, *, channel: str = "", news: str = "") -> None:
        """
        Have it made.

        Args:
            session: Where.
            channel: On what to tell others of it.
            news: What to tell; nothing if empty.

        Raises:
            StaleWriteError: Something checked has moved on.
        """
        values = {"id": self.id, "changes": self.changes, "blobs": self.blobs}
        told = {"channel": channel, "news": news}
        query = _COMMIT_AND_TELL if news else _COMMIT
        outcome = session.all(query, {**values, **told} if news else values)[0]
        if outcome["reason"] is not None:
            raise StaleWriteError(outcome["record_id"], outcome["reason"])


def tell(session: Session, *, channel: str, news: str) -> None:
    """Tell something to those who listen on a channel."""
    session.all(_TELL, {"channel": channel, "news": news})


def forget_commits(session: Session) -> None:
    """Drop what is known of commits that nobody sends again."""
    session.all(_FORGET)


class _Writing:
    """
    Makes rows of what a commit writes.

    Attributes:
        blobs: The bytes in them.
    """

    def __init__(self) -> None:
        self.blobs: list[bytes] = []

    def record(self, record: Request | TokenRow | Delivery) -> Row:
        """Return the row of a record."""
        return {**_columns(record), "body": self._place(encode(record))}

    def sealed(self, sealed: Sealed[CheckpointT]) -> Row:
        """Return the row of a part of a checkpoint."""
        return {
            **_columns(sealed.record),
            "kid": sealed.kid,
            "mac": self._place(sealed.mac),
            "body": self._place(sealed.body),
        }

    def signal(self, signal: Signal) -> Row:
        """Return the row of a signal."""
        return {
            "run_id": signal.run_id,
            "cause": signal.cause,
            "kind": signal.kind,
            "created_at": signal.created_at.isoformat(),
            "facts": self._place(encode_facts(signal.facts, signal.run_id)),
        }

    def entry(self, entry: AuditEntry) -> Row:
        """Return the row of an audit entry, and of what it says of persons."""
        row: dict[str, Column] = {
            "stream": entry.stream,
            "seq": entry.seq,
            "prev_hash": self._place(entry.prev_hash),
            "hash": self._place(entry.hash),
            "kid": entry.kid,
            "mac": self._place(entry.mac),
            "body": self._place(entry.body),
        }
        if entry.salt or entry.personal:
            row["salt"] = self._place(entry.salt)
            row["personal"] = self._place(encode_facts(entry.personal, entry.stream))
        return row

    def _place(self, blob: bytes) -> int:
        self.blobs.append(blob)
        return len(self.blobs)


def _ordered(name: str, rows: Iterable[Row]) -> list[Row]:
    """Put rows in the order in which all commits lock them; those of one record stay as they come."""
    return sorted(rows, key=lambda row: str(row[name]))


def _columns(record: Stored) -> dict[str, Column]:
    return {
        name: instant_of(value).isoformat()
        if name in _INSTANTS and isinstance(value, int)
        else value
        for name, value in columns_of(record).items()
    }


def _claim(change: Acquire | Renew | Release) -> Row:
    row: dict[str, Column] = {
        "subject": change.subject,
        "holder": change.holder,
        "fencing": change.fencing,
    }
    match change:
        case Acquire():
            return {**row, "kind": "acquire", "lease": change.lease // _MICROSECOND}
        case Renew():
            return {**row, "kind": "renew", "lease": change.lease // _MICROSECOND}
        case _:
            return {**row, "kind": "release"}


def _fence(fence: Fence) -> Row:
    return {
        "subject": fence.subject,
        "holder": fence.holder,
        "fencing": fence.fencing,
        "remaining": None if fence.remaining is None else fence.remaining // _MICROSECOND,
    }
