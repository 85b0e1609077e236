"""
The JSON form of stored values, and how a person reads it (floor 0, pure).

A *tree* is what the codec makes of a Python value: JSON, in which an object with the
key ``$`` is a tagged value, for example ``{"$": "decimal", "v": "1.50"}``. Here a tree is
only looked at, whatever it holds; turning one back into Python values is the codec's work.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias, final

from typing_extensions import TypeAliasType

from signoff.model.visible import visible

__all__ = [
    "BIG_INT",
    "TYPE_KEY",
    "Child",
    "Node",
    "Row",
    "Tree",
    "at_index",
    "at_key",
    "below",
    "escaped",
    "one_line",
    "plain",
    "read",
    "rows",
    "unescaped",
    "visible",
]

if TYPE_CHECKING:
    Tree: TypeAlias = "bool | int | float | str | list[Tree] | dict[str, Tree] | None"
else:
    # Pydantic follows only this form into itself, pyright only the other.
    Tree = TypeAliasType("Tree", "bool | int | float | str | list[Tree] | dict[str, Tree] | None")
"""A JSON value, tags and all."""

TYPE_KEY: Final = "$"
"""The key that marks a tagged value; a user's keys that begin with it are escaped by one more."""

BIG_INT: Final = 1 << 2048
"""An int of this size and up has the tag ``int``: Python limits the digits it reads and writes."""

_TEXT_TYPES: Final = {
    "int": "int",
    "decimal": "Decimal",
    "datetime": "datetime",
    "date": "date",
    "time": "time",
    "timedelta": "timedelta",
    "uuid": "UUID",
    "bytes": "bytes",
    "bytearray": "bytearray",
}
_MEMBERS: Final = frozenset({TYPE_KEY, "v"})
_TIME_MEMBERS: Final = _MEMBERS | {"z", "n", "fold"}
_NAMED_MEMBERS: Final = _MEMBERS | {"t"}
_RECORD_MEMBERS: Final = {
    "model": _NAMED_MEMBERS | {"x", "p", "s"},
    "dataclass": _NAMED_MEMBERS,
    "namedtuple": _NAMED_MEMBERS,
}
_PAIR: Final = 2
_LIST_TAGS: Final = frozenset({"tuple", "set", "frozenset"})
_LISTED: Final = frozenset({"list", "pairs", *_LIST_TAGS})
_UNNAMED: Final = frozenset({"list", "dict", *_LIST_TAGS})
_write_scalar: Final = json.JSONEncoder(ensure_ascii=False).encode
_SPACES: Final = re.compile(r"[ \t\r\n]+")


@final
class Child(NamedTuple):
    """
    A part of a tree.

    Attributes:
        label: Its key as `plain` gives it, or its position.
        tree: The part itself.
        shown_key: How a path shows a key that is no text, in place of `label`.
    """

    label: str | int
    tree: Tree
    shown_key: str | None = None

    @property
    def segment(self) -> str:
        """What it adds to a path: ``.amount``, ``["a b"]``, ``[3]``."""
        if self.shown_key is not None:
            return _at_quoted(self.shown_key)
        return at_key(self.label) if isinstance(self.label, str) else at_index(self.label)


@final
class Node(NamedTuple):
    """
    What one tree is, seen from above.

    Attributes:
        kind: Its JSON type or tag: ``str``, ``list``, ``decimal``, ``model``; ``pairs`` for a dict
            whose keys are shown like values; ``unreadable`` for an object that looks tagged but
            is nothing that the codec writes.
        type_name: The type as a reviewer reads it: ``Decimal``, or the registered name.
        value: What `plain` gives, for a scalar; else None.
        children: The parts of a container, in order; None for a scalar.
    """

    kind: str
    type_name: str
    value: Tree = None
    children: Sequence[Child] | None = None


@final
@dataclass(frozen=True, slots=True)
class Row:
    """
    A line of the table in which a reviewer reads a payload.

    Attributes:
        path: Where, such as ``order.lines[0].price``; empty for the payload itself.
        type_name: The type of the value.
        text: The whole value, with hidden characters marked; it may have several lines. For a
            typed container, the number of its parts, which the next rows show.
    """

    path: str
    type_name: str
    text: str


def escaped(key: str) -> str:
    """Return a user's key as it stands in a tree."""
    return TYPE_KEY + key if key.startswith(TYPE_KEY) else key


def unescaped(key: str) -> str:
    """Return a key of an untagged object as the user wrote it."""
    return key[1:] if key.startswith(TYPE_KEY * 2) else key


def at_key(key: str) -> str:
    """Return what a key adds to a path: ``.key``, or ``["the key"]`` where it is no plain name."""
    if key.isidentifier() and visible(key, keep_newlines=False) == key:
        return f".{key}"
    return _at_quoted(_scalar_json(key))


def _at_quoted(text: str) -> str:
    return f"[{visible(text, keep_newlines=False)}]"


def at_index(index: int) -> str:
    """Return what a position adds to a path: ``[3]``."""
    return f"[{index}]"


def below(path: str, segment: str) -> str:
    """Return the path of a part of what is at `path`, which is empty at the top."""
    return path + segment if path else segment.removeprefix(".")


def read(tree: Tree) -> Node:
    """Return what `tree` is and its parts. Any tree will do; of one with a broken tag nothing is left out."""
    if isinstance(tree, list):
        return Node("list", "list", children=_items(tree))
    if isinstance(tree, dict):
        if TYPE_KEY not in tree:
            return Node("dict", "dict", children=_members(tree))
        return _read_tagged(tree) or Node("unreadable", "unreadable", children=_raw(tree))
    if tree is None:
        return Node("none", "None")
    name = type(tree).__name__
    return Node(name, name, tree)


def _read_tagged(tree: dict[str, Tree]) -> Node | None:
    tag, type_name, value = tree[TYPE_KEY], tree.get("t"), tree.get("v")
    if not isinstance(tag, str):
        return None
    if isinstance(type_name, str):
        return _read_named(tag, type_name, tree)
    if tag in _TEXT_TYPES and isinstance(value, str):
        return _read_text(tag, value, tree)
    if isinstance(value, list) and tree.keys() == _MEMBERS:
        if tag in _LIST_TAGS:
            return Node(tag, tag, children=_items(value))
        return _read_pairs(value) if tag == "dict" else None
    return None


def _read_named(tag: str, type_name: str, tree: dict[str, Tree]) -> Node | None:
    if tag in _RECORD_MEMBERS:
        return _read_record(tag, type_name, tree)
    if tree.keys() != _NAMED_MEMBERS:
        return None
    if tag == "enum":
        return _read_enum(type_name, tree["v"])
    return _read_subclass(type_name, tree["v"]) if tag == "subclass" else None


def _read_text(tag: str, value: str, tree: dict[str, Tree]) -> Node | None:
    if tag in {"datetime", "time"}:
        return _read_time(tag, value, tree)
    if tree.keys() != _MEMBERS:
        return None
    shown = f"base64:{value}" if tag in {"bytes", "bytearray"} else value
    return Node(tag, _TEXT_TYPES[tag], shown)


def _read_time(tag: str, value: str, tree: dict[str, Tree]) -> Node | None:
    words: list[Tree] = [value, tree.get("z", ""), tree.get("n", "")]
    fold = tree.get("fold", 0)
    if not tree.keys() <= _TIME_MEMBERS or fold not in (0, 1):
        return None
    texts = [word for word in words if isinstance(word, str)]
    if len(texts) < len(words):
        return None
    return Node(tag, tag, " ".join(filter(None, [*texts, "fold=1" if fold else ""])))


def _read_pairs(pairs: Sequence[Tree]) -> Node | None:
    entries = [
        (pair[0], pair[1]) for pair in pairs if isinstance(pair, list) and len(pair) == _PAIR
    ]
    if len(entries) < len(pairs):
        return None
    scalars = [read(key) for key, _ in entries if _is_scalar(key)]
    keys = [key for key in scalars if key.children is None]
    labels = {_scalar_text(key.value) for key in keys}
    if len(labels) < len(pairs):
        # Some keys have parts or look alike: as text they could not be told apart.
        return Node("pairs", "dict", children=_items(pairs))
    children = [
        Child(_scalar_text(key.value), value, _scalar_json(key.value))
        for key, (_, value) in zip(keys, entries, strict=True)
    ]
    return Node("dict", "dict", children=children)


def _is_scalar(tree: Tree) -> bool:
    if isinstance(tree, dict):
        tag = tree.get(TYPE_KEY)
        return tag == "enum" or (isinstance(tag, str) and tag in _TEXT_TYPES)
    return not isinstance(tree, list)


def _read_enum(type_name: str, value: Tree) -> Node | None:
    parts = value if isinstance(value, list) else [value]
    names = [str(part) for part in parts if isinstance(part, str | int)]
    if len(names) < len(parts):
        return None
    return Node("enum", type_name, "|".join(names) or "0")


def _read_subclass(type_name: str, value: Tree) -> Node | None:
    # One inside the other is nothing that the codec writes, and could go deep.
    if isinstance(value, dict) and value.get(TYPE_KEY) == "subclass":
        return None
    inner = read(value)
    return Node(inner.kind, type_name, inner.value, inner.children)


def _read_record(tag: str, type_name: str, tree: dict[str, Tree]) -> Node | None:
    # Which fields were set ("s") is no value, so it is not shown.
    parts = [tree[member] for member in ("v", "x", "p") if member in tree]
    children: list[Child] = []
    for part in parts:
        if not isinstance(part, dict) or TYPE_KEY in part:
            return None
        children += _members(part)
    hides_one = len({child.label for child in children}) < len(children)
    if "v" not in tree or hides_one or not tree.keys() <= _RECORD_MEMBERS[tag]:
        return None
    return Node(tag, type_name, children=children)


def _items(items: Sequence[Tree]) -> Sequence[Child]:
    return [Child(index, item) for index, item in enumerate(items)]


def _members(members: dict[str, Tree]) -> Sequence[Child]:
    keys = [unescaped(key) for key in members]
    if len(set(keys)) < len(keys):
        return _raw(members)
    return [Child(key, value) for key, value in zip(keys, members.values(), strict=True)]


def _raw(members: dict[str, Tree]) -> Sequence[Child]:
    return [Child(key, value) for key, value in members.items()]


def plain(tree: Tree) -> Tree:
    """
    Return `tree` as a person writes JSON: without tags.

    A Decimal, date, UUID or the like becomes its text, bytes ``base64:...``, an enum the
    member's name; tuples and sets become lists; records become objects, with extra and private
    members among the fields. A dict with keys that are not text becomes an object, or a list
    of pairs where its keys have parts or look alike. An object with a broken tag stays as it is.
    Characters are not changed; see `visible`.
    """
    root: list[Tree] = [None]
    todo: list[tuple[Tree, Callable[[Tree], None]]] = [(tree, partial(root.__setitem__, 0))]
    while todo:
        current, put = todo.pop()
        node = read(current)
        children = node.children
        if children is None:
            put(node.value)
        elif node.kind in _LISTED:
            items: list[Tree] = [None] * len(children)
            put(items)
            todo += [
                (child.tree, partial(items.__setitem__, at)) for at, child in enumerate(children)
            ]
        else:
            members: dict[str, Tree] = {str(child.label): None for child in children}
            put(members)
            todo += [
                (child.tree, partial(members.__setitem__, str(child.label))) for child in children
            ]
    return root[0]


def one_line(tree: Tree) -> str:
    """
    Return a payload as one line of text, whatever it is.

    A text, and anything that `plain` shows as text, is itself, with runs of spaces, tabs and
    line breaks as one space; all else is JSON. Hidden characters are marked.
    """
    shown = plain(tree)
    text = _SPACES.sub(" ", shown).strip() if isinstance(shown, str) else _json(shown)
    return visible(text, keep_newlines=False)


def rows(tree: Tree) -> list[Row]:
    """
    Return a payload as the lines of a table, in order, down to the last value; nothing is cut.

    A row stands for each scalar and each empty container. A container of a registered type, or
    with a broken tag, has a row of its own before those of its parts.
    """
    found: list[Row] = []
    todo = [("", tree)]
    while todo:
        path, current = todo.pop()
        node = read(current)
        children = node.children or ()
        if not children or node.type_name not in _UNNAMED:
            type_name = visible(node.type_name, keep_newlines=False)
            found.append(Row(path, type_name, _row_text(node)))
        todo += [(below(path, child.segment), child.tree) for child in reversed(children)]
    return found


def _row_text(node: Node) -> str:
    if node.children is None:
        return visible(_scalar_text(node.value), keep_newlines=True)
    if node.type_name in _UNNAMED:
        return "{}" if node.kind == "dict" else "[]"
    count = len(node.children)
    return "1 part" if count == 1 else f"{count} parts"


def _scalar_text(value: Tree) -> str:
    return value if isinstance(value, str) else _scalar_json(value)


def _scalar_json(value: Tree) -> str:
    if isinstance(value, int) and not -BIG_INT < value < BIG_INT:
        return hex(value)
    return _write_scalar(value)


@final
@dataclass(frozen=True, slots=True)
class _Text:
    """Finished text between the values that are still to be written."""

    text: str


def _json(tree: Tree) -> str:
    # Not by `json.dumps`, which stops at some depth and at large numbers.
    written: list[str] = []
    todo: list[_Text | Tree] = [tree]
    while todo:
        item = todo.pop()
        if isinstance(item, _Text):
            written.append(item.text)
        elif isinstance(item, list):
            todo += reversed(_framed("[", [[part] for part in item], "]"))
        elif isinstance(item, dict):
            named = [[_Text(f"{_scalar_json(key)}: "), part] for key, part in item.items()]
            todo += reversed(_framed("{", named, "}"))
        else:
            written.append(_scalar_json(item))
    return "".join(written)


def _framed(first: str, entries: Sequence[Sequence[_Text | Tree]], last: str) -> list[_Text | Tree]:
    framed: list[_Text | Tree] = [_Text(first)]
    for number, entry in enumerate(entries):
        framed += [_Text(", "), *entry] if number else entry
    return [*framed, _Text(last)]
