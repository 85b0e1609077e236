"""
What is left of a reply in which nothing was written: greeting, closing, name, notices (floor 3).

Known formulas say nothing for certain. What only has the shape of one, in whatever language, is
doubtful: it may be somebody's words, and counts only where it names one of the choices.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from itertools import dropwhile
from typing import Final

from signoff.mail.banners import is_banner
from signoff.mail.formulas import (
    ANSWER,
    BOILERPLATE,
    CLOSING,
    COURTESY,
    DEAR,
    DECIDES,
    GREETING,
    LEGAL,
    NOTICE,
    OFFERS,
    OPENING,
    PEOPLE,
    SENT,
    THANKS,
)
from signoff.mail.phrases import DEVICES, DISCLAIMER, ITSELF

_SLASH: Final = re.compile(r"[/|]")
_AND: Final = re.compile(r"\s*(?:[,&;]|\b(?:and|und|y|et|e|og|och|en|i|и|та)\b)\s*", re.IGNORECASE)
_BEHIND_NAME: Final = re.compile(r"[|<(/,\u2013\u2014\u00b7\u2022]| - ")
_WORD: Final = re.compile(r"[^\W_]+")
_MARK: Final = re.compile(
    r"[\u0300-\u036f\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0900-\u0dff\u0e31-\u0e4e]"
)
_AROUND: Final = " \t\u00a0*_,.!;:~\u060c\uff0c\u3002\u3001\uff01\u055d"
_AROUND_NOTICE: Final = _AROUND + "-=+#|\u2500\u2014"
_COMMA: Final = (",", "\u060c", "\uff0c", "\u3001", "\u055d")
_ENDS_GREETING: Final = (*_COMMA, "!", ":", "\uff01", "\uff1a")
_DENIES: Final = re.compile(
    r"""\b(?:no|not|nope|never|nein|nicht|kein\w*|non|ne|pas|jamais|nunca|não|don['\u2019]t|can['\u2019]t|nem|mai|niet|nee|geen|nie
      |wait|stop|hold|halt|warte\w*|moment|later|später|veto|object|wrong|bad|falsch|fehlerhaft|fau(?:x|sse)|trop|incorrect\w*|errad[oa]s?
      |demais|demasiado|errat[oa]|sbagliat[oa]|troppo|fout|onjuist|błędn\w+|złe|zła)\b | だめ | ダメ | 違 | 错 | 太 | ない | いいえ | 却下 | 反対 | [不没沒未非否]""",
    re.VERBOSE | re.IGNORECASE,
)
_IN_BRACKETS: Final = re.compile(r"(?:\[[^\]]*\]|<[^>]*>|&#?\w{1,8};|\s)+")
_CONTACT: Final = re.compile(
    r"""(?:(?:tel|phone|mobile|mob|cell|fax|e-?mail|web|[tmefwpd])\b[.:]?\s*)?
        (?:\S+@\S+\.\w+|(?:\+|00?[1-9])[\d\s()./-]{6,})
      | (?:te?l|cel|fax|mob|电话|手机|携帯)\w{0,5}[.:\uff1a]?\s*(?:(?:kom|dir|direct|mobile|cell|móvil)\.?:?\s*)?[\d(][\d\s()./-]{6,}""",
    re.VERBOSE | re.IGNORECASE,
)
_ADDRESS: Final = re.compile(r"[^\s@]@[^\s@]+\.\w")
_GENDERS: Final = re.compile(
    r"\((?:as?|os?|e?s|e|r|n?e|in|innen)\)|(?<=\w)[/*:_@](?:as?|r|in|innen)\b"
)
_PIECES: Final = re.compile("[,\uff0c\u3001\u3002\uff01!]\\s*")
_PICTURES: Final = re.compile("[\u2600-\u27bf\ufe0f\U0001f300-\U0001faff]+")
_PLACE_AND_DAY: Final = re.compile(
    r"""[^\W\d][^\d,]{1,20},\s(?:den\s|le\s|il\s)?\d{1,2}\.?\s(?:de\s)?[^\W\d]{3,10}(?:\s(?:de\s)?\d{4})?
      | \d{4}年\d{1,2}月\d{1,2}日""",
    re.VERBOSE,
)
_AM: Final = ("です", "でございます", "と申します")
_OF_DEPARTMENT: Final = re.compile(
    r"(?:(?!却下|反対|拒否|否認)[\u3005\u4e00-\u9fff\u30a0-\u30ffA-Za-z\s]){0,20}の?"
)
_ASKS_OR_COUNTS: Final = re.compile(r"[?;\uff1f\d]")
_PLACE: Final = re.compile(
    r"\s(?:from|aus|vom|von|uit|fra|från|dari|desde|depuis|da|dal|de|z|ze|из|з|от|din|iz)\s\S+(?:\s\S+)?"
)
_PARENTHESIS: Final = re.compile(r"\([^()]*\)")
_LINK: Final = re.compile(r"<?(?:https?://|www\.)\S+>?", re.IGNORECASE)
# Letters and symbols that show nothing: fillers, a blank of Braille, the place of an object.
_EMPTY_SHAPES: Final = frozenset("\u115f\u1160\u3164\uffa0\u2800\ufffc\ufffd")

_MAX_TITLES: Final = 2
_FEW_WORDS: Final = 4
_FEW_SIGNS: Final = 6
_CLOSING_WORDS: Final = 8
_CLOSING_SIGNS: Final = 16
_GREETING_WORDS: Final = 3
_NAME_WORDS: Final = 2
_GIVEN_NAME_SIGNS: Final = 2
_PARAGRAPH: Final = 2
_SHORT: Final = 50
_SENTENCE: Final = 60
_MAX_ADDED_CHARS: Final = 60
_MAX_COURTESY_CHARS: Final = 120
_CARD_LINES: Final = 3


def says_nothing(lines: Sequence[str], author: str) -> bool:
    """
    Return whether nobody wrote these lines for this mail: they are there in every mail.

    Args:
        lines: What is left of a reply.
        author: The name of whoever wrote it; empty if it is not known.
    """
    said = _without_greeting(lines, _words(author))
    return not said or _begins_as_signature(said, author) or _are_notices(said)


def greeted(lines: Sequence[str], author: str) -> int:
    """
    Return how many lines at the top only greet, blank ones among them; 0 if nothing is below.

    A greeting ends as greetings do, names nobody, or says who its author is: what stands besides
    on a line might be the answer.
    """
    named = _words(author)
    written = (at for at, line in enumerate(lines) if line.strip() and not _greets(line, named))
    return next(written, 0)


def is_like_a_greeting(line: str) -> bool:
    """Return whether a line greets, or ends as greetings do and is as short: in any language."""
    bare = line.strip()
    ends = bare.endswith(_ENDS_GREETING) and not _ASKS_OR_COUNTS.search(bare)
    return _is_greeting(bare) or (ends and _is_short(bare, words=_GREETING_WORDS))


def _salutation(lines: Sequence[str], named: Sequence[str]) -> int:
    """
    Return where what stands below a greeting of unknown words begins; 0 if nothing greets.

    For doubt only: `Wrong,` has the shape of one, so what is below it never decides instead.
    """
    if len(lines) <= _PARAGRAPH or lines[1].strip() or _denies(lines[0]):
        return 0
    first = lines[0].strip()
    greets = first.endswith(_COMMA) and is_like_a_greeting(first)
    return _PARAGRAPH * (greets or _introduces(first, named))


def _introduces(line: str, named: Sequence[str]) -> bool:
    """Return whether a line ends in saying who its author is, as letters in Japanese begin."""
    return any(line.endswith(f"{name}{verb}。") for name in named for verb in _AM)


def _says_who_writes(line: str, named: Sequence[str]) -> bool:
    """Return whether a line holds the author's name, and at most the department, as a sentence."""
    if not _introduces(line, named) or _denies(line):
        return False
    name = next(name for name in named if name in line)
    return _OF_DEPARTMENT.fullmatch(line[: line.index(name)]) is not None


def _denies(text: str) -> bool:
    """Return whether a text may say yes or no, wherever it says so."""
    return bool(_DENIES.search(text) or ANSWER.match(text.lstrip(_AROUND)))


def is_doubtful(lines: Sequence[str], author: str) -> bool:
    """
    Return whether lines that are left may be a greeting, a closing or a name, nothing more.

    Their shape tells, not their language: few words, then a comma, or the author's name below.
    """
    named = _words(author)
    said = _without_greeting(lines[_salutation(lines, named) :], named)
    if not said or ANSWER.match(said[0]):
        return False
    if all(map(_is_formula, said)) or _is_only_courteous(said, author):
        return True
    if _is_about_nothing(said) or _are_initials(said[0], named) or _is_dated(said[0]):
        return True
    plain = [_PICTURES.sub("", line).strip() for line in said]
    if plain != said and says_nothing(plain, author):
        return True
    if DECIDES.search(said[0]) and not said[0].endswith(_COMMA):
        return False
    return _is_card(said, named) or _is_like_a_formula(said, named)


def _is_short(line: str, *, words: int = _FEW_WORDS, signs: int = _FEW_SIGNS) -> bool:
    """Return whether a line is a few words; where none are parted, a few characters."""
    if len(line) > _SHORT or len(_words(line)) > words:
        return False
    return sum(unicodedata.east_asian_width(char) in "WF" for char in line) <= signs


def _may_close(line: str) -> bool:
    """Return whether a line is as short as closings are; five words and a full stop are more."""
    if _ASKS_OR_COUNTS.search(line) or _is_sentence(line):
        return False
    if not line.endswith(".") and _is_short(line, words=_CLOSING_WORDS, signs=_CLOSING_SIGNS):
        return True
    return _is_short(line, signs=_CLOSING_SIGNS)


def _is_sentence(line: str) -> bool:
    """Return whether a line ends in a full stop behind more words than an abbreviation has."""
    return line.endswith(".") and not _is_short(line, words=_NAME_WORDS)


def _is_only_courteous(said: Sequence[str], author: str) -> bool:
    """Return whether lines begin with a courtesy, and hold no more than a signature below."""
    below = list(dropwhile(_is_courtesy, said))
    if len(below) == len(said):
        return False
    named = _words(author)
    if says_nothing(below, author) or _is_signed(below[0], named):
        return True
    if _is_card(below, named, signs=_CLOSING_SIGNS):
        return True
    return _is_like_a_formula(below, named) or _is_dated(below[0])


def _is_dated(line: str) -> bool:
    """Return whether a line is a place and a day, as letters end."""
    return _PLACE_AND_DAY.fullmatch(line) is not None


def _is_courtesy(line: str) -> bool:
    """Return whether a line is known as a courtesy, or speaks of questions, help or thanks."""
    return bool(COURTESY.fullmatch(line.strip(_AROUND)) or _offers(line))


def _offers(line: str) -> bool:
    is_one = "\u3002" not in line.rstrip(_AROUND)
    return is_one and len(line) <= _MAX_COURTESY_CHARS and bool(OFFERS.search(line))


def _are_initials(line: str, named: Sequence[str]) -> bool:
    """Return whether a line holds the first letters of the author's names, and no word."""
    letters = "".join(_words(line))
    return bool(letters) and "".join(name[0] for name in named).startswith(letters)


def _is_about_nothing(said: Sequence[str]) -> bool:
    """Return whether lines hold only pictures, remarks, links, notices, or the name of a device."""
    if not any(map(_WORD.search, said)) or all(map(_PARENTHESIS.fullmatch, said)):
        return True
    if len(said) == 1 and _may_be_added(said[0]):
        return True
    return _speaks_of_itself(said[0]) or all(map(_leads_elsewhere, said))


def _speaks_of_itself(line: str) -> bool:
    """Return whether a line begins a disclaimer, which goes on for as long as it likes."""
    if BOILERPLATE.match(line.lstrip(_AROUND_NOTICE)):
        return True
    return bool((DISCLAIMER.search(line) or LEGAL.search(line)) and ITSELF.search(line))


def _may_be_added(line: str) -> bool:
    """Return whether a line speaks of sending or of a device, and ends as no sentence does."""
    ends = line.endswith((".", "!", "?", "\uff1f", "\u3002"))
    return (
        len(line) <= _MAX_ADDED_CHARS
        and not ends
        and bool(DEVICES.search(line) or SENT.search(line))
    )


def _is_like_a_formula(said: Sequence[str], named: Sequence[str]) -> bool:
    """Return whether a few words end in a comma, or in the author's name, there or below."""
    first, *below = said
    if first.rstrip(" *_").endswith(_COMMA) and _may_close(first):
        return not below or _is_short(below[0])
    if below and _is_signed(below[0], named) and _may_close(first):
        return True
    return _is_short(first) and bool(set(_words(first)[-1:]) & set(named))


def _is_signed(line: str, named: Sequence[str]) -> bool:
    """Return whether a line is the author's name, or little more; or may be a name of theirs."""
    written = _words(line)
    if _is_of_name(written, named) or (_is_short(line) and _shares_a_word(line, named)):
        return True
    return _is_name(line, named) or _is_like_a_name(line) or _is_given_name(written, named)


def _is_given_name(written: Sequence[str], named: Sequence[str]) -> bool:
    """Return whether a word ends the author's name: some write it without a blank within."""
    ends = len(written) == 1 and len(written[0]) >= _GIVEN_NAME_SIGNS
    return ends and any(name.endswith(written[0]) for name in named)


def _is_like_a_name(line: str) -> bool:
    """Return whether a line is one or two capitalised words: people have more names than one."""
    words = line.removesuffix(".").replace("-", "").split()
    capitalised = all(word.isalpha() and word[0].isupper() for word in words)
    return capitalised and len(words) <= _NAME_WORDS and not _is_formula(line)


def _is_card(said: Sequence[str], named: Sequence[str], *, signs: int = _FEW_SIGNS) -> bool:
    """Return whether short lines hold a way to reach somebody: the author, or who has a card."""
    if not _is_short(said[0], signs=signs) or any(len(line) > _SHORT for line in said):
        return False
    if _is_sentence(said[0]) or said[0].endswith((":", "\u3002")):
        return False
    if "?" in said[0] or not (
        len(said) >= _CARD_LINES or any(_shares_a_word(line, named) for line in said)
    ):
        return False
    return any(map(_CONTACT.search, said)) or any(map(_LINK.search, said))


def is_wordless(line: str) -> bool:
    """Return whether a line shows no letter, digit or picture."""
    return not any(map(_says, line))


def names_a_place(line: str) -> bool:
    """Return whether a line holds a link or an address, as what servers and lists add does."""
    return bool(_LINK.search(line) or _ADDRESS.search(line))


def _says(char: str) -> bool:
    if char in _EMPTY_SHAPES:
        return False
    return char.isalnum() or unicodedata.category(char) == "So"


def _without_greeting(lines: Sequence[str], named: Sequence[str]) -> list[str]:
    """Return the lines from the first on that is more than a greeting or a place for a picture."""
    said = [line.strip() for line in lines if line.strip()]
    return list(dropwhile(lambda line: _is_preamble(line) or _says_who_writes(line, named), said))


def _is_preamble(line: str) -> bool:
    if is_wordless(line) or _IN_BRACKETS.fullmatch(line) or is_banner(line):
        return True
    return _is_greeting(line) or _is_opening(line)


def _greets(line: str, named: Sequence[str]) -> bool:
    """Return whether a line is a greeting for certain."""
    bare = _GENDERS.sub("", line.strip())
    if _says_who_writes(bare, named) or _is_opening(bare):
        return True
    if not _is_greeting(bare):
        return False
    if bare.endswith(_ENDS_GREETING) or _only_greets(bare):
        return True
    return _introduces(bare, named)


def _is_opening(line: str) -> bool:
    return OPENING.fullmatch(line.strip(_AROUND)) is not None


def _only_greets(line: str) -> bool:
    """Return whether a line is one greeting or several, such as `Hola, buenas tardes.`."""
    pieces = [piece.strip(_AROUND) for piece in _PIECES.split(line.strip(_AROUND))]
    if _denies(line):
        return False
    several = len(pieces) > 1 and all(map(_greets_someone, pieces))
    return several or all(
        GREETING.fullmatch(piece) and not DEAR.fullmatch(piece) for piece in pieces
    )


def _greets_someone(piece: str) -> bool:
    """Return whether a piece of a line greets, with a few words for whom."""
    greeting = GREETING.match(piece)
    if greeting is None:
        return False
    whom = piece[greeting.end() :]
    few = len(_words(whom)) <= _GREETING_WORDS
    return few and not _denies(whom) and _may_name_people(greeting.group(), whom)


def _may_name_people(greeting: str, whom: str) -> bool:
    """
    Return whether what follows a greeting may be people.

    `Caro` is dear, and expensive: such a word greets whom is named or spelt with a capital. So
    does what stands behind a comma.
    """
    if not DEAR.fullmatch(greeting) and not whom.startswith(_COMMA):
        return True
    named = whom.lstrip(_AROUND)
    return bool(PEOPLE.match(named)) or named[:1].isupper()


def _is_greeting(text: str) -> bool:
    line = _GENDERS.sub("", text)
    greeting = GREETING.match(line) if len(line) <= _SHORT else None
    if greeting is None:
        return False
    if _only_greets(line):
        return True
    whom = line[greeting.end() :].rstrip(_AROUND)
    ends = line.endswith(_ENDS_GREETING)
    within = whom.strip(_AROUND)
    if _denies(within) or not _may_name_people(greeting.group(), whom):
        return False
    return len(_words(whom)) <= (_FEW_WORDS if ends else 1) and not any(c in within for c in _COMMA)


def _are_notices(said: Sequence[str]) -> bool:
    """Return whether all lines are notices, or links within them."""
    notices = [line for line in said if not _LINK.fullmatch(line)]
    return bool(notices) and all(map(_is_notice, notices))


def _is_notice(line: str) -> bool:
    """Return whether a line stands below every mail of somebody, or a server put it there."""
    if is_wordless(line) or _IN_BRACKETS.fullmatch(line) or _CONTACT.fullmatch(line):
        return True
    if NOTICE.match(line.lstrip(_AROUND_NOTICE)) or is_banner(line):
        return True
    return len(line) > _SENTENCE and _may_be_notice(line)


def _may_be_notice(line: str) -> bool:
    """Return whether a line speaks as notices do; somebody may speak so of the copy."""
    if NOTICE.search(line):
        return True
    speaks = DISCLAIMER.search(line) or LEGAL.search(line)
    return bool(speaks and (ITSELF.search(line) or _LINK.search(line)))


def _leads_elsewhere(line: str) -> bool:
    return bool(_LINK.fullmatch(line) or _is_notice(line) or _may_be_notice(line))


def _begins_as_signature(said: Sequence[str], author: str) -> bool:
    """Return whether a text begins as signatures do: with a closing, or with one's own name."""
    first, *below = said
    named = _words(author)
    formula = _without_name(first, named)
    if _is_closing(first) or _is_closing(formula):
        return True
    if formula and all(map(_is_formula, _AND.split(formula))):
        signed = formula != first.rstrip(_AROUND)
        return signed or (bool(below) and _shares_a_word(below[0], named))
    return _is_name(first, named) or _is_name(_BEHIND_NAME.split(first, maxsplit=1)[0], named)


def _is_closing(text: str) -> bool:
    parts = [_PLACE.sub("", part.strip(_AROUND)) for part in _SLASH.split(text)]
    if all(CLOSING.fullmatch(part) for part in parts):
        return True
    pieces = [piece.strip(_AROUND) for piece in _AND.split(text)]
    return any(map(CLOSING.fullmatch, pieces)) and all(map(_is_formula, pieces))


def _is_formula(text: str) -> bool:
    bare = text.strip(_AROUND)
    return bool(not bare or CLOSING.fullmatch(bare) or THANKS.fullmatch(bare))


def _without_name(line: str, named: Sequence[str]) -> str:
    """Return a line without the author's name at its end."""
    bare = line.rstrip(_AROUND)
    for word in reversed(bare.split()):
        if not _is_of_name(_words(word), named):
            break
        bare = bare.removesuffix(word).rstrip(_AROUND)
    return bare


def _is_name(text: str, named: Sequence[str]) -> bool:
    written = _words(text)
    if not named or "".join(written) == "".join(named) or _is_of_name(written, named):
        return bool(named)
    return set(named) <= set(written) and len(written) <= len(named) + _MAX_TITLES


def _is_of_name(written: Sequence[str], named: Sequence[str]) -> bool:
    """Return whether words are parts of a name, such as the given name alone."""
    whole = "".join(written) == "".join(named)
    return bool(written) and (whole or set(written) <= set(named) or _is_given(written, named))


def _is_given(written: Sequence[str], named: Sequence[str]) -> bool:
    """Return whether a word of Chinese ends a name that is written without a blank."""
    return not written[0].isascii() and len(named) == 1 and _is_given_name(written, named)


def _shares_a_word(text: str, named: Sequence[str]) -> bool:
    return not set(_words(text)).isdisjoint(named)


def _words(text: str) -> list[str]:
    return _WORD.findall(_MARK.sub("", text).casefold())
