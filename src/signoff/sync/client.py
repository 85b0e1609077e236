"""The blocking client: the composition root once more, with a thread of its own (floor 9)."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Self

from typing_extensions import override

from signoff.audit.ledger import OnEvent
from signoff.client import Client as AsyncClient
from signoff.context import Host
from signoff.errors import ConfigurationError
from signoff.health import Health
from signoff.hitl import Who
from signoff.model.gate import GateCall
from signoff.model.policy import Policy
from signoff.model.request import Request
from signoff.ports import Clock, Engine, Inbox, Notifier, Store
from signoff.security.keyring import Keyring
from signoff.sync.loop import Asked, ClientLoop, asked_requester, asked_reviewer
from signoff.sync.requests import BlockingHitl
from signoff.sync.runs import BlockingFlows
from signoff.worker import DrainReport


class Client(Host):
    """
    `signoff.Client` for code that does not await: the same methods, each blocking its thread.

    Use it as a context manager, and then from any thread, from several at once. It may be entered
    again while it is open; the last one to leave closes it, and calls that other threads still
    wait in are given up. On a thread that runs an event loop every call is refused: there
    `signoff.Client` is the right one.
    """

    def __init__(
        self,
        store: Store | None = None,
        *,
        notifiers: Sequence[Notifier] = (),
        inbox: Inbox | None = None,
        policy: Policy | None = None,
        requester: Who = None,
        reviewer: Who = None,
        clock: Clock | None = None,
        keyring: Keyring | None = None,
        engine: Engine | None = None,
        modules: Sequence[str] = (),
        on_event: OnEvent | None = None,
        lease: timedelta = timedelta(seconds=30),
    ) -> None:
        """
        Put a client together; nothing is opened yet and no thread is started.

        Args:
            store: As for `signoff.Client`, like all that is not named here.
            notifiers: How reviewers are told.
            inbox: Where their replies come in.
            policy: What holds where gate and flow say nothing.
            requester: Who starts runs; a callable is asked in the thread of each caller.
            reviewer: Who answers; a callable is asked in the thread of each caller.
            clock: Business time.
            keyring: The keys.
            engine: What runs tasks while serving.
            modules: Imported on opening.
            on_event: Called in the client's own thread, which does nothing else meanwhile.
            lease: How long a claim lasts without being renewed.

        Raises:
            ConfigurationError: Two notifiers have one name, or the policy's risk is critical.
        """
        self._asks_requester = Asked(requester, asked_requester)
        self._asks_reviewer = Asked(reviewer, asked_reviewer)
        self._client = AsyncClient(
            store,
            notifiers=notifiers,
            inbox=inbox,
            policy=policy,
            requester=self._asks_requester.name_in_loop,
            reviewer=self._asks_reviewer.name_in_loop,
            clock=clock,
            keyring=keyring,
            engine=engine,
            modules=modules,
            on_event=on_event,
            lease=lease,
        )
        self._loop = ClientLoop(self._client)
        self._flows = BlockingFlows(self._loop, self._asks_requester)
        self._hitl = BlockingHitl(self._loop, self._asks_requester, self._asks_reviewer)

    @property
    def flows(self) -> BlockingFlows:
        """The runs. Their methods raise `ConfigurationError` while the client is not open."""
        return self._flows

    @property
    def hitl(self) -> BlockingHitl:
        """The requests. Their methods raise `ConfigurationError` while the client is not open."""
        return self._hitl

    if not TYPE_CHECKING:

        async def __aenter__(self, *_: object) -> None:
            """Refuse `async with client:`. Raises `ConfigurationError`, always."""
            raise ConfigurationError(
                "this client is opened with `with client:`; `async with` is for signoff.Client"
            )

        __aexit__ = __aenter__

    def __enter__(self) -> Self:
        """
        Start the thread, open the store and agree on the keys.

        Raises:
            ConfigurationError: This thread runs an event loop.
            StoreError: The store cannot be opened.
            KeyringError: The keys are not those that the store was made with, or one is missing.
        """
        self._loop.enter()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the store and end the thread, once everybody has left."""
        self._loop.leave()

    def ask_here(self) -> None:
        """Let the person at this process's terminal answer what `kickoff` and gated calls ask."""
        self._client.ask_here()

    def drain(self) -> DrainReport:
        """
        Do all that is ready or due now, then return; as `signoff.Client.drain`.

        Raises:
            DrainLimit: There was still work after 1,000 passes.
            StoreError: The store cannot say what is to be done.
        """
        return self._loop.call(lambda client: client.drain())

    @contextmanager
    def serving(self, *, grace: timedelta = timedelta(0)) -> Generator[Self]:
        """
        Run engine, outbox, deadlines and inbox in the client's own thread until the block ends.

        The client stays open until then. What ends the serving early is raised with the block.

        Args:
            grace: How long what runs when the block ends may go on; as `signoff.Client.serving`.
        """
        with self._loop.kept_open() as portal:
            served = portal.wrap_async_context_manager(self._client.serving(grace=grace))
            served.__enter__()
            try:
                yield self
            finally:
                # Without what the block raised: a Ctrl-C is none of the loop's business.
                served.__exit__(None, None, None)

    def submit(
        self, fn: Callable[..., object], /, *args: object, key: str | None = None, **kwargs: object
    ) -> Request:
        """
        Ask about one gated call without waiting for the answer; as `signoff.Client.submit`.

        Args:
            fn: A function under `require_approval`, without live parameters.
            *args: For `fn`.
            key: The same key is the same call.
            **kwargs: For `fn`.

        Raises:
            ConfigurationError: `fn` is not gated, or has live parameters.
            KeyConflict: The key stands for other arguments.
            TypeError: The arguments do not fit `fn`.
            RunBlocked: The call cannot be asked about as things stand.
            Exception: What failed it before anybody was asked.
        """
        with self._asks_requester.here():
            return self._loop.call(lambda client: client.submit(fn, *args, key=key, **kwargs))

    def health(self) -> Health:
        """Return how things stand; as `signoff.Client.health`."""
        return self._loop.call(lambda client: client.health())

    def keys_in_use(self) -> frozenset[int]:
        """Return the ids of the keys that something alive still needs."""
        return self._loop.call(lambda client: client.keys_in_use())

    # What flows and gates need of a host; with `signoff.set_default_client(client)`.

    @override
    async def kickoff(self, flow: object, inputs: Mapping[str, object] | None) -> object:
        """Run a flow on the caller's own event loop."""
        with self._asks_requester.here():
            return await self._client.kickoff(flow, inputs)

    @override
    def kickoff_blocking(self, flow: object, inputs: Mapping[str, object] | None) -> object:
        """Run a flow in the client's own thread."""
        with self._asks_requester.here():
            return self._client.kickoff_blocking(flow, inputs)

    @override
    async def call_gate(self, call: GateCall, *, key: str | None) -> object:
        """Ask about one call on the caller's own event loop."""
        with self._asks_requester.here():
            return await self._client.call_gate(call, key=key)

    @override
    def call_gate_blocking(self, call: GateCall, *, key: str | None) -> object:
        """Ask about one call in the client's own thread."""
        with self._asks_requester.here():
            return self._client.call_gate_blocking(call, key=key)
