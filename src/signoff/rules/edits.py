"""
What a reviewer may change in a payload, and what was changed (floor 1, pure).

These rules know the payload only as a tree: they keep its shape and the types of its values.
Whether the edited values suit the annotations of the code is for the codec to say, afterwards.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, time
from functools import partial
from itertools import zip_longest
from typing import Final, Literal, final

from signoff.model.scalars import TEXT_FORMS
from signoff.model.values import TYPE_KEY, Child, Node, Tree, below, read, unescaped

_NUMBERS: Final = frozenset({"int", "float"})
_RECORDS: Final = frozenset({"model", "dataclass", "namedtuple"})
_NAMED: Final = _RECORDS | {"dict"}
_DICTS: Final = frozenset({"dict", "pairs"})
_SETS: Final = frozenset({"set", "frozenset"})
_ELEMENT: Final = "{}"

# No number of more digits is written by hand, and Python would not read many more.
_WHOLE: Final = re.compile(r"[+-]?[0-9]{1,600}")
_NUMBER: Final = re.compile(
    r"[+-]?([0-9]{1,600}(\.[0-9]{0,600})?|\.[0-9]{1,600})([eE][+-]?[0-9]{1,6})?"
)
_TRUE: Final = frozenset({"true", "yes"})
_FALSE: Final = frozenset({"false", "no"})
_BYTES_PREFIX: Final = "base64:"


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
        why: What is wrong with it, as a sentence that begins with the field.
    """

    field: str
    why: str


@final
@dataclass(frozen=True, slots=True)
class Edit:
    """
    What became of a payload in the hands of a reviewer.

    Attributes:
        tree: What to store: the proposed payload with each changed argument as edited, so that
            what was not changed is as it was, to the byte. With a problem, the proposed payload.
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
    type, and a record its fields. An int and a float may take each other's place, as people and
    JSON write both alike; a Decimal stays a Decimal and a bool a bool. Anything may take the
    place of None, and None of nothing. Lists, sets, and dicts further down may grow and shrink;
    what is new in a list or set is of a type that was there.

    Args:
        original: The proposed payload.
        edited: What the reviewer made of it.
        fixed: The names at the top that must stay as they are.
    """
    before, after = read(original), read(edited)
    parts: dict[str | int, list[_Found]] = {}
    found: list[_Found] = []
    if before.kind in _NAMED and _unfit(after, [before]) is None:
        for label, path, part in _by_name(before, after, closed=True):
            refused = label in fixed and part
            parts[label] = [Problem(path, "may not be edited")] if refused else part
            found += parts[label]
    else:
        found += _compare("", original, edited)
    changes = tuple(one for one in found if isinstance(one, Change))
    problems = tuple(one for one in found if isinstance(one, Problem))
    tree = original if problems or not changes else _merged(original, edited, parts)
    return Edit(tree, changes, problems)


def _merged(original: Tree, edited: Tree, parts: dict[str | int, list[_Found]]) -> Tree:
    if not isinstance(original, dict) or not isinstance(edited, dict) or TYPE_KEY in original:
        return edited
    return {key: edited[key] if parts[unescaped(key)] else value for key, value in original.items()}


def _compare(path: str, old: Tree, new: Tree) -> Iterator[_Found]:
    before, after = read(old), read(new)
    why = _unfit(after, [before])
    if why is not None:
        yield Problem(path or "payload", why)
    elif before.kind != after.kind or before.children is None:
        if _differ(old, new):
            yield Change(path, "changed", old, new)
    elif before.kind in _NAMED:
        for _, _, found in _by_name(before, after, closed=before.kind in _RECORDS, path=path):
            yield from found
    else:
        compare = _compare_sets if before.kind in _SETS else _compare_lists
        yield from compare(path, before.children, after.children or ())


def _differ(old: Tree, new: Tree) -> bool:
    # Zero has a sign that is shown, and that `==` does not see.
    signs = isinstance(old, float) and repr(old) != repr(new)
    return type(old) is not type(new) or old != new or signs


def _unfit(after: Node, others: Sequence[Node]) -> str | None:
    """Say why a value cannot stand where one like `others` stood; None if it can."""
    if after.kind == "unreadable":
        return "is nothing that can be stored"
    if not others or any(one.kind == "none" or _alike(one, after) for one in others):
        return None
    types = dict.fromkeys(one.type_name for one in others)
    return f"must stay {' or '.join(types)}, and is {after.type_name}"


def _alike(one: Node, other: Node) -> bool:
    if one.kind == other.kind or {one.kind, other.kind} <= _DICTS:
        return one.type_name == other.type_name
    return {one.type_name, other.type_name} <= _NUMBERS


def _by_name(
    before: Node, after: Node, *, closed: bool, path: str = ""
) -> Iterator[tuple[str | int, str, list[_Found]]]:
    """Yield name, path and findings of each part of two dicts or records; a closed one keeps its names."""
    old = {child.label: child for child in before.children or ()}
    new = {child.label: child for child in after.children or ()}
    for label, child in (old | new).items():
        at = below(path, child.segment)
        if label in old and label in new:
            yield label, at, [*_compare(at, old[label].tree, child.tree)]
        elif label in old:
            gone = Change(at, "removed", child.tree, None)
            yield label, at, [Problem(at, "is missing") if closed else gone]
        else:
            come = Change(at, "added", None, child.tree)
            yield label, at, [Problem(at, "is not part of what was proposed") if closed else come]


def _compare_lists(path: str, old: Sequence[Child], new: Sequence[Child]) -> Iterator[_Found]:
    known = [read(child.tree) for child in old]
    for was, now in zip_longest(old, new):
        if now is None:
            yield Change(below(path, was.segment), "removed", was.tree, None)
        elif was is None:
            yield _added(below(path, now.segment), now.tree, known)
        elif _may_replace(read(was.tree), read(now.tree), known):
            yield Change(below(path, now.segment), "changed", was.tree, now.tree)
        else:
            yield from _compare(below(path, now.segment), was.tree, now.tree)


def _may_replace(was: Node, now: Node, known: Sequence[Node]) -> bool:
    """Return whether an element may give way to one of another type that is in the list."""
    # A tuple with the parts of the list that it replaces would look the same to the reviewer.
    looks_different = was.children is None or now.children is None
    return looks_different and _unfit(now, [was]) is not None and _unfit(now, known) is None


def _compare_sets(path: str, old: Sequence[Child], new: Sequence[Child]) -> Iterator[_Found]:
    # The elements of a set have no place, so each is found by its text.
    known = [read(child.tree) for child in old]
    was = {json.dumps(child.tree): child.tree for child in old}
    now = {json.dumps(child.tree): child.tree for child in new}
    at = path + _ELEMENT
    yield from (Change(at, "removed", was[text], None) for text in was if text not in now)
    yield from (_added(at, now[text], known) for text in now if text not in was)


def _added(path: str, tree: Tree, known: Sequence[Node]) -> _Found:
    why = _unfit(read(tree), known)
    return Change(path, "added", None, tree) if why is None else Problem(path, why)


def coerce(original: Tree, text: str) -> Tree:
    """
    Return what a person wrote as a value of the type that the proposed one has.

    A text is taken as it is; with all else, spaces around it do not matter. A bool is true,
    false, yes or no; a number has a point and no separators; dates, times, durations, UUIDs and
    bytes are written as they are shown; a member of an enum by its name. A time without an offset
    is in the zone that the proposed one names.

    Args:
        original: The proposed value.
        text: What was written in its place.

    Raises:
        ValueError: The text is nothing of that type, or the proposed value is None or has parts,
            so that one text cannot stand for it. The message is a sentence for the person.
    """
    node = read(original)
    if node.kind == "str":
        written: Tree = text
    elif node.kind in _WRITERS:
        written = _WRITERS[node.kind](text.strip())
    elif isinstance(original, dict) and node.kind in _REWRITERS:
        written = _REWRITERS[node.kind](text.strip(), original)
    else:
        raise ValueError(f"a value of type {node.type_name} cannot be written as one text")
    is_subclass = isinstance(original, dict) and original[TYPE_KEY] == "subclass"
    return {TYPE_KEY: "subclass", "t": node.type_name, "v": written} if is_subclass else written


def _as_bool(text: str) -> Tree:
    word = text.lower()
    if word not in _TRUE | _FALSE:
        raise ValueError(f"{text!r} is not one of true, false, yes and no")
    return word in _TRUE


def _as_int(text: str) -> Tree:
    if _WHOLE.fullmatch(text) is None:
        raise ValueError(f"{text!r} is not a whole number")
    return int(text)


def _as_float(text: str) -> Tree:
    value = float(_number(text))
    if math.isinf(value):
        raise ValueError(f"{text!r} is too large a number")
    return value


def _as_decimal(text: str) -> Tree:
    return _as_text("decimal", _number(text))


def _number(text: str) -> str:
    if _NUMBER.fullmatch(text) is None:
        raise ValueError(f"{text!r} is not a number such as 1234.50")
    return text


def _as_bytes(tag: str, text: str) -> Tree:
    return _as_text(tag, text.removeprefix(_BYTES_PREFIX))


def _as_text(tag: str, text: str) -> Tree:
    form = TEXT_FORMS[tag]
    try:
        return {TYPE_KEY: tag, "v": form.write(form.parse(text))}
    except ValueError as error:
        raise ValueError(f"{text!r} is not a {form.cls.__name__}") from error


def _as_time(cls: type[datetime | time], text: str, proposed: dict[str, Tree]) -> Tree:
    try:
        value = cls.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"{text!r} is not a {cls.__name__} in ISO form") from error
    written: dict[str, Tree] = {TYPE_KEY: cls.__name__, "v": value.isoformat()}
    if "z" in proposed and value.tzinfo is None:
        return {**written, "z": proposed["z"]}
    has_zone = "z" in proposed or cls.fromisoformat(str(proposed["v"])).tzinfo is not None
    if has_zone and value.tzinfo is None:
        raise ValueError(f"{text!r} needs an offset such as +02:00 behind it")
    if value.tzinfo is not None and not has_zone:
        raise ValueError(f"{text!r} has an offset, and the proposed value has none")
    return written


def _as_enum(text: str, proposed: dict[str, Tree]) -> Tree:
    names = [name.strip() for name in text.split("|")]
    if not all(name.isidentifier() for name in names):
        raise ValueError(f"{text!r} is not the name of a member")
    return {**proposed, "v": names[0] if len(names) == 1 else [*names]}


_WRITERS: Final[Mapping[str, Callable[[str], Tree]]] = {
    "bool": _as_bool,
    "int": _as_int,
    "float": _as_float,
    "decimal": _as_decimal,
    "bytes": partial(_as_bytes, "bytes"),
    "bytearray": partial(_as_bytes, "bytearray"),
    "date": partial(_as_text, "date"),
    "timedelta": partial(_as_text, "timedelta"),
    "uuid": partial(_as_text, "uuid"),
}
"""How a text becomes a value of each kind."""

_REWRITERS: Final[Mapping[str, Callable[[str, dict[str, Tree]], Tree]]] = {
    "datetime": partial(_as_time, datetime),
    "time": partial(_as_time, time),
    "enum": _as_enum,
}
"""How a text becomes a value of a kind whose proposed value says more than its type."""
