"""How long it takes from a decision until the next step begins, in this process or in another."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from typing import Final
from uuid import uuid4

import anyio
from tests.benchmarks.article import REQUESTER, REVIEWER, Timed
from tests.benchmarks.places import engine_named, postgres, store_at
from tests.benchmarks.player import Player

from signoff import Client
from signoff.keys import KEY_VARIABLE
from signoff.security.keyring import Keyring

SAMPLES: Final = 200
WARM_UP: Final = 20
LOOK_SECONDS: Final = 0.002


def table(folder: Path) -> None:
    """Print the median and the 95th percentile, with nothing else to do."""
    print("| decision to next step, one at a time | p50, p95 |")
    print("|---|---|")
    with TemporaryDirectory(dir=folder) as place:
        print(_line("SQLite, FULL, served by the process that decides", place), flush=True)
    with postgres() as address:
        if address is None:
            print("\nNot measured: PostgreSQL (no server on this machine).")
            return
        print(_line("PostgreSQL, local engine, served by the process that decides", address))
        print(
            _line("PostgreSQL, Procrastinate, served by another process", address, "procrastinate")
        )


def _line(what: str, place: str, engine: str = "") -> str:
    found = anyio.run(partial(_latencies, place, f"latency_{uuid4().hex}", engine))
    return f"| {what} | {median(found):.1f}, {quantiles(found, n=20)[-1]:.1f} ms |"


async def _latencies(place: str, schema: str, engine: str) -> Sequence[float]:
    """Return the milliseconds between each call of `approve` and the beginning of the next step."""
    keyring = Keyring.generate()
    client = Client(
        store_at(place, schema=schema),
        keyring=keyring,
        requester=REQUESTER,
        engine=engine_named(engine),
    )
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(client)
        if engine:
            command = [sys.executable, "-W", "ignore", "-m", "tests.benchmarks.worker"]
            env = os.environ | {KEY_VARIABLE: keyring.to_text()}
            player = stack.enter_context(Player([*command, place, schema, engine], env))
            player.hear("ready")
        else:
            await stack.enter_async_context(client.serving())
        return [await _latency(client) for _ in range(WARM_UP + SAMPLES)][WARM_UP:]


async def _latency(client: Client) -> float:
    run = await client.flows.start(Timed)
    while not (waiting := await client.hitl.list_requests(run_id=run.run_id)):  # noqa: ASYNC110 - another process rings no bell here
        await anyio.sleep(LOOK_SECONDS)
    # What suspends the run is done, and the worker is idle again.
    while (await client.flows.get(run.run_id)).status != "suspended":  # noqa: ASYNC110 - as above
        await anyio.sleep(LOOK_SECONDS)
    called = time.monotonic()
    await client.hitl.approve(request_id=waiting[0].request_id, reviewer=REVIEWER)
    while (ended := await client.flows.get(run.run_id)).status != "completed":  # noqa: ASYNC110 - as above
        await anyio.sleep(LOOK_SECONDS)
    assert isinstance(ended.output, float)
    return (ended.output - called) * 1000
