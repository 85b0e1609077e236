"""A store that fails at one chosen commit, for tests of what survives that (floor 9)."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from types import TracebackType
from typing import Literal, Self

from typing_extensions import override

from signoff.errors import StaleWriteError, StoreUnavailableError
from signoff.model.audit import AuditEntry
from signoff.model.changes import Changes, Checkpoint, Claim, Renew, Sealed, Signal
from signoff.model.delivery import Delivery
from signoff.model.request import Request
from signoff.model.run import Occurrence, Run
from signoff.model.token import TokenRow
from signoff.ports import Clock, Counts, RequestQuery, RunQuery, Store, TaskSink


class FaultyStore(Store):
    """
    Works like the store it is given, until the commit that it is told to fail at.

    What a crash at any moment leaves behind is what a crash before or after some commit leaves
    behind. So run a scenario once for each number and for both sides of it, open the data anew
    after each failure, and see whether the scenario can be finished:

    ```python
    for side in ("before", "after"):
        for number in range(1, commits + 1):
            async with Client(store=FaultyStore(SQLiteStore(path), at=number, side=side)) as client:
                ...  # ends in StoreUnavailableError
            async with Client(store=SQLiteStore(path)) as client:
                ...  # goes on, and ends well
    ```

    Attributes:
        commits: How many commits were begun.
        failed: Whether the failure has come.
    """

    def __init__(
        self,
        store: Store,
        *,
        at: int | None = None,
        side: Literal["before", "after"] = "before",
        lasting: bool = True,
    ) -> None:
        """
        Take what fails, and where.

        Args:
            store: Does the work; nobody else has opened it.
            at: The commit to fail at, counted from 1; never without it.
            side: Whether that commit is lost, or made and not acknowledged.
            lasting: Whether nothing can be read or written from then on, as after a crash of
                the process; else only that one commit fails, as by a disk that is full for a
                moment.
        """
        self.durable = store.durable
        self.shared = store.shared
        self.location = store.location
        self.commits = 0
        self.failed = False
        self._store = store
        self._at = at
        self._side = side
        self._lasting = lasting
        self._counting = threading.Lock()

    def fail(self) -> None:
        """Fail from now on, as in a process that dies at this very instant."""
        with self._counting:
            self.failed = self._lasting = True

    async def let_claims_lapse(self) -> None:
        """
        Do what time does to the claims of processes that are dead: end every lease.

        Whatever process still lives loses its claims too, as if it had been stopped for long.
        Works after a failure as well, and counts as no commit.
        """
        for claim in await self._store.live_claims(""):
            lapse = Renew(
                subject=claim.subject,
                holder=claim.holder,
                fencing=claim.fencing,
                lease=timedelta(0),
            )
            await self._store.commit(Changes(claims=(lapse,)))

    @override
    async def __aenter__(self) -> Self:
        await self._store.__aenter__()
        return self

    @override
    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._store.__aexit__(exc_type, exc_value, traceback)

    @override
    async def commit(self, changes: Changes) -> None:
        """
        Commit, or fail.

        Raises:
            StaleWriteError: As the store does.
            StoreUnavailableError: As the store does, and where it was told to fail.
        """
        with self._counting:
            store = self._working()
            self.commits += 1
            fails = self.commits == self._at
            self.failed = self.failed or fails
        if fails and self._side == "after":
            with suppress(StaleWriteError):
                await store.commit(changes)
        if fails:
            raise StoreUnavailableError(
                f"commit {self._at} fails {self._side} it was made, as it was told to"
            )
        await store.commit(changes)

    @override
    def use_clock(self, clock: Clock) -> None:
        self._store.use_clock(clock)

    @override
    def hand_tasks_to(self, sink: TaskSink) -> None:
        self._store.hand_tasks_to(sink)

    @override
    async def now(self) -> datetime:
        return await self._working().now()

    @override
    async def run(self, run_id: str) -> Sealed[Run]:
        return await self._working().run(run_id)

    @override
    async def run_by_key(self, flow_name: str, key: str) -> Sealed[Run] | None:
        return await self._working().run_by_key(flow_name, key)

    @override
    async def runs(self, query: RunQuery) -> Sequence[Sealed[Run]]:
        return await self._working().runs(query)

    @override
    async def journal(self, run_id: str) -> Sequence[Sealed[Occurrence]]:
        return await self._working().journal(run_id)

    @override
    async def signals(self, run_id: str) -> Sequence[Signal]:
        return await self._working().signals(run_id)

    @override
    async def checkpoint(self, run_id: str) -> Checkpoint:
        return await self._working().checkpoint(run_id)

    @override
    async def late_results(self, run_id: str) -> Sequence[Signal]:
        return await self._working().late_results(run_id)

    @override
    async def ready(self, names: Sequence[str], *, limit: int) -> Sequence[str]:
        return await self._working().ready(names, limit=limit)

    @override
    async def unclaimed(self, names: Sequence[str]) -> Mapping[str, int]:
        return await self._working().unclaimed(names)

    @override
    async def request(self, request_id: str) -> Request:
        return await self._working().request(request_id)

    @override
    async def requests(self, query: RequestQuery) -> Sequence[Request]:
        return await self._working().requests(query)

    @override
    async def expired(self, now: datetime, *, limit: int) -> Sequence[str]:
        return await self._working().expired(now, limit=limit)

    @override
    async def token(self, token_id: str) -> TokenRow | None:
        return await self._working().token(token_id)

    @override
    async def tokens(self, request_id: str) -> Sequence[TokenRow]:
        return await self._working().tokens(request_id)

    @override
    async def delivery(self, delivery_id: str) -> Delivery:
        return await self._working().delivery(delivery_id)

    @override
    async def deliveries(self, request_id: str) -> Sequence[Delivery]:
        return await self._working().deliveries(request_id)

    @override
    async def due_deliveries(self, now: datetime, *, limit: int) -> Sequence[str]:
        return await self._working().due_deliveries(now, limit=limit)

    @override
    async def oldest_unsent(self) -> Mapping[str, datetime]:
        return await self._working().oldest_unsent()

    @override
    async def claim(self, subject: str) -> Claim | None:
        return await self._working().claim(subject)

    @override
    async def live_claims(self, prefix: str) -> Sequence[Claim]:
        return await self._working().live_claims(prefix)

    @override
    async def audit(self, stream: str) -> Sequence[AuditEntry]:
        return await self._working().audit(stream)

    @override
    async def was_handled(self, key: str) -> bool:
        return await self._working().was_handled(key)

    @override
    async def mark(self, name: str) -> str | None:
        return await self._working().mark(name)

    @override
    async def key_checks(self) -> Mapping[int, str]:
        return await self._working().key_checks()

    @override
    async def kids_in_use(self, now: datetime) -> frozenset[int]:
        return await self._working().kids_in_use(now)

    @override
    async def counts(self) -> Counts:
        return await self._working().counts()

    def _working(self) -> Store:
        """Return the store that works. Raises `StoreUnavailableError` after a lasting failure."""
        if self.failed and self._lasting:
            raise StoreUnavailableError(f"nothing goes any more since commit {self.commits}")
        return self._store
