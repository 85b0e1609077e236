"""A tree as a person reads it: whole, in one line, and in a table; whatever it holds."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from signoff.model.values import (
    Row,
    Tree,
    at_index,
    at_key,
    below,
    escaped,
    one_line,
    plain,
    read,
    rows,
    unescaped,
    visible,
)

CASES: list[tuple[Any, Any]] = [
    (None, None),
    (True, True),
    (3, 3),
    (1.5, 1.5),
    ("a\n\u202eb", "a\n\u202eb"),
    ([1, [2]], [1, [2]]),
    ({"a": 1, "$$b": 2, "$$$": 3}, {"a": 1, "$b": 2, "$$": 3}),
    ({"$b": 2}, {"$b": 2}),
    ({"$$b": 1, "$b": 2}, {"$$b": 1, "$b": 2}),
    ({"$": "int", "v": "0x1f"}, "0x1f"),
    ({"$": "decimal", "v": "1.50"}, "1.50"),
    ({"$": "date", "v": "2024-01-01"}, "2024-01-01"),
    ({"$": "timedelta", "v": "1 day, 0:00:00"}, "1 day, 0:00:00"),
    ({"$": "uuid", "v": "x"}, "x"),
    ({"$": "bytes", "v": "AA=="}, "base64:AA=="),
    ({"$": "bytearray", "v": "AA=="}, "base64:AA=="),
    ({"$": "datetime", "v": "T"}, "T"),
    ({"$": "datetime", "v": "T", "z": "Europe/Berlin"}, "T Europe/Berlin"),
    ({"$": "datetime", "v": "T", "z": "Europe/Berlin", "fold": 1}, "T Europe/Berlin fold=1"),
    ({"$": "time", "v": "T+01:00", "n": "CET"}, "T+01:00 CET"),
    ({"$": "time", "v": "T", "fold": 0}, "T"),
    ({"$": "time", "v": "T", "z": "Z", "n": "N", "fold": 1}, "T Z N fold=1"),
    ({"$": "tuple", "v": [1, {"$": "decimal", "v": "2"}]}, [1, "2"]),
    ({"$": "set", "v": []}, []),
    ({"$": "frozenset", "v": ["a"]}, ["a"]),
    ({"$": "dict", "v": [[1, "a"], [None, "b"]]}, {"1": "a", "null": "b"}),
    ({"$": "dict", "v": [[{"$": "decimal", "v": "1.5"}, 1], ["b", 2]]}, {"1.5": 1, "b": 2}),
    ({"$": "dict", "v": [[{"$": "enum", "t": "c", "v": "RED"}, 1]]}, {"RED": 1}),
    ({"$": "dict", "v": [[1, "a"], ["1", "b"]]}, [[1, "a"], ["1", "b"]]),
    ({"$": "dict", "v": [[{"$": "tuple", "v": [1]}, "a"]]}, [[[1], "a"]]),
    ({"$": "dict", "v": [[[1], "a"]]}, [[[1], "a"]]),
    ({"$": "dict", "v": [[{"$": "decimal", "v": 1}, 2]]}, [[{"$": "decimal", "v": 1}, 2]]),
    ({"$": "dict", "v": [[{"$": []}, 2]]}, [[{"$": []}, 2]]),
    ({"$": "dict", "v": []}, {}),
    ({"$": "enum", "t": "c", "v": "RED"}, "RED"),
    ({"$": "enum", "t": "c", "v": ["A", "B", 8]}, "A|B|8"),
    ({"$": "enum", "t": "c", "v": []}, "0"),
    ({"$": "subclass", "t": "c", "v": "a"}, "a"),
    ({"$": "subclass", "t": "c", "v": {"$": "decimal", "v": "1"}}, "1"),
    ({"$": "subclass", "t": "c", "v": {"a": 1}}, {"a": 1}),
    ({"$": "dataclass", "t": "c", "v": {"a": 1, "$$b": 2}}, {"a": 1, "$b": 2}),
    ({"$": "namedtuple", "t": "c", "v": {"a": 1}}, {"a": 1}),
    (
        {"$": "model", "t": "c", "v": {"a": 1}, "x": {"b": 2}, "p": {"_c": 3}, "s": ["a"]},
        {"a": 1, "b": 2, "_c": 3},
    ),
]
BROKEN: list[Any] = [
    {"$": 1},
    {"$": None, "v": 1},
    {"$": []},
    {"$": "what", "v": 1},
    {"$": "decimal"},
    {"$": "decimal", "v": 1},
    {"$": "decimal", "v": "1", "hidden": "2"},
    {"$": "decimal", "v": "1", "t": "c"},
    {"$": "bytes", "v": "AA==", "w": 1},
    {"$": "datetime", "v": "T", "hidden": 1},
    {"$": "datetime", "v": "T", "z": 1},
    {"$": "datetime", "v": "T", "n": []},
    {"$": "datetime", "v": "T", "fold": 2},
    {"$": "datetime", "v": "T", "fold": []},
    {"$": "tuple", "v": [], "hidden": 1},
    {"$": "tuple", "v": {"a": 1}},
    {"$": "what", "v": []},
    {"$": "dict", "v": [[1]]},
    {"$": "dict", "v": [1]},
    {"$": "dict", "v": {"a": 1}},
    {"$": "enum", "v": "RED"},
    {"$": "enum", "t": "c", "v": 1.5},
    {"$": "enum", "t": "c", "v": ["A", None]},
    {"$": "enum", "t": "c"},
    {"$": "enum", "t": "c", "v": "A", "hidden": 1},
    {"$": "what", "t": "c", "v": "A"},
    {"$": "subclass", "t": "c"},
    {"$": "subclass", "t": "c", "v": {"$": "subclass", "t": "c", "v": 1}},
    {"$": "model", "t": "c"},
    {"$": "model", "t": "c", "v": 1},
    {"$": "model", "t": "c", "v": {"$": "set", "v": []}},
    {"$": "model", "t": "c", "v": {"a": 1}, "hidden": 1},
    {"$": "model", "t": "c", "v": {"a": 1}, "x": 1},
    {"$": "model", "t": "c", "v": {"a": 1}, "x": {"a": 2}},
    {"$": "dataclass", "t": "c", "v": {"a": 1}, "p": {"b": 1}},
    {"$": "namedtuple", "t": "c", "v": {"a": 1}, "s": []},
]


@pytest.mark.parametrize(("tree", "shown"), CASES, ids=repr)
def test_a_tree_without_tags_is_what_a_person_would_write(tree: Tree, shown: Tree) -> None:
    """Each tag has a plain form that shows all that is in it."""
    assert plain(tree) == shown
    assert json.dumps(plain(tree)) == json.dumps(shown)
    assert plain([{"a": tree}]) == [{"a": shown}]


@pytest.mark.parametrize("tree", BROKEN, ids=repr)
def test_what_is_broken_is_shown_with_all_its_members(tree: Any) -> None:
    """Nothing hides behind a tag that only looks right."""
    assert read(tree).kind == "unreadable"
    assert plain(tree) == {key: plain(value) for key, value in tree.items()}
    assert rows(tree)[0] == Row(
        "", "unreadable", f"{len(tree)} parts" if len(tree) > 1 else "1 part"
    )


@pytest.mark.parametrize(
    ("tree", "kind", "type_name"),
    [
        (None, "none", "None"),
        (1, "int", "int"),
        ([], "list", "list"),
        ({}, "dict", "dict"),
        ({"$": "decimal", "v": "1"}, "decimal", "Decimal"),
        ({"$": "time", "v": "T"}, "time", "time"),
        ({"$": "frozenset", "v": []}, "frozenset", "frozenset"),
        ({"$": "dict", "v": [[1, 1]]}, "dict", "dict"),
        ({"$": "dict", "v": [[[], 1]]}, "pairs", "dict"),
        ({"$": "enum", "t": "c", "v": "A"}, "enum", "c"),
        ({"$": "subclass", "t": "c", "v": {"$": "decimal", "v": "1"}}, "decimal", "c"),
        ({"$": "model", "t": "c", "v": {}}, "model", "c"),
        ({"$": 1}, "unreadable", "unreadable"),
    ],
    ids=repr,
)
def test_a_tree_has_a_kind_and_the_name_of_a_type(tree: Any, kind: str, type_name: str) -> None:
    """The rules for edits go by both."""
    assert (read(tree).kind, read(tree).type_name) == (kind, type_name)


def test_plain_shares_nothing_with_the_tree() -> None:
    """Whoever changes what is shown does not change what is stored."""
    tree: Any = {"a": [1]}

    shown: Any = plain(tree)
    shown["a"].append(2)

    assert tree == {"a": [1]}


@pytest.mark.parametrize(
    ("tree", "line"),
    [
        ("  two\r\n\twords\n", "two words"),
        ("a\u202eb\x00", "a⟨U+202E⟩b⟨U+0000⟩"),
        ("", ""),
        (3, "3"),
        (None, "null"),
        (True, "true"),
        (1.50, "1.5"),
        (float("nan"), "NaN"),
        (1 << 2048, hex(1 << 2048)),
        (-(1 << 2048), hex(-(1 << 2048))),
        ((1 << 2048) - 1, str((1 << 2048) - 1)),
        (1 - (1 << 2048), str(1 - (1 << 2048))),
        ({"$": "decimal", "v": "1.50"}, "1.50"),
        ([], "[]"),
        ({}, "{}"),
        ([1, [None, "a b"], {}], '[1, [null, "a b"], {}]'),
        ({"a": 'say "x"\n', "b c": [1]}, '{"a": "say \\"x\\"\\n", "b c": [1]}'),
        ({"a\u202e": "\u202eä"}, '{"a⟨U+202E⟩": "⟨U+202E⟩ä"}'),
        ({"$": "model", "t": "c", "v": {"a": {"$": "tuple", "v": [1]}}}, '{"a": [1]}'),
    ],
    ids=repr,
)
def test_one_line_is_one_line(tree: Tree, line: str) -> None:
    """A text is itself, all else JSON; nothing in it is hidden or breaks the line."""
    assert one_line(tree) == line


def test_rows_show_each_value_with_path_and_type() -> None:
    """What a reviewer reads names every value once, in order."""
    tree: Tree = {
        "vendor": "ac\u202eme\nLtd",
        "amount": {"$": "decimal", "v": "1.50"},
        "order": {
            "$": "model",
            "t": "shop:Order",
            "v": {"lines": {"$": "tuple", "v": [{"sku": "a"}, None]}, "tags": []},
        },
        "two words": {"$": "set", "v": [True, 2.5]},
        "$$": {"$": "dict", "v": [[1, "x"], [{"$": "decimal", "v": "2"}, {}]]},
        "id": {"$": "subclass", "t": "shop:Id", "v": "u1"},
        "tags": {"$": "subclass", "t": "shop:Tags\u202e\n", "v": [1]},
        "none": {"$": "dataclass", "t": "shop:None", "v": {}},
    }

    assert rows(tree) == [
        Row("vendor", "str", "ac⟨U+202E⟩me\nLtd"),
        Row("amount", "Decimal", "1.50"),
        Row("order", "shop:Order", "2 parts"),
        Row("order.lines[0].sku", "str", "a"),
        Row("order.lines[1]", "None", "null"),
        Row("order.tags", "list", "[]"),
        Row('["two words"][0]', "bool", "true"),
        Row('["two words"][1]', "float", "2.5"),
        Row('["$"][1]', "str", "x"),
        Row('["$"]["2"]', "dict", "{}"),
        Row("id", "shop:Id", "u1"),
        Row("tags", "shop:Tags⟨U+202E⟩⟨U+000A⟩", "1 part"),
        Row("tags[0]", "int", "1"),
        Row("none", "shop:None", "0 parts"),
    ]


@pytest.mark.parametrize(
    ("tree", "row"),
    [
        ("text", Row("", "str", "text")),
        ([], Row("", "list", "[]")),
        ({}, Row("", "dict", "{}")),
        ({"$": "dict", "v": []}, Row("", "dict", "{}")),
        ({"$": "tuple", "v": []}, Row("", "tuple", "[]")),
        ({"$": "frozenset", "v": []}, Row("", "frozenset", "[]")),
        ({"$": "datetime", "v": "T", "z": "Z"}, Row("", "datetime", "T Z")),
        ({"$": "enum", "t": "shop:Colour", "v": "RED"}, Row("", "shop:Colour", "RED")),
        ({"$": "int", "v": "0x1"}, Row("", "int", "0x1")),
        (1 << 2048, Row("", "int", hex(1 << 2048))),
    ],
    ids=repr,
)
def test_a_payload_of_one_value_is_one_row(tree: Tree, row: Row) -> None:
    """It has no path."""
    assert rows(tree) == [row]


def test_keys_that_look_alike_have_rows_of_their_own() -> None:
    """They are shown as pairs, with their types."""
    assert rows({"$": "dict", "v": [[1, "a"], ["1", "b"]]}) == [
        Row("[0][0]", "int", "1"),
        Row("[0][1]", "str", "a"),
        Row("[1][0]", "str", "1"),
        Row("[1][1]", "str", "b"),
    ]


LEAVES: st.SearchStrategy[Any] = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["$", "decimal", "dict", "model", "tuple", "subclass"])
)
MEMBERS = st.sampled_from(["$", "v", "t", "x", "p", "s", "z", "$a", "$$a", "a"])
TREES: st.SearchStrategy[Any] = st.recursive(
    LEAVES,
    lambda parts: (
        st.lists(parts, max_size=3)
        | st.dictionaries(MEMBERS, parts, max_size=4)
        | st.dictionaries(st.text(max_size=3), parts, max_size=3)
    ),
    max_leaves=10,
)


@settings(max_examples=300)
@given(tree=TREES)
def test_any_tree_can_be_shown(tree: Any) -> None:
    """Whatever stands in a store, showing it does not fail."""
    assert rows(tree)
    assert "\n" not in one_line(tree)
    assert visible(one_line(tree), keep_newlines=False) == one_line(tree)
    json.dumps(plain(tree))


def texts_in(tree: Any) -> list[str]:
    """Return the texts in a tree that holds nothing else at its ends."""
    if isinstance(tree, str):
        return [tree]
    parts = tree.values() if isinstance(tree, dict) else tree
    return [text for part in parts for text in texts_in(part)]


SHOWN = st.recursive(
    st.integers(0, 10**9).map(lambda number: f"value {number:09}"),
    lambda parts: (
        st.lists(parts, min_size=1, max_size=3)
        | st.dictionaries(MEMBERS, parts, min_size=1, max_size=4)
    ),
    max_leaves=8,
)


@settings(max_examples=300)
@given(tree=SHOWN)
def test_no_value_is_left_out(tree: Any) -> None:
    """A reviewer sees each value there is, in the line and in the table."""
    line, table = one_line(tree), [row.text for row in rows(tree)]

    for text in texts_in(tree):
        assert text in line
        assert any(text in cell for cell in table)


@pytest.mark.parametrize(
    "grow",
    [
        lambda tree: [tree],
        lambda tree: {"a": tree},
        lambda tree: {"$": "tuple", "v": [tree]},
        lambda tree: {"$": "dict", "v": [[tree, 1]]},
        lambda tree: {"$": "subclass", "t": "c", "v": tree},
        lambda tree: {"$": "model", "t": "c", "v": {"a": tree}},
        lambda tree: {"$": "what", "v": tree},
    ],
    ids=["list", "dict", "tuple", "key", "subclass", "model", "broken"],
)
def test_no_tree_is_too_deep_to_be_shown(grow: Any) -> None:
    """A text of a few thousand brackets must not take the stack of the page that shows it."""
    tree: Any = "deep down"
    for _ in range(2000):
        tree = grow(tree)

    assert "deep down" in one_line(tree)
    assert any("deep down" in row.path + row.text for row in rows(tree))


@pytest.mark.parametrize(
    ("key", "stored"), [("a", "a"), ("", ""), ("$", "$$"), ("$a", "$$a"), ("$$a", "$$$a")]
)
def test_a_key_that_begins_with_a_dollar_has_one_more_in_a_tree(key: str, stored: str) -> None:
    """So that it is never taken for a tag."""
    assert escaped(key) == stored
    assert unescaped(stored) == key


@pytest.mark.parametrize(
    ("key", "segment"),
    [
        ("amount", ".amount"),
        ("größe", ".größe"),
        ("_x1", "._x1"),
        ("1x", '["1x"]'),
        ("", '[""]'),
        ("a.b", '["a.b"]'),
        ('a"]', '["a\\"]"]'),
        ("a\ufe00", '["a⟨U+FE00⟩"]'),
        ("a\u202e", '["a⟨U+202E⟩"]'),
    ],
)
def test_a_path_shows_a_key_without_doubt(key: str, segment: str) -> None:
    """A key that is no plain name is quoted."""
    assert at_key(key) == segment


def test_paths_are_put_together_from_the_top() -> None:
    """At the top there is no dot."""
    assert below("", at_key("a")) == "a"
    assert below("a", at_key("b")) == "a.b"
    assert below("", at_index(3)) == "[3]"
    assert below("a", at_index(3)) == "a[3]"
