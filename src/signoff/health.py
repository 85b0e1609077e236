"""How things stand: what fails, what is blocked, who is not reached and why (floor 7)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from signoff.errors import SealInvalidError
from signoff.model.request import Request
from signoff.model.run import Run
from signoff.outbox import NotifierHealth
from signoff.ports import RequestQuery, RunQuery, Store
from signoff.rules.undelivered import why_unreached
from signoff.worker import InboxHealth

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
        warnings: What is weak about the set-up.
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
    blocked = await store.runs(RunQuery(status="blocked", limit=_LOOKED_AT))
    pending, tampered = await _pending(store)
    told = {one.request_id: await store.deliveries(one.request_id) for one in pending}
    unreached = {one.request_id: why_unreached(one, told[one.request_id]) for one in pending}
    return Health(
        notifiers={
            name: replace(fared.get(name, NotifierHealth()), oldest_unsent=oldest.get(name))
            for name in {*fared, *oldest}
        },
        inbox=inbox,
        blocked=tuple(one.record for one in blocked),
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
        warnings=(*weaknesses, *tampered),
    )


async def _pending(store: Store) -> tuple[Sequence[Request], Sequence[str]]:
    """Return the pending requests, or why they cannot be listed."""
    try:
        return await store.requests(RequestQuery(status="pending", limit=_LOOKED_AT)), ()
    except SealInvalidError as error:
        return (), (f"pending requests cannot be listed: {error}",)
