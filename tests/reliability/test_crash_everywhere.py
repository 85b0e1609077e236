"""The harness that crashes a user's scenario: it finds what a crash loses or doubles, and names where."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Self

import anyio
import pytest
from typing_extensions import override

from signoff import (
    Done,
    Flow,
    HumanFeedbackResult,
    NotDone,
    Request,
    human_feedback,
    listen,
    require_approval,
    start,
)
from signoff.errors import ConfigurationError, StoreUnavailableError
from signoff.model.audit import AuditEntry
from signoff.model.changes import Changes
from signoff.ports import Store
from signoff.stores import MemoryStore, SQLiteStore
from signoff.testing import (
    CrashFinding,
    CrashReport,
    MemoryMail,
    Reviewer,
    TestingClient,
    crash_everywhere,
)

MEMORY = Path("/dev/shm")  # noqa: S108 - a folder of its own is made there
CFO = Reviewer("cfo@acme.example")
PAID: list[str] = []
TOLD: list[str] = []


@require_approval(name="everywhere.pay", assignees=[CFO.address])
async def pay(invoice: str) -> str:
    """Do something that must not be done twice."""
    PAID.append(invoice)
    return f"paid {invoice}"


class Settle(Flow, name="everywhere.settle"):
    """A gated call, and a step behind it that is not gated."""

    @start()
    async def settle(self) -> str:
        """Pay."""
        return await pay(str(self.state["invoice"]))

    @listen(settle)
    def tell(self, receipt: str) -> str:
        """Tell."""
        TOLD.append(receipt)
        return receipt


class Delegating(Flow, name="everywhere.delegating"):
    """A child run."""

    @start()
    async def delegate(self) -> str:
        """Leave it to another one."""
        return str(await Settle().kickoff_async(inputs={"invoice": "child"}))


class Review(Flow, name="everywhere.review"):
    """A step that is asked about."""

    @start()
    @human_feedback("Publish?", emit=["approved", "rejected"], assign_to_email=CFO.address)
    def draft(self) -> str:
        """Ask."""
        return "copy"

    @listen("approved")
    def publish(self, result: HumanFeedbackResult) -> str:
        """End."""
        return str(result.output)


def in_the_books(question: Request) -> Done[str] | NotDone:
    """Say what became of a payment."""
    payload = question.payload
    assert isinstance(payload, dict)
    return Done(f"paid {payload['invoice']}") if payload["invoice"] in PAID else NotDone()


async def settled(client: TestingClient) -> object:
    """Settle one invoice."""
    return await client.run(Settle, invoice="inv-17")


@pytest.fixture(name="quick", autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put temporary folders into memory where the system has that."""
    if MEMORY.is_dir():
        monkeypatch.setattr(tempfile, "tempdir", str(MEMORY))


def sqlite(folder: Path) -> Store:
    """Open the database of a case."""
    return SQLiteStore(folder / "signoff.db")


@pytest.mark.parametrize("store", [None, sqlite], ids=["memory", "sqlite"])
async def test_a_gated_effect_is_neither_lost_nor_doubled(
    store: Callable[[Path], Store] | None,
) -> None:
    """Reliability 1: a crash before and after each of a flow's commits, on a store of choice."""
    report = await crash_everywhere(
        settled, effects=PAID, reviewers=[CFO.approves()], in_doubt=in_the_books, store=store
    )
    assert report.ok, str(report)
    assert report.seeds == ()
    assert report.commits > 8
    assert report.cases == 2 * report.commits


async def test_an_effect_behind_no_gate_is_found_to_be_doubled() -> None:
    """Only where a crash hits between it and its record, and that case can be played alone."""
    report = await crash_everywhere(
        settled, effects=TOLD, reviewers=[CFO.approves()], in_doubt=in_the_books
    )
    assert not report.ok
    (finding,) = report.doubled
    assert (report.lost, report.broken) == ((), ())
    assert finding == CrashFinding(f"before-{report.commits}", "effect paid inv-17")
    assert str(report).splitlines() == [
        f"{report.cases} cases over {report.commits} commits: 0 lost, 1 doubled, 0 broken",
        f"doubled at before-{report.commits}: effect paid inv-17",
    ]

    again = await crash_everywhere(
        settled,
        effects=TOLD,
        reviewers=[CFO.approves()],
        in_doubt=in_the_books,
        only=report.seeds,
    )
    assert (again.cases, again.doubled) == (1, report.doubled)


async def test_a_wrong_answer_about_a_call_in_doubt_is_found() -> None:
    """Said not to have happened it is doubled; said to have happened it is lost."""
    doubled = await crash_everywhere(
        settled, effects=PAID, reviewers=[CFO.approves()], in_doubt=lambda _: NotDone()
    )
    lost = await crash_everywhere(
        settled, effects=PAID, reviewers=[CFO.approves()], in_doubt=lambda _: Done("paid inv-17")
    )
    assert {one.what for one in doubled.doubled} == {"effect inv-17"}
    assert {one.what for one in lost.lost} == {"effect inv-17"}
    assert doubled.broken == lost.broken == ()


@pytest.mark.parametrize("only", [(), ("before-9+before-50",)])
async def test_a_call_in_doubt_that_nobody_knows_about_is_a_mistake_of_the_test(
    only: tuple[str, ...],
) -> None:
    """The error names the case, the flow and both remedies."""
    with pytest.raises(ConfigurationError, match=r"after before-\d.*settle.*verify=.*in_doubt="):
        await crash_everywhere(settled, effects=PAID, reviewers=[CFO.approves()], only=only)


async def test_gated_functions_children_and_feedback_go_on_where_they_were() -> None:
    """With pairs of crashes drawn from a seed: the same seed draws the same ones."""
    mail = MemoryMail()

    async def scenario(client: TestingClient) -> list[object]:
        return [
            await client.run(pay, "one"),
            await client.run(pay, "two"),
            await client.run(Review),
            await client.run(Delegating),
        ]

    reports = [
        await crash_everywhere(
            scenario,
            effects=PAID,
            reviewers=[CFO.approves(after=timedelta(hours=1))],
            in_doubt=in_the_books,
            notifiers=[mail],
            pairs=True,
            at_most=6,
            seed=7,
        )
        for _ in range(2)
    ]
    assert reports[0].ok, str(reports[0])
    assert reports[0] == reports[1]
    assert reports[0].cases == 6
    assert mail.sent


@pytest.mark.slow
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_all_pairs_of_crashes_can_be_played() -> None:
    """Reliability 2: the process that recovers crashes too, at each of its commits."""
    report = await crash_everywhere(
        lambda client: client.run(pay, "inv-17"),
        effects=PAID,
        reviewers=[CFO.approves()],
        in_doubt=in_the_books,
        pairs=True,
    )
    assert report.ok, str(report)
    assert report.cases > 150


async def test_the_first_commit_is_crashed_at_too() -> None:
    """Each process of a scenario that does nothing makes the commit that agrees on the keys."""

    async def scenario(_: TestingClient) -> None:
        """Do nothing."""

    report = await crash_everywhere(scenario, pairs=True)
    # Lost it is made again, by one that may crash in turn; made it is made once and for all.
    assert (report.cases, report.commits, report.ok) == (4, 1, True)


async def test_single_crashes_can_be_drawn() -> None:
    """No more than there are."""

    async def cases(at_most: int) -> int:
        return (
            await crash_everywhere(
                lambda client: client.run(Review), reviewers=[CFO.approves()], at_most=at_most
            )
        ).cases

    whole = await crash_everywhere(lambda client: client.run(Review), reviewers=[CFO.approves()])
    assert await cases(5) == 5
    assert await cases(5000) == whole.cases


class Wrong(MemoryStore):
    """A store that is wrong in one way."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self._how = how
        self._opened = 0

    @override
    async def __aenter__(self) -> Self:
        self._opened += 1
        return self

    @override
    async def commit(self, changes: Changes) -> None:
        if self._how == "forgets the entries" and self._opened > 1:
            changes = replace(changes, audit=())
        await super().commit(changes)

    @override
    async def audit(self, stream: str) -> list[AuditEntry]:
        entries = list(await super().audit(stream))
        if self._opened == 1 or not stream.startswith("request:"):
            return entries
        if self._how == "loses an entry":
            return entries[1:]
        if self._how == "repeats an ending":
            return [*entries, entries[-1]]
        return entries


async def found_by(
    make: Callable[[], Store], scenario: Callable[[TestingClient], object]
) -> CrashReport:
    """Return what is found where each case has one wrong store for all its processes."""
    kept: dict[Path, Store] = {}
    return await crash_everywhere(
        scenario,  # type: ignore[arg-type]  # what the scenarios return does not matter
        reviewers=[CFO.approves()],
        store=lambda folder: kept.setdefault(folder, make()),
        in_doubt=in_the_books,
    )


@pytest.mark.parametrize(
    ("how", "kind", "what"),
    [
        ("loses an entry", "broken", "no whole chain"),
        ("repeats an ending", "doubled", "decision on 'Publish?'"),
        ("forgets the entries", "broken", "at odds with its audit entries"),
    ],
)
async def test_a_store_that_is_wrong_after_a_crash_is_found(how: str, kind: str, what: str) -> None:
    """Entries that are gone or there twice, and changes without an entry."""
    report = await found_by(lambda: Wrong(how), lambda client: client.run(Review))
    assert any(what in one.what for one in getattr(report, kind)), report


class Losing(SQLiteStore):
    """A store that has lost everything when it is opened a second time."""

    @override
    async def __aenter__(self) -> Self:
        await anyio.Path(self.location).unlink(missing_ok=True)
        await super().__aenter__()
        return self


async def test_a_store_that_loses_decisions_is_found() -> None:
    """Those that were acknowledged, and nothing else: what starts anew comes to the same end."""
    report = await crash_everywhere(
        lambda client: client.run(Review),
        reviewers=[CFO.approves()],
        store=lambda folder: Losing(folder / "signoff.db"),
    )
    assert {one.what.rpartition(" on ")[0] for one in report.lost} == {
        "decision 'approved' of cfo@acme.example"
    }
    assert report.doubled == report.broken == ()


async def test_a_scenario_that_is_not_repeatable_is_found() -> None:
    """It starts another run, asks another question, and leaves it unanswered."""

    async def scenario(client: TestingClient) -> None:
        await client.flows.start(Review)
        await client.drain()

    report = await crash_everywhere(scenario)
    found = {one.what for one in report.doubled}
    assert found == {"run of everywhere.review", "request everywhere.review 'Publish?'"}
    assert {one.what for one in report.broken} == {"2 requests wait, not 1"}


async def test_another_end_is_found() -> None:
    """Another return value, another status of a run, another exception."""
    calls: list[str] = []

    async def counts(client: TestingClient) -> int:
        calls.append("")
        await client.run(Review)
        return len(calls)

    report = await crash_everywhere(counts, reviewers=[CFO.approves()], only=["after-5"])
    assert [one.what for one in report.broken] == ["it returned 3, not 1"]

    async def impatient(client: TestingClient) -> None:
        calls.append("")
        if len(calls) > 1:
            raise StoreUnavailableError("it was too much")
        await client.run(Review)

    calls.clear()
    report = await crash_everywhere(impatient, reviewers=[CFO.approves()], only=["after-5"])
    assert [one.what for one in report.broken] == [
        "it could not be finished: StoreUnavailableError: it was too much"
    ]

    async def gives_up(client: TestingClient) -> None:
        calls.append("")
        if not await client.flows.list():
            await client.flows.start(Review)
        await client.drain()
        if len(calls) > 2:
            (run,) = await client.flows.list()
            await client.flows.cancel(run.run_id)
            await client.drain()

    calls.clear()
    report = await crash_everywhere(gives_up, only=["after-5"])
    assert [one.what for one in report.broken] == [
        "run of everywhere.review is cancelled",
        "0 requests wait, not 1",
    ]


async def test_what_the_scenario_raises_by_itself_is_raised() -> None:
    """A scenario that does not work without crashes has to be mended first."""

    async def scenario(_: TestingClient) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await crash_everywhere(scenario)


@pytest.mark.parametrize("seed", ["", "before-0", "before", "later-1", "before-1+", "before-1 "])
async def test_a_seed_that_names_no_case_is_refused(seed: str) -> None:
    """With an example of one that does."""
    with pytest.raises(ConfigurationError, match="names no crash.*'before-12'"):
        await crash_everywhere(settled, reviewers=[CFO.approves()], only=[seed])


async def test_only_processes_that_die_are_quiet(caplog: pytest.LogCaptureFixture) -> None:
    """What they die of is no news; the level of the log is what it was."""
    log = logging.getLogger("signoff")
    with caplog.at_level(logging.INFO, "signoff"):
        report = await crash_everywhere(
            settled, reviewers=[CFO.approves()], in_doubt=in_the_books, only=["before-9"]
        )
        assert log.level == logging.INFO
    assert report.ok, str(report)
    assert [one for one in caplog.records if one.exc_info] == []


def test_a_long_report_is_cut() -> None:
    """It shows twenty findings, and says how many more there are; `repr` says the same."""
    finding = CrashFinding("before-1", "effect one")
    report = CrashReport(cases=30, commits=15, lost=(finding,) * 15, broken=(finding,) * 10)
    lines = str(report).splitlines()
    assert len(lines) == 22
    assert lines[-1] == "and 5 more"
    assert report.seeds == ("before-1",)
    assert str(report) in repr(report)
