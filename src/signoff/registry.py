"""
Stored names and the code behind them (floor 3).

Flows, gates and codec types register themselves when their module is imported. Names are
looked up here and nowhere else; nothing is ever imported because stored data names it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from typing import Final, Generic, TypeVar

from signoff.errors import ConfigurationError

CodeT = TypeVar("CodeT")

_log = logging.getLogger("signoff.registry")

_told: Final[set[str]] = set()


def default_name(code: object) -> str:
    """Return the stored name that code has unless one is pinned: `module:qualname`."""
    return f"{getattr(code, '__module__', '')}:{getattr(code, '__qualname__', '')}"


def is_portable(name: str) -> bool:
    """Return whether another process would find the same code under `name`: it is no local or script name."""
    return "<locals>" not in name and not name.startswith("__main__:")


def tell_of_script_name(name: str) -> None:
    """Log, once for each name, that code stored under it is found by runs of one script only."""
    if is_portable(name) or name in _told:
        return
    _told.add(name)
    _log.warning(
        "%s is a local or script name, so a worker that is another program never finds its code;"
        " pin one with name=",
        name,
    )


class Names(Generic[CodeT]):
    """A thread-safe register of one sort of code by its stored names."""

    def __init__(self, sort: str) -> None:
        self._sort = sort
        self._lock = threading.Lock()
        self._code: dict[str, tuple[str, CodeT]] = {}

    def add(self, code: CodeT, *, origin: str, names: Sequence[str]) -> None:
        """
        Register code under all its names.

        Code of the same origin (`module:qualname`) replaces what was there before, as when a
        module is loaded again.

        Raises:
            ConfigurationError: Other code has one of the names.
        """
        with self._lock:
            for name in names:
                taken = self._code.get(name)
                if taken is not None and taken[0] != origin:
                    raise ConfigurationError(
                        f"the {self._sort} name {name!r} belongs to {taken[0]} already, so"
                        f" {origin} cannot have it; give one of them another name="
                    )
            self._code |= dict.fromkeys(names, (origin, code))

    def get(self, name: str) -> CodeT | None:
        """Return the code behind a name, or `None` when this process has none."""
        found = self._code.get(name)
        return found[1] if found else None

    def names(self) -> tuple[str, ...]:
        """Return every name that this process has code for."""
        return tuple(self._code)


flow_classes: Final[Names[type]] = Names("flow")
"""Subclasses of `Flow` by stored name."""
