"""
The blocking client: a script and its worker thread, and not one `await`.

Run it with `python examples/without_async.py`.
"""

from concurrent.futures import ThreadPoolExecutor
from time import sleep

from signoff import ApprovalRejected, require_approval, set_default_client
from signoff.stores import SQLiteStore
from signoff.sync import Client

OPS = "ops@acme.example"


@require_approval(name="examples.restart", action="Restart {server}", assignees=[OPS])
def restart(server: str) -> str:
    """Stand in for something that a person should see first."""
    return f"{server} restarted"


def answer(client: Client) -> None:
    """Stand in for a person who lets the web server restart, and not the database."""
    for approves in (True, False):
        while not (page := client.hitl.list_requests(status="pending")):
            sleep(0.01)
        if approves:
            client.hitl.approve(request_id=page[0].request_id, reviewer=OPS)
        else:
            client.hitl.reject(request_id=page[0].request_id, reason="not now", reviewer=OPS)


with (
    Client(store=SQLiteStore("restarts.db")) as client,
    client.serving(),
    ThreadPoolExecutor() as threads,
):
    set_default_client(client)
    person = threads.submit(answer, client)
    print(restart("web-1"))  # this thread waits, and nothing else does
    try:
        restart("db-1")
    except ApprovalRejected as refusal:
        print(f"refused: {refusal.reason}")
    person.result()

# Output:
# web-1 restarted
# refused: not now
