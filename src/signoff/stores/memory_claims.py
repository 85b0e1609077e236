"""The claims of a `MemoryStore`, and what a commit makes of them (floor 4)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from signoff.errors import StaleWriteError
from signoff.model.changes import Acquire, Claim, Fence, Release, Renew
from signoff.stores.leases import NEVER_HELD, NOBODY, Lease, check_fence, lease_after


class Claims:
    """The claims ever taken, and which of them somebody holds."""

    def __init__(self, lease_clock: Callable[[], float]) -> None:
        self._lease_clock = lease_clock
        self._leases: dict[str, Lease] = {}
        self._held: set[str] = set()

    def get(self, subject: str) -> Claim | None:
        """Return the claim on a subject, if there ever was one."""
        lease = self._leases.get(subject)
        return lease.as_claim(subject, now=self._lease_clock()) if lease else None

    def is_live(self, subject: str) -> bool:
        """Return whether a live claim holds a subject."""
        return self._leases.get(subject, NEVER_HELD).is_live(self._lease_clock())

    def live(self, prefix: str) -> list[Claim]:
        """Return the live claims on subjects that begin with `prefix`, by subject."""
        now = self._lease_clock()
        subjects = sorted(subject for subject in self._held if subject.startswith(prefix))
        claims = (self._leases[subject].as_claim(subject, now=now) for subject in subjects)
        return [claim for claim in claims if claim.live]

    def check(self, fences: Sequence[Fence]) -> None:
        """Check the conditions of a commit. Raises `StaleWriteError`."""
        now = self._lease_clock()
        for fence in fences:
            check_fence(self._leases.get(fence.subject, NEVER_HELD), fence, now=now)

    def after(
        self,
        changes: Sequence[Acquire | Renew | Release],
        *,
        has_signals: Callable[[str], bool],
    ) -> Mapping[str, Lease]:
        """
        Return what a commit would make of the claims that it changes.

        Args:
            changes: In the order they are made.
            has_signals: Whether, after the commit, a run has a signal that is not consumed.

        Raises:
            StaleWriteError: One of them cannot be made.
        """
        now = self._lease_clock()
        leases: dict[str, Lease] = {}
        for change in changes:
            subject = change.subject
            if isinstance(change, Release) and has_signals(subject):
                raise StaleWriteError(subject, "it has a signal that is not consumed")
            standing = leases.get(subject, self._leases.get(subject, NEVER_HELD))
            leases[subject] = lease_after(standing, change, now=now)
        return leases

    def put(self, leases: Mapping[str, Lease]) -> None:
        """Make it so."""
        self._leases.update(leases)
        for subject, lease in leases.items():
            (self._held.discard if lease.holder == NOBODY else self._held.add)(subject)
