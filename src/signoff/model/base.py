"""What all stored records share (floor 0)."""

from __future__ import annotations

from typing import Final

from pydantic import BaseModel, ConfigDict, Field

FORMAT: Final = 1
"""The record format that this code writes; a record with a higher one is refused."""


class Record(BaseModel):
    """
    A frozen record that survives a round trip through a newer or older Signoff.

    Members that this version does not know are kept and written back; a record whose
    `format` is higher than `FORMAT` is refused by `signoff.ports` readers.
    """

    model_config = ConfigDict(
        frozen=True, extra="allow", defer_build=True, ser_json_inf_nan="constants"
    )

    format: int = Field(default=FORMAT, ge=1)
