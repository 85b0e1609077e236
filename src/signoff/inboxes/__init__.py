"""Adapters that read answers (floor 4); each is imported when its name is first used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from signoff.inboxes.imap import IMAPInbox

__all__ = ["IMAPInbox"]

_HOMES: Final = {"IMAPInbox": "signoff.inboxes.imap"}


def __getattr__(name: str) -> object:
    """Import an adapter on first use, so that nobody pays for the others."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(home), name)
