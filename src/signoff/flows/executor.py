"""
Beginning runs and advancing them: claim, load, verify, find the code, drive (floor 6).
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final, cast

import anyio
from typing_extensions import override

from signoff.audit.ledger import Event
from signoff.errors import (
    ChildRunFailed,
    CodecError,
    KeyringError,
    RunCancelled,
    SealInvalidError,
    StoreError,
)
from signoff.flows.attempt import Begun, Children, Settled
from signoff.flows.code import (
    CALL_STEP,
    CallCode,
    Code,
    FlowCode,
    NoCode,
    feedback_result,
    output_value,
)
from signoff.flows.drafts import (
    call_digest,
    encrypted_arguments,
    hidden_place,
    shown_arguments,
)
from signoff.flows.drive import Drive
from signoff.flows.failures import raised_again
from signoff.flows.flow import Flow, graph_of, state_model, stored_name
from signoff.claims import Held
from signoff.flows.session import (
    Blocked,
    Lost,
    Session,
    Workshop,
    check_checkpoint,
    sealed_occurrence,
    sealed_run,
)
from signoff.flows.state import StateBox
from signoff.gates import gate_specs
from signoff.ids import new_id
from signoff.model.audit import AuditEntry
from signoff.model.changes import Acquire, Changes, Renew, Sealed, Task
from signoff.model.gate import GateCall
from signoff.model.run import TERMINAL, Occurrence, Run
from signoff.model.values import Tree
from signoff.registry import flow_classes
from signoff.rules.digest import digest
from signoff.security.hidden import decrypt

_log = logging.getLogger("signoff.flows")

MAX_DEATHS: Final = 10
"""How often in a row a claim on a run may end without a commit before the run is set aside."""

REMEMBERED: Final = 256
"""How many failures are kept as the exceptions that they were, for who asks in this process."""

OWNED: Final = "#"
"""Behind a gate's name: the process that made the call, and the only one that may execute it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRun(Begun):
    """
    A run about to be stored, ready, and perhaps claimed in the same commit.

    Attributes:
        run_id: Its id.
        run: The record.
        occurrences: What it begins with.
        audit: Its first audit entry.
        acquire: The claim that is taken with it.
        began: The monotonic clock before the commit.
    """

    run_id: str
    run: Sealed[Run]
    occurrences: tuple[Sealed[Occurrence], ...]
    audit: AuditEntry
    acquire: Acquire | None = None
    began: float = 0.0

    @override
    def added_to(self, changes: Changes) -> Changes:
        """Return `changes` with it in."""
        return replace(
            changes,
            runs=(*changes.runs, self.run),
            occurrences=(*changes.occurrences, *self.occurrences),
            audit=(*changes.audit, self.audit),
            claims=(*changes.claims, *((self.acquire,) if self.acquire else ())),
            tasks=(*changes.tasks, Task(kind="advance", subject=self.run_id)),
        )


@dataclass(frozen=True, slots=True)
class _Entry:
    """An audit entry as a part of a commit."""

    entry: AuditEntry

    def added_to(self, changes: Changes) -> Changes:
        return replace(changes, audit=(*changes.audit, self.entry))


def arguments_digests(call: GateCall, shop: Workshop) -> tuple[str, ...]:
    """
    Return the digests that a call's arguments may be stored under, today's first.

    There are several only where it has hidden ones, whose commitments hang on a key.
    """
    keyring = shop.keyring
    kids = [key.kid for key in keyring.keys if keyring.usable(key.kid, "commitment")]
    return tuple(
        call_digest(
            shop.codec.dump(
                shown_arguments(call, keyring=keyring, kid=kid, run_id="", codec=shop.codec),
                path=call.spec.name,
            )
        )
        for kid in (kids if call.spec.hidden else kids[:1])
    )


class Executor(Children):
    """Begins and advances runs. Any number of advances may go on at once, one for each run."""

    def __init__(self, shop: Workshop) -> None:
        self.shop = shop
        self._drives: dict[str, Drive] = {}
        self._failures: OrderedDict[str, Exception] = OrderedDict()

    # Beginning.

    async def new_flow_run(
        self,
        flow: Flow[object],
        inputs: Mapping[str, object],
        *,
        requester: str | None,
        claimed: bool,
        parent: Session | None = None,
        step: str = "",
    ) -> NewRun:
        """
        Return a run of `flow`, its state made and checked; writes nothing.

        Raises:
            ValueError: An input does not fit the state.
            CodecError: A value in it cannot be stored.
        """
        kind = type(flow)
        now = await self.shop.store.now()
        run_id = new_id("run", now)
        box = StateBox(self.shop.codec, state_model(kind, flow.own_initial_state))
        box.begin(flow.initial_values(), inputs, id_=run_id)
        graph = graph_of(cast("type[Flow[object]]", kind))
        given_id = inputs.get("id")
        run = Run(
            run_id=run_id,
            flow_name=stored_name(cast("type[Flow[object]]", kind)),
            requester=requester,
            key=f"id:{given_id}" if given_id else None,
            parent_run_id=parent.run.run_id if parent else "",
            parent_occurrence_id=step,
            fingerprint=digest(graph.fingerprint()),
            state=box.dump(),
            created_at=now,
            updated_at=now,
        )
        return self._new(run, graph.initial(), claimed=claimed)

    async def new_call_run(
        self, call: GateCall, *, key: str | None, requester: str | None, owned: bool
    ) -> NewRun:
        """
        Return a run of one gated call; writes nothing.

        Args:
            call: The call.
            key: The developer's own key.
            requester: Who asks.
            owned: Whether only this process may execute it, because it has live arguments or
                its caller waits for it.

        Raises:
            CodecError: An argument cannot be stored.
        """
        codec, keyring = self.shop.codec, self.shop.keyring
        now = await self.shop.store.now()
        run_id = new_id("run", now)
        visible = {
            name: value
            for name, value in call.arguments.items()
            if name not in call.spec.hidden
        }
        hidden = encrypted_arguments(call, keyring=keyring, run_id=run_id, codec=codec)
        state: dict[str, Tree] = {} if owned else {
            "arguments": codec.to_tree(visible, path=call.spec.name),
            "hidden": dict[str, Tree](hidden),
        }
        run = Run(
            run_id=run_id,
            kind="call",
            flow_name=f"{call.spec.name}{OWNED}{self.shop.keeper.holder}" if owned else call.spec.name,
            requester=requester,
            key=key,
            key_digest=arguments_digests(call, self.shop)[0] if key else "",
            state=state,
            created_at=now,
            updated_at=now,
        )
        return self._new(run, (CALL_STEP,), claimed=owned)

    def _new(self, run: Run, steps: tuple[str, ...], *, claimed: bool) -> NewRun:
        event = Event(
            name="run.started",
            at=run.created_at,
            actor=run.requester or "api",
            facts={"run_id": run.run_id, "flow": run.flow_name, "parent": run.parent_run_id},
        )
        entry, head = self.shop.ledger.entry(f"run:{run.run_id}", run.audit, event)
        run = run.model_copy(update={"audit": head, "next_seq": len(steps) + 1})
        keyring = self.shop.keyring
        return NewRun(
            run_id=run.run_id,
            run=sealed_run(keyring, run),
            occurrences=tuple(
                sealed_occurrence(
                    keyring,
                    Occurrence(
                        occurrence_id=f"{run.run_id}.{seq}", run_id=run.run_id, seq=seq, step=step
                    ),
                )
                for seq, step in enumerate(steps, start=1)
            ),
            audit=entry,
            acquire=self.shop.keeper.acquisition(run.run_id) if claimed else None,
            began=time.monotonic(),
        )

    async def store(self, new: NewRun) -> None:
        """Commit a new run. Raises `StaleWriteError` when its key is taken."""
        await self.shop.ledger.commit(new.added_to(Changes()))

    # Advancing.

    async def advance(self, run_id: str) -> bool:
        """
        Take a run's claim and drive it until nothing in it can go on; say whether it was driven.

        A run that another holder drives is left alone; one that is driven here already is told
        to look at its signals.

        Raises:
            StoreError: The store failed; the run is as it was last committed.
        """
        driving = self._drives.get(run_id)
        if driving is not None:
            driving.poke()
            return False
        held = await self.shop.keeper.take(run_id)
        if held is None:
            return False
        await self.drive_held(held)
        return True

    async def drive_new(self, new: NewRun, code: Code | None = None) -> None:
        """Drive a run whose claim was taken with its creation."""
        acquired = cast("Acquire", new.acquire)
        held = self.shop.keeper.keep(acquired, began=new.began)
        await self.drive_held(held, code)

    async def drive_held(self, held: Held, code: Code | None = None) -> None:
        """Drive a run under a claim that is held."""
        try:
            session = await self._load(held)
            if session is not None:
                await self._drive(session, code)
        except Lost:
            _log.info("run %s is in other hands now", held.subject)
        finally:
            await self._abandon(held)

    async def _abandon(self, held: Held) -> None:
        """Let another take over at once what was not driven to its rest, as when serving ends."""
        if not self.shop.keeper.let_go(held):
            return
        lapsed = Renew(
            subject=held.subject,
            holder=held.holder,
            fencing=held.fencing,
            lease=timedelta(0),
        )
        with anyio.CancelScope(shield=True), suppress(StoreError):
            await self.shop.store.commit(Changes(claims=(lapsed,)))

    def poke_all(self) -> None:
        """Tell every run that is driven here to look at its signals."""
        for drive in self._drives.values():
            drive.poke()

    async def _drive(self, session: Session, code: Code | None) -> None:
        run = session.run
        found = code or self._code(run)
        problem: Blocked | None = None
        if isinstance(found, Blocked):
            problem, found = found, NoCode()
        drive = Drive(session=session, code=found, children=self)
        if problem is None:
            problem = await self._prepare(session, drive)
        drive.block(problem)
        self._drives[run.run_id] = drive
        try:
            await drive.run()
        finally:
            del self._drives[run.run_id]
            self._remember(run.run_id, session)

    async def _load(self, held: Held) -> Session | None:
        store = self.shop.store
        run_id = held.subject
        sealed = await store.run(run_id)
        journal = await store.journal(run_id)
        session = Session(
            shop=self.shop,
            held=held,
            run=sealed.record,
            journal={one.record.occurrence_id: one.record for one in journal},
        )
        await session.refresh_signals()
        try:
            check_checkpoint(self.shop.keyring, sealed, journal)
        except SealInvalidError as error:
            await self._set_aside(session, error)
            return None
        return session

    async def _set_aside(self, session: Session, error: SealInvalidError) -> None:
        """Block a run whose checkpoint is not what was stored; nothing of it is believed or run."""
        now = await session.now()
        detail = f"{error.record_id}: {error.field}"
        event = Event(
            name="run.blocked",
            at=now,
            actor="signoff",
            facts={"run_id": session.run.run_id, "reason": "seal_invalid", "detail": detail},
        )
        # The stored audit head is as doubtful as the rest of the row; the stream itself is not.
        entry = await self.shop.ledger.next_entry(f"commands:{session.run.run_id}", event)
        blocked = session.run.model_copy(
            update={
                "status": "blocked",
                "blocked_reason": "seal_invalid",
                "blocked_detail": detail,
                "updated_at": now,
            }
        )
        await session.commit(
            run=blocked,
            parts=(_Entry(entry),),
            consumed=session.signals,
            release=True,
        )

    def _code(self, run: Run) -> Code | Blocked:
        if run.kind == "flow":
            return self._flow_code(run)
        spec = gate_specs.get(run.flow_name)
        if spec is None:
            return Blocked(reason="code_missing", detail=f"no gate is named {run.flow_name!r} here")
        codec = self.shop.codec
        try:
            visible = codec.from_tree(run.state["arguments"], path=spec.name)
            hidden = {
                name: codec.load(
                    decrypt(
                        self.shop.keyring, str(text), place=hidden_place(run.run_id, name)
                    ).decode(),
                    path=name,
                )
                for name, text in cast("dict[str, Tree]", run.state["hidden"]).items()
            }
            arguments = {**cast("dict[str, object]", visible), **hidden}
            return CallCode(GateCall(spec=spec, arguments=arguments, live={}), codec)
        except (CodecError, KeyError, KeyringError, SealInvalidError) as error:
            return Blocked(reason="state_invalid", detail=str(error))

    def _flow_code(self, run: Run) -> Code | Blocked:
        kind = cast("type[Flow[object]] | None", flow_classes.get(run.flow_name))
        if kind is None:
            return Blocked(reason="code_missing", detail=f"no flow is named {run.flow_name!r} here")
        try:
            return FlowCode(kind(), self.shop.codec)
        except Exception as error:  # noqa: BLE001 - a user's constructor may raise anything
            return Blocked(
                reason="code_missing", detail=f"{run.flow_name}() cannot be made: {error!r}"
            )

    async def _prepare(self, session: Session, drive: Drive) -> Blocked | None:
        """Bring a run's code to where the run stands, or say why that cannot be."""
        run, code = session.run, drive.code
        deaths = session.held.fencing - run.fencing - 1
        if deaths >= MAX_DEATHS:
            return Blocked(
                reason="poison",
                detail=f"{deaths} workers in a row ended while they had this run",
            )
        gone = sorted(
            {one.step for one in session.journal.values() if one.step not in code.graph.steps}
        )
        if gone:
            return Blocked(
                reason="code_missing",
                detail=f"{run.flow_name} has no step {', '.join(map(repr, gone))} any more;"
                f" it has {', '.join(code.graph.steps)}",
            )
        try:
            if run.kind == "flow":
                code.box.load(run.state)
            await self._rehydrate(session, drive)
        except CodecError as error:
            return Blocked(reason="state_invalid", detail=str(error))
        except SealInvalidError as error:
            return Blocked(reason="seal_invalid", detail=f"{error.record_id}: {error.field}")
        return None

    async def _rehydrate(self, session: Session, drive: Drive) -> None:
        finished = [one for one in session.journal.values() if one.status == "finished"]
        for one in sorted(finished, key=lambda each: each.finished_seq):
            result = None
            if one.request_id:
                request = await self.shop.desk.load(one.request_id)
                result = feedback_result(request, self.shop.codec)
                if result.outcome != one.label:
                    raise SealInvalidError(one.occurrence_id, "label")
                drive.results[one.occurrence_id] = result
            drive.code.note_output(drive.output_of(one), result)

    # Children and ends.

    @override
    def name_of(self, flow: object) -> str:
        """Return the stored name of a flow's class."""
        return stored_name(cast("type[Flow[object]]", type(flow)))

    @override
    async def begin(
        self, flow: object, inputs: Mapping[str, object], *, parent: Session, step: str
    ) -> NewRun:
        """Return a child run, claimed by this process, for the parent's own commit."""
        return await self.new_flow_run(
            cast("Flow[object]", flow),
            inputs,
            requester=parent.run.requester,
            claimed=True,
            parent=parent,
            step=step,
        )

    @override
    async def drive(self, begun: Begun, flow: object) -> None:
        """Run it to its end or suspension."""
        code = FlowCode(cast("Flow[object]", flow), self.shop.codec)
        await self.drive_new(cast("NewRun", begun), code)

    @override
    async def end_of(self, run_id: str) -> Settled | None:
        """Return what a child came to, or `None` while it has not ended."""
        run = (await self.shop.store.run(run_id)).record
        if run.status == "completed":
            return Settled(await self.output(run_id))
        if run.status == "failed" and run.failure is not None:
            error = f"{run.failure.type_name}: {run.failure.message}"
            return Settled(error=ChildRunFailed(run_id, error=error))
        if run.status == "cancelled":
            return Settled(error=RunCancelled(run_id, "the child run was cancelled"))
        return None

    async def output(self, run_id: str) -> object:
        """
        Return what a completed run returned.

        Raises:
            NotFoundError: There is no such run.
            SealInvalidError: Its checkpoint or the answer it hangs on is not what was stored.
            CodecError: Its types are not known here.
        """
        store = self.shop.store
        sealed = await store.run(run_id)
        journal = await store.journal(run_id)
        check_checkpoint(self.shop.keyring, sealed, journal)
        by_id = {one.record.occurrence_id: one.record for one in journal}
        last = by_id.get(sealed.record.last_output_id)
        if sealed.record.status != "completed" or last is None:
            return None
        result = None
        if last.request_id:
            request = await self.shop.desk.load(last.request_id)
            result = feedback_result(request, self.shop.codec)
        return output_value(last, result, object, self.shop.codec)

    def failure_of(self, run: Run) -> Exception | None:
        """Return what failed a run: the very exception, if it was raised in this process."""
        if run.failure is None:
            return None
        known = self._failures.get(run.run_id)
        return known or raised_again(run.failure, run_id=run.run_id, codec=self.shop.codec)

    def _remember(self, run_id: str, session: Session) -> None:
        for error in session.failures.values():
            self._failures[run_id] = error
        while len(self._failures) > REMEMBERED:
            self._failures.popitem(last=False)

    def names(self) -> tuple[str, ...]:
        """Return the names of all runs that this process can advance."""
        return (*flow_classes.names(), *gate_specs.names())
