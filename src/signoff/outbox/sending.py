"""
Sending: one attempt at a delivery, under a claim of its own, and what became of it (floor 5).

At least once: a sender that dies between sending and recording leaves an attempt of unknown
end, which is counted, shown and tried again with the same message id.
"""

from __future__ import annotations

import logging
import random
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from signoff.claims import Held, Keeper
from signoff.codec import Codec
from signoff.desk import Desk
from signoff.errors import (
    CodecError,
    KeyringError,
    NotifyError,
    SealInvalidError,
    StaleWriteError,
    StoreError,
)
from signoff.model.changes import Changes, Task
from signoff.model.decision import Proof
from signoff.model.delivery import Delivery
from signoff.model.request import Request
from signoff.model.token import TokenRow
from signoff.outbox.tokens import bounce_token, token_text
from signoff.outbox.undelivered import commit_mishap
from signoff.ports import Notifier, Outgoing, RequestQuery, Store
from signoff.rules.authority import highest_risk, reaches
from signoff.security.keyring import Keyring

_log = logging.getLogger("signoff.outbox")

FIRST_PAUSE: Final = timedelta(seconds=10)
LONGEST_PAUSE: Final = timedelta(hours=1)
_MAX_EARLIER: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class NotifierHealth:
    """
    How a notifier has fared in this process, and what waits for it in the store.

    Attributes:
        last_success: When it last sent something.
        last_error: What it last ran into, and when.
        oldest_unsent: When its oldest unsent delivery was queued.
    """

    last_success: datetime | None = None
    last_error: str = ""
    last_error_at: datetime | None = None
    oldest_unsent: datetime | None = None


def pause_before(attempt: int, chance: float) -> timedelta:
    """
    Return how long to wait before another attempt: doubling, with full jitter, an hour at most.

    Args:
        attempt: How many attempts were made, from 1.
        chance: A random number from 0 to 1.
    """
    doubled: timedelta = FIRST_PAUSE * (1 << min(attempt, 20))
    longest = min(doubled, LONGEST_PAUSE)
    return FIRST_PAUSE / 2 + (longest - FIRST_PAUSE / 2) * chance


async def earlier_refusals(desk: Desk, store: Store, request: Request) -> tuple[Request, ...]:
    """
    Return what the same gate of the run asked before and was not approved, oldest first.

    Only what had ended when the request was opened, so that the answer stays the same; and only
    of the 200 requests of the run before it.

    Args:
        desk: Which reads requests, their seals verified.
        store: Where they are.
        request: The request that is asked now.

    Raises:
        SealInvalidError: One of them is not what was sealed.
    """
    if not request.run_id:
        return ()
    query = RequestQuery(
        run_id=request.run_id,
        after=(request.created_at, request.request_id),
        limit=_MAX_EARLIER,
        newest_first=True,
    )
    before = [one for one in await store.requests(query) if _was_refused_before(one, request)]
    return tuple([await desk.load(one.request_id) for one in reversed(before)])


class Outbox:
    """Sends deliveries. Several senders may share a store; each delivery has one at a time."""

    def __init__(
        self,
        desk: Desk,
        keeper: Keeper,
        notifiers: Mapping[str, Notifier],
        *,
        store: Store,
        keyring: Keyring,
        codec: Codec,
        reply_proof: Proof,
        elsewhere: str,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """
        Take what deliveries are sent with.

        Args:
            desk: Which reads requests.
            keeper: Which keeps claims.
            notifiers: By name.
            store: Where the deliveries are.
            keyring: Which makes tokens.
            codec: Which reads payloads.
            reply_proof: How well the client's inbox knows who replies; "none" without an inbox.
            elsewhere: Where to answer what a reply may not decide.
            chance: Gives random numbers from 0 to 1, for pauses.
        """
        self._desk = desk
        self._keeper = keeper
        self._notifiers = notifiers
        self._store = store
        self._keyring = keyring
        self._codec = codec
        self._reply_proof: Proof = reply_proof
        self._elsewhere = elsewhere
        self._chance = chance
        self.health: dict[str, NotifierHealth] = {name: NotifierHealth() for name in notifiers}
        self.failures = Counter[str]()

    async def send(self, delivery_id: str) -> bool:
        """
        Make one attempt at a delivery, if it is due and nobody else has it; say whether one was made.

        Raises:
            NotFoundError: There is no such delivery.
            StoreError: The store failed; the delivery is tried again later.
        """
        begun = await self._begin(delivery_id)
        if begun is None:
            return False
        held, delivery = begun
        try:
            ended = await self._attempt(delivery)
            await self._record(held, delivery, ended)
        finally:
            self._keeper.let_go(held)
        return True

    async def _begin(self, delivery_id: str) -> tuple[Held, Delivery] | None:
        """
        Claim a delivery and mark it as being sent, in one commit, before anything goes out.

        Return the claim and the delivery as it was marked, or `None` if there is nothing to send.
        """
        delivery = await self._store.delivery(delivery_id)
        now = await self._store.now()
        waits = delivery.status == "waiting" and delivery.not_before <= now
        died = delivery.status == "sending"
        if not (waits or died):
            return None
        sending = delivery.model_copy(
            update={
                "version": delivery.version + 1,
                "status": "sending",
                "attempts": delivery.attempts + 1,
                "unknown": delivery.unknown + died,
            }
        )
        held = await self._keeper.take(delivery_id, changes=Changes(deliveries=(sending,)))
        if held is None:
            return None
        if died:
            _log.warning("nobody knows how the last attempt at %s ended", delivery_id)
        return held, sending

    async def _record(self, held: Held, delivery: Delivery, ended: Delivery) -> None:
        ended = ended.model_copy(update={"version": delivery.version + 1})
        again = (
            (Task(kind="deliver", subject=ended.delivery_id, not_before=ended.not_before),)
            if ended.status == "waiting"
            else ()
        )
        changes = Changes(
            deliveries=(ended,), fences=(held.fence(),), claims=(held.release(),), tasks=again
        )
        try:
            if ended.status == "failed" and ended.kind == "request":
                await commit_mishap(self._desk, self._store, changes, ended, mishap="failed")
            else:
                await self._store.commit(changes)
        except StaleWriteError:
            _log.warning("%s is in other hands now", delivery.delivery_id)

    async def _attempt(self, delivery: Delivery) -> Delivery:
        """Return what becomes of a delivery; its version is left to the caller."""
        now = await self._store.now()
        try:
            return await self._sent(delivery, now)
        except NotifyError as error:
            return self._failed(delivery, error, now)

    async def _sent(self, delivery: Delivery, now: datetime) -> Delivery:
        """
        Send a delivery, unless nobody needs it any more.

        Raises:
            NotifyError: It was not sent, for whatever reason but the store's.
        """
        notifier = self._notifiers.get(delivery.notifier)
        if notifier is None:
            raise NotifyError(
                f"this client has no notifier named {delivery.notifier!r}", permanent=False
            )
        try:
            request = self._typed(await self._desk.load(delivery.request_id))
            row = await self._store.token(delivery.token_id) if delivery.token_id else None
            why = _why_needless(delivery, row, request)
            if why:
                return delivery.model_copy(update={"status": "dropped", "last_error": why})
            message_id = await notifier.send(await self._outgoing(delivery, row, request))
        except (NotifyError, StoreError):
            raise
        except SealInvalidError as error:
            raise NotifyError(str(error), permanent=True) from error
        except KeyringError as error:
            raise NotifyError(str(error), permanent=False) from error
        except Exception as error:
            _log.exception("the notifier %s is broken", notifier.name)
            raise NotifyError(f"it raised {type(error).__name__}", permanent=False) from error
        self.health[notifier.name] = replace(self._fared(notifier.name), last_success=now)
        return delivery.model_copy(
            update={"status": "sent", "sent_at": now, "message_id": message_id, "last_error": ""}
        )

    def _failed(self, delivery: Delivery, error: NotifyError, now: datetime) -> Delivery:
        _log.warning("delivery %s failed: %s", delivery.delivery_id, error)
        self.failures[delivery.notifier] += 1
        self.health[delivery.notifier] = replace(
            self._fared(delivery.notifier), last_error=str(error), last_error_at=now
        )
        if error.permanent:
            return delivery.model_copy(update={"status": "failed", "last_error": str(error)})
        pause = pause_before(delivery.attempts, self._chance())
        return delivery.model_copy(
            update={"status": "waiting", "not_before": now + pause, "last_error": str(error)}
        )

    async def _outgoing(
        self, delivery: Delivery, row: TokenRow | None, request: Request
    ) -> Outgoing:
        ceiling = highest_risk("email", self._reply_proof)
        if row is not None:
            _check_addressee(delivery, row, request)
        asks = delivery.kind == "request"
        return Outgoing(
            delivery=delivery,
            request=request,
            token=token_text(self._keyring, row) if row else "",
            bounce_token=bounce_token(self._keyring, delivery) if row else "",
            first_message_id=await self._first_message_id(delivery),
            answerable=reaches(request.risk, ceiling),
            elsewhere=self._elsewhere,
            earlier=await earlier_refusals(self._desk, self._store, request) if asks else (),
        )

    async def _first_message_id(self, delivery: Delivery) -> str:
        for other in await self._store.deliveries(delivery.request_id):
            same = (other.recipient, other.notifier) == (delivery.recipient, delivery.notifier)
            if same and other.message_id and other.delivery_id != delivery.delivery_id:
                return other.message_id
        return ""

    def _typed(self, request: Request) -> Request:
        try:
            return request.with_payload(self._codec.load(request.payload_json))
        except CodecError:
            # A sender without the code of the types shows the payload as plain JSON.
            return request

    def _fared(self, name: str) -> NotifierHealth:
        return self.health.get(name, NotifierHealth())


def _why_needless(delivery: Delivery, row: TokenRow | None, request: Request) -> str:
    """Return why nobody needs a delivery any more; empty if somebody does."""
    if delivery.kind == "request" and request.status != "pending":
        return f"the request was {request.status}"
    if row is not None and row.revoked_at is not None:
        return "somebody else was asked instead"
    return ""


def _was_refused_before(other: Request, request: Request) -> bool:
    """Return whether another request is of the same gate, and had ended without a yes by then."""
    gates = {(one.kind, one.flow_name, one.method_name) for one in (other, request)}
    end = other.resolution
    if end is None or len(gates) > 1:
        return False
    return end.status in {"rejected", "answered"} and end.resolved_at <= request.created_at


def _check_addressee(delivery: Delivery, row: TokenRow, request: Request) -> None:
    """
    See that a token goes only to whom the request's seal names, about what the seal holds.

    A delivery is under no seal, so whoever can write to the store could have a genuine token
    sent to themselves.

    Raises:
        SealInvalidError: The delivery or the token's row is not what was stored.
    """
    if delivery.recipient not in request.assignees:
        raise SealInvalidError(delivery.delivery_id, "recipient", run_id=request.run_id)
    if (row.request_id, row.recipient) != (request.request_id, delivery.recipient):
        raise SealInvalidError(delivery.delivery_id, "token", run_id=request.run_id)
