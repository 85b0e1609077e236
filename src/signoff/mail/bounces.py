"""
A mail that says that another mail did not arrive, in the forms in which servers say so (floor 3).

What is read here is the sender's to forge. Whose mail it is about says the address that it came
to, and nothing in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final, Literal

from signoff.mail.headers import parameters
from signoff.mail.mime import Entity, entity_of, parts_of, read, values_of
from signoff.mail.page import shown

MAX_DETAIL_CHARS: Final = 300
"""How much of a server's own words is kept."""

_MAX_RECIPIENTS: Final = 20
_MAX_LINES: Final = 60
_STATUS_TYPES: Final = frozenset({"message/delivery-status", "message/global-delivery-status"})
_ARRIVED: Final = frozenset({"delivered", "relayed", "expanded"})
_FIELD: Final = re.compile(r"([!-9;-~]+)[ \t]*:[ \t]*(.*)")
_STATUS: Final = re.compile(r"(?<![\d.])([245])\.\d{1,3}\.\d{1,3}(?![\d.])")
_CODE: Final = re.compile(r"(?<![\d.#-])([45])\d\d(?=[ -]|$)")
_TOKENS: Final = re.compile(r"[A-Za-z2-7]{48}")
_ROBOT: Final = re.compile(
    r"(?:^|[<\s])(?:mailer-daemon|postmaster|microsoftexchange[0-9a-f]{32})@|^\s*<>\s*$",
    re.IGNORECASE,
)
_QMAIL: Final = re.compile(r"\s*Hi\. (?:This is|The) ")
_COPY: Final = re.compile(r"^-{3,}", re.MULTILINE)
"""Behind such a line servers repeat the mail that they could not deliver."""

_DELAY: Final = re.compile(
    r"\b(?:delay(?:ed)?|not yet|temporar(?:y|ily)|still trying|will (?:be )?(?:retry|retried|try))",
    re.IGNORECASE,
)

Outcome = Literal["failed", "delayed"]
"""Given up by the server that reports, or still being tried."""


@dataclass(frozen=True, slots=True)
class Bounce:
    """
    What a server says became of a mail.

    Attributes:
        outcome: Whether it was given up, or is still being tried.
        status: The enhanced status code, such as 5.1.1; empty where the server gives none.
        detail: The server's own words, on one line and cut, without tokens; may be empty.

    Source: RFC 3463 (status codes).
    """

    outcome: Outcome
    status: str
    detail: str

    @property
    def summary(self) -> str:
        """Status and detail in one line."""
        new = self.status if self.status not in self.detail else ""
        return " ".join(filter(None, (new, self.detail))) or "no reason was given"


def read_bounce(raw: bytes, *, complete: bool = True) -> Bounce | None:
    """
    Return what a report on a mail says, or `None` for any other mail. Never raises.

    A delivery report (RFC 3464) says it in fields: an action of ``failed`` means that the
    server has given up, whatever the class of the status; ``delayed`` that it goes on trying.
    Other servers write it in words; those count only with an empty Return-Path: a list of failed
    recipients in the headers, qmail's letter, or a letter of a mail server.

    Args:
        raw: The mail that came to the address of a delivery.
        complete: Whether these are all of its bytes.

    Source: RFC 3464 section 2.3 (Action, Status, Diagnostic-Code), RFC 5321 section 4.5.5 (the
    empty reverse-path).
    """
    mail = entity_of(raw, whole=complete)
    parts = parts_of(mail)
    reports = [text for kind, text in parts if kind in _STATUS_TYPES]
    if reports:
        return _of_fields(reports[0])
    if not any(value.strip() == "<>" for value in values_of(mail.headers, "Return-Path")):
        return None
    # Of a report without its fields there still is the part for people.
    of_report = "".join(text for _, text in parts[:1])
    return _of_words(mail, of_report if _is_multipart_report(mail) else read(mail).text)


def _of_fields(text: str) -> Bounce | None:
    groups = [group for group in _groups(text) if "action" in group or "status" in group]
    if any(_action(group) in _ARRIVED for group in groups):
        return None
    by_outcome = {_outcome(group): group for group in reversed(groups)}
    for outcome in ("failed", "delayed"):
        found = by_outcome.get(outcome)
        if found is not None:
            kind, mark, words = found.get("diagnostic-code", "").partition(";")
            said = words if mark else kind
            return Bounce(outcome, _status(found.get("status", "")), _clean(said))
    return None


def _outcome(group: Mapping[str, str]) -> Outcome | None:
    action = _action(group)
    if action in {"failed", "delayed"}:
        return "failed" if action == "failed" else "delayed"
    classes: dict[str, Outcome] = {"5": "failed", "4": "delayed"}
    return None if action else classes.get(_status(group.get("status", ""))[:1])


def _action(group: Mapping[str, str]) -> str:
    try:
        return parameters(group.get("action", ""))[0]
    except ValueError:
        return "unreadable"


def _status(text: str) -> str:
    found = _STATUS.search(text)
    return found.group() if found else ""


def _groups(text: str) -> Iterator[Mapping[str, str]]:
    """Yield the groups of fields of a delivery report, unfolded, by lower-case name."""
    for block in islice(re.split(r"\n[ \t]*\n", text), _MAX_RECIPIENTS):
        group: dict[str, str] = {}
        for line in re.sub(r"\n[ \t]+", " ", block).split("\n"):
            field = _FIELD.fullmatch(line.rstrip())
            if field is not None:
                group.setdefault(field.group(1).lower(), field.group(2))
        yield group


def _of_words(mail: Entity, text: str) -> Bounce | None:
    listed = bool(values_of(mail.headers, "X-Failed-Recipients"))
    by_server = any(_ROBOT.search(value) for value in values_of(mail.headers, "From"))
    if not (listed or by_server or _QMAIL.match(text)):
        return None
    words = _COPY.split(text, maxsplit=1)[0]
    subject = " ".join(values_of(mail.headers, "Subject"))
    telling = _telling([line.strip() for line in words.split("\n")[:_MAX_LINES]])
    code = _class(telling)
    waits = code == "4" or (not code and bool(_DELAY.search(f"{subject}\n{words}")))
    outcome: Outcome = "delayed" if waits and not listed else "failed"
    return Bounce(outcome, _status(telling), _clean(telling or subject))


def _telling(lines: Sequence[str]) -> str:
    """Return the first line with a permanent code, else with any code; empty if there is none."""
    coded = [line for line in lines if _class(line)]
    permanent = [line for line in coded if _class(line) == "5"]
    return next(iter((*permanent, *coded)), "")


def _class(text: str) -> str:
    """Return the class of the first code in a text: 2, 4 or 5; empty if it has none."""
    found = _STATUS.search(text) or _CODE.search(text)
    return found.group(1) if found else ""


def _is_multipart_report(mail: Entity) -> bool:
    try:
        return parameters(mail.value("Content-Type"))[0] == "multipart/report"
    except ValueError:
        return False


def _clean(text: str) -> str:
    line = " ".join(_TOKENS.sub("<token>", text).split())
    return shown(line[:MAX_DETAIL_CHARS])
