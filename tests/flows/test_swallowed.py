"""The suspend signal: whatever a step's own code does to it, the step is suspended."""

from __future__ import annotations

import asyncio  # noqa: TID251 - asyncio's own task groups and gather are what users have
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING

import anyio
import pytest

from signoff import Flow, require_approval, start, to_thread, together

if TYPE_CHECKING:
    from tests.flows.conftest import Bench

ANN = "ann@acme.example"
RAN: list[str] = []


@pytest.fixture(autouse=True)
def _nothing_ran() -> None:
    """Forget what ran in other tests."""
    RAN.clear()


@require_approval(name="swallowed.pay")
async def pay(vendor: str) -> str:
    """Pay, and take a while."""
    await anyio.lowlevel.checkpoint()
    RAN.append(vendor)
    return f"receipt of {vendor}"


@require_approval(name="swallowed.refund")
def refund(vendor: str) -> str:
    """Pay back."""
    RAN.append(vendor)
    return f"refund of {vendor}"


Step = Callable[[], Awaitable[object]]


async def catches_everything() -> object:
    """Swallow it, and say so."""
    try:
        return await pay("acme")
    except BaseException:  # noqa: BLE001 - as careless code does
        RAN.append("swallowed")
        return "swallowed"


async def returns_in_finally() -> object:
    """Swallow it without saying so."""
    try:
        return await pay("acme")
    finally:
        if "acme" not in RAN:
            return "swallowed"  # noqa: B012 - as careless code does


async def raises_another() -> object:
    """Turn it into an error."""
    try:
        return await pay("acme")
    except BaseException as error:
        raise RuntimeError("payment failed") from error


async def suppresses() -> object:
    """Suppress it in a with block, and return what there is."""
    receipt: object = "swallowed"
    with suppress(BaseException):
        receipt = await pay("acme")
    return receipt


async def goes_on_to_another_gate() -> object:
    """Swallow it and call the next gate."""
    receipts: list[object] = []
    for vendor in ("acme", "bolt"):
        with suppress(BaseException):
            receipts.append(await pay(vendor))
    return receipts


async def calls_a_sync_gate() -> object:
    """Swallow it in a thread."""

    def careless() -> object:
        try:
            return refund("acme")
        except BaseException:  # noqa: BLE001 - as careless code does
            return "swallowed"

    return await to_thread(careless)


async def in_anyio_group() -> object:
    """Let a task group wrap it."""
    receipts: list[object] = []

    async def one() -> None:
        receipts.append(await pay("acme"))

    async with anyio.create_task_group() as group:
        group.start_soon(one)
    return receipts


async def in_anyio_group_that_is_caught() -> object:
    """Let a task group wrap it, and swallow the group."""
    try:
        return await in_anyio_group()
    except BaseExceptionGroup:
        return "swallowed"


@pytest.mark.parametrize(
    ("body", "output", "loud"),
    [
        (catches_everything, "receipt of acme", True),
        (returns_in_finally, "receipt of acme", True),
        (raises_another, "receipt of acme", True),
        (suppresses, "receipt of acme", True),
        (calls_a_sync_gate, "refund of acme", True),
        (in_anyio_group, ["receipt of acme"], False),
        (in_anyio_group_that_is_caught, ["receipt of acme"], True),
    ],
)
async def test_a_step_that_swallows_the_signal_is_suspended_all_the_same(
    bench: Bench, caplog: pytest.LogCaptureFixture, body: Step, output: object, loud: bool
) -> None:
    """Nothing that it returned or raised counts; the log says where the signal was raised."""

    class Careless(Flow):
        @start()
        async def begin(self) -> object:
            return await body()

    with caplog.at_level(logging.WARNING, "signoff.flows"):
        run = await bench.start(Careless)
    assert run.status == "suspended"
    warned = [one.getMessage() for one in caplog.records if "swallowed" in one.getMessage()]
    assert bool(warned) is loud
    if loud:
        assert "step begin of" in warned[0]
        assert __file__ in warned[0]
    (step,) = set(await bench.pending())
    await bench.approve(step)
    ended = await bench.now(run)
    assert (ended.status, ended.output) == ("completed", output)
    assert RAN.count("acme") == 1


async def test_every_later_gate_of_the_attempt_raises_the_signal_again(bench: Bench) -> None:
    """So nothing is asked in a situation that nobody has decided about."""

    class Careless(Flow):
        @start()
        async def begin(self) -> object:
            return await goes_on_to_another_gate()

    run = await bench.start(Careless)
    assert await bench.pending() == ["pay"]
    await bench.approve("pay")
    assert await bench.pending() == ["pay"]
    await bench.approve("pay")
    assert (await bench.now(run)).output == ["receipt of acme", "receipt of bolt"]
    assert RAN == ["acme", "bolt"]


async def answer_one_by_one(bench: Bench) -> None:
    """Approve what is asked, one at a time, until nothing is."""
    while page := await bench.client.hitl.list_requests(status="pending", limit=1):
        await bench.client.hitl.approve(request_id=page[0].request_id, reviewer=ANN)
        await bench.go()


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_gather_swallows_nothing(anyio_backend: str, bench: Bench) -> None:
    """With `return_exceptions=True`, the signal comes back as a value that counts for nothing."""

    class Gathered(Flow):
        @start()
        async def begin(self) -> list[object]:
            found = await asyncio.gather(pay("acme"), pay("bolt"), return_exceptions=True)
            return list(found)

    run = await bench.start(Gathered)
    assert run.status == "suspended"
    assert await bench.pending() == ["pay", "pay"]
    await answer_one_by_one(bench)
    assert (await bench.now(run)).output == ["receipt of acme", "receipt of bolt"]
    assert sorted(RAN) == ["acme", "bolt"]


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_two_gates_in_asyncios_task_group(anyio_backend: str, bench: Bench) -> None:
    """Its cancellation of the other task cancels no approved body."""

    class Grouped(Flow):
        @start()
        async def begin(self) -> list[str]:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(pay(vendor)) for vendor in ("acme", "bolt")]
            return [task.result() for task in tasks]

    run = await bench.start(Grouped)
    assert await bench.pending() == ["pay", "pay"]
    await answer_one_by_one(bench)
    assert (await bench.now(run)).output == ["receipt of acme", "receipt of bolt"]
    assert sorted(RAN) == ["acme", "bolt"]


async def test_two_gates_in_an_anyio_task_group_on_both_loops(bench: Bench) -> None:
    """One of them has been approved before the other, and runs to its end."""

    class Grouped(Flow):
        @start()
        async def begin(self) -> list[str]:
            receipts: list[str] = []

            async def one(vendor: str) -> None:
                receipts.append(await pay(vendor))

            async with anyio.create_task_group() as group:
                for vendor in ("acme", "bolt", "cord"):
                    group.start_soon(one, vendor)
            return sorted(receipts)

    run = await bench.start(Grouped)
    assert await bench.pending() == ["pay"] * 3
    await answer_one_by_one(bench)
    assert (await bench.now(run)).output == [
        "receipt of acme",
        "receipt of bolt",
        "receipt of cord",
    ]
    assert sorted(RAN) == ["acme", "bolt", "cord"]


async def test_together_asks_in_one_commit_and_suspends_once(bench: Bench) -> None:
    """The bodies run in the order given once all are decided."""
    from functools import partial  # noqa: PLC0415 - one test only

    attempts: list[int] = []

    class Together(Flow):
        @start()
        async def begin(self) -> object:
            attempts.append(1)
            return await together(partial(pay, "acme"), partial(pay, "bolt"))

    run = await bench.start(Together)
    assert await bench.pending() == ["pay", "pay"]
    await answer_one_by_one(bench)
    assert (await bench.now(run)).output == ("receipt of acme", "receipt of bolt")
    assert RAN == ["acme", "bolt"]
    assert len(attempts) == 3
