"""`signoff move`: what it prints, what it says of the keys, and what it exits with."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from signoff import Client
from signoff.cli import main
from signoff.security import keyfile
from signoff.security.keyring import Keyring
from signoff.stores import SQLiteStore


@pytest.fixture(name="old", autouse=True)
def _old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Work in a folder where a client with a key file has made a database."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("SIGNOFF_KEY", raising=False)

    async def make() -> None:
        async with Client(SQLiteStore("old.db")):
            pass

    anyio.run(make)
    handlers, level = [*logging.root.handlers], logging.root.level
    yield tmp_path / "old.db"
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)


def test_everything_is_moved_and_counted_and_the_keys_are_explained(
    postgres: str, postgres_schema: str, old: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the line that it prints, every process gets the keys; no secret is printed."""
    assert main(["move", "old.db", postgres, "--to-schema", postgres_schema]) == 0

    said = capsys.readouterr().out
    path = keyfile.default_path(old)
    assert "        1 key_checks\n" in said
    assert "        0 requests\n" in said
    assert "Moved 1 rows; they read as they were" in said
    assert f"Let nobody serve {old} again" in said
    assert f'export SIGNOFF_KEY="$(cat {path})"' in said
    [key] = Keyring.from_text(path.read_text()).to_text().split()
    assert key.rpartition(":")[2] not in said


def test_keys_in_the_environment_stay_what_they_are(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Then the key file is of no interest."""
    monkeypatch.setenv("SIGNOFF_KEY", Keyring.generate().to_text())
    assert main(["move", "old.db", "new.db"]) == 0

    assert "go on with the same SIGNOFF_KEY" in capsys.readouterr().out


def test_keys_that_are_somewhere_else_are_asked_for(
    postgres: str, postgres_schema: str, old: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where there is no key file, as with Client(keyring=...), or behind a server."""
    keyfile.default_path(old).unlink()
    assert main(["move", "old.db", postgres, f"--to-schema={postgres_schema}"]) == 0
    assert main(["move", postgres, "back.db", f"--from-schema={postgres_schema}"]) == 0

    assert capsys.readouterr().out.count("give every process those of before") == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["absent.db", "new.db"], "there is no database at"),
        (["old.db", "old.db"], "onto itself"),
        (["old.db", "postgresql://127.0.0.1:1/x"], "cannot be reached"),
    ],
)
def test_what_cannot_be_moved_is_said_and_nothing_is_printed(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The exit is 1."""
    assert main(["move", *arguments]) == 1

    printed = capsys.readouterr()
    assert said in printed.err
    assert printed.out == ""


def test_an_address_of_something_else_is_not_taken_for_a_path(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The exit is 2, and the message says what can be named."""
    assert main(["move", "old.db", "mysql://127.0.0.1:1/x"]) == 2

    said = capsys.readouterr().err
    assert (
        "nothing is known of mysql://; write the path of an SQLite file, or postgresql://" in said
    )


def test_a_server_needs_the_extra(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without psycopg the exit is 2, and the message says what to install."""
    for name in ("signoff.stores.postgres", "signoff.stores.postgres_store"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "signoff.stores.postgres_store", None)
    assert main(["move", "old.db", "postgres://127.0.0.1:1/x"]) == 2

    assert "pip install 'signoff[postgres]'" in capsys.readouterr().err
