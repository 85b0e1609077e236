"""
What happens when a gated function is called: in a step, outside a flow, under a key (floor 6).

A call looks for the step it runs in, and for the default host when there is none.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import ParamSpec, TypeVar, cast

from signoff.context import (
    Scope,
    current_scope,
    declared_outside,
    default_host,
    steps_run_elsewhere,
)
from signoff.errors import ConfigurationError
from signoff.gates.binding import bind
from signoff.gates.declaring import gate_specs, mark, required_gate_of
from signoff.model.gate import GateSpec

P = ParamSpec("P")
R = TypeVar("R")


def wrap(fn: Callable[P, R], spec: GateSpec) -> Callable[P, R]:
    """Return `fn` as its callers see it: the same type, and a call that waits for a yes."""

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
    mark(wrapped, spec)
    return cast("Callable[P, R]", wrapped)


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
