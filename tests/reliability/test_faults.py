"""Disks, files and connections that fail under a client: it says so, loses nothing, and goes on after."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, closing, suppress
from datetime import timedelta
from pathlib import Path
from typing import TypeAlias

import anyio
import pytest

from signoff import Client, Flow, Request, require_approval, start
from signoff.errors import AlreadyDecidedError, StoreUnavailableError
from signoff.ports import Store
from signoff.security.keyring import Keyring
from signoff.stores import SQLiteStore
from signoff.testing import FaultyStore

OpenStore: TypeAlias = Callable[[Path], Store]

REVIEWER = "cfo@acme.example"
PAID: list[str] = []


@require_approval(name="faults.pay", assignees=[REVIEWER])
async def pay(invoice: str) -> str:
    """Do something that must not be done twice."""
    PAID.append(invoice)
    return f"paid {invoice}"


class Payment(Flow, name="faults.payment"):
    """One gated call."""

    @start()
    async def go(self) -> str:
        """Make it."""
        return await pay("inv-17")


@pytest.fixture(autouse=True)
def _nothing_paid() -> None:
    PAID.clear()


async def ask(client: Client) -> Request:
    """Let a run ask, and return the question."""
    await client.flows.start(Payment, requester="agent-7")
    await client.drain()
    (request,) = await client.hitl.list_requests()
    return request


async def approve(client: Client, request: Request) -> None:
    """Answer it."""
    await client.hitl.approve(request_id=request.request_id, reviewer=REVIEWER)


async def ends_well(client: Client, request: Request) -> None:
    """See that it comes to its end, once."""
    with suppress(AlreadyDecidedError):
        await approve(client, request)
    await client.drain()
    assert (await client.flows.get(request.run_id)).output == "paid inv-17"
    assert PAID == ["inv-17"]


@asynccontextmanager
async def a_client(path: Path) -> AsyncGenerator[Client]:
    """Open a client that does not wait long for others."""
    store = SQLiteStore(path, busy_timeout=timedelta(milliseconds=50))
    async with Client(store) as client:
        yield client


@pytest.fixture(name="path")
def _path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SIGNOFF_KEY", Keyring.generate().to_text())
    return tmp_path / "signoff.db"


async def limit_pages(client: Client, number: int) -> None:
    """Let the disk be full, or not any more."""
    threads = client._store._threads  # type: ignore[attr-defined]  # an SQLiteStore's

    def limit(connection: sqlite3.Connection) -> None:
        connection.execute(f"PRAGMA max_page_count = {number}").fetchone()

    await threads[0].call(limit)


async def test_a_full_disk_stops_a_run_and_loses_nothing(path: Path) -> None:
    """Reliability fault: full disk. A decision is refused, not half made; with room it is made."""
    async with a_client(path) as client:
        request = await ask(client)
        await limit_pages(client, 1)
        reason = "x" * 50_000
        with pytest.raises(StoreUnavailableError, match="disk is full"):
            await client.hitl.approve(
                request_id=request.request_id, reviewer=REVIEWER, reason=reason
            )
        assert (await client.hitl.get_request(request.request_id)).status == "pending"
        await client.drain()
        assert PAID == []

        await limit_pages(client, 1_000_000)
        await ends_well(client, request)


async def test_a_disk_that_fills_up_in_an_effect_leaves_it_in_doubt(path: Path) -> None:
    """Reliability fault: full disk. What happened and could not be recorded is asked about, not repeated."""

    class Filling(Flow, name="faults.filling"):
        """A gated call behind which nothing fits on the disk."""

        @start()
        async def go(self) -> str:
            """Make it."""
            return await fill()

    @require_approval(name="faults.fill", assignees=[REVIEWER])
    async def fill() -> str:
        """Do something that must not be done twice."""
        PAID.append("filled")
        await limit_pages(client, 1)
        return "x" * 200_000

    seconds = [0.0]
    store = SQLiteStore(path, lease_clock=lambda: seconds[0])
    async with Client(store) as client:
        run = await client.flows.start(Filling, requester="agent-7")
        await client.drain()
        (request,) = await client.hitl.list_requests()
        await approve(client, request)
        report = await client.drain()
        assert "disk is full" in report.errors[run.run_id]

        await limit_pages(client, 1_000_000)
        seconds[0] += 1000
        await client.drain()
        (question,) = await client.hitl.list_requests(status="pending")
        assert question.kind == "in_doubt"
        await client.hitl.respond(
            request_id=question.request_id, outcome="happened", payload="it did", reviewer=REVIEWER
        )
        await client.drain()
        assert (await client.flows.get(run.run_id)).output == "it did"
    assert PAID == ["filled"]


async def test_a_database_that_another_program_locks_is_waited_for(path: Path) -> None:
    """Reliability fault: locked. Beyond `busy_timeout` it is said; once free, everything goes on."""
    async with a_client(path) as client:
        request = await ask(client)
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreUnavailableError, match="locked for too long"):
                await approve(client, request)
            assert (await client.hitl.get_request(request.request_id)).status == "pending"
            other.execute("COMMIT")
            await approve(client, request)
            other.execute("BEGIN IMMEDIATE")
            report = await client.drain()
            assert "locked for too long" in report.errors[request.run_id]
            other.execute("COMMIT")
        assert PAID == []
        await ends_well(client, request)


@pytest.mark.reliability
@pytest.mark.timeout(120)
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_database_that_is_locked_for_half_a_minute_is_waited_for(path: Path) -> None:
    """Reliability fault: locked. For thirty seconds of real time, with a `busy_timeout` above them."""
    async with Client(SQLiteStore(path, busy_timeout=timedelta(seconds=60))) as client:
        request = await ask(client)
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            async with anyio.create_task_group() as group:
                group.start_soon(approve, client, request)
                await anyio.sleep(30)
                other.execute("COMMIT")
        assert (await client.hitl.get_request(request.request_id)).status == "approved"
        await ends_well(client, request)


def damage(path: Path, table: str) -> bytes:
    """Overwrite the first page of a table, and return what the file was before."""
    sound = path.read_bytes()
    with closing(sqlite3.connect(path)) as file:
        statement = "SELECT rootpage FROM sqlite_master WHERE name = ?"
        (page,) = file.execute(statement, (table,)).fetchone()
        (size,) = file.execute("PRAGMA page_size").fetchone()
    damaged = bytearray(sound)
    damaged[(page - 1) * size : page * size] = b"\xa5" * size
    path.write_bytes(damaged)
    return sound


async def test_a_damaged_page_loses_only_what_lies_on_it(path: Path) -> None:
    """Reliability fault: corrupted page. It is said, nothing runs on it, and a backup brings it back."""
    async with a_client(path) as client:
        request = await ask(client)
    backup = damage(path, "requests")
    with pytest.raises(StoreUnavailableError, match=r"is damaged.*backup"):
        async with a_client(path) as client:
            await approve(client, request)
    assert PAID == []

    await anyio.Path(path).write_bytes(backup)
    async with a_client(path) as client:
        await ends_well(client, request)


@pytest.mark.parametrize("made", [False, True], ids=["not made", "made"])
async def test_a_commit_of_unknown_outcome_is_resolved_by_reading(
    open_store: OpenStore, tmp_path: Path, made: bool
) -> None:
    """Reliability fault: reset in mid-commit. Whoever answers again is told what stands."""
    keys = Keyring.generate()
    kept = open_store(tmp_path)
    async with Client(FaultyStore(kept), keyring=keys) as client:
        request = await ask(client)
    store = FaultyStore(
        open_store(tmp_path), at=1, side="after" if made else "before", lasting=False
    )
    async with Client(store, keyring=keys) as client:
        with pytest.raises(StoreUnavailableError):
            await approve(client, request)
        stands = await client.hitl.get_request(request.request_id)
        assert stands.status == ("approved" if made else "pending")
        if made:
            with pytest.raises(AlreadyDecidedError):
                await approve(client, request)
        else:
            await approve(client, request)
        assert len((await client.hitl.get_request(request.request_id)).decisions) == 1
        await ends_well(client, request)
