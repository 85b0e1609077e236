"""What the others get wrong, points 1 to 6 of the flow semantics, in one process."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

import anyio
import pytest

from signoff import Client, Flow, HumanFeedbackResult, and_, human_feedback, listen, start
from signoff.errors import AlreadyDecidedError, NotifyError
from signoff.ports import Notifier, Outgoing

if TYPE_CHECKING:
    from tests.flows.conftest import Bench

pytestmark = pytest.mark.parametrize("bench", ["memory", "sqlite"], indirect=True)

ANN, BOB = "ann@acme.example", "bob@acme.example"


async def test_point_01_two_workers_that_resume_at_once_run_what_follows_once(bench: Bench) -> None:
    """One answer wins, the other caller is told, and one of the workers goes on with the run."""
    published: list[object] = []

    class Review(Flow):
        @start()
        @human_feedback("Publish?", emit=["approved", "rejected"], assignees=[ANN, BOB])
        def review(self) -> str:
            return "the copy"

        @listen("approved")
        def publish(self, result: HumanFeedbackResult) -> str:
            published.append(result.output)
            return f"published for {result.reviewer}"

    run = await bench.start(Review)
    request = await bench.asked("review")
    outcomes: list[str] = []
    told: list[str] = []

    async def answer(client: Client, label: str, who: str) -> None:
        try:
            await client.hitl.respond(request_id=request.request_id, outcome=label, reviewer=who)
            outcomes.append(f"{label} by {who}")
        except AlreadyDecidedError as error:
            outcomes.append("told")
            told.append(error.request_id)

    async with bench.another() as other, anyio.create_task_group() as group:
        group.start_soon(answer, bench.client, "approved", ANN)
        group.start_soon(answer, other, "approved", BOB)
    async with bench.another() as other, anyio.create_task_group() as group:
        group.start_soon(bench.client.drain)
        group.start_soon(other.drain)
        group.start_soon(bench.client.drain)

    assert told == [request.request_id]
    ended = await bench.now(run)
    (winner,) = [outcome for outcome in outcomes if outcome != "told"]
    assert len(outcomes) == 2
    assert published == ["the copy"]
    assert ended.status == "completed"
    assert ended.output == f"published for {winner.removeprefix('approved by ')}"


async def test_point_02_a_listener_that_fails_after_the_decision_is_retried_alone(
    bench: Bench,
) -> None:
    """The decision is kept, nothing before the listener runs again, and nobody is asked again."""
    ran: list[str] = []

    class Review(Flow):
        @start()
        def draft(self) -> str:
            ran.append("draft")
            return "copy"

        @listen(draft)
        @human_feedback("Publish?", emit=["approved", "rejected"])
        def review(self, copy: str) -> str:
            ran.append("review")
            return copy

        @listen("approved")
        def publish(self, result: HumanFeedbackResult) -> str:
            ran.append("publish")
            if ran.count("publish") == 1:
                raise OSError("the site is down")
            return f"published {result.output}: {result.feedback}"

    run = await bench.start(Review)
    await bench.answer("review", "approved", "Go")
    failed = await bench.now(run)
    assert failed.status == "failed"
    assert failed.failure is not None
    assert failed.failure.message == "the site is down"

    await bench.client.flows.retry(run.run_id)
    await bench.go()

    ended = await bench.now(run)
    assert (ended.status, ended.output) == ("completed", "published copy: Go")
    assert ran == ["draft", "review", "publish", "publish"]
    assert len(await bench.client.hitl.list_requests()) == 1


@dataclass
class Answering(Notifier):
    """A notifier behind which somebody sits who answers before the message is even sent."""

    client: list[Client] = field(default_factory=list[Client])
    seen: list[str] = field(default_factory=list[str])
    name: str = "answering"
    expects_reply: bool = False

    def reaches(self, recipient: str) -> bool:
        return True

    async def send(self, outgoing: Outgoing) -> str:
        (client,) = self.client
        request = await client.hitl.get_request(outgoing.request.request_id)
        self.seen.append(request.status)
        if request.status == "pending":
            await client.hitl.approve(request_id=request.request_id, reviewer=ANN)
        return "message-1"

    async def aclose(self) -> None:
        """Nothing is open."""


async def test_point_03_a_reply_that_comes_at_once_finds_its_request(bench: Bench) -> None:
    """The message goes out after the commit, so whoever has the message has the request."""

    class Review(Flow):
        @start()
        @human_feedback("Publish?", emit=["approved", "rejected"], assignees=[ANN])
        def review(self) -> str:
            return "copy"

        @listen("approved")
        def publish(self, result: HumanFeedbackResult) -> str:
            return f"published {result.output}"

    notifier = Answering()
    async with bench.another(notifier) as client:
        notifier.client.append(client)
        run = await client.flows.start(Review)
        report = await client.drain()

        assert report.errors == {}
        assert notifier.seen == ["pending"]
        assert (await client.flows.get(run.run_id)).output == "published copy"


@dataclass
class Failing(Notifier):
    """A notifier whose other side is down at first."""

    failures: int = 1
    sent: list[str] = field(default_factory=list[str])
    name: str = "failing"
    expects_reply: bool = False

    def reaches(self, recipient: str) -> bool:
        return True

    async def send(self, outgoing: Outgoing) -> str:
        if self.failures:
            self.failures -= 1
            raise NotifyError("the mail server is down", permanent=False)
        self.sent.append(outgoing.delivery.recipient)
        return "message-1"

    async def aclose(self) -> None:
        """Nothing is open."""


async def test_point_04_when_the_notifier_fails_the_request_stands_and_the_delivery_is_retried(
    bench: Bench,
) -> None:
    """The step is not run again for it, and the failure is reported."""
    ran: list[str] = []

    class Review(Flow):
        @start()
        @human_feedback("Publish?", emit=["approved", "rejected"], assignees=[ANN])
        def review(self) -> str:
            ran.append("review")
            return "copy"

    notifier = Failing()
    async with bench.another(notifier) as client:
        run = await client.flows.start(Review)
        await client.drain()
        (request,) = await client.hitl.list_requests(status="pending")
        assert (await client.flows.get(run.run_id)).status == "suspended"
        health = (await client.health()).notifiers["failing"]
        assert health.last_error == "the mail server is down"
        assert health.oldest_unsent is not None
        assert notifier.sent == []

        bench.clock.advance(timedelta(hours=1))
        await client.drain()

        assert notifier.sent == [ANN]
        assert (await client.health()).notifiers["failing"].oldest_unsent is None
        await client.hitl.approve(request_id=request.request_id, reviewer=ANN)
        await client.drain()
        assert (await client.flows.get(run.run_id)).output == "copy"
    assert ran == ["review"]


async def test_point_05_two_parallel_steps_suspend_and_an_and_over_them_fires(bench: Bench) -> None:
    """There are two requests and two notices, and both are answered, the later one first."""

    class Both(Flow):
        @start()
        @human_feedback("Legal?", emit=["lawful", "unlawful"], assignees=[ANN])
        def legal(self) -> str:
            return "terms"

        @start()
        @human_feedback("Finance?", emit=["affordable", "too_dear"], assignees=[BOB])
        def finance(self) -> str:
            return "price"

        @listen(and_("lawful", "affordable"))
        def sign(self, last: HumanFeedbackResult) -> list[object]:
            return [last.method_name, *[one.outcome for one in self.human_feedback_history]]

    notifier = Failing(failures=0)
    async with bench.another(notifier) as client:
        run = await client.flows.start(Both)
        await client.drain()
        assert sorted(notifier.sent) == [ANN, BOB]
        assert sorted(await bench.pending()) == ["finance", "legal"]
        for step, label in (("finance", "affordable"), ("legal", "lawful")):
            request = await bench.asked(step)
            await client.hitl.respond(
                request_id=request.request_id, outcome=label, reviewer=request.assignees[0]
            )
            await client.drain()

        ended = await client.flows.get(run.run_id)
    assert (ended.status, ended.output) == ("completed", ["legal", "affordable", "lawful"])


async def test_point_06_siblings_and_their_listeners_run_to_their_end_beside_a_suspension(
    bench: Bench,
) -> None:
    """Async and sync siblings alike end only after the gate's step has suspended."""
    asked = anyio.Event()
    in_thread = threading.Event()
    ran: list[str] = []

    class Beside(Flow):
        @start()
        @human_feedback("Publish?", emit=["approved", "rejected"])
        async def review(self) -> str:
            return "copy"

        @start()
        async def slowly(self) -> str:
            await asked.wait()
            in_thread.set()
            return "slow"

        @start()
        def in_a_thread(self) -> str:
            assert in_thread.wait(20)
            return "thread"

        @listen(slowly)
        async def after_slowly(self, output: str) -> None:
            ran.append(output)

        @listen(in_a_thread)
        def after_the_thread(self, output: str) -> None:
            ran.append(output)

    run = await bench.client.flows.start(Beside)
    async with anyio.create_task_group() as group:
        group.start_soon(bench.client.drain)
        while not await bench.pending():
            await anyio.lowlevel.checkpoint()
        asked.set()

    assert sorted(ran) == ["slow", "thread"]
    assert (await bench.now(run)).status == "suspended"
    await bench.approve("review")
    assert (await bench.now(run)).status == "completed"
    assert sorted(ran) == ["slow", "thread"]
