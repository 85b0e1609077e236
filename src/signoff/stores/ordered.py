"""Ids kept in order, so that what is due is found without looking at the rest (floor 4)."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator, Sequence
from itertools import islice

Place = tuple[int, str]
"""Where an id stands: by a number, equal ones by id."""


class Ordered:
    """
    Ids in the order of a number that each of them has.

    Moving one costs a binary search and a move of memory: some 10 microseconds among 100,000.
    """

    def __init__(self) -> None:
        self._places: list[Place] = []
        self._numbers: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._places)

    def put(self, record_id: str, number: int | None) -> None:
        """Give an id its number; `None` takes it out."""
        before = self._numbers.pop(record_id, None)
        if before is not None:
            del self._places[bisect_left(self._places, (before, record_id))]
        if number is not None:
            self._numbers[record_id] = number
            insort(self._places, (number, record_id))

    def places(self) -> Sequence[Place]:
        """Return all, smallest number first."""
        return self._places

    def ids(self, *, after: Place | None = None, backwards: bool = False) -> Iterator[str]:
        """Yield the ids beyond a place, in order or in reverse order; the place itself not."""
        if backwards:
            end = len(self._places) if after is None else bisect_left(self._places, after)
            steps = range(end - 1, -1, -1)
        else:
            start = 0 if after is None else bisect_right(self._places, after)
            steps = range(start, len(self._places))
        return (self._places[step][1] for step in steps)

    def up_to(self, number: int) -> Iterator[Place]:
        """Yield those with this number or a smaller one."""
        return islice(self._places, bisect_left(self._places, (number + 1, "")))


class Grouped:
    """Ordered ids in named groups; an id is in one group at the most."""

    def __init__(self) -> None:
        self._groups: dict[str, Ordered] = {}
        self._of: dict[str, str] = {}

    def put(self, record_id: str, group: str | None, number: int) -> None:
        """Move an id to a group; `None` takes it out."""
        before = self._of.pop(record_id, None)
        if before is not None and before != group:
            self._groups[before].put(record_id, None)
        if group is not None:
            self._of[record_id] = group
            self._groups.setdefault(group, Ordered()).put(record_id, number)

    def group(self, name: str) -> Ordered:
        """Return a group; an empty one for an unknown name."""
        return self._groups.get(name) or Ordered()

    def filled(self) -> dict[str, Ordered]:
        """Return the groups that are not empty, by name."""
        return {name: group for name, group in self._groups.items() if group}
