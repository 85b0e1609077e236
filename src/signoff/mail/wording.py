"""Words, and lines of few of them, in whatever script (floor 3)."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

WORD: Final = re.compile(r"[^\W_]+")
_MARK: Final = re.compile(
    r"[\u0300-\u036f\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0900-\u0dff\u0e31-\u0e4e]"
)
AROUND: Final = " \t\u00a0*_,.!;:~\u060c\uff0c\u3002\u3001\uff01\u055d"
"""What may stand at the ends of a formula."""
COMMA: Final = (",", "\u060c", "\uff0c", "\u3001", "\u055d")
"""The commas of scripts."""
ASKS_OR_COUNTS: Final = re.compile(r"[?;\uff1f\d]")
# Letters and symbols that show nothing: fillers, a blank of Braille, the place of an object.
_EMPTY_SHAPES: Final = frozenset("\u115f\u1160\u3164\uffa0\u2800\ufffc\ufffd")
FEW_WORDS: Final = 4
FEW_SIGNS: Final = 6
"""Characters, where no blanks part words."""
SHORT: Final = 50
"""Characters at the most in a line of few words."""


def is_short(line: str, *, words: int = FEW_WORDS, signs: int = FEW_SIGNS) -> bool:
    """Return whether a line is a few words; where none are parted, a few characters."""
    if len(line) > SHORT or len(words_of(line)) > words:
        return False
    return sum(unicodedata.east_asian_width(char) in "WF" for char in line) <= signs


def is_wordless(line: str) -> bool:
    """Return whether a line shows no letter, digit or picture."""
    return not any(map(_says, line))


def _says(char: str) -> bool:
    if char in _EMPTY_SHAPES:
        return False
    return char.isalnum() or unicodedata.category(char) == "So"


def words_of(text: str) -> list[str]:
    """Return the words of a text, folded and without marks over letters."""
    return WORD.findall(_MARK.sub("", text).casefold())
