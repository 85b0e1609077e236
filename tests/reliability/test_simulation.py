"""Workers of one store, in orders that seeds draw, with crashes and lossy mail: all ends as if undisturbed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any, cast

import pytest
from typing_extensions import override

from signoff import (
    Client,
    Done,
    Flow,
    HumanFeedbackResult,
    NotDone,
    Request,
    human_feedback,
    listen,
    require_approval,
    start,
    together,
)
from signoff.errors import ConfigurationError, StoreUnavailableError
from signoff.model.changes import Changes
from signoff.stores import MemoryStore
from signoff.testing import CrashReport, Reviewer, simulate

CFO = Reviewer("cfo@acme.example").approves("fine")
EDITOR = Reviewer("editor@acme.example").answers_with("needs_revision", "shorter")
PAID: list[str] = []


@require_approval(name="simulation.pay", action="Pay {invoice}", assignees=[CFO.address])
async def pay(invoice: str) -> str:
    """Do something that must not be done twice."""
    PAID.append(invoice)
    return f"paid {invoice}"


class Order(Flow, name="simulation.order"):
    """A gate on a step, and two gated calls at once."""

    @start()
    @human_feedback("Order?", emit=["approved", "rejected"], assign_to_email=CFO.address)
    async def draft(self) -> str:
        """Begin."""
        return str(self.state["number"])

    @listen("approved")
    async def buy(self, result: HumanFeedbackResult) -> str:
        """Make both calls."""
        name = str(result.output)
        bought = await together(partial(pay, f"{name} ink"), partial(pay, f"{name} paper"))
        return " and ".join(str(receipt) for receipt in bought)


class Draft(Flow, name="simulation.draft"):
    """A question with other labels, and one that nobody answers."""

    @start()
    @human_feedback("Publish?", emit=["publish", "needs_revision"], assign_to_email=EDITOR.address)
    async def write(self) -> str:
        """Ask."""
        return "copy"

    @listen("needs_revision")
    @human_feedback(
        "Any objection?",
        emit=["approved", "rejected"],
        assign_to_email="nobody@acme.example",
        expires_after=timedelta(days=1),
        on_expiry="approved",
    )
    async def shorten(self, result: HumanFeedbackResult) -> str:
        """Ask nobody."""
        return f"{result.output}, {result.feedback}"


async def order(client: Client, number: int) -> None:
    """Begin an order."""
    await client.flows.start(Order, inputs={"number": number}, requester="agent-7")


def look_it_up(question: Request) -> Done[str] | NotDone:
    """Say what became of a payment."""
    invoice = cast("dict[str, Any]", question.payload)["invoice"]
    return Done(f"paid {invoice}") if invoice in PAID else NotDone()


async def simulated(*seeds: int, **options: Any) -> CrashReport:
    """Simulate orders."""
    given: dict[str, Any] = {"reviewers": [CFO], "in_doubt": look_it_up, **options}
    return await simulate(order, seeds=seeds, effects=PAID, **given)


async def test_whatever_the_order_of_events_all_ends_well() -> None:
    """Reliability 12: three workers, one store, mail that is lost or comes twice, crashes."""
    told: list[str] = []
    report = await simulated(*range(3), narrate=told.append)
    assert report.ok, str(report)
    assert report.cases == 3
    assert report.commits > 20
    for what in ("commits", "looks for work", "dies", "lapse", "clock", "is begun", "answered"):
        assert any(what in one for one in told), what


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_seed_repeats_what_happened() -> None:
    """Reliability 12: or a failure could not be looked at; another seed tells another story."""
    stories: list[list[str]] = []
    for seed in (5, 5, 6):
        told: list[str] = []
        await simulated(seed, narrate=told.append)
        stories.append(told)
    assert stories[0] == stories[1]
    assert stories[0] != stories[2]


@pytest.mark.reliability
@pytest.mark.timeout(900)
@pytest.mark.parametrize("part", range(5))
async def test_hundreds_of_orders_of_events_all_end_well(part: int) -> None:
    """Reliability 12: two hundred and fifty seeds on either loop."""
    report = await simulated(*range(50 * part, 50 * (part + 1)))
    assert report.ok, str(report)
    assert report.cases == 50


async def test_other_answers_and_none_are_given_too() -> None:
    """Reliability 12: labels by mail, changes and what no mail has settled by the application, expiry by time."""
    report = await simulate(
        lambda client, _: client.flows.start(Draft),
        seeds=range(3),
        runs=2,
        reviewers=[EDITOR, Reviewer("nobody@acme.example")],
    )
    assert report.ok, str(report)

    edited = Reviewer(CFO.address).edits({"invoice": "another"})
    await simulate(
        lambda client, number: client.submit(pay, "this one", key=str(number)),
        seeds=[1],
        runs=2,
        effects=PAID,
        reviewers=[edited],
        in_doubt=look_it_up,
    )
    assert PAID == ["another", "another"]


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_who_does_not_know_what_became_of_a_call_is_told() -> None:
    """In some order of events one is in doubt, and nobody can say."""
    with pytest.raises(
        ConfigurationError, match=r"events of seed \d+ a call of .*order is in doubt"
    ):
        await simulated(6, 7, in_doubt=None)


async def test_what_goes_wrong_undisturbed_is_raised() -> None:
    """Runs that do not work without crashes have to be mended first."""

    async def begin(_: Client, __: int) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await simulate(begin)


class Lossy(MemoryStore):
    """A store that acknowledges every fifteenth commit of a journal, and does not make it."""

    _journaled = 0

    @override
    async def commit(self, changes: Changes) -> None:
        self._journaled += bool(changes.occurrences)
        if changes.occurrences and self._journaled % 15 == 0:
            return
        await super().commit(changes)


class Forgetful(MemoryStore):
    """A store that forgets an audit entry of each request that a reviewer decides by mail."""

    @override
    async def commit(self, changes: Changes) -> None:
        if changes.handled:
            changes = replace(changes, audit=())
        await super().commit(changes)


class Failing(MemoryStore):
    """A store that fails now and then, though nobody is dead."""

    _acquired = 0

    @override
    async def commit(self, changes: Changes) -> None:
        self._acquired += bool(changes.claims)
        if self._acquired > 30:
            raise StoreUnavailableError("the disk is full")
        await super().commit(changes)


class Unreadable(MemoryStore):
    """A store that says no more what is to be done, though nobody is dead."""

    _asked = 0

    @override
    async def ready(self, names: Sequence[str], *, limit: int) -> Sequence[str]:
        self._asked += 1
        if self._asked > 20:
            raise StoreUnavailableError("the disk is gone")
        return await super().ready(names, limit=limit)


def second(wrong: type[MemoryStore]) -> Callable[[], MemoryStore]:
    """Return what makes one right store, for the undisturbed runs, and wrong ones then."""
    made: list[MemoryStore] = []

    def make() -> MemoryStore:
        made.append(wrong() if made else MemoryStore())
        return made[-1]

    return make


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize(
    ("wrong", "what"),
    [
        (Lossy, ""),
        (Forgetful, "at odds with its audit entries"),
        (Failing, "the disk is full"),
        (Unreadable, "the disk is gone"),
    ],
)
async def test_a_store_that_is_wrong_is_found(wrong: type[MemoryStore], what: str) -> None:
    """The control: within some seeds, one goes wrong, and is named."""
    report = await simulated(*range(4), store=second(wrong))
    assert not report.ok
    assert set(report.seeds) <= {str(seed) for seed in range(4)}
    assert any(what in one.what for one in (*report.lost, *report.doubled, *report.broken)), report
