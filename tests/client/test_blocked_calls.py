"""Gated calls outside a flow whose run needs a person: who waits, and who is told."""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import replace

import anyio
import pytest

from signoff import ApprovalBlocked, Client, keyed, require_approval, set_default_client
from signoff.errors import StoreUnavailableError
from signoff.model.request import Request
from signoff.records import encode
from signoff.security.keyring import Keyring
from signoff.stores import MemoryStore
from signoff.testing import FaultyStore

CFO = "cfo@acme.example"
DIES: list[Callable[[], None]] = []


@require_approval(name="blocked_calls.pay", action="Pay {amount}", assignees=[CFO])
async def pay(amount: int) -> str:
    """Be the last thing that a process does, or end well."""
    for die in DIES:
        die()
    return f"paid {amount}"


class World:
    """
    One store, and one process after another.

    Attributes:
        store: The store.
        seconds: Where its lease clock stands.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self.keys = Keyring.generate()
        self.store = MemoryStore(lease_clock=lambda: self.seconds)

    @contextmanager
    def dying(self) -> Generator[FaultyStore]:
        """Give the store of a process that dies in its first body."""
        store = FaultyStore(self.store)
        DIES.append(store.fail)
        with suppress(StoreUnavailableError):
            yield store
        DIES.clear()
        self.seconds += 1000

    async def leave_in_doubt(self) -> None:
        """Let a process die in the body of a keyed call."""
        with self.dying() as store:
            async with Client(store, keyring=self.keys) as client:
                request = await client.submit(pay, 9, key="inv-1")
                await client.hitl.approve(request_id=request.request_id, reviewer=CFO)
                await client.drain()

    def tamper(self, request: Request) -> None:
        """Change a request behind Signoff's back."""
        row = self.store._requests.rows[request.request_id]
        forged = request.model_copy(update={"message": "Pay the forger"})
        self.store._requests.rows[request.request_id] = replace(row, body=encode(forged))


@pytest.fixture(name="world")
def _world() -> World:
    return World()


@pytest.fixture(name="client")
async def _client(world: World) -> AsyncIterator[Client]:
    """Open the client of the process that comes after those that died."""
    async with Client(world.store, keyring=world.keys) as client:
        set_default_client(client)
        yield client
        set_default_client(None)


async def pending(client: Client) -> Request:
    """Return the first pending request, once there is one."""
    while True:
        heard = client._bell.rings
        page = await client.hitl.list_requests(status="pending")
        if page:
            return page[0]
        await client._bell.wait(1, after=heard)


async def until_blocked(client: Client) -> str:
    """Return the run, once it is blocked and its caller had the time to notice."""
    while True:
        heard = client._bell.rings
        found = await client.flows.list(status="blocked")
        if found:
            await anyio.wait_all_tasks_blocked()
            return found[0].run_id
        await client._bell.wait(1, after=heard)


@pytest.mark.parametrize("made", ["plain", "keyed"])
async def test_a_call_whose_request_was_tampered_with_raises_that_it_is_blocked(
    world: World, client: Client, made: str
) -> None:
    """With the reason, the run and the request, instead of going on or waiting for ever."""
    called = pay if made == "plain" else keyed(pay, "inv-1")
    raised: list[ApprovalBlocked] = []

    async def call() -> None:
        with pytest.raises(ApprovalBlocked, match="seal_invalid") as caught:
            await called(9)
        raised.append(caught.value)

    with anyio.fail_after(20):
        async with client.serving(), anyio.create_task_group() as group:
            group.start_soon(call)
            request = await pending(client)
            world.tamper(request)
            with suppress(Exception):
                await client.hitl.approve(request_id=request.request_id, reviewer=CFO)

    (error,) = raised
    assert (error.request_id, error.run_id) == (request.request_id, request.run_id)
    assert (error.reason, error.detail) == ("seal_invalid", f"{request.request_id}: message")
    twin = copy.copy(error)
    assert (twin.reason, str(twin)) == ("seal_invalid", str(error))


async def test_a_caller_waits_while_people_are_asked_what_became_of_its_call(
    world: World, client: Client
) -> None:
    """The answer is what the call returns."""
    await world.leave_in_doubt()
    returned: list[str] = []

    async def call() -> None:
        returned.append(await keyed(pay, "inv-1")(9))

    with anyio.fail_after(20):
        async with client.serving(), anyio.create_task_group() as group:
            group.start_soon(call)
            await until_blocked(client)
            assert returned == []
            question = await pending(client)
            assert question.kind == "in_doubt"
            await client.hitl.respond(
                request_id=question.request_id,
                outcome="happened",
                payload="paid by hand",
                reviewer=CFO,
            )
    assert returned == ["paid by hand"]


async def test_a_caller_is_told_when_the_question_what_became_of_its_call_is_worthless(
    world: World, client: Client
) -> None:
    """Nobody can answer it any more, so nothing that is still to come helps."""
    await world.leave_in_doubt()
    await client.drain()
    question = await pending(client)
    world.tamper(question)

    with anyio.fail_after(20):
        async with client.serving():
            with pytest.raises(ApprovalBlocked) as caught:
                await keyed(pay, "inv-1")(9)
    assert caught.value.request_id == question.request_id
    assert caught.value.detail == f"{question.request_id}: message"
