"""
A function and its options become a gate: checked, registered under its stored name (floor 6).

It is cheap and pure: nothing is read or opened, and every slip shows when the user's module loads.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from string import Formatter
from typing import Final, TypeAlias, TypedDict, TypeVar, get_args, get_type_hints

from signoff.codec import codec
from signoff.errors import ConfigurationError
from signoff.gates.policies import gate_policy
from signoff.model.gate import Arguments, GateSpec, OnDrift, OnReject, Verdict
from signoff.model.policy import Policy, Risk
from signoff.model.request import Evidence
from signoff.registry import Names, default_name
from signoff.rules.routing import addresses_in
from signoff.rules.slips import names_in, refuse_other_word, refuse_unknown_option

ValueT = TypeVar("ValueT")

Computed: TypeAlias = ValueT | Callable[[Arguments], ValueT]
"""An option that is given, or computed from the call's arguments by name."""

gate_specs: Final[Names[GateSpec]] = Names("gate")
"""Gates by stored name."""

_GATE: Final = "__signoff_gate__"


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


def mark(fn: object, spec: GateSpec) -> None:
    """Mark a wrapped function as gated, with its options."""
    setattr(fn, _GATE, spec)


def gate_of(fn: object) -> GateSpec | None:
    """Return the options of a function that `require_approval` wrapped."""
    found = getattr(fn, _GATE, None)
    return found if isinstance(found, GateSpec) else None


def required_gate_of(fn: object) -> GateSpec:
    """Return the options of a gated function. Raises `ConfigurationError` when it is not gated."""
    spec = gate_of(fn)
    if spec is None and gate_of(getattr(fn, "__wrapped__", None)) is not None:
        raise ConfigurationError(
            f"{fn!r} wraps a gated function, by keyed() perhaps, and is none itself: give the"
            " gated function"
        )
    if spec is None:
        raise ConfigurationError(f"{fn!r} is not under @require_approval, so it asks nobody")
    return spec


def declare(fn: Callable[..., object], on_reject: OnReject, options: GateOptions) -> GateSpec:
    """
    Return the gate of a function, and register it.

    Raises:
        ConfigurationError: As `require_approval` says.
    """
    _check_function(fn)
    _check_options(options)
    signature = inspect.signature(fn)
    name = options.get("name") or default_name(fn)
    risk = options.get("risk")
    assignees = options.get("assignees", ())
    spec = GateSpec(
        name=name,
        aliases=names_in("aliases", options.get("aliases", ())),
        fn=fn,
        signature=signature,
        is_async=inspect.iscoroutinefunction(fn),
        hints=registered_hints(fn),
        action=options.get("action") or f"Run {fn.__name__}",
        live=frozenset((*names_in("live", options.get("live", ())), *_receiver(fn, signature))),
        hidden=names_in("hidden", options.get("hidden", ())),
        risk=risk,
        assignees=assignees
        if callable(assignees)
        else addresses_in(names_in("assignees", assignees)),
        evidence=options.get("evidence", ()),
        summary=options.get("summary", ""),
        rationale=options.get("rationale", ""),
        confidence=options.get("confidence"),
        on_reject=on_reject,
        on_drift=options.get("on_drift", "block"),
        verify=options.get("verify"),
        idempotent=options.get("idempotent", False),
        policy=gate_policy(
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
    if isinstance(fn, str):
        raise ConfigurationError(f"{fn!r} is no function; write @require_approval(action={fn!r})")
    if not hasattr(fn, "__qualname__"):
        raise ConfigurationError(f"{fn!r} is no function; gate the function that it calls")
    if inspect.isgeneratorfunction(fn) or inspect.isasyncgenfunction(fn):
        raise ConfigurationError(f"{default_name(fn)} is a generator, which cannot be one call")
    if gate_of(fn) is not None:
        raise ConfigurationError(f"{default_name(fn)} has two require_approval gates; keep one")


def _check_options(options: GateOptions) -> None:
    refuse_unknown_option(options, GateOptions.__annotations__, of="require_approval()")
    refuse_other_word("on_drift", options.get("on_drift", "block"), get_args(OnDrift))


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
