"""
Bytes of a mail as characters: transfer encodings, character sets, encoded words (floor 3).

Nothing here raises: what cannot be decoded as declared is read as what clients usually send.
"""

from __future__ import annotations

import binascii
import codecs
import re
from typing import Final

_NOT_BASE64: Final = re.compile(rb"[^A-Za-z0-9+/]+")
_ENCODED_WORD: Final = re.compile(r"=\?([^?*\s]++)(?:\*[^?\s]*+)?\?([QqBb])\?([^?\s]*+)\?=")
_BETWEEN_WORDS: Final = re.compile(r"(?<=\?=)\s+(?==\?)")
_CHARSET: Final = re.compile(r"[A-Za-z0-9._:-]{1,40}")

_CHARSETS: Final = frozenset(
    {
        *(f"iso8859-{number}" for number in range(2, 17)),
        *(f"cp{number}" for number in range(1250, 1259)),
        *("ascii", "utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"),
        *("koi8-r", "koi8-u", "mac-roman", "cp437", "cp850", "cp852", "cp866", "cp874", "tis-620"),
        *("big5", "big5hkscs", "gb2312", "gbk", "gb18030", "euc_kr", "cp949", "johab"),
        *("shift_jis", "cp932", "euc_jp", "iso2022_jp", "iso2022_jp_2", "iso2022_kr"),
    }
)
"""The codecs of text that clients declare; not UTF-7 and the like, which hide ASCII in ASCII."""

_MEANT: Final = {
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "shift_jis": "cp932",
    "euc_kr": "cp949",
    "iso2022_jp": "iso2022_jp_ext",
    "iso8859-9": "cp1254",
    "tis-620": "cp874",
}
"""What clients send that declare a smaller set of characters. Source: WHATWG Encoding section 4.2."""


def readable(value: str) -> str:
    """
    Return a header value with its encoded words decoded, as far as they can be.

    Source: RFC 2047 section 2.
    """
    return _ENCODED_WORD.sub(_decoded_word, _BETWEEN_WORDS.sub("", value))


def decoded(body: bytes, encoding: str) -> bytes:
    """Undo a transfer encoding; one that is unknown is taken for none."""
    name = encoding.strip().lower()
    if name == "base64":
        # Whatever stands behind the padding was put there by somebody else, such as a list.
        data = _NOT_BASE64.sub(b"", body.partition(b"=")[0])
        data = data[: len(data) - (len(data) % 4 == 1)]
        return binascii.a2b_base64(data + b"=" * (-len(data) % 4))
    if name == "quoted-printable":
        return binascii.a2b_qp(body)
    return body


def characters(data: bytes, charset: str, *, whole: bool) -> str:
    """Decode as declared if that is possible, else as UTF-8, else as Windows-1252."""
    for name in (*_codec(charset), "utf-8", "cp1252"):
        try:
            return codecs.getincrementaldecoder(name)().decode(data, final=whole)
        except UnicodeError:
            continue
    return data.decode("latin-1")


def _codec(charset: str) -> list[str]:
    if not _CHARSET.fullmatch(charset):
        return []
    try:
        name = codecs.lookup(charset).name
    except LookupError:
        return []
    # Who declares Latin-1 sends Windows-1252, where 0x85 is an ellipsis and not a line break.
    return [_MEANT.get(name, name)] if name in _CHARSETS else []


def _decoded_word(word: re.Match[str]) -> str:
    charset, encoding, text = word.groups()
    if encoding in "Qq":
        data = binascii.a2b_qp(text.encode("utf-8", "surrogateescape"), header=True)
    else:
        data = decoded(text.encode("utf-8", "surrogateescape"), "base64")
    return characters(data, charset, whole=True)
