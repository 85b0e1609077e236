"""A message that did not arrive: what follows is in the commit that records it (floor 5)."""

from __future__ import annotations

import logging
from typing import Final

from signoff.desk import Consequences, Desk
from signoff.errors import SealInvalidError, StaleWriteError
from signoff.model.changes import Changes
from signoff.model.delivery import Delivery
from signoff.ports import Store
from signoff.rules.undelivered import Mishap, after_mishap

_log = logging.getLogger("signoff.outbox.undelivered")

TRIES: Final = 50
"""How often the commit is tried again when others write the same request at once."""


async def commit_mishap(
    desk: Desk,
    store: Store,
    changes: Changes,
    delivery: Delivery,
    *,
    mishap: Mishap,
    status: str = "",
) -> None:
    """
    Commit that a message did not arrive, or not yet, together with what follows from it.

    Where nothing may be built on the request, because it is not what was sealed, or cannot be
    written, the message is recorded alone.

    Args:
        desk: Which knows what a transition brings about.
        store: Where the request's other messages are.
        changes: What records it.
        delivery: The message, as `changes` write it.
        mishap: What became of it.
        status: The other side's status code; may be empty.

    Raises:
        StaleWriteError: Something in `changes` has moved on.
    """
    request_id = delivery.request_id
    for _ in range(TRIES):
        follows = await _follows(desk, store, delivery, mishap=mishap, status=status)
        if follows is None:
            break
        try:
            await desk.commit(follows.added_to(changes))
        except StaleWriteError as stale:
            if stale.record_id not in {request_id, f"request:{request_id}"}:
                raise
            continue
        return
    await desk.commit(changes)


async def _follows(
    desk: Desk, store: Store, delivery: Delivery, *, mishap: Mishap, status: str
) -> Consequences | None:
    try:
        request = await desk.load(delivery.request_id)
    except SealInvalidError as error:
        _log.warning("a message did not arrive, and its request's seal is invalid: %s", error)
        return None
    others = await store.deliveries(delivery.request_id)
    transition = after_mishap(request, delivery, others, mishap=mishap, status=status)
    return await desk.after(transition, now=await store.now())
