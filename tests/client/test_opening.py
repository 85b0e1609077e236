"""Opening and closing a client: what it opens, what it refuses, and what it says is weak."""

from __future__ import annotations

import stat
import sys
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import anyio
import pytest
from typing_extensions import override

from signoff import Client, Flow, Policy, Request, human_feedback, start
from signoff.errors import ConfigurationError, InboxError, KeyringError, StoreUnavailableError
from signoff.model.run import Run
from signoff.security.keyring import Keyring
from signoff.stores import MemoryStore, SQLiteStore
from signoff.testing import FaultyStore, ManualClock, MemoryMail


class Ask(Flow, name="opening.ask"):
    """A question that nobody answers here."""

    @start()
    @human_feedback(message="Well?", emit=["approved"])
    def draft(self) -> str:
        """Return what is asked about."""
        return "text"


async def suspended(client: Client) -> Run:
    """Start a run, and let it ask."""
    run = await client.flows.start(Ask)
    await client.drain()
    return await client.flows.get(run.run_id)


async def test_a_client_that_is_not_open_says_so() -> None:
    """Whatever is asked of it, before it was opened and after it was closed."""
    client = Client()
    async with client:
        pass

    for closed in (Client(), client):
        with pytest.raises(ConfigurationError, match="async with client"):
            await closed.drain()
        with pytest.raises(ConfigurationError, match="async with client"):
            await closed.health()
        with pytest.raises(ConfigurationError, match="async with client"):
            await closed.keys_in_use()
        with pytest.raises(ConfigurationError, match="async with client"):
            _ = closed.flows
        with pytest.raises(ConfigurationError, match="async with client"):
            _ = closed.hitl
        with pytest.raises(ConfigurationError, match="async with client"):
            async with closed.serving():
                pass


async def test_a_client_entered_twice_stays_open_until_it_was_left_twice() -> None:
    """So a library may open the client that its caller has open."""
    client = Client()
    async with client:
        async with client as same:
            run = await suspended(same)
        assert (await client.flows.get(run.run_id)).status == "suspended"

    with pytest.raises(ConfigurationError):
        await client.drain()


@pytest.mark.parametrize("durable", [True, False], ids=["sqlite", "memory"])
async def test_a_client_that_was_closed_opens_again(
    state_home: Path, database: Path, *, durable: bool
) -> None:
    """With the same keys, in memory too, so that what was begun goes on."""
    client = Client(SQLiteStore(database) if durable else MemoryStore())
    async with client:
        run = await suspended(client)
        (request,) = await client.hitl.list_requests()

    async with client:
        await client.hitl.approve(request_id=request.request_id)
        await client.drain()
        assert (await client.flows.get(run.run_id)).status == "completed"


async def test_two_clients_may_share_a_store_in_memory() -> None:
    """One after the other, as when a test stands in for a restart; they have the same keys."""
    store = MemoryStore()
    async with Client(store) as first:
        run = await suspended(first)

    async with Client(store) as second:
        (request,) = await second.hitl.list_requests()
        await second.hitl.approve(request_id=request.request_id)
        await second.drain()
        assert (await second.flows.get(run.run_id)).status == "completed"


async def test_a_key_file_is_made_for_sqlite_alone_and_lies_elsewhere(
    state_home: Path, database: Path
) -> None:
    """Only its owner reads it, and a copy of the database's folder holds no key."""
    async with Client():
        pass
    assert not state_home.exists()  # noqa: ASYNC240 - a test may block

    async with Client(SQLiteStore(database)):
        pass

    (key_file,) = (state_home / "signoff" / "keys").iterdir()
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
    assert not key_file.is_relative_to(database.parent)
    assert {path.suffix for path in database.parent.iterdir()} <= {".db", ".db-wal", ".db-shm"}


async def test_the_key_comes_from_the_environment_where_it_is_set(
    state_home: Path, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then no key file is made; and whoever has another key is refused."""
    monkeypatch.setenv("SIGNOFF_KEY", Keyring.generate().to_text())
    async with Client(SQLiteStore(database)) as client:
        await suspended(client)
    assert not state_home.exists()  # noqa: ASYNC240 - a test may block

    for other in (Keyring.generate().to_text(), ""):
        monkeypatch.setenv("SIGNOFF_KEY", other)
        with pytest.raises(KeyringError, match="is not the key 1 that this store was made with"):
            async with Client(SQLiteStore(database)):
                pass


async def test_a_malformed_key_in_the_environment_is_named_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, database: Path
) -> None:
    """The error names the variable and holds none of its text."""
    monkeypatch.setenv("SIGNOFF_KEY", "hunter2hunter2")

    with pytest.raises(KeyringError, match="SIGNOFF_KEY") as caught:
        async with Client(SQLiteStore(database)):
            pass

    assert "hunter2" not in str(caught.value)


async def test_a_store_whose_keys_are_refused_is_closed_again(database: Path) -> None:
    """The same store object opens once the keys are right."""
    keyring = Keyring.generate()
    async with Client(SQLiteStore(database), keyring=keyring):
        pass
    store = SQLiteStore(database)

    with pytest.raises(KeyringError):
        async with Client(store, keyring=Keyring.generate()):
            pass

    async with Client(store, keyring=keyring):
        pass


class SlowToAgree(SQLiteStore):
    """A store that does not say which keys it goes with, for as long as it is slow."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.slow = True
        self.asked = anyio.Event()

    @override
    async def key_checks(self) -> Mapping[int, str]:
        self.asked.set()
        if self.slow:
            await anyio.sleep_forever()
        return await super().key_checks()


async def test_a_cancel_while_opening_leaves_the_store_closed(database: Path) -> None:
    """So that it can be opened again."""
    store = SlowToAgree(database)
    client = Client(store, keyring=Keyring.generate())
    async with anyio.create_task_group() as group:
        group.start_soon(client.__aenter__)
        await store.asked.wait()
        group.cancel_scope.cancel()
    store.slow = False

    async with client:
        assert await client.flows.list() == ()


class Sulky(MemoryMail):
    """A mailbox that does not let go of its connection without a fuss."""

    closed = 0

    @override
    async def aclose(self) -> None:
        self.closed += 1
        raise InboxError("the connection was lost")


async def test_a_notifier_that_fails_to_close_keeps_nothing_else_open(
    state_home: Path, database: Path
) -> None:
    """The error is raised, and the others and the store are closed all the same."""
    store, first, second = SQLiteStore(database), Sulky(name="first"), Sulky(name="second")

    with pytest.raises(InboxError):
        async with Client(store, notifiers=[first], inbox=second):
            pass

    assert (first.closed, second.closed) == (1, 1)
    async with Client(store):
        pass


def test_two_notifiers_of_one_name_are_refused() -> None:
    """A delivery names its notifier."""
    with pytest.raises(ConfigurationError, match="same name"):
        Client(notifiers=[MemoryMail(), MemoryMail()])

    Client(notifiers=[MemoryMail(), MemoryMail(name="other")])


def test_a_policy_of_critical_risk_is_refused() -> None:
    """It takes a quorum, which there is not yet."""
    with pytest.raises(ConfigurationError, match="quorum"):
        Client(policy=Policy(risk="critical"))


async def test_modules_are_imported_when_the_client_opens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that their flows are known; a misspelt one opens nothing."""
    (tmp_path / "opening_flows.py").write_text(
        "from signoff import Flow, start\n"
        "class Told(Flow, name='opening.told'):\n"
        "    @start()\n"
        "    def begin(self) -> str:\n"
        "        return 'told'\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    client = Client(modules=["opening_flows"])
    assert "opening_flows" not in sys.modules

    async with client:
        flow = sys.modules.pop("opening_flows").Told
        run = await client.flows.start(flow)
        await client.drain()
        assert (await client.flows.get(run.run_id)).output == "told"

    with pytest.raises(ModuleNotFoundError):
        async with Client(modules=["opening_flowz"]):
            pass


async def test_a_weak_set_up_is_said_at_the_start_and_in_health(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Mails without an inbox, and an inbox that trusts no server to know who writes."""
    mail = MemoryMail()
    weak = {
        Client(notifiers=[mail]): "no inbox reads the replies",
        Client(notifiers=[mail], inbox=mail): "medium risk only",
    }
    for client, expected in weak.items():
        caplog.clear()
        async with client:
            health = await client.health()
        assert expected in caplog.text
        assert [expected in warning for warning in health.warnings] == [True]

    caplog.clear()
    trusting = MemoryMail(trusted_server="mx.acme.example")
    async with Client(notifiers=[trusting], inbox=trusting) as client:
        assert (await client.health()).warnings == ()
    assert caplog.text == ""


async def test_a_mail_says_that_no_reply_decides_where_nobody_reads_replies() -> None:
    """And where to answer instead."""
    mail = MemoryMail()
    async with Client(notifiers=[mail]) as client:
        await client.hitl.request("Shall we?", payload=1, assignees=["cfo@acme.example"])
        await client.drain()

    text = mail.sent[0].get_body(("plain",)).get_content()  # type: ignore[union-attr]  # it has one
    assert "A reply to this mail decides nothing" in text
    assert "client.hitl" in text
    assert mail.sent[0]["Reply-To"] is None


async def test_business_time_is_the_clients_clock() -> None:
    """Of timestamps and deadlines."""
    clock = ManualClock()
    async with Client(clock=clock) as client:
        request = await client.hitl.request("Shall we?", payload=1)
        assert (request.created_at, request.expires_at) == (
            clock.now(),
            clock.now() + timedelta(days=7),
        )


async def test_the_requester_is_who_the_caller_names_else_who_the_client_knows() -> None:
    """A value, or something that is asked at each use, as for the logged-in user of a web app."""
    logged_in = ["ann@acme.example"]
    async with Client(requester=lambda: logged_in[-1]) as client:
        assert (await client.flows.start(Ask)).requester == "ann@acme.example"
        logged_in.append("bob@acme.example")
        assert (await client.flows.start(Ask)).requester == "bob@acme.example"
        assert (await client.flows.start(Ask, requester="agent-7")).requester == "agent-7"
        await client.drain()
        asked: list[Request] = list(await client.hitl.list_requests())
        assert sorted(str(one.requester) for one in asked) == [
            "agent-7",
            "ann@acme.example",
            "bob@acme.example",
        ]
    async with Client(requester="the nightly job") as client:
        assert (await client.flows.start(Ask)).requester == "the nightly job"
        assert (await client.hitl.request("ok?", payload=1)).requester == "the nightly job"


async def test_a_store_that_cannot_be_opened_is_an_error_that_names_it(tmp_path: Path) -> None:
    """Not one from the depths of a driver."""
    with pytest.raises(StoreUnavailableError, match=r"missing.signoff\.db"):
        async with Client(SQLiteStore(tmp_path / "missing" / "signoff.db")):
            pass


async def test_a_disk_that_is_full_while_opening_is_reported() -> None:
    """The first commit notes which keys the store goes with."""
    with pytest.raises(StoreUnavailableError):
        async with Client(FaultyStore(MemoryStore(), at=1)):
            pass
