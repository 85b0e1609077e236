"""What the tests of the command share: a folder with a program in it, and real processes of it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from signoff.security.keyring import Keyring

Command = Callable[..., "subprocess.Popen[str]"]

PROGRAM = """
import os
import sys
from datetime import timedelta

import anyio

from signoff import Client, Flow, listen, start
from signoff.stores import SQLiteStore


class Job(Flow, name="cli.job"):
    @start()
    async def first(self) -> str:
        print("begun", flush=True)
        await anyio.to_thread.run_sync(sys.stdin.readline)
        return "first"

    @listen(first)
    async def second(self, given: str) -> str:
        return given + " and second"


class Stuck(Flow, name="cli.stuck"):
    @start()
    async def first(self) -> str:
        if "CURED" not in os.environ:
            print("begun", flush=True)
            await anyio.sleep_forever()
        return "cured"


class Deadly(Flow, name="cli.deadly"):
    @start()
    async def first(self) -> str:
        if "CURED" not in os.environ:
            os._exit(77)
        return "cured"


def make_client():
    return Client(SQLiteStore("work.db"), lease=timedelta(seconds=1))


client = make_client()
"""


@pytest.fixture
def anyio_backend() -> str:
    """The processes have loops of their own; that of the test does not matter."""
    return "asyncio"


@pytest.fixture(name="folder")
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder with a program in it, whose keys are in the environment."""
    monkeypatch.setenv("SIGNOFF_KEY", Keyring.generate().to_text())
    monkeypatch.chdir(tmp_path)
    (tmp_path / "work.py").write_text(PROGRAM)
    return tmp_path


@pytest.fixture(name="command")
def _command(folder: Path) -> Iterator[Command]:
    """Return what starts the command in the folder, with an environment's further variables."""
    begun: list[subprocess.Popen[str]] = []

    def begin(*arguments: str, **variables: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "signoff", *arguments],
            cwd=folder,
            env={**os.environ, **variables},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        begun.append(process)
        return process

    yield begin
    for process in begun:
        process.kill()
        process.communicate()
