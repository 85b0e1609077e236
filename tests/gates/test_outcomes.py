"""What a gated call raises or returns when its request ends without leave to start."""

from __future__ import annotations

from datetime import timedelta

import pytest

from signoff import (
    ApprovalCancelled,
    ApprovalError,
    ApprovalExpired,
    ApprovalRejected,
    Flow,
    Policy,
    require_approval,
    start,
)
from signoff.model.request import Request
from signoff.testing import TestingClient

CFO = "cfo@acme.example"
DAY = timedelta(days=1)
TICK = timedelta(microseconds=1)


class Ends:
    """Starts a flow of one gated call, and keeps what that call came to at each attempt."""

    def __init__(self, client: TestingClient, **options: object) -> None:
        """Make the gate with these options."""
        self.client = client
        self.came_to: list[object] = []
        self.ran: list[int] = []
        came_to, ran = self.came_to, self.ran

        @require_approval(**options)  # type: ignore[call-overload, untyped-decorator]  # any options
        async def pay(amount: int) -> int:
            ran.append(amount)
            return amount

        @require_approval
        async def last() -> None: ...

        class Pays(Flow):
            @start()
            async def step(self) -> str:
                try:
                    came_to.append(await pay(5))
                except ApprovalError as error:
                    came_to.append(error)
                await last()
                return "end"

        self.flow = Pays

    async def begin(self) -> Request:
        """Drive the run to its question."""
        await self.client.flows.start(self.flow)
        await self.client.drain()
        return await self.pending()

    async def pending(self) -> Request:
        """Return the one request that waits."""
        (request,) = await self.client.hitl.list_requests(status="pending")
        return request

    async def replay(self) -> None:
        """Approve the last gate, so that the whole step runs once more."""
        request = await self.pending()
        await self.client.hitl.approve(request_id=request.request_id, reviewer=CFO)
        await self.client.drain()


async def test_a_refusal_says_who_and_why(client: TestingClient) -> None:
    """The error has the request, the reviewer, the words and the label, in a replay as well."""
    ends = Ends(client)
    request = await ends.begin()
    await client.hitl.reject(request_id=request.request_id, reason="too much", reviewer=CFO)
    await client.drain()
    await ends.replay()

    assert not ends.ran
    assert len(ends.came_to) == 2
    for error in ends.came_to:
        assert isinstance(error, ApprovalRejected)
        assert (error.request_id, error.reason) == (request.request_id, "too much")
        assert (error.reviewer, error.outcome) == (CFO, "rejected")
        assert str(error) == f"{request.request_id}: rejected by {CFO}: too much"


async def test_a_refusal_may_be_returned(client: TestingClient) -> None:
    """With `on_reject="return"` the refusal is the value of the call, in a replay as well."""
    ends = Ends(client, on_reject="return")
    request = await ends.begin()
    await client.hitl.reject(request_id=request.request_id, reviewer=CFO)
    await client.drain()
    await ends.replay()

    assert [type(one) for one in ends.came_to] == [ApprovalRejected, ApprovalRejected]
    assert str(ends.came_to[0]) == f"{request.request_id}: rejected by {CFO}"


@pytest.mark.parametrize("on_reject", ["raise", "return"])
async def test_a_request_that_expires_raises(client: TestingClient, on_reject: str) -> None:
    """From the very instant of expiry; only a refusal is ever returned."""
    ends = Ends(client, on_reject=on_reject, expires_after=DAY)
    request = await ends.begin()
    client.clock.advance(DAY - TICK)
    await client.drain()
    assert (await ends.pending()).request_id == request.request_id
    client.clock.advance(TICK)
    await client.drain()

    (error,) = ends.came_to
    assert isinstance(error, ApprovalExpired)
    assert error.request_id == request.request_id
    assert str(error).endswith("nobody answered until 2026-01-06T09:00:00+00:00")
    assert not ends.ran


@pytest.mark.parametrize(
    ("late", "ran"), [(timedelta(hours=1) - TICK, [5]), (timedelta(hours=1), [])]
)
async def test_permission_to_start_lapses_at_its_very_end(
    client: TestingClient, late: timedelta, ran: list[int]
) -> None:
    """Up to `valid_for` after the yes the body starts, and from that instant on it does not."""
    ends = Ends(client, valid_for=timedelta(hours=1))
    request = await ends.begin()
    answered = await client.hitl.approve(request_id=request.request_id, reviewer=CFO)
    assert answered.resolution is not None
    assert answered.resolution.valid_until == client.clock.now() + timedelta(hours=1)
    client.clock.advance(late)
    await client.drain()

    assert ends.ran == ran
    (end,) = ends.came_to
    if ran:
        assert end == 5
    else:
        assert isinstance(end, ApprovalExpired)
        lapse = "approved, and the permission to start lapsed at 2026-01-05T10:00:00+00:00"
        assert str(end) == f"{request.request_id}: {lapse}"


async def test_permission_lapses_after_a_day_unless_set(client: TestingClient) -> None:
    """Without `valid_for`, in the gate or in a policy, it is 24 hours."""
    assert (await Ends(client).begin()).valid_for_seconds == DAY.total_seconds()
    policy = Policy(valid_for=2 * DAY)
    ends = Ends(client, policy=policy)
    await client.flows.start(ends.flow)
    await client.drain()
    found = await client.hitl.list_requests(status="pending")

    assert 2 * DAY.total_seconds() in [one.valid_for_seconds for one in found]


async def test_a_clock_that_goes_back_gives_no_permission_again(client: TestingClient) -> None:
    """What has lapsed once is recorded as refused."""
    ends = Ends(client, valid_for=DAY)
    request = await ends.begin()
    await client.hitl.approve(request_id=request.request_id, reviewer=CFO)
    client.clock.advance(DAY)
    await client.drain()
    client.clock.advance(-DAY)
    await ends.replay()

    assert [type(one) for one in ends.came_to] == [ApprovalExpired, ApprovalExpired]
    assert not ends.ran


async def test_a_request_that_is_taken_back_raises(client: TestingClient) -> None:
    """`hitl.cancel` ends the call with its reason, and the step goes on."""
    ends = Ends(client)
    request = await ends.begin()
    await client.hitl.cancel(request_id=request.request_id)
    await client.drain()

    (error,) = ends.came_to
    assert isinstance(error, ApprovalCancelled)
    assert (error.request_id, error.reason) == (request.request_id, "withdrawn")
    assert str(error) == f"{request.request_id}: cancelled (withdrawn)"


async def test_a_retry_asks_anew_what_expired(client: TestingClient) -> None:
    """A step that failed by an expiry gets another request, with deadlines from then."""

    @require_approval(expires_after=DAY)
    def pay(amount: int) -> int:
        return amount

    class Pays(Flow):
        @start()
        def step(self) -> int:
            return pay(5)

    run = await client.flows.start(Pays)
    await client.drain()
    client.clock.advance(DAY)
    await client.drain()
    assert (await client.flows.get(run.run_id)).status == "failed"
    await client.flows.retry(run.run_id)
    await client.drain()
    (request,) = await client.hitl.list_requests(status="pending")

    assert request.expires_at == client.clock.now() + DAY
    await client.hitl.approve(request_id=request.request_id, reviewer=CFO)
    await client.drain()
    assert (await client.flows.get(run.run_id)).output == 5
