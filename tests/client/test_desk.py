"""The desk among others: who writes the same request at the same moment, and forged rows."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import anyio
import pytest
from typing_extensions import override

from signoff import Client, Flow, Request, human_feedback, start
from signoff.desk import TRIES
from signoff.errors import (
    AlreadyDecidedError,
    NotAllowedError,
    RequestExpiredError,
    SealInvalidError,
    StaleWriteError,
)
from signoff.model.changes import Changes
from signoff.stores import MemoryStore, SQLiteStore
from signoff.testing import ManualClock, MemoryMail

BRAND = "brand@acme.example"


class Ask(Flow, name="desk.ask"):
    """One gate."""

    @start()
    @human_feedback(message="Well?", emit=["approved", "rejected"], assign_to_email=BRAND)
    def draft(self) -> str:
        """Return what is asked about."""
        return "text"


class Contested(MemoryStore):
    """A store in which somebody else is always a moment earlier, as often as was said."""

    def __init__(self) -> None:
        super().__init__()
        self.interferes: Callable[[], Awaitable[object]] | None = None
        self.times = 0

    @override
    async def commit(self, changes: Changes) -> None:
        if self.times and self.interferes is not None and (changes.requests or changes.signals):
            self.times -= 1
            interferes, self.interferes = self.interferes, None
            await interferes()
            self.interferes = interferes
        await super().commit(changes)


async def asked(client: Client) -> Request:
    """Start a run, and return its request."""
    await client.flows.start(Ask, requester="agent-7")
    await client.drain()
    (request,) = await client.hitl.list_requests()
    return request


async def test_an_answer_that_was_overtaken_by_a_comment_counts_all_the_same() -> None:
    """It is decided anew on what is there by then; the comment is kept."""
    store = Contested()
    async with Client(store) as client:
        request = await asked(client)
        store.interferes = lambda: client.hitl.comment(request_id=request.request_id, text="hm")
        store.times = 3

        answered = await client.hitl.approve(request_id=request.request_id, reviewer=BRAND)

    assert (answered.status, len(answered.comments), answered.version) == ("approved", 3, 5)


async def test_of_two_answers_the_second_learns_of_the_first() -> None:
    """Though both read the request while it was pending."""
    store = Contested()
    async with Client(store) as client:
        request = await asked(client)
        store.interferes = lambda: client.hitl.reject(
            request_id=request.request_id, reason="I was first", reviewer=BRAND
        )
        store.times = 1

        with pytest.raises(AlreadyDecidedError, match="rejected"):
            await client.hitl.approve(request_id=request.request_id, reviewer=BRAND)

        newest = await client.hitl.get_request(request.request_id)
        assert (newest.status, len(newest.decisions)) == ("rejected", 1)


async def test_an_answer_that_becomes_too_late_while_it_is_written_is_refused() -> None:
    """The store checks the time once more."""
    store, clock = Contested(), ManualClock()

    async def a_week_passes() -> None:
        clock.advance(timedelta(days=7))

    async with Client(store, clock=clock) as client:
        request = await asked(client)
        store.interferes, store.times = a_week_passes, 1
        with pytest.raises(RequestExpiredError):
            await client.hitl.approve(request_id=request.request_id, reviewer=BRAND)


async def test_an_endless_contest_ends_in_an_error() -> None:
    """Nobody waits for ever."""
    store = Contested()
    async with Client(store) as client:
        request = await asked(client)
        store.interferes = lambda: client.hitl.comment(request_id=request.request_id, text="hm")
        store.times = 10 * TRIES

        with pytest.raises(StaleWriteError):
            await client.hitl.approve(request_id=request.request_id, reviewer=BRAND)

        newest = await client.hitl.get_request(request.request_id)
        assert (newest.status, len(newest.comments)) == ("pending", TRIES)


async def test_an_endless_contest_for_a_runs_audit_trail_ends_in_an_error() -> None:
    """Whoever cancels a run waits no longer for it than whoever answers."""
    store = Contested()
    async with Client(store) as client:
        request = await asked(client)
        store.interferes = lambda: client.flows.cancel(request.run_id, by="somebody else")
        store.times = 10 * TRIES

        with pytest.raises(StaleWriteError):
            await client.flows.cancel(request.run_id)

        assert len(await store.audit(f"commands:{request.run_id}")) == TRIES


async def test_a_forged_request_tells_its_run_once(database: Path, state_home: Path) -> None:
    """However often it is looked at, and by however many at once."""
    async with Client(SQLiteStore(database)) as client:
        request = await asked(client)
        with closing(sqlite3.connect(database)) as connection, connection:
            connection.execute(
                "UPDATE requests SET body = CAST(replace(CAST(body AS TEXT), 'Well?', 'Evil') AS BLOB)"
            )

        async def look() -> None:
            with pytest.raises(SealInvalidError, match="message"):
                await client.hitl.get_request(request.request_id)

        async with anyio.create_task_group() as group:
            for _ in range(8):
                group.start_soon(look)
        await look()

        entries = await client._store.audit(f"commands:{request.run_id}")
        assert [entry.event for entry in entries] == ["request.seal_invalid"]
        assert entries[0].facts["field"] == "message"
        await client.drain()
        assert (await client.flows.get(request.run_id)).blocked_reason == "seal_invalid"
        await look()
        assert await client._store.audit(f"commands:{request.run_id}") == entries


async def test_a_forged_question_without_a_run_tells_nobody(
    database: Path, state_home: Path
) -> None:
    """It is refused, and that is all."""
    async with Client(SQLiteStore(database)) as client:
        request = await client.hitl.request("Well?", payload=1)
        with closing(sqlite3.connect(database)) as connection, connection:
            connection.execute(
                "UPDATE requests SET body = CAST(replace(CAST(body AS TEXT), 'Well?', 'Evil') AS BLOB)"
            )

        with pytest.raises(SealInvalidError):
            await client.hitl.approve(request_id=request.request_id, reviewer=BRAND)


async def test_somebody_who_only_prints_gets_no_answer_to_a_reply() -> None:
    """A confirmation goes where the reply came from, not to every notifier there is."""
    mail, other = MemoryMail(), MemoryMail(name="pager")
    other.expects_reply = False
    async with Client(notifiers=[mail, other], inbox=mail) as client:
        await asked(client)
        assert (len(mail.sent), len(other.sent)) == (1, 1)
        assert other.sent[0]["Reply-To"] is None
        mail.reply(mail.sent[0], "approved")
        await client.drain()

    assert (len(mail.sent), len(other.sent)) == (2, 1)


async def test_who_was_asked_before_may_not_answer_any_more() -> None:
    """Also when the request is passed on while the answer is on its way."""
    store = Contested()
    async with Client(store) as client:
        request = await asked(client)
        store.interferes = lambda: client.hitl.reassign(
            request_id=request.request_id, assignees=["boss@acme.example"]
        )
        store.times = 1

        with pytest.raises(NotAllowedError):
            await client.hitl.approve(request_id=request.request_id, reviewer=BRAND)
