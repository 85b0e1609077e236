"""The orders of the memory store, against sorting everything each time."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from signoff.stores.ordered import Grouped, Ordered

IDS = st.sampled_from(["a", "b", "B", "ab", "a\0", "ü"])
NUMBERS = st.integers(-3, 3)
MOVES = st.lists(st.tuples(IDS, st.none() | NUMBERS), max_size=20)


@settings(max_examples=150)
@given(moves=MOVES, number=NUMBERS, after=st.none() | st.tuples(NUMBERS, IDS))
def test_an_order_is_what_sorting_would_give(
    moves: list[tuple[str, int | None]], number: int, after: tuple[int, str] | None
) -> None:
    """All of it, what lies beyond a place in both directions, and what is due up to a number."""
    order = Ordered()
    numbers: dict[str, int | None] = {}
    for record_id, moved_to in moves:
        order.put(record_id, moved_to)
        numbers[record_id] = moved_to
    places = sorted((n, record_id) for record_id, n in numbers.items() if n is not None)

    assert list(order.places()) == places
    assert len(order) == len(places)
    assert list(order.up_to(number)) == [place for place in places if place[0] <= number]
    assert list(order.ids(after=after)) == [
        record_id for n, record_id in places if after is None or (n, record_id) > after
    ]
    assert list(order.ids(after=after, backwards=True)) == [
        record_id for n, record_id in places[::-1] if after is None or (n, record_id) < after
    ]


@settings(max_examples=100)
@given(moves=st.lists(st.tuples(IDS, st.sampled_from([None, "x", "y"]), NUMBERS), max_size=20))
def test_an_id_is_in_one_group_at_a_time(moves: list[tuple[str, str | None, int]]) -> None:
    """Where it was put last; a group that ran empty is not counted."""
    groups = Grouped()
    last: dict[str, tuple[str | None, int]] = {}
    for record_id, group, number in moves:
        groups.put(record_id, group, number)
        last[record_id] = (group, number)

    for name in ("x", "y", "z"):
        expected = sorted((n, record_id) for record_id, (group, n) in last.items() if group == name)
        assert list(groups.group(name).places()) == expected
    filled = {group for group, _ in last.values() if group}
    assert set(groups.filled()) == filled
