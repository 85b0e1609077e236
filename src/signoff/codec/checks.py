"""
Whether a value is what an annotation promises, as Python's type system would say (floor 2).

It goes by instance, with no conversion and none of the user's validators. What cannot be known
here passes: `Any`, names that do not resolve, protocols, types with a pydantic schema of their own.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any, Final, Literal, Union, cast, final, get_args, get_origin

import typing_extensions
from pydantic import BaseModel

from signoff.codec.annotations import (
    alias_in,
    alias_value,
    bare,
    generic_parts,
    hints,
    is_named_tuple,
    name_of,
    wrappers,
)
from signoff.codec.walk import ELEMENT, KEYS, at_any_key
from signoff.model.values import at_index, at_key


@final
@dataclass(frozen=True, slots=True)
class Mismatch:
    """
    A value that is not what its annotation promises.

    Attributes:
        path: Where, below the value that was looked at.
        expected: The type that is promised.
        found: The type that is there.
    """

    path: str
    expected: str
    found: str


Check = Callable[[Any], Mismatch | None]
"""Holds a value against one annotation, and returns the first place that does not fit."""

_UNIONS: Final = frozenset({Union, types.UnionType})
_CONTAINER_MODULES: Final = frozenset({"builtins", "collections", "collections.abc"})
_PAIR: Final = 2
_KEPT: Final = 512
_PROMOTIONS: Final[Mapping[type[object], tuple[type[object], ...]]] = {
    float: (float, int),
    complex: (complex, float, int),
}
"""Source: the typing specification, special cases for float and complex."""


def mismatch(value: object, annotation: object) -> Mismatch | None:
    """
    Return the first place where `value` is not what `annotation` promises, or None.

    Args:
        value: Any value.
        annotation: Any annotation, also one that is a text or names what does not exist.
    """
    return _check_for(annotation)(value)


def _check_for(annotation: object) -> Check:
    try:
        return _kept_check(annotation)
    except TypeError:
        # What cannot be hashed cannot be kept.
        return _make_check(annotation)


def _make_check(annotation: object) -> Check:
    alias = alias_in(annotation)
    if alias is not None:
        # Not at once: an alias may stand for what it is a part of.
        return lambda value: mismatch(value, alias_value(alias))
    annotation = bare(annotation)
    origin, args = get_origin(annotation), get_args(annotation)
    if origin in _UNIONS:
        return partial(_check_union, args)
    if origin is Literal:
        return partial(_check_literal, annotation, args)
    if isinstance(origin, type):
        return _both(_class_check(origin), _parts_check(annotation, origin, args))
    if isinstance(annotation, type) or annotation is None:
        return _class_check(type(None) if annotation is None else annotation)
    return _passes


_kept_check = lru_cache(maxsize=_KEPT)(_make_check)


def _passes(_value: object) -> None:
    return None


def _both(first: Check, second: Check) -> Check:
    return first if second is _passes else lambda value: first(value) or second(value)


def _wrong(value: object, annotation: object) -> Mismatch:
    return Mismatch("", name_of(annotation), name_of(type(value)))


def _under(segment: str, found: Mismatch | None) -> Mismatch | None:
    return found and replace(found, path=segment + found.path)


def _first(found: Iterable[Mismatch | None]) -> Mismatch | None:
    return next(filter(None, found), None)


def _check_union(choices: tuple[object, ...], value: object) -> Mismatch | None:
    wrong: list[Mismatch] = []
    for choice in choices:
        found = mismatch(value, choice)
        if found is None:
            return None
        wrong.append(found)
    # A choice that fits at the top says best what is wrong further down.
    inner = [found for found in wrong if found.path]
    expected = " or ".join(map(name_of, choices))
    return inner[0] if len(inner) == 1 else Mismatch("", expected, name_of(type(value)))


def _check_literal(
    annotation: object, choices: tuple[object, ...], value: object
) -> Mismatch | None:
    fits = any(type(value) is type(choice) and value == choice for choice in choices)
    return None if fits else _wrong(value, annotation)


def _class_check(cls: type[object]) -> Check:
    if cls is object or _is_opaque(cls):
        return _passes
    if typing_extensions.is_typeddict(cls):
        return partial(_check_typed_dict, cls)
    # `Box(...)` is a good `Box[int]` to a type checker, though not an instance of it.
    accepted = generic_parts(cls)[0] or _PROMOTIONS.get(cls, cls)
    return partial(_check_instance, cls, accepted)


def _is_opaque(cls: type[object]) -> bool:
    own_schema = hasattr(cls, "__get_pydantic_core_schema__") and not issubclass(cls, BaseModel)
    return own_schema or getattr(cls, "_is_protocol", False)


def _check_instance(cls: type[object], accepted: Any, value: object) -> Mismatch | None:
    if not isinstance(value, accepted):
        return _wrong(value, cls)
    kind: Any = type(value) if isinstance(value, cls) else cls
    fields = _field_checks(kind)
    return _first(_field_mismatches(value, fields)) if fields else None


def _field_mismatches(
    value: object, fields: Iterable[tuple[str, Check, object]]
) -> Iterator[Mismatch | None]:
    for name, check, default in fields:
        item = getattr(value, name)
        # `note: str = None` is wrong to a type checker, and common all the same.
        if item is not None or default is not None:
            yield _under(at_key(name), check(item))


def _make_field_checks(cls: type[object]) -> tuple[tuple[str, Check, object], ...]:
    return tuple(
        (name, _check_for(annotation), default) for name, annotation, default in _fields(cls)
    )


_field_checks = lru_cache(maxsize=_KEPT)(_make_field_checks)


def _fields(cls: Any) -> Iterator[tuple[str, object, object]]:
    """Yield name, annotation and default of each field of a class that has fields."""
    if issubclass(cls, BaseModel):
        for name, field in cls.model_fields.items():
            yield name, field.annotation, field.default
    elif defaults := _defaults(cls):
        known = hints(cls)
        for name, default in defaults.items():
            yield name, known.get(name, Any), default


def _defaults(cls: Any) -> dict[str, object]:
    if dataclasses.is_dataclass(cls):
        return {field.name: field.default for field in dataclasses.fields(cls)}
    if is_named_tuple(cls):
        return {name: cls._field_defaults.get(name, Any) for name in cls._fields}
    return {}


def _check_typed_dict(cls: Any, value: object) -> Mismatch | None:
    if not isinstance(value, dict):
        return _wrong(value, cls)
    return _first(_member_mismatches(cls, cast("dict[str, object]", value)))


def _member_mismatches(cls: Any, value: dict[str, object]) -> Iterator[Mismatch | None]:
    for name, annotation in _kept_hints(cls).items():
        if name in value:
            yield _under(at_key(name), mismatch(value[name], annotation))
        elif _is_required(cls, name, annotation):
            yield Mismatch(at_key(name), name_of(bare(annotation)), "nothing")


def _is_required(cls: Any, name: str, annotation: object) -> bool:
    # `__required_keys__` is wrong where the class statement saw its annotations as text.
    words = set(wrappers(annotation))
    if words & {typing_extensions.Required, typing_extensions.NotRequired}:
        return typing_extensions.Required in words
    return name in cls.__required_keys__


_kept_hints = lru_cache(maxsize=_KEPT)(hints)


def _parts_check(annotation: object, origin: type[object], args: tuple[object, ...]) -> Check:
    if origin.__module__ not in _CONTAINER_MODULES or not args:
        return _passes
    if origin is tuple:
        return _tuple_check(annotation, args)
    checks = [_check_for(arg) for arg in args]
    if all(check is _passes for check in checks):
        return _passes
    if len(checks) == _PAIR:
        return partial(_check_pairs, *checks)
    return partial(_check_items, checks[0]) if len(checks) == 1 else _passes


def _check_pairs(check_key: Check, check_item: Check, value: object) -> Mismatch | None:
    if not isinstance(value, dict):
        return None
    return _first(_pair_mismatches(check_key, check_item, cast("dict[object, object]", value)))


def _pair_mismatches(
    check_key: Check, check_item: Check, value: dict[object, object]
) -> Iterator[Mismatch | None]:
    for key, item in value.items():
        if (wrong := check_key(key)) is not None:
            yield _under(KEYS, wrong)
        if (wrong := check_item(item)) is not None:
            yield _under(at_any_key(key), wrong)


def _check_items(check: Check, value: object) -> Mismatch | None:
    if not isinstance(value, list | tuple | set | frozenset):
        return None
    ordered = isinstance(value, list | tuple)
    for at, item in enumerate(cast("Iterable[object]", value)):
        if (wrong := check(item)) is not None:
            return _under(at_index(at) if ordered else ELEMENT, wrong)
    return None


def _tuple_check(annotation: object, args: tuple[object, ...]) -> Check:
    if any(map(_is_unpacked, args)):
        return _passes
    checks = [_check_for(arg) for arg in args]
    if len(args) == _PAIR and args[1] is Ellipsis:
        return partial(_check_items, checks[0])
    return partial(_check_tuple, annotation, checks)


def _check_tuple(
    annotation: object, checks: list[Check], value: tuple[object, ...]
) -> Mismatch | None:
    if len(checks) != len(value):
        return Mismatch("", name_of(annotation), f"a tuple of {len(value)}")
    return _first(
        _under(at_index(at), check(item))
        for at, (check, item) in enumerate(zip(checks, value, strict=True))
    )


def _is_unpacked(arg: object) -> bool:
    return get_origin(arg) is typing.Unpack or getattr(arg, "__unpacked__", False)
