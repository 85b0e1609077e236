"""One run in its claim's holder's hands: what was loaded, and the only way to write it (floor 6)."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Protocol, Self

import anyio

from signoff.audit.ledger import Event, Ledger
from signoff.claims import Held, Keeper
from signoff.codec import Codec
from signoff.desk import Desk
from signoff.errors import SealInvalidError, StaleWriteError
from signoff.model.audit import AuditEntry
from signoff.model.changes import Acquire, Changes, Checkpoint, Sealed, Signal, Task
from signoff.model.policy import Policy
from signoff.model.request import Request
from signoff.model.run import BlockedReason, Occurrence, Run
from signoff.ports import Store
from signoff.records import encode
from signoff.security.keyring import Keyring
from signoff.security.sealing import BodyMac, check_body, mac_body


class Lost(Exception):  # noqa: N818 - no error: somebody else goes on with the run
    """Raised inside the executor when another holder has the run now."""


class Part(Protocol):
    """Something that goes into a commit of the run."""

    def added_to(self, changes: Changes) -> Changes:
        """Return `changes` with it in."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocked:
    """
    Why a run needs a person.

    Attributes:
        reason: One of the closed reasons.
        detail: What exactly, for that person.
    """

    reason: BlockedReason
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Workshop:
    """
    What runs are driven with.

    Attributes:
        store: Where they are.
        ledger: Through which they are written.
        desk: Which opens and ends their requests.
        codec: Which stores their values.
        keeper: Which keeps their claims.
        policy: The client's policy.
    """

    store: Store
    ledger: Ledger
    desk: Desk
    codec: Codec
    keeper: Keeper
    policy: Policy

    @property
    def keyring(self) -> Keyring:
        """The keys."""
        return self.ledger.keyring


def sealed_run(keyring: Keyring, run: Run) -> Sealed[Run]:
    """Return a run with its bytes and their MAC."""
    body = encode(run)
    mac = mac_body(keyring, kind="run", record_id=run.run_id, version=run.version, body=body)
    return Sealed(record=run, body=body, kid=mac.kid, mac=mac.mac)


def sealed_occurrence(keyring: Keyring, one: Occurrence) -> Sealed[Occurrence]:
    """Return an occurrence with its bytes and their MAC."""
    body = encode(one)
    mac = mac_body(
        keyring, kind="journal", record_id=one.occurrence_id, version=one.version, body=body
    )
    return Sealed(record=one, body=body, kid=mac.kid, mac=mac.mac)


def check_checkpoint(
    keyring: Keyring, run: Sealed[Run], journal: Sequence[Sealed[Occurrence]]
) -> None:
    """
    Compare a checkpoint with its MACs.

    Raises:
        SealInvalidError: It is not what was stored; `record_id` and `field` say what.
    """
    record = run.record
    if run.contradicts:
        raise SealInvalidError(record.run_id, run.contradicts, run_id=record.run_id)
    check_body(
        keyring,
        BodyMac(kid=run.kid, mac=run.mac),
        kind="run",
        record_id=record.run_id,
        version=record.version,
        body=run.body,
    )
    for one in journal:
        each = one.record
        if one.contradicts:
            raise SealInvalidError(each.occurrence_id, one.contradicts, run_id=record.run_id)
        check_body(
            keyring,
            BodyMac(kid=one.kid, mac=one.mac),
            kind="journal",
            record_id=each.occurrence_id,
            version=each.version,
            body=one.body,
        )
    numbers = [one.record.seq for one in journal]
    belongs = all(one.record.run_id == record.run_id for one in journal)
    if numbers != list(range(1, record.next_seq)) or not belongs:
        raise SealInvalidError(record.run_id, "journal", run_id=record.run_id)


@dataclass(slots=True, eq=False)
class Session:
    """
    A loaded run under a live claim.

    Attributes:
        shop: What it is driven with.
        held: The claim.
        run: The run as it was last stored.
        journal: Its occurrences as they were last stored, by id, in the order of their numbers.
        signals: What it was told and has not dealt with.
        lock: Held around each read-and-commit of its records.
        policy: What holds where its gates say nothing: its flow's policy over the client's.
        failures: What its occurrences raised in this process.
        released: Whether the claim was given back.
        unchecked: What was read, if it is to be compared with its MACs.
        to_take: The claim that is taken with the next commit, if it is not held yet.
        requests: Answered requests whose seals were verified, by id.
    """

    shop: Workshop
    held: Held
    run: Run
    journal: dict[str, Occurrence]
    signals: list[Signal] = field(default_factory=list[Signal])
    policy: Policy = field(default_factory=Policy)
    lock: anyio.Lock = field(default_factory=partial(anyio.Lock, fast_acquire=True))
    failures: dict[str, Exception] = field(default_factory=dict[str, Exception])
    released: bool = False
    unchecked: Checkpoint | None = None
    to_take: Acquire | None = None
    requests: dict[str, Request] = field(default_factory=dict[str, Request])

    @classmethod
    def of(
        cls, stored: Checkpoint, held: Held, shop: Workshop, *, to_take: Acquire | None = None
    ) -> Self:
        """Return a run as it was read before its claim was taken, or after."""
        return cls(
            shop=shop,
            held=held,
            run=stored.run.record,
            journal={one.record.occurrence_id: one.record for one in stored.journal},
            signals=list(stored.signals),
            unchecked=stored,
            to_take=to_take,
        )

    async def now(self) -> datetime:
        """Return business time."""
        return await self.shop.store.now()

    async def refresh_signals(self) -> None:
        """Read what the run was told."""
        self.signals = list(await self.shop.store.signals(self.run.run_id))

    async def commit(
        self,
        *,
        change: Mapping[str, object] | None = None,
        occurrences: Sequence[Occurrence] = (),
        parts: Sequence[Part] = (),
        consumed: Sequence[Signal] = (),
        events: Sequence[Event] = (),
        signals: Sequence[Signal] = (),
        tasks: Sequence[Task] = (),
        release: bool = False,
        remaining: timedelta | None = None,
    ) -> None:
        """
        Write new versions of the run's records, all or nothing, under the claim.

        Versions, fencing and audit positions are filled in here, and the run is written with
        what `change` changes in it, by name; without that or an event it stays as it is.

        Raises:
            StaleWriteError: Something besides the run moved on, or the release met a signal.
            Lost: Another holder has the run.
        """
        keyring = self.shop.keyring
        head = self.run.audit
        run: Run | None = None
        entries: list[AuditEntry] = []
        for event in events:
            entry, head = self.shop.ledger.entry(f"run:{self.run.run_id}", head, event)
            entries.append(entry)
        if change is not None or events:
            run = self.run.model_copy(
                update={
                    **(change or {}),
                    "version": self.run.version + 1,
                    "fencing": self.held.fencing,
                    "audit": head,
                }
            )
        stored = [self._next_version(one) for one in occurrences]
        changes = Changes(
            runs=(sealed_run(keyring, run),) if run else (),
            occurrences=tuple(sealed_occurrence(keyring, one) for one in stored),
            consumed=tuple((one.run_id, one.cause) for one in consumed),
            audit=tuple(entries),
            signals=tuple(signals),
            tasks=tuple(tasks),
            # To take the claim asks for more than to have it.
            fences=() if self.to_take else (self.held.fence(remaining=remaining),),
            claims=(
                *((self.to_take,) if self.to_take else ()),
                *((self.held.release(),) if release else ()),
            ),
        )
        for each in parts:
            changes = each.added_to(changes)
        await self._write(changes)
        self.run = run or self.run
        self.journal |= {one.occurrence_id: one for one in stored}
        gone = {one.cause for one in consumed}
        self.signals = [one for one in self.signals if one.cause not in gone]
        if release:
            self.released = True
            self.shop.keeper.let_go(self.held)

    async def take_claim(self) -> None:
        """Take the claim with nothing else, if it was not taken yet. Raises `Lost`."""
        if self.to_take is not None:
            await self.commit()

    async def update_call(
        self,
        occurrence_id: str,
        change: Callable[[Occurrence], Occurrence],
        *,
        parts: Sequence[Part] = (),
        remaining: timedelta | None = None,
    ) -> Occurrence:
        """Commit one occurrence's next version, made from its newest by `change`, and return it."""
        async with self.lock:
            await self.commit(
                occurrences=[change(self.journal[occurrence_id])],
                parts=parts,
                remaining=remaining,
            )
            return self.journal[occurrence_id]

    async def still_ours(self) -> bool:
        """Return whether the store still has the claim as ours."""
        claim = await self.shop.store.claim(self.run.run_id)
        return (
            claim is not None
            and claim.holder == self.held.holder
            and claim.fencing == self.held.fencing
        )

    @property
    def start_margin(self) -> timedelta:
        """How much of the lease must be left for an approved body to start."""
        return self.shop.keeper.lease / 6

    def may_start(self) -> bool:
        """Return whether that much is left on this process's own clock."""
        return self.held.remaining(time.monotonic()) >= self.start_margin.total_seconds()

    async def _write(self, changes: Changes) -> None:
        if self.to_take is not None:
            await self._write_taking(self.to_take, changes)
            return
        try:
            await self.shop.ledger.commit(changes)
        except StaleWriteError:
            if self.held.lost or not await self.still_ours():
                self.held.lost = True
                raise Lost from None
            raise

    async def _write_taking(self, acquire: Acquire, changes: Changes) -> None:
        began = time.monotonic()
        try:
            await self.shop.ledger.commit(changes)
        except StaleWriteError:
            self.to_take = None
            standing = await self.shop.store.claim(self.run.run_id)
            if standing is None or standing.fencing != acquire.fencing - 1 or standing.live:
                raise Lost from None
            self.to_take = acquire
            raise
        self.to_take = None
        self.held = self.shop.keeper.keep(acquire, began=began)

    def _next_version(self, one: Occurrence) -> Occurrence:
        stored = self.journal.get(one.occurrence_id)
        return one.model_copy(update={"version": stored.version + 1 if stored else 1})
