"""How a mail is answered: the choices, in words and as one link each (floor 3)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final, Literal
from urllib.parse import quote

from signoff.mail.blocks import ATTACHMENT
from signoff.mail.editing import Offer, offer_of
from signoff.mail.page import Button, Part, Said, shown
from signoff.mail.payload import reply_code
from signoff.model.request import Choice, Request
from signoff.ports import Outgoing
from signoff.rules.written_edits import APPROVED_WITH_CHANGES

_SUBJECT_LENGTH: Final = 60
_LONGEST_LINK: Final = 1_900
_MEANS: Final[dict[Literal["approve", "reject", "neutral"], str]] = {
    "approve": "it approves",
    "reject": "it rejects",
    "neutral": "it neither approves nor rejects",
}
_OPENS: Final[dict[Literal["approve", "reject", "neutral"], str]] = {
    "approve": "opens a reply that approves",
    "reject": "opens a reply that rejects",
    "neutral": "opens a reply that does neither",
}
_TAP: Final = Said(
    "Choose your answer. It opens a reply with room for a comment below its first line, and "
    "nothing is decided until you send it.",
    only="html",
)


def mailto(address: str, *, subject: str, body: str) -> str:
    """
    Return a link that opens a mail with address, subject and body filled in.

    The `+` of the address stays as it is: clients differ on what they make of it encoded, and
    on what they make of an unencoded one anywhere else. The subject is cut, so that the link
    stays below 1,900 characters for labels of 64 characters and any address.

    Source: RFC 6068 sections 2 and 5.
    """
    return (
        f"mailto:{quote(address, safe='@+')}"
        f"?subject={quote(subject[:_SUBJECT_LENGTH], safe='')}&body={quote(body, safe='')}"
    )


def how_to(outgoing: Outgoing, *, reply_to: str, subject: str) -> tuple[Part, ...]:
    """
    Say how this mail is answered.

    Args:
        outgoing: What is sent.
        reply_to: Where a reply goes; empty when a reply decides nothing.
        subject: The subject of a reply.
    """
    if not reply_to:
        return tuple(_elsewhere(outgoing))
    return tuple(_by_reply(outgoing, reply_to=reply_to, subject=subject))


def choice_line(choice: Choice, *, verb: str) -> Said:
    """Return what one choice is for; no such line is the bare choice."""
    return Said(f'{verb} "{shown(choice.label)}" - {_MEANS[choice.meaning]}.')


def _elsewhere(outgoing: Outgoing) -> Iterator[Part]:
    if not outgoing.answerable:
        yield Said(f"A mail may not decide this request of {outgoing.request.risk} risk.")
    place = shown(outgoing.elsewhere) or "in the application that asks"
    yield Said(f"A reply to this mail decides nothing. Please answer here: {place}")
    for choice in outgoing.request.choices:
        yield choice_line(choice, verb="Choice")


def _by_reply(outgoing: Outgoing, *, reply_to: str, subject: str) -> Iterator[Part]:
    request = outgoing.request
    code = reply_code(request)
    if code:
        yield Said(
            f"Your reply also has to hold the code that stands at the end of {ATTACHMENT}, "
            "on a line of its own."
        )
    if request.choices:
        yield Said("Reply to this mail. The first line of your reply decides:", only="text")
        yield _TAP
        for choice in request.choices:
            yield replace(choice_line(choice, verb="Reply"), only="text")
            yield _button(choice, reply_to, subject=subject, code=code)
        offer = offer_of(request)
        if offer is not None:
            yield from _with_changes(offer, reply_to, subject=subject)
        yield Said("What you write below that line goes along as your feedback.")
        yield Said(_other_text(request))
    else:
        yield Said("Reply to this mail. All that you write is your answer.")
    yield Said(
        f"Only {shown(outgoing.delivery.recipient)} can answer this mail; passing it on does "
        "not pass on the right to answer."
    )


def _button(choice: Choice, reply_to: str, *, subject: str, code: str) -> Button:
    """Return the button of one choice; below its label, the reply has room for a comment."""
    body = f"{shown(choice.label)}\r\n" + ("Code: \r\n" if code else "") + "\r\n"
    return Button(
        label=f"Reply: {shown(choice.label)}",
        href=mailto(reply_to, subject=subject, body=body),
        note=_OPENS[choice.meaning],
        look=choice.meaning,
    )


def _with_changes(offer: Offer, reply_to: str, *, subject: str) -> Iterator[Part]:
    """Say how to approve with changes, and open a reply that holds the values as they are."""
    yield Said(
        f'Reply "{APPROVED_WITH_CHANGES}" - it approves, with other values. Below that line '
        "write a line for each value that changes: its name, an equals sign and the new value.",
        only="text",
    )
    whole = mailto(reply_to, subject=subject, body="\r\n".join((*offer.lines, "", "")))
    bare = mailto(reply_to, subject=subject, body=f"{APPROVED_WITH_CHANGES}\r\n\r\n")
    yield Button(
        label="Reply: change and approve",
        href=whole if len(whole) < _LONGEST_LINK else bare,
        note="opens a reply with the values to change",
    )
    yield Said(f"Values that can be changed: {offer.names}.")


def _other_text(request: Request) -> str:
    if request.default_outcome is None:
        return "Any other text decides nothing; it is kept as a comment and you are asked again."
    return (
        f'Any other text counts as "{shown(request.default_outcome)}", with the text as feedback.'
    )
