"""The client for users' tests."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from signoff import (
    ApprovalExpired,
    ApprovalRejected,
    Client,
    Flow,
    HumanFeedbackResult,
    human_feedback,
    listen,
    require_approval,
    start,
    testing,
)
from signoff.errors import (
    AlreadyDecidedError,
    ConfigurationError,
    Hang,
    NotifyError,
    RequestExpiredError,
    RunCancelled,
)
from signoff.ports import Outgoing
from signoff.testing import ManualClock, MemoryMail, Reviewer

CFO = Reviewer("cfo@acme.example")


@require_approval(
    name="testing.pay", assignees=["cfo@acme.example"], expires_after=timedelta(days=1)
)
async def pay(vendor: str, amount: Decimal) -> str:
    """Stand in for a payment."""
    return f"paid {amount} to {vendor}"


class Spend(Flow, name="testing.spend"):
    """A flow that pays twice, and one more in a child."""

    @start()
    async def begin(self) -> str:
        """Pay, and let a child pay."""
        first = await pay("acme", Decimal(1))
        return f"{first}, {await Child().kickoff_async()}"


class Child(Flow, name="testing.child"):
    """A child flow."""

    @start()
    async def begin(self) -> str:
        """Pay."""
        return await pay("globex", Decimal(2))


class Chat(Flow, name="testing.chat"):
    """A question with three labels."""

    @start()
    @human_feedback(message="?", emit=["approved", "rejected", "needs_revision"])
    def ask(self) -> str:
        """Return what is asked about."""
        return str(self.state["topic"])

    @listen("needs_revision")
    def again(self, result: HumanFeedbackResult) -> str:
        """Return what was said."""
        return f"{result.output}: {result.feedback}"


async def test_a_gated_function_runs_after_the_scripted_yes() -> None:
    """The clock stands where the answer came."""
    async with testing.client(reviewers=[CFO.approves(after=timedelta(hours=2))]) as client:
        before = client.clock.now()

        assert await client.run(pay, "acme", Decimal(9)) == "paid 9 to acme"
        assert client.clock.now() == before + timedelta(hours=2)


async def test_a_flow_with_a_child_runs_to_its_end() -> None:
    """Requests of children are answered too."""
    async with testing.client(reviewers=[CFO.approves()]) as client:
        assert await client.run(Spend) == "paid 1 to acme, paid 2 to globex"


async def test_a_flow_takes_inputs_and_labels() -> None:
    """Inputs go into the state."""
    reviewer = Reviewer("anybody").answers_with("needs_revision", "shorter")
    async with testing.client(reviewers=[reviewer]) as client:
        assert await client.run(Chat, topic="tea") == "tea: shorter"


async def test_a_refusal_is_raised() -> None:
    """With its reason."""
    async with testing.client(reviewers=[CFO.rejects("too much")]) as client:
        with pytest.raises(ApprovalRejected) as caught:
            await client.run(pay, "acme", Decimal(9))

    assert caught.value.reason == "too much"


async def test_an_edit_runs_the_reviewers_arguments() -> None:
    """Not the caller's."""
    async with testing.client(reviewers=[CFO.edits({"amount": Decimal(5)})]) as client:
        assert await client.run(pay, "acme", Decimal(9)) == "paid 5 to acme"


async def test_silence_runs_into_the_expiry() -> None:
    """A silent reviewer is scripted, so this is no hang."""
    async with testing.client(reviewers=[CFO.approves().stays_silent()]) as client:
        with pytest.raises(ApprovalExpired):
            await client.run(pay, "acme", Decimal(9))

        assert client.clock.now() == ManualClock().now() + timedelta(days=1)


async def test_a_late_answer_is_refused_and_shown() -> None:
    """It is given all the same."""
    async with testing.client(reviewers=[CFO.approves(after=timedelta(days=2))]) as client:
        with pytest.raises(ApprovalExpired):
            await client.run(pay, "acme", Decimal(9))

        assert [type(error) for error in client.refused] == [RequestExpiredError]


async def test_an_answer_that_was_refused_is_named_where_its_request_expires() -> None:
    """A slip in an edit would look like silence otherwise."""
    slip = CFO.edits({"amuont": Decimal(5)})
    async with testing.client(reviewers=[slip]) as client:
        with pytest.raises(ApprovalExpired) as caught:
            await client.run(pay, "acme", Decimal(9))

        [note] = caught.value.__notes__
        assert note.startswith("In client.refused: InvalidEditError: ")
        assert "amuont" in note


async def test_a_second_answer_is_refused_and_shown() -> None:
    """The first one stands."""
    twice = CFO.approves().rejects(after=timedelta(hours=1))
    async with testing.client(reviewers=[twice]) as client:
        assert await client.run(pay, "acme", Decimal(9)) == "paid 9 to acme"

        assert [type(error) for error in client.refused] == [AlreadyDecidedError]


async def test_a_request_to_nobody_scripted_is_a_hang_that_names_it() -> None:
    """The error says what is pending and who is asked."""
    async with testing.client(reviewers=[Reviewer("other@acme.example").approves()]) as client:
        with pytest.raises(Hang, match="cfo@acme.example") as caught:
            await client.run(pay, "acme", Decimal(9))

        (request,) = await client.hitl.list_requests()
    assert caught.value.pending == (request.request_id,)


async def test_a_blocked_run_is_a_hang_that_says_why() -> None:
    """Nothing is going to happen by itself."""
    attempts: list[int] = []

    class Drifts(Flow, name="testing.drifts"):
        @start()
        async def begin(self) -> str:
            attempts.append(1)
            return await pay("acme", Decimal(len(attempts)))

    async with testing.client(reviewers=[CFO.approves()]) as client:
        with pytest.raises(Hang, match="blocked"):
            await client.run(Drifts)


async def test_a_scripted_reviewer_cannot_be_installed_in_another_client() -> None:
    """Not as a notifier of a real one."""
    with pytest.raises(ConfigurationError, match=r"testing\.client"):
        Client(notifiers=[CFO])  # type: ignore[list-item]  # that is what is refused


def test_a_manual_clock_moves_only_when_told() -> None:
    """Forwards, backwards, or to an instant, in UTC."""
    clock = ManualClock(datetime(2026, 3, 1, 12, tzinfo=UTC))

    assert clock.now() == clock.now()
    assert clock.advance(timedelta(hours=-1)) == datetime(2026, 3, 1, 11, tzinfo=UTC)
    assert clock.set(datetime(2027, 1, 1, tzinfo=UTC)) == clock.now()
    naive_instant = clock.now().replace(tzinfo=None)
    for naive in (lambda: clock.set(naive_instant), lambda: ManualClock(naive_instant)):
        with pytest.raises(ValueError, match="no time zone"):
            naive()


async def test_a_delivery_that_has_to_be_tried_again_is_not_forgotten() -> None:
    """The clock stops there on its way to the answer."""

    class Hears(MemoryMail):
        async def send(self, outgoing: Outgoing) -> str:
            if outgoing.delivery.attempts == 1:
                raise NotifyError("the server is away", permanent=False)
            return await super().send(outgoing)

    mail = Hears()
    reviewer = CFO.approves(after=timedelta(hours=2))
    async with testing.client(reviewers=[reviewer], notifiers=[mail]) as client:
        assert await client.run(pay, "acme", Decimal(9)) == "paid 9 to acme"

    assert [str(one["To"]) for one in mail.sent] == ["cfo@acme.example"]


async def test_a_refusal_is_returned_where_the_gate_says_so() -> None:
    """As to any other caller."""

    @require_approval(name="testing.lenient", assignees=["cfo@acme.example"], on_reject="return")
    async def lenient() -> str:
        return "done"

    async with testing.client(reviewers=[CFO.rejects("no")]) as client:
        refusal = await client.run(lenient)

    assert isinstance(refusal, ApprovalRejected)
    assert refusal.reason == "no"


async def test_a_flow_that_is_cancelled_raises_that() -> None:
    """By itself, here."""
    async with testing.client() as client:

        class Cancels(Flow, name="testing.cancels"):
            @start()
            async def begin(self) -> None:
                (run,) = await client.flows.list()
                await client.flows.cancel(run.run_id)

        with pytest.raises(RunCancelled):
            await client.run(Cancels)


def test_what_the_package_does_not_have_is_an_attribute_error() -> None:
    """The contract suites load late, and nothing else does."""
    assert testing.InboxContract.__name__ == "InboxContract"
    assert testing.StoreContract.__name__ == "StoreContract"
    assert testing.NotifierContract.__name__ == "NotifierContract"
    assert testing.EngineContract.__name__ == "EngineContract"
    name = "ClockContract"
    with pytest.raises(AttributeError, match=name):
        getattr(testing, name)


async def test_a_server_that_is_away_for_ever_does_not_keep_time_from_passing() -> None:
    """Each try is made when it is due, and the deadline comes all the same."""
    mail = MemoryMail()
    mail.error = NotifyError("the server is away", permanent=False)
    async with testing.client(reviewers=[CFO.stays_silent()], notifiers=[mail]) as client:
        with pytest.raises(ApprovalExpired):
            await client.run(pay, "acme", Decimal(9))

        assert client.clock.now() == ManualClock().now() + timedelta(days=1)
        (request,) = await client.hitl.list_requests()
        (asked,) = [
            one
            for one in await client._store.deliveries(request.request_id)
            if one.kind == "request"
        ]
        assert asked.attempts > 24
