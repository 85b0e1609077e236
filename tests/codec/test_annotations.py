"""What annotations name gets registered, and what they promise is held against what is loaded."""

from __future__ import annotations

import typing
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, make_dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from typing import (
    Annotated,
    Any,
    ClassVar,
    Final,
    Generic,
    Literal,
    NamedTuple,
    NewType,
    NotRequired,
    Optional,
    Protocol,
    Required,
    TypedDict,
    TypeVar,
    Union,
)

import pydantic
import pytest
from pydantic import AwareDatetime, BaseModel, EmailStr, Field, PrivateAttr, RootModel
from typing_extensions import TypeAliasType

from signoff.codec import Codec
from signoff.codec.annotations import alias_value
from signoff.errors import CodecError

T = TypeVar("T")
nothing: Any = None


class Colour(Enum):
    """An enum."""

    RED = 1


class Level(IntEnum):
    """An enum whose members are ints."""

    LOW = 1


class Word(StrEnum):
    """An enum whose members are texts."""

    YES = "yes"


class UserId(str):
    """A text of a type of its own, that shows something else."""

    __slots__ = ()


class Leaf(BaseModel):
    """A model at the end of a chain."""

    price: Decimal


class Node(BaseModel):
    """A model that holds itself, and a model that is defined after it."""

    children: list[Node] = []
    later: Later | None = None
    note: str = Field(default=nothing)
    _cache: list[Private] = PrivateAttr(default_factory=list)


class Later(BaseModel):
    """A model that is defined after its use."""

    colour: Colour = Colour.RED


class Private(BaseModel):
    """A model that only a private member names."""


class Extras(BaseModel, extra="allow"):
    """A model with typed extra members."""

    __pydantic_extra__: dict[str, Leaf]


class Box(BaseModel, Generic[T]):
    """A generic model."""

    content: T


class Names(RootModel[list[str]]):
    """A root model."""


Line: Any = make_dataclass(
    "Line",
    [
        ("leaf", Leaf),
        ("count", int, field(default=1)),
        ("note", str, field(default=None)),
        ("unknown", "Nowhere", field(default=None)),
    ],
    namespace={"__module__": __name__, "__doc__": "A dataclass with a name that does not resolve."},
)


@dataclass
class Kinds:
    """A dataclass with a class variable."""

    kinds: ClassVar[list[Word]] = []


@dataclass
class Pair(Generic[T]):
    """A pair of anything."""

    left: T
    right: int = 0


class Point(NamedTuple):
    """A named tuple."""

    x: int
    y: float = 0.0
    level: Level = Level.LOW


class Movie(TypedDict):
    """A typed dict with and without what is required."""

    title: Required[str]
    year: NotRequired[int]
    word: Word


class Partial(TypedDict, total=False):
    """A typed dict that requires nothing."""

    leaf: Leaf


class Shape(Protocol):
    """A protocol."""

    def area(self) -> int:
        """Tell how large it is."""
        ...


Price = NewType("Price", Decimal)
Tree = TypeAliasType("Tree", "list[Tree] | Leaf")
alias: Any = TypeAliasType
listing: Any = list
Lost = alias("Lost", "NoSuchName")
Many = alias("Many", listing[T], type_params=(T,))
unpack: Any = typing.Unpack
Bound = TypeVar("Bound", bound=Leaf)
Chosen = TypeVar("Chosen", Leaf, Colour)


class Custom:
    """A type with a schema of its own, whose values are of another type."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        return handler(str)


VALUES: dict[Any, Any] = {
    Leaf: Leaf(price=Decimal(1)),
    Node: Node(),
    Later: Later(),
    Private: Private(),
    Colour: Colour.RED,
    Level: Level.LOW,
    Word: Word.YES,
    UserId: UserId("a"),
    Line: Line(Leaf(price=Decimal(1))),
    Kinds: Kinds(),
    Pair: Pair(1),
    Point: Point(1),
    Box: Box(content=1),
    Box[Leaf]: Box[Leaf](content=Leaf(price=Decimal(1))),
}


@pytest.mark.parametrize(
    ("annotation", "found"),
    [
        (Leaf, {Leaf}),
        (list[Leaf], {Leaf}),
        (Leaf | None, {Leaf}),
        (Optional[Leaf], {Leaf}),  # noqa: UP045 - users write this too
        (Union[Leaf, Colour], {Leaf, Colour}),  # noqa: UP007 - users write this too
        (dict[UserId, tuple[Leaf, ...]], {UserId, Leaf}),
        (Annotated[Leaf, Colour], {Leaf}),
        (Literal[Colour.RED, "x"], {Colour}),
        (Callable[[Leaf], Colour], {Leaf, Colour}),
        (Node, {Node, Later, Colour, Private}),
        (Box[Leaf], {Box, Box[Leaf], Leaf}),
        (Extras, {Extras, Leaf}),
        (Names, {Names}),
        (Line, {Line, Leaf}),
        (Kinds, {Kinds, Word}),
        (Pair[Leaf], {Pair, Leaf}),
        (Point, {Point, Level}),
        (Movie, {Word}),
        (Partial, {Leaf}),
        (Price, set()),
        (NewType("Special", Leaf), {Leaf}),
        (Tree, {Leaf}),
        (alias("Leaves", list[Leaf]), {Leaf}),
        (Many[Leaf], {Leaf}),
        (Bound, {Leaf}),
        (Chosen, {Leaf, Colour}),
        (Final[Leaf], {Leaf}),
        (type[Leaf], {Leaf}),
        ("Leaf", set()),
        (typing.ForwardRef("Leaf"), set()),
        (Lost, set()),
        (Any, set()),
        (None, set()),
        (..., set()),
        (Shape, set()),
        (int, set()),
    ],
    ids=lambda value: "" if isinstance(value, set) else str(value),
)
def test_an_annotation_registers_every_class_that_it_names(
    annotation: object, found: set[type]
) -> None:
    """Also in the fields of what it names, their fields, and so on; and no other."""
    codec = Codec()

    codec.register_annotation(annotation)

    registered = {cls for cls, value in VALUES.items() if is_known(codec, value)}
    assert registered == found & VALUES.keys()


def is_known(codec: Codec, value: object) -> bool:
    """Whether the type of a value is registered, if perhaps not that of its parts."""
    try:
        codec.dump(value, path="")
    except CodecError as error:
        return error.path != ""
    return True


class Lazy:
    """What ``type X = Missing`` makes on Python 3.12 and later."""

    @property
    def __value__(self) -> object:
        raise NameError


def test_an_alias_that_does_not_resolve_stands_for_anything() -> None:
    """Python may look into an alias only when it is asked what it stands for."""
    assert alias_value(Lazy()) is Any


def test_annotations_that_resolve_are_followed_where_others_do_not() -> None:
    """One unknown name in a class does not hide the others, nor does an unknown module."""
    fields: Any = [("lost", "Missing"), ("leaf", "Leaf"), ("colour", Colour)]
    here = make_dataclass("Here", fields, namespace={"__module__": __name__})
    nowhere = make_dataclass("Nowhere", fields)
    nowhere.__module__ = "no.such.module"

    codec, other = Codec(), Codec()
    codec.register_annotation(here)
    other.register_annotation(nowhere)

    assert is_known(codec, VALUES[Leaf])
    assert is_known(codec, Colour.RED)
    assert not is_known(other, VALUES[Leaf])
    assert is_known(other, Colour.RED)


LEAF = Leaf(price=Decimal(1))
anything: Any = 1
wrong: Any = "b"
WRONG_LEAF = Leaf.model_construct(price=anything)


def numbered(cases: Sequence[tuple[object, ...]]) -> list[str]:
    """Name the cases by number and annotation."""
    return [f"{number} {case[0]}" for number, case in enumerate(cases)]


FITTING: list[tuple[object, object]] = [
    (Any, object()),
    (object, 3),
    ("int", "a text is not looked into"),
    (typing.ForwardRef("int"), "nor is this"),
    (Lost, 3),
    (T, 3),
    (Bound, LEAF),
    (None, None),
    (type(None), None),
    (int, 3),
    (int, True),
    (int, Level.LOW),
    (float, 3),
    (float, True),
    (complex, 3.5),
    (str, Word.YES),
    (date, datetime(2024, 1, 1, tzinfo=UTC)),
    (int | None, None),
    (Optional[int], 3),  # noqa: UP045 - users write this too
    (Union[int, list[int]], [1]),  # noqa: UP007 - users write this too
    (Literal["a", 1], 1),
    (Literal[Colour.RED], Colour.RED),
    (Annotated[int, Field(gt=5)], 3),
    (Final[int], 3),
    (list, [1, "a"]),
    (list[Any], [1, "a"]),
    (list[int], []),
    (typing.List[int], [1]),  # noqa: UP006 - users write this too
    (Sequence[int], (1, 2)),
    (Sequence[str], "abc"),
    (Collection[int], {1}),
    (set[int], {1}),
    (frozenset[int | str], frozenset({1, "a"})),
    (dict[str, int], {"a": 1}),
    (dict[str, Any], {"a": object}),
    (Mapping[int, list[str]], {1: ["a"]}),
    (tuple[int, str], (1, "a")),
    (tuple[int, ...], ()),
    (tuple[int, ...], (1, 2)),
    (tuple[()], ()),
    (tuple[Any, ...], (1, "a")),
    (tuple[int, *tuple[str, ...]], (1, 2, 3)),
    (tuple[int, unpack[tuple[str, ...]]], (1, 2, 3)),
    (tuple, (1,)),
    (Colour, Colour.RED),
    (NewType("Special", int), 3),
    (Price, Decimal(1)),
    (Tree, [[LEAF], []]),
    (Many[int], [1, "a"]),
    (Leaf, LEAF),
    (BaseModel, LEAF),
    (Node, Node(children=[Node()])),
    (Line, Line(LEAF)),
    (Pair[str], Pair(1, 2)),
    (Point, Point(1, 2)),
    (Box[int], Box(content=3)),
    (Box[int], Box[int](content=3)),
    (Box, Box[int](content=3)),
    (Names, Names(["a"])),
    (Movie, {"title": "a", "word": Word.YES, "more": 1}),
    (Partial, {}),
    (Shape, 3),
    (EmailStr, "ann@acme.example"),
    (AwareDatetime, datetime(2024, 1, 1, tzinfo=UTC)),
    (Custom, "text"),
    (list[Custom], ["text"]),
    (Callable[[int], int], len),
    (Annotated[int, []], 3),
    (Counter[str], Counter("aab")),
    (dict[str, Annotated[Any, "x"]], {}),
]


@pytest.mark.parametrize(("annotation", "value"), FITTING, ids=numbered(FITTING))
def test_what_a_type_checker_would_accept_passes(annotation: object, value: object) -> None:
    """A step that is rightly annotated is never stopped by its annotation."""
    Codec().check(value, annotation)


NAME = Leaf.__module__


def broken_node() -> Node:
    """Make a node past its validation."""
    return Node.model_construct(children=nothing)


UNFITTING: list[tuple[object, object, str]] = [
    (None, 3, "value: expected NoneType, found int"),
    (int, "3", "value: expected int, found str"),
    (int, 3.0, "value: expected int, found float"),
    (bool, 1, "value: expected bool, found int"),
    (float, Decimal(1), "value: expected float, found decimal.Decimal"),
    (Decimal, 1.0, "value: expected decimal.Decimal, found float"),
    (str, None, "value: expected str, found NoneType"),
    (datetime, date(2024, 1, 1), "value: expected datetime.datetime, found datetime.date"),
    (int | None, "a", "value: expected int or NoneType, found str"),
    (int | list[int], ["a"], "value[0]: expected int, found str"),
    (list[str] | list[int], [None], "value: expected list[str] or list[int], found list"),
    (Literal["a", 1], True, "value: expected Literal['a', 1], found bool"),
    (list[int], (1,), "value: expected list, found tuple"),
    (list[int], [1, "a"], "value[1]: expected int, found str"),
    (Sequence[int], ("a",), "value[0]: expected int, found str"),
    (set[int], {"a"}, "value{}: expected int, found str"),
    (Iterator[int], [1], "value: expected collections.abc.Iterator, found list"),
    (dict[str, int], {1: 1}, "value.keys(): expected str, found int"),
    (dict[str, int], {"a": "b"}, "value.a: expected int, found str"),
    (dict[Any, int], {"a b": "b"}, 'value["a b"]: expected int, found str'),
    (Mapping[int, Any], {"a": 1}, "value.keys(): expected int, found str"),
    (dict[int, dict[str, int]], {1: {"a": None}}, "value[1].a: expected int, found NoneType"),
    (tuple[int, str], (1,), "value: expected tuple[int, str], found a tuple of 1"),
    (tuple[int, str], (1, 2), "value[1]: expected str, found int"),
    (tuple[int, ...], (1, "a"), "value[1]: expected int, found str"),
    (tuple[int, str], [1, "a"], "value: expected tuple, found list"),
    (Colour, "RED", f"value: expected {NAME}.Colour, found str"),
    (Price, 3, "value: expected decimal.Decimal, found int"),
    (Bound, 3, f"value: expected {NAME}.Leaf, found int"),
    (Tree, [[LEAF], [3]], f"value[1][0]: expected list[Tree] or {NAME}.Leaf, found int"),
    (Leaf, Later(), f"value: expected {NAME}.Leaf, found {NAME}.Later"),
    (Leaf, WRONG_LEAF, "value.price: expected decimal.Decimal, found int"),
    (BaseModel, WRONG_LEAF, "value.price: expected decimal.Decimal, found int"),
    (
        Node,
        Node.model_construct(children=[broken_node()]),
        "value.children[0].children: expected list, found NoneType",
    ),
    (Line, Line(WRONG_LEAF), "value.leaf.price: expected decimal.Decimal, found int"),
    (Line, Line(LEAF, note=3), "value.note: expected str, found int"),
    (Pair[str], Pair(1, wrong), "value.right: expected int, found str"),
    (Point, Point(1, wrong), "value.y: expected float, found str"),
    (Box[int], Box(content="a"), "value.content: expected int, found str"),
    (Box[int], Box[str](content="a"), "value.content: expected int, found str"),
    (Names, Names.model_construct([anything]), "value.root[0]: expected str, found int"),
    (Movie, [], f"value: expected {NAME}.Movie, found list"),
    (Movie, {"title": "a"}, f"value.word: expected {NAME}.Word, found nothing"),
    (Movie, {"title": 1, "word": Word.YES}, "value.title: expected str, found int"),
    (Movie, {"title": "a", "year": "b", "word": Word.YES}, "value.year: expected int, found str"),
    (Annotated[int, []], "a", "value: expected int, found str"),
]


@pytest.mark.parametrize(("annotation", "value", "message"), UNFITTING, ids=numbered(UNFITTING))
def test_what_a_type_checker_would_refuse_is_refused_where_it_is(
    annotation: object, value: object, message: str
) -> None:
    """The error names the path, and both types, and no value."""
    with pytest.raises(CodecError) as caught:
        Codec().check(value, annotation)

    assert str(caught.value) == message
    assert message.startswith(f"{caught.value.path}: ")


def test_loading_holds_the_value_against_the_annotation() -> None:
    """A deploy that changed a type is noticed before the code runs."""
    codec = Codec()
    text = codec.dump({"a": [1, "b"]})

    assert codec.load(text, dict[str, list[int | str]]) == {"a": [1, "b"]}
    with pytest.raises(CodecError) as caught:
        codec.load(text, dict[str, list[int]], path="state")
    assert str(caught.value) == "state.a[1]: expected int, found str"


def test_a_check_that_fails_itself_is_a_codec_error() -> None:
    """A user's class may decide by code of its own what is an instance of it."""

    class Meta(type):
        def __instancecheck__(cls, instance: object) -> bool:
            raise ZeroDivisionError

    class Moody(metaclass=Meta):
        pass

    with pytest.raises(CodecError, match="^value: checking its type raised ZeroDivisionError$"):
        Codec().check(3, Moody)


def test_constraints_do_not_run() -> None:
    """What a step returned was not held against them either."""
    Codec().check(3, Annotated[int, pydantic.AfterValidator(lambda _: 1 / 0)])
