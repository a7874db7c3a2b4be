"""One chart as rows of text and roles, kept up to date at a cost apart from the rows held."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vlamon.charts.band import Band
from vlamon.charts.bins import FINITE, NEG_INF, POS_INF, line, smoothed
from vlamon.charts.bins import NAN as NAN_FLAG
from vlamon.charts.chart_style import Look, border_role
from vlamon.charts.frame import (
    AROUND,
    Readout,
    axis_row,
    plot_row,
    title_row,
)
from vlamon.charts.glyphs import UNICODE as UNICODE_GLYPHS
from vlamon.charts.glyphs import Glyphs
from vlamon.charts.marks import INFINITE, NAN, loudest
from vlamon.charts.numbers import count, number
from vlamon.charts.panels import distinctions
from vlamon.charts.raster import (
    ABANDONED,
    ASCII,
    UNICODE,
    Cells,
    Curve,
    Guide,
    rasterise,
    redraw,
)
from vlamon.charts.rows import Row
from vlamon.charts.scale import Scale, fit
from vlamon.charts.track import EventTrack, Piece, Track
from vlamon.charts.viewport import View, Window
from vlamon.charts.y_labels import y_labels

if TYPE_CHECKING:
    from vlamon.store import RunStore

TREND_ROWS = 100
"""Rows whose mean is compared with that of as many rows before them."""
TREND_EVERY = 5
"""Rows after which the trend is looked at again."""
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
    ) -> None:
        self.metrics = tuple(metrics)
        self.title = title
        self.roles = tuple(roles)
        self.own_guides = tuple(guides)
        self.guides = self.own_guides
        self.tracks = [Track(metric) for metric in metrics]
        self._lines = distinctions(metrics)
        self.rows: list[Row] = []
        self.window: Window | None = None
        self.scale: Scale | None = None
        self._grid: Cells | None = None
        self._events = EventTrack()
        self._seen: tuple[object, ...] = ()
        self._marks_seen: tuple[object, ...] = ()
        self._look = Look()
        self._frames = 0
        self._trend = Trend()
        self._band = Band(metrics[0]) if len(metrics) == 1 else None

    def update(
        self,
        store: RunStore,
        view: View,
        shown: Window,
        parts: Sequence[Piece],
        size: tuple[int, int],
        look: Look,
        glyphs: Glyphs = UNICODE_GLYPHS,
        cursor_row: int | None = None,
    ) -> list[int]:
        """Draw what is new; gives the numbers of the rows that differ from the last picture.

        The title has the values of `cursor_row`, the newest ones without.
        """
        width, height = size
        lasts = look.smooth is not None
        firsts = [track.update(store, view.axis, shown, parts, lasts) for track in self.tracks]
        first = min((found for found in firsts if found is not None), default=shown.columns)
        band = self._band.guides(store) if self._band is not None and look.band else ()
        self.guides = (*band, *self.own_guides)
        old_scale = self.scale
        if shown != self.window or look != self._look or self.scale is None:
            self._fit(look, keep_previous=self._look.log == look.log and self.window == shown)
        elif first < shown.columns:
            self._follow_scale(look, first)
        seen = (shown, view.cursor, size, look, self.guides, self.scale)
        whole = seen != self._seen or self.scale != old_scale or len(self.rows) != height
        self.window, self._look, self._seen = shown, look, seen
        fresh = {0: self._title(store, cursor_row, width, look, glyphs)}
        fresh.update(self._plot(shown, height - 2, view, look, glyphs, 0 if whole else first))
        if height >= 2:
            fresh.update(self._axis(store, view, shown, height, look, glyphs, whole))
        if len(self.rows) != height:
            self.rows = [()] * height
        changed = [n for n, row in fresh.items() if n < height and row != self.rows[n]]
        for n in changed:
            self.rows[n] = fresh[n]
        return changed

    def _fit(self, look: Look, keep_previous: bool) -> None:
        bins = [track.live for track in self.tracks]
        if not look.robust:
            bins += [track.abandoned for track in self.tracks if track.abandoned is not None]
        self._frames = 0
        self.scale = fit(
            np.stack([one.low for one in bins]),
            np.stack([one.high for one in bins]),
            log=look.log,
            robust=look.robust,
            previous=self.scale if keep_previous else None,
            keep=tuple(guide.value for guide in self.guides if guide.reach),
        )

    def _follow_scale(self, look: Look, first: int) -> None:
        """Fit again only when a new value left the range, or once in a while."""
        assert self.scale is not None
        self._frames += 1
        for track in self.tracks:
            with np.errstate(invalid="ignore"):
                outside = (track.live.high[first:] > self.scale.high) | (
                    track.live.low[first:] < self.scale.low
                )
            if outside.any():
                self._frames = _REFIT
        if self._frames >= _REFIT:
            self._fit(look, keep_previous=True)

    def _plot(
        self, shown: Window, rows: int, view: View, look: Look, glyphs: Glyphs, first: int
    ) -> dict[int, Row]:
        """Give the plot's rows that differ when the bins from `first` on have changed."""
        if rows <= 0 or first >= shown.columns:
            return {}
        old = self._grid if first > 0 else None
        self._grid = grid = self.cells(shown, rows, view, look, old, first)
        assert self.scale is not None
        wanted: Sequence[int] = range(rows)
        if old is not None:
            differs = (old.glyphs != grid.glyphs) | (old.roles != grid.roles)
            wanted = np.flatnonzero(differs.any(axis=1)).tolist()
        else:
            drawn = any((one.live.flags & FINITE).any() for one in self.tracks)
            self._labels = y_labels(self.scale, rows) if drawn else [""] * rows
        border = border_role(look)
        return {n + 1: plot_row(grid, n, self._labels[n], glyphs, border) for n in wanted}

    def cells(
        self,
        shown: Window,
        rows: int,
        view: View,
        look: Look,
        old: Cells | None = None,
        first: int = 0,
    ) -> Cells:
        """Draw the plot alone, from an older one where only the bins from `first` on changed."""
        assert self.scale is not None
        curves = self._curves(look)
        cursor = shown.column(view.cursor) if view.cursor is not None else None
        signs = ASCII if look.ascii_only else UNICODE
        if old is not None:
            found = redraw(
                old, first, curves, self.scale, guides=self.guides, cursor=cursor, signs=signs
            )
            if found is not None:
                return found
        return rasterise(
            curves,
            self.scale,
            shown.columns,
            rows,
            guides=self.guides,
            cursor=cursor,
            signs=signs,
        )

    def _curves(self, look: Look) -> list[Curve]:
        lines = list(zip(self.tracks, self.roles, strict=True))
        curves = [
            Curve(track.abandoned, ABANDONED)
            for track in self.tracks
            if track.abandoned is not None
        ]
        curves += [Curve(track.live, role) for track, role in lines]
        if look.smooth is not None:
            single = len(self.tracks) == 1
            curves += [
                Curve(
                    line(smoothed(track.live.last, look.smooth)),
                    "foreground" if single else f"{role} bold",
                    over=True,
                )
                for track, role in lines
            ]
        return curves

    def _axis(
        self,
        store: RunStore,
        view: View,
        shown: Window,
        height: int,
        look: Look,
        glyphs: Glyphs,
        whole: bool,
    ) -> dict[int, Row]:
        """Give the time line where the window or a mark changed."""
        flags = [track.live.flags for track in self.tracks]
        odd = tuple((one & ~np.uint8(FINITE)).tobytes() for one in flags)
        seen = (len(store.events), odd)
        if not whole and seen == self._marks_seen:
            return {}
        self._marks_seen = seen
        row = axis_row(
            shown,
            view,
            self._marks(store, view, shown),
            glyphs,
            utc_offset=look.utc_offset,
            border=border_role(look),
            plain=look.ascii_only,
        )
        return {height - 1: row}

    def _marks(self, store: RunStore, view: View, shown: Window) -> NDArray[np.uint8]:
        """Give the loudest mark of each cell of the time line: events, and this chart's NaN."""
        width = shown.columns // 2
        cells, ranks = self._events.cells(store, view.axis, shown)
        marks = loudest(cells, ranks, width)
        for track in self.tracks:
            flags = track.live.flags[::2] | track.live.flags[1::2]
            np.maximum(marks, np.where(flags & NAN_FLAG, NAN + 1, 0), out=marks, casting="unsafe")
            infinite = flags & (POS_INF | NEG_INF)
            np.maximum(marks, np.where(infinite, INFINITE + 1, 0), out=marks, casting="unsafe")
        return marks

    def _title(
        self, store: RunStore, cursor_row: int | None, width: int, look: Look, glyphs: Glyphs
    ) -> Row:
        """Give the title row with the cursor's values and its step, or with the newest ones."""
        readouts = self._readouts(store, cursor_row, glyphs)
        at = "" if cursor_row is None else count(int(store.steps(cursor_row, cursor_row + 1)[0]))
        return title_row(self.title, readouts, width, glyphs, look, at)

    def _readouts(self, store: RunStore, cursor_row: int | None, glyphs: Glyphs) -> list[Readout]:
        """Give the value of each metric; for a single newest one how it moves, too."""
        found = []
        for metric, role, label in zip(self.metrics, self.roles, self._lines, strict=True):
            value = store.latest(metric) if cursor_row is None else store.value(metric, cursor_row)
            loud = value is not None and not math.isfinite(value)
            role = "explode bold" if loud else f"{role} bold"
            found.append(Readout(number(value), role, label))
        if len(self.metrics) == 1 and cursor_row is None:
            trend = self._trend.text(store, self.metrics[0], glyphs)
            found += [Readout(trend, "muted", spare=True)] * bool(trend)
        return found


class Trend:
    """How a metric moves, looked at again after a few rows."""

    def __init__(self) -> None:
        self._rows = -TREND_EVERY
        self._text = ""

    def text(self, store: RunStore, metric: str, glyphs: Glyphs) -> str:
        """Give the trend as `▾0.3 %`."""
        if not 0 <= store.rows - self._rows < TREND_EVERY:
            self._rows = store.rows
            self._text = trend(store, metric, glyphs)
        return self._text


def plot_columns(width: int) -> int:
    """Give the dot columns of a chart that is `width` columns wide."""
    return max(2, 2 * (width - AROUND))


def trend(store: RunStore, metric: str, glyphs: Glyphs) -> str:
    """Compare the mean of the last rows with that of as many rows before: `▾0.3 %`."""
    end = store.rows
    values = store.values(metric, max(0, end - 2 * TREND_ROWS), end).astype(np.float64)
    values = values[np.isfinite(values)]
    half = min(TREND_ROWS, len(values) // 2)
    if half < 2:
        return ""
    now, before = float(values[-half:].mean()), float(values[-2 * half : -half].mean())
    if before == 0:
        return ""
    change = 100 * (now - before) / abs(before)
    sign = glyphs.up if change >= 0 else glyphs.down
    size = abs(change)
    return f"{sign}{size:.1f} %" if size < 99.95 else f"{sign}{min(size, 9999):.0f} %"
