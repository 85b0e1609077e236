"""Bodies start only under a claim that is certain, and a fenced-out executor writes one row."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta

import anyio
import pytest

from signoff import Client, Flow, NotDone, require_approval, start
from signoff.claims import Held
from signoff.errors import StoreUnavailableError
from signoff.gates import bind_to
from signoff.model.changes import Acquire, Changes
from signoff.model.request import Request
from signoff.model.run import Run
from signoff.security.keyring import Keyring
from signoff.stores import MemoryStore
from signoff.testing import ManualClock

CFO = "cfo@acme.example"
LEASE = timedelta(seconds=30)


async def nothing(_what: str) -> None:
    """Do nothing."""


class Leased(MemoryStore):
    """A store whose leases go by a clock of the test's, and that lets it in at each commit."""

    def __init__(self) -> None:
        """Begin at the hour zero."""
        self.seconds = 0.0
        self.reading: Callable[[str], Awaitable[None]] = nothing
        self.before: Callable[[str], Awaitable[None]] = nothing
        self.after: Callable[[str], Awaitable[None]] = nothing
        self.statuses: list[str] = []
        super().__init__(lease_clock=lambda: self.seconds)

    async def request(self, request_id: str) -> Request:
        """Say that a request is read, then read it."""
        await self.reading(request_id)
        return await super().request(request_id)

    async def commit(self, changes: Changes) -> None:
        """Write, saying which status the journaled call has in it, before and after."""
        status = " ".join(call.status for one in changes.occurrences for call in one.record.calls)
        await self.before(status)
        await super().commit(changes)
        if status and status not in self.statuses[-1:]:
            self.statuses.append(status)
        await self.after(status)

    async def give_away(self, run_id: str) -> None:
        """Let the lease on a run lapse, and a process take it that dies at once."""
        self.seconds += LEASE.total_seconds()
        claim = await self.claim(run_id)
        assert claim is not None
        taken = Acquire(subject=run_id, holder="another", fencing=claim.fencing + 1, lease=LEASE)
        await super().commit(Changes(claims=(taken,)))


@pytest.fixture(name="store")
def _store() -> Leased:
    return Leased()


@pytest.fixture(name="keyring")
def _keyring() -> Keyring:
    return Keyring.generate()


@pytest.fixture(name="client")
async def _client(store: Leased, keyring: Keyring) -> AsyncIterator[Client]:
    async with Client(store, keyring=keyring, clock=ManualClock()) as client:
        yield client


@pytest.fixture(name="other")
async def _other(store: Leased, keyring: Keyring, client: Client) -> AsyncIterator[Client]:
    """Return a client of another process, as far as the store can tell."""
    async with Client(store, keyring=keyring) as other:
        yield other


async def pending(client: Client) -> Request:
    """Return the one request that waits."""
    (request,) = await client.hitl.list_requests(status="pending")
    return request


async def approved(client: Client, flow: type[Flow[object]]) -> Run:
    """Start a run and approve what it asks; nobody drives it on yet."""
    run = await client.flows.start(flow)
    await client.drain()
    await client.hitl.approve(request_id=(await pending(client)).request_id, reviewer=CFO)
    return run


class Payment:
    """A flow of one gated call, whose body waits until it is let go."""

    def __init__(self, **options: object) -> None:
        """Make the gate."""
        self.ran: list[int] = []
        self.begun = anyio.Event()
        self.go_on = anyio.Event()
        self.error: Exception | None = None
        payment = self

        @require_approval(**options)  # type: ignore[call-overload, untyped-decorator]  # any options
        async def pay(amount: int) -> object:
            payment.ran.append(amount)
            payment.begun.set()
            await payment.go_on.wait()
            if payment.error is not None:
                raise payment.error
            return f"paid {amount}"

        class Pays(Flow):
            @start()
            async def step(self) -> str:
                result: str = await pay(5)
                return result

        self.flow = Pays


def held_of(client: Client) -> Held:
    """Return the claim that a client keeps on the run that it drives."""
    (held,) = client._machinery.keeper._held
    return held


async def test_too_little_on_the_own_clock_starts_nothing(client: Client, store: Leased) -> None:
    """The claim is given up, and who takes it next starts the body."""
    payment = Payment()
    run = await approved(client, payment.flow)
    payment.go_on.set()

    async def stand_still(_: str) -> None:
        store.reading = nothing
        held = held_of(client)
        held.until -= LEASE.total_seconds() * 5 / 6

    store.reading = stand_still
    await client.drain()

    assert store.statuses == ["waiting", "started", "done"]
    assert (payment.ran, (await client.flows.get(run.run_id)).output) == ([5], "paid 5")
    claim = await store.claim(run.run_id)
    assert claim is not None
    assert claim.fencing == 3


@pytest.mark.parametrize(("left", "claims"), [(5.0, 2), (4.999, 3)])
async def test_the_store_has_the_last_word_on_what_is_left(
    client: Client, store: Leased, left: float, claims: int
) -> None:
    """A sixth of the lease has to be left when the start is committed, else it takes a new claim."""
    payment = Payment()
    run = await approved(client, payment.flow)
    payment.go_on.set()

    async def stand_still(_: str) -> None:
        store.reading = nothing
        store.seconds += LEASE.total_seconds() - left

    store.reading = stand_still
    report = await client.drain()

    assert report.errors == {}
    assert store.statuses == ["waiting", "started", "done"]
    assert (payment.ran, (await client.flows.get(run.run_id)).output) == ([5], "paid 5")
    claim = await store.claim(run.run_id)
    assert claim is not None
    assert claim.fencing == claims


async def test_a_process_that_stood_still_after_the_commit_puts_the_call_back(
    client: Client, store: Leased
) -> None:
    """The body has not begun, and the next holder may start it."""
    payment = Payment()
    run = await approved(client, payment.flow)
    payment.go_on.set()

    async def stand_still(status: str) -> None:
        if status == "started":
            store.after = nothing
            held_of(client).until = 0.0

    store.after = stand_still
    await client.drain()

    assert store.statuses == ["waiting", "started", "waiting", "started", "done"]
    assert (payment.ran, (await client.flows.get(run.run_id)).output) == ([5], "paid 5")


async def test_a_process_that_stood_still_too_long_leaves_the_call_in_doubt(
    client: Client, store: Leased, other: Client
) -> None:
    """It cannot put the call back under a claim that another one has, and runs nothing."""
    payment = Payment()
    run = await approved(client, payment.flow)

    async def stand_still(status: str) -> None:
        if status == "started":
            store.after = nothing
            held_of(client).until = 0.0
            await store.give_away(run.run_id)

    store.after = stand_still
    await client.drain()
    assert not payment.ran
    store.seconds += LEASE.total_seconds()
    await other.drain()

    assert (await pending(other)).kind == "in_doubt"
    assert not payment.ran


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (None, "returned paid 5"),
        (ValueError("no cover"), "raised no cover"),
        (ValueError(), "raised builtins:ValueError"),
    ],
)
async def test_a_fenced_out_executor_writes_one_row_that_the_human_reads(
    client: Client, store: Leased, other: Client, error: Exception | None, words: str
) -> None:
    """What its body came to is evidence; the journal belongs to the new holder."""
    payment = Payment()
    payment.error = error
    run = await approved(client, payment.flow)
    async with anyio.create_task_group() as group:
        group.start_soon(client.drain)
        await payment.begun.wait()
        await store.give_away(run.run_id)
        payment.go_on.set()

    (late,) = await store.late_results(run.run_id)
    assert store.statuses == ["waiting", "started"]
    assert (late.facts["fencing"], late.facts["nth"]) == (2, 0)
    store.seconds += LEASE.total_seconds()
    await other.drain()
    request = await pending(other)
    assert request.message.endswith(f" Its former executor has reported since that it {words}.")
    assert payment.ran == [5]


@pytest.mark.parametrize("has_stopped", [True, False])
async def test_not_done_runs_again_once_the_former_executor_has_stopped(
    client: Client, store: Leased, other: Client, has_stopped: bool
) -> None:
    """While the former body may still be running, a human is asked; its late word is leave."""
    payment = Payment(verify=lambda amount: NotDone())
    run = await approved(client, payment.flow)
    async with anyio.create_task_group() as group:
        group.start_soon(client.drain)
        await payment.begun.wait()
        await store.give_away(run.run_id)
        if has_stopped:
            payment.go_on.set()
        else:
            store.seconds += LEASE.total_seconds()
            await other.drain()
            assert (await pending(other)).kind == "in_doubt"
            payment.go_on.set()
    store.seconds += LEASE.total_seconds()
    await other.drain()
    run = await other.flows.get(run.run_id)

    assert payment.ran == ([5, 5] if has_stopped else [5])
    assert run.status == ("completed" if has_stopped else "blocked")


async def test_the_late_word_of_another_attempt_is_no_leave(
    client: Client, store: Leased, other: Client
) -> None:
    """Only the executor that started this very attempt can say that it has stopped."""
    payment = Payment(verify=lambda amount: NotDone())
    run = await approved(client, payment.flow)
    async with anyio.create_task_group() as group:
        group.start_soon(client.drain)
        await payment.begun.wait()
        await store.give_away(run.run_id)
        payment.go_on.set()
    payment.begun, payment.go_on = anyio.Event(), anyio.Event()
    store.seconds += LEASE.total_seconds()
    async with anyio.create_task_group() as group:
        group.start_soon(other.drain)
        await payment.begun.wait()
        await store.give_away(run.run_id)
        store.seconds += LEASE.total_seconds()
        await client.drain()
        request = await pending(client)
        payment.go_on.set()

    assert payment.ran == [5, 5]
    assert request.identity is not None
    assert request.identity.attempt == 2
    assert "has reported since" not in request.message


async def test_a_store_that_fails_at_the_end_leaves_the_call_in_doubt(
    client: Client, store: Leased
) -> None:
    """The step does not go on as if its call had been recorded."""
    payment = Payment()
    run = await approved(client, payment.flow)
    payment.go_on.set()

    async def fail(status: str) -> None:
        if status == "done":
            store.before = nothing
            raise StoreUnavailableError("the disk is full")

    store.before = fail
    report = await client.drain()
    assert "the disk is full" in report.errors[run.run_id]
    await client.drain()

    assert ((await pending(client)).kind, payment.ran) == ("in_doubt", [5])


async def test_a_drive_that_is_cancelled_lets_its_body_end_and_records_it(
    client: Client, store: Leased
) -> None:
    """Serving that ends in the middle of a body waits for it, and the next drive goes on."""
    payment = Payment()
    run = await approved(client, payment.flow)
    async with anyio.create_task_group() as group:
        group.start_soon(client.drain)
        await payment.begun.wait()
        group.cancel_scope.cancel()
        payment.go_on.set()

    assert store.statuses == ["waiting", "started", "done"]
    await client.drain()
    assert (payment.ran, (await client.flows.get(run.run_id)).output) == ([5], "paid 5")


async def test_a_caller_takes_no_run_from_the_worker_of_its_own_process(
    client: Client, store: Leased
) -> None:
    """Not even when its lease has lapsed: the body that is just running ends, and is recorded."""
    ran: list[int] = []
    results: list[object] = []
    begun, go_on = anyio.Event(), anyio.Event()

    @require_approval(idempotent=True, verify=lambda **_: NotDone())
    async def pay(amount: int) -> str:
        ran.append(amount)
        begun.set()
        await go_on.wait()
        return f"paid {amount}"

    request = await client.submit(pay, 9, key="inv-9")
    await client.hitl.approve(request_id=request.request_id, reviewer=CFO)

    async def call() -> None:
        results.append(await client.call_gate(bind_to(pay, (9,), {}), key="inv-9"))

    async with client.serving(), anyio.create_task_group() as group:
        await begun.wait()
        store.seconds += LEASE.total_seconds()
        group.start_soon(call)
        await anyio.wait_all_tasks_blocked()
        go_on.set()

    assert (results, ran) == (["paid 9"], [9])
