"""Runs that outlive their code: names, other classes, other steps, other states, and poison."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from signoff import Flow, HumanFeedbackResult, human_feedback, listen, start
from signoff.errors import ConfigurationError
from signoff.flows.flow import stored_name
from signoff.registry import flow_classes

if TYPE_CHECKING:
    from tests.flows.conftest import Bench, Forget

pytestmark = pytest.mark.usefixtures("names_restored")


class Reviewed(Flow):
    """A flow with a gate."""

    @start()
    @human_feedback("ok?", emit=["yes", "no"])
    def ask(self) -> str:
        """Ask."""
        return "copy"

    @listen("yes")
    def publish(self, result: HumanFeedbackResult) -> object:
        """Publish."""
        return result.output


def test_a_flows_stored_name_is_where_it_is_unless_pinned() -> None:
    """A local class says so in its name."""

    class Local(Flow):
        @start()
        def begin(self) -> None: ...

    class Pinned(Flow, name="acme.pinned", aliases=["acme.old"]):
        @start()
        def begin(self) -> None: ...

    assert stored_name(Reviewed) == f"{__name__}:Reviewed"
    assert stored_name(Local).endswith(".<locals>.Local")
    assert stored_name(Pinned) == "acme.pinned"
    assert flow_classes.get("acme.old") is Pinned


def test_a_name_is_not_inherited() -> None:
    """Each class has its own."""

    class Pinned(Flow, name="acme.parent"):
        @start()
        def begin(self) -> None: ...

    class Derived(Pinned):
        pass

    assert stored_name(Derived).endswith("Derived")


async def test_a_run_goes_on_under_an_alias_after_a_move(bench: Bench, forget: Forget) -> None:
    """The class has another name now, and remembers the old one."""

    class Before(Reviewed, name="deploys.before"):
        pass

    run = await bench.start(Before)
    forget("deploys.before")

    class After(Reviewed, name="deploys.after", aliases=["deploys.before"]):
        pass

    await bench.answer("ask", "yes")
    ended = await bench.now(run)
    assert (ended.output, ended.flow_name) == ("copy", "deploys.before")


async def test_another_class_cannot_take_a_name_or_an_alias(bench: Bench) -> None:
    """Whoever defines it is told whose it is."""

    class Mine(Reviewed, name="deploys.mine", aliases=["deploys.mine.old"]):
        pass

    for name in ("deploys.mine", "deploys.mine.old"):
        with pytest.raises(ConfigurationError, match="belongs to .*Mine"):
            type("Theirs", (Reviewed,), {}, name=name)


async def test_what_no_process_has_the_code_of_is_left_alone_and_counted(
    bench: Bench, forget: Forget
) -> None:
    """A process that only answers takes no run away from the workers, and blocks none."""

    class Elsewhere(Reviewed, name="deploys.elsewhere"):
        pass

    run = await bench.start(Elsewhere)
    forget("deploys.elsewhere")
    await bench.answer("ask", "yes")
    assert (await bench.now(run)).status == "suspended"
    assert await bench.client._machinery.executor.advance(run.run_id) is False
    assert (await bench.client.hitl.get_stats()).unclaimed == {"deploys.elsewhere": 1}

    type("Elsewhere", (Reviewed,), {}, name="deploys.elsewhere")
    await bench.go()
    assert (await bench.now(run)).output == "copy"
    assert (await bench.client.hitl.get_stats()).unclaimed == {}


async def test_a_process_without_the_code_can_cancel(bench: Bench, forget: Forget) -> None:
    """That needs none: its requests end."""

    class Elsewhere(Reviewed, name="deploys.cancelled"):
        pass

    run = await bench.start(Elsewhere)
    forget("deploys.cancelled")
    await bench.client.flows.cancel(run.run_id)
    assert (await bench.now(run)).status == "cancelled"
    assert await bench.pending() == []


async def test_a_process_without_the_code_can_ask_for_a_retry(bench: Bench, forget: Forget) -> None:
    """Which a process with the code carries out."""
    broken = [True]

    class Elsewhere(Flow, name="deploys.retried"):
        @start()
        def begin(self) -> str:
            if broken:
                raise OSError("down")
            return "done"

    run = await bench.start(Elsewhere)
    forget("deploys.retried")
    broken.clear()
    told = await bench.client.flows.retry(run.run_id)
    assert told.status == "failed"
    flow_classes.add(Elsewhere, origin="again", names=["deploys.retried"])
    await bench.go()
    assert (await bench.now(run)).output == "done"


async def test_a_class_that_cannot_be_made_blocks_its_runs(bench: Bench) -> None:
    """With what its constructor raised; with the constructor mended, a retry goes on."""

    class Needy(Reviewed):
        def __init__(self, site: str = "") -> None:
            super().__init__()
            if not site and not MENDED:
                raise LookupError("no site")

    MENDED.clear()
    run = await bench.start(Needy("acme"))
    assert run.status == "blocked"
    assert run.blocked_reason == "code_missing"
    assert "Needy() cannot be made: LookupError('no site')" in run.blocked_detail
    MENDED.append(True)
    await bench.client.flows.retry(run.run_id)
    await bench.go()
    await bench.answer("ask", "yes")
    assert (await bench.now(run)).output == "copy"


MENDED: list[bool] = []


def deployed(**steps: Callable[..., object]) -> type[Flow]:
    """Define a flow anew with its gate and other steps, as a deploy does."""

    def ask(self: Flow) -> str:
        return "copy"

    gate = start()(human_feedback("ok?", emit=["yes", "no"])(ask))
    return type("Deployed", (Flow,), {"ask": gate, **steps})


async def test_a_step_that_is_added_runs_in_runs_that_began_before(bench: Bench) -> None:
    """Nothing has to be migrated; the graph's fingerprint moves along."""

    def publish(self: Flow, result: HumanFeedbackResult) -> str:
        return f"published {result.output}"

    run = await bench.start(deployed())
    before = run.fingerprint
    deployed(publish=listen("yes")(publish))
    await bench.answer("ask", "yes")
    ended = await bench.now(run)
    assert ended.output == "published copy"
    assert ended.fingerprint != before


async def test_a_failed_run_whose_step_is_gone_is_blocked_by_its_retry(bench: Bench) -> None:
    """The reason names the step and those that there are."""

    def fails(self: Flow) -> None:
        raise OSError("down")

    run = await bench.start(deployed(fails=start()(fails)))
    assert run.status == "failed"
    deployed()
    await bench.answer("ask", "yes")
    assert (await bench.now(run)).status == "failed"
    await bench.client.flows.retry(run.run_id)
    await bench.go()
    blocked = await bench.now(run)
    assert (blocked.status, blocked.blocked_reason) == ("blocked", "code_missing")
    assert "has no step 'fails' any more; it has ask" in blocked.blocked_detail
    await bench.client.flows.cancel(run.run_id)
    assert (await bench.now(run)).status == "cancelled"
