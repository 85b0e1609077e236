"""The queue of requests, as an application uses it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from signoff import Client, Evidence, Flow, Policy, human_feedback, listen, require_approval, start
from signoff.errors import (
    AlreadyDecidedError,
    ConfigurationError,
    DecisionError,
    InvalidEditError,
    NotAllowedError,
    NotFoundError,
    RequestCancelledError,
    RequestExpiredError,
    UnknownOutcomeError,
)
from signoff.model.request import Request
from signoff.testing import ManualClock

CFO = "cfo@acme.example"


@require_approval(name="hitl.pay", action="Pay {amount} to {vendor}", assignees=[CFO])
async def pay(vendor: str, amount: Decimal) -> str:
    """Stand in for a payment."""
    return f"paid {amount} to {vendor}"


class Ask(Flow, name="hitl.ask"):
    """A question to nobody in particular."""

    @start()
    @human_feedback(message="Well?", emit=["approved", "publish", "needs_revision"])
    def draft(self) -> str:
        """Return what is asked about."""
        return "a\ndraft"


class Free(Flow, name="hitl.free"):
    """A question that any text answers."""

    @start()
    @human_feedback(message="What do you think?")
    def draft(self) -> dict[str, int]:
        """Return what is asked about."""
        return {"pages": 3}

    @listen(draft)
    def after(self, result: Any) -> str:
        """Return what was said."""
        return f"{result.outcome} {result.feedback}"


@pytest.fixture(name="clock")
def _clock() -> ManualClock:
    return ManualClock()


@pytest.fixture(name="client")
async def _client(clock: ManualClock) -> AsyncIterator[Client]:
    async with Client(clock=clock) as client:
        yield client


async def asked(client: Client, flow: type[Flow] = Ask) -> Request:
    """Start a flow and return its request."""
    run = await client.flows.start(flow, requester="agent-7")
    await client.drain()
    (request,) = await client.hitl.list_requests(run_id=run.id)
    return request


async def test_a_request_shows_what_is_asked(client: Client, clock: ManualClock) -> None:
    """Every attribute that the documentation names."""
    request = await client.submit(pay, "acme", Decimal("9.50"))

    assert request.flow_name == "hitl.pay"
    assert request.method_name == "pay"
    assert request.message == "Pay 9.50 to acme"
    assert request.options == ("approved", "rejected")
    assert request.assignees == (CFO,)
    assert request.payload == {"vendor": "acme", "amount": Decimal("9.50")}
    assert isinstance(request.query, str)
    assert "acme" in request.query
    assert request.risk == "medium"
    assert (request.status, request.outcome, request.feedback) == ("pending", None, None)
    assert request.created_at == clock.now()
    assert request.expires_at == clock.now() + timedelta(days=7)
    assert (request.due_at, request.resolved_at) == (None, None)
    assert request.policy_name == "pay"
    assert request.payload_digest.startswith("sha256:")


async def test_the_query_of_a_text_of_two_lines_is_one_line(client: Client) -> None:
    """However long the payload, the list shows one line."""
    request = await asked(client)

    assert request.payload == "a\ndraft"
    assert "\n" not in request.query


async def test_pages_follow_each_other_by_their_cursor(client: Client, clock: ManualClock) -> None:
    """Oldest first, none twice, none left out; the last page has no cursor."""
    made: list[str] = []
    for _ in range(5):
        clock.advance(timedelta(seconds=1))
        made.append((await asked(client)).request_id)

    seen: list[str] = []
    cursor = None
    while True:
        page = await client.hitl.list_requests(status="pending", limit=2, cursor=cursor)
        seen += [request.request_id for request in page]
        cursor = page.cursor
        if cursor is None:
            break

    assert seen == made
    newest = await client.hitl.list_requests(limit=2, newest_first=True)
    assert [request.request_id for request in newest[:1]] == made[-1:]


async def test_a_page_is_a_sequence(client: Client, clock: ManualClock) -> None:
    """It can be indexed, sliced, counted and looped over."""
    first = await asked(client)
    clock.advance(timedelta(seconds=1))
    second = await asked(client)

    page = await client.hitl.list_requests()

    assert len(page) == 2
    assert page[0].request_id == first.request_id
    assert [one.request_id for one in page[1:]] == [second.request_id]
    assert [one.request_id for one in page] == [first.request_id, second.request_id]


@pytest.mark.parametrize("cursor", ["", "x", "!!!!", "AAAA", "A" * 80])
async def test_a_cursor_that_was_not_given_is_refused(client: Client, cursor: str) -> None:
    """A cursor is sealed."""
    if cursor:
        with pytest.raises(ValueError, match="cursor"):
            await client.hitl.list_requests(cursor=cursor)
    else:
        assert len(await client.hitl.list_requests(cursor=cursor)) == 0


async def test_a_cursor_of_another_query_is_refused(client: Client) -> None:
    """It would skip what the other filters show."""
    await asked(client)
    page = await client.hitl.list_requests(status="pending", limit=1)

    with pytest.raises(ValueError, match="cursor"):
        await client.hitl.list_requests(status="approved", limit=1, cursor=page.cursor)


@pytest.mark.parametrize("limit", [0, 201])
async def test_a_limit_out_of_range_is_refused(client: Client, limit: int) -> None:
    """One to two hundred."""
    with pytest.raises(ValueError, match="between 1 and 200"):
        await client.hitl.list_requests(limit=limit)


async def test_lists_filter_by_assignee_and_risk(client: Client) -> None:
    """An address is compared in lower case."""
    mine = await client.submit(pay, "acme", Decimal(1))
    await asked(client)

    page = await client.hitl.list_requests(assignee=" CFO@Acme.example ", risk="medium")

    assert [request.request_id for request in page] == [mine.request_id]
    assert len(await client.hitl.list_requests(risk="high")) == 0


async def test_an_answer_by_nobody_is_recorded_as_unidentified(client: Client) -> None:
    """Where nobody in particular is asked."""
    request = await asked(client)

    answered = await client.hitl.approve(request_id=request.request_id, reason="fine")

    assert answered.status == "approved"
    assert answered.decisions[0].reviewer == "api:unidentified"
    assert (answered.outcome, answered.feedback) == ("approved", "fine")


async def test_a_request_with_an_assignee_is_never_decided_by_nobody(client: Client) -> None:
    """The error says what to pass."""
    request = await client.submit(pay, "acme", Decimal(1))

    with pytest.raises(NotAllowedError, match="reviewer="):
        await client.hitl.approve(request_id=request.request_id)


async def test_a_stranger_and_the_requester_decide_nothing(client: Client) -> None:
    """Only who is asked."""
    request = await client.submit(pay, "acme", Decimal(1))

    with pytest.raises(NotAllowedError, match="neither an assignee nor an approver"):
        await client.hitl.approve(request_id=request.request_id, reviewer="x@acme.example")


async def test_the_clients_reviewer_answers_when_none_is_given() -> None:
    """A value, or something that is asked at each use."""
    logged_in = [CFO]
    async with Client(reviewer=lambda: logged_in[0].upper()) as client:  # noqa: PLW0108 - asked at each use
        request = await client.submit(pay, "acme", Decimal(1))
        answered = await client.hitl.approve(request_id=request.request_id)

    assert answered.decisions[0].reviewer == CFO


async def test_reject_takes_the_label_that_means_reject(client: Client) -> None:
    """And `UnknownOutcomeError` names the labels when there is none."""
    request = await client.submit(pay, "acme", Decimal(1))
    answered = await client.hitl.reject(
        request_id=request.request_id, reason="too much", reviewer=CFO
    )
    assert (answered.status, answered.feedback) == ("rejected", "too much")

    other = await asked(client)
    with pytest.raises(UnknownOutcomeError, match="publish") as caught:
        await client.hitl.reject(request_id=other.request_id)
    assert caught.value.options == ("approved", "publish", "needs_revision")


async def test_a_neutral_label_answers(client: Client) -> None:
    """Case, spaces and underscores do not matter."""
    request = await asked(client)

    answered = await client.hitl.respond(
        request_id=request.request_id, outcome="Needs Revision", feedback="Shorter"
    )

    assert (answered.status, answered.outcome) == ("answered", "needs_revision")
    assert answered.feedback == "Shorter"


async def test_any_text_answers_a_question_without_labels(client: Client) -> None:
    """As outcome, as feedback, or both; blank text is none."""
    request = await asked(client, Free)
    with pytest.raises(UnknownOutcomeError, match="blank"):
        await client.hitl.respond(request_id=request.request_id, feedback=" ")

    answered = await client.hitl.respond(request_id=request.request_id, feedback="nice")

    assert (answered.status, answered.outcome, answered.feedback) == ("answered", None, "nice")
    await client.drain()
    assert (await client.flows.get(request.run_id)).output == "None nice"


async def test_the_second_answer_learns_who_decided_and_when(
    client: Client, clock: ManualClock
) -> None:
    """The first one stands."""
    request = await asked(client)
    await client.hitl.approve(request_id=request.request_id, reviewer="first@acme.example")

    with pytest.raises(AlreadyDecidedError) as caught:
        await client.hitl.respond(request_id=request.request_id, outcome="publish")

    assert caught.value.outcome == "approved"
    assert caught.value.decided_by == "first@acme.example"
    assert caught.value.decided_at == clock.now()


async def test_an_answer_at_the_instant_of_expiry_is_too_late(
    client: Client, clock: ManualClock
) -> None:
    """Before and after the timer has ended the request."""
    request = await asked(client)
    clock.advance(timedelta(days=7))

    with pytest.raises(RequestExpiredError):
        await client.hitl.approve(request_id=request.request_id)
    await client.drain()
    with pytest.raises(RequestExpiredError) as caught:
        await client.hitl.approve(request_id=request.request_id)

    assert caught.value.expired_at == clock.now()


async def test_an_answer_a_microsecond_before_expiry_counts(
    client: Client, clock: ManualClock
) -> None:
    """Until then the request waits."""
    request = await asked(client)
    clock.advance(timedelta(days=7) - timedelta(microseconds=1))
    await client.drain()

    assert (await client.hitl.approve(request_id=request.request_id)).status == "approved"


async def test_an_edit_changes_some_arguments_and_runs_with_them(client: Client) -> None:
    """The others stay as they were, to the byte."""
    request = await client.submit(pay, "acme", Decimal("9.50"))

    answered = await client.hitl.approve(
        request_id=request.request_id, payload={"amount": Decimal("9.00")}, reviewer=CFO
    )
    await client.drain()

    assert answered.payload == {"vendor": "acme", "amount": Decimal("9.00")}
    assert answered.resolution is not None
    assert answered.resolution.edited
    assert (await client.flows.get(request.run_id)).output == "paid 9.00 to acme"


async def test_an_edit_that_changes_nothing_is_no_edit(client: Client) -> None:
    """The digest is the one that was asked."""
    request = await client.submit(pay, "acme", Decimal("9.50"))

    answered = await client.hitl.approve(
        request_id=request.request_id, payload={"vendor": "acme"}, reviewer=CFO
    )

    assert answered.resolution is not None
    assert not answered.resolution.edited
    assert answered.payload_digest == request.payload_digest


@pytest.mark.parametrize(
    ("payload", "named"),
    [
        ({"amount": "a lot"}, "amount"),
        ({"colour": "red"}, "colour"),
        ({"amount": object()}, "payload"),
    ],
)
async def test_an_edit_that_does_not_fit_changes_nothing(
    client: Client, payload: object, named: str
) -> None:
    """The error names the part."""
    request = await client.submit(pay, "acme", Decimal(1))

    with pytest.raises(InvalidEditError, match=named):
        await client.hitl.approve(request_id=request.request_id, payload=payload, reviewer=CFO)

    assert (await client.hitl.get_request(request.request_id)).status == "pending"


async def test_a_comment_decides_nothing(client: Client) -> None:
    """It stays on the request and in its history."""
    request = await asked(client)

    commented = await client.hitl.comment(
        request_id=request.request_id, text="Looking", author="me@acme.example"
    )
    await client.hitl.comment(request_id=request.request_id, text="again")

    assert commented.status == "pending"
    newest = await client.hitl.get_request(request.request_id)
    assert [(one.author, one.text) for one in newest.comments] == [
        ("me@acme.example", "Looking"),
        ("api:unidentified", "again"),
    ]


async def test_a_reassigned_request_is_decided_by_the_new_assignee_alone(client: Client) -> None:
    """The former one is a stranger."""
    request = await client.submit(pay, "acme", Decimal(1))

    await client.hitl.reassign(
        request_id=request.request_id, assignees=["Boss@acme.example"], by=CFO
    )

    with pytest.raises(NotAllowedError):
        await client.hitl.approve(request_id=request.request_id, reviewer=CFO)
    answered = await client.hitl.approve(
        request_id=request.request_id, reviewer="boss@acme.example"
    )
    assert answered.status == "approved"


async def test_reassigning_respects_who_is_assignable() -> None:
    """And nobody is no assignee."""
    policy = Policy(assignable=("boss@acme.example",))
    async with Client(policy=policy) as client:
        request = await client.submit(pay, "acme", Decimal(1))
        with pytest.raises(ConfigurationError, match="assignable"):
            await client.hitl.reassign(
                request_id=request.request_id, assignees=["other@acme.example"]
            )
        with pytest.raises(ConfigurationError, match="nobody"):
            await client.hitl.reassign(request_id=request.request_id, assignees=[" "])


async def test_a_withdrawn_request_fails_its_run(client: Client) -> None:
    """A late answer is told so."""
    request = await asked(client)

    cancelled = await client.hitl.cancel(request_id=request.request_id, by="me@acme.example")
    await client.drain()

    assert cancelled.status == "cancelled"
    with pytest.raises(RequestCancelledError, match="withdrawn"):
        await client.hitl.approve(request_id=request.request_id)
    run = await client.flows.get(request.run_id)
    assert run.status == "failed"
    assert run.failure is not None
    assert run.failure.type_name.endswith("ApprovalCancelled")


async def test_the_history_names_who_did_what_when(client: Client, clock: ManualClock) -> None:
    """Oldest first, one entry for each command."""
    request = await asked(client)
    clock.advance(timedelta(hours=1))
    await client.hitl.comment(request_id=request.request_id, text="Looking", author="me")
    await client.hitl.approve(request_id=request.request_id, reason="ok", reviewer="you")

    history = await client.hitl.history(request_id=request.request_id)

    assert [entry.event for entry in history] == [
        "request.opened",
        "request.commented",
        "request.approved",
    ]
    assert [entry.actor for entry in history] == ["agent-7", "me", "you"]
    assert history[-1].at == clock.now()
    assert history[-1].facts["feedback"] == "ok"
    assert b"you" not in history[-1].body


async def test_stats_count_every_status(client: Client) -> None:
    """Requests, runs, and what nobody here can advance."""
    one, two, _three = [await asked(client) for _ in range(3)]
    await client.hitl.approve(request_id=one.request_id)
    await client.hitl.respond(request_id=two.request_id, outcome="needs_revision")

    stats = await client.hitl.get_stats()

    assert (stats.pending, stats.approved, stats.answered) == (1, 1, 1)
    assert (stats.rejected, stats.expired, stats.cancelled) == (0, 0, 0)
    assert stats.runs == {"suspended": 3}
    assert stats.unclaimed == {}


async def test_wait_returns_the_request_once_it_has_ended(client: Client) -> None:
    """Or as it stands when the time is up."""
    request = await asked(client)

    waiting = await client.hitl.wait(request.request_id, timeout=timedelta(milliseconds=1))
    await client.hitl.approve(request_id=request.request_id)
    ended = await client.hitl.wait(request.request_id)

    assert (waiting.status, ended.status) == ("pending", "approved")


async def test_a_bare_question_has_no_run(client: Client) -> None:
    """`hitl.request` asks without a decorator."""
    request = await client.hitl.request(
        "Shall we?",
        payload={"cost": 3},
        assignees=[CFO],
        requester="agent-7",
        evidence=[Evidence(label="price", value="3")],
        policy=Policy(sla=timedelta(hours=1), name="spending"),
    )

    answered = await client.hitl.approve(request_id=request.request_id, reviewer=CFO)

    assert (request.run_id, request.payload, request.policy_name) == ("", {"cost": 3}, "spending")
    assert request.due_at == request.created_at + timedelta(hours=1)
    assert answered.status == "approved"
    assert (await client.drain()).advanced == ()


async def test_a_critical_question_is_refused(client: Client) -> None:
    """It takes a quorum."""
    with pytest.raises(ConfigurationError, match="quorum"):
        await client.hitl.request("?", payload=1, policy=Policy(risk="critical"))


async def test_a_request_that_does_not_exist_is_not_found(client: Client) -> None:
    """By any command."""
    with pytest.raises(NotFoundError, match="req_none"):
        await client.hitl.get_request("req_none")
    with pytest.raises(NotFoundError):
        await client.hitl.approve(request_id="req_none")
    assert issubclass(AlreadyDecidedError, DecisionError)
