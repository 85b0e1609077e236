"""What the flow tests share: an open client whose time stands still, and a person who answers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import pytest

from signoff import Client, Flow
from signoff.gates import gate_specs
from signoff.model.request import Request
from signoff.model.run import Run
from signoff.ports import Notifier, Store
from signoff.registry import flow_classes
from signoff.security.keyring import Keyring
from signoff.stores import MemoryStore, SQLiteStore
from signoff.testing import ManualClock

REVIEWER = "ann@acme.example"

Forget: TypeAlias = Callable[..., None]
"""Takes names away from the registers."""


@dataclass
class Bench:
    """
    A client, and shorthand for what a test does with it.

    Attributes:
        client: Open; nobody serves, so nothing happens but by `go`.
        clock: Its time.
        store: Where it keeps everything.
        keyring: Its keys.
    """

    client: Client
    clock: ManualClock
    store: Store
    keyring: Keyring

    def another(self, *notifiers: Notifier) -> Client:
        """Return one more client over the same data, as another worker has it; not open."""
        store = self.store
        if isinstance(store, SQLiteStore):
            store = SQLiteStore(store.location, synchronous="NORMAL")
        return Client(store, clock=self.clock, keyring=self.keyring, notifiers=notifiers)

    async def start(self, flow: type[Flow[object]] | Flow[object], **inputs: object) -> Run:
        """Start a run and drive it as far as it goes."""
        run = await self.client.flows.start(flow, inputs=inputs, requester="agent-7")
        await self.go()
        return await self.client.flows.get(run.run_id)

    async def go(self) -> None:
        """Do all that can be done now; none of the machinery fails."""
        report = await self.client.drain()
        assert report.errors == {}

    async def now(self, run: Run) -> Run:
        """Return a run as it stands."""
        return await self.client.flows.get(run.run_id)

    async def pending(self) -> list[str]:
        """Return the steps and functions that somebody is asked about, oldest first."""
        return [one.method_name for one in await self.client.hitl.list_requests(status="pending")]

    async def asked(self, step: str) -> Request:
        """Return the one pending request of a step or function."""
        page = await self.client.hitl.list_requests(status="pending")
        (request,) = [one for one in page if one.method_name == step]
        return request

    async def answer(
        self, step: str, label: str | None = None, feedback: str = "", payload: object = None
    ) -> Request:
        """Give an answer and let the run go on."""
        request = await self.asked(step)
        answered = await self.client.hitl.respond(
            request_id=request.request_id,
            outcome=label,
            feedback=feedback,
            payload=payload,
            reviewer=REVIEWER,
        )
        await self.go()
        return answered

    async def approve(self, step: str) -> Request:
        """Approve and let the run go on."""
        return await self.answer(step, "approved")


@pytest.fixture
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    """Yield a bench over memory, or over the store that the test is parametrised with."""
    store: Store = MemoryStore()
    if getattr(request, "param", "memory") == "sqlite":
        store = SQLiteStore(tmp_path / "signoff.db", synchronous="NORMAL")
    clock, keyring = ManualClock(), Keyring.generate()
    async with Client(store, clock=clock, keyring=keyring) as client:
        yield Bench(client, clock, store, keyring)


@pytest.fixture(name="names_restored")
def _names_restored() -> Iterator[None]:
    """Leave the registers as they were: tests that run again define their classes again."""
    flows, gates = dict(flow_classes._code), dict(gate_specs._code)
    yield
    flow_classes._code, gate_specs._code = flows, gates


@pytest.fixture(name="forget")
def _forget() -> Forget:
    """Return what lets this process have no code under some names, as if it had not imported it."""

    def forget(*names: str) -> None:
        for name in names:
            flow_classes._code.pop(name, None)
            gate_specs._code.pop(name, None)

    return forget
