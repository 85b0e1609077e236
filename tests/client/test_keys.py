"""Rotating keys while work is open, and retiring them only when nothing alive needs them."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from signoff import Client, Flow, human_feedback, listen, require_approval, start, together
from signoff.errors import KeyConflict, KeyringError, SealInvalidError
from signoff.gates import bind_to
from signoff.model.run import Run
from signoff.rules.chain import Link, verify_chain
from signoff.security.keyring import Keyring
from signoff.stores import MemoryStore, SQLiteStore
from signoff.testing import ManualClock, MemoryMail

CFO = "cfo@acme.example"
DEPUTY = "deputy@acme.example"


@require_approval(name="keys.pay", assignees=[CFO], hidden=["iban"])
async def pay(amount: int, iban: str) -> str:
    """Return what was paid, and to whom."""
    return f"{amount} to {iban}"


class Spend(Flow, name="keys.spend"):
    """A gate on a step, and a gated call after it."""

    @start()
    @human_feedback(message="Spend?", emit=["approved", "rejected"], assign_to_email=CFO)
    def plan(self) -> str:
        """Return what is asked about."""
        return "a plan"

    @listen("approved")
    async def spend(self) -> str:
        """Make the gated call."""
        return await pay(9, "DE00")


class Twice(Flow, name="keys.twice"):
    """Two gated calls at once."""

    @start()
    async def spend(self) -> None:
        """Make them."""
        await together(partial(pay, 1, "DE01"), partial(pay, 2, "DE02"))


def office(store: MemoryStore | SQLiteStore, mail: MemoryMail, keyring: Keyring) -> Client:
    """Return a client with these keys."""
    return Client(store, notifiers=[mail], inbox=mail, keyring=keyring)


async def begun(client: Client) -> Run:
    """Start a run, and let it ask."""
    run = await client.flows.start(Spend, requester="agent-7")
    await client.drain()
    return await client.flows.get(run.run_id)


async def assert_chains_hold(client: Client, run_id: str, keyring: Keyring) -> set[int]:
    """Verify the audit of a run and of its requests, and return the keys that made it."""
    requests = await client.hitl.list_requests(run_id=run_id)
    kids: set[int] = set()
    for stream in (f"run:{run_id}", *(f"request:{one.request_id}" for one in requests)):
        entries = await client._store.audit(stream)
        links = [
            Link(
                stream=one.stream,
                seq=one.seq,
                prev_hash=one.prev_hash,
                body=one.body,
                hash=one.hash,
            )
            for one in entries
        ]
        assert verify_chain(links) is None
        assert all(keyring.verify("audit", one.kid, one.hash, one.mac) for one in entries)
        kids |= {one.kid for one in entries}
    return kids


async def test_a_suspended_run_goes_on_after_the_keys_were_rotated(database: Path) -> None:
    """Tokens, seals, checkpoints, hidden arguments and audit of before the rotation still verify."""
    mail, old = MemoryMail(), Keyring.generate()
    new = old.rotated({1})
    async with office(SQLiteStore(database), mail, old) as client:
        run = await begun(client)

    async with office(SQLiteStore(database), mail, new) as client:
        mail.reply(mail.sent[0], "approved", sender=CFO)
        await client.drain()
        (call,) = await client.hitl.list_requests(status="pending")
        await client.hitl.approve(request_id=call.request_id, reviewer=CFO)
        await client.drain()

        ended = await client.flows.get(run.run_id)
        assert (ended.status, ended.output) == ("completed", "9 to DE00")
        first = (await client.hitl.list_requests(run_id=run.run_id))[0]
        assert first.decisions[0].channel == "email"
        assert await assert_chains_hold(client, run.run_id, new) == {1, 2}


async def test_a_process_with_the_new_key_only_known_reads_what_the_new_key_made(
    database: Path,
) -> None:
    """First every process learns the key, then it becomes the active one: nobody stands still."""
    mail, old = MemoryMail(), Keyring.generate()
    new = old.rotated({1})
    known = Keyring.from_text(
        "\n".join(
            line.replace("2:active", "2:verify_only").replace("1:verify_only", "1:active")
            for line in new.to_text().splitlines()
        )
    )
    async with (
        office(SQLiteStore(database), mail, known) as before,
        office(SQLiteStore(database), mail, new) as after,
    ):
        run = await begun(after)
        mail.reply(mail.sent[0], "approved", sender=CFO)
        await before.drain()
        (call,) = await before.hitl.list_requests(status="pending")
        await after.hitl.approve(request_id=call.request_id, reviewer=CFO)
        await before.drain()

        assert (await after.flows.get(run.run_id)).output == "9 to DE00"


async def test_a_key_that_something_alive_needs_cannot_be_retired(database: Path) -> None:
    """The client says what is in use, and refuses to start without it."""
    mail, old = MemoryMail(), Keyring.generate()
    new = old.rotated({1})
    async with office(SQLiteStore(database), mail, old) as client:
        assert await client.keys_in_use() == frozenset()
        run = await begun(client)
        assert await client.keys_in_use() == {1}

    missing = Keyring([key for key in new.keys if key.kid == 2])
    for keyring in (new.retire(1), missing):
        with pytest.raises(KeyringError, match=r"key 1 is retired or missing.*verify_only"):
            async with office(SQLiteStore(database), mail, keyring):
                pass

    async with office(SQLiteStore(database), mail, new) as client:
        assert await client.keys_in_use() == {1}
        await client.flows.cancel(run.run_id)
        assert await client.keys_in_use() == frozenset()

    async with office(SQLiteStore(database), mail, new.retire(1)) as client:
        assert await assert_chains_hold(client, run.run_id, new.retire(1)) == {1, 2}
        later = await begun(client)
        assert later.status == "suspended"
        assert await client.keys_in_use() == {2}


async def test_a_key_id_that_nobody_knows_keeps_no_client_from_starting() -> None:
    """A forged row blocks its own run, and not everybody's start."""
    store, mail, keyring = MemoryStore(), MemoryMail(), Keyring.generate()
    foreign = keyring.rotated({1})
    async with office(store, mail, foreign) as client:
        run = await begun(client)
    store._key_checks.pop(2)

    async with office(store, mail, keyring) as client:
        assert await client.keys_in_use() == {2}
        (request,) = await client.hitl.list_requests()
        with pytest.raises(SealInvalidError):
            await client.hitl.approve(request_id=request.request_id, reviewer=CFO)
        await client.drain()
        blocked = await client.flows.get(run.run_id)
        assert (blocked.status, blocked.blocked_reason) == ("blocked", "seal_invalid")


async def test_the_token_of_a_question_needs_its_key_until_it_ends() -> None:
    """At its expiry nothing needs the key any more."""
    clock, mail = ManualClock(), MemoryMail()
    async with Client(notifiers=[mail], clock=clock) as client:
        await client.hitl.request("Shall we?", payload=1, assignees=[CFO])
        assert await client.keys_in_use() == {1}
        clock.advance(timedelta(days=7))
        await client.drain()
        assert await client.keys_in_use() == frozenset()


async def test_the_key_of_a_keyed_call_outlives_a_rotation(database: Path) -> None:
    """The commitments of hidden arguments are compared under every key that is known."""
    mail, old = MemoryMail(), Keyring.generate()
    async with office(SQLiteStore(database), mail, old) as client:
        first = await client.submit(pay, 9, "DE00", key="inv-17")

    async with office(SQLiteStore(database), mail, old.rotated({1})) as client:
        again = await client.submit(pay, 9, "DE00", key="inv-17")
        assert again.request_id == first.request_id
        with pytest.raises(KeyConflict, match="inv-17"):
            await client.submit(pay, 9, "DE01", key="inv-17")


async def test_hidden_arguments_that_were_stored_before_a_rotation_need_their_key(
    database: Path,
) -> None:
    """Also when the call is first asked about, and the run written anew, after it."""
    mail, old = MemoryMail(), Keyring.generate()
    new = old.rotated({1})
    async with office(SQLiteStore(database), mail, old) as client:
        run_id = await client._submitted(bind_to(pay, (9, "DE00"), {}), key="inv-18")

    async with office(SQLiteStore(database), mail, new) as client:
        request = await client.submit(pay, 9, "DE00", key="inv-18")
        assert await client.keys_in_use() == {1, 2}
        await client.hitl.approve(request_id=request.request_id, reviewer=CFO)
        await client.drain()
        assert (await client.flows.get(run_id)).output == "9 to DE00"
        assert await client.keys_in_use() == frozenset()


async def test_commitments_made_before_a_rotation_need_their_key(database: Path) -> None:
    """Also when their requests were sealed anew, for somebody else, and their step ran after it."""
    old = Keyring.generate()
    async with Client(SQLiteStore(database), keyring=old) as client:
        await client.flows.start(Twice)
        await client.drain()

    async with Client(SQLiteStore(database), keyring=old.rotated({1})) as client:
        first, second = await client.hitl.list_requests()
        for request in (first, second):
            await client.hitl.reassign(request_id=request.request_id, assignees=[DEPUTY])
        await client.hitl.approve(request_id=first.request_id, reviewer=DEPUTY)
        await client.drain()
        assert await client.keys_in_use() == {1, 2}


async def test_a_kickoff_with_a_wrong_key_is_refused_as_well() -> None:
    """It opens the client itself, and reports the same."""
    store = MemoryStore()
    async with Client(store, keyring=Keyring.generate()):
        pass

    with pytest.raises(KeyringError):
        await Spend(client=Client(store, keyring=Keyring.generate())).kickoff_async()
