"""Where a client's keys come from, and that they are those of its store (floor 3)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final
from weakref import WeakKeyDictionary

from signoff.errors import KeyringError
from signoff.model.changes import Changes
from signoff.ports import Store
from signoff.security import keyfile
from signoff.security.keyring import Keyring

KEY_VARIABLE: Final = "SIGNOFF_KEY"

_memory_keys: Final[WeakKeyDictionary[Store, Keyring]] = WeakKeyDictionary()
"""The keys of stores that last as long as their object, so that each can be opened again."""


def find_keyring(store: Store) -> Keyring:
    """
    Return the keys for a store that a client was given none for.

    Those in `SIGNOFF_KEY` if it is set; else keys in memory for a store that does not last, and
    for one in a file those of its key file, which is made if there is none. Blocks while it
    reads and writes.

    Raises:
        KeyringError: The store lasts and is in no file of this machine, so nobody could find a
            key file for it; or the keys cannot be read.
    """
    if os.environ.get(KEY_VARIABLE):
        return Keyring.from_env(KEY_VARIABLE)
    if not store.durable:
        return _memory_keys.setdefault(store, Keyring.generate())
    if not Path(store.location).is_absolute():
        raise KeyringError(
            f"a store that is no file of this machine ({store.location}) has no key"
            f" file beside it: give all its processes the same keys in {KEY_VARIABLE}, for"
            " instance the output of `openssl rand -base64 32`, or Client(keyring=...)"
        )
    return keyfile.load_or_create(keyfile.default_path(store.location))


async def agree(store: Store, keyring: Keyring) -> None:
    """
    See that the keys are those that the store was made with, and let it know the new ones.

    Raises:
        KeyringError: They are others, or one is retired or missing that something alive needs.
        StoreError: The store cannot be read or written.
    """
    stored = await store.key_checks()
    added = keyring.agree(stored)
    # Only keys that this store has known: a key id written into a row by somebody else
    # blocks the run that it belongs to, and no more.
    gone = {kid for kid in stored if not keyring.usable(kid, "seal")}
    missed = sorted(gone & await store.kids_in_use(await store.now()))
    if missed:
        raise KeyringError(
            f"key {missed[0]} is retired or missing, and something that is alive still needs"
            " it; keep it as verify_only until `await client.keys_in_use()` leaves it out"
        )
    if added:
        await store.commit(Changes(key_checks=added))
