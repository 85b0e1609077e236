"""A reviewer's genuine mail that somebody else sends once more, to an address of their choice."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from signoff import Client
from signoff.model.request import Request
from signoff.testing import ManualClock, MemoryMail

ANN = "ann@acme.example"
SERVER = "mx.acme.example"
PASSED = f"{SERVER}; dmarc=pass header.from=acme.example"


class Desk:
    """A client behind a server that vouches, and two questions that were passed on to Mallory."""

    def __init__(self, client: Client, mail: MemoryMail) -> None:
        self.client, self.mail = client, mail

    async def ask(self, payload: str) -> tuple[Request, str, str]:
        """Return a request, its reply address and the id of its mail."""
        request = await self.client.hitl.request("Fine?", payload=payload, assignees=[ANN])
        await self.client.drain()
        asked = self.mail.sent[-1]
        return request, str(asked["Reply-To"]), str(asked["Message-ID"])

    async def hear(self, request: Request, *headers: str) -> str:
        """Take in a mail of Ann's with these headers on top, and return the request's status."""
        lines = (f"Authentication-Results: {PASSED}", *headers, f"From: {ANN}")
        self.mail.receive(
            "\n".join((*lines, "Message-ID: <1@acme.example>", "", "approved")).encode()
        )
        await self.client.drain()
        return (await self.client.hitl.get_request(request.request_id)).status


@pytest.fixture(name="desk")
async def _desk() -> AsyncIterator[Desk]:
    mail = MemoryMail(trusted_server=SERVER)
    async with Client(notifiers=[mail], inbox=mail, clock=ManualClock()) as client:
        yield Desk(client, mail)


@pytest.mark.parametrize(
    "headers",
    [
        ("Delivered-To: {grave}", "To: mallory@acme.example"),
        ("X-Original-To: {grave}", "Subject: no To at all"),
        ("Delivered-To: {grave}", "To: {harmless}"),
        ("To: {grave}", "To: mallory@acme.example"),
        ("To: mallory@acme.example", "Cc: {grave}", "Cc: mallory@acme.example"),
        ("In-Reply-To: {id}", "To: mallory@acme.example"),
        ("In-Reply-To: {id}", "To: approvals@signoff.example.evil.example"),
    ],
)
async def test_what_was_written_to_somebody_else_decides_nothing(
    desk: Desk, headers: tuple[str, ...]
) -> None:
    """The signature is good, and so is the token of whoever was passed the question."""
    _, harmless, _ = await desk.ask("tea")
    request, grave, id_ = await desk.ask("a million")
    lines = [line.format(grave=grave, harmless=harmless, id=id_) for line in headers]

    assert await desk.hear(request, *lines) == "pending"
    explained = desk.mail.sent[-1]
    assert (explained["To"], explained["Auto-Submitted"]) == (ANN, "auto-replied")
    assert "it names the reply address neither in To nor in Cc" in " ".join(
        explained.as_string().split()
    )


@pytest.mark.parametrize(
    "headers",
    [
        ("To: {grave}",),
        ("Delivered-To: all@signoff.example", "To: Approvals <{GRAVE}>, bob@acme.example"),
        ("To: bob@acme.example", "Cc: {grave}"),
        ("Delivered-To: {grave}", "To: {harmless}, {grave}"),
        ("In-Reply-To: {id}", "To: Approvals <Approvals@signoff.example>"),
        ("Delivered-To: {grave}", "To: approvals@signoff.example"),
    ],
)
async def test_what_was_written_to_us_decides(desk: Desk, headers: tuple[str, ...]) -> None:
    """Whether the address still has its token, or only the thread or the server knows it."""
    _, harmless, _ = await desk.ask("tea")
    request, grave, id_ = await desk.ask("a million")
    lines = [
        line.format(grave=grave, GRAVE=grave.upper(), harmless=harmless, id=id_) for line in headers
    ]

    assert await desk.hear(request, *lines) == "approved"
