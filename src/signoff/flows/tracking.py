"""State objects that note which attempt at a step touches which of their fields (floor 6)."""

from __future__ import annotations

from collections.abc import Callable, Generator, ItemsView, Iterator, Mapping, ValuesView
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cache
from types import new_class
from typing import TYPE_CHECKING, Any, Final, Self, cast

from pydantic import BaseModel, create_model
from typing_extensions import override

from signoff.codec import codec
from signoff.flows.undo import MISSING, Value, taken_back

TRACKED: Final = "__signoff_tracked__"
"""What the subclasses have that note touches, and the users' models have not."""

_SCALARS: Final = (type(None), bool, int, float, complex, str, bytes)


@dataclass
class Touch:
    """
    That an attempt has touched a field, to read something mutable or to write.

    Attributes:
        order: The order among all first touches of the run.
        before: The value before.
        shared: Whether another attempt touched it after this one.
        after: What it was then; until then, what it is now is this attempt's doing.
    """

    order: int
    before: Value
    shared: bool = False
    after: Value = MISSING

    def taken_from(self, value: Value) -> Value:
        """Return a value, which was read after this touch, without what the attempt changed."""
        return taken_back(self.before, self.after if self.shared else value, value)


@dataclass(eq=False)
class Touches:
    """
    What one attempt has touched.

    Attributes:
        state: The state.
        on_touch: Told of each touch: by this attempt, of that field.
        fields: The first touch of each field.
    """

    state: object
    on_touch: Callable[[Touches, str], None]
    fields: dict[str, Touch] = field(default_factory=dict[str, Touch])

    @contextmanager
    def noted(self) -> Generator[None]:
        """Note what this block touches, and what it calls and begins."""
        token = _current.set(self)
        try:
            yield
        finally:
            _current.reset(token)


_current: ContextVar[Touches | None] = ContextVar("signoff_touches", default=None)


def _touch(state: object, name: str) -> None:
    touches = _current.get()
    if touches is not None and touches.state is state:
        touches.on_touch(touches, name)


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
    def __iter__(self) -> Iterator[str]:
        # As it is; only that it is defined makes `dict(state)` and `{**state}` use __getitem__.
        return super().__iter__()

    @override
    def get(self, key: str, default: object = None, /) -> object:
        try:
            return self[key]
        except KeyError:
            return default

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
        for key in reversed(self):
            return key, self.pop(key)
        return super().popitem()

    @override
    def clear(self) -> None:
        for key in list(self):
            del self[key]

    @override
    def update(self, *others: Any, **more: object) -> None:
        for key, value in dict[str, object](*others, **more).items():
            self[key] = value

    @override
    def copy(self) -> dict[str, object]:
        return dict(self)

    if TYPE_CHECKING:
        """As in dict, whose views have no public names."""
    else:

        def __ior__(self, other: Mapping[str, object]) -> Self:
            self.update(other)
            return self

        def values(self) -> ValuesView[object]:
            """Return what a dict does."""
            self._touch_mutable()
            return super().values()

        def items(self) -> ItemsView[str, object]:
            """Return what a dict does."""
            self._touch_mutable()
            return super().items()

    def _touch_mutable(self) -> None:
        for key in list(self.keys()):
            self.get(key)


codec.register_view(StateDict, dict)


@cache
def tracked(model: type[BaseModel]) -> type[BaseModel]:
    """Return a subclass of a user's model that notes touches, with an `id` when the model has none."""
    has_id = "id" in model.model_fields
    base = model if has_id else create_model(model.__name__, __base__=model, id=(str, ""))
    known = frozenset(base.model_fields)
    open_ended = model.model_config.get("extra") == "allow"

    def get(state: BaseModel, name: str) -> object:
        try:
            value = base.__getattribute__(state, name)
        except AttributeError:
            if open_ended:
                # Perhaps a value beyond the fields, which pydantic finds next.
                _touch(state, name)
            raise
        if name in known and not isinstance(value, _SCALARS):
            _touch(state, name)
        return value

    def put(state: BaseModel, name: str, value: object) -> None:
        if name in known or (open_ended and not name.startswith("_")):
            _touch(state, name)
        base.__setattr__(state, name, value)

    def same(state: BaseModel, other: object) -> bool:
        return isinstance(other, model) and dict(state) == {**dict(state), **dict(other)}

    def fill(namespace: dict[str, object]) -> None:
        namespace |= {
            "__module__": model.__module__,
            "__qualname__": model.__qualname__,
            "__doc__": model.__doc__,
            TRACKED: True,
            "__getattribute__": get,
            "__setattr__": put,
            "__eq__": same,
            "__hash__": None,
        }

    config = {"populate_by_name": True, "extra": "allow" if open_ended else "ignore"}
    made = cast("type[BaseModel]", new_class(model.__name__, (base,), config, fill))
    codec.register_view(made, lambda state: made_of(model, dict(state)))
    return made


def made_of(model: type[BaseModel], values: Mapping[str, object]) -> BaseModel:
    """Return an instance with these values by field name, aliases or not; nothing is checked."""
    made = model.model_construct(set(values))
    for name, value in values.items():
        if name in model.model_fields or made.__pydantic_extra__ is not None:
            home_of(made, name)[name] = value
    return made


def home_of(state: StateDict | BaseModel, name: str) -> dict[str, object]:
    """Return the dict in which a state keeps a field."""
    if isinstance(state, StateDict):
        return state
    if name in type(state).model_fields:
        return cast("dict[str, object]", state.__dict__)
    return cast("dict[str, object]", state.__pydantic_extra__)
