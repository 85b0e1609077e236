"""
The desk: the only code that changes a request (floor 5).

Each command loads the request, checks its seals, asks `rules.lifecycle`, and commits the new
version with all that follows from it: votes and resolution sealed, tokens consumed or revoked,
the run told, notices queued, the audit entry appended. On a clash it loads again and retries.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from signoff.audit.ledger import Event, Ledger
from signoff.errors import SealInvalidError, StaleWriteError
from signoff.ids import new_id, new_token_id
from signoff.model.audit import AuditEntry
from signoff.model.changes import Changes, Signal, Task
from signoff.model.delivery import Delivery, DeliveryKind
from signoff.model.request import Request
from signoff.model.token import TokenRow
from signoff.model.values import Tree
from signoff.ports import Notifier
from signoff.rules.lifecycle import (
    Cancel,
    Command,
    Notice,
    Respond,
    Transition,
    decide,
)
from signoff.security.request_seals import (
    verify_request,
    with_answer_seals,
    with_core_seal,
)

TRIES = 50
"""How often a command is tried again when others write the same request at once."""

_NEVER_EXPIRES = timedelta(days=3650)


@dataclass(frozen=True, slots=True, kw_only=True)
class Consequences:
    """
    One request's next version with everything that goes into the same commit.

    Attributes:
        request: The sealed record.
        tokens: New and changed tokens.
        deliveries: New deliveries.
        signals: What its run is told.
        audit: The audit entries.
        tasks: What the engine gets to do.
    """

    request: Request
    tokens: tuple[TokenRow, ...] = ()
    deliveries: tuple[Delivery, ...] = ()
    signals: tuple[Signal, ...] = ()
    audit: tuple[AuditEntry, ...] = ()
    tasks: tuple[Task, ...] = ()

    def added_to(self, changes: Changes) -> Changes:
        """Return `changes` with all of this in it."""
        return replace(
            changes,
            requests=(*changes.requests, self.request),
            tokens=(*changes.tokens, *self.tokens),
            deliveries=(*changes.deliveries, *self.deliveries),
            signals=(*changes.signals, *self.signals),
            audit=(*changes.audit, *self.audit),
            tasks=(*changes.tasks, *self.tasks),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Via:
    """
    How a command came in, where that leaves a trace in the store.

    Attributes:
        token_id: The token that it came with.
        handled: The key of the incoming message that it came in.
        notices: Messages that answer it by the way it came, once it is done.
        request: The request as `Desk.load` has just returned it, to save reading it again. If it
            has changed since, the commit fails, and it is read again all the same.
    """

    token_id: str = ""
    handled: str = ""
    notices: tuple[Notice, ...] = ()
    request: Request | None = None


class Desk:
    """Changes requests. Knows the notifiers only by name and by whom they reach."""

    def __init__(self, ledger: Ledger, notifiers: Sequence[Notifier]) -> None:
        self._ledger = ledger
        self._store = ledger.store
        self._keyring = ledger.keyring
        self._notifiers = tuple(notifiers)

    async def load(self, request_id: str) -> Request:
        """
        Return a request whose seals hold.

        Raises:
            NotFoundError: There is none.
            SealInvalidError: It is not what was sealed. Its run is told, so that it blocks.
        """
        try:
            request = await self._store.request(request_id)
            verify_request(self._keyring, request)
        except SealInvalidError as error:
            await self._report_tampering(error)
            raise
        return request

    def open(self, draft: Request, *, actor: str) -> Consequences:
        """
        Return the opening of a request, for the caller's own commit; writes nothing.

        Seals the core, mints a token and queues a delivery for each assignee and each notifier
        that reaches them, and says on the request why nobody is told when nobody is.
        """
        tokens, deliveries = self._messages(draft, draft.assignees or ("",), kind="request")
        if not deliveries:
            draft = draft.model_copy(update={"undelivered": self._why_undelivered(draft)})
        event = Event(
            name="request.opened",
            at=draft.created_at,
            actor=actor,
            facts={
                "request_id": draft.request_id,
                "run_id": draft.run_id,
                "gate": draft.method_name,
                "kind": draft.kind,
                "risk": draft.risk,
                "labels": list(draft.options),
                "payload_digest": draft.payload_digest,
                "policy_digest": draft.policy_digest,
                "expires_at": draft.expires_at.isoformat() if draft.expires_at else None,
                "deliveries": [delivery.delivery_id for delivery in deliveries],
            },
            personal={
                "assignees": ", ".join(draft.assignees),
                "requester": draft.requester or "",
            },
        )
        return self._sealed(with_core_seal(self._keyring, draft), event, tokens, deliveries)

    async def commit(self, changes: Changes) -> None:
        """Commit what `open`, `end` or `after` returned."""
        await self._ledger.commit(changes)

    async def end(self, request: Request, command: Cancel, *, now: datetime) -> Consequences:
        """
        Return the end of a request that its own run's commit brings about; writes nothing.

        The run is not told: it knows.
        """
        whole = await self._consequences(decide(request, command, now), now=now, via=Via())
        tasks = tuple(task for task in whole.tasks if task.kind != "advance")
        return replace(whole, signals=(), tasks=tasks)

    async def after(self, transition: Transition, *, now: datetime) -> Consequences:
        """Return what follows from a transition, for the caller's own commit; writes nothing."""
        return await self._consequences(transition, now=now, via=Via())

    async def do(self, request_id: str, command: Command, *, via: Via | None = None) -> Request:
        """
        Carry out one command: all of it in one commit, or nothing.

        Raises:
            NotFoundError: There is no such request.
            SealInvalidError: It is not what was sealed.
            DecisionError: The command changes nothing; which of its kinds says why.
            StaleWriteError: `via.handled` was handled before, or `TRIES` were not enough.
        """
        return (await self.do_with(request_id, lambda _: command, via=via)).request

    async def do_with(
        self,
        request_id: str,
        command_for: Callable[[Request], Command],
        *,
        via: Via | None = None,
    ) -> Transition:
        """Carry out the command that `command_for` makes of the request as it is then; else as `do`."""
        via = via or Via()
        known = via.request
        tries = 0
        while True:
            tries += 1
            request = known or await self.load(request_id)
            known = None
            now = await self._store.now()
            command = command_for(request)
            transition = decide(request, command, now)
            consequences = await self._consequences(transition, now=now, via=via)
            changes = Changes(
                now=now,
                until=request.expires_at if isinstance(command, Respond) else None,
                handled=(via.handled,) if via.handled else (),
            )
            try:
                await self._ledger.commit(consequences.added_to(changes))
            except StaleWriteError as stale:
                if stale.record_id == via.handled or tries == TRIES:
                    raise
                continue
            return replace(transition, request=consequences.request)

    async def tell(self, request: Request, *, via: Via) -> None:
        """
        Answer an incoming message that changes nothing, and note that it was handled.

        Raises:
            StaleWriteError: It was handled before.
        """
        deliveries = self._notices(
            request, via.notices, now=await self._store.now(), only_where_replies_come_from=True
        )
        await self._ledger.commit(
            Changes(
                handled=(via.handled,),
                deliveries=tuple(deliveries),
                tasks=tuple(Task(kind="deliver", subject=one.delivery_id) for one in deliveries),
            )
        )

    async def _consequences(
        self, transition: Transition, *, now: datetime, via: Via
    ) -> Consequences:
        request = with_answer_seals(self._keyring, transition.request)
        if transition.revokes:
            request = with_core_seal(self._keyring, request)
        tokens: tuple[TokenRow, ...] = ()
        if transition.ended or transition.revokes:
            tokens = await self._voided(request.request_id, used=via.token_id, now=now)
        minted, asked = self._messages(request, transition.asks, kind="request", now=now)
        if transition.asks:
            why = "" if asked else self._why_undelivered(request)
            request = request.model_copy(update={"undelivered": why})
        deliveries = (
            *asked,
            *self._notices(request, transition.notices, now=now),
            *self._notices(request, via.notices, now=now, only_where_replies_come_from=True),
        )
        event = Event(
            name=transition.event,
            at=now,
            actor=transition.actor,
            facts={
                "request_id": request.request_id,
                **transition.facts,
                "version": request.version,
                "deliveries": [delivery.delivery_id for delivery in deliveries],
                "tokens_voided": len(tokens),
            },
            personal=transition.personal,
        )
        whole = self._sealed(request, event, (*tokens, *minted), deliveries)
        if not (transition.ended and request.run_id):
            return whole
        signal = Signal(
            run_id=request.run_id,
            cause=f"resolved:{request.request_id}",
            kind="resolved",
            facts={"request_id": request.request_id},
            created_at=now,
        )
        task = Task(kind="advance", subject=request.run_id)
        return replace(whole, signals=(signal,), tasks=(*whole.tasks, task))

    def _sealed(
        self,
        request: Request,
        event: Event,
        tokens: Sequence[TokenRow],
        deliveries: Sequence[Delivery],
    ) -> Consequences:
        entry, head = self._ledger.entry(f"request:{request.request_id}", request.audit, event)
        return Consequences(
            request=request.model_copy(update={"audit": head}),
            tokens=tuple(tokens),
            deliveries=tuple(deliveries),
            audit=(entry,),
            tasks=tuple(
                Task(kind="deliver", subject=delivery.delivery_id) for delivery in deliveries
            ),
        )

    def _messages(
        self,
        request: Request,
        recipients: Sequence[str],
        *,
        kind: DeliveryKind,
        now: datetime | None = None,
    ) -> tuple[list[TokenRow], list[Delivery]]:
        tokens: list[TokenRow] = []
        deliveries: list[Delivery] = []
        at = now or request.created_at
        for recipient in recipients:
            for notifier in self._reaching(recipient):
                token_id = ""
                if notifier.expects_reply:
                    tokens.append(self._minted(request, recipient, now=at))
                    token_id = tokens[-1].token_id
                deliveries.append(
                    Delivery(
                        delivery_id=new_id("dlv", at),
                        kind=kind,
                        request_id=request.request_id,
                        recipient=recipient,
                        notifier=notifier.name,
                        token_id=token_id,
                        not_before=at,
                        created_at=at,
                    )
                )
        return tokens, deliveries

    def _notices(
        self,
        request: Request,
        notices: Sequence[Notice],
        *,
        now: datetime,
        only_where_replies_come_from: bool = False,
    ) -> list[Delivery]:
        return [
            Delivery(
                delivery_id=new_id("dlv", now),
                kind=notice.kind,
                request_id=request.request_id,
                recipient=notice.recipient,
                notifier=notifier.name,
                note=notice.note,
                not_before=now,
                created_at=now,
            )
            for notice in notices
            for notifier in self._reaching(notice.recipient)
            if notifier.expects_reply or not only_where_replies_come_from
        ]

    def _minted(self, request: Request, recipient: str, *, now: datetime) -> TokenRow:
        return TokenRow(
            token_id=new_token_id(),
            kid=self._keyring.active_kid,
            purpose="email",
            request_id=request.request_id,
            request_version=request.version,
            payload_digest=request.payload_digest,
            policy_digest=request.policy_digest,
            recipient=recipient,
            labels=request.options,
            not_after=request.expires_at or now + _NEVER_EXPIRES,
            created_at=now,
        )

    def _reaching(self, recipient: str) -> list[Notifier]:
        return [notifier for notifier in self._notifiers if notifier.reaches(recipient)]

    def _why_undelivered(self, request: Request) -> str:
        if not self._notifiers:
            return "the client has no notifier; the request can be answered through the API"
        if not request.assignees:
            return "nobody is assigned; set assignees= or the policy's assign_to_email"
        return f"no notifier reaches {', '.join(request.assignees)}"

    async def _voided(self, request_id: str, *, used: str, now: datetime) -> tuple[TokenRow, ...]:
        return tuple(
            row.model_copy(
                update={
                    "version": row.version + 1,
                    "used_at" if row.token_id == used else "revoked_at": now,
                }
            )
            for row in await self._store.tokens(request_id)
            if row.used_at is None and row.revoked_at is None
        )

    async def _report_tampering(self, error: SealInvalidError) -> None:
        run_id = error.run_id
        if not run_id:
            return
        cause = f"tampered:{error.record_id}:{error.field}"
        now = await self._store.now()
        facts: dict[str, Tree] = {"request_id": error.record_id, "field": error.field}
        event = Event(name="request.seal_invalid", at=now, actor="signoff", facts=facts)
        stream = f"commands:{run_id}"
        # Before the look at the stream: whoever is between the two makes this entry stale.
        entry = await self._ledger.next_entry(stream, event)
        # Not at the signals, which the run may have taken note of long ago: the entries stay.
        said = json.dumps(facts, separators=(",", ":"))[1:-1].encode()
        if any(said in one.body for one in await self._store.audit(stream)):
            return
        signal = Signal(run_id=run_id, cause=cause, kind="tampered", facts=facts, created_at=now)
        task = Task(kind="advance", subject=run_id)
        # Whoever is first says it; the others need not.
        with suppress(StaleWriteError):
            await self._ledger.commit(Changes(signals=(signal,), audit=(entry,), tasks=(task,)))
