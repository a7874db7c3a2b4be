"""The line of a chart: means of the columns, smoothed by a centred kernel within the band."""

from __future__ import annotations

from functools import lru_cache
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
    held = np.flatnonzero(bins.finite)
    if smooths(len(held), smoothing):
        mean[held] = _smoothed(bins, mean, held, reach_and_kernel(len(mean), smoothing)[1])
    return mean


def smooths(held: int, smoothing: Smoothing) -> bool:
    """Say whether a line through so many columns is smoothed."""
    return held > POINTS[smoothing] > 0


def _smoothed(
    bins: Bins, mean: NDArray[np.float64], held: NDArray[np.intp], kernel: NDArray[np.float64]
) -> NDArray[np.float64]:
    weight = bins.finite[held].astype(np.float64)
    smooth = _spread(mean[held] * weight, kernel) / _spread(weight, kernel)
    low = np.where(weight > 1, bins.low[held], -np.inf)
    high = np.where(weight > 1, bins.high[held], np.inf)
    return np.minimum(np.maximum(smooth, low), high)


def _spread(values: NDArray[np.float64], kernel: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return values spread by a kernel.

    `np.convolve` gives up the interpreter's lock, whatever the size: with the diagnosis computing
    on a thread of its own, each of its calls then waited for milliseconds.
    """
    reach = len(kernel) // 2
    padded = np.zeros(len(values) + 2 * reach)
    padded[reach : reach + len(values)] = values
    spread = np.zeros(len(values))
    for offset in range(len(kernel)):
        spread += padded[offset : offset + len(values)] * kernel[offset]
    return spread


@lru_cache(maxsize=64)
def reach_and_kernel(columns: int, smoothing: Smoothing) -> tuple[int, NDArray[np.float64]]:
    """Return how far a triangle reaches and its weights; 1.5 half widths of it are one point."""
    half_width = columns / (1.5 * POINTS[smoothing])
    reach = max(1, int(np.ceil(half_width)) - 1)
    kernel = np.maximum(0.0, 1 - np.abs(np.arange(-reach, reach + 1)) / max(half_width, 1.0))
    return reach, kernel
