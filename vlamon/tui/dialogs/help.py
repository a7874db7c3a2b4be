"""The help page, made from the table of keys: what is bound is what is written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vlamon.charts.rows import Row
from vlamon.tui.bindings import CHAPTERS, keys_for
from vlamon.tui.dialogs.page import Page

if TYPE_CHECKING:
    from vlamon.tui.host import Host

_SIGNS = (
    ("↑ ↓", "a value beyond the y range: the column has one, however short it was"),
    ("✕ ∞", "NaN and infinity: marks of their own, never gaps"),
    ("▲ △", "an explosion, a warning of the guard"),
    ("◆ ✎", "a checkpoint, a note or an autopsy"),
    ("↶", "a rollback; what was abandoned stays, dimmed"),
)

_MOUSE = "Mouse: a click sets the cursor, the wheel zooms, dragging pans; keys can be clicked."


def help_page(host: Host) -> Page:
    """Give the page for the keys that this dashboard has."""
    keys = keys_for(host.shell.options.read_only)

    def write(width: int) -> Sequence[Row]:
        rows: list[Row] = []
        for chapter in CHAPTERS:
            rows.append(((f" {chapter}", "accent bold"),))
            for key in (key for key in keys if key.chapter == chapter):
                rows.append(((f"   {key.label:<6}", "key bold"), (key.help, "foreground")))
            rows.append(())
        rows.append(((" Signs on the charts", "accent bold"),))
        rows += [((f"   {sign:<6}", "title"), (words, "foreground")) for sign, words in _SIGNS]
        rows.append(())
        rows.append(((f" {_MOUSE}", "muted"),))
        for complaint in host.shell.theme_set.complaints:
            rows.append(((f" {complaint}", "warn"),))
        return rows

    return Page(host, "keys", write)
