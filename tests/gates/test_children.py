"""Child flows inside a step: begun once, met again in a replay."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import anyio
import pytest
from pydantic import BaseModel, field_validator

from signoff import Flow, require_approval, start, testing
from signoff.errors import (
    ChildRunFailed,
    ConfigurationError,
    RunCancelled,
    StoreUnavailableError,
)
from signoff.model.changes import Sealed
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
    """Return what waits."""
    return list(await client.hitl.list_requests(status="pending"))


async def answer(client: TestingClient, run: Run, verb: str = "approve") -> Run:
    """Answer the one request that waits, and drive on."""
    (request,) = await pending(client)
    say = client.hitl.approve if verb == "approve" else client.hitl.reject
    await say(request_id=request.request_id, reviewer=CFO)
    await client.drain()
    return await client.flows.get(run.run_id)


@require_approval(name="signoff tests: child pays", action="Pay {amount}")
def pay(amount: int) -> int:
    """Pay."""
    return amount


@require_approval(name="signoff tests: parent reports", action="Report")
def report() -> str:
    """Report."""
    return "reported"


class Child(Flow, name="signoff tests: child"):
    """A flow that asks, and returns what it paid."""

    @start()
    def step(self) -> int:
        """Ask."""
        return pay(cast("int", self.state["amount"]))


class SyncParent(Flow, name="signoff tests: sync parent"):
    """A flow whose sync step runs the child, and asks itself."""

    @start()
    def step(self) -> list[object]:
        """Run the child."""
        return [Child().kickoff({"amount": 5}), report()]


class AsyncParent(Flow, name="signoff tests: async parent"):
    """A flow whose async step runs the child twice."""

    @start()
    async def step(self) -> list[object]:
        """Run the child twice."""
        return [await Child().kickoff_async({"amount": 5}) for _ in range(2)]


async def test_a_child_suspends_its_parent_and_is_not_begun_twice(client: TestingClient) -> None:
    """Its end wakes the parent; a replay takes the journaled result."""
    run = await started(client, SyncParent)
    assert (run.status, [one.message for one in await pending(client)]) == ("suspended", ["Pay 5"])
    run = await answer(client, run)
    assert [one.message for one in await pending(client)] == ["Report"]
    run = await answer(client, run)

    assert run.output == [5, "reported"]
    assert len(await client.flows.list(flow=Child)) == 1


async def test_equal_children_are_told_apart_by_their_number(client: TestingClient) -> None:
    """The same child with the same inputs twice is two runs."""
    run = await started(client, AsyncParent)
    run = await answer(client, run)
    run = await answer(client, run)

    assert run.output == [5, 5]
    assert len(await client.flows.list(flow=Child)) == 2


async def test_a_failed_child_fails_the_parents_step(client: TestingClient) -> None:
    """With the child's error in words, in a replay as well."""
    run = await answer(client, await started(client, AsyncParent), "reject")

    assert run.status == "failed"
    assert run.failure is not None
    assert run.failure.type_name == f"{ChildRunFailed.__module__}:ChildRunFailed"
    assert "ApprovalRejected" in run.failure.message


async def test_a_cancelled_child_is_an_error_in_the_parents_step(client: TestingClient) -> None:
    """The step may catch it and go on."""
    caught: list[RunCancelled] = []

    class Parent(Flow):
        @start()
        async def step(self) -> str:
            try:
                await Child().kickoff_async({"amount": 5})
            except RunCancelled as error:
                caught.append(error)
            return "went on"

    run = await started(client, Parent)
    (child,) = await client.flows.list(flow=Child)
    await client.flows.cancel(child.run_id)
    await client.drain()

    assert (await client.flows.get(run.run_id)).output == "went on"
    assert [error.run_id for error in caught] == [child.run_id]


async def test_inputs_that_cannot_be_stored_are_an_error_at_the_call(
    client: TestingClient,
) -> None:
    """Nothing is begun."""

    class Parent(Flow):
        @start()
        async def step(self) -> object:
            return await Child().kickoff_async({"amount": object()})

    run = await started(client, Parent)

    assert run.failure is not None
    assert run.failure.type_name.endswith(":CodecError")
    assert not await client.flows.list(flow=Child)


async def test_inputs_that_do_not_fit_the_childs_state_are_an_error_at_the_call(
    client: TestingClient,
) -> None:
    """The step may catch it, and the run is none the worse for it."""

    class Model(BaseModel):
        amount: int = 0

    class Strict(Flow[Model], name="signoff tests: strict child"):
        @start()
        def step(self) -> int:
            return self.state.amount

    class Parent(Flow):
        @start()
        async def step(self) -> str:
            try:
                await Strict().kickoff_async({"amount": "many"})
            except ValueError as error:
                return str(error)
            return "fits"

    run = await started(client, Parent)

    assert run.status == "completed"
    assert "amount" in str(run.output)


async def test_what_a_childs_state_raises_is_an_error_at_the_call(client: TestingClient) -> None:
    """Whatever it is; the step is not run again for it."""

    class Model(BaseModel):
        name: str = ""

        @field_validator("name")
        @classmethod
        def known(cls, name: str) -> str:
            return {"ann": "Ann"}[name]

    class Strict(Flow[Model], name="signoff tests: child that looks things up"):
        @start()
        def step(self) -> str:
            return self.state.name

    class Parent(Flow):
        @start()
        async def step(self) -> list[object]:
            found: list[object] = []
            for name in ("ann", "ben"):
                try:
                    found.append(await Strict().kickoff_async({"name": name}))
                except KeyError as error:
                    found.append(str(error))
            return found

    run = await started(client, Parent)

    assert run.output == ["Ann", "'ben'"]


async def test_a_childs_instance_is_kept_to_one_run_at_a_time(client: TestingClient) -> None:
    """A second call beside the first one is an error, and begins nothing."""
    caught: list[str] = []

    class Plain(Flow):
        @start()
        async def step(self) -> object:
            await anyio.wait_all_tasks_blocked()
            return self.state["order"]

    class Parent(Flow):
        @start()
        async def step(self) -> list[object]:
            plain, found = Plain(), list[object]()

            async def begin(order: int) -> None:
                try:
                    found.append(await plain.kickoff_async({"order": order}))
                except ConfigurationError as error:
                    caught.append(str(error))

            async with anyio.create_task_group() as group:
                for order in (1, 1):
                    group.start_soon(begin, order)
            return found

    run = await started(client, Parent)

    assert run.output == [1]
    assert [text.partition(",")[0] for text in caught] == [
        "this Plain is in the middle of another run"
    ]
    assert len(await client.flows.list(flow=Plain)) == 1


class Unreadable(MemoryStore):
    """A store that once cannot say whether a run is open."""

    fails = True

    async def run_by_key(self, flow_name: str, key: str) -> Sealed[Run] | None:
        """Fail once."""
        if self.fails:
            self.fails = False
            raise StoreUnavailableError("the disk is away")
        return await super().run_by_key(flow_name, key)


async def test_a_store_that_fails_when_a_child_begins_fails_no_step() -> None:
    """The run goes on as it was last committed, once the store is back."""

    class Parent(Flow):
        @start()
        async def step(self) -> object:
            return await Plain().kickoff_async({"id": "order-17"})

    class Plain(Flow):
        @start()
        def step(self) -> str:
            return self.flow_id

    async with testing.client(store=Unreadable()) as client:
        run = await client.flows.start(Parent)
        report = await client.drain()
        assert report.errors == {run.run_id: "StoreUnavailableError: the disk is away"}
        await client.drain()
        assert (await client.flows.get(run.run_id)).output == "order-17"


async def test_a_child_whose_checkpoint_was_changed_blocks_its_parent() -> None:
    """Its output is not believed."""
    store = MemoryStore()
    async with testing.client(store=store) as client:
        run = await started(client, SyncParent)
        (request,) = await pending(client)
        await client.hitl.approve(request_id=request.request_id, reviewer=CFO)
        (child,) = await client.flows.list(flow=Child)
        await client._machinery.executor.advance(child.run_id)
        row = store._runs.rows[child.run_id]
        odd = row.body.replace(b"signoff tests: child", b"signoff tests: chile")
        store._runs.rows[child.run_id] = replace(row, body=odd)
        await client.drain()
        run = await client.flows.get(run.run_id)

    assert (run.status, run.blocked_reason) == ("blocked", "seal_invalid")
    assert run.blocked_detail == f"{child.run_id}: flow_name"


async def test_a_child_begun_with_other_inputs_is_drift(client: TestingClient) -> None:
    """The run blocks, and no second child is begun."""
    amounts = iter((5, 6))

    class Parent(Flow):
        @start()
        async def step(self) -> object:
            return await Child().kickoff_async({"amount": next(amounts)})

    run = await answer(client, await started(client, Parent))

    assert (run.status, run.blocked_reason) == ("blocked", "drift")
    assert run.blocked_detail == (
        "the step had called signoff tests: child,"
        ' and its replay called signoff tests: child with {"amount":6}'
    )
    assert len(await client.flows.list(flow=Child)) == 1


async def test_a_replay_without_its_child_is_drift(client: TestingClient) -> None:
    """Neither the end of the step nor another call stands for it."""
    ways = iter((True, False))

    class Parent(Flow):
        @start()
        async def step(self) -> object:
            return await Child().kickoff_async({"amount": 5}) if next(ways) else 0

    run = await answer(client, await started(client, Parent))

    assert (run.status, run.blocked_reason) == ("blocked", "drift")
    assert run.blocked_detail == (
        "the step had called signoff tests: child, and its replay ended without it"
    )


async def test_a_child_that_comes_first_in_a_parallel_replay_is_put_off(
    client: TestingClient,
) -> None:
    """It is begun once the call that is known was met."""
    replays = 0

    class Parent(Flow):
        @start()
        async def step(self) -> str:
            nonlocal replays
            replays += 1
            turn = anyio.Event()

            async def child() -> None:
                turn.set()
                await Child().kickoff_async({"amount": 5})

            async def known() -> None:
                await turn.wait()
                await areport()

            async with anyio.create_task_group() as group:
                group.start_soon(known)
                if replays > 1:
                    group.start_soon(child)
                else:
                    turn.set()
            return "end"

    @require_approval(action="Report")
    async def areport() -> None: ...

    run = await answer(client, await started(client, Parent))
    assert [one.message for one in await pending(client)] == ["Pay 5"]
    run = await answer(client, run)

    assert run.output == "end"


async def test_another_call_in_the_place_of_a_child_is_drift(client: TestingClient) -> None:
    """What is shown is both of them."""
    ways = iter((True, False))

    class Parent(Flow):
        @start()
        def step(self) -> object:
            return Child().kickoff({"amount": 5}) if next(ways) else report()

    run = await answer(client, await started(client, Parent))

    assert run.blocked_detail.startswith("the step had called signoff tests: child, and its replay")
    assert run.blocked_detail.endswith("called signoff tests: parent reports with {}")


@pytest.mark.parametrize("is_async", [True, False])
async def test_a_child_inside_an_approved_body_is_refused(
    client: TestingClient, is_async: bool
) -> None:
    """A body runs once and cannot wait for another run."""

    @require_approval
    async def abody() -> None:
        await Child().kickoff_async({"amount": 5})

    @require_approval
    def body() -> None:
        Child().kickoff({"amount": 5})

    class Async(Flow):
        @start()
        async def step(self) -> None:
            await abody()

    class Sync(Flow):
        @start()
        def step(self) -> None:
            body()

    run = await answer(client, await started(client, Async if is_async else Sync))

    assert run.failure is not None
    assert run.failure.type_name == f"{ConfigurationError.__module__}:ConfigurationError"
    assert not await client.flows.list(flow=Child)


async def test_a_blocking_kickoff_on_the_event_loop_is_refused(client: TestingClient) -> None:
    """An async step awaits its children."""

    class Parent(Flow):
        @start()
        async def step(self) -> object:
            return Child().kickoff({"amount": 5})

    run = await started(client, Parent)

    assert run.failure is not None
    assert run.failure.message.startswith("Child is not async, and blocks the event loop")
