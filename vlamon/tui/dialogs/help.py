"""The help page, made from the table of keys: what is bound is what is written."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from vlamon.charts.rows import Row, fit
from vlamon.key_bindings import CHAPTERS, keys_for
from vlamon.tui.dialogs.page import Page

if TYPE_CHECKING:
    from vlamon.tui.host import Host

_SIGNS = (
    ("↑ ↓", "a value beyond the y range: the column has one, however short it was"),
    ("∅ ∞", "NaN and infinity: marks of their own, never gaps"),
    ("✗ △", "an explosion, a warning of the guard"),
    ("◆ ✎", "a checkpoint, a note or an autopsy"),
    ("↶", "a rollback; what was abandoned stays, dimmed"),
)

_MOUSE = "Mouse: a click sets the cursor, the wheel zooms, dragging pans; keys can be clicked."


LABEL = 7
"""Columns of a key's name."""
LEAST_COLUMN = 36
"""Columns from which on there are two columns."""


class HelpPage(Page):
    """A page wide enough for whole sentences in two columns."""

    WIDTH = 2 * (50 + LABEL + 3) + 2


def help_page(host: Host) -> HelpPage:
    """Return the page for the keys that this dashboard has."""
    keys = keys_for(host.shell.options.read_only, host.shell.options.keys)

    def write(width: int) -> Sequence[Row]:
        columns = 2 if width >= 2 * LEAST_COLUMN else 1
        room = width // columns
        rows: list[Row] = []
        for chapter in CHAPTERS:
            rows.append(((f" {chapter}", "accent bold"),))
            for key in (key for key in keys if key.chapter == chapter):
                rows += _entry(key.label, "key bold", key.help, room)
            rows.append(())
        rows.append(((" Signs on the charts", "accent bold"),))
        for sign, words in _SIGNS:
            rows += _entry(sign, "title", words, room)
        rows.append(())
        deep = -(-len(rows) // columns)
        page = [_beside(rows[at : at + columns * deep : deep], room) for at in range(deep)]
        page += [((f" {line}", "muted"),) for line in textwrap.wrap(_MOUSE, width - 2)]
        for complaint in host.shell.theme_set.complaints:
            page.append(((f" {complaint}", "warn"),))
        return page

    return HelpPage(host, "keys", write)


def _entry(label: str, role: str, words: str, width: int) -> list[Row]:
    """Write a key with its sentence, in as many rows as it takes."""
    first, *more = textwrap.wrap(words, width - LABEL - 3) or [""]
    rows: list[Row] = [((f"  {label:<{LABEL}}", role), (first, "foreground"))]
    return [*rows, *(((" " * (LABEL + 2) + line, "foreground"),) for line in more)]


def _beside(rows: Sequence[Row], width: int) -> Row:
    """Put rows side by side."""
    return tuple(span for row in rows for span in fit(row, width))
