"""One entry of a hash chain (floor 0)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from signoff.model.values import Tree


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """
    What one command or timer did, with all its consequences.

    `body` holds no personal value: each is a salted commitment there, and stands itself in
    `personal`, which the store keeps apart (another table), so that it can be erased while
    the chain still verifies.

    Attributes:
        stream: `request:<id>`, `run:<id>` or `commands:<run id>`.
        seq: Its place in the stream, from 1, without gaps.
        prev_hash: The hash of the entry before, 32 zero bytes for the first.
        body: Exactly the bytes that are hashed.
        hash: SHA-256 as in `signoff.rules.chain`.
        kid: The key of the MAC.
        mac: HMAC-SHA256 over `hash`.
        salt: The salt of the commitments; empty when there are none or they were erased.
        personal: The personal values by their name in the body; empty once erased.
    """

    stream: str
    seq: int
    prev_hash: bytes = field(repr=False)
    body: bytes
    hash: bytes = field(repr=False)
    kid: int = field(repr=False)
    mac: bytes = field(repr=False)
    salt: bytes = field(default=b"", repr=False)
    personal: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def facts(self) -> dict[str, Tree]:
        """The body, parsed, with the personal values that are still there in place of their commitments."""
        facts: dict[str, Tree] = json.loads(self.body)
        return {**facts, **self.personal}

    @property
    def event(self) -> str:
        """What happened, for example `request.approved`."""
        return str(self.facts["event"])

    @property
    def actor(self) -> str:
        """Who did it; a commitment once that was erased."""
        return str(self.facts["actor"])

    @property
    def at(self) -> datetime:
        """When, aware and in UTC."""
        return datetime.fromisoformat(str(self.facts["at"]))
