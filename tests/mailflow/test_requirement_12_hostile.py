"""Requirement 12: hostile mails by the whole way, from the mailbox to the request."""

from __future__ import annotations

import random
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Final

import pytest

from signoff import Client, Flow, human_feedback, start
from signoff.mail.incoming import parse
from signoff.mail.mime import MAX_BODY_CHARS, MAX_LINE_CHARS, MAX_LINES
from signoff.mail.reply import SentContext, extract
from signoff.testing import ManualClock, MemoryMail

REVIEWER: Final = "ann.lee@acme.example"
SERVER: Final = "mx.acme.example"
PASSED: Final = f"Authentication-Results: {SERVER}; dmarc=pass header.from=acme.example\r\n"

MAILS_A_REQUEST: Final = 50


class Asked(Flow, name="hostile.asked"):
    """Three labels; other text is a comment."""

    @start()
    @human_feedback(
        message="Publish?", emit=["approved", "rejected", "later"], assign_to_email=REVIEWER
    )
    def draft(self) -> str:
        return "Spring sale"


GENUINE: Final = f"{PASSED}From: Ann <{REVIEWER}>\r\nTo: {{token}}\r\n"
"""What a reviewer's mail begins with: what follows it must not answer."""

FORGED: Final = (
    f"From: {REVIEWER}\r\nTo: {{token}}\r\n",
    f"From: {REVIEWER}\r\nTo: {{token}}\r\n{PASSED.replace(SERVER, 'mx.evil.example')}",
    f"{PASSED.replace('pass', 'fail')}{PASSED}From: {REVIEWER}\r\nTo: {{token}}\r\n",
    f"{PASSED}From: {REVIEWER} <mallory@evil.example>\r\nTo: {{token}}\r\n",
    f"{PASSED}From: <{REVIEWER}> <mallory@evil.example>\r\nTo: {{token}}\r\n",
    f"{PASSED}From: {REVIEWER}\r\nFrom: mallory@evil.example\r\nTo: {{token}}\r\n",
    f"{PASSED}From: mallory@acme.example\r\nTo: {{token}}\r\n",
    f"{PASSED}From: {REVIEWER}\r\nTo: {{changed}}\r\n",
    f"{PASSED}From: {REVIEWER}\r\nAuto-Submitted: auto-replied\r\nTo: {{token}}\r\n",
    f"Return-Path: <>\r\n{PASSED}From: {REVIEWER}\r\nTo: {{token}}\r\n",
)
"""What mails begin with that nobody has to believe, whatever they say."""

HEADERS: Final = (
    *("Content-Type: text/plain; charset=utf-7\r\n", "Content-Type: text/html\r\n"),
    *("Content-Type: text/plain; charset=idna\r\n", "Content-Type: text/plain; charset=\x00\r\n"),
    *("Content-Type: multipart/mixed; boundary=x\r\n", "Content-Type: multipart/signed\r\n"),
    'Content-Type: multipart/alternative; boundary="y\r\n',
    "Content-Type: multipart/alternative; boundary=x\r\n",
    "Content-Type: message/rfc822\r\n",
    "Content-Type: text/plain; format=flowed; delsp=yes\r\n",
    "Content-Disposition: attachment; filename*=x''%ff\r\n",
    *("Content-Transfer-Encoding: base64\r\n", "Content-Transfer-Encoding: quoted-printable\r\n"),
    *("Message-ID: <\r\n", "Message-ID: <a@b>\r\n", "References: <<>> <dlv_1@x>\r\n"),
    *("Date: 99999999999999999999\r\n", "Subject: =?x?q?=\r\n", "Subject: =?utf-8?b?/w==?=\r\n"),
    *("Reply-To: \r\n", "Sender: x\r\n", " folded\r\n", "\t\r\n", "X" * 998 + ": y\r\n"),
)
NOTHING: Final = (
    *(
        "> approved\r\n",
        "~~approved~~\r\n",
        "not approved\r\n",
        "approved?\r\n",
        "\u0430pproved\r\n",
    ),
    *("approved/rejected\r\n", "<s>approved</s>\r\n", "<blockquote>approved</blockquote>\r\n"),
    *("<p hidden>approved</p>\r\n", "<!-- approved\r\n", "<<<", ">>>", "&#x", "<div><p><b>"),
    *("-- \r\n", "--x\r\n", "--x--\r\n", "--y\r\n", "=\r\n", "=3D", "==", "\r", "\n", "\r\n\r\n"),
    *(
        "On 5 Jan 2026, Approvals wrote:\r\n",
        "From: Approvals\r\n",
        "-----Original Message-----\r\n",
    ),
    *(
        "Sent from my iPhone\r\n",
        "Best regards\r\n",
        "##- Write your reply above this line -##\r\n",
    ),
    *("\x00", "\u200b", "\u202e", "\ufeff", "\ufffe", "A" * 998, " " * 400, "\u0336" * 40),
)
"""Pieces of bodies of which none is an answer, in whatever order they come."""

ANSWERS: Final = ("approved\r\n", "Approved.\r\n", "rejected\r\n", "accepted\r\n", "later\r\n")


def hostile(seed: int, token: str) -> bytes:
    """Return a mail of pieces in an order that means nothing."""
    choice = random.Random(seed)
    forged = seed % 2 == 0
    head = choice.choice(FORGED) if forged else GENUINE
    head = head.replace("{token}", token).replace("{changed}", _changed(token))
    headers = "".join(choice.choices(HEADERS, k=choice.randint(0, 4)))
    pieces = (*NOTHING, *ANSWERS, *HEADERS) if forged else NOTHING
    lines = choice.choices(pieces, k=choice.randint(0, 30))
    if not forged:
        # A piece that ends its line keeps the next one from being joined to a part of it.
        lines = [line if line.endswith("\n") else f"x{line}\r\n" for line in lines]
    raw = f"{head}X-Seed: {seed}\r\n{headers}\r\n{''.join(lines)}".encode("utf-8", "replace")
    return _damaged(raw, choice) if forged and seed % 3 == 0 else raw


def _changed(token: str) -> str:
    """Return an address whose token differs in one character."""
    name, at, domain = token.rpartition("@")
    return f"{name[:-1]}{'b' if name[-1] == 'a' else 'a'}{at}{domain}"


def _damaged(raw: bytes, choice: random.Random) -> bytes:
    """Return a mail with some of its bytes changed, behind the headers that decide."""
    kept, rest = raw[:400], raw[400:]
    return kept + bytes(byte ^ (choice.random() < 0.02) * choice.randrange(256) for byte in rest)


def batches(seeds: range) -> Iterator[range]:
    """Yield seeds in the numbers that go to one request."""
    for begin in range(seeds.start, seeds.stop, MAILS_A_REQUEST):
        yield range(begin, min(begin + MAILS_A_REQUEST, seeds.stop))


@asynccontextmanager
async def serving() -> AsyncIterator[tuple[Client, MemoryMail]]:
    """Yield a client whose mail server vouches for senders, and its mailbox."""
    mail = MemoryMail(trusted_server=SERVER)
    async with Client(notifiers=[mail], inbox=mail, clock=ManualClock()) as client:
        yield client, mail


async def check(seeds: range) -> None:
    """Let a client read many hostile mails, and look at what came of them."""
    async with serving() as (client, mail):
        for batch in batches(seeds):
            await client.flows.start(Asked, requester="agent-7")
            await client.drain()
            asked = next(one for one in reversed(mail.sent) if one["Reply-To"])
            for seed in batch:
                mail.receive(hostile(seed, str(asked["Reply-To"])), cut=seed % 7 == 0)
            await client.drain()

        requests = await client.hitl.list_requests(limit=200)
        stats, health = await client.hitl.get_stats(), await client.health()
        assert [request.decisions for request in requests] == [()] * len(requests)
        assert stats.pending == -(-len(seeds) // MAILS_A_REQUEST)
        assert health.inbox is not None
        assert (health.inbox.set_aside, mail.failed) == (0, [])
        assert len(mail.put_away) > len(seeds) // 2
        assert any(request.comments for request in requests)


@pytest.mark.timeout(300)
async def test_three_hundred_hostile_mails_decide_nothing_and_break_nothing() -> None:
    """Requirement 12: no exception leaves the handling of the inbox, and there is no decision."""
    await check(range(300))


@pytest.mark.slow
@pytest.mark.timeout(1_200)
async def test_twenty_thousand_hostile_mails_decide_nothing_and_break_nothing() -> None:
    """Requirement 12: the same for more than twenty thousand mails of other seeds."""
    await check(range(300, 23_000))


MEGABYTE: Final = 1_000_000
BODIES: Final = {
    "angles": "<<<",
    "quotes": ">>>",
    "one line": "x",
    "many lines": "x\n",
    "words": "x ",
    "elements": "<div>",
    "quoted elements": "<blockquote><div>",
    "paragraphs": "<p><b>x</b></p>",
    "styles": "<p style='a:b;c:d'>x",
    "references": "&amp;",
    "long quotes": "<" * 1_999 + "\n",
    "attributions": "On 5 Jan 2026 at 10:00, Approvals wrote\n",
    "heads": "From: approvals@signoff.example\n",
    "notices": "caution: this email is confidential, external\n",
    "closings": "with my best regards\n",
    "dashes": "--- x ",
    "a line of dashes": "-",
    "lines of dashes": "-" * 1_999 + "x\n",
    "blanks in dashes": "--" + " " * 1_990 + "x\n",
}
PLAIN: Final = "Content-Type: text/plain; format=flowed\n\n{body}"
HTML: Final = "Content-Type: text/html\n\n{body}"
BOTH: Final = (
    "Content-Type: multipart/alternative; boundary=qq\n\n--qq\nContent-Type: text/plain\n\n{body}"
    "\n--qq\nContent-Type: text/html\n\n{body}\n--qq--\n"
)


@pytest.mark.parametrize("form", [PLAIN, HTML, BOTH], ids=["plain", "html", "both"])
@pytest.mark.parametrize("piece", BODIES.values(), ids=BODIES.keys())
def test_of_a_megabyte_a_bounded_part_is_read(piece: str, form: str) -> None:
    """
    Requirement 12: a hostile body of a megabyte costs little.

    On one core of a build machine the dearest of these takes 0.05 s; the bound is far above
    that, so that only a cost that grows faster than the body breaks it.
    """
    sent = SentContext(
        from_address="approvals@signoff.example",
        reply_to="approvals+abc@signoff.example",
        display_name="Approvals",
        lines=tuple(f"Please review this line of text number {number}" for number in range(400)),
    )
    body = piece * (MEGABYTE // len(piece) // (1 + (form is BOTH)))
    raw = form.replace("{body}", body).encode()

    begin = time.thread_time()
    mail = parse(raw)
    reply = extract(mail.text, sent=sent, rich=mail.rich, author="Ann Lee")
    spent = time.thread_time() - begin

    for text in (mail.text, mail.rich, "\n".join(reply.lines)):
        assert len(text) <= MAX_BODY_CHARS + 6 * MAX_LINES
        assert text.count("\n") < MAX_LINES
        assert max(map(len, text.split("\n"))) <= MAX_LINE_CHARS + 6
    assert spent < 1
