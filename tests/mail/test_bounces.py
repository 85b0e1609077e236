"""Reports on mails that did not arrive, as servers write them."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from signoff.mail.bounces import MAX_DETAIL_CHARS, Bounce, read_bounce

SAMPLES = Path(__file__).parents[1] / "data" / "bounces"
VERP = "approvals+" + "ab2cd3ef" * 6 + "@acme.example"
RECIPIENT = "ann@partner.example"
EXPECTED: dict[str, tuple[str, str, str] | None] = {
    "domino-words": ("failed", "", "not listed in Domino Directory"),
    "exchange-mailbox-full": ("failed", "5.2.2", "mailbox full"),
    "exchange-online": ("failed", "5.1.10", "Recipient ann@partner.example not found"),
    "exim-report": ("failed", "5.0.0", "550 No such user here"),
    "exim-warning-words": ("delayed", "", "delayed 24 hours"),
    "exim-words": ("failed", "", "Mail delivery failed"),
    "gmail-delayed": ("delayed", "4.4.1", "did not accept our requests to connect"),
    "gmail-unknown-user": ("failed", "5.1.1", "The email account that you tried to reach"),
    "not-a-challenge": None,
    "not-a-read-receipt": None,
    "not-a-success-report": None,
    "not-a-vacation": None,
    "not-an-out-of-office": None,
    "postfix-delayed": ("delayed", "4.7.1", "Greylisted"),
    "postfix-given-up": ("failed", "4.4.1", "Connection timed out"),
    "postfix-unknown-user": ("failed", "5.1.1", "User unknown in virtual mailbox table"),
    "qmail": ("failed", "5.1.1", "Sorry, no mailbox here by that name."),
    "qmail-without-code": ("failed", "", "failure notice"),
    "report-without-fields": ("failed", "", "554 delivery error: dd This user"),
    "sendmail-over-quota": ("failed", "5.2.2", "552 5.2.2 Over quota"),
    "status-in-base64": ("failed", "5.1.1", ""),
}


def sample(name: str) -> bytes:
    """Return a report as it comes in for one mail."""
    text = (SAMPLES / f"{name}.eml").read_text()
    named = text.replace("@VERP@", VERP).replace("@RECIPIENT@", RECIPIENT)
    return named.replace("@MESSAGE_ID@", "<dlv_1@acme.example>").encode()


def a_report(*fields: str, headers: str = "Return-Path: <>") -> bytes:
    """Return a delivery report with these fields of recipients."""
    return (
        f"{headers}\nContent-Type: multipart/report; boundary=b\n\n"
        "--b\n\nwords\n--b\nContent-Type: message/delivery-status\n\n"
        "Reporting-MTA: dns; mx.example\n\n" + "\n".join(fields) + "\n--b--\n"
    ).encode()


def words(text: str, *, headers: str = "Return-Path: <>\nFrom: postmaster@mx.example") -> bytes:
    """Return a letter of a mail server without fields."""
    return f"{headers}\n\n{text}\n".encode()


def outcome(raw: bytes) -> str | None:
    """Return what a report says became of the mail."""
    bounce = read_bounce(raw)
    return bounce.outcome if bounce else None


def test_every_sample_is_expected_to_say_something() -> None:
    """None lies there unread."""
    assert {path.stem for path in SAMPLES.glob("*.eml")} == set(EXPECTED)


@pytest.mark.parametrize("crlf", [False, True])
@pytest.mark.parametrize("name", EXPECTED)
def test_servers_are_understood_each_in_its_own_form(name: str, crlf: bool) -> None:
    """Postfix, Exchange, Gmail, Exim, qmail, sendmail, Domino, and letters that are no reports."""
    raw = sample(name)
    bounce = read_bounce(raw.replace(b"\n", b"\r\n") if crlf else raw)
    expected = EXPECTED[name]

    if expected is None:
        assert bounce is None
    else:
        assert bounce is not None
        assert (bounce.outcome, bounce.status) == expected[:2]
        assert expected[2] in bounce.detail
        assert "approved" not in bounce.detail


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (("Action: failed",), "failed"),
        (("Action: FAILED", "Status: 4.4.7"), "failed"),
        (("Action: delayed", "Status: 5.0.0"), "delayed"),
        (("Status: 5.7.1",), "failed"),
        (("Status: 4.2.2",), "delayed"),
        (("Status: 2.0.0",), None),
        (("Status: soon",), None),
        (("Action: shrugged", "Status: 5.1.1"), None),
        (("Action: (", "Status: 5.1.1"), None),
        (("Action: delayed", "", "Action: failed"), "failed"),
        (("Action: failed", "", "Action: relayed"), None),
        (("Action: expanded",), None),
        (("Final-Recipient: rfc822; ann@partner.example",), None),
        (("no field at all",), None),
    ],
)
def test_the_action_says_whether_a_server_has_given_up(
    fields: tuple[str, ...], expected: str | None
) -> None:
    """The class of the status only where no action is given; what arrived somewhere arrived."""
    assert outcome(a_report(*fields)) == expected
    assert outcome(a_report(*fields, headers="X-Any: 1")) == expected


def test_no_more_than_twenty_recipients_are_looked_at() -> None:
    """One mail goes to one recipient; a longer list is nobody's honest report."""
    fields = [line for _ in range(18) for line in ("Action: delayed", "")]

    assert outcome(a_report(*fields, "Action: failed")) == "failed"
    assert outcome(a_report(*fields, "Action: delayed", "", "Action: failed")) == "delayed"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("550 no such user", "failed"),
        ("host said: 452 4.2.2 mailbox full", "delayed"),
        ("451 try later\n550 5.1.1 no such user", "failed"),
        ("Your mail has not yet been delivered.", "delayed"),
        ("There was a temporary problem.", "delayed"),
        ("It was not delivered.", "failed"),
        ("", "failed"),
        ("It was not delivered.\n--- a copy\ndelayed 4.4.1", "failed"),
    ],
)
def test_words_of_a_mail_server_are_read_for_codes_first(text: str, expected: str) -> None:
    """Without a code what sounds like waiting is a delay, and all else a failure."""
    assert outcome(words(text)) == expected


@pytest.mark.parametrize(
    "headers",
    [
        "From: postmaster@mx.example",
        "Return-Path: <ann@partner.example>\nFrom: postmaster@mx.example",
        "Return-Path: <>\nFrom: ann@partner.example",
        "Return-Path: <>\nFrom: my.postmaster@partner.example",
        "Return-Path: <>",
        'Return-Path: <>\nFrom: ann@partner.example\nContent-Type: "',
    ],
)
def test_words_count_only_from_a_server_and_by_the_empty_path(headers: str) -> None:
    """Whatever they are; people write of errors too."""
    assert read_bounce(words("550 5.1.1 no such user", headers=headers)) is None


@pytest.mark.parametrize(
    "sender",
    [
        "MAILER-DAEMON@mx.example",
        "Mail <Postmaster@mx.example>",
        "<>",
        "Outlook <MicrosoftExchange329e71ec88ae4615bbc36ab6ce41109e@acme.example>",
    ],
)
def test_servers_are_known_by_their_names(sender: str) -> None:
    """The usual ones, and the one that Exchange has."""
    raw = words("550 5.1.1 no such user", headers=f"Return-Path: <>\nFrom: {sender}")

    assert outcome(raw) == "failed"


def test_a_list_of_failed_recipients_is_a_failure_whatever_the_words() -> None:
    """Gmail and Exim write it for those only."""
    raw = words("temporary", headers="Return-Path: <>\nX-Failed-Recipients: ann@partner.example")

    assert outcome(raw) == "failed"


def test_what_a_server_says_is_kept_short_and_without_tokens() -> None:
    """On one line, with nothing invisible; it ends up in logs and mails."""
    bounce = read_bounce(a_report("Action: failed", f"Diagnostic-Code: smtp; 550 {VERP}\u202e bad"))
    long = read_bounce(a_report("Action: failed", "Diagnostic-Code: smtp; " + "x " * 500))

    assert bounce is not None
    assert bounce.detail == "550 approvals+<token>@acme.example\u27e8U+202E\u27e9 bad"
    assert read_bounce(a_report("Action: failed", "Diagnostic-Code: no such user")) == Bounce(
        "failed", "", "no such user"
    )
    assert long is not None
    assert len(long.detail) <= MAX_DETAIL_CHARS


@pytest.mark.parametrize(
    ("bounce", "summary"),
    [
        (Bounce("failed", "5.1.1", "no such user"), "5.1.1 no such user"),
        (Bounce("failed", "5.1.1", "550 5.1.1 no such user"), "550 5.1.1 no such user"),
        (Bounce("failed", "5.1.1", ""), "5.1.1"),
        (Bounce("failed", "", ""), "no reason was given"),
    ],
)
def test_status_and_words_make_one_line(bounce: Bounce, summary: str) -> None:
    """Nothing is said twice, and something is said always."""
    assert bounce.summary == summary


@given(st.binary(max_size=400), st.sampled_from(sorted(EXPECTED)), st.integers(0, 2000))
@settings(max_examples=150)
def test_no_bytes_raise(noise: bytes, name: str, place: int) -> None:
    """Anybody may send anything to the address."""
    raw = sample(name)

    read_bounce(noise)
    read_bounce(raw[:place] + noise + raw[place:], complete=False)


def test_a_report_of_any_length_is_read_in_a_bounded_way() -> None:
    """Its beginning counts, and a megabyte behind it costs next to nothing."""
    padded = a_report("Action: failed", "Status: 5.1.1") + base64.b64encode(bytes(1_000_000))

    assert read_bounce(padded) == Bounce("failed", "5.1.1", "")
