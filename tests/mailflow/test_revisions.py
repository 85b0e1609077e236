"""A draft that is revised and asked about again: the next mail says what was said before."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from email.message import EmailMessage
from typing import Any

import pytest

from signoff import Client, Flow, HumanFeedbackResult, human_feedback, listen, or_, start
from signoff.testing import ManualClock, MemoryMail

REVIEWER = "brand@acme.example"


class Loop(Flow, name="mailflow.loop"):
    """Asks again after each wish, until somebody approves."""

    @start()
    def begin(self) -> str:
        """Return the first draft."""
        return "draft"

    @listen(or_(begin, "needs_revision"))
    @human_feedback(
        message="Publish?", emit=["approved", "needs_revision"], assign_to_email=REVIEWER
    )
    def review(self, before: str | HumanFeedbackResult) -> str:
        """Return the next draft."""
        return before if isinstance(before, str) else f"{before.output}, revised"

    @listen("approved")
    def publish(self, result: HumanFeedbackResult) -> str:
        """Return what was approved."""
        return str(result.output)


def text_of(mail: EmailMessage) -> str:
    """Return the plain text of a mail."""
    body = mail.get_body(("plain",))
    assert body is not None
    return str(body.get_content())


@pytest.fixture(name="loop")
async def _loop() -> AsyncIterator[tuple[Client, MemoryMail, ManualClock]]:
    mail, clock = MemoryMail(), ManualClock()
    async with Client(notifiers=[mail], inbox=mail, clock=clock) as client:
        yield client, mail, clock


async def answered(loop: Any, text: str) -> EmailMessage:
    """Reply an hour later to the newest mail that asks, and return the one that asks next."""
    client, mail, clock = loop
    clock.advance(timedelta(hours=1))
    asking = [one for one in mail.sent if one["Reply-To"]]
    mail.reply(asking[-1], text)
    await client.drain()
    newest: EmailMessage = [one for one in mail.sent if one["Reply-To"]][-1]
    return newest


async def test_the_next_mail_has_the_earlier_answers_newest_first(loop: Any) -> None:
    """Of this gate and run, with the words; the first mail has no such section."""
    client, mail, _ = loop
    run = await client.flows.start(Loop)
    await client.drain()
    first = mail.sent[-1]

    await answered(loop, "needs_revision\nToo loud.")
    third = await answered(loop, "needs_revision\nName the date.")

    assert "Earlier answers" not in text_of(first)
    section = text_of(third).partition("== Earlier answers, newest first ==")[2]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    assert [line.partition("UTC: ")[2] or line for line in lines[:4]] == [
        '"needs_revision" by brand@acme.example',
        "| Name the date.",
        '"needs_revision" by brand@acme.example',
        "| Too loud.",
    ]
    await answered(loop, "approved")
    assert (await client.flows.get(run.id)).output == "draft, revised, revised"


async def test_a_reply_that_repeats_a_line_of_the_history_is_read_without_it(loop: Any) -> None:
    """What the mail quotes of earlier answers is ours, also where a client's quoting is broken."""
    client, _, _ = loop
    run = await client.flows.start(Loop)
    await client.drain()
    asked = await answered(loop, "needs_revision\nToo loud.")
    quoted = "\n".join(line for line in text_of(asked).splitlines() if line.startswith("|"))

    await answered(loop, quoted)

    assert (await client.flows.get(run.id)).status == "suspended"
    await answered(loop, f"approved\n{quoted}")
    page = await client.hitl.list_requests(newest_first=True)
    assert (page[0].outcome, page[0].feedback) == ("approved", "approved")


async def test_another_run_has_a_history_of_its_own(loop: Any) -> None:
    """What somebody said about another draft is none of this reviewer's business."""
    client, mail, _ = loop
    await client.flows.start(Loop)
    await client.drain()
    await answered(loop, "needs_revision\nToo loud.")

    await client.flows.start(Loop)
    await client.drain()

    assert "Earlier answers" not in text_of(mail.sent[-1])


async def test_a_question_without_a_run_has_no_history(loop: Any) -> None:
    """It is asked once."""
    client, mail, _ = loop
    request = await client.hitl.request("Fine?", payload="x", assignees=[REVIEWER])
    await client.hitl.reject(request_id=request.request_id, reviewer=REVIEWER)

    await client.hitl.request("Fine?", payload="y", assignees=[REVIEWER])
    await client.drain()

    assert "Earlier answers" not in text_of(mail.sent[-1])
