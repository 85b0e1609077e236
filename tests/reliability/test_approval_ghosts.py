"""
Approvals that outlive what they were given for: the five live cases.

A ghost is an approval that stands in the store and is used for something else, again, or by
somebody who only writes to the database.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import pytest

from signoff import Client, Flow, Request, require_approval, start
from signoff.errors import AlreadyDecidedError
from signoff.model.run import Run
from signoff.security.keyring import Keyring
from signoff.stores import SQLiteStore

REVIEWER = "cfo@acme.example"
PAID: list[tuple[str, int]] = []


@require_approval(name="ghosts.pay", assignees=[REVIEWER], risk="medium")
async def pay(vendor: str, amount: int) -> str:
    """Do something that must be approved."""
    PAID.append((vendor, amount))
    return f"paid {amount} to {vendor}"


class Payment(Flow, name="ghosts.payment"):
    """One gated call."""

    @start()
    async def go(self) -> str:
        """Make it."""
        return await pay("acme", 100)


@dataclass
class Scene:
    """
    A run that asks, in a database that others write to.

    Attributes:
        client: Who asked.
        path: The database.
        run: The run.
        request: What it asks.
    """

    client: Client
    path: Path
    run: Run
    request: Request

    async def approve(self) -> None:
        """Answer as the reviewer does."""
        await self.client.hitl.approve(request_id=self.request.request_id, reviewer=REVIEWER)

    async def another(self) -> tuple[Run, Request]:
        """Let another run ask the very same."""
        run = await self.client.flows.start(Payment, requester="agent-7")
        await self.client.drain()
        (request,) = await self.client.hitl.list_requests(run_id=run.run_id)
        return run, request

    def sql(self, statement: str, *values: object) -> None:
        """Write to the database behind Signoff's back."""
        with closing(sqlite3.connect(self.path, timeout=10)) as file, file:
            file.execute(statement, values)

    def body(self, request_id: str) -> dict[str, Any]:
        """Read a request as it is stored."""
        with closing(sqlite3.connect(self.path)) as file:
            statement = "SELECT body FROM requests WHERE request_id = ?"
            (found,) = file.execute(statement, (request_id,)).fetchone()
        body: dict[str, Any] = json.loads(found)
        return body

    def rewrite(self, request_id: str, change: Callable[[dict[str, Any]], object]) -> None:
        """Change a request in the store, and its status column with it."""
        body = self.body(request_id)
        change(body)
        raw = json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()
        self.sql(
            "UPDATE requests SET body = ?, status = ? WHERE request_id = ?",
            raw,
            body["status"],
            request_id,
        )

    def wake(self, run_id: str, request_id: str) -> None:
        """Tell a run that its request was resolved."""
        facts = json.dumps({"request_id": request_id}).encode()
        with closing(sqlite3.connect(self.path)) as file:
            known = {row[1] for row in file.execute("PRAGMA table_info(signals)")}
        values = {
            "run_id": run_id,
            "cause": f"ghost:{request_id}",
            "kind": "resolved",
            "facts": facts,
            "created_at": 0,
            "wakes": 1,
        }
        used = {name: value for name, value in values.items() if name in known}
        marks = ", ".join("?" for _ in used)
        self.sql(f"INSERT INTO signals ({', '.join(used)}) VALUES ({marks})", *used.values())  # noqa: S608 - names of ours

    async def is_blocked(self, run_id: str) -> bool:
        """Let the client work, and say whether that run was stopped because of a broken seal."""
        await self.client.drain()
        run = await self.client.flows.get(run_id)
        return (run.status, run.blocked_reason) == ("blocked", "seal_invalid")


@asynccontextmanager
async def a_scene(path: Path, keys: Keyring | None = None) -> AsyncGenerator[Scene]:
    """Let a run ask."""
    PAID.clear()
    async with Client(SQLiteStore(path), keyring=keys or Keyring.generate()) as client:
        run = await client.flows.start(Payment, requester="agent-7")
        await client.drain()
        (request,) = await client.hitl.list_requests()
        yield Scene(client, path, run, request)


async def test_a_genuine_approval_is_allowed(tmp_path: Path) -> None:
    """What was shown is what was approved is what ran, and it ran once."""
    async with a_scene(tmp_path / "signoff.db") as scene:
        assert scene.request.payload == {"vendor": "acme", "amount": 100}
        await scene.approve()
        for _ in range(3):
            await scene.client.drain()
        assert (await scene.client.flows.get(scene.run.run_id)).output == "paid 100 to acme"
    assert PAID == [("acme", 100)]


@pytest.mark.parametrize("when", ["before the approval", "after the approval"])
async def test_a_mutated_state_is_blocked(tmp_path: Path, when: str) -> None:
    """The stored arguments are others than those that were approved."""

    def mutate(body: dict[str, Any]) -> None:
        body["payload_json"] = body["payload_json"].replace("100", "100000")

    async with a_scene(tmp_path / "signoff.db") as scene:
        request_id = scene.request.request_id
        if when == "before the approval":
            scene.rewrite(request_id, mutate)
            with pytest.raises(Exception, match="not what was sealed"):
                await scene.approve()
            scene.wake(scene.run.run_id, request_id)
        else:
            await scene.approve()
            scene.rewrite(request_id, mutate)
        assert await scene.is_blocked(scene.run.run_id)
    assert PAID == []


async def test_an_approval_is_not_reused_in_another_run(tmp_path: Path) -> None:
    """Its decision, resolution and seal are copied to a request that asks the very same."""
    async with a_scene(tmp_path / "signoff.db") as scene:
        await scene.approve()
        approved = scene.body(scene.request.request_id)
        run, request = await scene.another()

        def reuse(body: dict[str, Any]) -> None:
            for name in ("status", "decisions", "resolution"):
                body[name] = approved[name]

        scene.rewrite(request.request_id, reuse)
        scene.wake(run.run_id, request.request_id)
        assert await scene.is_blocked(run.run_id)
        assert (await scene.client.flows.get(scene.run.run_id)).status == "completed"
    assert PAID == [("acme", 100)]


async def test_a_concurrent_replay_runs_once(tmp_path: Path) -> None:
    """Three processes go on with the same approved run at the same moment, and it is approved again."""
    keys, path = Keyring.generate(), tmp_path / "signoff.db"
    async with a_scene(path, keys) as scene:
        await scene.approve()
        async with (
            Client(SQLiteStore(path), keyring=keys) as second,
            Client(SQLiteStore(path), keyring=keys) as third,
        ):
            async with anyio.create_task_group() as group:
                for client in (scene.client, second, third):
                    group.start_soon(client.drain)
            with pytest.raises(AlreadyDecidedError):
                await scene.approve()
            scene.wake(scene.run.run_id, scene.request.request_id)
            async with anyio.create_task_group() as group:
                for client in (scene.client, second, third):
                    group.start_soon(client.drain)
        assert (await scene.client.flows.get(scene.run.run_id)).status == "completed"
    assert PAID == [("acme", 100)]


async def test_a_forced_bypass_is_blocked(tmp_path: Path) -> None:
    """An approval that nobody gave is written into the store, and the run is told of it."""

    def forge(body: dict[str, Any]) -> None:
        at = body["created_at"]
        body["status"] = "approved"
        body["resolution"] = {
            "format": 1,
            "status": "approved",
            "outcome": "approve",
            "reviewer": REVIEWER,
            "channel": "api",
            "resolved_at": at,
            "payload_digest": body["payload_digest"],
            "seal": body["seal"],
        }

    async with a_scene(tmp_path / "signoff.db") as scene:
        scene.rewrite(scene.request.request_id, forge)
        scene.wake(scene.run.run_id, scene.request.request_id)
        assert await scene.is_blocked(scene.run.run_id)
        entered = await scene.client.hitl.history(request_id=scene.request.request_id)
        assert [one.event for one in entered] == ["request.opened"]
    assert PAID == []
