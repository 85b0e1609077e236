"""A crash at every write, and at all pairs of writes, of all that a run can go through, on every store."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias, cast

import pytest

from signoff import (
    Done,
    Flow,
    HumanFeedbackResult,
    NotDone,
    Request,
    human_feedback,
    listen,
    once,
    or_,
    require_approval,
    start,
    together,
)
from signoff.ports import Store
from signoff.testing import MemoryMail, Reviewer, TestingClient, crash_everywhere

OpenStore: TypeAlias = Callable[[Path], Store]

REVIEWER = "cfo@acme.example"
DEPUTY = "deputy@acme.example"
NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
EFFECTS: list[str] = []
"""What really happened in the world outside the store."""


@require_approval(name="reliability.pay", assignees=[REVIEWER])
async def pay(invoice: str, amount: int) -> str:
    """Do something that must not be done twice."""
    EFFECTS.append(invoice)
    return f"paid {amount} for {invoice}"


class Campaign(Flow, name="reliability.campaign"):
    """A gate on a step, a cycle, and a gated call behind it."""

    @start()
    def brief(self) -> str:
        """Begin."""
        return "spring"

    @listen(or_(brief, "needs_revision"))
    @human_feedback("Publish?", emit=["approved", "needs_revision"], assign_to_email=REVIEWER)
    def draft(self, _: object) -> str:
        """Write another draft."""
        drafts = int(str(self.state.get("drafts", 0))) + 1
        self.state["drafts"] = drafts
        return f"draft {drafts}"

    @listen("approved")
    async def publish(self, result: HumanFeedbackResult) -> str:
        """Pay for what was approved, as the reviewer has changed it."""
        stamp = await once("stamp", lambda: "stamped")
        return f"{result.output}, {stamp}, {await pay('campaign', 9)}"


class Purchase(Flow, name="reliability.purchase"):
    """Two gated calls at once."""

    @start()
    async def buy(self) -> str:
        """Buy two things."""
        bought = await together(partial(pay, "ink", 1), partial(pay, "paper", 2))
        return " and ".join(str(receipt) for receipt in bought)


class Shopping(Flow, name="reliability.shopping"):
    """A child run."""

    @start()
    async def shop(self) -> str:
        """Leave it to another flow."""
        return f"child: {await Purchase().kickoff_async()}"


class Lapsing(Flow, name="reliability.lapsing"):
    """A question that nobody answers, which is an answer too."""

    @start()
    @human_feedback(
        "Any objection?",
        emit=["approved", "rejected"],
        assign_to_email=REVIEWER,
        expires_after=timedelta(hours=1),
        on_expiry="rejected",
    )
    def ask(self) -> str:
        """Ask."""
        return "?"

    @listen("rejected")
    def archive(self) -> str:
        """End."""
        return "archived"


class CalledOff(Flow, name="reliability.called_off"):
    """Two things that are still asked when the run is cancelled."""

    @start()
    @human_feedback("Go on?", emit=["approved", "rejected"], assign_to_email=REVIEWER)
    def ask(self) -> str:
        """Ask."""
        return "?"

    @start()
    async def spend(self) -> str:
        """Ask for money."""
        return await pay("called off", 1000)


FLOWS: tuple[type[Flow[dict[str, object]]], ...] = (Campaign, Shopping, Lapsing, CalledOff)

ENDS = {
    "reliability.campaign": ("completed", "draft 2, better, stamped, paid 9 for campaign"),
    "reliability.shopping": ("completed", "child: paid 1 for ink and paid 2 for paper"),
    "reliability.purchase": ("completed", "paid 1 for ink and paid 2 for paper"),
    "reliability.lapsing": ("completed", "archived"),
    "reliability.called_off": ("cancelled", None),
    "reliability.pay": ("completed", "paid 3 for inv-17"),
}


async def everything(client: TestingClient) -> Mapping[str, object]:
    """Do whatever is not done yet, as people who look at the store would, and return how it ended."""
    for flow in FLOWS:
        if not await client.flows.list(flow=flow):
            await client.flows.start(flow, requester="agent-7")
    await client.submit(pay, "inv-17", 3, key="inv-17")
    await settle(client)
    (called_off,) = await client.flows.list(flow=CalledOff)
    if called_off.status != "cancelled":
        await client.flows.cancel(called_off.run_id, by="boss")
    await settle(client)
    client.clock.set(NOON)
    await settle(client)
    runs = [await client.flows.get(run.run_id) for run in await client.flows.list()]
    return {run.flow_name: (run.status, run.output) for run in runs}


async def settle(client: TestingClient) -> None:
    """Let it work and answer what is asked, until there is nothing more to answer."""
    answered = True
    while answered:
        await client.drain()
        pending = await client.hitl.list_requests(status="pending", limit=100)
        answered = any([await answer(client, request) for request in pending])


async def answer(client: TestingClient, request: Request) -> bool:
    """Answer one request as its reviewer does; say whether there was something to say."""
    request_id, hitl = request.request_id, client.hitl
    if request.flow_name in {"reliability.called_off", "reliability.lapsing"}:
        return False
    if request.payload == "draft 1":
        if not request.comments:
            await hitl.comment(request_id=request_id, text="I am away", author=REVIEWER)
        if request.assignees != (DEPUTY,):
            await hitl.reassign(request_id=request_id, assignees=[DEPUTY], by=REVIEWER)
        await hitl.respond(request_id=request_id, outcome="needs revision", reviewer=DEPUTY)
    elif request.payload == "draft 2":
        await hitl.approve(request_id=request_id, payload="draft 2, better", reviewer=REVIEWER)
    else:
        await hitl.approve(request_id=request_id, reviewer=REVIEWER)
    return True


def look_it_up(question: Request) -> Done[str] | NotDone:
    """Say what became of a payment."""
    call = cast("dict[str, Any]", question.payload)
    if call["invoice"] not in EFFECTS:
        return NotDone()
    return Done(f"paid {call['amount']} for {call['invoice']}")


async def purchase(client: TestingClient) -> object:
    """Buy two things in a child run."""
    return await client.run(Shopping)


async def two_answers(client: TestingClient) -> object:
    """Answer one of two calls, let the run hear of it, and answer the other one."""
    if not await client.flows.list(flow=Purchase):
        await client.flows.start(Purchase, requester="agent-7")
    await settle(client)
    (run,) = await client.flows.list(flow=Purchase)
    return (await client.flows.get(run.run_id)).output


async def test_a_crash_between_two_calls_of_a_step_is_taken_up(open_store: OpenStore) -> None:
    """Reliability 2: though the answer to one was told to a drive that is over, and is not told again."""
    report = await crash_everywhere(
        two_answers,
        effects=EFFECTS,
        store=open_store,
        in_doubt=look_it_up,
        # The first crash comes between the answers, the second one at either of the calls.
        only=[f"before-7+{side}-{at}" for side in ("before", "after") for at in range(4, 10)],
    )
    assert report.ok, str(report)


async def test_it_ends_well_when_nothing_fails(open_store: OpenStore, tmp_path: Path) -> None:
    """And takes enough commits to be worth failing at each of them."""
    EFFECTS.clear()
    mail = MemoryMail()
    ends: list[object] = []

    async def scenario(client: TestingClient) -> None:
        ends.append(await everything(client))

    report = await crash_everywhere(
        scenario, effects=EFFECTS, store=open_store, notifiers=[mail], at_most=0
    )
    assert ends == [ENDS]
    assert sorted(EFFECTS) == ["campaign", "ink", "inv-17", "paper"]
    assert (report.cases, report.ok) == (0, True)
    assert report.commits > 60


@pytest.mark.parametrize("pairs", [False, True])
async def test_some_crashes_lose_nothing_and_repeat_no_effect(
    open_store: OpenStore, pairs: bool
) -> None:
    """Reliability 1, 2: drawn from a seed that a failure names, one and two in a row."""
    report = await crash_everywhere(
        everything,
        effects=EFFECTS,
        store=open_store,
        in_doubt=look_it_up,
        notifiers=[MemoryMail()],
        pairs=pairs,
        at_most=6,
        seed=11,
    )
    assert report.ok, str(report)
    assert report.cases == 6


@pytest.mark.reliability
@pytest.mark.timeout(900)
async def test_a_crash_at_any_write_loses_nothing_and_repeats_no_effect(
    open_store: OpenStore,
) -> None:
    """Reliability 1: at each commit of all that a run can go through, before it and after it."""
    report = await crash_everywhere(
        everything,
        effects=EFFECTS,
        store=open_store,
        in_doubt=look_it_up,
        notifiers=[MemoryMail()],
    )
    assert report.ok, str(report)
    assert report.cases == 2 * report.commits


@pytest.mark.reliability
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_crash_at_any_two_writes_loses_nothing_and_repeats_no_effect(
    open_store: OpenStore,
) -> None:
    """Reliability 2: at each pair of commits of two gated calls in a child run."""
    report = await crash_everywhere(
        purchase,
        effects=EFFECTS,
        reviewers=[Reviewer(REVIEWER).approves()],
        store=open_store,
        in_doubt=look_it_up,
        notifiers=[MemoryMail()],
        pairs=True,
    )
    assert report.ok, str(report)
    assert report.cases > 1500


@pytest.mark.reliability
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(3))
async def test_thousands_of_pairs_of_crashes_lose_nothing_and_repeat_no_effect(
    open_store: OpenStore, seed: int
) -> None:
    """Reliability 2: drawn from all pairs over all that a run can go through."""
    report = await crash_everywhere(
        everything,
        effects=EFFECTS,
        store=open_store,
        in_doubt=look_it_up,
        notifiers=[MemoryMail()],
        pairs=True,
        at_most=600,
        seed=seed,
    )
    assert report.ok, str(report)
    assert report.cases == 600
