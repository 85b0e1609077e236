"""The records: frozen, typed, without behaviour beyond reading themselves (floor 0)."""

from __future__ import annotations
