"""What the store contract says about the processes that share a store (floor 9)."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Final, cast

import anyio
from anyio.abc import ByteReceiveStream, ByteSendStream, Process
from anyio.streams.buffered import BufferedByteReceiveStream

from signoff.model.changes import Changes, Claim
from signoff.model.values import Tree
from signoff.ports import Store
from signoff.testing.builders import a_request, a_signal, an_acquire, an_entry, writing
from signoff.testing.store_contract.base import Capability, ContractBase, OtherProcess, refused
from signoff.testing.store_contract.examples import BROKEN, FIRST, SECOND
from signoff.testing.store_contract.peer import what_is_there

PATIENCE_SECONDS: Final = 60
"""How long another process may take to say something."""

WRITTEN: Final = 20
"""After how many of its commits a process is killed."""

_START: Final = """
import json, sys
order = json.loads(sys.argv[1])
sys.path[:] = order.pop("path")
from signoff.testing.store_contract.peer import serve
serve(**order)
"""


class Peer:
    """
    Another process that has the store open, and does what it is told.

    Args:
        process: It, with pipes to and from it.
    """

    def __init__(self, process: Process) -> None:
        self._process = process
        self._stdin = cast("ByteSendStream", process.stdin)
        self._stdout = BufferedByteReceiveStream(cast("ByteReceiveStream", process.stdout))

    async def ask(self, act: str) -> Tree:
        """Have it do something that `signoff.testing.store_contract.peer` can, and return its answer."""
        await self._stdin.send(f"{act}\n".encode())
        return await self.hear()

    async def hear(self) -> Tree:
        """Return the next thing that it says."""
        with anyio.fail_after(PATIENCE_SECONDS):
            line = await self._stdout.receive_until(b"\n", 1_000_000)
        answer: Tree = json.loads(line)
        return answer

    async def kill(self) -> list[Tree]:
        """Kill it, and return what it had said before that nobody has heard."""
        self._process.kill()
        with anyio.fail_after(PATIENCE_SECONDS):
            said = b"".join([more async for more in self._stdout])
            await self._process.wait()
        return [json.loads(line) for line in said.split(b"\n")[:-1]]


@asynccontextmanager
async def started(other: OtherProcess, *, has_server_clock: bool) -> AsyncGenerator[Peer]:
    """Start another process, and end it with the block."""
    order: Mapping[str, object] = {
        "store": other.store,
        "arguments": dict(other.arguments),
        "has_server_clock": has_server_clock,
        "path": sys.path,
    }
    command = [sys.executable, "-c", _START, json.dumps(order)]
    async with await anyio.open_process(command, stderr=None) as process:
        try:
            yield Peer(process)
        finally:
            if process.returncode is None:
                process.kill()


class ProcessesContract(ContractBase):
    """Processes that share a store see the same, are held to the same, and may die at any time."""

    async def test_another_process_sees_what_was_committed(
        self, store: Store, other_process: OtherProcess | None
    ) -> None:
        """What one process has committed, another one reads, and goes on from there."""
        assert (other_process is not None) == (Capability.SHARED in self.capabilities)
        if other_process is None:
            return
        await store.commit(FIRST)

        async with started(other_process, has_server_clock=self.has_server_clock) as peer:
            assert await peer.ask("look") == await what_is_there(store)

            assert await peer.ask("go on") == "made"
            assert await peer.ask("look") == await what_is_there(store)
        assert await store.request("req_1") == SECOND.requests[0]

    async def test_another_process_is_held_to_the_same_checks(
        self, store: Store, other_process: OtherProcess | None
    ) -> None:
        """Whatever has moved on in one process refuses the commit of another, which writes nothing."""
        if other_process is None:
            return
        await store.commit(FIRST)
        before = await what_is_there(store)

        async with started(other_process, has_server_clock=self.has_server_clock) as peer:
            assert await peer.ask("break") == dict.fromkeys(BROKEN, "refused")
            assert await what_is_there(store) == before
            assert await peer.ask("go on") == "made"
        after = await what_is_there(store)
        await refused(store, writing(a_request(version=2)))
        await refused(store, Changes(audit=(SECOND.audit[0],)))
        await refused(store, Changes(consumed=SECOND.consumed))
        await refused(store, Changes(handled=SECOND.handled))
        await store.commit(Changes(signals=(a_signal(),)))  # it was told this, so it is not again
        assert await what_is_there(store) == after

    async def test_a_claim_outlives_the_process_that_took_it(
        self, store: Store, other_process: OtherProcess | None
    ) -> None:
        """Until its lease is over: that a process was killed is no news to the store."""
        if other_process is None:
            return
        async with started(other_process, has_server_clock=self.has_server_clock) as peer:
            assert await peer.ask("take") == "made"
            await peer.kill()

        held = Claim(subject="run_9", holder="peer", fencing=1, live=True)
        assert await store.claim("run_9") == held
        await refused(store, Changes(claims=(an_acquire("run_9", holder="bob", fencing=2),)))

    async def test_an_acknowledged_commit_outlives_its_process(
        self, store: Store, other_process: OtherProcess | None
    ) -> None:
        """A process is killed while it writes: each commit is there whole or not at all, and none is missing that was made."""
        if other_process is None:
            return
        async with started(other_process, has_server_clock=self.has_server_clock) as peer:
            made = [await peer.ask("write"), *[await peer.hear() for _ in range(WRITTEN - 1)]]
            made += await peer.kill()

        entries = await store.audit("peer")
        numbers = list(range(1, len(entries) + 1))
        assert made == numbers[: len(made)]
        assert [entry.seq for entry in entries] == numbers
        handled = [
            await store.was_handled(f"peer:{number}") for number in [*numbers, len(made) + 2]
        ]
        assert handled == [True] * len(numbers) + [False]
        assert (await store.request("req_peer")).version == len(numbers)
        await store.commit(Changes(audit=(an_entry("peer", after=entries[-1]),)))
