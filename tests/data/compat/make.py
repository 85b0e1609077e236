"""
The corpus: makes the database that this version leaves behind, with runs parked in every way.

Run it with `python tests/data/compat/make.py` before a release; it writes `<version>/`, and
refuses to write over what a release has left there. Every later version opens, verifies and
finishes these runs (tests/compat). The flows stay here, as the code that will go on with them.
"""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

from pydantic import BaseModel

from signoff import (
    Flow,
    HumanFeedbackResult,
    Proposal,
    and_,
    human_feedback,
    listen,
    once,
    require_approval,
    start,
)
from signoff.codec import codec
from signoff.model.request import Evidence
from signoff.registry import flow_classes
from signoff.security.keyring import Keyring
from signoff.stores import SQLiteStore
from signoff.sync import Client
from signoff.testing import ManualClock, MemoryMail

HERE = Path(__file__).parent
ANN, CFO = "ann@acme.example", "cfo@acme.example"
MADE_AT = datetime(2026, 1, 5, 9, tzinfo=UTC)
ELSEWHERE = "the boot of the machine that made this"


class Order(BaseModel):
    """A state with values of several types."""

    total: Decimal = Decimal("12.50")
    due: datetime = MADE_AT + timedelta(days=3)
    lines: list[tuple[str, int]] = [("bolt", 4)]
    tags: set[str] = {"a", "b"}


@dataclass(frozen=True)
class Copy:
    """A payload of a type of its own."""

    text: str
    words: int


codec.register(Copy, name="compat.copy")


@require_approval(
    name="compat.pay", action="Pay {amount}", assignees=[CFO], risk="high", hidden=("iban",)
)
async def pay(amount: Decimal, iban: str) -> str:
    """Stand in for a payment."""
    if os.environ.get("COMPAT_DIES"):
        os._exit(9)
    return f"paid {amount} to {iban}"


@require_approval(name="compat.ship", assignees=[ANN], verify=None)
def ship(order: str, on: datetime) -> dict[str, object]:
    """Stand in for a shipment."""
    return {"order": order, "on": on}


class Review(Flow[Order], name="compat.review"):
    """Asks a person about a payload, and uses the state."""

    @start()
    @human_feedback(
        "Publish this?",
        emit=["approved", "rejected", "later"],
        assignees=[ANN],
        metadata={"campaign": "Q1"},
    )
    def ask(self) -> Proposal:
        """Ask."""
        self.state.lines.append(("nut", 4))
        return Proposal(
            Copy("Hello", 1),
            summary="A greeting",
            confidence=0.75,
            evidence=[Evidence(label="Words", value="1", tone="emerald")],
        )

    @listen("approved")
    def publish(self, result: HumanFeedbackResult) -> list[object]:
        """Return what came through."""
        return [result.output, result.reviewer, self.state.total, self.state.lines]


class Both(Flow, name="compat.both"):
    """Waits for two people, one of whom has answered."""

    @start()
    @human_feedback("Legal?", emit=["fine", "wrong"], assignees=[ANN])
    def legal(self) -> str:
        """Ask one."""
        return "contract"

    @start()
    @human_feedback("Finance?", emit=["paid", "unpaid"], assignees=[CFO])
    def finance(self) -> str:
        """Ask another."""
        return "invoice"

    @listen(and_("fine", "paid"))
    def sign(self) -> str:
        """Go on after both."""
        return "signed"


class Settle(Flow, name="compat.settle"):
    """Makes a gated call with a hidden argument, after something that is journaled."""

    @start()
    async def settle(self) -> str:
        """Pay what was looked up once."""
        return await pay(await once("amount", _amount), iban="DE00 1234")


async def _amount() -> Decimal:
    return Decimal("900.00")


class Parent(Flow, name="compat.parent"):
    """Has a step behind it, and waits for a child that waits."""

    @start()
    def begin(self) -> str:
        """Finish."""
        self.state["begun"] = True
        return "begun"

    @listen(begin)
    async def delegate(self, given: str) -> object:
        """Wait for the child."""
        return [given, await Both().kickoff_async({"of": "parent"})]


class Fails(Flow, name="compat.fails"):
    """Fails until the world is better."""

    @start()
    def begin(self) -> str:
        """Fail while it is made."""
        if os.environ.get("COMPAT_MAKING"):
            raise LookupError("no such order")
        return "found"


class Moved(Flow, name="compat.moved"):
    """Is blocked: while the corpus is made, its step is gone."""

    @start()
    @human_feedback("Still?", emit=["yes", "no"], assignees=[ANN])
    def ask(self) -> str:
        """Ask."""
        return "still"

    @listen("yes")
    def end(self) -> str:
        """End."""
        return "moved on"


class Park:
    """Parks runs in a client's store, one of each kind."""

    def __init__(self, client: Client, mail: MemoryMail) -> None:
        self.client = client
        self.mail = mail
        self.runs: dict[str, str] = {}

    def all(self) -> None:
        """Park a run of each kind."""
        for name in ("waiting", "half_seen", "hidden", "parent", "fails", "moved", "finished"):
            getattr(self, name)()
        self.runs["keyed"] = self.client.submit(ship, "order 7", MADE_AT, key="order-7").run_id
        self._start("cancelled", Both)
        self.client.flows.cancel(self.runs["cancelled"], by=ANN)
        self.client.hitl.request("Lunch?", payload={"at": MADE_AT}, assignees=[ANN], emit=[])

    def waiting(self) -> None:
        """Wait for a person, who was told and has remarked something."""
        self._start("waiting", Review)
        request = self._ask("waiting", "ask")
        self.client.hitl.comment(request_id=request, text="I am on it", author=ANN)

    def half_seen(self) -> None:
        """Have one of two answers."""
        self._start("half_seen", Both)
        self._answer("half_seen", "legal", "fine", ANN)

    def hidden(self) -> None:
        """Wait in a gated call."""
        self._start("hidden", Settle)

    def parent(self) -> None:
        """Wait for a child's two people."""
        self._start("parent", Parent)

    def fails(self) -> None:
        """Fail."""
        self._start("fails", Fails)

    def moved(self) -> None:
        """Be blocked by code that has no such step."""
        self._start("moved", Moved)

        class Empty(Flow, name="compat.empty"):
            @start()
            def other(self) -> None: ...

        flow_classes.add(Empty, origin=f"{__name__}:Moved", names=["compat.moved"])
        self._answer("moved", "ask", "yes", ANN)
        flow_classes.add(Moved, origin=f"{__name__}:Moved", names=["compat.moved"])

    def finished(self) -> None:
        """End, with an edit on the way."""
        self._start("finished", Review)
        request = self._ask("finished", "ask")
        self.client.hitl.respond(
            request_id=request, outcome="approved", payload=Copy("Hi", 1), reviewer=ANN
        )
        self.client.drain()

    def _start(self, name: str, flow: type[Flow[object]]) -> None:
        self.runs[name] = self.client.flows.start(flow, requester="agent-7").run_id
        self.client.drain()

    def _ask(self, name: str, step: str) -> str:
        page = self.client.hitl.list_requests(run_id=self.runs[name], status="pending")
        (request_id,) = [one.request_id for one in page if one.method_name == step]
        return request_id

    def _answer(self, name: str, step: str, label: str, reviewer: str) -> None:
        request_id = self._ask(name, step)
        self.client.hitl.respond(request_id=request_id, outcome=label, reviewer=reviewer)
        self.client.drain()


def opened(path: Path, keyring: Keyring, *, mail: MemoryMail | None = None) -> Client:
    """Return a client over a database of the corpus, at the time when it was made; not open."""
    mail = mail or MemoryMail()
    return Client(
        SQLiteStore(path),
        keyring=keyring,
        clock=ManualClock(MADE_AT + timedelta(hours=1)),
        notifiers=[mail],
        inbox=mail,
    )


def die_at_work(path: Path, keyring: Keyring) -> str:
    """Park a run whose worker died while an approved body ran, and return its id."""
    with opened(path, keyring) as client:
        run = client.flows.start(Settle, requester="agent-7")
        client.drain()
        (request,) = client.hitl.list_requests(run_id=run.run_id, status="pending")
        client.hitl.approve(request_id=request.request_id, reviewer=CFO)
    killed = subprocess.run(
        [sys.executable, __file__, "work", str(path)],
        env={**os.environ, "COMPAT_DIES": "1", "SIGNOFF_KEY": keyring.to_text()},
        check=False,
    )
    assert killed.returncode == 9
    return run.run_id


def make(folder: Path) -> None:
    """Make the corpus of this version in a folder that does not exist yet."""
    os.environ["COMPAT_MAKING"] = "1"
    keyring, mail = Keyring.generate(), MemoryMail()
    with TemporaryDirectory() as made:
        path = Path(made, "parked.sqlite")
        with opened(path, keyring, mail=mail) as client:
            park = Park(client, mail)
            park.all()
        park.runs["in_doubt"] = die_at_work(path, keyring)
        with opened(path, keyring) as client:
            park.runs["ready"] = client.flows.start(Review, requester="agent-7").run_id
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("UPDATE claims SET epoch = ?", [ELSEWHERE])
            connection.commit()
            connection.execute("PRAGMA journal_mode = DELETE")
            connection.execute("PRAGMA page_size = 1024")
            connection.execute("VACUUM")
        folder.mkdir()
        path.rename(folder / path.name)
    (folder / "runs.json").write_text(json.dumps(park.runs, indent=1) + "\n")
    (folder / "asked.eml").write_bytes(mail.sent[0].as_bytes())
    (folder / "test-only.key").write_text(
        "# Made for these tests alone, and published with them: it protects nothing.\n"
        + keyring.to_text()
    )


def main() -> None:
    """Make the corpus, or be the worker that dies while it is made."""
    if sys.argv[1:2] == ["work"]:
        with opened(Path(sys.argv[2]), Keyring.from_env()) as client:
            client.drain()
    else:
        make(HERE / version("signoff"))


if __name__ == "__main__":
    main()
