"""A PostgreSQL server of the tests' own, from the binaries of the machine, in a temporary folder."""

from __future__ import annotations

import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

MEMORY = Path("/dev/shm")  # noqa: S108 - a folder of its own is made there
ROOM = 2**30
"""How many bytes must be free where data is kept in memory."""

INSTALLED = Path("/usr/lib/postgresql")
"""Where Debian puts the servers, each version in a folder of its own."""

PATIENCE_SECONDS = 60.0

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "shared_buffers": "32MB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_connections": "120",
    "deadlock_timeout": "100ms",
}

CARELESS = {"fsync": "off", "full_page_writes": "off"}
"""What makes a server faster that nobody pulls the plug of."""


def binaries() -> Path | None:
    """Return the folder of the newest server on this machine."""
    found = sorted(INSTALLED.glob("*/bin/pg_ctl"), key=lambda path: int(path.parts[-3]))
    if found:
        return found[-1].parent
    elsewhere = shutil.which("pg_ctl")
    return Path(elsewhere).resolve().parent if elsewhere else None


class Cluster:
    """
    A server over a new, empty cluster, for as long as the block lasts.

    Args:
        bin_folder: Where `initdb` and `pg_ctl` are.
        durable: Whether it waits for the disk.
    """

    def __init__(self, bin_folder: Path, *, durable: bool = False) -> None:
        self._bin = bin_folder
        in_memory = not durable and MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > ROOM
        self._folder = Path(tempfile.mkdtemp(prefix="signoff-", dir=MEMORY if in_memory else None))
        self._settings = SETTINGS | ({} if durable else CARELESS)
        self._port = _free_port()
        self.address = f"postgresql://signoff@127.0.0.1:{self._port}/postgres"

    def __enter__(self) -> Self:
        """Make the cluster and start its server."""
        if os.geteuid() == 0:
            owner = pwd.getpwnam(_owner())
            os.chown(self._folder, owner.pw_uid, owner.pw_gid)
        self._run(
            "initdb",
            *("--username=signoff", "--auth=trust", "--no-sync", "--encoding=UTF8"),
            "--locale=C",
        )
        self.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop the server and remove its data."""
        self._run("pg_ctl", "stop", "--mode=immediate", check=False)
        shutil.rmtree(self._folder, ignore_errors=True)

    def start(self) -> None:
        """Start the server, and wait until it answers."""
        settings = self._settings | {"port": str(self._port)}
        options = " ".join(f"-c {name}={value}" for name, value in settings.items())
        self._run("pg_ctl", "start", "--wait", f"--log={self._folder / 'log'}", f"-o {options}")

    def kill(self) -> None:
        """Kill every process of the server, and wait until they are gone."""
        postmaster = int((self._folder / "data" / "postmaster.pid").read_text().split()[0])
        # Stopped, it forks nobody who would be left, and buries nobody who is to be killed.
        os.kill(postmaster, signal.SIGSTOP)
        processes = [*_children(postmaster), postmaster]
        for process in processes:
            os.kill(process, signal.SIGKILL)
        until = time.monotonic() + PATIENCE_SECONDS
        while any(map(_is_there, processes)):
            assert time.monotonic() < until, "a killed server is still there"
        # One that nobody has buried yet counts as running to the next one.
        (self._folder / "data" / "postmaster.pid").unlink(missing_ok=True)

    def _run(self, program: str, *options: str, check: bool = True) -> None:
        command = [str(self._bin / program), f"--pgdata={self._folder / 'data'}", *options]
        if os.geteuid() == 0:
            command = ["runuser", "-u", _owner(), "--", *command]
        # To a file, because a server keeps the pipes that it is started with open.
        with tempfile.TemporaryFile("w+") as said:
            done = subprocess.run(
                command, stdout=said, stderr=said, check=False, cwd="/", timeout=PATIENCE_SECONDS
            )
            said.seek(0)
            assert not check or done.returncode == 0, said.read()


def _owner() -> str:
    """Return who runs the server where the tests run as root, which a server refuses."""
    users = {user.pw_name for user in pwd.getpwall()}
    return "postgres" if "postgres" in users else "nobody"


def _free_port() -> int:
    """Return a port that the system gives to nobody by itself, so that it stays free while a server is down."""
    while True:
        port = random.randrange(10_000, 32_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def _children(process: int) -> list[int]:
    listed = subprocess.run(
        ["ps", "--no-headers", "-o", "pid", "--ppid", str(process)],  # noqa: S607 - where it is depends on the system
        capture_output=True,
        text=True,
        check=False,
    )
    return [int(pid) for pid in listed.stdout.split()]


def _is_there(process: int) -> bool:
    """Return whether a process runs; one that only waits to be reaped does not."""
    listed = subprocess.run(
        ["ps", "--no-headers", "-o", "stat", "-p", str(process)],  # noqa: S607 - as above
        capture_output=True,
        text=True,
        check=False,
    )
    return bool(listed.stdout.strip()) and not listed.stdout.startswith("Z")
