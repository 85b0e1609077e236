"""Proof of who did what: entries, their chain, and the one way to commit them (floor 5)."""

from __future__ import annotations
