"""What the decorators keep of a function, and what they refuse when a module is imported."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from enum import Enum
from functools import partial

import pytest

from signoff import Policy, human_feedback, keyed, once, require_approval, together
from signoff.errors import ConfigurationError
from signoff.gates import bind, bind_to, feedback_of, gate_of, gate_specs, registered_hints


def pay(vendor: str, amount: int = 5) -> str:
    """Pay somebody."""
    return f"{vendor} {amount}"


async def apay(vendor: str, amount: int = 5) -> str:
    """Pay somebody, later."""
    return f"{vendor} {amount}"


@pytest.mark.parametrize("fn", [pay, apay], ids=["sync", "async"])
def test_a_gated_function_keeps_what_tools_look_at(fn: Callable[..., object]) -> None:
    """Name, documentation, signature and whether it is a coroutine function stay."""
    gated = require_approval(name=f"kept {fn.__name__}")(fn)

    assert inspect.signature(gated) == inspect.signature(fn)
    assert inspect.iscoroutinefunction(gated) == inspect.iscoroutinefunction(fn)
    assert (gated.__name__, gated.__qualname__) == (fn.__name__, fn.__qualname__)
    assert gated.__doc__ == fn.__doc__
    assert gated.__wrapped__ is fn  # type: ignore[attr-defined]  # what functools.wraps leaves


def test_without_parentheses_it_gates_with_the_defaults() -> None:
    """`@require_approval` alone names the gate after the function and asks to run it."""

    @require_approval
    def charge(amount: int) -> int:
        return amount

    spec = gate_of(charge)

    assert spec is not None
    assert spec.name == f"{__name__}:{charge.__qualname__}"
    assert (spec.action, spec.on_reject, spec.on_drift) == ("Run charge", "raise", "block")
    assert spec.policy == Policy()
    assert gate_specs.get(spec.name) is spec


def test_a_receiver_is_live_in_methods_only() -> None:
    """`self` and `cls` of a class body are live; the same names in a plain function are payload."""

    class Till:
        @require_approval
        def method(self, amount: int) -> int:
            return amount

        @classmethod
        @require_approval
        def of_class(cls, amount: int) -> int:
            return amount

        @staticmethod
        @require_approval
        def static(amount: int) -> int:
            return amount

    @require_approval
    def plain(self: int) -> int:
        return self

    gates = [Till.method, Till.of_class, Till.static, plain]
    live = [spec.live for gate in gates if (spec := gate_of(gate))]

    assert live == [{"self"}, {"cls"}, frozenset(), frozenset()]


def test_a_bound_call_has_its_defaults_and_its_live_arguments_apart() -> None:
    """Payload is what the call passes, defaults included, without the live parameters."""

    @require_approval(live=["session"])
    def send(session: object, text: str, *cc: str, urgent: bool = False, **more: int) -> None: ...

    session = object()
    call = bind_to(send, (session, "hi", "a", "b"), {"x": 1})

    assert call.arguments == {"text": "hi", "cc": ("a", "b"), "urgent": False, "more": {"x": 1}}
    assert call.live == {"session": session}
    with pytest.raises(TypeError, match="missing a required argument: 'text'"):
        bind(call.spec, (session,), {})


def test_a_bound_method_brings_its_receiver() -> None:
    """What is bound already is bound again as the receiver."""

    class Till:
        @require_approval
        def method(self, amount: int) -> int:
            return amount

    till = Till()

    assert bind_to(till.method, (3,), {}).live == {"self": till}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"live": ["session"]}, "live='session' is none of its parameters (vendor, amount)"),
        ({"hidden": ["card"]}, "hidden='card' is none of its parameters (vendor, amount)"),
        ({"live": ["vendor"], "hidden": ["vendor"]}, "vendor is both live and hidden"),
        ({"risk": "critical"}, "takes a quorum of two people"),
        ({"policy": Policy(risk="critical")}, "takes a quorum of two people"),
        ({"action": "Pay {who}"}, "a place that is none of its arguments (vendor, amount)"),
        ({"action": "Pay {}"}, "a place that is none of its arguments"),
        ({"action": "Pay {amount:.2f}"}, "a place that is none of its arguments"),
        ({"action": "Pay {amount!r}"}, "a place that is none of its arguments"),
        ({"action": "Pay {vendor.__class__}"}, "a place that is none of its arguments"),
        ({"action": "To {vendor}", "live": ["vendor"]}, "none of its arguments (amount)"),
        ({"action": "Pay {amount"}, "expected '}' before end of string"),
        ({"verify": lambda vendor: None}, "verify= is called with the function's arguments"),
        ({"verify": int}, "verify= is called with the function's arguments"),
        ({"assignees": "cfo@acme.example"}, "write assignees=['cfo@acme.example']"),
        ({"name": "signoff tests: taken"}, "belongs to signoff tests already"),
        ({"aliases": ["signoff tests: taken"]}, "belongs to signoff tests already"),
    ],
)
def test_a_wrong_option_is_refused_at_decoration(options: dict[str, object], message: str) -> None:
    """What contradicts the function or the house rules never waits for the first call."""
    spec = gate_of(require_approval(pay))
    assert spec is not None
    gate_specs.add(spec, origin="signoff tests", names=("signoff tests: taken",))

    with pytest.raises(ConfigurationError) as refused:
        require_approval(**options)(pay)  # type: ignore[call-overload]  # any options

    assert message in str(refused.value)


@pytest.mark.parametrize("option", ["sla", "expires_after", "valid_for"])
@pytest.mark.parametrize("seconds", [0, -1])
def test_a_duration_is_longer_than_nothing(option: str, seconds: int) -> None:
    """No time at all would stand for the default, or end before it begins."""
    with pytest.raises(ValueError, match="greater than 0 seconds"):
        require_approval(**{option: timedelta(seconds=seconds)})(pay)  # type: ignore[call-overload]  # any of them


def generator() -> Iterator[int]:
    """Yield something."""
    yield 1


async def async_generator() -> AsyncIterator[int]:
    """Yield something, later."""
    yield 1


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (generator, "generator is a generator"),
        (async_generator, "async_generator is a generator"),
        (classmethod(pay), "inside @classmethod or @staticmethod"),  # type: ignore[arg-type]  # any
        (staticmethod(pay), "inside @classmethod or @staticmethod"),
        (partial(pay, "acme"), "is no function; gate the function that it calls"),
        (require_approval(pay), "pay has two require_approval gates; keep one"),
    ],
    ids=["generator", "async generator", "classmethod", "staticmethod", "partial", "gated"],
)
def test_what_is_no_single_call_is_refused(code: Callable[..., object], message: str) -> None:
    """A gate needs one function that is called and returns."""
    with pytest.raises(ConfigurationError, match=message):
        require_approval(code)


def test_types_in_annotations_register_themselves_where_they_resolve() -> None:
    """Annotations that do not resolve leave no hints, and stop nobody."""

    def broken(value: Nowhere) -> None: ...  # type: ignore[name-defined]  # noqa: F821 - the point

    assert registered_hints(pay) == {"vendor": str, "amount": int, "return": str}
    assert registered_hints(broken) == {}


def test_only_stored_calls_of_the_function_that_has_the_name_can_be_keyed() -> None:
    """Live parameters, ungated functions and lost names are refused when `keyed` is called."""

    @require_approval(live=["session"])
    def send(session: object) -> None: ...

    @require_approval(name="signoff tests: keyed")
    def first() -> None: ...

    gate_specs.add(
        bind_to(send, (None,), {}).spec,
        origin=f"{__name__}:{first.__qualname__}",
        names=["signoff tests: keyed"],
    )

    with pytest.raises(ConfigurationError, match=r"live parameters \(session\)"):
        keyed(send, "k")
    with pytest.raises(ConfigurationError, match="is not under @require_approval"):
        keyed(pay, "k")
    with pytest.raises(ConfigurationError, match="is the name of another function by now"):
        keyed(first, "k")


@pytest.mark.parametrize("fn", [pay, apay], ids=["sync", "async"])
def test_a_keyed_function_keeps_its_signature_and_is_no_gate(fn: Callable[..., object]) -> None:
    """It looks like the function, but a step may not call it as one of its own."""
    made = keyed(require_approval(name=f"keyed {fn.__name__}")(fn), "k")

    assert inspect.signature(made) == inspect.signature(fn)
    assert inspect.iscoroutinefunction(made) == inspect.iscoroutinefunction(fn)
    assert gate_of(made) is None


async def test_together_and_once_belong_into_a_step() -> None:
    """Outside a step there is nothing that they could journal."""
    with pytest.raises(ConfigurationError, match="together.. belongs into a flow's step"):
        await together()
    with pytest.raises(ConfigurationError, match="once.. belongs into a flow's step"):
        await once("a", lambda: 1)


class Verdict(Enum):
    """Labels as an enum."""

    YES = "approved"
    NO = "rejected"


def test_human_feedback_only_stamps_the_step() -> None:
    """The function itself comes back, with the options on it."""

    def review(text: str) -> str:
        return text

    stamped = human_feedback(
        "Good?", emit=Verdict, metadata={"a": 1}, assignees=[" Ann@Acme.example"]
    )(review)
    spec = feedback_of(stamped)

    assert stamped is review
    assert spec is not None
    assert [choice.label for choice in spec.choices] == ["approved", "rejected"]
    assert spec.assignees == ("ann@acme.example",)
    assert spec.metadata == {"a": 1}
    assert feedback_of(pay) is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"default_outcome": "approved"}, "default_outcome='approved' needs emit="),
        ({"emit": ["a"], "default_outcome": "b"}, "default_outcome='b' needs emit="),
        ({"on_expiry": "rejected"}, "on_expiry='rejected' needs emit="),
        ({"emit": "approved"}, r"emit='approved' is one text; write emit=\['approved'"),
        ({"sla": timedelta(0)}, "greater than 0 seconds"),
    ],
)
def test_human_feedback_refuses_labels_that_contradict(
    options: dict[str, object], message: str
) -> None:
    """Labels are checked at decoration, with a ValueError."""
    with pytest.raises(ValueError, match=message):
        human_feedback("Good?", **options)  # type: ignore[arg-type]  # any options


def test_human_feedback_refuses_critical_risk_and_a_second_gate() -> None:
    """A quorum is not there yet, and one step asks one question."""

    def review(text: str) -> str:
        return text

    with pytest.raises(ConfigurationError, match="takes a quorum of two people"):
        human_feedback("Good?", risk="critical")
    human_feedback("Good?", assign_to_email="a@acme.example")(review)
    with pytest.raises(ConfigurationError, match="has two human_feedback gates; keep one"):
        human_feedback("Good?")(review)
