"""
The way down into a value and up again: faults that learn their path, and the depth limit (floor 2).

A fault is raised where it is found, without its path; each container on the way up adds its
part. So a value without a fault costs no path.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, TypeVar

from signoff.model.values import TYPE_KEY, Tree, at_index, at_key, escaped, unescaped

T = TypeVar("T")

DEPTH_LIMIT: Final = 100
"""How many levels of JSON a value may take; pydantic's own reader stops at twice that."""

_TEXT: Final[frozenset[type[object]]] = frozenset({str})

ELEMENT: Final = "{}"
"""What an element of a set adds to a path: it has no place."""

KEYS: Final = ".keys()"
"""What a key of a dict that is no text adds to a path."""


def at_any_key(key: object) -> str:
    """Return what a key of any type adds to a path: ``.key``, ``[3]``, or ``[Decimal]``."""
    if isinstance(key, str):
        return at_key(key)
    return f"[{key if type(key) is int else type(key).__name__}]"


class Fault(Exception):  # noqa: N818 - it becomes a `CodecError` once it knows its path
    """
    What is wrong with a value or a tree.

    Attributes:
        message: What is wrong.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message
        self._segments: list[str] = []
        self._owners: list[int] = []

    def under(self, segment: str, owner: object) -> None:
        """Note, on the way up, that the fault lies in the part `segment` of `owner`."""
        self._segments.append(segment)
        self._owners.append(id(owner))

    def located(self) -> tuple[str, str]:
        """Return the path from the top, and the message."""
        segments, owners = self._segments[::-1], self._owners[::-1]
        for place, owner in enumerate(owners):
            if owner in owners[:place]:
                return "".join(segments[:place]), "contains itself"
        return "".join(segments), self.message


def faulty(segment: str, message: str) -> Fault:
    """Return the fault of the part `segment`."""
    fault = Fault(message)
    fault.under(segment, fault)
    return fault


Encoder = Callable[[Any, int], Tree]
"""Turns a value that lies so many levels deep into a tree."""

Decoder = Callable[[Any, int], object]
"""Turns a tree that lies so many levels deep into a value."""

Encoders = Mapping[type[object], Encoder]
"""How values of each type become trees; for a type that cannot be stored, a `Fault`."""

Decoders = Mapping[type[object], Decoder]
"""How JSON of each type becomes values; for a type that is none of JSON's, a `Fault`."""


def deeper(depth: int, levels: int) -> int:
    """Return the depth of the parts of a container that takes `levels` levels of JSON."""
    if depth + levels > DEPTH_LIMIT:
        raise Fault(f"is nested deeper than {DEPTH_LIMIT} levels of JSON")
    return depth + levels


def guarded(build: Callable[[], T], doing: str) -> T:
    """Call what may run code of the user's types, and turn its exception into a fault."""
    try:
        return build()
    # A user's __hash__ or default may raise anything.
    except Exception as error:
        raise Fault(f"{doing} raised {type(error).__name__}") from error


def checked(text: str) -> str:
    """Return `text` if UTF-8 can say it."""
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise Fault("has a lone surrogate, which is no character") from error
    return text


def only_texts(names: Iterable[object]) -> bool:
    """Return whether each name is a `str`, and no subclass of it."""
    return _TEXT.issuperset(map(type, names))


def encode_items(items: Sequence[Any], depth: int, encoders: Encoders) -> list[Tree]:
    """Turn the items of a list or tuple into trees."""
    trees: list[Tree] = []
    try:
        for item in items:
            # Most of what there is goes the short way; the encoder would say the same.
            if type(item) is str and item.isascii():
                trees.append(item)
            else:
                trees.append(encoders[type(item)](item, depth))
    except Fault as fault:
        fault.under(at_index(len(trees)), items)
        raise
    return trees


def decode_items(trees: Sequence[Tree], depth: int, decoders: Decoders) -> list[object]:
    """Turn trees into the items of a list or tuple."""
    items: list[object] = []
    try:
        for tree in trees:
            items.append(decoders[type(tree)](tree, depth))  # noqa: PERF401 - a fault needs the number
    except Fault as fault:
        fault.under(at_index(len(items)), trees)
        raise
    return items


def encode_members(
    members: Mapping[str, Any], depth: int, encoders: Encoders, *, owner: object
) -> dict[str, Tree]:
    """Turn what has names into trees, with names escaped; `owner` is what the user knows it as."""
    trees: dict[str, Tree] = {}
    name = ""
    try:
        for name, member in members.items():
            short = name.isascii() and not name.startswith(TYPE_KEY)
            key = name if short else escaped(checked(name))
            if type(member) is str and member.isascii():
                trees[key] = member
            else:
                trees[key] = encoders[type(member)](member, depth)
    except Fault as fault:
        fault.under(at_key(name), owner)
        raise
    return trees


def decode_members(trees: Mapping[str, Tree], depth: int, decoders: Decoders) -> dict[str, object]:
    """Turn trees into what has names, with names unescaped."""
    if not only_texts(trees):
        raise Fault("has a name that is no text")
    members: dict[str, object] = {}
    key = ""
    try:
        for key, tree in trees.items():
            short = key.isascii() and not key.startswith(TYPE_KEY)
            name = key if short else checked(_unescaped(key))
            members[name] = decoders[type(tree)](tree, depth)
    except Fault as fault:
        fault.under(at_key(key), trees)
        raise
    return members


def _unescaped(key: str) -> str:
    if key.startswith(TYPE_KEY) and not key.startswith(TYPE_KEY * 2):
        raise Fault(f"is no stored key: one that begins with {TYPE_KEY} is stored with two")
    return unescaped(key)
