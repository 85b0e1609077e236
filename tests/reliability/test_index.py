"""Each of the fourteen reliability tests exists, and so does one for each fault, by its number or name."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]

NUMBERED = {
    1: "a crash at every write of the store, and at every statement below it",
    2: "a crash while recovering from a crash",
    3: "every store beside a model",
    4: "answers from many threads and processes have an order",
    5: "a writer that is killed loses no acknowledged commit",
    6: "workers that are killed lose nothing and repeat nothing",
    7: "processes that die at exact points",
    8: "a database server that crashes and starts again",
    9: "races in either order",
    10: "a clock that jumps",
    11: "answers that come twice, late, or in another order",
    12: "workers in an order that a seed draws",
    13: "databases of older versions",
    14: "many parked runs",
}
FAULTS = (
    "full disk",
    "read-only file",
    "locked",
    "corrupted page",
    "reset in mid-commit",
    "frozen worker",
    "pool exhausted",
)

BROKEN = (
    "compare-and-set",
    "fencing",
    "the lease",
    "one transaction",
    "its savepoint",
    "the outbox",
)

MARK = re.compile(r"Reliability (?:(?P<numbers>\d+(?:, \d+)*)|fault): (?P<rest>.*)")


CONTROL = re.compile(r"The control of (?P<what>.+?): ")


@cache
def documented() -> list[tuple[str, str]]:
    """Return the name of each test, and what its docstring says."""
    return [
        (f"{path.stem}::{node.name}", ast.get_docstring(node) or "")
        for path in sorted(TESTS.rglob("test_*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        if node.name.startswith("test_")
    ]


@cache
def marked() -> list[tuple[str, str, str]]:
    """Return the numbers of each test that is marked, what follows them, and its name."""
    return list(_marked())


def _marked() -> Iterator[tuple[str, str, str]]:
    for name, said in documented():
        found = MARK.match(said)
        if found is not None:
            yield found["numbers"] or "", found["rest"], name


def by_number() -> dict[int, list[str]]:
    """Return the tests of each number."""
    found: dict[int, list[str]] = defaultdict(list)
    for numbers, _, name in marked():
        for number in filter(None, numbers.split(", ")):
            found[int(number)].append(name)
    return found


@pytest.mark.parametrize("number", NUMBERED, ids=NUMBERED.get)
def test_each_number_has_a_test(number: int) -> None:
    """A docstring that begins with `Reliability 7:` says which one it is."""
    assert by_number()[number]


def test_no_test_has_another_number() -> None:
    """Or a slip of the pen would hide a test."""
    assert set(by_number()) <= set(NUMBERED)


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_has_a_test(fault: str) -> None:
    """A docstring that begins with `Reliability fault: full disk.` says which one it is."""
    assert [name for numbers, rest, name in marked() if not numbers and rest.startswith(fault)]


@pytest.mark.parametrize("what", BROKEN)
def test_whatever_is_broken_on_purpose_turns_a_test_red(what: str) -> None:
    """A docstring that begins with `The control of fencing:` says what the test breaks, and what then is seen."""
    controls = [found["what"] for _, said in documented() if (found := CONTROL.match(said))]
    assert what in {one for control in controls for one in control.split(" and ")}
