"""Whose schema it is, and which migrations bring it up to date (floor 4)."""

from __future__ import annotations

import logging
import re
from functools import cache
from importlib.resources import files
from typing import Final

from psycopg.errors import InsufficientPrivilege

from signoff.errors import ConfigurationError, SchemaError, StoreUnavailableError
from signoff.stores.postgres_pool import Query, Session

_log = logging.getLogger("signoff.stores.postgres")

_LOCK: Final = Query(
    "SELECT pg_advisory_xact_lock(hashtextextended('signoff ' || %(name)s::text, 0))"
)

_SETTINGS: Final = Query(
    "SELECT current_setting('server_version_num')::int AS version,"
    " current_setting('server_version') AS version_name,"
    " current_setting('server_encoding') AS encoding,"
    " current_setting('default_transaction_isolation') AS isolation,"
    " pg_is_in_recovery() AS is_standby"
)

_OCCUPANTS: Final = Query(
    "SELECT relname FROM pg_catalog.pg_class"
    " JOIN pg_catalog.pg_namespace ON pg_namespace.oid = relnamespace"
    " WHERE nspname = %(name)s AND relkind IN ('r', 'p', 'v', 'm', 'f')"
)

_VERSION: Final = Query(
    "SELECT max(version) AS version,"
    " max(coalesce((to_jsonb(made) ->> 'reader')::int, version)) AS reader"
    " FROM {schema}.signoff_migrations AS made"
)
"""Asks for a column that older schemas do not have."""

_EXISTS: Final = Query("SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = %(name)s")

_CREATE: Final = Query("CREATE SCHEMA {schema}")

_BOOK_NAME: Final = "signoff_migrations"

_BOOK: Final = Query(
    "CREATE TABLE {schema}.signoff_migrations ("
    "version integer NOT NULL PRIMARY KEY, reader integer,"
    " applied_at timestamptz NOT NULL DEFAULT now())"
)

_GROWN_BOOK: Final = Query(
    "ALTER TABLE {schema}.signoff_migrations ADD COLUMN IF NOT EXISTS reader integer"
)

_NOTE: Final = Query(
    "INSERT INTO {schema}.signoff_migrations (version, reader) VALUES (%(version)s, %(reader)s)"
)

_READER: Final = re.compile(r"^-- reader: ([1-9][0-9]*)$", re.MULTILINE)

NEEDED: Final = 1
"""The oldest version of the schema that this code works on where its role may not bring it up to date."""

OLDEST: Final = 130_000
"""The oldest server that will do, as `server_version_num` has it."""


@cache
def migrations() -> tuple[str, ...]:
    """Return the scripts that make the schema, first one first."""
    folder = files("signoff.stores") / "schema_postgres"
    scripts = sorted(folder.iterdir(), key=lambda script: script.name)
    return tuple(script.read_text(encoding="utf-8") for script in scripts)


def bring_up_to_date(session: Session, place: str) -> None:
    """
    Make the tables, or bring them up to date: all that is missing in one transaction, or nothing.

    Whoever comes second waits, and finds nothing left to do. Where nothing is missing, nothing
    is asked for that needs more than the rights to read. A newer schema that says that this code
    may still work on it is worked on, and an older one that this role may not bring up to date
    too, so that old and new processes run side by side.

    Raises:
        ConfigurationError: The server or its database will not do.
        SchemaError: The schema is another program's, or needs a newer Signoff; it was left as it is.
        StoreUnavailableError: The server is a standby.
    """
    _check_server(session, place)
    version = _version(session, place)
    if version >= len(migrations()):
        return
    try:
        with session.transaction():
            _migrate(session, place)
    except InsufficientPrivilege:
        if version < NEEDED:
            raise
        _log.warning(
            "%s has schema version %d, and this role may not bring it to %d; working on it as it"
            " is: open the store once as the owner of its tables",
            *(place, version, len(migrations())),
        )


def _migrate(session: Session, place: str) -> None:
    session.all(_LOCK, {"name": session.schema})
    version = _version(session, place)
    if version == 0:
        _begin(session)
    session.run(_GROWN_BOOK)
    for number, script in enumerate(migrations()[version:], start=version + 1):
        session.run(Query(script))
        session.run(_NOTE, {"version": number, "reader": oldest_reader(script)})


def oldest_reader(script: str) -> int:
    """Return which version code has to know at least to work on what a migration leaves, as it says itself."""
    (reader,) = _READER.findall(script)
    return int(reader)


def is_made(session: Session) -> bool:
    """Return whether the schema holds anything."""
    return bool(session.all(_OCCUPANTS, {"name": session.schema}))


def _begin(session: Session) -> None:
    if not session.all(_EXISTS, {"name": session.schema}):
        session.run(_CREATE)
    session.run(_BOOK)


def _version(session: Session, place: str) -> int:
    """Return how many migrations were made: none in a schema that is empty or not there."""
    occupants = {row["relname"] for row in session.all(_OCCUPANTS, {"name": session.schema})}
    if not occupants:
        return 0
    if _BOOK_NAME not in occupants:
        raise SchemaError(
            f"{place}: the schema holds tables of another program, and was left as it is;"
            " give another `schema=`"
        )
    made = session.all(_VERSION)[0]
    if made["reader"] > len(migrations()):
        raise SchemaError(
            f"{place} has schema version {made['version']}, and this Signoff knows up to"
            f" {len(migrations())}; a newer one made it, and it was left as it is:"
            " upgrade this process"
        )
    return int(made["version"])


def _check_server(session: Session, place: str) -> None:
    settings = session.all(_SETTINGS)[0]
    if settings["version"] < OLDEST:
        raise ConfigurationError(
            f"{place}: the server is PostgreSQL {settings['version_name']}; it takes 13 or later"
        )
    if settings["encoding"] != "UTF8":
        raise ConfigurationError(
            f"{place}: the database has the encoding {settings['encoding']}, which cannot keep"
            " every text; make one with `createdb --encoding UTF8 --template template0`"
        )
    if settings["isolation"] != "read committed":
        raise ConfigurationError(
            f"{place}: default_transaction_isolation is {settings['isolation']!r}; the checks of a"
            " commit need 'read committed': `ALTER ROLE ... SET default_transaction_isolation`"
        )
    if settings["is_standby"]:
        raise StoreUnavailableError(
            f"{place}: the server is a standby, which takes no writes; connect to the primary one,"
            " for instance with `target_session_attrs=read-write` and all hosts in the address"
        )
