"""
Audit entries and the commit that carries them (floor 5).

Every change of a request or a run goes through `Ledger.commit`, so none can be made without
its entry, and who listens hears of each entry once it is durable.
"""

from __future__ import annotations

import json
import logging
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from signoff.bell import Bell
from signoff.errors import ApprovalCancelled, ApprovalExpired, ApprovalRejected, RequestExpired
from signoff.model.audit import AuditEntry
from signoff.model.changes import Changes
from signoff.model.request import AuditHead
from signoff.model.run import Run
from signoff.model.values import Tree
from signoff.ports import Store
from signoff.rules.chain import entry_hash, genesis
from signoff.security.keyring import Keyring
from signoff.security.sealing import commitment

_log = logging.getLogger("signoff.audit")

_compact: Final = json.JSONEncoder(separators=(",", ":")).encode
"""As `json.dumps` does it, which makes a new encoder each time."""

_ANSWERS: Final = frozenset(
    f"{one.__module__}:{one.__qualname__}"
    for one in (ApprovalCancelled, ApprovalExpired, ApprovalRejected, RequestExpired)
)
"""What a run fails with where nothing is broken: people refused, or did not answer."""

OnEvent = Callable[[AuditEntry], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """
    What an audit entry is to say.

    Attributes:
        name: What happened, `request.approved` for example.
        at: When, UTC.
        actor: Who did it.
        facts: What else, without personal values.
        personal: Personal values by name; kept apart, and here as salted commitments.
    """

    name: str
    at: datetime
    actor: str
    facts: Mapping[str, Tree] = field(default_factory=dict[str, Tree])
    personal: Mapping[str, str] = field(default_factory=dict[str, str])


class Ledger:
    """
    The store's one writer of requests, runs and their audit entries.

    Attributes:
        store: Where they are.
        keyring: What the entries are made with.
    """

    def __init__(
        self, store: Store, keyring: Keyring, *, on_event: OnEvent | None = None, bell: Bell
    ) -> None:
        """
        Take what is written with.

        Args:
            store: Where the entries go.
            keyring: Which makes their MACs.
            on_event: Hears of each entry.
            bell: Rings after each commit.
        """
        self.store = store
        self.keyring = keyring
        self._on_event = on_event
        self._bell = bell

    def entry(self, stream: str, head: AuditHead, event: Event) -> tuple[AuditEntry, AuditHead]:
        """Return the next entry of a stream and the head that it makes. Writes nothing."""
        salt = secrets.token_bytes(16)
        personal = {name: text for name, text in event.personal.items() if text}
        personal["actor"] = event.actor
        facts = {
            "event": event.name,
            "at": event.at.isoformat(),
            **event.facts,
            **{name: commitment(salt, text) for name, text in personal.items()},
        }
        body = _compact(facts).encode()
        prev_hash = bytes.fromhex(head.hash) if head.hash else genesis
        digest = entry_hash(stream=stream, seq=head.seq + 1, prev_hash=prev_hash, body=body)
        kid, mac = self.keyring.mac("audit", digest)
        entry = AuditEntry(
            stream=stream,
            seq=head.seq + 1,
            prev_hash=prev_hash,
            body=body,
            hash=digest,
            kid=kid,
            mac=mac,
            salt=salt,
            personal=personal,
        )
        return entry, AuditHead(seq=entry.seq, hash=digest.hex())

    async def next_entry(self, stream: str, event: Event) -> AuditEntry:
        """Return the next entry of a stream whose head is not kept in a record."""
        entries = await self.store.audit(stream)
        head = (
            AuditHead(seq=entries[-1].seq, hash=entries[-1].hash.hex()) if entries else AuditHead()
        )
        return self.entry(stream, head, event)[0]

    async def commit(self, changes: Changes) -> None:
        """
        Commit `changes`, then wake who waits and tell the listener of each entry in them.

        The log hears of each run that has failed or is blocked by them, for nobody else might be
        told: a worker does other people's runs. It hears no words of theirs, only what to look up.

        Raises:
            StaleWriteError: As `Store.commit` does; nothing was written and nobody was told.
            StoreUnavailableError: Likewise.
        """
        await self.store.commit(changes)
        self._bell.ring()
        _log_ends(changes)
        if self._on_event is None:
            return
        for entry in changes.audit:
            try:
                self._on_event(entry)
            except Exception:  # noqa: BLE001 - a listener's failure must not undo a commit
                _log.exception("on_event failed for %s %s", entry.stream, entry.seq)


def _log_ends(changes: Changes) -> None:
    told = {entry.stream for entry in changes.audit}
    for run in (sealed.record for sealed in changes.runs):
        # A call without arguments of its own in the store has a caller in this process, who is told.
        if f"run:{run.run_id}" in told and (run.kind == "flow" or run.state):
            _log_end(run)


def _log_end(run: Run) -> None:
    if run.status == "failed" and run.failure is not None:
        what = run.failure.type_name
        _log.log(
            logging.INFO if what in _ANSWERS else logging.WARNING,
            "%s of %s failed with %s: `flows.get` has it in `failure`, `flows.retry` tries again",
            run.run_id,
            run.flow_name,
            what.rpartition(":")[2],
        )
    elif run.status == "blocked":
        _log.warning(
            "%s of %s is blocked, %s: `health` says in `blocked` what exactly, and `flows.retry`"
            " goes on once that is mended",
            run.run_id,
            run.flow_name,
            run.blocked_reason,
        )
