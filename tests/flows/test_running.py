"""Running flows: what kickoff returns, from where it may be called, and what an instance shows."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from datetime import UTC, timedelta
from typing import TYPE_CHECKING

import anyio
import pytest
from anyio import to_thread

from signoff import (
    Client,
    Flow,
    HumanFeedbackResult,
    Suspended,
    human_feedback,
    listen,
    set_default_client,
    start,
)
from signoff.errors import ConfigurationError, RunCancelled
from signoff.stores import MemoryStore

if TYPE_CHECKING:
    from tests.flows.conftest import Bench


class Plain(Flow):
    """A flow without a gate."""

    @start()
    def begin(self) -> object:
        """Return the topic."""
        return self.state.get("topic")

    @listen(begin)
    def end(self, topic: object) -> list[object]:
        """Return what it was given."""
        return [topic]


class Nothing(Flow):
    """A flow whose last step returns nothing."""

    @start()
    def begin(self) -> str:
        """Return something."""
        return "something"

    @listen(begin)
    def end(self, output: str) -> None:
        """Return nothing."""


class Routed(Flow):
    """A flow that ends with a gate that routes."""

    @start()
    @human_feedback("ok?", emit=["yes", "no"])
    def ask(self) -> str:
        """Ask."""
        return "the copy"


class Free(Flow):
    """A flow that ends with a gate for any text."""

    @start()
    @human_feedback("What do you think?", metadata={"round": 1})
    def ask(self) -> str:
        """Ask."""
        return "the copy"


@pytest.fixture
def memory() -> Iterator[None]:
    """Let flows without a client use one over memory."""
    set_default_client(Client(MemoryStore()))
    yield
    set_default_client(None)


@pytest.mark.usefixtures("memory")
def test_kickoff_returns_the_output_of_the_last_step() -> None:
    """Even when that is `None`; without a running loop it needs nothing."""
    assert Plain().kickoff({"topic": "copy"}) == ["copy"]
    assert Plain().kickoff() == [None]
    assert Nothing().kickoff() is None


async def test_kickoff_async_returns_the_same(bench: Bench) -> None:
    """`akickoff` is another name of it."""
    assert await Plain(client=bench.client).kickoff_async({"topic": "copy"}) == ["copy"]
    assert await Nothing(client=bench.client).kickoff_async() is None
    assert await Plain(client=bench.client).akickoff(inputs={"topic": 1}) == [1]


async def test_the_last_step_is_the_one_that_finished_last(bench: Bench) -> None:
    """Whatever the order in which they are declared."""
    first_is_over = anyio.Event()

    class Parallel(Flow):
        @start()
        async def slow(self) -> str:
            await first_is_over.wait()
            return "slow"

        @start()
        async def quick(self) -> str:
            return "quick"

        @listen(quick)
        async def after(self) -> str:
            first_is_over.set()
            return "after"

    assert await Parallel(client=bench.client).kickoff_async() == "slow"


async def test_a_terminal_gate_that_routes_gives_the_steps_own_value(bench: Bench) -> None:
    """As it was answered."""
    run = await bench.start(Routed)
    await bench.answer("ask", "yes", payload="a better copy")
    assert (await bench.now(run)).output == "a better copy"


async def test_a_terminal_gate_for_any_text_gives_the_whole_result(bench: Bench) -> None:
    """With all its fields."""
    run = await bench.start(Free)
    bench.clock.advance(timedelta(hours=1))
    request = await bench.answer("ask", feedback="Fine by me")
    result = (await bench.now(run)).output
    assert result == HumanFeedbackResult(
        output="the copy",
        feedback="Fine by me",
        outcome=None,
        timestamp=bench.clock.now(),
        method_name="ask",
        metadata={"round": 1},
        request_id=request.request_id,
        reviewer="ann@acme.example",
        channel="api",
        edited=False,
    )
    assert isinstance(result, HumanFeedbackResult)
    assert result.timestamp.tzinfo is UTC


async def test_an_edited_payload_is_what_the_listener_gets(bench: Bench) -> None:
    """And the result says that it was edited."""

    class Edited(Routed):
        @listen("yes")
        def publish(self, result: HumanFeedbackResult) -> list[object]:
            return [result.output, result.edited, self.method_outputs]

    run = await bench.start(Edited)
    await bench.answer("ask", "yes", payload="a better copy")
    assert (await bench.now(run)).output == ["a better copy", True, ["a better copy"]]


async def test_a_suspended_kickoff_returns_the_run_and_its_requests(bench: Bench) -> None:
    """Which is a value and no exception; the run goes on elsewhere."""
    suspended = await Routed(client=bench.client).kickoff_async()
    assert isinstance(suspended, Suspended)
    (request,) = suspended.requests
    assert (request.run_id, request.message) == (suspended.run_id, "ok?")
    await bench.answer("ask", "yes")
    assert (await bench.client.flows.get(suspended.run_id)).output == "the copy"


async def test_a_failed_kickoff_raises_the_very_exception(bench: Bench) -> None:
    """With the traceback that leads into the step."""

    class Failing(Flow):
        @start()
        def begin(self) -> None:
            raise LookupError("no such copy")

    with pytest.raises(LookupError, match="no such copy") as raised:
        await Failing(client=bench.client).kickoff_async()
    assert raised.traceback[-1].name == "begin"


async def test_a_kickoff_that_is_cancelled_raises_that(bench: Bench) -> None:
    """There is no output; the step that ran is cancelled, too."""

    class Cancelling(Flow):
        @start()
        async def begin(self) -> None:
            (run,) = await bench.client.flows.list(flow=Cancelling)
            await bench.client.flows.cancel(run.run_id)
            await anyio.sleep_forever()

    with pytest.raises(RunCancelled):
        await Cancelling(client=bench.client).kickoff_async()


@pytest.mark.usefixtures("memory")
async def test_kickoff_inside_a_running_loop_works_and_blocks() -> None:
    """In a thread and loop of its own, with the caller's context."""
    colour: ContextVar[str] = ContextVar("colour", default="none")

    class Coloured(Flow):
        @start()
        async def begin(self) -> str:
            return colour.get()

        @listen(begin)
        def end(self, output: str) -> list[str]:
            return [output, colour.get()]

    colour.set("red")
    assert Coloured().kickoff() == ["red", "red"]


async def test_kickoff_on_the_clients_own_loop_names_kickoff_async(bench: Bench) -> None:
    """It would wait for a loop that it blocks; in another thread it works."""
    with pytest.raises(ConfigurationError, match=r"kickoff_async\(\)"):
        Plain(client=bench.client).kickoff()
    flow = Plain(client=bench.client)
    assert await to_thread.run_sync(flow.kickoff, {"topic": 1}) == [1]


@pytest.mark.usefixtures("memory")
def test_kickoffs_in_several_threads_do_not_meet() -> None:
    """Each has a loop of its own on one default client."""
    with ThreadPoolExecutor(4) as pool:
        results = pool.map(lambda number: Plain().kickoff({"topic": number}), range(8))
        assert list(results) == [[number] for number in range(8)]
