"""The queue of requests, for applications: list, answer, comment, reassign, cancel (floor 6)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Final, get_args

import anyio

from signoff.errors import CodecError, ConfigurationError, UnknownOutcomeError
from signoff.gates import refuse_bad_policy
from signoff.hitl.answers import one_label, reading, response
from signoff.hitl.counter import Counter
from signoff.hitl.cursors import opened_cursor, sealed_cursor
from signoff.hitl.questions import question
from signoff.hitl.results import Page, Stats
from signoff.model.audit import AuditEntry
from signoff.model.changes import Changes
from signoff.model.decision import Channel
from signoff.model.delivery import Delivery
from signoff.model.policy import RISKS, Policy, Risk
from signoff.model.request import Evidence, Request, RequestStatus
from signoff.ports import RequestQuery
from signoff.rules.lifecycle import Cancel, Command, Reassign, Remark
from signoff.rules.outcomes import Meaning
from signoff.rules.routing import assignees_for
from signoff.rules.slips import refuse_bare_numbers, refuse_other_word

_POLL_SECONDS: Final = 1.0
_MAX_PAGE: Final = 200


class Hitl:
    """
    The requests of a client.

    Every answer goes through the same desk command as an answer by mail does, and is atomic.
    """

    def __init__(self, counter: Counter) -> None:
        self._at = counter

    async def list_requests(
        self,
        *,
        status: RequestStatus | None = None,
        risk: Risk | None = None,
        assignee: str | None = None,
        run_id: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
        newest_first: bool = False,
    ) -> Page:
        """
        Return a page of requests, oldest first.

        Args:
            status: Only with this status.
            risk: Only of this risk.
            assignee: Only those that this address is asked.
            run_id: Only of this run.
            limit: How many at the most, 1 to 200.
            cursor: The `cursor` of the page before, asked with the same filters.
            newest_first: Reverse the order.

        Raises:
            ValueError: The limit is out of range, or the cursor is not one of this query.
            ConfigurationError: There is no such status or risk.
        """
        if status is not None:
            refuse_other_word("status", status, get_args(RequestStatus))
        if risk is not None:
            refuse_other_word("risk", risk, RISKS)
        if not 1 <= limit <= _MAX_PAGE:
            raise ValueError(f"limit={limit} is not between 1 and {_MAX_PAGE}")
        filters = json.dumps([status, risk, assignee, run_id, newest_first])
        query = RequestQuery(
            status=status,
            risk=risk,
            assignee=assignee.strip().lower() if assignee else None,
            run_id=run_id,
            after=opened_cursor(self._at.keyring, cursor, filters) if cursor else None,
            limit=limit,
            newest_first=newest_first,
        )
        found = await self._at.store.requests(query)
        more = sealed_cursor(self._at.keyring, found[-1], filters) if len(found) == limit else None
        return Page(tuple(self._typed(request) for request in found), more)

    async def get_request(self, request_id: str) -> Request:
        """
        Return a request, its seals verified.

        Raises:
            NotFoundError: There is none.
            SealInvalidError: It is not what was sealed; its run blocks.
        """
        return self._typed(await self._at.desk.load(request_id))

    async def approve(
        self,
        *,
        request_id: str,
        reason: str = "",
        payload: object = None,
        reviewer: str | None = None,
    ) -> Request:
        """
        Give the request's label that means approve; else as `respond`.

        Args:
            request_id: The request.
            reason: The reviewer's words.
            payload: The payload as the reviewer changed it; `None` leaves it.
            reviewer: Who answers; the client's `reviewer` without it.

        Raises:
            UnknownOutcomeError: No label means approve, or several do; it names the labels.
        """
        return await self._by_meaning("approve", request_id, reason, payload, reviewer)

    async def reject(
        self, *, request_id: str, reason: str = "", reviewer: str | None = None
    ) -> Request:
        """
        Give the request's label that means reject; else as `respond`.

        Args:
            request_id: The request.
            reason: The reviewer's words.
            reviewer: Who answers; the client's `reviewer` without it.

        Raises:
            UnknownOutcomeError: No label means reject, or several do; it names the labels.
        """
        return await self._by_meaning("reject", request_id, reason, None, reviewer)

    async def respond(
        self,
        *,
        request_id: str,
        outcome: str | None = None,
        feedback: str = "",
        payload: object = None,
        reviewer: str | None = None,
        channel: Channel = "api",
    ) -> Request:
        """
        Answer a request, in one commit.

        The outcome is read like the first line of a mail: a label or one of its aliases, or what
        the gate's `default_outcome` makes of other text. What decides nothing is kept as a
        comment.

        Args:
            request_id: The request.
            outcome: The answer; may be left out for a request without labels.
            feedback: The reviewer's words.
            payload: The payload as the reviewer changed it, for a gated call perhaps only the
                arguments that change; `None` leaves it. For a call in doubt that `happened`,
                what it returned.
            reviewer: Who answers; the client's `reviewer` without it.
            channel: How the application got the answer.

        Returns:
            The request after the vote.

        Raises:
            NotFoundError: There is no such request.
            UnknownOutcomeError: The outcome is none of the labels, or blank; it names them.
            AlreadyDecidedError: Somebody else was first; it says who, what and when.
            RequestExpiredError: Its time is up.
            RequestCancelledError: It was taken back.
            NotAllowedError: This reviewer may not decide it.
            InvalidEditError: The payload does not fit what was asked.
        """
        who = self._name(reviewer)

        def command(request: Request) -> Command:
            label, words = reading(request, outcome, feedback)
            return response(
                self._at.codec,
                request,
                label=label,
                feedback=words,
                payload=payload,
                who=who,
                channel=channel,
            )

        try:
            answered = await self._at.desk.do_with(request_id, command)
        except UnknownOutcomeError:
            await self._keep_comment(request_id, who, outcome, feedback, channel)
            raise
        return self._typed(answered.request)

    async def comment(self, *, request_id: str, text: str, author: str | None = None) -> Request:
        """Write something on a request that decides nothing. Raises `NotFoundError`."""
        name = self._name(author) or "api:unidentified"
        command = Remark(author=name, text=text, channel="api")
        return self._typed(await self._at.desk.do(request_id, command))

    async def reassign(
        self, *, request_id: str, assignees: Sequence[str], by: str | None = None
    ) -> Request:
        """
        Ask others instead; the tokens of those who were asked are void.

        Raises:
            DecisionError: The request has ended.
            ConfigurationError: Nobody is named, or an address is not within `assignable`.
        """
        if not any(name.strip() for name in assignees):
            raise ConfigurationError(f"{request_id} would be asked of nobody; name an assignee")
        request = await self._at.desk.load(request_id)
        chosen = assignees_for(
            fixed=(),
            computed=assignees,
            policy=request.policy
            if request.policy.assignable
            else request.policy.model_copy(update={"assignable": tuple(assignees)}),
            risk=request.risk,
            requester=request.requester,
        )
        command = Reassign(by=self._name(by) or "api:unidentified", assignees=chosen)
        return self._typed(await self._at.desk.do(request_id, command))

    async def cancel(self, *, request_id: str, by: str | None = None) -> Request:
        """Take a request back. Its run goes on with `ApprovalCancelled`. Raises `DecisionError`."""
        command = Cancel(by=self._name(by) or "api:unidentified", reason="withdrawn")
        return self._typed(await self._at.desk.do(request_id, command))

    async def history(self, *, request_id: str) -> Sequence[AuditEntry]:
        """Return the audit entries of a request, oldest first."""
        return await self._at.store.audit(f"request:{request_id}")

    async def deliveries(self, *, request_id: str) -> Sequence[Delivery]:
        """Return the messages about a request and what became of each, oldest first."""
        return await self._at.store.deliveries(request_id)

    async def get_stats(self) -> Stats:
        """Return how many requests, runs and deliveries there are of each status."""
        counts = await self._at.store.counts()
        by_status = counts.requests
        return Stats(
            pending=by_status.get("pending", 0),
            approved=by_status.get("approved", 0),
            rejected=by_status.get("rejected", 0),
            answered=by_status.get("answered", 0),
            expired=by_status.get("expired", 0),
            cancelled=by_status.get("cancelled", 0),
            runs=counts.runs,
            deliveries=counts.deliveries,
            unclaimed=await self._at.store.unclaimed(self._at.names()),
        )

    async def wait(
        self,
        request_id: str,
        *,
        timeout: timedelta | None = None,  # noqa: ASYNC109 - a public name, and no cancel scope
    ) -> Request:
        """
        Return a request once it has ended, or as it stands after `timeout` of real time.

        Raises:
            NotFoundError: There is none.
            ConfigurationError: The timeout is no `timedelta`.
        """
        refuse_bare_numbers(timeout=timeout)
        bell = self._at.bell
        with anyio.move_on_after(None if timeout is None else timeout.total_seconds()):
            heard = bell.rings
            while (await self.get_request(request_id)).status == "pending":
                await bell.wait(_POLL_SECONDS, after=heard)
                heard = bell.rings
        return await self.get_request(request_id)

    async def request(
        self,
        message: str,
        *,
        payload: object,
        emit: Sequence[str] = ("approved", "rejected"),
        meanings: Mapping[str, Meaning] | None = None,
        assignees: Sequence[str] = (),
        requester: str | None = None,
        evidence: Sequence[Evidence] = (),
        policy: Policy | None = None,
    ) -> Request:
        """
        Ask a question without a decorator; nothing runs on the answer but what you write.

        Args:
            message: The question.
            payload: What it is about.
            emit: The possible answers; empty for free text.
            meanings: What labels stand for that the built-in table does not know.
            assignees: Who is asked; the policy's `assign_to_email` without them.
            requester: Who asks; the client's `requester` without it.
            evidence: Facts that support it.
            policy: Further settings, over those of the client.

        Raises:
            CodecError: The payload cannot be stored.
            ConfigurationError: Nobody but the requester could decide, the policy is misspelt, or
                the risk is critical.
        """
        if policy is not None:
            refuse_bad_policy(policy)
        requester = self._at.requester(requester)
        draft = question(
            message,
            payload_json=self._at.codec.dump(payload, path="payload"),
            emit=emit,
            meanings=meanings,
            assignees=assignees,
            requester=requester,
            evidence=evidence,
            policy=(policy or Policy()).over(self._at.policy),
            now=await self._at.store.now(),
        )
        opening = self._at.desk.open(draft, actor=requester or "api")
        await self._at.desk.commit(opening.added_to(Changes()))
        return self._typed(opening.request)

    async def _by_meaning(
        self,
        meaning: Meaning,
        request_id: str,
        reason: str,
        payload: object,
        reviewer: str | None,
    ) -> Request:
        who = self._name(reviewer)

        def command(request: Request) -> Command:
            label = one_label(request, meaning)
            return response(
                self._at.codec,
                request,
                label=label,
                feedback=reason,
                payload=payload,
                who=who,
                channel="api",
            )

        return self._typed((await self._at.desk.do_with(request_id, command)).request)

    async def _keep_comment(
        self,
        request_id: str,
        who: str | None,
        outcome: str | None,
        feedback: str,
        channel: Channel,
    ) -> None:
        text = "\n".join(part for part in (outcome or "", feedback) if part.strip())
        request = await self._at.desk.load(request_id)
        if text and request.status == "pending":
            author = who or f"{channel}:unidentified"
            await self._at.desk.do(request_id, Remark(author=author, text=text, channel=channel))

    def _typed(self, request: Request) -> Request:
        try:
            return request.with_payload(self._at.codec.load(request.payload_json))
        except CodecError:
            # A process without the code of the types still shows the payload, as plain JSON.
            return request

    def _name(self, given: str | None) -> str | None:
        configured = self._at.reviewer
        name = given or (configured() if callable(configured) else configured)
        return name.strip().lower() or None if name else None
