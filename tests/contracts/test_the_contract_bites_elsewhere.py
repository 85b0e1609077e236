"""Every test of the store contract that starts another process can fail, on a store that is wrong there."""

from __future__ import annotations

import importlib
import io
import json
import sys
from pathlib import Path

import pytest

from signoff.stores import MemoryStore, SQLiteStore
from signoff.testing import StoreContract
from signoff.testing.store_contract import Capability, OtherProcess
from signoff.testing.store_contract.peer import serve
from signoff.testing.store_contract.processes import ProcessesContract

pytestmark = pytest.mark.one_python

NAMES = sorted(name for name in vars(ProcessesContract) if name.startswith("test_"))
WRONG = {
    "OnItsOwn": "test_another_process_sees_what_was_committed",
    "Pushes": "test_another_process_is_held_to_the_same_checks",
    "LocksForItsLife": "test_a_claim_outlives_the_process_that_took_it",
    "SpeaksTooSoon": "test_an_acknowledged_commit_outlives_its_process",
    "RemembersMessages": "test_an_acknowledged_commit_outlives_its_process",
}
"""Which test catches which store of `wrong_elsewhere.py`."""


class Shared(StoreContract):
    """The contract of a store that lasts and is shared."""

    capabilities = StoreContract.BASE | {Capability.DURABLE, Capability.SHARED}
    __test__ = False


@pytest.fixture(autouse=True)
def _find_the_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the other process find the wrong stores where this one does."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))


async def put_to_the_test(name: str, path: Path, store: str) -> None:
    """Run one test of the contract; the other process has the store of that name."""
    other = OtherProcess(store=store, arguments={"path": str(path)})
    async with SQLiteStore(path) as opened:
        await getattr(Shared(), name)(opened, other)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("wrong", WRONG)
async def test_a_wrong_store_is_caught(tmp_path: Path, wrong: str) -> None:
    """The named test fails; the contract of `SQLiteStore` shows that a right store passes."""
    with pytest.raises(AssertionError):
        await put_to_the_test(WRONG[wrong], tmp_path / "signoff.db", f"wrong_elsewhere:{wrong}")


def test_every_test_that_starts_a_process_is_seen_to_fail() -> None:
    """Each of them catches a store above, and each wrong store is put to the test."""
    module = importlib.import_module("wrong_elsewhere")

    assert sorted(set(WRONG.values())) == NAMES
    assert {one.__name__ for one in module.Wrong.__subclasses__()} == set(WRONG)


async def test_the_hook_is_there_exactly_if_the_store_is_shared(tmp_path: Path) -> None:
    """Declared and missing fails; there and not declared fails too."""
    name = "test_another_process_sees_what_was_committed"
    other = OtherProcess(store="signoff.stores:MemoryStore")
    for suite, hook in ((Shared(), None), (StoreContract(), other)):
        with pytest.raises(AssertionError):
            await getattr(suite, name)(MemoryStore(), hook)


@pytest.mark.parametrize("name", NAMES)
async def test_a_store_of_one_process_passes(name: str) -> None:
    """There is nothing to be seen from another one."""
    await getattr(StoreContract(), name)(MemoryStore(), None)


class Pipe(io.StringIO):
    """Takes some lines, and then breaks."""

    def __init__(self, lines: int) -> None:
        super().__init__()
        self._lines = lines

    def write(self, text: str, /) -> int:
        if not self._lines:
            raise BrokenPipeError
        self._lines -= 1
        return super().write(text)


ACTS = "look\ntake\ntake\ngo on\nbreak\nwrite\n"


def test_the_other_process_does_what_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here, where it can be watched: with an answer for each line, until nobody listens."""
    said = Pipe(5 + 3)
    monkeypatch.setattr(sys, "stdin", io.StringIO(ACTS))
    monkeypatch.setattr(sys, "stdout", said)

    with pytest.raises(BrokenPipeError):
        serve(
            store="signoff.stores:SQLiteStore",
            arguments={"path": str(tmp_path / "signoff.db")},
            has_server_clock=False,
        )

    look, *rest = [json.loads(line) for line in said.getvalue().splitlines()]
    assert (look["runs"], look["requests"], look["handled"]) == ([], [], [False, False])
    assert rest[:3] == ["made", "refused", "refused"]
    assert set(rest[3].values()) == {"refused"}
    assert rest[4:] == [1, 2, 3]


def test_the_other_process_ends_when_there_is_nothing_more_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It says nothing of itself."""
    monkeypatch.setattr(sys, "stdin", io.StringIO())

    serve(store="signoff.stores:MemoryStore", arguments={}, has_server_clock=True)

    assert capsys.readouterr().out == ""
