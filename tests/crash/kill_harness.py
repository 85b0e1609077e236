"""
Workers of one store, killed with SIGKILL in the phase that a seed names, again and again.

    python tests/crash/kill_harness.py --kills 200 --seed 1
    python tests/crash/kill_harness.py --kills 200 --seed 1 --server postgresql://... --schema kills

This process has no threads: it forks the workers and one office, hears from each worker by a
socket where it is, and lets it go on, kills it there, stops it there, or holds it. A worker that
waits for leave waits with its whole event loop. The office starts runs and answers the requests
that were sent to it, each three times. What a run does to the world is a line in a file that is synced.

At the end every run has ended, no line is there twice, each call in doubt was asked about once
for each attempt, and no worker whose claim another one took has written anything.
"""

from __future__ import annotations

import argparse
import importlib
import json
import logging
import os
import random
import selectors
import signal
import socket
import sqlite3
import sys
import time
import traceback
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, NoReturn, TypeAlias, cast

import anyio
import psycopg
import trio  # noqa: F401 - as above
from typing_extensions import override

import signoff.assembly  # noqa: F401 - imported before the forks, so that a worker starts at once
from signoff import (
    Client,
    Flow,
    HumanFeedbackResult,
    human_feedback,
    listen,
    require_approval,
    start,
)
from signoff.context import current_scope
from signoff.engines.local import LocalEngine
from signoff.errors import ApprovalCancelled, DecisionError
from signoff.flows.attempt import Attempt
from signoff.model.changes import Changes, Release, Task
from signoff.model.request import Request
from signoff.ports import Engine, Notifier, Outgoing, Store
from signoff.security.keyring import Keyring
from signoff.stores.postgres import PostgresStore
from signoff.stores.sqlite import SQLiteStore

PHASES: Final = {
    "step": "step body",
    "effect": "effect body",
    "after": "after the effect before its record",
    "send": "outbox send",
    "sent": "outbox send",
    "resume": "resume",
}
"""What a worker says, and what that is called in the table."""

UP: Final = "up"
"""What a worker says when it serves."""

ELSEWHERE: Final = "elsewhere"
"""A kill at an instant that no phase names."""

KINDS: Final = tuple(dict.fromkeys(PHASES.values()))
REVIEWER: Final = "cfo@acme.example"
KEYS: Final = Keyring.generate()
BACKENDS: Final = {"local": ("asyncio", "trio"), "procrastinate": ("asyncio", "asyncio")}
SWEEP_SECONDS: Final = 0.1
PATIENCE_SECONDS: Final = 60.0
"""How long the harness waits for what must come."""
SLOWEST_SECONDS: Final = 2.0
"""How long a lease is made at the most where it takes longer to open a store."""
_PROGRESS: Final = (
    "SELECT coalesce(sum(n) FILTER (WHERE kind = 'run'"
    " AND status IN ('completed', 'failed', 'cancelled')), 0),"
    " coalesce(sum(n) FILTER (WHERE kind = 'delivery' AND status IN ('waiting', 'sending')), 0)"
    " FROM tallies"
)


# What the workers run.


class Stage:
    """
    Where a worker says what it is about to do, and waits for leave.

    Attributes:
        folder: Where the files are.
        line: The way to the harness.
    """

    folder: Path
    line: socket.socket

    def reach(self, phase: str, subject: str) -> None:
        """Say so, and wait; whoever is killed here is killed in this phase."""
        self.line.sendall(f"{phase} {subject}\n".encode())
        if not self.line.recv(1):
            os._exit(1)

    def write(self, name: str, text: str) -> None:
        """Append a line to a file, and sync it."""
        file = os.open(self.folder / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.write(file, f"{text}\n".encode())
        os.fsync(file)
        os.close(file)

    def lines(self, name: str) -> list[str]:
        """Return the lines of a file."""
        path = self.folder / name
        return path.read_text().splitlines() if path.exists() else []


STAGE: Final = Stage()


@require_approval(name="kill.pay", assignees=[REVIEWER])
async def pay(invoice: str) -> str:
    """Do to the world what must not be done twice."""
    STAGE.write("attempts", f"{invoice} {os.getpid()}")
    STAGE.reach("effect", invoice)
    STAGE.write("effects", invoice)
    STAGE.reach("after", invoice)
    return f"paid {invoice}"


class Order(Flow, name="kill.order"):
    """A gate on a step, and a gated call in the next one."""

    @start()
    @human_feedback("Order?", emit=["approved", "rejected"], assign_to_email=REVIEWER)
    async def draft(self) -> str:
        """Begin."""
        STAGE.reach("step", self.flow_id)
        return self.flow_id

    @listen("approved")
    async def buy(self, result: HumanFeedbackResult) -> str:
        """Make the gated call, in the first pass and in every replay."""
        STAGE.reach("resume" if _is_replay() else "step", self.flow_id)
        try:
            return await pay(str(result.output))
        except ApprovalCancelled:
            return "abandoned"

    @listen(buy)
    async def close(self, receipt: str) -> str:
        """End."""
        STAGE.reach("step", self.flow_id)
        return receipt


def _is_replay() -> bool:
    attempt = cast("Attempt", current_scope.get())
    return bool(attempt.session.journal[attempt.occurrence_id].calls)


class Postman(Notifier):
    """Brings each message to the office."""

    def __init__(self) -> None:
        self.name = "post"
        self.expects_reply = False

    @override
    def reaches(self, recipient: str) -> bool:
        return True

    @override
    async def send(self, outgoing: Outgoing) -> str:
        delivery_id = outgoing.delivery.delivery_id
        STAGE.reach("send", delivery_id)
        STAGE.write("sent", delivery_id)
        STAGE.reach("sent", f"{delivery_id} {outgoing.request.request_id}")
        return f"<{delivery_id}@post>"

    @override
    async def aclose(self) -> None:
        """Do nothing."""


class Eager(LocalEngine):
    """Sweeps more often than a server in earnest, so that a lapsed lease is seen soon."""

    @override
    async def serve(
        self,
        handle: Callable[[Task], Any],
        *,
        sweep: Callable[[], Any],
        every_seconds: float,
    ) -> None:
        await super().serve(handle, sweep=sweep, every_seconds=SWEEP_SECONDS)


def engine_of(orders: Orders) -> Engine:
    """Return the engine as each process makes it."""
    if orders.engine == "local":
        return Eager()
    jobs: Any = importlib.import_module("signoff.engines.procrastinate").ProcrastinateEngine

    class EagerJobs(jobs):  # type: ignore[misc]  # it may not be installed
        """Sweeps more often, yet seldom enough for jobs to be what runs most."""

        async def serve(self, handle: object, *, sweep: object, every_seconds: float) -> None:
            await super().serve(handle, sweep=sweep, every_seconds=10 * SWEEP_SECONDS)

    engine: Engine = EagerJobs(dead_after=timedelta(seconds=orders.lease_seconds))
    return engine


def honest(changes: Changes) -> Changes:
    """Commit what is to be committed."""
    return changes


def unfenced(changes: Changes) -> Changes:
    """Do not ask who holds the claim. For the negative control."""
    return replace(changes, fences=())


def leaseless(changes: Changes) -> Changes:
    """Let leases run out at once. For the negative control."""
    fences = tuple(replace(fence, remaining=None) for fence in changes.fences)
    claims = tuple(
        one if isinstance(one, Release) else replace(one, lease=timedelta(0))
        for one in changes.claims
    )
    return replace(changes, fences=fences, claims=claims)


STORES: Final = {"honest": honest, "unfenced": unfenced, "leaseless": leaseless}
"""What a store makes of a commit."""


class File(SQLiteStore):
    """A store in a file."""

    bend: Callable[[Changes], Changes]

    @override
    async def commit(self, changes: Changes) -> None:
        await super().commit(self.bend(changes))


class Schema(PostgresStore):
    """A store on a server."""

    bend: Callable[[Changes], Changes]

    @override
    async def commit(self, changes: Changes) -> None:
        await super().commit(self.bend(changes))


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """
    What the harness is to do.

    Attributes:
        kills: How many workers to kill.
        freezes: How many to stop past their lease and wake again.
        holds: How many to keep in an effect for longer than the lease.
        runs: How many runs to start at the least.
        workers: How many serve at once.
        in_flight: How many runs are open at once.
        seed: What names the phases.
        store: Which of `STORES`.
        server: The address of a PostgreSQL server; without it the store is a file.
        schema: Where the store is on it.
        engine: `local`, or `procrastinate` on a server.
        hasty: Whether the reviewer answers what is in doubt without asking whether the
            executor is still at it.
        lease_seconds: How long a claim lasts, on a machine that is not busy.
        pace: How often workers may go on between two disturbances, at the least.
    """

    kills: int = 200
    freezes: int = 5
    holds: int = 0
    runs: int = 0
    workers: int = 3
    in_flight: int = 16
    seed: int = 1
    store: str = "honest"
    server: str = ""
    schema: str = "signoff"
    engine: str = "local"
    hasty: bool = False
    lease_seconds: float = 1.0
    pace: int = 8


def store_of(orders: Orders, folder: Path) -> Store:
    """Return the store as each process makes it."""
    store = (
        Schema(orders.server, schema=orders.schema, connections=4)
        if orders.server
        else File(folder / "signoff.db")
    )
    store.bend = STORES[orders.store]
    return store


def client_of(orders: Orders, folder: Path) -> Client:
    """Return a client as each process makes it."""
    return Client(
        store_of(orders, folder),
        notifiers=[Postman()],
        keyring=KEYS,
        engine=engine_of(orders),
        lease=timedelta(seconds=orders.lease_seconds),
    )


async def found(orders: Orders, folder: Path) -> None:
    """Make the database."""
    async with client_of(orders, folder):
        pass


async def work(orders: Orders, folder: Path) -> None:
    """Serve until killed."""
    async with client_of(orders, folder) as client, client.serving():
        STAGE.line.sendall(f"{UP}\n".encode())
        while True:
            await anyio.wait_readable(STAGE.line)
            if not STAGE.line.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT):
                return


# The office.


class Office:
    """Starts runs and answers requests, as the harness says."""

    def __init__(self, orders: Orders, client: Client) -> None:
        self._orders = orders
        self._client = client
        self._chance = random.Random(orders.seed)
        self._later: list[str] = []

    async def serve(self) -> None:
        """Do what is said until there is nobody any more to say it."""
        STAGE.line.setblocking(False)
        heard = b""
        while True:
            with anyio.move_on_after(SWEEP_SECONDS) as waiting:
                await anyio.wait_readable(STAGE.line)
            if not waiting.cancelled_caught:
                read = STAGE.line.recv(65536)
                if not read:
                    return
                *lines, heard = (heard + read).split(b"\n")
                for line in lines:
                    await self._do(*line.decode().split())
            later, self._later = self._later, []
            for request_id in later:
                await self._answer(request_id)

    async def _do(self, what: str, request_id: str = "") -> None:
        if what == "start":
            await self._client.flows.start(Order, requester="agent-7")
        else:
            await self._answer(request_id)

    async def _answer(self, request_id: str) -> None:
        request = await self._client.hitl.get_request(request_id)
        if request.status != "pending":
            return
        outcome = "approved" if request.kind != "in_doubt" else self._found_out(request)
        if not outcome:
            self._later.append(request_id)
            return
        happened = outcome == "happened"
        for _ in range(3):
            with suppress(DecisionError):
                await self._client.hitl.respond(
                    request_id=request_id,
                    outcome=outcome,
                    payload=f"paid {_invoice_of(request)}" if happened else None,
                    reviewer=REVIEWER,
                )

    def _found_out(self, request: Request) -> str:
        """Return what became of a call, or nothing while somebody is still at it."""
        invoice = _invoice_of(request)
        if invoice in STAGE.lines("effects"):
            return "happened"
        tried = [line.split() for line in STAGE.lines("attempts")]
        at_it = [int(pid) for name, pid in tried if name == invoice][-1:]
        if any(map(_lives, at_it)) and not self._orders.hasty:
            return ""
        may_repeat = "run_again" in request.options
        return "run_again" if may_repeat and self._chance.random() < 0.8 else "abandon"


def _invoice_of(request: Request) -> str:
    return str(cast("dict[str, object]", request.payload)["invoice"])


def _lives(pid: int) -> bool:
    with suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


async def keep_office(orders: Orders, folder: Path) -> None:
    """Be the office."""
    async with client_of(orders, folder) as client:
        await Office(orders, client).serve()


# The harness.


@dataclass(slots=True, eq=False)
class Child:
    """
    A process that the harness has forked.

    Attributes:
        pid: Its id.
        line: The way to it.
        is_up: Whether it serves, if it is a worker.
    """

    pid: int
    line: socket.socket
    is_up: bool = False
    _begun: bytes = b""

    def go(self) -> None:
        """Let it go on."""
        self.line.sendall(b".")

    def tell(self, text: str) -> None:
        """Say something to it."""
        self.line.sendall(f"{text}\n".encode())

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)

    def hear(self) -> list[tuple[str, str]]:
        """Return what it has said meanwhile: a phase, and of what."""
        with suppress(BlockingIOError, ConnectionResetError):
            self._begun += self.line.recv(65536)
        *lines, self._begun = self._begun.split(b"\n")
        parts = (line.decode().partition(" ") for line in lines)
        return [(phase, subject) for phase, _, subject in parts]


@dataclass(slots=True, kw_only=True)
class Report:
    """
    What the harness saw.

    Attributes:
        seed: What named the phases.
        kills: How many workers were killed, by phase.
        freezes: How many were stopped and woken.
        holds: How many were held.
        runs: How many runs there were.
        effects: How many lines there were.
        in_doubt: How many requests asked what became of a call.
        unknown: How many attempts at deliveries ended with their sender.
        seconds: How long it took.
        violations: What must not be.
    """

    seed: int
    kills: dict[str, int]
    freezes: int = 0
    holds: int = 0
    runs: int = 0
    effects: int = 0
    in_doubt: int = 0
    unknown: int = 0
    seconds: float = 0.0
    violations: list[str] = field(default_factory=list[str])


class HarnessError(Exception):
    """Raised when something does not come that must come."""


Said: TypeAlias = "tuple[Child, str, str]"
"""A worker that waits for leave, the phase that it is in, and of what."""

Disturbance: TypeAlias = "Callable[[Child, str, str], bool]"
"""Does something to a worker that waits, if it is where that is to be done; says whether it did."""


class Harness:
    """Forks, listens, and decides who may go on."""

    def __init__(self, orders: Orders, folder: Path) -> None:
        self.report = Report(seed=orders.seed, kills=dict.fromkeys((*KINDS, ELSEWHERE), 0))
        self._orders = orders
        self._path = folder / "signoff.db"
        self._chance = random.Random(orders.seed)
        self._selector = selectors.DefaultSelector()
        self._office: Child | None = None
        self._workers: list[Child] = []
        self._said: deque[Said] = deque()
        self._plan = self._drawn()
        self._killed: Counter[tuple[str, str]] = Counter()
        self._asked = 0
        self._passed = 0
        STAGE.folder = folder

    def run(self) -> Report:
        """Do all of it, and return what was seen."""
        began = time.monotonic()
        os.waitpid(self._forked(found).pid, 0)
        # On a machine that is this slow a shorter lease is lost by workers that are well.
        slow = min(time.monotonic() - began, SLOWEST_SECONDS)
        self._orders = replace(self._orders, lease_seconds=max(self._orders.lease_seconds, slow))
        self._office = self._forked(keep_office)
        self._workers = [self._forked(work) for _ in range(self._orders.workers)]
        try:
            self._serve()
        except HarnessError as error:
            self.report.violations.append(str(error))
        finally:
            for child in (*self._workers, self._office):
                child.signal(signal.SIGKILL)
                os.waitpid(child.pid, 0)
        self._examine()
        self.report.seconds = round(time.monotonic() - began, 1)
        return self.report

    # What is done to the workers.

    def _drawn(self) -> list[Disturbance]:
        """Return what is to be done, in the order that the seed gives."""
        orders = self._orders
        elsewhere = orders.kills // 10
        plan: list[Disturbance] = [
            *(
                partial(self._kill_in, KINDS[n % len(KINDS)])
                for n in range(orders.kills - elsewhere)
            ),
            *[self._kill_elsewhere] * elsewhere,
            *[self._freeze] * orders.freezes,
            *[self._hold] * orders.holds,
        ]
        self._chance.shuffle(plan)
        return plan

    def _serve(self) -> None:
        """Disturb the workers as planned; then let everything come to its end."""
        until = time.monotonic() + PATIENCE_SECONDS
        while self._busy():
            said = self._next(time.monotonic() + SWEEP_SECONDS)
            if said is not None and not self._disturbed(*said):
                said[0].go()
                self._passed += 1
            if self._passed == 0:
                until = time.monotonic() + PATIENCE_SECONDS
            if time.monotonic() > until:
                raise HarnessError(
                    f"nothing moves any more; {len(self._plan)} disturbances to come"
                )

    def _disturbed(self, child: Child, phase: str, subject: str) -> bool:
        if not self._plan or self._passed < self._orders.pace:
            return False
        # Else the only one that is up would have all the runs, and be killed before it is at most.
        if not all(worker.is_up for worker in self._workers):
            return False
        if not self._plan[-1](child, phase, subject):
            return False
        self._plan.pop()
        self._passed = 0
        return True

    def _kill_in(self, kind: str, child: Child, phase: str, subject: str) -> bool:
        """Kill a worker in a phase."""
        if PHASES[phase] != kind:
            return False
        self._kill(child)
        self._killed[phase, subject.split(maxsplit=1)[0]] += 1
        self.report.kills[kind] += 1
        return True

    def _kill_elsewhere(self, child: Child, _phase: str, _subject: str) -> bool:
        """Let a worker go on, and kill it a moment later, wherever it is then."""
        child.go()
        self._let_all_go_on(self._chance.uniform(0, 0.005))
        self._kill(child)
        self.report.kills[ELSEWHERE] += 1
        return True

    def _freeze(self, child: Child, phase: str, subject: str) -> bool:
        """Stop a worker until another one has its run, and see that it writes nothing when it wakes."""
        if phase != "after":
            return False
        self._stop(child)
        other = self._wait_for("resume", subject)
        before = self._rows_of(subject)
        child.signal(signal.SIGCONT)
        child.go()
        until = time.monotonic() + PATIENCE_SECONDS
        while self._rows_of(subject) == before and not self._late_results(subject):
            if time.monotonic() > until:
                raise HarnessError(f"{subject}: whoever was woken does not say what it did")
            self._let_all_go_on(SWEEP_SECONDS)
        if self._rows_of(subject) != before:
            self.report.violations.append(f"{subject}: whoever was fenced out has written")
        other.go()
        self.report.freezes += 1
        return True

    def _stop(self, child: Child) -> None:
        """Stop a worker, but not in the midst of a transaction: that would stop all others too."""
        child.signal(signal.SIGSTOP)
        while self._is_locked():
            child.signal(signal.SIGCONT)
            self._let_all_go_on(SWEEP_SECONDS)
            child.signal(signal.SIGSTOP)

    def _hold(self, child: Child, phase: str, _subject: str) -> bool:
        """Keep a worker in an effect, its loop blocked, for three leases."""
        if phase != "effect":
            return False
        self._let_all_go_on(3 * self._orders.lease_seconds)
        child.go()
        self.report.holds += 1
        return True

    def _kill(self, child: Child) -> None:
        """Kill a worker, and put another in its place."""
        child.signal(signal.SIGKILL)
        os.waitpid(child.pid, 0)
        self._listen(child)
        self._said = deque(said for said in self._said if said[0] is not child)
        self._selector.unregister(child.line)
        child.line.close()
        self._workers.remove(child)
        self._workers.append(self._forked(work))

    # Listening.

    def _next(self, until: float) -> Said | None:
        """Return the next worker that waits for leave; nothing if none does until then."""
        while not self._said and (left := until - time.monotonic()) > 0:
            for key, _ in self._selector.select(left):
                self._listen(key.data)
        return self._said.popleft() if self._said else None

    def _listen(self, child: Child) -> None:
        for phase, subject in child.hear():
            if phase == UP:
                child.is_up = True
                continue
            if phase == "sent":
                cast("Child", self._office).tell(f"read {subject.split()[1]}")
            self._said.append((child, phase, subject))

    def _let_all_go_on(self, seconds: float) -> None:
        """Let whoever asks go on, for so long."""
        until = time.monotonic() + seconds
        while (said := self._next(until)) is not None:
            said[0].go()

    def _wait_for(self, phase: str, subject: str) -> Child:
        """Let whoever asks go on, but for a worker that comes to this: return it."""
        until = time.monotonic() + PATIENCE_SECONDS
        while (said := self._next(until)) is not None:
            if said[1:] == (phase, subject):
                return said[0]
            said[0].go()
        raise HarnessError(f"nobody comes to {phase} of {subject}")

    # The processes.

    def _forked(self, serve: Callable[[Orders, Path], Awaitable[None]]) -> Child:
        """Fork a process that serves."""
        ours, theirs = socket.socketpair()
        backend = BACKENDS[self._orders.engine][self._chance.randrange(2)]
        pid = os.fork()
        if pid == 0:
            ours.close()
            for child in filter(None, (*self._workers, self._office)):
                child.line.close()
            self._selector.close()
            _become(partial(serve, self._orders, STAGE.folder), theirs, backend)
        theirs.close()
        ours.setblocking(False)
        child = Child(pid, ours)
        self._selector.register(ours, selectors.EVENT_READ, child)
        return child

    def _busy(self) -> bool:
        """Have runs started while there is something to disturb; say whether anything is open."""
        more = bool(self._plan) or self._asked < self._orders.runs
        ((ended, unsent),) = self._ask(_PROGRESS)
        if more and self._asked - ended < self._orders.in_flight:
            self._asked += 1
            cast("Child", self._office).tell("start")
        return more or ended < self._asked or bool(unsent)

    # The books.

    def _ask(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Ask the database; over a connection that is closed again, because this process forks."""
        orders = self._orders
        if orders.server:
            with psycopg.connect(orders.server, autocommit=True) as session:
                session.execute(f"SET search_path = {orders.schema}".encode())
                return session.execute(statement.replace("?", "%s").encode(), values).fetchall()
        with closing(
            sqlite3.connect(f"{self._path.as_uri()}?mode=ro", uri=True, timeout=30)
        ) as file:
            return file.execute(statement, values).fetchall()

    def _is_locked(self) -> bool:
        """Say whether somebody is in the midst of a transaction of a file, and stays there."""
        if self._orders.server:
            return False
        with closing(sqlite3.connect(self._path, timeout=1, isolation_level=None)) as file:
            try:
                file.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                return True
            return False

    def _rows_of(self, run_id: str) -> list[tuple[Any, ...]]:
        """Return a run and its journal as they are stored, and who has it."""
        return [
            *self._ask("SELECT version, body FROM runs WHERE run_id = ?", run_id),
            *self._ask("SELECT version, body FROM occurrences WHERE run_id = ?", run_id),
            *self._ask("SELECT holder, fencing FROM claims WHERE subject = ?", run_id),
        ]

    def _late_results(self, run_id: str) -> int:
        statement = "SELECT count(*) FROM signals WHERE run_id = ? AND kind = 'late_result'"
        return int(self._ask(statement, run_id)[0][0])

    def _bodies(self, table: str) -> list[dict[str, Any]]:
        return [json.loads(body) for (body,) in self._ask(f"SELECT body FROM {table}")]  # noqa: S608 - names of ours

    def _examine(self) -> None:
        """Compare what the store says with what happened."""
        runs, requests, deliveries = map(self._bodies, ("runs", "requests", "deliveries"))
        effects = Counter(STAGE.lines("effects"))
        doubts = [request for request in requests if request["kind"] == "in_doubt"]
        self.report.runs = len(runs)
        self.report.effects = effects.total()
        self.report.in_doubt = len(doubts)
        self.report.unknown = sum(one["unknown"] for one in deliveries)
        wrong = self.report.violations
        wrong += [line for line in STAGE.lines("log") if line.startswith(("ERROR", "Traceback"))]
        wrong += [f"{invoice}: {n} effects" for invoice, n in effects.items() if n > 1]
        outputs = {one["occurrence_id"]: one["output"] for one in self._bodies("occurrences")}
        for run in runs:
            run_id, output = run["run_id"], outputs.get(run["last_output_id"])
            told = (run["status"], output, effects[run_id])
            paid, abandoned = ("completed", f"paid {run_id}", 1), ("completed", "abandoned", 0)
            if told not in (paid, abandoned):
                wrong.append(f"{run_id}: {told}, {run['blocked_detail']}")
        questions = Counter(json.dumps(one["identity"], sort_keys=True) for one in doubts)
        wrong += [f"{identity}: asked {n} times" for identity, n in questions.items() if n > 1]
        wrong += [f"{one['request_id']}: pending" for one in requests if one["resolution"] is None]
        wrong += [
            f"{one['request_id']}: decided twice" for one in requests if len(one["decisions"]) > 1
        ]
        asked = Counter(one["run_id"] for one in doubts)
        bodies: Counter[str] = Counter()
        sends: Counter[str] = Counter()
        for (phase, subject), n in self._killed.items():
            bodies[subject] += n * (phase in {"effect", "after"})
            sends[subject] += n * (phase in {"send", "sent"})
        wrong += [
            f"{run_id}: killed {n} times in the body, {asked[run_id]} in doubt"
            for run_id, n in bodies.items()
            if asked[run_id] < n
        ]
        sent = Counter(STAGE.lines("sent"))
        for one in deliveries:
            name, unknown = one["delivery_id"], one["unknown"]
            if one["status"] not in {"sent", "dropped"}:
                wrong.append(f"{name}: {one['status']}")
            if not sends[name] <= unknown or sent[name] > 1 + unknown:
                wrong.append(f"{name}: sent {sent[name]} times, {unknown} of unknown end")


def _become(serve: Callable[[], Awaitable[None]], line: socket.socket, backend: str) -> NoReturn:
    """Be a worker or the office, in a process that was just forked, until the harness is gone."""
    STAGE.line = line
    try:
        log = os.open(STAGE.folder / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(log, sys.stderr.fileno())
        logging.basicConfig(level=logging.WARNING)
        anyio.run(serve, backend=backend)
    except BaseException as error:  # noqa: BLE001 - a child must never return from here
        sys.stderr.write(f"ERROR:harness:a process ends by {error!r}\n")
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def table_of(report: Report) -> str:
    """Return a report for people."""
    rows = {
        "seed": report.seed,
        **{f"killed: {kind}": count for kind, count in report.kills.items()},
        "stopped past the lease and woken": report.freezes,
        "held past the lease": report.holds,
        "runs": report.runs,
        "effects": report.effects,
        "requests in doubt": report.in_doubt,
        "attempts to send of unknown end": report.unknown,
        "seconds": report.seconds,
        "violations": len(report.violations),
    }
    lines = [f"{name:<50}{value:>8}" for name, value in rows.items()]
    return "\n".join([*lines, *report.violations, ""])


def main(arguments: Sequence[str]) -> int:
    """Run the harness as the command line says, and print what it saw."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    for name, value in asdict(Orders()).items():
        option = f"--{name.replace('_', '-')}"
        if isinstance(value, bool):
            parser.add_argument(option, action="store_true")
        else:
            parser.add_argument(option, type=cast("type[object]", type(value)), default=value)
    parser.add_argument("--folder", type=Path, help="where the files are left")
    chosen = vars(parser.parse_args(arguments))
    folder = chosen.pop("folder")
    engine_of(Orders(**chosen))  # imported before the forks, as above
    with TemporaryDirectory() as temporary:
        report = Harness(Orders(**chosen), folder or Path(temporary)).run()
    sys.stdout.write(table_of(report))
    if folder is not None:
        (folder / "report.json").write_text(json.dumps(asdict(report)))
    return 1 if report.violations else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
