"""Digests are over the stored bytes; that of a call looks through the order of its dicts."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from signoff.rules.digest import args_digest, digest, short_code

EMPTY = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
ABC = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_digest_is_the_sha_256_of_the_text_in_utf_8() -> None:
    """The test vectors of FIPS 180, and a text beyond ASCII."""
    assert digest("") == EMPTY
    assert digest("abc") == ABC
    assert digest("Ä") == f"sha256:{hashlib.sha256(bytes([0xC3, 0x84])).hexdigest()}"


def test_a_text_that_cannot_be_stored_has_no_digest() -> None:
    """It has no bytes."""
    with pytest.raises(ValueError, match="surrogates not allowed"):
        digest("\ud800")


def test_the_code_of_a_digest_is_its_first_thirty_bits_in_base32() -> None:
    """Six characters that a person copies: no capitals, no 0, 1, 8 or 9."""
    assert short_code(ABC) == "xj4bnp"
    assert short_code(EMPTY) == "4oymiq"
    assert short_code(f"sha256:{'00' * 32}") == "aaaaaa"
    assert short_code(f"sha256:{'ff' * 32}") == "777777"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "abc",
        ABC.upper(),
        ABC[:-1],
        ABC + "0",
        f"{ABC}\n",
        f"md5:{'0' * 64}",
        ABC.replace("a", "g"),
    ],
)
def test_what_is_no_digest_has_no_code(text: str) -> None:
    """A reviewer's code is compared with that of a real digest only."""
    with pytest.raises(ValueError, match="^this is no digest$"):
        short_code(text)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        ([{"a": 1, "b": {"c": 3, "d": 4}}], [{"b": {"d": 4, "c": 3}, "a": 1}]),
        (
            {"$": "dict", "v": [[1, "a"], [2, "b"]]},
            {"$": "dict", "v": [[2, "b"], [1, "a"]]},
        ),
        (
            {"$": "dict", "v": [[1, "a"], [None, "b"], ["c", 0]]},
            {"$": "dict", "v": [["c", 0], [None, "b"], [1, "a"]]},
        ),
        (
            {"$": "dict", "v": [[1, {"x": 1, "y": 2}], [2, {"$": "dict", "v": [[3, 0], [4, 0]]}]]},
            {"$": "dict", "v": [[2, {"$": "dict", "v": [[4, 0], [3, 0]]}], [1, {"y": 2, "x": 1}]]},
        ),
    ],
    ids=["flat", "nested", "pairs", "mixed pairs", "nested pairs"],
)
def test_the_order_of_a_dict_makes_no_other_call(one: Any, other: Any) -> None:
    """A replay may fill it from a set, in another order."""
    assert args_digest(one) == args_digest(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ([1, 2], [2, 1]),
        ({"a": 1}, {"a": 2}),
        ({"a": 1}, {"b": 1}),
        (1, 1.0),
        (1, True),
        (0.0, -0.0),
        ("1", 1),
        (None, "null"),
        ({"$": "tuple", "v": [1, 2]}, {"$": "tuple", "v": [2, 1]}),
        ({"$": "tuple", "v": [1]}, {"$": "set", "v": [1]}),
        ({"$": "dict", "v": [[1, 2]]}, {"$": "dict", "v": [[2, 1]]}),
        ({"v": [2, 1]}, {"v": [1, 2]}),
        ({"$$": "dict", "v": [2, 1]}, {"$$": "dict", "v": [1, 2]}),
    ],
    ids=repr,
)
def test_any_other_difference_makes_another_call(one: Any, other: Any) -> None:
    """Values, types, names, and the order of lists and tuples."""
    assert args_digest(one) != args_digest(other)


def test_the_digest_of_a_call_is_over_canonical_json() -> None:
    """Stored identities outlive a release, so this never changes."""
    tree: Any = {"b": [1.0, None], "a": {"$": "decimal", "v": "1.50"}, "ä": "\u2028"}

    assert args_digest(tree) == digest(
        '{"a":{"$":"decimal","v":"1.50"},"b":[1.0,null],"ä":"\u2028"}'
    )


def test_a_call_with_what_cannot_be_stored_has_no_digest() -> None:
    """JSON has no NaN."""
    with pytest.raises(ValueError, match="Out of range float"):
        args_digest(float("nan"))


def test_many_nested_dicts_take_no_longer_than_they_are_long() -> None:
    """Each level is sorted once."""
    tree: Any = 1
    for _ in range(30):
        tree = {"$": "dict", "v": [[2, tree], [1, 0]]}

    assert args_digest(tree).startswith("sha256:")


TREES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda parts: st.lists(parts, max_size=3) | st.dictionaries(st.text(max_size=2), parts),
    max_leaves=8,
)


def reversed_dicts(tree: Any) -> Any:
    """Return a tree with each dict in the opposite order."""
    if isinstance(tree, list):
        return [reversed_dicts(item) for item in tree]
    if isinstance(tree, dict):
        return {key: reversed_dicts(tree[key]) for key in reversed(tree)}
    return tree


@settings(max_examples=100)
@given(tree=TREES)
def test_a_tree_with_its_dicts_turned_round_is_the_same_call(tree: Any) -> None:
    """At every depth."""
    assert args_digest(reversed_dicts(tree)) == args_digest(tree)
