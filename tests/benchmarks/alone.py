"""What pausing, deciding and resuming cost on a store, and what a PostgreSQL server is asked for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final
from uuid import uuid4

import anyio
from tests.benchmarks.article import REQUESTER, REVIEWER, Article
from tests.benchmarks.costs import Cost, timed
from tests.benchmarks.peers.timing import PUBLISHED, STATE
from tests.benchmarks.places import postgres, store_at

from signoff import Client, Flow
from signoff.model.run import Run
from signoff.ports import Store
from signoff.security.keyring import Keyring
from signoff.stores import MemoryStore

AT_ONCE: Final = (1, 8, 64)
"""How many tasks side by side."""


@dataclass(frozen=True)
class Measured:
    """One line of the table: a pause, a decision and a resume, and all three."""

    pause: Cost
    decide: Cost
    resume: Cost

    @property
    def whole(self) -> Cost:
        """From the start of a run to its end."""
        parts = (self.pause, self.decide, self.resume)
        return Cost(
            self.pause.times,
            sum(part.seconds for part in parts),
            sum(part.cpu for part in parts),
        )


async def measured(client: Client, flow: type[Flow], *, times: int, at_once: int) -> Measured:
    """Pause, decide and resume runs, one phase after the other."""
    advance = client._machinery.executor.advance
    runs: list[str] = []

    async def pause(_number: int) -> None:
        run = await client.flows.start(flow, inputs={"text": STATE}, requester=REQUESTER)
        await advance(run.run_id)
        runs.append(run.run_id)

    paused = await timed(pause, times=times, at_once=at_once)
    requests: list[str] = []
    for run_id in runs:
        page = await client.hitl.list_requests(run_id=run_id, status="pending")
        requests += [request.request_id for request in page]

    async def decide(number: int) -> None:
        await client.hitl.approve(request_id=requests[number], reviewer=REVIEWER)

    decided = await timed(decide, times=times, at_once=at_once)

    async def resume(number: int) -> None:
        await advance(runs[number])

    resumed = await timed(resume, times=times, at_once=at_once)
    ended: list[Run] = [await client.flows.get(run_id) for run_id in runs]
    assert [run.output for run in ended] == [PUBLISHED] * times
    return Measured(paused, decided, resumed)


async def alone(store: Store, flow: type[Flow], *, times: int, at_once: int) -> Measured:
    """Measure on a store that nobody else uses; some more go before, not counted."""
    async with Client(store, keyring=Keyring.generate()) as client:
        await measured(client, flow, times=max(8, at_once), at_once=at_once)
        return await measured(client, flow, times=times, at_once=at_once)


# The stores that the floor of sqlite3 says nothing of.


def elsewhere(*, times: int, rounds: int) -> None:
    """Print the rates in memory and on PostgreSQL."""
    print("| store | at once | pause/s | decide/s | resume/s | whole/s | CPU ms of the whole |")
    print("|---|---|---|---|---|---|---|")
    with postgres() as address:
        for at_once in AT_ONCE:
            print(_line("memory", None, times=times, rounds=rounds, at_once=at_once), flush=True)
        if address is None:
            print("\nNot measured: PostgreSQL (no server on this machine).")
            return
        for at_once in AT_ONCE:
            line = _line("PostgreSQL", address, times=times, rounds=rounds, at_once=at_once)
            print(line, flush=True)


def _line(name: str, address: str | None, *, times: int, rounds: int, at_once: int) -> str:
    found: list[Measured] = []
    for _ in range(rounds):
        store = _new_schema(address) if address else MemoryStore()
        work = partial(alone, store, Article, times=times, at_once=at_once)
        found.append(anyio.run(work))
    one = sorted(found, key=lambda each: each.whole.rate)[len(found) // 2]
    return (
        f"| {name} | {at_once} | {one.pause.rate:,.0f} | {one.decide.rate:,.0f}"
        f" | {one.resume.rate:,.0f} | {one.whole.rate:,.0f}"
        f" | {min(each.whole.cpu_ms for each in found):.2f} |"
    )


def _new_schema(address: str) -> Store:
    return store_at(address, schema=f"alone_{uuid4().hex}")


# What the server is asked.

_PLAIN: Final = {"make_commit": "commit"}


def statements() -> None:
    """Print how often each statement is sent for one run; each is one round trip, and a transaction."""
    with postgres() as address:
        if address is None:
            print("Not measured: statements on PostgreSQL (no server on this machine).")
            return
        phases = anyio.run(_asked, address)
    names = sorted(
        {name for phase in phases for name in phase}, key=lambda name: -sum(p[name] for p in phases)
    )
    print("| statement | pause | decide | resume | whole |")
    print("|---|---|---|---|---|")
    for name in (*names, "all"):
        counts = [phase.total() if name == "all" else phase[name] for phase in phases]
        print(f"| {name} | {' | '.join(map(str, counts))} | {sum(counts)} |")


async def _asked(address: str) -> tuple[Counter[str], Counter[str], Counter[str]]:
    """Return the statements of the pause, the decision and the resume of one run."""
    async with Client(_new_schema(address), keyring=Keyring.generate()) as client:
        advance = client._machinery.executor.advance
        await measured(client, Article, times=20, at_once=1)
        with _counted() as pause:
            run = await client.flows.start(Article, inputs={"text": STATE}, requester=REQUESTER)
            await advance(run.run_id)
        (request,) = await client.hitl.list_requests(run_id=run.run_id)
        with _counted() as decide:
            await client.hitl.approve(request_id=request.request_id, reviewer=REVIEWER)
        with _counted() as resume:
            await advance(run.run_id)
        assert (await client.flows.get(run.run_id)).status == "completed"
        return pause, decide, resume


@contextmanager
def _counted() -> Generator[Counter[str]]:
    """Count what is sent while the block lasts, by what it reads or writes."""
    from signoff.stores import postgres_pool  # noqa: PLC0415 - an extra

    found: Counter[str] = Counter()
    before = postgres_pool.Query.within

    def within(query: postgres_pool.Query, schema: str) -> bytes:
        found[_name_of(query._text)] += 1
        return before(query, schema)

    postgres_pool.Query.within = within  # type: ignore[method-assign, assignment]  # put back below
    try:
        yield found
    finally:
        postgres_pool.Query.within = before  # type: ignore[method-assign]  # as it was


def _name_of(statement: str) -> str:
    """Return what a statement is about, by the first of our names in it."""
    _, found, rest = statement.partition("{schema}.")
    if not found:
        return "time"
    name = rest.replace("(", " ").replace(",", " ").split(maxsplit=1)[0]
    return _PLAIN.get(name, f"read of {name}")
