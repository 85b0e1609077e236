"""Processes that die in an approved body, again and again: each death is asked about, once."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

import pytest
from typing_extensions import override

from signoff import ApprovalCancelled, Client, Flow, require_approval, start
from signoff.errors import StoreUnavailableError
from signoff.model.changes import Acquire, Changes
from signoff.model.request import Request
from signoff.security.keyring import Keyring
from signoff.stores import MemoryStore
from signoff.testing import FaultyStore

REVIEWER = "cfo@acme.example"


class World:
    """
    What stays when a process dies.

    Attributes:
        effects: What really happened.
        deaths: How many of the next bodies are the last thing that their process does, before
            anything has happened.
        process: The store of the process that lives now.
    """

    def __init__(self) -> None:
        self.effects: list[str] = []
        self.deaths = 0
        self.process = FaultyStore(MemoryStore())


WORLD = World()


@require_approval(name="in_doubt.pay", assignees=[REVIEWER])
async def pay(invoice: str) -> str:
    """Die, or do what must not be done twice."""
    if WORLD.deaths:
        WORLD.deaths -= 1
        WORLD.process.fail()
    else:
        WORLD.effects.append(invoice)
    return f"paid {invoice}"


class Purchase(Flow, name="in_doubt.purchase"):
    """One gated call."""

    @start()
    async def buy(self) -> str:
        """Make it."""
        try:
            return await pay("inv-1")
        except ApprovalCancelled:
            return "abandoned"


class Scene:
    """
    One store, and one process after another.

    Attributes:
        kept: The store.
        seconds: Where its lease clock stands.
    """

    def __init__(self) -> None:
        self._keys = Keyring.generate()
        self.seconds = 0.0
        self.kept: MemoryStore = MemoryStore(lease_clock=lambda: self.seconds)

    @asynccontextmanager
    async def process(self) -> AsyncGenerator[Client]:
        """Be a process, once the leases of those before have run out."""
        self.seconds += 1000
        WORLD.process = FaultyStore(self.kept)
        with suppress(StoreUnavailableError):
            async with Client(WORLD.process, keyring=self._keys) as client:
                yield client

    async def die(self, run_id: str, times: int) -> None:
        """Let so many processes die that have just taken a run."""
        for _ in range(times):
            claim = await self.kept.claim(run_id)
            assert claim is not None
            taken = Acquire(
                subject=run_id,
                holder="dead",
                fencing=claim.fencing + 1,
                lease=timedelta(0),
            )
            self.seconds += 1000
            await self.kept.commit(Changes(claims=(taken,)))

    async def answer(self, outcome: str) -> Request:
        """Let a process find what there is to ask, answer it, and go on; return the question."""
        async with self.process() as client:
            await client.drain()
            (request,) = await client.hitl.list_requests(status="pending")
            await client.hitl.respond(
                request_id=request.request_id, outcome=outcome, reviewer=REVIEWER
            )
            await client.drain()
        return request


@pytest.fixture(name="scene")
async def _scene() -> Scene:
    WORLD.effects.clear()
    WORLD.deaths = 0
    scene = Scene()
    async with scene.process() as client:
        await client.flows.start(Purchase, requester="agent-7")
    return scene


@pytest.mark.parametrize("deaths", [1, 2])
async def test_a_body_that_dies_is_asked_about_each_time(scene: Scene, deaths: int) -> None:
    """It is run again when a person says so, and what it did is done once."""
    WORLD.deaths = deaths
    asked = [await scene.answer("approved")]
    asked += [await scene.answer("run again") for _ in range(deaths)]

    async with scene.process() as client:
        await client.drain()
        (run,) = await client.flows.list()
        assert (await client.flows.get(run.run_id)).output == "paid inv-1"
        assert len(await client.hitl.list_requests()) == 1 + deaths
    assert WORLD.effects == ["inv-1"]
    assert [request.kind for request in asked] == ["call", *["in_doubt"] * deaths]
    attempts = [request.identity.attempt for request in asked if request.identity]
    assert attempts == [1, *range(1, deaths + 1)]


async def test_the_third_death_is_the_last(scene: Scene) -> None:
    """A person may still say that it happened, or give it up, but not have it run once more."""
    WORLD.deaths = 3
    await scene.answer("approved")
    await scene.answer("run again")
    await scene.answer("run again")
    question = await scene.answer("abandon")

    async with scene.process() as client:
        await client.drain()
        (run,) = await client.flows.list()
        assert (await client.flows.get(run.run_id)).output == "abandoned"
    assert question.options == ("happened", "abandon")
    assert WORLD.effects == []


class Hasty(MemoryStore):
    """A store to whose questions about a call in doubt somebody replies before anything else happens."""

    reply: Callable[[str], Awaitable[None]] | None = None

    @override
    async def commit(self, changes: Changes) -> None:
        await super().commit(changes)
        for request in changes.requests:
            if self.reply and request.kind == "in_doubt" and request.version == 1:
                await self.reply(request.request_id)


async def test_an_answer_that_comes_at_once_is_not_missed(scene: Scene) -> None:
    """Before the run that asks has come to rest: it goes on, and is not blocked for ever."""
    scene.kept = store = Hasty(lease_clock=lambda: scene.seconds)
    WORLD.deaths = 1
    async with scene.process() as client:
        await client.flows.start(Purchase, requester="agent-7")
    await scene.answer("approved")

    async with scene.process() as client:

        async def reply(request_id: str) -> None:
            answered = await client.hitl.respond(
                request_id=request_id, outcome="run again", reviewer=REVIEWER
            )
            await client._machinery.executor.advance(answered.run_id)

        store.reply = reply
        await client.drain()
        (run,) = await client.flows.list()
        assert (await client.flows.get(run.run_id)).output == "paid inv-1"


@pytest.mark.parametrize(("deaths", "reason"), [(9, "in_doubt"), (10, "poison")])
async def test_deaths_are_counted_from_the_last_body_that_was_started(
    scene: Scene, deaths: int, reason: str
) -> None:
    """Whoever started one did not die in vain: ten in a row that came to nothing are too many."""
    WORLD.deaths = 1
    async with scene.process() as client:
        await client.drain()
        (request,) = await client.hitl.list_requests(status="pending")
        await client.hitl.approve(request_id=request.request_id, reviewer=REVIEWER)
    await scene.die(request.run_id, 4)
    async with scene.process() as client:
        await client.drain()
    await scene.die(request.run_id, deaths)

    async with scene.process() as client:
        await client.drain()
        run = await client.flows.get(request.run_id)
    assert (run.status, run.blocked_reason) == ("blocked", reason)
