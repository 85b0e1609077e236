"""That the HTML of a mail can be read, tapped and read aloud by everybody, in light and dark."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import parse_qs, unquote, urlsplit
from xml.etree import ElementTree as ET

import hypothesis
import pytest
from hypothesis import strategies as st

from signoff.mail.answering import how_to
from signoff.mail.content import page_of
from signoff.mail.marks import REPLY_LINE
from signoff.mail.markup import text_of_html
from signoff.mail.refusals import refusal_note
from signoff.mail.render_html import html_of
from signoff.mail.reply import SentContext, extract
from signoff.mail.sent import sent_text
from signoff.mail.styles import TONES
from signoff.model.decision import Resolution
from signoff.model.delivery import Delivery, DeliveryKind
from signoff.model.policy import RISKS, Risk
from signoff.model.request import Evidence, Request
from signoff.ports import Outgoing
from signoff.rules.outcomes import choices

NOW: Final = datetime(2026, 3, 1, 12, tzinfo=UTC)
REPLY_TO: Final = f"approvals+{'ab2cd3ef' * 6}@acme.example"
KINDS: Final[list[DeliveryKind]] = [
    *("request", "confirmation", "refusal", "cancelled", "expired", "undelivered")
]
SCHEMES: Final = ["light", "dark"]


def an_end(outcome: str) -> Resolution:
    return Resolution(
        status="answered",
        outcome=outcome,
        feedback="Too long.\nAnd too loud.",
        reviewer="cfo@acme.example",
        channel="email",
        resolved_at=NOW,
        payload_digest="",
    )


def a_request(**changes: object) -> Request:
    """Return a request with something of everything that a mail can show."""
    payload = {"vendor": "acme", "amount": {"$": "decimal", "v": "9.50"}, "memo": "one\ntwo"}
    values = {
        "request_id": "req_1",
        "kind": "call",
        "message": "Pay 9.50 to acme",
        "choices": choices(["approved", "rejected", "needs_revision"]),
        "assignees": ("cfo@acme.example", "coo@acme.example"),
        "requester": "agent-7",
        "payload_json": json.dumps(payload),
        "payload_digest": f"sha256:{'0' * 64}",
        "proposed_digest": "",
        "summary": "Fine",
        "rationale": "As agreed",
        "confidence": 0.5,
        "evidence": tuple(Evidence(label="Balance", value="low", tone=tone) for tone in TONES),
        "risk": "high",
        "created_at": NOW,
        "due_at": NOW + timedelta(hours=2),
        "expires_at": NOW + timedelta(days=7),
        **changes,
    }
    return Request.model_validate(values)


def a_page(
    request: Request | None = None, *, kind: DeliveryKind = "request", subject: str = "Re: Pay"
) -> str:
    """Return the HTML of a mail that has something of everything."""
    outgoing = an_outgoing(request, kind=kind)
    return html_of(page_of(outgoing, how_to=how_to(outgoing, reply_to=REPLY_TO, subject=subject)))


def an_outgoing(request: Request | None = None, *, kind: DeliveryKind) -> Outgoing:
    return Outgoing(
        delivery=Delivery(
            delivery_id="dlv_1",
            kind=kind,
            request_id="req_1",
            recipient="cfo@acme.example",
            notifier="email",
            note=refusal_note("unknown", line="LGTM"),
            not_before=NOW,
            created_at=NOW,
        ),
        request=request or a_request(),
        token="ab2cd3ef" * 6,
        earlier=(a_request(resolution=an_end("needs_revision")),),
    )


def brightness(colour: str) -> float:
    """Return the relative luminance of `#rrggbb`. Source: WCAG 2.2."""
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = [
        value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4
        for value in channels
    ]
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    low, high = sorted([brightness(one), brightness(other)])
    return (high + 0.05) / (low + 0.05)


def declared(style: str) -> dict[str, str]:
    """Return the declarations of a style, without `!important`."""
    pairs = (one.partition(":") for one in style.replace("!important", "").split(";") if one)
    return {name.strip(): value.strip() for name, _, value in pairs}


def dark_rules(html: str) -> dict[str, dict[str, str]]:
    """Return what the style sheet says of each class in the dark."""
    sheet = html.partition("@media (prefers-color-scheme:dark){")[2].partition("\n}\n")[0]
    return {name: declared(rules) for name, rules in re.findall(r"\.(\w+)\{([^}]*)\}", sheet)}


@dataclass(frozen=True, slots=True)
class Seen:
    """An element as it is seen: its own style over what it inherits."""

    element: ET.Element
    style: dict[str, str]
    children: list[Seen] = field(default_factory=list)

    @property
    def tag(self) -> str:
        return self.element.tag.partition("}")[2]

    def walk(self) -> Iterator[Seen]:
        yield self
        for child in self.children:
            yield from child.walk()


INHERITED: Final = {"color", "background-color", "font-size", "line-height"}


def seen(html: str, scheme: str) -> Seen:
    """Return the elements of a page as a client shows them that knows the colour scheme."""
    dark = dark_rules(html) if scheme == "dark" else {}

    def look(element: ET.Element, above: dict[str, str]) -> Seen:
        style = {name: value for name, value in above.items() if name in INHERITED}
        style |= declared(element.get("style", ""))
        for name in element.get("class", "").split():
            style |= dark.get(name, {})
        made = Seen(element, style)
        made.children.extend(look(child, style) for child in element)
        return made

    root = ET.fromstring(html)  # noqa: S314 - our own output, and without a DTD subset
    body = root.find("{http://www.w3.org/1999/xhtml}body")
    assert body is not None
    return look(body, {})


def texts(top: Seen) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield each visible text with its style."""
    if top.style.get("display") == "none":
        return
    yield top.element.text or "", top.style
    for child in top.children:
        yield from texts(child)
        yield child.element.tail or "", top.style


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("risk", RISKS)
def test_every_text_stands_out_from_what_lies_under_it(
    scheme: str, kind: DeliveryKind, risk: Risk
) -> None:
    """At least 4.5 to 1, text by text, and nothing is pure black or white, which some invert."""
    found = [
        (text, style)
        for text, style in texts(seen(a_page(a_request(risk=risk), kind=kind), scheme))
        if text.strip()
    ]

    assert len(found) > 8
    for text, style in found:
        assert contrast(style["color"], style["background-color"]) >= 4.5, text
        assert not {"#ffffff", "#000000"} & {style["color"], style["background-color"]}


def test_the_contrast_of_two_colours_is_that_of_the_standard() -> None:
    """Black on white is 21 to 1, and one colour on itself 1 to 1. Source: WCAG 2.2."""
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.01)
    assert contrast("#047857", "#047857") == 1


def test_dark_is_dark_and_light_is_light() -> None:
    """The page itself changes sides, so the dark rules really apply."""
    light, dark = (seen(a_page(), scheme).style["background-color"] for scheme in SCHEMES)

    assert brightness(light) > 0.7
    assert brightness(dark) < 0.05


@pytest.mark.parametrize("mark", ["data-ogsc", "data-ogsb"])
def test_outlook_on_the_web_gets_the_dark_rules_too(mark: str) -> None:
    """It reads no media query, but marks what it recolours."""
    html = a_page()

    marked = re.findall(rf"\[{mark}\] \.(\w+)\{{([^}}]*)\}}", html)
    assert {name: declared(rules) for name, rules in marked} == dark_rules(html)


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_has_a_language_a_title_and_one_first_heading(kind: DeliveryKind) -> None:
    """And a heading for each section: what a screen reader goes by."""
    html = a_page(kind=kind)
    tags = [element.tag for element in seen(html, "light").walk()]

    assert '<html xmlns="http://www.w3.org/1999/xhtml" lang="en" xml:lang="en">' in html
    assert "<title>[Approval] Pay 9.50 to acme</title>" in html
    assert tags.count("h1") == 1
    assert tags.count("h2") >= 2


@pytest.mark.parametrize("kind", KINDS)
def test_every_table_is_for_layout_only_and_says_so(kind: DeliveryKind) -> None:
    """Without the role a screen reader would count rows and columns."""
    tables = [one for one in seen(a_page(kind=kind), "light").walk() if one.tag == "table"]

    assert len(tables) >= 2
    for table in tables:
        assert table.element.get("role") == "presentation"
        assert {"cellpadding", "cellspacing", "border"} <= set(table.element.keys())


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_loaded_or_run(kind: DeliveryKind) -> None:
    """No images, so none needs another text; no scripts, forms, fonts or addresses elsewhere."""
    html = a_page(kind=kind)

    forbidden = (
        r"<(img|script|form|link|iframe|svg|video|object|embed|input|button)\b|url\(|@import"
    )
    assert not re.search(forbidden, html, re.IGNORECASE)
    assert not re.search(r"https?://(?!www\.w3\.org/1999/xhtml)", html)
    assert not re.search(r"\son\w+=", html)


@pytest.mark.parametrize("kind", KINDS)
def test_no_text_is_smaller_than_16_pixels(kind: DeliveryKind) -> None:
    """Phones neither zoom nor squint."""
    html = a_page(kind=kind)

    sizes = [
        int(style["font-size"][:-2]) for text, style in texts(seen(html, "light")) if text.strip()
    ]
    assert min(sizes) >= 16
    assert min(int(size) for size in re.findall(r"font-size:(\d+)px", html)) >= 16


def test_each_button_is_large_and_filled_in_every_renderer() -> None:
    """At least 44 pixels high, the whole cell is the link; Word takes colour and padding of the cell."""
    cells = {
        id(child): cell
        for cell in seen(a_page(), "light").walk()
        if cell.tag == "td"
        for child in cell.children
        if child.tag == "a"
    }

    assert len(cells) == 4
    for cell in cells.values():
        link = cell.children[0]
        top, side = (int(length[:-2]) for length in link.style["padding"].split())
        assert link.style["display"] == "block"
        assert int(link.style["line-height"][:-2]) + 2 * top >= 44
        assert side >= 16
        assert cell.element.get("bgcolor") == cell.style["background-color"]
        assert cell.style["mso-padding-alt"] == link.style["padding"]


def test_colours_of_buttons_follow_the_meaning_of_their_labels() -> None:
    """And each says in words what it does."""
    buttons = [
        ("".join(one.element.itertext()).split("\n"), one.element.get("class"))
        for one in seen(a_page(), "light").walk()
        if one.tag == "a"
    ]

    assert buttons == [
        (["Reply: approved", "opens a reply that approves"], "approve"),
        (["Reply: rejected", "opens a reply that rejects"], "reject"),
        (["Reply: needs_revision", "opens a reply that does neither"], "neutral"),
        (["Reply: change and approve", "opens a reply with the values to change"], "neutral"),
    ]


def test_a_page_is_one_column_that_fits_a_phone() -> None:
    """600 pixels at the most, no width that a phone of 390 does not have, long words break."""
    html = a_page()
    widths = {one.element.get("width") for one in seen(html, "light").walk()} - {None}

    assert "width:100%;max-width:600px" in html
    assert widths == {"100%", "600", "36%"}
    assert "word-break:break-word" in html
    assert 'name="viewport" content="width=device-width' in html


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_is_far_smaller_than_what_gmail_clips(kind: DeliveryKind) -> None:
    """It clips at 102 kB; the largest page is tested beside this."""
    assert len(a_page(kind=kind).encode()) < 20_000


@hypothesis.settings(max_examples=60, deadline=None)
@hypothesis.given(
    label=st.text(
        st.characters(codec="utf-8", exclude_categories=["Cc", "Cf", "Zl", "Zp", "Cn", "Co"]),
        min_size=1,
        max_size=64,
    ),
    subject=st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), max_size=60),
)
def test_a_link_decodes_to_exactly_the_address_the_subject_and_the_body(
    label: str, subject: str
) -> None:
    """Requirement 15: whatever the label and the subject are."""
    try:
        made = choices([label])
    except ValueError:
        hypothesis.reject()
    html = a_page(a_request(choices=made, editable=False), subject=subject)
    (link,) = [one.element.get("href") for one in seen(html, "light").walk() if one.tag == "a"]
    assert link is not None

    url = urlsplit(link)
    assert url.scheme == "mailto"
    assert unquote(url.path) == REPLY_TO
    assert "+" not in url.query
    fields = parse_qs(url.query, keep_blank_values=True, strict_parsing=True)
    assert list(fields) == ["subject", "body"]
    assert fields["subject"] == [subject]
    (body,) = fields["body"]
    first, rest = body.split("\r\n", 1)
    assert first in html.replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">").replace(
        " &#160;", "  "
    )
    assert rest == "\r\n"
    assert len(link) < 1_900


@pytest.mark.parametrize("kind", ["request", "refusal"])
def test_a_mail_that_comes_back_without_quote_marks_and_delimiter_holds_no_answer(
    kind: DeliveryKind,
) -> None:
    """Every line of the HTML, read as our extractor reads it, is known to be ours."""
    outgoing = an_outgoing(kind=kind)
    came_back = text_of_html(a_page(kind=kind)).text.replace(REPLY_LINE, "")
    sent = SentContext(
        from_address="signoff@acme.example",
        reply_to=REPLY_TO,
        display_name="Acme approvals",
        lines=sent_text(outgoing),
    )

    assert extract(came_back, sent=sent).lines == ()
    answered = extract(f"approved\nFine.\n\n{came_back}", sent=sent)
    assert answered.lines == ("approved", "Fine.")
