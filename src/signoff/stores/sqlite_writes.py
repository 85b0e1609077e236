"""
What a commit does to the tables of a `SQLiteStore` (floor 4).

Encoding happens in the task that commits; the writer's thread only runs statements.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Self, TypeAlias

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
from signoff.records import columns_of, encode, encode_facts, micros_of
from signoff.stores.lease_clock import LeaseClock
from signoff.stores.leases import NEVER_HELD, Lease, check_fence, lease_after

Row: TypeAlias = Mapping[str, str | int | bytes | None]
"""The values of a row by the names of their columns."""

_NO_HASH: Final = bytes(32)
"""What the first entry of an audit stream names as the hash before it."""

_NO_FACTS: Final = b"{}"


class Table:
    """
    A table of versioned records: a new version is written only over the one before.

    Args:
        name: The table.
        columns: Its columns: the id first, then the version.
        steady: Those of them that hardly ever change. While they stay, they are not set:
            SQLite rewrites each index of a column that is set, also to what it was.
    """

    def __init__(self, name: str, columns: Sequence[str], *, steady: Sequence[str]) -> None:
        self.name = name
        self.id = columns[0]
        values = ", ".join(f":{column}" for column in columns)
        self._insert = (
            f"INSERT INTO {name} ({', '.join(columns)}) VALUES ({values})"  # noqa: S608 - names of ours
            f" ON CONFLICT ({self.id}) DO NOTHING"
        )
        settings = {column: f"{column} = :{column}" for column in columns[1:]}
        moving = [settings[column] for column in columns[1:] if column not in steady]
        # The sign keeps the planner from looking for the row in an index of these columns.
        stays = "".join(f" AND +{column} IS :{column}" for column in steady)
        over = f"WHERE {self.id} = :{self.id} AND version = :version - 1"
        self._updates = (
            f"UPDATE {name} SET {', '.join(moving)} {over}{stays}",  # noqa: S608 - names of ours
            f"UPDATE {name} SET {', '.join(settings.values())} {over}",  # noqa: S608 - names of ours
        )
        self._version = f"SELECT version FROM {name} WHERE {self.id} = :{self.id}"  # noqa: S608 - names of ours

    def write(self, connection: sqlite3.Connection, rows: Iterable[Row]) -> None:
        """Write new versions, in their order. Raises `StaleWriteError`."""
        for row in rows:
            statements = (self._insert,) if row["version"] == 1 else self._updates
            try:
                written = any(connection.execute(one, row).rowcount for one in statements)
            except sqlite3.IntegrityError as error:
                raise StaleWriteError(
                    str(row[self.id]), f"the key {row['key']!r} stands for another run"
                ) from error
            if not written:
                standing = connection.execute(self._version, row).fetchone()
                raise StaleWriteError(
                    str(row[self.id]),
                    f"version {row['version']!r} cannot follow version"
                    f" {standing['version'] if standing else 0}",
                )


RUNS: Final = Table(
    "runs",
    (
        "run_id",
        "version",
        "flow_name",
        "status",
        "key",
        "parent_run_id",
        "created_at",
        "updated_at",
        "kid",
        "mac",
        "body",
    ),
    steady=("flow_name", "key", "parent_run_id", "created_at", "kid"),
)
OCCURRENCES: Final = Table(
    "occurrences",
    ("occurrence_id", "version", "run_id", "seq", "kid", "mac", "body"),
    steady=("run_id", "seq", "kid"),
)
REQUESTS: Final = Table(
    "requests",
    (
        "request_id",
        "version",
        "run_id",
        "status",
        "risk",
        "assignees",
        "kids",
        "created_at",
        "expires_at",
        "body",
    ),
    steady=("run_id", "risk", "assignees", "kids", "created_at", "expires_at"),
)
TOKENS: Final = Table(
    "tokens",
    ("token_id", "version", "request_id", "kid", "not_after", "body"),
    steady=("request_id", "kid", "not_after"),
)
DELIVERIES: Final = Table(
    "deliveries",
    (
        "delivery_id",
        "version",
        "request_id",
        "notifier",
        "status",
        "not_before",
        "created_at",
        "body",
    ),
    steady=("request_id", "notifier", "created_at"),
)


@dataclass(frozen=True, slots=True)
class Encoded:
    """
    A commit, ready to be written.

    Attributes:
        changes: What it writes besides the rows.
        rows: The new versions of records, by table.
        signals: The rows of the signals to append.
        entries: The rows of the audit entries to append.
    """

    changes: Changes
    rows: Sequence[tuple[Table, Sequence[Row]]]
    signals: Sequence[Row]
    entries: Sequence[Row]

    @classmethod
    def of(cls, changes: Changes) -> Self:
        """Encode everything. Raises `CodecError`."""
        return cls(
            changes,
            (
                (RUNS, [_sealed_row(run) for run in changes.runs]),
                (OCCURRENCES, [_sealed_row(one) for one in changes.occurrences]),
                (REQUESTS, [_row(request) for request in changes.requests]),
                (TOKENS, [_row(token) for token in changes.tokens]),
                (DELIVERIES, [_row(delivery) for delivery in changes.deliveries]),
            ),
            [_signal_row(signal) for signal in changes.signals],
            [_entry_row(entry) for entry in changes.audit],
        )

    def write(
        self, connection: sqlite3.Connection, *, now: datetime, lease_clock: LeaseClock
    ) -> None:
        """
        Check and write all of it in the transaction that is open; whoever opened it undoes half.

        Raises:
            StaleWriteError: Something checked has moved on.
        """
        _check_time(self.changes, now)
        for table, rows in self.rows:
            table.write(connection, rows)
        if self.signals:
            _append_signals(connection, self.signals)
        _consume(connection, self.changes.consumed)
        _append_entries(connection, self.entries)
        _write_books(connection, self.changes)
        leases = _Leases(connection, lease_clock)
        leases.check(self.changes.fences)
        leases.change(self.changes.claims)


class _Leases:
    """The table of claims, at one instant of the lease clock."""

    def __init__(self, connection: sqlite3.Connection, clock: LeaseClock) -> None:
        self._connection = connection
        self._epoch = clock.epoch
        self._now = clock.seconds()

    def check(self, fences: Iterable[Fence]) -> None:
        """Check the conditions of a commit. Raises `StaleWriteError`."""
        for fence in fences:
            check_fence(self._standing(fence.subject), fence, now=self._now)

    def change(self, claims: Iterable[Acquire | Renew | Release]) -> None:
        """Take, prolong and give back claims, in their order. Raises `StaleWriteError`."""
        for claim in claims:
            if isinstance(claim, Release):
                self._check_no_signal_waits(claim.subject)
            lease = lease_after(self._standing(claim.subject), claim, now=self._now)
            self._connection.execute(
                "INSERT INTO claims (subject, holder, fencing, ends, epoch) VALUES (?, ?, ?, ?, ?)"
                " ON CONFLICT (subject) DO UPDATE SET holder = excluded.holder,"
                " fencing = excluded.fencing, ends = excluded.ends, epoch = excluded.epoch",
                (claim.subject, lease.holder, lease.fencing, lease.ends, self._epoch),
            )

    def _standing(self, subject: str) -> Lease:
        row = self._connection.execute(
            "SELECT holder, fencing, ends, epoch FROM claims WHERE subject = ?", (subject,)
        ).fetchone()
        return NEVER_HELD if row is None else lease_of(row, self._epoch)

    def _check_no_signal_waits(self, run_id: str) -> None:
        waits = self._connection.execute(
            "SELECT 1 FROM signals INDEXED BY signals_waiting WHERE run_id = ? AND consumed = 0",
            (run_id,),
        ).fetchone()
        if waits:
            raise StaleWriteError(run_id, "it has a signal that is not consumed")


def lease_of(row: sqlite3.Row, epoch: str) -> Lease:
    """Return the lease in a row of claims; one of another epoch has run out."""
    ends = row["ends"] if row["epoch"] == epoch else float("-inf")
    return Lease(row["holder"], row["fencing"], ends)


def _row(record: Request | TokenRow | Delivery) -> Row:
    return {**columns_of(record), "body": encode(record)}


def _sealed_row(sealed: Sealed[CheckpointT]) -> Row:
    columns = columns_of(sealed.record)
    return {**columns, "kid": sealed.kid, "mac": sealed.mac, "body": sealed.body}


def _signal_row(signal: Signal) -> Row:
    return {
        "run_id": signal.run_id,
        "cause": signal.cause,
        "kind": signal.kind,
        "created_at": micros_of(signal.created_at),
        "facts": encode_facts(signal.facts, signal.run_id),
    }


def _entry_row(entry: AuditEntry) -> Row:
    return {
        "stream": entry.stream,
        "seq": entry.seq,
        "prev_hash": entry.prev_hash,
        "hash": entry.hash,
        "kid": entry.kid,
        "mac": entry.mac,
        "body": entry.body,
        "salt": entry.salt,
        "personal": encode_facts(entry.personal, entry.stream),
    }


def _check_time(changes: Changes, now: datetime) -> None:
    if changes.now is not None and now < changes.now:
        raise StaleWriteError("now", f"the clock stands at {now}, before {changes.now}")
    if changes.until is not None and now >= changes.until:
        raise StaleWriteError("until", f"the clock stands at {now}, not before {changes.until}")


def _append_signals(connection: sqlite3.Connection, rows: Sequence[Row]) -> None:
    """Append signals; one that was told before is left as it is."""
    connection.executemany(
        "INSERT INTO signals (run_id, cause, kind, created_at, facts)"
        " VALUES (:run_id, :cause, :kind, :created_at, :facts)"
        " ON CONFLICT (run_id, cause) DO NOTHING",
        rows,
    )


def _consume(connection: sqlite3.Connection, consumed: Iterable[tuple[str, str]]) -> None:
    for run_id, cause in consumed:
        found = connection.execute(
            "UPDATE signals SET consumed = 1 WHERE run_id = ? AND cause = ? AND consumed = 0",
            (run_id, cause),
        ).rowcount
        if not found:
            raise StaleWriteError(run_id, f"its signal {cause!r} is not there to consume")


def _append_entries(connection: sqlite3.Connection, rows: Iterable[Row]) -> None:
    for row in rows:
        last = connection.execute(
            "SELECT seq, hash FROM audit WHERE stream = :stream ORDER BY seq DESC LIMIT 1", row
        ).fetchone()
        seq, head = last or (0, _NO_HASH)
        if (row["seq"], row["prev_hash"]) != (seq + 1, head):
            raise StaleWriteError(
                str(row["stream"]), f"entry {row['seq']!r} cannot follow entry {seq}"
            )
        connection.execute(
            "INSERT INTO audit (stream, seq, prev_hash, hash, kid, mac, body)"
            " VALUES (:stream, :seq, :prev_hash, :hash, :kid, :mac, :body)",
            row,
        )
        if row["salt"] or row["personal"] != _NO_FACTS:
            connection.execute(
                "INSERT INTO audit_personal (stream, seq, salt, personal)"
                " VALUES (:stream, :seq, :salt, :personal)",
                row,
            )


def _write_books(connection: sqlite3.Connection, changes: Changes) -> None:
    """Write which messages were handled, how far inboxes were read, and the check values of keys."""
    for key in changes.handled:
        insert = "INSERT INTO handled (key) VALUES (?) ON CONFLICT (key) DO NOTHING"
        if not connection.execute(insert, (key,)).rowcount:
            raise StaleWriteError(key, "the message was dealt with before")
    for name, mark in changes.marks.items():
        connection.execute(
            "INSERT INTO marks (name, mark) VALUES (?, ?)"
            " ON CONFLICT (name) DO UPDATE SET mark = excluded.mark",
            (name, mark),
        )
    for kid, value in changes.key_checks.items():
        known = connection.execute(
            "INSERT INTO key_checks (kid, value) VALUES (?, ?)"
            " ON CONFLICT (kid) DO UPDATE SET value = excluded.value WHERE value = excluded.value",
            (kid, value),
        ).rowcount
        if not known:
            raise StaleWriteError(f"key {kid}", "another key has this id")
