"""
How processes over one PostgreSQL schema wake each other: LISTEN and NOTIFY, only as a hint (floor 4).

The tables are the truth. What is not heard, because a connection broke or a pooler is between,
is found by the sweep.
"""

from __future__ import annotations

import json
import logging
import random
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from hashlib import sha256
from typing import Any, Final, TypeAlias

import anyio
import psycopg
from anyio import CapacityLimiter, to_thread
from psycopg import sql
from pydantic import TypeAdapter, ValidationError

from signoff.errors import StoreUnavailableError
from signoff.model.changes import Task, TaskKind

_log = logging.getLogger("signoff.stores.postgres")

Line: TypeAlias = "psycopg.Connection[Any]"
"""A connection that listens."""

Hear: TypeAlias = Callable[[Sequence[Task]], None]
Look: TypeAlias = Callable[[], Awaitable[None]]

LONGEST: Final = 7000
"""How many bytes of tasks are told; the server refuses 8,000. Of more, only that there are some."""

ECHO_SECONDS: Final = 10.0
"""How long to wait for the echo of a call into a new line."""

AGAIN_SECONDS: Final = 1.0
"""After how long a line that broke is drawn again, at the most."""

DEAF_SECONDS: Final = 60.0
"""After how long a line on which nothing was heard is tried again, at the most."""

_ECHO: Final = "echo"

_Told: TypeAlias = tuple[str, str | list[tuple[TaskKind, str]]]
"""Who tells, and the kinds and subjects of tasks, or a word."""

_TOLD: Final = TypeAdapter[_Told](_Told)


class News:
    """
    The commits of others, as they are told by the server.

    Args:
        address: How the server is reached, without a pooler in transaction mode between.
        place: What that is called in messages.
        schema: Where the tables are.

    Attributes:
        channel: What the schema's processes tell and hear each other on.
    """

    def __init__(self, address: str, *, place: str, schema: str) -> None:
        self._address = address
        self._place = place
        # A schema may have a name as long as that of a channel may be.
        self.channel = f"signoff_{sha256(schema.encode()).hexdigest()[:16]}"
        self._me = secrets.token_hex(6)

    def about(self, tasks: Sequence[Task]) -> str:
        """Return what to tell others of a commit; empty when nothing is to be done now."""
        now = [(task.kind, task.subject) for task in tasks if task.not_before is None]
        if not now:
            return ""
        told = self._told(now)
        return told if len(told.encode()) <= LONGEST else self._told("many")

    async def bring(
        self, hear: Hear, *, look: Look, call: Callable[[str], Awaitable[None]]
    ) -> None:
        """
        Say what others committed, until cancelled. A line that breaks is drawn again.

        Args:
            hear: Takes tasks.
            look: Looks for work in the tables, as something may have been missed.
            call: Tells something on the channel, by the way that commits go.
        """
        is_known_to_be_deaf = False
        while True:
            rest = AGAIN_SECONDS
            try:
                async with self._line() as line:
                    if await self._echoes(line, call):
                        is_known_to_be_deaf = False
                        await look()
                        await self._hear_on(line, hear, look)
                    rest = DEAF_SECONDS
                    if not is_known_to_be_deaf:
                        _log.warning("%s", self._deafness())
                    is_known_to_be_deaf = True
            except (StoreUnavailableError, psycopg.Error) as error:
                _log.info(
                    "%s: other processes' commits are not heard for now: %s", self._place, error
                )
            # Not all at once: other processes lost the same server at the same moment.
            await anyio.sleep(random.uniform(rest / 2, rest))  # noqa: S311 - no secret

    @asynccontextmanager
    async def _line(self) -> AsyncGenerator[Line]:
        drawn: list[Line] = []
        # Whoever left in the midst of it would leave it open.
        with anyio.CancelScope(shield=True):
            drawn.append(await to_thread.run_sync(self._draw, limiter=CapacityLimiter(1)))
        [line] = drawn
        try:
            await to_thread.run_sync(self._listen_on, line, limiter=CapacityLimiter(1))
            yield line
        finally:
            line.close()

    def _draw(self) -> Line:
        return psycopg.connect(self._address, autocommit=True)

    def _listen_on(self, line: Line) -> None:
        line.execute(sql.SQL("LISTEN {}").format(sql.Identifier(self.channel)))

    async def _echoes(self, line: Line, call: Callable[[str], Awaitable[None]]) -> bool:
        """Return whether what is told on the channel comes in by this line, as it does not behind some poolers."""
        echo = self._told(_ECHO)
        await call(echo)
        with anyio.move_on_after(ECHO_SECONDS):
            while not any(one.payload == echo for one in line.notifies(timeout=0)):
                await anyio.wait_readable(line.fileno())
            return True
        return False

    async def _hear_on(self, line: Line, hear: Hear, look: Look) -> None:
        while True:
            await anyio.wait_readable(line.fileno())
            told = [self._understood(one.payload) for one in line.notifies(timeout=0)]
            if None in told:
                await look()
            tasks = [task for one in told for task in one or ()]
            if tasks:
                hear(tasks)

    def _understood(self, payload: str) -> Sequence[Task] | None:
        """Return what another process told; `None` for what only a look at the tables explains."""
        try:
            teller, told = _TOLD.validate_json(payload)
        except ValidationError:
            return None
        if teller == self._me or told == _ECHO:
            return ()
        if isinstance(told, str):
            return None
        return [Task(kind=kind, subject=subject) for kind, subject in told]

    def _told(self, what: str | Sequence[tuple[str, str]]) -> str:
        return json.dumps([self._me, what], separators=(",", ":"))

    def _deafness(self) -> str:
        return (
            f"{self._place}: what other processes commit is not heard, and found by the sweep only:"
            " the address seems to be that of a pooler in transaction mode;"
            " give PostgresStore(news=...) the address of the server itself"
        )
