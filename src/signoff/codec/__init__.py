"""Values to canonical JSON text and back, in value and type (floor 2)."""

from __future__ import annotations

from signoff.codec.core import Codec, codec

__all__ = ["Codec", "codec"]
