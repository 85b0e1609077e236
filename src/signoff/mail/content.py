"""
What each kind of message says, as a page (floor 3).

The payload comes first, as we render it. What the agent says of it comes after all that
governs the request and stays in a section that says who wrote it, so that no wording of the
agent's can pass for a statement of ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from signoff.mail.blocks import ATTACHMENT, Block, fit, moment, name, short
from signoff.mail.editing import told
from signoff.mail.page import (
    Fact,
    Line,
    Page,
    Part,
    Said,
    Section,
    answers,
    lines_of,
)
from signoff.mail.payload import are_too_long, outline, payload_lines, reply_code, size_of
from signoff.mail.refusals import advice_for
from signoff.mail.supports import agent, evidence, history
from signoff.model.policy import Risk
from signoff.model.request import Request, RequestKind, Tone
from signoff.ports import Outgoing

_TITLE_LENGTH: Final = 100
_ASSIGNEES_LENGTH: Final = 2_000

# In bytes of HTML. With the payload's 60,000 and the frame around it they stay below the
# 100 kB at which mail clients cut.
_QUESTION_BYTES: Final = 3_000
_OUTLINE_BYTES: Final = 6_000
_FEEDBACK_BYTES: Final = 8_000

_HEADINGS: Final[dict[RequestKind, str]] = {
    "call": "Your approval is asked",
    "feedback": "Your review is asked",
    "in_doubt": "You are asked what happened",
    "question": "You are asked a question",
}
_RISK_TONES: Final[dict[Risk, Tone]] = {
    "low": "slate",
    "medium": "blue",
    "high": "amber",
    "critical": "red",
}
_STATUS_TONES: Final[dict[str, Tone]] = {"approved": "emerald", "rejected": "red"}
_HOW_SHOWN: Final = (
    Said("Shown by Signoff exactly as it is stored."),
    Said("In it | begins a line, |+ goes on with it, and |~ is a remark of ours.", only="text"),
)


def title_of(request: Request) -> str:
    """Return one line that names the request: the subject of its first mail."""
    return f"[Approval] {short(request.message, _TITLE_LENGTH)}"


def page_of(outgoing: Outgoing, *, how_to: Sequence[Part]) -> Page:
    """
    Return what a delivery says, cut to what a mail can hold; what was cut is in its `whole`.

    Args:
        outgoing: The delivery and its request.
        how_to: How the message is answered, where it asks for an answer.
    """
    match outgoing.delivery.kind:
        case "request":
            return _asks(outgoing, how_to)
        case "confirmation":
            return _confirms(outgoing)
        case "refusal":
            return _refuses(outgoing, how_to)
        case "cancelled":
            return _cancels(outgoing)
        case "undelivered":
            return _reports(outgoing)
        case _:
            return _expires(outgoing)


def wants_answer(outgoing: Outgoing) -> bool:
    """Return whether a delivery asks for an answer: the first time, or again after a refusal."""
    kind, status = outgoing.delivery.kind, outgoing.request.status
    return kind == "request" or (kind == "refusal" and status == "pending")


def whole_request(
    request: Request, *, how_to: Sequence[Part], earlier: Sequence[Request] = ()
) -> Page:
    """Return what a request says where nothing limits its length, as on a terminal."""
    blocks = _blocks(request, earlier)
    return _request_page(
        request,
        payload=_inline(request).whole(),
        rest=[block.whole() for block in blocks],
        how_to=how_to,
    )


def _asks(outgoing: Outgoing, how_to: Sequence[Part]) -> Page:
    request = outgoing.request
    inline = _inline(request)
    payload = _outlined(request) if are_too_long(inline.lines) else inline
    blocks = _blocks(request, outgoing.earlier)
    fitted, cut = fit(blocks)
    page = _request_page(request, payload=payload.fitted(), rest=fitted, how_to=how_to)
    if cut or payload.limit is not None:
        return replace(page, whole=_whole(request, blocks))
    return page


def _blocks(request: Request, earlier: Sequence[Request]) -> list[Block]:
    """Return what supports a request, the question first."""
    supports = (evidence(request), agent(request), history(earlier))
    return [_question(request), *(block for block in supports if block.lines)]


def _request_page(
    request: Request, *, payload: Section, rest: Sequence[Section], how_to: Sequence[Part]
) -> Page:
    question, *supports = rest
    return Page(
        title=title_of(request),
        heading=_HEADINGS[request.kind],
        summary=f"{_asked_by(request)}. Risk: {request.risk}. {_due(request)}.",
        head=(_asked_by(request), _risk(request), _due(request)),
        sections=(
            payload,
            question,
            _facts(request),
            *supports,
            Section("How to answer", tuple(how_to)),
            _reference(request),
        ),
        words=answers(request),
        tone=_RISK_TONES[request.risk],
    )


def _confirms(outgoing: Outgoing) -> Page:
    request, delivery = outgoing.request, outgoing.delivery
    end = request.resolution
    label, who, when, feedback = [
        ("", delivery.recipient, delivery.created_at, ""),
        *(
            (vote.label, vote.reviewer, vote.decided_at, vote.feedback)
            for vote in request.decisions
        ),
        *([(end.outcome, end.reviewer, end.resolved_at, end.feedback)] if end else []),
    ][-1]
    recorded = f"Recorded: {name(label) or 'the answer'}"
    by = Said(f"{recorded} - by {name(who)} at {moment(when)}.")
    closed = "The request is closed." if end else "The request still waits for others."
    words = Block(title="Feedback", lines=_texts(feedback), limit=_FEEDBACK_BYTES)
    changes = told(delivery.note.get("changes"))
    return _short_page(
        request,
        heading=recorded,
        first=Section("What was recorded", (by, *_first_line(outgoing), Said(closed))),
        blocks=[*(block for block in (changes, words) if block.lines), _question(request)],
        tone=_STATUS_TONES.get(request.status, "slate"),
    )


def _refuses(outgoing: Outgoing, how_to: Sequence[Part]) -> Page:
    request = outgoing.request
    advice = advice_for(_noted(outgoing, "reason"))
    detail = _noted(outgoing, "detail")
    why = advice.why.format(risk=request.risk)
    then = advice.then.format(risk=request.risk, recipient=name(outgoing.delivery.recipient))
    parts = [
        Said("Your reply decided nothing. " + why),
        *([Said(name(detail))] if detail else []),
        *_first_line(outgoing),
        *_ending(request),
        Said(then),
    ]
    again = (Section("How to answer", tuple(how_to)),) if wants_answer(outgoing) else ()
    return _short_page(
        request,
        heading="Your reply decided nothing",
        first=Section("Why, and what to do", tuple(parts)),
        blocks=[_question(request)],
        last=again,
        tone="amber",
    )


def _cancels(outgoing: Outgoing) -> Page:
    reason = name(_noted(outgoing, "reason"))
    said = "This request was cancelled" + (f" ({reason})." if reason else ".")
    return _short_page(
        outgoing.request,
        heading="A request was cancelled",
        first=Section("What happened", (Said(said), Said("No answer is needed any more."))),
        blocks=[_question(outgoing.request)],
    )


def _reports(outgoing: Outgoing) -> Page:
    request = outgoing.request
    said = [
        Said("A request waits, and none of the messages that ask for an answer arrived."),
        Said(f"Asked of: {short(', '.join(request.assignees), _ASSIGNEES_LENGTH)}"),
        Said("You cannot decide it by this message. Ask somebody else in the application."),
    ]
    if request.status != "pending":
        said.append(Said(f"By now the request is {request.status}."))
    return _short_page(
        request,
        heading="A request reached nobody",
        first=Section("What happened, and what to do", tuple(said)),
        blocks=[
            Block(
                title="What was reported",
                lines=_texts(_noted(outgoing, "reason")),
                limit=_FEEDBACK_BYTES,
            ),
            _question(request),
        ],
    )


def _expires(outgoing: Outgoing) -> Page:
    request = outgoing.request
    said = [Said("Nobody answered this request in time; an answer does not count any more.")]
    if request.expires_at is not None:
        said.append(Said(f"It expired at {moment(request.expires_at)}."))
    if request.outcome is not None:
        said.append(Said(f'It goes on as "{name(request.outcome)}".'))
    return _short_page(
        request,
        heading="A request has expired",
        first=Section("What happened", tuple(said)),
        blocks=[_question(request)],
    )


def _short_page(
    request: Request,
    *,
    heading: str,
    first: Section,
    blocks: Sequence[Block],
    last: tuple[Section, ...] = (),
    tone: Tone = "slate",
) -> Page:
    fitted, cut = fit(blocks)
    return Page(
        title=title_of(request),
        heading=heading,
        summary=heading,
        sections=(first, *fitted, *last, _reference(request)),
        words=answers(request),
        whole=tuple(block.whole() for block in blocks) if cut else (),
        tone=tone,
    )


def _inline(request: Request) -> Block:
    return Block(
        title="What it is about",
        lines=tuple(payload_lines(request)),
        limit=None,
        before=_HOW_SHOWN,
        look="rows",
    )


def _outlined(request: Request) -> Block:
    return Block(
        title="What it is about",
        lines=outline(request),
        limit=_OUTLINE_BYTES,
        before=(
            Said(f"It is too long for a mail. It is attached whole as {ATTACHMENT}."),
            Said(f"It has {size_of(request)}. Its digest is:"),
            Said(name(request.payload_digest)),
        ),
        look="rows",
    )


def _whole(request: Request, blocks: Sequence[Block]) -> tuple[Section, ...]:
    """Return the attachment: counts and digest, everything in full, and the code at its end."""
    size = Section("Size", (Said(f"The payload has {size_of(request)}."),))
    code = reply_code(request)
    end = (Section("End", (Said(f"Code for your reply: {code}"),)),) if code else ()
    return (
        _reference(request),
        size,
        _inline(request).whole(),
        *(block.whole() for block in blocks),
        *end,
    )


def _question(request: Request) -> Block:
    return Block(title="Question", lines=_texts(request.message), limit=_QUESTION_BYTES)


def _facts(request: Request) -> Section:
    assignees = short(", ".join(request.assignees), _ASSIGNEES_LENGTH)
    parts: list[Part] = [Fact("Asked of", assignees or "anybody who may decide")]
    if len(request.assignees) > 1:
        parts.append(Said("The first answer of any of them decides."))
    if request.expires_at is None:
        parts.append(Said("The request does not expire by itself."))
    else:
        parts.append(
            Said(f"From {moment(request.expires_at)} on no answer counts: the request expires.")
        )
    if request.on_expiry is not None:
        parts.append(Said(f'Unanswered, it then goes on as "{name(request.on_expiry)}".'))
    return Section("Who is asked, and until when", tuple(parts))


def _asked_by(request: Request) -> Fact:
    return Fact("Asked by", name(request.requester or "") or "not recorded")


def _risk(request: Request) -> Fact:
    return Fact("Risk", request.risk, "(set by the program, not by the agent)")


def _due(request: Request) -> Fact:
    return Fact("Answer due", moment(request.due_at) if request.due_at else "no time is set")


def _ending(request: Request) -> list[Said]:
    end = request.resolution
    if end is None:
        return []
    outcome = f' as "{name(end.outcome)}"' if end.outcome else ""
    by = f"by {name(end.reviewer)} at {moment(end.resolved_at)}"
    return [Said(f"It ended {end.status}{outcome} - {by}.")]


def _reference(request: Request) -> Section:
    place = ".".join(filter(None, (request.flow_name, request.method_name)))
    return Section(
        "Reference",
        (
            Said(f"Request {name(request.request_id)}"),
            *([Said(f"Step {name(place)}")] if place else []),
            Said("Digest of the payload:"),
            Said(name(request.payload_digest)),
        ),
        look="quiet",
    )


def _first_line(outgoing: Outgoing) -> list[Said]:
    line = name(_noted(outgoing, "line"))
    return [Said(f'First line read: "{line}"')] if line else []


def _noted(outgoing: Outgoing, key: str) -> str:
    return str(outgoing.delivery.note.get(key) or "")


def _texts(text: str) -> tuple[Line, ...]:
    return tuple(lines_of(text)) if text.strip() else ()
