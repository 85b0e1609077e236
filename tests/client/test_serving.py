"""Serving: the engine, the sweep, the inbox, being seen by others, and an end at any moment."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from pathlib import Path

import anyio
import pytest
from anyio.lowlevel import checkpoint
from typing_extensions import override

from signoff import Client, Flow, HumanFeedbackResult, human_feedback, listen, start
from signoff.errors import ConfigurationError, InboxError, StoreUnavailableError
from signoff.model.changes import Task
from signoff.model.request import Request
from signoff.model.run import Run
from signoff.ports import Batch, Engine, LeavesToOthers
from signoff.stores import MemoryStore, SQLiteStore
from signoff.testing import FaultyStore, ManualClock, MemoryMail

BRAND = "brand@acme.example"
SOON = timedelta(seconds=30)


class Review(Flow, name="serving.review"):
    """One gate."""

    @start()
    @human_feedback(message="Publish?", emit=["approved", "rejected"], assign_to_email=BRAND)
    def draft(self) -> str:
        """Return what is asked about."""
        return "Spring sale"

    @listen("approved")
    def publish(self, result: HumanFeedbackResult) -> str:
        """Return what was said."""
        return f"published: {result.feedback}"


@pytest.fixture(name="at_once")
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sweep and look again all the time, where a user would wait for seconds."""
    monkeypatch.setattr("signoff.worker.SWEEP_SECONDS", 0.001)
    monkeypatch.setattr("signoff.flows.api._POLL_SECONDS", 0.001)


async def pending(client: Client) -> Request:
    """Return the pending request, once there is one."""
    while True:
        page = await client.hitl.list_requests(status="pending")
        if page:
            return page[0]
        await checkpoint()


async def test_a_run_goes_all_the_way_while_its_client_serves() -> None:
    """Started, asked by mail, answered by mail, finished; nobody calls anything."""
    mail = MemoryMail()
    mail.poll_interval_seconds = 0.001
    async with Client(notifiers=[mail], inbox=mail) as client, client.serving() as serving:
        assert serving is client
        run = await client.flows.start(Review)
        with anyio.fail_after(SOON.total_seconds()):
            while not mail.sent:
                await checkpoint()
            mail.reply(mail.sent[0], "approved\n\nlovely")
            ended = await client.flows.wait(run.run_id)

    assert ended.output == "published: lovely"


GATES: dict[str, anyio.Event] = {}
"""What the step of a run waits for, by the run's name."""


class Slow(Flow, name="serving.told"):
    """One step that ends when it is told to."""

    @start()
    async def wait(self) -> str:
        """Wait for what is this run's."""
        GATES[f"{self.state['name']} begun"].set()
        await GATES[f"{self.state['name']} may end"].wait()
        return "done"


async def test_a_block_that_ends_with_grace_lets_what_runs_end_and_begins_nothing_new() -> None:
    """The step that runs ends; a run that is started meanwhile is left to whoever serves next."""
    GATES.update(
        {f"{name} {what}": anyio.Event() for name in "ab" for what in ("begun", "may end")}
    )
    async with Client() as client, anyio.create_task_group() as group:

        async def start_another() -> None:
            await GATES["a begun"].wait()
            ending.set()
            await checkpoint()
            later.append(await client.flows.start(Slow, inputs={"name": "b"}))
            GATES["a may end"].set()

        later: list[Run] = []
        ending = anyio.Event()
        with anyio.fail_after(SOON.total_seconds()):
            async with client.serving(grace=SOON):
                run = await client.flows.start(Slow, inputs={"name": "a"})
                group.start_soon(start_another)
                await ending.wait()

        assert (await client.flows.get(run.run_id)).output == "done"
        assert (await client.flows.get(later[0].run_id)).status == "ready"
        assert not GATES["b begun"].is_set()


async def test_a_block_that_ends_without_grace_gives_back_what_runs(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The run is ready again, no claim is left, and the log says how many were cut off."""
    caplog.set_level(logging.INFO, "signoff.worker")
    GATES.update({f"a {what}": anyio.Event() for what in ("begun", "may end")})
    async with Client() as client:
        async with client.serving():
            run = await client.flows.start(Slow, inputs={"name": "a"})
            with anyio.fail_after(SOON.total_seconds()):
                await GATES["a begun"].wait()

        assert "1 tasks did not end in time" in caplog.text
        assert (await client.flows.get(run.run_id)).status == "ready"


async def test_what_another_process_left_is_found_by_the_sweep(
    state_home: Path, database: Path, at_once: None
) -> None:
    """A run, a delivery and a deadline; nothing of them was submitted here."""
    mail, clock = MemoryMail(), ManualClock()
    here = Client(SQLiteStore(database), notifiers=[mail], clock=clock)
    there = Client(SQLiteStore(database), clock=clock)
    async with here, there, here.serving():
        run = await there.flows.start(Review)
        with anyio.fail_after(SOON.total_seconds()):
            while not mail.sent:
                await checkpoint()
            clock.advance(timedelta(days=7))
            ended = await there.flows.wait(run.run_id)

    assert ended.status == "failed"
    assert ended.failure is not None
    assert "expired" in ended.failure.message


async def test_waiting_for_a_run_ends_with_it_or_with_the_time() -> None:
    """The run as it then stands."""
    async with Client() as client:
        run = await client.flows.start(Review)
        async with client.serving():
            request = await pending(client)
            waited = await client.flows.wait(run.run_id, timeout=timedelta(milliseconds=1))
            assert waited.status == "suspended"
            await client.hitl.approve(request_id=request.request_id, reviewer=BRAND)
            assert (await client.flows.wait(run.run_id, timeout=SOON)).status == "completed"


async def test_a_client_that_serves_is_seen_by_others_until_it_ends(
    state_home: Path, database: Path
) -> None:
    """Two blocks at once are two: when one ends, the other one is still seen."""
    store = SQLiteStore(database)
    async with store, Client(SQLiteStore(database)) as client:

        async def seen() -> int:
            return len(await store.live_claims("serving:"))

        async with client.serving():
            async with client.serving():
                with anyio.fail_after(SOON.total_seconds()):
                    while await seen() < 2:
                        await checkpoint()
            assert await seen() == 1
        assert await seen() == 0


async def test_serving_that_ends_at_once_leaves_nothing_behind() -> None:
    """Whether or not it came to be seen."""
    store = MemoryStore()
    async with Client(store) as client:
        for checkpoints in range(12):
            async with client.serving():
                for _ in range(checkpoints):
                    await checkpoint()
            assert await store.live_claims("serving:") == []


async def test_a_store_that_fails_at_the_end_of_serving_hides_no_error() -> None:
    """The claim lapses by itself."""
    store = FaultyStore(MemoryStore())
    async with Client(store) as client:
        with pytest.raises(LookupError, match="the application's own"):  # noqa: PT012 - the block is what raises
            async with client.serving():
                while not await store.live_claims("serving:"):
                    await checkpoint()
                store._at = store.commits + 1
                raise LookupError("the application's own")


async def test_an_end_in_the_midst_of_a_step_lets_another_client_go_on_at_once(
    state_home: Path, database: Path
) -> None:
    """It does not wait for the lease of half a minute."""
    attempts: list[str] = []
    begun = anyio.Event()

    class Slow(Flow, name="serving.slow"):
        @start()
        async def begin(self) -> str:
            attempts.append("begun")
            if len(attempts) == 1:
                begun.set()
                await anyio.sleep_forever()
            return "done"

    here, there = Client(SQLiteStore(database)), Client(SQLiteStore(database))
    async with here, there:
        run = await here.flows.start(Slow)
        async with here.serving():
            await begun.wait()
            assert (await there.flows.get(run.run_id)).status == "running"
            assert (await there.drain()).advanced == ()
        assert (await there.drain()).advanced == (run.run_id,)
        assert (await there.flows.get(run.run_id)).output == "done"

    assert len(attempts) == 2


class ByHand(Engine):
    """An engine that does nothing by itself, and leaves everything to the test."""

    handle: Callable[[Task], Awaitable[None]]
    sweep: Callable[[], Awaitable[Sequence[Task]]]

    def __init__(self) -> None:
        self.tasks: list[Task] = []
        self.ready = anyio.Event()

    @override
    def submit(self, tasks: Sequence[Task]) -> None:
        self.tasks += tasks

    @override
    async def serve(
        self,
        handle: Callable[[Task], Awaitable[None]],
        *,
        sweep: Callable[[], Awaitable[Sequence[Task]]],
        every_seconds: float,
    ) -> None:
        self.handle, self.sweep = handle, sweep
        self.ready.set()
        await anyio.sleep_forever()


async def test_an_engine_of_ones_own_gets_the_tasks_and_may_repeat_them() -> None:
    """A task is only an id: repeating one, too early or too late, does no harm."""
    engine, mail, clock = ByHand(), MemoryMail(), ManualClock()
    async with (
        Client(notifiers=[mail], engine=engine, clock=clock) as client,
        client.serving(),
    ):
        await engine.ready.wait()
        run = await client.flows.start(Review)
        assert engine.tasks == [Task(kind="advance", subject=run.run_id)]
        for _ in range(2):
            for task in [*engine.tasks, *await engine.sweep()]:
                await engine.handle(task)
        assert len(mail.sent) == 1

        (request,) = await client.hitl.list_requests(status="pending")
        deadline = Task(kind="deadline", subject=request.request_id)
        await engine.handle(deadline)
        assert (await client.hitl.get_request(request.request_id)).status == "pending"
        clock.advance(timedelta(days=7))
        assert deadline in await engine.sweep()
        for _ in range(2):
            await engine.handle(deadline)
        assert (await client.hitl.get_request(request.request_id)).status == "expired"


async def test_a_failing_store_stops_neither_tasks_nor_sweeps(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Both are tried again, and the log says what happened."""
    store, engine = FaultyStore(MemoryStore(), lasting=False), ByHand()
    async with Client(store, engine=engine) as client, client.serving():
        await engine.ready.wait()
        run = await client.flows.start(Review)
        store._at = store.commits + 1
        await engine.handle(engine.tasks[0])
        assert f"advance of {run.run_id} failed" in caplog.text

        store._lasting = True
        assert await engine.sweep() == ()
        assert "the store could not be swept" in caplog.text
        store._lasting = False
        assert [task.subject for task in await engine.sweep()] == [run.run_id]
        await engine.handle(engine.tasks[0])
        assert (await client.flows.get(run.run_id)).status == "suspended"


class Broken(MemoryMail):
    """A mailbox whose first looks go wrong, each in another way."""

    def __init__(self) -> None:
        super().__init__()
        self.poll_interval_seconds = 0.0
        self.troubles: list[Exception] = [
            InboxError("the server hung up"),
            StoreUnavailableError("the disk is full"),
            ZeroDivisionError("a slip in the adapter"),
        ]

    @override
    async def fetch(self, mark: str | None) -> Batch:
        if self.troubles:
            raise self.troubles.pop(0)
        await checkpoint()
        return await super().fetch(mark)


async def test_whatever_a_poll_runs_into_the_next_one_comes(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """An error of the mailbox, of the store, or of the adapter itself."""
    mail = Broken()
    with caplog.at_level(logging.WARNING):
        async with Client(notifiers=[mail], inbox=mail) as client:
            await client.flows.start(Review)
            async with client.serving():
                with anyio.fail_after(SOON.total_seconds()):
                    while not mail.sent:
                        await checkpoint()
                    mail.reply(mail.sent[0], "approved")
                    while mail.put_away != ["1"]:
                        await checkpoint()
            health = await client.health()

    assert health.inbox is not None
    assert health.inbox.last_error == "the server hung up"
    assert health.inbox.last_success is not None
    assert "a slip in the adapter" in caplog.text
    assert "the disk is full" in caplog.text


class Sharing(ByHand, LeavesToOthers):
    """An engine whose tasks others can do."""

    def __init__(self) -> None:
        super().__init__()
        self.left: list[Callable[[Task], Awaitable[None]]] = []

    @override
    def take_no_more(self, handle: Callable[[Task], Awaitable[None]]) -> None:
        self.left.append(handle)


async def test_an_engine_whose_tasks_others_can_do_is_told_when_a_block_ends() -> None:
    """Before what runs has ended, so that nobody waits for it; which block, by its handle."""
    engine = Sharing()
    async with Client(MemoryStore(), engine=engine) as client:
        async with client.serving():
            await engine.ready.wait()
            assert engine.left == []
        assert engine.left == [engine.handle]


class Refusing(ByHand):
    """An engine that cannot serve, for these reasons."""

    def __init__(self, *reasons: Exception) -> None:
        super().__init__()
        self.reasons = reasons

    @override
    async def serve(
        self,
        handle: Callable[[Task], Awaitable[None]],
        *,
        sweep: Callable[[], Awaitable[Sequence[Task]]],
        every_seconds: float,
    ) -> None:
        async with anyio.create_task_group() as group:
            for reason in self.reasons:
                group.start_soon(self.refuse, reason)

    @staticmethod
    async def refuse(reason: Exception) -> None:
        """Raise that."""
        raise reason


async def test_an_engine_that_cannot_serve_says_so_plainly() -> None:
    """Its one error comes as it is, and ends the block."""
    engine = Refusing(ConfigurationError("wrong loop"))
    async with Client(MemoryStore(), engine=engine) as client:
        with pytest.raises(ConfigurationError, match="wrong loop"):
            async with client.serving():
                await anyio.sleep_forever()


@pytest.mark.parametrize(
    "reasons", [[ValueError("a bug")], [ConfigurationError("one"), ConfigurationError("two")]]
)
async def test_what_else_ends_an_engine_is_not_taken_apart(reasons: list[Exception]) -> None:
    """Several errors, and those that are nobody's answer to the caller, stay a group."""
    async with Client(MemoryStore(), engine=Refusing(*reasons)) as client:
        with pytest.raises(BaseExceptionGroup):
            async with client.serving():
                await anyio.sleep_forever()
