"""Computes a metric's level and trend: the mean of the newest batches, slope and error."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from vlamon.store import RunStore

F64 = NDArray[np.float64]

NEWEST = 100
"""Fewest batches whose mean is the headline; of a long attempt the newest hundredth, of a young one
the newest eighth."""
STRETCH = 400
"""Fewest batches that the slope is fitted to; of a long attempt the newest fifth."""
BLOCKS = 48
"""Block means in a fit: enough to see how neighbours hang together, long enough to be few."""
DIRECT = 1 << 14
"""Rows up to which adding the values up costs less than asking the pyramid for their sums."""
FEWEST = 24
"""Blocks with a value from which on there is a slope at all."""


@dataclass(frozen=True, slots=True)
class Slope:
    """A straight line's slope with what it may be off."""

    per_step: float
    """Change of the metric per step."""
    error: float
    """Two standard errors of it; the slope is flat within."""

    @property
    def flat(self) -> bool:
        """Whether noise alone explains the slope."""
        return not abs(self.per_step) > self.error


@dataclass(frozen=True, slots=True)
class Trend:
    """What a title says of a metric."""

    mean: float
    """Mean of the newest batches; NaN where none is finite."""
    batches: int = 0
    """How many these are."""
    span: float = 0.0
    """Steps from the attempt's first batch to its last."""
    slope: Slope | None = None
    """How it changes within the attempt, None where that is too young."""


def trend_of(store: RunStore, metric: str) -> Trend:
    """Return the mean and the slope of a metric's newest batches, within the newest attempt."""
    if not store.rows or not store.attempts:
        return Trend(math.nan)
    attempt = store.attempts[-1]
    first, end = attempt.first_row, attempt.end_row
    newest = max(1, (end - first) // 100, min(NEWEST, (end - first) // 8))
    mean = _block_means(store, metric, np.array([end - newest, end]))[1]
    rows = min(end - first, max(STRETCH, (end - first) // 5))
    edges = np.linspace(end - rows, end, min(BLOCKS, rows) + 1).round().astype(np.int64)
    where, means, weights = _block_means(store, metric, edges)
    held = weights > 0
    slope = None
    if held.sum() >= FEWEST:
        slope = fit_slope(where[held], means[held], weights[held])
    return Trend(float(mean[0]), newest, float(attempt.last_step - attempt.first_step), slope)


def _block_means(store: RunStore, metric: str, rows: NDArray[np.int64]) -> tuple[F64, F64, F64]:
    """Return the middle step, the mean and the number of values of stretches between rows."""
    edges = store.steps_at(rows).astype(np.float64)
    first, end = int(rows[0]), int(rows[-1])
    if end - first <= DIRECT:
        values = store.values(metric, first, end)
        finite = np.isfinite(values)
        starts = rows[:-1] - first
        total = np.add.reduceat(np.where(finite, values, 0.0).astype(np.float64), starts)
        weights = np.add.reduceat(finite.astype(np.float64), starts)
    else:
        found = store.envelope_of_rows(metric, rows)
        total, weights = found.total, found.finite.astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = total / weights
    return (edges[1:] + edges[:-1]) / 2, means, weights


def fit_slope(where: F64, means: F64, weights: F64) -> Slope:
    """Fit a straight line to block means that may hang together.

    The residuals' correlation from block to block, corrected for what the fit took out of it,
    widens the error and leaves fewer degrees of freedom. On noise without a trend, white or with a
    memory of a tenth of the stretch, at most one slope in twenty lies beyond its error.
    """
    weights = weights / weights.mean()
    total = weights.sum()
    x = where - (where * weights).sum() / total
    y = means - (means * weights).sum() / total
    spread = float((weights * x * x).sum())
    if spread <= 0:
        return Slope(0.0, math.inf)
    slope = float((weights * x * y).sum()) / spread
    rest = (y - slope * x) * np.sqrt(weights)
    count, power = len(rest), float((rest * rest).sum())
    if power <= 0:
        return Slope(slope, 0.0)
    raw = float((rest[1:] * rest[:-1]).sum()) / power
    memory = min(0.95, max(0.0, raw + (1 + 4 * raw) / count))
    inflation = (1 + memory) / (1 - memory)
    freedom = max(2.0, count / inflation - 2)
    error = math.sqrt(power / (count - 2) / spread * inflation)
    return Slope(slope, _two_sided(freedom) * error)


def _two_sided(freedom: float) -> float:
    """Return Student's t beyond which 5 % lie, which is about 2, to 1 % from 2 degrees on."""
    return 1.96 + 2.37 / freedom + 2.82 / freedom**2 + 2.55 / freedom**3
