"""The code behind a run: a flow's class, or one gated function (floor 6)."""

from __future__ import annotations

import copy
import inspect
from abc import abstractmethod
from collections.abc import Awaitable, Mapping
from dataclasses import replace
from datetime import UTC
from enum import Enum
from types import MappingProxyType
from typing import Final, Protocol, cast

from anyio import CapacityLimiter, to_thread
from pydantic import BaseModel
from typing_extensions import override

from signoff.codec import Codec, codec
from signoff.errors import SealInvalidError
from signoff.flows.attempt import Attempt
from signoff.flows.flow import Flow, arguments_of, shape_of, stored_name
from signoff.flows.state import StateBox
from signoff.gates import feedback_of
from signoff.model.feedback import HumanFeedbackResult
from signoff.model.gate import FeedbackSpec, GateCall
from signoff.model.policy import Policy
from signoff.model.request import Request
from signoff.model.run import Occurrence
from signoff.model.values import Tree
from signoff.rules.graph import Graph, StepSpec

CALL_STEP: Final = "call"

MAX_THREADS: Final = 40
"""How many steps of one run that are no coroutine functions run at once."""

# Steps hand on what they were given, whether or not an annotation names it.
codec.register(HumanFeedbackResult, name="signoff:feedback")


class Code(Protocol):
    """
    What the executor needs to know of a run's code.

    Attributes:
        graph: Its steps.
        former_names: The steps' names by those that they had before.
        box: The run's state.
        max_method_calls: How often one step may run.
    """

    graph: Graph
    former_names: Mapping[str, str]
    box: StateBox
    max_method_calls: int
    policy: Policy

    @abstractmethod
    async def run_step(self, attempt: Attempt, name: str, arguments: tuple[object, ...]) -> object:
        """
        Run one step and return what it returns.

        Args:
            attempt: The attempt at it.
            name: The step.
            arguments: The output or label that fired it, for a step that takes one.
        """

    @abstractmethod
    def feedback(self, name: str) -> FeedbackSpec | None:
        """Return the gate on a step."""

    @abstractmethod
    def note_output(self, output: object, result: HumanFeedbackResult | None) -> None:
        """Take note that a step has finished."""


class FlowCode(Code):
    """A flow's instance, with a fresh frame for one run, whose state has the given model if any."""

    def __init__(self, flow: Flow[object], *, model: type[BaseModel] | None = None) -> None:
        self._flow = flow
        shape = shape_of(type(flow))
        self._steps = shape.steps
        self.graph = shape.graph
        self.former_names = shape.former_names
        self.fingerprint = shape.fingerprint
        self.box = flow.fresh_frame(model or flow.state_model())
        self.max_method_calls = type(flow).max_method_calls
        self.policy = type(flow).__signoff_policy__
        # Its own, because a step in a thread may wait for a child flow whose steps need threads.
        self._threads = CapacityLimiter(MAX_THREADS)

    @property
    def name(self) -> str:
        """The flow's stored name."""
        return stored_name(type(self._flow))

    @property
    def state_version(self) -> int:
        """What the class counts its state as."""
        return type(self._flow).state_version

    def migrate(self, state: dict[str, object], from_version: int) -> Mapping[str, object]:
        """Have the class bring a stored state up to date. Raises `TypeError`, and what it raises."""
        migrated = cast("object", type(self._flow).migrate(state, from_version))
        if not isinstance(migrated, Mapping):
            raise TypeError(f"it returned {migrated!r} in place of the fields by name")
        return cast("Mapping[str, object]", migrated)

    @override
    async def run_step(self, attempt: Attempt, name: str, arguments: tuple[object, ...]) -> object:
        """Run one step: a coroutine function here, another in a worker thread."""
        step = getattr(self._flow, name)
        arguments = arguments_of(step, arguments)
        if inspect.iscoroutinefunction(step):
            return await cast("Awaitable[object]", step(*arguments))
        return await to_thread.run_sync(step, *arguments, limiter=self._threads)

    @override
    def feedback(self, name: str) -> FeedbackSpec | None:
        """Return the gate on a step."""
        return feedback_of(self._steps[name][0])

    @override
    def note_output(self, output: object, result: HumanFeedbackResult | None) -> None:
        """Show it in the instance's `method_outputs` and `human_feedback_history`."""
        self._flow.note(output, result)


class CallCode(Code):
    """One gated call as a run of its own."""

    graph = Graph({CALL_STEP: StepSpec(CALL_STEP, start=True)})
    former_names: Mapping[str, str] = MappingProxyType({})
    max_method_calls = 1
    policy = Policy()

    def __init__(self, call: GateCall, codec: Codec) -> None:
        # A refusal fails the run; whoever waits for it returns it, if that is what the gate says.
        self._call = replace(call, spec=replace(call.spec, on_reject="raise"))
        self.box = StateBox(codec, None)

    @override
    async def run_step(self, attempt: Attempt, name: str, arguments: tuple[object, ...]) -> object:
        """Make the call."""
        return (await attempt.call([self._call]))[0]

    @override
    def feedback(self, name: str) -> FeedbackSpec | None:
        """Return none: the call itself is the gate."""
        return None

    @override
    def note_output(self, output: object, result: HumanFeedbackResult | None) -> None:
        """Do nothing: there is no instance."""


def feedback_result(request: Request, codec: Codec, *, step: str) -> HumanFeedbackResult:
    """
    Return what came of a `human_feedback` request whose seals were verified.

    Args:
        request: The request.
        codec: Reads its payload.
        step: What its step is called now.

    Raises:
        CodecError: The payload's types are not known here any more.
        SealInvalidError: It has no answer, although somebody has gone on from one.
    """
    end = request.resolution
    if end is None:
        raise SealInvalidError(request.request_id, "resolution", run_id=request.run_id)
    return HumanFeedbackResult(
        output=codec.load(request.payload_json, path=f"{step} output"),
        feedback=end.feedback,
        outcome=end.outcome or None,
        timestamp=end.resolved_at.astimezone(UTC),
        method_name=step,
        metadata=copy.deepcopy(
            {name: codec.from_tree(tree) for name, tree in request.metadata.items()}
        ),
        request_id=request.request_id,
        reviewer=end.reviewer,
        channel=end.channel,
        edited=end.edited,
    )


def output_value(one: Occurrence, result: HumanFeedbackResult | None, codec: Codec) -> object:
    """
    Return what listeners and callers get as the output of a finished occurrence.

    For a gate that routes, the payload as it was answered; for one that does not, the result.
    """
    if result is not None:
        return result.output if result.outcome is not None else result
    return codec.from_tree(one.output, path=f"{one.step} output")


def label_of(value: object) -> str | None:
    """Return the label that a router's return value is: none for `None`, the value of an enum's member."""
    if value is None:
        return None
    return str(value.value if isinstance(value, Enum) else value)


def routed(result: HumanFeedbackResult, *, router: bool) -> str | None:
    """
    Return the label that an answered gate emits: its outcome.

    A router whose gate has no labels routes by its payload, as it was answered.
    """
    if result.outcome is not None or not router:
        return result.outcome
    return label_of(result.output)


def assignee_in_state(spec: FeedbackSpec, state: Mapping[str, Tree]) -> tuple[str, ...]:
    """Return whom the state, as it is stored, names as the assignee, if the gate looks there."""
    if spec.assign_from_input is None:
        return ()
    value = state.get(spec.assign_from_input)
    return (value,) if isinstance(value, str) and value else ()
