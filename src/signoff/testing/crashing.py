"""A user's scenario with a crash at every write, and what was lost or doubled by it (floor 9)."""

from __future__ import annotations

import logging
import random
from abc import abstractmethod
from collections import Counter
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Generator,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, Protocol, TypeAlias

from typing_extensions import override

from signoff.client import Client
from signoff.errors import ConfigurationError
from signoff.flows.flow import Flow, stored_name
from signoff.model.decision import Resolution
from signoff.model.gate import Done, GateCall, NotDone
from signoff.model.policy import Policy
from signoff.model.request import Request
from signoff.ports import Notifier, RequestQuery, RunQuery, Store
from signoff.security.keyring import Keyring
from signoff.testing.client import TestingClient
from signoff.testing.clock import ManualClock
from signoff.testing.crash_books import Acknowledging, Books, differences, read_books
from signoff.testing.crash_report import SIDES, Case, Crash, CrashFinding, CrashReport
from signoff.testing.reviewers import Reviewer
from signoff.worker import DrainReport

Scenario: TypeAlias = Callable[[TestingClient], Awaitable[object]]
"""Does everything that a test of the flow would do, with the client that it is given."""

Found: TypeAlias = Callable[[Request], Done[object] | NotDone]
"""Says what became of a call in doubt, as whoever looks at the world finds out."""

_PAGE: Final = 200


class Effects(Protocol):
    """Where a scenario notes what it does to the world outside the store: a list will do."""

    @abstractmethod
    def clear(self) -> None:
        """Forget everything, before the scenario is played anew."""

    @abstractmethod
    def __iter__(self) -> Iterator[object]:
        """Return what was done, in any order."""


async def crash_everywhere(
    scenario: Scenario,
    *,
    effects: Effects | None = None,
    reviewers: Sequence[Reviewer] = (),
    in_doubt: Found | None = None,
    store: Callable[[Path], Store] | None = None,
    notifiers: Sequence[Notifier] = (),
    policy: Policy | None = None,
    requester: str | None = None,
    pairs: bool = False,
    at_most: int | None = None,
    seed: int = 0,
    only: Sequence[str] = (),
) -> CrashReport:
    """
    Play a scenario with a crash at every write, and report what was lost or doubled by it.

    What a crash at any moment leaves behind is what a crash before or after some commit leaves
    behind. So the scenario is played once undisturbed; then, for each commit and both sides of
    it, over new data, by a process that dies there and by one that finds what it left. The
    second one plays the scenario again, to its end. What then differs is in the report::

        report = await crash_everywhere(
            lambda client: client.run(Order, invoice="inv-17"),
            effects=PAID,
            reviewers=[Reviewer("cfo@acme.example").approves()],
        )
        assert report.ok, str(report)

    The n-th `client.run` of one flow or gated function goes on with the run that the n-th one
    had begun before the crash. Whatever else a scenario does has to be repeatable; what it
    returns has to be the same each time.

    Args:
        scenario: Called with a client whose reviewers answer; each time one or more processes.
        effects: Where gated functions and steps note what they do, as strings for example.
        reviewers: Who answers, and how.
        in_doubt: Says what became of a call that a crash hit in its body, where the gate has
            no `verify=` that can tell.
        store: Makes a store over the data in a folder that is new for each case; called for
            every process anew. A `MemoryStore` without it.
        notifiers: As for `Client`; they last through all cases.
        policy: As for `Client`.
        requester: As for `Client`.
        pairs: Crash the process that recovers, too, at each of its commits. That takes the
            square of the time.
        at_most: Only so many cases, drawn evenly.
        seed: What draws them.
        only: Only these cases: a former report's `seeds`.

    Returns:
        What was found. It names each case, so that `only` plays it again.

    Raises:
        ConfigurationError: A call is in doubt and neither `verify=` nor `in_doubt` says what
            became of it, or `only` names no case.
        Exception: What the scenario raises when nothing disturbs it.
    """
    stage = _Stage(
        scenario=scenario,
        effects=[] if effects is None else effects,
        reviewers=tuple(reviewers),
        in_doubt=in_doubt,
        store=store,
        notifiers=tuple(notifiers),
        policy=policy,
        requester=requester,
        keyring=Keyring.generate(),
    )
    sound = await stage.play(Case(()))
    played = 0
    findings: dict[str, list[CrashFinding]] = {"lost": [], "doubled": [], "broken": []}
    plan = _Plan(commits=sound.commits, pairs=pairs, at_most=at_most, seed=seed, only=tuple(only))
    async for case, end in plan.carried_out(stage):
        played += 1
        for kind, found in end.next_to(sound).items():
            findings[kind] += [CrashFinding(case.seed, what) for what in found]
    return CrashReport(
        cases=played,
        commits=sound.commits,
        lost=tuple(findings["lost"]),
        doubled=tuple(findings["doubled"]),
        broken=tuple(findings["broken"]),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _End:
    """
    How a case ended.

    Attributes:
        books: What there is; `None` where it could not be finished.
        why: Why it could not.
        commits: How many commits its last process made.
        crashed: How many of its crashes came about.
    """

    books: Books | None
    why: str = ""
    commits: int
    crashed: int

    def next_to(self, sound: _End) -> Mapping[str, Sequence[str]]:
        """Return what is lost, doubled and broken next to a case without a crash."""
        if self.books is None or sound.books is None:
            return {"broken": [self.why]}
        found = differences(self.books, sound.books)
        return {"lost": found.lost, "doubled": found.doubled, "broken": found.broken}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """Which cases there are."""

    commits: int
    pairs: bool
    at_most: int | None
    seed: int
    only: tuple[str, ...]

    async def carried_out(self, stage: _Stage) -> AsyncIterator[tuple[Case, _End]]:
        """Play the cases, and yield each with how it ended."""
        if self.only or self.at_most is not None:
            for case in [Case.of(name) for name in self.only] or self._drawn():
                yield case, await stage.play(case)
            return
        async for case, end in _at_every_commit(stage, Case(())):
            yield case, end
            if self.pairs:
                async for second in _at_every_commit(stage, case):
                    yield second

    def _drawn(self) -> list[Case]:
        crashes = [Crash(side, at) for side in SIDES for at in range(1, self.commits + 1)]
        number = len(crashes) ** (2 if self.pairs else 1)
        drawn = random.Random(self.seed).sample(range(number), min(self.at_most or 0, number))  # noqa: S311 - a seed repeats them
        if not self.pairs:
            return [Case((crashes[one],)) for one in drawn]
        return [Case((crashes[one // len(crashes)], crashes[one % len(crashes)])) for one in drawn]


async def _at_every_commit(stage: _Stage, first: Case) -> AsyncIterator[tuple[Case, _End]]:
    """Play the cases that begin with these crashes and have one more, at each commit there is."""
    for side in SIDES:
        case = Case((*first.crashes, Crash(side, 1)))
        while (end := await stage.play(case)).crashed == len(case.crashes):
            yield case, end
            case = Case((*first.crashes, Crash(side, case.crashes[-1].at + 1)))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stage:
    """What all cases have in common."""

    scenario: Scenario
    effects: Effects
    reviewers: tuple[Reviewer, ...]
    in_doubt: Found | None
    store: Callable[[Path], Store] | None
    notifiers: tuple[Notifier, ...]
    policy: Policy | None
    requester: str | None
    keyring: Keyring

    async def play(self, case: Case) -> _End:
        """Let one process after another crash, and the last one finish; over data of their own."""
        self.effects.clear()
        with TemporaryDirectory(prefix="signoff_") as folder:
            return await _Play(self, case, self._opener(Path(folder))).to_the_end()

    def _opener(self, folder: Path) -> Callable[[], Store]:
        if self.store is None:
            kept = in_memory()
            return lambda: kept
        make = self.store
        return lambda: make(folder)


class _Play:
    """One case as it is played."""

    def __init__(self, stage: _Stage, case: Case, opened: Callable[[], Store]) -> None:
        self._stage = stage
        self._case = case
        self._opened = opened
        self._clock = ManualClock()
        self._acknowledged: dict[str, Resolution] = {}

    async def to_the_end(self) -> _End:
        """Play it."""
        crashed = 0
        for crash in self._case.crashes:
            crashed += await self._crashes(crash)
        store = self._process(None)
        try:
            async with self._client(store) as client:
                await store.let_claims_lapse()
                returned = await self._stage.scenario(client)
                books = await read_books(
                    store,
                    effects=self._stage.effects,
                    returned=returned,
                    acknowledged=self._acknowledged,
                )
        except ConfigurationError:
            raise
        except Exception as error:
            if not self._case.crashes:
                raise
            why = f"it could not be finished: {type(error).__name__}: {error}"
            return _End(books=None, why=why, commits=store.commits, crashed=crashed)
        return _End(books=books, commits=store.commits, crashed=crashed)

    async def _crashes(self, crash: Crash) -> bool:
        """Play it in a process that dies; say whether it came that far."""
        store = self._process(crash)
        try:
            with quiet():
                async with self._client(store) as client:
                    await store.let_claims_lapse()
                    await self._stage.scenario(client)
        except ConfigurationError:
            raise
        except Exception:  # noqa: BLE001 - whatever comes up in a process that dies, it dies
            return store.failed
        return store.failed

    def _process(self, crash: Crash | None) -> Acknowledging:
        return Acknowledging.over(self._opened(), crash, self._acknowledged)

    def _client(self, store: Store) -> _Surviving:
        return _Surviving(self._stage, case=self._case, store=store, clock=self._clock)


class _Surviving(TestingClient):
    """A client that goes on with what one before it has begun, and says what became of calls in doubt."""

    def __init__(self, stage: _Stage, *, case: Case, store: Store, clock: ManualClock) -> None:
        super().__init__(
            reviewers=stage.reviewers,
            store=store,
            policy=stage.policy,
            requester=stage.requester,
            notifiers=stage.notifiers,
            clock=clock,
        )
        self._keyring = stage.keyring
        self._found_out = stage.in_doubt
        self._case = case
        self._begun: Counter[str] = Counter()

    @override
    async def drain(self) -> DrainReport:
        """Work, and answer what became of calls in doubt, until there is none."""
        report = await super().drain()
        while asked := await self._in_doubt():
            for request in asked:
                await self._tell(request)
            report = await super().drain()
        return report

    async def _in_doubt(self) -> list[Request]:
        pending = await self._store.requests(RequestQuery(status="pending", limit=_PAGE))
        return [one for one in pending if one.kind == "in_doubt"]

    async def _tell(self, request: Request) -> None:
        await tell(self, request, self._found_out, after=self._case.seed)

    @override
    async def _started(self, flow: type[Flow[object]], inputs: Mapping[str, object]) -> str:
        name = stored_name(flow)
        begun = await self._store.runs(RunQuery(flow_name=name, limit=_PAGE))
        own = [one.record.run_id for one in begun if not one.record.parent_run_id]
        nth = self._begun[name]
        self._begun[name] += 1
        return own[nth] if nth < len(own) else await super()._started(flow, inputs)

    @override
    async def _called(self, call: GateCall) -> str:
        self._begun[call.spec.name] += 1
        return await self._submitted(call, key=f"crash-everywhere-{self._begun[call.spec.name]}")

    @override
    async def _requests(self, run_id: str) -> list[Request]:
        return [one for one in await super()._requests(run_id) if one.kind != "in_doubt"]


async def tell(client: Client, question: Request, found: Found | None, *, after: str) -> None:
    """
    Say what became of a call in doubt.

    Args:
        client: Through which.
        question: The request that asks.
        found: Finds it out.
        after: The case, for the error.

    Raises:
        ConfigurationError: Nobody knows.
    """
    if found is None:
        raise ConfigurationError(
            f"after {after} a call of {question.flow_name} is in doubt; give its gate"
            " verify=, or say in in_doubt=... what became of it"
        )
    verdict = found(question)
    happened = isinstance(verdict, Done)
    await client.hitl.respond(
        request_id=question.request_id,
        outcome="happened" if happened else "run_again",
        payload=verdict.result if isinstance(verdict, Done) else None,
        reviewer=next(iter(question.assignees), None),
    )


def in_memory() -> Store:
    """Return the store in memory that clients have when they are given none."""
    return _InMemory().store


class _InMemory(Client):
    """A client with that store."""

    @property
    def store(self) -> Store:
        """The store."""
        return self._store


@contextmanager
def quiet() -> Generator[None]:
    """Keep a process that dies from filling the log with what it dies of."""
    log = logging.getLogger("signoff")
    level = log.level
    log.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        log.setLevel(level)
