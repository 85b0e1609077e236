"""The colours of a mail, in light and in dark, and the styles that clients read (floor 3)."""

from __future__ import annotations

from typing import Final

from signoff.mail.page import ButtonLook
from signoff.model.request import Tone

TONES: Final[dict[Tone, str]] = {
    "slate": "#64748b",
    "amber": "#b45309",
    "red": "#b91c1c",
    "emerald": "#047857",
    "blue": "#1d4ed8",
}
"""The colour of each tone's edge; the tone's name stands in the line as well."""

TINTS: Final[dict[Tone, str]] = {
    "slate": "#f1f4f8",
    "amber": "#fdf4e3",
    "red": "#fcefee",
    "emerald": "#e9f7f0",
    "blue": "#eaf1fd",
}
"""What lies under text of a tone, in light; in dark it is the same for all."""

DESK: Final = "#e8ecf1"
"""What lies around the page."""

PAPER: Final = "#fcfcfd"
INK: Final = "#1b1f24"
FAINT: Final = "#525b66"
BOX: Final = "#f4f6f8"
RULE: Final = "#c3c9d0"

_DARK_DESK: Final = "#0f1215"
_DARK_PAPER: Final = "#1a1e23"
_DARK_INK: Final = "#e7e9ec"
_DARK_FAINT: Final = "#a9b1ba"
_DARK_BOX: Final = "#262c33"
_DARK_RULE: Final = "#434b55"

BUTTONS: Final[dict[ButtonLook, tuple[str, str, str]]] = {
    "approve": ("#fcfcfd", "#047857", "#047857"),
    "reject": ("#fcfcfd", "#b91c1c", "#b91c1c"),
    "neutral": (INK, PAPER, FAINT),
}
"""Ink, paper and edge of each button."""

_DARK_TONES: Final[dict[Tone, str]] = {
    "slate": "#94a3b8",
    "amber": "#e0a049",
    "red": "#ef8585",
    "emerald": "#4bbf96",
    "blue": "#7ea6f4",
}

SANS: Final = "font-family:Segoe UI,Helvetica,Arial,sans-serif;"
MONO: Final = "font-family:Consolas,Menlo,monospace;"

_DARK: Final = (
    (".desk", f"background-color:{_DARK_DESK} !important;color:{_DARK_INK} !important;"),
    (".aside", f"color:{_DARK_FAINT} !important;"),
    (
        ".paper",
        (
            f"background-color:{_DARK_PAPER} !important;color:{_DARK_INK} !important;"
            f"border-left-color:{_DARK_RULE} !important;border-right-color:{_DARK_RULE} !important;"
            f"border-bottom-color:{_DARK_RULE} !important;"
        ),
    ),
    (".faint", f"color:{_DARK_FAINT} !important;"),
    (".box", f"background-color:{_DARK_BOX} !important;color:{_DARK_INK} !important;"),
    (".edge", f"border-color:{_DARK_RULE} !important;"),
    *((f".{tone}", f"border-left-color:{edge} !important;") for tone, edge in _DARK_TONES.items()),
    (".neutral", f"background-color:{_DARK_BOX} !important;color:{_DARK_INK} !important;"),
)

# Word's renderer does not hand the font of a cell down to tables inside it. Outlook on the web
# reads no media query; it marks what it recolours with data-ogsc and data-ogsb.
STYLE: Final = (
    ":root{color-scheme:light dark;supported-color-schemes:light dark;}\n"
    f"table,td,p,h1,h2,a{{{SANS}}}\ntd,p,a{{font-size:16px;line-height:24px;}}\n"
    "@media (prefers-color-scheme:dark){\n"
    + "\n".join(f"{selector}{{{rules}}}" for selector, rules in _DARK)
    + "\n}\n"
    + "\n".join(
        f"[{mark}] {selector}{{{rules}}}"
        for mark in ("data-ogsc", "data-ogsb")
        for selector, rules in _DARK
    )
)
"""The style sheet: fonts, and the dark scheme."""
