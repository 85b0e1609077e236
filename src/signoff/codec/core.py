"""The codec itself: from values to canonical text and back, through a registry of types (floor 2)."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from datetime import datetime, time
from functools import partial
from types import CoroutineType
from typing import Any, Final, TypeVar, final

from pydantic import Secret, SecretBytes, SecretStr

from signoff.codec.annotations import name_of, types_in
from signoff.codec.checks import mismatch
from signoff.codec.registry import Registry, form_type
from signoff.codec.times import decode_datetime, decode_time, encode_time
from signoff.codec.walk import (
    ELEMENT,
    KEYS,
    Decoder,
    Encoder,
    Fault,
    at_any_key,
    checked,
    decode_items,
    decode_members,
    deeper,
    encode_items,
    encode_members,
    faulty,
    guarded,
    only_texts,
)
from signoff.errors import CodecError
from signoff.model.scalars import TEXT_FORMS, TextForm
from signoff.model.values import BIG_INT, TYPE_KEY, Tree, at_index, below

ValueT = TypeVar("ValueT")

_MEMBERS: Final = frozenset({TYPE_KEY, "v"})
_SECRETS: Final = (Secret, SecretStr, SecretBytes)
_PAIR: Final = 2
_LEAST: Final = -BIG_INT
_STACK: Final = "is nested too deep for what is left of the stack"

# How many levels of JSON a container takes before its parts begin.
_PLAIN_LEVELS: Final = 1
_TAGGED_LEVELS: Final = 2
_PAIRED_LEVELS: Final = 3


class _EncodersByType(dict[type[object], Encoder]):
    """The encoders of the types that are always known, and through a registry of all others."""

    def __init__(self, registry: Registry) -> None:
        super().__init__()
        self._registry = registry

    def __missing__(self, cls: type[object]) -> Encoder:
        form = self._registry.by_type(cls)
        if form is None:
            raise _refusal(cls)
        return partial(form.encode, encoders=self)


class _DecodersByType(dict[type[object], Decoder]):
    """The decoders of the types that JSON has."""

    def __missing__(self, cls: type[object]) -> Decoder:
        raise Fault(f"is no JSON but a {name_of(cls)}")


@final
class Codec:
    """
    Turns values into JSON trees and text, and back into values of the same types.

    It stores None, bool, int, float, str, list, dict, tuple, set, frozenset, bytes, bytearray,
    Decimal, datetime, date, time, timedelta and UUID, and under registered names pydantic
    models, dataclasses, enums, named tuples and subclasses of the built-in types. The exact type
    at run time counts. What comes back is equal and of the same type; no constructor and no
    validator has run.

    The text is canonical: a value has one text, without spaces, and sets have their elements in
    one order. A dict keeps the order that it has, which a program can see; so dicts that are
    equal in different orders have different texts. `signoff.rules.digest.args_digest` looks
    through that.

    Nothing is imported or looked up by path because data says so. All threads may use and
    register at any time.
    """

    def __init__(self) -> None:
        self._registry = Registry()
        self._encoders = _EncodersByType(self._registry)
        self._encoders |= {
            type(None): _same,
            bool: _same,
            int: _encode_int,
            float: _finite,
            str: _text,
            datetime: encode_time,
            time: encode_time,
            list: self._encode_list,
            dict: self._encode_dict,
            tuple: self._encode_tuple,
            set: partial(self._encode_set, "set"),
            frozenset: partial(self._encode_set, "frozenset"),
        }
        self._decoders = _DecodersByType(
            {
                type(None): _same,
                bool: _same,
                int: _same,
                float: _finite,
                str: _text,
                list: self._decode_list,
                dict: self._decode_object,
            }
        )
        self._tagged: dict[str, Decoder] = {
            "int": _decode_int,
            "datetime": decode_datetime,
            "time": decode_time,
            "dict": self._decode_pairs,
            "tuple": self._decode_tuple,
            "set": partial(self._decode_set, set),
            "frozenset": partial(self._decode_set, frozenset),
        }
        for form in TEXT_FORMS.values():
            self._encoders[form.cls] = partial(_encode_text, form)
            self._tagged[form.tag] = partial(_decode_text, form)

    def register(
        self, cls: type[object], *, name: str | None = None, aliases: Sequence[str] = ()
    ) -> None:
        """
        Let values of exactly this class be stored and loaded.

        Registering a class again changes nothing, except that it may give it a name or aliases.
        A class that was defined anew (a reload, a test), at the same place, takes the place of
        the old one; values of the old one can no longer be stored.

        Args:
            cls: A pydantic model, dataclass, enum, named tuple, or a subclass of str, int, float,
                bytes, Decimal, list, dict, tuple, set or frozenset that adds no attributes.
            name: The stored name, which must stay as long as data lives; ``module:qualname``
                unless given.
            aliases: Former names, under which data is still found.

        Raises:
            ConfigurationError: The class is of another kind, or a name is taken.
        """
        self._registry.register(cls, name=name, aliases=aliases)

    def register_view(self, cls: type[ValueT], plain: Callable[[ValueT], object]) -> None:
        """
        Let values of exactly this class be stored as another value, which is what comes back.

        Args:
            cls: A class that only adds behaviour to what can be stored without it.
            plain: Makes the value to store.
        """

        def encode(value: Any, depth: int) -> Tree:
            made = plain(value)
            return self._encoders[type(made)](made, depth)

        self._encoders[cls] = encode

    def register_annotation(self, annotation: object) -> None:
        """
        Register every class that an annotation names, in it or in the fields of what it names.

        What cannot be registered, and names that do not resolve, are passed over.

        Args:
            annotation: Anything that may stand behind a colon.

        Raises:
            ConfigurationError: The default name of a class is taken by another class.
        """
        for cls in types_in(annotation):
            if form_type(cls) is not None:
                self._registry.register(cls)

    def to_tree(self, value: object, *, path: str = "value") -> Tree:
        """
        Return `value` as a JSON tree that shares nothing with it.

        Args:
            value: A value of the types of this codec, at most 100 levels of JSON deep.
            path: What errors call the value.

        Raises:
            CodecError: It, or something in it, is a NaN or infinite, a text with a lone
                surrogate, a secret, of a type that is not registered, part of itself, or too
                deep.
        """
        try:
            return self._encoders[type(value)](value, 0)
        except Fault as fault:
            raise _located(fault, path) from fault.__cause__
        except RecursionError as error:
            raise CodecError(_STACK, path=path) from error

    def from_tree(self, tree: Tree, annotation: object = Any, *, path: str = "value") -> object:
        """
        Return the value that a tree was made of.

        Args:
            tree: A tree, hostile ones too.
            annotation: What the value must be, see `check`; `Any` for no matter what.
            path: What errors call the value.

        Raises:
            CodecError: The tree is not one that this codec makes, names a type that is not
                registered or has changed, or the value is not what the annotation promises.
        """
        try:
            value = self._decoders[type(tree)](tree, 0)
        except Fault as fault:
            raise _located(fault, path) from fault.__cause__
        except RecursionError as error:
            raise CodecError(_STACK, path=path) from error
        self.check(value, annotation, path=path)
        return value

    def check(self, value: object, annotation: object, *, path: str = "value") -> None:
        """
        Hold a value against an annotation, as a type checker would.

        Each part is held against what is said of it, through containers, unions, literals and
        the fields of models, dataclasses, typed dicts and named tuples. Nothing is converted and
        no validator or constraint runs. `Any`, names that do not resolve, protocols, and
        classes with a pydantic schema of their own pass.

        Args:
            value: Any value.
            annotation: Anything that may stand behind a colon.
            path: What errors call the value.

        Raises:
            CodecError: The value, or the part at the error's `path`, is of another type.
        """
        try:
            wrong = guarded(lambda: mismatch(value, annotation), "checking its type")
        except Fault as fault:
            raise _located(fault, path) from fault.__cause__
        if wrong is not None:
            message = f"expected {wrong.expected}, found {wrong.found}"
            raise CodecError(message, path=below(path, wrong.path))

    def dump(self, value: object, *, path: str = "value") -> str:
        """
        Return `value` as canonical JSON text.

        Args:
            value: As for `to_tree`.
            path: What errors call the value.

        Raises:
            CodecError: As by `to_tree`.
        """
        return _write(self.to_tree(value, path=path))

    def load(self, text: str, annotation: object = Any, *, path: str = "value") -> object:
        """
        Return the value that a text was made of.

        Args:
            text: What `dump` returned, or any other text.
            annotation: As for `from_tree`.
            path: What errors call the value.

        Raises:
            CodecError: The text is no JSON or has a name twice in an object, or as by `from_tree`.
        """
        try:
            tree = _read(text)
        except Fault as fault:
            raise _located(fault, path) from None
        except (ValueError, RecursionError) as error:
            raise CodecError(f"is no stored text: {error}", path=path) from error
        return self.from_tree(tree, annotation, path=path)

    def _encode_list(self, value: list[object], depth: int) -> Tree:
        return encode_items(value, deeper(depth, _PLAIN_LEVELS), self._encoders)

    def _encode_tuple(self, value: tuple[object, ...], depth: int) -> Tree:
        inside = deeper(depth, _TAGGED_LEVELS)
        return {TYPE_KEY: "tuple", "v": encode_items(value, inside, self._encoders)}

    def _encode_set(self, tag: str, value: set[object] | frozenset[object], depth: int) -> Tree:
        inside = deeper(depth, _TAGGED_LEVELS)
        try:
            # A copy, as in `_encode_dict`; only `copy` is done in one go.
            trees = [self._encoders[type(one)](one, inside) for one in value.copy()]
        except Fault as fault:
            fault.under(ELEMENT, value)
            raise
        return {TYPE_KEY: tag, "v": sorted(trees, key=_write)}

    def _encode_dict(self, value: dict[Any, object], depth: int) -> Tree:
        # A copy, because a step in another thread may add to it meanwhile.
        members = value.copy()
        if not only_texts(members):
            return self._encode_pairs(members, depth, owner=value)
        inside = deeper(depth, _PLAIN_LEVELS)
        return encode_members(members, inside, self._encoders, owner=value)

    def _encode_pairs(self, members: dict[object, object], depth: int, *, owner: object) -> Tree:
        inside = deeper(depth, _PAIRED_LEVELS)
        pairs: list[Tree] = []
        segment = KEYS
        try:
            for key, item in members.items():
                segment = KEYS
                key_tree = self._encoders[type(key)](key, inside)
                segment = at_any_key(key)
                pairs.append([key_tree, self._encoders[type(item)](item, inside)])
        except Fault as fault:
            fault.under(segment, owner)
            raise
        return {TYPE_KEY: "dict", "v": pairs}

    def _decode_list(self, trees: list[Tree], depth: int) -> object:
        return decode_items(trees, deeper(depth, _PLAIN_LEVELS), self._decoders)

    def _decode_object(self, tree: dict[str, Tree], depth: int) -> object:
        if TYPE_KEY not in tree:
            return decode_members(tree, deeper(depth, _PLAIN_LEVELS), self._decoders)
        tag = tree[TYPE_KEY]
        if not isinstance(tag, str):
            raise Fault("has a tag that is no text")
        decoder = self._tagged.get(tag)
        return self._decode_named(tag, tree, depth) if decoder is None else decoder(tree, depth)

    def _decode_named(self, tag: str, tree: dict[str, Tree], depth: int) -> object:
        name = tree.get("t")
        if not isinstance(name, str):
            raise Fault(f"has the tag {tag!r}, which this version does not know")
        form = self._registry.by_name(name)
        if form is None:
            raise Fault(
                f"is a {name!r}, and no type of this name is registered in this process;"
                " import its module, or give the type this name as an alias"
            )
        if form.tag != tag:
            raise Fault(f"was stored as a {tag}, and {name!r} is a {form.tag} now")
        return form.decode(tree, depth, self._decoders)

    def _decode_tuple(self, tree: dict[str, Tree], depth: int) -> object:
        return tuple(self._decode_listed(tree, depth))

    def _decode_set(
        self, kind: type[set[object] | frozenset[object]], tree: dict[str, Tree], depth: int
    ) -> object:
        elements = self._decode_listed(tree, depth)
        made = guarded(lambda: kind(elements), "hashing an element")
        if len(made) < len(elements):
            raise Fault("is a set and has an element twice")
        return made

    def _decode_listed(self, tree: dict[str, Tree], depth: int) -> list[object]:
        trees = _content(tree)
        if not isinstance(trees, list):
            raise _malformed(tree)
        return decode_items(trees, deeper(depth, _TAGGED_LEVELS), self._decoders)

    def _decode_pairs(self, tree: dict[str, Tree], depth: int) -> object:
        pairs, inside = _content(tree), deeper(depth, _PAIRED_LEVELS)
        if not isinstance(pairs, list):
            raise _malformed(tree)
        decoded = [self._decode_pair(at, pair, inside) for at, pair in enumerate(pairs)]
        made = guarded(lambda: dict(decoded), "hashing a key")
        if len(made) < len(decoded):
            raise Fault("is a dict and has a key twice")
        if only_texts(made):
            raise _malformed(tree)
        return made

    def _decode_pair(self, at: int, pair: Tree, depth: int) -> tuple[object, object]:
        if not isinstance(pair, list) or len(pair) != _PAIR:
            raise faulty(at_index(at), "is no pair of key and value")
        segment = KEYS
        try:
            key = self._decoders[type(pair[0])](pair[0], depth)
            segment = at_any_key(key)
            return key, self._decoders[type(pair[1])](pair[1], depth)
        except Fault as fault:
            fault.under(segment, pair)
            raise


def _same(value: Tree, _depth: int) -> Tree:
    return value


def _encode_int(value: int, _depth: int) -> Tree:
    return value if _LEAST < value < BIG_INT else {TYPE_KEY: "int", "v": hex(value)}


def _finite(value: float, _depth: int) -> float:
    if not math.isfinite(value):
        raise Fault(f"{'NaN' if math.isnan(value) else 'an infinite float'} cannot be stored")
    return value


def _text(value: str, _depth: int) -> str:
    return checked(value)


def _encode_text(form: TextForm, value: object, _depth: int) -> Tree:
    try:
        return {TYPE_KEY: form.tag, "v": form.write(value)}
    except ValueError as error:
        raise Fault(str(error)) from None


def _decode_text(form: TextForm, tree: dict[str, Tree], _depth: int) -> object:
    text = _content(tree)
    if not isinstance(text, str):
        raise _malformed(tree)
    try:
        value = form.parse(text)
    except ValueError as error:
        raise _malformed(tree) from error
    # Python reads many spellings; only the one that is written is a stored value.
    if form.write(value) != text:
        raise _malformed(tree)
    return value


def _decode_int(tree: dict[str, Tree], depth: int) -> int:
    text = _content(tree)
    if not isinstance(text, str):
        raise _malformed(tree)
    try:
        value = int(text, 16)
    except ValueError as error:
        raise _malformed(tree) from error
    if _encode_int(value, depth) != tree:
        raise _malformed(tree)
    return value


def _content(tree: dict[str, Tree]) -> Tree:
    if tree.keys() != _MEMBERS:
        raise _malformed(tree)
    return tree["v"]


def _malformed(tree: dict[str, Tree]) -> Fault:
    return Fault(f"is no stored {tree[TYPE_KEY]}")


def _refusal(cls: type[object]) -> Fault:
    if issubclass(cls, _SECRETS):
        return Fault("is a secret, which is never stored; pass a name under which it can be found")
    if issubclass(cls, CoroutineType):
        return Fault("is a coroutine, which cannot be stored; await it, and pass its result")
    if form_type(cls) is None:
        return Fault(f"is {_a(name_of(cls))}, which cannot be stored; pass its data instead")
    return Fault(
        f"is {_a(name_of(cls))}, which is not registered; name it in the annotation of the step,"
        " gate or state, or call signoff.codec.codec.register"
    )


def _a(name: str) -> str:
    return f"an {name}" if name[0].lower() in "aeio" else f"a {name}"


def _located(fault: Fault, path: str) -> CodecError:
    segment, message = fault.located()
    return CodecError(message, path=below(path, segment))


def _unique(pairs: list[tuple[str, Tree]]) -> dict[str, Tree]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise Fault("has a name twice in one object")
    return members


_write: Final = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":")
).encode
_read: Final = json.JSONDecoder(object_pairs_hook=_unique).decode

codec: Final = Codec()
"""The codec that the decorators register with, and that everything uses unless it is given another."""
