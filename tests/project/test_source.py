"""House rules on the source itself: exceptions have reasons, banned modules and mocks stay out."""

from __future__ import annotations

import ast
import io
import re
import tokenize
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

pytestmark = pytest.mark.one_python

ROOT = Path(__file__).parents[2]
SOURCE = sorted((ROOT / "src").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
ALL = [*SOURCE, *TESTS, *sorted((ROOT / "examples").rglob("*.py")), ROOT / "noxfile.py"]

# How often src may leave a line out of coverage or mutation. Raise it only with a reason there.
ALLOWED_PRAGMAS = 0

EXCEPTION = re.compile(r"noqa|type: *ignore|pyright: *ignore|pragma:")
DIRECTIVE = r"""\# \s
    (?: (ruff: \s)? noqa: \s [A-Z]+\d+ (, \s [A-Z]+\d+)*
      | type: \s ignore\[ [a-z-]+ (, \s? [a-z-]+)* \]
      | pyright: \s ignore\[ \w+ (, \s? \w+)* \]
      | pragma: \s no \s (cover | branch | mutate (\s block)?)
    )"""
# Behind mypy's directive a reason has to be a comment of its own.
WITH_REASON = re.compile(
    rf"{DIRECTIVE} (\s\s{DIRECTIVE})* (\s-\s | \s+\#\s (?!noqa|type:|pyright:|pragma)) \w",
    re.VERBOSE,
)
BANNED = {"dill", "fnmatch", "marshal", "pickle", "shelve"}
MOCKS = ("mock", "pytest_mock", "unittest.mock")

# What tests put in the place of our own code. A constant that is made shorter needs no line here.
REPLACED = {
    ("adapters/test_imap_news.py", "wait_for_news"): "an hour of waiting is only written down",
    ("contracts/test_the_inbox_contract_bites.py", "patience"): "a class attribute that users set",
    ("flows/test_distrust.py", "request"): "a read that fails while commits do not",
    ("flows/test_states_after_deploys.py", "reads"): "a read that fails while commits do not",
    ("flows/test_taking_claims.py", "check_checkpoint"): "the instant before the claim is taken",
    (
        "flows/test_taking_claims.py",
        "checkpoint",
    ): "the instant behind a read, and a read that fails",
    ("flows/test_taking_claims.py", "names"): "this process had the code when it looked for work",
    ("reliability/test_every_write.py", "Outbox"): "one that is broken, to see a test turn red",
    ("stores/test_postgres_clock.py", "all"): "counts what is sent, and sends it",
    ("stores/test_postgres_news.py", "_told"): "counts what comes in, and passes it on",
    ("stores/test_postgres_queries.py", "all"): "notes what is sent, and sends it",
    ("stores/test_postgres_schema.py", "migrations"): "scripts of a release to come",
    ("stores/test_postgres_side_by_side.py", "migrations"): "scripts of a release to come",
}

# Where tests let time pass, and how often. To wait for something, wait for an event of it.
SLEEPS = {
    "benchmarks/latency.py": (3, "another process comes to an end, and rings no bell here"),
    "benchmarks/mail.py": (1, "smtp-sink does not say when its port is open"),
    "benchmarks/peers/signoff_burst.py": (1, "another process comes to an end"),
    "client/test_polling.py": (1, "by a clock that jumps"),
    "contracts/test_the_inbox_contract_bites.py": (1, "a mailbox without news, as its port says"),
    "crash/test_leases.py": (1, "what is tested is a step that blocks the loop"),
    "crash/test_postgres_workers.py": (1, "a run goes on in whichever process looks at the file"),
    "engines/test_local.py": (2, "by a clock that jumps"),
    "reliability/test_faults.py": (1, "a lock of half a minute is what is tested"),
    "sync/test_client.py": (1, "nobody is told that the main thread has begun to wait"),
}


def relative(path: Path) -> str:
    """Name a file as it is named in the repository."""
    return str(path.relative_to(ROOT))


def comments(path: Path) -> Iterator[tuple[int, str]]:
    """Yield line number and text of each comment."""
    for token in tokenize.generate_tokens(io.StringIO(path.read_text()).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


@cache
def parsed(path: Path) -> ast.Module:
    """Return the tree of a module, which several rules look at."""
    return ast.parse(path.read_text())


def imports(tree: ast.AST) -> Iterator[str]:
    """Yield the dotted names that a module imports, anywhere in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Yield each function and method of a module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_every_exception_to_a_rule_has_a_code_and_a_reason() -> None:
    """A `noqa`, `type: ignore` or pragma names its rule and says why, behind ` - ` or ` # `."""
    bare = [
        f"{relative(path)}:{line}: {text}"
        for path in ALL
        for line, text in comments(path)
        if EXCEPTION.search(text) and not WITH_REASON.match(text)
    ]

    assert not bare


def test_src_keeps_to_its_number_of_pragmas() -> None:
    """Nothing leaves coverage or mutation quietly."""
    pragmas = [
        f"{relative(path)}:{line}"
        for path in SOURCE
        for line, text in comments(path)
        if "pragma:" in text
    ]

    assert len(pragmas) == ALLOWED_PRAGMAS, pragmas


def test_coverage_leaves_out_only_what_cannot_run() -> None:
    """Coverage leaves out TYPE_CHECKING and overloads, and nothing else."""
    coverage = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["coverage"]

    assert coverage["run"] == {"branch": True, "source_pkgs": ["signoff"]}
    assert coverage["report"]["fail_under"] == 100
    assert coverage["report"]["exclude_also"] == ["if TYPE_CHECKING:", "@overload"]
    assert coverage["report"]["partial_also"] == ["if not TYPE_CHECKING:"]
    assert set(coverage["report"]) == {
        "exclude_also",
        "partial_also",
        "fail_under",
        "show_missing",
        "skip_covered",
    }


def undone(tree: ast.AST) -> Iterator[str]:
    """Yield the functions with an empty body, but for those of protocols and overloads."""
    protocols = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        and any("Protocol" in ast.unparse(base) for base in node.bases)
    ]
    declared = {id(function) for protocol in protocols for function in functions(protocol)}
    for function in functions(tree):
        overload = "overload" in [ast.unparse(name) for name in function.decorator_list]
        empty = ast.unparse(function.body[-1]) == "..."
        if empty and id(function) not in declared and not overload:
            yield function.name


def test_only_protocols_and_overloads_have_an_empty_body() -> None:
    """Coverage skips `...` bodies, so nothing that should do something has one."""
    assert [f"{relative(path)}: {name}" for path in SOURCE for name in undone(parsed(path))] == []


def test_src_imports_no_banned_module() -> None:
    """Neither pickle and its like nor fnmatch, not even late or under another name."""
    found = {(relative(path), name) for path in SOURCE for name in imports(parsed(path))}

    assert not {(path, name) for path, name in found if name.partition(".")[0] in BANNED}


def replaced(tree: ast.AST) -> Iterator[str]:
    """Yield what of our own code a test replaces by `setattr` of a monkeypatch, but constants."""
    foreign = {
        alias.asname or alias.name.partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
        if not alias.name.startswith("signoff")
    }
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and ast.unparse(node.func).endswith(".setattr")):
            continue
        where = node.args[0]
        if isinstance(where, ast.Constant):
            owner, _, name = str(where.value).rpartition(".")
            ours = owner.startswith("signoff")
        else:
            what = node.args[1]
            name = str(what.value) if isinstance(what, ast.Constant) else ast.unparse(what)
            ours = ast.unparse(where).partition(".")[0] not in foreign
        if ours and not name.isupper():
            yield name


def test_nothing_is_mocked() -> None:
    """Neither by a library nor by hand: tests use real parts, and doubles that are seen to be right."""
    trees = {path: parsed(path) for path in ALL}
    names = {name for tree in trees.values() for name in imports(tree)}
    parameters = {
        node.arg for tree in trees.values() for node in ast.walk(tree) if isinstance(node, ast.arg)
    }
    by_hand = {
        (str(path.relative_to(ROOT / "tests")), name)
        for path in TESTS
        for name in replaced(trees[path])
    }

    assert not {name for name in names if name.startswith(MOCKS)}
    assert "mocker" not in parameters
    assert by_hand == set(REPLACED)


def test_tests_wait_for_events_and_not_for_time() -> None:
    """A sleep is too short on a slow machine and too long on all others; the rest have a reason."""
    found = {
        str(path.relative_to(ROOT / "tests")): len(re.findall(r"\bsleep\(", path.read_text()))
        for path in TESTS
        if path != Path(__file__)
    }

    assert {path: count for path, count in found.items() if count} == {
        path: count for path, (count, _) in SLEEPS.items()
    }


def test_every_module_says_what_it_is_for() -> None:
    """A module opens with what it is for and, below the root, on which floor it stands."""
    said = {relative(path): ast.get_docstring(parsed(path)) or "" for path in SOURCE}
    lines = {path: len(text.partition("\n\n")[0].splitlines()) for path, text in said.items()}

    assert {path: count for path, count in lines.items() if not 1 <= count <= 5} == {}
    assert [path for path, text in said.items() if "floor " not in text] == [
        "src/signoff/__init__.py"
    ]


def test_src_has_no_open_ends() -> None:
    """Open points are issues, not comments."""
    assert not [
        f"{relative(path)}:{line}: {text}"
        for path in SOURCE
        for line, text in comments(path)
        if re.search(r"\b(TODO|FIXME|XXX|HACK)\b", text)
    ]


def test_every_test_has_a_docstring() -> None:
    """Each test says in a line what it shows."""
    silent = [
        f"{relative(path)}: {function.name}"
        for path in TESTS
        if path.name.startswith("test_")
        for function in functions(parsed(path))
        if function.name.startswith("test") and not ast.get_docstring(function)
    ]

    assert not silent
