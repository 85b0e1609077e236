"""The page that leads from SQLite on one machine to PostgreSQL and Procrastinate on many: its commands."""

from __future__ import annotations

import os
import re
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlsplit

import psycopg
import pytest

pytestmark = [pytest.mark.timeout(180), pytest.mark.slow]

DOCS = Path(__file__).parents[2] / "docs"
PAGE = DOCS / "howto" / "from-one-machine-to-many.md"
PATIENCE_SECONDS = 120


def blocks(page: Path, language: str = r"\w+") -> list[tuple[str, str]]:
    """Return the language and the text of each block of a page."""
    return re.findall(rf"^```({language})\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)


class Reader:
    """
    Someone who follows the page in a terminal.

    Args:
        folder: Where.
        server: The address of a superuser.
        name: What roles and databases are called here.
    """

    def __init__(self, folder: Path, server: str, name: str) -> None:
        self._folder = folder
        self._server = server
        self._name = name
        self._environment = {
            **{key: value for key, value in os.environ.items() if key != "SIGNOFF_KEY"},
            "XDG_STATE_HOME": str(folder / "state"),
        }
        self.workers: list[subprocess.Popen[bytes]] = []
        self.printed: list[str] = []

    def run(self, script: str) -> None:
        """Do what a block of commands says."""
        for line in script.splitlines():
            self._do(line)

    def _do(self, line: str) -> None:
        if line.startswith("pip install "):
            assert line.split()[2].strip("'") == "signoff[distributed]"
        elif line == "kill %1":
            self.stop()
        elif line.startswith("export DATABASE_URL="):
            self.connect_as("signoff")
        elif line.startswith("export "):
            name, _, value = line.removeprefix("export ").partition("=")
            self._environment[name] = self._output(f"printf %s {value}")
        elif line.endswith(" &"):
            command = self._shell(f"exec {self._ours(line.removesuffix(' &'))}")
            self.workers.append(subprocess.Popen(command, cwd=self._folder, env=self._environment))
        else:
            self.printed += self._output(self._ours(line)).splitlines()

    def stop(self) -> None:
        """Stop the workers as a terminal does, and see that they end in good order."""
        workers, self.workers = self.workers, []
        for worker in workers:
            worker.send_signal(signal.SIGTERM)
        assert [worker.wait(PATIENCE_SECONDS) for worker in workers] == [0] * len(workers)

    def connect_as(self, role: str) -> None:
        """Go on with the address of a role."""
        self._environment["DATABASE_URL"] = self.address(role)

    def address(self, role: str) -> str:
        """Return the address of a role in the page's database."""
        parts = urlsplit(self._server)
        place = f"{parts.hostname}:{parts.port or 5432}"
        return f"postgresql://{self.named(role)}:{quote('of a test')}@{place}/{self.named('work')}"

    def named(self, text: str) -> str:
        """Return the text with what the page calls roles and databases called as it is here."""
        text = re.sub(r"\bwork\b", f"{self._name}_work", text)
        text = re.sub(r"\bsignoff_worker\b", f"{self._name}_worker", text)
        return re.sub(r"\b(ROLE|OWNER) signoff\b|^signoff$", rf"\1 {self._name}", text).strip()

    def _ours(self, line: str) -> str:
        return re.sub(r"^(signoff|python)\b", self._known, line)

    @staticmethod
    def _known(command: re.Match[str]) -> str:
        return f"{sys.executable} -m signoff" if command[0] == "signoff" else sys.executable

    def _output(self, line: str) -> str:
        done = subprocess.run(
            self._shell(line),
            cwd=self._folder,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_SECONDS,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    @staticmethod
    def _shell(line: str) -> list[str]:
        return ["/bin/sh", "-c", line]


@pytest.fixture(name="reader")
def _reader(tmp_path: Path, postgres: str) -> Iterator[Reader]:
    name = f"test_{secrets.token_hex(4)}"
    reader = Reader(tmp_path, postgres, name)
    yield reader
    for worker in reader.workers:
        worker.kill()
        worker.wait()
    with psycopg.connect(postgres, autocommit=True) as session:
        session.execute(f"DROP DATABASE IF EXISTS {name}_work (FORCE)".encode())
        for role in (name, f"{name}_worker"):
            session.execute(f"DROP ROLE IF EXISTS {role}".encode())


def statements(reader: Reader, script: str, address: str) -> None:
    """Run a block of SQL, one statement at a time, and let the roles that it makes come in."""
    with psycopg.connect(address, autocommit=True) as session:
        for statement in filter(None, map(str.strip, reader.named(script).split(";"))):
            session.execute(statement.encode())
            if made := re.match(r"CREATE ROLE (\w+)", statement):
                session.execute(f"ALTER ROLE {made[1]} PASSWORD 'of a test'".encode())


def test_the_page_leads_from_one_machine_to_many(
    reader: Reader, tmp_path: Path, postgres: str
) -> None:
    """Every block in its order: what was asked on SQLite is answered by workers on PostgreSQL; nothing is lost."""
    program = tmp_path / "shop.py"
    last_line = 'client = Client(SQLiteStore("signoff.db"))\n'
    for language, text in blocks(PAGE):
        if language == "python" and not program.exists():
            assert text.endswith(last_line)
            program.write_text(text)
        elif language == "python":
            # As the page says of the keys, before anything of the program runs again.
            [line] = [one for one in reader.printed if "export SIGNOFF_KEY=" in one]
            reader.run(line[line.index("export") :])
            program.write_text(program.read_text().replace(last_line, text))
        elif language == "sql":
            statements(reader, text, postgres)
        else:
            assert language == "sh"
            reader.run(text)

    assert reader.printed[-2:] == ["shipped order-1", "shipped order-2"]
    assert "Moved " in "".join(reader.printed)
    reader.stop()

    # Step 6: the rights that the linked pages list are enough for a worker, and no more.
    as_superuser = urlsplit(postgres)._replace(path=f"/{reader.named('work')}").geturl()
    for page in (DOCS / "howto" / "several-machines.md", DOCS / "reference" / "engines.md"):
        for _, grants in blocks(page, "sql"):
            statements(reader, grants, as_superuser)
    reader.connect_as("signoff_worker")
    reader.run("signoff worker shop:client &")
    reader.run("python -c \"import anyio, shop; anyio.run(shop.ask, 'order-3')\"")
    reader.run('python -c "import anyio, shop; anyio.run(shop.answer)"')
    assert reader.printed[-1] == "shipped order-3"
    reader.stop()
    with psycopg.connect(reader.address("signoff_worker"), autocommit=True) as session:
        for change in ("UPDATE signoff.audit SET seq = 1", "DELETE FROM signoff.audit"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                session.execute(change.encode())
