"""Kicking flows off: with a client, without one, at a terminal, from any thread."""

from __future__ import annotations

import builtins
import io
import os
import pty
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from datetime import timedelta
from pathlib import Path

import anyio
import pytest
from anyio import from_thread, to_thread

from signoff import (
    ApprovalRejected,
    Client,
    Flow,
    HumanFeedbackResult,
    Suspended,
    human_feedback,
    listen,
    require_approval,
    set_default_client,
    start,
)
from signoff.errors import (
    ConfigurationError,
    NotifyError,
    RequestExpiredError,
    RunBlocked,
    RunCancelled,
    RunError,
)
from signoff.stores import MemoryStore, SQLiteStore
from signoff.testing import ManualClock, MemoryMail

BRAND = "brand@acme.example"
TRACE: ContextVar[str] = ContextVar("trace", default="none")


class Plain(Flow, name="kickoff.plain"):
    """A flow without a gate."""

    @start()
    def begin(self) -> str:
        """Return what it was given."""
        return f"hello {self.state.get('who', 'you')}"


class Review(Flow, name="kickoff.review"):
    """One gate."""

    @start()
    @human_feedback(message="Publish?", emit=["approved", "rejected"], assign_to_email=BRAND)
    def draft(self) -> str:
        """Return what is asked about."""
        return "Spring sale"

    @listen("approved")
    def publish(self, result: HumanFeedbackResult) -> str:
        """Return who said what."""
        return f"published: {result.feedback} ({result.reviewer})"

    @listen("rejected")
    def drop(self, result: HumanFeedbackResult) -> str:
        """Return who said what."""
        return f"dropped: {result.feedback}"


class Parent(Flow, name="kickoff.parent"):
    """A flow whose child asks, and whose grandchild asks again."""

    @start()
    async def begin(self) -> str:
        """Let the child ask."""
        return f"child: {await Child().kickoff_async()}"


class Child(Flow, name="kickoff.child"):
    """The child."""

    @start()
    async def begin(self) -> str:
        """Let the grandchild ask."""
        return f"grandchild: {await Review().kickoff_async()}"


class Unasked(Flow, name="kickoff.unasked"):
    """A gate that nobody in particular is asked."""

    @start()
    @human_feedback(message="Well?", emit=["approved", "rejected"])
    def draft(self) -> str:
        """Return what is asked about."""
        return "text"

    @listen("approved")
    def after(self, result: HumanFeedbackResult) -> str:
        """Return who answered."""
        return str(result.reviewer)


@require_approval(name="kickoff.pay", action="Pay {amount}", assignees=[BRAND])
async def pay(amount: int) -> str:
    """Stand in for a payment."""
    return f"paid {amount}"


@pytest.fixture(name="no_default")
def _no_default() -> Iterator[None]:
    """Take away whatever default client there is, before and after."""
    set_default_client(None)
    yield
    set_default_client(None)


class Typist:
    """A person at the terminal who types lines prepared beforehand."""

    def __init__(self, *lines: str | Callable[[], str]) -> None:
        self._lines = list(lines)
        self.prompts: list[str] = []

    def __call__(self, prompt: str) -> str:
        """Type the next line; nobody is there when there is none."""
        self.prompts.append(prompt)
        if not self._lines:
            raise EOFError
        line = self._lines.pop(0)
        return line if isinstance(line, str) else line()


@pytest.fixture(name="types")
def _types(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Typist]:
    """Return what puts somebody at the terminal."""

    def types(*lines: str | Callable[[], str]) -> Typist:
        typist = Typist(*lines)
        monkeypatch.setattr(builtins, "input", typist)
        return typist

    return types


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """Say so."""
        return True


async def test_without_a_client_runs_live_in_memory_and_that_is_said(
    no_default: None, caplog: pytest.LogCaptureFixture
) -> None:
    """Once, when the default client is made; and one flow after the other runs in it."""
    assert await Plain().kickoff_async(inputs={"who": "Ann"}) == "hello Ann"
    assert await Plain().kickoff_async() == "hello you"

    assert caplog.text.count("no client was set") == 1
    assert "set_default_client" in caplog.text


async def test_without_a_client_a_gate_suspends_where_there_is_no_terminal(
    no_default: None,
) -> None:
    """Nothing is asked of a stream that nobody types into."""
    suspended = await Review().kickoff_async()

    assert isinstance(suspended, Suspended)
    assert [request.message for request in suspended.requests] == ["Publish?"]


async def test_without_a_client_the_person_at_the_terminal_is_asked(
    no_default: None,
    types: Callable[..., Typist],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """And the flow runs to its end."""
    screen = Terminal()
    monkeypatch.setattr(sys, "stdin", Terminal())
    monkeypatch.setattr(sys, "stdout", screen)
    types("approved", "Nice")

    assert await Review().kickoff_async() == f"published: Nice ({BRAND})"
    assert "Publish?" in screen.getvalue()
    assert "Spring sale" in screen.getvalue()
    assert "no client was set" not in caplog.text


SCRIPT = """
from signoff import Flow, human_feedback, listen, start

class Review(Flow, name="script.review"):
    @start()
    @human_feedback(message="Publish?", emit=["approved", "rejected"])
    def draft(self):
        return "Spring sale"

    @listen("approved")
    def publish(self, result):
        return f"published, {result.feedback}"

print(Review().kickoff())
"""


def test_a_script_in_a_real_terminal_asks_and_runs_to_the_end() -> None:
    """Input and output are a pseudo-terminal; nothing was configured."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-c", SCRIPT], stdin=theirs, stdout=theirs, stderr=theirs
    ) as script:
        os.close(theirs)
        seen = b""
        os.write(ours, b"maybe\napproved\nfine by me\n")
        while chunk := _read(ours):
            seen += chunk
        os.close(ours)

    assert script.returncode == 0, seen.decode()
    assert b"That is no clear answer" in seen
    assert b"published, fine by me" in seen


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:  # Linux's way to say that the other side has closed
        return b""


async def test_the_default_client_is_used_by_flows_without_one(no_default: None) -> None:
    """And a flow that was given another one uses that."""
    async with Client() as default, Client() as other:
        set_default_client(default)
        await Plain().kickoff_async()
        await Plain(client=other).kickoff_async()
        await Plain(client=other).kickoff_async()

        assert len(await default.flows.list()) == 1
        assert len(await other.flows.list()) == 2


async def test_the_person_at_the_terminal_is_asked_again_until_the_answer_is_clear(
    types: Callable[..., Typist], capsys: pytest.CaptureFixture[str]
) -> None:
    """By the rules that hold for mails."""
    client = Client()
    types("not approved", "rejected", "too dear")
    client.ask_here()

    assert await Review(client=client).kickoff_async() == "dropped: too dear"
    assert "no clear answer" in capsys.readouterr().out


async def test_the_person_at_the_terminal_is_asked_what_children_wait_for(
    types: Callable[..., Typist],
) -> None:
    """However deep, and the parents go on."""
    client = Client()
    types("approved", "fine")
    client.ask_here()

    assert await Parent(client=client).kickoff_async() == (
        f"child: grandchild: published: fine ({BRAND})"
    )


async def test_a_gated_call_asks_the_person_at_the_terminal(
    no_default: None, types: Callable[..., Typist]
) -> None:
    """So it needs nobody who serves."""
    client = Client()
    types("approved", "", "rejected", "not twice")
    client.ask_here()
    set_default_client(client)

    assert await pay(9) == "paid 9"
    with pytest.raises(ApprovalRejected, match="not twice"):
        await pay(9)


async def test_the_answer_of_an_unknown_person_names_the_login(
    types: Callable[..., Typist], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nobody in particular is asked; and where the system knows no name, somebody."""
    client = Client()
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LOGNAME", "ann")
    types("approved", "", "approved", "")
    client.ask_here()
    assert await Unasked(client=client).kickoff_async() == "console:ann"

    monkeypatch.delenv("LOGNAME")
    monkeypatch.setattr(os, "getuid", lambda: 4_000_000_000)
    assert await Unasked(client=client).kickoff_async() == "console:somebody"


async def test_a_run_that_nobody_at_the_terminal_answers_stays_suspended(
    types: Callable[..., Typist],
) -> None:
    """At the end of what is typed it is left to others."""
    types()
    async with Client() as client:
        client.ask_here()
        suspended = await Review(client=client).kickoff_async()
        assert isinstance(suspended, Suspended)
        assert [request.status for request in suspended.requests] == ["pending"]


async def test_a_call_that_nobody_at_the_terminal_answers_is_not_asked_any_more(
    no_default: None, types: Callable[..., Typist]
) -> None:
    """No other process could execute it."""
    types()
    async with Client() as client:
        client.ask_here()
        set_default_client(client)
        with pytest.raises(EOFError):
            await pay(9)
        (request,) = await client.hitl.list_requests()
        assert request.status == "cancelled"


async def test_an_answer_that_somebody_else_gave_meanwhile_stands(
    types: Callable[..., Typist], caplog: pytest.LogCaptureFixture
) -> None:
    """While the person at the terminal is still thinking."""
    client = Client()

    async def reject() -> None:
        (request,) = await client.hitl.list_requests(status="pending")
        await client.hitl.reject(
            request_id=request.request_id, reason="I was first", reviewer=BRAND
        )

    def hesitate() -> str:
        from_thread.run(reject)
        return "approved"

    types(hesitate, "too late")
    client.ask_here()

    assert await Review(client=client).kickoff_async() == "dropped: I was first"
    assert "came too late" in caplog.text


async def test_an_answer_after_the_expiry_is_refused_at_the_terminal_too(
    types: Callable[..., Typist],
) -> None:
    """The person thought for a week."""
    clock = ManualClock()
    client = Client(clock=clock)

    def sleep_on_it() -> str:
        clock.advance(timedelta(days=7))
        return "approved"

    types(sleep_on_it, "")
    client.ask_here()

    with pytest.raises(RequestExpiredError):
        await Review(client=client).kickoff_async()


async def test_a_suspended_kickoff_names_what_it_waits_for_in_children_too() -> None:
    """The caller may answer it, or tell somebody."""
    async with Client() as client:
        suspended = await Parent(client=client).kickoff_async()

        assert isinstance(suspended, Suspended)
        (request,) = suspended.requests
        assert (request.flow_name, request.payload) == ("kickoff.review", "Spring sale")
        await client.hitl.approve(request_id=request.request_id, reviewer=BRAND)
        await client.drain()
        run = await client.flows.get(suspended.run_id)
        assert run.output == f"child: grandchild: published:  ({BRAND})"


async def test_a_kickoff_attempts_the_deliveries_it_made_once() -> None:
    """Those of children too, and a failure is left to whoever serves."""
    mail, clock = MemoryMail(), ManualClock()
    async with Client(notifiers=[mail], clock=clock) as client:
        await Parent(client=client).kickoff_async()
        assert [str(one["To"]) for one in mail.sent] == [BRAND]

        mail.error = NotifyError("the server is away", permanent=False)
        suspended = await Review(client=client).kickoff_async()
        assert isinstance(suspended, Suspended)
        health = await client.health()
        assert health.notifiers["mail"].last_error == "the server is away"
        assert health.notifiers["mail"].oldest_unsent == clock.now()


async def test_a_suspension_in_a_durable_store_that_nobody_serves_warns(
    state_home: Path, database: Path
) -> None:
    """It would wait for ever; where somebody serves, here or elsewhere, nothing is said."""
    async with Client(SQLiteStore(database)) as client, Client(SQLiteStore(database)) as other:
        with pytest.warns(UserWarning, match="nobody serves its store"):
            await Review(client=client).kickoff_async()

        for serving in (client, other):
            async with serving.serving():
                await _until_served(client)
                with warnings.catch_warnings():
                    warnings.simplefilter("error")
                    await Review(client=client).kickoff_async()


async def test_the_warning_has_one_text_for_all_runs_of_a_flow(
    state_home: Path, database: Path
) -> None:
    """Python shows each text once for each place, and keeps it as long as the process lives."""
    async with Client(SQLiteStore(database)) as client:
        texts: set[str] = set()
        for _ in range(2):
            with pytest.warns(UserWarning, match="nobody serves") as told:
                await Review(client=client).kickoff_async()
            texts |= {str(one.message) for one in told}

    assert len(texts) == 1


async def _until_served(client: Client) -> None:
    while not await client._store.live_claims("serving:"):
        await anyio.lowlevel.checkpoint()


async def test_a_local_name_in_a_durable_store_warns(state_home: Path, database: Path) -> None:
    """No other process would find the code."""

    class Local(Flow):
        @start()
        def begin(self) -> int:
            return 1

    async with Client(SQLiteStore(database)) as client:
        with pytest.warns(UserWarning, match=r"class Local\(Flow, name=...\)"):
            assert await Local(client=client).kickoff_async() == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert await Local(client=Client()).kickoff_async() == 1


async def test_a_kickoff_opens_and_closes_the_client_itself(
    state_home: Path, database: Path
) -> None:
    """Nobody needs to open it for one flow."""
    client = Client(SQLiteStore(database))

    assert await Plain(client=client).kickoff_async() == "hello you"

    with pytest.raises(ConfigurationError):
        await client.drain()


async def test_a_failed_flow_raises_what_failed_it() -> None:
    """The very exception."""
    wrong = LookupError("no such thing")

    class Fails(Flow, name="kickoff.fails"):
        @start()
        def begin(self) -> None:
            raise wrong

    with pytest.raises(LookupError) as caught:
        await Fails(client=Client()).kickoff_async()
    assert caught.value is wrong


async def test_a_cancelled_flow_raises_that_it_was_cancelled() -> None:
    """By whomever."""
    client = Client()

    class Cancels(Flow, name="kickoff.cancels"):
        @start()
        async def begin(self) -> None:
            (run,) = await client.flows.list()
            await client.flows.cancel(run.run_id)

    with pytest.raises(RunCancelled):
        await Cancels(client=client).kickoff_async()


async def test_a_blocked_flow_raises_why(types: Callable[..., Typist]) -> None:
    """Here a step that asks another question when it runs again."""
    amounts = iter([1, 2])

    class Drifts(Flow, name="kickoff.drifts"):
        @start()
        async def begin(self) -> str:
            return await pay(next(amounts))

    client = Client()
    types("approved", "")
    client.ask_here()

    with pytest.raises(RunBlocked, match="drift"):
        await Drifts(client=client).kickoff_async()


async def test_a_flow_that_another_process_took_over_says_so(
    state_home: Path, database: Path
) -> None:
    """As after a pause that was longer than the lease; what becomes of it is in the store."""
    seconds = [0.0]
    attempts: list[str] = []
    here = Client(SQLiteStore(database, lease_clock=lambda: seconds[0]))
    there = Client(SQLiteStore(database, lease_clock=lambda: seconds[0]))

    class Slow(Flow, name="kickoff.slow"):
        @start()
        async def begin(self) -> int:
            attempts.append("begun")
            if len(attempts) == 1:
                seconds[0] += 31
                (run,) = await there.flows.list()
                await there._machinery.keeper.take(run.run_id)
            return 1

    async with there:
        with pytest.raises(RunError, match=r"another process goes on.*flows\.wait"):
            await Slow(client=here).kickoff_async()


def test_a_kickoff_from_plain_code_needs_no_event_loop() -> None:
    """Neither one that is running nor one made beforehand."""
    assert Plain(client=Client()).kickoff(inputs={"who": "Bob"}) == "hello Bob"


async def test_a_kickoff_that_is_not_awaited_in_an_event_loop_runs_in_a_thread_of_its_own() -> None:
    """With the caller's context; it blocks the loop, as the caller asked for."""
    seen: list[str] = []

    class Looks(Flow, name="kickoff.looks"):
        @start()
        async def begin(self) -> int:
            seen.append(TRACE.get())
            return 1

    TRACE.set("request 7")

    assert Looks(client=Client()).kickoff() == 1
    assert seen == ["request 7"]


async def test_a_kickoff_that_would_block_the_clients_own_loop_is_refused() -> None:
    """It would wait for itself; also after somebody else has entered and left the client."""
    async with Client() as client:
        async with client:
            pass
        with pytest.raises(ConfigurationError, match="kickoff_async"):
            Plain(client=client).kickoff()


async def test_a_kickoff_in_another_thread_runs_on_the_loop_of_the_open_client() -> None:
    """So all that is bound to that loop may be used; the thread may have a loop of its own."""
    async with Client() as client:
        flow = Plain(client=client)

        async def blocking_in_a_loop() -> object:
            return flow.kickoff()

        assert await to_thread.run_sync(flow.kickoff) == "hello you"
        assert await to_thread.run_sync(anyio.run, blocking_in_a_loop) == "hello you"
        assert len(await client.flows.list()) == 2


async def test_an_instance_is_kept_to_one_run_at_a_time() -> None:
    """Its steps would find the state of another; once the run has ended, it takes the next."""
    began, go_on = anyio.Event(), anyio.Event()

    class Orders(Flow):
        @start()
        async def begin(self) -> object:
            began.set()
            await go_on.wait()
            return self.state["order"]

    results: list[object] = []
    async with Client() as client:
        orders = Orders(client=client)

        async def kick_off() -> None:
            results.append(await orders.kickoff_async({"order": 1}))

        async with anyio.create_task_group() as group:
            group.start_soon(kick_off)
            await began.wait()
            with pytest.raises(ConfigurationError, match=r"this Orders is in the middle .*Orders"):
                await orders.kickoff_async({"order": 2})
            go_on.set()
        assert await orders.kickoff_async({"order": 3}) == 3
        assert len(await client.flows.list()) == 2

    assert results == [1]


async def test_threads_may_kick_off_at_the_same_time() -> None:
    """On one client that nobody has opened."""
    client = Client(MemoryStore())
    results: list[object] = []

    async def kick_off() -> None:
        results.append(await to_thread.run_sync(Plain(client=client).kickoff))

    async with anyio.create_task_group() as group:
        for _ in range(8):
            group.start_soon(kick_off)

    assert results == ["hello you"] * 8
