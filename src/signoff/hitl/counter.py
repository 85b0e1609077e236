"""What the queue works with, as the client's assembly puts it together (floor 6)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from signoff.bell import Bell
from signoff.codec import Codec
from signoff.desk import Desk
from signoff.model.policy import Policy
from signoff.ports import Store
from signoff.security.keyring import Keyring

Who = str | Callable[[], str | None] | None
"""A name, or something that is asked for one at each use."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counter:
    """
    What `Hitl` works with.

    Attributes:
        store: Where the requests are.
        desk: Which changes them.
        codec: Which reads their payloads.
        keyring: Which seals cursors.
        bell: Which rings after each commit of this process.
        policy: The client's policy.
        requester: Gives who asks, from what the caller said.
        reviewer: Who answers, when the caller does not say.
        names: Gives the names of the runs that this process can advance.
    """

    store: Store
    desk: Desk
    codec: Codec
    keyring: Keyring
    bell: Bell
    policy: Policy
    requester: Callable[[str | None], str | None]
    reviewer: Who
    names: Callable[[], Sequence[str]]
