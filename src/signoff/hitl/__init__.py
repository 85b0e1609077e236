"""
The queue of requests, for applications (floor 6).

`queue` has what an application calls, `results` what it gets back. `questions` drafts a request,
`answers` reads an answer to one, `cursors` seals where a page ended, and `counter` is what all
this works with.
"""

from __future__ import annotations

from signoff.hitl.counter import Counter, Who
from signoff.hitl.queue import Hitl
from signoff.hitl.results import Page, Stats

__all__ = ["Counter", "Hitl", "Page", "Stats", "Who"]
