"""
What a reviewer may change in a payload, and what was changed (floor 1, pure).

These rules know the payload only as a tree: they keep its shape and the types of its values.
Whether the edited values suit the annotations of the code is for the codec to say, afterwards.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Final, Literal, final

from signoff.model.values import TYPE_KEY, Child, Node, Tree, below, read, unescaped

_NUMBERS: Final = frozenset({"int", "float"})
_RECORDS: Final = frozenset({"model", "dataclass", "namedtuple"})
_DICTS: Final = frozenset({"dict", "pairs"})
_SETS: Final = frozenset({"set", "frozenset"})


@final
@dataclass(frozen=True, slots=True)
class Change:
    """
    One difference between the proposed and the edited payload.

    Attributes:
        path: Where, such as ``order.lines[0].price``; empty for the payload itself.
        kind: Whether the value there was changed, or is only in the edited or the proposed one.
        old: The proposed value; None if it was added.
        new: The edited value; None if it was removed.
    """

    path: str
    kind: Literal["changed", "added", "removed"]
    old: Tree
    new: Tree


@final
@dataclass(frozen=True, slots=True)
class Problem:
    """
    Why an edit is not accepted.

    Attributes:
        field: The path of what does not fit; ``payload`` for the payload itself.
        why: What is wrong, as a sentence that begins with the field.
    """

    field: str
    why: str


@final
@dataclass(frozen=True, slots=True)
class Edit:
    """
    What became of a payload in the hands of a reviewer.

    Attributes:
        tree: What to store if there is no problem: the proposed payload with each changed
            argument as edited. What was not changed is as it was, to the byte.
        changes: What differs, in order; empty where nothing does that a reader sees.
        problems: Why the edit is not accepted; empty if it is.
    """

    tree: Tree
    changes: tuple[Change, ...]
    problems: tuple[Problem, ...]


_Found = Change | Problem


def check_edit(original: Tree, edited: Tree, *, fixed: Collection[str] = ()) -> Edit:
    """
    Compare an edited payload with the proposed one.

    A dict at the top keeps its names: those of a call are its arguments. Every value keeps its
    type, and a record its fields. An int and a float may take each other's place, as both are
    numbers in what JSON and people write; a Decimal stays a Decimal and a bool a bool. Anything
    may take the place of None, and None of nothing. Lists, sets, and dicts further down may grow
    and shrink; what is new in a list or set is of a type that was there.

    Args:
        original: The proposed payload.
        edited: What the reviewer made of it.
        fixed: The names at the top that must stay as they are.
    """
    before, after = read(original), read(edited)
    if before.kind != "dict" or _unfit(before, after) is not None:
        found = list(_compared(original, edited, ""))
        return _edit(edited if found else original, found)
    by_name = {
        label: [Problem(below("", segment), "may not be edited")] if label in fixed and part else part
        for label, segment, part in _by_key(before, after, "", closed=True)
    }
    ...
