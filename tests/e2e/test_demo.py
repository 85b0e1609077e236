"""The demo, run as its reader runs it: four processes, and a reviewer who knows nothing."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from anyio import run_process

from signoff import Client, Flow, human_feedback, start
from signoff.inboxes import IMAPInbox
from signoff.notifiers import SMTPNotifier
from signoff.security.keyring import Keyring

KEY = Keyring.generate().to_text()
OFFER = "everything 20 % off until Sunday."
LINE = re.compile(r"\[(\d+)\] (.*)")

SPY = """
import json, os, runpy, sys
from pathlib import Path
here = Path(__file__).parent
seen = {"argv": sys.argv[1:], "environ": dict(os.environ), "path": sys.path[1:]}
runpy.run_path(str(here / "real_reviewer.py"), run_name="__main__")
seen["modules"] = sorted(sys.modules)
(here / "seen.json").write_text(json.dumps(seen))
"""


def run(
    demo: Path, tmp_path: Path, *arguments: str, typed: str | None = None
) -> list[tuple[int, str]]:
    """Run the demo; return its stations, each with its process, and its last line with none."""
    finished = subprocess.run(
        [sys.executable, "-W", "error", str(demo / "main.py"), *arguments],
        cwd=tmp_path,
        input=typed or "",
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
        env={**os.environ, "HOME": str(tmp_path), "TMPDIR": str(tmp_path), "SIGNOFF_KEY": KEY},
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    *_, last = finished.stdout.splitlines()
    found = [LINE.search(line) for line in finished.stdout.splitlines()]
    return [*((int(one.group(1)), one.group(2)) for one in found if one), (0, last)]


@pytest.fixture(name="demonstration", scope="module")
def _demonstration(
    demo: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[list[tuple[int, str]], dict[str, Any]]:
    """Run the demo once, its reviewer watched; return its stations and what the reviewer saw."""
    folder = tmp_path_factory.mktemp("demonstration")
    copy = folder / "demo"
    shutil.copytree(demo, copy, ignore=shutil.ignore_patterns("__pycache__"))
    (copy / "reviewer.py").rename(copy / "real_reviewer.py")
    (copy / "reviewer.py").write_text(SPY)
    stations = run(copy, folder)
    return stations, json.loads((copy / "seen.json").read_text())


def test_the_demo_prints_its_stations_each_with_its_process(
    demonstration: tuple[list[tuple[int, str]], dict[str, Any]],
) -> None:
    """Servers, suspension, reviewer, reply, resumption, and the run's output at the end."""
    stations, _ = demonstration

    texts = [text for _, text in stations]
    assert re.fullmatch(r"mail servers on 127\.0\.0\.1: SMTP \d+, IMAP \d+", texts[0])
    assert texts[1:] == [
        "the run is suspended; mail sent to brand@acme.example",
        "the reviewer has a mail: [Approval] Shall we publish this?",
        "the reviewer replied: approved",
        "the reply was read: approved by brand@acme.example",
        "the run is completed",
        f"published: Spring sale: {OFFER} (approved by brand@acme.example: Great offer!)",
    ]
    pids = [pid for pid, _ in stations[:-1]]
    assert (pids[2], pids[4]) == (pids[3], pids[5])
    assert len(set(pids)) == 4


def test_the_reviewer_is_given_a_mailbox_and_nothing_else(
    demonstration: tuple[list[tuple[int, str]], dict[str, Any]],
) -> None:
    """No import path, no database, no key; not a module of Signoff is loaded."""
    _, seen = demonstration

    environ: dict[str, str] = seen["environ"]
    assert environ["PYTHONPATH"] == ""
    assert not [name for name in environ if name.startswith(("DEMO", "SIGNOFF", "XDG_STATE"))]
    given = "\n".join([*environ.values(), *seen["argv"]])
    assert "demo.db" not in given
    assert KEY not in given
    host, imap_port, smtp_port, login, _password = seen["argv"]
    assert (host, imap_port.isdigit(), smtp_port.isdigit(), login) == (
        "127.0.0.1",
        True,
        True,
        "brand",
    )
    assert not [name for name in seen["modules"] if name.partition(".")[0] == "signoff"]


def test_the_reviewer_imports_the_standard_library_only(demo: Path) -> None:
    """As its source says."""
    tree = ast.parse((demo / "reviewer.py").read_text())
    names = [
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    ]
    names += [str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]

    assert names
    assert {name.partition(".")[0] for name in names} <= sys.stdlib_module_names


def test_the_demo_waits_for_the_person_at_the_terminal(demo: Path, tmp_path: Path) -> None:
    """With `--interactive`; what is typed is what the run hears."""
    stations = run(demo, tmp_path, "--interactive", typed="rejected\nToo dear.\n\n")

    assert stations[-1][1] == "not published: Too dear."
    assert "the run is completed" in [text for _, text in stations]


class Ask(Flow, name="demo_test.ask"):
    """A question to the demo's reviewer."""

    @start()
    @human_feedback(
        message="Shall we?", emit=["approved", "rejected"], assign_to_email="brand@acme.example"
    )
    def draft(self) -> str:
        """Return what is asked about."""
        return "text"


async def test_the_reviewer_needs_nothing_but_python(demo: Path, server: Any) -> None:
    """It answers in isolated mode, where no package of anybody can be imported."""
    notifier = SMTPNotifier(
        server.host,
        server.smtp_port,
        sender="approvals@acme.example",
        reply_to="approvals@acme.example",
        tls="none",
    )
    inbox = IMAPInbox(
        server.host,
        server.imap_port,
        username="approvals",
        password=server.password,
        tls="none",
    )
    async with Client(notifiers=[notifier], inbox=inbox) as client:
        await client.flows.start(Ask)
        await client.drain()
        command = [sys.executable, "-I", "-S", str(demo / "reviewer.py"), server.host]
        command += [str(server.imap_port), str(server.smtp_port), "brand", server.password]
        await run_process(command, env={})
        await client.drain()
        (request,) = await client.hitl.list_requests()

    assert (request.status, request.feedback) == ("approved", "Great offer!")
