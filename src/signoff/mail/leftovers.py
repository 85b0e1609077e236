"""
What is left of a reply in which nothing was written: greeting, closing, name, notices (floor 3).

Known formulas say nothing for certain. What only has the shape of one, in whatever language, is
doubtful: it may be somebody's words, and counts only where it names one of the choices.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import dropwhile
from typing import Final

from signoff.mail.banners import is_banner
from signoff.mail.formulas import (
    ANSWER,
    BOILERPLATE,
    CLOSING,
    COURTESY,
    DECIDES,
    LEGAL,
    NOTICE,
    OFFERS,
    SENT,
    THANKS,
)
from signoff.mail.greetings import (
    denies,
    introduces,
    is_greeting,
    is_like_a_greeting,
    is_opening,
    says_who_writes,
)
from signoff.mail.phrases import DEVICES, DISCLAIMER, ITSELF
from signoff.mail.wording import (
    AROUND,
    ASKS_OR_COUNTS,
    COMMA,
    FEW_SIGNS,
    SHORT,
    WORD,
    is_short,
    is_wordless,
    words_of,
)

_SLASH: Final = re.compile(r"[/|]")
_AND: Final = re.compile(r"\s*(?:[,&;]|\b(?:and|und|y|et|e|og|och|en|i|и|та)\b)\s*", re.IGNORECASE)
_BEHIND_NAME: Final = re.compile(r"[|<(/,\u2013\u2014\u00b7\u2022]| - ")
_AROUND_NOTICE: Final = AROUND + "-=+#|\u2500\u2014"
_IN_BRACKETS: Final = re.compile(r"(?:\[[^\]]*\]|<[^>]*>|&#?\w{1,8};|\s)+")
_CONTACT: Final = re.compile(
    r"""(?:(?:tel|phone|mobile|mob|cell|fax|e-?mail|web|[tmefwpd])\b[.:]?\s*)?
        (?:\S+@\S+\.\w+|(?:\+|00?[1-9])[\d\s()./-]{6,})
      | (?:te?l|cel|fax|mob|电话|手机|携帯)\w{0,5}[.:\uff1a]?\s*(?:(?:kom|dir|direct|mobile|cell|móvil)\.?:?\s*)?[\d(][\d\s()./-]{6,}""",
    re.VERBOSE | re.IGNORECASE,
)
_ADDRESS: Final = re.compile(r"[^\s@]@[^\s@]+\.\w")
_PICTURES: Final = re.compile("[\u2600-\u27bf\ufe0f\U0001f300-\U0001faff]+")
_PLACE_AND_DAY: Final = re.compile(
    r"""[^\W\d][^\d,]{1,20},\s(?:den\s|le\s|il\s)?\d{1,2}\.?\s(?:de\s)?[^\W\d]{3,10}(?:\s(?:de\s)?\d{4})?
      | \d{4}年\d{1,2}月\d{1,2}日""",
    re.VERBOSE,
)
_PLACE: Final = re.compile(
    r"\s(?:from|aus|vom|von|uit|fra|från|dari|desde|depuis|da|dal|de|z|ze|из|з|от|din|iz)\s\S+(?:\s\S+)?"
)
_PARENTHESIS: Final = re.compile(r"\([^()]*\)")
_LINK: Final = re.compile(r"<?(?:https?://|www\.)\S+>?", re.IGNORECASE)

_MAX_TITLES: Final = 2
_CLOSING_WORDS: Final = 8
_CLOSING_SIGNS: Final = 16
_NAME_WORDS: Final = 2
_GIVEN_NAME_SIGNS: Final = 2
_PARAGRAPH: Final = 2
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
    said = _without_greeting(lines, words_of(author))
    return not said or _begins_as_signature(said, author) or _are_notices(said)


def _salutation(lines: Sequence[str], named: Sequence[str]) -> int:
    """
    Return where what stands below a greeting of unknown words begins; 0 if nothing greets.

    For doubt only: `Wrong,` has the shape of one, so what is below it never decides instead.
    """
    if len(lines) <= _PARAGRAPH or lines[1].strip() or denies(lines[0]):
        return 0
    first = lines[0].strip()
    greets = first.endswith(COMMA) and is_like_a_greeting(first)
    return _PARAGRAPH * (greets or introduces(first, named))


def is_doubtful(lines: Sequence[str], author: str) -> bool:
    """
    Return whether lines that are left may be a greeting, a closing or a name, nothing more.

    Their shape tells, not their language: few words, then a comma, or the author's name below.
    """
    named = words_of(author)
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
    if DECIDES.search(said[0]) and not said[0].endswith(COMMA):
        return False
    return _is_card(said, named) or _is_like_a_formula(said, named)


def _may_close(line: str) -> bool:
    """Return whether a line is as short as closings are; five words and a full stop are more."""
    if ASKS_OR_COUNTS.search(line) or _is_sentence(line):
        return False
    if not line.endswith(".") and is_short(line, words=_CLOSING_WORDS, signs=_CLOSING_SIGNS):
        return True
    return is_short(line, signs=_CLOSING_SIGNS)


def _is_sentence(line: str) -> bool:
    """Return whether a line ends in a full stop behind more words than an abbreviation has."""
    return line.endswith(".") and not is_short(line, words=_NAME_WORDS)


def _is_only_courteous(said: Sequence[str], author: str) -> bool:
    """Return whether lines begin with a courtesy, and hold no more than a signature below."""
    below = list(dropwhile(_is_courtesy, said))
    if len(below) == len(said):
        return False
    named = words_of(author)
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
    return bool(COURTESY.fullmatch(line.strip(AROUND)) or _offers(line))


def _offers(line: str) -> bool:
    is_one = "\u3002" not in line.rstrip(AROUND)
    return is_one and len(line) <= _MAX_COURTESY_CHARS and bool(OFFERS.search(line))


def _are_initials(line: str, named: Sequence[str]) -> bool:
    """Return whether a line holds the first letters of the author's names, and no word."""
    letters = "".join(words_of(line))
    return bool(letters) and "".join(name[0] for name in named).startswith(letters)


def _is_about_nothing(said: Sequence[str]) -> bool:
    """Return whether lines hold only pictures, remarks, links, notices, or the name of a device."""
    if not any(map(WORD.search, said)) or all(map(_PARENTHESIS.fullmatch, said)):
        return True
    if len(said) == 1 and _may_be_added(said[0]):
        return True
    return _speaks_of_itself(said[0]) or all(map(_leads_elsewhere, said))


def _speaks_of_itself(line: str) -> bool:
    """Return whether a line begins a disclaimer, which goes on for as long as it likes."""
    if BOILERPLATE.match(line.lstrip(_AROUND_NOTICE)):
        return True
    return not _answers(line) and bool(
        (DISCLAIMER.search(line) or LEGAL.search(line)) and ITSELF.search(line)
    )


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
    if first.rstrip(" *_").endswith(COMMA) and _may_close(first):
        return not below or is_short(below[0])
    if below and _is_signed(below[0], named) and _may_close(first):
        return True
    return is_short(first) and bool(set(words_of(first)[-1:]) & set(named))


def _is_signed(line: str, named: Sequence[str]) -> bool:
    """Return whether a line is the author's name, or little more; or may be a name of theirs."""
    written = words_of(line)
    if _is_of_name(written, named) or (is_short(line) and _shares_a_word(line, named)):
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


def _is_card(said: Sequence[str], named: Sequence[str], *, signs: int = FEW_SIGNS) -> bool:
    """Return whether short lines hold a way to reach somebody: the author, or who has a card."""
    if not is_short(said[0], signs=signs) or any(len(line) > SHORT for line in said):
        return False
    if _is_sentence(said[0]) or said[0].endswith((":", "\u3002")):
        return False
    if "?" in said[0] or not (
        len(said) >= _CARD_LINES or any(_shares_a_word(line, named) for line in said)
    ):
        return False
    return any(map(_CONTACT.search, said)) or any(map(_LINK.search, said))


def names_a_place(line: str) -> bool:
    """Return whether a line holds a link or an address, as what servers and lists add does."""
    return bool(_LINK.search(line) or _ADDRESS.search(line))


def _without_greeting(lines: Sequence[str], named: Sequence[str]) -> list[str]:
    """Return the lines from the first on that is more than a greeting or a place for a picture."""
    said = [line.strip() for line in lines if line.strip()]
    return list(dropwhile(lambda line: _is_preamble(line) or says_who_writes(line, named), said))


def _is_preamble(line: str) -> bool:
    if is_wordless(line) or _IN_BRACKETS.fullmatch(line) or is_banner(line):
        return True
    return is_greeting(line) or is_opening(line)


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


def _answers(line: str) -> bool:
    """Return whether a line begins as answers do, whatever it goes on to speak of."""
    return bool(ANSWER.match(line) or DECIDES.match(line))


def _may_be_notice(line: str) -> bool:
    """Return whether a line speaks as notices do; who begins as answers do speaks of the copy."""
    if _answers(line):
        return False
    if NOTICE.search(line):
        return True
    speaks = DISCLAIMER.search(line) or LEGAL.search(line)
    return bool(speaks and (ITSELF.search(line) or _LINK.search(line)))


def _leads_elsewhere(line: str) -> bool:
    return bool(_LINK.fullmatch(line) or _is_notice(line) or _may_be_notice(line))


def _begins_as_signature(said: Sequence[str], author: str) -> bool:
    """Return whether a text begins as signatures do: with a closing, or with one's own name."""
    first, *below = said
    named = words_of(author)
    formula = _without_name(first, named)
    if _is_closing(first) or _is_closing(formula):
        return True
    if formula and all(map(_is_formula, _AND.split(formula))):
        signed = formula != first.rstrip(AROUND)
        return signed or (bool(below) and _shares_a_word(below[0], named))
    return _is_name(first, named) or _is_name(_BEHIND_NAME.split(first, maxsplit=1)[0], named)


def _is_closing(text: str) -> bool:
    parts = [_PLACE.sub("", part.strip(AROUND)) for part in _SLASH.split(text)]
    if all(CLOSING.fullmatch(part) for part in parts):
        return True
    pieces = [piece.strip(AROUND) for piece in _AND.split(text)]
    return any(map(CLOSING.fullmatch, pieces)) and all(map(_is_formula, pieces))


def _is_formula(text: str) -> bool:
    bare = text.strip(AROUND)
    return bool(not bare or CLOSING.fullmatch(bare) or THANKS.fullmatch(bare))


def _without_name(line: str, named: Sequence[str]) -> str:
    """Return a line without the author's name at its end."""
    bare = line.rstrip(AROUND)
    for word in reversed(bare.split()):
        if not _is_of_name(words_of(word), named):
            break
        bare = bare.removesuffix(word).rstrip(AROUND)
    return bare


def _is_name(text: str, named: Sequence[str]) -> bool:
    written = words_of(text)
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
    return not set(words_of(text)).isdisjoint(named)
