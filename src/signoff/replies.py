"""A reply becomes one desk command (floor 5)."""

from __future__ import annotations
class Replies:
    def __init__(self, *a, **k): pass
    async def handle(self, m, i): return False
