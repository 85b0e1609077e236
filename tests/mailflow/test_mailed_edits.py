"""Approving with changes by mail: from the button to what runs."""

from __future__ import annotations

import enum
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from email.message import EmailMessage
from urllib.parse import parse_qs, urlsplit

import pytest

from signoff import (
    Client,
    Flow,
    HumanFeedbackResult,
    Policy,
    human_feedback,
    listen,
    require_approval,
    start,
)
from signoff.model.request import Request
from signoff.outbox import token_text
from signoff.testing import ManualClock, MemoryMail

CFO = "cfo@acme.example"
PAID: list[dict[str, object]] = []


class Way(enum.Enum):
    """How money goes."""

    WIRE = 1
    CARD = 2


@require_approval(
    action="Pay {amount} to {vendor}", assignees=[CFO], name="mailflow.pay", hidden=["iban"]
)
async def pay(
    vendor: str,
    amount: Decimal,
    due: date,
    way: Way = Way.WIRE,
    urgent: bool = False,
    iban: str = "DE0",
) -> str:
    """Note what was paid."""
    PAID.append(
        {"vendor": vendor, "amount": amount, "due": due, "way": way, "urgent": urgent, "iban": iban}
    )
    return "paid"


@dataclass(slots=True)
class Desk:
    """A client and its mailbox, and what came of the one request."""

    client: Client
    mail: MemoryMail
    clock: ManualClock

    async def ask(self) -> EmailMessage:
        """Ask for the payment and return the mail."""
        await self.client.submit(pay, "Acme", Decimal("1200.00"), date(2026, 3, 15), key="k")
        await self.client.drain()
        return self.mail.sent[-1]

    async def hear(self, text: str) -> Request:
        """Reply to the newest mail that asks, and return the request as it then stands."""
        asking = [one for one in self.mail.sent if one["Reply-To"]]
        self.mail.reply(asking[-1], text)
        await self.client.drain()
        (request,) = await self.client.hitl.list_requests()
        return request


@pytest.fixture(name="desk")
async def _desk() -> AsyncIterator[Desk]:
    PAID.clear()
    mail, clock = MemoryMail(), ManualClock()
    async with Client(notifiers=[mail], inbox=mail, clock=clock) as client:
        yield Desk(client, mail, clock)


def text_of(mail: EmailMessage, kind: str = "plain") -> str:
    """Return the text of a mail, or its HTML."""
    body = mail.get_body((kind,))
    assert body is not None
    return str(body.get_content()).replace("\r\n", "\n")


def prefilled(mail: EmailMessage) -> str:
    """Return the body that the button for changes opens."""
    links = text_of(mail, "html").replace("&amp;", "&").split('href="')[1:]
    (link,) = [link.split('"')[0] for link in links if "with%20changes" in link]
    return parse_qs(urlsplit(link).query)["body"][0].replace("\r\n", "\n")


def bare(asked: EmailMessage, text: str) -> bytes:
    """Return a reply that quotes nothing."""
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Message-ID"] = CFO, str(asked["Reply-To"]), "<1@acme.example>"
    mail.set_content(text)
    return mail.as_bytes()


def section(mail: EmailMessage, title: str) -> list[str]:
    """Return the lines of a section of a mail."""
    lines = text_of(mail).split("\n")
    begin = lines.index(f"== {title} ==") + 1
    return lines[begin : lines.index("", begin)]


async def test_the_button_opens_a_reply_with_a_line_for_each_value(desk: Desk) -> None:
    """Names and values as they stand; a hidden argument is not among them."""
    mail = await desk.ask()

    assert prefilled(mail) == (
        "approved with changes\n"
        "vendor = Acme\n"
        "amount = 1200.00\n"
        "due = 2026-03-15\n"
        "way = WIRE\n"
        "urgent = false\n"
        "\n"
    )
    assert "<strong>Reply: change and approve</strong>" in text_of(mail, "html")
    said = " ".join(text_of(mail).split())
    assert 'Reply "approved with changes" - it approves, with other values.' in said
    assert "Values that can be changed: vendor, amount, due, way, urgent." in said


async def test_changed_lines_change_what_runs(desk: Desk) -> None:
    """Each by its type; the unchanged ones stay; the rest of the text is the feedback."""
    mail = await desk.ask()
    body = (
        prefilled(mail)
        .replace("1200.00", "900.50")
        .replace("WIRE", "CARD")
        .replace("urgent = false", "urgent = yes")
    )

    request = await desk.hear(f"{body}Less, as we agreed.")

    assert (request.status, request.outcome) == ("approved", "approved")
    assert request.feedback == "Less, as we agreed."
    assert request.decisions[0].edited
    assert request.payload_digest != request.proposed_digest
    assert [
        {
            "vendor": "Acme",
            "amount": Decimal("900.50"),
            "due": date(2026, 3, 15),
            "way": Way.CARD,
            "urgent": True,
            "iban": "DE0",
        }
    ] == PAID


async def test_changes_may_stand_below_a_greeting(desk: Desk) -> None:
    """What is announced below it is read, and the greeting is no feedback."""
    await desk.ask()

    request = await desk.hear("Hi all,\n\nApproved with changes\namount = 900.5\n\nAs agreed.")

    assert (request.status, request.feedback) == ("approved", "As agreed.")
    assert [paid["amount"] for paid in PAID] == [Decimal("900.5")]


async def test_the_confirmation_shows_old_and_new(desk: Desk) -> None:
    """Beside the line that was read; the request is closed."""
    await desk.ask()

    await desk.hear("Approved with changes.\namount = 900.5\ndue = 2026-04-01")

    confirmation = desk.mail.sent[-1]
    assert confirmation["Auto-Submitted"] == "auto-replied"
    assert 'First line read: "Approved with changes."' in text_of(confirmation)
    assert section(confirmation, "What was changed") == [
        "| amount, proposed: 1200.00",
        "| amount, changed to: 900.5",
        "| due, proposed: 2026-03-15",
        "| due, changed to: 2026-04-01",
    ]
    assert section(confirmation, "Feedback") == ["| approved with changes"]


async def test_a_plain_approval_tells_of_no_changes(desk: Desk) -> None:
    """There is no section for them."""
    await desk.ask()

    await desk.hear("approved")

    assert "What was changed" not in text_of(desk.mail.sent[-1])


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ("amount = lots", "amount cannot be changed: 'lots' is not a number such as 1234.50."),
        ("amount = 900\namount = 800", "amount is given twice."),
        ("amount =", "amount is blank; a value cannot be emptied like this."),
        ("price = 900", "price is no name of a value that can be changed here."),
        ("iban = DE1", "iban is no name of a value that can be changed here."),
        ("way = BARTER", "The payload cannot be read with these changes: "),
        ("vendor = Ac\u2060me", "vendor has a character that nobody sees."),
        ("vendor = Ac\u202eme", "vendor has a character that nobody sees."),
        ("vendor = " + "x" * 3_000, "vendor has more than 500 characters."),
        ("amount = 900\nAcme is fine", "Acme is fine stands right below a change;"),
        ("urgent = \u0442rue", "urgent cannot be changed: '\u0442rue' is not one of true, false,"),
        ("vendor = Acme", "payload no line below the first one changes a value."),
        ("", "payload no line below the first one changes a value."),
    ],
)
async def test_a_bad_change_changes_nothing_and_is_explained(
    desk: Desk, lines: str, why: str
) -> None:
    """Also beside good ones; the request waits, and the explanation asks again."""
    await desk.ask()
    good = "" if "payload" in why.split(maxsplit=1)[0] else "due = 2026-04-01\n"

    request = await desk.hear(f"approved with changes\n{good}{lines}")

    assert request.status == "pending"
    assert request.payload_digest == request.proposed_digest
    explanation = desk.mail.sent[-1]
    said = " ".join(text_of(explanation).split())
    assert "The changed payload was not accepted." in said
    assert why in said
    assert PAID == []


async def test_each_wrong_edit_is_explained_but_never_more_than_five(desk: Desk) -> None:
    """The same mistake once; another mistake again; loops end."""
    asked = await desk.ask()

    for word in ["a", "a", "b", "c", "d", "e", "f"]:
        desk.mail.reply(asked, f"approved with changes\namount = {word}")
        await desk.client.drain()

    explained = [one for one in desk.mail.sent if one["Auto-Submitted"] == "auto-replied"]
    assert len(explained) == 5
    request = await desk.hear("approved with changes\namount = 1")
    assert request.status == "approved"


@pytest.mark.parametrize("first", ["approved", "Accept!", "Approved. As agreed:"])
async def test_a_plain_approval_above_another_value_approves_nothing(
    desk: Desk, first: str
) -> None:
    """Who writes that means the other value, and not the one that was proposed."""
    await desk.ask()

    request = await desk.hear(f"{first}\namount = 1.00")

    assert (request.status, PAID) == ("pending", [])
    said = " ".join(text_of(desk.mail.sent[-1]).split())
    assert "Its first line approves without changes, and below it stands: amount = 1.00." in said
    assert 'Write "approved with changes" on the first line' in said


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("approved\namount = 1200.00", "approved"),
        ("approved\nprice = 1.00", "approved"),
        ("approved\nThe amount: 1.00", "approved"),
        ("rejected\namount = 1.00 would do", "rejected"),
    ],
)
async def test_other_words_below_an_answer_are_words(desk: Desk, text: str, status: str) -> None:
    """Also a value as it is, another name, and any value below a refusal."""
    await desk.ask()

    request = await desk.hear(text)

    assert request.status == status
    assert request.feedback == text.partition("\n")[2]
    assert [one["amount"] for one in PAID] == [Decimal("1200.00")][: status == "approved"]


async def test_the_line_alone_is_a_comment_where_nothing_may_be_changed(desk: Desk) -> None:
    """A request that is asked of nobody's edit: free text without a value to write on a line."""
    request = await desk.client.hitl.request("Fine?", payload="a\nb", assignees=[CFO])
    await desk.client.drain()

    heard = await desk.hear("approved with changes\nvalue = c")

    assert heard.request_id == request.request_id
    assert heard.status == "pending"
    assert len(heard.comments) == 1
    assert "with changes" not in text_of(desk.mail.sent[0], "html")


async def test_another_label_below_the_changes_is_ambiguous(desk: Desk) -> None:
    """As below a plain approval."""
    await desk.ask()

    request = await desk.hear("approved with changes\namount = 900\n\nrejected")

    assert request.status == "pending"
    assert "It names several of the choices" in " ".join(text_of(desk.mail.sent[-1]).split())
    assert PAID == []


async def test_an_edit_by_mail_needs_what_any_answer_by_mail_needs(desk: Desk) -> None:
    """At high risk a token and a sender are not enough, with changes as without."""
    policy = Policy(risk="high", assignable=(CFO,))
    asked = await desk.client.hitl.request(
        "Fine?", payload={"a": 1}, assignees=[CFO], policy=policy
    )
    await desk.client.drain()
    mail = desk.mail.sent[-1]
    assert "with changes" not in text_of(mail, "html")
    (row,) = await desk.client._store.tokens(asked.request_id)
    token = token_text(desk.client._machinery.hitl._at.keyring, row)
    mail["Reply-To"] = f"approvals+{token}@signoff.example"

    request = await desk.hear("approved with changes\na = 2")

    assert request.status == "pending"
    assert "does not prove well enough" in " ".join(text_of(desk.mail.sent[-1]).split())


async def test_a_change_that_stands_in_our_own_mail_is_not_passed_over(desk: Desk) -> None:
    """The agent may have written it there, so that it is taken for quoted; the other one is not."""
    note = "They say\nvendor = Nordwind Handels GmbH\nbut we know better"
    payload = {"vendor": "Acme Ltd", "amount": 1200, "note": note}
    await desk.client.hitl.request("Fine?", payload=payload, assignees=[CFO])
    await desk.client.drain()

    request = await desk.hear("approved with changes\nvendor = Nordwind Handels GmbH\namount = 900")

    assert request.status == "pending"
    said = " ".join(text_of(desk.mail.sent[-1]).split())
    assert "Nobody can tell whether this line is yours or a part of our mail: vendor =" in said
    request = await desk.hear("approved with changes\nvendor = Nordwind\namount = 900")
    assert request.payload == {"vendor": "Nordwind", "amount": 900, "note": note}


async def test_a_change_in_words_that_look_like_an_attribution_is_not_passed_over(
    desk: Desk,
) -> None:
    """A day, and the name in our From: so clients begin what they quote."""
    payload = {"amount": 1200, "due": "2026-03-15", "vendor": "Acme"}
    await desk.client.hitl.request("Fine?", payload=payload, assignees=[CFO])
    await desk.client.drain()
    asked = desk.mail.sent[-1]
    lines = "approved with changes\namount = 900\ndue = 2026-04-01\nvendor = Approvals Ltd"
    desk.mail.receive(bare(asked, lines))
    await desk.client.drain()

    (request,) = await desk.client.hitl.list_requests()
    assert request.status == "pending"
    assert "Nobody can tell whether this line" in " ".join(text_of(desk.mail.sent[-1]).split())


@pytest.mark.parametrize(
    ("rich", "paid"),
    [
        ("<p>vendor&nbsp;= Nordwind</p><p>amount = <b>900</b></p>", [("Nordwind", 900)]),
        ("<s>vendor = Nordwind</s><br>amount = 900", []),
        ("<div style='display:none'>vendor = Nordwind</div>amount = 900", []),
        ("vendor = Acme<br>amount = 900", []),
        ("vendor = Nordwind<br>amount = 900<br>urgent = true", []),
    ],
)
async def test_plain_text_and_html_have_to_hold_the_same_changes(
    desk: Desk, rich: str, paid: list[tuple[str, int]]
) -> None:
    """What was struck out, or what is seen only in one of them, does not run."""
    asked = await desk.ask()
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Message-ID"] = CFO, str(asked["Reply-To"]), "<1@acme.example>"
    mail.set_content("approved with changes\nvendor = Nordwind\namount = 900\n")
    mail.add_alternative(f"<div>approved with changes</div>{rich}", subtype="html")
    desk.mail.receive(mail.as_bytes())
    await desk.client.drain()

    assert [(one["vendor"], one["amount"]) for one in PAID] == paid
    said = " ".join(text_of(desk.mail.sent[-1]).split())
    differs = "The HTML of your mail does not hold the same changes as its plain text."
    assert (differs in said) is not bool(paid)


async def test_a_step_gets_the_changed_output() -> None:
    """`human_feedback` too: the payload is the step's return value."""

    class Copy(Flow, name="mailflow.copy"):
        @start()
        @human_feedback(message="Publish?", emit=["approved", "rejected"], assign_to_email=CFO)
        def draft(self) -> dict[str, str]:
            return {"title": "Spring", "text": "a\nb"}

        @listen("approved")
        def publish(self, result: HumanFeedbackResult) -> object:
            return result.output

    mail = MemoryMail()
    async with Client(notifiers=[mail], inbox=mail, clock=ManualClock()) as client:
        run = await client.flows.start(Copy)
        await client.drain()
        assert prefilled(mail.sent[-1]) == "approved with changes\ntitle = Spring\n\n"

        mail.reply(mail.sent[-1], "approved with changes\ntitle = Summer")
        await client.drain()

        assert (await client.flows.get(run.id)).output == {"title": "Summer", "text": "a\nb"}


async def test_a_long_list_of_values_leaves_the_lines_to_the_reviewer(desk: Desk) -> None:
    """The link stays short; the lines are read all the same."""
    payload = {f"value_number_{number}": number for number in range(80)}
    await desk.client.hitl.request("Fine?", payload=payload, assignees=[CFO])
    await desk.client.drain()

    assert prefilled(desk.mail.sent[-1]) == "approved with changes\n\n"
    request = await desk.hear("approved with changes\nvalue_number_7 = 70")
    assert request.payload == {**payload, "value_number_7": 70}


_MANGLED: dict[str, Callable[[str], str]] = {
    "no-break spaces": lambda text: text.replace(" = ", "\u00a0=\u00a0"),
    "double spacing": lambda text: text.replace("\n", "\n\n"),
    "blanks": lambda text: text.replace(" = ", "  =   ").replace("\n", "  \n"),
    "capitals": lambda text: text.replace("amount", "Amount"),
    "direction marks": lambda text: text.replace(
        "vendor = Acme", "\u200evendor = \u202aAcme\u202c"
    ),
    "no blanks": lambda text: text.replace(" = ", "="),
}


@pytest.mark.parametrize("how", _MANGLED)
async def test_what_mail_programs_do_to_the_lines_does_no_harm(desk: Desk, how: str) -> None:
    """The one change is read, and the other lines are none."""
    mail = await desk.ask()
    body = prefilled(mail).replace("1200.00", "900.00")

    request = await desk.hear(_MANGLED[how](body))

    assert request.status == "approved"
    assert [
        {
            "vendor": "Acme",
            "amount": Decimal("900.00"),
            "due": date(2026, 3, 15),
            "way": Way.WIRE,
            "urgent": False,
            "iban": "DE0",
        }
    ] == PAID
