"""How few commits and reads a run takes, and that the claim is in the right one of them."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial

import anyio
import pytest
from anyio.lowlevel import checkpoint
from typing_extensions import override

from signoff import Client, Flow, HumanFeedbackResult, human_feedback, listen, router, start
from signoff.codec import codec
from signoff.errors import StaleWriteError, StoreUnavailableError
from signoff.flows import executor as executing
from signoff.flows.executor import BEGUN, Executor
from signoff.flows.session import check_checkpoint
from signoff.model.changes import Acquire, Changes, Checkpoint, Release, Renew, Sealed, Signal
from signoff.model.run import Occurrence, Run
from signoff.registry import flow_classes
from signoff.security.keyring import Keyring
from signoff.stores import MemoryStore
from signoff.testing import FaultyStore

ANN = "ann@acme.example"
HOUR = timedelta(hours=1)

Watching = Callable[[Changes], Awaitable[None]]


class Watched(MemoryStore):
    """A store that notes what is committed and read, and lets a test come before a commit."""

    def __init__(self) -> None:
        super().__init__()
        self.commits: list[Changes] = []
        self.reads: list[str] = []
        self.before: Watching | None = None

    @override
    async def commit(self, changes: Changes) -> None:
        before, self.before = self.before, None
        if before is not None:
            await before(changes)
        await super().commit(changes)
        self.commits.append(changes)

    @override
    async def checkpoint(self, run_id: str) -> Checkpoint:
        noted = [*self.reads, "checkpoint"]
        found = await super().checkpoint(run_id)
        self.reads = noted
        return found

    @override
    async def run(self, run_id: str) -> Sealed[Run]:
        self.reads.append("run")
        return await super().run(run_id)

    @override
    async def signals(self, run_id: str) -> Sequence[Signal]:
        self.reads.append("signals")
        return await super().signals(run_id)


class Review(Flow, name="claims.review"):
    """Asks, and goes on with the answer."""

    @start()
    @human_feedback("ok?", emit=["yes", "no"], assignees=[ANN])
    async def ask(self) -> str:
        """Ask."""
        return "copy"

    @listen("yes")
    async def publish(self, result: HumanFeedbackResult) -> str:
        """Publish."""
        return f"published {result.output}"


@dataclass
class Desk:
    """A client over a watched store, and a run of `Review` whose question was answered."""

    client: Client
    store: Watched
    keyring: Keyring
    run_ids: list[str] = field(default_factory=list[str])

    @property
    def executor(self) -> Executor:
        """What drives runs."""
        return self.client._machinery.executor

    async def asked(self, flow: type[Flow[object]] = Review) -> str:
        """Return a run that waits for an answer."""
        run = await self.client.flows.start(flow)
        assert await self.executor.advance(run.run_id)
        self.forget()
        return run.run_id

    async def answered(self, label: str | None = "yes", flow: type[Flow[object]] = Review) -> str:
        """Return a run that was answered and not told yet."""
        run_id = await self.asked(flow)
        (request,) = await self.client.hitl.list_requests(run_id=run_id, status="pending")
        await self.client.hitl.respond(
            request_id=request.request_id, outcome=label, feedback="well", reviewer=ANN
        )
        self.forget()
        return run_id

    async def steal(self, _changes: Changes) -> None:
        """Take the next claim on the one run, as another process."""
        (run_id,) = self.run_ids
        claim = await self.store.claim(run_id)
        fencing = claim.fencing + 1 if claim else 1
        acquire = Acquire(subject=run_id, holder="other", fencing=fencing, lease=HOUR)
        await MemoryStore.commit(self.store, Changes(claims=(acquire,)))

    async def status(self, run_id: str) -> str:
        """Return how a run stands."""
        return (await self.client.flows.get(run_id)).status

    def forget(self) -> None:
        self.store.commits.clear()
        self.store.reads.clear()


@pytest.fixture(name="desk")
async def _desk() -> AsyncIterator[Desk]:
    store, keyring = Watched(), Keyring.generate()
    async with Client(store, keyring=keyring) as client:
        yield Desk(client, store, keyring)


def claims_in(changes: Changes) -> list[type]:
    """Return what a commit does to claims."""
    return [type(one) for one in changes.claims]


async def test_a_run_begun_here_is_not_read_again(desk: Desk) -> None:
    """Only what it was told is; its claim is the first one on it."""
    run = await desk.client.flows.start(Review)
    desk.forget()

    assert await desk.executor.advance(run.run_id)

    assert desk.store.reads == ["signals"]
    assert [claims_in(one) for one in desk.store.commits] == [[Acquire], [Release]]
    assert await desk.status(run.run_id) == "suspended"


async def test_only_the_last_runs_begun_here_are_known(desk: Desk) -> None:
    """The others are read as those of other processes are."""
    runs = [await desk.client.flows.start(Review) for _ in range(BEGUN + 1)]
    desk.store.reads.clear()

    assert await desk.executor.advance(runs[0].run_id)
    assert desk.store.reads == ["checkpoint"]
    desk.store.reads.clear()
    assert await desk.executor.advance(runs[-1].run_id)
    assert desk.store.reads == ["signals"]


async def test_a_run_begun_here_that_another_has_driven_is_read(desk: Desk) -> None:
    """What this process knows of it is no more than what it was in the beginning."""
    run = await desk.client.flows.start(Review)
    async with Client(desk.store, keyring=desk.keyring) as other:
        assert await other._machinery.executor.advance(run.run_id)
    desk.store.reads.clear()

    assert await desk.executor.advance(run.run_id)

    assert desk.store.reads == ["checkpoint"]
    assert await desk.status(run.run_id) == "suspended"


async def test_a_run_that_was_cancelled_before_it_began_runs_nothing(desk: Desk) -> None:
    """Also where the process that has begun it knows it, and another one cancelled it."""
    run = await desk.client.flows.start(Review)
    told = Signal(run_id=run.run_id, cause="cancel", kind="cancel", created_at=run.created_at)
    await desk.store.commit(Changes(signals=(told,)))

    assert await desk.executor.advance(run.run_id)

    assert await desk.status(run.run_id) == "cancelled"
    assert len(await desk.client.hitl.list_requests(run_id=run.run_id)) == 0


async def test_an_answer_is_gone_on_from_in_the_commit_that_takes_the_claim(desk: Desk) -> None:
    """So a resume is two commits: the answer, and the end of what follows it."""
    run_id = await desk.answered()

    assert await desk.executor.advance(run_id)

    first, last = desk.store.commits
    assert claims_in(first) == [Acquire]
    assert [one.record.step for one in first.occurrences] == ["ask", "publish"]
    assert len(first.consumed) == 1
    assert claims_in(last) == [Release]
    assert desk.store.reads == ["checkpoint"]
    run = await desk.client.flows.get(run_id)
    assert run.output == "published copy"


async def test_an_answer_that_nothing_follows_is_taken_by_the_drive(desk: Desk) -> None:
    """A run whose code does not load any more shall not end as if it did."""
    run_id = await desk.answered("no")

    assert await desk.executor.advance(run_id)

    assert [claims_in(one) for one in desk.store.commits] == [[Acquire], [Release]]
    assert desk.store.commits[0].runs == ()
    assert await desk.status(run_id) == "completed"


class Routed(Flow, name="claims.routed"):
    """Routes by the payload, as it was answered."""

    @start()
    def begin(self) -> str:
        """Begin."""
        return "copy"

    @router(begin)
    @human_feedback("ok?", assignees=[ANN])
    async def ask(self, copy: str) -> str:
        """Ask."""
        return copy

    @listen("copy")
    async def publish(self) -> str:
        """Publish."""
        return "published"


async def test_a_router_without_labels_is_taken_by_the_drive(desk: Desk) -> None:
    """It routes by a value that only the flow's own code may be able to read."""
    run_id = await desk.answered(None, Routed)

    assert await desk.executor.advance(run_id)

    assert desk.store.commits[0].runs == ()
    assert (await desk.client.flows.get(run_id)).output == "published"


@dataclass
class Copy:
    """A payload of a type of its own."""

    text: str


class Typed(Flow, name="claims.typed"):
    """Asks about a typed payload; perhaps something follows."""

    @start()
    @human_feedback("ok?", emit=["yes", "no"], assignees=[ANN])
    async def ask(self) -> Copy:
        """Ask."""
        return Copy("copy")

    @listen("yes")
    async def publish(self, result: HumanFeedbackResult) -> object:
        """Publish."""
        return result.output


@pytest.mark.parametrize(("label", "output"), [("yes", Copy("copy")), ("no", Copy("copy"))])
async def test_an_answer_whose_payload_cannot_be_read_blocks_the_run(
    desk: Desk, label: str, output: object
) -> None:
    """Whether or not a step follows; with the type back, a retry goes on."""
    run_id = await desk.answered(label, Typed)
    registry = codec._registry
    form = registry._by_name.pop(f"{__name__}:Copy")
    try:
        await desk.executor.advance(run_id)
        run = await desk.client.flows.get(run_id)
    finally:
        registry._by_name[form.name] = form

    assert (run.status, run.blocked_reason) == ("blocked", "state_invalid")
    assert "Copy" in run.blocked_detail
    run = await desk.client.flows.retry(run_id)
    assert (run.status, run.output) == ("completed", output)


async def test_who_answers_last_takes_nothing_from_who_has_the_claim(desk: Desk) -> None:
    """Another process took it after this one had read the run: nothing is written here."""
    run_id = await desk.answered()
    desk.run_ids = [run_id]
    desk.store.before = desk.steal

    await desk.executor.advance(run_id)

    assert desk.store.commits == []
    claim = await desk.store.claim(run_id)
    assert claim is not None
    assert (claim.holder, claim.live) == ("other", True)


class Slow(Flow, name="claims.slow"):
    """Takes its time over a question."""

    attempts = 0
    begun: anyio.Event
    go: anyio.Event

    @start()
    @human_feedback("ok?", emit=["yes", "no"], assignees=[ANN])
    async def ask(self) -> str:
        """Wait for leave."""
        Slow.attempts += 1
        self.begun.set()
        await self.go.wait()
        return "copy"


async def test_what_a_former_holder_writes_before_its_claim_is_taken_is_seen(desk: Desk) -> None:
    """It was slow, and its lease has lapsed: until another takes the claim it may end its step."""
    Slow.attempts, Slow.begun, Slow.go = 0, anyio.Event(), anyio.Event()
    run_id = (await desk.client.flows.start(Slow)).run_id

    async def end_the_step(_changes: Changes) -> None:
        Slow.go.set()
        with anyio.fail_after(30):
            while await desk.status(run_id) != "suspended":
                await checkpoint()

    async with (
        Client(desk.store, keyring=desk.keyring) as other,
        anyio.create_task_group() as group,
    ):
        group.start_soon(desk.executor.advance, run_id)
        await Slow.begun.wait()
        held = await desk.store.claim(run_id)
        assert held is not None
        lapse = Renew(subject=run_id, holder=held.holder, fencing=held.fencing, lease=0 * HOUR)
        await desk.store.commit(Changes(claims=(lapse,)))
        desk.store.before = end_the_step
        assert await other._machinery.executor.advance(run_id)

    assert Slow.attempts == 1
    assert await desk.status(run_id) == "suspended"


async def test_a_run_begun_here_that_another_takes_at_once_is_left_alone(desk: Desk) -> None:
    """The claim that is read next is a live one."""
    run = await desk.client.flows.start(Review)
    desk.run_ids = [run.run_id]
    desk.store.before = desk.steal

    assert not await desk.executor.advance(run.run_id)


async def test_an_answer_that_clashes_is_left_to_the_drive(desk: Desk) -> None:
    """What follows from it touches something that moved on just now; the claim did not."""
    run_id = await desk.answered()

    async def clash(_changes: Changes) -> None:
        raise StaleWriteError("req_1", "its version is 3 by now")

    desk.store.before = clash
    assert await desk.executor.advance(run_id)

    assert [claims_in(one) for one in desk.store.commits] == [[Acquire], [], [Release]]
    assert await desk.status(run_id) == "completed"


@pytest.mark.parametrize("side", ["before", "after"])
async def test_a_claim_of_which_nobody_knows_is_given_back(side: str) -> None:
    """Else nobody could take the run before the lease ends."""
    store, keyring = MemoryStore(), Keyring.generate()
    async with Client(store, keyring=keyring) as client:
        run = await client.flows.start(Review)
        await client.drain()
        (request,) = await client.hitl.list_requests(run_id=run.run_id)
        await client.hitl.respond(request_id=request.request_id, outcome="yes", reviewer=ANN)
    faulty = FaultyStore(store, at=1, side="before" if side == "before" else "after", lasting=False)
    async with Client(faulty, keyring=keyring) as client:
        with pytest.raises(StoreUnavailableError):
            await client._machinery.executor.advance(run.run_id)
        claim = await store.claim(run.run_id)
        assert claim is not None
        assert (claim.live, claim.fencing) == (False, 1 if side == "before" else 2)
        await client.drain()
        assert (await client.flows.get(run.run_id)).output == "published copy"


async def test_a_class_that_is_wrong_by_now_blocks_the_run(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever was answered."""
    run_id = await desk.answered()

    class Wrong(Flow, name="claims.wrong"):
        @listen("yes")
        async def ask(self) -> None:
            """Do nothing."""

    monkeypatch.setitem(flow_classes._code, "claims.review", ("", Wrong))
    assert await desk.executor.advance(run_id)
    run = await desk.client.flows.get(run_id)
    assert (run.status, run.blocked_reason) == ("blocked", "code_missing")


async def test_a_name_that_is_a_gates_by_now_blocks_the_run(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run is no call of it."""
    run_id = await desk.answered()
    names = desk.executor.names()
    monkeypatch.delitem(flow_classes._code, "claims.review")
    monkeypatch.setattr(desk.executor, "names", lambda: names)

    assert await desk.executor.advance(run_id)

    run = await desk.client.flows.get(run_id)
    assert (run.status, run.blocked_reason) == ("blocked", "code_missing")


async def test_who_is_not_alone_in_taking_a_claim_leaves_it(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two in one process none could tell whose commit was made."""
    run_id = await desk.answered()
    keeper = desk.client._machinery.keeper
    with keeper.alone_with(run_id) as alone:
        assert alone
        assert not await desk.executor.advance(run_id)
    with ExitStack() as other:

        def check_and_take(
            keyring: Keyring, run: Sealed[Run], journal: Sequence[Sealed[Occurrence]]
        ) -> None:
            assert other.enter_context(keeper.alone_with(run_id))
            check_checkpoint(keyring, run, journal)

        monkeypatch.setattr(executing, "check_checkpoint", check_and_take)
        await desk.executor.advance(run_id)

    assert desk.store.commits == []
    monkeypatch.undo()
    assert await desk.executor.advance(run_id)
    assert await desk.status(run_id) == "completed"


class Met(str):
    """A run's id at which two threads meet each time that they look it up, if both come."""

    __slots__ = ("barrier",)

    barrier: threading.Barrier

    @override
    def __hash__(self) -> int:
        with suppress(threading.BrokenBarrierError):
            self.barrier.wait(0.1)
        return super().__hash__()


async def test_two_threads_may_look_for_a_run_at_once(desk: Desk, anyio_backend_name: str) -> None:
    """Each on an event loop of its own; the run is driven, and both come back."""
    run_id = Met(await desk.answered())
    run_id.barrier = threading.Barrier(2)
    driven: list[bool] = []

    async def advance() -> None:
        async with desk.client:
            driven.append(await desk.executor.advance(run_id))

    async with anyio.create_task_group() as group:
        for _ in range(2):
            work = partial(anyio.run, advance, backend=anyio_backend_name)
            group.start_soon(anyio.to_thread.run_sync, work)

    assert len(driven) == 2
    assert any(driven)
    assert await desk.status(str(run_id)) == "completed"


async def test_news_that_come_while_a_claim_is_taken_are_heard(desk: Desk) -> None:
    """The one who brings them goes away at once, and the one who takes the claim looks again."""
    run_id = await desk.asked()
    (request,) = await desk.client.hitl.list_requests(run_id=run_id)

    async def answer(_changes: Changes) -> None:
        await desk.client.hitl.respond(request_id=request.request_id, outcome="yes", reviewer=ANN)
        assert not await desk.executor.advance(run_id)

    desk.store.before = answer
    assert await desk.executor.advance(run_id)
    assert await desk.status(run_id) == "completed"


async def test_news_that_come_before_a_claim_is_found_taken_make_one_look_again(
    desk: Desk,
) -> None:
    """Whoever had it may have given it back in the meantime."""
    run_id = await desk.answered()
    held = await desk.client._machinery.keeper.take(run_id)
    assert held is not None
    lapsed = Renew(subject=run_id, holder=held.holder, fencing=held.fencing, lease=timedelta(0))
    read = desk.store.checkpoint

    async def read_and_be_told(run_id: str) -> Checkpoint:
        found = await read(run_id)
        if len(desk.store.reads) == 1:
            assert not await desk.executor.advance(run_id)
            desk.client._machinery.keeper.let_go(held)
            await desk.store.commit(Changes(claims=(lapsed,)))
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(desk.store, "checkpoint", read_and_be_told)
        await desk.executor.advance(run_id)
    assert desk.store.reads[:2] == ["checkpoint", "checkpoint"]
    assert await desk.status(run_id) == "completed"


async def test_a_claim_is_given_back_when_its_run_cannot_be_read(desk: Desk) -> None:
    """At once, so that another can try."""
    run_id = await desk.asked()
    held = await desk.client._machinery.keeper.take(run_id)
    assert held is not None

    async def fail(_run_id: str) -> Checkpoint:
        raise StoreUnavailableError("the disk is gone")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(desk.store, "checkpoint", fail)
        with pytest.raises(StoreUnavailableError):
            await desk.executor.drive_held(held)
    claim = await desk.store.claim(run_id)
    assert claim is not None
    assert not claim.live
