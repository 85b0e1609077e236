"""Answers and looks from many threads at once: one answer decides, and nobody sees less afterwards."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeAlias

import anyio
import pytest
from typing_extensions import override

from signoff import Client, Request
from signoff.errors import AlreadyDecidedError
from signoff.ports import Store
from signoff.security.keyring import Keyring
from signoff.stores import MemoryStore

OpenStore: TypeAlias = Callable[[Path], Store]

THREADS = 6
PENDING = "pending"


@dataclass(frozen=True, slots=True)
class Did:
    """
    What somebody did, and when, on one clock.

    Attributes:
        began: Before it.
        ended: After it.
        won: Whether it was the answer that decided.
        saw: Who had decided, as it was told; `pending` for nobody.
    """

    began: int
    ended: int
    won: bool
    saw: str


def who_decided(request: Request) -> str:
    """Return who decided a request; `pending` if nobody did."""
    return request.resolution.reviewer if request.resolution else PENDING


async def look(client: Client, request_id: str) -> Did:
    """Look at a request."""
    began = time.monotonic_ns()
    request = await client.hitl.get_request(request_id)
    return Did(began, time.monotonic_ns(), won=False, saw=who_decided(request))


async def answer(client: Client, request_id: str, name: str) -> Did:
    """Answer a request."""
    began = time.monotonic_ns()
    try:
        request = await client.hitl.approve(request_id=request_id, reviewer=name)
    except AlreadyDecidedError as late:
        return Did(began, time.monotonic_ns(), won=False, saw=late.decided_by)
    return Did(began, time.monotonic_ns(), won=True, saw=who_decided(request))


def contest(open_client: Callable[[], Client], request_id: str, backend: str) -> list[Did]:
    """Let threads look, answer and look again, all at once; return all that they did."""
    done: list[Did] = []
    ready = threading.Barrier(THREADS)

    async def take_part(name: str) -> None:
        async with open_client() as client:
            ready.wait(30)
            done.extend([await look(client, request_id) for _ in range(3)])
            done.append(await answer(client, request_id, name))
            done.extend([await look(client, request_id) for _ in range(3)])

    threads = [
        threading.Thread(
            target=partial(anyio.run, take_part, f"{number}@acme.example", backend=backend)
        )
        for number in range(THREADS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return done


def check(done: list[Did]) -> None:
    """See that there is an order of what was done in which each was told the truth."""
    assert len(done) == 7 * THREADS
    (winner,) = (one for one in done if one.won)
    assert {one.saw for one in done} <= {PENDING, winner.saw}
    told = [one for one in done if one.saw == winner.saw]
    known_since = min(one.ended for one in told)
    for one in done:
        if one.saw == PENDING:
            assert one.began < known_since, "it saw less than somebody had seen before"
        else:
            assert one.ended > winner.began, "it knew of the decision before there was one"


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_one_answer_decides_and_no_look_is_stale(
    open_store: OpenStore, tmp_path: Path, backend: str
) -> None:
    """Reliability 4: ten rounds, each with a client of its own in each of six threads."""
    keys = Keyring.generate()

    def open_client() -> Client:
        return Client(open_store(tmp_path), keyring=keys)

    async def ask() -> str:
        async with open_client() as client:
            return (await client.hitl.request("Lunch?", payload="pizza")).request_id

    for _ in range(10):
        check(contest(open_client, anyio.run(ask), backend))


class Stale(MemoryStore):
    """A store that tells every third time what it told first."""

    def __init__(self) -> None:
        super().__init__()
        self._first: dict[str, Request] = {}
        self._asked = 0

    @override
    async def request(self, request_id: str) -> Request:
        self._asked += 1
        now = await super().request(request_id)
        first = self._first.setdefault(request_id, now)
        return first if self._asked % 3 == 0 else now


def test_a_stale_look_would_be_found() -> None:
    """The control: a look that began after somebody knew, and does not know."""
    knew = Did(1, 5, won=True, saw="ann")
    others = [replace(knew, won=False)] * (7 * THREADS - 2)
    check([knew, *others, Did(4, 9, won=False, saw=PENDING)])
    with pytest.raises(AssertionError, match="saw less"):
        check([knew, *others, Did(6, 9, won=False, saw=PENDING)])
    with pytest.raises(AssertionError, match="before there was one"):
        check([replace(knew, began=2), *others, Did(0, 1, won=False, saw="ann")])
    with pytest.raises(ValueError, match="too many values"):
        check([knew, *others, knew])


def test_a_stale_store_would_be_found() -> None:
    """The control: a store that tells what was so once."""
    keys, store = Keyring.generate(), Stale()

    async def ask() -> str:
        async with Client(store, keyring=keys) as client:
            return (await client.hitl.request("Lunch?", payload="pizza")).request_id

    with pytest.raises(AssertionError):
        check(contest(lambda: Client(store, keyring=keys), anyio.run(ask), "asyncio"))
