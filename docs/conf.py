"""How Sphinx builds the documentation."""

from __future__ import annotations

import importlib
import tomllib
from pathlib import Path

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PUBLIC: dict[str, list[str]] = tomllib.loads(
    (ROOT / "tests" / "project" / "public_names.toml").read_text()
)

project = "Signoff"
author = "The Signoff authors"
project_copyright = "The Signoff authors"
release = version = PROJECT["version"]

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"Signoff {release}"

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
napoleon_google_docstring = True
napoleon_numpy_docstring = False

# Only our own names must resolve: the build needs no network, so it knows no other project's.
nitpick_ignore_regex = [
    (r"py:.*", r"(?!signoff\b).*"),
    (r"py:.*", r"signoff\.model\.(base|changes|seal|values)\..*"),  # what records are made of
    (r"py:.*", r"signoff\.rules\..*"),  # what `and_` and `or_` return
    (r"py:.*", r"signoff\..*\.([A-Z](_co)?|\w+T(_co)?)"),  # type variables
]


def public_names() -> dict[str, str]:
    """Map where a public name is defined to where users import it from."""
    public = {}
    for module_name, names in PUBLIC.items():
        module = importlib.import_module(module_name)
        for name in names:
            value = getattr(module, name)
            defined = f"{value.__module__}.{getattr(value, '__qualname__', name)}"
            public[defined] = f"{module_name}.{name}"
    return public


def link_to_the_public_name(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, contnode: nodes.TextElement
) -> nodes.reference | None:
    """Resolve a reference to an inner module at the place where its name is documented."""
    if node["refdomain"] != "py":
        return None
    defined = node["reftarget"]
    package, _, name = defined.rpartition(".")
    # What is not public is documented where the house imports it from: a module, or its package.
    target = app.config.signoff_public_names.get(defined, f"{package.rpartition('.')[0]}.{name}")
    return env.get_domain("py").resolve_xref(
        env, node["refdoc"], app.builder, node["reftype"], target, node, contnode
    )


def fences_to_blocks(
    app: Sphinx, what: str, name: str, value: object, options: object, lines: list[str]
) -> None:
    """Turn the Markdown fences of a docstring into the literal blocks that autodoc reads."""
    fenced = False
    for number, line in enumerate(lines):
        if line.startswith("```"):
            lines[number] = "" if fenced else "::\n"
            fenced = not fenced
        elif fenced:
            lines[number] = f"    {line}"
    lines[:] = "\n".join(lines).split("\n")


def setup(app: Sphinx) -> None:
    """Tell Sphinx how the inner names of signoff map to its public ones."""
    app.add_config_value("signoff_public_names", public_names(), "env", types=[dict])
    app.connect("missing-reference", link_to_the_public_name)
    app.connect("autodoc-process-docstring", fences_to_blocks)
