"""What the books in a database say, as another program reads them, and whether they agree."""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from contextlib import closing
from pathlib import Path
from typing import Any

from signoff.rules.chain import Link, verify_chain

BOOKS = {
    "audit": "stream, seq, prev_hash, hash, body",
    "runs": "run_id, body",
    "requests": "request_id, body",
    "deliveries": "request_id, body",
    "signals": "run_id, kind, cause",
}
"""What the check reads of each table."""

ENDINGS = {"approved", "rejected", "answered", "expired", "cancelled"}


def copy_books(address: str, schema: str, path: Path) -> Path:
    """Write the file anew, and return its path."""
    import psycopg  # noqa: PLC0415 - only where the store is PostgreSQL

    path.unlink(missing_ok=True)
    with closing(sqlite3.connect(path)) as file, psycopg.connect(address) as session:
        made = session.execute("SELECT to_regclass(%s)", (f"{schema}.runs",)).fetchone()
        for table, columns in BOOKS.items():
            file.execute(f"CREATE TABLE {table} ({columns})")
            if made != (None,):
                places = ", ".join("?" for _ in columns.split(","))
                file.executemany(
                    f"INSERT INTO {table} VALUES ({places})",  # noqa: S608 - names of ours
                    session.execute(f"SELECT {columns} FROM {schema}.{table}".encode()),  # noqa: S608 - as above
                )
        file.commit()
    return path


def check_books(path: Path) -> None:
    """Read a database as another program does, and compare its records with its audit streams."""
    with closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        streams: dict[str, list[Link]] = defaultdict(list)
        for row in connection.execute("SELECT * FROM audit ORDER BY stream, seq"):
            streams[row["stream"]].append(
                Link(
                    stream=row["stream"],
                    seq=row["seq"],
                    prev_hash=row["prev_hash"],
                    body=row["body"],
                    hash=row["hash"],
                )
            )
        requests = _bodies(connection, "requests")
        runs = _bodies(connection, "runs")
        signals = list(connection.execute("SELECT run_id, kind, cause FROM signals"))
        told = {row[0] for row in connection.execute("SELECT request_id FROM deliveries")}
    for stream, links in streams.items():
        assert verify_chain(links) is None, stream
    for request in requests:
        _check_request(request, streams.pop(f"request:{request['request_id']}"))
        assert request["undelivered"] or request["request_id"] in told, "nobody is told"
    for run in runs:
        run_id = run["run_id"]
        _check_run(run, streams.pop(f"run:{run_id}"))
        commanded = sorted(
            row["kind"]
            for row in signals
            if row["run_id"] == run_id and row["cause"].startswith(("cancel:", "retry:"))
        )
        entered = [_event(link) for link in streams.pop(f"commands:{run_id}", [])]
        assert {f"run.{kind}_asked" for kind in commanded} == set(entered), (commanded, entered)
        assert len(entered) >= len(commanded), (commanded, entered)
    assert not streams, "entries of what is not there"


def _bodies(connection: sqlite3.Connection, table: str) -> list[dict[str, Any]]:
    rows = connection.execute(f"SELECT body FROM {table}")  # noqa: S608 - two names of ours
    return [json.loads(row["body"]) for row in rows]


def _check_request(request: dict[str, Any], links: list[Link]) -> None:
    _check_head(request, links)
    events = [_event(link).removeprefix("request.") for link in links]
    endings = [event for event in events if event in ENDINGS]
    said = f"{request['status']} at version {request['version']} after {events}"
    assert request["version"] == len(links), said
    assert events.index("opened") == 0, said
    assert events.count("opened") == 1, said
    assert endings == ([] if request["status"] == "pending" else [request["status"]]), said
    assert (request["resolution"] is None) == (request["status"] == "pending"), said


def _check_run(run: dict[str, Any], links: list[Link]) -> None:
    _check_head(run, links)
    events = [_event(link).removeprefix("run.") for link in links]
    said = f"{run['status']} after {events}"
    assert events.index("started") == 0, said
    assert events.count("started") == 1, said
    assert run["status"] in {"ready", events[-1]}, said


def _check_head(record: dict[str, Any], links: list[Link]) -> None:
    head = {"seq": len(links), "hash": links[-1].hash.hex()}
    assert record["audit"] == head, f"{record['audit']} beside {head}"


def _event(link: Link) -> str:
    return str(json.loads(link.body)["event"])
