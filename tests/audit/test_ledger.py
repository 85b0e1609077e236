"""Audit entries: what they say, what they hide, and that no change is made without its entry."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from signoff.audit.ledger import Event, Ledger, OnEvent
from signoff.bell import Bell
from signoff.errors import StaleWriteError
from signoff.model.audit import AuditEntry
from signoff.model.changes import Changes
from signoff.model.request import AuditHead
from signoff.model.values import Tree
from signoff.rules.chain import Link, verify_chain
from signoff.security.keyring import Keyring
from signoff.security.sealing import commitment
from signoff.stores import MemoryStore

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
STREAM = "request:req_1"


def a_ledger(
    store: MemoryStore, keyring: Keyring | None = None, on_event: OnEvent | None = None
) -> Ledger:
    """Return a ledger with keys of its own."""
    return Ledger(store, keyring or Keyring.generate(), on_event=on_event, bell=Bell())


def an_event(name: str = "request.approved", **personal: str) -> Event:
    """Return an event by Ann."""
    facts: dict[str, Tree] = {"outcome": "approved", "version": 2}
    return Event(name=name, at=NOON, actor="ann@acme.example", facts=facts, personal=personal)


def link(entry: AuditEntry) -> Link:
    """Return what the chain is made of."""
    return Link(
        stream=entry.stream,
        seq=entry.seq,
        prev_hash=entry.prev_hash,
        body=entry.body,
        hash=entry.hash,
    )


def test_an_entry_says_what_happened_when_and_by_whom() -> None:
    """Facts as they are; whoever is named shows beside them until erased."""
    entry, head = a_ledger(MemoryStore()).entry(STREAM, AuditHead(), an_event(feedback="Fine"))

    assert (entry.stream, entry.seq, entry.prev_hash) == (STREAM, 1, bytes(32))
    assert head == AuditHead(seq=1, hash=entry.hash.hex())
    assert (entry.event, entry.at, entry.actor) == ("request.approved", NOON, "ann@acme.example")
    assert entry.facts["outcome"] == "approved"
    assert entry.facts["feedback"] == "Fine"


def test_an_entrys_body_holds_personal_values_as_salted_commitments_only() -> None:
    """So they can be erased, and the chain still holds; nobody can guess them by their hash."""
    ledger = a_ledger(MemoryStore())
    entry, _ = ledger.entry(STREAM, AuditHead(), an_event(feedback="Fine", text=""))
    again, _ = ledger.entry(STREAM, AuditHead(), an_event(feedback="Fine", text=""))
    body = json.loads(entry.body)

    assert b"ann@acme" not in entry.body
    assert b"Fine" not in entry.body
    assert "text" not in body
    assert body["actor"] == commitment(entry.salt, "ann@acme.example")
    assert body["feedback"] == commitment(entry.salt, "Fine")
    assert entry.personal == {"actor": "ann@acme.example", "feedback": "Fine"}
    assert len(entry.salt) == 16
    assert entry.salt != again.salt
    assert verify_chain([link(entry)]) is None


def test_entries_hang_on_each_other_and_on_the_key() -> None:
    """A change anywhere shows; the MAC is of the hash."""
    keyring = Keyring.generate()
    ledger = a_ledger(MemoryStore(), keyring)
    head, entries = AuditHead(), list[AuditEntry]()
    for name in ("request.opened", "request.commented", "request.approved"):
        entry, head = ledger.entry(STREAM, head, an_event(name))
        entries.append(entry)

    assert [entry.seq for entry in entries] == [1, 2, 3]
    assert [entry.prev_hash for entry in entries[1:]] == [entry.hash for entry in entries[:-1]]
    assert verify_chain([link(entry) for entry in entries]) is None
    assert all(keyring.verify("audit", one.kid, one.hash, one.mac) for one in entries)
    assert not Keyring.generate().verify("audit", 1, entries[0].hash, entries[0].mac)


async def test_the_next_entry_of_a_stream_goes_by_what_is_stored() -> None:
    """For streams whose head no record keeps."""
    store = MemoryStore()
    ledger = a_ledger(store)
    for number in (1, 2):
        entry = await ledger.next_entry(STREAM, an_event())
        assert entry.seq == number
        await ledger.commit(Changes(audit=(entry,)))

    assert verify_chain([link(entry) for entry in await store.audit(STREAM)]) is None


async def test_a_commit_wakes_who_waits_and_tells_the_listener_of_each_entry() -> None:
    """In their order, once they are stored."""
    store, bell, heard = MemoryStore(), Bell(), list[str]()
    ledger = Ledger(
        store, Keyring.generate(), on_event=lambda one: heard.append(one.event), bell=bell
    )
    first, head = ledger.entry(STREAM, AuditHead(), an_event("request.opened"))
    second, _ = ledger.entry(STREAM, head, an_event())

    await ledger.commit(Changes(audit=(first, second)))

    assert heard == ["request.opened", "request.approved"]
    assert bell.rings == 1


async def test_a_listener_that_fails_hears_of_the_next_entry_all_the_same(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The log names the entry, and the caller is not bothered."""
    heard: list[int] = []

    def listen(entry: AuditEntry) -> None:
        heard.append(entry.seq)
        raise LookupError("the dashboard is away")

    store = MemoryStore()
    ledger = a_ledger(store, on_event=listen)
    first, head = ledger.entry(STREAM, AuditHead(), an_event("request.opened"))
    second, _ = ledger.entry(STREAM, head, an_event())

    await ledger.commit(Changes(audit=(first, second)))

    assert heard == [1, 2]
    assert len(await store.audit(STREAM)) == 2
    assert f"on_event failed for {STREAM} 1" in caplog.text
    assert "ann@acme" not in caplog.text


async def test_what_the_store_refuses_is_told_nobody() -> None:
    """An entry that cannot follow was written by nobody."""
    heard: list[str] = []
    store, bell = MemoryStore(), Bell()
    ledger = Ledger(
        store, Keyring.generate(), on_event=lambda one: heard.append(one.event), bell=bell
    )
    _, head = ledger.entry(STREAM, AuditHead(), an_event())
    second, _ = ledger.entry(STREAM, head, an_event())

    with pytest.raises(StaleWriteError):
        await ledger.commit(Changes(audit=(second,)))

    assert (heard, bell.rings) == ([], 0)
