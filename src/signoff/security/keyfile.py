"""
A key file for a SQLite store, made on demand, readable by its owner only (floor 2).

It appears complete or not at all: the text is written to a temporary file and then linked to
its name, so of two processes that make it at once one wins and the other reads the winner's.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import stat
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from signoff.errors import KeyringError
from signoff.security.keyring import Keyring

if TYPE_CHECKING:
    from collections.abc import Generator

_private_file: Final = 0o600
_private_folder: Final = 0o700
_others: Final = stat.S_IRWXG | stat.S_IRWXO
_header: Final = """\
# The keys of a Signoff store, one a line: kid:state:secret.
# Keep this file secret, and back it up apart from the database: neither is of use alone.
"""


def default_path(database_path: str | os.PathLike[str]) -> Path:
    """
    Return where the key file of a SQLite database is kept unless the user says otherwise.

    It is not in the database's folder, so that a copy of that folder holds no key:
    ``$XDG_STATE_HOME/signoff/keys/<hash>.key``, with ``~/.local/state`` where the variable is not
    set. The hash is of the database's absolute path, symbolic links followed.

    Args:
        database_path: The database file; it need not exist.

    Raises:
        KeyringError: The process has no home folder.

    Source: XDG Base Directory Specification 0.8, section 3 (a relative path is to be ignored).
    """
    resolved = os.fsencode(Path(database_path).resolve())
    name = hashlib.sha256(resolved).hexdigest()[:32]
    return _state_folder() / "signoff" / "keys" / f"{name}.key"


def load_or_create(path: Path) -> Keyring:
    """
    Read the key file, and make it first if there is none.

    Of several processes that make it at once, all get the same keys. What was made is on the
    disk before this returns. Folders that do not exist are made with mode 0700, the file with
    mode 0600.

    Raises:
        KeyringError: The file cannot be read, made or understood, or others than its owner may
            read or write it; the message says what to do, and holds none of the text.
    """
    with _named(path):
        try:
            return _load(path)
        except FileNotFoundError:
            _create(path, Keyring.generate())
            return _load(path)


def save(path: Path, keyring: Keyring) -> None:
    """
    Replace the key file, for instance by a rotated keyring.

    Atomic: a reader, or a crash, sees the old keys or the new ones. What was written is on the
    disk before this returns.

    Raises:
        KeyringError: The file cannot be written; the old one is as it was.
    """
    with _named(path), _temporary(path, keyring) as temporary:
        temporary.replace(path)


def _state_folder() -> Path:
    configured = Path(os.environ.get("XDG_STATE_HOME", ""))
    if configured.is_absolute():
        return configured
    try:
        return Path.home() / ".local" / "state"
    except RuntimeError:
        raise KeyringError(
            "there is no home folder to keep a key file in; give the keys in SIGNOFF_KEY"
        ) from None


@contextmanager
def _named(path: Path) -> Generator[None]:
    """Say which key file it was about, and what to do, when the file system refuses."""
    try:
        yield
    except OSError as error:
        raise KeyringError(
            f"the key file {path} cannot be used: {error.strerror};"
            " choose another path for it, or give the keys in SIGNOFF_KEY"
        ) from error


def _load(path: Path) -> Keyring:
    with path.open("rb") as file:
        # The open file is asked, not its name, which may stand for another file by now.
        mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        if mode & _others:
            raise KeyringError(
                f"the key file {path} is open to others than its owner (mode {mode:04o}); run"
                f" `chmod 600 {path}`, and rotate the key if somebody may have read it"
            )
        text = file.read().decode("utf-8", "replace")
    return Keyring.from_text(text, source=str(path))


def _create(path: Path, keyring: Keyring) -> None:
    # Unlike a rename, a link never replaces: of two processes the first wins, and the keys of
    # the other were never used.
    with _temporary(path, keyring) as temporary, suppress(FileExistsError):
        path.hardlink_to(temporary)


@contextmanager
def _temporary(path: Path, keyring: Keyring) -> Generator[Path]:
    """Give a complete private file beside `path`; afterwards only what the caller made of it stays."""
    folder = path.parent
    _make_folder(folder)
    temporary = folder / f".{secrets.token_hex(8)}.tmp"
    try:
        temporary.touch(mode=_private_file, exist_ok=False)
        _write(temporary, _header + keyring.to_text())
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)
    _flush_folder(folder)


def _make_folder(folder: Path) -> None:
    """Make the folder and those above it; `Path.mkdir(parents=True)` gives only the last its mode."""
    if not folder.is_dir():
        _make_folder(folder.parent)
        folder.mkdir(mode=_private_folder, exist_ok=True)
        _flush_folder(folder.parent)


def _write(path: Path, text: str) -> None:
    with path.open("wb") as file:
        file.write(text.encode("ascii"))
        file.flush()
        os.fsync(file.fileno())


def _flush_folder(folder: Path) -> None:
    # Without this a power cut may forget the name of what is on the disk.
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
