"""What a mail says of earlier answers to the same gate."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from signoff.mail.page import Line, led
from signoff.mail.supports import history
from signoff.model.decision import Resolution
from signoff.model.request import Request
from signoff.testing.builders import a_request

NOW: Final = datetime(2026, 3, 1, 12, tzinfo=UTC)


def ended(status: str, outcome: str = "", feedback: str = "", *, after: int = 0) -> Request:
    end = Resolution.model_validate(
        {
            "status": status,
            "outcome": outcome,
            "feedback": feedback,
            "reviewer": "cfo@acme.example",
            "channel": "email",
            "resolved_at": NOW + timedelta(hours=after),
            "payload_digest": "",
        }
    )
    return a_request(status=status, resolution=end)


def test_the_newest_answer_comes_first_with_its_words_line_by_line() -> None:
    """When, what, by whom; then what the reviewer wrote."""
    block = history(
        [ended("answered", "needs_revision", "Shorter.\nPlease."), ended("rejected", "no", after=1)]
    )

    assert block.title == "Earlier answers, newest first"
    assert block.lines == (
        Line(lead="2026-03-01 13:00 UTC:", text='"no" by cfo@acme.example', gutter="|~ "),
        Line(
            lead="2026-03-01 12:00 UTC:", text='"needs_revision" by cfo@acme.example', gutter="|~ "
        ),
        Line(text="Shorter."),
        Line(text="Please."),
    )


def test_an_answer_without_a_label_is_told_by_how_it_ended() -> None:
    """Free text has no label; the words follow."""
    block = history([ended("answered", "", "Hm")])

    assert [str(line) for line in block.lines] == [
        "|~ 2026-03-01 12:00 UTC: answered by cfo@acme.example",
        "| Hm",
    ]


def test_what_has_not_ended_is_not_told() -> None:
    """There is nothing to say of it."""
    assert history([a_request()]).lines == ()
    assert history([]).lines == ()


def test_a_text_that_begins_with_blank_lines_stands_below_its_lead() -> None:
    """The lead is not taken for the first of its words, nor for the count of what was left out."""
    lead, counted, words = led("Note:", "\n" * 9 + "there")

    assert (lead.lead, lead.text) == ("Note:", "")
    assert "9 blank lines" in counted.text
    assert (words.lead, words.text) == ("", "there")
