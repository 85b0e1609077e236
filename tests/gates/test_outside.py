"""Gated calls outside a flow: unkeyed, keyed, submitted."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass

import anyio
import anyio.lowlevel
import pytest
from anyio.streams.memory import MemoryObjectReceiveStream

from signoff import (
    ApprovalRejected,
    Client,
    keyed,
    require_approval,
    set_default_client,
    to_thread,
)
from signoff.errors import ConfigurationError, KeyConflict, NotServing
from signoff.model.audit import AuditEntry
from signoff.model.request import Request
from signoff.security.keyring import Keyring
from signoff.stores import MemoryStore
from signoff.testing import ManualClock

CFO = "cfo@acme.example"


@dataclass
class Office:
    """A client, and word of what it asks."""

    client: Client
    opened: MemoryObjectReceiveStream[None]

    async def asked(self) -> Request:
        """Wait for the next question, and return the one that waits."""
        await self.opened.receive()
        (request,) = await self.client.hitl.list_requests(status="pending")
        return request

    async def approve(self, payload: object = None) -> None:
        """Approve the next question."""
        request = await self.asked()
        await self.client.hitl.approve(request_id=request.request_id, payload=payload, reviewer=CFO)

    async def reject(self) -> None:
        """Refuse the next question."""
        request = await self.asked()
        await self.client.hitl.reject(request_id=request.request_id, reviewer=CFO)


@pytest.fixture(name="office")
async def _office() -> AsyncIterator[Office]:
    """Return an open default client that nobody serves yet."""
    send, receive = anyio.create_memory_object_stream[None](100)

    def listen(entry: AuditEntry) -> None:
        if b"request.opened" in entry.body:
            send.send_nowait(None)

    with send, receive:
        async with Client(clock=ManualClock(), on_event=listen) as client:
            set_default_client(client)
            yield Office(client, receive)
            set_default_client(None)


class Payment:
    """A gated function that keeps what it paid, sync and async."""

    def __init__(self, **options: object) -> None:
        """Make the gates."""
        self.paid: list[int] = []
        paid = self.paid

        @require_approval(**options)  # type: ignore[call-overload, untyped-decorator]  # any options
        async def apay(amount: int) -> str:
            paid.append(amount)
            return f"paid {amount}"

        @require_approval(**options)  # type: ignore[call-overload, untyped-decorator]  # any options
        def pay(amount: int) -> str:
            paid.append(amount)
            return f"paid {amount}"

        self.apay = apay
        self.pay = pay


async def test_a_call_outside_a_flow_waits_for_its_answer(office: Office) -> None:
    """Its caller executes it, with the arguments as they were approved."""
    payment = Payment()

    async with office.client.serving(), anyio.create_task_group() as group:
        group.start_soon(office.approve, {"amount": 4})
        assert await payment.apay(5) == "paid 4"

    assert payment.paid == [4]
    (run,) = await office.client.flows.list()
    assert (run.kind, run.status) == ("call", "completed")
    assert run.state == {}


async def test_every_unkeyed_call_asks_anew(office: Office) -> None:
    """The same call twice is two questions."""
    payment = Payment()

    async with office.client.serving():
        for _ in range(2):
            async with anyio.create_task_group() as group:
                group.start_soon(office.approve)
                await payment.apay(5)

    assert payment.paid == [5, 5]
    assert len(await office.client.hitl.list_requests()) == 2


@pytest.mark.parametrize("key", [None, "inv-17"])
async def test_a_refusal_is_raised_or_returned(office: Office, key: str | None) -> None:
    """As the gate says, keyed or not."""

    @require_approval(name="signoff tests: raising")
    async def raising() -> None: ...

    @require_approval(name="signoff tests: returning", on_reject="return")
    async def returning() -> None: ...

    async with office.client.serving(), anyio.create_task_group() as group:
        group.start_soon(office.reject)
        with pytest.raises(ApprovalRejected):
            await (keyed(raising, key) if key else raising)()
        group.start_soon(office.reject)
        refusal = await (keyed(returning, key) if key else returning)()

    assert isinstance(refusal, ApprovalRejected)
    assert refusal.reviewer == CFO


async def test_live_arguments_reach_the_body_of_an_unkeyed_call(office: Office) -> None:
    """They stay in this process, which is the one that executes."""
    seen: list[object] = []
    session = object()

    class Till:
        @require_approval(live=["session"])
        async def pay(self, session: object, amount: int) -> int:
            seen.append((self, session))
            return amount

    till = Till()
    async with office.client.serving(), anyio.create_task_group() as group:
        group.start_soon(office.approve)
        assert await till.pay(session, 5) == 5

    assert seen == [(till, session)]


async def test_nobody_who_serves_is_an_error_before_anybody_is_asked(office: Office) -> None:
    """Such a call would wait for ever."""
    payment = Payment()

    for call in (payment.apay, keyed(payment.apay, "inv-17")):
        with pytest.raises(NotServing, match="no process serves this store"):
            await call(5)

    assert not await office.client.hitl.list_requests()


async def test_another_process_that_serves_will_do() -> None:
    """Its claim on serving is what counts."""
    store, keyring, payment = MemoryStore(), Keyring.generate(), Payment()
    seen = anyio.Event()

    def listen(entry: AuditEntry) -> None:
        if b"request.opened" in entry.body:
            seen.set()

    async def approve(elsewhere: Client) -> None:
        await seen.wait()
        (request,) = await elsewhere.hitl.list_requests(status="pending")
        await elsewhere.hitl.approve(request_id=request.request_id, reviewer=CFO)

    async with (
        Client(store, keyring=keyring) as elsewhere,
        Client(store, keyring=keyring, on_event=listen) as here,
        elsewhere.serving(),
        anyio.create_task_group() as group,
    ):
        while not await store.live_claims("serving:"):
            await anyio.lowlevel.checkpoint()
        set_default_client(here)
        try:
            group.start_soon(approve, elsewhere)
            assert await payment.apay(5) == "paid 5"
        finally:
            set_default_client(None)

    assert payment.paid == [5]


async def test_the_same_key_is_the_same_call(office: Office) -> None:
    """One question, one execution, one result, however often and by whomever it is called."""
    payment, results = Payment(), list[str]()

    async def call() -> None:
        results.append(await keyed(payment.apay, "inv-17")(5))

    async with office.client.serving(), anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(call)
        await office.approve()
    async with office.client.serving():
        await call()

    assert (payment.paid, results) == ([5], ["paid 5"] * 4)
    with pytest.raises(KeyConflict) as conflict:
        async with office.client.serving():
            await keyed(payment.apay, "inv-17")(6)
    assert conflict.value.key == "inv-17"
    assert conflict.value.run_id == (await office.client.flows.list())[0].run_id


async def test_a_keyed_call_is_executed_by_whoever_comes_first() -> None:
    """Another process with the code executes it, and the caller gets the result."""
    store, keyring, payment = MemoryStore(), Keyring.generate(), Payment()
    async with (
        Client(store, keyring=keyring) as here,
        Client(store, keyring=keyring) as elsewhere,
    ):
        request = await here.submit(payment.apay, 5, key="inv-17")
        assert await here.submit(payment.apay, 5, key="inv-17") == request
        await elsewhere.hitl.approve(request_id=request.request_id, reviewer=CFO)
        await elsewhere.drain()
        assert payment.paid == [5]
        set_default_client(here)
        try:
            async with here.serving():
                assert await keyed(payment.apay, "inv-17")(5) == "paid 5"
        finally:
            set_default_client(None)

    assert payment.paid == [5]


async def test_a_submitted_call_with_hidden_arguments_keeps_them_hidden(office: Office) -> None:
    """It is executed from what is stored, whatever became of the caller."""
    seen: list[str] = []

    @require_approval(hidden=["card"])
    def charge(card: str, amount: int) -> str:
        seen.append(f"{card} {amount}")
        return "charged"

    request = await office.client.submit(charge, "4929", 5, key="inv-17")
    assert "4929" not in request.payload_json
    assert (await office.client.submit(charge, "4929", 5, key="inv-17")) == request
    with pytest.raises(KeyConflict):
        await office.client.submit(charge, "4930", 5, key="inv-17")
    await office.client.hitl.approve(request_id=request.request_id, reviewer=CFO)
    await office.client.drain()

    assert seen == ["4929 5"]


async def test_what_cannot_be_stored_is_not_submitted(office: Office) -> None:
    """Live parameters, ungated functions, and arguments that do not fit."""

    class Till:
        @require_approval
        def pay(self, amount: int) -> None: ...

    def ungated() -> None: ...

    with pytest.raises(ConfigurationError, match=r"live parameters \(self\)"):
        await office.client.submit(Till().pay, 5)
    with pytest.raises(ConfigurationError, match="is not under @require_approval"):
        await office.client.submit(ungated)
    with pytest.raises(TypeError, match="unexpected keyword argument 'to'"):
        await office.client.submit(Payment().pay, 5, to="acme")


async def test_a_cancelled_caller_takes_its_question_back(office: Office) -> None:
    """Nobody else may execute the call, so nobody needs to answer."""
    payment = Payment()

    async with office.client.serving(), anyio.create_task_group() as group:
        group.start_soon(payment.apay, 5)
        request = await office.asked()
        group.cancel_scope.cancel()

    assert (await office.client.hitl.get_request(request.request_id)).status == "cancelled"
    (run,) = await office.client.flows.list()
    assert (run.status, payment.paid) == ("cancelled", [])


async def test_a_sync_call_blocks_its_own_thread(office: Office) -> None:
    """A worker thread, and a plain one that knows no loop at all."""
    payment, results = Payment(), list[str]()

    def call(key: str | None) -> None:
        results.append((keyed(payment.pay, key) if key else payment.pay)(5))

    async with office.client.serving():
        for key in (None, "inv-17"):
            async with anyio.create_task_group() as group:
                group.start_soon(to_thread, call, key)
                await office.approve()
            thread = threading.Thread(target=call, args=(key,))
            thread.start()
            if key is None:
                await office.approve()
            await anyio.to_thread.run_sync(thread.join)

    assert results == ["paid 5"] * 4
    assert payment.paid == [5, 5, 5]


async def test_a_sync_call_on_an_event_loop_is_refused(office: Office) -> None:
    """It would block the loop that the answer has to come through."""
    payment = Payment()

    async with office.client.serving():
        for call in (payment.pay, keyed(payment.pay, "inv-17")):
            with pytest.raises(ConfigurationError, match="would block this event loop"):
                call(5)
