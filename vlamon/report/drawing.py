"""Curves reduced to a number of columns, in which the one value that broke stays visible."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vlamon.analysis.series import Series

_LOG_RATIO = 8.0
"""A curve whose extremes are further apart than this is drawn on a logarithmic axis."""


@dataclass(frozen=True, slots=True)
class Columns:
    """Least, greatest and mean value of each column; NaN where there is none."""

    low: NDArray[np.float64]
    high: NDArray[np.float64]
    mean: NDArray[np.float64]
    broken: NDArray[np.bool_]
    """Columns with a non-finite value."""
    first: float
    """Step or epoch at the left edge."""
    last: float
    """Step or epoch at the right edge."""

    @property
    def log(self) -> bool:
        """Whether a logarithmic axis fits the values better."""
        low, high = self.range
        return low > 0 and high / low > _LOG_RATIO

    @property
    def range(self) -> tuple[float, float]:
        """Least and greatest value of all."""
        if np.all(np.isnan(self.low)):
            return 0.0, 1.0
        return float(np.nanmin(self.low)), float(np.nanmax(self.high))


def columns_of(series: Series, width: int) -> Columns:
    """Min, max and mean of `width` columns; few values become steps, as averages they are."""
    count = len(series)
    places = np.arange(count) * width // max(count, 1)
    low, high = np.full(width, np.inf), np.full(width, -np.inf)
    finite = np.isfinite(series.values)
    np.minimum.at(low, places[finite], series.values[finite])
    np.maximum.at(high, places[finite], series.values[finite])
    total = np.bincount(places[finite], series.values[finite], width)
    held = np.bincount(places[finite], minlength=width)
    broken = np.zeros(width, bool)
    broken[places[~finite]] = True
    empty = ~np.isfinite(low)
    low[empty] = high[empty] = np.nan
    mean = np.divide(total, held, out=np.full(width, np.nan), where=held > 0)
    if count < width:
        starts = np.flatnonzero(~empty | broken)
        if len(starts):
            since = starts[np.searchsorted(starts, np.arange(width), "right") - 1]
            low, high, mean, broken = low[since], high[since], mean[since], broken[since]
    axis = series.epoch if series.grain == "epoch" else series.step.astype(np.float64)
    return Columns(low, high, mean, broken, float(axis[0]), float(axis[-1]))


def axis_label(place: float) -> str:
    """A step or an epoch at the edge of a chart."""
    return f"{int(place):,}" if float(place).is_integer() else f"{place:g}"
