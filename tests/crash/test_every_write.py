"""A crash at every write of a whole scenario, on either side of it: all is kept, nothing is done twice."""

from __future__ import annotations

import json
import random
import sqlite3
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, Final, Literal, Self, TypeAlias

import psycopg
import pytest
from typing_extensions import override

from signoff import (
    Client,
    Flow,
    HumanFeedbackResult,
    human_feedback,
    listen,
    once,
    or_,
    require_approval,
    start,
    together,
)
from signoff.errors import StoreUnavailableError
from signoff.model.changes import Changes
from signoff.model.request import Request
from signoff.ports import Clock, Notifier, Outgoing, Store
from signoff.security.keyring import Keyring
from signoff.stores import SQLiteStore
from signoff.stores.postgres import PostgresStore
from signoff.stores.postgres_pool import Query
from signoff.testing import FaultyStore, ManualClock

Side: TypeAlias = Literal["before", "after"]
CheckBooks: TypeAlias = Callable[[Path], None]
CopyBooks: TypeAlias = Callable[[str, str, Path], Path]

SIDES: Final[tuple[Side, ...]] = ("before", "after")
REVIEWER = "cfo@acme.example"
DEPUTY = "deputy@acme.example"
MORNING = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
NOON = MORNING + timedelta(hours=3)
KEYS = Keyring.generate()
EFFECTS: list[str] = []
"""What really happened in the world outside the store, in the scene that is played."""


@require_approval(name="every_write.pay", assignees=[REVIEWER])
async def pay(invoice: str, amount: int) -> str:
    """Do something that must not be done twice."""
    EFFECTS.append(invoice)
    return f"paid {amount} for {invoice}"


class Campaign(Flow, name="every_write.campaign"):
    """A gate on a step, a cycle, and a gated call behind it."""

    @start()
    def brief(self) -> str:
        """Begin."""
        return "spring"

    @listen(or_(brief, "needs_revision"))
    @human_feedback("Publish?", emit=["approved", "needs_revision"], assign_to_email=REVIEWER)
    def draft(self, _: object) -> str:
        """Write another draft."""
        drafts = int(str(self.state.get("drafts", 0))) + 1
        self.state["drafts"] = drafts
        return f"draft {drafts}"

    @listen("approved")
    async def publish(self, result: HumanFeedbackResult) -> str:
        """Pay for what was approved, as the reviewer has changed it."""
        stamp = await once("stamp", lambda: "stamped")
        return f"{result.output}, {stamp}, {await pay('campaign', 9)}"


class Purchase(Flow, name="every_write.purchase"):
    """Two gated calls at once, in a child run."""

    @start()
    async def buy(self) -> str:
        """Buy two things."""
        bought = await together(partial(pay, "ink", 1), partial(pay, "paper", 2))
        return " and ".join(str(receipt) for receipt in bought)


class Shopping(Flow, name="every_write.shopping"):
    """A child run."""

    @start()
    async def shop(self) -> str:
        """Leave it to another flow."""
        return f"child: {await Purchase().kickoff_async()}"


class Forgotten(Flow, name="every_write.forgotten"):
    """A question that nobody answers, so that the run fails until somebody tries it again."""

    @start()
    @human_feedback(
        "Still wanted?",
        emit=["approved", "rejected"],
        assign_to_email=REVIEWER,
        expires_after=timedelta(hours=1),
    )
    def ask(self) -> str:
        """Ask."""
        return "?"

    @listen("approved")
    def go_on(self) -> str:
        """End."""
        return "wanted"


class Lapsing(Flow, name="every_write.lapsing"):
    """A question that nobody answers, which is an answer too."""

    @start()
    @human_feedback(
        "Any objection?",
        emit=["approved", "rejected"],
        assign_to_email=REVIEWER,
        expires_after=timedelta(hours=1),
        on_expiry="rejected",
    )
    def ask(self) -> str:
        """Ask."""
        return "?"

    @listen("rejected")
    def archive(self) -> str:
        """End."""
        return "archived"


class CalledOff(Flow, name="every_write.called_off"):
    """Two things that are still asked when the run is cancelled."""

    @start()
    @human_feedback("Go on?", emit=["approved", "rejected"], assign_to_email=REVIEWER)
    def ask(self) -> str:
        """Ask."""
        return "?"

    @start()
    async def spend(self) -> str:
        """Ask for money."""
        return await pay("called off", 1000)


FLOWS: tuple[type[Flow[dict[str, object]]], ...] = (
    Campaign,
    Shopping,
    Forgotten,
    Lapsing,
    CalledOff,
)

OUTPUTS = {
    "every_write.campaign": ("completed", "draft 2, better, stamped, paid 9 for campaign"),
    "every_write.shopping": ("completed", "child: paid 1 for ink and paid 2 for paper"),
    "every_write.purchase": ("completed", "paid 1 for ink and paid 2 for paper"),
    "every_write.forgotten": ("completed", "wanted"),
    "every_write.lapsing": ("completed", "archived"),
    "every_write.called_off": ("cancelled", None),
    "every_write.pay": ("completed", "paid 3 for inv-17"),
}


class Post(Notifier):
    """
    Sends nothing, and keeps what it was given.

    Attributes:
        sent: How often each delivery went out.
        early: Deliveries that went out before the store knew of it.
    """

    def __init__(self, records: Callable[[str], list[dict[str, Any]]]) -> None:
        self.name = "post"
        self.expects_reply = True
        self.sent: Counter[str] = Counter()
        self.early: list[str] = []
        self._records = records

    @override
    def reaches(self, recipient: str) -> bool:
        return bool(recipient)

    @override
    async def send(self, outgoing: Outgoing) -> str:
        delivery_id = outgoing.delivery.delivery_id
        stored = {one["delivery_id"]: one["status"] for one in self._records("deliveries")}
        if stored.get(delivery_id) != "sending":
            self.early.append(delivery_id)
        self.sent[delivery_id] += 1
        return f"<{delivery_id}@post>"

    @override
    async def aclose(self) -> None:
        """Do nothing."""


class Scene:
    """
    One database and the world around it, which no crash of a process changes.

    Attributes:
        path: The database.
        clock: Business time.
        post: What went out.
    """

    def __init__(self, folder: Path, number: object) -> None:
        EFFECTS.clear()
        self.path = folder / f"{number}.db"
        self.clock = ManualClock(MORNING)
        self.post = Post(self.records)
        self._lease_seconds = 0.0

    def store(self) -> Store:
        """Return the store, as a process that starts now makes it: who held a claim is dead."""
        self.let_leases_lapse()
        return SQLiteStore(self.path, lease_clock=lambda: self._lease_seconds)

    def let_leases_lapse(self) -> None:
        """Wait until whatever lease is not renewed has run out."""
        self._lease_seconds += 1000

    def records(self, table: str) -> list[dict[str, Any]]:
        """Return the records in a table, as another program reads them."""
        with closing(sqlite3.connect(self.path)) as connection:
            rows = connection.execute(f"SELECT body FROM {table}")  # noqa: S608 - names of ours
            return [json.loads(body) for (body,) in rows]

    def books(self) -> Path:
        """Return where the books are to be checked."""
        return self.path

    def client(self, store: Store) -> Client:
        """Return a client as each of the processes makes it."""
        return Client(store, notifiers=[self.post], keyring=KEYS, clock=self.clock)

    async def finish(self) -> None:
        """Play it to the end with nothing failing any more, and see that all is well."""
        async with self.client(self.store()) as client:
            await self.play(client)
            await self.check(client)

    async def play(self, client: Client) -> None:
        """Do whatever is not done yet, as people who look at the store would. Repeatable."""
        for flow in FLOWS:
            if not await client.flows.list(flow=flow):
                await client.flows.start(flow, requester="agent-7")
        await client.submit(pay, "inv-17", 3, key="inv-17")
        await self._settle(client)
        (called_off,) = await client.flows.list(flow=CalledOff)
        if called_off.status != "cancelled":
            await client.flows.cancel(called_off.run_id, by="boss")
        await self._settle(client)
        self.clock.set(NOON)
        await self._settle(client)
        (forgotten,) = await client.flows.list(flow=Forgotten)
        if forgotten.status == "failed":
            await client.flows.retry(forgotten.run_id, by="boss")
        await self._settle(client)

    async def _settle(self, client: Client) -> None:
        """Let it work and answer what is asked, until there is nothing more to answer."""
        answered = True
        while answered:
            await client.drain()
            pending = await client.hitl.list_requests(status="pending", limit=100)
            answered = any([await _answer(client, request) for request in pending])

    async def check(self, client: Client) -> None:
        """See that everything came to its end, once."""
        runs = [await client.flows.get(run.run_id) for run in await client.flows.list()]
        ends = {run.flow_name: (run.status, run.output) for run in runs}
        assert ends == OUTPUTS
        assert len(runs) == len(OUTPUTS)
        assert Counter(EFFECTS) == Counter(["campaign", "ink", "paper", "inv-17"])
        assert not await client.hitl.list_requests(status="pending")
        assert self.post.early == []
        for delivery in self.records("deliveries"):
            sent = self.post.sent[delivery["delivery_id"]]
            assert delivery["status"] in {"sent", "dropped"}
            assert sent >= (delivery["status"] == "sent")
            assert sent <= 1 + delivery["unknown"] <= delivery["attempts"]


async def _answer(client: Client, request: Request) -> bool:
    """Answer one request as its reviewer does; say whether there was something to say."""
    request_id, hitl = request.request_id, client.hitl
    if request.kind == "in_doubt":
        payload: Any = request.payload
        happened = payload["invoice"] in EFFECTS
        await hitl.respond(
            request_id=request_id,
            outcome="happened" if happened else "run again",
            payload=f"paid {payload['amount']} for {payload['invoice']}" if happened else None,
            reviewer=REVIEWER,
        )
        return True
    if request.flow_name == "every_write.called_off":
        return False
    if request.flow_name in {"every_write.forgotten", "every_write.lapsing"}:
        if request.created_at == MORNING:
            return False
        await hitl.approve(request_id=request_id, reviewer=REVIEWER)
    elif request.payload == "draft 1":
        if not request.comments:
            await hitl.comment(request_id=request_id, text="I am away", author=REVIEWER)
        if request.assignees != (DEPUTY,):
            await hitl.reassign(request_id=request_id, assignees=[DEPUTY], by=REVIEWER)
        await hitl.respond(request_id=request_id, outcome="needs revision", reviewer=DEPUTY)
    elif request.payload == "draft 2":
        await hitl.approve(request_id=request_id, payload="draft 2, better", reviewer=REVIEWER)
    else:
        await hitl.approve(request_id=request_id, reviewer=REVIEWER)
    return True


class ByTheScene(PostgresStore):
    """A store whose server goes by the scene's clock."""

    _given: Clock

    @override
    async def __aenter__(self) -> Self:
        await super().__aenter__()
        await self._call(lambda session: session.run(_TAKE_THE_CLOCK))
        return self

    @override
    def use_clock(self, clock: Clock) -> None:
        self._given = clock

    @override
    async def commit(self, changes: Changes) -> None:
        await self.now()
        await super().commit(changes)

    @override
    async def now(self) -> datetime:
        at = {"at": self._given.now()}
        await self._call(lambda session: session.run(_SET_THE_CLOCK, at))
        return await super().now()


_TAKE_THE_CLOCK = Query(
    "CREATE TABLE IF NOT EXISTS {schema}.scene (at timestamptz);"
    "CREATE OR REPLACE FUNCTION {schema}.business_now() RETURNS timestamptz"
    " LANGUAGE sql VOLATILE AS 'SELECT max(at) FROM {schema}.scene'"
)

_SET_THE_CLOCK = Query("INSERT INTO {schema}.scene (at) VALUES (%(at)s)")


class PostgresScene(Scene):
    """The same over a schema of a PostgreSQL server, whose tables are empty."""

    def __init__(
        self, folder: Path, number: object, *, address: str, schema: str, copy_books: CopyBooks
    ) -> None:
        super().__init__(folder, number)
        self._address = address
        self._schema = schema
        self._copy_books = copy_books

    @override
    def store(self) -> Store:
        self.let_leases_lapse()
        return ByTheScene(self._address, schema=self._schema)

    @override
    def let_leases_lapse(self) -> None:
        self._ask("UPDATE {}.claims SET ends = '-infinity'")

    @override
    def records(self, table: str) -> list[dict[str, Any]]:
        return [json.loads(body) for (body,) in self._ask(f"SELECT body FROM {{}}.{table}")]  # noqa: S608 - names of ours

    @override
    def books(self) -> Path:
        return self._copy_books(self._address, self._schema, self.path)

    def _ask(self, statement: str) -> list[tuple[Any, ...]]:
        """Ask as another program does; there is nothing before the schema was made."""
        with psycopg.connect(self._address, autocommit=True) as session:
            made = session.execute("SELECT to_regclass(%s)", (f"{self._schema}.runs",)).fetchone()
            if made == (None,):
                return []
            cursor = session.execute(statement.format(self._schema).encode())
            return cursor.fetchall() if cursor.description else []


@dataclass(frozen=True, slots=True)
class Scenes:
    """
    Makes scenes over one kind of store.

    Attributes:
        make: Makes a new one.
        stride: Of how many places one is tried.
    """

    make: Callable[[object], Scene]
    stride: int


@pytest.fixture(name="scenes", params=["sqlite", "postgres"])
def _scenes(request: pytest.FixtureRequest, tmp_path: Path) -> Scenes:
    """Return what makes scenes; PostgreSQL takes longer, so it has fewer of them."""
    if request.param == "sqlite":
        return Scenes(partial(Scene, tmp_path), stride=1)
    address: str = request.getfixturevalue("postgres")
    schema: str = request.getfixturevalue("postgres_schema")
    copy_books: CopyBooks = request.getfixturevalue("copy_books")
    empty: Callable[[str], None] = request.getfixturevalue("empty_postgres_tables")

    def make(number: object) -> Scene:
        empty(schema)
        return PostgresScene(
            tmp_path, number, address=address, schema=schema, copy_books=copy_books
        )

    return Scenes(make, stride=10)


@contextmanager
def naming(**where: object) -> Generator[None]:
    """Say with a failure where it came from."""
    try:
        yield
    except BaseException as error:
        error.add_note(", ".join(f"{name} {value}" for name, value in where.items()))
        raise


async def crashes(scene: Scene, *, at: int, side: Side) -> bool:
    """Play a scene in a process that dies at that commit; say whether it came that far."""
    store = FaultyStore(scene.store(), at=at, side=side)
    with suppress(StoreUnavailableError):
        async with scene.client(store) as client:
            await scene.play(client)
    return store.failed


async def test_the_scene_ends_well_when_nothing_fails(
    scenes: Scenes, check_books: CheckBooks
) -> None:
    """And takes enough commits to be worth failing at each of them."""
    scene = scenes.make("whole")
    store = FaultyStore(scene.store())
    async with scene.client(store) as client:
        await scene.play(client)
        await scene.check(client)
    check_books(scene.books())
    assert store.commits > 60
    assert scene.post.sent.total() == len(scene.post.sent)


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("side", SIDES)
async def test_a_crash_at_any_write_loses_nothing_and_repeats_no_effect(
    scenes: Scenes, check_books: CheckBooks, side: Side
) -> None:
    """Reliability 1: the books are right after the crash, and another process brings everything to its end."""
    for number in count(1, scenes.stride):
        with naming(crash=side, commit=number):
            scene = scenes.make(number)
            crashed = await crashes(scene, at=number, side=side)
            check_books(scene.books())
            await scene.finish()
            check_books(scene.books())
        if not crashed:
            break


class InPieces(SQLiteStore):
    """A store that is not atomic: it writes records, and dies before it writes their audit entries."""

    def __init__(self, path: Path, *, whole: int) -> None:
        super().__init__(path)
        self._whole = whole

    @override
    async def commit(self, changes: Changes) -> None:
        if changes.audit and not self._whole:
            await super().commit(replace(changes, audit=()))
            raise StoreUnavailableError("it died in the middle")
        self._whole -= bool(changes.audit)
        await super().commit(changes)


@pytest.mark.parametrize("whole", [0, 7, 14, 25])
async def test_a_change_without_its_entry_would_be_found(
    tmp_path: Path, check_books: CheckBooks, whole: int
) -> None:
    """After the given number of whole ones, a commit is made in two pieces."""
    scene = Scene(tmp_path, "pieces")
    with suppress(StoreUnavailableError):
        async with scene.client(InPieces(scene.path, whole=whole)) as client:
            await scene.play(client)
    with pytest.raises((AssertionError, KeyError)):
        check_books(scene.path)


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("anyio_backend", ["trio"])
async def test_a_crash_while_recovering_from_a_crash_is_recovered_from(
    scenes: Scenes, check_books: CheckBooks
) -> None:
    """Reliability 2: two crashes one after the other, at places that are drawn from a seed."""
    chance = random.Random(7)
    for number in range(30 // scenes.stride):
        places: list[tuple[int, Side]] = [
            (chance.randint(1, 70), chance.choice(SIDES)) for _ in range(2)
        ]
        with naming(crashes=places):
            scene = scenes.make(number)
            for at, side in places:
                await crashes(scene, at=at, side=side)
                check_books(scene.books())
            await scene.finish()
            check_books(scene.books())


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("anyio_backend", ["trio"])
@pytest.mark.parametrize("side", SIDES)
async def test_a_write_that_fails_once_stops_nothing(
    scenes: Scenes, check_books: CheckBooks, side: Side
) -> None:
    """The same process goes on, whether the write was made or not."""
    for number in range(2, 100, 4 * scenes.stride):
        with naming(failure=side, commit=number):
            scene = scenes.make(number)
            store = FaultyStore(scene.store(), at=number, side=side, lasting=False)
            async with scene.client(store) as client:
                with suppress(StoreUnavailableError):
                    await scene.play(client)
                scene.let_leases_lapse()
                await scene.play(client)
                await scene.check(client)
            check_books(scene.books())
