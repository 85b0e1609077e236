"""
A call that outlives its caller: the same key is the same call, asked and executed once.

Run it with `python examples/keyed_call.py`.
"""

import anyio

from signoff import Client, keyed, require_approval, set_default_client
from signoff.errors import KeyConflict

OPS = "ops@acme.example"


@require_approval(name="examples.delete", action="Delete {customer}", assignees=[OPS])
async def delete(customer: str) -> str:
    """Stand in for something that cannot be undone."""
    print(f"deleting {customer}")
    return f"{customer} is gone"


async def answer_soon(client: Client) -> None:
    """Stand in for a person who approves whatever is pending."""
    page = await client.hitl.list_requests(status="pending")
    if not page:
        await anyio.sleep(0.01)
        return await answer_soon(client)
    await client.hitl.approve(request_id=page[0].request_id, reviewer=OPS)
    return None


async def main() -> None:
    """Call twice with one key, and once more with other arguments."""
    async with Client() as client, client.serving():
        set_default_client(client)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(answer_soon, client)
            print(await keyed(delete, "ticket-4711")("customer 42"))
        print(await keyed(delete, "ticket-4711")("customer 42"))
        try:
            await keyed(delete, "ticket-4711")("customer 43")
        except KeyConflict as conflict:
            print(f"refused: {conflict.key} stands for another call")


anyio.run(main)

# Output:
# deleting customer 42
# customer 42 is gone
# customer 42 is gone
# refused: ticket-4711 stands for another call
