"""A flow of CrewAI that a provider pauses, kept by its SQLite persistence: the same three steps."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

# Before the import, which reads them: it would report each flow to a server, and draw it.
os.environ |= {
    "CREWAI_DISABLE_TELEMETRY": "true",
    "CREWAI_TRACING_ENABLED": "false",
    "OTEL_SDK_DISABLED": "true",
}

from crewai.events.utils.console_formatter import set_suppress_console_output
from crewai.flow.async_feedback import (
    HumanFeedbackPending,
    HumanFeedbackProvider,
    PendingFeedbackContext,
)
from crewai.flow.flow import Flow, listen, start
from crewai.flow.human_feedback import HumanFeedbackResult, human_feedback
from crewai.flow.persistence import SQLiteFlowPersistence
from pydantic import BaseModel
from tests.benchmarks.peers.timing import STATE, Asked, asked, in_tasks, tell


class Later(HumanFeedbackProvider):
    """Asks nobody, and pauses."""

    def request_feedback(self, context: PendingFeedbackContext, flow: Flow[object]) -> str:
        """Pause."""
        raise HumanFeedbackPending(context=context)


class ArticleState(BaseModel):
    """The state."""

    id: str = ""
    text: str = ""


class Article(Flow[ArticleState]):
    """The same three steps; without `emit`, so that no model is asked what the answer means."""

    @start()
    async def draft(self) -> str:
        """Write."""
        return "copy"

    @listen(draft)
    @human_feedback(message="Publish this?", provider=Later())
    async def review(self, copy: str) -> str:
        """Ask."""
        return copy

    @listen(review)
    async def publish(self, result: HumanFeedbackResult) -> str:
        """Publish."""
        return f"published {result.output}"


async def measure(asked: Asked) -> None:
    """Pause all, resume all."""
    set_suppress_console_output(True)
    persistence = SQLiteFlowPersistence(str(Path(asked.place, "flows.db")))
    waiting: dict[int, str] = {}
    ended: list[object] = []

    async def pause(number: int) -> None:
        flow = Article(persistence=persistence, suppress_flow_events=True)
        pending = await flow.kickoff_async(inputs={"text": STATE})
        assert isinstance(pending, HumanFeedbackPending)
        waiting[number] = pending.context.flow_id

    async def resume(number: int) -> None:
        flow = Article.from_pending(waiting[number], persistence, suppress_flow_events=True)
        ended.append(await flow.resume_async("approved"))

    phases = await in_tasks(pause, resume, asked)
    tell("crewai", "SQLiteFlowPersistence", phases, ended=ended)


if __name__ == "__main__":
    asyncio.run(measure(asked()))
