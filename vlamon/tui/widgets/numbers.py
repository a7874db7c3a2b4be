"""For very small terminals: a row a metric, its value and a sparkline of the whole run."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from vlamon.charts.glyphs import event_glyph
from vlamon.charts.metric_order import leading_first
from vlamon.charts.metric_roles import role_of_metric
from vlamon.charts.numbers import number
from vlamon.charts.rows import Row, column, shorten, shorten_names
from vlamon.charts.sparkline import sparkline
from vlamon.tui.frame_context import FrameContext
from vlamon.tui.severity import alarming, severity_role
from vlamon.tui.widgets.events import sentence
from vlamon.tui.widgets.row_panel import RowPanel


class NumbersPanel(RowPanel):
    """Values and sparklines, trained terms first; the newest alert in the last row."""

    def rows(self, frame: FrameContext, width: int, height: int) -> Sequence[Row]:
        """Return one row a metric, as many as fit."""
        alert = _newest_alert(frame, width) if height > 1 else None
        names = leading_first(frame.store, frame.store.metrics)
        names = names[: height - (alert is not None)]
        if not names or frame.row is None:
            return [((" no batch yet", "muted"),)]
        name_cells = min(max(len(name) for name in names) + 1, width * 2 // 5)
        room = width - name_cells - 12
        short = shorten_names(tuple(names), name_cells - 1, frame.glyphs.ellipsis)
        labels = [" " + column(short[name], name_cells) for name in names]
        rows = [_row(frame, name, label, room) for name, label in zip(names, labels, strict=True)]
        if alert is None:
            return rows
        return [*rows, *[()] * (height - 1 - len(rows)), alert]


def _newest_alert(frame: FrameContext, width: int) -> Row | None:
    """Return the newest event that calls a person, None where none does."""
    for event in reversed(frame.store.events):
        if alarming(event):
            text = f" {event_glyph(event, frame.glyphs)} {event.kind} {sentence(event)}"
            return ((shorten(text, width, frame.glyphs.ellipsis), severity_role(event)),)
    return None


def _row(frame: FrameContext, name: str, label: str, room: int) -> Row:
    assert frame.row is not None
    value = frame.store.value(name, frame.row)
    if value is None and not frame.at_cursor:
        value = frame.store.latest(name)
    bad = value is not None and not math.isfinite(value)
    role = role_of_metric(name)
    return (
        (label, role),
        (number(value).rjust(9) + " ", "explode bold" if bad else "foreground"),
        (history(frame, name, room), role),
    )


def history(frame: FrameContext, name: str, room: int) -> str:
    """Draw a metric's whole history in `room` glyphs from the store's envelope."""
    store = frame.store
    if room <= 0 or not store.rows:
        return ""
    edges = np.linspace(0, store.rows, min(room, store.rows) + 1)
    envelope = store.envelope(name, edges, axis="row")
    top = float(np.nanpercentile(envelope.high, 98)) if np.isfinite(envelope.high).any() else None
    return sparkline(envelope.high, room, frame.glyphs.level, high=top)
