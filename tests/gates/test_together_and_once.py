"""`together` opens several requests in one commit; `once` remembers what was not gated."""

from __future__ import annotations

from functools import partial

import anyio

from signoff import ApprovalRejected, Flow, once, require_approval, start, testing, together
from signoff.errors import CodecError, ConfigurationError, StoreUnavailableError
from signoff.model.audit import AuditEntry
from signoff.model.changes import Changes
from signoff.model.request import Request
from signoff.model.run import Run
from signoff.stores import MemoryStore
from signoff.testing import TestingClient

CFO = "cfo@acme.example"


async def started(client: TestingClient, flow: type[Flow[object]]) -> Run:
    """Start a run and drive it as far as it goes."""
    run = await client.flows.start(flow)
    await client.drain()
    return await client.flows.get(run.run_id)


async def pending(client: TestingClient) -> list[Request]:
    """Return what waits, by its question."""
    found = await client.hitl.list_requests(status="pending")
    return sorted(found, key=lambda request: request.message)


async def answer(client: TestingClient, run: Run, *verbs: str) -> Run:
    """Answer what waits, in the order of the questions, and drive the run on."""
    for verb, request in zip(verbs, await pending(client), strict=True):
        say = client.hitl.approve if verb == "approve" else client.hitl.reject
        await say(request_id=request.request_id, reviewer=CFO)
    await client.drain()
    return await client.flows.get(run.run_id)


class Watching(MemoryStore):
    """A store that keeps which events each commit wrote."""

    def __init__(self) -> None:
        """Begin with none."""
        super().__init__()
        self.commits: list[list[AuditEntry]] = []

    async def commit(self, changes: Changes) -> None:
        """Write, and keep the audit entries."""
        await super().commit(changes)
        self.commits.append(list(changes.audit))


class Forgetful(MemoryStore):
    """A store that cannot take what `once` is to remember."""

    async def commit(self, changes: Changes) -> None:
        """Write anything else."""
        calls = [call for one in changes.occurrences for call in one.record.calls]
        if any(call.kind == "once" for call in calls):
            raise StoreUnavailableError("the disk is full")
        await super().commit(changes)


async def test_several_calls_are_asked_in_one_commit_and_run_in_order() -> None:
    """One commit opens all, the step suspends once, and what they return comes in order."""
    attempts: list[int] = []
    done: list[str] = []
    store = Watching()

    @require_approval(action="a {amount}")
    async def pay(amount: int) -> str:
        done.append(f"pay {amount}")
        return f"paid {amount}"

    @require_approval(action="b {amount}")
    def refund(amount: int) -> str:
        done.append(f"refund {amount}")
        return f"refunded {amount}"

    class Both(Flow):
        @start()
        async def step(self) -> tuple[object, ...]:
            attempts.append(1)
            return await together(partial(refund, 1), partial(pay, amount=2), partial(pay, 3))

    async with testing.client(store=store) as client:
        run = await started(client, Both)
        opened = [
            len(entries)
            for entries in store.commits
            if any(b"request.opened" in entry.body for entry in entries)
        ]
        assert (opened, len(await pending(client)), attempts) == ([3], 3, [1])
        (first, *_) = await pending(client)
        await client.hitl.approve(request_id=first.request_id, reviewer=CFO)
        await client.drain()
        assert not done
        run = await answer(client, run, "approve", "approve")

    assert done == ["refund 1", "pay 2", "pay 3"]
    assert run.output == ("refunded 1", "paid 2", "paid 3")


async def test_a_refusal_is_raised_after_the_approved_bodies_ran(client: TestingClient) -> None:
    """Neither the order of the answers nor a failing body keeps an approved one from running."""
    done: list[int] = []

    @require_approval(action="{amount}")
    async def pay(amount: int) -> int:
        done.append(amount)
        if amount == 2:
            raise ValueError("no cover")
        return amount

    class Three(Flow):
        @start()
        async def step(self) -> None:
            await together(partial(pay, 1), partial(pay, 2), partial(pay, 3))

    run = await answer(client, await started(client, Three), "reject", "approve", "approve")

    assert done == [2, 3]
    assert run.failure is not None
    assert run.failure.type_name == f"{ApprovalRejected.__module__}:ApprovalRejected"


async def test_a_refusal_may_be_one_of_the_values(client: TestingClient) -> None:
    """Each call keeps its own `on_reject`."""

    @require_approval(action="{amount}", on_reject="return")
    async def pay(amount: int) -> int:
        return amount

    class Two(Flow):
        @start()
        async def step(self) -> list[str]:
            return [type(one).__name__ for one in await together(partial(pay, 1), partial(pay, 2))]

    run = await answer(client, await started(client, Two), "reject", "approve")

    assert run.output == ["ApprovalRejected", "int"]


async def test_nothing_is_asked_when_one_of_the_calls_cannot_be(client: TestingClient) -> None:
    """What cannot be stored stops all of them, before anybody is asked."""

    @require_approval
    async def pay(amount: object) -> None: ...

    class Two(Flow):
        @start()
        async def step(self) -> None:
            await together(partial(pay, 1), partial(pay, object()))

    run = await started(client, Two)

    assert run.failure is not None
    assert run.failure.type_name == f"{CodecError.__module__}:CodecError"
    assert not await client.hitl.list_requests()


async def test_together_takes_partials_of_gated_functions_only(client: TestingClient) -> None:
    """Bound methods are such; a lambda or a bare function would hide what is asked."""
    caught: list[str] = []

    class Desk:
        @require_approval
        async def pay(self, amount: int) -> int:
            return amount

    class Odd(Flow):
        @start()
        async def step(self) -> tuple[object, ...]:
            for odd in (lambda: 1, partial(print, 1)):
                try:
                    await together(odd)
                except ConfigurationError as error:
                    caught.append(str(error))
            assert await together() == ()
            return await together(partial(Desk().pay, 4))

    run = await answer(client, await started(client, Odd), "approve")

    assert caught[0].startswith("together() takes functools.partial(gated, ...), not <function")
    assert caught[1].endswith("is not under @require_approval, so it asks nobody")
    assert run.output == (4,)


async def test_once_is_not_repeated_in_a_replay(client: TestingClient) -> None:
    """Neither a sync nor an async function; what it returned comes back with its types."""
    calls: list[object] = []

    def draw(low: int, *, high: int) -> tuple[int, int]:
        calls.append((low, high))
        return low, high

    async def fetch() -> list[str]:
        calls.append("fetch")
        return ["a"]

    @require_approval
    async def gate() -> None: ...

    class Draws(Flow):
        @start()
        async def step(self) -> object:
            drawn = await once("draw", draw, 1, high=6)
            fetched = await once("fetch", fetch)
            fetched.append("b")
            await gate()
            return drawn, fetched

    run = await answer(client, await started(client, Draws), "approve")

    assert calls == [(1, 6), "fetch"]
    assert run.output == ((1, 6), ["a", "b"])


async def test_a_name_is_used_once_but_for_another_try(client: TestingClient) -> None:
    """Twice the same name is refused; a failed or unstorable one was not remembered."""
    caught: list[str] = []
    results = iter((ValueError("busy"), object(), 3))

    def flaky() -> object:
        result = next(results)
        if isinstance(result, Exception):
            raise result
        return result

    class Tries(Flow):
        @start()
        async def step(self) -> object:
            found: list[object] = []
            for _ in range(4):
                try:
                    found.append(await once("flaky", flaky))
                except (ValueError, CodecError, ConfigurationError) as error:
                    caught.append(str(error))
            return found

    run = await started(client, Tries)

    assert run.output == [3]
    assert caught[0] == "busy"
    assert caught[1].startswith("once('flaky'): is an object, which cannot be stored")
    assert caught[2] == "once('flaky') is used twice in one step; give each a name"


async def test_what_was_remembered_need_not_be_met_again(client: TestingClient) -> None:
    """A replay that takes another way past `once` is no drift."""
    ways = iter((True, False))

    @require_approval
    async def gate() -> None: ...

    class Turns(Flow):
        @start()
        async def step(self) -> str:
            if next(ways):
                await once("first", lambda: 1)
            await gate()
            return "end"

    run = await answer(client, await started(client, Turns), "approve")

    assert run.output == "end"


async def test_once_in_an_approved_body_is_not_suspended_with_its_step(
    client: TestingClient,
) -> None:
    """The body ends, once, although another gate of its step has suspended that meanwhile."""
    done: list[object] = []
    go_on = anyio.Event()

    @require_approval(action="pay")
    async def pay() -> str:
        await go_on.wait()
        done.append(await once("number", lambda: 17))
        return "paid"

    @require_approval(action="report")
    async def report() -> str:
        return "reported"

    class Both(Flow):
        @start()
        async def step(self) -> list[str]:
            found: list[str] = []

            async def first() -> None:
                found.append(await pay())

            async def second() -> None:
                try:
                    found.append(await report())
                finally:
                    go_on.set()

            async with anyio.create_task_group() as group:
                group.start_soon(first)
                group.start_soon(second)
            return sorted(found)

    run = await started(client, Both)
    go_on = anyio.Event()
    paying, _ = await pending(client)
    await client.hitl.approve(request_id=paying.request_id, reviewer=CFO)
    await client.drain()
    assert (done, (await client.flows.get(run.run_id)).status) == ([17], "suspended")
    run = await answer(client, run, "approve")

    assert (done, run.output) == ([17], ["paid", "reported"])


async def test_what_once_cannot_store_in_a_body_is_an_error_in_it() -> None:
    """The body sees it and may go on; nothing else of the process is touched."""
    caught: list[str] = []
    store = Forgetful()

    @require_approval
    async def pay() -> str:
        try:
            await once("number", lambda: 17)
        except StoreUnavailableError as error:
            caught.append(str(error))
        return "paid"

    class Pays(Flow):
        @start()
        async def step(self) -> str:
            return await pay()

    async with testing.client(store=store) as client:
        run = await answer(client, await started(client, Pays), "approve")

    assert (caught, run.output) == (["the disk is full"], "paid")
