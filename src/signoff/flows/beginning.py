"""Runs about to be stored: of a flow, and of one gated call (floor 6)."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from typing_extensions import override

from signoff.audit.ledger import Event
from signoff.errors import RunError
from signoff.flows.attempt import Begun
from signoff.flows.code import CALL_STEP
from signoff.flows.drafts import call_digest, encrypted_arguments, shown_arguments
from signoff.flows.flow import Flow, shape_of, state_model, stored_name
from signoff.flows.session import Session, Workshop, sealed_occurrence, sealed_run
from signoff.flows.state import StateBox
from signoff.ids import new_id
from signoff.model.audit import AuditEntry
from signoff.model.changes import Acquire, Changes, Sealed, Task
from signoff.model.gate import GateCall
from signoff.model.run import Occurrence, Run
from signoff.model.values import Tree
from signoff.registry import default_name

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


def id_taken(run: Run) -> RunError:
    """Return the error that refuses a run whose id another open run of its flow has."""
    return RunError(run.run_id, f"refused: a run of {run.flow_name} with {run.key!r} is still open")


async def new_flow_run(
    shop: Workshop,
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

    Args:
        shop: What it is to be driven with.
        flow: The instance.
        inputs: Merged into its state.
        requester: Who starts it.
        claimed: Whether this process takes it in the same commit.
        parent: The run whose step begins it, if one does.
        step: That step's occurrence.

    Raises:
        ValueError: An input does not fit the state.
        CodecError: A value in it cannot be stored.
    """
    kind, model = type(flow), flow.state_model()
    now = await shop.store.now()
    run_id = new_id("run", now)
    box = StateBox(shop.codec, model)
    box.begin(flow.initial_values(), inputs, id_=run_id)
    shape = shape_of(kind)
    given_id = inputs.get("id")
    run = Run(
        run_id=run_id,
        flow_name=stored_name(kind),
        state_type=default_name(model) if model and model is not state_model(kind) else "",
        state_version=kind.state_version,
        requester=requester,
        key=f"id:{given_id}" if given_id else None,
        parent_run_id=parent.run.run_id if parent else "",
        parent_occurrence_id=step,
        fingerprint=shape.fingerprint,
        state=box.dump(),
        created_at=now,
        updated_at=now,
    )
    return _new(shop, run, shape.graph.initial(), claimed=claimed)


async def new_call_run(
    shop: Workshop, call: GateCall, *, key: str | None, requester: str | None, owned: bool
) -> NewRun:
    """
    Return a run of one gated call; writes nothing.

    Args:
        shop: What it is to be driven with.
        call: The call.
        key: The developer's own key.
        requester: Who asks.
        owned: Whether only this process may execute it, because it has live arguments or
            its caller waits for it.

    Raises:
        CodecError: An argument cannot be stored.
    """
    codec, keyring = shop.codec, shop.keyring
    now = await shop.store.now()
    run_id = new_id("run", now)
    visible = {
        name: value for name, value in call.arguments.items() if name not in call.spec.hidden
    }
    hidden = encrypted_arguments(call, keyring=keyring, run_id=run_id, codec=codec)
    state: dict[str, Tree] = (
        {}
        if owned
        else {
            "arguments": codec.to_tree(visible, path=call.spec.name),
            "hidden": dict[str, Tree](hidden),
        }
    )
    run = Run(
        run_id=run_id,
        kind="call",
        flow_name=f"{call.spec.name}{OWNED}{shop.keeper.holder}" if owned else call.spec.name,
        requester=requester,
        key=key,
        key_digest=arguments_digests(call, shop)[0] if key else "",
        state=state,
        created_at=now,
        updated_at=now,
    )
    return _new(shop, run, (CALL_STEP,), claimed=owned)


def _new(shop: Workshop, run: Run, steps: tuple[str, ...], *, claimed: bool) -> NewRun:
    event = Event(
        name="run.started",
        at=run.created_at,
        actor=run.requester or "api",
        facts={"run_id": run.run_id, "flow": run.flow_name, "parent": run.parent_run_id},
    )
    entry, head = shop.ledger.entry(f"run:{run.run_id}", run.audit, event)
    run = run.model_copy(update={"audit": head, "next_seq": len(steps) + 1})
    keyring = shop.keyring
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
        acquire=shop.keeper.acquisition(run.run_id) if claimed else None,
        began=time.monotonic(),
    )
