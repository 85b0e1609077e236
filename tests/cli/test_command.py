"""The command line itself: what it says, what it refuses, and what it exits with."""

from __future__ import annotations

import logging
import re
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from signoff.cli import main

PROGRAM = """
import signal
from types import SimpleNamespace

import anyio

from signoff import Client, Flow, start
from signoff.stores import SQLiteStore


class Halt(Flow, name="cli.halt"):
    @start()
    async def stop_the_worker(self) -> str:
        signal.raise_signal(signal.SIGTERM)
        return "stopped"


class HaltTwice(Flow, name="cli.halt_twice"):
    @start()
    async def stop_the_worker(self) -> None:
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        await anyio.sleep_forever()


def make():
    return Client(SQLiteStore("shop.db"))


async def make_later():
    return make()


def fail():
    raise ValueError("no settings")


client = make()
nowhere = Client(SQLiteStore("/proc/absent/shop.db"))
parts = SimpleNamespace(client=client)
number = 7
"""

MISTAKES = {
    "shop": "'shop' names no client; write module:attribute, such as shop.work:client",
    "shop:": "'shop:' names no client",
    ":client": "':client' names no client",
    "absent.work:client": "there is no module 'absent' in .* set PYTHONPATH",
    "shop:clint": "shop has no attribute 'clint'; its clients are client, nowhere$",
    "json:client": "json has no attribute 'client'$",
    "shop:parts.absent": "shop.parts has no attribute 'absent'",
    "shop:number": "shop:number is 7, and a worker needs a signoff.Client",
    "shop:Halt": "shop:Halt is <.*Halt object.*>, and a worker needs a signoff.Client",
    "shop:make_later": "shop:make_later is a coroutine function, and a worker needs a .* without async",
    "shop:fail": "calling shop:fail failed: ValueError: no settings",
    "broken:client": "importing broken failed: NameError: name 'undefined' is not defined",
    "needy:client": "importing needy failed: ModuleNotFoundError: No module named 'absent'",
}


@pytest.fixture(name="shop", autouse=True)
def _shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Work in a folder with three programs in it, whose modules and log handlers are forgotten again."""
    for name, text in {
        "shop": PROGRAM,
        "broken": "undefined",
        "needy": "import absent",
    }.items():
        (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("SIGNOFF_KEY", raising=False)
    monkeypatch.setattr(sys, "path", [*sys.path])
    modules, handlers = {*sys.modules}, [*logging.root.handlers]
    level = logging.root.level
    yield
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)
    for name in {"shop", "broken", "needy"} - modules:
        sys.modules.pop(name, None)


@pytest.mark.parametrize("name", MISTAKES)
def test_a_client_that_is_not_there_is_refused_with_what_to_do(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The exit is 2; the message holds what was given, and what is there instead."""
    assert main(["worker", name]) == 2

    said = capsys.readouterr().err
    assert said.startswith(("signoff: ", "Traceback"))
    assert re.search(f"^signoff: .*{MISTAKES[name]}", said, re.MULTILINE), said
    assert ("Traceback" in said) == (" failed: " in MISTAKES[name])


def test_a_store_that_cannot_be_opened_ends_the_worker(capsys: pytest.CaptureFixture[str]) -> None:
    """The exit is 1, and there is no traceback: it is no mistake of the program."""
    assert main(["worker", "shop:nowhere"]) == 1

    said = capsys.readouterr().err
    assert "/proc/absent" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("flow", ["Halt", "HaltTwice"])
@pytest.mark.parametrize("name", ["shop:client", "shop:make", "shop:parts.client"])
def test_a_worker_serves_until_a_signal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flow: str, name: str
) -> None:
    """A client, a function that returns one, or one inside another object; one signal, or two."""
    monkeypatch.syspath_prepend(tmp_path)
    import shop  # type: ignore[import-not-found]  # noqa: PLC0415 - it was made a moment ago

    async def ask() -> str:
        async with shop.make() as client:
            run_id: str = (await client.flows.start(getattr(shop, flow))).run_id
            return run_id

    async def look(run_id: str) -> str:
        async with shop.make() as client:
            status: str = (await client.flows.get(run_id)).status
            return status

    run_id = anyio.run(ask)
    assert main(["--log-level", "warning", "worker", name, "--grace", "60"]) == 0

    assert anyio.run(look, run_id) == ("completed" if flow == "Halt" else "ready")


@pytest.mark.parametrize("grace", ["-1", "inf", "nan", "soon"])
def test_a_grace_that_is_none_is_refused(grace: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Like every other option that does not fit: exit 2, and the usage."""
    with pytest.raises(SystemExit) as stopped:
        main(["worker", "shop:client", f"--grace={grace}"])

    assert stopped.value.code == 2
    assert "--grace" in capsys.readouterr().err


def test_python_knows_the_command_as_a_module(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`python -m signoff` is the same command, and exits with what it returns."""
    monkeypatch.setattr(sys, "argv", ["signoff", "worker", "shop"])
    with pytest.raises(SystemExit) as stopped:
        runpy.run_module("signoff", run_name="__main__")

    assert stopped.value.code == 2
    assert "'shop' names no client" in capsys.readouterr().err


def test_the_command_says_what_it_can_do(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a command the exit is 2; `--help` and `--version` answer and exit with 0."""
    for arguments, code, words in (
        ([], 2, "COMMAND"),
        (["--help"], 0, "exit codes:"),
        (["--version"], 0, "signoff 0.1.0"),
        (["worker", "--help"], 0, "signoff worker shop.work:client"),
    ):
        with pytest.raises(SystemExit) as stopped:
            main(arguments)
        assert stopped.value.code == code
        said = capsys.readouterr()
        assert words in said.out + said.err
