"""The line of a chart: means of the columns, smoothed by a centred kernel within the band."""

from __future__ import annotations

from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from vlamon.charts.bins import Bins

Smoothing = Literal["off", "auto", "strong"]

POINTS: Final[dict[Smoothing, int]] = {"off": 0, "auto": 60, "strong": 15}
"""Independent points over a window's width that the kernel leaves; 0 for no kernel."""


def line_of(bins: Bins, smoothing: Smoothing) -> NDArray[np.float64]:
    """Return the value of the line in each column, NaN where the column has no finite value.

    The kernel is a triangle over the columns that hold values, each weighted by how many it holds,
    so that a column with one batch yet does not pull the newest end of the line. A column of
    several batches bounds the line by its least and greatest value; of one batch there is no band.
    """
    mean = bins.mean
    points = POINTS[smoothing]
    held = np.flatnonzero(bins.finite)
    if not points or len(held) <= points:
        return mean
    kernel = _triangle(len(mean) / (1.5 * points))
    weight = bins.finite[held].astype(np.float64)
    inside = slice(len(kernel) // 2, len(kernel) // 2 + len(held))
    spread = np.convolve(weight, kernel)[inside]
    smooth = np.convolve(mean[held] * weight, kernel)[inside] / spread
    low = np.where(weight > 1, bins.low[held], -np.inf)
    high = np.where(weight > 1, bins.high[held], np.inf)
    mean[held] = np.clip(smooth, low, high)
    return mean


def _triangle(half_width: float) -> NDArray[np.float64]:
    """Return a triangle's weights at whole columns; 1.5 half widths of it count as one point."""
    reach = max(1, int(np.ceil(half_width)) - 1)
    return np.maximum(0.0, 1 - np.abs(np.arange(-reach, reach + 1)) / max(half_width, 1.0))
