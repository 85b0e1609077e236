"""Live arguments are stored nowhere, hidden ones encrypted and shown as commitments."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from signoff import Client, Flow, require_approval, start, together
from signoff.errors import InvalidEditError
from signoff.flows.drafts import Hidden
from signoff.model.request import Request
from signoff.security.keyring import Keyring
from signoff.stores import SQLiteStore
from signoff.testing import ManualClock

CFO = "cfo@acme.example"
SECRET = "4929-hidden-card"
LIVE = "the-live-session"
SHOWN = "an-argument-in-the-open"


class Session:
    """A live object, whose text must not be stored either."""

    def __repr__(self) -> str:
        """Say what would be found if it were stored."""
        return LIVE


def a_client(folder: Path, keyring: Keyring) -> Client:
    """Return a client over one file."""
    return Client(store=SQLiteStore(folder / "signoff.db"), keyring=keyring, clock=ManualClock())


async def asked(client: Client) -> Request:
    """Return the one request that waits."""
    (request,) = await client.hitl.list_requests(status="pending")
    return request


def stored_bytes(folder: Path) -> bytes:
    """Return every byte that is on disk."""
    return b"".join(path.read_bytes() for path in sorted(folder.iterdir()))


async def test_nothing_on_disk_shows_live_or_hidden_arguments(tmp_path: Path) -> None:
    """Neither before the answer nor after the body has run."""
    charged: list[str] = []

    @require_approval(live=["session"], hidden=["card"], action="Charge {card} for {what}")
    async def charge(session: object, card: str, what: str) -> str:
        charged.append(f"{session!r} {card} {what}")
        return "charged"

    class Charges(Flow):
        @start()
        async def step(self) -> str:
            return await charge(Session(), SECRET, SHOWN)

    async with a_client(tmp_path, Keyring.generate()) as client:
        run = await client.flows.start(Charges)
        await client.drain()
        request = await asked(client)
        before = stored_bytes(tmp_path)
        await client.hitl.approve(request_id=request.request_id, reviewer=CFO)
        await client.drain()
        output = (await client.flows.get(run.run_id)).output
    after = stored_bytes(tmp_path)

    assert charged == [f"{LIVE} {SECRET} {SHOWN}"]
    assert output == "charged"
    for everything in (before, after):
        assert SHOWN.encode() in everything
        assert SECRET.encode() not in everything
        assert LIVE.encode() not in everything
    shown = request.payload
    assert isinstance(shown, dict)
    assert shown.keys() == {"card", "what"}
    assert isinstance(shown["card"], Hidden)
    assert shown["card"].commitment in request.message
    assert request.hidden == ("card",)


async def test_commitments_tell_equal_values_of_one_run_and_nothing_else(tmp_path: Path) -> None:
    """The same value has the same commitment in one run, and another one in another run."""

    @require_approval(hidden=["card"])
    async def charge(card: str, what: int) -> None: ...

    class Charges(Flow):
        @start()
        async def step(self) -> None:
            await together(
                partial(charge, SECRET, 1), partial(charge, SECRET, 2), partial(charge, "other", 3)
            )

    async with a_client(tmp_path, Keyring.generate()) as client:
        for _ in range(2):
            await client.flows.start(Charges)
        await client.drain()
        shown = [
            (request.run_id, request.payload["card"].commitment)
            for request in await client.hitl.list_requests()
            if isinstance(request.payload, dict)
        ]

    by_run = {run_id: [value for each, value in shown if each == run_id] for run_id, _ in shown}
    first, second = by_run.values()
    assert [len(set(first)), len(set(second)), len({*first, *second})] == [2, 2, 4]


async def test_a_hidden_argument_cannot_be_edited(tmp_path: Path) -> None:
    """The reviewer does not know it, so no answer changes it."""

    @require_approval(hidden=["card"])
    async def charge(card: str) -> None: ...

    class Charges(Flow):
        @start()
        async def step(self) -> None:
            await charge(SECRET)

    async with a_client(tmp_path, Keyring.generate()) as client:
        await client.flows.start(Charges)
        await client.drain()
        request = await asked(client)
        with pytest.raises(InvalidEditError, match="card"):
            await client.hitl.approve(
                request_id=request.request_id, payload={"card": Hidden("00")}, reviewer=CFO
            )


async def test_keys_may_be_rotated_between_question_and_execution(tmp_path: Path) -> None:
    """What was asked under the old key is met and executed once under the new one."""
    charged: list[tuple[str, int]] = []

    @require_approval(hidden=["card"])
    async def charge(card: str, what: int) -> int:
        charged.append((card, what))
        return what

    class Charges(Flow, name="signoff tests: charges"):
        @start()
        async def step(self) -> int:
            return await charge(SECRET, 1) + await charge(SECRET, 2) + await charge(SECRET, 1)

    old = Keyring.generate()
    new = old.rotated([1])
    async with a_client(tmp_path, old) as client:
        run = await client.flows.start(Charges)
        await client.drain()
    for _ in range(3):
        async with a_client(tmp_path, new) as client:
            request = await asked(client)
            await client.hitl.approve(request_id=request.request_id, reviewer=CFO)
            await client.drain()
            run = await client.flows.get(run.run_id)

    assert charged == [(SECRET, 1), (SECRET, 2), (SECRET, 1)]
    assert (run.status, run.output) == ("completed", 4)
