"""What each command does to a request: exactly this transition, or exactly this error."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from signoff.errors import (
    AlreadyDecidedError,
    DecisionError,
    InvalidEditError,
    NotAllowedError,
    RequestCancelledError,
    RequestExpiredError,
    UnknownOutcomeError,
)
from signoff.model.policy import Policy
from signoff.model.request import Request
from signoff.rules.lifecycle import (
    Cancel,
    Command,
    Expire,
    Notice,
    Reassign,
    Remark,
    Respond,
    choice_of,
    decide,
    ensure_open,
)
from signoff.testing.builders import HOUR, MICROSECOND, NOON, a_request

ANN, BOB = "ann@acme.example", "bob@acme.example"
CHOICES = (
    {"label": "approved", "meaning": "approve"},
    {"label": "rejected", "meaning": "reject"},
    {"label": "later", "meaning": "neutral"},
)


def asked(**given: object) -> Request:
    """Return a request put to Ann, that expires in an hour."""
    fields = {"choices": CHOICES, "assignees": (ANN,), "expires_at": NOON + HOUR}
    return a_request(**{**fields, **given})


def answer(label: str = "approved", **given: object) -> Respond:
    """Return Ann's answer by the API."""
    fields = {
        "label": label,
        "feedback": "fine",
        "reviewer": ANN,
        "channel": "api",
        "proof": "authenticated",
    }
    return Respond(**{**fields, **given})  # type: ignore[arg-type]  # any fields


@pytest.mark.parametrize(
    ("label", "status"), [("approved", "approved"), ("rejected", "rejected"), ("later", "answered")]
)
def test_an_answer_ends_the_request_with_all_its_facts(label: str, status: str) -> None:
    """The status is the label's meaning; vote, resolution and audit facts say the same."""
    request = asked(policy_digest="sha256:pol", valid_for_seconds=60.0)
    now = NOON + timedelta(minutes=1)
    done = decide(request, answer(label), now)

    after = done.request
    assert (after.version, after.status, after.outcome) == (2, status, label)
    assert (after.feedback, after.resolved_at) == ("fine", now)
    assert (after.payload_json, after.payload_digest) == (
        request.payload_json,
        request.payload_digest,
    )
    (vote,) = after.decisions
    assert vote.model_dump() == {
        "format": vote.format,
        "label": label,
        "feedback": "fine",
        "reviewer": ANN,
        "channel": "api",
        "proof": "authenticated",
        "decided_at": now,
        "payload_digest": request.payload_digest,
        "edited": False,
        "seal": None,
    }
    end = after.resolution
    assert end is not None
    assert end.valid_until == now + timedelta(minutes=1)
    assert (end.status, end.outcome, end.feedback, end.reviewer) == (status, label, "fine", ANN)
    assert (end.channel, end.resolved_at, end.edited, end.reason) == ("api", now, False, "")
    assert end.payload_digest == request.payload_digest
    assert (done.event, done.actor, done.ended) == (f"request.{status}", ANN, True)
    assert done.facts == {
        "outcome": label,
        "channel": "api",
        "proof": "authenticated",
        "payload_digest": request.payload_digest,
        "policy_digest": "sha256:pol",
        "edited": False,
    }
    assert done.personal == {"feedback": "fine"}
    assert (done.revokes, done.asks, done.notices) == (False, (), ())


def test_free_text_is_an_answer_without_a_label() -> None:
    """A request without labels takes any, and has no outcome."""
    after = decide(asked(choices=()), answer(""), NOON).request

    assert (after.status, after.outcome, after.feedback) == ("answered", None, "fine")


def test_nobody_in_particular_is_recorded_with_the_channel() -> None:
    """Where nobody is assigned, an answer without a name counts at low risk."""
    done = decide(asked(assignees=(), risk="low"), answer(reviewer=None, proof="none"), NOON)

    assert done.actor == "api:unidentified"
    assert done.request.decisions[0].reviewer == "api:unidentified"


@pytest.mark.parametrize("label", ["", "yes", "APPROVED", "approve"])
def test_an_answer_is_exactly_one_of_the_labels(label: str) -> None:
    """The channels have read it; here nothing is guessed."""
    with pytest.raises(UnknownOutcomeError) as unknown:
        decide(asked(), answer(label), NOON)

    assert (unknown.value.outcome, unknown.value.options) == (
        label,
        ("approved", "rejected", "later"),
    )
    assert "is not one of the labels" in str(unknown.value)


def test_a_label_is_found_with_its_meaning() -> None:
    """By its exact text."""
    assert choice_of(asked(), "rejected").meaning == "reject"


@pytest.mark.parametrize(("reviewer", "name"), [(BOB, BOB), (None, "api:unidentified")])
def test_who_may_not_decide_changes_nothing(reviewer: str | None, name: str) -> None:
    """The error says who tried and why not."""
    with pytest.raises(NotAllowedError) as refused:
        decide(asked(), answer(reviewer=reviewer), NOON)

    assert refused.value.reviewer == name
    assert refused.value.reason in str(refused.value)


def test_an_approver_of_the_policy_may_decide() -> None:
    """Beside the assignees."""
    request = asked(policy=Policy(approvers=(BOB,)))

    assert decide(request, answer(reviewer=BOB), NOON).request.status == "approved"


def test_an_answer_to_another_payload_than_was_shown_is_refused() -> None:
    """A mail that shows the former one decides nothing."""
    request = asked()
    assert decide(request, answer(seen_digest=request.payload_digest), NOON).ended
    with pytest.raises(InvalidEditError, match="payload: it was changed since it was shown"):
        decide(request, answer(seen_digest="sha256:00"), NOON)


@pytest.mark.parametrize("label", ["approved", "later"])
def test_an_edit_is_part_of_the_vote(label: str) -> None:
    """The new payload is what is approved, and its digest is everywhere."""
    edit = answer(label, payload_json='{"amount":8}', payload_digest="sha256:08")
    done = decide(asked(), edit, NOON)
    after = done.request

    assert (after.payload_json, after.payload_digest) == ('{"amount":8}', "sha256:08")
    assert after.proposed_digest == asked().proposed_digest
    assert (after.decisions[0].edited, after.decisions[0].payload_digest) == (True, "sha256:08")
    assert after.resolution is not None
    assert (after.resolution.edited, after.resolution.payload_digest) == (True, "sha256:08")
    assert (done.facts["edited"], done.facts["payload_digest"]) == (True, "sha256:08")


def test_a_refusal_edits_nothing_and_some_payloads_stay_as_they_are() -> None:
    """Neither by mistake nor by design."""
    edit = {"payload_json": '{"amount":8}', "payload_digest": "sha256:08"}
    with pytest.raises(InvalidEditError, match="a refusal cannot change the payload"):
        decide(asked(), answer("rejected", **edit), NOON)
    with pytest.raises(InvalidEditError, match="this request's payload may not be changed"):
        decide(asked(editable=False), answer(**edit), NOON)
    assert decide(asked(editable=False), answer(), NOON).ended


def test_a_remark_decides_nothing_even_on_a_request_that_has_ended() -> None:
    """It is added to the comments, oldest first."""
    remark = Remark(author=BOB, text="why?", channel="email")
    done = decide(asked(), remark, NOON)
    ended = decide(decide(done.request, answer(), NOON).request, remark, NOON + HOUR * 2)

    (comment,) = done.request.comments
    assert (comment.author, comment.text, comment.channel) == (BOB, "why?", "email")
    assert comment.written_at == NOON
    assert (done.request.version, done.request.status, done.ended) == (2, "pending", False)
    assert (done.event, done.actor) == ("request.commented", BOB)
    assert (done.facts, done.personal) == ({"channel": "email"}, {"text": "why?"})
    assert (len(ended.request.comments), ended.request.version) == (2, 4)
    assert ended.request.status == "approved"


@pytest.mark.parametrize(
    ("command", "now", "status", "by", "channel", "reason"),
    [
        (Cancel(by=BOB, reason="withdrawn"), NOON, "cancelled", BOB, "api", "withdrawn"),
        (
            Cancel(by="flow", reason="superseded", channel="timer"),
            NOON + 2 * HOUR,
            "cancelled",
            "flow",
            "timer",
            "superseded",
        ),
        (Expire(), NOON + HOUR, "expired", "timer", "timer", "nobody answered"),
    ],
)
def test_an_end_without_an_answer_tells_who_was_asked(
    command: Command, now: datetime, status: str, by: str, channel: str, reason: str
) -> None:
    """Cancelled at any time, expired at and after its instant; there is no vote and no leave."""
    done = decide(asked(assignees=(ANN, BOB)), command, now)
    end = done.request.resolution

    assert end is not None
    assert (done.request.status, done.request.version, done.request.decisions) == (status, 2, ())
    assert (end.status, end.outcome, end.feedback, end.valid_until) == (status, "", "", None)
    assert (end.reviewer, end.channel, end.reason) == (by, channel, reason)
    assert (end.resolved_at, end.payload_digest) == (now, asked().payload_digest)
    assert (done.event, done.actor, done.ended) == (f"request.{status}", by, True)
    assert done.facts == {"reason": reason, "channel": channel}
    assert done.notices == tuple(
        Notice(kind=status, recipient=who, note={"reason": reason})  # type: ignore[arg-type]  # one of the kinds
        for who in (ANN, BOB)
    )


def test_an_expiry_takes_the_label_that_was_set_for_it() -> None:
    """`on_expiry` is the outcome of an expired request, and of no other end."""
    request = asked(on_expiry="rejected")

    assert decide(request, Expire(), NOON + HOUR).request.outcome == "rejected"
    assert decide(request, Cancel(by=BOB, reason="withdrawn"), NOON).request.outcome is None


@pytest.mark.parametrize("expires_at", [NOON + HOUR, None])
def test_it_does_not_expire_before_its_time(expires_at: object) -> None:
    """The sweep may be early by a clock that was set back."""
    with pytest.raises(DecisionError, match="its time is not up yet") as early:
        decide(asked(expires_at=expires_at), Expire(), NOON + HOUR - MICROSECOND)

    assert type(early.value) is DecisionError


def test_others_may_be_asked_instead() -> None:
    """The former tokens are void, and the request goes out to the new ones."""
    done = decide(asked(), Reassign(by=ANN, assignees=(BOB,)), NOON)

    assert (done.request.assignees, done.request.version) == ((BOB,), 2)
    assert (done.revokes, done.asks, done.ended) == (True, (BOB,), False)
    assert (done.event, done.actor) == ("request.reassigned", ANN)
    assert (done.facts, done.personal) == ({"channel": "api"}, {"assignees": BOB})
    with pytest.raises(NotAllowedError):
        decide(done.request, answer(), NOON)


COMMANDS: dict[str, Command] = {
    "respond": answer(),
    "reassign": Reassign(by=ANN, assignees=(BOB,)),
    "cancel": Cancel(by=ANN, reason="withdrawn"),
    "expire": Expire(),
}


def approved() -> Request:
    """Return a request that Ann has approved."""
    return decide(asked(), answer(), NOON).request


def cancelled() -> Request:
    """Return a request that was taken back."""
    return decide(asked(), Cancel(by=BOB, reason="run cancelled"), NOON).request


def expired() -> Request:
    """Return a request that nobody answered, with a label for that."""
    return decide(asked(on_expiry="later"), Expire(), NOON + HOUR).request


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize(
    ("make", "error", "facts"),
    [
        (
            approved,
            AlreadyDecidedError,
            {"outcome": "approved", "decided_by": ANN, "decided_at": NOON},
        ),
        (cancelled, RequestCancelledError, {"reason": "run cancelled"}),
        (expired, RequestExpiredError, {"expired_at": NOON + HOUR}),
    ],
)
def test_what_has_ended_stays_as_it_is(
    name: str, make: Callable[[], Request], error: type[DecisionError], facts: dict[str, object]
) -> None:
    """Every command that would change it is told how it ended, whatever the time."""
    with pytest.raises(error) as refused:
        decide(make(), COMMANDS[name], NOON + 2 * HOUR)

    assert {fact: getattr(refused.value, fact) for fact in facts} == facts


@pytest.mark.parametrize("name", ["respond", "reassign"])
def test_from_the_instant_of_expiry_no_answer_counts(name: str) -> None:
    """Even if no sweep has ended the request yet."""
    assert decide(asked(), COMMANDS[name], NOON + HOUR - MICROSECOND).request.version == 2
    with pytest.raises(RequestExpiredError) as late:
        decide(asked(), COMMANDS[name], NOON + HOUR)

    assert late.value.expired_at == NOON + HOUR


def test_an_end_without_a_label_is_told_by_its_status() -> None:
    """A free answer has no outcome that one could name."""
    ended = decide(asked(choices=()), answer(""), NOON).request
    with pytest.raises(AlreadyDecidedError) as decided:
        ensure_open(ended, NOON)

    assert decided.value.outcome == "answered"


EMAIL = {"channel": "email", "proof": "sender"}


@pytest.mark.parametrize(
    ("given", "command", "minutes", "said"),
    [
        (
            {},
            answer("yes"),
            0,
            "'yes' is not one of the labels; the choices are approved, rejected, later",
        ),
        (
            {"editable": False},
            answer(payload_json="{}"),
            0,
            "the edit was not accepted: payload: this request's payload may not be changed",
        ),
        (
            {},
            answer("rejected", payload_json="{}"),
            0,
            "the edit was not accepted: payload: a refusal cannot change the payload",
        ),
        (
            {},
            answer(seen_digest="sha256:other"),
            0,
            "the edit was not accepted: payload: it was changed since it was shown",
        ),
        (
            {"risk": "high"},
            answer(**EMAIL),
            0,
            f"{ANN} may not decide: an answer by email (sender) may not decide a request of high risk",
        ),
        ({}, answer(), 60, "expired at 2026-03-02T13:00:00+00:00; ask anew"),
        ({}, Expire(), 0, "its time is not up yet"),
    ],
)
def test_a_refusal_says_which_request_and_why(
    given: dict[str, object], command: Command, minutes: int, said: str
) -> None:
    """In the whole message, and as attributes."""
    request = asked(**given)

    with pytest.raises(DecisionError) as refused:
        decide(request, command, NOON + timedelta(minutes=minutes))

    assert str(refused.value) == f"{request.request_id}: {said}"
    assert refused.value.request_id == request.request_id
    if isinstance(refused.value, InvalidEditError):
        assert refused.value.field == "payload"


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (answer(), f"already decided: 'approved' by {ANN} at 2026-03-02T12:00:00+00:00"),
        (
            Cancel(by="flow", reason="superseded", channel="timer"),
            "cancelled (superseded); the answer was not needed any more",
        ),
        (Expire(), "expired at 2026-03-02T13:00:00+00:00; ask anew"),
    ],
)
def test_an_answer_that_comes_too_late_hears_how_it_ended(command: Command, said: str) -> None:
    """Which request it was, who decided, and when."""
    request = asked()
    at = NOON + HOUR if isinstance(command, Expire) else NOON
    ended = decide(request, command, at).request

    with pytest.raises(DecisionError) as refused:
        decide(ended, answer(), NOON)

    assert str(refused.value) == f"{request.request_id}: {said}"
    assert refused.value.request_id == request.request_id


def test_all_new_assignees_are_named() -> None:
    """In the audit entry, apart from what is kept for ever."""
    command = Reassign(assignees=(ANN, BOB), by="api:unidentified", channel="api")

    assert decide(asked(), command, NOON).personal == {"assignees": f"{ANN}, {BOB}"}
