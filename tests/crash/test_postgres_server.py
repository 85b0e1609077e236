"""A PostgreSQL server that is killed under a working client, and processes that share one."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeAlias

import anyio
import psycopg
import pytest

from signoff import Client, Flow, require_approval, start
from signoff.engines.local import LocalEngine
from signoff.engines.procrastinate import ProcrastinateEngine
from signoff.errors import AlreadyDecidedError, KeyringError, StoreUnavailableError
from signoff.ports import Engine
from signoff.security.keyring import Keyring
from signoff.stores.postgres import PostgresStore

CheckBooks: TypeAlias = Callable[[Path], None]
CopyBooks: TypeAlias = Callable[[str, str, Path], Path]

KEYS: Final = Keyring.generate()
REVIEWER: Final = "cfo@acme.example"
RUNS: Final = 12
PATIENCE_SECONDS: Final = 100
WITHIN_SECONDS: Final = 30
EFFECTS: list[int] = []
"""What really happened."""

HAPPENED: list[anyio.Event] = []
"""What is set when something did."""

RESTARTED: list[float] = []
"""When a server was there again."""

WORKER: Final = """
import sys
import anyio
from signoff import Client, require_approval
from signoff.stores.postgres import PostgresStore

@require_approval(name="postgres_server.ship", assignees=["cfo@acme.example"])
async def ship(order: int) -> str:
    with open(sys.argv[3], "a") as effects:
        effects.write(f"{order}\\n")
    return f"shipped {order}"

async def work():
    async with Client(PostgresStore(sys.argv[1], schema=sys.argv[2])) as client:
        async with client.serving():
            print("ready", flush=True)
            await anyio.to_thread.run_sync(sys.stdin.read)

anyio.run(work)
"""


@pytest.fixture
def anyio_backend() -> str:
    """What a server does to its clients does not depend on their loop."""
    return "asyncio"


@require_approval(name="postgres_server.pay", assignees=[REVIEWER])
async def pay(invoice: int) -> str:
    """Do something that must not be done twice."""
    EFFECTS.append(invoice)
    for event in HAPPENED:
        event.set()
    return f"paid {invoice}"


class Purchase(Flow, name="postgres_server.purchase"):
    """A gated call in a step."""

    @start()
    async def buy(self) -> str:
        """Pay."""
        return await pay(int(str(self.state["invoice"])))


@pytest.fixture(name="cluster")
def _cluster(postgres_cluster: Any, postgres_binaries: Path) -> Iterator[Any]:
    """Yield a server that waits for the disk and may be killed."""
    EFFECTS.clear()
    HAPPENED.clear()
    with postgres_cluster.Cluster(postgres_binaries, durable=True) as cluster:
        yield cluster


async def approve_all(client: Client) -> None:
    """Approve whatever is asked, as a person who tries again when something goes wrong."""
    while len(await client.hitl.list_requests(status="approved", limit=100)) < RUNS:
        for request in await client.hitl.list_requests(status="pending", limit=100):
            with suppress(StoreUnavailableError, AlreadyDecidedError):
                await client.hitl.approve(request_id=request.request_id, reviewer=REVIEWER)


async def crash(cluster: Any) -> None:
    """Kill the server, and start it again."""
    await anyio.to_thread.run_sync(cluster.kill)
    await anyio.to_thread.run_sync(cluster.start)
    RESTARTED.append(anyio.current_time())


async def while_parked(client: Client, begin_crash: Callable[[], object]) -> None:
    """Crash while nothing is done; then decide."""
    begin_crash()
    await client.hitl.get_stats()
    await approve_all(client)


async def while_deciding(client: Client, begin_crash: Callable[[], object]) -> None:
    """Crash while people decide."""
    async with anyio.create_task_group() as group:
        group.start_soon(approve_all, client)
        begin_crash()


async def while_resuming(client: Client, begin_crash: Callable[[], object]) -> None:
    """Crash when the first effect has happened, before it is stored."""
    happened = anyio.Event()
    HAPPENED.append(happened)
    async with anyio.create_task_group() as group:
        group.start_soon(approve_all, client)
        await happened.wait()
        begin_crash()


async def while_sweeping(client: Client, begin_crash: Callable[[], object]) -> None:
    """Crash while work is looked for."""
    begin_crash()
    for _ in range(20):
        await client.drain()
    await approve_all(client)


MOMENTS: Final = {
    "parked": while_parked,
    "deciding": while_deciding,
    "resuming": while_resuming,
    "sweeping": while_sweeping,
}


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("engine", [LocalEngine, ProcrastinateEngine])
async def test_a_server_that_is_killed_and_restarted_is_gone_on_with(
    cluster: Any,
    tmp_path: Path,
    check_books: CheckBooks,
    copy_books: CopyBooks,
    engine: Callable[[], Engine],
    moment: str,
) -> None:
    """Reliability 8: at whatever moment: each run ends by itself within 30 s, each effect is there once, nobody is in doubt."""
    store = PostgresStore(cluster.address, patience=timedelta(seconds=60))
    async with Client(store, keyring=KEYS, engine=engine()) as client:
        runs = [
            await client.flows.start(Purchase, inputs={"invoice": number}) for number in range(RUNS)
        ]
        await client.drain()
        with anyio.fail_after(PATIENCE_SECONDS):
            async with client.serving(), anyio.create_task_group() as group:
                await MOMENTS[moment](client, partial(group.start_soon, crash, cluster))
                for run in runs:
                    ended = await client.flows.wait(run.id, timeout=timedelta(seconds=60))
                    assert ended.status == "completed"
                assert anyio.current_time() - RESTARTED[-1] < WITHIN_SECONDS

    assert Counter(EFFECTS) == Counter(range(RUNS))
    check_books(copy_books(cluster.address, "signoff", tmp_path / "books.db"))
    with psycopg.connect(cluster.address) as session:
        (kinds,) = session.execute(
            "SELECT count(DISTINCT convert_from(body, 'UTF8')::jsonb ->> 'kind') FROM signoff.requests"
        ).fetchone() or (0,)
    assert kinds == 1


async def test_a_client_says_when_its_server_is_gone_and_goes_on_when_it_is_back(
    cluster: Any,
) -> None:
    """Reliability 8: past the store's patience calls fail, with what is wrong; nothing has to be opened anew."""
    store = PostgresStore(cluster.address, patience=timedelta(seconds=1))
    async with Client(store, keyring=KEYS) as client:
        run = await client.flows.start(Purchase, inputs={"invoice": 7})
        await anyio.to_thread.run_sync(cluster.kill)
        with pytest.raises(StoreUnavailableError, match="cannot be reached"):
            await client.flows.get(run.id)
        with pytest.raises(StoreUnavailableError, match="cannot be reached"):
            await client.flows.cancel(run.id)

        await anyio.to_thread.run_sync(cluster.start)
        with anyio.fail_after(PATIENCE_SECONDS):
            found = None
            while found is None:
                with suppress(StoreUnavailableError):
                    found = await client.flows.get(run.id)
        assert found.status == "ready"


@pytest.mark.timeout(120)
async def test_two_workers_do_what_a_third_process_asks(
    postgres: str, postgres_schema: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each order is shipped once, by one of two processes that serve."""
    monkeypatch.setenv("SIGNOFF_KEY", KEYS.to_text())
    effects = tmp_path / "effects"

    @require_approval(name="postgres_server.ship", assignees=[REVIEWER])
    async def ship(order: int) -> str:
        raise AssertionError(order)

    async with Client(PostgresStore(postgres, schema=postgres_schema)) as client:
        command = [sys.executable, "-c", WORKER, postgres, postgres_schema, str(effects)]
        workers = [
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # noqa: ASYNC220 - a test may block
            for _ in range(2)
        ]
        for worker in workers:
            assert worker.stdout is not None
            assert worker.stdout.readline() == b"ready\n"
        requests = [await client.submit(ship, order, key=f"order-{order}") for order in range(20)]
        for request in requests:
            await client.hitl.approve(request_id=request.request_id, reviewer=REVIEWER)
        outputs = [
            (await client.flows.wait(request.run_id, timeout=timedelta(seconds=90))).output
            for request in requests
        ]
        for worker in workers:
            worker.communicate(timeout=60)

    assert outputs == [f"shipped {order}" for order in range(20)]
    assert Counter(effects.read_text().split()) == Counter(str(order) for order in range(20))
    assert [worker.returncode for worker in workers] == [0, 0]


async def test_a_client_over_a_server_needs_its_keys_in_the_environment(
    postgres: str, postgres_schema: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No key file is made; the error says how to make a key, and shows no password."""
    monkeypatch.delenv("SIGNOFF_KEY", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))

    with pytest.raises(KeyringError, match="SIGNOFF_KEY.*openssl rand -base64 32"):
        async with Client(PostgresStore(postgres, schema=postgres_schema)):
            pass

    assert list(tmp_path.iterdir()) == []  # noqa: ASYNC240 - a test may block
    monkeypatch.setenv("SIGNOFF_KEY", KEYS.to_text())
    async with Client(PostgresStore(postgres, schema=postgres_schema)) as client:
        assert (await client.hitl.get_stats()).pending == 0
