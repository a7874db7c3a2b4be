"""The time line below a plot: tick labels, and marks of events where they happened."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vlamon.charts.chart_style import ChartStyle, border_role
from vlamon.charts.frame import axis_row
from vlamon.charts.glyphs import Glyphs
from vlamon.charts.marks import loudest, mark_broken
from vlamon.charts.rows import Row
from vlamon.charts.series import Drawing
from vlamon.charts.track import EventTrack, Track
from vlamon.charts.viewport import View, Window

if TYPE_CHECKING:
    from vlamon.store import RunStore


class TimeLine:
    """The time line of one chart, drawn again where the window, its end or a mark changed."""

    def __init__(self, tracks: Sequence[Track], events: EventTrack) -> None:
        self._tracks = tracks
        self._events = events
        self._drawn: tuple[object, ...] = ()

    def row(
        self,
        store: RunStore,
        view: View,
        shown: Window,
        look: ChartStyle,
        glyphs: Glyphs,
        drawing: Drawing,
        *,
        tail: int,
        seen: object,
    ) -> Row | None:
        """Return the row, None where it looks as it did when it was drawn last.

        `seen` stands for all else that it depends on; `tail` cells follow on the right.
        """
        odd = tuple(track.live.odd() for track in self._tracks)
        points = _points(drawing)
        end = _end(store, view)
        column = shown.column(end)
        # As far as it is written: a label moves by whole cells and has three digits.
        newest = (None if column is None else column // 2, f"{end:.3g}")
        key = (seen, len(store.events), odd, newest, points)
        if key == self._drawn:
            return None
        self._drawn = key
        return axis_row(
            shown,
            view,
            self._marks(shown, look),
            glyphs,
            utc_offset=look.utc_offset,
            border=border_role(look),
            plain=look.ascii_only,
            newest=end,
            points=points,
            tail=tail,
        )

    def _marks(self, shown: Window, look: ChartStyle) -> NDArray[np.uint8]:
        """Return the loudest mark of each cell: events, and this chart's NaN."""
        width = shown.columns // 2
        marks = np.zeros(width, dtype=np.uint8)
        if look.marks:
            marks = loudest(*self._events.cells(shown), width)
        for track in self._tracks:
            mark_broken(marks, track.live.flags)
        return marks


def _end(store: RunStore, view: View) -> float:
    """Return where the newest batch stands on an axis of steps or epochs."""
    if not store.rows or view.axis not in ("step", "epoch"):
        return math.nan
    last = store.rows - 1
    axis = store.steps if view.axis == "step" else store.epochs_of_rows
    return float(axis(last, last + 1)[0])


def _points(drawing: Drawing) -> tuple[int, ...]:
    """Return the cells of the values of a curve that has few of them."""
    found = {
        column // 2
        for curve in drawing.live
        if curve.points
        for column in np.flatnonzero(curve.bins.finite).tolist()
    }
    return tuple(sorted(found))
