"""What the log says of runs that fail or are blocked, for a worker's runs have no caller."""

from __future__ import annotations

import logging
from typing import ClassVar

import anyio
import pytest

from signoff import ApprovalRejected, Client, Flow, require_approval, set_default_client, start

OPS = "ops@acme.example"
SECRET = "the customer's words"


@require_approval(name="logged.ship", assignees=[OPS])
async def ship(order: str) -> str:
    """Fail, with words that belong into no log."""
    raise ValueError(SECRET + order)


class Broken(Flow, name="logged.broken"):
    """A step that raises."""

    @start()
    def begin(self) -> str:
        """Raise."""
        raise LookupError(SECRET)


class Unsteady(Flow, name="logged.unsteady"):
    """A step that makes another call each time."""

    times: ClassVar[int] = 0

    @start()
    async def begin(self) -> str:
        """Call with what changes."""
        Unsteady.times += 1
        return await ship(f"order {self.times}")


def said(caplog: pytest.LogCaptureFixture) -> list[tuple[int, str]]:
    """Return what was logged of runs."""
    return [
        (one.levelno, one.getMessage()) for one in caplog.records if one.name == "signoff.audit"
    ]


async def answered(client: Client, *, approve: bool) -> None:
    """Answer the one question there is, and go on."""
    [request] = await client.hitl.list_requests(status="pending")
    answer = client.hitl.approve if approve else client.hitl.reject
    await answer(request_id=request.request_id, reviewer=OPS)
    await client.drain()


async def test_a_run_that_fails_is_logged_once_with_its_name_and_without_its_words(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A drain returns as if nothing had been; the log is where a worker's people look."""
    async with Client() as client:
        run = await client.flows.start(Broken)
        await client.drain()
        await client.drain()

    [(level, message)] = said(caplog)
    assert level == logging.WARNING
    assert message.startswith(f"{run.run_id} of logged.broken failed with LookupError: ")
    assert SECRET not in caplog.text


@pytest.mark.parametrize("work", ["a flow", "a call"])
async def test_the_lines_that_an_exception_came_through_are_in_the_log(
    caplog: pytest.LogCaptureFixture, work: str
) -> None:
    """Of the user's code, without the exception's words, for who looks more closely."""
    caplog.set_level(logging.INFO)
    async with Client() as client:
        if work == "a flow":
            await client.flows.start(Broken)
            await client.drain()
        else:
            await client.submit(ship, "7", key="order-7")
            await answered(client, approve=True)

    [told] = [one.getMessage() for one in caplog.records if " raised " in one.getMessage()]
    assert f'File "{__file__}", line ' in told
    assert ("in begin" in told, "in ship" in told) == (work == "a flow", work == "a call")
    assert "signoff/flows" not in told
    assert SECRET not in told


async def test_a_submitted_call_whose_body_raises_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Nobody waits for it, so nobody else would be told."""
    async with Client() as client:
        request = await client.submit(ship, "7", key="order-7")
        await answered(client, approve=True)

    [(level, message)] = said(caplog)
    assert level == logging.WARNING
    assert f"{request.run_id} of logged.ship failed with ValueError" in message
    assert SECRET not in caplog.text


async def test_a_refusal_is_no_warning(caplog: pytest.LogCaptureFixture) -> None:
    """A person said no, which is what people are asked for; who wants to know it reads on."""
    caplog.set_level(logging.INFO)
    async with Client() as client:
        await client.submit(ship, "7", key="order-7")
        await answered(client, approve=False)

    [(level, message)] = said(caplog)
    assert level == logging.INFO
    assert "failed with ApprovalRejected" in message


async def test_a_call_whose_caller_waits_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    """The caller gets the exception itself."""
    caplog.set_level(logging.INFO)

    async def refuse() -> None:
        heard = client._bell.rings
        while not await client.hitl.list_requests(status="pending"):
            await client._bell.wait(1, after=heard)
            heard = client._bell.rings
        await answered(client, approve=False)

    async with Client() as client, client.serving(), anyio.create_task_group() as group:
        set_default_client(client)
        group.start_soon(refuse)
        with pytest.raises(ApprovalRejected):
            await ship("7")
        set_default_client(None)

    assert said(caplog) == []


async def test_a_blocked_run_is_logged_with_its_reason(caplog: pytest.LogCaptureFixture) -> None:
    """It says where the detail is, which may have arguments in it."""
    async with Client() as client:
        run = await client.flows.start(Unsteady)
        await client.drain()
        await answered(client, approve=True)
        assert (await client.flows.get(run.run_id)).blocked_reason == "drift"

    [(level, message)] = said(caplog)
    assert level == logging.WARNING
    assert message.startswith(f"{run.run_id} of logged.unsteady is blocked, drift: ")
    assert "order" not in message
