"""What a command does to a request, case by case and against a plain model of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from signoff.errors import (
    AlreadyDecidedError,
    DecisionError,
    InvalidEditError,
    NotAllowedError,
    RequestCancelledError,
    RequestExpiredError,
    UnknownOutcomeError,
)
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
from signoff.testing.builders import HOUR, NOON, a_request

TICK = timedelta(microseconds=1)
CFO, BOSS = "cfo@acme.example", "boss@acme.example"
CHOICES = (
    {"label": "approve", "meaning": "approve"},
    {"label": "reject", "meaning": "reject"},
    {"label": "revise", "meaning": "neutral"},
)


def asked(**given: object) -> Request:
    """Return a pending request with three labels that expires an hour after noon."""
    return a_request(
        **{"choices": CHOICES, "expires_at": NOON + HOUR, "valid_for_seconds": 60.0, **given}
    )


def answer(label: str = "approve", **given: object) -> Respond:
    """Return the CFO's answer through the application."""
    fields: dict[str, object] = {
        "label": label,
        "feedback": "words",
        "reviewer": CFO,
        "channel": "api",
        "proof": "authenticated",
    }
    return Respond(**{**fields, **given})  # type: ignore[arg-type]  # fields by name


@pytest.mark.parametrize(
    ("label", "status"), [("approve", "approved"), ("reject", "rejected"), ("revise", "answered")]
)
def test_an_answer_ends_the_request_by_the_meaning_of_its_label(label: str, status: str) -> None:
    """The vote and the resolution say the same."""
    before = asked()

    done = decide(before, answer(label), NOON)

    after = done.request
    assert (after.status, after.version, after.outcome) == (status, before.version + 1, label)
    assert after.resolution is not None
    (vote,) = after.decisions
    for record in (vote, after.resolution):
        assert (record.reviewer, record.channel, record.feedback) == (CFO, "api", "words")
        assert record.payload_digest == before.payload_digest
        assert not record.edited
    assert (vote.label, vote.proof, vote.decided_at) == (label, "authenticated", NOON)
    assert after.resolution.status == status
    assert after.resolution.resolved_at == NOON
    assert after.resolution.valid_until == NOON + timedelta(minutes=1)
    assert after.payload_json == before.payload_json
    assert (done.event, done.actor, done.ended, done.revokes) == (
        f"request.{status}",
        CFO,
        True,
        False,
    )
    assert done.facts == {
        "outcome": label,
        "channel": "api",
        "proof": "authenticated",
        "payload_digest": before.payload_digest,
        "policy_digest": before.policy_digest,
        "edited": False,
    }
    assert done.personal == {"feedback": "words"}
    assert (done.asks, done.notices) == ((), ())


def test_an_edit_is_part_of_the_answer() -> None:
    """One act: the payload is the new one, and the vote is for it."""
    done = decide(asked(), answer(payload_json="2", payload_digest="sha256:2"), NOON)

    after = done.request
    assert (after.payload_json, after.payload_digest) == ("2", "sha256:2")
    assert after.proposed_digest == asked().proposed_digest
    assert after.decisions[0].edited
    assert after.decisions[0].payload_digest == "sha256:2"
    assert after.resolution is not None
    assert after.resolution.edited
    assert after.resolution.payload_digest == "sha256:2"
    assert done.facts["edited"] is True


def test_a_refusal_cannot_edit_and_a_fixed_payload_is_not_edited() -> None:
    """The errors say which."""
    edit = {"payload_json": "2", "payload_digest": "sha256:2"}

    with pytest.raises(InvalidEditError, match="refusal cannot change") as refused:
        decide(asked(), answer("reject", **edit), NOON)
    with pytest.raises(InvalidEditError, match="may not be changed"):
        decide(asked(editable=False), answer(**edit), NOON)

    assert refused.value.field == "payload"
    assert decide(asked(), answer("revise", **edit), NOON).request.status == "answered"
    assert decide(asked(editable=False), answer(), NOON).request.status == "approved"


def test_an_answer_to_another_payload_is_refused() -> None:
    """What was shown is what is approved."""
    with pytest.raises(InvalidEditError, match="changed since it was shown") as caught:
        decide(asked(), answer(seen_digest="sha256:other"), NOON)

    assert caught.value.field == "payload"
    seen = decide(asked(), answer(seen_digest=asked().payload_digest), NOON)
    assert seen.request.status == "approved"


def test_a_label_is_compared_exactly() -> None:
    """Reading words is done before."""
    with pytest.raises(UnknownOutcomeError, match="not one of the labels") as caught:
        decide(asked(), answer("Approve"), NOON)

    assert caught.value.outcome == "Approve"
    assert caught.value.options == ("approve", "reject", "revise")
    assert choice_of(asked(), "revise").meaning == "neutral"


def test_free_text_answers_a_request_without_labels() -> None:
    """Whatever it says."""
    done = decide(asked(choices=()), answer("", feedback="hm"), NOON)

    assert (done.request.status, done.request.outcome) == ("answered", None)
    assert done.request.feedback == "hm"


def test_an_unnamed_answer_is_recorded_as_unidentified_or_refused() -> None:
    """By its channel."""
    nobody = answer(reviewer=None, proof="none", channel="web")

    done = decide(asked(assignees=()), nobody, NOON)
    with pytest.raises(NotAllowedError, match="named reviewer") as caught:
        decide(asked(), nobody, NOON)

    assert done.actor == "web:unidentified"
    assert done.request.decisions[0].reviewer == "web:unidentified"
    assert caught.value.reviewer == "web:unidentified"
    assert "named reviewer" in caught.value.reason


def test_a_stranger_is_refused_by_name() -> None:
    """The error says who and why."""
    with pytest.raises(NotAllowedError) as caught:
        decide(asked(), answer(reviewer=BOSS), NOON)

    assert (caught.value.reviewer, caught.value.reason) == (
        BOSS,
        "is neither an assignee nor an approver",
    )


def test_an_answer_counts_until_the_instant_of_expiry() -> None:
    """At it, it is too late."""
    assert decide(asked(), answer(), NOON + HOUR - TICK).request.status == "approved"
    with pytest.raises(RequestExpiredError) as caught:
        decide(asked(), answer(), NOON + HOUR)

    assert caught.value.expired_at == NOON + HOUR
    assert decide(asked(expires_at=None), answer(), NOON + 99 * HOUR).request.status == "approved"


def test_a_remark_is_kept_whatever_the_status() -> None:
    """It decides nothing and ends nothing."""
    ended = decide(asked(), answer(), NOON).request

    for request in (asked(), ended):
        done = decide(request, Remark(author=BOSS, text="hm", channel="email"), NOON)
        (comment,) = done.request.comments
        assert (comment.author, comment.text, comment.channel) == (BOSS, "hm", "email")
        assert comment.written_at == NOON
        assert done.request.status == request.status
        assert done.request.version == request.version + 1
        assert (done.event, done.actor) == ("request.commented", BOSS)
        assert (done.facts, done.personal) == ({"channel": "email"}, {"text": "hm"})
        assert (done.ended, done.revokes, done.notices) == (False, False, ())


def test_a_cancel_ends_the_request_and_tells_who_was_asked() -> None:
    """Even when its expiry has passed unnoticed."""
    cancel = Cancel(by=BOSS, reason="withdrawn", channel="web")
    done = decide(asked(assignees=(CFO, BOSS)), cancel, NOON + 9 * HOUR)

    end = done.request.resolution
    assert end is not None
    assert (done.request.status, end.status, end.reason) == ("cancelled", "cancelled", "withdrawn")
    assert (end.reviewer, end.channel, end.resolved_at) == (BOSS, "web", NOON + 9 * HOUR)
    assert (end.outcome, end.valid_until, end.payload_digest) == ("", None, asked().payload_digest)
    assert done.request.version == asked().version + 1
    assert done.notices == tuple(
        Notice(kind="cancelled", recipient=each, note={"reason": "withdrawn"})
        for each in (CFO, BOSS)
    )
    assert (done.event, done.actor, done.ended) == ("request.cancelled", BOSS, True)
    assert done.facts == {"reason": "withdrawn", "channel": "web"}


def test_the_timer_ends_a_request_at_its_instant_and_not_before() -> None:
    """With the label that an unanswered request takes, where there is one."""
    done = decide(asked(), Expire(), NOON + HOUR)
    routed = decide(asked(on_expiry="revise"), Expire(), NOON + HOUR)

    end = done.request.resolution
    assert end is not None
    assert (done.request.status, end.status, end.outcome) == ("expired", "expired", "")
    assert (end.reviewer, end.channel, end.reason) == ("timer", "timer", "nobody answered")
    assert done.notices == (
        Notice(kind="expired", recipient=CFO, note={"reason": "nobody answered"}),
    )
    assert routed.request.outcome == "revise"
    for request, now in ((asked(), NOON + HOUR - TICK), (asked(expires_at=None), NOON)):
        with pytest.raises(DecisionError, match="not up yet"):
            decide(request, Expire(), now)


def test_reassigning_asks_others_and_voids_what_was_sent() -> None:
    """The request itself stays pending."""
    done = decide(asked(), Reassign(by=CFO, assignees=(BOSS, "x@y.example"), channel="web"), NOON)

    assert done.request.assignees == done.asks == (BOSS, "x@y.example")
    assert (done.request.status, done.request.version) == ("pending", asked().version + 1)
    assert (done.event, done.actor, done.revokes, done.ended) == (
        "request.reassigned",
        CFO,
        True,
        False,
    )
    assert done.facts == {"channel": "web"}
    assert done.personal == {"assignees": f"{BOSS}, x@y.example"}
    with pytest.raises(RequestExpiredError):
        decide(asked(), Reassign(by=CFO, assignees=(BOSS,)), NOON + HOUR)


@pytest.mark.parametrize(
    ("end", "error"),
    [
        (answer(), AlreadyDecidedError),
        (Cancel(by=BOSS, reason="superseded"), RequestCancelledError),
        (Expire(), RequestExpiredError),
    ],
    ids=["decided", "cancelled", "expired"],
)
@pytest.mark.parametrize(
    "late",
    [
        answer("reject"),
        Cancel(by=CFO, reason="withdrawn"),
        Expire(),
        Reassign(by=CFO, assignees=()),
    ],
    ids=["answer", "cancel", "expire", "reassign"],
)
def test_nothing_changes_a_request_that_has_ended(
    end: Command, error: type[DecisionError], late: Command
) -> None:
    """The error tells how it ended."""
    ended = decide(asked(), end, NOON + HOUR if isinstance(end, Expire) else NOON).request

    with pytest.raises(error) as caught:
        decide(ended, late, NOON)

    found = caught.value
    assert found.request_id == ended.request_id
    if isinstance(found, AlreadyDecidedError):
        assert (found.outcome, found.decided_by, found.decided_at) == ("approve", CFO, NOON)
    if isinstance(found, RequestCancelledError):
        assert found.reason == "superseded"
    if isinstance(found, RequestExpiredError):
        assert found.expired_at == NOON + HOUR


def test_a_decision_in_free_text_is_told_by_its_status() -> None:
    """There is no label to name."""
    ended = decide(asked(choices=()), answer("", feedback="hm"), NOON).request

    with pytest.raises(AlreadyDecidedError) as caught:
        ensure_open(ended, NOON)

    assert caught.value.outcome == "answered"


@dataclass
class Model:
    """A request, as plainly as it can be put."""

    status: str = "pending"
    assignees: frozenset[str] = frozenset({CFO})
    votes: int = 0
    comments: int = 0
    version: int = 1
    expires_at: datetime = NOON + HOUR
    digests: list[str] = field(default_factory=list)


class Lifecycle(RuleBasedStateMachine):
    """Random commands at random times, against the model."""

    def __init__(self) -> None:
        """Begin with a pending request at noon."""
        super().__init__()
        self.request = asked()
        self.model = Model()
        self.now = NOON

    @rule(minutes=st.integers(-90, 90))
    def time_moves(self, minutes: int) -> None:
        """Forwards or backwards."""
        self.now += timedelta(minutes=minutes)

    @rule(
        label=st.sampled_from(["approve", "reject", "revise", "maybe"]),
        reviewer=st.sampled_from([CFO, BOSS, "requester@acme.example", None]),
        edit=st.booleans(),
    )
    def somebody_answers(self, label: str, reviewer: str | None, *, edit: bool) -> None:
        """It counts if the request is open, the person may, the label exists and the edit fits."""
        edited = {"payload_json": "7", "payload_digest": "sha256:7"} if edit else {}
        command = answer(
            label, reviewer=reviewer, proof="authenticated" if reviewer else "none", **edited
        )
        counts = (
            self.model.status == "pending"
            and self.now < self.model.expires_at
            and reviewer in self.model.assignees
            and label != "maybe"
            and not (edit and label == "reject")
        )
        if self.carry_out(command, counts=counts):
            meanings = {"approve": "approved", "reject": "rejected", "revise": "answered"}
            self.model.status = meanings[label]
            self.model.votes += 1

    @rule(text=st.text(max_size=5))
    def somebody_remarks(self, text: str) -> None:
        """It always counts."""
        self.carry_out(Remark(author=BOSS, text=text, channel="api"), counts=True)
        self.model.comments += 1

    @rule()
    def somebody_cancels(self) -> None:
        """It counts while the request has not ended."""
        command = Cancel(by=BOSS, reason="withdrawn")
        if self.carry_out(command, counts=self.model.status == "pending"):
            self.model.status = "cancelled"

    @rule()
    def the_timer_looks(self) -> None:
        """It counts from the instant of expiry on."""
        counts = self.model.status == "pending" and self.now >= self.model.expires_at
        if self.carry_out(Expire(), counts=counts):
            self.model.status = "expired"

    @rule(assignees=st.sets(st.sampled_from([CFO, BOSS]), min_size=1))
    def somebody_reassigns(self, assignees: set[str]) -> None:
        """It counts while an answer would."""
        counts = self.model.status == "pending" and self.now < self.model.expires_at
        command = Reassign(by=BOSS, assignees=tuple(sorted(assignees)))
        if self.carry_out(command, counts=counts):
            self.model.assignees = frozenset(assignees)

    def carry_out(self, command: Command, *, counts: bool) -> bool:
        """Ask the rule, and see that it agrees with the model on whether the command counts."""
        try:
            self.request = decide(self.request, command, self.now).request
        except DecisionError:
            assert not counts
            return False
        assert counts
        self.model.version += 1
        return True

    @invariant()
    def they_agree(self) -> None:
        """On everything that the model knows."""
        request, model = self.request, self.model
        assert request.status == model.status
        assert (request.resolution is None) == (model.status == "pending")
        assert len(request.decisions) == model.votes <= 1
        assert len(request.comments) == model.comments
        assert request.version == model.version
        assert frozenset(request.assignees) == model.assignees


TestLifecycle = Lifecycle.TestCase
TestLifecycle.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
