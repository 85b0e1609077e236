"""A delivery as the bytes of a mail: text, HTML, and what is too long for them attached (floor 3)."""

from __future__ import annotations

from datetime import datetime
from email.headerregistry import Address
from email.utils import format_datetime
from functools import lru_cache
from typing import Final

from signoff.mail.answering import how_to
from signoff.mail.blocks import ATTACHMENT
from signoff.mail.content import page_of, title_of, wants_answer
from signoff.mail.flatten import (
    flatten,
    header_line,
    header_text,
    is_message_id,
    subject_line,
)
from signoff.mail.parts import multipart, text_part
from signoff.mail.render_html import html_of
from signoff.mail.render_text import attachment_of, text_of
from signoff.model.delivery import DeliveryKind
from signoff.ports import Outgoing
from signoff.rules.addresses import normalise_address

ASKS: Final[frozenset[DeliveryKind]] = frozenset({"request"})
"""The kinds that ask for an answer; all others tell of something and want none."""

_NAME_LENGTH: Final = 100


def subject_of(outgoing: Outgoing) -> str:
    """Return the subject: the same for all mails about a request, with `Re:` after the first."""
    again = "Re: " if outgoing.first_message_id else ""
    return header_text(f"{again}{title_of(outgoing.request)}")


def compose(
    outgoing: Outgoing,
    *,
    sender: str,
    sender_name: str,
    reply_to: str,
    message_id: str,
    now: datetime,
) -> bytes:
    """
    Return a delivery as a finished mail.

    Pure: the same arguments give the same bytes. It is
    `multipart/alternative`, text before HTML; the text is complete without the HTML. What is
    too long for a mail makes it `multipart/mixed` with a text attachment that holds all of it.
    No line of text or HTML reads as an answer to the request.

    The note of a delivery says, by kind:

    - ``confirmation``: ``line``, the first line that was read, as it was written; ``changes``
      of the payload, if there were any, see `signoff.mail.editing.MailedEdit`.
    - ``refusal``: see `signoff.mail.refusals.refusal_note`.
    - ``cancelled``: ``reason``, such as ``superseded``.
    - ``undelivered``: ``reason``, why nobody could be told.

    All else is read from the request.

    Args:
        outgoing: The delivery, its request, and whether a mail may decide it.
        sender: The address in `From`.
        sender_name: The name beside it; may be empty.
        reply_to: The address with the token, in `Reply-To` and in one link per label; empty
            for none. Not used where a mail may not decide the request, or asks for nothing.
        message_id: The id, in angle brackets, at most 70 characters if replies shall thread.
        now: For the `Date` header; aware.

    Raises:
        NotifyError: The headers did not come out as intended; permanent.
        ValueError: The recipient is no plain mail address.

    Source: RFC 5322 section 3.6, RFC 3834 section 5 (Auto-Submitted), RFC 2046 section 5.1.4.
    """
    answer_to = reply_to if outgoing.answerable and wants_answer(outgoing) else ""
    subject = subject_of(outgoing)
    reply_subject = subject if subject.startswith("Re: ") else f"Re: {subject}"
    page = page_of(outgoing, how_to=how_to(outgoing, reply_to=answer_to, subject=reply_subject))
    headers = [
        subject_line(subject),
        _from_line(sender, header_text(sender_name)[:_NAME_LENGTH]),
        header_line("To", normalise_address(outgoing.delivery.recipient)),
    ]
    if answer_to:
        headers.append(header_line("Reply-To", answer_to))
    headers += [f"Date: {format_datetime(now)}\r\n", header_line("Message-ID", message_id)]
    if is_message_id(outgoing.first_message_id):
        headers.append(header_line("In-Reply-To", outgoing.first_message_id))
        headers.append(header_line("References", outgoing.first_message_id))
    asks = outgoing.delivery.kind in ASKS
    headers.append(header_line("Auto-Submitted", "auto-generated" if asks else "auto-replied"))
    headers.append(header_line("X-Auto-Response-Suppress", "All"))
    body = multipart(
        "alternative", [text_part(text_of(page)), text_part(html_of(page), subtype="html")]
    )
    if page.whole:
        body = multipart("mixed", [body, text_part(attachment_of(page), filename=ATTACHMENT)])
    return flatten(headers, body)


@lru_cache(maxsize=16)
def _from_line(sender: str, name: str) -> str:
    return header_line("From", Address(display_name=name, addr_spec=sender))
