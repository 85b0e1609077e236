"""A page as HTML for mail clients: one column, inline styles, no images, no scripts (floor 3)."""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Final

from signoff.mail.marks import REPLY_LINE
from signoff.mail.page import (
    Button,
    Fact,
    Line,
    Look,
    Page,
    Part,
    Said,
    Section,
    harmless,
    shown,
)
from signoff.mail.styles import (
    BOX,
    BUTTONS,
    DESK,
    FAINT,
    INK,
    MONO,
    PAPER,
    RULE,
    SANS,
    STYLE,
    TINTS,
    TONES,
)
from signoff.model.request import Tone

_TABLE: Final = '<table role="presentation" cellpadding="0" cellspacing="0" border="0" width="100%"'
_BREAK: Final = "<br />\n"
_H2: Final = '<h2 style="margin:28px 0 8px;font-size:18px;line-height:24px;font-weight:bold;">'
_KEY: Final = (
    f'<td class="faint edge" width="36%" style="border-top:1px solid {RULE};color:{FAINT};">'
)
_VALUE: Final = f'<td class="edge" style="border-top:1px solid {RULE};{MONO}">'
_WIDE: Final = f'<td class="edge" colspan="2" style="border-top:1px solid {RULE};{MONO}">'


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
{STYLE}
</style>
</head>
<body class="desk" style="margin:0;padding:0;background-color:{DESK};color:{INK};">
<div style="display:none;max-height:0;overflow:hidden;">{_line(page.summary, page.words)}</div>
{_TABLE} class="desk" bgcolor="{DESK}" style="background-color:{DESK};">
<tr>
<td align="center" style="padding:12px 8px 24px;">
<table role="presentation" cellpadding="0" cellspacing="0" border="0" width="600" \
style="width:100%;max-width:600px;">
<tr>
<td class="aside" dir="ltr" align="left" style="padding:0 8px 12px;color:{FAINT};{SANS}\
font-size:16px;line-height:24px;">{first}</td>
</tr>
<tr>
<td class="paper" dir="ltr" align="left" bgcolor="{PAPER}" style="padding:24px 20px;\
background-color:{PAPER};color:{INK};{SANS}font-size:16px;line-height:24px;word-break:break-word;\
border:1px solid {RULE};border-top:6px solid {TONES[page.tone]};">
<h1 style="margin:0 0 16px;font-size:26px;line-height:32px;font-weight:bold;">{heading}</h1>
{_head(page)}
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
    """
    Yield the lines that a reader of the HTML sees, unfolded and without markup.

    A row of a table comes twice: cell by cell, and as the one line that most mail programs
    make of it.
    """
    texts = [page.title, page.summary, REPLY_LINE, page.heading, *map(str, page.head)]
    for section in page.sections:
        texts += [section.title, *(line for part in section.parts for line in _read(part))]
    for text in texts:
        yield harmless(shown(text), page.words)


def html_bytes(line: Line) -> int:
    """Return how many bytes a line takes in HTML at the most, as a row or in a box of its own."""
    alone = _inner(line, frozenset()) + _BREAK
    if line.lead:
        alone = max(_row([line], frozenset()), _box([line], frozenset()), key=len) + "\n"
    return len(alone.encode())


def _read(part: Part) -> Iterator[str]:
    match part:
        case Button():
            yield from filter(None, (part.label, part.note))
        case Said():
            yield from () if part.only == "text" else (part.text,)
        case Line() if part.lead:
            value = str(Line(text=part.text, gutter=part.gutter))
            yield from (
                str(part),
                _bare(part.lead),
                value,
                f"{_bare(part.lead)} {value}",
                part.lead,
            )
        case _:
            yield str(part)


def _bare(lead: str) -> str:
    """Return a lead as the cell of a table that needs no colon."""
    return lead.removesuffix(":")


def _head(page: Page) -> str:
    if not page.head:
        return ""
    lines = _BREAK.join(_fact(fact, page.words) for fact in page.head)
    return _panel(lines, tone=page.tone)


def _fact(fact: Fact, words: frozenset[str]) -> str:
    whole = _line(str(fact), words)
    value = _escaped(f": {fact.value}")
    return whole.replace(value, f": <strong>{value[2:]}</strong>", 1)


def _section(section: Section, words: frozenset[str]) -> str:
    parts = [
        block
        for kind, group in groupby(section.parts, key=type)
        for block in _blocks(kind, list(group), section.look, words)
    ]
    title = _line(section.title, words)
    if section.look == "quiet":
        parts = [f'<div class="faint" style="color:{FAINT};">\n{part}\n</div>' for part in parts]
    return "\n".join([f"{_H2}{title}</h2>", *parts])


def _blocks(
    kind: type[Part], parts: Sequence[Part], look: Look, words: frozenset[str]
) -> Iterator[str]:
    if kind is Line:
        lines = [part for part in parts if isinstance(part, Line)]
        yield _rows(lines, words) if look == "rows" else _boxes(lines, look, words)
    for part in parts:
        if isinstance(part, Said) and part.only != "text":
            yield f'<p style="margin:0 0 8px;">{_line(part.text, words)}</p>'
        elif isinstance(part, Fact):
            yield f'<p style="margin:0 0 8px;">{_fact(part, words)}</p>'
        elif isinstance(part, Button):
            yield _button(part, words)


def _items(lines: Sequence[Line]) -> Iterator[list[Line]]:
    """Yield lines with a lead together with those that go on with them."""
    item: list[Line] = []
    for line in lines:
        if item and line.lead:
            yield item
            item = []
        item.append(line)
    yield item


def _rows(lines: Sequence[Line], words: frozenset[str]) -> str:
    """Show lines as a table: a value beside its name, a longer text below it."""
    rows = "\n".join(_row(item, words) for item in _items(lines))
    return (
        '<table role="presentation" cellpadding="8" cellspacing="0" border="0" width="100%" '
        f'class="box edge" bgcolor="{BOX}" style="background-color:{BOX};color:{INK};'
        f'border:1px solid {RULE};border-top:0;unicode-bidi:isolate;">\n{rows}\n</table>'
    )


def _row(item: Sequence[Line], words: frozenset[str]) -> str:
    first, *rest = item
    if first.lead and first.text and not rest:
        value = Line(text=first.text, gutter=first.gutter)
        key = _line(_bare(first.lead), words)
        return f'<tr valign="top">{_KEY}{key}</td>\n{_VALUE}{_line(str(value), words)}</td></tr>'
    name = f'<span class="faint" style="color:{FAINT};{SANS}">{_line(first.lead, words)}</span>'
    lines = [name, *([_inner(replace(first, lead=""), words)] if first.text else [])]
    lines += [_inner(line, words) for line in rest]
    return f"<tr>{_WIDE}{_BREAK.join(lines if first.lead else lines[1:])}</td></tr>"


def _boxes(lines: Sequence[Line], look: Look, words: frozenset[str]) -> str:
    """Show lines in one box, or in a box for each that has a lead."""
    items = _items(lines) if look == "boxes" else [lines]
    return "\n".join(_box(item, words) for item in items)


def _box(lines: Sequence[Line], words: frozenset[str]) -> str:
    return _panel(_BREAK.join(_inner(line, words) for line in lines), tone=lines[0].tone)


def _panel(inner: str, *, tone: Tone | None) -> str:
    """Return a padded cell with a coloured left edge, which Word's renderer can do too."""
    paper, edge = (TINTS[tone], TONES[tone]) if tone else (BOX, RULE)
    return (
        f'{_TABLE} style="margin:0 0 8px;"><tr><td class="box {tone or "edge"}" bgcolor="{paper}" '
        f'style="padding:10px 14px;background-color:{paper};color:{INK};'
        f'border-left:4px solid {edge};unicode-bidi:isolate;">\n{inner}\n</td></tr></table>'
    )


def _inner(line: Line, words: frozenset[str]) -> str:
    """Return a line with its lead emphasised."""
    whole, lead = _line(str(line), words), _escaped(line.lead)
    return whole.replace(lead, f"<strong>{lead}</strong>", 1) if lead else whole


def _button(button: Button, words: frozenset[str]) -> str:
    """Return a padded cell with a link that fills it: a large target, in Word's renderer too."""
    ink, paper, edge = BUTTONS[button.look]
    note = f"<br />\n{_line(button.note, words)}" if button.note else ""
    return (
        f'{_TABLE} style="margin:0 0 12px;"><tr>'
        f'<td class="{button.look}" align="center" bgcolor="{paper}" style="background-color:{paper};'
        f'border:2px solid {edge};border-radius:6px;mso-padding-alt:12px 20px;">'
        f'<a class="{button.look}" href="{html.escape(button.href)}" style="display:block;'
        f"padding:12px 20px;color:{ink};{SANS}font-size:16px;line-height:24px;"
        f'text-decoration:none;"><strong>{_line(button.label, words)}</strong>{note}</a>'
        "</td></tr></table>"
    )


def _line(text: str, words: frozenset[str]) -> str:
    """Escape a line, and keep every blank of a run of them."""
    return _escaped(harmless(shown(text), words))


def _escaped(text: str) -> str:
    return html.escape(shown(text), quote=False).replace("  ", " &#160;")
