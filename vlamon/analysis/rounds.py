"""Rounds: a loss that goes back to where it began, at even intervals, and falls again each time.

Where new data, a new task or a fresh optimizer comes every so many steps, the loss starts over with
it. No single rise of that kind tells from an explosion; several that are alike do.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from vlamon.analysis.series import Series

_LEAST = 4
"""Rounds before which chance may have made the intervals even."""
_EVEN = 1.5
"""How many times as long as the shortest round the longest may be."""
_ALIKE = 3.0
"""How far from where the run began a round may begin, as a ratio."""
_DEPTH = math.log(10)
"""How far a round falls at least, in log units."""
_TINY = 1e-12
_BEGIN = 3
"""Values that say where the run began."""


@dataclass(frozen=True, slots=True)
class Rounds:
    """The rounds of one loss."""

    starts: tuple[int, ...]
    """Place of the first value of each."""
    length: float
    """Values of one, at the median."""


def rounds(series: Series) -> Rounds | None:
    """The rounds that a loss was trained in, None where it was trained in one go."""
    values = series.values
    if len(values) < _LEAST * _BEGIN or not np.isfinite(values).all() or values.min() < 0:
        return None
    if len(np.unique(series.attempt)) > 1:
        return None
    logs = np.log(np.maximum(values, _TINY))
    begin, bottom = float(logs[:_BEGIN].max()), float(np.quantile(logs, 0.2))
    depth = begin - bottom
    if depth < _DEPTH:
        return None
    starts, fallen = [0], False
    for place, value in enumerate(logs.tolist()):
        if value < bottom + depth / 3:
            fallen = True
        elif fallen and value > begin - depth / 3:
            starts.append(place)
            fallen = False
    ends = [*starts[1:], len(logs)]
    lengths = np.diff(starts)
    peaks = [float(logs[a:b].max()) for a, b in zip(starts, ends, strict=True)]
    alike = all(abs(peak - begin) <= math.log(_ALIKE) for peak in peaks)
    if len(starts) < _LEAST or not alike or lengths.max() > _EVEN * lengths.min():
        return None
    if ends[-1] - starts[-1] > _EVEN * lengths.max():
        return None
    return Rounds(tuple(starts), float(np.median(lengths)))
