"""holdpoint with its SQLite store: a guarded call is stored, approved and executed."""

from __future__ import annotations

from pathlib import Path

from holdpoint import Action, HoldPoint, SQLiteStore
from tests.benchmarks.peers.timing import STATE, Asked, asked, in_threads, tell


def measure(asked: Asked) -> None:
    """Submit all, approve all: approving executes the call."""
    hold = HoldPoint(store=SQLiteStore(Path(asked.place, "actions.db")))

    @hold.guard(kind="publish")
    def publish(copy: str, text: str) -> str:
        assert text == STATE
        return f"published {copy}"

    waiting: dict[int, Action[str]] = {}
    ended: list[object] = []

    def pause(number: int) -> None:
        waiting[number] = publish("copy", STATE)

    def resume(number: int) -> None:
        decision = hold.approve(waiting[number].id, actor="ann@acme.example")
        ended.append(decision.value)

    phases = in_threads(pause, resume, asked)
    tell("holdpoint", "SQLiteStore", phases, ended=ended)


if __name__ == "__main__":
    measure(asked())
