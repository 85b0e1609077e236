"""
A run's shared state, and which step changed what (floor 6).

All steps of a run share one state object. A step that suspends is run again from its beginning,
so what it had changed is taken back first; what its siblings changed stays. For that, each
attempt's first touch of a field keeps the value from before.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final, Self, cast

from pydantic import BaseModel, ValidationError
from typing_extensions import override

from signoff.codec import Codec
from signoff.errors import CodecError
from signoff.model.values import Tree

State = dict[str, object] | BaseModel

_MISSING: Final = object()
_SCALARS: Final = (type(None), bool, int, float, complex, str, bytes)


@dataclass(slots=True, eq=False)
class Touches:
    """
    What one attempt has touched.

    Attributes:
        before: Each touched field's value at the first touch, encoded; missing ones are marked.
        foreign: Those of them that another attempt touched since, so that nobody can tell
            any more whose the changes are: they stay.
    """

    box: StateBox
    before: dict[str, object] = field(default_factory=dict[str, object])
    foreign: set[str] = field(default_factory=set[str])

    def own(self) -> dict[str, object]:
        """Return the values to go back to."""
        return {name: old for name, old in self.before.items() if name not in self.foreign}


_current: ContextVar[Touches | None] = ContextVar("signoff_touches", default=None)


def _touch(state: object, name: str) -> None:
    touches = _current.get()
    if touches is not None and touches.box.value is state:
        touches.box.touch(touches, name)


class StateDict(dict[str, object]):
    """A dict state; the same as a dict to its user."""

    @override
    def __getitem__(self, key: str) -> object:
        value = super().__getitem__(key)
        if not isinstance(value, _SCALARS):
            _touch(self, key)
        return value

    @override
    def __setitem__(self, key: str, value: object) -> None:
        _touch(self, key)
        super().__setitem__(key, value)

    @override
    def __delitem__(self, key: str) -> None:
        _touch(self, key)
        super().__delitem__(key)

    @override
    def get(self, key: str, default: object = None, /) -> object:
        return self[key] if key in self else default

    @override
    def setdefault(self, key: str, default: object = None, /) -> object:
        if key not in self:
            self[key] = default
        return self[key]

    @override
    def pop(self, key: str, *default: object) -> object:
        _touch(self, key)
        return super().pop(key, *default)

    @override
    def popitem(self) -> tuple[str, object]:
        _touch(self, next(reversed(self), ""))
        return super().popitem()

    @override
    def clear(self) -> None:
        for key in list(self):
            _touch(self, key)
        super().clear()

    @override
    def update(self, *others: Any, **more: object) -> None:
        for key, value in dict[str, object](*others, **more).items():
            self[key] = value

    @override
    def __ior__(self, other: Any) -> Self:  # type: ignore[override,misc] - dict has two overloads
        self.update(other)
        return self

    @override
    def values(self) -> Any:
        self._touch_mutable()
        return super().values()

    @override
    def items(self) -> Any:
        self._touch_mutable()
        return super().items()

    def _touch_mutable(self) -> None:
        for key in list(self):
            self[key]


@cache
def tracked(model: type[BaseModel]) -> type[BaseModel]:
    """Return a subclass of a user's model that notes touches, with an `id` when the model has none."""
    fields = frozenset(model.model_fields)

    def get(self: BaseModel, name: str) -> object:
        value = super(made, self).__getattribute__(name)
        if name in fields and not isinstance(value, _SCALARS):
            _touch(self, name)
        return value

    def put(self: BaseModel, name: str, value: object) -> None:
        _touch(self, name)
        super(made, self).__setattr__(name, value)

    def same(self: BaseModel, other: object) -> bool:
        return isinstance(other, model) and dict(self) == {**dict(self), **dict(other)}

    namespace: dict[str, object] = {
        "__module__": model.__module__,
        "__qualname__": model.__qualname__,
        "__doc__": model.__doc__,
        "__getattribute__": get,
        "__setattr__": put,
        "__eq__": same,
        "__hash__": None,
    }
    if "id" not in fields:
        namespace |= {"__annotations__": {"id": str}, "id": ""}
    made = cast("type[BaseModel]", type(model)(model.__name__, (model,), namespace))
    return made


class StateBox:
    """The live state of one run in this process."""

    def __init__(self, codec: Codec, model: type[BaseModel] | None) -> None:
        self._codec = codec
        self._model = tracked(model) if model else None
        self._lock = threading.RLock()
        self._active: list[Touches] = []
        self.value: State = StateDict()

    def begin(self, initial: Mapping[str, object], inputs: Mapping[str, object], *, id_: str) -> None:
        """
        Make a fresh state from initial values and a run's inputs.

        Raises:
            ValueError: An input does not fit; the message names the field.
        """
        values = {**initial, **inputs}
        values["id"] = values.get("id") or id_
        if self._model is None:
            self.value = StateDict(values)
            return
        known = {
            name: value for name, value in values.items() if name in self._model.model_fields
        }
        try:
            self.value = self._model.model_validate(known)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"])
            raise ValueError(f"state field {place!r}: {first['msg']}") from error

    def load(self, tree: Mapping[str, Tree]) -> None:
        """
        Take the state from a checkpoint.

        Raises:
            CodecError: A value, a field or a type does not fit the code any more; it says which.
        """
        values = {name: self._load_field(name, each) for name, each in tree.items()}
        if self._model is None:
            self.value = StateDict(values)
            return
        missing = [
            name
            for name, info in self._model.model_fields.items()
            if info.is_required() and name not in values
        ]
        if missing:
            raise CodecError("the state has no value for it", path=f"state.{missing[0]}")
        self.value = self._model.model_construct(None, **values)

    def dump(self, *, finishing: Touches | None = None) -> dict[str, Tree]:
        """
        Return the state to store: without what attempts that still run have changed.

        Args:
            finishing: The attempt that has just ended well, whose changes count.

        Raises:
            CodecError: A value cannot be stored.
        """
        with self._lock:
            unfinished: dict[str, object] = {}
            for touches in self._active:
                if touches is not finishing:
                    unfinished |= touches.own()
            live = {name: value for name, value in self._fields() if name not in unfinished}
            tree = {
                name: self._codec.to_tree(value, path=f"state.{name}")
                for name, value in live.items()
            }
            return tree | {
                name: cast("Tree", old) for name, old in unfinished.items() if old is not _MISSING
            }

    def plain(self) -> dict[str, object]:
        """Return the fields of the live state by name."""
        with self._lock:
            return dict(self._fields())

    @contextmanager
    def attempt(self) -> Iterator[Touches]:
        """Note what this block touches."""
        touches = Touches(box=self)
        with self._lock:
            self._active.append(touches)
        token = _current.set(touches)
        try:
            yield touches
        finally:
            _current.reset(token)

    def settle(self, touches: Touches, *, keep: bool) -> None:
        """End an attempt's notes: keep what it changed, or take it back."""
        with self._lock:
            self._active.remove(touches)
            if keep:
                return
            for name, old in touches.own().items():
                self._put(name, old)

    def touch(self, touches: Touches, name: str) -> None:
        """Note that an attempt reads or writes a field."""
        with self._lock:
            if name not in touches.before:
                touches.before[name] = self._encoded(name)
            for other in self._active:
                if other is not touches and name in other.before:
                    other.foreign.add(name)

    def _fields(self) -> list[tuple[str, object]]:
        if isinstance(self.value, BaseModel):
            return list(self.value.__dict__.items()) + list((self.value.__pydantic_extra__ or {}).items())
        return [(name, dict.__getitem__(self.value, name)) for name in list(self.value)]

    def _encoded(self, name: str) -> object:
        fields = dict(self._fields())
        return self._codec.to_tree(fields[name], path=f"state.{name}") if name in fields else _MISSING

    def _put(self, name: str, old: object) -> None:
        if isinstance(self.value, BaseModel):
            self.value.__dict__[name] = self._codec.from_tree(cast("Tree", old), path=f"state.{name}")
        elif old is _MISSING:
            dict.pop(self.value, name, None)
        else:
            dict.__setitem__(self.value, name, self._codec.from_tree(cast("Tree", old), path=name))

    def _load_field(self, name: str, tree: Tree) -> object:
        path = f"state.{name}"
        if self._model is None:
            return self._codec.from_tree(tree, path=path)
        info = self._model.model_fields.get(name)
        if info is None:
            raise CodecError("the state model has no such field any more", path=path)
        return self._codec.from_tree(tree, info.annotation, path=path)
