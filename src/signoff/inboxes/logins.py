"""What a login to a mail server says, and what its failures mean, for every transport (floor 4)."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Final

from signoff.errors import InboxError
from signoff.inboxes.transport import Account
from signoff.mail.page import shown

_MOST_WORDS: Final = 200
_MAY_PASS: Final = re.compile(r"\[(?:UNAVAILABLE|INUSE|LIMIT|SERVERBUG)\b")


@dataclass(frozen=True, slots=True)
class Sasl:
    """
    A login by AUTHENTICATE.

    Attributes:
        mechanism: Its name.
        text: What answers the server's first challenge; each later one is answered with
            nothing, which ends a refused login.
    """

    mechanism: str
    text: bytes = field(repr=False)


def sasl(account: Account, access_token: str | None, capabilities: Collection[str]) -> Sasl | None:
    """
    Return how to log in by AUTHENTICATE, or `None` where LOGIN will do.

    Source: RFC 4616 (PLAIN); RFC 3501 section 6.2.3 (LOGIN carries ASCII only, and may be
    disabled).
    """
    username, password = account.username, account.password
    if password is None:
        bearer = f"user={username}\x01auth=Bearer {access_token}\x01\x01"
        return Sasl("XOAUTH2", bearer.encode())
    if (username + password).isascii() and "LOGINDISABLED" not in capabilities:
        return None
    return Sasl("PLAIN", f"\0{username}\0{password}".encode())


async def access_token(account: Account) -> str | None:
    """Return an access token that is good now; `None` where a password is used."""
    if account.token is None:
        return None
    try:
        return await account.token()
    except Exception as error:  # noqa: BLE001 - the user's own code may raise anything
        # Only its type: its words may hold a refresh token.
        raise InboxError(f"token= raised {type(error).__name__}") from None


def refused(account: Account, refusal: str) -> InboxError:
    """
    Return the error for a login that the server refused, in words that repeat no secret.

    Source: RFC 5530 section 3 for refusals that may pass.
    """
    return InboxError(
        f"{account} refused the login of {account.username!r}",
        login_failed=_MAY_PASS.match(refusal) is None,
    )


def broken_off(account: Account, error: Exception) -> InboxError:
    """Return the error for a login that came to no answer; its words may repeat the password."""
    return InboxError(f"the login at {account} broke off ({type(error).__name__})")


def words(text: str) -> str:
    """Return what somebody else said, for a message."""
    return shown(text[:_MOST_WORDS])
