"""
Every test of the notifier contract can fail: one that is wrong in one way does not pass it.

Each `Faulty` class is a right notifier with one fault; `caught_by` names the tests that see it.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar

import anyio
import pytest
from anyio.lowlevel import checkpoint
from typing_extensions import override

from signoff.errors import NotifyError
from signoff.ports import Notifier, Outgoing
from signoff.testing import NotifierContract
from signoff.testing.notifier_contract import KINDS, Arrived

pytestmark = pytest.mark.one_python

SUITE = NotifierContract()
NAMES = sorted(name for name in dir(NotifierContract) if name.startswith("test_"))
SEEN = (AssertionError, NotifyError, ExceptionGroup, ValueError, pytest.fail.Exception)
"""How a test of the contract fails: it does not hold, or the notifier fails where it must not."""


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """Return one event loop: whether the contract bites has nothing to do with which."""
    return "asyncio"


class Board:
    """
    Where messages are pinned to.

    Attributes:
        notes: Those that are.
        full: Whether no more will hold.
    """

    def __init__(self) -> None:
        self.notes: list[Arrived] = []
        self.full = False

    async def arrived(self) -> list[Arrived]:
        """Look."""
        return list(self.notes)

    @asynccontextmanager
    async def refusing(self) -> AsyncGenerator[None]:
        """Let no more hold for a while."""
        self.full = True
        yield
        self.full = False


class Pin(Notifier):
    """A right notifier, to a board in memory."""

    def __init__(self, board: Board) -> None:
        self.name = "board"
        self.expects_reply = True
        self.board = board
        self.is_open = False

    @override
    def reaches(self, recipient: str) -> bool:
        return "@" in recipient

    @override
    async def send(self, outgoing: Outgoing) -> str:
        self.is_open = True
        for _ in range(3):
            await checkpoint()
        if self.board.full:
            raise NotifyError("the board is full", permanent=False)
        note = self.note(outgoing)
        self.board.notes.append(note)
        return str(note.message_id)

    def note(self, outgoing: Outgoing) -> Arrived:
        """Return what is pinned."""
        message = "".join(one if one.isprintable() else "?" for one in outgoing.request.message)
        return Arrived(
            recipients=[outgoing.delivery.recipient],
            text=f"{message} {outgoing.request.payload_json}",
            message_id=f"<{outgoing.delivery.delivery_id}>",
            reply_to=outgoing.token and f"answers+{outgoing.token}@board.example",
        )

    @override
    async def aclose(self) -> None:
        self.is_open = False


def with_(note: Arrived, **changes: Any) -> Arrived:
    """Return a note with something else on it."""
    fields = {
        name: getattr(note, name) for name in ("recipients", "text", "message_id", "reply_to")
    }
    return Arrived(**{**fields, **changes})


class Faulty(Pin):
    """A notifier with one fault."""

    caught_by: ClassVar[tuple[str, ...]] = ()


class Nameless(Faulty):
    """It has no name for its deliveries."""

    caught_by = ("test_a_notifier_says_who_it_is",)

    def __init__(self, board: Board) -> None:
        super().__init__(board)
        self.name = ""


class Greets(Faulty):
    """It sends something to whoever it is asked about."""

    caught_by = ("test_it_knows_whom_it_reaches",)

    @override
    def reaches(self, recipient: str) -> bool:
        self.board.notes.append(Arrived(recipients=[recipient], text="hello"))
        return True


class ReachesNobody(Faulty):
    """It says that it reaches nobody."""

    caught_by = ("test_it_knows_whom_it_reaches",)

    @override
    def reaches(self, recipient: str) -> bool:
        return False


class Copies(Faulty):
    """It tells somebody else as well."""

    caught_by = (
        "test_one_send_is_one_message",
        "test_nothing_in_a_request_becomes_a_recipient",
    )

    @override
    def note(self, outgoing: Outgoing) -> Arrived:
        note = super().note(outgoing)
        return with_(note, recipients=[*note.recipients, "archive@acme.example"])


class SaysGoodbye(Faulty):
    """It sends something when it is closed."""

    caught_by = ("test_a_message_is_sent_only_when_asked",)

    @override
    async def aclose(self) -> None:
        self.board.notes.append(Arrived(recipients=["all@acme.example"], text="goodbye"))


class OtherId(Faulty):
    """It returns an id of its own, not that of the message."""

    caught_by = ("test_the_returned_id_is_what_the_other_side_knows",)

    @override
    async def send(self, outgoing: Outgoing) -> str:
        return f"ours: {await super().send(outgoing)}"


class NewIds(Faulty):
    """It numbers its messages."""

    caught_by = ("test_the_same_delivery_has_the_same_id_again",)

    @override
    def note(self, outgoing: Outgoing) -> Arrived:
        return with_(super().note(outgoing), message_id=f"<{len(self.board.notes)}>")


class IdOfTheRequest(Faulty):
    """It makes the id of what a message is about."""

    caught_by = ("test_other_deliveries_have_other_ids",)

    @override
    def note(self, outgoing: Outgoing) -> Arrived:
        return with_(super().note(outgoing), message_id=f"<{outgoing.request.request_id}>")


class Teases(Faulty):
    """It shows the beginning only."""

    caught_by = ("test_the_recipient_can_judge",)

    @override
    def note(self, outgoing: Outgoing) -> Arrived:
        note = super().note(outgoing)
        return with_(note, text=note.text[:20])


class NoWayBack(Faulty):
    """It expects replies, and does not say where to."""

    caught_by = ("test_an_answer_finds_its_way_back",)

    @override
    def note(self, outgoing: Outgoing) -> Arrived:
        return with_(super().note(outgoing), reply_to="noreply@board.example")


class ShowsTheToken(Faulty):
    """It prints the token where everybody reads it."""

    caught_by = ("test_an_answer_finds_its_way_back",)

    @override
    def note(self, outgoing: Outgoing) -> Arrived:
        note = super().note(outgoing)
        return with_(note, text=f"{note.text} {outgoing.token}")


class QuestionsOnly(Faulty):
    """It tells nobody what became of a question."""

    caught_by = ("test_every_kind_of_message_is_sent",)

    @override
    async def send(self, outgoing: Outgoing) -> str:
        return await super().send(outgoing) if outgoing.delivery.kind == "request" else "dropped"


class BelievesHeaders(Faulty):
    """It takes lines of a message for headers."""

    caught_by = ("test_nothing_in_a_request_becomes_a_recipient",)

    @override
    def note(self, outgoing: Outgoing) -> Arrived:
        note = super().note(outgoing)
        lines = outgoing.request.message.splitlines()
        more = [line.removeprefix("Bcc: ") for line in lines if line.startswith("Bcc: ")]
        return with_(note, recipients=[*note.recipients, *more])


class Verbatim(Faulty):
    """It passes on what moves the cursor."""

    caught_by = ("test_nothing_in_a_request_becomes_a_recipient",)

    @override
    def note(self, outgoing: Outgoing) -> Arrived:
        return with_(super().note(outgoing), text=outgoing.request.message)


class Optimist(Faulty):
    """It does not say that it failed."""

    caught_by = ("test_what_was_not_sent_is_an_error",)

    @override
    async def send(self, outgoing: Outgoing) -> str:
        return "sent" if self.board.full else await super().send(outgoing)


class GivesUp(Faulty):
    """It says that trying again is pointless when it is not."""

    caught_by = ("test_what_was_not_sent_is_an_error",)

    @override
    async def send(self, outgoing: Outgoing) -> str:
        if self.board.full:
            raise NotifyError("the board is full", permanent=True)
        return await super().send(outgoing)


class Sulks(Faulty):
    """Once refused, it never tries again."""

    caught_by = ("test_what_was_not_sent_is_an_error",)

    refused = False

    @override
    async def send(self, outgoing: Outgoing) -> str:
        self.refused = self.refused or self.board.full
        if self.refused:
            raise NotifyError("no", permanent=False)
        return await super().send(outgoing)


class ClosedForGood(Faulty):
    """It cannot be used again once it was closed."""

    caught_by = (
        "test_a_closed_notifier_opens_again",
        "test_the_same_delivery_has_the_same_id_again",
    )

    closed = False

    @override
    async def send(self, outgoing: Outgoing) -> str:
        if self.closed:
            raise NotifyError("closed", permanent=False)
        return await super().send(outgoing)

    @override
    async def aclose(self) -> None:
        self.closed = True


class OneSlot(Faulty):
    """It keeps what it sends in one place, which others overwrite meanwhile."""

    caught_by = ("test_messages_at_the_same_time_do_not_mix",)

    slot: Outgoing

    @override
    async def send(self, outgoing: Outgoing) -> str:
        self.slot = outgoing
        await checkpoint()
        return await super().send(self.slot)


class Jams(Faulty):
    """It never gets over a cancel."""

    caught_by = ("test_a_cancelled_send_leaves_nothing_broken",)

    busy = False

    @override
    async def send(self, outgoing: Outgoing) -> str:
        if self.busy:
            raise NotifyError("busy", permanent=False)
        self.busy = True
        sent = await super().send(outgoing)
        self.busy = False
        return sent


FAULTS = Faulty.__subclasses__()


async def put_to_the_test(name: str, kind: type[Pin]) -> None:
    """Run one test of the contract on a new notifier, for each kind of message if it asks for one."""
    test = getattr(SUITE, name)
    wanted = inspect.signature(test).parameters
    for message in KINDS if "kind" in wanted else KINDS[:1]:
        board = Board()
        given = {
            "notifier": kind(board),
            "arrived": board.arrived,
            "refusing": board.refusing,
            "kind": message,
        }
        with anyio.fail_after(10):
            await test(**{key: given[key] for key in wanted})


@pytest.mark.parametrize("name", NAMES)
async def test_a_right_notifier_passes(name: str) -> None:
    """So what fails below fails because of the fault, not because of how it is called."""
    await put_to_the_test(name, Pin)


@pytest.mark.parametrize(
    ("fault", "name"),
    [(fault, name) for fault in FAULTS for name in fault.caught_by],
    ids=lambda value: getattr(value, "__name__", value),
)
async def test_a_fault_is_caught(fault: type[Faulty], name: str) -> None:
    """The named test of the contract fails on the faulty notifier."""
    with pytest.raises(SEEN):
        await put_to_the_test(name, fault)


def test_every_test_of_the_contract_is_seen_to_fail() -> None:
    """Each of them catches a fault above."""
    assert sorted({name for fault in FAULTS for name in fault.caught_by}) == NAMES


FORGETFUL = """
import pytest
from signoff.testing import NotifierContract

class TestForgetful(NotifierContract):
    async def test_a_notifier_says_who_it_is(self, {fixture}):
        pass
"""


class Reports:
    """A pytest plugin that keeps why tests failed."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep it."""
        if report.failed:
            self.told.append(report.longreprtext)


@pytest.mark.parametrize("fixture", ["notifier", "arrived", "refusing"])
def test_who_forgets_a_fixture_is_told(tmp_path: Path, fixture: str) -> None:
    """Each missing fixture says what it has to return, on both loops."""
    # Every run needs a module name of its own: pytest keeps what it has imported.
    path = tmp_path / f"{tmp_path.name}.py"
    path.write_text(FORGETFUL.format(fixture=fixture))
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    reports = Reports()
    plugins = [f"-pno:{name}" for name in ("cacheprovider", "randomly", "timeout")]
    options = ["--import-mode=importlib", f"--rootdir={tmp_path}", "-k", "says_who_it_is"]

    pytest.main([*plugins, *options, str(path)], plugins=[reports])

    assert len(reports.told) == 2
    for told in reports.told:
        assert f"override the fixture `{fixture}`: " in told
