"""Where the jobs of a `ProcrastinateEngine` are, and how a task becomes one (floor 4)."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias, cast

import psycopg
from procrastinate import SyncPsycopgConnector
from procrastinate.exceptions import AlreadyEnqueued, ConnectorException
from procrastinate.jobs import Job
from procrastinate.manager import JobManager
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import tuple_row

from signoff.engines.procrastinate_schema import bring_up_to_date
from signoff.errors import ConfigurationError, StoreUnavailableError
from signoff.model.changes import Task

LOGGER: Final = logging.getLogger("signoff.engines.procrastinate")

QUEUE: Final = "signoff"
"""The queue that all jobs are in."""

TASK: Final = "signoff.do"
"""What Procrastinate knows all jobs by."""

DEFAULT_SCHEMA: Final = "signoff_jobs"
"""Where the jobs are when no store says so."""

_BESIDE: Final = "_jobs"
"""What the name of a store's schema is followed by."""

_NAME: Final = re.compile(r"(?!pg_)[a-z_][a-z0-9_]{0,62}")

_DEFAULTS: Final[Mapping[str, Any]] = {
    "application_name": "signoff",
    "connect_timeout": "5",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
}

_DATABASE: Final = (
    "SELECT system_identifier,"
    " (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database()) AS database"
    " FROM pg_catalog.pg_control_system()"
)
"""What tells a database from all others, by whatever address it is reached."""

_BEGIN: Final = 'SET LOCAL search_path = "{}"; SAVEPOINT signoff_jobs'
_UNDO: Final = "ROLLBACK TO SAVEPOINT signoff_jobs"

_AnyConnection: TypeAlias = "psycopg.Connection[Any]"


def job_of(task: Task) -> Job:
    """
    Return the job that does a task.

    Of one task there is at most one job that waits, and of one subject one that runs. What is
    for later stands aside: it keeps nobody from being done now.
    """
    later = task.not_before is not None
    key = f"{task.kind}:{task.subject}"
    return Job(
        queue=QUEUE,
        task_name=TASK,
        task_kwargs={"kind": task.kind, "subject": task.subject},
        lock=None if later else task.subject,
        queueing_lock=f"{key}:later" if later else key,
        scheduled_at=task.not_before,
    )


class Place:
    """
    The schema of a database that Procrastinate's tables are in.

    Args:
        address: Where the database is; `None` for the one of the store that it meets.
        schema: Which schema; `None` for the one beside the store's.

    Raises:
        ConfigurationError: One of them will not do.
    """

    def __init__(self, address: str | None, schema: str | None) -> None:
        if schema is not None and not _NAME.fullmatch(schema):
            raise ConfigurationError(
                f"the schema of the jobs cannot be called {schema!r}: lower-case letters, digits"
                " and underscores, 63 at the most, and not pg_ in front"
            )
        self._given = None if address is None else _completed(address)
        self._named = schema
        self._store: tuple[str, str] | None = None
        self._lock = threading.Lock()
        self._is_ready = False
        self._is_shared: bool | None = None
        self._manager = JobManager(SyncPsycopgConnector())

    def meet(self, address: str, schema: str) -> None:
        """Learn where the store is. Raises `ConfigurationError` for a second one."""
        met = (address, schema)
        if self._store not in {None, met}:
            raise ConfigurationError(
                "this ProcrastinateEngine belongs to another store already; make one for each"
            )
        if self._named is None and not _NAME.fullmatch(schema + _BESIDE):
            raise ConfigurationError(
                f"the schema {schema!r} has too long a name for one beside it:"
                " give ProcrastinateEngine(schema=...)"
            )
        self._store = met

    @property
    def schema(self) -> str:
        """The name of the schema."""
        if self._named is not None:
            return self._named
        return DEFAULT_SCHEMA if self._store is None else self._store[1] + _BESIDE

    @property
    def address(self) -> str:
        """How the database is reached, with names looked up in the schema of the jobs."""
        if self._given is None and self._store is None:
            raise ConfigurationError(
                "ProcrastinateEngine() lives in the database of the client's PostgresStore, and"
                " the client has another store; give it a PostgresStore, or the engine an address"
            )
        address = self._given or cast("tuple[str, str]", self._store)[0]
        options = conninfo_to_dict(address).get("options") or ""
        return make_conninfo(address, options=f'{options} -csearch_path="{self.schema}"'.strip())

    def prepare(self) -> None:
        """
        Make the schema and Procrastinate's tables in it, or bring them up to date; once.

        Raises:
            ConfigurationError: This role may not make them.
            StoreUnavailableError: The server cannot be reached, or failed.
        """
        with self._lock:
            if not self._is_ready:
                bring_up_to_date(self.address, self.schema)
                self._is_ready = True

    def is_shared_with(self, connection: object) -> bool:
        """Return whether the jobs are in the database that a connection leads to."""
        try:
            self.prepare()
            if self._is_shared is None:
                self._is_shared = self._given is None or self._is_same(connection)
        except (ConfigurationError, StoreUnavailableError, psycopg.Error):
            LOGGER.exception("a commit's tasks get no jobs; a sweep finds them")
            return False
        return self._is_shared

    def enqueue(self, connection: object, tasks: Sequence[Task]) -> None:
        """Write jobs in the transaction that is open on a connection."""
        session = cast("_AnyConnection", connection)
        by_key = {job.queueing_lock: job for job in map(job_of, tasks)}
        # In the order in which all commits wait for each other's.
        jobs = [by_key[key] for key in sorted(by_key, key=str)]
        if not self._inserted(session, jobs) and len(jobs) > 1:
            for job in jobs:
                self._inserted(session, [job])

    def _inserted(self, session: _AnyConnection, jobs: list[Job]) -> bool:
        """Insert jobs, or none of them where one is waiting already."""
        session.execute(_BEGIN.format(self.schema).encode())
        try:
            self._manager.batch_defer_jobs(jobs, connection=session)
        except AlreadyEnqueued:
            session.execute(_UNDO)
            return False
        except ConnectorException as error:
            if isinstance(error.__cause__, psycopg.OperationalError):
                raise error.__cause__ from None
            LOGGER.exception("%d tasks get no jobs; a sweep finds them", len(jobs))
            session.execute(_UNDO)
        return True

    def _is_same(self, connection: object) -> bool:
        theirs = cast("_AnyConnection", connection)
        with psycopg.connect(self.address, autocommit=True) as ours:
            is_same = _database(ours) == _database(theirs)
        if not is_same:
            LOGGER.warning(
                "the jobs are in another database than the store, so that a task comes into being"
                " after its commit, and only where this process serves"
            )
        return is_same


def _database(connection: _AnyConnection) -> tuple[object, ...]:
    with connection.cursor(row_factory=tuple_row) as cursor:
        return cursor.execute(_DATABASE).fetchall()[0]


def _completed(address: str) -> str:
    try:
        return make_conninfo("", **{**_DEFAULTS, **conninfo_to_dict(address)})
    except psycopg.ProgrammingError:
        raise ConfigurationError(
            "the address of the database cannot be understood; it looks like"
            " postgresql://user:password@host:5432/database"
        ) from None
