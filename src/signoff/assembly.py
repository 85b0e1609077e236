"""Everything that works on an open store, put together (floor 7)."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from signoff.audit.ledger import Ledger, OnEvent
from signoff.bell import Bell
from signoff.claims import Keeper
from signoff.codec import codec
from signoff.desk import Desk
from signoff.flows.api import Flows
from signoff.flows.executor import Executor
from signoff.flows.session import Workshop
from signoff.foreground import Asker, Foreground
from signoff.health import Health, gather_health
from signoff.hitl import Counter, Hitl, Who
from signoff.model.decision import Proof
from signoff.model.policy import Policy
from signoff.outbox import Bounces, Outbox
from signoff.polling import Poller
from signoff.ports import Engine, Inbox, Notifier, Store
from signoff.replies import Replies
from signoff.security.keyring import Keyring
from signoff.worker import Shift, Worker

_ELSEWHERE: Final = "the application that asks (client.hitl)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """
    What a client was told.

    Attributes:
        store: Where everything is.
        keyring: The keys.
        notifiers: How reviewers are told, by name.
        inbox: Where replies come in.
        policy: What holds where gate and flow say nothing.
        requester: Gives who starts runs, from what the caller said.
        reviewer: Who answers.
        engine: What runs tasks.
        on_event: What hears of audit entries.
        lease: How long a claim lasts.
        asker: Asks the person at the terminal.
        bell: Rings after each commit of this process.
    """

    store: Store
    keyring: Keyring
    notifiers: Mapping[str, Notifier]
    inbox: Inbox | None
    policy: Policy
    requester: Callable[[str | None], str | None]
    reviewer: Who
    engine: Engine
    on_event: OnEvent | None
    lease: timedelta
    asker: Asker | None
    bell: Bell


class Machinery:
    """
    What an open client works with.

    Attributes:
        keeper: Keeps the claims of this client.
        executor: Drives runs.
        outbox: Sends deliveries.
        poller: Reads the inbox, when there is one.
        worker: Does what is to be done.
        flows: The runs, for applications.
        hitl: The requests, for applications.
        foreground: What callers wait for.
    """

    def __init__(self, setup: Setup) -> None:
        """Put everything together; nothing is read or written yet."""
        self._setup = setup
        store, keyring, bell = setup.store, setup.keyring, setup.bell
        store.hand_tasks_to(setup.engine)
        ledger = Ledger(store, keyring, on_event=setup.on_event, bell=bell)
        desk = Desk(ledger, tuple(setup.notifiers.values()))
        self.keeper = Keeper(store, holder=secrets.token_hex(8), lease=setup.lease)
        shop = Workshop(
            store=store,
            ledger=ledger,
            desk=desk,
            codec=codec,
            keeper=self.keeper,
            policy=setup.policy,
        )
        self.executor = Executor(shop)
        self.outbox = Outbox(
            desk,
            self.keeper,
            setup.notifiers,
            store=store,
            keyring=keyring,
            codec=codec,
            reply_proof=_reply_proof(setup.inbox),
            elsewhere=_ELSEWHERE,
        )
        self.poller = None
        if setup.inbox is not None:
            replies = Replies(
                desk,
                store=store,
                keyring=keyring,
                notifiers=setup.notifiers,
                bounces=Bounces(desk, self.keeper, store=store, keyring=keyring),
                codec=codec,
            )
            self.poller = Poller(setup.inbox, replies, store=store)
        self.worker = Worker(
            store=store,
            executor=self.executor,
            desk=desk,
            outbox=self.outbox,
            keeper=self.keeper,
            poller=self.poller,
        )
        self.flows = Flows(self.executor, bell, requester=setup.requester)
        self.hitl = Hitl(
            Counter(
                store=store,
                desk=desk,
                codec=codec,
                keyring=keyring,
                bell=bell,
                policy=setup.policy,
                requester=setup.requester,
                reviewer=setup.reviewer,
                names=self.executor.names,
            )
        )
        self.foreground = Foreground(
            self.executor,
            self.outbox,
            flows=self.flows,
            hitl=self.hitl,
            bell=bell,
            requester=lambda: setup.requester(None),
            asker=setup.asker,
        )

    async def serve(self, shift: Shift) -> None:
        """Do what comes up until cancelled, while the shift takes more."""
        await self.worker.serve(self._setup.engine, shift)

    async def health(self) -> Health:
        """Return how things stand."""
        return await gather_health(
            self._setup.store,
            names=self.executor.names(),
            fared=self.outbox.health,
            inbox=self.poller.health() if self.poller is not None else None,
            weaknesses=self.weaknesses(),
        )

    async def keys_in_use(self) -> frozenset[int]:
        """Return the ids of the keys that something alive still needs."""
        store = self._setup.store
        return await store.kids_in_use(await store.now())

    def weaknesses(self) -> Sequence[str]:
        """Return what is weak about the set-up, one sentence each."""
        found: list[str] = []
        inbox = self._setup.inbox
        mails = any(notifier.expects_reply for notifier in self._setup.notifiers.values())
        if mails and inbox is None:
            found.append("mails go out and no inbox reads the replies; set inbox=")
        if inbox is not None and inbox.trusted_server is None:
            found.append(
                "no mail server is trusted to authenticate senders, so replies decide up to"
                " medium risk only, on token and sender; set the inbox's trusted_server="
            )
        return found


def _reply_proof(inbox: Inbox | None) -> Proof:
    if inbox is None:
        return "none"
    return "sender" if inbox.trusted_server is None else "authenticated"
