"""Every store beside a plain model, under commands, mail, time and crashes in any order."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, TypeAlias, TypeVar, cast

import hypothesis
import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)
from typing_extensions import override

from signoff import Client, Flow, Request, require_approval, start
from signoff.errors import (
    AlreadyDecidedError,
    DecisionError,
    RequestCancelledError,
    RequestExpiredError,
    StoreError,
)
from signoff.model.changes import Changes
from signoff.ports import RequestQuery, Store
from signoff.security.keyring import Keyring
from signoff.stores import MemoryStore
from signoff.testing import FaultyStore, ManualClock, MemoryMail

OpenStore: TypeAlias = Callable[[Path], Store]
T = TypeVar("T")

REVIEWER = "cfo@acme.example"
DAY = timedelta(days=1)
EFFECTS: list[tuple[str, int, int]] = []
"""What happened: in which world, for which run, how much."""


@require_approval(
    name="model.pay",
    action="Pay for run {number}",
    assignees=[REVIEWER],
    expires_after=DAY,
    valid_for=DAY,
)
async def pay(world: str, number: int, amount: int) -> int:
    """Do something that must not be done twice."""
    EFFECTS.append((world, number, amount))
    return amount


class Payment(Flow, name="model.payment"):
    """One gated call."""

    @start()
    async def go(self) -> int:
        """Make it."""
        return await pay(str(self.state["world"]), int(str(self.state["number"])), 1)


@dataclass
class Expected:
    """
    A run as one would tell it on the phone.

    Attributes:
        status: Of its request; empty while nothing was asked.
        expires_at: When the question lapses.
        decided_at: When it was answered.
        amount: What was approved.
        run: Of the run; open until it ends.
        paid: What was paid.
    """

    status: str = ""
    expires_at: datetime | None = None
    decided_at: datetime | None = None
    amount: int = 1
    run: str = "open"
    paid: list[int] = field(default_factory=list[int])

    def work(self, now: datetime) -> None:
        """Do what is ready or due."""
        if self.run != "open":
            return
        if not self.status:
            self.status, self.expires_at = "pending", now + DAY
        elif self.status == "pending" and self.late(now):
            self.status, self.run = "expired", "failed"
        elif self.status in {"rejected", "cancelled"}:
            self.run = "failed"
        elif self.status == "approved" and self.decided_at is not None:
            in_time = now < self.decided_at + DAY
            self.run = "completed" if in_time else "failed"
            self.paid += [self.amount] * in_time

    def late(self, now: datetime) -> bool:
        """Return whether nobody may answer any more."""
        return self.expires_at is not None and now >= self.expires_at

    def refusal(self, now: datetime) -> type[DecisionError] | None:
        """Return what an answer runs into."""
        if self.status == "pending":
            return RequestExpiredError if self.late(now) else None
        ends = {"cancelled": RequestCancelledError, "expired": RequestExpiredError}
        return ends.get(self.status, AlreadyDecidedError)

    def decide(self, status: str, now: datetime, *, amount: int = 1) -> None:
        """Answer."""
        if self.refusal(now) is None:
            self.status, self.decided_at, self.amount = status, now, amount


class World:
    """One store, and one process after another over it."""

    def __init__(self, name: str, open_store: OpenStore, portal: BlockingPortal) -> None:
        self.name = name
        self._open_store = open_store
        self._portal = portal
        self._keys = Keyring.generate()
        self._stack = ExitStack()
        self._folder = Path(self._stack.enter_context(TemporaryDirectory()))
        self._mail = MemoryMail()
        self.clock = ManualClock()
        self.runs: list[str] = []
        self.store, self._client = self.opened()

    def opened(self) -> tuple[FaultyStore, Client]:
        """Start a process; whoever held a claim before is dead."""
        store = FaultyStore(self._open_store(self._folder), lasting=True)
        client = Client(
            store, notifiers=[self._mail], inbox=self._mail, keyring=self._keys, clock=self.clock
        )
        self.call(client.__aenter__)
        self.call(store.let_claims_lapse)
        return store, client

    def closed(self) -> None:
        """End a process."""
        self.call(lambda: self._client.__aexit__(None, None, None))

    def removed(self) -> None:
        """End it for good."""
        self.closed()
        self._stack.close()

    def call(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do something on the loop."""

        async def done() -> T:
            return await work()

        return self._portal.call(done)

    def start(self) -> None:
        """Start another run."""
        inputs = {"world": self.name, "number": len(self.runs)}
        self.runs.append(self.call(lambda: self._client.flows.start(Payment, inputs=inputs)).run_id)

    def drain(self) -> None:
        """Do what is ready or due, and tell what became of calls in doubt."""
        self.call(self._drained)

    async def _drained(self) -> None:
        await self._client.drain()
        pending = await self._client.hitl.list_requests(status="pending", limit=100)
        doubts = [one for one in pending if one.kind == "in_doubt"]
        for one in doubts:
            call = cast("dict[str, Any]", one.payload)
            happened = (self.name, call["number"], call["amount"]) in EFFECTS
            await self._client.hitl.respond(
                request_id=one.request_id,
                outcome="happened" if happened else "run_again",
                payload=call["amount"] if happened else None,
                reviewer=REVIEWER,
            )
        if doubts:
            await self._drained()

    def request(self, number: int) -> Request:
        """Return the one question about a run's call."""
        query = RequestQuery(run_id=self.runs[number])
        found = self.call(lambda: self.store.requests(query))
        (request,) = (one for one in found if one.kind == "call")
        return request

    def decide(self, number: int, verb: Literal["approve", "reject"], amount: int) -> object:
        """Answer through the application; return what that ran into."""
        request_id, hitl = self.request(number).request_id, self._client.hitl
        try:
            if verb == "reject":
                self.call(lambda: hitl.reject(request_id=request_id, reviewer=REVIEWER))
            else:
                edit = {"amount": amount} if amount > 1 else None
                self.call(
                    lambda: hitl.approve(request_id=request_id, payload=edit, reviewer=REVIEWER)
                )
        except DecisionError as error:
            return type(error)
        return None

    def withdraw(self, number: int) -> object:
        """Cancel the question; return what that ran into."""
        request_id = self.request(number).request_id
        try:
            self.call(lambda: self._client.hitl.cancel(request_id=request_id))
        except DecisionError as error:
            return type(error)
        return None

    def cancel(self, number: int) -> None:
        """Cancel the run."""
        self.call(lambda: self._client.flows.cancel(self.runs[number]))

    def reply(self, number: int, text: str, times: int) -> bool:
        """Answer by mail, which arrives so many times; say whether there is a mail to answer."""
        subject = f"for run {number}"
        asked = [mail for mail in self._mail.sent if str(mail["Subject"]).endswith(subject)]
        for mail in asked[:1] * times:
            self._mail.reply(mail, text)
        return bool(asked)

    def crash(self, commits: int, side: Literal["before", "after"]) -> None:
        """Die at one of the next commits of a drain, and start again."""
        self.closed()
        store = FaultyStore(self._open_store(self._folder), at=commits, side=side)
        client = Client(
            store, notifiers=[self._mail], inbox=self._mail, keyring=self._keys, clock=self.clock
        )
        with suppress(StoreError):
            self.call(lambda: _died(client))
        self.store, self._client = self.opened()
        self.drain()

    def told(self, number: int) -> tuple[object, ...]:
        """Return how things stand with a run."""
        run = self.call(lambda: self._client.flows.get(self.runs[number]))
        found = self.call(lambda: self.store.requests(RequestQuery(run_id=run.run_id)))
        calls = [one.status for one in found if one.kind == "call"]
        paid = [what for world, which, what in EFFECTS if (world, which) == (self.name, number)]
        ended = run.status if run.status in {"completed", "failed", "cancelled"} else "open"
        return calls, ended, paid


async def _died(client: Client) -> None:
    async with client:
        await client.drain()


class LockStep(RuleBasedStateMachine):
    """Commands, mail, time and crashes, in any order, to all stores and the model."""

    stores: Mapping[str, OpenStore]
    backend: str

    payments: Bundle[int] = Bundle("payments")

    def __init__(self) -> None:
        super().__init__()
        EFFECTS.clear()
        self._stack = ExitStack()
        portal = self._stack.enter_context(start_blocking_portal(self.backend))
        self.worlds = [World(name, make, portal) for name, make in self.stores.items()]
        self.expected: list[Expected] = []

    def teardown(self) -> None:
        """End all processes."""
        for world in self.worlds:
            world.removed()
        self._stack.close()

    @property
    def now(self) -> datetime:
        """What all their clocks show."""
        return self.worlds[0].clock.now()

    def everywhere(self, do: Callable[[World], object]) -> object:
        """Do something in all worlds, and return what they all say of it."""
        answers = [do(world) for world in self.worlds]
        assert answers[1:] == answers[:-1], answers
        return answers[0]

    def work(self) -> None:
        """Let the model do what the worlds did."""
        for one in self.expected:
            one.work(self.now)

    @rule(target=payments, asks=st.booleans())
    def begin(self, asks: bool) -> MultipleResults[int] | int:
        """Start a run, and let it ask."""
        self.everywhere(World.start)
        self.expected.append(Expected())
        if asks:
            self.drain()
            return len(self.expected) - 1
        return multiple()

    @rule()
    def drain(self) -> None:
        """Do what is ready or due."""
        self.everywhere(World.drain)
        self.work()

    @rule(
        number=payments,
        verb=st.sampled_from(["approve", "reject"]),
        amount=st.integers(1, 3),
        times=st.integers(1, 3),
    )
    def decide(
        self, number: int, verb: Literal["approve", "reject"], amount: int, times: int
    ) -> None:
        """Answer, perhaps with a change, perhaps several times; the first one counts."""
        one = self.expected[number]
        for _ in range(times):
            refusal = one.refusal(self.now)
            found = self.everywhere(lambda world: world.decide(number, verb, amount))
            assert found is refusal
            status = "approved" if verb == "approve" else "rejected"
            one.decide(status, self.now, amount=amount)

    @rule(number=payments)
    def withdraw(self, number: int) -> None:
        """Take a question back, even one whose time is up and that nobody has noticed yet."""
        one = self.expected[number]
        refusal = one.refusal(self.now) if one.status != "pending" else None
        found = self.everywhere(lambda world: world.withdraw(number))
        assert found is refusal
        one.status = "cancelled" if refusal is None else one.status

    @rule(number=consumes(payments))
    def cancel(self, number: int) -> None:
        """Cancel a run; what is approved and not started never starts."""
        one = self.expected[number]
        if one.status == "pending" and one.late(self.now):
            self.drain()
        self.everywhere(lambda world: world.cancel(number))
        one.status = "cancelled" if one.status == "pending" else one.status
        one.run = "completed" if one.run == "completed" else "cancelled"
        self.drain()

    @rule(
        number=payments,
        text=st.sampled_from(["Approved", "Rejected", "perhaps", ""]),
        times=st.integers(1, 3),
    )
    def reply(self, number: int, text: str, times: int) -> None:
        """Answer by mail, up to three times the same; what is no answer decides nothing."""
        self.drain()
        replied = self.everywhere(lambda world: world.reply(number, text, times))
        if replied and text in {"Approved", "Rejected"}:
            self.expected[number].decide(text.lower(), self.now)
        self.drain()

    @rule(hours=st.sampled_from([1, 7, 30, -5]))
    def wait(self, hours: int) -> None:
        """Let time go by, or back."""
        for world in self.worlds:
            world.clock.advance(timedelta(hours=hours, minutes=1))

    @rule(commits=st.integers(1, 12), side=st.sampled_from(["before", "after"]))
    def crash(self, commits: int, side: Literal["before", "after"]) -> None:
        """Die while working, and start again."""
        self.everywhere(lambda world: world.crash(commits, side))
        self.work()
        self.work()

    @invariant()
    def all_say_the_same(self) -> None:
        """Every store says of every run what the model says."""
        for number, one in enumerate(self.expected):
            said = ([one.status] if one.status else [], one.run, one.paid)
            for world in self.worlds:
                assert world.told(number) == said, world.name


def in_lock_step(
    stores: Mapping[str, OpenStore],
    backend: str,
    *,
    examples: int,
    phases: tuple[hypothesis.Phase, ...] = tuple(hypothesis.Phase),
) -> None:
    """Let Hypothesis look for commands after which one of them says something else."""
    machine = type("LockStep", (LockStep,), {"stores": stores, "backend": backend})
    run_state_machine_as_test(
        machine,
        settings=hypothesis.settings(
            max_examples=examples,
            stateful_step_count=14,
            phases=phases,
            suppress_health_check=list(hypothesis.HealthCheck),
        ),
    )


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_every_store_does_what_the_model_does(
    every_store: Mapping[str, OpenStore], backend: str
) -> None:
    """Reliability 3: a failure prints the commands, shrunk, and the blob that repeats them."""
    in_lock_step(every_store, backend, examples=6)


@pytest.mark.reliability
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_every_store_does_what_the_model_does_for_long(
    every_store: Mapping[str, OpenStore], backend: str
) -> None:
    """Reliability 3: the same with more commands."""
    in_lock_step(every_store, backend, examples=400)


class Deaf(MemoryStore):
    """A store that keeps what was decided, and tells nobody."""

    @override
    async def commit(self, changes: Changes) -> None:
        await super().commit(replace(changes, signals=()))


class Undying(MemoryStore):
    """A store whose questions never expire."""

    @override
    async def expired(self, now: datetime, *, limit: int) -> list[str]:
        return []


@pytest.mark.parametrize("wrong", [Deaf, Undying])
def test_a_store_that_does_something_else_is_found(wrong: type[MemoryStore]) -> None:
    """The control: the model is not just what the store says."""
    with pytest.raises(AssertionError):
        in_lock_step(
            {"wrong": _kept(wrong)}, "asyncio", examples=1000, phases=(hypothesis.Phase.generate,)
        )


def _kept(make: type[MemoryStore]) -> OpenStore:
    stores: dict[Path, Store] = {}
    return lambda folder: stores.setdefault(folder, make())
