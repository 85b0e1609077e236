"""What a decorator says about a gate (floor 0): options and the user's own callables, nothing that runs."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, Literal, TypeVar

from signoff.model.policy import Policy, Risk
from signoff.model.request import Choice, Evidence

T_co = TypeVar("T_co", covariant=True)

Arguments = Mapping[str, object]
"""The arguments of a gated call by name, without those that are live."""

OnReject = Literal["raise", "return"]
OnDrift = Literal["block", "ask", "use_approved"]


@dataclass(frozen=True)
class Done(Generic[T_co]):
    """
    What a gate's `verify` returns when the effect did happen.

    Attributes:
        result: What the call would have returned.
    """

    result: T_co


@dataclass(frozen=True)
class NotDone:
    """What a gate's `verify` returns when the effect certainly did not happen."""


@dataclass(frozen=True)
class Unknown:
    """What a gate's `verify` returns when it cannot tell; a human is asked."""


Verdict = Done[object] | NotDone | Unknown


@dataclass(frozen=True, kw_only=True)
class FeedbackSpec:
    """
    The options of one `human_feedback` gate.

    Attributes:
        message: The question.
        choices: The labels; empty without `emit`.
        default_outcome: The label that other text takes; its meaning is not approve.
        on_expiry: The label that an unanswered request takes.
        assignees: Who is asked.
        assign_from_input: The state field that names who is asked.
        metadata: The developer's own, copied for each run.
        policy: What the gate sets of its policy.
    """

    message: str
    choices: tuple[Choice, ...] = ()
    default_outcome: str | None = None
    on_expiry: str | None = None
    assignees: tuple[str, ...] = ()
    assign_from_input: str | None = None
    metadata: Mapping[str, object] = field(default_factory=dict[str, object])
    evidence: Sequence[Evidence] = ()
    policy: Policy = field(default_factory=Policy)


@dataclass(frozen=True, kw_only=True)
class GateSpec:
    """
    The options of one `require_approval` gate and the function it guards.

    Every option that may be computed is a value or a callable of the call's arguments by name.

    Attributes:
        name: The stored name.
        aliases: Former names.
        fn: The function behind the gate.
        signature: Its signature.
        is_async: Whether it is a coroutine function.
        hints: Its resolved annotations by name; empty when they cannot be resolved.
        action: A sentence with `{argument}` places; the message of the request.
        live: Names of parameters that are never stored; a receiver is one.
        hidden: Names of parameters that are stored encrypted and shown as commitments.
        on_reject: Whether a refusal raises or is returned.
        on_drift: What to do when a replay calls with other arguments.
        verify: Tells whether an effect of unknown end happened.
        idempotent: Whether running the body again does no harm.
        policy: What the gate sets of its policy.
    """

    name: str
    aliases: tuple[str, ...] = ()
    fn: Callable[..., object]
    signature: inspect.Signature
    is_async: bool
    hints: Mapping[str, object]
    action: str
    live: frozenset[str] = frozenset()
    hidden: tuple[str, ...] = ()
    risk: Risk | Callable[[Arguments], Risk] | None = None
    assignees: Sequence[str] | Callable[[Arguments], Sequence[str]] = ()
    evidence: Sequence[Evidence] | Callable[[Arguments], Sequence[Evidence]] = ()
    summary: str | Callable[[Arguments], str] = ""
    rationale: str | Callable[[Arguments], str] = ""
    confidence: float | Callable[[Arguments], float] | None = None
    on_reject: OnReject = "raise"
    on_drift: OnDrift = "block"
    verify: Callable[..., Verdict | Awaitable[Verdict]] | None = None
    idempotent: bool = False
    policy: Policy = field(default_factory=Policy)

    @property
    def returns(self) -> object:
        """The annotation of what the function returns; `object` without one."""
        return self.hints.get("return", object)

    def annotation(self, name: str) -> object:
        """Return the annotation of a parameter; `object` without one, or for `*args` and `**kwargs`."""
        parameter = self.signature.parameters.get(name)
        gathers = {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}
        if parameter is None or parameter.kind in gathers:
            return object
        return self.hints.get(name, object)


@dataclass(frozen=True, kw_only=True)
class GateCall:
    """
    One call of a gate, bound.

    Attributes:
        spec: The gate.
        arguments: What is payload, by name, defaults filled in.
        live: What is not, by name.
    """

    spec: GateSpec
    arguments: Mapping[str, object]
    live: Mapping[str, object]
