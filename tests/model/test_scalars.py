"""Values that are one text: each has one spelling, and reads back exactly."""

from __future__ import annotations

import re
from datetime import date, timedelta
from decimal import Decimal
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signoff.model.scalars import TEXT_FORMS


@pytest.mark.parametrize(
    ("tag", "value", "text"),
    [
        ("decimal", Decimal("1.50"), "1.50"),
        ("decimal", Decimal("-0E+7"), "-0E+7"),
        ("date", date(2024, 2, 29), "2024-02-29"),
        ("timedelta", timedelta(0), "0:00:00"),
        ("timedelta", timedelta(days=1, microseconds=5), "1 day, 0:00:00.000005"),
        ("timedelta", timedelta(days=-2, hours=3), "-2 days, 3:00:00"),
        (
            "uuid",
            UUID("12345678-1234-5678-1234-567812345678"),
            "12345678-1234-5678-1234-567812345678",
        ),
        ("bytes", b"\0\xff", "AP8="),
        ("bytearray", bytearray(b"\0\xff"), "AP8="),
    ],
)
def test_a_value_has_one_text_and_is_read_from_it(tag: str, value: object, text: str) -> None:
    """The form of each tag writes and reads values of its type."""
    form = TEXT_FORMS[tag]

    assert form.tag == tag
    assert form.cls is type(value)
    assert form.write(value) == text
    assert form.parse(text) == value
    assert type(form.parse(text)) is form.cls


@given(value=st.timedeltas())
def test_every_duration_is_read_back(value: timedelta) -> None:
    """To the microsecond, from the shortest to the longest."""
    form = TEXT_FORMS["timedelta"]

    assert form.parse(form.write(value)) == value


@pytest.mark.parametrize(
    ("tag", "text", "message"),
    [
        ("decimal", "one", "'one' is no decimal number"),
        ("decimal", "NaN", "a NaN cannot be stored"),
        ("decimal", "-sNaN", "a NaN cannot be stored"),
        ("decimal", "-Infinity", "an infinite Decimal cannot be stored"),
        ("timedelta", "1:00", "'1:00' is no duration like '1 day, 2:30:00'"),
        ("timedelta", "1 day 1:00:00", "'1 day 1:00:00' is no duration like '1 day, 2:30:00'"),
        ("timedelta", "1:60:00", "'1:60:00' is no duration like '1 day, 2:30:00'"),
        ("timedelta", "1:00:00.5", "'1:00:00.5' is no duration like '1 day, 2:30:00'"),
        (
            "timedelta",
            "999999999 days, 24:00:00",
            "'999999999 days, 24:00:00' is too long a duration",
        ),
    ],
)
def test_what_is_no_such_value_is_a_value_error(tag: str, text: str, message: str) -> None:
    """The message is fit for a person."""
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        TEXT_FORMS[tag].parse(text)


@pytest.mark.parametrize(
    ("tag", "text"),
    [("date", "today"), ("uuid", "1"), ("bytes", "A"), ("bytes", "ä"), ("bytearray", "*")],
)
def test_what_python_itself_refuses_is_a_value_error_too(tag: str, text: str) -> None:
    """Whatever its message."""
    with pytest.raises(ValueError, match="."):
        TEXT_FORMS[tag].parse(text)
