"""Requirement 12: replies as real mail programs write them, quoting the mail that we sent."""

from __future__ import annotations

import base64
import hashlib
import html
import quopri
import re
import textwrap
import tomllib
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from email.message import EmailMessage
from functools import cached_property, lru_cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Final

import anyio
import pytest
from typing_extensions import override

from signoff import Client, Evidence, Flow, Proposal, Request, human_feedback, start
from signoff.mail.address import tokens_in
from signoff.mail.incoming import automatic, parse
from signoff.mail.reply import Reply, SentContext, extract
from signoff.mail.sent import sent_text
from signoff.ports import Outgoing
from signoff.rules.outcomes import choices, read_answer
from signoff.testing import ManualClock, MemoryMail

pytestmark = pytest.mark.one_python

REPLIES: Final = Path(__file__).parents[1] / "data" / "replies"
REVIEWER: Final = "ann.lee@acme.example"

_MARK: Final = re.compile(r"\{\{([^{}]+)\}\}")
_LINE_OF_MARK: Final = re.compile(r"^([> \t|]*)\{\{(text|shown|words)([^{}]*)\}\}$", re.MULTILINE)
_LAST: Final = 12
_SPACES: Final = {"nbsp": "\u00a0", "nnbsp": "\u202f", "zwsp": "\u200b", "bom": "\ufeff", "_": ""}
_BLOCKS: Final = frozenset({"p", "div", "tr", "table", "h1", "h2", "h3", "td", "li"})


@dataclass(frozen=True)
class Shape:
    """
    A reply in the form in which one client sends it.

    Attributes:
        path: The file that holds it.
    """

    path: Path

    @cached_property
    def data(self) -> dict[str, Any]:
        """What the file says; the README beside it says how it is read."""
        return tomllib.loads(self.path.read_text("utf-8"))

    @property
    def name(self) -> str:
        """The file's name, without its ending."""
        return self.path.stem

    @property
    def words(self) -> str:
        """What the reviewer wrote."""
        return str(self.data["words"])

    @property
    def first(self) -> str:
        """The line that decides."""
        return str(self.data["first"])

    @property
    def build(self) -> str:
        """How the mail is put together: its kinds of parts, how they are encoded, its headers."""
        parts = [(_before(";", part["type"]), part.get("encoding")) for part in self.data["part"]]
        named = sorted(_before(":", header) for header in self.data.get("headers", []))
        return repr((self.data.get("tree"), parts, "from" in self.data, named))

    def raw(self, asked: EmailMessage, words: str, *, number: int = 0) -> bytes:
        """Return the reply to a mail as it comes in, with these words written in it."""
        fill = _Filling(asked, words)
        parts = [_entity(part, fill) for part in self.data["part"]]
        tree = self.data.get("tree", 0)
        headers = [
            f"From: {self.data.get('from', '{{me}}')}",
            "To: {{reply_to}}",
            f"Subject: {self.data.get('subject', 'Re: {{subject}}')}",
            f"Message-ID: <{self.name}.{number}@client.example>",
            "In-Reply-To: {{message_id}}",
            "Date: Mon, 05 Jan 2026 10:12:00 +0100",
            *self.data.get("headers", []),
            "MIME-Version: 1.0",
        ]
        head = "".join(f"{fill(header)}\n" for header in headers).encode()
        return (head + _joined(tree, parts, depth=0)).replace(b"\n", b"\r\n")


@dataclass(frozen=True)
class _Quoted:
    """
    What replies quote of a mail.

    Attributes:
        text: Its plain text.
        html: What is in the body of its HTML.
        values: What single marks stand for.
    """

    text: str
    html: str
    values: Mapping[str, str]

    @staticmethod
    @lru_cache(maxsize=1)
    def of(asked: EmailMessage) -> _Quoted:
        """Read the mail that most replies in a row are to."""
        plain, markup = asked.get_body(("plain",)), asked.get_body(("html",))
        assert plain is not None
        assert markup is not None
        document = str(markup.get_content()).replace("\r", "")
        body = re.search(r"<body[^>]*>(.*)</body>", document, re.DOTALL)
        assert body is not None
        sender = asked["From"].addresses[0]
        values = {
            **_SPACES,
            "name": sender.display_name,
            "address": sender.addr_spec,
            "reply_to": str(asked["Reply-To"]),
            "subject": str(asked["Subject"]),
            "message_id": str(asked["Message-ID"]),
            "me": str(asked["To"]),
        }
        text = str(plain.get_content()).replace("\r", "").strip("\n")
        return _Quoted(text, body.group(1).strip(), values)


class _Filling:
    """Puts the reviewer's words and the quoted mail where the marks of a shape stand."""

    def __init__(self, asked: EmailMessage, words: str) -> None:
        self._words = words
        self._quoted = _Quoted.of(asked)

    def __call__(self, template: str) -> str:
        filled = _LINE_OF_MARK.sub(self._lines, template)
        return _MARK.sub(self._one, filled)

    def _lines(self, mark: re.Match[str]) -> str:
        """Return text line by line, each behind what stood before the mark."""
        prefix, kind, how = mark.group(1), mark.group(2), mark.group(3).split()
        if kind == "words" and how:
            return mark.group()
        source = {"text": self._quoted.text, "words": self._words}.get(kind)
        lines = (source if source is not None else _Shown.text(self._quoted.html, how)).split("\n")
        lines = lines[-_LAST:] if "last" in how else lines
        width = next((int(word) for word in how if word.isdigit()), 0)
        spilling = "spill" in how
        if width and not spilling:
            lines = [part for line in lines for part in _wrapped(line, width)]
        behind = [(prefix + line).rstrip() if prefix.strip() else line for line in lines]
        if width and spilling:
            behind = [part for line in behind for part in _wrapped(line, width)]
        return "\n".join(behind)

    def _one(self, mark: re.Match[str]) -> str:
        kind, _, how = mark.group(1).partition(" ")
        if kind == "words":
            before, _, behind = how.partition("|")
            lines = (html.escape(line, quote=False) for line in self._words.split("\n"))
            return "\n".join(f"{before}{line or '<br>'}{behind}" for line in lines)
        if kind == "html":
            return _CONVERSIONS[how](self._quoted.html)
        return self._quoted.values[kind]


def _before(mark: str, text: str) -> str:
    return text.partition(mark)[0].lower()


def _wrapped(line: str, width: int) -> list[str]:
    return textwrap.wrap(line, width, break_on_hyphens=False, drop_whitespace=True) or [""]


class _Shown(HTMLParser):
    """What a client makes of our HTML when it quotes it as text."""

    def __init__(self, how: Sequence[str]) -> None:
        super().__init__()
        self._how = how
        self._pieces: list[str] = []
        self._links: list[str] = []
        self._hidden = 0

    @classmethod
    def text(cls, markup: str, how: Sequence[str]) -> str:
        """Return the text; `links` writes addresses behind links, `double` parts paragraphs."""
        reader = cls(how)
        reader.feed(markup)
        lines = [line.strip(" ") for line in "".join(reader._pieces).split("\n")]
        gap = "\n\n" if "double" in how else "\n"
        return gap.join(line for line in lines if line)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Begin a line, remember a link, skip what is hidden."""
        given = {name: value or "" for name, value in attrs}
        if self._hidden or "display:none" in given.get("style", ""):
            self._hidden += tag not in {"br", "img"}
        elif tag in _BLOCKS or tag == "br":
            self._pieces.append("\n")
        elif tag == "a":
            self._links.append(given.get("href", ""))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Break the line."""
        if not self._hidden and tag == "br":
            self._pieces.append("\n")

    def handle_endtag(self, tag: str) -> None:
        """End a line, or write where a link goes."""
        if self._hidden:
            self._hidden -= 1
        elif tag in _BLOCKS:
            self._pieces.append("\n")
        elif tag == "a" and self._links:
            link = self._links.pop()
            self._pieces.append(f" <{link}> " if "links" in self._how else "")

    def handle_data(self, data: str) -> None:
        """Keep what can be seen."""
        if not self._hidden:
            self._pieces.append(data.replace("\n", " "))


def _bare(markup: str) -> str:
    """Return markup without attributes, but for the links."""
    return re.sub(r"<(\w+)((?:\s[^>]*?)?)( ?/)?>", _without_attributes, markup)


def _without_attributes(tag: re.Match[str]) -> str:
    link = re.search(r'\shref="[^"]*"', tag.group(2))
    hidden = "display:none" in tag.group(2)
    kept = (link.group() if link else "") + (' style="display:none"' if hidden else "")
    return f"<{tag.group(1)}{kept}>"


def _word(markup: str) -> str:
    """Return markup as Word's engine writes it into a reply."""
    markup = re.sub(r"<div style=\"display:none[^>]*>.*?</div>", "", markup, flags=re.DOTALL)
    markup = re.sub(r"<p [^>]*>", "<p class=MsoNormal>", markup).replace("</p>", "<o:p></o:p></p>")
    markup = re.sub(r"<h(\d) [^>]*>", r"<h\1 style='margin:0cm'>", markup)
    return markup.replace('"', "'").replace("<br />", "<br>")


def _prefixed(markup: str) -> str:
    """Return markup as Outlook on the web quotes it, with its names made its own."""
    return re.sub(r'\b(class|id)="', r'\1="x_', markup)


def _as_text(markup: str) -> str:
    """Return what a client writes that shows a mail as text within HTML."""
    lines = _Shown.text(markup, []).split("\n")
    return "<br>\n".join(html.escape(line, quote=False) for line in lines)


_CONVERSIONS: Final[dict[str, Callable[[str], str]]] = {
    "": lambda markup: markup,
    "bare": _bare,
    "word": _word,
    "x_": _prefixed,
    "text": _as_text,
}


def _entity(part: dict[str, Any], fill: _Filling) -> bytes:
    """Return a part of a mail with its headers."""
    body = fill(part["body"]).rstrip("\n") + "\n"
    kind = str(part["type"])
    if "format=flowed" in kind:
        body = _flowed(body, delete_space="delsp=yes" in kind.lower())
    data = body.encode(part.get("codec", "utf-8"), "replace")
    encoding = part.get("encoding", "8bit")
    if encoding == "base64":
        data = base64.encodebytes(base64.b64decode(body) if part.get("file") else data)
    elif encoding == "quoted-printable":
        data = quopri.encodestring(data)
    headers = [f"Content-Type: {kind}", f"Content-Transfer-Encoding: {encoding}"]
    named = [*headers, *part.get("headers", [])] if kind else part.get("headers", [])
    return "".join(f"{header}\n" for header in named).encode() + b"\n" + data


def _flowed(body: str, *, delete_space: bool) -> str:
    """Break long lines softly. Source: RFC 3676 section 4."""
    found: list[str] = []
    for line in body.split("\n"):
        content = line.lstrip(">")
        mark = line[: len(line) - len(content)]
        content = content.removeprefix(" ") if mark else content
        lead = f"{mark} " if mark else " " if content.startswith((" ", ">", "From ")) else ""
        fixed = content if content == "-- " else content.rstrip(" ")
        pieces = _pieces(fixed, 70 - len(lead), delete_space=delete_space)
        found += [lead + piece for piece in pieces] if fixed or not mark else [mark]
    return "\n".join(found)


def _pieces(line: str, width: int, *, delete_space: bool) -> Iterator[str]:
    while len(line) > width:
        cut = width if delete_space else (line.rfind(" ", 0, width) + 1 or width)
        if not delete_space and line[cut - 1] != " ":
            break
        yield line[:cut] + (" " if delete_space else "")
        line = line[cut:]
    yield line


def _joined(tree: Any, parts: Sequence[bytes], *, depth: int) -> bytes:
    """Return parts within multiparts: a number is a part, a list is a type and what it holds."""
    if isinstance(tree, int):
        return parts[tree]
    kind, *inner = tree
    boundary = f"--=_part_{depth}_{len(inner)}.{kind[:4]}"
    body = b"".join(
        f"--{boundary}\n".encode() + _joined(one, parts, depth=depth + 1) + b"\n" for one in inner
    )
    head = f'Content-Type: multipart/{kind}; boundary="{boundary}"\n\n'
    return head.encode() + body + f"--{boundary}--\n".encode()


def shapes(folder: str) -> list[Shape]:
    """Return the shapes of a folder."""
    return [Shape(path) for path in sorted((REPLIES / folder).glob("*.toml"))]


TUNED: Final = shapes("tuned")
HELD_OUT: Final = shapes("held_out")
UNSEEN: Final = shapes("unseen")
SEALED: Final = shapes("sealed")
BLIND: Final = shapes("blind")
LAST: Final = shapes("last")
PROOF: Final = shapes("proof")
"""The shapes of other people's closings: what is left of them is doubted and becomes a comment."""
INDEPENDENT: Final = shapes("independent")
"""The shapes of somebody who had not seen the reading; greetings above the answer among them."""
SECOND_JURY: Final = shapes("second_jury")
"""The shapes of another one who had not; sentences of courtesy above signatures among them."""
THIRD_JURY: Final = shapes("third_jury")
"""The shapes of a third one, whose closings no list holds; room for an answer above them tells."""
FOURTH_JURY: Final = shapes("fourth_jury")
"""The everyday shapes of a fourth one; in some the empty line below is deleted with the words."""
FIFTH_JURY: Final = shapes("fifth_jury")
"""The everyday shapes of a fifth one; in half the empty line below is deleted with the words."""
SIXTH_JURY: Final = shapes("sixth_jury")
"""The everyday shapes of a sixth one; deleting takes all that was typed by hand, greetings too."""
SEVENTH_JURY: Final = shapes("seventh_jury")
"""The everyday shapes of a seventh one, who looked up how clients write."""
EIGHTH_JURY: Final = shapes("eighth_jury")
"""The everyday shapes of an eighth one: workshops, schools, clubs, town halls, freelancers."""
NINTH_JURY: Final = shapes("ninth_jury")
"""The everyday shapes of a ninth one: banks, publishers, hospitals, carriers, software firms."""
EVERY: Final = [*TUNED, *HELD_OUT, *UNSEEN, *SEALED, *BLIND, *LAST]
FROZEN: Final = {
    "held_out": "4f811ac9d15a9b45",
    "unseen": "5fef9c20cdb769b2",
    "sealed": "615f6f89033d419e",
    "blind": "08387c74a39a60b1",
    "last": "80a220bfe3fe9040",
    "proof": "6881dadbf8345942",
    "independent": "ff09510b5f05d4ae",
    "second_jury": "2914824142d0fe3f",
    "third_jury": "11dd07138416f09b",
    "fourth_jury": "29af2e952da7910c",
    "fifth_jury": "8b758914a852739c",
    "sixth_jury": "a3c7082fd1a8f56b",
    "seventh_jury": "da18b62b24a24418",
    "eighth_jury": "58cbdc9a14508f71",
    "ninth_jury": "beca53eba73d2df6",
}
MEASURED: Final = [
    *(HELD_OUT, UNSEEN, SEALED, BLIND, LAST),
    *(PROOF, INDEPENDENT, SECOND_JURY, THIRD_JURY, FOURTH_JURY, FIFTH_JURY, SIXTH_JURY),
    *(SEVENTH_JURY, EIGHTH_JURY, NINTH_JURY),
]
DOUBTED: Final = [*PROOF, *INDEPENDENT, *SECOND_JURY]
JURIES: Final = [
    *THIRD_JURY,
    *FOURTH_JURY,
    *FIFTH_JURY,
    *SIXTH_JURY,
    *SEVENTH_JURY,
    *EIGHTH_JURY,
    *NINTH_JURY,
]

THREE: Final = choices(["approved", "rejected", "needs_revision"])


class Labelled(Flow, name="replies.labelled"):
    """Three labels; other text is a comment."""

    @start()
    @human_feedback(
        message="Please review this copy before it goes out to all customers on Monday",
        emit=["approved", "rejected", "needs_revision"],
        assign_to_email=REVIEWER,
    )
    def draft(self) -> Proposal:
        return A_PROPOSAL


class Defaulted(Flow, name="replies.defaulted"):
    """Three labels; other text asks for a revision."""

    @start()
    @human_feedback(
        message="Please review this copy before it goes out to all customers on Monday",
        emit=["approved", "rejected", "needs_revision"],
        default_outcome="needs_revision",
        assign_to_email=REVIEWER,
    )
    def draft(self) -> Proposal:
        return A_PROPOSAL


class Free(Flow, name="replies.free"):
    """Any text is the answer."""

    @start()
    @human_feedback(message="What do you think of this copy?", assign_to_email=REVIEWER)
    def draft(self) -> Proposal:
        return A_PROPOSAL


A_PROPOSAL: Final = Proposal(
    {
        "title": "Spring sale",
        "body": "Spring is here, and so is our new line of garden chairs. Order before Friday and "
        "get ten per cent off.\napproved by legal\nApproved",
        "price": 12,
    },
    summary="A short text. Approved",
    rationale="It sold well",
    evidence=[Evidence(label="Budget", value="approved", tone="red")],
)


class Mailbox(MemoryMail):
    """Remembers what it was given to send."""

    outgoing: Outgoing

    @override
    async def send(self, outgoing: Outgoing) -> str:
        """Send, and remember."""
        self.outgoing = outgoing
        return await super().send(outgoing)


@asynccontextmanager
async def serving() -> AsyncIterator[tuple[Client, Mailbox]]:
    """Yield a client and its mailbox."""
    mail = Mailbox()
    async with Client(notifiers=[mail], inbox=mail, clock=ManualClock()) as client:
        yield client, mail


@dataclass(frozen=True)
class Question:
    """A mail that asks, and what is known of it when a reply is read."""

    asked: EmailMessage
    sent: SentContext

    def heard(self, shape: Shape, words: str) -> Reply:
        """Return what is read of a reply."""
        mail = parse(shape.raw(self.asked, words))
        assert automatic(mail) is None
        assert mail.sender == REVIEWER
        assert tokens_in(mail.headers)
        return extract(mail.text, sent=self.sent, rich=mail.rich, author=mail.author)


@pytest.fixture(scope="module", name="question")
def _question() -> Question:
    async def ask() -> Question:
        async with serving() as (client, mail):
            await client.flows.start(Labelled, requester="agent-7")
            await client.drain()
            asked, who = mail.sent[-1], mail.correspondence
            return Question(
                asked,
                SentContext(
                    from_address=who.sender,
                    reply_to=str(asked["Reply-To"]),
                    display_name=who.sender_name,
                    lines=sent_text(mail.outgoing),
                ),
            )

    return anyio.run(ask)


def by_folder(shapes: Sequence[Shape]) -> Mapping[str, list[Shape]]:
    """Return shapes by the folder that holds them: a test reads a folder, and names what is wrong."""
    found: dict[str, list[Shape]] = defaultdict(list)
    for shape in shapes:
        found[shape.path.parent.name].append(shape)
    return found


def one_of_each_build(shapes: Sequence[Shape]) -> list[Shape]:
    """Return shapes whose mails are put together in all the ways there are, each way once."""
    return list({shape.build: shape for shape in shapes}.values())


def test_there_are_enough_shapes_and_a_third_of_them_was_held_out() -> None:
    """Requirement 12: 200 shapes, ten languages, the clients that people use."""
    clients = " ".join(str(shape.data["client"]) for shape in EVERY)
    families = ("Gmail", "Outlook", "Exchange", "Apple Mail", "iOS", "Thunderbird", "Yahoo")

    assert len(EVERY) >= 200
    assert 3 * sum(map(len, MEASURED)) >= len(EVERY)
    assert len({shape.data["language"] for shape in TUNED}) >= 10
    assert {"en", "de", "fr", "es", "it", "pt", "nl", "pl", "ja", "zh"} <= {
        shape.data["language"] for shape in HELD_OUT
    }
    assert [family for family in families if family not in clients] == []


@pytest.mark.parametrize("folder", FROZEN)
def test_the_held_out_shapes_are_those_of_the_first_score(folder: str) -> None:
    """Requirement 12: nobody changed them since they were written."""
    content = "".join(shape.path.name + shape.path.read_text("utf-8") for shape in shapes(folder))

    assert hashlib.sha256(content.encode()).hexdigest()[:16] == FROZEN[folder]


def test_what_the_reviewer_wrote_is_found(question: Question) -> None:
    """Requirement 12: the first line is right, and every line after it is there in its order."""
    wrong: dict[str, Reply] = {}
    for shape in TUNED:
        heard = question.heard(shape, shape.words)
        remaining = iter(line.strip() for line in heard.lines)
        in_order = all(line in remaining for line in shape.words.split("\n"))
        if heard.first.strip() != shape.first or not in_order:
            wrong[shape.name] = heard

    assert wrong == {}


@pytest.mark.parametrize("held_out", MEASURED, ids=FROZEN)
def test_the_first_line_is_right_in_ninety_seven_of_a_hundred_held_out_shapes(
    question: Question, held_out: list[Shape]
) -> None:
    """Requirement 12: measured on mails that nothing was tuned on."""
    wrong = [
        shape.name
        for shape in held_out
        if question.heard(shape, shape.words).first.strip() != shape.first
    ]

    assert len(wrong) <= 0.03 * len(held_out), wrong


@pytest.mark.parametrize("folder", by_folder([*EVERY, *DOUBTED, *JURIES]))
def test_approved_is_read_as_approved(question: Question, folder: str) -> None:
    """Requirement 12: the reply replaced by the label, in every shape."""
    wrong: dict[str, Reply] = {}
    for shape in shapes(folder):
        heard = question.heard(shape, "Approved")
        answer = read_answer(heard.first, heard.rest, THREE, risk="high")
        if heard.first.strip() != "Approved" or answer.outcome != "approved":
            wrong[shape.name] = heard

    assert wrong == {}


@pytest.mark.parametrize("folder", by_folder(EVERY))
def test_a_reply_in_which_nothing_was_written_holds_nothing(
    question: Question, folder: str
) -> None:
    """Requirement 12: the reply deleted, in every shape: not one line of ours, or of a client."""
    heard = {shape.name: question.heard(shape, "") for shape in shapes(folder)}

    assert {name: reply for name, reply in heard.items() if reply != Reply(())} == {}


@pytest.mark.parametrize("folder", by_folder(DOUBTED))
def test_what_is_left_of_a_deleted_reply_with_an_unknown_closing_is_doubted(
    question: Question, folder: str
) -> None:
    """Requirement 12: it names no choice, so it decides nothing."""
    wrong: dict[str, Reply] = {}
    for shape in shapes(folder):
        heard = question.heard(shape, "")
        answer = read_answer(heard.first, heard.rest, THREE, risk="medium")
        doubted = heard.doubtful or heard == Reply(())
        if not doubted or answer.kind not in {"comment", "blank"}:
            wrong[shape.name] = heard

    assert wrong == {}


@pytest.mark.parametrize("folder", by_folder(JURIES))
def test_of_the_juries_deleted_replies_none_decides(question: Question, folder: str) -> None:
    """Requirement 12: what stands below the room for an answer was there before."""
    left = {shape.name: question.heard(shape, "") for shape in shapes(folder)}

    assert [name for name, heard in left.items() if heard.lines and not heard.doubtful] == []


@pytest.mark.parametrize("folder", by_folder([*EVERY, *DOUBTED, *JURIES]))
def test_of_a_hundred_answers_two_are_doubted_at_the_most(question: Question, folder: str) -> None:
    """Requirement 12: whoever is doubted has to answer again."""
    written = shapes(folder)
    doubted = [shape.name for shape in written if question.heard(shape, shape.words).doubtful]

    assert len(doubted) <= 0.02 * len(written), doubted


@pytest.mark.parametrize("folder", by_folder([*EVERY, *DOUBTED, *JURIES]))
def test_no_answer_is_doubted_for_the_room_above_it(question: Question, folder: str) -> None:
    """Requirement 12: no client leaves any above what somebody wrote."""
    doubted = [shape.name for shape in shapes(folder) if question.heard(shape, shape.words).set_off]

    assert doubted == []


async def after_deleted_replies(flow: type[Flow], shapes: Sequence[Shape]) -> Request:
    """Return the question once a reply of each build came back with what was written deleted."""
    async with serving() as (client, mail):
        await client.flows.start(flow, requester="agent-7")
        await client.drain()
        asked, replies = mail.sent[-1], one_of_each_build(shapes)
        for shape in replies:
            mail.receive(shape.raw(asked, ""))
        await client.drain()

        [request] = await client.hitl.list_requests()
        assert len(mail.put_away) == len(replies)
        return request


@pytest.mark.parametrize("flow", [Labelled, Defaulted, Free])
async def test_deleted_replies_with_unknown_closings_decide_nothing(flow: type[Flow]) -> None:
    """Requirement 12, by the whole way: what is doubted is a comment at the most."""
    request = await after_deleted_replies(flow, DOUBTED)

    assert (request.status, request.decisions) == ("pending", ())


@pytest.mark.parametrize("flow", [Labelled, Defaulted, Free])
async def test_replies_in_which_nothing_was_written_decide_nothing(flow: type[Flow]) -> None:
    """Requirement 12, by the whole way: also where text has a default outcome, or is the answer."""
    request = await after_deleted_replies(flow, EVERY)

    assert (request.status, request.decisions, request.comments) == ("pending", (), ())


@pytest.mark.parametrize("flow", [Defaulted, Free])
async def test_deleted_replies_below_room_for_an_answer_decide_nothing(flow: type[Flow]) -> None:
    """Requirement 12, by the whole way: a request for each build, as reviewers have one phone."""
    replies = [reply for batch in by_folder(JURIES).values() for reply in one_of_each_build(batch)]
    async with serving() as (client, mail):
        for _ in replies:
            await client.flows.start(flow, requester="agent-7")
        await client.drain()
        for number, (shape, asked) in enumerate(zip(replies, list(mail.sent), strict=True)):
            mail.receive(shape.raw(asked, "", number=number))
        await client.drain()

        assert len(mail.put_away) == len(replies)
        assert (await client.hitl.get_stats()).pending == len(replies)


@pytest.mark.parametrize("held_out", MEASURED, ids=FROZEN)
async def test_held_out_replies_approve_by_the_whole_way(held_out: list[Shape]) -> None:
    """Requirement 12: a request for each build of held-out mails, and `Approved` in each reply."""
    replies = one_of_each_build(held_out)
    async with serving() as (client, mail):
        for _ in replies:
            await client.flows.start(Labelled, requester="agent-7")
        await client.drain()
        for number, (shape, asked) in enumerate(zip(replies, list(mail.sent), strict=True)):
            mail.receive(shape.raw(asked, "Approved", number=number))
        await client.drain()

        assert (await client.hitl.get_stats()).approved == len(replies)
