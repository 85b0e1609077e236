"""
How pydantic models, dataclasses and named tuples become trees and back, field by field (floor 2).

No constructor and no validator runs on the way back: what was stored is what comes out, also
where a validator would change it. Fields that were added since take their defaults.
"""

from __future__ import annotations

import dataclasses
import inspect
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property, partial
from typing import Any, ClassVar, Final, cast, final

from pydantic import BaseModel, RootModel
from pydantic.fields import FieldInfo, ModelPrivateAttr
from pydantic_core import PydanticUndefined
from typing_extensions import override

from signoff.codec.forms import Form, refuse_attributes
from signoff.codec.walk import (
    Decoders,
    Encoders,
    Fault,
    checked,
    decode_members,
    deeper,
    encode_members,
    faulty,
    guarded,
    only_texts,
)
from signoff.model.values import TYPE_KEY, Tree, at_key, unescaped

Default = Callable[[], object] | None
"""What makes the default of a field; None where there is none."""

_LEVELS: Final = 2
"""A record takes two levels of JSON: the tagged object, and in it the object with its fields."""

_PRIVATE: Final = "__pydantic_private__"


class RecordForm(Form):
    """What has named fields: they are read from a value one by one, and put back past its constructor."""

    tree_members: ClassVar = frozenset({TYPE_KEY, "t", "v"})

    @abstractmethod
    def defaults(self) -> Mapping[str, Default]:
        """Return the fields in order, each with its default."""

    @abstractmethod
    def fields(self, value: Any) -> dict[str, object]:
        """Return the fields of a value in order."""

    @override
    def members(self, value: Any, depth: int, encoders: Encoders) -> dict[str, Tree]:
        fields = self.fields(value)
        return {"v": encode_members(fields, deeper(depth, _LEVELS), encoders, owner=value)}

    @override
    def decode(self, tree: dict[str, Tree], depth: int, decoders: Decoders) -> object:
        if not tree.keys() <= self.tree_members:
            raise self.malformed()
        fields = completed(self.part("v", tree, depth, decoders), self.defaults())
        return guarded(lambda: self.build(fields), f"making a {self.name}")

    @abstractmethod
    def build(self, fields: dict[str, object]) -> object:
        """Make a value of its fields, which are in order."""

    def part(
        self, member: str, tree: dict[str, Tree], depth: int, decoders: Decoders
    ) -> dict[str, object]:
        """Return what one member of a tree holds, by name."""
        part = tree.get(member)
        if not isinstance(part, dict) or TYPE_KEY in part:
            raise self.malformed()
        return decode_members(part, deeper(depth, _LEVELS), decoders)


def completed(stored: dict[str, object], defaults: Mapping[str, Default]) -> dict[str, object]:
    """Return the stored fields in order, and the defaults of those that were not stored."""
    for name in stored:
        if name not in defaults:
            raise faulty(at_key(name), "is stored, but the type has no such field now")
    return {
        name: stored[name] if name in stored else _default(name, make)
        for name, make in defaults.items()
    }


def _default(name: str, make: Default) -> object:
    if make is None:
        raise faulty(at_key(name), "is not stored, and the field has no default")
    try:
        return guarded(make, "its default")
    except Fault as fault:
        fault.under(at_key(name), fault)
        raise


def _refuse_strays(cls: type[object], names: Iterable[str]) -> None:
    # What a cached property holds is computed again when it is asked for.
    for name in names:
        if not isinstance(inspect.getattr_static(cls, name, None), cached_property):
            raise faulty(at_key(name), "is no field, so it would be lost; declare it as one")


@final
class NamedTupleForm(RecordForm):
    """A named tuple."""

    tag = "namedtuple"

    @override
    def defaults(self) -> Mapping[str, Default]:
        cls = cast("Any", self.cls)
        makers = {name: partial(_same, value) for name, value in cls._field_defaults.items()}
        return {name: makers.get(name) for name in cls._fields}

    @override
    def fields(self, value: Any) -> dict[str, object]:
        refuse_attributes(value)
        names: tuple[str, ...] = cast("Any", self.cls)._fields
        items = tuple(cast("Any", tuple).__iter__(value))
        if len(items) != len(names):
            raise Fault(f"has {len(items)} items, not the {len(names)} of {self.name}")
        return dict(zip(names, items, strict=True))

    @override
    def build(self, fields: dict[str, object]) -> object:
        made: object = cast("Any", tuple).__new__(self.cls, fields.values())
        return made


@final
class DataclassForm(RecordForm):
    """A dataclass of the standard library or of pydantic; frozen, slotted or neither."""

    tag = "dataclass"

    @override
    def defaults(self) -> Mapping[str, Default]:
        return {
            field.name: _dataclass_default(field)
            for field in dataclasses.fields(cast("Any", self.cls))
        }

    @override
    def fields(self, value: Any) -> dict[str, object]:
        names = [field.name for field in dataclasses.fields(cast("Any", self.cls))]
        _refuse_strays(self.cls, _state(value).keys() - set(names))
        return {name: _attribute(value, name) for name in names}

    @override
    def build(self, fields: dict[str, object]) -> object:
        value: object = object.__new__(self.cls)
        for name, field in fields.items():
            object.__setattr__(value, name, field)
        return value


def _same(value: object) -> object:
    return value


def _dataclass_default(field: dataclasses.Field[Any]) -> Default:
    if isinstance(field.default, FieldInfo):
        return _pydantic_default(field.default)
    if field.default is not dataclasses.MISSING:
        return partial(_same, field.default)
    return None if field.default_factory is dataclasses.MISSING else field.default_factory


def _pydantic_default(field: FieldInfo) -> Default:
    return None if field.is_required() else partial(field.get_default, call_default_factory=True)


def _has_default(attribute: ModelPrivateAttr) -> bool:
    return attribute.default_factory is not None or attribute.default is not PydanticUndefined


def _state(value: object) -> dict[str, object]:
    # What an instance carries: None, its __dict__, or a pair of that and its slots.
    state: object = object.__getstate__(value)
    parts = cast("Iterable[object]", state) if isinstance(state, tuple) else (state,)
    return {
        name: item for part in parts for name, item in cast("dict[str, object]", part or {}).items()
    }


def _attribute(value: object, name: str) -> object:
    try:
        return getattr(value, name)
    except AttributeError:
        raise faulty(at_key(name), "is not set") from None


@final
class ModelForm(RecordForm):
    """A pydantic model: its fields, extra and private members, and which fields were set."""

    tag = "model"
    tree_members: ClassVar = RecordForm.tree_members | {"x", "p", "s"}

    @property
    def _model(self) -> type[BaseModel]:
        return cast("type[BaseModel]", self.cls)

    @override
    def defaults(self) -> Mapping[str, Default]:
        return {name: _pydantic_default(field) for name, field in self._model.model_fields.items()}

    @override
    def fields(self, value: Any) -> dict[str, object]:
        state: dict[str, object] = {**vars(value)}
        names = self._model.model_fields
        _refuse_strays(self.cls, state.keys() - names.keys() - {_PRIVATE})
        for name in names:
            if name not in state:
                raise faulty(at_key(name), "is not set")
        return {name: state[name] for name in names}

    @override
    def members(self, value: Any, depth: int, encoders: Encoders) -> dict[str, Tree]:
        tree = super().members(value, depth, encoders)
        below = deeper(depth, _LEVELS)
        extra: dict[str, object] = {**(value.__pydantic_extra__ or {})}
        held: dict[str, object] = value.__pydantic_private__ or {}
        private = {name: held[name] for name in self._model.__private_attributes__ if name in held}
        if not only_texts(extra):
            raise Fault("has an extra member whose name is no text")
        if extra:
            tree["x"] = encode_members(extra, below, encoders, owner=value)
        if private:
            tree["p"] = encode_members(private, below, encoders, owner=value)
        if value.__pydantic_fields_set__ != {*self._model.model_fields, *extra}:
            tree["s"] = [checked(name) for name in sorted(value.__pydantic_fields_set__)]
        return tree

    @override
    def build(self, fields: dict[str, object]) -> object:
        value: object = object.__new__(self.cls)
        object.__setattr__(value, "__dict__", fields)
        return value

    @override
    def decode(self, tree: dict[str, Tree], depth: int, decoders: Decoders) -> object:
        value = super().decode(tree, depth, decoders)
        extra = self._extra(self.part("x", tree, depth, decoders) if "x" in tree else {})
        private = self._private(self.part("p", tree, depth, decoders) if "p" in tree else {})
        # A root model has no places for what it cannot have.
        if not issubclass(self.cls, RootModel):
            object.__setattr__(value, "__pydantic_extra__", extra)
            object.__setattr__(value, _PRIVATE, private)
        elif private is not None:
            object.__setattr__(value, _PRIVATE, private)
        object.__setattr__(value, "__pydantic_fields_set__", self._fields_set(tree, extra))
        return value

    def _extra(self, stored: dict[str, object]) -> dict[str, object] | None:
        if self._model.model_config.get("extra") == "allow":
            return stored
        for name in stored:
            raise faulty(at_key(name), "is stored, but the model allows no extra members now")
        return None

    def _private(self, stored: dict[str, object]) -> dict[str, object] | None:
        attributes = self._model.__private_attributes__
        unset = [
            name for name in attributes if name not in stored and not _has_default(attributes[name])
        ]
        makers = {name: attributes[name].get_default for name in attributes if name not in unset}
        private = completed(stored, makers)
        return private if attributes else None

    def _fields_set(self, tree: dict[str, Tree], extra: dict[str, object] | None) -> set[str]:
        stored = tree.get("s")
        if stored is None:
            return {*map(unescaped, cast("dict[str, Tree]", tree["v"])), *(extra or ())}
        if not isinstance(stored, list):
            raise self.malformed()
        names = {name for name in stored if isinstance(name, str)}
        if len(names) < len(stored):
            raise self.malformed()
        return names
