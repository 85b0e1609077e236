"""What all parts of the store contract share (floor 9)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import ClassVar, TypeAlias

import anyio
import pytest
from typing_extensions import override

from signoff.errors import StaleWriteError
from signoff.model.changes import Changes, Task
from signoff.ports import Clock, Store, TaskSink
from signoff.testing.builders import NOON

Reopen: TypeAlias = Callable[[], Awaitable[Store]]
"""Closes the store of the test and returns a new object over the same data, opened."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OtherProcess:
    """
    How another process opens a store over the same data.

    Attributes:
        store: Names what makes the store, as `module:name`; the process finds modules where this
            one does.
        arguments: What it is called with, by name; they go there as JSON.
    """

    store: str
    arguments: Mapping[str, object] = field(default_factory=dict[str, object])


class Capability(StrEnum):
    """What a store can do beyond the base."""

    DURABLE = "durable"
    """What was committed is there after the process has ended; needs the fixture `reopen`."""

    SHARED = "shared"
    """Several processes use the same data at once; needs `another` and `other_process`."""

    SERVER_CLOCK = "server_clock"
    """Business time is the clock of a server, and `use_clock` is refused."""


@pytest.mark.anyio
class ContractBase:
    """The fixtures to override, and what a store declares."""

    BASE: ClassVar[frozenset[Capability]] = frozenset()
    """What every store can do."""

    capabilities: ClassVar[frozenset[Capability]] = BASE
    """What the store under test can do: `StoreContract.BASE | {Capability.DURABLE}`."""

    @pytest.fixture
    async def store(self) -> Store:
        """Return or yield an opened, empty store. Override this one."""
        pytest.fail("override the fixture `store`: yield an opened, empty store")

    @pytest.fixture
    def reopen(self) -> Reopen | None:
        """Return what closes `store` and opens a new object over its data. Override it if durable."""
        return None

    @pytest.fixture
    async def another(self) -> Store | None:
        """Return or yield a second opened object over the data of `store`. Override it if shared."""
        return None

    @pytest.fixture
    def other_process(self) -> OtherProcess | None:
        """Return how another process opens the data of `store`. Override it if shared."""
        return None

    @property
    def has_server_clock(self) -> bool:
        """Whether no test can set the clock of the store."""
        return Capability.SERVER_CLOCK in self.capabilities

    async def at_noon(self, store: Store, changes: Changes) -> Changes:
        """
        Have the store's clock stand at noon, where it can be set.

        Returns:
            The changes; where it cannot be set, with the times that they assume moved, as if it
            were noon on the server.
        """
        return await at_noon(store, changes, has_server_clock=self.has_server_clock)


class SetClock(Clock):
    """A clock that stands where a test puts it."""

    def __init__(self, at: datetime = NOON) -> None:
        self.at = at

    @override
    def now(self) -> datetime:
        """Return where it stands."""
        return self.at


async def at_noon(store: Store, changes: Changes, *, has_server_clock: bool) -> Changes:
    """Have the clock of a store stand at noon; or return changes whose noon is the server's now."""
    if not has_server_clock:
        store.use_clock(SetClock())
        return changes
    ahead = await store.now() - NOON
    return replace(
        changes,
        now=changes.now and changes.now + ahead,
        until=changes.until and changes.until + ahead,
    )


class Collector(TaskSink):
    """A sink that keeps what it is given."""

    def __init__(self) -> None:
        self.tasks: list[Task] = []

    @override
    def submit(self, tasks: Sequence[Task]) -> None:
        """Keep them."""
        self.tasks.extend(tasks)


class Rendezvous:
    """Lets tasks go on together once all of them are there."""

    def __init__(self, parties: int) -> None:
        self._missing = parties
        self._complete = anyio.Event()

    async def meet(self) -> None:
        """Wait for the others."""
        self._missing -= 1
        if not self._missing:
            self._complete.set()
        await self._complete.wait()


async def refused(store: Store, changes: Changes) -> str:
    """Commit what the store must refuse as stale, and return the id that it blames."""
    with pytest.raises(StaleWriteError) as caught:
        await store.commit(changes)
    return caught.value.record_id
