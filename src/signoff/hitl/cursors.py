"""Cursors: where a page ended, sealed together with the query's filters (floor 6)."""

from __future__ import annotations

import base64
import hmac
import json
from datetime import datetime
from typing import Final

from signoff.model.request import Request
from signoff.security.keyring import Keyring

_MAC_BYTES: Final = hmac.new(b"", b"", "sha256").digest_size


def sealed_cursor(keyring: Keyring, last: Request, filters: str) -> str:
    """Return where a page ends, for the next query with the same filters."""
    place = json.dumps([last.created_at.isoformat(), last.request_id]).encode()
    kid, mac = keyring.mac("cursor", place + filters.encode())
    return base64.urlsafe_b64encode(bytes([kid]) + mac + place).decode()


def opened_cursor(keyring: Keyring, cursor: str, filters: str) -> tuple[datetime, str]:
    """Return where a page ended: a time and a request. Raises `ValueError` for a foreign cursor."""
    try:
        raw = base64.urlsafe_b64decode(cursor.encode())
        kid, mac, place = raw[0], raw[1 : 1 + _MAC_BYTES], raw[1 + _MAC_BYTES :]
        genuine = keyring.verify("cursor", kid, place + filters.encode(), mac)
    except (ValueError, IndexError):
        genuine = False
        place = b""
    if not genuine:
        raise ValueError("the cursor is not one that this query gave; begin without one")
    at, request_id = json.loads(place)
    return datetime.fromisoformat(at), request_id
