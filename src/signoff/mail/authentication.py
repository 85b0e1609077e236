"""
What a trusted mail server says about who sent a mail: `Authentication-Results` (floor 3).

Anybody can write such a header. Only the topmost one is read, and only if the server that we
trust wrote it; that server has to remove those in its own name from mails that come in.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from signoff.mail.headers import Fields, fields
from signoff.rules.addresses import normalise_domain

NO_ID: Final = ""
"""
In place of the id of a server that writes none, as Exchange Online does.

It is safe only where the server puts its own header above all that a mail brought along.
"""

_WITH_VERSION: Final = re.compile(r"\s*+(\S++)(?:\s++\d++)?+\s*+")
_PAIR: Final = re.compile(
    r"(?<![\w.-])([A-Za-z0-9][A-Za-z0-9._-]*+)(?:\s*+/\s*+\d++)?+\s*+=\s*+([^\s;]*+)"
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """
    Whether a trusted server vouches for the sender's domain.

    Attributes:
        passed: Whether it does.
        reason: Why, in words of our own; holds nothing of the header.
    """

    passed: bool
    reason: str


class _Result(NamedTuple):
    """One method's result, and its properties with all their values."""

    method: str
    result: str
    properties: Mapping[str, Sequence[str]]


def verdict(
    values: Sequence[str], *, server: str | None, from_domain: str, accept_dkim: bool = False
) -> Verdict:
    """
    Return whether the trusted server's topmost header says that From is genuine.

    It must say `dmarc=pass` for exactly the domain that we read in From, so that a sender whom
    the server reads differently does not pass. Several DMARC results must all say so.

    Args:
        values: The raw values of all `Authentication-Results` headers, topmost first.
        server: The trusted server's authserv-id; `NO_ID` for one that writes none; `None` if
            no server is trusted.
        from_domain: The domain of the sender, as `normalise_address` gives it.
        accept_dkim: Whether, where the domain has no DMARC policy, a valid DKIM signature of
            the domain or of a parent of it will do.

    Source: RFC 8601 sections 2.2 (form), 2.5 (authserv-id), 5 (removing forged headers);
    RFC 7489 section 3.1 (alignment).
    """
    if server is None:
        return Verdict(passed=False, reason="no mail server is trusted to authenticate senders")
    if not values:
        return Verdict(passed=False, reason="the mail server did not authenticate the sender")
    try:
        read = fields(values[0])
        results = _results(read, server)
    except ValueError as error:
        return Verdict(passed=False, reason=f"unreadable authentication results: {error}")
    if results is None:
        return Verdict(passed=False, reason="not authenticated by the trusted mail server")
    return _judged(results, from_domain=from_domain, accept_dkim=accept_dkim)


def _judged(results: Sequence[_Result], *, from_domain: str, accept_dkim: bool) -> Verdict:
    dmarc = [result for result in results if result.method == "dmarc"]
    if any(result.result != "none" for result in dmarc):
        if any(result.result != "pass" for result in dmarc):
            return Verdict(passed=False, reason="DMARC did not pass")
        if any(not _is_about(result, from_domain) for result in dmarc):
            return Verdict(passed=False, reason="DMARC passed for another domain than the sender's")
        return Verdict(passed=True, reason="DMARC passed")
    if accept_dkim and any(_is_signed_by(result, from_domain) for result in results):
        return Verdict(passed=True, reason="DKIM passed, and the domain has no DMARC policy")
    return Verdict(passed=False, reason="the sender's domain was not checked by DMARC")


def _results(read: Fields, server: str) -> Sequence[_Result] | None:
    """Return what a header says, or `None` if it is not the trusted server's."""
    first, *others = read.parts
    if server == NO_ID:
        others = list(read.parts)
        ours = "=" in first
    else:
        found = _WITH_VERSION.fullmatch(first)
        name = read.text(found.group(1)) if found else None
        ours = name is not None and name.lower() == server.lower()
    return [*_read(others, read)] if ours else None


def _read(parts: Iterable[str], read: Fields) -> Iterator[_Result]:
    for part in parts:
        pairs = _PAIR.findall(part)
        if pairs and not _PAIR.sub("", part).strip():
            yield _result(pairs, read)
        elif "dmarc" in part.lower():
            raise ValueError("a DMARC result that is not in the form of one")


def _result(pairs: Sequence[tuple[str, str]], read: Fields) -> _Result:
    # A method's result is a bare word: only what stands in properties may be quoted.
    (method, result), *others = pairs
    properties: dict[str, list[str]] = {}
    for name, value in others:
        properties.setdefault(name.lower(), []).append(read.text(value) or "")
    return _Result(method.lower(), result.lower(), properties)


def _is_about(result: _Result, domain: str) -> bool:
    named = result.properties.get("header.from", [])
    return bool(named) and all(_same_domain(name, domain) for name in named)


def _is_signed_by(result: _Result, domain: str) -> bool:
    if result.method != "dkim" or result.result != "pass":
        return False
    signers = result.properties.get("header.d") or [
        name.rpartition("@")[2] for name in result.properties.get("header.i", [])
    ]
    return bool(signers) and all(_is_aligned(signer, domain) for signer in signers)


def _is_aligned(signer: str, domain: str) -> bool:
    """Return whether `signer` is the domain or a parent of it, and no top-level domain."""
    labels = domain.split(".")
    parents = [".".join(labels[start:]) for start in range(len(labels) - 1)]
    return any(_same_domain(signer, parent) for parent in parents)


def _same_domain(text: str, domain: str) -> bool:
    try:
        return normalise_domain(text) == domain
    except ValueError:
        return False
