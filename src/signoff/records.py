"""
Records to stored bytes and back, and the typed columns beside them (floor 2).

The bytes are the truth. Columns exist so that a store can search; each read compares them with
the bytes, so that whoever changes only a column changes nothing unnoticed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final, TypeAlias, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError

from signoff.errors import CodecError, SchemaError, SealInvalidError
from signoff.model.base import FORMAT, Record
from signoff.model.delivery import Delivery
from signoff.model.request import Request
from signoff.model.run import Occurrence, Run
from signoff.model.token import TokenRow
from signoff.model.values import Tree

Stored: TypeAlias = Run | Occurrence | Request | TokenRow | Delivery
"""What is kept as bytes under an id, with a version."""

StoredT = TypeVar("StoredT", bound=Stored)
RecordT = TypeVar("RecordT", bound=Record)

Column: TypeAlias = str | int | None
"""What a typed column holds; instants are whole microseconds since 1970, in UTC."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_FACTS: Final = TypeAdapter(dict[str, Tree])


class _Part(BaseModel):
    """A record of which only the format matters."""

    format: int = FORMAT


class _Formats(_Part):
    """Every place in a stored record that has a format of its own."""

    policy: _Part = _Part()
    resolution: _Part | None = None
    decisions: tuple[_Part, ...] = ()

    @property
    def newest(self) -> int:
        """The highest of them."""
        parts = (self, self.policy, self.resolution or self, *self.decisions)
        return max(part.format for part in parts)


def encode(record: Stored) -> bytes:
    """
    Return the bytes to store: the whole record as compact JSON, unknown members included.

    Defaults are written out, so that a later Signoff with other defaults still reads the same.

    Raises:
        CodecError: A text holds a lone surrogate, so that it has no UTF-8 form.
    """
    try:
        return record.model_dump_json().encode()
    except PydanticSerializationError as error:
        raise CodecError(str(error), path=id_of(record)) from error


def decode(model: type[RecordT], body: bytes, record_id: str) -> RecordT:
    """
    Return the record that `body` holds.

    Raises:
        SchemaError: A newer Signoff wrote it.
        SealInvalidError: It is not what Signoff wrote.
    """
    try:
        newest = _Formats.model_validate_json(body).newest
        if newest > FORMAT:
            raise SchemaError(
                f"{record_id} has the record format {newest}, and this Signoff reads up to {FORMAT};"
                " it was written by a newer one: upgrade this process"
            )
        return model.model_validate_json(body)
    except ValidationError as error:
        raise SealInvalidError(record_id, "body") from error


def encode_facts(facts: Mapping[str, Tree], record_id: str) -> bytes:
    """Return the facts of a signal as compact JSON. Raises `CodecError` for a lone surrogate."""
    try:
        return json.dumps(dict(facts), ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError as error:
        raise CodecError(str(error), path=record_id) from error


def decode_facts(body: bytes, record_id: str) -> dict[str, Tree]:
    """Return the facts of a signal. Raises `SealInvalidError` when they are not facts."""
    try:
        return _FACTS.validate_json(body)
    except ValidationError as error:
        raise SealInvalidError(record_id, "facts") from error


def micros_of(instant: datetime) -> int:
    """Return an aware instant as whole microseconds since 1970, exactly, so that columns sort."""
    return (instant - _EPOCH) // _MICROSECOND


def instant_of(micros: int) -> datetime:
    """Return the instant that `micros` stands for, in UTC."""
    return _EPOCH + micros * _MICROSECOND


def id_of(record: Stored) -> str:
    """Return the id that a record is stored under."""
    match record:
        case Run():
            return record.run_id
        case Occurrence():
            return record.occurrence_id
        case Request():
            return record.request_id
        case TokenRow():
            return record.token_id
        case _:
            return record.delivery_id


def columns_of(record: Stored) -> dict[str, Column]:
    """Return the typed columns of a record by name; the id comes first, then the version."""
    match record:
        case Run():
            return _run_columns(record)
        case Occurrence():
            return {
                "occurrence_id": record.occurrence_id,
                "version": record.version,
                "run_id": record.run_id,
                "seq": record.seq,
            }
        case Request():
            return _request_columns(record)
        case TokenRow():
            return {
                "token_id": record.token_id,
                "version": record.version,
                "request_id": record.request_id,
                "kid": record.kid,
                "not_after": micros_of(record.not_after),
            }
        case _:
            return {
                "delivery_id": record.delivery_id,
                "version": record.version,
                "request_id": record.request_id,
                "notifier": record.notifier,
                "status": record.status,
                "not_before": micros_of(record.not_before),
                "created_at": micros_of(record.created_at),
            }


def contradiction(record: Stored, columns: Mapping[str, Column]) -> str:
    """
    Return the name of a typed column that says something else than the record; empty if none.

    Args:
        record: As its bytes say.
        columns: As they were read; those that `columns_of` names must all be there.
    """
    mine = columns_of(record)
    return next((name for name, value in mine.items() if columns[name] != value), "")


def check_columns(record: Stored, columns: Mapping[str, Column], record_id: str) -> None:
    """
    Compare a record with the typed columns that were stored beside it.

    Args:
        record: As its bytes say.
        columns: As they were read; those that `columns_of` names must all be there.
        record_id: The id that the row is stored under.

    Raises:
        SealInvalidError: One of them contradicts the record; its `field` is the column's name,
            its `run_id` the run that the record says it belongs to.
    """
    if name := contradiction(record, columns):
        run_id = record.run_id if isinstance(record, Request) else ""
        raise SealInvalidError(record_id, name, run_id=run_id)


def _run_columns(run: Run) -> dict[str, Column]:
    return {
        "run_id": run.run_id,
        "version": run.version,
        "flow_name": run.flow_name,
        "status": run.status,
        "key": run.key,
        "parent_run_id": run.parent_run_id,
        "created_at": micros_of(run.created_at),
        "updated_at": micros_of(run.updated_at),
    }


def _request_columns(request: Request) -> dict[str, Column]:
    return {
        "request_id": request.request_id,
        "version": request.version,
        "run_id": request.run_id,
        "status": request.status,
        "risk": request.risk,
        "assignees": json.dumps(request.assignees),
        "kids": json.dumps(_kids_of(request)),
        "created_at": micros_of(request.created_at),
        "expires_at": None if request.expires_at is None else micros_of(request.expires_at),
    }


def _kids_of(request: Request) -> list[int]:
    """Return the keys of a request's seals and hidden arguments, without repeats, in order."""
    sealed = (request, *request.decisions, *((request.resolution,) if request.resolution else ()))
    return sorted({*request.hidden_kids, *(part.seal.kid for part in sealed if part.seal)})
