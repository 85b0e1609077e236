"""
Which question a mail answers: by the token in its address, else by the thread (floor 5).

A thread is weaker than a token: whoever was copied once can name it. So it counts only where a
trusted server vouches for the sender, and the sender is who was asked. The id that is answered
also proves that it is this very question: nobody makes its tag without the token.
"""

from __future__ import annotations

from signoff.errors import KeyringError, NotFoundError, TokenError
from signoff.mail.address import (
    carries_tag,
    delivery_id_of,
    is_same,
    message_ids_in,
    tokens_in,
)
from signoff.mail.authentication import verdict
from signoff.mail.incoming import IncomingMail
from signoff.model.token import TokenRow
from signoff.outbox import binding_of, token_text
from signoff.ports import Inbox, Store
from signoff.security.keyring import Keyring
from signoff.security.tokens import dummy_check, parse, verify


class Correlator:
    """Finds the token that a mail answers to."""

    def __init__(self, store: Store, keyring: Keyring) -> None:
        self._store = store
        self._keyring = keyring

    async def by_address(self, mail: IncomingMail) -> TokenRow | None:
        """Return the row of the first genuine token in the mail's addresses."""
        for text in tokens_in(mail.headers):
            try:
                parsed = parse(text)
                row = await self._store.token(parsed.token_id.hex())
                if row is None:
                    dummy_check(self._keyring)
                    continue
                verify(self._keyring, parsed, binding_of(row), purpose="email")
            except TokenError:
                continue
            return row
        return None

    async def by_thread(self, mail: IncomingMail, inbox: Inbox) -> TokenRow | None:
        """
        Return the row of the token that the answered mail went out with, if its reader answers.

        `None` also when the sender is somebody else, or no trusted server vouches for the
        sender: whoever cannot show a token is told nothing.
        """
        if mail.sender is None:
            return None
        for message_id in message_ids_in(mail.headers):
            row = await self._asked_by(message_id)
            if row is not None:
                genuine = is_same(mail.sender, row.recipient) and vouched(mail, inbox) is None
                return row if genuine else None
        return None

    async def _asked_by(self, message_id: str) -> TokenRow | None:
        try:
            delivery = await self._store.delivery(delivery_id_of(message_id))
            row = await self._store.token(delivery.token_id)
            token = token_text(self._keyring, row) if row is not None else ""
        except (NotFoundError, KeyringError):
            return None
        return row if token and carries_tag(message_id, token=token) else None


def vouched(mail: IncomingMail, inbox: Inbox) -> str | None:
    """Return `None` if the trusted server vouches for a mail's sender, else why it does not."""
    checked = verdict(
        mail.values("Authentication-Results"),
        server=inbox.trusted_server,
        from_domain=(mail.sender or "").rpartition("@")[2],
    )
    return None if checked.passed else checked.reason
