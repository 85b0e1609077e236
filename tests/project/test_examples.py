"""The examples: each runs alone and prints what the comment block at its end says."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


def promised_output(source: str) -> str:
    """Return the comment block that ends a file, without its `# ` and the line `# Output:`."""
    block: list[str] = []
    for line in reversed(source.rstrip().splitlines()):
        if not line.startswith("#"):
            break
        block.insert(0, line.removeprefix("#").removeprefix(" "))
    if block and block[0] == "Output:":
        del block[0]
    return "".join(f"{line}\n" for line in block)


def test_there_are_examples() -> None:
    """An empty folder would make every other test here pass."""
    assert EXAMPLES


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_prints_what_it_promises(path: Path, tmp_path: Path) -> None:
    """An example runs in an empty folder, without a network, and its output is its last comment."""
    finished = subprocess.run(
        [sys.executable, "-W", "error", str(path)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "HOME": str(tmp_path), "XDG_STATE_HOME": str(tmp_path)},
    )

    assert finished.stderr == ""
    assert finished.returncode == 0
    assert finished.stdout == promised_output(path.read_text())
    assert finished.stdout


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_says_what_it_shows_and_stays_short(path: Path) -> None:
    """An example opens with what it shows and how to run it, and has at most 80 lines."""
    source = path.read_text()

    assert f"examples/{path.name}" in (ast.get_docstring(ast.parse(source)) or "")
    assert len(source.splitlines()) <= 80
