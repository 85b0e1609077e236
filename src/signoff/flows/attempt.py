"""
One attempt at one step: what the gated calls, `once` and child flows inside it meet (floor 6).

Whatever was journaled in an earlier attempt is met again and not repeated. All work on the
store, and every approved body of a coroutine function, runs in tasks of the executor's own, so
that a suspension or a cancelled task group in the step cancels none of it. A body that is not
one runs in the thread that waits for it, and such a task waits with it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Generic, NoReturn, Protocol, TypeVar, cast

import anyio
from anyio import from_thread
from anyio.abc import TaskGroup
from anyio.lowlevel import EventLoopToken, current_token
from typing_extensions import override

from signoff.context import Scope, Suspend
from signoff.errors import (
    ApprovalRejected,
    CodecError,
    ConfigurationError,
    SealInvalidError,
    StoreError,
)
from signoff.flows.asking import Asking
from signoff.flows.calls import WAITS, Answer, CallKey, Calls, Permit, Plan, Settled
from signoff.flows.drafts import call_digest
from signoff.flows.performing import call_with, in_body, perform, refuse_in_body, run_body
from signoff.flows.places import calling_place
from signoff.flows.session import Blocked, Lost, Part, Session
from signoff.model.gate import GateCall, GateSpec
from signoff.model.run import Call

_log = logging.getLogger("signoff.flows")

T = TypeVar("T")


class Begun(Part, Protocol):
    """A run about to be stored."""

    run_id: str


class Children(Protocol):
    """What an attempt needs to run child flows; the executor fills it."""

    def name_of(self, flow: object) -> str:
        """Return the stored name of a flow's class."""
        ...

    def kept(self, flow: object) -> AbstractContextManager[None]:
        """Keep a flow's instance to one run. Raises `ConfigurationError` when it has another."""
        ...

    async def begin(
        self, flow: object, inputs: Mapping[str, object], *, parent: Session, step: str
    ) -> Begun:
        """
        Return a child run, claimed by this process, for the parent's own commit.

        Raises:
            ValueError: An input does not fit the child's state.
            RunError: A run with the id that it is given is open.
            StoreError: The store failed.
            Exception: What the child's state raised.
        """
        ...

    async def drive(self, begun: Begun, flow: object) -> None:
        """Run it to its end or suspension."""
        ...

    async def end_of(self, run_id: str) -> Settled | None:
        """Return what a child came to, or `None` while it has not ended."""
        ...


@dataclass(slots=True, eq=False)
class Attempt(Scope):
    """
    The `Scope` of one attempt.

    Attributes:
        session: The run.
        occurrence_id: The execution of the step.
        tasks: Where the executor's own tasks live, beside the one that runs the step.
        children: Runs child flows.
        lenient: Whether new questions are asked although journaled calls were not met yet.
        suspended: Whether the suspend signal was raised.
        lost: Whether another holder has the run.
        broken: What the store failed with, so that the attempt is void.
    """

    session: Session
    occurrence_id: str
    tasks: TaskGroup
    children: Children
    lenient: bool = False
    suspended: bool = False
    lost: bool = False
    broken: Exception | None = None
    _calls: Calls = field(init=False)
    _asks: Asking | None = None
    _open: int = 0
    _ended: bool = False
    _all_closed: anyio.Event | None = None
    _token: EventLoopToken = field(default_factory=current_token)
    _loop_thread: int = field(default_factory=threading.get_ident)
    _place: str = ""

    def __post_init__(self) -> None:
        self._calls = Calls(self.session, self.occurrence_id)

    # What user code calls.

    @override
    async def call(self, calls: Sequence[GateCall]) -> Sequence[object]:
        refuse_in_body()
        self._refuse_other_loop(", ".join(call.spec.name for call in calls))
        self._raise_again()
        answers = await self._own(lambda: self._ask_and_perform(calls))
        if WAITS in answers:
            self._suspend()
        return [self._returned(answer, call) for answer, call in zip(answers, calls, strict=True)]

    @override
    def call_blocking(self, call: GateCall) -> object:
        refuse_in_body()
        self._refuse_on_loop(call.spec.name)
        self._raise_again()
        thread = _CallingThread(self._token)
        body = thread.run_body
        (answer,) = self._from_thread(thread, lambda: self._ask_and_perform([call], body))
        return self._returned(answer, call)

    @override
    async def once(self, name: str, body: Callable[[], Awaitable[object]]) -> object:
        self._refuse_other_loop(f"once({name!r})")
        if not in_body():
            # An approved body goes on to its end, whatever else its step waits for.
            self._raise_again()
        key: CallKey = ("once", name, "", 0)
        if key in self._calls.met:
            raise ConfigurationError(f"once({name!r}) is used twice in one step; give each a name")
        self._calls.met.add(key)
        found = self._calls.find(key)
        if found is None:
            try:
                result = await body()
                tree = self._calls.codec.to_tree(result, path=f"once({name!r})")
            except BaseException:
                # Nothing is journaled, so the step may try again under this name.
                self._calls.met.discard(key)
                raise
            found = Call(kind="once", name=name, digest="", status="done", result=tree)
            await self._remember(Plan(calls=[found]))
        return self._calls.codec.from_tree(found.result, path=f"once({name!r})")

    @override
    async def child(self, flow: object, inputs: Mapping[str, object] | None) -> object:
        refuse_in_body()
        self._refuse_other_loop(type(flow).__name__)
        self._raise_again()
        return self._returned(await self._own(lambda: self._child(flow, inputs or {})))

    @override
    def child_blocking(self, flow: object, inputs: Mapping[str, object] | None) -> object:
        refuse_in_body()
        self._refuse_on_loop(type(flow).__name__)
        self._raise_again()
        thread = _CallingThread(self._token)
        return self._returned(self._from_thread(thread, lambda: self._child(flow, inputs or {})))

    # What the executor asks when the step has ended.

    @property
    def blocked(self) -> Blocked | None:
        """Why the run needs a person, when the attempt came upon that."""
        return self._calls.blocked

    @property
    def deferred(self) -> bool:
        """Whether a call was put off, because journaled ones were not met yet."""
        return self._asks is not None and bool(self._asks.deferred)

    async def end(self) -> None:
        """Refuse what the step's own tasks still come with, and wait for the executor's."""
        self._ended = True
        if self._open:
            self._all_closed = anyio.Event()
            await self._all_closed.wait()

    def unmet(self) -> tuple[Call, ...]:
        """Return the journaled calls that this attempt did not come to, although it has to."""
        return self._calls.unmet()

    async def missed(self) -> Blocked:
        """Say what the step was to call and did not, and what it did instead."""
        return await self._asking.missed()

    def note_swallowed(self) -> None:
        """Say where the signal was raised that the step's own code has swallowed."""
        _log.warning(
            "step %s of %s swallowed the suspend signal raised at %s; it is suspended all the same."
            " Do not catch BaseException around gated calls",
            self._calls.occurrence.step,
            self._calls.run_id,
            self._place,
        )

    # Asking, and running what was approved.

    @property
    def _asking(self) -> Asking:
        if self._asks is None:
            self._asks = Asking(self._calls, lenient=self.lenient)
        return self._asks

    async def _ask_and_perform(
        self,
        calls: Sequence[GateCall],
        body: Callable[[GateSpec, Mapping[str, object]], Awaitable[object]] = run_body,
    ) -> list[Answer]:
        answers = await self._asking.answers(calls)
        if WAITS in answers:
            return answers
        return [
            await perform(self._calls, call.spec, answer, body)
            if isinstance(answer, Permit)
            else answer
            for call, answer in zip(calls, answers, strict=True)
        ]

    async def _remember(self, plan: Plan) -> None:
        if in_body():
            # A body is never suspended: what goes wrong here is an error in it.
            with anyio.CancelScope(shield=True):
                await self._calls.write(plan)
        else:
            await self._own(lambda: self._calls.write(plan))

    # Child flows.

    async def _child(self, flow: object, inputs: Mapping[str, object]) -> Answer:
        calls, name = self._calls, self.children.name_of(flow)
        inputs_json = calls.codec.dump(dict(inputs), path="inputs")
        digest = call_digest(inputs_json)
        key = calls.next_key("child", name, digest)
        calls.count("child", name, digest)
        found = calls.find(key)
        if found is None:
            if not self.lenient and calls.unmet():
                return self._asking.put_off(f"{name} with {inputs_json}")
            if not calls.occurrence.live:
                return WAITS
        calls.met.add(key)
        try:
            if found is None:
                with self.children.kept(flow):
                    return await self._begun(flow, inputs, key)
            if found.status == "done":
                return Settled(calls.codec.from_tree(found.result, path=name))
            return await self._child_end(key, found.child_run_id)
        except SealInvalidError as error:
            return calls.block("seal_invalid", f"{error.record_id}: {error.field}")

    async def _begun(self, flow: object, inputs: Mapping[str, object], key: CallKey) -> Answer:
        _, name, digest, nth = key
        try:
            begun = await self.children.begin(
                flow, inputs, parent=self.session, step=self.occurrence_id
            )
        except (SealInvalidError, StoreError):
            raise
        except Exception as refused:  # noqa: BLE001 - a state of the user's may raise anything
            return Settled(error=refused)
        call = Call(kind="child", name=name, digest=digest, nth=nth, child_run_id=begun.run_id)
        await self._calls.write(Plan(calls=[call], parts=[begun]))
        await self.children.drive(begun, flow)
        return await self._child_end(key, begun.run_id)

    async def _child_end(self, key: CallKey, run_id: str) -> Answer:
        end = await self.children.end_of(run_id)
        if end is None:
            return WAITS
        if end.error is None:
            tree = self._calls.codec.to_tree(end.value, path=key[1])
            await self._calls.mark(key, status="done", result=tree)
        return end

    # The odds and ends of being called from anywhere.

    async def _own(self, work: Callable[[], Awaitable[T]]) -> T:
        """Run `work` in a task that no cancellation of the step's own tasks reaches."""
        outcome = _Outcome[T]()
        ended = anyio.Event()

        async def run() -> None:
            try:
                await self._record(outcome, work)
            finally:
                ended.set()

        self._begin(run)
        await ended.wait()
        return self._unwrapped(outcome)

    def _from_thread(self, thread: _CallingThread, work: Callable[[], Awaitable[T]]) -> T:
        """Run `work` in such a task, and wait for it in this thread, which lends a hand."""
        outcome = _Outcome[T]()

        async def run() -> None:
            try:
                await self._record(outcome, work)
            finally:
                thread.let_go()

        from_thread.run_sync(self._begin, run, token=self._token)
        thread.serve()
        return self._unwrapped(outcome)

    def _begin(self, run: Callable[[], Coroutine[object, object, None]]) -> None:
        if self._ended:
            raise ConfigurationError(
                f"step {self._calls.occurrence.step!r} has ended, and a task or thread that it"
                " left behind makes a gated call; let the step wait for what it begins"
            )
        self._open += 1
        self.tasks.start_soon(self._counted, run)

    async def _counted(self, run: Callable[[], Coroutine[object, object, None]]) -> None:
        try:
            await run()
        finally:
            self._open -= 1
            if self._all_closed is not None and not self._open:
                self._all_closed.set()

    async def _record(self, outcome: _Outcome[T], work: Callable[[], Awaitable[T]]) -> None:
        try:
            outcome.value.append(await work())
        except (CodecError, ConfigurationError) as error:
            outcome.error = error
        except Lost:
            self.lost = True
        except Exception as error:  # noqa: BLE001 - the attempt is void, and the drive raises it
            # The store failed: nobody may go on in this step as if it had not.
            self.broken = error

    def _unwrapped(self, outcome: _Outcome[T]) -> T:
        if outcome.error is not None:
            raise outcome.error
        if not outcome.value:
            self._suspend()
        return outcome.value[0]

    def _returned(self, answer: Answer, call: GateCall | None = None) -> object:
        if answer is WAITS or self.blocked:
            self._suspend()
        settled = cast("Settled", answer)
        error = settled.error
        returns = call is not None and call.spec.on_reject == "return"
        if error is None:
            return settled.value
        if returns and isinstance(error, ApprovalRejected):
            return error
        raise error

    def _suspend(self) -> NoReturn:
        self.suspended = True
        self._place = calling_place()
        raise Suspend

    def _raise_again(self) -> None:
        if self.suspended:
            self._suspend()

    def _refuse_on_loop(self, name: str) -> None:
        if threading.get_ident() == self._loop_thread:
            raise ConfigurationError(
                f"{name} is not async, and blocks the event loop when an async step calls it:"
                " make it async, or call it through signoff.to_thread"
            )

    def _refuse_other_loop(self, name: str) -> None:
        if threading.get_ident() != self._loop_thread:
            raise ConfigurationError(
                f"{name} was awaited in another event loop than that of its step: make the step"
                " async and await it there, or make a gated function that is not async"
            )


@dataclass(slots=True, eq=False)
class _Outcome(Generic[T]):
    """What a piece of work came to; neither when it was cut off."""

    value: list[T] = field(default_factory=list[T])
    error: Exception | None = None


class _CallingThread:
    """The thread of a synchronous call: it runs what it is given until it is let go."""

    def __init__(self, token: EventLoopToken) -> None:
        self._token = token
        self._work: SimpleQueue[Callable[[], None] | None] = SimpleQueue()

    def serve(self) -> None:
        """Run what comes, in this thread, until `let_go`."""
        for work in iter(self._work.get, None):
            work()

    def let_go(self) -> None:
        """Let the thread go on with its step."""
        self._work.put(None)

    async def run_body(self, spec: GateSpec, arguments: Mapping[str, object]) -> object:
        """Have the thread run a body, and return what that returns."""
        ended = anyio.Event()
        value: list[object] = []
        raised: list[BaseException] = []

        def work() -> None:
            try:
                value.append(call_with(spec, arguments))
            except BaseException as error:  # noqa: BLE001 - raised in the task that waits
                raised.append(error)
            from_thread.run_sync(ended.set, token=self._token)

        self._work.put(work)
        await ended.wait()
        if raised:
            raise raised[0]
        return value[0]
