"""What the others get wrong, points 14 to 18 of the flow semantics, in one process."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import anyio
import pytest

from signoff import (
    Flow,
    HumanFeedbackResult,
    and_,
    human_feedback,
    listen,
    require_approval,
    start,
    to_thread,
)
from signoff.errors import RequestCancelledError

if TYPE_CHECKING:
    from tests.flows.conftest import Bench

pytestmark = pytest.mark.parametrize("bench", ["memory", "sqlite"], indirect=True)

ANN = "ann@acme.example"
RAN: list[str] = []


@pytest.fixture(autouse=True)
def _nothing_ran() -> None:
    """Forget what ran in other tests."""
    RAN.clear()


@require_approval(name="points.pay")
async def pay(vendor: str) -> str:
    """Pay, and take a while."""
    await anyio.lowlevel.checkpoint()
    RAN.append(f"paid {vendor}")
    return f"receipt of {vendor}"


@require_approval(name="points.refund")
def refund(vendor: str) -> str:
    """Pay back."""
    RAN.append(f"refunded {vendor}")
    return f"refund of {vendor}"


class Child(Flow):
    """A flow with a gate."""

    @start()
    @human_feedback("Child?", emit=["approved", "rejected"])
    def ask(self) -> object:
        """Ask about what it was given."""
        return self.state["topic"]

    @listen("approved")
    def done(self, result: HumanFeedbackResult) -> str:
        """Return what was approved."""
        return f"child did {result.output}"


async def test_point_14_a_childs_suspension_suspends_the_parent_and_its_end_wakes_it(
    bench: Bench,
) -> None:
    """The child runs once, and the parent goes on with what it returned."""

    class Parent(Flow):
        @start()
        async def begin(self) -> object:
            RAN.append("begin")
            return await Child().kickoff_async({"topic": "copy"})

        @listen(begin)
        def after(self, output: str) -> str:
            return f"parent saw: {output}"

    run = await bench.start(Parent)
    assert run.status == "suspended"
    (child,) = await bench.client.flows.list(flow=Child)
    assert (child.status, child.parent_run_id) == ("suspended", run.run_id)
    await bench.approve("ask")

    assert (await bench.now(child)).status == "completed"
    assert (await bench.now(run)).output == "parent saw: child did copy"
    assert RAN == ["begin", "begin"]
    assert len(await bench.client.flows.list(flow=Child)) == 1


async def test_point_15_old_answers_and_open_requests_for_a_first_draft_count_for_nothing(
    bench: Bench,
) -> None:
    """Legal approves draft 1, finance wants another: both see draft 2 before it is published."""
    published: list[object] = []

    class Two(Flow):
        @start("revise")
        def draft(self) -> str:
            return f"draft {len(self.human_feedback_history) + 1}"

        @listen(draft)
        @human_feedback("Legal?", emit=["lawful", "unlawful"])
        def legal(self, copy: str) -> str:
            return copy

        @listen(draft)
        @human_feedback("Finance?", emit=["affordable", "revise"])
        def finance(self, copy: str) -> str:
            return copy

        @listen(and_("lawful", "affordable"))
        def publish(self, result: HumanFeedbackResult) -> None:
            published.append(result.output)

    await bench.start(Two)
    await bench.answer("legal", "lawful")
    await bench.answer("finance", "revise")
    assert sorted(await bench.pending()) == ["finance", "legal"]
    await bench.answer("finance", "affordable")
    assert published == []
    assert (await bench.asked("legal")).payload == "draft 3"
    await bench.answer("legal", "lawful")
    assert published == ["draft 3"]


async def test_point_15_an_open_request_for_a_first_draft_is_cancelled_with_its_reason(
    bench: Bench,
) -> None:
    """Its late answer is refused, and says why."""

    class Two(Flow):
        @start("revise")
        def draft(self) -> str:
            return f"draft {len(self.human_feedback_history) + 1}"

        @listen(draft)
        @human_feedback("Legal?", emit=["lawful", "unlawful"])
        def legal(self, copy: str) -> str:
            return copy

        @listen(draft)
        @human_feedback("Finance?", emit=["affordable", "revise"])
        def finance(self, copy: str) -> str:
            return copy

    await bench.start(Two)
    old = await bench.asked("legal")
    await bench.answer("finance", "revise")

    with pytest.raises(RequestCancelledError, match="superseded"):
        await bench.client.hitl.respond(request_id=old.request_id, outcome="lawful", reviewer=ANN)
    assert (await bench.client.hitl.get_request(old.request_id)).status == "cancelled"
    assert (await bench.asked("legal")).payload == "draft 2"


async def test_point_16_two_gates_in_a_steps_own_task_group_cancel_no_body(bench: Bench) -> None:
    """One of them is approved and runs while the other suspends the step and its group."""

    class Group(Flow):
        @start()
        async def both(self) -> list[str]:
            receipts: list[str] = []

            async def one(vendor: str) -> None:
                receipts.append(await pay(vendor))

            async with anyio.create_task_group() as group:
                group.start_soon(one, "acme")
                group.start_soon(one, "bolt")
            return sorted(receipts)

    run = await bench.start(Group)
    page = await bench.client.hitl.list_requests(status="pending")
    requests = {one.query.split()[-1].strip('"}'): one for one in page}
    assert sorted(requests) == ["acme", "bolt"]
    for vendor in ("bolt", "acme"):
        request_id = requests[vendor].request_id
        await bench.client.hitl.approve(request_id=request_id, reviewer=ANN)
        await bench.go()
        assert RAN[-1] == f"paid {vendor}"

    assert RAN == ["paid bolt", "paid acme"]
    assert (await bench.now(run)).output == ["receipt of acme", "receipt of bolt"]


async def test_point_17_a_gated_call_from_a_plain_thread_pool_is_refused_with_the_remedy(
    bench: Bench,
) -> None:
    """It is never silently a call outside of any flow."""

    class Pool(Flow):
        @start()
        def begin(self) -> str:
            with ThreadPoolExecutor() as pool:
                return pool.submit(refund, "acme").result()

    run = await bench.start(Pool)
    assert run.status == "failed"
    assert run.failure is not None
    assert "copy the context" in run.failure.message
    assert "signoff.to_thread" in run.failure.message
    assert await bench.pending() == []


async def test_point_17_the_remedy_works(bench: Bench) -> None:
    """With the context, the call belongs to the step."""

    class Pool(Flow):
        @start()
        async def begin(self) -> str:
            return await to_thread(refund, "acme")

    run = await bench.start(Pool)
    assert run.status == "suspended"
    await bench.approve("refund")
    assert (await bench.now(run)).output == "refund of acme"
    assert RAN == ["refunded acme"]


async def test_point_18_a_step_whose_arguments_differ_at_every_replay_ends_blocked(
    bench: Bench,
) -> None:
    """Nothing runs, and the reason shows what was asked and what was called."""
    numbers = itertools.count(1)

    class Model(Flow):
        @start()
        async def think(self) -> str:
            return await pay(f"vendor {next(numbers)}")

    run = await bench.start(Model)
    await bench.approve("pay")

    blocked = await bench.now(run)
    assert (blocked.status, blocked.blocked_reason) == ("blocked", "drift")
    assert "vendor 1" in blocked.blocked_detail
    assert "vendor 2" in blocked.blocked_detail
    assert RAN == []
    assert await bench.pending() == []


async def test_point_18_with_on_drift_ask_it_is_asked_at_most_three_times_more(
    bench: Bench,
) -> None:
    """Then it is blocked after all, and still nothing has run."""
    numbers = itertools.count(1)

    @require_approval(name="points.drifting", on_drift="ask")
    async def drifting(number: int) -> None:
        RAN.append(f"drifted {number}")

    class Model(Flow):
        @start()
        async def think(self) -> None:
            await drifting(next(numbers))

    run = await bench.start(Model)
    asked = 0
    while await bench.pending():
        asked += 1
        await bench.approve("drifting")

    assert asked == 4
    assert (await bench.now(run)).blocked_reason == "drift"
    assert RAN == []
