"""A mail as bytes: values that cannot break out of their header, and proof that none did (floor 3)."""

from __future__ import annotations

import email
import re
from collections.abc import Sequence
from email.message import EmailMessage
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


def flatten(message: EmailMessage, *, subject: str, body: bytes) -> bytes:
    """
    Return a mail as bytes, headed by its subject.

    The subject may be folded and encoded; no other header is folded.

    Args:
        message: The mail without a subject and without a body.
        subject: What `header_text` made of the subject.
        body: What `signoff.mail.parts.multipart` made of the parts, with its own head.

    Raises:
        NotifyError: The bytes, read again, have other headers than they should have.

    Source: RFC 5322 section 2.1.1.
    """
    intended = ["Subject", *message.keys(), "MIME-Version", "Content-Type"]
    head: str = SMTP.header_factory("Subject", subject).fold(policy=_SUBJECT_POLICY)
    # Without the blank line at its end: the body's own head goes on.
    headers = head.encode("ascii") + message.as_bytes(policy=POLICY).removesuffix(b"\r\n")
    raw = headers + b"MIME-Version: 1.0\r\n" + body
    ensure_headers(raw, intended)
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
