from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signoff.mail.headers import MAX_HEADER_CHARS, fields, parameters, unfolded


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a", "a"),
        ("a\r\n b\n\tc", "a b\tc"),
        ("a\r\n", "a"),
        ("a\tb", "a\tb"),
        ("\u00e4\udcff", "\u00e4\udcff"),
        ("x" * MAX_HEADER_CHARS, "x" * MAX_HEADER_CHARS),
    ],
)
def test_a_folded_value_becomes_one_line(value: str, expected: str) -> None:
    """Only the line breaks go, and only those before a blank."""
    assert unfolded(value) == expected


@pytest.mark.parametrize(
    "value", ["a\nb", "a\r\nb", "a\rb", "a\x00b", "a\x1fb", "a\x7fb", "a\x0bb"]
)
def test_a_control_character_makes_a_value_unfit(value: str) -> None:
    """A line break that folds nothing could begin another header elsewhere."""
    with pytest.raises(ValueError, match="^a header value holds a control character$"):
        unfolded(value)


def test_a_value_of_more_than_16_kib_is_unfit() -> None:
    """The limit keeps hostile values cheap."""
    with pytest.raises(ValueError, match="^a header value is too long$"):
        unfolded("x" * (MAX_HEADER_CHARS + 1))


@pytest.mark.parametrize(
    ("value", "parts"),
    [
        ("a; b;c", ["a", " b", "c"]),
        ("a (x; y) b; c", ["a   b", " c"]),
        ("a (x (y; z) ;) b", ["a   b"]),
        ("a (x \\) ; y) b", ["a   b"]),
        ('a (" ; ) b; c', ["a   b", " c"]),
        ("", [""]),
        (";;", ["", "", ""]),
    ],
)
def test_a_value_is_cut_at_semicolons_outside_comments(value: str, parts: list[str]) -> None:
    """A comment is a blank, however it nests and whatever it escapes; quotes in it mean nothing."""
    assert list(fields(value).parts) == parts


def test_quoted_strings_are_kept_apart() -> None:
    """What stands in quotes parts nothing, and comes back without its backslashes."""
    read = fields('a="x; (y" ; b="\\"z\\\\"; c')

    assert len(read.parts) == 3
    assert read.quoted == ("x; (y", '"z\\')
    assert [read.text(part.strip()[2:]) for part in read.parts[:2]] == ["x; (y", '"z\\']
    assert read.text("plain") == "plain"
    assert read.text(read.parts[0].strip()[2:] + "x") is None


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ('a="x; b', "^a quoted string has no end$"),
        ('"', "^a quoted string has no end$"),
        ('"\\"', "^a quoted string has no end$"),
        ("a (b", "^a comment has no end$"),
        ("a (b (c)", "^a comment has no end$"),
        ("a (b\\)", "^a comment has no end$"),
        ("a (b\\", "^a comment has no end$"),
        ("a ) b", "stands alone$"),
        ("a \\; b", "stands alone$"),
        ("a\nb", "control character$"),
    ],
)
def test_what_has_no_end_is_unfit(value: str, message: str) -> None:
    """Two readers could see two different ends, so there is none."""
    with pytest.raises(ValueError, match=message):
        fields(value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("text/plain", ("text/plain", {})),
        ("", ("", {})),
        ("TEXT/Plain ; CharSet=UTF-8", ("text/plain", {"charset": "UTF-8"})),
        ('a/b; name="x; y.txt"', ("a/b", {"name": "x; y.txt"})),
        ("a/b; x=1; x=2", ("a/b", {"x": "1"})),
        ("a/b; filename*0*=UTF-8''x; filename*1=y", ("a/b", {"filename": "UTF-8''x"})),
        ("a/b (comment); x = 1 (one)", ("a/b", {"x": "1"})),
        ('a/b; junk; =1; x; y="a"b; z=a=b; two words=1', ("a/b", {"z": "a=b"})),
        ("no (manual)", ("no", {})),
    ],
)
def test_parameters_of_a_mime_header(value: str, expected: tuple[str, dict[str, str]]) -> None:
    """Names are lower-case, the first of two counts, and what is no parameter is passed over."""
    assert parameters(value) == expected


@given(st.text(alphabet='a;="()\\ \t*\x00\n', max_size=60))
def test_any_value_is_read_or_unfit(value: str) -> None:
    """Nothing but `ValueError` comes out."""
    try:
        read = fields(value)
    except ValueError:
        return

    assert len(read.parts) <= value.count(";") + 1
    parameters(value)
