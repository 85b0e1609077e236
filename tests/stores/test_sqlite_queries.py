"""How a SQLiteStore finds what it is asked for, and what it makes of rows that were tampered with."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from itertools import product
from pathlib import Path
from typing import Any, ClassVar

import pytest
from typing_extensions import override

import signoff.stores.sqlite_readers
from signoff.errors import NotFoundError, SealInvalidError, StaleWriteError
from signoff.model.changes import Changes, Claim, Release
from signoff.model.request import Request
from signoff.model.run import Occurrence, Run
from signoff.model.token import TokenRow
from signoff.ports import RequestQuery, RunQuery
from signoff.records import Stored, columns_of
from signoff.stores import sqlite_writes as writes
from signoff.stores.sqlite import SQLiteStore
from signoff.stores.sqlite_schema import migrations
from signoff.testing.builders import (
    HOUR,
    NOON,
    a_delivery,
    a_request,
    a_run,
    a_signal,
    a_token,
    an_acquire,
    an_entry,
    an_occurrence,
    sealed,
    writing,
)
from signoff.testing.store_contract.base import SetClock
from signoff.testing.store_contract.examples import FIRST, SECOND


@pytest.fixture
def anyio_backend() -> str:
    """What is found does not depend on the loop: one will do."""
    return "asyncio"


class Noting(sqlite3.Connection):
    """A connection that notes each statement with its values, and counts the steps it takes."""

    statements: ClassVar[dict[str, Any]] = {}
    steps: ClassVar[int] = 0

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.set_progress_handler(self._count, 1)

    @staticmethod
    def _count() -> None:
        Noting.steps += 1

    @override
    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        """Note it."""
        Noting.statements[sql] = parameters
        return super().execute(sql, parameters)

    @override
    def executemany(self, sql: str, parameters: Any, /) -> sqlite3.Cursor:
        """Note it with the values of its last row."""
        rows = list(parameters)
        if rows:
            Noting.statements[sql] = rows[-1]
        return super().executemany(sql, rows)


@pytest.fixture(name="store")
async def _store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SQLiteStore]:
    """Yield an open store whose statements are noted, and which reads on one connection only."""
    monkeypatch.setattr(signoff.stores.sqlite_readers, "READERS", 1)
    store = SQLiteStore(tmp_path / "signoff.db")
    store._connection_class = Noting
    async with store:
        Noting.statements.clear()
        yield store


def raw(store: SQLiteStore) -> closing[sqlite3.Connection]:
    """Open the store's file as another program does; each statement commits by itself."""
    return closing(sqlite3.connect(store.location, isolation_level=None))


async def ask_everything(store: SQLiteStore) -> None:
    """Ask whatever the port lets one ask, in every form that a page can have."""
    await store.run("run_1")
    await store.run_by_key("shop:Order", "inv-17")
    await store.journal("run_1")
    await store.signals("run_1")
    await store.late_results("run_1")
    await store.ready(["shop:Order", "shop:Other"], limit=9)
    await store.unclaimed([])
    await store.request("req_1")
    await store.expired(NOON, limit=9)
    await store.token("tok_1")
    await store.tokens("req_1")
    await store.delivery("dlv_1")
    await store.deliveries("req_1")
    await store.due_deliveries(NOON, limit=9)
    await store.oldest_unsent()
    await store.claim("run_1")
    await store.live_claims("run_")
    await store.audit("request:req_1")
    await store.was_handled("imap:1")
    await store.mark("imap")
    await store.key_checks()
    await store.kids_in_use(NOON)
    await store.counts()
    after = (NOON, "a")
    for status, flow, parent in product((None, "ready"), (None, "f"), (None, "run_0")):
        wanted: Any = {"status": status, "flow_name": flow, "parent_run_id": parent}
        await store.runs(RunQuery(**wanted, after=after))
    for status, run_id, assignee, risk, newest in product(
        (None, "pending"), (None, "run_1"), (None, "a@b"), (None, "low"), (False, True)
    ):
        wanted = {"status": status, "run_id": run_id, "assignee": assignee, "risk": risk}
        await store.requests(RequestQuery(**wanted, newest_first=newest, after=after))


ALLOWED_SCANS = {
    "SCAN signals USING INDEX signals_calling": "only the signals that call somebody",
    "SCAN runs USING INDEX runs_to_advance": "only the runs that are to be advanced",
    "SCAN deliveries USING INDEX deliveries_sending": "only those that are being sent",
    "SCAN deliveries USING INDEX deliveries_unsent": "only those that are not done",
    "SCAN tallies": "a row for each status that there is",
    "SCAN key_checks": "a row for each key",
    "SCAN found": "a row for each key",
    "SCAN (subquery-2)": "the runs that are to be advanced, or called",
    "SCAN json_each VIRTUAL TABLE INDEX 1:": "the names that were given",
}


async def test_nothing_that_a_store_does_reads_a_whole_table(store: SQLiteStore) -> None:
    """Every statement of every read and of a commit searches, or scans what is small by its nature."""
    store.use_clock(SetClock())
    await store.commit(FIRST)
    await store.commit(SECOND)
    await store.commit(
        Changes(
            consumed=(("run_2", "req_1"),),
            claims=(Release(subject="run_2", holder="ann", fencing=1),),
        )
    )
    with pytest.raises(StaleWriteError):
        await store.commit(writing(a_request()))
    await ask_everything(store)

    with raw(store) as file:
        plans = {
            (sql, step[3])
            for sql, values in Noting.statements.items()
            if re.match("SELECT|INSERT|UPDATE|DELETE|WITH", sql)
            for step in file.execute(f"EXPLAIN QUERY PLAN {sql}", values)
        }
    scans = {step for _, step in plans if step.startswith("SCAN")}
    sorted_by_hand = {sql for sql, step in plans if step.startswith("USE TEMP B-TREE FOR ORDER")}

    assert len(Noting.statements) > 70
    assert scans <= ALLOWED_SCANS.keys()
    assert not sorted_by_hand


def parked(number: int) -> Changes:
    """Return a run that waits for its request, whose mail was sent, and which nobody need touch."""
    run_id, request_id = f"run_{number}", f"req_{number}"
    return Changes(
        runs=(sealed(a_run(run_id, status="suspended")),),
        occurrences=(sealed(an_occurrence(run_id=run_id)),),
        requests=(a_request(request_id, run_id=run_id, expires_at=NOON + HOUR),),
        tokens=(a_token(f"tok_{number}", request_id=request_id),),
        deliveries=(a_delivery(f"dlv_{number}", request_id=request_id, status="sent"),),
        signals=(a_signal(run_id=run_id, kind="late_result"),),
    )


LOOKS: dict[str, Callable[[SQLiteStore], Awaitable[object]]] = {
    "ready": lambda store: store.ready(["shop:Order", "shop:Other"], limit=9),
    "unclaimed": lambda store: store.unclaimed([]),
    "expired": lambda store: store.expired(NOON, limit=9),
    "due": lambda store: store.due_deliveries(NOON, limit=9),
    "unsent": lambda store: store.oldest_unsent(),
    "claims": lambda store: store.live_claims(""),
    "kids": lambda store: store.kids_in_use(NOON),
    "counts": lambda store: store.counts(),
    "page": lambda store: store.requests(RequestQuery(status="approved")),
    "inbox": lambda store: store.requests(RequestQuery(status="rejected", assignee="a@b")),
}


async def steps_of(store: SQLiteStore) -> dict[str, int]:
    """Return how many steps of SQLite's machine each look for work takes."""
    found = {}
    for name, look in LOOKS.items():
        await look(store)
        Noting.steps = 0
        await look(store)
        found[name] = Noting.steps
    return found


async def test_what_is_parked_costs_a_look_for_work_nothing(store: SQLiteStore) -> None:
    """With a hundred parked runs the machine takes exactly as many steps as with three."""
    for number in range(3):
        await store.commit(parked(number))
    with_three = await steps_of(store)

    for number in range(3, 100):
        await store.commit(parked(number))

    assert await steps_of(store) == with_three
    assert all(0 < steps < 300 for steps in with_three.values())


async def test_claims_that_were_given_back_cost_nothing(store: SQLiteStore) -> None:
    """Their rows stay for the fencing number, and are not looked at."""
    before = await steps_of(store)
    for number in range(50):
        subject = f"run_{number}"
        given_back = Release(subject=subject, holder="ann", fencing=1)
        await store.commit(Changes(claims=(an_acquire(subject), given_back)))

    assert (await steps_of(store))["claims"] == before["claims"]
    assert await store.claim("run_7") == Claim(subject="run_7", holder="", fencing=1, live=False)


LATER = NOON + 48 * HOUR
AS_THEY_WERE: tuple[Stored, ...] = (a_run(), an_occurrence(), a_request(), a_token(), a_delivery())
MOVED_ON: tuple[dict[str, object], ...] = (
    {"version": 2, "status": "running", "updated_at": LATER},
    {"version": 2, "status": "running"},
    {"version": 2, "status": "approved"},
    {"version": 2},
    {"version": 2, "status": "sent", "not_before": LATER},
)
ANOTHER: tuple[dict[str, object], ...] = (
    {"flow_name": "shop:Other", "key": "inv-17", "parent_run_id": "run_0", "created_at": LATER},
    {"run_id": "run_2", "seq": 7},
    {
        "run_id": "run_2",
        "risk": "low",
        "assignees": ("b@acme.example",),
        "hidden_kids": (2,),
        "created_at": LATER,
        "expires_at": LATER,
    },
    {"request_id": "req_2", "kid": 2, "not_after": LATER},
    {"request_id": "req_2", "notifier": "chat", "created_at": LATER},
)


async def test_a_new_version_leaves_the_indexes_of_what_stays_alone(store: SQLiteStore) -> None:
    """It sets no column that hardly ever changes and has not changed."""
    await store.commit(writing(*AS_THEY_WERE))
    Noting.statements.clear()

    await store.commit(
        writing(
            *(
                record.model_copy(update=moved)
                for record, moved in zip(AS_THEY_WERE, MOVED_ON, strict=True)
            )
        )
    )

    updates = {sql.split()[1]: sql for sql in Noting.statements if sql.startswith("UPDATE")}
    tables = (writes.RUNS, writes.OCCURRENCES, writes.REQUESTS, writes.TOKENS, writes.DELIVERIES)
    assert len(updates) == len(tables)
    for table, another in zip(tables, ANOTHER, strict=True):
        settings = updates[table.name].partition(" WHERE ")[0]
        assert not [name for name in another if f" {name} = " in settings]
        assert " version = " in settings
        assert " body = " in settings


@pytest.mark.parametrize(
    ("which", "name"), [(which, name) for which, one in enumerate(ANOTHER) for name in one]
)
async def test_what_hardly_ever_changes_can_change(
    store: SQLiteStore, which: int, name: str
) -> None:
    """Each column of a new version is stored, when it alone is another."""
    record = AS_THEY_WERE[which]
    await store.commit(writing(record))

    changed = record.model_copy(update={"version": 2, name: ANOTHER[which][name]})
    await store.commit(writing(changed))

    match changed:
        case Run():
            assert await store.run(changed.run_id) == sealed(changed)
        case Occurrence():
            assert [*await store.journal(changed.run_id)] == [sealed(changed)]
        case Request():
            assert await store.request(changed.request_id) == changed
        case TokenRow():
            assert await store.token(changed.token_id) == changed
        case _:
            assert await store.delivery(changed.delivery_id) == changed


async def test_a_new_version_may_have_another_key(store: SQLiteStore) -> None:
    """As after a rotation."""
    run, one = a_run(), an_occurrence()
    await store.commit(writing(run, one))
    resealed = sealed(run.model_copy(update={"version": 2}), kid=2)
    also = sealed(one.model_copy(update={"version": 2}), kid=2)

    await store.commit(Changes(runs=(resealed,), occurrences=(also,)))

    assert await store.run("run_1") == resealed
    assert [*await store.journal("run_1")] == [also]


def test_the_columns_are_those_of_the_records() -> None:
    """Each table has the typed columns of its record, in that order, and its bytes."""
    records: dict[writes.Table, Stored] = {
        writes.RUNS: a_run(),
        writes.OCCURRENCES: an_occurrence(),
        writes.REQUESTS: a_request(),
        writes.TOKENS: a_token(),
        writes.DELIVERIES: a_delivery(),
    }
    with closing(sqlite3.connect(":memory:")) as file:
        file.executescript(migrations()[0])
        for table, record in records.items():
            seal = ["kid", "mac"] if isinstance(record, Run | Occurrence) else []
            columns = [row[1] for row in file.execute(f"PRAGMA table_info({table.name})")]
            assert columns == [*columns_of(record), *seal, "body"]
            assert table.id == columns[0]


TAMPERED = {
    ("requests", "status"): "approved",
    ("requests", "risk"): "low",
    ("requests", "assignees"): '["eve@acme.example"]',
    ("requests", "expires_at"): 0,
    ("tokens", "not_after"): 2**60,
    ("tokens", "request_id"): "req_2",
    ("deliveries", "notifier"): "console",
    ("deliveries", "version"): 2,
}


@pytest.mark.parametrize(("table", "column"), TAMPERED)
async def test_a_column_that_contradicts_its_record_is_found(
    store: SQLiteStore, table: str, column: str
) -> None:
    """Whoever changes only a column is noticed by the next read, with record and column."""
    await store.commit(writing(a_request(), a_token("tok_1"), a_delivery()))
    reads: dict[str, Callable[[], Awaitable[object]]] = {
        "requests": lambda: store.request("req_1"),
        "tokens": lambda: store.token("tok_1"),
        "deliveries": lambda: store.delivery("dlv_1"),
    }
    await reads[table]()
    with raw(store) as file:
        statement = f"UPDATE {table} SET {column} = ?"  # noqa: S608 - names of ours
        file.execute(statement, (TAMPERED[table, column],))

    with pytest.raises(SealInvalidError) as caught:
        await reads[table]()

    assert caught.value.field == column
    assert caught.value.record_id == {"requests": "req_1", "tokens": "tok_1"}.get(table, "dlv_1")


async def test_a_checkpoint_says_which_column_contradicts_it(store: SQLiteStore) -> None:
    """A run is read all the same: what becomes of it is decided above the store."""
    await store.commit(writing(a_run(), an_occurrence()))
    assert (await store.run("run_1")).contradicts == ""
    with raw(store) as file:
        file.execute("UPDATE runs SET status = 'completed'")
        file.execute("UPDATE occurrences SET version = 9")

    found = await store.run("run_1")
    (occurrence,) = await store.journal("run_1")

    assert (found.record, found.contradicts) == (a_run(), "status")
    assert (occurrence.record, occurrence.contradicts) == (an_occurrence(), "version")


async def test_bytes_that_are_no_record_are_found(store: SQLiteStore) -> None:
    """Of a record, of the facts of a signal and of the personal part of an audit entry."""
    entry = an_entry(personal={"actor": "ann"})
    await store.commit(Changes(requests=(a_request(),), signals=(a_signal(),), audit=(entry,)))
    with raw(store) as file:
        file.execute("UPDATE requests SET body = '{}'")
        file.execute("UPDATE signals SET facts = '[]'")
        file.execute("UPDATE audit_personal SET personal = 'x'")

    for read, record_id in (
        (store.request("req_1"), "req_1"),
        (store.signals("run_1"), "run_1"),
        (store.audit("request:req_1"), "request:req_1"),
    ):
        with pytest.raises(SealInvalidError) as caught:
            await read
        assert caught.value.record_id == record_id


async def test_an_error_that_is_kept_keeps_no_state_of_the_database(store: SQLiteStore) -> None:
    """Whoever holds on to the error of a read does not make later reads see what was then."""
    await store.commit(writing(a_request("req_1"), a_request("req_2"), a_request("req_3")))
    with raw(store) as file:
        file.execute("UPDATE requests SET risk = 'low' WHERE request_id = 'req_1'")
    kept: list[Exception] = []
    for _ in range(3):
        with pytest.raises(SealInvalidError) as caught:
            await store.requests(RequestQuery())
        kept.append(caught.value)
        with pytest.raises(NotFoundError) as missing:
            await store.run("run_1")
        kept.append(missing.value)

    await store.commit(writing(a_request("req_2", version=2)))

    assert (await store.request("req_2")).version == 2
    with raw(store) as file:
        assert file.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone() == (0, 0, 0)
    assert len(kept) == 6


@pytest.mark.parametrize("statement", ["UPDATE audit SET kid = 2", "DELETE FROM audit"])
async def test_audit_entries_can_only_be_added(store: SQLiteStore, statement: str) -> None:
    """The file itself refuses to change or delete one, by whatever program."""
    await store.commit(Changes(audit=(an_entry(),)))

    with raw(store) as file, pytest.raises(sqlite3.IntegrityError, match="are never"):
        file.execute(statement)

    assert await store.audit("request:req_1") == [an_entry()]


async def test_what_an_entry_says_of_persons_can_be_erased(store: SQLiteStore) -> None:
    """It lies apart, so the entry stays as it was hashed; an entry without any has no such row."""
    first = an_entry(personal={"actor": "ann"})
    second = replace(an_entry(after=first), salt=b"")
    await store.commit(Changes(audit=(first, second)))
    with raw(store) as file:
        assert file.execute("DELETE FROM audit_personal").rowcount == 1

    assert await store.audit("request:req_1") == [replace(first, salt=b"", personal={}), second]


async def test_a_lease_ends_at_its_very_instant_in_every_answer(tmp_path: Path) -> None:
    """What is held is not ready, not due and not unclaimed, until exactly then."""
    seconds = [100.0]
    lease = timedelta(seconds=10)
    async with SQLiteStore(tmp_path / "leases.db", lease_clock=lambda: seconds[0]) as store:
        await store.commit(
            Changes(
                runs=(
                    sealed(a_run("run_1", status="running")),
                    sealed(a_run("run_2", status="suspended")),
                ),
                signals=(a_signal(run_id="run_2"),),
                deliveries=(a_delivery(status="sending"),),
                claims=tuple(an_acquire(who, lease=lease) for who in ("run_1", "run_2", "dlv_1")),
            )
        )

        async def free() -> tuple[object, ...]:
            return (
                await store.ready(["shop:Order"], limit=9),
                await store.unclaimed(()),
                await store.due_deliveries(NOON, limit=9),
                [claim.subject for claim in await store.live_claims("")],
            )

        seconds[0] = 109.999
        assert await free() == ([], {}, [], ["dlv_1", "run_1", "run_2"])
        seconds[0] = 110.0
        assert await free() == (["run_1", "run_2"], {"shop:Order": 2}, ["dlv_1"], [])


async def test_who_is_asked_is_found_after_every_change(store: SQLiteStore) -> None:
    """Reassigned, decided, or named twice: a request is listed once for each who is asked."""

    async def listed(assignee: str, status: Any = None) -> list[str]:
        page = await store.requests(RequestQuery(assignee=assignee, status=status))
        return [request.request_id for request in page]

    await store.commit(writing(a_request(assignees=("a@x", "b@x", "a@x"))))
    assert [await listed(who) for who in ("a@x", "b@x", "c@x")] == [["req_1"], ["req_1"], []]

    await store.commit(writing(a_request(version=2, assignees=("c@x", "c@x"))))
    assert [await listed(who) for who in ("a@x", "b@x", "c@x")] == [[], [], ["req_1"]]

    await store.commit(writing(a_request(version=3, assignees=("c@x",), status="approved")))
    assert await listed("c@x", "pending") == []
    assert await listed("c@x", "approved") == ["req_1"]
