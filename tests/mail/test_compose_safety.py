"""That no text of others breaks out of its place in a mail, or passes for an answer."""

from __future__ import annotations

import email
import json
import re
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from email.policy import compat32, default
from html.parser import HTMLParser
from typing import Final, Literal
from xml.etree import ElementTree as ET

import hypothesis
import pytest
from hypothesis import strategies as st
from typing_extensions import override

from signoff.errors import NotifyError
from signoff.mail.compose import compose
from signoff.mail.flatten import ensure_headers, header_text, is_message_id
from signoff.mail.marks import REPLY_LINE
from signoff.mail.markup import text_of_html
from signoff.mail.page import Line, harmless
from signoff.mail.payload import MAX_BYTES
from signoff.mail.refusals import refusal_note
from signoff.mail.render_html import html_bytes
from signoff.mail.styles import TONES
from signoff.model.decision import Resolution
from signoff.model.delivery import Delivery, DeliveryKind
from signoff.model.policy import Risk
from signoff.model.request import Choice, Evidence, Request, Tone
from signoff.model.values import Tree
from signoff.ports import Outgoing
from signoff.rules.outcomes import Meaning, NoMatch, choices, match, normalise
from signoff.rules.written_edits import APPROVED_WITH_CHANGES

NOW: Final = datetime(2026, 3, 1, 12, tzinfo=UTC)
REPLY_TO: Final = f"approvals+{'ab2cd3ef' * 6}@acme.example"
KINDS: Final[list[DeliveryKind]] = [
    *("request", "confirmation", "refusal", "cancelled", "expired", "undelivered")
]

HEADERS: Final = [
    "Subject",
    "From",
    "To",
    "Reply-To",
    "Date",
    "Message-ID",
    "In-Reply-To",
    "References",
    "Auto-Submitted",
    "X-Auto-Response-Suppress",
    "MIME-Version",
    "Content-Type",
]

HOSTILE: Final = {
    "line feed": "x\nBcc: victim@evil.example\n\nbody",
    "carriage return": "x\r\nBcc: victim@evil.example\r\n\r\nbody",
    "lone carriage return": "x\rBcc: victim@evil.example",
    "nul": "x\0Bcc: victim@evil.example",
    "line separator": "x\u2028Bcc: victim@evil.example\u2029\x85\x0b\x0c\x1c",
    "encoded word": "=?utf-8?q?a=0d=0aBcc:_victim@evil.example?=",
    "two encoded words": "=?utf-8?b?Cg==?= =?utf-8?q?=0aBcc:_victim@evil.example?=",
    "html": "</p></td></table><script>alert(1)</script><img src=https://evil.example/x>",
    "attribute": '"\' onmouseover="alert(1)" style=\'display:none',
    "entity": "&#x202e;&lt;script&gt;&amp;",
    "bidi": "safe\u202eevil\u2066\u200b\u200f\ufeff",
    "tags": "a\U000e0041\U000e007f",
    "escape": "\x1b[2J\x1b[31mred\x9b",
    "long": "x" * 5_000,
    "long words": "word " * 1_000,
    "wide": "\u6f22\u5b57" * 500 + "\U0001f600" * 100,
    "braces": "{risk} {0} {recipient.__class__}",
    "percent": "%s %(x)s %0D%0A",
}


def a_request(text: str = "Pay", **changes: object) -> Request:
    """Return a request that holds `text` wherever others write."""
    values = {
        "request_id": "req_1",
        "kind": "call",
        "flow_name": text,
        "method_name": text,
        "message": text,
        "choices": choices(["approved", "rejected"]),
        "assignees": (text, "cfo@acme.example"),
        "requester": text,
        "payload_json": json.dumps({"vendor": text, text: [text, {"$": "decimal", "v": text}]}),
        "payload_digest": f"sha256:{'0' * 64}",
        "proposed_digest": "",
        "summary": text,
        "rationale": text,
        "confidence": 0.5,
        "evidence": (Evidence(label=text, value=text, tone="amber"),),
        "created_at": NOW,
        "due_at": NOW + timedelta(hours=2),
        "expires_at": NOW + timedelta(days=7),
        **changes,
    }
    return Request.model_validate(values)


def an_end(text: str) -> Resolution:
    return Resolution(
        status="approved",
        outcome=text,
        feedback=text,
        reviewer=text,
        channel="email",
        resolved_at=NOW,
        payload_digest=text,
    )


def raw_mail(
    request: Request,
    *,
    kind: DeliveryKind = "request",
    note: dict[str, Tree] | None = None,
    text: str = "",
    answerable: bool = True,
    earlier: tuple[Request, ...] = (),
) -> bytes:
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
    outgoing = Outgoing(
        delivery=delivery,
        request=request,
        first_message_id="<dlv_0@acme.example>",
        answerable=answerable,
        elsewhere=text,
        earlier=earlier,
    )
    return compose(
        outgoing,
        sender="signoff@acme.example",
        sender_name=text,
        reply_to=REPLY_TO,
        message_id="<dlv_1@acme.example>",
        now=NOW,
    )


def part(raw: bytes, kind: Literal["plain", "html"]) -> str:
    message = email.message_from_bytes(raw, policy=default)
    assert isinstance(message, EmailMessage)
    body = message.get_body((kind,))
    assert isinstance(body, EmailMessage)
    content: str = body.get_content()
    return content.replace("\r\n", "\n")


def attached(raw: bytes) -> str:
    message = email.message_from_bytes(raw, policy=default)
    assert isinstance(message, EmailMessage)
    return "".join(child.get_content() for child in message.iter_attachments())


class Blocks(HTMLParser):
    """Every block of a page as one line: paragraphs, cells, and what stands between breaks."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = [""]
        self._skipping = False

    @override
    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._skipping = tag == "style"
        self._break(tag)

    @override
    def handle_endtag(self, tag: str) -> None:
        self._skipping = False
        self._break(tag)

    def _break(self, tag: str) -> None:
        if tag not in {"strong", "span"}:
            self.lines.append("")

    @override
    def handle_data(self, data: str) -> None:
        if not self._skipping:
            self.lines[-1] += data.replace("\n", " ")


def lines_of_mail(raw: bytes) -> list[str]:
    """
    Return all lines that a reader of a reply could find quoted: text, HTML, attachment.

    HTML as our own extractor turns it into text, and as clients do that put each cell on a line.
    """
    html = part(raw, "html")
    blocks = Blocks()
    blocks.feed(html)
    return [
        *part(raw, "plain").split("\n"),
        *text_of_html(html).text.split("\n"),
        *blocks.lines,
        *attached(raw).splitlines(),
    ]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", HOSTILE)
def test_no_text_adds_removes_or_changes_a_header(name: str, kind: DeliveryKind) -> None:
    """Whatever stands in any field, the bytes read again have exactly the intended headers."""
    text = HOSTILE[name]
    note = refusal_note("unknown", line=text, detail=text) | (
        {} if kind == "refusal" else {"reason": text}
    )
    raw = raw_mail(a_request(text, on_expiry=text), kind=kind, note=note, text=text)

    message = email.message_from_bytes(raw, policy=compat32)
    wanted = [name for name in HEADERS if kind in {"request", "refusal"} or name != "Reply-To"]
    assert message.keys() == wanted
    assert message["To"] == "cfo@acme.example"
    assert message["Message-ID"] == "<dlv_1@acme.example>"
    assert message["References"] == "<dlv_0@acme.example>"
    assert all(len(line) <= 998 for line in raw.split(b"\r\n"))
    assert raw.isascii()
    assert b"\n" not in raw.replace(b"\r\n", b"")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", HOSTILE)
def test_no_text_adds_an_element_or_an_attribute(name: str, kind: DeliveryKind) -> None:
    """The HTML stays well-formed, with our elements and attributes only, and nothing invisible."""
    text = HOSTILE[name]
    note = refusal_note("unknown", line=text, detail=text)
    request = a_request(text, status="pending", resolution=an_end(text))
    html = part(raw_mail(request, kind=kind, note=note, text=text), "html")
    root = ET.fromstring(html)  # noqa: S314 - our own output, and without a DTD subset

    elements = {element.tag.partition("}")[2] for element in root.iter()}
    attributes = {key.rpartition("}")[2] for element in root.iter() for key in element.attrib}
    assert elements <= {
        *("html", "head", "meta", "title", "style", "body", "div", "table", "tr", "td"),
        *("p", "h1", "h2", "br", "a", "strong", "span"),
    }
    assert attributes <= {
        *("lang", "http-equiv", "content", "name", "class", "style", "role", "cellpadding"),
        *("cellspacing", "border", "width", "align", "valign", "colspan", "dir", "bgcolor"),
        "href",
    }
    hrefs = [element.get("href") for element in root.iter() if element.get("href")]
    assert all(href is not None and href.startswith("mailto:approvals+") for href in hrefs)
    assert not re.search(
        "[\u202a-\u202e\u2066-\u2069\u200b\u200f\ufeff\x00-\x08\x0b-\x1f\x7f-\x9f]", html
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", HOSTILE)
def test_text_is_at_most_72_columns_and_shows_nothing_invisible(
    name: str, kind: DeliveryKind
) -> None:
    """Also where a word or a value is longer than a line."""
    text = HOSTILE[name]
    request = a_request(text, resolution=an_end(text))
    raw = raw_mail(request, kind=kind, note=refusal_note("edit", detail=text), text=text)
    lines = [*part(raw, "plain").split("\n"), *attached(raw).splitlines()]

    assert max(map(len, lines)) <= 72
    assert all(line.isprintable() for line in lines)


def test_lone_surrogates_are_shown_as_marks() -> None:
    """They come in by the payload's JSON, and by what an application passes."""
    request = a_request(payload_json=r'{"a\ud800": "b\udfff"}')
    raw = raw_mail(request, text="here \udc00", answerable=False)

    assert "\u27e8U+D800\u27e9" in part(raw, "plain")
    assert "\u27e8U+DFFF\u27e9" in part(raw, "html")
    assert "here \u27e8U+DC00\u27e9" in part(raw, "plain")


def test_each_hidden_character_is_shown_once_in_each_place() -> None:
    """The reviewer sees that there is something, and what."""
    raw = raw_mail(a_request(payload_json='"pay\\u202eeno"'))

    assert part(raw, "plain").count("pay\u27e8U+202E\u27e9eno") == 1
    assert part(raw, "html").count("pay\u27e8U+202E\u27e9eno") == 1


def test_a_recipient_that_is_no_address_is_refused() -> None:
    """It does not get as far as a header."""
    request = a_request()
    delivery = Delivery(
        delivery_id="dlv_1",
        kind="request",
        request_id="req_1",
        recipient="a@acme.example\r\nBcc: x@evil.example",
        notifier="email",
        not_before=NOW,
        created_at=NOW,
    )

    with pytest.raises(ValueError, match="mail address"):
        compose(
            Outgoing(delivery=delivery, request=request),
            sender="signoff@acme.example",
            sender_name="",
            reply_to="",
            message_id="<dlv_1@acme.example>",
            now=NOW,
        )


def test_other_headers_than_the_intended_ones_are_an_error() -> None:
    """The last line of defence: a mail with a header too many is not sent."""
    with pytest.raises(NotifyError, match="came out with the headers") as caught:
        ensure_headers(b"Subject: x\r\nBcc: y@evil.example\r\n\r\n", ["Subject"])

    assert caught.value.permanent
    ensure_headers(b"Subject: x\r\n\r\nBcc: y\r\n", ["Subject"])


def test_a_header_text_is_one_line_without_encoded_words() -> None:
    """Blanks of all kinds become one space, what is hidden becomes visible."""
    assert header_text(" a\r\n\u2028b\tc ") == "a b c"
    assert header_text("=?utf-8?q?x?=") == "= ?utf-8?q?x?="
    assert header_text("a\0b") == "a\u27e8U+0000\u27e9b"


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ("<dlv_1@acme.example>", True),
        (f"<{'a' * 235}@acme.example>", True),
        (f"<{'a' * 236}@acme.example>", False),
        ("dlv_1@acme.example", False),
        ("<dlv_1>", False),
        ("<dlv_1@acme.example> <x@y>", False),
        ("<dlv_1@acme.example>\r\nBcc: x", False),
        ("<dlv 1@acme.example>", False),
        ("", False),
    ],
)
def test_only_one_plain_id_is_a_message_id(text: str, good: bool) -> None:
    """Anything else stays out of In-Reply-To and References."""
    assert is_message_id(text) is good


# Words that stand at the beginning of our own lines, and words that try to get past the guard.
TEMPTING: Final = [
    *("approved", "Reply", "Question", "Risk", "Asked by", "Evidence given", "What it is about"),
    *("Your approval is asked", "Reference", "Digest of the payload", "Recorded", "on hold"),
    *("Recorded: the answer", "You need not do anything", "|", "| approved", "|+", "==", "##-"),
    *("Code", "sha256", "needs_revision", "Request req_1", "The request is closed", "a", "Pay"),
    *(REPLY_LINE, "[Approval] approved", "Question =="),
    *(
        "Reply: approved",
        "Reply: change and approve",
        "Values that can be changed",
        "opens a reply",
    ),
    *("Choose your answer", "vendor (str)", "vendor", "vendor, proposed", "Earlier answers"),
    *("[red]", "Answer due", "Answer due: no time is set", "|~", "approved with", "value"),
]


MEANINGS: Final[list[Meaning]] = ["approve", "reject"]


@st.composite
def some_choices(draw: st.DrawFn) -> tuple[Choice, ...]:
    labels = draw(
        st.lists(
            st.sampled_from(TEMPTING) | st.text(min_size=1, max_size=12), min_size=1, max_size=4
        )
    )
    meanings = draw(st.dictionaries(st.sampled_from(labels), st.sampled_from(MEANINGS)))
    aliases = draw(
        st.dictionaries(st.sampled_from(labels), st.lists(st.sampled_from(TEMPTING), max_size=2))
    )
    try:
        return choices(labels, meanings=meanings, aliases=aliases)
    except ValueError:
        hypothesis.reject()


def texts_with(words: list[str]) -> st.SearchStrategy[str]:
    """Return texts in which the answers stand alone, decorated, and among other text."""
    pieces = st.sampled_from(
        [*words, *(f"**{word}**." for word in words), "\n", " ", "not", "x" * 70]
    )
    return st.lists(pieces, max_size=8).map("".join)


@hypothesis.settings(max_examples=60)
@hypothesis.given(
    data=st.data(),
    made=some_choices(),
    kind=st.sampled_from(KINDS),
    risk=st.sampled_from(["low", "high"]),
    answerable=st.booleans(),
)
def test_no_line_of_a_mail_reads_as_an_answer(
    data: st.DataObject,
    made: tuple[Choice, ...],
    kind: DeliveryKind,
    risk: Risk,
    answerable: bool,
) -> None:
    """Text, HTML as text and attachment, for all kinds, whatever the labels and fields are."""
    words = [word for choice in made for word in (choice.label, *choice.aliases)]
    text = data.draw(texts_with(words))
    end = an_end(text) if data.draw(st.booleans()) else None
    request = a_request(text, choices=made, risk=risk, resolution=end, on_expiry=made[0].label)
    note = refusal_note("unknown", line=text, detail=text) | {"changes": [[text, text, text]]}
    earlier = (a_request(text, resolution=an_end(text)),)
    raw = raw_mail(request, kind=kind, note=note, text=text, answerable=answerable, earlier=earlier)

    normalised = {normalise(word) for word in (*words, APPROVED_WITH_CHANGES)}
    for line in lines_of_mail(raw):
        assert normalise(line) not in normalised
        assert isinstance(match(line, made, risk=risk), NoMatch)


def test_a_line_that_begins_with_an_answer_is_moved_behind_the_gutter() -> None:
    """Whole words only: an answer within a longer word is none."""
    words = frozenset({"approved", "| held"})

    assert harmless("Approved.", words) == "| Approved."
    assert harmless("approved - by", words) == "| approved - by"
    assert harmless("approvedly", words) == "approvedly"
    assert harmless("| held", words) == "| | held"
    assert harmless("| approved", words) == "| approved"
    assert harmless("| approved", frozenset({"approved"})) == "| approved"


def test_an_answer_that_looks_like_the_gutter_changes_the_gutter() -> None:
    """Whatever the answers are, one mark is left that none of them begins with."""
    assert harmless("| a", frozenset({"|"})) == "# | a"
    assert harmless("| a", frozenset({"|", "#"})) == "% | a"
    assert harmless("| a", frozenset({"|", "#", "%", "=", "x", "xxx"})) == "xxxx | a"


def test_the_largest_mail_is_smaller_than_what_clients_cut() -> None:
    """Everything at its limit at once: the HTML stays below 100 kB."""
    value = "x" * (MAX_BYTES + 1 - html_bytes(Line(lead="value (str):", text="x")))
    tones = list(TONES)
    request = a_request(
        "q" * 2_900,
        payload_json=json.dumps(value),
        summary="s" * 7_900,
        rationale="",
        evidence=tuple(
            Evidence(label="e" * 20, value="v" * 20, tone=tones[n % len(tones)]) for n in range(200)
        ),
        choices=choices([f"{n:02}{'c' * 62}" for n in range(12)]),
        assignees=("a" * 1_900,),
    )
    html = part(raw_mail(request), "html")

    assert value in html
    assert 85_000 < len(html.encode()) < 100_000


@pytest.mark.parametrize("tone", list(TONES))
def test_a_tone_is_a_colour_and_a_word(tone: Tone) -> None:
    """Colour never carries the meaning alone."""
    raw = raw_mail(a_request(evidence=(Evidence(label="Balance", value="low", tone=tone),)))

    assert f"border-left:4px solid {TONES[tone]}" in part(raw, "html")
    assert f"| [{tone}] <strong>Balance:</strong> low" in part(raw, "html")
    assert f"| [{tone}] Balance: low" in part(raw, "plain")
