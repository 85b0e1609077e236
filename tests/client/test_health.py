"""`health`: what fails, what is blocked, who is not reached and why."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from typing_extensions import override

from signoff import Client, Flow, human_feedback, start
from signoff.errors import InboxError, NotifyError
from signoff.ports import Batch
from signoff.registry import flow_classes
from signoff.stores import MemoryStore, SQLiteStore
from signoff.testing import ManualClock, MemoryMail

BRAND = "brand@acme.example"


class Ask(Flow, name="health.ask"):
    """One gate."""

    @start()
    @human_feedback(message="Well?", emit=["approved", "rejected"], assign_to_email=BRAND)
    def draft(self) -> str:
        """Return what is asked about."""
        return "text"


class Locked(MemoryMail):
    """A mailbox that refuses the login until the password was put right."""

    def __init__(self) -> None:
        super().__init__()
        self.locked = True

    @override
    async def fetch(self, mark: str | None) -> Batch:
        if self.locked:
            raise InboxError("AUTHENTICATIONFAILED for approvals", login_failed=True)
        return await super().fetch(mark)


async def test_a_client_with_nothing_to_say_is_well() -> None:
    """No notifiers, no inbox, nothing open."""
    async with Client() as client:
        health = await client.health()

    assert (health.notifiers, health.inbox) == ({}, None)
    assert (health.blocked, health.unreached, health.warnings) == ((), {}, ())
    assert (health.failed_deliveries, health.unclaimed, health.uncertain) == (0, {}, {})


async def test_a_refused_login_shows_within_one_poll_and_again_after_a_restart(
    state_home: Path, database: Path
) -> None:
    """Until it works; then both the last success and the last error are there."""
    mail, clock = Locked(), ManualClock()
    for _ in range(2):
        async with Client(SQLiteStore(database), inbox=mail, clock=clock) as client:
            before = (await client.health()).inbox
            assert before is not None
            assert (before.last_error, before.last_error_at, before.last_success) == (
                "",
                None,
                None,
            )
            await client.drain()
            refused = (await client.health()).inbox
            assert refused is not None
            assert "AUTHENTICATIONFAILED" in refused.last_error
            assert (refused.last_error_at, refused.last_success) == (clock.now(), None)

    async with Client(SQLiteStore(database), inbox=mail, clock=clock) as client:
        await client.drain()
        mail.locked = False
        failed_at, worked_at = clock.now(), clock.advance(timedelta(minutes=1))
        await client.drain()
        well = (await client.health()).inbox
        assert well is not None
        assert (well.last_error_at, well.last_success) == (failed_at, worked_at)


async def test_the_oldest_unsent_delivery_shows_by_notifier() -> None:
    """Also of a notifier that this client does not have any more."""
    store, mail, clock = MemoryStore(), MemoryMail(name="former"), ManualClock()
    mail.error = NotifyError("the server is away", permanent=False)
    async with Client(store, notifiers=[mail], clock=clock) as client:
        await client.flows.start(Ask)
        await client.drain()
    asked_at = clock.now()
    clock.advance(timedelta(hours=3))

    async with Client(store, notifiers=[MemoryMail(name="new")], clock=clock) as client:
        await client.flows.start(Ask)
        await client.drain()
        health = await client.health()

    assert set(health.notifiers) == {"former", "new"}
    assert health.notifiers["former"].oldest_unsent == asked_at
    assert health.notifiers["former"].last_error == "this client has no notifier named 'former'"
    assert health.notifiers["new"].oldest_unsent is None
    assert health.notifiers["new"].last_success == clock.now()


async def test_a_request_passed_on_to_somebody_out_of_reach_is_shown() -> None:
    """That the one before was reached helps nobody; once passed back, all is well."""
    mail = MemoryMail()
    async with Client(notifiers=[mail]) as client:
        await client.flows.start(Ask)
        await client.drain()
        (request,) = await client.hitl.list_requests()
        assert (await client.health()).unreached == {}

        await client.hitl.reassign(request_id=request.request_id, assignees=["the cfo"])
        assert (await client.health()).unreached == {
            request.request_id: "no notifier reaches the cfo"
        }

        await client.hitl.reassign(request_id=request.request_id, assignees=[BRAND])
        assert (await client.health()).unreached == {}
        await client.drain()
        mail.error = NotifyError("no such mailbox", permanent=True)
        await client.hitl.reassign(request_id=request.request_id, assignees=["new@acme.example"])
        await client.drain()
        assert (await client.health()).unreached == {request.request_id: "no such mailbox"}


async def test_a_client_without_a_notifier_says_how_to_answer() -> None:
    """Every pending request has a delivery or a reason."""
    async with Client() as client:
        await client.flows.start(Ask)
        await client.drain()
        (request,) = await client.hitl.list_requests()

        assert "through the API" in (await client.health()).unreached[request.request_id]


async def test_a_run_whose_code_is_not_here_shows_by_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nobody in this process claims it."""
    async with Client() as client:
        await client.flows.start(Ask)
        with monkeypatch.context() as changed:
            changed.delitem(flow_classes._code, "health.ask")
            assert (await client.health()).unclaimed == {"health.ask": 1}
            assert (await client.hitl.get_stats()).unclaimed == {"health.ask": 1}
            assert (await client.drain()).advanced == ()
        assert (await client.health()).unclaimed == {}


async def test_a_row_that_cannot_be_read_is_named_and_hides_no_other(
    state_home: Path, database: Path
) -> None:
    """Of three requests the middle one is broken; so are a run, and the message about another."""
    mail = MemoryMail()
    mail.error = NotifyError("no such mailbox", permanent=True)
    async with Client(SQLiteStore(database), notifiers=[mail]) as client:
        runs = [await client.flows.start(Ask) for _ in range(4)]
        await client.drain()
        requests = await client.hitl.list_requests()
        with closing(sqlite3.connect(database)) as connection, connection:
            for table, key, broken in (
                ("runs", "run_id", runs[1].run_id),
                ("requests", "request_id", requests[1].request_id),
                ("deliveries", "request_id", requests[2].request_id),
            ):
                connection.execute(f"UPDATE {table} SET body = '{{' WHERE {key} = ?", (broken,))  # noqa: S608 - names of our own
            connection.execute(
                "UPDATE runs SET status = 'blocked' WHERE run_id = ?", (runs[1].run_id,)
            )

        health = await client.health()

    assert set(health.unreached) == {requests[0].request_id, requests[3].request_id}
    *_, blocked, pending, messages = health.warnings
    assert blocked.startswith(f"blocked runs cannot be listed: {runs[1].run_id}")
    assert pending.startswith(f"pending requests cannot be listed: {requests[1].request_id}")
    assert messages.startswith(f"the messages about {requests[2].request_id} cannot be listed")


async def test_a_request_that_was_tampered_with_shows_as_a_warning(
    state_home: Path, database: Path
) -> None:
    """Where its typed columns contradict it, so that no list can be made."""
    async with Client(SQLiteStore(database)) as client:
        await client.flows.start(Ask)
        await client.drain()
        (request,) = await client.hitl.list_requests()
        with closing(sqlite3.connect(database)) as connection, connection:
            connection.execute("UPDATE requests SET risk = 'low'")

        (warning,) = (await client.health()).warnings

    assert "cannot be listed" in warning
    assert request.request_id in warning
    assert "risk" in warning
