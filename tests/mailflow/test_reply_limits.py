"""Replies under odd conditions: forged, repeated, too late, too long, or by several at once."""

from __future__ import annotations

import logging
import re
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, closing
from datetime import timedelta
from email.message import EmailMessage
from pathlib import Path

import pytest
from typing_extensions import override

from signoff import Client, Flow, HumanFeedbackResult, human_feedback, listen, start
from signoff.desk import TRIES
from signoff.errors import InboxError
from signoff.model.changes import Changes
from signoff.model.request import Request
from signoff.model.token import TokenRow
from signoff.outbox import token_text
from signoff.replies import ANSWERS_PER_REQUEST
from signoff.rules.digest import digest
from signoff.security.keyring import Keyring
from signoff.security.request_seals import with_core_seal
from signoff.stores import MemoryStore, SQLiteStore
from signoff.testing import ManualClock, MemoryMail

REVIEWER = "brand@acme.example"
SERVER = "mx.acme.example"
PASSED = f"{SERVER}; dmarc=pass header.from=acme.example"


class Review(Flow, name="limits.review"):
    """One gate with two labels."""

    @start()
    @human_feedback(message="Publish?", emit=["approved", "rejected"], assign_to_email=REVIEWER)
    def draft(self) -> str:
        """Return what is asked about."""
        return "Spring sale"

    @listen("approved")
    def publish(self, result: HumanFeedbackResult) -> str:
        """Return what was said."""
        return f"published: {result.feedback}"


class Revisable(Flow, name="limits.revisable"):
    """Other text asks for a revision."""

    @start()
    @human_feedback(
        message="Publish?",
        emit=["approved", "rejected", "needs_revision"],
        default_outcome="needs_revision",
        assign_to_email=REVIEWER,
    )
    def draft(self) -> str:
        """Return what is asked about."""
        return "Spring sale"


class Free(Flow, name="limits.free"):
    """Any text is the answer."""

    @start()
    @human_feedback(message="What do you think?", assign_to_email=REVIEWER)
    def draft(self) -> str:
        """Return what is asked about."""
        return "Spring sale"

    @listen(draft)
    def after(self, result: HumanFeedbackResult) -> str:
        """Return what was said."""
        return result.feedback


class Grave(Flow, name="limits.grave"):
    """High risk."""

    @start()
    @human_feedback(
        message="Publish?", emit=["approved", "rejected"], risk="high", assign_to_email=REVIEWER
    )
    def draft(self) -> str:
        """Return what is asked about."""
        return "Spring sale"


class Huge(Flow, name="limits.huge"):
    """High risk, and more than a mail shows."""

    @start()
    @human_feedback(
        message="Publish?", emit=["approved", "rejected"], risk="high", assign_to_email=REVIEWER
    )
    def draft(self) -> str:
        """Return what is asked about."""
        return "Spring sale\n" * 10_000


class Meddled(MemoryStore):
    """A store in which something happens just before a reply is recorded, as often as was said."""

    def __init__(self) -> None:
        super().__init__()
        self.meddles: Callable[[], Awaitable[object]] | None = None
        self.times = 0
        self.poisoned: set[str] = set()

    @override
    async def commit(self, changes: Changes) -> None:
        if changes.handled and self.times and self.meddles is not None:
            self.times -= 1
            meddles, self.meddles = self.meddles, None
            await meddles()
            self.meddles = meddles
        await super().commit(changes)

    @override
    async def token(self, token_id: str) -> TokenRow | None:
        if token_id in self.poisoned:
            raise ZeroDivisionError("a slip that only this message meets")
        return await super().token(token_id)


class Desk:
    """A client, its mailbox, and what a reviewer does with it."""

    def __init__(self, client: Client, mail: MemoryMail, clock: ManualClock) -> None:
        self.client, self.mail, self.clock = client, mail, clock

    async def ask(self, flow: type[Flow] = Review) -> EmailMessage:
        """Start a flow, and return the mail that asks."""
        await self.client.flows.start(flow, requester="agent-7")
        await self.client.drain()
        return self.mail.sent[-1]

    async def now(self) -> Request:
        """Let the client work, and return the newest request."""
        await self.client.drain()
        return (await self.client.hitl.list_requests(newest_first=True))[0]

    @property
    def refusals(self) -> list[str]:
        """The explanations that were sent, as text."""
        texts = [text_of(mail) for mail in self.mail.sent]
        return [text for text in texts if "Your reply decided nothing" in text]


def text_of(mail: EmailMessage) -> str:
    """Return the plain text of a mail, on one line."""
    body = mail.get_body(("plain",))
    assert body is not None
    return " ".join(str(body.get_content()).split())


@asynccontextmanager
async def a_desk(
    *, trusted: bool = False, mail: MemoryMail | None = None, store: MemoryStore | None = None
) -> AsyncIterator[Desk]:
    """Open a client over a mailbox in memory."""
    mail = mail or MemoryMail(trusted_server=SERVER if trusted else None)
    mail.vouches = False
    clock = ManualClock()
    async with Client(store, notifiers=[mail], inbox=mail, clock=clock) as client:
        yield Desk(client, mail, clock)


@pytest.fixture(name="store")
def _store() -> Meddled:
    return Meddled()


@pytest.fixture(name="desk")
async def _desk(store: Meddled) -> AsyncIterator[Desk]:
    async with a_desk(store=store) as desk:
        yield desk


@pytest.fixture(name="vouched")
async def _vouched() -> AsyncIterator[Desk]:
    async with a_desk(trusted=True) as desk:
        yield desk


# What the text decides.


async def test_other_text_takes_the_default_outcome(desk: Desk) -> None:
    """With all of the text as the feedback."""
    asked = await desk.ask(Revisable)
    desk.mail.reply(asked, "The price is wrong.\nAnd the date.")
    request = await desk.now()

    assert (request.status, request.outcome) == ("answered", "needs_revision")
    assert request.feedback == "The price is wrong.\nAnd the date."
    assert desk.refusals == []


async def test_where_there_are_no_labels_any_text_is_the_answer(desk: Desk) -> None:
    """But for none at all."""
    asked = await desk.ask(Free)
    desk.mail.reply(asked, "  ")
    assert (await desk.now()).status == "pending"
    assert "No text of yours" in desk.refusals[0]

    desk.mail.reply(asked, "approved\nand rejected, in a way")
    request = await desk.now()

    assert (request.status, request.outcome) == ("answered", None)
    run = await desk.client.flows.get(request.run_id)
    assert run.output == "approved\nand rejected, in a way"


@pytest.mark.parametrize(
    "text", ["approved\nrejected", "approved or rejected?", "approved/rejected"]
)
async def test_two_outcomes_are_none(desk: Desk, text: str) -> None:
    """Nothing is guessed; the reviewer is asked again."""
    asked = await desk.ask()
    desk.mail.reply(asked, text)
    request = await desk.now()

    assert (request.status, request.decisions) == ("pending", ())
    assert len(desk.refusals) == 1


async def test_a_huge_payload_at_high_risk_takes_the_code_from_its_attachment(
    vouched: Desk,
) -> None:
    """Whoever did not open it does not have the code."""
    asked = await vouched.ask(Huge)
    (attachment,) = asked.iter_attachments()
    code = re.findall(r"\b[a-z2-7]{6}\b", str(attachment.get_content()).strip().splitlines()[-1])[
        -1
    ]
    assert code not in text_of(asked)

    for text in ("approved", "approved\nCode: zzzzzz", f"approved\n{code}x"):
        vouched.mail.reply(asked, text, headers={"Authentication-Results": PASSED})
        assert (await vouched.now()).status == "pending"
    assert len(vouched.refusals) == 1
    assert "code" in vouched.refusals[0]

    vouched.mail.reply(
        asked, f"approved\nCode: {code.upper()}", headers={"Authentication-Results": PASSED}
    )
    assert (await vouched.now()).status == "approved"


async def test_a_request_of_high_risk_is_not_decided_on_token_and_sender_alone(
    desk: Desk,
) -> None:
    """The mail said so before; the reply is told so again."""
    asked = await desk.ask(Grave)
    assert "A mail may not decide this request of high risk" in text_of(asked)
    asked["Reply-To"] = await address_of(desk, (await desk.now()).request_id)
    desk.mail.reply(asked, "approved")

    assert (await desk.now()).status == "pending"
    assert "does not prove well enough" in desk.refusals[0]


async def address_of(desk: Desk, request_id: str) -> str:
    """Return a genuine reply address, as of an older mail or another client's."""
    (row,) = await desk.client._store.tokens(request_id)
    token = token_text(desk.client._machinery.hitl._at.keyring, row)
    return f"approvals+{token}@signoff.example"


# Who hears what.


async def test_no_more_than_so_many_explanations_are_sent(vouched: Desk) -> None:
    """However many different slips there are; and each slip is explained once."""
    asked = await vouched.ask(Grave)
    passed = {"Authentication-Results": PASSED}
    slips: list[tuple[str, str | None, dict[str, str]]] = [
        ("approved", None, {}),
        ("approved", "mallory@evil.example", {}),
        ("", None, passed),
        ("approved\nrejected", None, passed),
        ("what?", None, passed),
        ("approved. Nice!", None, passed),
    ]
    for _ in range(2):
        for text, sender, headers in slips:
            vouched.mail.reply(asked, text, sender=sender, headers=headers)
            await vouched.now()

    assert len(slips) > ANSWERS_PER_REQUEST
    assert len(vouched.refusals) == ANSWERS_PER_REQUEST
    assert len(set(vouched.refusals)) == ANSWERS_PER_REQUEST
    assert {str(mail["To"]) for mail in vouched.mail.sent} == {REVIEWER}


async def test_a_mail_from_our_own_address_is_not_answered(desk: Desk) -> None:
    """Else two systems would thank each other for ever."""
    asked = await desk.ask()
    for sender in ("approvals@signoff.example", str(asked["Reply-To"])):
        desk.mail.reply(asked, "approved", sender=sender)
    request = await desk.now()

    assert request.status == "pending"
    assert len(desk.mail.sent) == 1
    assert desk.mail.put_away == ["1", "2"]


async def test_the_former_assignee_learns_that_somebody_else_is_asked(desk: Desk) -> None:
    """Their token is void; the new assignee's decides."""
    asked = await desk.ask()
    request = await desk.now()
    await desk.client.hitl.reassign(request_id=request.request_id, assignees=["boss@acme.example"])
    await desk.client.drain()
    anew = desk.mail.sent[-1]
    assert (str(anew["To"]), anew["Reply-To"] == asked["Reply-To"]) == ("boss@acme.example", False)

    desk.mail.reply(asked, "rejected", sender=REVIEWER)
    assert (await desk.now()).status == "pending"
    assert "somebody else was asked instead" in desk.refusals[0]
    desk.mail.reply(anew, "approved")
    assert (await desk.now()).decisions[0].reviewer == "boss@acme.example"


async def changed_payload(desk: Desk) -> None:
    """Change what is asked about, as an edit in between will do one day."""
    request = (await desk.client.hitl.list_requests(newest_first=True))[0]
    payload = '"Autumn sale"'
    changed = request.model_copy(
        update={
            "version": request.version + 1,
            "payload_json": payload,
            "payload_digest": digest(payload),
            "proposed_digest": digest(payload),
        }
    )
    keyring = desk.client._machinery.hitl._at.keyring
    await desk.client._store.commit(Changes(requests=(with_core_seal(keyring, changed),)))


async def test_a_reply_to_a_payload_that_was_changed_since_decides_nothing(desk: Desk) -> None:
    """What was shown is what is approved."""
    asked = await desk.ask()
    await changed_payload(desk)
    desk.mail.reply(asked, "approved")

    assert (await desk.now()).status == "pending"
    assert "was changed after the mail" in desk.refusals[0]


@pytest.mark.parametrize(
    ("meanwhile", "told"),
    [
        ("decided", "decided before"),
        ("cancelled", "cancelled before"),
        ("expired", "after the time"),
        ("reassigned", "may not decide"),
        ("changed", "was changed after the mail"),
    ],
)
async def test_a_reply_that_is_overtaken_while_it_is_handled_is_told_so(
    desk: Desk, store: Meddled, meanwhile: str, told: str
) -> None:
    """It was read while the request was pending, and written when it was not any more."""
    asked = await desk.ask()
    request = await desk.now()
    request_id, hitl = request.request_id, desk.client.hitl

    async def expire() -> None:
        desk.clock.advance(timedelta(days=7))

    store.meddles = {
        "decided": lambda: hitl.reject(request_id=request_id, reviewer=REVIEWER),
        "cancelled": lambda: hitl.cancel(request_id=request_id),
        "expired": expire,
        "reassigned": lambda: hitl.reassign(request_id=request_id, assignees=["boss@acme.example"]),
        "changed": lambda: changed_payload(desk),
    }[meanwhile]
    store.times = 1
    desk.mail.reply(asked, "approved")
    ended = await desk.now()

    assert ended.status != "approved"
    assert len(desk.refusals) == 1
    assert told in desk.refusals[0]
    assert desk.mail.put_away == ["1"]


# Messages that come again, or go wrong.


async def test_a_message_that_another_process_handles_at_the_same_time_is_handled_once(
    desk: Desk, store: Meddled
) -> None:
    """Two workers poll one mailbox; both have read the reply before either wrote."""
    asked = await desk.ask()
    desk.mail.reply(asked, "what is this?")
    store.meddles, store.times = desk.client.drain, 1
    request = await desk.now()

    assert len(request.comments) == 1
    assert len(desk.refusals) == 1
    assert set(desk.mail.put_away) == {"1"}


async def test_a_message_that_cannot_be_written_for_long_is_read_again(
    desk: Desk, store: Meddled
) -> None:
    """Others write the same request again and again; nothing of the reply is lost."""
    asked = await desk.ask()
    request = await desk.now()
    store.meddles = lambda: desk.client.hitl.comment(
        request_id=request.request_id, text="hm", author="me"
    )
    store.times = TRIES
    desk.mail.reply(asked, "approved")
    report = await desk.client.drain()
    assert "StaleWriteError" in report.errors["mail"]
    assert desk.mail.put_away == []

    assert (await desk.now()).status == "approved"


class Forgetful(MemoryMail):
    """A mailbox that loses its connection just before it is told what is done."""

    broken = True

    @override
    async def done(self, uids: Sequence[str]) -> None:
        if uids and self.broken:
            self.broken = False
            raise InboxError("the connection was lost")
        await super().done(uids)


async def test_a_crash_between_handling_and_marking_is_harmless() -> None:
    """The message is read again, and its key says that it was handled."""
    async with a_desk(mail=Forgetful()) as desk:
        asked = await desk.ask()
        desk.mail.reply(asked, "approved")
        report = await desk.client.drain()
        assert report.errors == {"mail": "InboxError: the connection was lost"}
        request = await desk.now()

    assert (request.status, len(request.decisions)) == ("approved", 1)
    assert desk.mail.put_away == ["1"]
    assert len(desk.mail.sent) == 2, "the question and one confirmation"


async def test_a_poisonous_message_is_set_aside_and_the_next_ones_are_read(
    desk: Desk, store: Meddled, caplog: pytest.LogCaptureFixture
) -> None:
    """After three tries; `health` shows it, and what came before it is not handled twice."""
    first, second, third = [await desk.ask() for _ in range(3)]
    page = await desk.client.hitl.list_requests()
    by_mail = {str(mail["Message-ID"]): mail for mail in (first, second, third)}
    assert len(by_mail) == 3
    (row,) = await store.tokens(_request_of(second, page).request_id)
    store.poisoned.add(row.token_id)
    desk.mail.reply(first, "what?")
    desk.mail.reply(second, "approved")
    desk.mail.reply(third, "approved")

    for _ in range(2):
        report = await desk.client.drain()
        assert "could not be handled; trying again" in report.errors["mail"]
        assert desk.mail.failed == []
    report = await desk.client.drain()

    assert (report.errors, desk.mail.failed) == ({}, ["2"])
    assert desk.mail.put_away == ["1", "3"]
    health = await desk.client.health()
    assert health.inbox is not None
    assert (health.inbox.set_aside, health.inbox.last_success) == (1, desk.clock.now())
    assert "a slip that only this message meets" in caplog.text
    ended = await desk.client.hitl.list_requests()
    assert sorted(request.status for request in ended) == ["approved", "pending", "pending"]
    assert len(desk.refusals) == 1


async def test_an_answer_to_a_request_that_is_gone_holds_up_no_other(tmp_path: Path) -> None:
    """One deleted row is a matter of that one request: its answer is put away for a person."""
    path, mail = tmp_path / "signoff.db", MemoryMail()
    async with Client(
        SQLiteStore(path), notifiers=[mail], inbox=mail, clock=ManualClock()
    ) as client:
        for _ in range(2):
            await client.flows.start(Review)
            await client.drain()
        requests = await client.hitl.list_requests()
        gone, other = [_request_of(asked, requests) for asked in mail.sent]
        with closing(sqlite3.connect(path)) as database, database:
            database.execute("DELETE FROM requests WHERE request_id = ?", [gone.request_id])
        for asked in list(mail.sent):
            mail.reply(asked, "approved")
        for _ in range(3):
            await client.drain()

        assert (await client.hitl.get_request(other.request_id)).status == "approved"
        assert (mail.failed, mail.put_away) == (["1"], ["2"])


def _request_of(mail: EmailMessage, page: Sequence[Request]) -> Request:
    return next(one for one in page if one.request_id in mail.as_string())


async def test_a_message_that_works_at_last_is_not_set_aside(desk: Desk, store: Meddled) -> None:
    """Twice it failed; that does not count against another one."""
    asked = await desk.ask()
    (row,) = await store.tokens((await desk.now()).request_id)
    store.poisoned.add(row.token_id)
    desk.mail.reply(asked, "approved")
    for _ in range(2):
        await desk.client.drain()
    store.poisoned.clear()

    assert (await desk.now()).status == "approved"
    assert (desk.mail.failed, desk.mail.put_away) == ([], ["1"])


async def test_what_a_mail_that_was_cut_says_at_its_end_is_not_believed(desk: Desk) -> None:
    """`approved` may have been `approved by nobody`; a whole line counts."""
    asked = await desk.ask()
    raw = desk.mail.reply(asked, "approved")
    desk.mail._incoming.clear()
    head, _, body = raw.partition(b"\n\n")
    for cut in (b"appro", b"approved"):
        again = head.replace(b"<answer-0", b"<cut-" + cut) + b"\n\n" + cut
        desk.mail.receive(again, cut=True)
        assert (await desk.now()).status == "pending"
    assert 'First line read: "appro [cut]"' in desk.refusals[0]

    desk.mail.receive(raw[:-10], cut=True)
    assert (await desk.now()).status == "approved"
    assert body.startswith(b"approved\n")


async def test_a_mail_that_another_client_sent_is_left_to_it() -> None:
    """Two applications share a mailbox and a store; each knows its own notifiers only."""
    store, mail = MemoryStore(), MemoryMail(name="ours")
    theirs = MemoryMail(name="theirs")
    async with (
        Client(store, notifiers=[mail], inbox=mail) as ours,
        Client(store, notifiers=[theirs], inbox=mail) as other,
    ):
        await ours.flows.start(Review)
        await ours.drain()
        mail.reply(mail.sent[0], "approved")
        assert (await other.drain()).received == 1
        assert mail.put_away == []
        inbox = (await other.health()).inbox
        assert inbox is not None
        assert inbox.ignored == {"not sent by this client": 1}
        (request,) = await other.hitl.list_requests()
        assert request.status == "pending"


@pytest.mark.parametrize("place", ["mac", "id", "both"])
async def test_a_forged_token_is_like_none(desk: Desk, place: str) -> None:
    """Whatever of it was made up; a genuine one beside it counts."""
    asked = await desk.ask()
    genuine = str(asked["Reply-To"]).partition("+")[2].partition("@")[0]
    forged = {
        "mac": genuine[:-1] + ("a" if genuine[-1] != "a" else "b"),
        "id": genuine[:10] + ("a" if genuine[10] != "a" else "b") + genuine[11:],
        "both": "a" * 48,
    }[place]
    del asked["Reply-To"]
    asked["Reply-To"] = f"approvals+{forged}@signoff.example"
    desk.mail.reply(asked, "approved")
    assert (await desk.now()).status == "pending"
    assert desk.mail.put_away == []

    desk.mail.reply(asked, "approved", headers={"Cc": f"approvals+{genuine}@signoff.example"})
    assert (await desk.now()).status == "approved"


async def test_a_reply_to_a_forged_request_decides_nothing(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    """It is set aside at once, its run is told, and log and health say so; repaired, it counts."""
    asked = await desk.ask()
    request = await desk.client._store.request((await desk.now()).request_id)
    forged = request.model_copy(update={"version": request.version + 1, "message": "Sell?"})
    await desk.client._store.commit(Changes(requests=(forged,)))
    raw = desk.mail.reply(asked, "approved")
    await desk.client.drain()

    assert (desk.mail.put_away, desk.mail.failed) == ([], ["1"])
    inbox = (await desk.client.health()).inbox
    assert inbox is not None
    assert inbox.set_aside == 1
    assert "a reply came to a request whose seal is invalid" in caplog.text
    run = await desk.client.flows.get(request.run_id)
    assert (run.status, run.blocked_reason) == ("blocked", "seal_invalid")

    repaired = request.model_copy(update={"version": request.version + 2})
    await desk.client._store.commit(Changes(requests=(repaired,)))
    desk.mail.receive(raw)

    assert (await desk.now()).status == "approved"
    assert (desk.mail.put_away, desk.mail.failed) == (["2"], ["1"])


async def test_a_confirmation_that_is_lost_with_the_process_comes_later(store: Meddled) -> None:
    """It is queued in the very commit of the decision."""
    keyring, mail = Keyring.generate(), MemoryMail()
    async with Client(store, notifiers=[mail], inbox=mail, keyring=keyring) as client:
        await client.flows.start(Review)
        await client.drain()
        mail.reply(mail.sent[0], "approved")
        poller = client._machinery.poller
        assert poller is not None
        await poller.poll()
        assert len(mail.sent) == 1

    async with Client(store, notifiers=[mail], inbox=mail, keyring=keyring) as client:
        await client.drain()
    assert "approved" in text_of(mail.sent[1])


async def test_no_token_is_in_any_log(caplog: pytest.LogCaptureFixture, store: Meddled) -> None:
    """At DEBUG, in whatever goes wrong or right."""
    caplog.set_level(logging.DEBUG)
    async with a_desk(store=store) as desk:
        asked = await desk.ask()
        token = str(asked["Reply-To"]).partition("+")[2].partition("@")[0]
        desk.mail.reply(asked, "what?")
        desk.mail.reply(asked, "approved", sender="mallory@evil.example")
        await desk.now()
        (row,) = await store.tokens((await desk.now()).request_id)
        store.poisoned.add(row.token_id)
        desk.mail.reply(asked, "approved")
        for _ in range(3):
            await desk.client.drain()
        store.poisoned.clear()
        desk.mail.reply(asked, "approved")
        desk.mail.reply(asked, "rejected")
        assert (await desk.now()).status == "approved"

    logged = (
        caplog.text.lower() + " ".join(str(record.__dict__) for record in caplog.records).lower()
    )
    assert len(token) == 48
    assert token.lower() not in logged
    assert "spring sale" not in logged


async def test_more_than_a_batch_of_mail_is_read_in_one_poll() -> None:
    """And the mark stands behind all of it."""
    async with a_desk() as desk:
        asked = await desk.ask()
        for number in range(120):
            desk.mail.receive(b"From: ann@acme.example\n\nnewsletter %d\n" % number)
        desk.mail.reply(asked, "approved")
        report = await desk.client.drain()
        assert report.received == 121
        assert await desk.client._store.mark("mail") == "121"
        assert (await desk.now()).status == "approved"
        assert (await desk.client.drain()).received == 0
