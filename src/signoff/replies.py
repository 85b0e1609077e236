"""
A reply becomes one desk command, or a comment, or an explanation, or nothing (floor 5).

The token says which request and which recipient; From has to be that recipient, and a trusted
server has to vouch for it where one is configured. Only then is the text read. Each message is
handled once: its key is part of the commit that deals with it.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from signoff.codec import Codec
from signoff.correlation import Correlator, vouched
from signoff.desk import Desk, Via
from signoff.errors import (
    AlreadyDecidedError,
    DecisionError,
    NotAllowedError,
    RequestCancelledError,
    RequestExpiredError,
    StaleWriteError,
)
from signoff.mail.address import is_addressed, is_same, reply_address
from signoff.mail.bounces import read_bounce
from signoff.mail.editing import MailedEdit, edit_in
from signoff.mail.incoming import IncomingMail, automatic, parse
from signoff.mail.payload import reply_code
from signoff.mail.refusals import Refusal, refusal_note
from signoff.mail.reply import Reply, SentContext, extract
from signoff.mail.sent import sent_text
from signoff.model.decision import Proof
from signoff.model.delivery import Delivery
from signoff.model.request import Request
from signoff.model.token import TokenRow
from signoff.model.values import Tree
from signoff.outbox import Bounces, earlier_refusals, token_text
from signoff.ports import Correspondence, Corresponds, Inbox, Incoming, Notifier, Outgoing, Store
from signoff.rules.authority import highest_risk, reaches
from signoff.rules.lifecycle import Notice, Remark, Respond, ensure_open
from signoff.rules.outcomes import Answer, read_answer
from signoff.security.keyring import Keyring

_log = logging.getLogger("signoff.replies")

ANSWERS_PER_REQUEST: Final = 5
"""How many explanations one request sends at the most, so that loops end."""


COMMENTS_PER_REQUEST: Final = 50
"""How many texts that decide nothing a request keeps of replies, so that a loop fills no store."""

_ENDS_SENTENCE: Final = (".", "!", "\u3002", "\uff01")


@dataclass(frozen=True, slots=True, kw_only=True)
class Traced:
    """
    An incoming message, and what it is about.

    Attributes:
        message: As it came in.
        mail: What was read of it.
        key: What tells that it was handled.
        row: The token that it answers to, if it has a genuine one.
        delivery: The delivery that it came back of, if it did.
    """

    message: Incoming
    mail: IncomingMail = field(repr=False)
    key: str
    row: TokenRow | None
    delivery: Delivery | None

    @property
    def request_id(self) -> str:
        """The request that it is about; empty if it is about none."""
        about = self.row or self.delivery
        return about.request_id if about else ""


@dataclass(frozen=True, slots=True)
class _Sent:
    """The delivery that a token went out with, the token, and how its notifier writes."""

    delivery: Delivery
    writer: Correspondence
    token: str = field(repr=False)


class Replies:
    """
    Reads incoming mail.

    Attributes:
        ignored: How many messages had no valid token, or came from a machine; only counted.
    """

    def __init__(
        self,
        desk: Desk,
        *,
        store: Store,
        keyring: Keyring,
        notifiers: Mapping[str, Notifier],
        bounces: Bounces,
        codec: Codec,
    ) -> None:
        self._desk = desk
        self._codec = codec
        self._store = store
        self._keyring = keyring
        self._bounces = bounces
        self._correlator = Correlator(store, keyring)
        self._writers = {
            name: notifier.correspondence
            for name, notifier in notifiers.items()
            if isinstance(notifier, Corresponds)
        }
        self.ignored: Counter[str] = Counter()

    async def trace(self, message: Incoming, inbox: Inbox) -> Traced:
        """
        Return what one message is about. Reads only, and is true for as long as nothing is handled.

        Raises:
            StoreError: The store failed.
        """
        mail = parse(message.raw, complete=not message.cut)
        row = await self._correlator.by_address(mail)
        delivery = None if row else await self._bounces.delivery_of(mail)
        if row is None and delivery is None:
            row = await self._by_thread(mail, inbox)
        key = f"{inbox.name}:{mail.key}"
        return Traced(message=message, mail=mail, key=key, row=row, delivery=delivery)

    async def handle(self, traced: Traced, inbox: Inbox) -> bool:
        """
        Deal with one message, and say whether it was meant for Signoff.

        Idempotent by the message's id and sender: handling it again does nothing.

        Raises:
            SealInvalidError: The request that it answers is not what was sealed; nothing was
                recorded, and once the request is repaired the message counts.
            StoreError: The store failed; nothing was recorded, handle it again.
        """
        mail, row, key = traced.mail, traced.row, traced.key
        if traced.delivery is not None:
            return await self._take_back(traced.delivery, traced)
        if row is None:
            self.ignored["no token"] += 1
            return False
        sent = await self._sent(row)
        if sent is None:
            self.ignored["not sent by this client"] += 1
            return False
        if await self._store.was_handled(key):
            return True
        try:
            await self._answer(mail, row, sent, key=key, inbox=inbox)
        except StaleWriteError as stale:
            if stale.record_id != key:
                raise
        return True

    async def _by_thread(self, mail: IncomingMail, inbox: Inbox) -> TokenRow | None:
        """Return the row of the token that a mail without one answers to; machines have none."""
        if self._why_automatic(mail) is not None:
            return None
        return await self._correlator.by_thread(mail, inbox)

    async def _take_back(self, delivery: Delivery, traced: Traced) -> bool:
        """Record what came back of a delivery; whatever else came to its address is ignored."""
        if delivery.notifier not in self._writers:
            self.ignored["not sent by this client"] += 1
            return False
        message, key = traced.message, traced.key
        bounce = read_bounce(message.raw, complete=not message.cut)
        if bounce is None:
            self.ignored["to a bounce address"] += 1
        elif not await self._store.was_handled(key):
            await self._bounces.record(delivery, bounce, key=key)
        return True

    async def _answer(
        self, mail: IncomingMail, row: TokenRow, sent: _Sent, *, key: str, inbox: Inbox
    ) -> None:
        request = await self._desk.load(row.request_id)
        machine = self._why_automatic(mail)
        if machine is not None:
            self.ignored[machine] += 1
            await self._desk.tell(request, via=Via(handled=key))
            return
        refusal = self._why_not(mail, row, request, sent, inbox=inbox) or await self._why_late(
            request
        )
        if refusal is not None:
            await self._refuse(request, row, key=key, note=refusal)
            return
        reply = await self._read(mail, request, sent)
        await self._act(reply, row, request, key=key, proof=_proof(inbox))

    def _why_automatic(self, mail: IncomingMail) -> str | None:
        reasons = (
            automatic(mail, own=(writer.sender, writer.reply_to), separator=writer.separator)
            for writer in self._writers.values()
        )
        return next((reason for reason in reasons if reason is not None), None)

    def _why_not(
        self, mail: IncomingMail, row: TokenRow, request: Request, sent: _Sent, *, inbox: Inbox
    ) -> Mapping[str, Tree] | None:
        """Return why this sender's mail is not read, as the note of an explanation."""
        if not is_same(mail.sender, row.recipient):
            return refusal_note("sender")
        if inbox.trusted_server is not None:
            why = vouched(mail, inbox) or _why_misdirected(mail, sent)
            if why:
                return refusal_note("strength", detail=why)
        if request.status == "pending" and (row.used_at or row.revoked_at):
            return refusal_note("not_allowed", detail="somebody else was asked instead")
        if request.status == "pending" and row.payload_digest != request.payload_digest:
            return refusal_note("changed")
        return None

    async def _why_late(self, request: Request) -> Mapping[str, Tree] | None:
        try:
            ensure_open(request, await self._store.now())
        except DecisionError as error:
            return refusal_note(_reason_of(error))
        return None

    async def _read(self, mail: IncomingMail, request: Request, sent: _Sent) -> Reply:
        writer = sent.writer
        reply_to = reply_address(writer.reply_to, sent.token, separator=writer.separator)
        outgoing = Outgoing(
            delivery=sent.delivery,
            request=request,
            token=sent.token,
            earlier=await earlier_refusals(self._desk, self._store, request),
        )
        return extract(
            mail.text,
            sent=SentContext(
                from_address=writer.sender,
                reply_to=reply_to,
                display_name=writer.sender_name,
                lines=sent_text(outgoing),
            ),
            rich=mail.rich,
            author=mail.author,
        )

    async def _sent(self, row: TokenRow) -> _Sent | None:
        """Return what a token was sent with, if one of this client's notifiers sent it."""
        for delivery in await self._store.deliveries(row.request_id):
            writer = self._writers.get(delivery.notifier)
            if delivery.token_id == row.token_id and writer is not None:
                return _Sent(delivery, writer, token_text(self._keyring, row))
        return None

    async def _act(
        self, reply: Reply, row: TokenRow, request: Request, *, key: str, proof: Proof
    ) -> None:
        edit = edit_in(reply, request, self._codec)
        answer = edit.answer if edit else _answer_in(reply, request)
        if _is_said_anew(reply, request, row.recipient):
            reply = replace(reply, doubtful=False)
        refusal = _why_undecided(reply, answer, request, proof)
        if edit and edit.why and refusal is None:
            note = refusal_note("edit", line=reply.first, detail=edit.why)
            await self._refuse(request, row, key=key, note=note)
            return
        if refusal is None:
            await self._decide(reply, answer, row, request, key=key, proof=proof, edit=edit)
        elif (
            refusal in {"unknown", "not_alone", "doubtful"}
            and len(request.comments) < COMMENTS_PER_REQUEST
        ):
            notices = await self._explanation(request, row, refusal_note(refusal, line=reply.first))
            remark = Remark(author=row.recipient, text=answer.feedback, channel="email")
            via = Via(handled=key, notices=notices, request=request)
            await self._desk.do(request.request_id, remark, via=via)
        else:
            note = refusal_note(refusal, line=reply.first)
            await self._refuse(request, row, key=key, note=note)

    async def _decide(
        self,
        reply: Reply,
        answer: Answer,
        row: TokenRow,
        request: Request,
        *,
        key: str,
        proof: Proof,
        edit: MailedEdit | None,
    ) -> None:
        command = Respond(
            label=answer.outcome or "",
            feedback=answer.feedback,
            reviewer=row.recipient,
            channel="email",
            proof=proof,
            seen_digest=row.payload_digest,
            payload_json=edit.payload_json if edit else None,
            payload_digest=edit.payload_digest if edit else None,
        )
        note: dict[str, Tree] = {"line": reply.first}
        if edit:
            note["changes"] = edit.changes
        confirmation = Notice(kind="confirmation", recipient=row.recipient, note=note)
        via = Via(token_id=row.token_id, handled=key, notices=(confirmation,), request=request)
        try:
            await self._desk.do(request.request_id, command, via=via)
        except DecisionError as error:
            detail = error.reason if isinstance(error, NotAllowedError) else ""
            why = refusal_note(_reason_of(error), line=reply.first, detail=detail)
            newest = await self._desk.load(request.request_id)
            await self._refuse(newest, row, key=key, note=why)

    async def _refuse(
        self, request: Request, row: TokenRow, *, key: str, note: Mapping[str, Tree]
    ) -> None:
        notices = await self._explanation(request, row, note)
        await self._desk.tell(request, via=Via(handled=key, notices=notices))

    async def _explanation(
        self, request: Request, row: TokenRow, note: Mapping[str, Tree]
    ) -> tuple[Notice, ...]:
        """Return the explanation to the authorised reviewer, unless it was given before."""
        given = [
            one for one in await self._store.deliveries(request.request_id) if one.kind == "refusal"
        ]
        same = [
            one for one in given if (one.recipient, _gist(one.note)) == (row.recipient, _gist(note))
        ]
        if same or len(given) >= ANSWERS_PER_REQUEST:
            return ()
        return (Notice(kind="refusal", recipient=row.recipient, note=dict(note)),)


def _gist(note: Mapping[str, Tree]) -> tuple[Tree, Tree]:
    """Return what makes two explanations the same; each wrong edit has one of its own."""
    reason = note.get("reason")
    return reason, note.get("detail") if reason == "edit" else ""


def _why_misdirected(mail: IncomingMail, sent: _Sent) -> str:
    """Return why a genuine mail may have been written to somebody else; empty if it was not."""
    writer = sent.writer
    addressed = is_addressed(
        mail.headers,
        token=sent.token,
        own=(writer.sender, writer.reply_to),
        separator=writer.separator,
    )
    return "" if addressed else "it names the reply address neither in To nor in Cc"


def _proof(inbox: Inbox) -> Proof:
    return "sender" if inbox.trusted_server is None else "authenticated"


def _answer_in(reply: Reply, request: Request) -> Answer:
    answer = read_answer(
        reply.first,
        reply.rest,
        request.choices or None,
        risk=request.risk,
        default_outcome=request.default_outcome,
    )
    # A greeting may be part of what somebody wants to have written: only a label needs none.
    return answer if answer.kind in {"matched", "blank"} else replace(answer, feedback=reply.text)


def _why_undecided(reply: Reply, answer: Answer, request: Request, proof: Proof) -> Refusal | None:
    unread = _why_unread(reply, answer, request)
    if unread is not None:
        return unread
    if not reaches(request.risk, highest_risk("email", proof)):
        return "strength"
    code = reply_code(request)
    if code and code not in "\n".join(reply.lines).lower().split():
        return "code"
    return None


def _why_unread(reply: Reply, answer: Answer, request: Request) -> Refusal | None:
    """Return why the text itself decides nothing, if that is so."""
    match answer.kind:
        case "blank":
            return "empty"
        case "ambiguous":
            return "ambiguous"
        case "comment":
            return "not_alone" if _would_match_below(reply, request) else "unknown"
        case "default" | "free" if reply.doubtful:
            return "doubtful"
        case _:
            return None


def _is_said_anew(reply: Reply, request: Request, reviewer: str) -> bool:
    """
    Return whether a sentence below room for an answer is new above what stood there before.

    What a client puts below the room is the same in every mail, so it was written this time.
    """
    if not reply.set_off or not reply.first.endswith(_ENDS_SENTENCE):
        return False
    earlier = [one.text.split("\n") for one in request.comments if one.author == reviewer]
    ends_alike = any(lines[-1] == reply.lines[-1] for lines in earlier)
    return ends_alike and not any(reply.first in lines for lines in earlier)


def _would_match_below(reply: Reply, request: Request) -> bool:
    """Return whether the first line would be an answer if the request's risk were lower."""
    lower = read_answer(reply.first, "", request.choices, risk="medium")
    return lower.kind == "matched"


def _reason_of(error: DecisionError) -> Refusal:
    match error:
        case AlreadyDecidedError():
            return "decided"
        case RequestExpiredError():
            return "expired"
        case RequestCancelledError():
            return "cancelled"
        case NotAllowedError():
            return "not_allowed"
        case _:
            return "changed"
