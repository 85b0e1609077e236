"""Two changes of one thing at the same moment, in either order: one stands, the other one is told."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TypeAlias

import anyio
import pytest
from typing_extensions import override

from signoff import Client, Flow, Request, require_approval, start
from signoff.errors import DecisionError, StaleWriteError
from signoff.model.changes import Changes
from signoff.ports import Store
from signoff.security.keyring import Keyring
from signoff.stores import MemoryStore
from signoff.testing import FaultyStore, ManualClock

OpenStore: TypeAlias = Callable[[Path], Store]

REVIEWER = "cfo@acme.example"
PAID: list[str] = []


@require_approval(
    name="reliability.races.pay", assignees=[REVIEWER], expires_after=timedelta(hours=1)
)
async def pay(invoice: str) -> str:
    """Do something that must not be done twice."""
    PAID.append(invoice)
    return f"paid {invoice}"


class Payment(Flow, name="reliability.races.payment"):
    """One gated call."""

    @start()
    async def go(self) -> str:
        """Make it."""
        return await pay("inv-17")


@dataclass
class Crossing:
    """
    Where two processes meet that have both read, before either writes.

    Attributes:
        first: Whose commit is made first.
        clashed: Whether both were there at once.
    """

    first: str
    clashed: bool = False
    _waiting: set[str] = field(default_factory=set[str])
    _passed: set[str] = field(default_factory=set[str])
    _moved: anyio.Event = field(default_factory=anyio.Event)

    async def reach(self, who: str) -> None:
        """Wait for the other one, and for one's turn; later commits pass."""
        if who in self._passed:
            return
        self._waiting.add(who)
        self._wake()
        while len(self._waiting | self._passed) < 2:
            await self._moved.wait()
        self.clashed = self.clashed or len(self._waiting) == 2
        while who != self.first and self.first not in self._passed:
            await self._moved.wait()

    async def until(self, who: str) -> None:
        """Wait until that one is about to write."""
        while who not in self._waiting:
            await self._moved.wait()

    def leave(self, who: str) -> None:
        """Let the other one go on."""
        self._passed.add(who)
        self._wake()

    def _wake(self) -> None:
        self._moved.set()
        self._moved = anyio.Event()


class Meeting(FaultyStore):
    """A store whose first commit that changes a request or takes a run waits at a crossing."""

    crossing: Crossing | None = None
    who: str = ""

    @override
    async def commit(self, changes: Changes) -> None:
        crossing = self.crossing
        if crossing is None or not (changes.requests or changes.claims or changes.signals):
            await super().commit(changes)
            return
        await crossing.reach(self.who)
        try:
            await super().commit(changes)
        finally:
            crossing.leave(self.who)


@dataclass
class Scene:
    """
    A run that waits, and two processes.

    Attributes:
        clients: They, by their names.
        stores: Their stores.
        clock: Business time.
        request: What the run asks.
    """

    clients: dict[str, Client]
    stores: dict[str, Meeting]
    clock: ManualClock
    request: Request

    async def meet(
        self,
        first: str,
        one: Callable[[Client], Awaitable[object]],
        other: Callable[[Client], Awaitable[object]],
    ) -> dict[str, object]:
        """Let both do something at once; return what each of them ran into."""
        crossing = Crossing(first)
        found: dict[str, object] = {}

        async def do(who: str, work: Callable[[Client], Awaitable[object]]) -> None:
            self.stores[who].crossing, self.stores[who].who = crossing, who
            try:
                await work(self.clients[who])
                found[who] = None
            except DecisionError as error:
                found[who] = type(error).__name__
            finally:
                crossing.leave(who)
                self.stores[who].crossing = None

        with anyio.fail_after(30):
            async with anyio.create_task_group() as group:
                group.start_soon(do, "one", one)
                group.start_soon(do, "other", other)
        assert crossing.clashed
        return found

    async def end(self) -> tuple[str, str, list[str], int]:
        """Let both work until nothing is left; return how it ended."""
        for client in self.clients.values():
            await client.drain()
        client = self.clients["one"]
        request = await client.hitl.get_request(self.request.request_id)
        run = await client.flows.get(request.run_id)
        history = await client.hitl.history(request_id=request.request_id)
        endings = {"approved", "rejected", "expired", "cancelled"}
        ends = [one for one in history if one.event.removeprefix("request.") in endings]
        return request.status, run.status, PAID, len(ends)


@asynccontextmanager
async def a_scene(open_store: OpenStore, folder: Path) -> AsyncGenerator[Scene]:
    """Let a run ask, and open two processes."""
    PAID.clear()
    keys, clock = Keyring.generate(), ManualClock()
    stores = {who: Meeting(open_store(folder)) for who in ("one", "other")}
    clients = {who: Client(store, keyring=keys, clock=clock) for who, store in stores.items()}
    async with clients["one"], clients["other"]:
        await clients["one"].flows.start(Payment, requester="agent-7")
        await clients["one"].drain()
        (request,) = await clients["one"].hitl.list_requests()
        yield Scene(clients, stores, clock, request)


def approve(request: Request) -> Callable[[Client], Awaitable[object]]:
    """Return what approves a request."""
    return lambda client: client.hitl.approve(request_id=request.request_id, reviewer=REVIEWER)


def reject(request: Request) -> Callable[[Client], Awaitable[object]]:
    """Return what rejects a request."""
    return lambda client: client.hitl.reject(request_id=request.request_id, reviewer=REVIEWER)


@pytest.mark.parametrize("first", ["one", "other"])
async def test_two_answers(open_store: OpenStore, tmp_path: Path, first: str) -> None:
    """Reliability 9: the first commit decides, and the other one learns who did."""
    async with a_scene(open_store, tmp_path) as scene:
        found = await scene.meet(first, approve(scene.request), reject(scene.request))
        last = {"one": "other", "other": "one"}[first]
        assert found == {first: None, last: "AlreadyDecidedError"}
        ends = {
            "one": ("approved", "completed", ["inv-17"], 1),
            "other": ("rejected", "failed", [], 1),
        }
        assert await scene.end() == ends[first]


class Overwrites(MemoryStore):
    """A store that says made where another version was there already."""

    @override
    async def commit(self, changes: Changes) -> None:
        with suppress(StaleWriteError):
            await super().commit(changes)


async def test_two_answers_that_both_decide_would_be_found(tmp_path: Path) -> None:
    """The control of compare-and-set: nobody is told that somebody else was first."""
    store = Overwrites()
    with pytest.raises(AssertionError):
        await test_two_answers(lambda _: store, tmp_path, "one")


@pytest.mark.parametrize("first", ["one", "other"])
async def test_an_answer_and_the_withdrawal_of_the_question(
    open_store: OpenStore, tmp_path: Path, first: str
) -> None:
    """Reliability 9: what was withdrawn is not approved, what was approved is not withdrawn."""
    async with a_scene(open_store, tmp_path) as scene:
        found = await scene.meet(
            first,
            approve(scene.request),
            lambda client: client.hitl.cancel(request_id=scene.request.request_id),
        )
        ends = {
            "one": ({"one": None, "other": "AlreadyDecidedError"}, "approved", "completed"),
            "other": ({"one": "RequestCancelledError", "other": None}, "cancelled", "failed"),
        }
        status, run, paid, endings = await scene.end()
        assert (found, status, run) == ends[first]
        assert (len(paid), endings) == (status == "approved", 1)


@pytest.mark.parametrize("first", ["one", "other"])
async def test_an_answer_and_the_deadline(
    open_store: OpenStore, tmp_path: Path, first: str
) -> None:
    """Reliability 9: an answer that was given in time and is written too late does not count."""
    async with a_scene(open_store, tmp_path) as scene:

        async def lapse(client: Client) -> None:
            crossing = scene.stores["other"].crossing
            assert crossing is not None
            await crossing.until("one")
            scene.clock.advance(timedelta(hours=2))
            await client.drain()

        found = await scene.meet(first, approve(scene.request), lapse)
        status, run, paid, endings = await scene.end()
        assert found["other"] is None
        assert (status, run, paid, endings) == ("expired", "failed", [], 1)
        assert found["one"] == "RequestExpiredError"


@pytest.mark.parametrize("first", ["one", "other"])
async def test_an_answer_and_the_end_of_the_run(
    open_store: OpenStore, tmp_path: Path, first: str
) -> None:
    """Reliability 9: nothing starts in a run that was cancelled, whatever was said of the call."""
    async with a_scene(open_store, tmp_path) as scene:
        run_id = scene.request.run_id
        await scene.meet(first, approve(scene.request), lambda client: client.flows.cancel(run_id))
        status, run, paid, endings = await scene.end()
        assert (run, paid, endings) == ("cancelled", [], 1)
        assert status in {"approved", "cancelled"}


@pytest.mark.parametrize("first", ["one", "other"])
async def test_two_workers_that_resume_one_run(
    open_store: OpenStore, tmp_path: Path, first: str
) -> None:
    """Reliability 9: one of them gets the run, and the effect happens once."""
    async with a_scene(open_store, tmp_path) as scene:
        await approve(scene.request)(scene.clients["one"])
        found = await scene.meet(first, Client.drain, Client.drain)
        assert found == {"one": None, "other": None}
        assert await scene.end() == ("approved", "completed", ["inv-17"], 1)
