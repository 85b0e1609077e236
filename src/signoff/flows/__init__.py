"""Flows: declaring them, running them, and what happens inside a step (floor 6)."""

from __future__ import annotations
