"""Declaring flows: what decorators accept, what they refuse, and what a class is made of."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING

import pytest

from signoff import Flow, HumanFeedbackResult, and_, human_feedback, listen, or_, router, start
from signoff.errors import ConfigurationError
from signoff.flows.dsl import mark_of

if TYPE_CHECKING:
    from tests.flows.conftest import Bench


class Verdict(StrEnum):
    """Labels as an enum."""

    GOOD = "good"
    BAD = "bad"


def test_decorators_keep_the_function_and_its_signature() -> None:
    """They stamp it and give back the very object, sync or async."""

    def step(self: object, result: str) -> int:
        """Do it."""
        return len(result)

    async def other(self: object) -> None: ...

    signature = inspect.signature(step)
    decorated = listen("x")(router()(human_feedback("ok?")(step)))
    assert decorated is step
    assert inspect.signature(decorated) == signature
    assert decorated.__doc__ == "Do it."
    assert start()(other) is other


@pytest.mark.parametrize("bad", [42, None, "", b"label", ["a"], object()])
def test_a_bad_item_is_refused_at_decoration(bad: object) -> None:
    """In every decorator and condition, with what was given."""
    for decorate in (listen, or_, and_, lambda item: or_("fine", item)):
        with pytest.raises(ValueError, match="no condition"):
            decorate(bad)  # type: ignore[arg-type]  # that is what is refused


@pytest.mark.parametrize("bad", [42, "", b"label", ["a"]])
def test_start_and_router_refuse_bad_conditions_too(bad: object) -> None:
    """Without a condition, both may stand; with a bad one, neither."""
    for decorate in (start, router):
        with pytest.raises(ValueError, match="no condition"):
            decorate(bad)  # type: ignore[arg-type]  # that is what is refused


@pytest.mark.parametrize("join", [or_, and_])
def test_an_empty_join_is_refused(join: Callable[[], object]) -> None:
    """It would never fire, or always."""
    with pytest.raises(ValueError, match="at least one"):
        join()


def test_two_different_conditions_on_one_step_are_refused() -> None:
    """Which of them counts, nobody could tell; the same one twice is fine."""

    def step(self: object) -> None: ...

    listen("x")(step)
    router("x")(step)
    with pytest.raises(ValueError, match="two conditions.*'x'.*'y'"):
        listen("y")(step)


def test_a_default_outcome_and_an_expiry_label_have_to_be_labels() -> None:
    """They need `emit`, and are one of it."""
    with pytest.raises(ValueError, match="default_outcome"):
        human_feedback("ok?", default_outcome="no")
    with pytest.raises(ValueError, match="default_outcome"):
        human_feedback("ok?", emit=["yes", "no"], default_outcome="perhaps")
    with pytest.raises(ValueError, match="on_expiry"):
        human_feedback("ok?", emit=["yes", "no"], on_expiry="late")


def test_the_labels_of_a_router_are_kept_for_readers() -> None:
    """From a list or from an enum."""

    def one(self: object) -> str:
        return "a"

    def two(self: object) -> Verdict:
        return Verdict.GOOD

    router("x", emit=["a", "b"])(one)
    router("x", emit=Verdict)(two)
    first, second = mark_of(one), mark_of(two)
    assert first is not None
    assert first.labels == ("a", "b")
    assert second is not None
    assert second.labels == ("good", "bad")


def stack(order: int) -> type[Flow]:
    """Return a flow whose gate is decorated in one of the possible orders."""
    gate = human_feedback("ok?", emit=["good", "bad"])
    orders: list[list[Callable[..., Callable[..., object]]]] = [
        [start(), router(emit=["good", "bad"]), gate],
        [gate, router(emit=["good", "bad"]), start()],
        [router(), gate, start()],
        [start(), gate],
    ]

    def ask(self: Flow) -> str:
        return "copy"

    def publish(self: Flow, result: HumanFeedbackResult) -> str:
        return f"published {result.output}"

    decorated: Callable[..., object] = ask
    for decorate in reversed(orders[order]):
        decorated = decorate(decorated)
    return type("Stacked", (Flow,), {"ask": decorated, "publish": listen("good")(publish)})


@pytest.mark.parametrize("order", range(4))
async def test_decorators_stack_in_any_order(bench: Bench, order: int) -> None:
    """A gate is above or below the router and the start."""
    run = await bench.start(stack(order))
    await bench.answer("ask", "good")
    assert (await bench.now(run)).output == "published copy"


async def test_a_listener_under_a_router_is_one(bench: Bench) -> None:
    """`@listen(x)` and `@router()` together are `@router(x)`."""

    class Both(Flow):
        @start()
        def begin(self) -> str:
            return "begun"

        @listen(begin)
        @router()
        def route(self, output: str) -> str:
            return f"{output} well"

        @router(route)
        @listen(route)
        def again(self, output: str) -> str:
            return output.upper()

        @listen("BEGUN WELL")
        def end(self, label: str) -> str:
            return label

    assert (await bench.start(Both)).output == "BEGUN WELL"


async def test_a_router_whose_gate_has_no_labels_routes_by_the_payload(bench: Bench) -> None:
    """As it was answered: the reviewer may change where it goes."""

    class Edited(Flow):
        @start()
        @router(emit=["left", "right"])
        @human_feedback("Where to?")
        def ask(self) -> str:
            return "left"

        @listen("right")
        def go_right(self, result: HumanFeedbackResult) -> list[object]:
            return [result.output, result.edited, result.outcome]

        @listen("left")
        def go_left(self) -> str:
            return "left after all"

    run = await bench.start(Edited)
    await bench.answer("ask", feedback="the other way", payload="right")
    assert (await bench.now(run)).output == ["right", True, None]


def test_a_method_that_listens_to_itself_is_refused_when_the_class_is_first_used() -> None:
    """Not before: the decorator cannot know the name of what it will decorate."""

    class Selfish(Flow):
        @start()
        def begin(self) -> None: ...

        @listen(or_(begin, "loop"))
        def loop(self) -> None: ...

    with pytest.raises(ValueError, match="'loop' listens to itself"):
        Selfish().kickoff()
    with pytest.raises(ValueError, match="'loop' listens to itself"):
        Selfish().kickoff()


def test_a_flow_without_a_start_is_refused_when_it_is_first_used() -> None:
    """It says what is missing."""

    class Idle(Flow):
        @listen("x")
        def never(self) -> None: ...

    with pytest.raises(ConfigurationError, match=r"no @start\(\) step"):
        Idle().kickoff()


def test_a_router_that_nothing_fires_is_refused() -> None:
    """A condition may be left out beside a start or a listener only."""

    class Lost(Flow):
        @start()
        def begin(self) -> None: ...

        @router()
        def never(self) -> str:
            return "x"

    with pytest.raises(ValueError, match="'never' is no start and listens to nothing"):
        Lost().kickoff()


class Base(Flow):
    """A parent that is a flow of its own."""

    @start()
    def begin(self) -> str:
        return "base"

    @listen(begin)
    def middle(self, output: str) -> str:
        return f"{output} middle"

    @listen(middle)
    def end(self, output: str) -> str:
        return f"{output} end"


async def test_inherited_steps_count_and_an_override_replaces_the_parents(bench: Bench) -> None:
    """With its own conditions; what is overridden without a decorator is no step."""

    class Derived(Base):
        @start()
        def begin(self) -> str:
            return f"derived from {super().begin()}"

        @listen(Base.middle)
        def more(self, output: str) -> str:
            return f"{output} more"

        def end(self, output: str) -> str:
            return "no step any more"

    class Narrow(Base):
        @listen("nothing")
        def middle(self, output: str) -> str:
            return "never"

    assert (await bench.start(Base)).output == "base middle end"
    assert (await bench.start(Derived)).output == "derived from base middle more"
    assert (await bench.start(Narrow)).output == "base"


async def test_steps_of_two_parents_are_both_inherited(bench: Bench) -> None:
    """In the order in which Python looks them up."""

    class Mixin:
        @listen("begin")
        def extra(self, output: str) -> str:
            return f"{output} extra"

    class Mixed(Mixin, Flow):
        @start()
        def begin(self) -> str:
            return "mixed"

    assert (await bench.start(Mixed)).output == "mixed extra"


def test_two_gates_with_one_label_warn_at_class_creation() -> None:
    """Each would fire the other's listeners; inherited gates count."""
    with pytest.warns(UserWarning, match="several gates emit 'approved'.*step:label") as warned:

        class Shared(Flow):
            @start()
            @human_feedback("One?", emit=["approved", "no"])
            def one(self) -> None: ...

            @start()
            @human_feedback("Two?", emit=["approved", "never"])
            def two(self) -> None: ...

    assert warned[0].filename == __file__


async def test_step_and_label_together_name_one_gates_label(bench: Bench) -> None:
    """Its listener gets the result of that gate, and is not fired by the other one."""
    with pytest.warns(UserWarning, match="several gates"):

        class Shared(Flow):
            @start()
            @human_feedback("One?", emit=["approved", "no"])
            def one(self) -> str:
                return "first"

            @start()
            @human_feedback("Two?", emit=["approved", "never"])
            def two(self) -> str:
                return "second"

            @listen("one:approved")
            def after_one(self, result: HumanFeedbackResult) -> None:
                self.state["one"] = [result.output, result.outcome]

            @listen("two:approved")
            def after_two(self, result: HumanFeedbackResult) -> None:
                self.state["two"] = [result.output, result.outcome]

            @listen(and_("one:approved", "two:approved"))
            def both(self) -> dict[str, object]:
                return {name: self.state.get(name) for name in ("one", "two")}

    run = await bench.start(Shared)
    await bench.approve("two")
    await bench.approve("one")
    ended = await bench.now(run)
    assert ended.state["one"] == ["first", "approved"]
    assert ended.state["two"] == ["second", "approved"]


async def test_a_plain_routers_label_behind_its_name_gives_the_label(bench: Bench) -> None:
    """A listener of `route:go` gets "go", as a listener of `go` does."""

    class Plain(Flow):
        @start()
        @router()
        def route(self) -> str:
            return "go"

        @listen("route:go")
        def end(self, label: str) -> str:
            return f"got {label}"

    assert (await bench.start(Plain)).output == "got go"


async def test_metadata_is_copied_for_each_run(bench: Bench) -> None:
    """What a step does to it stays in that run."""
    metadata: dict[str, object] = {"tags": ["legal"]}

    class Tagged(Flow):
        @start()
        @human_feedback("ok?", emit=["yes", "no"], metadata=metadata)
        def ask(self) -> None: ...

        @listen("yes")
        def tag(self, result: HumanFeedbackResult) -> object:
            tags = result.metadata["tags"]
            assert isinstance(tags, list)
            tags.append("seen")
            return tags

    for _ in range(2):
        run = await bench.start(Tagged)
        await bench.answer("ask", "yes")
        assert (await bench.now(run)).output == ["legal", "seen"]
    assert metadata == {"tags": ["legal"]}
