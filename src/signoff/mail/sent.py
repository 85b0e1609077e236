"""What we wrote in a mail, for telling it from an answer (floor 3)."""

from __future__ import annotations

from typing import Final

from signoff.mail.answering import how_to
from signoff.mail.content import page_of, wants_answer
from signoff.mail.render_html import shown_lines
from signoff.mail.render_text import text_of
from signoff.ports import Outgoing

_ANY_ADDRESS: Final = "reply@signoff.invalid"


def sent_text(outgoing: Outgoing) -> tuple[str, ...]:
    """
    Return the lines of a delivery's mail: folded as its text has them, unfolded as its HTML has.

    A reply that quotes the mail without saying so is told from an answer by them.

    Args:
        outgoing: The delivery, as it was sent. With a token it has the lines of a mail that is
            answered by reply; the address itself stands in none of them.
    """
    asks = bool(outgoing.token) and outgoing.answerable and wants_answer(outgoing)
    reply_to = _ANY_ADDRESS if asks else ""
    page = page_of(outgoing, how_to=how_to(outgoing, reply_to=reply_to, subject=""))
    return (*text_of(page).splitlines(), *shown_lines(page))
