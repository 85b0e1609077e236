"""Fifty people in two processes answer one request at the same instant: one of them decides."""

from __future__ import annotations

import json
import os
import random
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeAlias, cast

import anyio
import pytest
from anyio.abc import ByteReceiveStream, ByteSendStream
from anyio.streams.buffered import BufferedByteReceiveStream

from signoff import Client, Flow, HumanFeedbackResult, human_feedback, listen, start
from signoff.errors import AlreadyDecidedError
from signoff.ports import Store
from signoff.security.keyring import Keyring
from signoff.stores.postgres import PostgresStore
from signoff.stores.sqlite import SQLiteStore

CheckBooks: TypeAlias = Callable[[Path], None]
CopyBooks: TypeAlias = Callable[[str, str, Path], Path]

ROUNDS = 100
PROCESSES = {"a": "asyncio", "b": "trio"}
DECIDERS = 25
"""In each of the two processes. Those with an even number approve, the others reject."""


class Contested(Flow, name="deciders.contested"):
    """A question that anybody may answer."""

    @start()
    @human_feedback("Publish?", emit=["approved", "rejected"])
    def ask(self) -> str:
        """Ask."""
        return "Spring sale"

    @listen("approved")
    def publish(self, result: HumanFeedbackResult) -> str:
        """End one way."""
        return f"approved by {result.reviewer}"

    @listen("rejected")
    def archive(self, result: HumanFeedbackResult) -> str:
        """End the other way."""
        return f"rejected by {result.reviewer}"


@dataclass(frozen=True, slots=True)
class Told:
    """
    What an answer came to, as whoever gave it was told.

    Attributes:
        who: Who gave it.
        won: Whether it decided.
        outcome: The label that stands.
        by: Who decided.
        at: When.
    """

    who: str
    won: bool
    outcome: str
    by: str
    at: str


async def answer(client: Client, request_id: str, who: str, outcome: str) -> Told:
    """Give one answer, and return what it came to."""
    try:
        request = await client.hitl.respond(request_id=request_id, outcome=outcome, reviewer=who)
    except AlreadyDecidedError as late:
        return Told(who, False, late.outcome, late.decided_by, late.decided_at.isoformat())
    end = request.resolution
    assert end is not None
    return Told(who, True, end.outcome, end.reviewer, end.resolved_at.isoformat())


def store_at(place: str, schema: str) -> Store:
    """Return the store at an address, or in a file."""
    if schema:
        return PostgresStore(place, schema=schema)
    return SQLiteStore(place)


async def decide(place: str, schema: str, process: str) -> None:
    """Be one of the processes: read a request, say that all are ready, wait for the word, answer."""
    chance = random.Random(process)
    async with Client(store_at(place, schema)) as client:
        while request_id := (await anyio.to_thread.run_sync(sys.stdin.readline)).strip():
            released = anyio.Event()
            told: list[Told] = []

            async def one(
                number: int, request_id: str, released: anyio.Event, told: list[Told]
            ) -> None:
                await released.wait()
                who = f"{process}{number}@acme.example"
                outcome = "rejected" if number % 2 else "approved"
                told.append(await answer(client, request_id, who, outcome))

            async with anyio.create_task_group() as group:
                for number in chance.sample(range(DECIDERS), DECIDERS):
                    group.start_soon(one, number, request_id, released, told)
                say("ready")
                await anyio.to_thread.run_sync(sys.stdin.readline)
                released.set()
            say(json.dumps([asdict(each) for each in told]))


def say(line: str) -> None:
    """Say a line to the test."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


class Room:
    """A process full of deciders."""

    def __init__(self, stdin: ByteSendStream, stdout: ByteReceiveStream) -> None:
        self._stdin = stdin
        self._stdout = BufferedByteReceiveStream(stdout)

    async def tell(self, line: str) -> None:
        """Say a line to it."""
        await self._stdin.send(f"{line}\n".encode())

    async def hear(self) -> str:
        """Return the next line that it says."""
        return (await self._stdout.receive_until(b"\n", 65536)).decode()


@asynccontextmanager
async def a_room(place: str, schema: str, process: str, *, keys: Keyring) -> AsyncGenerator[Room]:
    """Open a process full of deciders."""
    command = [sys.executable, __file__, place, schema, process]
    environment = {**os.environ, "SIGNOFF_KEY": keys.to_text()}
    async with await anyio.open_process(command, env=environment, stderr=None) as opened:
        yield Room(cast("ByteSendStream", opened.stdin), cast("ByteReceiveStream", opened.stdout))
        await cast("ByteSendStream", opened.stdin).aclose()
        assert await opened.wait() == 0


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
async def test_one_of_fifty_decides_and_the_others_learn_who_and_when(
    tmp_path: Path,
    check_books: CheckBooks,
    copy_books: CopyBooks,
    kind: str,
    request: pytest.FixtureRequest,
) -> None:
    """Reliability 4: in each of a hundred rounds; the run's outcome is the winner's."""
    path = tmp_path / "signoff.db"
    place, schema, rounds = str(path), "", ROUNDS
    if kind == "postgres":
        place = request.getfixturevalue("postgres")
        schema = request.getfixturevalue("postgres_schema")
        rounds = ROUNDS // 4
    keys = Keyring.generate()
    outcomes: set[str] = set()
    winners: set[str] = set()
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(Client(store_at(place, schema), keyring=keys))
        rooms = [
            await stack.enter_async_context(a_room(place, schema, process, keys=keys))
            for process in PROCESSES
        ]
        for number in range(rounds):
            run = await client.flows.start(Contested)
            await client.drain()
            (asked,) = await client.hitl.list_requests(run_id=run.run_id)
            told = await contest(rooms[:: 1 if number % 2 else -1], asked.request_id)
            await client.drain()

            assert len({one.who for one in told}) == 2 * DECIDERS
            (winner,) = (one for one in told if one.won)
            stands = (winner.outcome, winner.who, winner.at)
            assert {(one.outcome, one.by, one.at) for one in told} == {stands}
            asked = await client.hitl.get_request(asked.request_id)
            end = asked.resolution
            assert end is not None
            assert (end.outcome, end.reviewer, end.resolved_at.isoformat()) == stands
            assert [vote.reviewer for vote in asked.decisions] == [winner.who]
            run = await client.flows.get(run.run_id)
            assert run.output == f"{winner.outcome} by {winner.who}"
            outcomes.add(winner.outcome)
            winners.add(winner.who[0])
    assert outcomes == {"approved", "rejected"}
    assert winners == set(PROCESSES)
    if schema:
        copy_books(place, schema, path)
    check_books(path)


async def contest(rooms: list[Room], request_id: str) -> list[Told]:
    """Let all of them answer at once, and return what they were told."""
    for room in rooms:
        await room.tell(request_id)
    for room in rooms:
        assert (await room.hear()) == "ready"
    for room in rooms:
        await room.tell("go")
    return [Told(**each) for room in rooms for each in json.loads(await room.hear())]


if __name__ == "__main__":
    place, schema, process = sys.argv[1:]
    anyio.run(decide, place, schema, process, backend=PROCESSES[process])
