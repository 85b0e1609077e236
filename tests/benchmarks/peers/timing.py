"""What every contender's script shares; the standard library alone, for it runs in their environments."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Final

STATE: Final = "x" * 10_000
PUBLISHED: Final = "published copy"


@dataclass(frozen=True)
class Asked:
    """
    What a script is asked to do.

    Attributes:
        place: A new folder on the disk to measure, or the address of a PostgreSQL server.
        times: How many runs.
        at_once: How many tasks, or threads, side by side.
        schema: Where on the server, for who may say so.
        engine: Which engine of Signoff.
    """

    place: str
    times: int
    at_once: int
    schema: str
    engine: str


def asked() -> Asked:
    """Read the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--place", required=True)
    parser.add_argument("--times", type=int, required=True)
    parser.add_argument("--at-once", type=int, required=True)
    parser.add_argument("--schema", default="")
    parser.add_argument("--engine", default="")
    return Asked(**vars(parser.parse_args()))


@dataclass(frozen=True)
class Phases:
    """
    What it took.

    Attributes:
        pause: Seconds until all were suspended, durably.
        resume: Seconds until all were approved and had run to their end.
        cpu: Seconds of processor time for both, of all threads, the system's share included.
    """

    pause: float
    resume: float
    cpu: float


async def in_tasks(
    pause: Callable[[int], Awaitable[object]],
    resume: Callable[[int], Awaitable[object]],
    asked: Asked,
    *,
    between: Callable[[int], Awaitable[object]] | None = None,
) -> Phases:
    """
    Pause all, then resume all, in so many tasks; some more go before, not counted.

    Args:
        pause: Does so with one run.
        resume: Does so.
        asked: How many.
        between: Is done with each between the two, not counted.
    """
    before, counted = _numbers(asked)
    await _both(pause, resume, before, at_once=asked.at_once, between=between)
    return await _both(pause, resume, counted, at_once=asked.at_once, between=between)


async def _both(
    pause: Callable[[int], Awaitable[object]],
    resume: Callable[[int], Awaitable[object]],
    numbers: range,
    *,
    at_once: int,
    between: Callable[[int], Awaitable[object]] | None,
) -> Phases:
    cpu = time.process_time()
    paused = await all_in_tasks(pause, numbers, at_once=at_once)
    cpu_paused = time.process_time() - cpu
    if between is not None:
        for number in numbers:
            await between(number)
    cpu = time.process_time()
    resumed = await all_in_tasks(resume, numbers, at_once=at_once)
    return Phases(paused, resumed, cpu_paused + time.process_time() - cpu)


def in_threads(
    pause: Callable[[int], object], resume: Callable[[int], object], asked: Asked
) -> Phases:
    """Pause all, then resume all, in so many threads; some more go before, not counted."""
    before, counted = _numbers(asked)
    with ThreadPoolExecutor(asked.at_once) as threads:
        for work in (pause, resume):
            _all_in_threads(work, before, threads)
        cpu = time.process_time()
        paused = _all_in_threads(pause, counted, threads)
        resumed = _all_in_threads(resume, counted, threads)
        return Phases(paused, resumed, time.process_time() - cpu)


def _numbers(asked: Asked) -> tuple[range, range]:
    warm_up = max(8, asked.at_once)
    return range(warm_up), range(warm_up, warm_up + asked.times)


async def all_in_tasks(
    work: Callable[[int], Awaitable[object]], numbers: range, *, at_once: int
) -> float:
    """Do something for each number, in so many tasks, and return the seconds that it took."""
    left: Iterator[int] = iter(numbers)

    async def worker() -> None:
        for number in left:
            await work(number)

    began = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(at_once)))
    return time.perf_counter() - began


def _all_in_threads(
    work: Callable[[int], object], numbers: range, threads: ThreadPoolExecutor
) -> float:
    began = time.perf_counter()
    for _ in threads.map(work, numbers):
        pass
    return time.perf_counter() - began


@dataclass(frozen=True)
class Told:
    """
    What a script measured.

    Attributes:
        contender: Who, with the version.
        how: In which mode.
        phases: What it took.
    """

    contender: str
    how: str
    phases: Phases


def tell(package: str, how: str, phases: Phases, *, ended: Sequence[object]) -> None:
    """Print what was measured, as JSON, if every run ended as it should."""
    assert set(ended) == {PUBLISHED}, set(ended)
    told = Told(f"{package} {version(package)}", how, phases)
    print(json.dumps(asdict(told)), flush=True)


# A burst: two processes park runs, are told to go on, and decide what they have parked.


async def on_your_marks() -> float:
    """Say that all is parked, wait for the word, and return when it came."""
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    return time.monotonic()


async def done(began: float) -> None:
    """Say when the last one had ended, and stay until the other process has ended too."""
    # This clock is the same in all processes of a machine.
    print(json.dumps({"began": began, "ended": time.monotonic()}), flush=True)
    await asyncio.to_thread(sys.stdin.readline)
