"""What replies decide, and what they do not."""

from __future__ import annotations

from datetime import timedelta
from email.message import EmailMessage
from typing import Any

import pytest

from signoff.errors import UnknownOutcomeError
from signoff.registry import flow_classes

pytestmark = pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])

REVIEWER = "brand@acme.example"


def text_of(mail: EmailMessage) -> str:
    """Return the plain text of a mail."""
    body = mail.get_body(("plain",))
    assert body is not None
    return str(body.get_content())


def refusals(office: Any) -> list[EmailMessage]:
    """Return the explanations that were sent."""
    return [mail for mail in office.mail.sent if mail["Auto-Submitted"] == "auto-replied"]


async def test_a_label_on_the_first_line_decides_and_the_rest_is_the_feedback(office: Any) -> None:
    """The example of the README: rejected, a blank line, and why."""
    await office.ask()

    request = await office.hear("rejected\n\nwrong price on page 2")

    assert (request.status, request.outcome) == ("rejected", "rejected")
    assert request.feedback == "wrong price on page 2"
    assert request.decisions[0].reviewer == REVIEWER
    assert request.decisions[0].channel == "email"
    run = await office.client.flows.get(request.run_id)
    assert run.output == "rejected: wrong price on page 2"


async def test_the_reviewer_is_told_what_was_recorded(office: Any) -> None:
    """A confirmation goes to the reviewer, in the same thread and without a reply token."""
    asked = await office.ask()

    await office.hear("rejected\n\nwrong price on page 2")

    confirmation = office.mail.sent[-1]
    assert confirmation["To"] == REVIEWER
    assert confirmation["In-Reply-To"] == asked["Message-ID"]
    assert confirmation["Reply-To"] is None
    assert "rejected" in text_of(confirmation)


@pytest.mark.parametrize("text", ["not approved", "please stop", "", "approved, but fix page 2"])
async def test_other_text_never_approves_even_as_the_default(office: Any, text: str) -> None:
    """`default_outcome="approved"` has no effect, because its meaning is approve."""
    await office.ask()

    request = await office.hear(text)

    assert request.status == "pending"
    assert request.decisions == ()
    assert [comment.text for comment in request.comments] == ([text] if text else [])
    assert len(refusals(office)) == 1


@pytest.mark.parametrize("text", ["not approved", "please stop"])
async def test_other_text_never_approves_by_respond_either(office: Any, text: str) -> None:
    """The application's own answers are read by the same table."""
    await office.ask()
    before = await office.now()

    with pytest.raises(UnknownOutcomeError, match="approved, rejected, needs_revision"):
        await office.client.hitl.respond(
            request_id=before.request_id, outcome=text, reviewer=REVIEWER
        )

    request = await office.now()
    assert request.status == "pending"
    assert [comment.text for comment in request.comments] == [text]


@pytest.mark.parametrize("outcome", ["", "  ", None])
async def test_a_blank_answer_by_respond_decides_nothing(office: Any, outcome: str | None) -> None:
    """Nothing is no answer."""
    await office.ask()
    before = await office.now()

    with pytest.raises(UnknownOutcomeError, match="blank"):
        await office.client.hitl.respond(
            request_id=before.request_id, outcome=outcome, reviewer=REVIEWER
        )

    assert (await office.now()).comments == ()


async def test_an_out_of_office_reply_decides_nothing_and_is_not_answered(office: Any) -> None:
    """Even when its text is a label."""
    await office.ask()
    sent = len(office.mail.sent)

    request = await office.hear("approved", **{"Auto-Submitted": "auto-replied"})

    assert request.status == "pending"
    assert len(office.mail.sent) == sent
    assert office.mail.put_away == ["1"]


async def test_text_behind_an_approval_approves_at_medium_risk(office: Any) -> None:
    """`Approved. Great article!` is a yes where a slip costs little."""
    await office.ask()

    request = await office.hear("Approved. Great article!")

    assert (request.status, request.outcome) == ("approved", "approved")


class TestWithATrustedServer:
    """A mail server vouches for senders."""

    @pytest.fixture(name="trusted_server")
    def _trusted_server(self) -> str:
        return "mx.acme.example"

    PASSED = "mx.acme.example; dmarc=pass header.from=acme.example"

    async def test_text_behind_an_approval_does_not_approve_at_high_risk(self, office: Any) -> None:
        """`Approved. Great article!` is asked again."""
        await office.ask(_grave())

        request = await office.hear(
            "Approved. Great article!", **{"Authentication-Results": self.PASSED}
        )

        assert request.status == "pending"
        assert "nothing else" in text_of(refusals(office)[0])

    async def test_a_vouched_reply_decides_at_high_risk(self, office: Any) -> None:
        """A label alone is enough."""
        await office.ask(_grave())

        request = await office.hear("approved", **{"Authentication-Results": self.PASSED})

        assert request.status == "approved"
        assert request.decisions[0].proof == "authenticated"

    @pytest.mark.parametrize(
        "headers",
        [
            {},
            {"Authentication-Results": "mx.evil.example; dmarc=pass header.from=acme.example"},
            {"Authentication-Results": "mx.acme.example; dmarc=pass header.from=evil.example"},
            {"Authentication-Results": "mx.acme.example; dmarc=fail header.from=acme.example"},
        ],
        ids=["no header", "foreign id", "misaligned", "failed"],
    )
    async def test_a_forged_sender_with_a_genuine_token_decides_nothing(
        self, office: Any, headers: dict[str, str]
    ) -> None:
        """The token alone is not enough when a server is there to vouch."""
        await office.ask()

        request = await office.hear("approved", **headers)

        assert (request.status, request.decisions) == ("pending", ())

    async def test_a_genuine_header_forged_below_a_foreign_one_decides_nothing(
        self, office: Any
    ) -> None:
        """Only the topmost header is the server's own."""
        asked = await office.ask()
        raw = office.mail.reply(asked, "approved", headers={"Authentication-Results": self.PASSED})
        office.mail._incoming.clear()
        office.mail.receive(
            b"Authentication-Results: mx.acme.example; dmarc=fail header.from=acme.example\n" + raw
        )

        assert (await office.now()).status == "pending"


def _grave() -> Any:
    return flow_classes.get("mailflow.grave_review")


async def test_a_reply_from_another_address_is_explained_to_the_reviewer_alone(office: Any) -> None:
    """Whoever the mail was forwarded to hears nothing; the reviewer hears once."""
    asked = await office.ask()

    for _ in range(3):
        office.mail.reply(asked, "approved", sender="mallory@evil.example")
        assert (await office.now()).status == "pending"

    assert [mail["To"] for mail in refusals(office)] == [REVIEWER]


async def test_a_second_reply_is_told_who_decided(office: Any) -> None:
    """The first answer stands."""
    asked = await office.ask()
    await office.hear("rejected")

    office.mail.reply(asked, "approved")
    request = await office.now()

    assert request.outcome == "rejected"
    assert "decided before" in text_of(office.mail.sent[-1])


async def test_a_reply_to_a_cancelled_run_is_told_so(office: Any) -> None:
    """`flows.cancel` tells the reviewer, and answers a late reply."""
    asked = await office.ask()
    request = await office.now()
    await office.client.flows.cancel(request.run_id)
    await office.client.drain()
    told = office.mail.sent[-1]

    office.mail.reply(asked, "approved")
    request = await office.now()

    assert (request.status, request.resolution.reason) == ("cancelled", "run cancelled")
    assert "cancelled" in text_of(told).lower()
    assert "cancelled before" in text_of(office.mail.sent[-1])


async def test_a_reply_after_the_expiry_is_told_so(office: Any) -> None:
    """At the very instant of expiry it already is too late."""
    asked = await office.ask()
    office.clock.advance(timedelta(days=7))
    office.mail.reply(asked, "approved")

    request = await office.now()

    assert request.status == "expired"
    assert any("after the time" in text_of(mail) for mail in refusals(office))


async def test_the_same_message_is_handled_once(office: Any) -> None:
    """However often the mailbox hands it over."""
    asked = await office.ask()
    raw = office.mail.reply(asked, "please stop")
    await office.now()
    office.mail.receive(raw)
    office.mail.receive(raw)

    request = await office.now()

    assert len(request.comments) == 1
    assert len(refusals(office)) == 1


async def test_mail_without_a_token_is_left_alone(office: Any) -> None:
    """It is not ours; nobody hears of it."""
    await office.ask()
    sent = len(office.mail.sent)
    office.mail.receive(b"From: brand@acme.example\nTo: approvals@signoff.example\n\napproved\n")
    office.mail.receive(
        b"From: brand@acme.example\nTo: approvals+" + b"a" * 48 + b"@signoff.example\n\napproved\n"
    )

    request = await office.now()

    assert request.status == "pending"
    assert office.mail.put_away == []
    assert len(office.mail.sent) == sent


async def test_a_label_below_a_greeting_decides(office: Any) -> None:
    """The greeting is no part of the feedback."""
    await office.ask()

    request = await office.hear("Hi all,\n\nrejected\n\nwrong price on page 2")

    assert (request.status, request.feedback) == ("rejected", "wrong price on page 2")


async def test_other_text_keeps_its_greeting(office: Any) -> None:
    """It may be what somebody wants to have written."""
    await office.ask()

    request = await office.hear("Dear customers,\nspring is here, and so are our new chairs.")

    assert request.status == "pending"
    assert [comment.text for comment in request.comments] == [
        "Dear customers,\nspring is here, and so are our new chairs."
    ]
