"""`require_approval`: a function whose calls wait for a human's yes (floor 6)."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Literal, ParamSpec, TypeVar, Unpack, get_args, overload

from signoff.errors import ApprovalRejected
from signoff.gates.calling import wrap
from signoff.gates.declaring import GateOptions, declare
from signoff.model.gate import OnReject
from signoff.rules.slips import refuse_other_word

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Gate:
    """
    What `require_approval(...)` returns: wraps a function so that its body waits for a yes.

    The wrapped function keeps its type, its signature and whether it is a coroutine function.
    """

    options: GateOptions

    def __call__(self, fn: Callable[P, R], /) -> Callable[P, R]:
        """Wrap a function or method; inside `@classmethod` and `@staticmethod`, not outside."""
        return wrap(fn, declare(fn, "raise", self.options))


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
        return wrap(fn, declare(fn, "return", self.options))


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
        TypeError: There is no such option.
        ConfigurationError: An option names no parameter, or is of another type than it says, the
            risk is critical (that needs a quorum), the name is taken, `verify` takes other
            arguments, or `fn` is a generator or already gated.
        ValueError: A duration is not positive.
    """
    refuse_other_word("on_reject", on_reject, get_args(OnReject))
    if fn is not None:
        return Gate(options)(fn)
    return ReturningGate(options) if on_reject == "return" else Gate(options)
