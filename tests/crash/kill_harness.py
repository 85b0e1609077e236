"""
Workers of one SQLite file, killed with SIGKILL in the phase that a seed names, again and again.

    python tests/crash/kill_harness.py --kills 200 --seed 1

This process has no threads: it forks the workers and one office, hears from each worker by a
socket where it is, and lets it go on, kills it there, stops it there, or holds it. A worker that
waits for leave waits with its whole event loop. The office starts runs and answers the requests
that were sent to it. What a run does to the world is a line in a file that is synced.

At the end every run has ended, no line is there twice, each call in doubt was asked about once
for each attempt, and no worker whose claim another one took has written anything.
"""

from __future__ import annotations

import argparse
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
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, TypeAlias, cast

import anyio
from typing_extensions import override

import signoff.assembly  # noqa: F401 - imported before the forks, so that a worker starts at once
from signoff import Client, Flow, HumanFeedbackResult, human_feedback, listen, require_approval, start
from signoff.context import current_scope
from signoff.engines.local import LocalEngine
from signoff.errors import ApprovalCancelled, DecisionError
from signoff.flows.attempt import Attempt
from signoff.model.changes import Changes, Task
from signoff.model.request import Request
from signoff.ports import Notifier, Outgoing
from signoff.security.keyring import Keyring
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

ELSEWHERE: Final = "elsewhere"
"""A kill at an instant that no phase names."""

KINDS: Final = tuple(dict.fromkeys(PHASES.values()))
REVIEWER: Final = "cfo@acme.example"
KEYS: Final = Keyring.generate()
SWEEP_SECONDS: Final = 0.1
PATIENCE_SECONDS: Final = 60.0
"""How long the harness waits for what must come."""


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
        self.line.recv(1)

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


class Unfenced(SQLiteStore):
    """A store that does not ask who holds the claim. For the negative control."""

    @override
    async def commit(self, changes: Changes) -> None:
        await super().commit(replace(changes, fences=()))


class Leaseless(SQLiteStore):
    """A store whose leases run out at once. For the negative control."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, lease_clock=lambda: time.monotonic() * 1e9)

    @override
    async def commit(self, changes: Changes) -> None:
        fences = tuple(replace(fence, remaining=None) for fence in changes.fences)
        await super().commit(replace(changes, fences=fences))


STORES: Final[dict[str, Callable[[Path], SQLiteStore]]] = {
    "honest": SQLiteStore,
    "unfenced": Unfenced,
    "leaseless": Leaseless,
}


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
        hasty: Whether the reviewer answers what is in doubt without asking whether the
            executor is still at it.
        lease_seconds: How long a claim lasts.
    """

    kills: int = 200
    freezes: int = 5
    holds: int = 0
    runs: int = 0
    workers: int = 3
    in_flight: int = 24
    seed: int = 1
    store: str = "honest"
    hasty: bool = False
    lease_seconds: float = 1.0


def client_of(orders: Orders, folder: Path) -> Client:
    """Return a client as each process makes it."""
    return Client(
        STORES[orders.store](folder / "signoff.db"),
        notifiers=[Postman()],
        keyring=KEYS,
        engine=Eager(),
        lease=timedelta(seconds=orders.lease_seconds),
    )


async def work(orders: Orders, folder: Path) -> None:
    """Serve until killed."""
    async with client_of(orders, folder) as client, client.serving():
        await anyio.sleep_forever()


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
            with anyio.move_on_after(SWEEP_SECONDS):
                await anyio.wait_readable(STAGE.line)
                read = STAGE.line.recv(65536)
                if not read:
                    return
                *lines, heard = (heard + read).split(b"\n")
                for line in lines:
                    await self._do(*line.decode().split())
            waiting, self._later = self._later, []
            for request_id in waiting:
                await self._answer(request_id)

    async def _do(self, what: str, request_id: str = "") -> None:
        if what == "start":
            run = await self._client.flows.start(Order, requester="agent-7")
            STAGE.line.sendall(f"started {run.run_id}\n".encode())
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
        said: What it has said and nobody has read to the end.
        waits: Whether it waits for leave.
    """

    pid: int
    line: socket.socket
    said: bytes = b""
    waits: bool = False

    def go(self) -> None:
        """Let it go on."""
        self.waits = False
        self.line.sendall(b".")

    def tell(self, text: str) -> None:
        """Say something to it."""
        self.line.sendall(f"{text}\n".encode())

    def hear(self) -> Iterator[list[str]]:
        """Yield what it has said meanwhile."""
        with suppress(ConnectionResetError):
            self.said += self.line.recv(65536)
        *lines, self.said = self.said.split(b"\n")
        for line in lines:
            yield line.decode().split()


@dataclass(frozen=True, slots=True)
class Kill:
    """
    One kill.

    Attributes:
        phase: What the worker had just said, or `ELSEWHERE`.
        subject: Of which run or delivery.
    """

    phase: str
    subject: str


@dataclass(slots=True, kw_only=True)
class Report:
    """
    What the harness saw.

    Attributes:
        kills: How many workers were killed, by phase.
        freezes: How many were stopped and woken.
        holds: How many were held.
        runs: How many runs there were.
        lines: How many effects there were.
        in_doubt: How many requests asked what became of a call.
        unknown: How many attempts at deliveries ended with their sender.
        seconds: How long it took.
        violations: What must not be.
    """

    kills: dict[str, int] = field(default_factory=dict[str, int])
    freezes: int = 0
    holds: int = 0
    runs: int = 0
    lines: int = 0
    in_doubt: int = 0
    unknown: int = 0
    seconds: float = 0.0
    violations: list[str] = field(default_factory=list[str])


Said: TypeAlias = tuple[Child, str, str]
"""A worker, the phase that it has reached, and of what."""


class Harness:
    """Forks, listens, and decides who may go on."""

    def __init__(self, orders: Orders, folder: Path) -> None:
        self.orders = orders
        self.report = Report()
        self.kills: list[Kill] = []
        self._folder = folder
        self._path = folder / "signoff.db"
        self._chance = random.Random(orders.seed)
        self._selector = selectors.DefaultSelector()
        self._targets = self._draw_targets()
        self._started = 0
        self._asked = 0
        self._spared = 0
        self._doomed: tuple[Child, float] | None = None
        self._held: list[tuple[Child, float]] = []

    def run(self) -> Report:
        """Do all of it, and return what was seen."""
        began = time.monotonic()
        STAGE.folder = self._folder
        self._office = self._forked(keep_office)
        self._workers = [self._forked(work) for _ in range(self.orders.workers)]
        try:
            self._serve()
        except TimeoutError as error:
            self.report.violations.append(str(error))
        for child in self._workers:
            self._end(child)
        self._office.line.close()
        os.waitpid(self._office.pid, 0)
        self._examine()
        self.report.seconds = round(time.monotonic() - began, 1)
        return self.report
