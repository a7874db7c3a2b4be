"""For very small terminals: a row a metric, its value and a sparkline of the whole run."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from vlamon.tui.moment import Moment
from vlamon.tui.numbers import number
from vlamon.tui.rows import Row, column, shorten_name
from vlamon.tui.sparkline import sparkline
from vlamon.tui.themes import role_of_metric
from vlamon.tui.widgets.row_panel import RowPanel


class NumbersPanel(RowPanel):
    """Values and sparklines, trained terms first; the newest alert in the last row."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.names: Sequence[str] = ()

    def rows(self, moment: Moment, width: int, height: int) -> Sequence[Row]:
        """Give a row a metric, as many as fit."""
        names = list(self.names or moment.store.metrics)[:height]
        if not names or moment.row is None:
            return [((" no batch yet", "muted"),)]
        name_cells = min(max(len(name) for name in names) + 1, width * 2 // 5)
        room = width - name_cells - 12
        return [_row(moment, name, index, name_cells, room) for index, name in enumerate(names)]


def _row(moment: Moment, name: str, index: int, name_cells: int, room: int) -> Row:
    assert moment.row is not None
    value = moment.store.value(name, moment.row)
    if value is None and not moment.at_cursor:
        value = moment.store.latest(name)
    bad = value is not None and not math.isfinite(value)
    role = role_of_metric(name, index)
    return (
        (
            " " + column(shorten_name(name, name_cells - 1, moment.glyphs.ellipsis), name_cells),
            role,
        ),
        (number(value).rjust(9) + " ", "explode bold" if bad else "foreground"),
        (history(moment, name, room), role),
    )


def history(moment: Moment, name: str, room: int) -> str:
    """Draw a metric's whole history in `room` glyphs from the store's envelope."""
    store = moment.store
    if room <= 0 or not store.rows:
        return ""
    edges = np.linspace(0, store.rows, min(room, store.rows) + 1)
    envelope = store.envelope(name, edges, axis="row")
    top = float(np.nanpercentile(envelope.high, 98)) if np.isfinite(envelope.high).any() else None
    return sparkline(envelope.high, room, moment.glyphs.level, high=top)
