"""Raw header values, read strictly: folding, comments, quoted strings, parameters (floor 3)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

MAX_HEADER_CHARS: Final = 16_384
"""A longer value is not read: no mail that a person sends has one where it matters."""

_FOLD: Final = re.compile(r"\r?\n(?=[ \t])")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_SPECIAL: Final = re.compile(r'[;"()\\]')
_IN_COMMENT: Final = re.compile(r"[()\\]")
_QUOTED: Final = re.compile(r'"((?:[^"\\]|\\.)*+)"')
_QUOTED_PAIR: Final = re.compile(r"\\(.)")

# A control character marks where a quoted string stood; no value with one gets that far.
_MARK: Final = "\x00"
_MARKED: Final = re.compile(r"\x00(\d+)\x00")
_PARAMETER: Final = re.compile(r"\s*([^\s=*\x00]+)(?:\*[^\s=]*)?\s*=\s*(\S+)\s*")


@dataclass(frozen=True, slots=True)
class Fields:
    """
    A header value, cut at its semicolons.

    Attributes:
        parts: The parts, with a blank for each comment and a mark for each quoted string.
        quoted: The contents of the quoted strings.
    """

    parts: tuple[str, ...]
    quoted: tuple[str, ...]

    def text(self, word: str) -> str | None:
        """Return what a word of a part says: itself, or its quoted string; `None` if it mixes both."""
        marked = _MARKED.fullmatch(word)
        if marked is not None:
            return self.quoted[int(marked.group(1))]
        return None if _MARK in word else word


def unfolded(value: str) -> str:
    """
    Return a header value on one line.

    Raises:
        ValueError: It holds a control character, or is too long to be honest.

    Source: RFC 5322 section 2.2.3.
    """
    line = _FOLD.sub("", value.rstrip("\r\n"))
    if len(line) > MAX_HEADER_CHARS:
        raise ValueError("a header value is too long")
    if _CONTROL.search(line):
        raise ValueError("a header value holds a control character")
    return line


def fields(value: str) -> Fields:
    """
    Cut a header value at the semicolons that stand outside comments and quoted strings.

    Raises:
        ValueError: A comment or a quoted string has no end, or the value is unfit as a whole.

    Source: RFC 5322 sections 3.2.2 and 3.2.4.
    """
    line = unfolded(value)
    quoted: list[str] = []
    plain = "".join(_plain(line, quoted))
    return Fields(parts=tuple(plain.split(";")), quoted=tuple(quoted))


def parameters(value: str) -> tuple[str, Mapping[str, str]]:
    """
    Return the first word of a MIME header, lower-case, and its parameters by lower-case name.

    Of a parameter in several pieces (RFC 2231) only the first piece is kept; what is no
    parameter is passed over. The first of two equal names counts.

    Raises:
        ValueError: The value has no readable form.

    Source: RFC 2045 section 5.1.
    """
    read = fields(value)
    found: dict[str, str] = {}
    for part in read.parts[1:]:
        parameter = _PARAMETER.fullmatch(part)
        text = read.text(parameter.group(2)) if parameter else None
        if parameter is not None and text is not None:
            found.setdefault(parameter.group(1).lower(), text)
    return read.parts[0].strip().lower(), found


def _plain(line: str, quoted: list[str]) -> Iterator[str]:
    """Yield a line with a mark for each quoted string, which goes to `quoted`, and no comments."""
    at = 0
    while (special := _SPECIAL.search(line, at)) is not None:
        yield line[at : special.start()]
        at = special.end()
        if special.group() == "(":
            yield " "
            at = _after_comment(line, at)
        elif special.group() == '"':
            string = _QUOTED.match(line, special.start())
            if string is None:
                raise ValueError("a quoted string has no end")
            yield f"{_MARK}{len(quoted)}{_MARK}"
            quoted.append(_QUOTED_PAIR.sub(r"\1", string.group(1)))
            at = string.end()
        elif special.group() == ";":
            yield ";"
        else:
            raise ValueError("a parenthesis or a backslash stands alone")
    yield line[at:]


def _after_comment(line: str, at: int) -> int:
    """Return where the comment that was entered before `at` ends; comments nest."""
    depth = 1
    while depth:
        special = _IN_COMMENT.search(line, at)
        if special is None:
            raise ValueError("a comment has no end")
        at = special.end()
        if special.group() == "\\":
            at += 1
        else:
            depth += 1 if special.group() == "(" else -1
    return at
