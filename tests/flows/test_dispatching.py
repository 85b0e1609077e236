"""Which step runs after which, and with what: dispatch rules 1 to 6 of the flow semantics."""

from __future__ import annotations

from enum import Enum, IntEnum
from typing import TYPE_CHECKING

import anyio
import pytest

from signoff import Flow, HumanFeedbackResult, and_, human_feedback, listen, or_, router, start

if TYPE_CHECKING:
    from tests.flows.conftest import Bench


async def ran(bench: Bench, flow: type[Flow[object]], **inputs: object) -> list[str]:
    """Run a flow to its end and return its steps in the order in which they finished."""
    run = await bench.start(flow, **inputs)
    assert run.status == "completed", run.failure
    journal = [one.record for one in await bench.store.journal(run.run_id)]
    finished = [one for one in journal if one.status == "finished"]
    return [one.step for one in sorted(finished, key=lambda one: one.finished_seq)]


async def test_rule_1_unconditional_starts_run_concurrently(bench: Bench) -> None:
    """Each waits for the other."""
    one_began, two_began = anyio.Event(), anyio.Event()

    class Parallel(Flow):
        @start()
        async def one(self) -> None:
            one_began.set()
            await two_began.wait()

        @start()
        async def two(self) -> None:
            two_began.set()
            await one_began.wait()

    assert sorted(await ran(bench, Parallel)) == ["one", "two"]


async def test_rule_1_a_conditional_start_runs_when_its_label_is_emitted(bench: Bench) -> None:
    """At kickoff it runs only when there is no unconditional one."""

    class Both(Flow):
        @start()
        @router()
        def begin(self) -> str:
            return "go"

        @start("go")
        def second(self, label: str) -> str:
            return label

    class Only(Flow):
        @start("go")
        def begin(self, label: str | None) -> str:
            return f"{label}"

    assert await ran(bench, Both) == ["begin", "second"]
    assert (await bench.start(Only)).output == "None"


async def test_rule_2_routers_go_first_and_one_after_another_then_all_listeners(
    bench: Bench,
) -> None:
    """Also those routers that an earlier router fires."""
    running: list[str] = []
    most: list[int] = []

    class Routers(Flow):
        @start()
        def begin(self) -> None: ...

        @listen(begin)
        async def early(self) -> None:
            assert running == []

        @router(begin)
        async def one(self) -> str | None:
            return await self.slowly("one", "more")

        @router(begin)
        async def two(self) -> str | None:
            return await self.slowly("two", None)

        @router("more")
        async def three(self) -> str | None:
            return await self.slowly("three", "last")

        @listen(or_("more", "last"))
        async def late(self) -> None:
            assert running == []

        async def slowly(self, name: str, label: str | None) -> str | None:
            running.append(name)
            most.append(len(running))
            for _ in range(3):
                await anyio.lowlevel.checkpoint()
            running.remove(name)
            return label

    steps = await ran(bench, Routers)
    assert most == [1, 1, 1]
    assert steps[0] == "begin"
    assert sorted(steps[1:4]) == ["one", "three", "two"]
    assert sorted(steps[4:]) == ["early", "late"]


async def test_rule_2_chains_of_siblings_do_not_wait_for_each_other(bench: Bench) -> None:
    """One chain of routers stands still while the other one runs to its listeners."""
    second_is_over = anyio.Event()

    class Chains(Flow):
        @start()
        def left(self) -> None: ...

        @start()
        def right(self) -> None: ...

        @router(left)
        async def left_router(self) -> str:
            await second_is_over.wait()
            return "left_done"

        @router(right)
        async def right_router(self) -> str:
            return "right_done"

        @listen("right_done")
        async def right_end(self) -> None:
            second_is_over.set()

        @listen("left_done")
        def left_end(self) -> None: ...

    steps = await ran(bench, Chains)
    assert steps.index("right_end") < steps.index("left_router")


async def test_rule_2_a_suspended_router_holds_nobody_back(bench: Bench) -> None:
    """A gate that routes may wait for days; the listeners of the same step run."""

    class Waiting(Flow):
        @start()
        def begin(self) -> str:
            return "begun"

        @listen(begin)
        @human_feedback("ok?", emit=["yes", "no"])
        def ask(self, output: str) -> str:
            return output

        @listen(begin)
        def beside(self, output: str) -> None:
            self.state["beside"] = output

    run = await bench.start(Waiting)
    assert (run.status, run.state["beside"]) == ("suspended", "begun")


class Colour(Enum):
    """Labels that are an enum."""

    RED = "red"


class Number(IntEnum):
    """Labels that are numbers."""

    ONE = 1


@pytest.mark.parametrize(
    ("returned", "label"),
    [
        (Colour.RED, "red"),
        (Number.ONE, "1"),
        (0, "0"),
        (False, "False"),
        (1.5, "1.5"),
        ("text", "text"),
        (None, None),
    ],
)
async def test_rule_4_what_a_router_returns_is_a_label(
    bench: Bench, returned: object, label: str | None
) -> None:
    """An enum its value, `None` nothing, and anything else its text."""

    class Routing(Flow):
        @start()
        @router(emit=Colour)
        def route(self) -> Colour | Number | object:
            return returned

        @listen(or_("red", "1", "0", "False", "1.5", "text", "None"))
        def heard(self, label: str) -> str:
            return f"heard {label}"

        @listen(route)
        def output(self, output: object) -> bool:
            return output == returned and type(output) is type(returned)

    run = await bench.start(Routing)
    journal = {one.record.step: one.record for one in await bench.store.journal(run.run_id)}
    assert journal["output"].output is True
    heard = journal["heard"].output if "heard" in journal else None
    assert heard == (None if label is None else f"heard {label}")


async def test_rule_3_a_listener_gets_what_fired_it(bench: Bench) -> None:
    """An output, a label, or the result behind a label; of an `and_` what came last."""

    class Arguments(Flow):
        @start()
        def begin(self) -> list[int]:
            return [1, 2]

        @router(begin)
        def route(self, output: list[int]) -> str:
            self.state["route"] = output
            return "routed"

        @listen("routed")
        def of_label(self, label: str) -> None:
            self.state["label"] = label

        @listen(route)
        def of_router(self, output: str) -> None:
            self.state["router"] = output

        @listen(begin)
        def without(self) -> None:
            self.state["without"] = True

        @listen(or_("routed", "never"))
        @human_feedback("ok?", emit=["yes", "no"])
        def ask(self, label: str) -> str:
            return f"asked for {label}"

        @listen(or_("yes", "never"))
        def of_gate(self, result: HumanFeedbackResult) -> None:
            self.state["gate"] = [result.outcome, result.output]

        @listen(ask)
        def of_gates_step(self, output: str) -> None:
            self.state["step"] = output

        @listen(and_(begin, "yes"))
        def of_both(self, last: HumanFeedbackResult) -> None:
            self.state["both"] = last.outcome

    run = await bench.start(Arguments)
    await bench.answer("ask", "yes")
    state = dict((await bench.now(run)).state)
    assert state == {
        "id": run.run_id,
        "route": [1, 2],
        "label": "routed",
        "router": "routed",
        "without": True,
        "gate": ["yes", "asked for routed"],
        "step": "asked for routed",
        "both": "yes",
    }
