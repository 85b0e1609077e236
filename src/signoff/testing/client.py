"""A client for users' tests: scripted reviewers, no waiting, no network (floor 9)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import ParamSpec, TypeVar, cast, overload

from signoff.client import Client
from signoff.errors import (
    ApprovalExpired,
    ApprovalRejected,
    ConfigurationError,
    DecisionError,
    Hang,
    RequestExpired,
)
from signoff.flows.flow import Flow
from signoff.gates import bind_to, gate_of
from signoff.model.gate import GateCall
from signoff.model.policy import Policy
from signoff.model.request import Request
from signoff.model.run import TERMINAL, Run
from signoff.ports import Notifier, RequestQuery, RunQuery, Store
from signoff.testing.clock import ManualClock
from signoff.testing.reviewers import Reviewer, ScriptedAnswer

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class _Due:
    """An answer that a reviewer is going to give."""

    at: datetime
    request: Request
    reviewer: Reviewer
    index: int

    @property
    def key(self) -> tuple[str, str, int]:
        return (self.request.request_id, self.reviewer.address, self.index)

    @property
    def answer(self) -> ScriptedAnswer:
        return self.reviewer.answers[self.index]


class TestingClient(Client):
    """
    A client whose reviewers are scripted and whose time moves by itself.

    Attributes:
        clock: The client's time; `run` moves it.
        refused: What answers ran into that came too late, in the order they were given.
    """

    __test__ = False

    def __init__(
        self,
        *,
        reviewers: Sequence[Reviewer],
        store: Store | None,
        policy: Policy | None,
        requester: str | None,
        notifiers: Sequence[Notifier],
        clock: ManualClock | None,
    ) -> None:
        self.clock = clock or ManualClock()
        self.refused: list[DecisionError] = []
        self._reviewers = _reviewers_in(reviewers)
        self._given: set[tuple[str, str, int]] = set()
        super().__init__(
            store, notifiers=notifiers, policy=policy, requester=requester, clock=self.clock
        )

    @overload
    async def run(
        self, code: Callable[P, Awaitable[R]], /, *args: P.args, **kwargs: P.kwargs
    ) -> R: ...
    @overload
    async def run(self, code: type[Flow[object]], /, **inputs: object) -> object: ...
    @overload
    async def run(self, code: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R: ...
    async def run(self, code: Callable[..., object], /, *args: object, **kwargs: object) -> object:
        """
        Run a flow or a gated function to its end, letting the reviewers answer as time goes by.

        Between two answers the clock jumps to whatever is next: an answer, a deadline, a
        delivery that is tried again.

        Args:
            code: A flow's class, or a function under `require_approval`.
            *args: For the function.
            **kwargs: For the function; a flow's inputs.

        Returns:
            What the run came to.

        Raises:
            ConfigurationError: The code is neither.
            Hang: Somebody is asked for whom no reviewer was scripted, or nothing would ever
                happen again; it names the pending requests.
            Exception: What failed the run.
        """
        if isinstance(code, type):
            run_id = await self._started(cast("type[Flow[object]]", code), kwargs)
        else:
            run_id = await self._called(bind_to(code, args, kwargs))
        await self._drive(run_id)
        try:
            return await self._machinery.foreground.result_of(
                (await self._store.run(run_id)).record
            )
        except ApprovalRejected as refusal:
            spec = gate_of(code)
            if spec is None or spec.on_reject == "raise":
                raise
            return refusal
        except (ApprovalExpired, RequestExpired) as lapsed:
            # Whoever wrote the answers believes that somebody answered.
            for refused in self.refused:
                lapsed.add_note(f"In client.refused: {type(refused).__name__}: {refused}")
            raise

    async def _started(self, flow: type[Flow[object]], inputs: Mapping[str, object]) -> str:
        return (await self.flows.start(flow, inputs=inputs)).run_id

    async def _called(self, call: GateCall) -> str:
        return await self._submitted(call)

    async def _drive(self, run_id: str) -> None:
        while True:
            await self.drain()
            run = (await self._store.run(run_id)).record
            due = await self._due(run_id)
            ended = run.status in TERMINAL
            if ended and not due:
                return
            if not due or due[0].at > self.clock.now():
                await self._move_on(run, due)
            else:
                await self._give(due[0])

    async def _due(self, run_id: str) -> list[_Due]:
        """Return the answers that are still to come to the requests of a run, soonest first."""
        due = [
            _Due(request.created_at + answer.after, request, reviewer, index)
            for request in await self._requests(run_id)
            for reviewer in self._reviewers
            if reviewer.is_asked(request)
            for index, answer in enumerate(reviewer.answers)
        ]
        return sorted((one for one in due if one.key not in self._given), key=lambda one: one.at)

    async def _requests(self, run_id: str) -> list[Request]:
        found = list(await self._store.requests(RequestQuery(run_id=run_id, limit=200)))
        for child in await self._store.runs(RunQuery(parent_run_id=run_id)):
            found += await self._requests(child.record.run_id)
        return found

    async def _give(self, due: _Due) -> None:
        self._given.add(due.key)
        try:
            await give(self, due.request, due.reviewer, due.answer)
        except DecisionError as error:
            self.refused.append(error)

    async def _move_on(self, run: Run, due: Sequence[_Due]) -> None:
        """Move the clock to what happens next."""
        pending = [one for one in await self._requests(run.run_id) if one.status == "pending"]
        forgotten = [one for one in pending if not any(r.is_asked(one) for r in self._reviewers)]
        if forgotten and not due:
            raise self._hang(
                run, forgotten, "no reviewer was scripted for them with client(reviewers=[...])"
            )
        moments = [one.at for one in due[:1]]
        moments += [one.expires_at for one in pending if one.expires_at is not None]
        later = [moment for moment in moments if moment > self.clock.now()]
        if not later:
            raise self._hang(run, pending, f"it is {run.status} and nothing is going to happen")
        # On the way to one of these only: a server that is away for ever brings no answer.
        self.clock.set(min([*later, *await self._retries(pending)]))

    async def _retries(self, pending: Sequence[Request]) -> list[datetime]:
        """Return when deliveries that failed are tried again."""
        return [
            delivery.not_before
            for request in pending
            for delivery in await self._store.deliveries(request.request_id)
            if delivery.status == "waiting" and delivery.not_before > self.clock.now()
        ]

    def _hang(self, run: Run, requests: Sequence[Request], why: str) -> Hang:
        asked = "; ".join(
            f"{one.request_id} ({one.message!r}, asks {', '.join(one.assignees) or 'nobody'})"
            for one in requests
        )
        detail = f"{why}: {asked}" if asked else f"{why} {run.blocked_detail}".strip()
        return Hang(run.run_id, pending=[one.request_id for one in requests], detail=detail)


def _reviewers_in(given: object) -> tuple[Reviewer, ...]:
    several = tuple(cast("Sequence[object]", given)) if isinstance(given, Sequence) else None
    if several is None or not all(isinstance(one, Reviewer) for one in several):
        raise ConfigurationError(
            f"reviewers={given!r}: write reviewers=[Reviewer('ann@acme.example').approves()], say"
        )
    return cast("tuple[Reviewer, ...]", several)


async def give(
    through: Client, request: Request, reviewer: Reviewer, answer: ScriptedAnswer
) -> None:
    """Give a scripted answer through a client. Raises `DecisionError`."""
    hitl, request_id, who = through.hitl, request.request_id, reviewer.address
    if answer.verb == "approve":
        await hitl.approve(
            request_id=request_id, reason=answer.text, payload=answer.payload, reviewer=who
        )
    elif answer.verb == "reject":
        await hitl.reject(request_id=request_id, reason=answer.text, reviewer=who)
    else:
        await hitl.respond(
            request_id=request_id, outcome=answer.label, feedback=answer.text, reviewer=who
        )


def client(
    *,
    reviewers: Sequence[Reviewer] = (),
    store: Store | None = None,
    policy: Policy | None = None,
    requester: str | None = None,
    notifiers: Sequence[Notifier] = (),
    clock: ManualClock | None = None,
) -> TestingClient:
    """
    Return a client for tests, to be used as an async context manager.

    Args:
        reviewers: Who answers, and how.
        store: A `MemoryStore` unless given.
        policy: As for `Client`.
        requester: As for `Client`.
        notifiers: As for `Client`; none are needed.
        clock: Its time; stands at the morning of Monday, 5 January 2026 unless given.
    """
    return TestingClient(
        reviewers=reviewers,
        store=store,
        policy=policy,
        requester=requester,
        notifiers=notifiers,
        clock=clock,
    )
