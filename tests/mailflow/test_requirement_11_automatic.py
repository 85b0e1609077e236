"""Requirement 11: machines that answer our mails are told next to nothing, so that loops end."""

from __future__ import annotations

from typing import Final

import pytest

from signoff import Client, Flow, human_feedback, start
from signoff.testing import ManualClock, MemoryMail

PING_PONG: Final = 1_000
MARKS: Final[list[dict[str, str]]] = [
    {"Auto-Submitted": "auto-replied"},
    {"Precedence": "auto_reply"},
    {"X-Autoreply": "yes"},
    {"Return-Path": "<>"},
    {},
]
"""What out-of-office replies carry; some carry nothing."""


class Asked(Flow, name="automatic.asked"):
    """Two labels; other text is a comment."""

    @start()
    @human_feedback(
        message="Publish?", emit=["approved", "rejected"], assign_to_email="ann.lee@acme.example"
    )
    def draft(self) -> str:
        return "Spring sale"


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_a_thousand_out_of_office_replies_get_one_answer_at_the_most() -> None:
    """Requirement 11: each of our mails is answered by a machine, a thousand times."""
    mail = MemoryMail()
    async with Client(notifiers=[mail], inbox=mail, clock=ManualClock()) as client:
        await client.flows.start(Asked, requester="agent-7")
        await client.drain()
        asked = mail.sent[-1]
        before = len(mail.sent)
        for number in range(PING_PONG):
            mark = MARKS[number % len(MARKS)]
            mail.reply(asked, "I am out of the office until Monday.", headers=mark)
        await client.drain()

        [request] = await client.hitl.list_requests()
        assert (request.status, request.decisions) == ("pending", ())
        assert len(mail.sent) - before <= 1
        assert len(mail.put_away) == PING_PONG
