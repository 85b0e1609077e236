"""Answers that come twice, in another order, or too late: the first one that may decides, once."""

from __future__ import annotations

import itertools
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TypeAlias

import anyio
import pytest

from signoff import Client, Flow, HumanFeedbackResult, Request, human_feedback, listen, start
from signoff.errors import AlreadyDecidedError
from signoff.ports import Store
from signoff.testing import ManualClock, MemoryMail

OpenStore: TypeAlias = Callable[[Path], Store]

REVIEWER = "cfo@acme.example"
happened: list[str] = []


class Review(Flow, name="duplicates.review"):
    """A question whose answer is acted upon."""

    @start()
    @human_feedback("Publish?", emit=["approved", "rejected"], assign_to_email=REVIEWER)
    def draft(self) -> str:
        """Ask."""
        return "copy"

    @listen("approved")
    def publish(self, result: HumanFeedbackResult) -> None:
        """Act upon a yes."""
        happened.append(f"published for {result.reviewer}")

    @listen("rejected")
    def archive(self, result: HumanFeedbackResult) -> None:
        """Act upon a no."""
        happened.append(f"archived for {result.reviewer}")


@dataclass
class Scene:
    """
    A question that was mailed.

    Attributes:
        client: Who asked.
        mail: The mailbox.
        clock: Business time.
        request_id: Of the question.
    """

    client: Client
    mail: MemoryMail
    clock: ManualClock
    request_id: str

    async def ended(self) -> Request:
        """Let everything be done, and return the request, which was decided once."""
        await self.client.drain()
        request = await self.client.hitl.get_request(self.request_id)
        history = await self.client.hitl.history(request_id=self.request_id)
        endings = {"request.approved", "request.rejected", "request.expired"}
        assert sum(one.event in endings for one in history) == 1
        return request


@asynccontextmanager
async def a_scene(open_store: OpenStore, folder: Path) -> AsyncGenerator[Scene]:
    """Mail a question."""
    happened.clear()
    mail, clock = MemoryMail(), ManualClock()
    async with Client(open_store(folder), notifiers=[mail], inbox=mail, clock=clock) as client:
        await client.flows.start(Review, requester="agent-7")
        await client.drain()
        (request,) = await client.hitl.list_requests()
        yield Scene(client, mail, clock, request.request_id)


@pytest.mark.parametrize("apart", [False, True], ids=["in one poll", "apart"])
async def test_a_reply_that_comes_three_times_decides_once(
    open_store: OpenStore, tmp_path: Path, apart: bool
) -> None:
    """Reliability 11: the very same bytes, as a mail server delivers them again."""
    async with a_scene(open_store, tmp_path) as scene:
        raw = scene.mail.reply(scene.mail.sent[0], "Approved")
        for _ in range(2):
            if apart:
                await scene.client.drain()
            scene.mail.receive(raw)
        assert (await scene.ended()).outcome == "approved"
        assert len(scene.mail.put_away) == 3
    assert happened == [f"published for {REVIEWER}"]


@pytest.mark.parametrize("order", list(itertools.permutations(["Approved", "Rejected", "perhaps"])))
async def test_replies_in_any_order_are_decided_by_the_first_that_decides(
    open_store: OpenStore, tmp_path: Path, order: tuple[str, ...]
) -> None:
    """Reliability 11: what comes after it is told who decided, and changes nothing."""
    async with a_scene(open_store, tmp_path) as scene:
        for text in order:
            scene.mail.reply(scene.mail.sent[0], text)
        request = await scene.ended()
    first = next(text.lower() for text in order if text != "perhaps")
    assert request.outcome == first
    assert happened == [
        {"approved": "published", "rejected": "archived"}[first] + f" for {REVIEWER}"
    ]


async def test_a_reply_after_another_channel_decided_changes_nothing(
    open_store: OpenStore, tmp_path: Path
) -> None:
    """Reliability 11: the application was faster than the mail."""
    async with a_scene(open_store, tmp_path) as scene:
        scene.mail.reply(scene.mail.sent[0], "Rejected")
        await scene.client.hitl.approve(request_id=scene.request_id, reviewer=REVIEWER)
        assert (await scene.ended()).outcome == "approved"
    assert happened == [f"published for {REVIEWER}"]


async def test_a_reply_after_the_expiry_changes_nothing(
    open_store: OpenStore, tmp_path: Path
) -> None:
    """Reliability 11: whether the expiry was noticed before or not."""
    async with a_scene(open_store, tmp_path) as scene:
        scene.clock.advance(timedelta(days=8))
        scene.mail.reply(scene.mail.sent[0], "Approved")
        assert (await scene.ended()).status == "expired"
        scene.mail.reply(scene.mail.sent[0], "Approved")
        assert (await scene.ended()).status == "expired"
    assert happened == []


async def test_of_two_answers_at_one_instant_one_decides(
    open_store: OpenStore, tmp_path: Path
) -> None:
    """Reliability 11: the other one is told who did."""
    async with a_scene(open_store, tmp_path) as scene:
        hitl, refused = scene.client.hitl, []

        async def answer(verb: Callable[..., object]) -> None:
            try:
                await verb(request_id=scene.request_id, reviewer=REVIEWER)  # type: ignore[misc]  # both are coroutine functions
            except AlreadyDecidedError as error:
                refused.append(error.decided_by)

        async with anyio.create_task_group() as group:
            group.start_soon(answer, hitl.approve)
            group.start_soon(answer, hitl.reject)
        request = await scene.ended()
        assert refused == [REVIEWER]
        assert len(request.decisions) == 1
    assert len(happened) == 1
