"""Mail addresses: the sender of a mail, and addresses and message ids that carry a token (floor 3)."""

from __future__ import annotations

import base64
import hmac
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import islice
from typing import Final

from signoff.errors import ConfigurationError
from signoff.mail.headers import unfolded
from signoff.rules.addresses import MAX_LOCAL_OCTETS, normalise_address, normalise_domain
from signoff.security.tokens import token_chars

MAX_MESSAGE_ID_CHARS: Final = 76
"""A longer id may be folded or encoded on its way through a mail library, and threads would break."""

MAX_CANDIDATES: Final = 8
"""How many tokens or message ids of one mail are looked at; all are the sender's to forge."""

SEPARATORS: Final = frozenset("+-_=")
"""What may stand between a mailbox's name and a token."""

Headers = Iterable[tuple[str, str]]
"""Names and values in the order in which they stand in a mail."""


# A display name may hold atoms with dots, encoded words, raw UTF-8 and quoted strings; never a
# character that some other parser could take for the beginning of an address.
_WORD: Final = r'[^\x00-\x20\x7f-\x9f()<>@,;:\\"\[\]]++'
_STRING: Final = r'"(?:[^"\\]|\\.)*+"'
_ADDRESS: Final = r'[^\s()<>@,;:\\"\[\]]++@[^\s()<>@,;:\\"\[\]]++'
_FROM: Final = re.compile(
    rf"[ \t]*+(?:(?:{_WORD}|{_STRING}|[ \t]++)*+<({_ADDRESS})>|({_ADDRESS}))[ \t]*+"
)

_RECIPIENT_HEADERS: Final = (
    "x-gm-original-to",
    "delivered-to",
    "x-original-to",
    "envelope-to",
    "to",
    "cc",
)
_TOKEN: Final = re.compile(rf"[a-z2-7]{{{token_chars}}}")
_TOKEN_IN_ADDRESS: Final = re.compile(rf"(?<![A-Za-z0-9])([A-Za-z2-7]{{{token_chars}}})@")
_ANY_ADDRESS: Final = re.compile(rf"(?<![^\s()<>@,;:\\\"\[\]]){_ADDRESS}")
_DELIVERY_ID: Final = re.compile(r"dlv_[a-z0-9]{1,32}")
_MESSAGE_ID: Final = re.compile(
    r"<(dlv_[a-z0-9]{1,32})(?:\.([a-z2-7]{16}))?@[a-z0-9.-]{1,253}>", re.IGNORECASE | re.ASCII
)
_TAG_BYTES: Final = 10
_FEWEST_LABELS: Final = 2


def is_same(sender: str | None, recipient: str) -> bool:
    """
    Return whether a mail's sender is whom a message was sent to.

    Args:
        sender: As `parse_from` gives it; `None` is nobody.
        recipient: An address in any spelling, such as with the letters of its domain.
    """
    try:
        return sender == normalise_address(recipient)
    except ValueError:
        return False


def parse_from(values: Sequence[bytes | str]) -> str:
    """
    Return whom a mail says it is from, normalised, if it says so in one way only.

    Several parsers on the way read the same header, and each must find the same address in it.
    So everything goes that any of them could read differently: a second header, groups, lists,
    comments, routes, quoted local parts, characters outside their place. The display name says
    nothing.

    Args:
        values: The raw values of all From headers, folded or not.

    Raises:
        ValueError: There is not exactly one header with exactly one plain address. The message
            repeats nothing of the header.
    """
    if len(values) != 1:
        raise ValueError(f"{len(values)} From headers; there must be one")
    found = _FROM.fullmatch(unfolded(_decoded(values[0])))
    if found is None:
        raise ValueError("the From header is not one plain address")
    return normalise_address(found.group(1) or found.group(2))


def reply_address(base: str, token: str, *, separator: str = "+") -> str:
    """
    Return the address that answers to a token go to.

    Args:
        base: The mailbox, `approvals@example.com`; or `@reply.example.com` for a domain whose
            every address is one mailbox.
        token: A token.
        separator: What parts name and token: the mail server's recipient delimiter.

    Raises:
        ConfigurationError: The base is no address, its name is too long to carry a token, or
            the separator is none.
        ValueError: The token is not in the alphabet of tokens.
    """
    if not _TOKEN.fullmatch(token):
        raise ValueError("not a token")
    name, domain = _base(base, separator)
    local = f"{name}{separator}{token}" if name else token
    if len(local) > MAX_LOCAL_OCTETS:
        room = MAX_LOCAL_OCTETS - len(separator) - len(token)
        raise ConfigurationError(
            f"the reply address {base!r} cannot carry a token: the part before the @ may have"
            f" {MAX_LOCAL_OCTETS} characters, so its name at most {room}, not {len(name)}"
        )
    return f"{local}@{domain}"


def is_reply_address(address: str, *, base: str, separator: str = "+") -> bool:
    """
    Return whether an address is one of ours: the base itself, or the base with anything behind it.

    Args:
        address: A normalised address.
        base: As for `reply_address`.
        separator: As for `reply_address`.

    Raises:
        ConfigurationError: As for `reply_address`.
    """
    name, domain = _base(base, separator)
    local, _, own_domain = address.rpartition("@")
    return own_domain == domain and (
        not name or local == name or local.startswith(name + separator)
    )


def tokens_in(headers: Headers) -> list[str]:
    """
    Return what looks like a token in the addresses that a mail went to, lower-case.

    The likeliest comes first: what a mail server noted on delivery, then To and Cc. Nothing of
    it is proved.

    Args:
        headers: All headers.

    Returns:
        At most 8 different candidates.
    """
    return _first_few(
        found.group(1).lower()
        for value in _values(headers, _RECIPIENT_HEADERS)
        for found in _TOKEN_IN_ADDRESS.finditer(value)
    )


def is_addressed(
    headers: Sequence[tuple[str, str]], *, token: str, own: Collection[str], separator: str = "+"
) -> bool:
    """
    Return whether a mail's author addressed it to the reply address with this token, or to us.

    A genuine mail, with its signature, can be sent once more by whoever has it, and to any
    address. So what servers note on delivery does not count, and neither does a header that is
    there twice: the signature covers one To and one Cc.

    Args:
        headers: All headers.
        token: The token that was found in them, or to which the thread led.
        own: Our own addresses, as for `reply_address`; a mail to one of them names no token.
        separator: As for `reply_address`.

    Source: RFC 6376 sections 5.4.2 and 8.6 (headers that are there twice, replay).
    """
    to, cc = (
        [value for name, value in headers if name.lower() == wanted] for wanted in ("to", "cc")
    )
    if len(to) > 1 or len(cc) > 1:
        return False
    written = " ".join((*to, *cc))
    tokens = {found.group(1).lower() for found in _TOKEN_IN_ADDRESS.finditer(written)}
    if tokens:
        return token in tokens
    named = {address.lower() for address in _ANY_ADDRESS.findall(written)}
    return any(
        is_reply_address(address, base=base, separator=separator)
        for address in named
        for base in own
    )


def message_id(delivery_id: str, domain: str, *, token: str = "") -> str:
    """
    Return the Message-ID of a delivery's mail; a repeated one has the same.

    With a token the id holds a tag that only who has the token can make, so that a reply whose
    address has lost the token can be traced to the very question that was put. Of a long
    domain the leading labels are left out, so that the id has at most 76 characters.

    Args:
        delivery_id: The delivery.
        domain: The domain that the mail is sent from.
        token: The token in its reply address, if it has one.

    Raises:
        ConfigurationError: The domain is none.
        ValueError: The delivery id is none.
    """
    if not _DELIVERY_ID.fullmatch(delivery_id):
        raise ValueError("not a delivery id")
    local = f"{delivery_id}.{_tag(delivery_id, token)}" if token else delivery_id
    labels = _configured_domain(domain).split(".")
    while len(labels) > _FEWEST_LABELS and len(_id(local, labels)) > MAX_MESSAGE_ID_CHARS:
        labels = labels[1:]
    return _id(local, labels)


def message_ids_in(headers: Headers) -> list[str]:
    """
    Return the ids of our own mails that a mail answers, likeliest first: the newest.

    For a reply whose address has lost its token. Anybody who was ever copied knows such an id:
    it addresses a request, it does not prove who writes.

    Args:
        headers: All headers.

    Returns:
        At most 8 different ids, as `message_id` makes them, lower-case.
    """
    answered = _values(headers, ("in-reply-to",))
    older = [id_ for value in _values(headers, ("references",)) for id_ in _ids(value)]
    return _first_few([*(id_ for value in answered for id_ in _ids(value)), *reversed(older)])


def delivery_id_of(message_id: str) -> str:
    """
    Return which delivery a message id belongs to.

    Raises:
        ValueError: It is none that `message_id` makes.
    """
    found = _MESSAGE_ID.fullmatch(message_id)
    if found is None:
        raise ValueError("not a message id of a delivery")
    return found.group(1).lower()


def carries_tag(message_id: str, *, token: str) -> bool:
    """Return whether a message id is the one of a mail whose reply address had this token."""
    found = _MESSAGE_ID.fullmatch(message_id)
    if found is None or found.group(2) is None:
        return False
    delivery_id, tag = found.group(1).lower(), found.group(2).lower()
    return hmac.compare_digest(tag, _tag(delivery_id, token))


def _decoded(value: bytes | str) -> str:
    try:
        raw = value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value
        return raw.decode("utf-8")
    except UnicodeError:
        raise ValueError("a header is not UTF-8") from None


def _base(base: str, separator: str) -> tuple[str, str]:
    """Return name (empty for a whole domain) and domain of a base."""
    if separator not in SEPARATORS:
        raise ConfigurationError(
            f"{separator!r} cannot part a mailbox's name and a token;"
            f" use one of {' '.join(sorted(SEPARATORS))}"
        )
    if base.startswith("@"):
        return "", _configured_domain(base[1:])
    try:
        name, _, domain = normalise_address(base).rpartition("@")
    except ValueError as error:
        raise ConfigurationError(
            f"reply_to={base!r} is no mail address; give `name@domain` alone, or `@domain`"
        ) from error
    return name, domain


def _configured_domain(domain: str) -> str:
    try:
        return normalise_domain(domain)
    except ValueError as error:
        raise ConfigurationError(f"{domain!r} is no domain: {error}") from error


def _values(headers: Headers, names: Sequence[str]) -> Iterator[str]:
    """Yield the values of some headers, in the order of the names."""
    known = [(name.lower(), value) for name, value in headers]
    for wanted in names:
        yield from (value for name, value in known if name == wanted)


def _id(local: str, labels: Sequence[str]) -> str:
    return f"<{local}@{'.'.join(labels)}>"


def _tag(delivery_id: str, token: str) -> str:
    """Return 80 bits that tell nothing of the token, and that nobody makes without it."""
    mac = hmac.digest(token.encode(), f"signoff.thread.v1\0{delivery_id}".encode(), "sha256")
    return base64.b32encode(mac[:_TAG_BYTES]).decode().lower()


def _ids(value: str) -> Iterator[str]:
    return (found.group().lower() for found in _MESSAGE_ID.finditer(value))


def _first_few(candidates: Iterable[str]) -> list[str]:
    return list(islice(dict.fromkeys(candidates), MAX_CANDIDATES))
