"""Gated calls from threads: with the step's context they belong to it, without they are refused."""

from __future__ import annotations

import asyncio  # noqa: TID251 - what users of asyncio do is what is tested
import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import anyio
import pytest
from anyio import from_thread

from signoff import Flow, once, outside_flow, require_approval, start, to_thread
from signoff.context import (
    Scope,
    current_scope,
    declared_outside,
    set_default_host,
    steps_run_elsewhere,
)
from signoff.errors import ConfigurationError
from signoff.model.gate import GateCall
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
    """Return what waits."""
    return list(await client.hitl.list_requests(status="pending"))


async def approve(client: TestingClient, run: Run) -> Run:
    """Approve all that waits, and drive the run on."""
    for request in await pending(client):
        await client.hitl.approve(request_id=request.request_id, reviewer=CFO)
    await client.drain()
    return await client.flows.get(run.run_id)


class Pay:
    """A gated function that keeps in which thread its body ran."""

    def __init__(self) -> None:
        """Make the gate."""
        self.threads: list[int] = []
        threads = self.threads

        @require_approval
        def pay(amount: int) -> int:
            threads.append(threading.get_ident())
            return amount

        @require_approval
        async def apay(amount: int) -> int:
            threads.append(threading.get_ident())
            return amount

        self.pay = pay
        self.apay = apay


def in_pool(call: Callable[[], int]) -> int:
    """Call in a plain pool, which copies no context."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(call).result()


def in_pool_with_context(call: Callable[[], int]) -> int:
    """Call in a plain pool, with a copy of the context."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(contextvars.copy_context().run, call).result()


async def test_a_sync_body_runs_in_the_thread_of_its_step(client: TestingClient) -> None:
    """What a step has in its thread is there for the body as well."""
    gate, threads = Pay(), list[int]()

    class Pays(Flow):
        @start()
        def step(self) -> int:
            threads.append(threading.get_ident())
            return gate.pay(5)

    run = await approve(client, await started(client, Pays))

    assert run.output == 5
    assert gate.threads == threads[1:]


@pytest.mark.parametrize("is_async", [False, True])
async def test_a_plain_pool_without_context_is_refused_with_the_remedy(
    client: TestingClient, is_async: bool
) -> None:
    """Neither a sync call nor an async one in a loop of its own slips out of its step."""
    gate = Pay()
    call = partial(asyncio.run, gate.apay(5)) if is_async else partial(gate.pay, 5)

    class Pays(Flow):
        @start()
        def step(self) -> int:
            return in_pool(call)

    run = await started(client, Pays)

    assert run.failure is not None
    assert run.failure.type_name.endswith(":ConfigurationError")
    assert "was called in a thread that knows no step, while steps are running" in (
        run.failure.message
    )
    assert "contextvars.copy_context().run" in run.failure.message
    assert "signoff.to_thread" in run.failure.message
    assert "signoff.outside_flow()" in run.failure.message
    assert not await client.hitl.list_requests()


async def test_a_pool_with_the_steps_context_belongs_to_the_step(client: TestingClient) -> None:
    """The suspension comes out of the pool's future and unwinds the step."""
    gate = Pay()

    class Pays(Flow):
        @start()
        def step(self) -> int:
            return in_pool_with_context(lambda: gate.pay(5))

    run = await started(client, Pays)
    assert run.status == "suspended"
    run = await approve(client, run)

    assert (run.output, len(gate.threads)) == (5, 1)


async def test_to_thread_takes_a_sync_gate_off_the_loop(client: TestingClient) -> None:
    """An async step calls a sync gate in a worker thread, arguments and all."""
    gate = Pay()

    def pay(amount: int, *, double: bool) -> int:
        return gate.pay(amount * 2 if double else amount)

    class Pays(Flow):
        @start()
        async def step(self) -> int:
            return await to_thread(pay, 5, double=True)

    run = await approve(client, await started(client, Pays))

    assert run.output == 10
    assert gate.threads != [threading.get_ident()]


async def test_a_sync_gate_on_the_event_loop_is_refused(client: TestingClient) -> None:
    """It would block the loop that everything else needs."""
    gate = Pay()

    class Pays(Flow):
        @start()
        async def step(self) -> int:
            return gate.pay(5)

    run = await started(client, Pays)

    assert run.failure is not None
    assert "is not async, and blocks the event loop when an async step calls it" in (
        run.failure.message
    )


@pytest.mark.parametrize("what", ["gate", "once"])
async def test_a_call_from_another_event_loop_is_refused(client: TestingClient, what: str) -> None:
    """A sync step that runs a loop of its own is told to be async instead."""
    gate = Pay()

    async def inner() -> int:
        return await (gate.apay(5) if what == "gate" else once("a", lambda: 5))

    class Pays(Flow):
        @start()
        def step(self) -> int:
            return asyncio.run(inner())

    run = await started(client, Pays)

    assert run.failure is not None
    assert "was awaited in another event loop than that of its step" in run.failure.message


async def test_a_cancelled_to_thread_does_not_cut_off_its_body(
    client: TestingClient, anyio_backend_name: str
) -> None:
    """The executor waits for a body that goes on in a thread nobody waits for any more."""
    native = anyio_backend_name == "asyncio"
    body: list[str] = []
    begun, go_on = anyio.Event(), threading.Event()
    is_replay = False

    @require_approval
    def pay() -> str:
        from_thread.run_sync(begun.set)
        assert go_on.wait(10)
        body.append("ended")
        return "paid"

    @require_approval
    async def report() -> None: ...

    async def report_meanwhile() -> None:
        await begun.wait()
        try:
            await report()
        finally:
            if not native:  # where the group waits for the thread
                go_on.set()

    class Both(Flow):
        @start()
        async def step(self) -> str:
            if not is_replay:
                return await to_thread(pay)
            try:
                if native:
                    async with asyncio.TaskGroup() as tasks:
                        tasks.create_task(to_thread(pay))
                        tasks.create_task(report_meanwhile())
                else:
                    async with anyio.create_task_group() as group:
                        group.start_soon(to_thread, pay)
                        group.start_soon(report_meanwhile)
            finally:
                # Behind asyncio's group, which has left the thread alone.
                go_on.set()
            return "both"

    run = await started(client, Both)
    is_replay = True
    run = await approve(client, run)
    assert (body, run.status) == (["ended"], "suspended")
    run = await approve(client, run)

    assert (body, run.status, run.output) == (["ended"], "completed", "both")


async def test_a_thread_that_outlives_its_step_is_refused(client: TestingClient) -> None:
    """It has the context of a step that has ended."""
    gate, outcomes = Pay(), list[str]()
    go_on = threading.Event()
    threads: list[threading.Thread] = []

    def stray() -> None:
        assert go_on.wait(10)
        try:
            gate.pay(5)
        except ConfigurationError as error:
            outcomes.append(str(error))

    class Leaves(Flow):
        @start()
        def step(self) -> str:
            context = contextvars.copy_context()
            threads.append(threading.Thread(target=context.run, args=(stray,)))
            threads[0].start()
            return "left"

    run = await started(client, Leaves)
    go_on.set()
    await anyio.to_thread.run_sync(threads[0].join)

    assert run.output == "left"
    assert outcomes[0].startswith("step 'step' has ended, and a task or thread that it left behind")
    assert not await client.hitl.list_requests()


class Elsewhere:
    """A host that says what it was asked, for calls that belong to no step."""

    async def call_gate(self, call: GateCall, *, key: str | None) -> object:
        """Return the arguments."""
        return "outside", dict(call.arguments)

    def call_gate_blocking(self, call: GateCall, *, key: str | None) -> object:
        """Return the arguments."""
        return "outside", dict(call.arguments)

    async def kickoff(self, flow: object, inputs: object) -> object:
        """Refuse: nobody calls it here."""
        raise NotImplementedError

    def kickoff_blocking(self, flow: object, inputs: object) -> object:
        """Refuse: nobody calls it here."""
        raise NotImplementedError


async def test_a_thread_may_say_that_it_belongs_to_no_flow(client: TestingClient) -> None:
    """`outside_flow` calls the default client, in a thread of one's own and in a step alike."""
    gate, seen = Pay(), list[object]()

    def handler() -> int:
        with outside_flow():
            assert declared_outside()
            return gate.pay(5)

    class Serves(Flow):
        @start()
        async def step(self) -> str:
            seen.append(await anyio.to_thread.run_sync(in_pool, handler))
            with outside_flow():
                seen.append(await gate.apay(6))
            assert current_scope.get() is not None
            assert not declared_outside()
            return "served"

    set_default_host(Elsewhere())
    try:
        run = await started(client, Serves)
    finally:
        set_default_host(None)

    assert run.output == "served"
    assert seen == [("outside", {"amount": 5}), ("outside", {"amount": 6})]


async def test_only_other_threads_than_a_steps_own_count_as_lost(client: TestingClient) -> None:
    """A task without context on the loop of the steps is no lost thread."""
    seen: list[tuple[Scope | None, bool]] = []

    def look() -> None:
        seen.append((current_scope.get(), steps_run_elsewhere()))

    class Looks(Flow):
        @start()
        def step(self) -> None:
            contextvars.Context().run(from_thread.run_sync, look)
            contextvars.Context().run(look)

    await started(client, Looks)

    assert [elsewhere for _, elsewhere in seen] == [False, True]
    assert not steps_run_elsewhere()
