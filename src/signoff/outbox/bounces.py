"""
Bounces: what comes back to the sender's address of one delivery (floor 5).

A delivery's row belongs to whoever holds its claim. So what came back is recorded by taking the
claim, writing the row and giving the claim back, all in the commit that also holds the audit
entry and what follows: while a sender has the delivery, nothing is written, and the report is
read again later.
"""

from __future__ import annotations

from datetime import datetime

from signoff.claims import Keeper
from signoff.desk import Desk
from signoff.errors import NotFoundError, TokenError
from signoff.ids import id_of
from signoff.mail.address import tokens_in
from signoff.mail.bounces import Bounce
from signoff.mail.incoming import IncomingMail
from signoff.model.changes import Changes, Release
from signoff.model.delivery import Delivery
from signoff.outbox.tokens import bounce_binding_of
from signoff.outbox.undelivered import commit_mishap
from signoff.ports import Store
from signoff.security.keyring import Keyring
from signoff.security.tokens import parse, verify


class Bounces:
    """Records what came back."""

    def __init__(self, desk: Desk, keeper: Keeper, *, store: Store, keyring: Keyring) -> None:
        self._desk = desk
        self._keeper = keeper
        self._store = store
        self._keyring = keyring

    async def delivery_of(self, mail: IncomingMail) -> Delivery | None:
        """Return the delivery whose own sender's address a mail was sent to, if that is proved."""
        for text in tokens_in(mail.headers):
            try:
                parsed = parse(text)
                delivery = await self._store.delivery(id_of("dlv", parsed.token_id))
                verify(self._keyring, parsed, bounce_binding_of(delivery), purpose="bounce")
            except (TokenError, NotFoundError):
                continue
            return delivery
        return None

    async def record(self, delivery: Delivery, bounce: Bounce, *, key: str) -> None:
        """
        Record what came back of a delivery; once failed it stays so, and a delay is told once.

        Args:
            delivery: Which.
            bounce: What a server said of it.
            key: The key of the message that said so.

        Raises:
            StaleWriteError: The message was handled before; or the delivery is being sent just
                now, so that the message is to be read again later.
        """
        if not _is_news(delivery, bounce):
            await self._desk.commit(Changes(handled=(key,)))
            return
        found = await self._store.claim(delivery.delivery_id)
        acquire = self._keeper.acquisition(
            delivery.delivery_id, after=found.fencing if found else 0
        )
        release = Release(subject=acquire.subject, holder=acquire.holder, fencing=acquire.fencing)
        marked = _marked(delivery, bounce, now=await self._store.now())
        await commit_mishap(
            self._desk,
            self._store,
            Changes(deliveries=(marked,), claims=(acquire, release), handled=(key,)),
            marked,
            mishap=bounce.outcome,
            status=bounce.status,
        )


def _is_news(delivery: Delivery, bounce: Bounce) -> bool:
    if bounce.outcome == "delayed":
        return delivery.status == "sent" and not delivery.came_back
    # Whoever reports of it had taken it, even if its sender never heard so and tries again.
    return delivery.status in {"waiting", "sending", "sent"}


def _marked(delivery: Delivery, bounce: Bounce, *, now: datetime) -> Delivery:
    failed = bounce.outcome == "failed"
    how = "the mail came back" if failed else "the mail is delayed"
    return delivery.model_copy(
        update={
            "version": delivery.version + 1,
            "status": "failed" if failed else delivery.status,
            "last_error": f"{how}: {bounce.summary}",
            "sent_at": delivery.sent_at or now,
        }
    )
