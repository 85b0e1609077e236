"""The public surface: what a user may import, no name more and none less."""

from __future__ import annotations

import importlib
import inspect
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SURFACE: dict[str, list[str]] = tomllib.loads(
    Path(__file__).with_name("public_names.toml").read_text()
)


@pytest.mark.parametrize("module_name", SURFACE)
def test_all_is_exactly_the_public_surface(module_name: str) -> None:
    """`__all__` of a public module is the list that users were promised, both ways."""
    module = importlib.import_module(module_name)

    assert sorted(module.__all__) == sorted(SURFACE[module_name])
    assert len(set(module.__all__)) == len(module.__all__)


@pytest.mark.parametrize("module_name", SURFACE)
def test_every_name_in_all_can_be_imported(module_name: str) -> None:
    """A promised name is there, even where the module loads it late."""
    module = importlib.import_module(module_name)

    for name in SURFACE[module_name]:
        assert getattr(module, name) is not None


@pytest.mark.parametrize("module_name", SURFACE)
def test_no_public_name_is_missing_from_all(module_name: str) -> None:
    """What looks public in the namespace of a public module is promised."""
    module = importlib.import_module(module_name)
    looks_public = {
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and name != "annotations"
        and not inspect.ismodule(value)
        and getattr(value, "__module__", module_name).startswith("signoff")
    }

    assert looks_public - {"TYPE_CHECKING"} <= set(module.__all__)


@pytest.mark.parametrize("module_name", SURFACE)
def test_every_public_name_says_what_it_is(module_name: str) -> None:
    """Each promised class and function has a docstring of its own."""
    module = importlib.import_module(module_name)

    for name in SURFACE[module_name]:
        value = getattr(module, name)
        if inspect.isclass(value) or inspect.isroutine(value):
            assert vars(value).get("__doc__", value.__doc__), f"{module_name}.{name}"


@pytest.mark.parametrize("module_name", SURFACE)
def test_every_public_module_is_in_the_reference(module_name: str) -> None:
    """The reference documents each public module, and so each name of its `__all__`."""
    pages = [page.read_text() for page in (ROOT / "docs" / "reference").glob("*.md")]

    assert any(f"{{eval-rst}}\n.. automodule:: {module_name}\n" in page for page in pages)
