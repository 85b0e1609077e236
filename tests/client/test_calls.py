"""Gated calls outside a flow: waited for, keyed, submitted."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path

import anyio
import pytest
from anyio import to_thread

from signoff import (
    ApprovalBlocked,
    ApprovalExpired,
    ApprovalRejected,
    Client,
    keyed,
    require_approval,
    set_default_client,
)
from signoff.errors import (
    ConfigurationError,
    KeyConflict,
    NotServing,
    RunCancelled,
)
from signoff.gates import bind_to
from signoff.model.changes import Changes
from signoff.model.request import Request
from signoff.security.keyring import Keyring
from signoff.stores import MemoryStore, SQLiteStore
from signoff.testing import ManualClock, MemoryMail

CFO = "cfo@acme.example"
PAID: list[int] = []


@require_approval(name="calls.pay", action="Pay {amount}", assignees=[CFO])
async def pay(amount: int) -> str:
    """Note that it ran."""
    PAID.append(amount)
    return f"paid {amount}"


@require_approval(name="calls.pay_blocking", action="Pay {amount}", assignees=[CFO])
def pay_blocking(amount: int) -> str:
    """Note that it ran."""
    PAID.append(amount)
    return f"paid {amount}"


@require_approval(name="calls.pay_lenient", assignees=[CFO], on_reject="return")
async def pay_lenient(amount: int) -> str:
    """Note that it ran."""
    PAID.append(amount)
    return f"paid {amount}"


def nobody_can_be_asked(_arguments: object) -> list[str]:
    """Stand in for a look-up that fails."""
    raise LookupError("the staff list is away")


@require_approval(name="calls.unaskable", assignees=nobody_can_be_asked)
async def unaskable() -> None:
    """Never run."""


def plain() -> None:
    """Have no gate."""


@pytest.fixture(name="mail")
def _mail() -> MemoryMail:
    return MemoryMail()


@pytest.fixture(name="clock")
def _clock() -> ManualClock:
    return ManualClock()


@pytest.fixture(name="client")
async def _client(mail: MemoryMail, clock: ManualClock) -> AsyncIterator[Client]:
    PAID.clear()
    async with Client(notifiers=[mail], clock=clock) as client:
        set_default_client(client)
        yield client
        set_default_client(None)


@pytest.fixture(name="impatient")
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at the store more often than once a second, where no commit of this client's rings."""
    monkeypatch.setattr("signoff.foreground._POLL_SECONDS", 0.01)


async def asked(client: Client) -> Request:
    """Return the first pending request, once there is one."""
    while True:
        heard = client._bell.rings
        page = await client.hitl.list_requests(status="pending")
        if page:
            return page[0]
        await client._bell.wait(1, after=heard)


async def answer(client: Client, *, approve: bool = True) -> None:
    """Answer the first request that comes up."""
    request = await asked(client)
    if approve:
        await client.hitl.approve(request_id=request.request_id, reviewer=CFO)
    else:
        await client.hitl.reject(request_id=request.request_id, reason="no", reviewer=CFO)


@pytest.mark.parametrize("call", [pay, keyed(pay, "inv-1")], ids=["plain", "keyed"])
async def test_a_call_that_nobody_would_ever_answer_is_refused(
    client: Client, call: Callable[[int], object]
) -> None:
    """Nothing is stored, and the error says what to do."""
    with pytest.raises(NotServing, match=r"client\.serving"):
        await call(9)  # type: ignore[misc]  # both are coroutine functions

    assert await client.flows.list() == ()


async def test_a_call_waits_for_its_answer_and_runs(client: Client, mail: MemoryMail) -> None:
    """In the process that made it."""

    async def read_and_answer() -> None:
        request = await asked(client)
        while not mail.sent:
            await client._bell.wait(0.01)
        await client.hitl.approve(request_id=request.request_id, reviewer=CFO)

    async with client.serving(), anyio.create_task_group() as group:
        group.start_soon(read_and_answer)
        assert await pay(9) == "paid 9"

    assert PAID == [9]
    assert [str(one["To"]) for one in mail.sent][0] == CFO  # noqa: RUF015 - there is exactly one


async def test_a_refused_call_raises(client: Client) -> None:
    """With the reviewer's words."""
    async with client.serving(), anyio.create_task_group() as group:
        group.start_soon(lambda: answer(client, approve=False))
        with pytest.raises(ApprovalRejected, match="no"):
            await pay(9)

    assert PAID == []


async def test_an_unanswered_call_raises_at_its_expiry(
    client: Client, clock: ManualClock, impatient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The deadline fires while the client serves."""
    monkeypatch.setattr("signoff.worker.SWEEP_SECONDS", 0.01)

    async def sleep_through() -> None:
        await asked(client)
        clock.advance(timedelta(days=7))

    async with client.serving(), anyio.create_task_group() as group:
        group.start_soon(sleep_through)
        with pytest.raises(ApprovalExpired):
            await pay(9)


async def test_every_unkeyed_call_asks_anew(client: Client) -> None:
    """Two equal calls are two payments."""
    async with client.serving(), anyio.create_task_group() as group:
        for _ in range(2):
            group.start_soon(answer, client)
            await pay(9)

    assert PAID == [9, 9]
    assert len(await client.hitl.list_requests()) == 2


async def test_a_call_that_is_not_waited_for_any_more_is_taken_back(
    client: Client, mail: MemoryMail
) -> None:
    """Nobody else may execute it; the reviewer is told."""
    async with client.serving():
        async with anyio.create_task_group() as group:
            group.start_soon(pay, 9)
            request = await asked(client)
            group.cancel_scope.cancel()
        ended = await client.hitl.get_request(request.request_id)
        assert ended.resolution is not None
        assert (ended.status, ended.resolution.reason) == ("cancelled", "run cancelled")
    await client.drain()

    assert PAID == []
    assert "cancelled" in str(mail.sent[-1].get_body(("plain",))).lower()


class Interrupting(MemoryStore):
    """A store at whose first commit of a run its caller is cancelled, at one side of it."""

    def __init__(self, side: str) -> None:
        """Say at which."""
        super().__init__()
        self.side = side
        self.caller: anyio.CancelScope | None = None

    async def commit(self, changes: Changes) -> None:
        """Write, and cancel the caller."""
        caller, at_side = self.caller, self.side if changes.runs else ""
        if caller is not None and at_side == "before":
            caller.cancel()
            await anyio.lowlevel.checkpoint()
        await super().commit(changes)
        if caller is not None and at_side == "after":
            self.caller = None
            caller.cancel()
            await anyio.lowlevel.checkpoint()


@pytest.mark.parametrize(("side", "left"), [("before", []), ("after", ["cancelled"])])
async def test_a_call_whose_caller_is_cancelled_while_it_is_stored_is_not_left_waiting(
    side: str, left: list[str]
) -> None:
    """Nobody but its caller could ever execute it."""
    PAID.clear()
    store = Interrupting(side)
    async with Client(store) as client, client.serving():
        with anyio.CancelScope() as store.caller:
            await client.call_gate(bind_to(pay, (9,), {}), key=None)
        store.caller = None
        assert [run.status for run in await client.flows.list()] == left

    assert PAID == []


async def test_a_submission_that_is_cancelled_while_it_is_stored_is_nobodys_yet() -> None:
    """Whoever serves goes on with it, as with any other."""
    store = Interrupting("after")
    async with Client(store) as client:
        with anyio.CancelScope() as store.caller:
            await client.submit(pay, 9)
        (run,) = await client.flows.list()
        assert run.status == "ready"
        assert (await client.drain()).advanced == (run.run_id,)


async def test_a_call_answered_in_another_process_runs_in_its_own(
    state_home: Path, database: Path, impatient: None
) -> None:
    """The other process serves the store and has the answer; only the caller may execute."""
    PAID.clear()
    here, there = Client(SQLiteStore(database)), Client(SQLiteStore(database))
    async with here, there, there.serving():
        set_default_client(here)
        while not await here._store.live_claims("serving:"):
            await anyio.lowlevel.checkpoint()
        result: list[str] = []

        async def call() -> None:
            result.append(await pay(9))

        async with anyio.create_task_group() as group:
            group.start_soon(call)
            while not await here.hitl.list_requests(status="pending"):
                await anyio.lowlevel.checkpoint()
            await there.drain()
            await answer(there)
            assert (await there.drain()).advanced == ()
        set_default_client(None)

    assert (result, PAID) == (["paid 9"], [9])


async def test_a_blocking_call_waits_in_its_own_thread(client: Client) -> None:
    """And the loop goes on meanwhile."""
    async with client.serving(), anyio.create_task_group() as group:
        group.start_soon(answer, client)
        assert await to_thread.run_sync(pay_blocking, 9) == "paid 9"


async def test_a_blocking_call_in_an_event_loop_is_refused(client: Client) -> None:
    """It would block the very loop that has to bring the answer."""
    async with client.serving():
        for call in (pay_blocking, keyed(pay_blocking, "inv-2")):
            with pytest.raises(ConfigurationError, match=r"signoff\.to_thread"):
                call(9)


def test_a_blocking_call_of_plain_code_opens_the_client_itself() -> None:
    """Here to say that nobody serves."""
    set_default_client(Client())
    try:
        with pytest.raises(NotServing):
            pay_blocking(9)
    finally:
        set_default_client(None)


# Keys.


async def test_a_keyed_call_is_asked_and_executed_once(client: Client) -> None:
    """Later callers get its result; other arguments are refused."""
    async with client.serving(), anyio.create_task_group() as group:
        group.start_soon(answer, client)
        assert await keyed(pay, "inv-17")(9) == "paid 9"
        assert await keyed(pay, "inv-17")(9) == "paid 9"
        with pytest.raises(KeyConflict, match="inv-17"):
            await keyed(pay, "inv-17")(10)

    assert PAID == [9]


async def test_callers_of_one_key_at_the_same_time_share_one_call(client: Client) -> None:
    """Whoever stores it first."""
    results: list[str] = []

    async def call() -> None:
        results.append(await keyed(pay, "inv-18")(9))

    async with client.serving(), anyio.create_task_group() as group:
        for _ in range(8):
            group.start_soon(call)
        group.start_soon(answer, client)

    assert (results, PAID) == (["paid 9"] * 8, [9])


async def test_a_blocking_keyed_call_is_one_too(client: Client) -> None:
    """From a thread."""
    async with client.serving(), anyio.create_task_group() as group:
        group.start_soon(answer, client)
        assert await to_thread.run_sync(keyed(pay_blocking, "inv-19"), 9) == "paid 9"
        assert await to_thread.run_sync(keyed(pay_blocking, "inv-19"), 9) == "paid 9"

    assert PAID == [9]


@pytest.mark.parametrize("submits", [True, False], ids=["submit", "keyed"])
async def test_an_empty_key_is_refused(client: Client, *, submits: bool) -> None:
    """As of an invoice that has no number yet: it would be everybody's key."""
    async with client.serving():
        with pytest.raises(ConfigurationError, match="key is empty"):
            await (client.submit(pay, 9, key="") if submits else keyed(pay, "")(9))


async def test_a_cancelled_keyed_call_raises_that_it_was_cancelled(client: Client) -> None:
    """To whoever waits for it then; its key may be used again."""

    async def cancel() -> None:
        await client.flows.cancel((await asked(client)).run_id)

    async with client.serving(), anyio.create_task_group() as group:
        group.start_soon(cancel)
        with pytest.raises(RunCancelled):
            await keyed(pay, "inv-20")(9)
        group.start_soon(answer, client)
        assert await keyed(pay, "inv-20")(10) == "paid 10"


# Submitting.


async def test_a_submitted_call_is_executed_by_whoever_works(
    client: Client, mail: MemoryMail
) -> None:
    """Its submitter does not wait, and nobody needs to serve."""
    request = await client.submit(pay, 9, key="inv-21")
    again = await client.submit(pay, 9, key="inv-21")
    assert again.request_id == request.request_id
    with pytest.raises(KeyConflict):
        await client.submit(pay, 10, key="inv-21")

    await client.hitl.approve(request_id=request.request_id, reviewer=CFO)
    await client.drain()
    assert (await client.flows.get(request.run_id)).output == "paid 9"
    assert PAID == [9]


async def test_a_submitted_call_without_a_key_asks_each_time(client: Client) -> None:
    """Two equal calls are two requests."""
    first, second = await client.submit(pay, 9), await client.submit(pay, 9)

    assert first.request_id != second.request_id


async def test_submitting_while_the_engine_works_on_the_same_run_returns_its_request(
    client: Client,
) -> None:
    """Whichever of the two is first to drive it."""
    async with client.serving(), anyio.create_task_group() as group:
        for number in range(20):
            group.start_soon(client.submit, pay, number)

    assert len(await client.hitl.list_requests()) == 20


async def test_submitting_waits_for_whoever_is_just_about_to_ask(
    client: Client, impatient: None
) -> None:
    """Another process holds the run; once it lets go, the request comes."""
    run_id = await client._submitted(bind_to(pay, (9,), {}), key="inv-22")
    keeper = client._machinery.keeper
    held = await keeper.take(run_id)
    assert held is not None
    requests: list[Request] = []

    async def submit() -> None:
        requests.append(await client.submit(pay, 9, key="inv-22"))

    async with anyio.create_task_group() as group:
        group.start_soon(submit)
        await anyio.wait_all_tasks_blocked()
        assert requests == []
        await client._machinery.executor.drive_held(held)

    assert [request.run_id for request in requests] == [run_id]


async def test_a_submitted_call_that_cannot_ask_raises_why(client: Client) -> None:
    """So does one that is waited for."""
    with pytest.raises(ConfigurationError, match="assignees= raised LookupError"):
        await client.submit(unaskable)
    async with client.serving():
        with pytest.raises(ConfigurationError, match="assignees= raised LookupError"):
            await unaskable()


async def test_a_submitted_call_that_is_blocked_before_it_asks_raises_why() -> None:
    """Here because its checkpoint was made with a key that nobody knows."""
    store, keyring = MemoryStore(), Keyring.generate()
    async with Client(store, keyring=keyring.rotated({1})) as client:
        await client._submitted(bind_to(pay, (9,), {}), key="inv-23")
    store._key_checks.pop(2)

    async with Client(store, keyring=keyring) as client:
        with pytest.raises(ApprovalBlocked, match="seal_invalid") as raised:
            await client.submit(pay, 9, key="inv-23")
        (run,) = await client.flows.list()
    assert (raised.value.request_id, raised.value.run_id) == ("", run.run_id)


async def test_only_a_gated_call_with_fitting_arguments_can_be_submitted(client: Client) -> None:
    """The caller's slips are the caller's to hear of."""
    with pytest.raises(ConfigurationError, match="asks nobody"):
        await client.submit(plain)
    with pytest.raises(TypeError):
        await client.submit(pay)
    assert await client.flows.list() == ()


async def test_a_refusal_is_returned_where_the_gate_says_so(client: Client) -> None:
    """To a caller outside a flow as well."""
    async with client.serving(), anyio.create_task_group() as group:
        group.start_soon(lambda: answer(client, approve=False))
        refusal = await pay_lenient(9)

    assert isinstance(refusal, ApprovalRejected)
    assert (refusal.reason, PAID) == ("no", [])
