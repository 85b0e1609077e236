"""Process one: run until the human is needed, send the mail, and exit."""

from __future__ import annotations

import os

import anyio

from flow import ContentApproval, make_client


async def main() -> None:
    """Start a run and do all that can be done now."""
    async with make_client() as client:
        run = await client.flows.start(ContentApproval, requester="agent-7")
        await client.drain()
        run = await client.flows.get(run.run_id)
        (request,) = await client.hitl.list_requests(status="pending")
        print(f"[{os.getpid()}] the run is {run.status}; mail sent to {request.assignees[0]}")


anyio.run(main)
