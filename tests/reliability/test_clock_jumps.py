"""A clock that jumps between any two operations: deadlines follow it, and nothing else breaks."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeAlias

import pytest

from signoff import Client, Flow, Request, require_approval, start
from signoff.errors import RequestExpiredError
from signoff.ports import Store
from signoff.testing import ManualClock, MemoryMail

OpenStore: TypeAlias = Callable[[Path], Store]

REVIEWER = "cfo@acme.example"
PAID: list[str] = []
BERLIN_SPRINGS_FORWARD = datetime(2026, 3, 29, 0, 30, tzinfo=UTC)
JUMPS = {
    "an hour": timedelta(hours=1),
    "thirty days": timedelta(days=30),
    "an hour back": timedelta(hours=-1),
    "thirty days back": timedelta(days=-30),
}
OPERATIONS = ("start", "ask", "tell", "answer", "resume")


@require_approval(name="jumps.pay", assignees=[REVIEWER])
async def pay(invoice: str) -> str:
    """Do something that must not be done twice."""
    PAID.append(invoice)
    return f"paid {invoice}"


class Payment(Flow, name="jumps.payment"):
    """One gated call; by default a question lapses after 7 days, and a yes after 24 hours."""

    @start()
    async def go(self) -> str:
        """Make it."""
        return await pay("inv-17")


async def operation(name: str, client: Client) -> None:
    """Do one of the things that a run goes through."""
    if name == "start":
        await client.flows.start(Payment, requester="agent-7")
    elif name == "answer":
        (request,) = await client.hitl.list_requests()
        await client.hitl.approve(request_id=request.request_id, reviewer=REVIEWER)
    else:
        await client.drain()


@pytest.mark.parametrize("before", OPERATIONS)
@pytest.mark.parametrize("jump", JUMPS)
async def test_a_jump_moves_deadlines_and_breaks_nothing(
    open_store: OpenStore, tmp_path: Path, jump: str, before: str
) -> None:
    """Reliability 10: between any two operations; forward it may be too late, back it never is."""
    PAID.clear()
    clock = ManualClock(BERLIN_SPRINGS_FORWARD)
    refused = False
    async with Client(open_store(tmp_path), notifiers=[MemoryMail()], clock=clock) as client:
        for name in OPERATIONS:
            if name == before:
                clock.advance(JUMPS[jump])
            try:
                await operation(name, client)
            except RequestExpiredError:
                refused = True
        (request,) = await client.hitl.list_requests()
        run = await client.flows.get(request.run_id)
    assert (request.status, run.status, PAID, refused) == expected(jump, before)
    assert not waits_past_its_deadline(request, clock.now())


def expected(jump: str, before: str) -> tuple[str, str, list[str], bool]:
    """Return how it ends."""
    if jump == "thirty days":
        # Asked at the old time, a question has expired; answered then, a yes has lapsed.
        if before in {"tell", "answer"}:
            return "expired", "failed", [], True
        if before == "resume":
            return "approved", "failed", [], False
    return "approved", "completed", ["inv-17"], False


def waits_past_its_deadline(request: Request, now: datetime) -> bool:
    """Return whether a request waits for an answer that nobody may give any more."""
    late = request.expires_at is not None and now >= request.expires_at
    return request.status == "pending" and late


async def test_what_has_expired_stays_expired(open_store: OpenStore, tmp_path: Path) -> None:
    """Reliability 10: a clock that is put back brings no question back to life."""
    PAID.clear()
    clock = ManualClock()
    async with Client(open_store(tmp_path), clock=clock) as client:
        await client.flows.start(Payment, requester="agent-7")
        await client.drain()
        clock.advance(timedelta(days=8))
        await client.drain()
        clock.advance(timedelta(days=-8))
        (request,) = await client.hitl.list_requests()
        with pytest.raises(RequestExpiredError):
            await client.hitl.approve(request_id=request.request_id, reviewer=REVIEWER)
        await client.drain()
        assert (await client.flows.get(request.run_id)).status == "failed"
    assert PAID == []


async def test_leases_do_not_follow_business_time(open_store: OpenStore, tmp_path: Path) -> None:
    """Reliability 10: a year forward, and whoever has a run still has it."""
    clock = ManualClock()

    class Slow(Flow, name="jumps.slow"):
        """A step in which a year goes by."""

        @start()
        async def wait(self) -> str:
            """Let others look for work."""
            clock.advance(timedelta(days=365))
            report = await client.drain()
            return f"{len(report.advanced)} advanced by others"

    async with Client(open_store(tmp_path), clock=clock) as client:
        run = await client.flows.start(Slow)
        await client.drain()
        assert (await client.flows.get(run.run_id)).output == "0 advanced by others"
