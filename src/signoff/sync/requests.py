"""The queue of requests, for applications without an event loop (floor 9)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta

from signoff.hitl import Page, Stats
from signoff.model.audit import AuditEntry
from signoff.model.decision import Channel
from signoff.model.delivery import Delivery
from signoff.model.policy import Policy, Risk
from signoff.model.request import Evidence, Request, RequestStatus
from signoff.rules.outcomes import Meaning
from signoff.sync.loop import Asked, ClientLoop


class BlockingHitl:
    """The requests of a client; each method is the one of `signoff.Client.hitl`, blocking."""

    def __init__(self, loop: ClientLoop, requester: Asked, reviewer: Asked) -> None:
        self._loop = loop
        self._requester = requester
        self._reviewer = reviewer

    def list_requests(
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

        Raises:
            ValueError: The limit is out of range, or the cursor is not one of this query.
        """
        return self._loop.call(
            lambda client: client.hitl.list_requests(
                status=status,
                risk=risk,
                assignee=assignee,
                run_id=run_id,
                limit=limit,
                cursor=cursor,
                newest_first=newest_first,
            )
        )

    def get_request(self, request_id: str) -> Request:
        """Return a request, its seals verified. Raises `NotFoundError` and `SealInvalidError`."""
        return self._loop.call(lambda client: client.hitl.get_request(request_id))

    def approve(
        self,
        *,
        request_id: str,
        reason: str = "",
        payload: object = None,
        reviewer: str | None = None,
    ) -> Request:
        """
        Give the request's label that means approve; else as `respond`.

        Raises:
            UnknownOutcomeError: No label means approve, or several do; it names the labels.
        """
        with self._reviewer.here(reviewer):
            return self._loop.call(
                lambda client: client.hitl.approve(
                    request_id=request_id, reason=reason, payload=payload, reviewer=reviewer
                )
            )

    def reject(self, *, request_id: str, reason: str = "", reviewer: str | None = None) -> Request:
        """
        Give the request's label that means reject; else as `respond`.

        Raises:
            UnknownOutcomeError: No label means reject, or several do; it names the labels.
        """
        with self._reviewer.here(reviewer):
            return self._loop.call(
                lambda client: client.hitl.reject(
                    request_id=request_id, reason=reason, reviewer=reviewer
                )
            )

    def respond(
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

        Raises:
            NotFoundError: There is no such request.
            UnknownOutcomeError: The outcome is none of the labels, or blank; it names them.
            AlreadyDecidedError: Somebody else was first; it says who, what and when.
            RequestExpiredError: Its time is up.
            RequestCancelledError: It was taken back.
            NotAllowedError: This reviewer may not decide it.
            InvalidEditError: The payload does not fit what was asked.
        """
        with self._reviewer.here(reviewer):
            return self._loop.call(
                lambda client: client.hitl.respond(
                    request_id=request_id,
                    outcome=outcome,
                    feedback=feedback,
                    payload=payload,
                    reviewer=reviewer,
                    channel=channel,
                )
            )

    def comment(self, *, request_id: str, text: str, author: str | None = None) -> Request:
        """Write something on a request that decides nothing. Raises `NotFoundError`."""
        with self._reviewer.here(author):
            return self._loop.call(
                lambda client: client.hitl.comment(request_id=request_id, text=text, author=author)
            )

    def reassign(
        self, *, request_id: str, assignees: Sequence[str], by: str | None = None
    ) -> Request:
        """
        Ask others instead; the tokens of those who were asked are void.

        Raises:
            DecisionError: The request has ended.
            ConfigurationError: Nobody is named, or an address is not within `assignable`.
        """
        with self._reviewer.here(by):
            return self._loop.call(
                lambda client: client.hitl.reassign(
                    request_id=request_id, assignees=assignees, by=by
                )
            )

    def cancel(self, *, request_id: str, by: str | None = None) -> Request:
        """Take a request back. Its run goes on with `ApprovalCancelled`. Raises `DecisionError`."""
        with self._reviewer.here(by):
            return self._loop.call(lambda client: client.hitl.cancel(request_id=request_id, by=by))

    def history(self, *, request_id: str) -> Sequence[AuditEntry]:
        """Return the audit entries of a request, oldest first."""
        return self._loop.call(lambda client: client.hitl.history(request_id=request_id))

    def deliveries(self, *, request_id: str) -> Sequence[Delivery]:
        """Return the messages about a request and what became of each, oldest first."""
        return self._loop.call(lambda client: client.hitl.deliveries(request_id=request_id))

    def get_stats(self) -> Stats:
        """Return how many requests, runs and deliveries there are of each status."""
        return self._loop.call(lambda client: client.hitl.get_stats())

    def wait(self, request_id: str, *, timeout: timedelta | None = None) -> Request:
        """
        Return a request once it has ended, or as it stands after `timeout` of real time.

        Raises:
            NotFoundError: There is none.
        """
        return self._loop.call(lambda client: client.hitl.wait(request_id, timeout=timeout))

    def request(
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

        Raises:
            CodecError: The payload cannot be stored.
            ConfigurationError: Nobody but the requester could decide, or the risk is critical.
        """
        with self._requester.here(requester):
            return self._loop.call(
                lambda client: client.hitl.request(
                    message,
                    payload=payload,
                    emit=emit,
                    meanings=meanings,
                    assignees=assignees,
                    requester=requester,
                    evidence=evidence,
                    policy=policy,
                )
            )
