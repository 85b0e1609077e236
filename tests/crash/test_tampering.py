"""Whoever can write to the database, and has no key, can make nothing run."""

# ruff: noqa: S608 - the statements name our own tables

from __future__ import annotations

import json
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from signoff import (
    Client,
    Flow,
    HumanFeedbackResult,
    human_feedback,
    listen,
    require_approval,
    start,
)
from signoff.errors import SealInvalidError
from signoff.model.run import Run
from signoff.security.keyring import Keyring
from signoff.stores import SQLiteStore

REVIEWER = "cfo@acme.example"
RAN: list[str] = []


@require_approval(name="tampering.pay", assignees=[REVIEWER])
async def pay(vendor: str, amount: int) -> str:
    """Note that it ran."""
    RAN.append(f"paid {amount} to {vendor}")
    return "done"


class Tampered(Flow, name="tampering.flow"):
    """A gate on a step, and a gated call in another."""

    @start()
    @human_feedback(message="Publish?", emit=["approved", "rejected"], assign_to_email=REVIEWER)
    def draft(self) -> str:
        """Return what is asked about."""
        return "Spring sale"

    @listen("approved")
    def publish(self, result: HumanFeedbackResult) -> str:
        """Note that it ran."""
        RAN.append("published")
        return "published"

    @start()
    async def spend(self) -> str:
        """Make a gated call."""
        return await pay("acme", 9)


@dataclass(slots=True)
class Scene:
    """
    A suspended run in a database that others can write to.

    Attributes:
        client: The client, open.
        run: The run.
        path: The database.
        feedback: The request on the step.
        call: The request on the gated call.
    """

    client: Client
    run: Run
    path: Path
    feedback: str
    call: str

    def sql(self, statement: str, *values: object) -> None:
        """Write to the database behind Signoff's back."""
        with closing(sqlite3.connect(self.path, timeout=10)) as connection, connection:
            connection.execute(statement, values)

    def read(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Read from the database."""
        with closing(sqlite3.connect(self.path)) as connection:
            return connection.execute(statement, values).fetchall()

    def edit(
        self, table: str, key: str, name: str, change: Callable[[dict[str, Any]], object]
    ) -> None:
        """Change the JSON of one record."""
        ((body,),) = self.read(f"SELECT body FROM {table} WHERE {key} = ?", name)
        record = json.loads(body)
        change(record)
        raw = json.dumps(record, separators=(",", ":"), ensure_ascii=False).encode()
        self.sql(f"UPDATE {table} SET body = ? WHERE {key} = ?", raw, name)

    def edit_request(self, request_id: str, change: Callable[[dict[str, Any]], object]) -> None:
        """Change the JSON of a request."""
        self.edit("requests", "request_id", request_id, change)

    def wake(self, request_id: str) -> None:
        """Tell the run that a request was resolved."""
        columns = [row[1] for row in self.read("PRAGMA table_info(signals)")]
        values = {
            "run_id": self.run.run_id,
            "cause": f"forged:{request_id}",
            "kind": "resolved",
            "facts": json.dumps({"request_id": request_id}).encode(),
            "created_at": 0,
            "wakes": 1,
        }
        used = [name for name in columns if name in values]
        marks = ", ".join("?" for _ in used)
        self.sql(
            f"INSERT INTO signals ({', '.join(used)}) VALUES ({marks})",
            *(values[name] for name in used),
        )

    async def assert_blocked(self, *named: str) -> None:
        """Let the client work, and see that nothing ran and that the run is blocked and shown."""
        await self.client.drain()
        run = await self.client.flows.get(self.run.run_id)
        assert RAN == []
        assert (run.status, run.blocked_reason) == ("blocked", "seal_invalid")
        for name in named:
            assert name in run.blocked_detail
        health = await self.client.health()
        assert [one.run_id for one in health.blocked] == [self.run.run_id]
        streams = (f"run:{run.run_id}", f"commands:{run.run_id}")
        entries = [entry for name in streams for entry in await self.client._store.audit(name)]
        assert any("seal_invalid" in entry.body.decode() for entry in entries)


@pytest.fixture(name="scene")
async def _scene(tmp_path: Path) -> AsyncIterator[Scene]:
    RAN.clear()
    path = tmp_path / "signoff.db"
    async with Client(store=SQLiteStore(path), keyring=Keyring.generate()) as client:
        run = await client.flows.start(Tampered, requester="agent-7")
        await client.drain()
        page = await client.hitl.list_requests(status="pending")
        names = {request.kind: request.request_id for request in page}
        yield Scene(client, run, path, names["feedback"], names["call"])


def _approve(record: dict[str, Any]) -> None:
    record["status"] = "approved"
    record["resolution"] = {
        "format": 1,
        "status": "approved",
        "outcome": "approved",
        "reviewer": REVIEWER,
        "channel": "api",
        "resolved_at": record["created_at"],
        "payload_digest": record["payload_digest"],
        "valid_until": record["expires_at"],
    }


@pytest.mark.parametrize("kind", ["feedback", "call"])
async def test_an_approval_written_by_sql_runs_nothing(scene: Scene, kind: str) -> None:
    """Body and column both say approved; no key sealed it."""
    request_id = getattr(scene, kind)
    scene.edit_request(request_id, _approve)
    scene.sql("UPDATE requests SET status = 'approved' WHERE request_id = ?", request_id)
    scene.wake(request_id)

    await scene.assert_blocked(request_id, "resolution")


async def test_a_status_column_written_by_sql_runs_nothing(scene: Scene) -> None:
    """The column contradicts the record."""
    scene.sql("UPDATE requests SET status = 'approved' WHERE request_id = ?", scene.call)
    scene.wake(scene.call)

    await scene.assert_blocked(scene.call, "status")


@pytest.mark.parametrize("kind", ["feedback", "call"])
async def test_a_payload_changed_by_sql_before_the_approval_is_not_approved(
    scene: Scene, kind: str
) -> None:
    """The reviewer's answer is refused, and the run blocks."""
    request_id = getattr(scene, kind)
    scene.edit_request(request_id, lambda record: record.update(payload_json='"Give it away"'))

    with pytest.raises(SealInvalidError, match="payload"):
        await scene.client.hitl.approve(request_id=request_id, reviewer=REVIEWER)

    await scene.assert_blocked(request_id, "payload")


@pytest.mark.parametrize("kind", ["feedback", "call"])
async def test_a_payload_changed_by_sql_after_the_approval_runs_nothing(
    scene: Scene, kind: str
) -> None:
    """What runs is what was approved, or nothing."""
    request_id = getattr(scene, kind)
    await scene.client.hitl.approve(request_id=request_id, reviewer=REVIEWER)
    scene.edit_request(
        request_id, lambda record: record.update(payload_json='{"vendor":"acme","amount":9000}')
    )

    await scene.assert_blocked(request_id, "payload")


async def test_an_assignee_changed_by_sql_cannot_decide(scene: Scene) -> None:
    """Who is asked is part of what was sealed."""
    scene.edit_request(scene.call, lambda record: record.update(assignees=["mallory@evil.example"]))

    with pytest.raises(SealInvalidError, match="assignees"):
        await scene.client.hitl.approve(request_id=scene.call, reviewer="mallory@evil.example")

    await scene.assert_blocked(scene.call, "assignees")


async def test_a_policy_changed_by_sql_lets_nobody_decide(scene: Scene) -> None:
    """So is the policy, with everything it says about how many and who."""
    scene.edit_request(
        scene.call, lambda record: record["policy"].update(approvers=["mallory@evil.example"])
    )

    with pytest.raises(SealInvalidError, match="policy"):
        await scene.client.hitl.approve(request_id=scene.call, reviewer="mallory@evil.example")

    await scene.assert_blocked(scene.call, "policy")


async def test_a_decision_moved_between_requests_runs_nothing(scene: Scene) -> None:
    """A genuine yes to one question is no yes to another."""
    await scene.client.hitl.approve(request_id=scene.feedback, reviewer=REVIEWER)
    ((body,),) = scene.read("SELECT body FROM requests WHERE request_id = ?", scene.feedback)
    genuine = json.loads(body)
    RAN.clear()

    def move(record: dict[str, Any]) -> None:
        for name in ("decisions", "resolution", "status"):
            record[name] = genuine[name]
        record["resolution"]["payload_digest"] = record["payload_digest"]

    scene.edit_request(scene.call, move)
    scene.sql("UPDATE requests SET status = 'approved' WHERE request_id = ?", scene.call)
    scene.wake(scene.call)
    scene.sql("DELETE FROM signals WHERE cause = ?", f"resolved:{scene.feedback}")

    await scene.assert_blocked(scene.call, "decisions[0]")


async def test_a_pending_trigger_written_by_sql_fires_nothing(scene: Scene) -> None:
    """A step that the graph did not fire is not in the sealed journal."""
    ((body,),) = scene.read(
        "SELECT body FROM occurrences WHERE run_id = ? AND seq = 1", scene.run.run_id
    )
    forged = json.loads(body)
    forged |= {
        "occurrence_id": f"{scene.run.run_id}.3",
        "seq": 3,
        "step": "publish",
        "status": "ready",
        "version": 1,
        "request_id": "",
        "causes": [{"trigger": "approved", "occurrence_id": f"{scene.run.run_id}.1"}],
    }
    columns = [row[1] for row in scene.read("PRAGMA table_info(occurrences)")]
    row = scene.read(
        f"SELECT {', '.join(columns)} FROM occurrences WHERE run_id = ? AND seq = 1",
        scene.run.run_id,
    )[0]
    values = dict(zip(columns, row, strict=True)) | {
        "occurrence_id": forged["occurrence_id"],
        "seq": 3,
        "version": 1,
        "body": json.dumps(forged).encode(),
    }
    scene.sql(
        f"INSERT INTO occurrences ({', '.join(columns)}) VALUES ({', '.join('?' for _ in columns)})",
        *values.values(),
    )
    scene.wake(scene.feedback)

    await scene.assert_blocked(f"{scene.run.run_id}.3", "journal")


async def test_a_gated_result_written_by_sql_is_not_believed(scene: Scene) -> None:
    """The journal says done; the MAC says that we did not write it."""
    ((occurrence_id, body),) = scene.read(
        "SELECT occurrence_id, body FROM occurrences WHERE run_id = ? AND CAST(body AS TEXT) LIKE '%tampering.pay%'",
        scene.run.run_id,
    )
    record = json.loads(body)
    record["calls"][0] |= {"status": "done", "result": "forged"}
    scene.sql(
        "UPDATE occurrences SET body = ? WHERE occurrence_id = ?",
        json.dumps(record).encode(),
        occurrence_id,
    )
    scene.wake(scene.call)

    await scene.assert_blocked(occurrence_id, "journal")


async def test_a_state_changed_by_sql_is_not_believed(scene: Scene) -> None:
    """The run's own record is under a MAC too."""
    scene.edit(
        "runs", "run_id", scene.run.run_id, lambda record: record["state"].update(admin=True)
    )
    scene.wake(scene.feedback)

    await scene.assert_blocked(scene.run.run_id, "run")


async def test_a_run_status_column_written_by_sql_runs_nothing(scene: Scene) -> None:
    """A suspended run that is made to look ready is looked at, and blocked."""
    scene.sql("UPDATE runs SET status = 'ready' WHERE run_id = ?", scene.run.run_id)

    await scene.assert_blocked(scene.run.run_id, "status")


async def test_a_blocked_run_goes_on_once_the_row_is_put_right(scene: Scene) -> None:
    """`retry` looks again."""
    ((body,),) = scene.read("SELECT body FROM requests WHERE request_id = ?", scene.call)
    scene.edit_request(scene.call, lambda record: record.update(payload_json='"x"'))
    scene.wake(scene.call)
    await scene.assert_blocked(scene.call)
    scene.sql("UPDATE requests SET body = ? WHERE request_id = ?", body, scene.call)

    await scene.client.flows.retry(scene.run.run_id)
    for request_id in (scene.call, scene.feedback):
        await scene.client.hitl.approve(request_id=request_id, reviewer=REVIEWER)
    await scene.client.drain()

    assert sorted(RAN) == ["paid 9 to acme", "published"]
