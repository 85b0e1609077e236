"""What a reviewer may change in a payload, and what the edit is then seen to change."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from signoff.model.values import Tree, rows
from signoff.rules.edits import Change, Edit, Problem, check_edit, coerce


def decimal(text: str) -> dict[str, Tree]:
    """Return the tree of a Decimal."""
    return {"$": "decimal", "v": text}


def model(name: str, /, **fields: Tree) -> dict[str, Tree]:
    """Return the tree of a pydantic model."""
    return {"$": "model", "t": name, "v": fields}


PAYLOAD: dict[str, Tree] = {
    "vendor": "acme",
    "amount": decimal("900.00"),
    "lines": [model("shop:Line", sku="a", count=1), model("shop:Line", sku="b", count=2)],
    "$$note": None,
}


def edited(**parts: Tree) -> dict[str, Tree]:
    """Return the payload with some parts changed."""
    return {**PAYLOAD, **parts}


def test_a_changed_argument_is_stored_and_all_else_stays_to_the_byte() -> None:
    """The edit names the change; order and spelling of the rest are the proposed ones."""
    shuffled = {name: PAYLOAD[name] for name in reversed(PAYLOAD)}
    shuffled["amount"] = decimal("90.00")
    lines: Any = PAYLOAD["lines"]
    shuffled["lines"] = [{**line, "s": ["sku"]} for line in lines]

    found = check_edit(PAYLOAD, shuffled)

    assert found == Edit(
        tree=edited(amount=decimal("90.00")),
        changes=(Change("amount", "changed", decimal("900.00"), decimal("90.00")),),
        problems=(),
    )
    assert json.dumps(found.tree) == json.dumps(edited(amount=decimal("90.00")))


def test_no_change_keeps_the_proposed_payload() -> None:
    """Also where the edit is spelled in another order."""
    shuffled = {name: PAYLOAD[name] for name in reversed(PAYLOAD)}

    found = check_edit(PAYLOAD, shuffled)

    assert found.tree is PAYLOAD
    assert (found.changes, found.problems) == ((), ())


def test_a_tag_may_be_spelled_in_another_order() -> None:
    """A form on a page may send its members as it likes."""
    amount: dict[str, Tree] = {"v": "900.00", "$": "decimal"}

    assert not check_edit(PAYLOAD, edited(amount=amount)).changes


def test_an_argument_whose_name_begins_with_a_dollar_can_be_changed() -> None:
    """Its name is shown as the user wrote it."""
    found = check_edit(PAYLOAD, {**PAYLOAD, "$$note": "late"})

    assert found.tree == {**PAYLOAD, "$$note": "late"}
    assert found.changes == (Change('["$note"]', "changed", None, "late"),)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"extra": 1}, Problem("extra", "is not part of what was proposed")),
        ({"vendor": 1}, Problem("vendor", "must stay str, and is int")),
        ({"vendor": None}, Problem("vendor", "must stay str, and is None")),
        ({"amount": "900.00"}, Problem("amount", "must stay Decimal, and is str")),
        ({"amount": 900}, Problem("amount", "must stay Decimal, and is int")),
        ({"amount": {"$": "what"}}, Problem("amount", "is nothing that can be stored")),
        ({"$$note": {"$": 1}}, Problem('["$note"]', "is nothing that can be stored")),
        ({"lines": {"0": 1}}, Problem("lines", "must stay list, and is dict")),
        ({"lines": {"$": "tuple", "v": []}}, Problem("lines", "must stay list, and is tuple")),
        ({"lines": [3]}, Problem("lines[0]", "must stay shop:Line, and is int")),
        (
            {"lines": [model("shop:Other", sku="a", count=1)]},
            Problem("lines[0]", "must stay shop:Line, and is shop:Other"),
        ),
        (
            {"lines": [model("shop:Line", sku="a")]},
            Problem("lines[0].count", "is missing"),
        ),
        (
            {"lines": [model("shop:Line", sku="a", count=1, price=1)]},
            Problem("lines[0].price", "is not part of what was proposed"),
        ),
        (
            {"lines": [model("shop:Line", sku="a", count=True)]},
            Problem("lines[0].count", "must stay int, and is bool"),
        ),
    ],
    ids=repr,
)
def test_shape_and_types_stay(change: Any, problem: Problem) -> None:
    """The problem names the part and both types, and the proposed payload stands."""
    found = check_edit(PAYLOAD, {**PAYLOAD, **change})

    assert problem in found.problems
    assert len(found.problems) == 1
    assert found.tree is PAYLOAD


def test_a_missing_argument_is_a_problem() -> None:
    """A call needs all that was proposed; leaving one out is no way to empty it."""
    found = check_edit(PAYLOAD, {"vendor": "acme"})

    assert found.problems == (
        Problem("amount", "is missing"),
        Problem("lines", "is missing"),
        Problem('["$note"]', "is missing"),
    )


def test_every_problem_is_reported_beside_the_changes() -> None:
    """A reviewer mends them all at once."""
    found = check_edit({"a": 1, "b": 2, "c": 3}, {"a": "x", "b": 5, "d": 4})

    assert found.problems == (
        Problem("a", "must stay int, and is str"),
        Problem("c", "is missing"),
        Problem("d", "is not part of what was proposed"),
    )
    assert found.changes == (Change("b", "changed", 2, 5),)
    assert found.tree == {"a": 1, "b": 2, "c": 3}


def test_a_fixed_argument_stays() -> None:
    """It may be repeated, and nothing in it may change."""
    assert check_edit(PAYLOAD, edited(vendor="evil"), fixed=["vendor"]).problems == (
        Problem("vendor", "may not be edited"),
    )
    assert check_edit(PAYLOAD, edited(lines=[]), fixed=["vendor", "lines"]).problems == (
        Problem("lines", "may not be edited"),
    )
    assert not check_edit(PAYLOAD, edited(amount=decimal("1")), fixed=["vendor"]).problems


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (1, 2),
        (1, 2.5),
        (2.5, 1),
        (0.0, -0.0),
        (1, {"$": "int", "v": hex(1 << 3000)}),
        ("a", ""),
        (True, False),
        (None, 3),
        (None, [1]),
        (None, model("shop:Line", sku="a")),
        (decimal("1"), decimal("1.0")),
        ({"$": "date", "v": "2024-01-01"}, {"$": "date", "v": "2024-01-02"}),
        (
            {"$": "datetime", "v": "2024-01-01T00:00:00", "z": "Europe/Berlin"},
            {"$": "datetime", "v": "2024-01-01T00:00:00", "z": "Europe/Rome"},
        ),
        ({"$": "enum", "t": "shop:C", "v": "A"}, {"$": "enum", "t": "shop:C", "v": "B"}),
        ({"$": "subclass", "t": "shop:Id", "v": "a"}, {"$": "subclass", "t": "shop:Id", "v": "b"}),
        (
            {"$": "dict", "v": [[1, "a"]]},
            {"$": "dict", "v": [[1, "a"], ["1", "b"]]},
        ),
    ],
    ids=repr,
)
def test_a_value_may_change_within_its_type(old: Any, new: Any) -> None:
    """An int and a float are both numbers; None had no type to keep."""
    found = check_edit({"it": old}, {"it": new})

    assert found == Edit({"it": new}, (Change("it", "changed", old, new),), ())


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        (1, True, "must stay int, and is bool"),
        (True, 1, "must stay bool, and is int"),
        (1.5, decimal("1.5"), "must stay float, and is Decimal"),
        (decimal("1"), 1.5, "must stay Decimal, and is float"),
        (1, "1", "must stay int, and is str"),
        ([], {}, "must stay list, and is dict"),
        ({}, [], "must stay dict, and is list"),
        ({"$": "set", "v": []}, {"$": "frozenset", "v": []}, "must stay set, and is frozenset"),
        (
            {"$": "datetime", "v": "T"},
            {"$": "date", "v": "T"},
            "must stay datetime, and is date",
        ),
        (
            {"$": "subclass", "t": "shop:Id", "v": 1},
            2.5,
            "must stay shop:Id, and is float",
        ),
        (
            {"$": "subclass", "t": "shop:Id", "v": 1},
            {"$": "subclass", "t": "shop:Other", "v": 1},
            "must stay shop:Id, and is shop:Other",
        ),
        (
            {"$": "enum", "t": "shop:C", "v": "A"},
            {"$": "enum", "t": "shop:D", "v": "A"},
            "must stay shop:C, and is shop:D",
        ),
        (
            {"$": "dict", "v": [[1, "a"]]},
            {"$": "subclass", "t": "shop:Bag", "v": {}},
            "must stay dict, and is shop:Bag",
        ),
    ],
    ids=repr,
)
def test_a_value_may_not_leave_its_type(old: Any, new: Any, why: str) -> None:
    """Each is told as the end of a sentence about the part."""
    found = check_edit({"it": old}, {"it": new})

    assert found == Edit({"it": old}, (), (Problem("it", why),))


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ([1, 2], [1, 5], [Change("it[1]", "changed", 2, 5)]),
        ([1], [1, 2], [Change("it[1]", "added", None, 2)]),
        ([1], [1, 2.5], [Change("it[1]", "added", None, 2.5)]),
        ([1, 2], [1], [Change("it[1]", "removed", 2, None)]),
        ([], ["a"], [Change("it[0]", "added", None, "a")]),
        ([1], [1, "a"], [Problem("it[1]", "must stay int, and is str")]),
        ([1, "a"], [1, "a", None], [Problem("it[2]", "must stay int or str, and is None")]),
        ([1, None], [1, None, "a"], [Change("it[2]", "added", None, "a")]),
        (
            [1, "a"],
            ["a"],
            [Change("it[0]", "changed", 1, "a"), Change("it[1]", "removed", "a", None)],
        ),
        ([[1], [2]], [[1], [3]], [Change("it[1][0]", "changed", 2, 3)]),
        ([], [{"$": 1}], [Problem("it[0]", "is nothing that can be stored")]),
        (
            {"$": "tuple", "v": [1, "a"]},
            {"$": "tuple", "v": [2, "a"]},
            [Change("it[0]", "changed", 1, 2)],
        ),
        (
            {"$": "set", "v": [1, 2]},
            {"$": "set", "v": [2, 3]},
            [Change("it{}", "removed", 1, None), Change("it{}", "added", None, 3)],
        ),
        ({"$": "set", "v": [1, 2]}, {"$": "set", "v": [2, 1]}, []),
        (
            {"$": "frozenset", "v": [1]},
            {"$": "frozenset", "v": ["a"]},
            [
                Change("it{}", "removed", 1, None),
                Problem("it{}", "must stay int, and is str"),
            ],
        ),
        ({"a": 1}, {"a": 2}, [Change("it.a", "changed", 1, 2)]),
        ({"a": 1}, {"a": 1, "b": "c"}, [Change("it.b", "added", None, "c")]),
        ({"a": 1, "b": 2}, {"b": 2}, [Change("it.a", "removed", 1, None)]),
        ({"a": 1}, {"a": "x"}, [Problem("it.a", "must stay int, and is str")]),
        (
            {"$": "dict", "v": [[1, "a"], [2, "b"]]},
            {"$": "dict", "v": [[2, "c"], [1, "a"]]},
            [Change("it[2]", "changed", "b", "c")],
        ),
        (
            {"$": "dict", "v": [[1, "a"], ["1", "b"]]},
            {"$": "dict", "v": [[1, "a"], ["1", "c"]]},
            [Change("it[1][1]", "changed", "b", "c")],
        ),
        (
            model("shop:Line", sku="a"),
            model("shop:Line", sku="b"),
            [Change("it.sku", "changed", "a", "b")],
        ),
        (
            {**model("shop:Line", sku="a"), "x": {"more": 1}, "p": {"_c": 2}},
            {**model("shop:Line", sku="a"), "x": {"more": 5}, "p": {"_c": 6}},
            [Change("it.more", "changed", 1, 5), Change("it._c", "changed", 2, 6)],
        ),
    ],
    ids=repr,
)
def test_what_lies_further_down_is_compared_part_by_part(old: Any, new: Any, found: Any) -> None:
    """Lists, sets and dicts grow and shrink, records keep their fields."""
    outcome = check_edit({"it": old}, {"it": new})

    assert list(outcome.changes) == [one for one in found if isinstance(one, Change)]
    assert list(outcome.problems) == [one for one in found if isinstance(one, Problem)]
    whole = {"it": new} if outcome.changes and not outcome.problems else {"it": old}
    assert outcome.tree == whole


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ("draft", "better draft", Change("", "changed", "draft", "better draft")),
        ("draft", 3, Problem("payload", "must stay str, and is int")),
        ("draft", {"$": 1}, Problem("payload", "is nothing that can be stored")),
        ({"a": 1}, [1], Problem("payload", "must stay dict, and is list")),
        ([1], [2], Change("[0]", "changed", 1, 2)),
        (None, {"a": 1}, Change("", "changed", None, {"a": 1})),
        (
            model("shop:Line", sku="a"),
            model("shop:Line", sku="b"),
            Change("sku", "changed", "a", "b"),
        ),
        (
            model("shop:Line", sku="a"),
            model("shop:Other", sku="a"),
            Problem("payload", "must stay shop:Line, and is shop:Other"),
        ),
        (model("shop:Line", sku="a"), model("shop:Line"), Problem("sku", "is missing")),
        (
            {"$": "dict", "v": [[1, "a"]]},
            {"$": "dict", "v": [[1, "b"]]},
            Change("[1]", "changed", "a", "b"),
        ),
    ],
    ids=repr,
)
def test_a_payload_need_not_be_a_dict(old: Any, new: Any, found: Change | Problem) -> None:
    """What `human_feedback` shows may be a text, a list or a record."""
    outcome = check_edit(old, new)

    assert outcome.changes + outcome.problems == (found,)
    assert outcome.tree == (new if outcome.changes else old)


def test_a_fixed_field_of_a_record_stays() -> None:
    """The names at the top may be those of a record."""
    found = check_edit(model("m", a=1, b=2), model("m", a=5, b=2), fixed={"a"})

    assert found.problems == (Problem("a", "may not be edited"),)


TREES: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=3)
    | st.decimals(allow_nan=False).map(lambda value: decimal(str(value))),
    lambda parts: (
        st.lists(parts, max_size=3)
        | st.dictionaries(st.text(alphabet="abc", max_size=2), parts, max_size=3)
        | st.lists(parts, max_size=3).map(lambda items: {"$": "tuple", "v": items})
        | st.dictionaries(st.sampled_from(["a", "b"]), parts).map(lambda part: model("m", **part))
    ),
    max_leaves=8,
)


@settings(max_examples=200)
@given(tree=TREES)
def test_an_unchanged_payload_is_never_an_edit(tree: Any) -> None:
    """Whatever it is made of."""
    found = check_edit(tree, json.loads(json.dumps(tree)))

    assert found == Edit(tree, (), ())


@pytest.mark.parametrize("beside", [None, {"$": "tuple", "v": [1]}])
def test_a_list_in_a_list_never_turns_into_a_tuple_that_looks_the_same(beside: Any) -> None:
    """Whatever else is in the list: the reviewer could not see it."""
    found = check_edit([[None], beside], [{"$": "tuple", "v": [None]}, beside])

    assert found.problems == (Problem("[0]", "must stay list, and is tuple"),)


def test_a_list_may_take_the_place_of_a_number_where_there_are_lists() -> None:
    """That is seen."""
    found = check_edit([1, [2]], [[3], [2]])

    assert found.changes == (Change("[0]", "changed", 1, [3]),)
    assert found.problems == ()


@settings(max_examples=300)
@example(old=[[None], None], new=[{"$": "tuple", "v": [None]}, None])
@given(old=TREES, new=TREES)
def test_an_edit_that_is_accepted_stores_what_the_reviewer_saw(old: Any, new: Any) -> None:
    """With no problem, what is stored reads as what was written; with one, as what was proposed."""
    found = check_edit(old, new)

    assert shown(found.tree) == shown(old if found.problems else new)
    # A tuple in place of a list is a problem that the table alone does not show.
    assert found.problems or bool(found.changes) == (shown(old) != shown(new))


def shown(tree: Any) -> list[str]:
    """Return the rows of a payload, whatever the order of its dicts."""
    return sorted(map(repr, rows(tree)))


DATE = {"$": "date", "v": "2024-01-01"}
NAIVE = {"$": "datetime", "v": "2024-01-01T00:00:00"}
AWARE = {"$": "datetime", "v": "2024-01-01T00:00:00+01:00", "n": "CET"}
BERLIN = {"$": "datetime", "v": "2024-01-01T00:00:00", "z": "Europe/Berlin", "fold": 1}
COLOUR = {"$": "enum", "t": "shop:C", "v": "RED"}
IDENTITY = {"$": "subclass", "t": "shop:Id", "v": "a"}


@pytest.mark.parametrize(
    ("original", "text", "written"),
    [
        ("old", " new text ", " new text "),
        ("old", "", ""),
        (IDENTITY, "b", {**IDENTITY, "v": "b"}),
        (
            {"$": "subclass", "t": "shop:Money", "v": decimal("1")},
            "2.50",
            {"$": "subclass", "t": "shop:Money", "v": decimal("2.50")},
        ),
        (True, " No ", False),
        (True, "false", False),
        (False, "YES", True),
        (False, "true", True),
        (1, " -12 ", -12),
        (1, "+3", 3),
        (1, "007", 7),
        (1, "9" * 600, int("9" * 600)),
        ({"$": "int", "v": hex(1 << 3000)}, "5", 5),
        (1.5, "2", 2.0),
        (1.5, "-2.5e-3", -0.0025),
        (1.5, ".5", 0.5),
        (1.5, "5.", 5.0),
        (1.5, "-0", -0.0),
        (decimal("1"), " 1234.50 ", decimal("1234.50")),
        (decimal("1"), "-1e3", decimal("-1E+3")),
        (DATE, "2024-02-29", {"$": "date", "v": "2024-02-29"}),
        (DATE, "20240229", {"$": "date", "v": "2024-02-29"}),
        (
            {"$": "timedelta", "v": "0:00:00"},
            "2 days, 1:00:00",
            {"$": "timedelta", "v": "2 days, 1:00:00"},
        ),
        (
            {"$": "uuid", "v": "0"},
            "12345678123412341234123456781234",
            {"$": "uuid", "v": "12345678-1234-1234-1234-123456781234"},
        ),
        ({"$": "bytes", "v": ""}, "base64:AA==", {"$": "bytes", "v": "AA=="}),
        ({"$": "bytearray", "v": ""}, "AA==", {"$": "bytearray", "v": "AA=="}),
        (NAIVE, "2024-02-29 12:00", {"$": "datetime", "v": "2024-02-29T12:00:00"}),
        (
            AWARE,
            "2024-02-29T12:00:00Z",
            {"$": "datetime", "v": "2024-02-29T12:00:00+00:00"},
        ),
        (
            BERLIN,
            "2024-02-29T12:00:00",
            {"$": "datetime", "v": "2024-02-29T12:00:00", "z": "Europe/Berlin"},
        ),
        (
            BERLIN,
            "2024-02-29T12:00:00+05:00",
            {"$": "datetime", "v": "2024-02-29T12:00:00+05:00"},
        ),
        ({"$": "time", "v": "00:00:00"}, "12:30", {"$": "time", "v": "12:30:00"}),
        (COLOUR, " BLUE ", {**COLOUR, "v": "BLUE"}),
        (COLOUR, "RED | BLUE", {**COLOUR, "v": ["RED", "BLUE"]}),
    ],
    ids=repr,
)
def test_a_written_text_takes_the_type_of_the_proposed_value(
    original: Any, text: str, written: Any
) -> None:
    """As a person would write it, and stored as the codec does."""
    found = coerce(original, text)

    assert found == written
    assert repr(found) == repr(written)


@pytest.mark.parametrize(
    ("original", "text", "message"),
    [
        (True, "on", "'on' is not one of true, false, yes and no"),
        (1, "1.0", "'1.0' is not a whole number"),
        (1, "1_0", "'1_0' is not a whole number"),
        (1, "١", "'١' is not a whole number"),
        (1, "9" * 601, f"'{'9' * 601}' is not a whole number"),
        (1.5, "nan", "'nan' is not a number such as 1234.50"),
        (1.5, "1,5", "'1,5' is not a number such as 1234.50"),
        (1.5, ".", "'.' is not a number such as 1234.50"),
        (1.5, "1e400", "'1e400' is too large a number"),
        (decimal("1"), "1 000", "'1 000' is not a number such as 1234.50"),
        (decimal("1"), "Infinity", "'Infinity' is not a number such as 1234.50"),
        (decimal("1"), "", "'' is not a number such as 1234.50"),
        (DATE, "tomorrow", "'tomorrow' is not a date"),
        ({"$": "uuid", "v": "0"}, "x", "'x' is not a UUID"),
        ({"$": "bytes", "v": ""}, "base64:?", "'?' is not a bytes"),
        ({"$": "timedelta", "v": ""}, "soon", "'soon' is not a timedelta"),
        (NAIVE, "noon", "'noon' is not a datetime in ISO form"),
        (
            NAIVE,
            "2024-01-01T00:00:00+01:00",
            "'2024-01-01T00:00:00+01:00' has an offset, and the proposed value has none",
        ),
        (
            AWARE,
            "2024-01-01T00:00:00",
            "'2024-01-01T00:00:00' needs an offset such as +02:00 behind it",
        ),
        (COLOUR, "RED BLUE", "'RED BLUE' is not the name of a member"),
        (COLOUR, "", "'' is not the name of a member"),
        (None, "a", "a value of type None cannot be written as one text"),
        ([1], "[2]", "a value of type list cannot be written as one text"),
        ({}, "{}", "a value of type dict cannot be written as one text"),
        (model("shop:Line"), "x", "a value of type shop:Line cannot be written as one text"),
        ({"$": 1}, "x", "a value of type unreadable cannot be written as one text"),
    ],
    ids=lambda value: repr(value)[:60],
)
def test_a_text_of_another_type_is_refused_in_a_sentence(
    original: Any, text: str, message: str
) -> None:
    """The reviewer is told what was expected."""
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        coerce(original, text)


@settings(max_examples=100)
@given(value=st.decimals(allow_nan=False, allow_infinity=False, places=2))
def test_what_is_shown_can_be_written_back(value: Decimal) -> None:
    """A reviewer who copies the value changes nothing."""
    tree = decimal(str(value))

    assert coerce(tree, rows(tree)[0].text) == tree
