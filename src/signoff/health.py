"""How things stand: what fails, what is blocked, who is not reached and why (floor 7)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from signoff.errors import SchemaError, SealInvalidError
from signoff.model.changes import Sealed
from signoff.model.delivery import Delivery
from signoff.model.request import Request
from signoff.model.run import Run
from signoff.outbox import NotifierHealth
from signoff.polling import InboxHealth
from signoff.ports import RequestQuery, RunQuery, Store
from signoff.rules.undelivered import why_unreached

RowT = TypeVar("RowT")

_UNREADABLE = (SealInvalidError, SchemaError)
"""What is raised where a row is not what Signoff wrote, or a newer one wrote it."""

_LOOKED_AT = 200
"""How many blocked runs and pending requests are looked at, oldest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """
    How things stand.

    Attributes:
        notifiers: By name, how each notifier has fared and what waits for it.
        inbox: How the inbox has fared, when there is one.
        blocked: The runs that need a person.
        unreached: Pending requests that nobody was told of, with the reason.
        uncertain: Deliveries of pending requests of which nobody knows whether one of their
            attempts arrived, because the sender died: how many attempts, by delivery id.
        came_back: Deliveries of pending requests that were taken and then reported as failed or
            delayed: what was reported, by delivery id.
        failed_deliveries: How many deliveries were given up.
        unclaimed: Runs that wait for code that this process does not have, by stored name.
        warnings: What is weak about the set-up, and which stored rows cannot be read.
    """

    notifiers: Mapping[str, NotifierHealth]
    inbox: InboxHealth | None
    blocked: Sequence[Run]
    unreached: Mapping[str, str]
    uncertain: Mapping[str, int]
    came_back: Mapping[str, str]
    failed_deliveries: int
    unclaimed: Mapping[str, int]
    warnings: Sequence[str]


async def gather_health(
    store: Store,
    *,
    names: Sequence[str],
    fared: Mapping[str, NotifierHealth],
    inbox: InboxHealth | None,
    weaknesses: Sequence[str],
) -> Health:
    """
    Return how things stand.

    Args:
        store: What is asked.
        names: The names of all runs that this process can advance.
        fared: How each notifier has fared in this process, by name.
        inbox: How the inbox has fared, when there is one.
        weaknesses: What is weak about the set-up.
    """
    oldest = await store.oldest_unsent()
    counts = await store.counts()
    blocked, unread_runs = await _blocked(store)
    pending, unread_requests = await _pending(store)
    told, unread_messages = await _told(store, pending)
    unreached = {
        one.request_id: why_unreached(one, told[one.request_id])
        for one in pending
        if one.request_id in told
    }
    return Health(
        notifiers={
            name: replace(fared.get(name, NotifierHealth()), oldest_unsent=oldest.get(name))
            for name in {*fared, *oldest}
        },
        inbox=inbox,
        blocked=tuple(blocked),
        unreached={request_id: reason for request_id, reason in unreached.items() if reason},
        uncertain={
            one.delivery_id: one.unknown for sent in told.values() for one in sent if one.unknown
        },
        came_back={
            one.delivery_id: one.came_back
            for sent in told.values()
            for one in sent
            if one.came_back
        },
        failed_deliveries=counts.deliveries.get("failed", 0),
        unclaimed=await store.unclaimed(names),
        warnings=(*weaknesses, *unread_runs, *unread_requests, *unread_messages),
    )


async def _blocked(store: Store) -> tuple[Sequence[Run], Sequence[str]]:
    """Return the blocked runs up to the first that cannot be read, and why it cannot."""

    async def oldest(limit: int) -> Sequence[Sealed[Run]]:
        return await store.runs(RunQuery(status="blocked", limit=limit))

    found, why = await _readable(oldest)
    return [one.record for one in found], [f"blocked runs cannot be listed: {one}" for one in why]


async def _pending(store: Store) -> tuple[Sequence[Request], Sequence[str]]:
    """Return the pending requests on either side of what cannot be read, and why it cannot."""

    async def oldest(limit: int) -> Sequence[Request]:
        return await store.requests(RequestQuery(status="pending", limit=limit))

    async def newest(limit: int) -> Sequence[Request]:
        return await store.requests(RequestQuery(status="pending", limit=limit, newest_first=True))

    found, why = await _readable(oldest)
    if why:
        behind, why_behind = await _readable(newest)
        found, why = [*found, *reversed(behind)], dict.fromkeys((*why, *why_behind))
    return found, [f"pending requests cannot be listed: {one}" for one in why]


async def _told(
    store: Store, requests: Sequence[Request]
) -> tuple[Mapping[str, Sequence[Delivery]], Sequence[str]]:
    """Return the messages about each request, without those that cannot be read, and why."""
    told: dict[str, Sequence[Delivery]] = {}
    why: list[str] = []
    for request in requests:
        try:
            told[request.request_id] = await store.deliveries(request.request_id)
        except _UNREADABLE as error:
            why.append(f"the messages about {request.request_id} cannot be listed: {error}")
    return told, why


async def _readable(
    page: Callable[[int], Awaitable[Sequence[RowT]]],
) -> tuple[Sequence[RowT], Collection[str]]:
    """Return the rows of a page before the first that cannot be read, and why it cannot."""
    try:
        return await page(_LOOKED_AT), ()
    except _UNREADABLE as error:
        why = str(error)
    rows: Sequence[RowT] = ()
    fewest, too_many = 0, _LOOKED_AT
    while too_many - fewest > 1:
        limit = (fewest + too_many) // 2
        try:
            rows, fewest = await page(limit), limit
        except _UNREADABLE:
            too_many = limit
    return rows, (why,)
