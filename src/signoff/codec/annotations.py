"""What stands in annotations: the types that they name, and what wraps them (floor 2)."""

from __future__ import annotations

import dataclasses
import inspect
import sys
import typing
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, Literal, NewType, TypeVar, cast, get_args, get_origin

import typing_extensions
from pydantic import BaseModel, RootModel

_WRAPPERS: Final = frozenset(
    {
        typing.Annotated,
        typing.ClassVar,
        typing.Final,
        typing_extensions.NotRequired,
        typing_extensions.ReadOnly,
        typing_extensions.Required,
    }
)
"""What says something about a type and leaves it as it is: it stands first in the brackets."""

_WITHOUT_FIELDS: Final[tuple[type[object], ...]] = (BaseModel, RootModel)
"""What pydantic annotates on these is its own."""

_ALIASES: Final = (
    typing_extensions.TypeAliasType,
    # The statement `type X = ...` makes one of another class on some versions of Python.
    getattr(typing, "TypeAliasType", typing_extensions.TypeAliasType),
)


def types_in(annotation: object) -> list[type[object]]:
    """Return every class that an annotation names, in it or in the fields of what it names."""
    found: dict[type[object], None] = {}
    aliases: list[object] = []
    todo = [annotation]
    while todo:
        current = todo.pop()
        if isinstance(current, _ALIASES):
            if current not in aliases:
                aliases.append(current)
                todo.append(alias_value(current))
        elif get_origin(current) is None and isinstance(current, type):
            if current not in found:
                found[current] = None
                todo += _named_by_class(current)
        else:
            todo += _named_by(current)
    return [*found]


def _named_by(annotation: object) -> Iterable[object]:
    if isinstance(annotation, list):
        return cast("list[object]", annotation)
    if isinstance(annotation, NewType):
        return [annotation.__supertype__]
    if isinstance(annotation, TypeVar):
        return [annotation.__bound__, *annotation.__constraints__]
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is typing.Annotated:
        return args[:1]
    if origin is Literal:
        return map(type, args)
    return [origin, *args] if origin is not None else ()


def _named_by_class(cls: type[object]) -> Iterator[object]:
    if issubclass(cls, BaseModel):
        origin, args = generic_parts(cls)
        yield from (origin, *args)
        yield from (field.annotation for field in cls.model_fields.values())
    if has_fields(cls):
        yield from hints(cls).values()


def generic_parts(cls: type[object]) -> tuple[type[object] | None, tuple[object, ...]]:
    """Return what ``Box[int]``, a model, is made of: ``Box`` and ``(int,)``; None and nothing for other classes."""
    metadata = getattr(cls, "__pydantic_generic_metadata__", None)
    return (metadata["origin"], metadata["args"]) if metadata else (None, ())


def has_fields(cls: type[object]) -> bool:
    """Return whether a class has fields that its annotations name."""
    return (
        dataclasses.is_dataclass(cls)
        or issubclass(cls, BaseModel)
        or typing_extensions.is_typeddict(cls)
        or is_named_tuple(cls)
    )


def is_named_tuple(cls: type[object]) -> bool:
    """Return whether a class was made by `NamedTuple` or `namedtuple`."""
    return tuple in cls.__mro__ and hasattr(cls, "_fields")


def alias_value(alias: Any) -> object:
    """Return what a type alias stands for; `Any` where that does not resolve."""
    try:
        return _resolved(alias.__value__, alias, {})
    except NameError:
        return Any


def hints(cls: type[object]) -> dict[str, object]:
    """Return the annotations of a class and its bases by name, `Any` for those that do not resolve."""
    return {
        name: _resolved(annotation, base, vars(base))
        for base in reversed(cls.__mro__)
        if base not in _WITHOUT_FIELDS
        for name, annotation in inspect.get_annotations(base).items()
    }


def _resolved(annotation: object, owner: Any, names: Mapping[str, object]) -> object:
    module = sys.modules.get(owner.__module__)
    alone = type("Alone", (), {"__annotations__": {"it": annotation}})
    known = vars(module) if module is not None else {}
    try:
        return typing.get_type_hints(alone, known, {**names}, include_extras=True)["it"]
    except Exception:  # noqa: BLE001 - an annotation is code, which may raise anything
        return Any


def bare(annotation: object) -> object:
    """Return an annotation without what says something about a type and leaves it as it is."""
    while True:
        if get_origin(annotation) in _WRAPPERS:
            annotation = get_args(annotation)[0]
        elif isinstance(annotation, NewType):
            annotation = annotation.__supertype__
        elif isinstance(annotation, TypeVar):
            annotation = object if annotation.__bound__ is None else annotation.__bound__
        else:
            return object if annotation is Any else annotation


def wrappers(annotation: object) -> Iterator[object]:
    """Yield what an annotation says about a type from outside: `Required`, `ReadOnly`."""
    while (origin := get_origin(annotation)) in _WRAPPERS:
        yield origin
        annotation = get_args(annotation)[0]


def alias_in(annotation: object) -> object:
    """Return the type alias that an annotation is, or is made of; None where it is none."""
    for candidate in (annotation, get_origin(annotation)):
        if isinstance(candidate, _ALIASES):
            return candidate
    return None


def name_of(annotation: object) -> str:
    """Return an annotation as a programmer would write it."""
    if get_origin(annotation) is not None or not isinstance(annotation, type):
        return str(annotation).replace("typing.", "")
    if annotation.__module__ == "builtins":
        return annotation.__qualname__
    return f"{annotation.__module__}.{annotation.__qualname__}"
