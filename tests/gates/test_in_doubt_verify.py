"""Calls whose process died between start and end: what `verify` says decides, else a human is asked."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta
from functools import partial

import pytest

from signoff import Done, Flow, NotDone, Unknown, require_approval, start
from signoff.model.request import Request
from signoff.model.run import Run
from signoff.testing import TestingClient

CFO = "cfo@acme.example"


class Killed(BaseException):
    """Stands for the end of a process: nobody records anything behind it."""


class Payment:
    """A flow of one gated call, whose body may end its process."""

    def __init__(self, **options: object) -> None:
        """Make the gate."""
        self.ran: list[int] = []
        self.kills = 1
        self.verified: list[dict[str, object]] = []
        payment = self

        @require_approval(**options)  # type: ignore[call-overload, untyped-decorator]  # any options
        async def pay(amount: int, to: str = "acme") -> str:
            payment.ran.append(amount)
            if len(payment.ran) <= payment.kills:
                raise Killed
            return f"paid {amount}"

        class Pays(Flow):
            @start()
            async def step(self) -> str:
                result: str = await pay(5)
                return result

        self.flow = Pays


async def pending(client: TestingClient) -> Request:
    """Return the one request that waits."""
    (request,) = await client.hitl.list_requests(status="pending")
    return request


async def killed(client: TestingClient, payment: Payment) -> Run:
    """Start the run, approve its call, and let the process of the body die."""
    run = await client.flows.start(payment.flow, requester="agent-7")
    await client.drain()
    await client.hitl.approve(request_id=(await pending(client)).request_id, reviewer=CFO)
    await dies(client)
    return run


async def dies(client: TestingClient) -> None:
    """Drive on into a body that ends its process."""
    with pytest.raises(BaseExceptionGroup) as died:
        await client.drain()
    assert died.group_contains(Killed)


async def go_on(client: TestingClient, run: Run) -> Run:
    """Drive the run on, as another process would."""
    await client.drain()
    return await client.flows.get(run.run_id)


def says(verdict: object, seen: list[dict[str, object]]) -> Callable[..., object]:
    """Return a `verify` that gives, or raises, this."""

    def verify(amount: int, to: str) -> object:
        seen.append({"amount": amount, "to": to})
        if isinstance(verdict, Exception):
            raise verdict
        return verdict

    return verify


def says_later(verdict: object, seen: list[dict[str, object]]) -> Callable[..., object]:
    """Return an async `verify` that gives, or raises, this."""

    async def verify(amount: int, to: str) -> object:
        return says(verdict, seen)(amount, to)

    return verify


def says_by_a_coroutine(verdict: object, seen: list[dict[str, object]]) -> Callable[..., object]:
    """Return a sync `verify` whose value is to be awaited."""
    later = says_later(verdict, seen)
    return lambda amount, to: later(amount=amount, to=to)


WAYS = [says, says_later, says_by_a_coroutine]


@pytest.mark.parametrize("way", WAYS)
async def test_done_takes_the_result_and_runs_nothing(
    client: TestingClient, way: Callable[..., Callable[..., object]]
) -> None:
    """The step goes on with what `verify` found, which was called with the approved arguments."""
    seen: list[dict[str, object]] = []
    payment = Payment(verify=way(Done("paid before"), seen))
    run = await go_on(client, await killed(client, payment))

    assert (run.status, run.output) == ("completed", "paid before")
    assert (payment.ran, seen) == ([5], [{"amount": 5, "to": "acme"}])


@pytest.mark.parametrize("way", WAYS)
async def test_not_done_runs_again_where_that_does_no_harm(
    client: TestingClient, way: Callable[..., Callable[..., object]]
) -> None:
    """With `idempotent=True` nobody is asked."""
    payment = Payment(verify=way(NotDone(), []), idempotent=True)
    run = await go_on(client, await killed(client, payment))

    assert (run.output, payment.ran) == ("paid 5", [5, 5])
    assert len(await client.hitl.list_requests()) == 1


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("verdict", [Unknown(), ValueError("down"), NotDone(), "yes"])
async def test_anything_else_asks_a_human(
    client: TestingClient,
    caplog: pytest.LogCaptureFixture,
    way: Callable[..., Callable[..., object]],
    verdict: object,
) -> None:
    """Unknown, an error, a word that is no verdict, and NotDone where running again may do harm."""
    payment = Payment(verify=way(verdict, []), assignees=[CFO], risk="high", sla=timedelta(hours=1))
    with caplog.at_level(logging.ERROR, "signoff.flows"):
        run = await go_on(client, await killed(client, payment))
    request = await pending(client)

    assert (run.status, run.blocked_reason, payment.ran) == ("blocked", "in_doubt", [5])
    assert run.blocked_detail.endswith(f"pay: request {request.request_id} asks")
    assert request.kind == "in_doubt"
    assert request.options == ("happened", "run_again", "abandon")
    assert (request.risk, request.assignees, request.requester) == ("high", (CFO,), "agent-7")
    assert (request.due_at, request.expires_at) == (None, None)
    assert request.identity is not None
    assert (request.identity.attempt, request.identity.occurrence_id) == (1, f"{run.run_id}.1")
    assert request.message == (
        "In doubt: Run pay. It was approved and started, and its end is unknown (attempt 1)."
        " Find out whether it happened."
    )
    assert ("so a human is asked" in caplog.text) == isinstance(verdict, ValueError)


async def test_without_verify_a_human_is_asked(client: TestingClient) -> None:
    """Even where running again would do no harm: nobody says that it did not happen."""
    payment = Payment(idempotent=True)
    run = await go_on(client, await killed(client, payment))

    assert (run.blocked_reason, payment.ran) == ("in_doubt", [5])


async def test_a_result_that_does_not_fit_asks_a_human(client: TestingClient) -> None:
    """What `verify` returns has to be what the function returns."""
    for odd, why in ((3, "expected str, found int"), (object(), "cannot be stored")):
        payment = Payment(verify=says(Done(odd), []))
        run = await go_on(client, await killed(client, payment))
        request = await pending(client)

        assert run.blocked_reason == "in_doubt"
        assert "said to have happened, but not with a fitting result" in request.message
        assert why in request.message
        await client.flows.cancel(run.run_id)


async def test_there_are_three_attempts_at_most(client: TestingClient) -> None:
    """After the third a human is asked, who may not run it a fourth time."""
    payment = Payment(verify=says(NotDone(), []), idempotent=True)
    payment.kills = 3
    run = await killed(client, payment)
    await dies(client)
    await dies(client)
    run = await go_on(client, run)
    request = await pending(client)

    assert (run.blocked_reason, payment.ran) == ("in_doubt", [5, 5, 5])
    assert request.options == ("happened", "abandon")
    assert request.identity is not None
    assert request.identity.attempt == 3
    assert "(attempt 3)" in request.message


async def test_permission_that_lapsed_meanwhile_does_not_start_it_again(
    client: TestingClient,
) -> None:
    """NotDone after `valid_for` is a call that never happens."""
    payment = Payment(verify=says(NotDone(), []), idempotent=True, valid_for=timedelta(hours=1))
    run = await killed(client, payment)
    client.clock.advance(timedelta(hours=1))
    run = await go_on(client, run)

    assert (run.status, payment.ran) == ("failed", [5])
    assert run.failure is not None
    assert run.failure.type_name.endswith(":ApprovalExpired")


async def test_a_replay_with_other_arguments_settles_the_doubt_first(
    client: TestingClient,
) -> None:
    """With `on_drift="ask"` an effect that may have happened is not dropped for a new question."""
    amounts = iter((5, 5, 6, 6))
    ran: list[int] = []

    @require_approval(on_drift="ask")
    async def pay(amount: int) -> str:
        ran.append(amount)
        raise Killed

    class Pays(Flow):
        @start()
        async def step(self) -> str:
            return await pay(next(amounts))

    run = await client.flows.start(Pays)
    await client.drain()
    await client.hitl.approve(request_id=(await pending(client)).request_id, reviewer=CFO)
    await dies(client)
    run = await go_on(client, run)
    request = await pending(client)

    assert (request.kind, request.payload) == ("in_doubt", {"amount": 5})
    await client.hitl.respond(
        request_id=request.request_id, outcome="happened", payload="paid 5", reviewer=CFO
    )
    run = await go_on(client, run)
    assert (run.output, ran) == ("paid 5", [5])


async def test_drift_says_what_is_in_doubt_or_done(client: TestingClient) -> None:
    """Who looks at the blocked run learns that an effect may be there, or is."""
    arguments = iter(((1, 5), (1, 5), (1, 5), (2, 6)))

    @require_approval
    async def prepare(number: int) -> None: ...

    @require_approval
    async def pay(amount: int) -> None:
        raise Killed

    class Pays(Flow):
        @start()
        async def step(self) -> None:
            number, amount = next(arguments)
            await prepare(number)
            await pay(amount)

    run = await client.flows.start(Pays)
    await client.drain()
    for drive in (client.drain, partial(dies, client)):
        await client.hitl.approve(request_id=(await pending(client)).request_id, reviewer=CFO)
        await drive()
    run = await go_on(client, run)

    assert run.blocked_reason == "drift"
    assert 'prepare with {"number":1} (done) and ' in run.blocked_detail
    assert 'pay with {"amount":5} (begun, its end unknown), and its replay' in run.blocked_detail
    assert run.blocked_detail.endswith('prepare with {"number":2}')


async def test_a_sync_step_verifies_while_its_thread_waits(client: TestingClient) -> None:
    """The thread of the call is lent to the body, not to `verify`."""
    ran: list[int] = []
    verify = partial(says, Done(7), [])

    @require_approval(verify=verify())  # type: ignore[arg-type]  # any callable
    def pay(amount: int, to: str) -> int:
        ran.append(amount)
        raise Killed

    class Pays(Flow):
        @start()
        def step(self) -> int:
            return pay(5, "acme")

    run = await client.flows.start(Pays)
    await client.drain()
    await client.hitl.approve(request_id=(await pending(client)).request_id, reviewer=CFO)
    await dies(client)
    run = await go_on(client, run)

    assert (run.output, ran) == (7, [5])
