"""The question put to humans (floor 0)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, PrivateAttr
from typing_extensions import override

from signoff.model.base import Record
from signoff.model.decision import Decision, Resolution
from signoff.model.policy import Policy, Risk
from signoff.model.seal import Seal
from signoff.model.values import Tree, one_line, plain

RequestStatus = Literal["pending", "approved", "rejected", "answered", "expired", "cancelled"]
RequestKind = Literal["feedback", "call", "in_doubt", "question"]
"""A step's `human_feedback`, a gated call, an effect of unknown end, or a bare `hitl.request`."""

Tone = Literal["slate", "amber", "red", "emerald", "blue"]


class Evidence(BaseModel):
    """
    One fact that supports the question.

    Attributes:
        label: What it is, in a word or two.
        value: The fact.
        tone: How a page colours it; never the only carrier of meaning.
    """

    model_config = ConfigDict(frozen=True, defer_build=True)

    label: str
    value: str
    tone: Tone = "slate"


class Choice(BaseModel):
    """
    One possible answer.

    Attributes:
        label: The word.
        meaning: What it stands for.
        aliases: Other words that stand for it.
    """

    model_config = ConfigDict(frozen=True, defer_build=True)

    label: str
    meaning: Literal["approve", "reject", "neutral"]
    aliases: tuple[str, ...] = ()


class Comment(BaseModel):
    """What somebody wrote that decided nothing."""

    model_config = ConfigDict(frozen=True, defer_build=True)

    author: str
    text: str
    channel: str
    written_at: AwareDatetime


class CallIdentity(BaseModel):
    """
    Which gated call a request stands for; nothing in it advances on retry.

    Attributes:
        occurrence_id: The execution of the step that makes the call.
        gate: The gate's stored name.
        digest: Of the arguments as they were proposed.
        nth: Which of several equal calls of that occurrence, from 0.
        attempt: From 1; raised only when a human is asked again about the same call.
    """

    model_config = ConfigDict(frozen=True, defer_build=True)

    occurrence_id: str
    gate: str
    digest: str
    nth: int = 0
    attempt: int = 1


class AuditHead(BaseModel):
    """Where a stream's hash chain stands: the number of entries and the hash of the last."""

    model_config = ConfigDict(frozen=True, defer_build=True)

    seq: int = 0
    hash: str = ""


class Request(Record):
    """
    The question put to humans: what exactly, by whom, to whom, until when, and what came of it.

    Attributes:
        request_id: `req_` and a time-ordered id.
        version: Rises by one with every change of the record.
        kind: What the request stands for.
        run_id: The run that waits; empty for a question without one.
        flow_name: The stored name of the flow or gated function.
        method_name: The step or function.
        message: The question.
        choices: The possible answers; empty when any text is the answer.
        default_outcome: The label that unmatched text takes; its meaning is not approve.
        assignees: Who is asked, lower-case addresses.
        requester: Who started what is asked.
        payload_json: What is asked about, exactly these bytes (UTF-8) are digested.
        payload_digest: `sha256:` and hex.
        editable: Whether the reviewer may change the payload.
        summary: The agent's own words about the payload.
        rationale: The agent's own words on why.
        confidence: The agent's own estimate, 0 to 1.
        evidence: Facts that support the question.
        metadata: The developer's own, shown nowhere.
        risk: Set by code or policy.
        status: Where it stands.
        decisions: Every recorded answer, oldest first.
        comments: Every text that decided nothing, oldest first.
        resolution: How it ended.
        created_at: When it was opened, UTC.
        due_at: Until when an answer is hoped for.
        expires_at: From this instant no answer counts.
        valid_for_seconds: How long after the resolution an approved call may start.
        policy: The policy as it was when the request was opened.
        policy_digest: Its digest.
        identity: The gated call that it stands for.
        hidden: Names of parameters shown as commitments only.
        hidden_kids: The keys that these were committed to and encrypted with.
        seal: MAC over the core fields.
        audit: Where the request's audit chain stands.
        undelivered: Why nobody was told, when nobody was.
    """

    request_id: str
    version: int = 1
    kind: RequestKind
    run_id: str = ""
    flow_name: str = ""
    method_name: str = ""
    message: str
    choices: tuple[Choice, ...] = ()
    default_outcome: str | None = None
    on_expiry: str | None = None
    assignees: tuple[str, ...] = ()
    requester: str | None = None
    payload_json: str
    payload_digest: str
    proposed_digest: str
    editable: bool = True
    summary: str = ""
    rationale: str = ""
    confidence: float | None = None
    evidence: tuple[Evidence, ...] = ()
    metadata: dict[str, Tree] = Field(default_factory=dict)
    risk: Risk = "medium"
    status: RequestStatus = "pending"
    decisions: tuple[Decision, ...] = ()
    comments: tuple[Comment, ...] = ()
    resolution: Resolution | None = None
    created_at: AwareDatetime
    due_at: AwareDatetime | None = None
    expires_at: AwareDatetime | None = None
    valid_for_seconds: float = 86_400.0
    policy: Policy = Policy()
    policy_digest: str = ""
    identity: CallIdentity | None = None
    hidden: tuple[str, ...] = ()
    hidden_kids: tuple[int, ...] = ()
    seal: Seal | None = None
    audit: AuditHead = AuditHead()
    undelivered: str = ""

    @override
    def __repr_args__(self) -> Iterator[tuple[str, object]]:
        # What a person looks for, and no payload or answer, because it ends up in logs.
        for name in ("request_id", "status", "message", "assignees", "risk"):
            yield name, getattr(self, name)
        if self.outcome is not None:
            yield "outcome", self.outcome

    _payload: object = PrivateAttr(default=None)
    _loaded: bool = PrivateAttr(default=False)

    @property
    def options(self) -> tuple[str, ...]:
        """The labels."""
        return tuple(choice.label for choice in self.choices)

    @property
    def policy_name(self) -> str:
        """The name of the policy that asked; the gate's own name where the policy has none."""
        return self.policy.name or self.method_name

    @property
    def outcome(self) -> str | None:
        """The label that stands, or `None` while there is none."""
        return (self.resolution.outcome or None) if self.resolution else None

    @property
    def feedback(self) -> str | None:
        """The reviewer's words, or `None` while there is no answer."""
        return self.resolution.feedback if self.resolution else None

    @property
    def resolved_at(self) -> AwareDatetime | None:
        """When it ended."""
        return self.resolution.resolved_at if self.resolution else None

    @property
    def payload_tree(self) -> Tree:
        """The payload as the codec's tree."""
        tree: Tree = json.loads(self.payload_json)
        return tree

    @property
    def payload(self) -> object:
        """
        What is asked about: the typed value, where this process has the types, else plain JSON.

        For a gated call, a dict of its arguments by name.
        """
        return self._payload if self._loaded else plain(self.payload_tree)

    @property
    def query(self) -> str:
        """The payload as one line of text."""
        return one_line(self.payload_tree)

    def with_payload(self, value: object) -> Request:
        """Return this request with `value` as what `payload` answers; the stored bytes stay."""
        copy = self.model_copy()
        copy._payload = value  # noqa: SLF001 - our own private member, on our own copy
        copy._loaded = True  # noqa: SLF001 - as above
        return copy
