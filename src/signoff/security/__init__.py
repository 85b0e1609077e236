"""Keys, and what is proved with them: tokens, seals, hidden values (floor 2)."""

from __future__ import annotations

from signoff.security.keyring import Key, Keyring

__all__ = ["Key", "Keyring"]
