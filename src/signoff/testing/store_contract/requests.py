"""What the store contract says about requests and tokens (floor 9)."""

from __future__ import annotations

from typing import Final

import pytest

from signoff.errors import NotFoundError, SchemaError
from signoff.model.base import FORMAT
from signoff.ports import RequestQuery, Store
from signoff.testing.builders import HOUR, MICROSECOND, NOON, a_request, a_token, writing
from signoff.testing.store_contract.base import ContractBase

MANY: Final = tuple(
    a_request(
        f"req_{number:03}",
        created_at=NOON + number // 7 * MICROSECOND,
        status="pending" if number % 3 else "approved",
        assignees=("cfo@acme.example", "ceo@acme.example")[: number % 2 + 1],
    )
    for number in range(300)
)
"""Three hundred requests in their order, several of them opened at each instant."""


class RequestsContract(ContractBase):
    """Requests are found by id, in pages, and when they expire; tokens by id and request."""

    async def test_a_request_that_is_not_there_is_an_error(self, store: Store) -> None:
        """`NotFoundError` names the kind and the id; ids are compared exactly."""
        await store.commit(writing(a_request("req_1")))

        for unknown in ("req_2", "REQ_1", "req_1 ", ""):
            with pytest.raises(NotFoundError) as caught:
                await store.request(unknown)
            assert (caught.value.kind, caught.value.record_id) == ("request", unknown)

    async def test_requests_come_oldest_first_or_newest_first(self, store: Store) -> None:
        """Ordered by (created_at, request_id), however they were written or changed later."""
        await store.commit(
            writing(
                a_request("req_b"),
                a_request("req_c", created_at=NOON - MICROSECOND),
                a_request("req_a"),
            )
        )
        await store.commit(
            writing(a_request("req_c", version=2, created_at=NOON - MICROSECOND, status="expired"))
        )

        assert await _ids(store, RequestQuery()) == ["req_c", "req_a", "req_b"]
        assert await _ids(store, RequestQuery(newest_first=True)) == ["req_b", "req_a", "req_c"]

    async def test_requests_are_chosen_by_status_run_assignee_and_risk(self, store: Store) -> None:
        """Every field of the query that is given must fit; an assignee is one whole address."""
        cfo, ceo = "cfo@acme.example", "ceo@acme.example"
        await store.commit(
            writing(
                a_request("req_1", risk="high"),
                a_request("req_2", assignees=(ceo, cfo), run_id="run_2"),
                a_request("req_3", assignees=(), run_id=""),
                a_request("req_4", assignees=(ceo,), risk="high", run_id="run_2"),
                a_request("req_5", assignees=("other-cfo@acme.example",), status="rejected"),
            )
        )
        await store.commit(writing(a_request("req_1", version=2, risk="high", status="approved")))

        for query, expected in (
            (RequestQuery(status="pending"), ["req_2", "req_3", "req_4"]),
            (RequestQuery(status="approved"), ["req_1"]),
            (RequestQuery(status="cancelled"), []),
            (RequestQuery(run_id="run_2"), ["req_2", "req_4"]),
            (RequestQuery(run_id=""), ["req_3"]),
            (RequestQuery(assignee=cfo), ["req_1", "req_2"]),
            (RequestQuery(assignee=ceo), ["req_2", "req_4"]),
            (RequestQuery(assignee="%@acme.example"), []),
            (RequestQuery(risk="high"), ["req_1", "req_4"]),
            (RequestQuery(risk="high", status="pending", run_id="run_2"), ["req_4"]),
            (RequestQuery(assignee=cfo, status="pending"), ["req_2"]),
        ):
            assert await _ids(store, query) == expected

    async def test_an_assignee_finds_what_is_asked_of_it_now(self, store: Store) -> None:
        """After another version has other assignees, or none."""
        await store.commit(writing(a_request(assignees=("a@acme.example", "ü'\"@acme.example"))))
        await store.commit(
            writing(a_request(version=2, assignees=("ü'\"@acme.example", "b@acme.example")))
        )

        for address, expected in (("a", []), ("b", ["req_1"]), ("ü'\"", ["req_1"])):
            assert await _ids(store, RequestQuery(assignee=f"{address}@acme.example")) == expected

    @pytest.mark.parametrize("newest_first", [False, True])
    @pytest.mark.parametrize(
        "query",
        [
            RequestQuery(limit=7),
            RequestQuery(limit=200),
            RequestQuery(limit=31, status="pending"),
            RequestQuery(limit=31, status="approved", assignee="ceo@acme.example"),
        ],
        ids=["sevens", "two hundreds", "pending", "pending and assigned"],
    )
    async def test_following_the_pages_meets_every_request_once(
        self, store: Store, query: RequestQuery, *, newest_first: bool
    ) -> None:
        """No page but the last is short, none repeats or leaves out, also among equal times."""
        await store.commit(writing(*reversed(MANY)))
        fitting = [
            request.request_id
            for request in MANY
            if query.status in {None, request.status}
            and (query.assignee is None or query.assignee in request.assignees)
        ]

        seen: list[str] = []
        after = None
        while page := await store.requests(
            RequestQuery(
                status=query.status,
                assignee=query.assignee,
                limit=query.limit,
                newest_first=newest_first,
                after=after,
            )
        ):
            assert len(page) == min(query.limit, len(fitting) - len(seen))
            seen += [request.request_id for request in page]
            after = (page[-1].created_at, page[-1].request_id)

        assert seen == (fitting[::-1] if newest_first else fitting)

    async def test_a_page_goes_on_after_its_cursor_whatever_was_written(self, store: Store) -> None:
        """The cursor is a place, not a count: what came in before it shifts nothing."""
        await store.commit(writing(*MANY[10:20]))
        after = (MANY[14].created_at, MANY[14].request_id)

        await store.commit(writing(*MANY[:10], *MANY[20:22]))

        expected = [request.request_id for request in MANY[15:22]]
        assert await _ids(store, RequestQuery(after=after)) == expected
        nowhere = (MANY[14].created_at, MANY[14].request_id + "x")
        assert await _ids(store, RequestQuery(after=nowhere)) == expected
        backwards = RequestQuery(after=nowhere, newest_first=True, limit=2)
        assert await _ids(store, backwards) == ["req_014", "req_013"]

    async def test_a_page_of_requests_with_a_newer_record_is_refused(self, store: Store) -> None:
        """Every read that would return the record raises `SchemaError`."""
        await store.commit(
            writing(
                a_request("req_1", format=FORMAT + 1),
                a_request("req_2", run_id="run_2"),
                a_token("tok_1", format=FORMAT + 1),
            )
        )

        with pytest.raises(SchemaError, match="req_1"):
            await store.requests(RequestQuery())
        with pytest.raises(SchemaError, match="tok_1"):
            await store.tokens("req_1")
        assert await _ids(store, RequestQuery(run_id="run_2")) == ["req_2"]

    async def test_a_request_expires_at_its_very_instant(self, store: Store) -> None:
        """`expires_at == now` is expired, one microsecond before is not."""
        await store.commit(writing(a_request(expires_at=NOON)))

        assert list(await store.expired(NOON - MICROSECOND, limit=9)) == []
        assert list(await store.expired(NOON, limit=9)) == ["req_1"]
        assert list(await store.expired(NOON + HOUR, limit=9)) == ["req_1"]

    async def test_expired_requests_come_soonest_first(self, store: Store) -> None:
        """By expiry, whenever they were opened; equal ones by id; at most `limit`."""
        ends = {"req_d": -3, "req_c": -2, "req_a": -1, "req_b": -1, "req_e": 0, "req_f": 1}
        await store.commit(
            writing(
                *(
                    a_request(request_id, expires_at=NOON + n * HOUR, created_at=NOON - n * HOUR)
                    for request_id, n in reversed(ends.items())
                )
            )
        )

        expected = ["req_d", "req_c", "req_a", "req_b", "req_e"]
        assert list(await store.expired(NOON, limit=9)) == expected
        assert list(await store.expired(NOON, limit=3)) == expected[:3]

    async def test_only_a_pending_request_with_an_end_expires(self, store: Store) -> None:
        """One without `expires_at` never does; a decided one does not any more; a moved end counts."""
        await store.commit(
            writing(
                a_request("req_1"),
                a_request("req_2", expires_at=NOON),
                a_request("req_3", expires_at=NOON),
                a_request("req_4", expires_at=NOON),
                a_request("req_5", expires_at=NOON + HOUR),
            )
        )
        await store.commit(
            writing(
                a_request("req_2", version=2, expires_at=NOON, status="approved"),
                a_request("req_3", version=2, expires_at=NOON + HOUR),
                a_request("req_5", version=2, expires_at=NOON - HOUR),
            )
        )

        assert list(await store.expired(NOON, limit=9)) == ["req_5", "req_4"]

    async def test_a_token_is_found_by_its_exact_id(self, store: Store) -> None:
        """`None` for any other."""
        await store.commit(writing(a_token("tok_1")))

        assert await store.token("tok_1") == a_token("tok_1")
        for unknown in ("tok_2", "TOK_1", "tok", ""):
            assert await store.token(unknown) is None

    async def test_a_request_has_its_tokens(self, store: Store) -> None:
        """All of them, used or revoked or not, and nobody else's."""
        tokens = [a_token("tok_1"), a_token("tok_2", revoked_at=NOON)]
        used = a_token("tok_1", version=2, used_at=NOON)
        await store.commit(writing(*tokens, a_token("tok_3", request_id="req_2")))
        await store.commit(writing(used))

        found = await store.tokens("req_1")

        assert sorted(found, key=lambda token: token.token_id) == [used, tokens[1]]
        assert list(await store.tokens("req_9")) == []


async def _ids(store: Store, query: RequestQuery) -> list[str]:
    return [request.request_id for request in await store.requests(query)]
