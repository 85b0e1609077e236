"""
Where a gated call finds itself: the current attempt, the suspend signal, the host (floor 3).

Code below the client speaks of a running step as a `Scope` and of an open client as a `Host`;
who fills these roles is decided higher up.
"""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Protocol

from signoff.errors import ConfigurationError
from signoff.model.gate import GateCall
from signoff.model.request import Request


class Suspend(BaseException):
    """Unwinds a step that waits for a human. Private: nobody catches it but the executor."""


@dataclass(frozen=True, slots=True)
class Suspended:
    """
    What a run that waits for humans gives to whoever started it; not an exception.

    Attributes:
        run_id: The run.
        requests: What it waits for.
    """

    run_id: str
    requests: tuple[Request, ...]


class Scope(Protocol):
    """One attempt at one step, as seen by the calls inside it."""

    @abstractmethod
    async def call(self, calls: Sequence[GateCall]) -> Sequence[object]:
        """
        Return what gated calls return, their bodies run once each when they were approved.

        New requests of one `call` are opened in one commit, and it suspends once for all that
        wait. Nothing of it is cancelled with the step's own tasks.
        """

    @abstractmethod
    def call_blocking(self, call: GateCall) -> object:
        """Do so for one call from a thread; a synchronous body runs in that very thread."""

    @abstractmethod
    async def once(self, name: str, body: Callable[[], Awaitable[object]]) -> object:
        """Return the journaled result of `name`, or run `body` and journal what it returns."""

    @abstractmethod
    async def child(self, flow: object, inputs: Mapping[str, object] | None) -> object:
        """Run a flow as a child of this step."""

    @abstractmethod
    def child_blocking(self, flow: object, inputs: Mapping[str, object] | None) -> object:
        """Do so from a thread."""


class Host(Protocol):
    """What a gate or a flow needs of a client when no step is running."""

    @abstractmethod
    async def call_gate(self, call: GateCall, *, key: str | None) -> object:
        """Ask about one call, wait for the answer, and return what the call came to."""

    @abstractmethod
    def call_gate_blocking(self, call: GateCall, *, key: str | None) -> object:
        """Do so from a thread without an event loop."""

    @abstractmethod
    async def kickoff(self, flow: object, inputs: Mapping[str, object] | None) -> object:
        """Run a flow to its end or suspension."""

    @abstractmethod
    def kickoff_blocking(self, flow: object, inputs: Mapping[str, object] | None) -> object:
        """Do so from any thread but the one of the host's own loop."""


current_scope: ContextVar[Scope | None] = ContextVar("signoff_scope", default=None)

_outside: ContextVar[bool] = ContextVar("signoff_outside", default=False)

_running: dict[int, int] = {}
"""The attempts that this process is running, by identity, and the thread of each one's loop."""


@dataclass(slots=True)
class _DefaultHost:
    host: Host | None = None
    factory: Callable[[], Host] | None = None


_slot = _DefaultHost()


@contextmanager
def within(scope: Scope) -> Generator[None]:
    """Make `scope` the current one."""
    token = current_scope.set(scope)
    _running[id(scope)] = threading.get_ident()
    try:
        yield
    finally:
        del _running[id(scope)]
        current_scope.reset(token)


def steps_run_elsewhere() -> bool:
    """Return whether this process is running steps just now, and none on this thread's loop."""
    threads = set(_running.copy().values())
    return bool(threads) and threading.get_ident() not in threads


@contextmanager
def outside_flow() -> Generator[None]:
    """
    Say that calls made in this block belong to no flow, although a step may be running elsewhere.

    For a thread of your own, such as a web server's, that makes gated calls while this process
    also runs flows.
    """
    scope, outside = current_scope.set(None), _outside.set(True)
    try:
        yield
    finally:
        _outside.reset(outside)
        current_scope.reset(scope)


def declared_outside() -> bool:
    """Return whether the calling code said that it belongs to no flow."""
    return _outside.get()


def set_default_host(host: Host | None) -> None:
    """Make `host` what flows and gates without a client use; `None` goes back to the built-in one."""
    _slot.host = host


def fill_default_host(factory: Callable[[], Host]) -> None:
    """Say how the built-in default host is made, when one is first needed."""
    _slot.factory = factory


def default_host() -> Host:
    """Return the default host, made on first use. Raises `ConfigurationError` when nothing makes one."""
    if _slot.host is None:
        if _slot.factory is None:
            raise ConfigurationError("there is no default client; import signoff.client")
        _slot.host = _slot.factory()
    return _slot.host
