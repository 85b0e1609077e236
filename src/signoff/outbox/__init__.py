"""
The outbox: what becomes of a delivery, from its row to what comes back of it (floor 5).

`sending` makes one attempt at a delivery, with the addresses of `tokens`; `bounces` records what
a mail server reports of it later; `undelivered` says what follows when nobody was reached.
"""

from __future__ import annotations

from signoff.outbox.bounces import Bounces
from signoff.outbox.sending import NotifierHealth, Outbox, earlier_refusals
from signoff.outbox.tokens import binding_of, token_text

__all__ = ["Bounces", "NotifierHealth", "Outbox", "binding_of", "earlier_refusals", "token_text"]
