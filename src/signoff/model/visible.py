"""
Text made safe to look at: what a reader could not see becomes visible (floor 0, pure).

Invisible, control and direction-changing characters let a text look like another one. Here each
becomes a mark such as ``⟨U+202E⟩``; what remains is what the reader sees.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

_HIDDEN_CATEGORIES: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})

# Source: DerivedCoreProperties.txt of Unicode, Default_Ignorable_Code_Point, as far as the
# categories above leave it out; and two symbols that are drawn as nothing.
_HIDDEN_RANGES: Final = (
    (0x034F, 0x034F),  # combining grapheme joiner
    (0x115F, 0x1160),  # Hangul fillers
    (0x17B4, 0x17B5),  # Khmer inherent vowels
    (0x180B, 0x180F),  # Mongolian variation selectors
    (0x2800, 0x2800),  # blank Braille pattern
    (0x3164, 0x3164),  # Hangul filler
    (0xFE00, 0xFE0F),  # variation selectors
    (0xFFA0, 0xFFA0),  # halfwidth Hangul filler
    (0x1D159, 0x1D159),  # musical symbol null notehead
    (0xE0100, 0xE01EF),  # variation selectors supplement
)

_JOINER: Final = 0x200D
_EMOJI_STYLE: Final = 0xFE0F

# Source: emoji-data.txt of Unicode, property Emoji, in ranges; without digits, `#` and `*`.
_PICTURE: Final = (
    "[\u00a9\u00ae\u203c\u2049\u2122\u2139\u2194-\u21aa\u231a-\u23ff\u24c2\u25aa-\u25fe"
    "\u2600-\u27bf\u2934\u2935\u2b05-\u2b55\u3030\u303d\u3297\u3299"
    "\U0001f000-\U0001f3fa\U0001f400-\U0001faff]"
)
_DRAWN: Final = f"{_PICTURE}[\U0001f3fb-\U0001f3ff]?\ufe0f?"
_EMOJI: Final = re.compile(f"({_DRAWN}(?:\u200d{_DRAWN})+|{_PICTURE}\ufe0f|[0-9#*]\ufe0f\u20e3)")


class _Marks(dict[int, str]):
    """A table for `str.translate` that decides on each character the first time it sees it."""

    def __missing__(self, code: int) -> str:
        shown = f"\u27e8U+{code:04X}\u27e9" if _is_hidden(code) else chr(code)
        self[code] = shown
        return shown


def _is_hidden(code: int) -> bool:
    return unicodedata.category(chr(code)) in _HIDDEN_CATEGORIES or any(
        first <= code <= last for first, last in _HIDDEN_RANGES
    )


_MARKS: Final = _Marks()
_LINE_MARKS: Final = _Marks({ord("\n"): "\n", ord("\t"): "\t"})
_EMOJI_MARKS: Final = _Marks({_JOINER: chr(_JOINER), _EMOJI_STYLE: chr(_EMOJI_STYLE)})


def visible(text: str, *, keep_newlines: bool) -> str:
    r"""
    Return `text` with every character that a reader would not see as a mark, ``⟨U+202E⟩``.

    Marked are control, format, surrogate, private and unassigned characters, line and paragraph
    separators, and letters and symbols that are drawn as nothing. A joiner or an emoji style
    sign stays where it belongs to an emoji. Nothing else changes and nothing is left out.

    Args:
        text: Any text, hostile too.
        keep_newlines: Whether line breaks (``\r\n`` becomes ``\n``) and tabs stay as they
            are; else they are marked as well.
    """
    if text.isascii() and text.isprintable():
        return text
    if keep_newlines:
        text = text.replace("\r\n", "\n")
    marks = _LINE_MARKS if keep_newlines else _MARKS
    # `split` with one group gives the text between emoji at even places, the emoji at odd ones.
    return "".join(
        piece.translate(_EMOJI_MARKS if odd % 2 else marks)
        for odd, piece in enumerate(_EMOJI.split(text))
    )
