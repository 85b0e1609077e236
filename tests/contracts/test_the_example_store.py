"""The store that the documentation shows keeps the whole contract."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from signoff.testing import StoreContract

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "own_store"
PAGE = ROOT / "docs" / "howto" / "write-your-own-store.md"


@pytest.mark.timeout(300)
def test_the_example_store_passes_as_the_page_says() -> None:
    """By the command of the page, on both event loops; every test of the contract is run."""
    arguments = ["-m", "pytest", "test_dict_store.py"]
    assert f"cd examples/own_store && python {' '.join(arguments)}" in PAGE.read_text()

    done = subprocess.run(
        [sys.executable, *arguments, "-p", "no:cacheprovider"],
        cwd=EXAMPLE,
        capture_output=True,
        text=True,
        check=False,
        timeout=290,
    )

    assert done.returncode == 0, done.stdout
    passed = re.search(r"(\d+) passed", done.stdout)
    tests = [name for name in dir(StoreContract) if name.startswith("test_")]
    assert passed is not None
    assert int(passed[1]) >= 2 * len(tests)
    assert "skipped" not in done.stdout
