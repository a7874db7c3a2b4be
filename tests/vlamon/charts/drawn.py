"""Charts of made-up runs, as the lines that they draw."""

from __future__ import annotations

import numpy as np

from vlamon.charts.cells import Guide
from vlamon.charts.chart import Picture, plot_columns
from vlamon.charts.chart_style import ChartStyle
from vlamon.charts.rows import text_of
from vlamon.charts.track import extent, stretches
from vlamon.charts.viewport import View, window
from vlamon.records import BatchBlock, Column, Event
from vlamon.store import RunStore

SIZE = (60, 10)
WHOLE, PLAIN = View(), ChartStyle(band=False)


def explosion(step: int, value: float) -> Event:
    data = {"metric": "closs", "value": value, "ratio": value / 8.5}
    return Event(f"e{step}", "explode", step, 0, 1.7e9, "error", "", data)


def block(first: int, values: list[float], attempt: int = 0, every: int = 1) -> BatchBlock:
    steps = np.arange(first, first + len(values)) * every
    return BatchBlock(
        first,
        attempt,
        steps,
        steps / 100.0,
        1.7e9 + steps * 0.5,
        {"closs": Column(np.array(values))},
    )


def picture(guides: tuple[Guide, ...] = ()) -> Picture:
    return Picture(["closs"], "closs", ["closs"], guides)


def draw(
    chart: Picture,
    store: RunStore,
    view: View = WHOLE,
    size: tuple[int, int] = SIZE,
    look: ChartStyle = PLAIN,
) -> list[str]:
    shown = window(view, extent(store, view.axis), plot_columns(size[0]))
    chart.update(store, view, shown, stretches(store, view.axis), size, look)
    return [text_of(row) for row in chart.rows]


def rolled_back() -> RunStore:
    store = RunStore()
    store.apply(block(0, [8.0] * 60 + [40.0] * 40))
    store.apply(block(60, [7.0] * 60, attempt=1))
    return store
