"""How things stand: what fails, what is blocked, who is not reached and why (floor 7)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from signoff.errors import SealInvalidError
from signoff.model.request import Request
from signoff.model.run import Run
from signoff.outbox import NotifierHealth
from signoff.ports import RequestQuery, RunQuery, Store
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
        failed_deliveries: How many deliveries were given up.
        unclaimed: Runs that wait for code that this process does not have, by stored name.
        warnings: What is weak about the set-up.
    """

    notifiers: Mapping[str, NotifierHealth]
    inbox: InboxHealth | None
    blocked: Sequence[Run]
    unreached: Mapping[str, str]
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
    unreached = {one.request_id: await _why_unreached(store, one) for one in pending}
    return Health(
        notifiers={
            name: replace(fared.get(name, NotifierHealth()), oldest_unsent=oldest.get(name))
            for name in {*fared, *oldest}
        },
        inbox=inbox,
        blocked=tuple(one.record for one in blocked),
        unreached={request_id: reason for request_id, reason in unreached.items() if reason},
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


async def _why_unreached(store: Store, request: Request) -> str:
    """Return why nobody was told of a request; empty when somebody was, or is about to be."""
    asked = [
        one
        for one in await store.deliveries(request.request_id)
        if one.kind == "request" and one.recipient in (request.assignees or ("",))
    ]
    if all(one.status == "failed" for one in asked):
        return request.undelivered or "; ".join(one.last_error for one in asked)
    return ""
