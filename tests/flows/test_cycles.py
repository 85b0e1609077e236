"""Steps that run again: dispatch rules 5 and 6 of the flow semantics."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from signoff import Flow, and_, human_feedback, listen, or_, router, start

if TYPE_CHECKING:
    from tests.flows.conftest import Bench


async def ran(bench: Bench, flow: type[Flow[object]], **inputs: object) -> list[str]:
    """Run a flow to its end and return its steps in the order in which they finished."""
    run = await bench.start(flow, **inputs)
    assert run.status == "completed", run.failure
    journal = [one.record for one in await bench.store.journal(run.run_id)]
    finished = [one for one in journal if one.status == "finished"]
    return [one.step for one in sorted(finished, key=lambda one: one.finished_seq)]


async def test_rule_5_an_and_waits_for_all_and_an_or_fires_once_for_branches(bench: Bench) -> None:
    """And an `or_` of `and_`s leaves no half-seen part behind."""

    class Joins(Flow):
        @start()
        def a(self) -> None: ...

        @start()
        def c(self) -> None: ...

        @listen(a)
        def x(self) -> None: ...

        @listen(c)
        def y(self) -> None: ...

        @listen(and_(a, c))
        def all_of(self) -> None: ...

        @listen(or_(a, c))
        def one_of(self) -> None: ...

        @listen(or_(and_(a, x), and_(c, y)))
        def nested(self) -> None: ...

    run = await bench.start(Joins)
    steps = [one.record.step for one in await bench.store.journal(run.run_id)]
    assert sorted(steps) == ["a", "all_of", "c", "nested", "one_of", "x", "y"]
    assert {step: sorted(parts) for step, parts in run.parts.items()} == {}


async def test_rule_5_a_loop_arms_an_or_again(bench: Bench) -> None:
    """Once for each round."""

    class Loop(Flow):
        @start("again")
        def begin(self) -> int:
            return len(self.method_outputs)

        @listen(begin)
        def left(self) -> None: ...

        @listen(begin)
        def right(self) -> None: ...

        @router(or_(left, right))
        def either(self) -> str | None:
            rounds = len([one for one in self.method_outputs if one == "again"])
            return "again" if rounds < 2 else None

    steps = await ran(bench, Loop)
    assert [steps.count(step) for step in ("begin", "either")] == [3, 3]


async def test_rule_6_more_runs_of_a_step_than_the_class_allows_raise(bench: Bench) -> None:
    """A hundred unless it says otherwise; the message says how to allow more."""

    class Endless(Flow):
        max_method_calls = 5

        @start("again")
        @router()
        async def turn(self) -> str:
            self.state["turns"] = len(self.method_outputs) + 1
            return "again"

    run = await bench.start(Endless)
    assert (run.status, run.state["turns"]) == ("failed", 4)
    assert run.failure is not None
    assert run.failure.type_name == "builtins:RecursionError"
    assert "'turn' was to run more than 5 times" in run.failure.message
    assert "max_method_calls" in run.failure.message
    assert Flow.max_method_calls == 100
    with pytest.raises(RecursionError, match="more than 5 times"):
        await Endless(client=bench.client).kickoff_async()


async def test_rule_6_a_step_may_run_as_often_as_the_class_allows(bench: Bench) -> None:
    """The limit itself is fine."""

    class Five(Flow):
        max_method_calls = 5

        @start("again")
        @router()
        async def turn(self) -> str | None:
            return "again" if len(self.method_outputs) < 4 else None

    assert await ran(bench, Five) == ["turn"] * 5


async def test_rule_6_an_answer_that_leads_too_far_is_kept_for_the_retry(bench: Bench) -> None:
    """The run fails for good reason; with a higher limit it goes on, and nobody is asked again."""

    class Loop(Flow):
        max_method_calls = 2

        @start("again")
        def draft(self) -> str:
            return f"draft {len(self.human_feedback_history) + 1}"

        @listen(draft)
        @human_feedback("ok?", emit=["yes", "again"])
        def ask(self, copy: str) -> str:
            return copy

    run = await bench.start(Loop)
    await bench.answer("ask", "again")
    await bench.answer("ask", "again")
    failed = await bench.now(run)
    assert failed.failure is not None
    assert failed.failure.type_name == "builtins:RecursionError"

    Loop.max_method_calls = 3
    await bench.client.flows.retry(run.run_id)
    await bench.go()
    assert (await bench.asked("ask")).payload == "draft 3"
    assert len(await bench.client.hitl.list_requests()) == 3
    await bench.answer("ask", "yes")
    assert (await bench.now(run)).output == "draft 3"


async def test_two_answers_that_come_between_two_drives_are_both_gone_on_with(
    bench: Bench,
) -> None:
    """Even when nothing follows from the first of them."""

    class Two(Flow):
        @start()
        @human_feedback("one?", emit=["yes", "no"])
        def one(self) -> None: ...

        @start()
        @human_feedback("two?", emit=["good", "bad"])
        def two(self) -> None: ...

        @listen(and_("yes", "good"))
        def end(self) -> str:
            return "both"

    run = await bench.start(Two)
    for step, label in (("one", "yes"), ("two", "good")):
        request = await bench.asked(step)
        await bench.client.hitl.respond(request_id=request.request_id, outcome=label)
    await bench.go()
    assert (await bench.now(run)).output == "both"
