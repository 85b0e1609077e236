"""What another process does for the store contract, and what it and the test compare (floor 9)."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Final

import anyio

from signoff.errors import StaleWriteError
from signoff.model.audit import AuditEntry
from signoff.model.changes import Changes
from signoff.model.values import Tree
from signoff.ports import RequestQuery, RunQuery, Store
from signoff.records import encode
from signoff.testing.builders import a_request, an_acquire, an_entry
from signoff.testing.store_contract.base import at_noon
from signoff.testing.store_contract.examples import BROKEN, SECOND


async def what_is_there(store: Store) -> Tree:
    """Return what a store tells about what `FIRST` and `SECOND` write, as another process says it."""
    runs = await store.runs(RunQuery(limit=200))
    subjects = [run.record.run_id for run in runs]
    requests = await store.requests(RequestQuery(limit=200))
    streams = [await store.audit(stream) for stream in ("request:req_1", "run:run_1")]
    claims = [await store.claim(subject) for subject in subjects]
    return {
        "runs": [[run.body.hex(), run.kid, run.mac.hex()] for run in runs],
        "journals": [
            [[one.body.hex(), one.kid, one.mac.hex()] for one in await store.journal(subject)]
            for subject in subjects
        ],
        "signals": [[repr(one) for one in await store.signals(subject)] for subject in subjects],
        "requests": [encode(one).hex() for one in requests],
        "tokens": [
            [encode(one).hex() for one in await store.tokens(request.request_id)]
            for request in requests
        ],
        "deliveries": [encode(one).hex() for one in await store.deliveries("req_1")],
        "audit": [[[one.seq, one.body.hex(), one.hash.hex()] for one in each] for each in streams],
        "claims": [repr(claim) for claim in claims],
        "handled": [await store.was_handled(key) for key in ("imap:1", "imap:2")],
        "marks": [await store.mark(name) for name in ("imap", "other")],
        "key checks": {str(kid): check for kid, check in (await store.key_checks()).items()},
    }


class Peer:
    """
    Does with a store what it is told.

    Args:
        store: It, opened.
        say: Takes each answer.
        has_server_clock: Whether the clock of the store cannot be set.
    """

    def __init__(
        self, store: Store, say: Callable[[Tree], None], *, has_server_clock: bool
    ) -> None:
        self._store = store
        self._say = say
        self._at_noon = partial(at_noon, store, has_server_clock=has_server_clock)
        self.acts: Final[Mapping[str, Callable[[], Awaitable[None]]]] = {
            "look": self._look,
            "go on": self._go_on,
            "break": self._break,
            "take": self._take,
            "write": self._write,
        }

    async def _look(self) -> None:
        """Say what is there."""
        self._say(await what_is_there(self._store))

    async def _go_on(self) -> None:
        """Make the second commit."""
        self._say(await self._made(await self._at_noon(SECOND)))

    async def _break(self) -> None:
        """Try every commit that must be refused after the first."""
        self._say({wrong: await self._made(await self._at_noon(BROKEN[wrong])) for wrong in BROKEN})

    async def _take(self) -> None:
        """Take a claim, for an hour."""
        self._say(await self._made(Changes(claims=(an_acquire("run_9", holder="peer"),))))

    async def _write(self) -> None:
        """Commit until the process is killed, or nobody hears any more that a commit was made."""
        entry: AuditEntry | None = None
        while True:
            entry = an_entry("peer", after=entry)
            request = a_request("req_peer", version=entry.seq)
            await self._store.commit(
                Changes(requests=(request,), audit=(entry,), handled=(f"peer:{entry.seq}",))
            )
            self._say(entry.seq)

    async def _made(self, changes: Changes) -> str:
        try:
            await self._store.commit(changes)
        except StaleWriteError:
            return "refused"
        return "made"


def serve(*, store: str, arguments: Mapping[str, object], has_server_clock: bool) -> None:
    """
    Do with a store what the lines of standard input say, and answer on standard output.

    Args:
        store: Names what makes it, as `module:name`.
        arguments: What that is called with, by name.
        has_server_clock: Whether the clock of the store cannot be set.
    """
    module, _, name = store.partition(":")
    make: Callable[..., Store] = getattr(importlib.import_module(module), name)

    def say(answer: Tree) -> None:
        sys.stdout.write(f"{json.dumps(answer)}\n")
        sys.stdout.flush()

    async def obey() -> None:
        async with make(**arguments) as opened:
            peer = Peer(opened, say, has_server_clock=has_server_clock)
            while line := sys.stdin.readline():
                await peer.acts[line.strip()]()

    anyio.run(obey)
