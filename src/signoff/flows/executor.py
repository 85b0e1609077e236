"""Beginning runs and advancing them: claim, load, verify, find the code, drive (floor 6)."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import AbstractContextManager, suppress
from datetime import timedelta
from typing import Final, cast

import anyio
from typing_extensions import override

from signoff.claims import Held
from signoff.errors import (
    ChildRunFailed,
    RunCancelled,
    SealInvalidError,
    StoreError,
)
from signoff.flows.answering import go_on_from_answer, is_only_answered
from signoff.flows.attempt import Begun, Children
from signoff.flows.beginning import NewRun, id_taken, new_flow_run
from signoff.flows.calls import Settled
from signoff.flows.code import (
    Code,
    FlowCode,
    feedback_result,
    output_value,
)
from signoff.flows.drafts import merged
from signoff.flows.drive import Drive, set_aside
from signoff.flows.failures import raised_again, recorded
from signoff.flows.flow import Flow, stored_name
from signoff.flows.loading import SUSPECT_DEATHS, code_of, last_sign, prepare
from signoff.flows.seal_invalid import set_aside_unread
from signoff.flows.session import (
    Blocked,
    Lost,
    Session,
    Workshop,
    check_checkpoint,
    sealed_run,
)
from signoff.gates import gate_specs
from signoff.model.changes import Acquire, Changes, Renew
from signoff.model.run import Run
from signoff.registry import flow_classes

_log = logging.getLogger("signoff.flows")

BEGUN: Final = 64
"""How many runs that were begun here and not yet driven are kept, for who drives them here next."""

REMEMBERED: Final = 256
"""How many failures are kept as the exceptions that they were, for who asks in this process."""


class Executor(Children):
    """Begins and advances runs. Any number of advances may go on at once, one for each run."""

    def __init__(self, shop: Workshop) -> None:
        self.shop = shop
        self._drives: dict[str, Drive] = {}
        self._looked_for: dict[str, bool] = {}
        self._lock = threading.Lock()
        self._begun: OrderedDict[str, NewRun] = OrderedDict()
        self._failures: OrderedDict[str, tuple[Exception, ...]] = OrderedDict()

    async def store(self, new: NewRun) -> None:
        """Commit a new run. Raises `StaleWriteError` when its key is taken."""
        try:
            await self.shop.ledger.commit(new.added_to(Changes()))
        except anyio.get_cancelled_exc_class():
            if new.acquire is not None:
                # It may have been stored, with a claim that nobody keeps.
                await self._abandon(self.shop.keeper.about_to_have(new.acquire), perhaps=True)
            raise
        if new.acquire is None:
            self._begun[new.run_id] = new
            while len(self._begun) > BEGUN:
                self._begun.popitem(last=False)

    # Advancing.

    async def advance(self, run_id: str) -> bool:
        """
        Take a run's claim and drive it until nothing in it can go on; say whether it was driven.

        A run that another holder drives is left alone, and so is one whose code this process does
        not have, unless it is only to end. One that is driven here already is told to look at its
        signals.

        Raises:
            NotFoundError: There is no such run.
            StoreError: The store failed; the run is as it was last committed.
        """
        if self.poke(run_id):
            return False
        with self._lock:
            if run_id in self._looked_for:
                self._looked_for[run_id] = True
                return False
            self._looked_for[run_id] = True
        try:
            taken = await self._taken(run_id)
            if taken is not None:
                await self._drive_session(taken)
        finally:
            with self._lock:
                del self._looked_for[run_id]
        return taken is not None

    def poke(self, run_id: str) -> bool:
        """Have whoever drives a run here look at its signals, and say whether somebody does."""
        driving = self._drives.get(run_id)
        if driving is None:
            return False
        driving.poke()
        return True

    async def _taken(self, run_id: str) -> Session | None:
        """Take a run's claim; try again each time that somebody comes to say that there is news."""
        taken: Session | None = None
        while taken is None and self._looked_for[run_id]:
            self._looked_for[run_id] = False
            with self.shop.keeper.alone_with(run_id) as alone:
                if alone:
                    taken = await self._taken_new(run_id) or await self._taken_as_stored(run_id)
        return taken

    async def _taken_new(self, run_id: str) -> Session | None:
        """Take the first claim on a run that this process has just begun, and so knows."""
        new = self._begun.pop(run_id, None)
        held = await self.shop.keeper.take_after(None, run_id) if new else None
        return self._begun_session(new, held) if new and held else None

    async def _taken_as_stored(self, run_id: str) -> Session | None:
        stored = await self.shop.store.checkpoint(run_id)
        # Without the code only if the run is to end, which needs none.
        ours = stored.run.record.flow_name in self.names()
        if not ours and all(signal.kind != "cancel" for signal in stored.signals):
            return None
        keeper = self.shop.keeper
        if is_only_answered(stored):
            acquire = keeper.acquisition(run_id, after=stored.run.record.fencing)
            return Session.of(stored, keeper.about_to_have(acquire), self.shop, to_take=acquire)
        held = await keeper.take_after(stored.claim, run_id)
        if held is None:
            return None
        if stored.claim is not None and stored.claim.holder:
            # Whoever let its lease lapse might write until the claim was taken.
            return await self._held_session(held)
        return Session.of(stored, held, self.shop)

    async def is_suspect(self, run_id: str) -> bool:
        """
        Return whether so many workers in a row ended while they had this run that it may be why.

        Raises:
            NotFoundError: There is no such run.
        """
        claim = await self.shop.store.claim(run_id)
        if claim is None or claim.live:
            return False
        run = (await self.shop.store.run(run_id)).record
        return claim.fencing - run.fencing >= SUSPECT_DEATHS

    async def drive_new(self, new: NewRun, code: Code | None = None) -> None:
        """Drive a run whose claim was taken with its creation."""
        acquired = cast("Acquire", new.acquire)
        held = self.shop.keeper.keep(acquired, began=new.began)
        await self._drive_session(self._begun_session(new, held), code)

    async def drive_held(self, held: Held, code: Code | None = None) -> None:
        """Drive a run under a claim that is held."""
        await self._drive_session(await self._held_session(held), code)

    async def _held_session(self, held: Held) -> Session:
        """Return a run as it is read under its claim, so that nobody else writes it."""
        try:
            stored = await self.shop.store.checkpoint(held.subject)
        except BaseException:
            await self._abandon(held)
            raise
        return Session.of(stored, held, self.shop)

    async def _drive_session(self, session: Session, code: Code | None = None) -> None:
        try:
            if await self._is_whole(session):
                await self._take_with_answer(session)
                await self._drive(session, code)
        except Lost:
            _log.info("run %s is in other hands now", session.held.subject)
        except anyio.get_cancelled_exc_class():
            await self._excuse(session)
            raise
        finally:
            await self._abandon(session.held, perhaps=session.to_take is not None)

    async def _take_with_answer(self, session: Session) -> None:
        """Take the claim on a run that was answered, if that was left for now."""
        if session.to_take is None:
            return
        with self.shop.keeper.alone_with(session.run.run_id) as alone:
            if not alone:
                session.to_take = None
                raise Lost
            await go_on_from_answer(session)

    async def _excuse(self, session: Session) -> None:
        """Record that a drive was cut off in good order, so that it is not taken for a death."""
        last, shop = last_sign(session), self.shop
        if last == session.held.fencing:
            return
        run = session.run.model_copy(
            update={"version": session.run.version + 1, "fencing": last + 1}
        )
        with anyio.CancelScope(shield=True), suppress(StoreError):
            await shop.ledger.commit(
                Changes(runs=(sealed_run(shop.keyring, run),), fences=(session.held.fence(),))
            )

    async def _abandon(self, held: Held, *, perhaps: bool = False) -> None:
        """
        Let another take over at once what was not driven to its rest, as when serving ends.

        Args:
            held: The claim.
            perhaps: Whether nobody here knows if it was taken at all.
        """
        if not (self.shop.keeper.let_go(held) or perhaps):
            return
        lapsed = Renew(
            subject=held.subject,
            holder=held.holder,
            fencing=held.fencing,
            lease=timedelta(0),
        )
        with anyio.CancelScope(shield=True), suppress(StoreError):
            await self.shop.store.commit(Changes(claims=(lapsed,)))

    async def _drive(self, session: Session, given: Code | None) -> None:
        run_id = session.run.run_id
        code = given or code_of(session.run, self.shop)
        prepared = code if isinstance(code, Blocked) else await prepare(session, code)
        if isinstance(prepared, Blocked):
            await set_aside(session, prepared)
            return
        session.policy = merged(prepared.code.policy, self.shop.policy)
        drive = Drive(session, prepared.code, self, prepared.results)
        self._drives[run_id] = drive
        if self._looked_for.get(run_id):
            drive.poke()
        try:
            await drive.run()
        finally:
            del self._drives[run_id]
            self._remember(run_id, session)

    async def _is_whole(self, session: Session) -> bool:
        """Say whether a checkpoint is what was stored, and set a run aside whose is not."""
        stored, session.unchecked = session.unchecked, None
        if stored is None:
            # What this process has just written; but others may have told the run something.
            await session.refresh_signals()
            return True
        try:
            check_checkpoint(self.shop.keyring, stored.run, stored.journal)
        except SealInvalidError as error:
            await set_aside_unread(session, error)
            return False
        return True

    def _begun_session(self, new: NewRun, held: Held) -> Session:
        return Session(
            shop=self.shop,
            held=held,
            run=new.run.record,
            journal={one.record.occurrence_id: one.record for one in new.occurrences},
        )

    # Children and ends.

    @override
    def name_of(self, flow: object) -> str:
        """Return the stored name of a flow's class."""
        return stored_name(cast("type[Flow[object]]", type(flow)))

    @override
    def kept(self, flow: object) -> AbstractContextManager[None]:
        """Keep a flow's instance to one run. Raises `ConfigurationError` when it has another."""
        return cast("Flow[object]", flow).in_use()

    @override
    async def begin(
        self, flow: object, inputs: Mapping[str, object], *, parent: Session, step: str
    ) -> NewRun:
        """Return a child run, claimed by this process, for the parent's own commit."""
        new = await new_flow_run(
            self.shop,
            cast("Flow[object]", flow),
            inputs,
            requester=parent.run.requester,
            claimed=True,
            parent=parent,
            step=step,
        )
        run = new.run.record
        if run.key and await self.shop.store.run_by_key(run.flow_name, run.key):
            raise id_taken(run)
        return new

    @override
    async def drive(self, begun: Begun, flow: object) -> None:
        """Run it to its end or suspension."""
        code = FlowCode(cast("Flow[object]", flow))
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
        last = by_id[sealed.record.last_output_id]
        result = None
        if last.request_id:
            request = await self.shop.desk.load(last.request_id)
            result = feedback_result(request, self.shop.codec, step=last.step)
        return output_value(last, result, self.shop.codec)

    def failure_of(self, run: Run) -> Exception | None:
        """Return what failed a run: the very exception, if it was raised in this process."""
        if run.failure is None:
            return None
        for known in self._failures.get(run.run_id, ()):
            if recorded(known, self.shop.codec) == run.failure:
                return known
        return raised_again(run.failure, run_id=run.run_id, codec=self.shop.codec)

    def _remember(self, run_id: str, session: Session) -> None:
        if session.failures:
            self._failures[run_id] = tuple(session.failures.values())
        while len(self._failures) > REMEMBERED:
            self._failures.popitem(last=False)

    def names(self) -> tuple[str, ...]:
        """Return the names of all runs that this process can advance."""
        return (*flow_classes.names(), *gate_specs.names())
