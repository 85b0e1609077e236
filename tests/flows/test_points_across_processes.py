"""The eighteen points across processes: one begins, this one answers, others go on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import anyio
import pytest

from signoff import Client
from signoff.errors import AlreadyDecidedError, RequestCancelledError, UnknownOutcomeError
from signoff.model.request import Request
from signoff.security.keyring import Keyring
from signoff.stores import SQLiteStore
from signoff.testing import ManualClock

FOLDER = Path(__file__).parent
MEMORY = Path("/dev/shm")  # noqa: S108 - a folder of its own is made there
ANN = "ann@acme.example"

Runs = dict[str, dict[str, Any]]


@dataclass
class House:
    """A database that processes share, and what they print."""

    folder: Path
    keyring: Keyring = field(default_factory=Keyring.generate)

    def process(
        self, command: str, *, variant: str = "", later: float = 0
    ) -> subprocess.Popen[str]:
        """Start a process that works on the database."""
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(FOLDER), *sys.path]),
            "SIGNOFF_KEY": self.keyring.to_text(),
            "RAN": str(self.folder / "ran"),
            "VARIANT": variant,
        }
        return subprocess.Popen(
            [
                sys.executable,
                "-c",
                "import flows_under_test as f; f.main()",
                command,
                str(self.folder / "signoff.db"),
                str(later),
            ],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def end(
        self, process: subprocess.Popen[str], *, errors: dict[str, str] | None = None
    ) -> dict[str, Any]:
        """Wait for a process and return what it printed."""
        printed, complaints = process.communicate(timeout=50)
        assert process.returncode == 0, complaints
        told: dict[str, Any] = json.loads(printed)
        assert told.pop("errors") == (errors or {})
        return told

    def work(self, command: str, *, variant: str = "", later: float = 0) -> dict[str, Any]:
        """Let a process work to its end."""
        return self.end(self.process(command, variant=variant, later=later))

    def dies(self, command: str, *, variant: str) -> int:
        """Let a process die at work, and return how."""
        process = self.process(command, variant=variant)
        process.communicate(timeout=50)
        return process.returncode

    @property
    def ran(self) -> list[str]:
        """What steps and notifiers did, in all processes."""
        return (self.folder / "ran").read_text().splitlines()

    def ask(self, step: str) -> Request:
        """Return the one pending request of a step."""
        (request,) = [one for one in self.pending() if one.method_name == step]
        return request

    def pending(self) -> list[Request]:
        """Return all pending requests."""

        async def listed(client: Client) -> list[Request]:
            return list(await client.hitl.list_requests(status="pending"))

        found: list[Request] = self.with_client(listed)
        return found

    def answer(self, request: Request, label: str, feedback: str = "") -> Request:
        """Answer a request from this process, which has none of the code."""

        async def answered(client: Client) -> Request:
            return await client.hitl.respond(
                request_id=request.request_id,
                outcome=label,
                feedback=feedback,
                reviewer=request.assignees[0] if request.assignees else ANN,
            )

        done: Request = self.with_client(answered)
        return done

    def with_client(self, work: Any) -> Any:
        """Do something with a client over the database."""

        async def main() -> object:
            store = SQLiteStore(self.folder / "signoff.db", synchronous="NORMAL")
            async with Client(store, keyring=self.keyring, clock=ManualClock()) as client:
                return await work(client)

        return anyio.run(main)


@dataclass
class Story:
    """What became of the runs, round by round."""

    house: House
    rounds: list[Runs] = field(default_factory=list[Runs])
    said: str = ""
    first: dict[str, Request] = field(default_factory=dict[str, Request])
    refusals: list[str] = field(default_factory=list[str])

    def output(self, flow: str) -> object:
        """Return what a flow's run returned in the end."""
        run = self.rounds[-1][flow]
        assert run["status"] == "completed", run
        return run["output"]


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    """Yield a house in a folder that costs no wait for a disk."""
    with TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        yield House(Path(folder))


@pytest.fixture(scope="module")
def hurt_house() -> Iterator[House]:
    """Yield one more, whose processes die."""
    with TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        yield House(Path(folder))


@pytest.fixture(scope="module")
def told_house() -> Iterator[House]:
    """Yield one more, whose notifiers fail."""
    with TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        yield House(Path(folder))


@pytest.fixture(scope="module")
def story(house: House) -> Story:
    """Begin all flows in one process, answer in three rounds, and go on in other processes."""
    story = Story(house)
    story.rounds.append(house.work("main")["runs"])
    story.first = {one.method_name: one for one in house.pending() if one.method_name != "pay"}
    calls = [one for one in house.pending() if one.method_name == "pay"]
    acme, bolt, model = sorted(calls, key=lambda one: one.query)
    for blank in ("", "  \n"):
        with pytest.raises(UnknownOutcomeError) as refused:
            house.answer(story.first["review"], blank)
        story.refusals.append(str(refused.value))
    for step, label in {
        "review": " Approved! ",
        "legal": "lawful",
        "finance": "affordable",
        "ask_inside": "done",
        "for_legal": "fine",
        "for_finance": "revise",
        "show": "paid",
        "ask_child": "grown",
    }.items():
        house.answer(story.first[step], label, f"{step} answered")
    house.answer(bolt, "approved")
    house.answer(model, "approved")

    workers = [house.process("resume") for _ in range(2)]
    story.rounds += [house.end(worker)["runs"] for worker in workers]
    with pytest.raises(AlreadyDecidedError) as late:
        house.answer(story.first["for_legal"], "not_fine")
    story.refusals.append(str(late.value))
    old_legal = house.ask("for_legal")
    house.answer(house.ask("for_finance"), "revise")
    house.answer(house.ask("ask_beside"), "yes")
    house.answer(acme, "approved")

    told = house.work("same-id")
    story.rounds.append(told["runs"])
    story.said = told["said"]
    with pytest.raises(RequestCancelledError) as cancelled:
        house.answer(old_legal, "fine")
    story.refusals.append(str(cancelled.value))
    house.answer(house.ask("for_finance"), "cheap")
    story.rounds.append(house.work("resume")["runs"])
    house.answer(house.ask("for_legal"), "fine")
    story.rounds.append(house.work("resume")["runs"])
    return story


@pytest.fixture(scope="module")
def hurt(hurt_house: House) -> list[Runs]:
    """Begin in one process, die in the next, go on with other code, and then with the right one."""
    rounds = [hurt_house.work("hurt")["runs"]]
    hurt_house.answer(hurt_house.ask("ask"), "approved", "go on")
    hurt_house.answer(hurt_house.ask("gate"), "good")
    assert hurt_house.dies("resume", variant="crash") == 17
    rounds.append(hurt_house.work("resume", variant="renamed", later=3600)["runs"])
    rounds.append(hurt_house.work("retry", later=3600)["runs"])
    return rounds


def test_point_01_two_processes_that_resume_at_once_run_what_follows_once(story: Story) -> None:
    """Both were at work on the same answers."""
    assert story.output("Review") == "published copy: review answered"
    assert story.house.ran.count("publish") == 1


def test_point_02_a_crash_after_the_decision_loses_nothing(
    hurt_house: House, hurt: list[Runs]
) -> None:
    """The next process runs the listener again, and only that; nobody is asked again."""
    assert hurt[-1]["Crashing"]["output"] == "survived: go on"
    ran = [line for line in hurt_house.ran if line.startswith("crashing")]
    assert ran == ["crashing asks", "crashing goes on", "crashing goes on"]


def test_point_03_a_crash_at_the_notifier_finds_everything_stored(told_house: House) -> None:
    """The message was out before the process died, and its request can be answered."""
    assert told_house.dies("told", variant="notifier-crash") == 18
    (told,) = told_house.ran
    request = told_house.ask(told.split()[-1])
    assert told_house.answer(request, request.options[0]).status == "answered"


def test_point_04_a_delivery_that_failed_is_sent_by_another_process(house: House) -> None:
    """The request stands meanwhile, and the step is not run again."""
    with TemporaryDirectory(dir=house.folder) as folder:
        other = House(Path(folder))
        told = other.end(other.process("told", variant="notifier-down"), errors={"files": "down"})
        runs = told["runs"]
        assert runs["Two"]["status"] == "suspended"
        assert len(other.pending()) == 2
        other.work("resume", later=3600)
        assert sorted(other.ran) == [
            "told ann@acme.example of legal",
            "told bob@acme.example of finance",
        ]


def test_point_05_two_parallel_gates_ask_and_notify_twice_and_both_resume(story: Story) -> None:
    """The `and_` over them has fired in a later process."""
    assert story.rounds[0]["Two"]["status"] == "suspended"
    assert "told ann@acme.example of legal" in story.house.ran
    assert "told bob@acme.example of finance" in story.house.ran
    assert story.output("Two") == ["affordable", "lawful"]


def test_point_06_siblings_and_their_listeners_ran_in_the_first_process(story: Story) -> None:
    """They did not wait for the gate, and ran once."""
    assert story.house.ran.index("after beside") < story.house.ran.index("publish")
    assert story.house.ran.count("after beside") == 1


def test_point_07_an_and_over_an_earlier_step_and_gates_fires_in_another_process(
    story: Story,
) -> None:
    """What was seen in the first process is still seen."""
    assert story.output("Two") == ["affordable", "lawful"]


def test_point_08_gates_inside_and_beside_an_or_are_waited_for(story: Story) -> None:
    """The `or_` itself has fired once, in the first process."""
    assert story.rounds[0]["Either"]["status"] == "suspended"
    assert story.output("Either") == "both were waited for"
    assert story.house.ran.count("either") == 1


def test_point_09_an_old_request_decides_nothing_and_an_id_is_not_shared(story: Story) -> None:
    """The late caller is told what stands; the second run is refused."""
    assert "fine" in story.refusals[2]
    assert "is still open" in story.said
    assert [line for line in story.house.ran if line.startswith("issue")] == ["issue draft 3"]


def test_point_10_a_blank_reply_is_refused_and_a_label_is_read_as_it_is(story: Story) -> None:
    """Nobody had to interpret anything."""
    assert all("the choices are approved, rejected" in one for one in story.refusals[:2])
    assert story.output("Review") == "published copy: review answered"


def test_point_11_decisions_are_kept_when_the_runs_have_ended(story: Story) -> None:
    """What was said, by whom and when."""

    async def again(client: Client) -> Request:
        return await client.hitl.get_request(story.first["review"].request_id)

    request = story.house.with_client(again)
    (decision,) = request.decisions
    assert (decision.label, decision.feedback) == ("approved", "review answered")
    assert (decision.reviewer, decision.decided_at) == (ANN, ManualClock().now())


def test_point_12_a_renamed_step_parks_the_run_until_it_is_back(hurt: list[Runs]) -> None:
    """The reason names the step; a retry with the right code goes on from the answer."""
    parked = hurt[1]["Renamed"]
    assert (parked["status"], parked["reason"]) == ("blocked", "code_missing")
    assert "'gate'" in parked["detail"]
    assert (hurt[2]["Renamed"]["status"], hurt[2]["Renamed"]["output"]) == (
        "completed",
        "as it was",
    )


def test_point_13_values_keep_their_types(story: Story) -> None:
    """Outputs, the payload, state and metadata."""
    money = "Money(amount=Decimal('9.90'), colours=(<Colour.RED: 'red'>,))"
    shown = f"{{'money': {money}, 'pair': (1, 2)}}"
    assert story.output("Typed") == (
        f"[{shown}, [{money}, {shown}], "
        "datetime.datetime(2026, 3, 1, 0, 0, tzinfo=datetime.timezone.utc), "
        "{'limit': Decimal('10')}]"
    )


def test_point_14_a_childs_end_wakes_its_parent(story: Story) -> None:
    """They were begun in one process and ended in another."""
    assert story.rounds[0]["Parent"]["status"] == "suspended"
    assert story.rounds[0]["Child"]["status"] == "suspended"
    assert story.output("Parent") == "parent saw: child grew"


def test_point_15_only_what_both_approved_was_issued(story: Story) -> None:
    """Legal approved drafts 1 and 3, finance asked for two more drafts."""
    assert "superseded" in story.refusals[3]
    assert story.rounds[-2]["Revision"]["status"] == "suspended"
    assert story.output("Revision") == "issued draft 3"


def test_point_16_bodies_in_a_task_group_ran_once_each(story: Story) -> None:
    """One in each of two processes."""
    assert story.output("Group") == ["receipt of acme", "receipt of bolt"]
    paid = [line for line in story.house.ran if line.startswith("paid")]
    assert paid == ["paid bolt", "paid acme"]


def test_point_17_a_call_from_a_plain_pool_was_refused(story: Story) -> None:
    """The run failed with the remedy, and nobody was asked."""
    assert story.rounds[0]["Pool"]["status"] == "failed"
    assert "copy the context" in story.rounds[0]["Pool"]["failure"]


def test_point_18_arguments_that_another_process_changes_end_blocked(story: Story) -> None:
    """Nothing was paid, and both values are shown."""
    run = story.rounds[-1]["Model"]
    assert (run["status"], run["reason"]) == ("blocked", "drift")
    assert run["detail"].count("vendor ") == 2
