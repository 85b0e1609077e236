"""What the queue returns: a page of requests, and the counts (floor 6)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import overload

from typing_extensions import override

from signoff.model.request import Request


@dataclass(frozen=True, slots=True)
class Page(Sequence[Request]):
    """
    Some requests, in order.

    Attributes:
        items: The requests.
        cursor: Where the next page begins, for `list_requests(cursor=...)`; `None` at the end.
    """

    items: tuple[Request, ...]
    cursor: str | None

    @overload
    def __getitem__(self, index: int) -> Request: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Request]: ...
    @override
    def __getitem__(self, index: int | slice) -> Request | Sequence[Request]:
        return self.items[index]

    @override
    def __len__(self) -> int:
        return len(self.items)

    @override
    def __iter__(self) -> Iterator[Request]:
        return iter(self.items)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """
    How many there are.

    Attributes:
        pending: Requests that wait.
        approved: Requests that ended so; and so on for the other statuses.
        runs: Runs by status.
        deliveries: Deliveries by status.
        unclaimed: Runs that wait for code that this process does not have, by stored name.
    """

    pending: int
    approved: int
    rejected: int
    answered: int
    expired: int
    cancelled: int
    runs: Mapping[str, int]
    deliveries: Mapping[str, int]
    unclaimed: Mapping[str, int]
