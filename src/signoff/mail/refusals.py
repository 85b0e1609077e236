"""Why a reply decided nothing, and what its author can do about it (floor 3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from signoff.model.values import Tree

Refusal = Literal[
    "expired",
    "decided",
    "cancelled",
    "empty",
    "doubtful",
    "ambiguous",
    "unknown",
    "not_alone",
    "strength",
    "sender",
    "not_allowed",
    "edit",
    "changed",
    "code",
    "other",
]
"""
Why a reply decided nothing.

- ``expired``: it came at or after `expires_at`.
- ``decided``: the request was decided before; the mail says by whom, when and how.
- ``cancelled``: the request was taken back before.
- ``empty``: it holds no text of its author.
- ``doubtful``: all that it holds may be a greeting or a signature, and names none of the choices.
- ``ambiguous``: it names several of the choices.
- ``unknown``: its first line is none of the choices.
- ``not_alone``: text follows an approval on its line, at a risk where that is not enough.
- ``strength``: a mail like this may not decide a request of this risk.
- ``sender``: it came from another address than the one that was asked.
- ``not_allowed``: its author may not decide this request; ``detail`` says why.
- ``edit``: the changed payload was not accepted; ``detail`` says why.
- ``changed``: the payload was changed after the mail that was answered.
- ``code``: the code from the attachment is missing or wrong.
- ``other``: anything else; ``detail`` says what.
"""


@dataclass(frozen=True, slots=True)
class Advice:
    """
    What a refusal says.

    Attributes:
        why: Why the reply decided nothing; it goes on with the note's detail, if there is one.
        then: What its author can do; it may name the `{recipient}` and the `{risk}`.
    """

    why: str
    then: str


_NOTHING: Final = "You need not do anything."
_ASK_ANEW: Final = "If it is still wanted, whoever asked has to ask again."
_AGAIN: Final = "Please answer again."

ADVICE: Final[dict[Refusal, Advice]] = {
    "expired": Advice("It came after the time in which an answer counts.", _ASK_ANEW),
    "decided": Advice("The request was decided before it came.", _NOTHING),
    "cancelled": Advice("The request was cancelled before it came.", _NOTHING),
    "empty": Advice(
        "No text of yours was found in it.",
        "Please write your answer at the very top, above everything that is quoted.",
    ),
    "doubtful": Advice(
        "Its text may be a greeting or a signature, which your mail app writes by itself.",
        "Please answer again with a whole sentence, with a full stop, on the first line. "
        "Your text was kept as a comment.",
    ),
    "ambiguous": Advice(
        "It names several of the choices, and only one can count.",
        "Please answer again with one of them on the first line.",
    ),
    "unknown": Advice(
        "Its first line is none of the choices.",
        "Please answer again with one of them alone on the first line. "
        "Your text was kept as a comment.",
    ),
    "not_alone": Advice(
        "At {risk} risk the first line has to be one of the choices and nothing else.",
        "Please answer again with the choice alone on the first line and your text below it.",
    ),
    "strength": Advice(
        "A mail like yours does not prove well enough who sent it to decide a request of "
        "{risk} risk.",
        "Please answer in another way.",
    ),
    "sender": Advice(
        "It came from another address than the one that was asked.",
        "Please answer from {recipient}. Mail apps often choose another account by themselves.",
    ),
    "not_allowed": Advice("You may not decide this request.", _NOTHING),
    "edit": Advice("The changed payload was not accepted.", _AGAIN),
    "changed": Advice(
        "The payload was changed after the mail that you answered was sent.",
        "Please answer the newest mail about this request.",
    ),
    "code": Advice(
        "The code from the attachment is missing in it, or is another one.",
        "Please answer again, with the code at the end of the attachment on a line of its own.",
    ),
    "other": Advice("It could not be taken for an answer.", _AGAIN),
}
"""The advice for each reason."""


def refusal_note(reason: Refusal, *, line: str = "", detail: str = "") -> dict[str, Tree]:
    """
    Return the note of a refusal delivery.

    Args:
        reason: Why the reply decided nothing.
        line: The first line that was read in it, as it was written.
        detail: One more sentence, in our own words.
    """
    return {"reason": reason, "line": line, "detail": detail}


def advice_for(reason: str) -> Advice:
    """Return the advice for a stored reason; a newer Signoff's unknown one counts as `other`."""
    return next((advice for known, advice in ADVICE.items() if known == reason), ADVICE["other"])
