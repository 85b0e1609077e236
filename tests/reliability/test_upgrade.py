"""
Databases that each released version has written are gone on with by this one.

A version's database is made once, when it is released, and never again:

    python tests/reliability/test_upgrade.py
"""

from __future__ import annotations

import logging
import shutil
import sqlite3
from contextlib import closing, suppress
from datetime import date
from decimal import Decimal
from importlib.metadata import version
from pathlib import Path
from typing import Final

import anyio
import pytest

from signoff import (
    Client,
    Flow,
    HumanFeedbackResult,
    and_,
    human_feedback,
    listen,
    require_approval,
    start,
)
from signoff.errors import StoreUnavailableError
from signoff.model.request import Request
from signoff.rules.chain import Link, verify_chain
from signoff.security.keyring import Keyring
from signoff.stores import SQLiteStore
from signoff.testing import FaultyStore, ManualClock, MemoryMail

CORPUS: Final = Path(__file__).parents[1] / "data" / "compat"
REVIEWER: Final = "cfo@acme.example"
PAID: list[tuple[str, Decimal, date]] = []


@require_approval(
    name="compat.pay", action="Pay {amount} for {invoice}", assignees=[REVIEWER], hidden=["secret"]
)
async def pay(invoice: str, amount: Decimal, due: date, secret: str) -> Decimal:
    """Take values of several types, one of them hidden."""
    assert secret == "s3cret"
    PAID.append((invoice, amount, due))
    return amount


class Campaign(Flow, name="compat.campaign"):
    """Two gates at once, what joins them, and a gated call behind them."""

    @start()
    def brief(self) -> str:
        """Begin."""
        self.state["seen"] = ["brief"]
        return "spring"

    @listen(brief)
    @human_feedback("Legal?", emit=["fine", "illegal"], assign_to_email=REVIEWER)
    def legal(self, topic: str) -> str:
        """Ask one."""
        return f"{topic} for legal"

    @listen(brief)
    @human_feedback("Brand?", emit=["good", "ugly"], assign_to_email=REVIEWER)
    def brand(self, topic: str) -> str:
        """Ask the other."""
        return f"{topic} for brand"

    @listen(and_("fine", "good"))
    async def publish(self, _: HumanFeedbackResult) -> str:
        """Pay for it."""
        paid = await pay("campaign", Decimal("9.50"), date(2026, 2, 1), secret="s3cret")
        return f"{self.state['seen']}, paid {paid}"


class Parent(Flow, name="compat.parent"):
    """A child run."""

    @start()
    async def delegate(self) -> str:
        """Leave it to another one."""
        return f"child: {await Campaign().kickoff_async()}"


def a_client(path: Path, store: FaultyStore | None = None) -> Client:
    """Open a database as the process that writes it and the one that goes on do."""
    keys = Keyring.from_text(path.with_name("key.txt").read_text().strip())
    mail = MemoryMail()
    return Client(store or SQLiteStore(path), notifiers=[mail], keyring=keys, clock=ManualClock())


async def answer(client: Client, only: str = "", *, run_id: str | None = None) -> bool:
    """Answer what is asked, or some of it; say whether something was."""
    answered = False
    for request in await client.hitl.list_requests(status="pending", run_id=run_id, limit=100):
        if not only or request.message == only:
            await answer_one(client, request)
            answered = True
    return answered


async def answer_one(client: Client, request: Request) -> None:
    """Answer one request, as to the world: nothing had happened yet when a process died."""
    outcome = "run_again" if request.kind == "in_doubt" else request.options[0]
    await client.hitl.respond(request_id=request.request_id, outcome=outcome, reviewer=REVIEWER)


async def write(folder: Path) -> None:
    """Leave a database with a run in each of the states that a run can wait in."""
    path = folder / "signoff.db"
    async with a_client(path) as client:
        # One of two gates is answered; both are; the call is asked about; it has ended.
        for depth in range(4):
            run = await client.flows.start(Campaign, requester="agent-7")
            await client.drain()
            for only in ("Legal?", "Brand?", "")[:depth]:
                assert await answer(client, only, run_id=run.run_id)
                await client.drain()
        await client.flows.start(Parent, requester="agent-7")
        await client.drain()
        request = await client.submit(
            pay, "inv-1", Decimal("1.10"), date(2026, 3, 1), key="inv-1", secret="s3cret"
        )
        await client.hitl.comment(request_id=request.request_id, text="later", author=REVIEWER)
        # Approved, and nobody has gone on yet.
        request = await client.submit(
            pay, "inv-2", Decimal("2.20"), date(2026, 3, 2), key="inv-2", secret="s3cret"
        )
        await answer_one(client, request)
        # Not begun.
        await client.flows.start(Campaign, requester="agent-8")
    # Died in the midst of whatever comes next.
    with suppress(StoreUnavailableError):
        store = FaultyStore(SQLiteStore(path), at=4, side="after")
        async with a_client(path, store) as client:
            await client.drain()
    with closing(sqlite3.connect(path)) as file:
        file.execute("PRAGMA journal_mode = DELETE").fetchone()
        file.execute("VACUUM")


@pytest.mark.parametrize("release", sorted(CORPUS.glob("*")), ids=lambda folder: folder.name)
async def test_a_database_of_an_older_version_is_gone_on_with(
    release: Path, tmp_path: Path
) -> None:
    """Reliability 13: every run in it comes to its end, and every audit chain verifies."""
    PAID.clear()
    await anyio.to_thread.run_sync(shutil.copytree, release, tmp_path / "copy")
    path = tmp_path / "copy" / "signoff.db"
    async with a_client(path) as client:
        await client.drain()
        while await answer(client):
            await client.drain()
        runs = [await client.flows.get(run.run_id) for run in await client.flows.list()]
        assert len(runs) == 9
        assert {run.status for run in runs} == {"completed"}
        outputs = {str(run.output) for run in runs if run.flow_name == "compat.campaign"}
        assert outputs == {"['brief'], paid 9.50"}
        for run in runs:
            for stream in (f"run:{run.run_id}", f"commands:{run.run_id}"):
                links = [
                    Link(
                        stream=one.stream,
                        seq=one.seq,
                        prev_hash=one.prev_hash,
                        body=one.body,
                        hash=one.hash,
                    )
                    for one in await client._store.audit(stream)
                ]
                assert verify_chain(links) is None
    # One campaign had ended before.
    assert sorted(PAID) == [
        *[("campaign", Decimal("9.50"), date(2026, 2, 1))] * 5,
        ("inv-1", Decimal("1.10"), date(2026, 3, 1)),
        ("inv-2", Decimal("2.20"), date(2026, 3, 2)),
    ]


def test_there_is_a_database_of_this_very_version() -> None:
    """Reliability 13: or the next version could not be held against it."""
    assert (CORPUS / version("signoff") / "signoff.db").exists()


if __name__ == "__main__":
    logging.disable()
    made = CORPUS / version("signoff")
    made.mkdir(parents=True)
    (made / "key.txt").write_text(f"{Keyring.generate().to_text()}\n")
    anyio.run(write, made)
