"""The engine on many machines: jobs that commit with their change, workers that die, servers that go."""

from __future__ import annotations

import importlib
import re
import sys
import threading
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final, cast

import anyio
import psycopg
import pytest
from anyio.lowlevel import checkpoint
from psycopg import sql
from psycopg.conninfo import make_conninfo
from typing_extensions import override

from signoff import Client
from signoff.engines.procrastinate import ProcrastinateEngine
from signoff.errors import ConfigurationError, StaleWriteError, StoreUnavailableError
from signoff.model.changes import Acquire, Changes, Task
from signoff.stores import MemoryStore
from signoff.stores.postgres import PostgresStore
from signoff.testing.engine_contract import Work, a_task

PATIENCE: Final = timedelta(seconds=40)
NEVER: Final = 3600.0
"""Seconds between two sweeps where a test is about none."""


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """Procrastinate is asyncio-only."""
    return "asyncio"


class Books:
    """The tables of a schema of jobs, as another program sees them."""

    def __init__(self, address: str, schema: str) -> None:
        self._connection = psycopg.connect(
            address, autocommit=True, options=f"-csearch_path={schema}"
        )

    def all(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Run a statement and return its rows."""
        cursor = self._connection.execute(query.encode(), values)
        return cursor.fetchall() if cursor.description else []

    def jobs(self) -> list[tuple[Any, ...]]:
        """Return the jobs: their status, their lock, what keeps others out, and what they are for."""
        return self.all(
            "SELECT status::text, lock, queueing_lock, args->>'subject'"
            " FROM procrastinate_jobs ORDER BY id"
        )

    def subjects(self) -> list[str]:
        """Return what the jobs are for."""
        return [job[3] for job in self.jobs()]

    def close(self) -> None:
        """Let go of the connection."""
        self._connection.close()


@pytest.fixture(name="jobs_schema")
def _jobs_schema(postgres: str, postgres_schema: str) -> Iterator[str]:
    """Yield the name of the schema of jobs beside a store's; it is dropped."""
    yield f"{postgres_schema}_jobs"
    with psycopg.connect(postgres, autocommit=True) as connection:
        name = sql.Identifier(f"{postgres_schema}_jobs")
        connection.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(name))


@pytest.fixture(name="books")
def _books(postgres: str, jobs_schema: str) -> Iterator[Books]:
    """Yield the books of the jobs beside a store's schema."""
    books = Books(postgres, jobs_schema)
    yield books
    books.close()


@pytest.fixture(name="engine")
def _engine() -> ProcrastinateEngine:
    """Return an engine in the database of the store that it meets."""
    return ProcrastinateEngine()


@pytest.fixture(name="store")
async def _store(
    postgres: str, postgres_schema: str, engine: ProcrastinateEngine, jobs_schema: str
) -> AsyncGenerator[PostgresStore]:
    """Yield an open store that hands its tasks to the engine."""
    store = PostgresStore(postgres, schema=postgres_schema)
    async with store:
        store.hand_tasks_to(engine)
        yield store


@asynccontextmanager
async def serving(engine: ProcrastinateEngine, work: Work) -> AsyncGenerator[None]:
    """Let an engine serve in the block, from its first sweep on."""

    async def serve() -> None:
        await engine.serve(work.handle, sweep=work.sweep, every_seconds=NEVER)

    began = work.sweeps
    async with anyio.create_task_group() as group:
        group.start_soon(serve)
        await work.until(lambda: work.sweeps > began, PATIENCE)
        yield
        group.cancel_scope.cancel()


async def until(so: Callable[[], bool]) -> None:
    """Look again and again until that is so."""
    with anyio.fail_after(PATIENCE.total_seconds()):
        while not so():
            await checkpoint()


def acquire(subject: str, *, fencing: int = 1) -> Acquire:
    """Return the change that takes a claim."""
    return Acquire(subject=subject, holder="me", fencing=fencing, lease=timedelta(seconds=30))


# Jobs that come with their change.


async def test_the_tasks_of_a_commit_become_jobs_in_it(store: PostgresStore, books: Books) -> None:
    """One for each task, with what serialises the jobs of one run and what keeps out a second one."""
    await store.commit(Changes(tasks=(a_task("run_1"), a_task("dlv_1", kind="deliver"))))

    assert books.jobs() == [
        ("todo", "run_1", "advance:run_1", "run_1"),
        ("todo", "dlv_1", "deliver:dlv_1", "dlv_1"),
    ]


async def test_a_commit_that_is_refused_leaves_no_job(store: PostgresStore, books: Books) -> None:
    """The job is part of the transaction, and goes with it."""
    await store.commit(Changes(tasks=(a_task("run_0"),)))
    with pytest.raises(StaleWriteError):
        await store.commit(Changes(claims=(acquire("run_1", fencing=7),), tasks=(a_task("run_1"),)))

    assert books.subjects() == ["run_0"]
    assert await store.claim("run_1") is None


async def test_what_waits_already_is_no_error_and_keeps_nobody_out(
    store: PostgresStore, books: Books
) -> None:
    """The commit stands, the job that waits stays, and the others of the commit are made."""
    await store.commit(Changes(tasks=(a_task("run_2"),)))
    await store.commit(
        Changes(
            claims=(acquire("run_1"),),
            tasks=(a_task("run_1"), a_task("run_2"), a_task("run_3"), a_task("run_3")),
        )
    )
    await store.commit(Changes(claims=(acquire("run_4"),), tasks=(a_task("run_2"),)))

    assert books.subjects() == ["run_2", "run_1", "run_3"]
    assert await store.claim("run_1") is not None
    assert await store.claim("run_4") is not None


async def test_what_is_for_later_waits_for_its_time_and_holds_nobody_up(
    store: PostgresStore, engine: ProcrastinateEngine, books: Books
) -> None:
    """It has a time and no lock, so that the same can be done now as well."""
    later = a_task("dlv_1", kind="deliver", later=True)
    await store.commit(Changes(tasks=(later,)))
    await store.commit(Changes(tasks=(a_task("dlv_1", kind="deliver"),)))
    work = Work()
    async with serving(engine, work):
        await work.until(lambda: work.subjects() == ["dlv_1"], PATIENCE)

    assert books.jobs() == [("todo", None, "deliver:dlv_1:later", "dlv_1")]
    assert books.all("SELECT scheduled_at FROM procrastinate_jobs") == [(later.not_before,)]


async def test_jobs_of_a_commit_are_done_and_leave_nothing(
    store: PostgresStore, engine: ProcrastinateEngine, books: Books
) -> None:
    """Those that were there before it serves, and those that come then."""
    await store.commit(Changes(tasks=(a_task("run_1"),)))
    work = Work()
    async with serving(engine, work):
        await work.until(lambda: "run_1" in work.subjects(), PATIENCE)
        await store.commit(Changes(tasks=(a_task("dlv_2", kind="deliver"),)))
        await work.until(lambda: len(work.ended) == 2, PATIENCE)
        await until(lambda: books.jobs() == [])

    assert work.ended == [a_task("run_1"), a_task("dlv_2", kind="deliver")]
    assert books.all("SELECT * FROM procrastinate_workers") == []


async def test_a_database_that_refuses_jobs_does_not_refuse_the_commit(
    store: PostgresStore, books: Books, caplog: pytest.LogCaptureFixture
) -> None:
    """It is made without them; a sweep finds what was lost."""
    await store.commit(Changes(tasks=(a_task("run_0"),)))
    books.all("ALTER TABLE procrastinate_jobs RENAME TO gone")
    await store.commit(Changes(claims=(acquire("run_1"),), tasks=(a_task("run_1"),)))

    assert await store.claim("run_1") is not None
    assert "1 tasks get no jobs; a sweep finds them" in caplog.text


async def test_a_connection_that_is_lost_over_the_jobs_is_no_end_of_the_commit(
    store: PostgresStore, books: Books
) -> None:
    """It is sent again, and made once, with its job."""
    await store.commit(Changes(tasks=(a_task("run_0"),)))
    books.all("CREATE SEQUENCE times")
    books.all(
        "CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " IF nextval('times') = 1 THEN PERFORM pg_terminate_backend(pg_backend_pid()); END IF;"
        " RETURN NEW; END $$"
    )
    books.all(
        "CREATE TRIGGER die BEFORE INSERT ON procrastinate_jobs FOR EACH ROW EXECUTE FUNCTION die()"
    )
    await store.commit(Changes(claims=(acquire("run_1"),), tasks=(a_task("run_1"),)))

    claim = await store.claim("run_1")
    assert claim is not None
    assert claim.fencing == 1
    assert books.subjects() == ["run_0", "run_1"]


# Where the jobs are.


async def test_processes_that_open_it_at_once_make_its_tables_once(
    postgres: str, jobs_schema: str, books: Books, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever comes second waits, and finds them; so does who comes much later."""
    engines = [ProcrastinateEngine(postgres, schema=jobs_schema) for _ in range(3)]
    found: list[bool] = []

    def ask(engine: ProcrastinateEngine) -> None:
        with psycopg.connect(postgres) as connection:
            found.append(engine.is_within(connection))

    threads = [threading.Thread(target=ask, args=(engine,)) for engine in engines]
    books.all("BEGIN")
    books.all(
        "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", f"signoff jobs {jobs_schema}"
    )
    for thread in threads:
        thread.start()
    waiting = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    await until(lambda: len(books.all(waiting)) == len(threads))
    books.all("COMMIT")
    for thread in threads:
        await anyio.to_thread.run_sync(thread.join)
    ask(ProcrastinateEngine(postgres, schema=jobs_schema))

    assert found == [True] * 4
    assert caplog.text == ""
    assert books.jobs() == []


async def test_tables_of_an_older_procrastinate_are_brought_up_to_date(
    postgres: str, jobs_schema: str, books: Books
) -> None:
    """By what it brings along, from where the note on the schema says that they are."""
    comment = f"SELECT obj_description('{jobs_schema}'::regnamespace, 'pg_namespace')"
    with psycopg.connect(postgres, autocommit=True) as session:
        assert ProcrastinateEngine(postgres, schema=jobs_schema).is_within(session)
        [(newest,)] = books.all(comment)
        books.all(f"COMMENT ON SCHEMA {jobs_schema} IS '03.04.00_49'")
        books.all(
            "DROP TRIGGER procrastinate_trigger_status_events_update_v1 ON procrastinate_jobs"
        )
        assert ProcrastinateEngine(postgres, schema=jobs_schema).is_within(session)

    trigger = (
        "SELECT 1 FROM pg_trigger WHERE tgrelid = 'procrastinate_jobs'::regclass AND tgname = %s"
    )
    assert books.all(trigger, "procrastinate_trigger_status_events_update_v1") == [(1,)]
    assert books.all(comment) == [(newest,)]
    assert newest >= "03.04.00_50"


async def test_tables_that_somebody_else_has_made_are_left_as_they_are(
    postgres: str, jobs_schema: str, books: Books
) -> None:
    """They have no note; whoever made them sees to them."""
    with psycopg.connect(postgres, autocommit=True) as session:
        assert ProcrastinateEngine(postgres, schema=jobs_schema).is_within(session)
        books.all(f"COMMENT ON SCHEMA {jobs_schema} IS NULL")
        books.all(
            "DROP TRIGGER procrastinate_trigger_status_events_update_v1 ON procrastinate_jobs"
        )
        assert ProcrastinateEngine(postgres, schema=jobs_schema).is_within(session)

    trigger = (
        "SELECT 1 FROM pg_trigger WHERE tgrelid = 'procrastinate_jobs'::regclass AND tgname = %s"
    )
    assert books.all(trigger, "procrastinate_trigger_status_events_update_v1") == []


async def test_a_commit_that_stops_in_the_midst_is_given_up_by_the_server(
    postgres: str, postgres_schema: str, books: Books
) -> None:
    """So that a process that is frozen there keeps nobody from its rows for longer than that."""

    class Frozen(ProcrastinateEngine):
        """An engine that begins to write jobs, and goes on when its session is ended."""

        @override
        def submit_within(self, connection: object, tasks: Sequence[Task]) -> None:
            session = cast("psycopg.Connection[Any]", connection)
            there = "SELECT 1 FROM pg_stat_activity WHERE pid = %s"
            while books.all(there, session.info.backend_pid):
                pass
            super().submit_within(connection, tasks)

    frozen = PostgresStore(postgres, schema=postgres_schema, patience=timedelta(milliseconds=300))
    changes = Changes(claims=(acquire("run_1"),), tasks=(a_task("run_1"),))
    async with frozen, PostgresStore(postgres, schema=postgres_schema) as other:
        frozen.hand_tasks_to(Frozen())
        with pytest.raises(StoreUnavailableError):
            await frozen.commit(changes)
        assert books.jobs() == []
        await other.commit(changes)


async def test_an_address_of_the_same_database_is_known_for_it(
    postgres: str, postgres_schema: str, jobs_schema: str, books: Books
) -> None:
    """However it is spelled, as that of the server behind a pooler."""
    engine = ProcrastinateEngine(
        postgres.replace("127.0.0.1", "localhost") + "?options=-cstatement_timeout%3D60000"
    )
    async with PostgresStore(postgres, schema=postgres_schema) as store:
        store.hand_tasks_to(engine)
        store.hand_tasks_to(engine)
        await store.commit(Changes(tasks=(a_task("run_1"),)))

    assert books.subjects() == ["run_1"]


async def test_jobs_in_another_database_are_made_after_the_commit(
    postgres: str,
    postgres_schema: str,
    postgres_database: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """By the process that serves, and it is said."""
    engine = ProcrastinateEngine(postgres_database)
    work = Work()
    async with PostgresStore(postgres, schema=postgres_schema) as store:
        store.hand_tasks_to(engine)
        async with serving(engine, work):
            await store.commit(Changes(tasks=(a_task("run_1"),)))
            await store.commit(Changes(tasks=(a_task("run_2"),)))
            await work.until(lambda: len(work.ended) == 2, PATIENCE)

    assert caplog.text.count("the jobs are in another database than the store") == 1


async def test_jobs_that_cannot_be_reached_do_not_keep_the_store_from_working(
    postgres: str, postgres_schema: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The commit is made, and it is said that its tasks get no jobs; serving says why."""
    engine = ProcrastinateEngine("postgresql://nobody@127.0.0.1:1/nowhere")
    async with PostgresStore(postgres, schema=postgres_schema) as store:
        store.hand_tasks_to(engine)
        await store.commit(Changes(claims=(acquire("run_1"),), tasks=(a_task("run_1"),)))
        assert await store.claim("run_1") is not None
        with pytest.raises(StoreUnavailableError, match="cannot be used .OperationalError"):
            await engine.serve(Work().handle, sweep=Work().sweep, every_seconds=NEVER)

    assert "a commit's tasks get no jobs; a sweep finds them" in caplog.text


async def test_a_role_that_may_not_make_the_tables_is_told_so(
    postgres: str, jobs_schema: str
) -> None:
    """With the name of the schema, and what to do."""
    with psycopg.connect(postgres, autocommit=True) as session:
        session.execute("CREATE ROLE engine_lodger LOGIN PASSWORD 'secret'")
        lodger = make_conninfo(postgres, user="engine_lodger", password="secret")
        engine = ProcrastinateEngine(lodger, schema=jobs_schema)
        try:
            with pytest.raises(ConfigurationError, match=f"may not make the schema {jobs_schema}"):
                await engine.serve(Work().handle, sweep=Work().sweep, every_seconds=NEVER)
        finally:
            session.execute("DROP ROLE engine_lodger")


async def test_a_role_with_what_the_docs_grant_can_work(
    postgres: str, jobs_schema: str, books: Books
) -> None:
    """Once an owner has made the tables: put jobs in, take them, end them."""
    owners = ProcrastinateEngine(postgres, schema=jobs_schema)
    text = (Path(__file__).parents[2] / "docs" / "reference" / "engines.md").read_text()
    [grants] = re.findall(r"```sql\n(.*?)```", text, flags=re.DOTALL)
    with psycopg.connect(postgres, autocommit=True) as session:
        assert owners.is_within(session)
        session.execute("CREATE ROLE engine_worker LOGIN PASSWORD 'secret'")
        try:
            session.execute(
                grants.replace("signoff_jobs", jobs_schema)
                .replace("signoff_worker", "engine_worker")
                .encode()
            )
            address = make_conninfo(postgres, user="engine_worker", password="secret")
            engine = ProcrastinateEngine(address, schema=jobs_schema)
            work = Work()
            async with serving(engine, work):
                engine.submit([a_task("run_1")])
                await work.until(lambda: work.subjects() == ["run_1"], PATIENCE)
                await until(lambda: books.jobs() == [])
        finally:
            session.execute("DROP OWNED BY engine_worker")
            session.execute("DROP ROLE engine_worker")


async def test_an_engine_needs_to_know_its_database() -> None:
    """Without an address it is the store's, if that is a PostgreSQL."""
    async with Client(MemoryStore(), engine=ProcrastinateEngine()) as client:
        with pytest.raises(ConfigurationError, match="lives in the database of the client's"):
            async with client.serving():
                await anyio.sleep_forever()


def test_an_address_or_name_that_will_not_do_is_refused() -> None:
    """At once, and without showing a password."""
    with pytest.raises(ConfigurationError, match="cannot be understood") as refused:
        ProcrastinateEngine("secret nonsense")
    assert "secret" not in str(refused.value)
    with pytest.raises(ConfigurationError, match="cannot be called 'My Jobs'"):
        ProcrastinateEngine(schema="My Jobs")
    with pytest.raises(ConfigurationError, match="has too long a name"):
        ProcrastinateEngine().meet("dbname=a", "s" * 60)
    ProcrastinateEngine(schema="short").meet("dbname=a", "s" * 60)


def test_an_engine_belongs_to_one_store() -> None:
    """The jobs of two would be in one place."""
    engine = ProcrastinateEngine()
    engine.meet("dbname=a", "signoff")
    engine.meet("dbname=a", "signoff")
    with pytest.raises(ConfigurationError, match="belongs to another store already"):
        engine.meet("dbname=b", "signoff")


# Workers.


async def test_the_jobs_of_a_dead_worker_are_put_back(
    store: PostgresStore, engine: ProcrastinateEngine, books: Books
) -> None:
    """Those that no worker has, too, and one whose task has a new job is dropped."""
    await store.commit(Changes(tasks=(a_task("run_1"), a_task("run_2"))))
    take_all(books)
    await store.commit(Changes(tasks=(a_task("run_2"), a_task("run_3"))))
    work = Work()
    async with serving(engine, work):
        await work.until(lambda: len(work.ended) >= 3, PATIENCE)
        await until(lambda: books.jobs() == [])

    assert sorted(work.subjects()) == ["run_1", "run_2", "run_3"]


def take_all(books: Books) -> None:
    """Be a worker that takes all jobs, and has given its last sign of life long ago."""
    [(worker,)] = books.all("SELECT procrastinate_register_worker_v1()")
    books.all("UPDATE procrastinate_jobs SET status = 'doing', worker_id = %s", worker)
    books.all(
        "UPDATE procrastinate_workers SET last_heartbeat = now() - interval '1 hour' WHERE id = %s",
        worker,
    )


async def test_a_job_that_its_worker_has_by_the_books_only_is_put_back(
    store: PostgresStore, books: Books
) -> None:
    """Its end was not stored, and its worker lives on; nobody else would take it for lost."""
    engine = ProcrastinateEngine(dead_after=timedelta(seconds=2))
    store.hand_tasks_to(engine)
    work = Work()
    work.hold("run_long")
    async with serving(engine, work):
        await store.commit(Changes(tasks=(a_task("run_long"),)))
        await work.until(lambda: "run_long" in work.subjects(), PATIENCE)
        books.all(
            "INSERT INTO procrastinate_jobs"
            " (queue_name, task_name, lock, queueing_lock, args, status, worker_id)"
            " SELECT queue_name, task_name, 'run_1', 'advance:run_1',"
            """ '{"kind": "advance", "subject": "run_1"}', 'doing', worker_id"""
            " FROM procrastinate_jobs"
        )
        await work.until(lambda: "run_1" in work.subjects(), PATIENCE)
        assert work.subjects() == ["run_long", "run_1"]
        work.let_go()
        await until(lambda: books.jobs() == [])


async def test_a_job_whose_end_cannot_be_written_disturbs_nobody(
    store: PostgresStore,
    engine: ProcrastinateEngine,
    books: Books,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """As where another worker took this one for dead, and has put the job back and done it."""
    work = Work()
    work.hold("run_1")
    async with serving(engine, work):
        await store.commit(Changes(tasks=(a_task("run_1"),)))
        await work.until(lambda: "run_1" in work.subjects(), PATIENCE)
        books.all("DELETE FROM procrastinate_jobs")
        work.let_go()
        await until(lambda: "is not in the books" in caplog.text)
        await store.commit(Changes(tasks=(a_task("run_2"),)))
        await work.until(lambda: len(work.ended) == 2, PATIENCE)
        await until(lambda: books.jobs() == [])


async def test_a_worker_that_loses_its_tables_is_followed_by_another(
    store: PostgresStore,
    engine: ProcrastinateEngine,
    books: Books,
    jobs_schema: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Whatever ends a worker; what is submitted meanwhile is lost, and said."""
    monkeypatch.setattr("signoff.engines.procrastinate_service.BEATS", 3000)
    work = Work()
    async with serving(engine, work):
        await store.commit(Changes(tasks=(a_task("run_1"),)))
        await until(lambda: len(work.ended) == 1 and books.jobs() == [])
        books.all(f"ALTER SCHEMA {jobs_schema} RENAME TO {jobs_schema}_away")
        engine.submit([a_task("run_lost")])
        await until(lambda: "of 1 tasks some get no job" in caplog.text)
        await until(lambda: "a worker has ended, the next one comes" in caplog.text)
        await until(lambda: "the jobs of dead workers wait" in caplog.text)
        books.all(f"ALTER SCHEMA {jobs_schema}_away RENAME TO {jobs_schema}")
        await store.commit(Changes(tasks=(a_task("run_2"),)))
        await work.until(lambda: len(work.ended) == 2, PATIENCE)


async def test_what_is_cut_off_when_serving_ends_is_handed_back(
    store: PostgresStore, engine: ProcrastinateEngine, books: Books
) -> None:
    """By a job for whoever serves next, whether a job or a sweep had brought it up."""
    await store.commit(Changes(tasks=(a_task("run_1"),)))
    work = Work()
    work.hold("run_1", "run_swept")
    work.lost = [a_task("run_swept")]
    async with serving(engine, work):
        await work.until(lambda: len(work.handled) == 2, PATIENCE)
    assert work.ended == []
    assert sorted(books.jobs()) == [
        ("todo", "run_1", "advance:run_1", "run_1"),
        ("todo", "run_swept", "advance:run_swept", "run_swept"),
    ]

    again = Work()
    async with serving(engine, again):
        await again.until(lambda: len(again.ended) == 2, PATIENCE)


async def test_a_worker_that_rests_leaves_to_others_what_it_has_not_begun(
    store: PostgresStore, engine: ProcrastinateEngine, books: Books
) -> None:
    """It goes on with what it is at, and takes nothing more from them."""
    other, work, others = ProcrastinateEngine(), Work(), Work()
    other.meet(store._server.address, store._server.schema)
    work.hold("run_1")
    engine.take_no_more(work.handle)
    async with serving(engine, work):
        await store.commit(Changes(tasks=(a_task("run_1"),)))
        await work.until(lambda: "run_1" in work.subjects(), PATIENCE)
        engine.take_no_more(work.handle)
        await until(lambda: books.all("SELECT * FROM procrastinate_workers") == [])
        await store.commit(Changes(tasks=(a_task("run_2"),)))
        async with serving(other, others):
            await others.until(lambda: "run_2" in others.subjects(), PATIENCE)
        work.let_go()
        await work.until(lambda: work.ended == [a_task("run_1")], PATIENCE)

    assert work.subjects() == ["run_1"]
    assert others.subjects() == ["run_2"]
    assert books.jobs() == []


async def test_what_ends_soon_after_serving_ends_is_not_cut_off(
    store: PostgresStore, engine: ProcrastinateEngine, books: Books
) -> None:
    """It has a second; here it notices that no more jobs are taken, and ends."""
    await store.commit(Changes(tasks=(a_task("run_1"),)))
    work = Work()
    work.hold("run_1")

    async def let_go_soon() -> None:
        with anyio.CancelScope(shield=True):
            await until(lambda: group.cancel_scope.cancel_called)
            work.let_go()

    async with anyio.create_task_group() as group:
        group.start_soon(let_go_soon)
        async with serving(engine, work):
            await work.until(lambda: "run_1" in work.subjects(), PATIENCE)
            group.cancel_scope.cancel()

    assert work.ended == [a_task("run_1")]
    assert books.jobs() == []


async def test_serving_ends_although_the_server_is_gone(
    store: PostgresStore,
    engine: ProcrastinateEngine,
    books: Books,
    jobs_schema: str,
) -> None:
    """What cannot be handed back is left to a sweep."""
    await store.commit(Changes(tasks=(a_task("run_1"),)))
    work = Work()
    work.hold("run_1")
    async with serving(engine, work):
        await work.until(lambda: "run_1" in work.subjects(), PATIENCE)
        books.all(f"ALTER SCHEMA {jobs_schema} RENAME TO {jobs_schema}_away")
    books.all(f"ALTER SCHEMA {jobs_schema}_away RENAME TO {jobs_schema}")
    assert work.ended == []


async def test_serving_takes_asyncio(postgres: str, jobs_schema: str) -> None:
    """On another loop it says what it takes."""
    engine = ProcrastinateEngine(postgres, schema=jobs_schema)

    async def serve() -> None:
        async with Client(MemoryStore(), engine=engine) as client, client.serving():
            await anyio.sleep_forever()

    with pytest.raises(ConfigurationError, match="serves on asyncio only"):
        await anyio.to_thread.run_sync(partial(anyio.run, serve, backend="trio"))


async def test_who_does_not_serve_may_run_on_trio(
    postgres: str, postgres_schema: str, books: Books
) -> None:
    """What it commits becomes jobs for workers on asyncio."""

    async def commit() -> None:
        store = PostgresStore(postgres, schema=postgres_schema)
        async with store:
            store.hand_tasks_to(ProcrastinateEngine())
            await store.commit(Changes(tasks=(a_task("run_1"),)))

    await anyio.to_thread.run_sync(partial(anyio.run, commit, backend="trio"))

    assert books.subjects() == ["run_1"]


def test_without_the_extra_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the import, with the command."""
    for name in [name for name in sys.modules if name.startswith("signoff.engines.procrastinate")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "procrastinate", None)

    with pytest.raises(ConfigurationError, match=r"pip install 'signoff\[distributed\]'"):
        importlib.import_module("signoff.engines.procrastinate")
