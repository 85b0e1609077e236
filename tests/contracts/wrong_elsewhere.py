"""Stores that are wrong in one way, which shows only from another process."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from typing_extensions import override

from signoff.errors import StaleWriteError
from signoff.model.changes import Changes
from signoff.stores import SQLiteStore


class Wrong(SQLiteStore):
    """A right store, but for one thing."""


class OnItsOwn(Wrong):
    """Each process has a file of its own."""

    def __init__(self, path: str) -> None:
        super().__init__(Path(path).with_name("own.db"))


class Pushes(Wrong):
    """Overlooks in a process of its own what has moved on: it says made, and writes nothing."""

    @override
    async def commit(self, changes: Changes) -> None:
        try:
            await super().commit(changes)
        except StaleWriteError:
            return


class LocksForItsLife(Wrong):
    """Its claims are locks of a connection, which end when the process does."""

    @override
    async def commit(self, changes: Changes) -> None:
        await super().commit(replace(changes, claims=()))


class SpeaksTooSoon(Wrong):
    """Says that a commit is made when it is only in memory; what is old enough is written."""

    kept: ClassVar[list[Changes]] = []

    @override
    async def commit(self, changes: Changes) -> None:
        self.kept.append(changes)
        if len(self.kept) > 5:
            await super().commit(self.kept.pop(0))


class RemembersMessages(Wrong):
    """Each process knows for itself which messages it has handled."""

    @override
    async def commit(self, changes: Changes) -> None:
        await super().commit(replace(changes, handled=()))
