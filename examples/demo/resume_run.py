"""Process three: read the reply and go on where process one stopped."""

from __future__ import annotations

import os

import anyio

from flow import make_client


async def main() -> None:
    """Do all that can be done now, and print what the run came to."""
    async with make_client() as client:
        await client.drain()
        (run,) = await client.flows.list()
        run = await client.flows.get(run.run_id)
        (request,) = await client.hitl.list_requests()
        print(
            f"[{os.getpid()}] the reply was read: {request.outcome} by"
            f" {request.decisions[0].reviewer if request.decisions else 'nobody'}"
        )
        print(f"[{os.getpid()}] the run is {run.status}")
        print(run.output)


anyio.run(main)
