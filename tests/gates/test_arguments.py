"""What runs is what was approved: the stored arguments, of the types that they had."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from enum import Enum
from typing import cast

import pytest
from pydantic import BaseModel, SecretStr

from signoff import Evidence, Flow, Policy, require_approval, start
from signoff.errors import CodecError, ConfigurationError, InvalidEditError
from signoff.model.request import Request
from signoff.model.run import Run
from signoff.testing import TestingClient

CFO = "cfo@acme.example"


class Currency(Enum):
    """A closed set."""

    EUR = "eur"


@dataclass(frozen=True)
class Line:
    """A record of ours."""

    text: str
    price: Decimal


class Order(BaseModel):
    """A record of pydantic's."""

    lines: list[Line]
    due: date


@dataclass
class Effects:
    """What bodies were called with."""

    seen: list[object] = field(default_factory=list[object])


async def begun(client: TestingClient, flow: type[Flow[object]]) -> Run:
    """Start a run and drive it as far as it goes."""
    run = await client.flows.start(flow, requester="agent-7")
    await client.drain()
    return await client.flows.get(run.run_id)


async def asked(client: TestingClient) -> Request:
    """Return the one request that waits."""
    (request,) = await client.hitl.list_requests(status="pending")
    return request


async def approved(client: TestingClient, run: Run, payload: object = None) -> Run:
    """Approve what waits, and drive the run on."""
    request = await asked(client)
    await client.hitl.approve(request_id=request.request_id, payload=payload, reviewer=CFO)
    await client.drain()
    return await client.flows.get(run.run_id)


async def test_what_runs_is_what_was_stored_not_what_became_of_it(client: TestingClient) -> None:
    """A list that the step changes after the call does not change what was asked about."""
    effects = Effects()

    @require_approval
    async def send(names: list[str]) -> list[str]:
        effects.seen.append(names)
        return names

    class Sends(Flow):
        names: list[str] = ["ann"]

        @start()
        async def step(self) -> list[str]:
            self.names[:] = ["ann"]
            try:
                return await send(self.names)
            finally:
                self.names.append("eve")

    run = await begun(client, Sends)
    assert (await asked(client)).payload == {"names": ["ann"]}
    run = await approved(client, run)

    assert effects.seen == [["ann"]]
    assert effects.seen[0] is not Sends.names
    assert run.output == ["ann"]


async def test_an_edit_runs_in_place_of_the_proposal(client: TestingClient) -> None:
    """The arguments that the reviewer changed are changed, the others are as proposed."""
    effects = Effects()

    @require_approval(action="Pay {amount} to {vendor}")
    def pay(vendor: str, amount: Decimal) -> str:
        effects.seen.append((vendor, amount))
        return f"{vendor} {amount}"

    class Pays(Flow):
        @start()
        def step(self) -> str:
            return pay("acme", Decimal("9.50"))

    run = await begun(client, Pays)
    assert (await asked(client)).message == "Pay 9.50 to acme"
    run = await approved(client, run, payload={"amount": Decimal("5.00")})

    assert effects.seen == [("acme", Decimal("5.00"))]
    assert run.output == "acme 5.00"


async def test_an_edit_that_names_no_argument_is_refused(client: TestingClient) -> None:
    """A slip in a name approves nothing."""

    @require_approval
    def pay(amount: int) -> None: ...

    class Pays(Flow):
        @start()
        def step(self) -> None:
            pay(5)

    await begun(client, Pays)
    request = await asked(client)
    with pytest.raises(InvalidEditError, match="amont"):
        await client.hitl.approve(request_id=request.request_id, payload={"amont": 4}, reviewer=CFO)

    assert (await asked(client)).status == "pending"


async def test_types_come_back_as_they_were(client: TestingClient) -> None:
    """Decimals, dates, enums, dataclasses, models and tuples keep their types, in and out."""
    effects = Effects()
    order = Order(lines=[Line("pens", Decimal("1.50"))], due=date(2026, 2, 1))

    @require_approval
    async def buy(
        order: Order,
        /,
        currency: Currency,
        *tags: str,
        size: tuple[int, ...] = (1, 2),
        **more: float,
    ) -> Order:
        effects.seen.append((order, currency, tags, size, more))
        return order

    class Buys(Flow):
        @start()
        async def step(self) -> Order:
            return await buy(order, Currency.EUR, "a", "b", weight=1.5)

    run = await approved(client, await begun(client, Buys))

    assert effects.seen == [(order, Currency.EUR, ("a", "b"), (1, 2), {"weight": 1.5})]
    made = cast("tuple[Order, object]", effects.seen[0])[0]
    assert made is not order
    assert isinstance(made.lines[0], Line)
    assert run.output == order


@pytest.mark.parametrize("value", [float("nan"), SecretStr("x"), object(), "\ud800"])
async def test_what_cannot_be_stored_is_an_error_at_the_call(
    client: TestingClient, value: object
) -> None:
    """The step hears of it where it calls; nobody is asked and the path is named."""
    caught: list[Exception] = []

    @require_approval
    def keep(value: object) -> None: ...

    class Keeps(Flow):
        @start()
        def step(self) -> str:
            try:
                keep({"a": [value]})
            except CodecError as error:
                caught.append(error)
            return "went on"

    run = await begun(client, Keeps)

    assert run.output == "went on"
    assert str(caught[0]).startswith(f"{__name__}:{keep.__qualname__}.value.a[0]: ")
    assert not await client.hitl.list_requests()


async def test_a_result_that_cannot_be_stored_or_breaks_its_annotation_is_a_failure(
    client: TestingClient,
) -> None:
    """The first pass fails just as every replay would."""
    runs: list[str] = []

    @require_approval
    def odd(kind: str) -> int:
        runs.append(kind)
        return cast("int", object() if kind == "object" else "text")

    class Odd(Flow):
        @start()
        def step(self) -> list[str]:
            found: list[str] = []
            for kind in ("object", "str"):
                try:
                    odd(kind)
                except CodecError as error:
                    found.append(str(error).partition("result: ")[2])
            return found

    run = await approved(client, await begun(client, Odd))
    run = await approved(client, run)

    assert runs == ["object", "str"]
    assert run.output == [
        "is an object, which cannot be stored; pass its data instead",
        "expected int, found str",
    ]


async def test_the_options_that_govern_may_be_computed(client: TestingClient) -> None:
    """Risk, assignees and what supports the question come from the call's arguments."""

    @require_approval(
        action="Pay {amount}",
        live=["session"],
        risk=lambda call: "high" if cast("int", call["amount"]) > 100 else "low",
        assignees=lambda call: [f"{call['vendor']}@acme.example"],
        evidence=lambda call: [Evidence(label="keys", value=" ".join(call), tone="amber")],
        summary=lambda call: f"to {call['vendor']}",
        rationale=lambda _: "because",
        confidence=lambda _: 0.5,
        policy=Policy(assignable=("ann@acme.example",), name="payments"),
        sla=timedelta(hours=1),
    )
    def pay(session: object, vendor: str, amount: int) -> None: ...

    class Pays(Flow):
        @start()
        def step(self) -> None:
            pay(object(), "ann", 101)

    await begun(client, Pays)
    request = await asked(client)

    assert (request.risk, request.assignees) == ("high", ("ann@acme.example",))
    assert request.evidence == (Evidence(label="keys", value="vendor amount", tone="amber"),)
    assert (request.summary, request.rationale, request.confidence) == ("to ann", "because", 0.5)
    assert request.policy_name == "payments"
    assert request.due_at == request.created_at + timedelta(hours=1)
    assert (request.kind, request.method_name, request.requester) == ("call", "pay", "agent-7")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"risk": lambda call: call["nope"]}, "risk= raised KeyError for the call's arguments"),
        ({"risk": lambda _: "hgih"}, "risk or assignees came out wrong: Input should be 'low'"),
        ({"risk": lambda _: "critical"}, "takes a quorum of two people"),
        (
            {"assignees": lambda _: "cfo@acme.example"},
            "came out wrong: Input should be a valid tup",
        ),
        ({"assignees": lambda _: [None]}, "0 came out wrong: Input should be a valid string"),
        ({"assignees": lambda _: ["agent-7"]}, "'agent-7' is the requester, who never decides"),
        ({"assignees": lambda _: [CFO], "risk": "high"}, "needs Policy(assignable=[...])"),
        (
            {"assignees": lambda _: [CFO], "policy": Policy(assignable=("a@acme.example",))},
            "none of the policy's assignable addresses",
        ),
        ({"assignees": ["agent-7"]}, "both the requester and the only one who could decide"),
        ({"summary": lambda _: 3}, "summary came out wrong: Input should be a valid string"),
        ({"evidence": lambda _: [("a", "b")]}, "evidence.0 came out wrong"),
        ({"confidence": lambda _: "high"}, "confidence came out wrong"),
    ],
)
async def test_an_option_that_comes_out_wrong_is_an_error_at_the_call(
    client: TestingClient, options: dict[str, object], message: str
) -> None:
    """The step fails with what is wrong, and nobody is asked."""

    @require_approval(**options)  # type: ignore[call-overload, untyped-decorator]  # any options
    def pay(amount: int) -> None: ...

    class Pays(Flow):
        @start()
        def step(self) -> None:
            pay(5)

    run = await begun(client, Pays)

    assert run.status == "failed"
    assert run.failure is not None
    assert run.failure.type_name == f"{ConfigurationError.__module__}:ConfigurationError"
    assert message in run.failure.message
    assert not await client.hitl.list_requests()


async def test_hostile_text_stays_text_in_the_question(client: TestingClient) -> None:
    """Braces are not read again, and what a reader would not see is marked."""

    @require_approval(action="Pay {amount} to {vendor} {{now}}")
    def pay(vendor: str, amount: int) -> None: ...

    class Pays(Flow):
        @start()
        def step(self) -> None:
            pay("{amount.__class__}\u202etxt\n{0}", 5)

    await begun(client, Pays)
    message = (await asked(client)).message

    assert message.startswith("Pay 5 to {amount.__class__}⟨U+202E⟩txt")
    assert message.endswith("{0} {now}")
    assert "\n" not in message
