"""The blocking client: from any thread, several at once, without an event loop of the caller's."""

from __future__ import annotations

import asyncio  # noqa: TID251 - one of its threads carries a note of the loop it came from
import contextvars
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import cast

import anyio
import pytest

from signoff import Client as AsyncClient
from signoff import Flow, human_feedback, keyed, listen, require_approval, set_default_client, start
from signoff.errors import (
    AlreadyDecidedError,
    ConfigurationError,
    KeyringError,
    NotFoundError,
    StoreError,
    UnknownOutcomeError,
)
from signoff.model.request import Request
from signoff.model.run import Run
from signoff.security.keyring import Keyring
from signoff.stores import MemoryStore, SQLiteStore
from signoff.sync import Client
from signoff.testing import FaultyStore, ManualClock

CFO = "cfo@acme.example"
SOON = timedelta(seconds=30)


class Reviewed(Flow, name="sync.reviewed"):
    """A flow with a gate."""

    @start()
    @human_feedback("ok?", emit=["yes", "no"], assignees=[CFO])
    def ask(self) -> str:
        """Ask."""
        return "copy"

    @listen("yes")
    def publish(self) -> str:
        """Publish."""
        return "published"


@require_approval(name="sync.pay", action="Pay {amount}", assignees=[CFO])
def pay(amount: int) -> str:
    """Pay."""
    return f"paid {amount}"


@require_approval(name="sync.apay", action="Pay {amount}", assignees=[CFO])
async def apay(amount: int) -> str:
    """Pay, later."""
    return f"paid {amount}"


@pytest.fixture(name="host")
def _host(client: Client) -> Iterator[Client]:
    """Yield the client, to which calls go that name none."""
    set_default_client(client)
    yield client
    set_default_client(None)


def only_request(client: Client) -> Request:
    """Return the one request that is pending."""
    (request,) = client.hitl.list_requests(status="pending")
    return request


def asked(client: Client) -> Request:
    """Return the first pending request, once there is one."""
    while not (page := client.hitl.list_requests(status="pending")):
        threading.Event().wait(0.005)
    return page[0]


def in_thread(work: Callable[[], object]) -> Future[object]:
    """Run something in a thread of its own."""
    future: Future[object] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except Exception as error:  # noqa: BLE001 - raised to whoever asks for the result
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future


def test_a_run_is_started_answered_and_read_without_an_event_loop(client: Client) -> None:
    """The whole way of a request, through the blocking methods alone."""
    run = client.flows.start(Reviewed, requester="agent-7")
    assert run.status == "ready"
    assert client.drain().advanced == (run.id,)
    request = client.hitl.get_request(only_request(client).request_id)
    noted = client.hitl.comment(request_id=request.request_id, text="I am on it", author=CFO)
    assert noted.status == "pending"
    answered = client.hitl.respond(request_id=request.request_id, outcome="yes", reviewer=CFO)
    assert (answered.outcome, answered.decisions[0].reviewer) == ("yes", CFO)
    client.drain()

    ended = client.flows.wait(run.id, timeout=SOON)
    assert (ended.output, client.flows.get(run.id).output) == ("published", "published")
    assert [one.run_id for one in client.flows.list(flow=Reviewed)] == [run.id]
    assert client.hitl.wait(request.request_id).outcome == "yes"
    assert [one.seq for one in client.hitl.history(request_id=request.request_id)][:2] == [1, 2]
    assert not client.hitl.deliveries(request_id=request.request_id)
    assert client.hitl.get_stats().answered == 1
    assert client.health().blocked == ()
    assert client.keys_in_use() == frozenset()


def test_a_request_is_taken_back_handed_on_and_refused(client: Client) -> None:
    """And a question needs no decorator."""
    questions = [
        client.hitl.request(f"Question {number}", payload=number, assignees=[CFO], requester="me")
        for number in range(3)
    ]
    first, second, third = (one.request_id for one in questions)
    assert questions[0].requester == "me"
    moved = client.hitl.reassign(request_id=first, assignees=["ann@acme.example"], by=CFO)
    assert moved.assignees == ("ann@acme.example",)
    assert client.hitl.cancel(request_id=first, by=CFO).status == "cancelled"
    assert client.hitl.reject(request_id=second, reason="no", reviewer=CFO).status == "rejected"
    approved = client.hitl.approve(request_id=third, payload=7, reviewer=CFO)
    assert (approved.status, approved.payload) == ("approved", 7)


def test_a_run_is_cancelled_and_another_tried_again(client: Client) -> None:
    """As a person decides."""
    down = [True]

    class Fails(Flow, name="sync.fails"):
        @start()
        def begin(self) -> str:
            if down:
                raise OSError("down")
            return "up"

    cancelled = client.flows.start(Reviewed)
    assert client.flows.cancel(cancelled.id, by=CFO).status == "cancelled"
    failed = client.flows.start(Fails)
    client.drain()
    down.clear()
    client.flows.retry(failed.id, by=CFO)
    client.drain()
    assert client.flows.get(failed.id).output == "up"


def test_what_the_client_raises_comes_to_the_caller(client: Client) -> None:
    """The very exceptions of the other client, with what they know."""
    with pytest.raises(NotFoundError):
        client.flows.get("run_none")
    request = client.hitl.request("Shall we?", payload=1)
    with pytest.raises(UnknownOutcomeError, match="perhaps"):
        client.hitl.respond(request_id=request.request_id, outcome="perhaps", reviewer=CFO)
    client.hitl.approve(request_id=request.request_id, reviewer=CFO)
    with pytest.raises(AlreadyDecidedError):
        client.hitl.reject(request_id=request.request_id, reviewer="ann@acme.example")


def test_many_threads_use_one_client_at_once(client: Client) -> None:
    """Each gets its own answer, and every request is decided once."""

    def one(number: int) -> str:
        request = client.hitl.request("ok?", payload=number)
        answered = client.hitl.approve(request_id=request.request_id, reviewer=CFO)
        assert answered.payload == number
        return answered.request_id

    with ThreadPoolExecutor(8) as pool:
        decided = set(pool.map(one, range(40)))

    assert len(decided) == 40
    assert client.hitl.get_stats().approved == 40


def test_serving_goes_on_in_the_clients_own_thread(host: Client) -> None:
    """A gated call waits in its thread, and an answer from another one wakes it."""
    with host.serving() as serving:
        assert serving is host
        waiting = in_thread(lambda: pay(9))
        host.hitl.approve(request_id=asked(host).request_id, reviewer=CFO)
        assert waiting.result(30) == "paid 9"

    assert not waiting.running()


def test_a_stored_call_is_submitted_and_its_result_met_under_its_key(host: Client) -> None:
    """Without waiting, and once."""
    request = host.submit(pay, 9, key="inv-9")
    host.hitl.approve(request_id=request.request_id, reviewer=CFO)
    host.drain()
    with host.serving():
        assert keyed(pay, "inv-9")(9) == "paid 9"


def test_a_flow_is_kicked_off_through_the_blocking_client(client: Client) -> None:
    """Its steps run in the client's own thread, and it suspends as ever."""

    class Plain(Flow, name="sync.plain"):
        @start()
        def begin(self) -> str:
            return threading.current_thread().name

        @listen(begin)
        async def end(self) -> str:
            return threading.current_thread().name

    assert Plain(client=client).kickoff() == "signoff"


def test_what_awaits_finds_an_awaitable_behind_the_blocking_client(host: Client) -> None:
    """A program may have both: its coroutines run on their own loop."""

    class Plain(Flow, name="sync.plain_async"):
        @start()
        async def begin(self) -> str:
            return threading.current_thread().name

    async def both() -> tuple[object, str]:
        waiting = in_thread(
            lambda: host.hitl.approve(request_id=asked(host).request_id, reviewer=CFO)
        )
        paid = await apay(7)
        waiting.result(30)
        return await Plain(client=host).kickoff_async(), paid

    with host.serving():
        name, paid = anyio.run(both)

    assert (name, paid) == (threading.current_thread().name, "paid 7")


def test_a_serving_block_passes_on_what_it_raises(client: Client) -> None:
    """Even what ends the program, which is none of the loop's business; and can serve again."""
    for error in (LookupError("mine"), KeyboardInterrupt()):
        with pytest.raises(type(error)), client.serving():
            raise error
    with client.serving():
        assert client.drain().advanced == ()


# Who.


def test_a_callable_is_asked_in_the_thread_of_the_caller() -> None:
    """Where a web framework knows who is logged in; and only by calls that need it."""
    local = threading.local()

    def logged_in() -> str:
        name: str = local.name
        return name

    with Client(requester=logged_in, reviewer=logged_in) as client:
        set_default_client(client)
        client.health()
        client.drain()

        def as_(name: str) -> Callable[[], object]:
            def work() -> tuple[str | None, str | None, str | None]:
                local.name = name
                run = client.flows.start(Reviewed)
                request = client.hitl.request("ok?", payload=1, assignees=[CFO])
                answered = client.hitl.approve(
                    request_id=client.hitl.request("ok?", payload=1, requester="me").request_id
                )
                assert client.submit(pay, 1).requester == name
                return run.requester, request.requester, answered.decisions[0].reviewer

            return work

        try:
            for name in ("ann@acme.example", "bob@acme.example"):
                assert in_thread(as_(name)).result(30) == (name, name, name)
        finally:
            set_default_client(None)


def test_a_name_that_is_given_is_not_asked_for() -> None:
    """The callable may well fail where nobody is logged in."""

    def nobody() -> str:
        raise LookupError("nobody is logged in")

    with Client(requester=nobody, reviewer=nobody) as client:
        run = client.flows.start(Reviewed, requester="agent-7")
        assert run.requester == "agent-7"
        client.drain()
        request = only_request(client)
        answered = client.hitl.respond(request_id=request.request_id, outcome="yes", reviewer=CFO)
        assert answered.decisions[0].reviewer == CFO
        with pytest.raises(LookupError):
            client.flows.start(Reviewed)


def test_a_plain_name_holds_everywhere() -> None:
    """It needs no asking."""
    with Client(requester="agent-7", reviewer=CFO) as client:
        run = client.flows.start(Reviewed)
        client.drain()
        answered = client.hitl.respond(request_id=only_request(client).request_id, outcome="no")
        assert (run.requester, answered.decisions[0].reviewer) == ("agent-7", CFO)


# Opening and closing.


def test_a_client_that_is_not_open_says_so() -> None:
    """Before it was opened, and after it was closed."""
    client = Client()
    for _ in range(2):
        with pytest.raises(ConfigurationError, match="use `with client:`"):
            client.drain()
        with pytest.raises(ConfigurationError, match="use `with client:`"), client.serving():
            pass
        with client:
            client.drain()


def test_a_client_that_is_opened_like_the_other_one_says_how() -> None:
    """Both are called `Client`."""

    async def main() -> None:
        async with cast("AsyncClient", Client()):
            pass

    with pytest.raises(ConfigurationError, match="opened with `with client:`"):
        anyio.run(main)


def test_a_client_may_be_entered_again_and_closes_with_the_last() -> None:
    """By several threads; its own thread ends with it."""
    client = Client()
    with client as first:
        with client as second:
            assert first is second is client
        client.drain()
        running = [one.name for one in threading.enumerate()]
    assert running.count("signoff") == 1
    assert "signoff" not in [one.name for one in threading.enumerate()]


def test_serving_keeps_the_client_open_until_it_ends() -> None:
    """Whoever else leaves meanwhile."""
    client = Client()
    with client:
        served = client.serving()
        served.__enter__()
    client.drain()
    served.__exit__(None, None, None)
    with pytest.raises(ConfigurationError):
        client.drain()


def test_a_call_that_waits_while_the_client_is_closed_is_given_up() -> None:
    """It does not hold the closing up for ever."""
    client = Client()
    with client:
        run = client.flows.start(Reviewed)
        waiting = in_thread(lambda: client.flows.wait(run.id))
        while not client._loop._waited_for:
            threading.Event().wait(0.005)
    with pytest.raises(ConfigurationError, match="closed while this call waited"):
        waiting.result(30)


def test_a_client_that_cannot_be_opened_leaves_no_thread(tmp_path: Path) -> None:
    """And can be opened once it can."""
    path = tmp_path / "signoff.db"
    with Client(SQLiteStore(path), keyring=Keyring.generate()) as client:
        client.drain()
    stranger = Client(SQLiteStore(path), keyring=Keyring.generate())
    with pytest.raises(KeyringError):
        stranger.__enter__()
    assert "signoff" not in [one.name for one in threading.enumerate()]


def test_two_clients_have_a_thread_each() -> None:
    """One may work while a step of the other waits for it."""

    class Asks(Flow, name="sync.asks"):
        @start()
        def begin(self) -> int:
            return other.hitl.get_stats().pending

    with Client() as client, Client() as other:
        other.hitl.request("ok?", payload=1)
        run = client.flows.start(Asks)
        client.drain()
        assert client.flows.get(run.id).output == 1


def test_a_step_in_a_thread_may_use_its_own_client(client: Client) -> None:
    """The loop is free while a step runs that is no coroutine function."""

    class Asks(Flow, name="sync.asks_itself"):
        @start()
        def begin(self) -> int:
            return client.hitl.get_stats().pending

    run = client.flows.start(Asks)
    client.drain()
    assert client.flows.get(run.id).output == 0


# Event loops.


def test_calls_on_a_thread_with_an_event_loop_are_refused(client: Client) -> None:
    """They would block it; the message names both remedies."""

    async def awaits() -> None:
        for call in (client.drain, client.__enter__, client.serving().__enter__):
            with pytest.raises(ConfigurationError, match=r"signoff\.Client here, or .* thread"):
                call()

    for backend in ("asyncio", "trio"):
        anyio.run(awaits, backend=backend)


def test_a_coroutine_step_that_blocks_its_clients_own_loop_is_refused(client: Client) -> None:
    """It would wait for itself for ever."""

    class Asks(Flow, name="sync.blocks"):
        @start()
        async def begin(self) -> int:
            return client.hitl.get_stats().pending

    run = client.flows.start(Asks)
    client.drain()
    failure = client.flows.get(run.id).failure
    assert failure is not None
    assert "this thread runs an event loop" in failure.message


def test_a_thread_beside_an_event_loop_may_call(client: Client) -> None:
    """Even one that was handed a copy of the loop's context, as `asyncio.to_thread` does."""

    async def awaits() -> None:
        report = await asyncio.to_thread(client.drain)
        assert report.advanced == ()
        copied = contextvars.copy_context()
        assert in_thread(lambda: copied.run(client.drain)).result(30)

    anyio.run(awaits)


def test_a_gated_call_in_such_a_thread_waits_there(host: Client) -> None:
    """`asyncio.to_thread(pay, ...)` is what users of asyncio write."""

    async def awaits() -> str:
        answering = in_thread(
            lambda: host.hitl.approve(request_id=asked(host).request_id, reviewer=CFO)
        )
        paid = await asyncio.to_thread(pay, 9)
        answering.result(30)
        return paid

    with host.serving():
        assert anyio.run(awaits) == "paid 9"


# The rest of what a client is given.


def test_everything_else_is_handed_to_the_client_inside() -> None:
    """Clock, events and modules reach the machinery."""
    clock, heard = ManualClock(), list[str]()
    with Client(
        clock=clock, on_event=lambda entry: heard.append(entry.stream), modules=["json"]
    ) as client:
        request = client.hitl.request("ok?", payload=1)
    assert request.created_at == clock.now()
    assert heard == [f"request:{request.request_id}"]
    with pytest.raises(ModuleNotFoundError), Client(modules=["signoff_has_no_such_module"]):
        pass


def test_a_person_at_the_terminal_may_be_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """As with the other client."""
    monkeypatch.setattr("builtins.input", lambda _prompt="": "yes")
    with Client() as client:
        client.ask_here()
        assert Reviewed(client=client).kickoff() == "published"


def test_a_store_that_fails_raises_in_the_callers_thread() -> None:
    """And does no harm to the loop."""
    with Client(FaultyStore(MemoryStore(), at=2, lasting=False)) as client:
        with pytest.raises(StoreError):
            client.hitl.request("ok?", payload=1)
        assert client.hitl.request("ok?", payload=1).status == "pending"


INTERRUPTED = """
import signal, threading, time
from signoff import Flow, human_feedback, start
from signoff.sync import Client

class Waits(Flow, name="waits"):
    @start()
    @human_feedback("ok?")
    def ask(self): return 1

def interrupt():
    # Nobody is told that the main thread waits: it is seen by what it waits for.
    while not client._loop._waited_for:
        time.sleep(0.01)
    # Python can miss a signal that comes just before it begins to wait for a lock.
    while not caught.is_set():
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        caught.wait(5)

# Whoever started the tests in the background may have had this process ignore it.
signal.signal(signal.SIGINT, signal.default_int_handler)
caught = threading.Event()
with Client() as client:
    run = client.flows.start(Waits)
    interrupting = threading.Thread(target=interrupt)
    interrupting.start()
    try:
        client.flows.wait(run.id)
    except KeyboardInterrupt:
        caught.set()
        print("interrupted")
    interrupting.join()
    print(client.flows.get(run.id).status)
# Idle threads of a closed client end by themselves, soon.
for one in threading.enumerate():
    if one is not threading.main_thread():
        one.join(10)
print([one.name for one in threading.enumerate()])
"""


def test_an_interrupt_ends_the_call_that_waits_and_nothing_else() -> None:
    """Ctrl-C comes to the main thread; the client stays usable and closes."""
    finished = subprocess.run(
        [sys.executable, "-W", "error", "-c", INTERRUPTED],
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )
    assert finished.stderr == ""
    assert finished.stdout.splitlines() == ["interrupted", "ready", "['MainThread']"]


def test_both_clients_work_on_the_same_store(tmp_path: Path) -> None:
    """What one asks the other answers."""
    keyring, path = Keyring.generate(), tmp_path / "signoff.db"

    async def ask() -> Run:
        async with AsyncClient(SQLiteStore(path), keyring=keyring) as client:
            run = await client.flows.start(Reviewed)
            await client.drain()
            return run

    run = anyio.run(ask)
    with Client(SQLiteStore(path), keyring=keyring) as client:
        client.hitl.respond(request_id=only_request(client).request_id, outcome="yes", reviewer=CFO)
        client.drain()
        assert client.flows.get(run.id).output == "published"
