"""What the store contract says about deliveries (floor 9)."""

from __future__ import annotations

from datetime import timedelta

import pytest

from signoff.errors import NotFoundError, SchemaError
from signoff.model.base import FORMAT
from signoff.model.changes import Changes, Release
from signoff.ports import Store
from signoff.testing.builders import HOUR, MICROSECOND, NOON, a_delivery, an_acquire, writing
from signoff.testing.store_contract.base import ContractBase


class OutboxContract(ContractBase):
    """Deliveries are found by id, by request, and when they are to be sent."""

    async def test_a_delivery_that_is_not_there_is_an_error(self, store: Store) -> None:
        """`NotFoundError` names the kind and the id."""
        with pytest.raises(NotFoundError) as caught:
            await store.delivery("dlv_9")
        assert (caught.value.kind, caught.value.record_id) == ("delivery", "dlv_9")

    async def test_the_deliveries_of_a_request_come_oldest_first(self, store: Store) -> None:
        """By (created_at, delivery_id), whatever became of them; none for an unknown request."""
        earlier = a_delivery("dlv_c", created_at=NOON - MICROSECOND)
        others = [a_delivery("dlv_a", status="dropped"), a_delivery("dlv_b")]
        await store.commit(
            writing(*reversed(others), earlier, a_delivery("dlv_d", request_id="req_2"))
        )

        assert list(await store.deliveries("req_1")) == [earlier, *others]
        assert list(await store.deliveries("req_9")) == []

    async def test_a_delivery_of_a_newer_format_is_refused(self, store: Store) -> None:
        """Every read that would return it raises `SchemaError`."""
        await store.commit(writing(a_delivery(format=FORMAT + 1)))

        with pytest.raises(SchemaError, match="dlv_1"):
            await store.deliveries("req_1")

    async def test_a_waiting_delivery_is_due_at_its_very_instant(self, store: Store) -> None:
        """`not_before == now` is due, one microsecond before is not."""
        await store.commit(writing(a_delivery()))

        assert list(await store.due_deliveries(NOON - MICROSECOND, limit=9)) == []
        assert list(await store.due_deliveries(NOON, limit=9)) == ["dlv_1"]

    async def test_due_deliveries_come_soonest_first(self, store: Store) -> None:
        """By `not_before`, waiting and abandoned ones together; equal ones by id; at most `limit`."""
        await store.commit(
            writing(
                a_delivery("dlv_e", not_before=NOON - HOUR),
                a_delivery("dlv_b", not_before=NOON - 2 * HOUR, created_at=NOON + HOUR),
                a_delivery("dlv_a", not_before=NOON - 2 * HOUR),
                a_delivery("dlv_c", not_before=NOON - 1.5 * HOUR, status="sending"),
                a_delivery("dlv_d", not_before=NOON - 3 * HOUR, status="sending"),
                a_delivery("dlv_f", not_before=NOON + MICROSECOND),
            )
        )

        expected = ["dlv_d", "dlv_a", "dlv_b", "dlv_c", "dlv_e"]
        assert list(await store.due_deliveries(NOON, limit=9)) == expected
        assert list(await store.due_deliveries(NOON, limit=2)) == expected[:2]

    async def test_a_delivery_is_due_only_while_its_status_says_so(self, store: Store) -> None:
        """A failed attempt that waits again is due at its new time; an ended one never."""
        due: list[bool] = []
        for version, status in enumerate(
            ("waiting", "sending", "waiting", "sent", "failed", "dropped"), start=1
        ):
            later = NOON + HOUR if version == 3 else NOON
            await store.commit(
                writing(a_delivery(version=version, status=status, not_before=later))
            )
            due.append(bool(await store.due_deliveries(NOON, limit=9)))

        assert due == [True, True, False, False, False, False]

    async def test_what_somebody_is_sending_is_not_due(self, store: Store) -> None:
        """`sending` under a live claim is in good hands; under a lapsed one or none it is due."""
        ids = ["dlv_1", "dlv_2", "dlv_3", "dlv_4"]
        await store.commit(
            writing(*(a_delivery(i, status="sending", not_before=NOON + HOUR) for i in ids))
        )
        await store.commit(
            Changes(
                claims=(
                    an_acquire("dlv_1"),
                    an_acquire("dlv_2", lease=timedelta(0)),
                    an_acquire("dlv_3"),
                    Release(subject="dlv_3", holder="ann", fencing=1),
                )
            )
        )

        assert list(await store.due_deliveries(NOON, limit=9)) == ["dlv_2", "dlv_3", "dlv_4"]
        assert list(await store.due_deliveries(NOON, limit=1)) == ["dlv_2"]

    async def test_a_claim_does_not_hide_a_waiting_delivery(self, store: Store) -> None:
        """Who claims one writes `sending` in the same commit; without that it still waits."""
        await store.commit(writing(a_delivery()))
        await store.commit(Changes(claims=(an_acquire("dlv_1"),)))

        assert list(await store.due_deliveries(NOON, limit=9)) == ["dlv_1"]

    async def test_the_oldest_unsent_delivery_is_known_by_notifier(self, store: Store) -> None:
        """By creation, among the `waiting` and `sending` ones; a notifier without one is left out."""
        await store.commit(
            writing(
                a_delivery("dlv_1", created_at=NOON + 2 * HOUR),
                a_delivery("dlv_2", created_at=NOON + HOUR, not_before=NOON + 9 * HOUR),
                a_delivery("dlv_3", created_at=NOON, status="sent"),
                a_delivery("dlv_4", notifier="web", created_at=NOON + HOUR / 2, status="sending"),
                a_delivery("dlv_5", notifier="web", created_at=NOON, status="failed"),
                a_delivery("dlv_6", notifier="chat", created_at=NOON, status="dropped"),
            )
        )
        assert dict(await store.oldest_unsent()) == {
            "smtp": NOON + HOUR,
            "web": NOON + HOUR / 2,
        }

        await store.commit(
            writing(
                a_delivery("dlv_2", version=2, created_at=NOON + HOUR, status="sent"),
                a_delivery("dlv_4", version=2, notifier="web", status="dropped"),
            )
        )
        assert dict(await store.oldest_unsent()) == {"smtp": NOON + 2 * HOUR}
