"""
Every test of the store contract can fail: a store that is wrong in one way does not pass it.

Each `Faulty` class is a `MemoryStore` with one fault; `caught_by` names the tests that see it.
"""

from __future__ import annotations

import copy
import inspect
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from datetime import datetime, timedelta
from itertools import product
from pathlib import Path
from types import TracebackType
from typing import ClassVar, TypeVar

import pytest
from anyio.lowlevel import checkpoint
from typing_extensions import override

from signoff.errors import ConfigurationError, NotFoundError, SignoffError, StaleWriteError
from signoff.model.audit import AuditEntry
from signoff.model.base import FORMAT
from signoff.model.changes import (
    Acquire,
    Changes,
    Checkpoint,
    CheckpointT,
    Claim,
    Release,
    Renew,
    Sealed,
    Signal,
)
from signoff.model.delivery import Delivery
from signoff.model.request import Request
from signoff.model.run import Occurrence, Run
from signoff.model.token import TokenRow
from signoff.ports import Clock, Counts, RequestQuery, RunQuery, Store, TaskSink
from signoff.stores import MemoryStore
from signoff.stores.leases import Lease
from signoff.stores.memory_claims import Claims
from signoff.stores.memory_signals import Address, Signals, SignalsAfter, Told
from signoff.stores.memory_tables import Requests, Runs, Written
from signoff.testing import StoreContract
from signoff.testing.builders import MICROSECOND, NOON, AnyRecord, sealed
from signoff.testing.store_contract import Capability, Reopen
from signoff.testing.store_contract.processes import ProcessesContract

pytestmark = pytest.mark.one_python

RecordT = TypeVar("RecordT", Request, TokenRow, Delivery)

WRITES = [one.name for one in fields(Changes) if one.name not in {"tasks", "now", "until"}]
ENDLESS = 10**9
"""A limit that limits nothing."""


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """Return one event loop: whether the contract bites has nothing to do with which."""
    return "asyncio"


class Faulty(MemoryStore):
    """A store with one fault; by default in what it makes of the changes that it is given."""

    caught_by: ClassVar[tuple[str, ...]] = ()

    def bend(self, changes: Changes) -> Changes:
        """Return what is committed in place of `changes`."""
        return changes

    @override
    async def commit(self, changes: Changes) -> None:
        await super().commit(self.bend(changes))


def rewritten(changes: Changes, change: Callable[[AnyRecord], Mapping[str, object]]) -> Changes:
    """Return changes whose records have the fields that `change` gives for each of them."""

    def checkpoint(one: Sealed[CheckpointT]) -> Sealed[CheckpointT]:
        given = change(one.record)
        if not given:
            return one
        return sealed(one.record.model_copy(update=given), kid=one.kid, mac=one.mac)

    def record(one: RecordT) -> RecordT:
        return one.model_copy(update=change(one))

    return replace(
        changes,
        runs=tuple(checkpoint(one) for one in changes.runs),
        occurrences=tuple(checkpoint(one) for one in changes.occurrences),
        requests=tuple(record(one) for one in changes.requests),
        tokens=tuple(record(one) for one in changes.tokens),
        deliveries=tuple(record(one) for one in changes.deliveries),
    )


# Commits: whole, isolated, read as written.


class CarelessRequests(Requests):
    """Requests whose versions nobody compares."""

    @override
    def check(self, changes: Sequence[Written[Request]]) -> None:
        """Find everything in order."""


class LosesUpdates(Faulty):
    """Writes a request over any version of it."""

    caught_by = (
        "test_exactly_one_of_many_racing_writers_wins",
        "test_exactly_one_of_many_threads_wins",
        "test_a_record_is_written_only_over_the_version_before",
    )

    def __init__(self) -> None:
        super().__init__()
        self._requests = CarelessRequests()


class WritesInPieces(Faulty):
    """Commits one kind of change after the other."""

    caught_by = ("test_a_commit_that_fails_one_check_writes_nothing",)

    @override
    async def commit(self, changes: Changes) -> None:
        for name in WRITES:
            piece = Changes()
            object.__setattr__(piece, name, getattr(changes, name))
            await super().commit(piece)
        await super().commit(Changes(now=changes.now, until=changes.until, tasks=changes.tasks))


class WritesRunsOneByOne(Faulty):
    """Commits one run after the other."""

    caught_by = ("test_a_read_never_sees_half_of_a_commit",)

    @override
    async def commit(self, changes: Changes) -> None:
        for run in changes.runs:
            await super().commit(Changes(runs=(run,)))
            await checkpoint()
        await super().commit(replace(changes, runs=()))


class LeavesHalfWhenCancelled(Faulty):
    """May be cancelled between the records and their audit entries."""

    caught_by = ("test_a_cancelled_commit_is_made_whole_or_not_at_all",)

    @override
    async def commit(self, changes: Changes) -> None:
        await super().commit(replace(changes, audit=()))
        for _ in range(4):
            await checkpoint()
        await super().commit(Changes(audit=changes.audit))


class RefusesToDoNothing(Faulty):
    """Takes an empty commit for a mistake."""

    caught_by = ("test_a_commit_without_changes_changes_nothing",)

    @override
    def bend(self, changes: Changes) -> Changes:
        if changes == Changes():
            raise StaleWriteError("commit", "nothing to do")
        return changes


class DropsTokens(Faulty):
    """Writes no tokens."""

    caught_by = (
        "test_a_commit_writes_everything_in_it",
        "test_a_request_has_its_tokens",
        "test_a_token_is_found_by_its_exact_id",
    )

    @override
    def bend(self, changes: Changes) -> Changes:
        return replace(changes, tokens=())


class WritesARecordOnceInACommit(Faulty):
    """Refuses two versions of one record in one commit."""

    caught_by = ("test_two_versions_of_a_record_may_follow_each_other_in_a_commit",)

    @override
    def bend(self, changes: Changes) -> Changes:
        ids = [request.request_id for request in changes.requests]
        if len(set(ids)) < len(ids):
            raise StaleWriteError(ids[0], "written twice")
        return changes


class RoundsTime(Faulty):
    """Keeps milliseconds."""

    caught_by = (
        "test_a_record_is_read_exactly_as_it_was_written",
        "test_a_signal_is_read_exactly_as_it_was_written",
    )

    @override
    def bend(self, changes: Changes) -> Changes:
        def rounded(at: datetime) -> datetime:
            return at.replace(microsecond=at.microsecond // 1000 * 1000)

        signals = tuple(replace(s, created_at=rounded(s.created_at)) for s in changes.signals)
        changes = replace(changes, signals=signals)
        return rewritten(
            changes,
            lambda record: {
                name: rounded(value) for name, value in record if isinstance(value, datetime)
            },
        )


class KeepsOnlyWhatItKnows(Faulty):
    """Drops members of records that this version does not know."""

    caught_by = ("test_members_that_this_version_does_not_know_are_kept",)

    @override
    def bend(self, changes: Changes) -> Changes:
        return replace(
            changes,
            requests=tuple(
                Request.model_validate(one.model_dump(include=set(Request.model_fields)))
                for one in changes.requests
            ),
        )


class ReadsEveryFormat(Faulty):
    """Takes a record of a newer format for one of its own."""

    caught_by = (
        "test_a_record_of_a_newer_format_is_refused",
        "test_a_delivery_of_a_newer_format_is_refused",
        "test_a_page_of_requests_with_a_newer_record_is_refused",
        "test_a_page_of_runs_with_a_newer_record_is_refused",
    )

    @override
    def bend(self, changes: Changes) -> Changes:
        return rewritten(changes, lambda record: {"format": FORMAT} if record.format > 1 else {})


class EncodesAgain(Faulty):
    """Stores its own bytes of a checkpoint."""

    caught_by = ("test_a_checkpoint_keeps_the_bytes_it_came_with",)

    @override
    def bend(self, changes: Changes) -> Changes:
        return rewritten(changes, lambda record: {"version": record.version})


class ReplacesWhatHasNoBytes(Faulty):
    """Stores a question mark for a lone surrogate."""

    caught_by = ("test_what_has_no_bytes_is_refused_whole",)

    @override
    def bend(self, changes: Changes) -> Changes:
        return replace(
            changes,
            requests=tuple(
                one.model_copy(update={"message": one.message.encode(errors="replace").decode()})
                for one in changes.requests
            ),
        )


class KeepsObjects(Faulty):
    """Hands out the very objects that it was given."""

    caught_by = ("test_what_is_read_is_nobody_elses",)

    def __init__(self) -> None:
        super().__init__()
        self._kept: dict[str, Sealed[Run]] = {}

    @override
    async def commit(self, changes: Changes) -> None:
        await super().commit(changes)
        self._kept |= {one.record.run_id: one for one in changes.runs}

    @override
    async def run(self, run_id: str) -> Sealed[Run]:
        return self._kept[run_id]


class RemembersByThread(Faulty):
    """Reads a request once in each thread."""

    caught_by = ("test_other_loops_read_what_was_committed",)

    def __init__(self) -> None:
        super().__init__()
        self._seen: dict[int, Request] = {}

    @override
    async def request(self, request_id: str) -> Request:
        found = await super().request(request_id)
        return self._seen.setdefault(threading.get_ident(), found)


class HandsTasksOverFirst(Faulty):
    """Gives tasks to the sink whether or not the commit is made."""

    caught_by = ("test_a_commit_that_fails_one_check_writes_nothing",)

    @override
    async def commit(self, changes: Changes) -> None:
        if self._sink:
            self._sink.submit(changes.tasks)
        await super().commit(replace(changes, tasks=()))


class KeepsItsFirstSink(Faulty):
    """Ignores every later sink."""

    caught_by = ("test_tasks_go_to_the_sink_of_the_object",)

    @override
    def hand_tasks_to(self, sink: TaskSink) -> None:
        self._sink = self._sink or sink


class NeverGoesBack(Faulty):
    """Shows the latest time that its clock ever had."""

    caught_by = ("test_business_time_is_the_clock_that_was_given",)

    _latest = datetime.min.replace(tzinfo=NOON.tzinfo)

    @override
    async def now(self) -> datetime:
        self._latest = max(self._latest, await super().now())
        return self._latest


class IgnoresNow(Faulty):
    """Does not ask whether its clock has come as far as the commit assumes."""

    caught_by = ("test_a_commit_fails_before_the_time_it_assumed",)

    @override
    def bend(self, changes: Changes) -> Changes:
        return replace(changes, now=None)


class IsInTimeAtUntil(Faulty):
    """Takes `until` for the last good instant."""

    caught_by = ("test_a_commit_fails_from_its_until_on",)

    @override
    def bend(self, changes: Changes) -> Changes:
        return replace(changes, until=changes.until and changes.until + MICROSECOND)


# Runs, their journal and signals, and what is ready.


class IgnoresCase(Faulty):
    """Compares ids and names as a careless collation does."""

    caught_by = (
        "test_a_run_that_is_not_there_is_an_error",
        "test_a_request_that_is_not_there_is_an_error",
        "test_a_token_is_found_by_its_exact_id",
        "test_a_keyed_run_is_found_by_its_flow_and_key",
        "test_a_message_is_handled_once",
        "test_the_last_mark_stands",
    )

    @override
    async def run(self, run_id: str) -> Sealed[Run]:
        return await super().run(run_id.lower())

    @override
    async def request(self, request_id: str) -> Request:
        return await super().request(request_id.lower())

    @override
    async def token(self, token_id: str) -> TokenRow | None:
        return await super().token(token_id.lower())

    @override
    async def run_by_key(self, flow_name: str, key: str) -> Sealed[Run] | None:
        names = {name.lower(): name for name, _ in self._runs.by_key}
        return await super().run_by_key(names.get(flow_name.lower(), flow_name), key)

    @override
    async def was_handled(self, key: str) -> bool:
        return await super().was_handled(key.lower())

    @override
    async def mark(self, name: str) -> str | None:
        return await super().mark(name.lower())


class FindsNoKind(Faulty):
    """Says only that something is not there."""

    caught_by = ("test_a_delivery_that_is_not_there_is_an_error",)

    @override
    async def delivery(self, delivery_id: str) -> Delivery:
        try:
            return await super().delivery(delivery_id)
        except NotFoundError:
            raise NotFoundError("record", delivery_id) from None


class CarelessRuns(Runs):
    """Runs whose keys nobody compares."""

    @override
    def check(self, changes: Sequence[Written[Run]]) -> None:
        self.by_key.clear()
        self._keys.clear()
        super().check(changes[:1])


class SharesKeys(Faulty):
    """Writes a second run with the key of another one."""

    caught_by = ("test_a_key_stands_for_one_run",)

    def __init__(self) -> None:
        super().__init__()
        self._runs = CarelessRuns()


class KeepsFormerNames(Faulty):
    """Finds a keyed run by every name that it ever had."""

    caught_by = ("test_a_run_may_take_a_new_name",)

    def __init__(self) -> None:
        super().__init__()
        self._former: dict[tuple[str, str], str] = {}

    @override
    async def commit(self, changes: Changes) -> None:
        await super().commit(changes)
        self._former |= self._runs.by_key

    @override
    async def run_by_key(self, flow_name: str, key: str) -> Sealed[Run] | None:
        run_id = self._former.get((flow_name, key))
        return await self.run(run_id) if run_id else None


class ReturnsWhatCameLast(Faulty):
    """Orders pages by when a record was last written."""

    caught_by = (
        "test_runs_come_oldest_first",
        "test_requests_come_oldest_first_or_newest_first",
        "test_the_deliveries_of_a_request_come_oldest_first",
    )

    def __init__(self) -> None:
        super().__init__()
        self._written: list[str] = []

    @override
    async def commit(self, changes: Changes) -> None:
        await super().commit(changes)
        self._written += [one.record.run_id for one in changes.runs]
        self._written += [one.request_id for one in changes.requests]
        self._written += [one.delivery_id for one in changes.deliveries]

    def _last(self, record_id: str) -> int:
        return len(self._written) - self._written[::-1].index(record_id)

    @override
    async def runs(self, query: RunQuery) -> Sequence[Sealed[Run]]:
        return sorted(await super().runs(query), key=lambda one: self._last(one.record.run_id))

    @override
    async def requests(self, query: RequestQuery) -> Sequence[Request]:
        page = await super().requests(query)
        return sorted(page, key=lambda one: self._last(one.request_id))

    @override
    async def deliveries(self, request_id: str) -> Sequence[Delivery]:
        page = await super().deliveries(request_id)
        return sorted(page, key=lambda one: self._last(one.delivery_id))


class HearsHalfOfTheQuery(Faulty):
    """Chooses by status alone."""

    caught_by = (
        "test_runs_are_chosen_by_status_flow_and_parent",
        "test_requests_are_chosen_by_status_run_assignee_and_risk",
    )

    @override
    async def runs(self, query: RunQuery) -> Sequence[Sealed[Run]]:
        return await super().runs(replace(query, flow_name=None, parent_run_id=None))

    @override
    async def requests(self, query: RequestQuery) -> Sequence[Request]:
        return await super().requests(replace(query, run_id=None, assignee=None, risk=None))


class RepeatsAtTheSeam(Faulty):
    """Goes on from the instant of the cursor, not from behind its record."""

    caught_by = (
        "test_runs_come_in_pages",
        "test_following_the_pages_meets_every_request_once",
        "test_a_page_goes_on_after_its_cursor_whatever_was_written",
    )

    @override
    async def runs(self, query: RunQuery) -> Sequence[Sealed[Run]]:
        after = query.after and (query.after[0], query.after[1][:-1])
        return await super().runs(replace(query, after=after))

    @override
    async def requests(self, query: RequestQuery) -> Sequence[Request]:
        after = query.after and (query.after[0], query.after[1][:-1])
        return await super().requests(replace(query, after=after))


class SortsNumbersAsText(Faulty):
    """Puts ten before two."""

    caught_by = (
        "test_a_journal_is_in_the_order_of_its_numbers",
        "test_a_long_stream_is_read_in_order",
    )

    @override
    async def journal(self, run_id: str) -> Sequence[Sealed[Occurrence]]:
        return sorted(await super().journal(run_id), key=lambda row: str(row.record.seq))

    @override
    async def audit(self, stream: str) -> Sequence[AuditEntry]:
        return sorted(await super().audit(stream), key=lambda entry: str(entry.seq))


class SortsSignals(Faulty):
    """Returns signals by their cause."""

    caught_by = ("test_signals_come_in_the_order_they_were_appended",)

    @override
    async def signals(self, run_id: str) -> Sequence[Signal]:
        return sorted(await super().signals(run_id), key=lambda signal: signal.cause)


class HearsTheLastWord(Faulty):
    """Puts a repeated signal in the place of the first one."""

    caught_by = ("test_telling_twice_is_telling_once",)

    def __init__(self) -> None:
        super().__init__()
        self._words: dict[tuple[str, str], Signal] = {}

    @override
    async def commit(self, changes: Changes) -> None:
        await super().commit(changes)
        self._words |= {(signal.run_id, signal.cause): signal for signal in changes.signals}

    @override
    async def signals(self, run_id: str) -> Sequence[Signal]:
        return [self._words[run_id, one.cause] for one in await super().signals(run_id)]


class PatientSignals(Signals):
    """Signals that may be consumed any number of times."""

    @override
    def after(self, appended: Sequence[Told], consumed: Sequence[Address]) -> SignalsAfter:
        """Overlook what is not there."""
        waiting = {one.address for run_id, _ in consumed for one in self.waiting(run_id)}
        new = {one.address for one in appended}
        there = [address for address in consumed if address in waiting | new]
        return super().after(appended, list(dict.fromkeys(there)))


class ConsumesWhatIsGone(Faulty):
    """Overlooks that a signal was consumed before."""

    caught_by = (
        "test_a_signal_is_consumed_once",
        "test_exactly_one_of_many_consumes_a_signal",
    )

    def __init__(self) -> None:
        super().__init__()
        self._signals = PatientSignals()


class ConsumesBeforeItAppends(Faulty):
    """Does not see the signals of the commit itself."""

    caught_by = ("test_a_commit_may_consume_what_it_appends",)

    @override
    def bend(self, changes: Changes) -> Changes:
        if set(changes.consumed) & {(signal.run_id, signal.cause) for signal in changes.signals}:
            raise StaleWriteError("signal", "not there yet")
        return changes


class ForgetsWhatACheckpointWasTold(Faulty):
    """Leaves out of a checkpoint what its run was told."""

    caught_by = ("test_a_checkpoint_is_all_that_is_stored_of_a_run",)

    @override
    async def checkpoint(self, run_id: str) -> Checkpoint:
        return replace(await super().checkpoint(run_id), signals=())


class ForgetsLateResults(Faulty):
    """Returns only the late results that are not consumed."""

    caught_by = ("test_late_results_stay_after_they_were_consumed",)

    @override
    async def late_results(self, run_id: str) -> Sequence[Signal]:
        return [one for one in await self.signals(run_id) if one.kind == "late_result"]


class ForgetsTheRunning(Faulty):
    """Leaves a run alone whose holder died."""

    caught_by = (
        "test_runs_that_are_ready_or_running_are_ready",
        "test_a_run_is_ready_only_while_its_status_says_so",
    )

    @override
    async def ready(self, names: Sequence[str], *, limit: int) -> Sequence[str]:
        found = await super().ready(names, limit=limit)
        running = set(self._runs.by_status.group("running").ids())
        return [run_id for run_id in found if run_id not in running]


class IsDeaf(Faulty):
    """Wakes no run by a signal."""

    caught_by = (
        "test_a_signal_makes_a_resting_run_ready",
        "test_a_signal_may_come_before_its_run",
    )

    @override
    async def ready(self, names: Sequence[str], *, limit: int) -> Sequence[str]:
        found = await super().ready(names, limit=limit)
        return [run_id for run_id in found if run_id in self._runs.open_since]


class WakesForLateResults(Faulty):
    """Takes a late result for something to act on."""

    caught_by = ("test_a_late_result_makes_no_run_ready",)

    @override
    async def ready(self, names: Sequence[str], *, limit: int) -> Sequence[str]:
        late = [run_id for run_id in self._runs.rows if await self.late_results(run_id)]
        return list(dict.fromkeys([*await super().ready(names, limit=limit), *late]))


class DisturbsHolders(Faulty):
    """Calls a run ready that somebody is working on."""

    caught_by = ("test_a_claimed_run_is_not_ready",)

    @override
    async def ready(self, names: Sequence[str], *, limit: int) -> Sequence[str]:
        groups = [self._callers.group(name) for name in names]
        return [run_id for group in groups for run_id in group.ids()][:limit]


class RunsEverything(Faulty):
    """Returns runs of names that nobody asked for."""

    caught_by = ("test_ready_runs_are_of_the_names_that_were_asked_for",)

    @override
    async def ready(self, names: Sequence[str], *, limit: int) -> Sequence[str]:
        return await super().ready(list(self._callers.filled()), limit=limit)


class LetsTheOldestStarve(Faulty):
    """Takes the run first that was started first, however long it has been waiting."""

    caught_by = ("test_who_has_waited_longest_is_ready_first",)

    @override
    async def ready(self, names: Sequence[str], *, limit: int) -> Sequence[str]:
        found = set(await super().ready(names, limit=ENDLESS))
        return [run_id for run_id in self._runs.by_age.ids() if run_id in found][:limit]


class LimitsTooEarly(Faulty):
    """Counts the runs in work towards the limit."""

    caught_by = ("test_claimed_runs_do_not_count_towards_the_limit",)

    @override
    async def ready(self, names: Sequence[str], *, limit: int) -> Sequence[str]:
        found = await super().ready(names, limit=limit)
        first = [run_id for name in names for run_id in self._callers.group(name).ids()][:limit]
        return [run_id for run_id in found if run_id in first]


class CountsWhatIsInWork(Faulty):
    """Counts claimed runs among those that wait."""

    caught_by = ("test_runs_that_nobody_here_can_run_are_counted",)

    @override
    async def unclaimed(self, names: Sequence[str]) -> Mapping[str, int]:
        groups = self._callers.filled()
        return {name: len(group) for name, group in groups.items() if name not in names}


# Claims.


class IgnoresFences(Faulty):
    """Writes for everybody."""

    caught_by = (
        "test_who_was_overtaken_writes_nothing_more",
        "test_a_subject_that_was_never_claimed_has_no_claim",
        "test_holder_and_fencing_must_both_be_right",
    )

    @override
    def bend(self, changes: Changes) -> Changes:
        return replace(changes, fences=())


class IgnoresTheRest(Faulty):
    """Does not ask how much of the lease is left."""

    caught_by = (
        "test_a_fence_may_ask_for_a_rest_of_the_lease",
        "test_a_lapsed_lease_has_no_rest",
    )

    @override
    def bend(self, changes: Changes) -> Changes:
        return replace(
            changes, fences=tuple(replace(fence, remaining=None) for fence in changes.fences)
        )


class AsksAlwaysForALiveLease(Faulty):
    """Takes a lapsed claim for none."""

    caught_by = ("test_a_lapsed_claim_is_still_the_last_one",)

    @override
    def bend(self, changes: Changes) -> Changes:
        return replace(
            changes,
            fences=tuple(
                replace(fence, remaining=fence.remaining or timedelta(0))
                for fence in changes.fences
            ),
        )


class FencesLast(Faulty):
    """Checks fences against the claims as the commit leaves them."""

    caught_by = ("test_fences_are_checked_before_claims_change",)

    @override
    async def commit(self, changes: Changes) -> None:
        await super().commit(replace(changes, fences=()))
        await super().commit(Changes(fences=changes.fences))


class ClaimsOf(Faulty):
    """A store whose claims have the fault."""

    claims: ClassVar[type[Claims]]

    def __init__(self) -> None:
        super().__init__()
        self._claims = self.claims(time.monotonic)


class StealingClaims(Claims):
    """Claims that anybody takes at any time."""

    @override
    def after(
        self,
        changes: Sequence[Acquire | Renew | Release],
        *,
        has_signals: Callable[[str], bool],
    ) -> Mapping[str, Lease]:
        for change in changes:
            if isinstance(change, Acquire) and change.subject in self._leases:
                self._leases[change.subject] = replace(self._leases[change.subject], ends=0.0)
        return super().after(changes, has_signals=has_signals)


class StealsLiveClaims(ClaimsOf):
    """Lets a claim be taken while its lease is live."""

    caught_by = ("test_a_live_claim_cannot_be_taken_by_another",)
    claims = StealingClaims


class UncountedClaims(Claims):
    """Claims that are taken with any fencing number."""

    @override
    def after(
        self,
        changes: Sequence[Acquire | Renew | Release],
        *,
        has_signals: Callable[[str], bool],
    ) -> Mapping[str, Lease]:
        now = self._lease_clock()
        return {
            change.subject: Lease(change.holder, change.fencing, now + change.lease.total_seconds())
            if isinstance(change, Acquire)
            else super(UncountedClaims, self).after([change], has_signals=has_signals)[
                change.subject
            ]
            for change in changes
        }


class CountsNoFencing(ClaimsOf):
    """Takes any fencing number, so that several holders have the same one."""

    caught_by = (
        "test_the_first_claim_has_the_fencing_number_one",
        "test_a_holder_may_take_its_own_live_claim_anew",
        "test_exactly_one_of_many_takes_a_claim",
    )
    claims = UncountedClaims


class ForgetfulClaims(Claims):
    """Claims that are gone once they were given back."""

    @override
    def put(self, leases: Mapping[str, Lease]) -> None:
        super().put(leases)
        for subject in [one for one, lease in leases.items() if not lease.holder]:
            del self._leases[subject]


class BeginsFencingAnew(ClaimsOf):
    """Deletes a claim when it is given back."""

    caught_by = ("test_what_was_given_back_belongs_to_nobody",)
    claims = ForgetfulClaims


class HurriedClaims(Claims):
    """Claims that are given back whatever waits."""

    @override
    def after(
        self,
        changes: Sequence[Acquire | Renew | Release],
        *,
        has_signals: Callable[[str], bool],
    ) -> Mapping[str, Lease]:
        return super().after(changes, has_signals=lambda _: False)


class ReleasesOverSignals(ClaimsOf):
    """Gives a run back while a signal waits for its holder."""

    caught_by = (
        "test_a_run_with_an_unconsumed_signal_is_not_given_back",
        "test_giving_back_counts_what_the_commit_consumes",
    )
    claims = HurriedClaims


class ReleasesTooStrictly(Faulty):
    """Does not count what the releasing commit itself consumes."""

    caught_by = ("test_giving_back_counts_what_the_commit_consumes",)

    @override
    def bend(self, changes: Changes) -> Changes:
        for claim in changes.claims:
            if isinstance(claim, Release) and self._signals.waiting(claim.subject):
                raise StaleWriteError(claim.subject, "a signal waits")
        return changes


class StiffClaims(Claims):
    """Claims that are not prolonged once they have lapsed."""

    @override
    def after(
        self,
        changes: Sequence[Acquire | Renew | Release],
        *,
        has_signals: Callable[[str], bool],
    ) -> Mapping[str, Lease]:
        for change in changes:
            if isinstance(change, Renew) and not self.is_live(change.subject):
                raise StaleWriteError(change.subject, "the lease has run out")
        return super().after(changes, has_signals=has_signals)


class NeverProlongsTheLapsed(ClaimsOf):
    """Refuses a holder that is late, although nobody else came."""

    caught_by = ("test_a_lapsed_claim_is_prolonged_to_a_live_one",)
    claims = StiffClaims


class TakesClaimsBackwards(Faulty):
    """Changes the claims of a commit from the last to the first."""

    caught_by = ("test_claims_of_a_commit_are_changed_in_their_order",)

    @override
    def bend(self, changes: Changes) -> Changes:
        return replace(changes, claims=changes.claims[::-1])


class LeasesByBusinessTime(Faulty):
    """Lets leases run by the clock of deadlines."""

    caught_by = ("test_business_time_does_not_move_a_lease",)

    def __init__(self) -> None:
        super().__init__(lease_clock=lambda: self._clock.now().timestamp())


class TakesPrefixesForPatterns(Faulty):
    """Looks for claims as SQL's LIKE does."""

    caught_by = ("test_live_claims_are_listed_by_prefix",)

    @override
    async def live_claims(self, prefix: str) -> Sequence[Claim]:
        found = await super().live_claims(prefix.partition("_")[0])
        return [one for one in found if len(one.subject) >= len(prefix)]


# Requests and tokens.


class ExpiresLate(Faulty):
    """Takes `expires_at` for the last good instant."""

    caught_by = ("test_a_request_expires_at_its_very_instant",)

    @override
    async def expired(self, now: datetime, *, limit: int) -> Sequence[str]:
        return await super().expired(now - MICROSECOND, limit=limit)


class ExpiresTheOldest(Faulty):
    """Returns the requests first that were opened first."""

    caught_by = ("test_expired_requests_come_soonest_first",)

    @override
    async def expired(self, now: datetime, *, limit: int) -> Sequence[str]:
        over = set(await super().expired(now, limit=ENDLESS))
        return [one for one in self._requests.by_age.ids() if one in over][:limit]


class ExpiresTheDecided(Faulty):
    """Goes by the first version of a request."""

    caught_by = (
        "test_only_a_pending_request_with_an_end_expires",
        "test_an_assignee_finds_what_is_asked_of_it_now",
    )

    @override
    def bend(self, changes: Changes) -> Changes:
        return replace(
            changes,
            requests=tuple(
                one.model_copy(
                    update={"status": "pending", "assignees": ("a@acme.example",)}
                    if one.version > 1
                    else {}
                )
                for one in changes.requests
            ),
        )


# The outbox.


class SendsLate(Faulty):
    """Takes `not_before` for an instant at which it is too early."""

    caught_by = ("test_a_waiting_delivery_is_due_at_its_very_instant",)

    @override
    async def due_deliveries(self, now: datetime, *, limit: int) -> Sequence[str]:
        return await super().due_deliveries(now - MICROSECOND, limit=limit)


class SendsTheOldest(Faulty):
    """Returns deliveries by id."""

    caught_by = ("test_due_deliveries_come_soonest_first",)

    @override
    async def due_deliveries(self, now: datetime, *, limit: int) -> Sequence[str]:
        return sorted(await super().due_deliveries(now, limit=ENDLESS))[:limit]


class SendsWhatWasSent(Faulty):
    """Does not look at the status."""

    caught_by = ("test_a_delivery_is_due_only_while_its_status_says_so",)

    @override
    async def due_deliveries(self, now: datetime, *, limit: int) -> Sequence[str]:
        del now, limit
        return list(self._deliveries.rows)


class LosesDeadSenders(Faulty):
    """Leaves a delivery alone whose sender died."""

    caught_by = (
        "test_what_somebody_is_sending_is_not_due",
        "test_a_delivery_is_due_only_while_its_status_says_so",
    )

    @override
    async def due_deliveries(self, now: datetime, *, limit: int) -> Sequence[str]:
        sending = set(self._deliveries.by_status.group("sending").ids())
        found = await super().due_deliveries(now, limit=ENDLESS)
        return [one for one in found if one not in sending][:limit]


class HidesTheClaimed(Faulty):
    """Overlooks a waiting delivery that somebody has claimed."""

    caught_by = ("test_a_claim_does_not_hide_a_waiting_delivery",)

    @override
    async def due_deliveries(self, now: datetime, *, limit: int) -> Sequence[str]:
        found = await super().due_deliveries(now, limit=ENDLESS)
        return [one for one in found if not self._claims.is_live(one)][:limit]


class CountsTheSent(Faulty):
    """Takes the oldest delivery of each notifier for the oldest unsent one."""

    caught_by = ("test_the_oldest_unsent_delivery_is_known_by_notifier",)

    @override
    async def oldest_unsent(self) -> Mapping[str, datetime]:
        deliveries = [self._deliveries.read(row) for row in self._deliveries.rows.values()]
        deliveries.sort(key=lambda delivery: delivery.created_at, reverse=True)
        return {delivery.notifier: delivery.created_at for delivery in deliveries}


# The books.


class KeepsNoChain(Faulty):
    """Appends every entry."""

    caught_by = (
        "test_a_stream_begins_with_entry_one_after_zeros",
        "test_an_audit_entry_follows_the_one_before",
        "test_a_commit_may_append_several_entries",
        "test_exactly_one_of_many_appends_the_next_entry",
    )

    @override
    async def commit(self, changes: Changes) -> None:
        await super().commit(replace(changes, audit=()))
        for entry in changes.audit:
            self._streams.setdefault(entry.stream, []).append(entry)


class LosesWhatIsPersonal(Faulty):
    """Keeps no personal values."""

    caught_by = ("test_an_audit_entry_is_read_exactly_as_it_was_written",)

    @override
    def bend(self, changes: Changes) -> Changes:
        return replace(changes, audit=tuple(replace(one, personal={}) for one in changes.audit))


class HandlesTwice(Faulty):
    """Lets a message be dealt with again."""

    caught_by = ("test_a_message_is_handled_once",)

    @override
    def bend(self, changes: Changes) -> Changes:
        return replace(changes, handled=tuple(set(changes.handled) - self._handled))


class KeepsTheFirstMark(Faulty):
    """Never writes over a mark."""

    caught_by = ("test_the_last_mark_stands",)

    @override
    def bend(self, changes: Changes) -> Changes:
        return replace(changes, marks={**changes.marks, **self._marks})


class ExchangesKeys(Faulty):
    """Writes another key over the one with its id."""

    caught_by = ("test_a_key_id_stands_for_one_key",)

    @override
    def bend(self, changes: Changes) -> Changes:
        self._key_checks.clear()
        return changes


class RetiresKeysOfTokens(Faulty):
    """Looks for keys in seals and checkpoints alone."""

    caught_by = ("test_the_tokens_of_pending_requests_need_their_keys",)

    @override
    async def kids_in_use(self, now: datetime) -> frozenset[int]:
        self._tokens.needs.clear()
        return await super().kids_in_use(now)


class RetiresKeysOfSeals(Faulty):
    """Looks for keys in tokens alone."""

    caught_by = (
        "test_a_going_run_needs_the_keys_of_its_checkpoint",
        "test_living_requests_need_the_keys_of_their_seals",
    )

    @override
    async def kids_in_use(self, now: datetime) -> frozenset[int]:
        return frozenset(
            need.kid for need in self._tokens.needs.values() if need.until > now.timestamp()
        )


class CountsEveryVersion(Faulty):
    """Counts a request once for each of its versions."""

    caught_by = ("test_everything_is_counted_by_status",)

    def __init__(self) -> None:
        super().__init__()
        self._versions: list[str] = []

    @override
    async def commit(self, changes: Changes) -> None:
        await super().commit(changes)
        self._versions += [request.status for request in changes.requests]

    @override
    async def counts(self) -> Counts:
        counted = {status: self._versions.count(status) for status in self._versions}
        return replace(await super().counts(), requests=counted)


# Opening, closing, lasting, sharing.


class ForgetsWhenLeft(Faulty):
    """Is empty when it is entered again."""

    caught_by = ("test_a_store_may_be_left_and_entered_again",)

    @override
    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._requests = Requests()


class Boasts(Faulty):
    """Says that it lasts, and does not."""

    caught_by = ("test_a_store_says_what_it_is",)

    durable = True


class Lasting(MemoryStore):
    """A right store: copies of it share its data, as two processes share a database."""

    durable = True
    shared = True

    def again(self) -> Lasting:
        """Return another object over the same data."""
        return copy.copy(self)


class Separate(Lasting):
    """Says that it lasts and is shared, but every object has its own data."""

    caught_by = (
        "test_what_was_committed_is_there_after_reopening",
        "test_two_objects_over_the_same_data_see_each_other",
        "test_two_objects_check_against_each_other",
        "test_exactly_one_of_many_threads_wins_across_objects",
    )

    @override
    def again(self) -> Lasting:
        return Separate()


# The harness.

SUITE = StoreContract()


class LastingSuite(StoreContract):
    """The contract of a store that lasts and is shared."""

    capabilities = StoreContract.BASE | {Capability.DURABLE, Capability.SHARED}


ALL = sorted(name for name in dir(StoreContract) if name.startswith("test_"))
NAMES = [name for name in ALL if name not in vars(ProcessesContract)]
"""Those that start no process; the others are in `test_the_contract_bites_elsewhere.py`."""

SEEN = (AssertionError, pytest.fail.Exception, SignoffError, ExceptionGroup)
"""How a test of the contract fails: it does not hold, or the store refuses what it must not."""


def faults(base: type[Faulty | Separate]) -> Iterator[type[Faulty | Separate]]:
    """Yield all classes below `base` that have a fault."""
    for fault in base.__subclasses__():
        if fault.caught_by:
            yield fault
        yield from faults(fault)


FAULTS = [Separate, *faults(Faulty)]


def cases(name: str) -> Iterator[dict[str, object]]:
    """Yield the arguments that pytest would call a test of the contract with, fixtures aside."""
    marks = getattr(getattr(StoreContract, name), "pytestmark", [])
    options: list[list[dict[str, object]]] = [
        [_named(mark.args[0], value) for value in mark.args[1]]
        for mark in marks
        if mark.name == "parametrize"
    ]
    for choice in product(*options):
        yield {key: value for arguments in choice for key, value in arguments.items()}


def _named(names: str | Sequence[str], value: object) -> dict[str, object]:
    if isinstance(names, str):
        return {names: value}
    assert isinstance(value, tuple)
    return dict(zip(names, value, strict=True))


async def put_to_the_test(
    name: str, make: Callable[[], MemoryStore], *, suite: StoreContract = SUITE
) -> None:
    """Run one test of the contract, with all its arguments, each on a new store."""
    test = getattr(suite, name)
    for arguments in cases(name):
        store = make()
        given: dict[str, object] = {"store": store, "reopen": None, "another": None, **arguments}
        if isinstance(store, Lasting):
            given |= {"reopen": _reopening(store), "another": store.again()}
        wanted = inspect.signature(test).parameters
        await test(**{key: value for key, value in given.items() if key in wanted})


def _reopening(store: Lasting) -> Reopen:
    async def reopen() -> Store:
        return store.again()

    return reopen


@pytest.mark.parametrize("name", NAMES)
async def test_a_right_store_passes(name: str) -> None:
    """So what fails below fails because of the fault, not because of how it is called."""
    await put_to_the_test(name, Lasting, suite=LastingSuite())


@pytest.mark.parametrize(
    ("fault", "name"),
    [(fault, name) for fault in FAULTS for name in fault.caught_by],
    ids=lambda value: getattr(value, "__name__", value),
)
async def test_a_fault_is_caught(fault: type[Faulty | Separate], name: str) -> None:
    """The named test of the contract fails on the faulty store."""
    suite = LastingSuite() if fault is Separate else SUITE

    with pytest.raises(SEEN):
        await put_to_the_test(name, fault, suite=suite)


def test_every_test_of_the_contract_is_seen_to_fail() -> None:
    """Each of them catches a fault above."""
    assert sorted({name for fault in FAULTS for name in fault.caught_by}) == NAMES


def test_no_test_of_the_contract_hides_another() -> None:
    """The parts of the contract have no name in common."""
    parts = [part for part in StoreContract.__mro__ if part is not StoreContract]

    names = [name for part in parts for name in vars(part) if name.startswith("test_")]

    assert sorted(names) == ALL


@pytest.mark.parametrize(
    "name",
    [
        "test_what_was_committed_is_there_after_reopening",
        "test_two_objects_over_the_same_data_see_each_other",
    ],
)
async def test_a_capability_is_declared_exactly_if_it_is_there(name: str) -> None:
    """Declared and missing fails; there and not declared fails too."""
    with pytest.raises(AssertionError):
        await put_to_the_test(name, MemoryStore, suite=LastingSuite())
    with pytest.raises(AssertionError):
        await put_to_the_test(name, Lasting, suite=SUITE)


class ServerSuite(StoreContract):
    """The contract of a store whose server has a clock of its own."""

    capabilities = StoreContract.BASE | {Capability.SERVER_CLOCK}


class OnAServer(MemoryStore):
    """A store that goes by another clock than a test's."""

    @override
    def use_clock(self, clock: Clock) -> None:
        raise ConfigurationError("the clock is the server's")


class StandingStill(OnAServer):
    """Its clock does not go on."""

    @override
    async def now(self) -> datetime:
        return NOON


class IgnoringTheServersNow(OnAServer):
    """Does not ask whether the server has come as far as the commit assumes."""

    @override
    async def commit(self, changes: Changes) -> None:
        await super().commit(replace(changes, now=None))


class IgnoringTheServersUntil(OnAServer):
    """Does not ask whether the commit comes too late for the server."""

    @override
    async def commit(self, changes: Changes) -> None:
        await super().commit(replace(changes, until=None))


@pytest.mark.parametrize("name", NAMES)
async def test_a_right_store_with_a_servers_clock_passes(name: str) -> None:
    """No test of the contract has to set the clock where that is the server's."""
    await put_to_the_test(name, OnAServer, suite=ServerSuite())


@pytest.mark.parametrize(
    ("fault", "name"),
    [
        (MemoryStore, "test_business_time_is_the_clock_that_was_given"),
        (StandingStill, "test_business_time_is_the_clock_that_was_given"),
        (IgnoringTheServersNow, "test_a_commit_fails_before_the_time_it_assumed"),
        (IgnoringTheServersUntil, "test_a_commit_fails_from_its_until_on"),
    ],
)
async def test_a_fault_of_a_servers_clock_is_caught(fault: type[MemoryStore], name: str) -> None:
    """One that is declared and missing as well."""
    with pytest.raises(SEEN):
        await put_to_the_test(name, fault, suite=ServerSuite())


class Reports:
    """A pytest plugin that keeps what became of each test."""

    def __init__(self) -> None:
        self.passed: list[str] = []
        self.failed: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep it."""
        name = report.nodeid.rpartition("::")[2]
        if report.failed:
            self.failed[name] = report.longreprtext
        elif report.when == "call":
            self.passed.append(name)


SOMEBODY_ELSES = """
import pytest
from signoff.stores import MemoryStore
from signoff.testing import StoreContract

class Shelf(MemoryStore):
    durable = True

class TestShelf(StoreContract):
    @pytest.fixture
    async def store(self):
        async with Shelf() as store:
            yield store
"""


def run_pytest(folder: Path, code: str, only: str) -> Reports:
    """Run tests as somebody would in a project of their own, without any setting."""
    # Every run needs a module name of its own: pytest keeps what it has imported.
    path = folder / f"{folder.name}.py"
    path.write_text(code)
    (folder / "pytest.ini").write_text("[pytest]\n")
    reports = Reports()
    plugins = [f"-pno:{name}" for name in ("cacheprovider", "randomly", "timeout")]
    options = ["--import-mode=importlib", f"--rootdir={folder}", "-k", only]

    pytest.main([*plugins, *options, str(path)], plugins=[reports])

    return reports


def test_somebody_elses_store_is_tested_without_any_setting(tmp_path: Path) -> None:
    """On both loops, with all details of what differed."""
    reports = run_pytest(tmp_path, SOMEBODY_ELSES, only="what_it_is or left_and_entered")

    entered = "test_a_store_may_be_left_and_entered_again"
    assert sorted(reports.passed) == [f"{entered}[asyncio]", f"{entered}[trio]"]
    boasted = "test_a_store_says_what_it_is"
    assert sorted(reports.failed) == [f"{boasted}[asyncio]", f"{boasted}[trio]"]
    assert "assert (True, False) == (False, False)" in reports.failed[f"{boasted}[trio]"]


def test_who_forgets_the_fixture_is_told(tmp_path: Path) -> None:
    """Every test fails, and says which fixture to override."""
    forgotten = SOMEBODY_ELSES.partition("    @pytest.fixture")[0] + "    pass\n"

    reports = run_pytest(tmp_path, forgotten, only="what_it_is")

    assert reports.passed == []
    assert len(reports.failed) == 2
    for told in reports.failed.values():
        assert "override the fixture `store`: yield an opened, empty store" in told
