"""Slips of a newcomer: each is told at once, with the name, the value and what to write instead."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import pytest

from signoff import (
    Client,
    Flow,
    Policy,
    Proposal,
    Suspended,
    human_feedback,
    keyed,
    listen,
    or_,
    require_approval,
    router,
    start,
    testing,
)
from signoff.errors import CodecError, ConfigurationError, RequestExpired
from signoff.inboxes import IMAPInbox
from signoff.model.run import Failure, Run
from signoff.notifiers import ConsoleNotifier
from signoff.stores import MemoryStore, SQLiteStore
from signoff.testing import ManualClock, Reviewer

ANN = Reviewer("ann@acme.example")
MAILBOX = IMAPInbox("imap.acme.example", username="a", password="kept elsewhere")

_Decorator = Callable[..., Callable[[object], object]]


def loose(function: object) -> Callable[..., Awaitable[object]]:
    """Return a function without what type checkers know of it."""
    return cast("Callable[..., Awaitable[object]]", function)


_human_feedback = cast("_Decorator", human_feedback)
_require_approval = cast("_Decorator", require_approval)
_start = cast("_Decorator", start)
_policy = cast("Callable[..., Policy]", Policy)
_client = loose(Client)
_testing_client = loose(testing.client)
_inbox = loose(IMAPInbox)
_advance = loose(ManualClock().advance)


def payment(amount: int) -> int:
    """Return the amount."""
    return amount


@require_approval(name="slips.pay", assignees=["ann@acme.example"])
async def pay(vendor: str) -> str:
    """Pay."""
    return f"paid {vendor}"


class Ask(Flow, name="slips.ask"):
    """Asks Ann."""

    @start()
    @human_feedback(message="Fine?", emit=["approved", "rejected"], assign_to_email=ANN.address)
    def ask(self) -> str:
        """Ask."""
        return "secret copy"


def gate(**options: object) -> object:
    """Gate a function with any options."""
    return _require_approval(**options)(payment)


@pytest.mark.parametrize(
    ("slip", "message"),
    [
        (lambda: gate(sla=30), "sla=30 has no unit; write sla=timedelta(seconds=30), or"),
        (lambda: gate(valid_for=1.5), "valid_for=1.5 has no unit"),
        (lambda: gate(risk="hi"), "risk='hi': use one of 'low', 'medium', 'high', 'critical'"),
        (lambda: gate(on_reject="retrun"), "on_reject='retrun': use one of 'raise', 'return'"),
        (lambda: gate(on_drift="x"), "on_drift='x': use one of 'block', 'ask', 'use_approved'"),
        (lambda: gate(live="amount"), "live='amount' is one text; write live=['amount']"),
        (lambda: gate(hidden="amount"), "hidden='amount' is one text; write hidden=['amount']"),
        (lambda: gate(aliases="pay"), "aliases='pay' is one text"),
        (lambda: gate(assignees="a@b"), "assignees='a@b' is one text; write assignees=['a@b']"),
        (lambda: gate(assignees=[17]), "an address=17 is no text"),
        (lambda: gate(policy={"risk": "low"}), "{'risk': 'low'} is no policy; write policy="),
        (lambda: gate(policy=Policy(risk="critical")), "takes a quorum of two"),
        (lambda: _require_approval("Pay"), "'Pay' is no function; write @require_approval(action="),
        (lambda: _human_feedback(pay), "is no text; write @human_feedback(message=..., emit="),
        (lambda: _human_feedback("ok?", emit=[1]), "emit=1 is no text; write a list of texts"),
        (lambda: _human_feedback("ok?", assignees="a@b"), "assignees='a@b' is one text"),
        (lambda: _human_feedback("ok?", assign_to_email=["a@b"]), "assignees=[...] takes several"),
        (lambda: _human_feedback("ok?")(start()), "is no method: write the decorators below"),
        (lambda: _start()(listen("x")), "is no method: write the decorators below with their"),
        (lambda: _client(policy=_policy(aproovers=["a@b"])), "did you mean 'approvers'?"),
        (lambda: _client(lease=30), "lease=30 has no unit"),
        (lambda: _client("my.db"), "store='my.db' is a path; write store=SQLiteStore('my.db')"),
        (lambda: _client(Path("my.db")), "store='my.db' is a path"),
        (lambda: _client("sqlite:///my.db"), "is a path; write store=SQLiteStore('my.db')"),
        (lambda: _client("postgresql://me:secret@db/work"), "store= is an address; write store=P"),
        (lambda: _client(modules="shop.flows"), "is one text; write modules=['shop.flows']"),
        (lambda: _client(notifiers="email"), "notifiers=['email'] sends nothing"),
        (lambda: _client(notifiers=[ConsoleNotifier]), "ConsoleNotifier without its parenth"),
        (lambda: _client(notifiers=[MAILBOX]), "notifiers=[IMAPInbox(...)] sends nothing"),
        (lambda: _client(inbox=ConsoleNotifier()), "inbox=ConsoleNotifier(...) reads nothing"),
        (lambda: _client(inbox=IMAPInbox), "inbox=IMAPInbox without its parentheses reads"),
        (lambda: _client(MemoryStore), "store=MemoryStore is a class; write MemoryStore(...)"),
        (lambda: _client(notifiers=ConsoleNotifier()), "is one notifier; write notifiers=[...]"),
        (lambda: _testing_client(reviewers=ANN), "write reviewers=[Reviewer("),
        (lambda: _testing_client(reviewers=["ann"]), "reviewers=['ann']: write"),
        (lambda: _inbox("mx", username="a", password="b", poll_interval=60), "=60 has no unit"),
        (lambda: _advance(5), "by=5 has no unit"),
    ],
)
def test_a_slip_that_a_type_checker_would_show_is_told_at_once(
    slip: Callable[[], object], message: str
) -> None:
    """Whether or not a type checker is used."""
    with pytest.raises(ConfigurationError) as told:
        slip()
    assert message in str(told.value)


def test_an_option_that_nothing_reads_is_refused() -> None:
    """A misspelt `assignees=` must not ask nobody."""
    with pytest.raises(TypeError, match="argument 'asignees'; did you mean 'assignees'"):
        gate(asignees=["a@b"])
    with pytest.raises(TypeError, match="argument 'zzz'$"):
        gate(zzz=1)


def test_an_empty_list_of_labels_is_no_list() -> None:
    """It is not the same as no labels, by which any text is the answer."""
    with pytest.raises(ValueError, match=r"emit=\[\] names no label; leave emit out"):
        human_feedback("ok?", emit=[])


@pytest.mark.parametrize("decorator", [start, listen, router])
def test_a_decorator_without_its_parentheses_is_told_when_the_class_is_made(
    decorator: Callable[..., object],
) -> None:
    """Else the step would silently not be there."""
    with pytest.raises(ConfigurationError, match=r"Bare\.begin is no step.*write @start\(\)"):

        class Bare(Flow, name="slips.bare"):  # pyright: ignore[reportUnusedClass] - it is refused
            @decorator
            def begin(self) -> None:
                """Begin."""


def test_a_number_in_a_policy_is_no_duration() -> None:
    """Pydantic would take it for seconds."""
    with pytest.raises(ValueError, match="valid timedelta"):
        _policy(sla=30)


def test_a_policy_takes_lists_and_keeps_tuples() -> None:
    """What code writes, and what can be hashed."""
    policy = Policy(approvers=["a@b"], assignable=["c@d"])
    assert policy.approvers == ("a@b",)
    assert policy.assignable == ("c@d",)
    assert hash(policy) == hash(Policy(approvers=("a@b",), assignable=("c@d",)))


async def test_a_step_that_nothing_fires_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """With the label that was meant; not where a router may return any label."""

    class Misheard(Flow, name="slips.misheard"):
        """Listens to what nobody says."""

        @start()
        @human_feedback(message="Fine?", emit=["approved", "rejected"])
        def ask(self) -> str:
            """Ask."""
            return "copy"

        @listen("aproved")
        def publish(self) -> None:
            """Never run."""

        @listen(or_("published", "rejected"))
        def file(self) -> None:
            """Run under one of its names."""

        @listen("ask:approved")
        def tell(self) -> None:
            """Run."""

    class Open(Flow, name="slips.open"):
        """Routes to what cannot be known."""

        @start()
        @router()
        def choose(self) -> str:
            """Choose."""
            return "left"

        @listen("left")
        def go(self) -> str:
            """Go."""
            return "gone"

        @start("again")
        def over(self) -> None:
            """Begin on a label."""

    class Fixed(Open, name="slips.fixed"):
        """Routes to what it says."""

        @start()
        @router(emit=["right"])
        def choose(self) -> str:
            """Choose."""
            return "right"

    caplog.set_level(logging.WARNING, "signoff.flows")
    async with testing.client() as client:
        for flow in (Misheard, Misheard, Open, Fixed):
            await client.flows.start(flow)
    assert [
        record.getMessage().partition("<locals>.")[2]
        for record in caplog.records
        if "never" in record.msg
    ] == [
        (
            "Misheard.publish never runs: 'aproved' is no step and no label of the flow;"
            " did you mean 'approved'?"
        ),
        "Fixed.go never runs: 'left' is no step and no label of the flow",
    ]


async def test_slips_in_calls_are_told() -> None:
    """By the client's parts, before anything is stored."""
    async with testing.client() as client:
        request = await client.submit(pay, "acme")
        flows, hitl = client.flows, client.hitl
        begin, runs, wait = loose(flows.start), loose(flows.list), loose(flows.wait)
        waits, page, ask = loose(hitl.wait), loose(hitl.list_requests), loose(hitl.request)
        submit, run = loose(client.submit), loose(client.run)
        slips: list[tuple[Callable[[], Awaitable[object]], str]] = [
            (lambda: begin(str), "is no flow; give a subclass of signoff.Flow"),
            (lambda: begin(pay), "client.submit(...)"),
            (lambda: runs(status="open"), "status='open': use one of 'ready'"),
            (lambda: wait(request.run_id, timeout=5), "timeout=5 has no unit"),
            (lambda: waits(request.request_id, timeout=5), "timeout=5 has no"),
            (lambda: page(status="open"), "status='open': use one of 'pend"),
            (lambda: page(risk="huge"), "risk='huge': use one of 'low'"),
            (lambda: submit(pay, "acme", key=17), "key=17 is no text; write key=str(17)"),
            (
                lambda: ask("Ok?", payload=1, policy=_policy(aprovers=["a@b"])),
                "Policy(aprovers=...) says nothing",
            ),
            (lambda: run(keyed(pay, "k"), "acme"), "wraps a gated function, by keyed()"),
        ]
        for slip, message in slips:
            with pytest.raises(ConfigurationError) as told:
                await slip()
            assert message in str(told.value)
        assert await client.flows.list(status="suspended") != ()
        assert len(await client.hitl.list_requests(risk="medium", status="pending")) == 1


async def test_arguments_that_do_not_fit_name_the_function() -> None:
    """As Python's own message does."""
    async with testing.client() as client:
        with pytest.raises(TypeError, match=r"^pay\(vendor: 'str'\).*: too many positional"):
            await client.submit(pay, "acme", 9)


async def test_a_call_that_nobody_awaited_is_no_result() -> None:
    """The message says what is missing."""

    class Forgot(Flow, name="slips.forgot"):
        @start()
        async def begin(self) -> object:
            """Forget to await."""
            forgotten = pay("acme")
            self.state["forgotten"] = forgotten
            forgotten.close()
            return forgotten

    async with testing.client() as client:
        with pytest.raises(CodecError, match="is a coroutine, which cannot be stored; await it"):
            await client.run(Forgot)


@pytest.mark.parametrize("confidence", [-0.1, 1.1, 80])
def test_a_confidence_is_a_share_of_one(confidence: float) -> None:
    """Not one of a hundred, as some agents put it."""
    with pytest.raises(ValueError, match=f"confidence={confidence} is not between 0 and 1"):
        Proposal("copy", confidence=confidence)


def test_a_confidence_may_be_nothing_or_everything() -> None:
    """Both ends belong to it."""
    assert [Proposal("copy", confidence=share).confidence for share in (0, 1)] == [0, 1]


async def test_a_name_that_no_worker_would_find_is_logged_once(
    caplog: pytest.LogCaptureFixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where runs are kept for other processes; in memory it does not matter."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    caplog.set_level(logging.WARNING, "signoff.registry")

    script = f"__main__:{tmp_path.name}"

    @require_approval(name=f"{script}.ship")
    async def ship(order: str) -> str:
        """Ship."""
        return order

    class Local(Flow, name=f"{script}.Local"):
        @start()
        def begin(self) -> None:
            """Begin."""

    store = SQLiteStore(tmp_path / "signoff.db")
    async with Client() as memory:
        await memory.flows.start(Local)
        await memory.submit(ship, "a")
    assert caplog.messages == []
    async with Client(store) as client:
        for order in ("a", "b"):
            await client.flows.start(Local)
            await client.flows.start(Ask)
            await client.submit(ship, order)
    assert caplog.messages == [
        f"{script}.{code} is a local or script name, so a worker that is another program"
        " never finds its code; pin one with name="
        for code in ("Local", "ship")
    ]


def test_a_client_opened_without_async_says_how() -> None:
    """Python only says that it supports no context manager protocol."""
    with pytest.raises(ConfigurationError, match="opened with `async with client:`"):
        exec("with client: pass", {"client": Client()})  # noqa: S102 - no checker lets it pass


async def test_what_a_person_prints_is_short_and_shows_no_payload() -> None:
    """Requests, runs, what is suspended and audit entries: ids and states, no seal, no content."""
    clock = ManualClock(datetime(2026, 1, 5, 9, tzinfo=UTC))
    async with Client(clock=clock) as client:
        suspended = await Ask(client=client).kickoff_async()
        assert isinstance(suspended, Suspended)
        [request] = suspended.requests
        assert repr(request) == (
            f"Request(request_id='{request.request_id}', status='pending', message='Fine?',"
            " assignees=('ann@acme.example',), risk='medium')"
        )
        assert repr(suspended) == f"Suspended(run_id='{request.run_id}', requests=({request!r},))"
        run = await client.flows.get(request.run_id)
        assert str(run) == (f"run_id='{run.run_id}' flow_name='slips.ask' status='suspended'")
        [opened] = await client.hitl.history(request_id=request.request_id)
        assert '"event":"request.opened"' in repr(opened)
        assert "mac=" not in repr(opened)
        clock.advance(timedelta(days=8))
        await client.drain()
        ended = await client.flows.get(request.run_id)
        expired = RequestExpired(run.run_id, request_id=request.request_id)
        assert repr(ended).endswith(f"failure='signoff.errors:RequestExpired: {expired}')")
        answered = await client.submit(pay, "acme")
        answered = await client.hitl.approve(
            request_id=answered.request_id, reason="secret words", reviewer=ANN.address
        )
        assert repr(answered).endswith("outcome='approved')")
    assert "secret" not in repr((request, run, opened, ended, answered))


def test_a_blocked_run_shows_its_reason() -> None:
    """And what failed it, if something did."""
    now = datetime(2026, 1, 5, tzinfo=UTC)
    run = Run(
        run_id="run_1",
        flow_name="f",
        status="blocked",
        blocked_reason="drift",
        failure=Failure(type_name="a:B", message="c"),
        created_at=now,
        updated_at=now,
    )
    assert repr(run).endswith("blocked_reason='drift', failure='a:B: c')")
