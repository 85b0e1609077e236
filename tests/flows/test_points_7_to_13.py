"""What the others get wrong, points 7 to 13 of the flow semantics, in one process."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pytest

from signoff import Flow, HumanFeedbackResult, and_, human_feedback, listen, or_, start
from signoff.errors import (
    AlreadyDecidedError,
    ConfigurationError,
    RunError,
    UnknownOutcomeError,
)

if TYPE_CHECKING:
    from tests.flows.conftest import Bench

pytestmark = pytest.mark.parametrize("bench", ["memory", "sqlite"], indirect=True)

ANN = "ann@acme.example"


async def test_point_07_an_and_over_an_earlier_step_and_a_gate_fires_after_a_resume(
    bench: Bench,
) -> None:
    """What was seen of it before the suspension is still seen."""

    class Join(Flow):
        @start()
        def earlier(self) -> str:
            return "numbers"

        @start()
        @human_feedback("Publish?", emit=["approved", "rejected"])
        def review(self) -> str:
            return "copy"

        @listen(and_(earlier, "approved"))
        def publish(self, last: HumanFeedbackResult) -> list[object]:
            return [last.output, *self.method_outputs]

    run = await bench.start(Join)
    async with bench.another() as other:
        await bench.approve("review")
        await other.drain()

    assert (await bench.now(run)).output == ["copy", "numbers", "copy"]


async def test_point_08_a_gate_that_listens_to_an_or_asks_and_is_waited_for(bench: Bench) -> None:
    """It asks once for both branches, and nothing behind it runs before the answer."""
    ran: list[str] = []

    class Inside(Flow):
        @start()
        def one(self) -> str:
            return "one"

        @start()
        def two(self) -> str:
            return "two"

        @listen(or_(one, two))
        @human_feedback("Publish?", emit=["approved", "rejected"])
        def review(self, output: str) -> str:
            return output

        @listen("approved")
        def publish(self) -> None:
            ran.append("publish")

    await bench.start(Inside)
    assert await bench.pending() == ["review"]
    assert ran == []
    await bench.approve("review")
    assert ran == ["publish"]
    assert await bench.pending() == []


async def test_point_08_a_gate_beside_an_or_stays_open_when_another_source_fires_it(
    bench: Bench,
) -> None:
    """The listener has run for the other source; the run still waits for the gate."""
    ran: list[str] = []

    class Beside(Flow):
        @start()
        def quick(self) -> str:
            return "quick"

        @start()
        @human_feedback("Publish?", emit=["approved", "rejected"])
        def review(self) -> str:
            return "copy"

        @listen(or_(quick, "approved"))
        def either(self) -> None:
            ran.append("either")

        @listen("approved")
        def publish(self) -> None:
            ran.append("publish")

    run = await bench.start(Beside)
    assert ran == ["either"]
    assert (await bench.now(run)).status == "suspended"
    await bench.approve("review")
    assert ran == ["either", "publish"]
    assert (await bench.now(run)).status == "completed"


async def test_point_08_a_gate_that_its_own_label_leads_back_to_asks_each_time(
    bench: Bench,
) -> None:
    """A loop through an `or_` of a step and a label is armed again by what comes of its firing."""

    class Loop(Flow):
        @start()
        def draft(self) -> str:
            return "draft"

        @listen(or_(draft, "again"))
        @human_feedback("Publish?", emit=["approved", "again"])
        def review(self, previous: object) -> int:
            return len(self.human_feedback_history)

    run = await bench.start(Loop)
    for expected in range(3):
        assert (await bench.asked("review")).payload == expected
        await bench.answer("review", "again")
    await bench.approve("review")

    assert (await bench.now(run)).output == 3


class Revision(Flow):
    """A draft that is made anew until somebody approves it."""

    @start("needs_revision")
    def draft(self) -> str:
        """Return a draft that says how many were asked for before."""
        return f"draft {len(self.human_feedback_history) + 1}"

    @listen(draft)
    @human_feedback("Publish?", emit=["approved", "needs_revision"])
    def review(self, copy: str) -> str:
        """Ask about it."""
        return copy

    @listen("approved")
    def publish(self, result: HumanFeedbackResult) -> object:
        """Return what was approved."""
        return result.output


async def test_point_09_a_reply_to_the_first_draft_never_decides_the_second(bench: Bench) -> None:
    """The first request is answered for good, and the second one waits for its own answer."""
    run = await bench.start(Revision)
    first = await bench.answer("review", "needs_revision")

    with pytest.raises(AlreadyDecidedError):
        await bench.client.hitl.approve(request_id=first.request_id, reviewer=ANN)
    await bench.go()

    assert (await bench.asked("review")).payload == "draft 2"
    assert (await bench.now(run)).status == "suspended"
    await bench.approve("review")
    assert (await bench.now(run)).output == "draft 2"


async def test_point_09_a_second_run_with_the_same_id_is_refused_while_the_first_is_open(
    bench: Bench,
) -> None:
    """Afterwards the id is free again; another flow may have it meanwhile."""

    class Other(Flow):
        @start()
        def begin(self) -> str:
            return self.flow_id

    run = await bench.start(Revision, id="order-7")
    with pytest.raises(RunError, match="order-7.*is still open"):
        await bench.client.flows.start(Revision, inputs={"id": "order-7"})
    assert (await bench.start(Other, id="order-7")).output == "order-7"

    await bench.approve("review")
    assert (await bench.now(run)).status == "completed"
    again = await bench.start(Revision, id="order-7")
    assert again.status == "suspended"


@pytest.mark.parametrize("blank", ["", "  ", "\n\t", "..."])
async def test_point_10_a_blank_reply_never_approves(bench: Bench, blank: str) -> None:
    """It is refused with the choices, and the request waits on."""
    run = await bench.start(Revision)
    with pytest.raises(UnknownOutcomeError, match="approved, needs_revision"):
        await bench.answer("review", blank)
    await bench.go()

    assert await bench.pending() == ["review"]
    assert (await bench.now(run)).status == "suspended"


@pytest.mark.parametrize("text", ["approved", " Approved. ", "APPROVED!", "approve"])
async def test_point_10_a_reply_that_is_a_label_is_that_label(bench: Bench, text: str) -> None:
    """Case, space and end punctuation do not matter, and nobody interprets anything."""
    run = await bench.start(Revision)
    answered = await bench.answer("review", text)

    assert (answered.outcome, answered.feedback) == ("approved", "")
    assert (await bench.now(run)).output == "draft 1"


async def test_point_11_a_decision_its_text_its_author_and_its_time_are_kept_for_good(
    bench: Bench,
) -> None:
    """On the request and in its history, also when the run has long ended."""
    run = await bench.start(Revision)
    decided_at = bench.clock.now()
    answered = await bench.answer("review", "needs_revision", "Shorter, please")
    await bench.approve("review")
    assert (await bench.now(run)).status == "completed"

    async with bench.another() as later:
        request = await later.hitl.get_request(answered.request_id)
        (decision,) = request.decisions
        history = await later.hitl.history(request_id=request.request_id)
    assert (decision.label, decision.feedback) == ("needs_revision", "Shorter, please")
    assert (decision.reviewer, decision.decided_at) == (ANN, decided_at)
    assert [entry.facts["event"] for entry in history] == ["request.opened", "request.answered"]
    assert history[-1].personal == {"feedback": "Shorter, please", "actor": ANN}


async def test_point_12_another_class_never_takes_over_a_stored_name(bench: Bench) -> None:
    """It is refused when it is defined, so no run can ever resume with it."""

    class Mine(Flow, name="points:twelve"):
        @start()
        @human_feedback("Publish?")
        def review(self) -> str:
            return "mine"

    run = await bench.start(Mine)
    with pytest.raises(ConfigurationError, match="points:twelve.*belongs to.*Mine"):

        class Theirs(Flow, name="points:twelve"):
            @start()
            def review(self) -> str:
                return "theirs"

    await bench.answer("review", feedback="fine")
    ended = await bench.now(run)
    assert isinstance(ended.output, HumanFeedbackResult)
    assert ended.output.output == "mine"


def renamed(step: str) -> type[Flow]:
    """Define a flow anew, as a deploy does, with its one gate under another name."""

    @human_feedback("Publish?", emit=["approved", "rejected"])
    def review(self: Flow) -> str:
        return step

    review.__name__ = step
    return type("Renamed", (Flow,), {step: start()(review), "__qualname__": "Renamed"})


async def test_point_12_a_renamed_step_leaves_the_run_parked_with_the_reason(bench: Bench) -> None:
    """Nothing is lost: with the step back under its name, a retry goes on."""
    run = await bench.start(renamed("review"))
    renamed("check")
    await bench.approve("review")

    parked = await bench.now(run)
    assert (parked.status, parked.blocked_reason) == ("blocked", "code_missing")
    assert "no step 'review' any more; it has check" in parked.blocked_detail

    renamed("review")
    await bench.client.flows.retry(run.run_id)
    await bench.go()
    assert (await bench.now(run)).output == "review"


class Colour(Enum):
    """A closed set."""

    RED = "red"


@dataclass(frozen=True)
class Money:
    """A record."""

    amount: Decimal
    colours: tuple[Colour, ...]


RICH: dict[str, object] = {
    "decimal": Decimal("1.50"),
    "zoned": datetime(2026, 3, 29, 2, 30, tzinfo=ZoneInfo("Europe/Berlin")),
    "utc": datetime(2026, 3, 29, tzinfo=UTC),
    "date": date(2026, 1, 5),
    "tuple": (1, ("a", b"b")),
    "set": {1, 2},
    "enum": Colour.RED,
    "record": Money(Decimal("9.90"), (Colour.RED,)),
    "keys": {1: "one", "$": "dollar"},
}


async def test_point_13_history_and_outputs_survive_a_resume_and_values_keep_their_types(
    bench: Bench,
) -> None:
    """State, outputs, payloads and metadata alike."""

    class Typed(Flow):
        @start()
        def make(self) -> Money:
            self.state["rich"] = RICH
            return Money(Decimal("9.90"), (Colour.RED,))

        @listen(make)
        @human_feedback("Publish?", emit=["approved", "rejected"], metadata={"limit": Decimal(5)})
        def review(self, money: Money) -> dict[str, object]:
            return {**RICH, "money": money}

        @listen("approved")
        def publish(self, result: HumanFeedbackResult) -> list[object]:
            return [result, self.last_human_feedback, self.method_outputs, self.state["rich"]]

    run = await bench.start(Typed)
    await bench.answer("review", "approved", "Good")

    output = (await bench.now(run)).output
    money = Money(Decimal("9.90"), (Colour.RED,))
    assert isinstance(output, list)
    result, last, outputs, rich = output
    assert isinstance(result, HumanFeedbackResult)
    assert result == last
    assert (result.outcome, result.feedback, result.reviewer) == ("approved", "Good", ANN)
    assert (result.timestamp, result.method_name) == (bench.clock.now(), "review")
    assert (result.channel, result.edited, dict(result.metadata)) == ("api", False, {"limit": 5})
    assert isinstance(result.metadata["limit"], Decimal)
    assert outputs == [money, {**RICH, "money": money}]
    assert rich == RICH
    for name, value in RICH.items():
        assert type(rich[name]) is type(value), name
    assert rich["zoned"].tzinfo.key == "Europe/Berlin"
