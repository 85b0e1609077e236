"""A store in this process's memory: for tests, for trying out, for what need not last (floor 4)."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from datetime import datetime
from heapq import merge
from itertools import islice
from threading import Lock
from types import TracebackType
from typing import Final, Self

from anyio.lowlevel import checkpoint
from typing_extensions import override

from signoff.errors import StaleWriteError
from signoff.model.audit import AuditEntry
from signoff.model.changes import Changes, CheckpointT, Claim, Sealed, Signal
from signoff.model.delivery import Delivery
from signoff.model.request import Request
from signoff.model.run import TERMINAL, Occurrence, Run
from signoff.model.token import TokenRow
from signoff.ports import Clock, Counts, RequestQuery, RunQuery, Store, TaskSink
from signoff.records import contradiction, decode, instant_of, micros_of
from signoff.stores.clock import SystemClock
from signoff.stores.memory_claims import Claims
from signoff.stores.memory_signals import Signals, Told, told
from signoff.stores.memory_tables import (
    Deliveries,
    Occurrences,
    Requests,
    Row,
    Runs,
    Tokens,
    Written,
    written,
    written_sealed,
)
from signoff.stores.ordered import Grouped

_NO_HASH: Final = bytes(32)
"""What the first entry of an audit stream names as the hash before it."""


@dataclass(frozen=True, slots=True)
class _Encoded:
    """The rows of a commit, made before the lock is taken."""

    runs: list[Written[Run]]
    occurrences: list[Written[Occurrence]]
    requests: list[Written[Request]]
    tokens: list[Written[TokenRow]]
    deliveries: list[Written[Delivery]]
    signals: list[Told]

    @classmethod
    def of(cls, changes: Changes) -> Self:
        """Encode everything. Raises `CodecError`."""
        return cls(
            runs=[written_sealed(run) for run in changes.runs],
            occurrences=[written_sealed(one) for one in changes.occurrences],
            requests=[written(request) for request in changes.requests],
            tokens=[written(token) for token in changes.tokens],
            deliveries=[written(delivery) for delivery in changes.deliveries],
            signals=[told(signal) for signal in changes.signals],
        )


class MemoryStore(Store):
    """
    Keeps everything in memory, as encoded bytes, for as long as the object lives.

    It may be left and entered again, and is used from any number of loops and threads. What
    is due or ready is found in order, so 100,000 parked runs cost a look for work nothing.

    Args:
        lease_clock: Seconds that leases go by; for tests of leases.
    """

    durable = False
    shared = False
    location = "memory"

    def __init__(self, *, lease_clock: Callable[[], float] = time.monotonic) -> None:
        self._lock = Lock()
        self._clock: Clock = SystemClock()
        self._sink: TaskSink | None = None
        self._runs = Runs()
        self._occurrences = Occurrences()
        self._requests = Requests()
        self._tokens = Tokens()
        self._deliveries = Deliveries()
        self._signals = Signals()
        self._claims = Claims(lease_clock)
        self._callers = Grouped()
        self._streams: dict[str, list[AuditEntry]] = {}
        self._handled: set[str] = set()
        self._marks: dict[str, str] = {}
        self._key_checks: dict[int, str] = {}

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
    async def commit(self, changes: Changes) -> None:
        await checkpoint()
        encoded = _Encoded.of(changes)
        with self._lock:
            self._check_time(changes)
            self._check_books(changes)
            self._check_records(encoded)
            self._claims.check(changes.fences)
            signals = self._signals.after(encoded.signals, changes.consumed)
            leases = self._claims.after(changes.claims, has_signals=signals.wait_for)

            self._put_records(encoded)
            self._put_books(changes)
            self._signals.put(signals)
            self._claims.put(leases)
            self._sort_in({run.row.record_id for run in encoded.runs} | signals.run_ids)
            sink = self._sink
        if sink and changes.tasks:
            sink.submit(changes.tasks)

    @override
    def use_clock(self, clock: Clock) -> None:
        self._clock = clock

    @override
    def hand_tasks_to(self, sink: TaskSink) -> None:
        self._sink = sink

    @override
    async def now(self) -> datetime:
        return self._clock.now()

    @override
    async def run(self, run_id: str) -> Sealed[Run]:
        with self._lock:
            row = self._runs.get(run_id)
        return _unsealed(Run, row)

    @override
    async def run_by_key(self, flow_name: str, key: str) -> Sealed[Run] | None:
        with self._lock:
            run_id = self._runs.by_key.get((flow_name, key))
            row = self._runs.get(run_id) if run_id else None
        return _unsealed(Run, row) if row else None

    @override
    async def runs(self, query: RunQuery) -> Sequence[Sealed[Run]]:
        with self._lock:
            rows = self._runs.page(query)
        return [_unsealed(Run, row) for row in rows]

    @override
    async def journal(self, run_id: str) -> Sequence[Sealed[Occurrence]]:
        with self._lock:
            rows = self._occurrences.pick(self._occurrences.by_run.group(run_id).ids())
        return [_unsealed(Occurrence, row) for row in rows]

    @override
    async def signals(self, run_id: str) -> Sequence[Signal]:
        with self._lock:
            waiting = self._signals.waiting(run_id)
        return [one.read() for one in waiting]

    @override
    async def late_results(self, run_id: str) -> Sequence[Signal]:
        with self._lock:
            everything = self._signals.all_of(run_id)
        return [one.read() for one in everything if one.signal.kind == "late_result"]

    @override
    async def ready(self, names: Sequence[str], *, limit: int) -> Sequence[str]:
        with self._lock:
            callers = merge(*(self._callers.group(name).places() for name in set(names)))
            return list(islice(self._unheld(run_id for _, run_id in callers), limit))

    @override
    async def unclaimed(self, names: Sequence[str]) -> Mapping[str, int]:
        with self._lock:
            waiting = {
                name: sum(1 for _ in self._unheld(callers.ids()))
                for name, callers in self._callers.filled().items()
                if name not in names
            }
        return {name: count for name, count in waiting.items() if count}

    @override
    async def request(self, request_id: str) -> Request:
        with self._lock:
            row = self._requests.get(request_id)
        return self._requests.read(row)

    @override
    async def requests(self, query: RequestQuery) -> Sequence[Request]:
        with self._lock:
            rows = self._requests.page(query)
        return [self._requests.read(row) for row in rows]

    @override
    async def expired(self, now: datetime, *, limit: int) -> Sequence[str]:
        with self._lock:
            over = self._requests.expiring.up_to(micros_of(now))
            return [request_id for _, request_id in islice(over, limit)]

    @override
    async def token(self, token_id: str) -> TokenRow | None:
        with self._lock:
            row = self._tokens.rows.get(token_id)
        return self._tokens.read(row) if row else None

    @override
    async def tokens(self, request_id: str) -> Sequence[TokenRow]:
        with self._lock:
            rows = self._tokens.pick(self._tokens.by_request.group(request_id).ids())
        return [self._tokens.read(row) for row in rows]

    @override
    async def delivery(self, delivery_id: str) -> Delivery:
        with self._lock:
            row = self._deliveries.get(delivery_id)
        return self._deliveries.read(row)

    @override
    async def deliveries(self, request_id: str) -> Sequence[Delivery]:
        with self._lock:
            rows = self._deliveries.pick(self._deliveries.by_request.group(request_id).ids())
        return [self._deliveries.read(row) for row in rows]

    @override
    async def due_deliveries(self, now: datetime, *, limit: int) -> Sequence[str]:
        with self._lock:
            by_status = self._deliveries.by_status
            waiting = by_status.group("waiting").up_to(micros_of(now))
            sending = by_status.group("sending").places()
            lost = (place for place in sending if not self._claims.is_live(place[1]))
            return [delivery_id for _, delivery_id in islice(merge(waiting, lost), limit)]

    @override
    async def oldest_unsent(self) -> Mapping[str, datetime]:
        with self._lock:
            unsent = self._deliveries.unsent.filled()
            return {name: instant_of(order.places()[0][0]) for name, order in unsent.items()}

    @override
    async def claim(self, subject: str) -> Claim | None:
        with self._lock:
            return self._claims.get(subject)

    @override
    async def live_claims(self, prefix: str) -> Sequence[Claim]:
        with self._lock:
            return self._claims.live(prefix)

    @override
    async def audit(self, stream: str) -> Sequence[AuditEntry]:
        with self._lock:
            entries = list(self._streams.get(stream, ()))
        return [replace(entry, personal=dict(entry.personal)) for entry in entries]

    @override
    async def was_handled(self, key: str) -> bool:
        with self._lock:
            return key in self._handled

    @override
    async def mark(self, name: str) -> str | None:
        with self._lock:
            return self._marks.get(name)

    @override
    async def key_checks(self) -> Mapping[int, str]:
        with self._lock:
            return dict(self._key_checks)

    @override
    async def kids_in_use(self, now: datetime) -> frozenset[int]:
        with self._lock:
            return frozenset(self._kids_in_use(micros_of(now)))

    @override
    async def counts(self) -> Counts:
        with self._lock:
            return Counts(
                requests=_sizes(self._requests.by_status),
                runs=_sizes(self._runs.by_status),
                deliveries=_sizes(self._deliveries.by_status),
            )

    def _check_time(self, changes: Changes) -> None:
        now = self._clock.now()
        if changes.now is not None and now < changes.now:
            raise StaleWriteError("now", f"the clock stands at {now}, before {changes.now}")
        if changes.until is not None and now >= changes.until:
            raise StaleWriteError("until", f"the clock stands at {now}, not before {changes.until}")

    def _check_records(self, encoded: _Encoded) -> None:
        self._runs.check(encoded.runs)
        self._occurrences.check(encoded.occurrences)
        self._requests.check(encoded.requests)
        self._tokens.check(encoded.tokens)
        self._deliveries.check(encoded.deliveries)

    def _check_books(self, changes: Changes) -> None:
        heads: dict[str, tuple[int, bytes]] = {}
        for entry in changes.audit:
            seq, head = heads.get(entry.stream, self._head(entry.stream))
            if (entry.seq, entry.prev_hash) != (seq + 1, head):
                raise StaleWriteError(entry.stream, f"entry {entry.seq} cannot follow entry {seq}")
            heads[entry.stream] = (entry.seq, entry.hash)
        seen: set[str] = set()
        for key in changes.handled:
            if key in seen or key in self._handled:
                raise StaleWriteError(key, "the message was dealt with before")
            seen.add(key)
        for kid, value in changes.key_checks.items():
            if self._key_checks.get(kid, value) != value:
                raise StaleWriteError(f"key {kid}", "another key has this id")

    def _put_records(self, encoded: _Encoded) -> None:
        self._runs.put(encoded.runs)
        self._occurrences.put(encoded.occurrences)
        self._requests.put(encoded.requests)
        self._tokens.put(encoded.tokens)
        self._deliveries.put(encoded.deliveries)

    def _put_books(self, changes: Changes) -> None:
        for entry in changes.audit:
            kept = replace(entry, personal=dict(entry.personal))
            self._streams.setdefault(entry.stream, []).append(kept)
        self._handled.update(changes.handled)
        self._marks.update(changes.marks)
        self._key_checks.update(changes.key_checks)

    def _head(self, stream: str) -> tuple[int, bytes]:
        entries = self._streams.get(stream)
        return (len(entries), entries[-1].hash) if entries else (0, _NO_HASH)

    def _sort_in(self, run_ids: AbstractSet[str]) -> None:
        """Note which of these runs somebody should advance, and since when."""
        for run_id in run_ids & self._runs.rows.keys():
            reasons = (self._runs.open_since.get(run_id), self._signals.oldest_call(run_id))
            calls = [since for since in reasons if since is not None]
            name = str(self._runs.rows[run_id].columns["flow_name"]) if calls else None
            self._callers.put(run_id, name, min(calls, default=0))

    def _unheld(self, run_ids: Iterable[str]) -> Iterator[str]:
        return (run_id for run_id in run_ids if not self._claims.is_live(run_id))

    def _kids_in_use(self, now: int) -> Iterator[int]:
        runs = self._runs.rows.values()
        going = {row.record_id for row in runs if row.columns["status"] not in TERMINAL}
        pending = set(self._requests.by_status.group("pending").ids())
        yield from (row.kid for row in runs if row.record_id in going)
        for row in self._occurrences.rows.values():
            if row.columns["run_id"] in going:
                yield row.kid
        seals = {
            str(row.columns["kids"])
            for row in self._requests.rows.values()
            if row.record_id in pending or row.columns["run_id"] in going
        }
        for kids in seals:
            yield from json.loads(kids)
        for need in self._tokens.needs.values():
            if need.request_id in pending and need.until > now:
                yield need.kid


def _unsealed(model: type[CheckpointT], row: Row) -> Sealed[CheckpointT]:
    record = decode(model, row.body, row.record_id)
    return Sealed(
        record=record,
        body=row.body,
        kid=row.kid,
        mac=row.mac,
        contradicts=contradiction(record, row.columns),
    )


def _sizes(groups: Grouped) -> Mapping[str, int]:
    return {name: len(group) for name, group in groups.filled().items()}
