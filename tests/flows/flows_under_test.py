"""
Flows that one process begins and others go on with, and what such a process does.

Run with this folder on the path: `python -c "import flows_under_test as f; f.main()" COMMAND DB`.
It prints what has become of the runs, as JSON. What steps do is appended to the file `$RAN`.
"""

from __future__ import annotations

import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import Path
from uuid import uuid4

import anyio

from signoff import (
    Client,
    Flow,
    HumanFeedbackResult,
    and_,
    human_feedback,
    listen,
    or_,
    require_approval,
    start,
)
from signoff.errors import NotifyError, RunError
from signoff.model.run import Run
from signoff.ports import Notifier, Outgoing
from signoff.stores import SQLiteStore
from signoff.testing import ManualClock

VARIANT = os.environ.get("VARIANT", "")
"""How this process's code differs: `crash` (and renamed), `renamed`, `notifier-down` or `notifier-crash`."""

ANN, BOB = "ann@acme.example", "bob@acme.example"


def note(text: str) -> None:
    """Append a line to what all processes did."""
    with Path(os.environ["RAN"]).open("a") as file:
        file.write(text + "\n")


@require_approval(name="processes.pay")
async def pay(vendor: str) -> str:
    """Pay."""
    note(f"paid {vendor}")
    return f"receipt of {vendor}"


@require_approval(name="processes.refund")
def refund(vendor: str) -> str:
    """Pay back, without async."""
    note(f"refunded {vendor}")
    return f"refund of {vendor}"


class Review(Flow):
    """Points 1, 6, 10 and 11."""

    @start()
    def draft(self) -> str:
        note("draft")
        return "copy"

    @listen(draft)
    @human_feedback("Publish?", emit=["approved", "rejected"])
    def review(self, copy: str) -> str:
        note("review")
        return copy

    @start()
    def beside(self) -> str:
        return "beside"

    @listen(beside)
    async def after_beside(self, output: str) -> None:
        note(f"after {output}")

    @listen("approved")
    def publish(self, result: HumanFeedbackResult) -> str:
        note("publish")
        return f"published {result.output}: {result.feedback}"


class Crashing(Flow):
    """Point 2."""

    @start()
    @human_feedback("Publish?", emit=["approved", "rejected"])
    def ask(self) -> str:
        note("crashing asks")
        return "copy"

    @listen("approved")
    def crash(self, result: HumanFeedbackResult) -> str:
        note("crashing goes on")
        if VARIANT == "crash":
            os._exit(17)
        return f"survived: {result.feedback}"


class Two(Flow):
    """Points 4, 5 and 7."""

    @start()
    def earlier(self) -> str:
        return "numbers"

    @start()
    @human_feedback("Legal?", emit=["lawful", "unlawful"], assignees=[ANN])
    def legal(self) -> str:
        return "terms"

    @start()
    @human_feedback("Finance?", emit=["affordable", "too_dear"], assignees=[BOB])
    def finance(self) -> str:
        return "price"

    @listen(and_(earlier, "lawful", "affordable"))
    def sign(self, last: HumanFeedbackResult) -> list[str]:
        return sorted(str(one.outcome) for one in self.human_feedback_history)


class Either(Flow):
    """Point 8."""

    @start()
    def quick(self) -> str:
        return "quick"

    @start()
    @human_feedback("Beside?", emit=["yes", "no"], meanings={"yes": "approve"})
    def ask_beside(self) -> str:
        return "beside"

    @listen(or_(quick, "yes"))
    def either(self) -> str:
        note("either")
        return "either"

    @listen(or_(either, "nothing"))
    @human_feedback("Inside?", emit=["done", "not_done"])
    def ask_inside(self, output: str) -> str:
        return output

    @listen(and_("yes", "done"))
    def end(self) -> str:
        return "both were waited for"


class Revision(Flow):
    """Points 9 and 15."""

    @start("revise")
    def make(self) -> str:
        return f"draft {sum(one.outcome == 'revise' for one in self.human_feedback_history) + 1}"

    @listen(make)
    @human_feedback("Legal?", emit=["fine", "not_fine"])
    def for_legal(self, copy: str) -> str:
        return copy

    @listen(make)
    @human_feedback("Finance?", emit=["cheap", "revise"])
    def for_finance(self, copy: str) -> str:
        return copy

    @listen(and_("fine", "cheap"))
    def issue(self, result: HumanFeedbackResult) -> str:
        note(f"issue {result.output}")
        return f"issued {result.output}"


class Renamed(Flow):
    """Point 12: a deploy renames its step."""

    if VARIANT in {"renamed", "crash"}:

        @start()
        def renamed_gate(self) -> str:
            return "renamed"

    else:

        @start()
        @human_feedback("Publish?", emit=["good", "bad"])
        def gate(self) -> str:
            return "as it was"


class Colour(Enum):
    """A closed set."""

    RED = "red"


@dataclass(frozen=True)
class Money:
    """A record."""

    amount: Decimal
    colours: tuple[Colour, ...]


class Typed(Flow):
    """Point 13."""

    @start()
    def count(self) -> Money:
        self.state["due"] = datetime(2026, 3, 1, tzinfo=UTC)
        return Money(Decimal("9.90"), (Colour.RED,))

    @listen(count)
    @human_feedback("Pay it?", emit=["paid", "unpaid"], metadata={"limit": Decimal(10)})
    def show(self, money: Money) -> dict[str, object]:
        return {"money": money, "pair": (1, 2)}

    @listen("paid")
    def tell(self, result: HumanFeedbackResult) -> str:
        return repr([result.output, self.method_outputs, self.state["due"], dict(result.metadata)])


class Child(Flow):
    """A flow with a gate."""

    @start()
    @human_feedback("Child?", emit=["grown", "small"])
    def ask_child(self) -> str:
        return "child"

    @listen("grown")
    def grow(self, result: HumanFeedbackResult) -> str:
        return f"{result.output} grew"


class Parent(Flow):
    """Point 14."""

    @start()
    async def begin(self) -> object:
        return await Child().kickoff_async()

    @listen(begin)
    def after(self, output: str) -> str:
        return f"parent saw: {output}"


class Group(Flow):
    """Point 16."""

    @start()
    async def both(self) -> list[str]:
        receipts: list[str] = []

        async def one(vendor: str) -> None:
            receipts.append(await pay(vendor))

        async with anyio.create_task_group() as group:
            group.start_soon(one, "acme")
            group.start_soon(one, "bolt")
        return sorted(receipts)


class Pool(Flow):
    """Point 17."""

    @start()
    def begin(self) -> str:
        with ThreadPoolExecutor() as pool:
            return pool.submit(refund, "acme").result()


class Model(Flow):
    """Point 18."""

    @start()
    async def think(self) -> str:
        return await pay(f"vendor {uuid4()}")


class Files(Notifier):
    """A notifier that writes who was told into `$RAN`, after that the process may die."""

    name = "files"
    expects_reply = False

    def reaches(self, recipient: str) -> bool:
        return bool(recipient)

    async def send(self, outgoing: Outgoing) -> str:
        if VARIANT == "notifier-down":
            raise NotifyError("down", permanent=False)
        note(f"told {outgoing.delivery.recipient} of {outgoing.request.method_name}")
        if VARIANT == "notifier-crash":
            os._exit(18)
        return outgoing.delivery.delivery_id

    async def aclose(self) -> None:
        """Nothing is open."""


MAIN: tuple[type[Flow[object]], ...] = (
    Review,
    Two,
    Either,
    Revision,
    Typed,
    Parent,
    Group,
    Pool,
    Model,
)
HURT: tuple[type[Flow[object]], ...] = (Crashing, Renamed)
TOLD: tuple[type[Flow[object]], ...] = (Two,)


async def begin(client: Client, flows: tuple[type[Flow[object]], ...]) -> None:
    """Start one run of each."""
    for flow in flows:
        await client.flows.start(flow, inputs={"id": f"one {flow.__name__}"}, requester="agent-7")


async def second_with_one_id(client: Client) -> str:
    """Start a run whose id another open run has."""
    try:
        await client.flows.start(Revision, inputs={"id": "one Revision"})
    except RunError as error:
        return str(error)
    return "nothing was refused"


async def retry(client: Client) -> None:
    """Retry what is blocked."""
    for run in await client.flows.list(status="blocked"):
        await client.flows.retry(run.run_id)


def told(run: Run) -> dict[str, object]:
    """Return what the test is to know of a run."""
    return {
        "run_id": run.run_id,
        "status": run.status,
        "output": run.output,
        "detail": run.blocked_detail,
        "reason": run.blocked_reason,
        "failure": run.failure.message if run.failure else "",
    }


async def work(command: str, database: str, later: float) -> None:
    """Do what one process does."""
    clock = ManualClock()
    clock.advance(timedelta(seconds=later))
    # So much later, whoever had a run and died has lost it.
    store = SQLiteStore(
        database, synchronous="NORMAL", lease_clock=lambda: time.monotonic() + later
    )
    async with Client(store, clock=clock, notifiers=[Files()]) as client:
        said = ""
        if command in {"main", "hurt", "told"}:
            await begin(client, {"main": MAIN, "hurt": HURT, "told": TOLD}[command])
        elif command == "retry":
            await retry(client)
        elif command == "same-id":
            said = await second_with_one_id(client)
        report = await client.drain()
        runs = {run.flow_name.partition(":")[2]: told(run) for run in await client.flows.list()}
        print(json.dumps({"runs": runs, "errors": report.errors, "said": said}))  # noqa: T201 - read by the test


def main() -> None:
    """Work as the command line says: a command, a database, and how many seconds later it is."""
    command, database, later = sys.argv[1:]
    anyio.run(work, command, database, float(later))
