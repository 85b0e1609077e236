"""A page as HTML for mail clients: one column, inline styles, no images, no scripts (floor 3)."""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Final

from signoff.mail.marks import REPLY_LINE
from signoff.mail.page import Button, Line, Page, Part, Said, Section, harmless, shown
from signoff.model.request import Tone

TONES: Final[dict[Tone, str]] = {
    "slate": "#64748b",
    "amber": "#b45309",
    "red": "#b91c1c",
    "emerald": "#047857",
    "blue": "#1d4ed8",
}
"""The colour of each tone's edge; the tone's name stands in the line as well."""

_PAPER: Final = "#fcfcfd"
_INK: Final = "#1b1f24"
_FAINT: Final = "#525b66"
_BOX: Final = "#f1f3f5"
_RULE: Final = "#c3c9d0"
_DARK_PAPER: Final = "#16191d"
_DARK_INK: Final = "#e7e9ec"
_DARK_FAINT: Final = "#a9b1ba"
_DARK_BOX: Final = "#23282e"

_SANS: Final = "font-family:Segoe UI,Helvetica,Arial,sans-serif;"
_MONO: Final = "font-family:Consolas,Menlo,monospace;"

# Outlook on the web marks what it recolours with data-ogsc; it reads no media query.
_DARK_RULES: Final = (
    (".paper", f"background-color:{_DARK_PAPER} !important;color:{_DARK_INK} !important;"),
    (".faint", f"color:{_DARK_FAINT} !important;"),
    (".box", f"background-color:{_DARK_BOX} !important;color:{_DARK_INK} !important;"),
)
_STYLE: Final = (
    ":root{color-scheme:light dark;supported-color-schemes:light dark;}\n"
    "@media (prefers-color-scheme:dark){\n"
    + "\n".join(f"{selector}{{{rules}}}" for selector, rules in _DARK_RULES)
    + "\n}\n"
    + "\n".join(f"[data-ogsc] {selector}{{{rules}}}" for selector, rules in _DARK_RULES)
)


def html_of(page: Page) -> str:
    """Return a page as an XHTML document."""
    title = _line(page.title, page.words)
    first = _line(REPLY_LINE, page.words)
    heading = _line(page.heading, page.words)
    body = "\n".join(_section(section, page.words) for section in page.sections)
    return f"""\
<!DOCTYPE html>
<html xmlns="http://www.w3.org/1999/xhtml" lang="en" xml:lang="en">
<head>
<meta http-equiv="Content-Type" content="text/html; charset=utf-8" />
<meta name="viewport" content="width=device-width, initial-scale=1" />
<meta name="color-scheme" content="light dark" />
<meta name="supported-color-schemes" content="light dark" />
<title>{title}</title>
<style>
{_STYLE}
</style>
</head>
<body class="paper" style="margin:0;padding:0;background-color:{_PAPER};color:{_INK};">
<div style="display:none;max-height:0;overflow:hidden;">{_line(page.summary, page.words)}</div>
<table role="presentation" cellpadding="0" cellspacing="0" border="0" width="100%">
<tr>
<td align="center" style="padding:16px;">
<table role="presentation" cellpadding="0" cellspacing="0" border="0" width="600" \
style="width:100%;max-width:600px;">
<tr>
<td class="paper" dir="ltr" align="left" style="background-color:{_PAPER};color:{_INK};\
{_SANS}font-size:16px;line-height:24px;word-break:break-word;">
<p class="faint" style="margin:0 0 16px;color:{_FAINT};">{first}</p>
<h1 style="margin:0 0 16px;font-size:24px;line-height:30px;">{heading}</h1>
{body}
</td>
</tr>
</table>
</td>
</tr>
</table>
</body>
</html>
"""


def shown_lines(page: Page) -> Iterator[str]:
    """Yield the lines that a reader of the HTML sees, unfolded and without markup."""
    texts = [page.title, page.summary, REPLY_LINE, page.heading]
    for section in page.sections:
        texts += [section.title, *(_said(part) for part in section.parts)]
    for text in texts:
        yield harmless(shown(text), page.words)


def html_bytes(line: Line) -> int:
    """Return how many bytes a line takes in HTML, with a box of its own if it has a tone."""
    alone = _rows([line], frozenset()) if line.tone is None else _box([line], frozenset())
    return len(f"{alone}<br />\n".encode())


def _said(part: Part) -> str:
    if isinstance(part, Button):
        return part.label
    return part.text if isinstance(part, Said) else str(part)


def _section(section: Section, words: frozenset[str]) -> str:
    parts = [
        block
        for kind, group in groupby(section.parts, key=type)
        for block in _blocks(kind, list(group), words)
    ]
    title = _line(section.title, words)
    return "\n".join(
        [
            '<h2 style="margin:24px 0 8px;font-size:18px;line-height:24px;">' + title + "</h2>",
            *parts,
        ]
    )


def _blocks(kind: type[Part], parts: Sequence[Part], words: frozenset[str]) -> Iterator[str]:
    if kind is Line:
        yield _box([part for part in parts if isinstance(part, Line)], words)
    for part in parts:
        if isinstance(part, Said):
            yield f'<p style="margin:0 0 8px;">{_line(part.text, words)}</p>'
        elif isinstance(part, Button):
            yield _button(part, words)


def _box(lines: Sequence[Line], words: frozenset[str]) -> str:
    """Show lines of others in boxes: one for each run of lines of the same tone."""
    return "\n".join(
        f'<div class="box" style="margin:0 0 8px;padding:8px 12px;background-color:{_BOX};'
        f"color:{_INK};border:1px solid {_RULE};border-left:4px solid {edge};"
        f'{_MONO}unicode-bidi:isolate;">\n{_rows(list(group), words)}\n</div>'
        for edge, group in groupby(lines, key=_edge)
    )


def _edge(line: Line) -> str:
    return _RULE if line.tone is None else TONES[line.tone]


def _rows(lines: Sequence[Line], words: frozenset[str]) -> str:
    return "<br />\n".join(_line(str(line), words) for line in lines)


def _button(button: Button, words: frozenset[str]) -> str:
    """Return a padded cell with a link, 50 pixels high: what Word's renderer can do too."""
    return (
        '<table role="presentation" cellpadding="0" cellspacing="0" border="0" '
        'style="margin:0 0 12px;"><tr>'
        f'<td class="box" bgcolor="{_BOX}" style="background-color:{_BOX};'
        f'border:2px solid {_FAINT};">'
        f'<a class="box" href="{html.escape(button.href)}" style="display:block;'
        f"padding:11px 20px;color:{_INK};font-size:16px;line-height:24px;"
        f'font-weight:bold;text-decoration:none;">{_line(button.label, words)}</a>'
        "</td></tr></table>"
    )


def _line(text: str, words: frozenset[str]) -> str:
    """Escape a line, and keep every blank of a run of them."""
    escaped = html.escape(harmless(shown(text), words), quote=False)
    return escaped.replace("  ", " &#160;")
