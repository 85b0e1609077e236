"""What each kind of mail says, in which order, and how it is put together."""

from __future__ import annotations

import email
import hashlib
import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from email.policy import default
from html import unescape
from typing import Literal
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from signoff.mail.answering import mailto
from signoff.mail.blocks import Block
from signoff.mail.compose import compose, subject_of
from signoff.mail.content import title_of, wants_answer
from signoff.mail.marks import REPLY_LINE
from signoff.mail.page import Line, Section
from signoff.mail.payload import MAX_BYTES, is_attached, reply_code
from signoff.mail.refusals import ADVICE, Refusal, refusal_note
from signoff.mail.render_html import html_bytes
from signoff.mail.sent import sent_text
from signoff.model.decision import Decision, Resolution
from signoff.model.delivery import Delivery, DeliveryKind
from signoff.model.request import Evidence, Request
from signoff.model.values import Tree
from signoff.ports import Outgoing
from signoff.rules.digest import short_code
from signoff.rules.outcomes import choices

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
TOKEN = "ab2cd3ef" * 6
REPLY_TO = f"approvals+{TOKEN}@acme.example"
FIRST_ID = "<dlv_first@acme.example>"


def a_request(payload: Tree = None, **changes: object) -> Request:
    text = json.dumps({"vendor": "acme"} if payload is None else payload)
    values = {
        "request_id": "req_1",
        "kind": "call",
        "flow_name": "billing",
        "method_name": "pay",
        "message": "Pay 1200.00 to acme",
        "choices": choices(["approved", "rejected", "needs_revision"]),
        "assignees": ("cfo@acme.example",),
        "requester": "agent-7",
        "payload_json": text,
        "payload_digest": f"sha256:{hashlib.sha256(text.encode()).hexdigest()}",
        "proposed_digest": "",
        "created_at": NOW,
        **changes,
    }
    return Request.model_validate(values)


def an_outgoing(
    request: Request | None = None,
    *,
    kind: DeliveryKind = "request",
    note: dict[str, Tree] | None = None,
    first_message_id: str = "",
    answerable: bool = True,
    elsewhere: str = "",
) -> Outgoing:
    request = request or a_request()
    delivery = Delivery(
        delivery_id="dlv_1",
        kind=kind,
        request_id=request.request_id,
        recipient="cfo@acme.example",
        notifier="email",
        note=note or {},
        not_before=NOW,
        created_at=NOW,
    )
    return Outgoing(
        delivery=delivery,
        request=request,
        token=TOKEN,
        first_message_id=first_message_id,
        answerable=answerable,
        elsewhere=elsewhere,
    )


def a_mail(outgoing: Outgoing, *, reply_to: str = REPLY_TO) -> EmailMessage:
    raw = compose(
        outgoing,
        sender="signoff@acme.example",
        sender_name="Acme approvals",
        reply_to=reply_to,
        message_id="<dlv_1@acme.example>",
        now=NOW,
    )
    message = email.message_from_bytes(raw, policy=default)
    assert isinstance(message, EmailMessage)
    return message


def part(message: EmailMessage, kind: Literal["plain", "html"]) -> str:
    body = message.get_body((kind,))
    assert isinstance(body, EmailMessage)
    content: str = body.get_content()
    return content.replace("\r\n", "\n")


def text_of(outgoing: Outgoing, *, reply_to: str = REPLY_TO) -> str:
    return part(a_mail(outgoing, reply_to=reply_to), "plain")


def section(text: str, title: str) -> list[str]:
    """Return the lines of one section of a text part."""
    lines = text.split("\n")
    start = lines.index(f"== {title} ==") + 1
    return lines[start : lines.index("", start)]


def in_order(text: str, *pieces: str) -> bool:
    """Return whether the pieces stand in a text in this order."""
    at = 0
    for piece in pieces:
        at = text.find(piece, at) + len(piece)
        if at < len(piece):
            return False
    return True


def a_decision(label: str = "approved", **changes: object) -> Decision:
    values = {
        "label": label,
        "reviewer": "cfo@acme.example",
        "channel": "email",
        "proof": "sender",
        "decided_at": NOW,
        "payload_digest": "",
        **changes,
    }
    return Decision.model_validate(values)


def an_end(status: str = "approved", outcome: str = "approved", **changes: object) -> Resolution:
    values = {
        "status": status,
        "outcome": outcome,
        "reviewer": "coo@acme.example",
        "channel": "email",
        "resolved_at": NOW + timedelta(hours=1),
        "payload_digest": "",
        **changes,
    }
    return Resolution.model_validate(values)


def test_a_first_mail_has_exactly_the_headers_of_a_request() -> None:
    """Header by header, in order, with their values."""
    message = a_mail(an_outgoing())

    assert dict(message.items()) == {
        "Subject": "[Approval] Pay 1200.00 to acme",
        "From": "Acme approvals <signoff@acme.example>",
        "To": "cfo@acme.example",
        "Reply-To": REPLY_TO,
        "Date": "Sun, 01 Mar 2026 12:00:00 +0000",
        "Message-ID": "<dlv_1@acme.example>",
        "Auto-Submitted": "auto-generated",
        "X-Auto-Response-Suppress": "All",
        "MIME-Version": "1.0",
        "Content-Type": message["Content-Type"],
    }
    assert message.get_content_type() == "multipart/alternative"
    kinds = [child.get_content_type() for child in message.iter_parts()]
    assert kinds == ["text/plain", "text/html"]


def test_a_later_mail_joins_the_thread_of_the_first() -> None:
    """In-Reply-To, References and Re: come with the first message's id, and only then."""
    message = a_mail(an_outgoing(kind="cancelled", first_message_id=FIRST_ID))

    assert message["Subject"] == "Re: [Approval] Pay 1200.00 to acme"
    assert message["In-Reply-To"] == FIRST_ID
    assert message["References"] == FIRST_ID


def test_an_id_that_is_none_joins_no_thread() -> None:
    """What some other notifier returned as its id does not get into a header."""
    message = a_mail(an_outgoing(first_message_id="dlv_1\r\nBcc: x@evil.example"))

    assert message["In-Reply-To"] is None
    assert message["References"] is None


@pytest.mark.parametrize("kind", ["confirmation", "refusal", "cancelled", "expired"])
def test_a_mail_that_tells_is_marked_as_an_automatic_answer(kind: DeliveryKind) -> None:
    """RFC 3834: what follows from somebody's message is auto-replied."""
    message = a_mail(an_outgoing(kind=kind))

    assert message["Auto-Submitted"] == "auto-replied"


@pytest.mark.parametrize(
    ("kind", "status", "asks"),
    [
        ("request", "pending", True),
        ("request", "approved", True),
        ("refusal", "pending", True),
        ("refusal", "approved", False),
        ("confirmation", "pending", False),
        ("cancelled", "pending", False),
        ("expired", "pending", False),
    ],
)
def test_only_a_mail_that_asks_has_a_reply_address(
    kind: DeliveryKind, status: str, asks: bool
) -> None:
    """A refusal asks again while the request waits; all others ask nothing."""
    outgoing = an_outgoing(a_request(status=status), kind=kind)
    message = a_mail(outgoing)

    assert wants_answer(outgoing) is asks
    assert (message["Reply-To"] == REPLY_TO) is asks
    assert (TOKEN in message.as_string()) is asks


@pytest.mark.parametrize("kind", ["plain", "html"])
def test_the_payload_comes_first_and_the_agents_words_after_all_that_governs(
    kind: Literal["plain", "html"],
) -> None:
    """The order is fixed: who asks, what runs, the question, evidence, agent, answers."""
    request = a_request(
        {"vendor": "acme", "amount": {"$": "decimal", "v": "1200.00"}},
        summary="A fine idea",
        rationale="Risk: LOW, verified by signoff",
        confidence=0.93,
        risk="medium",
        evidence=(Evidence(label="Balance", value="too low", tone="red"),),
        due_at=NOW + timedelta(hours=2),
        expires_at=NOW + timedelta(days=7),
        on_expiry="rejected",
        default_outcome="needs_revision",
    )
    message = a_mail(an_outgoing(request))
    said = part(message, kind).partition("</div>")[2] if kind == "html" else part(message, kind)
    pieces = [
        REPLY_LINE,
        "Your approval is asked",
        "Asked by: agent-7",
        "Risk: medium (set by the program, not by the agent)",
        "Answer due: 2026-03-01 14:00 UTC",
        "vendor (str)",
        "acme",
        "amount (Decimal)",
        "1200.00",
        "| Pay 1200.00 to acme",
        "Asked of: cfo@acme.example",
        "From 2026-03-08 12:00 UTC on no answer counts: the request expires.",
        'Unanswered, it then goes on as "rejected".',
        "| [red] Balance: too low",
        "Written by the agent, not verified",
        "| Summary: A fine idea",
        "| Rationale: Risk: LOW, verified by signoff",
        "| Confidence: 0.93",
        "approved",
        "it approves" if kind == "plain" else "opens a reply that approves",
        "rejected",
        "needs_revision",
        'Any other text counts as "needs_revision"',
        "Only cfo@acme.example can answer this mail",
        "Request req_1",
        "Step billing.pay",
        request.payload_digest,
    ]

    assert in_order(re.sub("</?strong>", "", said), *pieces)


def test_what_the_agent_says_of_risk_stays_in_its_own_section() -> None:
    """A rationale in the form of our own lines stands behind the gutter, and ours is unchanged."""
    forged = "fine\nRisk: low\n\n== How to answer ==\nReply with anything."
    text = text_of(an_outgoing(a_request(rationale=forged, risk="high")))

    assert section(text, "Written by the agent, not verified")[1:] == [
        "| Rationale: fine",
        "| Risk: low",
        "|",
        "| == How to answer ==",
        "| Reply with anything.",
    ]
    assert "Risk: high (set by the program, not by the agent)" in text


@pytest.mark.parametrize(
    ("kind", "heading"),
    [
        ("call", "Your approval is asked"),
        ("feedback", "Your review is asked"),
        ("in_doubt", "You are asked what happened"),
        ("question", "You are asked a question"),
    ],
)
def test_the_heading_says_what_kind_of_answer_is_wanted(kind: str, heading: str) -> None:
    """In the text, and in the HTML as its one first-level heading."""
    message = a_mail(an_outgoing(a_request(kind=kind)))

    assert part(message, "plain").split("\n")[2] == heading
    assert re.findall("<h1[^>]*>(.*)</h1>", part(message, "html")) == [heading]


def test_a_bare_request_says_what_is_not_set() -> None:
    """No requester, assignee, deadline, evidence or agent text leaves no empty section."""
    text = text_of(
        an_outgoing(a_request(requester=None, assignees=(), flow_name="", method_name=""))
    )

    assert in_order(
        text,
        "Asked by: not recorded\n",
        "Risk: medium (set by the program, not by the agent)\n",
        "Answer due: no time is set\n",
    )
    assert section(text, "Who is asked, and until when") == [
        "Asked of: anybody who may decide",
        "The request does not expire by itself.",
    ]
    assert "Evidence" not in text
    assert "Written by the agent" not in text
    assert "Step" not in text


def test_text_of_several_lines_is_shown_line_by_line_behind_a_gutter() -> None:
    """Long lines go on behind |+, blank runs and wide gaps are counted behind |~."""
    value = "Dear all,\n\n\n\nx\n\ny" + " " * 60 + "hidden" + "z" * 80
    text = text_of(an_outgoing(a_request({"text": value})))

    assert section(text, "What it is about")[2:] == [
        "| text (str), 7 lines:",
        "|   Dear all,",
        "|~ 3 blank lines",
        "|   x",
        "|",
        "|   y",
        "|~ 60 blanks",
        "|+ hidden" + "z" * 63,
        "|+ " + "z" * 17,
    ]


def test_a_long_line_is_cut_behind_a_blank_that_stays() -> None:
    """The parts put together again are the line, blanks and all."""
    value = "word " * 30 + "end"
    lines = section(text_of(an_outgoing(a_request(value))), "What it is about")[2:]

    assert lines[0] == "| value (str): " + "word " * 11
    assert lines[0] + "".join(line.removeprefix("|+ ") for line in lines[1:]) == (
        f"| value (str): {value}"
    )


def test_blank_lines_at_the_end_are_counted_too() -> None:
    """Nothing is dropped, however little it shows."""
    text = text_of(an_outgoing(a_request({"text": "a" + "\n" * 500})))

    assert section(text, "What it is about")[2:] == [
        "| text (str), 501 lines:",
        "|   a",
        "|~ 500 blank lines",
    ]


def test_a_wide_gap_at_the_end_of_a_line_is_counted() -> None:
    """Nothing follows it, and the reviewer sees that it is there."""
    text = text_of(an_outgoing(a_request("a" + " " * 40)))

    assert section(text, "What it is about")[2:] == ["| value (str): a", "|~ 40 blanks"]


def test_a_wide_gap_at_the_beginning_of_a_line_is_counted() -> None:
    """The indentation of ours is not in the count."""
    text = text_of(an_outgoing(a_request("a\n" + " " * 40 + "b\n" + " " * 39 + "c")))

    assert section(text, "What it is about")[2:] == [
        "| value (str), 3 lines:",
        "|   a",
        "|~ 40 blanks",
        "|+ b",
        "|   " + " " * 39 + "c",
    ]


def test_a_gap_of_less_than_forty_blanks_is_shown_as_it_is() -> None:
    """It pushes nothing out of sight."""
    text = text_of(an_outgoing(a_request("a" + " " * 39 + "b")))

    assert section(text, "What it is about")[2:] == ["| value (str): a" + " " * 39 + "b"]


def test_a_payload_that_is_one_value_is_named_so() -> None:
    """A step's return value has no path; tabs are shown as blanks."""
    text = text_of(an_outgoing(a_request("a\tb")))

    assert section(text, "What it is about")[2:] == ["| value (str): a    b"]


def test_without_labels_any_text_is_the_answer() -> None:
    """A request without choices explains itself and has no buttons."""
    message = a_mail(an_outgoing(a_request(choices=())))

    assert section(part(message, "plain"), "How to answer")[0] == (
        "Reply to this mail. All that you write is your answer."
    )
    assert "mailto:" not in part(message, "html")


def test_without_a_default_other_text_is_said_to_decide_nothing() -> None:
    """The mail says what happens to text that is none of the choices."""
    lines = section(text_of(an_outgoing()), "How to answer")

    assert "Any other text decides nothing; it is kept as a comment and you are" in lines


def test_a_mail_that_may_not_decide_says_so_and_where_to_answer() -> None:
    """No reply address, no token anywhere, no buttons."""
    outgoing = an_outgoing(
        a_request(risk="high"), answerable=False, elsewhere="https://acme.example/inbox"
    )
    message = a_mail(outgoing)
    lines = section(part(message, "plain"), "How to answer")

    assert lines == [
        "A mail may not decide this request of high risk.",
        "A reply to this mail decides nothing. Please answer here:",
        "  https://acme.example/inbox",
        'Choice "approved" - it approves.',
        'Choice "rejected" - it rejects.',
        'Choice "needs_revision" - it neither approves nor rejects.',
    ]
    assert message["Reply-To"] is None
    assert TOKEN not in message.as_string()
    assert "mailto:" not in part(message, "html")


def test_without_a_reply_address_the_mail_points_to_the_application() -> None:
    """A mail without token promises nothing to who replies."""
    lines = section(text_of(an_outgoing(), reply_to=""), "How to answer")

    assert lines[:2] == [
        "A reply to this mail decides nothing. Please answer here: in the",
        "  application that asks",
    ]


def links(outgoing: Outgoing) -> list[str]:
    html = part(a_mail(outgoing), "html")
    return [piece.split('"')[0].replace("&amp;", "&") for piece in html.split('href="')[1:]]


def test_each_label_has_one_link_that_decodes_to_address_subject_and_body() -> None:
    """Plus stays plus, blanks and line ends are percent-encoded, the text is the label."""
    request = a_request(message="Pay 50% & more? #1", choices=choices(["approved", "on hold"]))
    found = links(an_outgoing(request))

    assert found[1] == (
        f"mailto:approvals+{TOKEN}@acme.example"
        "?subject=Re%3A%20%5BApproval%5D%20Pay%2050%25%20%26%20more%3F%20%231"
        "&body=on%20hold%0D%0A%0D%0A"
    )
    assert found[2].endswith("&body=approved%20with%20changes%0D%0Avendor%20%3D%20acme%0D%0A%0D%0A")
    assert len(found) == 3
    url = urlsplit(found[0])
    fields = parse_qs(url.query)
    assert unquote(url.path) == REPLY_TO
    assert fields == {
        "subject": ["Re: [Approval] Pay 50% & more? #1"],
        "body": ["approved\r\n\r\n"],
    }
    html = part(a_mail(an_outgoing(request)), "html")
    assert "><strong>Reply: approved</strong><br />" in html
    assert "><strong>Reply: on hold</strong><br />" in html


def test_a_link_in_a_thread_has_one_re_only() -> None:
    """Re: is not doubled where the mail's own subject has one."""
    found = links(an_outgoing(first_message_id=FIRST_ID))

    assert "?subject=Re%3A%20%5BApproval%5D%20Pay" in found[0]


def test_the_longest_link_stays_below_1900_characters() -> None:
    """The longest label, subject and address, all in characters of four bytes."""
    address = f"{'a' * 64}@{'b' * 60}.{'c' * 60}.{'d' * 60}.{'e' * 60}.example"

    link = mailto(address, subject="\U0001f600" * 500, body="\U0001f600" * 64 + "\r\n")

    assert len(link) < 1_900


def test_the_title_is_one_line_of_at_most_a_hundred_characters() -> None:
    """A long question is cut in the subject, visibly, and stands whole in the mail."""
    request = a_request(message="Pay\n\n" + "x" * 200)

    assert title_of(request) == "[Approval] Pay " + "x" * 95 + "\u2026"
    assert "x" * 68 in text_of(an_outgoing(request))


def test_an_exactly_fitting_title_is_not_cut() -> None:
    """A hundred characters stay."""
    assert title_of(a_request(message="x" * 100)) == "[Approval] " + "x" * 100


def of_size(size: int) -> Request:
    """Return a request whose payload takes `size` bytes of HTML in all."""
    frame = html_bytes(Line(lead="value (str):", text="x")) - 1
    return a_request("x" * (size - frame))


def test_a_payload_of_60_kilobytes_stays_in_the_mail() -> None:
    """The boundary itself is not too long."""
    request = of_size(MAX_BYTES)
    message = a_mail(an_outgoing(request))

    assert not is_attached(request)
    assert message.get_content_type() == "multipart/alternative"


def test_a_longer_payload_is_attached_whole_with_digest_and_counts() -> None:
    """One byte more goes into the attachment, and the mail says so at its top."""
    request = of_size(MAX_BYTES + 1)
    message = a_mail(an_outgoing(request))
    text = part(message, "plain")

    assert is_attached(request)
    assert message.get_content_type() == "multipart/mixed"
    (attachment,) = message.iter_attachments()
    assert attachment.get_filename() == "request.txt"
    assert attachment.get_content_type() == "text/plain"
    content = attachment.get_content().replace("\r\n", "\n")
    value = str(request.payload)
    assert content.replace("\n|+ ", "").count(value) == 1
    assert section(text, "What it is about") == [
        "It is too long for a mail. It is attached whole as request.txt.",
        f"It has 1 value, 1 line, {len(value):,} characters, {len(value) + 2:,} bytes stored. Its",
        "  digest is:",
        request.payload_digest,
        f"|~ value (str): {len(value):,} characters",
    ]
    assert "xxxx" not in text
    assert in_order(
        content,
        "Request req_1",
        request.payload_digest,
        f"The payload has 1 value, 1 line, {len(value):,} characters",
        "| value (str): xxx",
        "| Pay 1200.00 to acme",
    )
    assert "Code" not in content


@pytest.mark.parametrize("risk", ["high", "critical"])
def test_a_long_payload_of_high_risk_takes_the_code_at_the_attachments_end(risk: str) -> None:
    """The mail asks for the code but does not show it; the attachment ends with it."""
    request = a_request("x" * 70_000, risk=risk)
    message = a_mail(an_outgoing(request))
    code = reply_code(request)
    (attachment,) = message.iter_attachments()

    assert code == short_code(request.payload_digest)
    assert len(code) == 6
    assert attachment.get_content().rstrip().endswith(f"Code for your reply: {code}")
    assert "Your reply also has to hold the code that stands at the end of" in part(
        message, "plain"
    )
    assert f"Code for your reply: {code}" not in part(message, "plain")
    assert links(an_outgoing(request))[0].endswith("&body=approved%0D%0ACode%3A%20%0D%0A%0D%0A")


@pytest.mark.parametrize(("size", "risk"), [(70_000, "medium"), (10, "high")])
def test_no_code_is_asked_for_a_short_payload_or_a_lower_risk(size: int, risk: str) -> None:
    """Both are needed: too long for a mail, and high or critical."""
    request = a_request("x" * size, risk=risk)

    assert reply_code(request) == ""
    assert "Code" not in text_of(an_outgoing(request))


def test_long_words_of_the_agent_are_attached_whole_and_counted() -> None:
    """What does not fit is never cut silently."""
    words = "\n".join(f"reason {number}" for number in range(2_000))
    message = a_mail(an_outgoing(a_request(rationale=words)))
    lines = section(part(message, "plain"), "Written by the agent, not verified")
    (attachment,) = message.iter_attachments()
    content = attachment.get_content().replace("\r\n", "\n")

    shown = len(lines) - 2
    left = sum(len(f"reason {number}") for number in range(shown, 2_000))
    assert 350 < shown < 600
    assert lines[-1] == f"|~ {left:,} characters more: see request.txt"
    assert "| reason 1999\n" in content
    assert "| vendor (str): acme" in content


def test_one_very_long_line_of_evidence_is_shown_as_far_as_it_fits() -> None:
    """A limit does not leave out a whole line."""
    item = Evidence(label="Log", value="y" * 9_000)
    message = a_mail(an_outgoing(a_request(evidence=(item,))))
    lines = section(part(message, "plain"), "Evidence given")

    assert lines[0] == "| [slate] Log: " + "y" * 57
    assert lines[-1].endswith("characters more: see request.txt")
    assert sum(line.count("y") for line in lines) > 1_000


def test_a_block_is_cut_only_where_it_does_not_fit() -> None:
    """To the byte; what is left out is counted."""
    first, second = Line(text="one"), Line(text="two & three", gutter="|+ ")
    size = html_bytes(first) + html_bytes(second)

    def fitted(limit: int | None) -> tuple[object, ...]:
        block = Block(title="Log", lines=(first, second), limit=limit)
        assert block.whole() == Section("Log", (first, second))
        return block.fitted().parts

    assert size == len("| one<br />\n|+ two &amp; three<br />\n")
    assert fitted(None) == (first, second)
    assert fitted(size) == (first, second)
    assert fitted(size - 1) == (
        first,
        Line(text="11 characters more: see request.txt", gutter="|~ "),
    )
    assert fitted(html_bytes(first)) == fitted(size - 1)
    assert fitted(html_bytes(first) - 1) == (
        Line(text="14 characters more: see request.txt", gutter="|~ "),
    )


def test_long_ids_and_addresses_stand_in_one_piece() -> None:
    """Python encodes or folds what is longer than a line, and no client reads that."""
    long_id = f"<dlv_{'a' * 26}@{'b' * 29}.example>"
    reply_to = f"{'a' * 15}+{TOKEN}@{'c' * 60}.example"
    raw = compose(
        an_outgoing(first_message_id=long_id),
        sender="signoff@acme.example",
        sender_name="",
        reply_to=reply_to,
        message_id=long_id,
        now=NOW,
    ).decode()

    assert len(long_id) == 70
    for header in ("Message-ID", "In-Reply-To", "References"):
        assert f"\r\n{header}: {long_id}\r\n" in raw
    assert f"\r\nReply-To: {reply_to}\r\n" in raw
    assert "\r\nFrom: signoff@acme.example\r\n" in raw


def test_a_subject_in_other_letters_has_encoded_words_of_at_most_75_characters() -> None:
    """Longer ones are no encoded words. Source: RFC 2047 section 2."""
    message = "\u6f22" * 90
    raw = compose(
        an_outgoing(a_request(message=message)),
        sender="signoff@acme.example",
        sender_name="",
        reply_to=REPLY_TO,
        message_id=FIRST_ID,
        now=NOW,
    )
    words = re.findall(rb"=\?utf-8\?\w\?[^?]*\?=", raw.partition(b"\r\nFrom:")[0])

    assert len(words) > 1
    assert max(map(len, words)) <= 75
    assert a_mail(an_outgoing(a_request(message=message)))["Subject"] == f"[Approval] {message}"


def test_a_confirmation_says_what_was_recorded_and_what_was_read() -> None:
    """Outcome, reviewer, instant, first line, feedback; the request is closed."""
    request = a_request(
        status="approved",
        decisions=(a_decision(),),
        resolution=an_end(feedback="Fine.\nGo on."),
    )
    outgoing = an_outgoing(request, kind="confirmation", note={"line": "Approved!"})
    text = text_of(outgoing)

    assert text.split("\n")[2] == "Recorded: approved"
    assert section(text, "What was recorded") == [
        "Recorded: approved - by coo@acme.example at 2026-03-01 13:00 UTC.",
        'First line read: "Approved!"',
        "The request is closed.",
    ]
    assert section(text, "Feedback") == ["| Fine.", "| Go on."]
    assert "Request req_1" in text


def test_a_confirmation_of_one_vote_says_that_the_request_still_waits() -> None:
    """Without a resolution the last decision is what was recorded."""
    request = a_request(decisions=(a_decision("rejected"), a_decision("approved")))
    text = text_of(an_outgoing(request, kind="confirmation"))

    assert section(text, "What was recorded") == [
        "Recorded: approved - by cfo@acme.example at 2026-03-01 12:00 UTC.",
        "The request still waits for others.",
    ]
    assert "Feedback" not in text


def test_a_confirmation_of_free_text_shows_the_text() -> None:
    """Where there are no labels the answer itself is what was recorded."""
    request = a_request(
        choices=(),
        status="answered",
        resolution=an_end("answered", "", feedback="Shorter, please"),
    )
    text = text_of(an_outgoing(request, kind="confirmation"))

    assert "Recorded: the answer - by coo@acme.example" in text
    assert section(text, "Feedback") == ["| Shorter, please"]


def test_a_confirmation_of_nothing_known_names_the_recipient() -> None:
    """A note from a newer Signoff does not stop the outbox."""
    text = text_of(an_outgoing(kind="confirmation"))

    assert "Recorded: the answer - by cfo@acme.example at 2026-03-01 12:00 UTC." in text


@pytest.mark.parametrize("reason", list(ADVICE))
def test_each_reason_of_a_refusal_says_why_and_what_to_do(reason: Refusal) -> None:
    """The texts of the table arrive, with risk and recipient filled in."""
    outgoing = an_outgoing(
        a_request(risk="high"),
        kind="refusal",
        note=refusal_note(reason, line="Approve it", detail="One more sentence."),
    )
    lines = section(text_of(outgoing), "Why, and what to do")
    joined = " ".join(" ".join(lines).split())
    advice = ADVICE[reason]

    assert joined == " ".join(
        [
            "Your reply decided nothing.",
            advice.why.format(risk="high"),
            "One more sentence.",
            'First line read: "Approve it"',
            advice.then.format(risk="high", recipient="cfo@acme.example"),
        ]
    )
    assert "{" not in joined


def test_a_confirmation_shows_what_was_changed_old_above_new() -> None:
    """As the note of the delivery keeps it; a note of another form is left out."""
    changes: Tree = [["amount", "9.00", "8.00"], ["from the future"], "x"]
    outgoing = an_outgoing(kind="confirmation", note={"line": "ok", "changes": changes})
    lines = section(text_of(outgoing), "What was changed")

    assert lines == ["| amount, proposed: 9.00", "| amount, changed to: 8.00"]
    odd = an_outgoing(kind="confirmation", note={"changes": "from the future"})
    assert "What was changed" not in text_of(odd)


def test_a_change_is_offered_where_it_can_be_made_by_reply() -> None:
    """Not where nothing may be changed, several labels approve, or a code is needed."""
    long: Tree = {"note": "x", "text": "x" * 70_000}

    def offers(request: Request) -> bool:
        return "Reply: change and approve" in part(a_mail(an_outgoing(request)), "html")

    assert offers(a_request())
    assert offers(a_request(long))
    assert not offers(a_request(long, risk="high"))
    assert not offers(a_request(editable=False))
    assert not offers(a_request(kind="in_doubt"))
    assert not offers(a_request(choices=()))
    assert not offers(a_request(choices=choices(["approved", "approved with changes"])))
    assert not offers(a_request(["a\nb"]))
    assert not offers(a_request(hidden=("vendor",)))


def test_a_refusal_while_the_request_waits_gives_the_choices_again() -> None:
    """With reply address, one link per label and one for changes, as in the first mail."""
    outgoing = an_outgoing(kind="refusal", note=refusal_note("unknown", line="LGTM"))
    message = a_mail(outgoing)

    assert message["Reply-To"] == REPLY_TO
    assert 'Reply "approved" - it approves.' in part(message, "plain")
    assert part(message, "html").count("mailto:") == 4


def test_a_refusal_after_the_end_says_who_decided_what_and_when() -> None:
    """And it gives no choices."""
    request = a_request(status="rejected", resolution=an_end("rejected", "rejected"))
    text = text_of(an_outgoing(request, kind="refusal", note=refusal_note("decided")))

    assert section(text, "Why, and what to do") == [
        "Your reply decided nothing. The request was decided before it came.",
        'It ended rejected as "rejected" - by coo@acme.example at 2026-03-01',
        "  13:00 UTC.",
        "You need not do anything.",
    ]
    assert "How to answer" not in text


def test_a_refusal_after_an_end_without_label_names_none() -> None:
    """A cancelled request has no outcome."""
    request = a_request(status="cancelled", resolution=an_end("cancelled", "", reviewer="ops"))
    text = text_of(an_outgoing(request, kind="refusal", note=refusal_note("cancelled")))

    assert "It ended cancelled - by ops at 2026-03-01 13:00 UTC." in text


def test_an_unknown_reason_counts_as_other() -> None:
    """A note that a newer Signoff wrote is still told."""
    text = text_of(an_outgoing(kind="refusal", note={"reason": "from the future"}))

    assert "It could not be taken for an answer." in text


@pytest.mark.parametrize(
    ("note", "said"),
    [
        ({"reason": "superseded"}, "This request was cancelled (superseded)."),
        ({}, "This request was cancelled."),
    ],
)
def test_a_cancelled_mail_says_why_and_that_no_answer_is_needed(
    note: dict[str, Tree], said: str
) -> None:
    """The reason comes from the note."""
    text = text_of(an_outgoing(kind="cancelled", note=note))

    assert text.split("\n")[2] == "A request was cancelled"
    assert section(text, "What happened") == [said, "No answer is needed any more."]
    assert section(text, "Question") == ["| Pay 1200.00 to acme"]


def test_an_expired_mail_says_when_and_how_it_goes_on() -> None:
    """With an outcome for expiry it is named."""
    request = a_request(
        status="expired",
        expires_at=NOW + timedelta(days=7),
        resolution=an_end("expired", "rejected", reviewer="timer"),
    )
    text = text_of(an_outgoing(request, kind="expired"))

    assert section(text, "What happened") == [
        "Nobody answered this request in time; an answer does not count any more.",
        "It expired at 2026-03-08 12:00 UTC.",
        'It goes on as "rejected".',
    ]


def test_an_expired_mail_without_expiry_or_outcome_says_only_that() -> None:
    """Nothing is made up."""
    text = text_of(an_outgoing(kind="expired"))

    assert len(section(text, "What happened")) == 1


def test_a_very_long_question_is_attached_to_a_mail_that_only_tells() -> None:
    """Also outside a request nothing is cut silently."""
    message = a_mail(an_outgoing(a_request(message="why " * 2_000), kind="cancelled"))
    (attachment,) = message.iter_attachments()

    assert "characters more: see request.txt" in part(message, "plain")
    assert attachment.get_content().count("why") == 2_000


def test_the_subject_has_no_encoded_word_and_no_line_break() -> None:
    """Python before 3.11.10 would make headers of them."""
    request = a_request(message="a =?utf-8?q?a=0d=0aBcc:_x@y?= b\r\nBcc: x@y")

    assert subject_of(an_outgoing(request)) == (
        "[Approval] a = ?utf-8?q?a=0d=0aBcc:_x@y?= b Bcc: x@y"
    )


@pytest.mark.parametrize("kind", ["request", "confirmation", "refusal", "cancelled", "expired"])
def test_the_sent_text_is_the_lines_of_the_mail_whatever_its_reply_address(
    kind: DeliveryKind,
) -> None:
    """Every line of the text, and every line that the HTML shows without folding it."""
    outgoing = an_outgoing(a_request("word " * 40), kind=kind)
    message = a_mail(outgoing)
    lines = {*sent_text(outgoing)}

    assert set(part(message, "plain").split("\n")) - {""} <= lines
    html = unescape(
        re.sub(r"<style>.*</style>|<[^>]+>", "", part(message, "html"), flags=re.DOTALL)
    )
    shown = {line.replace("\xa0", " ") for line in html.split("\n") if line.strip()}
    assert shown <= lines


def test_the_sent_text_of_a_mail_without_token_has_no_reply_address_either() -> None:
    """Its lines are those of the mail that points elsewhere."""
    outgoing = replace(an_outgoing(), token="")

    assert 'Choice "approved" - it approves.' in sent_text(outgoing)
    assert 'Reply "approved" - it approves.' in sent_text(an_outgoing())
