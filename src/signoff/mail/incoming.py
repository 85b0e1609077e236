"""
A mail as it came in: its headers, its text, and whether a person wrote it (floor 3).

Every mail is read, whatever its bytes: what cannot be read is left out, and what is left out
decides nothing.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Final

from signoff.mail.address import is_reply_address, parse_from
from signoff.mail.charsets import readable
from signoff.mail.headers import parameters
from signoff.mail.mime import Headers, entity_of, read, values_of

REACTION_TYPE: Final = "text/vnd.google.email-reaction+json"
"""The part by which Gmail says that somebody reacted with an emoji."""

_MESSAGE_ID: Final = re.compile(r"\s*(<[!-;=?-~]{1,250}>)\s*")
_ROBOT: Final = re.compile(r"(?:mailer-daemon|postmaster)@", re.IGNORECASE)
_TELLTALES: Final = ("X-Autoreply", "X-Autorespond", "X-Failed-Recipients", "List-Id")
_BULK: Final = frozenset({"bulk", "junk", "list", "auto_reply"})


_MIN_NAME_CHARS: Final = 3
"""An address that begins with less, such as `al@`, tells no name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IncomingMail:
    """
    A mail that came in. Its headers hold tokens and are never logged.

    Attributes:
        headers: Names and raw values, unfolded, in their order; bytes that are no UTF-8 as
            lone surrogates.
        text: The text of the mail, in lines parted by line feeds, without attachments.
        rich: The same as its HTML says it, where there is HTML beside a plain text; else empty.
        truncated: Whether text was left out because there was too much of it.
        content_types: The types of the parts that were looked at, lower-case.
        sender: The address in From, normalised; `None` if the header does not name exactly one.
        message_id: The Message-ID in angle brackets; `None` if there is not exactly one.
        digest: SHA-256 of the whole mail, hex.
    """

    headers: Headers = field(repr=False)
    text: str = field(repr=False)
    rich: str = field(repr=False)
    truncated: bool
    content_types: frozenset[str]
    sender: str | None
    message_id: str | None
    digest: str

    def values(self, name: str) -> list[str]:
        """Return the values of all headers of this name, topmost first."""
        return values_of(self.headers, name)

    @property
    def author(self) -> str:
        """The name beside the address in From; what the address begins with if there is none."""
        value = readable(next(iter(self.values("From")), ""))
        local = (self.sender or "").partition("@")[0].partition("+")[0]
        return value.rpartition("<")[0].strip(' "') or local * (len(local) >= _MIN_NAME_CHARS)

    @property
    def key(self) -> str:
        """
        What the same mail has again when it is fetched again, and no other sender's mail has.

        Message-ID and sender; the digest where either is missing.
        """
        if self.message_id is None or self.sender is None:
            return f"sha256:{self.digest}"
        return f"{self.message_id}|{self.sender}"


def parse(raw: bytes, *, complete: bool = True) -> IncomingMail:
    """
    Read a mail. Never raises, whatever the bytes.

    Read are at most 64 Ki characters of text, 500 lines, and 2,000 characters of each line.

    Args:
        raw: The mail.
        complete: Whether these are all of its bytes. If not, a last line that may have been cut
            in the middle is left out.
    """
    mail = entity_of(raw, whole=complete)
    found = read(mail)
    return IncomingMail(
        headers=mail.headers,
        text=found.text,
        rich=found.rich,
        truncated=found.truncated or not complete,
        content_types=found.content_types,
        sender=_sender(mail.headers),
        message_id=_message_id(mail.headers),
        digest=hashlib.sha256(raw).hexdigest(),
    )


def automatic(mail: IncomingMail, *, own: Collection[str] = (), separator: str = "+") -> str | None:
    """
    Return why nobody wrote this mail by hand, or `None` if somebody may have.

    An automatic mail is never a decision and is never answered.

    Args:
        mail: The mail.
        own: Our own addresses, as for `signoff.mail.address.reply_address`.
        separator: What parts name and token in them.

    Raises:
        ConfigurationError: One of `own` is no address.

    Source: RFC 3834 sections 2 and 5, RFC 3464 (multipart/report).
    """
    return next(_signs(mail, own=own, separator=separator), None)


def _signs(mail: IncomingMail, *, own: Collection[str], separator: str) -> Iterator[str]:
    if any(value.strip() == "<>" for value in mail.values("Return-Path")):
        yield "Return-Path is empty"
    if any(_keyword(value) != "no" for value in mail.values("Auto-Submitted")):
        yield "Auto-Submitted"
    if any(_keyword(value) in _BULK for value in mail.values("Precedence")):
        yield "Precedence"
    yield from (name for name in _TELLTALES if mail.values(name))
    if "multipart/report" in mail.content_types:
        yield "multipart/report"
    if REACTION_TYPE in mail.content_types:
        yield "a reaction"
    if any(_ROBOT.search(value) for value in mail.values("From")):
        yield "from a mail server"
    if any(_is_own(mail.sender, base=base, separator=separator) for base in own):
        yield "from our own address"


def _is_own(sender: str | None, *, base: str, separator: str) -> bool:
    return sender is not None and is_reply_address(sender, base=base, separator=separator)


def _keyword(value: str) -> str:
    """Return the first word of a header value, without comments and parameters."""
    try:
        return parameters(value)[0]
    except ValueError:
        return ""


def _sender(headers: Headers) -> str | None:
    try:
        return parse_from(values_of(headers, "From"))
    except ValueError:
        return None


def _message_id(headers: Headers) -> str | None:
    found = [_MESSAGE_ID.fullmatch(value) for value in values_of(headers, "Message-ID")]
    return found[0].group(1) if len(found) == 1 and found[0] is not None else None
