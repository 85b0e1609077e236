"""What doing something many times took, and how it is measured."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from statistics import median

import anyio


@dataclass(frozen=True)
class Cost:
    """
    What doing something many times took.

    Attributes:
        times: How often.
        seconds: Of the clock.
        cpu: Seconds of processor time, of all threads, the system's share included.
    """

    times: int
    seconds: float
    cpu: float

    @property
    def rate(self) -> float:
        """How often a second."""
        return self.times / self.seconds

    @property
    def cpu_ms(self) -> float:
        """Milliseconds of processor time for each."""
        return self.cpu / self.times * 1000


def middle(costs: list[Cost]) -> Cost:
    """Return the one in the middle."""
    rate = median(cost.rate for cost in costs)
    return min(costs, key=lambda cost: abs(cost.rate - rate))


async def timed(work: Callable[[int], Awaitable[object]], *, times: int, at_once: int) -> Cost:
    """Do something this often, so many at once."""
    numbers: Iterator[int] = iter(range(times))

    async def worker() -> None:
        for number in numbers:
            await work(number)

    began, cpu = time.perf_counter(), time.process_time()
    async with anyio.create_task_group() as tasks:
        for _ in range(at_once):
            tasks.start_soon(worker)
    return Cost(times, time.perf_counter() - began, time.process_time() - cpu)
