"""One batch in full: what happened there, word for word, and every value that it has."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from vlamon.charts.glyphs import event_glyph
from vlamon.charts.metric_order import leading_first
from vlamon.charts.numbers import count
from vlamon.charts.rows import Row, shorten_name
from vlamon.tui.dialogs.page import Page
from vlamon.tui.frame_context import steps_are_epochs
from vlamon.tui.host import Host
from vlamon.tui.severity import severity_role
from vlamon.tui.widgets.events import sentence
from vlamon.tui.widgets.inspector import batch_samples, events_at, value_cell, values_at, where

COLUMN = 40
"""Columns of text for one metric; a page has as many as fit."""


def batch_page(host: Host, row: int) -> Page:
    """Return the page of a batch as it is now; the caller holds the feed's lock.

    What is written is read once: the run goes on behind the page, and rows may move.
    """
    store, glyphs = host.store, host.shell.rendering.glyphs
    head = where(store, row, Page.WIDTH)
    events = events_at(store, row)
    named = [str(event.data.get("metric", "")) for event in events]
    names = leading_first(store, store.metrics, named)
    values = {name: values_at(store, row, name) for name in names}
    logged = [name for name in names if values[name].value is not None]
    missing = [name for name in names if values[name].value is None]

    def write(width: int) -> Sequence[Row]:
        rows: list[Row] = [head, ()]
        for event in events:
            lines = textwrap.wrap(sentence(event), width - 18) or [""]
            glyph = event_glyph(event, glyphs)
            rows.append(
                ((f" {glyph} {event.kind:<12}", severity_role(event)), (lines[0], "foreground"))
            )
            rows += [((" " * 15 + line, "foreground"),) for line in lines[1:]]
            rows += _wrapped("samples", batch_samples(event), width)
        if events:
            rows.append(())
        columns = max(1, width // COLUMN)
        deep = -(-len(logged) // columns)
        for line in range(deep):
            cells = (
                value_cell(name, values[name], width // columns, glyphs, tuple(logged))
                for name in logged[line::deep]
            )
            rows.append(tuple(part for cell in cells for part in cell))
        if missing:
            rows.append(())
            short = (shorten_name(name, width - 20, glyphs.ellipsis) for name in missing)
            rows += _wrapped("not logged", ", ".join(short), width)
        return rows

    unit = "epoch" if steps_are_epochs(store) else "step"
    return Page(host, f"{unit} {count(int(store.steps(row, row + 1)[0]))}", write)


def _wrapped(name: str, text: str, width: int) -> list[Row]:
    lines = textwrap.wrap(text, width - 18) if text else []
    return [
        ((f"   {name if index == 0 else '':<12}", "muted"), (line, "foreground"))
        for index, line in enumerate(lines)
    ]
