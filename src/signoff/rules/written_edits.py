"""
Changes that a reviewer writes as lines of text, such as `amount = 900.00` (floor 1, pure).

A text on its way through mail programs loses blanks and gains line breaks. So only values that
survive such a way unchanged can be written like this, and a line that could be the rest of one
is an error: nothing is guessed, and one bad line makes all of them void.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Final, cast, final

from signoff.model.policy import Risk
from signoff.model.request import Choice
from signoff.model.values import TYPE_KEY, Tree, below, escaped, read, rows, visible
from signoff.rules.edits import Edit, Problem, check_edit, coerce
from signoff.rules.outcomes import NoMatch, match, normalise

APPROVED_WITH_CHANGES: Final = "approved with changes"
"""The first line below which changes are read."""

MAX_LINE_CHARS: Final = 66
"""The longest line that is offered: what mail programs break is longer."""

MAX_VALUE_CHARS: Final = 500
"""The longest value that is read."""

_WITH_PARTS: Final = frozenset({"model", "dataclass", "namedtuple", "tuple"})
_ADDRESS: Final = re.compile(r"\S*://\S*")


@final
@dataclass(frozen=True, slots=True)
class Scalar:
    """
    A value of a payload that can be written on one line.

    Attributes:
        name: Its path, such as ``order.lines[0].price``; ``value`` for the payload itself.
        text: The value as it is written.
        tree: The value.
        steps: The keys and positions that lead to it.
    """

    name: str
    text: str
    tree: Tree
    steps: tuple[str | int, ...]

    @property
    def line(self) -> str:
        """Name and value as a line."""
        return f"{self.name} = {self.text}".rstrip()


@final
@dataclass(frozen=True, slots=True)
class Written:
    """
    What the lines below the first one come to.

    Attributes:
        edit: The payload as it was changed; with a problem, as it was proposed.
        feedback: The lines that change nothing.
        problems: Why nothing is changed; empty if something is.
    """

    edit: Edit
    feedback: str
    problems: tuple[Problem, ...]


def label_with_changes(choices: Sequence[Choice], *, risk: Risk) -> str | None:
    """
    Return the label that an approval with changes gives: the only one that means approve.

    `None` if there is none or several, or if the first line itself is an answer already.
    """
    approving = [choice.label for choice in choices if choice.meaning == "approve"]
    taken = not isinstance(match(APPROVED_WITH_CHANGES, choices, risk=risk), NoMatch)
    return approving[0] if len(approving) == 1 and not taken else None


def announces_changes(line: str) -> bool:
    """Return whether a first line says that changes follow; compared as labels are."""
    return normalise(line) == APPROVED_WITH_CHANGES


def scalars(tree: Tree, *, fixed: Collection[str] = ()) -> tuple[Scalar, ...]:
    """
    Return the values of a payload that can be changed by a line of text, in order.

    Left out are values of several lines, over-long ones, those with blanks or characters that
    would not come back as they were, `None`, and what is in sets or under keys that are no text.

    Args:
        tree: The payload.
        fixed: The names at the top that may not be changed.
    """
    found = [one for one in _scalars(tree, "", ()) if not one.steps or one.steps[0] not in fixed]
    often = Counter(one.name.casefold() for one in found)
    return tuple(one for one in found if often[one.name.casefold()] == 1)


def read_changes(tree: Tree, lines: Sequence[str], *, fixed: Collection[str] = ()) -> Written:
    """
    Read the lines below the first one: changes, and the reviewer's words.

    A line with `=` is a change. One without is the reviewer's words, but not right below a
    change, where it could be the rest of a line that a mail program broke.

    Args:
        tree: The proposed payload.
        lines: The lines.
        fixed: The names at the top that may not be changed.
    """
    reading = _Reading(scalars(tree, fixed=fixed))
    for line in lines:
        reading.take(" ".join(line.split()))
    edited = reduce(_changed, reading.changes, tree)
    edit = check_edit(tree, edited, fixed=fixed)
    problems = (*reading.problems, *edit.problems)
    if not problems and not edit.changes:
        problems = (Problem("payload", "no line below the first one changes a value"),)
    if problems:
        edit = Edit(tree, (), problems)
    return Written(edit, "\n".join(reading.words).strip("\n"), problems)


def changes_among(
    tree: Tree, lines: Sequence[str], *, fixed: Collection[str] = ()
) -> tuple[str, ...]:
    """
    Return the lines, their blanks single, that would change a value of a payload, fit or not.

    For lines that are not read as changes, so that none of them is passed over in silence.

    Args:
        tree: The payload.
        lines: The lines.
        fixed: The names at the top that may not be changed.
    """
    texts = {one.name.casefold(): one.text for one in scalars(tree, fixed=fixed)}
    found: list[str] = []
    for line in (" ".join(one.split()) for one in lines):
        name, sign, value = line.partition("=")
        text = texts.get(name.strip().casefold())
        if sign and text is not None and value.strip() != text:
            found.append(line)
    return tuple(found)


class _Reading:
    """The lines so far."""

    def __init__(self, known: Sequence[Scalar]) -> None:
        self._known: Mapping[str, Scalar] = {one.name.casefold(): one for one in known}
        self._given: set[str] = set()
        self._below_change = False
        self.changes: list[tuple[Scalar, Tree]] = []
        self.words: list[str] = []
        self.problems: list[Problem] = []

    def take(self, line: str) -> None:
        """Read one line, its blanks already single."""
        name, sign, value = line.partition("=")
        if sign and "=" in _ADDRESS.sub("", line):
            self._below_change = True
            self._change(name.strip(), value.strip())
        elif line and self._below_change:
            why = "stands right below a change; leave a blank line before words of your own"
            self.problems.append(Problem(line, why))
        else:
            self._below_change = False
            self.words.append(line)

    def _change(self, name: str, value: str) -> None:
        scalar = self._known.get(name.casefold())
        if scalar is None:
            self.problems.append(
                Problem(name or "=", "is no name of a value that can be changed here")
            )
        elif scalar.name in self._given:
            self.problems.append(Problem(scalar.name, "is given twice"))
        else:
            self._given.add(scalar.name)
            if value != scalar.text:
                self._new_value(scalar, value)

    def _new_value(self, scalar: Scalar, value: str) -> None:
        why = _unfit(value)
        if why:
            self.problems.append(Problem(scalar.name, why))
            return
        try:
            self.changes.append((scalar, coerce(scalar.tree, value)))
        except ValueError as error:
            self.problems.append(Problem(scalar.name, f"cannot be changed: {error}"))


def _unfit(value: str) -> str:
    """Say why a text cannot be any value; empty if it can."""
    if not value:
        return "is blank; a value cannot be emptied like this"
    if len(value) > MAX_VALUE_CHARS:
        return f"has more than {MAX_VALUE_CHARS} characters"
    if visible(value, keep_newlines=False) != value:
        return "has a character that nobody sees"
    return ""


def _scalars(tree: Tree, path: str, steps: tuple[str | int, ...]) -> Iterator[Scalar]:
    node = read(tree)
    if node.children is None:
        scalar = Scalar(path or "value", rows(tree)[0].text, tree, steps)
        if _comes_back(scalar):
            yield scalar
        return
    parts = _parts(tree, node.kind)
    for child in node.children:
        named = isinstance(parts, dict) and escaped(str(child.label)) in parts
        if named or isinstance(parts, list):
            yield from _scalars(child.tree, below(path, child.segment), (*steps, child.label))


def _parts(tree: Tree, kind: str) -> Tree:
    """Return the list or dict that holds the parts of a container; None where no path leads to them."""
    if isinstance(tree, dict) and TYPE_KEY in tree:
        return tree["v"] if kind in _WITH_PARTS and tree[TYPE_KEY] == kind else None
    return tree


def _comes_back(scalar: Scalar) -> bool:
    """Return whether a value is the same after it was a line of a mail."""
    parts = (scalar.name, scalar.text)
    blanks_change = any(" ".join(part.split()) != part for part in parts)
    if len(scalar.line) > MAX_LINE_CHARS or blanks_change or "=" in scalar.name:
        return False
    try:
        return coerce(scalar.tree, scalar.text) == scalar.tree
    except ValueError:
        return False


def _changed(tree: Tree, change: tuple[Scalar, Tree]) -> Tree:
    scalar, value = change
    return _put(tree, scalar.steps, value)


def _put(tree: Tree, steps: Sequence[str | int], value: Tree) -> Tree:
    if not steps:
        return value
    if isinstance(tree, dict) and TYPE_KEY in tree:
        return {**tree, "v": _put(tree["v"], steps, value)}
    step, *rest = steps
    if isinstance(tree, list):
        return [_put(part, rest, value) if at == step else part for at, part in enumerate(tree)]
    members = cast("dict[str, Tree]", tree)
    key = escaped(str(step))
    return {**members, key: _put(members[key], rest, value)}
