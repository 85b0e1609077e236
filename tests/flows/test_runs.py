"""Instances and runs as applications see them: state, arguments, lists, and waiting."""

from __future__ import annotations

import warnings
from datetime import timedelta
from typing import TYPE_CHECKING

import anyio
import pytest

from signoff import (
    Client,
    Flow,
    human_feedback,
    listen,
    router,
    start,
)
from signoff.errors import ConfigurationError
from signoff.security.keyring import Keyring
from signoff.stores import SQLiteStore

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


class Routed(Flow):
    """A flow that ends with a gate that routes."""

    @start()
    @human_feedback("ok?", emit=["yes", "no"])
    def ask(self) -> str:
        """Ask."""
        return "the copy"


async def test_an_instance_is_reusable_and_each_kickoff_is_a_run(bench: Bench) -> None:
    """Nothing of the first is left in the second."""

    class Counting(Flow):
        @start()
        def begin(self) -> int:
            self.state.setdefault("seen", 0)
            self.state["seen"] = len(self.method_outputs) + 1
            return len(self.state)

    flow = Counting(client=bench.client)
    assert await flow.kickoff_async({"topic": 1}) == 3
    first = flow.flow_id
    assert await flow.kickoff_async() == 2
    assert flow.flow_id != first
    assert flow.method_outputs == [2]
    assert len(await bench.client.flows.list()) == 2


async def test_an_instance_shows_its_last_run(bench: Bench) -> None:
    """State, outputs, and what humans said."""

    class Shown(Flow):
        @start()
        @human_feedback("one?", emit=["yes", "no"])
        def one(self) -> str:
            return "first"

        @listen("yes")
        @human_feedback("two?", emit=["maybe", "never"])
        def two(self) -> str:
            return "second"

        @listen("maybe")
        def end(self) -> list[object]:
            last = self.last_human_feedback
            return [
                [one.outcome for one in self.human_feedback_history],
                last.method_name if last else None,
                self.method_outputs,
                self.flow_id,
            ]

    fresh = Shown(client=bench.client)
    assert fresh.last_human_feedback is None
    assert (fresh.method_outputs, fresh.human_feedback_history) == ([], [])
    run = await bench.start(fresh)
    await bench.answer("one", "yes")
    await bench.answer("two", "maybe")
    assert (await bench.now(run)).output == [
        ["yes", "maybe"],
        "two",
        ["first", "second"],
        run.run_id,
    ]


async def test_what_an_instance_shows_is_a_copy(bench: Bench) -> None:
    """Whoever changes it changes nothing of the run."""
    flow = Plain(client=bench.client)
    await flow.kickoff_async({"topic": 1})
    flow.method_outputs.clear()
    flow.human_feedback_history.clear()
    assert flow.method_outputs == [1, [1]]


async def test_a_step_gets_an_argument_if_it_has_a_place_for_one(bench: Bench) -> None:
    """Positional, optional or gathered; keywords get none, and a start keeps its default."""

    class Places(Flow):
        @start()
        def begin(self, topic: str = "default") -> str:
            return topic

        @start()
        def required(self, topic: object) -> object:
            return [topic]

        @listen(begin)
        def gathered(self, *args: object) -> object:
            return args

        @listen(begin)
        def optional(self, topic: str = "none") -> object:
            return topic

        @listen(begin)
        def named(self, *, topic: str = "none", **more: object) -> object:
            return [topic, more]

        @listen(begin)
        def positional(self, topic: str, /, other: int = 2) -> object:
            return [topic, other]

    run = await bench.start(Places)
    journal = [one.record for one in await bench.store.journal(run.run_id)]
    assert {one.step: one.output for one in journal} == {
        "begin": "default",
        "required": [None],
        "gathered": {"$": "tuple", "v": ["default"]},
        "optional": "default",
        "named": ["none", {}],
        "positional": ["default", 2],
    }


async def test_a_suspended_kickoff_warns_when_nobody_serves_a_durable_store(
    anyio_backend: str, tmp_path: object
) -> None:
    """And when the flow's name is one that no other process can find."""

    class Local(Flow):
        @start()
        @human_feedback("ok?", emit=["yes", "no"])
        def ask(self) -> None: ...

    store = SQLiteStore(f"{tmp_path}/signoff.db")
    async with Client(store, keyring=Keyring.generate()) as client:
        assert await warned(Local(client=client)) == [
            "is a local or script name, so only this process finds the code",
            "nobody serves its store",
        ]
        assert await warned(Routed(client=client)) == ["nobody serves its store"]
        async with client.serving():
            assert await warned(Routed(client=client)) == []


async def warned(flow: Flow) -> list[str]:
    """Kick a flow off, and return what of the known warnings it gives."""
    known = (
        "is a local or script name, so only this process finds the code",
        "nobody serves its store",
    )
    with warnings.catch_warnings(record=True, action="always") as caught:
        await flow.kickoff_async()
    texts = [str(one.message) for one in caught]
    return [each for text in texts for each in known if each in text]


async def test_runs_are_started_listed_and_waited_for(bench: Bench) -> None:
    """By status and by class; a run in the hands of a worker is `running`."""
    begun, go = anyio.Event(), anyio.Event()

    class Slow(Flow):
        @start()
        @router()
        async def begin(self) -> str:
            begun.set()
            await go.wait()
            return "done"

    run = await bench.client.flows.start(Slow)
    assert run.status == "ready"
    assert [one.run_id for one in await bench.client.flows.list(status="ready")] == [run.run_id]
    waited: list[object] = []

    async def wait() -> None:
        waited.append((await bench.client.flows.wait(run.run_id)).output)

    async with anyio.create_task_group() as group:
        group.start_soon(bench.client.drain)
        group.start_soon(wait)
        await begun.wait()
        assert (await bench.now(run)).status == "running"
        assert [one.run_id for one in await bench.client.flows.list(status="running")] == [
            run.run_id
        ]
        assert await bench.client.flows.list(status="ready") == ()
        soon = await bench.client.flows.wait(run.run_id, timeout=timedelta(0))
        assert soon.status == "running"
        go.set()
    assert waited == ["done"]
    assert await bench.client.flows.list(flow=Plain) == ()
    (listed,) = await bench.client.flows.list(flow=Slow, status="completed")
    assert listed.output == "done"


async def test_only_what_failed_or_is_blocked_can_be_retried(bench: Bench) -> None:
    """Anything else is refused with its status."""
    run = await bench.start(Routed)
    with pytest.raises(ConfigurationError, match="is suspended; only a failed or blocked run"):
        await bench.client.flows.retry(run.run_id)
