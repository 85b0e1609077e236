"""Whatever stands in the store, reading it gives a value or a `CodecError`, and runs nothing."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from decimal import Context, Decimal, localcontext
from enum import EJECT, Enum, Flag, IntFlag
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, RootModel

from signoff.codec import Codec
from signoff.errors import CodecError
from signoff.model.values import Tree


class Colour(Enum):
    """An enum."""

    RED = 1


class Right(Flag):
    """Flags with a named combination."""

    READ = 1
    WRITE = 2


class Mode(IntFlag):
    """Flags that keep unknown bits."""

    A = 1


class Order(BaseModel):
    """A model."""

    price: Any
    note: str = "none"
    tags: list[str] = Field(default_factory=lambda: ["new"])
    _cache: Any = PrivateAttr(default=None)


class Open(BaseModel):
    """A model with extra members."""

    model_config = ConfigDict(extra="allow")


class Names(RootModel[list[str]]):
    """A root model."""


class Pair(NamedTuple):
    """A pair of anything."""

    left: Any
    right: Any = 2


def fail() -> int:
    """Be a default that cannot be made."""
    raise ZeroDivisionError


@dataclass(frozen=True)
class Note:
    """A dataclass."""

    text: Any
    tags: list[str] = field(default_factory=list)
    kind: str = "plain"


@dataclass
class Broken:
    """A dataclass whose default cannot be made."""

    text: int = field(default_factory=fail)


class Word(str):
    """An enum whose members are texts."""

    __slots__ = ()


class Bag(dict[str, object]):
    """A dict that cannot be constructed."""


TYPES: dict[str, type] = {
    "colour": Colour,
    "right": Right,
    "mode": Mode,
    "order": Order,
    "open": Open,
    "names": Names,
    "pair": Pair,
    "note": Note,
    "broken": Broken,
    "word": Word,
    "bag": Bag,
}
TAGS = [
    "int",
    "decimal",
    "datetime",
    "date",
    "time",
    "timedelta",
    "uuid",
    "bytes",
    "bytearray",
    "tuple",
    "set",
    "frozenset",
    "dict",
    "enum",
    "model",
    "dataclass",
    "namedtuple",
    "subclass",
]


@pytest.fixture(name="codec", scope="module")
def _codec() -> Codec:
    codec = Codec()
    for name, cls in TYPES.items():
        codec.register(cls, name=name)
    return codec


TEXTS = st.text(max_size=6) | st.sampled_from(
    [
        "$",
        "1.5",
        "NaN",
        "0x1",
        "-0x" + "f" * 600,
        "2024-01-01",
        "2024-01-01T00:00:00",
        "2024-01-01T00:00:00+01:00",
        "24:00",
        "12:00:00",
        "999999999 days, 0:00:01",
        "AA==",
        "AB==",
        "Europe/Berlin",
        "../../etc/passwd",
        "RED",
        "READ",
        "os:system",
        "builtins:eval",
        "\ud800",
        "١",
        "1_0",
        " 1",
    ]
)
SCALARS: st.SearchStrategy[Any] = (
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS | st.sampled_from([2**3000])
)


def tagged(parts: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Objects that look like what the codec writes, more or less."""
    return st.fixed_dictionaries(
        {"$": st.sampled_from(TAGS) | TEXTS | SCALARS},
        optional={
            "v": parts
            | TEXTS
            | st.dictionaries(
                st.sampled_from(["price", "note", "text", "left", "root", "_cache", "$a"]), parts
            ),
            "t": st.sampled_from([*TYPES]) | TEXTS | SCALARS,
            "z": TEXTS | SCALARS,
            "n": TEXTS | SCALARS,
            "fold": st.sampled_from([0, 1, True, 2, "1"]),
            "x": parts | st.dictionaries(TEXTS, parts, max_size=2),
            "p": parts | st.dictionaries(st.sampled_from(["_cache", "_other"]), parts),
            "s": st.lists(TEXTS | SCALARS, max_size=2) | parts,
            "more": parts,
        },
    )


TREES: st.SearchStrategy[Any] = st.recursive(
    SCALARS,
    lambda parts: (
        st.lists(parts, max_size=3)
        | st.dictionaries(TEXTS, parts, max_size=3)
        | st.lists(st.lists(parts, min_size=2, max_size=2), max_size=2)
        | tagged(parts)
    ),
    max_leaves=6,
)


@settings(max_examples=600)
@given(tree=TREES)
def test_a_tree_gives_a_value_or_a_codec_error(codec: Codec, tree: Tree) -> None:
    """No other exception comes out, and a value that comes out can be stored again."""
    try:
        value = codec.from_tree(tree)
    except CodecError:
        return
    codec.dump(value)


@settings(max_examples=200)
@given(text=st.text() | TREES.map(json.dumps))
def test_a_text_gives_a_value_or_a_codec_error(codec: Codec, text: str) -> None:
    """The same for what is not even JSON."""
    try:
        value = codec.load(text)
    except CodecError:
        return
    codec.dump(value)


def refused(codec: Codec, tree: Any) -> str:
    """Return the refusal of a tree."""
    with pytest.raises(CodecError) as caught:
        codec.from_tree(tree)
    return str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[1,]",
        "nan",
        '{"a":1} x',
        "\ufeff1",
        "1" * 5000,
        "'a'",
    ],
)
def test_what_is_no_json_is_refused(codec: Codec, text: str) -> None:
    """And numbers with more digits than Python reads."""
    with pytest.raises(CodecError, match="^value: is no stored text: "):
        codec.load(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("NaN", "value: NaN cannot be stored"),
        ("[-Infinity]", "value[0]: an infinite float cannot be stored"),
        ('{"a":1e400}', "value.a: an infinite float cannot be stored"),
        ('{"a":1,"a":2}', "value: has a name twice in one object"),
        ('"\\ud800"', "value: has a lone surrogate, which is no character"),
    ],
)
def test_json_that_the_codec_never_writes_is_refused(codec: Codec, text: str, message: str) -> None:
    """Python's reader would take all of these."""
    with pytest.raises(CodecError) as caught:
        codec.load(text)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"$": 1}, "value: has a tag that is no text"),
        ({"$": "what"}, "value: has the tag 'what', which this version does not know"),
        ({"$": "model"}, "value: has the tag 'model', which this version does not know"),
        (
            [{"$": "model", "t": "os:system", "v": {}}],
            (
                "value[0]: is a 'os:system', and no type of this name is registered in this"
                " process; import its module, or give the type this name as an alias"
            ),
        ),
        (
            {"$": "dataclass", "t": "order", "v": {}},
            "value: was stored as a dataclass, and 'order' is a model now",
        ),
        (
            {"a": {"$b": 1}},
            'value.a["$b"]: is no stored key: one that begins with $ is stored with two',
        ),
        ({1: 2}, "value: has a name that is no text"),
        ({"$": "model", "t": "order", "v": {1: 2}}, "value: has a name that is no text"),
        ({"$": "model", "t": "order", 1: 2}, "value: is no stored order"),
        ((1,), "value: is no JSON but a tuple"),
        ([b""], "value[0]: is no JSON but a bytes"),
        ({"$": "set", "v": [[]]}, "value: hashing an element raised TypeError"),
        ({"$": "set", "v": [1, 1]}, "value: is a set and has an element twice"),
        ({"$": "set", "v": [1, True]}, "value: is a set and has an element twice"),
        (
            {"$": "set", "v": [1, {"$": "x"}]},
            "value[1]: has the tag 'x', which this version does not know",
        ),
        ({"$": "set", "v": "ab"}, "value: is no stored set"),
        ({"$": "tuple", "v": [], "w": 1}, "value: is no stored tuple"),
        ({"$": "tuple"}, "value: is no stored tuple"),
        ({"$": "dict", "v": {}}, "value: is no stored dict"),
        ({"$": "dict", "v": []}, "value: is no stored dict"),
        ({"$": "dict", "v": [["a", 1]]}, "value: is no stored dict"),
        ({"$": "dict", "v": [[1, 1], 5]}, "value[1]: is no pair of key and value"),
        ({"$": "dict", "v": [[1]]}, "value[0]: is no pair of key and value"),
        ({"$": "dict", "v": [[1, 1], [True, 2]]}, "value: is a dict and has a key twice"),
        ({"$": "dict", "v": [[[], 1]]}, "value: hashing a key raised TypeError"),
        ({"$": "dict", "v": [[{"$": 1}, 1]]}, "value.keys(): has a tag that is no text"),
        ({"$": "dict", "v": [[7, {"$": 1}]]}, "value[7]: has a tag that is no text"),
        ({"$": "int", "v": "0x1"}, "value: is no stored int"),
        ({"$": "int", "v": "0x_1" + "0" * 600}, "value: is no stored int"),
        ({"$": "int", "v": "one"}, "value: is no stored int"),
        ({"$": "int", "v": 3}, "value: is no stored int"),
        ({"$": "decimal", "v": 1.5}, "value: is no stored decimal"),
        ({"$": "decimal", "v": "1_0"}, "value: is no stored decimal"),
        ({"$": "decimal", "v": "١"}, "value: is no stored decimal"),
        ({"$": "decimal", "v": "sNaN"}, "value: is no stored decimal"),
        ({"$": "decimal", "v": "one"}, "value: is no stored decimal"),
        ({"$": "date", "v": "20240101"}, "value: is no stored date"),
        ({"$": "timedelta", "v": "1:00"}, "value: is no stored timedelta"),
        ({"$": "timedelta", "v": "24:00:00"}, "value: is no stored timedelta"),
        ({"$": "timedelta", "v": "999999999 days, 24:00:00"}, "value: is no stored timedelta"),
        ({"$": "uuid", "v": "{12345678123456781234567812345678}"}, "value: is no stored uuid"),
        ({"$": "bytes", "v": "AB=="}, "value: is no stored bytes"),
        ({"$": "bytes", "v": "A"}, "value: is no stored bytes"),
        ({"$": "datetime", "v": 1}, "value: is no stored datetime"),
        ({"$": "datetime", "v": "2024-01-01"}, "value: is no stored datetime"),
        ({"$": "datetime", "v": "now"}, "value: is no stored datetime"),
        ({"$": "datetime", "v": "2024-01-01T00:00:00", "z": 1}, "value: is no stored datetime"),
        ({"$": "datetime", "v": "2024-01-01T00:00:00", "n": "x"}, "value: is no stored datetime"),
        ({"$": "datetime", "v": "2024-01-01T00:00:00", "n": 1}, "value: is no stored datetime"),
        (
            {"$": "datetime", "v": "2024-01-01T00:00:00+01:00", "n": "UTC+01:00"},
            "value: is no stored datetime",
        ),
        (
            {"$": "datetime", "v": "2024-01-01T00:00:00", "fold": True},
            "value: is no stored datetime",
        ),
        ({"$": "datetime", "v": "2024-01-01T00:00:00", "fold": 0}, "value: is no stored datetime"),
        (
            {"$": "datetime", "v": "2024-01-01T00:00:00+01:00", "z": "Europe/Berlin"},
            "value: is no stored datetime",
        ),
        (
            {"$": "datetime", "v": "2024-01-01T00:00:00", "z": "Mars/Base"},
            "value: has the time zone 'Mars/Base', which this system does not know",
        ),
        ({"$": "time", "v": "12:00:00", "z": "../../etc/passwd"}, "value: is no stored time"),
        ({"$": "enum", "t": "colour", "v": "BLUE"}, "value: colour has no member 'BLUE'"),
        ({"$": "enum", "t": "colour", "v": 1}, "value: is no stored colour"),
        ({"$": "enum", "t": "colour", "v": "RED", "w": 1}, "value: is no stored colour"),
        ({"$": "enum", "t": "colour", "v": ["RED"]}, "value: is no stored colour"),
        ({"$": "enum", "t": "right", "v": ["BLUE"]}, "value: right has no member 'BLUE'"),
        ({"$": "enum", "t": "right", "v": [8]}, "value: right of 8 raised ValueError"),
        ({"$": "enum", "t": "right", "v": [True]}, "value: is no stored right"),
        ({"$": "enum", "t": "right", "v": [], "w": 1}, "value: is no stored right"),
        (
            {"$": "model", "t": "order", "v": {}},
            "value.price: is not stored, and the field has no default",
        ),
        (
            {"$": "model", "t": "order", "v": {"price": 1, "old": 2}},
            "value.old: is stored, but the type has no such field now",
        ),
        ({"$": "model", "t": "order", "v": [1]}, "value: is no stored order"),
        ({"$": "model", "t": "order", "v": {"$": "set", "v": []}}, "value: is no stored order"),
        ({"$": "model", "t": "order", "v": {"price": 1}, "w": 1}, "value: is no stored order"),
        ({"$": "model", "t": "order", "v": {"price": 1}, "s": "ab"}, "value: is no stored order"),
        ({"$": "model", "t": "order", "v": {"price": 1}, "s": [1]}, "value: is no stored order"),
        (
            {"$": "model", "t": "order", "v": {"price": 1}, "s": ["a", "a"]},
            "value: is no stored order",
        ),
        (
            {"$": "model", "t": "order", "v": {"price": 1}, "x": {"more": 1}},
            "value.more: is stored, but the model allows no extra members now",
        ),
        (
            {"$": "model", "t": "order", "v": {"price": 1}, "p": {"_old": 1}},
            "value._old: is stored, but the type has no such field now",
        ),
        ({"$": "model", "t": "open", "v": {}, "x": 1}, "value: is no stored open"),
        (
            {"$": "model", "t": "names", "v": {"root": []}, "p": {"_a": 1}},
            "value._a: is stored, but the type has no such field now",
        ),
        (
            {"$": "namedtuple", "t": "pair", "v": {}},
            "value.left: is not stored, and the field has no default",
        ),
        (
            {"$": "namedtuple", "t": "pair", "v": {"left": {"$": 1}}},
            "value.left: has a tag that is no text",
        ),
        (
            {"$": "dataclass", "t": "note", "v": {}},
            "value.text: is not stored, and the field has no default",
        ),
        (
            {"$": "dataclass", "t": "broken", "v": {}},
            "value.text: its default raised ZeroDivisionError",
        ),
        ({"$": "subclass", "t": "word", "v": 1}, "value: is no stored word"),
        ({"$": "subclass", "t": "word"}, "value: is no stored word"),
        ({"$": "subclass", "t": "bag", "v": []}, "value: is no stored bag"),
    ],
    ids=repr,
)
def test_a_malformed_tree_is_refused_where_it_is(codec: Codec, tree: Any, message: str) -> None:
    """Each kind of tree has one spelling; all else is refused and says where and why."""
    assert refused(codec, tree) == message


def test_fields_that_were_added_take_their_defaults(codec: Codec) -> None:
    """Data that was stored before a deploy is read after it."""
    order = codec.from_tree({"$": "model", "t": "order", "v": {"price": 1}})

    assert order == Order(price=1)
    assert isinstance(order, Order)
    assert order.tags == ["new"]
    assert order.model_fields_set == {"price"}
    assert codec.from_tree({"$": "namedtuple", "t": "pair", "v": {"left": 1}}) == Pair(1, 2)
    note = codec.from_tree({"$": "dataclass", "t": "note", "v": {"text": "a"}})
    assert note == Note("a", [], "plain")


def test_a_default_is_made_anew_each_time(codec: Codec) -> None:
    """Two values never share a list."""
    tree: Tree = {"$": "dataclass", "t": "note", "v": {"text": "a"}}

    one, other = codec.from_tree(tree), codec.from_tree(tree)

    assert isinstance(one, Note)
    assert isinstance(other, Note)
    assert one.tags is not other.tags


def test_a_former_name_of_a_member_is_still_read(codec: Codec) -> None:
    """An enum keeps an old name as an alias."""

    class Size(Flag):
        LITTLE = 1
        SMALL = 1
        BIG = 2

    codec.register(Size, name="size")

    assert codec.from_tree({"$": "enum", "t": "size", "v": "SMALL"}) is Size.LITTLE
    assert codec.from_tree({"$": "enum", "t": "size", "v": ["SMALL", "BIG"]}) == Size(3)


def test_a_flag_whose_bits_are_no_flag_any_more_is_refused(codec: Codec) -> None:
    """Such a class gives back a plain int."""

    class Loose(IntFlag, boundary=EJECT):
        A = 1

    codec.register(Loose, name="loose")

    assert refused(codec, {"$": "enum", "t": "loose", "v": [8]}) == "value: is no stored loose"


def test_a_cyclic_tree_is_refused(codec: Codec) -> None:
    """Only a program can make one."""
    tree: list[Any] = []
    tree.append(tree)

    assert refused(codec, tree) == "value[0]: contains itself"


def test_reading_imports_nothing(codec: Codec) -> None:
    """A name in data is looked up among what is registered, never anywhere else."""
    before = set(sys.modules)

    for name in ("antigravity:fly", "this", "json.tool:main", "tests:x"):
        for tag in TAGS:
            with pytest.raises(CodecError):
                codec.from_tree({"$": tag, "t": name, "v": {}})

    assert set(sys.modules) == before


def test_a_decimal_context_does_not_matter(codec: Codec) -> None:
    """A user's context may trap nothing and round to two digits."""
    with localcontext(Context(prec=2, traps=[])):
        assert codec.load(codec.dump(Decimal("1.2345"))) == Decimal("1.2345")
        assert refused(codec, {"$": "decimal", "v": "one"}) == "value: is no stored decimal"
        assert refused(codec, {"$": "decimal", "v": "NaN"}) == "value: is no stored decimal"
