"""What is dumped comes back, in value and type, whatever it is made of."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from enum import Enum, Flag, IntEnum, IntFlag, StrEnum
from functools import cached_property
from typing import Any, Generic, NamedTuple, NoReturn, TypeVar
from uuid import UUID
from zoneinfo import ZoneInfo

import pydantic
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, RootModel, field_validator

from signoff.codec import Codec
from signoff.model.values import Tree

T = TypeVar("T")


class Colour(Enum):
    """An enum."""

    RED = 1
    CRIMSON = RED
    BLUE = "blue"
    MIXED = (1, 2)


class Level(IntEnum):
    """An enum whose members are ints."""

    LOW = 1
    HIGH = 2


class Word(StrEnum):
    """An enum whose members are texts."""

    YES = "yes"
    NO = "no"


class Right(Flag):
    """Flags with a named combination."""

    READ = 1
    WRITE = 2
    BOTH = 3
    RUN = 8


class Mode(IntFlag):
    """Flags that keep unknown bits."""

    A = 1
    B = 4


@dataclass
class Loose:
    """A dataclass with a field that its constructor does not take."""

    name: object
    seen: list[object] = field(default_factory=list)
    late: object = field(init=False, default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tight:
    """A frozen, slotted dataclass, fit for sets."""

    key: object
    note: str = ""


@dataclass(slots=True)
class Slotted(Loose):
    """A slotted dataclass over one that is not."""

    more: object = None


@dataclass
class Stubborn:
    """A dataclass that changes what it is given."""

    amount: int

    def __post_init__(self) -> None:
        self.amount += 1

    @cached_property
    def double(self) -> int:
        """Twice the amount, computed once."""
        return self.amount * 2


@pydantic.dataclasses.dataclass
class Checked:
    """A dataclass of pydantic."""

    size: int = Field(default=3, gt=0)


class Pair(NamedTuple):
    """A pair of anything."""

    left: object
    right: object = None


class Line(BaseModel):
    """A line of an order."""

    sku: str
    price: object = None


class Order(BaseModel):
    """A model with all that a model may have."""

    model_config = ConfigDict(extra="allow")

    lines: list[Line]
    note: object = None
    __hidden: int = PrivateAttr(default=1)
    _cache: object = PrivateAttr(default=None)
    _unset: str = PrivateAttr()

    @field_validator("note")
    @classmethod
    def shout(cls, value: object) -> object:
        """Change a text, so that running this twice shows."""
        return f"{value}!" if isinstance(value, str) else value

    @cached_property
    def count(self) -> int:
        """The number of lines, computed once."""
        return len(self.lines)


class Box(BaseModel, Generic[T]):
    """A generic model."""

    content: T


class Names(RootModel[list[str]]):
    """A root model."""


class Marked(RootModel[int]):
    """A root model with a private member."""

    _mark: object = PrivateAttr(default=None)


class UserId(str):
    """A text of a type of its own, that shows something else."""

    __slots__ = ()

    def __str__(self) -> str:
        return "hidden"


class Money(Decimal):
    """A Decimal of a type of its own."""


class Tags(list[object]):
    """A list that cannot be appended to."""

    def append(self, item: object) -> NoReturn:
        """Refuse to grow."""
        raise AssertionError(item)


class Bag(dict[str, object]):
    """A dict that cannot be constructed."""

    def __init__(self) -> None:
        raise AssertionError


class Unique(set[object]):
    """A set of a type of its own."""


REGISTERED: list[type] = [
    Colour,
    Level,
    Word,
    Right,
    Mode,
    Loose,
    Tight,
    Slotted,
    Stubborn,
    Checked,
    Pair,
    Line,
    Order,
    Box,
    Box[int],
    Names,
    Marked,
    UserId,
    Money,
    Tags,
    Bag,
    Unique,
    Counter,
]


@pytest.fixture(name="codec", scope="module")
def _codec() -> Codec:
    codec = Codec()
    for cls in REGISTERED:
        codec.register(cls)
    return codec


def bag(**members: object) -> Bag:
    """Make a bag past its constructor."""
    made = Bag.__new__(Bag)
    made.update(members)
    return made


def order(note: object, cache: object, extra: dict[str, object]) -> Order:
    """Make an order with private and extra members."""
    members: dict[str, Any] = {"lines": [Line(sku="a")], "note": note, **extra}
    made = Order.model_construct(**members)
    made._cache = cache
    return made


def same(one: Any, other: Any) -> bool:
    """Whether two values are equal and of the same types, down to the last part."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return same(flat(one), flat(other))
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, set | frozenset):
        return one == other and all(any(same(a, b) for b in other) for a in one)
    if isinstance(one, BaseModel) or dataclasses.is_dataclass(one):
        return same_records(one, other)
    return same_scalars(one, other)


def same_scalars(one: Any, other: Any) -> bool:
    """Whether two values without parts are the same, in what `==` does not see too."""
    if isinstance(one, datetime | time):
        moments = (one.isoformat(), one.fold) == (other.isoformat(), other.fold)
        return moments and same_zone(one.tzinfo, other.tzinfo)
    if isinstance(one, Decimal):
        return bool(one.as_tuple() == other.as_tuple())
    return bool(one == other) and (not isinstance(one, float) or repr(one) == repr(other))


def flat(members: dict[Any, Any]) -> list[object]:
    """Return keys and values in order."""
    return [part for pair in members.items() for part in pair]


def same_records(one: Any, other: Any) -> bool:
    """Whether two models or dataclasses are the same in every part."""
    if isinstance(one, BaseModel):
        return (
            one == other
            and same({**vars(one)}, {**vars(other)})
            and one.model_fields_set == other.model_fields_set
            and same(one.__pydantic_extra__, other.__pydantic_extra__)
            and same(one.__pydantic_private__, other.__pydantic_private__)
        )
    names = [part.name for part in dataclasses.fields(one)]
    return all(same(getattr(one, name), getattr(other, name)) for name in names)


def same_zone(one: tzinfo | None, other: tzinfo | None) -> bool:
    """Whether two zones are of one kind and one name or offset."""
    if isinstance(one, ZoneInfo) and isinstance(other, ZoneInfo):
        return one.key == other.key
    return type(one) is type(other) and (one is None or one == other)


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(
    ["", "$", "$$", "$x", "v", "t", "\u202e", "\0", "Ä", "\U0001f600"]
)
SECONDS = st.integers(-86399, 86399).map(lambda seconds: timedelta(seconds=seconds))
OFFSETS = st.builds(timezone, SECONDS) | st.builds(timezone, SECONDS, TEXTS)
ZONES = st.none() | st.just(UTC) | OFFSETS | st.timezones()
MOMENTS = st.builds(
    lambda moment, fold: moment.replace(fold=fold),
    st.datetimes(timezones=ZONES) | st.times(timezones=ZONES),
    st.sampled_from([0, 1]),
)
HASHABLE_LEAVES: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(2000, 2100).map(lambda bits: -(1 << bits)),
    st.floats(allow_nan=False, allow_infinity=False),
    TEXTS,
    st.binary(max_size=8),
    st.decimals(allow_nan=False, allow_infinity=False),
    MOMENTS,
    st.dates(),
    st.timedeltas(),
    st.uuids(),
    st.sampled_from([*Colour, *Level, *Word]),
    st.integers(0, 15).filter(lambda bits: not bits & 4).map(Right),
    st.integers(0, 40).map(Mode),
    TEXTS.map(UserId),
    st.decimals(allow_nan=False, allow_infinity=False).map(Money),
)
HASHABLES: st.SearchStrategy[Any] = st.recursive(
    HASHABLE_LEAVES,
    lambda parts: st.one_of(
        st.lists(parts, max_size=3).map(tuple),
        st.frozensets(parts, max_size=3),
        st.builds(Tight, key=parts, note=TEXTS),
        st.builds(Pair, parts, parts),
    ),
    max_leaves=4,
)
NAMES = TEXTS.filter(lambda name: name not in {"lines", "note", "_fields_set"}).filter(
    lambda name: not name.startswith("_") and not hasattr(Order, name)
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    HASHABLES | st.binary(max_size=4).map(bytearray),
    lambda parts: st.one_of(
        st.lists(parts, max_size=4),
        st.lists(parts, max_size=3).map(tuple),
        st.dictionaries(TEXTS, parts, max_size=4),
        st.dictionaries(HASHABLES, parts, max_size=3),
        st.sets(HASHABLES, max_size=3),
        st.builds(Loose, parts, st.lists(parts, max_size=2)),
        st.builds(Slotted, parts, more=parts),
        st.builds(Pair, parts, parts),
        st.builds(order, parts, parts, st.dictionaries(NAMES, parts, max_size=2)),
        st.builds(Line, sku=TEXTS, price=parts),
        st.builds(lambda content: Box(content=content), parts),
        st.lists(parts, max_size=3).map(Tags),
        st.sets(HASHABLES, max_size=3).map(Unique),
    ),
    max_leaves=8,
)


@settings(max_examples=300)
@given(value=VALUES)
@example(value=-0.0)
@example(value={"$": "decimal", "v": "1.50"})
@example(value={True: 1, "1": 2, None: 3, (1,): 4})
@example(value=10**5000)
@example(value=Decimal("1.50"))
@example(value=Decimal("-0E+7"))
@example(value=datetime(2024, 10, 27, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"), fold=1))
@example(value=datetime.max.replace(tzinfo=UTC))
@example(value=timedelta.min)
@example(value=timedelta.max)
def test_what_is_loaded_equals_what_was_dumped_in_value_and_type(codec: Codec, value: Any) -> None:
    """The codec gives back every value that it takes, of the same types all the way down."""
    text = codec.dump(value)

    assert same(codec.load(text), value)


@settings(max_examples=150)
@given(value=VALUES)
def test_what_is_loaded_dumps_to_the_same_bytes(codec: Codec, value: Any) -> None:
    """Reading and writing again changes no byte, so that no digest changes."""
    text = codec.dump(value)

    assert codec.dump(codec.load(text)) == text


@settings(max_examples=150)
@given(value=VALUES)
def test_a_tree_is_plain_json_and_so_is_its_text(codec: Codec, value: Any) -> None:
    """Text and tree are one: any JSON reader sees the tree in the text."""
    tree = codec.to_tree(value)

    assert json.loads(codec.dump(value)) == tree
    assert same(codec.from_tree(json.loads(json.dumps(tree))), value)


@settings(max_examples=100)
@given(elements=st.lists(HASHABLES, max_size=8, unique=True))
def test_equal_sets_have_one_text(codec: Codec, elements: list[Any]) -> None:
    """The order in which a set was filled does not show."""
    others = [f"a rather long text {number}" for number in range(100)]

    assert codec.dump({*elements}) == codec.dump({*elements[::-1]})
    assert codec.dump({*elements, *others}) == codec.dump({*reversed(others), *elements})


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        (3, "3"),
        (1.0, "1.0"),
        ("Ä", '"Ä"'),
        ([1, "a"], '[1,"a"]'),
        ({"b": 1, "a": 2}, '{"b":1,"a":2}'),
        ({"$": 1, "$$": 2}, '{"$$":1,"$$$":2}'),
        ({2: "b", 1: "a"}, '{"$":"dict","v":[[2,"b"],[1,"a"]]}'),
        ((1,), '{"$":"tuple","v":[1]}'),
        ({10, 9}, '{"$":"set","v":[10,9]}'),
        (frozenset({"b", "a"}), '{"$":"frozenset","v":["a","b"]}'),
        (b"\0\xff", '{"$":"bytes","v":"AP8="}'),
        (bytearray(b"a"), '{"$":"bytearray","v":"YQ=="}'),
        (Decimal("1.50"), '{"$":"decimal","v":"1.50"}'),
        (date(2024, 2, 29), '{"$":"date","v":"2024-02-29"}'),
        (
            datetime.fromisoformat("2024-02-29T01:02:03"),
            '{"$":"datetime","v":"2024-02-29T01:02:03"}',
        ),
        (
            datetime(2024, 2, 29, tzinfo=UTC),
            '{"$":"datetime","v":"2024-02-29T00:00:00+00:00"}',
        ),
        (
            datetime(2024, 10, 27, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"), fold=1),
            '{"$":"datetime","v":"2024-10-27T02:30:00","z":"Europe/Berlin","fold":1}',
        ),
        (
            time(1, tzinfo=timezone(timedelta(hours=1), "CET")),
            '{"$":"time","v":"01:00:00+01:00","n":"CET"}',
        ),
        (timedelta(days=1, seconds=5), '{"$":"timedelta","v":"1 day, 0:00:05"}'),
        (
            UUID("12345678-1234-5678-1234-567812345678"),
            '{"$":"uuid","v":"12345678-1234-5678-1234-567812345678"}',
        ),
        (1 << 2048, '{"$":"int","v":"0x1' + "0" * 512 + '"}'),
    ],
)
def test_the_text_of_each_type_stays_as_it_is(codec: Codec, value: object, text: str) -> None:
    """Stored data and digests outlive a release, so these texts never change."""
    assert codec.dump(value) == text
    assert same(codec.load(text), value)


def test_ints_are_tagged_from_2_to_the_2048_on(codec: Codec) -> None:
    """Python may refuse to read more digits than these have."""
    limit = 1 << 2048

    assert codec.to_tree(limit - 1) == limit - 1
    assert codec.to_tree(1 - limit) == 1 - limit
    assert codec.to_tree(-limit) == {"$": "int", "v": hex(-limit)}


@pytest.mark.parametrize(
    ("value", "tree"),
    [
        (Colour.RED, {"$": "enum", "v": "RED"}),
        (Colour.CRIMSON, {"$": "enum", "v": "RED"}),
        (Level.HIGH, {"$": "enum", "v": "HIGH"}),
        (Word.YES, {"$": "enum", "v": "YES"}),
        (Right.READ, {"$": "enum", "v": "READ"}),
        (Right.BOTH, {"$": "enum", "v": "BOTH"}),
        (Right.READ | Right.RUN, {"$": "enum", "v": ["READ", "RUN"]}),
        (Right(0), {"$": "enum", "v": []}),
        (Mode(8 | 1), {"$": "enum", "v": ["A", 8]}),
        (Pair(1), {"$": "namedtuple", "v": {"left": 1, "right": None}}),
        (Tight(key=1), {"$": "dataclass", "v": {"key": 1, "note": ""}}),
        (Line(sku="a"), {"$": "model", "v": {"sku": "a", "price": None}, "s": ["sku"]}),
        (UserId("ann"), {"$": "subclass", "v": "ann"}),
        (Money("1.50"), {"$": "subclass", "v": {"$": "decimal", "v": "1.50"}}),
    ],
)
def test_a_registered_type_stands_in_its_tree_by_name(
    codec: Codec, value: object, tree: dict[str, Tree]
) -> None:
    """Enums by member, records by field, subclasses by the value that they are."""
    cls = type(value)

    found = codec.to_tree(value)

    assert found == {**tree, "t": f"{cls.__module__}:{cls.__qualname__}"}
    assert same(codec.from_tree(found), value)


def test_a_model_keeps_what_a_validator_would_change(codec: Codec) -> None:
    """No validator runs on the way back, or a note would be shouted twice."""
    members: dict[str, Any] = {"lines": [Line(sku="a")], "note": "hey", "colour": "red"}
    made = Order(**members)
    made._cache = {"k": (1, 2)}
    assert made.count == 1

    back = codec.load(codec.dump(made))

    assert isinstance(back, Order)
    assert back == made
    assert back.note == "hey!"
    assert back.__pydantic_extra__ == {"colour": "red"}
    assert back._cache == {"k": (1, 2)}
    assert back.model_fields_set == {"lines", "note", "colour"}
    assert "count" not in vars(back)
    assert back.count == 1
    assert not hasattr(back, "_unset")


def test_a_model_that_was_constructed_keeps_its_wrong_types(codec: Codec) -> None:
    """What `model_construct` let through comes back as it is."""
    members: dict[str, Any] = {"sku": 3, "price": [1]}
    made = Line.model_construct(_fields_set={"sku", "elsewhere"}, **members)

    back = codec.load(codec.dump(made))

    assert same(back, made)


def test_a_dataclass_is_not_initialised_again(codec: Codec) -> None:
    """`__post_init__` ran once, and what a cached property holds is not stored."""
    made = Stubborn(1)
    assert made.double == 4

    back = codec.load(codec.dump(made))

    assert isinstance(back, Stubborn)
    assert (back.amount, vars(back)) == (2, {"amount": 2})


@pytest.mark.parametrize(
    "value",
    [
        Checked(size=5),
        Names(["a"]),
        Marked(3),
        bag(a=1),
        Counter("abca"),
        Box[int](content=3),
        Box(content=Colour.RED),
        Tags([1, Tags()]),
    ],
)
def test_unusual_records_and_containers_come_back(codec: Codec, value: object) -> None:
    """Root models, generic models, pydantic dataclasses, and subclasses of containers."""
    assert same(codec.load(codec.dump(value)), value)


def test_a_private_member_of_a_root_model_comes_back(codec: Codec) -> None:
    """Pydantic keeps it in another place than that of other models."""
    made = Marked(3)
    made._mark = "seen"

    back = codec.load(codec.dump(made))

    assert isinstance(back, Marked)
    assert back == made
    assert back._mark == "seen"


def test_a_tree_shares_nothing_with_the_value(codec: Codec) -> None:
    """A step that goes on changing its state does not change what is about to be stored."""
    value: dict[str, Any] = {"items": [1]}

    tree = codec.to_tree(value)
    value["items"].append(2)

    assert tree == {"items": [1]}


def test_a_dict_keeps_its_order(codec: Codec) -> None:
    """A program sees the order of a dict, so it is part of the value."""
    back: Any = codec.load(codec.dump({"b": 1, "a": 2, "c": 3}))

    assert [*back] == ["b", "a", "c"]


@settings(max_examples=100)
@given(value=VALUES)
def test_pydantic_carries_a_tree_unchanged(codec: Codec, value: Any) -> None:
    """Records hold trees as fields, and pydantic writes and reads those."""
    adapter = pydantic.TypeAdapter[Any](Tree)
    tree = codec.to_tree(value)

    assert same(adapter.validate_json(adapter.dump_json(tree)), tree)
