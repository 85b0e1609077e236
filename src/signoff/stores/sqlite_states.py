"""
The state of a run, apart from the rest of its body, in the file of a `SQLiteStore` (floor 4).

A run is written anew several times while its state stays as it was. A large state has a row of
its own, which is written only when it changes; each read puts the body together, byte for byte.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from signoff.errors import SealInvalidError

LEAST: Final = 2048
"""From how many bytes on a state is kept apart; below, a row more costs more than it saves."""

# Where it lies in the body. To find another place would do no harm: any piece can be put back.
_BEGINS: Final = b'"state":'
_ENDS: Final = b',"state_type":'


@dataclass(frozen=True, slots=True)
class Cut:
    """
    The body of a run as it is stored.

    Attributes:
        rest: The body without its state.
        state_at: How many bytes of `rest` go before the state; `None` when nothing was cut out.
        state: What was cut out.
    """

    rest: bytes
    state_at: int | None = None
    state: bytes = b""


def cut(body: bytes) -> Cut:
    """Cut the state out of a run's body, where it is large."""
    begin, end = body.find(_BEGINS), body.rfind(_ENDS)
    if begin < 0 or end - begin < LEAST:
        return Cut(body)
    return Cut(body[:begin] + body[end:], begin, body[begin:end])


def body_of(row: sqlite3.Row) -> bytes:
    """
    Return the body of a run, whole again.

    Args:
        row: With the run's `run_id`, `body` and `state_at`, and its `state` if that lies apart.

    Raises:
        SealInvalidError: The state is gone, or one of them is no longer of its type.
    """
    body: bytes = row["body"]
    at: int | None = row["state_at"]
    if at is None:
        return body
    try:
        return b"".join((body[:at], row["state"], body[at:]))
    except TypeError as error:
        raise SealInvalidError(row["run_id"], "body") from error


def write_states(connection: sqlite3.Connection, states: Iterable[tuple[str, bytes]]) -> None:
    """Write the states of runs, by run id, where they are not as they were."""
    for run_id, state in states:
        connection.execute(
            "INSERT INTO run_states (run_id, state) VALUES (?, ?)"
            " ON CONFLICT (run_id) DO UPDATE SET state = excluded.state"
            " WHERE state IS NOT excluded.state",
            (run_id, state),
        )
