"""
One approval, the whole real way: suspend, mail, reply, resume, each in a process of its own.

Run it with `nox -s demo`, or with `nox -s demo -- --interactive` to be the reviewer yourself.
Mail goes over real SMTP and IMAP servers on this machine's loopback interface.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from mailserver import PASSWORD, MailServer

HERE = Path(__file__).parent


def run(script: str, *arguments: str, environment: dict[str, str]) -> None:
    """Run one of the demo's processes to its end."""
    command = [sys.executable, str(HERE / script), *arguments]
    subprocess.run(command, check=True, env=environment)


def main() -> None:
    """Let the processes take their turns."""
    interactive = [each for each in sys.argv[1:] if each == "--interactive"]
    with tempfile.TemporaryDirectory() as folder, MailServer() as server:
        print(
            f"[{os.getpid()}] mail servers on {server.host}:"
            f" SMTP {server.smtp_port}, IMAP {server.imap_port}",
            flush=True,
        )
        base = {**os.environ, "PYTHONUNBUFFERED": "1"}
        ours = {
            **base,
            "DEMO_DATABASE": str(Path(folder, "demo.db")),
            "DEMO_HOST": server.host,
            "DEMO_SMTP_PORT": str(server.smtp_port),
            "DEMO_IMAP_PORT": str(server.imap_port),
            "DEMO_PASSWORD": PASSWORD,
            "XDG_STATE_HOME": str(Path(folder, "state")),
        }
        run("start_run.py", environment=ours)
        # The reviewer gets a mailbox and nothing else: no import path, no database.
        theirs = {name: value for name, value in base.items() if not name.startswith("SIGNOFF")}
        run(
            "reviewer.py",
            server.host,
            str(server.imap_port),
            str(server.smtp_port),
            "brand",
            PASSWORD,
            *interactive,
            environment={**theirs, "PYTHONPATH": ""},
        )
        run("resume_run.py", environment=ours)


main()
