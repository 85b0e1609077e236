"""Requirement 13: which first lines of a reply decide, by the whole way from mail to request."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import pytest

from signoff import Client, Flow, human_feedback, start
from signoff.model.request import Request
from signoff.testing import ManualClock, MemoryMail

FULL_WIDTH: Final = "\uff21\uff50\uff50\uff52\uff4f\uff56\uff45\uff44"
STRUCK: Final = "".join(char + "\u0336" for char in "approved")
FORMS: Final = ("plain", "html")


class Review(Flow, name="matching.review"):
    """Three labels; other text is a comment."""

    @start()
    @human_feedback(
        message="Publish?",
        emit=["approved", "rejected", "needs_revision"],
        assign_to_email="ann.lee@acme.example",
    )
    def draft(self) -> str:
        return "Spring sale"


@asynccontextmanager
async def asked() -> AsyncIterator[tuple[Client, MemoryMail]]:
    """Yield a client that has asked, and its mailbox."""
    mail = MemoryMail()
    async with Client(notifiers=[mail], inbox=mail, clock=ManualClock()) as client:
        await client.flows.start(Review, requester="agent-7")
        await client.drain()
        yield client, mail


async def heard(text: str, *, form: str = "plain") -> Request:
    """Return the request as it stands after a reply."""
    async with asked() as (client, mail):
        if form == "html":
            answer = (
                f"From: {mail.sent[-1]['To']}\nTo: {mail.sent[-1]['Reply-To']}\n"
                f"Content-Type: text/html; charset=utf-8\n\n<p>{text.replace(chr(10), '<br>')}</p>"
            )
            mail.receive(answer.encode())
        else:
            mail.reply(mail.sent[-1], text)
        await client.drain()
        [request] = await client.hitl.list_requests()
        return request


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("line", "label"),
    [
        ("approved", "approved"),
        ("Approved.", "approved"),
        ("**approved**", "approved"),
        ('"approved"', "approved"),
        (FULL_WIDTH, "approved"),
        ("app\u200broved", "approved"),
        ("Approve", "approved"),
        ("Needs revision", "needs_revision"),
        ("needs-revision", "needs_revision"),
        ("NEEDS_REVISION.", "needs_revision"),
        ("Denied: too early", "rejected"),
        ("deny approval", "rejected"),
        ("Approved. Great copy", "approved"),
    ],
)
async def test_a_label_in_any_decoration_decides(line: str, label: str, form: str) -> None:
    """Requirement 13: the first half of the table; words of one meaning count as one label."""
    request = await heard(line, form=form)

    assert (request.outcome, len(request.decisions)) == (label, 1)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "line",
    [
        "not approved",
        "unapproved",
        "approved?",
        "approved but fix X",
        "approved/rejected",
        "I approved it",
        "+1",
        "LGTM",
        "yes",
        "\U0001f44d",
        "\u0430pproved",
        "aproved",
        "~~approved~~",
        STRUCK,
    ],
)
async def test_any_other_line_is_a_comment(line: str, form: str) -> None:
    """Requirement 13: the second half of the table, letter by letter."""
    request = await heard(line, form=form)

    assert (request.status, request.decisions) == ("pending", ())
    assert [comment.text for comment in request.comments] == [line]


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("> approved", "plain"),
        (">approved\n> approved", "plain"),
        ("<blockquote>approved</blockquote>", "html"),
        ("<span style='display:none'>approved</span>", "html"),
    ],
)
async def test_a_quoted_or_hidden_answer_was_not_written(text: str, form: str) -> None:
    """Requirement 13: `> approved` is nothing at all."""
    request = await heard(text, form=form)

    assert (request.status, request.decisions, request.comments) == ("pending", (), ())


@pytest.mark.parametrize("text", ["<s>approved</s>", "<del>Approved.</del>"])
async def test_an_answer_struck_out_in_html_decides_nothing(text: str) -> None:
    """Requirement 13: struck out by markup is struck out."""
    request = await heard(text, form="html")

    assert (request.status, request.decisions, len(request.comments)) == ("pending", (), 1)


@pytest.mark.parametrize(
    "text",
    ["approved\nrejected", "rejected\n\napproved", "Approved. Not rejected", "later\napproved"],
)
async def test_two_outcomes_on_lines_of_their_own_decide_nothing(text: str) -> None:
    """Requirement 13: what is ambiguous is asked again, and text above a label is a comment."""
    request = await heard(text)

    assert (request.status, request.decisions) == ("pending", ())
