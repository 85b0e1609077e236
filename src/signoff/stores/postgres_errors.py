"""What PostgreSQL and its driver report, in Signoff's errors and with what to do about it (floor 4)."""

from __future__ import annotations

from typing import Final

import psycopg
from psycopg import errors

from signoff.errors import CodecError, SignoffError, StoreUnavailableError

_AGAIN: Final = (
    errors.SerializationFailure,
    errors.DeadlockDetected,
    errors.AdminShutdown,
    errors.CrashShutdown,
)
"""The server has undone the statement; sent again it may well be done."""

_OUTDATED: Final = errors.FeatureNotSupported
"""A statement was prepared before a migration changed its tables; on another connection it is not."""

_REMEDIES: Final[tuple[tuple[type[psycopg.Error], str], ...]] = (
    (
        errors.InsufficientPrivilege,
        "this role may not do that; see the how-to page on several machines for what to grant",
    ),
    (
        errors.UndefinedTable,
        "the tables of the store are gone, or in another schema; see `schema=`",
    ),
    (
        errors.InvalidSchemaName,
        "the tables of the store are gone, or in another schema; see `schema=`",
    ),
    (
        errors.ReadOnlySqlTransaction,
        (
            "the server is read-only, as a standby is; connect to the primary one, for instance with"
            " `target_session_attrs=read-write` and all hosts in the address"
        ),
    ),
    (
        errors.LockNotAvailable,
        "another session has kept a row or table locked for too long; end that session",
    ),
    (errors.QueryCanceled, "the server gave the statement up, see its `statement_timeout`"),
    (errors.DiskFull, "the server's disk is full; make room and try again"),
)


def is_worth_another(error: Exception, *, is_lost: bool) -> bool:
    """Return whether a statement that does no more when it is done twice should be sent again."""
    return is_lost or isinstance(error, (*_AGAIN, _OUTDATED))


def is_outdated(error: Exception) -> bool:
    """Return whether what a connection has prepared no longer fits the tables."""
    return isinstance(error, _OUTDATED)


def explained(error: Exception, place: str, *, is_lost: bool = False) -> SignoffError:
    """
    Return the error that says what happened to the store at `place`, and what to do.

    Args:
        error: What the driver raised.
        place: Which store.
        is_lost: Whether the connection was lost, so that nobody knows what became of a commit.
    """
    if _is_about_a_text(error):
        return CodecError(
            f"a text that PostgreSQL cannot store, such as one with a zero character: {error}"
        )
    fitting = (remedy for kind, remedy in _REMEDIES if isinstance(error, kind))
    remedy = next(fitting, "the server cannot be reached, refuses or has failed")
    fate = (
        "A commit that was under way may have been made or not: look before it is repeated"
        if is_lost
        else "Nothing of this was acknowledged"
    )
    said = " ".join(str(error).split())
    return StoreUnavailableError(
        f"{place}: {remedy} ({type(error).__name__}: {said}). {fate};"
        " what was acknowledged before is safe"
    )


def _is_about_a_text(error: Exception) -> bool:
    """Return whether a text was given that has no stored form; the driver finds some, the server others."""
    if isinstance(error, psycopg.DataError):
        return error.sqlstate is None or isinstance(error, errors.UntranslatableCharacter)
    return isinstance(error, UnicodeEncodeError)
