"""What a step calls besides gated functions: `together` and `once` (floor 6)."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import ParamSpec, TypeVar, overload

from signoff.context import current_scope
from signoff.errors import ConfigurationError
from signoff.gates.binding import bind_partial

P = ParamSpec("P")
R = TypeVar("R")
FirstT = TypeVar("FirstT")
SecondT = TypeVar("SecondT")
ThirdT = TypeVar("ThirdT")


@overload
async def together(
    one: Callable[[], Awaitable[FirstT]], two: Callable[[], Awaitable[SecondT]], /
) -> tuple[FirstT, SecondT]: ...
@overload
async def together(
    one: Callable[[], Awaitable[FirstT]],
    two: Callable[[], Awaitable[SecondT]],
    three: Callable[[], Awaitable[ThirdT]],
    /,
) -> tuple[FirstT, SecondT, ThirdT]: ...
@overload
async def together(*calls: Callable[[], Awaitable[R]]) -> tuple[R, ...]: ...
@overload
async def together(*calls: Callable[[], object]) -> tuple[object, ...]: ...
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
