"""
The decorators: `human_feedback` and `require_approval`, and what wraps a gated call (floor 6).

Decorating is cheap and pure: options are checked, nothing is read or opened. A gated call looks
for the step it runs in, and for the default host when there is none.
"""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from string import Formatter
from typing import (
    TYPE_CHECKING,
    Final,
    Literal,
    ParamSpec,
    TypeAlias,
    TypedDict,
    TypeVar,
    Unpack,
    cast,
    get_type_hints,
    overload,
)

from signoff.codec import codec
from signoff.context import (
    Scope,
    current_scope,
    declared_outside,
    default_host,
    steps_run_elsewhere,
)
from signoff.errors import ApprovalRejected, ConfigurationError
from signoff.model.gate import (
    Arguments,
    FeedbackSpec,
    GateCall,
    GateSpec,
    OnDrift,
    OnReject,
    Verdict,
)
from signoff.model.policy import Policy, Risk
from signoff.model.request import Evidence
from signoff.registry import Names, default_name
from signoff.rules.routing import addresses_in

if TYPE_CHECKING:
    from signoff.rules.outcomes import Meaning

P = ParamSpec("P")
R = TypeVar("R")
F = TypeVar("F", bound=Callable[..., object])
ValueT = TypeVar("ValueT")

Computed: TypeAlias = ValueT | Callable[[Arguments], ValueT]
"""An option that is given, or computed from the call's arguments by name."""

gate_specs: Final[Names[GateSpec]] = Names("gate")
"""Gates by stored name."""

_FEEDBACK: Final = "__signoff_feedback__"
_GATE: Final = "__signoff_gate__"


@dataclass(frozen=True, slots=True)
class FeedbackGate:
    """What `human_feedback(...)` returns: stamps a step with its options and changes nothing else."""

    spec: FeedbackSpec

    def __call__(self, fn: F, /) -> F:
        """Stamp a step."""
        if hasattr(fn, _FEEDBACK):
            raise ConfigurationError(f"{default_name(fn)} has two human_feedback gates; keep one")
        setattr(fn, _FEEDBACK, self.spec)
        return fn


def feedback_of(fn: object) -> FeedbackSpec | None:
    """Return the options that `human_feedback` stamped on a step."""
    found = getattr(fn, _FEEDBACK, None)
    return found if isinstance(found, FeedbackSpec) else None


def gate_of(fn: object) -> GateSpec | None:
    """Return the options of a function that `require_approval` wrapped."""
    found = getattr(fn, _GATE, None)
    return found if isinstance(found, GateSpec) else None


def human_feedback(
    message: str,
    emit: Sequence[str] | type[Enum] | None = None,
    default_outcome: str | None = None,
    metadata: Mapping[str, object] | None = None,
    *,
    meanings: Mapping[str, Meaning] | None = None,
    aliases: Mapping[str, Sequence[str]] | None = None,
    assignees: Sequence[str] = (),
    assign_to_email: str | None = None,
    assign_from_input: str | None = None,
    evidence: Sequence[Evidence] = (),
    risk: Risk | None = None,
    sla: timedelta | None = None,
    expires_after: timedelta | None = None,
    on_expiry: str | None = None,
    policy: Policy | None = None,
) -> FeedbackGate:
    """
    Ask a human about what a step returns, before anything listens to it.

    The step runs once. Its return value, or the payload of the `Proposal` it returns, is what
    the reviewer sees; the run suspends until there is an answer.

    Args:
        message: The question.
        emit: The possible answers. With it the step is a router whose label is the outcome;
            without it any text is the answer.
        default_outcome: The label that text takes which is none of the labels. It needs `emit`,
            is one of them, and takes effect only if its meaning is not approve.
        metadata: Copied into each `HumanFeedbackResult`.
        meanings: What labels stand for that the built-in table does not know.
        aliases: Other words for a label.
        assignees: Who is asked.
        assign_to_email: One more who is asked.
        assign_from_input: The state field that holds the address of who is asked; it must be
            within the policy's `assignable`, and is never the requester.
        evidence: Facts that support the question.
        risk: How much harm a wrong yes does; medium unless set here or by policy.
        sla: How long a reviewer should take; shown.
        expires_after: When an unanswered request ends; 7 days unless set.
        on_expiry: The label that an unanswered request takes; without it the run fails with
            `RequestExpired`.
        policy: Further settings, over those of the flow and the client.

    Raises:
        ValueError: The labels contradict each other, `default_outcome` or `on_expiry` is none
            of them, or a duration is not positive.
        ConfigurationError: The risk is critical, which needs a quorum.
    """
    labels = _labels(emit)
    if default_outcome is not None and default_outcome not in labels:
        raise ValueError(
            f"default_outcome={default_outcome!r} needs emit=[...] with that label in it"
        )
    if on_expiry is not None and on_expiry not in labels:
        raise ValueError(f"on_expiry={on_expiry!r} needs emit=[...] with that label in it")
    from signoff.rules.outcomes import choices  # noqa: PLC0415 - the root stays light

    return FeedbackGate(
        FeedbackSpec(
            message=message,
            choices=choices(labels, meanings=meanings or {}, aliases=aliases or {}),
            default_outcome=default_outcome,
            on_expiry=on_expiry,
            assignees=addresses_in((*assignees, *([assign_to_email] if assign_to_email else []))),
            assign_from_input=assign_from_input,
            metadata=dict(metadata or {}),
            evidence=tuple(evidence),
            policy=_gate_policy(
                policy, risk=risk, sla=sla, expires_after=expires_after, valid_for=None
            ),
        )
    )


class GateOptions(TypedDict, total=False):
    """What `require_approval` takes besides `on_reject`; described there."""

    action: str | None
    name: str | None
    aliases: Sequence[str]
    risk: Computed[Risk] | None
    assignees: Computed[Sequence[str]]
    evidence: Computed[Sequence[Evidence]]
    summary: Computed[str]
    rationale: Computed[str]
    confidence: Computed[float] | None
    live: Sequence[str]
    hidden: Sequence[str]
    sla: timedelta | None
    expires_after: timedelta | None
    valid_for: timedelta | None
    on_drift: OnDrift
    verify: Callable[..., Verdict | Awaitable[Verdict]] | None
    idempotent: bool
    policy: Policy | None


@dataclass(frozen=True, slots=True)
class Gate:
    """
    What `require_approval(...)` returns: wraps a function so that its body waits for a yes.

    The wrapped function keeps its type, its signature and whether it is a coroutine function.
    """

    options: GateOptions

    def __call__(self, fn: Callable[P, R], /) -> Callable[P, R]:
        """Wrap a function or method; inside `@classmethod` and `@staticmethod`, not outside."""
        return _wrap(fn, _spec(fn, "raise", self.options))


@dataclass(frozen=True, slots=True)
class ReturningGate:
    """What `require_approval(on_reject="return", ...)` returns: a refusal is returned, not raised."""

    options: GateOptions

    @overload
    def __call__(
        self, fn: Callable[P, Coroutine[object, object, R]], /
    ) -> Callable[P, Coroutine[object, object, R | ApprovalRejected]]: ...
    @overload
    def __call__(self, fn: Callable[P, R], /) -> Callable[P, R | ApprovalRejected]: ...
    def __call__(self, fn: Callable[P, object], /) -> Callable[P, object]:
        """Wrap a function or method; inside `@classmethod` and `@staticmethod`, not outside."""
        return _wrap(fn, _spec(fn, "return", self.options))


@overload
def require_approval(fn: Callable[P, R], /) -> Callable[P, R]: ...
@overload
def require_approval(
    *, on_reject: Literal["return"], **options: Unpack[GateOptions]
) -> ReturningGate: ...
@overload
def require_approval(
    *, on_reject: Literal["raise"] = "raise", **options: Unpack[GateOptions]
) -> Gate: ...
def require_approval(
    fn: Callable[..., object] | None = None,
    /,
    *,
    on_reject: OnReject = "raise",
    **options: Unpack[GateOptions],
) -> object:
    """
    Make every call of a function wait for a human's yes to exactly these arguments.

    The call is the payload. After approval the body runs once with the stored, possibly edited,
    arguments. Inside a step the call is journaled and never repeated; outside a flow every call
    asks anew, unless it is made through `keyed` or `Client.submit`.

    A call that is not approved raises `ApprovalRejected`, `ApprovalExpired` or
    `ApprovalCancelled`. Where its run needs a person (a seal that does not hold, code that is
    missing, workers that died), a step's run is blocked and nothing is raised, and a call outside
    a flow raises `ApprovalBlocked`; it goes on waiting while people are asked what became of it.

    Options that say "value or callable" may be computed: the callable gets one mapping, the
    arguments by name without the live ones.

    Args:
        fn: The function, when used without parentheses.
        on_reject: "raise" raises `ApprovalRejected`; "return" returns it.
        **options: As follows.

            - `action`: a sentence about the call with `{argument}` places; the question.
            - `name`: pins the stored name; `module:qualname` without it.
            - `aliases`: former stored names.
            - `risk`: value or callable; medium unless set here or by policy.
            - `assignees`: who is asked, value or callable. Computed ones must be within the
              policy's `assignable` at high risk, and are never the requester.
            - `evidence`: facts that support the call, value or callable.
            - `summary`, `rationale`, `confidence`: the agent's own words and estimate (0 to 1),
              values or callables.
            - `live`: parameters that are not payload: never stored, shown or digested. A
              method's receiver is always one.
            - `hidden`: parameters that are stored encrypted and shown as commitments.
            - `sla`: how long a reviewer should take; shown.
            - `expires_after`: when an unanswered request ends; 7 days unless set.
            - `valid_for`: how long after the yes the body may start; 24 h unless set.
            - `on_drift`: when a replay of the step calls with other arguments: "block" the run,
              "ask" anew (at most 3 times), or "use_approved" arguments.
            - `verify`: tells of a call that was started and whose end is unknown whether it
              happened: called with its arguments, returns `Done(result)`, `NotDone()` or
              `Unknown()`.
            - `idempotent`: running the body again does no harm.
            - `policy`: further settings, over those of the flow and the client.

    Raises:
        ConfigurationError: An option names no parameter, the risk is critical (that needs a
            quorum), the name is taken, `verify` takes other arguments, or `fn` is a generator or
            already gated.
        ValueError: A duration is not positive.
    """
    if fn is not None:
        return Gate(options)(fn)
    return ReturningGate(options) if on_reject == "return" else Gate(options)


def keyed(fn: Callable[P, R], key: str) -> Callable[P, R]:
    """
    Return `fn` as a stored one-call run that any worker with the code executes.

    The same key with the same arguments is the same call: it is asked and executed once, and
    later calls get its result.

    Args:
        fn: A function under `require_approval`, without live parameters.
        key: The developer's own, unique for this function.

    Raises:
        ConfigurationError: `fn` is not gated, or its calls cannot be stored; on the call, when a
            step makes it.
        KeyConflict: On the call, when the key stands for other arguments.
        ApprovalError: On the call, when it was not approved, or needs a person first.
    """
    spec = required_gate_of(fn)
    refuse_unstorable(spec, why="a keyed call is stored and executed elsewhere")

    # Without the gate's mark: a keyed function is no gated function that a step may call.
    @functools.wraps(fn, updated=())
    async def call(*args: P.args, **kwargs: P.kwargs) -> object:
        _refuse_key_in_step(spec)
        return await default_host().call_gate(bind(spec, args, kwargs), key=key)

    @functools.wraps(fn, updated=())
    def call_blocking(*args: P.args, **kwargs: P.kwargs) -> object:
        _refuse_key_in_step(spec)
        return default_host().call_gate_blocking(bind(spec, args, kwargs), key=key)

    return cast("Callable[P, R]", call if spec.is_async else call_blocking)


def required_gate_of(fn: object) -> GateSpec:
    """Return the options of a gated function. Raises `ConfigurationError` when it is not gated."""
    spec = gate_of(fn)
    if spec is None:
        raise ConfigurationError(f"{fn!r} is not under @require_approval, so it asks nobody")
    return spec


def refuse_unstorable(spec: GateSpec, *, why: str) -> None:
    """Raise `ConfigurationError` when a call cannot be stored to be executed by its gate's name."""
    if spec.live:
        raise ConfigurationError(
            f"{spec.name} has live parameters ({', '.join(sorted(spec.live))}), and {why};"
            " pass what they need as payload, or look it up in the body"
        )
    if gate_specs.get(spec.name) is not spec:
        raise ConfigurationError(
            f"{spec.name} is the name of another function by now, and {why}; give each a name="
        )


def bind(spec: GateSpec, args: Sequence[object], kwargs: Mapping[str, object]) -> GateCall:
    """
    Bind one call: defaults filled in, payload and live parameters apart.

    Raises:
        TypeError: The arguments do not fit the signature.
    """
    bound = spec.signature.bind(*args, **kwargs)
    bound.apply_defaults()
    return GateCall(
        spec=spec,
        arguments={name: value for name, value in bound.arguments.items() if name not in spec.live},
        live={name: value for name, value in bound.arguments.items() if name in spec.live},
    )


def bind_to(fn: object, args: Sequence[object], kwargs: Mapping[str, object]) -> GateCall:
    """
    Bind a call of a gated function or method.

    Raises:
        ConfigurationError: It is not gated.
        TypeError: The arguments do not fit the signature.
    """
    spec = required_gate_of(fn)
    receiver: object = getattr(fn, "__self__", None)
    return bind(spec, args if receiver is None else (receiver, *args), kwargs)


def bind_partial(call: Callable[[], object]) -> GateCall:
    """Bind a `functools.partial` of a gated function. Raises `ConfigurationError` for anything else."""
    if not isinstance(call, functools.partial):
        raise ConfigurationError(f"together() takes functools.partial(gated, ...), not {call!r}")
    partial = cast("functools.partial[object]", call)
    return bind_to(partial.func, partial.args, partial.keywords)


async def together(*calls: Callable[[], object]) -> tuple[object, ...]:
    """
    Ask about several gated calls at once, in one commit, and suspend once for all of them.

    When all are decided, the approved bodies run in the order given, and what they return is
    returned in that order. A refusal is raised once every approved body has run.

    Args:
        *calls: `functools.partial` of functions under `require_approval`.

    Raises:
        ConfigurationError: Called outside a step, or with something else.
        ApprovalError: The first call that was not approved.
    """
    scope = current_scope.get()
    if scope is None:
        raise ConfigurationError("together() belongs into a flow's step")
    return tuple(await scope.call([bind_partial(call) for call in calls]))


@overload
async def once(
    name: str, fn: Callable[P, Awaitable[R]], /, *args: P.args, **kwargs: P.kwargs
) -> R: ...
@overload
async def once(name: str, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R: ...
async def once(name: str, fn: Callable[..., object], /, *args: object, **kwargs: object) -> object:
    """
    Run `fn` once in this step, however often the step is replayed, and return what it returned.

    At least once: a crash between its end and the commit runs it again, and when it raises,
    nothing is remembered.

    Args:
        name: Unique within the step.
        fn: What to run, sync (in this thread) or async.
        *args: For `fn`.
        **kwargs: For `fn`.

    Raises:
        ConfigurationError: Called outside a step.
        CodecError: What it returned cannot be stored.
    """
    scope = current_scope.get()
    if scope is None:
        raise ConfigurationError("once() belongs into a flow's step")

    async def body() -> object:
        result = fn(*args, **kwargs)
        return await result if inspect.isawaitable(result) else result

    return await scope.once(name, body)


def _wrap(fn: Callable[P, R], spec: GateSpec) -> Callable[P, R]:
    @functools.wraps(fn)
    async def call(*args: P.args, **kwargs: P.kwargs) -> object:
        bound = bind(spec, args, kwargs)
        scope = _scope_of_caller(spec)
        if scope is None:
            return await default_host().call_gate(bound, key=None)
        return (await scope.call([bound]))[0]

    @functools.wraps(fn)
    def call_blocking(*args: P.args, **kwargs: P.kwargs) -> object:
        bound = bind(spec, args, kwargs)
        scope = _scope_of_caller(spec)
        if scope is None:
            return default_host().call_gate_blocking(bound, key=None)
        return scope.call_blocking(bound)

    wrapped = call if spec.is_async else call_blocking
    setattr(wrapped, _GATE, spec)
    return cast("Callable[P, R]", wrapped)


def _scope_of_caller(spec: GateSpec) -> Scope | None:
    scope = current_scope.get()
    if scope is not None or declared_outside():
        return scope
    # A plain thread has an empty context, so a call from a pool that a step started looks like
    # a call outside any flow, and would be asked and executed apart from the run.
    if threading.current_thread() is not threading.main_thread() and steps_run_elsewhere():
        raise ConfigurationError(
            f"{spec.name} was called in a thread that knows no step, while steps are running:"
            " copy the context (contextvars.copy_context().run), or use signoff.to_thread;"
            " a thread that belongs to no flow says so with signoff.outside_flow()"
        )
    return None


def _refuse_key_in_step(spec: GateSpec) -> None:
    if _scope_of_caller(spec) is not None:
        raise ConfigurationError(
            f"keyed({spec.name}) waits for its answer, and a step does not: call {spec.name}"
            " itself, which is journaled in a step and needs no key"
        )


def _spec(fn: Callable[..., object], on_reject: OnReject, options: GateOptions) -> GateSpec:
    _check_function(fn)
    signature = inspect.signature(fn)
    name = options.get("name") or default_name(fn)
    risk = options.get("risk")
    assignees = options.get("assignees", ())
    spec = GateSpec(
        name=name,
        aliases=tuple(options.get("aliases", ())),
        fn=fn,
        signature=signature,
        is_async=inspect.iscoroutinefunction(fn),
        hints=registered_hints(fn),
        action=options.get("action") or f"Run {fn.__name__}",
        live=frozenset((*options.get("live", ()), *_receiver(fn, signature))),
        hidden=tuple(options.get("hidden", ())),
        risk=risk,
        assignees=assignees if callable(assignees) else addresses_in(assignees),
        evidence=options.get("evidence", ()),
        summary=options.get("summary", ""),
        rationale=options.get("rationale", ""),
        confidence=options.get("confidence"),
        on_reject=on_reject,
        on_drift=options.get("on_drift", "block"),
        verify=options.get("verify"),
        idempotent=options.get("idempotent", False),
        policy=_gate_policy(
            options.get("policy"),
            risk=None if callable(risk) else risk,
            sla=options.get("sla"),
            expires_after=options.get("expires_after"),
            valid_for=options.get("valid_for"),
        ),
    )
    _check_names(spec)
    _check_action(spec)
    _check_verify(spec)
    gate_specs.add(spec, origin=default_name(fn), names=(spec.name, *spec.aliases))
    return spec


def _check_function(fn: object) -> None:
    if isinstance(fn, (classmethod, staticmethod)):
        raise ConfigurationError(
            "put @require_approval inside @classmethod or @staticmethod, nearer to the function"
        )
    if not hasattr(fn, "__qualname__"):
        raise ConfigurationError(f"{fn!r} is no function; gate the function that it calls")
    if inspect.isgeneratorfunction(fn) or inspect.isasyncgenfunction(fn):
        raise ConfigurationError(f"{default_name(fn)} is a generator, which cannot be one call")
    if gate_of(fn) is not None:
        raise ConfigurationError(f"{default_name(fn)} has two require_approval gates; keep one")


def _receiver(fn: Callable[..., object], signature: inspect.Signature) -> tuple[str, ...]:
    # A function in a class body has a dotted qualname; its first parameter is the receiver,
    # unless it is to become a static method, which nobody calls `self` or `cls`.
    parts = fn.__qualname__.split(".")
    first = next(iter(signature.parameters), "")
    in_class = len(parts) > 1 and parts[-2] != "<locals>"
    return (first,) if in_class and first in {"self", "cls"} else ()


def _check_names(spec: GateSpec) -> None:
    for option, names in (("live", spec.live), ("hidden", spec.hidden)):
        for name in names:
            if name not in spec.signature.parameters:
                raise ConfigurationError(
                    f"{spec.name}: {option}={name!r} is none of its parameters"
                    f" ({', '.join(spec.signature.parameters)})"
                )
    both = spec.live & set(spec.hidden)
    if both:
        raise ConfigurationError(f"{spec.name}: {', '.join(sorted(both))} is both live and hidden")


def _check_action(spec: GateSpec) -> None:
    payload = [name for name in spec.signature.parameters if name not in spec.live]
    try:
        places = list(Formatter().parse(spec.action))
    except ValueError as error:
        raise ConfigurationError(f"{spec.name}: action={spec.action!r}: {error}") from error
    for _, place, form, conversion in places:
        if place is not None and (place not in payload or form or conversion):
            raise ConfigurationError(
                f"{spec.name}: action={spec.action!r} has a place that is none of its arguments"
                f" ({', '.join(payload)}) as it stands; write {{name}}"
            )


def _check_verify(spec: GateSpec) -> None:
    if spec.verify is None:
        return
    try:
        inspect.signature(spec.verify).bind(**dict.fromkeys(spec.signature.parameters))
    except (TypeError, ValueError) as error:
        raise ConfigurationError(
            f"{spec.name}: verify= is called with the function's arguments by name, and does not"
            f" take them: {error}"
        ) from error


def registered_hints(fn: Callable[..., object]) -> dict[str, object]:
    """
    Return a function's annotations, their types registered with the codec.

    Where one of them names something that exists for type checkers only, or not yet, there are
    none: such types have to be registered by hand, and the codec says so when it meets one.
    """
    try:
        hints: dict[str, object] = get_type_hints(fn, include_extras=True)
    except (NameError, TypeError, AttributeError):
        return {}
    for annotation in hints.values():
        codec.register_annotation(annotation)
    return hints


def _labels(emit: Sequence[str] | type[Enum] | None) -> tuple[str, ...]:
    if emit is None:
        return ()
    if isinstance(emit, type):
        return tuple(str(member.value) for member in emit)
    if isinstance(emit, str):
        raise ValueError(  # noqa: TRY004 - as for every other slip in the labels
            f"emit={emit!r} is one text; write emit=[{emit!r}, ...]"
        )
    return tuple(emit)


def _gate_policy(
    policy: Policy | None,
    *,
    risk: Risk | None,
    sla: timedelta | None,
    expires_after: timedelta | None,
    valid_for: timedelta | None,
) -> Policy:
    own = Policy(risk=risk, sla=sla, expires_after=expires_after, valid_for=valid_for)
    merged = own.over(policy or Policy())
    refuse_critical(merged.risk)
    return merged


def refuse_critical(risk: Risk | None) -> None:
    """Raise `ConfigurationError` for critical risk, which takes a quorum of two."""
    if risk == "critical":
        raise ConfigurationError(
            'risk="critical" takes a quorum of two people, which this version does not have;'
            ' use risk="high"'
        )
