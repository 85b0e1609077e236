"""
What greets above an answer, so that the line below it decides (floor 3).

Whatever might be a refusal is no greeting: passed over, it would let a yes below it decide.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from signoff.mail.formulas import ANSWER, DEAR, GREETING, OPENING, PEOPLE
from signoff.mail.wording import AROUND, ASKS_OR_COUNTS, COMMA, FEW_WORDS, SHORT, is_short, words_of

_ENDS_GREETING: Final = (*COMMA, "!", ":", "\uff01", "\uff1a")
_DENIES: Final = re.compile(
    r"""\b(?:no|not|nope|never|nein|nicht|kein\w*|non|ne|pas|jamais|nunca|não|don['\u2019]t|can['\u2019]t|nem|mai|niet|nee|geen|nie
      |wait|stop|hold|halt|warte\w*|moment|later|später|veto|object|wrong|bad|falsch|fehlerhaft|fau(?:x|sse)|trop|incorrect\w*|errad[oa]s?
      |demais|demasiado|errat[oa]|sbagliat[oa]|troppo|fout|onjuist|błędn\w+|złe|zła)\b | だめ | ダメ | 違 | 错 | 太 | ない | いいえ | 却下 | 反対 | [不没沒未非否]""",
    re.VERBOSE | re.IGNORECASE,
)
_GENDERS: Final = re.compile(
    r"\((?:as?|os?|e?s|e|r|n?e|in|innen)\)|(?<=\w)[/*:_@](?:as?|r|in|innen)\b"
)
_PIECES: Final = re.compile("[,\uff0c\u3001\u3002\uff01!]\\s*")
_AM: Final = ("です", "でございます", "と申します")
_OF_DEPARTMENT: Final = re.compile(
    r"(?:(?!却下|反対|拒否|否認)[\u3005\u4e00-\u9fff\u30a0-\u30ffA-Za-z\s]){0,20}の?"
)
_GREETING_WORDS: Final = 3


def greeted(lines: Sequence[str], author: str) -> int:
    """
    Return how many lines at the top only greet, blank ones among them; 0 if nothing is below.

    A greeting ends as greetings do, names nobody, or says who its author is: what stands besides
    on a line might be the answer.
    """
    named = words_of(author)
    written = (at for at, line in enumerate(lines) if line.strip() and not _greets(line, named))
    return next(written, 0)


def is_like_a_greeting(line: str) -> bool:
    """Return whether a line greets, or ends as greetings do and is as short: in any language."""
    bare = line.strip()
    ends = bare.endswith(_ENDS_GREETING) and not ASKS_OR_COUNTS.search(bare)
    return is_greeting(bare) or (ends and is_short(bare, words=_GREETING_WORDS))


def introduces(line: str, named: Sequence[str]) -> bool:
    """Return whether a line ends in saying who its author is, as letters in Japanese begin."""
    return any(line.endswith(f"{name}{verb}。") for name in named for verb in _AM)


def says_who_writes(line: str, named: Sequence[str]) -> bool:
    """Return whether a line holds the author's name, and at most the department, as a sentence."""
    if not introduces(line, named) or denies(line):
        return False
    name = next(name for name in named if name in line)
    return _OF_DEPARTMENT.fullmatch(line[: line.index(name)]) is not None


def denies(text: str) -> bool:
    """Return whether a text may say yes or no, wherever it says so."""
    return bool(_DENIES.search(text) or ANSWER.match(text.lstrip(AROUND)))


def _greets(line: str, named: Sequence[str]) -> bool:
    """Return whether a line is a greeting for certain."""
    bare = _GENDERS.sub("", line.strip())
    if says_who_writes(bare, named) or is_opening(bare):
        return True
    if not is_greeting(bare):
        return False
    if bare.endswith(_ENDS_GREETING) or _only_greets(bare):
        return True
    return introduces(bare, named)


def is_opening(line: str) -> bool:
    """Return whether a line is small talk: of health, or of the mail that is answered."""
    return OPENING.fullmatch(line.strip(AROUND)) is not None


def _only_greets(line: str) -> bool:
    """Return whether a line is one greeting or several, such as `Hola, buenas tardes.`."""
    pieces = [piece.strip(AROUND) for piece in _PIECES.split(line.strip(AROUND))]
    if denies(line):
        return False
    first, *others = pieces
    if _greets_all(first) and all(map(PEOPLE.fullmatch, others)):
        return True
    several = others and all(map(_greets_someone, pieces))
    return bool(several) or all(
        GREETING.fullmatch(piece) and not DEAR.fullmatch(piece) for piece in pieces
    )


def _greets_all(piece: str) -> bool:
    """Return whether what begins as a greeting greets whom one greets without a name, or nobody."""
    whom = GREETING.sub("", piece, count=1).strip(AROUND)
    return PEOPLE.fullmatch(whom) is not None or (not whom and not DEAR.fullmatch(piece))


def _greets_someone(piece: str) -> bool:
    """Return whether a piece of a line greets, with a few words for whom."""
    greeting = GREETING.match(piece)
    if greeting is None:
        return False
    whom = piece[greeting.end() :]
    few = len(words_of(whom)) <= _GREETING_WORDS
    return few and not denies(whom) and _may_name_people(greeting.group(), whom)


def _may_name_people(greeting: str, whom: str) -> bool:
    """
    Return whether what follows a greeting may be people.

    `Caro` is dear, and expensive: such a word greets whom is named or spelt with a capital. So
    does what stands behind a comma.
    """
    if not DEAR.fullmatch(greeting) and not whom.startswith(COMMA):
        return True
    named = whom.lstrip(AROUND)
    return bool(PEOPLE.match(named)) or named[:1].isupper()


def is_greeting(text: str) -> bool:
    """Return whether a text is a greeting, with a few words for whom at the most."""
    line = _GENDERS.sub("", text)
    greeting = GREETING.match(line) if len(line) <= SHORT else None
    if greeting is None:
        return False
    if _only_greets(line):
        return True
    whom = line[greeting.end() :].rstrip(AROUND)
    ends = line.endswith(_ENDS_GREETING)
    within = whom.strip(AROUND)
    if denies(within) or not _may_name_people(greeting.group(), whom):
        return False
    return len(words_of(whom)) <= (FEW_WORDS if ends else 1) and not any(c in within for c in COMMA)
