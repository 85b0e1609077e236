"""What the store contract says about audit, handled messages, marks, keys and counts (floor 9)."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import anyio

from signoff.errors import StaleWriteError
from signoff.model.changes import Changes
from signoff.ports import Store
from signoff.testing.builders import (
    HOUR,
    MICROSECOND,
    NOON,
    ZEROS,
    a_delivery,
    a_request,
    a_run,
    a_token,
    an_entry,
    an_occurrence,
    sealed,
    writing,
)
from signoff.testing.store_contract.base import ContractBase, Rendezvous, refused


class BooksContract(ContractBase):
    """What is only appended or only compared: the audit chains, the inbox's books, the keys."""

    async def test_an_audit_entry_is_read_exactly_as_it_was_written(self, store: Store) -> None:
        """Its bytes, hashes and MAC, and the personal values that are kept apart."""
        entry = replace(
            an_entry(personal={"actor": "Zoë <zoe@acme.example>", "feedback": "\x00\n" * 9_999}),
            body=b'{ "event":"\\u00fc\xc3\xbc" }\n',
            hash=bytes(range(32)),
            mac=bytes(range(224, 256)),
            salt=bytes(range(16)),
            kid=255,
        )
        bare = replace(an_entry(after=entry), salt=b"", personal={})

        await store.commit(Changes(audit=(entry, bare)))

        assert list(await store.audit("request:req_1")) == [entry, bare]
        assert list(await store.audit("request:req_9")) == []

    async def test_a_stream_begins_with_entry_one_after_zeros(self, store: Store) -> None:
        """Any other number or former hash is refused; the error names the stream."""
        entry = an_entry()
        for wrong in (
            replace(entry, seq=0),
            replace(entry, seq=2),
            replace(entry, prev_hash=b"\x01" + ZEROS[1:]),
            replace(entry, prev_hash=b""),
        ):
            assert await refused(store, Changes(audit=(wrong,))) == entry.stream

        await store.commit(Changes(audit=(entry,)))
        assert list(await store.audit(entry.stream)) == [entry]

    async def test_an_audit_entry_follows_the_one_before(self, store: Store) -> None:
        """Its number is the next one, and its `prev_hash` is the stored hash of the last entry."""
        first = an_entry()
        second = an_entry(after=first)
        await store.commit(Changes(audit=(first,)))

        for wrong in (
            first,
            replace(second, seq=1),
            replace(second, seq=3),
            replace(second, prev_hash=ZEROS),
            replace(second, prev_hash=first.mac),
            an_entry(after=second),
        ):
            assert await refused(store, Changes(audit=(wrong,))) == first.stream

        await store.commit(Changes(audit=(second,)))
        assert await refused(store, Changes(audit=(second,))) == first.stream
        assert list(await store.audit(first.stream)) == [first, second]

    async def test_a_commit_may_append_several_entries(self, store: Store) -> None:
        """To several streams, in their order; each stream is a chain of its own."""
        first = an_entry()
        second, run_first = an_entry(after=first), an_entry("run:run_1")
        run_second = an_entry("run:run_1", after=run_first)
        await refused(store, Changes(audit=(second, first)))

        await store.commit(Changes(audit=(first, run_first, second, run_second)))

        assert list(await store.audit("request:req_1")) == [first, second]
        assert list(await store.audit("run:run_1")) == [run_first, run_second]

    async def test_a_long_stream_is_read_in_order(self, store: Store) -> None:
        """By number, not as text: entry 10 comes after entry 9."""
        entries = [an_entry()]
        for _ in range(11):
            entries.append(an_entry(after=entries[-1]))
        for entry in entries:
            await store.commit(Changes(audit=(entry,)))

        assert list(await store.audit("request:req_1")) == entries

    async def test_exactly_one_of_many_appends_the_next_entry(self, store: Store) -> None:
        """Twenty tasks that saw the same last entry leave one more, and an unbroken chain."""
        first = an_entry()
        await store.commit(Changes(audit=(first,)))
        appended: list[str] = []
        everybody = Rendezvous(20)

        async def append(event: str) -> None:
            (last,) = await store.audit(first.stream)
            await everybody.meet()
            with suppress(StaleWriteError):
                await store.commit(Changes(audit=(an_entry(after=last, event=event),)))
                appended.append(event)

        async with anyio.create_task_group() as group:
            for number in range(20):
                group.start_soon(append, f"request.seen {number}")

        entries = await store.audit(first.stream)
        assert [entry.event for entry in entries[1:]] == appended
        assert len(appended) == 1

    async def test_a_message_is_handled_once(self, store: Store) -> None:
        """A key that a commit has dealt with, or names twice, is refused; keys are exact."""
        assert not await store.was_handled("imap:1")
        await refused(store, Changes(handled=("imap:1", "imap:1")))

        await store.commit(Changes(handled=("imap:1", "imap:2", "")))

        for key in ("imap:1", "imap:2", ""):
            assert await store.was_handled(key)
            await refused(store, Changes(handled=(key,)))
        for key in ("imap:11", "IMAP:1", "imap:", "imap:1 "):
            assert not await store.was_handled(key)

    async def test_the_last_mark_stands(self, store: Store) -> None:
        """Each inbox has its own; writing one over another needs no version."""
        assert await store.mark("imap") is None

        await store.commit(Changes(marks={"imap": "7:12", "other": ""}))
        await store.commit(Changes(marks={"imap": "7:9"}))

        assert await store.mark("imap") == "7:9"
        assert await store.mark("other") == ""
        assert await store.mark("IMAP") is None

    async def test_a_key_id_stands_for_one_key(self, store: Store) -> None:
        """Writing the same check value again is fine, another one for that id is refused."""
        assert dict(await store.key_checks()) == {}
        await store.commit(Changes(key_checks={1: "aa", 255: "bb"}))

        await store.commit(Changes(key_checks={1: "aa", 3: "cc"}))
        await refused(store, Changes(key_checks={1: "AA"}))
        await refused(store, Changes(key_checks={4: "dd", 255: "b"}))

        assert dict(await store.key_checks()) == {1: "aa", 3: "cc", 255: "bb"}

    async def test_the_tokens_of_pending_requests_need_their_keys(self, store: Store) -> None:
        """Until their `not_after`, used or not, and no longer than the request is pending."""
        assert await store.kids_in_use(NOON) == frozenset()
        await store.commit(
            writing(
                a_request("req_1"),
                a_request("req_2", status="approved"),
                a_token("tok_1", kid=1, not_after=NOON + HOUR),
                a_token("tok_2", kid=2, not_after=NOON + 2 * HOUR, used_at=NOON),
                a_token("tok_3", kid=3, request_id="req_2"),
                a_token("tok_4", kid=4, request_id="req_9"),
            )
        )

        assert await store.kids_in_use(NOON + HOUR - MICROSECOND) == {1, 2}
        assert await store.kids_in_use(NOON + HOUR) == {2}
        assert await store.kids_in_use(NOON + 2 * HOUR) == frozenset()

        await store.commit(writing(a_request("req_1", version=2, status="cancelled")))
        assert await store.kids_in_use(NOON) == frozenset()

    async def test_a_going_run_needs_the_keys_of_its_checkpoint(self, store: Store) -> None:
        """The MACs of the run and of its occurrences as they stand, until the run has ended."""
        await store.commit(
            Changes(
                runs=(
                    sealed(a_run("run_1", status="suspended"), kid=1),
                    sealed(a_run("run_2", status="blocked"), kid=2),
                    sealed(a_run("run_3", status="completed"), kid=3),
                    sealed(a_run("run_4", status="failed"), kid=4),
                    sealed(a_run("run_5", status="cancelled"), kid=5),
                ),
                occurrences=(
                    sealed(an_occurrence(1, run_id="run_1"), kid=11),
                    sealed(an_occurrence(1, run_id="run_3"), kid=13),
                ),
            )
        )
        assert await store.kids_in_use(NOON) == {1, 2, 11}

        await store.commit(
            Changes(
                runs=(
                    sealed(a_run("run_1", version=2), kid=6),
                    sealed(a_run("run_2", version=2, status="failed"), kid=7),
                )
            )
        )
        assert await store.kids_in_use(NOON) == {6, 11}

    async def test_living_requests_need_the_keys_of_their_seals(self, store: Store) -> None:
        """And of what is hidden in them, while they are pending or their run has not ended."""
        vote = {
            "label": "approve",
            "reviewer": "cfo@acme.example",
            "channel": "api",
            "proof": "authenticated",
            "decided_at": NOON,
            "payload_digest": "sha256:00",
        }
        end = {
            "status": "approved",
            "reviewer": "cfo@acme.example",
            "channel": "api",
            "resolved_at": NOON,
            "payload_digest": "sha256:00",
        }

        def seal(kid: int) -> dict[str, object]:
            return {"kid": kid, "tags": {"message": "00"}, "whole": "00"}

        decided = {
            "status": "approved",
            "seal": seal(3),
            "decisions": ({**vote, "seal": seal(1)}, {**vote, "seal": seal(2)}, vote),
            "resolution": {**end, "seal": seal(4)},
        }
        await store.commit(
            Changes(
                runs=(
                    sealed(a_run("run_1", status="suspended"), kid=9),
                    sealed(a_run("run_2", status="completed"), kid=9),
                ),
                requests=(
                    a_request("req_1", **decided),
                    a_request("req_2", run_id="run_2", status="approved", seal=seal(5)),
                    a_request("req_3", run_id="run_2", seal=seal(6)),
                    a_request("req_4", run_id="", seal=seal(7)),
                    a_request("req_5", run_id="", status="rejected", seal=seal(8)),
                    a_request("req_6", run_id="run_1", status="approved", hidden_kids=(10, 11)),
                    a_request("req_7", run_id="run_2", status="approved", hidden_kids=(12,)),
                ),
            )
        )

        assert await store.kids_in_use(NOON) == {1, 2, 3, 4, 6, 7, 9, 10, 11}

        await store.commit(writing(a_run("run_1", version=2, status="completed")))
        assert await store.kids_in_use(NOON) == {6, 7}

    async def test_everything_is_counted_by_status(self, store: Store) -> None:
        """Each record once, by its newest version; a status without any is absent."""
        none = await store.counts()
        assert [dict(one) for one in (none.runs, none.requests, none.deliveries)] == [{}, {}, {}]
        await store.commit(
            writing(
                a_run("run_1"),
                a_run("run_2"),
                a_run("run_3", status="blocked"),
                a_request("req_1"),
                a_request("req_2", status="expired"),
                a_delivery("dlv_1"),
                a_delivery("dlv_2"),
            )
        )
        await store.commit(
            writing(
                a_run("run_1", version=2, status="completed"),
                a_run("run_2", version=2),
                a_request("req_1", version=2, status="approved"),
                a_delivery("dlv_2", version=2, status="sent"),
            )
        )

        counts = await store.counts()

        assert dict(counts.runs) == {"ready": 1, "blocked": 1, "completed": 1}
        assert dict(counts.requests) == {"approved": 1, "expired": 1}
        assert dict(counts.deliveries) == {"waiting": 1, "sent": 1}
