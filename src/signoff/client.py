"""The composition root: one object that holds a store, who is asked, and everything that works on it (floor 8)."""

from __future__ import annotations

import importlib
import logging
import sys
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Self, cast

import anyio
from typing_extensions import override

from signoff.bell import Bell
from signoff.context import Host, fill_default_host
from signoff.errors import ApprovalRejected, ConfigurationError, SignoffError
from signoff.gates import bind_to, refuse_bad_policy, refuse_unstorable
from signoff.model.policy import Policy
from signoff.rules.slips import names_in, refuse_bare_numbers
from signoff.threads import in_event_loop

if TYPE_CHECKING:
    from types import TracebackType

    from signoff.assembly import Machinery
    from signoff.audit.ledger import OnEvent
    from signoff.flows.api import Flows
    from signoff.flows.flow import Flow
    from signoff.foreground import Asker
    from signoff.health import Health
    from signoff.hitl import Hitl, Who
    from signoff.model.gate import GateCall
    from signoff.model.request import Request
    from signoff.ports import Clock, Engine, Inbox, Notifier, Store
    from signoff.security.keyring import Keyring
    from signoff.worker import DrainReport

_log = logging.getLogger("signoff.client")


class Client(Host):
    """
    A store with the people and the code that work on it.

    Use it as an async context manager: that opens the store. It may be entered again while it
    is open, from any event loop; the last one to leave closes it. Nothing runs in the
    background before `serving`.
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
        Put a client together; nothing is opened yet.

        Args:
            store: Where everything is kept; a `MemoryStore` without it.
            notifiers: How reviewers are told.
            inbox: Where their replies come in.
            policy: What holds where gate and flow say nothing.
            requester: Who starts runs, or a callable that is asked at each use.
            reviewer: Who answers through `hitl`, or a callable that is asked at each use.
            clock: Business time, for stores without a clock of their own.
            keyring: The keys. Without it: `SIGNOFF_KEY`, else a key file for a store in a file.
            engine: What runs tasks while serving; `engines.local` without it.
            modules: Imported on opening, so that their flows and gates are known.
            on_event: Called with every audit entry once it is durable.
            lease: How long a claim lasts without being renewed.

        Raises:
            ConfigurationError: Two notifiers have one name, the policy is misspelt or of critical
                risk, or something is given in place of a store, a notifier, an inbox, a list or a
                `timedelta`.
        """
        from signoff.stores.memory import MemoryStore  # noqa: PLC0415 - adapters load when used

        refuse_bare_numbers(lease=lease)
        _refuse_wrong_parts(store, notifiers, inbox)
        self._store = store if store is not None else MemoryStore()
        if clock is not None:
            self._store.use_clock(clock)
        self._notifiers = {notifier.name: notifier for notifier in notifiers}
        if len(self._notifiers) != len(notifiers):
            raise ConfigurationError("two notifiers have the same name; give one another name=")
        self._inbox = inbox
        self._policy = Policy() if policy is None else policy
        refuse_bad_policy(self._policy)
        self._requester = requester
        self._reviewer = reviewer
        self._keyring = keyring
        self._engine = engine
        self._modules = names_in("modules", modules)
        self._on_event = on_event
        self._lease = lease
        self._asker: Asker | None = None
        self._opened = 0
        self._opening = threading.Lock()
        self._bell = Bell()
        self._assembled: Machinery | None = None
        self._loops: list[tuple[int, anyio.lowlevel.EventLoopToken]] = []

    @property
    def flows(self) -> Flows:
        """The runs. Raises `ConfigurationError` while the client is not open."""
        return self._machinery.flows

    @property
    def hitl(self) -> Hitl:
        """The requests. Raises `ConfigurationError` while the client is not open."""
        return self._machinery.hitl

    # Opening.

    if not TYPE_CHECKING:

        def __enter__(self, *_: object) -> None:
            """Refuse `with client:`. Raises `ConfigurationError`, always."""
            raise ConfigurationError(
                "this client is opened with `async with client:`; `with` is for signoff.sync.Client"
            )

        __exit__ = __enter__

    async def __aenter__(self) -> Self:
        """
        Open the store and agree on the keys.

        Raises:
            StoreError: The store cannot be opened.
            KeyringError: The keys are not those that the store was made with, or one is retired
                or missing that something alive still needs.
        """
        await self._hold()
        self._loops.append((threading.get_ident(), anyio.lowlevel.current_token()))
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Let go of claims, drop connections and close the store."""
        self._loops.remove((threading.get_ident(), anyio.lowlevel.current_token()))
        await self._let_go()

    @asynccontextmanager
    async def _held(self) -> AsyncGenerator[None]:
        """Keep the client open for a while, whether or not its user opened it."""
        await self._hold()
        try:
            yield
        finally:
            await self._let_go()

    async def _hold(self) -> None:
        # In a thread, because the lock may be waited for in another event loop.
        await anyio.to_thread.run_sync(self._opening.acquire)
        try:
            if self._opened == 0:
                await self._open()
            self._opened += 1
        finally:
            self._opening.release()

    async def _let_go(self) -> None:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(self._opening.acquire)
            try:
                self._opened -= 1
                if self._opened == 0:
                    await self._close()
            finally:
                self._opening.release()

    async def _open(self) -> None:
        for module in self._modules:
            importlib.import_module(module)
        await self._store.__aenter__()
        try:
            self._assembled = await self._assemble()
        except BaseException:
            with anyio.CancelScope(shield=True):
                await self._store.__aexit__(None, None, None)
            raise

    async def _close(self) -> None:
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._store.__aexit__, None, None, None)
            if self._inbox is not None:
                stack.push_async_callback(self._inbox.aclose)
            for notifier in self._notifiers.values():
                stack.push_async_callback(notifier.aclose)
            machinery, self._assembled = self._machinery, None
            await anyio.to_thread.run_sync(machinery.keeper.close)

    async def _assemble(self) -> Machinery:
        from signoff.assembly import Machinery, Setup  # noqa: PLC0415 - the root stays light
        from signoff.keys import agree, find_keyring  # noqa: PLC0415 - the root stays light

        keyring = self._keyring
        if keyring is None:
            keyring = await anyio.to_thread.run_sync(find_keyring, self._store)
        await agree(self._store, keyring)
        machinery = Machinery(
            Setup(
                store=self._store,
                keyring=keyring,
                notifiers=self._notifiers,
                inbox=self._inbox,
                policy=self._policy,
                requester=self._who_requests,
                reviewer=self._reviewer,
                engine=self._engine or _local_engine(),
                on_event=self._on_event,
                lease=self._lease,
                asker=self._asker,
                bell=self._bell,
            )
        )
        for weakness in machinery.weaknesses():
            _log.warning("%s", weakness)
        return machinery

    def ask_here(self) -> None:
        """
        Let the person at this process's terminal answer what `kickoff` and gated calls ask.

        At the end of what is typed (Ctrl-D) `kickoff` leaves the run suspended, for others to
        answer; a gated call withdraws its request and raises `EOFError`.
        """
        from signoff.notifiers.console import ask  # noqa: PLC0415 - adapters load when used

        self._asker = partial(ask, read_line=input, write=print)
        if self._assembled is not None:
            self._assembled.foreground.asker = self._asker

    def _who_requests(self, given: str | None) -> str | None:
        configured = self._requester
        return given or (configured() if callable(configured) else configured)

    # Working.

    async def drain(self) -> DrainReport:
        """
        Do all that is ready or due now: runs, deadlines, deliveries, one poll of the inbox; repeat.

        Never waits for humans, later retries or other processes. Failed runs raise nothing here,
        and what could not be done for want of a server or of the disk is in the report.

        Returns:
            What was done.

        Raises:
            DrainLimit: There was still work after 1,000 passes.
            StoreError: The store cannot say what is to be done.
        """
        return await self._machinery.worker.drain()

    @asynccontextmanager
    async def serving(self, *, grace: timedelta = timedelta(0)) -> AsyncGenerator[Self]:
        """
        Run the engine, the outbox, the deadlines and the inbox until the block ends.

        Args:
            grace: How long what runs when the block ends may go on, while nothing new begins.
                What has not ended then is cut off, and whoever serves goes on with it at once;
                a step that was cut off runs again. A block that raises waits for nothing.

        Raises:
            ConfigurationError: The engine cannot serve here; the block is cancelled.
        """
        from signoff.worker import Shift  # noqa: PLC0415 - the root stays light

        machinery, shift = self._machinery, Shift()
        raised: Exception | None = None
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(machinery.serve, shift)
                machinery.foreground.serving += 1
                try:
                    yield self
                    await shift.end(grace=grace)
                except Exception as error:  # noqa: BLE001 - raised below, out of the group's wrapping
                    raised = error
                finally:
                    machinery.foreground.serving -= 1
                    group.cancel_scope.cancel()
        except BaseExceptionGroup as errors:
            raise _plain(errors) from None
        if raised is not None:
            raise raised

    async def submit(
        self, fn: Callable[..., object], /, *args: object, key: str | None = None, **kwargs: object
    ) -> Request:
        """
        Ask about one gated call without waiting; any worker with the code executes it.

        Args:
            fn: A function under `require_approval`, without live parameters.
            *args: For `fn`.
            key: The same key is the same call.
            **kwargs: For `fn`.

        Returns:
            The request.

        Raises:
            ConfigurationError: `fn` is not gated, or has live parameters.
            KeyConflict: The key stands for other arguments.
            TypeError: The arguments do not fit `fn`.
            ApprovalBlocked: The call cannot be asked about as things stand.
            Exception: What failed it before anybody was asked.
        """
        run_id = await self._submitted(bind_to(fn, args, kwargs), key=key)
        return await self._machinery.foreground.request_of(run_id)

    async def _submitted(self, call: GateCall, *, key: str | None = None) -> str:
        refuse_unstorable(call.spec, why="a submitted call is stored and executed elsewhere")
        return await self._machinery.foreground.stored_call(call, key)

    async def health(self) -> Health:
        """Return how things stand: what fails, what is blocked, who is not reached and why."""
        return await self._machinery.health()

    async def keys_in_use(self) -> frozenset[int]:
        """
        Return the ids of the keys that something alive still needs; the others may be retired.

        A client refuses to start with a keyring in which one of these is retired or missing.
        """
        return await self._machinery.keys_in_use()

    # What flows and gates without a client of their own need.

    @override
    async def kickoff(self, flow: object, inputs: Mapping[str, object] | None) -> object:
        """Run a flow to its end or suspension, with one attempt at the deliveries it made."""
        async with self._held():
            return await self._machinery.foreground.kickoff(
                cast("Flow[object]", flow), inputs or {}
            )

    @override
    def kickoff_blocking(self, flow: object, inputs: Mapping[str, object] | None) -> object:
        """Do so from any thread but the one of this client's own loop."""
        self._refuse_own_loop(
            "kickoff() blocks this client's own event loop; await kickoff_async()"
        )
        work = partial(self.kickoff, flow, inputs)
        if not in_event_loop():
            return self._blocking(work)
        # A plain thread would take the note of the running loop along in the caller's context.
        with anyio.from_thread.start_blocking_portal() as portal:
            return portal.call(anyio.to_thread.run_sync, self._blocking, work)

    @override
    async def call_gate(self, call: GateCall, *, key: str | None) -> object:
        """Ask about one call, wait for the answer, and return what the call came to."""
        async with self._held():
            foreground = self._machinery.foreground
            await foreground.ensure_served()
            try:
                if key is None:
                    return await foreground.own_call(call)
                run_id = await foreground.stored_call(call, key)
                return await foreground.to_the_end(run_id, code=lambda: None)
            except ApprovalRejected as refusal:
                if call.spec.on_reject == "raise":
                    raise
                return refusal

    @override
    def call_gate_blocking(self, call: GateCall, *, key: str | None) -> object:
        """Do so from a thread without an event loop."""
        if in_event_loop():
            raise ConfigurationError(
                f"{call.spec.name} is not async and waits for a human, which would block this"
                " event loop: make it async, or call it through signoff.to_thread"
            )
        return self._blocking(partial(self.call_gate, call, key=key))

    def _blocking(self, work: Callable[[], Coroutine[object, object, object]]) -> object:
        loops = tuple(self._loops)
        if not loops:
            return anyio.run(work)
        return anyio.from_thread.run(work, token=loops[-1][1])

    def _refuse_own_loop(self, message: str) -> None:
        if any(thread == threading.get_ident() for thread, _ in self._loops):
            raise ConfigurationError(message)

    @property
    def _machinery(self) -> Machinery:
        if self._assembled is None:
            raise ConfigurationError("the client is not open; use `async with client:`")
        return self._assembled


def default_client() -> Client:
    """
    Return a new client over a `MemoryStore`, for flows and gates that were given none.

    It asks at the terminal when there is one, and otherwise says that nothing is durable.
    """
    client = Client()
    if sys.stdin.isatty() and sys.stdout.isatty():
        client.ask_here()
    else:
        _log.warning(
            "no client was set, so runs live in the memory of this process and end with it;"
            " use signoff.set_default_client(Client(store=...))"
        )
    return client


def _refuse_wrong_parts(store: object, notifiers: object, inbox: object) -> None:
    if isinstance(store, (str, Path)):
        raise ConfigurationError(_about_place(str(store)))
    if isinstance(store, type):
        raise ConfigurationError(f"store={store.__name__} is a class; write {store.__name__}(...)")
    if hasattr(notifiers, "send"):
        raise ConfigurationError(
            f"notifiers={type(notifiers).__name__}(...) is one notifier; write notifiers=[...]"
        )
    given = (notifiers,) if isinstance(notifiers, str) else cast("Sequence[object]", notifiers)
    for one in given:
        # A scripted reviewer says itself, when it is asked for its name, where it belongs.
        if isinstance(one, type) or not (hasattr(one, "name") and hasattr(one, "send")):
            raise ConfigurationError(f"notifiers=[{_kind(one)}] sends nothing; it is no notifier")
    if inbox is not None and (isinstance(inbox, type) or not hasattr(inbox, "fetch")):
        raise ConfigurationError(f"inbox={_kind(inbox)} reads nothing; it is no inbox")


def _kind(given: object) -> str:
    if isinstance(given, type):
        return f"{given.__name__} without its parentheses"
    return repr(given) if isinstance(given, str) else f"{type(given).__name__}(...)"


def _about_place(place: str) -> str:
    """Return what to write instead of a place as a store."""
    if place.startswith(("postgresql://", "postgres://")):
        return (
            "store= is an address; write store=PostgresStore(...), from signoff.stores.postgres,"
            " with it"
        )
    path = place.removeprefix("sqlite:///")
    return f"store={place!r} is a path; write store=SQLiteStore({path!r})"


def _plain(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the one error of ours that ended a group of tasks, or else the group."""
    inner = errors.exceptions[0]
    if len(errors.exceptions) == 1 and isinstance(inner, BaseExceptionGroup):
        return _plain(cast("BaseExceptionGroup[BaseException]", inner))
    return inner if len(errors.exceptions) == 1 and isinstance(inner, SignoffError) else errors


def _local_engine() -> Engine:
    from signoff.engines.local import LocalEngine  # noqa: PLC0415 - adapters load when used

    return LocalEngine()


fill_default_host(default_client)
