"""Old and new code side by side on one PostgreSQL schema, as while workers are replaced one by one."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from typing_extensions import override

from signoff import Client, require_approval
from signoff.errors import SchemaError, StoreUnavailableError
from signoff.ports import Store
from signoff.security.keyring import Keyring
from signoff.stores import postgres_schema as migrating
from signoff.stores.postgres import PostgresStore
from signoff.testing import StoreContract
from signoff.testing.builders import a_request, a_run, writing
from signoff.testing.store_contract.base import Capability
from signoff.testing.store_contract.commits import CommitsContract
from signoff.testing.store_contract.examples import FIRST, picture

pytestmark = pytest.mark.one_python

KEYS = Keyring.generate()
REVIEWER = "cfo@acme.example"

TODAY = migrating.migrations()
NEXT = (
    *TODAY,
    """
-- reader: 1
ALTER TABLE {schema}.runs ADD COLUMN note text;
ALTER TABLE {schema}.requests ADD COLUMN tenant text NOT NULL DEFAULT '';
CREATE INDEX requests_by_tenant ON {schema}.requests (tenant, request_id);
CREATE TABLE {schema}.tenants (tenant text NOT NULL PRIMARY KEY);
CREATE OR REPLACE FUNCTION {schema}.business_now() RETURNS timestamptz LANGUAGE plpgsql AS
    $$ BEGIN RETURN clock_timestamp(); END $$;
""",
)
"""What the next version might add: columns, an index, a table, a function made anew."""


@pytest.fixture
def anyio_backend() -> str:
    """What is in the schema does not depend on the loop: one will do."""
    return "asyncio"


@require_approval(name="side_by_side.pay", assignees=[REVIEWER])
async def pay(amount: int) -> str:
    """Have an effect."""
    return f"paid {amount}"


@asynccontextmanager
async def a_store_of(
    scripts: tuple[str, ...], address: str, schema: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[PostgresStore]:
    """Yield a store that was opened by code that knows so many migrations."""
    with monkeypatch.context() as patch:
        patch.setattr(migrating, "migrations", lambda: scripts)
        store = await PostgresStore(address, schema=schema).__aenter__()
    try:
        yield store
    finally:
        await store.__aexit__(None, None, None)


async def go_all_the_way(address: str, schema: str, *, amount: int) -> None:
    """Ask, answer and perform."""
    async with Client(PostgresStore(address, schema=schema), keyring=KEYS) as client:
        request = await client.submit(pay, amount, key=f"invoice-{amount}")
        await client.hitl.approve(request_id=request.request_id, reviewer=REVIEWER)
        await client.drain()
        assert (await client.flows.get(request.run_id)).output == f"paid {amount}"


@pytest.fixture(name="next_schema", scope="module")
def _next_schema(postgres: str) -> Iterator[str]:
    """Yield a schema that the next version has made."""
    name = "test_next_schema"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(migrating, "migrations", lambda: NEXT)
        with PostgresStore(postgres, schema=name).books(make=True):
            pass
    yield name
    with psycopg.connect(postgres, autocommit=True) as session:
        session.execute(f"DROP SCHEMA {name} CASCADE".encode())


class TestThisCodeOnTheNextSchema(CommitsContract):
    """What the contract says of commits, with the next version's additions in the schema."""

    capabilities = StoreContract.BASE | {
        Capability.DURABLE,
        Capability.SHARED,
        Capability.SERVER_CLOCK,
    }

    @override
    @pytest.fixture
    async def store(
        self, postgres: str, next_schema: str, empty_postgres_tables: Callable[[str], None]
    ) -> AsyncIterator[Store]:
        """Yield a store of this code over it."""
        empty_postgres_tables(next_schema)
        async with PostgresStore(postgres, schema=next_schema) as store:
            yield store


async def test_old_code_goes_on_while_new_code_changes_the_schema_beneath_it(
    postgres: str, postgres_schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its prepared statements too; nothing is lost, and what either writes the other reads."""
    async with a_store_of(TODAY, postgres, postgres_schema, monkeypatch) as old:
        await old.commit(replace(FIRST, key_checks={}))
        before = await picture(old)
        for _ in range(12):  # until everything is prepared on the connection
            assert await picture(old) == before
        async with a_store_of(NEXT, postgres, postgres_schema, monkeypatch) as new:
            assert await picture(new) == before
            assert await picture(old) == before
            await old.commit(writing(a_request("req_old")))
            await new.commit(writing(a_request("req_new"), a_run("run_new")))
            assert await picture(old) == await picture(new)
            assert (await old.request("req_new")).request_id == "req_new"
    await go_all_the_way(postgres, postgres_schema, amount=1)


async def test_new_code_works_on_the_old_schema_where_it_may_not_change_it(
    postgres: str,
    postgres_schema: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It says so; once the owner has opened the store it is silent."""
    async with a_store_of(TODAY, postgres, postgres_schema, monkeypatch):
        pass
    with a_role(postgres, postgres_schema) as worker:
        async with a_store_of(NEXT, worker, postgres_schema, monkeypatch) as new:
            await new.commit(FIRST)
            await picture(new)
        [said] = [one.message for one in caplog.records if one.levelno == logging.WARNING]
        assert "has schema version 1, and this role may not bring it to 2" in said
        assert "open the store once as the owner" in said
        monkeypatch.setattr(migrating, "NEEDED", 2)
        with pytest.raises(StoreUnavailableError, match="what to grant"):
            async with a_store_of(NEXT, worker, postgres_schema, monkeypatch):
                pass


class a_role:  # noqa: N801 - reads as what it yields
    """Yield the address of a role that may read and write, and owns nothing."""

    def __init__(self, address: str, schema: str) -> None:
        self._address, self._schema, self._name = address, schema, f"{schema}_role"

    def __enter__(self) -> str:
        """Make it."""
        grants = "SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA"
        self._run(
            f"CREATE ROLE {self._name} LOGIN PASSWORD 'of a test'",
            f"GRANT USAGE ON SCHEMA {self._schema} TO {self._name}",
            f"GRANT {grants} {self._schema} TO {self._name}",
        )
        parts = urlsplit(self._address)
        place = f"{self._name}:of%20a%20test@{parts.hostname}:{parts.port or 5432}"
        return parts._replace(netloc=place).geturl()

    def __exit__(self, *error: object) -> None:
        """Drop it."""
        self._run(f"DROP OWNED BY {self._name}", f"DROP ROLE {self._name}")

    def _run(self, *statements: str) -> None:
        with psycopg.connect(self._address, autocommit=True) as session:
            for statement in statements:
                session.execute(statement.encode())


async def test_a_schema_that_needs_a_newer_reader_is_refused_untouched(
    postgres: str, postgres_schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A migration that takes something away says so, and older code then refuses to open it."""
    contracted = (*NEXT, "-- reader: 2\nALTER TABLE {schema}.runs DROP COLUMN parent_run_id;")
    async with a_store_of(contracted, postgres, postgres_schema, monkeypatch):
        pass
    before = content(postgres, postgres_schema)

    with pytest.raises(SchemaError, match="schema version 3, and this Signoff knows up to 1"):
        await PostgresStore(postgres, schema=postgres_schema).__aenter__()
    assert content(postgres, postgres_schema) == before
    async with a_store_of(NEXT, postgres, postgres_schema, monkeypatch):
        pass


def content(address: str, schema: str) -> list[tuple[Any, ...]]:
    """Return all that a schema holds."""
    with psycopg.connect(address) as session:
        return session.execute(
            "SELECT relname, relkind, xmin::text FROM pg_class"
            " WHERE relnamespace = to_regnamespace(%s) ORDER BY relname",
            (schema,),
        ).fetchall()


async def test_a_schema_of_before_migrations_said_who_may_read_is_brought_up_to_date(
    postgres: str, postgres_schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its book of migrations gets the column, whose absence means that only this version reads it."""
    async with a_store_of(TODAY, postgres, postgres_schema, monkeypatch):
        pass
    with psycopg.connect(postgres, autocommit=True) as session:
        book = f"{postgres_schema}.signoff_migrations"
        session.execute(f"ALTER TABLE {book} DROP COLUMN reader".encode())
        async with a_store_of(TODAY, postgres, postgres_schema, monkeypatch):
            pass
        async with a_store_of(NEXT, postgres, postgres_schema, monkeypatch):
            pass
        rows = session.execute(f"SELECT version, reader FROM {book} ORDER BY 1".encode())  # noqa: S608 - a name of ours
        assert rows.fetchall() == [(1, None), (2, 1)]
    await go_all_the_way(postgres, postgres_schema, amount=2)


@pytest.mark.parametrize("number", range(1, len(TODAY) + 1))
def test_each_migration_says_from_which_version_on_code_may_work_on_it(number: int) -> None:
    """At most from its own; a script that forgets to say so cannot be applied."""
    assert 1 <= migrating.oldest_reader(TODAY[number - 1]) <= number
