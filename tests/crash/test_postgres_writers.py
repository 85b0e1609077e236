"""Processes that are killed while they commit to a server: what was acknowledged is there, nothing is half done."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final, cast

import anyio
import psycopg
import pytest
from psycopg import sql

from signoff.engines import procrastinate_jobs
from signoff.engines.procrastinate import ProcrastinateEngine
from signoff.model.audit import AuditEntry
from signoff.model.changes import Changes, Task
from signoff.stores.postgres import PostgresStore
from signoff.testing.builders import a_request, an_entry
from signoff.testing.store_contract.base import at_noon
from signoff.testing.store_contract.examples import FIRST, SECOND

ROUNDS: Final = 10
WRITERS: Final = 4
FIRST_ACKNOWLEDGED: Final = 7
DIED: Final = 9
TABLES: Final = (
    *("runs", "occurrences", "requests", "tokens", "deliveries", "signals", "claims"),
    *("audit", "handled", "marks", "key_checks", "tallies"),
)

TASKS: Final = tuple(Task(kind="advance", subject=f"run_{number}") for number in (1, 2))
"""The first of which is asked for before, so that its savepoint is rolled back."""


NEW: Final = {"'advance:run_2'", "'req_2'", "'dlv_2'", "'run:run_1'", "'imap:2'", "'other'", "'bb'"}
"""What the second commit adds, each in a table of its own, the jobs among them."""


def in_a_process(name: str, *arguments: str, seconds: float) -> dict[str, Any]:
    """Run one of the functions below in a process without threads, and return what it found."""
    done = subprocess.run(
        [sys.executable, "-W", "error", __file__, name, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.reliability
@pytest.mark.timeout(600)
def test_every_acknowledged_commit_survives_a_kill(postgres: str, postgres_schema: str) -> None:
    """Reliability 5: forty writers of a server are killed, four at a time; each commit is there whole, and none is missing."""
    found = in_a_process("kill_writers", postgres, postgres_schema, seconds=590)

    assert found["missing"] == []
    assert found["half"] == []
    assert found["acknowledged"] >= ROUNDS * WRITERS * FIRST_ACKNOWLEDGED


@pytest.fixture(name="jobs_schema")
def _jobs_schema(postgres: str, postgres_schema: str) -> Iterator[str]:
    """Yield the schema that the engine makes beside the store's."""
    name = f"{postgres_schema}_jobs"
    yield name
    with psycopg.connect(postgres, autocommit=True) as session:
        session.execute(f"DROP SCHEMA IF EXISTS {name} CASCADE".encode())


@pytest.mark.one_python
@pytest.mark.timeout(300)
def test_a_process_that_dies_at_any_statement_leaves_all_or_nothing(
    postgres: str, postgres_schema: str, jobs_schema: str
) -> None:
    """Reliability 7: before each statement of a commit with its jobs in turn: nothing of it is there, until it all is."""
    schemas = (postgres_schema, jobs_schema)
    found = in_a_process("die_at_each", postgres, *schemas, "whole", seconds=290)

    states = found["states"]
    assert len(states) > len(("BEGIN", "commit", "SAVEPOINT", "jobs", "ROLLBACK", "COMMIT"))
    assert states == ["old"] * (len(states) - 1) + ["new"]


@pytest.mark.one_python
@pytest.mark.timeout(300)
@pytest.mark.parametrize(("engine", "seen"), [("apart", "half"), ("careless", "never")])
def test_a_commit_that_is_not_whole_would_be_found(
    postgres: str, postgres_schema: str, jobs_schema: str, engine: str, seen: str
) -> None:
    """The control of one transaction and its savepoint: a death finds half of it, or a job that is there undoes all."""
    schemas = (postgres_schema, jobs_schema)
    found = in_a_process("die_at_each", postgres, *schemas, engine, seconds=290)

    assert seen in found["states"]


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


def kill_writers(address: str, schema: str) -> dict[str, object]:
    """Let some writers commit at once, and kill one after the other in the midst of it."""
    acknowledged: set[str] = set()
    for round_ in range(ROUNDS):
        writers = [Writer(address, schema, f"{round_}.{number}") for number in range(WRITERS)]
        for number, writer in enumerate(writers):
            acknowledged.update(writer.acknowledged(FIRST_ACKNOWLEDGED + round_ + number))
    with psycopg.connect(address) as session:
        session.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        session.execute(f"SET LOCAL search_path = {schema}".encode())
        handled = {key for (key,) in session.execute("SELECT key FROM handled")}
        entries = {f"{row[0]}:{row[1]}" for row in session.execute("SELECT stream, seq FROM audit")}
        requests = session.execute("SELECT request_id, version FROM requests")
        newest = {f"{request_id}:{version}" for request_id, version in requests}
    return {
        "acknowledged": len(acknowledged),
        "missing": sorted(acknowledged - handled),
        "half": sorted((handled ^ entries) | (newest - handled)),
    }


class Writer:
    """
    A child that commits until it is killed.

    Args:
        address: Of the server.
        schema: Where the store is.
        name: Of its request and its stream.
    """

    def __init__(self, address: str, schema: str, name: str) -> None:
        self._reading, told = os.pipe()
        self._pid = forked(partial(anyio.run, commit_for_ever, address, schema, name, told))
        os.close(told)

    def acknowledged(self, kill_after: int) -> Iterator[str]:
        """Yield what it was told is made, and kill it after some."""
        with os.fdopen(self._reading) as told:
            for count, line in enumerate(told, 1):
                if count == kill_after:
                    os.kill(self._pid, signal.SIGKILL)
                yield line.strip()
        assert os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1]) == -signal.SIGKILL


async def commit_for_ever(address: str, schema: str, name: str, told: int) -> None:
    """Commit, and tell of each commit that was acknowledged."""
    entry: AuditEntry | None = None
    async with PostgresStore(address, schema=schema) as store:
        while True:
            entry = an_entry(name, after=entry)
            key = f"{name}:{entry.seq}"
            request = a_request(name, version=entry.seq)
            await store.commit(Changes(handled=(key,), requests=(request,), audit=(entry,)))
            os.write(told, f"{key}\n".encode())


class Death:
    """
    What kills this process before one statement of many.

    Attributes:
        left: How many are let through; none is counted below zero.
    """

    left = -1

    def count(self) -> None:
        """Count a statement down, and die at zero."""
        if self.left == 0:
            os._exit(DIED)
        self.left -= 1

    def lie_in_wait(self) -> None:
        """Count every statement of psycopg, and every COMMIT."""
        execute, commit = psycopg.Cursor.execute, psycopg.Connection.commit

        def counted(cursor: psycopg.Cursor[Any], *given: Any, **options: Any) -> object:
            self.count()
            return execute(cursor, *given, **options)

        def counted_commit(connection: psycopg.Connection[Any]) -> None:
            self.count()
            commit(connection)

        psycopg.Cursor.execute = counted  # type: ignore[assignment, method-assign]  # a fault
        psycopg.Connection.commit = counted_commit  # type: ignore[assignment, method-assign]  # a fault


class Apart(ProcrastinateEngine):
    """It makes its jobs in a transaction that follows the commit's."""

    def submit_within(self, connection: object, tasks: Sequence[Task]) -> None:
        cast("psycopg.Connection[Any]", connection).execute("COMMIT; BEGIN")
        super().submit_within(connection, tasks)


class Careless(ProcrastinateEngine):
    """It takes its savepoint for granted."""

    def submit_within(self, connection: object, tasks: Sequence[Task]) -> None:
        procrastinate_jobs._UNDO = "SELECT"  # type: ignore[misc]  # a fault
        super().submit_within(connection, tasks)


ENGINES: Final = {"whole": ProcrastinateEngine, "apart": Apart, "careless": Careless}


async def commit(
    address: str, schema: str, changes: Changes, *, engine: str = "whole", left: int = -1
) -> None:
    """Make a commit whose tasks become jobs in the same transaction; die before a statement of it."""
    async with PostgresStore(address, schema=schema) as store:
        store.hand_tasks_to(ENGINES[engine]())
        await store.commit(Changes(handled=(f"warm {left}",), tasks=TASKS[:1]))
        ready = await at_noon(store, changes, has_server_clock=True)
        death = Death()
        death.lie_in_wait()
        death.left = left
        await store.commit(ready)
        if left >= 0:
            os._exit(0)


def die_at_each(address: str, schema: str, jobs: str, engine: str) -> dict[str, object]:
    """Let a child die before the first statement of a commit, another before the second, and so on."""

    def content() -> list[str]:
        with psycopg.connect(address) as session:
            waiting = session.execute(
                sql.SQL("SELECT queueing_lock FROM {}").format(
                    sql.Identifier(jobs, "procrastinate_jobs")
                )
            ).fetchall()
            rows = [
                row
                for table in TABLES
                for row in session.execute(
                    sql.SQL("SELECT * FROM {}").format(sql.Identifier(schema, table))
                )
                if not str(row[0]).startswith("warm")
            ]
        return sorted(map(repr, [*waiting, *rows]))

    anyio.run(commit, address, schema, FIRST)
    changes = replace(SECOND, tasks=TASKS)
    old = content()
    states: list[str] = []
    end = DIED
    while end == DIED:
        dying = partial(commit, address, schema, changes, engine=engine, left=len(states))
        child = forked(partial(anyio.run, dying))
        end = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        after = content()
        written = {what for what in NEW if any(what in row for row in after)}
        states.append("old" if after == old else "new" if written == NEW else "half")
    return {"states": states if end == 0 else [*states, "never"]}


if __name__ == "__main__":
    print(json.dumps(globals()[sys.argv[1]](*sys.argv[2:])))  # noqa: T201 - how the test is told
