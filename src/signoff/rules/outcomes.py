"""
What a reviewer's words stand for: labels, their meanings, and the line that decides (floor 1).

Only whole words count, never parts of them; what is not clearly an answer is none. The same
reading serves a mail, a form and a call in process.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, get_args

from signoff.model.policy import Risk
from signoff.model.request import Choice

Meaning = Literal["approve", "reject", "neutral"]
"""What a label stands for."""

AnswerKind = Literal["matched", "default", "comment", "free", "blank", "ambiguous"]
"""
How an answer was read.

`matched`: the first line is a label. `default`: it is other text, and the gate names an outcome
for that. `comment`: it is other text and decides nothing. `free`: no label was asked for.
`blank`: nothing was written. `ambiguous`: it names several labels and decides nothing.
"""

MAX_LABEL_CHARS: Final = 64
"""The longest label or alias."""

_WORDS: Final[dict[Meaning, tuple[str, ...]]] = {
    "approve": ("approve", "approved", "accept", "accepted"),
    "reject": ("reject", "rejected", "deny", "denied", "decline", "declined"),
    "neutral": (),
}
_FIXED: Final[dict[str, Meaning]] = {
    word: meaning for meaning, words in _WORDS.items() for word in words
}

_TAKES_TEXT_AFTER_APPROVAL: Final[frozenset[Risk]] = frozenset({"low", "medium"})

# Not `>`, `~` or guillemets, which quote or strike out, and no combining marks, which strike out.
_QUOTES: Final = "\"'\u201c\u201d\u201e\u201f\u2018\u2019\u201a\u201b`"
_DECORATION: Final = _QUOTES + "*_"
_OPENING: Final = _DECORATION + " "
_CLOSING: Final = _OPENING + ".!,;:"
_GAP: Final = re.compile(r"(?<=[^ _\-\u2010])[ _\-\u2010]+(?=[^ _\-\u2010])")
_SEPARATOR: Final = re.compile(r"[\s.,:;!(\u2013\u2014\uff0e\uff0c\uff1a\uff1b\uff01\uff08\u3002]")
_AFTER_LABEL: Final = _CLOSING + "-(\u2013\u2014\uff0e\uff0c\uff1a\uff1b\uff01\uff08\u3002"
_NOT_AN_ANSWER: Final = ("?", "\uff1f", "/", "|")
_NOT_A_WORD: Final = re.compile(r"[\W_]+")

_HEAD_CHARS: Final = 256
"""How far into a line a label may reach: the longest one, its decoration and invisible characters."""

_Index = Mapping[str, Choice]


@dataclass(frozen=True, slots=True)
class Matched:
    """
    The line is an answer.

    Attributes:
        label: The label that it names.
        remainder: What follows the label on the line, without what separates the two.
    """

    label: str
    remainder: str = ""


@dataclass(frozen=True, slots=True)
class Ambiguous:
    """
    The line names several labels and answers nothing.

    Attributes:
        labels: The labels, in the request's order.
    """

    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NoMatch:
    """The line is other text."""


Match = Matched | Ambiguous | NoMatch


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """
    What a reviewer's text comes to.

    Attributes:
        outcome: The label, or `None` where the text decides nothing or no label was asked for.
        feedback: The reviewer's words.
        kind: How they were read.
    """

    outcome: str | None
    feedback: str
    kind: AnswerKind


def normalise(text: str) -> str:
    """
    Return `text` as it is compared with labels; two texts are the same answer if this is equal.

    Compatible characters become one (NFKC), invisible ones go, case is folded. Blanks, quotes,
    `*`, `_` and backticks go at both ends, `. ! , ; :` at the end (a leading `!` may mean `not`).
    Between words `_`, `-` and blanks are the same. What quotes or strikes out stays, so
    `> approved` and `~~approved~~` are no answers.
    """
    if text.isascii() and text.isprintable():
        # The same as below: of such characters none is invisible, and each is compatible.
        folded = text.lower()
    else:
        compatible = _visible(unicodedata.normalize("NFKC", text))
        folded = unicodedata.normalize("NFKC", compatible.casefold())
    return _GAP.sub(" ", folded.lstrip(_OPENING).rstrip(_CLOSING))


def choices(
    labels: Sequence[str],
    *,
    meanings: Mapping[str, Meaning] | None = None,
    aliases: Mapping[str, Sequence[str]] | None = None,
) -> tuple[Choice, ...]:
    """
    Return the possible answers of a gate, checked so that no text can be taken for two of them.

    The words approve, approved, accept and accepted mean approve; reject, rejected, deny,
    denied, decline and declined mean reject. Where exactly one label has such a meaning, all of
    its words stand for that label. A label whose meaning is neither fixed so nor declared is
    neutral.

    Args:
        labels: The labels, at most 64 characters each; none where any text is the answer.
        meanings: What other labels stand for, by label.
        aliases: Other words for a label, by label.

    Returns:
        A choice for each label, in the same order; its aliases are normalised.

    Raises:
        ValueError: A label or alias is blank, too long or of several lines; two labels share a
            word; `meanings` or `aliases` names no label; or a word of fixed meaning would get
            another one.
    """
    if isinstance(labels, str):
        raise ValueError(  # noqa: TRY004 - whoever defines a gate gets one kind of error
            f"the labels are one text, {labels!r}; give a list of labels"
        )
    declared_meanings: dict[str, Meaning] = dict(meanings) if meanings else {}
    declared_aliases = dict(aliases or {})
    _check_known(declared_meanings, labels, where="meanings")
    _check_known(declared_aliases, labels, where="aliases")
    meaning_of: dict[str, Meaning] = {
        label: _meaning(label, declared_meanings.get(label)) for label in labels
    }
    made = tuple(
        Choice(
            label=label,
            meaning=meaning_of[label],
            aliases=_aliases(
                label,
                declared_aliases.get(label, ()),
                meaning=meaning_of[label],
                alone=list(meaning_of.values()).count(meaning_of[label]) == 1,
            ),
        )
        for label in labels
    )
    _index(made)
    return made


def match(line: str, choices: Sequence[Choice], *, risk: Risk) -> Match:
    """
    Return which label a line names.

    A line that is a label or alias names it. A label that means reject may be followed by
    text, behind a blank, punctuation or a dash, whatever the text says: `deny approval` refuses.
    A label that means approve may be followed by `.` or `!`, a blank and text at low and medium
    risk, if the text holds no label, alias or word of fixed meaning. Any other label stands
    alone. `?`, `/` and `|` behind a label make it a question or a list, which is no answer.

    Args:
        line: One line that the reviewer wrote.
        choices: The possible answers.
        risk: The risk of the request.
    """
    return _match(line, _index(choices), risk)


def read_answer(
    first_line: str,
    rest: str,
    choices: Sequence[Choice] | None,
    *,
    risk: Risk,
    default_outcome: str | None = None,
) -> Answer:
    """
    Return what a reviewer's text comes to: the first line decides, what follows is the feedback.

    The feedback is the rest; it is the whole text where there is no rest, where the first line
    says more than its label, or where it is no label at all. A line below that names another
    label makes the text ambiguous.

    Args:
        first_line: The first line that the reviewer wrote, or the outcome that a caller gave.
        rest: The lines after it.
        choices: The possible answers; without any, whatever was written is the feedback.
        risk: The risk of the request.
        default_outcome: The label that other text takes, if its meaning is not approve.

    Raises:
        ValueError: `default_outcome` is none of the labels.
    """
    text = f"{first_line}\n{rest}".strip()
    if _is_blank(text):
        return Answer(outcome=None, feedback="", kind="blank")
    if not choices:
        return Answer(outcome=None, feedback=text, kind="free")
    index = _index(choices)
    below = _labels_below(rest, index, risk)
    found = _match(first_line, index, risk)
    if isinstance(found, NoMatch):
        applies = default_allowed(default_outcome, choices) and not _is_blank(first_line)
        return _other_text(text, default_outcome if applies else None, below)
    if isinstance(found, Ambiguous) or not below <= {found.label}:
        return Answer(outcome=None, feedback=text, kind="ambiguous")
    feedback = text if found.remainder else rest.strip() or text
    return Answer(outcome=found.label, feedback=feedback, kind="matched")


def label_of_meaning(choices: Sequence[Choice], meaning: Meaning) -> str:
    """
    Return the one label of a meaning.

    Raises:
        ValueError: No label has this meaning, or several have; the message names the labels.
    """
    found = [choice.label for choice in choices if choice.meaning == meaning]
    if len(found) == 1:
        return found[0]
    if found:
        raise ValueError(f"several labels mean {meaning}: {_listed(found)}; name one of them")
    labels = _listed(choice.label for choice in choices)
    raise ValueError(f"no label means {meaning}; the labels are {labels or 'none'}")


def default_allowed(default_outcome: str | None, choices: Sequence[Choice]) -> bool:
    """
    Return whether text that names no label may take this outcome: free text never approves.

    Raises:
        ValueError: It is none of the labels.
    """
    if default_outcome is None:
        return False
    for choice in choices:
        if choice.label == default_outcome:
            return choice.meaning != "approve"
    labels = _listed(choice.label for choice in choices)
    raise ValueError(f"the default outcome {default_outcome!r} is none of the labels: {labels}")


def _other_text(text: str, default: str | None, below: set[str]) -> Answer:
    if default is None:
        return Answer(outcome=None, feedback=text, kind="comment")
    if below <= {default}:
        return Answer(outcome=default, feedback=text, kind="default")
    return Answer(outcome=None, feedback=text, kind="ambiguous")


def _visible(text: str) -> str:
    """Make every blank a space and drop what shows nothing: controls and format characters."""
    if text.isprintable():
        return text
    return "".join(
        " " if char.isspace() else char
        for char in text
        if char.isspace() or unicodedata.category(char) not in {"Cc", "Cf"}
    )


def _is_blank(text: str) -> bool:
    return not _visible(text).strip()


def _listed(labels: Iterable[str]) -> str:
    return ", ".join(repr(label) for label in labels)


def _check_known(given: Iterable[str], labels: Sequence[str], *, where: str) -> None:
    unknown = [label for label in given if label not in labels]
    if unknown:
        raise ValueError(
            f"{where} names {_listed(unknown)}, which is none of the labels: {_listed(labels)}"
        )


def _meaning(label: str, declared: Meaning | None) -> Meaning:
    fixed = _FIXED.get(_word(label))
    if declared is None:
        return fixed or "neutral"
    if declared not in get_args(Meaning):
        raise ValueError(
            f"the meaning of {label!r} is {declared!r}; use one of {_listed(get_args(Meaning))}"
        )
    _check_fixed(label, fixed, declared)
    return declared


def _aliases(
    label: str, declared: Sequence[str], *, meaning: Meaning, alone: bool
) -> tuple[str, ...]:
    if isinstance(declared, str):
        raise ValueError(  # noqa: TRY004 - whoever defines a gate gets one kind of error
            f"the aliases of {label!r} are one text, {declared!r}; give a list"
        )
    words = [_word(alias) for alias in declared]
    for word in words:
        _check_fixed(word, _FIXED.get(word), meaning)
    implied = _WORDS[meaning] if alone else ()
    return tuple(dict.fromkeys(word for word in (*words, *implied) if word != normalise(label)))


def _check_fixed(word: str, fixed: Meaning | None, wanted: Meaning) -> None:
    if fixed not in {None, wanted}:
        raise ValueError(f"{word!r} always means {fixed}; it cannot stand for {wanted}")


def _word(text: str) -> str:
    """Return a label or alias as it is compared, if it is fit to be one."""
    if len(text) > MAX_LABEL_CHARS:
        raise ValueError(f"{text!r} has more than {MAX_LABEL_CHARS} characters")
    if any(unicodedata.category(char) in {"Cc", "Zl", "Zp"} for char in text):
        raise ValueError(f"{text!r} is more than one line of text")
    word = normalise(text)
    if not word:
        raise ValueError(f"{text!r} is blank: a label needs a letter, a digit or a symbol")
    return word


def _index(choices: Iterable[Choice]) -> _Index:
    index: dict[str, Choice] = {}
    for choice in choices:
        for word in map(normalise, (choice.label, *choice.aliases)):
            other = index.setdefault(word, choice)
            if other is not choice:
                raise ValueError(
                    f"{word!r} would stand for both {other.label!r} and {choice.label!r}"
                )
    return index


def _match(line: str, index: _Index, risk: Risk) -> Match:
    line = line.strip()
    whole = normalise(line)
    if whole in index:
        return Matched(index[whole].label)
    heads = [_head(line, word) for word in index if whole.startswith(word)]
    found = max((head for head in heads if head is not None), key=_word_length, default=None)
    if found is None:
        return NoMatch()
    choice = index[found.word]
    if choice.meaning == "reject":
        return _refusal(choice, found)
    if choice.meaning == "approve":
        return _approval(choice, found, index, risk)
    return NoMatch()


@dataclass(frozen=True, slots=True)
class _Head:
    """A word at the beginning of a line, the character behind it, and all behind that."""

    word: str
    separator: str
    rest: str


def _word_length(head: _Head) -> int:
    return len(head.word)


def _head(line: str, word: str) -> _Head | None:
    for separator in _SEPARATOR.finditer(line[:_HEAD_CHARS]):
        if normalise(line[: separator.start()]) == word:
            return _Head(word, separator.group(), line[separator.end() :])
    return None


def _refusal(choice: Choice, head: _Head) -> Match:
    remainder = head.rest.strip(_AFTER_LABEL)
    if remainder.startswith(_NOT_AN_ANSWER):
        return NoMatch()
    return Matched(choice.label, remainder)


def _approval(choice: Choice, head: _Head, index: _Index, risk: Risk) -> Match:
    if head.separator not in {".", "!"}:
        return NoMatch()
    behind = head.rest.lstrip("!" + _DECORATION if head.separator == "!" else _DECORATION)
    if not behind[:1].isspace() or behind.lstrip().startswith(_NOT_AN_ANSWER):
        return NoMatch()
    mentioned = set(_mentioned(behind, index))
    others = [
        other.label
        for other in dict.fromkeys(index.values())
        if other is not choice and mentioned & {normalise(other.label), *other.aliases}
    ]
    if others:
        return Ambiguous((choice.label, *others))
    if mentioned or risk not in _TAKES_TEXT_AFTER_APPROVAL:
        return NoMatch()
    return Matched(choice.label, behind.strip())


def _mentioned(text: str, index: _Index) -> Iterator[str]:
    """Yield the labels, aliases and words of fixed meaning that stand somewhere in a text."""
    normalised = normalise(text)
    spaced = f" {_NOT_A_WORD.sub(' ', normalised)} "
    for word in dict.fromkeys((*index, *_FIXED)):
        bare = _NOT_A_WORD.sub(" ", word).strip()
        if f" {bare} " in spaced if bare else word in normalised:
            yield word


def _labels_below(rest: str, index: _Index, risk: Risk) -> set[str]:
    labels: set[str] = set()
    for line in rest.split("\n"):
        found = _match(line, index, risk)
        if isinstance(found, Ambiguous):
            labels.update(found.labels)
        elif isinstance(found, Matched):
            labels.add(found.label)
    return labels
