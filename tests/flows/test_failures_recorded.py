"""Failures as they are stored, and raised again."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Self

import pytest

from signoff import Flow, require_approval, start
from signoff.codec import codec
from signoff.errors import RequestExpired, RunFailed
from signoff.flows.failures import raised_again, recorded
from signoff.model.run import Failure

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.flows.conftest import Bench


@dataclass
class Odd(Exception):  # noqa: N818 - any name will do
    """An exception with fields."""

    number: int

    def __str__(self) -> str:
        return "odd \ud800"


class Textless(Exception):  # noqa: N818 - as users name them
    """An exception whose text is made of what it does not have."""

    def __str__(self) -> str:
        return str(self.reason)  # type: ignore[attr-defined]  # the very slip that is tested


class Choosy(Exception):  # noqa: N818 - as users name them
    """An exception that knows only some arguments."""

    def __new__(cls, name: str) -> Self:
        known = {"a": 1}
        return super().__new__(cls, known[name])


class Unmakeable(Exception):  # noqa: N818 - as users name them
    """An exception that cannot be made without its arguments."""

    def __new__(cls, first: str, second: str) -> Self:
        return super().__new__(cls, first, second)


async def test_a_failure_is_raised_again_as_what_it_was(bench: Bench) -> None:
    """By a process that did not see it: type, text and arguments."""

    class Failing(Flow):
        @start()
        def begin(self) -> None:
            raise FileNotFoundError(2, "No such file", "copy.txt")

    run = await bench.start(Failing)
    assert run.failure is not None
    again = raised_again(run.failure, run_id=run.run_id, codec=codec)
    assert type(again) is FileNotFoundError
    assert (again.errno, again.args) == (2, (2, "No such file"))


def test_arguments_keep_their_types_and_own_errors_their_attributes() -> None:
    """As far as the codec can store them."""
    money = raised_again(recorded(ValueError(Decimal("1.5")), codec), run_id="run_1", codec=codec)
    assert money.args == (Decimal("1.5"),)
    expired = RequestExpired("run_1", request_id="req_1")
    again = raised_again(recorded(expired, codec), run_id="run_1", codec=codec)
    assert isinstance(again, RequestExpired)
    assert (again.run_id, again.request_id, str(again)) == ("run_1", "req_1", str(expired))


def test_a_failure_that_cannot_be_made_again_is_told_by_name() -> None:
    """Its type is not loaded, its arguments cannot be stored, or it cannot be made from them."""
    unloaded = Failure(type_name="elsewhere:Gone", message="text", arguments=[[], {}])
    unstorable = recorded(ValueError(object()), codec)
    assert unstorable.arguments is None
    unmakeable = recorded(Unmakeable("a", "b"), codec).model_copy(
        update={"arguments": codec.to_tree([["a"], {}])}
    )
    choosy = recorded(Choosy("a"), codec).model_copy(
        update={"arguments": codec.to_tree([["b"], {}])}
    )
    odd_tree = Failure(type_name="builtins:ValueError", message="text", arguments=[1, 2, 3])
    for failure in (unloaded, unstorable, unmakeable, choosy, odd_tree):
        again = raised_again(failure, run_id="run_1", codec=codec)
        assert isinstance(again, RunFailed)
        assert again.type_name == failure.type_name
        assert failure.message in str(again)


def test_a_text_that_no_store_takes_is_stored_without_what_is_wrong() -> None:
    """A lone surrogate is replaced."""
    assert recorded(Odd(1), codec).message == "odd ?"


@require_approval(name="failures_recorded.pay")
async def pay() -> None:
    """Raise what has no text."""
    raise Textless


@pytest.mark.parametrize("step", [pay, None], ids=["body", "step"])
async def test_an_exception_without_a_text_fails_its_run_once(
    bench: Bench, step: Callable[[], Awaitable[None]] | None
) -> None:
    """To make its text raises, and is no reason to run anything again or to ask what became of it."""
    raised: list[str] = []

    class Failing(Flow):
        @start()
        async def begin(self) -> None:
            if step is not None:
                await step()
            raised.append("in the step")
            raise Textless

    run = await bench.start(Failing)
    if step is not None:
        await bench.answer("pay", "approved")
    run = await bench.now(run)
    assert run.failure is not None
    assert (run.status, run.failure.type_name) == ("failed", f"{__name__}:Textless")
    assert run.failure.message == "(its text cannot be made: AttributeError)"
    assert raised == ([] if step else ["in the step"])


async def test_a_run_that_failed_elsewhere_raises_that_and_not_an_older_failure(
    bench: Bench,
) -> None:
    """This process remembers its own failure of the run, and another one has failed it since."""
    failures = iter([OSError("first"), OSError("second")])

    class Failing(Flow):
        @start()
        def begin(self) -> None:
            raise next(failures)

    flow = Failing(client=bench.client)
    with pytest.raises(OSError, match="first"):
        await flow.kickoff_async()
    (run,) = await bench.client.flows.list()
    async with bench.another() as other:
        await other.flows.retry(run.run_id)
    hosting = bench.client._machinery.executor
    failure = hosting.failure_of(await bench.now(run))
    assert str(failure) == "second"
