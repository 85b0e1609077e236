"""`signoff move FROM TO`: all records of a store into another one, while nobody serves (floor 9)."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from signoff.cli.finding import UsageError
from signoff.keys import KEY_VARIABLE
from signoff.stores.moving import move

if TYPE_CHECKING:
    from signoff.stores.moving import Movable

SUMMARY: Final = "copy everything from one store into another, empty one"

_DESCRIPTION: Final = """\
Copy every record of one store into another, empty one: all of them, or none. The bytes stay as
they are; the copy is read again and compared, and its audit chains are verified, before it stands.

Stop every process that uses FROM first: while one serves it, or a claim is live, this refuses.
FROM stays as it is. Let nobody serve it again, or what was approved may be done twice.

FROM and TO are each the path of an SQLite file, or postgresql://user@host:5432/database. The role
has to own the tables.

The keys are in no database, and are not moved: all processes over TO need those of FROM in
SIGNOFF_KEY. Where FROM has a key file, the last line that this prints says how.
"""

_EXAMPLES: Final = """\
examples:
  signoff move signoff.db postgresql://signoff@db.example/work
  signoff move signoff.db /srv/signoff.db
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes, and does."""
    parser.description, parser.epilog = _DESCRIPTION, _EXAMPLES
    parser.add_argument("source", metavar="FROM", help="where the records are")
    parser.add_argument("target", metavar="TO", help="where they are to be")
    for which, place in (("from", "FROM"), ("to", "TO")):
        parser.add_argument(
            f"--{which}-schema",
            metavar="NAME",
            default="signoff",
            help=f"the schema in {place}, if that is PostgreSQL (default: %(default)s)",
        )
    parser.set_defaults(command=run)


def run(given: argparse.Namespace) -> None:
    """Move what was named, and say how much it was and where the keys are."""
    source = _store(given.source, given.from_schema)
    target = _store(given.target, given.to_schema)
    counts = move(source, target)
    for name, number in counts.items():
        sys.stdout.write(f"{number:>9} {name}\n")
    sys.stdout.write(
        f"Moved {sum(counts.values())} rows; they read as they were, and all audit chains are"
        f" whole.\nLet nobody serve {source.location} again: put it away.\n{_about_keys(source)}\n"
    )


def _store(address: str, schema: str) -> Movable:
    if not address.startswith(("postgresql://", "postgres://")):
        from signoff.stores.sqlite import SQLiteStore  # noqa: PLC0415 - loaded when it is named

        if "://" in address:
            scheme = address.partition("://")[0]
            raise UsageError(
                f"nothing is known of {scheme}://; write the path of an SQLite file, or"
                " postgresql://user@host:5432/database"
            )
        return SQLiteStore(address)
    try:
        from signoff.stores.postgres import PostgresStore  # noqa: PLC0415 - as above
    except ImportError as error:
        raise UsageError(str(error)) from error
    return PostgresStore(address, schema=schema)


def _about_keys(source: Movable) -> str:
    from signoff.security import keyfile  # noqa: PLC0415 - loaded when it is needed

    if os.environ.get(KEY_VARIABLE):
        return f"The keys were not moved: go on with the same {KEY_VARIABLE}, in every process."
    if Path(source.location).is_absolute():
        path = keyfile.default_path(source.location)
        if path.exists():
            return (
                "The keys were not moved. Give them to every process:"
                f' export {KEY_VARIABLE}="$(cat {path})"'
            )
    return f"The keys were not moved: give every process those of before, in {KEY_VARIABLE}."
