"""Flows inside steps: suspension, results, failures, and what ends with whom."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import pytest
from pydantic import BaseModel

from signoff import Flow, HumanFeedbackResult, human_feedback, listen, require_approval, start
from signoff.errors import ChildRunFailed, RequestCancelledError

if TYPE_CHECKING:
    from tests.flows.conftest import Bench

    from signoff.model.run import Run

ANN = "ann@acme.example"
BROKEN: list[bool] = []


@require_approval(name="children.pay")
async def pay() -> str:
    """Pay."""
    return "paid"


class Quick(Flow):
    """A child without a gate."""

    @start()
    def begin(self) -> object:
        """Return the topic, or fail."""
        if BROKEN:
            raise LookupError("the child has no copy")
        return self.state.get("topic")


class Asking(Flow):
    """A child with a gate."""

    @start()
    @human_feedback("Child?", emit=["yes", "no"])
    def ask(self) -> object:
        """Ask about the topic."""
        return self.state.get("topic")

    @listen("yes")
    def done(self, result: HumanFeedbackResult) -> str:
        """Return what was approved."""
        return f"done with {result.output}"


@pytest.fixture(autouse=True)
def _nothing_is_broken() -> None:
    """Mend what other tests have broken."""
    BROKEN.clear()


async def child_of(bench: Bench, flow: type[Flow[object]]) -> Run:
    """Return the one run of a child flow."""
    (run,) = await bench.client.flows.list(flow=flow)
    return run


async def test_a_child_that_does_not_suspend_returns_at_once(bench: Bench) -> None:
    """Async in an async step, and blocking in a sync one; it is a run of its own."""

    class Parent(Flow):
        @start()
        async def in_a_coroutine(self) -> object:
            return await Quick().kickoff_async({"topic": "a"})

        @listen(in_a_coroutine)
        def in_a_thread(self, before: object) -> object:
            return [before, Quick().kickoff({"topic": "b"})]

    run = await bench.start(Parent)
    assert run.output == ["a", "b"]
    children = await bench.client.flows.list(flow=Quick)
    assert [child.parent_run_id for child in children] == [run.run_id] * 2
    assert [child.requester for child in children] == ["agent-7"] * 2


async def test_a_child_that_suspends_suspends_a_sync_step_too(bench: Bench) -> None:
    """Nobody waits in a thread; on resume the step gets what the child returned."""

    class Parent(Flow):
        @start()
        def begin(self) -> object:
            return Asking().kickoff({"topic": "copy"})

    run = await bench.start(Parent)
    assert run.status == "suspended"
    await bench.answer("ask", "yes")
    assert (await bench.now(run)).output == "done with copy"


async def test_a_child_is_begun_once_however_often_its_step_runs_again(bench: Bench) -> None:
    """What it has returned is journaled, like a gated call's result."""
    attempts: list[str] = []

    class Parent(Flow):
        @start()
        async def begin(self) -> list[object]:
            attempts.append("begun")
            first = await Quick().kickoff_async({"topic": "copy"})
            second = await Quick().kickoff_async({"topic": "copy"})
            return [first, second, await pay()]

    run = await bench.start(Parent)
    assert attempts == ["begun"]
    await bench.approve("pay")
    assert (await bench.now(run)).output == ["copy", "copy", "paid"]
    assert len(await bench.client.flows.list(flow=Quick)) == 2
    assert attempts == ["begun", "begun"]


async def test_a_childs_failure_is_raised_in_the_parents_step(bench: Bench) -> None:
    """As `ChildRunFailed`, which the step may handle."""
    BROKEN.append(True)

    class Careless(Flow):
        @start()
        async def begin(self) -> object:
            return await Quick().kickoff_async()

    class Careful(Flow):
        @start()
        async def begin(self) -> object:
            try:
                return await Quick().kickoff_async()
            except ChildRunFailed as failed:
                return failed.error

    run = await bench.start(Careless)
    assert run.failure is not None
    assert run.failure.type_name == "signoff.errors:ChildRunFailed"
    assert "the child has no copy" in run.failure.message
    assert (await bench.start(Careful)).output == ("builtins:LookupError: the child has no copy")


async def test_a_failed_child_is_retried_first_and_then_its_parent(bench: Bench) -> None:
    """The parent's step then gets what the child returned."""
    BROKEN.append(True)

    class Parent(Flow):
        @start()
        async def begin(self) -> object:
            return await Quick().kickoff_async({"topic": "copy"})

    run = await bench.start(Parent)
    assert run.status == "failed"
    BROKEN.clear()
    child = await child_of(bench, Quick)
    await bench.client.flows.retry(child.run_id)
    await bench.go()
    assert (await bench.now(child)).status == "completed"
    assert (await bench.now(run)).status == "failed"
    await bench.client.flows.retry(run.run_id)
    await bench.go()
    assert (await bench.now(run)).output == "copy"


async def test_cancelling_a_parent_cancels_its_children_and_their_requests(bench: Bench) -> None:
    """Grandchildren too; who answers late is told why it was not needed."""

    class Middle(Flow):
        @start()
        async def begin(self) -> object:
            return await Asking().kickoff_async()

    class Parent(Flow):
        @start()
        async def begin(self) -> object:
            return await Middle().kickoff_async()

    run = await bench.start(Parent)
    request = await bench.asked("ask")
    await bench.client.flows.cancel(run.run_id, by=ANN)
    await bench.go()
    for flow in (Parent, Middle, Asking):
        assert (await child_of(bench, flow)).status == "cancelled"
    with pytest.raises(RequestCancelledError, match="run cancelled"):
        await bench.client.hitl.respond(request_id=request.request_id, outcome="yes")


async def test_a_child_that_is_cancelled_by_itself_fails_the_parents_step(bench: Bench) -> None:
    """With an error that says so."""

    class Parent(Flow):
        @start()
        async def begin(self) -> object:
            return await Asking().kickoff_async()

    run = await bench.start(Parent)
    await bench.client.flows.cancel((await child_of(bench, Asking)).run_id)
    await bench.go()
    ended = await bench.now(run)
    assert ended.failure is not None
    assert ended.failure.type_name == "signoff.errors:RunCancelled"


async def test_a_step_that_runs_again_for_a_new_cause_ends_the_child_of_the_old_one(
    bench: Bench,
) -> None:
    """The first draft's child and its request end when the second draft is made."""

    class Parent(Flow):
        @start("redo")
        def draft(self) -> str:
            return f"draft {len(self.human_feedback_history) + 1}"

        @listen(draft)
        @human_feedback("Again?", emit=["redo", "keep"])
        def again(self, copy: str) -> str:
            return copy

        @listen(draft)
        async def check(self, copy: str) -> object:
            return await Asking().kickoff_async({"topic": copy})

    await bench.start(Parent)
    await bench.answer("again", "redo")
    children = await bench.client.flows.list(flow=Asking)
    assert sorted(child.status for child in children) == ["cancelled", "suspended"]
    assert (await bench.asked("ask")).payload == "draft 2"


async def test_two_children_in_one_task_group_suspend_together(bench: Bench) -> None:
    """Each is answered by itself, in any order."""

    class Parent(Flow):
        @start()
        async def begin(self) -> list[str]:
            results: list[object] = []

            async def one(topic: str) -> None:
                results.append(await Asking().kickoff_async({"topic": topic}))

            async with anyio.create_task_group() as group:
                group.start_soon(one, "a")
                group.start_soon(one, "b")
            return sorted(str(result) for result in results)

    run = await bench.start(Parent)
    for request in await bench.client.hitl.list_requests(status="pending"):
        await bench.client.hitl.respond(request_id=request.request_id, outcome="yes")
        await bench.go()
    assert (await bench.now(run)).output == ["done with a", "done with b"]


async def test_a_kickoff_in_a_step_of_a_kicked_off_flow_is_a_child_too(bench: Bench) -> None:
    """Whoever called kickoff gets the parent's output."""

    class Parent(Flow):
        @start()
        async def begin(self) -> object:
            return [await Quick().kickoff_async({"topic": "copy"})]

    assert await Parent(client=bench.client).kickoff_async() == ["copy"]
    assert (await child_of(bench, Quick)).parent_run_id


async def test_many_parents_in_threads_do_not_take_the_threads_of_their_children(
    bench: Bench,
) -> None:
    """Each waits in a thread for a child whose step needs one."""

    class Parent(Flow):
        @start()
        def begin(self) -> object:
            return Quick().kickoff({"topic": "copy"})

    runs = [await bench.client.flows.start(Parent) for _ in range(60)]
    await bench.go()
    assert {(await bench.now(run)).status for run in runs} == {"completed"}


async def test_a_childs_inputs_that_do_not_fit_fail_the_step(bench: Bench) -> None:
    """As they would fail a kickoff; an id that is taken does, too."""

    class Numbered(BaseModel):
        number: int

    class Typed(Flow[Numbered]):
        @start()
        def begin(self) -> None: ...

    class Careless(Flow):
        @start()
        async def begin(self) -> object:
            return await Typed().kickoff_async({"number": "seven"})

    careless = await bench.start(Careless)
    assert careless.failure is not None
    assert "state field 'number'" in careless.failure.message

    class Parent(Flow):
        @start()
        async def begin(self) -> object:
            return await Asking().kickoff_async({"id": "taken"})

    first = await bench.start(Parent)
    assert first.status == "suspended"
    second = await bench.start(Parent)
    assert second.status == "failed"
    assert second.failure is not None
    assert "still open" in second.failure.message
