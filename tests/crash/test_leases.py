"""Processes that block, are stopped past their lease, or die while they send."""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import astuple, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, TypeAlias, cast

import anyio
import psycopg
import pytest
from anyio.abc import ByteReceiveStream, ByteSendStream, Process
from anyio.streams.buffered import BufferedByteReceiveStream
from typing_extensions import override

from signoff import Client, Flow, require_approval, start
from signoff.context import current_scope
from signoff.flows.attempt import Attempt
from signoff.model.request import Request
from signoff.model.run import Run
from signoff.ports import Notifier, Outgoing
from signoff.security.keyring import Keyring
from signoff.stores.postgres import PostgresStore
from signoff.stores.sqlite import SQLiteStore

CheckBooks: TypeAlias = Callable[[Path], None]
CopyBooks: TypeAlias = Callable[[str, str, Path], Path]

REVIEWER: Final = "cfo@acme.example"
LEASE: Final = timedelta(seconds=0.6)
PATIENCE_SECONDS: Final = 30.0
TABLES: Final = (
    "runs",
    "occurrences",
    "requests",
    "tokens",
    "deliveries",
    "claims",
    "audit",
    "signals",
)


class Place:
    """
    Where this process is, and where it is to wait.

    Attributes:
        folder: Where the files are.
        stop_at: Where to say so and wait for a word, with the whole event loop; nowhere if empty.
    """

    folder: Path
    stop_at = ""

    def reach(self, name: str) -> None:
        """Come to a place."""
        if name == self.stop_at:
            sys.stdout.write(f"{name}\n")
            sys.stdout.flush()
            sys.stdin.readline()

    def write(self, name: str, line: str) -> None:
        """Append a line to a file."""
        with (self.folder / name).open("a") as file:
            file.write(f"{line}\n")

    def lines(self, name: str) -> list[str]:
        """Return the lines of a file."""
        path = self.folder / name
        return path.read_text().splitlines() if path.exists() else []


HERE: Final = Place()


@require_approval(name="leases.pay", assignees=[REVIEWER])
async def pay(invoice: str) -> str:
    """Do to the world what must not be done twice."""
    HERE.reach("start of the body")
    HERE.write("effects", invoice)
    HERE.reach("end of the body")
    return f"paid {invoice}"


class Guarded(Flow, name="leases.guarded"):
    """One gated call."""

    @start()
    async def buy(self) -> str:
        """Make it."""
        attempt = cast("Attempt", current_scope.get())
        is_replay = bool(attempt.session.journal[attempt.occurrence_id].calls)
        HERE.reach("replay" if is_replay else "step")
        return await pay("inv-1")


class Blocking(Flow, name="leases.blocking"):
    """A step that does what no async step should do, and that users' steps do all the same."""

    @start()
    async def compute(self) -> str:
        """Block the whole event loop for five leases."""
        HERE.write("entered", str(os.getpid()))
        sys.stdout.write("blocking\n")
        sys.stdout.flush()
        time.sleep(5 * LEASE.total_seconds())  # noqa: ASYNC251 - blocking the loop is what is tested
        return "computed"


class Post(Notifier):
    """Writes each message to a file."""

    def __init__(self) -> None:
        self.name = "post"
        self.expects_reply = True

    @override
    def reaches(self, recipient: str) -> bool:
        return True

    @override
    async def send(self, outgoing: Outgoing) -> str:
        message_id = f"<{outgoing.delivery.delivery_id}@post>"
        HERE.reach("before sending")
        HERE.write("sent", message_id)
        HERE.reach("after sending")
        return message_id

    @override
    async def aclose(self) -> None:
        """Do nothing."""


@dataclass(frozen=True, slots=True)
class Data:
    """
    Where the store of both processes is: in a file, or on a server.

    Attributes:
        folder: Where the file is, and what the processes leave behind.
        server: The address of a PostgreSQL server; empty for the file.
        schema: Where the store is on it.
    """

    folder: str
    server: str = ""
    schema: str = ""

    def client(self, keys: Keyring) -> Client:
        """Return a client as both processes make it."""
        store = (
            PostgresStore(self.server, schema=self.schema)
            if self.server
            else SQLiteStore(self.path)
        )
        return Client(store, notifiers=[Post()], keyring=keys, lease=LEASE)

    @property
    def path(self) -> Path:
        """The file."""
        return Path(self.folder) / "signoff.db"

    def rows(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Ask the database as another program does."""
        if not self.server:
            with closing(sqlite3.connect(self.path)) as connection:
                return connection.execute(statement, values).fetchall()
        with psycopg.connect(self.server, autocommit=True) as session:
            session.execute(f"SET search_path = {self.schema}".encode())
            return session.execute(statement.replace("?", "%s").encode(), values).fetchall()

    def is_locked(self) -> bool:
        """Say whether somebody is in the midst of a transaction of the file, and stays there."""
        if self.server:
            return False
        with closing(sqlite3.connect(self.path, timeout=0.5, isolation_level=None)) as connection:
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                return True
            return False


class Other:
    """The other process, which drains the store and ends."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._stdin = cast("ByteSendStream", process.stdin)
        self._stdout = BufferedByteReceiveStream(cast("ByteReceiveStream", process.stdout))

    async def hear(self) -> str:
        """Return the next line that it says."""
        return (await self._stdout.receive_until(b"\n", 1000)).decode()

    def stop(self, data: Data) -> None:
        """
        Stop it, as a debugger does, or a machine that swaps.

        Not in the midst of a transaction: SQLite would let nobody else write until it wakes.
        """
        self._process.send_signal(signal.SIGSTOP)
        while data.is_locked():
            self._process.send_signal(signal.SIGCONT)
            self._process.send_signal(signal.SIGSTOP)

    def kill(self) -> None:
        """Kill it."""
        self._process.kill()

    async def wake(self) -> None:
        """Wake it and let it go on, and wait until it has ended by itself."""
        self._process.send_signal(signal.SIGCONT)
        await self._stdin.send(b"go on\n")
        assert await self._process.wait() == 0


class Scene:
    """A database, this process's client, and another process."""

    def __init__(self, data: Data, keys: Keyring, client: Client) -> None:
        self.data = data
        self.rows = data.rows
        self.keys = keys
        self.client = client

    @asynccontextmanager
    async def other(self, stop_at: str, *, backend: str = "asyncio") -> AsyncGenerator[Other]:
        """Let another process drain the store, and wait where it is told to."""
        command = [sys.executable, __file__, *astuple(self.data), stop_at, backend]
        environment = {**os.environ, "SIGNOFF_KEY": self.keys.to_text()}
        async with await anyio.open_process(command, env=environment, stderr=None) as process:
            try:
                yield Other(process)
            finally:
                if process.returncode is None:
                    process.kill()

    async def ask(self) -> tuple[Run, Request]:
        """Start a run that asks for leave, and return both."""
        run = await self.client.flows.start(Guarded, requester="agent-7")
        await self.client.drain()
        (request,) = await self.client.hitl.list_requests(run_id=run.run_id)
        return run, request

    async def drain_until(self, taken: Callable[[], bool]) -> None:
        """Work here, again and again, until that is so; what the other one holds is left alone."""
        with anyio.fail_after(PATIENCE_SECONDS):
            while not taken():
                await self.client.drain()

    def everything(self) -> dict[str, Counter[str]]:
        """Return all that is stored, by table."""
        return {
            table: Counter(map(repr, self.rows(f"SELECT * FROM {table}")))  # noqa: S608 - names of ours
            for table in TABLES
        }


@pytest.fixture(name="data", params=["file", pytest.param("server", marks=pytest.mark.reliability)])
def _data(request: pytest.FixtureRequest, tmp_path: Path) -> Data:
    if request.param == "file":
        return Data(str(tmp_path))
    address, schema = map(request.getfixturevalue, ("postgres", "postgres_schema"))
    return Data(str(tmp_path), address, schema)


@pytest.fixture(name="scene")
async def _scene(
    data: Data, check_books: CheckBooks, copy_books: CopyBooks
) -> AsyncGenerator[Scene]:
    HERE.folder = Path(data.folder)
    keys = Keyring.generate()
    async with data.client(keys) as client:
        yield Scene(data, keys, client)
    if data.server:
        copy_books(data.server, data.schema, data.path)
    check_books(data.path)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_step_that_blocks_the_event_loop_keeps_its_claim(
    scene: Scene, backend: str
) -> None:
    """For five leases, while this process tries all the time to take the run over."""
    run = await scene.client.flows.start(Blocking)
    async with scene.other("", backend=backend) as other:
        assert await other.hear() == "blocking"
        advanced: list[str] = []
        tries = 0
        began = time.monotonic()
        with anyio.fail_after(PATIENCE_SECONDS):
            while (await scene.client.flows.get(run.run_id)).status != "completed":
                advanced += (await scene.client.drain()).advanced
                tries += 1
        assert time.monotonic() - began > 3 * LEASE.total_seconds()
        assert tries > 20
        assert advanced == []
        assert len(HERE.lines("entered")) == 1
        assert scene.rows("SELECT fencing FROM claims WHERE subject = ?", run.run_id) == [(1,)]
        await other.wake()


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_process_woken_in_a_step_writes_nothing(scene: Scene) -> None:
    """Reliability fault: frozen worker. Another one has run the step meanwhile, and asked."""
    run = await scene.client.flows.start(Guarded, requester="agent-7")
    async with scene.other("step") as other:
        assert await other.hear() == "step"
        other.stop(scene.data)
        await scene.drain_until(
            lambda: bool(scene.rows("SELECT 1 FROM requests WHERE run_id = ?", run.run_id))
        )
        before = scene.everything()
        await other.wake()
        assert scene.everything() == before


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_process_woken_before_an_effect_does_not_start_it(scene: Scene) -> None:
    """Reliability fault: frozen worker. Another one has done it meanwhile."""
    run, request = await scene.ask()
    await scene.client.hitl.approve(request_id=request.request_id, reviewer=REVIEWER)
    async with scene.other("replay") as other:
        assert await other.hear() == "replay"
        other.stop(scene.data)
        await scene.drain_until(lambda: bool(HERE.lines("effects")))
        before = scene.everything()
        await other.wake()
        assert scene.everything() == before
    assert HERE.lines("effects") == ["inv-1"]
    assert (await scene.client.flows.get(run.run_id)).output == "paid inv-1"


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_process_woken_after_an_effect_writes_only_its_late_result(scene: Scene) -> None:
    """Reliability fault: frozen worker. A person was asked meanwhile what became of the call, and says so; the effect stays the only one."""
    run, request = await scene.ask()
    await scene.client.hitl.approve(request_id=request.request_id, reviewer=REVIEWER)
    in_doubt = "SELECT request_id FROM requests WHERE request_id <> ?"
    async with scene.other("end of the body") as other:
        assert await other.hear() == "end of the body"
        other.stop(scene.data)
        await scene.drain_until(lambda: bool(scene.rows(in_doubt, request.request_id)))
        before = scene.everything()
        await other.wake()
        after = scene.everything()
    (written,) = after.pop("signals") - before.pop("signals")
    assert after == before
    assert "late_result" in written
    ((doubt,),) = scene.rows(in_doubt, request.request_id)
    await scene.client.hitl.respond(
        request_id=doubt, outcome="happened", payload="paid inv-1", reviewer=REVIEWER
    )
    await scene.client.drain()
    assert (await scene.client.flows.get(run.run_id)).output == "paid inv-1"
    assert HERE.lines("effects") == ["inv-1"]


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_process_woken_before_anybody_took_over_records_what_it_did(scene: Scene) -> None:
    """Its lease has run out, but nobody else has the run, so nothing is in doubt."""
    run, request = await scene.ask()
    await scene.client.hitl.approve(request_id=request.request_id, reviewer=REVIEWER)
    async with scene.other("end of the body") as other:
        assert await other.hear() == "end of the body"
        other.stop(scene.data)
        with anyio.fail_after(PATIENCE_SECONDS):
            while cast("Any", await scene.client._store.claim(run.run_id)).live:
                pass
        await other.wake()
    assert (await scene.client.flows.get(run.run_id)).output == "paid inv-1"
    assert HERE.lines("effects") == ["inv-1"]
    assert len(await scene.client.hitl.list_requests()) == 1


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_process_woken_while_sending_writes_nothing(scene: Scene) -> None:
    """Another one has sent the message again; both were the same message."""
    await scene.client.flows.start(Guarded, requester="agent-7")
    async with scene.other("after sending") as other:
        assert await other.hear() == "after sending"
        other.stop(scene.data)
        await scene.drain_until(lambda: len(HERE.lines("sent")) == 2)
        before = scene.everything()
        await other.wake()
        assert scene.everything() == before
    assert len(set(HERE.lines("sent"))) == 1


@pytest.mark.parametrize(("place", "sent"), [("before sending", 1), ("after sending", 2)])
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_message_whose_sender_was_killed_is_counted_and_sent_again(
    scene: Scene, place: str, sent: int
) -> None:
    """The store shows that an attempt is under way, then that its end is unknown; the id is the same."""
    await scene.client.flows.start(Guarded, requester="agent-7")
    async with scene.other(place) as other:
        assert await other.hear() == place
        other.kill()
        (request,) = await scene.client.hitl.list_requests()
        (delivery,) = await scene.client._store.deliveries(request.request_id)
        assert (delivery.status, delivery.attempts, delivery.unknown) == ("sending", 1, 0)
        waits_since = (await scene.client.health()).notifiers["post"].oldest_unsent
        assert waits_since == delivery.created_at
    await scene.drain_until(lambda: len(HERE.lines("sent")) == sent)
    (delivery,) = await scene.client._store.deliveries(request.request_id)
    assert (delivery.status, delivery.attempts, delivery.unknown) == ("sent", 2, 1)
    assert (await scene.client.health()).uncertain == {delivery.delivery_id: 1}
    assert set(HERE.lines("sent")) == {delivery.message_id}


async def drain(data: Data) -> None:
    """Be the other process."""
    async with data.client(Keyring.from_env()) as client:
        await client.drain()


if __name__ == "__main__":
    *place, HERE.stop_at, loop = sys.argv[1:]
    HERE.folder = Path(place[0])
    anyio.run(drain, Data(*place), backend=loop)
