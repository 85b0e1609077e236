"""Adapters that send messages (floor 4); each is imported when its name is first used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from signoff.notifiers.console import ConsoleNotifier
    from signoff.notifiers.smtp import SMTPNotifier

__all__ = ["ConsoleNotifier", "SMTPNotifier"]

_HOMES: Final = {
    "ConsoleNotifier": "signoff.notifiers.console",
    "SMTPNotifier": "signoff.notifiers.smtp",
}


def __getattr__(name: str) -> object:
    """Import an adapter on first use, so that nobody pays for the others."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(home), name)
