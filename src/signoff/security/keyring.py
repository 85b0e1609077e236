"""The keys that everything provable hangs on, and one subkey for each purpose (floor 2)."""

from __future__ import annotations

import hmac
import os
import re
import secrets
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, cast, final, get_args

from typing_extensions import override

from signoff.errors import KeyringError
from signoff.security.encoding import from_base64, to_base64

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

KeyState: TypeAlias = Literal["active", "verify_only", "retired"]
"""`active` makes and verifies; `verify_only` verifies; `retired` verifies audit entries only."""

Purpose: TypeAlias = Literal[
    "token/email",
    "token/callback",
    "token/link",
    "token/bounce",
    "seal",
    "checkpoint",
    "audit",
    "hidden",
    "cursor",
    "commitment",
]
"""What a subkey is for. What is made for one purpose verifies for no other."""

secret_bytes: Final = 32
"""The length of a key's secret."""

highest_kid: Final = 255
"""Key ids are one byte in a token."""

_check_bytes: Final = 8
_states: Final[tuple[KeyState, ...]] = get_args(KeyState)
_remedy: Final = "make one with `openssl rand -base64 32`"


@final
@dataclass(frozen=True, slots=True)
class Key:
    """
    One key. Its secret is in no `repr` and no error.

    Attributes:
        kid: The key id, 0 to 255; never given to another key again.
        secret: Exactly 32 random bytes.
        state: What the key may still do.

    Raises:
        KeyringError: On construction, when one of them is out of its range.
    """

    kid: int
    secret: bytes = field(repr=False)
    state: KeyState

    def __post_init__(self) -> None:
        if not 0 <= self.kid <= highest_kid:
            raise KeyringError(f"key id {self.kid} is not between 0 and {highest_kid}")
        if len(self.secret) != secret_bytes:
            raise KeyringError(
                f"key {self.kid}: the secret has {len(self.secret)} bytes, not {secret_bytes};"
                f" {_remedy}"
            )
        # The state is not repeated: in a text with its parts swapped it would be the secret.
        if self.state not in _states:
            raise KeyringError(f"key {self.kid}: the state is none of {', '.join(_states)}")


@final
class Keyring:
    """
    The keys of one store: exactly one makes what is new, the others verify what is old.

    A keyring never changes; `rotated` and `retire` give a new one. It may be shared by threads.

    Attributes:
        keys: The keys, the active one first, then by falling key id.
        active_kid: The id of the key that makes what is new.
    """

    __slots__ = ("_begun", "_by_kid", "_subkeys", "active_kid", "keys")

    keys: Final[tuple[Key, ...]]
    active_kid: Final[int]

    def __init__(self, keys: Iterable[Key]) -> None:
        """
        Take the keys.

        Args:
            keys: In any order; ids and secrets unique, exactly one active.

        Raises:
            KeyringError: They are not so; the message names key ids only.
        """
        self.keys = tuple(sorted(keys, key=lambda key: (key.state != "active", -key.kid)))
        self._by_kid: Final = {key.kid: key for key in self.keys}
        self._subkeys: Final[dict[tuple[int, str], bytes]] = {}
        self._begun: Final[dict[tuple[int, Purpose], hmac.HMAC]] = {}
        _refuse_repeated_kids(self.keys)
        _refuse_repeated_secrets(self.keys)
        self.active_kid = _only_active(self.keys).kid

    @override
    def __repr__(self) -> str:
        """Name the key ids and their states; never a secret."""
        return f"Keyring({', '.join(f'{key.kid}: {key.state}' for key in self.keys)})"

    @classmethod
    def generate(cls, *, random: Callable[[int], bytes] = secrets.token_bytes) -> Keyring:
        """
        Make a keyring of one new active key with the id 1.

        Args:
            random: Gives that many random bytes.
        """
        return cls([Key(1, random(secret_bytes), "active")])

    @classmethod
    def from_text(cls, text: str, *, source: str = "the key text") -> Keyring:
        """
        Read keys as they are written in the variable ``SIGNOFF_KEY`` or in a key file.

        A secret is 32 random bytes in base64 (``openssl rand -base64 32``). Keys stand on lines
        of their own, or between commas or spaces; what follows ``#`` is a comment. All of them
        have the same one of two forms:

        - ``kid:state:secret``, in any order, with one ``active`` and the others ``verify_only``
          or ``retired``;
        - only the secret, newest first: the first is active, the others verify, and the *oldest*
          has key id 1. Put a new one in front, but never take one out, since that would renumber
          the rest: to retire a key, write key ids.

        Args:
            text: The keys.
            source: Where the text is from, for error messages.

        Raises:
            KeyringError: What is wrong, and with which key; never any of the text.
        """
        try:
            return cls(_parse(text))
        except KeyringError as error:
            raise KeyringError(f"{source}: {error}") from None

    @classmethod
    def from_env(cls, variable: str = "SIGNOFF_KEY") -> Keyring:
        """
        Read keys from an environment variable.

        Args:
            variable: Its name.

        Raises:
            KeyringError: It is not set, or what is wrong with it; never any of its text.
        """
        return cls.from_text(os.environ.get(variable, ""), source=variable)

    def to_text(self) -> str:
        """Return the text that `from_text` reads. It holds every secret."""
        return "".join(f"{key.kid}:{key.state}:{to_base64(key.secret)}\n" for key in self.keys)

    def usable(self, kid: int, purpose: Purpose) -> bool:
        """Return whether this key may verify for this purpose: known, and not retired from it."""
        key = self._by_kid.get(kid)
        return key is not None and (key.state != "retired" or purpose == "audit")

    def subkey(self, kid: int, purpose: Purpose) -> bytes:
        """
        Return the key for one purpose, 32 bytes.

        Raises:
            KeyringError: There is no such key, or it is retired; a retired key still serves the
                purpose ``audit``, so that old entries can be verified.

        Source: RFC 5869 (HKDF with SHA-256, no salt).
        """
        if not self.usable(kid, purpose):
            why = "is retired" if kid in self._by_kid else "is not in the keyring"
            raise KeyringError(f"key {kid} {why}, so it serves no {purpose}")
        return self._derived(kid, purpose)

    def begin_mac(self, kid: int, purpose: Purpose) -> hmac.HMAC:
        """
        Return an HMAC-SHA256 under the key for one purpose, of nothing yet.

        Raises:
            KeyringError: As `subkey` does.
        """
        subkey = self.subkey(kid, purpose)
        begun = self._begun.get((kid, purpose))
        if begun is None:
            begun = self._begun[kid, purpose] = hmac.new(subkey, digestmod="sha256")
        return begun.copy()

    def mac(self, purpose: Purpose, message: bytes) -> tuple[int, bytes]:
        """Return the active key's id and its HMAC-SHA256 of the message, 32 bytes."""
        kid = self.active_kid
        return kid, hmac.digest(self.subkey(kid, purpose), message, "sha256")

    def verify(self, purpose: Purpose, kid: int, message: bytes, mac: bytes) -> bool:
        """
        Return whether `mac` gave this for the message, in constant time.

        False also when the key is unknown or retired; nothing is raised.
        """
        if not self.usable(kid, purpose):
            return False
        expected = hmac.digest(self.subkey(kid, purpose), message, "sha256")
        return hmac.compare_digest(expected, mac)

    def check_value(self, kid: int) -> str:
        """
        Return what a store keeps to know this key again: 16 hex digits that reveal nothing of it.

        Raises:
            KeyringError: There is no such key. A retired key still has its check value.
        """
        if kid not in self._by_kid:
            raise KeyringError(f"key {kid} is not in the keyring")
        message = b"signoff.check.v1\0" + bytes([kid])
        return hmac.digest(self._derived(kid, "check"), message, "sha256")[:_check_bytes].hex()

    def agree(self, stored: Mapping[int, str]) -> Mapping[int, str]:
        """
        Compare these keys with the check values that the store keeps.

        Args:
            stored: Check value by key id, as the store has them.

        Returns:
            The check values that the store does not have yet, by key id, to be added.

        Raises:
            KeyringError: A key is not the one that the store knows by that id.
        """
        own = {key.kid: self.check_value(key.kid) for key in self.keys}
        for kid in sorted(own.keys() & stored.keys()):
            if own[kid] != stored[kid]:
                raise KeyringError(
                    f"key {kid} is not the key {kid} that this store was made with; start with"
                    " the store's own keys (if one was taken out of a list of secrets without"
                    " key ids, write kid:state:secret instead)"
                )
        return {kid: check for kid, check in own.items() if kid not in stored}

    def missing(self, stored: Collection[int]) -> tuple[int, ...]:
        """
        Return the key ids that the store knows and this keyring does not have, in rising order.

        Args:
            stored: Key ids, or the mapping that `agree` takes.
        """
        return tuple(sorted(kid for kid in stored if kid not in self._by_kid))

    def rotated(
        self,
        kids_ever: Collection[int],
        *,
        random: Callable[[int], bytes] = secrets.token_bytes,
    ) -> Keyring:
        """
        Return a keyring with a new active key; the one that was active goes on verifying.

        Args:
            kids_ever: Every key id that the store has known; none is given again.
            random: Gives that many random bytes.

        Raises:
            KeyringError: All 256 key ids have been used.
        """
        kid = _next_kid({*kids_ever, *self._by_kid})
        former = [
            replace(key, state="verify_only") if key.state == "active" else key for key in self.keys
        ]
        return Keyring([Key(kid, random(secret_bytes), "active"), *former])

    def retire(self, kid: int) -> Keyring:
        """
        Return a keyring in which this key only verifies audit entries. Repeating it is harmless.

        The caller makes sure that no live token, seal, checkpoint or hidden value uses the key.

        Raises:
            KeyringError: There is no such key, or it is the active one.
        """
        if kid not in self._by_kid:
            raise KeyringError(f"key {kid} is not in the keyring")
        if kid == self.active_kid:
            raise KeyringError(f"key {kid} is the active key; rotate first, then retire it")
        return Keyring(
            replace(key, state="retired") if key.kid == kid else key for key in self.keys
        )

    def _derived(self, kid: int, purpose: str) -> bytes:
        cached = self._subkeys.get((kid, purpose))
        if cached is None:
            cached = _hkdf(self._by_kid[kid].secret, info=f"signoff/{purpose}/v1".encode("ascii"))
            self._subkeys[kid, purpose] = cached
        return cached


def _hkdf(secret: bytes, *, info: bytes) -> bytes:
    from cryptography.hazmat.primitives import hashes  # noqa: PLC0415 - keeps the import cheap
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF  # noqa: PLC0415 - the same

    return HKDF(algorithm=hashes.SHA256(), length=secret_bytes, salt=None, info=info).derive(secret)


def _refuse_repeated_kids(keys: tuple[Key, ...]) -> None:
    kids = [key.kid for key in keys]
    repeated = sorted({kid for kid in kids if kids.count(kid) > 1})
    if repeated:
        raise KeyringError(f"key id {repeated[0]} is given twice; key ids are never reused")


def _refuse_repeated_secrets(keys: tuple[Key, ...]) -> None:
    owner: dict[bytes, int] = {}
    for key in keys:
        other = owner.setdefault(key.secret, key.kid)
        if other != key.kid:
            raise KeyringError(f"keys {other} and {key.kid} have the same secret; {_remedy}")


def _only_active(keys: tuple[Key, ...]) -> Key:
    active = [key for key in keys if key.state == "active"]
    if len(active) != 1:
        found = ", ".join(str(key.kid) for key in active) or "none"
        raise KeyringError(f"exactly one key must be active; active: {found}")
    return active[0]


def _next_kid(used: set[int]) -> int:
    free = [kid for kid in range(highest_kid + 1) if kid not in used]
    if not free:
        raise KeyringError(f"all {highest_kid + 1} key ids have been used; none is given twice")
    newest = max(used)
    return next((kid for kid in free if kid > newest), free[0])


def _parse(text: str) -> list[Key]:
    uncommented = "\n".join(line.partition("#")[0] for line in text.splitlines())
    entries = [entry for entry in re.split(r"[\s,]+", uncommented) if entry]
    if not entries:
        raise KeyringError(f"there is no key; {_remedy}")
    if any(":" in entry for entry in entries):
        return [_with_kid(entry, position) for position, entry in enumerate(entries, start=1)]
    return [_newest_first(entry, position, len(entries)) for position, entry in enumerate(entries)]


def _with_kid(entry: str, position: int) -> Key:
    kid, state, secret = _three_parts(entry, position)
    if not re.fullmatch(r"[0-9]{1,3}", kid):
        raise KeyringError(f"entry {position}: the key id is not a number from 0 to {highest_kid}")
    return Key(int(kid), _secret(secret, position), cast("KeyState", state))


def _three_parts(entry: str, position: int) -> list[str]:
    parts = entry.split(":")
    if len(parts) != len(("kid", "state", "secret")):
        raise KeyringError(f"entry {position}: not of the form kid:state:secret")
    return parts


def _newest_first(entry: str, index: int, count: int) -> Key:
    state: KeyState = "active" if index == 0 else "verify_only"
    return Key(count - index, _secret(entry, index + 1), state)


def _secret(text: str, position: int) -> bytes:
    """Read base64 in either alphabet, padded or not, since tools differ."""
    try:
        return from_base64(text.rstrip("=").replace("+", "-").replace("/", "_"))
    except ValueError:
        raise KeyringError(f"entry {position}: the secret is not base64; {_remedy}") from None
