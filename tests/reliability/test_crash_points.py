"""Processes that kill themselves at the very point that an environment variable names."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import time
import traceback
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, LiteralString, TypeAlias

import anyio
import psycopg
import pytest
import trio  # noqa: F401 - as above
from psycopg import sql
from typing_extensions import override

import signoff.assembly  # noqa: F401 - imported before the forks, so that a child starts at once
from signoff import (
    Client,
    Done,
    Flow,
    HumanFeedbackResult,
    NotDone,
    human_feedback,
    listen,
    require_approval,
    start,
)
from signoff.errors import DecisionError
from signoff.model.changes import Changes
from signoff.ports import Store
from signoff.security.keyring import Keyring
from signoff.stores.postgres import PostgresStore
from signoff.stores.sqlite import SQLiteStore

POINT: Final = "SIGNOFF_TEST_DIE_AT"
"""The point, such as `before-12`: the commit, and on which side of it to die."""

REVIEWER: Final = "cfo@acme.example"
FOLDER: list[Path] = []
PATIENCE_SECONDS: Final = 60
LEASE: Final = timedelta(seconds=5)
"""Longer than a process that lives is kept from renewing it, however busy the machine is."""


def book() -> list[str]:
    """Return what was paid."""
    path = FOLDER[-1] / "paid"
    return path.read_text().splitlines() if path.exists() else []


async def look_it_up(invoice: str) -> Done[str] | NotDone:
    """Say whether an invoice was paid."""
    return Done(f"paid {invoice}") if invoice in book() else NotDone()


@require_approval(
    name="reliability.points.pay", assignees=[REVIEWER], verify=look_it_up, idempotent=True
)
async def pay(invoice: str) -> str:
    """Do something that must not be done twice."""
    with (FOLDER[-1] / "paid").open("a") as file:
        file.write(f"{invoice}\n")
    return f"paid {invoice}"


class Order(Flow, name="reliability.points.order"):
    """A gate on a step, and a gated call in the next one."""

    @start()
    @human_feedback("Order?", emit=["approved", "rejected"], assign_to_email=REVIEWER)
    async def draft(self) -> str:
        """Begin."""
        return "inv-17"

    @listen("approved")
    async def buy(self, result: HumanFeedbackResult) -> str:
        """Make the call."""
        return await pay(str(result.output))


class Mortal(Store):
    """A store whose process kills itself at the point that the environment names."""

    commits = 0

    @override
    async def commit(self, changes: Changes) -> None:
        side, _, number = os.environ.get(POINT, "never-0").partition("-")
        self.commits += 1
        now = self.commits == int(number)
        if now and side == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        await super().commit(changes)  # type: ignore[safe-super]  # the store beside it
        if now:
            os.kill(os.getpid(), signal.SIGKILL)


class MortalFile(Mortal, SQLiteStore):
    """A file."""


class MortalSchema(Mortal, PostgresStore):
    """A schema of a server."""


class InAFile:
    """
    Where a run is: in a file.

    Args:
        folder: Where that is, and the book.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "signoff.db"
        self._leases_ahead = 0.0

    def store(self) -> Store:
        """Return a store as each process makes it."""
        ahead = self._leases_ahead
        return MortalFile(self._path, lease_clock=lambda: time.monotonic() + ahead)

    def let_leases_lapse(self) -> None:
        """Have those who start from now on find the leases of the dead lapsed."""
        self._leases_ahead += 1000

    def drop(self) -> None:
        """Leave that to whoever made the folder."""


class InASchema:
    """
    Where a run is: in a schema of a server.

    Args:
        address: Of the server.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        self._schema = f"points_{secrets.token_hex(6)}"

    def store(self) -> Store:
        """Return a store as each process makes it."""
        return MortalSchema(self._address, schema=self._schema)

    def let_leases_lapse(self) -> None:
        """Do what time does to the leases of the dead."""
        self._ask("UPDATE {}.claims SET ends = ends - interval '1000 seconds'")

    def drop(self) -> None:
        """Leave nothing on the server."""
        self._ask("DROP SCHEMA {} CASCADE")

    def _ask(self, statement: LiteralString) -> None:
        with psycopg.connect(self._address, autocommit=True) as session:
            session.execute(sql.SQL(statement).format(sql.Identifier(self._schema)))


Place: TypeAlias = "InAFile | InASchema"


async def begin(place: Place, keys: Keyring) -> None:
    """Start the run."""
    async with Client(place.store(), keyring=keys) as client:
        await client.flows.start(Order)


async def work(place: Place, keys: Keyring) -> None:
    """Work, and answer three times what is asked, until the run has ended."""
    async with Client(place.store(), keyring=keys, lease=LEASE) as client:
        (run,) = await client.flows.list()
        with anyio.fail_after(PATIENCE_SECONDS):
            while (await client.flows.get(run.run_id)).status != "completed":
                await client.drain()
                for request in await client.hitl.list_requests(status="pending"):
                    for _ in range(3):
                        with suppress(DecisionError):
                            await client.hitl.approve(
                                request_id=request.request_id, reviewer=REVIEWER
                            )


def forked(do: Callable[[], Awaitable[None]], backend: str, environment: dict[str, str]) -> int:
    """Do something in a child; return its id."""
    pid = os.fork()
    if pid == 0:
        os.environ.update(environment)
        try:
            anyio.run(do, backend=backend)
        except BaseException:  # noqa: BLE001 - a child must never return from here
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return pid


def ended(pid: int) -> int:
    """Wait for a child, and return how it ended."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def played(point: str, backend: str, *, other: str, server: str) -> dict[str, Any]:
    """Let a process die at a point, and another one finish: `later` it starts, or it is `there`."""
    keys = Keyring.generate()
    with TemporaryDirectory() as folder:
        FOLDER.append(Path(folder))
        place = InASchema(server) if server else InAFile(Path(folder))
        try:
            assert ended(forked(partial(begin, place, keys), backend, {})) == 0
            at_work = partial(work, place, keys)
            first = forked(at_work, backend, {POINT: point})
            if other == "there":
                second = forked(at_work, backend, {})
                ends = [ended(first), ended(second)]
            else:
                ends = [ended(first)]
                place.let_leases_lapse()
                ends.append(ended(forked(at_work, backend, {})))
        finally:
            place.drop()
        return {"point": point, "ends": ends, "paid": book()}


def main(other: str, every: int, server: str) -> None:
    """Play it at every so many points, until one is not reached any more; say what was seen."""
    found: list[dict[str, Any]] = []
    for side in ("before", "after"):
        number = 1
        while True:
            backend = ("asyncio", "trio")[number % 2]
            found.append(played(f"{side}-{number}", backend, other=other, server=server))
            if found[-1]["ends"][0] == 0:
                break
            number += every
    sys.stdout.write(json.dumps(found))


def points(other: str, every: int, *, server: str = "", seconds: float) -> list[dict[str, Any]]:
    """Run `main` in a process without threads, which may fork."""
    done = subprocess.run(
        [sys.executable, __file__, other, str(every), server],
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds,
    )
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def check(found: list[dict[str, Any]]) -> None:
    """See that each process died where it should, and that all was finished, once."""
    for one in found:
        assert one["ends"][0] in {-signal.SIGKILL, 0}, one
        assert one["ends"][1] == 0, one
        assert one["paid"] == ["inv-17"], one
    ends = Counter(one["ends"][0] for one in found)
    assert ends[0] <= 2
    assert ends[-signal.SIGKILL] >= 2


@pytest.fixture(name="server", params=["", "postgres"], ids=["file", "server"])
def _server(request: pytest.FixtureRequest) -> str:
    """Return the address of a server, or nothing for a file."""
    return str(request.getfixturevalue(request.param)) if request.param else ""


@pytest.mark.timeout(300)
def test_a_process_that_dies_at_a_point_is_replaced(server: str) -> None:
    """Reliability 7: at every fifth commit, or eleventh, before it or after it; then another process starts."""
    check(points("later", 11 if server else 5, server=server, seconds=290))


@pytest.mark.reliability
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("other", ["later", "there"])
def test_a_process_that_dies_at_any_point_is_replaced(server: str, other: str) -> None:
    """Reliability 7: at every commit; by a process that starts, or by one that is there already."""
    check(points(other, 1, server=server, seconds=1790))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
