"""The floors: the picture in the documentation is the contract that import-linter enforces."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "signoff"
LAYERS: list[str] = next(
    contract["layers"]
    for contract in tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"][
        "contracts"
    ]
    if contract["id"] == "floors"
)


def contract_floors() -> list[set[str]]:
    """Return the floors of the contract, lowest first; `(name)` may be left out."""
    return [set(re.findall(r"\(?\w+\)?", layer)) for layer in reversed(LAYERS)]


def pictured_floors() -> list[set[str]]:
    """Return the floors of the picture, lowest first, written as the contract writes them."""
    page = (ROOT / "docs" / "architecture.md").read_text()
    rows = re.findall(r"^(\d)  (.+?)   ", page, flags=re.MULTILINE)
    assert [int(number) for number, _ in rows] == list(range(len(rows)))[::-1]
    names = [re.sub(r"\.py\b|/", "", row).split() for _, row in rows]
    return [set(row) for row in reversed(names)]


def test_the_picture_shows_the_floors_that_are_enforced() -> None:
    """The page and the contract name the same modules on the same floors."""
    assert pictured_floors() == contract_floors()


def test_every_module_stands_on_a_floor() -> None:
    """Each module and package below the root is in the picture."""
    built = {path.stem for path in SOURCE.glob("*.py")}
    built |= {path.parent.name for path in SOURCE.glob("*/__init__.py")}
    built -= {"__init__", "__main__"}
    pictured = {name.strip("()") for floor in pictured_floors() for name in floor}

    assert built <= pictured


def test_only_what_is_not_built_stands_in_parentheses() -> None:
    """A floor's module without parentheses exists, one in parentheses does not yet."""
    for floor in pictured_floors():
        for name in floor:
            module = SOURCE / name.strip("()")
            exists = module.is_dir() or module.with_suffix(".py").is_file()
            assert exists != name.startswith("("), name


@pytest.mark.parametrize(
    "package", ["flows", "gates", "hitl", "mail", "outbox", "testing/store_contract"]
)
def test_the_map_of_a_package_names_each_of_its_modules(package: str) -> None:
    """Who opens a package of many modules is told where to look, and nothing is left out."""
    folder = SOURCE / package
    opening = ast.get_docstring(ast.parse((folder / "__init__.py").read_text())) or ""
    modules = {path.stem for path in folder.glob("*.py")} - {"__init__"}

    assert modules <= set(re.findall(r"`(\w+)`", opening)), package
