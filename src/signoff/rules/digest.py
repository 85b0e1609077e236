"""
Digests of what is stored: what was shown, what was approved and what runs have one (floor 1, pure).

A digest is taken over the very bytes that are stored; they are never written anew to compare.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from typing import Final

from signoff.model.values import TYPE_KEY, Tree

_FORM: Final = re.compile(r"sha256:[0-9a-f]{64}")
_CODE_LENGTH: Final = 6


def digest(text: str) -> str:
    """
    Return the digest of a stored text: ``sha256:`` and 64 lower-case hexadecimal digits.

    Args:
        text: The text as it is stored. It is hashed as UTF-8.

    Raises:
        ValueError: The text has a lone surrogate, so that it cannot be stored.
    """
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def short_code(digest: str) -> str:
    """
    Return the six characters of a digest that a reviewer copies to show that the whole was seen.

    They are lower-case letters and the digits 2 to 7, thirty bits. They bind nothing; the digest
    does.

    Args:
        digest: What `digest` returned.

    Raises:
        ValueError: It is no digest.
    """
    if _FORM.fullmatch(digest) is None:
        raise ValueError("this is no digest")
    hashed = bytes.fromhex(digest.removeprefix("sha256:"))
    return base64.b32encode(hashed).decode("ascii")[:_CODE_LENGTH].lower()


def args_digest(tree: Tree) -> str:
    """
    Return the digest that tells one proposed call from another, whatever the order in its dicts.

    A program that runs again may fill a dict from a set and so in another order; that is the
    same call. Lists and tuples have an order that counts.

    Args:
        tree: The arguments as the codec's tree.

    Raises:
        ValueError: The tree holds what cannot be stored.
    """
    return digest(_write(_ordered(tree)))


def _ordered(tree: Tree) -> Tree:
    if isinstance(tree, list):
        return [_ordered(item) for item in tree]
    if not isinstance(tree, dict):
        return tree
    ordered = {key: _ordered(value) for key, value in tree.items()}
    pairs = ordered.get("v")
    if ordered.get(TYPE_KEY) == "dict" and isinstance(pairs, list):
        ordered["v"] = sorted(pairs, key=_write)
    return ordered


_write: Final = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, separators=(",", ":"), sort_keys=True
).encode
