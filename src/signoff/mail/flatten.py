"""A mail as bytes: values that cannot break out of their header, and proof that none did (floor 3)."""

from __future__ import annotations

import email
import re
from collections.abc import Sequence
from email.headerregistry import Address
from email.policy import SMTP, compat32
from typing import Final

from signoff.errors import NotifyError
from signoff.mail.page import shown

# Python encodes an id or an address that is longer than a line, and then neither works any more.
# A 7-bit body needs no promise of the server.
POLICY: Final = SMTP.clone(max_line_length=998, cte_type="7bit")
"""How a mail is written: headers on one line, CRLF, seven bits."""

# Encoded words have at most 75 characters, lines with them 76. Source: RFC 2047 section 2.
_SUBJECT_POLICY: Final = SMTP.clone(max_line_length=76)

_ID: Final = re.compile(r"<[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9.-]+>")
_LONGEST_ID: Final = 250

_ATOMS: Final = r"[A-Za-z0-9!#$%&'*+/^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/^_`{|}~-]+)*"
_NEEDS_NOTHING: Final = re.compile(
    rf"{_ATOMS}(?:@[a-z0-9-]+(?:\.[a-z0-9-]+)*)?|<{_ATOMS}@{_ATOMS}>"
)
_WORDS: Final = re.compile(r"[!-~]+(?: [!-~]+)*")
_LONGEST_SUBJECT: Final = 60


def header_text(text: str) -> str:
    """
    Return a text fit for a header: on one line, nothing invisible, no encoded word.

    Python before 3.11.10 and 3.12.5 writes what an encoded word (RFC 2047) in a given text
    decodes to, line breaks too, so that one could add headers (CVE-2024-6923).
    """
    return shown(" ".join(text.split())).replace("=?", "= ?")


def is_message_id(text: str) -> bool:
    """Return whether `text` is one message id that can stand in a header as it is."""
    return len(text) <= _LONGEST_ID and _ID.fullmatch(text) is not None


def header_line(name: str, value: str | Address) -> str:
    """
    Return a header on one line: an address, an id, a date, or one of our own words.

    The library writes it. Where there is nothing to encode and to quote, it is written here:
    the library reads every value like a mail from strangers, which costs more than a whole page.
    """
    if isinstance(value, str) and len(value) <= _LONGEST_ID and _NEEDS_NOTHING.fullmatch(value):
        return f"{name}: {value}\r\n"
    line: str = POLICY.header_factory(name, value).fold(policy=POLICY)
    return line


def subject_line(subject: str) -> str:
    """Return what `header_text` made of the subject as a header; it may be folded and encoded."""
    if len(subject) <= _LONGEST_SUBJECT and _WORDS.fullmatch(subject) and "=?" not in subject:
        return f"Subject: {subject}\r\n"
    line: str = _SUBJECT_POLICY.header_factory("Subject", subject).fold(policy=_SUBJECT_POLICY)
    return line


def flatten(headers: Sequence[str], body: bytes) -> bytes:
    """
    Return a mail as bytes.

    Args:
        headers: What `subject_line` and `header_line` made.
        body: What `signoff.mail.parts.multipart` made of the parts, with its own head.

    Raises:
        NotifyError: The bytes, read again, have other headers than they should have.

    Source: RFC 5322 section 2.1.1.
    """
    names = [line.partition(":")[0] for line in headers]
    raw = "".join(headers).encode("ascii") + b"MIME-Version: 1.0\r\n" + body
    ensure_headers(raw, [*names, "MIME-Version", "Content-Type"])
    return raw


def ensure_headers(raw: bytes, intended: Sequence[str]) -> None:
    """Raise `NotifyError` unless a mail has exactly these headers, in this order."""
    head, blank, _ = raw.partition(b"\r\n\r\n")
    found = email.message_from_bytes(head + blank, policy=compat32).keys()
    if found != list(intended):
        raise NotifyError(
            f"the mail came out with the headers {found}, not {list(intended)}; it was not sent",
            permanent=True,
        )
