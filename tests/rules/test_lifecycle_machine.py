"""The lifecycle of a request under any commands at any times, beside a plain model of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

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
from signoff.rules.lifecycle import Cancel, Command, Expire, Reassign, Remark, Respond, decide
from signoff.testing.builders import HOUR, MICROSECOND, NOON, a_request

ANN, BOB, AGENT = "ann@acme.example", "bob@acme.example", "agent-7"
STATUS = {"approved": "approved", "rejected": "rejected", "later": "answered"}


@dataclass
class Model:
    """A request as one would tell it on the phone."""

    status: str = "pending"
    outcome: str = ""
    asked: str = ANN
    payload: str = '{"amount":9}'
    comments: int = 0
    votes: int = 0
    version: int = 1


class Lifecycle(RuleBasedStateMachine):
    """Commands to one request, the clock going forth and back between them."""

    def __init__(self) -> None:
        """Begin with nothing."""
        super().__init__()
        self.model = Model()
        self.now: datetime = NOON
        self.expires_at: datetime | None = None
        self.request: Request = a_request()

    @initialize(expires=st.booleans(), editable=st.booleans())
    def open(self, expires: bool, editable: bool) -> None:
        """Open the request."""
        self.expires_at = NOON + HOUR if expires else None
        self.editable = editable
        self.request = a_request(
            assignees=(ANN,),
            requester=AGENT,
            choices=(
                {"label": "approved", "meaning": "approve"},
                {"label": "rejected", "meaning": "reject"},
                {"label": "later", "meaning": "neutral"},
            ),
            expires_at=self.expires_at,
            editable=editable,
        )

    def late(self) -> bool:
        """Return whether its time is up."""
        return self.expires_at is not None and self.now >= self.expires_at

    def how_it_ended(self) -> type[DecisionError] | None:
        """Return the error that tells of its end, if it has ended."""
        ends = {"cancelled": RequestCancelledError, "expired": RequestExpiredError}
        return (
            None
            if self.model.status == "pending"
            else ends.get(self.model.status, AlreadyDecidedError)
        )

    def carry_out(self, command: Command, error: type[DecisionError] | None) -> bool:
        """Carry out a command, which fails exactly with this error, and say whether it did not."""
        before = self.request
        if error is not None:
            with pytest.raises(error) as raised:
                decide(self.request, command, self.now)
            assert type(raised.value) is error
            assert self.request == before
            return False
        self.request = decide(self.request, command, self.now).request
        self.model.version += 1
        return True

    @rule(by=st.sampled_from([ANN, BOB, AGENT]), label=st.sampled_from([*STATUS, "maybe"]))
    def respond(self, by: str, label: str) -> None:
        """Answer without a change."""
        error: type[DecisionError] | None = self.how_it_ended()
        if error is None and self.late():
            error = RequestExpiredError
        if error is None and by != self.model.asked:
            error = NotAllowedError
        if error is None and label == "maybe":
            error = UnknownOutcomeError
        command = Respond(
            label=label, feedback="", reviewer=by, channel="api", proof="authenticated"
        )
        if self.carry_out(command, error):
            self.model.status, self.model.outcome = STATUS[label], label
            self.model.votes += 1

    @rule(label=st.sampled_from([*STATUS]), shown=st.booleans())
    def edit(self, label: str, shown: bool) -> None:
        """Answer with another payload, by whoever is asked."""
        error: type[DecisionError] | None = self.how_it_ended()
        if error is None and self.late():
            error = RequestExpiredError
        if error is None and (not shown or not self.editable or label == "rejected"):
            error = InvalidEditError
        command = Respond(
            label=label,
            feedback="",
            reviewer=self.model.asked,
            channel="web",
            proof="authenticated",
            seen_digest=self.request.payload_digest if shown else "sha256:00",
            payload_json='{"amount":8}',
            payload_digest="sha256:08",
        )
        if self.carry_out(command, error):
            self.model.status, self.model.outcome = STATUS[label], label
            self.model.payload = '{"amount":8}'
            self.model.votes += 1

    @rule()
    def remark(self) -> None:
        """Write something; that is always possible."""
        self.carry_out(Remark(author=BOB, text="?", channel="email"), None)
        self.model.comments += 1

    @rule()
    def cancel(self) -> None:
        """Take it back, also when its time is up and nobody has noticed."""
        if self.carry_out(Cancel(by=BOB, reason="withdrawn"), self.how_it_ended()):
            self.model.status = "cancelled"

    @rule()
    def expire(self) -> None:
        """Sweep."""
        error = self.how_it_ended() or (None if self.late() else DecisionError)
        if self.carry_out(Expire(), error):
            self.model.status = "expired"

    @rule(to=st.sampled_from([ANN, BOB]))
    def reassign(self, to: str) -> None:
        """Ask somebody else."""
        error = self.how_it_ended() or (RequestExpiredError if self.late() else None)
        if self.carry_out(Reassign(by=BOB, assignees=(to,)), error):
            self.model.asked = to

    @rule(
        by=st.sampled_from(
            [MICROSECOND, -MICROSECOND, timedelta(minutes=30), -timedelta(minutes=30)]
        )
    )
    def clock(self, by: timedelta) -> None:
        """Let time pass, or go back."""
        self.now += by

    @rule(by=st.sampled_from([-MICROSECOND, timedelta(0), MICROSECOND]))
    def to_the_boundary(self, by: timedelta) -> None:
        """Stand at the very end of its time, or beside it."""
        self.now = NOON + HOUR + by

    @invariant()
    def it_is_as_told(self) -> None:
        """The record says what the model says."""
        model, request = self.model, self.request
        assert (request.status, request.version) == (model.status, model.version)
        assert (request.outcome or "") == model.outcome
        assert request.assignees == (model.asked,)
        assert request.payload_json == model.payload
        assert (len(request.comments), len(request.decisions)) == (model.comments, model.votes)
        assert (request.resolution is None) == (model.status == "pending")
        if request.resolution is not None:
            assert request.resolution.status == request.status
            has_leave = request.resolution.valid_until is not None
            assert has_leave == (model.status not in {"expired", "cancelled"})


Lifecycle.TestCase.settings = settings(max_examples=60, stateful_step_count=20, deadline=None)


class TestLifecycle(Lifecycle.TestCase):  # type: ignore[misc, valid-type]  # made by hypothesis
    """The machine as tests."""
