"""
What goes over the line in IMAP: names and numbers out, rows and numbers in (floor 4).

Pure functions for every transport. Servers differ in the order of what they say, and say
more than they were asked.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from typing import Final

_MONTHS: Final = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec"
_UID: Final = re.compile(rb"[1-9][0-9]{0,9}")
# Only the names of what is fetched have blanks in brackets; a flag may have a bracket anywhere.
_TOKEN: Final = re.compile(
    rb"""[ ]* (?: (?P<open>\()
                | (?P<close>\))
                | "(?P<quoted>(?:[^"\\]|\\.)*)"
                | (?P<atom>(?:BODY|BINARY)\[[^\]]*\][^\s()"]*|[^\s()"]+)
              )""",
    re.VERBOSE | re.IGNORECASE,
)
_LITERAL_AHEAD: Final = re.compile(rb"~?\{[0-9]+\}$")

Row = Mapping[bytes, bytes | None]
"""The items of one FETCH row by name, upper-case; `None` stands for NIL. Lists are left out."""


def quoted(text: str) -> str:
    """Return an ASCII text without line ends as a quoted string."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def mailbox_name(name: str) -> str:
    """
    Return a mailbox's name as servers know it, quoted.

    Source: RFC 3501 section 5.1.3 (modified UTF-7).
    """
    return quoted(re.sub(r"&|[^\x20-\x7e]+", _shifted, name))


def _shifted(found: re.Match[str]) -> str:
    if found[0] == "&":
        return "&-"
    coded = base64.b64encode(found[0].encode("utf-16-be", "surrogatepass"), b"+,")
    return f"&{coded.decode().rstrip('=')}-"


def uid_set(uids: Iterable[int]) -> str:
    """Return UIDs as a set; of none there is no set."""
    return ",".join(map(str, uids))


def day(of: date) -> str:
    """Return a day as a search asks for it."""
    month = _MONTHS[4 * of.month - 4 : 4 * of.month - 1]
    return f"{of.day:02d}-{month}-{of.year:04d}"


def uids_in(lines: Iterable[bytes]) -> list[int]:
    """Return the UIDs in the answer to a search, ascending, each once, and nothing else that is in it."""
    words = (word for line in lines for word in line.split())
    return sorted({int(word) for word in words if _UID.fullmatch(word)})


def row(pieces: Sequence[bytes]) -> Row:
    """
    Return the items of one FETCH row.

    Args:
        pieces: Text and literal by turns, beginning and ending with text; a text that is
            followed by a literal ends with its length in braces.

    Raises:
        ValueError: It is no FETCH row.
    """
    items: dict[bytes, bytes | None] = {}
    name: bytes | None = None
    depth = 0
    for kind, value in _tokens(pieces):
        if kind == "open":
            depth += 1
        elif kind == "close":
            depth -= 1
            name = None
        elif depth == 1 and name is None:
            name = (value or b"").upper()
        elif depth == 1 and name is not None:
            items[name] = value
            name = None
    return items


def _tokens(pieces: Sequence[bytes]) -> Iterator[tuple[str, bytes | None]]:
    for number, piece in enumerate(pieces):
        if number % 2:
            yield "literal", piece
        else:
            yield from _tokens_of_text(_LITERAL_AHEAD.sub(b"", piece).rstrip())


def _tokens_of_text(text: bytes) -> Iterator[tuple[str, bytes | None]]:
    position = 0
    while position < len(text):
        token = _TOKEN.match(text, position)
        if token is None:
            raise ValueError("a FETCH row that is none")
        position = token.end()
        kind, value = next(
            (kind, value) for kind, value in token.groupdict().items() if value is not None
        )
        if kind == "quoted":
            yield kind, re.sub(rb"\\(.)", rb"\1", value)
        elif value.upper() == b"NIL":
            yield kind, None
        else:
            yield kind, value


def uid_of(items: Row) -> int | None:
    """Return which message a row is about; `None` where it does not say."""
    return number_of(items.get(b"UID"))


def number_of(value: bytes | None) -> int | None:
    """Return a number up to ten digits; `None` where there is none."""
    found = re.match(rb"[0-9]{1,10}(?![0-9])", value or b"")
    return int(found[0]) if found else None


def body_of(items: Row) -> bytes | None:
    """Return the message in a row, from its first byte on; `None` where there is none."""
    found = (items[name] for name in (b"BODY[]<0>", b"BODY[]") if name in items)
    return next(found, None)
