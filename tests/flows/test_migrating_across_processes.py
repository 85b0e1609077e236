"""A deploy as it happens: one process has the old module, the next one the new, on one file."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from signoff.security.keyring import Keyring

MEMORY = Path("/dev/shm")  # noqa: S108 - a folder of its own is made there

OLD = """
from signoff import Flow, HumanFeedbackResult, human_feedback, listen, require_approval, start
from pydantic import BaseModel

class Order(BaseModel):
    price: int = 0

@require_approval(name="shop.ship", assignees=["ops@acme.example"])
def ship(order: str) -> str:
    return f"old shipped {order}"

class Settle(Flow[Order], name="shop.settle"):
    @start()
    def draft(self) -> str:
        print("drafted")
        return "order 7"

    @listen(draft)
    @human_feedback("ok?", emit=["yes", "no"], assignees=["ann@acme.example"])
    def ask(self, order: str) -> str:
        return order

    @listen("yes")
    def send(self, result: HumanFeedbackResult) -> str:
        return ship(result.output)
"""

RENAMED = """
from decimal import Decimal
from signoff import Flow, HumanFeedbackResult, human_feedback, listen, require_approval, start
from pydantic import BaseModel

class Order(BaseModel):
    total: Decimal

@require_approval(name="shop.deliver", aliases=["shop.ship"], assignees=["ops@acme.example"])
def deliver(order: str) -> str:
    return f"new shipped {order}"

class Settlement(Flow[Order], name="shop.settlement", aliases=["shop.settle"]):
    @start(%(draft)s)
    def write(self) -> str:
        print("written")
        return "order 8"

    @listen(write%(ask)s)
    @human_feedback("ok?", emit=["yes", "no"], assignees=["ann@acme.example"])
    def review(self, order: str) -> str:
        return order

    @listen("yes"%(send)s)
    def dispatch(self, result: HumanFeedbackResult) -> str:
        return f"{deliver(result.output)} for {self.state.total} after {result.method_name}"
"""

UNPREPARED = RENAMED % {"draft": "", "ask": "", "send": ""}

PREPARED = (
    RENAMED
    % {
        "draft": "aliases=['draft']",
        "ask": ", aliases=['ask']",
        "send": ", aliases=['send']",
    }
    + """
    state_version = 2

    @classmethod
    def migrate(cls, state, from_version):
        return {"id": state["id"], "total": Decimal(state["price"])}
"""
)

WORK = """
import sys
from signoff.stores import SQLiteStore
from signoff.sync import Client
import shop

command, path = sys.argv[1:]
with Client(store=SQLiteStore(path, synchronous="NORMAL")) as client:
    if command == "start":
        client.flows.start(shop.Settle, inputs={"price": 9})
    for request in client.hitl.list_requests(status="pending") if command != "retry" else ():
        label = "yes" if request.assignees == ("ann@acme.example",) else "approved"
        client.hitl.respond(
            request_id=request.request_id, outcome=label, reviewer=request.assignees[0]
        )
    [run] = client.flows.list()
    if command == "retry":
        client.flows.retry(run.id)
    assert not client.drain().errors
    run = client.flows.get(run.id)
    print(run.status, run.blocked_reason or run.output)
"""


@dataclass
class Shop:
    """A database, and processes with the code of the day."""

    folder: Path
    keyring: Keyring = field(default_factory=Keyring.generate)

    def process(self, command: str, code: str) -> list[str]:
        """Let a process with this code work, and return what it prints."""
        (self.folder / "shop.py").write_text(code)
        finished = subprocess.run(
            [sys.executable, "-B", "-W", "error", "-c", WORK, command, str(self.folder / "s.db")],
            capture_output=True,
            text=True,
            check=False,
            timeout=50,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join([str(self.folder), *sys.path]),
                "SIGNOFF_KEY": self.keyring.to_text(),
            },
        )
        said = finished.stdout.splitlines()
        blocked = any(line.startswith("blocked code_missing") for line in said)
        told = [line for line in finished.stderr.splitlines() if "is blocked, code_missing" in line]
        assert finished.stderr.splitlines() == told
        assert blocked or not told
        return said


@pytest.fixture(name="shop")
def _shop() -> Iterator[Shop]:
    """Yield an empty shop, in memory where the system has that."""
    with TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        yield Shop(Path(folder))


def test_new_code_goes_on_with_a_run_that_old_code_suspended(shop: Shop) -> None:
    """Its flow, steps, gate and state have other names; nothing that was done is done again."""
    assert shop.process("start", OLD) == ["drafted", "suspended None"]
    assert shop.process("answer", PREPARED) == ["suspended None"]
    assert shop.process("answer", PREPARED) == ["completed new shipped order 7 for 9 after review"]


def test_new_code_goes_on_with_a_call_that_old_code_asked_about(shop: Shop) -> None:
    """The answered gate is behind it, and the gated call inside the next step is pending."""
    shop.process("start", OLD)
    assert shop.process("answer", OLD) == ["suspended None"]
    assert shop.process("answer", PREPARED) == ["completed new shipped order 7 for 9 after review"]


def test_a_deploy_that_was_not_prepared_blocks_and_the_next_one_mends_it(shop: Shop) -> None:
    """Blocked, retried in vain, and brought back by aliases and hook."""
    shop.process("start", OLD)
    assert shop.process("answer", UNPREPARED) == ["blocked code_missing"]
    assert shop.process("retry", UNPREPARED) == ["blocked code_missing"]
    assert shop.process("retry", PREPARED) == ["suspended None"]
    assert shop.process("answer", PREPARED) == ["completed new shipped order 7 for 9 after review"]


def test_old_code_does_not_take_back_what_new_code_has_migrated(shop: Shop) -> None:
    """A deploy that is taken back leaves the run blocked, and the new code goes on later."""
    shop.process("start", OLD)
    assert shop.process("answer", PREPARED) == ["suspended None"]
    assert shop.process("answer", OLD) == ["blocked code_missing"]
    assert shop.process("retry", PREPARED) == ["completed new shipped order 7 for 9 after review"]
