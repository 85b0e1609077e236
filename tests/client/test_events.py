"""`on_event`: every audit entry, once it is durable."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from signoff import Client, Flow, human_feedback, start
from signoff.errors import StoreUnavailableError
from signoff.model.audit import AuditEntry
from signoff.stores import MemoryStore, SQLiteStore
from signoff.testing import FaultyStore

BRAND = "brand@acme.example"


class Ask(Flow, name="events.ask"):
    """One gate."""

    @start()
    @human_feedback(message="Well?", emit=["approved"], assign_to_email=BRAND)
    def draft(self) -> str:
        """Return what is asked about."""
        return "text"


async def one_approval(client: Client) -> None:
    """Start a run, and let it be approved."""
    await client.flows.start(Ask, requester="agent-7")
    await client.drain()
    (request,) = await client.hitl.list_requests()
    await client.hitl.approve(request_id=request.request_id, reviewer=BRAND)
    await client.drain()


async def test_every_entry_is_heard_after_its_commit(state_home: Path, database: Path) -> None:
    """When it is heard of, another connection to the database sees it."""
    heard: list[tuple[str, str]] = []

    def listen(entry: AuditEntry) -> None:
        with closing(sqlite3.connect(database)) as connection:
            ((count,),) = connection.execute(
                "SELECT count(*) FROM audit WHERE stream = ? AND seq = ?", (entry.stream, entry.seq)
            )
        assert count == 1
        heard.append((entry.event, entry.actor))

    async with Client(SQLiteStore(database), on_event=listen) as client:
        await one_approval(client)

    assert heard == [
        ("run.started", "agent-7"),
        ("run.suspended", "signoff"),
        ("request.opened", "agent-7"),
        ("request.approved", BRAND),
        ("run.completed", "signoff"),
    ]


async def test_a_listener_that_fails_is_logged_and_stops_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The change is made, and cannot be undone by who hears of it."""

    def listen(entry: AuditEntry) -> None:
        raise LookupError(f"no dashboard for {entry.event}")

    async with Client(on_event=listen) as client:
        await one_approval(client)
        assert (await client.hitl.get_stats()).runs == {"completed": 1}

    assert caplog.text.count("LookupError: no dashboard for") == 5
    assert "on_event failed" in caplog.text


async def test_what_was_not_committed_is_not_heard() -> None:
    """Neither when the store refuses."""
    heard: list[str] = []
    store = FaultyStore(MemoryStore(), at=2)
    async with Client(store, on_event=lambda entry: heard.append(entry.event)) as client:
        with pytest.raises(StoreUnavailableError):
            await client.flows.start(Ask)

    assert heard == []
