"""
Everything that a store keeps, as plain rows, to be put into another one (floor 4).

The bytes of records are passed on as they are. What a store keeps only to search or to count by
is left out: the other one makes its own.
"""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import groupby
from typing import Final, Protocol, TypeAlias, cast

from signoff.errors import ConfigurationError, SealInvalidError, StoreUnavailableError
from signoff.model.changes import Claim
from signoff.rules.chain import Link, verify_chain

Value: TypeAlias = str | int | bytes | None
"""What a column holds. Instants are whole microseconds since 1970, in UTC; a flag is 0 or 1."""

Row: TypeAlias = Sequence[Value]

_Entry: TypeAlias = tuple[str, int, bytes, bytes, int, bytes, bytes]


@dataclass(frozen=True, slots=True)
class Table:
    """
    A table that all stores in databases have.

    Attributes:
        name: Its name.
        columns: The names of its columns that are passed on.
        order: The columns by which its rows are read.
        instants: Which of the columns hold one.
        flags: Which of the columns hold a yes or no.
    """

    name: str
    columns: tuple[str, ...]
    order: tuple[str, ...]
    instants: frozenset[str] = frozenset({"created_at", "updated_at", "expires_at", "not_before"})
    flags: frozenset[str] = frozenset({"consumed"})


_SEALED: Final = ("kid", "mac", "body")

AUDIT: Final = Table("audit", ("stream", "seq", "prev_hash", "hash", *_SEALED), ("stream", "seq"))

TABLES: Final = (
    Table(
        "runs",
        (
            *("run_id", "version", "flow_name", "status", "key", "parent_run_id"),
            *("created_at", "updated_at", *_SEALED),
        ),
        ("run_id",),
    ),
    Table(
        "occurrences",
        ("occurrence_id", "version", "run_id", "seq", *_SEALED),
        ("occurrence_id",),
    ),
    Table(
        "requests",
        (
            *("request_id", "version", "run_id", "status", "risk", "assignees", "kids"),
            *("created_at", "expires_at", "body"),
        ),
        ("request_id",),
    ),
    Table(
        "tokens",
        ("token_id", "version", "request_id", "kid", "not_after", "body"),
        ("token_id",),
        instants=frozenset({"not_after"}),
    ),
    Table(
        "deliveries",
        (
            *("delivery_id", "version", "request_id", "notifier", "status", "not_before"),
            *("created_at", "body"),
        ),
        ("delivery_id",),
    ),
    # Their numbers are each store's own; their order stays.
    Table("signals", ("run_id", "cause", "kind", "created_at", "facts", "consumed"), ("seq",)),
    # A fencing number must never be given twice. Until when a claim was live is past.
    Table("claims", ("subject", "holder", "fencing"), ("subject",)),
    AUDIT,
    Table("audit_personal", ("stream", "seq", "salt", "personal"), ("stream", "seq")),
    Table("handled", ("key",), ("key",)),
    Table("marks", ("name", "mark"), ("name",)),
    Table("key_checks", ("kid", "value"), ("kid",)),
)
"""What is passed on."""


class Books(Protocol):
    """A database in a transaction in which nobody else writes to it."""

    @abstractmethod
    def live_claims(self) -> Sequence[Claim]:
        """Return the claims that somebody holds."""

    @abstractmethod
    def rows(self, table: Table) -> Iterator[Row]:
        """Return the rows of a table in their order, with the values of its columns."""

    @abstractmethod
    def add(self, table: Table, rows: Iterable[Row]) -> None:
        """Write rows."""


class Movable(Protocol):
    """
    A store whose records may be moved. It need not be open.

    Attributes:
        location: Where its data is.
    """

    location: str

    @abstractmethod
    def books(self, *, make: bool) -> AbstractContextManager[Books]:
        """
        Lock everything, and give access; what was written stands if the block ends well.

        Args:
            make: Whether to make the tables where there are none.

        Raises:
            StoreError: It cannot be reached, is another program's, or is not there.
        """


def move(source: Movable, target: Movable) -> Mapping[str, int]:
    """
    Put all that one store keeps into another one: everything, or nothing.

    Nobody writes to either meanwhile. Afterwards the target is read, and compared with what was
    read before, and its audit chains are verified; only then it stands. The source stays as it is.

    Args:
        source: Where the records are. Nobody may serve it.
        target: Where they are to be. It is empty.

    Returns:
        How many rows of each table there are.

    Raises:
        ConfigurationError: Both are the same, the source is served or the target is not empty.
        SealInvalidError: An audit chain is not whole.
        StoreError: One of them cannot be reached, or failed.
    """
    if source.location == target.location:
        raise ConfigurationError(f"{source.location} cannot be moved onto itself")
    with source.books(make=False) as old, target.books(make=True) as new:
        _refuse_served(old, source.location)
        _refuse_filled(new, target.location)
        counts: dict[str, int] = {}
        for table in TABLES:
            passed = _Counted(old.rows(table))
            new.add(table, passed)
            kept = _Counted(new.rows(table))
            if table is AUDIT:
                _check_chains(kept)
            kept.exhaust()
            if kept.sums != passed.sums:
                raise StoreUnavailableError(
                    f"{target.location}: {table.name} does not read as it was written; nothing"
                    " was moved"
                )
            counts[table.name] = kept.number
        return counts


class _Counted:
    """
    Rows that are counted and summed up as they pass.

    Attributes:
        number: How many they were.
    """

    def __init__(self, rows: Iterator[Row]) -> None:
        self._rows = rows
        self._hash = hashlib.sha256()
        self.number = 0

    def __iter__(self) -> Iterator[Row]:
        for row in self._rows:
            self.number += 1
            self._hash.update(repr(tuple(row)).encode("utf-8", "surrogatepass"))
            yield row

    def exhaust(self) -> None:
        """Let all of them pass."""
        for _ in self:
            pass

    @property
    def sums(self) -> tuple[int, bytes]:
        """How many passed, and the hash of them."""
        return self.number, self._hash.digest()


def _refuse_served(books: Books, location: str) -> None:
    live = books.live_claims()
    if live:
        raise ConfigurationError(
            f"{location} is at work: {len(live)} live claims, such as the one on"
            f" {live[0].subject}; stop every process that uses it. What a killed one held becomes"
            " free after its lease, 30 seconds unless given"
        )


def _refuse_filled(books: Books, location: str) -> None:
    for table in TABLES:
        if next(books.rows(table), None) is not None:
            raise ConfigurationError(
                f"{location} is not empty: it has {table.name}; records are moved into an empty"
                " store only, so give another path or schema"
            )


def _check_chains(rows: Iterable[Row]) -> None:
    for stream, entries in groupby(rows, key=lambda row: str(row[0])):
        links = (
            Link(stream=stream, seq=seq, prev_hash=prev_hash, hash=own, body=body)
            for _, seq, prev_hash, own, _, _, body in cast("Iterator[_Entry]", entries)
        )
        broken = verify_chain(links)
        if broken is not None:
            raise SealInvalidError(f"audit stream {stream}, entry {broken.seq}", broken.fault)
