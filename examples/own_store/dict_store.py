"""
A store of one's own: plain dicts, and nothing that makes it fast.

It shows what a store has to do and in which order. Each commit changes a copy of everything and
puts the copy in the place of what was, so a commit that is refused has changed nothing.
`docs/howto/write-your-own-store.md` goes through it; `test_dict_store.py` proves it.
"""

import copy
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self, TypeVar

from anyio.lowlevel import checkpoint
from typing_extensions import override

from signoff.errors import NotFoundError, StaleWriteError
from signoff.model.audit import AuditEntry
from signoff.model.base import Record
from signoff.model.changes import Acquire, Changes, Claim, Fence, Release, Renew, Sealed, Signal
from signoff.model.delivery import Delivery
from signoff.model.request import Request
from signoff.model.run import TERMINAL, Occurrence, Run
from signoff.model.token import TokenRow
from signoff.ports import Clock, Counts, RequestQuery, RunQuery, Store, TaskSink
from signoff.records import (
    Column,
    Stored,
    columns_of,
    decode,
    encode,
    encode_facts,
    id_of,
    instant_of,
    micros_of,
)

RecordT = TypeVar("RecordT", bound=Record)
ModelT = TypeVar("ModelT", Run, Occurrence)


@dataclass(frozen=True, slots=True)
class Row:
    """A record as it is kept: its bytes, which are never encoded again, and columns to find it by."""

    name: str
    columns: Mapping[str, Column]
    body: bytes
    kid: int = 0
    mac: bytes = b""


@dataclass(frozen=True, slots=True)
class Lease:
    """A claim as it is kept: who has it (nobody once it was given back), and until when."""

    holder: str = ""
    fencing: int = 0
    ends: float = 0.0


@dataclass(slots=True)
class Everything:
    """All that is kept."""

    rows: dict[type, dict[str, Row]] = field(
        default_factory=lambda: {
            model: {} for model in (Run, Occurrence, Request, TokenRow, Delivery)
        }
    )
    signals: dict[tuple[str, str], Signal] = field(default_factory=dict)
    waiting: dict[tuple[str, str], None] = field(default_factory=dict)
    leases: dict[str, Lease] = field(default_factory=dict)
    audit: dict[str, list[AuditEntry]] = field(default_factory=dict)
    handled: set[str] = field(default_factory=set)
    marks: dict[str, str] = field(default_factory=dict)
    key_checks: dict[int, str] = field(default_factory=dict)

    def copied(self) -> "Everything":
        """Return a copy that may be changed; what is inside of it is frozen."""
        return Everything(
            rows={model: dict(rows) for model, rows in self.rows.items()},
            signals=dict(self.signals),
            waiting=dict(self.waiting),
            leases=dict(self.leases),
            audit={stream: list(entries) for stream, entries in self.audit.items()},
            handled=set(self.handled),
            marks=dict(self.marks),
            key_checks=dict(self.key_checks),
        )


class SystemClock(Clock):
    """Business time, until somebody gives another clock."""

    @override
    def now(self) -> datetime:
        return datetime.now(tz=UTC)  # noqa: TID251 - this is the clock of the store


class DictStore(Store):
    """Keeps everything in dicts, for as long as the object lives."""

    durable = False
    shared = False
    location = "dicts"

    def __init__(self, *, lease_clock: Callable[[], float] = time.monotonic) -> None:
        self._lock = threading.Lock()  # a store is used from several loops and threads at once
        self._lease_clock = lease_clock
        self._clock: Clock = SystemClock()
        self._sink: TaskSink | None = None
        self._kept = Everything()

    @override
    async def __aenter__(self) -> Self:
        return self

    @override
    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Keep what there is: the store may be entered again."""

    @override
    def use_clock(self, clock: Clock) -> None:
        self._clock = clock

    @override
    def hand_tasks_to(self, sink: TaskSink) -> None:
        self._sink = sink

    @override
    async def now(self) -> datetime:
        return self._clock.now()

    # The one way to write.

    @override
    async def commit(self, changes: Changes) -> None:
        await checkpoint()  # a caller that is cancelled leaves here, before anything is done
        with self._lock:
            after = self._kept.copied()
            self._check_time(changes)
            self._write_records(after, changes)
            self._write_books(after, changes)
            self._write_signals(after, changes)
            for fence in changes.fences:  # conditions: what holds before this very commit
                self._check_fence(self._kept.leases.get(fence.subject, Lease()), fence)
            for claim in changes.claims:  # last, because giving a run back looks at its signals
                after.leases[claim.subject] = self._lease_after(after, claim)
            self._kept = after
        if self._sink is not None and changes.tasks:
            self._sink.submit(changes.tasks)

    def _check_time(self, changes: Changes) -> None:
        now = self._clock.now()
        if changes.now is not None and now < changes.now:
            raise StaleWriteError("now", f"the clock stands at {now}")
        if changes.until is not None and now >= changes.until:
            raise StaleWriteError("until", f"the clock stands at {now}")

    def _write_records(self, after: Everything, changes: Changes) -> None:
        for run in changes.runs:
            self._write(after, run.record, run.body, run.kid, run.mac)
        for one in changes.occurrences:
            self._write(after, one.record, one.body, one.kid, one.mac)
        others: list[Stored] = [*changes.requests, *changes.tokens, *changes.deliveries]
        for record in others:
            self._write(after, record, encode(record))

    def _write(
        self, after: Everything, record: Stored, body: bytes, kid: int = 0, mac: bytes = b""
    ) -> None:
        rows, row = after.rows[type(record)], Row(id_of(record), columns_of(record), body, kid, mac)
        standing = rows[row.name].columns["version"] if row.name in rows else 0
        if standing != record.version - 1:
            raise StaleWriteError(row.name, f"it is at version {standing} by now")
        key = (row.columns.get("flow_name"), row.columns.get("key"))
        for other in rows.values() if key[1] is not None else ():
            taken = (other.columns["flow_name"], other.columns["key"]) == key
            if taken and other.name != row.name:
                raise StaleWriteError(row.name, "its key stands for another run")
        rows[row.name] = row

    def _write_books(self, after: Everything, changes: Changes) -> None:
        for entry in changes.audit:
            entries = after.audit.setdefault(entry.stream, [])
            head = entries[-1].hash if entries else bytes(32)
            if (entry.seq, entry.prev_hash) != (len(entries) + 1, head):
                raise StaleWriteError(entry.stream, f"it has {len(entries)} entries by now")
            entries.append(replace(entry, personal=dict(entry.personal)))
        for key in changes.handled:
            if key in after.handled:
                raise StaleWriteError(key, "the message was dealt with before")
            after.handled.add(key)
        for kid, value in changes.key_checks.items():
            if after.key_checks.setdefault(kid, value) != value:
                raise StaleWriteError(f"key {kid}", "another key has this id")
        after.marks |= changes.marks

    def _write_signals(self, after: Everything, changes: Changes) -> None:
        for signal in changes.signals:
            address = (signal.run_id, signal.cause)
            if address not in after.signals:  # telling twice is telling once
                facts = json.loads(encode_facts(signal.facts, signal.run_id))
                after.signals[address] = replace(signal, facts=facts)
                after.waiting[address] = None
        for address in changes.consumed:
            if address not in after.waiting:
                raise StaleWriteError(address[0], f"its signal {address[1]!r} is not there")
            del after.waiting[address]

    def _lease_after(self, after: Everything, change: Acquire | Renew | Release) -> Lease:
        standing, subject = after.leases.get(change.subject, Lease()), change.subject
        if isinstance(change, Acquire):
            if self._is_live(standing) and standing.holder != change.holder:
                raise StaleWriteError(subject, f"{standing.holder} holds it")
            if standing.fencing != change.fencing - 1:
                raise StaleWriteError(subject, f"its fencing is {standing.fencing} by now")
        else:
            self._check_held(standing, change)
        if isinstance(change, Release):
            if any(run_id == subject for run_id, _ in after.waiting):
                raise StaleWriteError(subject, "it has a signal that is not consumed")
            return Lease("", standing.fencing)
        ends = self._lease_clock() + change.lease.total_seconds()
        return Lease(change.holder, change.fencing, ends)

    def _check_fence(self, standing: Lease, fence: Fence) -> None:
        self._check_held(standing, fence)
        left = standing.ends - self._lease_clock()
        wanted = fence.remaining
        if wanted is not None and (left <= 0 or left < wanted.total_seconds()):
            raise StaleWriteError(fence.subject, "too little of its lease is left")

    def _check_held(self, standing: Lease, change: Renew | Release | Fence) -> None:
        held = (standing.holder, standing.fencing) == (change.holder, change.fencing)
        if not (held and standing.holder):
            raise StaleWriteError(change.subject, f"{standing.holder or 'nobody'} holds it")

    def _is_live(self, lease: Lease) -> bool:
        return bool(lease.holder) and self._lease_clock() < lease.ends

    # Reading: rows are found and ordered by their columns, and only what is returned is decoded.

    def _rows(self, model: type[Record], *order: str, **wanted: Column) -> list[Row]:
        """Return the rows whose columns are as wanted, `None` being anything, in that order."""
        found = [
            row
            for row in self._kept.rows[model].values()
            if all(value in {None, row.columns[name]} for name, value in wanted.items())
        ]
        return sorted(found, key=lambda row: _place(row, order))

    def _one(self, model: type[RecordT], name: str) -> Row:
        row = self._kept.rows[model].get(name)
        if row is None:
            raise NotFoundError(model.__name__.lower(), name)
        return row

    @override
    async def run(self, run_id: str) -> Sealed[Run]:
        return _sealed(Run, self._one(Run, run_id))

    @override
    async def run_by_key(self, flow_name: str, key: str) -> Sealed[Run] | None:
        found = self._rows(Run, flow_name=flow_name, key=key)
        return _sealed(Run, found[0]) if found else None

    @override
    async def runs(self, query: RunQuery) -> Sequence[Sealed[Run]]:
        order = ("created_at", "run_id")
        found = self._rows(
            Run,
            *order,
            status=query.status,
            flow_name=query.flow_name,
            parent_run_id=query.parent_run_id,
        )
        if query.after is not None:
            last = (micros_of(query.after[0]), query.after[1])
            found = [row for row in found if _place(row, order) > last]
        return [_sealed(Run, row) for row in found[: query.limit]]

    @override
    async def journal(self, run_id: str) -> Sequence[Sealed[Occurrence]]:
        return [_sealed(Occurrence, row) for row in self._rows(Occurrence, "seq", run_id=run_id)]

    @override
    async def signals(self, run_id: str) -> Sequence[Signal]:
        kept = self._kept
        return [copy.deepcopy(kept.signals[name]) for name in kept.waiting if name[0] == run_id]

    @override
    async def late_results(self, run_id: str) -> Sequence[Signal]:
        return [
            copy.deepcopy(signal)
            for signal in self._kept.signals.values()
            if (signal.run_id, signal.kind) == (run_id, "late_result")
        ]

    def _callers(self) -> list[Row]:
        """Return the runs that somebody should advance, longest waiting first."""
        kept = self._kept
        found: list[tuple[int, str, Row]] = []
        for run_id, row in kept.rows[Run].items():
            told = [kept.signals[name] for name in kept.waiting if name[0] == run_id]
            since = [micros_of(one.created_at) for one in told if one.kind != "late_result"]
            if row.columns["status"] in {"ready", "running"}:
                since.append(int(row.columns["updated_at"] or 0))
            if since and not self._is_live(self._lease(run_id)):
                found.append((min(since), run_id, row))
        return [row for _, _, row in sorted(found, key=lambda one: one[:2])]

    @override
    async def ready(self, names: Sequence[str], *, limit: int) -> Sequence[str]:
        found = [row.name for row in self._callers() if row.columns["flow_name"] in names]
        return found[:limit]

    @override
    async def unclaimed(self, names: Sequence[str]) -> Mapping[str, int]:
        flows = [str(row.columns["flow_name"]) for row in self._callers()]
        return Counter(flow for flow in flows if flow not in names)

    @override
    async def request(self, request_id: str) -> Request:
        return _decoded(Request, self._one(Request, request_id))

    @override
    async def requests(self, query: RequestQuery) -> Sequence[Request]:
        order = ("created_at", "request_id")
        found = self._rows(
            Request, *order, status=query.status, run_id=query.run_id, risk=query.risk
        )
        if query.assignee is not None:
            asked = query.assignee
            found = [row for row in found if asked in json.loads(str(row.columns["assignees"]))]
        if query.newest_first:
            found.reverse()
        if query.after is not None:
            last = (micros_of(query.after[0]), query.after[1])
            beyond = last.__gt__ if query.newest_first else last.__lt__
            found = [row for row in found if beyond(_place(row, order))]
        return [_decoded(Request, row) for row in found[: query.limit]]

    @override
    async def expired(self, now: datetime, *, limit: int) -> Sequence[str]:
        pending = self._rows(Request, "expires_at", "request_id", status="pending")
        over = [row.name for row in pending if _is_up(row.columns["expires_at"], now)]
        return over[:limit]

    @override
    async def token(self, token_id: str) -> TokenRow | None:
        row = self._kept.rows[TokenRow].get(token_id)
        return None if row is None else _decoded(TokenRow, row)

    @override
    async def tokens(self, request_id: str) -> Sequence[TokenRow]:
        return [_decoded(TokenRow, row) for row in self._rows(TokenRow, request_id=request_id)]

    @override
    async def delivery(self, delivery_id: str) -> Delivery:
        return _decoded(Delivery, self._one(Delivery, delivery_id))

    @override
    async def deliveries(self, request_id: str) -> Sequence[Delivery]:
        found = self._rows(Delivery, "created_at", "delivery_id", request_id=request_id)
        return [_decoded(Delivery, row) for row in found]

    @override
    async def due_deliveries(self, now: datetime, *, limit: int) -> Sequence[str]:
        due: list[str] = []
        for row in self._rows(Delivery, "not_before", "delivery_id"):
            waits = row.columns["status"] == "waiting" and _is_up(row.columns["not_before"], now)
            lost = row.columns["status"] == "sending" and not self._is_live(self._lease(row.name))
            due += [row.name] * (waits or lost)
        return due[:limit]

    @override
    async def oldest_unsent(self) -> Mapping[str, datetime]:
        oldest: dict[str, datetime] = {}
        for row in self._rows(Delivery, "created_at"):
            if row.columns["status"] in {"waiting", "sending"}:
                created = instant_of(int(row.columns["created_at"] or 0))
                oldest.setdefault(str(row.columns["notifier"]), created)
        return oldest

    def _lease(self, subject: str) -> Lease:
        return self._kept.leases.get(subject, Lease())

    @override
    async def claim(self, subject: str) -> Claim | None:
        lease = self._kept.leases.get(subject)
        if lease is None:
            return None
        live = self._is_live(lease)
        return Claim(subject=subject, holder=lease.holder, fencing=lease.fencing, live=live)

    @override
    async def live_claims(self, prefix: str) -> Sequence[Claim]:
        subjects = sorted(one for one in self._kept.leases if one.startswith(prefix))
        claims = [await self.claim(subject) for subject in subjects]
        return [claim for claim in claims if claim is not None and claim.live]

    @override
    async def audit(self, stream: str) -> Sequence[AuditEntry]:
        return copy.deepcopy(self._kept.audit.get(stream, []))

    @override
    async def was_handled(self, key: str) -> bool:
        return key in self._kept.handled

    @override
    async def mark(self, name: str) -> str | None:
        return self._kept.marks.get(name)

    @override
    async def key_checks(self) -> Mapping[int, str]:
        return dict(self._kept.key_checks)

    @override
    async def kids_in_use(self, now: datetime) -> frozenset[int]:
        runs = [row for row in self._rows(Run) if row.columns["status"] not in TERMINAL]
        going = {row.name for row in runs}
        steps = [row for row in self._rows(Occurrence) if row.columns["run_id"] in going]
        pending = {row.name for row in self._rows(Request, status="pending")}
        kids = {row.kid for row in (*runs, *steps)}
        for row in self._rows(Request):
            if row.name in pending or row.columns["run_id"] in going:
                kids.update(json.loads(str(row.columns["kids"])))
        for row in self._rows(TokenRow):
            is_over = _is_up(row.columns["not_after"], now)
            if row.columns["request_id"] in pending and not is_over:
                kids.add(int(row.columns["kid"] or 0))
        return frozenset(kids)

    @override
    async def counts(self) -> Counts:
        return Counts(
            requests=self._by_status(Request),
            runs=self._by_status(Run),
            deliveries=self._by_status(Delivery),
        )

    def _by_status(self, model: type[Record]) -> Mapping[str, int]:
        return Counter(str(row.columns["status"]) for row in self._rows(model))


def _place(row: Row, order: Sequence[str]) -> tuple[Any, ...]:
    return tuple(row.columns[name] or 0 for name in order)


def _is_up(instant: Column, now: datetime) -> bool:
    return instant is not None and int(instant) <= micros_of(now)


def _decoded(model: type[RecordT], row: Row) -> RecordT:
    return decode(model, row.body, row.name)


def _sealed(model: type[ModelT], row: Row) -> Sealed[ModelT]:
    return Sealed(record=_decoded(model, row), body=row.body, kid=row.kid, mac=row.mac)
