"""What `simulate` plays in: a store, its workers and the post, and what a seed does to them (floor 9)."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from email.message import EmailMessage
from typing import Final, TypeAlias

import anyio
from anyio import wait_all_tasks_blocked
from anyio.abc import TaskGroup
from anyio.lowlevel import checkpoint
from typing_extensions import override

from signoff.client import Client
from signoff.errors import DecisionError, StoreUnavailableError
from signoff.model.changes import Changes
from signoff.model.decision import Resolution
from signoff.model.policy import Policy
from signoff.model.request import Request
from signoff.ports import Outgoing, RequestQuery, Store
from signoff.security.keyring import Keyring
from signoff.testing.client import give
from signoff.testing.clock import ManualClock
from signoff.testing.crash_books import Acknowledging, Books, read_books, wrong_in
from signoff.testing.crashing import Effects, Found, tell
from signoff.testing.faulty import FaultyStore
from signoff.testing.mail import MemoryMail
from signoff.testing.reviewers import Reviewer

Begin: TypeAlias = Callable[[Client, int], Awaitable[object]]
"""Starts the run of that number, from 0, through the client."""

_PAGE: Final = 200
_ROUNDS: Final = 20
"""How often tasks are let go on before it is asked whether all of them wait."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What all seeds have in common."""

    begin: Begin
    runs: int
    workers: int
    steps: int
    effects: Effects
    reviewers: tuple[Reviewer, ...]
    in_doubt: Found | None
    store: Callable[[], Store]
    policy: Policy | None
    requester: str | None
    narrate: Callable[[str], object]


class _Turns:
    """Who waits to go on."""

    def __init__(self) -> None:
        self.waiting: list[tuple[str, anyio.Event]] = []
        self._over = False

    async def take(self, who: str) -> None:
        """Wait for leave."""
        if not self._over:
            turn = anyio.Event()
            self.waiting.append((who, turn))
            await turn.wait()

    def give(self, index: int) -> str:
        """Let one go on, and return who it is."""
        who, turn = self.waiting.pop(index)
        turn.set()
        return who

    def give_all(self, who: str) -> None:
        """Let one go on with all that it waits for."""
        for index in reversed(range(len(self.waiting))):
            if self.waiting[index][0] == who:
                self.give(index)

    def end(self) -> None:
        """Let everybody go on from now on."""
        self._over = True
        while self.waiting:
            self.give(0)


class _Scheduled(Acknowledging):
    """A store whose user waits for its turn before each commit."""

    turns: _Turns | None = None
    who: str = ""

    @override
    async def commit(self, changes: Changes) -> None:
        if self.turns is not None:
            await self.turns.take(self.who)
        await super().commit(changes)


class _Post(MemoryMail):
    """
    A mailbox that knows what its mails are about.

    Attributes:
        asked: The mails that nobody has read yet, with what they ask.
    """

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[Request, EmailMessage]] = []

    @override
    async def send(self, outgoing: Outgoing) -> str:
        identity = await super().send(outgoing)
        self.asked.append((outgoing.request, self.sent[-1]))
        return identity


@dataclass(slots=True, eq=False)
class _Worker:
    """
    A process.

    Attributes:
        name: Its name, which whoever takes its place has too.
        store: Its way to the store; it fails once the process is dead.
        client: Its client, open.
        busy: Whether it is at work.
    """

    name: str
    store: _Scheduled
    client: Client
    busy: bool = False


class World:
    """The store and the post, and all that happens to them under one seed, or under none."""

    def __init__(self, plan: Plan, seed: int | None) -> None:
        self._plan = plan
        self._seed = seed
        self._chance = random.Random(seed)  # noqa: S311 - a seed repeats it
        self._acknowledged: dict[str, Resolution] = {}
        self._kept = FaultyStore(plan.store())
        self._keys = Keyring.generate()
        self._clock = ManualClock()
        self._post = _Post()
        self._turns = _Turns()
        self._workers: list[_Worker] = []
        self._given: set[str] = set()
        self._begun = 0
        self._counting = self._process()
        self._office = self._client(self._counting)

    @property
    def commits(self) -> int:
        """How many commits were made by whoever starts and ends it all."""
        return self._counting.commits

    async def play(self) -> Books:
        """Play it, and return what there is at the end."""
        self._plan.effects.clear()
        async with self._office:
            if self._seed is not None:
                await self._disturbed()
            while self._begun < self._plan.runs:
                await self._begin()
            await self._finish()
            return await read_books(
                self._kept,
                effects=self._plan.effects,
                returned=None,
                acknowledged=self._acknowledged,
            )

    # What the seed draws.

    async def _disturbed(self) -> None:
        for number in range(self._plan.workers):
            self._workers.append(await self._birth(f"worker {number}"))
        try:
            async with anyio.create_task_group() as group:
                try:
                    await self._drawn(group)
                finally:
                    # What is shielded from the end of the others waits for its turn all the same.
                    self._turns.end()
        finally:
            for worker in self._workers:
                await worker.client.__aexit__(None, None, None)

    async def _drawn(self, group: TaskGroup) -> None:
        for _ in range(self._plan.steps):
            await _settled()
            await self._step(group)
            if wrong := await wrong_in(self._kept):
                raise AssertionError(wrong[0])

    async def _step(self, group: TaskGroup) -> None:
        """Let one thing happen."""
        self._clock.advance(timedelta(milliseconds=1))
        worker, draw = self._chance.choice(self._workers), self._chance.random()
        if self._turns.waiting and draw < 0.6:
            who = self._turns.give(self._chance.randrange(len(self._turns.waiting)))
            self._plan.narrate(f"{who} commits")
        elif draw < 0.75 and not worker.busy:
            self._plan.narrate(f"{worker.name} looks for work")
            worker.busy = True
            group.start_soon(_work, worker)
        elif draw < 0.83:
            self._answer()
        elif draw < 0.88:
            await self._death()
        elif draw < 0.91:
            self._plan.narrate("all leases lapse")
            await self._kept.let_claims_lapse()
        elif draw < 0.93 or self._begun == self._plan.runs:
            minutes = self._chance.randint(-10, 20)
            self._plan.narrate(f"the clock goes on by {minutes} minutes")
            self._clock.advance(timedelta(minutes=minutes))
        else:
            await self._begin()

    async def _death(self) -> None:
        """Let one die that is about to commit, if there is any: what it has done is not recorded."""
        waiting = {who for who, _ in self._turns.waiting}
        mortal = [one for one in self._workers if one.name in waiting] or self._workers
        worker = self._chance.choice(mortal)
        self._plan.narrate(f"{worker.name} dies")
        self._workers[self._workers.index(worker)] = await self._replaced(worker)

    async def _begin(self) -> None:
        self._plan.narrate(f"run {self._begun} is begun")
        await self._plan.begin(self._office, self._begun)
        self._begun += 1

    def _answer(self) -> None:
        """Let the next mail be read, and answered by an answer that is lost, or comes twice."""
        if not self._post.asked:
            return
        request, mail = self._post.asked.pop(0)
        text = self._reply(request) if mail["Reply-To"] else ""
        copies = self._chance.choice((0, 1, 1, 1, 2))
        if text:
            self._plan.narrate(f"{request.message!r} is answered by {text!r}, {copies} times")
            for _ in range(copies):
                self._post.reply(mail, text)

    def _reply(self, request: Request) -> str:
        """Return what a reviewer writes; nothing if that is no matter of a mail."""
        reviewer = self._reviewer_of(request)
        if request.kind == "in_doubt" or reviewer is None:
            return ""
        answer = reviewer.answers[0]
        words = {"approve": "Approved", "reject": "Rejected", "respond": answer.label}
        if answer.payload is not None:
            return ""
        return f"{words[answer.verb]}\n\n{answer.text}".strip()

    def _reviewer_of(self, request: Request) -> Reviewer | None:
        asked = (one for one in self._plan.reviewers if one.answers and one.is_asked(request))
        return next(asked, None)

    # The end.

    async def _finish(self) -> None:
        """Let everything come to its end, with nothing failing any more."""
        while True:
            await self._kept.let_claims_lapse()
            await self._office.drain()
            pending = await self._kept.requests(RequestQuery(status="pending", limit=_PAGE))
            if not any([await self._settle(request) for request in pending]):
                deadlines = [one.expires_at for one in pending if one.expires_at is not None]
                if not deadlines:
                    return
                self._clock.set(min(deadlines))

    async def _settle(self, request: Request) -> bool:
        """Answer a request through the application; say whether there was something to say."""
        if request.kind == "in_doubt":
            await tell(
                self._office, request, self._plan.in_doubt, after=f"events of seed {self._seed}"
            )
            return True
        reviewer = self._reviewer_of(request)
        if reviewer is None or request.request_id in self._given:
            return False
        self._given.add(request.request_id)
        with suppress(DecisionError):
            await give(self._office, request, reviewer, reviewer.answers[0])
        return True

    # The processes.

    async def _birth(self, name: str) -> _Worker:
        store = self._process()
        client = self._client(store)
        await client.__aenter__()
        store.turns, store.who = self._turns, name
        return _Worker(name, store, client)

    async def _replaced(self, worker: _Worker) -> _Worker:
        """Let a process die, and return the one that takes its place."""
        worker.store.fail()
        self._turns.give_all(worker.name)
        while worker.busy:
            await _settled()
            self._turns.give_all(worker.name)
        worker.store.turns = None
        await worker.client.__aexit__(None, None, None)
        return await self._birth(worker.name)

    def _process(self) -> _Scheduled:
        return _Scheduled.over(self._kept, None, self._acknowledged)

    def _client(self, store: Store) -> Client:
        return Client(
            store,
            notifiers=[self._post],
            inbox=self._post,
            policy=self._plan.policy,
            requester=self._plan.requester,
            keyring=self._keys,
            clock=self._clock,
        )


async def _work(worker: _Worker) -> None:
    """Do what is ready; whatever comes up in a process that is dead comes up nowhere."""
    try:
        await worker.client.drain()
    except StoreUnavailableError:
        if not worker.store.failed:
            raise
    finally:
        worker.busy = False


async def _settled() -> None:
    """Wait until every other task waits."""
    # On asyncio the second one sleeps for long where somebody does not wait yet.
    for _ in range(_ROUNDS):
        await checkpoint()
    await wait_all_tasks_blocked()
