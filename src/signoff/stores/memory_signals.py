"""The signals of a `MemoryStore`, and what a commit makes of them (floor 4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from signoff.errors import StaleWriteError
from signoff.model.changes import Signal
from signoff.records import decode_facts, encode_facts, micros_of

Address: TypeAlias = tuple[str, str]
"""The run and the cause of a signal."""


@dataclass(frozen=True, slots=True)
class Told:
    """A signal as it is kept: without its facts, their bytes, and when in microseconds."""

    signal: Signal
    facts: bytes
    at: int

    @property
    def address(self) -> Address:
        """Return the run and the cause."""
        return (self.signal.run_id, self.signal.cause)

    def read(self) -> Signal:
        """Decode the signal anew."""
        return replace(self.signal, facts=decode_facts(self.facts, self.signal.run_id))


def told(signal: Signal) -> Told:
    """Encode a signal. Raises `CodecError`."""
    facts = encode_facts(signal.facts, signal.run_id)
    return Told(replace(signal, facts={}), facts, micros_of(signal.created_at))


class Signals:
    """All signals by run, in the order they were appended, and which of them still wait."""

    def __init__(self) -> None:
        self._told: dict[str, dict[str, Told]] = {}
        self._waiting: dict[str, dict[str, Told]] = {}

    def all_of(self, run_id: str) -> list[Told]:
        """Return every signal of a run."""
        return list(self._told.get(run_id, {}).values())

    def waiting(self, run_id: str) -> list[Told]:
        """Return the unconsumed signals of a run."""
        return list(self._waiting.get(run_id, {}).values())

    def oldest_call(self, run_id: str) -> int | None:
        """Return since when a run has a signal that wakes it; a late result wakes nobody."""
        calls = (told.at for told in self.waiting(run_id) if told.signal.kind != "late_result")
        return min(calls, default=None)

    def after(self, appended: Sequence[Told], consumed: Sequence[Address]) -> SignalsAfter:
        """
        Return what a commit would make of them.

        Raises:
            StaleWriteError: It consumes what is not there, or not any more.
        """
        new: dict[Address, Told] = {}
        for one in appended:
            if one.signal.cause not in self._told.get(one.signal.run_id, {}):
                new.setdefault(one.address, one)
        left = {
            told.address
            for run_id in {run_id for run_id, _ in consumed}
            for told in self.waiting(run_id)
        }
        left |= new.keys()
        for address in consumed:
            if address not in left:
                raise StaleWriteError(
                    address[0], f"its signal {address[1]!r} is not there to consume"
                )
            left.remove(address)
        return SignalsAfter(self, new, frozenset(consumed))

    def put(self, after: SignalsAfter) -> None:
        """Make it so."""
        for (run_id, cause), one in after.new.items():
            self._told.setdefault(run_id, {})[cause] = one
            self._waiting.setdefault(run_id, {})[cause] = one
        for run_id, cause in after.consumed:
            del self._waiting[run_id][cause]


@dataclass(frozen=True, slots=True)
class SignalsAfter:
    """What a commit makes of the signals: those it adds, and the addresses it consumes."""

    before: Signals
    new: dict[Address, Told]
    consumed: frozenset[Address]

    def wait_for(self, run_id: str) -> bool:
        """Return whether the run then still has a signal that is not consumed."""
        standing = {told.address for told in self.before.waiting(run_id)}
        new = {address for address in self.new if address[0] == run_id}
        return bool((standing | new) - self.consumed)

    @property
    def run_ids(self) -> set[str]:
        """The runs that it concerns."""
        return {run_id for run_id, _ in (*self.new, *self.consumed)}
