"""State: dict or model, what it begins with, what it refuses, and that steps share it."""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING, Generic, TypeVar, cast
from uuid import UUID, uuid4

import pytest
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, create_model, field_validator

from signoff import (
    Flow,
    HumanFeedbackResult,
    Proposal,
    human_feedback,
    listen,
    require_approval,
    start,
)
from signoff.errors import ConfigurationError

if TYPE_CHECKING:
    from tests.flows.conftest import Bench


class Order(BaseModel):
    """A model without an id."""

    amount: int = 0
    tags: list[str] = Field(default_factory=list)

    @field_validator("amount")
    @classmethod
    def _positive(cls, value: int) -> int:
        if value < 0:
            raise ValueError("is negative")
        return value


class WithId(BaseModel):
    """A model with an id of its own."""

    id: str
    note: str = "none"


async def test_a_dict_state_has_an_id_that_is_the_runs(bench: Bench) -> None:
    """Unless an input gives one; `flow_id` is it."""

    class Plain(Flow):
        @start()
        def begin(self) -> list[object]:
            return [self.state["id"], self.flow_id, self.state["topic"]]

    run = await bench.start(Plain, topic="copy")
    assert run.output == [run.run_id, run.run_id, "copy"]
    given = await bench.start(Plain, id="order-7", topic=None)
    assert given.output == ["order-7", "order-7", None]


async def test_a_model_state_is_that_model_and_gets_an_id(bench: Bench) -> None:
    """Steps see the model, with the types of its fields, and may type-check it."""

    class Typed(Flow[Order]):
        @start()
        def begin(self) -> list[object]:
            self.state.amount += 1
            return [isinstance(self.state, Order), self.flow_id, type(self.state).__name__]

        @listen(begin)
        def end(self) -> Order:
            return self.state

    run = await bench.start(Typed, amount="41")
    assert run.output == Order(amount=42)
    assert type(run.output) is Order
    assert run.state["id"] == run.run_id


async def test_an_id_of_the_models_own_is_filled_or_given(bench: Bench) -> None:
    """A required one gets the run's id; a default of the model stays."""

    class Required(Flow[WithId]):
        @start()
        def begin(self) -> str:
            return self.state.id

    class Numbered(BaseModel):
        id: UUID = Field(default_factory=uuid4)

    class Defaulted(Flow[Numbered]):
        @start()
        def begin(self) -> bool:
            return isinstance(self.state.id, UUID)

    run = await bench.start(Required)
    assert run.output == run.run_id
    assert (await bench.start(Required, id="order-7")).output == "order-7"
    assert (await bench.start(Defaulted)).output is True


@require_approval(name="state.check")
async def check(state: dict[str, object], order: Order | None = None) -> list[object]:
    """Look at a state."""
    return [type(state) is dict, state.get("list"), type(order) is Order, order]


async def test_the_state_may_be_returned_asked_about_and_given_to_a_gated_call(
    bench: Bench,
) -> None:
    """What is stored, shown and handed on is a plain copy of it, also as a part of something."""

    class Plain(Flow):
        @start()
        def begin(self) -> dict[str, object]:
            self.state["list"] = [1]
            return self.state

        @listen(begin)
        @human_feedback("ok?", emit=["yes", "no"])
        def ask(self, output: dict[str, object]) -> Proposal:
            assert type(output) is dict
            return Proposal([self.state, output])

        @listen("yes")
        async def end(self, result: HumanFeedbackResult) -> list[object]:
            assert result.output == [self.state, self.state]
            return await check(self.state)

    run = await bench.start(Plain)
    assert (await bench.asked("ask")).payload == [{"id": run.run_id, "list": [1]}] * 2
    await bench.answer("ask", "yes")
    await bench.approve("check")
    assert (await bench.now(run)).output == [True, [1], False, None]


async def test_a_model_state_may_be_handed_on_too(bench: Bench) -> None:
    """As an instance of the user's own model."""

    class Typed(Flow[Order]):
        @start()
        async def begin(self) -> list[object]:
            self.state.amount = 7
            return await check({"order": self.state}, self.state)

    run = await bench.start(Typed)
    await bench.approve("check")
    output = (await bench.now(run)).output
    assert output == [True, None, True, Order(amount=7)]


def initial_states() -> list[object]:
    """Return all forms of a state with the amount 7."""

    class Seven(Order):
        amount: int = 7

    return [Seven, Order(amount=7), {"amount": 7}]


@pytest.mark.parametrize("form", range(3))
@pytest.mark.parametrize("place", ["class", "constructor"])
async def test_initial_state_may_be_a_class_a_dict_or_an_instance(
    bench: Bench, form: int, place: str
) -> None:
    """As class attribute or constructor argument; inputs are merged over it."""
    initial = initial_states()[form]

    class Begun(Flow):
        if place == "class":
            initial_state = initial

        @start()
        @human_feedback("ok?", emit=["yes", "no"])
        def begin(self) -> object:
            return self.amount()

        @listen("yes")
        def end(self) -> list[object]:
            return [self.amount(), isinstance(self.state, Order)]

        def amount(self) -> object:
            state = cast("object", self.state)
            return state.amount if isinstance(state, Order) else self.state["amount"]

    flow = Begun(initial_state=initial) if place == "constructor" else Begun()
    run = await bench.start(flow)
    await bench.answer("begin", "yes")
    assert (await bench.now(run)).output == [7, form < 2]

    again = await bench.start(Begun(initial_state=initial), amount=8)
    await bench.answer("begin", "yes")
    assert (await bench.now(again)).output == [8, form < 2]


async def test_a_model_that_only_the_instance_named_has_to_be_loaded_to_go_on(
    bench: Bench,
) -> None:
    """Elsewhere the run waits, and says for what."""

    class Begun(Flow):
        @start()
        @human_feedback("ok?", emit=["yes", "no"])
        def begin(self) -> str:
            return "copy"

    model = create_model(f"Gone{next(NUMBERS)}", __base__=Order)
    run = await bench.start(Begun(initial_state=model))
    model.__qualname__ = f"Elsewhere{model.__qualname__}"
    await bench.answer("begin", "yes")

    blocked = await bench.now(run)
    assert (blocked.status, blocked.blocked_reason) == ("blocked", "state_invalid")
    assert re.search(r":Gone\d, which is not loaded here", blocked.blocked_detail)


async def test_the_state_is_equal_to_a_model_with_the_same_fields(bench: Bench) -> None:
    """As users compare it in tests; its id is not looked at unless the model has one."""

    class Typed(Flow[Order]):
        @start()
        def begin(self) -> None: ...

    flow = Typed(client=bench.client)
    await flow.kickoff_async({"amount": 7})
    assert flow.state == Order(amount=7)
    assert flow.state != Order(amount=8)
    assert flow.state != cast("object", {"amount": 7})


async def test_a_dict_class_as_initial_state_is_an_empty_dict(bench: Bench) -> None:
    """As is no initial state at all."""

    class Plain(Flow):
        initial_state = dict

        @start()
        def begin(self) -> list[str]:
            return list(self.state)

    assert (await bench.start(Plain)).output == ["id"]


@pytest.mark.parametrize("initial", [42, "text", [1], int])
def test_another_initial_state_is_refused(initial: object) -> None:
    """It is neither a model nor a dict."""

    class Begun(Flow):
        @start()
        def begin(self) -> None: ...

    with pytest.raises(ConfigurationError, match="neither a pydantic model"):
        Begun(initial_state=initial)


async def test_a_run_never_changes_what_the_next_one_begins_with(bench: Bench) -> None:
    """Not through a list or dict inside of it either, before or while it runs."""
    initial: dict[str, object] = {"tags": []}

    class Begun(Flow):
        initial_state = initial

        @start()
        def begin(self) -> object:
            tags = cast("list[str]", self.state["tags"])
            tags.append("seen")
            return tags

    flow = Begun()
    cast("list[str]", flow.state["tags"]).append("before")
    assert (await bench.start(flow)).output == ["before", "seen"]
    assert (await bench.start(Begun)).output == ["seen"]
    assert initial == {"tags": []}


async def test_what_is_put_into_a_new_instances_state_counts_for_its_first_run(
    bench: Bench,
) -> None:
    """A kickoff afterwards begins afresh."""

    class Typed(Flow[Order]):
        @start()
        def begin(self) -> int:
            self.state.amount += 1
            return self.state.amount

    flow = Typed(client=bench.client)
    assert (flow.state.amount, flow.flow_id) == (0, "")
    flow.state.amount = 5
    assert await flow.kickoff_async() == 6
    assert await flow.kickoff_async() == 1
    assert flow.state.amount == 1
    plain = Flow[dict[str, object]]()
    assert plain.state == {"id": ""}


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"amount": "many"}, "'amount'.*valid integer"),
        ({"amount": -1}, "'amount'.*is negative"),
        ({"tags": ["fine", 7]}, r"'tags\.1'.*valid string"),
    ],
)
async def test_a_wrong_input_names_the_field(
    bench: Bench, inputs: dict[str, object], message: str
) -> None:
    """No run is stored."""

    class Typed(Flow[Order]):
        @start()
        def begin(self) -> None: ...

    with pytest.raises(ValueError, match=f"state field {message}"):
        await bench.start(Typed, **inputs)
    with pytest.raises(ValueError, match=message):
        await Typed(client=bench.client).kickoff_async(inputs)
    assert await bench.client.flows.list() == ()


@pytest.mark.parametrize("extra", ["ignore", "forbid"])
async def test_unknown_keys_are_ignored_on_models(bench: Bench, extra: str) -> None:
    """Whether or not the model itself would refuse them."""

    class Strict(Order):
        model_config = ConfigDict(extra="forbid" if extra == "forbid" else "ignore")

    class Typed(Flow[Strict]):
        @start()
        def begin(self) -> list[str]:
            return sorted(self.state.model_dump())

    run = await bench.start(Typed, amount=1, colour="red")
    assert run.output == ["amount", "id", "tags"]


class Open(BaseModel):
    """A model that takes any other value, and has a private one and one by another name."""

    model_config = ConfigDict(extra="allow")

    count: int = Field(default=0, alias="howMany")
    _private: list[int] = PrivateAttr(default_factory=list)


async def test_a_model_that_allows_more_keeps_more(bench: Bench) -> None:
    """Over a resume, too; what is private to the model is no part of the state."""

    class Typed(Flow[Open]):
        @start()
        def begin(self) -> None:
            setattr(self.state, "tags", ["x"])  # noqa: B010 - no field of the model
            self.state._private.append(1)
            self.state._private = [2]

        @listen(begin)
        @human_feedback("ok?", emit=["yes", "no"])
        def ask(self) -> None: ...

        @listen("yes")
        def end(self) -> list[object]:
            return [self.state.model_extra, self.state.count, self.state._private]

    run = await bench.start(Typed, howMany=3, colour="red")
    await bench.answer("ask", "yes")
    ended = await bench.now(run)
    assert ended.output == [{"colour": "red", "tags": ["x"]}, 3, []]
    by_name = await bench.start(Typed, count=4)
    assert by_name.state["count"] == 4


NUMBERS = itertools.count()
ModelT = TypeVar("ModelT", bound=BaseModel)


async def test_the_model_is_found_through_a_generic_parent(bench: Bench) -> None:
    """`class F(Base[Order])`, where Base is itself a generic flow."""

    class Middle(Flow[ModelT], Generic[ModelT]):
        @start()
        def begin(self) -> bool:
            return isinstance(self.state, Order)

    class Typed(Middle[Order]):
        pass

    assert (await bench.start(Typed)).output is True
    assert (await bench.start(Middle)).output is False
