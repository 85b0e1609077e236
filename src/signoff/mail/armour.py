"""Text that was signed or encrypted inline by OpenPGP, without its armour (floor 3)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

_SIGNED: Final = "-----BEGIN PGP SIGNED MESSAGE-----"
_BLOCK: Final = "-----BEGIN PGP "
_END: Final = "-----END PGP "


def without_armour(lines: Sequence[str]) -> list[str]:
    """
    Return the lines that a person wrote: signed text as it was before, nothing of other blocks.

    No signature is checked: it is the sender and the token that count.

    Source: RFC 9580 section 7 (cleartext signatures) and section 6.2 (armour).
    """
    return list(_written(lines))


def _written(lines: Sequence[str]) -> Iterator[str]:
    in_headers = in_signed = in_block = False
    for line in lines:
        bare = line.strip()
        if bare == _SIGNED:
            in_headers = in_signed = True
        elif bare.startswith(_BLOCK):
            in_block, in_signed = True, False
        elif in_block:
            in_block = not bare.startswith(_END)
        elif in_headers:
            in_headers = bool(bare)
        else:
            yield line.removeprefix("- ") if in_signed else line
