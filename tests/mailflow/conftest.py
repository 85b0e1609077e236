"""A client with a mailbox in memory and a clock that stands still."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from email.message import EmailMessage

import pytest

from signoff import Client, Flow, HumanFeedbackResult, human_feedback, listen, start
from signoff.model.request import Request
from signoff.testing import ManualClock, MemoryMail

REVIEWER = "brand@acme.example"


class Review(Flow, name="mailflow.review"):
    """One gate with three labels, of which the first also is the default outcome."""

    @start()
    @human_feedback(
        message="Publish?",
        emit=["approved", "rejected", "needs_revision"],
        default_outcome="approved",
        assign_to_email=REVIEWER,
    )
    def draft(self) -> str:
        """Return what is asked about."""
        return "Spring sale"

    @listen("approved")
    def publish(self, result: HumanFeedbackResult) -> str:
        """Return what was said."""
        return f"approved: {result.feedback}"

    @listen("rejected")
    def drop(self, result: HumanFeedbackResult) -> str:
        """Return what was said."""
        return f"rejected: {result.feedback}"


class GraveReview(Flow, name="mailflow.grave_review"):
    """The same at high risk."""

    @start()
    @human_feedback(
        message="Publish?", emit=["approved", "rejected"], risk="high", assign_to_email=REVIEWER
    )
    def draft(self) -> str:
        """Return what is asked about."""
        return "Spring sale"


@dataclass(slots=True)
class Office:
    """
    A client and its mailbox.

    Attributes:
        client: The client, open.
        mail: Its mailbox.
        clock: Its time.
    """

    client: Client
    mail: MemoryMail
    clock: ManualClock

    async def ask(self, flow: type[Flow] = Review) -> EmailMessage:
        """Start a flow and return the mail that asks."""
        await self.client.flows.start(flow, requester="agent-7")
        await self.client.drain()
        return self.mail.sent[-1]

    async def hear(self, text: str, **headers: str) -> Request:
        """Reply to the newest mail that asks, and return the request as it then stands."""
        asking = [mail for mail in self.mail.sent if mail["Reply-To"]]
        self.mail.reply(asking[-1], text, headers=headers)
        return await self.now()

    async def now(self) -> Request:
        """Let the client work and return the newest request."""
        await self.client.drain()
        page = await self.client.hitl.list_requests(newest_first=True)
        return page[0]


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """Return one event loop; `test_replies.py` and the contract of the mailbox run on both."""
    return "asyncio"


@pytest.fixture(name="trusted_server")
def _trusted_server() -> str | None:
    return None


@pytest.fixture(name="office")
async def _office(trusted_server: str | None) -> AsyncIterator[Office]:
    mail, clock = MemoryMail(trusted_server=trusted_server), ManualClock()
    mail.vouches = False
    async with Client(notifiers=[mail], inbox=mail, clock=clock) as client:
        yield Office(client, mail, clock)
