"""What a reader could not see is made visible, and nothing else is touched."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from signoff.model.visible import visible

HIDDEN = [
    "\0",
    "\x07",
    "\x08",
    "\x0b",
    "\x0c",
    "\x1b",
    "\x7f",
    "\x85",
    "\x9b",
    "\u00ad",
    "\u034f",
    "\u061c",
    "\u115f",
    "\u1160",
    "\u17b4",
    "\u17b5",
    "\u180b",
    "\u180c",
    "\u180d",
    "\u180e",
    "\u180f",
    "\u200b",
    "\u200c",
    "\u200d",
    "\u200e",
    "\u200f",
    "\u2028",
    "\u2029",
    "\u202a",
    "\u202b",
    "\u202c",
    "\u202d",
    "\u202e",
    "\u2060",
    "\u2064",
    "\u2065",
    "\u2066",
    "\u2067",
    "\u2068",
    "\u2069",
    "\u206f",
    "\u2800",
    "\u3164",
    "\ud800",
    "\udfff",
    "\ue000",
    "\ufe00",
    "\ufe0e",
    "\ufe0f",
    "\ufeff",
    "\uffa0",
    "\ufff9",
    "\uffff",
    "\U0001d159",
    "\U0001d173",
    "\U000e0001",
    "\U000e0041",
    "\U000e007f",
    "\U000e0100",
    "\U000e01ef",
    "\U000f0000",
    "\U0010ffff",
]
SEEN = ["\u034e", "\u0350", "\u115e", "\u1161", "\u17b3", "\u17b6", "\u2801", "\ufe10", "\uff9f"]


@pytest.mark.parametrize("character", HIDDEN, ids=ascii)
@pytest.mark.parametrize("keep_newlines", [True, False])
def test_each_hidden_character_becomes_a_mark(character: str, keep_newlines: bool) -> None:
    """Controls, direction marks, fillers, selectors, tags, private and unassigned ones."""
    mark = f"⟨U+{ord(character):04X}⟩"

    assert visible(f"a{character}b{character}", keep_newlines=keep_newlines) == f"a{mark}b{mark}"


@pytest.mark.parametrize("character", SEEN, ids=ascii)
def test_the_neighbours_of_hidden_characters_stay(character: str) -> None:
    """The ranges end where they should."""
    assert visible(character, keep_newlines=False) == character


@pytest.mark.parametrize(
    "text",
    [
        "",
        "plain text, ~ and all",
        "Grüße, 価格 € 1 234,50 – naïve",
        "שלום",
        "مرحبا",
        "e\u0301",
        "no-break\u00a0space",
    ],
)
def test_what_is_seen_stays_as_it_is(text: str) -> None:
    """Any language is text."""
    assert visible(text, keep_newlines=False) == text


def test_line_breaks_and_tabs_are_kept_on_demand() -> None:
    """In one line they are marks; a carriage return alone is one always."""
    text = "a\r\nb\tc\nd\re"

    assert visible(text, keep_newlines=True) == "a\nb\tc\nd⟨U+000D⟩e"
    assert visible(text, keep_newlines=False) == ("a⟨U+000D⟩⟨U+000A⟩b⟨U+0009⟩c⟨U+000A⟩d⟨U+000D⟩e")


@pytest.mark.parametrize(
    "emoji",
    [
        "\u2764\ufe0f",
        "\u00a9\ufe0f",
        "1\ufe0f\u20e3",
        "#\ufe0f\u20e3",
        "\U0001f468\u200d\U0001f469\u200d\U0001f467",
        "\U0001f3f3\ufe0f\u200d\U0001f308",
        "\U0001f9d1\U0001f3fd\u200d\U0001f4bb",
        "\U0001f1e9\U0001f1ea",
    ],
    ids=ascii,
)
def test_an_emoji_keeps_its_joiners_and_style(emoji: str) -> None:
    """A family, a flag, a keycap: they are one picture each."""
    assert visible(f"a{emoji}b", keep_newlines=False) == f"a{emoji}b"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\u200db", "a⟨U+200D⟩b"),
        ("\U0001f468\u200d", "\U0001f468⟨U+200D⟩"),
        ("\U0001f468\u200da", "\U0001f468⟨U+200D⟩a"),
        ("a\ufe0f", "a⟨U+FE0F⟩"),
        ("1\ufe0f", "1⟨U+FE0F⟩"),
        ("\u2764\ufe0f\ufe0f", "\u2764\ufe0f⟨U+FE0F⟩"),
        ("\U0001f3f4\U000e0067\U000e007f", "\U0001f3f4⟨U+E0067⟩⟨U+E007F⟩"),
        ("\u2800\ufe0f", "⟨U+2800⟩⟨U+FE0F⟩"),
    ],
    ids=ascii,
)
def test_joiners_and_styles_elsewhere_are_marks(text: str, shown: str) -> None:
    """Where they belong to no picture they could only carry a hidden message."""
    assert visible(text, keep_newlines=False) == shown


@settings(max_examples=200)
@given(text=st.text(st.characters(), max_size=30), keep_newlines=st.booleans())
def test_nothing_hidden_is_left_and_nothing_is_lost(text: str, keep_newlines: bool) -> None:
    """Undoing the marks gives the text back, and all that is left can be seen."""
    shown = visible(text, keep_newlines=keep_newlines)

    kept = {"\n", "\t"} if keep_newlines else set()
    hidden = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
    left = {character for character in shown if unicodedata.category(character) in hidden}
    assert left <= kept | {"\u200d"}
    marks = {
        f"⟨U+{ord(character):04X}⟩": character
        for character in text
        if character not in shown or character not in kept
    }
    for mark, character in marks.items():
        shown = shown.replace(mark, character)
    assert shown == (text.replace("\r\n", "\n") if keep_newlines else text)
