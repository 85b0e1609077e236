"""A PostgresStore behind PgBouncer in transaction mode: what works, and what is lost."""

from __future__ import annotations

import logging
import os
import pwd
import random
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import unquote, urlsplit

import anyio
import psycopg
import pytest
from anyio.lowlevel import checkpoint

from signoff import Client, Flow, require_approval, start
from signoff.security.keyring import Keyring
from signoff.stores.postgres import PostgresStore
from signoff.testing.builders import a_request, writing

pytestmark = pytest.mark.timeout(120)

KEYS = Keyring.generate()
REVIEWER = "cfo@acme.example"
SOON = timedelta(seconds=60)
POOL_SIZE = 3
PROGRAM = shutil.which("pgbouncer") or shutil.which("/usr/sbin/pgbouncer")

SETTINGS = """
[databases]
pooled = {server}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = {size}
logfile = {folder}/log
"""


@pytest.fixture
def anyio_backend() -> str:
    """What a pooler passes on does not depend on the loop: one will do."""
    return "asyncio"


class Errand(Flow, name="postgres_pooler.errand"):
    """One step."""

    @start()
    async def go(self) -> str:
        """Say that it was done."""
        return "done"


@require_approval(name="postgres_pooler.pay", assignees=[REVIEWER])
async def pay(amount: int) -> str:
    """Have an effect."""
    return f"paid {amount}"


@pytest.fixture(name="pooler", scope="module")
def _pooler(postgres: str) -> Iterator[str]:
    """Yield the address of a pooler before the server."""
    if PROGRAM is None:
        pytest.skip("there is no PgBouncer on this machine: install Debian's `pgbouncer`")
    parts = urlsplit(postgres)
    server = {
        "host": parts.hostname,
        "port": parts.port or 5432,
        "dbname": parts.path.lstrip("/"),
        "user": unquote(parts.username or ""),
        "password": unquote(parts.password or ""),
    }
    port = free_port()
    with TemporaryDirectory(prefix="signoff-pooler-") as folder:
        text = SETTINGS.format(
            server=" ".join(f"{name}={value}" for name, value in server.items() if value),
            folder=folder,
            port=port,
            size=POOL_SIZE,
        )
        settings = Path(folder, "pgbouncer.ini")
        settings.write_text(text)
        command = [PROGRAM, "--quiet", str(settings)]
        if os.geteuid() == 0:  # which it refuses to run as
            names = {user.pw_name: user for user in pwd.getpwall()}
            owner = names.get("postgres", names["nobody"])
            for path in (folder, settings):
                os.chown(path, owner.pw_uid, owner.pw_gid)
            command = ["runuser", "-u", owner.pw_name, "--", *command]
        process = subprocess.Popen(command, cwd="/")
        try:
            address = f"postgresql://anybody@127.0.0.1:{port}/pooled"
            await_answer(address)
            yield address
        finally:
            process.terminate()
            process.wait(60)


def free_port() -> int:
    """Return a port that nobody has."""
    while True:
        port = random.randrange(10_000, 32_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def await_answer(address: str) -> None:
    """Wait until a pooler has begun to pass on."""
    until = time.monotonic() + SOON.total_seconds()
    while True:
        try:
            psycopg.connect(address).close()
        except psycopg.OperationalError:
            assert time.monotonic() < until, "the pooler does not come up"
        else:
            return


async def test_everything_works_behind_a_pooler_in_transaction_mode(
    pooler: str, postgres_schema: str
) -> None:
    """The schema is made, requests are asked and answered, many at once, over three connections of the server."""
    store = PostgresStore(pooler, schema=postgres_schema, prepare=False)
    async with Client(store, keyring=KEYS) as client:

        async def go_all_the_way(amount: int) -> None:
            request = await client.submit(pay, amount, key=f"invoice-{amount}")
            await client.hitl.approve(request_id=request.request_id, reviewer=REVIEWER)

        async with anyio.create_task_group() as group:
            for amount in range(12):
                group.start_soon(go_all_the_way, amount)
        await client.drain()
        runs = await client.flows.list(limit=50)
        assert {run.output for run in runs} == {f"paid {amount}" for amount in range(12)}


async def test_no_setting_of_a_commit_stays_on_the_connection_that_others_get(
    pooler: str, postgres_schema: str
) -> None:
    """The patience with locks, and what else a commit sets, ends with its transaction; no lock is left."""
    store = PostgresStore(pooler, schema=postgres_schema, prepare=False)
    async with store:
        async with anyio.create_task_group() as group:
            for number in range(20):
                group.start_soon(store.commit, writing(a_request(f"req_{number}")))
        with psycopg.connect(pooler, autocommit=True, prepare_threshold=None) as session:
            for _ in range(2 * POOL_SIZE):
                row = session.execute(
                    "SELECT current_setting('lock_timeout'),"
                    " current_setting('idle_in_transaction_session_timeout'),"
                    " (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory')"
                ).fetchone()
                assert row == ("0", "0", 0)


async def test_nothing_is_heard_through_it_and_the_sweep_finds_what_there_is(
    pooler: str,
    postgres_schema: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The log says so, with what to do; what is committed elsewhere is done all the same."""
    monkeypatch.setattr("signoff.worker.SWEEP_SECONDS", 0.05)
    monkeypatch.setattr("signoff.stores.postgres_news.ECHO_SECONDS", 0.5)
    here, there = (
        Client(PostgresStore(pooler, schema=postgres_schema, prepare=False), keyring=KEYS)
        for _ in range(2)
    )
    async with here, there, here.serving():
        run = await there.flows.start(Errand)
        assert (await there.flows.wait(run.run_id, timeout=SOON)).output == "done"
        with anyio.fail_after(SOON.total_seconds()):
            while "pooler in transaction mode" not in caplog.text:
                await checkpoint()
    assert any(record.levelno == logging.WARNING for record in caplog.records)


async def test_with_the_address_of_the_server_itself_news_are_heard(
    pooler: str, postgres: str, postgres_schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Commits go through the pooler, and tell; one connection that listens goes past it."""
    monkeypatch.setattr("signoff.worker.SWEEP_SECONDS", 3600.0)

    def a_client() -> Client:
        store = PostgresStore(pooler, schema=postgres_schema, prepare=False, news=postgres)
        return Client(store, keyring=KEYS)

    here, there = a_client(), a_client()
    async with here, there, here.serving():
        for _ in range(2):
            run = await there.flows.start(Errand)
            assert (await there.flows.wait(run.run_id, timeout=SOON)).output == "done"
