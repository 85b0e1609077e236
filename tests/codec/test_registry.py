"""Which types are stored under which names, and what happens when code moves or is loaded anew."""

from __future__ import annotations

import sys
import threading
import types
from abc import abstractmethod
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Generator
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from typing import Any, Generic, TypeVar

import pytest
from pydantic import BaseModel, RootModel, SecretStr

from signoff.codec import Codec, codec
from signoff.errors import CodecError, ConfigurationError

T = TypeVar("T")
U = TypeVar("U")


class Order(BaseModel):
    """A model."""

    price: int


class Other(BaseModel):
    """Another model."""

    price: int


class Box(BaseModel, Generic[T]):
    """A generic model."""

    content: T


class Two(BaseModel, Generic[T, U]):
    """A model of two parts."""

    left: T
    right: U


class Colour(Enum):
    """An enum."""

    RED = 1


@dataclass
class Failure(Exception):  # noqa: N818 - a dataclass that is more than its fields
    """A dataclass that is more than its fields."""

    code: int


@dataclass
class Abstract:
    """A dataclass that cannot have values."""

    size: int

    @abstractmethod
    def area(self) -> int:
        """Tell how large it is."""


class Plain:
    """A class of no kind that can be stored."""


class Ordered(OrderedDict[str, int]):
    """A dict with an order of its own."""


ORDER = f"{Order.__module__}:Order"


def made(name: str, **fields: Any) -> Any:
    """Make a model class that looks as if it stood in this module."""
    body = {"__annotations__": fields, "__module__": __name__, "__qualname__": name}
    return types.new_class(name, (BaseModel,), exec_body=lambda namespace: namespace.update(body))


def test_the_default_name_is_module_and_qualified_name() -> None:
    """It is what stands in the text."""
    own = Codec()
    own.register(Order)

    assert own.dump(Order(price=1)) == f'{{"$":"model","t":"{ORDER}","v":{{"price":1}}}}'


def test_a_name_pins_a_type_and_aliases_find_old_data() -> None:
    """After a move, old data is read and new data has the new name."""
    own = Codec()
    own.register(Order, name="order", aliases=["shop:Order", "old:Order"])

    assert own.dump(Order(price=1)) == '{"$":"model","t":"order","v":{"price":1}}'
    for name in ("order", "shop:Order", "old:Order"):
        tree: Any = {"$": "model", "t": name, "v": {"price": 1}}
        assert own.from_tree(tree) == Order(price=1)
    with pytest.raises(CodecError):
        own.from_tree({"$": "model", "t": ORDER, "v": {"price": 1}})


def test_registering_again_changes_nothing() -> None:
    """A pinned name stays when an annotation names the class again."""
    own = Codec()
    own.register(Order, name="order")
    own.register(Order)
    own.register(Order, name="order", aliases=["more"])
    own.register_annotation(list[Order])

    assert '"t":"order"' in own.dump(Order(price=1))
    assert own.from_tree({"$": "model", "t": "more", "v": {"price": 1}}) == Order(price=1)


def test_a_name_may_be_given_after_an_annotation_was_seen() -> None:
    """The decorators may see a class first; what they stored meanwhile is still read."""
    own = Codec()
    own.register_annotation(Order)
    before = own.dump(Order(price=1))
    own.register(Order, name="order")

    assert '"t":"order"' in own.dump(Order(price=1))
    assert own.load(before) == Order(price=1)


def test_a_type_has_one_name() -> None:
    """Two names at once would be two spellings of one value."""
    own = Codec()
    own.register(Order, name="order")

    with pytest.raises(ConfigurationError) as caught:
        own.register(Order, name="purchase")

    assert str(caught.value) == (
        f"{ORDER} is stored as 'order' and cannot be 'purchase' too; give one of them as an alias"
    )
    assert '"t":"order"' in own.dump(Order(price=1))


@pytest.mark.parametrize("names", [{"name": "order"}, {"aliases": ["a", "order"]}])
def test_a_taken_name_is_refused(names: dict[str, Any]) -> None:
    """Data would come back as another type."""
    own = Codec()
    own.register(Order, name="order")

    with pytest.raises(ConfigurationError) as caught:
        own.register(Other, **names)

    assert (
        str(caught.value)
        == f"{Other.__module__}:Other cannot be stored as 'order': that is {ORDER}"
    )
    with pytest.raises(CodecError, match="is not registered"):
        own.dump(Other(price=1))
    with pytest.raises(CodecError, match="no type of this name"):
        own.from_tree({"$": "model", "t": "a", "v": {}})


def test_a_default_name_that_another_type_has_as_alias_is_refused() -> None:
    """Also when an annotation brings the class in."""
    own = Codec()
    own.register(Other, aliases=[ORDER])

    with pytest.raises(ConfigurationError):
        own.register_annotation(list[Order])


def test_a_class_that_is_defined_anew_takes_the_place_of_the_old_one() -> None:
    """After a reload, data is read as the new class, under every name of the old one."""
    own = Codec()
    old, new = made("Fresh", a=int), made("Fresh", a=int, b=(int | None))
    own.register(old, name="fresh", aliases=["stale"])
    own.register(old, aliases=["older"])
    own.register(new, name="fresh", aliases=["stale"])

    for name in ("fresh", "stale", "older"):
        tree: Any = {"$": "model", "t": name, "v": {"a": 1, "b": 2}}
        assert type(own.from_tree(tree)) is new
    with pytest.raises(CodecError, match="is not registered"):
        own.dump(old(a=1))


def test_a_class_that_is_defined_anew_under_an_alias_replaces_it_too() -> None:
    """The order in which a reloaded module registers does not matter."""
    own = Codec()
    old, new = made("Fresh", a=int), made("Fresh", a=int)
    own.register(old, name="fresh")
    own.register(new)
    own.register(new, name="fresh")

    assert isinstance(own.load(own.dump(new(a=1))), new)
    assert '"t":"fresh"' in own.dump(new(a=1))
    with pytest.raises(CodecError, match="is not registered"):
        own.dump(old(a=1))


def test_generic_models_have_the_names_of_their_arguments() -> None:
    """`Box[Order]` of two modules with an `Order` each are two types."""
    own = Codec()
    away = made("Order", price=int)
    away.__module__ = "elsewhere"
    generic: Any = Box
    boxes: list[Any] = [generic[argument] for argument in (Order, away, list[int])]
    boxes.append(Two[int, str])
    for box in boxes:
        own.register(box)

    texts = [own.dump(box.model_construct(**dict.fromkeys(box.model_fields))) for box in boxes]

    stem = f"{Box.__module__}:Box"
    names = [f"{stem}[{ORDER}]", f"{stem}[elsewhere:Order]", f"{stem}[list[int]]"]
    two = f"{Two.__module__}:Two[builtins:int, builtins:str]"
    assert texts == [
        *(f'{{"$":"model","t":"{name}","v":{{"content":null}}}}' for name in names),
        f'{{"$":"model","t":"{two}","v":{{"left":null,"right":null}}}}',
    ]


@pytest.mark.parametrize(
    "cls",
    [
        Plain,
        object,
        int,
        bool,
        list,
        Failure,
        BaseModel,
        RootModel,
        SecretStr,
        OrderedDict,
        defaultdict,
        Ordered,
    ],
)
def test_only_what_can_be_rebuilt_from_its_parts_can_be_registered(cls: type) -> None:
    """The rest is refused by name, and passed over in annotations."""
    own = Codec()

    with pytest.raises(ConfigurationError) as caught:
        own.register(cls)

    assert str(caught.value) == (
        f"{cls.__module__}.{cls.__qualname__} cannot be stored: only pydantic models,"
        " dataclasses, enums, named tuples and subclasses of built-in types can"
    )
    own.register_annotation(cls)


def test_a_subclass_is_another_type() -> None:
    """It has a name of its own, and is not stored as its base."""

    class Special(Order):
        pass

    own = Codec()
    own.register(Order)

    with pytest.raises(CodecError, match="Special, which is not registered"):
        own.dump(Special(price=1))


def test_registering_from_many_threads_loses_nothing() -> None:
    """Modules may be imported in several threads while others store."""
    own = Codec()
    classes = [made(f"Model{number}", a=int) for number in range(200)]
    start = threading.Barrier(4)

    def work(part: list[Any]) -> None:
        start.wait()
        for cls in part:
            own.register(cls)
            own.dump(cls(a=1))

    threads = [threading.Thread(target=work, args=(classes[at::2],)) for at in (0, 1, 0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    for cls in classes:
        assert type(own.load(own.dump(cls(a=1)))) is cls


def test_counter_and_decimal_subclasses_can_be_registered() -> None:
    """A subclass written in Python that only adds methods is its base's value."""

    class Price(Decimal):
        pass

    own = Codec()
    own.register(Price, name="price")
    own.register(Counter, name="counter")

    assert own.dump(Price("1.50")) == '{"$":"subclass","t":"price","v":{"$":"decimal","v":"1.50"}}'
    assert own.dump(Counter("aab")) == '{"$":"subclass","t":"counter","v":{"a":2,"b":1}}'


def test_there_is_one_codec_for_the_decorators() -> None:
    """It is a codec like any other, and codecs share nothing."""
    assert isinstance(codec, Codec)
    own = Codec()
    own.register(Colour)

    with pytest.raises(CodecError, match="is not registered"):
        Codec().dump(Colour.RED)


@pytest.fixture(name="_eager_threads")
def _eager_threads_fixture() -> Generator[None]:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("_eager_threads")
def test_state_that_another_thread_changes_meanwhile_is_stored() -> None:
    """A dict or set that grows while it is written does not stop the writing."""
    own = Codec()
    state: dict[str, Any] = {f"key {number}": number for number in range(500)}
    state["seen"] = set(range(100))
    done = threading.Event()

    def grow() -> None:
        number = 0
        while not done.is_set():
            number += 1
            state[f"more {number % 100}"] = number
            state.pop(f"more {(number + 50) % 100}", None)
            state["seen"].symmetric_difference_update({number % 1000})

    thread = threading.Thread(target=grow)
    thread.start()
    try:
        trees = [own.to_tree(state) for _ in range(200)]
    finally:
        done.set()
        thread.join()

    assert all(isinstance(tree, dict) and tree["key 499"] == 499 for tree in trees)
