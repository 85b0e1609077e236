"""One execution of a flow, and the executions of its steps (floor 0)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, PrivateAttr
from typing_extensions import override

from signoff.model.base import Record
from signoff.model.request import AuditHead
from signoff.model.values import Tree

RunStatus = Literal["ready", "running", "suspended", "blocked", "completed", "failed", "cancelled"]
BlockedReason = Literal[
    "code_missing", "state_invalid", "drift", "in_doubt", "seal_invalid", "poison"
]
OccurrenceStatus = Literal["ready", "running", "suspended", "finished", "failed", "superseded"]
CallStatus = Literal["waiting", "started", "done", "failed"]
CallKind = Literal["gate", "once", "child", "question"]

TERMINAL: frozenset[RunStatus] = frozenset({"completed", "failed", "cancelled"})


class Cause(BaseModel):
    """
    Why an occurrence exists: a trigger and the occurrence that fired it.

    Attributes:
        trigger: The step name or label.
        occurrence_id: Which occurrence emitted it.
    """

    model_config = ConfigDict(frozen=True, defer_build=True)

    trigger: str
    occurrence_id: str


class Failure(BaseModel):
    """
    A recorded exception.

    Attributes:
        type_name: `module:qualname` of its class.
        message: Its text.
        arguments: Its arguments, when they can be stored, so that it can be raised again.
    """

    model_config = ConfigDict(frozen=True, defer_build=True)

    type_name: str
    message: str
    arguments: Tree = None


class Call(BaseModel):
    """
    One journaled call inside an occurrence: gated, `once`, or a child flow. Never repeated.

    Attributes:
        kind: Which of them.
        name: The gate's, the `once` key's or the child flow's name.
        digest: Of the arguments as proposed.
        nth: Which of several equal calls.
        attempt: How often a human was asked about it.
        request_id: The request that stands for it.
        child_run_id: The child run.
        status: Where its execution stands.
        fencing: The claim under which its body was started.
        result: What it returned.
        failure: What it raised.
        hidden: Its hidden arguments, encrypted, by name.
        doubt_request_id: The request that asks what became of it.
        drifts: How often it was asked anew because a replay came with other arguments.
    """

    model_config = ConfigDict(frozen=True, defer_build=True)

    kind: CallKind
    name: str
    digest: str
    nth: int = 0
    attempt: int = 1
    request_id: str = ""
    child_run_id: str = ""
    status: CallStatus = "waiting"
    fencing: int = 0
    result: Tree = None
    failure: Failure | None = None
    hidden: dict[str, str] = Field(default_factory=dict)
    doubt_request_id: str = ""
    drifts: int = 0


class Occurrence(Record):
    """
    One execution of a step within a run: a row of the journal.

    Attributes:
        occurrence_id: `<run id>.<seq>`.
        seq: Its place in the run, from 1.
        step: The step's name.
        causes: What fired it; the last one supplies its argument.
        wave: The occurrence that began the chain of routers it belongs to.
        live: Whether what it emitted still counts; false once superseded.
        status: Where it stands.
        attempt: How often it was begun.
        finished_seq: The order in which occurrences finished.
        output: What the step returned, as a tree.
        label: What it routed to.
        request_id: The `human_feedback` request on its output.
        calls: The journaled calls made inside it, in the order they were first made.
        failure: What it raised.
    """

    occurrence_id: str
    run_id: str
    version: int = 1
    seq: int
    step: str
    causes: tuple[Cause, ...] = ()
    wave: str = ""
    live: bool = True
    status: OccurrenceStatus = "ready"
    attempt: int = 0
    finished_seq: int = 0
    output: Tree = None
    label: str | None = None
    request_id: str = ""
    calls: tuple[Call, ...] = ()
    failure: Failure | None = None


class Run(Record):
    """
    One execution of a flow, or one keyed or submitted call.

    Attributes:
        run_id: `run_` and a time-ordered id.
        version: Rises by one with every change of the record.
        kind: A flow, or a single gated call.
        flow_name: The stored name of the flow or gated function.
        status: Where it stands.
        blocked_reason: Why a person is needed, for a blocked run.
        blocked_detail: What exactly, for that person.
        requester: Who started it.
        key: The developer's own key of a keyed call.
        key_digest: The digest of that call's arguments.
        parent_run_id: The run whose step started it.
        parent_occurrence_id: That step's occurrence.
        fingerprint: Of the flow's graph, when the run was last advanced.
        state: The flow's state as a tree, field by field.
        state_type: The state's model, `module:qualname`, where the flow's instance and not its
            class said so.
        state_version: What the flow's class counted its state as when it was stored.
        parts: The `and_` parts seen so far: listener, leaf, occurrence.
        next_seq: The number that the next occurrence gets.
        finished: How many occurrences have finished.
        last_output_id: The occurrence whose output is the run's.
        failure: What failed it.
        fencing: The claim under which it was last written, one more for each that was then given
            up in good order: the others since have ended without a trace.
        created_at: When it was started, UTC.
        updated_at: When its status last changed, UTC.
        audit: Where the run's audit chain stands.
    """

    run_id: str
    version: int = 1
    kind: Literal["flow", "call"] = "flow"
    flow_name: str
    status: RunStatus = "ready"
    blocked_reason: BlockedReason | None = None
    blocked_detail: str = ""
    requester: str | None = None
    key: str | None = None
    key_digest: str = ""
    parent_run_id: str = ""
    parent_occurrence_id: str = ""
    fingerprint: str = ""
    state: dict[str, Tree] = Field(default_factory=dict)
    state_type: str = ""
    state_version: int = 1
    parts: dict[str, dict[str, str]] = Field(default_factory=dict)
    next_seq: int = 1
    finished: int = 0
    last_output_id: str = ""
    failure: Failure | None = None
    fencing: int = 0
    created_at: AwareDatetime
    updated_at: AwareDatetime
    audit: AuditHead = AuditHead()

    @override
    def __repr_args__(self) -> Iterator[tuple[str, object]]:
        # What a person looks for, and nothing of the state, because it ends up in logs.
        for name in ("run_id", "flow_name", "status"):
            yield name, getattr(self, name)
        if self.blocked_reason is not None:
            yield "blocked_reason", self.blocked_reason
        if self.failure is not None:
            yield "failure", f"{self.failure.type_name}: {self.failure.message}"

    _output: object = PrivateAttr(default=None)

    @property
    def id(self) -> str:
        """The run's id: `run_id` by its short name."""
        return self.run_id

    @property
    def output(self) -> object:
        """What the run returned: its last step's output, typed; `None` before it has completed."""
        return self._output

    def with_output(self, value: object) -> Run:
        """Return this run with `value` as what `output` answers; nothing stored changes."""
        copy = self.model_copy()
        copy._output = value  # noqa: SLF001 - our own private member, on our own copy
        return copy
