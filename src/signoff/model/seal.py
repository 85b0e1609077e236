"""What is stored of a seal: the MACs that only a key outside the store can make (floor 0)."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Seal(BaseModel):
    """
    The seal of some named fields of one record.

    Attributes:
        kid: The id of the key that made it.
        tags: By field name, a tag of 32 hex digits over record, name and value.
        whole: One more such tag over all fields together, so that fields of two genuine seals
            cannot be mixed.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="allow", defer_build=True)

    kid: int
    tags: dict[str, str]
    whole: str
