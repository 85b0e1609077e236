"""
Values that are stored as one text: Decimal, date, timedelta, UUID, bytes (floor 0, pure).

Writing and reading them back is exact. Reading accepts what Python's own types accept; whoever
wants only the one stored spelling writes the value again and compares.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, Final, final
from uuid import UUID

_DURATION: Final = re.compile(
    r"(?:(?P<days>-?[0-9]{1,9}) days?, )?"
    r"(?P<hours>[0-9]{1,2}):(?P<minutes>[0-5][0-9]):(?P<seconds>[0-5][0-9])"
    r"(?:\.(?P<microseconds>[0-9]{6}))?"
)


@final
@dataclass(frozen=True, slots=True)
class TextForm:
    """
    How one type is written as text.

    Attributes:
        tag: The tag of its trees.
        cls: The type itself; a subclass is another type.
        write: From a value to its text; ValueError for a value that has none.
        parse: From a text to the value; ValueError for a text that is none.
    """

    tag: str
    cls: type
    write: Callable[[Any], str]
    parse: Callable[[str], object]


def _write_decimal(value: Decimal) -> str:
    if not value.is_finite():
        raise ValueError(
            f"{'an infinite Decimal' if value.is_infinite() else 'a NaN'} cannot be stored"
        )
    return str(value)


def _parse_decimal(text: str) -> Decimal:
    try:
        value = Decimal(text)
    except InvalidOperation as error:
        raise ValueError(f"{text!r} is no decimal number") from error
    _write_decimal(value)
    return value


def _parse_duration(text: str) -> timedelta:
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no duration like '1 day, 2:30:00'")
    try:
        return timedelta(**{unit: int(number) for unit, number in match.groupdict("0").items()})
    except OverflowError as error:
        raise ValueError(f"{text!r} is too long a duration") from error


def _write_bytes(value: bytes | bytearray) -> str:
    return base64.b64encode(value).decode("ascii")


def _parse_bytes(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def _parse_bytearray(text: str) -> bytearray:
    return bytearray(_parse_bytes(text))


TEXT_FORMS: Final = {
    form.tag: form
    for form in (
        TextForm("decimal", Decimal, _write_decimal, _parse_decimal),
        TextForm("date", date, date.isoformat, date.fromisoformat),
        TextForm("timedelta", timedelta, str, _parse_duration),
        TextForm("uuid", UUID, str, UUID),
        TextForm("bytes", bytes, _write_bytes, _parse_bytes),
        TextForm("bytearray", bytearray, _write_bytes, _parse_bytearray),
    )
}
"""The forms by tag."""
