"""What humans answer about a call whose end is unknown."""

from __future__ import annotations

from datetime import timedelta

import pytest

from signoff import ApprovalCancelled, ApprovalExpired, Flow, require_approval, start
from signoff.errors import NotAllowedError
from signoff.model.request import Request
from signoff.model.run import Run
from signoff.testing import TestingClient

CFO = "cfo@acme.example"


class Killed(BaseException):
    """Stands for the end of a process: nobody records anything behind it."""


class Payment:
    """A flow of one gated call in doubt."""

    def __init__(self, client: TestingClient, **options: object) -> None:
        """Make the gate."""
        self.client = client
        self.ran: list[int] = []
        self.kills = 1
        payment = self

        @require_approval(assignees=[CFO], **options)  # type: ignore[call-overload, untyped-decorator]  # any options
        async def pay(amount: int) -> str | None:
            payment.ran.append(amount)
            if len(payment.ran) <= payment.kills:
                raise Killed
            return f"paid {amount}"

        class Pays(Flow):
            @start()
            async def step(self) -> str | None:
                result: str | None = await pay(5)
                return result

        self.flow: type[Flow[dict[str, object]]] = Pays

    async def pending(self) -> Request:
        """Return the one request that waits."""
        (request,) = await self.client.hitl.list_requests(status="pending")
        return request

    async def in_doubt(self) -> Run:
        """Let the process of the body die, and another one come upon the call."""
        run = await self.client.flows.start(self.flow)
        await self.client.drain()
        await self.client.hitl.approve(request_id=(await self.pending()).request_id, reviewer=CFO)
        await self.dies()
        await self.client.drain()
        return await self.client.flows.get(run.run_id)

    async def dies(self) -> None:
        """Drive on into a body that ends its process."""
        with pytest.raises(BaseExceptionGroup) as died:
            await self.client.drain()
        assert died.group_contains(Killed)

    async def answer(self, run: Run, label: str, payload: object = None) -> Run:
        """Answer the doubt, and drive the run on."""
        await self.say(label, payload)
        await self.client.drain()
        return await self.client.flows.get(run.run_id)

    async def say(self, label: str, payload: object = None) -> None:
        """Answer the doubt."""
        request = await self.pending()
        await self.client.hitl.respond(
            request_id=request.request_id, outcome=label, payload=payload, reviewer=CFO
        )


async def test_the_original_authority_holds(client: TestingClient) -> None:
    """Who could not approve the call cannot say what became of it."""
    payment = Payment(client)
    await payment.in_doubt()
    request = await payment.pending()

    with pytest.raises(NotAllowedError):
        await client.hitl.respond(
            request_id=request.request_id, outcome="happened", reviewer="eve@acme.example"
        )


@pytest.mark.parametrize(("result", "output"), [("paid by hand", "paid by hand"), (None, None)])
async def test_it_happened_and_perhaps_with_this_result(
    client: TestingClient, result: str | None, output: str | None
) -> None:
    """The payload of the answer is what the call returns; nothing runs."""
    payment = Payment(client)
    run = await payment.answer(await payment.in_doubt(), "happened", result)

    assert (run.status, run.output, payment.ran) == ("completed", output, [5])


async def test_a_result_may_look_like_the_arguments(client: TestingClient) -> None:
    """It is what the call returns all the same, and not left out as if nothing was changed."""
    kills = [Killed()]

    @require_approval(assignees=[CFO])
    async def book(amount: int) -> dict[str, int] | None:
        raise kills.pop()

    class Books(Flow):
        @start()
        async def step(self) -> dict[str, int] | None:
            return await book(5)

    payment = Payment(client)
    payment.flow = Books
    run = await payment.answer(await payment.in_doubt(), "happened", {"amount": 5})

    assert (run.output, kills) == ({"amount": 5}, [])


async def test_a_result_that_does_not_fit_is_asked_about_again(client: TestingClient) -> None:
    """The run stays blocked, with a new question that says what is wrong."""
    payment = Payment(client)
    run = await payment.in_doubt()
    first = await payment.pending()
    run = await payment.answer(run, "happened", 3)

    second = await payment.pending()
    assert (run.blocked_reason, second.request_id != first.request_id) == ("in_doubt", True)
    assert "not with a fitting result" in second.message
    assert "found int" in second.message
    assert second.options == first.options
    run = await payment.answer(run, "happened", "paid")
    assert run.output == "paid"


async def test_run_again_is_leave_for_one_more_start(client: TestingClient) -> None:
    """The body runs at once, without another question."""
    payment = Payment(client)
    run = await payment.answer(await payment.in_doubt(), "run_again")

    assert (run.output, payment.ran) == ("paid 5", [5, 5])


async def test_run_again_holds_although_the_first_permission_has_lapsed(
    client: TestingClient,
) -> None:
    """The human has said so just now; but that permission lapses in its turn."""
    payment = Payment(client, valid_for=timedelta(hours=1))
    run = await payment.in_doubt()
    client.clock.advance(timedelta(hours=3))
    assert (await payment.answer(run, "run_again")).output == "paid 5"

    late = Payment(client, valid_for=timedelta(hours=1))
    run = await late.in_doubt()
    await late.say("run_again")
    client.clock.advance(timedelta(hours=1))
    await client.drain()
    run = await client.flows.get(run.run_id)

    assert (run.status, late.ran) == ("failed", [5])
    assert run.failure is not None
    assert run.failure.type_name == f"{ApprovalExpired.__module__}:ApprovalExpired"


async def test_after_three_attempts_it_cannot_be_run_again(client: TestingClient) -> None:
    """Each attempt has a question of its own; the last one leaves two answers."""
    payment = Payment(client)
    payment.kills = 3
    run = await payment.in_doubt()
    asked = [await payment.pending()]
    for _ in range(2):
        await payment.say("run_again")
        await payment.dies()
        await client.drain()
        asked.append(await payment.pending())

    assert [len(request.options) for request in asked] == [3, 3, 2]
    assert [one.identity.attempt for one in asked if one.identity] == [1, 2, 3]
    run = await payment.answer(run, "abandon")
    assert (run.status, payment.ran) == ("failed", [5, 5, 5])


@pytest.mark.parametrize("how", ["abandon", "cancel"])
async def test_an_abandoned_call_raises(client: TestingClient, how: str) -> None:
    """By its label, or because the question was taken back."""
    payment = Payment(client)
    run = await payment.in_doubt()
    request = await payment.pending()
    if how == "abandon":
        await payment.say("abandon")
    else:
        await client.hitl.cancel(request_id=request.request_id)
    await client.drain()
    run = await client.flows.get(run.run_id)

    assert (run.status, payment.ran) == ("failed", [5])
    assert run.failure is not None
    assert run.failure.type_name == f"{ApprovalCancelled.__module__}:ApprovalCancelled"
    assert run.failure.message == (
        f"{request.request_id}: cancelled (abandoned when its end was in doubt)"
    )


async def test_a_retry_asks_nothing_new_while_the_doubt_waits(client: TestingClient) -> None:
    """The same question still stands."""
    payment = Payment(client)
    run = await payment.in_doubt()
    request = await payment.pending()
    await client.flows.retry(run.run_id)
    await client.drain()
    run = await client.flows.get(run.run_id)

    assert (run.status, run.blocked_reason) == ("blocked", "in_doubt")
    assert (await payment.pending()).request_id == request.request_id
    assert payment.ran == [5]


async def test_cancelling_the_run_takes_the_question_back(client: TestingClient) -> None:
    """Nobody needs to find out any more."""
    payment = Payment(client)
    run = await payment.in_doubt()
    request = await payment.pending()
    run = await client.flows.cancel(run.run_id)

    assert run.status == "cancelled"
    assert (await client.hitl.get_request(request.request_id)).status == "cancelled"


async def test_a_retry_asks_about_the_call_itself_once_the_doubt_was_abandoned(
    client: TestingClient,
) -> None:
    """A human may still want it done, by a new approval."""
    payment = Payment(client)
    run = await payment.answer(await payment.in_doubt(), "abandon")
    await client.flows.retry(run.run_id)
    await client.drain()
    request = await payment.pending()

    assert (request.kind, request.payload) == ("call", {"amount": 5})
    await client.hitl.approve(request_id=request.request_id, reviewer=CFO)
    await client.drain()
    assert (await client.flows.get(run.run_id)).output == "paid 5"
