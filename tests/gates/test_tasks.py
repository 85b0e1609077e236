"""Gated calls in the step's own tasks: suspensions and cancellations cut off no body."""

from __future__ import annotations

import asyncio  # noqa: TID251 - what users of asyncio do is what is tested
import logging
from collections.abc import Awaitable, Callable, Coroutine

import anyio
import anyio.lowlevel
import pytest

from signoff import Flow, human_feedback, once, require_approval, start
from signoff.context import Suspend
from signoff.errors import ConfigurationError
from signoff.model.request import Request
from signoff.model.run import Run
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


async def approve(client: TestingClient, run: Run, question: str) -> Run:
    """Approve what asks this, and drive the run on."""
    (request,) = [one for one in await pending(client) if one.message == question]
    await client.hitl.approve(request_id=request.request_id, reviewer=CFO)
    await client.drain()
    return await client.flows.get(run.run_id)


Calls = Callable[[], Coroutine[object, object, object]]


async def in_anyio(*calls: Calls) -> None:
    """Run calls in a task group of anyio's."""
    async with anyio.create_task_group() as group:
        for call in calls:
            group.start_soon(call)


async def in_asyncio(*calls: Calls) -> None:
    """Run calls in a task group of asyncio's."""
    async with asyncio.TaskGroup() as group:
        for call in calls:
            group.create_task(call())


async def in_gather(*calls: Calls) -> None:
    """Gather calls, their exceptions taken for results."""
    await asyncio.gather(*[call() for call in calls], return_exceptions=True)


@pytest.mark.parametrize("way", [in_anyio, in_asyncio, in_gather])
async def test_a_body_is_not_cut_off_by_the_suspension_of_its_sibling(
    client: TestingClient, anyio_backend_name: str, way: Callable[..., Awaitable[None]]
) -> None:
    """An approved body that still runs when another gate has suspended the step ends, once."""
    way = in_anyio if anyio_backend_name == "trio" else way
    body: list[str] = []
    go_on = anyio.Event()

    @require_approval(action="pay")
    async def pay() -> None:
        body.append("begun")
        await go_on.wait()
        body.append("ended")

    @require_approval(action="report")
    async def report() -> None: ...

    class Both(Flow):
        @start()
        async def step(self) -> str:
            async def second() -> None:
                try:
                    await report()
                finally:
                    if way is in_gather:  # which waits for all
                        go_on.set()

            try:
                await way(pay, second)
            finally:
                # Behind the group, whose tasks were all cancelled: only the body is left.
                go_on.set()
            return "both"

    run = await started(client, Both)
    assert [one.message for one in await pending(client)] == ["pay", "report"]
    go_on = anyio.Event()
    run = await approve(client, run, "pay")
    assert (body, run.status) == (["begun", "ended"], "suspended")
    run = await approve(client, run, "report")

    assert (body, run.status, run.output) == (["begun", "ended"], "completed", "both")


async def test_a_cancelled_caller_does_not_cut_off_its_body(client: TestingClient) -> None:
    """A step that cancels its own gated call gets past it; the body ends and is recorded."""
    body: list[str] = []

    @require_approval(action="pay")
    async def pay(begun: str) -> str:
        body.append(begun)
        await anyio.lowlevel.checkpoint()
        body.append("ended")
        return "paid"

    @require_approval(action="last")
    async def last() -> None: ...

    class Impatient(Flow):
        @start()
        async def step(self) -> str | None:
            paid: str | None = None
            async with anyio.create_task_group() as group:

                async def impatient() -> None:
                    nonlocal paid
                    paid = await pay("begun")

                group.start_soon(impatient)
                while body == [] and self.is_asked:
                    await anyio.lowlevel.checkpoint()
                if "ended" not in body:
                    group.cancel_scope.cancel()
            await last()
            return paid

        is_asked = False

    run = await started(client, Impatient)
    Impatient.is_asked = True
    run = await approve(client, run, "pay")
    assert (body, run.status) == (["begun", "ended"], "suspended")
    run = await approve(client, run, "last")

    assert (body, run.output) == (["begun", "ended"], "paid")


async def impatiently(call: Callable[[], Awaitable[object]]) -> None:
    """Make a call, and cancel it at once."""

    async def cancel(scope: anyio.CancelScope) -> None:
        scope.cancel()

    async with anyio.create_task_group() as group:
        group.start_soon(cancel, group.cancel_scope)
        await call()


async def test_what_a_step_did_not_wait_for_is_withdrawn_when_it_ends(
    client: TestingClient,
) -> None:
    """Nobody is left with a question whose answer nothing would come of."""

    @require_approval(action="pay", assignees=[CFO])
    async def pay() -> None: ...

    class Inner(Flow):
        @start()
        async def step(self) -> None:
            await pay()

    class Impatient(Flow):
        @start()
        async def step(self) -> str:
            await impatiently(pay)
            await impatiently(Inner().kickoff_async)
            return "went on"

    run = await started(client, Impatient)
    requests = await client.hitl.list_requests()
    reasons = [one.resolution.reason for one in requests if one.resolution]

    assert (run.status, run.output) == ("completed", "went on")
    assert reasons == ["withdrawn", "run cancelled"]
    assert {one.status for one in await client.flows.list(flow=Inner)} == {"cancelled"}


async def test_what_a_step_did_not_wait_for_is_withdrawn_when_it_asks(
    client: TestingClient,
) -> None:
    """A step under a gate has ended once somebody is asked about what it returned."""

    @require_approval(action="pay")
    async def pay() -> None: ...

    class Impatient(Flow):
        @start()
        @human_feedback("ok?", emit=["yes", "no"])
        async def step(self) -> str:
            await impatiently(pay)
            return "went on"

    run = await started(client, Impatient)
    assert [one.message for one in await pending(client)] == ["ok?"]
    await client.hitl.respond(
        request_id=(await pending(client))[0].request_id, outcome="yes", reviewer=CFO
    )
    await client.drain()

    assert (await client.flows.get(run.run_id)).output == "went on"


def swallowing_everything(call: Callable[[], object]) -> str:
    """Call, and go on whatever it raises."""
    try:
        call()
    except BaseException:  # noqa: BLE001 - the very slip that is tested
        return "swallowed"
    return "returned"


async def test_a_swallowed_signal_is_raised_again_and_reported(
    client: TestingClient, caplog: pytest.LogCaptureFixture
) -> None:
    """The step is suspended all the same, asks nothing more, and the log says where."""
    seen: list[str] = []

    @require_approval(action="pay")
    def pay() -> str:
        return "paid"

    @require_approval(action="report")
    def report() -> str:
        return "reported"

    class Careless(Flow):
        @start()
        def step(self) -> str:
            seen.append(swallowing_everything(pay))
            seen.append(swallowing_everything(report))
            return "all done"

    with caplog.at_level(logging.WARNING, "signoff.flows"):
        run = await started(client, Careless)
    assert (run.status, seen) == ("suspended", ["swallowed", "swallowed"])
    assert [one.message for one in await pending(client)] == ["pay"]
    assert f"step step of {run.run_id} swallowed the suspend signal" in caplog.text
    assert f"{__file__}:" in caplog.text
    run = await approve(client, run, "pay")
    assert seen[2:] == ["returned", "swallowed"]
    run = await approve(client, run, "report")

    assert (seen[4:], run.output) == (["returned", "returned"], "all done")


async def test_a_swallowed_signal_is_raised_again_by_once_and_by_async_gates(
    client: TestingClient,
) -> None:
    """`finally: return` and `except BaseException` around an await change nothing."""
    kinds: list[type[BaseException]] = []

    @require_approval(action="pay")
    async def pay() -> None: ...

    class Careless(Flow):
        @start()
        async def step(self) -> str:
            for call in (pay, pay, lambda: once("a", lambda: 1)):
                try:
                    await call()
                except BaseException as raised:  # noqa: BLE001 - the very slip that is tested
                    kinds.append(type(raised))
            return "end"

    run = await started(client, Careless)

    assert kinds == [Suspend, Suspend, Suspend]
    assert (run.status, len(await pending(client))) == ("suspended", 1)


async def test_a_gated_call_inside_an_approved_body_is_refused(client: TestingClient) -> None:
    """The body runs once and cannot wait, so the slip is an error of the body, sync or async."""

    @require_approval(action="inner")
    def inner() -> None: ...

    @require_approval(action="inner")
    async def ainner() -> None: ...

    @require_approval(action="outer")
    def outer() -> None:
        inner()

    @require_approval(action="outer")
    async def aouter() -> None:
        await ainner()

    caught: list[str] = []

    class Nested(Flow):
        @start()
        async def step(self) -> None:
            try:
                await aouter()
            except ConfigurationError as error:
                caught.append(str(error))

    class NestedInThread(Flow):
        @start()
        def step(self) -> None:
            try:
                outer()
            except ConfigurationError as error:
                caught.append(str(error))

    for flow in (Nested, NestedInThread):
        run = await approve(client, await started(client, flow), "outer")
        assert run.status == "completed"

    assert len(caught) == 2
    assert {text.partition(":")[0] for text in caught} == {"a gated call inside an approved body"}


async def test_a_task_that_outlives_its_step_is_refused(
    client: TestingClient, anyio_backend_name: str
) -> None:
    """A call of a step that has ended would be asked and executed apart from it."""
    outcomes: list[str] = []
    go_on = anyio.Event()

    @require_approval(action="pay")
    async def pay() -> None: ...

    async def stray() -> None:
        await go_on.wait()
        try:
            await pay()
        except ConfigurationError as error:
            outcomes.append(str(error))

    async with anyio.create_task_group() as group:

        class Leaves(Flow):
            @start()
            async def step(self) -> str:
                group.start_soon(stray)
                return "left"

        run = await started(client, Leaves)
        go_on.set()

    assert run.output == "left"
    assert outcomes[0].startswith("step 'step' has ended, and a task or thread that it left behind")
    assert not await client.hitl.list_requests()


async def test_a_body_that_waits_for_a_cancelled_task_is_in_doubt(
    client: TestingClient, anyio_backend_name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Such an end says nothing about the effect, so the step does not go on as if it had one."""
    if anyio_backend_name == "trio":
        return  # where a task cannot be cancelled from its side
    after: list[str] = []

    @require_approval(action="pay")
    async def pay() -> None:
        task = asyncio.create_task(asyncio.Event().wait())
        task.cancel()
        await task

    class Pays(Flow):
        @start()
        async def step(self) -> None:
            await pay()
            after.append("went on")

    run = await approve(client, await started(client, Pays), "pay")

    assert "its end is in doubt" in caplog.text
    assert (run.status, run.blocked_reason, after) == ("blocked", "in_doubt", [])
    (request,) = await pending(client)
    assert request.kind == "in_doubt"
