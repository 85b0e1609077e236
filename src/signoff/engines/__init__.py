"""What runs tasks, behind the `Engine` port (floor 4)."""

from __future__ import annotations
