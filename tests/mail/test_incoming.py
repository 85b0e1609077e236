from __future__ import annotations

import base64
import hashlib
import quopri
from email.message import EmailMessage

import pytest

from signoff.errors import ConfigurationError
from signoff.mail.incoming import IncomingMail, automatic, parse
from signoff.mail.mime import CUT, MAX_BODY_CHARS, MAX_HEADER_LINES, MAX_LINE_CHARS, MAX_LINES

HEAD = b"From: Alice <alice@corp.example>\r\nMessage-ID: <1@corp.example>\r\n"
LONG = b"y" * 201
PLAIN = b"Content-Type: text/plain; charset=utf-8\r\n"


def mail(body: bytes, *headers: str, head: bytes = HEAD) -> IncomingMail:
    """Parse a mail of these headers and this body."""
    lines = b"".join(header.encode() + b"\r\n" for header in headers)
    return parse(head + lines + b"\r\n" + body)


def multipart(kind: str, *parts: bytes, more: str = "") -> IncomingMail:
    """Parse a multipart mail of these parts, each with its own headers."""
    body = b"".join(b"--x\r\n" + part + b"\r\n" for part in parts) + b"--x--\r\nepilogue\r\n"
    return mail(b"preamble\r\n" + body, f'Content-Type: multipart/{kind}; boundary="x"{more}')


def text_part(text: str, *headers: str) -> bytes:
    """Return a part of plain text."""
    return PLAIN + b"".join(h.encode() + b"\r\n" for h in headers) + b"\r\n" + text.encode()


def html_part(markup: str) -> bytes:
    """Return a part of HTML."""
    return b"Content-Type: text/html; charset=utf-8\r\n\r\n" + markup.encode()


# Headers


def test_headers_keep_their_order_and_are_unfolded() -> None:
    """Names and raw values come out as they stood; only folding goes."""
    read = parse(b"A: 1\r\nb:2\r\n 3\r\n\t4\r\nA:\r\nC: \xff\xc3\xa4\r\n\r\nbody")

    assert read.headers == (("A", " 1"), ("b", "2 3\t4"), ("A", ""), ("C", " \udcff\u00e4"))
    assert read.values("a") == [" 1", ""]
    assert read.values("none") == []


@pytest.mark.parametrize(
    ("raw", "headers", "text"),
    [
        (b"", (), ""),
        (b"\r\n", (), ""),
        (b"\n\nx", (), "\nx"),
        (b"A: 1\n\nx", (("A", " 1"),), "x"),
        (b"A: 1", (("A", " 1"),), ""),
        (b"A: 1\nno header\nB: 2\n\nx", (("A", " 1"),), "no header\nB: 2\n\nx"),
        (b"From a@b Mon Jan  5\nA: 1\n\nx", (("A", " 1"),), "x"),
        (b">From a@b Mon Jan  5\nA: 1\n\nx", (("A", " 1"),), "x"),
        (b"A: 1\nFrom a@b\n\nx", (("A", " 1"),), "From a@b\n\nx"),
        (b" A: 1\n\nx", (), " A: 1\n\nx"),
        (b"A : 1\n\nx", (("A", " 1"),), "x"),
        (b"A\t: 1\n\nx", (("A", " 1"),), "x"),
        (b"A B: 1\n\nx", (), "A B: 1\n\nx"),
        (b": 1\n\nx", (), ": 1\n\nx"),
        (b"A: 1\n \n\nx", (("A", " 1 "),), "x"),
        (b"A: 1\rB: 2\n\nx", (("A", " 1\rB: 2"),), "x"),
        (b"A: 1\r\r\n\nx", (("A", " 1"),), "x"),
    ],
)
def test_where_the_headers_end(raw: bytes, headers: tuple[tuple[str, str], ...], text: str) -> None:
    """At an empty line, or before what is no header; a bare carriage return begins no other one."""
    read = parse(raw)

    assert read.headers == headers
    assert read.text == text


def test_a_mail_with_endless_headers_is_not_read() -> None:
    """Nothing of it counts, neither sender nor text."""
    few = parse(b"A: 1\n" * (MAX_HEADER_LINES - 1) + b"\nx")
    many = parse(b"From: a@b.example\n" + b"A: 1\n" * (MAX_HEADER_LINES - 1) + b"\nx")

    assert (few.text, few.truncated) == ("x", False)
    assert (many.headers, many.text, many.sender, many.truncated) == ((), "", None, True)


def test_the_sender_is_read_strictly() -> None:
    """One plain address in one From, or nobody; other headers name no sender."""
    assert mail(b"x").sender == "alice@corp.example"
    assert mail(b"x", "From: bob@corp.example").sender is None
    assert mail(b"x", "from : bob@corp.example").sender is None
    assert mail(b"x", "Sender: bob@corp.example", "Reply-To: c@d.example").sender == (
        "alice@corp.example"
    )
    assert parse(b"From: a@b.example\r\n (comment)\r\n\r\nx").sender is None
    assert parse(b"X: y\rFrom: a@b.example\r\n\r\nx").sender is None
    assert parse(b"Sender: a@b.example\r\n\r\nx").sender is None


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (b"Message-ID: <a@b>", "<a@b>"),
        (b"message-id:<a@b> ", "<a@b>"),
        (b"Message-ID:\r\n <a@b>", "<a@b>"),
        (b"Message-ID: a@b", None),
        (b"Message-ID: <a@b> <c@d>", None),
        (b"Message-ID: <a b>", None),
        (b"Message-ID: <>", None),
        (b"Message-ID: <" + b"a" * 250 + b">", "<" + "a" * 250 + ">"),
        (b"Message-ID: <" + b"a" * 251 + b">", None),
        (b"Message-ID: <a@b>\r\nMessage-ID: <a@b>", None),
        (b"X: y", None),
    ],
)
def test_the_message_id(header: bytes, expected: str | None) -> None:
    """Exactly one, in angle brackets, of printable characters."""
    assert parse(header + b"\r\n\r\nx").message_id == expected


def test_the_key_of_a_mail_is_its_id_and_its_sender() -> None:
    """A stranger's copy of a Message-ID is another mail; without either the bytes decide."""
    raw = b"From: a@b.example\r\n\r\nx"

    assert mail(b"x").key == "<1@corp.example>|alice@corp.example"
    assert mail(b"y").key == mail(b"x").key
    assert parse(raw).key == f"sha256:{hashlib.sha256(raw).hexdigest()}"
    assert parse(b"Message-ID: <1@b>\r\n\r\nx").key.startswith("sha256:")


def test_a_mail_does_not_show_its_headers_or_its_text() -> None:
    """What could hold a token is not in the representation that lands in logs."""
    shown = repr(mail(b"approved", "To: a+secrettoken@example.com"))

    assert "secrettoken" not in shown
    assert "approved" not in shown


# Text


def test_a_mail_without_a_type_is_plain_text() -> None:
    """As before MIME."""
    assert mail(b"approved\r\nFine\r\n").text == "approved\nFine\n"
    assert mail(b"approved").content_types == {"text/plain"}
    assert mail(b"approved", "Content-Type:").text == "approved"


@pytest.mark.parametrize(
    ("content_type", "body", "expected"),
    [
        ("text/plain; charset=utf-8", "\u00e4".encode(), "\u00e4"),
        ("text/plain; charset=iso-8859-1", b"\xe4", "\u00e4"),
        ("text/plain; charset=latin1", b"\xe4", "\u00e4"),
        ("text/plain; charset=us-ascii", "\u00e4".encode(), "\u00e4"),
        ("text/plain; charset=us-ascii", b"\xe4", "\u00e4"),
        ("text/plain; charset=windows-1252", b"\x80", "\u20ac"),
        ("text/plain; charset=iso-8859-1", b"\x80", "\u20ac"),
        ("text/plain", b"\x81\xe4", "\x81\u00e4"),
        ("text/plain; charset=iso-8859-15", b"\xa4", "\u20ac"),
        ("text/plain; charset=koi8-r", b"\xd0", "\u043f"),
        ("text/plain; charset=ISO-2022-JP", b"\x1b$B$3\x1b(B", "\u3053"),
        ("text/plain; charset=Shift_JIS", b"\x82\xb1", "\u3053"),
        ("text/plain; charset=gb2312", b"\xc4\xe3", "\u4f60"),
        ("text/plain; charset=utf-16", "\u00e4".encode("utf-16"), "\u00e4"),
        ("text/plain; charset=utf-8", b"\xe4", "\u00e4"),
        ("text/plain; charset=utf-8", b"\xe4\x81", "\u00e4\x81"),
        ("text/plain; charset=unknown-8bit", "\u00e4".encode(), "\u00e4"),
        ("text/plain; charset=utf-7", b"+AGE-pproved", "+AGE-pproved"),
        ("text/plain; charset=unicode_escape", b"\\x61pproved", "\\x61pproved"),
        ("text/plain; charset=raw_unicode_escape", b"\\u0061pproved", "\\u0061pproved"),
        ("text/plain; charset=punycode", b"approved-", "approved-"),
        ("text/plain; charset=idna", b"approved", "approved"),
        ("text/plain; charset=rot13", b"nccebirq", "nccebirq"),
        ("text/plain; charset=hex", b"61", "61"),
        ("text/plain; charset=undefined", b"a", "a"),
        ("text/plain; charset=../../x", b"a", "a"),
        ("text/plain; charset=" + "x" * 50, b"a", "a"),
        ('text/plain; charset="utf 8"', b"a", "a"),
        ("text/plain; charset=", b"a", "a"),
    ],
)
def test_character_sets(content_type: str, body: bytes, expected: str) -> None:
    """As declared if that is a charset of mail and fits, else UTF-8, else Windows-1252."""
    assert mail(body, f"Content-Type: {content_type}").text == expected


def test_an_ellipsis_in_windows_1252_is_no_line_break() -> None:
    """0x85 of mislabelled text must not part `approved` from the condition behind it."""
    assert mail(b"approved\x85 if", "Content-Type: text/plain; charset=latin1").text == (
        "approved\u2026 if"
    )


@pytest.mark.parametrize(
    ("encoding", "body", "expected"),
    [
        ("base64", base64.encodebytes("approved \u00e4\n".encode()), "approved \u00e4\n"),
        ("BASE64 ", b"YXBw\r\ncm92ZWQ=", "approved"),
        ("base64", b"YXBw-!cm92ZWQ", "approved"),
        ("base64", b"YXBwcm92ZWQ=\r\n--\r\nlist footer\r\n", "approved"),
        ("base64", b"YXBwcm92ZWQ=YXBw", "approved"),
        ("base64", b"YXBwY", "app"),
        ("base64", b"", ""),
        ("base64", b"=", ""),
        ("quoted-printable", quopri.encodestring("approved \u00e4".encode()), "approved \u00e4"),
        ("Quoted-Printable", b"appr=\r\noved=", "approved"),
        ("quoted-printable", b"a=3=ZZ=", "a=3=ZZ"),
        ("7bit", b"approved", "approved"),
        ("8bit", "\u00e4".encode(), "\u00e4"),
        ("x-unknown", b"approved", "approved"),
    ],
)
def test_transfer_encodings(encoding: str, body: bytes, expected: str) -> None:
    """Base64 and quoted-printable are undone, however damaged; any other encoding is none."""
    read = mail(body, "Content-Type: text/plain", f"Content-Transfer-Encoding: {encoding}")

    assert read.text == expected


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["approved ", "but only if", "it rains"], "approved but only if\nit rains"),
        (["a ", "b ", "c"], "a b c"),
        (["> a ", "> b", "c"], "> a b\nc"),
        (["> a ", "b"], "> a \nb"),
        (["> a ", ">> b ", "> c"], "> a \n>> b \n> c"),
        ([" > approved"], "> approved"),
        ([" From x"], "From x"),
        (["a ", "-- ", "b"], "a \n-- \nb"),
        (["-- ", "b"], "-- \nb"),
        (["a ", ""], "a "),
    ],
)
def test_flowed_text_is_joined(lines: list[str], expected: str) -> None:
    """A soft break must not part `approved` from the condition behind it."""
    body = "\r\n".join(lines).encode()

    assert mail(body, "Content-Type: text/plain; format=Flowed").text == expected
    assert mail(body, "Content-Type: text/plain").text == "\n".join(lines)


def test_flowed_text_may_delete_the_blank() -> None:
    """With DelSp the blank before the break is not the writer's."""
    body = b"appro \r\nved\r\n"

    assert mail(body, "Content-Type: text/plain; format=flowed; delsp=YES").text == "approved\n"
    assert mail(body, "Content-Type: text/plain; format=flowed; delsp=no").text == "appro ved\n"


def test_html_alone_is_read() -> None:
    """Without a plain part the text of the HTML counts, without what it quotes."""
    markup = "<p>Approved</p><blockquote>rejected</blockquote>"

    assert mail(markup.encode(), "Content-Type: text/html").text.split() == ["Approved", ">"]


# Parts


def test_of_alternatives_the_plain_one_counts() -> None:
    """The HTML is looked at only where the plain text is blank."""
    assert multipart("alternative", text_part("approved"), html_part("<p>x</p>")).text == "approved"
    assert multipart("alternative", html_part("<p>x</p>"), text_part("approved")).text == "approved"
    assert multipart("alternative", text_part(" \r\n"), html_part("<p>x</p>")).text.strip() == "x"
    assert multipart("alternative", html_part("x")).text == "x"
    assert multipart("alternative", text_part(" ")).text == ""
    assert multipart("alternative").text == ""


def test_parts_of_a_mixed_mail_follow_one_another() -> None:
    """Apple Mail goes on behind a picture."""
    picture = b"Content-Type: image/png\r\nContent-Disposition: inline; filename=a.png\r\n\r\nx"

    assert multipart("mixed", text_part("a"), picture, text_part("b")).text == "a\nb"
    assert multipart("unheard-of", text_part("a"), text_part("b")).text == "a\nb"


@pytest.mark.parametrize(
    "part",
    [
        text_part("approved", "Content-Disposition: attachment"),
        text_part("approved", "Content-Disposition: ATTACHMENT; filename=x"),
        text_part("approved", "Content-Disposition: inline; filename=x.txt"),
        text_part("approved", "Content-Disposition: inline; filename*=utf-8''x"),
        text_part("approved", "Content-Disposition: form-data"),
        text_part("approved", 'Content-Disposition: inline; filename="x'),
        b"Content-Type: text/plain; name=x.txt\r\n\r\napproved",
        b'Content-Type: text/plain; charset="x\r\n\r\napproved',
        b"Content-Type: text\r\n\r\napproved",
        b"Content-Type: text/enriched\r\n\r\napproved",
        b"Content-Type: text/calendar; method=REPLY\r\n\r\napproved",
        b"Content-Type: message/rfc822\r\n\r\nFrom: a@b\r\n\r\napproved",
        b"Content-Type: message/delivery-status\r\n\r\napproved",
        b"Content-Type: application/pkcs7-mime; smime-type=enveloped-data\r\n\r\napproved",
        b"Content-Type: multipart/encrypted; boundary=y\r\n\r\n--y\r\n\r\napproved\r\n--y--",
        b"Content-Type: multipart/report; boundary=y\r\n\r\n--y\r\n\r\napproved\r\n--y--",
        b"Content-Type: multipart/digest; boundary=y\r\n\r\n--y\r\n\r\napproved\r\n--y--",
        b"Content-Type: multipart/mixed\r\n\r\n--y\r\n\r\napproved\r\n--y--",
        b"Content-Type: multipart/mixed; boundary=\r\n\r\n--\r\n\r\napproved\r\n----",
        b"Content-Type: multipart/mixed; boundary=%b\r\n\r\n--%b\r\n\r\napproved" % (LONG, LONG),
        (
            b"Content-Type: multipart/mixed; boundary=y\r\n"
            b"Content-Disposition: attachment\r\n\r\n--y\r\n\r\napproved\r\n--y--"
        ),
    ],
)
def test_what_a_mail_carries_is_not_its_text(part: bytes) -> None:
    """Attachments, attached mails, encrypted and unreadable parts say nothing for the reviewer."""
    assert multipart("mixed", part, text_part("x")).text == "x"
    assert multipart("mixed", part).text == ""


def test_the_signed_part_is_the_text() -> None:
    """A signature beside the text does not hide it, and whatever follows the text is no text."""
    signature = b"Content-Type: application/pkcs7-signature\r\n\r\nx"

    assert multipart("signed", text_part("approved"), signature).text == "approved"
    assert multipart("signed", text_part("approved"), text_part("rejected")).text == "approved"
    assert multipart("related", text_part("a"), text_part("b")).text == "a"


def test_parts_may_stand_within_parts() -> None:
    """Alternatives within a mixed mail, with a boundary that begins with the outer one."""
    inner = (
        b"Content-Type: multipart/alternative; boundary=xy\r\n\r\n"
        b"--xy\r\n\r\napproved\r\n--xy  \r\nContent-Type: text/html\r\n\r\n<p>a\r\n--xy--\r\n"
    )

    assert multipart("mixed", inner, text_part("b")).text == "approved\nb"


def test_a_multipart_without_an_end_is_read_to_its_end() -> None:
    """Some clients forget the last boundary."""
    raw = HEAD + b"Content-Type: multipart/mixed; boundary=x\n\n--x\n\na\n--xx\n--x\n\nb\n"

    assert parse(raw).text == "a\n--xx\nb\n"


def test_a_standard_library_mail_is_read() -> None:
    """What Python writes comes out again."""
    message = EmailMessage()
    message["From"] = "Alice <alice@corp.example>"
    message.set_content("Approved \u2013 fine\n")
    message.add_alternative("<p>x</p>", subtype="html")
    message.add_attachment(b"rejected", maintype="text", subtype="plain", filename="a.txt")

    read = parse(message.as_bytes())

    assert read.text == "Approved \u2013 fine\n"
    assert read.sender == "alice@corp.example"
    assert read.content_types == {
        "multipart/mixed",
        "multipart/alternative",
        "text/plain",
        "text/html",
    }


# Limits


def nested(depth: int) -> bytes:
    """Return a mail of multiparts within one another."""
    body = b"\r\napproved"
    for level in range(depth):
        mark = b"b%d" % level
        body = b"Content-Type: multipart/mixed; boundary=%s\r\n\r\n--%s\r\n%s\r\n--%s--" % (
            mark,
            mark,
            body,
            mark,
        )
    return body


def test_parts_are_looked_at_to_a_depth_of_ten() -> None:
    """Deeper ones are left out, and the mail says so."""
    assert (parse(nested(10)).text, parse(nested(10)).truncated) == ("approved", False)
    assert (parse(nested(11)).text, parse(nested(11)).truncated) == ("", True)
    assert parse(nested(2_000)).text == ""


def test_a_hundred_parts_are_looked_at() -> None:
    """The mail itself is the first of them."""
    assert multipart("mixed", *[text_part("a")] * 99).text.count("a") == 99
    assert not multipart("mixed", *[text_part("a")] * 99).truncated
    assert multipart("mixed", *[text_part("a")] * 200).text.count("a") == 99
    assert multipart("mixed", *[text_part("a")] * 200).truncated


def test_a_text_of_64_kib_is_read_whole() -> None:
    """The limit counts characters."""
    line = "x" * 1_023 + "\n"
    read = mail((line * 64).encode())

    assert (read.text, read.truncated) == (line * 64, False)
    assert len(read.text) == MAX_BODY_CHARS


def test_of_a_longer_text_the_whole_lines_are_read() -> None:
    """A line that is cut in the middle could read as another one, so it goes."""
    line = "x" * 1_023 + "\n"
    read = mail((line * 63 + "y" * 1_020 + "\napproved but not so").encode())

    assert (read.text, read.truncated) == (line * 63 + "y" * 1_020, True)


def test_a_text_of_one_endless_line_is_marked() -> None:
    """What is left of it does not read as the whole."""
    read = mail(b"approved" + b" " * 70_000 + b"but not so")

    assert read.text == "approved" + " " * (MAX_LINE_CHARS - 8) + CUT
    assert read.truncated


def test_a_line_of_more_than_2000_characters_is_marked() -> None:
    """`approved`, two thousand blanks and a condition must not read as `approved`."""
    read = mail(b"approved" + b" " * 2_000 + b"if\r\nb")
    fits = mail(b"approved" + b" " * 1_992 + b"\r\nb")

    assert read.text.split("\n") == ["approved" + " " * 1_992 + CUT, "b"]
    assert read.truncated
    assert fits.text.split("\n") == ["approved" + " " * 1_992, "b"]
    assert not fits.truncated


def test_five_hundred_lines_are_read() -> None:
    """The rest is left out, and the mail says so."""
    fits, long = mail(b"a\n" * 499 + b"a"), mail(b"a\n" * 499 + b"a\nb")

    assert (fits.text, fits.truncated) == ("a\n" * 499 + "a", False)
    assert (long.text, long.truncated) == ("a\n" * 499 + "a", True)
    assert MAX_LINES == 500


def test_a_megabyte_is_read_from_its_beginning() -> None:
    """Encoded text and HTML have limits of their own, far above what a person writes."""
    encoded = base64.encodebytes(b"approved\n" + b"x" * 70 + b"\n" * 1_000_000)
    markup = b"<p>approved</p>" + b"<p>x</p>" * 100_000

    read = mail(encoded, "Content-Transfer-Encoding: base64")
    page = mail(markup, "Content-Type: text/html")
    long = mail(b"<p>approved</p>" + b" " * 262_144, "Content-Type: text/html")

    assert read.text.startswith("approved\nx")
    assert read.truncated
    assert page.text.split()[:2] == ["approved", "x"]
    assert page.truncated
    assert long.text.split() == ["approved"]
    assert long.truncated


def test_an_incomplete_mail_loses_its_last_line() -> None:
    """An inbox that cuts a mail may have cut `approved but not so` behind its first word."""
    raw = HEAD + b"\r\nHello\r\napproved"

    assert parse(raw, complete=False).text == "Hello"
    assert parse(raw, complete=False).truncated
    assert parse(HEAD + b"\r\napproved", complete=False).text == "approved" + CUT
    assert parse(HEAD + b"\r\n  \r\n", complete=False).text == "  "
    assert parse(HEAD + b"\r\n", complete=False).text == ""
    page = HEAD + b"Content-Type: text/html\r\n\r\n<p>a</p>approved"
    assert parse(page, complete=False).text == "a"
    assert parse(HEAD + PLAIN + b"\r\nx\r\n\xc3", complete=False).text == "x"


def test_an_incomplete_mail_keeps_a_part_that_is_complete() -> None:
    """What was cut is the attachment, not the text before it."""
    raw = HEAD + b"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\napproved\r\n--x\r\n"

    read = parse(raw + b"Content-Type: image/png\r\n\r\nabc", complete=False)
    assert (read.text, read.truncated) == ("approved", True)
    assert parse(raw + b"\r\na\r\nb", complete=False).text == "approved\na"


def test_a_flowed_paragraph_that_is_cut_is_marked() -> None:
    """A soft break at the cut means that the paragraph went on."""
    kind = b"Content-Type: text/plain; format=flowed\r\n\r\n"

    assert parse(HEAD + kind + b"approved \r\nif", complete=False).text == "approved " + CUT
    assert parse(HEAD + kind + b"approved\r\nif", complete=False).text == "approved"
    assert parse(HEAD + kind + b"approved ", complete=True).text == "approved "


# Who wrote it


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        (["Return-Path: <>"], "Return-Path is empty"),
        (["Return-Path: <a@b.example>", "Return-Path:  <> "], "Return-Path is empty"),
        (["Auto-Submitted: auto-replied"], "Auto-Submitted"),
        (["Auto-Submitted: auto-generated; type=x"], "Auto-Submitted"),
        (["auto-submitted: Auto-Replied (vacation)"], "Auto-Submitted"),
        (["Auto-Submitted:"], "Auto-Submitted"),
        (["Auto-Submitted: (no"], "Auto-Submitted"),
        (["Auto-Submitted: no", "Auto-Submitted: auto-replied"], "Auto-Submitted"),
        (["Precedence: bulk"], "Precedence"),
        (["Precedence: Junk"], "Precedence"),
        (["Precedence: list"], "Precedence"),
        (["Precedence: auto_reply"], "Precedence"),
        (["X-Autoreply: yes"], "X-Autoreply"),
        (["X-Autorespond: x"], "X-Autorespond"),
        (["X-Failed-Recipients: a@b.example"], "X-Failed-Recipients"),
        (["List-Id: <x.example>"], "List-Id"),
        (["Content-Type: multipart/report; boundary=x"], "multipart/report"),
        (["From: MAILER-DAEMON@mx.example (Mail Delivery System)"], "from a mail server"),
        (["From: Postmaster <postmaster@mx.example>"], "from a mail server"),
    ],
)
def test_what_a_machine_sent_is_automatic(headers: list[str], reason: str) -> None:
    """The signs of RFC 3834 and of the usual servers, each on its own."""
    head = b"" if headers[0].startswith("From") else HEAD

    assert automatic(mail(b"approved", *headers, head=head)) == reason


@pytest.mark.parametrize(
    "headers",
    [
        [],
        ["Auto-Submitted: no"],
        ["Auto-Submitted: No (really); x=y"],
        ["Return-Path: <alice@corp.example>"],
        ["Precedence: first-class"],
        ["Precedence: bulk-free"],
        ["Precedence: (bulk"],
        ["X-Mailer: Auto"],
        ["Content-Type: multipart/alternative; boundary=x"],
    ],
)
def test_what_a_person_sent_is_not_automatic(headers: list[str]) -> None:
    """The same headers in the form in which people's mails have them."""
    assert automatic(mail(b"approved", *headers), own=["approvals@example.com"]) is None


def test_a_reaction_is_automatic() -> None:
    """Gmail sends `Alice reacted via Gmail` as a reply; an emoji is no decision."""
    reaction = b'Content-Type: text/vnd.google.email-reaction+json\r\n\r\n{"emoji":"x","version":1}'
    read = multipart("alternative", text_part("approved"), reaction, html_part("x"))

    assert automatic(read) == "a reaction"


def test_an_attached_bounce_makes_a_mail_automatic() -> None:
    """A report within a mail is a report as well."""
    report = b"Content-Type: multipart/report; boundary=y\r\n\r\n--y--"

    assert automatic(multipart("mixed", text_part("approved"), report)) == "multipart/report"


@pytest.mark.parametrize(
    ("own", "separator", "expected"),
    [
        (["alice@corp.example"], "+", "from our own address"),
        (["x@corp.example", "Alice@Corp.Example"], "+", "from our own address"),
        (["@corp.example"], "+", "from our own address"),
        (["ali@corp.example"], "+", None),
        (["alice+x@corp.example"], "+", None),
        (["@other.example"], "+", None),
        ([], "+", None),
    ],
)
def test_a_mail_from_ourselves_is_automatic(
    own: list[str], separator: str, expected: str | None
) -> None:
    """Answering ourselves would never end."""
    assert automatic(mail(b"approved"), own=own, separator=separator) == expected


def test_our_own_address_with_a_token_is_ours() -> None:
    """With whatever separator is configured; a mail from nobody is not ours."""
    read = parse(b"From: approvals-abc@example.com\r\n\r\nx")

    assert automatic(read, own=["approvals@example.com"], separator="-") == "from our own address"
    assert automatic(read, own=["approvals@example.com"]) is None
    assert automatic(parse(b"\r\nx"), own=["@example.com"]) is None
    with pytest.raises(ConfigurationError):
        automatic(read, own=["nonsense"])


POSTFIX_BOUNCE = b"""\
Return-Path: <>
Delivered-To: approvals@example.com
Received: by mx.example.com (Postfix)
\tid 4ABCDEF; Mon,  5 Jan 2026 10:00:00 +0000 (UTC)
Date: Mon,  5 Jan 2026 10:00:00 +0000 (UTC)
From: MAILER-DAEMON@mx.example.com (Mail Delivery System)
Subject: Undelivered Mail Returned to Sender
To: approvals@example.com
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status;
\tboundary="4AAAA.1767607200/mx.example.com"
Message-Id: <20260105100000.4ABCD@mx.example.com>

This is a MIME-encapsulated message.

--4AAAA.1767607200/mx.example.com
Content-Description: Notification
Content-Type: text/plain; charset=us-ascii

This is the mail system at host mx.example.com.

--4AAAA.1767607200/mx.example.com
Content-Description: Undelivered Message
Content-Type: message/rfc822

Return-Path: <approvals@example.com>
From: Approvals <approvals@example.com>

approved

--4AAAA.1767607200/mx.example.com--
"""


def test_a_bounce_of_postfix_has_no_sender_and_no_text() -> None:
    """Neither its words nor the mail that it returns are anybody's answer."""
    read = parse(POSTFIX_BOUNCE)

    assert read.sender is None
    assert read.text == ""
    assert automatic(read) == "Return-Path is empty"
    assert read.message_id == "<20260105100000.4ABCD@mx.example.com>"
