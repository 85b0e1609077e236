"""Replies whose text may be a formula in a language that Signoff does not know."""

from __future__ import annotations

from email.message import EmailMessage

import pytest

from signoff import Client, Flow, human_feedback, start
from signoff.mail.refusals import advice_for
from signoff.testing import ManualClock, MemoryMail

REVIEWER = "ann.lee@acme.example"
FORMULA = "Kveðjanlegast,\nAnn"


class Defaulted(Flow, name="doubtful.defaulted"):
    """Other text asks for a revision."""

    @start()
    @human_feedback(
        message="Please review",
        emit=["approved", "rejected", "needs_revision"],
        default_outcome="needs_revision",
        assign_to_email=REVIEWER,
    )
    def draft(self) -> str:
        return "copy"


class Free(Flow, name="doubtful.free"):
    """Any text is the answer."""

    @start()
    @human_feedback(message="What do you think?", assign_to_email=REVIEWER)
    def draft(self) -> str:
        return "copy"


def reply(asked: EmailMessage, text: str) -> bytes:
    """Return an answer to a mail."""
    answer = EmailMessage()
    answer["From"] = f"Ann Lee <{asked['To']}>"
    answer["To"] = asked["Reply-To"]
    answer["Message-ID"] = f"<{abs(hash(text))}@acme.example>"
    answer.set_content(text)
    return bytes(answer)


@pytest.mark.parametrize(
    ("flow", "sentence"),
    [(Defaulted, "Please make it a little shorter"), (Free, "I like it a lot as it is")],
)
async def test_a_text_that_may_be_a_formula_decides_nothing(
    flow: type[Flow], sentence: str
) -> None:
    """It is kept as a comment, the reviewer is told, and a sentence answers."""
    mail = MemoryMail()
    async with Client(notifiers=[mail], inbox=mail, clock=ManualClock()) as client:
        await client.flows.start(flow, requester="agent-7")
        await client.drain()
        asked = mail.sent[-1]
        mail.receive(reply(asked, FORMULA))
        await client.drain()
        [request] = await client.hitl.list_requests()

        assert (request.status, request.decisions) == ("pending", ())
        assert [comment.text for comment in request.comments] == [FORMULA]
        told = mail.sent[-1].get_body(("plain",))
        assert told is not None
        assert advice_for("doubtful").why.split(",")[0] in " ".join(told.get_content().split())

        mail.receive(reply(asked, sentence))
        await client.drain()

        assert (await client.hitl.get_request(request.request_id)).status != "pending"


async def test_a_choice_answers_whatever_stands_below_it() -> None:
    """A name below a single word does not make the word a formula."""
    mail = MemoryMail()
    async with Client(notifiers=[mail], inbox=mail, clock=ManualClock()) as client:
        await client.flows.start(Defaulted, requester="agent-7")
        await client.drain()
        mail.receive(reply(mail.sent[-1], "Approved,\nAnn"))
        await client.drain()

        [request] = await client.hitl.list_requests(status="approved")
        assert request.outcome == "approved"


SIGNED = "Acme Ltd, of all of them the best"


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("flow", [Defaulted, Free])
async def test_below_room_for_an_answer_only_what_was_not_there_before_decides(
    flow: type[Flow],
) -> None:
    """Once the reviewer was told, a new sentence counts; a signature alone never does."""
    mail = MemoryMail()
    async with Client(notifiers=[mail], inbox=mail, clock=ManualClock()) as client:
        await client.flows.start(flow, requester="agent-7")
        await client.drain()
        asked = mail.sent[-1]
        for text in (
            f"\n\n{SIGNED}.",
            f"\n\n{SIGNED}.\n\nNew below",
            "\n\nShorten the title if you can",
        ):
            mail.receive(reply(asked, text))
        await client.drain()
        [request] = await client.hitl.list_requests()
        assert (request.status, len(request.comments)) == ("pending", 3)

        mail.receive(reply(asked, f"\n\nShorten the title, I beg you.\n\n{SIGNED}."))
        await client.drain()

        assert (await client.hitl.get_request(request.request_id)).status != "pending"
