"""Headers that are written without the library are what the library would have written."""

from __future__ import annotations

import re
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP

from hypothesis import example, given
from hypothesis import strategies as st

from signoff.mail.flatten import POLICY, header_line, header_text, subject_line
from signoff.mail.page import Line
from signoff.mail.payload import most_html_bytes
from signoff.mail.render_html import html_bytes

ATOM = st.text("abcXYZ019!#$%&'*+-/=?^_`{|}~.", min_size=1, max_size=64)
DOMAIN = st.from_regex(re.compile(r"[a-z0-9-]{1,20}(\.[a-z0-9-]{1,20}){0,3}"), fullmatch=True)
NAMES = st.sampled_from(["To", "Reply-To", "Message-ID", "In-Reply-To", "References", "X-Any"])


def by_the_library(name: str, value: str | Address) -> str:
    """Return a header as a whole mail of the library has it."""
    message = EmailMessage(policy=POLICY)
    message[name] = value
    return message.as_bytes(policy=POLICY).removesuffix(b"\r\n").decode("ascii")


@given(name=NAMES, local=ATOM, domain=DOMAIN, angled=st.booleans())
@example(name="References", local="a=?utf-8?q?=0d=0aBcc:_x?=", domain="x.example", angled=True)
@example(name="To", local="=?utf-8?q?a?=", domain="acme.example", angled=False)
@example(name="Message-ID", local="a..b", domain="acme.example", angled=True)
@example(name="References", local="a" * 64, domain="b" * 20 + ".example", angled=True)
def test_an_address_or_an_id_is_written_as_the_library_writes_it(
    name: str, local: str, domain: str, *, angled: bool
) -> None:
    """Whatever its letters are."""
    value = f"<{local}@{domain}>" if angled else f"{local}@{domain}"
    assert header_line(name, value) == by_the_library(name, value)


def test_words_of_ours_and_names_are_written_as_the_library_writes_them() -> None:
    """A name beside an address is encoded and quoted where it has to be."""
    assert header_line("Auto-Submitted", "auto-generated") == "Auto-Submitted: auto-generated\r\n"
    sender = Address(display_name="Jos\u00e9, Acme", addr_spec="a@acme.example")
    line = header_line("From", sender)
    assert line == by_the_library("From", sender)
    assert line == "From: =?utf-8?q?Jos=C3=A9=2C?= Acme <a@acme.example>\r\n"


@given(st.text(max_size=90) | st.text("ab =?_-:\t", max_size=90))
@example("[Approval] Publish this?")
@example("[Approval] " + "x" * 49)
@example("[Approval] " + "x" * 50)
@example("[Approval] " + "word " * 10)
@example("=?utf-8?q?a?=")
@example("")
def test_a_subject_is_written_as_the_library_writes_it(text: str) -> None:
    """Short or folded, plain or encoded."""
    subject = header_text(text)
    folded = SMTP.header_factory("Subject", subject).fold(policy=SMTP.clone(max_line_length=76))
    assert subject_line(subject) == folded


@given(lead=st.text(max_size=40), text=st.text(max_size=80))
@example("\U0010ffff" * 40, "\U0010ffff" * 40)
@example("a  b & <c>:", '"&&&&&" \U0001f600')
@example("", "")
def test_no_line_takes_more_html_than_is_said(lead: str, text: str) -> None:
    """So a payload that fits by that count fits."""
    for gutter in ("| ", "|+ ", "|~ "):
        line = Line(lead=lead, text=text, gutter=gutter)
        assert html_bytes(line) <= most_html_bytes(line)
