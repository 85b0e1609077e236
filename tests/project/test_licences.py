"""Licences: the core can be used in closed programs, so nothing in it is under the GPL."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

GPL = re.compile(r"\b[AL]?GPL\b|General Public License")


def core_requirements(name: str, seen: set[str]) -> Iterator[str]:
    """Yield what an installation without extras pulls in, and what that pulls in."""
    for text in metadata.requires(name) or []:
        requirement = Requirement(text)
        wanted = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        required = canonicalize_name(requirement.name)
        if wanted and required not in seen:
            seen.add(required)
            yield required
            yield from core_requirements(required, seen)


def licence(name: str) -> str:
    """Return what a distribution says of its licence, without the licence's text."""
    about = metadata.metadata(name)
    expressions = about.get_all("License-Expression", [])
    first_lines = [text.partition("\n")[0] for text in about.get_all("License", [])]
    classifiers = [
        line for line in about.get_all("Classifier", []) if line.startswith("License ::")
    ]
    return " / ".join([*expressions, *first_lines, *classifiers])


def test_no_core_dependency_is_under_the_gpl() -> None:
    """`pip install signoff` brings no GPL, LGPL or AGPL code."""
    names = list(core_requirements("signoff", set()))

    assert {"aiosmtplib", "anyio", "cryptography", "pydantic", "pydantic-core"} <= set(names)
    assert not {name: licence(name) for name in names if GPL.search(licence(name))}
    assert all(licence(name).strip(" /") for name in names)


def test_one_module_imports_the_gpl_library() -> None:
    """All else works without it."""
    source = Path(__file__).parents[2] / "src"
    importing = [
        path.name
        for path in source.rglob("*.py")
        if re.search(r"^\s*(import|from) aioimaplib\b", path.read_text(), re.MULTILINE)
    ]

    assert importing == ["aioimaplib_channel.py"]


@pytest.mark.parametrize(("name", "extra"), [("aioimaplib", "imap"), ("psycopg", "postgres")])
def test_the_gpl_libraries_come_only_with_their_extras(name: str, extra: str) -> None:
    """A user asks for aioimaplib (GPL-3.0-only) and psycopg (LGPL-3.0-only) by name: `signoff[imap]`."""
    requirements = [Requirement(text) for text in metadata.requires("signoff") or []]
    extras = {
        asked
        for asked in ("", "all", "imap", "postgres", "testing")
        for requirement in requirements
        if requirement.name == name
        and (requirement.marker is None or requirement.marker.evaluate({"extra": asked}))
    }

    assert extras == {"all", extra}
    assert GPL.search(licence(name))
