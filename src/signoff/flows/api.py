"""Runs, for applications: start, look, wait, cancel, retry (floor 6)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Final, get_args

import anyio

from signoff.audit.ledger import Event
from signoff.bell import Bell
from signoff.desk import TRIES
from signoff.errors import (
    CodecError,
    ConfigurationError,
    SealInvalidError,
    StaleWriteError,
)
from signoff.flows.beginning import NewRun, id_taken, new_flow_run
from signoff.flows.executor import Executor
from signoff.flows.flow import Flow, stored_name
from signoff.model.changes import Changes, Signal, SignalKind, Task
from signoff.model.run import TERMINAL, Run, RunStatus
from signoff.ports import RunQuery
from signoff.registry import tell_of_script_name
from signoff.rules.slips import refuse_bare_numbers, refuse_other_word

_POLL_SECONDS: Final = 1.0
_AT_WORK: Final[tuple[RunStatus, ...]] = ("ready", "suspended")
"""What is stored of a run that somebody drives just now, until it rests again."""


class Flows:
    """The runs of a client."""

    def __init__(
        self, executor: Executor, bell: Bell, *, requester: Callable[[str | None], str | None]
    ) -> None:
        self._executor = executor
        self._store = executor.shop.store
        self._ledger = executor.shop.ledger
        self._bell = bell
        self._requester = requester

    async def start(
        self,
        flow: type[Flow[object]] | Flow[object],
        *,
        inputs: Mapping[str, object] | None = None,
        requester: str | None = None,
    ) -> Run:
        """
        Store a new run, `ready`; whoever serves or drains the store advances it.

        Args:
            flow: The class, or an instance.
            inputs: Merged into the state. An `id` among them is refused while a run with the
                same one is open.
            requester: Who starts it; the client's `requester` without it.

        Raises:
            ConfigurationError: It is no flow.
            ValueError: An input does not fit the state; the message names the field.
            RunError: A run with this id is open.
        """
        _refuse_no_flow(flow)
        instance = flow() if isinstance(flow, type) else flow
        new = await new_flow_run(
            self._executor.shop,
            instance,
            inputs or {},
            requester=self._requester(requester),
            claimed=False,
        )
        await self.store_new(new)
        if self._store.durable:
            tell_of_script_name(new.run.record.flow_name)
        return new.run.record

    async def store_new(self, new: NewRun) -> None:
        """Store a new run. Raises `RunError` when a run with its id is open."""
        try:
            await self._executor.store(new)
        except StaleWriteError as error:
            raise id_taken(new.run.record) from error

    async def get(self, run_id: str) -> Run:
        """
        Return a run as it stands: `running` while a claim on it is live, `output` when completed.

        Raises:
            NotFoundError: There is none.
        """
        return await self._as_it_stands((await self._store.run(run_id)).record)

    async def wait(self, run_id: str, *, timeout: timedelta | None = None) -> Run:  # noqa: ASYNC109 - the run as it stands then is no error
        """
        Return a run once it has ended, or as it stands after `timeout` of real time.

        Raises:
            NotFoundError: There is none.
            ConfigurationError: The timeout is no `timedelta`.
        """
        refuse_bare_numbers(timeout=timeout)
        with anyio.move_on_after(None if timeout is None else timeout.total_seconds()):
            heard = self._bell.rings
            while (await self.get(run_id)).status not in TERMINAL:
                await self._bell.wait(_POLL_SECONDS, after=heard)
                heard = self._bell.rings
        return await self.get(run_id)

    async def list(
        self,
        *,
        status: RunStatus | None = None,
        flow: type[Flow[object]] | None = None,
        limit: int = 50,
    ) -> Sequence[Run]:
        """
        Return runs as they stand, oldest first.

        Args:
            status: Only with this status.
            flow: Only of this class, under the name that it has now.
            limit: How many are looked at, at the most.

        Raises:
            ConfigurationError: There is no such status.
        """
        if status is not None:
            refuse_other_word("status", status, get_args(RunStatus))
        name = stored_name(flow) if flow else None
        found: list[Run] = []
        for stored in _AT_WORK if status == "running" else (status,):
            query = RunQuery(status=stored, flow_name=name, limit=limit)
            found += [await self._as_it_stands(one.record) for one in await self._store.runs(query)]
        found.sort(key=lambda run: (run.created_at, run.run_id))
        return tuple(run for run in found if status in {None, run.status})[:limit]

    async def cancel(self, run_id: str, *, by: str | None = None) -> Run:
        """
        End a run, its requests and its children; reviewers are told, and late replies answered.

        An approved body that is just running ends and is recorded first. Idempotent.

        Raises:
            NotFoundError: There is none.
        """
        return await self._command(run_id, "cancel", by=by)

    async def retry(self, run_id: str, *, by: str | None = None) -> Run:
        """
        Let a failed or blocked run go on: from the step that failed, asking anew what lapsed.

        Raises:
            NotFoundError: There is none.
            ConfigurationError: It is neither failed nor blocked.
        """
        run = await self.get(run_id)
        if run.status not in {"failed", "blocked"}:
            raise ConfigurationError(
                f"{run_id} is {run.status}; only a failed or blocked run can be retried"
            )
        return await self._command(run_id, "retry", by=by)

    async def _command(self, run_id: str, kind: SignalKind, *, by: str | None) -> Run:
        tries = 0
        while True:
            tries += 1
            try:
                await self._tell(run_id, kind, by=by)
            except StaleWriteError:
                # Somebody else has told the run something, and has the place in its audit trail.
                if tries == TRIES:
                    raise
            else:
                break
        await self._executor.advance(run_id)
        return await self.get(run_id)

    async def _tell(self, run_id: str, kind: SignalKind, *, by: str | None) -> None:
        run = (await self._store.run(run_id)).record
        now = await self._store.now()
        actor = self._requester(by) or "api:unidentified"
        event = Event(name=f"run.{kind}_asked", at=now, actor=actor, facts={"run_id": run_id})
        entry = await self._ledger.next_entry(f"commands:{run_id}", event)
        signal = Signal(
            run_id=run_id,
            cause=f"{kind}:{run.version}",
            kind=kind,
            facts={"by": actor},
            created_at=now,
        )
        task = Task(kind="advance", subject=run_id)
        await self._ledger.commit(Changes(signals=(signal,), audit=(entry,), tasks=(task,)))

    async def _as_it_stands(self, run: Run) -> Run:
        if run.status == "completed":
            # A process without the types, or a row that was tampered with, shows no output.
            with suppress(CodecError, SealInvalidError):
                return run.with_output(await self._executor.output(run.run_id))
        if run.status in _AT_WORK:
            claim = await self._store.claim(run.run_id)
            if claim is not None and claim.live:
                return run.model_copy(update={"status": "running"})
        return run


def _refuse_no_flow(flow: object) -> None:
    if not issubclass(flow if isinstance(flow, type) else type(flow), Flow):
        raise ConfigurationError(
            f"{flow!r} is no flow; give a subclass of signoff.Flow, or for a gated function use"
            " client.submit(...)"
        )
