"""
Claims that this process holds, kept alive by a thread of its own (floor 3).

The thread renews on its own event loop, so a step that blocks the client's loop, or holds the
GIL for a while, does not lose its run.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta

import anyio

from signoff.errors import StaleWriteError, StoreError, StoreUnavailableError
from signoff.model.changes import Acquire, Changes, Claim, Fence, Release, Renew
from signoff.ports import Store

_log = logging.getLogger("signoff.claims")

DEFAULT_LEASE = timedelta(seconds=30)


@dataclass(slots=True, eq=False)
class Held:
    """
    A claim of this process.

    Attributes:
        subject: What it is on.
        holder: This process.
        fencing: Under which number.
        until: Until when it is certainly ours, on the monotonic clock.
        lost: Whether another holder took it.
        on_renewal: Called from the renewing thread after every renewal.
    """

    subject: str
    holder: str
    fencing: int
    until: float
    lost: bool = False
    on_renewal: Callable[[], None] | None = field(default=None, repr=False)

    def remaining(self, monotonic: float) -> float:
        """Return for how many seconds the claim is certainly ours."""
        return 0.0 if self.lost else self.until - monotonic

    def fence(self, *, remaining: timedelta | None = None) -> Fence:
        """Return the condition that the claim is still ours."""
        return Fence(
            subject=self.subject, holder=self.holder, fencing=self.fencing, remaining=remaining
        )

    def release(self) -> Release:
        """Return the change that gives it back."""
        return Release(subject=self.subject, holder=self.holder, fencing=self.fencing)


class Keeper:
    """Takes claims and keeps them until they are let go of."""

    def __init__(self, store: Store, *, holder: str, lease: timedelta = DEFAULT_LEASE) -> None:
        self._store = store
        self.holder = holder
        self.lease = lease
        self._held: set[Held] = set()
        self._taking: set[str] = set()
        self._lock = threading.Lock()
        self._renewing: _Renewing | None = None

    @contextmanager
    def alone_with(self, subject: str) -> Generator[bool]:
        """
        Say whether nobody else in this process is about to take this claim, and see to that.

        Of two that take it here at once, none could tell whose commit was made.
        """
        with self._lock:
            alone = subject not in self._taking
            self._taking.add(subject)
        try:
            yield alone
        finally:
            if alone:
                with self._lock:
                    self._taking.discard(subject)

    async def take(self, subject: str, *, changes: Changes | None = None) -> Held | None:
        """
        Take a claim, or return `None` when somebody else has it or is just taking it.

        Args:
            subject: What it is on.
            changes: What is written in the same commit, if anything is.

        Raises:
            StoreUnavailableError: The commit was not made, or nobody can tell.
        """
        with self.alone_with(subject) as alone:
            if not alone:
                return None
            standing = await self._store.claim(subject)
            return await self.take_after(standing, subject, changes=changes)

    async def take_after(
        self, standing: Claim | None, subject: str, *, changes: Changes | None = None
    ) -> Held | None:
        """
        Take a claim within `alone_with` it, or return `None` when it is not as it was read.

        So nobody has held a claim that is returned since `standing` was read. A commit of which
        the store cannot say whether it was made is looked for afterwards, so that no claim is
        live for a whole lease with nobody holding it.

        Args:
            standing: The claim as it was read, if there was one; `None` is returned for a live one.
            subject: What it is on.
            changes: What is written in the same commit, if anything is.

        Raises:
            StoreUnavailableError: The commit was not made, or nobody can tell.
        """
        if standing is not None and standing.live:
            return None
        acquire = self.acquisition(subject, after=standing.fencing if standing else 0)
        began = time.monotonic()
        try:
            await self._store.commit(replace(changes or Changes(), claims=(acquire,)))
        except StaleWriteError:
            return None
        except StoreUnavailableError:
            made = await self._store.claim(subject)
            mine = (acquire.holder, acquire.fencing)
            if made is None or (made.holder, made.fencing) != mine:
                raise
        return self.keep(acquire, began=began)

    def acquisition(self, subject: str, *, after: int = 0) -> Acquire:
        """Return the change that takes a claim, for a commit of the caller's own."""
        return Acquire(subject=subject, holder=self.holder, fencing=after + 1, lease=self.lease)

    def about_to_have(self, acquire: Acquire) -> Held:
        """Return a claim that a commit is yet to take; not kept, and certain for no time."""
        return Held(
            subject=acquire.subject, holder=self.holder, fencing=acquire.fencing, until=-math.inf
        )

    def keep(self, acquired: Acquire, *, began: float) -> Held:
        """
        Keep alive a claim that a commit has taken.

        Args:
            acquired: What was committed.
            began: The monotonic clock before that commit.
        """
        held = replace(self.about_to_have(acquired), until=began + self.lease.total_seconds())
        with self._lock:
            self._held.add(held)
            if self._renewing is None:
                self._renewing = _Renewing(self._renew_all, seconds=self.lease.total_seconds() / 3)
        return held

    def let_go(self, held: Held) -> bool:
        """
        Stop keeping a claim, and say whether it was kept until now.

        Giving it back in the store is the caller's own commit.
        """
        with self._lock:
            kept = held in self._held
            self._held.discard(held)
            return kept

    def close(self) -> None:
        """End the thread; claims that are still held lapse by themselves. Idempotent."""
        with self._lock:
            renewing, self._renewing = self._renewing, None
        if renewing is not None:
            renewing.end()

    def _renew_all(self) -> None:
        with self._lock:
            held = list(self._held)
        for one in held:
            # What was let go meanwhile may have been given up for another to take at once.
            if one in self._held:
                self._renew(one)

    def _renew(self, held: Held) -> None:
        began = time.monotonic()
        renewal = Renew(
            subject=held.subject, holder=held.holder, fencing=held.fencing, lease=self.lease
        )
        try:
            anyio.run(self._store.commit, Changes(claims=(renewal,)))
        except StaleWriteError:
            held.lost = True
        except StoreError as error:
            _log.warning("could not renew the claim on %s: %s", held.subject, error)
        except Exception:  # noqa: BLE001 - the thread keeps the other claims, too
            _log.exception("could not renew the claim on %s", held.subject)
        else:
            held.until = began + self.lease.total_seconds()
        if held.on_renewal is not None:
            held.on_renewal()


class _Renewing:
    """A thread that does something every so often until it is told to end."""

    def __init__(self, work: Callable[[], None], *, seconds: float) -> None:
        self._work = work
        self._seconds = seconds
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="signoff-claims", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """End the thread, and wait for what it is just doing."""
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(self._seconds):
            self._work()
