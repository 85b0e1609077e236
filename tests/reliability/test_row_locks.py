"""
Two commits that meet at a locked row of a PostgreSQL server: the one that queued first stands.

Another session holds the row, so that the first one waits in the midst of its transaction and the
second one behind it; the server then lets them go on in that order, every time.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeAlias

import anyio
import psycopg
import pytest
from anyio import to_thread

from signoff import Client, Flow, Request, require_approval, start
from signoff.errors import DecisionError
from signoff.security.keyring import Keyring
from signoff.testing import ManualClock

REVIEWER = "cfo@acme.example"
PATIENCE_SECONDS = 30.0
PAID: list[str] = []

Work: TypeAlias = Callable[[Client], Awaitable[object]]


@pytest.fixture
def anyio_backend() -> str:
    """The threads of a store do not depend on the loop: one will do."""
    return "asyncio"


@require_approval(
    name="reliability.locks.pay", assignees=[REVIEWER], expires_after=timedelta(hours=1)
)
async def pay(invoice: str) -> str:
    """Do something that must not be done twice."""
    PAID.append(invoice)
    return f"paid {invoice}"


class Payment(Flow, name="reliability.locks.payment"):
    """One gated call."""

    @start()
    async def go(self) -> str:
        """Make it."""
        return await pay("inv-17")


@dataclass
class Scene:
    """
    A run that waits, two processes, and a third program at the database.

    Attributes:
        clients: The processes.
        clock: Business time.
        request: What the run asks.
        address: Of the server.
        schema: Where the store is.
    """

    clients: tuple[Client, Client]
    clock: ManualClock
    request: Request
    address: str
    schema: str

    async def queue(self, *works: Work, table: str = "requests") -> list[str]:
        """Let both come to a row of the run one after the other, then free it; return what they met."""
        found = [""] * len(works)

        async def do(number: int, work: Work) -> None:
            try:
                await work(self.clients[number])
            except DecisionError as error:
                found[number] = type(error).__name__

        with (
            anyio.fail_after(PATIENCE_SECONDS),
            psycopg.connect(self.address) as holder,
            psycopg.connect(self.address, autocommit=True) as watcher,
        ):
            key = {"requests": "run_id", "claims": "subject"}[table]
            lock = f"SELECT FROM {self.schema}.{table} WHERE {key} = %s FOR UPDATE"
            holder.execute(lock.encode(), (self.request.run_id,))
            async with anyio.create_task_group() as group:
                for number, work in enumerate(works):
                    group.start_soon(do, number, work)
                    while await to_thread.run_sync(waiting, watcher) <= number:
                        pass
                holder.rollback()
        return found

    async def end(self) -> tuple[str, str, list[str], int]:
        """Let both work until nothing is left; return how it ended."""
        for client in self.clients:
            await client.drain()
        client = self.clients[0]
        request = await client.hitl.get_request(self.request.request_id)
        run = await client.flows.get(request.run_id)
        history = await client.hitl.history(request_id=request.request_id)
        endings = {"approved", "rejected", "expired", "cancelled"}
        ends = [one for one in history if one.event.removeprefix("request.") in endings]
        return request.status, run.status, PAID, len(ends)


def waiting(watcher: psycopg.Connection) -> int:
    """Return how many sessions wait for a lock."""
    found = watcher.execute(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE wait_event_type = 'Lock' AND datname = current_database()"
    ).fetchone()
    return found[0] if found else 0


@asynccontextmanager
async def a_scene(schemas: Any, folder: Path) -> AsyncGenerator[Scene]:
    """Let a run ask, and open two processes."""
    PAID.clear()
    keys, clock = Keyring.generate(), ManualClock()
    async with AsyncExitStack() as stack:
        one, other = [
            await stack.enter_async_context(Client(schemas.open(folder), keyring=keys, clock=clock))
            for _ in range(2)
        ]
        await one.flows.start(Payment, requester="agent-7")
        await one.drain()
        (request,) = await one.hitl.list_requests()
        yield Scene((one, other), clock, request, schemas.address, schemas.of(folder))


def approve(request: Request) -> Work:
    """Return what approves a request."""
    return lambda client: client.hitl.approve(request_id=request.request_id, reviewer=REVIEWER)


def reject(request: Request) -> Work:
    """Return what rejects a request."""
    return lambda client: client.hitl.reject(request_id=request.request_id, reviewer=REVIEWER)


def withdraw(request: Request) -> Work:
    """Return what takes a request back."""
    return lambda client: client.hitl.cancel(request_id=request.request_id)


def stop(request: Request) -> Work:
    """Return what cancels the run."""
    return lambda client: client.flows.cancel(request.run_id)


WINS = {
    "approve": (approve, ("approved", "completed", ["inv-17"], 1)),
    "reject": (reject, ("rejected", "failed", [], 1)),
    "withdraw": (withdraw, ("cancelled", "failed", [], 1)),
}
"""What is done to a request, and how all ends where that comes first."""

TOLD = {
    "approve": "AlreadyDecidedError",
    "reject": "AlreadyDecidedError",
    "withdraw": "RequestCancelledError",
}
"""What the other one is told then."""


@pytest.mark.parametrize("last", WINS)
@pytest.mark.parametrize("first", WINS)
async def test_of_two_that_queue_for_a_request_the_first_one_ends_it(
    schemas: Any, tmp_path: Path, first: str, last: str
) -> None:
    """Reliability 9: the other one is told how it ended."""
    async with a_scene(schemas, tmp_path) as scene:
        works = [WINS[name][0](scene.request) for name in (first, last)]
        met = await scene.queue(*works)
        assert met[0] == ""
        assert met[1] == TOLD[first]
        assert await scene.end() == WINS[first][1]


async def test_an_answer_that_queues_until_its_time_is_up_does_not_count(
    schemas: Any, tmp_path: Path
) -> None:
    """Reliability 9: given in time and written too late, before the one that notes the expiry."""
    async with a_scene(schemas, tmp_path) as scene:

        async def lapse(client: Client) -> None:
            scene.clock.advance(timedelta(hours=2))
            await client.drain()

        met = await scene.queue(approve(scene.request), lapse)
        assert met == ["RequestExpiredError", ""]
        assert await scene.end() == ("expired", "failed", [], 1)


@pytest.mark.parametrize("first", ["answer", "stop"])
async def test_an_answer_and_the_end_of_the_run_queue(
    schemas: Any, tmp_path: Path, first: str
) -> None:
    """Reliability 9: in either order nothing starts in a run that is cancelled."""
    async with a_scene(schemas, tmp_path) as scene:
        works = [approve(scene.request), stop(scene.request)]
        await scene.queue(*works[:: 1 if first == "answer" else -1], table="claims")
        status, run, paid, ends = await scene.end()
        assert (run, paid, ends) == ("cancelled", [], 1)
        assert status in {"approved", "cancelled"}


async def test_two_workers_queue_to_resume_one_run(schemas: Any, tmp_path: Path) -> None:
    """Reliability 9: one of them gets it, and the effect happens once."""
    async with a_scene(schemas, tmp_path) as scene:
        await approve(scene.request)(scene.clients[0])
        assert await scene.queue(Client.drain, Client.drain, table="claims") == ["", ""]
        assert await scene.end() == ("approved", "completed", ["inv-17"], 1)
