"""One chart as rows of text and roles, kept up to date at a cost apart from the rows held."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vlamon.tui.frame import AROUND, Readout, axis_row, plot_row, title_row, y_labels
from vlamon.tui.glyphs import UNICODE as UNICODE_GLYPHS
from vlamon.tui.glyphs import Glyphs
from vlamon.tui.marks import INFINITE, NAN, loudest
from vlamon.tui.numbers import number
from vlamon.tui.raster import (
    ASCII,
    NEG_INF,
    POS_INF,
    UNICODE,
    Cells,
    Curve,
    Guide,
    line,
    rasterise,
    smoothed,
)
from vlamon.tui.raster import NAN as NAN_FLAG
from vlamon.tui.rows import Row
from vlamon.tui.scale import Scale, fit
from vlamon.tui.track import EventTrack, Piece, Track
from vlamon.tui.viewport import View, Window

if TYPE_CHECKING:
    from vlamon.store import RunStore

TREND_ROWS = 100
"""Rows whose mean is compared with that of as many rows before them."""
_REFIT = 64
"""Frames after which the y range may shrink again although nothing left it."""


@dataclass(frozen=True, slots=True)
class Look:
    """What a person chose for a chart; another look is another picture."""

    log: bool = False
    """Logarithmic y."""
    robust: bool = True
    """Whether far, short excursions are clipped and marked instead of setting the range."""
    smooth: float | None = None
    """Half-life in dot columns of the line over the envelope; None for no line."""
    ascii_only: bool = False
    """Whether everything is drawn in ASCII."""
    focused: bool = False
    """Whether the chart has the focus."""
    utc_offset: float = 0.0
    """The viewer's time zone, in seconds, for wall time on x."""


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
        self.guides = tuple(guides)
        self.tracks = [Track(metric) for metric in metrics]
        self.rows: list[Row] = []
        self.window: Window | None = None
        self.scale: Scale | None = None
        self._events = EventTrack()
        self._look = Look()
        self._frames = 0

    def update(
        self,
        store: RunStore,
        view: View,
        shown: Window,
        parts: Sequence[Piece],
        size: tuple[int, int],
        look: Look,
        glyphs: Glyphs = UNICODE_GLYPHS,
    ) -> list[int]:
        """Draw what is new; gives the numbers of the rows that differ from the last picture."""
        width, height = size
        whole = (shown, look) != (self.window, self._look)
        ranges = [track.update(store, view.axis, shown, parts) for track in self.tracks]
        if whole or self.scale is None:
            self._fit(look, keep_previous=self._look.log == look.log and self.window == shown)
        elif any(ranges):
            self._follow_scale(look, [found for found in ranges if found])
        self.window, self._look = shown, look
        fresh = self._rows(store, view, shown, width, height, look, glyphs)
        old, self.rows = self.rows, fresh
        if len(old) != len(fresh):
            return list(range(len(fresh)))
        return [n for n, (one, other) in enumerate(zip(old, fresh, strict=True)) if one != other]

    def _fit(self, look: Look, keep_previous: bool) -> None:
        bins = [track.live for track in self.tracks]
        self._frames = 0
        self.scale = fit(
            np.concatenate([one.low for one in bins]),
            np.concatenate([one.high for one in bins]),
            log=look.log,
            robust=look.robust,
            previous=self.scale if keep_previous else None,
            keep=tuple(guide.value for guide in self.guides),
        )

    def _follow_scale(self, look: Look, ranges: Sequence[tuple[int, int]]) -> None:
        """Fit again only when a new value left the range, or once in a while."""
        assert self.scale is not None
        self._frames += 1
        first = min(found[0] for found in ranges)
        for track in self.tracks:
            with np.errstate(invalid="ignore"):
                outside = (track.live.high[first:] > self.scale.high) | (
                    track.live.low[first:] < self.scale.low
                )
            if outside.any():
                self._frames = _REFIT
        if self._frames >= _REFIT:
            self._fit(look, keep_previous=True)

    def _rows(
        self,
        store: RunStore,
        view: View,
        shown: Window,
        width: int,
        height: int,
        look: Look,
        glyphs: Glyphs,
    ) -> list[Row]:
        rows = [title_row(self.title, self._readouts(store, glyphs), width, glyphs, look.focused)]
        plot_rows = height - 2
        border = "accent" if look.focused else "border"
        if plot_rows > 0:
            grid = self.cells(shown, plot_rows, view, look)
            assert self.scale is not None
            labels = y_labels(self.scale, plot_rows)
            rows += [plot_row(grid, n, labels[n], glyphs, border) for n in range(plot_rows)]
        if height >= 2:
            marks = self._marks(store, view, shown)
            rows.append(
                axis_row(
                    shown,
                    view,
                    marks,
                    glyphs,
                    utc_offset=look.utc_offset,
                    border=border,
                    plain=look.ascii_only,
                )
            )
        return rows[:height]

    def cells(self, shown: Window, rows: int, view: View, look: Look) -> Cells:
        """Draw the plot alone."""
        assert self.scale is not None
        curves = [
            Curve(track.abandoned, "abandoned")
            for track in self.tracks
            if track.abandoned is not None
        ]
        curves += [
            Curve(track.live, role) for track, role in zip(self.tracks, self.roles, strict=True)
        ]
        if look.smooth is not None:
            single = len(self.tracks) == 1
            curves += [
                Curve(
                    line(smoothed(track.live.last, look.smooth)),
                    "foreground" if single else f"{role} bold",
                    over=True,
                )
                for track, role in zip(self.tracks, self.roles, strict=True)
            ]
        return rasterise(
            curves,
            self.scale,
            shown.columns,
            rows,
            guides=self.guides,
            cursor=shown.column(view.cursor) if view.cursor is not None else None,
            signs=ASCII if look.ascii_only else UNICODE,
        )

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

    def _readouts(self, store: RunStore, glyphs: Glyphs) -> list[Readout]:
        """Give the newest value of each metric; for a single one how it moves, too."""
        found = []
        for metric, role in zip(self.metrics, self.roles, strict=True):
            value = store.latest(metric) if metric in store.metrics else None
            loud = value is not None and not math.isfinite(value)
            found.append(Readout(number(value), "explode bold" if loud else f"{role} bold"))
        if len(self.metrics) == 1 and self.metrics[0] in store.metrics:
            found.append(Readout(trend(store, self.metrics[0], glyphs), "muted"))
        return found


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
