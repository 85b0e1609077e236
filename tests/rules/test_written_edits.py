"""Changes written as lines of text: which values can be, and what a reply's lines come to."""

from __future__ import annotations

from typing import Final

import hypothesis
import pytest
from hypothesis import strategies as st

from signoff.model.values import Tree, escaped
from signoff.rules.edits import Change, Edit, Problem
from signoff.rules.outcomes import choices
from signoff.rules.written_edits import (
    MAX_LINE_CHARS,
    MAX_VALUE_CHARS,
    Scalar,
    announces_changes,
    changes_among,
    label_with_changes,
    read_changes,
    scalars,
)

PAYMENT: Final[Tree] = {
    "vendor": "Nordwind GmbH",
    "amount": {"$": "decimal", "v": "1200.00"},
    "count": 3,
    "rate": 0.5,
    "urgent": False,
    "due": {"$": "date", "v": "2026-03-15"},
    "at": {"$": "datetime", "v": "2026-03-15T10:00:00+01:00"},
    "kind": {"$": "enum", "t": "shop:Kind", "v": "WIRE"},
    "note": "",
    "order": {
        "$": "model",
        "t": "shop:Order",
        "v": {"lines": [{"price": 5}, {"price": 7}], "pair": {"$": "tuple", "v": ["a", "b"]}},
    },
}


def names(tree: Tree) -> list[str]:
    return [one.name for one in scalars(tree)]


def test_every_scalar_of_a_payload_is_a_line_with_its_path() -> None:
    """Typed values too, in models, lists and tuples; in the order of the payload."""
    assert [one.line for one in scalars(PAYMENT)] == [
        "vendor = Nordwind GmbH",
        "amount = 1200.00",
        "count = 3",
        "rate = 0.5",
        "urgent = false",
        "due = 2026-03-15",
        "at = 2026-03-15T10:00:00+01:00",
        "kind = WIRE",
        "note =",
        "order.lines[0].price = 5",
        "order.lines[1].price = 7",
        "order.pair[0] = a",
        "order.pair[1] = b",
    ]


def test_a_payload_that_is_one_value_is_called_value() -> None:
    """As the mail calls it."""
    assert scalars("Buy now") == (Scalar("value", "Buy now", "Buy now", ()),)


@pytest.mark.parametrize(
    "tree",
    [
        None,
        "two\nlines",
        "two  blanks",
        " lead",
        "trail ",
        "no\u00a0break",
        "hid\u200bden",
        "x" * (MAX_LINE_CHARS - len("value = ") + 1),
        {"$": "set", "v": ["a"]},
        {"$": "dict", "v": [[1, "a"]]},
        {"$": "subclass", "t": "shop:Names", "v": ["a"]},
        {"$": "subclass", "t": "shop:Pair", "v": {"$": "tuple", "v": ["a"]}},
        {"$": "model", "t": "shop:Open", "v": {}, "x": {"extra": "a"}},
        {"$": "decimal", "v": 5},
        {"$": "datetime", "v": "2026-03-15T10:00:00+01:00", "z": "Europe/Berlin"},
        {"$": "enum", "t": "shop:Flags", "v": ["A", "B", "A B"]},
        {"a = b": 1},
        {"a  b": 1},
        {"Amount": 1, "amount": 2},
        [],
        {},
    ],
)
def test_what_would_not_come_back_as_it_was_is_not_offered(tree: Tree) -> None:
    """Line breaks, blanks, hidden characters, values without a path or a text of their own."""
    assert scalars(tree) == ()


def test_the_longest_line_is_offered() -> None:
    """The limit itself is within it."""
    value = "x" * (MAX_LINE_CHARS - len("value = "))

    assert [one.line for one in scalars(value)] == [f"value = {value}"]
    assert MAX_LINE_CHARS == 66


def test_a_key_that_begins_with_a_dollar_is_reached() -> None:
    """It is escaped in the tree and written as the user has it."""
    written = read_changes({"$$a": {"$$b": 1}}, ['["$a"]["$b"] = 2'])

    assert written.problems == ()
    assert written.edit.tree == {"$$a": {"$$b": 2}}


def test_fixed_names_are_neither_offered_nor_changed() -> None:
    """A hidden argument is a commitment, and its parts are fixed with it."""
    tree: Tree = {"a": {"commitment": "x"}, "b": "y"}

    assert [one.name for one in scalars(tree, fixed=("a",))] == ["b"]
    written = read_changes(tree, ["a.commitment = z"], fixed=("a",))
    assert written.problems == (
        Problem("a.commitment", "is no name of a value that can be changed here"),
    )
    assert written.edit.tree == tree


def test_lines_change_values_and_keep_their_types() -> None:
    """What is not named or not different stays as it is."""
    written = read_changes(
        PAYMENT,
        [
            "vendor = Nordwind GmbH",
            "Amount=900.50",
            "  count   =  4 ",
            "rate = 1",
            "urgent = yes",
            "",
            "due = 2026-04-01",
            "kind = CARD",
            "note = now with a note = fine",
            "order.lines[1].price = 8",
            "order.pair[0] = c",
        ],
    )

    assert written.problems == ()
    assert written.feedback == ""
    assert written.edit.changes == (
        Change(
            "amount",
            "changed",
            {"$": "decimal", "v": "1200.00"},
            {"$": "decimal", "v": "900.50"},
        ),
        Change("count", "changed", 3, 4),
        Change("rate", "changed", 0.5, 1.0),
        Change("urgent", "changed", False, True),
        Change(
            "due", "changed", {"$": "date", "v": "2026-03-15"}, {"$": "date", "v": "2026-04-01"}
        ),
        Change(
            "kind",
            "changed",
            {"$": "enum", "t": "shop:Kind", "v": "WIRE"},
            {"$": "enum", "t": "shop:Kind", "v": "CARD"},
        ),
        Change("note", "changed", "", "now with a note = fine"),
        Change("order.lines[1].price", "changed", 7, 8),
        Change("order.pair[0]", "changed", "a", "c"),
    )
    assert isinstance(PAYMENT, dict)
    edited = written.edit.tree
    assert isinstance(edited, dict)
    assert edited["vendor"] == PAYMENT["vendor"]
    assert edited["at"] == PAYMENT["at"]
    assert edited["order"] == {
        "$": "model",
        "t": "shop:Order",
        "v": {"lines": [{"price": 5}, {"price": 8}], "pair": {"$": "tuple", "v": ["c", "b"]}},
    }


def test_words_of_the_reviewer_stand_apart_from_the_changes() -> None:
    """Above them, or below a blank line; an address with `=` in it is no change."""
    written = read_changes(
        {"count": 3},
        ["X-ray agreed.", "count = 4", "", "See https://acme.example/?po=7", "", "Thanks, X"],
    )

    assert written.problems == ()
    assert written.feedback == "X-ray agreed.\n\nSee https://acme.example/?po=7\n\nThanks, X"
    assert written.edit.tree == {"count": 4}


@pytest.mark.parametrize(
    ("lines", "field", "why"),
    [
        (["cuont = 4"], "cuont", "is no name of a value that can be changed here"),
        (["= 4"], "=", "is no name of a value that can be changed here"),
        (["count = 4", "count = 4"], "count", "is given twice"),
        (["count = 3", "COUNT = 3"], "count", "is given twice"),
        (["count ="], "count", "is blank; a value cannot be emptied like this"),
        (["name ="], "name", "is blank; a value cannot be emptied like this"),
        (["count = four"], "count", "cannot be changed: 'four' is not a whole number"),
        (["count = 4.0"], "count", "cannot be changed: '4.0' is not a whole number"),
        (
            ["urgent = maybe"],
            "urgent",
            "cannot be changed: 'maybe' is not one of true, false, yes and no",
        ),
        (["name = a\u202eb"], "name", "has a character that nobody sees"),
        (["name = " + "x" * 501], "name", "has more than 500 characters"),
        (
            ["name = a very long line that a program", "broke in two"],
            "broke in two",
            "stands right below a change; leave a blank line before words of your own",
        ),
        (["name = Acme"], "payload", "no line below the first one changes a value"),
        ([], "payload", "no line below the first one changes a value"),
        (["Just words."], "payload", "no line below the first one changes a value"),
        (["1 + 1 = 2"], "1 + 1", "is no name of a value that can be changed here"),
    ],
)
def test_one_bad_line_changes_nothing_and_says_why(lines: list[str], field: str, why: str) -> None:
    """Also beside good ones."""
    tree: Tree = {"count": 3, "urgent": False, "name": "Acme", "other": "a"}
    good = [] if field == "payload" else ["other = b"]

    written = read_changes(tree, [*good, *lines])

    assert written.problems == (Problem(field, why),)
    assert written.edit == Edit(tree, (), written.problems)


def test_a_value_of_the_greatest_length_is_read() -> None:
    """The limit itself is within it."""
    written = read_changes({"name": "a"}, ["name = " + "x" * MAX_VALUE_CHARS])

    assert written.edit.tree == {"name": "x" * 500}


def test_all_problems_are_told_in_the_order_of_the_lines() -> None:
    """The first one is what the mail says."""
    written = read_changes({"a": 1, "b": 2}, ["b = x", "c = 1", "a = y"])

    assert [problem.field for problem in written.problems] == ["b", "c", "a"]


@hypothesis.given(
    st.recursive(
        st.booleans()
        | st.integers()
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(max_size=20)
        | st.decimals(allow_nan=False, allow_infinity=False).map(
            lambda number: {"$": "decimal", "v": str(number)}
        ),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8).map(escaped), inner)
        ),
        max_leaves=8,
    )
)
@hypothesis.settings(max_examples=80)
def test_the_lines_as_they_were_offered_change_nothing(tree: Tree) -> None:
    """Whatever the payload is: sending the prefilled reply as it is, is no edit."""
    lines = [one.line for one in scalars(tree)]

    written = read_changes(tree, lines)

    assert written.problems == (Problem("payload", "no line below the first one changes a value"),)
    assert all(len(line) <= MAX_LINE_CHARS and line.isprintable() for line in lines)


@hypothesis.given(st.lists(st.text(max_size=40), max_size=6))
@hypothesis.settings(max_examples=80)
def test_any_lines_leave_the_shape_and_the_types_as_they_are(lines: list[str]) -> None:
    """Nothing that is written raises, and what comes of it fits what was proposed."""
    tree: Tree = {"a": 1, "b": "x", "c": [True, {"$": "decimal", "v": "1"}]}

    written = read_changes(tree, ["a = 2", "", *lines])

    assert (written.edit.tree == tree) is bool(written.problems)
    assert names(written.edit.tree) == ["a", "b", "c[0]", "c[1]"] or written.edit.changes


@pytest.mark.parametrize(
    ("line", "does"),
    [
        ("approved with changes", True),
        ("Approved with changes.", True),
        ("**approved  with changes**", True),
        ("APPROVED-WITH-CHANGES:", True),
        ("approved with change", False),
        ("approved with changes please", False),
        ("> approved with changes", False),
        ("not approved with changes", False),
        ("approved", False),
        ("", False),
    ],
)
def test_only_the_exact_first_line_announces_changes(line: str, does: bool) -> None:
    """Compared as labels are, and nothing else."""
    assert announces_changes(line) is does


@pytest.mark.parametrize(
    ("labels", "meanings", "aliases", "label"),
    [
        (["approved", "rejected"], {}, {}, "approved"),
        (["publish", "drop"], {"publish": "approve"}, {}, "publish"),
        (["later", "rejected"], {}, {}, None),
        (["a", "b"], {"a": "approve", "b": "approve"}, {}, None),
        (["approved", "approved with changes"], {}, {}, None),
        (["approved", "revise"], {}, {"revise": ["Approved_with changes!"]}, None),
        (["approved", "approved with"], {"approved with": "reject"}, {}, None),
        ([], {}, {}, None),
    ],
)
def test_changes_give_the_only_label_that_approves(
    labels: list[str], meanings: dict[str, str], aliases: dict[str, list[str]], label: str | None
) -> None:
    """Not where the words of the first line stand for something else already."""
    made = choices(labels, meanings=meanings, aliases=aliases)  # type: ignore[arg-type]  # parametrised

    assert label_with_changes(made, risk="low") == label
    assert label_with_changes(made, risk="high") == label


def test_lines_that_would_change_a_value_are_told_from_others() -> None:
    """Fit or not; one that says the value as it is, is none, nor is one of another name."""
    lines = [
        "amount = 900",
        " Vendor \u00a0=  x  y ",
        "count = many",
        "urgent = false",
        "price = 1",
        "kind = a = b",
        "amount: 900",
        "| amount = 1",
        "",
    ]
    every = ("amount = 900", "Vendor = x y", "count = many", "kind = a = b")
    assert changes_among(PAYMENT, lines) == every
    assert changes_among(PAYMENT, lines, fixed=["amount", "count", "kind"]) == ("Vendor = x y",)
