"""Addresses: one spelling for each, and whether two names may be one person's (floor 1)."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

MAX_LOCAL_OCTETS: Final = 64
"""The longest local part. Source: RFC 5321 section 4.5.3.1.1."""

_MAX_DOMAIN_CHARS: Final = 253
_MAX_DOMAIN_LABEL: Final = 63
_A_LABEL: Final = "xn--"
_ATOM: Final = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_DOT_ATOM: Final = re.compile(rf"{_ATOM}(?:\.{_ATOM})*")
_LDH: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?")


def normalise_address(text: str) -> str:
    """
    Return an address in the one spelling in which addresses are compared: lower-case ASCII.

    The domain becomes its A-label. Nothing is folded that a provider might fold: dots and
    `+tags` stay. Outer blanks go.

    Raises:
        ValueError: It is no plain `local@domain`: quoted, commented, an IP address, not ASCII
            before the `@`, or of a domain whose spelling is not its only one.

    Source: RFC 5321 section 4.1.2, RFC 5890 section 2.3.2.1.
    """
    local, at, domain = text.strip().rpartition("@")
    if not at or not _DOT_ATOM.fullmatch(local) or len(local) > MAX_LOCAL_OCTETS:
        raise ValueError("not a plain mail address")
    return f"{local.lower()}@{_normalised_domain(domain)}"


def normalise_domain(text: str) -> str:
    """
    Return a domain in its one spelling: lower-case, as A-labels.

    Raises:
        ValueError: It is no domain name, or its spelling is not its only one.
    """
    return _normalised_domain(text.strip())


def _normalised_domain(domain: str) -> str:
    labels = [_normalised_label(label) for label in domain.split(".")]
    normalised = ".".join(labels)
    if len(normalised) > _MAX_DOMAIN_CHARS or labels[-1].isdigit():
        raise ValueError("not a domain name")
    return normalised


def _normalised_label(label: str) -> str:
    ascii_label = label.lower() if label.isascii() else _a_label(label)
    if len(ascii_label) > _MAX_DOMAIN_LABEL or not _LDH.fullmatch(ascii_label):
        raise ValueError("not a domain name")
    return ascii_label


def _a_label(label: str) -> str:
    """
    Return a label with other letters as its A-label, if nobody could read it as another label.

    Libraries differ in what they fold (full-width letters, the sharp s, the Kelvin sign), and
    a domain that one of them takes for somebody else's must not pass here.
    """
    folded = unicodedata.normalize("NFC", label).lower()
    stable = unicodedata.normalize("NFKC", folded.casefold()) == folded
    if folded.isascii() or not stable or not all(map(_may_stand_in_a_label, folded)):
        raise ValueError("a domain name with more than one spelling; write it in ASCII (xn--)")
    return _A_LABEL + folded.encode("punycode").decode("ascii")


def _may_stand_in_a_label(char: str) -> bool:
    return char == "-" or unicodedata.category(char) in {"Ll", "Lo", "Lm", "Mn", "Mc", "Nd"}


def one_spelling(name: str) -> str:
    """Return a person's name as it is compared: an address normalised, other text in lower case."""
    try:
        return normalise_address(name)
    except ValueError:
        return name.strip().lower()


def may_be_one(name: str, other: str) -> bool:
    """
    Return whether two names may be one person's, however libraries read their letters.

    For what somebody must not be, such as the requester: it takes rather two for one than one
    for two. Who has a right is found out with `one_spelling`.
    """
    return _folded(name) == _folded(other)


def _folded(name: str) -> str:
    local, at, domain = _compatible(name).rpartition("@")
    return local + at + ".".join(_letters(label) for label in domain.rstrip(".").split("."))


def _compatible(text: str) -> str:
    """Return a text without what some library folds: case, width, marks, what nobody sees."""
    seen = "".join(char for char in text if unicodedata.category(char) != "Cf").strip()
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", seen).casefold())
    return folded.replace("\u3002", ".")


def _letters(label: str) -> str:
    """Return the letters that an A-label stands for; any other label as it is."""
    if not label.startswith(_A_LABEL):
        return label
    try:
        return _compatible(label.removeprefix(_A_LABEL).encode("ascii").decode("punycode"))
    except ValueError:
        return label
