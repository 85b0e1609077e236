"""What a caller waits for, beside the worker: kickoffs, keyed calls, calls outside a flow (floor 7)."""

from __future__ import annotations

import getpass
import logging
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final

import anyio

from signoff.bell import Bell
from signoff.claims import Keeper
from signoff.codec import codec
from signoff.context import Suspended
from signoff.errors import (
    AlreadyDecidedError,
    ApprovalBlocked,
    ConfigurationError,
    KeyConflict,
    NotFoundError,
    NotServing,
    RequestCancelledError,
    RunBlocked,
    RunCancelled,
    RunError,
    SealInvalidError,
    StaleWriteError,
)
from signoff.flows.api import Flows
from signoff.flows.beginning import arguments_digests, new_call_run, new_flow_run
from signoff.flows.code import CallCode, Code, FlowCode
from signoff.flows.executor import Executor
from signoff.flows.flow import Flow, stored_name
from signoff.hitl import Hitl
from signoff.model.gate import GateCall
from signoff.model.request import Request
from signoff.model.run import TERMINAL, Run
from signoff.outbox import Outbox
from signoff.ports import RunQuery
from signoff.registry import is_portable, tell_of_script_name
from signoff.rules.slips import refuse_no_text

_log = logging.getLogger("signoff.client")

_POLL_SECONDS: Final = 1.0

Asker = Callable[[Request], tuple[str, str]]
"""Asks a person at the terminal, and returns the label and the words."""


class Foreground:
    """
    What an open client does for flows and gates that somebody waits for.

    Attributes:
        asker: Asks the person at this process's terminal, if there is one.
        serving: How many `serving` blocks of this client are open.
    """

    def __init__(
        self,
        executor: Executor,
        outbox: Outbox,
        *,
        flows: Flows,
        hitl: Hitl,
        bell: Bell,
        requester: Callable[[], str | None],
        asker: Asker | None,
    ) -> None:
        self._executor = executor
        self._outbox = outbox
        self._flows = flows
        self._hitl = hitl
        self._bell = bell
        self._requester = requester
        self._store = executor.shop.store
        self._keeper: Keeper = executor.shop.keeper
        self.asker = asker
        self.serving = 0

    async def kickoff(self, flow: Flow[object], inputs: Mapping[str, object]) -> object:
        """
        Run a flow to its end or suspension, on this instance, and attempt its deliveries once.

        Raises:
            ConfigurationError: The instance is in the middle of another run.
        """
        with flow.in_use():
            return await self._kicked_off(flow, inputs)

    async def _kicked_off(self, flow: Flow[object], inputs: Mapping[str, object]) -> object:
        self._warn_of_names(flow)
        new = await new_flow_run(
            self._executor.shop, flow, inputs, requester=self._requester(), claimed=True
        )
        await self._flows.store_new(new)
        await self._executor.drive_new(new, FlowCode(flow))
        await self._attempt_deliveries(new.run_id)
        with suppress(EOFError):  # whoever types no more has left it to others
            while self.asker is not None and await self._ask_here(self.asker, new.run_id):
                await self._drive_again(new.run_id, FlowCode(flow))
        run = (await self._store.run(new.run_id)).record
        if run.status != "suspended":
            return await self.result_of(run)
        await self._warn_if_unserved(run.flow_name)
        return Suspended(run.run_id, tuple(await self._pending(run.run_id)))

    async def own_call(self, call: GateCall) -> object:
        """Ask about one call that only this process may execute, and return what it comes to."""
        code = CallCode(call, codec)
        new = await new_call_run(
            self._executor.shop, call, key=None, requester=self._requester(), owned=True
        )
        try:
            await self._executor.store(new)
            await self._executor.drive_new(new, code)
            await self._attempt_deliveries(new.run_id)
            return await self.to_the_end(new.run_id, code=lambda: code)
        except (anyio.get_cancelled_exc_class(), EOFError):
            # Nobody else may execute the call, so nobody needs to answer any more.
            with anyio.CancelScope(shield=True), suppress(NotFoundError):
                await self._flows.cancel(new.run_id)
            raise

    async def to_the_end(self, run_id: str, *, code: Callable[[], Code | None]) -> object:
        """Advance a run each time that it is told something, and return what it comes to."""
        while True:
            heard = self._bell.rings
            await self._drive_again(run_id, code())
            run = (await self._store.run(run_id)).record
            if run.status in TERMINAL or await self._is_stuck(run):
                return await self.result_of(run)
            if self.asker is None or not await self._ask_here(self.asker, run_id):
                await self._bell.wait(_POLL_SECONDS, after=heard)

    async def _drive_again(self, run_id: str, code: Code | None) -> None:
        if self._executor.poke(run_id):
            # Whoever drives it here goes on with it, even if its lease has lapsed.
            return
        ready = (await self._store.run(run_id)).record.status == "ready"
        if not ready and not await self._store.signals(run_id):
            return
        held = await self._keeper.take(run_id)
        if held is not None:
            await self._executor.drive_held(held, code)

    async def result_of(self, run: Run) -> object:
        """Return what a completed run returned, or raise what became of another one."""
        if run.status == "completed":
            return await self._executor.output(run.run_id)
        raise await self._end_of(run)

    async def _end_of(self, run: Run) -> Exception:
        """Return what became of a run that has not completed."""
        if run.status == "cancelled":
            return RunCancelled(run.run_id, "the run was cancelled")
        if run.blocked_reason is not None:
            return await self._why_blocked(run, reason=run.blocked_reason)
        failure = self._executor.failure_of(run) if run.status == "failed" else None
        if failure is not None:
            return failure
        return RunError(
            run.run_id, f"is {run.status}, and another process goes on with it; see `flows.wait`"
        )

    async def _why_blocked(self, run: Run, *, reason: str) -> Exception:
        detail = run.blocked_detail
        if run.kind == "flow":
            return RunBlocked(run.run_id, reason=reason, detail=detail)
        asked = [request_id for request_id, _ in await self._asked(run.run_id)]
        last = max(asked, default="")
        return ApprovalBlocked(last, run_id=run.run_id, reason=reason, detail=detail)

    async def _is_stuck(self, run: Run) -> bool:
        """Return whether a run is blocked, and nothing that is asked or told would change that."""
        if run.status != "blocked":
            return False
        for request_id, is_doubt in await self._asked(run.run_id):
            if is_doubt and run.blocked_reason == "in_doubt" and await self._waits(request_id):
                return False
        # An answer becomes a signal in its own commit, and a signal is consumed together with
        # the run's next version: who reads in this order misses none.
        told = any(one.kind != "late_result" for one in await self._store.signals(run.run_id))
        return not told and (await self._store.run(run.run_id)).record.version == run.version

    async def _asked(self, run_id: str) -> list[tuple[str, bool]]:
        """Return the requests of a call's run, and whether each asks what became of it."""
        calls = [call for one in await self._store.journal(run_id) for call in one.record.calls]
        asked = [(call.request_id, False) for call in calls]
        asked += [(call.doubt_request_id, True) for call in calls]
        return [one for one in asked if one[0]]

    async def _waits(self, request_id: str) -> bool:
        try:
            return (await self._hitl.get_request(request_id)).status == "pending"
        except SealInvalidError:
            # Nobody can answer it, and the run is told.
            return False

    async def stored_call(self, call: GateCall, key: str | None) -> str:
        """
        Return the run of a call, stored now or under the same key before.

        Raises:
            ConfigurationError: The key is no text, or empty, as that of something that has no
                number yet.
            KeyConflict: The key stands for other arguments.
        """
        if key is None:
            return await self._store_call(call, None)
        refuse_no_text("key", key, write=f"key=str({key!r})")
        if not key:
            raise ConfigurationError(f"{call.spec.name}: key is empty; give this call its own key")
        while True:
            found = await self._store.run_by_key(call.spec.name, key)
            if found is not None:
                if found.record.key_digest not in arguments_digests(call, self._executor.shop):
                    raise KeyConflict(found.record.run_id, key=key)
                return found.record.run_id
            with suppress(StaleWriteError):
                return await self._store_call(call, key)

    async def _store_call(self, call: GateCall, key: str | None) -> str:
        new = await new_call_run(
            self._executor.shop, call, key=key, requester=self._requester(), owned=False
        )
        await self._executor.store(new)
        if self._store.durable:
            tell_of_script_name(call.spec.name)
        return new.run_id

    async def request_of(self, run_id: str) -> Request:
        """Return the newest request of a stored call, or raise why it will never have one."""
        while True:
            heard = self._bell.rings
            await self._executor.advance(run_id)
            page = await self._hitl.list_requests(run_id=run_id, limit=1, newest_first=True)
            if page:
                return page[0]
            run = (await self._store.run(run_id)).record
            if run.status in TERMINAL or run.status == "blocked":
                raise await self._end_of(run)
            # Another task or process holds the run, and is about to ask.
            await self._bell.wait(_POLL_SECONDS, after=heard)

    async def _pending(self, run_id: str) -> list[Request]:
        """Return what a run and its children wait for."""
        found = list(await self._hitl.list_requests(run_id=run_id, status="pending", limit=200))
        for child in await self._store.runs(RunQuery(parent_run_id=run_id, limit=200)):
            found += await self._pending(child.record.run_id)
        return found

    async def _attempt_deliveries(self, run_id: str) -> None:
        for request in await self._pending(run_id):
            for delivery in await self._store.deliveries(request.request_id):
                await self._outbox.send(delivery.delivery_id)

    async def _ask_here(self, asker: Asker, run_id: str) -> bool:
        """
        Ask the person at the terminal what a run waits for next, and let its children go on.

        Says whether there was something to ask.
        """
        for child in await self._store.runs(RunQuery(parent_run_id=run_id, limit=200)):
            if await self._ask_here(asker, child.record.run_id):
                await self._drive_again(child.record.run_id, None)
                return True
        page = await self._hitl.list_requests(run_id=run_id, status="pending", limit=1)
        for request in page:
            label, words = await anyio.to_thread.run_sync(asker, request)
            await self._answer_here(request, label, words)
        return bool(page)

    async def _answer_here(self, request: Request, label: str, words: str) -> None:
        try:
            await self._hitl.respond(
                request_id=request.request_id,
                outcome=label,
                feedback=words,
                reviewer=request.assignees[0] if request.assignees else f"console:{_user()}",
                channel="console",
            )
        except (AlreadyDecidedError, RequestCancelledError) as error:
            _log.warning("the answer at the terminal came too late: %s", error)

    async def ensure_served(self) -> None:
        """Raise `NotServing` when nobody would ever see a request or its answer."""
        if self.asker is not None or await self.is_served():
            return
        raise NotServing(
            "nobody would ever see this request or its answer: no process serves this store."
            " Open `client.serving()` here, or start a worker"
        )

    async def is_served(self) -> bool:
        """Return whether this process or another one serves the store."""
        return self.serving > 0 or bool(await self._store.live_claims("serving:"))

    async def _warn_if_unserved(self, flow_name: str) -> None:
        if self._store.durable and not await self.is_served():
            # Of the flow, not of the run: Python shows each text once, and keeps it.
            warnings.warn(
                f"a run of {flow_name} is suspended and nobody serves its store, so no reply is"
                " read and it will not go on: open `client.serving()`, or call `client.drain()`",
                stacklevel=2,
            )

    def _warn_of_names(self, flow: Flow[object]) -> None:
        name = stored_name(type(flow))
        if self._store.durable and not is_portable(name):
            warnings.warn(
                f"{name} is a local or script name, so only this process finds the code of its"
                f" runs; pin one with `class {type(flow).__name__}(Flow, name=...)`",
                stacklevel=2,
            )


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "somebody"
