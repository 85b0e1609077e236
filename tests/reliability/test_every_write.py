"""A crash at every write, and at all pairs of writes, of all that a run can go through, on every store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, cast

import pytest
from typing_extensions import override

from signoff import (
    Done,
    Flow,
    HumanFeedbackResult,
    NotDone,
    Request,
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
from signoff.model.delivery import Delivery
from signoff.outbox import Outbox
from signoff.ports import Notifier, Outgoing, RequestQuery, Store
from signoff.stores import SQLiteStore
from signoff.testing import (
    CrashReport,
    FaultyStore,
    MemoryMail,
    Reviewer,
    TestingClient,
    client,
    crash_everywhere,
)

Side: TypeAlias = Literal["before", "after"]
OpenStore: TypeAlias = Callable[[Path], Store]
Books: TypeAlias = Callable[[Path], None]

SIDES: Final[tuple[Side, ...]] = ("before", "after")
REVIEWER = "cfo@acme.example"
DEPUTY = "deputy@acme.example"
MORNING = datetime(2026, 1, 5, 9, tzinfo=UTC)
NOON = MORNING + timedelta(hours=3)
PARTS = 8
"""How many tests share the pairs of writes, so that none of them takes long."""

STRIDES = {"memory": 1, "sqlite": 1, "postgres": 6}
"""Of how many cases that a seed draws one is played: those on a server take longer."""

EFFECTS: list[str] = []
"""What really happened in the world outside the store."""


@require_approval(name="reliability.pay", assignees=[REVIEWER])
async def pay(invoice: str, amount: int) -> str:
    """Do something that must not be done twice."""
    EFFECTS.append(invoice)
    return f"paid {amount} for {invoice}"


class Campaign(Flow, name="reliability.campaign"):
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


class Purchase(Flow, name="reliability.purchase"):
    """Two gated calls at once."""

    @start()
    async def buy(self) -> str:
        """Buy two things."""
        bought = await together(partial(pay, "ink", 1), partial(pay, "paper", 2))
        return " and ".join(str(receipt) for receipt in bought)


class Shopping(Flow, name="reliability.shopping"):
    """A child run."""

    @start()
    async def shop(self) -> str:
        """Leave it to another flow."""
        return f"child: {await Purchase().kickoff_async()}"


class Forgotten(Flow, name="reliability.forgotten"):
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


class Lapsing(Flow, name="reliability.lapsing"):
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


class CalledOff(Flow, name="reliability.called_off"):
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

ENDS = {
    "reliability.campaign": ("completed", "draft 2, better, stamped, paid 9 for campaign"),
    "reliability.shopping": ("completed", "child: paid 1 for ink and paid 2 for paper"),
    "reliability.purchase": ("completed", "paid 1 for ink and paid 2 for paper"),
    "reliability.forgotten": ("completed", "wanted"),
    "reliability.lapsing": ("completed", "archived"),
    "reliability.called_off": ("cancelled", None),
    "reliability.pay": ("completed", "paid 3 for inv-17"),
}


async def everything(client: TestingClient) -> Mapping[str, object]:
    """Do whatever is not done yet, as people who look at the store would, and return how it ended."""
    for flow in FLOWS:
        if not await client.flows.list(flow=flow):
            await client.flows.start(flow, requester="agent-7")
    await client.submit(pay, "inv-17", 3, key="inv-17")
    await settle(client)
    (called_off,) = await client.flows.list(flow=CalledOff)
    if called_off.status != "cancelled":
        await client.flows.cancel(called_off.run_id, by="boss")
    await settle(client)
    client.clock.set(NOON)
    await settle(client)
    (forgotten,) = await client.flows.list(flow=Forgotten)
    if forgotten.status == "failed":
        await client.flows.retry(forgotten.run_id, by="boss")
    await settle(client)
    runs = [await client.flows.get(run.run_id) for run in await client.flows.list()]
    return {run.flow_name: (run.status, run.output) for run in runs}


async def settle(client: TestingClient) -> None:
    """Let it work and answer what is asked, until there is nothing more to answer."""
    answered = True
    while answered:
        await client.drain()
        pending = await client.hitl.list_requests(status="pending", limit=100)
        answered = any([await answer(client, request) for request in pending])


async def answer(client: TestingClient, request: Request) -> bool:
    """Answer one request as its reviewer does; say whether there was something to say."""
    request_id, hitl = request.request_id, client.hitl
    if request.kind == "in_doubt":
        await answer_doubt(client, request)
        return True
    if request.flow_name == "reliability.called_off":
        return False
    if request.message in {"Still wanted?", "Any objection?"} and request.created_at == MORNING:
        return False
    if request.payload == "draft 1":
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


def look_it_up(question: Request) -> Done[str] | NotDone:
    """Say what became of a payment."""
    call = cast("dict[str, Any]", question.payload)
    if call["invoice"] not in EFFECTS:
        return NotDone()
    return Done(f"paid {call['amount']} for {call['invoice']}")


async def answer_doubt(client: TestingClient, question: Request) -> None:
    """Say what became of a payment, where no crash test does."""
    verdict = look_it_up(question)
    happened = isinstance(verdict, Done)
    await client.hitl.respond(
        request_id=question.request_id,
        outcome="happened" if happened else "run again",
        payload=verdict.result if isinstance(verdict, Done) else None,
        reviewer=REVIEWER,
    )


async def purchase(client: TestingClient) -> object:
    """Buy two things in a child run."""
    return await client.run(Shopping)


async def two_answers(client: TestingClient) -> object:
    """Answer one of two calls, let the run hear of it, and answer the other one."""
    if not await client.flows.list(flow=Purchase):
        await client.flows.start(Purchase, requester="agent-7")
    await settle(client)
    (run,) = await client.flows.list(flow=Purchase)
    return (await client.flows.get(run.run_id)).output


async def test_a_crash_between_two_calls_of_a_step_is_taken_up(open_store: OpenStore) -> None:
    """Reliability 2: though the answer to one was told to a drive that is over, and is not told again."""
    report = await crash_everywhere(
        two_answers,
        effects=EFFECTS,
        store=open_store,
        in_doubt=look_it_up,
        # The first crash comes between the answers, the second one at either of the calls.
        only=[f"before-7+{side}-{at}" for side in ("before", "after") for at in range(4, 10)],
    )
    assert report.ok, str(report)


class Post(Notifier):
    """
    Sends nothing, and keeps what it was given.

    Attributes:
        sent: How often each delivery went out.
        early: Deliveries that went out before the store knew of it.
    """

    def __init__(self, stored: Callable[[], Store]) -> None:
        self.name = "post"
        self.expects_reply = True
        self.sent: Counter[str] = Counter()
        self.early: list[str] = []
        self._stored = stored

    @override
    def reaches(self, recipient: str) -> bool:
        return bool(recipient)

    @override
    async def send(self, outgoing: Outgoing) -> str:
        delivery_id = outgoing.delivery.delivery_id
        if (await self._stored().delivery(delivery_id)).status != "sending":
            self.early.append(delivery_id)
        self.sent[delivery_id] += 1
        return f"<{delivery_id}@post>"

    @override
    async def aclose(self) -> None:
        """Do nothing."""


class Scene:
    """
    All that a run can go through, with an eye on the post and on the books.

    Attributes:
        post: What goes out.
        ends: How it ended when it was played last.
    """

    def __init__(self, open_store: OpenStore, books: Books) -> None:
        self.post = Post(lambda: self._store)
        self._open_store = open_store
        self._books = books
        self._folder = Path()
        self._wrong: list[str] = []
        self._store: Store
        self.ends: Mapping[str, object] = {}

    def open(self, folder: Path) -> Store:
        """Open the store of a process; a new folder is a new world."""
        if folder != self._folder:
            self._folder = folder
            self._wrong.clear()
            self.post.sent.clear()
            self.post.early.clear()
        self._store = self._open_store(folder)
        return self._store

    async def play(self, client: TestingClient) -> Mapping[str, object]:
        """Do everything, and see that all is well before it, after a crash that is, and at the end."""
        self._look()
        ends = await everything(client)
        self._look()
        assert not self._wrong, self._wrong
        assert not self.post.early, "it was sent before the store knew of it"
        for delivery in await self._deliveries():
            sent = self.post.sent[delivery.delivery_id]
            assert delivery.status in {"sent", "dropped"}
            assert sent >= (delivery.status == "sent")
            assert sent <= 1 + delivery.unknown <= delivery.attempts
        self.ends = ends
        return ends

    async def crashed(
        self,
        *,
        pairs: bool = False,
        at_most: int | None = None,
        seed: int = 0,
        only: Sequence[str] = (),
    ) -> CrashReport:
        """Crash it."""
        report = await crash_everywhere(
            self.play,
            effects=EFFECTS,
            store=self.open,
            in_doubt=look_it_up,
            notifiers=[self.post],
            pairs=pairs,
            at_most=at_most,
            seed=seed,
            only=only,
        )
        print(report)  # noqa: T201 - the figures are what the tests are for
        return report

    def _look(self) -> None:
        """Keep what is wrong in the books: what is raised in a process that dies is lost."""
        try:
            self._books(self._folder)
        except (AssertionError, LookupError) as error:
            self._wrong.append(repr(error))

    async def _deliveries(self) -> list[Delivery]:
        requests = await self._store.requests(RequestQuery(limit=200))
        return [
            delivery
            for request in requests
            for delivery in await self._store.deliveries(request.request_id)
        ]


@pytest.fixture(name="scene")
def _scene(open_store: OpenStore, books: Books) -> Scene:
    return Scene(open_store, books)


async def test_it_ends_well_when_nothing_fails(scene: Scene) -> None:
    """And takes enough commits to be worth failing at each of them."""
    report = await scene.crashed(at_most=0)
    assert scene.ends == ENDS
    assert sorted(EFFECTS) == ["campaign", "ink", "inv-17", "paper"]
    assert (report.cases, report.ok) == (0, True)
    assert report.commits > 100
    assert scene.post.sent.total() == len(scene.post.sent) > 6


@pytest.mark.parametrize("pairs", [False, True])
async def test_some_crashes_lose_nothing_and_repeat_no_effect(
    scene: Scene, store_name: str, pairs: bool
) -> None:
    """Reliability 1, 2: drawn from a seed that a failure names, one and two in a row."""
    cases = 12 // STRIDES[store_name]
    report = await scene.crashed(pairs=pairs, at_most=cases, seed=11)
    assert report.ok, str(report)
    assert report.cases == cases


@pytest.mark.reliability
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("side", SIDES)
async def test_a_crash_at_any_write_loses_nothing_and_repeats_no_effect(
    scene: Scene, side: Side
) -> None:
    """Reliability 1: at each commit of all that a run can go through, before it and after it."""
    commits = (await scene.crashed(at_most=0)).commits
    cases = [f"{side}-{at}" for at in range(1, commits + 1)]
    report = await scene.crashed(only=cases)
    assert report.ok, str(report)
    assert report.cases == commits > 100


@pytest.mark.reliability
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("part", range(PARTS))
async def test_a_crash_at_any_two_writes_loses_nothing_and_repeats_no_effect(
    open_store: OpenStore, part: int
) -> None:
    """Reliability 2: at each pair of commits of two gated calls in a child run."""
    crash_it = partial(
        crash_everywhere,
        purchase,
        effects=EFFECTS,
        reviewers=[Reviewer(REVIEWER).approves()],
        store=open_store,
        in_doubt=look_it_up,
        notifiers=[MemoryMail()],
    )
    commits = (await crash_it(at_most=0)).commits
    crashes = [f"{side}-{at}" for side in SIDES for at in range(1, commits + 1)]
    pairs = [f"{first}+{second}" for first in crashes for second in crashes]
    report = await crash_it(only=pairs[part::PARTS])
    print(report)  # noqa: T201 - the figures are what the test is for
    assert report.ok, str(report)
    assert len(pairs) > 1500


@pytest.mark.reliability
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", range(6))
async def test_thousands_of_pairs_of_crashes_lose_nothing_and_repeat_no_effect(
    scene: Scene, store_name: str, seed: int
) -> None:
    """Reliability 2: drawn from all pairs over all that a run can go through."""
    cases = 300 // STRIDES[store_name]
    report = await scene.crashed(pairs=True, at_most=cases, seed=seed)
    assert report.ok, str(report)
    assert report.cases == cases


async def goes_on(scene: Scene, folder: Path, *, at: int, side: Side) -> None:
    """Let one commit fail, and the same process go on."""
    EFFECTS.clear()
    store = FaultyStore(scene.open(folder), at=at, side=side, lasting=False)
    async with client(store=store, notifiers=[scene.post]) as process:
        with suppress(StoreUnavailableError):
            await everything(process)
        assert store.failed
        await store.let_claims_lapse()
        assert await scene.play(process) == ENDS
    assert sorted(EFFECTS) == ["campaign", "ink", "inv-17", "paper"]


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("at", [12, 48, 84])
async def test_a_write_that_fails_once_stops_nothing(
    scene: Scene, tmp_path: Path, at: int, side: Side
) -> None:
    """Reliability 1: the same process goes on, whether the write was made or not."""
    await goes_on(scene, tmp_path, at=at, side=side)


@pytest.mark.reliability
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("side", SIDES)
async def test_whichever_write_fails_once_stops_nothing(
    scene: Scene, tmp_path: Path, side: Side
) -> None:
    """Reliability 1: the same at every third commit."""
    commits = (await scene.crashed(at_most=0)).commits
    assert commits > 100
    for at in range(2, commits + 1, 3):
        folder = tmp_path / str(at)
        folder.mkdir()
        await goes_on(scene, folder, at=at, side=side)


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
    tmp_path: Path, check_books: Books, whole: int
) -> None:
    """The control: after the given number of whole ones, a commit is made in two pieces."""
    path = tmp_path / "signoff.db"
    with suppress(StoreUnavailableError):
        async with client(store=InPieces(path, whole=whole), notifiers=[MemoryMail()]) as process:
            await everything(process)
    with pytest.raises((AssertionError, LookupError)):
        check_books(path)


class Hasty(Outbox):
    """An outbox that sends before it says so in the store."""

    @override
    async def send(self, delivery_id: str) -> bool:
        await self._attempt(await self._store.delivery(delivery_id))
        return await super().send(delivery_id)


async def test_a_message_before_its_record_would_be_found(
    tmp_path: Path, check_books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control of the outbox: what goes out when nobody could know of it after a crash."""
    monkeypatch.setattr("signoff.assembly.Outbox", Hasty)
    scene = Scene(
        lambda folder: SQLiteStore(folder / "signoff.db"),
        lambda folder: check_books(folder / "signoff.db"),
    )
    with pytest.raises(AssertionError, match="before the store knew"):
        await scene.crashed(at_most=0)
