"""
How enums and subclasses of built-in types become trees and back, running none of their code (floor 2).

No constructor runs on the way back: what was stored is what comes out.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from enum import Enum
from typing import Any, ClassVar, Final, cast, final

from typing_extensions import override

from signoff.codec.walk import Decoders, Encoders, Fault, guarded
from signoff.model.values import TYPE_KEY, Tree

_MEMBERS: Final = frozenset({TYPE_KEY, "t", "v"})


class Form(ABC):
    """
    How one registered type is stored.

    Attributes:
        tag: The tag of its trees.
        cls: The type.
        name: The name that stands in its trees.
    """

    tag: ClassVar[str]

    def __init__(self, cls: type[object], name: str) -> None:
        self.cls = cls
        self.name = name

    def encode(self, value: Any, depth: int, encoders: Encoders) -> Tree:
        """Turn a value of exactly this type, `depth` levels deep, into a tree."""
        return {TYPE_KEY: self.tag, "t": self.name, **self.members(value, depth, encoders)}

    @abstractmethod
    def members(self, value: Any, depth: int, encoders: Encoders) -> dict[str, Tree]:
        """Return the tree of `value` without tag and name."""

    @abstractmethod
    def decode(self, tree: dict[str, Tree], depth: int, decoders: Decoders) -> object:
        """Turn a tree with this tag and name back into the value."""

    def malformed(self) -> Fault:
        """Return the fault of a tree that this form never makes."""
        return Fault(f"is no stored {self.name}")


class EnumForm(Form):
    """An enum's member by its name. One whose members are ints or texts too does not decay to them."""

    tag = "enum"

    @property
    def named(self) -> Mapping[str, Enum]:
        """The members by name, aliases too."""
        return cast("Mapping[str, Enum]", cast("type[Enum]", self.cls).__members__)

    def member(self, name: str) -> Enum:
        """Return the member of this name."""
        if name not in self.named:
            raise Fault(f"{self.name} has no member {name!r}")
        return self.named[name]

    @override
    def members(self, value: Any, depth: int, encoders: Encoders) -> dict[str, Tree]:
        name: str = value._name_
        if self.named.get(name) is not value:
            raise Fault(f"is no named member of {self.name}")
        return {"v": name}

    @override
    def decode(self, tree: dict[str, Tree], depth: int, decoders: Decoders) -> object:
        stored = tree.get("v")
        if not isinstance(stored, str) or tree.keys() != _MEMBERS:
            raise self.malformed()
        return self.member(stored)


@final
class FlagForm(EnumForm):
    """A flag by its name; several together as a list of names, and the bits that have none."""

    @override
    def members(self, value: Any, depth: int, encoders: Encoders) -> dict[str, Tree]:
        if value._name_ in self.named:
            return {"v": value._name_}
        bits: int = value._value_
        parts: list[Tree] = []
        for name, member in self.named.items():
            bit: int = member._value_
            if bit & bits and not bit & (bit - 1):
                parts.append(name)
                bits &= ~bit
        return {"v": [*parts, bits] if bits else parts}

    @override
    def decode(self, tree: dict[str, Tree], depth: int, decoders: Decoders) -> object:
        stored = tree.get("v")
        if not isinstance(stored, list):
            return super().decode(tree, depth, decoders)
        bits = 0
        for part in stored:
            bits |= self._bits(part)
        value = guarded(lambda: cast("Any", self.cls)(bits), f"{self.name} of {bits}")
        if type(value) is not self.cls or tree.keys() != _MEMBERS:
            raise self.malformed()
        return value

    def _bits(self, part: Tree) -> int:
        if isinstance(part, str):
            bits: int = self.member(part)._value_
            return bits
        if type(part) is not int:
            raise self.malformed()
        return part


def refuse_attributes(value: object) -> None:
    """Raise a fault if `value`, which is stored by what it contains, also carries attributes."""
    if object.__getstate__(value):
        raise Fault(
            "has attributes that would be lost; make its type a dataclass or a pydantic model"
        )


@final
class SubclassForm(Form):
    """A value of a subclass of a built-in type, by the value that it is, by the base's own methods."""

    tag = "subclass"

    def __init__(self, cls: type[object], name: str) -> None:
        super().__init__(cls, name)
        self._base: Any = next(base for base in cls.__mro__ if base in _EXPORTS)

    @override
    def members(self, value: Any, depth: int, encoders: Encoders) -> dict[str, Tree]:
        refuse_attributes(value)
        return {"v": encoders[self._base](_EXPORTS[self._base](value), depth)}

    @override
    def decode(self, tree: dict[str, Tree], depth: int, decoders: Decoders) -> object:
        if tree.keys() != _MEMBERS:
            raise self.malformed()
        value = decoders[type(tree["v"])](tree["v"], depth)
        if type(value) is not self._base:
            raise self.malformed()
        return guarded(lambda: self._revived(value), f"making a {self.name}")

    def _revived(self, value: object) -> object:
        filler = _FILLERS.get(self._base)
        if filler is None:
            return self._base.__new__(self.cls, value)
        container = self._base.__new__(self.cls)
        getattr(self._base, filler)(container, value)
        return container


def _items(base: Any, value: object) -> Iterable[object]:
    items: Iterable[object] = base.__iter__(value)
    return items


def _dict(base: Any, value: object) -> dict[object, object]:
    return {key: base.__getitem__(value, key) for key in _items(base, value)}


_EXPORTS: Final[Mapping[type[object], Callable[[Any], object]]] = {
    str: str.__str__,
    int: int.__int__,
    float: float.__float__,
    Decimal: Decimal,
    bytes: lambda value: bytes.__getitem__(value, slice(None)),
    tuple: lambda value: tuple(_items(tuple, value)),
    frozenset: lambda value: frozenset(_items(frozenset, value)),
    list: lambda value: list(_items(list, value)),
    set: lambda value: set(_items(set, value)),
    dict: lambda value: _dict(dict, value),
}
"""How the equal value of the base is had from a value of a subclass, whatever that overrides."""

_FILLERS: Final[Mapping[type[object], str]] = {list: "extend", set: "update", dict: "update"}
"""The base's method that fills an empty one; values of the other bases are made complete."""

# A rebuilt one would lack its order or its factory.
_UNFIT: Final = (OrderedDict, defaultdict)


def is_subclass_of_builtin(cls: type[object]) -> bool:
    """Return whether `cls` is a subclass of a built-in type that holds nothing else than its value."""
    return (
        cls not in _EXPORTS
        and any(base in _EXPORTS for base in cls.__mro__)
        and not issubclass(cls, (bool, *_UNFIT))
    )
