"""The text of messages, out and in (floor 3)."""

from __future__ import annotations
