"""Keeps the part of a run that all charts show: zoom, pan, hold, follow and cursor.

A bin is 4, 5, 6 or 7 quarters of a power of two wide, in the units of the axis, and counted from
its origin. A full bin never changes again, a point stays in its dot column until the zoom changes,
and a run that grows fills at least four fifths of the width: one size is at most a quarter larger
than the one before.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from vlamon.charts.braille import DOTS_WIDE
from vlamon.charts.ticks import Axis

DOUBLE = 4
"""Levels by which a bin is twice as wide."""
FINEST: dict[Axis, int] = {"step": -32, "epoch": -80, "since": -40, "time": -40}
"""Level of the smallest bin of each axis: a few rows still fill a chart."""
HARDLY = 2 * DOTS_WIDE
"""Dot columns by which charts that share a row may differ."""
COARSEST = 50 * DOUBLE
"""Level of the largest bin."""


def bin_width(level: int) -> float:
    """Return the width of a bin: levels 0, 1, 2, 3, 4 are 1, 1.25, 1.5, 1.75 and 2 wide."""
    power, quarters = divmod(level, DOUBLE)
    return math.ldexp(DOUBLE + quarters, power - 2)


@dataclass(frozen=True, slots=True)
class Extent:
    """The part of the axis that has data."""

    first: float
    last: float


@dataclass(frozen=True, slots=True)
class Window:
    """What one chart shows: dot columns of one bin each."""

    first: int
    """Number of the first bin, counted from the axis's origin; even, so that cells stay whole."""
    level: int
    """How wide a bin is; see `bin_width`."""
    columns: int
    """Dot columns; even."""

    @property
    def bin(self) -> float:
        """Width of a bin in units of the axis."""
        return bin_width(self.level)

    @property
    def start(self) -> float:
        """Left edge."""
        return self.first * self.bin

    @property
    def end(self) -> float:
        """Right edge."""
        return (self.first + self.columns) * self.bin

    def edges(self) -> NDArray[np.float64]:
        """Return the columns + 1 edges of the bins."""
        return np.arange(self.first, self.first + self.columns + 1, dtype=np.float64) * self.bin

    def column(self, x: float) -> int | None:
        """Return the dot column of a position, None where the window does not show it."""
        bins = x / self.bin
        if not math.isfinite(bins):
            return None
        column = math.floor(bins) - self.first
        return column if 0 <= column < self.columns else None


@dataclass(frozen=True, slots=True)
class View:
    """The whole state of a viewport."""

    axis: Axis = "step"
    """What x means."""
    level: int | None = None
    """How wide a bin is; None fits the whole run."""
    left: float | None = None
    """Left edge of a held window; None follows the newest data."""
    cursor: float | None = None
    """Position of the cursor on the axis."""
    fitted: bool = False
    """Whether a held window showed the whole run and does so again when it is let go."""


@lru_cache(maxsize=16)
def window(view: View, extent: Extent, columns: int) -> Window:
    """Resolve a view for a chart of `columns` dot columns over the data's extent."""
    columns = max(DOTS_WIDE, columns - columns % DOTS_WIDE)
    level = _whole(view.axis, extent, columns) if view.level is None else view.level
    if view.left is not None:
        return Window(_aligned(view.left, bin_width(level)), level, columns)
    return Window(_following(extent, level, columns), level, columns)


def _aligned(x: float, width: float) -> int:
    """Return the number of the first bin of the cell that holds `x`, for bins this wide."""
    return math.floor(x / width / DOTS_WIDE) * DOTS_WIDE


def _fits(extent: Extent, width: float, columns: int) -> bool:
    return math.floor(extent.last / width) - _aligned(extent.first, width) < columns


def _whole(axis: Axis, extent: Extent, columns: int) -> int:
    """Return the level of the smallest bin with which all data fits."""
    level = FINEST[axis]
    span = extent.last - extent.first
    if span > 0:
        level = max(level, DOUBLE * (math.floor(math.log2(span / columns)) - 1))
    while level < COARSEST and not _fits(extent, bin_width(level), columns):
        level += 1
    return level


def _following(extent: Extent, level: int, columns: int) -> int:
    """Return the first bin of a window that holds the newest data.

    The window moves on by a fifth of its width at a time: in between a new point changes one
    column instead of every cell of the chart.
    """
    first = _aligned(extent.first, bin_width(level))
    last = math.floor(extent.last / bin_width(level))
    page = max(DOTS_WIDE, columns // 5 - columns // 5 % DOTS_WIDE)
    over = last + 1 - columns - first
    return first if over <= 0 else first + math.ceil(over / page) * page


class Viewport:
    """The one viewport of a screen; `version` grows with every change."""

    def __init__(self, view: View | None = None) -> None:
        self.view = view or View()
        self.version = 0
        self.widths: tuple[int, ...] = ()
        """Dot columns of the charts on screen."""

    def _set(self, view: View) -> None:
        if view != self.view:
            self.view = view
            self.version += 1

    def shared(self, columns: int) -> int:
        """Return the dot columns by which a chart chooses its bins: those of the narrowest one that
        is hardly narrower. Charts side by side differ by a cell and must have the same bins."""
        near = (width for width in self.widths if 0 <= columns - width <= HARDLY)
        return min(near, default=columns)

    def lay_out(self, widths: Iterable[int]) -> None:
        """Note how wide the charts on screen are."""
        found = tuple(sorted(set(widths)))
        if found != self.widths:
            self.widths = found
            self.version += 1

    @property
    def held(self) -> bool:
        """Whether the window stays where it is while data comes in."""
        return self.view.left is not None

    def show_all(self) -> None:
        """Show the whole run and keep it fitted."""
        self._set(View(axis=self.view.axis, cursor=self.view.cursor))

    def follow(self) -> None:
        """Let the window go with the newest data, at the zoom it had before it was held."""
        level = None if self.view.fitted else self.view.level
        self._set(View(axis=self.view.axis, level=level, cursor=self.view.cursor))

    def hold(self, shown: Window) -> None:
        """Pin the window that is shown."""
        fitted = self.view.level is None
        self._set(replace(self.view, left=shown.start, fitted=fitted, level=shown.level))

    def toggle_hold(self, shown: Window) -> None:
        """Pin the window, or let it go again."""
        if self.held:
            self.follow()
        else:
            self.hold(shown)

    def zoom(self, shown: Window, extent: Extent, by: int, about: float | None = None) -> None:
        """Make bins `by` powers of two wider (positive: zoom out) and keep `about` in its place.

        Without `about` the cursor stays in place, or the newest data while following.
        """
        level = min(COARSEST, max(FINEST[self.view.axis], shown.level + DOUBLE * by))
        if level == shown.level:
            return
        if by > 0 and level >= _whole(self.view.axis, extent, shown.columns):
            self.show_all()
            return
        pivot = about
        if pivot is None and self.view.cursor is not None:
            pivot = self.view.cursor if shown.column(self.view.cursor) is not None else None
        if pivot is None and not self.held:
            self._set(View(axis=self.view.axis, level=level, cursor=self.view.cursor))
            return
        if pivot is None:
            pivot = (shown.start + shown.end) / 2
        share = (pivot - shown.start) / (shown.end - shown.start)
        width = bin_width(level)
        left = pivot - share * shown.columns * width
        # A window begins where a cell does, up to a cell farther left: at its end a cell too far.
        if _aligned(left, width) + shown.columns <= pivot / width:
            left += DOTS_WIDE * width
        self._place(left, level, extent, shown.columns)

    def pan(self, shown: Window, extent: Extent, cells: int) -> None:
        """Move the window by cells; past the newest data it follows again."""
        left = shown.start + cells * DOTS_WIDE * shown.bin
        self._place(left, shown.level, extent, shown.columns)

    def pan_share(self, shown: Window, extent: Extent, share: float) -> None:
        """Move the window by a share of its width."""
        cells = round(share * shown.columns / DOTS_WIDE)
        self.pan(shown, extent, cells or (1 if share > 0 else -1))

    def reveal(self, x: float, shown: Window, extent: Extent) -> None:
        """Move the window so far that it shows `x`, in its middle if it was outside."""
        if math.isfinite(x) and shown.column(x) is None:
            left = x - shown.columns * shown.bin / 2
            if x <= extent.last:
                self._place(left, shown.level, extent, shown.columns)
            else:  # a batch of an attempt that a restart from 0 left behind
                left = _aligned(left, shown.bin) * shown.bin
                self._set(replace(self.view, level=shown.level, left=left, fitted=False))

    def set_axis(self, axis: Axis, cursor: float | None = None) -> None:
        """Choose what x means; the zoom starts again from the whole run."""
        if axis != self.view.axis:
            self._set(View(axis=axis, cursor=cursor))

    def set_cursor(self, x: float | None) -> None:
        """Put the cursor somewhere, or take it away."""
        self._set(replace(self.view, cursor=x))

    def _place(self, left: float, level: int, extent: Extent, columns: int) -> None:
        """Hold the window at `left`, inside the data; at its end follow instead."""
        step = bin_width(level)
        width = step * columns
        follow = View(axis=self.view.axis, level=level, cursor=self.view.cursor)
        newest = window(follow, extent, columns).start
        if left >= newest:
            self._set(follow)
            return
        left = max(left, _aligned(extent.first, step) * step)
        if left + width > extent.last and left >= newest:
            self._set(follow)
            return
        self._set(replace(follow, left=_aligned(left, step) * step))
