"""The decisions, as pure functions: no I/O, no clock, no await, no randomness (floor 1)."""

from __future__ import annotations
