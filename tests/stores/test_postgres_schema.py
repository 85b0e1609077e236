"""How the schema of a PostgresStore comes about, and what it keeps out."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import psycopg
import pytest

from signoff.errors import (
    ConfigurationError,
    SchemaError,
    SealInvalidError,
    StaleWriteError,
    StoreUnavailableError,
)
from signoff.model.changes import Changes
from signoff.stores import postgres_schema as migrating
from signoff.stores.postgres import PostgresStore
from signoff.testing.builders import (
    HOUR,
    MICROSECOND,
    NOON,
    a_delivery,
    a_request,
    a_run,
    a_token,
    an_entry,
    an_occurrence,
    writing,
)
from signoff.testing.store_contract.examples import FIRST, picture

GUIDE = Path(__file__).parents[2] / "docs" / "howto" / "several-machines.md"

OPENING = """
import sys
import anyio
from signoff.model.changes import Changes
from signoff.stores.postgres import PostgresStore

async def open_it(address, schema, name):
    sys.stdin.readline()
    async with PostgresStore(address, schema=schema) as store:
        await store.commit(Changes(handled=(name,)))

anyio.run(open_it, *sys.argv[1:])
"""


@pytest.fixture
def anyio_backend() -> str:
    """What is in the schema does not depend on the loop: one will do."""
    return "asyncio"


@pytest.fixture(name="sql")
def _sql(postgres: str, postgres_schema: str) -> Iterator[psycopg.Connection]:
    """Yield a session of another program, whose names are those of the store's schema."""
    with psycopg.connect(postgres, autocommit=True) as session:
        session.execute(f"SET search_path = {postgres_schema}, pg_catalog".encode())
        yield session


def content(sql: psycopg.Connection, schema: str) -> list[tuple[Any, ...]]:
    """Return all that a schema holds."""
    return (
        sql.execute(
            "SELECT relname, relkind, xmin::text FROM pg_class"
            " WHERE relnamespace = to_regnamespace(%s) ORDER BY relname",
            (schema,),
        ).fetchall()
        + sql.execute("SELECT nspname FROM pg_namespace ORDER BY 1").fetchall()
    )


@pytest.mark.timeout(120)
def test_four_processes_that_start_at_once_make_one_schema(
    postgres: str, postgres_schema: str, sql: psycopg.Connection
) -> None:
    """One makes it and the others wait; each goes on with what it has to do."""
    command = [sys.executable, "-c", OPENING, postgres, postgres_schema]
    children = [
        subprocess.Popen([*command, f"{number}"], stdin=subprocess.PIPE) for number in range(4)
    ]
    for child in children:
        child.communicate(b"go\n", timeout=100)

    assert [child.returncode for child in children] == [0, 0, 0, 0]
    assert sql.execute("SELECT count(*) FROM handled").fetchone() == (4,)
    assert sql.execute("SELECT version FROM signoff_migrations").fetchall() == [(1,)]


async def test_a_newer_schema_is_refused_and_left_as_it_is(
    postgres: str, postgres_schema: str, sql: psycopg.Connection
) -> None:
    """An older process must not write what it does not understand."""
    async with PostgresStore(postgres, schema=postgres_schema):
        pass
    sql.execute("INSERT INTO signoff_migrations (version) VALUES (2)")
    before = content(sql, postgres_schema)

    with pytest.raises(SchemaError, match="schema version 2, and this Signoff knows up to 1"):
        await PostgresStore(postgres, schema=postgres_schema).__aenter__()

    assert content(sql, postgres_schema) == before


async def test_a_schema_of_another_program_is_refused_and_left_as_it_is(
    postgres: str, postgres_schema: str, sql: psycopg.Connection
) -> None:
    """One that is empty is taken: somebody with the right to has made it for us."""
    sql.execute(f"CREATE SCHEMA {postgres_schema}".encode())
    sql.execute("CREATE TABLE theirs (n int)")
    before = content(sql, postgres_schema)
    with pytest.raises(SchemaError, match="tables of another program"):
        await PostgresStore(postgres, schema=postgres_schema).__aenter__()
    assert content(sql, postgres_schema) == before

    sql.execute("DROP TABLE theirs")
    async with PostgresStore(postgres, schema=postgres_schema) as store:
        assert not await store.was_handled("imap:1")


async def test_what_is_missing_is_made_in_one_transaction(
    postgres: str,
    postgres_schema: str,
    sql: psycopg.Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A migration that fails leaves the schema as it was; one that does not keeps all that is there."""
    first = migrating.migrations()
    async with PostgresStore(postgres, schema=postgres_schema) as store:
        await store.commit(FIRST)
        before = await picture(store)
    ours = content(sql, postgres_schema)
    good = "-- reader: 1\nCREATE TABLE {schema}.more (n int);"

    monkeypatch.setattr(migrating, "migrations", lambda: (*first, good, "SELECT 1/0"))
    with pytest.raises(StoreUnavailableError, match="division by zero"):
        await PostgresStore(postgres, schema=postgres_schema).__aenter__()
    assert content(sql, postgres_schema) == ours

    monkeypatch.setattr(migrating, "migrations", lambda: (*first, good))
    async with PostgresStore(postgres, schema=postgres_schema) as store:
        assert await picture(store) == before
    assert sql.execute("SELECT max(version) FROM signoff_migrations").fetchone() == (2,)
    assert sql.execute("SELECT count(*) FROM more").fetchone() == (0,)


def with_options(address: str, **settings: str) -> str:
    """Return an address whose sessions have these settings."""
    options = " ".join(f"-c {name}={value}" for name, value in settings.items())
    return f"{address}?options={quote(options)}"


async def test_an_isolation_that_sees_the_past_is_refused(
    postgres: str, postgres_schema: str
) -> None:
    """The checks of a commit must see what was committed while it waited."""
    address = with_options(postgres, default_transaction_isolation="serializable")
    with pytest.raises(ConfigurationError, match="'serializable'.*'read committed'"):
        await PostgresStore(address, schema=postgres_schema).__aenter__()


async def test_a_database_that_cannot_keep_every_text_is_refused(
    postgres: str, postgres_schema: str, sql: psycopg.Connection
) -> None:
    """Its encoding is something else than UTF-8."""
    name = f"{postgres_schema}_ascii"
    sql.execute(f"CREATE DATABASE {name} ENCODING SQL_ASCII LOCALE 'C' TEMPLATE template0".encode())
    try:
        address = urlsplit(postgres)._replace(path=f"/{name}").geturl()
        with pytest.raises(ConfigurationError, match="SQL_ASCII"):
            await PostgresStore(address).__aenter__()
    finally:
        sql.execute(f"DROP DATABASE {name}".encode())


@pytest.mark.parametrize(
    ("pretence", "error", "said"),
    [
        (
            "FUNCTION pg_is_in_recovery() RETURNS boolean LANGUAGE sql AS 'SELECT true'",
            StoreUnavailableError,
            "standby",
        ),
        (
            (
                "FUNCTION current_setting(text) RETURNS text LANGUAGE sql AS"
                " $$ SELECT CASE $1 WHEN 'server_version_num' THEN '120022'"
                " ELSE pg_catalog.current_setting($1) END $$"
            ),
            ConfigurationError,
            "13 or later",
        ),
    ],
)
async def test_a_server_that_will_not_do_is_refused(
    postgres: str,
    postgres_schema: str,
    sql: psycopg.Connection,
    pretence: str,
    error: type[Exception],
    said: str,
) -> None:
    """A standby, or one that is too old."""
    sql.execute(f"CREATE SCHEMA {postgres_schema}".encode())
    sql.execute(f"CREATE {pretence}".encode())
    address = with_options(postgres, search_path=f"{postgres_schema},pg_catalog")

    with pytest.raises(error, match=said):
        await PostgresStore(address, schema=f"{postgres_schema}_2").__aenter__()


async def test_the_server_says_what_time_it_is_to_the_microsecond(
    postgres: str, postgres_schema: str, sql: psycopg.Connection
) -> None:
    """`now` may be the very instant of the commit, `until` may not."""
    async with PostgresStore(postgres, schema=postgres_schema) as store:
        sql.execute(
            f"CREATE OR REPLACE FUNCTION business_now() RETURNS timestamptz LANGUAGE sql AS"
            f" $$ SELECT '{NOON.isoformat()}'::timestamptz $$".encode()
        )
        assert await store.now() == NOON

        await store.commit(Changes(handled=("1",), now=NOON, until=NOON + MICROSECOND))
        for record_id, changes in (
            ("now", Changes(now=NOON + MICROSECOND)),
            ("until", Changes(until=NOON)),
        ):
            with pytest.raises(StaleWriteError, match="the clock stands at") as caught:
                await store.commit(changes)
            assert caught.value.record_id == record_id


async def test_a_commit_waits_before_it_looks_at_the_time(
    postgres: str, postgres_schema: str, sql: psycopg.Connection
) -> None:
    """What it waited for may have taken longer than there was time: the clock is read at the end."""
    async with PostgresStore(postgres, schema=postgres_schema) as store:
        until = await store.now() + HOUR
        sql.execute(
            "CREATE OR REPLACE FUNCTION business_now() RETURNS timestamptz LANGUAGE sql AS $$"  # noqa: S608 - names of ours
            " SELECT clock_timestamp() + interval '1 day'"
            f" * (SELECT count(*) FROM {postgres_schema}.handled) $$".encode()
        )
        with pytest.raises(StaleWriteError, match="not before"):
            await store.commit(Changes(handled=("imap:1",), until=until))


async def test_no_audit_entry_is_changed_or_deleted(
    postgres: str, postgres_schema: str, sql: psycopg.Connection
) -> None:
    """Not even by the owner of the tables, as long as the trigger stands."""
    async with PostgresStore(postgres, schema=postgres_schema) as store:
        await store.commit(Changes(audit=(an_entry(personal={"actor": "Ann"}),)))
        for statement in ("UPDATE audit SET seq = 2", "DELETE FROM audit", "TRUNCATE audit"):
            with pytest.raises(psycopg.errors.RaiseException, match="never changed"):
                sql.execute(statement.encode())

        sql.execute("DELETE FROM audit_personal")
        (entry,) = await store.audit("request:req_1")
        assert dict(entry.personal) == {}


def as_role(address: str, role: str, sql: psycopg.Connection) -> str:
    """Return the address by which a role comes in."""
    sql.execute(f"ALTER ROLE {role} PASSWORD 'of a test'".encode())
    parts = urlsplit(address)
    return parts._replace(
        netloc=f"{role}:of%20a%20test@{parts.hostname}:{parts.port or 5432}"
    ).geturl()


@pytest.fixture(name="worker_address")
def _worker_address(postgres: str, sql: psycopg.Connection, postgres_schema: str) -> Iterator[str]:
    """Yield the address of a role with no more rights than the guide gives it, over a schema that is made."""
    role = f"{postgres_schema}_worker"
    (grants,) = re.findall(r"```sql\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    grants = re.sub(r"\bsignoff_worker\b", role, grants)
    grants = re.sub(r"\bsignoff\b(?!_)", postgres_schema, grants)
    sql.execute(grants.encode())
    yield as_role(postgres, role, sql)
    sql.execute(f"DROP OWNED BY {role}; DROP ROLE {role}".encode())


async def test_the_role_of_a_worker_needs_only_what_the_guide_grants(
    postgres: str, postgres_schema: str, request: pytest.FixtureRequest
) -> None:
    """It does all that a store does, but makes no tables and changes no audit entry."""
    async with PostgresStore(postgres, schema=postgres_schema):
        pass
    address: str = request.getfixturevalue("worker_address")
    async with PostgresStore(address, schema=postgres_schema) as store:
        await store.commit(FIRST)
        await store.commit(writing(a_request(version=2, assignees=("ann@acme.example",))))
        assert (await picture(store))["counts"] == [{"ready": 2}, {"pending": 1}, {"waiting": 1}]
        await store.audit("request:req_1")
        with psycopg.connect(address, autocommit=True) as session:
            session.execute(f"SELECT {postgres_schema}.forget_commits()".encode())
            for statement in (
                "UPDATE {}.audit SET seq = 2",
                "DELETE FROM {}.audit",
                "TRUNCATE {}.audit",
                "ALTER TABLE {}.audit DISABLE TRIGGER ALL",
                "DELETE FROM {}.audit_personal",
                "DELETE FROM {}.requests",
                "UPDATE {}.key_checks SET kid = 9",
                "CREATE TABLE {}.mine (n int)",
                "DROP TABLE {}.audit",
            ):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    session.execute(statement.format(postgres_schema).encode())


async def test_a_role_without_rights_is_told_where_they_are_listed(
    postgres: str, postgres_schema: str, sql: psycopg.Connection
) -> None:
    """It cannot make the schema."""
    role = f"{postgres_schema}_nobody"
    sql.execute(f"CREATE ROLE {role} LOGIN".encode())
    try:
        address = as_role(postgres, role, sql)
        with pytest.raises(StoreUnavailableError, match="what to grant"):
            await PostgresStore(address, schema=postgres_schema).__aenter__()
    finally:
        sql.execute(f"DROP ROLE {role}".encode())


@pytest.mark.parametrize(
    ("change", "field", "read"),
    [
        ("requests SET status = 'approved'", "status", lambda store: store.request("req_1")),
        ("requests SET assignees = '[]'", "assignees", lambda store: store.request("req_1")),
        ("requests SET expires_at = now()", "expires_at", lambda store: store.request("req_1")),
        ("tokens SET not_after = now()", "not_after", lambda store: store.tokens("req_1")),
        ("deliveries SET notifier = 'x'", "notifier", lambda store: store.delivery("dlv_1")),
    ],
)
async def test_a_column_that_was_changed_alone_is_noticed(
    postgres: str,
    postgres_schema: str,
    sql: psycopg.Connection,
    change: str,
    field: str,
    read: Callable[[PostgresStore], Awaitable[object]],
) -> None:
    """The bytes are the truth; whoever changes only a column changes nothing unnoticed."""
    async with PostgresStore(postgres, schema=postgres_schema) as store:
        await store.commit(writing(a_request(), a_token(), a_delivery()))
        sql.execute(f"UPDATE {change}".encode())

        with pytest.raises(SealInvalidError) as caught:
            await read(store)
        assert caught.value.field == field


async def test_a_column_of_a_checkpoint_that_was_changed_is_reported(
    postgres: str, postgres_schema: str, sql: psycopg.Connection
) -> None:
    """With the record, so that its run can be blocked."""
    async with PostgresStore(postgres, schema=postgres_schema) as store:
        await store.commit(writing(a_run(), an_occurrence()))
        sql.execute("UPDATE runs SET updated_at = updated_at + interval '1 microsecond'")
        sql.execute("UPDATE occurrences SET seq = 7")

        assert (await store.run("run_1")).contradicts == "updated_at"
        (row,) = await store.journal("run_1")
        assert row.contradicts == "seq"
