"""Runs that are brought to new code: steps with other names, states of another shape."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
from pydantic import BaseModel

from signoff import (
    Flow,
    HumanFeedbackResult,
    and_,
    human_feedback,
    listen,
    require_approval,
    router,
    start,
)
from signoff.codec import codec
from signoff.flows.flow import shape_of

if TYPE_CHECKING:
    from tests.flows.conftest import Bench

    from signoff.model.run import Run

pytestmark = pytest.mark.usefixtures("names_restored")


def deployed(**members: object) -> type[Flow]:
    """Define a flow anew, as a deploy does."""
    kind: type[Flow] = type("Deployed", (Flow,), members, name="migrating.deployed")
    return kind


def step(body: Callable[..., object], *decorators: Callable[..., object]) -> object:
    """Return a function as a step of its own, under these decorators, the outermost first."""

    def run(self: Flow, given: object = None) -> object:
        return body(self, given)

    stamped: object = run
    for decorator in reversed(decorators):
        stamped = decorator(stamped)
    return stamped


def gate() -> Callable[..., object]:
    """Return a gate with two labels."""
    return human_feedback("ok?", emit=["yes", "no"])


def copy(_self: Flow, _given: object) -> str:
    """Return what is reviewed."""
    return "copy"


def shown(_self: Flow, given: object) -> object:
    """Return what the gate came to."""
    assert isinstance(given, HumanFeedbackResult)
    return [given.method_name, given.output, given.outcome]


async def blocked(bench: Bench, run: Run) -> str:
    """Return why a run is blocked."""
    now = await bench.now(run)
    assert now.status == "blocked"
    return f"{now.blocked_reason}: {now.blocked_detail}"


async def retried(bench: Bench, run: Run) -> Run:
    """Retry a run and return it as it then is."""
    await bench.client.flows.retry(run.run_id)
    await bench.go()
    return await bench.now(run)


# Renamed steps.


@pytest.mark.parametrize("bench", ["memory", "sqlite"], indirect=True)
async def test_a_suspended_step_goes_on_under_its_new_name(bench: Bench) -> None:
    """What was asked under the old name is answered, and whoever listens to the new one hears."""
    run = await bench.start(deployed(ask=step(copy, start(), gate())))
    deployed(
        review=step(copy, start(aliases=["ask"]), gate()),
        publish=step(shown, listen("review:yes")),
    )
    await bench.answer("ask", "yes")
    assert (await bench.now(run)).output == ["review", "copy", "yes"]


async def test_without_an_alias_the_run_is_blocked_and_with_it_a_retry_goes_on(
    bench: Bench,
) -> None:
    """The block says what is gone, what there is, and what to do."""
    run = await bench.start(deployed(ask=step(copy, start(), gate())))
    deployed(review=step(copy, start(), gate()))
    await bench.answer("ask", "yes")
    assert await blocked(bench, run) == (
        "code_missing: migrating.deployed has no step 'ask' any more; it has review."
        " Where one of these took its place, say so with aliases="
    )
    assert (await retried(bench, run)).status == "blocked"

    deployed(
        review=step(copy, start(aliases=["ask"]), gate()),
        publish=step(shown, listen("yes")),
    )
    assert (await retried(bench, run)).output == ["review", "copy", "yes"]


async def test_parts_that_were_seen_count_under_the_new_names(bench: Bench) -> None:
    """Of a listener to several steps too, whatever it is called now; nothing runs twice."""
    ran: list[str] = []

    def write(_self: Flow, _given: object) -> str:
        ran.append("write")
        return "copy"

    def joined(_self: Flow, given: object) -> str:
        assert isinstance(given, HumanFeedbackResult)
        return f"joined by {given.method_name}"

    run = await bench.start(
        deployed(
            write=step(write, start()),
            ask=step(copy, start(), gate()),
            join=step(joined, listen(and_("write", "ask:yes"))),
        )
    )
    assert run.parts == {"join": {"write": f"{run.run_id}.1"}}
    deployed(
        draft=step(write, start(), listen("never", aliases=["write"])),
        review=step(copy, start(), gate(), router(aliases=["ask"])),
        publish=step(joined, listen(and_("draft", "review:yes"), aliases=["join"])),
    )
    await bench.answer("ask", "yes")
    assert (await bench.now(run)).output == "joined by review"
    assert ran == ["write"]


async def test_an_argument_comes_from_the_step_that_was_renamed(bench: Bench) -> None:
    """A step that waited is given what its source returned under the old name."""

    @require_approval(name="migrating.pay")
    async def pay(amount: object) -> object:
        return amount

    async def settle(self: Flow, amount: object) -> object:
        return await pay(amount)

    run = await bench.start(
        deployed(count=step(lambda *_: 7, start()), settle=listen("count")(settle))
    )

    async def settle_it(self: Flow, amount: object) -> object:
        return await pay(amount)

    deployed(
        total=step(lambda *_: 9, start(aliases=["count"])),
        settle_it=listen("total", aliases=["settle"])(settle_it),
    )
    await bench.approve("pay")
    assert (await bench.now(run)).output == 7


async def test_a_question_that_lapsed_is_asked_anew_under_the_new_name(bench: Bench) -> None:
    """And a name that was chosen twice may be changed twice."""
    run = await bench.start(deployed(ask=step(copy, start(), gate())))
    request = await bench.asked("ask")
    await bench.client.hitl.cancel(request_id=request.request_id)
    await bench.go()
    assert (await bench.now(run)).status == "failed"

    deployed(
        review=step(copy, start(aliases=["asked", "ask"]), gate()),
        publish=step(shown, listen("yes")),
    )
    await retried(bench, run)
    await bench.answer("review", "yes")
    assert (await bench.now(run)).output == ["review", "copy", "yes"]


@pytest.mark.parametrize(
    ("members", "message"),
    [
        (
            {"a": step(copy, start(aliases=["b"])), "b": step(copy, start())},
            "'b' is an alias of step 'a' and a step too",
        ),
        (
            {"a": step(copy, start(aliases=["c"])), "b": step(copy, start(aliases=["c"]))},
            "steps 'a' and 'b' have the same alias, 'c'",
        ),
        (
            {"a": step(copy, start(aliases=["c"])), "b": step(copy, listen("c:yes"))},
            "step 'b' listens to 'c:yes', and 'c' is an alias of step 'a': listen to that",
        ),
    ],
)
def test_a_former_name_that_still_means_something_is_refused(
    members: dict[str, object], message: str
) -> None:
    """When the class is first used."""
    with pytest.raises(ValueError, match=message):
        shape_of(deployed(**members))


@pytest.mark.parametrize("aliases", ["ask", ["ask", ""]])
def test_aliases_are_a_list_of_names(aliases: object) -> None:
    """One name alone would be taken letter by letter."""
    with pytest.raises(ValueError, match="is no list of former names"):
        listen("a", aliases=aliases)  # type: ignore[arg-type]  # what is refused


# States.


class Item(BaseModel):
    """What a state holds, now."""

    name: str
    amount: Decimal


class Now(BaseModel):
    """A state, now."""

    total: Decimal
    items: list[Item]


def now_with(
    migrate: Callable[[dict[str, object], int], Mapping[str, object]], *, version: int = 2
) -> type[Flow]:
    """Define a flow anew over the state of now, with a hook."""

    def end(self: Flow, _given: object) -> object:
        state: object = self.state
        assert isinstance(state, Now)
        return [state.total, [item.name for item in state.items]]

    def hook(cls: type, state: dict[str, object], from_version: int) -> Mapping[str, object]:
        return migrate(state, from_version)

    return deployed(
        ask=step(copy, start(), gate()),
        end=step(end, listen("yes")),
        initial_state=Now,
        state_version=version,
        migrate=classmethod(hook),
    )


def before(**state: object) -> type[Flow]:
    """Define the flow as it was, over a dict."""
    return deployed(ask=step(copy, start(), gate()), initial_state=state)


@pytest.mark.parametrize("bench", ["memory", "sqlite"], indirect=True)
async def test_a_hook_brings_a_stored_state_to_what_the_class_wants(bench: Bench) -> None:
    """It is told the version; plain values become what the model says, and the id stays."""
    seen: list[object] = []

    def migrate(state: dict[str, object], from_version: int) -> Mapping[str, object]:
        seen.append((dict(state), from_version))
        amount = state.pop("amount")
        return {**state, "total": amount, "items": [{"name": "all", "amount": amount}]}

    run = await bench.start(before(amount=7))
    now_with(migrate)
    await bench.answer("ask", "yes")

    ended = await bench.now(run)
    assert ended.output == [Decimal(7), ["all"]]
    assert seen == [({"amount": 7, "id": run.run_id}, 1)]
    assert (ended.state_version, ended.state["id"]) == (2, run.run_id)
    assert sorted(ended.state) == ["id", "items", "total"]


async def test_a_migrated_state_is_stored_and_not_migrated_again(bench: Bench) -> None:
    """Even when nothing follows at once but another question."""
    calls: list[int] = []

    def migrate(state: dict[str, object], from_version: int) -> Mapping[str, object]:
        calls.append(from_version)
        return {**state, "total": from_version, "items": []}

    run = await bench.start(before())
    now_with(migrate)
    comment = (await bench.asked("ask")).request_id
    await bench.client.hitl.comment(request_id=comment, text="hm")
    await bench.client.flows.cancel(run.run_id)
    assert calls == [1]
    assert (await bench.now(run)).state_version == 2

    other = await bench.start(now_with(migrate), total=1, items=[])
    now_with(migrate, version=4)
    await bench.answer("ask", "yes")
    assert (await bench.now(other)).output == [2, []]
    assert calls == [1, 2]


async def test_without_a_hook_the_run_is_blocked_and_with_one_a_retry_goes_on(
    bench: Bench,
) -> None:
    """Until then it says what does not fit."""
    run = await bench.start(before(amount=7))
    deployed(ask=step(copy, start(), gate()), initial_state=Now)
    await bench.answer("ask", "yes")
    assert "state_invalid" in await blocked(bench, run)
    assert "state.amount" in await blocked(bench, run)

    now_with(lambda state, _: {"id": state["id"], "total": state["amount"], "items": []})
    assert (await retried(bench, run)).output == [7, []]


@pytest.mark.parametrize(
    ("result", "detail"),
    [
        (LookupError("no amount"), "came to LookupError('no amount')"),
        ({"total": "much", "items": []}, "state field 'total'"),
        ({"total": 1}, "state field 'items': Field required"),
        (None, "came to TypeError('it returned None in place of the fields by name')"),
    ],
)
async def test_a_hook_that_fails_blocks_the_run_and_a_better_one_frees_it(
    bench: Bench, result: object, detail: str
) -> None:
    """With what it raised, or what does not fit; the stored state is as it was."""

    def migrate(state: dict[str, object], from_version: int) -> Mapping[str, object]:
        state.clear()
        if isinstance(result, Exception):
            raise result
        return result  # type: ignore[return-value]  # as hooks may be wrong

    run = await bench.start(before(amount=7))
    now_with(migrate)
    await bench.answer("ask", "yes")
    why = await blocked(bench, run)
    assert why.startswith(
        "state_invalid: migrating.deployed.migrate() from state_version 1 came to"
    )
    assert detail in why
    stored = await bench.now(run)
    assert (stored.state["amount"], stored.state_version) == (7, 1)

    now_with(lambda state, _: {"total": state["amount"], "items": []})
    assert (await retried(bench, run)).output == [7, []]


async def test_a_process_with_older_code_leaves_a_newer_state_alone(bench: Bench) -> None:
    """It blocks the run rather than read what it does not know; the newer code goes on."""
    run = await bench.start(now_with(lambda state, _: state, version=3), total=1, items=[])
    now_with(lambda state, _: state, version=2)
    await bench.answer("ask", "yes")
    assert await blocked(bench, run) == (
        "code_missing: its state was stored under state_version 3, and migrating.deployed has 2"
        " here"
    )
    now_with(lambda state, _: state, version=3)
    assert (await retried(bench, run)).output == [1, []]


async def test_a_class_may_count_up_and_change_nothing(bench: Bench) -> None:
    """The hook that is there by default gives back what it got."""
    run = await bench.start(before(amount=7))

    def end(self: Flow, _given: object) -> object:
        return self.state["amount"]

    deployed(ask=step(copy, start(), gate()), end=step(end, listen("yes")), state_version=2)
    await bench.answer("ask", "yes")
    ended = await bench.now(run)
    assert (ended.output, ended.state_version) == (7, 2)


@dataclass
class Gone:
    """What a state held, before its type went."""

    price: int


async def test_a_value_whose_type_is_gone_reaches_the_hook_as_plain_data(bench: Bench) -> None:
    """A record as its members; what still loads comes as what it was."""
    codec.register(Gone, name="migrating.gone")
    run = await bench.start(before(old=Gone(7), kept=Decimal("1.50")))
    registry = codec._registry
    form = registry._by_name.pop("migrating.gone")
    seen: list[object] = []

    def migrate(state: dict[str, object], _from_version: int) -> Mapping[str, object]:
        seen.append(dict(state))
        old = state.pop("old")
        assert isinstance(old, dict)
        return {"id": state["id"], "total": old["price"], "items": []}

    try:
        now_with(migrate)
        await bench.answer("ask", "yes")
    finally:
        registry._by_name[form.name] = form
    assert (await bench.now(run)).output == [7, []]
    assert seen == [{"id": run.run_id, "old": {"price": 7}, "kept": Decimal("1.50")}]


async def test_what_a_hook_returns_has_to_be_storable(bench: Bench) -> None:
    """Like anything else in a state."""
    run = await bench.start(before())

    def hook(cls: type, state: dict[str, object], from_version: int) -> Mapping[str, object]:
        return {**state, "lock": object()}

    deployed(ask=step(copy, start(), gate()), state_version=2, migrate=classmethod(hook))
    await bench.answer("ask", "yes")
    assert "state.lock" in await blocked(bench, run)
