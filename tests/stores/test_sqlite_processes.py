"""A SQLiteStore's file among real processes: shared, killed, forked, and with an unwilling system."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import anyio
import pytest
from typing_extensions import override

from signoff.errors import ConfigurationError, StaleWriteError, StoreUnavailableError
from signoff.model.audit import AuditEntry
from signoff.model.changes import Changes, Claim
from signoff.stores.lease_clock import LeaseClock
from signoff.stores.sqlite import SQLiteStore
from signoff.testing.builders import a_request, an_acquire, an_entry, writing
from signoff.testing.store_contract.base import SetClock
from signoff.testing.store_contract.examples import FIRST, SECOND

KILLS = 40
WORKERS = 4
NOBODY = 65534
UNFAIR = timedelta(seconds=40)
"""How long a process may wait for the others: SQLite gives no turns."""


@pytest.fixture(name="path")
def _path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the path of a database on a real disk."""
    return tmp_path_factory.mktemp("processes") / "signoff.db"


def in_a_process(name: str, path: Path) -> dict[str, object]:
    """Run one of the functions below in a process without threads, and return what it found."""
    done = subprocess.run(
        [sys.executable, "-W", "error", __file__, name, str(path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = json.loads(done.stdout)
    return found


def test_every_acknowledged_commit_survives_a_kill(path: Path) -> None:
    """Reliability 5: forty writers are killed while they commit; each commit is there whole, and none is missing."""
    found = in_a_process("kill_writers", path)

    assert found["missing"] == []
    assert found["half"] == []
    assert found["integrity"] == "ok"
    assert isinstance(found["acknowledged"], int)
    assert found["acknowledged"] >= KILLS * 8


def test_a_process_that_dies_at_any_statement_leaves_all_or_nothing(path: Path) -> None:
    """Reliability 7: before each statement of a commit in turn: nothing of it is there, until it all is."""
    found = in_a_process("die_at_each_statement", path)

    states = found["states"]
    assert isinstance(states, list)
    assert len(states) > 30
    assert states == ["old"] * (len(states) - 1) + ["new"]


def test_processes_that_write_one_file_lose_nothing(path: Path) -> None:
    """Four processes at once, each with its own commits and all of them after one version."""
    found = in_a_process("share_a_file", path)

    assert found == {"handled": WORKERS * 40, "version": 1 + WORKERS * 10, "integrity": "ok"}


def test_processes_that_make_one_file_all_find_it_made(path: Path) -> None:
    """Four processes open a new file at the same moment, and each can commit."""
    found = in_a_process("make_a_file", path)

    assert found == {"handled": WORKERS, "integrity": "ok"}


def test_a_claim_of_one_process_holds_in_another(path: Path) -> None:
    """The lease of a process that has died without a word runs on; after a reboot it is dead."""
    found = in_a_process("claim_and_die", path)

    assert found == {"live": True, "taken": False, "live after a reboot": False, "taken then": True}


def test_a_store_is_not_used_after_a_fork(path: Path) -> None:
    """Its threads stayed in the parent: the child is told, the parent goes on."""
    found = in_a_process("fork_while_open", path)

    assert found == {"child": "ConfigurationError", "parent": True}


def test_a_read_only_file_is_said_to_be_read_only(path: Path) -> None:
    """Reliability fault: read-only file. For a user who may read it but not write it, or not its folder; made writable, it is opened."""
    found = in_a_process("open_read_only", path)

    for what in ("file", "folder"):
        assert "it is read-only; make writable for this user: the file, its" in str(found[what])
    assert found["opened after"] is True


def test_a_file_that_may_not_grow_loses_nothing(path: Path) -> None:
    """Reliability fault: full disk. At the system's limit commits fail, and are made once the limit is raised."""
    found = in_a_process("meet_a_limit", path)

    assert found == {"failed": True, "lost": [], "made after": True, "integrity": "ok"}


def forked(work: Callable[[], None]) -> int:
    """Do `work` in a child, and return its process id."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        except BaseException:  # noqa: BLE001 - a child must never return from here
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return pid


def all_forked(work: Callable[[int], None]) -> None:
    """Do `work` in several children that begin at the same moment; each must succeed."""
    ready, go = os.pipe()

    def wait_and_work(number: int) -> None:
        os.close(go)
        os.read(ready, 1)
        work(number)

    children = [forked(partial(wait_and_work, number)) for number in range(WORKERS)]
    os.close(go)
    for child in children:
        assert os.waitpid(child, 0)[1] == 0


def ask(path: str, statement: str) -> list[tuple[object, ...]]:
    """Ask the file as another program does."""
    with closing(sqlite3.connect(path)) as file:
        return file.execute(statement).fetchall()


def integrity(path: str) -> object:
    """Return what SQLite says about the file."""
    return ask(path, "PRAGMA integrity_check")[0][0]


def kill_writers(path: str) -> dict[str, object]:
    """Kill one writer after another while it commits."""
    acknowledged: set[str] = set()
    for number in range(KILLS):
        acknowledged.update(acknowledged_by_a_killed_writer(path, number))
    handled = {key for (key,) in ask(path, "SELECT key FROM handled")}
    entries = {f"{stream}:{seq}" for stream, seq in ask(path, "SELECT stream, seq FROM audit")}
    requests = ask(path, "SELECT request_id, version FROM requests")
    newest = {f"{request_id}:{version}" for request_id, version in requests}
    return {
        "acknowledged": len(acknowledged),
        "missing": sorted(acknowledged - handled),
        "half": sorted(str(key) for key in (handled ^ entries) | (newest - handled)),
        "integrity": integrity(path),
    }


def acknowledged_by_a_killed_writer(path: str, number: int) -> Iterator[str]:
    """Let a child commit, kill it after some commits, and yield all that it was told are made."""
    reading, writing_end = os.pipe()

    def write() -> None:
        os.close(reading)
        anyio.run(commit_for_ever, path, number, writing_end)

    child = forked(write)
    os.close(writing_end)
    with os.fdopen(reading) as told:
        for count, line in enumerate(told):
            if count == 7 + number:
                os.kill(child, signal.SIGKILL)
            yield line.strip()
    os.waitpid(child, 0)


async def commit_for_ever(path: str, number: int, told: int) -> None:
    """Commit from three tasks, and tell of each commit that was acknowledged."""

    async def commit(store: SQLiteStore, name: str) -> None:
        entry: AuditEntry | None = None
        while True:
            entry = an_entry(name, after=entry)
            key = f"{name}:{entry.seq}"
            request = a_request(name, version=entry.seq)
            await store.commit(Changes(handled=(key,), requests=(request,), audit=(entry,)))
            os.write(told, f"{key}\n".encode())

    async with SQLiteStore(path) as store, anyio.create_task_group() as group:
        for task in range(3):
            group.start_soon(commit, store, f"{number}.{task}")


class Dies(sqlite3.Connection):
    """A connection whose process dies before one statement of many."""

    left: ClassVar[int] = -1

    @override
    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        """Count down, and die at zero."""
        if Dies.left == 0:
            os._exit(9)
        Dies.left -= 1
        return super().execute(sql, parameters)

    @override
    def executemany(self, sql: str, parameters: Any, /) -> sqlite3.Cursor:
        """Run one after the other, each of them counted."""
        cursor = self.cursor()
        for row in parameters:
            cursor = self.execute(sql, row)
        return cursor


def die_at_each_statement(path: str) -> dict[str, object]:
    """Let a child die before the first statement of a commit, another before the second, and so on."""

    async def commit(file: str, changes: Changes, left: int = -1) -> None:
        store = SQLiteStore(file, lease_clock=lambda: 1.0)
        store.use_clock(SetClock())
        store._connection_class = Dies
        async with store:
            await store.counts()
            Dies.left = left
            await store.commit(changes)
            if left >= 0:
                os._exit(0)

    def content(file: str) -> list[str]:
        with closing(sqlite3.connect(file)) as opened:
            return list(opened.iterdump())

    anyio.run(commit, path, FIRST)
    anyio.run(commit, shutil.copy(path, f"{path}.new"), SECOND)
    known = {"old": content(path), "new": content(f"{path}.new")}
    states: list[str] = []
    died = True
    while died:
        file = shutil.copy(path, f"{path}.{len(states)}")
        child = forked(partial(anyio.run, commit, file, SECOND, len(states)))
        died = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
        states.extend(name for name, lines in known.items() if lines == content(file))
    return {"states": states}


def share_a_file(path: str) -> dict[str, object]:
    """Let several processes write one file."""

    async def make() -> None:
        async with SQLiteStore(path) as store:
            await store.commit(writing(a_request()))

    async def write(number: int) -> None:
        store = SQLiteStore(path, busy_timeout=UNFAIR)
        async with store, anyio.create_task_group() as group:
            for count in range(40):
                group.start_soon(store.commit, Changes(handled=(f"{number}:{count}",)))
            made = 0
            while made < 10:
                version = (await store.request("req_1")).version + 1
                with suppress(StaleWriteError):
                    await store.commit(writing(a_request(version=version)))
                    made += 1

    anyio.run(make)
    all_forked(lambda number: anyio.run(write, number))
    return {
        "handled": ask(path, "SELECT count(*) FROM handled")[0][0],
        "version": ask(path, "SELECT version FROM requests")[0][0],
        "integrity": integrity(path),
    }


def make_a_file(path: str) -> dict[str, object]:
    """Let several processes open a new file at once."""

    async def make(number: int) -> None:
        async with SQLiteStore(path, busy_timeout=UNFAIR) as store:
            await store.commit(Changes(handled=(f"{number}",)))

    all_forked(lambda number: anyio.run(make, number))
    return {
        "handled": ask(path, "SELECT count(*) FROM handled")[0][0],
        "integrity": integrity(path),
    }


def claim_and_die(path: str) -> dict[str, object]:
    """Take a claim in a child that dies at once, and look at it from here."""

    async def take() -> None:
        async with SQLiteStore(path) as store:
            await store.commit(Changes(claims=(an_acquire(),)))
            os._exit(0)

    async def can_take(store: SQLiteStore) -> bool:
        with suppress(StaleWriteError):
            await store.commit(Changes(claims=(an_acquire(holder="bob", fencing=2),)))
            return True
        return False

    async def look() -> dict[str, object]:
        found: dict[str, object] = {}
        store = SQLiteStore(path)
        async with store:
            claim = await store.claim("run_1")
            assert isinstance(claim, Claim)
            found["live"] = claim.live
            found["taken"] = await can_take(store)
        store._lease_clock = LeaseClock("the next boot", lambda: 1.0)
        async with store:
            found["live after a reboot"] = bool(await store.live_claims(""))
            found["taken then"] = await can_take(store)
        return found

    os.waitpid(forked(lambda: anyio.run(take)), 0)
    return anyio.run(look)


def fork_while_open(path: str) -> dict[str, object]:
    """Fork while a store is open, and use it in both."""

    async def use() -> dict[str, object]:
        async with SQLiteStore(path) as store:
            pid = os.fork()
            if pid == 0:
                try:
                    await store.commit(Changes(handled=("child",)))
                except ConfigurationError:
                    os._exit(7)
                os._exit(1)
            _, status = os.waitpid(pid, 0)  # noqa: ASYNC222 - nobody else runs here
            await store.commit(Changes(handled=("parent",)))
            return {
                "child": "ConfigurationError" if os.waitstatus_to_exitcode(status) == 7 else "",
                "parent": await store.was_handled("parent"),
            }

    return anyio.run(use)


def open_read_only(path: str) -> dict[str, object]:
    """Open a file without the right to write, as somebody whom permissions bind."""

    async def open_it(file: str | Path) -> str:
        try:
            async with SQLiteStore(file) as store:
                await store.commit(Changes())
        except StoreUnavailableError as error:
            return str(error)
        return ""

    # Before anything is given up: the interpreter itself may lie where only root may read.
    assert anyio.run(open_it, path) == ""
    folder = Path(tempfile.mkdtemp())
    file = folder / "signoff.db"
    if os.geteuid() == 0:
        os.chown(folder, NOBODY, NOBODY)
        os.setuid(NOBODY)
    assert anyio.run(open_it, file) == ""
    file.chmod(0o444)
    of_file = anyio.run(open_it, file)
    file.chmod(0o644)
    for leftover in folder.glob("signoff.db-*"):
        leftover.unlink()
    folder.chmod(0o555)
    of_folder = anyio.run(open_it, file)
    folder.chmod(0o755)
    opened = anyio.run(open_it, file) == ""
    shutil.rmtree(folder)
    return {
        "file": of_file,
        "folder": of_folder,
        "opened after": opened,
    }


def meet_a_limit(path: str) -> dict[str, object]:
    """Commit until a file of this process may not grow any more, then raise that limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    async def commit() -> dict[str, object]:
        made: list[str] = []
        failed = False
        async with SQLiteStore(path) as store:
            resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, hard))
            for number in range(60):
                request = a_request(f"req_{number}", message="x" * 20_000)
                try:
                    await store.commit(writing(request))
                    made.append(request.request_id)
                except StoreUnavailableError:
                    failed = True
            resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
            await store.commit(writing(a_request("req_after")))
        found = {request_id for (request_id,) in ask(path, "SELECT request_id FROM requests")}
        return {
            "failed": failed,
            "lost": sorted(set(made) - found),
            "made after": "req_after" in found,
            "integrity": integrity(path),
        }

    return anyio.run(commit)


if __name__ == "__main__":
    print(json.dumps(globals()[sys.argv[1]](sys.argv[2])))  # noqa: T201 - how the test is told
