"""The parts of a mail as bytes: written once, with no object of a mail between (floor 3)."""

from __future__ import annotations

import base64
import hashlib
import quopri
from collections.abc import Sequence
from typing import Final

_LONGEST_LINE: Final = 998
"""Source: RFC 5322 section 2.1.1."""


def text_part(text: str, *, subtype: str = "plain", filename: str = "") -> bytes:
    """
    Return a part that holds a text, in seven bits, as UTF-8.

    Args:
        text: Its lines may end in any way; in the part they end in CRLF.
        subtype: `plain` or `html`.
        filename: In ASCII, for an attachment; empty for what is shown.

    Raises:
        UnicodeEncodeError: The text has lone surrogates.

    Source: RFC 2045 section 6.
    """
    lines = text.encode().splitlines()
    encoding, body = _encoded(lines)
    head = f'Content-Type: text/{subtype}; charset="utf-8"\r\n'
    head += f"Content-Transfer-Encoding: {encoding}\r\n"
    if filename:
        head += f'Content-Disposition: attachment; filename="{filename}"\r\n'
    return head.encode("ascii") + b"\r\n" + body


def multipart(kind: str, parts: Sequence[bytes]) -> bytes:
    """
    Return parts within a multipart, headed by its Content-Type.

    Its boundary is a digest of the parts, so none of them can hold it.

    Source: RFC 2046 section 5.1.1.
    """
    boundary = hashlib.sha256(b"\0".join(parts)).hexdigest()[:32]
    between = f"\r\n--{boundary}\r\n".encode("ascii")
    head = f'Content-Type: multipart/{kind}; boundary="{boundary}"\r\n'
    body = between + between.join(parts) + f"\r\n--{boundary}--\r\n".encode("ascii")
    return head.encode("ascii") + body


def _encoded(lines: Sequence[bytes]) -> tuple[str, bytes]:
    """Return the shortest encoding that fits, and what it makes of the lines."""
    text = b"".join(line + b"\n" for line in lines)
    if text.isascii() and all(len(line) <= _LONGEST_LINE for line in lines):
        return "7bit", text.replace(b"\n", b"\r\n")
    printable = quopri.encodestring(text)
    packed = base64.encodebytes(text.replace(b"\n", b"\r\n"))
    if len(printable) <= len(packed):
        return "quoted-printable", printable.replace(b"\n", b"\r\n")
    return "base64", packed.replace(b"\n", b"\r\n")
