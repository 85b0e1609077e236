"""Reviewers who do as they are told, for tests (floor 9)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Literal

from signoff.errors import ConfigurationError
from signoff.model.request import Request

_AT_ONCE = timedelta(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptedAnswer:
    """
    One answer that a scripted reviewer gives to each request.

    Attributes:
        verb: Approve, reject, or respond with a label.
        after: How long after the request was opened.
        label: The label, for `respond`.
        text: The words.
        payload: The payload as changed; `None` leaves it.
    """

    verb: Literal["approve", "reject", "respond"]
    after: timedelta
    label: str = ""
    text: str = ""
    payload: object = None


@dataclass(frozen=True, slots=True)
class Reviewer:
    """
    A person for `signoff.testing.client(reviewers=[...])`, and for nothing else.

    Each method returns a reviewer with one more answer, so that one can answer twice:
    `Reviewer("cfo@acme.example").approves().rejects(after=timedelta(hours=1))`. Without any
    answer the reviewer stays silent. An answer that comes too late is given all the same, and
    what it ran into is in the client's `refused`.

    Attributes:
        address: Whose requests are answered.
        answers: What is answered to each, in order.
    """

    address: str
    answers: tuple[ScriptedAnswer, ...] = field(default=())

    def approves(self, reason: str = "", *, after: timedelta = _AT_ONCE) -> Reviewer:
        """Answer with the label that means approve."""
        return self._also(ScriptedAnswer(verb="approve", after=after, text=reason))

    def rejects(self, reason: str = "", *, after: timedelta = _AT_ONCE) -> Reviewer:
        """Answer with the label that means reject."""
        return self._also(ScriptedAnswer(verb="reject", after=after, text=reason))

    def edits(self, payload: object, reason: str = "", *, after: timedelta = _AT_ONCE) -> Reviewer:
        """Change the payload, for a gated call perhaps only some arguments, and approve that."""
        return self._also(ScriptedAnswer(verb="approve", after=after, text=reason, payload=payload))

    def answers_with(
        self, label: str, feedback: str = "", *, after: timedelta = _AT_ONCE
    ) -> Reviewer:
        """Answer with a label, or with free text where the request has no labels."""
        return self._also(ScriptedAnswer(verb="respond", after=after, label=label, text=feedback))

    def stays_silent(self) -> Reviewer:
        """Answer nothing, so that deadlines pass."""
        return replace(self, answers=())

    def is_asked(self, request: Request) -> bool:
        """Return whether the request is put to this reviewer, or to nobody in particular."""
        return not request.assignees or self.address.strip().lower() in request.assignees

    @property
    def name(self) -> str:
        """Refuse to stand in for a notifier. Raises `ConfigurationError`, always."""
        raise ConfigurationError(
            "a scripted reviewer answers only in signoff.testing.client(reviewers=[...]);"
            " it cannot be installed in another client"
        )

    def _also(self, answer: ScriptedAnswer) -> Reviewer:
        return replace(self, answers=(*self.answers, answer))
