"""Everything that one commit writes (floor 0)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Generic, Literal, TypeVar

from signoff.model.audit import AuditEntry
from signoff.model.delivery import Delivery
from signoff.model.request import Request
from signoff.model.run import Occurrence, Run
from signoff.model.token import TokenRow
from signoff.model.values import Tree

CheckpointT = TypeVar("CheckpointT", Run, Occurrence)

SignalKind = Literal["resolved", "child_ended", "cancel", "retry", "tampered", "late_result"]
TaskKind = Literal["advance", "deliver", "deadline"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed(Generic[CheckpointT]):
    """
    A record of a checkpoint with exactly the bytes that are stored and their MAC.

    The store keeps `body`, `kid` and `mac` as they are and never encodes `record` again.

    Attributes:
        record: The record that `body` says.
        body: What is stored.
        kid: The key of the MAC.
        mac: The MAC over the record's id, its version and `body`.
        contradicts: On reading, the name of a typed column that says something else than
            `body`; empty when none does. The store reports it here and does not raise.
    """

    record: CheckpointT
    body: bytes
    kid: int
    mac: bytes
    contradicts: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """
    An immutable row that tells a run something.

    Attributes:
        run_id: Whom.
        cause: Unique within the run, so that telling twice is telling once.
        kind: What sort of thing.
        facts: The rest, by name.
        created_at: When, UTC.
    """

    run_id: str
    cause: str
    kind: SignalKind
    facts: Mapping[str, Tree] = field(default_factory=dict[str, Tree])
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """
    The right to write one subject, for as long as its lease lasts.

    Attributes:
        subject: A run id, a delivery id, or `serving:<process>`.
        holder: Who has it, or had it when its lease lapsed; empty once it was given back.
        fencing: Rises by one each time that it changes hands.
        live: Whether its lease had not run out when it was read, by the store's lease clock.
    """

    subject: str
    holder: str
    fencing: int
    live: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """
    All that is stored of a run, as whoever is about to take its claim reads it.

    Attributes:
        claim: The claim on it, live or not, if there ever was one.
        run: Its record.
        journal: Its occurrences in the order of their `seq`.
        signals: What it was told and has not dealt with, in the order it was appended.
    """

    claim: Claim | None
    run: Sealed[Run]
    journal: Sequence[Sealed[Occurrence]]
    signals: Sequence[Signal]


@dataclass(frozen=True, slots=True, kw_only=True)
class Acquire:
    """Take a claim: fails if another holder's lease is live, or its fencing is not `fencing - 1`."""

    subject: str
    holder: str
    fencing: int
    lease: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Renew:
    """Prolong a claim; fails unless `holder` still has it under `fencing`, even with a lapsed lease."""

    subject: str
    holder: str
    fencing: int
    lease: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """
    Give a claim back. Fails unless `holder` has it under `fencing`.

    For a run it also fails while the run has a signal that is not consumed, counting what this
    very commit consumes; the row stays with its fencing number.
    """

    subject: str
    holder: str
    fencing: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Fence:
    """
    A condition of the commit: `holder` has `subject` under `fencing`.

    Attributes:
        remaining: How much of the lease must be left; `None` asks for no live lease, because
            a claim that lapsed but was not taken is still the last one.
    """

    subject: str
    holder: str
    fencing: int
    remaining: timedelta | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """
    Something for the engine to do; only an id, and losing or repeating it does no harm.

    Attributes:
        kind: What to do.
        subject: With which run, delivery or request.
        not_before: When; `None` for now.
    """

    kind: TaskKind
    subject: str
    not_before: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """
    All that one commit writes, or none of it.

    A mutable record is written only over its `version - 1`; version 1 only where there is none.

    Attributes:
        runs: New versions of runs.
        occurrences: New versions of occurrences.
        requests: New versions of requests.
        tokens: New versions of tokens.
        deliveries: New versions of deliveries.
        signals: To append; one whose (run, cause) exists already is left as it is.
        consumed: (run id, cause) of signals that are dealt with; each must be unconsumed.
        audit: Entries to append; each must be the next of its stream.
        claims: Claims to take, prolong or give back, after everything else was checked.
        fences: Conditions.
        handled: Keys of incoming messages that this commit deals with; each must be new.
        marks: High-water marks of inboxes, by name; the last one written stands.
        key_checks: Check values of keys, by key id; an existing one must be equal.
        tasks: What follows, for the engine.
        now: The business time that the changes assumed, `None` if they assumed none: the
            commit fails when the store's clock stands before it.
        until: The commit fails when the store's clock stands at or after it.
    """

    runs: tuple[Sealed[Run], ...] = ()
    occurrences: tuple[Sealed[Occurrence], ...] = ()
    requests: tuple[Request, ...] = ()
    tokens: tuple[TokenRow, ...] = ()
    deliveries: tuple[Delivery, ...] = ()
    signals: tuple[Signal, ...] = ()
    consumed: tuple[tuple[str, str], ...] = ()
    audit: tuple[AuditEntry, ...] = ()
    claims: tuple[Acquire | Renew | Release, ...] = ()
    fences: tuple[Fence, ...] = ()
    handled: tuple[str, ...] = ()
    marks: Mapping[str, str] = field(default_factory=dict[str, str])
    key_checks: Mapping[int, str] = field(default_factory=dict[int, str])
    tasks: tuple[Task, ...] = ()
    now: datetime | None = None
    until: datetime | None = None
