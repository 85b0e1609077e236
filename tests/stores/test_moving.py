"""Moving all that a store keeps into another one: bytes as they were, all of it or nothing."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from typing_extensions import override

from signoff import (
    Client,
    Flow,
    HumanFeedbackResult,
    human_feedback,
    listen,
    require_approval,
    start,
)
from signoff.errors import ConfigurationError, SealInvalidError, StoreUnavailableError
from signoff.model.changes import Acquire, Changes, Claim
from signoff.ports import Store
from signoff.rules.chain import Link, verify_chain
from signoff.security.keyring import Keyring
from signoff.stores import SQLiteStore
from signoff.stores.moving import TABLES, Books, Movable, Row, Table, move
from signoff.stores.postgres import PostgresStore
from signoff.testing import MemoryMail

KEYS = Keyring.generate()
REVIEWER = "cfo@acme.example"
PAID: list[int] = []

Rows = dict[str, list[Row]]


@pytest.fixture
def anyio_backend() -> str:
    """What is in a store does not depend on the loop: one will do."""
    return "asyncio"


class Campaign(Flow, name="moving.campaign"):
    """A step that is reviewed, and one that follows."""

    @start()
    @human_feedback(message="Publish?", emit=["approved", "rejected"], assign_to_email=REVIEWER)
    def draft(self) -> str:
        """Return what is asked about."""
        return "Grüße aus Köln \N{SNOWMAN}"

    @listen("approved")
    def publish(self, result: HumanFeedbackResult) -> str:
        """Return what was published."""
        return f"published: {result.output}"


@require_approval(name="moving.pay", assignees=[REVIEWER], hidden=("account",))
async def pay(amount: int, account: str) -> str:
    """Have an effect."""
    PAID.append(amount)
    return f"paid {amount} to {account}"


@pytest.fixture(name="old")
def _old(tmp_path: Path) -> Path:
    """Return the path of an SQLite file."""
    PAID.clear()
    return tmp_path / "old.db"


async def fill(store: Store) -> tuple[str, str]:
    """Put runs of all kinds into a store; return one that waits for an answer, and a call that does."""
    mail = MemoryMail()
    async with Client(store, keyring=KEYS, notifiers=[mail], inbox=mail) as client:
        ended = await client.flows.start(Campaign, requester="ann@acme.example")
        refused = await client.flows.start(Campaign)
        await client.flows.cancel((await client.flows.start(Campaign)).run_id, by="ann")
        waiting = await client.flows.start(Campaign, inputs={"note": None})
        await client.drain()
        for run, outcome in ((ended, "approved"), (refused, "rejected")):
            [request] = await client.hitl.list_requests(run_id=run.run_id)
            await client.hitl.respond(
                request_id=request.request_id, outcome=outcome, feedback="so", reviewer=REVIEWER
            )
        mail.reply(mail.sent[0], "too late")
        call = await client.submit(pay, 9, "DE02 1203", key="inv-9")
        await client.drain()
        assert (await client.flows.get(ended.run_id)).status == "completed"
        return waiting.run_id, call.request_id


def all_of(store: Movable) -> Rows:
    """Return everything in a store."""
    with store.books(make=False) as books:
        return {table.name: list(books.rows(table)) for table in TABLES}


async def finish(store: Store, run_id: str, request_id: str) -> None:
    """Answer what waits, and see that it goes on as if nothing had happened."""
    async with Client(store, keyring=KEYS) as client:
        [asked] = await client.hitl.list_requests(run_id=run_id, status="pending")
        for waiting in (asked.request_id, request_id):
            await client.hitl.approve(request_id=waiting, reviewer=REVIEWER)
        await client.drain()
        run = await client.flows.get(run_id)
        assert run.output == "published: Grüße aus Köln \N{SNOWMAN}"
        call = await client.hitl.get_request(request_id)
        assert (await client.flows.get(call.run_id)).output == "paid 9 to DE02 1203"
        assert (await client.hitl.get_stats()).pending == 0


async def test_what_is_moved_to_postgresql_and_back_is_what_it_was(
    old: Path, tmp_path: Path, postgres: str, postgres_schema: str
) -> None:
    """Row by row and byte by byte, there and back; at either end what waits is answered and goes on."""
    run_id, request_id = await fill(SQLiteStore(old))
    before = all_of(SQLiteStore(old))
    there = PostgresStore(postgres, schema=postgres_schema)

    counts = move(SQLiteStore(old), there)

    assert all_of(there) == before
    assert counts == {name: len(rows) for name, rows in before.items()}
    assert min(counts[name] for name in counts if name not in {"marks", "handled"}) > 0
    assert all_of(SQLiteStore(old)) == before
    back = SQLiteStore(tmp_path / "back.db")
    assert move(there, back) == counts
    assert all_of(back) == before
    for store in (there, back):
        PAID.clear()
        await finish(store, run_id, request_id)
        assert PAID == [9]
        for links in streams(all_of(store)).values():
            assert verify_chain(links) is None


def streams(rows: Rows) -> dict[str, list[Link]]:
    """Return the audit entries of a store by their streams."""
    found: dict[str, list[Link]] = {}
    for stream, seq, prev_hash, own, _, _, body in rows["audit"]:
        assert isinstance(seq, int)
        assert isinstance(prev_hash, bytes)
        assert isinstance(own, bytes)
        assert isinstance(body, bytes)
        link = Link(stream=str(stream), seq=seq, prev_hash=prev_hash, body=body, hash=own)
        found.setdefault(link.stream, []).append(link)
    return found


async def test_what_is_counted_and_searched_by_is_made_anew(
    old: Path, postgres: str, postgres_schema: str
) -> None:
    """Statistics, pages by assignee and status, keys in use and claims are those of before."""
    await fill(SQLiteStore(old))
    there = PostgresStore(postgres, schema=postgres_schema)
    move(SQLiteStore(old), there)
    async with SQLiteStore(old) as here, there:
        now = await there.now()
        assert await there.counts() == await here.counts()
        assert await there.kids_in_use(now) == await here.kids_in_use(now)
        assert await there.live_claims("") == []
        for store in (here, there):
            async with Client(store_again(store), keyring=KEYS) as client:
                page = await client.hitl.list_requests(assignee=REVIEWER, status="pending")
                assert len(page) == 2


def store_again(store: Store) -> Store:
    """Return another store over the same data."""
    if isinstance(store, SQLiteStore):
        return SQLiteStore(store.location)
    assert isinstance(store, PostgresStore)
    return PostgresStore(store._server.address, schema=store._server.schema)


async def test_a_claim_is_passed_on_with_its_fencing_and_free(
    old: Path, postgres: str, postgres_schema: str
) -> None:
    """The next holder gets the next number, wherever the former one was."""
    async with SQLiteStore(old) as store:
        for fencing in (1, 2):
            lapsed = Acquire(subject="run_1", holder="w", fencing=fencing, lease=timedelta(0))
            await store.commit(Changes(claims=(lapsed,)))
    there = PostgresStore(postgres, schema=postgres_schema)
    move(SQLiteStore(old), there)
    async with there:
        assert await there.claim("run_1") == Claim(
            subject="run_1", holder="w", fencing=2, live=False
        )
        await there.commit(
            Changes(claims=(Acquire(subject="run_1", holder="v", fencing=3, lease=timedelta(9)),))
        )


@pytest.fixture(name="make", params=["sqlite", "postgres"])
def _make(
    request: pytest.FixtureRequest, tmp_path: Path, postgres: str, postgres_schema: str
) -> Callable[[], SQLiteStore | PostgresStore]:
    """Return what makes stores over one place, of either kind."""

    def make() -> SQLiteStore | PostgresStore:
        if request.param == "sqlite":
            return SQLiteStore(tmp_path / "place.db")
        return PostgresStore(postgres, schema=postgres_schema)

    return make


Make = Callable[[], SQLiteStore | PostgresStore]


async def test_a_store_that_is_served_is_not_moved(make: Make, tmp_path: Path) -> None:
    """The error names what is held; the target is left empty."""
    target = SQLiteStore(tmp_path / "new.db")
    async with Client(make(), keyring=KEYS) as client, client.serving():
        async with make() as store:
            while not await store.live_claims("serving:"):
                pass
        with pytest.raises(ConfigurationError, match="1 live claims, such as the one on serving:"):
            move(make(), target)
    assert not any(all_of(target).values())


async def test_a_target_with_anything_in_it_is_refused(make: Make, old: Path) -> None:
    """Even a single mark; nothing is added to it."""
    await fill(SQLiteStore(old))
    async with make() as store:
        await store.commit(Changes(marks={"imap": "7"}))
    with pytest.raises(ConfigurationError, match="is not empty: it has marks"):
        move(SQLiteStore(old), make())
    assert {name for name, rows in all_of(make()).items() if rows} == {"marks"}


async def test_a_store_is_not_moved_onto_itself(make: Make) -> None:
    """It would be empty of nothing."""
    with pytest.raises(ConfigurationError, match="onto itself"):
        move(make(), make())


async def test_a_source_that_is_not_there_is_not_made(make: Make, tmp_path: Path) -> None:
    """A path or schema that was mistyped stays unmade."""
    for _ in range(2):
        with pytest.raises(StoreUnavailableError, match="there (is|are) no"):
            move(make(), SQLiteStore(tmp_path / "new.db"))
    assert not (tmp_path / "place.db").exists()


async def test_a_broken_audit_chain_is_not_passed_on_as_whole(make: Make, old: Path) -> None:
    """The error names the stream and the entry; the target is left empty."""
    await fill(SQLiteStore(old))
    with closing(sqlite3.connect(old)) as file:
        file.execute("DROP TRIGGER audit_is_never_changed")
        file.execute(
            "UPDATE audit SET body = CAST(body || ' ' AS BLOB) WHERE stream LIKE 'run:%' AND seq = 2"
        )
        file.commit()
    with pytest.raises(SealInvalidError, match="audit stream run:run_.*, entry 2: the stored hash"):
        move(SQLiteStore(old), make())
    assert not any(all_of(make()).values())


class Spoiling(Movable):
    """A store that loses a row of what it is given."""

    def __init__(self, store: Movable) -> None:
        self._store = store
        self.location = store.location

    @override
    @contextmanager
    def books(self, *, make: bool) -> Iterator[Books]:
        """Spoil what is added."""
        with self._store.books(make=make) as books:
            add = books.add

            def spoil(table: Table, rows: Iterable[Row]) -> None:
                add(table, list(rows)[1:])

            books.add = spoil  # type: ignore[method-assign]  # that is what it is for
            yield books


async def test_what_does_not_read_as_it_was_written_does_not_stand(make: Make, old: Path) -> None:
    """The copy is compared before it stands."""
    await fill(SQLiteStore(old))
    with pytest.raises(StoreUnavailableError, match="runs does not read as it was written"):
        move(SQLiteStore(old), Spoiling(make()))
    assert not any(all_of(make()).values())


async def test_a_text_that_the_target_cannot_keep_moves_nothing(
    old: Path, postgres: str, postgres_schema: str
) -> None:
    """PostgreSQL keeps no zero character; the error is of Signoff, and the target is left empty."""
    async with SQLiteStore(old) as store:
        await store.commit(Changes(handled=("a\0b",)))
    there = PostgresStore(postgres, schema=postgres_schema)
    with pytest.raises(Exception, match="zero character"):
        move(SQLiteStore(old), there)
    assert not any(all_of(there).values())


def test_a_server_that_is_not_there_is_reported(old: Path) -> None:
    """With the address's place, and no traceback of a driver."""
    with pytest.raises(StoreUnavailableError, match="127.0.0.1:1"):
        move(PostgresStore("postgresql://127.0.0.1:1/x"), SQLiteStore(old))


LEFT_OUT = {
    "request_assignees",
    "request_kids",
    "tallies",
    "commits",
    "signoff_migrations",
}
"""What a store keeps to search or to count by, or for itself."""


async def test_no_table_and_no_column_is_forgotten(
    make: Make, postgres: str, postgres_schema: str, tmp_path: Path
) -> None:
    """What a migration adds has to be passed on, or be named here with the others that are not."""
    async with make() as store:
        place = store.location
    if place.startswith("/"):
        with closing(sqlite3.connect(place)) as file:
            names = [
                name
                for (name,) in file.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            ]
            found = {
                name: {row[1] for row in file.execute(f"PRAGMA table_info({name})")}
                for name in names
            }
    else:
        with psycopg.connect(postgres) as session:
            found = {}
            for table, column in session.execute(
                "SELECT table_name, column_name FROM information_schema.columns"
                " WHERE table_schema = %s",
                (postgres_schema,),
            ):
                found.setdefault(table, set()).add(column)
    of_their_own = {"signals": {"seq"}, "claims": {"ends", "epoch"}}
    passed = {table.name: set(table.columns) for table in TABLES}
    assert {
        name: columns - of_their_own.get(name, set())
        for name, columns in found.items()
        if name not in LEFT_OUT
    } == passed
