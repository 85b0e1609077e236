"""
Taking back what one attempt changed of a value that others may have changed since (floor 6).

Values are trees as they are stored, or `MISSING` where there is none.
"""

from __future__ import annotations

from typing import Final, cast

from signoff.model.values import TYPE_KEY, Tree


class Missing:
    """What stands where a field has no value."""


MISSING: Final = Missing()

Value = Tree | Missing


def taken_back(before: Value, after: Value, now: Value) -> Value:
    """
    Return `now` without what turned `before` into `after`, as far as that can be told.

    Members of a dict are looked at one by one, and what was appended to a list is taken out of
    it. Any other value that somebody else has changed since stays as it is.

    Args:
        before: The value before the attempt changed it.
        after: The value when only the attempt had changed it.
        now: The value as it is.
    """
    if now == after:
        return before
    if (
        _is_plain_dict(after)
        and _is_plain_dict(now)
        and (_is_plain_dict(before) or before is MISSING)
    ):
        return _members_taken_back(_members(before), _members(after), _members(now))
    if (
        isinstance(after, list)
        and isinstance(now, list)
        and (isinstance(before, list) or before is MISSING)
    ):
        old: list[Tree] = before if isinstance(before, list) else []
        if after[: len(old)] == old and now[: len(after)] == after:
            return old + now[len(after) :]
    return now


def _members_taken_back(
    before: dict[str, Tree], after: dict[str, Tree], now: dict[str, Tree]
) -> dict[str, Tree]:
    kept: dict[str, Tree] = {}
    for name in {**now, **before}:
        value = taken_back(
            before.get(name, MISSING), after.get(name, MISSING), now.get(name, MISSING)
        )
        if not isinstance(value, Missing):
            kept[name] = value
    return kept


def _is_plain_dict(value: Value) -> bool:
    return isinstance(value, dict) and TYPE_KEY not in value


def _members(value: Value) -> dict[str, Tree]:
    return {} if value is MISSING else cast("dict[str, Tree]", value)
