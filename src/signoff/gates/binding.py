"""One call of a gated function: its arguments bound, payload and live ones apart (floor 6)."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import cast

from signoff.errors import ConfigurationError
from signoff.gates.declaring import required_gate_of
from signoff.model.gate import GateCall, GateSpec


def bind(spec: GateSpec, args: Sequence[object], kwargs: Mapping[str, object]) -> GateCall:
    """
    Bind one call: defaults filled in, payload and live parameters apart.

    Raises:
        TypeError: The arguments do not fit the signature.
    """
    try:
        bound = spec.signature.bind(*args, **kwargs)
    except TypeError as error:
        raise TypeError(f"{spec.fn.__qualname__}{spec.signature}: {error}") from None
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
