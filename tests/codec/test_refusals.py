"""What cannot be stored is refused where it stands, and said so by its path."""

from __future__ import annotations

import inspect
import io
import struct
import sys
from collections import OrderedDict, defaultdict, deque
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from enum import Enum
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import pytest
from pydantic import BaseModel, PrivateAttr, Secret, SecretBytes, SecretStr
from typing_extensions import override

from signoff.codec import Codec
from signoff.errors import CodecError


class Order(BaseModel):
    """A model."""

    price: Any = None
    _cache: Any = PrivateAttr(default=None)


@dataclass
class Note:
    """A dataclass."""

    text: Any
    late: Any = field(init=False)


@dataclass(slots=True)
class Slot:
    """A slotted dataclass with a field that is set later."""

    one: Any
    two: Any = field(init=False)


class Pair(NamedTuple):
    """A pair of anything."""

    left: Any
    right: Any


class Named(NamedTuple):
    """A named tuple."""

    name: str


class LooseNamed(Named):
    """A named tuple that can carry attributes."""


class Word(str):
    """A text that can carry attributes."""

    __slots__ = ("__dict__",)


class Items(list[object]):
    """A list of another type."""


class Colour(Enum):
    """An enum."""

    RED = 1

    @classmethod
    @override
    def _missing_(cls, value: object) -> Colour:
        member: Any = object.__new__(cls)
        member._name_, member._value_ = "MADE_UP", value
        made: Colour = member
        return made


class Unregistered(BaseModel):
    """A model that nobody registered."""


class Zone(tzinfo):
    """A zone of one's own making."""

    @override
    def utcoffset(self, moment: datetime | None) -> timedelta:
        return timedelta(hours=1)

    @override
    def tzname(self, moment: datetime | None) -> str:
        return "own"

    @override
    def dst(self, moment: datetime | None) -> timedelta:
        return timedelta(0)


class OwnZoneInfo(ZoneInfo):
    """A zone of a type of its own."""


@pytest.fixture(name="codec", scope="module")
def _codec() -> Codec:
    codec = Codec()
    for cls in (Order, Note, Slot, Pair, LooseNamed, Word, Items, Colour):
        codec.register(cls)
    return codec


def refused(codec: Codec, value: object) -> tuple[str, str]:
    """Return path and message of the refusal of a value."""
    with pytest.raises(CodecError) as caught:
        codec.dump(value, path="state")
    path = caught.value.path
    return path, str(caught.value).removeprefix(f"{path}: ")


NAN = float("nan")
SURROGATE = "has a lone surrogate, which is no character"


@pytest.mark.parametrize(
    ("value", "path", "message"),
    [
        (NAN, "state", "NaN cannot be stored"),
        ([1, [float("-inf")]], "state[1][0]", "an infinite float cannot be stored"),
        ({"a": {"b": NAN}}, "state.a.b", "NaN cannot be stored"),
        ({"two words": NAN}, 'state["two words"]', "NaN cannot be stored"),
        ({"$": NAN}, 'state["$"]', "NaN cannot be stored"),
        ((1, NAN), "state[1]", "NaN cannot be stored"),
        ({"a": {NAN}}, "state.a{}", "NaN cannot be stored"),
        (frozenset({NAN}), "state{}", "NaN cannot be stored"),
        ({NAN: 1}, "state.keys()", "NaN cannot be stored"),
        ({3: NAN}, "state[3]", "NaN cannot be stored"),
        ({Decimal(1): NAN}, "state[Decimal]", "NaN cannot be stored"),
        ({1: 1, "key": NAN}, "state.key", "NaN cannot be stored"),
        (Decimal("NaN"), "state", "a NaN cannot be stored"),
        ([Decimal("sNaN")], "state[0]", "a NaN cannot be stored"),
        (Decimal("-Infinity"), "state", "an infinite Decimal cannot be stored"),
        ("\ud800", "state", SURROGATE),
        (["a", "b\udfff"], "state[1]", SURROGATE),
        ({"a\ud800": 1}, 'state["a⟨U+D800⟩"]', SURROGATE),
        (Order(price=NAN), "state.price", "NaN cannot be stored"),
        ([Note("a")], "state[0].late", "is not set"),
        (Slot(NAN), "state.two", "is not set"),
        (Pair(1, NAN), "state.right", "NaN cannot be stored"),
        (Items([1, NAN]), "state[1]", "NaN cannot be stored"),
        (
            Unregistered(),
            "state",
            (
                f"is a {Unregistered.__module__}.Unregistered, which is not registered; name it in"
                " the annotation of the step, gate or state, or call signoff.codec.codec.register"
            ),
        ),
        (
            [deque()],
            "state[0]",
            "is a collections.deque, which cannot be stored; pass its data instead",
        ),
        (object(), "state", "is an object, which cannot be stored; pass its data instead"),
        (1j, "state", "is a complex, which cannot be stored; pass its data instead"),
        (
            Colour(7),
            "state",
            f"is no named member of {Colour.__module__}:Colour",
        ),
        (
            tuple.__new__(Pair, (1,)),
            "state",
            f"has 1 items, not the 2 of {Pair.__module__}:Pair",
        ),
    ],
)
def test_a_refusal_names_the_place_and_the_reason(
    codec: Codec, value: object, path: str, message: str
) -> None:
    """The path leads to the very part, and the message says what is wrong with it."""
    assert refused(codec, value) == (path, message)


@pytest.mark.parametrize("secret", [SecretStr("s3cret"), SecretBytes(b"s3cret"), Secret("s3cret")])
def test_a_secret_is_refused_and_not_shown(codec: Codec, secret: object) -> None:
    """A secret never reaches the store, and its value no message."""
    path, message = refused(codec, {"login": Order(price=[secret])})

    assert path == "state.login.price[0]"
    assert message.startswith("is a secret, which is never stored")
    assert "s3cret" not in message


@pytest.mark.parametrize("zone", [Zone(), OwnZoneInfo("Europe/Berlin")])
@pytest.mark.parametrize("cls", [datetime, time])
def test_only_zones_that_can_be_found_again_are_stored(
    codec: Codec, zone: tzinfo, cls: Any
) -> None:
    """A zone of another library, or without a key, would come back as something else."""
    moment = cls.max.replace(tzinfo=zone)

    _, message = refused(codec, moment)

    assert message.startswith("has a zone ")


def test_a_zone_that_was_read_from_a_file_is_refused(codec: Codec) -> None:
    """It has no key."""
    counts = struct.pack(">6l", 0, 0, 0, 0, 1, 4)
    file = io.BytesIO(b"TZif" + bytes(16) + counts + struct.pack(">lbb", 0, 0, 0) + b"UTC\0")
    zone = ZoneInfo.from_file(file)

    found = refused(codec, datetime(2024, 1, 1, tzinfo=zone))

    assert found == ("state", "has a zone without a name in the time zone database")


def test_the_name_of_an_offset_must_be_text(codec: Codec) -> None:
    """A lone surrogate is refused there too."""
    moment = datetime(2024, 1, 1, tzinfo=timezone(timedelta(0), "\ud800"))

    assert refused(codec, moment) == ("state", SURROGATE)


@pytest.mark.parametrize("sign", [1, -1])
def test_an_offset_is_in_whole_seconds(codec: Codec, sign: int) -> None:
    """Python would read the shortest offset that it writes as none at all."""
    zone = timezone(sign * timedelta(microseconds=1))

    assert refused(codec, datetime(2024, 1, 1, tzinfo=zone)) == (
        "state",
        "has a zone whose offset is not in whole seconds",
    )


def test_the_type_of_a_foreign_zone_is_named(codec: Codec) -> None:
    """The message says what to use in its place."""
    found = refused(codec, datetime(2024, 1, 1, tzinfo=Zone()))

    assert found == (
        "state",
        f"has a zone of type {Zone.__module__}.Zone; use zoneinfo.ZoneInfo or datetime.timezone",
    )


@pytest.mark.parametrize(
    "value", [OrderedDict(), defaultdict(list), deque([1]), memoryview(b""), range(3)]
)
def test_near_relatives_of_built_in_types_are_refused(codec: Codec, value: object) -> None:
    """What would lose its order, factory or bound is not stored as something simpler."""
    path, message = refused(codec, value)

    assert path == "state"
    assert message.endswith("which cannot be stored; pass its data instead")


def test_a_required_field_that_was_never_set_is_refused(codec: Codec) -> None:
    """`model_construct` can leave a field out; on the way back it would look like a new field."""

    class Strict(BaseModel):
        name: str
        size: int

    codec.register(Strict)

    half: Any = {"name": "a"}
    assert refused(codec, Strict.model_construct(**half)) == ("state.size", "is not set")


def test_the_private_and_extra_members_of_a_model_have_paths_too(codec: Codec) -> None:
    """They are stored like fields, so they are refused like fields."""

    class Open(BaseModel, extra="allow"):
        pass

    codec.register(Open)
    order = Order()
    order._cache = NAN
    extra: Any = {"more": [NAN]}

    assert refused(codec, order) == ("state._cache", "NaN cannot be stored")
    assert refused(codec, Open(**extra)) == ("state.more[0]", "NaN cannot be stored")


def test_an_extra_member_has_a_text_for_a_name(codec: Codec) -> None:
    """A program can put anything there, and would get back something else."""

    class Open(BaseModel, extra="allow"):
        pass

    codec.register(Open)
    value = Open()
    extra: Any = value.__pydantic_extra__
    extra[1] = 2

    assert refused(codec, value) == ("state", "has an extra member whose name is no text")


STRAY = "is no field, so it would be lost; declare it as one"


def test_an_attribute_that_is_no_field_is_refused(codec: Codec) -> None:
    """It would be missing after a resume."""
    note = Note("a")
    note.late = 1
    note.__dict__["seen"] = True
    order = Order()
    order.__dict__["seen"] = True

    assert refused(codec, note) == ("state.seen", STRAY)
    assert refused(codec, order) == ("state.seen", STRAY)


def test_a_text_or_tuple_with_attributes_is_refused(codec: Codec) -> None:
    """It is stored as its value alone."""
    lost = "has attributes that would be lost; make its type a dataclass or a pydantic model"
    word: Any = Word("a")
    word.seen = True
    named: Any = LooseNamed("a")
    named.seen = True

    assert codec.load(codec.dump(Word("a"))) == "a"
    assert codec.load(codec.dump(LooseNamed("a"))) == ("a",)
    assert refused(codec, word) == ("state", lost)
    assert refused(codec, named) == ("state", lost)


def nested(levels: int) -> list[Any]:
    """Return lists in lists."""
    value: list[Any] = []
    for _ in range(levels - 1):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("wrap", "levels", "segment"),
    [
        (lambda value: [value], 1, "[0]"),
        (lambda value: {"a": value}, 1, ".a"),
        (lambda value: (value,), 2, "[0]"),
        (lambda value: Pair(value, 1), 2, ".left"),
        (lambda value: Order(price=value), 2, ".price"),
        (lambda value: {1: value}, 3, "[1]"),
        (lambda value: frozenset({value}), 2, "{}"),
    ],
    ids=["list", "dict", "tuple", "record", "model", "pairs", "set"],
)
def test_a_value_may_be_100_levels_of_json_deep(
    codec: Codec, wrap: Any, levels: int, segment: str
) -> None:
    """The last level that is allowed is stored and read; one more is refused, both ways."""
    value: Any = 1
    for _ in range(100 // levels):
        value = wrap(value)

    tree = codec.to_tree(value)
    assert codec.from_tree(tree) == value
    path, message = refused(codec, wrap(value))
    assert path == "state" + segment * (100 // levels)
    assert message == "is nested deeper than 100 levels of JSON"


def test_a_tree_that_is_too_deep_is_refused(codec: Codec) -> None:
    """A deep text must not take the stack."""
    with pytest.raises(CodecError, match="is nested deeper than 100 levels of JSON"):
        codec.from_tree(nested(101))
    with pytest.raises(CodecError, match="is nested deeper than 100 levels of JSON"):
        codec.load("[" * 101 + "]" * 101)
    assert codec.from_tree(nested(100)) == nested(100)


def test_a_text_of_a_million_brackets_is_refused(codec: Codec) -> None:
    """Python's own reader gives up first."""
    with pytest.raises(CodecError, match="^value: is no stored text: "):
        codec.load("[" * 1_000_000)


def test_a_value_that_contains_itself_is_refused_where_it_does(codec: Codec) -> None:
    """The path leads to the part that is its own container."""
    items: list[Any] = [1]
    items.append({"again": items})
    order = Order()
    order.price = (order,)

    assert refused(codec, {"items": items}) == ("state.items[1].again", "contains itself")
    assert refused(codec, order) == ("state.price[0]", "contains itself")


def test_a_stack_that_is_almost_used_up_is_a_codec_error(codec: Codec) -> None:
    """A deep call may leave less room than the limit needs."""
    value = nested(100)
    tree = codec.to_tree(value)

    def deep(left: int, action: Any) -> Any:
        return action() if left == 0 else deep(left - 1, action)

    used = len(inspect.stack())
    for action in (lambda: codec.to_tree(value), lambda: codec.from_tree(tree)):
        with pytest.raises(CodecError, match="is nested too deep for what is left of the stack"):
            deep(sys.getrecursionlimit() - used - 120, action)


def test_the_path_may_be_empty(codec: Codec) -> None:
    """Then an error names the part alone."""
    with pytest.raises(CodecError, match="^a: NaN cannot be stored$") as caught:
        codec.dump({"a": NAN}, path="")
    assert caught.value.path == "a"

    with pytest.raises(CodecError, match="^NaN cannot be stored$"):
        codec.dump(NAN, path="")
