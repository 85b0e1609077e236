from __future__ import annotations

import base64
import random
import time
from collections.abc import Callable

import pytest

from signoff.mail.address import message_ids_in, parse_from, tokens_in
from signoff.mail.authentication import NO_ID, verdict
from signoff.mail.headers import MAX_HEADER_CHARS
from signoff.mail.incoming import IncomingMail, automatic, parse
from signoff.mail.markup import text_of_html
from signoff.mail.mime import MAX_BODY_CHARS, MAX_LINE_CHARS, MAX_LINES
from signoff.mail.reply import SentContext, extract

SENT = SentContext(
    from_address="approvals@acme.example",
    reply_to="approvals+abc@acme.example",
    display_name="Acme approvals",
    lines=tuple(f"Please review this line of text number {number}" for number in range(400)),
)

PIECES = [
    *(b"From: alice@corp.example\r\n", b"From: <a@b", b"To: a+" + b"b" * 48 + b"@c.example\r\n"),
    *(
        b"Content-Type: text/plain; charset=%s\r\n" % c
        for c in (b"utf-7", b"idna", b"unknown-8bit")
    ),
    *(b"Content-Type: multipart/mixed; boundary=x\r\n", b"Content-Type: text/html\r\n"),
    *(b'Content-Type: multipart/alternative; boundary="y\r\n', b"--x\r\n", b"--x--\r\n", b"--\r\n"),
    *(
        b"Content-Type: message/rfc822\r\n",
        b"Content-Disposition: attachment; filename*=x''%ff\r\n",
    ),
    *(b"Content-Transfer-Encoding: base64\r\n", b"Content-Transfer-Encoding: quoted-printable\r\n"),
    *(
        b"Message-ID: <",
        b"Message-ID: <a@b>\r\n",
        b"Date: 99999999999999999999\r\n",
        b"Subject: =?x?q?=",
    ),
    *(b"Authentication-Results: a; dmarc=pass header.from=b\r\n", b"Return-Path: <>\r\n"),
    *(
        b"Content-Type: text/plain; format=flowed; delsp=yes\r\n",
        b"\r\n",
        b"\n",
        b"\r",
        b" ",
        b"\t",
    ),
    *(
        b"approved\r\n",
        b"> approved\r\n",
        b"On 5 Jan 2026, Acme approvals wrote:\r\n",
        b"<p>",
        b"<!--",
    ),
    *(
        b"\x00",
        b"\xff\xfe",
        b"\xed\xa0\x80",
        b"=?utf-8?b?",
        b"=0D=0A",
        b"(",
        b'"',
        b"\\",
        b";",
        b":",
        b"&#x",
    ),
    *(
        b"-----Original Message-----\r\n",
        b"-- \r\n",
        b"==",
        b"=\r\n",
        b"A" * 998,
        b"From: b@c.example\r\n",
    ),
]


def read_all(raw: bytes) -> IncomingMail:
    """Do with a mail all that is done with it."""
    mail = parse(raw, complete=len(raw) % 2 == 0)
    extract(mail.text, sent=SENT)
    automatic(mail, own=["approvals@acme.example"])
    tokens_in(mail.headers)
    message_ids_in(mail.headers)
    for server in ("a", NO_ID):
        verdict(mail.values("Authentication-Results"), server=server, from_domain="corp.example")
    assert isinstance(mail.key, str)
    return mail


def hostile_mail(seed: int) -> bytes:
    """Return a mail of pieces that mean something, in an order that means nothing."""
    choice = random.Random(seed)
    raw = b"".join(choice.choices(PIECES, k=choice.randint(1, 40)))
    if seed % 3 == 0:
        raw = bytes(byte ^ (choice.random() < 0.02) * choice.randrange(256) for byte in raw)
    return raw


def check_fuzz(seeds: range) -> None:
    """Read many mails, and look at what came of each."""
    senders = texts = 0
    for seed in seeds:
        mail = read_all(hostile_mail(seed))
        senders += mail.sender is not None
        texts += bool(mail.text.strip())
        assert len(mail.text) <= MAX_BODY_CHARS + MAX_LINES * 6
        assert mail.text.count("\n") < MAX_LINES

    assert senders > len(seeds) // 50
    assert texts > len(seeds) // 4


def test_two_thousand_hostile_mails_are_read_without_an_error() -> None:
    """No bytes make reading a mail fail."""
    check_fuzz(range(2_000))


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_twenty_thousand_hostile_mails_are_read_without_an_error() -> None:
    """The same for mails of other seeds."""
    check_fuzz(range(2_000, 22_000))


def seconds(work: Callable[[], object]) -> float:
    """Return the least processor time of three runs."""
    times: list[float] = []
    for _ in range(3):
        start = time.thread_time()
        work()
        times.append(time.thread_time() - start)
    return min(times)


def assert_linear(work: Callable[[int], Callable[[], object]], *, size: int) -> None:
    """Assert that eight times the input takes far less than the 64 times of a quadratic reader."""
    short, long = seconds(work(size)), seconds(work(8 * size))

    assert long < 24 * short + 0.02


MARKUP = [
    *(
        "<",
        "<a ",
        "</a ",
        "</",
        "<!--",
        "<!",
        "<?",
        "&",
        "&#",
        "&#1",
        "&amp",
        "<p>",
        "<s>",
        "<a x='",
    ),
    *(
        "<a =",
        "<a x=",
        "<script>",
        "<script></script>",
        "<div><p></b>",
        "<blockquote>",
        "</p>",
        "<p",
    ),
    *("<div style='a:b;", "<div style=';'>", "]]>", "<a " + "x " * 100 + ">", "<td>x", "a\n", "> "),
]


@pytest.mark.parametrize("piece", MARKUP)
def test_markup_takes_time_in_proportion_to_its_length(piece: str) -> None:
    """Whatever is repeated: the scanner of the standard library is quadratic for some of these."""

    def work(size: int) -> Callable[[], object]:
        markup = piece * (size // len(piece))
        return lambda: text_of_html(markup)

    assert_linear(work, size=16_384)


BODIES = {
    "quotes": b">" * 1_024 + b"\n",
    "angles": b"<<<<" * 1_000 + b"\n",
    "colons": b": : :" * 200 + b"\n",
    "attributions": b"On 5 Jan 2026 at 10:00, Acme approvals wrote\n",
    "names": b"Acme approvals: \n",
    "rulers": b"_________________\n",
    "headers": b"From: x\n",
    "one line": b"x",
    "blanks": b" ",
    "line feeds": b"\n",
    "returns": b"\r",
    "ours": b"Please review this line of text number 7\n",
    "nearly ours": b"Please review this line of text number \n",
    "dashes": b"-",
    "soft breaks": b"x \n",
    "equals": b"=",
    "boundaries": b"--x\n",
}


@pytest.mark.parametrize(
    ("kind", "encoding"),
    [
        ("text/plain", "7bit"),
        ("text/plain; format=flowed", "quoted-printable"),
        ("text/html", "base64"),
        ("multipart/mixed; boundary=x", "7bit"),
    ],
)
@pytest.mark.parametrize("piece", BODIES.values(), ids=BODIES.keys())
def test_a_megabyte_of_anything_costs_little_more_than_an_eighth_of_it(
    piece: bytes, encoding: str, kind: str
) -> None:
    """Mail bodies of every kind are read to a limit, in time in proportion to their length."""

    def work(size: int) -> Callable[[], object]:
        body = piece * (size // len(piece))
        if encoding == "base64":
            body = base64.encodebytes(body[: size * 3 // 4])
        head = f"Content-Type: {kind}\nContent-Transfer-Encoding: {encoding}\n\n"
        raw = head.encode() + body
        return lambda: extract(parse(raw).text, sent=SENT)

    assert_linear(work, size=131_072)


HEADERS = {
    "from": ("From", '"x" ' * 4_000),
    "from words": ("From", "x " * 8_000),
    "from quotes": ("From", '"' * 16_000),
    "from at": ("From", "a@" * 8_000),
    "from dots": ("From", "a." * 8_000 + "@b"),
    "comments": ("Authentication-Results", "a" + "(" * 16_000),
    "words": ("Authentication-Results", "a; " + "x" * 16_000),
    "dots": ("Authentication-Results", "a; " + "a.-" * 5_000),
    "equals": ("Authentication-Results", "a; " + "x=" * 8_000),
    "blanks": ("Authentication-Results", "a; x" + " " * 16_000 + "y"),
    "slashes": ("Authentication-Results", "a; " + "x / 1 " * 2_600),
    "tokens": ("To", "a" * 16_000),
    "message ids": ("References", "<dlv_" * 3_000),
    "message id": ("Message-ID", "<" + "a" * 16_000),
    "robots": ("From", "mailer-" * 2_000),
    "parameters": ("Content-Type", "text/plain;" + "a=b;" * 4_000),
    "parameter": ("Content-Type", "text/plain;" + "a " * 8_000),
}


@pytest.mark.parametrize(("name", "value"), HEADERS.values(), ids=HEADERS.keys())
def test_headers_take_time_in_proportion_to_their_length(name: str, value: str) -> None:
    """Up to the longest value that is read at all."""
    assert len(value) <= MAX_HEADER_CHARS

    def work(size: int) -> Callable[[], object]:
        raw = f"{name}: {value[:size]}\n\nx".encode()
        return lambda: read_all(raw)

    assert_linear(work, size=2_000)


def test_a_mail_of_header_lines_costs_no_more_than_a_few_thousand_of_them() -> None:
    """Behind the limit nothing is looked at."""

    def work(size: int) -> Callable[[], object]:
        raw = b"a: b\n" * (size // 5)
        return lambda: read_all(raw)

    assert seconds(work(1_000_000)) < 3 * seconds(work(50_000)) + 0.02


def test_a_long_list_of_from_headers_is_refused_at_once() -> None:
    """The number is looked at before the values."""
    with pytest.raises(ValueError, match="^100000 From headers"):
        parse_from(["x"] * 100_000)


def test_lines_are_no_longer_than_the_limit_after_joining() -> None:
    """Soft breaks that make one endless line do not get around the limit."""
    raw = b"Content-Type: text/plain; format=flowed\n\n" + b"x \n" * 20_000

    assert max(map(len, parse(raw).text.split("\n"))) <= MAX_LINE_CHARS + 6
