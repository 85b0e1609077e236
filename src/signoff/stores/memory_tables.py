"""
The tables of a `MemoryStore`: encoded rows, and the orders in which they are looked for (floor 4).

Nothing here locks; the store does.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Generic, NamedTuple, TypeAlias

from typing_extensions import override

from signoff.errors import NotFoundError, StaleWriteError
from signoff.model.changes import CheckpointT, Sealed
from signoff.model.delivery import Delivery
from signoff.model.request import Request
from signoff.model.run import Occurrence, Run
from signoff.model.token import TokenRow
from signoff.ports import RequestQuery, RunQuery
from signoff.records import (
    Column,
    StoredT,
    check_columns,
    columns_of,
    decode,
    encode,
    id_of,
    micros_of,
)
from signoff.stores.ordered import Grouped, Ordered, Place

Key: TypeAlias = tuple[str, str]
"""The flow's stored name and the developer's key of a keyed call."""


@dataclass(frozen=True, slots=True)
class Row:
    """
    What is kept of a record.

    Attributes:
        record_id: Its id.
        version: Its version.
        body: Its bytes.
        columns: Its typed columns.
        kid: The key of its MAC, for a record of a checkpoint.
        mac: That MAC.
    """

    record_id: str
    version: int
    body: bytes
    columns: Mapping[str, Column]
    kid: int = 0
    mac: bytes = b""


@dataclass(frozen=True, slots=True)
class Written(Generic[StoredT]):
    """A record that a commit writes, and its row."""

    record: StoredT
    row: Row


def written(record: StoredT) -> Written[StoredT]:
    """Encode a record. Raises `CodecError`."""
    row = Row(id_of(record), record.version, encode(record), columns_of(record))
    return Written(record, row)


def written_sealed(sealed: Sealed[CheckpointT]) -> Written[CheckpointT]:
    """Take the record of a checkpoint with exactly the bytes that it comes with."""
    record = sealed.record
    row = Row(
        id_of(record), record.version, sealed.body, columns_of(record), sealed.kid, sealed.mac
    )
    return Written(record, row)


class Table(Generic[StoredT]):
    """The rows of one kind of record; a new version is written only over the one before."""

    def __init__(self, model: type[StoredT]) -> None:
        self._model = model
        self.rows: dict[str, Row] = {}

    def check(self, changes: Sequence[Written[StoredT]]) -> None:
        """Check that each row is the next version of its record. Raises `StaleWriteError`."""
        versions: dict[str, int] = {}
        for row in (change.row for change in changes):
            held = self.rows.get(row.record_id)
            stands = versions.get(row.record_id, held.version if held else 0)
            if row.version != stands + 1:
                raise StaleWriteError(
                    row.record_id, f"version {row.version} cannot follow version {stands}"
                )
            versions[row.record_id] = row.version

    def put(self, changes: Sequence[Written[StoredT]]) -> None:
        """Store rows that were checked; nothing here can fail, or a commit would be half made."""
        for change in changes:
            self.index(change.record)
            self.rows[change.row.record_id] = change.row

    def index(self, record: StoredT) -> None:
        """Keep the orders in which this table is searched, before the row is stored."""

    def get(self, record_id: str) -> Row:
        """Return a row. Raises `NotFoundError`."""
        if record_id not in self.rows:
            raise NotFoundError(self._model.__name__.lower(), record_id)
        return self.rows[record_id]

    def pick(self, ids: Iterable[str]) -> list[Row]:
        """Return the rows of these ids."""
        return [self.rows[record_id] for record_id in ids]

    def read(self, row: Row) -> StoredT:
        """Decode a row anew. Raises `SchemaError` and `SealInvalidError`."""
        record = decode(self._model, row.body, row.record_id)
        check_columns(record, row.columns, row.record_id)
        return record


class Runs(Table[Run]):
    """The runs, by age, status, parent and key."""

    def __init__(self) -> None:
        super().__init__(Run)
        self.by_age = Ordered()
        self.by_status = Grouped()
        self.by_parent = Grouped()
        self.by_key: dict[Key, str] = {}
        self._keys: dict[str, Key] = {}
        self.open_since: dict[str, int] = {}

    @override
    def check(self, changes: Sequence[Written[Run]]) -> None:
        """Check versions, and that no key comes to stand for a second run."""
        super().check(changes)
        owners: dict[Key, str] = {}
        for run in (change.record for change in changes):
            key = _key_of(run)
            if key and owners.setdefault(key, self.by_key.get(key, run.run_id)) != run.run_id:
                raise StaleWriteError(run.run_id, f"the key {run.key!r} stands for another run")

    @override
    def index(self, record: Run) -> None:
        created_at = micros_of(record.created_at)
        self.by_age.put(record.run_id, created_at)
        self.by_status.put(record.run_id, record.status, created_at)
        self.by_parent.put(record.run_id, record.parent_run_id, created_at)
        if former := self._keys.pop(record.run_id, None):
            del self.by_key[former]
        if key := _key_of(record):
            self._keys[record.run_id] = key
            self.by_key[key] = record.run_id
        self.open_since.pop(record.run_id, None)
        if record.status in {"ready", "running"}:
            self.open_since[record.run_id] = micros_of(record.updated_at)

    def page(self, query: RunQuery) -> list[Row]:
        """Return the rows that a query asks for."""
        ids = self._narrowest(query).ids(after=_place(query.after))
        wanted = {
            "status": query.status,
            "flow_name": query.flow_name,
            "parent_run_id": query.parent_run_id,
        }
        fitting = (row for row in map(self.rows.__getitem__, ids) if _fits(row, wanted))
        return list(islice(fitting, query.limit))

    def _narrowest(self, query: RunQuery) -> Ordered:
        if query.parent_run_id is not None:
            return self.by_parent.group(query.parent_run_id)
        return self.by_age if query.status is None else self.by_status.group(query.status)


class Occurrences(Table[Occurrence]):
    """The occurrences, by run."""

    def __init__(self) -> None:
        super().__init__(Occurrence)
        self.by_run = Grouped()

    @override
    def index(self, record: Occurrence) -> None:
        self.by_run.put(record.occurrence_id, record.run_id, record.seq)


class Requests(Table[Request]):
    """The requests, by age, status, run, and the pending ones by expiry."""

    def __init__(self) -> None:
        super().__init__(Request)
        self.by_age = Ordered()
        self.by_status = Grouped()
        self.by_run = Grouped()
        self.expiring = Ordered()

    @override
    def index(self, record: Request) -> None:
        created_at = micros_of(record.created_at)
        self.by_age.put(record.request_id, created_at)
        self.by_status.put(record.request_id, record.status, created_at)
        self.by_run.put(record.request_id, record.run_id, created_at)
        ends = record.expires_at if record.status == "pending" else None
        self.expiring.put(record.request_id, None if ends is None else micros_of(ends))

    def page(self, query: RequestQuery) -> list[Row]:
        """Return the rows that a query asks for."""
        order = self._narrowest(query)
        ids = order.ids(after=_place(query.after), backwards=query.newest_first)
        wanted = {"status": query.status, "run_id": query.run_id, "risk": query.risk}
        fitting = (
            row
            for row in map(self.rows.__getitem__, ids)
            if _fits(row, wanted) and _asks(row, query.assignee)
        )
        return list(islice(fitting, query.limit))

    def _narrowest(self, query: RequestQuery) -> Ordered:
        if query.run_id is not None:
            return self.by_run.group(query.run_id)
        return self.by_age if query.status is None else self.by_status.group(query.status)


class Need(NamedTuple):
    """That a token of a request needs a key until an instant."""

    request_id: str
    kid: int
    until: int


class Tokens(Table[TokenRow]):
    """The tokens, by request."""

    def __init__(self) -> None:
        super().__init__(TokenRow)
        self.by_request = Grouped()
        self.needs: dict[str, Need] = {}

    @override
    def index(self, record: TokenRow) -> None:
        until = micros_of(record.not_after)
        self.needs[record.token_id] = Need(record.request_id, record.kid, until)
        self.by_request.put(record.token_id, record.request_id, until)


class Deliveries(Table[Delivery]):
    """The deliveries, by request and status, and the unsent ones by notifier."""

    def __init__(self) -> None:
        super().__init__(Delivery)
        self.by_request = Grouped()
        self.by_status = Grouped()
        self.unsent = Grouped()

    @override
    def index(self, record: Delivery) -> None:
        created_at = micros_of(record.created_at)
        open_at = record.notifier if record.status in {"waiting", "sending"} else None
        self.by_request.put(record.delivery_id, record.request_id, created_at)
        self.by_status.put(record.delivery_id, record.status, micros_of(record.not_before))
        self.unsent.put(record.delivery_id, open_at, created_at)


def _key_of(run: Run) -> Key | None:
    return None if run.key is None else (run.flow_name, run.key)


def _place(after: tuple[datetime, str] | None) -> Place | None:
    return None if after is None else (micros_of(after[0]), after[1])


def _fits(row: Row, wanted: Mapping[str, str | None]) -> bool:
    return all(value is None or row.columns[name] == value for name, value in wanted.items())


def _asks(row: Row, assignee: str | None) -> bool:
    return assignee is None or assignee in json.loads(str(row.columns["assignees"]))
