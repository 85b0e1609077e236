"""The bell wakes all who wait, in whatever loops and threads, and waits for none of them."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import anyio
import anyio.lowlevel
import pytest

from signoff.bell import Bell

LONG = 30.0


async def waits(bell: Bell, heard: list[int], who: int) -> None:
    """Wait for the bell, and say so."""
    await bell.wait(LONG)
    heard.append(who)


async def test_a_ring_wakes_everybody_who_waits() -> None:
    """All of this loop, once."""
    bell, heard = Bell(), list[int]()
    async with anyio.create_task_group() as group:
        for who in range(3):
            group.start_soon(waits, bell, heard, who)
        while len(bell._waiting) < 3:
            await anyio.lowlevel.checkpoint()
        bell.ring()

    assert (sorted(heard), bell.rings) == ([0, 1, 2], 1)
    assert not bell._waiting


async def test_a_ring_since_the_last_look_is_not_missed() -> None:
    """Who says when they last looked returns at once, if it rang since."""
    bell = Bell()
    looked = bell.rings
    bell.ring()

    await bell.wait(LONG, after=looked)
    with anyio.move_on_after(0) as scope:
        await bell.wait(LONG, after=bell.rings)
    assert scope.cancelled_caught


async def test_a_wait_ends_by_itself_and_leaves_nothing() -> None:
    """After its seconds, or when its task is cancelled."""
    bell = Bell()
    await bell.wait(0.001)
    with anyio.move_on_after(0):
        await bell.wait(LONG)

    assert not bell._waiting


async def test_it_rings_from_any_thread() -> None:
    """A plain thread has no event loop of its own."""
    bell, heard = Bell(), list[int]()
    async with anyio.create_task_group() as group:
        group.start_soon(waits, bell, heard, 1)
        while not bell._waiting:
            await anyio.lowlevel.checkpoint()
        thread = threading.Thread(target=bell.ring)
        thread.start()
    await anyio.to_thread.run_sync(thread.join)

    assert heard == [1]


@pytest.mark.parametrize("elsewhere", ["asyncio", "trio"])
async def test_it_rings_in_other_loops(elsewhere: str) -> None:
    """A waiter of another thread's loop is woken as well, and its own loop goes on."""
    bell, heard = Bell(), list[int]()
    run = partial(anyio.run, waits, bell, heard, 1, backend=elsewhere)
    async with anyio.create_task_group() as group:
        group.start_soon(anyio.to_thread.run_sync, run)
        while not bell._waiting:
            await anyio.lowlevel.checkpoint()
        bell.ring()

    assert heard == [1]


@pytest.mark.parametrize("elsewhere", ["asyncio", "trio"])
def test_it_does_not_wait_for_a_loop_that_is_blocked(elsewhere: str) -> None:
    """Else a loop that is blocked until the ringing thread is done would never go on."""
    bell, heard = Bell(), list[int]()

    async def main() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(waits, bell, heard, 1)
            while not bell._waiting:
                await anyio.lowlevel.checkpoint()
            with ThreadPoolExecutor(1) as pool:
                pool.submit(bell.ring).result(timeout=10)  # blocks this loop

    anyio.run(main, backend=elsewhere)

    assert heard == [1]


@pytest.mark.parametrize("elsewhere", ["asyncio", "trio"])
async def test_a_waiter_whose_loop_has_ended_is_passed_over(elsewhere: str) -> None:
    """The others are woken all the same."""
    bell, heard = Bell(), list[int]()
    loops: list[object] = []

    async def main() -> None:
        loops.append(anyio.lowlevel.current_token().native_token)

    await anyio.to_thread.run_sync(partial(anyio.run, main, backend=elsewhere))
    async with anyio.create_task_group() as group:
        bell._waiting[anyio.Event()] = loops[0]
        group.start_soon(waits, bell, heard, 1)
        while len(bell._waiting) < 2:
            await anyio.lowlevel.checkpoint()
        bell.ring()

    assert heard == [1]
