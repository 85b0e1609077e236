"""The journaled calls of one occurrence, as one attempt meets and writes them (floor 6)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, cast

from signoff.codec import Codec
from signoff.flows.session import Blocked, Part, Session
from signoff.model.run import BlockedReason, Call, CallKind, Occurrence

CallKey = tuple[CallKind, str, str, int]
"""What a call is known by within its occurrence: kind, name, digest, and which of equal ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Permit:
    """
    Leave to run an approved body once.

    Attributes:
        key: Which call.
        arguments: Exactly what was approved, decoded anew, with the live ones added.
    """

    key: CallKey
    arguments: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Settled:
    """
    What a call came to without running its body now.

    Attributes:
        value: What it returns.
        error: What it raises, if it does.
    """

    value: object = None
    error: Exception | None = None


class Waits:
    """A call that waits for a human."""


WAITS: Final = Waits()

Answer = Permit | Settled | Waits


@dataclass(slots=True, eq=False)
class Plan:
    """
    What one look at some calls wants to commit.

    Attributes:
        calls: New versions of journaled calls.
        dropped: Calls that others take the place of.
        parts: What else goes into the commit.
    """

    calls: list[Call] = field(default_factory=list[Call])
    dropped: list[Call] = field(default_factory=list[Call])
    parts: list[Part] = field(default_factory=list[Part])


@dataclass(slots=True, eq=False)
class Calls:
    """
    The journaled calls of one occurrence.

    Attributes:
        session: The run.
        occurrence_id: The execution of the step.
        met: Which calls this attempt has come to, or has asked about.
        counted: How many equal ones it has come to.
        blocked: Why the run needs a person, when one of them says so.
    """

    session: Session
    occurrence_id: str
    met: set[CallKey] = field(default_factory=set[CallKey])
    counted: Counter[CallKey] = field(default_factory=Counter[CallKey])
    blocked: Blocked | None = None

    @property
    def run_id(self) -> str:
        """The run."""
        return self.session.run.run_id

    @property
    def codec(self) -> Codec:
        """What values are stored with."""
        return self.session.shop.codec

    @property
    def occurrence(self) -> Occurrence:
        """The occurrence as it was last stored."""
        return self.session.journal[self.occurrence_id]

    def find(self, key: CallKey) -> Call | None:
        """Return the journaled call with this identity."""
        return next((call for call in self.occurrence.calls if call_key(call) == key), None)

    def unmet(self) -> tuple[Call, ...]:
        """Return the calls that this attempt did not come to, although it has to."""
        return tuple(
            call
            for call in self.occurrence.calls
            if _binds(call) and call_key(call) not in self.met
        )

    def next_key(self, kind: CallKind, name: str, digest: str) -> CallKey:
        """Return what the next call with these arguments is known by; `count` makes it the last."""
        return (kind, name, digest, self.counted[kind, name, digest, 0])

    def count(self, kind: CallKind, name: str, digest: str) -> None:
        """Note that the attempt has come to one more call with these arguments."""
        self.counted[kind, name, digest, 0] += 1

    def block(self, reason: BlockedReason, detail: str) -> Waits:
        """Say that the run needs a person; the first reason stands."""
        self.blocked = self.blocked or Blocked(reason=reason, detail=detail)
        return WAITS

    async def mark(self, key: CallKey, *, remaining: bool = False, **update: object) -> None:
        """
        Commit the next version of one call.

        Args:
            key: Which.
            remaining: Whether enough of the lease must be left to start a body.
            **update: What changes in it.
        """

        def change(one: Occurrence) -> Occurrence:
            found = cast("Call", self.find(key))
            return _with_call(one, found.model_copy(update=update))

        margin = self.session.start_margin if remaining else None
        await self.session.update_call(self.occurrence_id, change, remaining=margin)

    async def write(self, plan: Plan) -> None:
        """Commit what was planned, in one commit."""
        gone = {call_key(each) for each in plan.dropped}

        def change(one: Occurrence) -> Occurrence:
            kept = tuple(each for each in one.calls if call_key(each) not in gone)
            one = one.model_copy(update={"calls": kept})
            for call in plan.calls:
                one = _with_call(one, call)
            return one

        await self.session.update_call(self.occurrence_id, change, parts=plan.parts)


def call_key(call: Call) -> CallKey:
    """Return what a call is known by within its occurrence."""
    return (call.kind, call.name, call.digest, call.nth)


def _binds(call: Call) -> bool:
    # A result of `once` is only remembered, and a call that is to be asked anew after a failure
    # has no question that one could keep to.
    return call.kind == "child" or bool(call.request_id)


def _with_call(one: Occurrence, call: Call) -> Occurrence:
    """Return an occurrence with `call` in the place of the one of the same identity, or added."""
    key = call_key(call)
    calls = [call if call_key(each) == key else each for each in one.calls]
    if key not in {call_key(each) for each in one.calls}:
        calls.append(call)
    return one.model_copy(update={"calls": tuple(calls)})
