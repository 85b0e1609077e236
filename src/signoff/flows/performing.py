"""Running an approved body: started, then run, then recorded, and never cancelled between (floor 6)."""

from __future__ import annotations

import inspect
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import cast

import anyio
from anyio import to_thread
from anyio.lowlevel import checkpoint_if_cancelled

from signoff.errors import CodecError, ConfigurationError, StaleWriteError
from signoff.flows.calls import CallKey, Calls, Permit, Settled
from signoff.flows.failures import recorded
from signoff.flows.session import Lost
from signoff.model.changes import Changes, Signal
from signoff.model.gate import GateSpec
from signoff.model.values import Tree

_log = logging.getLogger("signoff.flows")

_inside_body: ContextVar[bool] = ContextVar("signoff_inside_body", default=False)

Body = Callable[[GateSpec, Mapping[str, object]], Awaitable[object]]
"""Runs a function with arguments by name: here, in a thread, or in the thread that waits for it."""


def in_body() -> bool:
    """Return whether an approved body is what is calling."""
    return _inside_body.get()


def refuse_in_body() -> None:
    """Raise `ConfigurationError` when an approved body is what is calling."""
    if in_body():
        raise ConfigurationError(
            "a gated call inside an approved body: the body runs once and cannot wait;"
            " make that call in the step"
        )


def call_with(spec: GateSpec, arguments: Mapping[str, object]) -> object:
    """Call the function behind a gate with arguments by name, positional-only ones too."""
    bound = inspect.BoundArguments(
        spec.signature, OrderedDict((name, arguments[name]) for name in spec.signature.parameters)
    )
    with _in_body():
        return spec.fn(*bound.args, **bound.kwargs)


async def run_body(spec: GateSpec, arguments: Mapping[str, object]) -> object:
    """Run a body: a coroutine function here, another in a thread of its own."""
    if not spec.is_async:
        # Its own limiter, because steps in threads may have used up the common one and wait.
        own = anyio.CapacityLimiter(1)
        return await to_thread.run_sync(call_with, spec, arguments, limiter=own)
    with _in_body():
        return await cast("Awaitable[object]", call_with(spec, arguments))


async def perform(calls: Calls, spec: GateSpec, permit: Permit, body: Body = run_body) -> Settled:
    """
    Run an approved body once, and return what it came to as a replay will.

    Raises:
        Lost: Another holder has the run, or may have it soon. What the body came to then is in
            a `late_result` row, if it ran.
        StoreError: The store failed; whether the body took effect may be in doubt.
    """
    await checkpoint_if_cancelled()
    settled: list[Settled] = []
    with anyio.CancelScope(shield=True):
        settled.append(await _performed(calls, spec, permit, body))
    return settled[0]


async def done(calls: Calls, spec: GateSpec, key: CallKey, result: object) -> Settled:
    """
    Record what a call returned, and return it as every replay will.

    Raises:
        CodecError: It cannot be stored, or is not what the function's annotation promises.
    """
    tree = calls.codec.to_tree(result, path=f"{spec.name} result")
    value = result_of(calls, spec, tree)
    await calls.mark(key, status="done", result=tree)
    return Settled(value)


def result_of(calls: Calls, spec: GateSpec, tree: Tree) -> object:
    """Return a journaled result. Raises `CodecError` when it is not what the annotation promises."""
    return calls.codec.from_tree(tree, spec.returns, path=f"{spec.name} result")


async def _performed(calls: Calls, spec: GateSpec, permit: Permit, body: Body) -> Settled:
    await _start(calls, permit.key)
    try:
        result = await body(spec, permit.arguments)
    except anyio.get_cancelled_exc_class() as cancelled:
        # No scope of ours reaches in here: the body waited for a task that was cancelled, or the
        # whole loop is being torn down. What it did until then, nobody knows.
        _log.warning("the body of %s was cancelled; its end is in doubt", spec.name)
        raise Lost from cancelled
    except Exception as error:  # noqa: BLE001 - whatever the body raises is its result
        return await _failed(calls, permit.key, error)
    return await _done(calls, spec, permit.key, result)


async def _start(calls: Calls, key: CallKey) -> None:
    session = calls.session
    if not session.may_start():
        raise Lost
    try:
        await calls.mark(key, remaining=True, status="started", fencing=session.held.fencing)
    except StaleWriteError:
        # By the store's clock too little of the lease is left: another may have the run soon.
        raise Lost from None
    if not session.may_start():
        # The process stood still between the commit and here; another may have the run.
        await calls.mark(key, status="waiting", fencing=0)
        raise Lost


async def _done(calls: Calls, spec: GateSpec, key: CallKey, result: object) -> Settled:
    try:
        return await done(calls, spec, key, result)
    except CodecError as error:
        return await _failed(calls, key, error)
    except Lost:
        tree = calls.codec.to_tree(result, path=f"{spec.name} result")
        await _report_late(calls, key, result=tree, error="")
        raise


async def _failed(calls: Calls, key: CallKey, error: Exception) -> Settled:
    failure = recorded(error, calls.codec)
    try:
        await calls.mark(key, status="failed", failure=failure)
    except Lost:
        await _report_late(calls, key, result=None, error=failure.message or failure.type_name)
        raise
    return Settled(error=error)


async def _report_late(calls: Calls, key: CallKey, *, result: Tree, error: str) -> None:
    """Tell the run, which others go on with, what became of a call: all that is left to do."""
    fencing = calls.session.held.fencing
    _, gate, digest, nth = key
    signal = Signal(
        run_id=calls.run_id,
        cause=f"late:{calls.occurrence_id}:{gate}:{digest}:{nth}:{fencing}",
        kind="late_result",
        facts={
            "occurrence_id": calls.occurrence_id,
            "gate": gate,
            "digest": digest,
            "nth": nth,
            "fencing": fencing,
            "result": result,
            "error": error,
        },
        created_at=await calls.session.now(),
    )
    await calls.session.shop.store.commit(Changes(signals=(signal,)))


@contextmanager
def _in_body() -> Generator[None]:
    token = _inside_body.set(True)
    try:
        yield
    finally:
        _inside_body.reset(token)
