"""The flow and the gated call that Signoff is measured by."""

from __future__ import annotations

import time
from typing import Final

from signoff import Flow, HumanFeedbackResult, human_feedback, listen, require_approval, start

REVIEWER: Final = "ann@acme.example"
REQUESTER: Final = "agent-7"


class Article(Flow, name="bench.article"):
    """Three steps, of coroutine functions."""

    @start()
    async def draft(self) -> str:
        """Write."""
        return "copy"

    @listen(draft)
    @human_feedback("Publish this?", emit=["approved", "rejected"], assignees=[REVIEWER])
    async def review(self, copy: str) -> str:
        """Ask."""
        return copy

    @listen("approved")
    async def publish(self, result: HumanFeedbackResult) -> str:
        """Publish."""
        return f"published {result.output}"


class ArticleInThreads(Flow, name="bench.article_in_threads"):
    """The same, each step in a worker thread."""

    @start()
    def draft(self) -> str:
        """Write."""
        return "copy"

    @listen(draft)
    @human_feedback("Publish this?", emit=["approved", "rejected"], assignees=[REVIEWER])
    def review(self, copy: str) -> str:
        """Ask."""
        return copy

    @listen("approved")
    def publish(self, result: HumanFeedbackResult) -> str:
        """Publish."""
        return f"published {result.output}"


class Timed(Flow, name="bench.timed"):
    """Asks, and says when it went on."""

    @start()
    @human_feedback("Go on?", emit=["approved", "rejected"], assignees=[REVIEWER])
    async def ask(self) -> str:
        """Ask."""
        return "go on"

    @listen("approved")
    async def go_on(self) -> float:
        """Look at the clock, which is the same in all processes of a machine."""
        return time.monotonic()


@require_approval(assignees=[REVIEWER], name="bench.publish")
async def publish(copy: str, text: str) -> str:
    """Publish a copy, which is approved before."""
    assert text
    return f"published {copy}"
