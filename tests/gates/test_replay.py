"""What a replay of a step meets: each call again, nothing twice."""

from __future__ import annotations

from dataclasses import dataclass

from signoff import ApprovalRejected, Flow, and_, listen, require_approval, start
from signoff.errors import RunFailed
from signoff.model.request import Request
from signoff.model.run import Run
from signoff.testing import TestingClient

CFO = "cfo@acme.example"


class DeclinedError(Exception):
    """What a body of ours raises."""


@dataclass
class Till:
    """What bodies do, and whether the next one fails."""

    paid: list[int]
    broken: bool = False

    def take(self, amount: int) -> int:
        """Take an amount, unless it is broken."""
        self.paid.append(amount)
        if self.broken:
            raise DeclinedError("no cover", amount)
        return amount


async def started(client: TestingClient, flow: type[Flow[object]]) -> Run:
    """Start a run and drive it as far as it goes."""
    run = await client.flows.start(flow)
    await client.drain()
    return await client.flows.get(run.run_id)


async def pending(client: TestingClient) -> list[Request]:
    """Return what waits, oldest first."""
    return list(await client.hitl.list_requests(status="pending"))


async def approve(client: TestingClient, run: Run) -> Run:
    """Approve the oldest request that waits, and drive the run on."""
    request = (await pending(client))[0]
    await client.hitl.approve(request_id=request.request_id, reviewer=CFO)
    await client.drain()
    return await client.flows.get(run.run_id)


async def test_equal_calls_are_told_apart_by_their_number(client: TestingClient) -> None:
    """The same call three times in a loop asks three times, and each answer is used once."""
    till = Till([])

    @require_approval
    async def pay(amount: int) -> int:
        return till.take(amount)

    class Pays(Flow):
        @start()
        async def step(self) -> list[int]:
            return [await pay(amount) for amount in (5, 5, 7, 5)]

    run = await started(client, Pays)
    for paid in ([5], [5, 5], [5, 5, 7], [5, 5, 7, 5]):
        assert len(await pending(client)) == 1
        run = await approve(client, run)
        assert till.paid == paid

    identities = [one.identity for one in await client.hitl.list_requests()]
    numbers = sorted((one.nth, one.attempt) for one in identities if one)
    assert numbers == [(0, 1), (0, 1), (1, 1), (2, 1)]
    assert len({one.digest for one in identities if one}) == 2
    assert {one.occurrence_id for one in identities if one} == {f"{run.run_id}.1"}
    assert run.output == [5, 5, 7, 5]


async def test_two_gates_in_sequence_run_once_each(client: TestingClient) -> None:
    """Sync gates of a sync step: what was done is not done again when the next one is met."""
    done: list[str] = []

    @require_approval
    def first(text: str) -> str:
        done.append(text)
        return text.upper()

    @require_approval
    def second(text: str) -> str:
        done.append(text)
        return text + "!"

    class Both(Flow):
        @start()
        def step(self) -> str:
            return second(first("a"))

    run = await approve(client, await started(client, Both))
    assert (done, run.status) == (["a"], "suspended")
    run = await approve(client, run)

    assert (done, run.output) == (["a", "A"], "A!")


async def test_parallel_steps_ask_at_once_and_resume_one_by_one(client: TestingClient) -> None:
    """Two suspended steps do not disturb each other."""
    till = Till([])

    @require_approval
    async def pay(amount: int) -> int:
        return till.take(amount)

    class Pays(Flow):
        @start()
        async def left(self) -> int:
            return await pay(1)

        @start()
        async def right(self) -> int:
            return await pay(2)

        @listen(and_(left, right))
        def both(self) -> str:
            return "both"

    run = await started(client, Pays)
    assert len(await pending(client)) == 2
    run = await approve(client, run)
    assert (len(till.paid), run.status) == (1, "suspended")
    run = await approve(client, run)

    assert (sorted(till.paid), run.output) == ([1, 2], "both")


async def test_an_error_behind_a_done_call_does_not_repeat_it(client: TestingClient) -> None:
    """A retry runs the step again; the call that was done is met and not asked anew."""
    till, broken = Till([]), [True]

    @require_approval
    async def pay(amount: int) -> int:
        return till.take(amount)

    class Pays(Flow):
        @start()
        async def step(self) -> str:
            paid = await pay(5)
            if broken[0]:
                raise ValueError("later")
            return f"paid {paid}"

    run = await approve(client, await started(client, Pays))
    assert run.status == "failed"
    broken[0] = False
    await client.flows.retry(run.run_id)
    await client.drain()
    run = await client.flows.get(run.run_id)

    assert (till.paid, run.output) == ([5], "paid 5")
    assert len(await client.hitl.list_requests()) == 1


async def test_a_body_that_fails_is_recorded_and_raises_again_in_a_replay(
    client: TestingClient,
) -> None:
    """A replay gets an exception of the same type and arguments, and nothing runs."""
    till = Till([], broken=True)
    caught: list[tuple[object, ...]] = []

    @require_approval
    async def pay(amount: int) -> int:
        return till.take(amount)

    @require_approval
    async def report() -> str:
        return "reported"

    class Pays(Flow):
        @start()
        async def step(self) -> str:
            try:
                await pay(5)
            except DeclinedError as error:
                caught.append(error.args)
            return await report()

    run = await approve(client, await started(client, Pays))
    assert caught == [("no cover", 5)]
    run = await approve(client, run)

    assert caught == [("no cover", 5)] * 2
    assert (till.paid, run.output) == ([5], "reported")


async def test_a_body_that_fails_with_a_local_type_raises_what_says_so(
    client: TestingClient,
) -> None:
    """A type that is not at hand any more gives its name and text."""

    @require_approval
    async def pay() -> None:
        class GoneError(Exception):
            def __init__(self) -> None:
                super().__init__(object())

        raise GoneError

    @require_approval
    async def report() -> None: ...

    seen: list[str] = []

    class Pays(Flow):
        @start()
        async def step(self) -> None:
            try:
                await pay()
            except RunFailed as error:
                seen.append(error.type_name)
            except Exception as error:  # noqa: BLE001 - its type is local to the body
                seen.append(type(error).__name__)
            await report()

    run = await approve(client, await started(client, Pays))
    run = await approve(client, run)

    assert run.status == "completed"
    assert seen[0] == "GoneError"
    assert seen[1].endswith(".GoneError")


async def test_a_retry_asks_anew_about_a_call_whose_body_failed(client: TestingClient) -> None:
    """The next attempt has a request of its own, which says why, and may be refused."""
    till = Till([], broken=True)

    @require_approval(action="Pay {amount}")
    async def pay(amount: int) -> int:
        return till.take(amount)

    class Pays(Flow):
        @start()
        async def step(self) -> int:
            return await pay(5)

    run = await approve(client, await started(client, Pays))
    assert run.status == "failed"
    assert run.failure is not None
    assert run.failure.type_name.endswith(":DeclinedError")
    till.broken = False
    await client.flows.retry(run.run_id)
    await client.drain()

    (request,) = await pending(client)
    assert request.message == "Pay 5 (asked again after a failure)"
    assert request.identity is not None
    assert (request.identity.nth, request.identity.attempt) == (0, 2)
    run = await approve(client, run)
    assert (till.paid, run.output) == ([5, 5], 5)


async def test_a_retry_after_a_failed_body_takes_other_arguments_for_a_new_call(
    client: TestingClient,
) -> None:
    """There is no question left that the step would have to keep to."""
    till = Till([], broken=True)
    amounts = iter((5, 5, 6, 6))

    @require_approval
    async def pay(amount: int) -> int:
        return till.take(amount)

    class Pays(Flow):
        @start()
        async def step(self) -> int:
            return await pay(next(amounts))

    run = await approve(client, await started(client, Pays))
    till.broken = False
    await client.flows.retry(run.run_id)
    await client.drain()
    run = await approve(client, run)

    assert (till.paid, run.output) == ([5, 6], 6)


async def test_a_retry_does_not_ask_again_about_a_refusal(client: TestingClient) -> None:
    """A refusal stands: the retried step meets it again."""

    @require_approval
    async def pay(amount: int) -> int:
        return amount

    class Pays(Flow):
        @start()
        async def step(self) -> int:
            return await pay(5)

    run = await started(client, Pays)
    (request,) = await pending(client)
    await client.hitl.reject(request_id=request.request_id, reason="no", reviewer=CFO)
    await client.drain()
    await client.flows.retry(run.run_id)
    await client.drain()
    run = await client.flows.get(run.run_id)

    assert run.status == "failed"
    assert run.failure is not None
    assert run.failure.type_name == f"{ApprovalRejected.__module__}:ApprovalRejected"
    assert not await pending(client)
