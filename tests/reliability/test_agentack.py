"""
What agentack, a checker of approval controls that others wrote, says of traces of ours.

Each line of a trace is written by whoever knows it: the step what it proposes, the notifier what
it shows to the reviewer, the audit chain what was decided, and the effect, with the arguments
that it really has, that it is executed.
"""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, TypeAlias, cast

import anyio
import pytest
from typing_extensions import override

from signoff import Client, Done, Flow, NotDone, Request, require_approval, start
from signoff.errors import ApprovalRejected, DecisionError
from signoff.ports import Notifier, Outgoing, Store
from signoff.security.keyring import Keyring
from signoff.stores import SQLiteStore
from signoff.testing import TestingClient, crash_everywhere

pytestmark = pytest.mark.reliability

OpenStore: TypeAlias = Callable[[Path], Store]

REVIEWER: Final = "cfo@acme.example"
POLICY: Final = """\
version = 1

[approval]
max_age_seconds = 300
single_use = true
exact_action_binding = true
stop_is_terminal = true
require_for = ["payments:*"]
"""
RANKS: Final = (
    "action_proposed",
    "approval_requested",
    "approval_decision",
    "action_blocked",
    "action_executed",
)
"""The order of what happened at one instant, within one action."""


def an_action(arguments: Mapping[str, object]) -> dict[str, object]:
    """Return an action as agentack reads it."""
    return {"tool": "payments", "operation": "pay", "parameters": dict(arguments)}


@dataclass
class Trace:
    """
    What was seen, by whom it was seen.

    Attributes:
        lines: The lines so far, each with the place among those of its instant.
        client: Whose store knows what was approved.
    """

    lines: list[tuple[str, int, dict[str, object]]] = field(
        default_factory=list[tuple[str, int, dict[str, object]]]
    )
    client: Client | None = None

    def write(
        self,
        kind: str,
        action_id: str,
        *,
        at: datetime | None = None,
        late: int = 0,
        **more: object,
    ) -> None:
        """Note an event; whoever proposes or shows the same again does so only once."""
        instant = (at or self.now()).isoformat()
        line = {
            "schema_version": 2,
            "type": kind,
            "session_id": "signoff",
            "action_id": action_id,
            "intent_id": action_id.removesuffix("-edited"),
            **more,
        }
        repeatable = kind in {"action_proposed", "approval_requested"}
        if repeatable and any(
            (one["type"], one["action_id"]) == (kind, action_id) for _, _, one in self.lines
        ):
            return
        self.lines.append((instant, late + RANKS.index(kind), line))

    def now(self) -> datetime:
        """Return the time; where it stands still it moves with each thing that is seen."""
        if isinstance(self.client, TestingClient):
            return self.client.clock.advance(timedelta(milliseconds=1))
        return datetime.now(tz=UTC)  # noqa: TID251 - evidence has a date of its own

    async def decided(self) -> None:
        """Note what the audit chains say was decided."""
        assert self.client is not None
        for request in await self.client.hitl.list_requests(limit=100):
            if request.kind == "call":
                for entry in await self.client.hitl.history(request_id=request.request_id):
                    self._decision(request, entry.event, entry.at)

    def _decision(self, request: Request, event: str, at: datetime) -> None:
        name = str(arguments_of(request)["invoice"])
        number, end = request.request_id, request.resolution
        edited = end is not None and end.edited
        if event == "request.approved" and not edited:
            self.write("approval_decision", name, at=at, approval_id=number, decision="allow")
        if event == "request.rejected" or (event == "request.approved" and edited):
            self.write("approval_decision", name, at=at, approval_id=number, decision="deny")
            why = "superseded by an edit" if edited else "rejected"
            self.write("action_blocked", name, at=at, approval_id=number, reason=why)
        if event == "request.approved" and edited:
            new, action = f"{name}-edited", an_action(arguments_of(request))
            approval = f"{number}-edited"
            self.write("action_proposed", new, at=at, late=10, action=action)
            self.write(
                "approval_requested", new, at=at, late=10, approval_id=approval, action=action
            )
            self.write(
                "approval_decision", new, at=at, late=10, approval_id=approval, decision="allow"
            )

    async def executed(self, arguments: Mapping[str, object]) -> None:
        """Note, as the effect itself, that it is executed, and by whose leave."""
        assert self.client is not None
        name, approval = str(arguments["invoice"]), None
        for request in await self.client.hitl.list_requests(status="approved", limit=100):
            if request.kind == "call" and arguments_of(request)["invoice"] == name:
                edited = request.resolution is not None and request.resolution.edited
                name += "-edited" * edited
                approval = request.request_id + "-edited" * edited
        self.write(
            "action_executed", name, late=20, approval_id=approval, action=an_action(arguments)
        )

    async def told(self, folder: Path) -> tuple[int, str]:
        """Let agentack read it; return its exit code and what it says."""
        await self.decided()
        lines = [
            {"timestamp": instant, **line}
            for instant, _, line in sorted(self.lines, key=lambda one: one[:2])
        ]
        end = {"schema_version": 2, "type": "session_end", "session_id": "signoff"}
        lines.append({"timestamp": self.now().isoformat(), **end})
        return await anyio.to_thread.run_sync(check, folder, lines)


def check(folder: Path, lines: list[dict[str, object]]) -> tuple[int, str]:
    """Run agentack over lines."""
    trace, policy = folder / "trace.jsonl", folder / "policy.toml"
    trace.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    policy.write_text(POLICY)
    done = subprocess.run(
        [sys.executable, "-m", "agentack", "check", trace, "--policy", policy],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return done.returncode, done.stdout + done.stderr


def arguments_of(request: Request) -> Mapping[str, object]:
    """Return the arguments that a request is about."""
    return cast("Mapping[str, object]", request.payload)


TRACES: list[Trace] = []
"""The trace of the scenario that is played."""


@require_approval(name="agentack.pay", assignees=[REVIEWER])
async def pay(invoice: str, amount: int) -> str:
    """Say so, and do something that must be approved."""
    await TRACES[-1].executed({"invoice": invoice, "amount": amount})
    return f"paid {amount}"


class Payment(Flow, name="agentack.payment"):
    """One gated call."""

    @start()
    async def go(self) -> str:
        """Say what is proposed, and make the call."""
        invoice = str(self.state["invoice"])
        action = an_action({"invoice": invoice, "amount": 100})
        TRACES[-1].write("action_proposed", invoice, action=action)
        try:
            return await pay(invoice, 100)
        except ApprovalRejected:
            return "rejected"


class Shown(Notifier):
    """Shows requests to the reviewer, and notes what it has shown."""

    def __init__(self) -> None:
        self.name = "shown"
        self.expects_reply = False

    @override
    def reaches(self, recipient: str) -> bool:
        return True

    @override
    async def send(self, outgoing: Outgoing) -> str:
        request = outgoing.request
        if outgoing.delivery.kind == "request" and request.kind == "call":
            arguments = arguments_of(request)
            TRACES[-1].write(
                "approval_requested",
                str(arguments["invoice"]),
                approval_id=request.request_id,
                action=an_action(arguments),
            )
        return f"<{outgoing.delivery.delivery_id}@shown>"

    @override
    async def aclose(self) -> None:
        """Do nothing."""


@asynccontextmanager
async def a_scene(
    open_store: OpenStore, folder: Path, *invoices: str
) -> AsyncGenerator[tuple[Client, list[Request], Trace]]:
    """Let a run for each invoice ask."""
    TRACES.append(Trace())
    client = Client(open_store(folder), notifiers=[Shown()], keyring=Keyring.generate())
    async with client:
        TRACES[-1].client = client
        for invoice in invoices:
            await client.flows.start(Payment, inputs={"invoice": invoice}, requester="agent-7")
        await client.drain()
        yield client, list(await client.hitl.list_requests()), TRACES[-1]


async def test_approved_passes(open_store: OpenStore, tmp_path: Path) -> None:
    """Two of them, each with an approval of its own."""
    async with a_scene(open_store, tmp_path, "one", "two") as (client, requests, trace):
        for request in requests:
            await client.hitl.approve(request_id=request.request_id, reviewer=REVIEWER)
        await client.drain()
        code, said = await trace.told(tmp_path)
        assert code == 0, said
        for line in ("AgentAck  PASS", "Events: 9", "Findings: 0"):
            assert line in said.splitlines()


async def test_rejected_passes(open_store: OpenStore, tmp_path: Path) -> None:
    """Nothing is executed."""
    async with a_scene(open_store, tmp_path, "one") as (client, requests, trace):
        await client.hitl.reject(request_id=requests[0].request_id, reviewer=REVIEWER)
        await client.drain()
        code, said = await trace.told(tmp_path)
        assert code == 0, said
        assert [one["type"] for _, _, one in trace.lines].count("action_executed") == 0


async def test_edited_passes(open_store: OpenStore, tmp_path: Path) -> None:
    """The edit is a new action that supersedes the old one, and is what is executed."""
    async with a_scene(open_store, tmp_path, "one") as (client, requests, trace):
        await client.hitl.approve(
            request_id=requests[0].request_id, payload={"amount": 60}, reviewer=REVIEWER
        )
        await client.drain()
        code, said = await trace.told(tmp_path)
        assert code == 0, said
        (executed,) = (one for _, _, one in trace.lines if one["type"] == "action_executed")
        assert executed["action"] == an_action({"invoice": "one", "amount": 60})


async def test_a_race_passes(open_store: OpenStore, tmp_path: Path) -> None:
    """Five people answer each of three requests while three workers go on."""
    async with a_scene(open_store, tmp_path, "one", "two", "three") as (client, requests, trace):

        async def answer(request: Request, number: int) -> None:
            verb = client.hitl.approve if number % 2 == 0 else client.hitl.reject
            try:
                await verb(request_id=request.request_id, reviewer=REVIEWER)
            except DecisionError:
                return

        async with anyio.create_task_group() as group:
            for request in requests:
                for number in range(5):
                    group.start_soon(answer, request, number)
            for _ in range(3):
                group.start_soon(client.drain)
        await client.drain()
        code, said = await trace.told(tmp_path)
        assert code == 0, said


async def test_a_forgery_is_incomplete(tmp_path: Path) -> None:
    """An approval is written into the store: nothing ran, so there is nothing to judge."""
    async with a_scene(lambda folder: SQLiteStore(folder / "signoff.db"), tmp_path, "one") as (
        client,
        _,
        trace,
    ):
        await anyio.to_thread.run_sync(forge, tmp_path / "signoff.db")
        await client.drain()
        code, said = await trace.told(tmp_path)
        assert code == 3, said
        assert "INCOMPLETE" in said
        assert [one["type"] for _, _, one in trace.lines] == [
            "action_proposed",
            "approval_requested",
        ]


def forge(path: Path) -> None:
    """Write an approval that nobody gave, and tell the run of it."""
    with closing(sqlite3.connect(path)) as file, file:
        ((request_id, run_id, raw),) = file.execute("SELECT request_id, run_id, body FROM requests")
        body: dict[str, Any] = json.loads(raw)
        body["status"] = "approved"
        body["resolution"] = {
            "format": 1,
            "status": "approved",
            "outcome": "approve",
            "reviewer": REVIEWER,
            "channel": "api",
            "resolved_at": body["created_at"],
            "payload_digest": body["payload_digest"],
            "seal": body["seal"],
        }
        file.execute(
            "UPDATE requests SET status = 'approved', body = ?",
            (json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode(),),
        )
        known = {row[1] for row in file.execute("PRAGMA table_info(signals)")}
        values = {
            "run_id": run_id,
            "cause": "forged",
            "kind": "resolved",
            "facts": json.dumps({"request_id": request_id}).encode(),
            "created_at": 0,
            "wakes": 1,
        }
        used = {name: value for name, value in values.items() if name in known}
        marks = ", ".join("?" for _ in used)
        file.execute(
            f"INSERT INTO signals ({', '.join(used)}) VALUES ({marks})",  # noqa: S608 - names of ours
            tuple(used.values()),
        )


@pytest.mark.timeout(600)
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_crashes_pass(open_store: OpenStore, tmp_path: Path) -> None:
    """At each commit, before it and after it: what is executed is executed once, by leave."""
    said: list[tuple[int, str]] = []

    class Effects:
        """Begins a trace for each case."""

        def clear(self) -> None:
            TRACES.append(Trace())

        def __iter__(self) -> Any:
            return iter(
                str(one["action"])
                for _, _, one in TRACES[-1].lines
                if one["type"] == "action_executed"
            )

    async def scenario(client: TestingClient) -> None:
        trace = TRACES[-1]
        trace.client = client
        if not await client.flows.list():
            await client.flows.start(Payment, inputs={"invoice": "one"}, requester="agent-7")
        await client.drain()
        for request in await client.hitl.list_requests(status="pending"):
            await client.hitl.approve(request_id=request.request_id, reviewer=REVIEWER)
        await client.drain()
        (run,) = await client.flows.list()
        if (await client.flows.get(run.run_id)).status == "completed":
            said.append(await Trace(list(trace.lines), client).told(tmp_path))

    def look(_: Request) -> Done[str] | NotDone:
        return Done("paid 100") if list(Effects()) else NotDone()

    report = await crash_everywhere(
        scenario, effects=Effects(), store=open_store, in_doubt=look, notifiers=[Shown()]
    )
    assert report.ok, str(report)
    assert {code for code, _ in said} == {0}, said
    assert len(said) > report.cases


@pytest.mark.parametrize(
    ("wrong", "rule"),
    [("twice", "ACK004"), ("without leave", "ACK001"), ("other arguments", "ACK003")],
)
async def test_what_is_wrong_fails(
    open_store: OpenStore, tmp_path: Path, wrong: str, rule: str
) -> None:
    """The control: executed twice, by nobody's leave, or with other arguments."""
    async with a_scene(open_store, tmp_path, "one") as (client, requests, trace):
        if wrong != "without leave":
            await client.hitl.approve(request_id=requests[0].request_id, reviewer=REVIEWER)
        if wrong == "other arguments":
            await trace.executed({"invoice": "one", "amount": 100_000})
        else:
            await client.drain()
            await trace.executed({"invoice": "one", "amount": 100})
        code, said = await trace.told(tmp_path)
        assert code == 1, said
        assert rule in said
