"""Which types the codec stores under which names (floor 2)."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Sequence
from enum import Enum, Flag
from typing import Final, final

from pydantic import BaseModel, RootModel

from signoff.codec.annotations import generic_parts, is_named_tuple
from signoff.codec.forms import EnumForm, FlagForm, Form, SubclassForm, is_subclass_of_builtin
from signoff.codec.records import DataclassForm, ModelForm, NamedTupleForm
from signoff.errors import ConfigurationError

_ROOTS: Final[tuple[type[object], ...]] = (BaseModel, RootModel)


def form_type(cls: type[object]) -> type[Form] | None:
    """Return how values of a class would be stored under a name; None where they cannot."""
    if issubclass(cls, Enum):
        return FlagForm if issubclass(cls, Flag) else EnumForm
    if issubclass(cls, BaseModel):
        return None if cls in _ROOTS else ModelForm
    if dataclasses.is_dataclass(cls):
        return DataclassForm if _is_made_of_its_fields(cls) else None
    if is_named_tuple(cls):
        return NamedTupleForm
    return SubclassForm if is_subclass_of_builtin(cls) else None


def _is_made_of_its_fields(cls: type[object]) -> bool:
    try:
        object.__new__(cls)
    except TypeError:
        # An exception, a list or the like holds more than its fields; an abstract class, nothing.
        return False
    return True


def default_name(cls: type[object]) -> str:
    """Return the stored name of a class that has no other: ``module:qualname``, generics with their arguments."""
    origin, args = generic_parts(cls)
    if origin is None:
        return f"{cls.__module__}:{cls.__qualname__}"
    names = [default_name(arg) if isinstance(arg, type) else str(arg) for arg in args]
    return f"{default_name(origin)}[{', '.join(names)}]"


@final
class Registry:
    """
    The registered types by class and by name; the codec's register method says how they change.

    Reading takes no lock: each step of a change leaves both tables fit for reading.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_type: dict[type[object], Form] = {}
        self._by_name: dict[str, Form] = {}

    def by_type(self, cls: type[object]) -> Form | None:
        """Return how a class is stored, if it is registered."""
        return self._by_type.get(cls)

    def by_name(self, name: str) -> Form | None:
        """Return the type that a stored name or alias stands for, if it is registered."""
        return self._by_name.get(name)

    def register(
        self, cls: type[object], *, name: str | None = None, aliases: Sequence[str] = ()
    ) -> None:
        """Enter a class under its name and aliases."""
        make = form_type(cls)
        if make is None:
            raise ConfigurationError(
                f"{cls.__module__}.{cls.__qualname__} cannot be stored: only pydantic models,"
                " dataclasses, enums, named tuples and subclasses of built-in types can"
            )
        with self._lock:
            known = self._by_type.get(cls)
            form = self._form(known, cls, name) or make(cls, name or default_name(cls))
            names = [form.name, *aliases]
            replaced = self._replaced(cls, names)
            former = [at for at, held in self._by_name.items() if held is known or held in replaced]
            for old in replaced:
                self._by_type.pop(old.cls, None)
            self._by_type[cls] = form
            self._by_name.update(dict.fromkeys([*former, *names], form))

    def _form(self, known: Form | None, cls: type[object], name: str | None) -> Form | None:
        if known is None or name in {None, known.name}:
            return known
        if known.name != default_name(cls):
            raise ConfigurationError(
                f"{default_name(cls)} is stored as {known.name!r} and cannot be {name!r} too;"
                " give one of them as an alias"
            )
        return None

    def _replaced(self, cls: type[object], names: Sequence[str]) -> list[Form]:
        """Return the forms of classes that were defined before at the same place as `cls`."""
        held = [form for name in names if (form := self._by_name.get(name)) is not None]
        others = [form for form in held if form.cls is not cls]
        for form in others:
            if default_name(form.cls) != default_name(cls):
                raise ConfigurationError(
                    f"{default_name(cls)} cannot be stored as {form.name!r}:"
                    f" that is {default_name(form.cls)}"
                )
        return others
