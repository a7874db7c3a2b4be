"""One chart as rows of text and roles, kept up to date at a cost apart from the rows held."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from vlamon.charts.band import Band
from vlamon.charts.baseline import Baseline, BaselineTracks
from vlamon.charts.bins import FINITE
from vlamon.charts.braille import DOTS_HIGH
from vlamon.charts.cells import ASCII, UNICODE, Cells, Guide, JudgedDot
from vlamon.charts.chart_style import ChartStyle, border_role
from vlamon.charts.frame import AROUND, plot_row
from vlamon.charts.glyphs import ASCII as ASCII_GLYPHS
from vlamon.charts.glyphs import UNICODE as UNICODE_GLYPHS
from vlamon.charts.glyphs import Glyphs
from vlamon.charts.numbers import number
from vlamon.charts.panels import line_names
from vlamon.charts.raster import rasterise
from vlamon.charts.rows import Row
from vlamon.charts.scale import ENOUGH, Extremes, Scale, fit
from vlamon.charts.series import MANY, Drawing, draw, end_rows, end_width
from vlamon.charts.shapes import Shape, shape
from vlamon.charts.tail import PlacedTail, Tail, placed_tail, reshaped, tail_of, with_tail
from vlamon.charts.ticks import spoken
from vlamon.charts.time_line import TimeLine
from vlamon.charts.title import Title
from vlamon.charts.track import EventTrack, Stretch, Track
from vlamon.charts.viewport import View, Window
from vlamon.charts.y_labels import y_labels

if TYPE_CHECKING:
    from vlamon.detect.rules import SpikeRules
    from vlamon.store import RunStore

COUNTED = 0.9
"""Share of the columns with data, the newest ones, that y fits."""
_REFIT = 64
"""Frames after which the y range may shrink again although nothing left it."""


class Picture:
    """The rows of one chart."""

    def __init__(
        self,
        metrics: Sequence[str],
        title: str,
        roles: Sequence[str],
        guides: Sequence[Guide] = (),
        rules: SpikeRules | None = None,
    ) -> None:
        self.metrics = tuple(metrics)
        self.title = title
        self.roles = tuple(roles)
        self.own_guides = tuple(guides)
        self.guides = self.own_guides
        self.tracks = [Track(metric) for metric in metrics]
        self.names = line_names(metrics)
        self.rows: list[Row] = []
        self.window: Window | None = None
        self.scale: Scale | None = None
        self.drawing = Drawing(())
        self._shapes: tuple[Shape, ...] = ()
        """Of the curves as they were drawn; none where they have to be drawn again."""
        self._spots: list[JudgedDot] = []
        self._ends: list[Row] = []
        self._grid: Cells | None = None
        self._events = EventTrack()
        self._seen: tuple[object, ...] = ()
        self._drawn: tuple[object, ...] = ()
        self._time_line = TimeLine(self.tracks, self._events)
        self._look = ChartStyle()
        self._frames = 0
        self._baseline: RunStore | None = None
        self._band = Band(metrics[0], rules) if len(metrics) == 1 else None
        self._title = Title(metrics, roles, self.names, self._band)
        self._under = BaselineTracks(metrics)

    def plot_columns(self, width: int) -> int:
        """Return the dot columns of the plot of this chart where it is `width` columns wide."""
        return plot_columns(width - end_width(self.names, width))

    def update(
        self,
        store: RunStore,
        view: View,
        shown: Window,
        parts: Sequence[Stretch],
        size: tuple[int, int],
        look: ChartStyle,
        cursor_row: int | None = None,
        baseline: Baseline | None = None,
    ) -> list[int]:
        """Draw what is new; returns the numbers of the rows that differ from the last picture.

        The title has the values of `cursor_row`, the newest ones without. The curves of `baseline`
        lie under the run's own.
        """
        width, height = size
        glyphs = _glyphs(look)
        news = [track.update(store, view.axis, shown, parts) for track in self.tracks]
        since = min((first for first in news if first is not None), default=shown.columns)
        self._events.update(store, view.axis)
        band = self._band.guides(store) if self._band is not None and look.band else ()
        self.guides = (*band, *self.own_guides)
        under = self._under.update(baseline, view.axis, shown)
        self._frames += _REFIT * under
        other = None if baseline is None else baseline.store
        if other is not self._baseline:
            self._baseline, self.scale = other, None
        seen = (shown, view.cursor, size, look, self.guides, other)
        whole = under or seen != self._seen
        self._seen = seen
        moved = None if whole else self._follow(since, shown, look, height - 2)
        if moved is None:
            self._draw(shown, look, height - 2)
        self.window, self._look = shown, look
        rows = {0: self._title_row(store, cursor_row, width, look, baseline)}
        rows.update(self._plot(store, shown, size, view, look, glyphs, moved is not False))
        if height >= 2:
            tail = end_width(self.names, width)
            line = self._time_line.row(
                store, view, shown, look, glyphs, self.drawing, tail=tail, seen=self._seen
            )
            if line is not None:
                rows[height - 1] = line
        if len(self.rows) != height:
            self.rows = [()] * height
        changed = [n for n, row in rows.items() if n < height and row != self.rows[n]]
        for n in changed:
            self.rows[n] = rows[n]
        return changed

    def retitle(
        self,
        store: RunStore,
        cursor_row: int | None,
        width: int,
        look: ChartStyle,
        baseline: Baseline | None = None,
    ) -> list[int]:
        """Write what the title says now, over curves that stay as they are; returns the rows that
        differ, as `update` does."""
        title = self._title_row(store, cursor_row, width, look, baseline)
        if not self.rows or title == self.rows[0]:
            return []
        self.rows[0] = title
        return [0]

    def _draw(self, shown: Window, look: ChartStyle, rows: int) -> None:
        """Draw all curves again."""
        beneath = self._under.bins
        self.drawing = draw(self.tracks, self.roles, self.names, look.smooth, beneath)
        self._rescale(shown, look, max(0, rows))
        self._shapes = ()

    def _follow(self, since: int, shown: Window, look: ChartStyle, rows: int) -> bool | None:
        """Bring the curves up to what changed from a column on; says whether a dot moved, which of
        most batches of a long run none does, or None where the curves have to be drawn again."""
        if self.scale is None or not self._shapes or len(self.tracks) > MANY:
            return None
        if since >= len(self.tracks[0].live.low):
            return False
        live = [at for at, curve in enumerate(self.drawing.curves) if not curve.under]
        ends: list[tuple[int, Tail, PlacedTail]] = []
        for at, track in zip(live, self.tracks, strict=True):
            end = self._end_of(at, track, since, look, rows)
            if end is None:
                return None
            if not end[2].is_end_of(self._shapes[at]):
                ends.append(end)
        if not ends:
            return False
        return True if len(live) == 1 and self._lengthen(*ends[0], shown, look, rows) else None

    def _end_of(
        self, at: int, track: Track, since: int, look: ChartStyle, rows: int
    ) -> tuple[int, Tail, PlacedTail] | None:
        """Return what a curve's newest columns are now; None where that takes the whole curve."""
        assert self.scale is not None
        odd = any(flags & ~FINITE for flags in track.live.flags[since:].tolist())
        tail = None if odd else tail_of(track.live, look.smooth, since)
        if tail is None or self.drawing.curves[at].points:
            return None
        if any(count in (1, 2) for count in tail.finite[since - tail.first :]):
            return None  # the band begins with the second batch
        placed = placed_tail(tail, self.scale, rows * DOTS_HIGH)
        return None if placed is None else (at, tail, placed)

    def _lengthen(
        self, at: int, tail: Tail, placed: PlacedTail, shown: Window, look: ChartStyle, rows: int
    ) -> bool:
        """Give a curve its new end; says whether its scale still fits."""
        curves, shapes, scale = list(self.drawing.curves), list(self._shapes), self.scale
        curves[at] = with_tail(curves[at], tail)
        shapes[at] = reshaped(curves[at], shapes[at], placed)
        self.drawing, self._shapes = replace(self.drawing, curves=tuple(curves)), tuple(shapes)
        self._rescale(shown, look, max(0, rows))
        return self.scale is scale

    # The range of y

    def _rescale(self, shown: Window, look: ChartStyle, rows: int) -> None:
        """Fit y again where the window or the look changed, something left it, or once in a while.

        The columns that count are the newest nine tenths: what a run looks like while it starts
        leaves through the top, with a mark.
        """
        old = self.scale
        same = shown == self.window and (look.log, look.robust) == (
            self._look.log,
            self._look.robust,
        )
        live: list[Extremes] = []
        grey: list[Extremes] = []
        for curve in self.drawing.curves:
            held = np.flatnonzero(curve.bins.finite)
            cut = round(len(held) * (1 - COUNTED)) if look.robust and len(held) >= ENOUGH else 0
            at = held[cut:]
            line = curve.line[at]
            low = np.fmin(curve.bins.low[at], line) if curve.band else line
            high = np.fmax(curve.bins.high[at], line) if curve.band else line
            (grey if curve.under else live).append((low, high))
        self._frames += 1
        if same and old is not None and old.rows == rows and self._frames < _REFIT:
            with np.errstate(invalid="ignore"):
                if not any((high > old.high).any() or (low < old.low).any() for low, high in live):
                    return
        self._frames = 0
        self.scale = fit(
            live,
            log=look.log,
            robust=look.robust,
            previous=old if same else None,
            keep=tuple(guide.value for guide in self.guides if guide.reach),
            abandoned=grey,
            rows=rows,
        )

    # The plot

    def _plot(
        self,
        store: RunStore,
        shown: Window,
        size: tuple[int, int],
        view: View,
        look: ChartStyle,
        glyphs: Glyphs,
        moved: bool,
    ) -> dict[int, Row]:
        """Return the rows of the plot that look different now."""
        width, height = size
        rows = height - 2
        if rows <= 0:
            return {}
        assert self.scale is not None
        spots = self._events.spots(store, self.metrics, shown)
        if not moved and spots == self._spots and len(self.rows) == height:
            return {}
        curves = self.drawing.curves
        shapes = self._shapes or tuple(shape(one, self.scale, rows * DOTS_HIGH) for one in curves)
        self._shapes = shapes
        self._spots = spots
        ends = end_rows(self.drawing.ends, self.scale, rows, end_width(self.names, width))
        flags = [one.bins.flags.tobytes() + one.bins.held.tobytes() for one in curves]
        key = (*self._seen, self.scale, tuple(spots), tuple(one.key() for one in shapes), *flags)
        if key == self._drawn and ends == self._ends and len(self.rows) == height:
            return {}
        same = self._drawn[: len(self._seen) + 1] == (*self._seen, self.scale)
        old, old_ends = (self._grid, self._ends) if same else (None, [])
        self._drawn, self._ends = key, ends
        self._grid = grid = self.cells(shown, rows, view, look, shapes, spots)
        self._say_alone(grid, store, view, look)
        wanted: Sequence[int] = range(rows)
        if old is not None and old.comparable(grid):
            differs = old.rows_unlike(grid)
            wanted = [row for row in wanted if differs[row] or ends[row] != old_ends[row]]
        else:
            some = any((one.live.flags & FINITE).any() for one in self.tracks)
            self._labels = y_labels(self.scale, rows) if some else [""] * rows
        border = border_role(look)
        return {n + 1: plot_row(grid, n, self._labels[n], glyphs, border, ends[n]) for n in wanted}

    def cells(
        self,
        shown: Window,
        rows: int,
        view: View,
        look: ChartStyle,
        shapes: Sequence[Shape] | None = None,
        spots: Sequence[JudgedDot] = (),
    ) -> Cells:
        """Draw the plot alone."""
        assert self.scale is not None
        return rasterise(
            self.drawing.curves,
            self.scale,
            shown.columns,
            rows,
            guides=self.guides,
            spots=spots,
            cursor=shown.column(view.cursor) if view.cursor is not None else None,
            signs=ASCII if look.ascii_only else UNICODE,
            tinted=look.tinted and not look.ascii_only,
            shapes=shapes,
        )

    def _say_alone(self, grid: Cells, store: RunStore, view: View, look: ChartStyle) -> None:
        """Write a single value in words: one dot would not be seen."""
        if len(self.drawing.curves) != 1 or int(self.drawing.curves[0].bins.finite.sum()) != 1:
            return
        bins, shown = self.drawing.curves[0].bins, self.window
        column = int(np.flatnonzero(bins.finite)[0])
        assert shown is not None
        where = spoken(view.axis, math.ceil((shown.first + column) * shown.bin), look.utc_offset)
        text = f" {number(float(bins.last[column]))} at {where}: the only value here "
        row, width = len(grid.glyphs) // 2, grid.glyphs.shape[1]
        if len(text) <= width and len(grid.glyphs) > 1:
            grid.write(row, (width - len(text)) // 2, text, "muted")

    def _title_row(
        self,
        store: RunStore,
        cursor_row: int | None,
        width: int,
        look: ChartStyle,
        baseline: Baseline | None,
    ) -> Row:
        return self._title.row(
            self.title,
            store,
            self.drawing,
            self._events.judged,
            cursor_row=cursor_row,
            width=width,
            look=look,
            glyphs=_glyphs(look),
            baseline=baseline,
        )


def _glyphs(look: ChartStyle) -> Glyphs:
    return ASCII_GLYPHS if look.ascii_only else UNICODE_GLYPHS


def plot_columns(width: int) -> int:
    """Return the dot columns of a chart that is `width` columns wide."""
    return max(2, 2 * (width - AROUND))
