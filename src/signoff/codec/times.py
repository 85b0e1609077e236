"""Dates with times, and times, with their zones, to trees and back (floor 2)."""

from __future__ import annotations

from datetime import datetime, time, timedelta, timezone, tzinfo
from typing import Final, TypeVar, cast
from zoneinfo import ZoneInfo

from signoff.codec.walk import Fault, checked
from signoff.model.values import TYPE_KEY, Tree

Moment = TypeVar("Moment", datetime, time)

_MEMBERS: Final = frozenset({TYPE_KEY, "v", "z", "n", "fold"})


def encode_time(value: datetime | time, _depth: int) -> Tree:
    """
    Turn a datetime or time into a tree.

    Without a zone, ``v`` is the ISO text; a fixed offset stands in that text, its name in ``n``;
    a zone of the time zone database is in ``z``, and ``v`` is the wall clock's time there, so
    that a reviewer reads what was meant whatever becomes of the zone's rules. ``fold`` says
    that it is the second of two equal times.
    """
    tag = "datetime" if isinstance(value, datetime) else "time"
    tree: dict[str, Tree] = {TYPE_KEY: tag, "v": value.isoformat()}
    zone = value.tzinfo
    if isinstance(zone, ZoneInfo):
        tree |= {"v": value.replace(tzinfo=None).isoformat(), "z": _key(zone)}
    elif zone is not None:
        tree |= _offset_name(zone)
    if value.fold:
        tree["fold"] = 1
    return tree


def _key(zone: ZoneInfo) -> str:
    # One that was read from a file has no key, whatever its type says.
    key = cast("str | None", zone.key)
    if type(zone) is not ZoneInfo or key is None:
        raise Fault("has a zone without a name in the time zone database")
    return key


def _offset_name(zone: tzinfo) -> dict[str, Tree]:
    if type(zone) is not timezone:
        raise Fault(
            f"has a zone of type {type(zone).__module__}.{type(zone).__qualname__};"
            " use zoneinfo.ZoneInfo or datetime.timezone"
        )
    name, offset = zone.tzname(None), zone.utcoffset(None)
    if offset % timedelta(seconds=1):
        # Python writes such an offset and does not read every one of them back.
        raise Fault("has a zone whose offset is not in whole seconds")
    return {} if name == timezone(offset).tzname(None) else {"n": checked(name)}


def decode_datetime(tree: dict[str, Tree], _depth: int) -> datetime:
    """Turn a tree back into the datetime it was made of."""
    return _decode(tree, datetime)


def decode_time(tree: dict[str, Tree], _depth: int) -> time:
    """Turn a tree back into the time it was made of."""
    return _decode(tree, time)


def _decode(tree: dict[str, Tree], cls: type[Moment]) -> Moment:
    value = _moment(tree, cls)
    # Python reads many spellings; only the one that is written here is a stored value.
    if type(tree.get("fold", 1)) is not int or encode_time(value, 0) != tree:
        raise Fault(f"is no stored {cls.__name__}")
    return value


def _moment(tree: dict[str, Tree], cls: type[Moment]) -> Moment:
    text, key, name = tree.get("v"), tree.get("z"), tree.get("n")
    if not (isinstance(text, str) and isinstance(key, str | None) and isinstance(name, str | None)):
        raise Fault(f"is no stored {cls.__name__}")
    try:
        value = cls.fromisoformat(text)
        zone = value.tzinfo if key is None else ZoneInfo(key)
    except ValueError as error:
        raise Fault(f"is no stored {cls.__name__}") from error
    except (KeyError, OSError) as error:
        raise Fault(f"has the time zone {key!r}, which this system does not know") from error
    offset = value.utcoffset()
    if name is not None and offset is not None:
        zone = timezone(offset, name)
    return value.replace(tzinfo=zone, fold=1 if "fold" in tree else 0)
