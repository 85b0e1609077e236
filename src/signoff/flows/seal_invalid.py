"""What becomes of a run whose checkpoint is not what was stored (floor 6)."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace

from signoff.audit.ledger import Event
from signoff.errors import SealInvalidError
from signoff.flows.session import Part, Session, sealed_run
from signoff.model.audit import AuditEntry
from signoff.model.changes import Changes, Signal, Task
from signoff.model.run import Run, RunStatus
from signoff.ports import RequestQuery, RunQuery
from signoff.rules.lifecycle import Cancel

_MANY = 200


@dataclass(frozen=True, slots=True)
class _Entry:
    """An audit entry as a part of a commit."""

    entry: AuditEntry

    def added_to(self, changes: Changes) -> Changes:
        return replace(changes, audit=(*changes.audit, self.entry))


async def set_aside_unread(session: Session, error: SealInvalidError) -> None:
    """
    Block a run of whose checkpoint nothing is believed, or end it if it was told to end.

    The checkpoint stays invalid, so that no retry ever runs on it.
    """
    ends = any(signal.kind == "cancel" for signal in session.signals)
    parts = await _ended_requests(session) if ends else []
    signals = await _cancelled_children(session) if ends else []
    # To look at its requests may have told the run about one more thing that is not as it was.
    await session.refresh_signals()
    ended = ends or session.run.status == "cancelled"
    status: RunStatus = "cancelled" if ended else "blocked"
    detail = f"{error.record_id}: {error.field}"
    run_id, now = session.run.run_id, await session.now()
    event = Event(
        name=f"run.{status}",
        at=now,
        actor="signoff",
        facts={"run_id": run_id, "reason": "seal_invalid", "detail": detail},
    )
    # The audit head in the row is as doubtful as the rest of it; the stream itself is not.
    entry = await session.shop.ledger.next_entry(f"commands:{run_id}", event)
    run = session.run.model_copy(
        update={
            "version": session.run.version + 1,
            "status": status,
            "blocked_reason": "seal_invalid",
            "blocked_detail": detail,
            "updated_at": now,
        }
    )
    await session.commit(
        parts=[*parts, _Entry(entry), _Unsealed(session, run)],
        consumed=session.signals,
        signals=signals,
        tasks=[Task(kind="advance", subject=signal.run_id) for signal in signals],
        release=True,
    )


@dataclass(frozen=True, slots=True)
class _Unsealed:
    """A run's row with a MAC that never holds."""

    session: Session
    run: Run

    def added_to(self, changes: Changes) -> Changes:
        sealed = sealed_run(self.session.shop.keyring, self.run)
        return replace(changes, runs=(replace(sealed, mac=bytes(len(sealed.mac))),))


async def _ended_requests(session: Session) -> list[Part]:
    desk, now = session.shop.desk, await session.now()
    query = RequestQuery(run_id=session.run.run_id, status="pending", limit=_MANY)
    command = Cancel(by="flow", reason="run cancelled", channel="timer")
    parts: list[Part] = []
    for request in await session.shop.store.requests(query):
        with suppress(SealInvalidError):
            parts.append(await desk.end(await desk.load(request.request_id), command, now=now))
    return parts


async def _cancelled_children(session: Session) -> list[Signal]:
    now = await session.now()
    children = await session.shop.store.runs(RunQuery(parent_run_id=session.run.run_id))
    return [
        Signal(
            run_id=child.record.run_id,
            cause="cancel",
            kind="cancel",
            facts={"by": "flow", "reason": "run cancelled"},
            created_at=now,
        )
        for child in children
    ]
