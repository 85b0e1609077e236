"""How a PostgresStore finds what it is asked for: along its indexes, whatever it holds."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import product
from typing import Any

import psycopg
import pytest
from psycopg.rows import DictRow

from signoff.ports import RequestQuery, RunQuery
from signoff.stores.postgres import PostgresStore
from signoff.stores.postgres_pool import Query, Session
from signoff.testing.builders import NOON
from signoff.testing.store_contract.examples import FIRST

ALLOWED_SCANS = {
    "tallies": "a row for each status and connection",
    "key_checks": "a row for each key",
}


@pytest.fixture
def anyio_backend() -> str:
    """What is found does not depend on the loop: one will do."""
    return "asyncio"


@pytest.fixture(name="asked")
def _asked(monkeypatch: pytest.MonkeyPatch) -> dict[bytes, object]:
    """Return the statements that are sent, with their values."""
    asked: dict[bytes, object] = {}
    send = Session.all

    def note(
        session: Session, query: Query, values: Mapping[str, object] | None = None
    ) -> list[DictRow]:
        asked[query.within(session.schema)] = values
        return send(session, query, values)

    monkeypatch.setattr(Session, "all", note)
    return asked


async def ask_everything(store: PostgresStore) -> None:
    """Ask whatever the port lets one ask, in every form that a page can have."""
    await store.run("run_1")
    await store.run_by_key("shop:Order", "inv-17")
    await store.journal("run_1")
    await store.checkpoint("run_1")
    await store.signals("run_1")
    await store.late_results("run_1")
    await store.ready(["shop:Order", "shop:Other"], limit=9)
    await store.unclaimed([])
    await store.request("req_1")
    await store.expired(NOON, limit=9)
    await store.token("tok_1")
    await store.tokens("req_1")
    await store.delivery("dlv_1")
    await store.deliveries("req_1")
    await store.due_deliveries(NOON, limit=9)
    await store.oldest_unsent()
    await store.claim("run_1")
    await store.live_claims("run_")
    await store.audit("request:req_1")
    await store.was_handled("imap:1")
    await store.mark("imap")
    await store.key_checks()
    await store.kids_in_use(NOON)
    await store.counts()
    after = (NOON, "a")
    for status, flow, parent in product((None, "ready"), (None, "f"), (None, "run_0")):
        wanted: Any = {"status": status, "flow_name": flow, "parent_run_id": parent}
        await store.runs(RunQuery(**wanted, after=after))
    for status, run_id, assignee, risk, newest in product(
        (None, "pending"), (None, "run_1"), (None, "a@b"), (None, "low"), (False, True)
    ):
        wanted = {"status": status, "run_id": run_id, "assignee": assignee, "risk": risk}
        await store.requests(RequestQuery(**wanted, newest_first=newest, after=after))


async def test_every_query_has_an_index(
    postgres: str, postgres_tables: str, asked: dict[bytes, Any]
) -> None:
    """Nothing but the smallest tables has to be read from one end to the other, and no page has to be sorted."""
    async with PostgresStore(postgres, schema=postgres_tables) as store:
        await store.commit(FIRST)
        asked.clear()
        await ask_everything(store)

    assert len(asked) > 60
    scans: set[str] = set()
    pages = 0
    with psycopg.connect(postgres) as session:
        session.execute("SET enable_seqscan = off")
        session.execute("SET enable_bitmapscan = off")
        session.execute("SET enable_sort = off")
        session.execute("SET plan_cache_mode = force_generic_plan")
        for statement, values in asked.items():
            rows = session.execute(b"EXPLAIN " + statement, values)
            plan = "\n".join(row[0] for row in rows)
            scans |= set(re.findall(r"Seq Scan on (\w+)", plan))
            if re.match(rb"SELECT (listed\.)?\* FROM .* LIMIT", statement):
                pages += 1
                assert not re.search(r"\bSort\b", plan), plan
    assert scans <= set(ALLOWED_SCANS)
    assert pages == 40
