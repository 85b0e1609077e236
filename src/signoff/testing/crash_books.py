"""What a store tells after a crash, to be compared with what it told before, or without one (floor 9)."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from typing import Final, Self

from typing_extensions import override

from signoff.errors import NotFoundError
from signoff.model.changes import Changes
from signoff.model.decision import Resolution
from signoff.model.request import AuditHead, Request
from signoff.model.run import Run
from signoff.ports import RequestQuery, RunQuery, Store
from signoff.rules.chain import Link, verify_chain
from signoff.testing.crash_report import Crash
from signoff.testing.faulty import FaultyStore

_PAGE: Final = 200
_ENDINGS: Final = frozenset(
    f"request.{status}" for status in ("approved", "rejected", "answered", "expired", "cancelled")
)


class Acknowledging(FaultyStore):
    """
    A store that remembers which resolutions it has acknowledged, until it fails.

    Attributes:
        acknowledged: They, by request id.
    """

    acknowledged: dict[str, Resolution]

    @classmethod
    def over(cls, store: Store, crash: Crash | None, acknowledged: dict[str, Resolution]) -> Self:
        """Return one that fails where the crash says, and remembers in the dict it is given."""
        own = cls(store, at=crash.at, side=crash.side) if crash else cls(store)
        own.acknowledged = acknowledged
        return own

    @override
    async def commit(self, changes: Changes) -> None:
        """Commit, or fail, and remember."""
        await super().commit(changes)
        for request in changes.requests:
            if request.resolution is not None:
                self.acknowledged[request.request_id] = request.resolution


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """
    What there is at the end of a scenario.

    Attributes:
        effects: How often each effect happened.
        runs: How many runs there are of each flow and status.
        questions: How many requests there are of each kind, but for those about calls in doubt.
        pending: How many of the requests still wait.
        returned: What the scenario returned.
        faults: Records that are at odds with their audit entries.
        twice: Requests that were decided more than once.
        gone: Acknowledged decisions that are not there, or are others.
    """

    effects: Counter[str]
    runs: Counter[tuple[str, str]]
    questions: Counter[str]
    pending: int
    returned: object
    faults: tuple[str, ...] = ()
    twice: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()


@dataclass(slots=True)
class Differences:
    """What is lost, doubled or otherwise in books, next to those of a scenario without a crash."""

    lost: list[str] = field(default_factory=list[str])
    doubled: list[str] = field(default_factory=list[str])
    broken: list[str] = field(default_factory=list[str])


def differences(books: Books, sound: Books) -> Differences:
    """Return what is otherwise in `books` than in the `sound` ones."""
    found = Differences()
    found.lost += books.gone
    found.doubled += books.twice
    found.broken += books.faults
    flows, sound_flows = _by_flow(books.runs), _by_flow(sound.runs)
    for what, there, expected in (
        ("effect", books.effects, sound.effects),
        ("run of", flows, sound_flows),
        ("request", books.questions, sound.questions),
    ):
        found.lost += [f"{what} {each}" for each in _each(expected - there)]
        found.doubled += [f"{what} {each}" for each in _each(there - expected)]
    if flows == sound_flows:
        ended = books.runs - sound.runs
        found.broken += [f"run of {flow} is {status}" for flow, status in sorted(ended)]
    if books.pending != sound.pending:
        found.broken.append(f"{books.pending} requests wait, not {sound.pending}")
    if books.returned != sound.returned:
        found.broken.append(f"it returned {books.returned!r}, not {sound.returned!r}")
    return found


def _by_flow(runs: Counter[tuple[str, str]]) -> Counter[str]:
    counted: Counter[str] = Counter()
    for (flow, _), number in runs.items():
        counted[flow] += number
    return counted


def _each(counted: Counter[str]) -> list[str]:
    return [f"{name} ({number})" if number > 1 else name for name, number in counted.items()]


async def read_books(
    store: Store,
    *,
    effects: Iterable[object],
    returned: object,
    acknowledged: dict[str, Resolution],
) -> Books:
    """Return what a store tells at the end of a scenario, next to what happened."""
    runs, requests = await _all_runs(store), await _all_requests(store)
    asked = (one for one in requests if one.kind != "in_doubt")
    return Books(
        effects=Counter(one if isinstance(one, str) else repr(one) for one in effects),
        runs=Counter((run.flow_name, run.status) for run in runs),
        questions=Counter(f"{one.flow_name} {one.message!r}" for one in asked),
        pending=sum(one.status == "pending" for one in requests),
        returned=returned,
        faults=tuple(await _faults(store, runs, requests)),
        twice=tuple([one async for one in _decided_twice(store, requests)]),
        gone=tuple([one async for one in _gone(store, acknowledged)]),
    )


async def wrong_in(store: Store) -> list[str]:
    """Return what is wrong in a store at any moment, whatever is under way."""
    runs, requests = await _all_runs(store), await _all_requests(store)
    twice = [one async for one in _decided_twice(store, requests)]
    return [*await _faults(store, runs, requests), *twice]


async def _faults(store: Store, runs: Iterable[Run], requests: Iterable[Request]) -> list[str]:
    faults = [await _fault(store, f"run:{run.run_id}", run.audit) for run in runs]
    faults += [await _fault(store, f"request:{one.request_id}", one.audit) for one in requests]
    return [fault for fault in faults if fault]


async def _all_runs(store: Store) -> list[Run]:
    found: list[Run] = []
    after = None
    while page := await store.runs(RunQuery(after=after, limit=_PAGE)):
        found += [one.record for one in page]
        after = (found[-1].created_at, found[-1].run_id)
    return found


async def _all_requests(store: Store) -> list[Request]:
    found: list[Request] = []
    after = None
    while page := await store.requests(RequestQuery(after=after, limit=_PAGE)):
        found += page
        after = (found[-1].created_at, found[-1].request_id)
    return found


async def _fault(store: Store, stream: str, head: AuditHead) -> str:
    """Return what is wrong with a record's audit entries; nothing if all is well."""
    links = [
        Link(stream=one.stream, seq=one.seq, prev_hash=one.prev_hash, body=one.body, hash=one.hash)
        for one in await store.audit(stream)
    ]
    if verify_chain(links) is not None:
        return f"the audit entries of {stream} are no whole chain"
    if (head.seq, head.hash) != (len(links), links[-1].hash.hex() if links else ""):
        return f"{stream} is at odds with its audit entries"
    return ""


async def _decided_twice(store: Store, requests: Iterable[Request]) -> AsyncIterator[str]:
    for request in requests:
        entries = await store.audit(f"request:{request.request_id}")
        if sum(entry.event in _ENDINGS for entry in entries) > 1:
            yield f"decision on {request.message!r}"


async def _gone(store: Store, acknowledged: dict[str, Resolution]) -> AsyncIterator[str]:
    for request_id, resolution in acknowledged.items():
        try:
            stored = (await store.request(request_id)).resolution
        except NotFoundError:
            stored = None
        if stored != resolution:
            yield f"decision {resolution.outcome!r} of {resolution.reviewer} on {request_id}"
