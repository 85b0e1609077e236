"""Processes that die in an approved body, again and again: each death is asked about, once."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

import pytest

from signoff import ApprovalCancelled, Client, Flow, require_approval, start
from signoff.errors import StoreUnavailableError
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
    """One store, and one process after another."""

    def __init__(self) -> None:
        self._keys = Keyring.generate()
        self._seconds = 0.0
        self._kept = MemoryStore(lease_clock=lambda: self._seconds)

    @asynccontextmanager
    async def process(self) -> AsyncGenerator[Client]:
        """Be a process, once the leases of those before have run out."""
        self._seconds += 1000
        WORLD.process = FaultyStore(self._kept)
        with suppress(StoreUnavailableError):
            async with Client(WORLD.process, keyring=self._keys) as client:
                yield client

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
