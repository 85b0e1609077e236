"""
One attempt at one step: what the gated calls, `once` and child flows inside it meet (floor 6).

Whatever was journaled in an earlier attempt is met again and not repeated. All work on the
store, and every approved body of a coroutine function, runs in tasks of the executor's own, so
that a suspension or a cancelled task group in the step cancels none of it.
"""

from __future__ import annotations

import inspect
import logging
import threading
import traceback
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final, NoReturn, Protocol, TypeVar, cast

import anyio
from anyio import from_thread, to_thread
from anyio.abc import TaskGroup
from anyio.lowlevel import EventLoopToken, current_token
from typing_extensions import override

from signoff.context import Scope, Suspend
from signoff.errors import (
    ApprovalBlocked,
    ApprovalCancelled,
    ApprovalError,
    ApprovalExpired,
    ApprovalRejected,
    CodecError,
    ConfigurationError,
    SealInvalidError,
)
from signoff.flows.drafts import (
    MAX_ATTEMPTS,
    call_digest,
    call_request,
    doubt_request,
    encrypted_arguments,
    hidden_place,
    shown_arguments,
)
from signoff.flows.failures import raised_again, recorded
from signoff.flows.session import Blocked, Lost, Part, Session, call_key, find_call, with_call
from signoff.model.changes import Changes, Signal
from signoff.model.decision import Resolution
from signoff.model.gate import Done, GateCall, GateSpec, NotDone, Unknown, Verdict
from signoff.model.request import CallIdentity, Request
from signoff.model.run import BlockedReason, Call, Occurrence
from signoff.model.values import Tree, one_line
from signoff.rules.lifecycle import Cancel
from signoff.rules.deadlines import may_start
from signoff.security.hidden import decrypt

_log = logging.getLogger("signoff.flows")

T = TypeVar("T")
CallKey = tuple[str, str, str, int]

MAX_DRIFTS: Final = 3
_inside_body: ContextVar[bool] = ContextVar("signoff_inside_body", default=False)
_PACKAGE: Final = str(Path(__file__).resolve().parent.parent)


@dataclass(frozen=True, slots=True, kw_only=True)
class Permit:
    """
    Leave to run an approved body once.

    Attributes:
        key: Which call.
        arguments: Exactly what was approved, decoded anew, with the live ones added.
    """

    key: CallKey
    arguments: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Settled:
    """
    What a call came to without running its body now.

    Attributes:
        value: What it returns.
        error: What it raises, if it does.
    """

    value: object = None
    error: Exception | None = None


@dataclass(slots=True, eq=False)
class Plan:
    """
    What one look at some calls wants to commit.

    Attributes:
        calls: New versions of journaled calls.
        dropped: Calls that others take the place of.
        parts: What else goes into the commit.
    """

    calls: list[Call] = field(default_factory=list[Call])
    dropped: list[Call] = field(default_factory=list[Call])
    parts: list[Part] = field(default_factory=list[Part])


class Begun(Part, Protocol):
    """A run about to be stored."""

    run_id: str


class Children(Protocol):
    """What an attempt needs to run child flows; the executor fills it."""

    def name_of(self, flow: object) -> str:
        """Return the stored name of a flow's class."""
        ...

    async def begin(
        self, flow: object, inputs: Mapping[str, object], *, parent: Session, step: str
    ) -> Begun:
        """Return a child run, claimed by this process, for the parent's own commit."""
        ...

    async def drive(self, begun: Begun, flow: object) -> None:
        """Run it to its end or suspension."""
        ...

    async def end_of(self, run_id: str) -> Settled | None:
        """Return what a child came to, or `None` while it has not ended."""
        ...


class _Waits:
    """A call that waits for a human."""


_WAITS: Final = _Waits()

Answer = Permit | Settled | _Waits


@dataclass(slots=True, eq=False)
class Attempt(Scope):
    """
    The `Scope` of one attempt.

    Attributes:
        session: The run.
        occurrence_id: The execution of the step.
        tasks: Where the executor's own tasks live.
        children: Runs child flows.
        lenient: Whether new questions are asked although journaled calls were not met yet,
            because an earlier attempt has met them later.
        suspended: Whether the suspend signal was raised.
        deferred: Whether it was raised for a call that was not asked about yet.
        blocked: Why the run needs a person, when the attempt came upon that.
        lost: Whether another holder has the run.
        broken: What the store failed with, so that the attempt is void.
    """

    session: Session
    occurrence_id: str
    tasks: TaskGroup
    children: Children
    lenient: bool = False
    suspended: bool = False
    deferred: bool = False
    blocked: Blocked | None = None
    lost: bool = False
    broken: Exception | None = None
    _met: set[CallKey] = field(default_factory=set[CallKey])
    _counted: Counter[CallKey] = field(default_factory=Counter[CallKey])
    _asking: anyio.Lock = field(default_factory=anyio.Lock)
    _token: EventLoopToken = field(default_factory=current_token)
    _loop_thread: int = field(default_factory=threading.get_ident)
    _place: str = ""

    @property
    def run_id(self) -> str:  # type: ignore[override] - a read-only view
        """The run."""
        return self.session.run.run_id

    @property
    def occurrence(self) -> Occurrence:
        """The occurrence as it was last stored."""
        return self.session.journal[self.occurrence_id]

    # What user code calls.

    @override
    async def call(self, calls: Sequence[GateCall]) -> Sequence[object]:
        self._refuse_in_body()
        self._raise_again()
        results = await self._own(lambda: self._ask_and_perform(calls))
        return self._returned(calls, results)

    @override
    def call_blocking(self, call: GateCall) -> object:
        self._refuse_in_body()
        self._refuse_on_loop(call.spec.name)
        self._raise_again()
        (answer,) = self._from_thread(lambda: self._ask([call]))
        if isinstance(answer, Permit):
            answer = self._perform_here(call, answer)
        return self._returned([call], [answer])[0]

    @override
    async def once(self, name: str, body: Callable[[], Awaitable[object]]) -> object:
        self._raise_again()
        key: CallKey = ("once", name, "", 0)
        if key in self._met:
            raise ConfigurationError(f"once({name!r}) is used twice in one step; give each a name")
        self._met.add(key)
        found = find_call(self.occurrence, key)
        if found is None:
            result = await body()
            tree = self.session.shop.codec.to_tree(result, path=f"once({name!r})")
            call = Call(kind="once", name=name, digest="", status="done", result=tree)
            await self._own(lambda: self._journal(call))
            return result
        return self.session.shop.codec.from_tree(found.result, path=f"once({name!r})")

    @override
    async def child(self, flow: object, inputs: Mapping[str, object] | None) -> object:
        self._refuse_in_body()
        self._raise_again()
        result = await self._own(lambda: self._child(flow, inputs or {}))
        return self._returned([], [result])[0]

    @override
    def child_blocking(self, flow: object, inputs: Mapping[str, object] | None) -> object:
        self._refuse_in_body()
        self._refuse_on_loop(type(flow).__name__)
        self._raise_again()
        result = self._from_thread(lambda: self._child(flow, inputs or {}))
        return self._returned([], [result])[0]

    # What the executor asks when the step has ended.

    def unmet(self) -> tuple[Call, ...]:
        """Return the journaled calls that this attempt did not come to."""
        return tuple(call for call in self.occurrence.calls if call_key(call) not in self._met)

    def note_swallowed(self) -> None:
        """Say where the signal was raised that the step's own code has swallowed."""
        _log.warning(
            "step %s of %s swallowed the suspend signal raised at %s; it is suspended all the same."
            " Do not catch BaseException around gated calls",
            self.occurrence.step,
            self.run_id,
            self._place,
        )

    # Asking.

    async def _ask_and_perform(self, calls: Sequence[GateCall]) -> list[Answer]:
        answers = await self._ask(calls)
        if any(answer is _WAITS for answer in answers):
            return answers
        return [
            await self._perform(call, answer) if isinstance(answer, Permit) else answer
            for call, answer in zip(calls, answers, strict=True)
        ]

    async def _ask(self, calls: Sequence[GateCall]) -> list[Answer]:
        async with self._asking:
            plan = Plan()
            answers = [await self._answer(call, plan) for call in calls]
            if plan.calls:
                await self._carry_out(plan)
            return answers

    async def _answer(
        self, call: GateCall, plan: Plan
    ) -> Answer:
        try:
            found, payload_json = self._find(call)
            if found is None:
                return await self._new(call, payload_json, plan)
            self._met.add(call_key(found))
            return await self._settle(call, found, plan)
        except SealInvalidError as error:
            return self._block("seal_invalid", f"{error.record_id}: {error.field}")
        except (ConfigurationError, CodecError) as error:
            return Settled(error=error)

    def _find(self, call: GateCall) -> tuple[Call | None, str]:
        """Return the journaled call that this one is, and this one's payload."""
        first: tuple[CallKey, str] | None = None
        keyring = self.session.shop.keyring
        kids = [key.kid for key in keyring.keys if keyring.usable(key.kid, "commitment")]
        for kid in kids if call.spec.hidden else kids[:1]:
            payload_json = self._payload(call, kid)
            base: CallKey = ("gate", call.spec.name, call_digest(payload_json), 0)
            key = (*base[:3], self._counted[base])
            first = first or (key, payload_json)
            found = find_call(self.occurrence, key) or self._by_alias(call.spec, key)
            if found is not None:
                self._counted[base] += 1
                return found, payload_json
        (key, payload_json) = cast("tuple[CallKey, str]", first)
        return None, payload_json

    def _by_alias(self, spec: GateSpec, key: CallKey) -> Call | None:
        keys = [(key[0], alias, key[2], key[3]) for alias in spec.aliases]
        return next((call for each in keys if (call := find_call(self.occurrence, each))), None)

    def _payload(self, call: GateCall, kid: int) -> str:
        shown = shown_arguments(
            call,
            keyring=self.session.shop.keyring,
            kid=kid,
            run_id=self.run_id,
            codec=self.session.shop.codec,
        )
        return self.session.shop.codec.dump(shown, path=call.spec.name)

    async def _new(
        self, call: GateCall, payload_json: str, plan: Plan
    ) -> Answer:
        spec = call.spec
        unmet = [each for each in self.unmet() if each.kind != "once"]
        same_gate = [each for each in unmet if each.name in {spec.name, *spec.aliases}]
        if not self.occurrence.live:
            return _WAITS
        if same_gate and not self.lenient:
            return await self._drifted(call, payload_json, same_gate[0], plan)
        if unmet and not self.lenient:
            # Perhaps a sibling task comes to the unmet call yet; until then nothing new is asked.
            self.deferred = True
            return _WAITS
        key = self._next_key(spec.name, payload_json)
        plan.calls.append(
            await self._opened(call, payload_json, nth=key[3], attempt=1, plan=plan)
        )
        self._met.add(key)
        return _WAITS

    def _next_key(self, gate: str, payload_json: str) -> CallKey:
        base: CallKey = ("gate", gate, call_digest(payload_json), 0)
        key = (*base[:3], self._counted[base])
        self._counted[base] += 1
        return key

    async def _opened(
        self,
        call: GateCall,
        payload_json: str,
        *,
        nth: int,
        attempt: int,
        plan: Plan,
        drifts: int = 0,
        note: str = "",
    ) -> Call:
        shop = self.session.shop
        identity = CallIdentity(
            occurrence_id=self.occurrence_id,
            gate=call.spec.name,
            digest=call_digest(payload_json),
            nth=nth,
            attempt=attempt,
        )
        draft = call_request(
            call,
            run=self.session.run,
            identity=identity,
            payload_json=payload_json,
            policy=shop.policy,
            now=await self.session.now(),
            note=note,
        )
        plan.parts.append(shop.desk.open(draft, actor=self.session.run.requester or "flow"))
        return Call(
            kind="gate",
            name=identity.gate,
            digest=identity.digest,
            nth=nth,
            attempt=attempt,
            request_id=draft.request_id,
            drifts=drifts,
            hidden=encrypted_arguments(
                call, keyring=shop.keyring, run_id=self.run_id, codec=shop.codec
            ),
        )

    async def _drifted(
        self,
        call: GateCall,
        payload_json: str,
        old: Call,
        plan: Plan,
    ) -> Answer:
        spec = call.spec
        if spec.on_drift == "use_approved":
            self._met.add(call_key(old))
            return await self._settle(call, old, plan)
        request = await self.session.shop.desk.load(old.request_id)
        if spec.on_drift == "block" or old.drifts == MAX_DRIFTS:
            return self._block(
                "drift",
                f"{spec.name} was asked about {request.payload_json}"
                f" and the replay calls it with {payload_json}",
            )
        if request.status == "pending":
            plan.parts.append(
                await self.session.shop.desk.end(
                    request,
                    Cancel(by="flow", reason="superseded", channel="timer"),
                    now=await self.session.now(),
                )
            )
        key = self._next_key(spec.name, payload_json)
        renewed = await self._opened(
            call, payload_json, nth=key[3], attempt=1, plan=plan, drifts=old.drifts + 1
        )
        plan.dropped.append(old)
        plan.calls.append(renewed)
        self._met.add(key)
        return _WAITS

    async def _settle(
        self, call: GateCall, found: Call, plan: Plan
    ) -> Answer:
        codec = self.session.shop.codec
        if found.status == "done":
            result = codec.from_tree(found.result, call.spec.returns, path=call.spec.name)
            return Settled(result)
        if found.status == "failed" and found.failure is not None:
            return Settled(error=raised_again(found.failure, run_id=self.run_id, codec=codec))
        if not found.request_id:
            _none, payload_json = self._find_again(call, found)
            plan.calls.append(
                await self._opened(
                    call,
                    payload_json,
                    nth=found.nth,
                    attempt=found.attempt,
                    plan=plan,
                    note="asked again after a failure",
                )
            )
            return _WAITS
        request = await self.session.shop.desk.load(found.request_id)
        self._check_identity(request, found)
        if found.status == "started":
            return await self._doubt(call, found, request, plan)
        return await self._decided(call, found, request)

    def _find_again(self, call: GateCall, found: Call) -> tuple[Call, str]:
        kids = [key.kid for key in self.session.shop.keyring.keys if key.state != "retired"]
        payloads = [self._payload(call, kid) for kid in kids]
        return found, next(each for each in payloads if call_digest(each) == found.digest)

    def _check_identity(self, request: Request, found: Call) -> None:
        identity = request.identity
        mine = (self.occurrence_id, found.name, found.digest, found.nth)
        if (
            identity is None
            or request.run_id != self.run_id
            or (identity.occurrence_id, identity.gate, identity.digest, identity.nth) != mine
        ):
            raise SealInvalidError(request.request_id, "identity", run_id=self.run_id)

    async def _decided(self, call: GateCall, found: Call, request: Request) -> Answer:
        now = await self.session.now()
        end = request.resolution
        if end is None:
            return _WAITS
        if end.status == "approved" and may_start(request, now):
            return self._permit(call, found, request)
        error = _refusal(request)
        await self._journal(
            found.model_copy(
                update={
                    "status": "failed",
                    "failure": recorded(error, self.session.shop.codec),
                }
            )
        )
        return Settled(error=error)

    def _permit(self, call: GateCall, found: Call, request: Request) -> Permit:
        spec, codec = call.spec, self.session.shop.codec
        tree = cast("dict[str, Tree]", request.payload_tree)
        arguments: dict[str, object] = {}
        for name, each in tree.items():
            if name in found.hidden:
                text = decrypt(
                    self.session.shop.keyring,
                    found.hidden[name],
                    place=hidden_place(self.run_id, name),
                ).decode()
                arguments[name] = codec.load(text, path=name)
            else:
                arguments[name] = codec.from_tree(each, spec.annotation(name), path=name)
        return Permit(key=call_key(found), arguments={**arguments, **call.live})

    # Performing.

    async def _perform(self, call: GateCall, permit: Permit) -> Settled:
        await self._start(permit.key)
        try:
            with anyio.CancelScope(shield=True), _in_body():
                result = await _invoke(call.spec, permit.arguments)
        except Exception as error:  # noqa: BLE001 - whatever the body raises is its result
            return await self._finish(permit.key, error=error)
        return await self._finish(permit.key, result=result)

    def _perform_here(self, call: GateCall, permit: Permit) -> Settled:
        self._from_thread(lambda: self._start(permit.key))
        try:
            with _in_body():
                result = call_with(call.spec, permit.arguments)
        except Exception as raised:  # noqa: BLE001 - whatever the body raises is its result
            error = raised
            return self._from_thread(lambda: self._finish(permit.key, error=error))
        return self._from_thread(lambda: self._finish(permit.key, result=result))

    async def _start(self, key: CallKey) -> None:
        session = self.session
        if not session.may_start():
            raise Lost
        await self._mark(key, remaining=True, status="started", fencing=session.held.fencing)
        if not session.may_start():
            # The process stood still between the commit and here; another may have the run.
            await self._mark(key, status="waiting", fencing=0)
            raise Lost

    async def _finish(
        self, key: CallKey, *, result: object = None, error: Exception | None = None
    ) -> Settled:
        codec = self.session.shop.codec
        tree: Tree = None
        if error is None:
            try:
                tree = codec.to_tree(result, path=f"{key[1]} result")
            except CodecError as unstorable:
                error = unstorable
        failure = recorded(error, codec) if error else None
        try:
            await self._mark(
                key, status="failed" if failure else "done", result=tree, failure=failure
            )
        except Lost:
            await self._report_late(key, result=tree, error=failure.message if failure else "")
            raise
        if error is not None:
            return Settled(error=error)
        # Exactly what a replay would return, so that the first pass cannot differ from it.
        return Settled(codec.from_tree(tree, path=f"{key[1]} result"))

    async def _report_late(self, key: CallKey, *, result: Tree, error: str) -> None:
        held = self.session.held
        signal = Signal(
            run_id=self.run_id,
            cause=f"late:{self.occurrence_id}:{key[1]}:{key[2]}:{key[3]}:{held.fencing}",
            kind="late_result",
            facts={
                "occurrence_id": self.occurrence_id,
                "gate": key[1],
                "digest": key[2],
                "nth": key[3],
                "fencing": held.fencing,
                "result": result,
                "error": error,
            },
            created_at=await self.session.now(),
        )
        await self.session.shop.store.commit(Changes(signals=(signal,)))

    async def _mark(self, key: CallKey, *, remaining: bool = False, **update: object) -> None:
        def change(one: Occurrence) -> Occurrence:
            found = cast("Call", find_call(one, key))
            return with_call(one, found.model_copy(update=update))

        margin = self.session.start_margin if remaining else None
        await self.session.update_call(self.occurrence_id, change, remaining=margin)

    async def _journal(self, call: Call) -> None:
        await self._carry_out(Plan(calls=[call]))

    async def _carry_out(self, plan: Plan) -> None:
        gone = {call_key(each) for each in plan.dropped}

        def change(one: Occurrence) -> Occurrence:
            kept = tuple(each for each in one.calls if call_key(each) not in gone)
            one = one.model_copy(update={"calls": kept})
            for call in plan.calls:
                one = with_call(one, call)
            return one

        await self.session.update_call(self.occurrence_id, change, parts=plan.parts)

    # In doubt.

    async def _doubt(
        self, call: GateCall, found: Call, request: Request, plan: Plan
    ) -> Answer:
        if found.doubt_request_id:
            doubt = await self.session.shop.desk.load(found.doubt_request_id)
            return await self._doubt_answered(call, found, request, doubt)
        permit = self._permit(call, found, request)
        verdict = await _verdict(call.spec, permit.arguments)
        if isinstance(verdict, Done):
            return await self._happened(call.spec, permit.key, cast("Done[object]", verdict).result)
        late = await self._late(found)
        stopped = call.spec.idempotent or late is not None
        if isinstance(verdict, NotDone) and stopped and found.attempt < MAX_ATTEMPTS:
            return await self._again(permit, found)
        draft = doubt_request(request, found, now=await self.session.now(), late=_in_words(late))
        plan.parts.append(self.session.shop.desk.open(draft, actor="signoff"))
        plan.calls.append(found.model_copy(update={"doubt_request_id": draft.request_id}))
        return self._block("in_doubt", f"{call.spec.name}: request {draft.request_id} asks")

    async def _doubt_answered(
        self, call: GateCall, found: Call, request: Request, doubt: Request
    ) -> Answer:
        end = doubt.resolution
        if end is None:
            return self._block("in_doubt", f"{call.spec.name}: request {doubt.request_id} asks")
        permit = self._permit(call, found, request)
        if end.outcome == "happened":
            result = self.session.shop.codec.load(doubt.payload_json) if end.edited else None
            return await self._happened(call.spec, permit.key, result)
        if end.outcome == "run_again":
            return await self._again(permit, found)
        error = ApprovalCancelled(doubt.request_id, reason="abandoned when its end was in doubt")
        failure = recorded(error, self.session.shop.codec)
        await self._mark(permit.key, status="failed", failure=failure)
        return Settled(error=error)

    async def _happened(self, spec: GateSpec, key: CallKey, result: object) -> Settled:
        codec = self.session.shop.codec
        tree = codec.to_tree(result, path=f"{spec.name} result")
        await self._mark(key, status="done", result=tree)
        return Settled(codec.from_tree(tree, path=f"{spec.name} result"))

    async def _again(self, permit: Permit, found: Call) -> Permit:
        await self._mark(
            permit.key, status="waiting", attempt=found.attempt + 1, doubt_request_id=""
        )
        return permit

    async def _late(self, found: Call) -> Signal | None:
        mine = (self.occurrence_id, found.name, found.digest, found.nth, found.fencing)
        for signal in await self.session.shop.store.late_results(self.run_id):
            facts = signal.facts
            names = ("occurrence_id", "gate", "digest", "nth", "fencing")
            if tuple(facts[name] for name in names) == mine:
                return signal
        return None

    # Child flows.

    async def _child(self, flow: object, inputs: Mapping[str, object]) -> Answer:
        codec = self.session.shop.codec
        try:
            digest = call_digest(codec.dump(dict(inputs), path="inputs"))
        except CodecError as error:
            return Settled(error=error)
        base: CallKey = ("child", self.children.name_of(flow), digest, 0)
        key: CallKey = (*base[:3], self._counted[base])
        self._counted[base] += 1
        found = find_call(self.occurrence, key)
        if found is None:
            unmet = [each for each in self.unmet() if each.kind != "once"]
            if not self.lenient and any(each.name == key[1] for each in unmet):
                return self._block("drift", f"{key[1]} was begun with other inputs")
            if unmet and not self.lenient:
                self.deferred = True
                return _WAITS
        self._met.add(key)
        if found is not None and found.status == "done":
            return Settled(codec.from_tree(found.result, path=key[1]))
        if found is None:
            begun = await self.children.begin(flow, inputs, parent=self.session, step=self.occurrence_id)
            found = Call(
                kind="child", name=key[1], digest=digest, nth=key[3], child_run_id=begun.run_id
            )
            await self._carry_out(Plan(calls=[found], parts=[begun]))
            await self.children.drive(begun, flow)
        return await self._child_end(key, found.child_run_id)

    async def _child_end(self, key: CallKey, run_id: str) -> Answer:
        end = await self.children.end_of(run_id)
        if end is None:
            return _WAITS
        if end.error is None:
            tree = self.session.shop.codec.to_tree(end.value, path=key[1])
            await self._mark(key, status="done", result=tree)
        return end

    # The odds and ends of being called from anywhere.

    async def _own(self, work: Callable[[], Awaitable[T]]) -> T:
        """Run `work` in a task that no cancellation of the step's own tasks reaches."""
        ended = anyio.Event()
        result: list[T] = []
        raised: list[Exception] = []

        async def run() -> None:
            try:
                result.append(await work())
            except Exception as error:  # noqa: BLE001 - it is raised where the caller waits
                raised.append(error)
                self._note(error)
            finally:
                ended.set()

        self.tasks.start_soon(run)
        await ended.wait()
        return self._unwrapped(result, raised)

    def _from_thread(self, work: Callable[[], Awaitable[T]]) -> T:
        """Run `work` on the loop and wait for it in this thread."""
        result: list[T] = []
        raised: list[Exception] = []

        async def run() -> None:
            try:
                result.append(await work())
            except Exception as error:  # noqa: BLE001 - it is raised in the thread
                raised.append(error)
                self._note(error)

        from_thread.run(run, token=self._token)
        return self._unwrapped(result, raised)

    def _unwrapped(self, result: list[T], raised: list[Exception]) -> T:
        if not raised:
            return result[0]
        if isinstance(raised[0], Lost) or self.broken is raised[0]:
            self._suspend()
        raise raised[0]

    def _note(self, error: Exception) -> None:
        if isinstance(error, Lost):
            self.lost = True
        elif not isinstance(error, (CodecError, ConfigurationError)):
            # The store failed: nobody may go on in this step as if it had not.
            self.broken = error

    def _returned(self, calls: Sequence[GateCall], answers: Sequence[Answer]) -> Sequence[object]:
        if self.blocked or any(answer is _WAITS for answer in answers):
            self._suspend()
        returning = [call.spec.on_reject == "return" for call in calls] or [False]
        values: list[object] = []
        for answer, returns in zip(answers, returning, strict=True):
            error = cast("Settled", answer).error
            if error is not None and not (returns and isinstance(error, ApprovalRejected)):
                raise error
            values.append(error or cast("Settled", answer).value)
        return values

    def _suspend(self) -> NoReturn:
        self.suspended = True
        self._place = _calling_place()
        raise Suspend

    def _raise_again(self) -> None:
        if self.suspended:
            self._suspend()

    def _block(self, reason: BlockedReason, detail: str) -> Answer:
        self.blocked = self.blocked or Blocked(reason=reason, detail=detail)
        return _WAITS

    def _refuse_on_loop(self, name: str) -> None:
        if threading.get_ident() == self._loop_thread:
            raise ConfigurationError(
                f"{name} is not async, and blocks the event loop when an async step calls it:"
                " make it async, or call it through signoff.to_thread"
            )

    def _refuse_in_body(self) -> None:
        if _inside_body.get():
            raise ConfigurationError(
                "a gated call inside an approved body: the body runs once and cannot wait;"
                " make that call in the step"
            )


@contextmanager
def _in_body() -> Iterator[None]:
    token = _inside_body.set(True)
    try:
        yield
    finally:
        _inside_body.reset(token)


def call_with(spec: GateSpec, arguments: Mapping[str, object]) -> object:
    """Call the function behind a gate with arguments by name, positional-only ones too."""
    bound = inspect.BoundArguments(
        spec.signature, OrderedDict((name, arguments[name]) for name in spec.signature.parameters)
    )
    return spec.fn(*bound.args, **bound.kwargs)


async def _invoke(spec: GateSpec, arguments: Mapping[str, object]) -> object:
    if spec.is_async:
        return await cast("Awaitable[object]", call_with(spec, arguments))
    return await to_thread.run_sync(call_with, spec, arguments)


async def _verdict(spec: GateSpec, arguments: Mapping[str, object]) -> Verdict:
    if spec.verify is None:
        return Unknown()
    try:
        if inspect.iscoroutinefunction(spec.verify):
            return cast("Verdict", await spec.verify(**arguments))
        verify = partial(spec.verify, **arguments)
        return cast("Verdict", await to_thread.run_sync(verify))
    except Exception:
        _log.exception("verify of %s failed, so a human is asked", spec.name)
        return Unknown()


def _refusal(request: Request) -> ApprovalError:
    """Return what a gated call raises on a request that ended without leave to start."""
    end = cast("Resolution", request.resolution)
    name = request.request_id
    if end.status == "rejected":
        return ApprovalRejected(
            name, reason=end.feedback, reviewer=end.reviewer, outcome=end.outcome
        )
    if end.status == "cancelled":
        return ApprovalCancelled(name, reason=end.reason)
    if end.status == "expired":
        return ApprovalExpired(name, f"nobody answered until {end.resolved_at.isoformat()}")
    if end.valid_until is not None and end.status == "approved":
        return ApprovalExpired(
            name, f"approved, and the permission to start lapsed at {end.valid_until.isoformat()}"
        )
    return ApprovalBlocked(name, f"ended as {end.status}, which is no approval")


def _in_words(late: Signal | None) -> str:
    if late is None:
        return ""
    error = late.facts["error"]
    ended = f"raised {error}" if error else f"returned {one_line(late.facts['result'])}"
    return f"Its former executor has reported since that it {ended}."


def _calling_place() -> str:
    frames = [
        frame for frame in traceback.extract_stack() if not frame.filename.startswith(_PACKAGE)
    ]
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "an unknown place"
