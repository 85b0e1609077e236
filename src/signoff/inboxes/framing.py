"""Where the lines and literals of IMAP begin and end in what comes in (floor 4)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from signoff.inboxes.wire import LIMIT_BYTES

_LITERAL_AHEAD: Final = re.compile(rb"\{([0-9]+)\}\r\n\Z")


@dataclass(frozen=True, slots=True)
class Piece:
    """
    A line, or as much of a literal as came in.

    Attributes:
        data: Its bytes, the line's end included.
        begins: Whether a response begins with it: it is neither a literal nor behind one.
    """

    data: bytes
    begins: bool


class Framing:
    """
    Cuts a stream into pieces, wherever the network has cut it.

    An empty literal makes no piece: the line that announces it and the one behind it are one.

    Source: RFC 3501 section 4.3 (literals).
    """

    def __init__(self) -> None:
        self._held = bytearray()
        self._searched = 0
        self._literal = 0
        self._line = b""
        self._begins = True

    @property
    def holds(self) -> bool:
        """Whether something came in that is in no piece yet."""
        return bool(self._held)

    def add(self, data: bytes) -> None:
        """Take what came in."""
        self._held += data

    def pieces(self) -> Iterator[Piece]:
        """
        Yield the pieces that are whole by now; may be left and begun again at any time.

        Raises:
            ConnectionError: A line has no end, or a literal would be too long.
        """
        while self._held:
            if self._literal:
                part = self._take(min(self._literal, len(self._held)))
                self._literal -= len(part)
                yield Piece(part, begins=False)
            elif (end := self._held.find(b"\n", self._searched)) < 0:
                self._searched = len(self._held)
                if self._searched > LIMIT_BYTES:
                    raise ConnectionError("the server sent a line without an end")
                return
            else:
                yield from self._with(self._take(end + 1))

    def _with(self, line: bytes) -> Iterator[Piece]:
        """Yield the piece that a line completes, if it does."""
        if not line.endswith(b"\r\n"):
            raise ConnectionError("the server sent an unterminated line")
        self._line += line
        announced = _LITERAL_AHEAD.search(line)
        self._literal = int(announced[1]) if announced else 0
        if self._literal > LIMIT_BYTES:
            raise ConnectionError(f"the server announced {self._literal} bytes at once")
        if announced and not self._literal:
            return
        piece, self._line = Piece(self._line, self._begins), b""
        self._begins = announced is None
        yield piece

    def _take(self, size: int) -> bytes:
        taken = bytes(self._held[:size])
        del self._held[:size]
        self._searched = 0
        return taken
